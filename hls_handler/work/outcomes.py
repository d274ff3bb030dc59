"""Who waits at the door for the end of a delivery, and is told by the worker that ends it, here or elsewhere."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Iterable

from hls_handler.deliveries import Accepted, Finished

Ends = Callable[[Collection[str]], Iterable[Finished]]
"""Those of these deliveries that have ended. May block, and raise `StoreUnavailable`."""


class Outcomes:
    """Futures by delivery. `expect` is called on the event loop, all else from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._expected: dict[str, list[asyncio.Future[Finished]]] = {}
        self._committed: set[str] = set()  # of those expected: how they ended before was another run of them

    def expect(self, guid: str) -> asyncio.Future[Finished]:
        """A future for the end of this delivery. Whoever stops waiting cancels it, and it is forgotten."""
        future: asyncio.Future[Finished] = asyncio.get_running_loop().create_future()
        with self._lock:
            self._expected.setdefault(guid, []).append(future)
        future.add_done_callback(lambda done: self._forget(guid, done))
        return future

    def committed(self, accepted: Iterable[Accepted]) -> None:
        """These are in the store now: from here on it can tell how they end."""
        with self._lock:
            self._committed.update(a.guid for a in accepted if a.outcome == "queued" and a.guid in self._expected)

    def look(self, ends: Ends) -> None:
        """Ask the store, if anybody waits for what it can tell: another machine may have done the work."""
        with self._lock:
            asked = tuple(self._committed)
        if asked:
            for finished in ends(asked):
                self.tell(finished)

    def tell(self, finished: Finished) -> None:
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
