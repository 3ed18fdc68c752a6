"""What a network makes of a face before it names it: rows of numbers to search, to cluster, or to classify anew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from mien.classifier import Classifier, check_batch
from mien.errors import ModelError, UsageError
from mien.images import Image, check_several
from mien.preprocessing import fit_images, to_input
from mien.sessions import open_session
from mien.weights import find_model

_AFTER_THE_LAST_LAYER = frozenset({"Softmax", "Add", "Cast", "Identity"})
"""Operators that may stand between the last layer's product and the probabilities."""

_LAST_LAYERS = frozenset({"MatMul", "Gemm"})


class FeatureExtractor:
    """Gives what the last layer of an ``.onnx`` model is given. Safe to share between threads.

    Faces that look alike to the network lie close together. Numbers of one model mean nothing to another.

    Attributes:
        spec: what the file says about itself.
        length: how many features a face has.
    """

    def __init__(self, model: str | Path | None = None, *, device: str = "auto", threads: int = 0) -> None:
        """Open a model.

        Args:
            model: an ``.onnx`` file, or the name of a bundled model; None for the bundled default.
            device: see `mien.Classifier`.
            threads: how many CPU threads one call may use; 0 for as many as there are cores.

        Raises:
            UsageError: there is no such file, it is no ``.onnx``, or the device is not there.
            ModelError: the file is not such a model, or does not end in one dense layer, as an ensemble.
        """
        path = find_model(model)
        if path.suffix.lower() != ".onnx":
            raise UsageError(f"{path}: features are read from .onnx files; 'mien export' makes one")
        self.spec = Classifier(path, device=device, threads=threads).spec
        self._session = open_session(path, device, threads, graph=_without_last_layer(path))
        self._input_name = str(self._session.get_inputs()[0].name)
        self.length = int(self._run(np.zeros((1, *self.spec.input.shape), np.uint8)).shape[1])

    def extract(
        self, images: Sequence[Image] | NDArray[np.uint8], batch_size: int | None = None
    ) -> NDArray[np.float32]:
        """Give each face's features.

        Args:
            images: faces, cut out already, each uint8 (height, width), (height, width, 1) or (height, width, 3) RGB, of
                any size: `mien.Analyzer.cut` cuts them as the model knows them.
            batch_size: how many go through the network at once, 1 or more; None: as many as suit it.

        Returns:
            float32 (n, length), a row for each, in order.

        Raises:
            UsageError: it is a single picture, or holds what is none.
        """
        check_several(images, "put it into one: [image]")
        faces = fit_images(list(images), self.spec.input)
        batch_size = check_batch(faces, self.spec.input, batch_size)
        parts = [self._run(faces[start : start + batch_size]) for start in range(0, len(faces), batch_size)]
        return np.concatenate([np.empty((0, self.length), np.float32), *parts])

    def _run(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        (rows,) = self._session.run(None, {self._input_name: np.ascontiguousarray(to_input(faces))})
        return np.asarray(rows, np.float32).reshape(len(faces), -1)


def _without_last_layer(path: Path) -> bytes:
    """The file's graph, ending in what its last layer is given.

    Raises:
        ModelError: its probabilities do not come from one dense layer.
    """
    model = onnx.load(path)
    makers = {name: node for node in model.graph.node for name in node.output}
    node: Any = makers.get(model.graph.output[0].name)
    while node is not None and node.op_type in _AFTER_THE_LAST_LAYER:
        made = [makers[name] for name in node.input if name in makers]
        node = made[0] if len(made) == 1 else None
    turned = node is not None and any(part.name == "transA" and part.i for part in node.attribute)
    if node is None or node.op_type not in _LAST_LAYERS or turned:
        raise ModelError(
            f"{path}: does not end in one dense layer and a softmax, so that it has no features; of an ensemble, take "
            "one of its members"
        )
    del model.graph.output[:]
    model.graph.output.append(onnx.ValueInfoProto(name=node.input[0]))
    data: bytes = model.SerializeToString()
    return data
