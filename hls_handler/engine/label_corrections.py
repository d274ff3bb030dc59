"""Stores that a person changed labels of the bot."""

from __future__ import annotations

import logging

from hls_handler.deliveries import End
from hls_handler.engine.job import DeliveryJob
from hls_handler.events import Issue, PullRequest
from hls_handler.prompting.prompt import Library
from hls_handler.routing import LabelCorrection
from hls_handler.settings.effective import EffectiveSettings
from hls_handler.store.corrections import (
    CORRECTION_WINDOW_DAYS,
    AppliedLabel,
    CorrectionResult,
    ShownLabels,
)

log = logging.getLogger(__name__)


def correct_label(job: DeliveryJob, correction: LabelCorrection) -> End:
    """Store that a person changed a label of the bot. Uses only the event and sends no request to
    GitHub.
    """
    conversation = job.event.conversation
    lease = job.lease
    group = correction.group
    # parse_event rejects a label event without its issue or pull request
    assert conversation is not None
    labels = list_shown_labels(conversation, job.config.library, correction.effective)
    recorded = job.store.corrections.record_change(
        lease, job.bot.login, group, labels, at=lease.received_at
    )
    log_corrections(recorded)
    if not recorded.compared:
        reason = (
            f"HLS has set no {group} label here within {CORRECTION_WINDOW_DAYS} days, so its change"
            " is no feedback"
        )
        return End("ignored", reason, kind="not a label of HLS")
    unchanged = f"the stored correction of HLS's {group} label here is unchanged"
    return End("done", "; ".join(map(_describe_label, recorded.changed)) or unchanged)


def _describe_label(label: AppliedLabel) -> str:
    if label.corrected_to is None:
        return f"a person set {label.name} again: the correction is withdrawn"
    instead = f"put {label.corrected_to} in place of" if label.corrected_to else "took away"
    return f"a person {instead} {label.name}, which {label.prompt_id} had asked for"


def log_corrections(result: CorrectionResult) -> None:
    for label in result.changed:
        fields = {
            "field": label.group,
            "label": label.name,
            "corrected_to": label.corrected_to,
            "prompt": label.prompt_id,
        }
        log.info("label corrected by a person", extra=fields)


def list_shown_labels(
    conversation: Issue | PullRequest, library: Library, effective: EffectiveSettings
) -> ShownLabels:
    is_pull_request = isinstance(conversation, PullRequest)
    groups = library.label_groups(
        "pull_request" if is_pull_request else "issues", effective.labels.assess
    )
    return ShownLabels(
        tuple(label.name for label in conversation.labels),
        conversation.title,
        is_pull_request,
        groups,
    )
