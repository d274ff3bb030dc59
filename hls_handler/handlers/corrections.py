"""Label corrections: detects labels set by HLS that people changed, from the labels of a conversation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from hls_handler.actions import Action, EnsureLabels
from hls_handler.analysis import Analysis
from hls_handler.handlers.requested_labels import possible_labels

CORRECTION_WINDOW_DAYS = 30
"""A later label change does not count as a correction, because then the issue itself has probably changed."""


@dataclass(frozen=True, slots=True)
class AppliedLabel:
    """A label that we set because of a reply, and the correction by people recorded for it."""

    field: str  # "priority"; for a label of a list its group, "areas area/api"
    said: str  # the label that we set: "priority-high"
    prompt_id: str  # the prompt whose reply it comes from: "issues/analyze@3f9c2a"
    became: str | None  # the label that people set instead, "" for none; None if not corrected


def find_changed_corrections(
    words: Iterable[AppliedLabel], shown: Iterable[str], *, ours: Iterable[str], field_of: Mapping[str, str]
) -> tuple[AppliedLabel, ...]:
    """Return the labels whose recorded correction has changed, with the new correction.

    `shown` are the current labels of the conversation, `ours` the labels that we set and that no person removed.
    `field_of` maps each label in lower case to its field. A person's label of the same field is a correction even while
    ours is still set, because ours will be removed.
    """
    by_name = {name.casefold(): name for name in sorted(shown)}
    set_by_people = [name for name in by_name if name not in {label.casefold() for label in ours}]
    changed = []
    for word in words:
        name_set = word.said.casefold()
        others = [by_name[name] for name in set_by_people if name != name_set and field_of.get(name) == word.field]
        became = None if name_set in by_name and not others else next(iter(others), "")
        if became != word.became:
            changed.append(replace(word, became=became))
    return tuple(changed)


def add_prompt_ids(actions: Iterable[Action], analysis: Analysis) -> tuple[Action, ...]:
    """Return the actions; label actions get the id of the prompt whose reply has the field (the first one).

    Groups that no reply covers have no prompt id.
    """
    prompt_ids: dict[str, str] = {}
    for answer in analysis.answers:
        for label in possible_labels(type(answer.reply)):
            prompt_ids.setdefault(label.group, answer.prompt_id)
    return tuple(replace(action, said=prompt_ids) if isinstance(action, EnsureLabels) else action for action in actions)
