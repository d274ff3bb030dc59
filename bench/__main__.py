"""`python -m bench [NAME...]`: print ratios and their limits; the exit code is 1 if a limit is
missed.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench import (
    accept,
    causes,
    claim,
    commands,
    cpu,
    latency,
    memory,
    pages,
    places,
    reloads,
    reviews,
    start,
    steps,
    work,
)
from bench.process import make_folder
from bench.row import Row, table

BENCHMARKS: Mapping[str, Callable[..., tuple[Row, ...]]] = {
    "accept": accept.measure,
    "accept-postgresql": accept.measure_postgresql,
    "latency": latency.measure,
    "work": work.measure,
    "steps": steps.measure,
    "reviews": reviews.measure,
    "places": places.measure,
    "claim": claim.measure,
    "pages": pages.measure,
    "pages-postgresql": pages.measure_postgresql,
    "causes": causes.measure,
    "causes-postgresql": causes.measure_postgresql,
    "reloads": reloads.measure,
    "reloads-postgresql": reloads.measure_postgresql,
    "start": start.measure,
    "commands": commands.measure,
    "memory": memory.measure,
    "cpu": cpu.measure,
}
"""By name, in the order of execution. Each gets an empty folder on the real disk, and a test passes
smaller numbers."""


def main(names: Sequence[str]) -> int:
    unknown = sorted(set(names) - set(BENCHMARKS))
    if unknown:
        print(
            f"unknown benchmarks: {', '.join(unknown)}; expected {', '.join(BENCHMARKS)}",
            file=sys.stderr,
        )
        return 2
    logging.getLogger("hls_handler").setLevel(logging.WARNING)
    rows: list[Row] = []
    for name in names or BENCHMARKS:
        with tempfile.TemporaryDirectory(dir=make_folder()) as folder:
            Path(folder).chmod(0o755)  # PostgreSQL may run as another user
            measured = BENCHMARKS[name](Path(folder))
        rows += measured
        ratios = ", ".join(f"{row.value:.3g}" for row in measured)
        print(f"{name}: {ratios} (load {os.getloadavg()[0]:.1f})", file=sys.stderr, flush=True)
    print(table(rows))
    return 1 if any(row.is_missed for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
