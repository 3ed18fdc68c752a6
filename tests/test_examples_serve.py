"""The files of examples/serve name options, variables and addresses that `mien serve` has."""

import re
from pathlib import Path

import pytest
import typer.main

from mien.cli import app
from mien.server import Analyzers, create_app

EXAMPLES = Path(__file__).parents[1] / "examples" / "serve"
FILES = sorted(path for path in EXAMPLES.iterdir() if path.is_file())
ELSEWHERE = {"MIEN_CACHE"}
"""Variables that the library reads, not the command."""


@pytest.fixture(scope="module")
def options():
    command = typer.main.get_command(app).commands["serve"]
    return [one for one in command.params if one.param_type_name == "option"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_options_and_variables_are_those_of_the_command(path, options) -> None:
    text = path.read_text(encoding="utf-8")
    named = [line for line in text.splitlines() if "mien serve" in line or "--keep-alive" in line]
    flags = set(re.findall(r"(?<!\S)--[a-z-]+", "\n".join(named)))
    variables = set(re.findall(r"\bMIEN_[A-Z_]+\b", text)) - ELSEWHERE
    assert flags <= {flag for one in options for flag in one.opts}
    assert variables <= {one.envvar for one in options}
    assert variables or flags, "nothing was compared"


def test_addresses_are_those_of_the_service() -> None:
    found = set(create_app(Analyzers()).openapi()["paths"])
    for path in FILES:
        named = set(re.findall(r"(?<![\w./])/(?:v1|health|metrics)[a-z0-9/]*", path.read_text(encoding="utf-8")))
        assert named <= found, path.name


def test_kubernetes_gives_requests_the_time_to_end(options) -> None:
    yaml = pytest.importorskip("yaml")
    documents = list(yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text(encoding="utf-8")))
    deployment, service, _ = documents
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    shutdown = next(one.default for one in options if one.name == "shutdown_timeout")
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > pause + shutdown
    assert pod["enableServiceLinks"] is False
    assert service["spec"]["selector"] == deployment["spec"]["template"]["metadata"]["labels"]
    mounted = {one["name"] for one in container["volumeMounts"]}
    assert mounted == {one["name"] for one in pod["volumes"]}
