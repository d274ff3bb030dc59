"""Sends the requests of trials to Claude, and keeps the questions with their replies. Nothing is
stored.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hls_handler.claude.provider import Provider
from hls_handler.claude.providers import Providers
from hls_handler.engine.codecs import decode_reply, encode_reply, redact_unusable
from hls_handler.errors import BudgetExceeded, Permanent
from hls_handler.question import RenderedPrompt
from hls_handler.replies import Reply, UnusableReply, Usage
from hls_handler.store.limits import Limit
from hls_handler.wording import format_usd


class UnusableAnswer(Permanent):
    """Claude's reply in a trial cannot be used."""

    def __init__(self, rendered: RenderedPrompt, reply: UnusableReply) -> None:
        super().__init__(f"Claude's reply to {rendered.prompt.id} cannot be used: {reply.problem}")
        self.rendered = rendered
        self.reply = reply


@dataclass(slots=True)
class TriedQuestion:
    """A request of a trial, and what came of it."""

    rendered: RenderedPrompt
    model: str
    # the invalid reply that Claude is asked to correct; None in a first question
    correction: UnusableReply | None
    answer: Reply | UnusableReply | None = None  # redacted; None if the call failed


@dataclass(slots=True)
class Sender:
    """Sends the requests of trials to Claude. As in the service, Claude is asked once to correct an
    invalid reply.
    """

    claude: Providers
    questions: list[TriedQuestion] = field(default_factory=list, init=False)  # since `begin`
    _limit: Limit | None = field(default=None, init=False)

    def begin(self, limit: Limit | None) -> None:
        """Begin the requests about a delivery, which may cost as much as `limit` allows."""
        self.questions = []
        self._limit = limit

    @property
    def usages(self) -> list[Usage]:
        return [question.answer.usage for question in self.questions if question.answer is not None]

    def send(self, rendered: RenderedPrompt) -> Reply:
        """Return the reply, redacted. Raises `BudgetExceeded`, `UnusableAnswer`, and what Claude
        raises.
        """
        answer = self._ask(rendered, None)
        if isinstance(answer, UnusableReply) and answer.why == "invalid":
            answer = self._ask(rendered, answer)
        if isinstance(answer, UnusableReply):
            raise UnusableAnswer(rendered, answer)
        return answer

    def _check_limit(self, estimate: Usage) -> None:
        """Raise `BudgetExceeded` if the next call does not fit the limit. An unknown price counts
        as 0.
        """
        limit = self._limit
        if limit is None:
            return
        spent_usd = sum(usage.cost_usd or 0 for usage in self.usages)
        next_usd = estimate.cost_usd or 0
        if round(spent_usd + next_usd, 6) > round(limit.amount, 6):
            raise BudgetExceeded(
                f"the next call to Claude may cost {format_usd(next_usd)}, the calls so far"
                f" have cost {format_usd(spent_usd)}, and {limit.where} allows"
                f" {format_usd(limit.amount)}"
            )

    def _ask(
        self, rendered: RenderedPrompt, correction: UnusableReply | None
    ) -> Reply | UnusableReply:
        return self.claude.answer(
            rendered.prompt.model,
            lambda provider: self._ask_provider(provider, rendered, correction),
        )

    def _ask_provider(
        self, provider: Provider, rendered: RenderedPrompt, correction: UnusableReply | None
    ) -> Reply | UnusableReply:
        estimate = provider.upper_estimate(rendered, correction=correction)
        self._check_limit(estimate)
        question = TriedQuestion(rendered, estimate.model, correction)
        self.questions.append(question)
        answer = provider.ask(rendered, correction=correction)
        prompt = rendered.prompt
        if isinstance(answer, UnusableReply):
            question.answer = redact_unusable(answer)
        else:
            question.answer = decode_reply(
                encode_reply(answer, shown_code=rendered.code),
                reply_type=prompt.reply,
                model=prompt.reply_model,
            )
        assert question.answer is not None
        return question.answer
