"""``mien predict``: every format, what cannot be read, what it writes, and that nothing heavy is imported."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from mien.cli.predict import predict_command
from mien.datasets.scenes import write_scene_video
from mien.errors import DataError, UsageError
from models import save_brightness
from processes import PATIENCE, running, wait_until

CROPS = ("--detector", "none")


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


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_scene_video(path, seed=3, frames=24, size_wh=(480, 360), faces=1)
    return path


def predict(*arguments: object) -> Result:
    app = typer.Typer()
    app.command("predict")(predict_command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def ok(*arguments: object) -> Result:
    result = predict(*arguments)
    assert result.exit_code == 0, result.stderr or repr(result.exception)
    return result


def test_json_is_one_document(model: Path, faces: Path) -> None:
    result = ok(faces, *CROPS, "--model", model, "--format", "json")
    assert ok(faces, *CROPS, "--model", model, "--json").stdout == result.stdout
    records = json.loads(result.stdout)
    assert [record["expression"] for record in records] == ["dark", "bright", "dark", "bright", "dark"]
    assert records[0]["source"] == str(faces / "0.png")
    assert set(records[0]["probabilities"]) == {"dark", "bright"}
    assert records[0]["confidence"] == max(records[0]["probabilities"].values())
    assert records[0]["box"] == {"x1": 0, "y1": 0, "x2": 10, "y2": 12}
    assert result.stderr.strip() == "5 pictures: 5 faces; 0 without a face"


def test_faces_below_the_least_confidence_are_uncertain(model: Path, faces: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(faces / "5.png"), np.full((12, 10), 140, np.uint8))
    options = (faces, *CROPS, "--model", model, "--min-confidence", 0.8)
    records = json.loads(ok(*options, "--format", "json", "--save", tmp_path / "drawn").stdout)
    assert [record["expression"] for record in records] == ["dark", "bright", "dark", "bright", "dark", "uncertain"]
    assert 0.5 < records[5]["probabilities"]["bright"] == records[5]["confidence"] < 0.8
    last = ok(*options).stdout.splitlines()[-2].split()
    assert (last[0], last[2]) == ("uncertain", "bright")
    ok(*options, "--out", tmp_path / "rows.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "rows.csv").read_text())))
    assert [row["expression"] for row in rows] == [record["expression"] for record in records]
    result = predict(*options[:-1], 1.2)
    assert isinstance(result.exception, UsageError)
    assert "--min-confidence: must be from 0 to 1, received 1.2" in str(result.exception)


def test_jsonl_is_one_record_a_line_whatever_the_batch(model: Path, faces: Path) -> None:
    whole = ok(faces, *CROPS, "--model", model, "--format", "jsonl").stdout
    assert [json.loads(line)["expression"] for line in whole.splitlines()][:2] == ["dark", "bright"]
    assert ok(faces, *CROPS, "--model", model, "--format", "jsonl", "--batch-size", 2).stdout == whole


def test_views_are_averaged_as_asked(model: Path, tmp_path: Path) -> None:
    image = np.zeros((8, 8), np.uint8)
    image[:, 0] = 255
    cv2.imwrite(str(tmp_path / "edge.png"), image)
    rows = {
        tta: json.loads(ok(tmp_path / "edge.png", *CROPS, "--model", model, "--format", "json", *tta.split()).stdout)
        for tta in ("", "--tta none", "--tta flip", "--tta full")
    }
    shares = [record[0]["probabilities"]["bright"] for record in rows.values()]
    assert shares[0] == shares[1] == pytest.approx(shares[2])
    assert abs(shares[3] - shares[0]) > 1e-4
    result = predict(tmp_path / "edge.png", "--model", model, "--tta", "ten")
    assert isinstance(result.exception, UsageError)
    assert "--tta: no such choice 'ten'; choose from flip, full, none" in str(result.exception)


def test_csv_has_a_column_for_each_class(model: Path, faces: Path) -> None:
    output = ok(faces / "1.png", *CROPS, "--model", model, "--format", "csv").stdout
    (row,) = csv.DictReader(io.StringIO(output))
    assert list(row)[:4] == ["source", "frame", "time", "track"]
    assert list(row)[-2:] == ["dark", "bright"]
    assert row["expression"] == "bright"
    assert (row["time"], row["track"]) == ("", "")
    assert float(row["dark"]) + float(row["bright"]) == pytest.approx(1)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_a_line_end_in_a_name_ends_no_row_of_csv(model: Path, faces: Path) -> None:
    odd = faces / "a\rb.png"
    (faces / "0.png").rename(odd)
    output = ok(odd, *CROPS, "--model", model, "--format", "csv").stdout
    (row,) = csv.DictReader(io.StringIO(output, newline=""))
    assert (row["source"], row["expression"]) == (str(odd), "dark")


def test_the_table_names_file_and_expression(model: Path, faces: Path) -> None:
    lines = ok(faces / "*.png", *CROPS, "--model", model).stdout.splitlines()
    assert lines[0].split() == ["expression", "sure", "next", "face", "source"]
    assert lines[1].split() == ["dark", "99.3%", "bright", "1%", "10x12", "at", "0,0", str(faces / "0.png")]
    assert lines[-1] == "5 pictures: 5 faces; 0 without a face"


def test_a_picture_without_a_face_is_no_error(model: Path, faces: Path) -> None:
    cv2.imwrite(str(faces / "empty.png"), np.full((90, 90, 3), 127, np.uint8))
    result = ok(faces / "empty.png", "--model", model)
    assert result.stdout.splitlines()[-1].split() == ["no", "face", str(faces / "empty.png")]
    assert json.loads(ok(faces / "empty.png", "--model", model, "--format", "json").stdout) == []


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "parquet"])
def test_out_holds_a_row_a_face(model: Path, faces: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / "made" / f"answers.{suffix}"
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    result = ok(faces, *CROPS, "--model", model, "--out", out)
    assert result.stdout.splitlines() == ["5 pictures: 5 faces; 0 without a face", f"wrote {out}"]
    assert list(out.parent.iterdir()) == [out]
    expressions = ["dark", "bright", "dark", "bright", "dark"]
    if suffix == "jsonl":
        assert [json.loads(line)["expression"] for line in out.read_text().splitlines()] == expressions
    elif suffix == "json":
        assert [record["expression"] for record in json.loads(out.read_text())] == expressions
    elif suffix == "csv":
        assert [row["expression"] for row in csv.DictReader(out.read_text().splitlines())] == expressions
    else:
        import pyarrow.parquet

        assert pyarrow.parquet.read_table(out)["expression"].to_pylist() == expressions


def test_files_that_cannot_be_read_are_named_and_the_rest_goes_on(model: Path, faces: Path, tmp_path: Path) -> None:
    (faces / "2.png").write_bytes(b"not a picture")
    out = tmp_path / "answers.jsonl"
    result = predict(faces, faces / "gone.png", *CROPS, "--model", model, "--out", out)
    assert isinstance(result.exception, DataError)
    assert result.exception.exit_code == 1
    assert str(result.exception).startswith("2 sources failed: ")
    said = result.stderr.replace("\\", "/").splitlines()
    assert [line.rpartition("/")[2].partition(":")[0] for line in said] == ["2.png", "gone.png"]
    assert "cannot be decoded" in said[0]
    assert [Path(json.loads(line)["source"]).name for line in out.read_text().splitlines()] == [
        *("0.png", "1.png", "3.png", "4.png")
    ]


def test_a_video_gives_rows_pictures_and_a_timeline(model: Path, clip: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out, drawn, timeline = tmp_path / "rows.jsonl", tmp_path / "drawn", tmp_path / "time.png"
    result = ok(clip, "--model", model, "--out", out, "--save", drawn, "--timeline", timeline, "--smooth", 0.2)
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(records) >= 20
    assert {record["track"] for record in records} == {1}
    assert [record["frame"] for record in records] == sorted({record["frame"] for record in records})
    assert records[-1]["time"] == pytest.approx(records[-1]["frame"] / 30, abs=0.02)
    video = cv2.VideoCapture(str(drawn / "clip.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 24
    video.release()
    assert cv2.imread(str(timeline)).shape[1] > 400
    assert result.stdout.splitlines()[0].startswith("24 frames: ")
    assert set(result.stdout.splitlines()[1:]) == {f"wrote {path}" for path in (out, timeline, drawn / "clip.mp4")}


def test_the_table_of_a_video_has_a_line_a_track(model: Path, clip: Path) -> None:
    lines = ok(clip, "--model", model).stdout.splitlines()
    assert len(lines) == 3
    assert "track 1, " in lines[1]


def test_the_table_of_a_video_has_the_averages_of_each_track(model: Path, clip: Path, tmp_path: Path) -> None:
    ok(clip, "--model", model, "--out", tmp_path / "rows.jsonl")
    rows = [json.loads(line)["probabilities"] for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    average = {name: float(np.mean([row[name] for row in rows])) for name in ("dark", "bright")}
    best, other = sorted(average, key=lambda name: -average[name])
    line = ok(clip, "--model", model).stdout.splitlines()[1]
    assert line.split()[:4] == [best, f"{average[best]:.1%}", other, f"{average[other]:.0%}"]
    assert ok(clip, "--model", model, "--min-confidence", 0.999).stdout.splitlines()[1].startswith("uncertain ")


def test_of_a_long_video_every_so_many_frames_are_read(model: Path, clip: Path, tmp_path: Path) -> None:
    out, drawn = tmp_path / "rows.jsonl", tmp_path / "drawn"
    said = ok(clip, "--model", model, "--every", 6, "--out", out, "--save", drawn).stdout
    assert said.startswith("4 frames: ")
    records = [json.loads(line) for line in out.read_text().splitlines()]
    assert {record["frame"] for record in records} == {0, 6, 12, 18}
    assert [record["time"] for record in records] == pytest.approx([record["frame"] / 30 for record in records])
    assert "--every: is not for --engine ray" in str(
        predict(clip, "--every", 2, "--engine", "ray", "--out", drawn).exception
    )


def test_pictures_are_saved_with_their_faces_drawn(model: Path, faces: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(faces / "large.png"), np.full((200, 220, 3), 130, np.uint8))
    ok(faces / "large.png", *CROPS, "--model", model, "--save", tmp_path / "drawn")
    drawn = cv2.imread(str(tmp_path / "drawn" / "large.png"))
    assert drawn.shape == (200, 220, 3)
    assert (drawn != 130).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--detector", "haar"], "no such choice 'haar'; choose from mtcnn, none"),
        (["--format", "xml"], "no such choice 'xml'; choose from csv, json, jsonl, table"),
        (["--format", "csv", "--out", "a.csv"], "the ending of --out says how the file is written"),
        (["--json", "--out", "a.csv"], "--format: is for stdout, as is --json"),
        (["--json", "--format", "csv"], "--json: is --format json, and --format csv was asked for"),
        (["--out", "a.xlsx"], ".xlsx"),
        (["--out", "-"], "leave it out for stdout"),
        (["-", "--engine", "ray", "--out", "rows"], "standard input is not for --engine ray"),
        (["--device", "gpu"], "device: no such choice 'gpu'"),
        (["--model", "missing.onnx"], "no such file"),
        (["--smooth", "-1"], "smooth: must be 0 seconds or more"),
        (["--smooth", "nan"], "smooth: must be 0 seconds or more"),
        (["--timeline", "a.docx"], "--timeline: must end in .png"),
        (["--margin", "3"], "margin: must be from -0.4 to 1"),
        (["--detector", "none", "--min-face-size", "40"], "--min-face-size: is for detectors that look for faces"),
    ],
)
def test_wrong_requests(model: Path, faces: Path, arguments: list[str], message: str) -> None:
    result = predict(faces, "--model", model, *arguments)
    assert isinstance(result.exception, UsageError)
    assert message in str(result.exception)
    assert result.stdout == ""


def test_sources_are_not_written_over(model: Path, faces: Path) -> None:
    before = (faces / "0.png").read_bytes()
    result = predict(faces, *CROPS, "--model", model, "--timeline", faces / "0.png")
    assert isinstance(result.exception, UsageError)
    assert "is one of the sources" in str(result.exception)
    assert (faces / "0.png").read_bytes() == before


def test_an_empty_source_is_refused(model: Path) -> None:
    result = predict("", "--model", model)
    assert isinstance(result.exception, UsageError)
    assert "must not be empty" in str(result.exception)


def test_pictures_alone_give_no_timeline_and_it_is_said(model: Path, faces: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    result = ok(faces, *CROPS, "--model", model, "--timeline", tmp_path / "time.png")
    assert "no timeline: there was no face in a video" in result.stdout
    assert not (tmp_path / "time.png").exists()


def test_without_a_terminal_lines_say_how_far_it_is(
    model: Path, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ok(faces, *CROPS, "--model", model, "--out", tmp_path / "rows.csv").stderr == ""
    monkeypatch.setattr("mien.cli.bars.LOG_SECONDS", 0.0)
    (faces / "!.png").write_bytes(b"no picture")
    missing = tmp_path / "none.png"
    said = predict(missing, faces, *CROPS, "--model", model, "--out", tmp_path / "rows.csv").stderr.splitlines()
    failures = [line for line in said if ": " in line]
    assert [line.split(": ")[0] for line in failures] == [str(missing), str(faces / "!.png")]
    lines = [line for line in said if line not in failures]
    assert lines == [f"{count} of 7 pictures and frames done" for count in range(1, 7)]


def test_sigterm_finishes_the_files(model: Path, tmp_path: Path) -> None:
    clip = tmp_path / "long.mp4"
    write_scene_video(clip, seed=3, frames=900, size_wh=(320, 240), faces=1)
    rows = tmp_path / "rows.jsonl"
    with running("predict", clip, "--model", model, "--out", rows, "--save", tmp_path / "drawn") as process:
        wait_until(lambda: rows.is_file() and rows.stat().st_size > 20_000, process)
        process.terminate()
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "interrupted" in said
    video = cv2.VideoCapture(str(tmp_path / "drawn" / "long.mp4"))
    count = video.get(cv2.CAP_PROP_FRAME_COUNT)
    video.release()
    assert 10 < count < 900
    assert len(list((tmp_path / "drawn").iterdir())) == 1


def test_nothing_to_read_is_an_error(model: Path, tmp_path: Path) -> None:
    result = predict(tmp_path / "*.jpg", "--model", model)
    assert isinstance(result.exception, UsageError)


def test_names_that_are_not_unicode(model: Path, faces: Path) -> None:
    odd = str(faces / "face-\udcff.png")
    try:
        (faces / "0.png").rename(odd)
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    output = ok(faces, *CROPS, "--model", model, "--format", "csv").stdout
    assert "face-\\udcff.png" in output


def test_only_the_light_half_is_imported(model: Path, faces: Path) -> None:
    code = f"""
import sys
from mien.cli import app
app(["predict", {str(faces)!r}, "--model", {str(model)!r}, "--format", "json"], standalone_mode=False)
heavy = {{"keras", "tensorflow", "jax", "torch", "sklearn", "matplotlib"}} & set(sys.modules)
sys.exit(f"imported: {{heavy}}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
