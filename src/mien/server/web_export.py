"""The page as a folder that any file server can hand out: it reads faces in the browser, and no service is needed."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mien import __version__
from mien.classifier import Classifier
from mien.errors import UsageError
from mien.files import write_json
from mien.modelspec import copy_onnx
from mien.server.web_models import MANIFEST, SUFFIX, WebModel, detector_graphs, file_names, manifest
from mien.weights import BUNDLED, find_model

STATIC = Path(__file__).with_name("static")
"""The page's own files, with onnxruntime-web among them once ``make web`` has brought it."""

RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
"""The files of onnxruntime-web."""

LICENCES = {"mien.txt": "LICENSE", "onnxruntime-web.txt": "page/ort/LICENSE", "mtcnn.txt": "page/models/LICENSE-mtcnn"}
"""Texts in ``static/licences`` to where they stand in the export."""

CONFIG = {"service": False, "local": True, "token": False, "version": __version__}
"""What the page's config.json says where there is no service."""


def export_page(model: str | Path, destination: str | Path | None = None, *, force: bool = False) -> Path:
    """Write the page, a model and the detector into a folder, at once or not at all.

    Args:
        model: an ``.onnx`` file, or the name of a bundled model.
        destination: the folder to make; where none is given, beside the model (of a bundled model: in the current
            folder), with ``-web`` behind its name.
        force: replace an earlier export that is there.

    Returns:
        The folder.

    Raises:
        UsageError: the model is no ``.onnx``; the folder is there and not empty, cannot be written, or, with `force`,
            holds something else than an export; onnxruntime-web is not there.
        ModelError: the model cannot be used.
    """
    found = _open(model)
    _check_runtime()
    beside = found.name if str(model) in BUNDLED else found.path.with_suffix("")
    target = Path(f"{beside}-web") if destination is None else Path(destination)
    _check_target(target, force)
    with _replacing_folder(target) as folder:
        _write(folder, found)
    return target


def _open(model: str | Path) -> WebModel:
    path = find_model(model)
    if path.suffix.lower() != SUFFIX:
        raise UsageError(
            f"{path}: the page runs .onnx models, received {path.suffix or 'no ending'!r}; "
            f"make one first: mien export {path} --format onnx"
        )
    name = str(model) if str(model) in BUNDLED else path.stem
    return WebModel(name, path, Classifier(path, device="cpu").spec)


def _check_runtime() -> None:
    folder = STATIC / "page" / "ort"
    missing = [name for name in RUNTIME if not (folder / name).is_file()]
    if missing:
        raise UsageError(
            f"{folder}: onnxruntime-web is not there (missing: {', '.join(missing)}), and the page needs it; "
            "run 'make web' in mien's source folder, which needs npm, or install a mien that was built with it"
        )


def _check_target(target: Path, force: bool) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise UsageError(f"{target}: is not a folder; name a folder")
    if Path.cwd().is_relative_to(target.resolve()):
        raise UsageError(f"{target}: is the folder you are in, or above it, and would be replaced; name another folder")
    names = {path.name for path in target.iterdir()}
    if names and not force:
        raise UsageError(f"{target}: is not empty; name another folder, or replace an earlier export with --force")
    others = sorted(names - {"index.html", "page", "LICENSE"})
    if others or (names and not (target / "page" / "config.json").is_file()):
        what = f": it holds {', '.join(others[:3])}" if others else ""
        raise UsageError(f"{target}: is no earlier export, so --force does not replace it{what}; name another folder")


def _write(folder: Path, model: WebModel) -> None:
    _copy_static(folder)
    models = folder / "page" / "models"
    models.mkdir()
    copy_onnx(model.path, models / file_names([model])[0])
    for name, graph in detector_graphs().items():
        (models / name).write_bytes(graph)
    write_json(models / MANIFEST, manifest([model]))
    write_json(folder / "page" / "config.json", CONFIG)
    for source, place in LICENCES.items():
        shutil.copyfile(STATIC / "licences" / source, folder / place)


def _copy_static(folder: Path) -> None:
    """The page's files, but for hidden ones. `shutil.copytree` would not say which error stopped it."""
    for source in (STATIC / "index.html", *sorted((STATIC / "page").rglob("*"))):
        inside = source.relative_to(STATIC)
        if source.is_file() and not any(part.startswith(".") for part in inside.parts):
            place = folder / inside
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)


@contextmanager
def _replacing_folder(target: Path) -> Iterator[Path]:
    """Yields an empty folder beside `target`, which takes its place at the end, or goes where the body fails.

    Raises:
        UsageError: it cannot be written.
    """
    target = target.resolve()
    mark = secrets.token_hex(6)
    temporary, old = (target.with_name(f".{target.name}-{mark}-{what}") for what in ("new", "old"))
    try:
        temporary.mkdir(parents=True)
        yield temporary
        _swap(temporary, target, old)
    except OSError as error:
        raise UsageError(f"{target}: cannot be written ({error.strerror}); name one that you can write") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _swap(new: Path, target: Path, old: Path) -> None:
    """Put `new` where `target` is; what was there comes back where that fails, and goes where it succeeds."""
    there = target.exists()
    if there:
        target.rename(old)
    try:
        new.rename(target)
    except OSError:
        if there:
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
