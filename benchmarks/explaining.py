"""How faithful maps are to the model they explain, and whether they depend on it: the tables of docs/explaining.md.

    python benchmarks/explaining.py FER2013 [--model mien-small] [--images 200] [--random 40] [--seed 0]

Deletion and insertion (Petsiuk et al. 2018; `mien.faithfulness`) of random images of PublicTest, for the class that the
model names, by each way of making maps and by two that know nothing of the model. Then the rank correlation of maps
with those of the same network with random weights, and with those for the second class (Adebayo et al. 2018). Writes
docs/benchmarks/<date>-explaining.md.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from reporting import publish

STEPS = 12
Maps = NDArray[np.float32]
MapsFn = Callable[[NDArray[np.uint8], NDArray[np.int64]], Maps]


def grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture as one grey, that of its mean."""
    return np.full_like(image, round(float(image.mean())))


def middle(images: NDArray[np.uint8], _: NDArray[np.int64]) -> Maps:
    """The nearer to the middle, the stronger."""
    size = images.shape[1]
    rows, columns = np.indices((size, size)) - (size - 1) / 2
    return np.repeat(-np.hypot(rows, columns)[None], len(images), axis=0).astype(np.float32)


def noise(images: NDArray[np.uint8], _: NDArray[np.int64]) -> Maps:
    """Nothing."""
    return np.random.default_rng(1).random(images.shape[:3], np.float32)


def ways(model: Any) -> tuple[Any, dict[str, MapsFn]]:
    """The Keras network behind a model, and how maps of it are made."""
    from mien.explaining import open_explainer
    from mien.export import load_model
    from mien.gradients import Activations, find_layers

    network, _ = load_model(model.path)
    last = list(find_layers(network))[-1]
    ends = [layer.name for layer in network.layers if len(layer.output.shape) == 4]
    return network, {
        "`occlusion`": open_explainer(model, "occlusion").maps,
        "`gradcam`: HiResCAM, mean of the stages": open_explainer(model, "gradcam").maps,
        f"HiResCAM, the last of them alone, `{last}`": Activations(network, last).maps,
        "LayerCAM, mean of the stages": Activations(network, cam="layercam").maps,
        f"Grad-CAM, the last map, `{ends[-1]}`": Activations(network, ends[-1], cam="gradcam").maps,
        "the nearer to the middle of the picture, the stronger": middle,
        "noise": noise,
    }


def faithfulness(model: Any, makers: dict[str, MapsFn], images: NDArray[np.uint8]) -> list[Sequence[object]]:
    """A row for each way: deletion, insertion, difference by blur with its standard error, difference by grey."""
    from mien.faithfulness import judge_maps

    targets = model.predict(images).argmax(axis=1)
    rows: list[Sequence[object]] = []
    for name, maps_fn in makers.items():
        maps = maps_fn(images, targets)
        soft = judge_maps(model.predict, images, maps, targets, steps=STEPS)
        flat = judge_maps(model.predict, images, maps, targets, steps=STEPS, hide_fn=grey)
        means = f"{soft.deletion.mean():.3f}", f"{soft.insertion.mean():.3f}"
        rows.append((name, *means, difference(soft), difference(flat)))
        print(*rows[-1], flush=True)
    return rows


def difference(scores: Any) -> str:
    """Insertion less deletion: mean and its standard error."""
    found = scores.insertion - scores.deletion
    return f"{found.mean():.3f} ± {found.std(ddof=1) / len(found) ** 0.5:.3f}"


def dependence(model: Any, network: Any, images: NDArray[np.uint8], seed: int) -> list[Sequence[object]]:
    """A row for each way: rank correlation of maps with those of random weights, and with those of the second class."""
    import keras

    from mien.explaining import open_explainer
    from mien.gradients import Activations
    from mien.occlusion import occlusion_maps
    from mien.piping import predict
    from mien.preprocessing import to_input

    order = model.predict(images).argsort(axis=1)
    first, second = order[:, -1], order[:, -2]
    keras.utils.set_random_seed(seed)
    fresh = keras.models.clone_model(network)
    rows: list[Sequence[object]] = []

    def random_predict(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(predict(fresh, to_input(pictures), 256))

    own = {
        "`occlusion`": (open_explainer(model, "occlusion").maps, partial(occlusion_maps, random_predict)),
        "`gradcam`": (open_explainer(model, "gradcam").maps, Activations(fresh).maps),
        "LayerCAM": (Activations(network, cam="layercam").maps, Activations(fresh, cam="layercam").maps),
    }
    for name, (maps_fn, random_maps_fn) in own.items():
        maps = maps_fn(images, first)
        others = random_maps_fn(images, first), maps_fn(images, second)
        rows.append((name, *(correlation(maps, other) for other in others)))
        print(*rows[-1], flush=True)
    return rows


def correlation(one: Maps, other: Maps) -> str:
    """Spearman's rank correlation of maps, mean over the pictures and its standard error."""
    each = [spearmanr(left.ravel(), right.ravel()).statistic for left, right in zip(one, other, strict=True)]
    return f"{np.mean(each):.2f} ± {np.std(each, ddof=1) / len(each) ** 0.5:.2f}"


def main() -> None:
    """Measure and write both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--model", default="mien-small")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--random", type=int, default=40, help="images for the second table")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

    from mien.classifier import open_model
    from mien.datasets import open_dataset
    from mien.weights import find_model

    model = open_model(find_model(asked.model))
    dataset = open_dataset(asked.data)
    images = dataset.select("public").load(model.spec.input).images
    chosen = images[np.random.default_rng(asked.seed).permutation(len(images))[: asked.images]]
    command = f"python benchmarks/explaining.py FER2013 --model {asked.model} --images {asked.images}"
    command = f"{command} --random {asked.random} --seed {asked.seed}"
    network, makers = ways(model)
    publish(
        "explaining",
        "How faithful maps are to the model",
        command,
        f"{asked.model}, {len(chosen)} random images of PublicTest, the class that it names, {STEPS} steps; means, and "
        "standard errors of the differences (insertion less deletion). Pixels that go become a blur of the picture, "
        "in the last column its mean grey.",
        ("map", "deletion", "insertion", "difference", "by grey"),
        faithfulness(model, makers, chosen),
    )
    publish(
        "explaining-random",
        "Whether maps depend on the model",
        command,
        f"Spearman's rank correlation of maps of {asked.model} with maps of the same network with random weights, and "
        f"of its maps for the class it names with those for the second; {asked.random} random images of PublicTest, "
        "mean and standard error.",
        ("map", "random weights", "second class"),
        dependence(model, network, chosen[: asked.random], asked.seed),
    )


if __name__ == "__main__":
    main()
