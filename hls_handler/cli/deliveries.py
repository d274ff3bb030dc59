"""`hls deliveries` lists, shows and retries deliveries. `hls why` explains what HLS did on an issue or pull request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, get_args

import typer

from hls_handler.actions import Outcome
from hls_handler.analysis import ValidReply
from hls_handler.cli.github_names import require_conversation, require_repository
from hls_handler.cli.options import (
    AsJson,
    Config,
    describe_missing_database,
    fail,
    format_usd,
    load,
    open_existing_store,
    print_json,
    print_line,
    print_lines,
    require_existing_store,
)
from hls_handler.cli.reply_text import describe_reply
from hls_handler.deliveries import FIRST_SHADOW_STEP, State
from hls_handler.events import event_key
from hls_handler.history.calls import CallRow
from hls_handler.history.statistics import DeliveryRow
from hls_handler.queue.pauses import Pause, describe_pause, find_pause, resume_command
from hls_handler.storage import Storage
from hls_handler.wording import count
from hls_handler.work.asking import OMISSIONS, SHADOW, UNUSABLE, ShadowResult
from hls_handler.work.job import ASK, GATHER, decode_reply_for_display
from hls_handler.work.pipeline import RULE
from hls_handler.work.posting import OUTCOME
from hls_handler.work.repository_settings import PROBLEMS_REPORTED, SETTINGS_FILE

deliveries = typer.Typer(
    help="List, show and retry deliveries. Works while the service runs.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Guid = Annotated[
    str, typer.Argument(metavar="DELIVERY", help="The delivery's GUID, a unique prefix of it, or its request id.")
]


@deliveries.command(name="list")
def list_(
    state: Annotated[
        State | None,
        typer.Option(metavar="STATE", help=f"Only deliveries in this state: {', '.join(get_args(State))}."),
    ] = None,
    repository: Annotated[
        str | None, typer.Option(metavar="OWNER/REPO", help="Only deliveries of this repository, or URL.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Maximum number of deliveries.")] = 50,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """List deliveries, the newest first.

    Prints one line for each: time received, GUID prefix, state, event, issue or pull request. The reason for the
    state, if any, is on the next line.

    Exit codes: 0 listed (also if there are none); 2 usage error, or unusable settings or database.
    """
    settings = load(config, credentials=False)
    if repository is not None:
        repository = require_repository(repository, base_url=settings.github.base_url)
    with open_existing_store(settings) as store:
        if store is None:
            print_line(describe_missing_database(settings), err=as_json)
        rows = store.deliveries.newest(state=state, repository=repository, limit=limit) if store else ()
        pauses = store.pauses.active() if store else ()
    if as_json:
        from hls_handler.cli.json_documents import deliveries_to_dict  # imports this module

        print_json(deliveries_to_dict(rows, pauses))
        return
    if not rows:
        if store:
            print_line("no deliveries")
        return
    for row in rows:
        event = event_key(row.event, row.action)
        print_line(
            f"{row.received_at:%Y-%m-%d %H:%M:%S}  {row.guid[:8]}  {row.state:<10}  {event}  {_conversation_name(row)}"
            f"{'  (caught up)' if row.is_caught_up else ''}"
        )
        pause = find_pause(row.repository, pauses) if row.state == "queued" else None
        for reason in (row.reason, pause and describe_pause(pause)):
            if reason:
                print_line(f"    {reason}")


@deliveries.command()
def show(guid: Guid, as_json: AsJson = False, config: Config = None) -> None:
    """Show all details of one delivery.

    Prints the rule that accepted the event, the prompt, Claude's reply, what was posted, and the cost. Then prints a
    line for each step with its duration. The line of a call to Claude has tokens, cost, model and Claude's request id.

    Exit codes: 0 shown; 1 no delivery, or more than one, has this GUID prefix or request id; 2 usage error, or
    unusable settings or database.
    """
    with require_existing_store(load(config, credentials=False)) as store:
        report = load_report(store, _require_found(store.deliveries.find(guid), guid))
    if as_json:
        from hls_handler.cli.json_documents import report_to_dict  # imports this module

        print_json(report_to_dict(report))
        return
    for sentence in format_report(report):
        print_line(sentence)
    for step in _describe_steps(report):
        print_line(f"  {step}")
    if report.comment is not None:
        print_lines("\n--- comment ---\n" + report.comment)


@deliveries.command()
def retry(guid: Guid, config: Config = None) -> None:
    """Run a dead or waiting delivery now.

    The delivery keeps its GUID. Completed steps, such as asking Claude, are not repeated.

    Exit codes: 0 queued; 1 there is no such delivery, it is neither dead nor waiting, or its body was deleted; 2 usage
    error, or unusable settings or database.
    """
    settings = load(config, credentials=False)
    body_days_source = settings.sources.where("storage.body_days")
    with require_existing_store(settings) as store:
        row = _require_found(store.deliveries.find(guid), guid)
        state = store.queue.retry(row.guid)
        pause = find_pause(row.repository, store.pauses.active())
    if row.state not in ("dead", "queued"):
        fail(f"{row.guid} is {state or row.state}; only a dead or a waiting delivery can be run again")
    if state in ("dead", None):
        fail(
            f"{row.guid} stays {state or 'deleted'}: its body was deleted ({body_days_source}); redeliver it from the "
            "webhook's Recent Deliveries, which GitHub allows for 3 days, or trigger a new event on the issue or pull "
            "request"
        )
    if pause is not None:
        print_line(f"{row.guid} is queued but waits: {describe_pause(pause)}; {resume_command(pause)} ends the pause")
        return
    print_line(f"{row.guid} is queued; a running service starts it within seconds")


def _conversation_name(row: DeliveryRow) -> str:
    return f"{row.repository or '-'}#{row.number}" if row.number is not None else row.repository or "-"


def _require_found(row: DeliveryRow | None, guid: str) -> DeliveryRow:
    if row is None:
        fail(
            f"there is no delivery {guid}, or several GUIDs begin with it or have this request id; "
            "`hls deliveries list` shows all of them"
        )
    return row


def why(
    conversation: Annotated[str, typer.Argument(metavar="OWNER/REPO#N", help="The issue or pull request, or its URL.")],
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Explain what HLS did on an issue or pull request.

    Prints for each delivery, oldest first: the rule and the line of the settings that accepted or ignored it, the
    prompt, Claude's reply, what was posted or why nothing was posted, and the cost. Works while the service runs.

    Exit codes: 0 printed; 1 nothing was received for it; 2 usage error, or unusable settings or database.
    """
    settings = load(config, credentials=False)
    repository, number = require_conversation(conversation, base_url=settings.github.base_url)
    keep_days_source = settings.sources.where("storage.keep_days")
    with require_existing_store(settings) as store:
        reports = [load_report(store, row) for row in store.deliveries.of_conversation(repository, number)]
    if not reports:
        fail(
            f"nothing was received for {repository}#{number}, or it was deleted ({keep_days_source}); the webhook's "
            "Recent Deliveries on GitHub show whether an event was sent, and `hls deliveries list` shows what was "
            "received"
        )
    if as_json:
        from hls_handler.cli.json_documents import report_to_dict  # imports this module

        print_json({"deliveries": [report_to_dict(report) for report in reports]})
        return
    for position, report in enumerate(reports):
        if position:
            print_line("")
        for sentence in format_report(report):
            print_line(sentence)


def format_report(report: DeliveryReport) -> Iterator[str]:
    """Yield the report's lines. Newlines in a value become spaces, so that untrusted text cannot imitate a line."""
    first, *others = (" ".join(sentence.split()) for sentence in _sentences(report))
    yield first
    yield from (f"  {sentence}" for sentence in others)


def _sentences(report: DeliveryReport) -> Iterator[str]:
    row = report.delivery
    delivery = f"delivery {row.guid}{', caught up' if row.is_caught_up else ''}"
    yield f"{row.received_at:%Y-%m-%d %H:%M:%S} UTC: {event_key(row.event, row.action)} ({delivery})"
    if report.rule is not None:
        yield f"Accepted: {report.rule}."
    if report.repository_settings is not None:
        yield f"Repository settings: {report.repository_settings}."
    if report.omitted:
        yield f"Not shown to Claude: {'; '.join(report.omitted)}."
    for answered in report.answers:
        yield f"Claude's reply to {answered.prompt_id}: {describe_reply(answered)}"
    if row.analysis_status == "failed":
        yield f"The analysis failed: {row.analysis_error}"
    for outcome in report.outcomes:
        yield f"{outcome.action.capitalize()}: {outcome.detail}." + (f" {outcome.url}" if outcome.url else "")
    if report.settings_comment is not None and report.settings_comment.kind != "withheld":
        yield f"Comment about problems in the repository settings: {report.settings_comment.detail}." + (
            f" {report.settings_comment.url}" if report.settings_comment.url else ""
        )
    if row.posting_status == "failed":
        yield f"Posting failed: {row.posting_error}"
    if report.shadow is not None:
        yield describe_shadow(report.shadow)
    yield _describe_state(report)
    if report.calls:
        yield _cost(report)


def describe_shadow(shadow: ShadowResult) -> str:
    """Return one sentence: what the shadow prompt would have posted, or why it failed or was not asked."""
    if shadow.ran is None:
        state = "failed" if shadow.state == "failed" else "was not asked"
        return f"Shadow prompt {shadow.prompt} {state}: {shadow.reason}"
    labels = ", ".join(label.name for label in shadow.ran.labels) or "no labels"
    comment = "with a comment" if shadow.ran.speaks else "without a comment"
    return f"Shadow prompt {shadow.ran.prompt_id} would have set {labels}, {comment}; none of this was posted."


def _describe_state(report: DeliveryReport) -> str:
    row, pause = report.delivery, report.pause
    reason = row.reason or "no reason was stored"
    match row.state:
        case "queued" if pause is not None:
            return f"Waiting: {describe_pause(pause)}; {resume_command(pause)} ends the pause."
        case "queued":
            return f"Waiting until {row.due_at:%H:%M:%S} UTC: {row.reason or 'queued, not started yet'}."
        case "running":
            return "Running."
        case "done" | "ignored" | "superseded":
            return f"{row.state.capitalize()}: {reason}."
        case "dead":
            return f"Dead: {reason}. `hls deliveries retry {row.guid[:8]}` runs it again."


def _cost(report: DeliveryReport) -> str:
    costs = [call.cost_usd for call in report.calls if call.cost_usd is not None]
    calls = count(len(report.calls), "call")
    tokens_in = sum(call.all_input_tokens for call in report.calls)
    tokens_out = sum(call.output_tokens or 0 for call in report.calls)
    shadow_calls = sum(call.of_shadow for call in report.calls)
    shadow_part = f" ({shadow_calls} of them for the shadow prompt)" if shadow_calls else ""
    return f"{calls} to Claude{shadow_part}, {tokens_in} tokens in, {tokens_out} out, {sum(costs):.6f} USD."


def _describe_steps(report: DeliveryReport) -> Iterator[str]:
    yield from (f"Step {name}: {took_s:.3f} s" for name, took_s in report.times if not name.startswith(_CALL_STEPS))
    for call in report.calls:
        name = _step_name(ASK, call.index)
        outcome = call.outcome or "unfinished"
        took = "no duration" if call.took_s is None else f"{call.took_s:.3f} s"
        usage = "no tokens"
        if call.output_tokens is not None:
            at_most = "at most " if call.is_estimate else ""
            usage = f"{at_most}{call.all_input_tokens} tokens in, {call.output_tokens} out, {format_usd(call.cost_usd)}"
        request = f", request {call.request_id}" if call.request_id else ""
        yield f"Step {name}: {took}, {outcome}, {usage}, {call.model}{request}"
    if report.delivery.github_requests is not None:
        yield f"Requests to GitHub: {report.delivery.github_requests}"


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    delivery: DeliveryRow
    rule: str | None  # why the event was accepted, as a sentence; None if it was not accepted
    repository_settings: str | None  # a sentence about .github/hls.yaml; None if there is no such file
    settings_comment: Outcome | None  # result of the comment about problems in .github/hls.yaml
    omitted: tuple[str, ...]  # sentences about content that was left out of the prompt
    answers: tuple[ValidReply, ...]  # Claude's valid replies, except to the shadow prompt
    outcomes: tuple[Outcome, ...]
    calls: tuple[CallRow, ...]
    times: tuple[tuple[str, float], ...]  # "gather", "ask" or "post 2", and the seconds that it took
    shadow: ShadowResult | None = None
    pause: Pause | None = None  # the pause that blocks a queued delivery

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels that the delivery added. In a dry run, the labels that it would have added."""
        return tuple(label for outcome in self.outcomes for label in outcome.added)

    @property
    def comment(self) -> str | None:
        """Text of the last comment that was written. In a dry run, the text that would have been written."""
        bodies = [outcome.body for outcome in self.outcomes if outcome.action == "comment" and outcome.body]
        return bodies[-1] if bodies else None


def load_report(store: Storage, delivery: DeliveryRow) -> DeliveryReport:
    steps = store.checkpoints.load(delivery.guid)
    ordered = sorted(steps.items(), key=lambda item: (_ORDER.get(item[0][0], 9), item[0][1]))
    omitted = [OMISSIONS.decode(step) for (name, _), step in ordered if name == OMISSIONS.name]
    answers = [
        decode_reply_for_display(step) for (name, index), step in ordered if name == ASK and index < FIRST_SHADOW_STEP
    ]
    outcomes = [OUTCOME.decode(step) for (name, _), step in ordered if name == OUTCOME.name]
    repository_file = SETTINGS_FILE.decode(steps.get((SETTINGS_FILE.name, 0)))
    return DeliveryReport(
        delivery=delivery,
        rule=RULE.decode(steps.get((RULE.name, 0))),
        repository_settings=repository_file.describe() if repository_file is not None else None,
        settings_comment=PROBLEMS_REPORTED.decode(steps.get((PROBLEMS_REPORTED.name, 0))),
        omitted=tuple(sentence for sentence in omitted if sentence is not None),
        answers=tuple(answer for answer in answers if answer is not None),
        outcomes=tuple(outcome for outcome in outcomes if outcome is not None),
        calls=tuple(store.calls.calls_of(delivery.guid)),
        times=tuple((_step_name(name, index), step.took_s) for (name, index), step in ordered if name in _ORDER),
        shadow=SHADOW.decode(steps.get((SHADOW.name, 0))),
        pause=find_pause(delivery.repository, store.pauses.active()) if delivery.state == "queued" else None,
    )


def _step_name(name: str, index: int) -> str:
    if index >= FIRST_SHADOW_STEP:
        return f"{_step_name(name, index - FIRST_SHADOW_STEP)} (shadow)"
    return name if index == 0 else f"{name} {index + 1}"


_CALL_STEPS = (UNUSABLE.name, ASK)
_ORDER = {GATHER: 0, UNUSABLE.name: 1, ASK: 2, OUTCOME.name: 3}
