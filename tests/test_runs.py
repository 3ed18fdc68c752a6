import json
import os

import pytest

from mien.errors import UsageError
from mien.runs import RunFolder, command_line, environment


def test_a_run_folder_is_named_by_time_where_no_name_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = RunFolder.create()
    assert folder.path.parent.name == "runs"
    assert folder.path.is_dir()


def test_runs_of_the_same_second_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mien.runs.time.strftime", lambda form: "20260101-000000")
    names = [RunFolder.create().path.name for _ in range(3)]
    assert names == ["20260101-000000", "20260101-000000-2", "20260101-000000-3"]


def test_an_empty_folder_is_taken_and_a_used_one_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    assert RunFolder.create(tmp_path / "empty").path == tmp_path / "empty"
    (tmp_path / "file").write_text("x")
    for used in (tmp_path, tmp_path / "file"):
        with pytest.raises(UsageError, match="already there; name a new folder"):
            RunFolder.create(used)


@pytest.mark.skipif(os.name == "nt", reason="folders below files: another error on Windows")
def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot be made"):
        RunFolder.create(tmp_path / "file" / "run")


def test_what_can_be_opened(tmp_path):
    with pytest.raises(UsageError, match=r"not a run folder \(no config\.json\)"):
        RunFolder.open(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UsageError, match="cannot be read"):
        RunFolder.open(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"data": {}}))
    with pytest.raises(UsageError, match="was trained on arrays"):
        RunFolder.open(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"data": {"path": "x"}}))
    assert RunFolder.open(tmp_path).path == tmp_path
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(UsageError, match="is complete"):
        RunFolder.open(tmp_path)


def test_the_record_holds_command_and_versions_but_no_folders(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/somewhere/bin/mien", "train", "FER2013"])
    RunFolder(tmp_path).write_config({"training": {"epochs": 3}})
    record = RunFolder(tmp_path).read_config()
    assert record["command"] == "mien train FER2013"
    assert record["training"] == {"epochs": 3}
    assert {"mien", "keras", "numpy"} <= set(environment()["versions"])
    assert command_line() == "mien train FER2013"
