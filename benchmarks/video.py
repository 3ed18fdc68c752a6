"""How fast a video is read, beside `fer`, and that memory stays flat however long it is.

    python benchmarks/video.py speed --model model.onnx --fer-python ~/ferenv/bin/python
    python benchmarks/video.py memory --model model.onnx --curve memory.png

Videos are generated: drawn faces that move over a background, 1280x720, H.264. `fer` runs in an environment of its own,
with the Haar detector it uses unless told otherwise. Tables go to docs/benchmarks.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mien.datasets.scenes import write_scene_video
from reporting import publish, tree_bytes

POLL_SECONDS = 0.1

FER = """
import json, sys, time
import cv2
from fer.fer import FER

detector = FER()
detector.detect_emotions(cv2.VideoCapture(sys.argv[1]).read()[1])
video, frames, faces = cv2.VideoCapture(sys.argv[1]), 0, 0
begin = time.perf_counter()
while True:
    more, frame = video.read()
    if not more:
        break
    frames += 1
    faces += len(detector.detect_emotions(frame))
print(json.dumps({"frames": frames, "faces": faces, "seconds": time.perf_counter() - begin}))
"""

MIEN = """
import json, sys, time
from pathlib import Path
from mien import Analyzer
from mien.drawing import draw_faces
from mien.outputs import Annotated, open_rows
from mien.sources import open_sources

clip, model, save = Path(sys.argv[1]), sys.argv[2] or None, sys.argv[3] == "save"
analyzer = Analyzer(model)
analyzer.analyze(next(iter(open_sources([clip]))).image)
frames = faces = 0
begin = time.perf_counter()
with open_sources([clip]) as opened, open_rows(clip.with_suffix(".jsonl"), analyzer.classes) as rows, Annotated(
    clip.parent / "drawn"
) as drawn:
    for frame, found in analyzer.analyze_frames(opened):
        rows.write(found)
        if save:
            drawn.write(frame, draw_faces(frame.image, found.faces))
        frames += 1
        faces += len(found)
print(json.dumps({"frames": frames, "faces": faces, "seconds": time.perf_counter() - begin}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = parser.add_subparsers(dest="mode", required=True)
    speed = modes.add_parser("speed", help="frames a second")
    speed.add_argument("--fer-python", help="a Python that has fer; left out, only mien is measured")
    speed.add_argument("--frames", type=int, default=300)
    speed.add_argument("--rounds", type=int, default=3)
    memory = modes.add_parser("memory", help="peak memory of short and long videos")
    memory.add_argument("--counts", type=int, nargs=2, default=[1_000, 10_000])
    memory.add_argument("--curve", type=Path, help="also plot memory over time there")
    memory.add_argument("--keep", type=Path, help="write videos, rows, timeline there, and leave them")
    for mode in (speed, memory):
        mode.add_argument("--model", default="", help="a model file or bundled name")
    options = parser.parse_args()
    {"speed": measure_speed, "memory": measure_memory}[options.mode](options)


def measure_speed(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        clip = Path(scratch) / "clip.mp4"
        truth = write_scene_video(clip, seed=1, frames=options.frames, size_wh=(1280, 720), faces=2)
        ways = {
            "mien, rows": [sys.executable, "-c", MIEN, str(clip), options.model, "rows"],
            "mien, rows and annotated video": [sys.executable, "-c", MIEN, str(clip), options.model, "save"],
        }
        if options.fer_python:
            ways["fer 25.10.3, Haar"] = [options.fer_python, "-c", FER, str(clip)]
        results: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
        for _ in range(options.rounds):
            for name, command in ways.items():
                results[name].append(answer(command))
        drawn = sum(len(one.boxes_xyxy) for one in truth)
    rows = []
    for name, runs in results.items():
        rates = [run["frames"] / run["seconds"] for run in runs]
        rows.append(
            (name, f"{statistics.mean(rates):.1f} ({min(rates):.1f} to {max(rates):.1f})", int(runs[0]["faces"]))
        )
    publish(
        "video",
        "Reading a video of 1280x720 with two faces",
        f"python benchmarks/video.py speed --frames {options.frames} --rounds {options.rounds}"
        + (" --fer-python PYTHON" if options.fer_python else ""),
        f"{options.frames} frames; mean, lowest and highest of {options.rounds} alternating runs, from opening the "
        "video to the last row; importing and opening models not counted. "
        f"{drawn} faces were drawn.",
        ("", "frames/s", "faces found in all frames"),
        rows,
    )


def answer(command: list[str]) -> dict[str, float]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed: {done.stderr[-2000:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def measure_memory(options: argparse.Namespace) -> None:
    rows, peaks, curves = [], [], []
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for count in options.counts:
            clip = folder / f"clip-{count}.mp4"
            write_scene_video(clip, seed=1, frames=count, size_wh=(1280, 720), faces=2)
            seconds, curve = watch(clip, folder, options.model)
            curves.append(curve)
            peaks.append(max(megabytes for _, megabytes in curve))
            rows.append((f"{count:,}", f"{seconds:.0f}", f"{count / seconds:.1f}", f"{peaks[-1]:.0f}"))
    if options.curve:
        plot(curves, options.counts, options.curve)
    publish(
        "video-memory",
        "Peak memory of reading a long video",
        "python benchmarks/video.py memory",
        f"`mien predict CLIP --out --save --timeline`, one run each, two faces. From the shorter to the longer "
        f"the peak grows by {peaks[1] / peaks[0] - 1:.1%}.",
        ("frames", "whole command, s", "frames/s", "peak memory of the process tree, MB"),
        rows,
    )


def watch(clip: Path, folder: Path, model: str) -> tuple[float, list[tuple[float, float]]]:
    """Run `mien predict` on a video; gives its seconds, and (seconds, megabytes) as it went."""
    command = [sys.executable, "-m", "mien", "predict", str(clip), "--out", str(clip.with_suffix(".jsonl"))]
    command += ["--save", str(folder / "drawn"), "--timeline", str(clip.with_suffix(".png"))]
    command += ["--model", model] if model else []
    begin, curve = time.perf_counter(), []
    process = subprocess.Popen(command)
    while process.poll() is None:
        curve.append((time.perf_counter() - begin, tree_bytes(process.pid) / 1e6))
        time.sleep(POLL_SECONDS)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    return time.perf_counter() - begin, curve


def plot(curves: list[list[tuple[float, float]]], counts: list[int], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.5), layout="constrained")
    axes = figure.subplots()
    for curve, count in zip(curves, counts, strict=True):
        axes.plot(*zip(*curve, strict=True), label=f"{count:,} frames")
    axes.set(xlabel="seconds", ylabel="resident memory, MB", ylim=(0, None))
    axes.legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
