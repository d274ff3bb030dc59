"""Routing: decides if an event is processed and by which prompt, and names the responsible line of settings."""

from hls_handler.routing.asked import addressed_to_bot, asks_how_to_start
from hls_handler.routing.decide import route, route_with_settings
from hls_handler.routing.feedback import find_label_correction
from hls_handler.routing.filters import FAILED, PASSED, asked_to_skip
from hls_handler.routing.input import LABEL_ACTIONS, MARKER, RoutingInput, from_envelope, from_event
from hls_handler.routing.verdict import Ignored, IgnoredKind, LabelCorrection, PromptCatalogue, Rule, Shadow

__all__ = [
    "FAILED",
    "LABEL_ACTIONS",
    "MARKER",
    "PASSED",
    "Ignored",
    "IgnoredKind",
    "LabelCorrection",
    "PromptCatalogue",
    "RoutingInput",
    "Rule",
    "Shadow",
    "addressed_to_bot",
    "asked_to_skip",
    "asks_how_to_start",
    "find_label_correction",
    "from_envelope",
    "from_event",
    "route",
    "route_with_settings",
]
