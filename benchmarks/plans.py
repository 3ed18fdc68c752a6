"""What `accelerator.py` trains: stages, and plans of them."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from mien.config import AUGMENTATIONS


@dataclasses.dataclass(frozen=True)
class Stage:
    """One run: a recipe with changes, and the stages that teach it.

    `teachers` are asked about `views`, which stages of one name share, and of which a share of `mixing` is mixed from
    two (mixing.py). `crossed` are stages that each left a fold of Training out (`left_out`: which, of how many, and the
    seed that drew them): they say of the same views what networks that have not seen an image say of it, and have
    `share` in what is learned.
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
    mixing: float = 0.0


ALL = ("*",)
"""As teachers: all networks in the folder that nobody taught."""

FULL = {"progressive": (), "validation": "public", "keep": "last"}
THREE = ("large0", "vgg1", "large2")
TEN = tuple(f"speed{seed}" for seed in range(10))
SIX = ("vgg12", *TEN[:5])
CROSSED = tuple(f"cross{number}" for number in range(10))
STANDARD = AUGMENTATIONS["standard"]
WIDE = AUGMENTATIONS["wide"]
WIDER = dataclasses.replace(STANDARD, rotation=30.0, shift=0.2, zoom=0.3)
HARD = dataclasses.replace(WIDE, degrade=0.5)
WHOLE = dataclasses.replace(STANDARD, erase=0.0)
UNLIT = dataclasses.replace(STANDARD, brightness=0.0, contrast=0.0)
ROBUST = {"augmentation": AUGMENTATIONS["robust"]}
MIXED = {"batch_size": 128, "mixup": 0.2}
"""What taught recipes had until they were tried without."""
PATIENT = {"teacher_views": 60}

PLANS: dict[str, tuple[Stage, ...]] = {
    "three": (
        Stage("large0", "large", 66, {"seed": 0}),
        Stage("vgg1", "vgg", 133, {**MIXED, "seed": 1, "learning_rate": 0.1, "ema": 0.999, "augmentation": STANDARD}),
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
    "singles": (
        Stage("compact", "speedrun", 60, {"seed": 80, "network": "compact"}),
        Stage("thin", "speedrun", 60, {"seed": 80, "network": "averaged-compact"}),
        Stage("thick", "speedrun", 60, {"seed": 80, "network": "averaged-residual"}),
        Stage("wide", "speedrun", 60, {"seed": 80, "augmentation": WIDE}),
        Stage("decayed", "speedrun", 60, {"seed": 80, "weight_decay": 0.01}),
        Stage("sharp", "speedrun", 60, {"seed": 80, "sam": 0.05}),
    ),
    "kinds": (
        *(Stage(f"mean{seed}", "speedrun", 60, {"seed": seed}) for seed in (70, 71)),
        *(Stage(f"mean64-{seed}", "speedrun", 60, {"seed": seed, "network": "vgg-64"}) for seed in (74, 75)),
        Stage("slow", "speedrun", 60, {"seed": 80, "batch_size": 128, "learning_rate": 0.1, "ema": 0.9985}),
        Stage("smooth", "speedrun", 60, {"seed": 80, "label_smoothing": 0.2}),
        Stage("long", "speedrun", 120, {"seed": 80, "augmentation": WIDE}),
    ),
    "pupils": (
        Stage("vgg75", "distilled", 150, {"seed": 75}, ALL),
        Stage("small76", "small", 200, {"seed": 76}, ALL),
        Stage("vgg79", "distilled", 180, {"seed": 79, **PATIENT}, ALL, "mixed", mixing=0.5),
        Stage("vgg83", "distilled", 180, {"seed": 83, **PATIENT, **ROBUST}, ALL, "mixed", mixing=0.5),
        Stage("small82", "small", 240, {"seed": 82, **PATIENT}, ALL, "mixed", mixing=0.5),
        Stage("small84", "small", 240, {"seed": 84, **PATIENT, **ROBUST}, ALL, "mixed", mixing=0.5),
    ),
    "wide": (
        *(Stage(f"wide{seed}", "speedrun", 120, {"seed": seed, "augmentation": WIDE}) for seed in (90, 91)),
        Stage("wide64", "speedrun", 120, {"seed": 92, "augmentation": WIDE, "network": "vgg-64"}),
        Stage("wide240", "speedrun", 240, {"seed": 93, "augmentation": WIDE}),
        Stage("wider", "speedrun", 120, {"seed": 94, "augmentation": WIDER}),
        Stage("wider240", "speedrun", 240, {"seed": 95, "augmentation": WIDER}),
    ),
    "pupils-wide": (
        Stage("vgg96", "distilled", 180, {"seed": 96, **PATIENT, "augmentation": WIDE}, ALL, "wide", mixing=0.5),
        Stage("vgg97", "distilled", 180, {"seed": 97, **PATIENT, "augmentation": HARD}, ALL, "wide", mixing=0.5),
        Stage("small98", "small", 240, {"seed": 98, **PATIENT, "augmentation": WIDE}, ALL, "plain-wide"),
        Stage("small99", "small", 240, {"seed": 99, **PATIENT, "augmentation": HARD}, ALL, "plain-wide"),
    ),
}
"""All up to `pupils` were run on 2026-11-26 and 27, in five sessions, but for what `singles` has, `mean64-75` of
`kinds`, and `vgg83` and `small84` of `pupils`; docs/training-log.md has what came of them. `ten` was given `large4`
(`--given`), the two after it six networks of `ten`. In all before `shapes`, `vgg` had maxima between its stages, which
is `vgg-max` now.

`wide` is the next: wider moves for longer, as in `long`, the best network so far. Then `pupils-wide`, of all of them.
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
