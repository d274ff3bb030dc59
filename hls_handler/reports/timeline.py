"""The steps of a delivery in their order, with title, status, duration and cost."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from hls_handler.deliveries import FIRST_PART, VERIFICATION, Checkpoint, find_cause
from hls_handler.engine.codecs import ASK, FAILURE, GATHER, OUTCOME, RULE
from hls_handler.store.call_rows import CallRow
from hls_handler.store.deliveries import DeliveryRow
from hls_handler.store.replies import StoredReplies
from hls_handler.wording import count, format_usd

ROUTE = RULE.name
POST = OUTCOME.name

StepStatus = Literal["done", "failed", "running", "not reached"]
Steps = Mapping[tuple[str, int], Checkpoint]  # by name and index
TITLES = {ROUTE: "Received", GATHER: "Read from GitHub", ASK: "Ask Claude", POST: "Post"}


@dataclass(frozen=True, slots=True)
class Step:
    """One step. None stands for a value that does not exist or was not recorded."""

    name: str  # "route", "gather", "post 2", or as `step_name` returns it
    status: StepStatus
    title: str = ""  # "Read from GitHub", or the action of a result: "Comment"
    detail: str | None = None  # a sentence part: the rule, the result on GitHub, or the error
    repeats_reason: bool = False  # the reason of the delivery's state has the detail
    notes: Sequence[str] = ()  # sentences about what was read, and about the findings
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

    @property
    def effort(self) -> str:
        """Tokens and cost, the model and requests: "3,895 tokens in, 120 out, $0.012, haiku"."""
        efforts = []
        if self.output_tokens is not None:
            at_most = "at most " if self.is_estimate else ""
            tokens = f"{at_most}{self.input_tokens or 0:,} tokens in, {self.output_tokens:,} out"
            efforts += [tokens, format_usd(self.cost_usd)]
        if self.model:
            efforts.append(self.model)
        if self.request_id:
            efforts.append(f"request {self.request_id}")
        if self.github_requests is not None:
            efforts.append(f"{count(self.github_requests, 'request')} to GitHub")
        return ", ".join(efforts)


def step_name(name: str, index: int) -> str:
    """Return "ask" for the index 0, "ask 2" for 1, "ask (part 2)" for the second part of a pull
    request, and "ask (verification)" for the call that verifies findings.
    """
    if index == VERIFICATION:
        return f"{name} (verification)"
    if index > FIRST_PART:
        return f"{name} (part {index - FIRST_PART + 1})"
    if index == 0:
        return name
    return f"{name} {index + 1}"


def list_steps(
    row: DeliveryRow,
    steps: Steps,
    calls: Sequence[CallRow],
    replies: StoredReplies,
    notes: Mapping[str, Sequence[str]],
) -> tuple[Step, ...]:
    """Return the steps: `route`, `gather`, `ask` for each call of Claude, `post` for each action.

    `gather`, `ask` and `post` are there in any case, because a step that was not reached explains a
    missing comment. `notes` are those of the first step of a name.
    """
    remaining_notes = dict(notes)
    reached = []
    for step in _reach(row, steps, calls, replies):
        kind, _, rest = step.name.partition(" ")
        title = step.title or f"{TITLES[kind]} {rest}".rstrip()
        reached.append(replace(step, title=title, notes=remaining_notes.pop(kind, ())))
    causes = _find_repeated(row, reached)
    return tuple(
        replace(step, repeats_reason=find_cause(step.detail or "") in causes) for step in reached
    )


def _find_repeated(row: DeliveryRow, steps: Sequence[Step]) -> Collection[str]:
    """Return the causes that details of steps share with the reason of an unfinished delivery."""
    if row.state == "done" or not row.reason:
        return ()
    return {
        find_cause(step.detail)
        for step in steps
        if step.detail and (step.detail in row.reason or row.reason in step.detail)
    }


def _reach(
    row: DeliveryRow, steps: Steps, calls: Sequence[CallRow], replies: StoredReplies
) -> Sequence[Step]:
    failed = _find_failed(row, steps)
    route = Step(ROUTE, "done", started_at=row.received_at)
    rule = RULE.decode(steps.get((ROUTE, 0)))
    if rule is not None:
        route = replace(route, title="Accepted", detail=rule)
    if failed == ROUTE:
        route = replace(route, status="failed", detail=row.reason)
    elif route.detail is None and row.state == "ignored":
        route = replace(route, detail=f"ignored: {row.reason}")
    gathered = _missing(GATHER, row, steps, failed)
    if (GATHER, 0) in steps:
        gathered = _measured(steps[GATHER, 0])
    questions = sorted(_list_replies(row, calls, replies), key=lambda question: question[0])
    asks = [step for _, step in questions]
    posted = []
    for _, step in sorted((index, step) for (name, index), step in steps.items() if name == POST):
        done = _measured(step)
        outcome = OUTCOME.decode(step)
        if outcome is not None:
            title = outcome.action.capitalize()
            done = replace(done, title=title, detail=outcome.detail, url=outcome.url)
        posted.append(done)
    if not asks or (failed == ASK and all(step.status == "done" for step in asks)):
        asks.append(_missing(ASK, row, steps, failed))
    if not posted or failed == POST:
        posted.append(_missing(POST, row, steps, failed))
    return (route, gathered, *asks, *posted)


def _find_failed(row: DeliveryRow, steps: Steps) -> str | None:
    """Return the name of the step at which the last attempt failed; None if it did not fail.

    A defect, or an error before `gather`, stores no status; the step is then the first one without
    a result.
    """
    if row.posting_status == "failed":
        return POST
    if row.analysis_status == "failed":
        return _find_next(row, steps)
    if row.state == "dead" or (row.state == "queued" and row.failures):
        if (ROUTE, 0) not in steps:
            return ROUTE
        return _find_next(row, steps)
    return None


def _find_next(row: DeliveryRow, steps: Steps) -> str:
    """Return the first step after `route` that has no result."""
    if (GATHER, 0) not in steps:
        return GATHER
    if row.analysis_status == "done":
        return POST
    return ASK


def _list_replies(
    row: DeliveryRow, calls: Sequence[CallRow], replies: StoredReplies
) -> Iterator[tuple[int, Step]]:
    """Yield the index and the step of each call, and of each reply from the cache."""
    for call in calls:
        yield call.index, _describe_call(row, calls, call)
    for index, reply in replies.valid.items():
        if reply.cached_at is not None:
            yield index, Step(step_name(ASK, index), "done", detail="from the cache of replies")


def _describe_call(row: DeliveryRow, calls: Sequence[CallRow], call: CallRow) -> Step:
    status: StepStatus = "failed"
    detail: str | None = call.error or call.outcome or "the end of the call was not stored"
    if call.outcome == "ok":
        status = "done"
        detail = call.error
    elif call.outcome is None and row.state == "running" and call == calls[-1]:
        status = "running"
        detail = None
    input_tokens = None
    if call.output_tokens is not None:
        input_tokens = call.all_input_tokens
    return Step(
        step_name(ASK, call.index),
        status,
        detail=detail,
        started_at=call.started_at,
        took_s=call.lasted_s,
        input_tokens=input_tokens,
        output_tokens=call.output_tokens,
        cost_usd=call.cost_usd,
        is_estimate=call.is_estimate,
        model=call.model,
        request_id=call.request_id,
    )


def _missing(name: str, row: DeliveryRow, steps: Steps, failed: str | None) -> Step:
    """Return a step without a result: it failed, runs, or was not reached."""
    error = None
    if name == failed:
        stored = row.posting_error if name == POST else row.analysis_error
        error = stored or row.reason
    if row.state == "running" and name == _find_next(row, steps):
        return Step(name, "running", detail=error and f"after an error: {error}")
    if error is None:
        return Step(name, "not reached")
    failure = steps.get((FAILURE.name, 0))
    if failure is None or FAILURE.decode(failure) != name:
        return Step(name, "failed", detail=error)
    return replace(_measured(failure), name=name, status="failed", detail=error)


def _measured(step: Checkpoint) -> Step:
    return Step(
        step_name(step.name, step.index),
        "done",
        started_at=step.started_at,
        took_s=step.took_s,
        github_requests=step.github_requests,
    )
