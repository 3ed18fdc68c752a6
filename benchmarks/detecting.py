"""How long finding faces takes: mien's MTCNN, mtcnn 1.0.0, facenet-pytorch and the Haar cascade that fer uses.

python benchmarks/detecting.py [--photos FOLDER] [--fer2013 FOLDER] [--others PYTHON] [--rounds 7]

Each detector runs in a process of its own; they take turns, picture by picture, so that all see the same machine.
PYTHON is an interpreter with facenet-pytorch and OpenCV 4 (fer installs both); without it, only mien and mtcnn run.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from detection_pictures import folder_pictures, free_pictures, mosaics
from mien.images import read_image
from reporting import publish

LOOP = """
import sys, time
import numpy as np
pictures = np.load(sys.argv[1])
for line in sys.stdin:
    picture = pictures[line.strip()]
    start = time.perf_counter()
    count = run(picture)
    print("time", time.perf_counter() - start, count, flush=True)
"""

WORKERS = {
    "mien": """
from mien.faces import MTCNN
whole, crops = MTCNN(), MTCNN.for_crops()
def run(x):
    if x.ndim == 3 and x.shape[2] == 3: return len(whole.detect(x))
    return sum(len(faces) > 0 for faces in crops.detect_batch(list(x)))
""",
    "mtcnn 1.0.0": """
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
from mtcnn import MTCNN
detector = MTCNN()
def run(x):
    if x.ndim == 3 and x.shape[2] == 3: return len(detector.detect_faces(x))
    return sum(len(detector.detect_faces(np.repeat(crop[..., None], 3, 2))) > 0 for crop in x)
""",
    "facenet-pytorch": """
import numpy as np
from facenet_pytorch import MTCNN
detector = MTCNN(keep_all=True)
def run(x):
    if x.ndim == 3 and x.shape[2] == 3:
        boxes, _ = detector.detect(x)
        return 0 if boxes is None else len(boxes)
    boxes, _ = detector.detect(np.repeat(x[..., None], 3, 3))
    return sum(found is not None for found in boxes)
""",
    "Haar, as fer calls it": """
import cv2
cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
def find(x): return len(cascade.detectMultiScale(x, scaleFactor=1.1, minNeighbors=5, minSize=(50, 50)))
def run(x):
    if x.ndim == 3 and x.shape[2] == 3: return find(cv2.cvtColor(x, cv2.COLOR_RGB2GRAY))
    return sum(find(crop) > 0 for crop in x)
""",
}

FEW = 16
"""Crops that mtcnn is given, which takes them one by one."""


class Worker:
    """A detector in a process of its own."""

    def __init__(self, python: str, code: str, pictures: Path) -> None:
        self.process = subprocess.Popen(
            [python, "-c", code + LOOP, str(pictures)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def time(self, name: str) -> tuple[float, int]:
        """Seconds for a picture or a batch, and how many faces."""
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        while line := self.process.stdout.readline():
            if line.startswith("time "):
                _, seconds, count = line.split()
                return float(seconds), int(count)
        raise RuntimeError(f"the worker ended with {self.process.wait()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--fer2013", type=Path)
    parser.add_argument("--others", help="a Python with facenet-pytorch and OpenCV 4")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    images = pictures(options.photos, options.fer2013)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pictures.npz"
        np.savez(path, **images)
        workers = {
            name: Worker(options.others if number > 1 else sys.executable, code, path)
            for number, (name, code) in enumerate(WORKERS.items())
            if number < 2 or options.others
        }
        times = {key: measure(workers, key, options.rounds) for key in images if key != "few crops"}
        for worker in workers.values():
            worker.process.stdin.close()
            worker.process.wait()
    command = f"python benchmarks/detecting.py --rounds {options.rounds}"
    for name in ("photos", "fer2013", "others"):
        command += f" --{name} {name.upper()}" * bool(getattr(options, name))
    note = (
        f"Milliseconds, {options.rounds} rounds after one to warm up, the detectors taking turns: median "
        "(fastest), faces found. Their defaults, except that mien takes crops with `MTCNN.for_crops()`. Crops: 256 at "
        f"once, per crop; mtcnn one by one, {FEW} of them, counted as 256. Times as long: median of the ratios of "
        "each round."
    )
    rows = [row for key, found in times.items() for row in table(key, images[key], found)]
    header = ("picture", "detector", "ms", "faces", "times as long as mien")
    publish("detecting", "Finding faces", command, note, header, rows)


def pictures(photos: Path | None, fer2013: Path | None) -> dict[str, NDArray[np.uint8]]:
    """Crowds of 600 x 600 and 2000 x 1500 made of pictures with faces, and crops."""
    known = [*free_pictures(), *(folder_pictures(photos) if photos else [])]
    with_faces = [picture for picture in known if picture.faces]
    *_, mosaic = mosaics(with_faces)
    small = [cv2.resize(p.image, (300, 300), interpolation=cv2.INTER_AREA) for p in (with_faces * 4)[-4:]]
    crops = fer_crops(fer2013) if fer2013 else drawn_crops(with_faces[0].image)
    return {
        "600 x 600": np.vstack([np.hstack(small[:2]), np.hstack(small[2:])]),
        "2000 x 1500": np.asarray(cv2.resize(mosaic.image, (2000, 1500), interpolation=cv2.INTER_CUBIC)),
        "crops of 48 x 48": crops,
        "few crops": crops[:FEW],
    }


def fer_crops(folder: Path) -> NDArray[np.uint8]:
    paths = sorted((folder / "train").rglob("*.jpg"))
    return np.stack([read_image(path, channels=1) for path in paths[:: len(paths) // 256][:256]])


def drawn_crops(portrait: NDArray[np.uint8]) -> NDArray[np.uint8]:
    grey = cv2.cvtColor(portrait, cv2.COLOR_RGB2GRAY)
    views = [grey[55 + i : 175 + i, 163 + j : 283 + j] for i in range(16) for j in range(16)]
    return np.stack([cv2.resize(view, (48, 48), interpolation=cv2.INTER_AREA) for view in views])


def measure(workers: dict[str, Worker], key: str, rounds: int) -> dict[str, list[tuple[float, int]]]:
    """Seconds and faces, one per crop where there are crops, of each round."""
    found: dict[str, list[tuple[float, int]]] = {name: [] for name in workers}
    for number in range(rounds + 1):
        for name, worker in workers.items():
            few = key.startswith("crops") and name.startswith("mtcnn")
            seconds, count = worker.time("few crops" if few else key)
            per = (FEW if few else 256) if key.startswith("crops") else 1
            if number:
                found[name].append((seconds / per, count * (256 // per) if few else count))
    return found


def table(key: str, image: NDArray[np.uint8], found: dict[str, list[tuple[float, int]]]) -> list[tuple[object, ...]]:
    ours = [seconds for seconds, _ in found["mien"]]
    digits = 3 if image.shape[0] == 256 else 1
    rows = []
    for name, results in found.items():
        times = [seconds for seconds, _ in results]
        ratio = statistics.median(theirs / mine for theirs, mine in zip(times, ours, strict=True))
        spread = f"{statistics.median(times) * 1e3:.{digits}f} ({min(times) * 1e3:.{digits}f})"
        rows.append((key, name, spread, results[-1][1], f"{ratio:.1f}"))
    return rows


if __name__ == "__main__":
    main()
