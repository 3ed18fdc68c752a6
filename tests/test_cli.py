"""The command as a person calls it: a process, its streams, its exit code."""

import os
import shlex
import shutil
import signal
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from mien import __version__
from mien.cli import main
from processes import PATIENCE, running, wait_until


def mien(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    variables = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    command = [sys.executable, "-m", "mien", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**variables, **environment}, timeout=300)


def test_version_and_help():
    assert mien("--version").stdout.strip() == __version__
    shown = mien("--help")
    assert shown.returncode == 0
    for command in ("demo", "train", "evaluate", "predict", "data", "export", "info"):
        assert command in shown.stdout


def test_debug_may_stand_behind_the_command(capsys, monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    with pytest.raises(SystemExit) as end:
        main(["data", "check", "nowhere", "--debug"])
    said = capsys.readouterr().err
    assert end.value.code == 2
    assert "Traceback" in said
    assert said.endswith("mien: no such file or folder: nowhere\n")


def test_a_file_may_be_called_like_an_option(capsys):
    with pytest.raises(SystemExit) as end:
        main(["predict", "--", "--debug"])
    assert end.value.code == 2
    assert "--debug: there is no such file" in capsys.readouterr().err


@pytest.mark.parametrize("words", [(), ("train",), ("predict",), ("data", "check")])
def test_help_shows_no_type_of_flags_which_take_no_value(words, capsys):
    with pytest.raises(SystemExit):
        main([*words, "--help"])
    shown = capsys.readouterr().out
    assert "--help" in shown
    assert "...}" not in shown
    assert "<bool>" not in shown


def test_the_command_line_has_onnx_runtime_report_nothing(tmp_path):
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / ".cache"), "MIEN_CACHE": str(tmp_path / "mien")}
    picture = tmp_path / "a.png"
    Image.new("RGB", (40, 40)).save(picture)
    assert mien("predict", str(picture), **home).returncode == 0
    assert [path for path in tmp_path.rglob("*") if "onnx" in path.name.lower()] == []


def test_train_says_what_it_does_and_is_quiet_otherwise(patterns, tmp_path):
    data = shutil.copytree(patterns, tmp_path / "faces [bold]")  # which is markup to rich
    run = mien("train", str(data), "--epochs", "1", "--out", str(tmp_path / "run"))
    assert run.returncode == 0, run.stderr
    lines = run.stderr.splitlines()
    assert lines[0] == f"Reading {data}"
    assert lines[1].startswith("Training seed (224,391 parameters)")
    assert lines[2].startswith("epoch 1/1  loss ")
    noise = ("port.cc", "oneDNN", "absl", "Warning")
    assert [line for line in lines if any(word in line for word in noise)] == []
    assert "private" in run.stdout
    assert str(tmp_path / "run" / "face_detection.h5") in run.stdout.splitlines()


@pytest.mark.slow
def test_fine_tuning_takes_the_network_of_the_model_that_it_begins_with(patterns, tmp_path, capfd):
    few = ("--epochs", "1", "--limit", "40")
    tune = ("train", str(patterns), "--init", "mien-small", *few, "--out", f"{tmp_path}/run")
    with pytest.raises(SystemExit) as end:
        main([*tune, "--recipe", "cpu", "--set", "progressive=48", "--augmentation", "none"])
    said = capfd.readouterr().err
    assert end.value.code == 0, said
    assert "Training compact (1,190,231 parameters)" in said
    with pytest.raises(SystemExit) as end:
        main([*tune[:-1], f"{tmp_path}/other", "--set", "network=seed"])
    assert end.value.code == 2
    shown = capfd.readouterr()
    assert "holds the network 'compact', not 'seed'; choose that network" in shown.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "nowhere"), "nowhere"),
        (("train", "--epochs", "0"), "epochs: must be a whole number from 1"),
        (("train", "--recipe", "best"), "recipe: no such choice 'best'; choose from "),
        (("train", "--network", "resnet"), "network: no such choice 'resnet'; choose from "),
        (("train", "--augmentation", "wild"), "--augmentation: no such choice 'wild'"),
        (("train", "--tensorboard", "logs"), "pip install 'mien[tensorboard]'"),
        (("train", "--limit", "-1"), "limit: must be 0 (all) or more"),
        (("train", "--resume", "nowhere"), "not a run folder"),
        (("train", "--resume", "nowhere", "--epochs", "3"), "leave out --epochs"),
        (("export", "none.keras", "--format", "onnx"), "no such file"),
        (("export", "none.keras", "--format", "tflite"), "format: no such choice 'tflite'"),
        (("evaluate", "none.onnx", "."), "no such file"),
        (("predict", "x.png", "--model", "none.onnx"), "no such file"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_two(arguments, message, patterns, capfd, monkeypatch):
    monkeypatch.setattr("mien.cli.train.find_spec", lambda name: None)  # as if TensorBoard were not there
    data = (str(patterns),) if arguments[0] == "train" and "nowhere" not in arguments else ()
    with pytest.raises(SystemExit) as end:
        main([*arguments, *data])
    assert end.value.code == 2
    shown = capfd.readouterr()
    last = shown.err.strip().splitlines()[-1]
    assert last.startswith("mien: ")
    assert message in last
    assert "Traceback" not in shown.err
    assert shown.out == ""


def test_an_unwritable_place_and_an_unknown_backend_are_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    for arguments, environment in (
        (("data", "sample", str(tmp_path / "file" / "faces"), "--count", "3"), {}),
        (("train", "."), {"KERAS_BACKEND": "bogus"}),
    ):
        run = mien(*arguments, **environment)
        assert run.returncode in (1, 2)
        assert run.stderr.strip().splitlines()[-1].startswith("mien: ")
        assert "Traceback" not in run.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for another process")
def test_ctrl_c_says_so(tmp_path):
    with running("data", "sample", tmp_path / "faces", "--count", 100_000) as process:
        wait_until(lambda: any(tmp_path.glob(".faces.*/train/*/*.png")), process)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert errors.strip().splitlines()[-1] == "mien: interrupted"
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for another process")
def test_ctrl_c_while_it_is_imported_says_so_too(tmp_path):
    (tmp_path / "typer.py").write_text("import time; print(0, flush=True); time.sleep(60)", encoding="utf-8")
    with running("info", PYTHONPATH=str(tmp_path)) as process:
        assert process.stdout.readline() == "0\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (130, "mien: interrupted\n")


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell closes the stream")
def test_a_closed_output_is_no_traceback(tmp_path):
    cv2.imwrite(str(tmp_path / "face.png"), np.full((48, 48), 90, np.uint8))
    command = f"{shlex.quote(sys.executable)} -m mien predict face.png --detector none --out rows.csv >&- 2>&-"
    assert subprocess.run(command, shell=True, cwd=tmp_path, check=False).returncode == 0
    assert len((tmp_path / "rows.csv").read_text(encoding="utf-8").splitlines()) == 2


def test_debug_shows_the_traceback():
    run = mien("--debug", "evaluate", "none.onnx", "nowhere")
    assert run.returncode == 2
    assert "Traceback" in run.stderr


@pytest.mark.slow
def test_the_users_log_level_is_left_alone(tmp_path):
    run = mien("train", str(tmp_path), TF_CPP_MIN_LOG_LEVEL="0")
    assert "oneDNN" in run.stderr or "absl" in run.stderr or run.stderr.startswith("mien")
