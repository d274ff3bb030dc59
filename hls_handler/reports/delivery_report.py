"""The answer about one delivery, which its page, `hls why` and `hls deliveries show` show, and the
API sends.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field

from hls_handler.actions import Outcome
from hls_handler.analysis import Reply
from hls_handler.deliveries import FIRST_PART, VERIFICATION, Checkpoint, find_cause, shorten_guid
from hls_handler.engine.codecs import (
    ASK,
    CONTEXT,
    FAILURE,
    GATHER,
    OMISSIONS,
    OUTCOME,
    PROBLEMS_REPORTED,
    RULE,
    SETTINGS_FILE,
    UNVERIFIED,
    Codec,
    decode_reply_for_display,
)
from hls_handler.queue.pauses import explain_pause, find_pause
from hls_handler.reports.delivery_list import ListedDelivery, list_deliveries
from hls_handler.reports.documents import fill
from hls_handler.store.call_rows import CallRow, StoredReplies
from hls_handler.store.deliveries import DeliveryRow
from hls_handler.store.storage import Storage
from hls_handler.wording import count, format_seconds, format_usd

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


MAX_CHARACTERS = 300  # of one text of a reply; `hls deliveries show` has the whole comment
MAX_MEMBERS = 3
"""Lists of objects with more members, such as findings, are shown by their length."""


def describe_reply(answered: Reply) -> str:
    """Return a sentence with the fields that are not empty: "kind: bug; missing: The version, The
    log.".
    """
    fields = [
        (name, value) for name, value in answered.fields if (name, value) != ("worth_saying", True)
    ]
    parts = [
        f"{name}: {describe_text(_format(value))}"
        for name, value in fields
        if value not in (None, "", [], ())
    ]
    parts += map(describe_text, answered.lost.values())
    sentence = "; ".join(part.rstrip(".") for part in parts) or "nothing"
    if sentence.endswith(("?", "!", "…")):
        return sentence
    return f"{sentence}."


def _format(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case BaseModel():
            return _format(dict(value))
        case dict() if all(isinstance(part, int | float) for part in value.values()):
            return ", ".join(f"{name} {_format(part)}" for name, part in value.items())
        case dict():
            return " ".join(_format(part) for part in value.values() if part is not None)
        case list() | tuple():
            for member in value:
                if isinstance(member, BaseModel | dict) and len(dict(member)) > MAX_MEMBERS:
                    return str(len(value))
            return ", ".join(map(_format, value))
        case _:
            return str(value)


def describe_text(text: str) -> str:
    """Return the text as one line of at most `MAX_CHARACTERS`."""
    line = " ".join(text.split())
    if len(line) <= MAX_CHARACTERS:
        return line
    return f"{line[: MAX_CHARACTERS - 1]}…"


T = TypeVar("T")
WROTE = ("created", "edited", "changed", "dry_run")
"""Kinds of outcomes that changed something on GitHub, or would have."""
MAX_CHECK_LINES = 40  # of the text of a check in `hls why`
FROM_CACHE = "no call to Claude: the same question was answered before (claude.cache_ttl_h)"


@dataclass(frozen=True, slots=True)
class ReplyReport:
    title: str
    prompt_id: str
    type: str
    cached_at: datetime | None
    sentence: str
    reply: Annotated[Mapping[str, Any], Field(description="Claude's fields")]


@dataclass(frozen=True, slots=True)
class UnusableReplyReport:
    title: str
    prompt_id: str
    why: str
    problem: str
    text: str


@dataclass(frozen=True, slots=True)
class OutcomeReport:
    action: str
    kind: str
    detail: str
    added: Sequence[str]
    removed: Sequence[str]
    url: str | None
    rejected: Sequence[str]
    summary: Annotated[str | None, Field(description="text of a comment or a check, as Markdown")]


@dataclass(frozen=True, slots=True)
class CallReport:
    prompt_id: str
    model: str
    started_at: datetime | None
    outcome: str | None
    error: str | None
    input_tokens: int | None
    output_tokens: int | None
    cache_write_tokens: int | None
    cache_read_tokens: int | None
    cost_usd: float | None
    is_estimate: bool
    took_s: float | None
    request_id: str | None


@dataclass(frozen=True, slots=True)
class DeliveryReport(ListedDelivery):
    """All that is known about a delivery, except the body and what was read from GitHub."""

    sentence: Annotated[str, Field(description="the state and its reason")]
    started_at: Annotated[
        datetime | None, Field(description="when the first measured step after routing began")
    ]
    input_tokens: Annotated[int, Field(description="of all calls, of all kinds")]
    output_tokens: int
    attempt: Annotated[int, Field(description="how often a worker began it")]
    failed_attempts: Annotated[
        int, Field(description="failures and deaths of workers since it was last run again")
    ]
    rule: Annotated[str | None, Field(description="why it was accepted; null if it was not")]
    repository_settings: str | None
    omitted: Annotated[Sequence[str], Field(description="what the prompt left out, as sentences")]
    context: Annotated[str | None, Field(description="what Claude got besides the event")]
    unverified: Annotated[str | None, Field(description="why findings were not verified")]
    check_ended_by_service: Sequence[str]
    replies: Sequence[ReplyReport]
    unusable_replies: Annotated[
        Sequence[UnusableReplyReport],
        Field(description="the last ones to each prompt, redacted"),
    ]
    analysis_error: str | None
    outcomes: Sequence[OutcomeReport]
    posting_error: str | None
    calls: Sequence[CallReport]
    steps: Sequence[Step]
    comment: Annotated[str | None, Field(description="text of the last comment that was written")]

    @property
    def is_quiet(self) -> bool:
        """Return True if it has ended, needs no person, and wrote nothing but its check."""
        wrote = any(
            outcome.kind in WROTE and outcome.action != "check" for outcome in self.outcomes
        )
        return self.state in ("done", "ignored", "superseded") and not wrote

    @property
    def numbers(self) -> Mapping[str, str]:
        """Duration, cost and the like, which the page has beside the steps, by their titles."""
        durations = []
        if self.work_s is not None:
            durations.append(f"{format_seconds(self.work_s)} of work")
        if self.took_s is not None:
            durations.append(f"{format_seconds(self.took_s)} from the receipt")
        cost = ""
        if self.calls:
            tokens = f"{self.input_tokens:,} tokens in, {self.output_tokens:,} out"
            calls = f"{count(len(self.calls), 'call')} to Claude"
            cost = f"{calls}, {tokens}, {format_usd(self.cost_usd)}"
        elif any(reply.cached_at is not None for reply in self.replies):
            cost = FROM_CACHE
        numbers = {"Duration": ", ".join(durations), "Cost": cost}
        if self.github_requests:
            numbers["Requests"] = f"{self.github_requests:,} to GitHub"
        if self.attempt > 1:
            numbers["Attempts"] = f"{self.attempt:,}"
        if self.is_caught_up:
            numbers["Caught up"] = "the webhook was missed, and read from GitHub later"
        return {title: text for title, text in numbers.items() if text}


def load_report(store: Storage, row: DeliveryRow) -> DeliveryReport:
    (report,) = load_reports(store, [row])
    return report


def load_reports(store: Storage, rows: Sequence[DeliveryRow]) -> Sequence[DeliveryReport]:
    listed = list_deliveries(store, rows)
    return [_load(store, row, entry) for row, entry in zip(rows, listed, strict=True)]


def _load(store: Storage, row: DeliveryRow, delivery: ListedDelivery) -> DeliveryReport:
    checkpoints = store.checkpoints.load(row.guid)
    calls = store.calls.calls_of(row.guid)
    replies = store.replies.of(row.guid)
    outcomes = _decode_all(checkpoints, OUTCOME)
    files = [file.describe() for file in _decode_all(checkpoints, SETTINGS_FILE)]
    texts = {
        "repository_settings": ". ".join(filter(None, files)) or None,
        "rule": _decode_first(checkpoints, RULE),
        "context": _decode_first(checkpoints, CONTEXT),
        "unverified": _decode_first(checkpoints, UNVERIFIED) or None,
    }
    omitted = _decode_all(checkpoints, OMISSIONS)
    service_results = store.commit_checks.service_results(row.guid)
    problems = _decode_first(checkpoints, PROBLEMS_REPORTED)
    notes = {
        GATHER: (*_describe_reading(texts, omitted),),
        POST: (*_describe_end(texts["unverified"], service_results, problems),),
    }
    steps = list_steps(row, checkpoints, calls, replies, notes)
    starts = [step.started_at for step in steps if step.name != ROUTE]
    return fill(
        DeliveryReport,
        delivery,
        sentence=_describe_state(store, row, outcomes),
        started_at=min(filter(None, starts), default=None),
        attempt=row.attempt,
        failed_attempts=row.failures + row.crashes,
        omitted=omitted,
        check_ended_by_service=service_results,
        replies=(*_report_replies(replies),),
        unusable_replies=(*_list_unusable_replies(replies, row.reason or ""),),
        analysis_error=row.analysis_error,
        posting_error=row.posting_error,
        steps=steps,
        **texts,
        **_report_calls(calls),
        **_report_outcomes(outcomes),
    )


def _report_calls(calls: Sequence[CallRow]) -> Mapping[str, object]:
    return {
        "calls": tuple(fill(CallReport, call, took_s=call.lasted_s) for call in calls),
        "input_tokens": sum(call.all_input_tokens for call in calls),
        "output_tokens": sum(call.output_tokens or 0 for call in calls),
    }


def _report_outcomes(outcomes: Sequence[Outcome]) -> Mapping[str, object]:
    comments = [outcome.body for outcome in outcomes if outcome.action == "comment"]
    return {
        "outcomes": tuple(
            fill(OutcomeReport, outcome, summary=outcome.body) for outcome in outcomes
        ),
        "comment": next(filter(None, reversed(comments)), None),
    }


def load_facts(store: Storage, guid: str) -> str | None:
    """Return JSON of what was read from GitHub; redacted, but untrusted. None before it is read."""
    checkpoint = store.checkpoints.load(guid).get((GATHER, 0))
    if checkpoint is None:
        return None
    return checkpoint.value


def _describe_reading(texts: Mapping[str, str | None], omitted: Sequence[str]) -> Iterator[str]:
    """Yield sentences about what was read, and shown to Claude."""
    for title, name in (("Repository settings", "repository_settings"), ("Context", "context")):
        if texts[name] is not None:
            yield f"{title}: {texts[name]}."
    if omitted:
        yield f"Not shown to Claude: {'; '.join(omitted)}."


def _describe_end(
    unverified: str | None, service_results: Sequence[str], problems: Outcome | None
) -> Iterator[str]:
    """Yield sentences about what happened beside the outcomes, and after them."""
    if unverified:
        yield f"The findings were not verified: {unverified}"
    if problems is not None and problems.kind != "withheld":
        yield f"Comment about problems in the repository settings: {problems.detail}."
    for result in service_results:
        yield f"Check, ended by the service after the delivery: {result}."


def _report_replies(replies: StoredReplies) -> Iterator[ReplyReport]:
    for index in sorted(replies.valid):
        reply = decode_reply_for_display(replies.valid[index])
        if reply is None:
            continue
        title = f"Reply to {reply.prompt_id}"
        if reply.cached_at is not None:
            title += f", from the cache ({reply.cached_at:%Y-%m-%d %H:%M} UTC)"
        if "/" in reply.usage.model:
            title += f", by {reply.usage.model}"
        yield fill(
            ReplyReport,
            reply,
            title=title,
            type=reply.reply_type,
            sentence=describe_reply(reply),
            reply=reply.fields.model_dump(mode="json"),
        )


def _list_unusable_replies(replies: StoredReplies, reason: str) -> Iterator[UnusableReplyReport]:
    """Yield the replies; the title has the problem, unless the reason of the delivery has it."""
    for index in sorted(replies.unusable):
        for reply in replies.unusable[index]:
            title = f"Reply to {reply.prompt_id}, which could not be used"
            if reply.problem not in reason:
                title += f": {reply.problem}"
            yield fill(UnusableReplyReport, reply, title=title)


def _describe_state(store: Storage, row: DeliveryRow, outcomes: Sequence[Outcome]) -> str:
    """Return the state and its reason, as a sentence, without the outcomes."""
    reason = (row.reason or "no reason was stored").removesuffix(".")
    match row.state:
        case "queued":
            return _describe_wait(store, row)
        case "running":
            return "Running."
        case "done":
            details = "; ".join(outcome.detail for outcome in outcomes)
            own_reason = reason.removesuffix(details).removesuffix("; ")
            if not own_reason:
                return "Done."
            return f"Done: {own_reason}."
        case "ignored" | "superseded" | "dead":
            return f"{row.state.capitalize()}: {reason}."


def _describe_wait(store: Storage, row: DeliveryRow) -> str:
    pause = find_pause(row.repository, store.pauses.active())
    if pause is not None:
        return f"Waiting: {explain_pause(pause)}."
    blocker = store.queue.find_blocking(row.guid)
    if blocker is not None:
        return (
            "Waiting: deliveries of a conversation run one after the other, and"
            f" {blocker} has not ended."
        )
    reason = (row.reason or "queued, not started yet").removesuffix(".")
    return f"Waiting until {row.due_at:%H:%M:%S} UTC: {reason}."


def _decode_all(checkpoints: Steps, codec: Codec[T]) -> tuple[T, ...]:
    """Return the values of the checkpoints with the codec's name, in their order."""
    names = sorted(key for key in checkpoints if key[0] == codec.name)
    values = (codec.decode(checkpoints[key]) for key in names)
    return tuple(value for value in values if value is not None)


def _decode_first(checkpoints: Steps, codec: Codec[T]) -> T | None:
    return next(iter(_decode_all(checkpoints, codec)), None)


def format_history(reports: Sequence[DeliveryReport], *, has_all: bool = False) -> Iterator[str]:
    """Yield the lines of `hls why` about a conversation, the newest delivery first.

    A delivery that wrote nothing has one line, unless it is the newest or needs a person. Only the
    newest check has its text. With `has_all`, everything is printed.
    """
    has_check = False
    for position, report in enumerate(reversed(reports)):
        is_newest_check = not has_check and _has_check(report)
        has_check |= is_newest_check
        if position and report.is_quiet and not (has_all or is_newest_check):
            end = f"{report.state}: {report.reason or 'no reason was stored'}"
            yield f"{_format_heading(report)}: {_join_lines(end)}"
            continue
        if position:
            yield ""
        yield from format_report(report, has_check=has_all or is_newest_check)


def _has_check(report: DeliveryReport) -> bool:
    return any(outcome.action == "check" for outcome in report.outcomes)


def format_report(
    report: DeliveryReport,
    *,
    has_comments: bool = False,
    has_check: bool = True,
    can_retry: bool = True,
) -> Iterator[str]:
    """Yield the lines about one delivery; those of `hls deliveries show` have the comments, too.
    `can_retry`: whether a command can run it again.

    Newlines in a value become spaces, so that untrusted text cannot imitate a line.
    """
    yield _format_heading(report)
    for line in _format_parts(report, can_retry=can_retry):
        yield f"  {_join_lines(line)}"
    for outcome in report.outcomes:
        if outcome.action == "check" and not has_check:
            continue
        if outcome.summary and (has_comments or outcome.action == "check"):
            yield f"  {outcome.action.capitalize()} as written:"
            lines = [
                f"    {line}"
                for line in outcome.summary.splitlines()
                if any(map(str.isalnum, line))  # not the border of a table
            ]
            max_lines = len(lines) if has_comments else MAX_CHECK_LINES
            yield from lines[:max_lines]
            if len(lines) > max_lines:
                more = count(len(lines) - max_lines, "more line")
                yield f"    ({more}, which `hls deliveries show` prints)"


def _format_heading(report: DeliveryReport) -> str:
    event = report.event
    if report.sender:
        event += f" by {report.sender}"
    heading = ": ".join(filter(None, (event, report.title)))
    place = ", ".join(filter(None, (report.conversation, f"delivery {report.delivery}")))
    return _join_lines(f"{report.received_at:%Y-%m-%d %H:%M:%S} UTC: {heading} ({place})")


def _join_lines(text: str) -> str:
    return " ".join(text.split())


def _format_parts(report: DeliveryReport, *, can_retry: bool) -> Iterator[str]:
    for step in report.steps:
        yield from _format_step(step)
    for unusable in report.unusable_replies:
        yield f"{unusable.title}: {describe_text(unusable.text) or 'nothing'}"
    for reply in report.replies:
        yield f"{reply.title}: {reply.sentence}"
    command = ""
    if report.state == "dead" and can_retry:
        command = f" `hls deliveries retry {shorten_guid(report.delivery)}` runs it again."
    yield f"{report.sentence}{command}"
    for title, text in report.numbers.items():
        yield f"{title}: {text}"


def _format_step(step: Step) -> Iterator[str]:
    """Yield the line of a step that has something to say, and those of its notes."""
    duration = "" if step.took_s is None else format_seconds(step.took_s)
    efforts = ", ".join(filter(None, (duration, step.effort)))
    status = "" if step.status == "done" else step.status
    detail = "" if step.repeats_reason else step.detail
    line = ": ".join(filter(None, (step.title, status, detail)))
    if efforts:
        line += f" ({efforts})"
    if step.url:
        line += f" {step.url}"
    if line != step.title and step.status != "not reached":
        yield line
    yield from step.notes
