import dataclasses
import html
import shutil

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from mien.assessing import assess
from mien.classifier import Classifier
from mien.cli import app
from mien.cli.trust import trust_lines
from mien.datasets import open_dataset
from mien.ensembles import save_ensemble
from mien.errors import ModelError, UsageError
from mien.modelspec import write_to_onnx
from mien.precisions import read_precision
from mien.provenance import Provenance
from mien.report_facts import ReportFacts
from mien.report_page import render_report
from mien.weights import find_model
from models import save_brightness
from pictures import write_grey


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
    write_to_onnx(members[1], dataclasses.replace(spec, classes=("a", "b", "d"), crop_margin=0.2))
    told = r"members: .*1\.onnx has other classes \(a, b, d\), another crop margin \(0\.2, not 0\) than .*must have"
    with pytest.raises(UsageError, match=told):
        save_ensemble(members, tmp_path / "all.onnx")
    assert not (tmp_path / "all.onnx").exists()


def test_classes_are_matched_by_name(tmp_path, members):
    spec = Classifier(members[0]).spec
    write_to_onnx(members[1], dataclasses.replace(spec, classes=("c", "a", "b"), temperature=2.0))
    images = np.random.default_rng(3).integers(0, 256, (9, 8, 8, 1), np.uint8)
    first, second, third = (Classifier(member).predict(images) for member in members)
    ensemble = Classifier(save_ensemble(members, tmp_path / "all.onnx"))
    assert ensemble.classes == ("a", "b", "c")
    np.testing.assert_allclose(ensemble.predict(images), (first + second[:, [1, 2, 0]] + third) / 3, atol=1e-5)


@pytest.mark.parametrize("temperatures", [(2.5, 1.0, 0.4), (0.05, 0.05, 20.0)])
def test_each_member_keeps_its_temperature_inside(tmp_path, members, temperatures):
    for member, temperature in zip(members, temperatures, strict=True):
        write_to_onnx(member, dataclasses.replace(Classifier(member).spec, temperature=temperature))
    images = np.random.default_rng(3).integers(0, 256, (9, 8, 8, 1), np.uint8)
    expected = np.mean([Classifier(member).predict(images) for member in members], axis=0)
    ensemble = Classifier(save_ensemble(members, tmp_path / "all.onnx"))
    np.testing.assert_allclose(ensemble.predict(images), expected, atol=1e-5)
    assert ensemble.spec.temperature == 1.0


def test_members_must_have_seen_the_same_kind_of_picture(tmp_path, members):
    spec = Classifier(members[0]).spec
    write_to_onnx(members[1], dataclasses.replace(spec, trained_on={"detect_faces": True}))
    with pytest.raises(UsageError, match="another cut to the face"):
        save_ensemble(members, tmp_path / "all.onnx")


def test_it_says_of_itself_only_what_all_members_say(tmp_path, members):
    spec = Classifier(members[0]).spec
    facts = [{"n_train": 5, "format": "folder", "seed": seed} for seed in (0, 1)]
    for member, trained_on in zip(members, facts, strict=False):
        write_to_onnx(member, dataclasses.replace(spec, trained_on=trained_on, scores={"public": {"accuracy": 0.5}}))
    merged = Classifier(save_ensemble(members[:2], tmp_path / "all.onnx")).spec
    assert merged.trained_on == {"n_train": 5, "format": "folder", "members": facts}
    assert merged.scores == {}


def test_temperatures_that_members_were_given_are_not_called_its_own(tmp_path, members):
    spec = Classifier(members[0]).spec
    noted = {"calibration": {"split": "public", "n": 9}}
    for member in members:
        write_to_onnx(member, dataclasses.replace(spec, temperature=1.5, trained_on=noted))
    merged = Classifier(save_ensemble(members, tmp_path / "all.onnx"))
    assert (merged.spec.temperature, "calibration" in merged.spec.trained_on) == (1, False)
    for name, grey in (("a", 20), ("b", 120), ("c", 230)):
        write_grey(tmp_path / "data" / "public" / name / "0.png", grey)
    assessment = assess(merged, open_dataset(tmp_path / "data"), split="public")
    said = "\n".join(trust_lines(assessment, merged.spec.trained_on))
    assert "no temperature of its own" in said
    assert "the temperatures of its members were fitted on pictures that are judged here" in said
    facts = ReportFacts.of(
        assessment.judgement,
        merged.spec,
        Provenance.gather(merged.path, tmp_path, command="mien evaluate"),
        name="all",
        calibration=assessment.calibration,
    )
    assert any(line.startswith("The temperatures of its members were fitted on these") for line in facts.cautions())
    assert "the mean of its members', which have their own" in html.unescape(render_report(facts))


def test_a_member_is_never_written_over(tmp_path, members):
    before = members[0].read_bytes()
    with pytest.raises(UsageError, match="is one of the members"):
        save_ensemble(members, tmp_path / "gone" / ".." / members[0].name, force=True)
    assert members[0].read_bytes() == before


def test_an_ensemble_of_lower_precision_says_so(tmp_path, members):
    bundled = find_model()
    full = shutil.copy(bundled, tmp_path / "full.onnx")
    graph = onnx.load(full)
    kept = {item.key: item.value for item in graph.metadata_props if item.key == "mien"}
    onnx.helper.set_model_props(graph, kept)  # for all that the ensemble can tell, a float32 file
    onnx.save(graph, full)
    both = save_ensemble([full, "mien-small"], tmp_path / "both.onnx")
    assert read_precision(both) == {"precision": "float16"}
    assert read_precision(save_ensemble(members, tmp_path / "plain.onnx")) == {"precision": "float32"}


def test_one_that_differs_from_its_members_is_not_kept(tmp_path, members, monkeypatch):
    monkeypatch.setattr("mien.ensembles.TOLERANCE", -1.0)
    with pytest.raises(ModelError, match=r"all\.onnx: differs from the mean of its members .* not kept"):
        save_ensemble(members, tmp_path / "all.onnx")
    assert sorted(tmp_path.iterdir()) == members


def test_members_of_other_operators_or_formats_are_named(tmp_path, members):
    graph = onnx.load(members[2])
    graph.opset_import[0].version = 16
    onnx.save(graph, members[2])
    ensemble = save_ensemble(members, tmp_path / "all.onnx")
    assert onnx.load(ensemble).opset_import[0].version == 17
    graph.opset_import.add(domain="ai.onnx.ml", version=2)
    onnx.save(graph, members[2])
    graph.opset_import[1].version = 3
    onnx.save(graph, members[1])
    with pytest.raises(UsageError, match="different versions of ONNX's operators"):
        save_ensemble(members, tmp_path / "new.onnx")
    with pytest.raises(UsageError, match=r"b\.keras is not an \.onnx file; 'mien export .* --format onnx'"):
        save_ensemble([members[0], tmp_path / "b.keras"], tmp_path / "new.onnx")


def test_one_member_is_none(tmp_path, members):
    with pytest.raises(UsageError, match="two models or more, received 1"):
        save_ensemble(members[:1], tmp_path / "all.onnx")
    with pytest.raises(UsageError, match="must be a list of two models or more"):
        save_ensemble(str(members[0]), tmp_path / "all.onnx")


def test_the_command_writes_a_file_and_replaces_none(tmp_path, members):
    arguments = ["ensemble", *map(str, members), "--out", str(tmp_path / "all.onnx")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "all.onnx" in result.output
    again = CliRunner().invoke(app, arguments)
    assert isinstance(again.exception, UsageError)
    assert "already exists" in str(again.exception)
