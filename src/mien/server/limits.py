"""What bounds the service's memory: places in the queue, bytes of bodies, bytes of decoded pictures."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from mien.server.problems import too_busy


class Bound:
    """A number of things that is never exceeded: whoever wants more is refused at once. For one event loop.

    Attributes:
        used: how many there are.
        most: how many there may be.
    """

    def __init__(self, most: int, what: str) -> None:
        """`what` is named in the refusal: "pictures are waiting"."""
        self.most = most
        self.used = 0
        self._what = what

    def check(self, count: int) -> None:
        """Refuse where so many more would be too many.

        Raises:
            Problem: 503.
        """
        if self.used + count > self.most:
            raise too_busy(f"{self._what}: {self.used:,} of {self.most:,} are taken; try again in a moment")

    def take(self, count: int) -> None:
        """`check`, and take them; `give` them back."""
        self.check(count)
        self.used += count

    def give(self, count: int) -> None:
        """Give so many back."""
        self.used -= count

    @contextmanager
    def taken(self, count: int) -> Iterator[None]:
        """`take` for the body's time."""
        self.take(count)
        try:
            yield
        finally:
            self.give(count)


class Room:
    """Bytes of decoded pictures. Whoever finds no room waits until others, first come first served, are done.

    One that wants more than there is gets it when it is alone. For one event loop.

    Attributes:
        used: bytes taken.
        most: bytes there are.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.used = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def taken(self, count: int) -> AsyncIterator[None]:
        """So many bytes for the body's time."""
        await self._take(count)
        try:
            yield
        finally:
            self.used -= count
            self._wake()

    async def _take(self, count: int) -> None:
        if not self._waiting and self._fits(count):
            self.used += count
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((count, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it had been given room already
                self.used -= count
            self._wake()
            raise

    def _fits(self, count: int) -> bool:
        return not self.used or self.used + count <= self.most

    def _wake(self) -> None:
        while self._waiting:
            count, turn = self._waiting[0]
            if turn.done():
                self._waiting.popleft()
                continue
            if not self._fits(count):
                return
            self._waiting.popleft()
            self.used += count
            turn.set_result(None)
