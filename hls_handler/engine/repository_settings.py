"""Reads the settings files of a repository and of its organisation, and applies them to
deliveries.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

from hls_handler.engine.codecs import SETTINGS_FILE
from hls_handler.engine.job import DeliveryJob
from hls_handler.errors import AppNotInstalled, Permanent, Postponed, Retryable, SettingsError
from hls_handler.github.client import Github
from hls_handler.github.values import FileAtRef
from hls_handler.prompting.prompt import Library
from hls_handler.routing import Ignored, RoutingInput, Rule, from_event
from hls_handler.settings.effective import EffectiveSettings, apply_repository_settings
from hls_handler.settings.repository import (
    MAX_BYTES,
    ORGANIZATION_PATH,
    PATH,
    RepositorySettings,
    RepositorySettingsFile,
    decode_repository_file,
    organization_file,
    parse_repository_file,
)
from hls_handler.store.repositories import StoredFile
from hls_handler.untrusted.redaction import redact

log = logging.getLogger(__name__)

FRESH_S = 300.0
ORGANIZATION_FRESH_S = 3600.0
"""A stored settings file is used for this many seconds. Then it is read from GitHub again."""


def load_repository_settings(job: DeliveryJob) -> DeliveryJob:
    """Return the job with the settings of `.github/hls.yaml` and of the organisation's file.

    It is unchanged if the operator's settings disallow them. A retry uses the same version of each
    file. If GitHub is unavailable or denies access, the version from an earlier delivery is used.
    If there is none, an outage raises `Retryable` or `Postponed`; denied access means empty
    settings.
    """
    if not job.rule.effective.features.repository_settings or job.repository_settings is not None:
        return job
    stored = [job.find_result(SETTINGS_FILE, index) for index in range(2)]
    loaded = [file for file in stored if file is not None]
    if stored[0] is None:
        loaded = _load_files(job)
        for index, file in enumerate(loaded):
            if index == 0 or file.version is not None:
                job.add(SETTINGS_FILE, file, index)
    files = [
        replace(file, settings=without_unknown_prompts(job.config.library, file)) for file in loaded
    ]
    settings = job.config.settings.with_repository_sources(
        *(read.settings.sources for read in files)
    )
    config = replace(job.config, settings=settings)
    others = tuple(read.settings for read in files[1:])
    return replace(job, config=config, repository_settings=files[0], organization_settings=others)


def apply_to_rule(job: DeliveryJob) -> DeliveryJob:
    """Return the job whose rule has the loaded settings of the repository."""
    return replace(job, rule=replace(job.rule, effective=_apply(job)))


def _apply(job: DeliveryJob) -> EffectiveSettings:
    if job.repository_settings is None:
        return job.rule.effective
    file_settings = job.repository_settings.settings
    return apply_repository_settings(job.rule.effective, file_settings, *job.organization_settings)


def route_with_repository_settings(job: DeliveryJob) -> Rule | Ignored:
    """Return the job's rule with the repository's settings applied, or `Ignored` if they exclude
    the event.

    A repository cannot include an event that the operator's settings exclude.
    """
    if job.repository_settings is None:
        return job.rule
    route: Callable[[RoutingInput, EffectiveSettings], Rule | Ignored | None]
    if job.rule.is_author_comment:
        route = job.router.route_author_comment
    elif job.rule.thread is not None:
        route = job.router.route_thread_question
    else:
        route = job.router.route_enabled
    routed = route(from_event(job.event), _apply(job))
    assert routed is not None  # the event was routed in the same way before
    return routed


def resolve_settings_file(
    stored: StoredFile | None, read_error: str | None = None, *, path: str = PATH
) -> RepositorySettingsFile:
    """Return the settings in `stored`; empty settings if it is None. `read_error` is copied to the
    result.

    If the file has mistakes, its valid part applies over the last valid version.
    """
    empty = RepositorySettings(file=path)
    if stored is None:
        return RepositorySettingsFile(empty, version=None, read_error=read_error)
    last_valid = parse_repository_file(stored.valid_text or "", path)
    settings = parse_repository_file(stored.text or "", path, last_valid)
    if stored.error is not None:
        settings = replace(last_valid, problems=(stored.error,))
    valid_version = stored.valid_version if settings.problems else None
    return RepositorySettingsFile(settings, stored.version, valid_version, read_error)


def find_organization_file(github: Github, owner: str) -> FileAtRef | None:
    """Return the organisation's file on the default branch; None if GitHub answers 404 for it or
    the installation.
    """
    with suppress(AppNotInstalled):
        return github.reader(f"{owner}/.github").find_file(ORGANIZATION_PATH, ref=None)
    return None


def to_stored_file(
    content: FileAtRef | None, before: StoredFile | None, path: str = PATH
) -> StoredFile:
    """Return the value to store for a file that was read from GitHub, with credentials redacted.

    If the file is invalid, the last valid version in `before` is kept. If `found` is None, the file
    does not exist, and no version is kept.
    """
    if content is None:
        return StoredFile(version=None, text=None)
    text = error = None
    try:
        text = redact(_text(content, path))
    except SettingsError as exc:
        error = exc.problems[0]
    version = content.sha or content.kind
    if text is not None and not parse_repository_file(text, path).problems:
        return StoredFile(version, text, valid_version=version, valid_text=text)
    file = StoredFile(version, text, error)
    if before is None:
        return file
    return replace(file, valid_version=before.valid_version, valid_text=before.valid_text)


def without_unknown_prompts(library: Library, file: RepositorySettingsFile) -> RepositorySettings:
    """Return the file's settings without the entries of `prompts.use` that name no prompt for their
    event.

    Each removed entry is reported in `problems`.
    """
    settings = file.settings
    chosen: Mapping[str, str | Literal[False]] = settings.values.get("prompts", {}).get("use", {})
    invalid: dict[str, str] = {}  # event -> problem
    for event, name in chosen.items():
        fit = [
            other
            for other, prompt in library.prompts.items()
            if event.partition(".")[0] in {on.partition(".")[0] for on in prompt.on}
        ]
        if name is not False and name not in fit:
            choice = "there is none for it"
            if fit:
                choice = f"there are {', '.join(fit)}"
            invalid[event] = (
                f"prompts.use.{event}: the operator has no prompt {name} for {event}; {choice}"
            )
    if not invalid:
        return settings
    use = {event: name for event, name in chosen.items() if event not in invalid}
    values = {**settings.values, "prompts": {"use": use}}
    problems = (
        f"{settings.file}:{settings.lines.get(f'prompts.use.{event}', 1)}: {problem}"
        for event, problem in invalid.items()
    )
    return replace(settings, values=values, problems=(*settings.problems, *problems))


def _load_files(job: DeliveryJob) -> list[RepositorySettingsFile]:
    """Return the repository's file, and that of its owner if it is an organisation."""
    repository = job.event.repository
    owner = repository.owner
    organization_id = job.event.organization_id
    places = [_Place(repository.id, repository.full_name, PATH, FRESH_S)]
    if organization_id is not None:
        path = organization_file(owner)
        places.append(_Place(-organization_id, owner, path, ORGANIZATION_FRESH_S))
    stored = job.store.repository_files.find(job.bot.login, *(place.id for place in places))
    files = [_load_file(job, stored.get(place.id), place) for place in reversed(places)]
    return files[::-1]


@dataclass(frozen=True, slots=True)
class _Place:
    """The place of a settings file: its id and name in the database, its path, and how long it is
    used.
    """

    id: int
    name: str
    path: str
    fresh_s: float


def _load_file(
    job: DeliveryJob, stored: StoredFile | None, place: _Place
) -> RepositorySettingsFile:
    """Return the file in `stored`, or as GitHub has it if it is too old; then it is stored again.

    After denied access, the last known version is stored again, so that it is not requested for
    each delivery.
    """
    path = place.path
    read_error = None
    if stored is not None and stored.age_s < place.fresh_s:
        return resolve_settings_file(stored, path=path)
    try:
        with job.record_failure("analysis"):
            job.require_reads_allowed()
            stored = to_stored_file(_read(job, path), stored, path)
    except Permanent as exc:  # usually a missing permission; the next read raises other errors
        log.warning("the repository settings cannot be read", extra={"reason": str(exc)})
        stored = stored or StoredFile(version=None, text=None)
        read_error = str(exc)
    except (Retryable, Postponed) as exc:
        if stored is None or stored.version is None:
            raise
        return resolve_settings_file(stored, str(exc), path=path)
    job.store.repository_files.save(job.lease, place.id, place.name, job.bot.login, stored)
    file = resolve_settings_file(stored, read_error, path=path)
    problems = without_unknown_prompts(job.config.library, file).problems
    if problems:
        log.warning("the repository settings cannot be used", extra={"problems": list(problems)})
    return file


def _read(job: DeliveryJob, path: str) -> FileAtRef | None:
    github = job.context.github
    repository = job.event.repository
    if path == PATH:
        reader = github.reader(repository.full_name)
        return reader.find_file(PATH, ref=repository.default_branch)
    return find_organization_file(github, repository.owner)


def _text(file: FileAtRef, path: str) -> str:
    if file.kind != "file":
        raise SettingsError([f"{path} must be a file, but is a {file.kind}"])
    if file.content is None:
        raise SettingsError([f"{path} is larger than {MAX_BYTES} bytes, the limit for this file"])
    return decode_repository_file(file.content, path)
