"""The watcher: looks every second whether files changed, so that the door and `/health` know without a delivery."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from hls_handler.errors import StoreUnavailable
from hls_handler.work.conclusion import store_trouble
from hls_handler.work.health import Health

log = logging.getLogger(__name__)

EVERY_S = 1.0


class Watcher:
    """One thread. It asks for a file's age and not to be told of changes: that works on mounts and for links, too."""

    def __init__(self, look: Callable[[], object], health: Health, *, every_s: float = EVERY_S) -> None:
        self._look, self._health, self._every_s = look, health, every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="watcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join(timeout=1.0)

    def _loop(self) -> None:
        while not self._ended.wait(self._every_s):
            try:
                self._look()
            except StoreUnavailable as exc:
                store_trouble(self._health, exc)
            except Exception:  # the edge of the watcher's thread: it must not end over one defect
                log.exception("defect while looking after settings and prompts")
