"""What batching across requests gives `mien serve`, and that its memory stays flat under load.

    python benchmarks/serving.py load
    python benchmarks/serving.py memory --seconds 600 --curve memory.png

The real command runs in a process of its own with a bundled model. wrk (Debian's package) sends generated pictures, one
a request, as multipart/form-data from 32 connections that each wait for their answer. Tables go to docs/benchmarks.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import cv2

from mien.datasets.scenes import draw_scene
from reporting import publish, tree_bytes

VARIANTS = {"batched": (), "one picture at a time": ("--batch", "1", "--workers", "1")}
"""What is measured against each other: the same service, the same cores."""

BOUNDARY = "mien-benchmark"
POLL_SECONDS = 1.0

SCRIPT = """
local bodies, next_body = {}, 0
for line in io.lines("FOLDER/list") do
  local file = io.open(line, "rb")
  bodies[#bodies + 1] = file:read("*a")
  file:close()
end
wrk.method = "POST"
wrk.headers["Content-Type"] = "multipart/form-data; boundary=BOUNDARY"
local threads = 0
function setup(thread)
  thread:set("start", threads * 7)
  threads = threads + 1
end
function init(args)
  next_body = start
end
function request()
  next_body = next_body % #bodies + 1
  return wrk.format(nil, nil, nil, bodies[next_body])
end
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\\n{"requests": %d, "seconds": %f, "median": %f, "p90": %f, "p99": %f, "most": %f, "errors": %d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e6, latency:percentile(90) / 1e6,
    latency:percentile(99) / 1e6, latency.max / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""
"""wrk's script, in Lua: each request sends the next body; at the end a line of JSON."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = parser.add_subparsers(dest="mode", required=True)
    load = modes.add_parser("load", help="throughput and latency, batched and one at a time")
    load.add_argument("--sizes", nargs="+", default=["640x480", "320x240"])
    load.add_argument("--rounds", type=int, default=5)
    load.add_argument("--seconds", type=int, default=20, help="of each run")
    load.add_argument("--dry", action="store_true", help="print only, publish nothing")
    memory = modes.add_parser("memory", help="resident memory under load")
    memory.add_argument("--sizes", nargs="+", default=["640x480", "320x240", "1920x1080"])
    memory.add_argument("--seconds", type=int, default=600)
    memory.add_argument("--curve", type=Path, help="plot memory over time there")
    memory.add_argument("--dry", action="store_true", help="print only, publish nothing")
    for mode in (load, memory):
        mode.add_argument("--model", default="mien-small")
        mode.add_argument("--connections", type=int, default=32)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed; on Debian: apt install wrk")
    {"load": measure_load, "memory": measure_memory}[options.mode](options)


def measure_load(options: argparse.Namespace) -> None:
    """Alternating runs of both variants, for each size of pictures."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        services = {name: stack.enter_context(service(options.model, more)) for name, more in VARIANTS.items()}
        for size in options.sizes:
            script = write_script(Path(scratch) / size, [size])
            found: dict[str, list[dict[str, float]]] = {name: [] for name in VARIANTS}
            for address, _ in services.values():
                drive(address, script, options.connections, 3)
            for number in range(options.rounds):
                for name in list(VARIANTS)[:: 1 if number % 2 else -1]:
                    found[name].append(drive(services[name][0], script, options.connections, options.seconds))
            rows += [row(size, name, runs, found["one picture at a time"]) for name, runs in found.items()]
    report(
        options,
        "serving-load",
        "mien serve under load",
        f"python benchmarks/serving.py load --rounds {options.rounds} --seconds {options.seconds}",
        f"{options.connections} connections, each sends its next picture when it has its answer; wrk runs on the same "
        f"cores. {options.rounds} alternating runs of {options.seconds} s each, JPEG with one to three faces, model "
        f"{options.model}. Mean, lowest and highest of the runs; ratio: to one picture at a time, of the same round.",
        ("pictures", "", "pictures/s", "ratio", "median, ms", "p99, ms", "p99 / median", "errors"),
        rows,
    )


def row(size: str, name: str, runs: list[dict[str, float]], base: list[dict[str, float]]) -> tuple[object, ...]:
    rates = [run["requests"] / run["seconds"] for run in runs]
    ratios = [rate * one["seconds"] / one["requests"] for rate, one in zip(rates, base, strict=True)]
    medians, tails = [run["median"] * 1e3 for run in runs], [run["p99"] * 1e3 for run in runs]
    shares = [tail / median for tail, median in zip(tails, medians, strict=True)]
    errors = sum(int(run["errors"]) for run in runs)
    return (size, name, spread(rates), spread(ratios, 2), spread(medians, 0), spread(tails, 0), spread(shares), errors)


def spread(values: list[float], digits: int = 1) -> str:
    low, high = min(values), max(values)
    return f"{statistics.mean(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def measure_memory(options: argparse.Namespace) -> None:
    """One long run; resident memory of the service each second."""
    curve: list[tuple[float, float]] = []
    ended = threading.Event()
    with tempfile.TemporaryDirectory() as scratch, service(options.model, ()) as (address, pid):
        script = write_script(Path(scratch), options.sizes)
        begin = time.perf_counter()

        def watch() -> None:
            while not ended.wait(POLL_SECONDS):
                curve.append((time.perf_counter() - begin, tree_bytes(pid) / 1e6))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            run = drive(address, script, options.connections, options.seconds)
        finally:
            ended.set()
            watcher.join()
    if options.curve:
        plot(curve, options.curve)
    report(
        options,
        "serving-memory",
        "Memory of mien serve under load",
        f"python benchmarks/serving.py memory --seconds {options.seconds}",
        f"One run of {options.seconds} s, {options.connections} connections, pictures of {', '.join(options.sizes)}; "
        f"{int(run['requests']):,} requests, {int(run['errors'])} errors.",
        ("minutes", "resident memory, MB: lowest", "mean", "highest"),
        list(by_tenth(curve, options.seconds)),
    )


def by_tenth(curve: list[tuple[float, float]], seconds: float) -> Iterator[tuple[str, str, str, str]]:
    """A row for each tenth of the time."""
    for tenth in range(10):
        begin, end = tenth * seconds / 10, (tenth + 1) * seconds / 10
        values = [megabytes for second, megabytes in curve if begin <= second < end]
        if values:
            span = f"{begin / 60:.1f} to {end / 60:.1f}"
            yield span, f"{min(values):.0f}", f"{statistics.mean(values):.0f}", f"{max(values):.0f}"


def report(
    options: argparse.Namespace,
    name: str,
    title: str,
    command: str,
    note: str,
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
) -> None:
    if options.dry:
        print(title, note, header, *rows, sep="\n")
    else:
        publish(name, title, command, note, header, rows)


@contextmanager
def service(model: str, more: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """`mien serve` on a free port: its address and process."""
    command = [sys.executable, "-m", "mien", "serve", "--port", "0", "--model", model, "--log-level", "warning", *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline() if process.stdout else ""
        address = line.partition("http")[1:]
        if not address[0]:
            raise SystemExit(f"{' '.join(command)} did not start")
        yield "".join(address).partition(",")[0].strip(), process.pid
    finally:
        process.terminate()
        process.wait()


def write_script(folder: Path, sizes: list[str]) -> Path:
    """Bodies of requests, 24 for each size, and the script that sends them in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for size in sizes:
        width, height = map(int, size.split("x"))
        for seed in range(24):
            scene = draw_scene(seed, size_wh=(width, height), faces=1 + seed % 3)
            data = cv2.imencode(".jpg", scene.image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
            names.append(folder / f"{size}-{seed}")
            names[-1].write_bytes(multipart(data))
    (folder / "list").write_text("".join(f"{name}\n" for name in names))
    script = folder / "wrk.lua"
    script.write_text(SCRIPT.replace("FOLDER", str(folder)).replace("BOUNDARY", BOUNDARY))
    return script


def multipart(data: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n'
    return f"{head}Content-Type: image/jpeg\r\n\r\n".encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()


def drive(address: str, script: Path, connections: int, seconds: int) -> dict[str, float]:
    """Let wrk send for so long; gives what its script reports."""
    with urllib.request.urlopen(f"{address}health/ready", timeout=10) as answer:
        answer.read()
    command = ["wrk", "-t2", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s", "-s", str(script)]
    done = subprocess.run([*command, f"{address}v1/analyze"], capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def plot(curve: list[tuple[float, float]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.plot([second / 60 for second, _ in curve], [megabytes for _, megabytes in curve])
    axes.set(xlabel="minutes under load", ylabel="resident memory, MB", ylim=(0, None))
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
