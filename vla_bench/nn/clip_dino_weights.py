"""Published files of `ClipDinoBackbone`: weights and tokenizer, and what stands in for the tokenizer."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from typing import TypeVar

from transformers import CLIPModel, Dinov2Model

from vla_bench.errors import UserError

CLIP, DINO = "openai/clip-vit-base-patch16", "facebook/dinov2-base"
"""Hugging Face repositories."""
SPECIAL = 2
"""First and last token of a text; they are the last ones of the vocabulary."""

Tokenizer = Callable[[str], list[int]]
"""Text -> token numbers, the first and the last token included."""
T = TypeVar("T")


def fetch_clip() -> CLIPModel:
    """CLIP-B/16 with its published weights, downloaded once.

    Raises:
        UserError: They cannot be downloaded.
    """
    return _fetched(lambda: CLIPModel.from_pretrained(CLIP), CLIP)


def fetch_dino() -> Dinov2Model:
    """DINOv2-B with its published weights, downloaded once.

    Raises:
        UserError: They cannot be downloaded.
    """
    return _fetched(lambda: Dinov2Model.from_pretrained(DINO), DINO)


def published_tokenizer() -> Tokenizer:
    """CLIP's byte-pair tokenizer, downloaded once.

    Raises:
        UserError: It cannot be downloaded.
    """
    from transformers import AutoTokenizer

    tokenizer = _fetched(lambda: AutoTokenizer.from_pretrained(CLIP), f"the tokenizer of {CLIP}")
    return lambda text: list(tokenizer(text, truncation=True).input_ids)


def stand_in_tokenizer(vocabulary: int, longest: int) -> Tokenizer:
    """Hashes words and punctuation; no more than `longest` tokens."""
    words = vocabulary - SPECIAL

    def tokenize(text: str) -> list[int]:
        pieces = re.findall(r"\w+|[^\w\s]", text.lower())[: longest - SPECIAL]
        ids = [zlib.crc32(piece.encode()) % words for piece in pieces]
        return [words, *ids, words + 1]

    return tokenize


def _fetched(fetch: Callable[[], T], what: str) -> T:
    try:
        return fetch()
    except (OSError, ValueError) as error:
        raise UserError(
            f"could not download {what} ({type(error).__name__}); check the network and run the same "
            "command again, or do without: --set backbone.pretrained=false"
        ) from None
