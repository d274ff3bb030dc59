"""The steps of a delivery in their order, with the status, duration and cost of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from hls_handler.deliveries import FIRST_SHADOW_STEP, Checkpoint
from hls_handler.engine.job import ASK, FAILURE, GATHER, RULE, decode_reply_for_display
from hls_handler.engine.posting import OUTCOME
from hls_handler.handlers.asking import FIRST_PART, VERIFICATION
from hls_handler.store.calls import CallRow
from hls_handler.store.statistics import DeliveryRow

ROUTE, POST = RULE.name, OUTCOME.name

StepStatus = Literal["done", "failed", "running", "not reached"]
Steps = Mapping[tuple[str, int], Checkpoint]  # by name and index


@dataclass(frozen=True, slots=True)
class Step:
    """One step. None stands for a value that does not exist or was not recorded.

    Steps before 0.4.0 have neither a start nor a number of requests, except calls of Claude, which have a start.
    """

    name: str  # "route", "gather", "post 2", or as `step_name` returns it
    status: StepStatus
    detail: str | None = None  # a sentence part: the rule, the result on GitHub, or the error
    url: str | None = None  # of what the step wrote on GitHub
    started_at: datetime | None = None
    took_s: float | None = None
    input_tokens: int | None = None  # of all kinds
    output_tokens: int | None = None
    cost_usd: float | None = None
    is_estimate: bool = False  # tokens and cost are an upper estimate
    github_requests: int | None = None
    model: str | None = None  # of a call of Claude
    request_id: str | None = None  # that Claude gave to the call


def list_steps(row: DeliveryRow, steps: Steps, calls: Sequence[CallRow]) -> tuple[Step, ...]:
    """Return the steps: `route`, `gather`, `ask` for each call of Claude, `post` for each action, then shadow calls.

    `gather`, `ask` and `post` are there in any case, because a step that was not reached explains a missing comment.
    """
    timeline = _Timeline(row, steps, calls)
    shadow = (timeline.call(call) for call in calls if call.of_shadow)
    return (timeline.route(), timeline.gather(), *timeline.asks(), *timeline.posts(), *shadow)


def step_name(name: str, index: int) -> str:
    """Return "ask" for the index 0, "ask 2" for 1, "ask (part 2)" for the second part of a pull request.

    The call that verifies findings is "ask (verification)", and the first one of a shadow prompt "ask (shadow)".
    """
    if index >= FIRST_SHADOW_STEP:
        return f"{step_name(name, index - FIRST_SHADOW_STEP)} (shadow)"
    if index == VERIFICATION:
        return f"{name} (verification)"
    if index > FIRST_PART:
        return f"{name} (part {index - FIRST_PART + 1})"
    return name if index == 0 else f"{name} {index + 1}"


class _Timeline:
    def __init__(self, row: DeliveryRow, steps: Steps, calls: Sequence[CallRow]) -> None:
        self._row, self._steps, self._calls = row, steps, calls
        self._is_asked = row.analysis_status == "done"
        self._failed = self._find_failed()

    def _find_failed(self) -> str | None:
        """Return the name of the step at which the last attempt failed; None if it did not fail.

        A defect, or an error before `gather`, stores no status; the step is then the first one without a result.
        """
        row = self._row
        if row.posting_status == "failed":
            return POST
        if row.analysis_status == "failed":
            return ASK if (GATHER, 0) in self._steps else GATHER
        if row.state != "dead" and not (row.state == "queued" and row.failures):
            return None
        stored = {name for name, _ in self._steps}
        done = {ROUTE: ROUTE in stored, GATHER: GATHER in stored, ASK: self._is_asked}
        return next((name for name, is_done in done.items() if not is_done), POST)

    def route(self) -> Step:
        row, rule = self._row, RULE.decode(self._steps.get((ROUTE, 0)))
        if self._failed == ROUTE:
            return Step(ROUTE, "failed", row.reason, started_at=row.received_at)
        detail = f"ignored: {row.reason}" if rule is None and row.state == "ignored" else rule
        return Step(ROUTE, "done", detail, started_at=row.received_at)

    def gather(self) -> Step:
        step = self._steps.get((GATHER, 0))
        return self._missing(GATHER) if step is None else _measured(step, None, None)

    def asks(self) -> Iterator[Step]:
        """Yield the calls, and the replies from the cache, in the order of the prompts."""
        found = [(call.index, self.call(call)) for call in self._calls if not call.of_shadow]
        for (name, index), step in self._steps.items():
            reply = decode_reply_for_display(step) if name == ASK and index < FIRST_SHADOW_STEP else None
            if reply is not None and reply.cached_at is not None:
                found.append((index, Step(step_name(ASK, index), "done", "from the cache of replies")))
        yield from (step for _, step in sorted(found, key=lambda one: one[0]))
        if not found or (self._failed == ASK and all(step.status == "done" for _, step in found)):
            yield self._missing(ASK)

    def call(self, call: CallRow) -> Step:
        status: StepStatus = "done" if call.outcome == "ok" else "failed"
        detail = call.error or (None if call.outcome == "ok" else call.outcome)
        if call.outcome is None:
            is_current = self._row.state == "running" and call == self._calls[-1]
            status, detail = ("running", None) if is_current else ("failed", "the end of the call was not stored")
        return Step(
            step_name(ASK, call.index),
            status,
            detail,
            started_at=call.started_at,
            took_s=call.lasted_s,
            input_tokens=None if call.output_tokens is None else call.all_input_tokens,
            output_tokens=call.output_tokens,
            cost_usd=call.cost_usd,
            is_estimate=call.is_estimate,
            model=call.model,
            request_id=call.request_id,
        )

    def posts(self) -> Iterator[Step]:
        stored = sorted((index, step) for (name, index), step in self._steps.items() if name == POST)
        for _, step in stored:
            outcome = OUTCOME.decode(step)
            yield _measured(step, outcome.detail if outcome else None, outcome.url if outcome else None)
        if not stored or self._failed == POST:
            yield self._missing(POST)

    def _missing(self, name: str) -> Step:
        row, error = self._row, None
        if name == self._failed:
            error = (row.posting_error if name == POST else row.analysis_error) or row.reason
        if row.state == "running" and name == self._next():
            return Step(name, "running", error and f"after an error: {error}")
        if error is None:
            return Step(name, "not reached")
        failure = self._steps.get((FAILURE.name, 0))
        if failure is None or FAILURE.decode(failure) != name:
            return Step(name, "failed", error)
        return replace(_measured(failure, error, None), name=name, status="failed")

    def _next(self) -> str:
        if (GATHER, 0) not in self._steps:
            return GATHER
        return POST if self._is_asked else ASK


def _measured(step: Checkpoint, detail: str | None, url: str | None) -> Step:
    return Step(
        step_name(step.name, step.index),
        "done",
        detail,
        url,
        started_at=step.started_at,
        took_s=step.took_s,
        github_requests=step.github_requests,
    )
