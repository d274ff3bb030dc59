"""`python -m tests.soak`: carries out random schedules and appends what came of each to a file, a line of JSON each.

A schedule that the file has already is left out, so that an interrupted soak goes on where it was. The exit code is 1
if anything was ever wrong with one of those asked for.
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
from tests.soak.fleet import assembled
from tests.soak.run import Soak
from tests.soak.schedule import drawn

A_FLEETS_LIFE = 50
"""Schedules over one database and one sandbox, which grow; then everything begins afresh."""


def main() -> int:
    arguments = _arguments()
    results: Path = arguments.results
    results.parent.mkdir(parents=True, exist_ok=True)
    processes = 1 if arguments.database == "sqlite" else arguments.processes
    place = {"database": arguments.database, "processes": processes}
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.schedules)
    known = {line["seed"]: line for line in _lines(results) if place.items() <= line.items()}
    left = [seed for seed in seeds if seed not in known]
    while left:
        with _database(arguments.database) as (url, folder), assembled(folder, url=url, processes=processes) as fleet:
            soak = Soak(fleet)
            for _ in range(min(A_FLEETS_LIFE, len(left))):
                seed = left.pop(0)
                line = {**place, **_carried_out(soak, seed, processes)}
                with results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                known[seed] = line
                if line["wrong"]:
                    _keep_logs(results, seed, fleet.logs())
                    break  # what is wrong must not be what the next one begins with
    asked_for = [known[seed] for seed in seeds if seed in known]
    wrong = [line for line in asked_for if line["wrong"]]
    sys.stdout.write(f"{len(asked_for)} schedules on {place}, {len(wrong)} with something wrong ({results})\n")
    for line in wrong:
        sys.stdout.write(f"seed {line['seed']}: {line['wrong']}\n")
    return 1 if wrong else 0


def _carried_out(soak: Soak, seed: int, processes: int) -> dict[str, Any]:
    try:
        return soak.run(drawn(seed, processes=processes))
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
    """The address of an empty one, and a folder for everything else."""
    with tempfile.TemporaryDirectory(prefix="hls-soak-") as name:
        folder = Path(name)
        if kind == "sqlite":
            yield f"sqlite:///{folder}/hls.db", folder
        else:
            with running_cluster() as cluster:
                yield cluster.url(cluster.create()), folder


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.split("\n")[0])
    parser.add_argument("--schedules", type=int, default=20, help="how many")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--processes", type=int, default=4, help="on PostgreSQL; SQLite takes one")
    parser.add_argument("--results", type=Path, default=Path("data/soak.jsonl"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
