"""``mien info``: that what it tells is there, is right, and costs no heavy import."""

import json
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import mien
from mien.cli import info, model_lines


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    app = typer.Typer()
    app.command("info")(info.info_command)
    return app


def test_json_tells_everything(app: typer.Typer, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "faces.npz").write_bytes(b"12345")
    result = CliRunner().invoke(app, ["--json"])
    assert result.exit_code == 0, result.stderr
    facts = json.loads(result.stdout)
    assert facts["mien"] == mien.__version__
    assert facts["python"] == platform.python_version()
    assert facts["packages"]["numpy"] == version("numpy")
    assert set(facts["packages"]) == set(info.PACKAGES)
    assert "cpu" in facts["devices"]
    assert "CPUExecutionProvider" in facts["providers"]
    assert facts["cpu"]["cores"] >= 1
    assert facts["cache"] == {"path": str(tmp_path / "cache"), "bytes": 5}


def test_the_table_names_what_is_not_installed(app: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(info.PACKAGES, "torch", ("no-such-distribution",))
    output = CliRunner().invoke(app).stdout
    torch = next(line for line in output.splitlines() if line.startswith("torch"))
    assert torch.split(maxsplit=1)[1].strip() == "not installed"
    assert mien.__version__ in output


def test_the_backend_keras_will_use(app: typer.Typer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert info.collect()["keras_backend"] == "tensorflow"
    settings = tmp_path / "keras" / "keras.json"
    settings.parent.mkdir()
    settings.write_text("{")
    assert info.collect()["keras_backend"] == "tensorflow"
    settings.write_text('{"backend": "torch"}')
    assert info.collect()["keras_backend"] == "torch"
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert info.collect()["keras_backend"] == "jax"


def test_cpu_features_come_from_cpuinfo(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("model name\t: Some CPU\nflags\t\t: fpu avx2 avx512_bf16 amx_bf16 sse\n")
    assert info._cpu(cpuinfo)["model"] == "Some CPU"
    assert info._cpu(cpuinfo)["features"] == ["avx2", "avx512_bf16", "amx_bf16"]
    assert info._cpu(tmp_path / "missing")["features"] == []


def test_gpus_come_from_their_driver(tmp_path: Path) -> None:
    (tmp_path / "0000:01:00.0").mkdir()
    (tmp_path / "0000:01:00.0" / "information").write_text("Model: \t\t NVIDIA H200\nIRQ: 1\n")
    assert info._gpus(tmp_path) == ["NVIDIA H200"]
    assert info._gpus(tmp_path / "missing") == []


def test_nothing_heavy_is_imported() -> None:
    code = """
import sys
from mien.cli.info import info_command
info_command(as_json=True)
heavy = {"keras", "tensorflow", "jax", "torch", "sklearn", "matplotlib"} & set(sys.modules)
sys.exit(f"imported: {heavy}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["mien"] == mien.__version__


def test_the_settings_that_were_on_are_told() -> None:
    settings = {"epochs": 1, "seed": 0, "label_smoothing": 0.1, "mixup": 0.0, "ema": 0.0, "class_weights": True}
    said = model_lines._recipe({**settings, "teachers": ["a", "b"], "init": ""})
    assert said == "epochs 1, label smoothing 0.1, class weights True, seed 0, teachers a, b"
