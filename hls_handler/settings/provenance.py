"""What holds for one repository, value by value, each with the line of the file that says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel

from hls_handler.settings.effective import Effective
from hls_handler.settings.model import Repository, Settings, webhook_secrets

DEFAULT = "default"


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
    yield _held(settings, "enabled", effective.enabled, f"{effective.key}.enabled")
    yield _held(settings, "events", sorted(effective.events), f"{effective.key}.events")
    yield _secrets(settings, effective, entry)
    yield from _section(settings, "features", effective.features, f"{effective.key}.features", entry.features)
    yield from _section(settings, "labels", effective.labels, f"{effective.key}.labels", entry.labels)
    yield from _section(settings, "comments", effective.comments, f"{effective.key}.comments", entry.comments)
    yield _held(settings, "paths.ignore", list(effective.paths.globs), f"{effective.key}.paths.ignore")
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


def _section(settings: Settings, name: str, holds: BaseModel, own_path: str, own: BaseModel) -> Iterator[Held]:
    """Every key of a section; what the entry says of it (`own`) goes before what the whole file says."""
    said = own.model_dump(exclude_none=True)
    for key in type(holds).model_fields:
        path = f"{own_path}.{key}" if key in said else f"{name}.{key}"
        yield _held(settings, f"{name}.{key}", getattr(holds, key), path)


def _secrets(settings: Settings, effective: Effective, entry: Repository) -> Held:
    own = bool(webhook_secrets(entry.webhook_secret))
    path = f"{effective.key}.webhook_secret" if own else "github.webhook_secret"
    count = len(effective.webhook_secrets)
    return Held("webhook_secret", f"{count} secret{'s' * (count != 1)}", settings.sources.where(path))


def _held(settings: Settings, key: str, value: object, path: str) -> Held:
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return Held(key, shown, settings.sources.where(path) if path in settings.sources.lines else DEFAULT)
