"""The folder of a run: what was asked, what happened, what came of it."""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from mien.errors import UsageError
from mien.files import temporaries, write_json
from mien.provenance import typed

CONFIG = "config.json"

CHECKPOINTS = "checkpoints"
"""In a run's folder: the newest and the best epoch, and what a resumed run needs."""

VIEWS = "views.npy"
"""In a run's folder of checkpoints: what teachers were asked about (`mien.teaching`)."""

FILES = (
    *(CONFIG, "history.csv", "curves.png", "confusion.png", "metrics.json", "model.keras", "face_detection.h5"),
    *("model.onnx", "README.md"),
)
"""What a run writes into its folder."""

Leftovers = dict[Path, tuple[int, int]]
"""Files and folders that were not written to their end, with the time of their last change (ns) and their size."""

PACKAGES = (
    *("mien", "keras", "tensorflow-cpu", "tensorflow", "jax", "torch"),
    *("numpy", "onnx", "onnxruntime", "opencv-python-headless", "scikit-learn"),
)
"""Distributions whose versions are recorded where they are installed."""


@dataclass(frozen=True)
class RunFolder:
    """Paths and records of one run.

    It holds config.json, history.csv, curves.png, confusion.png, metrics.json, model.keras, face_detection.h5,
    model.onnx and README.md, the model card; and ``checkpoints/`` with the newest and the best.
    """

    path: Path

    @classmethod
    def create(cls, out: str | Path | None = None) -> RunFolder:
        """Make a new run folder: `out`, which must be new or empty, or ``runs/<time>``.

        Raises:
            UsageError: `out` has something in it, or cannot be made.
        """
        cls.refuse_used(out)
        path = Path(out) if out is not None else _unused(Path("runs") / time.strftime("%Y%m%d-%H%M%S"))
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{path}: cannot be made ({error.strerror}); name another folder with --out") from error
        return cls(path)

    @classmethod
    def refuse_used(cls, out: str | Path | None) -> None:
        """Refuse a folder with something in it, before any work is done.

        Raises:
            UsageError: see `create`.
        """
        path = Path(out) if out is not None else None
        if path is not None and path.exists() and (not path.is_dir() or _holds_more_than_a_start(path)):
            way = f", or go on with it: --resume {shlex.quote(str(path))}" if cls._can_resume(path) else ""
            raise UsageError(f"{path}: already there; name a new folder with --out (in Python out=...){way}")

    @classmethod
    def _can_resume(cls, path: Path) -> bool:
        """Whether it holds a run that is not complete, whose data is still there: a demo's is not."""
        try:
            data_of(path, cls.open(path).read_config())
        except UsageError:
            return False
        return True

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Open a run that was begun, to go on with it.

        Raises:
            UsageError: it is not a run folder, its data was given as arrays, or it is complete.
        """
        given: object = path
        if not isinstance(given, str | os.PathLike):
            raise UsageError(f"run: must be the folder that 'mien train' wrote, received {type(path).__name__}")
        folder = cls(Path(path))
        if not (folder.path / CONFIG).is_file():
            raise UsageError(f"{path}: not a run folder (no {CONFIG}); name the folder that 'mien train' wrote")
        data = folder.read_config().get("data")
        if not isinstance(data, dict) or "path" not in data:
            raise UsageError(f"{path}: was trained on arrays, which are not kept; call mien.fit again")
        if (folder.path / "metrics.json").is_file():
            raise UsageError(f"{path}: is complete, nothing is left to resume; start a new run")
        return folder

    def leftovers(self) -> Leftovers:
        """What processes that were killed have left half written; or what others are writing at this moment.

        `clear` tells the two apart.
        """
        kept = self.path / CHECKPOINTS
        found = [*temporaries(self.path, FILES), *temporaries(kept, ("*.npz", "*.npy")), *kept.glob(".epoch-*.tmp")]
        stamped = ((path, _stamp(path)) for path in found)
        return {path: stamp for path, stamp in stamped if stamp is not None}

    def clear(self, left: Leftovers) -> None:
        """Delete what was left half written when a run went on, and is still the same at its end.

        A process that lives would have gone on with it, and renamed it, in the time that a run takes.
        """
        for path, stamp in left.items():
            if _stamp(path) != stamp:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()

    def discard_untrained(self) -> None:
        """Delete the run where no epoch is kept of it, so that its name is free and nothing offers to go on with it."""
        if not any((self.path / CHECKPOINTS).glob("epoch-*")):
            self._delete((CONFIG,))

    def discard(self) -> None:
        """Delete what the run has written, and its folder where nothing else has been put into it."""
        self._delete(FILES)

    def _delete(self, names: tuple[str, ...]) -> None:
        shutil.rmtree(self.path / CHECKPOINTS, ignore_errors=True)
        with suppress(OSError):  # as where something else has been put into the folder
            for path in (*temporaries(self.path, names), *(self.path / name for name in names)):
                path.unlink(missing_ok=True)
            self.path.rmdir()

    def read_config(self) -> dict[str, Any]:
        """What config.json holds.

        Raises:
            UsageError: it is not a JSON object.
        """
        try:
            text = (self.path / CONFIG).read_text(encoding="utf-8")
            record = json.loads(text or "null")
        except (OSError, ValueError) as error:
            raise UsageError(f"{self.path / CONFIG}: cannot be read ({error}); start a new run") from error
        if not text:  # older versions left it so
            raise UsageError(
                f"{self.path / CONFIG}: is empty, as the run was killed while it began, and nothing of it is kept; "
                "delete the folder and start a new run"
            )
        if not isinstance(record, dict):
            raise UsageError(f"{self.path / CONFIG}: is not a run's record (no JSON object); start a new run")
        return record

    def write_config(self, record: dict[str, Any]) -> None:
        """Write config.json, adding the command and the environment: from now on the folder is this run's.

        Raises:
            UsageError: another process has begun a run there since `create` looked, or nothing can be written there.
        """
        document, path = {"command": typed(), "environment": environment(), **record}, self.path / CONFIG
        try:
            write_json(path, document, new=True)
        except FileExistsError as error:
            raise UsageError(
                f"{self.path}: another process has begun a run there meanwhile; name another folder with --out (in "
                "Python out=...)"
            ) from error
        except UsageError as error:
            why = getattr(error.__cause__, "strerror", error)
            raise UsageError(f"{path}: cannot be written ({why}); name another folder with --out") from error


def data_of(run: str | Path, record: dict[str, Any]) -> str:
    """Path of the data that a run learns from, as its config.json has it.

    Raises:
        UsageError: it is no longer there.
    """
    path = str(record["data"]["path"])
    if not Path(path).exists():
        raise UsageError(
            f"{run}: its data is no longer at {path}; put it back or a link to it, or write where it is into data.path "
            f"of {Path(run) / CONFIG}: the images are compared with those that the run began with"
        )
    return path


def forget_views(folder: Path) -> None:
    """Delete the stored views of a run that is over, and those that were never whole: they take much room.

    Args:
        folder: the run's folder of checkpoints.
    """
    for path in (folder / VIEWS, *folder.glob(f".{Path(VIEWS).stem}-*")):
        with suppress(OSError):  # as where Windows still has it open
            path.unlink()


def _holds_more_than_a_start(path: Path) -> bool:
    """Whether there is more in a folder than what a run leaves that is killed as it writes its first file."""
    return not set(path.iterdir()) <= set(temporaries(path, (CONFIG,)))


def _stamp(path: Path) -> tuple[int, int] | None:
    """Time of the last change and size; None where there is nothing any more."""
    try:
        state = path.lstat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size


def _unused(path: Path) -> Path:
    """Make the folder, or the first of path-2, path-3... that no run of the same second has made."""
    for number in range(1, 1000):
        candidate = path if number == 1 else path.with_name(f"{path.name}-{number}")
        try:
            candidate.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError:
            break
        return candidate
    return path


def environment() -> dict[str, Any]:
    """Versions and machine, for the record of a run: nothing that names a person or a path."""
    import keras

    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "backend": keras.backend.backend(),
        "versions": versions,
    }
