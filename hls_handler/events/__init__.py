"""GitHub's events as typed, frozen values: the envelope that the receiver parses, and the event that a worker parses.

A body has two parsers on purpose: `parse_envelope` reads only the fields that routing needs, in microseconds (msgspec);
`parse_event` validates the whole payload in the worker (pydantic).
Payloads: https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

from hls_handler.events.envelope import EnvelopeAccount, WebhookEnvelope, parse_envelope
from hls_handler.events.values import (
    REPOSITORY_NAME,
    REQUIRED_OBJECTS,
    Account,
    Comment,
    Event,
    Issue,
    Label,
    PullRequest,
    Release,
    Repository,
    Review,
    WorkflowRun,
    event_key,
    is_bot,
)
from hls_handler.events.wire import (
    GHOST,
    Text,
    UtcTime,
    WireAccount,
    WireComment,
    WireIssue,
    WireLabel,
    WirePullRequest,
    WireRelease,
    WireReview,
    WireWorkflowRun,
    parse_event,
)

__all__ = [
    "GHOST",
    "REPOSITORY_NAME",
    "REQUIRED_OBJECTS",
    "Account",
    "Comment",
    "EnvelopeAccount",
    "Event",
    "Issue",
    "Label",
    "PullRequest",
    "Release",
    "Repository",
    "Review",
    "Text",
    "UtcTime",
    "WebhookEnvelope",
    "WireAccount",
    "WireComment",
    "WireIssue",
    "WireLabel",
    "WirePullRequest",
    "WireRelease",
    "WireReview",
    "WireWorkflowRun",
    "WorkflowRun",
    "event_key",
    "is_bot",
    "parse_envelope",
    "parse_event",
]
