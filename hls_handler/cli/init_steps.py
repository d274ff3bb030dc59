"""The steps that remain after `hls init`, with exact commands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hls_handler.clients.app_setup import EVENTS, UNSERVED_URL


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `hls init` has set up."""

    web_url: str  # "https://github.com"
    webhook_url: str  # `UNSERVED_URL` if there is no public address
    repositories: tuple[str, ...]
    app_settings_url: str | None  # page of the App; None for a token
    is_installed: bool
    has_claude_key: bool


def remaining_steps(outcome: Outcome, *, hls: str, config: Path | None, dotenv: Path) -> Iterator[str]:
    """Yield the steps; further lines of a step are indented. `config` is the value of --config."""
    option = f" --config {config}" if config is not None else ""
    is_public = outcome.webhook_url != UNSERVED_URL
    app = outcome.app_settings_url
    if not outcome.has_claude_key:
        yield f"Add the line ANTHROPIC_API_KEY=... to {dotenv.absolute()}."
    if app is not None and not outcome.is_installed:
        yield f"Install the App on your repositories: {app}/installations"
    yield f"Check settings, prompts and credentials: {hls} check{option}"
    if app is None:
        for name in outcome.repositories:
            owner, _, repository = name.partition("/")
            page = f"organizations/{owner}" if "*" in repository else name
            yield (
                f"Create the webhook: {outcome.web_url}/{page}/settings/hooks/new\n"
                f"     Payload URL: {outcome.webhook_url}   Content type: application/json\n"
                f"     Secret: the value of GITHUB_WEBHOOK_SECRET in {dotenv.absolute()}\n"
                f"     Events: {', '.join(EVENTS)}"
            )
    if is_public:
        forward = f"A proxy with TLS forwards {outcome.webhook_url} to it (docs/operating.md)."
        yield f"Receive events: {hls} serve{option}\n     {forward}"
    else:
        yield f"Receive events, without a public address: {hls} listen{option}"
    first = next((name for name in outcome.repositories if "*" not in name), "one of the repositories")
    yield f"Open an issue in {first}, and see what HLS does: {hls} deliveries list{option}"
    if not is_public:
        where = "in each webhook" if app is None else f"at {app}"
        yield f"Later, with a public address: enter it as the webhook URL {where}, and use {hls} serve{option}."
