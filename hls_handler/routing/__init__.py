"""Routing: whether an event is worked on, by which prompt, and which line of settings or prompt file says so."""

from hls_handler.routing.asked import asks_account, asks_how_to_start
from hls_handler.routing.candidate import MARKER, RELABELS, Candidate, from_event, from_sip
from hls_handler.routing.decide import route, route_by
from hls_handler.routing.feedback import as_feedback
from hls_handler.routing.filters import FAILED, PASSED, asked_to_skip
from hls_handler.routing.verdict import Catalogue, Feedback, Ignored, IgnoredKind, Rule, Shadow

__all__ = [
    "FAILED",
    "MARKER",
    "PASSED",
    "RELABELS",
    "Candidate",
    "Catalogue",
    "Feedback",
    "Ignored",
    "IgnoredKind",
    "Rule",
    "Shadow",
    "as_feedback",
    "asked_to_skip",
    "asks_account",
    "asks_how_to_start",
    "from_event",
    "from_sip",
    "route",
    "route_by",
]
