"""What `mien tune` varies: fields of `TrainingConfig`, each in a range or among choices, checked against the config."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mien.config import AUGMENTATIONS, AugmentationPolicy, TrainingConfig, augmentation
from mien.errors import UsageError, unknown_choice

Value = bool | int | float | str

STRENGTH = "augmentation.strength"
"""Not a field: a factor on every amount of the recipe's augmentation, each up to what the policy allows."""

FIXED = (
    *("input", "seed", "validation", "validation_fraction", "ferplus", "keep"),
    *("teachers", "init", "progressive", "precision", "deterministic"),
)
"""Fields that decide what trials are compared by, or how they are computed, rather than how well they learn."""

_LIMITS = {
    "rotation": 180.0,
    "shift": 1.0,
    "shear": 45.0,
    "zoom": 0.99,
    "brightness": 1.0,
    "contrast": 1.0,
    "erase": 1.0,
    "degrade": 1.0,
}


@dataclass(frozen=True, slots=True)
class Span:
    """Numbers from `low` to `high`, both included.

    Attributes:
        low: the least.
        high: the greatest, above `low`.
        log: whether equal factors are equally likely rather than equal differences; `low` is then above 0.
        whole: whether only whole numbers count.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise UsageError(f"space: the low end must be below the high end, received {self}")
        if self.log and self.low <= 0:
            raise UsageError(f"space: a log range must begin above 0, received {self}")

    def __str__(self) -> str:
        return f"{self.low:g}:{self.high:g}{':log' if self.log else ''}"

    def ends(self) -> tuple[Value, ...]:
        """What must be allowed for all of it to be."""
        return (self.low, self.high)

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Choices:
    """One of several values, in no order."""

    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        if len(set(map(repr, self.values))) != len(self.values) or len(self.values) < 2:
            raise UsageError(f"space: choices must be two or more different values, received {self}")

    def __str__(self) -> str:
        return ",".join(map(str, self.values))

    def ends(self) -> tuple[Value, ...]:
        """What must be allowed for all of it to be."""
        return self.values

    def __contains__(self, value: object) -> bool:
        return value in self.values


Space = Mapping[str, Span | Choices]
"""Field, ``augmentation.FIELD``, ``augmentation`` or ``augmentation.strength``, to what it may be."""


def parse_space(texts: Sequence[str], base: TrainingConfig) -> dict[str, Span | Choices]:
    """Read ``FIELD=LOW:HIGH``, ``FIELD=LOW:HIGH:log`` and ``FIELD=A,B,C``.

    Args:
        texts: as the command line takes them.
        base: the config whose fields are varied.

    Raises:
        UsageError: it cannot be read, the field is not one that can be varied, or the config refuses an end.
    """
    space: dict[str, Span | Choices] = {}
    for text in texts:
        name, equals, amount = text.partition("=")
        if not (name and equals and amount):
            raise UsageError(f"--space: must be FIELD=LOW:HIGH, FIELD=LOW:HIGH:log or FIELD=A,B,C; received {text!r}")
        if name in space:
            raise UsageError(f"--space: {name} is given twice; leave one out")
        _present(name, base)  # refuses what cannot be varied
        try:
            space[name] = _dimension(name, amount)
        except UsageError as error:
            raise UsageError(f"--space {text}: {str(error).partition(': ')[2]}") from error
    check_space(space, base)
    return space


def check_space(space: Space, base: TrainingConfig) -> None:
    """See that every value in a space gives a config.

    Raises:
        UsageError: names the field, and what is allowed.
    """
    if not space:
        raise UsageError("space: nothing to vary; name a field, such as learning_rate=0.001:0.1:log")
    for name, dimension in space.items():
        present = _present(name, base)
        _check_kind(name, dimension, present)
        for end in dimension.ends():
            try:
                config_with(base, {name: _whole(end) if isinstance(dimension, Span) and dimension.whole else end})
            except UsageError as error:
                raise UsageError(f"--space {name}={dimension}: {error}") from error


def default_space(base: TrainingConfig) -> dict[str, Span | Choices]:
    """What is worth varying about a config: its rates by up to ten either way, regularisation from none to much."""
    rate, decay = base.learning_rate, base.weight_decay
    space: dict[str, Span | Choices] = {"learning_rate": Span(rate / 10, min(rate * 10, 100), log=True)}
    space["weight_decay"] = Span(decay / 10, min(decay * 10, 1), log=True) if decay else Span(0.0, 1e-2)
    space["label_smoothing"] = Span(0.0, 0.3)
    space["mixup"] = Span(0.0, 0.4)
    if base.ema:
        space["ema"] = Span(0.99, 0.9995)
    if base.augmentation.moves:
        space[STRENGTH] = Span(0.5, 1.5)
    return space


def config_with(base: TrainingConfig, values: Mapping[str, Value]) -> TrainingConfig:
    """A config with the values of a point in the space.

    Raises:
        UsageError: an unknown field, or a value out of range.
    """
    values = dict(values)
    policy = base.augmentation
    if "augmentation" in values:
        policy = augmentation(str(values.pop("augmentation")))
    if STRENGTH in values:
        policy = strengthened(policy, float(values.pop(STRENGTH)))
    kept = {entry.name: getattr(base, entry.name) for entry in dataclasses.fields(base)}
    return TrainingConfig.from_dict({**kept, **values, "augmentation": policy})


def strengthened(policy: AugmentationPolicy, factor: float) -> AugmentationPolicy:
    """A policy with every amount times a factor, each at most what is allowed; mirroring stays as it is."""
    amounts = {name: min(getattr(policy, name) * factor, limit) for name, limit in _LIMITS.items()}
    return dataclasses.replace(policy, **amounts)


def point_of(base: TrainingConfig, space: Space) -> dict[str, Value]:
    """Where a config lies in a space: its own values, those left out that the space does not hold."""
    return {name: value for name, dimension in space.items() if (value := _present(name, base)) in dimension}


def _present(name: str, base: TrainingConfig) -> Value:
    """The value that the base config has.

    Raises:
        UsageError: there is no such field, or it is one of `FIXED`.
    """
    if name == STRENGTH:
        return 1.0
    if name == "augmentation":
        return next((word for word, policy in AUGMENTATIONS.items() if policy == base.augmentation), "")
    owner: Any = base.augmentation if name.startswith("augmentation.") else base
    field = name.removeprefix("augmentation.")
    if owner is base and field in FIXED:
        raise UsageError(
            f"--space: {name} cannot be varied, it decides what trials are compared by; set it for all of them with "
            f"--set {name}=VALUE"
        )
    if field not in {entry.name for entry in dataclasses.fields(owner)}:
        raise unknown_choice("--space", name, tunable())
    value: Value = getattr(owner, field)
    return value


def tunable() -> list[str]:
    """The names that a space may hold."""
    fields = [entry.name for entry in dataclasses.fields(TrainingConfig) if entry.name not in FIXED]
    return [*fields, *(f"augmentation.{entry.name}" for entry in dataclasses.fields(AugmentationPolicy)), STRENGTH]


def _dimension(name: str, text: str) -> Span | Choices:
    if ":" not in text:
        return Choices(tuple(_scalar(word) for word in text.split(",")))
    low, high, *rest = text.split(":")
    try:
        ends = (float(low), float(high))
    except ValueError:
        raise UsageError(f"--space: {name} must be LOW:HIGH, two numbers; received {text!r}") from None
    if rest not in ([], ["log"]):
        raise UsageError(f"--space: {name} must end after HIGH or with :log; received {text!r}")
    return Span(*ends, log=bool(rest), whole=_takes_whole(name))


def _takes_whole(name: str) -> bool:
    """Whether a field is of whole numbers, whatever number it holds at present."""
    owner = AugmentationPolicy if name.startswith("augmentation.") else TrainingConfig
    field = name.removeprefix("augmentation.")
    return any((entry.name, entry.type) == (field, "int") for entry in dataclasses.fields(owner))


def _scalar(word: str) -> Value:
    """``true``, ``12``, ``0.5`` as JSON has them, anything else as it stands."""
    try:
        value = json.loads(word)
    except json.JSONDecodeError:
        return word
    return value if isinstance(value, bool | int | float) else word


def _check_kind(name: str, dimension: Span | Choices, present: Value) -> None:
    """Ranges are for numbers, and for whole numbers have whole ends."""
    if not isinstance(dimension, Span):
        return
    if isinstance(present, bool | str):
        raise UsageError(f"--space: {name} is no number; give choices, such as {name}=A,B; received {dimension}")
    if dimension.whole and not (dimension.low.is_integer() and dimension.high.is_integer()):
        raise UsageError(f"--space: {name} takes whole numbers; received {dimension}")


def _whole(value: Value) -> Value:
    return int(value)
