"""`hls render`: exactly what Claude would be asked about an event, without asking."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from hls_handler.cli.estimate import estimate
from hls_handler.cli.options import Config, fail, load_without_credentials
from hls_handler.cli.prompt_finding import find_library, find_prompt
from hls_handler.cli.say import say_lines
from hls_handler.cli.subjects import LIVE_HELP, SUBJECT_HELP, Subject, find_subject, open_reader, with_remedy
from hls_handler.clients.claude import request_schema
from hls_handler.errors import HlsError
from hls_handler.events import parse_event
from hls_handler.handlers import handler_for
from hls_handler.handlers.handler import Budget
from hls_handler.handlers.record import NOTHING_KNOWN
from hls_handler.prompting.library import Library
from hls_handler.prompting.render import Rendered
from hls_handler.prompting.render import render as render_prompt
from hls_handler.sandbox.samples import DELIVERY
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.globs import NOTHING_LEFT_OUT
from hls_handler.settings.model import Settings
from hls_handler.work.variables import template_variables

KEY = b"render"
"""Makes the delimiters of strangers' text the same at each call, so that two renderings can be compared."""

INSTEAD = "render a payload, which needs none: issues.opened"


def render(
    subject: Annotated[str, typer.Argument(metavar="EVENT.json|NAME|URL", help=SUBJECT_HELP)],
    prompt: Annotated[str | None, typer.Option(help="Another prompt than the event's: issues/analyze.")] = None,
    event: Annotated[str | None, typer.Option(help="The event's name, where a file does not tell it.")] = None,
    live: Annotated[bool, typer.Option("--live", help=LIVE_HELP)] = False,
    config: Config = None,
) -> None:
    """Print exactly what Claude would be asked about an event.

    Claude is not asked and nothing is written. Facts that a handler would read from GitHub come from the built-in
    sandbox; with --live, and for the address of an issue or a pull request, they are read from GitHub with
    github.token. Shown are the system message, the user message with strangers' text between its delimiters, the JSON
    schema of the reply, and an estimate of tokens and cost. A prompt that `then` leads to sees a reply of Claude,
    so it cannot be rendered before there is one.

    Exit codes: 0 printed; 1 nothing would be asked, and why; 2 called wrongly, or settings or prompts cannot be used.
    """
    settings = load_without_credentials(config)
    chosen = find_subject(subject, event, live=live, settings=settings, instead=INSTEAD)
    library = find_library(settings)
    say_lines(report(settings, _rendered(settings, library, chosen, prompt)))


def _rendered(settings: Settings, library: Library, chosen: Subject, prompt: str | None) -> Rendered:
    handler = handler_for(chosen.event)
    name = prompt or next(iter(library.on(chosen.key) or library.on(chosen.event)), None)
    if name is None:
        folders = " or ".join(map(str, settings.prompts.folders.values()))
        fail(f"no prompt in {folders} has {chosen.key} in its `on:`; name one with --prompt")
    name = find_prompt(library, name).name
    try:
        parsed = parse_event(chosen.event, DELIVERY, chosen.body)
        holds = RepositoryTable(settings).find(parsed.repository.full_name)
        with open_reader(chosen, parsed.repository.full_name, settings) as reader:
            budget = Budget(settings.claude.input_tokens, left_out=holds.paths if holds else NOTHING_LEFT_OUT)
            facts = handler.gather(parsed, reader, NOTHING_KNOWN, budget)
        idle = handler.unasked(facts)
        if idle is not None:
            fail(idle.reason)
        variables = template_variables(
            parsed,
            handler,
            facts,
            prompt=name,
            dry_run=(holds or settings).features.dry_run,
            comments=(holds or settings).comments,
        )
        return render_prompt(library, name, variables, key=KEY)
    except HlsError as exc:
        fail(with_remedy(exc))


def report(settings: Settings, rendered: Rendered) -> str:
    """The whole request as text, and what it is likely to cost."""
    prompt, likely = rendered.prompt, estimate(settings.claude, rendered)
    cost = "unknown"
    if likely.cheapest_usd is not None and likely.dearest_usd is not None:
        cost = f"{likely.cheapest_usd:.6f} to {likely.dearest_usd:.6f} USD"
    effort = f", effort {prompt.effort}" if prompt.effort else ""
    return "\n".join(
        [
            f"prompt      {prompt.id} ({prompt.path})",
            f"model       {likely.model}, max_tokens {likely.max_tokens}{effort}",
            f"estimate    about {likely.input_tokens} input tokens; {cost} (the reply at its longest), uncached",
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
