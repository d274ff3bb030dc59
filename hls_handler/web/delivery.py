"""From a verified and routed request to the delivery that the queue stores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from hls_handler.deliveries import PRIORITY_BOT_REQUEST, PRIORITY_OTHER, PRIORITY_PULL_REQUEST, NewDelivery
from hls_handler.errors import PayloadError
from hls_handler.events import REPOSITORY_NAME, REQUIRED_OBJECTS, WebhookEnvelope
from hls_handler.routing import Ignored, LabelCorrection, Rule
from hls_handler.web.webhook import WebhookHeaders, sha256

PULL_REQUEST_EVENTS = frozenset({"pull_request", "pull_request_review", "pull_request_review_comment"})
CLOSING_EVENTS = frozenset(
    {("issues", "closed"), ("issues", "deleted"), ("issues", "transferred"), ("pull_request", "closed")}
)
PUSH = ("pull_request", "synchronize")

_MAX_ID = 2**63 - 1
_MAX_NUMBER = 2**31 - 1
_MAX_NAME_LENGTH = 255


def check_payload(event: str, envelope: WebhookEnvelope) -> None:
    """Check the unsigned event name against the signed body, and the limits of the fields that are stored.

    Raises `PayloadError`.
    """
    for named_by in REQUIRED_OBJECTS.get(event, ()):
        if getattr(envelope, named_by) is None:
            raise PayloadError(f"the payload does not fit {event}: it has no {named_by}")
    for where, name in _names(envelope):
        if len(name) > _MAX_NAME_LENGTH or not name.isprintable():
            raise PayloadError(f"the payload does not have GitHub's shape: {where}")
    full_name = envelope.repository.full_name if envelope.repository else ""
    if full_name and not REPOSITORY_NAME.fullmatch(full_name):
        raise PayloadError("the payload does not have GitHub's shape: repository.full_name")
    for where, number, largest in _numbers(envelope):
        if not (where == "number") <= number <= largest:
            raise PayloadError(f"the payload does not have GitHub's shape: {where}")


def _names(envelope: WebhookEnvelope) -> Iterator[tuple[str, str]]:
    if envelope.action is not None:
        yield "action", envelope.action
    if envelope.repository is not None:
        yield "repository.full_name", envelope.repository.full_name
    if envelope.sender is not None:
        yield "sender.login", envelope.sender.login
    if envelope.pull_request is not None and envelope.pull_request.head is not None:
        yield "pull_request.head.sha", envelope.pull_request.head.sha
    if envelope.workflow_run is not None:
        yield "workflow_run.head_sha", envelope.workflow_run.head_sha


def _numbers(envelope: WebhookEnvelope) -> Iterator[tuple[str, int, int]]:
    if envelope.repository is not None:
        yield "repository.id", envelope.repository.id, _MAX_ID
    if envelope.installation is not None:
        yield "installation.id", envelope.installation.id, _MAX_ID
    if envelope.thread is not None:
        yield "number", envelope.thread.number, _MAX_NUMBER


def new_delivery(
    headers: WebhookHeaders,
    envelope: WebhookEnvelope,
    routed: Rule | LabelCorrection | Ignored,
    payload: bytes,
    *,
    request_id: str,
    settle_s: float,
) -> NewDelivery:
    """Return the delivery to store; of an ignored one neither body nor digest is stored.

    `settle_s` is how long a push waits for a newer one.
    """
    ignored = routed if isinstance(routed, Ignored) else None
    pushed = envelope.pull_request.head if envelope.pull_request else None
    head_sha = pushed.sha if pushed else envelope.workflow_run.head_sha if envelope.workflow_run else ""
    return NewDelivery(
        guid=headers.delivery,
        event=headers.event,
        action=envelope.action,
        request_id=request_id,
        state="ignored" if ignored else "queued",
        reason=ignored.reason if ignored else None,
        reason_kind=ignored.kind if ignored else None,
        repository_id=envelope.repository.id if envelope.repository else None,
        repository=(envelope.repository.full_name or None) if envelope.repository else None,
        installation=envelope.installation.id if envelope.installation else None,
        number=envelope.thread.number if envelope.thread else None,
        head_sha=head_sha or None,
        sender=(envelope.sender.login or None) if envelope.sender else None,
        priority=_priority(headers.event, envelope.action),
        settle_s=settle_s if (headers.event, envelope.action) == PUSH else 0.0,
        digest=None if ignored else sha256(payload),
        body=b"" if ignored else payload,
        supersedes=_supersedes(headers.event, envelope.action, is_ignored=ignored is not None),
    )


def _priority(event: str, action: str | None) -> int:
    """Return the priority: a person who addresses the bot waits for it, and pull requests hold people up most.

    Comments that do not address the bot are not queued.
    """
    if action == "review_requested" or event == "issue_comment":
        return PRIORITY_BOT_REQUEST
    return PRIORITY_PULL_REQUEST if event in PULL_REQUEST_EVENTS else PRIORITY_OTHER


def _supersedes(event: str, action: str | None, *, is_ignored: bool) -> Literal["nothing", "older_commits", "thread"]:
    """Return which queued deliveries of the same conversation this one replaces.

    A closed conversation ends its queued work even if nothing handles the event itself; a push replaces older ones only
    if it is analysed itself.
    """
    if (event, action) in CLOSING_EVENTS:
        return "thread"
    return "older_commits" if (event, action) == PUSH and not is_ignored else "nothing"
