"""The labels of one thread: read what is there, decide, and change the least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal
from urllib.parse import quote

from pydantic import TypeAdapter

from hls_handler.actions import KeepLabels, Outcome
from hls_handler.clients.api import PAGE, Api, repository_path
from hls_handler.clients.memory import Memory
from hls_handler.clients.writes import Writes
from hls_handler.events import WireLabel
from hls_handler.handlers.labelling import MOST_LABELS, LabelChange, LabelState, Origin, decide_labels
from hls_handler.settings.model import LabelsOfARepository

MOST_PAGES = 50
"""A repository with more than 5,000 labels is not looked through to the end."""

_LABEL = TypeAdapter(WireLabel)
_LABELS = TypeAdapter(tuple[WireLabel, ...])


def look_at_labels(
    api: Api, repository: str, number: int, action: KeepLabels, *, memory: Memory, settings: LabelsOfARepository
) -> LabelChange:
    """What is to be done. One request if every wish is on the thread or withheld anyway; as a rule two."""
    base = repository_path(repository)
    thread = api.pages(f"{base}/issues/{number}/labels", _LABELS, most=MOST_LABELS // PAGE)
    on_thread = frozenset(label.name for page in thread for label in page)
    remembered = memory.labels()

    def decide(in_repository: frozenset[str]) -> LabelChange:
        return decide_labels(
            wishes=action.wishes,
            groups=action.groups,
            known=action.known,
            on_thread=on_thread,
            memory=remembered,
            in_repository=in_repository,
            may_create=settings.create,
            allow=settings.allow,
            narrowed_to=settings.narrowed_to,
            narrowed_at=settings.narrowed_at,
        )

    at_best = decide(frozenset(wish.name for wish in action.wishes))
    return decide(_existing(api, base, at_best.add)) if at_best.add else at_best


def _existing(api: Api, base: str, names: Sequence[str]) -> frozenset[str]:
    """Those of the names that the repository has a label for, with as few requests as can be."""
    if len(names) == 1:
        found = api.find(f"{base}/labels/{quote(names[0], safe='')}", _LABEL)
        return frozenset([names[0]] if found else [])
    missing = {name.casefold(): name for name in names}
    existing = set[str]()
    for page in api.pages(f"{base}/labels", _LABELS, most=MOST_PAGES):
        existing.update(missing.pop(label.name.casefold()) for label in page if label.name.casefold() in missing)
        if not missing:
            break
    return frozenset(existing)


def origins_of(action: KeepLabels) -> Mapping[str, Origin]:
    """Of the labels that Claude's replies ask for, by name; what we know from facts alone (a size) has none."""
    return {w.name: Origin(w.group, action.said[w.group]) for w in action.wishes if w.group in action.said}


def carry_out_labels(
    change: LabelChange,
    number: int,
    *,
    wished: Sequence[str],
    origins: Mapping[str, Origin],
    writes: Writes,
    memory: Memory,
    before: Mapping[str, LabelState],
) -> Outcome:
    """Do what was decided. An intent is remembered before each write and settled after it.

    A removal is an intent too: should its answer be lost, the label's absence is not taken for a person's doing.
    `before` is what was remembered when the delivery first came here: each turn to write may end a round, and the
    outcome tells of all of them. `wished` is the order in which it does.
    """
    if change.now_gone:
        memory.labels_gone(change.now_gone)
    if change.confirm:
        memory.confirm_labels(change.confirm)
    if change.never_made:
        memory.forget_labels(change.never_made)
    for name in change.remove:
        memory.intend_labels((name,))
        writes.remove_label(number, name)
        memory.forget_labels((name,))
    for spec in change.create:
        writes.create_label(spec)
    if change.add:
        memory.intend_labels(change.add, origins)
        writes.add_labels(number, change.add)
        memory.confirm_labels(change.add)
    return outcome_of(with_earlier_rounds(change, wished=wished, before=before, after=memory.labels()))


def with_earlier_rounds(
    change: LabelChange, *, wished: Sequence[str], before: Mapping[str, LabelState], after: Mapping[str, LabelState]
) -> LabelChange:
    """The change as if one round had done it all: what became ours since `before`, and what is ours no more.

    In the order of the wishes, whichever round did which.
    """
    place = {name: number for number, name in enumerate(wished)}
    ours = [name for name in sorted(after) if after[name] == "ours"]
    lost = [name for name in sorted(before) if before[name] == "ours" and name not in after]
    added = sorted({*change.confirm, *change.add, *ours}, key=lambda name: (place.get(name, len(place)), name))
    return replace(
        change,
        confirm=(),
        add=tuple(name for name in added if before.get(name) != "ours"),
        remove=tuple(dict.fromkeys((*change.remove, *lost))),
    )


def outcome_of(change: LabelChange) -> Outcome:
    """What became of it, as if no answer had ever been lost."""
    added = change.confirm + change.add
    told = [f"{verb} {', '.join(names)}" for verb, names in (("added", added), ("removed", change.remove)) if names]
    withheld = [f"{name} not added: {why}" for name, why in change.withheld]
    detail = "; ".join([*(told or ["the labels are as they should be"]), *withheld])
    kind: Literal["changed", "withheld", "unchanged"]
    kind = "changed" if told else "withheld" if withheld else "unchanged"
    return Outcome("labels", kind, detail, added=added, removed=change.remove)


def dry_labels(change: LabelChange) -> Outcome:
    """What would become of it. Nothing was written; a thread that is as it should be is plainly unchanged."""
    outcome = outcome_of(change)
    if not (change.add or change.remove):
        return outcome
    return replace(outcome, kind="dry_run", detail=f"would have: {outcome.detail}")
