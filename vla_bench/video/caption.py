"""The bar under every frame of a film: which episode, how far, whether it has succeeded."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vla_bench.items import WorkItem
from vla_bench.records import EpisodeRecord

LEGIBLE = 384
"""Pictures narrower than this are enlarged (pixels)."""
TEXT, LINE, MARGIN = 12, 18, 8
"""Size of letters, height of a line, margin around the text (pixels)."""
MOST_LINES = 2
"""Of an instruction."""
INK, FAINT, PAPER = "#ffffff", "#aab2bd", "#14161a"
GREEN, RED = "#1a7f37", "#c62128"

Picture = NDArray[np.uint8]
"""uint8 (H, W, 3)."""


class Caption:
    """Puts a bar under the pictures of one episode, all of one size, and enlarges small ones.

    Args:
        item: The item that is played.
        policy: Name of the policy.
        max_steps: Control steps after which the episode ends.
    """

    def __init__(self, item: WorkItem, policy: str, max_steps: int) -> None:
        self.item = item
        self.policy = policy
        self.max_steps = max_steps
        self._head: Image.Image | None = None

    def running(self, picture: Picture, step: int, first: int | None, holds: bool) -> Picture:
        """A frame of the episode under way.

        Args:
            picture: What the environment shows, uint8 (H, W, 3).
            step: Control steps played.
            first: Steps after which the success conditions held for the first time.
            holds: Whether they hold now.

        Returns:
            The frame, both sides even, uint8 (H', W', 3).
        """
        state = "success: not yet"
        if first is not None:
            state = f"success at step {first}" + ("" if holds else ", lost since")
        return self._framed(picture, f"step {step} of {self.max_steps}", state)

    def ended(self, picture: Picture, record: EpisodeRecord) -> Picture:
        """The last frame: the last picture, and what came of the episode, in words and colour."""
        steps, first = record.steps, record.first_success
        if record.success:
            return self._framed(picture, "SUCCESS", f"at step {first}", GREEN)
        cause = f"not within {steps} steps"
        if first is not None:
            cause = f"success at step {first} was lost by step {steps}"
        return self._framed(picture, "FAILURE", record.error or cause, RED)

    def _framed(self, picture: Picture, left: str, right: str, paper: str = PAPER) -> Picture:
        scale = -(-LEGIBLE // picture.shape[1])
        picture = picture.repeat(scale, 0).repeat(scale, 1)
        height, width, _ = picture.shape
        bar = self._bar(width, left, right, paper)
        frame = np.zeros((_even(height + len(bar)), _even(width), 3), np.uint8)
        frame[:height, :width] = picture
        frame[height : height + len(bar), :width] = bar
        return frame

    def _bar(self, width: int, left: str, right: str, paper: str) -> Picture:
        """Only the last line changes from frame to frame."""
        if self._head is None:
            self._head = self._lines_that_stay(width)
        bar = self._head.copy()
        top = bar.height - LINE - MARGIN
        draw = ImageDraw.Draw(bar)
        draw.rectangle((0, top, width, bar.height), fill=paper)
        bold = paper != PAPER
        _write(draw, width, top + MARGIN // 2, left, right, INK, bold=bold)
        return np.asarray(bar)

    def _lines_that_stay(self, width: int) -> Image.Image:
        told = _wrapped(self.item.instruction, width - 2 * MARGIN)
        bar = Image.new("RGB", (width, (len(told) + 2) * LINE + 3 * MARGIN), PAPER)
        draw = ImageDraw.Draw(bar)
        _write(draw, width, MARGIN, self.item.place, self.policy, FAINT)
        for number, line in enumerate(told, 1):
            _write(draw, width, MARGIN + number * LINE, line, "", INK)
        return bar


def _even(size: int) -> int:
    return size + size % 2


@cache
def _font(bold: bool) -> ImageFont.FreeTypeFont:
    # Pillow's own font lacks most letters that are not English.
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name
    return ImageFont.truetype(str(path), TEXT, layout_engine=ImageFont.Layout.BASIC)


def _write(
    draw: ImageDraw.ImageDraw,
    width: int,
    top: int,
    left: str,
    right: str,
    colour: str,
    bold: bool = False,
) -> None:
    """Writes one line: `left` from the left, `right` up to the right, shortened to what is left."""
    font = _font(bold)
    left = _shortened(left, width - 2 * MARGIN, bold)
    draw.text((MARGIN, top), left, colour, font)
    room = width - 4 * MARGIN - font.getlength(left)
    right = _shortened(right, room, bold)
    draw.text((width - MARGIN - font.getlength(right), top), right, colour, font)


def _shortened(text: str, width: float, bold: bool = False) -> str:
    font = _font(bold)
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text.rstrip()}…"


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of whole words that fit; the last one ends in an ellipsis if there is more."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if len(lines) == MOST_LINES or not lines[-1] or _font(False).getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return [_shortened(line, width) for line in lines]
