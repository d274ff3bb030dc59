"""Decides which labels to request, add and remove. Finds the labels of HLS that people have
corrected.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import accumulate
from types import MappingProxyType
from typing import Literal

from hls_handler.actions import EnsureLabels, RequestedLabel
from hls_handler.analysis import (
    MAX_LABEL_CHARACTERS,
    Analysis,
    IssueAnalysis,
    Reply,
    find_label,
    group_of,
    list_possible_labels,
    to_rule_values,
)
from hls_handler.handlers.reader import RepositoryLabel
from hls_handler.routing.filters import SKIP_LABEL
from hls_handler.settings.model import EffectiveLabels
from hls_handler.untrusted.cleaning import clean
from hls_handler.wording import count

GROUPS_OF_FACTS = frozenset({"size", "status"})  # labels that handlers set without Claude

MAX_LABELS = 100  # GitHub's limit of labels per issue or pull request

LabelState = Literal["intended", "set", "removed"]
"""Stored state of a label. "intended": HLS began to set it; "set": HLS has set it; "removed": a
person removed it.
"""


@dataclass(frozen=True, slots=True)
class LabelOrigin:
    """The prompt whose reply requested a label, and the label's group."""

    group: str  # "priority"; for a label of a list field: "areas area/api"
    prompt_id: str  # the prompt of the reply: "issues/analyze@3f9c2a"


NO_ORIGINS: Mapping[str, LabelOrigin] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class LabelSpec:
    """A label to create if the repository does not have it."""

    name: str  # at most 50 characters
    # "priority": of a label from a reply, the name of the reply field; at most one label of each is
    # set
    group: str
    color: str  # six hex digits, without #
    description: str  # at most 100 characters


SHIPPED_LABELS: tuple[LabelSpec, ...] = (
    LabelSpec("bug", "kind", "d73a4a", "Something does not work as it should"),
    LabelSpec("enhancement", "kind", "a2eeef", "A request for something new or better"),
    LabelSpec("question", "kind", "d876e3", "Somebody wants to know something"),
    LabelSpec("documentation", "kind", "0075ca", "The documentation needs work"),
    LabelSpec("maintenance", "kind", "c5def5", "Upkeep: dependencies, builds, clean-ups"),
    LabelSpec("priority-high", "priority", "b60205", "Hurts many people, or hurts much"),
    LabelSpec("priority-medium", "priority", "fbca04", "Matters, but has time"),
    LabelSpec("priority-low", "priority", "0e8a16", "Nice to have"),
    LabelSpec("difficulty-easy", "difficulty", "c2e0c6", "Fit for a first contribution"),
    LabelSpec("difficulty-moderate", "difficulty", "fef2c0", "Needs some knowledge of the code"),
    LabelSpec("difficulty-complex", "difficulty", "f9d0c4", "Needs deep knowledge, or much work"),
    LabelSpec("component-frontend", "component", "bfd4f2", "What people see and click"),
    LabelSpec("component-backend", "component", "bfdadc", "What runs on the server"),
    LabelSpec("component-database", "component", "d4c5f9", "Where things are stored"),
    LabelSpec("size/small", "size", "c2e0c6", "Under 50 lines to review"),
    LabelSpec("size/medium", "size", "fef2c0", "50 to 199 lines to review"),
    LabelSpec("size/large", "size", "f9d0c4", "200 lines to review or more"),
    LabelSpec("type/bug-fix", "type", "d73a4a", "Fixes something"),
    LabelSpec("type/feature", "type", "a2eeef", "Brings something new"),
    LabelSpec("type/refactor", "type", "c5def5", "Changes the code, not what it does"),
    LabelSpec("type/docs", "type", "0075ca", "Changes documentation only"),
    LabelSpec("status/needs-review", "status", "fbca04", "Waits for a person to review it"),
    LabelSpec("status/needs-changes", "status", "d93f0b", "Waits for its author"),
    LabelSpec("status/needs-info", "status", "d93f0b", "Waits for information from its author"),
)

_BY_NAME = {spec.name: spec for spec in SHIPPED_LABELS}


@dataclass(frozen=True, slots=True)
class LabelDifference:
    """Labels to add and remove on GitHub, and label states to store. Names are compared without
    case, as on GitHub.
    """

    create: tuple[LabelSpec, ...]  # the labels in `add` that the repository does not have
    add: tuple[str, ...]
    remove: tuple[str, ...]  # only labels that HLS set
    confirm: tuple[str, ...]  # intended and present now: the response to the write was lost
    # labels that HLS set and a person removed since the last check
    removed_by_person: tuple[str, ...]
    # intended, not present, no longer requested: delete the stored state
    not_applied: tuple[str, ...]
    # requested but not set: name and reason (a part of a sentence)
    withheld: tuple[tuple[str, str], ...]
    kept: tuple[tuple[str, str], ...] = ()  # the same of labels that GitHub refused to remove


def spec_of(label: RequestedLabel) -> LabelSpec:
    return _BY_NAME.get(label.name) or LabelSpec(
        label.name, label.group, "ededed", f"Set by HLS: {label.group}"[:100]
    )


def decide_labels(
    action: EnsureLabels,
    settings: EffectiveLabels,
    *,
    present: frozenset[str],
    stored: Mapping[str, LabelState],
    in_repository: frozenset[str],
) -> LabelDifference:
    """Decide which labels of a conversation to add and remove.

    `present` are the conversation's labels. `stored` maps each label that HLS has set to its stored
    state. `in_repository` must contain the requested labels that exist in the repository.
    """
    shown, existing, existing_only = (
        {*map(_fold, names)} for names in (present, in_repository, action.existing_only)
    )
    group_of = {_fold(spec.name): spec.group for spec in SHIPPED_LABELS}
    group_of |= {
        _fold(label.name): label.group for label in (*action.custom_labels, *action.requested)
    }
    states = {_fold(name): state for name, state in stored.items()}
    own = {name for name, state in states.items() if state != "removed" and name in shown}
    # by a person
    removed_now = {name for name, state in states.items() if state == "set" and name not in shown}
    removed = removed_now | {name for name, state in states.items() if state == "removed"}
    # by group
    of_people = {
        group_of[name]: name for name in sorted(shown - own, reverse=True) if name in group_of
    }
    chosen: dict[str, str] = {}  # group -> case-folded name of its label

    def find_reason(label: RequestedLabel, name: str) -> str | None:
        """Return the reason not to set a label; None to set it."""
        if (prohibition := _find_prohibition(label.name, settings)) is not None:
            return prohibition
        if label.group in chosen:
            return f"another {label.group} label comes first, and at most one is set"
        if name in shown - own:
            return None
        if label.group in of_people:
            return f"a person set {of_people[label.group]}"
        if name in removed:
            return "a person removed it"
        if name in shown | existing or (settings.create and name not in existing_only):
            return None
        off = "" if settings.create else ", and labels.create is off in the settings"
        return f"the repository has no such label{off}"

    withheld = [*action.rejected]
    wanted: list[RequestedLabel] = []
    for label in action.requested:
        name = _fold(label.name)
        if name in chosen.values():  # requested twice
            continue
        reason = find_reason(label, name)
        if reason is not None:
            withheld.append((label.name, reason))
            continue
        chosen[label.group] = name
        if name not in shown:
            wanted.append(label)
    covered = {*action.groups, *(label.group for label in action.requested)}
    outdated = {
        name for name in own if group_of.get(name) in covered and name not in chosen.values()
    }
    free_slots = max(MAX_LABELS - len(shown) + len(outdated), 0)
    too_many = f"the conversation has {MAX_LABELS} labels, the most that GitHub allows"
    withheld += [(label.name, too_many) for label in wanted[free_slots:]]
    added = wanted[:free_slots]
    shown_after = shown | {_fold(label.name) for label in added}
    intended = [name for name, state in stored.items() if state == "intended"]
    return LabelDifference(
        create=tuple(spec_of(label) for label in added if _fold(label.name) not in existing),
        add=tuple(label.name for label in added),
        remove=tuple(name for name in stored if _fold(name) in outdated),
        confirm=tuple(name for name in intended if _fold(name) in shown - outdated),
        removed_by_person=tuple(name for name in stored if _fold(name) in removed_now),
        not_applied=tuple(name for name in intended if _fold(name) not in shown_after),
        withheld=tuple(withheld),
    )


def _find_prohibition(name: str, settings: EffectiveLabels) -> str | None:
    """Return why the settings do not allow a label: "labels.deny has prio*"; None if they do."""
    denied = next((glob for glob in settings.deny if _matches(name, glob)), None)
    if denied is not None:
        return f"labels.deny has {denied}"
    lists = (
        (settings.repository_allow_source, settings.repository_allow),
        (settings.organization_allow_source, settings.organization_allow),
        ("labels.allow in the settings", settings.allow),
    )
    return next(
        (
            f"{where} does not allow it"
            for where, globs in lists
            if not any(_matches(name, glob) for glob in globs)
        ),
        None,
    )


def _matches(name: str, glob: str) -> bool:
    return fnmatchcase(_fold(name), _fold(glob))


def _fold(name: str) -> str:
    return name.casefold()  # label names on GitHub are case-insensitive


SHIPPED = frozenset(RequestedLabel(spec.name, spec.group) for spec in SHIPPED_LABELS)


def plan_labels(
    analysis: Analysis,
    *from_facts: RequestedLabel,
    groups: tuple[str, ...] = (),
    offer: LabelOffer | None = None,
    without: Collection[str] = (),
    min_field_confidence: float = 0.0,
    is_partial: bool = False,
) -> tuple[EnsureLabels, ...]:
    """Return the action that sets the labels `from_facts` and the labels that the replies request.

    The action also removes labels that HLS set before and does not set now, but only labels of
    these groups: `groups`, the groups of `from_facts`, and the groups of all labels that the
    prompts can request. `offer` are the repository's own labels that the prompts listed; with
    `is_partial`, the replies are about a part of the changes, and none of these is removed. The
    action does not concern labels of the groups `without`, and of fields below
    `min_field_confidence` it only names the label. If there is no group and no rejected label,
    returns ().
    """
    requested = [*from_facts]
    possible: list[RequestedLabel] = []
    prompt_ids: dict[str, str] = {}
    suggested, rejected = _choose_suggested([answer.reply for answer in analysis.answers], offer)
    requested += suggested
    offered = offer.labels if offer and analysis.answers else ()
    listed = [_suggested_label(one.name) for one in offered]
    for label in suggested if is_partial else listed:
        possible.append(label)
        prompt_ids[label.group] = analysis.answers[0].prompt_id
    for answer in analysis.answers:
        unsure = _find_unsure(answer.reply, min_field_confidence)
        wanted = [label for label in _requested_labels(answer.reply) if label.group not in without]
        requested += (label for label in wanted if label.group not in unsure)
        rejected += tuple(
            (label.name, unsure[label.group]) for label in wanted if label.group in unsure
        )
        kept = {*without, *unsure}
        for label in (one for one in _possible_labels(type(answer.reply)) if one.group not in kept):
            possible.append(label)
            prompt_ids.setdefault(label.group, answer.prompt_id)
    covered = dict.fromkeys([*(label.group for label in from_facts), *groups, *prompt_ids])
    custom = tuple(dict.fromkeys(label for label in possible if label not in SHIPPED))
    existing_only = frozenset(label.name for label in suggested)
    action = EnsureLabels(
        tuple(requested), tuple(covered), custom, prompt_ids, existing_only, rejected
    )
    return (action,) if covered or rejected else ()


def _choose_suggested(
    replies: Sequence[Reply], offer: LabelOffer | None
) -> tuple[tuple[RequestedLabel, ...], tuple[tuple[str, str], ...]]:
    """Return the suggested labels that are certain enough, and the labels that are not set, with
    reasons.
    """
    by_name = {_fold(label.name): label.name for label in offer.labels} if offer else {}
    chosen: dict[str, RequestedLabel] = {}
    rejected: dict[str, str] = {}
    for suggestion in (one for reply in replies for one in getattr(reply, "suggested_labels", [])):
        known = by_name.get(_fold(suggestion.name.strip()))
        if offer is None:
            rejected[_shown_name(suggestion.name)] = (
                "the prompt did not list the repository's labels"
            )
        elif known is None:
            rejected[_shown_name(suggestion.name)] = (
                "it is not among the labels that the prompt listed"
            )
        elif suggestion.confidence < offer.min_confidence:
            least = f"labels.min_confidence is {offer.min_confidence:g}"
            rejected[known] = f"Claude's confidence is {suggestion.confidence:g}, and {least}"
        else:
            chosen[known] = _suggested_label(known)
    return tuple(chosen.values()), tuple(
        (name, reason) for name, reason in rejected.items() if name not in chosen
    )


def _find_unsure(reply: Reply, min_confidence: float) -> Mapping[str, str]:
    """Return the fields of which Claude is too unsure for a label, and why. Without a stated
    confidence, none is.
    """
    stated = reply.field_confidence if isinstance(reply, IssueAnalysis) else None
    least = f"labels.min_field_confidence is {min_confidence:g}"
    return {
        field: f"Claude's confidence is {confidence:g}, and {least}"
        for field, confidence in stated or ()
        if confidence < min_confidence
    }


def list_wanted_labels(
    reply: Reply, settings: EffectiveLabels, offer: LabelOffer | None, without: Collection[str]
) -> tuple[str, ...]:
    """Return the names of labels that a reply asks for and settings allow, except labels of the
    groups `without`.
    """
    wanted = (*_requested_labels(reply), *_choose_suggested([reply], offer)[0])
    without = {*without, *_find_unsure(reply, settings.min_field_confidence)}
    allowed = (
        one
        for one in wanted
        if one.group not in without and _find_prohibition(one.name, settings) is None
    )
    return tuple(dict.fromkeys(one.name for one in allowed))


def _suggested_label(name: str) -> RequestedLabel:
    return RequestedLabel(name, f"suggested_labels {name}")


def _shown_name(name: str) -> str:
    # Claude's text, which `hls why` shows
    return " ".join(clean(name).split())[:MAX_LABEL_CHARACTERS]


@dataclass(frozen=True, slots=True)
class LabelOffer:
    """The labels of the repository that a prompt lists, so that the reply can suggest some of
    them.
    """

    labels: tuple[RepositoryLabel, ...]
    min_confidence: float
    missing: int = 0  # allowed labels for which there is no room

    def describe_missing(self) -> str:
        """Return a text such as "30 of 430 labels of the repository"; "" if all are listed."""
        if not self.missing:
            return ""
        total = count(len(self.labels) + self.missing, "label")
        return f"{self.missing} of {total} of the repository"


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
        _fold(spec.name) for spec in SHIPPED_LABELS if spec.group in GROUPS_OF_FACTS
    }
    allowed = [
        one
        for one in labels
        if _fold(one.name) not in used and _find_prohibition(one.name, settings) is None
    ]
    if sum(map(_count_characters, allowed)) > MAX_OFFERED_CHARACTERS:
        allowed = [replace(one, description="") for one in allowed]
    sizes = accumulate(map(_count_characters, allowed))
    number = sum(size <= MAX_OFFERED_CHARACTERS for size in sizes)
    missing = len(allowed) - number
    return LabelOffer(tuple(allowed[:number]), settings.min_confidence, missing)


def _count_characters(label: RepositoryLabel) -> int:
    return len(f"- {label.name}: {label.description}")


def _requested_labels(reply: Reply) -> Iterator[RequestedLabel]:
    for field, rule in type(reply).label_rules.items():
        for value in to_rule_values(getattr(reply, field)):
            label = find_label(rule, value)
            if label is not None:
                yield _label_in_group(type(reply), field, label)


def _possible_labels(model: type[Reply]) -> Iterator[RequestedLabel]:
    for field, rule in model.label_rules.items():
        for label in list_possible_labels(rule, model.model_fields[field].annotation):
            yield _label_in_group(model, field, label)


def _label_in_group(model: type[Reply], field: str, label: str) -> RequestedLabel:
    return RequestedLabel(label, group_of(field, model.model_fields[field].annotation, label))


CORRECTION_WINDOW_DAYS = 30
"""Label changes up to this many days after HLS set a label are corrections. Later ones may have
other reasons.
"""


@dataclass(frozen=True, slots=True)
class AppliedLabel:
    """A label that HLS set because a reply requested it, and the label that people set instead."""

    group: str  # "priority"; for a label of a list field: "areas area/api"
    name: str  # the label that HLS set: "priority-high"
    prompt_id: str  # the prompt whose reply requested the label: "issues/analyze@3f9c2a"
    # the label that people set instead, "" for none; None if not corrected
    corrected_to: str | None


def find_changed_corrections(
    applied: Iterable[AppliedLabel],
    shown: Iterable[str],
    *,
    set_by_bot: Iterable[str],
    groups: Mapping[str, str],
) -> tuple[AppliedLabel, ...]:
    """Return the labels in `applied` whose `corrected_to` has changed, with the new value.

    `shown` are the current labels of the conversation. A label in `shown` that is not in
    `set_by_bot` is a person's. `groups` maps each label in lower case to its group. If a person
    adds another label of the group, the bot's label counts as corrected, even while it is still
    set.
    """
    by_name = {name.casefold(): name for name in sorted(shown)}
    set_by_people = [
        name for name in by_name if name not in {label.casefold() for label in set_by_bot}
    ]
    changed = []
    for label in applied:
        applied_name = label.name.casefold()
        others = [
            by_name[name]
            for name in set_by_people
            if name != applied_name and groups.get(name) == label.group
        ]
        corrected_to = None if applied_name in by_name and not others else next(iter(others), "")
        if corrected_to != label.corrected_to:
            changed.append(replace(label, corrected_to=corrected_to))
    return tuple(changed)
