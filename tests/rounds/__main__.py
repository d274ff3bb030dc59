"""Runs many generated pull requests: `python -m tests.rounds --pull-requests 2000 --seed 1`.

`--lives 2000 --claude sloppy` runs lives over a git repository, `--life 1000037` prints one of
them.
"""

from __future__ import annotations

import argparse
import logging
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.rounds.lives import Counts, describe_lives, live, run_life
from tests.rounds.prompt_reader import KINDS
from tests.rounds.simulation import describe, simulate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pull-requests", type=int, default=2000)
    parser.add_argument("--pushes", type=int, default=5, help="pushes to each pull request")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--faults", type=float, default=0.05, help="share of Claude's calls without a usable reply"
    )
    parser.add_argument(
        "--lives", type=int, default=0, help="lives to run instead of these pull requests"
    )
    parser.add_argument(
        "--claude", choices=KINDS, default="perfect", help="how Claude answers in lives"
    )
    parser.add_argument(
        "--life", type=int, metavar="SEED", help="print the steps of one life, and its prompts"
    )
    given = parser.parse_args()
    logging.disable()
    if given.life is not None:
        _print_life(given.life, given.claude)
    elif given.lives:
        known = {"seed": given.seed, "claude": given.claude}
        counts = live(**known, lives=given.lives, show=partial(print, flush=True))
        sys.stdout.write(f"{describe_lives(counts, **known)}\n")
    else:
        totals = simulate(
            seed=given.seed,
            pull_requests=given.pull_requests,
            pushes=given.pushes,
            faults=given.faults,
        )
        sys.stdout.write("\n".join([describe(totals), *totals.problems[:20], ""]))
        sys.exit(1 if totals.is_wrong else 0)


def _print_life(seed: int, claude: str) -> None:
    with TemporaryDirectory() as folder:
        life = run_life(
            seed, next(kind for kind in KINDS if kind == claude), Counts(), Path(folder)
        )
    for number, prompt in enumerate(life.prompts, 1):
        sys.stdout.write(f"--- prompt {number}\n{prompt}\n")
    sys.stdout.write(f"--- steps\n{'; '.join(life.steps)}\n")


main()
