"""The files of examples/cluster say what Ray and KubeRay understand, and name options that `mien predict` has."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import typer.main

from mien.cli import app

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples" / "cluster"

# Fields of KubeRay's RayJob, ray.io/v1, at the levels that the example uses: name, type.
JOB_FIELDS = {
    "entrypoint": str,
    "backoffLimit": int,
    "shutdownAfterJobFinishes": bool,
    "ttlSecondsAfterFinished": int,
    "activeDeadlineSeconds": int,
    "submissionMode": str,
    "rayClusterSpec": dict,
}
CLUSTER_FIELDS = {
    "rayVersion": str,
    "authOptions": dict,
    "enableInTreeAutoscaling": bool,
    "headGroupSpec": dict,
    "workerGroupSpecs": list,
}
HEAD_FIELDS = {"rayStartParams": dict, "template": dict}
GROUP_FIELDS = {**HEAD_FIELDS, "groupName": str, "replicas": int, "minReplicas": int, "maxReplicas": int}
CONTAINER_FIELDS = {
    "name": str,
    "image": str,
    "imagePullPolicy": str,
    "ports": list,
    "envFrom": list,
    "env": list,
    "resources": dict,
    "volumeMounts": list,
}


def text_of(name: str) -> str:
    return (EXAMPLES / name).read_text("utf-8")


@pytest.fixture(scope="module")
def job() -> Any:
    return yaml.safe_load(text_of("ray-job.yaml"))


@pytest.fixture(scope="module")
def cluster() -> Any:
    return yaml.safe_load(text_of("ray-cluster.yaml"))


def check_fields(found: Mapping[str, Any], known: Mapping[str, type]) -> None:
    """Every field is known and of its type; true is no number."""
    assert not set(found) - set(known)
    assert {name: type(value) for name, value in found.items()} == {name: known[name] for name in found}


def predict_options(command: str) -> dict[str, Any]:
    """What `mien predict` makes of a command line; it fails where an option is none."""
    program, verb, *arguments = shlex.split(command)
    assert (program, verb) == ("mien", "predict")
    predict = typer.main.get_command(app).commands["predict"]  # type: ignore[attr-defined]
    params: dict[str, Any] = predict.make_context(verb, arguments).params
    return params


def containers(pods: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pods["template"]["spec"]["containers"]
    return found


def pods_of(job: dict[str, Any]) -> list[dict[str, Any]]:
    spec = job["spec"]["rayClusterSpec"]
    return [spec["headGroupSpec"], *spec["workerGroupSpecs"]]


def test_the_cluster_file_is_what_ray_up_takes(cluster: dict[str, Any]) -> None:
    pytest.importorskip("ray")
    pytest.importorskip("jsonschema")
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(cluster))


def test_the_cluster_file_mounts_what_installing_needs(cluster: dict[str, Any]) -> None:
    mounts = {remote: local for remote, local in cluster["file_mounts"].items() if not local.startswith("~")}
    assert all((ROOT / local).exists() for local in mounts.values())
    assert {remote.removeprefix("/home/ray/mien/") for remote in mounts} == set(mounts.values())
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    named = re.findall(r'^(?:readme|license-files|path) = \[?"([^"]+)"', project, re.MULTILINE)
    assert len(named) == 3
    assert all(any(name == local or name.startswith(f"{local}/") for local in mounts.values()) for name in named)


def test_the_job_has_fields_that_kuberay_knows(job: dict[str, Any]) -> None:
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    check_fields(job["spec"], JOB_FIELDS)
    check_fields(job["spec"]["rayClusterSpec"], CLUSTER_FIELDS)
    check_fields(job["spec"]["rayClusterSpec"]["headGroupSpec"], HEAD_FIELDS)
    for group in job["spec"]["rayClusterSpec"]["workerGroupSpecs"]:
        check_fields(group, GROUP_FIELDS)
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for pods in pods_of(job):
        assert all(isinstance(value, str) for value in pods["rayStartParams"].values())
        for container in containers(pods):
            check_fields(container, CONTAINER_FIELDS)


def test_the_commented_gpu_group_is_one_too(job: dict[str, Any]) -> None:
    lines = text_of("ray-job.yaml").splitlines()
    start = next(number for number, line in enumerate(lines) if line.lstrip().startswith("# - groupName"))
    group = yaml.safe_load("\n".join(line.strip().removeprefix("# ") for line in lines[start:]))[0]
    check_fields(group, GROUP_FIELDS)
    resources = containers(group)[0]["resources"]
    assert group["rayStartParams"]["num-gpus"] == resources["limits"]["nvidia.com/gpu"]
    assert group["rayStartParams"]["num-cpus"] == resources["limits"]["cpu"]


def test_workers_have_the_cores_that_ray_is_told_of(job: dict[str, Any]) -> None:
    groups = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    for pods in pods_of(job):
        assert all(one["resources"]["requests"] == one["resources"]["limits"] for one in containers(pods))
    for group in groups:
        assert group["rayStartParams"]["num-cpus"] == containers(group)[0]["resources"]["limits"]["cpu"]
    cores = sum(group["replicas"] * int(group["rayStartParams"]["num-cpus"]) for group in groups)
    assert predict_options(job["spec"]["entrypoint"])["workers"] == cores


def commands() -> list[str]:
    """Every `mien predict` that a file of the folder names, continued lines joined."""
    found = [yaml.safe_load(text_of("ray-job.yaml"))["spec"]["entrypoint"]]
    for name in ("ray-cluster.yaml", "README.md"):
        text = re.sub(r"\\\n#?\s*", "", text_of(name))
        found += re.findall(r"(?:^|-- |\$ )(mien predict (?!--help)[^'`#\n]+)", text, re.MULTILINE)
    return found


def test_commands_have_options_that_there_are() -> None:
    assert len(commands()) > 3
    for command in commands():
        options = predict_options(command)
        assert options["engine"] == "ray"
        assert options["out"]
        assert options["resume"], f"{command}: jobs are started again"


def test_the_versions_of_ray_agree(job: dict[str, Any]) -> None:
    texts = [text_of(name) for name in ("Containerfile", "ray-cluster.yaml", "ray-job.yaml", "README.md")]
    pattern = r"(?:rayproject/ray:|ray\[default\]==|mien-ray(?:-gpu)?:|rayVersion: \")(\d+\.\d+\.\d+)"
    found = [set(re.findall(pattern, text)) for text in texts]
    assert found == [found[0]] * 4
    (version,) = found[0]
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == version
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    bounds = re.findall(r'"ray\[data\]>=(\d+)\.(\d+)"', project)
    assert bounds
    assert all(tuple(map(int, version.split(".")[:2])) >= tuple(map(int, bound)) for bound in bounds)


def test_images_have_one_python(cluster: dict[str, Any]) -> None:
    base = re.search(r"^FROM (\S+)$", text_of("Containerfile"), re.MULTILINE)
    assert base is not None
    assert base[1] == cluster["docker"]["image"]
