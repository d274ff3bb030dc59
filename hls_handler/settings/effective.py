"""Effective settings of a repository: the global settings, its most specific entry and its repository settings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import translate
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

from hls_handler.settings.globs import PathFilter
from hls_handler.settings.model import (
    EffectiveComments,
    EffectiveLabels,
    Features,
    Findings,
    Repository,
    Settings,
    Sources,
    webhook_secrets,
)
from hls_handler.settings.repository import PATH, RepositorySettings
from hls_handler.settings.uses import iter_prompt_choices

Choice = TypeVar("Choice")


@dataclass(frozen=True, slots=True)
class EffectiveSettings:
    """Effective settings of one repository. `key` is the key path of its entry, for `Sources.where`."""

    key: str  # "repositories[0]"
    pattern: str  # "owner/*"
    enabled: bool
    events: frozenset[str]
    features: Features
    labels: EffectiveLabels
    findings: Findings
    comments: EffectiveComments
    paths: PathFilter
    use: Mapping[str, tuple[str | Literal[False], str]]  # event -> (prompt name or False, key path)
    shadows: Mapping[str, tuple[str, str]]  # event -> (prompt name, key path)
    webhook_secrets: tuple[bytes, ...] = field(repr=False)
    own: frozenset[str] = frozenset()  # keys set by the repository settings: "comments.language"

    def own_key(self, key: str) -> str | None:
        """Key path in the repository settings if they set the key, else None."""
        return f"{PATH}:{key}" if key in self.own else None

    def find_feature_key(self, name: str, settings: Settings) -> str:
        """Key path that sets a feature: in the repository settings, else in the entry, else the global one."""
        entry_key = f"{self.key}.features.{name}"
        operator_key = entry_key if settings.sources.contains(entry_key) else f"features.{name}"
        return self.own_key(f"features.{name}") or operator_key

    def find_prompt(self, event_key: str) -> tuple[str | Literal[False], str] | None:
        """Prompt that `prompts.use` chooses for an event, and its key path; None if it does not mention the event.

        A key can be "issues.opened" or all "issues". The repository settings take precedence, then the entry, then the
        more specific key.
        """
        return self._choose(self.use, event_key) if self.use else None

    def find_shadow_prompt(self, event_key: str) -> tuple[str, str] | None:
        """Shadow prompt for an event, and its key path; the same precedence as `find_prompt`."""
        return self._choose(self.shadows, event_key) if self.shadows else None

    def _choose(self, choices: Mapping[str, tuple[Choice, str]], event_key: str) -> tuple[Choice, str] | None:
        matching = [choices[key] for key in (event_key, event_key.partition(".")[0]) if key in choices]
        from_repository = [choice for choice in matching if choice[1].startswith(f"{PATH}:")]
        from_entry = [choice for choice in matching if choice[1].startswith(f"{self.key}.")]
        return next(iter(from_repository or from_entry or matching), None)

    def find_fallback_number(self, event_key: str) -> int | None:
        """Fallback issue for an event without a conversation: set for "release.published", else for all "release"."""
        post_to = self.comments.post_to
        return post_to.get(event_key, post_to.get(event_key.partition(".")[0]))


class RepositoryTable:
    """Lookup of the entry for a repository. Results are cached because the receiver looks up every webhook."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        ranked = sorted(enumerate(settings.repositories), key=lambda item: _specificity(item[1].name), reverse=True)
        self._entries = tuple((_compile_name(r.name), _build_effective(settings, i, r)) for i, r in ranked)
        self._found: dict[str, EffectiveSettings | None] = {}

    def find(self, full_name: str) -> EffectiveSettings | None:
        """Return the most specific entry that matches "owner/repo", ignoring case; None if there is none."""
        if full_name in self._found:
            return self._found[full_name]
        found = next(self._iter_matching(full_name), None)
        if len(self._found) < 10_000:  # anybody can send any name
            self._found[full_name] = found
        return found

    def matching(self, full_name: str) -> tuple[EffectiveSettings, ...]:
        """Every entry that matches, most specific first."""
        return tuple(self._iter_matching(full_name))

    def _iter_matching(self, full_name: str) -> Iterator[EffectiveSettings]:
        parts = full_name.lower().split("/")
        return (effective for patterns, effective in self._entries if _name_matches(patterns, parts))


def explain_precedence(chosen: EffectiveSettings, other: EffectiveSettings) -> str:
    """Explain why the first of two matching entries takes precedence: "10 literal characters against 6"."""
    (exact, literal), (other_exact, other_literal) = _specificity(chosen.pattern), _specificity(other.pattern)
    if exact and not other_exact:
        return "a whole name against a pattern"
    if literal != other_literal:
        return f"{literal} literal characters against {other_literal}"
    return f"as many literal characters ({literal}), and it comes first"


def _compile_name(name: str) -> list[re.Pattern[str]]:
    """Compile one pattern for the owner and one for the repository, so that `*` does not match the slash."""
    return [re.compile(translate(part)) for part in name.lower().split("/")]


def _name_matches(patterns: Sequence[re.Pattern[str]], parts: Sequence[str]) -> bool:
    return len(patterns) == len(parts) and all(glob.match(part) for glob, part in zip(patterns, parts, strict=True))


def _specificity(pattern: str) -> tuple[bool, int]:
    """Sort key: exact names first, then patterns by their number of literal characters."""
    literal = sum(1 for character in pattern if character not in "*?[]")
    return (literal == len(pattern), literal)


def _build_effective(settings: Settings, index: int, entry: Repository) -> EffectiveSettings:
    key = f"repositories[{index}]"
    choices = [
        *iter_prompt_choices(settings.prompts.use, "prompts.use"),
        *iter_prompt_choices(entry.prompts.use, f"{key}.prompts.use"),
    ]
    return EffectiveSettings(
        key=key,
        pattern=entry.name,
        enabled=entry.enabled,
        events=frozenset(entry.events),
        features=settings.features.model_copy(update=entry.features.model_dump(exclude_none=True)),
        labels=EffectiveLabels.model_validate(_override(settings.labels, entry.labels)),
        findings=Findings.model_validate(_override(settings.findings, entry.findings)),
        comments=EffectiveComments.model_validate(_override(settings.comments, entry.comments)),
        paths=PathFilter(entry.paths.ignore, settings.sources.where(f"{key}.paths.ignore")),
        use={choice.event: (choice.prompt, choice.key) for choice in choices if not choice.shadow},
        shadows={choice.event: (str(choice.prompt), choice.key) for choice in choices if choice.shadow},
        webhook_secrets=webhook_secrets(entry.webhook_secret) or webhook_secrets(settings.github.webhook_secret),
    )


def _override(section: BaseModel, overrides: BaseModel) -> dict[str, Any]:
    """Merge the overrides of an entry into a global section."""
    return {**section.model_dump(), **overrides.model_dump(exclude_none=True)}


def apply_repository_settings(effective: EffectiveSettings, own: RepositorySettings) -> EffectiveSettings:
    """Apply the repository settings to the operator's settings.

    They can only switch features off, allow fewer labels and ignore more files; values of `comments` and `findings`
    are replaced. Their keys appear as `PATH:key` in key paths; `Settings.beside` adds their lines.
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
        source = sources.where("labels.allow")
        labels = labels.model_copy(update={"repository_allow": says.labels.allow, "repository_allow_source": source})
        decided.add("labels.allow")
    if says.paths.ignore:
        where = " and ".join([*([paths.where] if paths.globs else []), sources.where("paths.ignore")])
        paths = PathFilter((*paths.globs, *says.paths.ignore), where)
        decided.add("paths.ignore")
    replaced = {"comments": says.comments, "findings": says.findings}
    decided |= {f"{name}.{key}" for name, section in replaced.items() for key in section.model_dump(exclude_none=True)}
    choices = {event: (name, f"{PATH}:prompts.use.{event}") for event, name in says.prompts.use.items()}
    return replace(
        effective,
        enabled=effective.enabled and says.enabled,
        features=features.model_copy(update=dict.fromkeys(off, False)),
        labels=labels,
        comments=effective.comments.model_copy(update=says.comments.model_dump(exclude_none=True)),
        findings=effective.findings.model_copy(update=says.findings.model_dump(exclude_none=True)),
        paths=paths,
        use={**effective.use, **choices},
        own=frozenset(decided),
    )
