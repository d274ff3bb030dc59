"""Which labels to add and to remove: a pure decision over wishes, what the thread shows and what we remember."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Literal

from hls_handler.actions import LabelWish
from hls_handler.prompting.labels import LONGEST_LABEL

MOST_LABELS = 100
"""Labels that GitHub lets an issue carry."""

LabelState = Literal["intended", "ours", "gone"]
"""What we remember of a label of ours on one thread: a write of it is under way; we set it; a person took it away."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What made us set a label."""

    field: str  # of a reply: "priority"
    prompt_id: str  # whose reply it was


NO_ORIGINS: Mapping[str, Origin] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class LabelSpec:
    """A label as it is created where a repository lacks it."""

    name: str  # at most 50 characters
    group: str  # "priority"; of one group a thread carries one label
    color: str  # six hex digits, without #
    description: str  # at most 100 characters


CATALOGUE: tuple[LabelSpec, ...] = (
    LabelSpec("bug", "kind", "d73a4a", "Something does not work as it should"),
    LabelSpec("enhancement", "kind", "a2eeef", "A wish for something new or better"),
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
    LabelSpec("size/small", "size", "c2e0c6", "Under 50 changed lines"),
    LabelSpec("size/medium", "size", "fef2c0", "50 to 199 changed lines"),
    LabelSpec("size/large", "size", "f9d0c4", "200 changed lines or more"),
    LabelSpec("type/bug-fix", "type", "d73a4a", "Mends something"),
    LabelSpec("type/feature", "type", "a2eeef", "Brings something new"),
    LabelSpec("type/refactor", "type", "c5def5", "Changes the code, not what it does"),
    LabelSpec("type/docs", "type", "0075ca", "Changes documentation only"),
    LabelSpec("status/needs-review", "status", "fbca04", "Waits for a person to review it"),
    LabelSpec("status/needs-changes", "status", "d93f0b", "Waits for its author"),
)

_BY_NAME = {spec.name: spec for spec in CATALOGUE}


@dataclass(frozen=True, slots=True)
class LabelChange:
    """What to do on GitHub, and what to remember. All names are as first seen; GitHub ignores their case."""

    create: tuple[LabelSpec, ...]  # those of `add` that the repository lacks
    add: tuple[str, ...]
    remove: tuple[str, ...]  # ours only
    confirm: tuple[str, ...]  # intended and now there: a write whose answer was lost
    now_gone: tuple[str, ...]  # ours that a person took away since we last looked
    never_made: tuple[str, ...]  # intended, not there, and no longer wanted: to be forgotten
    withheld: tuple[tuple[str, str], ...]  # name and why, half a sentence


def spec_of(wish: LabelWish) -> LabelSpec:
    """How a wished label looks when it is created."""
    return _BY_NAME.get(wish.name) or LabelSpec(wish.name, wish.group, "ededed", f"Set by HLS: {wish.group}"[:100])


@dataclass(frozen=True, slots=True)
class _Thread:
    """What is known of a thread's labels; all names folded."""

    shown: frozenset[str]
    ours: frozenset[str]  # shown, and set by us
    gone: frozenset[str]  # taken away by a person
    group_of: Mapping[str, str]

    def persons(self, group: str) -> str | None:
        """A label of the group that a person set."""
        return next((n for n in sorted(self.shown - self.ours) if self.group_of.get(n) == group), None)


def decide_labels(
    *,
    wishes: tuple[LabelWish, ...],
    groups: tuple[str, ...],
    known: tuple[LabelWish, ...] = (),
    on_thread: frozenset[str],
    memory: Mapping[str, LabelState],
    in_repository: frozenset[str],
    may_create: bool,
    allow: tuple[str, ...],
    narrowed_to: tuple[str, ...] = ("*",),
    narrowed_at: str = "",
) -> LabelChange:
    """Decide what becomes of the labels of one thread.

    `groups` are all groups that the analysis speaks about: of them, a label of ours that is not wished any more goes.
    `known` are labels that may stand for a group beside those of the catalogue.
    `in_repository` needs to hold only those wished names that the repository has. `allow` are globs from settings,
    and `narrowed_to` those of which a label has to fit one as well, since `narrowed_at` says so.
    """
    shown = frozenset(map(_fold, on_thread))
    state = {_fold(name): value for name, value in memory.items()}
    vanished = frozenset(name for name, value in state.items() if value == "ours" and name not in shown)
    thread = _Thread(
        shown=shown,
        ours=frozenset(name for name, value in state.items() if value != "gone" and name in shown),
        gone=vanished | frozenset(name for name, value in state.items() if value == "gone"),
        group_of={_fold(s.name): s.group for s in CATALOGUE} | {_fold(w.name): w.group for w in (*known, *wishes)},
    )
    existing = frozenset(map(_fold, in_repository))
    kept: dict[str, str] = {}  # group -> folded name of the label that stands for it
    lists = {narrowed_at: narrowed_to, "labels.allow in the settings": allow}
    withheld: list[tuple[str, str]] = []
    wanted: list[LabelWish] = []
    for wish in wishes:
        if _fold(wish.name) in kept.values():  # wished twice
            continue
        why = _why_not(wish, thread, kept, lists, creatable=may_create or _fold(wish.name) in existing)
        if why is not None:
            withheld.append((wish.name, why))
            continue
        kept[wish.group] = _fold(wish.name)
        if _fold(wish.name) not in shown:
            wanted.append(wish)
    spoken = {*groups, *(wish.group for wish in wishes)}
    outdated = frozenset(n for n in thread.ours if thread.group_of.get(n) in spoken and n not in kept.values())
    room = max(MOST_LABELS - len(shown) + len(outdated), 0)
    withheld += [(wish.name, f"the thread has {MOST_LABELS} labels, the most GitHub allows") for wish in wanted[room:]]
    added = wanted[:room]
    again = frozenset(_fold(wish.name) for wish in added)
    return LabelChange(
        create=tuple(spec_of(wish) for wish in added if _fold(wish.name) not in existing),
        add=tuple(wish.name for wish in added),
        remove=tuple(name for name in memory if _fold(name) in outdated),
        confirm=tuple(n for n, s in memory.items() if s == "intended" and _fold(n) in shown - outdated),
        now_gone=tuple(name for name in memory if _fold(name) in vanished),
        never_made=tuple(n for n, s in memory.items() if s == "intended" and _fold(n) not in shown | again),
        withheld=tuple(withheld),
    )


def _why_not(
    wish: LabelWish, thread: _Thread, kept: Mapping[str, str], lists: Mapping[str, tuple[str, ...]], *, creatable: bool
) -> str | None:
    """Why a wish is not granted, as half a sentence; None if it is. `lists` are globs by who says them."""
    name = _fold(wish.name)
    if not 0 < len(wish.name.strip()) <= LONGEST_LABEL:
        return f"a label's name has 1 to {LONGEST_LABEL} characters"
    for where, globs in lists.items():
        if not any(fnmatchcase(name, _fold(glob)) for glob in globs):
            return f"{where} does not let it"
    if wish.group in kept:
        return f"of {wish.group} a thread carries one label"
    if name in thread.shown and name not in thread.ours:
        return None
    persons = thread.persons(wish.group)
    if persons is not None:
        return f"a person set {persons}"
    if name in thread.gone:
        return "a person took it away"
    if name not in thread.shown and not creatable:
        return "the repository has no such label, and labels.create is off in the settings"
    return None


def _fold(name: str) -> str:
    """GitHub takes names that differ in case only for the same."""
    return name.casefold()
