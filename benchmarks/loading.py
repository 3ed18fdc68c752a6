"""How fast datasets are read, and that memory stays flat where they are streamed.

    python benchmarks/loading.py speed --data FER2013      seconds, first time and from the cache
    python benchmarks/loading.py faces --data FER2013      seconds and peak memory of finding the face in each image
    python benchmarks/loading.py memory                    peak memory of one epoch over 10,000 and over 50,000 files

Every row is measured in a fresh process with a cache folder of its own; tables go to docs/benchmarks.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from mien.datasets import convert, open_dataset
from mien.datasets.streaming import epoch_batches
from mien.labels import EXPRESSIONS
from mien.preprocessing import InputSpec
from mien.recipes import recipe
from reporting import publish, tree_bytes

SIDE = 224
POLL_SECONDS = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = parser.add_subparsers(dest="mode", required=True)
    speed = modes.add_parser("speed", help="seconds to load a dataset")
    speed.add_argument("--data", type=Path, default=Path("FER2013"))
    speed.add_argument("--repeats", type=int, default=5)
    faces = modes.add_parser("faces", help="seconds to find the face in each image")
    faces.add_argument("--data", type=Path, default=Path("FER2013"))
    faces.add_argument("--repeats", type=int, default=3)
    memory = modes.add_parser("memory", help="peak memory while streaming")
    memory.add_argument("--counts", type=int, nargs=2, default=[10_000, 50_000])
    memory.add_argument("--batch-size", type=int, default=32)
    memory.add_argument("--train", action="store_true", help="train the seed's network for an epoch, not only read")
    for name in ("load", "stream", "train", "find"):
        inner = modes.add_parser(name, help="used by this program itself")
        inner.add_argument("data", type=Path)
        inner.add_argument("--batch-size", type=int, default=32)
    options = parser.parse_args()
    work = {"speed": measure_speed, "faces": measure_faces, "memory": measure_memory}
    work |= {"load": load_once, "stream": stream_once, "train": train_once, "find": find_once}
    work[options.mode](options)


def measure_speed(options: argparse.Namespace) -> None:
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        csv = Path(scratch) / "fer2013.csv"
        convert(options.data, csv)
        for what, path in (("folder", options.data), ("csv", csv)):
            first, cached = [], []
            for repeat in range(options.repeats):
                cache = Path(scratch) / f"cache-{what}-{repeat}"
                first.append(child("load", path, cache)[0])
                cached.append(child("load", path, cache)[0])
            rows.append((what, first[0]["count"], seconds(first), seconds(cached)))
    publish(
        "loading",
        "Seconds to load FER2013",
        f"python benchmarks/loading.py speed --data FER2013 --repeats {options.repeats}",
        f"Mean, lowest and highest of {options.repeats} fresh processes, imports of mien not counted.",
        ("read from", "faces", "first time, s", "from the cache, s"),
        rows,
    )


def seconds(results: Sequence[dict[str, float]]) -> str:
    """Mean, and lowest to highest."""
    values = [result["seconds"] for result in results]
    return f"{statistics.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def measure_faces(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch) / "cache"
        runs = [child("find", options.data, cache) for _ in range(options.repeats)]
    results, peaks = [result for result, _ in runs], [peak for _, peak in runs]
    found, count = results[0]["found"], results[0]["count"]
    publish(
        "finding-faces",
        "Finding the face in each image of FER2013",
        f"python benchmarks/loading.py faces --data FER2013 --repeats {options.repeats}",
        "What `mien train --detect-faces` and `load_data(detect_faces=True)` do first, without their cache. Mean, "
        f"lowest and highest of {options.repeats} fresh processes, decoding counted, imports not.",
        ("images", "with a face", "seconds", "images/s", "peak memory, MB"),
        [
            (
                f"{count:,}",
                f"{found:,} ({found / count:.1%})",
                seconds(results),
                f"{count / statistics.mean(result['seconds'] for result in results):.0f}",
                f"{max(peaks) / 1e6:.0f}",
            )
        ],
    )


def measure_memory(options: argparse.Namespace) -> None:
    rows, peaks = [], []
    with tempfile.TemporaryDirectory() as scratch:
        for count in options.counts:
            folder = Path(scratch) / str(count)
            draw_files(folder, count)
            mode = "train" if options.train else "stream"
            result, peak = child(mode, folder, Path(scratch) / "cache", "--batch-size", str(options.batch_size))
            peaks.append(peak)
            decoded = count * SIDE * SIDE * (1 if options.train else 3) / 1e9
            rows.append((f"{count:,}", f"{decoded:.1f}", f"{result['seconds']:.1f}", f"{peak / 1e6:.0f}"))
    what = "training on" if options.train else "reading"
    publish(
        f"streaming-{what.partition(' ')[0]}",
        f"Peak memory of {what} a dataset larger than memory",
        f"python benchmarks/loading.py memory --batch-size {options.batch_size}" + " --train" * options.train,
        f"One epoch, one run each. From the smaller to the larger it grows by {peaks[1] / peaks[0] - 1:.1%}.",
        ("files of 224x224", "decoded, GB", "one epoch, s", "peak memory of the process tree, MB"),
        rows,
    )


def draw_files(folder: Path, count: int) -> None:
    """Write JPEG files in class folders: clouds of colour, a hundred different ones, each many times."""
    random = np.random.default_rng(0)
    clouds = [cv2.resize(random.integers(0, 256, (14, 14, 3), np.uint8), (SIDE, SIDE)) for _ in range(100)]
    encoded = [cv2.imencode(".jpg", cloud)[1].tobytes() for cloud in clouds]
    for name in EXPRESSIONS:
        (folder / "train" / name).mkdir(parents=True)
    for number in range(count):
        name = EXPRESSIONS[number % len(EXPRESSIONS)]
        (folder / "train" / name / f"face_{number:06d}.jpg").write_bytes(encoded[number % len(encoded)])


def child(mode: str, data: Path, cache: Path, *more: str) -> tuple[dict[str, float], int]:
    """Run this program in a mode of its own; gives its answer and the peak memory of its process tree in bytes."""
    command = [sys.executable, __file__, mode, str(data), *more]
    environment = {**os.environ, "MIEN_CACHE": str(cache)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
    peak = 0
    while process.poll() is None:
        peak = max(peak, tree_bytes(process.pid))
        time.sleep(POLL_SECONDS)
    output = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    return json.loads(output), peak


def load_once(options: argparse.Namespace) -> None:
    timed(lambda: len(open_dataset(options.data).load()))


def find_once(options: argparse.Namespace) -> None:
    from mien.datasets.facing import find_boxes

    start = time.perf_counter()
    found = find_boxes(open_dataset(options.data), cache=False).found
    answer = {"count": len(found), "found": int(found.sum()), "seconds": time.perf_counter() - start}
    print(json.dumps(answer))


def stream_once(options: argparse.Namespace) -> None:
    dataset = open_dataset(options.data)
    batches = epoch_batches(dataset, InputSpec(SIDE, 3), batch_size=options.batch_size)
    timed(lambda: sum(len(labels) for _, labels in batches))


def train_once(options: argparse.Namespace) -> None:
    """`mien train DATA --size 224 --epochs 1`: the files are checked, then streamed."""
    from mien.training import train

    with tempfile.TemporaryDirectory() as out:
        config = recipe("seed", epochs=1, batch_size=options.batch_size, input=InputSpec(SIDE, 1))
        timed(lambda: len(train(options.data, config, out=out, verbose=False).history["loss"]))


def timed(work: Callable[[], int]) -> None:
    start = time.perf_counter()
    count = work()
    print(json.dumps({"count": count, "seconds": time.perf_counter() - start}))


if __name__ == "__main__":
    main()
