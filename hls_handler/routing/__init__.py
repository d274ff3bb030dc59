"""Routing: decides if an event is processed and by which prompt, and names the responsible line of settings."""

from hls_handler.routing.envelope import (
    RoutingInput,
    WebhookEnvelope,
    from_envelope,
    from_event,
    parse_envelope,
)
from hls_handler.routing.filters import (
    FAILED,
    MARKER,
    PASSED,
    Ignored,
    addressed_to_bot,
    asked_to_skip,
    asks_how_to_start,
)
from hls_handler.routing.router import (
    LabelCorrection,
    Rule,
    Shadow,
    find_label_correction,
    route,
    route_with_settings,
)

__all__ = [
    "FAILED",
    "MARKER",
    "PASSED",
    "Ignored",
    "LabelCorrection",
    "RoutingInput",
    "Rule",
    "Shadow",
    "WebhookEnvelope",
    "addressed_to_bot",
    "asked_to_skip",
    "asks_how_to_start",
    "find_label_correction",
    "from_envelope",
    "from_event",
    "parse_envelope",
    "route",
    "route_with_settings",
]
