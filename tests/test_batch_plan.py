"""Plans and settings: all that was found is in exactly one part, can be read again, and damage is said."""

import json
import os
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

import mien.batch.plan
import mien.batch.tars
from batches import CENTRES, CLASSES, FullDisk, png, tar_bytes, value_of, write, write_parquet
from mien.batch import run_batch
from mien.batch.plan import ITEMS, PARTS, Part, PlanError, good_size, make_plan, read_items, read_parts
from mien.batch.reading import entries_of
from mien.batch.settings import RUN, ModelFile, Settings, Workers, begin, check_folder, describe, read_run
from mien.batch.stores import Store
from mien.errors import DataError, UsageError
from mien.frames import Reading
from models import save_brightness


@pytest.fixture
def folder(tmp_path):
    """The folder of a run."""
    return Store.open(str(tmp_path / "run"))


def plan(folder: Store, *sources: object, **settings: object) -> list[Part]:
    """Make a plan and read it again."""
    count = make_plan(folder, list(sources), settings=Settings(**settings), workers=1)
    parts = read_parts(folder)
    assert [part.number for part in parts] == list(range(count))
    return parts


def values(folder: Store, parts: list[Part]) -> list[object]:
    """Greys of the pictures of all parts, in order, or what is wrong with them."""
    found: list[object] = []
    for part in parts:
        for entry in entries_of(folder, part, Reading()):
            try:
                found.append(value_of(entry.load()))
            except DataError as error:
                found.append(str(error))
    return found


def test_single_pictures_are_cut_into_parts(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(mien.batch.plan, "ITEM_ROWS", 4)
    for number in range(11):
        write(tmp_path / "data" / f"{number:02d}.png", png(number))
    parts = plan(folder, tmp_path / "data", part_size=3)
    assert [(part.kind, part.start, part.stop, part.pictures) for part in parts] == [
        *(("items", 0, 3, 3), ("items", 3, 6, 3), ("items", 6, 9, 3), ("items", 9, 11, 2))
    ]
    assert values(folder, parts) == list(range(11))


@examples(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 23), st.integers(1, 25))
def test_items_of_any_range(tmp_path, count, size):
    folder = Store.open(str(tmp_path / "run"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mien.batch.plan, "ITEM_ROWS", 4)
        with mien.batch.plan._ItemsWriter(folder.child(*ITEMS.split("/"))) as items:
            for number in range(count):
                items.add(mien.batch.plan.Found("picture", f"{number}", f"/{number}", number))
        found = [one for first, last in mien.batch.plan._cut(count, size) for one in read_items(folder, first, last)]
    assert [one.number for one in found] == list(range(count))


@pytest.mark.parametrize(("pictures", "size"), [(0, 64), (1, 64), (100_000, 784), (10**7, 2048)])
def test_parts_have_a_good_size(pictures, size):
    assert good_size(pictures) == size
    assert size % 16 == 0


def test_everything_is_in_exactly_one_part(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(mien.batch.tars, "INDEXED_BYTES", 2000)
    data, grey = tmp_path / "data", iter(range(200))
    for number in range(3):
        write(data / f"{number}.png", png(next(grey)))
    with zipfile.ZipFile(data / "z.zip", "w") as archive:
        for number in range(3):
            archive.writestr(f"{number}.png", png(next(grey)))
    write(data / "large.tar", tar_bytes([(f"{number}.png", png(next(grey))) for number in range(5)]))
    write(data / "packed.tar.gz", tar_bytes([(f"{number}.png", png(next(grey))) for number in range(2)], "w:gz"))
    for rows in (1, 3, 100):
        column = pyarrow.array([png(next(grey)) for _ in range(7)])
        write_parquet(data / f"{rows}.parquet", column, rows=rows)
    store = Store.open(f"memory://{tmp_path.name}/in")
    store.child("s.png").write(png(next(grey)))
    (data / "empty").mkdir()
    total = next(grey)
    sources = [data, data / "z.zip", store.address, data / "empty", tmp_path / "no.png"]
    for size in (1, 2, 4, 100):
        again = folder.child(str(size))
        parts = plan(again, *sources, part_size=size)
        found = values(again, parts)
        assert sorted(value for value in found if isinstance(value, int)) == list(range(total))
        assert sorted(str(value)[:12] for value in found if isinstance(value, str)) == ["the folder h", "there is no "]
        assert all(part.pictures <= max(size, 7) for part in parts)


def test_paths_in_a_table_are_cut_where_it_suits(tmp_path, folder):
    for number in range(10):
        write(tmp_path / f"{number}.png", png(number))
    paths = pyarrow.array([f"{number}.png" for number in range(10)])
    table = write_parquet(tmp_path / "t.parquet", paths, "path", rows=7)
    parts = plan(folder, table, part_size=3)
    assert [(part.start, part.stop) for part in parts] == [(0, 3), (3, 6), (6, 9), (9, 10)]
    assert values(folder, parts) == list(range(10))


def test_row_groups_of_pictures_are_not_cut(tmp_path, folder):
    table = write_parquet(tmp_path / "t.parquet", pyarrow.array([png(number) for number in range(10)]), rows=4)
    assert [(part.start, part.stop) for part in plan(folder, table, part_size=3)] == [(0, 4), (4, 8), (8, 10)]


def test_many_tars_are_not_looked_into(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(mien.batch.tars, "INDEXED_BYTES", 0)
    monkeypatch.setattr(mien.batch.plan, "PARTS_WANTED", 3)
    for number in range(5):
        write(tmp_path / f"{number}.tar", tar_bytes([("a.png", png(number)), ("b.png", png(number + 10))]))
    parts = plan(folder, tmp_path, part_size=1)
    assert len(parts) == 2 + 3 * 2
    assert sorted(values(folder, parts)) == [*range(5), *range(10, 15)]


def test_shards_without_pictures(tmp_path, folder):
    write(tmp_path / "e.tar", tar_bytes([]))
    write_parquet(tmp_path / "e.parquet", pyarrow.array([], pyarrow.binary()))
    parts = plan(folder, tmp_path)
    assert [part.kind for part in parts] == ["tar"]
    assert values(folder, parts) == []


def test_damaged_shards_do_not_end_the_plan(tmp_path, folder):
    write(tmp_path / "data" / "bad.parquet", b"PAR1")
    write(tmp_path / "data" / "good.png", png(3))
    (one, two) = values(folder, plan(folder, tmp_path / "data"))
    assert {str(one)[:25], str(two)[:25]} == {"cannot be read as Parquet", "3"}


def test_tables_that_do_not_fit_together(tmp_path, folder):
    write_parquet(tmp_path / "a.parquet", pyarrow.array([png()]), "image")
    write_parquet(tmp_path / "b.parquet", pyarrow.array([png()]), "face")
    with pytest.raises(UsageError, match=r"b\.parquet: keeps its pictures .*a\.parquet .*--column"):
        plan(folder, tmp_path)
    with pytest.raises(UsageError, match=r"--column: .*no column 'face'"):
        plan(folder, tmp_path / "a.parquet", column="face")
    with pytest.raises(UsageError, match="two runs"):
        plan(folder, tmp_path / "a.parquet", tmp_path / "b.parquet")
    assert not folder.child(*ITEMS.split("/")).exists()


def test_names_that_are_not_utf8(tmp_path, folder):
    place = tmp_path / "data" / os.fsdecode(b"\xff")
    write(place / "a.png", png(1))
    write(place / "s.tar", tar_bytes([("a.png", png(2))]))
    data = pyarrow.array([png(3)])
    write_parquet(tmp_path / "t.parquet", data).rename(place / "t.parquet")
    with zipfile.ZipFile(place / "z.zip", "w") as archive:
        archive.writestr("a.png", png(4))
    parts = plan(folder, tmp_path / "data", place / "z.zip")
    assert sorted(values(folder, parts)) == [1, 2, 3, 4]


def test_a_zip_that_was_replaced_gives_no_other_picture(tmp_path, folder):
    def pack(*names: str) -> None:
        with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
            for number, name in enumerate(names):
                archive.writestr(name, png(number))

    pack("a.png", "b.png")
    parts = plan(folder, tmp_path / "z.zip")
    assert values(folder, parts) == [0, 1]
    pack("b.png")
    assert values(folder, parts) == ["is no longer in the archive"] * 2
    write(tmp_path / "z.zip", b"no zip")
    assert all("the archive cannot be read" in str(value) for value in values(folder, parts))


def test_a_shard_that_was_replaced_is_not_read_from_anywhere_in_it(tmp_path, folder, monkeypatch):
    """Its pieces were cut by bytes and rows of what it was; those of another begin in the middle of a picture."""
    monkeypatch.setattr(mien.batch.tars, "INDEXED_BYTES", 0)
    numbers = range(4)
    tar = write(tmp_path / "t.tar", tar_bytes([(f"{number}.png", png(number)) for number in numbers]))
    table = write_parquet(tmp_path / "t.parquet", pyarrow.array([png(number) for number in numbers]), rows=2)
    parts = plan(folder, tar, table, part_size=2)
    assert values(folder, parts) == [*numbers, *numbers]
    write(tar, tar_bytes([(f"{number}.png", png(number) + bytes(7000)) for number in numbers]))
    write_parquet(table, pyarrow.array([png(number) for number in range(40)]), rows=2)
    for part in parts:
        with pytest.raises(DataError, match=r"was changed after the run was planned \([\d,]+ bytes then, [\d,]+ now\)"):
            list(entries_of(folder, part, Reading()))


@pytest.mark.parametrize(
    ("others", "change"),
    [
        (["c.png", "d.png"], r"\(d\.png where b\.png was, at byte 1,024\)"),
        (["a.png", "longer.png"], r"\(no file begins where b\.png was, at byte 1,024\)"),
        (["a.png", "b.png"], r"\(another where b\.png was, at byte 1,024\)"),
    ],
)
def test_a_tar_that_was_replaced_by_one_as_long_gives_no_other_picture(tmp_path, folder, monkeypatch, others, change):
    """Neither its size nor its time need tell: what its pieces begin with does."""
    monkeypatch.setattr(mien.batch.tars, "INDEXED_BYTES", 0)
    path = write(tmp_path / "t.tar", tar_bytes([("a.png", png(1)), ("b.png", png(2))]))
    parts, before = plan(folder, path, part_size=1), path.stat()
    assert values(folder, parts) == [1, 2]
    longer = bytes(600) if "longer.png" in others else b""
    write(path, tar_bytes([(others[0], png(3) + longer), (others[1], png(4) + b" ")]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    with pytest.raises(DataError, match=rf"was changed after the run was planned {change}; put back what it was"):
        list(entries_of(folder, parts[1], Reading()))


def test_a_plan_that_cannot_be_written(tmp_path):
    write(tmp_path / "data" / "a.png")
    write(tmp_path / "run")
    with pytest.raises(DataError, match=r"items\.parquet: cannot be written"):
        plan(Store.open(str(tmp_path / "run")), tmp_path / "data")


@pytest.mark.parametrize("room", [0, 100, 3000])
def test_a_full_disk(tmp_path, folder, room, monkeypatch):
    monkeypatch.setattr(mien.batch.plan, "ITEM_ROWS", 2)
    for number in range(30):
        write(tmp_path / "data" / f"{number}.png")
    full = replace(folder, filesystem=FullDisk(folder.filesystem, room))
    with pytest.raises(
        DataError, match=r"_plan/items\.parquet: cannot be written \(No space left on device\)"
    ) as error:
        make_plan(full, [tmp_path / "data"], settings=Settings(), workers=1)
    assert error.value.__traceback__ is not None  # whose frames are still there
    assert folder.child("_plan").names() == []


def test_what_discovery_raises_leaves_no_plan(tmp_path, folder):
    with pytest.raises(UsageError, match="no images found"):
        plan(folder, tmp_path / "no")
    assert folder.child("_plan").names() == []


def test_a_damaged_plan_ends_the_run(tmp_path, folder):
    write(tmp_path / "data" / "a.png")
    parts = plan(folder, tmp_path / "data")
    for file in (ITEMS, PARTS):
        store = folder.child(*file.split("/"))
        whole = store.read()
        store.write(whole[: len(whole) // 2])
        with pytest.raises(PlanError, match=r"\.parquet: .*begin anew"):
            values(folder, read_parts(folder) if file == PARTS else parts)
        store.delete_file()
        with pytest.raises(PlanError, match=r"\.parquet: cannot be read"):
            values(folder, read_parts(folder) if file == PARTS else parts)
        store.write(whole)
    assert not issubclass(PlanError, DataError)


def test_a_plan_of_another_version(tmp_path, folder):
    pyarrow.parquet.write_table(pyarrow.table({"number": [0], "flavour": ["x"]}), write(tmp_path / "run" / PARTS, b""))
    with pytest.raises(PlanError, match="is no plan of this version"):
        read_parts(folder)


# Settings and the run's folder


@pytest.mark.parametrize(
    "wrong",
    [
        *({"part_size": 0}, {"detect_every": 0}, {"min_face_size": 0}, {"max_pixels": 0}, {"margin": 2.0}),
        *({"smooth": -1.0}, {"smooth": float("nan")}, {"min_confidence": 2.0}, {"tta": "no"}),
        *({"align": "no"}, {"allow_private": 1}, {"keep_empty": None}),
        *({"part_size": "64"}, {"detect_every": 1.5}, {"max_pixels": "a"}, {"margin": "x"}, {"smooth": "a"}),
    ],
)
def test_settings_that_make_no_sense(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Settings(**wrong)


def test_numbers_of_numpy_become_pythons(folder, model):
    numpy = Settings(
        **{name: np.int64(64) for name in ("part_size", "detect_every", "min_face_size", "max_pixels")},
        **{name: np.float32(0.25) for name in ("margin", "smooth", "min_confidence")},
        **{name: np.bool_(True) for name in ("align", "allow_private", "keep_empty")},
    )
    assert {type(value) for value in asdict(numpy).values()} == {str, int, float, bool, type(None)}
    begin(folder, describe(numpy, model, ["a"]), model)
    assert check_folder(folder, describe(numpy, model, ["a"]), resume=True)


@pytest.mark.parametrize("sources", ["photos", [""], [["photos"]], None])
def test_what_is_no_list_of_sources_is_refused_before_anything_is_read(tmp_path, sources):
    with pytest.raises(UsageError, match=r"sources?: must"):
        run_batch(sources, tmp_path / "rows")
    assert not (tmp_path / "rows").exists()


@pytest.mark.parametrize("out", [None, ""])
def test_what_is_no_folder_is_none_to_write_to(out):
    with pytest.raises(UsageError, match="out: must be a folder or an address"):
        run_batch(["photos"], out)


@pytest.mark.parametrize(
    "wrong", [{"count": 0}, {"cpus": 0}, {"gpus": -1.0}, {"gpus": 1.5}, {"count": 1.5}, {"cpus": "a"}, {"gpus": "a"}]
)
def test_workers_that_make_no_sense(wrong):
    with pytest.raises(UsageError, match="must be"):
        Workers(**wrong)


@pytest.fixture
def model(tmp_path):
    """A model file."""
    return ModelFile.read(save_brightness(tmp_path / "m.onnx", CLASSES, CENTRES))


def test_what_is_asked_for_holds_no_secret(tmp_path, folder, model):
    sources = ["https://u:SECRET@h/a.jpg?token=SECRET", "s3://K:SEC/RET@b/x", "s3://b/y?secret_key=SECRET", tmp_path, 0]
    asked = describe(Settings(), model, sources)
    begin(folder, asked, model)
    text = folder.child(RUN).read().decode()
    assert "SEC" not in text
    assert "RET" not in text
    assert json.loads(text)["sources"][1:] == ["s3://b/x", "s3://b/y?secret_key=***", str(tmp_path), "0"]
    assert ModelFile.of_run(folder).sha256 == model.sha256


def test_a_run_goes_on_with_the_same_only(folder, model):
    asked = describe(Settings(), model, ["/a"])
    assert not check_folder(folder, asked, resume=False)
    assert not check_folder(folder, asked, resume=True)
    begin(folder, asked, model)
    assert check_folder(folder, asked, resume=True)
    with pytest.raises(UsageError, match="holds this run already; --resume"):
        check_folder(folder, asked, resume=False)
    other = describe(Settings(tta="flip"), replace(model, data=b"x"), ["/a", "/b"])
    with pytest.raises(UsageError, match="holds another run"):
        check_folder(folder, other, resume=False)
    with pytest.raises(UsageError, match=r"tta: then none, now flip; sources: then /a, now /a, /b; model: then"):
        check_folder(folder, other, resume=True)


def test_a_relative_name_is_another_source_in_another_folder(tmp_path, folder, model, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name / "photos").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "one")
    begin(folder, describe(Settings(), model, ["photos"]), model)
    for same in ("photos/", Path("photos"), tmp_path / "one" / "photos"):
        assert check_folder(folder, describe(Settings(), model, [same]), resume=True)
    monkeypatch.chdir(tmp_path / "two")
    with pytest.raises(UsageError, match=r"sources: then \S+/one/photos, now \S+/two/photos"):
        check_folder(folder, describe(Settings(), model, ["photos"]), resume=True)


def test_a_run_that_wrote_names_down_as_they_were_given_goes_on(tmp_path, folder, model, monkeypatch):
    """As those did that were begun before paths were made absolute."""
    monkeypatch.chdir(tmp_path)
    given = ["photos", "shards/*.tar", "s3://bucket/a?region=x", "https://a.example/b.jpg"]
    asked = describe(Settings(), model, given)
    begin(folder, {**asked, "sources": given}, model)
    assert check_folder(folder, asked, resume=True)
    with pytest.raises(UsageError, match=r"sources: then \S+/photos, .*, now \S+/other"):
        check_folder(folder, describe(Settings(), model, ["other"]), resume=True)


def test_what_a_killed_run_left_does_not_hinder(tmp_path, folder, model):
    for name in ("_plan/items.parquet", "_work/part-000000.json", ".0a1b2c-run.json", ".DS_Store"):
        write(tmp_path / "run" / name)
    assert not check_folder(folder, describe(Settings(), model, ["a"]), resume=False)
    write(tmp_path / "run" / "notes.md")
    with pytest.raises(UsageError, match=r"holds other files \(notes\.md\)"):
        check_folder(folder, describe(Settings(), model, ["a"]), resume=True)


@pytest.mark.parametrize(
    "text", [b"{", b"[]", b"\xff", b'{"sources": 1}', b'{"sources": [], "model": [], "settings": {}}']
)
def test_a_damaged_run(tmp_path, folder, text):
    write(tmp_path / "run" / RUN, text)
    with pytest.raises(DataError, match=r"run\.json: cannot be read"):
        read_run(folder)


def test_models_that_workers_cannot_read(tmp_path):
    for name, what in (("m.keras", ".onnx files"), ("no.onnx", "no.onnx")):
        if name == "m.keras":
            write(tmp_path / name)
        with pytest.raises(UsageError, match=what):
            ModelFile.read(tmp_path / name)
