import dataclasses

import numpy as np
import pytest
from typer.testing import CliRunner

from mien.classifier import Classifier
from mien.cli import app
from mien.ensembles import save_ensemble
from mien.errors import UsageError
from mien.modelspec import write_to_onnx
from models import save_brightness


@pytest.fixture
def members(tmp_path):
    centres = ((0.1, 0.5, 0.9), (0.3, 0.4, 0.5), (0.9, 0.2, 0.6))
    return [save_brightness(tmp_path / f"{i}.onnx", ("a", "b", "c"), row) for i, row in enumerate(centres)]


def test_an_ensemble_gives_the_mean_of_its_members(tmp_path, members):
    path = save_ensemble(members, tmp_path / "all.onnx")
    opened = [Classifier(member) for member in members]
    ensemble = Classifier(path)
    images = np.random.default_rng(3).integers(0, 256, (9, *ensemble.spec.input.shape), np.uint8)
    expected = np.mean([member.predict(images) for member in opened], axis=0)
    np.testing.assert_allclose(ensemble.predict(images), expected, atol=1e-5)
    assert ensemble.spec.parameters == sum(member.spec.parameters for member in opened)
    assert ensemble.spec.network.startswith("ensemble of 3: ")
    assert ensemble.classes == opened[0].classes


def test_members_must_fit_each_other(tmp_path, members):
    spec = Classifier(members[0]).spec
    write_to_onnx(members[1], dataclasses.replace(spec, classes=tuple(reversed(spec.classes))))
    with pytest.raises(UsageError, match=r"members: .*must have the same"):
        save_ensemble(members, tmp_path / "all.onnx")
    write_to_onnx(members[1], dataclasses.replace(spec, temperature=2.0))
    with pytest.raises(UsageError, match="is calibrated"):
        save_ensemble(members, tmp_path / "all.onnx")
    assert not (tmp_path / "all.onnx").exists()


def test_one_member_is_none(tmp_path, members):
    with pytest.raises(UsageError, match="two models or more, received 1"):
        save_ensemble(members[:1], tmp_path / "all.onnx")


def test_the_command_writes_a_file_and_replaces_none(tmp_path, members):
    arguments = ["ensemble", *map(str, members), "--out", str(tmp_path / "all.onnx")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "all.onnx" in result.output
    again = CliRunner().invoke(app, arguments)
    assert isinstance(again.exception, UsageError)
    assert "already exists" in str(again.exception)
