"""Runs schedules by seed: `python -m tests.simulation 0-1999`. One alone is printed with what
happened.
"""

from __future__ import annotations

import gc
import logging
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.simulation.simulation import SimulatedDatabase, Simulation


def main(seeds: str) -> None:
    first, _, last = seeds.partition("-")
    numbers, began = range(int(first), int(last or first) + 1), time.monotonic()
    if len(numbers) > 1:
        logging.disable()
    failed = 0
    gc.freeze()
    gc.set_threshold(50_000)
    with TemporaryDirectory() as folder:
        database = SimulatedDatabase(Path(folder) / "hls.db")
        for seed in numbers:
            simulation = Simulation(seed, database)
            violations = simulation.run()
            failed += bool(violations)
            if violations or len(numbers) == 1:
                result = violations or "nothing is lost, doubled or stuck"
                sys.stdout.write("\n  ".join([f"seed {seed}: {result}", *simulation.log]) + "\n")
        database.close()
    sys.stdout.write(
        f"{len(numbers)} schedules in {time.monotonic() - began:.0f} s, {failed} failed\n"
    )
    sys.exit(bool(failed))


if __name__ == "__main__":
    main(sys.argv[1])
