"""From a dataset to what a run takes: images to learn from, to choose epochs on, to judge with; and facts to record."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mien.config import TrainingConfig
from mien.datasets import Dataset, Faces, holdout
from mien.datasets.duplicates import holdout_groups, pixel_groups, repeated_rows
from mien.datasets.exclusion import exclude
from mien.datasets.facing import Detect, with_faces
from mien.datasets.origins import Origins
from mien.datasets.pixels import Progress
from mien.datasets.streaming import check_images, in_parts, refuse_unstreamable, should_stream
from mien.errors import DataError, UsageError, many
from mien.feeding import ArraySource, Source, StreamSource
from mien.preprocessing import InputSpec

VALIDATION_BYTES = 64 * 1024**2
"""Validation images of a streamed run take no more memory than this, however large the dataset."""


@dataclass(frozen=True)
class Materials:
    """What one run works with.

    Attributes:
        source: the training images.
        validation: faces that epochs are compared on, or None.
        tests: gives the test faces, in parts that fit memory; nothing where there are none. Called once, at the end;
            None where they are not to be read.
        classes: names in the order of the outputs.
        facts: JSON-ready record for config.json and the model card: format, counts, digest; no paths.
        skipped: files and rows left out, each with its reason.
    """

    source: Source
    validation: Faces | None
    tests: Callable[[], Iterator[Faces]] | None
    classes: tuple[str, ...]
    facts: dict[str, Any]
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Selection:
    """Which part of a dataset a run may use, and how.

    Attributes:
        limit: train on this many images at most, drawn by the run's seed; 0 for all.
        skip_bad: leave out images that cannot be used instead of refusing the dataset.
        streaming: read images from files all along; None decides by size.
        detect_faces: cut each image to its largest face; ``auto`` does so for photographs, not for face crops.
        without_duplicates: leave out training images whose pixels also stand in a test split: at the input's size
            where images are in memory, as they are stored where they are streamed.
        exclude: path of a list of faces to leave out of all splits (`mien.datasets.exclusion`); empty for none.
    """

    limit: int = 0
    skip_bad: bool = False
    streaming: bool | None = None
    detect_faces: Detect = "auto"
    without_duplicates: bool = False
    exclude: str = ""

    def __post_init__(self) -> None:
        if self.limit < 0:
            raise UsageError(f"limit: must be 0 (all) or more, received {self.limit}")


def gather(
    dataset: Dataset, config: TrainingConfig, selection: Selection, progress: Progress | None = None
) -> Materials:
    """Read a dataset, or arrange for it to be streamed, and set validation images apart.

    Raises:
        UsageError: the dataset has no training split, or no test split that duplicates could stand in.
        DataError: it has images that cannot be used, or too few; or the list to exclude names others.
    """
    whole = len(dataset)
    if selection.exclude:
        dataset = exclude(dataset, selection.exclude)
    if selection.without_duplicates and not _has_tests(dataset):
        raise UsageError("without_duplicates: needs a test split to compare Training with, and this data has none")
    dataset, missed = with_faces(dataset, selection.detect_faces, progress=progress)
    stream = selection.streaming
    if stream is None:
        stream = should_stream(dataset.select("train"), config.input) and find_spec("grain") is not None
    if stream:
        refuse_unstreamable(dataset)
        if config.teachers and config.teacher_view != "same":
            raise streamed_teaching(config)
        materials = _from_files(dataset, config, selection, progress)
    else:
        faces = dataset.load(config.input, skip_bad=selection.skip_bad, progress=progress)
        materials = from_faces(faces, config, selection)
    found = {"detect_faces": missed is not None, "without_face": missed}
    if selection.exclude:
        found["excluded"] = whole - len(dataset)
    return replace(materials, facts={**materials.facts, **found})


def streamed_teaching(config: TrainingConfig) -> UsageError:
    """The error for teachers that are asked before training, where its images are not in memory."""
    return UsageError(
        f"teacher_view: {config.teacher_view} needs the training images in memory, and they are streamed; use "
        "--in-memory, or --set teacher_view=same"
    )


def from_faces(faces: Faces, config: TrainingConfig, selection: Selection) -> Materials:
    """Materials from faces in memory: splits ``train``, ``val`` where there is one, and the test splits."""
    kept, left_out = faces, None
    if selection.without_duplicates:
        copies = repeated_rows(pixel_groups(faces.images), faces.splits, "train", "test")
        kept, left_out = faces.take(~copies), _count_labelled(faces.labels[copies])
    known = kept.labelled()
    train = known.select("train")
    train = train.take(_limited(train.labels, config, selection))
    learn, check, apart = train, None, None
    if "val" in known.splits:
        check = known.select("val")
    elif config.validation == "public" and "public" in known.splits:
        check = known.select("public")
    elif config.validation_fraction:
        _refuse_few(len(train), config)
        rows, held = holdout(train, fraction=config.validation_fraction, seed=config.seed)
        learn, check = train.take(rows), train.take(held)
        apart = _apart(train.origins, rows, held)
    return Materials(
        ArraySource(learn.images, learn.labels, targets=learn.targets),
        check,
        lambda: iter([known.select("test")] if _has_tests(known) else []),
        faces.classes,
        {**_facts(faces, len(learn), check, learn.digest(), left_out), "validation_apart": apart},
        faces.skipped,
    )


def _from_files(dataset: Dataset, config: TrainingConfig, selection: Selection, progress: Progress | None) -> Materials:
    """Leave training images on disk; hold as many validation images in memory as the limit allows."""
    checked, groups, skipped = check_images(dataset, skip_bad=selection.skip_bad, progress=progress)
    left_out = None
    if selection.without_duplicates:
        copies = repeated_rows(groups, checked.splits, "train", "test")
        left_out = _count_labelled(checked.labels[copies])
        checked, groups = checked.take(~copies), groups[~copies]
    labelled = checked.labels >= 0
    known, groups = checked.take(labelled), groups[labelled]
    rows = np.flatnonzero(known.splits == "train")
    rows = rows[_limited(known.labels[rows], config, selection)]
    held, apart = np.empty(0, np.int64), None
    if "val" in known.splits:
        held = np.flatnonzero(known.splits == "val")
        held = held[:: -(-len(held) // _affordable(config.input))]
    elif config.validation == "public" and "public" in known.splits:
        held = np.flatnonzero(known.splits == "public")
        held = held[:: -(-len(held) // _affordable(config.input))]
    elif config.validation_fraction:
        _refuse_few(len(rows), config)
        fraction = min(config.validation_fraction, _affordable(config.input) / len(rows))
        learn, check = holdout_groups(
            known.labels[rows],
            groups[rows],
            origins=None if known.origins is None else known.origins.take(rows),
            fraction=fraction,
            seed=config.seed,
        )
        rows, held = rows[learn], rows[check]
        apart = _apart(known.origins, rows, held)
    learn_set, check_set = known.take(rows), known.take(held) if len(held) else None
    return Materials(
        StreamSource(learn_set, config.input),
        check_set.load(config.input, cache=False) if check_set is not None else None,
        lambda: in_parts(known.select("test"), config.input) if _has_tests(known) else iter([]),
        dataset.classes,
        {**_facts(dataset, len(learn_set), check_set, _names_digest(learn_set), left_out), "validation_apart": apart},
        skipped,
    )


def _apart(origins: Origins | None, learn: NDArray[np.int64], check: NDArray[np.int64]) -> str | None:
    """What images held out share with no training image, such as ``person``; None where nothing is known of it."""
    if not origins or np.isin(origins.numbers[check], origins.numbers[learn]).any():
        return None
    return origins.kind


def _has_tests(known: Dataset | Faces) -> bool:
    return bool(np.isin(known.splits, ("public", "private", "test")).any())


def _count_labelled(labels: NDArray[np.int64]) -> int:
    return int((labels >= 0).sum())


def _affordable(spec: InputSpec) -> int:
    """How many validation images of a size a streamed run holds in memory, at least 1."""
    return max(1, VALIDATION_BYTES // (spec.size * spec.size * spec.channels))


def _limited(labels: NDArray[np.int64], config: TrainingConfig, selection: Selection) -> NDArray[np.int64]:
    """Rows to use: all, or `limit` drawn at random, in their order."""
    if not selection.limit or selection.limit >= len(labels):
        return np.arange(len(labels))
    chosen = np.random.default_rng((config.seed, len(labels))).permutation(len(labels))[: selection.limit]
    return np.sort(chosen)


def _refuse_few(count: int, config: TrainingConfig) -> None:
    if count < 20:
        raise DataError(
            f"the training split has {many(count, 'image')}, too few to hold out {config.validation_fraction:.0%} for "
            "validation; use 20 at least, or give --validation-fraction 0 (validation_fraction=0)"
        )


def _names_digest(rows: Dataset) -> str:
    """SHA-256 of names and labels: what stands for the pixels of a dataset that is never read whole."""
    digest = hashlib.sha256("\n".join(rows.names).encode("utf-8", "surrogateescape"))
    digest.update(np.ascontiguousarray(rows.labels).data)
    return digest.hexdigest()


def _facts(
    whole: Dataset | Faces, n_train: int, check: Dataset | Faces | None, digest: str, left_out: int | None
) -> dict[str, Any]:
    """What is recorded; `left_out`: of Training, for standing in a test split too; None where none was looked for."""
    return {
        "format": whole.format,
        "n_train": n_train,
        "n_validation": 0 if check is None else len(check),
        "validation": None if check is None else {"train": "holdout"}.get(str(check.splits[0]), str(check.splits[0])),
        "counts": whole.counts(),
        "sha256": digest,
        "duplicates_left_out": left_out,
    }


def faces_from_arrays(
    halves: Mapping[str, tuple[ArrayLike, ArrayLike]], spec: InputSpec, classes: tuple[str, ...]
) -> Faces:
    """Faces from arrays, as `mien.load_data` gives them.

    Args:
        halves: ``x_train`` and perhaps ``x_test``, each with its labels: float (n, size, size, channels) in [0, 1] or
            uint8, and integers (n,) or one-hot rows (n, classes).
        spec: size and channels that the images must have.
        classes: names in the order of the labels.

    Raises:
        UsageError: wrong shape, range or length.
    """
    parts = [_as_faces(name, x, y, spec, classes) for name, (x, y) in halves.items()]
    fields = ("images", "labels", "splits", "names")
    images, labels, splits, names = (np.concatenate([getattr(part, field) for part in parts]) for field in fields)
    return Faces(images, labels, splits, names, classes)


def _as_faces(name: str, x: ArrayLike, y: ArrayLike, spec: InputSpec, classes: tuple[str, ...]) -> Faces:
    """Check a pair of arrays and bring the pixels back to uint8.

    Raises:
        UsageError: wrong shape, range or length.
    """
    target = f"y_{name.removeprefix('x_')}"
    images, labels = _as_array(name, x), _numbered(_as_array(target, y), len(classes))
    if images.ndim != 4 or images.shape[1:] != spec.shape or not len(images):
        allowed = ", ".join(map(str, spec.shape))
        received = images.shape or f"{type(x).__name__}; make one array of all images"
        mending = _mending_shape(name, images.shape, spec)
        raise UsageError(f"{name}: must be (n, {allowed}), n at least 1; received {received}{mending}")
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
        raise UsageError(
            f"{target}: must be {many(len(images), 'integer')}, indices into the classes, received {labels.dtype} "
            f"{labels.shape}{_mending_labels(target, labels, len(images))}"
        )
    if labels.min() < 0 or labels.max() >= len(classes):
        first = f"; where they begin at 1, give {target} - 1" if labels.min() == 1 else ""
        received = f"{labels.min()} to {labels.max()}{first}"
        raise UsageError(f"{target}: must be from 0 to {len(classes) - 1}, received {received}")
    split = np.full(len(images), name.removeprefix("x_"))
    names = np.array([f"{name}[{index}]" for index in range(len(images))])
    return Faces(_to_uint8(name, images), labels.astype(np.int64), split, names, classes)


def _as_array(name: str, values: ArrayLike) -> NDArray[Any]:
    """An array of what was given.

    Raises:
        UsageError: its rows are of several shapes.
    """
    try:
        return np.asarray(values)
    except ValueError as error:
        raise UsageError(
            f"{name}: must be one array, received a {type(values).__name__} whose items are of several shapes; bring "
            "images to one size (mien.load_data does)"
        ) from error


def _mending_shape(name: str, shape: tuple[int, ...], spec: InputSpec) -> str:
    """How to bring images of another shape to that of the network, where that can be told."""
    sides = (spec.size, spec.size)
    if shape[1:] == sides:
        return f"; give {name}[..., None]" if spec.channels == 1 else f"; give {name}[..., None].repeat(3, axis=-1)"
    if shape[1:] == (spec.channels, *sides):
        return f"; channels come last: give {name}.transpose(0, 2, 3, 1)"
    if len(shape) != 4 or shape[1:] == spec.shape:  # there are none
        return ""
    if shape[1:3] != sides and shape[-1] in (1, 3):
        return f"; the network takes {spec.size} pixels a side: mien.load_data(path, size={spec.size}) reads them so"
    if shape[-1] == 1:
        return f"; the network takes RGB: give {name}.repeat(3, axis=-1)"
    grey = (
        f"; the network takes grey: mien.load_data reads images so, and keras.ops.image.rgb_to_grayscale({name}) does"
    )
    return grey if shape[-1] == 3 else ""


def _numbered(labels: NDArray[Any], classes: int) -> NDArray[Any]:
    """One-hot rows (n, classes), as ``keras.utils.to_categorical`` makes them, as the indices that they stand for."""
    if labels.ndim != 2 or labels.shape[1] != classes or labels.dtype.kind not in "biuf":
        return labels
    one_hot = ((labels == 0) | (labels == 1)).all() and (labels.sum(axis=1) == 1).all()
    return labels.argmax(axis=1) if one_hot else labels


def _mending_labels(target: str, labels: NDArray[Any], n: int) -> str:
    """How to make integers (n,) of labels as they come from elsewhere, where that can be told."""
    if labels.shape == (n, 1):
        return f"; give {target}.ravel()"
    if labels.ndim == 2 and len(labels) == n:
        return f"; one-hot rows have a column for each class and a single 1; of shares make {target}.argmax(axis=1)"
    if labels.shape != (n,):
        return ""
    if labels.dtype.kind in "USO":
        return f"; of names make [classes.index(name) for name in {target}]"
    return f"; give {target}.astype(int)" if labels.dtype.kind in "fb" else ""


def _to_uint8(name: str, images: NDArray[Any]) -> NDArray[np.uint8]:
    """Pixels from floats in [0, 1].

    Raises:
        UsageError: they are something else, or nearly black all of them.
    """
    whole = images.dtype == np.uint8
    low, high = images.min(), images.max()
    if not whole and (not np.issubdtype(images.dtype, np.floating) or not (low >= 0 and high <= 1)):
        raise UsageError(  # the comparison is false of what is no number, too
            f"{name}: must be float in [0, 1] (pixels / 255) or uint8, received {images.dtype} from {low} to {high}"
            f"{_mending_pixels(name, images)}"
        )
    if 0 < high <= (1 if whole else 1.001 / 255):
        raise UsageError(
            f"{name}: has no pixel above {high:.4g}, all images are black: they were divided by 255 twice "
            "(mien.load_data has done it), or made integers after it"
        )
    return images if whole else np.rint(images * 255).astype(np.uint8)


def _mending_pixels(name: str, images: NDArray[Any]) -> str:
    """How to make pixels in [0, 1] of others, where that can be told."""
    low, high = images.min(), images.max()
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        return (
            f"; {many(int((~np.isfinite(images)).any(axis=(1, 2, 3)).sum()), 'image holds', 'images hold')} NaN or "
            "infinity"
        )
    if images.dtype.kind not in "iuf" or low < -1 or high > 255:
        return ""
    if low < 0:
        return f"; give ({name} + 1) / 2" if high <= 1 else ""
    return f"; give {name} / 255" if images.dtype.kind == "f" else f"; give {name}.astype('uint8')"
