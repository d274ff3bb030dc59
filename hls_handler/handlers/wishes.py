"""Labels that the replies of an analysis request, by the label rules of the reply types."""

from __future__ import annotations

from collections.abc import Iterator

from hls_handler.actions import KeepLabels, LabelWish
from hls_handler.analysis import Analysis, Reply
from hls_handler.handlers.labelling import CATALOGUE
from hls_handler.prompting.labels import group_of, label_of, labels_of, values_in

SHIPPED = frozenset(LabelWish(spec.name, spec.group) for spec in CATALOGUE)


def keep_labels(analysis: Analysis, *own: LabelWish, groups: tuple[str, ...] = ()) -> tuple[KeepLabels, ...]:
    """Return the label action: `own` labels from the handler's facts, then those of all replies; () if none apply.

    `groups` are groups that the handler covers in addition to those of `own`.
    """
    replies = [answer.reply for answer in analysis.answers]
    requested = (*own, *(label for reply in replies for label in requested_labels(reply)))
    possible = [label for reply in replies for label in possible_labels(type(reply))]
    covered = dict.fromkeys([*(label.group for label in own), *groups, *(label.group for label in possible)])
    custom = tuple(dict.fromkeys(label for label in possible if label not in SHIPPED))
    return (KeepLabels(requested, tuple(covered), custom),) if covered else ()


def requested_labels(reply: Reply) -> Iterator[LabelWish]:
    """Yield the labels that a reply requests."""
    for field, rule in type(reply).label_rules.items():
        for value in values_in(getattr(reply, field)):
            label = label_of(rule, value)
            if label is not None:
                yield _label_in_group(type(reply), field, label)


def possible_labels(model: type[Reply]) -> Iterator[LabelWish]:
    """Yield all labels that replies of a type can request."""
    for field, rule in model.label_rules.items():
        for label in labels_of(rule, model.model_fields[field].annotation):
            yield _label_in_group(model, field, label)


def _label_in_group(model: type[Reply], field: str, label: str) -> LabelWish:
    return LabelWish(label, group_of(field, model.model_fields[field].annotation, label))
