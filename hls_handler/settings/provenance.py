"""Provenance: every effective value of a repository with the line of the file that sets it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel

from hls_handler.settings.effective import EffectiveSettings
from hls_handler.settings.model import Repository, Settings, webhook_secrets

DEFAULT = "default"
REPOSITORY_FIELDS = ("repository_allow", "repository_allow_source")


@dataclass(frozen=True, slots=True)
class SourcedValue:
    key: str  # "features.drafts": the global key, even if the entry of the repository sets it
    value: str  # as in YAML: "true"; of secrets only their number: "2 secrets"
    source: str  # "config/settings.yaml:14 (repositories[0].features.drafts)", or "default"

    def __str__(self) -> str:
        return f"{self.key} = {self.value}   {self.source}"


def iter_sourced_values(settings: Settings, effective: EffectiveSettings) -> Iterator[SourcedValue]:
    """Yield every value that an entry of `repositories` can set, merged with the global settings."""
    entry = next(entry for entry in settings.repositories if entry.name == effective.pattern)
    yield _sourced_value(
        settings, "enabled", effective.enabled, effective.own_key("enabled") or f"{effective.key}.enabled"
    )
    yield _sourced_value(settings, "events", sorted(effective.events), f"{effective.key}.events")
    yield _secret_count(settings, effective, entry)
    yield _sourced_value(
        settings, "expect_webhook_within_h", entry.expect_webhook_within_h, f"{effective.key}.expect_webhook_within_h"
    )
    yield from _iter_section(settings, "features", effective, effective.features, entry.features)
    yield from _iter_section(settings, "labels", effective, effective.labels, entry.labels)
    if effective.labels.repository_allow_source:
        yield SourcedValue(
            "labels.allow, and of these",
            _to_text(effective.labels.repository_allow),
            effective.labels.repository_allow_source,
        )
    yield from _iter_section(settings, "comments", effective, effective.comments, entry.comments)
    yield from _iter_section(settings, "findings", effective, effective.findings, entry.findings)
    where = effective.paths.where if effective.paths.globs else DEFAULT
    yield SourcedValue("paths.ignore", _to_text(effective.paths.globs), where)
    for event in effective.use:
        chosen = effective.find_prompt(event)
        if chosen is not None:
            yield _sourced_value(settings, f"prompts.use.{event}", *chosen)
    for event in effective.shadows:
        shadow = effective.find_shadow_prompt(event)
        if shadow is not None:
            yield _sourced_value(settings, f"prompts.use.{event}", {"prompt": shadow[0], "shadow": True}, shadow[1])
    if not effective.use and not effective.shadows:
        yield _sourced_value(settings, "prompts.use", {}, "prompts.use")


def _iter_section(
    settings: Settings, name: str, effective: EffectiveSettings, section: BaseModel, overrides: BaseModel
) -> Iterator[SourcedValue]:
    """Yield every key of a section: the repository settings take precedence, then the entry, then the global key.

    `labels.allow` of the repository settings is yielded separately, because both lists apply.
    """
    overridden = overrides.model_dump(exclude_none=True)
    for key in type(section).model_fields:
        if key in REPOSITORY_FIELDS:
            continue
        path = f"{effective.key}.{name}.{key}" if key in overridden else f"{name}.{key}"
        repository_key = None if (name, key) == ("labels", "allow") else effective.own_key(f"{name}.{key}")
        yield _sourced_value(settings, f"{name}.{key}", getattr(section, key), repository_key or path)


def _secret_count(settings: Settings, effective: EffectiveSettings, entry: Repository) -> SourcedValue:
    has_own_secret = bool(webhook_secrets(entry.webhook_secret))
    path = f"{effective.key}.webhook_secret" if has_own_secret else "github.webhook_secret"
    count = len(effective.webhook_secrets)
    return SourcedValue("webhook_secret", f"{count} secret{'s' * (count != 1)}", settings.sources.where(path))


def _sourced_value(settings: Settings, key: str, value: object, path: str) -> SourcedValue:
    return SourcedValue(
        key, _to_text(value), settings.sources.where(path) if settings.sources.contains(path) else DEFAULT
    )


def _to_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
