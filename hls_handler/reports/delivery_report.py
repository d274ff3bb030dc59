"""The report about one delivery: what `hls why` and `hls deliveries show` print."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from hls_handler.actions import Outcome
from hls_handler.analysis import Reply, UnusableReply
from hls_handler.deliveries import shorten_guid
from hls_handler.engine.codecs import (
    CONTEXT,
    GATHER,
    OMISSIONS,
    OUTCOME,
    PROBLEMS_REPORTED,
    RULE,
    SETTINGS_FILE,
    UNVERIFIED,
    decode_reply_for_display,
)
from hls_handler.queue.pauses import Pause, describe_pause, find_pause, resume_command
from hls_handler.reports.reply_text import describe_reply, describe_text
from hls_handler.reports.timeline import Step, list_steps
from hls_handler.storage import Storage
from hls_handler.store.calls import FREE, CallRow
from hls_handler.store.deliveries import DeliveryRow
from hls_handler.wording import count, format_usd

MAX_CHECK_LINES = 40  # of the summary of a check


def format_report(report: DeliveryReport) -> Iterator[str]:
    """Yield the report's lines. Newlines in a value become spaces, so that untrusted text cannot
    imitate a line.
    """
    first, *others = (" ".join(sentence.split()) for sentence in _sentences(report))
    yield first
    yield from (f"  {sentence}" for sentence in others)


def _sentences(report: DeliveryReport) -> Iterator[str]:
    row = report.delivery
    delivery = f"delivery {row.guid}"
    if row.is_caught_up:
        delivery += ", caught up"
    yield f"{row.received_at:%Y-%m-%d %H:%M:%S} UTC: {row.event_key} ({delivery})"
    if report.rule is not None:
        yield f"Accepted: {report.rule}."
    yield from describe_reading(report)
    yield from _describe_fallbacks(report.calls)
    yield from _describe_unusable(report)
    yield from describe_replies(report)
    if report.unverified:
        yield f"The findings were not verified: {report.unverified}"
    if row.analysis_status == "failed":
        yield f"The analysis failed: {row.analysis_error}"
    yield from _describe_outcomes(report)
    if row.posting_status == "failed":
        yield f"Posting failed: {row.posting_error}"
    command = ""
    if row.state == "dead":
        command = f" `hls deliveries retry {shorten_guid(row.guid)}` runs it again."
    yield f"{describe_state(report)}{command}"
    yield from (
        f"Check, ended by the service after the delivery: {result}."
        for result in report.service_results
    )
    if report.calls:
        yield describe_cost(report)
    elif any(answered.cached_at is not None for answered in report.replies):
        yield "No call to Claude: the same question was answered before (claude.cache_ttl_h)."


def describe_reading(report: DeliveryReport) -> Iterator[str]:
    """Yield sentences about what was read, and shown to Claude."""
    if report.repository_settings is not None:
        yield f"Repository settings: {report.repository_settings}."
    if report.context is not None:
        yield f"Context: {report.context}."
    if report.omitted:
        yield f"Not shown to Claude: {'; '.join(report.omitted)}."


def _describe_unusable(report: DeliveryReport) -> Iterator[str]:
    for reply in report.unusable:
        text = describe_text(reply.text) or "nothing"
        yield (
            f"Claude's reply to {reply.prompt_id} could not be used: {reply.problem}. It was:"
            f" {text}"
        )


def describe_replies(report: DeliveryReport) -> Iterator[str]:
    """Yield a sentence for each valid reply of Claude."""
    for answered in report.replies:
        source = ""
        if answered.cached_at is not None:
            source = f", from the cache ({answered.cached_at:%Y-%m-%d %H:%M} UTC)"
        if "/" in answered.usage.model:
            source += f", by {answered.usage.model}"
        yield f"Claude's reply to {answered.prompt_id}{source}: {describe_reply(answered)}"


def _describe_outcomes(report: DeliveryReport) -> Iterator[str]:
    for outcome in report.outcomes:
        yield _describe_outcome(outcome.action.capitalize(), outcome)
        if outcome.action == "check" and outcome.body:
            yield from _describe_check(outcome.body)
    comment = report.settings_comment
    if comment is not None and comment.kind != "withheld":
        yield _describe_outcome("Comment about problems in the repository settings", comment)


def _describe_outcome(what: str, outcome: Outcome) -> str:
    sentence = f"{what}: {outcome.detail}."
    if not outcome.url:
        return sentence
    return f"{sentence} {outcome.url}"


def _describe_fallbacks(calls: Sequence[CallRow]) -> Iterator[str]:
    """Yield a sentence for each failed call after which another provider was asked."""
    for call, following in pairwise(calls):
        is_same_question = (call.index, call.prompt_id) == (following.index, following.prompt_id)
        if call.outcome in FREE and is_same_question and call.model != following.model:
            yield f"{call.model} failed, so {following.model} was asked: {call.error}"


def _describe_check(summary: str) -> Iterator[str]:
    """Yield the lines of a check's summary, without the marks of headings and lists, and its table
    as one sentence.
    """
    lines = [
        (line[:1], line.strip("|#- ").replace(" | ", " ").replace("`", ""))
        for line in summary.split("\n")
    ]
    sentences = [f"The check says: {text}" for mark, text in lines if text and mark != "|"]
    yield from sentences[:MAX_CHECK_LINES]
    if len(sentences) > MAX_CHECK_LINES:
        yield (
            f"The check says {count(len(sentences) - MAX_CHECK_LINES, 'more line')}, which `--json`"
            " lists"
        )
    rows = [text for mark, text in lines if text and mark == "|"]
    if rows:
        yield f"Receipt: {'; '.join(rows)}."


def describe_state(report: DeliveryReport) -> str:
    """Return the state and its reason, as a sentence."""
    row = report.delivery
    pause = report.pause
    reason = (row.reason or "no reason was stored").removesuffix(".")
    match row.state:
        case "queued" if pause is not None:
            return f"Waiting: {describe_pause(pause)}; {resume_command(pause)} ends the pause."
        case "queued" if report.blocker is not None:
            return (
                "Waiting: deliveries of a conversation run one after the other, and"
                f" {report.blocker} has not ended."
            )
        case "queued":
            reason = (row.reason or "queued, not started yet").removesuffix(".")
            return f"Waiting until {row.due_at:%H:%M:%S} UTC: {reason}."
        case "running":
            return "Running."
        case "done" | "ignored" | "superseded" | "dead":
            return f"{row.state.capitalize()}: {reason}."


def describe_cost(report: DeliveryReport) -> str:
    """Return the number of calls to Claude, with their tokens and cost, as a sentence."""
    costs = [call.cost_usd for call in report.calls if call.cost_usd is not None]
    calls = count(len(report.calls), "call")
    tokens_in = sum(call.all_input_tokens for call in report.calls)
    tokens_out = sum(call.output_tokens or 0 for call in report.calls)
    tokens = f"{tokens_in:,} tokens in, {tokens_out:,} out"
    return f"{calls} to Claude, {tokens}, {format_usd(sum(costs))}."


def describe_steps(report: DeliveryReport) -> Iterator[str]:
    """Yield the lines of `hls deliveries show` about the steps that have a duration, and all calls
    of Claude.
    """
    for step in report.steps:
        if step.took_s is None and step.model is None:
            continue
        parts = ["no duration"]
        if step.took_s is not None:
            parts = [f"{step.took_s:.3f} s"]
        if step.status != "done":
            parts.append(": ".join(filter(None, [step.status, step.detail])))
        parts += describe_effort(step)
        yield f"Step {step.name}: {', '.join(parts)}"
    if report.delivery.github_requests is not None:
        yield f"Requests to GitHub: {report.delivery.github_requests}"


def describe_effort(step: Step) -> Iterator[str]:
    """Yield what a step used: tokens and cost, the model, and requests."""
    if step.output_tokens is not None:
        tokens = f"{step.input_tokens or 0:,} tokens in, {step.output_tokens:,} out"
        usage = f"{tokens}, {format_usd(step.cost_usd)}"
        if step.is_estimate:
            usage = f"at most {usage}"
        yield usage
    if step.model:
        yield step.model
    if step.request_id:
        yield f"request {step.request_id}"
    if step.github_requests is not None:
        yield f"{count(step.github_requests, 'request')} to GitHub"


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    delivery: DeliveryRow
    rule: str | None  # why the event was accepted, as a sentence; None if it was not accepted
    # sentences about the settings files of repositories; None if there are none
    repository_settings: str | None
    settings_comment: Outcome | None  # result of the comment about problems in .github/hls.yaml
    omitted: tuple[str, ...]  # sentences about content that was left out of the prompt
    context: str | None  # what Claude got besides the event: "AGENTS.md (about 120 tokens)"
    replies: tuple[Reply, ...]  # Claude's valid replies
    unusable: tuple[UnusableReply, ...]  # Claude's replies that could not be used
    outcomes: tuple[Outcome, ...]
    calls: tuple[CallRow, ...]
    steps: tuple[Step, ...]
    facts: str | None = (
        None  # JSON of what was read from GitHub; redacted, but untrusted; None before it is read
    )
    unverified: str | None = None  # why the findings were not verified; "" or None if they were
    # how the service ended its check afterwards: "cancelled: Not reviewed: ..."
    service_results: tuple[str, ...] = ()
    pause: Pause | None = None  # the pause that blocks a queued delivery
    blocker: str | None = (
        None  # GUID of the delivery of the same conversation that blocks a queued one
    )

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels that the delivery added. In a dry run, the labels that it would have added."""
        return tuple(label for outcome in self.outcomes for label in outcome.added)

    @property
    def comment(self) -> str | None:
        """Text of the last comment that was written. In a dry run, the text that would have been
        written.
        """
        for outcome in reversed(self.outcomes):
            if outcome.action == "comment" and outcome.body:
                return outcome.body
        return None


def load_report(store: Storage, delivery: DeliveryRow) -> DeliveryReport:
    steps = store.checkpoints.load(delivery.guid)
    calls = tuple(store.calls.calls_of(delivery.guid))
    ordered = sorted(steps.items(), key=lambda item: item[0])
    omitted = [OMISSIONS.decode(step) for (name, _), step in ordered if name == OMISSIONS.name]
    replies = store.replies.of(delivery.guid)
    decoded = [decode_reply_for_display(replies.valid[index]) for index in sorted(replies.valid)]
    unusable = [replies.unusable[index] for index in sorted(replies.unusable)]
    outcomes = [OUTCOME.decode(step) for (name, _), step in ordered if name == OUTCOME.name]
    files = [SETTINGS_FILE.decode(steps.get((SETTINGS_FILE.name, index))) for index in range(2)]
    sentences = [file.describe() for file in files if file is not None]
    facts = None
    if (GATHER, 0) in steps:
        facts = steps[GATHER, 0].value
    pause = None
    blocker = None
    if delivery.state == "queued":
        pause = find_pause(delivery.repository, store.pauses.active())
        blocker = store.queue.find_blocking(delivery.guid)
    return DeliveryReport(
        delivery=delivery,
        rule=RULE.decode(steps.get((RULE.name, 0))),
        repository_settings=". ".join(filter(None, sentences)) or None,
        settings_comment=PROBLEMS_REPORTED.decode(steps.get((PROBLEMS_REPORTED.name, 0))),
        omitted=tuple(sentence for sentence in omitted if sentence is not None),
        context=CONTEXT.decode(steps.get((CONTEXT.name, 0))),
        replies=tuple(reply for reply in decoded if reply is not None),
        unusable=tuple(reply for of_step in unusable for reply in of_step),
        outcomes=tuple(outcome for outcome in outcomes if outcome is not None),
        calls=calls,
        steps=list_steps(delivery, steps, calls, replies),
        facts=facts,
        service_results=store.commit_checks.service_results(delivery.guid),
        unverified=UNVERIFIED.decode(steps.get((UNVERIFIED.name, 0))),
        pause=pause,
        blocker=blocker,
    )
