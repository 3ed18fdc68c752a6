"""Every Python block in README and docs runs as it stands; every command in them exists."""

import re
import shlex
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data
from typer.main import get_command

from mien.cli import app
from mien.datasets.scenes import write_scene_video
from models import save_brightness

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
NAMES = [path.relative_to(ROOT).as_posix() for path in PAGES]

COMMANDS = get_command(app).commands


def python_blocks(path: Path) -> str:
    """All Python of a page, in order: later blocks may use what earlier ones made."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S))


@pytest.mark.parametrize("name", [name for name in NAMES if python_blocks(ROOT / name)])
def test_python_blocks_run(name, patterns, tmp_path, monkeypatch):
    shutil.copytree(patterns, tmp_path / "FER2013")
    save_brightness(tmp_path / "model.onnx", ("dark", "middle", "bright"), (0.0, 0.5, 1.0))
    cv2.imwrite(str(tmp_path / "photo.jpg"), data.astronaut()[:, :, ::-1])
    cv2.imwrite(str(tmp_path / "empty.jpg"), np.full((200, 200, 3), 127, np.uint8))
    write_scene_video(tmp_path / "clip.mp4", frames=12, size_wh=(480, 360), faces=1)
    monkeypatch.chdir(tmp_path)
    code = python_blocks(ROOT / name)
    if name == "README.md":
        code, count = re.subn(r"x_test, y_test\)(\s+#)", r"x_test, y_test, epochs=1)\1", code)
        assert count == 1
    if "epoch_batches" in code:
        pytest.importorskip("grain", exc_type=ImportError)
    exec(compile(code, name, "exec"), {"__name__": "docs"})


def commands(path: Path) -> list[list[str]]:
    """Lines of a page that call mien, without their comments."""
    lines = re.findall(r"^(?: {4}|\$ )(mien .+)$", path.read_text(encoding="utf-8"), re.M)
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.mark.parametrize("name", NAMES)
def test_commands_and_their_options_exist(name):
    for words in commands(ROOT / name):
        command = COMMANDS[words[0]]
        if words[0] == "data":
            command = command.commands[words[1]]
        known = {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
        used = {word.partition("=")[0] for word in words if word.startswith("-") and word != "-"}
        assert used <= known | {"--help"}, words


def test_no_page_is_unfinished():
    for path in PAGES:
        assert "%%" not in path.read_text(encoding="utf-8"), path.name


def test_links_between_pages_lead_somewhere():
    for path in PAGES:
        for target in re.findall(r"\]\((?!http)([^)#\s]+)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"
