"""`hls serve` as a child process of the demo: exits as soon as the demo has ended.

The demo holds the other end of standard input and never writes to it, so a read returns when the demo ends, even by
SIGKILL.
"""

from __future__ import annotations

import os
import sys
import threading

from hls_handler.cli import app


def _exit_with_demo() -> None:
    os.read(0, 1)
    os._exit(1)  # no shutdown: the stand-ins are gone, so no step could succeed; the checkpoints are stored


if __name__ == "__main__":
    threading.Thread(target=_exit_with_demo, name="demo-watcher", daemon=True).start()
    app(["serve", "--config", sys.argv[1]])
