"""`hls serve` that freezes once: after it made sure of its lease, right before the bytes of its first write leave.

`python -m tests.machines.frozen --config PATH`. Whoever started it sees the process stopped, and thaws it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from hls_handler import app
from hls_handler.cli.serve import run_service
from hls_handler.deliveries import Lease
from hls_handler.queue.leases import HeldLeases


class Freezing(HeldLeases):
    frozen = False

    def secure(self, lease: Lease) -> None:
        super().secure(lease)
        if not self.frozen:
            self.frozen = True
            os.kill(os.getpid(), signal.SIGSTOP)
            threading.Event().wait(1)  # the signal may reach another thread first: this one must not run ahead of it


if __name__ == "__main__":
    vars(app)["HeldLeases"] = Freezing
    sys.exit(run_service(Path(sys.argv[2])))
