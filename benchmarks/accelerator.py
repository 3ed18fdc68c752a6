"""The accuracy runs on one accelerator, in one process and within a time limit: teachers, then students of all of them.

    KERAS_BACKEND=jax python benchmarks/accelerator.py probe FER2013 --work DIR
    KERAS_BACKEND=jax python benchmarks/accelerator.py run FER2013 --work DIR --out DIR --seconds 540
    python benchmarks/accelerator.py export DIR/NAME.npz... --data FER2013 --to DIR

`probe` trains three epochs of each network and keeps the seconds that one takes in DIR/speed.json. `run` gives each
stage its share of the time, trains it, and writes its weights (kernels in float16) and log.json after each, so that a
run which is cut off loses one stage at most. `export`, where TensorFlow is, makes .keras and .onnx files of them.
What a stage does is what `mien train FER2013` does with the same settings (log.json has them): the dataset is read
once, and nothing is judged but PublicTest with one view after the last epoch.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from shutil import copy
from typing import Any

import numpy as np

STARTED = time.perf_counter()


@dataclasses.dataclass(frozen=True)
class Stage:
    """One run: a recipe with changes, its share of the time, and the stages that teach it."""

    name: str
    recipe: str
    share: float
    changes: dict[str, Any]
    teachers: tuple[str, ...] = ()


NETWORKS = {"large": "large", "small": "compact", "vgg": "vgg"}
"""What is probed: recipe to network."""

TEACHERS = ("large0", "vgg1", "large2")
FULL = {"progressive": (), "validation": "public", "keep": "last", "validate_every": 20}
PUPIL = {**FULL, "teacher_view": "stored", "teacher_views": 30, "teacher_weight": 0.9, "label_smoothing": 0.0}
STAGES = (
    Stage("large0", "large", 0.235, {**FULL, "seed": 0}),
    Stage("vgg1", "vgg", 0.14, {**FULL, "seed": 1, "mixup": 0.2, "ema": 0.999}),
    Stage("large2", "large", 0.235, {**FULL, "seed": 2}),
    Stage("small", "small", 0.15, {**PUPIL, "seed": 3, "mixup": 0.2, "network": "compact"}, TEACHERS),
    Stage("large4", "large", 0.24, {**PUPIL, "seed": 4, "mixup": 0.2}, TEACHERS),
)


def say(line: str) -> None:
    """Print with the seconds since the start."""
    print(f"{time.perf_counter() - STARTED:6.1f} s  {line}", flush=True)


class Bench:
    """The dataset, and what is trained on it."""

    def __init__(self, data: str, work: Path, limit: int) -> None:
        from mien.datasets import open_dataset
        from mien.materials import Selection, gather
        from mien.recipes import recipe

        self.work, self.dataset = work, open_dataset(data)
        self.materials = gather(self.dataset, recipe("large", **FULL), Selection(limit=limit, detect_faces=False))
        say(f"{len(self.materials.source.labels):,} images to train on")

    def train(self, stage: Stage, epochs: int, folder: Path) -> tuple[Any, list[dict[str, float]]]:
        """Train; gives the stock network and the history."""
        from mien.learning import learn
        from mien.networks import network
        from mien.recipes import recipe
        from mien.teaching import taught

        teachers = tuple(str(self.work / name / "model.keras") for name in stage.teachers)
        config = recipe(stage.recipe, **stage.changes, epochs=epochs, teachers=teachers)
        model = network(config.network, classes=len(self.materials.classes), seed=config.seed)
        source, held = self.materials.source, self.materials.validation
        if config.teachers:
            source = taught(source, config, model, self.work / "views", say)  # the same for all pupils
        learned = learn(model, config, source, (held.images, held.labels), folder)
        return model, learned.history


def probe(bench: Bench) -> None:
    """Measure the seconds that an epoch takes."""
    speed = {}
    for name, network in NETWORKS.items():
        started = time.perf_counter()
        stage = Stage(name, name, 0, {**FULL, "network": network})
        history = bench.train(stage, 3, bench.work / f"probe-{name}")[1]
        seconds = min(row["seconds"] for row in history[1:2])
        speed[name] = {"epoch": seconds, "beside": time.perf_counter() - started - 3 * seconds}
        say(f"{name}: {speed[name]} {history}")
        (bench.work / "speed.json").write_text(json.dumps(speed))


def run(bench: Bench, out: Path, seconds: float) -> None:
    """Train every stage in its share of the time."""
    from mien.export import describe, save_keras

    speed = json.loads((bench.work / "speed.json").read_text())
    written = bench.work / "log.json"
    log: dict[str, Any] = json.loads(written.read_text()) if written.exists() else {}
    left = sum(stage.share for stage in STAGES)
    for stage in STAGES:
        share = (seconds - (time.perf_counter() - STARTED)) * stage.share / left
        left -= stage.share
        started = time.perf_counter()
        weights = bench.work / f"{stage.name}.npz"
        if weights.exists():  # by a call before this one
            copy(weights, out)
            continue
        if stage.teachers and not (bench.work / "views" / "teachers.npy").exists():
            share -= speed["large"]["epoch"] * 30 * 0.8  # asking: three networks forward
        epochs = max(3, int((share - speed[stage.recipe]["beside"]) / speed[stage.recipe]["epoch"]))
        say(f"{stage.name}: {epochs} epochs in {share:.0f} s")
        model, history = bench.train(stage, epochs, bench.work / stage.name)
        took = time.perf_counter() - started
        say(f"{stage.name}: took {took:.1f} s, {history[-1]}")
        if not stage.teachers:
            description = describe(model, bench.materials.classes, crop_margin=0.0, trained_on={})
            save_keras(model, description, bench.work / stage.name / "model.keras")
        log[stage.name] = {**dataclasses.asdict(stage), "epochs": epochs, "seconds": took, "history": history}
        written.write_text(json.dumps(log))
        arrays = [w.astype(np.float16 if w.ndim > 1 else np.float32) for w in model.get_weights()]
        np.savez(weights, **{f"{index:03d}": array for index, array in enumerate(arrays)})
        copy(weights, out)
        copy(written, out)
        say(f"{stage.name}: written")


def export(weights: list[Path], log: Path, data: str, to: Path) -> None:
    """Make .keras and .onnx files of weights that came back."""
    from mien.datasets import open_dataset
    from mien.export import describe, save_keras, save_onnx
    from mien.framing import FER2013_MARGIN
    from mien.materials import Selection, gather
    from mien.networks import network
    from mien.recipes import recipe

    stages = json.loads(log.read_text())
    facts, classes = None, ()
    for path in weights:
        stage = stages[path.stem]
        config = recipe(stage["recipe"], **stage["changes"], epochs=stage["epochs"], teachers=stage["teachers"])
        if facts is None:
            materials = gather(open_dataset(data), config, Selection(detect_faces=False))
            facts, classes = materials.facts, materials.classes
        model = network(config.network, classes=len(classes))
        with np.load(path) as arrays:
            model.set_weights([arrays[name].astype(np.float32) for name in sorted(arrays.files)])
        trained_on = {**facts, "recipe": config.to_dict()}
        description = describe(model, classes, crop_margin=FER2013_MARGIN, trained_on=trained_on)
        folder = to / path.stem
        folder.mkdir(parents=True, exist_ok=True)
        save_keras(model, description, folder / "model.keras")
        save_onnx(model, description, folder / "model.onnx")
        say(f"{folder}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["probe", "run", "export"])
    parser.add_argument("paths", nargs="+")
    parser.add_argument("--work", type=Path, default=Path("work"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--to", type=Path)
    parser.add_argument("--data", default="FER2013")
    parser.add_argument("--seconds", type=float, default=540)
    parser.add_argument("--limit", type=int, default=0, help="images of Training, for a rehearsal")
    options = parser.parse_args()
    if options.what == "export":
        paths = [Path(path) for path in options.paths]
        export(paths, paths[0].with_name("log.json"), options.data, options.to or paths[0].parent)
        return
    options.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.paths[0], options.work, options.limit)
    if options.what == "probe":
        probe(bench)
    else:
        run(bench, options.out or options.work, options.seconds)


if __name__ == "__main__":
    main()
