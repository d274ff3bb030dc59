"""What one question to Claude is likely to cost, before it is asked."""

from __future__ import annotations

import json
from dataclasses import dataclass

from hls_handler.analysis import Usage
from hls_handler.clients.claude import request_schema
from hls_handler.clients.prices import cost_usd
from hls_handler.prompting.prompt import Prompt
from hls_handler.prompting.render import Rendered
from hls_handler.prompting.tokens import estimate_tokens
from hls_handler.settings.model import Claude
from hls_handler.settings.retired import current_model


@dataclass(frozen=True, slots=True)
class Estimate:
    model: str  # the one that is asked
    max_tokens: int  # longest reply
    input_tokens: int  # estimated, uncached
    cheapest_usd: float | None  # at list price, without a reply; None for a model without a known price
    dearest_usd: float | None  # with the longest reply

    @property
    def twice_usd(self) -> float | None:
        """With the longest reply, which is of no use, and a second question that shows it."""
        if self.dearest_usd is None:
            return None
        tokens = self.input_tokens + self.max_tokens
        again = cost_usd(Usage(self.model, input_tokens=tokens, output_tokens=self.max_tokens))
        return None if again is None else self.dearest_usd + again


def estimate(settings: Claude, rendered: Rendered) -> Estimate:
    schema = json.dumps(request_schema(rendered.schema), indent=2)
    tokens = sum(estimate_tokens(text) for text in (rendered.system, rendered.task, schema))
    return of_prompt(settings, rendered.prompt, input_tokens=tokens)


def of_prompt(settings: Claude, prompt: Prompt, *, input_tokens: int) -> Estimate:
    """The same where the question is not known yet, but for its size."""
    model = current_model(prompt.model or settings.model)
    max_tokens = prompt.max_tokens or settings.max_tokens
    return Estimate(
        model=model,
        max_tokens=max_tokens,
        input_tokens=input_tokens,
        cheapest_usd=cost_usd(Usage(model, input_tokens=input_tokens)),
        dearest_usd=cost_usd(Usage(model, input_tokens=input_tokens, output_tokens=max_tokens)),
    )
