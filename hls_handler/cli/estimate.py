"""Cost estimate for one question to Claude, made before it is asked."""

from __future__ import annotations

import json
from dataclasses import dataclass

from hls_handler.analysis import Usage
from hls_handler.clients.claude import request_schema
from hls_handler.clients.claude_reply import cost_usd
from hls_handler.prompting.prompt import Prompt
from hls_handler.prompting.render import RenderedPrompt
from hls_handler.prompting.tokens import estimate_tokens
from hls_handler.settings.model import Claude
from hls_handler.settings.retired import resolve_model


@dataclass(frozen=True, slots=True)
class Estimate:
    model: str  # after replacement of a retired one
    max_tokens: int  # limit of the reply
    input_tokens: int  # estimated, uncached
    min_usd: float | None  # at list price, without a reply; None if the model's price is unknown
    max_usd: float | None  # with a reply of max_tokens

    @property
    def max_usd_with_correction(self) -> float | None:
        """Cost of two questions: a reply of max_tokens fails validation and is part of the second question."""
        if self.max_usd is None:
            return None
        tokens = self.input_tokens + self.max_tokens
        second_usd = cost_usd(Usage(self.model, input_tokens=tokens, output_tokens=self.max_tokens))
        return None if second_usd is None else self.max_usd + second_usd


def estimate(settings: Claude, rendered: RenderedPrompt) -> Estimate:
    schema = json.dumps(request_schema(rendered.schema), indent=2)
    tokens = sum(estimate_tokens(text) for text in (rendered.system, rendered.task, schema))
    return estimate_from_tokens(settings, rendered.prompt, input_tokens=tokens)


def estimate_from_tokens(settings: Claude, prompt: Prompt, *, input_tokens: int) -> Estimate:
    """Estimate the cost of a question of which only the size is known."""
    model = resolve_model(prompt.model or settings.model)
    max_tokens = prompt.max_tokens or settings.max_tokens
    return Estimate(
        model=model,
        max_tokens=max_tokens,
        input_tokens=input_tokens,
        min_usd=cost_usd(Usage(model, input_tokens=input_tokens)),
        max_usd=cost_usd(Usage(model, input_tokens=input_tokens, output_tokens=max_tokens)),
    )
