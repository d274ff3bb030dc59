"""Parses a stored body into an event and validates the whole payload; used in the worker."""

from __future__ import annotations

from typing import Any

import msgspec
from pydantic import ValidationError

from hls_handler.errors import PayloadError
from hls_handler.events.names import REQUIRED_OBJECTS
from hls_handler.events.values import Event
from hls_handler.events.wire import (
    GHOST,
    Wire,
    WireAccount,
    WireComment,
    WireIssue,
    WirePullRequest,
    WireRelease,
    WireRepository,
    WireReview,
    WireWorkflowRun,
)


class _WireEvent(Wire):
    action: str | None = None
    repository: WireRepository
    sender: WireAccount | None = None
    installation: dict[str, Any] | None = None
    issue: WireIssue | None = None
    pull_request: WirePullRequest | None = None
    review: WireReview | None = None
    comment: WireComment | None = None
    workflow_run: WireWorkflowRun | None = None
    release: WireRelease | None = None
    changes: dict[str, Any] | None = None


def parse_event(name: str, delivery: str, body: bytes) -> Event:
    """Parse a stored body as the event `name`. Raises `PayloadError` that names the first invalid field."""
    try:
        payload = msgspec.json.decode(body, type=dict[str, Any])
        wire = _WireEvent.model_validate(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise PayloadError(f"the body of {name} is not a JSON object") from exc
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise PayloadError(f"the payload does not fit {name}: {field}: {first['msg']}") from exc
    for required in REQUIRED_OBJECTS.get(name, ()):
        if getattr(wire, required) is None:
            raise PayloadError(f"the payload does not fit {name}: it has no {required}")
    installation = (wire.installation or {}).get("id")
    return Event(
        delivery=delivery,
        name=name,
        action=wire.action,
        repository=wire.repository.value(),
        sender=(wire.sender or GHOST).value(),
        installation=installation if isinstance(installation, int) else None,
        issue=wire.issue.value() if wire.issue else None,
        pull_request=wire.pull_request.as_pull_request() if wire.pull_request else None,
        review=wire.review.value() if wire.review else None,
        comment=wire.comment.value() if wire.comment else None,
        workflow_run=wire.workflow_run.value(wire.repository.id) if wire.workflow_run else None,
        release=wire.release.value() if wire.release else None,
        changed=frozenset(wire.changes or ()),
        payload=payload,
    )
