import json
import os
import shlex
from pathlib import Path

import pytest

from mien.errors import UsageError
from mien.runs import RunFolder, data_of, environment
from mien.training import resume


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


def refusal(path) -> str:
    with pytest.raises(UsageError, match="already there; name a new folder") as caught:
        RunFolder.refuse_used(path)
    return str(caught.value)


def test_resuming_is_advised_only_where_it_can_be_done(tmp_path):
    (tmp_path / "file").write_text("x")
    assert "--resume" not in refusal(tmp_path / "file")
    run = tmp_path / "my run"
    run.mkdir()
    (run / "notes.txt").write_text("x")
    assert "--resume" not in refusal(run)
    (run / "config.json").write_text(json.dumps({"data": {"path": str(tmp_path)}}))
    assert refusal(run).endswith(f"go on with it: --resume {shlex.quote(str(run))}")
    (run / "metrics.json").write_text("{}")
    assert "--resume" not in refusal(run)


@pytest.mark.parametrize("record", ["{", "[]", "{}", '{"data": null}', '{"data": {}}', '{"data": {"path": "gone"}}'])
def test_resuming_is_not_advised_for_records_that_are_not_a_run_s(tmp_path, record):
    (tmp_path / "config.json").write_text(record)
    assert "--resume" not in refusal(tmp_path)


def test_a_folder_in_which_a_run_was_killed_at_its_first_file_is_taken(tmp_path):
    (tmp_path / ".config-0123456789ab.json").write_text("{")
    run = RunFolder.create(tmp_path)
    run.clear(run.leftovers())
    assert not list(tmp_path.iterdir())
    (tmp_path / ".model-0123456789ab.keras").touch()
    assert "--resume" not in refusal(tmp_path)


def test_what_killed_runs_left_half_written_is_deleted_but_not_what_others_write(tmp_path):
    dead = [".model-0123456789ab.keras", ".README-0123456789ab.md", "checkpoints/.start-0123456789ab.npz"]
    alive = [".model-ba9876543210.onnx", "checkpoints/.views-0123456789ab.npy"]
    others = [".notes-0123456789ab.txt", ".hidden", "model.keras", "checkpoints/epoch-0002/state.json"]
    for name in (*dead, *alive, *others, "checkpoints/.epoch-0003.tmp/state.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    run = RunFolder(tmp_path)
    left = run.leftovers()
    assert len(left) == 6
    (tmp_path / alive[0]).rename(tmp_path / "model.onnx")
    (tmp_path / alive[1]).write_text("more")
    run.clear(left)
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"model.onnx", alive[1], *others}
    assert not (tmp_path / "checkpoints" / ".epoch-0003.tmp").exists()


def test_a_refused_run_leaves_nothing_but_what_it_learned(tmp_path):
    for names, left in (((), False), (("start.npz",), False), (("epoch-0001/state.json",), True)):
        run = RunFolder.create(tmp_path / "run")
        run.write_config({})
        for name in names:
            (run.path / "checkpoints" / name).parent.mkdir(parents=True)
            (run.path / "checkpoints" / name).touch()
        run.discard_untrained()
        assert run.path.exists() == left
    (tmp_path / "mine").mkdir()
    run = RunFolder(tmp_path / "mine")
    run.write_config({})
    (run.path / "notes.txt").touch()
    run.discard_untrained()
    assert [path.name for path in run.path.iterdir()] == ["notes.txt"]


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
    (tmp_path / "config.json").write_text("")
    with pytest.raises(UsageError, match=r"config\.json: is empty, as the run was killed while it began"):
        RunFolder.open(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"data": {}}))
    with pytest.raises(UsageError, match="was trained on arrays"):
        RunFolder.open(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"data": {"path": "x"}}))
    assert RunFolder.open(tmp_path).path == tmp_path
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(UsageError, match="is complete"):
        RunFolder.open(tmp_path)


def test_of_two_that_begin_in_one_folder_at_the_same_moment_the_later_is_refused(tmp_path):
    first, second = RunFolder.create(tmp_path / "run"), RunFolder.create(tmp_path / "run")
    first.write_config({"training": {"epochs": 3}})
    with pytest.raises(UsageError, match="run: another process has begun a run there meanwhile; name another folder"):
        second.write_config({"training": {"epochs": 4}})
    assert first.read_config()["training"] == {"epochs": 3}


def test_the_record_is_never_there_without_what_it_says(tmp_path, monkeypatch):
    """A run that was killed in the instant between left an empty one, which nothing could go on with."""
    there, write = [], Path.write_text

    def watched(path, *arguments, **options):
        there.append((tmp_path / "run" / "config.json").exists())
        return write(path, *arguments, **options)

    run = RunFolder.create(tmp_path / "run")
    monkeypatch.setattr(Path, "write_text", watched)
    run.write_config({})
    assert there == [False]
    assert [path.name for path in run.path.iterdir()] == ["config.json"]


def test_a_record_that_cannot_be_written_leaves_the_folder_free(tmp_path, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mien.runs.write_json", full)
    run = RunFolder.create(tmp_path / "run")
    with pytest.raises(OSError, match="No space left"):
        run.write_config({})
    RunFolder.refuse_used(tmp_path / "run")


def test_data_that_is_no_longer_there_is_named_with_what_to_do(tmp_path):
    assert data_of(tmp_path, {"data": {"path": str(tmp_path)}}) == str(tmp_path)
    said = (
        r"run: its data is no longer at \S+gone; put it back or a link to it, or write where .* data\.path of \S+json"
    )
    with pytest.raises(UsageError, match=said):
        data_of(tmp_path / "run", {"data": {"path": str(tmp_path / "gone")}})


def test_a_record_of_another_version_is_a_line(tmp_path):
    record = {"data": {"path": str(tmp_path), "sha256": ""}, "training": {}, "precision": "float32"}
    for other in ({}, {"selection": {"unheard_of": 1}}):
        (tmp_path / "config.json").write_text(json.dumps({**record, **other}))
        with pytest.raises(UsageError, match=r"is no record of this version of mien \(.*(selection|unheard_of)"):
            resume(tmp_path, verbose=False)


def test_the_record_holds_command_and_versions_but_no_folders(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/somewhere/bin/mien", "train", "FER2013"])
    RunFolder(tmp_path).write_config({"training": {"epochs": 3}})
    record = RunFolder(tmp_path).read_config()
    assert record["command"] == "mien train FER2013"
    assert record["training"] == {"epochs": 3}
    assert {"mien", "keras", "numpy"} <= set(environment()["versions"])


def test_the_recorded_command_can_be_pasted(tmp_path, monkeypatch):
    arguments = ["train", "my faces", "--out", "my runs/1"]
    monkeypatch.setattr("sys.argv", ["/somewhere/bin/mien", *arguments])
    RunFolder(tmp_path).write_config({})
    assert shlex.split(RunFolder(tmp_path).read_config()["command"]) == ["mien", *arguments]


def test_what_is_no_folder_of_a_run_is_named():
    with pytest.raises(UsageError, match="run: must be the folder that 'mien train' wrote, received NoneType"):
        RunFolder.open(None)
