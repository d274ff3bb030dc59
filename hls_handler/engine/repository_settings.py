"""Reads a repository's settings file `.github/hls.yaml`, applies it to deliveries, and comments on its problems."""

from __future__ import annotations

import logging
from dataclasses import replace

from pydantic import TypeAdapter

from hls_handler.engine.job import Codec, Job
from hls_handler.errors import Permanent, Postponed, Retryable, SettingsError
from hls_handler.handlers.reader import FileAtRef
from hls_handler.prompting.prompt import Library
from hls_handler.routing import Ignored, Rule, from_event
from hls_handler.settings.effective import apply_repository_settings
from hls_handler.settings.repository import (
    EMPTY_REPOSITORY_SETTINGS,
    MAX_BYTES,
    PATH,
    RepositorySettings,
    RepositorySettingsFile,
    decode_repository_file,
    merge_with_last_valid,
    parse_repository_file,
)
from hls_handler.settings.yaml_parser import Sources
from hls_handler.store.repositories import StoredFile
from hls_handler.tracing import span
from hls_handler.untrusted.redaction import redact

log = logging.getLogger(__name__)

FRESH_S = 300.0
"""A stored settings file is used for this many seconds. Then it is read from GitHub again."""

SETTINGS_FILE = Codec("repository_settings", 8, TypeAdapter(RepositorySettingsFile))


@span("repository_settings")
def load_repository_settings(job: Job) -> Job:
    """Return the job with the settings of `.github/hls.yaml`; unchanged if the operator's settings disallow the file.

    A retry uses the same version of the file. If GitHub is unavailable or denies access, the version from an earlier
    delivery is used. If there is none, an outage raises `Retryable` or `Postponed`; denied access means empty settings.
    """
    if not job.rule.effective.features.repository_settings:
        return job
    file = job.find_result(SETTINGS_FILE)
    if file is None:
        file = resolve_settings_file(*_load_file(job))
        job.add(SETTINGS_FILE, file)
    applied = without_unknown_prompts(job.config.library, file)
    config = replace(job.config, settings=job.config.settings.with_repository_sources(Sources(PATH, applied.lines)))
    return replace(job, config=config, repository_settings=replace(file, settings=applied))


def apply_to_rule(job: Job) -> Job:
    """Return the job whose rule has the loaded settings of the repository."""
    if job.repository_settings is None:
        return job
    effective = apply_repository_settings(job.rule.effective, job.repository_settings.settings)
    return replace(job, rule=replace(job.rule, effective=effective))


def route_with_repository_settings(job: Job) -> Rule | Ignored:
    """Return the job's rule with the repository's settings applied, or `Ignored` if they exclude the event.

    A repository cannot include an event that the operator's settings exclude.
    """
    if job.repository_settings is None:
        return job.rule
    route = job.router.route_author_comment if job.rule.is_author_comment else job.router.route_enabled
    effective = apply_repository_settings(job.rule.effective, job.repository_settings.settings)
    routed = route(from_event(job.event), effective)
    assert routed is not None  # the event was routed in the same way before
    return routed


def resolve_settings_file(stored: StoredFile | None, read_error: str | None = None) -> RepositorySettingsFile:
    """Return the settings in `stored`; empty settings if it is None. `read_error` is copied to the result.

    If the file is invalid, its last valid version is used, but everything that the invalid file switches off is off.
    """
    if stored is None:
        return RepositorySettingsFile(EMPTY_REPOSITORY_SETTINGS, version=None, read_error=read_error)
    current = EMPTY_REPOSITORY_SETTINGS if stored.text is None else parse_repository_file(stored.text)
    if stored.error is not None:
        current = RepositorySettings(problems=(stored.error,))
    if not current.problems:
        return RepositorySettingsFile(current, stored.version, read_error=read_error)
    last_valid = EMPTY_REPOSITORY_SETTINGS if stored.valid_text is None else parse_repository_file(stored.valid_text)
    return RepositorySettingsFile(
        merge_with_last_valid(current, last_valid),
        stored.version,
        is_invalid=True,
        valid_version=stored.valid_version,
        read_error=read_error,
    )


def to_stored_file(found: FileAtRef | None, before: StoredFile | None) -> StoredFile:
    """Return the value to store for a file that was read from GitHub, with credentials redacted.

    If the file is invalid, the last valid version in `before` is kept. If `found` is None, the file does not exist, and
    no version is kept.
    """
    if found is None:
        return StoredFile(version=None, text=None)
    text = error = None
    try:
        text = redact(_text(found))
    except SettingsError as exc:
        error = exc.problems[0]
    version = found.sha or found.kind
    if text is not None and not parse_repository_file(text).problems:
        return StoredFile(version, text, valid_version=version, valid_text=text)
    valid_version, valid_text = (before.valid_version, before.valid_text) if before else (None, None)
    return StoredFile(version, text, error, valid_version, valid_text)


def without_unknown_prompts(library: Library, file: RepositorySettingsFile, *, path: str = PATH) -> RepositorySettings:
    """Return the file's settings without the entries of `prompts.use` that name no prompt for their event.

    Each removed entry is reported in `problems`. If `file.is_invalid`, the entries are from an older version, and none
    is reported.
    """
    settings, use = file.settings, dict(file.settings.values.prompts.use)
    invalid: dict[str, str] = {}  # event -> problem
    for event, name in settings.values.prompts.use.items():
        fit = [
            other
            for other, prompt in library.prompts.items()
            if other not in library.shadows and event.partition(".")[0] in {on.partition(".")[0] for on in prompt.on}
        ]
        if name is not False and name not in fit:
            choice = f"there are {', '.join(fit)}" if fit else "there is none for it"
            invalid[event] = f"prompts.use.{event}: the operator has no prompt {name} for {event}; {choice}"
            del use[event]
    if not invalid:
        return settings
    values = settings.values.model_copy(update={"prompts": settings.values.prompts.model_copy(update={"use": use})})
    if file.is_invalid:  # the lines are those of an earlier version
        return replace(settings, values=values)
    problems = (
        f"{path}:{settings.lines.get(f'prompts.use.{event}', 1)}: {problem}" for event, problem in invalid.items()
    )
    return replace(settings, values=values, problems=(*settings.problems, *problems))


def _load_file(job: Job) -> tuple[StoredFile | None, str | None]:
    store, repository, bot = job.store, job.event.repository, job.bot.login
    stored = store.repository_files.find(repository.id, bot)
    if stored is not None and stored.age_s < FRESH_S:
        return stored, None
    try:
        with job.record_failure("analysis"):
            job.require_reads_allowed()
            reader = job.context.github.reader(repository.full_name)
            found = reader.find_file(PATH, ref=repository.default_branch)
    except Permanent as exc:  # usually a missing permission; the next read raises other errors
        log.warning("the repository settings cannot be read", extra={"reason": str(exc)})
        return stored, str(exc)
    except (Retryable, Postponed) as exc:
        if stored is None or stored.version is None:
            raise
        return stored, str(exc)
    stored = to_stored_file(found, stored)
    store.repository_files.save(job.lease, repository.id, repository.full_name, bot, stored)
    problems = resolve_settings_file(stored).settings.problems
    if problems:
        log.warning("the repository settings cannot be used", extra={"problems": list(problems)})
    return stored, None


def _text(found: FileAtRef) -> str:
    if found.kind != "file":
        raise SettingsError([f"{PATH} must be a file, but is a {found.kind}"])
    if found.content is None:
        raise SettingsError([f"{PATH} is larger than {MAX_BYTES} bytes, the limit for this file"])
    return decode_repository_file(found.content)
