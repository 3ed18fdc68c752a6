"""``mien predict``: every format, files that cannot be read, and that nothing heavy is imported."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from mien.cli.predict import predict_command
from mien.errors import DataError, UsageError
from models import save_brightness


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_brightness(tmp_path / "model.onnx", ("dark", "bright"), (0.0, 1.0), sharpness=5)


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    folder = tmp_path / "faces"
    folder.mkdir()
    for index, level in enumerate([0, 255, 10, 240, 30]):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((12, 10), level, np.uint8))
    return folder


def predict(*arguments: object) -> Result:
    app = typer.Typer()
    app.command("predict")(predict_command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def ok(*arguments: object) -> Result:
    result = predict(*arguments)
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    return result


def test_json_is_one_document(model: Path, faces: Path) -> None:
    records = json.loads(ok(faces, "--model", model, "--format", "json").stdout)
    assert [record["expression"] for record in records] == ["dark", "bright", "dark", "bright", "dark"]
    assert records[0]["file"] == str(faces / "0.png")
    assert set(records[0]["probabilities"]) == {"dark", "bright"}
    assert records[0]["confidence"] == max(records[0]["probabilities"].values())


def test_jsonl_is_one_record_a_line_whatever_the_batch(model: Path, faces: Path) -> None:
    whole = ok(faces, "--model", model, "--format", "jsonl").stdout
    assert [json.loads(line)["expression"] for line in whole.splitlines()][:2] == ["dark", "bright"]
    small = ok(faces, "--model", model, "--format", "jsonl", "--batch-size", 2).stdout
    assert [json.loads(line)["file"] for line in small.splitlines()] == [
        json.loads(line)["file"] for line in whole.splitlines()
    ]


def test_csv_has_a_column_for_each_class(model: Path, faces: Path) -> None:
    output = ok(faces / "1.png", "--model", model, "--format", "csv").stdout
    (row,) = csv.DictReader(io.StringIO(output))
    assert list(row) == ["file", "expression", "confidence", "dark", "bright"]
    assert row["expression"] == "bright"
    assert float(row["dark"]) + float(row["bright"]) == pytest.approx(1)


def test_the_table_names_file_and_expression(model: Path, faces: Path) -> None:
    output = ok(faces / "*.png", "--model", model).stdout
    assert output.count("dark") >= 3
    assert "99.3%" in output
    assert "0.png" in output


def test_out_is_written_whole(model: Path, faces: Path, tmp_path: Path) -> None:
    out = tmp_path / "made" / "answers.csv"
    result = ok(faces, "--model", model, "--format", "csv", "--out", out)
    assert result.stdout == ""
    assert len(out.read_text().splitlines()) == 6
    assert list(out.parent.iterdir()) == [out]


def test_files_that_cannot_be_read_are_named_and_the_rest_goes_on(model: Path, faces: Path, tmp_path: Path) -> None:
    (faces / "2.png").write_bytes(b"not a picture")
    out = tmp_path / "answers.jsonl"
    result = predict(faces, faces / "gone.png", "--model", model, "--format", "jsonl", "--out", out)
    assert isinstance(result.exception, DataError)
    assert result.exception.exit_code == 1
    assert str(result.exception).startswith("2 of 6 files could not be read")
    assert [line.rsplit("/")[-1] for line in result.stderr.replace("\\", "/").splitlines()] == ["2.png", "gone.png"]
    assert [Path(json.loads(line)["file"]).name for line in out.read_text().splitlines()] == [
        *("0.png", "1.png", "3.png", "4.png")
    ]


def test_all_files_bad_gives_an_empty_document(model: Path, faces: Path) -> None:
    bad = faces / "bad.png"
    bad.touch()
    result = predict(bad, "--model", model, "--format", "json")
    assert isinstance(result.exception, DataError)
    assert json.loads(result.stdout) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--detector", "mtcnn"], "no such choice 'mtcnn'; choose from none"),
        (["--format", "xml"], "no such choice 'xml'; choose from csv, json, jsonl, table"),
        (["--device", "gpu"], "device: no such choice 'gpu'"),
        (["--model", "missing.onnx"], "no such file"),
    ],
)
def test_wrong_requests(model: Path, faces: Path, arguments: list[str], message: str) -> None:
    result = predict(faces, "--model", model, *arguments)
    assert isinstance(result.exception, UsageError)
    assert message in str(result.exception)
    assert result.stdout == ""


def test_no_model_says_how_to_get_one(faces: Path) -> None:
    result = predict(faces)
    assert isinstance(result.exception, UsageError)
    assert "mien train" in str(result.exception)


def test_no_images_is_an_error(model: Path, tmp_path: Path) -> None:
    result = predict(tmp_path / "*.jpg", "--model", model)
    assert isinstance(result.exception, UsageError)
    assert "no images found" in str(result.exception)


def test_names_that_are_not_unicode(model: Path, faces: Path) -> None:
    odd = str(faces / "face-\udcff.png")
    try:
        (faces / "0.png").rename(odd)
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    output = ok(faces, "--model", model, "--format", "csv").stdout
    assert "face-\\udcff.png" in output


def test_only_the_light_half_is_imported(model: Path, faces: Path) -> None:
    code = f"""
import sys
from mien.cli.predict import predict_command
predict_command([{str(faces)!r}], __import__("pathlib").Path({str(model)!r}), "none", "json", None, 64, "auto")
heavy = {{"keras", "tensorflow", "jax", "torch", "sklearn", "matplotlib"}} & set(sys.modules)
sys.exit(f"imported: {{heavy}}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 5
