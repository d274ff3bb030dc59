"""Who waits at the door for the end of a delivery, and is told by the worker that ends it."""

from __future__ import annotations

import asyncio
import threading

from hls_handler.deliveries import Finished


class Outcomes:
    """Futures by delivery. `expect` is called on the event loop, `tell` from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._expected: dict[str, list[asyncio.Future[Finished]]] = {}

    def expect(self, guid: str) -> asyncio.Future[Finished]:
        """A future for the end of this delivery. Whoever stops waiting cancels it, and it is forgotten."""
        future: asyncio.Future[Finished] = asyncio.get_running_loop().create_future()
        with self._lock:
            self._expected.setdefault(guid, []).append(future)
        future.add_done_callback(lambda done: self._forget(guid, done))
        return future

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


def _resolve(future: asyncio.Future[Finished], finished: Finished) -> None:
    if not future.done():
        future.set_result(finished)
