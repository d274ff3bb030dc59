"""Feedback: a change of a thread's labels by a person, told from the many changes of labels that are none."""

from __future__ import annotations

from hls_handler.events import Account
from hls_handler.routing.candidate import RELABELS, Candidate
from hls_handler.routing.filters import asked_to_skip, own_doing, same_login
from hls_handler.routing.verdict import Catalogue, Feedback, Ignored
from hls_handler.settings.effective import Effective
from hls_handler.settings.model import Settings

THREADS = ("issues", "pull_request")


def as_feedback(
    candidate: Candidate, effective: Effective, catalogue: Catalogue, *, settings: Settings, we: Account | None
) -> Feedback | Ignored | None:
    """Whether an event may be feedback, wherever any event of its kind of thread is enabled; None if it cannot be.

    Whether the label, or another of its field, was ever ours on the thread is for the store to say, in the worker.
    """
    if candidate.event not in THREADS or candidate.action not in RELABELS or candidate.label is None:
        return None
    field = catalogue.label_fields(candidate.event).get(candidate.label.casefold())
    if field is None or not any(name.partition(".")[0] == candidate.event for name in effective.events):
        return None
    if we is not None and same_login(candidate.sender, we.login):
        return own_doing(settings, we)
    if candidate.sender_is_bot:
        return Ignored("other bot", f"{candidate.sender} is a bot: what bots do about labels is not taken for feedback")
    asked = asked_to_skip(candidate.title, candidate.labels)
    return Ignored("asked to skip", asked) if asked else Feedback(candidate.key, field, effective)
