"""Routing: decides if an event is processed and by which prompt, and names the responsible line of settings."""

from hls_handler.routing.asked import addressed_to_bot, asks_how_to_start
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
    "addressed_to_bot",
    "as_feedback",
    "asked_to_skip",
    "asks_how_to_start",
    "from_event",
    "from_sip",
    "route",
    "route_by",
]
