"""Small zip and tar files that tests read."""

import io
import tarfile
import zipfile
from pathlib import Path

import cv2
import numpy as np


def png(value: int) -> bytes:
    """A picture of 48x48 pixels, another one for each value."""
    image = np.random.default_rng(value).integers(0, 256, (48, 48), np.uint8)
    return cv2.imencode(".png", image)[1].tobytes()


def pack(path: Path, files: dict[str, bytes]) -> Path:
    """Write a zip or tar file, as its ending says, of files by their names; gives its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return path
    compression = {".gz": "gz", ".tgz": "gz", ".xz": "xz", ".bz2": "bz2"}.get(path.suffix, "")
    with tarfile.open(path, f"w:{compression}") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path
