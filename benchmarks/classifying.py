"""Faces a second through mien's model in float32, float16 and int8, and through the classifier inside fer.

mien's run with ONNX Runtime, and with OpenVINO where that is installed.

python benchmarks/classifying.py [--model FILE] [--data FER2013] [--fer PYTHON] [--rounds 7] [--faces 1024]

FILE is an .onnx that mien exported, the bundled one by default. PYTHON is an interpreter with fer 25.10.3; the
environment variable MIEN_FER_PYTHON names it too. With FER2013, int8 is calibrated on its Training images, and all are
judged on PublicTest.

Each classifier runs in a process of its own and takes face crops, uint8 and grey, to probabilities; no face is looked
for. They take turns, batch size by batch size and round by round, so that all see the same machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien import openvino
from mien.classifier import Classifier
from mien.datasets import Faces, open_dataset
from mien.evaluation import align_labels
from mien.export import export_model
from mien.precisions import PRECISIONS, read_precision
from mien.weights import find_model
from reporting import publish

BATCHES = (1, 8, 16, 32, 64, 128, 256)
"""Faces a call; 1 and 64 are told for every classifier, of the others the fastest."""

FER_CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")

LOOP = """
for line in sys.stdin:
    kind, argument = line.strip().split(" ", 1)  # a folder's name may hold spaces
    if kind == "time":
        crops, size = np.load(sys.argv[1])["crops"], int(argument)
        start = time.perf_counter()
        for first in range(0, len(crops), size):
            classify(crops[first : first + size])
        print("result", len(crops) / (time.perf_counter() - start), flush=True)
    else:
        faces = np.load(sys.argv[1])["faces"]
        both = np.concatenate([faces, faces[:, :, ::-1]])
        answers = np.concatenate([classify(both[first : first + 64]) for first in range(0, len(both), 64)])
        np.save(argument, answers.reshape(2, len(faces), -1))
        print("result", 0, flush=True)
"""

MIEN = """
import sys, time
import numpy as np
from mien import Classifier
model = Classifier(sys.argv[2], device=sys.argv[4], threads=int(sys.argv[3]))
def classify(crops): return model.predict(crops, len(crops))
"""

FER = """
import os, sys, time, warnings
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
warnings.simplefilter("ignore")
import cv2
import numpy as np
from fer.fer import FER
network = FER(use_tflite=sys.argv[2] == "tflite")
def classify(crops):
    grey = np.array([cv2.resize(crop[:, :, 0], (64, 64)) for crop in crops], "float32")
    return np.asarray(network._classify_emotions((grey / 255.0 - 0.5) * 2.0))
"""


@dataclass(frozen=True)
class Contender:
    """A classifier: what the table calls it, its file, and how to start it."""

    name: str
    threads: str
    path: Path | None
    command: tuple[str, ...]
    classes: tuple[str, ...]


class Worker:
    """A contender in a process of its own."""

    def __init__(self, contender: Contender, pictures: Path) -> None:
        python, code, *rest = contender.command
        self.name = contender.name
        self.process = subprocess.Popen(
            [python, "-c", code + LOOP, str(pictures), *rest],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, request: str) -> float:
        """Send a line; the number that comes back."""
        self.process.stdin.write(request + "\n")
        self.process.stdin.flush()
        while line := self.process.stdout.readline():
            if line.startswith("result "):
                return float(line.split()[1])
        raise RuntimeError(f"{self.name}: its process ended with {self.process.wait()}")

    def end(self) -> None:
        """Let the process end."""
        self.process.stdin.close()
        self.process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--data", type=Path, help="FER2013, for int8 and for accuracy")
    parser.add_argument("--fer", default=os.environ.get("MIEN_FER_PYTHON"), help="a Python with fer")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--faces", type=int, default=1024)
    options = parser.parse_args()
    source = find_model(options.model)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        contenders = [*miens(source, options.data, folder), *(fers(options.fer) if options.fer else [])]
        public = write_pictures(folder / "pictures.npz", Classifier(source), options.data, options.faces)
        workers = [Worker(contender, folder / "pictures.npz") for contender in contenders]
        speeds = measure(workers, options.rounds)
        correct = [accuracies(w, c, public, folder) for w, c in zip(workers, contenders, strict=True)]
        for worker in workers:
            worker.end()
        rows = table(contenders, speeds, correct)
    command = f"python benchmarks/classifying.py --rounds {options.rounds} --faces {options.faces}"
    command += f" --model {source.name}" * bool(options.model)
    command += " --data FER2013" * bool(options.data) + " --fer PYTHON" * bool(options.fer)
    header = (
        "classifier",
        "threads",
        "MB",
        "accuracy",
        "with flip",
        "batch 1",
        "batch 64",
        "fastest (batch)",
        "times fer",
    )
    publish("classifying", "Classifying faces", command, note(source, options), header, rows)


def miens(source: Path, data: Path | None, folder: Path) -> list[Contender]:
    """The model in each precision that it can be brought to, on all cores and on one."""
    files = {read_precision(source)["precision"]: source}
    if "int8" not in files:
        for precision in PRECISIONS:
            if precision not in files and (precision != "int8" or data is not None):
                calibrate = data if precision == "int8" else None
                target = folder / f"{precision}.onnx"
                files[precision] = export_model(source, "onnx", target, precision=precision, calibrate=calibrate)
    classes = Classifier(source).classes
    devices = {"": "cpu", ", OpenVINO": "openvino"} if openvino.is_installed() else {"": "cpu"}
    return [
        Contender(
            f"mien, {name}{runtime}",
            said,
            files[name],
            (sys.executable, MIEN, str(files[name]), threads, device),
            classes,
        )
        for threads, said in (("0", "all"), ("1", "1"))
        for runtime, device in devices.items()
        for name in PRECISIONS
        if name in files
    ]


def fers(python: str) -> list[Contender]:
    """Fer's two files of the same network: TFLite, its default, one face a call; and Keras, as many as there are."""
    where = "import os, fer; print('path', os.path.dirname(fer.__file__))"
    version = "import tensorflow as t; from importlib.metadata import version as v"
    shown = "print('version', v('fer'), t.__version__)"
    run = subprocess.run([python, "-c", f"{where}; {version}; {shown}"], capture_output=True, text=True, check=True)
    said = dict(line.split(" ", 1) for line in run.stdout.splitlines() if line.startswith(("path ", "version ")))
    fer, tensorflow = said["version"].split()
    files = {"tflite": "emotion_model_quantized.tflite", "keras": "emotion_model.hdf5"}
    return [
        Contender(
            f"fer {fer}, {kind} (TensorFlow {tensorflow})",
            "its own",
            Path(said["path"]) / "data" / file,
            (python, FER, kind),
            FER_CLASSES,
        )
        for kind, file in files.items()
    ]


def write_pictures(path: Path, model: Classifier, data: Path | None, count: int) -> Faces | None:
    """Write what all contenders read: crops to be timed on, and PublicTest, which is also given back."""
    if data is None:
        np.savez(path, crops=np.random.default_rng(0).integers(0, 256, (count, *model.spec.input.shape), np.uint8))
        return None
    public = open_dataset(data).select("public").load(model.spec.input)
    np.savez(path, crops=public.images[np.arange(count) % len(public)], faces=public.images)
    return public


def measure(workers: list[Worker], rounds: int) -> list[dict[int, list[float]]]:
    """Faces a second of each worker at batches of 1, 64 and its fastest, in each round; after one to warm up."""
    tried = [{size: worker.ask(f"time {size}") for size in BATCHES} for worker in workers]
    sizes = [{1, 64, max(speeds, key=speeds.__getitem__)} for speeds in tried]
    found: list[dict[int, list[float]]] = [{size: [] for size in wanted} for wanted in sizes]
    for _ in range(rounds):
        for size in BATCHES:
            for worker, speeds in zip(workers, found, strict=True):
                if size in speeds:
                    speeds[size].append(worker.ask(f"time {size}"))
    return found


def accuracies(worker: Worker, contender: Contender, public: Faces | None, folder: Path) -> tuple[str, str]:
    """Share of PublicTest that is named rightly, by one view and by the mean with the mirror image."""
    if public is None:
        return "", ""
    worker.ask(f"answer {folder / 'answers.npy'}")
    plain, mirrored = np.load(folder / "answers.npy")
    labels = align_labels(public.labels, public.classes, contender.classes)
    one, two = (f"{np.mean(rows.argmax(1) == labels):.2%}" for rows in (plain, (plain + mirrored) / 2))
    return one, two


def table(
    contenders: list[Contender], speeds: list[dict[int, list[float]]], correct: list[tuple[str, str]]
) -> list[tuple[object, ...]]:
    """A row for each contender; how many times as fast as fer's default, both at their fastest, round by round."""
    best = [max(found, key=lambda size: statistics.median(found[size])) for found in speeds]
    fer = next(
        (found[size] for c, found, size in zip(contenders, speeds, best, strict=True) if "tflite" in c.name), None
    )
    rows = []
    for contender, found, size, accuracy in zip(contenders, speeds, best, correct, strict=True):
        ratio = statistics.median(a / b for a, b in zip(found[size], fer, strict=True)) if fer else None
        megabytes = f"{contender.path.stat().st_size / 1e6:.2f}"
        fastest = f"{spread(found[size])} ({size})"
        told = (spread(found[1]), spread(found[64]), fastest, "" if ratio is None else f"{ratio:.1f}")
        rows.append((contender.name, contender.threads, megabytes, *accuracy, *told))
    return rows


def spread(values: list[float]) -> str:
    """The median, and the least and greatest."""
    return f"{statistics.median(values):,.0f} [{min(values):,.0f}-{max(values):,.0f}]"


def note(source: Path, options: argparse.Namespace) -> str:
    spec, precision = Classifier(source).spec, read_precision(source)["precision"]
    rounded = f" That file is {precision}; float32 here has its rounded weights." if precision == "float16" else ""
    return (
        f"Model: {source.stem}, network {spec.network}, {spec.parameters:,} parameters. Faces a second: median "
        f"[least-greatest] of {options.rounds} rounds after one to warm up, {options.faces} crops of {spec.input.size} "
        "pixels each time, from uint8 crops to probabilities (mien: `Classifier.predict`; fer: its own resizing to 64 "
        "pixels, scaling and `_classify_emotions`, which takes the faces one by one in TFLite, its default, and "
        "together in Keras). No face is looked for. Accuracy: PublicTest, one view, and the mean with its mirror "
        f"image. Times fer: median of the ratios of each round to fer's default, both at their fastest.{rounded}"
    )


if __name__ == "__main__":
    main()
