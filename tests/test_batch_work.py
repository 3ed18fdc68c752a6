"""What a worker does with a part, without Ray: the rows of one process, whatever dies in between."""

import json
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow
import pytest

from batches import CENTRES, CLASSES, WholePicture, object_store, png, tar_bytes, write, write_parquet
from mien import Analyzer
from mien.batch import cluster, run_batch, work
from mien.batch.plan import Part, make_plan, read_parts
from mien.batch.reading import Entry, read_entries
from mien.batch.settings import SUMMARY, ModelFile, Settings, Workers, begin, describe
from mien.batch.stores import Store
from mien.batch.tables import FACES, WORK, Counts, done_parts, part_file, read_failures
from mien.batch.work import PartWorker, build_analyzer
from mien.errors import DataError, MissingExtraError, UsageError
from models import save_brightness

EMPTY = 0
"""The grey of pictures without a face."""

WORKER = """
import sys
sys.path.insert(0, sys.argv[1])
from batches import WholePicture
from test_batch_work import worker
from mien.batch.plan import read_parts
from mien.batch.stores import Store
for part in read_parts(Store.open(sys.argv[2])):
    worker(sys.argv[2], killed_by=int(sys.argv[3])).do(part)
"""


@pytest.fixture
def run(tmp_path):
    """The folder of a run that is to begin."""
    save_brightness(tmp_path / "m.onnx", CLASSES, CENTRES)
    return tmp_path / "run"


def planned(run: Path, *sources: object, **settings: object) -> list[Part]:
    """Begin a run."""
    folder, asked = Store.open(str(run)), Settings(**settings)
    make_plan(folder, list(sources), settings=asked, workers=1)
    model = ModelFile.read(run.parent / "m.onnx")
    begin(folder, describe(asked, model, list(map(str, sources))), model)
    return read_parts(folder)


def worker(run: object, *, killed_by: int | None = None, threads: int = 1, **settings: object) -> PartWorker:
    """Who does its parts."""
    asked, model = Settings(**settings), ModelFile.of_run(Store.open(str(run)))
    detector = WholePicture(killed_by=killed_by, empty=EMPTY)
    analyzer = build_analyzer(model, asked, threads=1, device="cpu", detector=detector)
    return PartWorker(str(run), analyzer, asked, threads=threads)


def rows(run: Path, parts: list[Part]) -> list[dict]:
    """All rows, in the order of the parts."""
    folder = Store.open(str(run))
    return [row for part in parts for row in part_file(folder, FACES, part.number).read_table().to_pylist()]


def failures(run: Path) -> list[tuple[str, str]]:
    return list(read_failures(Store.open(str(run)), 100))


def write_greys(folder: Path, *greys: int) -> Path:
    """Pictures of these greys and of many sizes, in this order by name."""
    for number, grey in enumerate(greys):
        write(folder / f"{number:03d}-{grey}.png", png(grey, (9 + number % 5, 11 + number % 7)))
    return folder


GREYS = (10, 60, EMPTY, 200, 250, 128, EMPTY, 90, 30, 170)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_rows_are_those_of_one_process(tmp_path, run, threads, size):
    data = write_greys(tmp_path / "data", *GREYS * 3)
    write(data / "999.png", b"no picture")
    parts = planned(run, data, part_size=size)
    made = worker(run, threads=threads, part_size=size)
    counts = Counts()
    for part in parts:
        counts.add(made.do(part))
    failed: list[tuple[str, str]] = []
    analyzer = Analyzer(tmp_path / "m.onnx", detector=WholePicture(empty=EMPTY))
    seen = list(analyzer.stream(data, on_failure=lambda *pair: failed.append(pair)))
    expected = [row for analysis in seen for row in analysis.rows()]
    schema = part_file(Store.open(str(run)), FACES, 0).read_table().schema
    assert rows(run, parts) == pyarrow.Table.from_pylist(expected, schema=schema).to_pylist()
    assert failures(run) == failed != []
    assert counts == Counts(pictures=30, faces=24, empty=6, failed=1)


def test_rows_of_shards_are_those_of_files(tmp_path, run):
    data = write_greys(tmp_path / "data", *GREYS)
    files = sorted(data.iterdir())
    shards = tmp_path / "shards"
    write(shards / "a.tar", tar_bytes([(path.name, path.read_bytes()) for path in files]))
    write_parquet(shards / "b.parquet", pyarrow.array([path.read_bytes() for path in files]), rows=3)
    write_parquet(tmp_path / "c.parquet", pyarrow.array([f"data/{path.name}" for path in files]), "path")

    def faces(out: Path, *sources: object) -> list[dict]:
        parts = planned(out, *sources)
        for part in parts:
            worker(out).do(part)
        assert failures(out) == []
        return [{**row, "source": ""} for row in rows(out, parts)]

    plain = faces(run, data)
    assert len(plain) == 8
    assert faces(tmp_path / "run2", shards) == plain * 2
    assert faces(tmp_path / "run3", tmp_path / "c.parquet") == plain


def test_a_shard_that_was_changed_meanwhile_says_how_its_parts_are_done_after_all(tmp_path, run, monkeypatch):
    monkeypatch.setattr("mien.batch.tars.INDEXED_BYTES", 0)
    members = [(f"{grey}.png", png(grey)) for grey in (10, 60, 90)]
    tar = write(tmp_path / "s.tar", tar_bytes(members))
    whole = tar.read_bytes()
    *_, part = planned(run, tar, part_size=2)
    write(tar, tar_bytes([(name, data + bytes(7000)) for name, data in members]))
    assert worker(run).do(part) == Counts(failed=1)
    ((_, reason),) = failures(run)
    found = re.search(r"put back what it was, delete (\S+) and go on with --resume, or read it in a new run", reason)
    assert found is not None
    write(tar, whole)
    (run / found[1]).unlink()
    assert worker(run).do(part) == Counts(pictures=1, faces=1)
    assert failures(run) == []


def test_a_part_is_done_once(tmp_path, run):
    (part,) = planned(run, write_greys(tmp_path / "data", *GREYS))
    counts = worker(run).do(part)
    path = run / FACES / "part-000000.parquet"
    before = path.stat().st_ino
    assert worker(run, killed_by=10).do(part) == counts
    assert path.stat().st_ino == before


def test_pictures_without_a_face_are_kept_where_that_is_wanted(tmp_path, run):
    parts = planned(run, write_greys(tmp_path / "data", 10, EMPTY, 90), keep_empty=True)
    worker(run, keep_empty=True).do(parts[0])
    found = rows(run, parts)
    assert [row["source"].rpartition("/")[2] for row in found] == ["000-10.png", "001-0.png", "002-90.png"]
    assert [row["x1"] for row in found] == [0.0, None, 0.0]


def lose_a_worker(run: Path, killed_by: int) -> int:
    """A process of its own does the parts until it dies; its exit code."""
    command = [sys.executable, "-c", WORKER, str(Path(__file__).parent), str(run), str(killed_by)]
    return subprocess.run(command, check=False, timeout=120).returncode


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["files", "tar"])
def test_a_picture_that_kills_is_given_up_and_all_others_are_kept(tmp_path, run, kind):
    source = write_greys(tmp_path / "data", *GREYS)
    if kind == "tar":
        source = write(
            tmp_path / "s.tar", tar_bytes([(path.name, path.read_bytes()) for path in sorted(source.iterdir())])
        )
    parts = planned(run, source)
    notes = run / WORK / "part-000000.json"
    for _ in range(4):
        assert lose_a_worker(run, killed_by=250) == 9
        assert notes.exists()
        assert done_parts(Store.open(str(run))) == set()
    assert lose_a_worker(run, killed_by=250) == 0
    assert not notes.exists()
    ((name, reason),) = failures(run)
    assert name.endswith("/004-250.png")
    assert "ended the process that read it" in reason
    kept = [row["source"].rpartition("/")[2] for row in rows(run, parts)]
    assert kept == [f"{place:03d}-{grey}.png" for place, grey in enumerate(GREYS) if grey not in (EMPTY, 250)]


def test_what_is_done_carefully_gives_the_same_rows(tmp_path, run):
    parts = planned(run, write_greys(tmp_path / "data", *GREYS))
    worker(run).do(parts[0])
    expected = rows(run, parts)
    (run / FACES / "part-000000.parquet").unlink()
    write(run / WORK / "part-000000.json", b'{"deaths": 1, "at": -1, "deaths_at": {}}')
    worker(run).do(parts[0])
    assert rows(run, parts) == expected


def noted(run: Path, text: str) -> None:
    write(run / WORK / "part-000000.json", text.encode())


@pytest.fixture
def death_at(monkeypatch):
    """Reading the bytes of picture n of a tar raises what stands for the death of the process: no notes are tidied."""

    class Death(BaseException):
        pass

    def prepare(number: int) -> type[BaseException]:
        def entries(*_: object):
            for place in range(6):
                if place == number:
                    raise Death
                yield Entry(f"{place}", lambda place=place: np.full((8, 8, 3), 40 * place + 1, np.uint8))

        monkeypatch.setattr(work, "entries_of", entries)
        monkeypatch.setattr(work.Notes, "end", lambda self: None)
        return Death

    return prepare


def test_who_dies_while_bytes_are_read_blames_that_picture_and_the_rest_of_the_shard_fails(tmp_path, run, death_at):
    (part,) = planned(run, write(tmp_path / "s.tar", tar_bytes([("0.png", png())])))
    death = death_at(3)
    for _ in range(6):
        with pytest.raises(death):
            worker(run).do(part)
    counts = worker(run).do(part)
    assert (counts.pictures, counts.failed) == (3, 1)
    ((name, reason),) = failures(run)
    assert name == f"{tmp_path}/s.tar"
    assert "ended the process that read it (4 times)" in reason


@pytest.mark.parametrize("kind", ["files", "tar"])
def test_a_part_that_kills_before_any_picture_is_given_up(tmp_path, run, kind):
    source = write_greys(tmp_path / "data", 10, 90)
    if kind == "tar":
        source = write(tmp_path / "s.tar", tar_bytes([("0.png", png())]))
    (part,) = planned(run, source)
    noted(run, '{"deaths": 3, "at": -1, "deaths_at": {}}')
    worker(run).do(part)
    names = [str(path) for path in sorted(source.iterdir())] if kind == "files" else [str(source)]
    assert [name for name, _ in failures(run)] == names
    assert rows(run, [part]) == []


def test_a_library_that_fails_over_a_picture_fails_that_one_alone(tmp_path, run):
    (part,) = planned(run, write_greys(tmp_path / "data", *GREYS))
    detector = WholePicture(empty=EMPTY)
    real = detector.detect_batch

    def fails(images: object) -> object:
        if any(image[0, 0, 0] == 200 for image in images):
            raise RuntimeError("no kernel\nfor this")
        return real(images)

    detector.detect_batch = fails
    model, asked = ModelFile.of_run(Store.open(str(run))), Settings()
    analyzer = build_analyzer(model, asked, threads=1, device="cpu", detector=detector)
    counts = PartWorker(str(run), analyzer, asked).do(part)
    assert (counts.pictures, counts.failed) == (9, 1)
    ((name, reason),) = failures(run)
    assert name.endswith("003-200.png")
    assert reason == "cannot be read (RuntimeError: no kernel)"


def test_notes_are_forgotten_and_answers_kept_where_a_run_goes_on(tmp_path, run):
    planned(run, write_greys(tmp_path / "data", 10))
    noted(run, '{"deaths": 3, "at": -1, "deaths_at": {}}')
    write(run / "_work" / "answers" / "part-000007.npz")
    write(run / "_work" / "answers" / "part-x.npz")
    work.forget_notes(Store.open(str(run)))
    assert not list((run / WORK).glob("*.json"))
    assert work.done_segments(Store.open(str(run))) == {7}


def test_ray_is_not_started_where_nothing_is_left_to_do(tmp_path, run, monkeypatch):
    data, said, seen = write_greys(tmp_path / "data", *GREYS), [], []
    parts = planned(run, data, part_size=4)
    given = {"model": tmp_path / "m.onnx", "settings": Settings(part_size=4), "resume": True, "say": said.append}
    monkeypatch.setitem(sys.modules, "ray", None)
    for part in parts[:-1]:
        worker(run).do(part)
    with pytest.raises(MissingExtraError, match="--engine ray"):
        run_batch([str(data)], run, **given)
    assert not (run / SUMMARY).exists()
    worker(run).do(parts[-1])
    done = run_batch([str(data)], run, progress=lambda now, of, counts: seen.append((now, of, counts.faces)), **given)
    assert (done.parts, done.before, done.counts.pictures) == (3, 3, len(GREYS))
    assert said == ["0 of 3 parts to do; for files added since the run was planned, name a new --out"]
    assert seen == [(3, 3, done.counts.faces)]
    assert json.loads((run / SUMMARY).read_text()) == {"parts": 3, **asdict(done.counts)}
    assert not (run / WORK).exists()
    assert run_batch([str(data)], run, **given) == done


def test_who_begins_where_another_run_began_meanwhile_is_refused_and_its_plan_stays(tmp_path, run, monkeypatch):
    data = write_greys(tmp_path / "data", *GREYS)

    @contextmanager
    def connected(address):
        planned(run, data, part_size=4)
        yield None

    for name, fake in {"need_ray": lambda: None, "count_workers": lambda *_, **__: 1, "connected": connected}.items():
        monkeypatch.setattr(cluster, name, fake)
    monkeypatch.setattr(cluster, "on_this_machine", lambda address: True)
    asked = {"model": tmp_path / "m.onnx", "settings": Settings(part_size=5), "resume": True}
    with pytest.raises(UsageError, match="holds another run already; --resume goes on"):
        run_batch([str(data)], run, **asked)
    assert [part.stop for part in read_parts(Store.open(str(run)))] == [4, 8, 10]


def test_a_ray_that_does_not_start_is_said_in_a_line(monkeypatch):
    def init(**_):
        raise Exception("The current node timed out during startup. This could happen.\nAnd more.")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    ray = SimpleNamespace(is_initialized=lambda: False, init=init, shutdown=lambda: None)
    monkeypatch.setattr(cluster, "need_ray", lambda: ray)
    said = r"^Ray does not start on this machine \(The current node .* happen\); where it is busy, try again, or"
    with pytest.raises(DataError, match=said), cluster.connected(None):
        pass


def test_as_many_workers_as_fit_on_the_machines_or_as_were_asked_for():
    """One must fit on a single machine: Ray waits without end for a machine that a worker fits on."""
    nodes = [{"Alive": True, "Resources": {"CPU": 2.0}}, {"Alive": True, "Resources": {"CPU": 3.0, "GPU": 1.0}}]
    ray, said = SimpleNamespace(nodes=lambda: [*nodes, {"Alive": False, "Resources": {}}]), []

    def count(*, grows: bool = False, **asked: object) -> int:
        return cluster.count_workers(ray, Workers(**asked), grows=grows, say=said.append)

    assert [count(), count(cpus=2), count(cpus=3), count(gpus=0.5)] == [5, 2, 1, 2]
    assert [count(count=3), count(count=9), count(count=9, grows=True)] == [3, 5, 9]
    there = r"no machine has room for a worker of {}; there is 2 CPU and 0 GPU, 3 CPU and 1 GPU{}$"
    for asked in ({"cpus": 4}, {"cpus": 4, "count": 1}):
        with pytest.raises(UsageError, match=there.format("4 CPU", "")):
            count(**asked)
    with pytest.raises(UsageError, match=there.format("1 CPU and 2 GPU", "; where the cluster grows .* --workers")):
        count(gpus=2, grows=True)
    assert not said
    assert count(cpus=4, count=2, grows=True) == 2
    assert said == [
        "No machine of the cluster has room for a worker of 4 CPU (2 CPU and 0 GPU, 3 CPU and 1 GPU): "
        "waiting until one is added"
    ]


def test_pictures_over_a_network_are_fetched_together(tmp_path):
    begun = []

    def slow(number: int) -> np.ndarray:
        begun.append(number)
        time.sleep(0.2)
        return np.zeros((8, 8, 3), np.uint8)

    entries = [Entry(str(number), partial(slow, number), far=True) for number in range(8)]
    before = time.monotonic()
    frames = list(read_entries(entries, threads=1, ahead=8, failed=lambda *_: None))
    assert [frame.source for frame in frames] == [str(number) for number in range(8)]
    assert time.monotonic() - before < 0.2 * 5


def test_notes_that_are_damaged_are_begun_anew(tmp_path, run):
    (part,) = planned(run, write_greys(tmp_path / "data", *GREYS))
    for text in (b"", b"{", b"[]", b'{"deaths": "x"}', b"\xff"):
        write(run / WORK / "part-000000.json", text)
        assert worker(run).do(part).faces == 8
        (run / FACES / "part-000000.parquet").unlink()


def test_a_shard_that_is_damaged_is_done_up_to_there(tmp_path, run):
    whole = tar_bytes([(f"{number}.png", png(40 + number) + b"\0" * 3000) for number in range(9)])
    parts = planned(run, write(tmp_path / "s.tar", whole[:14_000]))
    counts = worker(run).do(parts[0])
    assert (counts.pictures, counts.failed) == (3, 2)
    (first, one), (second, two) = failures(run)
    assert (first, one) == (f"{tmp_path}/s.tar/3.png", "is cut off by the end of the tar")
    assert second == f"{tmp_path}/s.tar"
    assert two.startswith("is damaged, or is no tar")


def test_a_damaged_plan_is_no_failure_of_a_source(tmp_path, run):
    (part,) = planned(run, write_greys(tmp_path / "data", *GREYS))
    items = run / "_plan" / "items.parquet"
    items.write_bytes(items.read_bytes()[:-9])
    with pytest.raises(Exception, match=r"items\.parquet: .* begin anew"):
        worker(run).do(part)
    assert done_parts(Store.open(str(run))) == set()


def test_sources_that_went_away_fail_alone(tmp_path, run):
    data = write_greys(tmp_path / "data", *GREYS)
    write(tmp_path / "s.tar", tar_bytes([("a.png", png(9))]))
    parts = planned(run, data, tmp_path / "s.tar")
    (data / "000-10.png").unlink()
    (tmp_path / "s.tar").unlink()
    for part in parts:
        worker(run).do(part)
    assert [(Path(name).name, why.split(" (")[0]) for name, why in failures(run)] == [
        ("000-10.png", "there is no such file"),
        ("s.tar", "cannot be read"),
    ]


def test_a_folder_that_cannot_be_written_to(tmp_path, run):
    (part,) = planned(run, write_greys(tmp_path / "data", *GREYS))
    write(run / FACES, b"")
    with pytest.raises(DataError, match="cannot be"):
        worker(run).do(part)


@pytest.fixture(params=["memory", "object store"])
def stored(request, tmp_path):
    """A folder with an address, and the options of addresses there."""
    if request.param == "memory":
        root = Store.open(f"memory://{tmp_path.name}")
        yield root
        root.delete_folder()
        return
    with object_store(tmp_path) as options:
        yield Store.open(f"s3://bucket{options}")


def test_a_run_in_a_store(tmp_path, run, stored):
    data = write_greys(tmp_path / "data", *GREYS)
    files = sorted(data.iterdir())
    for path in files:
        stored.child("data", path.name).write(path.read_bytes())
    stored.child("data", "what?.png").write(png(77)) if stored.path == "bucket" else None
    stored.child("in", "a.tar").write(tar_bytes([(path.name, path.read_bytes()) for path in files]))
    stored.child("in", "b.tgz").write(tar_bytes([(path.name, path.read_bytes()) for path in files], "w:gz"))
    table = write_parquet(tmp_path / "c.parquet", pyarrow.array([path.read_bytes() for path in files]), rows=3)
    stored.child("in", "c.parquet").write(table.read_bytes())
    paths = write_parquet(tmp_path / "d.parquet", pyarrow.array([f"data/{path.name}" for path in files]), "path")
    stored.child("d.parquet").write(paths.read_bytes())
    plain = planned(run, data)
    worker(run).do(plain[0])
    expected = [{**row, "source": ""} for row in rows(run, plain)]

    def faces(number: int, source: Store) -> list[dict]:
        out, model = stored.child("runs", str(number)), ModelFile.read(tmp_path / "m.onnx")
        make_plan(out, [source.address], settings=Settings(), workers=1)
        begin(out, describe(Settings(), model, [source.address]), model)
        assert "endpoint" not in str(describe(Settings(), model, [source.shown]))
        parts = read_parts(out)
        counts = [worker(out.address).do(part) for part in parts]
        assert [worker(out.address, killed_by=10).do(part) for part in parts] == counts
        assert list(read_failures(out, 9)) == []
        assert out.child(WORK).names() == []
        found = [part_file(out, FACES, part.number).read_table().to_pylist() for part in parts]
        names = [row["source"] for part in found for row in part]
        assert all(name.startswith(f"{source.shown}") and "endpoint" not in name for name in names)
        return [{**row, "source": ""} for part in found for row in part if "what?" not in row["source"]]

    assert faces(0, stored.child("data")) == expected
    assert faces(1, stored.child("in")) == expected * 3
    assert faces(2, stored.child("d.parquet")) == expected
    done = stored.child("runs", "1")
    assert done_parts(done) == set(range(len(read_parts(done))))


# Reading ahead


def entry(number: int) -> Entry:
    def load() -> np.ndarray:
        if number % 4 == 3:
            raise DataError(f"wrong {number}")
        return np.full((4, 4, 3), number, np.uint8)

    return Entry(str(number), load)


@pytest.mark.parametrize("threads", [1, 4])
def test_pictures_come_in_order_and_failures_are_told(threads):
    failed: list[tuple[str, str]] = []
    entries = (entry(number) for number in range(12))
    frames = list(read_entries(entries, threads=threads, ahead=5, failed=lambda *pair: failed.append(pair)))
    assert [int(frame.source) for frame in frames] == [number for number in range(12) if number % 4 != 3]
    assert failed == [("3", "wrong 3"), ("7", "wrong 7"), ("11", "wrong 11")]


def test_no_more_is_read_ahead_than_was_said():
    taken: list[int] = []

    def entries():
        for number in range(100):
            taken.append(number)
            yield entry(number)

    frames = read_entries(entries(), threads=2, ahead=3, failed=print)
    next(frames)
    assert len(taken) == 3
    frames.close()


class AtOnce(ThreadPoolExecutor):
    """Does what it is given before it answers."""

    def submit(self, work, /, *arguments, **named):
        future = super().submit(work, *arguments, **named)
        wait([future])
        return future


def test_large_pictures_wait_one_by_one(monkeypatch):
    monkeypatch.setattr("mien.batch.reading.WAITING_BYTES", 1)
    monkeypatch.setattr("mien.batch.reading.ThreadPoolExecutor", AtOnce)
    taken: list[int] = []

    def entries():
        for number in (0, 1, 2, 4, 5, 6):
            taken.append(number)
            yield entry(number)

    frames = read_entries(entries(), threads=2, ahead=50, failed=print)
    assert [(int(frame.source), len(taken)) for frame in frames] == [(0, 1), (1, 2), (2, 3), (4, 4), (5, 5), (6, 6)]
