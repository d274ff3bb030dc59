"""Recognizes label corrections: changes by a person of labels that HLS may have set."""

from __future__ import annotations

from hls_handler.events import Account
from hls_handler.routing.candidate import RELABELS, Candidate
from hls_handler.routing.filters import asked_to_skip, ignore_own_action, same_login
from hls_handler.routing.verdict import Catalogue, Feedback, Ignored
from hls_handler.settings.effective import Effective
from hls_handler.settings.model import Settings

CONVERSATION_EVENTS = ("issues", "pull_request")


def as_feedback(
    candidate: Candidate, effective: Effective, catalogue: Catalogue, *, settings: Settings, we: Account | None
) -> Feedback | Ignored | None:
    """Return `Feedback` if an event may be a label correction, `Ignored` with the reason, or None if it cannot be one.

    Any enabled event of issues (or of pull requests) enables corrections of their labels. The worker later checks in
    the store if HLS ever set the label, or another one of its field.
    """
    if candidate.event not in CONVERSATION_EVENTS or candidate.action not in RELABELS or candidate.label is None:
        return None
    field = catalogue.label_fields(candidate.event).get(candidate.label.casefold())
    if field is None or not any(name.partition(".")[0] == candidate.event for name in effective.events):
        return None
    if we is not None and same_login(candidate.sender, we.login):
        return ignore_own_action(settings, we)
    if candidate.sender_is_bot:
        return Ignored("other bot", f"{candidate.sender} is a bot; label changes by bots do not count as corrections")
    skip_reason = asked_to_skip(candidate.title, candidate.labels)
    return Ignored("asked to skip", skip_reason) if skip_reason else Feedback(candidate.key, field, effective)
