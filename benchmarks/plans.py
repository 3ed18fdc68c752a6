"""What `accelerator.py` trains: stages, and plans of them."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from mien.config import AUGMENTATIONS


@dataclasses.dataclass(frozen=True)
class Stage:
    """One run: a recipe with changes, and the stages that teach it.

    `teachers` are asked about `views`, which stages of one name share. `crossed` are stages that each left a fold of
    Training out (`left_out`: which, of how many, and the seed that drew them): they say of the same views what
    networks that have not seen an image say of it, and have `share` in what is learned.
    """

    name: str
    recipe: str
    epochs: int
    changes: dict[str, Any]
    teachers: tuple[str, ...] = ()
    views: str = "views"
    crossed: tuple[str, ...] = ()
    share: float = 0.0
    left_out: tuple[int, int, int] | tuple[()] = ()


FULL = {"progressive": (), "validation": "public", "keep": "last"}
THREE = ("large0", "vgg1", "large2")
TEN = tuple(f"speed{seed}" for seed in range(10))
SIX = ("vgg12", *TEN[:5])
FIVE = (*(f"mean{seed}" for seed in range(70, 74)), "mean64")
CROSSED = tuple(f"cross{number}" for number in range(10))
STANDARD = AUGMENTATIONS["standard"]
WIDE = dataclasses.replace(STANDARD, rotation=20.0, shift=0.15, zoom=0.2)
WHOLE = dataclasses.replace(STANDARD, erase=0.0)
UNLIT = dataclasses.replace(STANDARD, brightness=0.0, contrast=0.0)
ROBUST = {"augmentation": AUGMENTATIONS["robust"]}
MIXED = {"batch_size": 128, "mixup": 0.2}
"""What taught recipes had until they were tried without."""

PLANS: dict[str, tuple[Stage, ...]] = {
    "three": (
        Stage("large0", "large", 66, {"seed": 0}),
        Stage("vgg1", "vgg", 133, {"seed": 1}),
        Stage("large2", "large", 73, {"seed": 2}),
        Stage("small", "small", 191, {**MIXED, "seed": 3, "learning_rate": 0.15, "ema": 0.998}, THREE),
        Stage("small5", "small", 400, {**MIXED, "seed": 5, "learning_rate": 0.15, "ema": 0.998}, THREE),
        Stage(
            "large4",
            "distilled",
            85,
            {**MIXED, "seed": 4, "network": "large", "learning_rate": 0.1, "ema": 0.999},
            THREE,
        ),
    ),
    "ten": (
        *(Stage(name, "speedrun", 60, {"seed": seed}) for seed, name in enumerate(TEN)),
        Stage("small11", "small", 200, {"mixup": 0.2, "seed": 11}, (*TEN, "large4")),
        Stage("vgg12", "distilled", 150, {"seed": 12}, (*TEN, "large4")),
        Stage("small13", "small", 200, {"seed": 13}, (*TEN, "large4")),
        Stage("small14", "small", 200, {"seed": 14}, ("vgg12", *TEN[1:4]), "views14"),
        Stage("small16", "small", 200, {"seed": 16}, (*TEN, "large4")),
    ),
    "crossed": (
        *(Stage(name, "speedrun", 60, {"seed": 30}, left_out=(fold, 5, 30)) for fold, name in enumerate(CROSSED[:5])),
        *(Stage(name, "speedrun", 60, {"seed": 31}, left_out=(fold, 5, 31)) for fold, name in enumerate(CROSSED[5:])),
        Stage("vgg40", "distilled", 150, {"seed": 40}, SIX, "views", CROSSED, 0.5),
        Stage("small41", "small", 200, {"seed": 41}, SIX, "views", CROSSED, 0.5),
        Stage("small42", "small", 200, {"seed": 42}, SIX, "views", CROSSED, 1.0),
        Stage("vgg43", "distilled", 150, {"seed": 43}, SIX, "views", CROSSED, 1.0),
    ),
    "shares": (
        Stage("small46", "small", 200, {"seed": 46, "teacher_weight": 0.7}, SIX),
        Stage("vgg44", "distilled", 150, {"seed": 44, "teacher_weight": 0.7}, SIX),
        Stage("small47", "small", 200, {"seed": 47, "teacher_weight": 0.5}, SIX),
        Stage("vgg45", "distilled", 120, {"seed": 45, "teacher_weight": 0.8, "sam": 0.1}, SIX),
    ),
    "shapes": (
        Stage("plain", "speedrun", 60, {"seed": 60, "network": "vgg-max"}),
        Stage("mean", "speedrun", 60, {"seed": 60}),
        *(
            Stage(name, "speedrun", 60, {"seed": 60, "network": f"vgg-max+{name}"})
            for name in ("places", "normed", "squeeze", "residual", "64", "look", "deep", "dropped")
        ),
        *(
            Stage(name, "speedrun", 60, {"seed": 60, "network": "vgg-max", "augmentation": augmentation})
            for name, augmentation in (("wide", WIDE), ("whole", WHOLE), ("unlit", UNLIT))
        ),
    ),
    "averages": (
        *(Stage(f"mean{seed}", "speedrun", 60, {"seed": seed}) for seed in range(70, 74)),
        Stage("mean64", "speedrun", 60, {"seed": 74, "network": "vgg-64"}),
        Stage("vgg75", "distilled", 150, {"seed": 75}, FIVE),
        Stage("small76", "small", 200, {"seed": 76}, FIVE),
        Stage("vgg77", "distilled", 150, {"seed": 77, "network": "vgg-64"}, FIVE),
        Stage("vgg78", "distilled", 150, {"seed": 78, "augmentation": WIDE}, FIVE, "views78"),
    ),
    "singles": (
        Stage("compact", "speedrun", 60, {"seed": 80, "network": "compact"}),
        Stage("thin", "speedrun", 60, {"seed": 80, "network": "averaged-compact"}),
        Stage("thick", "speedrun", 60, {"seed": 80, "network": "averaged-residual"}),
        Stage("wide", "speedrun", 60, {"seed": 80, "augmentation": WIDE}),
        Stage("long", "speedrun", 120, {"seed": 80, "augmentation": WIDE}),
        Stage("smooth", "speedrun", 60, {"seed": 80, "label_smoothing": 0.2}),
        Stage("decayed", "speedrun", 60, {"seed": 80, "weight_decay": 0.01}),
        Stage("sharp", "speedrun", 60, {"seed": 80, "sam": 0.05}),
        Stage("slow", "speedrun", 60, {"seed": 80, "batch_size": 128, "learning_rate": 0.1, "ema": 0.9985}),
    ),
    "further": (
        Stage("small50", "small", 200, {**ROBUST, "seed": 50}, FIVE),
        Stage("large51", "distilled", 85, {"seed": 51, "network": "large", "learning_rate": 0.2}, FIVE),
        Stage("long52", "speedrun", 180, {"seed": 52}),
        Stage("vgg53", "distilled", 150, {"seed": 53, "teacher_views": 90}, FIVE, "views53"),
        Stage("vgg54", "distilled", 150, {**ROBUST, "seed": 54}, FIVE),
    ),
}
"""All up to `shapes` were run on 2026-11-26, in four sessions; docs/training-log.md has what came of them. `ten` was
given `large4` (`--given`), the two after it six networks of `ten`. In all before `shapes`, `vgg` had maxima between its
stages, which is `vgg-max` now.

`averages` is the next, with `singles` in a second process beside it: teachers with averages, their pupils; what differs
from `speedrun` in one thing. Then `further`, with `mean70` to `mean73` and `mean64` as its teachers: degraded images
from the start; a larger pupil; whether a teacher that knows its images by heart is worse on others; three times the
views.
"""


def chosen(plan: str, only: str, add: str) -> tuple[Stage, ...]:
    """The stages of a plan, or some of them in the order named, and those that a JSON list adds."""
    stages = {stage.name: stage for stage in PLANS[plan]}
    names = [name for name in only.split(",") if name] or list(stages)
    unknown = sorted({*names} - {*stages, "none"})
    if unknown:
        raise SystemExit(f"--only: {', '.join(unknown)}: no such stage; {plan} has {', '.join(stages)}")
    more = []
    for entry in json.loads(add):
        changes = dict(entry.pop("changes", {}))
        if "augmentation" in changes:
            changes["augmentation"] = dataclasses.replace(STANDARD, **changes["augmentation"])
        more.append(Stage(**{**entry, "changes": changes, "teachers": tuple(entry.get("teachers", ()))}))
    return (*(stages[name] for name in names if name != "none"), *more)
