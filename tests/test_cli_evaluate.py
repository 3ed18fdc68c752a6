"""``mien evaluate``: its JSON, its files, its mistakes, and that an .onnx is judged without Keras."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from mien import judging
from mien.classifier import Classifier
from mien.cli.evaluate import evaluate_command
from mien.corruptions import CORRUPTIONS
from mien.datasets import open_dataset
from mien.errors import DataError, UsageError
from mien.labels import EXPRESSIONS
from mien.modelspec import ModelSpec, write_to_onnx
from mien.provenance import data_digest
from models import save_brightness

LEVELS = {name: round(255 * index / 6) for index, name in enumerate(EXPRESSIONS)}
"""The pictures here are of one grey level, which stands for the expression."""

REVERSED = EXPRESSIONS[::-1]
"""The model's class order is not the data's, so that a mapping by index would fail every test."""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    centres = [LEVELS[name] / 255 for name in REVERSED]
    return save_brightness(tmp_path / "model.onnx", REVERSED, centres, sharpness=200)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """FER2013's folders: two training, one public and one private picture a class; one private one is mislabelled."""
    root = tmp_path / "FER2013"
    for name, level in LEVELS.items():
        private = LEVELS["sad"] if name == "happy" else level
        pictures = {"train/Training_1": level, "train/Training_2": level}
        pictures |= {"test/PublicTest_3": level, "test/PrivateTest_4": private}
        for place, grey in pictures.items():
            folder, file = place.split("/")
            (root / folder / name).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / folder / name / f"{file}.png"), np.full((8, 8), grey, np.uint8))
    return root


def evaluate(*arguments: object) -> Result:
    app = typer.Typer()
    app.command("evaluate")(evaluate_command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def document(*arguments: object) -> dict[str, object]:
    result = evaluate(*arguments, "--json")
    assert result.exit_code == 0, result.exception
    parsed: dict[str, object] = json.loads(result.stdout)
    return parsed


def test_test_is_given_whole_and_in_parts(model: Path, data: Path) -> None:
    found = document(model, data)
    assert (found["split"], found["n"], found["tta"]) == ("test", 14, "none")
    assert found["accuracy"] == pytest.approx(13 / 14)
    assert found["classes"] == list(REVERSED)
    parts = {name: (part["n"], part["accuracy"]) for name, part in found["parts"].items()}  # type: ignore[attr-defined]
    assert parts == {"public": (7, 1.0), "private": (7, pytest.approx(6 / 7))}


@pytest.mark.parametrize(("split", "n"), [("train", 14), ("public", 7), ("private", 7), ("all", 28)])
def test_other_splits(model: Path, data: Path, split: str, n: int) -> None:
    found = document(model, data, "--split", split)
    assert (found["split"], found["n"], found["parts"]) == (split, n, {})


@pytest.mark.parametrize("tta", ["flip", "full"])
def test_views_of_pictures_without_sides_change_nothing_and_are_stated(model: Path, data: Path, tta: str) -> None:
    plain, averaged = document(model, data), document(model, data, "--tta", tta, "--batch-size", 3)
    assert averaged["tta"] == tta
    assert {part["tta"] for part in averaged["parts"].values()} == {tta}  # type: ignore[attr-defined]
    assert averaged["log_loss"] == pytest.approx(plain["log_loss"])
    assert f"tta {tta})" in evaluate(model, data, "--tta", tta).stdout


def test_pictures_that_stand_in_training_can_be_left_out(model: Path, data: Path) -> None:
    assert document(model, data)["duplicates_left_out"] is None
    # Those of the mislabelled class alone differ from all of Training.
    cv2.imwrite(str(data / "test" / "happy" / "PrivateTest_4.png"), np.full((8, 8), 3, np.uint8))
    cv2.imwrite(str(data / "test" / "sad" / "PublicTest_3.png"), np.full((8, 8), LEVELS["sad"] + 1, np.uint8))
    found = document(model, data, "--without-duplicates")
    assert (found["n"], found["duplicates_left_out"], found["accuracy"]) == (2, 12, 0.5)
    assert {name: part["n"] for name, part in found["parts"].items()} == {"public": 1, "private": 1}  # type: ignore[attr-defined]
    said = evaluate(model, data, "--without-duplicates", "--split", "public").stdout
    assert "left out 6 pictures found in Training as well" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "train"], "for splits that Training is no part of, received split 'train'"),
        (["--split", "all"], "received split 'all'"),
        ([], "all 14 faces of 'test' also stand in Training; none is left"),
    ],
)
def test_leaving_duplicates_out_where_nothing_would_be_left(
    model: Path, data: Path, arguments: list[str], message: str
) -> None:
    result = evaluate(model, data, "--without-duplicates", *arguments)
    assert isinstance(result.exception, UsageError)
    assert message in str(result.exception)


def test_leaving_duplicates_out_of_data_without_training(model: Path, data: Path) -> None:
    shutil.rmtree(data / "train")
    result = evaluate(model, data, "--without-duplicates")
    assert isinstance(result.exception, UsageError)
    assert "needs the training split to compare with" in str(result.exception)


def test_tables_tell_accuracy_and_classes(model: Path, data: Path) -> None:
    result = evaluate(model, data)
    assert result.exit_code == 0, result.exception
    for word in ("public", "private", "92.86%", "surprise", "support"):
        assert word in result.stdout


def test_out_gets_metrics_and_a_picture(model: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "judged"
    found = document(model, data, "--out", out)
    assert json.loads((out / "metrics.json").read_text(encoding="utf-8")) == found
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "confusion.png", "metrics.json", "report.html"]
    assert str(out / "confusion.png") in evaluate(model, data, "--out", out).stdout


@pytest.mark.parametrize("held", ["{}", '{"epoch": 3, "splits": {}}', "no JSON", None])
def test_files_that_it_did_not_write_are_never_replaced(model: Path, data: Path, tmp_path: Path, held: str) -> None:
    (tmp_path / "README.md").write_text("mine", encoding="utf-8")
    if held is not None:
        (tmp_path / "metrics.json").write_text(held, encoding="utf-8")
    result = evaluate(model, data, "--out", tmp_path)
    assert isinstance(result.exception, UsageError)
    assert "README.md, which 'mien evaluate' would replace but did not write" in str(result.exception)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == "mine"


def test_the_surest_are_those_with_the_confidence_that_is_printed(model: Path, data: Path) -> None:
    said = re.search(r"of ([\d,]+) pictures, those with a confidence of ([\d.]+)", evaluate(model, data).stdout)
    assert said
    kept = document(model, data)["coverage"]["at_80"]
    assert int(said[1].replace(",", "")) == kept["n"]
    assert 0 <= kept["min_confidence"] - float(said[2]) < 0.001


def test_the_report_explains_and_audits_where_asked(model: Path, data: Path, tmp_path: Path) -> None:
    evaluate(model, data, "--out", tmp_path / "plain")
    evaluate(model, data, "--out", tmp_path / "full", "--explain", "--audit")
    plain, full = ((tmp_path / name / "report.html").read_text(encoding="utf-8") for name in ("plain", "full"))
    for section in ("What the answers hang on", "The data"):
        assert f"{section}</h2>" not in plain
        assert f"{section}</h2>" in full


def test_bad_files_stop_it_unless_skipped(model: Path, data: Path) -> None:
    (data / "test" / "sad" / "PublicTest_9.png").write_bytes(b"not a picture")
    result = evaluate(model, data, "--split", "public")
    assert isinstance(result.exception, DataError)
    assert "PublicTest_9.png" in str(result.exception)
    found = document(model, data, "--split", "public", "--skip-bad")
    assert found["n"] == 7
    assert len(found["skipped"]) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "exam"], "--split: no such choice 'exam'"),
        (["--tta", "ten"], "--tta: no such choice 'ten'; choose from flip, full, none"),
        (["--split", "val"], "'val'"),
        (["--device", "gpu"], "device: no such choice"),
        (["--explain"], "name its folder with --out"),
    ],
)
def test_wrong_requests(model: Path, data: Path, arguments: list[str], message: str) -> None:
    result = evaluate(model, data, *arguments, "--json")
    assert isinstance(result.exception, UsageError)
    assert message in str(result.exception)
    assert result.stdout == ""


def test_votes_belong_to_the_csv_and_not_to_folders(model: Path, data: Path) -> None:
    result = evaluate(model, data, "--ferplus", "--json")
    assert isinstance(result.exception, DataError)
    assert "fer2013new.csv" in str(result.exception)


def test_out_may_not_be_a_file(model: Path, data: Path) -> None:
    result = evaluate(model, data, "--out", model)
    assert isinstance(result.exception, UsageError)
    assert "--out: must be a folder" in str(result.exception)


def test_shares_of_no_pictures_are_left_open(model: Path, tmp_path: Path) -> None:
    data = tmp_path / "few"
    for name in ("happy", "sad"):
        (data / "test" / name).mkdir(parents=True)
        cv2.imwrite(str(data / "test" / name / "1.png"), np.full((8, 8), LEVELS["happy"], np.uint8))
    said = evaluate(model, data).stdout.splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in said if line.split()[:1] in (["happy"], ["sad"], ["fear"])}
    assert rows == {
        "happy": ["50.0%", "100.0%", "66.7%", "1"],
        "sad": ["-", "0.0%", "0.0%", "1"],
        "fear": ["-", "-", "-", "0"],
    }


def test_data_of_other_classes(model: Path, tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "pets" / "test" / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "pets" / "test" / name / "1.png"), np.zeros((8, 8), np.uint8))
    result = evaluate(model, tmp_path / "pets")
    assert isinstance(result.exception, UsageError)
    assert "pictures of cat, dog, which the model does not know" in str(result.exception)


def test_pictures_of_classes_that_the_model_does_not_know_can_be_left_out(
    model: Path, data: Path, tmp_path: Path
) -> None:
    for place in ("train/contempt/1", "test/contempt/PublicTest_1", "test/contempt/PrivateTest_2"):
        (data / place).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(data / f"{place}.png"), np.zeros((8, 8), np.uint8))
    refused = evaluate(model, data)
    assert "pictures of contempt, which the model does not know" in str(refused.exception)
    assert "mien evaluate --known-classes" in str(refused.exception)
    fewer = save_brightness(tmp_path / "fewer.onnx", REVERSED[:-1], [LEVELS[name] / 255 for name in REVERSED[:-1]])
    found = document(model, data, "--known-classes")
    assert (found["n"], found["other_classes"], found["excluded"]) == (14, {"contempt": 2}, 0)
    both = document(model, data, "--known-classes", "--compare", fewer, "--split", "public")
    assert (both["n"], both["other_classes"]) == (6, {"angry": 1, "contempt": 1})
    said = evaluate(model, data, "--known-classes", "--out", tmp_path / "judged")
    words = "2 pictures of contempt, which the model does not know, were left out"
    for text in (said.stdout, *((tmp_path / "judged" / name).read_text() for name in ("report.html", "README.md"))):
        assert words in text
    pets = tmp_path / "pets" / "test" / "cat"
    pets.mkdir(parents=True)
    cv2.imwrite(str(pets / "1.png"), np.zeros((8, 8), np.uint8))
    nothing = evaluate(model, pets.parent.parent, "--known-classes")
    assert "no picture of 'test' is of a class that the model knows" in str(nothing.exception)


def test_no_such_data(model: Path, tmp_path: Path) -> None:
    result = evaluate(model, tmp_path / "missing")
    assert isinstance(result.exception, UsageError)
    assert "missing" in str(result.exception)


def test_data_without_labels(model: Path, tmp_path: Path) -> None:
    pixels = " ".join(["7"] * 48 * 48)
    (tmp_path / "test.csv").write_text(f"pixels\n{pixels}\n")
    result = evaluate(model, tmp_path / "test.csv", "--split", "all")
    assert isinstance(result.exception, UsageError)
    assert "has a label to judge by" in str(result.exception)


def test_confidence_and_coverage_are_measured_by_default(model: Path, data: Path) -> None:
    found = document(model, data)
    calibration, coverage = found["calibration"], found["coverage"]
    assert (calibration["temperature"], calibration["fitted_on"]) == (1.0, None)  # type: ignore[index]
    assert calibration["before"] == calibration["after"]  # type: ignore[index]
    assert coverage["at_80"]["n"] >= 0.8 * 14  # type: ignore[index]
    assert (found["comparison"], found["robustness"], found["exclude"]) == (None, None, None)
    said = evaluate(model, data).stdout
    assert "calibration error (ECE)" in said
    assert "the model has no temperature" in said
    assert "accuracy on the surest" in said


def test_a_temperature_shows_in_calibration_alone(model: Path, data: Path) -> None:
    plain = document(model, data)
    noted = {"calibration": {"split": "val", "n": 9}}
    write_to_onnx(model, dataclasses.replace(ModelSpec.from_onnx(model), temperature=3.0, trained_on=noted))
    found = document(model, data)
    assert found["accuracy"] == plain["accuracy"]
    assert (found["calibration"]["temperature"], found["calibration"]["fitted_on"]) == (3.0, "val")  # type: ignore[index]
    before, after = (found["calibration"][key]["ece"] for key in ("before", "after"))  # type: ignore[index]
    assert before == pytest.approx(plain["calibration"]["before"]["ece"], abs=1e-6)  # type: ignore[index]
    assert after > before + 0.01
    assert "at the model's temperature 3.00, fitted on val" in evaluate(model, data).stdout


def test_what_stands_in_training_is_found_by_default(model: Path, data: Path) -> None:
    # All test pictures but two, one of them the mislabelled one, are those of Training.
    cv2.imwrite(str(data / "test" / "happy" / "PrivateTest_4.png"), np.full((8, 8), 3, np.uint8))
    cv2.imwrite(str(data / "test" / "sad" / "PublicTest_3.png"), np.full((8, 8), LEVELS["sad"] + 1, np.uint8))
    leak = document(model, data)["leakage"]
    assert (leak["n"], leak["copies"], leak["clean_n"]) == (14, 12, 2)  # type: ignore[index]
    assert (leak["clean_accuracy"], leak["copies_accuracy"]) == (0.5, 1.0)  # type: ignore[index]
    assert leak["accuracy"] == pytest.approx(13 / 14)  # type: ignore[index]
    assert leak == document(model, data, "--without-duplicates")["leakage"]
    assert "12 pictures also stand in Training (accuracy 100.0%)" in evaluate(model, data).stdout
    assert document(model, data, "--no-find-duplicates")["leakage"] is None
    assert document(model, data, "--split", "train")["leakage"] is None
    shutil.rmtree(data / "train")
    assert document(model, data)["leakage"] is None


def test_scores_of_what_a_model_learned_from_are_called_so(model: Path, data: Path) -> None:
    spec = Classifier(model).spec
    untold, told = "The model's file does not say what it learned from", "These pictures hold those of Training: the"
    for said, words in (({}, untold), ({"format": "FER2013 folder"}, told), ({"format": "RAF-DB"}, "")):
        write_to_onnx(model, dataclasses.replace(spec, trained_on={**said, "counts": {}}))
        printed = {split: evaluate(model, data, "--split", split).stdout for split in ("train", "all", "public")}
        noted = [f"note: {words}" in text if words else "note: " in text for text in printed.values()]
        assert noted == [bool(words), bool(words), False]
    write_to_onnx(model, dataclasses.replace(spec, trained_on={"format": "FER2013 folder", "validation": "public"}))
    assert "note: PublicTest was watched while" in evaluate(model, data, "--split", "public").stdout


def test_two_models_on_the_same_pictures(model: Path, data: Path, tmp_path: Path) -> None:
    # The other one has its classes in another order and takes sad for happy and happy for sad.
    swapped = {"happy": "sad", "sad": "happy"}
    centres = [LEVELS[swapped.get(name, name)] / 255 for name in EXPRESSIONS]
    other = save_brightness(tmp_path / "other.onnx", EXPRESSIONS, centres, sharpness=200)
    found = document(model, data, "--compare", other)["comparison"]
    assert (found["first"], found["second"], found["n"]) == (str(model), str(other), 14)  # type: ignore[index]
    # The mislabelled picture, sad and called happy, is the one that only the other has right.
    counts = [found[key] for key in ("both_right", "only_first", "only_second", "both_wrong")]  # type: ignore[index]
    assert counts == [10, 3, 1, 0]
    assert found["difference"] == pytest.approx(2 / 14)  # type: ignore[index]
    assert found["p_value"] == pytest.approx(2 * (1 + 4) / 16)  # type: ignore[index]
    said = evaluate(model, data, "--compare", other).stdout
    assert "only this model is right on 3, only the other on 1" in said
    assert "may well be chance" in said
    clean = document(model, data, "--compare", other, "--no-find-duplicates", "--split", "private")
    assert clean["comparison"]["n"] == 7  # type: ignore[index]


def test_a_rival_of_other_classes(model: Path, data: Path, tmp_path: Path) -> None:
    other = save_brightness(tmp_path / "other.onnx", ["happy", "sad"], [0.2, 0.8])
    for first, second in ((model, other), (other, model)):
        result = evaluate(first, data, "--compare", second)
        assert isinstance(result.exception, UsageError)
        assert f"which the model {other} does not know" in str(result.exception)


def test_robustness_of_a_model_of_brightness(model: Path, data: Path) -> None:
    found = document(model, data, "--robustness", "--limit", 9, "--seed", 3)["robustness"]
    assert (found["n"], found["of"], found["seed"]) == (9, 14, 3)  # type: ignore[index]
    assert set(found["accuracy"]) == set(CORRUPTIONS)  # type: ignore[index]
    assert found["accuracy"]["blur"] == [found["clean"]] * 5  # type: ignore[index]
    assert found["means"]["darkness"] < found["clean"]  # type: ignore[index]
    said = evaluate(model, data, "--robustness").stdout
    assert "spoilt (14 of 14)" in said
    assert "low resolution" in said
    result = evaluate(model, data, "--seed", 9)
    assert "--seed: is for --robustness" in str(result.exception)
    result = evaluate(model, data, "--limit", 9)
    assert isinstance(result.exception, UsageError)
    assert "--limit: is for --robustness" in str(result.exception)


def test_listed_pictures_are_left_out(model: Path, data: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("test/happy/PrivateTest_4.png  # mislabelled\n")
    found = document(model, data, "--exclude", listed)
    assert (found["n"], found["accuracy"], found["exclude"]) == (13, 1.0, str(listed))
    listed.write_text("test/happy/PrivateTest_5.png\n")
    result = evaluate(model, data, "--exclude", listed)
    assert isinstance(result.exception, DataError)
    assert "PrivateTest_5.png" in str(result.exception)


def test_pictures_of_one_class_are_judged(model: Path, data: Path) -> None:
    for folder in (data / "test").iterdir():
        if folder.name != "happy":
            shutil.rmtree(folder)
    found = document(model, data)
    assert (found["n"], found["balanced_accuracy"]) == (2, 0.5)
    assert "all pictures are of one class, happy" in evaluate(model, data).stdout


def test_an_onnx_is_judged_without_keras(model: Path, data: Path, tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from mien.cli.evaluate import evaluate_command
evaluate_command(Path({str(model)!r}), Path({str(data)!r}), out=Path({str(tmp_path / "out")!r}), as_json=True)
heavy = {{"keras", "tensorflow", "jax", "torch"}} & set(sys.modules)
sys.exit(f"imported: {{heavy}}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n"] == 14


def test_what_a_list_leaves_out_of_training_may_have_been_learnt_all_the_same(
    model: Path, data: Path, tmp_path: Path
) -> None:
    listed, out = tmp_path / "list.txt", tmp_path / "out"
    listed.write_text("train/happy/Training_1.png\ntrain/happy/Training_2.png\ntest/sad/PublicTest_3.png\n")
    found = document(model, data, "--split", "public", "--exclude", listed, "--out", out)
    assert (found["n"], found["excluded"], found["leakage"]["copies"]) == (6, 1, 6)  # type: ignore[index]
    assert document(model, data, "--split", "public")["excluded"] == 0
    told = "Left out 1 picture of this split, as a list said"
    for file in ("report.html", "README.md"):
        assert told in (out / file).read_text(encoding="utf-8"), file


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*arguments: object, **others: object) -> None:
        raise AssertionError("worked before it looked whether the folder can be written")

    monkeypatch.setattr("mien.assessing.assess", work)
    (tmp_path / "file").write_text("")
    result = evaluate(model, data, "--out", tmp_path / "file" / "out")
    assert isinstance(result.exception, UsageError), result.exception
    assert "cannot be written" in str(result.exception)


def test_a_rival_s_judgement_reads_training_no_second_time(
    model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    monkeypatch.setattr(judging, "_learnt", lambda *arguments: read.append(arguments))
    document(model, data, "--compare", model)
    assert len(read) == 1


def test_a_temperature_fitted_on_a_part_of_what_is_judged_is_said_to_flatter(model: Path, data: Path) -> None:
    spec = ModelSpec.from_onnx(model)
    noted = {**spec.trained_on, "calibration": {"split": "public", "n": 7}}
    write_to_onnx(model, dataclasses.replace(spec, temperature=1.5, trained_on=noted))
    words = "fitted on pictures that are judged here"
    assert words in evaluate(model, data).stdout
    assert words in evaluate(model, data, "--split", "public").stdout
    assert words not in evaluate(model, data, "--split", "private").stdout


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are UTF-8 there")
def test_a_report_names_files_whose_names_are_no_utf8(model: Path, data: Path, tmp_path: Path) -> None:
    for place in ("train/sad", "test/happy"):  # the second is a mistake, which the report shows
        cv2.imwrite(str(tmp_path / "x.png"), np.full((8, 8), 250, np.uint8))
        (tmp_path / "x.png").rename(data / place / os.fsdecode(b"caf\xe9.png"))
    (data / "test" / "sad" / os.fsdecode(b"bad\xe9.png")).write_bytes(b"no picture")
    result = evaluate(model, data, "--skip-bad", "--audit", "--out", tmp_path / "judged")
    assert result.exit_code == 0, result.exception
    assert "caf\\udce9.png" in (tmp_path / "judged" / "report.html").read_text(encoding="utf-8")
    written = json.loads((tmp_path / "judged" / "metrics.json").read_text(encoding="utf-8"))
    assert written["skipped"] == ["test/sad/bad\udce9.png (cannot be decoded as an image)"]


def test_the_hash_is_of_what_was_judged(model: Path, data: Path, tmp_path: Path) -> None:
    for name in ("happy", "sad"):  # all others stand in Training
        cv2.imwrite(str(data / "test" / name / "PrivateTest_4.png"), np.full((8, 8), 3, np.uint8))
    evaluate(model, data, "--without-duplicates", "--out", tmp_path / "judged")
    whole = open_dataset(data)
    rows = [
        row
        for row, name in enumerate(whole.names)
        if name.endswith(("happy/PrivateTest_4.png", "sad/PrivateTest_4.png"))
    ]
    digest = data_digest([whole.take(rows).load(ModelSpec.from_onnx(model).input)])
    assert f"judged pictures: `{digest}`" in (tmp_path / "judged" / "README.md").read_text(encoding="utf-8")
