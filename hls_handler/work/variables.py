"""The variables that every family's templates see, beside the family's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hls_handler.events import Event
from hls_handler.handlers.handler import Handler
from hls_handler.prompting.render import RuleView


def template_variables(
    event: Event, handler: Handler[Any], facts: Any, *, prompt: str, dry_run: bool
) -> Mapping[str, object]:
    """`prompt` is the name of the prompt that the rule chose, "issues/analyze"."""
    return {
        "repository": event.repository,
        "sender": event.sender,
        "action": event.action,
        "rule": RuleView(event=event.key, prompt=prompt, dry_run=dry_run),
        "delivery": event.delivery,
        "event": event.payload,
        **handler.variables(event, facts),
    }
