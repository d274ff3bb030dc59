"""Futures for requests that wait for the end of a delivery, processed by this or another process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Iterable

from hls_handler.deliveries import Accepted, Finished

Ends = Callable[[Collection[str]], Iterable[Finished]]
"""Returns those of the given deliveries that are finished. May block and raise `StoreUnavailable`."""


class Outcomes:
    """Futures by delivery id. `expect` is called on the event loop, the other methods from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._expected: dict[str, list[asyncio.Future[Finished]]] = {}
        self._committed: set[str] = (
            set()
        )  # expected ones whose accept is committed; an earlier end belongs to an earlier run

    def expect(self, guid: str) -> asyncio.Future[Finished]:
        """Return a future for the end of this delivery. Cancel it to stop waiting."""
        future: asyncio.Future[Finished] = asyncio.get_running_loop().create_future()
        with self._lock:
            self._expected.setdefault(guid, []).append(future)
        future.add_done_callback(lambda done: self._forget(guid, done))
        return future

    def committed(self, accepted: Iterable[Accepted]) -> None:
        """Record that these deliveries are in the store, so that `look` queries them."""
        with self._lock:
            self._committed.update(a.guid for a in accepted if a.outcome == "queued" and a.guid in self._expected)

    def look(self, ends: Ends) -> None:
        """Resolve the futures of deliveries that another process finished. Calls `ends` only if any are expected."""
        with self._lock:
            waiting = tuple(self._committed)
        if waiting:
            for finished in ends(waiting):
                self.tell(finished)

    def tell(self, finished: Finished) -> None:
        """Resolve the futures of this delivery."""
        with self._lock:
            futures = list(self._expected.get(finished.guid, ()))
        for future in futures:
            future.get_loop().call_soon_threadsafe(_resolve, future, finished)

    def _forget(self, guid: str, future: asyncio.Future[Finished]) -> None:
        with self._lock:
            left = [other for other in self._expected.get(guid, ()) if other is not future]
            if left:
                self._expected[guid] = left
            else:
                self._expected.pop(guid, None)
                self._committed.discard(guid)


def _resolve(future: asyncio.Future[Finished], finished: Finished) -> None:
    if not future.done():
        future.set_result(finished)
