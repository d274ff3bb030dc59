"""GitHub's events as typed, frozen values: the envelope that the receiver parses, and the event that a worker parses.

A body has two parsers on purpose: `sip` reads only the fields that routing needs, in microseconds (msgspec);
`parse_event` validates the whole payload in the worker (pydantic).
Payloads: https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

from hls_handler.events.names import NAMED_BY, REPOSITORY_NAME, event_key, is_bot
from hls_handler.events.parsing import parse_event
from hls_handler.events.sipping import EnvelopeAccount, Sip, sip
from hls_handler.events.values import (
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
)

__all__ = [
    "GHOST",
    "NAMED_BY",
    "REPOSITORY_NAME",
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
    "Sip",
    "Text",
    "UtcTime",
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
    "parse_event",
    "sip",
]
