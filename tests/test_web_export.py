"""The page as a folder: what is in it, what is refused, that it is there whole or not at all."""

import errno
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from mien import __version__
from mien.classifier import Classifier
from mien.cli import export, main
from mien.errors import ModelError, UsageError
from mien.faces.graphs import output_network
from mien.modelspec import ModelSpec, copy_onnx
from mien.server import pages, web_export
from mien.server.web_export import RUNTIME, STATIC, export_page
from mien.weights import find_model
from models import save_brightness

ROOT = Path(__file__).parent.parent
LEFT_OUT = "keras", "tensorflow", "sklearn", "fastapi", "starlette", "uvicorn"


@pytest.fixture(scope="module")
def static(tmp_path_factory) -> Path:
    """The page's files, with stand-ins for those of onnxruntime-web."""
    folder = tmp_path_factory.mktemp("package") / "static"
    shutil.copytree(STATIC, folder, ignore=shutil.ignore_patterns("ort"))
    (folder / "page" / "ort").mkdir()
    for name in (*RUNTIME, ".version-1"):
        (folder / "page" / "ort" / name).write_text(f"stands in for {name}")
    (folder / "page" / ".git").mkdir()
    (folder / "page" / ".git" / "notes.txt").write_text("hidden")
    return folder


@pytest.fixture(autouse=True)
def complete(static, monkeypatch) -> None:
    monkeypatch.setattr(web_export, "STATIC", static)


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Path:
    return save_brightness(tmp_path_factory.mktemp("model") / "own.onnx", ("dark", "bright"), (0.0, 1.0))


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def run(*words) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["export", *map(str, words)])
    return int(ended.value.code or 0)


def test_everything_the_page_needs_is_in_it(static, tmp_path) -> None:
    folder = export_page("mien-small", tmp_path / "site")
    assert folder == tmp_path / "site"
    found = contents(folder)
    page = {address.strip("/") or "index.html": path for address, path in pages.listed(static).items()}
    assert {"page/local/engine.js", "page/ort/ort-wasm-simd-threaded.wasm", "index.html"} <= set(page)
    made = {"LICENSE", "page/config.json", "page/ort/LICENSE", "page/models/LICENSE-mtcnn", "page/models/manifest.json"}
    made |= {f"page/models/{name}.onnx" for name in ("mien-small", "p-net", "r-net", "o-net")}
    assert set(found) == set(page) | made
    for name, path in page.items():
        assert found[name] == path.read_bytes()
    named = re.findall(r'(?:src|href)="(page/[^"]+)"', found["index.html"].decode())
    assert named
    assert set(named) <= set(found)
    config = {"service": False, "local": True, "token": False, "version": __version__}
    assert json.loads(found["page/config.json"]) == config


def test_the_manifest_describes_the_model_and_names_files_that_run(own, tmp_path) -> None:
    models = export_page(own, tmp_path / "site") / "page" / "models"
    document = json.loads((models / "manifest.json").read_text())
    [one] = document["models"]
    spec = ModelSpec.from_onnx(models / one["file"])
    assert one == {
        "name": "own",
        "file": "own.onnx",
        "classes": list(spec.classes),
        "size": 8,
        "channels": 1,
        "crop_margin": spec.crop_margin,
        "temperature": spec.temperature,
        "default": True,
    }
    assert (models / "own.onnx").read_bytes() == own.read_bytes()
    assert (models / document["detector"]["output"]).read_bytes() == output_network()
    session = onnxruntime.InferenceSession(models / document["detector"]["proposal"])
    [cells] = session.run(None, {"pixels": np.zeros((1, 12, 14, 3), np.uint8)})
    assert cells.shape == (1, 5, 1, 2)


def test_weights_in_a_file_beside_the_model_are_taken_along(tmp_path) -> None:
    apart = tmp_path / "apart.onnx"
    onnx.save(onnx.load(find_model()), apart, save_as_external_data=True, location="weights.bin")
    assert (tmp_path / "weights.bin").stat().st_size > 10 * apart.stat().st_size
    models = export_page(apart, tmp_path / "site") / "page" / "models"
    (tmp_path / "weights.bin").unlink()
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 1), np.uint8)
    expected = Classifier(find_model()).predict(images)
    np.testing.assert_allclose(Classifier(models / "apart.onnx").predict(images), expected, atol=1e-6)
    with pytest.raises(ModelError, match="its weights lie in files beside it, which cannot be read"):
        copy_onnx(apart, tmp_path / "copy.onnx")


def test_licences_are_in_it(tmp_path) -> None:
    folder = export_page("mien-small", tmp_path / "site")
    assert (folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    texts = {"page/ort/LICENSE": "Microsoft Corporation", "page/models/LICENSE-mtcnn": "Iván de Paz Centeno"}
    for name, owner in texts.items():
        text = (folder / name).read_text(encoding="utf-8")
        assert owner in text
        assert "without restriction" in text
        assert "this permission notice shall be included" in text


def test_others_on_the_machine_can_read_it_as_any_folder(tmp_path) -> None:
    (tmp_path / "usual").mkdir()
    (tmp_path / "usual" / "file").touch()
    folder = export_page("mien-small", tmp_path / "site")
    assert folder.stat().st_mode == (tmp_path / "usual").stat().st_mode
    modes = {path.stat().st_mode for path in folder.rglob("*") if path.is_file()}
    assert modes == {(tmp_path / "usual" / "file").stat().st_mode}


def test_without_a_name_it_goes_beside_the_model(own, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert export_page("mien-small") == Path("mien-small-web")
    assert (tmp_path / "mien-small-web" / "index.html").is_file()
    copied = Path(shutil.copy(own, tmp_path / "my model.v2.onnx"))
    folder = export_page(copied)
    assert folder == tmp_path / "my model.v2-web"
    assert (folder / "page" / "models" / "model-1.onnx").read_bytes() == own.read_bytes()


def test_an_empty_folder_is_filled(tmp_path) -> None:
    (tmp_path / "site").mkdir()
    assert (export_page("mien-small", tmp_path / "site") / "index.html").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_a_folder_with_files_is_left_alone(tmp_path) -> None:
    target = tmp_path / "site"
    target.mkdir()
    (target / "thesis.txt").write_text("years of work")
    with pytest.raises(
        UsageError, match="is not empty; name another folder, or replace an earlier export with --force"
    ):
        export_page("mien-small", target)
    with pytest.raises(UsageError, match=r"is no earlier export, .* it holds thesis\.txt"):
        export_page("mien-small", target, force=True)
    assert contents(target) == {"thesis.txt": b"years of work"}
    (target / "thesis.txt").rename(target / "index.html")
    with pytest.raises(UsageError, match="is no earlier export"):
        export_page("mien-small", target, force=True)


def test_force_replaces_an_earlier_export_as_a_whole(own, tmp_path) -> None:
    target = export_page("mien-small", tmp_path / "site")
    (target / "page" / "old.js").write_text("of an earlier version")
    with pytest.raises(UsageError, match="is not empty"):
        export_page(own, target)
    export_page(own, target, force=True)
    found = contents(target)
    assert "page/models/own.onnx" in found
    assert not {"page/old.js", "page/models/mien-small.onnx"} & set(found)
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_what_cannot_be_a_target_is_refused(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(UsageError, match="is not a folder"):
        export_page("mien-small", tmp_path / "file", force=True)
    with pytest.raises(UsageError, match=r"file.site: cannot be written \(.+\); name one that you can write"):
        export_page("mien-small", tmp_path / "file" / "site")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for folder in (".", "..", tmp_path):
        with pytest.raises(UsageError, match="is the folder you are in"):
            export_page("mien-small", folder, force=True)
    assert contents(tmp_path) == {"file": b"kept"}


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_nothing_half_made_stays(tmp_path, monkeypatch, failure) -> None:
    earlier = contents(export_page("mien-small", tmp_path / "site"))

    def fail():
        raise failure

    monkeypatch.setattr(web_export, "detector_graphs", fail)
    for target in ("site", "other"):
        with pytest.raises((UsageError, KeyboardInterrupt), match=r"No space left on device|^$"):
            export_page("mien-small", tmp_path / target, force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
    assert contents(tmp_path / "site") == earlier


def test_a_full_disk_is_named(tmp_path, monkeypatch) -> None:
    def fail(source, place):
        raise OSError(errno.ENOSPC, "No space left on device", str(place))

    monkeypatch.setattr(shutil, "copyfile", fail)
    with pytest.raises(UsageError, match=r"site: cannot be written \(No space left on device\)"):
        export_page("mien-small", tmp_path / "site")
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_export_comes_back_where_the_new_one_cannot_take_its_place(tmp_path, monkeypatch) -> None:
    earlier = contents(export_page("mien-small", tmp_path / "site"))
    usual = Path.rename

    def rename(path, target):
        if path.name.endswith("-new"):
            raise OSError(errno.EBUSY, "Device or resource busy")
        return usual(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(UsageError, match="Device or resource busy"):
        export_page("mien-small", tmp_path / "site", force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
    assert contents(tmp_path / "site") == earlier


@pytest.mark.parametrize("missing", RUNTIME)
def test_without_onnxruntime_web_it_says_how_to_get_it(static, tmp_path, monkeypatch, missing) -> None:
    partial = tmp_path / "static"
    shutil.copytree(static, partial)
    (partial / "page" / "ort" / missing).unlink()
    monkeypatch.setattr(web_export, "STATIC", partial)
    with pytest.raises(UsageError, match=rf"missing: {re.escape(missing)}.*run 'make web'"):
        export_page("mien-small", tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_models_that_a_browser_cannot_run_are_refused(tmp_path) -> None:
    with pytest.raises(UsageError, match=r"runs \.onnx models, received '\.keras'; .*mien export .* --format onnx"):
        export_page(tmp_path / "model.keras", tmp_path / "site")
    with pytest.raises(UsageError, match="no such file"):
        export_page(tmp_path / "nothing.onnx", tmp_path / "site")
    (tmp_path / "broken.onnx").write_bytes(b"broken")
    with pytest.raises(ModelError):
        export_page(tmp_path / "broken.onnx", tmp_path / "site")
    with pytest.raises(ModelError, match="has no 'mien' metadata"):
        export_page(save_brightness(tmp_path / "a.onnx", "ab", (0, 1), described=False), tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_the_command_says_where_it_is_and_how_to_look_at_it(tmp_path, capsys) -> None:
    assert run("mien-small", "--format", "web", "--out", tmp_path / "site") == 0
    said = capsys.readouterr()
    assert re.fullmatch(rf"{re.escape(str(tmp_path / 'site'))}  \(\d+\.\d\d MB\)\n", said.out)
    assert f"python -m http.server --directory {tmp_path / 'site'}" in said.err
    assert run("mien-small", "-f", "web", "-o", tmp_path / "site") == 2
    assert "--force" in capsys.readouterr().err
    assert run("mien-small", "-f", "web", "-o", tmp_path / "site", "--force") == 0


def test_the_command_refuses_what_does_not_go_together(tmp_path, capsys) -> None:
    assert run("mien-small", "-f", "web", "--precision", "int8", "-o", tmp_path / "site") == 2
    assert "precision: is not for the format web" in capsys.readouterr().err
    assert run("mien-small", "-f", "wbe") == 2
    assert "'wbe'; choose from h5, keras, litert, onnx, web" in capsys.readouterr().err


def test_the_command_knows_all_formats_that_keras_writes() -> None:
    text = (ROOT / "src" / "mien" / "export.py").read_text(encoding="utf-8")
    table = re.search(r"^WRITERS: .*?^}", text, re.M | re.S)
    assert table
    assert set(export.FORMATS) == {*re.findall(r'^    "(\w+)": \(', table[0], re.M), "web"}


def test_it_needs_neither_keras_nor_a_web_framework(static, tmp_path) -> None:
    code = f"""
import sys
from pathlib import Path
for name in {LEFT_OUT!r}:
    sys.modules[name] = None  # importing it fails, as where it is not installed
from mien.cli import app
from mien.server import web_export
web_export.STATIC = Path({str(static)!r})
app(["export", "mien-small", "--format", "web", "--out", "site"], standalone_mode=False)
print([name for name in sys.modules if sys.modules[name] and name.partition(".")[0] in {LEFT_OUT!r}])
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert (tmp_path / "site" / "page" / "models" / "mien-small.onnx").read_bytes() == find_model().read_bytes()


def test_make_web_brings_the_files_that_the_export_wants() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.findall(r"^ORT_WEB_FILES := (.+)$", text, re.M)[0].split() == list(RUNTIME)
    assert "licences/onnxruntime-web.txt" in text
