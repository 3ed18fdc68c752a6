"""A batch run on Ray: workers are actors under Ray Data's `map_batches`, a row is a part.

What travels through Ray's object store is a part's description one way and its counts the other. Pictures are read,
decoded, searched and classified by one worker, since decoded ones are ten to a hundred times as large as their files,
and moving them costs more than decoding them where they are needed.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mien import __version__
from mien.batch.plan import Part
from mien.batch.settings import ModelFile, Settings, Workers
from mien.batch.stores import Store, first_line
from mien.batch.tables import Counts
from mien.cores import usable_cores
from mien.errors import DataError, MienError, MissingExtraError, UsageError, listing

if TYPE_CHECKING:
    from mien.batch.work import PartWorker
    from mien.faces import Detector

ANSWER_SECONDS = 10.0
"""How long a cluster's address may take to answer."""

OBJECT_STORE_BYTES = 256 * 2**20
"""What a cluster that is started here may hold between its processes; almost nothing is."""

BLOCKS = 2000
"""The most pieces that the parts are handed out in; a piece that was lost is done again, but for its finished parts."""


def need_ray() -> Any:
    """Ray.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError("--engine ray", "ray") from error
    return ray


def on_this_machine(address: str | None) -> bool:
    """Whether `connected` starts Ray here, as no cluster is named."""
    return (address or os.environ.get("RAY_ADDRESS") or "local") == "local" and not need_ray().is_initialized()


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """Ray, connected to a cluster; one of this machine is started, and stopped again, where none is named.

    Args:
        address: ``HOST:PORT`` of the cluster's head, or ``auto``; None takes ``RAY_ADDRESS``, else this machine.

    Raises:
        MissingExtraError: Ray is not installed.
        UsageError: the address is none, or does not answer.
        DataError: Ray does not start on this machine.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report home
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    ray = need_ray()
    if ray.is_initialized():
        yield ray
        return
    address = address or os.environ.get("RAY_ADDRESS") or None
    try:
        with _own_signals(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _connect(ray, address)
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray's own answer to SIGTERM, which would take the place of the program's, is taken back."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _connect(ray: Any, address: str | None) -> None:
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address is None or address == "local":
        _start(ray, quiet)
        return
    _check_answer(address)
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"--address: no Ray cluster answers at {address} ({first_line(error)}); where it wants a token, set "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
        ) from error


def _start(ray: Any, quiet: dict[str, Any]) -> None:
    try:
        ray.init(
            address="local",
            num_cpus=usable_cores(),
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False,
            **quiet,
        )
    except Exception as error:  # which Ray raises after half a minute, where the machine is busy
        why = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
        raise DataError(
            f"Ray does not start on this machine ({why}); where it is busy, try again, or name a cluster that runs "
            "already with --address"
        ) from error


def _check_answer(address: str) -> None:
    """Find out at once what Ray would take minutes over."""
    if address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if "://" in address or not colon or not port.isdecimal():
        raise UsageError(
            f"--address: must be HOST:PORT of the cluster's head (6379 by default), or auto, received {address}; for "
            "ray:// and http:// addresses hand the whole command to the cluster: ray job submit -- mien predict ..."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"--address: nothing answers at {address} ({first_line(error)}); name the cluster's head, HOST:PORT as "
            "ray start said, or leave --address out to start Ray on this machine"
        ) from error


class RayWorker:
    """An actor: opens the models once, then does parts. Mistakes come back as rows, as Ray would wrap them."""

    def __init__(self, folder: str, run: str, settings: Settings, workers: Workers, detector: Detector | None) -> None:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        self._problem: MienError | None = None
        try:
            self._worker = _build_worker(folder, run, settings, workers, detector)
        except MienError as error:
            self._problem = error

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Do the parts of a batch: their descriptions to their numbers, counts and errors."""
        rows: dict[str, list[Any]] = {"number": [], "counts": [], "error": [], "usage": []}
        for description in batch["part"]:
            part = Part(**description)
            counts, error = Counts(), self._problem
            if error is None:
                try:
                    if part.kind == "segment":
                        self._worker.do_segment(part)
                    else:
                        counts = self._worker.do(part)
                except MienError as problem:
                    error = problem
            rows["number"].append(part.number)
            rows["counts"].append(asdict(counts))
            rows["error"].append(str(error or ""))
            rows["usage"].append(isinstance(error, UsageError))
        return rows


def _build_worker(folder: str, run: str, settings: Settings, workers: Workers, detector: Detector | None) -> PartWorker:
    import cv2
    import PIL.Image

    from mien.batch.settings import RUN
    from mien.batch.work import PartWorker, build_analyzer

    cv2.setNumThreads(workers.cpus)
    PIL.Image.MAX_IMAGE_PIXELS = None  # our own limit holds
    store = Store.open(folder)
    seen = store.child(RUN)
    if not seen.exists() or seen.read().decode() != run:
        raise DataError(
            f"{socket.gethostname()} does not see {folder}; --out must be a folder that all machines share, or in an "
            "object store"
        )
    device = "cuda" if workers.device == "auto" and workers.gpus else workers.device
    asked = json.loads(run).get("mien_version")
    if asked != __version__:
        raise DataError(
            f"{socket.gethostname()} has mien {__version__}, the run was begun with {asked}; install the same"
        )
    model = ModelFile.of_run(store)
    analyzer = build_analyzer(model, settings, threads=workers.cpus, device=device, detector=detector)
    return PartWorker(folder, analyzer, settings, threads=workers.cpus)


def do_parts(
    ray: Any,
    folder: str,
    run: str,
    parts: Sequence[Part],
    settings: Settings,
    workers: Workers,
    count: int,
    detector: Detector | None = None,
    *,
    done: Callable[[int, Counts], None],
) -> None:
    """Do parts on a cluster; returns when all are done.

    Args:
        ray: see `connected`.
        folder: absolute path or address of the run's folder.
        run: text of its ``run.json``, by which workers know that they see it.
        parts: what is to be done.
        settings: of the run.
        workers: what each may use.
        count: how many there are.
        detector: takes the place of the one that the settings name.
        done: called with each part's number and counts, as it is done.

    Raises:
        DataError: a worker cannot begin, cannot work, or cannot write.
        UsageError: a worker finds that the request was wrong.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own, about its own
        _quieten(ray)
        dataset = ray.data.from_items(
            [{"part": asdict(part)} for part in parts], override_num_blocks=min(len(parts), BLOCKS)
        ).map_batches(
            RayWorker,
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=count),
            num_cpus=workers.cpus,
            num_gpus=workers.gpus or None,
            fn_constructor_args=(folder, run, settings, workers, detector),
        )
        try:
            for row in dataset.iter_rows():
                if row["error"]:
                    raise (UsageError if row["usage"] else DataError)(row["error"])
                done(int(row["number"]), Counts(**row["counts"]))
        except ray.exceptions.RayError as error:
            *_, why = [type(error).__name__, *filter(None, map(str.strip, str(error).splitlines()))]
            raise DataError(f"Ray gave up ({why}); --resume goes on, where that is mended") from error


def count_workers(ray: Any, workers: Workers, *, grows: bool, say: Callable[[str], None]) -> int:
    """How many workers there are to be: as many as were asked for, or as there is room for.

    Args:
        ray: see `connected`.
        workers: how many are asked for, and what each may use.
        grows: whether machines may be added to the cluster; one that was started here stays as it is.
        say: called with a line where the cluster must grow before anything is done.

    Raises:
        UsageError: it has no room for a single one.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    fits = sum(_room(node, workers) for node in nodes)
    if fits:
        asked = fits if workers.count is None else workers.count
        return asked if grows else min(asked, fits)
    wanted = f"{workers.cpus} CPU" + (f" and {workers.gpus:g} GPU" if workers.gpus else "")
    kinds = dict.fromkeys(f"{node.get('CPU', 0):g} CPU and {node.get('GPU', 0):g} GPU" for node in nodes)
    held = listing(list(kinds), 3)
    if workers.count is not None and grows:
        say(f"No machine of the cluster has room for a worker of {wanted} ({held}): waiting until one is added")
        return workers.count
    raise UsageError(
        f"--cpus-per-worker, --gpus-per-worker: no machine has room for a worker of {wanted}; there is {held}"
        + ("; where the cluster grows as it is asked to, give --workers" if grows else "")
    )


def _room(node: dict[str, float], workers: Workers) -> int:
    """How many workers a machine has room for."""
    fits = int(node.get("CPU", 0) // workers.cpus)
    return min(fits, int(node.get("GPU", 0) / workers.gpus + 1e-9)) if workers.gpus else fits


def _quieten(ray: Any) -> None:
    """No bars and no log of Ray Data's; mien tells how far it is."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    logging.getLogger("ray").setLevel(logging.ERROR)


__all__ = ["RayWorker", "connected", "do_parts", "need_ray"]
