"""What a perturbation is: where it takes hold of an episode. This one changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from vla_bench.items import CLEAN, WorkItem

if TYPE_CHECKING:
    from vla_bench.cards import SuiteCard
    from vla_bench.policies.base import Observation
    from vla_bench.suites.base import SuiteEnv


class Perturbation:
    """One episode's perturbation; this class is that of a clean episode.

    Everything it draws is drawn from the item and does not depend on the level: a higher level is the
    same push, the same noise, only stronger.

    Args:
        item: The episode.
        suite: Card of its suite.
        level: 1, 2 or 3.
    """

    name: ClassVar[str] = CLEAN
    description: ClassVar[str] = "nothing"
    """One sentence, without a full stop."""
    units: ClassVar[str] = ""
    """What the numbers of a level mean; a template for them."""
    levels: ClassVar[tuple[tuple[float, ...], ...]] = ((), (), ())
    """The numbers of levels 1, 2 and 3."""
    felt_in: ClassVar[Literal["state", "images"] | None] = None
    """Observations that a policy has to read to notice anything; None if it needs none of these."""
    of_world: ClassVar[bool] = False
    """Whether the suite's simulator has to do it."""

    def __init__(self, item: WorkItem, suite: SuiteCard, level: int = 1) -> None:
        self.item = item
        self.suite = suite
        self.strength = self.levels[level - 1]

    @classmethod
    def said(cls, level: int) -> str:
        """A level in physical units."""
        return cls.units.format(*(f"{number:g}" for number in cls.levels[level - 1]))

    def generator(self, purpose: str = "") -> np.random.Generator:
        """A generator of this perturbation's own, the same at all levels."""
        return self.item.generator(f"perturbation/{self.name}/{purpose}")

    def begin(self, env: SuiteEnv) -> None:
        """The world has settled, and its probe is taken."""

    def played(self, env: SuiteEnv, action: NDArray[np.float32], step: int) -> NDArray[np.float32]:
        """The action that the world is given, float32 (action size,), called before every step.

        Args:
            env: The world.
            action: The policy's action, float32 (action size,).
            step: Control steps played so far.
        """
        return action

    def observed(self, observation: Observation) -> Observation:
        """The observation that the policy is given."""
        return observation
