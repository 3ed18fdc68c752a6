"""The accuracy runs on one accelerator, in one process a call: teachers, then students of all of them.

    KERAS_BACKEND=jax python benchmarks/accelerator.py probe FER2013 --work DIR --batches vgg:256,vgg:512
    KERAS_BACKEND=jax python benchmarks/accelerator.py run FER2013 --work DIR --out DIR --plan further --seconds 540
    python benchmarks/accelerator.py pack DIR/NAME.npz... --to DIR
    python benchmarks/accelerator.py export DIR/NAME.npz... --data FER2013 --to DIR

`probe` trains four epochs of networks with batches of so many images and says how long one takes. `run` trains the
stages of a plan (plans.py) one after the other (`--only`: some of them; `--add`: more), and writes weights (kernels in
float16), what each network says of PublicTest and log.json after each, so that a run which is cut off loses one stage
at most; a stage that the rest of `--seconds` does not hold is left out, and one that is done is not begun again by a
later call. `--given` names weights of an earlier day that teach too, as they came or packed; another plan needs another
`--work`. `pack` rounds weights, so that many travel. `export`, where TensorFlow is, makes .keras and .onnx files of
weights.

What a stage does is what `mien train FER2013` does with the same settings (log.json has them): the dataset is read
once, networks that differ in their seed alone share one compiled step, and nothing is judged but PublicTest.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from shutil import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.files import replacing
from plans import ALL, FULL, PLANS, TEN, Stage, chosen

STARTED = time.perf_counter()


def say(line: str) -> None:
    """Print with the seconds since the start."""
    print(f"{time.perf_counter() - STARTED:6.1f} s  {line}", flush=True)


class Compiled:
    """`compile_for_training`, once for configs that differ in their seed alone; the step is begun anew each time."""

    def __init__(self, compiling: Callable[..., Any]) -> None:
        self.compiling = compiling
        self.config: Any = None
        self.trainee: Any = None

    def __call__(self, model: Any, config: Any, optimizer: Any, class_weights: Any = None) -> Any:
        """The trainee of this config, with the weights of this model and an optimizer that has not run."""
        from mien import backend

        config = dataclasses.replace(config, seed=0)
        if self.config == config:
            backend.copy_weights(model, self.trainee.twin)
            for variable in self.trainee.model.optimizer.variables:
                variable.assign(np.zeros(variable.shape, variable.dtype))
            return self.trainee
        self.trainee = self.compiling(model, config, optimizer, class_weights)
        self.config = config
        return self.trainee


class Bench:
    """The dataset, and what is trained on it."""

    def __init__(self, data: str, work: Path, limit: int = 0) -> None:
        from mien import averaging, learning
        from mien.datasets import open_dataset
        from mien.materials import Selection, gather
        from mien.recipes import recipe
        from variants import register

        register()
        self.work = work
        materials = gather(open_dataset(data), recipe("large", **FULL), Selection(limit=limit, detect_faces=False))
        source, order = materials.source, np.random.default_rng(0).permutation(len(materials.source.labels))
        source = dataclasses.replace(source, images=source.images[order], labels=source.labels[order])
        self.materials = dataclasses.replace(materials, source=source)  # neighbours of all classes, for `mixing`
        learning.compile_for_training = self.compiled = Compiled(learning.compile_for_training)
        averaging.batch_statistics = functools.lru_cache(maxsize=1)(averaging.batch_statistics)
        say(f"{len(self.materials.source.labels):,} images to train on")

    def train(self, stage: Stage, folder: Path) -> tuple[Any, list[dict[str, float]]]:
        """Train; gives the stock network and the history."""
        import mixing
        from mien import teaching
        from mien.learning import learn
        from mien.networks import network
        from mien.recipes import recipe
        from mien.teaching import taught

        teachers = tuple(str(self.work / name / "model.keras") for name in stage.teachers)
        teaching._Varying = functools.partial(mixing.Mixing, share=stage.mixing) if stage.mixing else mixing.Varying
        changes = {**FULL, "validate_every": stage.epochs, **stage.changes}
        config = recipe(stage.recipe, **changes, epochs=stage.epochs, teachers=teachers)
        model = network(config.network, classes=len(self.materials.classes), seed=config.seed)
        source, held = self.materials.source, self.materials.validation
        if stage.left_out:
            kept = np.flatnonzero(~self._fold(*stage.left_out))
            source = dataclasses.replace(source, images=source.images[kept], labels=source.labels[kept])
        if config.teachers:
            started = time.perf_counter()
            source = taught(source, config, model, self.work / stage.views, say)
            if stage.crossed:
                targets = self._crossed_targets(stage, config, source.targets)
                source = dataclasses.replace(source, targets=targets)
            say(f"asked in {time.perf_counter() - started:.1f} s")
        learned = learn(model, config, source, (held.images, held.labels), folder)
        return model, learned.history

    def _fold(self, fold: int, folds: int, seed: int) -> NDArray[np.bool_]:
        """Which training images are in a fold."""
        order = np.random.default_rng(seed).permutation(len(self.materials.source.labels))
        return np.asarray(order % folds == fold)

    def _crossed_targets(self, stage: Stage, config: Any, targets: NDArray[np.float32]) -> NDArray[np.float32]:
        """The targets of stored views, with a share of what networks say that have not seen the image."""
        path = self.work / "crossed.npz"  # of one plan and its views: another needs another folder
        if not path.exists():
            said = self._ask_crossed(stage)
            with replacing(path) as temporary, open(temporary, "wb") as file:
                np.savez_compressed(file, halves=np.round(200 * said).astype(np.uint8))
        with np.load(path) as kept:
            crossed = kept["halves"] / np.float32(200)
        crossed /= crossed.sum(-1, keepdims=True)
        own = np.eye(targets.shape[-1], dtype=np.float32)[self.materials.source.labels]
        fresh = config.teacher_weight * crossed + (1 - config.teacher_weight) * own
        return ((1 - stage.share) * targets + stage.share * fresh).astype(np.float32)

    def _ask_crossed(self, stage: Stage) -> NDArray[np.float32]:
        """The mean answer of the crossed networks to stored views of the images that each left out."""
        import keras

        from mien import backend
        from mien.export import load_model
        from mien.preprocessing import SCALE
        from mien.teaching import ASKED_AT_ONCE, VIEWS

        views = np.load(self.work / stage.views / VIEWS, mmap_mode="r")
        stages = {entry.name: entry for plan in PLANS.values() for entry in plan}
        teachers = {name: load_model(self.work / name / "model.keras")[0] for name in stage.crossed}
        twin = backend.training_twin(teachers[stage.crossed[0]], backend.choose_precision("auto"))
        faces = keras.Input(views.shape[2:], dtype="uint8")
        asking = keras.Model(faces, twin(keras.layers.Rescaling(SCALE, dtype="float32")(faces)))
        asking.compile(jit_compile=backend.compiles())
        size = max(1, ASKED_AT_ONCE // views.shape[2] ** 2)
        answers = np.zeros((*views.shape[:2], twin.output_shape[-1]), np.float32)
        asked = np.zeros(views.shape[1], np.float32)
        for name, teacher in teachers.items():
            backend.copy_weights(teacher, twin)
            rows = np.flatnonzero(self._fold(*stages[name].left_out))
            asked[rows] += 1
            images = views[:, rows].reshape(-1, *views.shape[2:])
            whole = images[np.arange(-(-len(images) // size) * size) % len(images)]
            said = asking.predict(whole, batch_size=size, verbose=0)[: len(images)]
            answers[:, rows] += said.reshape(len(views), len(rows), -1)
        answers /= asked[:, None]
        right = answers.argmax(-1) == self.materials.source.labels
        say(f"networks that have not seen an image name its label {100 * float(right.mean()):.2f} % of the time")
        return answers

    def answers(self) -> NDArray[np.float32]:
        """What the network that was trained last says of PublicTest as it is and mirrored, (2, n, classes)."""
        from mien.preprocessing import SCALE

        images = self.materials.validation.images * np.float32(SCALE)
        twin = self.compiled.trainee.twin
        views = (images, images[:, :, ::-1])
        return np.stack([twin.predict(view, batch_size=512, verbose=0) for view in views]).astype(np.float32)

    def keep(self, model: Any, name: str) -> None:
        """Write a network where its pupils look for it."""
        from mien.export import describe, save_keras

        description = describe(model, self.materials.classes, crop_margin=0.0, trained_on={})
        save_keras(model, description, self.work / name / "model.keras")

    def given(self, path: Path, name: str, of: str) -> None:
        """Take a network of weights in a file."""
        from mien.networks import network

        model = network(of, classes=len(self.materials.classes))
        model.set_weights(read_weights(path))
        (self.work / name).mkdir(parents=True, exist_ok=True)
        self.keep(model, name)
        say(f"{name}: given")


def read_weights(path: Path) -> list[NDArray[np.float32]]:
    """The arrays of a network, in their order."""
    with np.load(path) as arrays:
        names = [name for name in sorted(arrays.files) if name.isdigit()]
        return [arrays[name] * arrays.get(f"{name}-step", np.float32(1)) for name in names]


def pack(path: Path, to: Path) -> None:
    """Write weights in steps of a sixth of their deviation: 2.8 MB of 9.4, behind `xz --lzma2=lc=0,pb=0`."""
    arrays = {}
    for index, weights in enumerate(read_weights(path)):
        arrays[f"{index:03d}"] = weights
        if weights.ndim > 1:
            step = weights.std(axis=tuple(range(weights.ndim - 1)), keepdims=True) / 6 + np.float32(1e-8)
            arrays[f"{index:03d}"] = np.clip(np.round(weights / step), -127, 127).astype(np.int8)
            arrays[f"{index:03d}-step"] = step.astype(np.float32)
    to.mkdir(parents=True, exist_ok=True)
    with replacing(to / path.name) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def probe(bench: Bench, batches: str) -> None:
    """Measure the seconds that an epoch takes."""
    for pair in batches.split(","):
        recipe, size = pair.split(":")
        started = time.perf_counter()
        stage = Stage(pair, recipe, 4, {"batch_size": int(size), "teacher_view": "same"})
        history = bench.train(stage, bench.work / f"probe-{recipe}-{size}")[1]
        bench.answers()
        took = time.perf_counter() - started
        say(f"{pair}: {took:.1f} s, epochs {[row['seconds'] for row in history]}, loss {history[-1]['loss']:.3f}")


SECONDS = {"speedrun": 60.0, "vgg": 100.0, "small": 110.0, "distilled": 100.0, "large": 130.0}
"""What a stage may take that is the first of its kind on a machine, compiling and asking in it."""


class Results:
    """What is written down after each stage: weights first, log.json, which says that it is done, last."""

    def __init__(self, work: Path, out: Path) -> None:
        self.work, self.out = work, out
        out.mkdir(parents=True, exist_ok=True)
        log = work / "log.json"
        self.log: dict[str, Any] = json.loads(log.read_text()) if log.exists() else {}
        self.said: dict[str, NDArray[np.float32]] = {}
        if (work / "public.npz").exists():
            with np.load(work / "public.npz") as kept:
                self.said = {name: kept[name] for name in kept.files if name in self.log}

    def expected(self, stage: Stage) -> float:
        """Seconds that a stage may take: a tenth more than the last one like it here, or a guess."""
        like = [row["seconds"] for row in self.log.values() if _kind(row) == _kind(dataclasses.asdict(stage))]
        return 1.1 * like[-1] if like else SECONDS.get(stage.recipe, 100.0)

    def add(self, stage: Stage, model: Any, said: NDArray[np.float32], facts: dict[str, Any]) -> None:
        """One more stage is done."""
        self.said[stage.name] = said
        self.log[stage.name] = {**dataclasses.asdict(stage), **facts}
        arrays = [w.astype(np.float16 if w.ndim > 1 else np.float32) for w in model.get_weights()]
        self._savez(f"{stage.name}.npz", {f"{index:03d}": array for index, array in enumerate(arrays)})
        self._savez("public.npz", self.said)
        with replacing(self.work / "log.json") as temporary:
            temporary.write_text(json.dumps(self.log))

    def bring(self, names: list[str]) -> None:
        """Copy what is there to where files come back from."""
        for name in ("log.json", "public.npz", *(f"{name}.npz" for name in names)):
            if self.out != self.work and (self.work / name).exists():
                with replacing(self.out / name) as temporary:
                    copy(self.work / name, temporary)

    def _savez(self, name: str, arrays: dict[str, Any]) -> None:
        with replacing(self.work / name) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)


def _kind(row: dict[str, Any]) -> tuple[Any, ...]:
    """What stages that take equally long have in common."""
    return row["recipe"], row["epochs"], row["changes"].get("network"), row["changes"].get("sam")


def run(bench: Bench, stages: tuple[Stage, ...], results: Results, seconds: float, bring: list[str]) -> None:
    """Train one stage after the other."""
    labels = bench.materials.validation.labels
    for stage in stages:
        if stage.name in results.log:  # by a call before this one
            continue
        if stage.teachers == ALL:
            stage = dataclasses.replace(stage, teachers=untaught(bench.work, results.log) or ALL)
            say(f"{stage.name}: taught by {', '.join(stage.teachers)}")
        missing = [name for name in stage.teachers if not (bench.work / name / "model.keras").exists()]
        if missing or time.perf_counter() - STARTED + results.expected(stage) > seconds:
            say(f"{stage.name}: left out, {f'no {missing[0]} to teach it' if missing else 'no time left'}")
            continue
        started = time.perf_counter()
        model, history = bench.train(stage, bench.work / stage.name)
        took = time.perf_counter() - started
        said = bench.answers()
        bench.keep(model, stage.name)
        right = [float((p.argmax(1) == labels).mean()) for p in (said[0], said.sum(0))]
        results.add(stage, model, said, {"seconds": took, "right": right, "history": history})
        results.bring(bring)
        say(f"{stage.name}: {took:.1f} s, epoch {np.median([r['seconds'] for r in history]):.3f} s, {history[-1]}")
        say(f"{stage.name}: PublicTest one view {100 * right[0]:.2f} %, flip {100 * right[1]:.2f} %")
    for names in (TEN, tuple(results.log)):
        parts = [results.said[name].sum(0) for name in names if name in results.said]
        if parts:
            say(f"{len(parts)} together, flip: {100 * float((sum(parts).argmax(1) == labels).mean()):.2f} %")
    results.bring(bring)


def untaught(work: Path, log: dict[str, Any]) -> tuple[str, ...]:
    """The networks that lie in a folder, but for those that were taught."""
    names = sorted(path.parent.name for path in work.glob("*/model.keras"))
    return tuple(name for name in names if not log.get(name, {}).get("teachers"))


def export(weights: list[Path], log: Path, data: str, to: Path) -> None:
    """Make .keras and .onnx files of weights that came back."""
    from mien.datasets import open_dataset
    from mien.export import describe, save_keras, save_onnx
    from mien.framing import FER2013_MARGIN
    from mien.materials import Selection, gather
    from mien.networks import network
    from mien.recipes import recipe
    from variants import register

    register()
    stages = json.loads(log.read_text())
    facts, classes = None, ()
    for path in weights:
        stage = stages[path.stem]
        changes = {**FULL, "validate_every": stage["epochs"], **stage["changes"]}
        config = recipe(stage["recipe"], **changes, epochs=stage["epochs"], teachers=stage["teachers"])
        if facts is None:
            materials = gather(open_dataset(data), config, Selection(detect_faces=False))
            facts, classes = materials.facts, materials.classes
        model = network(config.network, classes=len(classes))
        model.set_weights(read_weights(path))
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
    parser.add_argument("what", choices=["probe", "run", "export", "pack"])
    parser.add_argument("paths", nargs="+")
    parser.add_argument("--work", type=Path, default=Path("work"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--to", type=Path)
    parser.add_argument("--data", default="FER2013")
    parser.add_argument("--plan", choices=PLANS, default="ten")
    parser.add_argument("--only", default="", help="stages of the plan, in this order, with commas between")
    parser.add_argument("--add", default="[]", help="more stages, a JSON list; augmentation names what differs")
    parser.add_argument("--batches", default="vgg:128", help="what is probed: recipe:images, with commas between")
    parser.add_argument("--given", default="", help="weights of an earlier day: name:network:file, with commas between")
    parser.add_argument("--bring", default="", help="stages whose weights are copied to --out, with commas between")
    parser.add_argument("--seconds", type=float, default=540)
    parser.add_argument("--limit", type=int, default=0, help="images of Training, for a rehearsal")
    options = parser.parse_args()
    if options.what == "export":
        paths = [Path(path) for path in options.paths]
        export(paths, paths[0].with_name("log.json"), options.data, options.to or paths[0].parent)
        return
    if options.what == "pack":
        for path in options.paths:
            pack(Path(path), options.to)
        return
    options.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.paths[0], options.work, options.limit)
    if options.what == "probe":
        probe(bench, options.batches)
        return
    for entry in filter(None, options.given.split(",")):
        name, of, file = entry.split(":")
        if not (options.work / name / "model.keras").exists():
            bench.given(Path(file), name, of)
    results = Results(options.work, options.out or options.work)
    stages = chosen(options.plan, options.only, options.add)
    run(bench, stages, results, options.seconds, [name for name in options.bring.split(",") if name])


if __name__ == "__main__":
    main()
