"""Effective settings of a repository: the global settings, overridden by the repository's entry in
`repositories`.

`apply_repository_settings` also applies the repository's own `.github/hls.yaml`, and `hls.yaml` of
its organisation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import translate
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel

from hls_handler.analysis import Severity
from hls_handler.settings.model import (
    EffectiveLabels,
    Features,
    Findings,
    Labels,
    PullRequests,
    Repository,
    RepositoryComments,
    RepositoryRetrieval,
    Review,
    Settings,
    Similar,
)
from hls_handler.settings.repository import (
    LABEL_SWITCHES,
    REVIEW_SWITCHES,
    RepositoryFileFeatures,
    RepositoryFileRetrieval,
    RepositoryFileReview,
    RepositorySettings,
    merge_files,
)
from hls_handler.settings.values import (
    PathFilter,
    PromptUse,
    ShadowPrompt,
    VariableValue,
    webhook_secrets,
)
from hls_handler.settings.yaml_parser import value_at
from hls_handler.wording import count

Choice = TypeVar("Choice")


@dataclass(frozen=True, slots=True)
class EffectiveSettings:
    """The global settings, overridden by an entry of `repositories` and, if applied, by a
    `.github/hls.yaml`.
    """

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
    paths: PathFilter
    # event -> (prompt name or False, key path that sets it)
    use: Mapping[str, tuple[str | Literal[False], str]]
    # event -> (name of the shadow prompt, key path that sets it)
    shadows: Mapping[str, tuple[str, str]]
    webhook_secrets: tuple[bytes, ...] = field(repr=False)
    variables: Mapping[str, VariableValue]  # `config` in templates
    # "enabled" -> ".github/hls.yaml:enabled"
    repository_keys: Mapping[str, str] = field(default_factory=dict)
    files: tuple[
        str, ...
    ] = ()  # settings files of repositories that apply, the one with precedence first

    @property
    def review_label(self) -> str | None:
        """The label that asks for reviews, by `review.when`; None if none does."""
        asks, _, label = self.review.when.partition("label:")
        return label if not asks else None

    def find_key(self, key: str, settings: Settings) -> str:
        """Return the key path that sets a key, such as "repositories[0].features.bots" for
        "features.bots".
        """
        entry_key = f"{self.key}.{key}"
        return self.repository_keys.get(key) or (
            entry_key if settings.sources.contains(entry_key) else key
        )

    def find_prompt(self, event_key: str) -> tuple[str | Literal[False], str] | None:
        """Return (prompt, key path that chooses it) for an event: ("issues/strict",
        "prompts.use.issues.opened").

        The prompt is False if the settings say that none runs. Returns None if no `prompts.use` has
        the event. Precedence: the repository's file, the organisation's, `repositories`, global
        settings. In each, "issues.opened" precedes "issues".
        """
        return self._choose(self.use, event_key)

    def find_shadow_prompt(self, event_key: str) -> tuple[str, str] | None:
        """Return (shadow prompt, key path that chooses it) for an event; None if there is no shadow
        prompt.
        """
        return self._choose(self.shadows, event_key)

    def _choose(
        self, choices: Mapping[str, tuple[Choice, str]], event_key: str
    ) -> tuple[Choice, str] | None:
        matching = [
            choices[key] for key in (event_key, event_key.partition(".")[0]) if key in choices
        ]
        for origin in (*(f"{file}:" for file in self.files), f"{self.key}.", ""):
            for choice in matching:
                if choice[1].startswith(origin):
                    return choice
        return None

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
        ranked = sorted(
            enumerate(settings.repositories),
            key=lambda item: _specificity(item[1].name),
            reverse=True,
        )
        matchers = [name_matcher(entry.name) for _, entry in ranked]
        effective = [_build_effective(settings, index, entry) for index, entry in ranked]
        self._entries = tuple(zip(matchers, effective, strict=True))
        self._found: dict[str, EffectiveSettings | None] = {}

    def find(self, full_name: str) -> EffectiveSettings | None:
        """Return the settings of the most specific entry that matches "owner/repo", ignoring case;
        else None.
        """
        if full_name in self._found:
            return self._found[full_name]
        found = next(iter(self.find_all(full_name)), None)
        if len(self._found) < 10_000:  # bounded, because anybody can send any name
            self._found[full_name] = found
        return found

    def all(self) -> tuple[EffectiveSettings, ...]:
        """Return the settings of every entry, the most specific entry first."""
        return tuple(effective for _, effective in self._entries)

    def find_all(self, full_name: str) -> tuple[EffectiveSettings, ...]:
        """Return the settings of every entry that matches "owner/repo", the most specific entry
        first.
        """
        return tuple(effective for matches, effective in self._entries if matches(full_name))


def is_pattern(name: str) -> bool:
    """Return True if the name of an entry of `repositories`, or a part of it, has a wildcard."""
    return any(wildcard in name for wildcard in "*?[")


def find_unneeded_permissions(table: RepositoryTable) -> frozenset[str]:
    """Return the permissions of a GitHub App that no enabled entry of `repositories` needs."""
    sets_checks = any(
        one.enabled and (one.review.check or one.pull_requests.title == "check")
        for one in table.all()
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


def _build_effective(settings: Settings, index: int, entry: Repository) -> EffectiveSettings:
    key = f"repositories[{index}]"
    choices = [
        *_iter_prompt_choices(settings.prompts.use, "prompts.use"),
        *_iter_prompt_choices(entry.prompts.use, f"{key}.prompts.use"),
    ]
    return EffectiveSettings(
        key=key,
        pattern=entry.name,
        enabled=entry.enabled,
        events=frozenset(entry.events),
        features=settings.features.model_copy(update=entry.features.model_dump(exclude_unset=True)),
        labels=EffectiveLabels.model_validate(_override(settings.labels, entry.labels)),
        findings=Findings.model_validate(_override(settings.findings, entry.findings)),
        review=Review.model_validate(_override(settings.review, entry.review)),
        pull_requests=PullRequests.model_validate(
            _override(settings.pull_requests, entry.pull_requests)
        ),
        retrieval=RepositoryRetrieval(enabled=settings.retrieval.enabled).model_copy(
            update=entry.retrieval.model_dump(exclude_unset=True)
        ),
        similar=Similar.model_validate(_override(settings.similar, entry.similar)),
        comments=RepositoryComments.model_validate(_override(settings.comments, entry.comments)),
        paths=PathFilter(entry.paths.ignore, settings.sources.where(f"{key}.paths.ignore")),
        use={choice.event: (choice.prompt, choice.key) for choice in choices if not choice.shadow},
        shadows={
            choice.event: (str(choice.prompt), choice.key) for choice in choices if choice.shadow
        },
        webhook_secrets=webhook_secrets(entry.webhook_secret)
        or webhook_secrets(settings.github.webhook_secret),
        variables={**settings.prompts.variables, **entry.variables},
    )


def without_entry(settings: Settings) -> EffectiveSettings:
    """Return the settings of a repository that no entry of `repositories` matches, for trying
    prompts.
    """
    return _build_effective(settings, len(settings.repositories), Repository(name="*/*"))


def _override(section: BaseModel, overrides: BaseModel) -> dict[str, Any]:
    return {**section.model_dump(), **overrides.model_dump(exclude_unset=True)}


def apply_repository_settings(
    effective: EffectiveSettings, *files: RepositorySettings
) -> EffectiveSettings:
    """Return `effective`, changed by the settings in a `.github/hls.yaml`, and in the
    organisation's file behind it.

    They can switch features, retrieval and parts of reviews off, allow fewer labels, ignore more
    files and let more findings fail the check, but not the opposite. They can also replace values
    of `comments` and `findings`, and choose other prompts. The first file that has a key sets it,
    but lists of labels and of paths apply together.
    """
    values = merge_files(*files)
    changes: dict[str, dict[str, Any]] = {
        "features": _switch_off(
            effective.features, values.features, RepositoryFileFeatures.model_fields
        ),
        "labels": _switch_off(effective.labels, values.labels, LABEL_SWITCHES),
        "review": _restrict_review(effective.review, values.review),
        "pull_requests": _switch_off(
            effective.pull_requests, values.pull_requests, ("title", "reviewers")
        ),
        "retrieval": _switch_off(
            effective.retrieval, values.retrieval, RepositoryFileRetrieval.model_fields
        ),
        "comments": values.comments.model_dump(exclude_none=True),
        "findings": values.findings.model_dump(exclude_none=True),
    }
    for key in ("min_confidence", "min_field_confidence"):
        if (getattr(values.labels, key) or 0) > getattr(effective.labels, key):
            changes["labels"][key] = getattr(values.labels, key)
    if values.pull_requests.title_types is not None:
        changes["pull_requests"]["title_types"] = values.pull_requests.title_types
    decided = {f"{section}.{key}" for section, changed in changes.items() for key in changed}
    if effective.enabled and values.enabled is False:
        decided.add("enabled")
    paths = effective.paths
    use = dict(effective.use)
    lists = dict[str, str]()
    for file, of in zip(files, ("repository", "organization"), strict=False):
        labels = file.values.labels
        ignored = file.values.paths.ignore
        if labels.allow is not None:
            source = file.sources.where("labels.allow")
            changes["labels"] |= {f"{of}_allow": labels.allow, f"{of}_allow_source": source}
            lists.setdefault("labels.allow", f"{file.file}:labels.allow")
        if labels.deny:
            changes["labels"]["deny"] = (
                *changes["labels"].get("deny", effective.labels.deny),
                *labels.deny,
            )
            lists.setdefault("labels.deny", f"{file.file}:labels.deny")
        if ignored:
            where = " and ".join(
                [*([paths.where] if paths.globs else []), file.sources.where("paths.ignore")]
            )
            paths = PathFilter((*paths.globs, *ignored), where)
            lists.setdefault("paths.ignore", f"{file.file}:paths.ignore")
    for file in reversed(files):
        use |= {
            event: (name, f"{file.file}:prompts.use.{event}")
            for event, name in file.values.prompts.use.items()
        }
    # without lines of empty or invalid keys
    given = {file.file: file.values.model_dump() for file in files}
    keys = {
        key: next(f"{file}:{key}" for file in given if value_at(given[file], key) is not None)
        for key in decided
    }
    sections = {
        name: getattr(effective, name).model_copy(update=part)
        for name, part in changes.items()
        if part
    }
    return replace(
        effective,
        enabled=effective.enabled and values.enabled is not False,
        paths=paths,
        use=use,
        repository_keys=keys | lists,
        files=tuple(file.file for file in files),
        **sections,
    )


def _switch_off(section: BaseModel, wanted: BaseModel, names: Iterable[str]) -> dict[str, Any]:
    return {
        name: False for name in names if getattr(section, name) and getattr(wanted, name) is False
    }


def _restrict_review(review: Review, wanted: RepositoryFileReview) -> dict[str, Any]:
    """Return the values of `wanted` that restrict `review`, by name. A severity that more findings
    reach does so.
    """
    values = _switch_off(review, wanted, REVIEW_SWITCHES)
    if wanted.max_inline is not None and wanted.max_inline < review.max_inline:
        values["max_inline"] = wanted.max_inline
    severities = get_args(Severity)  # most severe first
    if wanted.fail_on is not None and (
        review.fail_on is None
        or severities.index(wanted.fail_on) > severities.index(review.fail_on)
    ):
        values["fail_on"] = wanted.fail_on
    return values


@dataclass(frozen=True, slots=True)
class PromptChoice:
    key: str  # key path: "repositories[0].prompts.use.issues.opened"
    event: str  # "issues.opened", or "issues" for all its actions
    prompt: str | Literal[False]  # False: no prompt runs
    shadow: bool  # True: the prompt also runs, after the event's own prompt, and posts nothing


def _iter_prompt_choices(use: Mapping[str, PromptUse], path: str) -> Iterator[PromptChoice]:
    for event, value in use.items():
        if isinstance(value, ShadowPrompt):
            yield PromptChoice(f"{path}.{event}", event, value.prompt, shadow=True)
        else:
            yield PromptChoice(f"{path}.{event}", event, value, shadow=False)


def list_prompt_choices(settings: Settings) -> tuple[PromptChoice, ...]:
    """Return all choices in the settings file: those of the global `prompts.use`, then those of
    `repositories`.
    """
    choices = [*_iter_prompt_choices(settings.prompts.use, "prompts.use")]
    for index, entry in enumerate(settings.repositories):
        choices += _iter_prompt_choices(entry.prompts.use, f"repositories[{index}].prompts.use")
    return tuple(choices)


def find_chosen_events(settings: Settings) -> frozenset[str]:
    """Return the keys of every `prompts.use`, such as "issues.opened". Shadow prompts do not
    count.
    """
    return frozenset(choice.event for choice in list_prompt_choices(settings) if not choice.shadow)


def find_chosen_prompts(settings: Settings) -> frozenset[str]:
    """Return the prompts that a `prompts.use` names. Shadow prompts do not count."""
    return frozenset(
        str(choice.prompt) for choice in list_prompt_choices(settings) if not choice.shadow
    )


def find_shadow_only_prompts(settings: Settings) -> frozenset[str]:
    """Return the prompts that the settings file uses only as shadow prompts."""
    choices = list_prompt_choices(settings)
    return frozenset(
        str(choice.prompt) for choice in choices if choice.shadow
    ) - find_chosen_prompts(settings)


DEFAULT = "default"
REPOSITORY_FIELDS = EffectiveLabels.model_fields.keys() - Labels.model_fields.keys()


@dataclass(frozen=True, slots=True)
class SourcedValue:
    """The value of one key, and the place that sets it."""

    key: str  # "labels.allow"
    value: str  # JSON, but a text has no quotes
    # "default", or file, line and key: "config/settings.yaml:14 (repositories[0].features.drafts)"
    source: str
    overrides: tuple[
        str, ...
    ] = ()  # other places that set the key, which `source` has precedence over

    def __str__(self) -> str:
        return f"{self.key} = {self.value}{f'   {self.source}' if self.source else ''}"


def iter_sourced_values(settings: Settings, effective: EffectiveSettings) -> Iterator[SourcedValue]:
    """Yield the value of each key that an entry of `repositories` can set. `settings` has the lines
    of both files.
    """
    key = effective.key
    entry = next(entry for entry in settings.repositories if entry.name == effective.pattern)
    enabled_keys = (effective.repository_keys.get("enabled"), f"{key}.enabled")
    yield find_source(settings, "enabled", effective.enabled, *enabled_keys)
    yield find_source(settings, "events", sorted(effective.events), f"{key}.events")
    secret_keys = [f"{key}.webhook_secret"] if webhook_secrets(entry.webhook_secret) else []
    secrets = (  # shown, because it is a placeholder
        f"<{count(len(effective.webhook_secrets), 'secret')}>"
    )
    yield find_source(settings, "webhook_secret", secrets, *secret_keys, "github.webhook_secret")
    expected_key = "expect_webhook_within_h"
    yield find_source(
        settings, expected_key, entry.expect_webhook_within_h, f"{key}.{expected_key}"
    )
    for section in (
        "features",
        "labels",
        "comments",
        "findings",
        "review",
        "pull_requests",
        "retrieval",
        "similar",
    ):
        yield from _iter_section(settings, effective, section, getattr(entry, section))
        for of in ("organization", "repository") if section == "labels" else ():
            if source := getattr(effective.labels, f"{of}_allow_source"):
                allowed = _to_text(getattr(effective.labels, f"{of}_allow"))
                yield SourcedValue("labels.allow, and of these", allowed, source)
    for name, value in effective.variables.items():
        keys = (f"{key}.variables.{name}", f"prompts.variables.{name}")
        yield find_source(settings, f"variables.{name}", value, *keys)
    if not effective.variables:
        yield find_source(settings, "variables", {}, f"{key}.variables")
    where = effective.paths.where if effective.paths.globs else DEFAULT
    yield SourcedValue("paths.ignore", _to_text(effective.paths.globs), where)
    for event in effective.use:
        if (chosen := effective.find_prompt(event)) is not None:
            prompt, source = chosen
            entry_keys = (f"{key}.prompts.use.{event}", f"prompts.use.{event}")
            yield find_source(settings, f"prompts.use.{event}", prompt, source, *entry_keys)
    for event in effective.shadows:
        if (shadow := effective.find_shadow_prompt(event)) is not None:
            yield find_source(
                settings, f"prompts.use.{event}", {"prompt": shadow[0], "shadow": True}, shadow[1]
            )
    if not effective.use and not effective.shadows:
        yield find_source(settings, "prompts.use", {}, "prompts.use")


def _iter_section(
    settings: Settings, effective: EffectiveSettings, name: str, overrides: BaseModel
) -> Iterator[SourcedValue]:
    overridden = overrides.model_fields_set
    for key, value in getattr(effective, name):
        if key in REPOSITORY_FIELDS:
            continue
        entry_key = f"{effective.key}.{name}.{key}" if key in overridden else None
        # The caller adds lines for the labels that files of repositories allow.
        repository_key = (
            None
            if (name, key) == ("labels", "allow")
            else effective.repository_keys.get(f"{name}.{key}")
        )
        one = find_source(
            settings, f"{name}.{key}", value, repository_key, entry_key, f"{name}.{key}"
        )
        if key == "deny" and repository_key is not None:  # the lists of all files apply together
            own = find_source(settings, key, value, entry_key, f"{name}.{key}").source
            added = [
                find_source(settings, key, value, f"{file}:{name}.{key}").source
                for file in effective.files
            ]
            one = SourcedValue(
                one.key,
                one.value,
                " and ".join(where for where in (own, *added) if where != DEFAULT),
            )
        yield one


def find_source(settings: Settings, key: str, value: object, *paths: str | None) -> SourcedValue:
    """Return the value with its source: of the key paths that can set it, the first one that a file
    contains.
    """
    found = dict.fromkeys(
        path for path in paths if path is not None and settings.sources.contains(path)
    )
    source, *overrides = (settings.sources.where(path) for path in found) if found else (DEFAULT,)
    return SourcedValue(key, _to_text(value), source, tuple(overrides))


def _to_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
