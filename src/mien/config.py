"""What a training run is asked to do: frozen, validated, saved beside the run, read back without loss."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mien.errors import UsageError, unknown_choice
from mien.fields import build, check_flag, check_one_of, check_within
from mien.keraswords import of_object
from mien.preprocessing import InputSpec

Optimizer = Literal["adam", "sgd"]
Schedule = Literal["constant", "inverse-time", "cosine"]
Precision = Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"]
Keep = Literal["best", "last"]
Validation = Literal["holdout", "public"]
FerPlus = Literal["none", "majority", "distribution"]
TeacherView = Literal["same", "stored", "plain"]


@dataclass(frozen=True, slots=True)
class AugmentationPolicy:
    """How training images are varied; every amount is the half-width of a uniform draw, 0 leaves a thing alone.

    Attributes:
        rotation: degrees, 0 to 180.
        shift: fraction of the side, along x and y apart, 0 to 1.
        shear: degrees, 0 to 45.
        zoom: scale factors from 1 - zoom to 1 + zoom, along x and y apart unless `zoom_together`; 0 to below 1.
        zoom_together: whether one factor serves both axes, so that faces keep their proportions.
        flip: whether half of the images are mirrored.
        brightness: fraction of the full range that is added, 0 to 1.
        contrast: factors about the image's mean from 1 - contrast to 1 + contrast, 0 to 1.
        erase: share of images in which one box is blanked (Zhong et al. 2020), 0 to 1.
        degrade: share of images that are blurred, reduced and enlarged again, made noisy, compressed as JPEG or
            darkened, one of these each (`mien.degradation`), 0 to 1. Teachers see them as they were before.
    """

    rotation: float = 0.0
    shift: float = 0.0
    shear: float = 0.0
    zoom: float = 0.0
    zoom_together: bool = False
    flip: bool = False
    brightness: float = 0.0
    contrast: float = 0.0
    erase: float = 0.0
    degrade: float = 0.0

    def __post_init__(self) -> None:
        check_within(self, "rotation", 0, 180)
        check_within(self, "shift", 0, 1)
        check_within(self, "shear", 0, 45)
        check_within(self, "zoom", 0, 0.99)
        for name in ("brightness", "contrast", "erase", "degrade"):
            check_within(self, name, 0, 1)
        for name in ("zoom_together", "flip"):
            check_flag(self, name)

    @property
    def moves(self) -> bool:
        """Whether the policy changes geometry at all."""
        return bool(self.rotation or self.shift or self.shear or self.zoom or self.flip)


_STANDARD = AugmentationPolicy(
    rotation=11.5, shift=0.09, zoom=0.13, zoom_together=True, flip=True, brightness=0.15, contrast=0.3, erase=0.25
)

AUGMENTATIONS: dict[str, AugmentationPolicy] = {
    "none": AugmentationPolicy(),
    # The seed's ImageDataGenerator: shear_range is in degrees there, so 0.2 is next to nothing.
    "seed": AugmentationPolicy(rotation=20, shift=0.1, shear=0.2, zoom=0.2, flip=True),
    "standard": _STANDARD,
    "wide": dataclasses.replace(_STANDARD, rotation=20.0, shift=0.15, zoom=0.2),
    "robust": dataclasses.replace(_STANDARD, degrade=0.5),
}
"""Named policies: what `--augmentation` takes."""


_PART = "augmentation."
"""Before the names of single fields of the policy."""


def augmentation(name: str) -> AugmentationPolicy:
    """A policy by its name.

    Raises:
        UsageError: it is none of `AUGMENTATIONS`.
    """
    if name not in AUGMENTATIONS:
        raise unknown_choice("augmentation", name, AUGMENTATIONS)
    return AUGMENTATIONS[name]


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Everything that decides a training run but the data.

    Attributes:
        network: a name in `mien.networks.NETWORKS`.
        input: size and colour of the network's input.
        epochs: passes over the training data, at least 1.
        batch_size: images a step, at least 1.
        seed: from which every random stream of the run derives, 0 to 2**32 - 1.
        optimizer: ``adam`` or ``sgd`` (Nesterov momentum 0.9).
        learning_rate: the first (constant, inverse-time) or highest (cosine) rate, above 0.
        schedule: ``constant``; ``inverse-time``: rate / (1 + decay * step); ``cosine``: a linear rise over the first
            15 % of all steps, then half a cosine down to 0 (Loshchilov & Hutter 2017).
        decay: of ``inverse-time``, a step.
        weight_decay: decoupled decay of kernels, as in Keras's optimizers (Loshchilov & Hutter 2019), 0 or more.
        label_smoothing: 0 to below 1 (Szegedy et al. 2016).
        augmentation: how training images are varied.
        mixup: alpha of the Beta distribution by which pairs of images and their labels are mixed (Zhang et al. 2018),
            0 (none) to 1.
        sam: radius of sharpness-aware minimisation (Foret et al. 2021), 0 for none; doubles the cost of a step.
        teachers: model files, or names of bundled models, whose mean answer to the same augmented images is mixed into
            the targets (Hinton et al. 2015); empty for none.
        teacher_weight: the teachers' share of the targets, 0 to 1.
        teacher_view: what teachers are asked about: the ``same`` augmented image that the network sees, in each step;
            ``stored``: `teacher_views` augmented views of each image, once, before training, which then goes through
            the views, an epoch each, and varies them by mirroring and mixup alone (Shen & Xing 2022, "A fast knowledge
            distillation framework"); or each ``plain`` training image, once, upright and mirrored, before training.
            The last two take int8 files and ensembles too.
        teacher_views: how many views of each image are stored; a byte a pixel of disk each.
        init: a model file, or the name of a bundled model, from whose weights training begins, all but the last layer's
            where the classes differ; empty for random weights. `network` must be the one that the file holds, which
            the commands see to where none is named.
        init_share: share of the weights of `init` in what is saved, the rest being what was learned, with batch-norm
            statistics of their own: what is new is learned with less of the old forgotten (Wortsman et al. 2022,
            "Robust fine-tuning of zero-shot models"). 0 for none, to 0.95. Epochs are judged without it.
        progressive: sides of the training images in equal shares of the epochs, such as (32, 40, 48): small pictures
            first, the input's size last (Howard 2018, Tan & Le 2021); empty for full size all along.
        validation: ``holdout`` takes validation images out of Training; ``public`` trains on all of it and watches
            PublicTest, for what is chosen on PublicTest anyway, and is as ``holdout`` where the data has none. A split
            ``val`` goes before both.
        validate_every: epochs from one look at validation to the next; the last epoch is always looked at.
        validation_fraction: share of Training held out to choose epochs on, where the data has no ``val`` split;
            0 to 0.5.
        ferplus: whose labels are learned: the data's own (``none``), or those of votes, FER+'s beside ``fer2013.csv``
            in eight classes, or a table's: their ``majority`` or, as soft targets, their ``distribution`` (Barsoum et
            al. 2016).
        class_weights: whether errors weigh inversely to class frequency; mixed images by their mixture. The accuracy of
            training is weighed too, but not with `mixup`.
        early_stopping: epochs without a better validation loss after which training ends; 0 for never. Validation is
            looked at each `validate_every` epochs, and they are counted all the same.
        keep: whether the saved model is that of the best validation accuracy or of the last epoch.
        ema: decay of an exponential moving average of the weights that is evaluated and saved; 0 for none.
        precision: ``auto`` takes bfloat16 where the machine computes in it, float32 elsewhere.
        deterministic: whether to make results equal to the bit, at some cost of speed.
    """

    network: str = "seed"
    input: InputSpec = field(default_factory=InputSpec)
    epochs: int = 30
    batch_size: int = 32
    seed: int = 0
    optimizer: Optimizer = "adam"
    learning_rate: float = 0.01
    schedule: Schedule = "inverse-time"
    decay: float = 0.0008
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    augmentation: AugmentationPolicy = AUGMENTATIONS["seed"]
    mixup: float = 0.0
    sam: float = 0.0
    teachers: tuple[str, ...] = ()
    teacher_weight: float = 0.7
    teacher_view: TeacherView = "same"
    teacher_views: int = 20
    init: str = ""
    init_share: float = 0.0
    progressive: tuple[int, ...] = ()
    validation: Validation = "holdout"
    validate_every: int = 1
    validation_fraction: float = 0.1
    ferplus: FerPlus = "none"
    class_weights: bool = False
    early_stopping: int = 0
    keep: Keep = "best"
    ema: float = 0.0
    precision: Precision = "auto"
    deterministic: bool = False

    def __post_init__(self) -> None:
        check_within(self, "epochs", 1, 100_000, whole=True)
        check_within(self, "batch_size", 1, 65_536, whole=True)
        check_within(self, "seed", 0, 2**32 - 1, whole=True)
        check_within(self, "learning_rate", 1e-8, 100)
        check_within(self, "decay", 0, 1)
        check_within(self, "weight_decay", 0, 1)
        check_within(self, "label_smoothing", 0, 0.99)
        check_within(self, "mixup", 0, 1)
        check_within(self, "sam", 0, 10)
        check_within(self, "teacher_weight", 0, 1)
        check_within(self, "teacher_views", 1, 10_000, whole=True)
        check_within(self, "init_share", 0, 0.95)
        check_within(self, "validate_every", 1, 100_000, whole=True)
        check_within(self, "validation_fraction", 0, 0.5)
        check_within(self, "early_stopping", 0, 100_000, whole=True)
        check_within(self, "ema", 0, 0.99999)
        check_flag(self, "class_weights")
        check_flag(self, "deterministic")
        check_one_of(self, "optimizer", Optimizer)
        check_one_of(self, "schedule", Schedule)
        check_one_of(self, "precision", Precision)
        check_one_of(self, "keep", Keep)
        check_one_of(self, "validation", Validation)
        check_one_of(self, "ferplus", FerPlus)
        check_one_of(self, "teacher_view", TeacherView)
        if not isinstance(self.augmentation, AugmentationPolicy):
            raise UsageError(
                "augmentation: must be an AugmentationPolicy, such as AUGMENTATIONS['standard'] of mien.config, or in "
                f"mien.fit and mien.recipe a name ({', '.join(AUGMENTATIONS)}), received {self.augmentation!r}"
                + of_object("augmentation", self.augmentation)
            )
        if not isinstance(self.input, InputSpec):
            raise UsageError(
                "input: must be an InputSpec, such as InputSpec(48, 1), or in JSON its size and channels, received "
                f"{self.input!r}"
            )
        self._check_progressive()
        self._check_models()

    def _check_progressive(self) -> None:
        sizes, full = self.progressive, self.input.size
        whole = isinstance(sizes, tuple) and all(isinstance(size, int) and 16 <= size <= full for size in sizes)
        if not whole or list(sizes) != sorted(sizes) or (sizes and sizes[-1] != full):
            raise UsageError(
                f"progressive: must be rising sides from 16 pixels to the input's {full}, received {sizes!r}"
            )

    def _check_models(self) -> None:
        if not isinstance(self.teachers, tuple) or not all(isinstance(path, str) and path for path in self.teachers):
            raise UsageError(f"teachers: must be model files or names of bundled models, received {self.teachers!r}")
        varied = dataclasses.replace(self.augmentation, degrade=0.0) != AugmentationPolicy()
        if self.teachers and self.teacher_view == "stored" and not varied:
            raise UsageError(
                "teacher_view: stored views are made by the augmentation, and there is none; choose one "
                f"({', '.join(AUGMENTATIONS)}), or teacher_view plain"
            )
        if not isinstance(self.init, str):
            raise UsageError(f"init: must be a model file or the name of a bundled model, received {self.init!r}")
        if self.init_share and not self.init:
            raise UsageError(f"init_share: is a share of init's weights, received {self.init_share!r} without init")

    def size_in(self, epoch: int) -> int:
        """Side of the training images in an epoch, from 0."""
        if not self.progressive:
            return self.input.size
        return self.progressive[min(epoch * len(self.progressive) // self.epochs, len(self.progressive) - 1)]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `from_dict` gives an equal config back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainingConfig:
        """Build a config from what `to_dict` gave; keys that are not its fields fail.

        ``augmentation`` may also be a name in `AUGMENTATIONS`, and ``augmentation.FIELD`` changes one field of it.

        Raises:
            UsageError: an unknown key or a value out of range.
        """
        values = dict(values)
        for name, kind in (("input", InputSpec), ("augmentation", AugmentationPolicy)):
            if isinstance(values.get(name), dict):
                values[name] = build(kind, values[name], name)
        if isinstance(values.get("augmentation"), str):
            values["augmentation"] = augmentation(values["augmentation"])
        parts = {name.removeprefix(_PART): values.pop(name) for name in list(values) if name.startswith(_PART)}
        policy = values.get("augmentation", AUGMENTATIONS["seed"])
        if parts and isinstance(policy, AugmentationPolicy):  # anything else is refused below
            values["augmentation"] = build(AugmentationPolicy, {**dataclasses.asdict(policy), **parts}, "augmentation")
        for name in ("progressive", "teachers"):
            if isinstance(values.get(name), list):
                values[name] = tuple(values[name])
            elif isinstance(values.get(name), int | str):  # a single one, or "" for none
                values[name] = () if values[name] == "" else (values[name],)
        config: TrainingConfig = build(cls, values, "training config")
        return config


def read_config(path: str | Path) -> TrainingConfig:
    """Read a config from a JSON file: what `TrainingConfig.to_dict` gives, or the config.json of a run.

    Raises:
        UsageError: it cannot be read, or is no such file.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read as JSON ({error}); name a config.json or best.json") from error
    values = document.get("training", document) if isinstance(document, dict) else None
    if not isinstance(values, dict):
        raise UsageError(f"{path}: holds no settings; name the config.json of a run or the best.json of a study")
    return TrainingConfig.from_dict(values)
