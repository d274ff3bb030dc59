"""`hls serve` that stops itself once (SIGSTOP), between the check of its lease and its first write
to GitHub.

`python -m tests.machines.stopped_before_write --config PATH`. The test continues the process with
SIGCONT.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from functools import partial
from pathlib import Path

from hls_handler import app
from hls_handler.cli.serve import run_service
from hls_handler.deliveries import Lease
from hls_handler.engine import processing
from hls_handler.queue.leases import HeldLeases
from tests.e2e.service import SHORT_LEASE


class StoppingLeases(HeldLeases):
    secured = 0

    def secure(self, lease: Lease) -> None:
        super().secure(lease)
        self.secured += 1
        if self.secured == 2:  # the first one begins the attempt
            os.kill(os.getpid(), signal.SIGSTOP)
            # the signal may stop another thread first; this one must not write meanwhile
            threading.Event().wait(1)


if __name__ == "__main__":
    vars(processing)["HeldLeases"] = StoppingLeases
    sys.exit(run_service(Path(sys.argv[2]), partial(app.Service, expiry=SHORT_LEASE)))
