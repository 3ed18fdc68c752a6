"""``mien predict --engine ray`` as a user meets it: what is refused, what is said, how it ends."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.cli import main
from models import save_brightness
from processes import PATIENCE

pytest.importorskip("ray", reason="Ray is not installed: pip install 'mien[ray]'")

Refused = Callable[..., str]


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


def predict(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mien", "predict", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)


@pytest.fixture
def refused(capfd: pytest.CaptureFixture[str]) -> Refused:
    """Gives the one line that a wrong request is answered with; in this process, as nothing is to be started."""

    def ask(*arguments: object) -> str:
        with pytest.raises(SystemExit) as end:
            main(["predict", *map(str, arguments)])
        shown = capfd.readouterr()
        assert end.value.code == 2, shown
        assert shown.out == ""
        (line,) = shown.err.splitlines()
        return line

    return ask


def test_without_ray_the_extra_is_named(
    faces: Path, tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    line = refused(faces, "--engine", "ray", "--out", tmp_path / "out")
    assert line == "mien: --engine ray needs packages that are not installed: pip install 'mien[ray]'"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--engine", "spark"], "--engine: no such choice 'spark'; choose from local, ray"),
        (["--workers", "2"], "--workers: is not for --engine local"),
        (["--resume"], "--resume: is not for --engine local"),
        (["--engine", "ray"], "--out: --engine ray writes into a folder"),
        (["--engine", "ray", "--out", "o", "--threads", "2"], "--threads: is not for --engine ray; use --cpus-per"),
        (["--engine", "ray", "--out", "o", "--format", "json"], "--format: is for stdout"),
        (["--engine", "ray", "--format", "json"], "--format: is not for --engine ray; rows go to --out"),
        (["--engine", "ray", "--out", "o", "--cpus-per-worker", "0"], "--cpus-per-worker: must be 1 or more"),
        (["--engine", "ray", "--out", "o", "--part-size", "0"], "part_size: must be 1 or more, received 0"),
        (["--engine", "ray", "--out", "o", "--detector", "haar"], "--detector: no such choice 'haar'"),
        (["--engine", "ray", "--out", "o-\udcff"], "o-\\udcff: Ray takes no names on the command line that are not"),
        (["--engine", "ray", "--out", "o", "--model", "m.keras"], "--model: workers read .onnx files"),
    ],
)
def test_wrong_requests_are_one_line(faces: Path, options: list[str], said: str, refused: Refused) -> None:
    assert refused(faces, *options).startswith(f"mien: {said}")


def test_nothing_is_started_or_written_where_nothing_is_found_or_the_place_is_taken(
    faces: Path, tmp_path: Path, refused: Refused
) -> None:
    out = tmp_path / "out"
    assert "no images found" in refused(tmp_path / "gone", "--engine", "ray", "--out", out)
    assert not out.exists()
    (tmp_path / "file.csv").write_text("mine")
    assert "file.csv is a file" in refused(faces, "--engine", "ray", "--out", tmp_path / "file.csv")
    assert "holds other files (0.png, 1.png, 2.png and 2 more)" in refused(faces, "--engine", "ray", "--out", faces)
    assert "is live" in refused("0", "--engine", "ray", "--out", out)


def test_a_run_says_what_it_does_what_came_of_it_and_what_failed(
    model: Path, faces: Path, tmp_path: Path, refused: Refused
) -> None:
    (faces / "9.png").write_bytes(b"no picture")
    run = (faces, "--engine", "ray", "--out", tmp_path / "out", "--model", model, "--detector", "none", "--resume")
    done = predict(*run, "--workers", 1)
    out = tmp_path / "out"
    assert done.returncode == 1
    assert done.stdout.splitlines() == ["5 pictures: 5 faces; 0 without a face", f"wrote {out}/faces"]
    *stages, failure, last = done.stderr.splitlines()
    assert stages == [
        "Starting Ray on this machine",
        "Finding what there is to read",
        "1 of 1 part to do, workers: 1",
    ]
    assert failure.startswith(f"{faces}/9.png: ")
    assert last == f"mien: 1 source failed; all are in {out}/failures: {faces}/9.png"

    again = predict(*run, "--workers", 1)
    assert again.returncode == 1
    assert "of 1 part, 1 done before" in again.stdout
    first = "0 of 1 part to do; for files added since the run was planned, name a new --out"
    assert again.stderr.splitlines() == [first, failure, last]  # and Ray was not started
    assert "tta: then none, now flip" in refused(*run, "--tta", "flip")
