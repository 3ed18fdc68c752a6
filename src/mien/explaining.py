"""What in a face speaks for an expression: maps of any model, and of the faces of photographs.

Occlusion needs ONNX Runtime alone (`mien.occlusion`); class activation maps need Keras (`mien.gradients`). Neither says
why a person looks as they do, nor what they feel: a map shows which pixels this model's answer hangs on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien import litert
from mien.analyzer import Analyzer
from mien.classifier import KERAS_SUFFIXES, Classifier, Model, open_model
from mien.errors import MissingExtraError, UsageError, unknown_choice
from mien.framing import roll_angles, square
from mien.heatmaps import Square
from mien.images import ImageLike
from mien.labels import canonical
from mien.occlusion import occlusion_maps
from mien.results import Face
from mien.views import Pictures
from mien.weights import find_model

METHODS: tuple[str, ...] = ("auto", "occlusion", "gradcam")
"""How maps are made; ``auto`` is occlusion, the more faithful one (docs/explaining.md), unless a layer is named."""

MapsFn = Callable[[Pictures, NDArray[np.int64]], NDArray[np.float32]]
"""uint8 (n, size, size, channels) and class indices int64 (n,) to maps float32 (n, size, size)."""


@dataclass(frozen=True, eq=False)
class Explainer:
    """A model and a way to ask it what its answers hang on; `open_explainer` makes one.

    Attributes:
        model: the opened model.
        method: ``occlusion`` or ``gradcam``.
        layers: names of the layers that ``gradcam`` reads; empty for ``occlusion``.
        maps: uint8 (n, size, size, channels) and int64 (n,) class indices to float32 (n, size, size). Of ``occlusion``:
            by how much the probability of the class falls where a pixel is covered, -1 to 1. Of ``gradcam``: 0 to 1,
            the strongest place of each picture 1.
    """

    model: Model
    method: str
    layers: tuple[str, ...] = ()
    maps: MapsFn = field(kw_only=True, repr=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the expressions, in the model's order."""
        return self.model.spec.classes

    def index(self, target: str) -> int:
        """The index of a class, by name; spellings of the seven expressions are known.

        Raises:
            UsageError: the model has no such class; the message lists those it has.
        """
        names = [canonical(name) for name in self.classes]
        if canonical(target) not in names:
            raise unknown_choice("target", target, self.classes)
        return names.index(canonical(target))


@dataclass(frozen=True, eq=False)
class Explanation:
    """What in one face of a picture speaks for a class.

    Attributes:
        face: the face and what it shows.
        target: the class that is explained.
        share: its probability.
        crop: the face as the model took it, uint8 (size, size, channels).
        map: float32 (size, size); see `Explainer.maps`.
        square: where crop and map lie in the picture; None: crop and map are the whole picture.
        angle: degrees by which that square is turned clockwise.
    """

    face: Face
    target: str
    share: float
    crop: NDArray[np.uint8]
    map: NDArray[np.float32]
    square: Square | None
    angle: float = 0.0

    def __post_init__(self) -> None:
        if self.target not in self.face.probabilities:
            raise unknown_choice("target", self.target, self.face.probabilities)
        if self.map.shape != self.crop.shape[:2]:
            raise UsageError(f"map: must be {self.crop.shape[:2]} as the crop, received {self.map.shape}")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: what `mien.results.Face.to_dict` gives, target, its share, where the map lies, the map."""
        return {
            **self.face.to_dict(),
            "target": self.target,
            "target_probability": self.share,
            "square_xys": None if self.square is None else [round(value, 2) for value in self.square],
            "angle": round(self.angle, 2),
            "map": [[round(float(value), 4) for value in row] for row in self.map],
        }


def open_explainer(
    model: str | Path | Model | None = None, method: str = "auto", *, layer: str | None = None
) -> Explainer:
    """Choose how a model is explained.

    Args:
        model: a model file, an opened model, or the name of a bundled one; None for the bundled default.
        method: a key of `METHODS`.
        layer: the layer that ``gradcam`` reads; None: the last of each stage. Naming one makes ``auto`` ``gradcam``.

    Raises:
        UsageError: an unknown method or layer, or a network without convolutions (``gradcam``).
        MissingExtraError: ``gradcam`` without Keras.
        ModelError: the model cannot be used, or is an ``.onnx`` that cannot be turned back into a Keras network.
    """
    if method not in METHODS:
        raise unknown_choice("method", method, METHODS)
    if method == "occlusion" and layer is not None:
        raise UsageError(f"layer: is for the method gradcam, not for occlusion; received {layer!r}")
    if isinstance(model, str | Path):
        litert.refuse(model, "explained")
    opened = open_model(find_model(model)) if model is None or isinstance(model, str | Path) else model
    if method == "gradcam" or layer is not None:
        return _open_gradcam(opened, layer)

    def maps(images: Pictures, targets: NDArray[np.int64]) -> NDArray[np.float32]:
        return occlusion_maps(opened.predict, images, targets)

    return Explainer(opened, "occlusion", maps=maps)


def _open_gradcam(model: Model, layer: str | None) -> Explainer:
    if find_spec("keras") is None:
        raise MissingExtraError("the method gradcam (occlusion does without)", "train")
    from mien.export import load_model
    from mien.gradients import Activations

    network = getattr(model, "model", None)
    if network is None:
        if not isinstance(model, Classifier):
            raise UsageError(f"model: gradcam takes models opened from a file, received {type(model).__name__}")
        network, _ = load_model(model.path)
    activations = Activations(network, layer)
    return Explainer(model, "gradcam", activations.layers, maps=activations.maps)


def needs_keras(model: str | Path | None, method: str, layer: str | None) -> bool:
    """Whether `open_explainer` would import Keras."""
    file = model is not None and Path(model).suffix.lower() in KERAS_SUFFIXES
    return file or method == "gradcam" or (method == "auto" and layer is not None)


def explain_picture(
    explainer: Explainer, image: ImageLike, *, analyzer: Analyzer | None = None, target: str | None = None
) -> tuple[Explanation, ...]:
    """Find the faces of a picture and say what in each speaks for a class.

    Args:
        explainer: what `open_explainer` gave.
        image: what `mien.Analyzer.analyze` takes.
        analyzer: finds and cuts faces, with the explainer's model; None: one with MTCNN.
        target: the class to explain; None: for each face the most probable one.

    Returns:
        One explanation for each face, largest first; empty where there is none. Only the face as it is is explained,
        whatever views the analyzer averages.

    Raises:
        UsageError: the model has no such class; it is not a picture; or the analyzer has another model.
        DataError: the picture cannot be read or decoded.
    """
    wanted = None if target is None else explainer.index(target)
    analyzer = analyzer or Analyzer(explainer.model)
    if analyzer.model is not explainer.model:
        raise UsageError("analyzer: must have the explainer's model: Analyzer(explainer.model)")
    analysis, found = analyzer.look(image)
    crops = analyzer.cut(analysis.image, found)
    best = np.array([explainer.classes.index(face.prediction.best) for face in analysis], np.int64)
    targets = best if wanted is None else np.full(len(best), wanted, np.int64)
    angles = roll_angles(found.keypoints) if analyzer.align else np.zeros(len(found))
    rows = zip(analysis, targets.tolist(), crops, explainer.maps(crops, targets), found.boxes_xyxy, angles, strict=True)
    return tuple(
        Explanation(
            face,
            explainer.classes[index],
            face.probabilities[explainer.classes[index]],
            crop,
            one,
            None if analyzer.whole else square(box, analyzer.margin),
            float(angle),
        )
        for face, index, crop, one, box, angle in rows
    )
