"""What `mien.tuning.tune` looks at before the first trial begins."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from mien.config import TrainingConfig
from mien.errors import DataError, UsageError
from mien.spaces import Choices, Space

if TYPE_CHECKING:
    from mien.datasets import Dataset


def check_data(dataset: Dataset, config: TrainingConfig) -> None:
    """See that there are classes to tell apart, and images to compare trials on.

    Raises:
        UsageError: there would be no validation images.
        DataError: there is no training split, or it has one class only.
    """
    splits = set(dataset.splits.tolist())
    if "train" not in splits:
        raise DataError(f"{dataset.path}: has no training split to tune on; it has {', '.join(sorted(splits))}")
    found = np.unique(dataset.labels[(dataset.splits == "train") & (dataset.labels >= 0)])
    if len(found) < 2:
        names = ", ".join(dataset.classes[label] for label in found.tolist()) or "no label"
        raise DataError(
            f"{dataset.path}: its training split has one class only ({names}): every setting would score "
            "100 %; tune on faces of two classes or more"
        )
    watched = "val" in splits or (config.validation == "public" and "public" in splits)
    if not watched and not config.validation_fraction:
        raise UsageError(
            "validation_fraction: is 0, and the data has no split val: trials are compared on validation images, never "
            "on test splits; leave it at 0.1"
        )


def check_networks(config: TrainingConfig, space: Space) -> None:
    """See that every network that may be drawn takes pictures of the config's size.

    Raises:
        UsageError: one does not.
    """
    from mien.networks import check_network

    varied = space.get("network")
    names = varied.values if isinstance(varied, Choices) else (config.network,)
    for name in names:
        check_network(str(name), config.input.size)


def digest(dataset: Dataset) -> str:
    """SHA-256 of names, splits and labels: the same wherever the data lies. Pixels are not read for it."""
    names = hashlib.sha256("\n".join(dataset.names.tolist()).encode("utf-8", "surrogateescape"))
    names.update("\n".join(dataset.splits.tolist()).encode())
    names.update(np.ascontiguousarray(dataset.labels, np.int64).data)
    return names.hexdigest()
