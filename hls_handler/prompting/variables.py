"""Template variables that all event families have, and marking of the trusted strings among template variables.

A string is untrusted and becomes a placeholder (see `untrusted.exchange`), unless its field's type is a `Literal`.
Also trusted are the strings of a `RuleView`, and the variables in `TRUSTED_PATTERNS` that match their pattern.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from hls_handler.events import Account, Repository
from hls_handler.settings.model import Length, Tone
from hls_handler.untrusted.exchange import Trusted


@dataclass(frozen=True, slots=True)
class RuleView:
    """The part of the rule that templates may use. All its strings are trusted."""

    event: str  # "issues.opened"
    prompt: str  # "issues/analyze": chosen by `on:` or settings; after `then`, still the first prompt
    dry_run: bool
    language: str | None = None  # "Brazilian Portuguese"; None: that of the conversation
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
"""Variables of all templates, with type hints."""

COMMENT: Mapping[str, object] = {"prompt_id": str}
"""Further variables of comment templates, with type hints. `analysis` is not included: its type is the reply type."""

TRUSTED_PATTERNS: Mapping[str, re.Pattern[str]] = {
    "action": re.compile(r"[a-z_]{1,60}"),
    "delivery": re.compile(r"[0-9a-fA-F-]{1,64}"),
    "size": re.compile(r"small|medium|large"),
    "commit": re.compile(r"[0-9a-f]{7,64}"),
    "asked": re.compile(r"how to start|a question"),
}


def mark_trusted(variables: Mapping[str, object]) -> dict[str, object]:
    """Return the variables with trusted strings wrapped in `Trusted`."""
    return {name: _mark_value(name, value) for name, value in variables.items()}


def _mark_value(name: str, value: object) -> object:
    if isinstance(value, RuleView):
        language = None if value.language is None else Trusted(value.language)
        return replace(value, event=Trusted(value.event), prompt=Trusted(value.prompt), language=language)
    pattern = TRUSTED_PATTERNS.get(name)
    if pattern is not None and isinstance(value, str) and pattern.fullmatch(value):
        return Trusted(value)
    return value
