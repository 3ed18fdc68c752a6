"""How equal the answers of the browser's own engine are to Python's, and how fast it is.

    python benchmarks/in_browser.py [--pictures FOLDER] [--model mien-small] [--rounds 5]

The exported page runs in Debian's Chromium, from a file server with the headers that allow threads. Pictures are turned
into PNG first, so that both see the same pixels; without a folder they are a portrait and drawn crowds.
Each is read once for its answer, then so often for the time.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from PIL import Image

import mien
from mien.datasets.scenes import draw_scene
from mien.faces.boxes import overlaps
from mien.images import read_image
from mien.server.web_export import export_page
from reporting import publish

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from page_browser import Visit, opened_browser
from test_local_engine import Isolated, boxes, read, served

TIME = """async ([address, rounds]) => {
  const { openLocalEngine } = await import(new URL("page/local/engine.js", location));
  const { imageData } = await import(new URL("page/decode.js", location));
  const picture = await imageData(await (await fetch(address)).blob());
  const engine = await openLocalEngine();
  const times = [];
  for (let i = 0; i <= rounds; i++) {
    const start = performance.now();
    await engine.analyze(picture);
    times.push(performance.now() - start);
  }
  return times.slice(1);
}"""


def pictures(folder: Path | None) -> dict[str, np.ndarray]:
    """Name to RGB pixels."""
    if folder is not None:
        return {
            path.name: read_image(path) for path in sorted(folder.iterdir()) if mien.images.is_image_name(path.name)
        }
    drawn = {f"drawn {seed}": draw_scene(seed, size_wh=(640, 480), faces=seed).image for seed in (1, 4, 9, 12)}
    return {"portrait": skimage.data.astronaut(), **drawn}


def milliseconds(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})"


def in_python(analyzer: mien.Analyzer, image: np.ndarray, rounds: int) -> list[float]:
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        analyzer.analyze(image)
        times.append((time.perf_counter() - start) * 1000)
    return times[1:]


def compared(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> tuple[str, str]:
    """The smallest overlap and the largest difference of a probability."""
    if len(found) != len(expected):
        return f"{len(found)} faces, not {len(expected)}", ""
    if not found:
        return "", ""
    smallest = overlaps(boxes(found), boxes(expected)).diagonal().min()
    apart = [
        abs(one["probabilities"][name] - other["probabilities"][name])
        for one, other in zip(found, expected, strict=True)
        for name in one["probabilities"]
    ]
    return f"{smallest:.4f}", f"{max(apart):.6f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=Path, help="a folder; names of its files are published")
    parser.add_argument("--model", default="mien-small")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    analyzer, rows = mien.Analyzer(options.model), []
    with tempfile.TemporaryDirectory() as root, opened_browser() as browser:
        export_page(options.model, Path(root) / "a" / "b")
        with served(Path(root), Isolated) as site:
            visit = Visit(browser, site)
            visit.page.set_default_timeout(120_000)
            for number, (name, image) in enumerate(pictures(options.pictures).items()):
                png = io.BytesIO()
                Image.fromarray(image).save(png, "PNG")
                expected = analyzer.analyze(png.getvalue()).to_dict()["faces"]
                equal = compared(read(visit, image)["faces"], expected)
                (Path(root) / "a" / "b" / f"{number}.png").write_bytes(png.getvalue())
                here = visit.page.evaluate(TIME, [f"{number}.png", options.rounds])
                there = in_python(analyzer, image, options.rounds)
                size = f"{image.shape[1]}x{image.shape[0]}"
                rows.append((name, size, len(expected), *equal, milliseconds(here), milliseconds(there)))
    publish(
        "in-browser",
        "Reading faces in the browser itself",
        f"python benchmarks/in_browser.py --model {options.model} --rounds {options.rounds}"
        + (" --pictures FOLDER" if options.pictures else ""),
        f"The exported page in Chromium {browser.version}, from PNG, against `mien.Analyzer` on the same cores: "
        f"without decoding, both. Median and range of {options.rounds}.",
        ("picture", "size", "faces", "smallest IoU", "probabilities apart", "browser, ms", "Python, ms"),
        rows,
    )


if __name__ == "__main__":
    main()
