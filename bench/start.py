"""Processor time of `hls --help`, and resident memory of the service at rest.

The reference for both is a process that imports all commands and libraries (`bench.everything`), as
every start did before commands were imported on use.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from bench.process import MeasuredProcess, running
from bench.row import Row
from bench.service import StartService, service
from hls_handler.store.storage import Storage
from tests.github_fake.server import Sandbox

ROUNDS = 5
HELP, HELP_AIM = 0.5, 0.15
AT_REST, AT_REST_AIM = 1.0, 0.95  # 1.11 when every start imported everything
REST_S = 10.0
"""Time for the service to check GitHub and Claude for the first time, which imports the SDK of
Claude.
"""


def measure(
    folder: Path,
    *,
    rounds: int = ROUNDS,
    rest_s: float = REST_S,
    start_service: StartService = service,
) -> tuple[Row, ...]:
    help_s = median(_help_s() for _ in range(rounds))
    with running("bench.everything") as everything:
        everything_s, everything_kb = everything.cpu_s, everything.resident_kb
    at_rest_kb = _at_rest_kb(folder, rest_s, start_service)
    times = f"{help_s * 1000:.0f} ms to {everything_s * 1000:.0f} ms"
    sizes = f"{at_rest_kb / 1024:.0f} MB to {everything_kb / 1024:.0f} MB"
    return (
        Row("hls --help, to all imports", help_s / everything_s, "at most", HELP, HELP_AIM, times),
        Row(
            "memory at rest, to all imports",
            at_rest_kb / everything_kb,
            "at most",
            AT_REST,
            AT_REST_AIM,
            sizes,
        ),
    )


def _help_s() -> float:
    with subprocess.Popen(
        [sys.executable, "-m", "hls_handler", "--help"], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.read()
        return MeasuredProcess(
            0, process.pid
        ).cpu_s  # the process has ended, but is not waited for yet


def _at_rest_kb(folder: Path, rest_s: float, start_service: StartService) -> int:
    url = f"sqlite:///{folder / 'rest.db'}"
    Storage.open(url).close()  # a migration would import Alembic
    with (
        Sandbox() as sandbox,
        start_service(
            folder,
            credentials=(sandbox.token, sandbox.api_key),
            github_url=sandbox.github_url,
            claude_url=sandbox.claude_url,
            storage_url=url,
        ) as ours,
    ):
        time.sleep(rest_s)
        return ours.resident_kb
