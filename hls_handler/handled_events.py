"""The events with a handler of their own, as the parts of the service need them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

EventKind = Literal["issue", "pull_request", "review", "workflow", "comment", "release", "generic"]
"""The family of an event; "generic" stands for all events without a handler of their own."""


@dataclass(frozen=True, slots=True)
class HandledEvent:
    """An event with a handler of its own, as the other parts of the service need it."""

    kind: EventKind  # by which the analyses of its deliveries are searched
    objects: tuple[str, ...]
    """What its payload must have, because the signature does not cover the header with the event's
    name.
    """
    permission: str  # that a GitHub App needs for its webhook to have the event
    is_default: bool = False  # repositories have it whose settings name no events


HANDLED_EVENTS: Mapping[str, HandledEvent] = {
    "issues": HandledEvent("issue", ("issue",), "issues", is_default=True),
    "pull_request": HandledEvent(
        "pull_request", ("pull_request",), "pull_requests", is_default=True
    ),
    "pull_request_review": HandledEvent(
        "review", ("review", "pull_request"), "pull_requests", is_default=True
    ),
    "workflow_run": HandledEvent("workflow", ("workflow_run",), "actions", is_default=True),
    "check_run": HandledEvent("workflow", ("check_run",), "checks"),
    "issue_comment": HandledEvent("comment", ("comment", "issue"), "issues"),
    "release": HandledEvent("release", ("release",), "contents"),
}
"""GitHub's event name -> the event, for those in `handlers.registry.HANDLERS`."""

DEFAULT_EVENTS = tuple(name for name, event in HANDLED_EVENTS.items() if event.is_default)


def find_required_objects(event_name: str) -> tuple[str, ...]:
    """Return the objects that an event's payload must have; () without a handler of its own."""
    event = HANDLED_EVENTS.get(event_name)
    return event.objects if event else ()


PULL_REQUEST_EVENTS = frozenset(
    {"pull_request", "pull_request_review", "pull_request_review_comment"}
)
