"""Estimates tokens and cost of a question to Claude before it is sent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from hls_handler.analysis import Usage
from hls_handler.clients.claude import cost_usd, request_schema
from hls_handler.prompting.prompt import Prompt
from hls_handler.prompting.render import RenderedPrompt, estimate_tokens
from hls_handler.settings.model import Claude, resolve_model
from hls_handler.wording import add_usd


@dataclass(frozen=True, slots=True)
class Estimate:
    model: str  # if the configured model is retired, its successor
    max_tokens: int  # limit on the tokens of the reply
    input_tokens: int  # estimated, uncached
    min_usd: float | None  # list price of the input tokens; None if the model's price is unknown
    max_usd: float | None  # of the input tokens, written to Claude's prompt cache, and of a reply of max_tokens

    @property
    def max_usd_with_correction(self) -> float | None:
        """Maximum cost of two questions. The second asks Claude to correct an invalid reply and contains that reply."""
        if self.max_usd is None:
            return None
        tokens = self.input_tokens + self.max_tokens
        second_usd = cost_usd(Usage(self.model, cache_write_tokens=tokens, output_tokens=self.max_tokens))
        return None if second_usd is None else self.max_usd + second_usd


def estimate(settings: Claude, rendered: RenderedPrompt) -> Estimate:
    schema = json.dumps(request_schema(rendered.schema), indent=2)
    tokens = sum(estimate_tokens(text) for text in (rendered.system, rendered.task, schema))
    return estimate_from_tokens(settings, rendered.prompt, input_tokens=tokens)


def estimate_from_tokens(settings: Claude, prompt: Prompt, *, input_tokens: int) -> Estimate:
    """Estimate the cost of one question. `model` and `max_tokens` of `prompt` override those of `settings`."""
    model = resolve_model(prompt.model or settings.model)
    max_tokens = prompt.max_tokens or settings.max_tokens
    return Estimate(
        model=model,
        max_tokens=max_tokens,
        input_tokens=input_tokens,
        min_usd=cost_usd(Usage(model, input_tokens=input_tokens)),
        max_usd=cost_usd(Usage(model, cache_write_tokens=input_tokens, output_tokens=max_tokens)),
    )


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """The expected cost of the questions to the first prompt."""

    questions: int
    models: tuple[str, ...]
    input_tokens: int
    min_usd: float | None  # None if the price of a model is unknown
    max_usd: float | None


def add_estimates(estimates: Sequence[Estimate]) -> CostEstimate:
    return CostEstimate(
        questions=len(estimates),
        models=tuple(dict.fromkeys(one.model for one in estimates)),
        input_tokens=sum(one.input_tokens for one in estimates),
        min_usd=add_usd(one.min_usd for one in estimates),
        max_usd=add_usd(one.max_usd for one in estimates),
    )


def format_cost(expected: Estimate | CostEstimate) -> str:
    """Return "0.000022 to 0.002022 USD", or "unknown"."""
    if expected.min_usd is None or expected.max_usd is None:
        return "unknown"
    return f"{expected.min_usd:.6f} to {expected.max_usd:.6f} USD"
