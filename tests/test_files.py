import errno
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from mien.errors import UsageError
from mien.files import check_writable, replacing, temporaries, write_json, write_text


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path):
    target = tmp_path / "file.txt"
    write_text(target, "old")

    def fail() -> None:
        with replacing(target) as temporary:
            temporary.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


def test_what_is_being_written_is_told_from_other_files_by_its_name(tmp_path):
    for name in (".model-0123456789ab.h5", ".mine-0123456789ab.keras", ".model-01.keras", "model-0123456789ab.keras"):
        (tmp_path / name).touch()
    (tmp_path / ".model-0123456789ab.keras").mkdir()
    with replacing(tmp_path / "model.keras") as one, replacing(tmp_path / "start.npz") as other:
        assert temporaries(tmp_path, ["model.keras", "*.npz", "other.json"]) == [one, other]
    assert temporaries(tmp_path, ["model.keras", "*.npz"]) == []
    assert temporaries(tmp_path / "none", ["model.keras"]) == []


@pytest.mark.parametrize("links", [True, False])
def test_of_several_that_write_a_new_file_at_one_moment_one_succeeds(tmp_path, monkeypatch, links):
    if not links:  # as on FAT
        monkeypatch.setattr("mien.files.os.link", raising(OSError(errno.EPERM, "Operation not permitted")))
    target = tmp_path / "run" / "config.json"

    def write(number):
        try:
            write_json(target, number, new=True)
        except FileExistsError:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        (winner,) = [number for number in pool.map(write, range(1, 17)) if number]
    assert json.loads(target.read_text()) == winner
    assert list(target.parent.iterdir()) == [target]


def raising(error):
    def fail(*_):
        raise error

    return fail


def test_text_and_json_keep_unicode_and_make_folders(tmp_path):
    write_json(tmp_path / "a" / "b.json", {"name": "Gesicht é"})
    assert json.loads((tmp_path / "a" / "b.json").read_text(encoding="utf-8")) == {"name": "Gesicht é"}
    assert "é" in (tmp_path / "a" / "b.json").read_text(encoding="utf-8")


def test_names_that_are_no_utf8_are_escaped(tmp_path):
    write_json(tmp_path / "a.json", {"name": "caf\udce9"})
    assert (tmp_path / "a.json").read_bytes() == b'{\n  "name": "caf\\udce9"\n}\n'
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"name": "caf\udce9"}


def test_a_folder_or_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(UsageError, match="is a folder; name a file"):
        write_text(tmp_path, "x")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot be written"):
        write_text(tmp_path / "file" / "below.txt", "x")


def test_whether_a_file_can_be_written_is_found_out_without_touching_it(tmp_path):
    path = tmp_path / "new" / "rows.csv"
    check_writable(path)
    assert list(path.parent.iterdir()) == []
    path.write_text("kept")
    check_writable(path)
    assert path.read_text() == "kept"
    for wrong, message in ((path.parent, "is not a file"), (path / "under.csv", "cannot be written")):
        with pytest.raises(UsageError, match=message):
            check_writable(wrong)


def test_a_full_disk_is_told_with_the_file_and_other_errors_are_left_alone(tmp_path):
    with pytest.raises(OSError, match="No space left") as full, replacing(tmp_path / "model.onnx"):
        raise OSError(errno.ENOSPC, "No space left on device")  # as writing does, without a name
    assert full.value.filename == str(tmp_path / "model.onnx")
    with pytest.raises(ConnectionResetError) as other, replacing(tmp_path / "model.onnx"):
        raise ConnectionResetError(errno.ECONNRESET, "reset")
    assert other.value.filename is None
    assert list(tmp_path.iterdir()) == []
