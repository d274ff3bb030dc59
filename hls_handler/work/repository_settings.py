"""The repository's own settings in a delivery's work: read from its default branch, remembered, laid over the rule."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

from pydantic import TypeAdapter

from hls_handler.errors import Permanent, Postponed, Retryable, SettingsError
from hls_handler.handlers.reader import FileAtRef
from hls_handler.history.repositories import KnownFile
from hls_handler.prompting.prompt import Library
from hls_handler.routing import Ignored, from_event, route_with_settings
from hls_handler.settings.effective import apply_repository_settings
from hls_handler.settings.model import Sources
from hls_handler.settings.repository import (
    EMPTY_REPOSITORY_SETTINGS,
    MAX_BYTES,
    PATH,
    RepositorySettings,
    RepositorySettingsFile,
    in_force,
    parse_repository_file,
    text_of,
)
from hls_handler.untrusted.redaction import redact
from hls_handler.work.job import Job
from hls_handler.work.memory import Codec

log = logging.getLogger(__name__)

FRESH_S = 300.0
"""How long what was read is not asked for again: a busy repository costs one request in five minutes."""

OWN_FILE = Codec("own_settings", 1, TypeAdapter(RepositorySettingsFile))


def with_own_settings(job: Job) -> Job | Ignored:
    """The job by the settings that its repository adds, or the reason of theirs to leave the event alone.

    The operator's rule let the event in: their file can keep it out, and cannot let in another. What held is
    remembered, so that a retry decides alike; of an ignored event nothing is, so that it is looked at anew when it is
    redelivered. Raises what reads raise, but only while nothing is known of a file that may ask for silence.
    """
    if not job.rule.effective.features.repository_settings:
        return job
    remembered = OWN_FILE.decode(job.steps.get((OWN_FILE.name, 0)))
    file = remembered or own_file(*_look(job))
    own = with_prompts_of(job.now.library, file)
    now = replace(job.now, settings=job.now.settings.beside(Sources(PATH, own.lines)))
    rule = route_with_settings(
        from_event(job.event),
        apply_repository_settings(job.rule.effective, own),
        settings=now.settings,
        catalogue=now.library,
        bot=job.bot,
    )
    if isinstance(rule, Ignored):
        return rule
    if remembered is None:
        job.pending.append(OWN_FILE.encode(file, index=0, took_s=0.0))
    return replace(job, now=now, rule=rule, own_file=replace(file, own=own))


def own_file(known: KnownFile | None, unread: str | None = None) -> RepositorySettingsFile:
    """What holds of a file that is known; `unread` is why it could not be looked at just now."""
    if known is None:
        return RepositorySettingsFile(EMPTY_REPOSITORY_SETTINGS, version=None, unread=unread)
    now = EMPTY_REPOSITORY_SETTINGS if known.text is None else parse_repository_file(known.text)
    if known.flaw is not None:
        now = RepositorySettings(problems=(known.flaw,))
    if not now.problems:
        return RepositorySettingsFile(now, known.version, unread=unread)
    last_good = EMPTY_REPOSITORY_SETTINGS if known.good_text is None else parse_repository_file(known.good_text)
    return RepositorySettingsFile(
        in_force(now, last_good), known.version, broken=True, good=known.good_version, unread=unread
    )


def known_now(found: FileAtRef | None, before: KnownFile | None) -> KnownFile:
    """What is to be remembered of a file that was read. One that is gone takes its last good version along."""
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
    """Without the prompts that the library does not have for their events: that line is void, and a problem.

    `called` is what problems call the file.
    """
    own = file.own
    void = dict(_void(library, own))
    if not void:
        return own
    use = {event: name for event, name in own.says.prompts.use.items() if event not in void}
    says = own.says.model_copy(update={"prompts": own.says.prompts.model_copy(update={"use": use})})
    if file.broken:  # the lines are those of an earlier version
        return replace(own, says=says)
    told = (f"{called}:{own.lines.get(f'prompts.use.{event}', 1)}: {said}" for event, said in void.items())
    return replace(own, says=says, problems=(*own.problems, *told))


def _void(library: Library, own: RepositorySettings) -> Iterator[tuple[str, str]]:
    """Event to sentence."""
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


def _look(job: Job) -> tuple[KnownFile | None, str | None]:
    """What is known of the file, looked at anew if that is long ago; and why that was not possible."""
    store, repository, bot = job.tools.store, job.event.repository, job.bot.login
    known = store.repository_files.find(repository.id, bot)
    if known is not None and known.age_s < FRESH_S:
        return known, None
    try:
        with job.recorded("analysis"):
            job.before_reads()
            reader = job.tools.github.reader(repository.full_name)
            found = reader.find_file(PATH, ref=repository.default_branch)
    except Permanent as exc:  # no permission, as a rule: what else it is, the next read tells
        log.warning("the repository's own settings cannot be read", extra={"reason": str(exc)})
        return known, str(exc)
    except (Retryable, Postponed) as exc:
        if known is None or known.version is None:
            raise
        return known, str(exc)
    known = known_now(found, known)
    store.repository_files.save(job.lease, repository.id, repository.full_name, bot, known)
    problems = own_file(known).own.problems
    if problems:
        log.warning("the repository's own settings cannot be used", extra={"problems": list(problems)})
    return known, None


def _text(found: FileAtRef) -> str:
    if found.kind != "file":
        raise SettingsError([f"{PATH}: is a {found.kind}; a file is expected"])
    if found.content is None:
        raise SettingsError([f"{PATH}: larger than {MAX_BYTES} bytes; this is not a settings file"])
    return text_of(found.content)
