"""`hls serve` for the demo: ends as soon as the demo is gone, however that came about.

The demo holds the other end of standard input and never writes: reading it ends when the demo does, even by SIGKILL.
"""

from __future__ import annotations

import os
import sys
import threading

from hls_handler.cli import app


def _end_with_the_demo() -> None:
    os.read(0, 1)
    os._exit(1)  # at once: the stand-ins went with the demo, so no step could end well, and each is remembered


if __name__ == "__main__":
    threading.Thread(target=_end_with_the_demo, name="demo-watcher", daemon=True).start()
    app(["serve", "--config", sys.argv[1]])
