"""Labels that the replies of an analysis request, by the label rules of the reply types."""

from __future__ import annotations

from collections.abc import Iterator

from hls_handler.actions import EnsureLabels, RequestedLabel
from hls_handler.analysis import Analysis, Reply
from hls_handler.handlers.labelling import SHIPPED_LABELS
from hls_handler.prompting.labels import find_label, group_of, list_possible_labels, to_rule_values

SHIPPED = frozenset(RequestedLabel(spec.name, spec.group) for spec in SHIPPED_LABELS)


def plan_labels(analysis: Analysis, *own: RequestedLabel, groups: tuple[str, ...] = ()) -> tuple[EnsureLabels, ...]:
    """Return the label action: `own` labels from the handler's facts, then those of all replies; () if none apply.

    `groups` are groups that the handler covers in addition to those of `own`.
    """
    replies = [answer.reply for answer in analysis.answers]
    requested = (*own, *(label for reply in replies for label in requested_labels(reply)))
    possible = [label for reply in replies for label in possible_labels(type(reply))]
    covered = dict.fromkeys([*(label.group for label in own), *groups, *(label.group for label in possible)])
    custom = tuple(dict.fromkeys(label for label in possible if label not in SHIPPED))
    return (EnsureLabels(requested, tuple(covered), custom),) if covered else ()


def requested_labels(reply: Reply) -> Iterator[RequestedLabel]:
    """Yield the labels that a reply requests."""
    for field, rule in type(reply).label_rules.items():
        for value in to_rule_values(getattr(reply, field)):
            label = find_label(rule, value)
            if label is not None:
                yield _label_in_group(type(reply), field, label)


def possible_labels(model: type[Reply]) -> Iterator[RequestedLabel]:
    """Yield all labels that replies of a type can request."""
    for field, rule in model.label_rules.items():
        for label in list_possible_labels(rule, model.model_fields[field].annotation):
            yield _label_in_group(model, field, label)


def _label_in_group(model: type[Reply], field: str, label: str) -> RequestedLabel:
    return RequestedLabel(label, group_of(field, model.model_fields[field].annotation, label))
