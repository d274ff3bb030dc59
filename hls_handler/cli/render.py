"""`hls render`: exactly what Claude would be asked about a payload, without asking."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from hls_handler.analysis import Usage
from hls_handler.cli.options import Config, fail, load, refuse
from hls_handler.cli.payloads import PAYLOAD_HELP, find_payload
from hls_handler.cli.say import say_lines
from hls_handler.clients.claude import request_schema
from hls_handler.clients.prices import cost_usd
from hls_handler.errors import HlsError, PromptError
from hls_handler.events import NAMED_BY
from hls_handler.handlers import HANDLERS
from hls_handler.handlers.handler import Budget
from hls_handler.prompting.library import Library
from hls_handler.prompting.render import Rendered
from hls_handler.prompting.render import render as render_prompt
from hls_handler.prompting.tokens import estimate_tokens
from hls_handler.sandbox.recorded import Recorded
from hls_handler.sandbox.samples import facts_of, load_checked
from hls_handler.settings.model import Settings
from hls_handler.settings.retired import current_model
from hls_handler.work.variables import template_variables

KEY = b"render"
"""Makes the delimiters of strangers' text the same at each call, so that two renderings can be compared."""


def render(
    payload: Annotated[str, typer.Argument(metavar="EVENT.json|NAME", help=PAYLOAD_HELP)],
    prompt: Annotated[str | None, typer.Option(help="Another prompt than the event's: issues/analyze.")] = None,
    event: Annotated[str | None, typer.Option(help="The event's name, where a file does not tell it.")] = None,
    config: Config = None,
) -> None:
    """Print exactly what Claude would be asked about a payload.

    Nothing is called and nothing is written. Facts that a handler would read from GitHub come from the built-in
    sandbox. Shown are the system message, the user message with strangers' text between its delimiters, the JSON
    schema of the reply, and an estimate of tokens and cost. A prompt that `then` leads to sees a reply of Claude,
    so it cannot be rendered before there is one.

    Exit codes: 0 printed; 1 nothing would be asked, and why; 2 called wrongly, or settings or prompts cannot be used.
    """
    settings = load(config)
    chosen = find_payload(payload, event)
    try:
        library = load_checked(settings)
    except PromptError as exc:
        refuse(exc.problems)
    rendered = _rendered(settings, library, chosen, prompt)
    say_lines(report(settings, rendered))


def _rendered(settings: Settings, library: Library, chosen: Recorded, prompt: str | None) -> Rendered:
    handler = HANDLERS.get(chosen.event)
    if handler is None:
        fail(f"{chosen.event} has no handler: nothing is asked; those with one are {', '.join(NAMED_BY)}")
    name = prompt or next(iter(library.on(chosen.key)), None)
    if name is None:
        folders = " or ".join(map(str, settings.prompts.folders.values()))
        fail(f"no prompt in {folders} has {chosen.key} in its `on:`; name one with --prompt")
    if name not in library.prompts:
        refuse([f"there is no prompt {name}; there are {', '.join(sorted(library.prompts))}"])
    try:
        parsed, facts = facts_of(chosen, handler, Budget(input_tokens=settings.claude.input_tokens))
        idle = handler.unasked(facts)
        if idle is not None:
            fail(idle.reason)
        variables = template_variables(parsed, handler, facts, prompt=name, dry_run=settings.features.dry_run)
        return render_prompt(library, name, variables, key=KEY)
    except HlsError as exc:
        fail(str(exc))


def report(settings: Settings, rendered: Rendered) -> str:
    """The whole request as text, and what it is likely to cost."""
    prompt = rendered.prompt
    model = current_model(prompt.model or settings.claude.model)
    max_tokens = prompt.max_tokens or settings.claude.max_tokens
    schema = json.dumps(request_schema(rendered.schema), indent=2)
    tokens = sum(estimate_tokens(text) for text in (rendered.system, rendered.task, schema))
    cheapest = cost_usd(Usage(model, input_tokens=tokens))
    dearest = cost_usd(Usage(model, input_tokens=tokens, output_tokens=max_tokens))
    cost = "unknown" if cheapest is None or dearest is None else f"{cheapest:.6f} to {dearest:.6f} USD"
    return "\n".join(
        [
            f"prompt      {prompt.id} ({prompt.path})",
            f"model       {model}, max_tokens {max_tokens}" + (f", effort {prompt.effort}" if prompt.effort else ""),
            f"estimate    about {tokens} input tokens; {cost} (the reply at its longest), uncached",
            "",
            "--- system ---",
            rendered.system,
            "",
            "--- user ---",
            rendered.task,
            "",
            f"--- schema of the reply ({prompt.reply}) ---",
            schema,
        ]
    )
