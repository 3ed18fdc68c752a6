"""What `import mien` promises."""

import ast
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import mien

SOURCE = Path(mien.__file__)


def test_all_names_exist_and_are_what_their_modules_define():
    for name in mien.__all__:
        assert getattr(mien, name) is not None
        home = mien._HOMES.get(name)
        if home:
            module = __import__(f"mien.{home}", fromlist=[name])
            assert getattr(module, name) is getattr(mien, name)


def test_all_equals_what_is_loaded_lazily():
    assert sorted(mien.__all__) == sorted([*mien._HOMES, "EXPRESSIONS", "__version__"])
    assert dir(mien) == sorted(mien.__all__)


def test_type_checkers_see_the_same_names():
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    imported = {
        (alias.name, statement.module.removeprefix("mien."))
        for statement in guarded.body
        if isinstance(statement, ast.ImportFrom) and statement.module != "mien"
        for alias in statement.names
    }
    assert imported == set(mien._HOMES.items())


def test_type_checkers_see_the_modules_and_no_name_that_is_not_there():
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    guarded = [node for node in tree.body if isinstance(node, ast.If)]
    modules = next(one for one in guarded[0].body if isinstance(one, ast.ImportFrom) and one.module == "mien")
    assert all(alias.asname == alias.name for alias in modules.names)  # so that they count as exported
    assert {"faces", "datasets", "tracking", "sources"} <= {alias.name for alias in modules.names}
    assert all(find_spec(f"mien.{alias.name}") for alias in modules.names)
    hidden = [one.name for one in guarded[1].body if isinstance(one, ast.FunctionDef)]
    assert (ast.unparse(guarded[1].test), hidden) == ("not TYPE_CHECKING", ["__getattr__"])


def test_an_unknown_name_lists_the_known():
    with pytest.raises(AttributeError, match="it has EXPRESSIONS") as caught:
        mien.sota  # noqa: B018
    assert (caught.value.name, caught.value.obj) == ("sota", mien)  # by which Python says what may be meant


def test_modules_need_no_import_of_their_own():
    code = "import mien; mien.faces.MTCNN; mien.datasets.open_dataset; mien.labels.EXPRESSIONS"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_keras_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "keras", None)
    monkeypatch.delitem(__import__("sys").modules, "mien.networks", raising=False)
    monkeypatch.delitem(mien.__dict__, "network", raising=False)
    with pytest.raises(mien.MissingExtraError, match=r"pip install 'mien\[train\]'"):
        mien.network  # noqa: B018


def test_expressions_are_in_alphabetical_order():
    assert list(mien.EXPRESSIONS) == sorted(mien.EXPRESSIONS)
    assert len(mien.EXPRESSIONS) == 7
