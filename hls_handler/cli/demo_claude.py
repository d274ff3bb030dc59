"""The real Claude in the demo: whose key is used, and what the story's questions cost at most."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr

from hls_handler.cli.estimate import Estimate, estimate, of_prompt
from hls_handler.cli.options import DEFAULT_CONFIG, DOTENV, load_without_credentials, need, refuse
from hls_handler.clients.claude import Claude
from hls_handler.clients.claude_refusals import MODEL_REMEDY
from hls_handler.errors import DependencyDown, SettingsError
from hls_handler.handlers import handler_for
from hls_handler.handlers.handler import Budget
from hls_handler.prompting.library import Library
from hls_handler.prompting.render import render
from hls_handler.sandbox import recorded
from hls_handler.sandbox.samples import facts_of
from hls_handler.settings.environment import read_environment
from hls_handler.settings.model import Claude as ClaudeSettings
from hls_handler.work.variables import template_variables

KEY_VARIABLE = "ANTHROPIC_API_KEY"
OTHERWISE = "leave --claude real away"
KEY_IN_FILE = f"${{{KEY_VARIABLE}:-only-the-service-of-the-demo-has-it}}"
"""In place of the key in the demo's settings file: the service gets it by the variable, and nobody else needs it."""


@dataclass(frozen=True, slots=True)
class Bill:
    """What the story asks of Claude at most."""

    questions: int
    at_most_usd: float | None  # each asked twice, all replies at their longest; None where a price is not known

    @property
    def sentence(self) -> str:
        asks = f"up to {self.questions} questions"
        if self.at_most_usd is None:
            return f"{asks}; the price of a model that it asks is not known here"
        most = f"about {self.at_most_usd:.4f} USD at most"
        return f"{asks}; {most}, with every reply at its longest and each asked a second time"


def find_real_claude(config: Path | None) -> ClaudeSettings:
    """The claude section of the settings file, if there is one, else the defaults with the key from the environment.

    Exits with 2 when there is no key, or when the settings cannot be used.
    """
    if config is not None or os.environ.get("HLS_CONFIG") or DEFAULT_CONFIG.is_file():
        settings = load_without_credentials(config)
        need(settings, "claude.api_key", otherwise=OTHERWISE)
        return settings.claude
    try:
        key = read_environment(os.environ, DOTENV).get(KEY_VARIABLE, "").strip()
    except SettingsError as exc:
        refuse(exc.problems)
    if not key:
        refuse([f"{KEY_VARIABLE} is not set; set it in the environment or in .env, or {OTHERWISE}"])
    return ClaudeSettings(api_key=SecretStr(key))


def section(claude: ClaudeSettings) -> str:
    """For the demo's settings file: all but the key."""
    keys = claude.model_dump(mode="json", exclude={"api_key", "temperature"})
    return json.dumps({"api_key": KEY_IN_FILE, **keys})


def require_answer(claude: ClaudeSettings) -> None:
    """Raises `DependencyDown` for a key or an address that is of no use, before anything waits for it.

    Not every service that answers questions tells of its models, so an unknown one is no reason.
    """
    with closing(Claude(claude, clock=time.monotonic, now=lambda: datetime.now(UTC))) as client:
        try:
            client.lookup_model(claude.model)
        except DependencyDown as exc:
            if exc.remedy != MODEL_REMEDY:
                raise


def bill(claude: ClaudeSettings, library: Library) -> Bill:
    """Of the whole story, with the prompts at hand."""
    estimates = [one for name in recorded.STORY for one in _estimates(claude, library, name)]
    known = [one.twice_usd for one in estimates if one.twice_usd is not None]
    return Bill(len(estimates), sum(known) if len(known) == len(estimates) else None)


def require_budget(claude: ClaudeSettings, bill: Bill, *, asked: int) -> None:
    """Raises `SettingsError` when the story would have to wait for claude.calls_per_hour; `asked` within the hour."""
    if asked + bill.questions > claude.calls_per_hour:
        most = f"claude.calls_per_hour allows {claude.calls_per_hour}"
        problem = f"it asks up to {bill.questions} questions, {asked} were asked within the hour, and {most}"
        raise SettingsError([f"{problem}; wait, or raise it"])


def _estimates(claude: ClaudeSettings, library: Library, name: str) -> Iterator[Estimate]:
    payload = recorded.load(name)
    handler = handler_for(payload.event)
    prompt = next(iter(library.on(payload.key) or library.on(payload.event)), None)
    event, facts = facts_of(payload, handler, Budget(input_tokens=claude.input_tokens))
    if prompt is None or handler.unasked(facts) is not None:
        return
    variables = template_variables(event, handler, facts, prompt=prompt, dry_run=False)
    first = estimate(claude, render(library, prompt, variables, key=b"bill"))
    yield first
    tokens = first.input_tokens
    for follower in library.followers(prompt):
        tokens += first.max_tokens  # the reply that it sees
        yield of_prompt(claude, library.prompts[follower], input_tokens=tokens)
