"""What holds for one repository, value by value, each with the line of the file that says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel

from hls_handler.settings.effective import Effective
from hls_handler.settings.model import Repository, Settings, webhook_secrets

DEFAULT = "default"
NARROWING = ("narrowed_to", "narrowed_at")


@dataclass(frozen=True, slots=True)
class Held:
    key: str  # "features.drafts": the global key, also where the entry of the repository says it
    value: str  # as YAML has it: "true"; of secrets only how many: "2 secrets"
    source: str  # "config/settings.yaml:14 (repositories[0].features.drafts)", or "default"

    def __str__(self) -> str:
        return f"{self.key} = {self.value}   {self.source}"


def held(settings: Settings, effective: Effective) -> Iterator[Held]:
    """Everything that an entry of `repositories` decides, as it holds with the global settings beneath."""
    entry = next(entry for entry in settings.repositories if entry.name == effective.pattern)
    yield _held(settings, "enabled", effective.enabled, effective.own_key("enabled") or f"{effective.key}.enabled")
    yield _held(settings, "events", sorted(effective.events), f"{effective.key}.events")
    yield _secrets(settings, effective, entry)
    yield _held(
        settings, "expect_webhook_within_h", entry.expect_webhook_within_h, f"{effective.key}.expect_webhook_within_h"
    )
    yield from _section(settings, "features", effective, effective.features, entry.features)
    yield from _section(settings, "labels", effective, effective.labels, entry.labels)
    if effective.labels.narrowed_at:
        yield Held("labels.allow, and of these", _shown(effective.labels.narrowed_to), effective.labels.narrowed_at)
    yield from _section(settings, "comments", effective, effective.comments, entry.comments)
    yield from _section(settings, "findings", effective, effective.findings, entry.findings)
    where = effective.paths.where if effective.paths.globs else DEFAULT
    yield Held("paths.ignore", _shown(effective.paths.globs), where)
    for event in effective.use:
        chosen = effective.prompt_for(event)
        if chosen is not None:
            yield _held(settings, f"prompts.use.{event}", *chosen)
    for event in effective.shadows:
        beside = effective.shadow_for(event)
        if beside is not None:
            yield _held(settings, f"prompts.use.{event}", {"prompt": beside[0], "shadow": True}, beside[1])
    if not effective.use and not effective.shadows:
        yield _held(settings, "prompts.use", {}, "prompts.use")


def _section(
    settings: Settings, name: str, effective: Effective, holds: BaseModel, of_entry: BaseModel
) -> Iterator[Held]:
    """Every key of a section: the repository's own file goes before its entry, that before what the whole file says.

    Labels are both's word: what the own file says of them stands in a line for itself.
    """
    said = of_entry.model_dump(exclude_none=True)
    for key in type(holds).model_fields:
        if key in NARROWING:
            continue
        path = f"{effective.key}.{name}.{key}" if key in said else f"{name}.{key}"
        own = None if (name, key) == ("labels", "allow") else effective.own_key(f"{name}.{key}")
        yield _held(settings, f"{name}.{key}", getattr(holds, key), own or path)


def _secrets(settings: Settings, effective: Effective, entry: Repository) -> Held:
    own = bool(webhook_secrets(entry.webhook_secret))
    path = f"{effective.key}.webhook_secret" if own else "github.webhook_secret"
    count = len(effective.webhook_secrets)
    return Held("webhook_secret", f"{count} secret{'s' * (count != 1)}", settings.sources.where(path))


def _held(settings: Settings, key: str, value: object, path: str) -> Held:
    return Held(key, _shown(value), settings.sources.where(path) if settings.sources.writes(path) else DEFAULT)


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
