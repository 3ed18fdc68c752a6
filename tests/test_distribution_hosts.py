"""Several hosts: who calls whom, what goes wrong, and that they learn what one learns."""

import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from subprocess import PIPE

import pytest

from mien.errors import MienError, UsageError
from mien.hosts import ALONE, HostList, Hosts, current, together
from mien.lines import Line, call_host, gather_hosts
from pictures import write_patterns
from processes import PATIENCE, Ended, ends, free_port, told, wait_until

NAMES = ["host 0 (a)", "host 1 (b)", "host 2 (c)"]

WORKER = """
import os, sys, time
from types import SimpleNamespace
from mien.errors import DataError
from mien.hosts import HostList, together
port, index, what = sys.argv[1], int(sys.argv[2]), sys.argv[3]
if what != "works":  # Keras, which takes long to import, is only asked for its backend
    sys.modules["keras"] = SimpleNamespace(backend=SimpleNamespace(backend=lambda: "jax"))
with together(HostList.parse(f"127.0.0.1:{port},other", index), seconds=120) as hosts:
    print(hosts.told_json(lambda: ["from", hosts.index]), flush=True)
    import jax
    print(jax.device_count(), flush=True)
    if index == 1:
        time.sleep(1)  # until host 0 has printed too, which the end of this one would cut short
    if index == 1 and what == "fails":
        raise DataError("a.png: cannot be read")
    if index == 1 and what == "dies":
        os._exit(9)
    if what != "works":
        time.sleep(120)
"""


@pytest.mark.parametrize(
    ("text", "index", "message"),
    [
        ("a:1,b", 2, "--host-index: must be from 0 to 1, as --hosts names 2; received 2"),
        ("a:1,b", -1, "--host-index: must be from 0 to 1"),
        ("a:1,b", None, "--host-index: must be given beside --hosts: from 0 to 1"),
        ("a:1,b,b", 0, "--hosts: names b twice"),
        ("a:1,,b", 0, "--hosts: must be host0:port,host1,...; received"),
        ("a:1", 0, "--hosts: names one host"),
        (
            "[fd00::1]:8476,b",
            0,
            "--hosts: must be names or IPv4 addresses, host0:port,host1,...; received '[fd00::1]:8476'",
        ),
        ("a,fd00::2", 1, "--hosts: must be names or IPv4 addresses"),
        ("a:x,b", 0, "--hosts: must be host0:port,host1,...; received the port 'x'"),
        ("a:65535,b", 0, "--hosts: the port must be from 1 to 65534"),
    ],
)
def test_wrong_hosts_are_refused_in_a_line(text, index, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        HostList.parse(text, index)


def test_hosts_are_read():
    hosts = HostList.parse("10.0.0.1:5000, 10.0.0.2", 1)
    assert (hosts.first, hosts.port, hosts.name(1)) == ("10.0.0.1", 5000, "host 1 (10.0.0.2)")
    assert HostList.parse("a,b", 0).port == 8476


def test_other_backends_have_no_hosts():
    with pytest.raises(UsageError, match="works with the backend jax, received tensorflow"):  # noqa: SIM117
        with together(HostList.parse("a:1,b", 0)):
            pass
    assert current() is ALONE


def call(port, index, greeting=None, seconds=PATIENCE):
    return call_host(NAMES[0], ("127.0.0.1", port), index, greeting or {}, seconds)


@pytest.fixture
def closing():
    """Lines to hang up at the end."""
    lines = []
    yield lines
    for line in lines:
        line.close()


def pair(closing) -> tuple[Line, Line]:
    """Both ends of a line, host 0's first; the other is watched."""
    ends = tuple(Line(name, end) for name, end in zip(("b", "a"), socket.socketpair(), strict=True))
    closing.extend(ends)
    ends[1].watch(lambda reason: None)
    return ends


def test_all_call_and_host_0_tells_them(closing):
    port = free_port()
    with ThreadPoolExecutor() as threads:
        calls = [threads.submit(call, port, index) for index in (1, 2)]
        lines = gather_hosts(NAMES, port, {}, PATIENCE)
        others = [Hosts(index, 3, {0: future.result()}) for index, future in zip((1, 2), calls, strict=True)]
        first = Hosts(0, 3, lines)
        broken = []
        closing += [*lines.values(), *(other._lines[0] for other in others)]
        for line in closing:
            line.watch(broken.append)
        heard = [threads.submit(other.told_json, lambda: None) for other in others]
        assert first.told_json(lambda: {"epoch": 3}) == {"epoch": 3}
        assert [future.result(timeout=PATIENCE) for future in heard] == [{"epoch": 3}] * 2
        others[1]._lines[0].close()  # as the end of a process does
        wait_for(lambda: any("host 2 (c) has gone" in reason for reason in broken))


def test_a_file_of_host_0_is_read_by_all(tmp_path, closing):
    left, right = pair(closing)
    file = tmp_path / "state.weights.h5"
    file.write_bytes(b"x" * 3_000_000)
    with Hosts(0, 2, {1: left}).told_file(file) as mine, Hosts(1, 2, {0: right}).told_file(file) as theirs:
        assert mine == file != theirs
        assert theirs.name == file.name
        assert theirs.read_bytes() == file.read_bytes()
    assert file.exists()
    assert not theirs.exists()


def test_a_difference_between_hosts_is_refused(closing):
    left, right = pair(closing)
    Hosts(0, 2, {1: left}).refuse_difference("training images", "abc")
    with pytest.raises(UsageError, match="training images: host 1 has abd, host 0 has abc; they must be the same"):
        Hosts(1, 2, {0: right}).refuse_difference("training images", "abd")


def test_a_host_that_does_not_call_is_named():
    port = free_port()
    with ThreadPoolExecutor() as threads:
        caller = threads.submit(call, port, 1)
        with pytest.raises(UsageError, match=r"^host 2 \(c\) did not call within 2 s"):
            gather_hosts(NAMES, port, {}, 2)
        with pytest.raises(MienError, match=r"host 0 has given up: host 2 \(c\) did not call"):
            caller.result(timeout=PATIENCE)


def test_host_0_that_does_not_answer_is_named():
    port = free_port()
    with pytest.raises(UsageError, match=rf"host 0 \(a\) does not answer at 127.0.0.1:{port} within 1 s"):
        call(port, 1, seconds=1)


def test_a_program_that_says_nothing_is_not_waited_for():
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor() as threads:
        threads.submit(lambda: silent.accept()[0].close())
        with pytest.raises(UsageError, match=r"took the call at .* but did not begin"):
            call(silent.getsockname()[1], 1, seconds=1)


@pytest.mark.parametrize(
    ("index", "greeting", "message"),
    [
        (1, {"jax": "0.9"}, "host 1 was started with jax 0.9, host 0 with 0.10; they must be the same"),
        (3, {"jax": "0.10"}, "a caller says that it is host 3, which --hosts does not name"),
        (0, {"jax": "0.10"}, "a caller says that it is host 0"),
    ],
)
def test_hosts_that_do_not_fit_are_refused_on_both_sides(index, greeting, message):
    port = free_port()
    with ThreadPoolExecutor() as threads:
        caller = threads.submit(call, port, index, greeting)
        with pytest.raises(UsageError, match=re.escape(message)):
            gather_hosts(NAMES, port, {"jax": "0.10"}, PATIENCE)
        with pytest.raises(MienError, match=re.escape(message)):
            caller.result(timeout=PATIENCE)


def test_the_same_number_twice_is_refused():
    port = free_port()
    with ThreadPoolExecutor() as threads:
        callers = [threads.submit(call, port, 1) for _ in range(2)]
        with pytest.raises(UsageError, match=r"two hosts say that they are host 1 \(b\)"):
            gather_hosts(NAMES, port, {}, PATIENCE)
        for caller in callers:
            with pytest.raises(MienError, match="two hosts"):
                caller.result(timeout=PATIENCE)


def test_strangers_are_hung_up_on(closing):
    port = free_port()
    with ThreadPoolExecutor() as threads:
        gathered = threads.submit(gather_hosts, NAMES[:2], port, {}, PATIENCE)
        wait_for(lambda: stranger(port, b"GET / HTTP/1.1\r\n\r\n" + bytes(100)))
        assert stranger(port, b"d\0\0\0\0\0\0\0\x02[]")
        closing.append(call(port, 1))
        closing += gathered.result(timeout=PATIENCE).values()
        assert len(closing) == 2


def stranger(port: int, words: bytes) -> bool:
    """Say something to host 0; tells whether it has hung up."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
            connection.sendall(words)
            return connection.recv(100) == b""
    except ConnectionRefusedError:
        return False
    except ConnectionResetError:
        return True


def test_a_port_in_use_is_named():
    with socket.create_server(("", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=f"--hosts: port {port} cannot be opened here"):
            gather_hosts(NAMES, port, {}, 1)


def wait_for(sign):
    deadline = time.monotonic() + PATIENCE
    while not sign():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def start(stack: ExitStack, command, devices=2, **options) -> subprocess.Popen:
    """A process with virtual devices that does not outlive the test."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = {**os.environ, "KERAS_BACKEND": "jax", "XLA_FLAGS": flags, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's job in the background; it would be inherited
        signal.signal(signal.SIGINT, signal.default_int_handler)
    process = stack.enter_context(
        subprocess.Popen(command, env=environment, stdout=PIPE, stderr=PIPE, text=True, **options)
    )
    stack.callback(process.kill)
    return process


@pytest.mark.slow
@pytest.mark.parametrize(("what", "codes"), [("works", [0, 0]), ("fails", [1, 1]), ("dies", [1, 9])])
def test_two_processes_see_each_others_devices_and_end_together(what, codes):
    port = str(free_port())
    with ExitStack() as stack:
        hosts = [start(stack, [sys.executable, "-c", WORKER, port, str(index), what]) for index in (0, 1)]
        ended = ends(*hosts, seconds=3 * PATIENCE)
    assert [host.code for host in ended] == codes, told(ended)
    assert "['from', 0]\n4\n" in ended[0].stdout.replace("[Gloo]", "\n[Gloo]"), told(ended)
    if what != "works":
        reason = "a.png: cannot be read" if what == "fails" else "has gone: it was killed"
        said = rf"^mien: host 1 \(other\):? {reason}.*; the run ends here"
        assert re.search(said, ended[0].stderr, re.M), told(ended)


def test_a_port_that_jax_cannot_have_is_named_on_all_hosts():
    port = free_port()
    with socket.create_server(("", port + 1)), ExitStack() as stack:
        hosts = [start(stack, [sys.executable, "-c", WORKER, str(port), str(index), "fails"]) for index in (0, 1)]
        ended = ends(*hosts, seconds=3 * PATIENCE)
    assert f"port {port + 1}, which JAX needs beside {port}, cannot be opened here" in ended[0].stderr, told(ended)
    assert f"host 0 (127.0.0.1:{port}): --hosts: port {port + 1}" in ended[1].stderr, told(ended)


SETTINGS = (
    *("--network", "seed", "--size", "16", "--batch-size", "12", "--augmentation", "none", "--precision", "float32"),
    *("--set", "optimizer=sgd", "--set", "learning_rate=0.002", "--set", "schedule=constant"),
)
"""With SGD: Adam makes whole steps of a gradient that is nothing but rounding, as that of a bias before batch norm."""


class Trainings:
    """`mien train` on the hosts of a test, host 1 in a folder of its own that never sees the run."""

    def __init__(self, root: Path, stack: ExitStack) -> None:
        self.root, self.stack = root, stack
        self.data = write_patterns(root / "data" / "FER2013", train=12, test=4)
        for name in ("0", "1", "alone"):
            (root / name).mkdir()

    def begin(self, *arguments: str) -> list[subprocess.Popen]:
        hosts = f"127.0.0.1:{free_port()},other"
        return [self._start(str(index), *arguments, "--hosts", hosts, "--host-index", str(index)) for index in range(2)]

    def alone(self, *arguments: str, devices=1) -> None:
        process = self._start("alone", *arguments, devices=devices)
        ended = ends(process, seconds=4 * PATIENCE)
        assert ended[0].code == 0, told(ended)

    def _start(self, folder: str, *arguments: str, devices=2) -> subprocess.Popen:
        return start(self.stack, [sys.executable, "-m", "mien", "train", *arguments], devices, cwd=self.root / folder)

    def train(self, *arguments: str) -> list[Ended]:
        processes = self.begin(*arguments)
        ended = ends(*processes, seconds=4 * PATIENCE)
        assert [process.code for process in ended] == [0, 0], told(ended)
        return ended


@pytest.fixture
def trainings(tmp_path):
    with ExitStack() as stack:
        yield Trainings(tmp_path, stack)


def history(run: Path) -> list[dict[str, float]]:
    rows = csv.DictReader((run / "history.csv").read_text().splitlines())
    return [{name: float(value) for name, value in row.items() if name != "seconds"} for row in rows]


@pytest.mark.large
@pytest.mark.parametrize("extra", [(), ("--streaming", "--set", "ema=0.5", "--class-weights")])
def test_two_hosts_learn_what_one_learns_and_host_0_alone_writes(trainings, extra):
    if "--streaming" in extra:
        pytest.importorskip("grain", exc_type=ImportError)
    command = (str(trainings.data), *SETTINGS, "--epochs", "3", "--out", "run", *extra)
    ended = trainings.train(*command)
    trainings.alone(*command, devices=4)  # whose sums are made of the same parts: small batches magnify rounding
    mine, other = trainings.root / "0" / "run", trainings.root / "alone" / "run"
    for row, other_row in zip(history(mine), history(other), strict=True):
        assert row == pytest.approx(other_row, abs=1e-3)
    splits = [json.loads((run / "metrics.json").read_text())["splits"] for run in (mine, other)]
    assert {name: split["accuracy"] for name, split in splits[0].items()} == {
        name: split["accuracy"] for name, split in splits[1].items()
    }
    assert not list((trainings.root / "1").iterdir())
    assert "Training on 4 devices of 2 hosts, each batch split among them" in ended[0].stderr, told(ended)
    assert "Host 0 saves and judges the model of epoch 3" in ended[1].stderr, told(ended)


@pytest.mark.large
def test_a_host_that_is_killed_ends_the_others_and_the_run_goes_on_without_it(trainings):
    command = (str(trainings.data), *SETTINGS, "--epochs", "12", "--out", "run")
    trainings.alone(*command)
    processes = trainings.begin(*command)
    run = trainings.root / "0" / "run"
    wait_until((run / "checkpoints" / "epoch-0002").exists, *processes)
    processes[1].send_signal(signal.SIGKILL)
    ended = ends(*processes)
    assert ended[0].code == 1, told(ended)
    assert re.search(r"^mien: host 1 \(other\) has gone.*--resume RUN' goes on$", ended[0].stderr, re.M), told(ended)
    broken = run.with_name("again")
    shutil.copytree(run, broken)
    trainings.alone("--resume", str(run))
    trainings.train("--resume", "again")
    whole = history(trainings.root / "alone" / "run")
    for resumed in (run, broken):
        for row, other in zip(history(resumed), whole, strict=True):
            assert row == pytest.approx(other, abs=2e-3)


@pytest.mark.large
def test_ctrl_c_on_one_host_ends_all(trainings):
    processes = trainings.begin(str(trainings.data), *SETTINGS, "--epochs", "500", "--out", "run")
    wait_until((trainings.root / "0" / "run" / "checkpoints" / "epoch-0001").exists, *processes)
    processes[1].send_signal(signal.SIGINT)
    ended = ends(*processes)
    assert [process.code for process in ended] == [1, 130], told(ended)
    assert "mien: host 1 (other): was interrupted" in ended[0].stderr, told(ended)


@pytest.mark.large
def test_hosts_with_other_images_are_refused(trainings):
    other = write_patterns(trainings.root / "other" / "FER2013", train=13, test=4)
    for folder, data in (("0", trainings.data), ("1", other)):
        (trainings.root / folder / "FER2013").symlink_to(data)
    processes = trainings.begin("FER2013", *SETTINGS, "--epochs", "3", "--out", "run")
    ended = ends(*processes)
    assert [process.code for process in ended] == [1, 2], told(ended)
    assert "training images (SHA-256): host 1 has" in ended[1].stderr, told(ended)
    assert "mien: host 1 (other): training images (SHA-256)" in ended[0].stderr, told(ended)
