"""Cache of values that are read from the database for pages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar, TypeVarTuple

from hls_handler.errors import StoreUnavailable

READ_TIMEOUT_S = 5.0
MAX_VALUES = 32
"""Values in memory; if there are more, the oldest is removed."""

Value = TypeVar("Value")
Key = TypeVarTuple("Key")


class SingleFlightCache(Generic[Value, *Key]):
    """Values by the arguments of `read`. `read` runs in a thread, once at a time, for all callers
    that wait for it.

    `read` may block and may raise `StoreUnavailable`; errors are not cached. `clock` returns
    seconds.
    """

    def __init__(
        self,
        read: Callable[[*Key], Value],
        clock: Callable[[], float],
        *,
        max_age_s: float,
        timeout_s: float = READ_TIMEOUT_S,
    ) -> None:
        self._read = read
        self._clock = clock
        self._max_age_s = max_age_s
        self._timeout_s = timeout_s
        # with the time at which the reading began
        self._values: dict[tuple[*Key], tuple[float, Value]] = {}
        self._reading: tuple[tuple[*Key], asyncio.Task[Value]] | None = (
            None  # the newest; it may have ended
        )

    async def get(self, *key: *Key) -> Value:
        """Return a value that is less than `max_age_s` old. Raises as `read`, and
        `StoreUnavailable` after `timeout_s`.

        A timeout does not stop the reading of the database: the next calls wait for its end.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._get(key)
        except TimeoutError:
            raise StoreUnavailable(
                f"the database did not answer within {self._timeout_s:g} s"
            ) from None

    def forget(self) -> None:
        """Read all values again at the next call, because this process has changed the database."""
        self._values.clear()

    async def _get(self, key: tuple[*Key]) -> Value:
        while True:
            found = self._values.get(key)
            if found is not None and 0 <= self._clock() - found[0] < self._max_age_s:
                return found[1]
            if self._reading is None or self._reading[1].done():
                self._reading = (key, self._begin(key))
            of_key, reading = self._reading
            await asyncio.wait((reading,))
            if of_key == key:
                return reading.result()

    def _begin(self, key: tuple[*Key]) -> asyncio.Task[Value]:
        reading = asyncio.create_task(self._refresh(key))
        # Retrieve the exception: asyncio would log it if no caller waits any more.
        reading.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        return reading

    async def _refresh(self, key: tuple[*Key]) -> Value:
        began = self._clock()
        value = await asyncio.to_thread(self._read, *key)
        self._values.pop(key, None)
        if len(self._values) == MAX_VALUES:
            self._values.pop(next(iter(self._values)))
        self._values[key] = began, value
        return value
