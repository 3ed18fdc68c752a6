"""Where a result comes from: the command, the versions, and hashes of model and data."""

from __future__ import annotations

import hashlib
import platform
import shlex
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import numpy as np

from mien.datasets.dataset import Faces
from mien.errors import UsageError
from mien.storages import hide_password

PACKAGES = ("mien", "numpy", "onnxruntime", "opencv-python-headless", "scikit-learn", "scipy", "matplotlib", "keras")
"""Distributions whose versions are named where they are installed. Nothing is imported for it."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """What it takes to make a result again.

    Attributes:
        command: what was typed.
        model: the model's file, as it was named.
        model_sha256: of that file, 64 hexadecimal digits.
        data: the data, as it was named.
        data_sha256: what `data_digest` gave for the pictures that were judged; empty where it was not computed.
        made: when, in UTC: ``2026-11-24 15:00``.
        python: its version.
        system: operating system and processor.
        versions: distribution to version.

    Raises:
        UsageError: a hash is not one.
    """

    command: str
    model: str
    model_sha256: str
    data: str
    data_sha256: str = ""
    made: str = ""
    python: str = ""
    system: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in (("model_sha256", self.model_sha256), ("data_sha256", self.data_sha256 or "0" * 64)):
            if len(value) != 64 or set(value) - set("0123456789abcdef"):
                raise UsageError(f"{name}: must be 64 hexadecimal digits, received {value!r}")

    @classmethod
    def gather(
        cls,
        model: str | Path,
        data: str | Path,
        *,
        file: str | Path | None = None,
        data_sha256: str = "",
        command: str | None = None,
    ) -> Provenance:
        """Note what is known here and now.

        Args:
            model: the model as it was named.
            data: the data as it was named.
            file: the model's file where `model` is the name of a bundled one.
            data_sha256: what `data_digest` gave.
            command: what was typed; None: how this process was started.

        Raises:
            UsageError: the model's file cannot be read.
        """
        return cls(
            command=typed() if command is None else command,
            model=str(model),
            model_sha256=file_sha256(model if file is None else file),
            data=str(data),
            data_sha256=data_sha256,
            made=time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
            python=platform.python_version(),
            system=f"{platform.system()} {platform.machine()}",
            versions=installed(),
        )


def typed() -> str:
    """How this process was started, as a shell takes it, without the folders above the program and passwords."""
    program = Path(sys.argv[0])
    begun = ["python", "-m", program.parent.name] if program.name == "__main__.py" else [program.name]
    return shlex.join([*begun, *map(hide_password, sys.argv[1:])])


def installed(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Versions of those of these distributions that are installed."""
    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); give the path of a model's file") from error


def data_digest(parts: Iterable[Faces]) -> str:
    """SHA-256 of labelled pictures: their pixels at the model's size, labels, names and classes, in their order.

    However they are divided into parts, as `mien.datasets.streaming.in_parts` gives them, the digest is the same.

    Returns:
        64 hexadecimal digits.
    """
    pixels, labels, names = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    classes: tuple[str, ...] = ()
    for faces in parts:
        classes = faces.classes
        pixels.update(np.ascontiguousarray(faces.images).data)
        labels.update(np.ascontiguousarray(faces.labels, np.int64).data)
        names.update("".join(f"{name}\n" for name in faces.names.tolist()).encode("utf-8", "surrogateescape"))
    whole = hashlib.sha256(repr(classes).encode())
    for part in (pixels, labels, names):
        whole.update(part.digest())
    return whole.hexdigest()
