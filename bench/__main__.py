"""`python -m bench [NAME...]`: prints the ratios and what is required of them; exit code 1 if one is missed."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench import accept, claim, cpu, latency, memory, steps, work
from bench.row import Row, table

MEASURES: Mapping[str, Callable[[Path], tuple[Row, ...]]] = {
    "accept": accept.measure,
    "accept-postgresql": accept.measure_postgresql,
    "latency": latency.measure,
    "work": work.measure,
    "steps": steps.measure,
    "claim": claim.measure,
    "memory": memory.measure,
    "cpu": cpu.measure,
}
"""By name, in the order in which they run; each is given an empty folder on the real disk."""


def _folder() -> Path:
    """On the real disk, where the service's own database is by default; git ignores it."""
    folder = Path("data/bench").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def main(names: Sequence[str]) -> int:
    unknown = sorted(set(names) - set(MEASURES))
    if unknown:
        print(f"no such measure: {', '.join(unknown)}; there are {', '.join(MEASURES)}", file=sys.stderr)
        return 2
    logging.getLogger("hls_handler").setLevel(logging.WARNING)
    rows: list[Row] = []
    for name in names or MEASURES:
        with tempfile.TemporaryDirectory(dir=_folder()) as folder:
            Path(folder).chmod(0o755)  # PostgreSQL may have to run as another user
            measured = MEASURES[name](Path(folder))
        rows += measured
        ratios = ", ".join(f"{row.value:.3g}" for row in measured)
        print(f"{name}: {ratios} (load {os.getloadavg()[0]:.1f})", file=sys.stderr, flush=True)
    print(table(rows))
    return 1 if any(row.is_missed for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
