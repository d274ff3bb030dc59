"""`python -m tests.soak`: run random schedules and append the result of each to a file, as a line of JSON.

Schedules whose results the file contains already are skipped, so that an interrupted soak can be continued. The exit
code is 1 if one of the selected schedules has a violation.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.postgres import running_cluster
from tests.soak.fleet import running_fleet
from tests.soak.runner import Soak
from tests.soak.schedule import draw_schedule

SCHEDULES_PER_FLEET = 50
"""The database and the sandbox grow with each schedule, and are replaced after so many."""


def main() -> int:
    arguments = _arguments()
    results: Path = arguments.results
    results.parent.mkdir(parents=True, exist_ok=True)
    processes = 1 if arguments.database == "sqlite" else arguments.processes
    setup = {"database": arguments.database, "processes": processes}
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.schedules)
    known = {line["seed"]: line for line in _lines(results) if setup.items() <= line.items()}
    left = [seed for seed in seeds if seed not in known]
    while left:
        with (
            _database(arguments.database) as (url, folder),
            running_fleet(folder, url=url, processes=processes) as fleet,
        ):
            soak = Soak(fleet)
            for _ in range(min(SCHEDULES_PER_FLEET, len(left))):
                seed = left.pop(0)
                line = {**setup, **_run(soak, seed, processes)}
                with results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                known[seed] = line
                if line["wrong"]:
                    _keep_logs(results, seed, fleet.logs())
                    break  # the next schedule must not start from a wrong state
    wrong = [known[seed] for seed in seeds if known[seed]["wrong"]]
    sys.stdout.write(f"{len(seeds)} schedules on {setup}, {len(wrong)} with violations ({results})\n")
    for line in wrong:
        sys.stdout.write(f"seed {line['seed']}: {line['wrong']}\n")
    return 1 if wrong else 0


def _run(soak: Soak, seed: int, processes: int) -> dict[str, Any]:
    try:
        return soak.run(draw_schedule(seed, processes=processes))
    except AssertionError as exc:
        return {"seed": seed, "wrong": [str(exc)]}


def _lines(results: Path) -> Iterator[dict[str, Any]]:
    if results.exists():
        for line in results.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)


def _keep_logs(results: Path, seed: int, logs: str) -> None:
    results.with_name(f"{results.stem}-{seed}.log").write_text(logs, encoding="utf-8")


@contextmanager
def _database(kind: str) -> Iterator[tuple[str, Path]]:
    """Return the URL of an empty database, and a folder for settings and logs."""
    with tempfile.TemporaryDirectory(prefix="hls-soak-") as name:
        folder = Path(name)
        if kind == "sqlite":
            yield f"sqlite:///{folder}/hls.db", folder
        else:
            with running_cluster() as cluster:
                yield cluster.url(cluster.create()), folder


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.split("\n")[0])
    parser.add_argument("--schedules", type=int, default=20, help="number of schedules")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--processes", type=int, default=4, help="on PostgreSQL; SQLite permits only one")
    parser.add_argument("--results", type=Path, default=Path("data/soak.jsonl"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
