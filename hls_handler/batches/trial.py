"""Tries a prompt with an event and its facts, stored ones or those that are read now. The handler
runs as in the service, and nothing is stored or posted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from hls_handler.analysis import RenderedPrompt, Reply
from hls_handler.batches.recording_job import RecordingJob, read_facts
from hls_handler.engine.asking import CommentRenderer, prompt_limits
from hls_handler.engine.codecs import GATHER, SETTINGS_FILE, facts_codec
from hls_handler.engine.library import families
from hls_handler.errors import HlsError, PayloadError, Permanent
from hls_handler.events import Account, Event, parse_event
from hls_handler.github.comments import is_by, list_boxes, marker
from hls_handler.github.reader import GithubReader
from hls_handler.handlers.handler import Handler, common_variables
from hls_handler.handlers.issues import InformationRequest, IssueHandler, dump_requests
from hls_handler.handlers.job import FactSource
from hls_handler.handlers.reader import EMPTY_HISTORY, EmptyHistory, RepositoryHistory
from hls_handler.handlers.registry import COMMAND_HANDLERS, HANDLERS, handler_for
from hls_handler.prompting.prompt import Library
from hls_handler.prompting.render import render
from hls_handler.review.changed_files import find_unshown
from hls_handler.routing import Rule
from hls_handler.settings.effective import (
    EffectiveSettings,
    RepositoryTable,
    apply_repository_settings,
)
from hls_handler.settings.model import Settings
from hls_handler.store.deliveries import DeliveryRow
from hls_handler.store.storage import Storage

SEARCHED_COMMENTS = 100
"""Newest comments of an issue in which that of the bot account is searched: one or two requests."""


class NotRepeatable(HlsError):
    """A delivery cannot be analysed again, mostly because of something that is not stored; the
    message says what.
    """


@dataclass(frozen=True, slots=True)
class StoredFacts:
    """An event with what it was analysed from."""

    event: Event
    handler: Handler
    facts: Any
    # the present settings, with the settings of the repository that applied then
    effective: EffectiveSettings


def read_unstored(
    event: Event,
    reader: GithubReader,
    settings: Settings,
    library: Library,
    rule: Rule,
    history: RepositoryHistory = EMPTY_HISTORY,
) -> StoredFacts:
    """Read the facts about an event that is not stored. Raises the errors of `GithubReader`."""
    name = rule.event_key.partition(".")[0]
    handler = handler_for(name)
    limits = prompt_limits(settings, library, name, rule.effective, rule.prompt)
    facts = read_facts(handler, FactSource(event, reader, history, limits))
    return StoredFacts(event, handler, facts, rule.effective)


def read_posted_history(event: Event, reader: GithubReader, bot: Account) -> RepositoryHistory:
    """Return what the comment of `bot` on the event's issue asks for, and shows as answered.

    The service has it in its database. Only the newest comments are searched.
    """
    empty = EmptyHistory(accounts=(bot.login,))
    if event.issue is None or not event.issue.comments:
        return empty
    mark = marker(IssueHandler.family)
    comments = reader.comments(event.issue.number, limit=SEARCHED_COMMENTS)
    bodies = (comment.body.rstrip() for comment in comments if is_by(comment.user, bot))
    boxes = list_boxes(next((body for body in bodies if body.endswith(mark)), ""))
    state = dump_requests([InformationRequest(text, checked) for text, checked in boxes.items()])
    if not state:
        return empty
    return replace(empty, states={IssueHandler.family: state})


def load_stored_facts(store: Storage, row: DeliveryRow, table: RepositoryTable) -> StoredFacts:
    """Return a delivery with its event and facts. Raises `NotRepeatable`."""
    handlers = (*HANDLERS.values(), *COMMAND_HANDLERS.values())
    handler = next(
        (candidate for candidate in handlers if candidate.name == row.handler), None
    ) or handler_for(row.event)
    body = store.deliveries.body(row.guid)
    effective = table.find(row.repository or "")
    if not body:
        raise NotRepeatable(
            "its event is not stored; events are kept for storage.body_days, ignored ones not"
            " at all"
        )
    if effective is None:
        raise NotRepeatable(f"the settings have no entry for the repository {row.repository}")
    try:
        event = parse_event(row.event, row.guid, body)
    except PayloadError as exc:
        raise NotRepeatable(f"its event cannot be read: {exc}") from None
    steps = store.checkpoints.load(row.guid)
    if (GATHER, 0) not in steps:
        raise NotRepeatable("it ended, or waits, before its facts were read from GitHub")
    codec = facts_codec(handler.facts_type)
    facts = codec.decode(steps[GATHER, 0])
    if facts is None:
        raise NotRepeatable("its facts were stored by another version of HLS")
    files = [SETTINGS_FILE.decode(steps.get((SETTINGS_FILE.name, index))) for index in range(2)]
    effective = apply_repository_settings(
        effective, *(file.settings for file in files if file is not None)
    )
    return StoredFacts(event, handler, facts, effective)


@dataclass(frozen=True, slots=True)
class Trial:
    """A prompt, and an event with its facts that it is tried with. Nothing is sent before its job
    runs.
    """

    source: StoredFacts
    library: Library
    name: str  # of the prompt
    key: bytes  # secret of the delimiters of untrusted text

    def render_requests(self) -> tuple[RenderedPrompt, ...]:
        """Return the requests of the prompt, at least one: one for each part of the facts.

        Raises `PromptError`, or `NotRepeatable` if Claude would not be asked.
        """
        requests: list[RenderedPrompt] = []
        reason = ""

        def collect(rendered: RenderedPrompt) -> Reply:
            if rendered.prompt.name == self.name:
                requests.append(rendered)
            raise Permanent("not sent")

        with suppress(Permanent):
            reason = self.source.handler.run(self.make_job(collect)).reason
        if requests:
            return tuple(requests)
        raise NotRepeatable(f"it was not a question for Claude: {reason}")

    def make_job(self, send: Callable[[RenderedPrompt], Reply]) -> RecordingJob:
        """Return the job with which a handler asks the prompt and those that follow. `send` sends
        each request.
        """
        source = self.source
        library = self.library
        first = self.name

        def ask_one(prompt: str, variables: Mapping[str, object], _index: int) -> Reply:
            rendered = render(library, prompt, variables, key=self.key)
            return replace(send(rendered), unshown=find_unshown(variables, rendered.task))

        common = common_variables(source.event, first, source.effective)
        rule = Rule(source.event.key, first, source.effective, library.prompts[first].path)
        return RecordingJob(
            source.event,
            rule,
            library,
            common,
            ask_one,
            CommentRenderer(library, common, self.key, source.handler.has_sections),
            facts=source.facts,
        )


def require_event(
    library: Library, prompt: str, event: Event, effective: EffectiveSettings
) -> None:
    """Raise `NotRepeatable` if neither the prompt nor the settings name the event, which may lack
    variables of it.
    """
    chosen = effective.find_prompt(event.key)
    is_named = event.name in _event_names(library.events(prompt, families()))
    if not is_named and (chosen is None or chosen.prompt != prompt):
        raise NotRepeatable(f"{prompt} is not for {event.key}")


def _event_names(keys: Iterable[str]) -> set[str]:
    return {key.partition(".")[0] for key in keys}
