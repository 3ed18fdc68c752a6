import subprocess
import sys

from mien.classifier import Classifier


def test_the_demo_does_the_whole_job(tmp_path):
    """A small demo in a process of its own: drawn faces in, a run folder and a table of scores out."""
    command = [sys.executable, "-m", "mien", "demo", "--count", "210", "--epochs", "1", "--out", str(tmp_path / "run")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert "Drawn faces, not photographs" in run.stderr
    for split in ("validation", "test", "public", "private"):
        assert split in run.stdout
    for name in ("curves.png", "confusion.png", "face_detection.h5", "model.keras"):
        assert str(tmp_path / "run" / name) in run.stdout
        assert (tmp_path / "run" / name).stat().st_size > 1000
    assert Classifier(tmp_path / "run" / "model.onnx").spec.network == "seed"
