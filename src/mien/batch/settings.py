"""What a run is asked for: what decides its rows, and what only decides how fast they come."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from mien import __version__, litert
from mien.batch.locations import masked
from mien.batch.stores import Store
from mien.batch.tables import WORK, check_columns
from mien.errors import DataError, UsageError, listing
from mien.frames import in_utf8, printable
from mien.images import MAX_PIXELS
from mien.modelspec import ModelSpec
from mien.numeric import flag, is_real, is_whole
from mien.results import check_min_confidence
from mien.views import check_tta
from mien.weights import find_model

PLAN = "_plan"
"""The folder of what is to be done."""

RUN, MODEL, SUMMARY = "run.json", f"{PLAN}/model.onnx", "summary.json"
"""Files of a run's folder: what it was asked for, the model, and what it did once it is complete."""


@dataclass(frozen=True)
class Settings:
    """What decides the rows of a run; a run goes on with the same ones only.

    Attributes:
        detector: ``mtcnn`` or ``none``.
        min_face_size: smallest face that is looked for, pixels; None for the detector's own.
        margin, align, tta, min_confidence, max_pixels: see `mien.Analyzer`.
        smooth, detect_every: of videos, see `mien.Analyzer.stream`.
        allow_private: whether addresses may lead into private networks.
        keep_empty: whether pictures and frames without a face get a row, with no box.
        column: of Parquet files that holds pictures; None to find it.
        part_size: pictures in a part; None for what suits their number.

    Raises:
        UsageError: a value is out of range.
    """

    detector: str = "mtcnn"
    min_face_size: int | None = None
    margin: float | None = None
    align: bool = False
    tta: str = "none"
    min_confidence: float = 0.0
    max_pixels: int = MAX_PIXELS
    smooth: float = 0.5
    detect_every: int | None = None
    allow_private: bool = False
    keep_empty: bool = False
    column: str | None = None
    part_size: int | None = None

    def __post_init__(self) -> None:
        check_tta(self.tta)
        check_min_confidence(self.min_confidence)
        for name in ("part_size", "detect_every", "min_face_size", "max_pixels"):
            value = getattr(self, name)
            right = is_real if name == "min_face_size" else is_whole
            if value is not None and not (right(value) and value >= 1):
                raise UsageError(f"{name}: must be 1 or more, received {value!r}")
        if self.margin is not None and not (is_real(self.margin) and -0.4 <= self.margin <= 1):
            raise UsageError(f"margin: must be from -0.4 to 1, received {self.margin!r}")
        if not (is_real(self.smooth) and 0 <= self.smooth < math.inf):
            raise UsageError(f"smooth: must be 0 seconds or more, received {self.smooth!r}")
        self._make_plain()

    def _make_plain(self) -> None:
        """Turn NumPy's numbers into Python's, which JSON takes."""
        for name in ("align", "allow_private", "keep_empty"):
            object.__setattr__(self, name, flag(name, getattr(self, name)))
        for entry in fields(self):
            value = getattr(self, entry.name)
            if is_real(value):
                object.__setattr__(self, entry.name, int(value) if is_whole(value) else float(value))

    def analyzer_options(self) -> dict[str, Any]:
        """What `mien.Analyzer` is given of it."""
        names = ("margin", "align", "tta", "min_confidence", "max_pixels")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class ModelFile:
    """An ``.onnx`` file. A copy in the run's folder is what workers open, so that every machine has the same.

    Attributes:
        name: of the file.
        data: its bytes.
    """

    name: str
    data: bytes

    @classmethod
    def read(cls, model: str | Path | None) -> ModelFile:
        """Read a model file, or a bundled model by its name.

        Raises:
            UsageError: it is no ``.onnx`` file, cannot be read, or has a class that is named like a column.
            ModelError: it is damaged.
        """
        path = find_model(model)
        litert.refuse(path, "given to workers")
        if path.suffix.lower() != ".onnx":
            raise UsageError(
                f"--model: workers read .onnx files, received {path}; mien export {path} --format onnx makes one"
            )
        try:
            found = cls(path.name, path.read_bytes())
        except OSError as error:
            raise UsageError(f"--model: {path} cannot be read ({error.strerror})") from error
        check_columns(ModelSpec.from_onnx(path).classes)
        return found

    @classmethod
    def of_run(cls, folder: Store) -> ModelFile:
        """The model of a run."""
        store = folder.child(*MODEL.split("/"))
        return cls(store.path.rpartition("/")[2], store.read())

    @property
    def sha256(self) -> str:
        """Of the bytes."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class Workers:
    """How many workers there are and what each may use; decides no row.

    Attributes:
        count: how many; None for as many as the cluster has room for.
        cpus: cores of each, and its threads.
        gpus: of each; a share below 1 lets several workers share one.
        device: as `mien.open_model` takes it; ``auto`` is ``cuda`` where workers have GPUs.

    Raises:
        UsageError: a value is out of range.
    """

    count: int | None = None
    cpus: int = 1
    gpus: float = 0.0
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.count is not None and not (is_whole(self.count) and self.count >= 1):
            raise UsageError(f"--workers: must be 1 or more, received {self.count!r}")
        if not (is_whole(self.cpus) and self.cpus >= 1):
            raise UsageError(f"--cpus-per-worker: must be 1 or more, received {self.cpus!r}")
        share = is_real(self.gpus) and (0 <= self.gpus <= 1 or (self.gpus > 1 and float(self.gpus).is_integer()))
        if not share:
            raise UsageError(f"--gpus-per-worker: must be a share of one or a whole number, received {self.gpus!r}")


def describe(settings: Settings, model: ModelFile, sources: Sequence[str | Path | int]) -> dict[str, Any]:
    """What ``run.json`` says, without passwords and tokens. Paths are absolute: ``.`` is another one elsewhere."""
    return {
        "sources": list(map(_place, sources)),
        "model": {"name": model.name, "sha256": model.sha256},
        "settings": asdict(settings),
        "mien_version": __version__,
    }


def _place(source: str | Path | int) -> str:
    if isinstance(source, int):
        return str(source)
    text = str(source)
    return masked(text) if "://" in text else in_utf8(os.path.abspath(text))  # noqa: PTH100 - Path would follow links


def read_run(folder: Store) -> dict[str, Any] | None:
    """What the folder's run was asked for; None where none was begun there.

    Raises:
        DataError: its ``run.json`` is damaged.
    """
    store = folder.child(RUN)
    if not store.exists():
        return None
    try:
        document = json.loads(store.read())
        kinds = {"sources": list, "model": dict, "settings": dict}
        if not isinstance(document, dict) or not all(isinstance(document.get(key), kinds[key]) for key in kinds):
            raise ValueError("it is of another kind")
    except ValueError as error:
        raise DataError(f"{printable(store.shown)}: cannot be read ({error}); name another folder") from error
    return document


def check_folder(folder: Store, asked: dict[str, Any], *, resume: bool) -> bool:
    """Whether a run is to be gone on with; refuses folders that hold something else.

    Raises:
        UsageError: the folder holds another run, or other files; or `resume` is not set where it holds this one.
    """
    shown = printable(folder.shown)
    if folder.is_file():
        raise UsageError(f"--out: {shown} is a file; --engine ray writes into a folder, name a new or empty one")
    before = read_run(folder)
    if before is None:
        others = [name for name in folder.names() if name not in (PLAN, WORK) and not name.startswith(".")]
        if others:
            raise UsageError(f"--out: {shown} holds other files ({listing(others, 3)}); name a new or empty folder")
        return False
    differences = _differences(before, asked)
    if not resume:
        what = "another run" if differences else "this run"
        raise UsageError(f"--out: {shown} holds {what} already; --resume goes on with a run, or name another folder")
    if differences:
        raise UsageError(
            f"--resume: {shown} holds a run with other settings ({'; '.join(differences)}); give the same, or name "
            "another folder"
        )
    return True


def _differences(before: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    """What was asked for otherwise, in words."""
    settings = {entry.name: entry.default for entry in fields(Settings)}
    sources = list(map(_place, before["sources"]))  # older runs wrote paths down as they were given
    then = {**settings, **before["settings"], "sources": sources, "model": before["model"].get("sha256")}
    now = {**asked["settings"], "sources": asked["sources"], "model": asked["model"]["sha256"]}
    return [
        f"{name}: then {_word(then.get(name))}, now {_word(now[name])}" for name in now if then.get(name) != now[name]
    ]


def _word(value: Any) -> str:
    if isinstance(value, list):
        return printable(listing([str(one) for one in value], 3))
    return printable(str(value)[:60])


def begin(folder: Store, asked: dict[str, Any], model: ModelFile) -> None:
    """Write the model and ``run.json``: from now on the plan holds."""
    folder.child(*MODEL.split("/")).write(model.data)
    folder.child(RUN).write((json.dumps(asked, indent=2, ensure_ascii=False) + "\n").encode())


__all__ = [
    "MODEL",
    "RUN",
    "SUMMARY",
    "ModelFile",
    "Settings",
    "Workers",
    "begin",
    "check_folder",
    "describe",
    "read_run",
]
