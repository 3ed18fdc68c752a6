"""From one form of a dataset to another: folders of PNG files, a CSV file like ``fer2013.csv``, an npz file.

Pixels are never changed unasked. Folders keep any size and colour. CSV files hold grey squares, npz files squares of
one size; what does not fit is refused until `size` or `channels` says what to do.
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from mien.datasets.class_names import NAMES_FILE, needs_names
from mien.datasets.dataset import Dataset, Faces, refuse_bad
from mien.datasets.npz import ORIGINS_FIELD
from mien.datasets.opening import open_dataset
from mien.datasets.pixels import Files, Progress
from mien.datasets.splits import FILE_PREFIXES, USAGES
from mien.datasets.streaming import Survey, is_grey, survey
from mien.datasets.tables import FER2013_SIDE
from mien.errors import DataError, UsageError, many
from mien.files import replacing
from mien.images import Image
from mien.labels import EXPRESSIONS, FER2013_INDICES
from mien.preprocessing import InputSpec, fit_image

OTHER_SUFFIXES = frozenset(
    {".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2", ".7z", ".parquet", ".json", ".h5", ".tfrecord"}
)
"""Endings of files that nobody means as the name of a folder."""

_NUMBERS = [str(value) for value in range(256)]
_PREFIX_OF_SPLIT = {split: prefix for prefix, split in FILE_PREFIXES.items()}
_USAGE_OF_SPLIT = {split: usage for usage, split in USAGES.items()}


@dataclass(frozen=True)
class Converted:
    """What `convert` has written.

    Attributes:
        path: the destination.
        count: faces written.
        format: ``folder``, ``csv`` or ``npz``.
        exact: whether every pixel is what it was.
        skipped: files and rows that were left out because they cannot be used, each with its reason.
    """

    path: Path
    count: int
    format: str
    exact: bool
    skipped: tuple[str, ...]


def convert(
    source: str | Path,
    destination: str | Path,
    *,
    size: int | None = None,
    channels: int | None = None,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> Converted:
    """Write a dataset in another form.

    Args:
        source: anything that `open_dataset` opens.
        destination: a path that does not exist yet; ``.csv`` and ``.npz`` give files of these kinds, any other a
            folder of PNG files. It appears when it is whole.
        size: side in pixels to resize to; None keeps what there is.
        channels: 1 for grey, 3 for RGB; None keeps what there is.
        skip_bad: leave out files and rows that cannot be used instead of refusing the whole.
        progress: called with how many images are done and how many there are.

    Raises:
        UsageError: the destination exists, lies in the folder that is read, or cannot hold such images without `size`
            or `channels`.
        DataError: files or rows that cannot be used.
    """
    target = Path(destination).expanduser()
    form = _form(target)
    dataset = open_dataset(source)
    if form == "csv":
        _check_rows(dataset)
    if form == "folder":
        _check_outside(dataset, target)
    found = survey(dataset)
    bad = dataset.problems + found.bad
    refuse_bad(bad, len(dataset) + len(dataset.problems), skip_bad=skip_bad)
    usable = dataset if not found.bad else dataset.take(found.usable)
    shapes = found.shapes[found.usable]
    _check_asked(size, channels)
    if form == "folder":
        _check_folder(usable)
        _write_folder(usable, target, size, channels, progress)
    else:
        spec = _common_spec(form, found, size, channels)
        faces = usable.load(spec, skip_bad=skip_bad, cache=False, progress=progress)
        with replacing(target) as temporary:
            (_write_csv if form == "csv" else _write_npz)(faces, temporary)
    exact = (size is None or bool((shapes[:, :2] == size).all())) and (
        channels is None or bool((shapes[:, 2] <= channels).all())
    )
    return Converted(target, len(usable), form, exact, bad)


def _form(target: Path) -> str:
    if target.exists() or target.is_symlink():
        raise UsageError(f"destination: {target} exists; name another or remove it")
    suffix = target.suffix.lower()
    if suffix in OTHER_SUFFIXES:
        raise UsageError(f"destination: cannot write {suffix} files; allowed are .csv, .npz and folders")
    return {".csv": "csv", ".npz": "npz"}.get(suffix, "folder")


def _check_asked(size: int | None, channels: int | None) -> None:
    """Refuse a size or number of channels that no image can have, before anything is read."""
    InputSpec(48 if size is None else size, 1 if channels is None else channels)


def _common_spec(form: str, found: Survey, size: int | None, channels: int | None) -> InputSpec:
    """The one size and colour of a CSV or npz file.

    Raises:
        UsageError: the images differ from it and nobody has said that they may be changed.
    """
    shapes = found.shapes[found.usable]
    if size is None:
        size = FER2013_SIDE if form == "csv" else int(shapes[0, 0])
        if (shapes[:, :2] != size).any():
            wanted = f"{size}x{size}" if form == "csv" else "one size"
            raise UsageError(
                f"size: {form} files hold squares of {wanted}, and here are {_some(found)}; "
                f"add size={size} or --size {size}"
            )
    if channels is None:
        channels = int(shapes[:, 2].max())
    if form == "csv" and channels == 3:
        raise UsageError(
            f"channels: csv files hold grey faces, and here are {_some(found)}; add channels=1 or --channels 1"
        )
    return InputSpec(size, channels)


def _some(found: Survey) -> str:
    sizes = list(found.sizes())
    return ", ".join(sizes[:3]) + (f" and {many(len(sizes) - 3, 'other size')}" if len(sizes) > 3 else "")


def _check_rows(dataset: Dataset) -> None:
    """A CSV file's rows have a number of the seven expressions each."""
    if not set(dataset.classes) <= set(EXPRESSIONS):
        raise UsageError(
            f"destination: csv files number the seven expressions only, and the classes are {dataset.classes}; use .npz"
        )
    if (dataset.labels < 0).any():
        raise UsageError(
            "destination: csv files of this kind have a label in each row, and some faces have none; use .npz"
        )


def _check_outside(dataset: Dataset, target: Path) -> None:
    """Images written among those of a folder would be taken for part of it from then on."""
    folder = dataset.path.resolve()
    if isinstance(dataset.source, Files) and folder.is_dir() and target.resolve().is_relative_to(folder):
        raise UsageError(
            f"destination: {target} lies in {dataset.path}, whose images would no longer be told from the new ones; "
            "name a place outside of it"
        )


def _check_folder(dataset: Dataset) -> None:
    """Class names become folders: they must be names of folders, and every face must have one."""
    unfit = [name for name in dataset.classes if name in (".", "..") or re.search(r'[/\\:*?"<>|\x00-\x1f]', name)]
    if unfit:
        raise DataError("class names that cannot be names of folders", unfit)
    if (dataset.labels < 0).any():
        raise UsageError("destination: folders stand for labels, and some faces have none; use .npz")


def _write_csv(faces: Faces, path: Path) -> None:
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write("emotion,pixels,Usage\n")
        for image, label, split in zip(faces.images, faces.labels.tolist(), faces.splits.tolist(), strict=True):
            emotion = FER2013_INDICES.index(faces.classes[label])
            pixels = " ".join([_NUMBERS[value] for value in image.tobytes()])
            file.write(f"{emotion},{pixels},{_USAGE_OF_SPLIT[split]}\n")


def _write_npz(faces: Faces, path: Path) -> None:
    with path.open("wb") as file:  # numpy would add .npz to the path of x.NPZ
        arrays = {field: getattr(faces, field) for field in ("images", "labels", "splits", "names")}
        arrays["classes"] = np.array(faces.classes, np.str_)
        if faces.origins:
            arrays[ORIGINS_FIELD] = faces.origins.words()
        np.savez_compressed(file, allow_pickle=False, **arrays)


def _write_folder(
    dataset: Dataset, target: Path, size: int | None, channels: int | None, progress: Progress | None
) -> None:
    files = _file_names(dataset)
    with _replacing_folder(target) as folder:
        if needs_names(dataset.classes):
            (folder / NAMES_FILE).write_text("\n".join([*dataset.classes, ""]), encoding="utf-8")
        for parent in sorted({str(PurePosixPath(file).parent) for file in files}):
            (folder / parent).mkdir(parents=True)

        def use(place: int, image: Image) -> None:
            write_png(folder / files[place], _adapted(image, size, channels))

        failures = dataset.source.each(dataset.positions, use, channels=channels or 3, progress=progress)
        refuse_bad(tuple(failures.values()), len(files), skip_bad=False)


def _adapted(image: Image, size: int | None, channels: int | None) -> Image:
    """An image in the size and colour asked for; what has no colour is written as grey, so that files stay small."""
    if channels is None:
        channels = 1 if is_grey(image) else 3
    if size is not None:
        return fit_image(image, InputSpec(size, channels))
    if channels == 3:
        return image if image.ndim == 3 and image.shape[2] == 3 else np.dstack([image] * 3)
    return image[..., 0] if is_grey(image) and image.ndim == 3 else to_grey(image)


def to_grey(image: Image) -> Image:
    """uint8 (height, width) from (height, width) or (height, width, 3) RGB."""
    return image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)


def write_png(path: Path, image: Image) -> None:
    """Write uint8 (height, width), (height, width, 1) or (height, width, 3) RGB."""
    colour = image.ndim == 3 and image.shape[2] == 3
    done, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if colour else np.ascontiguousarray(image))
    if not done:
        raise DataError("cannot be written as PNG", [str(path)])
    path.write_bytes(data.tobytes())


def _file_names(dataset: Dataset) -> list[str]:
    """``test/happy/PublicTest_17.png`` for every face, no two alike even where case does not count."""
    taken: set[str] = set()
    files = []
    for name, label, split in zip(
        dataset.names.tolist(), dataset.labels.tolist(), dataset.splits.tolist(), strict=True
    ):
        folder = "test" if split in ("public", "private") else split
        base = f"{folder}/{dataset.classes[label]}/{_stem(name, split)}"
        file, number = base, 1
        while file.lower() in taken:
            number += 1
            file = f"{base}-{number}"
        taken.add(file.lower())
        files.append(f"{file}.png")
    return files


def _stem(name: str, split: str) -> str:
    """A file name without ending, made of a face's name; the prefix keeps public and private apart in ``test``."""
    row = re.fullmatch(r".*:(\d+)", name)
    prefix = _PREFIX_OF_SPLIT.get(split, "")
    box = re.fullmatch(r"(.*)#(\d+)", name)  # one of several in a picture
    plain = f"{PurePosixPath(box[1]).stem}_face{box[2]}" if box else PurePosixPath(name).stem
    stem = f"{int(row[1]):06d}" if row else re.sub(r"[^\w.-]+", "_", plain).lstrip(".@_") or "face"
    if row:
        return f"{prefix}{stem}"
    return stem if split not in ("public", "private") or stem.startswith(prefix) else f"{prefix}{stem}"


@contextmanager
def _replacing_folder(target: Path) -> Iterator[Path]:
    """Write a folder at once or not at all, as `mien.files.replacing` does files."""
    temporary = target.with_name(f".{target.name}-{secrets.token_hex(6)}")
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        raise UsageError(f"destination: {target} cannot be written ({error.strerror})") from error
    try:
        yield temporary
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
