"""`hls render`: print the exact request to Claude for an event, and an estimate of its cost.
Nothing is sent.
"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from hls_handler.analysis import RenderedPrompt
from hls_handler.batches.trial import Trial, read_unstored
from hls_handler.claude.provider import request_schema
from hls_handler.cli.config import load_repository_files
from hls_handler.cli.event_input import (
    EventName,
    Live,
    Subject,
    SubjectName,
    connect_github,
    get_prompt,
    load_subject,
    use_sandbox,
)
from hls_handler.cli.options import Config, fail, lacks_github_token, load
from hls_handler.cli.terminal import print_lines
from hls_handler.engine.library import GUID, load_checked
from hls_handler.events import Event, parse_event
from hls_handler.handlers.reader import EmptyHistory
from hls_handler.prompting.prompt import Library
from hls_handler.reports.estimate import estimate, format_cost
from hls_handler.routing import Ignored, Router, Rule, from_event
from hls_handler.settings.effective import (
    RepositoryTable,
    apply_repository_settings,
    without_entry,
)
from hls_handler.settings.model import Settings

DELIMITER_KEY = b"render"
"""Secret for the delimiters of untrusted text. It is fixed, so that the output for an event is
always the same.
"""


def render(
    subject: SubjectName,
    prompt: Annotated[
        str | None,
        typer.Option(metavar="PROMPT", help="Use this prompt instead of the event's own."),
    ] = None,
    event: EventName = None,
    live: Live = False,
    config: Config = None,
) -> None:
    """Print the exact request to Claude for an event.

    A large pull request has several requests. Prints the system message, the user message with
    untrusted text between delimiters, the JSON schema of the reply, and an estimate of tokens and
    cost. The prompt is the one that the repository's settings choose, with the settings in its
    .github/hls.yaml as the service last read it. Claude is not asked and nothing is written. The
    facts about the event come from the built-in sandbox. With --live, or for the URL of an issue or
    a pull request, the facts are read from GitHub, and with a token that file. Prompts that are
    named in `then` cannot be rendered, because they need Claude's reply to an earlier prompt.
    """
    settings = load(config, credentials=False)
    chosen = load_subject(subject, event, live=live, settings=settings)
    library = load_checked(settings)
    requests = _render(settings, library, chosen, prompt)
    print_lines("\n\n".join(format_request(settings, request) for request in requests))


def _render(
    settings: Settings, library: Library, chosen: Subject, prompt: str | None
) -> tuple[RenderedPrompt, ...]:
    event = parse_event(chosen.event, GUID, chosen.body)
    rule = _find_rule(settings, library, event, prompt, live=chosen.live)
    with use_sandbox(chosen, settings) as used, connect_github(chosen, used) as github:
        history = EmptyHistory(accounts=(github.fetch_bot_account().login,))
        reader = github.reader(event.repository.full_name)
        source = read_unstored(event, reader, settings, library, rule, history)
    return Trial(source, library, rule.prompt, DELIMITER_KEY).render_requests()


def _find_rule(
    settings: Settings, library: Library, event: Event, prompt: str | None, *, live: bool
) -> Rule:
    """Return the rule for an event, with the repository's settings, also if no entry matches it."""
    repository = event.repository.full_name
    table = RepositoryTable(settings)
    effective = table.find(repository) or without_entry(settings)
    live = live and not lacks_github_token(settings)
    states = load_repository_files(settings, effective, repository, live=live)
    files = [state.settings for state in states]
    effective = apply_repository_settings(effective, *files)
    if prompt is not None:
        named = get_prompt(library, prompt)
        return Rule(event.key, named.name, effective, named.path)
    settings = settings.with_repository_sources(*(file.sources for file in files))
    rule = Router(settings, table, library).find_rule(from_event(event), effective)
    if isinstance(rule, Ignored):
        fail(f"{rule.reason}; or choose a prompt with --prompt")
    return rule


def format_request(settings: Settings, rendered: RenderedPrompt) -> str:
    prompt = rendered.prompt
    expected = estimate(settings.claude, rendered)
    cost = format_cost(expected)
    limits = f"max_tokens {expected.max_tokens}"
    if prompt.effort:
        limits += f", effort {prompt.effort}"
    return "\n".join(
        [
            f"prompt      {prompt.id} ({prompt.path})",
            f"model       {expected.models[0]}, {limits}",
            (
                f"estimate    about {expected.input_tokens} input tokens; {cost} (with the longest"
                " reply), uncached"
            ),
            "",
            "--- system ---",
            rendered.system,
            "",
            "--- user ---",
            rendered.task,
            "",
            f"--- schema of the reply ({prompt.reply}) ---",
            json.dumps(request_schema(rendered.schema), indent=2),
        ]
    )
