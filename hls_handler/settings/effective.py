"""Effective settings of a repository: the layers of settings that apply to it, merged.

The layers are the general sections of the settings file, the repository's entry in `repositories`,
the file `hls.yaml` of its organisation, and its own `.github/hls.yaml`. `apply_repository_settings`
adds the last two, which may only do what `REPOSITORY_KEYS` says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import translate
from operator import attrgetter
from typing import Any, Literal, get_args

from pydantic import BaseModel

from hls_handler.analysis import Severity
from hls_handler.settings.model import Features, Settings
from hls_handler.settings.repository import REPOSITORY_KEYS, Limit, RepositorySettings
from hls_handler.settings.sections import (
    EffectiveLabels,
    Findings,
    Labels,
    PullRequests,
    Repository,
    RepositoryComments,
    RepositoryPaths,
    RepositoryRetrieval,
    Review,
    Similar,
)
from hls_handler.settings.values import PromptUse, VariableValue, webhook_secrets
from hls_handler.settings.yaml_parser import value_at
from hls_handler.wording import count


@dataclass(frozen=True, slots=True)
class Origin:
    """The key paths that set a value; a path of a repository's file begins with the file."""

    keys: tuple[str, ...]  # ("repositories[0].features.bots",); several if lists are joined
    overrides: tuple[str, ...] = ()  # others that set the key, which `keys` have precedence over
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
    findings: Findings
    review: Review
    pull_requests: PullRequests
    retrieval: RepositoryRetrieval
    similar: Similar
    comments: RepositoryComments
    paths: RepositoryPaths
    use: Mapping[str, PromptChoice]  # by event
    webhook_secrets: tuple[bytes, ...] = field(repr=False)
    variables: Mapping[str, VariableValue]  # `config` in templates
    origins: Mapping[str, Origin]  # of the keys of sections that are set: "features.bots" -> ...

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
        self._matchers = [name_matcher(entry.pattern) for entry in effective]
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
        entries = zip(self._entries, self._matchers, strict=True)
        return tuple(effective for effective, matches in entries if matches(full_name))


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


def name_matcher(name: str) -> Callable[[str], bool]:
    """Return a function that returns True for each "owner/repo" that a name or glob matches,
    ignoring case.
    """
    # One pattern for the owner and one for the repository, so that `*` does not match the slash.
    patterns = [re.compile(translate(part)) for part in name.lower().split("/")]

    def matches(full_name: str) -> bool:
        parts = full_name.lower().split("/")
        return len(patterns) == len(parts) and all(
            glob.match(part) for glob, part in zip(patterns, parts, strict=True)
        )

    return matches


def _specificity(pattern: str) -> tuple[bool, int]:
    literal = sum(1 for character in pattern if character not in "*?[]")
    return (literal == len(pattern), literal)  # "owner/*" -> (False, 6)


SECTIONS: Mapping[str, type[BaseModel]] = {
    "features": Features,
    "labels": EffectiveLabels,
    "comments": RepositoryComments,
    "findings": Findings,
    "review": Review,
    "pull_requests": PullRequests,
    "retrieval": RepositoryRetrieval,
    "similar": Similar,
    "paths": RepositoryPaths,
}
"""The sections that an entry of `repositories` can override."""


def _build_effective(settings: Settings, index: int, entry: Repository) -> EffectiveSettings:
    key = f"repositories[{index}]"
    values: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    origins = {"enabled": Origin((f"{key}.enabled",))}
    for prefix, layer in (("", settings), (f"{key}.", entry)):
        for section in SECTIONS.keys() & type(layer).model_fields.keys():
            part = getattr(layer, section)
            for name in part.model_fields_set & SECTIONS[section].model_fields.keys():
                path = f"{section}.{name}"
                values[section][name] = getattr(part, name)
                origins[path] = Origin((prefix + path,), origins.get(path, NO_ORIGIN).keys)
    sections: dict[str, Any] = {
        section: model.model_validate(values[section]) for section, model in SECTIONS.items()
    }
    choices = [
        *_iter_prompt_choices(settings.prompts.use, ""),
        *_iter_prompt_choices(entry.prompts.use, f"{key}.", layer=1),
    ]
    return EffectiveSettings(
        key=key,
        pattern=entry.name,
        enabled=entry.enabled,
        events=frozenset(entry.events),
        use={choice.event: choice for choice in choices},
        webhook_secrets=webhook_secrets(entry.webhook_secret)
        or webhook_secrets(settings.github.webhook_secret),
        variables={**settings.prompts.variables, **entry.variables},
        origins=origins,
        **sections,
    )


def without_entry(settings: Settings) -> EffectiveSettings:
    """Return the settings of a repository that no entry of `repositories` matches, for trying
    prompts.
    """
    return _build_effective(settings, len(settings.repositories), Repository(name="*/*"))


def apply_repository_settings(
    effective: EffectiveSettings, *files: RepositorySettings
) -> EffectiveSettings:
    """Return `effective`, changed by the settings in a `.github/hls.yaml`, and in the
    organisation's file behind it.

    The first file that has a key sets it, as far as the key's limit allows.
    """
    changes: dict[str, dict[str, Any]] = {"": {}, "labels": _allow_labels(files)}
    origins = dict(effective.origins)
    for key in REPOSITORY_KEYS:
        values_by_file: dict[str, Any] = {}
        for file in files:
            value = value_at(file.values, key.path)
            if value not in (None, ()):
                values_by_file[file.file] = value
        if not values_by_file or key.limit == "by file":
            continue
        section, _, name = key.path.rpartition(".")
        operator_value = attrgetter(key.path)(effective)
        first_value = next(iter(values_by_file.values()))
        origin = origins.get(key.path, NO_ORIGIN)
        first, *others = (f"{file}:{key.path}" for file in values_by_file)
        if key.limit == "joined":
            changes.setdefault(section, {})[name] = sum(values_by_file.values(), operator_value)
            origins[key.path] = replace(origin, keys=(*origin.keys, first, *others))
        elif _is_permitted(key.limit, first_value, operator_value):
            changes.setdefault(section, {})[name] = first_value
            origins[key.path] = Origin((first,), (*others, *origin.keys, *origin.overrides))
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


def _allow_labels(files: tuple[RepositorySettings, ...]) -> dict[str, Any]:
    """Return the fields of `EffectiveLabels` with the labels that the files allow."""
    fields: dict[str, Any] = {}
    for file, owner in zip(files, ("repository", "organization"), strict=False):
        allowed = value_at(file.values, "labels.allow")
        if allowed is not None:
            fields[f"{owner}_allow"] = allowed
            fields[f"{owner}_allow_source"] = file.sources.where("labels.allow")
    return fields


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


def find_chosen_prompts(settings: Settings) -> frozenset[str]:
    """Return the prompts that a `prompts.use` names."""
    return frozenset(str(choice.prompt) for choice in list_prompt_choices(settings))


DEFAULT = "default"
REPOSITORY_FIELDS = EffectiveLabels.model_fields.keys() - Labels.model_fields.keys()


@dataclass(frozen=True, slots=True)
class SourcedValue:
    """The value of one key, and the place that sets it."""

    key: str  # "labels.allow"
    value: str  # JSON, but a text has no quotes
    # "default", or file, line and key: "config/settings.yaml:14 (repositories[0].features.drafts)"
    source: str
    # other places that set the key, which `source` has precedence over
    overrides: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.key} = {self.value}   {self.source}".rstrip()


def iter_sourced_values(settings: Settings, effective: EffectiveSettings) -> Iterator[SourcedValue]:
    """Yield the value of each key that an entry of `repositories` can set. `settings` has the lines
    of both files.
    """
    key = effective.key
    entry = next(entry for entry in settings.repositories if entry.name == effective.pattern)
    enabled_key = effective.find_key("enabled")
    yield find_source(settings, "enabled", effective.enabled, enabled_key, f"{key}.enabled")
    yield find_source(settings, "events", sorted(effective.events), f"{key}.events")
    secret_keys = ["github.webhook_secret"]
    if webhook_secrets(entry.webhook_secret):
        secret_keys.insert(0, f"{key}.webhook_secret")
    # shown, because it is a placeholder
    secrets = f"<{count(len(effective.webhook_secrets), 'secret')}>"
    yield find_source(settings, "webhook_secret", secrets, *secret_keys)
    expected = entry.expect_webhook_within_h
    yield find_source(
        settings, "expect_webhook_within_h", expected, f"{key}.expect_webhook_within_h"
    )
    for section in SECTIONS:
        for name, value in getattr(effective, section):
            path = f"{section}.{name}"
            if name not in REPOSITORY_FIELDS:
                yield _to_sourced(settings, path, value, effective.origins.get(path, NO_ORIGIN))
        if section == "labels":
            yield from _iter_allowed_labels(effective.labels)
    for name, value in effective.variables.items():
        keys = (f"{key}.variables.{name}", f"prompts.variables.{name}")
        yield find_source(settings, f"variables.{name}", value, *keys)
    if not effective.variables:
        yield find_source(settings, "variables", {}, f"{key}.variables")
    yield from _iter_prompts(settings, effective)


def _iter_allowed_labels(labels: EffectiveLabels) -> Iterator[SourcedValue]:
    for globs, source in (
        (labels.organization_allow, labels.organization_allow_source),
        (labels.repository_allow, labels.repository_allow_source),
    ):
        if source:
            yield SourcedValue("labels.allow, and of these", _to_text(globs), source)


def _iter_prompts(settings: Settings, effective: EffectiveSettings) -> Iterator[SourcedValue]:
    for event in effective.use:
        key = f"prompts.use.{event}"
        chosen = effective.find_prompt(event)
        assert chosen is not None  # of the event, at least
        places = (chosen.key, f"{effective.key}.{key}", key)
        yield find_source(settings, key, chosen.prompt, *places)
    if not effective.use:
        yield find_source(settings, "prompts.use", {}, "prompts.use")


def find_source(settings: Settings, key: str, value: object, *paths: str) -> SourcedValue:
    """Return the value with its source: of the key paths that can set it, the first one that a file
    contains.
    """
    present = tuple(path for path in dict.fromkeys(paths) if settings.sources.contains(path))
    return _to_sourced(settings, key, value, Origin(present[:1], present[1:]))


def _to_sourced(settings: Settings, key: str, value: object, origin: Origin) -> SourcedValue:
    where = settings.sources.where
    source = " and ".join(map(where, origin.keys)) or DEFAULT
    return SourcedValue(key, _to_text(value), source, tuple(map(where, origin.overrides)))


def _to_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
