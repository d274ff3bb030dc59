"""The job of a handler in a trial: the facts are given, and what would be posted is kept in
memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hls_handler.actions import Action, EnsureCheck, Outcome
from hls_handler.analysis import Analysis, Reply
from hls_handler.engine.asking import render_replies, render_static
from hls_handler.errors import Permanent
from hls_handler.events import Event
from hls_handler.handlers.asking import Answers
from hls_handler.handlers.handler import Handler
from hls_handler.handlers.job import Conversation, Result
from hls_handler.prompting.prompt import Library
from hls_handler.review.record import ReviewRecord
from hls_handler.routing import Rule


@dataclass(slots=True)
class TrialJob:
    """Implements `handlers.job.Job`. Nothing is read from GitHub, written to it, or stored, except
    by `consult`.
    """

    event: Event
    rule: Rule  # names the prompt
    handler: Handler[Any]
    facts: Any
    library: Library
    key: bytes  # secret of the delimiters of untrusted text
    consult: Callable[[Any], Answers]  # asks Claude about facts
    conversation: Conversation | None = field(default=None, init=False)  # that the actions are for
    answered: Answers | None = field(default=None, init=False)
    analysis: Analysis = field(default=Analysis((), comment=None), init=False)
    actions: tuple[Action, ...] = field(default=(), init=False)  # that would follow

    def run(self) -> Answers:
        """Run the handler, and return the replies. Raises `Permanent` without one, `PromptError`,
        or a `StepFailed`.
        """
        result = self.handler.run(self)
        if self.answered is None:
            raise Permanent(result.reason)
        return self.answered

    def gather(self) -> Any:
        return self.facts

    def choose(self, conversation: Conversation | None) -> None:
        self.conversation = conversation

    def lock(self, name: str) -> None:
        """Wait for no delivery."""

    def comment_state(self, family: str) -> None:
        """Return no state, so that Claude is asked."""

    def note(self, *, omitted: str | None, sent: str | None = None) -> None:
        """Store no sentences for `hls why`."""

    def begin_check(self, commit: str) -> None:
        """Show no check."""

    def ask(self, facts: Any) -> Answers:
        self.answered = self.consult(facts)
        return self.answered

    def render(self, answered: Answers) -> Analysis:
        return render_replies(self.library, self.handler, answered, self.key)

    def render_static(self, facts: Any, reply: Reply) -> Analysis:
        return render_static(
            self.library, self.rule, self.event, self.handler, facts, reply, self.key
        )

    def post(
        self,
        facts: Any,
        analysis: Analysis,
        actions: tuple[Action, ...],
        *reasons: str,
        after_review: Callable[[Outcome | None], tuple[Action, ...]] | None = None,
    ) -> Result:
        self.analysis = analysis
        self.actions = actions
        return Result("; ".join(filter(None, reasons)))

    def post_check(self, actions: tuple[EnsureCheck, ...], reason: str) -> Result:
        self.actions = actions
        return Result(reason)

    def store_review(self, record: ReviewRecord) -> None:
        """Store no record."""
