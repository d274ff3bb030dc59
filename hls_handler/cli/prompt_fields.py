"""What a prompt's front matter makes of its reply type: the author's fields, and the labels, in lines for people."""

from __future__ import annotations

from collections.abc import Iterator

from hls_handler.analysis import REPLY_TYPES, Reply
from hls_handler.prompting.hints import members
from hls_handler.prompting.labels import labels_of
from hls_handler.prompting.offers import in_words
from hls_handler.prompting.prompt import Prompt


def own_fields(prompt: Prompt) -> tuple[str, ...]:
    """The fields that the prompt's front matter adds, and those that have other values than the shipped ones."""
    shipped = members(REPLY_TYPES[prompt.reply])
    return tuple(name for name, hint in members(prompt.reply_model).items() if shipped.get(name) != hint)


def shown_fields(prompt: Prompt) -> list[str]:
    """ "component: one of payments, search, none" for each of `own_fields`."""
    hints = members(prompt.reply_model)
    return [f"{name}: {in_words(hints[name])}" for name in own_fields(prompt)]


def shown_labels(model: type[Reply]) -> Iterator[tuple[str, str]]:
    """Each field that becomes labels, and all that it may become: ("priority", "priority-high, priority-medium")."""
    for field, rule in model.label_rules.items():
        yield field, ", ".join(labels_of(rule, model.model_fields[field].annotation))
