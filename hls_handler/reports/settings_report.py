"""Settings with the place that sets each value, for `hls config explain`. Secrets are masked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel, SecretStr

from hls_handler.engine.repository_settings import resolve_settings_file, without_unknown_prompts
from hls_handler.prompting.prompt import Library
from hls_handler.settings.effective import (
    EffectiveSettings,
    SourcedValue,
    apply_repository_settings,
    find_source,
    iter_sourced_values,
)
from hls_handler.settings.environment import proxy_passwords
from hls_handler.settings.load import collect_secrets
from hls_handler.settings.model import Settings
from hls_handler.settings.repository import (
    EMPTY_REPOSITORY_SETTINGS,
    PATH,
    RepositorySettings,
    organization_file,
)
from hls_handler.store.repositories import StoredFile
from hls_handler.untrusted.redaction import MASK, compile_secrets, redact


@dataclass(frozen=True, slots=True)
class RepositoryFileState:
    """A settings file of a repository or an organisation: the settings that apply, and a sentence
    about the file.
    """

    settings: RepositorySettings
    sentence: str
    source: str = ""  # what switches the file off, or when it was read


@dataclass(frozen=True, slots=True)
class RepositoryReport:
    # "name", the pattern of the entry of `repositories` that applies, and its line
    entry: SourcedValue
    # other entries that match: "octo/*   hls.yaml:4 (...): it is less specific, or ..."
    precedence: tuple[str, ...]
    # what is known about `.github/hls.yaml`, and about the organisation's file
    files: tuple[SourcedValue, ...]
    values: tuple[SourcedValue, ...]


def describe_repository_files(
    settings: Settings,
    effective: EffectiveSettings,
    repository: str,
    find: Callable[[str], StoredFile | None],
    library: Callable[[], Library],
    *,
    is_live: bool = False,
) -> list[RepositoryFileState]:
    """Return what applies of the repository's stored file, and of its organisation's if one is
    stored.

    `find` returns the stored file of "owner/repo" or "owner". `library` is called only if a file
    chooses prompts.
    """
    if not effective.features.repository_settings:
        where = effective.where("features.repository_settings", settings)
        return [
            RepositoryFileState(EMPTY_REPOSITORY_SETTINGS, "ignored, because switched off", where)
        ]
    owner = repository.partition("/")[0]
    states = list[RepositoryFileState]()
    for name, path in ((repository, PATH), (owner, organization_file(owner))):
        stored = find(name)
        if stored is None:
            if path == PATH:
                states.append(RepositoryFileState(EMPTY_REPOSITORY_SETTINGS, "not read yet"))
            continue
        file = resolve_settings_file(stored, path=path)
        if "prompts" in file.settings.values:
            file = replace(file, settings=without_unknown_prompts(library(), file))
        when = f"{stored.age_s:.0f} s ago"
        if is_live:
            when = "now"
        sentence = file.describe() or "the file does not exist"
        states.append(RepositoryFileState(file.settings, sentence, f"read {when}"))
    return states


def report_repository(
    settings: Settings, matching: Sequence[EffectiveSettings], files: Sequence[RepositoryFileState]
) -> RepositoryReport:
    """Return the report. `matching` are the entries that match the repository, the most specific
    one first.
    """
    chosen, *others = matching
    effective = apply_repository_settings(chosen, *(file.settings for file in files))
    merged = settings.with_repository_sources(*(file.settings.sources for file in files))
    mask = make_mask(settings)
    where = settings.sources.where
    precedence = (
        f"{other.pattern}   {where(f'{other.key}.name')}: it is less specific, or comes later"
        for other in others
    )
    return RepositoryReport(
        entry=SourcedValue("name", mask(chosen.pattern), where(f"{chosen.key}.name")),
        precedence=tuple(map(mask, precedence)),
        files=tuple(
            SourcedValue(file.settings.file, mask(file.sentence), file.source) for file in files
        ),
        values=tuple(_mask_value(value, mask) for value in iter_sourced_values(merged, effective)),
    )


def _mask_value(value: SourcedValue, mask: Callable[[str], str]) -> SourcedValue:
    """Return the value as text that may be shown. The last part of its key may say that it is a
    password.
    """
    name = f'"{value.key.rpartition(".")[2]}": "'
    masked_line = mask(f'{name}{value.value}"')
    if masked_line.startswith(name) and masked_line.endswith('"'):
        return replace(value, value=masked_line[len(name) : -1])
    return replace(value, value=mask(value.value))


def report_service(settings: Settings) -> list[SourcedValue]:
    """Return the values of all sections; of `repositories` the names."""
    mask = make_mask(settings)
    values = list[SourcedValue]()
    for name, section in settings:
        if isinstance(section, BaseModel):
            for path, value in _iter_values(name, section):
                values.append(find_source(settings, path, value))
    for index, entry in enumerate(settings.repositories):
        key = f"repositories[{index}].name"
        values.append(find_source(settings, key, entry.name))
    return [replace(value, value=mask(value.value)) for value in values]


def _iter_values(path: str, section: BaseModel) -> Iterator[tuple[str, object]]:
    for name, value in section:
        key = f"{path}.{name}"
        if isinstance(value, BaseModel):
            yield from _iter_values(key, value)
        else:
            yield key, _to_json(value)


def _to_json(value: object) -> object:
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, BaseModel):
        return {name: _to_json(item) for name, item in value}
    if isinstance(value, Mapping):
        return {str(name): _to_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value


def make_mask(settings: Settings) -> Callable[[str], str]:
    """Return a function that masks the secrets of the settings and whatever looks like a
    credential.

    An operator may have written a secret to a key that is not one.
    """
    secrets = compile_secrets({*collect_secrets(settings), *proxy_passwords()})
    return lambda text: redact(secrets.sub(MASK, text))
