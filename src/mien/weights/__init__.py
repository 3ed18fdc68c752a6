"""The models that come with mien. Each is an ``.onnx`` file here, checked against its SHA-256 when it is opened."""

from __future__ import annotations

import hashlib
import shlex
from functools import lru_cache
from pathlib import Path

from mien.errors import ModelError, UsageError

BUNDLED: dict[str, str] = {
    "mien-small": "546070f5b2f3e01ee68bd3591f68fe61e17ccda49b0a06406d2d7d08c07d505a",
    "mien-small-int8": "16a7656aab3b47bb6f482ff94879d1ef3aa8eb5b049ac11e2856d17c28bac322",
    "mien-large": "e36b2a1ce3109d909f4027b2db9d5eecbe2270f5653963f86b5bb96da8fb3ed7",
}
"""Name to the SHA-256 of its file, ``NAME.onnx``; the first is the default."""


def find_model(name: str | Path | None = None) -> Path:
    """The file of a model.

    Args:
        name: the name of a bundled model, or a path, which is given back as it is; None for the default.

    Raises:
        UsageError: it is no path, or a folder's.
        ModelError: the bundled file is damaged.
    """
    if name is None:
        name = next(iter(BUNDLED))
    if not isinstance(name, str | Path):
        raise UsageError(f"model: must be a file or a bundled model's name, received {type(name).__name__}")
    if str(name) in BUNDLED:
        return _checked(str(name))
    path = Path(name)
    if path.is_dir():
        inside = next((path / file for file in ("model.onnx", "model.keras") if (path / file).is_file()), None)
        if inside is None and (path / "config.json").is_file():
            raise UsageError(
                f"{path}: is the folder of a run whose model is not saved yet; where it has ended, go on with it: "
                f"mien train --resume {shlex.quote(str(path))}"
            )
        raise UsageError(f"{path}: is a folder, a model is a file; name {inside or 'the one in it'}")
    return path


@lru_cache
def _checked(name: str) -> Path:
    path = Path(__file__).with_name(f"{name}.onnx")
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
    if digest != BUNDLED[name]:
        raise ModelError(f"{name}: the bundled file is damaged ({digest[:12]}); install mien again")
    return path
