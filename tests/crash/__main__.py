"""`python -m tests.crash`: kill the service at every commit and every request of every handler.

The exit code is 1 if a result differs from that of an undisturbed service.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.crash.comparison import find_differences, kills_with_repeated_call
from tests.crash.harness import Harness, running_harness
from tests.crash.kills import all_kills, run, undisturbed_run
from tests.crash.scenarios import SCENARIOS, Scenario
from tests.postgres import running_cluster


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.crash", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument(
        "--handler", choices=[scenario.handler for scenario in SCENARIOS], help="only this one"
    )
    arguments = parser.parse_args()
    differences = 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hls-crash-")))
        cluster = (
            stack.enter_context(running_cluster()) if arguments.database == "postgresql" else None
        )
        for scenario in SCENARIOS:
            if arguments.handler in (None, scenario.handler):
                own = folder / scenario.handler.strip("/")
                own.mkdir()
                # the snapshot is of all rows
                url = cluster.url(cluster.create()) if cluster is not None else None
                with running_harness(
                    own, url=url
                ) as harness:  # all scenarios together exceed GitHub's rate limit
                    differences += _count_differences(harness, scenario)
    return 1 if differences else 0


def _count_differences(harness: Harness, scenario: Scenario) -> int:
    """Kill the service at each point, and print the result."""
    undisturbed = undisturbed_run(harness, scenario)
    runs = [run(harness, scenario, kill) for kill in all_kills(undisturbed)]
    lines = [line for found in runs for line in find_differences(scenario, undisturbed, found)]
    sys.stdout.write(
        f"{scenario.handler}: {undisturbed.commits} commits, {undisturbed.requests} requests, "
        f"{sum(found.at_kill is not None for found in runs)} kills, {len(lines)} differences, "
        f"Claude asked again after {', '.join(kills_with_repeated_call(runs)) or 'none'}\n"
    )
    sys.stdout.writelines(f"  {line}\n" for line in lines)
    sys.stdout.flush()
    return len(lines)


if __name__ == "__main__":
    sys.exit(main())
