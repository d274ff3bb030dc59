"""The job of a handler that records: the facts are given, and what would be posted is kept in
memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from hls_handler.actions import Action, EnsureCheck, Outcome
from hls_handler.analysis import Analysis, Receipt, Reply, ReplyFields, sum_usage
from hls_handler.deliveries import End
from hls_handler.engine.asking import CommentRenderer
from hls_handler.errors import Permanent
from hls_handler.events import Event
from hls_handler.handlers.handler import Handler
from hls_handler.handlers.job import (
    NO_GUARD,
    NO_INLINE,
    Conversation,
    Facts,
    FactSource,
    Guard,
    Job,
    Replies,
)
from hls_handler.handlers.reader import HistoryUpdate
from hls_handler.prompting.prompt import Library
from hls_handler.review.record import ReviewRecord
from hls_handler.routing import Rule
from hls_handler.settings.repository import FileProblems


@dataclass(slots=True)
class RecordingJob:
    """Implements `handlers.job.Job`. Only `send` may write or store something."""

    event: Event
    rule: Rule  # names the prompt
    library: Library
    common: Mapping[str, object]  # variables that all prompts have
    # asks: the name of a prompt, its variables, the index of its reply
    send: Callable[[str, Mapping[str, object], int], Reply]
    comments: CommentRenderer | None  # None: comments are not rendered
    facts: Any = None
    source: FactSource | None = None  # of what a reply asks to see; None: nothing can be read
    record_of_review: ReviewRecord | None = field(default=None, init=False)
    conversation: Conversation | None = field(default=None, init=False)  # that the actions are for
    replies: Replies | None = field(default=None, init=False)  # None: no question was asked
    analysis: Analysis = field(default=Analysis((), comment=None), init=False)
    actions: tuple[Action, ...] = field(default=(), init=False)  # that would follow
    _received: list[Reply] = field(default_factory=list, init=False)  # to all questions

    def run(self, handler: Handler) -> Replies:
        """Run the handler, and return the replies. Raises `Permanent` without one, `PromptError`,
        or a `StepFailed`.
        """
        result = handler.run(self)
        if self.replies is None:
            raise Permanent(result.reason)
        return self.replies

    def record(self, shape: type[Facts], read: Callable[[FactSource], Facts]) -> Facts:
        facts: Facts = self.facts
        return facts

    def look_up(self, shape: type[Facts], read: Callable[[FactSource], Facts]) -> Facts | None:
        if self.source is None:
            return None
        return read(self.source)

    def remember(self, update: HistoryUpdate) -> None:
        """Store nothing for later deliveries."""

    def require(self, guard: Guard) -> None:
        """Ignore what happened after the event."""

    def choose(self, conversation: Conversation | None) -> None:
        self.conversation = conversation

    def lock(self, name: str) -> None:
        """Wait for no delivery."""

    def comment_state(self, family: str) -> str | None:
        """Return no state, so that Claude is asked."""
        return None

    def note(
        self,
        *,
        omitted: str = "",
        sent: str = "",
        unanswered: str = "",
        unverified: str | None = None,
    ) -> None:
        """Store no sentence."""

    def report(self, problems: FileProblems) -> None:
        """Write no comment."""

    def begin_check(self, commit: str) -> None:
        """Show no check."""

    def ask_one(self, prompt: str, variables: Mapping[str, object], index: int) -> Reply:
        reply = self.send(prompt, {**self.common, **variables}, index)
        self._received.append(reply)
        return reply

    def render(
        self,
        replies: Replies,
        variables: Mapping[str, object],
        inline: Mapping[str, Mapping[str, object]] = NO_INLINE,
    ) -> Analysis:
        self.replies = replies
        if self.comments is None:
            index = replies.shown_index
            self.analysis = Analysis(replies.all, None, comment_index=index)
        else:
            analysis = self.comments.render(replies, variables, inline)
            self.analysis = replace(analysis, receipt=self._sum_receipt())
        return self.analysis

    def _sum_receipt(self) -> Receipt:
        """Return the sums over the replies. Calls without a usable reply are not part of it."""
        usage = sum_usage(reply.usage for reply in self._received)
        return Receipt(
            calls=len(self._received),
            input_tokens=usage.all_input_tokens,
            output_tokens=usage.output_tokens,
            cost_usd=usage.cost_usd,
            is_estimate=usage.is_estimate,
            prompt_ids=tuple(dict.fromkeys(reply.prompt_id for reply in self._received)),
        )

    def render_static(self, reply: ReplyFields, variables: Mapping[str, object]) -> Analysis:
        if self.comments is not None:
            self.analysis = self.comments.render_static(self.rule.prompt, reply, variables)
        return self.analysis

    def write(
        self, *actions: Action, later: Sequence[Action] = (), unless: Guard = NO_GUARD
    ) -> tuple[Outcome, ...]:
        self.actions += actions
        return tuple(Outcome("review", "dry_run", "") for _ in actions)

    def post(self, *actions: Action, reason: str = "", unless: Guard = NO_GUARD) -> End:
        self.actions += actions
        return End("done", reason)

    def post_check(self, actions: tuple[EnsureCheck, ...], reason: str) -> End:
        self.actions = actions
        return End("done", reason)

    def store_review(self, record: ReviewRecord) -> None:
        self.record_of_review = record


class _FactsRead(Exception):
    """Ends a run after its first step."""

    def __init__(self, facts: object) -> None:
        super().__init__()
        self.facts = facts


@dataclass(slots=True)
class _ReadingJob:
    event: Event
    source: FactSource

    def record(self, shape: type[Facts], read: Callable[[FactSource], Facts]) -> Facts:
        raise _FactsRead(read(self.source))


def read_facts(handler: Handler, source: FactSource) -> Any:
    """Return the facts that a handler records, without what it does with them. Raises the errors of
    `GithubReader`.
    """
    try:
        handler.run(cast(Job, _ReadingJob(source.event, source)))
    except _FactsRead as exc:
        return exc.facts
    raise AssertionError(f"{handler.name} records no facts")
