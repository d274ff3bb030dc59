"""Jobs and logs for tests. The files in `logs/` are in GitHub's format; step 3 of each has failed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hls_handler.ci.excerpts import NUMBERED_ROW, LogState, read_logs
from hls_handler.github.values import WorkflowStep

BEGIN = datetime(2026, 11, 20, 9, 14, 30, tzinfo=UTC)
LOGS = Path(__file__).parent / "logs"


def step(
    number: int,
    name: str,
    start_s: int | None,
    end_s: int | None,
    conclusion: str | None = "success",
) -> WorkflowStep:
    """Create a step; its times are seconds since the start of the job."""
    return WorkflowStep(number, name, conclusion, at(start_s), at(end_s))


def at(second: int | None) -> datetime | None:
    return None if second is None else BEGIN + timedelta(seconds=second)


STEPS = (
    step(1, "Set up job", 0, 2),
    step(2, "Run actions/checkout@v4", 2, 4),
    step(3, "Tests", 4, 5, "failure"),
    step(4, "Upload", 5, 5, "skipped"),
    step(7, "Post Run actions/checkout@v4", 5, 6),
    step(8, "Complete job", 6, 6),
)


def stamped(second: float, *texts: str) -> list[str]:
    time = (BEGIN + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return [f"{time}0Z {text}\n" for text in texts]


@dataclass(frozen=True)
class Shown:
    """The excerpt of a step's log."""

    step: int | None
    state: LogState
    whole_job: bool
    errors: tuple[str, ...]
    was_killed: bool
    text: str

    @property
    def rows(self) -> list[tuple[int, str]]:
        """The number and the text of each line that is shown."""
        rows = map(NUMBERED_ROW.fullmatch, self.text.split("\n"))
        return [(int(row[1]), row[2]) for row in rows if row]


def cut(
    lines: Iterable[str], steps: Sequence[WorkflowStep], *, characters: int
) -> tuple[Shown, ...]:
    """Return the excerpts of a job's log, with an equal share of the characters for each."""
    logs = read_logs(lines, steps, characters=characters)
    return tuple(
        Shown(
            log.step.number if log.step else None,
            log.state,
            log.whole_job,
            tuple(log.errors),
            log.was_killed,
            log.cut(characters // len(logs)).text,
        )
        for log in logs
    )


def failed_step(*output: str, characters: int = 6_000) -> Shown:
    """Return the excerpt of a job whose third step printed this output and failed."""
    (excerpt,) = cut(job(output), STEPS, characters=characters)
    return excerpt


def job(output: Iterable[str]) -> Iterator[str]:
    """Yield the log of a job; the output of step 3 begins in line 7."""
    yield from stamped(0, "Current runner version: '2.329.0'")
    yield from stamped(2, "##[group]Run actions/checkout@v4", "##[endgroup]")
    yield from stamped(4, "##[group]Run make test", "\x1b[36;1mmake test\x1b[0m", "##[endgroup]")
    for text in output:
        yield from stamped(4.5, text)
    yield from stamped(5, "##[error]Process completed with exit code 2.", "Post job cleanup.")
    yield from stamped(6, "Cleaning up orphan processes")


def log(name: str) -> Iterator[str]:
    with (LOGS / f"{name}.txt").open(encoding="utf-8", errors="replace", newline="\n") as lines:
        yield from lines
