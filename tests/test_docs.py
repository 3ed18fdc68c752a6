"""Every Python block in README and docs runs as it stands; every command in them exists."""

import base64
import re
import shlex
import shutil
import subprocess
from contextlib import contextmanager
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

SERVICE = "http://127.0.0.1:8000"
"""Where the examples look for `mien serve`."""


def python_blocks(path: Path) -> str:
    """All Python of a page, in order: later blocks may use what earlier ones made."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name == "docs/batch.md" else [])
        for name in NAMES
        if python_blocks(ROOT / name)
    ],
)
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
    with asked(code) as code:
        exec(compile(code, name, "exec"), {"__name__": "docs"})


@contextmanager
def asked(code):
    """The code, with a service there that it asks for faces."""
    if SERVICE not in code:
        yield code
        return
    from services import listening

    with listening() as (host, port):
        yield code.replace(SERVICE, f"http://{host}:{port}")


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
def test_javascript_asks_the_service():
    page = (ROOT / "docs/serving.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"^```js\n(.*?)^```", page, re.M | re.S))
    picture = base64.b64encode(cv2.imencode(".png", np.zeros((16, 24, 3), np.uint8))[1]).decode()
    code += f"""
        const bytes = Buffer.from("{picture}", "base64");
        const found = await analyze([new File([bytes], "a.png"), new File(["no picture"], "b.png")]);
        console.log(found.map(({{ source, faces, error }}) => [source, faces?.length ?? error.status]).join(" "));
    """
    with asked(code) as code:
        command = ["node", "--input-type=module", "--eval", code]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert answer.stdout == "a.png,1 b.png,415\n", answer.stderr


def test_the_example_proxy_passes_the_hosts_port_on():
    """Without it, the page's requests look like those of another site wherever the port is not 443."""
    assert "proxy_set_header Host $http_host;" in (ROOT / "examples/serve/nginx.conf").read_text(encoding="utf-8")


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
