"""Reviews that a command requests, and pushes that take one over."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace

from hls_handler.deliveries import CONCLUDED, PRIORITY_BOT_REQUEST, NewDelivery
from hls_handler.engine.job import DeliveryJob
from hls_handler.errors import PayloadError, Permanent, Superseded
from hls_handler.events import REQUEST_KEY, Event, RequestedReview, parse_event
from hls_handler.handlers.handler import check_conversation
from hls_handler.routing import Ignored, IgnoredKind, Rule, from_event
from hls_handler.untrusted.cleaning import clean_title

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
