"""Sweep files: what is swept, for which arms, on which items, and what is claimed about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveInt,
    model_validator,
)

from vla_bench.cards import Named
from vla_bench.errors import nearest
from vla_bench.items import digest

Value = str | int | float | bool
"""A value of an option."""
Panel = Literal["success", "collided", "queries_per_s", "steps_to_success", "attention"]
Measure = Literal["success", "steps_to_success", "attention"]
RECIPE = "recipe."
"""Options that start so are the recipe's: a change of one trains other weights."""
QUICK_EPISODES = 10
QUICK_RECIPE: Mapping[str, Value] = {
    "recipe.training.updates": 100,
    "recipe.data.episodes": 20,
}
"""What `--quick` trains: enough to see that everything works, too little for success."""
VARIANT = "variant"
"""The option whose values are named sets of options."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Arm(_Part):
    """One curve of a sweep: a policy, with everything but the swept option fixed."""

    label: str = Field(pattern=r"^[^@|]+$")
    """What tables and figures call it."""
    policy: str
    """Name of the policy."""
    recipe: str | None = None
    """Recipe that trains its weights, once per training seed; the shipped weights if left out."""
    options: dict[str, Value] = {}
    """Fixed options of this arm."""
    values: list[Value] | None = None
    """Its own values, where the sweep's do not all make sense."""
    reference: bool = False
    """Played once, at its own settings: it does not have the swept option."""


class Claim(_Part):
    """A published finding as a sum that should be positive, of success rates if it says nothing else."""

    text: str
    """The finding, in words."""
    plus: list[str] = Field(min_length=1)
    """Points added, each `label@value`, or `label` for a reference."""
    minus: list[str] = []
    """Points subtracted."""
    margin: NonNegativeFloat = 0.0
    """How far below zero the sum may fall: 0.05 for `no worse by 5 points`."""
    measure: Measure = "success"
    """What is added up: success rates, or means of steps to success or of attention on objects."""


class Quoted(_Part):
    """Published numbers, shown beside ours and never among them."""

    source: str
    """Paper and table."""
    header: list[str]
    """Names of the columns."""
    rows: list[list[str | int | float]]
    """The numbers, as printed."""
    note: str = ""
    """What a reader has to know to compare."""


class Sweep(Named):
    """What is swept, for which arms, on which items, and what is claimed about it."""

    folder = "policies/sweeps"
    noun = "sweep"

    description: str
    """One sentence for `vla-bench list`."""
    suite: str
    """Name of the suite."""
    tasks: list[str] = Field(default_factory=list)
    """Tasks; all of the suite if empty."""
    episodes: PositiveInt | None = None
    """Episodes per task and trial; the suite's number if left out."""
    trials: PositiveInt | None = None
    """Trials per task; the suite's number if left out."""
    batch: PositiveInt = 1
    """Episodes planned together."""
    seed: int = 0
    """Seed of the runs."""
    option: str
    """`horizon`, `batch`, `delay`, an option of the policies' cards, `suite.` or `recipe.` and an option
    there; or `variant`."""
    axis: str = ""
    """What the option is called in tables and figures, with its unit; its name if left out."""
    values: list[Value] = Field(min_length=1)
    """Values of the option, in order; all variants if left out."""
    variants: dict[str, dict[str, Value]] = Field(default_factory=dict)
    """What each value of `variant` stands for: options, named like `option`."""
    options: dict[str, Value] = Field(default_factory=dict)
    """Fixed options of all arms, named like `option`."""
    training_seeds: list[int] = Field([0, 1, 2], min_length=1)
    """Each recipe is trained once per seed."""
    arms: list[Arm] = Field(min_length=1)
    """The curves; the others are compared with the first."""
    panels: list[Panel] = Field(["success"], min_length=1)
    """What the figure shows against the option: success, collisions, steps to success, attention; or
    success against queries/s."""
    attention: str = ""
    """Map of the policies whose share on the objects of the task is measured as each item begins; none if
    left out."""
    claims: list[Claim] = Field(default_factory=list)
    """Published findings to be held against the numbers."""
    quoted: list[Quoted] = Field(default_factory=list)
    """Published numbers."""

    @model_validator(mode="before")
    @classmethod
    def _all_variants(cls, card: Any) -> Any:  # noqa: ANN401  whatever TOML can say
        if isinstance(card, dict) and card.get("option") == VARIANT and card.get("variants"):
            return {"values": list(card["variants"]), **card}
        return card

    @model_validator(mode="after")
    def _variants_are_known(self) -> Self:
        if (self.option == VARIANT) != bool(self.variants):
            raise ValueError(
                f"option {self.option!r}: tables [variants.NAME] go with option 'variant'"
            )
        wanted = [value for arm in self.arms for value in self.values_of(arm) if value is not None]
        for value in wanted if self.variants else []:
            if value not in self.variants:
                raise ValueError(f"no [variants.{value}]; {nearest(str(value), self.variants)}")
        return self

    @model_validator(mode="after")
    def _labels_differ(self) -> Self:
        labels = [arm.label for arm in self.arms]
        if len(set(labels)) < len(labels):
            raise ValueError(f"two arms have one label; labels are {', '.join(labels)}")
        return self

    @model_validator(mode="after")
    def _attention_is_measured(self) -> Self:
        shown = "attention" in self.panels or any(c.measure == "attention" for c in self.claims)
        if shown and not self.attention:
            raise ValueError('a panel or claim is about attention; name its map, attention = "MAP"')
        return self

    @property
    def axis_name(self) -> str:
        """What the swept option is called in tables and figures."""
        return self.axis or self.option

    @property
    def played(self) -> str:
        """Digest of what is to be played: all but what is said about it."""
        said = {"path", "description", "axis", "panels", "claims", "quoted"}
        # Sweeps without these keep the digest that they had before there were any.
        said |= {name for name in ("variants", "attention") if not getattr(self, name)}
        return digest(self.model_dump(mode="json", exclude=said))

    def values_of(self, arm: Arm) -> Sequence[Value | None]:
        """The values of one arm; a reference has the single value None."""
        if arm.reference:
            return [None]
        return self.values if arm.values is None else arm.values

    def settings(self, arm: Arm, value: Value | None) -> dict[str, Value]:
        """All options of an arm at a value; the sweep's recipe options reach arms that train only."""
        common = {
            key: option
            for key, option in self.options.items()
            if arm.recipe is not None or not key.startswith(RECIPE)
        }
        return {**common, **arm.options, **self._swept(value)}

    def _swept(self, value: Value | None) -> Mapping[str, Value]:
        if value is None:
            return {}
        return self.variants[str(value)] if self.option == VARIANT else {self.option: value}

    def quick(self) -> Self:
        """A copy that is over in a minute or two: few episodes, one short training of each recipe."""
        return self.model_copy(
            update={
                "name": f"{self.name}-quick",
                "episodes": min(self.episodes or QUICK_EPISODES, QUICK_EPISODES),
                "trials": 1,
                "training_seeds": self.training_seeds[:1],
                "options": {**self.options, **QUICK_RECIPE},
            }
        )


def written(value: Value) -> str:
    """A value as a card's overrides read it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def place(label: str, value: Value | None) -> str:
    """Name of a point, as claims write it: `label@value`, or the label of a reference."""
    return label if value is None else f"{label}@{written(value)}"
