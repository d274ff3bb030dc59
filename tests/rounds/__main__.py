"""Runs many lives of pull requests: `python -m tests.rounds --lives 2000 --claude sloppy`.

`--life 1000037` prints the steps of one life, and its prompts.
"""

from __future__ import annotations

import argparse
import logging
import sys
from functools import partial

from tests.rounds.lives import Counts, Life, live
from tests.rounds.prompt_reader import KINDS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lives", type=int, default=500, help="lives for each kind of Claude")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--claude", choices=KINDS, action="append", help="how Claude answers")
    parser.add_argument("--life", type=int, metavar="SEED", help="print one life")
    options = parser.parse_args()
    logging.disable()
    kinds = options.claude or KINDS
    if options.life is not None:
        life = Life(options.life, Counts(kinds[0]))
        life.run()
        prompts = [f"--- prompt {at}\n{prompt}" for at, prompt in enumerate(life.prompts, 1)]
        sys.stdout.write("\n".join([*prompts, f"--- steps\n{'; '.join(life.steps)}", ""]))
        return
    is_wrong = False
    for kind in kinds:
        show = partial(print, flush=True)
        counts = live(seed=options.seed, lives=options.lives, claude=kind, show=show)
        sys.stdout.write(f"{counts.describe()}\n")
        is_wrong = is_wrong or counts.is_wrong
    sys.exit(is_wrong)


main()
