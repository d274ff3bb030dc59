"""`hls demo --claude real`: load the settings of Claude, check the API key, and estimate the maximum cost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hls_handler.cli.options import connect_claude, load, require_claude_key
from hls_handler.clients.claude_errors import MODEL_REMEDY
from hls_handler.errors import DependencyDown, SettingsError
from hls_handler.handlers import handler_for
from hls_handler.handlers.handler import PromptLimits, template_variables
from hls_handler.prompting import recorded
from hls_handler.prompting.prompt import Library
from hls_handler.prompting.render import render
from hls_handler.reports.estimate import Estimate, estimate, estimate_from_tokens
from hls_handler.settings.model import Claude as ClaudeSettings
from hls_handler.wording import add_usd, count, was_or_were

KEY_VARIABLE = "ANTHROPIC_API_KEY"
KEY_PLACEHOLDER = f"${{{KEY_VARIABLE}:-only-the-service-of-the-demo-has-it}}"
"""Value of claude.api_key in the demo's settings file. The key itself is only in the service's environment."""


@dataclass(frozen=True, slots=True)
class StoryCost:
    """Maximum number of questions to Claude about the demo's events, and the maximum cost of the questions."""

    questions: int
    max_usd: float | None  # if each question is asked twice with replies of max_tokens; None: a price is unknown

    @property
    def sentence(self) -> str:
        questions = f"up to {self.questions} questions"
        if self.max_usd is None:
            return f"{questions}; the price of at least one model is unknown"
        cost = f"about {self.max_usd:.4f} USD at most"
        return f"{questions}; {cost}, if every reply has the maximum length and every question is asked twice"


def load_claude_settings(config: Path | None) -> ClaudeSettings:
    """Return the claude section of the settings file. Exits with 2 if there is no key or the file cannot be used.

    Without a file, ANTHROPIC_API_KEY suffices.
    """
    settings = load(config, credentials=False)
    require_claude_key(settings, alternative="omit --claude real")
    return settings.claude


def format_claude_section(claude: ClaudeSettings) -> str:
    """Return the claude section as JSON for the demo's settings file, with `KEY_PLACEHOLDER` instead of the key."""
    keys = claude.model_dump(mode="json", exclude={"api_key", "temperature"})
    return json.dumps({"api_key": KEY_PLACEHOLDER, **keys})


def require_claude_access(claude: ClaudeSettings) -> None:
    """Raise `DependencyDown` if Claude rejects the key or cannot be reached.

    An unknown model is no error, because a compatible service may have no endpoint to look up models.
    """
    with connect_claude(claude) as client:
        try:
            client.lookup_model(claude.model)
        except DependencyDown as exc:
            if exc.remedy != MODEL_REMEDY:
                raise


def estimate_story_cost(claude: ClaudeSettings, library: Library) -> StoryCost:
    estimates = [one for name in recorded.STORY for one in _estimates(claude, library, name)]
    return StoryCost(len(estimates), add_usd(one.max_usd_with_correction for one in estimates))


def require_budget(claude: ClaudeSettings, cost: StoryCost, *, asked: int) -> None:
    """Raise `SettingsError` if the demo, after `asked` calls in the last hour, could exceed claude.calls_per_hour."""
    if asked + cost.questions > claude.calls_per_hour:
        limit = f"claude.calls_per_hour allows {claude.calls_per_hour}"
        questions, recent = count(cost.questions, "question"), f"{asked} {was_or_were(asked)}"
        problem = f"the demo asks up to {questions}, {recent} asked in the last hour, and {limit}"
        raise SettingsError([f"{problem}; wait, or raise claude.calls_per_hour"])


def _estimates(claude: ClaudeSettings, library: Library, name: str) -> Iterator[Estimate]:
    payload = recorded.load(name)
    handler = handler_for(payload.event)
    prompt = next(iter(library.on(payload.key) or library.on(payload.event)), None)
    from hls_handler.sandbox.samples import facts_of  # here: `hls serve` does not need it

    event, facts = facts_of(payload, handler, PromptLimits(input_tokens=claude.input_tokens))
    if prompt is None or handler.skip_reason(facts) is not None:
        return
    variables = template_variables(event, handler, facts, prompt=prompt)
    first = estimate(claude, render(library, prompt, variables, key=b"estimate"))
    yield first
    tokens = first.input_tokens
    for follower in library.followers(prompt):
        tokens += first.max_tokens  # the prompt contains the first reply
        yield estimate_from_tokens(claude, library.prompts[follower], input_tokens=tokens)
