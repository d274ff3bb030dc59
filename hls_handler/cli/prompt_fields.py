"""Format the custom fields and the labels that a prompt's front matter defines."""

from __future__ import annotations

from collections.abc import Iterator

from hls_handler.analysis import REPLY_TYPES, Reply
from hls_handler.prompting.hints import members
from hls_handler.prompting.labels import list_possible_labels
from hls_handler.prompting.prompt import Prompt
from hls_handler.prompting.variable_docs import describe_type


def custom_field_names(prompt: Prompt) -> tuple[str, ...]:
    """Return the fields that the front matter adds to the reply type or gives other values."""
    shipped = members(REPLY_TYPES[prompt.reply])
    return tuple(name for name, hint in members(prompt.reply_model).items() if shipped.get(name) != hint)


def format_custom_fields(prompt: Prompt) -> list[str]:
    """Return "component: one of payments, search, none" for each custom field."""
    hints = members(prompt.reply_model)
    return [f"{name}: {describe_type(hints[name])}" for name in custom_field_names(prompt)]


def list_labels(model: type[Reply]) -> Iterator[tuple[str, str]]:
    """Yield each field that sets labels with its possible labels: ("priority", "priority-high, priority-medium")."""
    for field, rule in model.label_rules.items():
        yield field, ", ".join(list_possible_labels(rule, model.model_fields[field].annotation))
