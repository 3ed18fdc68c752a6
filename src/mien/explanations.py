"""Explanations as pictures: over the faces of a photograph, and as a sheet with a row for each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mien.classifier import Model
from mien.datasets.dataset import Dataset
from mien.datasets.facing import Detect, with_faces
from mien.datasets.pixels import Progress
from mien.drawing import GAP, MARGIN, PAPER, Block, contact_sheet, draw_faces
from mien.errors import UsageError, many
from mien.evaluation import align_labels
from mien.explaining import Explainer, Explanation, open_explainer
from mien.heatmaps import captioned, class_colour, shade_map, to_colour
from mien.images import Image, resize
from mien.results import Prediction

TILES = (112, 240)
"""Side of an enlarged face below a photograph in pixels: the smallest, and the largest."""

LEGEND = "orange speaks for the class"
AGAINST = ", blue against it"
"""Added where a map has such places; those of LayerCAM never do."""


@dataclass(frozen=True)
class _Sheet:
    """What stands in each row of a class sheet; see `class_sheet`."""

    faces: int
    averaged: int
    tile: int = 112

    def __post_init__(self) -> None:
        if self.faces < 1 or self.averaged < 0 or self.tile < 32:
            raise UsageError(
                f"faces: must be at least 1, averaged at least 0, tile at least 32; received {self.faces}, "
                f"{self.averaged} and {self.tile}"
            )

    @property
    def drawn(self) -> int:
        """How many faces of a class are looked at, so that enough of them are right."""
        return max(self.faces, 3 * self.averaged)


def draw_explanations(image: Image, explanations: Sequence[Explanation], *, method: str = "map") -> Image:
    """Draw maps over the faces of a photograph, and below it each face enlarged, as it is and with its map.

    Args:
        image: uint8 (height, width), (height, width, 1) or (height, width, 3) RGB, where the faces were found.
        explanations: what `mien.explaining.explain_picture` gave; none leaves the photograph as it is.
        method: what the line above the faces calls the method.

    Returns:
        uint8 (height, width, 3) RGB, higher than the photograph, and wider where that is narrow.
    """
    picture = to_colour(image)
    for one in reversed(explanations):
        picture = shade_map(picture, one.map, one.square, one.angle)
    several = len(explanations) > 1
    faces = [replace(one.face, track_id=row if several else None) for row, one in enumerate(explanations, 1)]
    picture = draw_faces(picture, faces, bars=False)
    return _stack(picture, _strip(explanations, picture.shape[1], method)) if explanations else picture


def _strip(explanations: Sequence[Explanation], width: int, method: str) -> Image:
    """Each face beside its map, in rows about as wide as the photograph."""
    tile = min(max(width // 8, TILES[0]), TILES[1])
    pairs = max(2, (width - 2 * MARGIN + GAP) // (2 * (tile + GAP)))
    tiles = []
    for row, one in enumerate(explanations, 1):
        number = (str(row),) if len(explanations) > 1 else ()
        classes = tuple(one.face.probabilities)
        said = (*number, one.face.expression, f"{one.face.confidence:.0%}")
        tiles.append(captioned(one.crop, said, class_colour(classes, one.face.expression), tile))
        tiles.append(_map_tile(one.crop, one.map, one.target, one.share, classes, tile))
    legend = LEGEND + (AGAINST if any((one.map < 0).any() for one in explanations) else "")
    return contact_sheet([Block(method, legend, np.stack(tiles))], columns=2 * pairs, tile=tile)


def _map_tile(
    crop: Image, one: NDArray[np.float32], target: str, share: float | None, classes: tuple[str, ...], tile: int
) -> Image:
    words = (target,) if share is None else (target, f"{share:.0%}")
    return captioned(shade_map(resize(crop, tile), one), words, class_colour(classes, target), tile)


def _stack(upper: Image, lower: Image) -> Image:
    """Two pictures below each other on white, from the left."""
    width = max(upper.shape[1], lower.shape[1])
    parts = [
        np.concatenate([part, np.full((len(part), width - part.shape[1], 3), PAPER, np.uint8)], axis=1)
        for part in (upper, lower)
    ]
    return np.concatenate(parts)


def class_sheet(
    model: Model,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    method: str = "auto",
    layer: str | None = None,
    faces: int = 3,
    averaged: int = 16,
    seed: int = 0,
    tile: int = 112,
    progress: Progress | None = None,
) -> Image:
    """Draw a sheet with a row for each class: its mean map, and some faces beside what in them speaks for the class.

    Args:
        model: what `mien.open_model` gave.
        images: uint8 (n, size, size, channels), as the model takes them.
        labels: int64 (n,), indices into ``model.spec.classes``; -1 for none.
        method: ``auto``, ``occlusion`` (light install, any model) or ``gradcam`` (needs Keras).
        layer: the layer whose map ``gradcam`` reads; None: as it suits the network.
        faces: how many faces of each class are shown, drawn by `seed`.
        averaged: over how many faces of each class, of those that the model is right about, the mean map is taken, at
            most; 0 leaves it out.
        seed: which faces.
        tile: side of a face on the sheet in pixels.
        progress: called with classes done and in all.

    Returns:
        uint8 (height, width, 3) RGB, white ground; `mien.datasets.conversion.write_png` makes a PNG of it.

    Raises:
        UsageError: no image has a label, numbers out of range, an unknown method or layer, or a network without
            convolutions (``gradcam``).
        MissingExtraError: ``gradcam`` without Keras.
        ModelError: ``gradcam`` for an ``.onnx`` that cannot be turned back into a Keras network.
    """
    explainer = open_explainer(model, method, layer=layer)
    return explainer_sheet(
        explainer, images, labels, faces=faces, averaged=averaged, seed=seed, tile=tile, progress=progress
    )


def explainer_sheet(
    explainer: Explainer,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    faces: int = 3,
    averaged: int = 16,
    seed: int = 0,
    tile: int = 112,
    progress: Progress | None = None,
) -> Image:
    """`class_sheet` for an explainer that is open; see there."""
    sheet = _Sheet(faces, averaged, tile)
    _check_labels(labels, len(images), len(explainer.classes))
    blocks = []
    for index, name in enumerate(explainer.classes):
        rows = _draw_rows(labels, index, sheet.drawn, seed)
        blocks.append(_class_block(explainer, name, images[rows], sheet))
        if progress is not None:
            progress(index + 1, len(explainer.classes))
    return contact_sheet(blocks, columns=2 * (faces + bool(averaged)), tile=tile)


def explain_dataset(
    explainer: Explainer,
    dataset: Dataset,
    *,
    split: str = "test",
    faces: int = 3,
    averaged: int = 16,
    seed: int = 0,
    detect_faces: Detect | None = None,
    progress: Progress | None = None,
) -> Image:
    """`class_sheet` of a dataset's split; only the faces that are needed are read.

    Args:
        explainer: what `mien.explaining.open_explainer` gave.
        dataset: what `mien.open_dataset` gave.
        split: train, val, public, private, test (all of the test images) or all.
        faces: see `class_sheet`.
        averaged: see `class_sheet`.
        seed: see `class_sheet`.
        detect_faces: whether each image is cut to its largest face; None: as the model was trained.
        progress: called with classes done and in all.

    Raises:
        UsageError: the data lacks the split, or has classes that the model has not, or no label.
        DataError: none of the faces that were drawn can be read.
    """
    if detect_faces is None:
        detect_faces = bool(explainer.model.spec.trained_on.get("detect_faces", False))
    shown = dataset.select(split)
    labels = align_labels(shown.labels, shown.classes, explainer.classes)
    drawn = _Sheet(faces, averaged).drawn
    rows = np.concatenate([_draw_rows(labels, index, drawn, seed) for index in range(len(explainer.classes))])
    cut, _ = with_faces(shown.take(rows), detect_faces)
    loaded = cut.load(explainer.model.spec.input, skip_bad=True, cache=False)
    labels = align_labels(loaded.labels, loaded.classes, explainer.classes)
    return explainer_sheet(
        explainer, loaded.images, labels, faces=faces, averaged=averaged, seed=seed, progress=progress
    )


def _check_labels(labels: NDArray[np.int64], count: int, classes: int) -> None:
    if labels.shape != (count,) or not np.any((labels >= 0) & (labels < classes)):
        raise UsageError(
            f"labels: must be (n,) indices of the model's {classes} classes for {many(count, 'image')}, at least one "
            f"of them 0 or more, received {labels.shape}"
        )


def _draw_rows(labels: NDArray[np.int64], index: int, most: int, seed: int) -> NDArray[np.int64]:
    """Up to so many rows of one class; asking for fewer gives the first of the same."""
    return np.random.default_rng((seed, index)).permutation(np.flatnonzero(labels == index))[:most]


def _class_block(explainer: Explainer, name: str, images: NDArray[np.uint8], sheet: _Sheet) -> Block:
    """One row: the mean face and map, then faces, each beside its map, with what the model says of it."""
    if not len(images):
        return Block(name, "no face", np.empty((0, sheet.tile, sheet.tile, 3), np.uint8))
    classes, target, tile = explainer.classes, explainer.classes.index(name), sheet.tile
    shares = explainer.model.predict(images)
    right = np.flatnonzero(shares.argmax(axis=1) == target)[: sheet.averaged]
    tiles = _mean_tiles(explainer, images[right], target, tile) if sheet.averaged else []
    shown = images[: sheet.faces]
    for image, one, row in zip(shown, _maps(explainer, shown, target), shares.tolist(), strict=False):
        said = Prediction.from_row(classes, row)
        words = (said.expression, f"{said.confidence:.0%}")
        tiles.append(captioned(image, words, class_colour(classes, said.expression), tile))
        tiles.append(_map_tile(image, one, name, said.probabilities[name], classes, tile))
    return Block(name, f"left what the model says, right what speaks for {name} (orange) or against", np.stack(tiles))


def _mean_tiles(explainer: Explainer, images: NDArray[np.uint8], target: int, tile: int) -> list[Image]:
    """The mean of faces that the model takes for a class, and of their maps; two empty tiles where there is none."""
    if not len(images):
        return [captioned(np.full((tile, tile, 3), PAPER, np.uint8), ("none is right",), PAPER, tile)] * 2
    mean = images.mean(axis=0).astype(np.uint8)
    one = _maps(explainer, images, target).mean(axis=0)
    left = captioned(mean, (f"{len(images)} right",), PAPER, tile)
    return [left, _map_tile(mean, one, explainer.classes[target], None, explainer.classes, tile)]


def _maps(explainer: Explainer, images: NDArray[np.uint8], target: int) -> NDArray[np.float32]:
    return explainer.maps(images, np.full(len(images), target, np.int64))
