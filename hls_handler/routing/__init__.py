"""Routing: decides if an event is processed and by which prompt, and names the responsible line of settings."""

from hls_handler.routing.filters import FAILED, PASSED, addressed_to_bot, asked_to_skip, asks_how_to_start
from hls_handler.routing.router import find_label_correction, route, route_with_settings
from hls_handler.routing.values import (
    LABEL_ACTIONS,
    MARKER,
    Ignored,
    LabelCorrection,
    RoutingInput,
    Rule,
    Shadow,
    from_envelope,
    from_event,
)

__all__ = [
    "FAILED",
    "LABEL_ACTIONS",
    "MARKER",
    "PASSED",
    "Ignored",
    "LabelCorrection",
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
