"""Claude for tests: replies in the order that a test sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import cast

from hls_handler.analysis import RenderedPrompt, Reply, ReplyFields, UnusableReply, Usage
from hls_handler.claude.providers import Chain, Providers
from hls_handler.claude.reply_parsing import UnreadableReply, parse_reply
from hls_handler.errors import DependencyDown, HlsError

CLAUDE_DOWN = DependencyDown("Claude answered 529", dependency="claude", remedy="wait")
INVALID = UnusableReply(
    "", "invalid", "kind: 'bugg' is not one of ...", '{"kind": "bugg"}', Usage("claude-haiku-5-5")
)


Answer = ReplyFields | Reply | UnusableReply | HlsError | str
"""What a test lets Claude do: reply, also with a text that may be no valid reply, or fail."""


@dataclass
class OneProvider:
    """A chain of one provider."""

    provider: FakeClaude

    def next(self) -> FakeClaude:
        return self.provider

    def accept(self, answer: Reply | UnusableReply) -> None: ...

    def fail(self, error: HlsError) -> None:
        raise error


@dataclass
class FakeClaude(Providers):
    """Returns the next of `replies`, and then the last one repeatedly, or what a function of the
    prompt returns; raises an error among them.
    """

    replies: list[Answer] | Callable[[RenderedPrompt], Answer]
    asked: list[RenderedPrompt] = field(default_factory=list)
    corrections: list[UnusableReply | None] = field(default_factory=list)
    on_call: Callable[[str], None] = lambda _call: None  # runs during every call
    model: str = "claude-haiku-5-5"

    def chain(self, model: str | None, *, conversation: str = "") -> Chain:
        return cast(Chain, OneProvider(self))

    def find_outage(self) -> DependencyDown | None:
        return None

    def upper_estimate(
        self, rendered: RenderedPrompt, *, correction: UnusableReply | None = None
    ) -> Usage:
        return Usage(self.model, cache_write_tokens=9000, output_tokens=4000, cost_usd=0.05)

    def ask(
        self, rendered: RenderedPrompt, *, correction: UnusableReply | None = None
    ) -> Reply | UnusableReply:
        self.asked.append(rendered)
        self.corrections.append(correction)
        self.on_call("ask")
        reply = self._next(rendered)
        if isinstance(reply, HlsError):
            raise reply
        if isinstance(reply, Reply | UnusableReply):
            return replace(reply, prompt_id=rendered.prompt.id)
        usage = Usage(
            self.model,
            input_tokens=900,
            output_tokens=100,
            cost_usd=0.00014,
            output_usd=0.00005,
            took_s=1.5,
        )
        prompt = rendered.prompt
        if not isinstance(reply, str):
            return Reply(prompt.id, prompt.reply, reply, usage)
        try:
            parsed = parse_reply(reply, prompt.reply_model)
        except UnreadableReply as exc:
            return UnusableReply(prompt.id, "invalid", str(exc), reply, usage)
        return Reply(prompt.id, prompt.reply, parsed.reply, usage, lost=parsed.lost)

    def _next(self, rendered: RenderedPrompt) -> Answer:
        if callable(self.replies):
            return self.replies(rendered)
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    def close(self) -> None:
        """Nothing is open."""
