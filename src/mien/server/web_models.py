"""What the page's own engine reads: classifiers and detector as ``.onnx``, and the list of them.

The service hands it out, the export writes it into a folder; this module needs no web framework.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from mien.faces.graphs import output_network, proposal_network, refinement_network
from mien.modelspec import ModelSpec

MANIFEST = "manifest.json"
SUFFIX = ".onnx"

DETECTOR = {"proposal": "p-net.onnx", "refinement": "r-net.onnx", "output": "o-net.onnx"}
"""Stage of MTCNN to file."""

_PLAIN = re.compile(r"(?!model-\d+$|[pro]-net$)[A-Za-z0-9_][A-Za-z0-9._-]*", re.ASCII | re.IGNORECASE)
"""Names that can stand in an address as they are, and that no other file here has."""


@dataclass(frozen=True, slots=True)
class WebModel:
    """A classifier for the page.

    Attributes:
        name: what the page shows.
        path: an ``.onnx`` file.
        spec: what it says about itself.
    """

    name: str
    path: Path
    spec: ModelSpec


def file_names(models: Sequence[WebModel]) -> tuple[str, ...]:
    """A file name for each: the model's own, or a number where that could not stand in an address."""
    stems = (one.name if _PLAIN.fullmatch(one.name) else f"model-{at}" for at, one in enumerate(models, start=1))
    return tuple(stem + SUFFIX for stem in stems)


def manifest(models: Sequence[WebModel]) -> dict[str, Any]:
    """The document that the page's engine reads first. Files are relative to it; the first model is the default."""
    entries = []
    for at, (model, file) in enumerate(zip(models, file_names(models), strict=True)):
        spec = model.spec
        entry = {"name": model.name, "file": file, "classes": list(spec.classes), "size": spec.input.size}
        entry |= {"channels": spec.input.channels, "crop_margin": spec.crop_margin, "temperature": spec.temperature}
        entries.append({**entry, "default": at == 0})
    return {"models": entries, "detector": dict(DETECTOR)}


@lru_cache(maxsize=1)
def detector_graphs() -> Mapping[str, bytes]:
    """File name to the network of MTCNN in it.

    Raises:
        ModelError: the package mtcnn, which holds the weights, is not installed or damaged.
    """
    makers = {"proposal": proposal_network, "refinement": refinement_network, "output": output_network}
    return {DETECTOR[stage]: make() for stage, make in makers.items()}
