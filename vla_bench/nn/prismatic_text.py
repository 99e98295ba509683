"""The prompt of the prismatic backbone, and tokenizers that turn it into numbers."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable

from vla_bench.errors import UserError

TOKENIZER = "Qwen/Qwen2.5-0.5B"
"""Hugging Face repository of the published tokenizer."""
PROMPT = (
    "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant."
    "<|im_end|>\n<|im_start|>user\nWhat action should the robot take to {instruction}?"
    "<|im_end|>\n<|im_start|>assistant\n"
)
"""What VLA-Adapter asks its language model; the instruction is lower-case."""
PIECES = re.compile(r"<\|\w+\|>| ?\w+|[^\w ]")

Tokenizer = Callable[[str], list[int]]


def prompt(instruction: str) -> str:
    """The prompt that carries an instruction."""
    return PROMPT.format(instruction=instruction.strip().lower())


def published_tokenizer(repository: str = TOKENIZER) -> Tokenizer:
    """Qwen's byte-pair tokenizer, downloaded once.

    Args:
        repository: Hugging Face repository.

    Raises:
        UserError: It cannot be downloaded.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(repository)
    except (OSError, ValueError) as error:
        raise UserError(
            f"could not download the tokenizer {repository} ({type(error).__name__}); check the network "
            f"and run the same command again, or do without: --set backbone.pretrained=false"
        ) from None
    return lambda text: list(tokenizer(text).input_ids)


def stand_in_tokenizer(vocabulary: int) -> Tokenizer:
    """Hashes words and punctuation; as many tokens as Qwen2.5's where words are common ones."""
    return lambda text: [zlib.crc32(p.encode()) % vocabulary for p in PIECES.findall(text)]
