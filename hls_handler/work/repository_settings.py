"""Repository settings (`.github/hls.yaml`): read from the default branch, applied to the rule, problems reported."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from pydantic import TypeAdapter

from hls_handler.actions import Outcome
from hls_handler.errors import Permanent, Postponed, Retryable, SettingsError
from hls_handler.handlers.handler import Thread
from hls_handler.handlers.reader import FileAtRef
from hls_handler.history.repositories import KnownFile
from hls_handler.prompting.prompt import Library
from hls_handler.routing import Ignored, Rule, from_event, route_with_settings
from hls_handler.settings.effective import apply_repository_settings
from hls_handler.settings.repository import (
    EMPTY_REPOSITORY_SETTINGS,
    MAX_BYTES,
    PATH,
    RepositorySettings,
    RepositorySettingsFile,
    build_problems_comment,
    decode_repository_file,
    merge_with_last_valid,
    parse_repository_file,
)
from hls_handler.settings.yaml_parser import Sources
from hls_handler.untrusted.redaction import redact
from hls_handler.work.job import Job
from hls_handler.work.memory import Codec
from hls_handler.work.posting import ensure_comment

log = logging.getLogger(__name__)

FRESH_S = 300.0
"""Seconds for which a read file is used without a new request."""

OWN_FILE = Codec("own_settings", 1, TypeAdapter(RepositorySettingsFile))


def load_repository_settings(job: Job) -> Job:
    """Return the job with its repository's settings file, read from the default branch at most every `FRESH_S`.

    The file is stored as a checkpoint, so a retry uses the same version. Returns the job unchanged if the feature is
    off. Raises the errors of `Reader` if the file cannot be read and no earlier version of it is stored.
    """
    if not job.rule.effective.features.repository_settings:
        return job
    stored = OWN_FILE.decode(job.steps.get((OWN_FILE.name, 0)))
    file = stored or parse_known_file(*_load_file(job))
    if stored is None:
        job.pending.append(OWN_FILE.encode(file, index=0, took_s=0.0))
    own = with_prompts_of(job.now.library, file)
    now = replace(job.now, settings=job.now.settings.beside(Sources(PATH, own.lines)))
    return replace(job, now=now, own_file=replace(file, own=own))


def route_by_repository_settings(job: Job) -> Rule | Ignored:
    """Return the rule changed by the repository's settings file, or `Ignored` if the file excludes the event.

    The file can exclude events that the operator's settings include, but it cannot include others.
    """
    if job.own_file is None:
        return job.rule
    return route_with_settings(
        from_event(job.event),
        apply_repository_settings(job.rule.effective, job.own_file.own),
        settings=job.now.settings,
        catalogue=job.now.library,
        bot=job.bot,
    )


def parse_known_file(known: KnownFile | None, unread: str | None = None) -> RepositorySettingsFile:
    """Return the settings of a stored file; `unread` is why it could not be read now.

    For an invalid file these are the settings of the last valid version plus what the file switches off.
    """
    if known is None:
        return RepositorySettingsFile(EMPTY_REPOSITORY_SETTINGS, version=None, unread=unread)
    now = EMPTY_REPOSITORY_SETTINGS if known.text is None else parse_repository_file(known.text)
    if known.flaw is not None:
        now = RepositorySettings(problems=(known.flaw,))
    if not now.problems:
        return RepositorySettingsFile(now, known.version, unread=unread)
    last_good = EMPTY_REPOSITORY_SETTINGS if known.good_text is None else parse_repository_file(known.good_text)
    return RepositorySettingsFile(
        merge_with_last_valid(now, last_good), known.version, broken=True, good=known.good_version, unread=unread
    )


def known_now(found: FileAtRef | None, before: KnownFile | None) -> KnownFile:
    """Return the stored form of a file that was read; a deleted file (None) also drops its last valid version."""
    if found is None:
        return KnownFile(version=None, text=None)
    text = flaw = None
    try:
        text = redact(_text(found))
    except SettingsError as exc:
        flaw = exc.problems[0]
    version = found.sha or found.kind
    if text is not None and not parse_repository_file(text).problems:
        return KnownFile(version, text, good_version=version, good_text=text)
    good_version, good_text = (before.good_version, before.good_text) if before else (None, None)
    return KnownFile(version, text, flaw, good_version, good_text)


def with_prompts_of(library: Library, file: RepositorySettingsFile, *, called: str = PATH) -> RepositorySettings:
    """Return the settings without `prompts.use` lines whose prompt the library lacks; each becomes a problem.

    `called` is the file's name in problems.
    """
    own = file.own
    void = dict(_find_void_lines(library, own))
    if not void:
        return own
    use = {event: name for event, name in own.says.prompts.use.items() if event not in void}
    says = own.says.model_copy(update={"prompts": own.says.prompts.model_copy(update={"use": use})})
    if file.broken:  # the lines are those of an earlier version
        return replace(own, says=says)
    problems = (f"{called}:{own.lines.get(f'prompts.use.{event}', 1)}: {said}" for event, said in void.items())
    return replace(own, says=says, problems=(*own.problems, *problems))


def _find_void_lines(library: Library, own: RepositorySettings) -> Iterator[tuple[str, str]]:
    """Yield the event and the problem of each `prompts.use` line without a fitting prompt."""
    for event, name in own.says.prompts.use.items():
        fit = [
            other
            for other, prompt in library.prompts.items()
            if other not in library.shadows and any(_family(on) == _family(event) for on in prompt.on)
        ]
        if name is not False and name not in fit:
            choice = f"there are {', '.join(fit)}" if fit else "there is none for it"
            yield event, f"prompts.use.{event}: the operator has no prompt {name} for {event}; {choice}"


def _family(event: str) -> str:
    return event.partition(".")[0]


def _load_file(job: Job) -> tuple[KnownFile | None, str | None]:
    """Return the stored file, read again if older than `FRESH_S`, and the reason if it could not be read."""
    store, repository, bot = job.tools.store, job.event.repository, job.bot.login
    known = store.repository_files.find(repository.id, bot)
    if known is not None and known.age_s < FRESH_S:
        return known, None
    try:
        with job.recorded("analysis"):
            job.before_reads()
            reader = job.tools.github.reader(repository.full_name)
            found = reader.find_file(PATH, ref=repository.default_branch)
    except Permanent as exc:  # usually a missing permission; the next read raises other errors
        log.warning("the repository's own settings cannot be read", extra={"reason": str(exc)})
        return known, str(exc)
    except (Retryable, Postponed) as exc:
        if known is None or known.version is None:
            raise
        return known, str(exc)
    known = known_now(found, known)
    store.repository_files.save(job.lease, repository.id, repository.full_name, bot, known)
    problems = parse_known_file(known).own.problems
    if problems:
        log.warning("the repository's own settings cannot be used", extra={"problems": list(problems)})
    return known, None


def _text(found: FileAtRef) -> str:
    if found.kind != "file":
        raise SettingsError([f"{PATH}: is a {found.kind}; a file is expected"])
    if found.content is None:
        raise SettingsError([f"{PATH}: larger than {MAX_BYTES} bytes; this is not a settings file"])
    return decode_repository_file(found.content)


PROBLEMS_REPORTED = Codec("told_of_settings", 1, TypeAdapter(Outcome))

PROBLEMS_INDEX = 1_000
"""An index that no action of a plan has."""


def report_settings_problems(job: Job, thread: Thread) -> None:
    """Comment on the problems of the settings file, unless another delivery did so for this version.

    Does nothing in a dry run, so that the comment follows when it ends, and if comments are off: then the problems are
    only in the log.
    """
    file, features = job.own_file, job.rule.effective.features
    if file is None or not file.own.problems or features.dry_run or not features.auto_commenting:
        return
    job.once(PROBLEMS_REPORTED, 0, partial(_report, job, thread, file))


def _report(job: Job, thread: Thread, file: RepositorySettingsFile) -> Outcome:
    repository = job.event.repository
    if not job.tools.store.repository_files.claim_report(job.lease, repository.id, job.bot.login, file.version or ""):
        return Outcome("comment", "withheld", "another delivery comments on the settings file's problems")
    try:
        return ensure_comment(
            job,
            thread,
            build_problems_comment(file.own.problems),
            index=PROBLEMS_INDEX,
            require_not_superseded=_never_superseded,
        )
    except Permanent as exc:  # the delivery's own comment is posted, so the delivery succeeds
        log.warning("cannot comment on the problems of the settings file", extra={"reason": str(exc)})
        return Outcome("comment", "withheld", str(exc))


def _never_superseded() -> None:
    """Pass: no newer event supersedes a comment on a version of the file."""
