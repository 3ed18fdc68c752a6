"""The light half stays light: what it imports, found in its source and in a running interpreter."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mien

PACKAGE = Path(mien.__file__).parent

HEAVY = {"keras", "tensorflow", "jax", "torch", "sklearn", "matplotlib", "tf2onnx", "grain", "ray", "optuna"}
"""What the base install does not have, or what takes seconds to import."""

MAY_USE_KERAS = {
    *(
        "adopting_keras.py",
        "artefacts.py",
        "augmentation.py",
        "averaging.py",
        "backend.py",
        "fastlayers.py",
        "beginning.py",
        "checkpoints.py",
        "convertible.py",
        "degradation.py",
        "epochs.py",
        "export.py",
        "gradients.py",
    ),
    *(
        "learning.py",
        "networks.py",
        "piping.py",
        "progress.py",
        "restoring.py",
        "sharpness.py",
        "teaching.py",
        "trainee.py",
    ),
    *("training.py", "training_stages.py", "usermodels.py"),
}
"""The modules that train, which may import Keras and its kin when they are imported. All others are light."""

CLOCK = "import time; start = time.perf_counter(); import mien; print(time.perf_counter() - start)"


def imports_at_module_level(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, package) of imports that run when the module is imported: outside functions and TYPE_CHECKING."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, str(node.module).partition(".")[0]
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


def offences(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [f"{path}:{line}: imports {name}" for line, name in imports_at_module_level(tree) if name in HEAVY]


def light_modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path.relative_to(PACKAGE).as_posix() not in MAY_USE_KERAS]


def dotted(path: Path) -> str:
    parts = ("mien", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


def test_light_modules_import_nothing_heavy() -> None:
    found = [offence for path in light_modules() for offence in offences(path)]
    assert not found, "\n".join(found)


def test_the_exceptions_are_needed() -> None:
    unused = [name for name in MAY_USE_KERAS if (PACKAGE / name).exists() and not offences(PACKAGE / name)]
    missing = [name for name in MAY_USE_KERAS if not (PACKAGE / name).exists()]
    assert not unused + missing, "modules that are light after all, or gone: take them off MAY_USE_KERAS"


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("import numpy\nimport keras.ops as ops", [2]),
        ("from tensorflow.keras import layers", [1]),
        ("try:\n    import torch\nexcept ImportError:\n    pass", [2]),
        ("class A:\n    import jax", [2]),
        ("if True:\n    from sklearn import metrics", [2]),
        ("def f():\n    import keras", []),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import matplotlib", []),
        ("from . import keras_like\nimport kerastuner", []),
    ],
)
def test_the_search_finds_what_it_should(tmp_path: Path, source: str, lines: list[int]) -> None:
    path = tmp_path / "module.py"
    path.write_text(source)
    assert [int(offence.removeprefix(f"{path}:").partition(":")[0]) for offence in offences(path)] == lines


@pytest.mark.parametrize("modules", [["mien"], [dotted(path) for path in light_modules()]], ids=["mien", "all light"])
def test_importing_leaves_heavy_packages_out(modules: list[str]) -> None:
    lines = [f"import {module}" for module in modules]
    code = "\n".join([*lines, "import sys", f"print(*({HEAVY!r} & set(sys.modules)))"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_importing_mien_is_quick() -> None:
    """The promise is 0.3 s, which the benchmark measures; the bound here is for a machine that is busy."""
    times = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", CLOCK], capture_output=True, text=True, timeout=60, check=True)
        times.append(float(done.stdout))
    assert sorted(times)[1] < 1.5


def test_importing_mien_changes_nothing(tmp_path: Path) -> None:
    code = """
import os, random, sys, warnings
before = dict(os.environ), random.getstate(), list(warnings.filters)
import mien
after = dict(os.environ), random.getstate(), list(warnings.filters)
sys.exit(before != after)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir())
