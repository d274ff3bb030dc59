"""Executes commands of people with write permission: stops pull requests, dismisses findings,
requests reviews.
"""

from __future__ import annotations

import json
import logging
import uuid
from dataclasses import replace
from functools import partial
from typing import Literal, assert_never

from pydantic import TypeAdapter

from hls_handler.actions import EnsureComment, EnsureReply, Outcome, Reaction
from hls_handler.deliveries import (
    COMMANDED,
    CONCLUDED,
    PRIORITY_BOT_REQUEST,
    REQUESTED,
    End,
    NewDelivery,
)
from hls_handler.engine.codecs import OUTCOME, RULE, Codec
from hls_handler.engine.handler_job import require_runs_left
from hls_handler.engine.job import DeliveryJob
from hls_handler.engine.posting import Posting, make_writer
from hls_handler.engine.repository_settings import apply_to_rule, load_repository_settings
from hls_handler.errors import PayloadError, Permanent, Superseded
from hls_handler.events import REQUEST_KEY, Event, RequestedReview, parse_event
from hls_handler.github.values import ReviewThread
from hls_handler.handlers.handler import check_conversation
from hls_handler.handlers.job import Conversation
from hls_handler.handlers.oracle import OracleHandler
from hls_handler.handlers.registry import COMMAND_HANDLERS
from hls_handler.logs import log_act
from hls_handler.queue.checkpoints import StatusChange
from hls_handler.review.dismissals import (
    COMMAND,
    DELETED,
    HINT,
    OPEN_AGAIN,
    UNDISMISSED,
    find_dismissals,
)
from hls_handler.review.facts import find_least_failing
from hls_handler.review.ledger import Dismissers, is_failing
from hls_handler.review.record import LedgerEntry
from hls_handler.routing import Command, Ignored, IgnoredKind, Rule, find_disabled, from_event
from hls_handler.transport import exchange
from hls_handler.untrusted.cleaning import clean_title

log = logging.getLogger(__name__)

MAY_COMMAND = ("admin", "write")
"""Permissions of people whose commands are obeyed (SECURITY.md rule 18). The role `maintain` has
"write".
"""

REACTION = Codec("reaction", 1, TypeAdapter(str))
"""Checkpoint of a sentence: how HLS reacted to the comment with the command."""

DISMISSING = ("dismiss", "undismiss", "thread", "deleted", "unclear")
"""The commands that the author of a pull request may also give about findings that fail no
check.
"""

HINT_TEXT = (
    "HLS did not read this as a dismissal, so finding {number} stays as it is. If it is not to be"
    ' fixed, reply `/dismiss`, or begin a reply with "won\'t fix: ...".'
)

MAY_NOT = "may-not"
"""Key of the reply to an author who may not dismiss a finding."""

HELP_FAMILY = "help"

HELP = """\
**Commands.** Write one of them alone on the first line of a new comment on a pull request, or in \
the thread of a finding. They need write permission.

| command | effect |
|---|---|
| `/review` | review what is new since the last review, also of a draft |
| `/review full` | review all changes again |
| `/dismiss 3 because ...` | dismiss finding 3, which its author may also do if it fails no \
check; in its thread, `/dismiss` does |
| `/undismiss 3` | open finding 3 again; in its thread, `/undismiss` does |
| `/stop` | do nothing more on this pull request |
| `/resume` | end `/stop`, and review what is new |
| `/help` | show this table |

HLS reacts with 👍 (done), 👀 (begun) or 😕 (not possible, or not a command).

***

*Automatic comment by HLS.*"""

HELP_ROWS = {
    "cherry_pick": "| `/cherry-pick BRANCH` | say whether the change applies to the branch |\n",
    "test_oracle": "| `/test-oracle` | say which tests to run for the change |\n",
}
"""The rows of commands that are off by default, by the key of `features` that switches them on."""


def run_command(job: DeliveryJob, command: Command) -> End | DeliveryJob:
    """Execute the command if the repository's settings and the permission of its author allow it.

    Return the result, or the job of a handler that continues, if the command has one.

    A retry repeats all steps, which have no effect then. Raises `Postponed`, `LeaseLost` or a
    `StepFailed`.
    """
    job = apply_to_rule(load_repository_settings(job))
    job.note(RULE, 0, command.why(job.config.settings.sources))
    posted: Literal["dry_run", "done"] = "done"
    if job.rule.effective.features.dry_run:
        posted = "dry_run"
    with job.record_failure("posting"):
        login = job.event.sender.login
        ignored = _find_reason_to_ignore(job, command, login)
        if ignored is not None:
            replied = _explain_to_author(job, command, ignored)
            if replied:
                return End("done", _join(ignored.reason, replied), posting=posted)
            return End("ignored", ignored.reason, kind=ignored.kind)
        key = command.name.replace("-", "_")
        prepared = _prepare_handler(job, key) if key in COMMAND_HANDLERS else None
        if isinstance(prepared, DeliveryJob):
            return prepared
        reason = prepared or _run(job, command, login)
        job.context.health.ok("github")
        return End("done", reason, posting=posted)


def _find_reason_to_ignore(job: DeliveryJob, command: Command, login: str) -> Ignored | None:
    disabled = find_disabled(from_event(job.event), job.config.settings, job.rule.effective)
    if disabled is not None:
        return disabled
    job.require_reads_allowed()
    entry = find_finding(job, thread=command.thread, number=command.finding)
    unchanged = _find_unchanged(command, entry)
    if unchanged:
        return Ignored("nothing relevant changed", unchanged)
    permission = job.context.github.reader(job.event.repository.full_name).permission(login)
    if permission in MAY_COMMAND:
        return None
    reason = f"{login} has the permission {permission}, and commands need write permission"
    conversation = job.event.conversation
    if entry is None or conversation is None or command.name not in DISMISSING:
        return Ignored("no permission", reason)
    people = Dismissers((), conversation.user.login, find_least_failing(job.rule.effective.review))
    if people.may_dismiss(login, entry.severity):
        return None
    return Ignored(
        "no permission",
        f"{_who_may_dismiss(entry, people)}; {login} has the permission {permission}",
    )


def _who_may_dismiss(entry: LedgerEntry, people: Dismissers) -> str:
    writers = "people with write permission"
    if is_failing(entry.severity, people.fail_on):
        return f"finding {entry.number} fails the check, so only {writers} may dismiss it"
    return f"only the author of the pull request and {writers} may dismiss finding {entry.number}"


def _explain_to_author(job: DeliveryJob, command: Command, ignored: Ignored) -> str:
    """Reply to `/dismiss` of the pull request's author who may not: once in a thread, because it
    is a stranger. Return a sentence; "" if there is no reply.
    """
    conversation = job.event.conversation
    entry = find_finding(job, thread=command.thread, number=command.finding)
    if entry is None or conversation is None or command.name != "dismiss":
        return ""
    if ignored.kind != "no permission" or job.event.sender.login != conversation.user.login:
        return ""
    thread = _find_thread(job, entry, conversation.number)
    if thread is None or MAY_NOT in thread.own_replies or not _may_reply(job):
        return ""
    why = ignored.reason.partition("; ")[0]
    return _reply(job, entry, conversation.number, MAY_NOT, f"{why[0].upper()}{why[1:]}.")


def find_finding(
    job: DeliveryJob, *, thread: int | None = None, number: int | None = None
) -> LedgerEntry | None:
    """Return the finding of the pull request with this review thread, or else with this number."""
    if job.lease.number is None or (thread is None and number is None):
        return None
    history = job.store.repositories.history(job.lease.repository_id, job.bot.login)
    ledger = history.review(job.lease.number).ledger
    if thread is not None:
        return next((entry for entry in ledger if entry.comment_id == thread), None)
    return next((entry for entry in ledger if entry.number == number), None)


def _run(job: DeliveryJob, command: Command, login: str) -> str:
    interruptions = job.store.interruptions
    number = job.lease.number or _find_number(job)
    if number is None:
        return (
            "no pull request with the commit of this check is known, so there is nothing to review"
        )
    match command.name:
        case "review":
            return _request_review(job, number, "new")
        case "review full":
            return _request_review(job, number, "full")
        case "stop":
            # before the reaction, which says that it is done
            interruptions.stop(job.lease, number, by=login)
            return _join(f"{login} stopped HLS on this pull request", _react(job, "+1"))
        case "resume":
            interruptions.resume(job.lease, number)
            resumed = f"{login} ended the stop of this pull request"
            requested = _request_review(job, number, "new", if_impossible="+1", request=REQUESTED)
            return _join(resumed, requested)
        case "dismiss" | "undismiss" | "deleted" | "objection" | "unclear":
            return _decide_finding(job, command, number, login)
        case "thread":
            return _request_review(job, number, "conclude", reaction="+1", if_impossible="+1")
        case "help":
            return _join(_react(job, "+1"), _show_help(job, number).detail)
        case "cherry-pick" | "test-oracle" | "unknown":
            return _join(_react(job, "confused"), _show_help(job, number).detail)
        case _:
            assert_never(command.name)


def _prepare_handler(job: DeliveryJob, key: str) -> DeliveryJob | str:
    """React, and return the job of the command's handler, or the reason why there is none."""
    handler = COMMAND_HANDLERS[key]
    url = job.config.settings.test_oracle.url
    prompt = job.config.library.prompts.get(handler.prompt)
    if job.situation.stop is not None or prompt is None:
        reason = job.situation.stop or f"no folder of prompts has {handler.prompt}"
        return _join(_react(job, "confused"), str(reason))
    require_runs_left(job, job.situation.runs)
    _react(job, "eyes")
    if isinstance(handler, OracleHandler) and url is not None:
        handler = OracleHandler(partial(exchange, url))
    return replace(
        job, rule=Rule(key, handler.prompt, job.rule.effective, prompt.path), handler=handler
    )


def _find_unchanged(command: Command, entry: LedgerEntry | None) -> str:
    """Return why an event in a review thread changes nothing; "" if it may."""
    if command.thread is None or entry is None:
        return ""
    is_over = entry.is_closed and command.name in ("thread", "deleted")
    if is_over or (command.name == "unclear" and not entry.counts):
        return f"the finding of this review thread is {entry.state}, so the check does not count it"
    return ""


def _decide_finding(job: DeliveryJob, command: Command, number: int, login: str) -> str:
    """Dismiss a finding, or open it again, or reply how to do so."""
    entry = find_finding(job, thread=command.thread, number=command.finding)
    if entry is None:
        problem = f"no finding has the number {command.finding}"
        if command.finding is None:
            problem = "the number is missing"
        reaction = _react(job, "confused")
        return _join(reaction, f"nothing was changed: {problem}; our comment lists the numbers")
    if command.name == "unclear":
        return _reply_with_hint(job, entry, number)
    if command.finding not in (None, entry.number):
        command_text = f"/{command.name} {command.finding}"
        text = (
            f"This is the thread of finding {entry.number}: write `{command_text}` outside of it."
        )
        replied = _reply(job, entry, number, f"other-{job.lease.guid[:8]}", text)
        return _join(_react(job, "confused"), replied)
    if command.name in ("undismiss", "objection"):
        is_objection = command.name == "objection"
        return _undismiss(job, entry, number, login, is_objection=is_objection)
    how = COMMAND
    if command.name == "deleted":
        how = DELETED
    _store_dismissal(job, entry, login, how)
    requested = _request_review(job, number, "conclude", reaction="+1", if_impossible="+1")
    return _join(f"{login} dismissed finding {entry.number}", requested)


def _store_dismissal(job: DeliveryJob, entry: LedgerEntry, login: str, how: str) -> None:
    """Store it before the review that reads it."""
    job.store.reviews.dismiss(job.lease, job.bot.login, entry.key, by=login, how=how)


def _reply_with_hint(job: DeliveryJob, entry: LedgerEntry, number: int) -> str:
    """Reply once how to dismiss the finding."""
    thread = _find_thread(job, entry, number)
    if thread is None or HINT in thread.own_replies:
        return "the review thread has the hint how to dismiss its finding, or is not there any more"
    return _reply(job, entry, number, HINT, HINT_TEXT.format(number=entry.number))


def _reply(job: DeliveryJob, entry: LedgerEntry, number: int, key: str, text: str) -> str:
    """Reply in the thread of the finding; return a sentence about it."""
    if entry.comment_id is None:
        return ""
    if not _may_reply(job):
        return "HLS was stopped here, or comments are switched off, so there is no reply"
    posting = Posting(job, Conversation(number, is_pull_request=True))
    action = EnsureReply(entry.comment_id, key, text)
    return job.run_step(OUTCOME, 0, lambda: posting.write(action, 0)).detail


def _may_reply(job: DeliveryJob) -> bool:
    return job.situation.stop is None and job.rule.effective.features.auto_commenting


def _find_thread(job: DeliveryJob, entry: LedgerEntry, number: int) -> ReviewThread | None:
    reader = job.context.github.reader(job.event.repository.full_name, bot=job.bot)
    threads = reader.review_threads(number)
    return next((thread for thread in threads if thread.comment_id == entry.comment_id), None)


def _list_dismissing(job: DeliveryJob, entry: LedgerEntry, number: int) -> set[str]:
    """Return the logins of people who dismissed a finding; from its thread if no review has read
    what they did.
    """
    if entry.dismissals or entry.is_closed:
        return {key.partition(" by ")[2] for key in entry.dismissals}
    thread = _find_thread(job, entry, number)
    if thread is None:
        return set()
    dismissals = find_dismissals(thread)
    logins = {login for key, login in dismissals.items() if key not in entry.void_dismissals}
    reader = job.context.github.reader(job.event.repository.full_name)
    return {login for login in logins if reader.permission(login) in MAY_COMMAND}


def _undismiss(
    job: DeliveryJob, entry: LedgerEntry, number: int, login: str, *, is_objection: bool
) -> str:
    """Make the dismissals of a finding void. An objection is prose, so one to nothing is no
    mistake.
    """
    problem = f"nothing was changed: finding {entry.number} is not dismissed"
    if not _list_dismissing(job, entry, number):
        return problem if is_objection else _join(_react(job, "confused"), problem)
    _store_dismissal(job, entry, login, UNDISMISSED)
    text = f"Finding {entry.number} is open again: {login} took its dismissal back."
    replied = _reply(job, entry, number, f"{OPEN_AGAIN}-{job.lease.guid[:8]}", text)
    requested = _request_review(job, number, "conclude", reaction="+1", if_impossible="+1")
    return _join(f"{login} took the dismissal of finding {entry.number} back", replied, requested)


def _find_number(job: DeliveryJob) -> int | None:
    """Return the pull request of the check run: from stored events, because GitHub lists none of a
    fork.
    """
    check_run = job.event.check_run
    if check_run is None:
        return None
    history = job.store.repositories.history(job.lease.repository_id, job.bot.login)
    number = history.find_pull_request(job.event.repository.full_name, check_run.head_sha)
    number = number or next(iter(check_run.pull_request_numbers), None)
    if number is not None:
        # so that `hls why` shows the command there
        job.pending.add(StatusChange({"posted_on": number}))
    return number


def _join(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _react(job: DeliveryJob, content: Reaction) -> str:
    """React to the comment. Return a sentence; "" if there is no comment, as for a check that is
    run again.
    """
    comment = job.event.comment
    if comment is None or job.event.action == "deleted":
        return ""
    react = make_writer(job, job.begin_write).ensure_reaction
    is_review_comment = job.event.name == "pull_request_review_comment"
    return job.run_step(
        REACTION, 0, partial(react, comment.id, content, is_review_comment=is_review_comment)
    )


def _show_help(job: DeliveryJob, number: int) -> Outcome:
    if not job.rule.effective.features.auto_commenting:
        return Outcome(
            "comment", "off", "comments are switched off, so the commands were not shown"
        )
    posting = Posting(job, Conversation(number, is_pull_request=True))
    rows = "".join(
        row for key, row in HELP_ROWS.items() if getattr(job.rule.effective.features, key)
    )
    action = EnsureComment(HELP_FAMILY, HELP.replace("| `/help`", f"{rows}| `/help`"), create=True)
    return job.run_step(OUTCOME, 0, lambda: posting.write(action, 0))


def _request_review(
    job: DeliveryJob,
    number: int,
    review: RequestedReview,
    *,
    reaction: Reaction = "eyes",
    if_impossible: Reaction = "confused",
    request: str = COMMANDED,
) -> str:
    """React, and store a delivery for the requested review. Return a sentence about it.

    Its request id begins with `request`, or with `CONCLUDED`.
    """
    requested = make_review(job, number, review, request)
    if isinstance(requested, str):
        return _join(_react(job, if_impossible), f"no review was requested: {requested}")
    reacted = _react(job, reaction)
    accepted = job.store.queue.accept([requested], finds_replays=False)[0]
    if requested.request_id.startswith(COMMANDED) and accepted.outcome == "queued":
        _log_review(job, number, accepted.guid)
    what = "all changes" if review == "full" else "what is new"
    log.info(
        "review requested",
        extra={"requested": accepted.guid, "review": review, "outcome": accepted.outcome},
    )
    return _join(reacted, f"a review of {what} was requested (delivery {accepted.guid})")


def _log_review(job: DeliveryJob, number: int, guid: str) -> None:
    limit = job.rule.effective.review.max_usd_per_pull_request
    log_act(
        job.event.sender.login,
        "review",
        [f"{job.event.repository.full_name}#{number}", guid],
        reason=f"may cost more than review.max_usd_per_pull_request ({limit:g} USD)",
    )


COMMON_KEYS = ("repository", "sender", "installation", "organization")
"""Keys of a webhook's payload that are the same for all events of a person in a repository."""


def make_review(
    job: DeliveryJob, number: int, review: RequestedReview, request: str
) -> NewDelivery | str:
    """Return the delivery for a review of the pull request's present state, or the reason why there
    is none.
    """
    stop = job.store.interruptions.find_stop(job.event.repository.id, number)
    if stop is not None:
        return str(stop)
    document = job.context.github.reader(job.event.repository.full_name).pull_request_document(
        number
    )
    payload = {key: job.event.payload[key] for key in COMMON_KEYS if key in job.event.payload}
    payload |= {
        "action": "synchronize",
        "number": number,
        "pull_request": document,
        REQUEST_KEY: {"review": review},
    }
    # Each attempt at the command makes the same GUID.
    guid = str(uuid.uuid5(uuid.NAMESPACE_OID, f"review requested by {job.lease.guid}"))
    body = json.dumps(payload).encode()
    try:
        event = parse_event("pull_request", guid, body)
        routing_input = from_event(event)
    except PayloadError as exc:
        raise Permanent(str(exc)) from exc
    pull_request = event.pull_request
    assert pull_request is not None  # `parse_event` rejects the event without it
    checked = job.event.check_run
    if checked is not None and checked.head_sha != pull_request.head_sha:
        return (
            f"the check is that of {checked.head_sha[:10]}, and pull request {number} has a newer"
            " commit"
        )
    routed = job.router.route(routing_input)
    if isinstance(routed, Rule):  # the repository's settings may exclude what the operator's admit
        routed = job.router.route_enabled(routing_input, job.rule.effective)
    if isinstance(routed, Ignored):
        return routed.reason
    try:
        check_conversation(event, pull_request)
    except Superseded as exc:
        return str(exc)
    is_conclusion = review == "conclude"  # it must not take the place of a full review
    if is_conclusion:
        request = CONCLUDED
    return NewDelivery(
        guid=guid,
        event="pull_request",
        action="synchronize",
        request_id=f"{request}{job.lease.guid}",
        state="queued",
        repository_id=job.event.repository.id,
        repository=job.event.repository.full_name,
        number=pull_request.number,
        head_sha=pull_request.head_sha,
        author=pull_request.user.login if job.config.settings.metrics.authors else None,
        sender=job.event.sender.login,
        title=clean_title(pull_request.title) or None,
        priority=PRIORITY_BOT_REQUEST,
        body=body,
        supersedes="conclusions" if is_conclusion else "pushes",
    )


UNLESS_TAKING_OVER: frozenset[IgnoredKind] = frozenset(
    {"event not enabled", "draft", "not requested", "other bot"}
)
"""Kinds of reasons to ignore a push that do not apply if it superseded a review."""


def take_over_review(job: DeliveryJob, kind: IgnoredKind) -> Event | None:
    """Return a push as a request for the review that it superseded; None if it superseded none that
    would have run.

    Otherwise a push after `/review`, or after the pull request was opened, would cancel the review,
    and be ignored.
    """
    event = job.event
    if (
        event.key != "pull_request.synchronize"
        or kind not in UNLESS_TAKING_OVER
        or event.requested_review is not None
    ):
        return None
    for guid in job.store.interruptions.superseded_since_review(job.lease):
        body = job.store.deliveries.body(guid)
        try:
            superseded = parse_event(event.name, guid, body or b"")
        except PayloadError:  # its body was deleted
            continue
        if isinstance(job.router.route(from_event(superseded)), Rule):
            request = {"review": superseded.requested_review or "new"}
            # a bot's push continues the review that a person requested
            taken = {REQUEST_KEY: request, "sender": superseded.payload.get("sender")}
            return replace(event, sender=superseded.sender, payload={**event.payload, **taken})
    return None
