"""The labels of one conversation: reads the current ones, decides, and writes only the difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal
from urllib.parse import quote

from pydantic import TypeAdapter

from hls_handler.actions import EnsureLabels, Outcome
from hls_handler.clients.api import PAGE_SIZE, GithubApi, repository_path
from hls_handler.clients.writes import Writes
from hls_handler.events import Label
from hls_handler.handlers.labels import MAX_LABELS, LabelOrigin, LabelPlan, LabelState, decide_labels
from hls_handler.history.conversations import ConversationHistory
from hls_handler.settings.model import EffectiveLabels

MAX_PAGES = 50  # only the first 5,000 labels of a repository are searched

_LABEL = TypeAdapter(Label)
_LABELS = TypeAdapter(tuple[Label, ...])


def plan_labels(
    api: GithubApi,
    repository: str,
    number: int,
    action: EnsureLabels,
    *,
    memory: ConversationHistory,
    settings: EffectiveLabels,
) -> LabelPlan:
    """Read the current labels and return the changes to make.

    Sends one request; if a label must be added, usually a second one: for the labels that the repository has.
    """
    base = repository_path(repository)
    pages = api.pages(f"{base}/issues/{number}/labels", _LABELS, max_pages=MAX_LABELS // PAGE_SIZE)
    present = frozenset(label.name for page in pages for label in page)
    stored = memory.labels()

    def decide(in_repository: frozenset[str]) -> LabelPlan:
        return decide_labels(action, settings, present=present, memory=stored, in_repository=in_repository)

    optimistic = decide(frozenset(label.name for label in action.requested))
    return decide(_find_existing(api, base, optimistic.add)) if optimistic.add else optimistic


def _find_existing(api: GithubApi, base: str, names: Sequence[str]) -> frozenset[str]:
    """Return those of `names` that are labels of the repository, with as few requests as possible."""
    if len(names) == 1:
        found = api.find(f"{base}/labels/{quote(names[0], safe='')}", _LABEL)
        return frozenset([names[0]] if found else [])
    missing = {name.casefold(): name for name in names}
    existing = set[str]()
    for page in api.pages(f"{base}/labels", _LABELS, max_pages=MAX_PAGES):
        existing.update(missing.pop(label.name.casefold()) for label in page if label.name.casefold() in missing)
        if not missing:
            break
    return frozenset(existing)


def label_origins(action: EnsureLabels) -> Mapping[str, LabelOrigin]:
    """Map each label that a reply asks for to its field and prompt. Labels from facts alone (a size) have no origin."""
    prompts = action.prompt_ids
    return {one.name: LabelOrigin(one.group, prompts[one.group]) for one in action.requested if one.group in prompts}


def apply_label_change(
    change: LabelPlan,
    number: int,
    action: EnsureLabels,
    *,
    writes: Writes,
    memory: ConversationHistory,
    before: Mapping[str, LabelState],
) -> Outcome:
    """Write the change and return the outcome.

    Labels are stored as "intended" before they are added or removed. Afterwards an added label is stored as "ours", and
    the state of a removed one is deleted. If the response to a removal is lost, the missing label is therefore not
    mistaken for a removal by a person.

    `before` has the stored states from when the delivery first reached this step. If a long wait for a write slot ended
    an attempt, the outcome also has the changes of that attempt; labels are in the order of the requested ones.
    """
    if change.removed_by_person:
        memory.mark_labels_removed(change.removed_by_person)
    if change.confirm:
        memory.mark_labels_set(change.confirm)
    if change.not_applied:
        memory.delete_labels(change.not_applied)
    for name in change.remove:
        memory.record_label_intents((name,))
        writes.remove_label(number, name)
        memory.delete_labels((name,))
    for spec in change.create:
        writes.create_label(spec)
    if change.add:
        memory.record_label_intents(change.add, label_origins(action))
        writes.add_labels(number, change.add)
        memory.mark_labels_set(change.add)
    rank = {label.name: number for number, label in enumerate(action.requested)}
    return _label_outcome(_merge_earlier_runs(change, rank, before=before, after=memory.labels()))


def _merge_earlier_runs(
    change: LabelPlan,
    rank: Mapping[str, int],
    *,
    before: Mapping[str, LabelState],
    after: Mapping[str, LabelState],
) -> LabelPlan:
    """Return the change together with the labels that earlier attempts added and removed since `before`."""
    added = {*change.confirm, *change.add, *(name for name, state in after.items() if state == "ours")}
    lost = [name for name in sorted(before) if before[name] == "ours" and name not in after]
    return replace(
        change,
        confirm=(),
        add=tuple(
            name
            for name in sorted(added, key=lambda name: (rank.get(name, len(rank)), name))
            if before.get(name) != "ours"
        ),
        remove=tuple(dict.fromkeys((*change.remove, *lost))),
    )


def _label_outcome(change: LabelPlan) -> Outcome:
    """Return the outcome of the change. Labels that an earlier attempt added without a response count as added."""
    added = change.confirm + change.add
    changes = [f"{verb} {', '.join(names)}" for verb, names in (("added", added), ("removed", change.remove)) if names]
    withheld = [f"{name} not added: {why}" for name, why in change.withheld]
    detail = "; ".join([*(changes or ["the labels are as they should be"]), *withheld])
    kind: Literal["changed", "withheld", "unchanged"]
    kind = "changed" if changes else "withheld" if withheld else "unchanged"
    return Outcome("labels", kind, detail, added=added, removed=change.remove)


def preview_labels(change: LabelPlan) -> Outcome:
    """Return the outcome that the change would have. Its kind is "dry_run" if a label would be added or removed."""
    outcome = _label_outcome(change)
    if not (change.add or change.remove):
        return outcome
    return replace(outcome, kind="dry_run", detail=f"would have: {outcome.detail}")
