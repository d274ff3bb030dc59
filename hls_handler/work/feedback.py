"""Feedback on our labels: noticed when a person changes one, and when we come back to a thread."""

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


def hear(
    store: Storage, lease: Lease, event: Event, bot: Account, feedback: LabelCorrection, library: Library
) -> CorrectionResult:
    """Note what a person's change of a label says about ours. Nothing is read from GitHub: the event has it all."""
    assert event.thread is not None  # parse_event refuses a change of a thread's labels without the thread
    noted = store.corrections.of(lease, bot.login).record_change(
        feedback.field,
        _names(event.thread),
        at=lease.received_at,
        title=event.thread.title,
        pull_request=isinstance(event.thread, PullRequest),
        fields=library.label_groups(event.name),
    )
    return _logged(noted)


def look(store: Storage, lease: Lease, bot: Account, thread: Issue | PullRequest, library: Library) -> None:
    """Note what people have made of our labels, by the thread as it is now."""
    is_pull_request = isinstance(thread, PullRequest)
    noted = store.corrections.of(lease, bot.login).record_current(
        _names(thread),
        title=thread.title,
        pull_request=is_pull_request,
        fields=library.label_groups("pull_request" if is_pull_request else "issues"),
    )
    _logged(noted)


def told(noted: CorrectionResult, field: str) -> str:
    """What came of a person's change, as a sentence."""
    if noted.changed:
        return "; ".join(map(_told, noted.changed))
    if noted.words:
        return f"what is known of HLS's {field} label here is the same as before"
    return f"HLS has set no {field} label here within {CORRECTION_WINDOW_DAYS} days, so its change is no feedback"


def _told(word: AppliedLabel) -> str:
    if word.became is None:
        return f"a person set {word.said} again: the correction is withdrawn"
    instead = f"put {word.became} in place of" if word.became else "took away"
    return f"a person {instead} {word.said}, which {word.prompt_id} had asked for"


def _logged(noted: CorrectionResult) -> CorrectionResult:
    for word in noted.changed:
        facts = {"field": word.field, "said": word.said, "became": word.became, "prompt": word.prompt_id}
        log.info("people think otherwise of a label", extra=facts)
    return noted


def _names(thread: Issue | PullRequest) -> tuple[str, ...]:
    return tuple(label.name for label in thread.labels)
