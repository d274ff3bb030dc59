"""The variables that every family's templates see, and which strings among a template's variables are our own.

A string is text from outside and becomes a token (see `untrusted.exchange`), unless a field's type is a closed set
(`Literal`). Ours besides are the strings of a `RuleView`, and the few in `OURS_IF` if they look as they must.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from hls_handler.events import Account, Repository
from hls_handler.settings.model import Length, Tone
from hls_handler.untrusted.exchange import Own


@dataclass(frozen=True, slots=True)
class RuleView:
    """Why the event is worked on, as far as templates are concerned. All of it is ours."""

    event: str  # "issues.opened"
    prompt: str  # "issues/analyze": what `on:` or settings chose, also for the prompt that its `then` leads to
    dry_run: bool
    language: str | None = None  # "Brazilian Portuguese"; None: that of the thread
    tone: Tone = "neutral"
    length: Length = "normal"


COMMON: Mapping[str, object] = {
    "repository": Repository,
    "sender": Account,
    "action": str | None,
    "rule": RuleView,
    "delivery": str,
    "event": Mapping[str, object],
}
"""What every family's templates see, as type hints."""

COMMENT: Mapping[str, object] = {"prompt_id": str}
"""What every comment template sees besides; and `analysis`, whose type is the prompt's reply."""

OURS_IF: Mapping[str, re.Pattern[str]] = {
    "action": re.compile(r"[a-z_]{1,60}"),
    "delivery": re.compile(r"[0-9a-fA-F-]{1,64}"),
    "size": re.compile(r"small|medium|large"),
    "commit": re.compile(r"[0-9a-f]{7,64}"),
    "asked": re.compile(r"how to start|a question"),
}


def marked(variables: Mapping[str, object]) -> dict[str, object]:
    """The same variables, with our own strings marked as such."""
    return {name: _marked(name, value) for name, value in variables.items()}


def _marked(name: str, value: object) -> object:
    if isinstance(value, RuleView):
        language = None if value.language is None else Own(value.language)
        return replace(value, event=Own(value.event), prompt=Own(value.prompt), language=language)
    looks = OURS_IF.get(name)
    if looks is not None and isinstance(value, str) and looks.fullmatch(value):
        return Own(value)
    return value
