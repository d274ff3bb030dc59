"""A job: one claimed delivery with its configuration and rule. It runs steps and stores their
results as checkpoints.

A checkpoint is redacted JSON with a name, an index and a version. If its codec has another version
or cannot decode it, the checkpoint is ignored and the step runs again. After an upgrade, that is
right for facts, and wrong for what was written: an outcome, a begun write and the labels before it
stay readable. The codec and the name of each checkpoint:

- "route": the rule. "repository_settings" 0: the repository's file, 1: the organisation's file.
  "title_check": the check of the title. "merge_group": the pull requests of a merge queue.
- "gather": the facts. "look_up": what a reply asks to see besides.
- "unanswered" n: why a call of prompt n got no usable reply (replies are stored with their calls).
  "unverified": why the findings were not verified.
- "omissions" 0: what the handler left out, n + 1: what was cut in prompt n, 100: why parts of the
  facts have no reply. "unshown" n: the files that prompt n did not show as a
  whole. "context": what Claude got besides the event.
- "post" n: the outcome of an action, found by its target. "writing" n: the action begins to write.
  "before": the label states before the first write. "settings_reported": the comment on a file's
  problems, and "writing" `PROBLEMS_INDEX`.
- "reaction": the reaction to a command. /help also has "post" 0 and "writing" 0; a command with a
  handler has those of a handler.

`plan` is pure and has no checkpoint. The names are stored in databases, so never rename a
checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Generic, Literal, TypeVar
from zlib import crc32

from pydantic import TypeAdapter, ValidationError

from hls_handler.analysis import REPLY_TYPES, Reply, ReplyFields, UnusableReply
from hls_handler.claude.reply_parsing import fit
from hls_handler.deliveries import Checkpoint, Lease
from hls_handler.engine.active_config import DeliveryConfig, WorkerContext
from hls_handler.errors import (
    ConversationIgnored,
    HlsError,
    LeaseLost,
    Postponed,
    StepFailed,
    StoreUnavailable,
    Superseded,
)
from hls_handler.events import Account, Event
from hls_handler.handlers.handler import Handler
from hls_handler.prompting.reply_fields import permissive_reply_model, with_optional_fields
from hls_handler.queue.checkpoints import LeaseCheck, PendingChanges, StatusChange
from hls_handler.queue.leases import MIN_SHARE_FOR_WRITE
from hls_handler.queue.rate_limiter import PendingWrite, SlotRequest
from hls_handler.routing import Router, Rule
from hls_handler.settings.repository import RepositorySettings, RepositorySettingsFile
from hls_handler.storage import Storage
from hls_handler.store.batches import Batch
from hls_handler.store.calls import CallRow
from hls_handler.store.interruptions import NO_SITUATION, Situation
from hls_handler.store.replies import NO_REPLIES, StoredReplies, StoredReply
from hls_handler.untrusted.cleaning import CodeText, clean, clean_and_redact
from hls_handler.untrusted.redaction import redact, redact_code, redact_reply

GATHER = "gather"
LOOK_UP = "look_up"
ASK = "ask"
"""Names of the steps of facts and of replies; that of facts is the name of their checkpoint."""

LOCK_S = 120.0
"""Seconds after which another delivery may take over the lock of a comment, of the reviews or of a
check.
"""

IN_PLACE = timedelta(seconds=1.5)
"""Longest wait without rescheduling the delivery. Rescheduling repeats its reads from GitHub."""

MAX_VERSION = 2**31 - 1
"""The largest number in the column `checkpoints.version`."""

T = TypeVar("T")
Part = Literal["analysis", "posting"]


@dataclass(frozen=True, slots=True)
class Codec(Generic[T]):
    """Converts step results of one type to checkpoints and back."""

    name: str
    version: int
    type_adapter: TypeAdapter[T]

    def encode(self, value: T, *, index: int = 0, took_s: float = 0.0) -> Checkpoint:
        """Return the checkpoint, with credentials redacted in every string."""
        plain = map_strings(self.type_adapter.dump_python(value, mode="json"), redact, redact_code)
        return Checkpoint(self.name, index, self.version, _JSON.dump_json(plain).decode(), took_s)

    def decode(self, step: Checkpoint | None) -> T | None:
        """Return the value; None if `step` is None, or was encoded with another version."""
        if step is None or step.version != self.version:
            return None
        try:
            return self.type_adapter.validate_json(step.value)
        except ValidationError:
            return None


_JSON: TypeAdapter[Any] = TypeAdapter(Any)


CODE_FIELDS = frozenset(
    {
        *("numbered", "around", "code", "ours", "quote", "rests_on", "second_sites", "suggestion"),
        *("look_up", "not_found", "record", "finding", "file_summaries"),
    }
)
"""Names of the fields of facts and replies that have code. They are redacted as prompts show code,
so that a patch is the same after a restart, and a quote is still a part of its line. `record`,
`finding` and `file_summaries` of facts have text of earlier replies, which was redacted when the
replies were stored.
"""

ABOUT_CODE = frozenset(
    {"pull_request_analysis", "finding_verdicts", "review_analysis", "comment_reply"}
)
"""The types of replies that may repeat values of the code that the prompt shows. Other prompts show
logs as code.
"""


def map_strings(value: Any, change: Callable[[str], str], change_code: Callable[[str], str]) -> Any:
    """Return the JSON tree with `change` applied to every string value, and `change_code` to those
    of `CODE_FIELDS`.
    """
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {
            key: map_strings(part, change_code if key in CODE_FIELDS else change, change_code)
            for key, part in value.items()
        }
    if isinstance(value, list):
        return [map_strings(part, change, change_code) for part in value]
    return value


RULE = Codec("route", 1, TypeAdapter(str))
"""A sentence for `hls why`: the rule and the settings that admitted the event."""
FAILURE = Codec("failure", 1, TypeAdapter(str))
"""The name of the step that failed last, with its start, duration and requests."""


def facts_codec(shape: type[T]) -> Codec[T]:
    """Return the codec of facts of this type. Its version is a digest of the type's fields, so that
    facts with other fields are read anew.
    """
    hashable: Any = shape
    return _facts_codec(hashable)


@cache
def _facts_codec(shape: Any) -> Codec[Any]:
    adapter = facts_adapter(shape)
    fields = json.dumps(adapter.json_schema(), sort_keys=True)
    return Codec(GATHER, crc32(fields.encode()) & MAX_VERSION, adapter)


facts_adapter = cache(TypeAdapter[Any])  # making one takes as long as half of the pipeline


@dataclass(slots=True)
class Attempt:
    """The part of a job that changes in one attempt to process a delivery."""

    pending: PendingChanges = field(default_factory=PendingChanges)
    # of the delivery; None: not read since the last call
    calls: Sequence[CallRow] | None = None


@dataclass(frozen=True, slots=True)
class Job:
    lease: Lease
    context: WorkerContext
    config: DeliveryConfig  # that of `context`, later with the settings of the repository
    event: Event
    bot: Account
    rule: Rule
    handler: Handler
    # checkpoints stored before this attempt, by step name and index
    steps: Mapping[tuple[str, int], Checkpoint]
    others: tuple[Account, ...] = ()  # HLS's other accounts
    situation: Situation = NO_SITUATION  # when the processing began
    repository_settings: RepositorySettingsFile | None = None  # applied to `rule` and `config`
    # of the organisation's file, if there is one
    organization_settings: tuple[RepositorySettings, ...] = ()
    replies: StoredReplies = NO_REPLIES  # of Claude, stored before this attempt
    outsider: str | None = None  # the sender, if `budgets.outsiders` counts the calls
    batch: Batch | None = None  # that the delivery belongs to, or takes back
    attempt: Attempt = field(default_factory=Attempt)  # the only part that changes

    @property
    def pending(self) -> PendingChanges:
        return self.attempt.pending

    @property
    def store(self) -> Storage:
        return self.context.store

    @property
    def router(self) -> Router:
        return Router(
            self.config.settings, self.config.table, self.config.library, (self.bot, *self.others)
        )

    @property
    def github_rate_limit(self) -> str:
        """Name of the rate limit that writes to GitHub share. While GitHub fails or asks to wait,
        reads wait, too.
        """
        return self.context.github.rate_limit(self.event.repository.full_name)

    def with_account_for(self, number: int) -> Job:
        """Return the job with the account that wrote on the conversation `number`, if HLS has
        several accounts.
        """
        chosen = self.context.choose_account(self.event.repository.id, number)
        context = replace(self.context, github=chosen.github)
        return replace(self, context=context, bot=chosen.bot, others=chosen.others)

    def find_result(self, codec: Codec[T], index: int = 0) -> T | None:
        """Return the valid value that an earlier attempt stored with `codec` and `index`, or
        None.
        """
        return codec.decode(self.steps.get((codec.name, index)))

    def add(self, codec: Codec[T], value: T, index: int = 0) -> None:
        self.pending.add(codec.encode(value, index=index))

    def run_step(
        self,
        codec: Codec[T],
        index: int,
        do: Callable[[], T],
        *,
        fits: Callable[[T], bool] = lambda _: True,
    ) -> T:
        """Return the stored result of a step if `fits` accepts it. Otherwise run `do`, and return
        its result redacted.

        The result is stored before the next call to Claude and the next write to GitHub. If the
        process dies earlier, the step runs again. So `do` must only read, or must find its own
        earlier write.
        """
        stored = self.find_result(codec, index)
        if stored is not None and fits(stored):
            return stored
        self.check_can_continue()
        github = self.context.github
        started_at = self.store.now()
        started = self.context.clock()
        sent_before = github.requests_sent

        def measured(step: Checkpoint) -> Checkpoint:
            sent = github.requests_sent - sent_before
            return replace(
                step,
                took_s=self.context.clock() - started,
                started_at=started_at,
                github_requests=sent,
            )

        try:
            result = do()
        except StepFailed:
            self.pending.add(replace(measured(FAILURE.encode(codec.name)), is_progress=False))
            raise
        step = measured(codec.encode(result, index=index))
        self.pending.add(step)
        redacted = codec.decode(step)
        assert redacted is not None
        return redacted

    def note(self, codec: Codec[str], index: int, sentence: str) -> None:
        """Store a sentence that `hls why` shows; no decision depends on it."""
        if self.find_result(codec, index) != sentence:
            self.add(codec, sentence, index)

    def check_can_continue(self) -> None:
        """Raise `Postponed` if the service is stopping, and `LeaseLost` if the lease has expired by
        the local clock.

        The local clock also works while the database does not respond.
        """
        self.context.leases.require(self.lease)
        if self.context.stopping():
            raise Postponed("the service is stopping", at=self.store.now())

    def wait_in_place(self, take: Callable[[], T], *, until: datetime | None = None) -> T:
        """Return `take()`. If `take` raises `Postponed`, sleep until the exception's time `at`, and
        call `take` again.

        If the exception has `waiting_for`, or `at` is after `until` (without it, more than
        `IN_PLACE` away), the exception is raised again.
        """
        while True:
            self.check_can_continue()
            try:
                return take()
            except Postponed as wait:
                now = self.store.now()
                if wait.waiting_for is not None or wait.at > (until or now + IN_PLACE):
                    raise
                self.context.pause(max((wait.at - now).total_seconds(), 0.001))

    def require_reads_allowed(self) -> None:
        """Raise `Postponed` while GitHub asks to wait or is down, because more requests could get
        the token banned.
        """
        until = self.store.rate_limiter.held_until(self.github_rate_limit)
        if until is not None:
            raise reads_postponed(until)

    def check_newest(self, described: str | None = None, *, reads: bool = False) -> LeaseCheck:
        """Return a check with the error `ConversationIgnored` after /stop, or `Superseded` after a
        newer event.

        With `reads`, also `Postponed` while GitHub may not be read. `described` is the head commit
        that was read from GitHub, see `Interruptions.check`.
        """

        def decide(found: Situation) -> HlsError | None:
            if found.stop is not None:
                return ConversationIgnored(str(found.stop), "stopped")
            if found.newer.head_sha is not None and self.handler.superseded_by_push:
                return Superseded(f"a newer push came meanwhile: {found.newer.head_sha[:10]}")
            # GitHub may send the closing before a reopening late; the worker reads the state
            # instead.
            if found.newer.is_closed and self.lease.action != "reopened":
                return Superseded("the conversation was closed meanwhile")
            if found.newer.is_answered and self.handler.superseded_by_newer_answer:
                return Superseded("a newer event of this conversation was answered meanwhile")
            return (
                reads_postponed(found.held_until)
                if reads and found.held_until is not None
                else None
            )

        prompt = self.rule.prompt
        rate_limit = self.github_rate_limit
        return self.store.interruptions.check(
            self.lease, decide, prompt=prompt, rate_limit=rate_limit, described=described
        )

    def begin_write(
        self,
        comment_lock: str | None = None,
        *,
        check: LeaseCheck | None = None,
        until: datetime | None = None,
        can_move: bool = False,
    ) -> None:
        """Wait for the rate limit of writes to GitHub, then renew the lease if too little time is
        left for a write.

        For a write of a comment or review, pass the name of its lock. The write is recorded as
        pending: `Locks.acquire` raises `Postponed` while it may still take effect, even if this
        process is killed. Raises `LeaseLost`, the error of `check`, or `Postponed` if the wait
        would be longer than `IN_PLACE`; a slot after `until` is left to other writes. With
        `can_move`, first results of other deliveries may be written before.
        """
        github = self.config.settings.github
        interval_s = github.min_seconds_between_writes
        request = SlotRequest(self.github_rate_limit, interval_s, until=until, can_move=can_move)
        pending_write = None
        if comment_lock is not None:
            expires_s = self.context.leases.expiry.slowest_write_s
            pending_write = PendingWrite(comment_lock, expires_s)
        self.wait_in_place(
            lambda: self.store.rate_limiter.take_slot(
                self.lease,
                request,
                changes=self.pending.take(),
                pending_write=pending_write,
                check=check,
            ),
            until=until,
        )
        self.context.leases.secure(self.lease)

    def check_lease(self) -> None:
        """Raise `LeaseLost` if too little of the lease is left for a write. Uses the local clock
        only.
        """
        self.context.leases.require(self.lease, least=MIN_SHARE_FOR_WRITE)

    @contextmanager
    def record_failure(self, part: Part | Callable[[], Part]) -> Iterator[None]:
        """If the block raises an error, store the changes in `pending` and raise the error again.

        A `StepFailed` sets the status of `part` to "failed". After `LeaseLost` or
        `StoreUnavailable`, nothing is stored.
        """
        try:
            yield
        except (LeaseLost, StoreUnavailable):
            raise
        except (
            Exception
        ) as exc:  # raised again: a retry continues from the results so far, even after a defect
            failed = part if isinstance(part, str) else part()
            if isinstance(exc, StepFailed):
                self.pending.add(
                    StatusChange({f"{failed}_status": "failed", f"{failed}_error": str(exc)})
                )
            changes = self.pending.take()
            if changes:
                self.store.checkpoints.save(self.lease, *changes)
            raise


def reads_postponed(until: datetime) -> Postponed:
    return Postponed(
        "no requests to GitHub at present: the last one failed, or GitHub asked to wait", at=until
    )


def encode_reply(answered: Reply, *, shown: Sequence[str] = ()) -> StoredReply:
    """Return the reply without invisible characters and credentials.

    Invisible characters are removed first, because they can hide a credential. HTML comments stay,
    because suggested code may contain them. A string that redaction made too long is cut, so that
    the reply stays valid. `shown` is the code that the prompt shows: what stands in it is code in
    the reply, too, whatever name is before it.
    """

    @cache
    def code() -> tuple[str, ...]:
        if answered.reply_type not in ABOUT_CODE:
            return ()
        return tuple(clean_and_redact(CodeText(text)) for text in shown)

    def change(text: str) -> str:
        cleaned = clean(CodeText(text))
        hidden = redact(cleaned)
        return hidden if hidden == cleaned else redact_reply(cleaned, code())

    values = answered.fields.model_dump(mode="json")
    plain = map_strings(
        values,
        change,
        lambda text: clean_and_redact(CodeText(text)),
    )
    reply = plain if plain == values else fit(plain, type(answered.fields))
    return StoredReply(
        answered.prompt_id,
        answered.reply_type,
        _JSON.dump_json(reply).decode(),
        answered.usage,
        answered.cached_at,
        {field: redact(text) for field, text in answered.lost.items()},
    )


def redact_unusable(answer: UnusableReply) -> UnusableReply:
    return replace(answer, problem=redact(answer.problem), text=redact(answer.text))


def decode_reply(
    stored: StoredReply | None, *, reply_type: str, model: type[ReplyFields]
) -> Reply | None:
    """Return the reply. None if there is none, or if it is not valid for `reply_type` and `model`.

    The stored reply may be from another prompt, or from an earlier version of the prompt with other
    fields.
    """
    if stored is None or stored.reply_type != reply_type:
        return None
    return _validate(stored, with_optional_fields(model, json.loads(stored.reply)))


def decode_reply_for_display(stored: StoredReply) -> Reply | None:
    """Return the reply, even if its prompt has other fields now; None if its type is unknown."""
    base = REPLY_TYPES.get(stored.reply_type)
    return None if base is None else _validate(stored, permissive_reply_model(base))


def _validate(stored: StoredReply, model: type[ReplyFields]) -> Reply | None:
    try:
        reply = model.model_validate_json(stored.reply)
    except ValidationError:
        return None
    return Reply(
        stored.prompt_id,
        stored.reply_type,
        reply,
        stored.usage,
        cached_at=stored.cached_at,
        lost=stored.lost,
    )
