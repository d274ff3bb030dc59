"""Print the simulated rates of the decision and of the intervals: `python -m tests.backtest.rates`.

Each row is of 1,000 runs with a fixed seed, and takes a second.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator

from hls_handler.backtest.decision import power
from tests.backtest.simulated import (
    BIASED,
    GUESSING,
    HONEST,
    OVERCONFIDENT,
    RUNS,
    Answerer,
    Prompts,
    count_wrong,
    measure_coverage,
)

CHANGED = (0.15, 0.2, 0.25, 0.3, 0.35)


def table_row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def list_decisions(planned: int, issues: int) -> Iterator[str]:
    yield ""
    yield f"planned: {planned} issues; looks again after each further issue up to {issues}"
    yield table_row("points", "changed", "promote", "reject", "inconclusive", "wrong")
    yield table_row(*["---"] * 6)
    for current, difference in ((0.8, -0.1), (0.7, 0.0), (0.7, 0.1)):
        independent = Prompts.independent(current, difference)
        for changed in (*CHANGED, independent.changed):
            decisions = Prompts(current, difference, changed).decide(planned, issues)
            counts = Counter(decision.conclusion for decision in decisions)
            wrong = count_wrong(decisions, difference)
            yield table_row(
                f"{difference * 100:+.0f}",
                f"{changed:.0%}",
                f"{counts['promote'] / RUNS:.1%}",
                f"{counts['reject'] / RUNS:.1%}",
                f"{counts['inconclusive'] / RUNS:.1%}",
                f"{wrong / RUNS:.1%}",
            )


def list_powers() -> Iterator[str]:
    yield ""
    yield "computed chance of a promotion at +10 points, by planned issues and changed share"
    yield table_row("planned", *(f"{changed:.0%}" for changed in CHANGED))
    yield table_row(*["---"] * (len(CHANGED) + 1))
    for planned in (100, 200, 400, 800):
        yield table_row(f"{planned}", *(f"{power(planned, 0.1, one):.1%}" for one in CHANGED))


def list_coverage(answerer: Answerer) -> Iterator[str]:
    coverage = measure_coverage(answerer)
    yield ""
    yield f"{answerer.name}: runs of {RUNS} with 400 issues in which the interval has the true value"
    for name, covered in sorted(coverage.items()):
        yield f"  {name}: {covered}"


def list_lines() -> Iterator[str]:
    yield "The last row of each difference is of independent answers."
    yield from list_decisions(planned=400, issues=400)
    yield from list_decisions(planned=400, issues=1000)
    yield from list_decisions(planned=200, issues=1000)
    yield from list_powers()
    for answerer in (HONEST, BIASED, OVERCONFIDENT, GUESSING):
        yield from list_coverage(answerer)


if __name__ == "__main__":
    for line in list_lines():
        sys.stdout.write(f"{line}\n")
