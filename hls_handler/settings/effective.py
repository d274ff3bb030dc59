"""What holds for one repository: its most specific entry, laid over the global settings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import translate
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

from hls_handler.settings.globs import PathFilter
from hls_handler.settings.model import (
    CommentsOfARepository,
    Features,
    Findings,
    LabelsOfARepository,
    Repository,
    Settings,
    Sources,
    webhook_secrets,
)
from hls_handler.settings.repository import PATH, OwnSettings
from hls_handler.settings.uses import uses_in

Word = TypeVar("Word")


@dataclass(frozen=True, slots=True)
class Effective:
    """The settings in force for one repository. `key` is its entry's key path, for `Sources.where`."""

    key: str  # "repositories[0]"
    pattern: str  # "owner/*"
    enabled: bool
    events: frozenset[str]
    features: Features
    labels: LabelsOfARepository
    findings: Findings
    comments: CommentsOfARepository
    paths: PathFilter
    use: Mapping[str, tuple[str | Literal[False], str]]  # event -> (prompt name or False, key path that says so)
    shadows: Mapping[str, tuple[str, str]]  # event -> (prompt name, key path that says so)
    webhook_secrets: tuple[bytes, ...] = field(repr=False)
    own: frozenset[str] = frozenset()  # keys that the repository's own file decides: "comments.language"

    def own_key(self, key: str) -> str | None:
        """The key path in the repository's own file, if that decides; None where the operator does."""
        return f"{PATH}:{key}" if key in self.own else None

    def feature_key(self, name: str, settings: Settings) -> str:
        """The key path that decides a feature: the repository's own if it is written there, else the global one."""
        of_entry = f"{self.key}.features.{name}"
        operators = of_entry if settings.sources.writes(of_entry) else f"features.{name}"
        return self.own_key(f"features.{name}") or operators

    def prompt_for(self, event_key: str) -> tuple[str | Literal[False], str] | None:
        """Which prompt `prompts.use` says goes to work on an event, with its key path; None where it says nothing.

        It may be said of "issues.opened" or of all "issues". What the repository's own file says goes first, then its
        entry, then the narrower key.
        """
        return self._said(self.use, event_key) if self.use else None

    def shadow_for(self, event_key: str) -> tuple[str, str] | None:
        """The same of the prompt that runs beside it and posts nothing."""
        return self._said(self.shadows, event_key) if self.shadows else None

    def _said(self, words: Mapping[str, tuple[Word, str]], event_key: str) -> tuple[Word, str] | None:
        said = [words[key] for key in (event_key, event_key.partition(".")[0]) if key in words]
        own = [word for word in said if word[1].startswith(f"{PATH}:")]
        of_entry = [word for word in said if word[1].startswith(f"{self.key}.")]
        return next(iter(own or of_entry or said), None)

    def issue_for(self, event_key: str) -> int | None:
        """The issue that gets the comment about an event without a thread: "release.published", else all "release"."""
        post_to = self.comments.post_to
        return post_to.get(event_key, post_to.get(event_key.partition(".")[0]))


class RepositoryTable:
    """Finds the entry for a repository; remembers what it found, since the door asks for every webhook."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        ranked = sorted(enumerate(settings.repositories), key=lambda item: _specificity(item[1].name), reverse=True)
        self._entries = tuple((_globs(r.name), _merge(settings, i, r)) for i, r in ranked)
        self._found: dict[str, Effective | None] = {}

    def find(self, full_name: str) -> Effective | None:
        """The most specific entry that matches "owner/repo", whatever its case; None if there is none."""
        if full_name in self._found:
            return self._found[full_name]
        found = next(self._matching(full_name), None)
        if len(self._found) < 10_000:  # strangers choose the names
            self._found[full_name] = found
        return found

    def matching(self, full_name: str) -> tuple[Effective, ...]:
        """Every entry that matches, the one that `find` chooses first."""
        return tuple(self._matching(full_name))

    def _matching(self, full_name: str) -> Iterator[Effective]:
        parts = full_name.lower().split("/")
        return (effective for globs, effective in self._entries if _match(globs, parts))


def why_before(chosen: Effective, other: Effective) -> str:
    """Why the first of two entries that match decides: "10 literal characters against 6"."""
    (exact, literal), (other_exact, other_literal) = _specificity(chosen.pattern), _specificity(other.pattern)
    if exact and not other_exact:
        return "a whole name against a pattern"
    if literal != other_literal:
        return f"{literal} literal characters against {other_literal}"
    return f"as many literal characters ({literal}), and it stands first"


def _globs(name: str) -> list[re.Pattern[str]]:
    """One for the owner and one for the repository, so that a `*` does not reach over the slash."""
    return [re.compile(translate(part)) for part in name.lower().split("/")]


def _match(globs: Sequence[re.Pattern[str]], parts: Sequence[str]) -> bool:
    return len(globs) == len(parts) and all(glob.match(part) for glob, part in zip(globs, parts, strict=True))


def _specificity(pattern: str) -> tuple[bool, int]:
    """Exact names first, then the pattern with the most literal characters."""
    literal = sum(1 for character in pattern if character not in "*?[]")
    return (literal == len(pattern), literal)


def _merge(settings: Settings, index: int, entry: Repository) -> Effective:
    key = f"repositories[{index}]"
    uses = [*uses_in(settings.prompts.use, "prompts.use"), *uses_in(entry.prompts.use, f"{key}.prompts.use")]
    return Effective(
        key=key,
        pattern=entry.name,
        enabled=entry.enabled,
        events=frozenset(entry.events),
        features=settings.features.model_copy(update=entry.features.model_dump(exclude_none=True)),
        labels=LabelsOfARepository.model_validate(_with(settings.labels, entry.labels)),
        findings=Findings.model_validate(_with(settings.findings, entry.findings)),
        comments=CommentsOfARepository.model_validate(_with(settings.comments, entry.comments)),
        paths=PathFilter(entry.paths.ignore, settings.sources.where(f"{key}.paths.ignore")),
        use={use.event: (use.prompt, use.key) for use in uses if not use.shadow},
        shadows={use.event: (str(use.prompt), use.key) for use in uses if use.shadow},
        webhook_secrets=webhook_secrets(entry.webhook_secret) or webhook_secrets(settings.github.webhook_secret),
    )


def _with(whole: BaseModel, own: BaseModel) -> dict[str, Any]:
    """A global section with what an entry says in place of it."""
    return {**whole.model_dump(), **own.model_dump(exclude_none=True)}


def laid_over(effective: Effective, own: OwnSettings) -> Effective:
    """What holds with the repository's own file on top: switches off, labels and files become fewer, words replaced.

    A key of that file stands as `PATH:key` wherever a key path is told; `Settings.beside` knows its lines.
    """
    says, sources = own.says, Sources(PATH, own.lines)
    features, labels, paths = effective.features, effective.labels, effective.paths
    off = {name for name, on in says.features.model_dump().items() if on is False and getattr(features, name)}
    decided = {f"features.{name}" for name in off}
    if effective.enabled and not says.enabled:
        decided.add("enabled")
    if labels.create and says.labels.create is False:
        labels = labels.model_copy(update={"create": False})
        decided.add("labels.create")
    if says.labels.allow is not None:
        narrowed = {"narrowed_to": says.labels.allow, "narrowed_at": sources.where("labels.allow")}
        labels = labels.model_copy(update=narrowed)
        decided.add("labels.allow")
    if says.paths.ignore:
        where = " and ".join([*([paths.where] if paths.globs else []), sources.where("paths.ignore")])
        paths = PathFilter((*paths.globs, *says.paths.ignore), where)
        decided.add("paths.ignore")
    words = {"comments": says.comments, "findings": says.findings}
    decided |= {f"{name}.{key}" for name, said in words.items() for key in said.model_dump(exclude_none=True)}
    chosen = {event: (name, f"{PATH}:prompts.use.{event}") for event, name in says.prompts.use.items()}
    return replace(
        effective,
        enabled=effective.enabled and says.enabled,
        features=features.model_copy(update=dict.fromkeys(off, False)),
        labels=labels,
        comments=effective.comments.model_copy(update=says.comments.model_dump(exclude_none=True)),
        findings=effective.findings.model_copy(update=says.findings.model_dump(exclude_none=True)),
        paths=paths,
        use={**effective.use, **chosen},
        own=frozenset(decided),
    )
