"""Label wishes: what the replies of one analysis ask for, by the label rules of their types."""

from __future__ import annotations

from collections.abc import Iterator

from hls_handler.actions import KeepLabels, LabelWish
from hls_handler.analysis import Analysis, Reply
from hls_handler.handlers.labelling import CATALOGUE
from hls_handler.prompting.labels import group_of, label_of, labels_of, values_in

SHIPPED = frozenset(LabelWish(spec.name, spec.group) for spec in CATALOGUE)


def keep_labels(analysis: Analysis, *own: LabelWish, groups: tuple[str, ...] = ()) -> tuple[KeepLabels, ...]:
    """The labels of all replies, after `own` ones that the handler knows from its facts; () if there is no word of any.

    `groups` are groups that the handler speaks about beside those of `own`.
    """
    replies = [answer.reply for answer in analysis.answers]
    wishes = (*own, *(wish for reply in replies for wish in wishes_of(reply)))
    possible = [wish for reply in replies for wish in possible_wishes(type(reply))]
    spoken = dict.fromkeys([*(wish.group for wish in own), *groups, *(wish.group for wish in possible)])
    known = tuple(dict.fromkeys(wish for wish in possible if wish not in SHIPPED))
    return (KeepLabels(wishes, tuple(spoken), known),) if spoken else ()


def wishes_of(reply: Reply) -> Iterator[LabelWish]:
    """The labels that a reply asks for."""
    for field, rule in type(reply).label_rules.items():
        for value in values_in(getattr(reply, field)):
            label = label_of(rule, value)
            if label is not None:
                yield _wish(type(reply), field, label)


def possible_wishes(model: type[Reply]) -> Iterator[LabelWish]:
    """All labels that replies of a type may ask for."""
    for field, rule in model.label_rules.items():
        for label in labels_of(rule, model.model_fields[field].annotation):
            yield _wish(model, field, label)


def _wish(model: type[Reply], field: str, label: str) -> LabelWish:
    return LabelWish(label, group_of(field, model.model_fields[field].annotation, label))
