"""The bar under every frame of a film: which episode, how far, whether it has succeeded."""

from __future__ import annotations

from bisect import bisect
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vla_bench.items import WorkItem
from vla_bench.records import EpisodeRecord

LEGIBLE = 256
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
        self._blank: Picture | None = None

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
            state = f"success at step {first}" if holds else f"lost after step {first}"
        return self._framed(picture, f"step {step} of {self.max_steps}", state)

    def ended(self, picture: Picture, record: EpisodeRecord) -> Picture:
        """The last frame: the last picture, and what came of the episode, in words and colour."""
        steps, first = record.steps, record.first_success
        if record.success:
            return self._framed(picture, "SUCCESS", f"at step {first}", GREEN)
        cause = f"not within {steps} steps"
        if first is not None:
            cause = f"lost after step {first}"
        return self._framed(picture, "FAILURE", record.error or cause, RED)

    def _framed(self, picture: Picture, left: str, right: str, paper: str = PAPER) -> Picture:
        """The last line alone changes from frame to frame."""
        scale = -(-LEGIBLE // picture.shape[1])
        height, width = picture.shape[0] * scale, picture.shape[1] * scale
        if self._blank is None:
            self._blank = self._what_stays(height, width)
        line = Image.new("RGB", (width, LINE + MARGIN), paper)
        _write(line, MARGIN // 2, left, right, INK, bold=paper != PAPER)
        frame = self._blank.copy()
        enlarged = picture.repeat(scale, 1).repeat(scale, 0) if scale > 1 else picture
        frame[:height, :width] = enlarged
        frame[-line.height :, :width] = np.asarray(line)
        return frame

    def _what_stays(self, height: int, width: int) -> Picture:
        """A frame without picture and last line."""
        told = _wrapped(self.item.instruction, width - 2 * MARGIN)
        bar = (len(told) + 2) * LINE + 3 * MARGIN
        blank = Image.new("RGB", (_even(width), _even(height + bar)), PAPER)
        _write(blank, height + MARGIN, self.item.place, self.policy, FAINT)
        for number, line in enumerate(told, 1):
            _write(blank, height + MARGIN + number * LINE, line, "", INK)
        return np.array(blank)


def _even(size: int) -> int:
    return size + size % 2


@cache
def _font(bold: bool) -> ImageFont.FreeTypeFont:
    # It takes long to import. Its font is used because Pillow's lacks letters that are not English.
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name
    return ImageFont.truetype(str(path), TEXT, layout_engine=ImageFont.Layout.BASIC)


def _write(
    on: Image.Image, top: int, left: str, right: str, colour: str, bold: bool = False
) -> None:
    """Writes one line, `left` from the left and `right` up to the right, both shortened if need be."""
    draw = ImageDraw.Draw(on)
    font = _font(bold)
    room = on.width - 2 * MARGIN
    if right:
        room -= 2 * MARGIN
        right = _shortened(right, max(room - font.getlength(left), room / 3), bold)
    ends = font.getlength(right)
    draw.text((MARGIN, top), _shortened(left, room - ends, bold), colour, font)
    draw.text((on.width - MARGIN - ends, top), right, colour, font)


def _shortened(text: str, width: float, bold: bool = False) -> str:
    font = _font(bold)
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    longer = range(1, len(text))
    most = bisect(longer, False, key=lambda n: font.getlength(f"{text[:n]}…") > width)
    return f"{text[:most].rstrip()}…"


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
