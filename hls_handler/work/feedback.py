"""Label corrections by people: stored when a person changes a label, and before each write to a conversation."""

from __future__ import annotations

import logging

from hls_handler.deliveries import Lease
from hls_handler.events import Account, Event, Issue, PullRequest
from hls_handler.handlers.labels import CORRECTION_WINDOW_DAYS, AppliedLabel
from hls_handler.history.corrections import CorrectionResult
from hls_handler.prompting.prompt import Library
from hls_handler.routing import LabelCorrection
from hls_handler.storage import Storage

log = logging.getLogger(__name__)


def record_change(
    store: Storage, lease: Lease, event: Event, bot: Account, feedback: LabelCorrection, library: Library
) -> CorrectionResult:
    """Store a person's change of a label as a correction of the bot's label. Uses only the event, not GitHub."""
    assert event.thread is not None  # parse_event rejects a label event without its issue or pull request
    result = store.corrections.record_change(
        lease,
        bot.login,
        feedback.field,
        _names(event.thread),
        at=lease.received_at,
        title=event.thread.title,
        pull_request=isinstance(event.thread, PullRequest),
        fields=library.label_groups(event.name),
    )
    return _logged(result)


def record_current(store: Storage, lease: Lease, bot: Account, thread: Issue | PullRequest, library: Library) -> None:
    """Store corrections that show in the current labels of an issue or pull request."""
    is_pull_request = isinstance(thread, PullRequest)
    result = store.corrections.record_current(
        lease,
        bot.login,
        _names(thread),
        title=thread.title,
        pull_request=is_pull_request,
        fields=library.label_groups("pull_request" if is_pull_request else "issues"),
    )
    _logged(result)


def describe_change(result: CorrectionResult, field: str) -> str:
    """Return a sentence about what a person's label change means for the bot's label of this field."""
    if result.changed:
        return "; ".join(map(_describe, result.changed))
    if result.compared:
        return f"the stored correction of HLS's {field} label here is unchanged"
    return f"HLS has set no {field} label here within {CORRECTION_WINDOW_DAYS} days, so its change is no feedback"


def _describe(label: AppliedLabel) -> str:
    if label.became is None:
        return f"a person set {label.said} again: the correction is withdrawn"
    instead = f"put {label.became} in place of" if label.became else "took away"
    return f"a person {instead} {label.said}, which {label.prompt_id} had asked for"


def _logged(result: CorrectionResult) -> CorrectionResult:
    for label in result.changed:
        fields = {"field": label.field, "said": label.said, "became": label.became, "prompt": label.prompt_id}
        log.info("label corrected by a person", extra=fields)
    return result


def _names(thread: Issue | PullRequest) -> tuple[str, ...]:
    return tuple(label.name for label in thread.labels)
