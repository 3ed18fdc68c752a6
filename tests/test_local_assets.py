"""What the page's own engine fetches from the service: the list of models, the models, the detector."""

import hashlib
import json

import onnx
import pytest

from mien.faces.graphs import output_network, proposal_network, refinement_network
from mien.modelspec import ModelSpec
from mien.server import Analyzers, pages
from mien.server.web_assets import runs_in_browsers
from mien.server.web_models import WebModel, file_names, manifest
from mien.weights import find_model
from models import save_brightness
from services import FakeAnalyzers, ask, check_problem

MODELS = "/page/models/"


class Served:
    """What the service keeps of a model."""

    def __init__(self, name, path):
        self.name, self.path, self.model = name, path, self
        self.spec = ModelSpec(("calm", "cross"), "fake", 3, crop_margin=0.25, temperature=1.5)


@pytest.fixture(scope="module")
def analyzers() -> Analyzers:
    return Analyzers()


@pytest.fixture
def mixed(tmp_path) -> FakeAnalyzers:
    """A Keras model, which no browser runs, and two .onnx, one with a name that no address can have."""
    fakes = FakeAnalyzers()
    for name in ("usual.keras", "p-net.ONNX", "plain.onnx"):
        path = tmp_path / name
        path.write_bytes(name.encode())
        fakes.models[path.stem] = Served(path.stem, path)
    return fakes


def get(address, analyzers=None, **more):
    return ask(lambda client: client.get(address, **more), analyzers)


def test_the_manifest_describes_the_models_as_their_files_do(analyzers) -> None:
    answer = get(MODELS + "manifest.json", analyzers)
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    assert [(one["name"], one["default"]) for one in document["models"]] == [("mien-small", True)]
    for one in document["models"]:
        spec = ModelSpec.from_onnx(find_model(one["name"]))
        assert one["file"] == f"{one['name']}.onnx"
        assert one["classes"] == list(spec.classes)
        assert (one["size"], one["channels"]) == (spec.input.size, spec.input.channels)
        assert (one["crop_margin"], one["temperature"]) == (spec.crop_margin, spec.temperature)
    assert document["detector"] == {"proposal": "p-net.onnx", "refinement": "r-net.onnx", "output": "o-net.onnx"}


def test_every_file_that_the_manifest_names_is_there(analyzers) -> None:
    async def talk(client):
        document = (await client.get(MODELS + "manifest.json")).json()
        names = [one["file"] for one in document["models"]] + list(document["detector"].values())
        return {name: await client.get(MODELS + name) for name in names}

    answers = ask(talk, analyzers)
    networks = {"p-net": proposal_network(), "r-net": refinement_network(), "o-net": output_network()}
    networks["mien-small"] = find_model("mien-small").read_bytes()
    assert set(answers) == {f"{name}.onnx" for name in networks}
    for name, data in networks.items():
        answer = answers[f"{name}.onnx"]
        assert answer.status_code == 200
        assert answer.content == data
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["etag"] == f'"{hashlib.sha256(data).hexdigest()}"'
        assert answer.headers["cache-control"] == "no-cache"
    assert onnx.load_from_string(answers["p-net.onnx"].content).graph.node


@pytest.mark.parametrize("name", ["manifest.json", "mien-small.onnx", "o-net.onnx"])
def test_what_the_browser_has_is_not_sent_again_and_head_sends_nothing(analyzers, name) -> None:
    async def talk(client):
        whole, head = await client.get(MODELS + name), await client.head(MODELS + name)
        again = await client.get(MODELS + name, headers={"if-none-match": f'"old", {whole.headers["etag"]}'})
        changed = await client.get(MODELS + name, headers={"if-none-match": '"old"'})
        return whole, head, again, changed

    whole, head, again, changed = ask(talk, analyzers)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == whole.headers["content-length"]
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == whole.headers["etag"]
    assert (changed.status_code, changed.content) == (200, whole.content)


def test_only_what_a_browser_can_run_is_listed(mixed) -> None:
    async def talk(client):
        listed = (await client.get(MODELS + "manifest.json")).json()["models"]
        odd = await client.get(MODELS + "p-net.onnx")
        return listed, [await client.get(MODELS + one["file"]) for one in listed], odd

    listed, answers, odd = ask(talk, mixed)
    assert [(one["name"], one["file"], one["default"]) for one in listed] == [
        ("p-net", "model-1.onnx", True),
        ("plain", "plain.onnx", False),
    ]
    assert [answer.content for answer in answers] == [b"p-net.ONNX", b"plain.onnx"]
    assert odd.content == proposal_network(), "a model's name does not take the detector's place"
    assert (listed[0]["crop_margin"], listed[0]["temperature"]) == (0.25, 1.5)


def test_the_browser_gets_the_models_that_the_service_opened(tmp_path) -> None:
    path = save_brightness(tmp_path / "own.onnx", ("dark", "bright"), (0.0, 1.0))
    first = path.read_bytes()
    analyzers = Analyzers(path)  # a single one may stand alone

    async def talk(client):
        path.write_bytes(b"being trained anew")
        return await client.get(MODELS + "own.onnx"), await client.get(MODELS + "manifest.json")

    answer, listed = ask(talk, analyzers)
    assert answer.content == first
    assert listed.json()["models"][0]["classes"] == ["dark", "bright"]


@pytest.mark.parametrize("name", ["usual.onnx", "usual.keras", "manifest.txt", "", "..%2fmanifest.json", "p-net"])
def test_nothing_else_is_there(mixed, name) -> None:
    check_problem(get(MODELS + name, mixed), 404, "not-found")


def test_names_that_cannot_stand_in_an_address_become_numbers(tmp_path) -> None:
    names = ["a", "my model", "model-2", "..", "o-net", "é", "a.b-c_1", "#?", "R-NET"]
    models = [WebModel(name, tmp_path, Served(name, tmp_path).spec) for name in names]
    files = file_names(models)
    assert files == (
        *("a.onnx", "model-2.onnx", "model-3.onnx", "model-4.onnx", "model-5.onnx"),
        *("model-6.onnx", "a.b-c_1.onnx", "model-8.onnx", "model-9.onnx"),
    )
    assert len(set(files)) == len(names)
    assert [one["name"] for one in manifest(models)["models"]] == names
    json.dumps(manifest(models), allow_nan=False)


def test_models_are_no_part_of_the_rest_interface(analyzers) -> None:
    paths = get("/openapi.json", analyzers).json()["paths"]
    assert not [path for path in paths if path.startswith("/page")]


@pytest.mark.parametrize(
    ("files", "local"),
    [
        (("ort/a.wasm", "local/engine.js"), True),
        (("ort/a.wasm",), False),
        (("ort/LICENSE", "ort/a.mjs", "local/engine.js"), False),
        (("local/engine.js",), False),
    ],
)
def test_the_page_offers_the_browser_where_all_of_it_is_there(tmp_path, files, local) -> None:
    for name in files:
        path = tmp_path / "page" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    told = {route.path: route for route in pages.router({"local": True}, tmp_path).routes}["/page/config.json"]
    refused = {route.path: route for route in pages.router({"local": False}, tmp_path).routes}["/page/config.json"]
    assert config_of(told) == {"local": local}
    assert config_of(refused) == {"local": False}


def config_of(route):
    call = route.endpoint()
    with pytest.raises(StopIteration) as ended:
        call.send(None)
    return json.loads(ended.value.value.body)


def test_keras_models_alone_are_not_offered_to_the_browser(mixed) -> None:
    assert runs_in_browsers(mixed)
    mixed.models = {"usual": mixed.models["usual"]}
    assert not runs_in_browsers(mixed)
    assert get("/page/config.json", mixed).json()["local"] is False
