"""Routing: decides if an event is processed, by which prompt, and which line of the settings is the
reason.
"""

from hls_handler.routing.commands import Command
from hls_handler.routing.envelope import (
    RoutingInput,
    WebhookEnvelope,
    from_envelope,
    from_event,
    parse_envelope,
)
from hls_handler.routing.filters import (
    BY_OPERATOR,
    CANCELLED,
    FAILED,
    MARKER,
    PASSED,
    Ignored,
    IgnoredKind,
    addressed_to_bot,
    asked_to_skip,
    asks_how_to_start,
    brings_diff,
    is_retargeted,
    leaves_commit,
)
from hls_handler.routing.router import (
    LabelCorrection,
    QueueCheck,
    Router,
    RoutingResult,
    Rule,
    find_disabled,
    may_check_titles,
    may_have_checks,
    needs_title_check,
)

__all__ = [
    "BY_OPERATOR",
    "CANCELLED",
    "FAILED",
    "MARKER",
    "PASSED",
    "Command",
    "Ignored",
    "IgnoredKind",
    "LabelCorrection",
    "QueueCheck",
    "Router",
    "RoutingInput",
    "RoutingResult",
    "Rule",
    "WebhookEnvelope",
    "addressed_to_bot",
    "asked_to_skip",
    "asks_how_to_start",
    "brings_diff",
    "find_disabled",
    "from_envelope",
    "from_event",
    "is_retargeted",
    "leaves_commit",
    "may_check_titles",
    "may_have_checks",
    "needs_title_check",
    "parse_envelope",
]
