"""Batch runs on real Ray clusters of several nodes on this machine: workers and nodes are killed in the middle."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from clips import write_clip
from mien import Analyzer
from mien.batch import Settings, Workers, run_batch
from mien.batch import videos as batch_videos
from mien.batch.cluster import connected, do_parts
from mien.batch.plan import Part
from mien.datasets.scenes import scene_video
from mien.errors import DataError, UsageError
from models import save_brightness

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'mien[ray]'")
parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")

pytestmark = pytest.mark.slow

POISON = 77
"""Grey level of the picture that ends whoever reads it."""

PICTURES = 240


def slow_detector(seconds: float = 0.0, *, poison: int = -1, most_bytes: int = 0) -> Any:
    """Takes each picture for a face; slowly, dying of one, or keeping the process from writing larger files."""

    class Whole:
        name = "none"

        def detect(self, image: Any) -> Any:
            return self.detect_batch([image])[0]

        def follow(self, image: Any, before: Any) -> Any:
            return before

        def detect_batch(self, images: Any) -> Any:
            from mien.faces import Detections

            found = []
            for image in images:
                time.sleep(seconds)
                if int(image[0, 0, 0]) == poison:
                    os._exit(1)
                if most_bytes:
                    import resource

                    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))
                box = np.array([[0, 0, image.shape[1], image.shape[0]]], np.float32)
                found.append(Detections(box, np.ones(1, np.float32), np.empty((1, 0, 2), np.float32)))
            return found

    return Whole()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_brightness(tmp_path_factory.mktemp("model") / "m.onnx", ("dark", "light"), (0.1, 0.9))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey pictures, each with a level of its own."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(PICTURES):
        image = np.full((8, 8, 3), number % 250 if number % 250 != POISON else 0, np.uint8)
        cv2.imwrite(str(folder / f"{number:04d}.png"), image)
    return folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without workers, and three nodes with room for one worker each; gives what adds and kills nodes."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    started = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 0,
            "object_store_memory": 100 * 2**20,
            "include_dashboard": False,
            # A node that has gone is known to be within 2 s, not 15; one that is busy still gets 10 s to answer.
            "_system_config": {"health_check_period_ms": 500, "health_check_failure_threshold": 4},
        },
    )
    for _ in range(3):
        started.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    with connected(started.address):
        yield started
    started.shutdown()


def rows_of(folder: Path, table: str = "faces") -> list[dict[str, Any]]:
    files = sorted((folder / table).glob("*.parquet"))
    return [row for file in files for row in parquet.read_table(file).to_pylist()]


def undisturbed(model: Path, *sources: Path, **options: Any) -> list[dict[str, Any]]:
    """The rows of one process."""
    analyzer = Analyzer(model, detector=slow_detector(), **options)
    return [row for analysis in analyzer.stream(*sources) for row in analysis.rows()]


def same(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Equal rows, numbers as Parquet's float32 holds them."""
    assert [row["source"] for row in found] == [row["source"] for row in expected]
    for one, other in zip(found, expected, strict=True):
        for name, value in other.items():
            told = np.float32(value) if isinstance(value, float) and name != "time" else value
            assert one[name] == told, (one, other, name)


def watch(folder: Path, parts: int) -> Any:
    """What waits until so many parts are done."""

    def wait() -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if len(list(folder.glob("faces/part-*.parquet"))) >= parts:
                return
            time.sleep(0.05)
        raise AssertionError("nothing was done in time")

    return wait


def test_rows_are_those_of_one_process(cluster: Any, model: Path, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    sources = [pictures, tmp_path / "broken.png", tmp_path / "gone.png"]
    settings = Settings(part_size=32)
    seen: list[tuple[int, int]] = []
    done = run_batch(
        sources,
        tmp_path / "out",
        model=model,
        settings=settings,
        detector=slow_detector(),
        progress=lambda parts, of, _: seen.append((parts, of)),
    )
    assert (done.counts.pictures, done.counts.faces, done.counts.failed, done.parts) == (PICTURES, PICTURES, 2, 8)
    same(rows_of(tmp_path / "out"), undisturbed(model, pictures))
    assert [row["source"] for row in rows_of(tmp_path / "out", "failures")] == [str(path) for path in sources[1:]]
    assert seen[0] == (0, 8)
    assert seen[-1] == (8, 8)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary == {"parts": 8, "pictures": PICTURES, "frames": 0, "faces": PICTURES, "empty": 0, "failed": 2}
    assert not (tmp_path / "out" / "_work").exists()


def kill_later(folder: Path, parts: int, kill: Any) -> Any:
    """A thread that does harm once so many parts are done."""
    import threading

    def harm() -> None:
        watch(folder, parts)()
        kill()

    thread = threading.Thread(target=harm)
    thread.start()
    return thread


def test_a_node_that_is_killed_loses_and_doubles_nothing(
    cluster: Any, model: Path, pictures: Path, tmp_path: Path
) -> None:
    node = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    cluster.wait_for_nodes()
    thread = kill_later(tmp_path / "out", 3, lambda: cluster.remove_node(node, allow_graceful=False))
    done = run_batch(
        [pictures], tmp_path / "out", model=model, settings=Settings(part_size=16), detector=slow_detector(0.05)
    )
    thread.join()
    assert done.counts.pictures == PICTURES
    same(rows_of(tmp_path / "out"), undisturbed(model, pictures))


def workers_alive() -> list[int]:
    """Process ids of the actors."""
    import psutil

    names = [(process.pid, " ".join(process.info["cmdline"] or ())) for process in psutil.process_iter(["cmdline"])]
    return [pid for pid, name in names if "MapWorker" in name and name.startswith("ray::")]


def test_a_worker_that_is_killed_loses_and_doubles_nothing(
    cluster: Any, model: Path, pictures: Path, tmp_path: Path
) -> None:
    killed: list[int] = []

    def kill() -> None:
        killed.append(workers_alive()[0])
        os.kill(killed[0], signal.SIGKILL)

    thread = kill_later(tmp_path / "out", 2, kill)
    run_batch([pictures], tmp_path / "out", model=model, settings=Settings(part_size=16), detector=slow_detector(0.05))
    thread.join()
    assert killed
    same(rows_of(tmp_path / "out"), undisturbed(model, pictures))


def test_a_picture_that_ends_its_worker_fails_alone(cluster: Any, model: Path, pictures: Path, tmp_path: Path) -> None:
    poisoned = tmp_path / "poison.png"
    cv2.imwrite(str(poisoned), np.full((8, 8, 3), POISON, np.uint8))
    listed = tmp_path / "list.txt"
    some = sorted(pictures.iterdir())[:40]
    listed.write_text("\n".join(str(path) for path in [*some[:20], poisoned, *some[20:]]))
    done = run_batch(
        [listed], tmp_path / "out", model=model, settings=Settings(part_size=16), detector=slow_detector(poison=POISON)
    )
    assert (done.counts.pictures, done.counts.failed) == (40, 1)
    (failure,) = rows_of(tmp_path / "out", "failures")
    assert failure["source"] == str(poisoned)
    assert "ended the process that read it" in failure["reason"]
    same(rows_of(tmp_path / "out"), undisturbed(model, *some))


def test_a_full_disk_ends_the_run_in_one_line_and_it_goes_on(
    cluster: Any, model: Path, pictures: Path, tmp_path: Path
) -> None:
    settings = Settings(part_size=240)
    with pytest.raises(DataError, match=r"part-000000.parquet: cannot be written"):
        run_batch([pictures], tmp_path / "out", model=model, settings=settings, detector=slow_detector(most_bytes=2000))
    assert not list((tmp_path / "out" / "faces").glob("*"))
    run_batch([pictures], tmp_path / "out", model=model, settings=settings, detector=slow_detector(), resume=True)
    same(rows_of(tmp_path / "out"), undisturbed(model, pictures))


def test_a_folder_that_workers_do_not_see_is_said(cluster: Any, tmp_path: Path) -> None:
    """A worker elsewhere finds another run, or nothing, under the same path."""
    with connected(None) as connection, pytest.raises(DataError, match=r"does not see .* must be a folder that all"):
        do_parts(
            *(connection, str(tmp_path), "{}", [Part(0, "items")], Settings(), Workers(), 1),
            done=lambda number, counts: None,
        )


def test_a_machine_on_which_no_worker_can_begin_is_said_in_a_line(
    cluster: Any, model: Path, pictures: Path, tmp_path: Path
) -> None:
    class Unknown:
        name = "unknown"
        detect_batch = None

        def __init__(self) -> None:
            self.held = 1

        def __setstate__(self, state: object) -> None:
            raise ModuleNotFoundError("No module named 'mien'")

    with pytest.raises(DataError, match=r"^Ray gave up \(ModuleNotFoundError: No module named 'mien'\); --resume"):
        run_batch([pictures], tmp_path / "out", model=model, detector=Unknown())


def test_long_videos_are_spread_by_segment_with_the_same_tracks(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_videos, "SEGMENT_FRAMES", 24)
    frames = [scene.image for scene in scene_video(1, frames=96, faces=2, size_wh=(320, 240))]
    video = write_clip(tmp_path / "people.mp4", frames)
    expected = [row for analysis in Analyzer(threads=1).stream(video) for row in analysis.rows()]
    assert {row["track"] for row in expected} > {1}
    done = run_batch([video], tmp_path / "out")
    assert (done.counts.frames, done.parts) == (96, 5)
    found = rows_of(tmp_path / "out")
    assert [(row["frame"], row["track"], row["expression"]) for row in found] == [
        (row["frame"], row["track"], row["expression"]) for row in expected
    ]
    for name in ("x1", "y1", "x2", "y2", "confidence", "time"):
        np.testing.assert_allclose([row[name] for row in found], [row[name] for row in expected], rtol=1e-5, atol=0.011)


DRIVER = """
import sys
from pathlib import Path
sys.path[:0] = {paths!r}
from test_batch_cluster import slow_detector
from mien.batch import Settings, Workers, run_batch
from ray import cloudpickle
import test_batch_cluster
cloudpickle.register_pickle_by_value(test_batch_cluster)
run_batch([{pictures!r}], {out!r}, model={model!r}, settings=Settings(part_size=16), workers=Workers(count=2),
          detector=slow_detector(0.05), address={address!r})
"""


def test_a_driver_that_is_killed_goes_on_where_it_was(
    cluster: Any, model: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    paths = [str(Path(__file__).parent)]
    text = DRIVER.format(paths=paths, pictures=str(pictures), out=str(out), model=str(model), address=cluster.address)
    driver = subprocess.Popen([sys.executable, "-c", text], stderr=subprocess.DEVNULL)
    watch(out, 4)()
    driver.kill()
    driver.wait()
    time.sleep(0.5)
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("faces/part-*.parquet")}
    settings = Settings(part_size=16)
    with pytest.raises(UsageError, match="--resume goes on"):
        run_batch([pictures], out, model=model, settings=settings, detector=slow_detector())
    done = run_batch([pictures], out, model=model, settings=settings, detector=slow_detector(), resume=True)
    assert 4 <= done.before < done.parts
    after = {path.name: path.stat().st_mtime_ns for path in out.glob("faces/part-*.parquet")}
    unchanged = [name for name in before if after[name] == before[name]]
    assert len(unchanged) >= 4
    same(rows_of(out), undisturbed(model, pictures))


def test_no_room_for_a_worker(cluster: Any, model: Path, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no machine has room for a worker of 64 CPU; there is"):
        run_batch([pictures], tmp_path / "out", model=model, workers=Workers(cpus=64))
    with pytest.raises(UsageError, match="no machine has room for a worker of 1 CPU and 1 GPU"):
        run_batch([pictures], tmp_path / "out2", model=model, workers=Workers(gpus=1))


STRANGERS = """
import sys
from mien.batch.cluster import connected
from mien.errors import UsageError
for address in sys.argv[1:]:
    try:
        with connected(address):
            pass
    except UsageError as error:
        print(error)
"""


def test_addresses_that_do_not_answer() -> None:
    told = {
        "127.0.0.1:9": "nothing answers at 127.0.0.1:9",
        "ray://here:10001": "ray job submit",
        "nowhere": "must be HOST:PORT",
    }
    command = [sys.executable, "-c", STRANGERS, *told]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    for line, reason in zip(run.stdout.splitlines(), told.values(), strict=True):
        assert reason in line
