"""Effective settings of a repository: the layers of settings that apply to it, merged.

The layers are the general sections of the settings file, the repository's entry in `repositories`,
the file `hls.yaml` of its organisation, and its own `.github/hls.yaml`. `apply_repository_settings`
adds the last two, which may only do what `REPOSITORY_KEYS` says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from operator import attrgetter
from typing import Any, Literal, get_args

from pydantic import BaseModel

from hls_handler.analysis import Severity
from hls_handler.settings.model import Features, Settings
from hls_handler.settings.repository import REPOSITORY_KEYS, Limit, RepositorySettings
from hls_handler.settings.sections import (
    EffectiveLabels,
    FindingSettings,
    PullRequests,
    RepositoryComments,
    RepositoryEntry,
    RepositoryPaths,
    RepositoryRetrieval,
    ReviewSettings,
    Similar,
)
from hls_handler.settings.values import PromptUse, VariableValue, webhook_secrets
from hls_handler.settings.yaml_parser import value_at
from hls_handler.wording import count


@dataclass(frozen=True, slots=True)
class Origin:
    """The key paths that set a value; a path of a repository's file begins with the file."""

    keys: tuple[str, ...]  # ("repositories[0].features.bots",); several if lists are joined
    person: str = ""  # what a person asked for, in place of settings: "batch 3, which ..."


NO_ORIGIN = Origin(())


@dataclass(frozen=True, slots=True)
class PromptChoice:
    key: str  # key path: "repositories[0].prompts.use.issues.opened"
    event: str  # "issues.opened", or "issues" for all its actions
    prompt: str | Literal[False]  # False: no prompt runs
    layer: int = 0  # that of the largest number has precedence


@dataclass(frozen=True, slots=True)
class EffectiveSettings:
    """The settings of one repository."""

    key: str  # key path of the entry: "repositories[0]"
    pattern: str  # "owner/*"
    enabled: bool
    events: frozenset[str]
    features: Features
    labels: EffectiveLabels
    findings: FindingSettings
    review: ReviewSettings
    pull_requests: PullRequests
    retrieval: RepositoryRetrieval
    similar: Similar
    comments: RepositoryComments
    paths: RepositoryPaths
    use: Mapping[str, PromptChoice]  # by event
    webhook_secrets: tuple[bytes, ...] = field(repr=False)
    expect_webhook_within_h: float | None
    variables: Mapping[str, VariableValue]  # `config` in templates
    origins: Mapping[str, Origin]  # of the keys that are set: "features.bots" -> ...

    @property
    def review_label(self) -> str | None:
        """The label that asks for reviews, by `review.when`; None if none does."""
        asks, _, label = self.review.when.partition("label:")
        return label if not asks else None

    def find_key(self, key: str) -> str:
        """Return the key path that sets a key, such as "repositories[0].features.bots" for
        "features.bots".
        """
        return self.origins.get(key, Origin((key,))).keys[0]

    def where(self, key: str, settings: Settings) -> str:
        """Return the file, line and path of a key; of all its places if their lists are joined."""
        origin = self.origins.get(key, Origin((key,)))
        if origin.person:
            return origin.person
        places = origin.keys
        return " and ".join(map(settings.sources.where, places))

    def find_prompt(self, event_key: str) -> PromptChoice | None:
        """Return the choice of the prompt for an event; None if no `prompts.use` has the event.

        Precedence: the repository's file, the organisation's, `repositories`, global settings. In
        each, "issues.opened" precedes "issues".
        """
        events = (event_key, event_key.partition(".")[0])
        matching = [self.use[event] for event in events if event in self.use]
        return max(matching, key=attrgetter("layer"), default=None)

    def find_fallback_number(self, event_key: str) -> int | None:
        """Return the issue number that `comments.post_to` has for an event such as
        "release.published", else None.
        """
        post_to = self.comments.post_to
        return post_to.get(event_key, post_to.get(event_key.partition(".")[0]))


class RepositoryTable:
    """Finds the effective settings of a repository by its name. Caches them, because every webhook
    needs them.
    """

    def __init__(self, settings: Settings) -> None:
        effective = [
            _build_effective(settings, index, entry)
            for index, entry in enumerate(settings.repositories)
        ]
        effective.sort(key=lambda entry: _specificity(entry.pattern), reverse=True)
        self._entries = tuple(effective)
        self._cache: dict[str, EffectiveSettings | None] = {}

    def find(self, full_name: str) -> EffectiveSettings | None:
        """Return the settings of the most specific entry that matches "owner/repo", ignoring case;
        else None.
        """
        if full_name in self._cache:
            return self._cache[full_name]
        effective = next(iter(self.find_all(full_name)), None)
        if len(self._cache) < 10_000:  # bounded, because anybody can send any name
            self._cache[full_name] = effective
        return effective

    def all(self) -> tuple[EffectiveSettings, ...]:
        """Return the settings of every entry, the most specific entry first."""
        return self._entries

    def find_all(self, full_name: str) -> tuple[EffectiveSettings, ...]:
        """Return the settings of every entry that matches "owner/repo", the most specific entry
        first.
        """
        return tuple(entry for entry in self._entries if matches_name(entry.pattern, full_name))


def is_pattern(name: str) -> bool:
    """Return True if the name of an entry of `repositories`, or a part of it, has a wildcard."""
    return any(wildcard in name for wildcard in "*?[")


def find_unneeded_permissions(table: RepositoryTable) -> frozenset[str]:
    """Return the permissions of a GitHub App that no enabled entry of `repositories` needs."""
    sets_checks = any(
        entry.enabled and (entry.review.check or entry.pull_requests.title == "check")
        for entry in table.all()
    )
    return frozenset() if sets_checks else frozenset({"checks"})


def matches_name(pattern: str, full_name: str) -> bool:
    """Return True if a name or glob matches "owner/repo", ignoring case."""
    # the owner and the repository each, so that `*` does not match the slash
    globs = pattern.lower().split("/")
    parts = full_name.lower().split("/")
    return len(globs) == len(parts) and all(map(fnmatchcase, parts, globs))


def _specificity(pattern: str) -> tuple[bool, int]:
    literal = sum(1 for character in pattern if character not in "*?[]")
    return (literal == len(pattern), literal)  # "owner/*" -> (False, 6)


SECTIONS: Mapping[str, type[BaseModel]] = {
    "features": Features,
    "labels": EffectiveLabels,
    "comments": RepositoryComments,
    "findings": FindingSettings,
    "review": ReviewSettings,
    "pull_requests": PullRequests,
    "retrieval": RepositoryRetrieval,
    "similar": Similar,
    "paths": RepositoryPaths,
}
"""The sections that an entry of `repositories` can override."""


def _build_effective(settings: Settings, index: int, entry: RepositoryEntry) -> EffectiveSettings:
    key = f"repositories[{index}]"
    layers: tuple[tuple[str, Settings | RepositoryEntry], ...] = (
        ("", settings),
        (f"{key}.", entry),
    )
    values: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    origins = {"webhook_secret": Origin(("github.webhook_secret",))}
    origins |= {name: Origin((f"{key}.{name}",)) for name in entry.model_fields_set}
    for prefix, layer in layers:
        for section in SECTIONS.keys() & type(layer).model_fields.keys():
            part = getattr(layer, section)
            for name in part.model_fields_set & SECTIONS[section].model_fields.keys():
                path = f"{section}.{name}"
                values[section][name] = getattr(part, name)
                origins[path] = Origin((prefix + path,))
    for prefix, variables in (
        ("prompts.", settings.prompts.variables),
        (f"{key}.", entry.variables),
    ):
        for name in variables:
            origins[f"variables.{name}"] = Origin((f"{prefix}variables.{name}",))
    sections: dict[str, Any] = {
        section: model.model_validate(values[section]) for section, model in SECTIONS.items()
    }
    choices = [
        choice
        for number, (prefix, layer) in enumerate(layers)
        for choice in _iter_prompt_choices(layer.prompts.use, prefix, layer=number)
    ]
    return EffectiveSettings(
        key=key,
        pattern=entry.name,
        enabled=entry.enabled,
        events=frozenset(entry.events),
        use={choice.event: choice for choice in choices},
        webhook_secrets=webhook_secrets(entry.webhook_secret)
        or webhook_secrets(settings.github.webhook_secret),
        expect_webhook_within_h=entry.expect_webhook_within_h,
        variables={**settings.prompts.variables, **entry.variables},
        origins=origins,
        **sections,
    )


def without_entry(settings: Settings) -> EffectiveSettings:
    """Return the settings of a repository that no entry of `repositories` matches, for trying
    prompts.
    """
    return _build_effective(settings, len(settings.repositories), RepositoryEntry(name="*/*"))


def apply_repository_settings(
    effective: EffectiveSettings, *files: RepositorySettings
) -> EffectiveSettings:
    """Return `effective`, changed by the settings in a `.github/hls.yaml`, and in the
    organisation's file behind it.

    The first file that has a key sets it, as far as the key's limit allows.
    """
    allowed = {
        file.sources.where("labels.allow"): value_at(file.values, "labels.allow") for file in files
    }
    lists = {place: globs for place, globs in allowed.items() if globs is not None}
    changes: dict[str, dict[str, Any]] = {"": {}, "labels": {"repository_allow": lists}}
    origins = dict(effective.origins)
    for key in REPOSITORY_KEYS:
        values: dict[str, Any] = {
            f"{file.file}:{key.path}": value_at(file.values, key.path) for file in files
        }
        values = {path: value for path, value in values.items() if value not in (None, ())}
        if not values or key.limit == "by file":
            continue
        operator_value = attrgetter(key.path)(effective)
        path, value = next(iter(values.items()))
        origin = Origin((path,))
        if key.limit == "joined":
            value = sum(values.values(), operator_value)
            origin = Origin((*origins.get(key.path, NO_ORIGIN).keys, *values))
        elif not _is_permitted(key.limit, value, operator_value):
            continue
        section, _, name = key.path.rpartition(".")
        changes.setdefault(section, {})[name] = value
        origins[key.path] = origin
    top = changes.pop("")
    sections = {
        section: getattr(effective, section).model_copy(update=values)
        for section, values in changes.items()
    }
    use = {**effective.use, **_choose_prompts(files)}
    return replace(effective, **top, **sections, use=use, origins=origins)


def _is_permitted(limit: Limit, value: Any, operators: Any) -> bool:
    """Return True if a value of a repository's file applies, and changes what the operator set."""
    severities = get_args(Severity)  # most severe first
    match limit:
        case "off":
            return value is False and bool(operators)
        case "lower":
            return bool(value < operators)
        case "higher":
            return bool(value > operators)
        case "less severe" if operators is not None:
            return severities.index(value) > severities.index(operators)
    return True


def _choose_prompts(files: tuple[RepositorySettings, ...]) -> dict[str, PromptChoice]:
    chosen: dict[str, PromptChoice] = {}
    for layer, file in enumerate(reversed(files), start=2):
        use: Any = value_at(file.values, "prompts.use") or {}
        for choice in _iter_prompt_choices(use, f"{file.file}:", layer=layer):
            chosen[choice.event] = choice
    return chosen


def _iter_prompt_choices(
    use: Mapping[str, PromptUse], prefix: str, *, layer: int = 0
) -> Iterator[PromptChoice]:
    for event, value in use.items():
        yield PromptChoice(f"{prefix}prompts.use.{event}", event, value, layer)


def list_prompt_choices(settings: Settings) -> tuple[PromptChoice, ...]:
    """Return all choices in the settings file: those of the global `prompts.use`, then those of
    `repositories`.
    """
    choices = [*_iter_prompt_choices(settings.prompts.use, "")]
    for index, entry in enumerate(settings.repositories):
        choices += _iter_prompt_choices(entry.prompts.use, f"repositories[{index}].", layer=1)
    return tuple(choices)


def find_chosen_events(settings: Settings) -> frozenset[str]:
    """Return the keys of every `prompts.use`, such as "issues.opened"."""
    return frozenset(choice.event for choice in list_prompt_choices(settings))


@dataclass(frozen=True, slots=True)
class SourcedValue:
    """The value of one key, and the place that sets it."""

    key: str  # "labels.allow"
    value: str  # JSON, but a text has no quotes
    # "default", or file, line and key: "config/settings.yaml:14 (repositories[0].features.drafts)"
    source: str

    def __str__(self) -> str:
        return f"{self.key} = {self.value}   {self.source}".rstrip()


def iter_sourced_values(settings: Settings, effective: EffectiveSettings) -> Iterator[SourcedValue]:
    """Yield the value of each key that an entry of `repositories` can set. `settings` has the lines
    of all files.
    """
    for key, value in _iter_values(effective):
        yield _to_sourced(settings, key, value, effective.origins.get(key, NO_ORIGIN))
    for place, globs in effective.labels.repository_allow.items():
        yield SourcedValue("labels.allow, and of these", _to_text(globs), place)
    for event in effective.use:
        choice = effective.find_prompt(event)
        assert choice is not None  # of the event, at least
        yield _to_sourced(settings, f"prompts.use.{event}", choice.prompt, Origin((choice.key,)))


def _iter_values(effective: EffectiveSettings) -> Iterator[tuple[str, object]]:
    yield "enabled", effective.enabled
    yield "events", sorted(effective.events)
    # shown, because it is a placeholder
    yield "webhook_secret", f"<{count(len(effective.webhook_secrets), 'secret')}>"
    yield "expect_webhook_within_h", effective.expect_webhook_within_h
    for section in SECTIONS:
        for name, value in getattr(effective, section):
            if name != "repository_allow":
                yield f"{section}.{name}", value
    for name, value in effective.variables.items():
        yield f"variables.{name}", value


def find_source(settings: Settings, key: str, value: object) -> SourcedValue:
    """Return the value of a key of the settings file with its source."""
    origin = NO_ORIGIN
    if settings.sources.contains(key):
        origin = Origin((key,))
    return _to_sourced(settings, key, value, origin)


def _to_sourced(settings: Settings, key: str, value: object, origin: Origin) -> SourcedValue:
    source = " and ".join(map(settings.sources.where, origin.keys))
    return SourcedValue(key, _to_text(value), source or "default")


def _to_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
