"""The queue and its threads; what bounds memory."""

import asyncio
import threading
from concurrent.futures import CancelledError, wait

import numpy as np
import pytest

from mien.server.batching import BATCH_PIXELS, Batcher
from mien.server.limits import Bound, Room
from mien.server.options import Options
from mien.server.problems import Problem
from services import POISON, FakeAnalyzer

ONE, OTHER = Options("one"), Options("other")


def image(red: int, size: int = 4) -> np.ndarray:
    return np.full((size, size, 3), red, np.uint8)


@pytest.fixture
def analyzer() -> FakeAnalyzer:
    return FakeAnalyzer()


def make(analyzer: FakeAnalyzer, beside: FakeAnalyzer | None = None, **changes) -> Batcher:
    told = {"workers": 1, "most": 4, "wait": 0.0, "observe": lambda pictures, seconds: None} | changes
    return Batcher(lambda options: analyzer, lambda options: beside or analyzer, **told)


def fill(batcher: Batcher, analyzer: FakeAnalyzer, *jobs: tuple[int, Options]) -> list:
    """Put a first picture in work, then these behind it, then let the work go on."""
    analyzer.let_go.clear()
    first = batcher.submit(image(0), ONE)
    assert analyzer.begun.wait(10)
    answers = [first, *(batcher.submit(image(red), options) for red, options in jobs)]
    analyzer.let_go.set()
    wait(answers, 10)
    return answers


@pytest.fixture
def batcher(analyzer):
    made = make(analyzer)
    made.start()
    yield made
    made.close()


def test_what_waits_is_taken_together_up_to_the_most(batcher, analyzer) -> None:
    answers = fill(batcher, analyzer, *((red, ONE) for red in range(1, 7)))
    assert analyzer.batches == [[0], [1, 2, 3, 4], [5, 6]]
    assert all(answer.result()["faces"] for answer in answers)


def test_only_equal_options_go_together_and_nobody_is_overtaken_for_long(batcher, analyzer) -> None:
    fill(batcher, analyzer, (1, ONE), (2, OTHER), (3, ONE), (4, OTHER))
    assert analyzer.batches == [[0], [1, 3], [2, 4]]


def test_a_poisoned_picture_fails_alone(batcher, analyzer) -> None:
    answers = fill(batcher, analyzer, (1, ONE), (POISON, ONE), (3, ONE))
    assert [answer.exception() is None for answer in answers] == [True, True, False, True]
    assert analyzer.batches == [[0], [1, POISON, 3], [1], [POISON], [3]]


def test_cancelled_pictures_are_never_worked_on(batcher, analyzer) -> None:
    analyzer.let_go.clear()
    first = batcher.submit(image(0), ONE)
    assert analyzer.begun.wait(10)
    gone, stays = batcher.submit(image(1), ONE), batcher.submit(image(2), ONE)
    gone.cancel()
    batcher.drop_cancelled()
    assert batcher.waiting == 1
    analyzer.let_go.set()
    wait([first, stays], 10)
    assert analyzer.batches == [[0], [2]]


def test_large_pictures_end_a_batch(batcher, analyzer) -> None:
    side = int(BATCH_PIXELS**0.5) + 1
    analyzer.let_go.clear()
    first = batcher.submit(image(0), ONE)
    assert analyzer.begun.wait(10)
    answers = [first, *(batcher.submit(image(red, side), ONE) for red in (1, 2)), batcher.submit(image(3), ONE)]
    analyzer.let_go.set()
    wait(answers, 10)
    assert analyzer.batches == [[0], [1], [2], [3]]


def test_a_picture_alone_gets_all_cores_others_share_them() -> None:
    alone, beside = FakeAnalyzer(), FakeAnalyzer()
    batcher = make(alone, beside, workers=2)
    batcher.start()
    alone.let_go.clear()
    first = batcher.submit(image(1), ONE)
    assert alone.begun.wait(10)
    second = batcher.submit(image(2), ONE)
    assert second.result(10)
    alone.let_go.set()
    assert first.result(10)
    assert batcher.submit(image(3), ONE).result(10)
    batcher.close()
    assert (alone.batches, beside.batches) == ([[1], [3]], [[2]])


def test_announced_pictures_are_waited_for_but_not_long(analyzer) -> None:
    batcher = make(analyzer, wait=5.0)
    batcher.start()
    batcher.announce(2)
    first = batcher.submit(image(1), ONE)
    batcher.announce(-1)
    assert not analyzer.begun.wait(0.1)
    second = batcher.submit(image(2), ONE)
    batcher.announce(-1)
    wait([first, second], 2)
    assert analyzer.batches == [[1, 2]]
    batcher.close()
    hasty = make(analyzer, wait=0.05)
    hasty.start()
    hasty.announce(1)
    assert hasty.submit(image(3), ONE).result(5)
    hasty.close()


def test_closing_drops_what_waits_and_lets_work_finish(analyzer) -> None:
    batcher = make(analyzer)
    batcher.start()
    analyzer.let_go.clear()
    first = batcher.submit(image(0), ONE)
    assert analyzer.begun.wait(10)
    second = batcher.submit(image(1), ONE)
    threading.Timer(0.1, analyzer.let_go.set).start()
    batcher.close()
    assert first.result(1)
    for answer in (second, batcher.submit(image(2), ONE)):
        with pytest.raises(CancelledError):
            answer.result(1)


def test_a_bound_is_never_exceeded() -> None:
    bound = Bound(10, "pictures are waiting")
    with bound.taken(7):
        with pytest.raises(Problem, match="7 of 10") as caught:
            bound.take(4)
        assert caught.value.status == 503
        bound.take(3)
        bound.give(3)
    assert bound.used == 0


def test_room_is_given_first_come_first_served() -> None:
    async def run() -> list[str]:
        room, order, held = Room(10), [], asyncio.Event()

        async def use(name: str, count: int) -> None:
            async with room.taken(count):
                order.append(name)
                assert room.used <= 10 or name == "huge"
                await held.wait()

        tasks = []
        for name, count in (("a", 6), ("b", 6), ("c", 3), ("huge", 99), ("d", 1)):
            tasks.append(asyncio.create_task(use(name, count)))
            await asyncio.sleep(0)
        assert order == ["a"]
        held.set()
        await asyncio.gather(*tasks)
        assert room.used == 0
        return order

    assert asyncio.run(run()) == ["a", "b", "c", "huge", "d"]


def test_room_that_is_no_longer_wanted_goes_to_the_next() -> None:
    async def run() -> None:
        room, held = Room(10), asyncio.Event()

        async def use(count: int) -> None:
            async with room.taken(count):
                await held.wait()

        first, gone, third = (asyncio.create_task(use(count)) for count in (6, 9, 4))
        await asyncio.sleep(0.01)
        assert room.used == 6
        gone.cancel()
        await asyncio.sleep(0.01)
        assert room.used == 10
        held.set()
        await asyncio.gather(first, third)
        assert room.used == 0
        assert gone.cancelled()

    asyncio.run(run())
