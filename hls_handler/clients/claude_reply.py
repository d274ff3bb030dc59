"""Parses Claude's HTTP responses: stop reason, usage with cost at list price, and the validated reply."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeVar

import genai_prices
from pydantic import BaseModel, ConfigDict, ValidationError

from hls_handler.analysis import Reply, UnusableReply, Usage, ValidReply
from hls_handler.clients.claude_errors import unexpected_response
from hls_handler.clients.transport import shorten

M = TypeVar("M", bound=BaseModel)

MAX_PROBLEMS = 5
"""Validation errors that are listed; Claude seldom needs more to correct its reply."""


class _Wire(BaseModel):
    """Ignores unknown fields, because the API adds fields and types of blocks."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Block(_Wire):
    type: str
    text: str = ""


class _Usage(_Wire):
    input_tokens: int  # uncached
    output_tokens: int
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None


class _StopDetails(_Wire):
    category: str | None = None
    explanation: str | None = None


class _Message(_Wire):
    model: str
    content: tuple[_Block, ...]
    stop_reason: str | None
    stop_details: _StopDetails | None = None
    usage: _Usage


class WireModel(_Wire):
    """https://platform.claude.com/docs/en/api/models/retrieve"""

    id: str
    lifecycle: str = "active"  # "deprecated", "retired"; other providers omit it


def parse_body(shape: type[M], body: bytes, *, label: str) -> M:
    """Parse the body of a 200. Raises `DependencyDown` for what the API does not send: broken JSON, a proxy's page."""
    try:
        return shape.model_validate_json(body)
    except ValidationError as exc:
        raise unexpected_response(label, _describe_problems(exc)) from None


def parse_reply(
    body: bytes, *, prompt_id: str, reply_type: str, model: type[Reply], took_s: float
) -> ValidReply | UnusableReply:
    """Return the reply, or the reason why it is unusable. Raises `DependencyDown` as `parse_body` does.

    `model` is the reply's full type. Only blocks of type "text" are used: a thinking block may come first.
    """
    message = parse_body(_Message, body, label=prompt_id)
    usage = _usage(message, took_s)
    text = "".join(block.text for block in message.content if block.type == "text")

    def unusable(why: Literal["invalid", "truncated", "refused", "stopped"], problem: str) -> UnusableReply:
        return UnusableReply(prompt_id, why, problem, text, usage)

    match message.stop_reason:
        case "end_turn" | "stop_sequence":
            try:
                reply = model.model_validate_json(text)
            except ValidationError as exc:
                return unusable("invalid", _describe_problems(exc))
            return ValidReply(prompt_id, reply_type, reply, usage)
        case "max_tokens":
            return unusable("truncated", f"the reply was cut off after {usage.output_tokens} tokens (max_tokens)")
        case "model_context_window_exceeded":
            return unusable("truncated", "prompt and reply together are longer than the model's context window")
        case "refusal":
            return unusable("refused", _describe_stop(message.stop_details))
        case reason:
            return unusable("stopped", f"Claude stopped without a reply ({shorten(reason or 'no stop reason')})")


def _describe_problems(exc: ValidationError) -> str:
    """Return "priority: Input should be 'high', 'medium' or 'low'; summary: Field required", without values."""
    errors = exc.errors(include_input=False, include_url=False, include_context=False)
    problems = [shorten(f"{'.'.join(map(str, error['loc'])) or 'the reply'}: {error['msg']}") for error in errors]
    more = len(problems) - MAX_PROBLEMS
    return "; ".join(problems[:MAX_PROBLEMS]) + (f"; and {more} more" if more > 0 else "")


def _usage(message: _Message, took_s: float) -> Usage:
    counted = Usage(
        model=message.model,
        input_tokens=message.usage.input_tokens,
        output_tokens=message.usage.output_tokens,
        cache_write_tokens=message.usage.cache_creation_input_tokens or 0,
        cache_read_tokens=message.usage.cache_read_input_tokens or 0,
        took_s=took_s,
    )
    return replace(counted, cost_usd=cost_usd(counted))


def _describe_stop(details: _StopDetails | None) -> str:
    category = f" ({shorten(details.category)})" if details and details.category else ""
    explanation = f": {shorten(details.explanation)}" if details and details.explanation else ""
    return f"Claude refused to answer{category}{explanation}"


def cost_usd(usage: Usage) -> float | None:
    """Return US dollars at list price, or None for a model that is not in Anthropic's list.

    `claude-haiku-5-5` with 1,000 uncached input tokens and 1,000 output tokens: 0.0006. The price of some models
    depends on the length of the whole prompt, including cached parts.
    """
    counted = genai_prices.Usage(
        input_tokens=usage.input_tokens + usage.cache_write_tokens + usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        output_tokens=usage.output_tokens,
    )
    try:
        return float(genai_prices.calc_price(counted, usage.model, provider_id="anthropic").total_price)
    except LookupError:
        return None
