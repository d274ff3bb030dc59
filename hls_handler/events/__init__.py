"""GitHub's events as typed, frozen values: the few fields the door sips, and the whole that a worker parses.

Two parsers for one body, on purpose: `sip` reads only what routing needs and costs microseconds (msgspec);
`parse_event` checks the whole shape in the worker (pydantic).
Payloads: https://docs.github.com/en/webhooks/webhook-events-and-payloads
"""

from hls_handler.events.names import NAMED_BY, REPOSITORY_NAME, event_key, is_bot
from hls_handler.events.parsing import parse_event
from hls_handler.events.sipping import Sip, SippedAccount, sip
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
    "Event",
    "Issue",
    "Label",
    "PullRequest",
    "Release",
    "Repository",
    "Review",
    "Sip",
    "SippedAccount",
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
