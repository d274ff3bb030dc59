"""From a verified and routed request to the delivery that the store is asked to keep: pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from hls_handler.deliveries import PULL_REQUEST, REST, WISH, NewDelivery
from hls_handler.errors import PayloadError
from hls_handler.events import NAMED_BY, REPOSITORY_NAME, Sip
from hls_handler.routing import Feedback, Ignored, Rule
from hls_handler.web.head import Head
from hls_handler.web.signature import sha256

ON_PULL_REQUESTS = frozenset({"pull_request", "pull_request_review", "pull_request_review_comment"})

ENDINGS = frozenset(
    {("issues", "closed"), ("issues", "deleted"), ("issues", "transferred"), ("pull_request", "closed")}
)
NEWER_PUSH = ("pull_request", "synchronize")

_LARGEST_ID = 2**63 - 1
_LARGEST_NUMBER = 2**31 - 1
_LONGEST_NAME = 255


def check_payload(event: str, sip: Sip) -> None:
    """Hold the unsigned event name against the signed body, and the fields that we keep against sane bounds.

    Raises `PayloadError`.
    """
    for named_by in NAMED_BY.get(event, ()):
        if getattr(sip, named_by) is None:
            raise PayloadError(f"the payload does not fit {event}: it has no {named_by}")
    for where, name in _names(sip):
        if len(name) > _LONGEST_NAME or not name.isprintable():
            raise PayloadError(f"the payload does not have GitHub's shape: {where}")
    full_name = sip.repository.full_name if sip.repository else ""
    if full_name and not REPOSITORY_NAME.fullmatch(full_name):
        raise PayloadError("the payload does not have GitHub's shape: repository.full_name")
    for where, number, largest in _numbers(sip):
        if not (where == "number") <= number <= largest:
            raise PayloadError(f"the payload does not have GitHub's shape: {where}")


def _names(sip: Sip) -> Iterator[tuple[str, str]]:
    if sip.action is not None:
        yield "action", sip.action
    if sip.repository is not None:
        yield "repository.full_name", sip.repository.full_name
    if sip.sender is not None:
        yield "sender.login", sip.sender.login
    if sip.pull_request is not None and sip.pull_request.head is not None:
        yield "pull_request.head.sha", sip.pull_request.head.sha
    if sip.workflow_run is not None:
        yield "workflow_run.head_sha", sip.workflow_run.head_sha


def _numbers(sip: Sip) -> Iterator[tuple[str, int, int]]:
    if sip.repository is not None:
        yield "repository.id", sip.repository.id, _LARGEST_ID
    if sip.installation is not None:
        yield "installation.id", sip.installation.id, _LARGEST_ID
    if sip.thread is not None:
        yield "number", sip.thread.number, _LARGEST_NUMBER


def new_delivery(
    head: Head, sip: Sip, routed: Rule | Feedback | Ignored, body: bytes, *, request_id: str, settle_s: float
) -> NewDelivery:
    """What the store is asked to keep. An ignored delivery leaves neither its body nor its digest.

    `settle_s` is how long a push waits for a newer one.
    """
    ignored = routed if isinstance(routed, Ignored) else None
    pushed = sip.pull_request.head if sip.pull_request else None
    head_sha = pushed.sha if pushed else sip.workflow_run.head_sha if sip.workflow_run else ""
    return NewDelivery(
        guid=head.delivery,
        event=head.event,
        action=sip.action,
        request_id=request_id,
        state="ignored" if ignored else "queued",
        reason=ignored.reason if ignored else None,
        reason_kind=ignored.kind if ignored else None,
        repository_id=sip.repository.id if sip.repository else None,
        repository=(sip.repository.full_name or None) if sip.repository else None,
        installation=sip.installation.id if sip.installation else None,
        number=sip.thread.number if sip.thread else None,
        head_sha=head_sha or None,
        sender=(sip.sender.login or None) if sip.sender else None,
        priority=_priority(head.event, sip.action),
        settle_s=settle_s if (head.event, sip.action) == NEWER_PUSH else 0.0,
        digest=None if ignored else sha256(body),
        body=b"" if ignored else body,
        supersedes=_supersedes(head.event, sip.action, ignored=ignored is not None),
    )


def _priority(event: str, action: str | None) -> int:
    """A person who asks our account for something waits for it; of the rest, pull requests hold people up most.

    A comment that asks us nothing does not come so far.
    """
    if action == "review_requested" or event == "issue_comment":
        return WISH
    return PULL_REQUEST if event in ON_PULL_REQUESTS else REST


def _supersedes(event: str, action: str | None, *, ignored: bool) -> Literal["nothing", "older_commits", "thread"]:
    """What queued work of the same thread this delivery makes pointless.

    The end of a thread does so even if nobody works on the event itself; a newer push only if its own analysis takes
    the place of the older ones.
    """
    if (event, action) in ENDINGS:
        return "thread"
    return "older_commits" if (event, action) == NEWER_PUSH and not ignored else "nothing"
