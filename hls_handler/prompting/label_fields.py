"""Which labels the fields of a reply may become."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from hls_handler.analysis import LabelRule, Reply

NO_LABEL = "none"


def labels_of(reply: type[Reply]) -> Iterator[tuple[str, str]]:
    """Every label that replies of a type may become, with its field: ("priority-high", "priority")."""
    for field, rule in reply.label_rules.items():
        for value in get_args(reply.model_fields[field].annotation):
            label = _label(rule, value)
            if label is not None:
                yield label, field


def _label(rule: LabelRule, value: str) -> str | None:
    if not isinstance(rule, str):
        return rule.get(value)
    return None if value == NO_LABEL else rule.replace("{value}", value)
