"""Decides which labels to request, add and remove. Finds the labels of HLS that people have
corrected.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain

from hls_handler.actions import EnsureLabels, RequestedLabel
from hls_handler.analysis import (
    MAX_LABEL_CHARACTERS,
    Analysis,
    ReplyFields,
    find_label,
    group_of,
    list_possible_labels,
    to_rule_values,
)
from hls_handler.github.labels import SHIPPED_LABELS, find_prohibition, fold
from hls_handler.github.values import LabelOffer, RepositoryLabel, list_offered
from hls_handler.routing.filters import SKIP_LABEL
from hls_handler.settings.sections import EffectiveLabels
from hls_handler.untrusted.cleaning import clean
from hls_handler.wording import count

GROUPS_OF_FACTS = frozenset({"size", "status"})  # labels that handlers set without Claude


SHIPPED = frozenset(RequestedLabel(spec.name, spec.group) for spec in SHIPPED_LABELS)


def plan_labels(
    analysis: Analysis,
    *from_facts: RequestedLabel,
    groups: tuple[str, ...] = (),
    offer: LabelOffer | None = None,
    without: Collection[str] = (),
    is_partial: bool = False,
) -> tuple[EnsureLabels, ...]:
    """Return the action that sets the labels `from_facts` and the labels that the replies request.

    The action also removes labels that HLS set before and does not set now, but only labels of
    these groups: `groups`, the groups of `from_facts`, and the groups of all labels that the
    prompts can request. `offer` are the repository's own labels that the prompts listed; with
    `is_partial`, the replies are about a part of the changes, and none of these is removed. The
    action does not concern labels of the groups `without`. If there is no group and no rejected
    label, returns ().
    """
    replies = [answer.fields for answer in analysis.replies]
    suggested = _choose_suggested(replies, offer)
    requested = [*from_facts, *suggested.chosen]
    rejected = [*suggested.rejected]
    label_requests: Iterable[RequestedLabel] = ()
    if is_partial:
        label_requests = suggested.chosen
    elif replies:
        label_requests = [_suggested_label(offered.name) for offered in list_offered(offer)]
    possible = [*label_requests]
    prompt_ids = {label.group: analysis.replies[0].prompt_id for label in label_requests}
    for answer in analysis.replies:
        requested += _list_labels_of_fields(answer.fields, without)
        for label in list_labels_of(type(answer.fields)):
            if label.group not in without:
                possible.append(label)
                prompt_ids.setdefault(label.group, answer.prompt_id)
    covered = dict.fromkeys([*(label.group for label in from_facts), *groups, *prompt_ids])
    if not covered and not rejected:
        return ()
    action = EnsureLabels(
        tuple(requested),
        tuple(covered),
        tuple(dict.fromkeys(label for label in possible if label not in SHIPPED)),
        prompt_ids,
        frozenset(label.name for label in suggested.chosen),
        tuple(rejected),
    )
    return (action,)


@dataclass(frozen=True, slots=True)
class _Choice:
    """The labels of replies that are certain enough, and those that are not set, with reasons."""

    chosen: Sequence[RequestedLabel]
    rejected: Sequence[tuple[str, str]]


def _list_labels_of_fields(
    reply: ReplyFields, without: Collection[str]
) -> Sequence[RequestedLabel]:
    return [label for label in list_labels_in(reply) if label.group not in without]


def _choose_suggested(replies: Iterable[ReplyFields], offer: LabelOffer | None) -> _Choice:
    by_name = {fold(label.name): label.name for label in list_offered(offer)}
    suggestions = chain.from_iterable(getattr(reply, "suggested_labels", []) for reply in replies)
    chosen: dict[str, RequestedLabel] = {}
    rejected: dict[str, str] = {}
    for suggestion in suggestions:
        existing = by_name.get(fold(suggestion.name.strip()))
        if offer is None:
            reason = "the prompt did not list the repository's labels"
            rejected[_shown_name(suggestion.name)] = reason
        elif existing is None:
            reason = "it is not among the labels that the prompt listed"
            rejected[_shown_name(suggestion.name)] = reason
        elif suggestion.confidence < offer.min_confidence:
            least = f"labels.min_confidence is {offer.min_confidence:g}"
            rejected[existing] = f"Claude's confidence is {suggestion.confidence:g}, and {least}"
        else:
            chosen[existing] = _suggested_label(existing)
    left_out = [(name, reason) for name, reason in rejected.items() if name not in chosen]
    return _Choice([*chosen.values()], left_out)


def list_wanted_labels(
    reply: ReplyFields,
    settings: EffectiveLabels,
    offer: LabelOffer | None,
    without: Collection[str],
) -> tuple[str, ...]:
    """Return the names of labels that a reply asks for and settings allow, except labels of the
    groups `without`.
    """
    field_labels = _list_labels_of_fields(reply, without)
    labels = [*field_labels, *_choose_suggested([reply], offer).chosen]
    allowed = [label.name for label in labels if find_prohibition(label.name, settings) is None]
    return tuple(dict.fromkeys(allowed))


def _suggested_label(name: str) -> RequestedLabel:
    return RequestedLabel(name, f"suggested_labels {name}")


def _shown_name(name: str) -> str:
    # Claude's text, which `hls why` shows
    return " ".join(clean(name).split())[:MAX_LABEL_CHARACTERS]


def describe_missing(offer: LabelOffer | None) -> str:
    """Return a text such as "30 of 430 labels of the repository"; "" if all are listed."""
    if offer is None or not offer.missing:
        return ""
    total = count(len(offer.labels) + offer.missing, "label")
    return f"{offer.missing} of {total} of the repository"


MAX_OFFERED_CHARACTERS = 15_000
"""Limit on names and descriptions in a prompt. About 600 names of 20 characters fit."""


def select_offer(
    labels: Iterable[RepositoryLabel], settings: EffectiveLabels, taken: Collection[str]
) -> LabelOffer:
    """Return the allowed labels, without labels that other code sets or reads.

    If they exceed `MAX_OFFERED_CHARACTERS`, they are without descriptions; if they still do, the
    last ones are left out. `taken` are the case-folded names of the labels that other fields of the
    reply set.
    """
    used = {*taken, SKIP_LABEL} | {
        fold(spec.name) for spec in SHIPPED_LABELS if spec.group in GROUPS_OF_FACTS
    }
    allowed = [
        label
        for label in labels
        if fold(label.name) not in used and find_prohibition(label.name, settings) is None
    ]
    if sum(map(_count_characters, allowed)) > MAX_OFFERED_CHARACTERS:
        allowed = [replace(label, description="") for label in allowed]
    sizes = accumulate(map(_count_characters, allowed))
    number = sum(size <= MAX_OFFERED_CHARACTERS for size in sizes)
    missing = len(allowed) - number
    return LabelOffer(tuple(allowed[:number]), settings.min_confidence, missing)


def _count_characters(label: RepositoryLabel) -> int:
    return len(f"- {label.name}: {label.description}")


def list_labels_in(reply: ReplyFields) -> Iterator[RequestedLabel]:
    for field, rule in type(reply).label_rules.items():
        for value in to_rule_values(getattr(reply, field)):
            label = find_label(rule, value)
            if label is not None:
                yield _label_in_group(type(reply), field, label)


def list_labels_of(model: type[ReplyFields]) -> Iterator[RequestedLabel]:
    for field, rule in model.label_rules.items():
        for label in list_possible_labels(rule, model.model_fields[field].annotation):
            yield _label_in_group(model, field, label)


def _label_in_group(model: type[ReplyFields], field: str, label: str) -> RequestedLabel:
    return RequestedLabel(label, group_of(field, model.model_fields[field].annotation, label))
