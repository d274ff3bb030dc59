"""Repeats the analysis of a stored delivery from its event, its facts and its replies, without
GitHub and Claude.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

from hls_handler.analysis import Reply
from hls_handler.deliveries import Checkpoint
from hls_handler.engine.asking import UNSHOWN, Comments, prompt_limits
from hls_handler.engine.job import (
    GATHER,
    decode_reply,
    decode_reply_for_display,
    facts_codec,
)
from hls_handler.engine.recording_job import RecordingJob, read_facts
from hls_handler.engine.repository_settings import SETTINGS_FILE
from hls_handler.errors import HlsError, PayloadError, Permanent
from hls_handler.events import Account, Event, parse_event
from hls_handler.github.comment_body import list_boxes, marker
from hls_handler.github.comments import is_by
from hls_handler.handlers import COMMAND_HANDLERS, HANDLERS, handler_for
from hls_handler.handlers.asking import FIRST_PART, VERIFICATION, VERIFY_PROMPT, Asking
from hls_handler.handlers.handler import Handler, common_variables
from hls_handler.handlers.issues import InformationRequest, IssueHandler, dump_requests
from hls_handler.handlers.job import Source
from hls_handler.handlers.reader import EMPTY_HISTORY, EmptyHistory, Reader, RepositoryHistory
from hls_handler.prompting.library import restore_library
from hls_handler.prompting.prompt import Library
from hls_handler.routing import Rule
from hls_handler.settings.effective import (
    EffectiveSettings,
    RepositoryTable,
    apply_repository_settings,
)
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from hls_handler.store.replies import NO_REPLIES, StoredReplies
from hls_handler.store.statistics import DeliveryRow

SEARCHED_COMMENTS = 100
"""Newest comments of an issue in which that of the bot account is searched: one or two requests."""


class NotRepeatable(HlsError):
    """A delivery cannot be analysed again, mostly because of something that is not stored; the
    message says what.
    """


def _restore(store: Storage, prompt_id: str) -> Library:
    sources = store.prompt_versions.find(prompt_id)
    if sources is None:
        raise NotRepeatable(f"the source files of {prompt_id} are not stored")
    return restore_library(sources)


def _restore_nothing(prompt_id: str) -> Library:
    raise NotRepeatable(f"{prompt_id} was not asked")


@dataclass(frozen=True, slots=True)
class StoredFacts:
    """An event with what it was analysed from."""

    row: DeliveryRow | None  # None for an event that is no delivery
    event: Event
    handler: Handler
    facts: Any
    # the present settings, with the settings of the repository that applied then
    effective: EffectiveSettings
    steps: Mapping[tuple[str, int], Checkpoint] = field(default_factory=dict)
    replies: StoredReplies = NO_REPLIES
    restore: Callable[[str], Library] = _restore_nothing
    """Returns the library of one prompt in the version of a prompt id. Raises `NotRepeatable`."""

    def make_job(
        self, asking: Asking, comments: Comments | None, posted: str | None
    ) -> RecordingJob:
        """Return the job with which the handler asks the prompts of `asking`."""
        file = asking.library.prompts[asking.first].path
        rule = Rule(self.event.key, asking.first, self.effective, file)
        return RecordingJob(self.event, rule, asking, comments, posted, self.facts)


def read_unstored(
    event: Event,
    reader: Reader,
    settings: Settings,
    library: Library,
    rule: Rule,
    history: RepositoryHistory = EMPTY_HISTORY,
) -> StoredFacts:
    """Read the facts about an event that is not stored. Raises the errors of `Reader`."""
    name = rule.event_key.partition(".")[0]
    handler = handler_for(name)
    limits = prompt_limits(settings, library, name, rule.effective, rule.prompt)
    facts = read_facts(handler, Source(event, reader, history, limits))
    return StoredFacts(None, event, handler, facts, rule.effective)


def read_posted_history(event: Event, reader: Reader, bot: Account) -> RepositoryHistory:
    """Return what the comment of `bot` on the event's issue asks for, and shows as answered.

    The service has it in its database. Only the newest comments are searched.
    """
    empty = EmptyHistory(accounts=(bot.login,))
    if event.issue is None or not event.issue.comments:
        return empty
    mark = marker(IssueHandler.family)
    listed = reader.comments(event.issue.number, most=SEARCHED_COMMENTS)
    bodies = (one.body.rstrip() for one in listed if is_by(one.user, bot))
    boxes = list_boxes(next((body for body in bodies if body.endswith(mark)), ""))
    state = dump_requests([InformationRequest(text, checked) for text, checked in boxes.items()])
    if not state:
        return empty
    return replace(empty, states={IssueHandler.family: state})


def load_stored_facts(store: Storage, row: DeliveryRow, table: RepositoryTable) -> StoredFacts:
    """Return a delivery with its event and facts. Raises `NotRepeatable`."""
    known = (*HANDLERS.values(), *COMMAND_HANDLERS.values())
    handler = next((one for one in known if one.name == row.handler), None) or handler_for(
        row.event
    )
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
    return StoredFacts(
        row,
        event,
        handler,
        facts,
        effective,
        steps,
        store.replies.of(row.guid),
        cache(partial(_restore, store)),
    )


def replay(stored: StoredFacts, *, posted: str | None = None) -> RecordingJob:
    """Run a delivery again with the stored replies in the place of Claude's, and return its job.

    `posted` is the comment. Raises `NotRepeatable`, or `Permanent` if a reply that is needed is
    missing.
    """
    replies = _decode_replies(stored, stored.restore)
    firsts = [
        index for index in sorted(replies) if index == 0 or FIRST_PART <= index < VERIFICATION
    ]
    if not firsts:
        raise NotRepeatable("the reply to its first prompt is not stored")
    first = replies[firsts[0]].prompt_name

    def ask_one(_name: str, _variables: Mapping[str, object], position: int) -> Reply:
        if position not in replies:
            raise Permanent("no reply is stored")
        return replies[position]

    library = _join(stored.restore(reply.prompt_id) for reply in replies.values())
    asking = Asking(
        library,
        first,
        common_variables(stored.event, first, stored.effective),
        ask_one,
        keeps_review=True,
    )
    job = stored.make_job(asking, None, posted)
    job.run(stored.handler)
    return job


def find_kept(stored: StoredFacts, library: Library, name: str) -> Mapping[int, Reply]:
    """Return the stored replies to other prompts that a trial of `name` keeps, by index; {} for a
    first prompt.

    Raises `NotRepeatable` if the prompt follows another one, of which no reply is stored.
    """
    follows = name == VERIFY_PROMPT or (library.predecessors(name) and not library.prompts[name].on)
    if not follows:
        return {}
    replies = _decode_replies(stored, lambda _: library)
    kept = {
        index: replies[index] for index in sorted(replies) if replies[index].prompt_name != name
    }
    if not kept:
        raise NotRepeatable(f"it has no reply of the prompt that precedes {name}")
    return kept


def _decode_replies(stored: StoredFacts, restore: Callable[[str], Library]) -> Mapping[int, Reply]:
    """Return the stored replies by index, each as its prompt has it in the library of `restore`, or
    as it is shown.
    """
    replies: dict[int, Reply] = {}
    for index, found in stored.replies.valid.items():
        reply = decode_reply_for_display(found)
        if reply is None:
            continue
        # None: the prompt was removed
        prompt = restore(reply.prompt_id).prompts.get(reply.prompt_name)
        if prompt is not None:
            reply = decode_reply(found, reply_type=prompt.reply, model=prompt.reply_model) or reply
        unshown = UNSHOWN.decode(stored.steps.get((UNSHOWN.name, index))) or ()
        replies[index] = replace(reply, unshown=unshown)
    return replies


def _join(libraries: Iterable[Library]) -> Library:
    """Return one library with the prompts of all, in which follow-up prompts are found."""
    first, *others = libraries
    prompts = {name: prompt for one in (first, *others) for name, prompt in one.prompts.items()}
    conditions = {
        name: condition for one in (first, *others) for name, condition in one.conditions.items()
    }
    return replace(first, prompts=prompts, conditions=conditions)
