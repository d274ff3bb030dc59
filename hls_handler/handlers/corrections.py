"""Corrections: what people made of labels that a reply had us set, told from the labels that a thread shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from hls_handler.actions import Action, KeepLabels
from hls_handler.analysis import Analysis
from hls_handler.handlers.wishes import possible_wishes

COUNTED_DAYS = 30
"""A label that is changed later than this is no correction: the issue has changed, not the judgement of it."""


@dataclass(frozen=True, slots=True)
class Word:
    """A label that we set because a reply said so, and what is noted of people's changing it."""

    field: str  # "priority"; of a list the group of the one label, "areas area/api"
    said: str  # the label: "priority-high"
    prompt_id: str  # of the prompt that was asked: "issues/analyze@3f9c2a"
    became: str | None  # the label that people want in its place, "" for none; None: they let it be


def judge(
    words: Iterable[Word], shown: Iterable[str], *, ours: Iterable[str], field_of: Mapping[str, str]
) -> tuple[Word, ...]:
    """Those words of which people now think otherwise than is noted, with what they think now.

    `shown` are the labels that the thread carries, `ours` those that we set and nobody took away, `field_of` the field
    of each label in lower case. A label of a person beside ours of the same field is a correction, since ours will go.
    """
    by_name = {name.casefold(): name for name in sorted(shown)}
    persons = [name for name in by_name if name not in {label.casefold() for label in ours}]
    changed = []
    for word in words:
        said = word.said.casefold()
        others = [by_name[name] for name in persons if name != said and field_of.get(name) == word.field]
        became = None if said in by_name and not others else next(iter(others), "")
        if became != word.became:
            changed.append(replace(word, became=became))
    return tuple(changed)


def attributed(actions: Iterable[Action], analysis: Analysis) -> tuple[Action, ...]:
    """The same actions, their labels with the prompt whose reply they come from: the first that fills in the field."""
    said: dict[str, str] = {}
    for answer in analysis.answers:
        for wish in possible_wishes(type(answer.reply)):
            said.setdefault(wish.group, answer.prompt_id)
    return tuple(replace(one, said=said) if isinstance(one, KeepLabels) else one for one in actions)
