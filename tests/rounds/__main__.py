"""Runs many generated pull requests: `python -m tests.rounds --pull-requests 2000 --seed 1`."""

from __future__ import annotations

import argparse
import logging
import sys

from tests.rounds.simulation import describe, simulate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pull-requests", type=int, default=2000)
    parser.add_argument("--pushes", type=int, default=5, help="pushes to each pull request")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=float, default=0.05, help="share of Claude's calls without a usable reply")
    given = parser.parse_args()
    logging.disable()
    totals = simulate(seed=given.seed, pull_requests=given.pull_requests, pushes=given.pushes, faults=given.faults)
    sys.stdout.write("\n".join([describe(totals), *totals.problems[:20], ""]))
    sys.exit(1 if totals.is_wrong else 0)


main()
