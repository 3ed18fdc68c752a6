"""``mien info``: what this machine has for mien to work with, or what a model file says of itself."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from mien.errors import many

PACKAGES: dict[str, tuple[str, ...]] = {
    "numpy": ("numpy",),
    "onnx": ("onnx",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino"),
    "opencv": ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"),
    "pillow": ("pillow",),
    "mtcnn (weights)": ("mtcnn",),
    "pyav": ("av",),
    "pyarrow": ("pyarrow",),
    "pillow-heif": ("pillow-heif",),
    "scikit-learn": ("scikit-learn",),
    "matplotlib": ("matplotlib",),
    "keras": ("keras",),
    "tensorflow": ("tensorflow", "tensorflow-cpu"),
    "litert": ("ai-edge-litert",),
    "openvino": ("openvino",),
    "jax": ("jax",),
    "torch": ("torch",),
}
"""What is reported, and the distributions that may provide it."""

CPU_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16")
"""The flags of /proc/cpuinfo that decide what training and reading can use."""


def info_command(
    model: Annotated[
        Path | None, typer.Argument(metavar="MODEL", help="A model file, or a bundled name.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")] = False,
) -> None:
    """Tell versions, backends, devices, bundled models and the size of the cache; of a MODEL, what it is."""
    if model is not None:
        from mien.cli.model_lines import model_lines
        from mien.modelfacts import read_facts

        found = read_facts(model)
        facts, lines = found.to_dict(), model_lines(found)
    else:
        facts = collect()
        lines = _lines(facts)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
    else:
        _print_table(lines)


def collect() -> dict[str, Any]:
    """Everything that ``mien info`` tells, JSON-ready; nothing heavy is imported, and what is not there is None."""
    import onnxruntime

    from mien import __version__
    from mien.datasets import cache
    from mien.sessions import available_devices

    return {
        "mien": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _installed(distributions) for name, distributions in PACKAGES.items()},
        "keras_backend": _keras_backend(),
        "cpu": _cpu(Path("/proc/cpuinfo")),
        "gpus": _gpus(Path("/proc/driver/nvidia/gpus")),
        "devices": available_devices(),
        "providers": onnxruntime.get_available_providers(),
        "models": sorted(path.stem for path in (Path(__file__).parents[1] / "weights").glob("*.onnx")),
        "cache": {"path": str(cache.cache_folder()), "bytes": cache.cache_bytes()},
    }


def _installed(distributions: Iterable[str]) -> str | None:
    """The version of the first distribution that is installed, read without importing it."""
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _keras_backend() -> str:
    """What Keras will use: the environment, else its own settings file, else TensorFlow."""
    chosen = os.environ.get("KERAS_BACKEND")
    if chosen:
        return chosen
    settings = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "keras.json"
    try:
        return str(json.loads(settings.read_text(encoding="utf-8"))["backend"])
    except (OSError, ValueError, KeyError, TypeError):
        return "tensorflow"


def _cpu(cpuinfo: Path) -> dict[str, Any]:
    """Model, usable cores, and the features of `CPU_FEATURES` that it has; these only where Linux tells them."""
    from mien.cores import usable_cores

    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    return {
        "model": fields.get("model name") or platform.processor() or platform.machine(),
        "cores": usable_cores(),
        "features": [feature for feature in CPU_FEATURES if feature in flags],
    }


def _gpus(folder: Path) -> list[str]:
    """Names of NVIDIA GPUs, as their Linux driver tells them."""
    names = []
    for path in sorted(folder.glob("*/information")):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        names += [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
    return names


def _print_table(lines: Iterable[tuple[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in lines:
        table.add_row(name, Text(value))
    Console(emoji=False).print(table)


def _lines(facts: dict[str, Any]) -> list[tuple[str, str]]:
    cpu, cache = facts["cpu"], facts["cache"]
    return [
        ("mien", facts["mien"]),
        ("python", f"{facts['python']} on {facts['platform']}"),
        *((name, version or "not installed") for name, version in facts["packages"].items()),
        ("Keras backend", facts["keras_backend"]),
        (
            "CPU",
            f"{cpu['model']}, {many(cpu['cores'], 'core')}" + "".join(f", {feature}" for feature in cpu["features"]),
        ),
        ("GPU", ", ".join(facts["gpus"]) or "none found"),
        ("devices", f"{', '.join(facts['devices'])} (ONNX Runtime: {', '.join(facts['providers'])})"),
        ("bundled models", ", ".join(facts["models"]) or "none yet"),
        ("cache", f"{cache['path']} ({cache['bytes'] / 1e6:,.1f} MB)"),
    ]
