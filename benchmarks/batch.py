"""What reading through Ray costs, what a second worker gains, and how cost and memory grow with the number of pictures.

    python benchmarks/batch.py engines --pictures DIR --rounds 3
    python benchmarks/batch.py workers --pictures DIR --rounds 3
    python benchmarks/batch.py scale --counts 1000,10000,100000,1000000

Pictures are generated. Each measurement is a process of its own; what starting Ray and its workers takes is measured by
a run over a single picture and told apart. Tables go to docs/benchmarks.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil

from mien.datasets.samples import sample_faces
from reporting import publish

SHARD = 10_000
"""Pictures in a generated tar."""

DRAWN = 700
"""Different faces that the pictures of the tars are made of."""

POLL_SECONDS = 1.0

LOCAL = """
import json, sys, time
from pathlib import Path
import cv2
from mien import Analyzer
from mien.outputs import open_rows

folder, out, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
cv2.setNumThreads(threads)
analyzer = Analyzer(threads=threads)
begin, pictures = time.perf_counter(), 0
with open_rows(out / "rows.parquet", analyzer.classes) as rows:
    for analysis in analyzer.stream(folder):
        rows.write(analysis)
        pictures += 1
print(json.dumps({"pictures": pictures, "seconds": time.perf_counter() - begin}))
"""

RAY = """
import json, sys, time
from mien.batch import Settings, Workers, run_batch
from mien.batch.cluster import connected

sources, out, count, cpus, detector = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
settings = Settings(detector=detector, part_size=int(sys.argv[6]) or None)
begin = time.perf_counter()
with connected(None):
    up = time.perf_counter()
    done = run_batch([sources], out, settings=settings, workers=Workers(count, cpus))
    end = time.perf_counter()
print(json.dumps({"pictures": done.counts.pictures, "faces": done.counts.faces, "failed": done.counts.failed,
                  "seconds": end - up, "start": up - begin, "parts": done.parts}))
"""


def measured(code: str, *arguments: object, memory: bool = False) -> dict[str, Any]:
    """What a process of its own says, and the most memory that it and its children held together (PSS, MB)."""
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    peak = 0.0
    while memory and process.poll() is None:
        peak = max(peak, held(process.pid))
        time.sleep(POLL_SECONDS)
    text = process.communicate()[0]
    if process.returncode:
        raise SystemExit(f"a measurement ended with {process.returncode}")
    return {**json.loads(text.splitlines()[-1]), "peak": peak}


def held(pid: int) -> float:
    """Megabytes that a process and its children hold, what they share counted once."""
    total = 0
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return 0.0
    for process in family:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total / 2**20


def run_ray(
    sources: object, count: int, cpus: int, detector: str = "mtcnn", *, part_size: int = 0, memory: bool = False
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        return measured(RAY, sources, Path(folder, "out"), count, cpus, detector, part_size, memory=memory)


def run_local(sources: object, threads: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        return measured(LOCAL, sources, folder, threads)


def start_of(pictures: Path, count: int, cpus: int) -> float:
    """Seconds of a run in which each worker has one picture."""
    with tempfile.TemporaryDirectory() as folder:
        some = [path for path in sorted(pictures.rglob("*")) if path.suffix in (".png", ".jpg")][:count]
        for path in some:
            shutil.copy(path, folder)
        return float(run_ray(folder, count, cpus, part_size=1)["seconds"])


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Median (lowest to highest)."""
    low, high = min(values), max(values)
    return f"{statistics.median(values):,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def engines(pictures: Path, rounds: int, threads: int) -> None:
    """One worker through Ray beside the in-process engine, with equal threads, alternating."""
    start = [start_of(pictures, 1, threads) for _ in range(rounds)]
    local, ray = [], []
    for _ in range(rounds):
        local.append(run_local(pictures, threads))
        ray.append(run_ray(pictures, 1, threads))
        print(local[-1], ray[-1], file=sys.stderr)
    count, up = local[0]["pictures"], statistics.median(start)
    inside = [run["seconds"] for run in local]
    through = [run["seconds"] - up for run in ray]
    shares = [100 * (there / here - 1) for here, there in zip(inside, through, strict=True)]
    note = (
        f"{count:,} generated pictures, read, searched by MTCNN and classified with {threads} threads; {rounds} "
        "rounds, alternating: median (lowest to highest). Starting a worker, and a run over one picture, took "
        f"{spread(start)} s, of which the median is taken off; ray.init() itself, "
        f"{spread([run['start'] for run in ray])} s, is not in it either."
    )
    rows = [
        ["in this process", spread(inside), spread([count / value for value in inside]), ""],
        ["one worker on Ray", spread(through), spread([count / value for value in through]), spread(shares) + " %"],
    ]
    header = ["engine", "s", "pictures/s", "more time"]
    command = f"python benchmarks/batch.py engines --pictures DIR --rounds {rounds} --threads {threads}"
    publish("batch-engines", "One worker through Ray beside the in-process engine", command, note, header, rows)


def workers(pictures: Path, rounds: int) -> None:
    """Two single-threaded workers beside one, alternating."""
    start = {count: statistics.median(start_of(pictures, count, 1) for _ in range(rounds)) for count in (1, 2)}
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for count, times in seconds.items():
            run = run_ray(pictures, count, 1)
            times.append(run["seconds"] - start[count])
            print(count, run, file=sys.stderr)
    gains = [one / two for one, two in zip(seconds[1], seconds[2], strict=True)]
    note = (
        f"{run['pictures']:,} generated pictures, read, searched by MTCNN and classified; workers of one thread each; "
        f"{rounds} rounds, alternating: median (lowest to highest). Starting them and a run in which each has one "
        f"picture ({start[1]:.1f} and {start[2]:.1f} s) is taken off."
    )
    rows = [
        [
            count,
            spread(times),
            spread([run["pictures"] / value for value in times]),
            spread(gains, 2) if count == 2 else "",
        ]
        for count, times in seconds.items()
    ]
    header = ["workers", "s", "pictures/s", "times as fast"]
    command = f"python benchmarks/batch.py workers --pictures DIR --rounds {rounds}"
    publish("batch-workers", "Two workers beside one", command, note, header, rows)


def write_shards(folder: Path, count: int) -> Path:
    """Tars of JPEG crops, 48x48 grey: drawn faces, each with a brightness and shift of its own."""
    faces = sample_faces(DRAWN)[0][..., 0]
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, count, SHARD):
        with tarfile.open(folder / f"faces-{first // SHARD:04d}.tar", "w") as tar:
            for number in range(first, min(first + SHARD, count)):
                shifted = np.roll(faces[number % DRAWN], rng.integers(-3, 4, 2), (0, 1))
                image = np.clip(shifted.astype(np.int16) + rng.integers(-40, 41), 0, 255).astype(np.uint8)
                data = cv2.imencode(".jpg", image)[1].tobytes()
                member = tarfile.TarInfo(f"{number:08d}.jpg")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return folder


def scale(counts: Sequence[int], count_workers: int) -> None:
    """Seconds and memory at growing numbers of pictures, and the straight line through them."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for count in counts:
            shards = write_shards(Path(folder, str(count)), count)
            run = run_ray(shards, count_workers, 1, "none", memory=True)
            shutil.rmtree(shards)
            if (run["pictures"], run["failed"]) != (count, 0):
                raise SystemExit(f"of {count} pictures, {run} were read")
            print(run, file=sys.stderr)
            found.append(run)
    seconds = np.array([run["seconds"] for run in found])
    numbers = np.array(counts, float)
    slope, base = np.polyfit(numbers, seconds, 1, w=1 / seconds)
    note = (
        f"{count_workers} workers of one thread each; crops of 48x48 as JPEG in tars of {SHARD:,}, decoded and "
        f"classified (--detector none); one run each. The straight line through all: {base:.1f} s and "
        f"{1000 * slope:.2f} ms a picture. Memory is what all processes together held at most (PSS, every second), "
        "Ray's own included."
    )
    rows = [
        [
            f"{count:,}",
            run["parts"],
            f"{run['seconds']:,.1f}",
            f"{base + slope * count:,.1f}",
            f"{count / run['seconds']:,.0f}",
            f"{run['peak']:,.0f}",
        ]
        for count, run in zip(counts, found, strict=True)
    ]
    header = ["pictures", "parts", "s", "s on the line", "pictures/s", "peak MB"]
    command = f"python benchmarks/batch.py scale --counts {','.join(map(str, counts))} --workers {count_workers}"
    publish("batch-scale", "Seconds and memory as the number of pictures grows", command, note, header, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("engines", "workers", "scale"))
    parser.add_argument("--pictures", type=Path, help="folder; mien data sample --size 96 --channels 3 DIR draws one")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--counts", default="1000,10000,100000,1000000")
    options = parser.parse_args()
    if options.what == "scale":
        scale([int(count) for count in options.counts.split(",")], options.workers)
    elif options.pictures is None:
        parser.error("--pictures: name a folder")
    elif options.what == "engines":
        engines(options.pictures, options.rounds, options.threads)
    else:
        workers(options.pictures, options.rounds)


if __name__ == "__main__":
    main()
