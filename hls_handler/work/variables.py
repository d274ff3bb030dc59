"""The variables that every family's templates see, beside the family's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hls_handler.events import Event
from hls_handler.handlers.handler import Handler
from hls_handler.prompting.variables import RuleView
from hls_handler.settings.model import Comments

AS_SHIPPED = Comments()


def template_variables(
    event: Event, handler: Handler[Any], facts: Any, *, prompt: str, dry_run: bool, comments: Comments = AS_SHIPPED
) -> Mapping[str, object]:
    """`prompt` is the name of the prompt that the rule chose, "issues/analyze"; `comments` how comments are written."""
    return {
        "repository": event.repository,
        "sender": event.sender,
        "action": event.action,
        "rule": RuleView(event.key, prompt, dry_run, comments.language, comments.tone, comments.length),
        "delivery": event.delivery,
        "event": event.payload,
        **handler.variables(event, facts),
    }
