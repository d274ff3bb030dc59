"""Benchmarks run once with few deliveries, for their assertions and not for their figures."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from typing import Any

import pytest

from bench import accept, causes, claim, latency, model, pages, reloads, reviews, scale
from bench.__main__ import BENCHMARKS
from bench.process import MeasuredProcess, terminated_at_exit
from bench.service import service
from bench.stand_in import sandbox
from hls_handler.reports.estimate import TYPICAL_REVIEW
from tests.e2e.fork_server import ForkedProcess, start_module
from tests.e2e.service import Waiting


def fork_service(settings: Path) -> ForkedProcess:
    """Start the service in a fraction of the time; its figures are not those of a service."""
    arguments = ["serve", "--config", str(settings)]
    return start_module(
        "hls_handler", arguments, environ=os.environ, log=settings.with_suffix(".log")
    )


@contextmanager
def run_forked(module: str, *arguments: object) -> Iterator[MeasuredProcess]:
    """Do the same as `bench.process.running` in a fraction of the time."""
    with tempfile.NamedTemporaryFile("r") as log:
        process = start_module(
            module, [*map(str, arguments)], environ=os.environ, log=Path(log.name)
        )
        with terminated_at_exit(process):
            yield MeasuredProcess(_read_port(process, Path(log.name)), process.pid)
        sys.stderr.write(log.read())


def _read_port(process: ForkedProcess, log: Path) -> int:
    """Return the port in the first line of the output."""
    waiting = Waiting(60)
    while waiting.more() and process.poll() is None:
        port, end, _ = log.read_text().partition("\n")
        if end:
            return int(port)
    raise AssertionError(log.read_text())


SERVICE = {"start_service": partial(service, start=fork_service)}
ONE: Mapping[str, Any] = {"per_worker": 1, "rounds": 1, "accepts": 2}
BOTH: Mapping[str, Any] = {**SERVICE, "start_stand_in": sandbox}

FEW: Mapping[str, Mapping[str, Any]] = {
    "accept": {"plan": accept.Plan(rounds=1, round_s=0.05, run=run_forked, **BOTH)},
    "latency": {
        "few": replace(latency.FIVE_WORKERS, **ONE),
        "many": replace(latency.MANY_WORKERS, **ONE),
        **BOTH,
    },
    "work": {"workers": [5], "rounds": 1, "per_worker": 1, **BOTH},
    "steps": {"rounds": 1, "deliveries": 2},
    "claim": {"sizes": claim.Sizes(done=60, queued=20, longest=5, rounds=1, claims=1)},
    "pages": {"plan": pages.Plan(few=30, deliveries=60, requests=1, run=run_forked)},
    "causes": {"plan": causes.Plan(deliveries=60, requests=1, run=run_forked)},
    "places": {"rounds": 1, "files": 50},
    "reloads": {"sizes": reloads.Sizes(deliveries=60, reloads=40, pause_s=0.0, run=run_forked)},
    "start": {"rounds": 1, "rest_s": 0.0, **SERVICE},
    "commands": {"rounds": 1},
    "memory": {"few": 6, "many": 12, "batch_size": 6, "run": run_forked, **SERVICE},
    "cpu": {"number": 4, **BOTH},
}
"""The numbers of one short round."""


@pytest.fixture
def folder() -> Iterator[Path]:
    # before a benchmark restricts this process to one core, which the fork server would inherit
    ensure_running()
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)  # PostgreSQL may run as another user
        yield Path(name)


@pytest.mark.parametrize("name", FEW)
def test_benchmark_runs_without_a_warning(
    name: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = BENCHMARKS[name](folder, **FEW[name])
    assert rows
    assert all(row.value > 0 for row in rows)
    logs = [*(path.read_text() for path in folder.glob("*.log")), capfd.readouterr().err]
    warnings = [line for log in logs for line in log.splitlines() if "WARNING" in line]
    # on a slow machine, the probe finds the benchmark's own pause
    assert [line for line in warnings if latency.PAUSED not in line] == []


def test_benchmark_of_reviews_counts_the_calls_that_the_documentation_shows(tmp_path: Path) -> None:
    rows = reviews.measure(tmp_path, sizes={"small": (2, 2)})
    measured = re.search(r"1 call, ([\d,]+) tokens", rows[0].details)
    assert measured is not None
    tokens = int(measured[1].replace(",", ""))
    # the wording of prompts changes
    assert tokens == pytest.approx(TYPICAL_REVIEW.input_tokens, rel=0.2)
    calls = [
        [part.split(" call")[0] for part in row.details.split("; full review: ")] for row in rows
    ]
    assert calls == [
        ["1", "1"],
        ["1", "1"],
        ["0", "1"],
        ["0", "1"],
        ["1", "1"],
        ["2", "1"],
        ["5", "7"],
    ]
    assert [row.value for row in rows[2:4]] == [0.0, 0.0]
    section = (
        Path("docs/reviews.md")
        .read_text(encoding="utf-8")
        .partition("## Calls and tokens in later rounds")[2]
    )
    documented = [line.split("|")[2:4] for line in section.split("\n") if line.startswith("|")]
    of_push, of_rebase, of_second_look = calls[1], calls[2], calls[5]
    shown = [[cell.strip() for cell in cells] for cells in documented[2:]]
    assert shown == [of_push, of_rebase, of_second_look]


def test_the_measurements_of_scale_run(folder: Path) -> None:
    assert scale.measure_throughput(folder, 2, number=2, **BOTH) > 0
    assert "first result after" in scale.measure_burst(folder, number=1, claude_s=0.0, **BOTH)


def test_the_model_computes_limits_and_waits() -> None:
    work = model.Work(per_day=1, requests=10, writes=5, calls=2, tokens=6_000, cpu_ms=36)
    limits = model.Limits()
    room = model.capacities(work, limits)
    assert (room["writes a second"], room["writes an hour"], room["requests an hour"]) == (
        720,
        100,
        500,
    )
    assert (room["calls an hour"], room["tokens a minute"], round(room["workers"])) == (
        100,
        4_000,
        3927,
    )
    assert room["processor"] == 100_000
    assert model.wait_for_writes_s(0.5, limits) == 0.5
    assert model.wait_for_workers_s(0.5, model.Limits(workers=1), service_s=10) == 10
    assert model.burst_s(50, limits) == 100
    assert model.main() == 0
