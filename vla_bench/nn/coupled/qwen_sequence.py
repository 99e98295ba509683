"""The sequence that Qwen3-VL reads, [chat | images | question, padded | state | actions]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vla_bench.nn.prismatic_text import Tokenizer

CHAT, BEFORE, AFTER = "<|im_start|>user\n", "<|vision_start|>", "<|vision_end|>"
QUESTION = "What action should the robot take to {instruction}?<|im_end|>\n<|im_start|>assistant\n"
"""OpenVLA-OFT's question in Qwen's chat; the images stand before it, so that it sees them."""


@dataclass(frozen=True)
class Layout:
    """Where the parts of a sequence are.

    Attributes:
        chat: Tokens in front of the first image, then those around each image.
        views: Images.
        side: Cells per side of an image.
        questions: int64 (B, longest), padded with zeros.
        lengths: int64 (B,), tokens of each question.
        actions: Number of action tokens.
    """

    chat: Tensor
    before: Tensor
    after: Tensor
    views: int
    side: int
    questions: Tensor
    lengths: Tensor
    actions: int

    @classmethod
    def of(
        cls,
        tokenize: Tokenizer,
        instructions: Sequence[str],
        *,
        views: int,
        side: int,
        actions: int,
        device: torch.device,
    ) -> Layout:
        """For some instructions."""

        def numbers(text: str) -> Tensor:
            return torch.tensor(tokenize(text), device=device)

        rows = [
            tokenize(QUESTION.format(instruction=text.strip().lower())) for text in instructions
        ]
        longest = max(len(row) for row in rows)
        return cls(
            numbers(CHAT),
            numbers(BEFORE),
            numbers(AFTER),
            views,
            side,
            torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=device),
            torch.tensor([len(row) for row in rows], device=device),
            actions,
        )

    @property
    def step(self) -> int:
        """Tokens from one image's first cell to the next one's."""
        return self.side**2 + len(self.before) + len(self.after)

    @property
    def vision(self) -> Tensor:
        """int64 (views * cells,): indices of the visual tokens."""
        first = len(self.chat) + len(self.before)
        device = self.chat.device
        starts = first + self.step * torch.arange(self.views, device=device)
        return (starts[:, None] + torch.arange(self.side**2, device=device)).flatten()

    @property
    def question(self) -> slice:
        """Indices of the questions, padding included."""
        first = len(self.chat) + self.views * self.step
        return slice(first, first + self.questions.shape[1])

    @property
    def padding(self) -> Tensor:
        """Bool (B, n)."""
        places = torch.arange(self.questions.shape[1], device=self.chat.device)
        padded = places >= self.lengths[:, None]
        return torch.nn.functional.pad(padded, (self.question.start, 1 + self.actions))

    def positions(self) -> Tensor:
        """Time, row and column of each token, int64 (3, B, n); an image takes as many steps as rows."""
        device = self.chat.device
        parts, now = [_text(0, len(self.chat), device)], len(self.chat)
        for _ in range(self.views):
            parts.append(_text(now, len(self.before), device))
            now += len(self.before)
            parts.append(now + cells(self.side, self.side, device).long())
            now += self.side
            parts.append(_text(now, len(self.after), device))
            now += len(self.after)
        prefix = torch.cat(parts, dim=1)[:, None].expand(-1, len(self.lengths), -1)
        question = _text(now, self.questions.shape[1], device)
        question = question[:, None].expand(-1, len(self.lengths), -1)
        rest = now + self.lengths[:, None] + torch.arange(1 + self.actions, device=device)
        return torch.cat([prefix, question, rest.expand(3, -1, -1)], dim=2)

    def finer(self, side: int, prefix: int) -> Tensor:
        """Positions of an expert's tokens among them, float32 (3, views, prefix + side * side)."""
        device = self.chat.device
        within = cells(side, self.side, device)
        within = torch.cat([within.new_zeros(3, prefix), within], dim=1)
        first = len(self.chat) + len(self.before)
        apart = self.side + len(self.before) + len(self.after)
        starts = first + apart * torch.arange(self.views, device=device)
        return starts[None, :, None] + within[:, None]


def cells(side: int, span: int, device: torch.device) -> Tensor:
    """Centres of side * side cells that fill `span` rows and columns: float32 (3, side * side)."""
    steps = (torch.arange(side, device=device) + 0.5) * (span / side) - 0.5
    rows, columns = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([torch.zeros_like(rows), rows, columns]).flatten(1)


def _text(first: int, count: int, device: torch.device) -> Tensor:
    """Consecutive positions, the same in all three parts: (3, count)."""
    return (first + torch.arange(count, device=device)).expand(3, -1)
