"""Estimates tokens and cost of questions to Claude before they are sent."""

from __future__ import annotations

import json
from dataclasses import dataclass

from hls_handler.analysis import Usage
from hls_handler.clients.prices import with_price
from hls_handler.clients.provider import request_schema
from hls_handler.prompting.prompt import Prompt
from hls_handler.prompting.render import RenderedPrompt, estimate_tokens
from hls_handler.settings.model import Claude
from hls_handler.wording import add_usd


@dataclass(frozen=True, slots=True)
class Estimate:
    questions: int
    models: tuple[str, ...]  # if a configured model is retired, its successor
    max_tokens: int  # the highest limit on the tokens of a reply
    input_tokens: int  # estimated, uncached
    min_usd: float | None  # list price of the input tokens; None if the price of a model is unknown
    max_usd: float | None  # of the input tokens, written to Claude's prompt cache, and of replies of max_tokens


def estimate(settings: Claude, *requests: RenderedPrompt) -> Estimate:
    each = [estimate_from_tokens(settings, one.prompt, input_tokens=_count_tokens(one)) for one in requests]
    return Estimate(
        questions=len(each),
        models=tuple(dict.fromkeys(model for one in each for model in one.models)),
        max_tokens=max((one.max_tokens for one in each), default=0),
        input_tokens=sum(one.input_tokens for one in each),
        min_usd=add_usd(one.min_usd for one in each),
        max_usd=add_usd(one.max_usd for one in each),
    )


def estimate_from_tokens(settings: Claude, prompt: Prompt, *, input_tokens: int) -> Estimate:
    """Estimate the cost of one question. `model` and `max_tokens` of `prompt` override those of `settings`."""
    model, max_tokens = (
        settings.name_model(*settings.find_model(prompt.model)),
        prompt.max_tokens or settings.max_tokens,
    )
    least = with_price(Usage(model, input_tokens=input_tokens), settings)
    most = with_price(Usage(model, cache_write_tokens=input_tokens, output_tokens=max_tokens), settings)
    return Estimate(1, (model,), max_tokens, input_tokens, least.cost_usd, most.cost_usd)


def _count_tokens(rendered: RenderedPrompt) -> int:
    schema = json.dumps(request_schema(rendered.schema), indent=2)
    return sum(estimate_tokens(text) for text in (rendered.system, rendered.task, schema))


def format_cost(expected: Estimate) -> str:
    """Return "0.000022 to 0.002022 USD", or "unknown"."""
    if expected.min_usd is None or expected.max_usd is None:
        return "unknown"
    return f"{expected.min_usd:.6f} to {expected.max_usd:.6f} USD"
