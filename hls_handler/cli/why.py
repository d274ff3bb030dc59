"""`hls why`: describe what HLS did on an issue or pull request, and why."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

import typer

from hls_handler.analysis import IssueAnalysis, IssueResponse, PullRequestAnalysis, Reply, ReviewAnalysis, ValidReply
from hls_handler.cli.options import Config, fail, load, open_store
from hls_handler.cli.say import print_line
from hls_handler.cli.story import DeliveryReport, tell
from hls_handler.events import event_key
from hls_handler.work.pauses import resuming, told
from hls_handler.work.shadow import Shadowed

SHADOW_STATES = {"failed": "failed", "skipped": "was not asked"}
CONVERSATION = re.compile(r"(?P<repository>[^/\s]+/[^/\s#]+)#(?P<number>[0-9]+)")


def why(
    thread: Annotated[str, typer.Argument(metavar="OWNER/REPO#N", help="The issue or pull request.")],
    config: Config = None,
) -> None:
    """Explain what HLS did on an issue or pull request.

    Prints, for each delivery of the issue or pull request, oldest first: the rule and the line of the settings by which
    it was accepted or ignored, the prompt, Claude's reply, what was posted or why nothing was, and the cost. Works
    while the service runs.

    Exit codes: 0 printed; 1 nothing was received for it; 2 usage error, or unusable settings or database.
    """
    match = CONVERSATION.fullmatch(thread)
    if match is None:
        raise typer.BadParameter("write it as owner/repo#7", param_hint="OWNER/REPO#N")
    settings = load(config)
    keep_days_source = settings.sources.where("storage.keep_days")
    with open_store(settings) as store:
        reports = [
            tell(store, row) for row in store.deliveries.of_conversation(match["repository"], int(match["number"]))
        ]
    if not reports:
        fail(
            f"nothing was received for {thread}, or was deleted ({keep_days_source}); the webhook's Recent Deliveries "
            "on GitHub show whether an event was sent, and `hls deliveries list` shows what was received"
        )
    for number, report in enumerate(reports):
        if number:
            print_line("")
        for sentence in format_report(report):
            print_line(sentence)


def format_report(story: DeliveryReport) -> Iterator[str]:
    """Describe one delivery, one sentence per line; newlines are removed, so that no text can imitate a line."""
    first, *others = (" ".join(sentence.split()) for sentence in _sentences(story))
    yield first
    yield from (f"  {sentence}" for sentence in others)


def _sentences(story: DeliveryReport) -> Iterator[str]:
    row = story.delivery
    yield f"{row.received_at:%Y-%m-%d %H:%M:%S} UTC: {event_key(row.event, row.action)} (delivery {row.guid})"
    if story.rule is not None:
        yield f"Accepted: {story.rule}."
    if story.own_settings is not None:
        yield f"Repository settings: {story.own_settings}."
    if story.omitted:
        yield f"Not shown to Claude: {'; '.join(story.omitted)}."
    for answered in story.answers:
        yield f"Claude's reply to {answered.prompt_id}: {describe_reply(answered)}"
    if row.analysis_status == "failed":
        yield f"The analysis failed: {row.analysis_error}"
    for outcome in story.outcomes:
        yield f"{outcome.action.capitalize()}: {outcome.detail}." + (f" {outcome.url}" if outcome.url else "")
    if story.told is not None and story.told.kind != "withheld":
        yield f"Comment about problems in the repository settings: {story.told.detail}." + (
            f" {story.told.url}" if story.told.url else ""
        )
    if row.posting_status == "failed":
        yield f"Posting failed: {row.posting_error}"
    if story.shadow is not None:
        yield describe_shadow(story.shadow)
    yield _describe_state(story)
    if story.calls:
        yield _cost(story)


def describe_reply(answered: ValidReply) -> str:
    """Return the reply in one line, with the custom fields at the end."""
    custom = "".join(f"; {name}: {_format_value(value)}" for name, value in (answered.reply.model_extra or {}).items())
    return f"{_describe_shipped_fields(answered.reply)}{custom}"


def _format_value(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _describe_shipped_fields(reply: Reply) -> str:
    suffix = "" if reply.worth_saying else " (not worth a comment)"
    match reply:
        case IssueAnalysis():
            fields = [reply.kind, f"priority {reply.priority}", reply.difficulty, f"component {reply.component}"]
            return f"{', '.join(fields)}: {reply.summary}{suffix}"
        case PullRequestAnalysis():
            return f"{reply.type}, {len(reply.findings)} findings: {reply.summary}{suffix}"
        case ReviewAnalysis():
            blocking = sum(request.blocking for request in reply.requests)
            return (
                f"{len(reply.requests)} requests, {blocking} of them blocking: {reply.summary or 'no summary'}{suffix}"
            )
        case IssueResponse():
            return f"{'certain' if reply.certain else 'a guess'}: {reply.answer}{suffix}"
        case _:
            return f"{reply.model_dump_json(exclude=set(reply.model_extra or ()))}{suffix}"


def describe_shadow(shadow: Shadowed) -> str:
    """Return in one line what the shadow prompt would have done."""
    if shadow.ran is None:
        return f"Shadow prompt {shadow.prompt} {SHADOW_STATES[shadow.state]}: {shadow.reason}"
    labels = ", ".join(label.name for label in shadow.ran.labels) or "no labels"
    comment = "with a comment" if shadow.ran.speaks else "without a comment"
    return f"Shadow prompt {shadow.ran.prompt_id} would have set {labels}, {comment}; none of this was posted."


def _describe_state(story: DeliveryReport) -> str:
    row, held_by = story.delivery, story.held_by
    reason = row.reason or "no reason was stored"
    match row.state:
        case "queued" if held_by is not None:
            return f"Waiting: {told(held_by)}; {resuming(held_by)} ends the pause."
        case "queued":
            return f"Waiting until {row.due_at:%H:%M:%S} UTC: {row.reason or 'queued, not started yet'}."
        case "running":
            return "Running."
        case "done":
            return f"Done: {reason}."
        case "ignored":
            return f"Ignored: {reason}."
        case "superseded":
            return f"Superseded: {reason}."
        case "dead":
            return f"Dead: {reason}. `hls deliveries retry {row.guid[:8]}` runs it again."


def _cost(story: DeliveryReport) -> str:
    costs = [call.cost_usd for call in story.calls if call.cost_usd is not None]
    calls = f"{len(story.calls)} call{'s' * (len(story.calls) != 1)}"
    tokens_in = sum(
        tokens or 0
        for call in story.calls
        for tokens in (call.input_tokens, call.cache_write_tokens, call.cache_read_tokens)
    )
    tokens_out = sum(call.output_tokens or 0 for call in story.calls)
    shadow_calls = sum(call.of_shadow for call in story.calls)
    shadow_part = f" ({shadow_calls} of them for the shadow prompt)" if shadow_calls else ""
    return f"{calls} to Claude{shadow_part}, {tokens_in} tokens in, {tokens_out} out, {sum(costs):.6f} USD."
