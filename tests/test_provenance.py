"""Hashes, versions and commands."""

import hashlib
import sys
from dataclasses import replace
from importlib import metadata
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.datasets.dataset import Faces
from mien.errors import UsageError
from mien.provenance import Provenance, data_digest, file_sha256, installed, typed


def faces(n: int = 7) -> Faces:
    rng = np.random.default_rng(3)
    return Faces(
        rng.integers(0, 255, (n, 6, 6, 1), dtype=np.uint8),
        rng.integers(0, 3, n),
        np.full(n, "public"),
        np.array([f"{i}.png" for i in range(n)]),
        ("a", "b", "c"),
    )


@given(st.lists(st.integers(0, 7), max_size=4))
def test_the_digest_does_not_depend_on_the_parts(cuts):
    whole = faces()
    edges = [0, *sorted(cuts), 7]
    parts = [whole.take(np.arange(a, b)) for a, b in pairwise(edges)]
    assert data_digest(parts) == data_digest([whole])


def test_the_digest_changes_with_everything():
    whole = faces()
    image, label = whole.images.copy(), whole.labels.copy()
    image[3, 2, 2, 0] ^= 1
    label[2] = (label[2] + 1) % 3
    others = [
        replace(whole, images=image),
        replace(whole, labels=label),
        replace(whole, names=np.array([f"{i}.jpg" for i in range(7)])),
        replace(whole, classes=("a", "b", "d")),
        whole.take(np.arange(7)[::-1]),
    ]
    digests = {data_digest([one]) for one in (whole, *others)}
    assert len(digests) == 6
    assert {len(one) for one in digests} == {64}


def test_what_is_gathered(tmp_path):
    file = tmp_path / "model.onnx"
    file.write_bytes(b"weights")
    found = Provenance.gather("mien-small", tmp_path / "data", file=file, command="mien evaluate")
    assert found.model == "mien-small"
    assert found.model_sha256 == file_sha256(file) == hashlib.sha256(b"weights").hexdigest()
    assert found.versions["numpy"] == np.__version__
    assert len(found.made) == len("2026-11-24 15:00")


def test_the_command_is_as_a_shell_takes_it(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/local/bin/mien", "evaluate", "my model.onnx", "--tta", "flip"])
    assert typed() == "mien evaluate 'my model.onnx' --tta flip"
    monkeypatch.setattr("sys.argv", ["/somewhere/mien/__main__.py", "info"])
    assert typed() == "python -m mien info"


def test_the_command_holds_no_password(monkeypatch):
    """It goes into config.json of each trial of a study, and into model cards."""
    address = "postgresql://ann:SECRET@host/db"
    monkeypatch.setattr(sys, "argv", ["mien", "tune", "FER2013", "--storage", address, f"--storage={address}"])
    assert typed() == "mien tune FER2013 --storage 'postgresql://***@host/db' '--storage=postgresql://***@host/db'"


def test_only_installed_packages_are_named():
    assert installed(["numpy", "no-such-package-at-all"]) == {"numpy": metadata.version("numpy")}


def test_what_is_no_hash_is_refused(tmp_path):
    with pytest.raises(UsageError, match="model_sha256"):
        Provenance("mien", "m", "abc", "d")
    with pytest.raises(UsageError, match="data_sha256"):
        Provenance("mien", "m", "0" * 64, "d", "Z" * 64)
    with pytest.raises(UsageError, match="cannot be read"):
        file_sha256(tmp_path / "gone.onnx")
