"""`hls prompts compare`: what a shadow, or a prompt that is asked now, did against what was posted."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Annotated

import typer

from hls_handler.cli.options import Config, fail, load, open_store
from hls_handler.cli.prompt_asking import Wanted, ask_again
from hls_handler.cli.prompt_comparison import comparison_document, shown_comparison
from hls_handler.cli.say import say_lines
from hls_handler.work.comparison import Comparison, recorded

UNITS = {"d": "days", "h": "hours", "m": "minutes"}
SINCE = re.compile(r"([0-9]{1,5})([dhm])")


def parse_since(given: str) -> timedelta:
    """ "7d", "24h" or "30m"."""
    match = SINCE.fullmatch(given)
    if match is None:
        raise typer.BadParameter("write it as 7d, 24h or 30m", param_hint="--since")
    return timedelta(**{UNITS[match[2]]: int(match[1])})


def compare(
    prompt: Annotated[
        str, typer.Argument(metavar="ID", help="The prompt's name (issues/strict), or its id (issues/strict@3f9c2a).")
    ],
    since: Annotated[str, typer.Option(metavar="SPAN", help="Deliveries that came within 7d, 24h or 30m.")] = "7d",
    other: Annotated[
        str | None, typer.Option("--with", metavar="OTHER", help="Only against this prompt; else whichever was posted.")
    ] = None,
    ask: Annotated[bool, typer.Option("--ask", help="Ask the prompt now about stored deliveries. This costs.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --ask: do not ask me first.")] = False,
    most: Annotated[int, typer.Option(min=1, max=1000, help="With --ask: how many, the newest first.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    config: Config = None,
) -> None:
    """Hold a prompt against what was posted.

    Over the deliveries that a prompt ran on in the shadow of another: where it would have set other labels, whether
    it would have spoken, and what both took, for each delivery and in sum. With --ask the prompt at hand is asked about
    deliveries that are done, with what was read from GitHub then; its cost is told first, and its answers are neither
    kept nor posted. Works while the service runs.

    Exit codes: 0 compared; 1 there is nothing to compare, or it was not asked; 2 called wrongly, or the settings, the
    prompts or the database cannot be used.
    """
    span = parse_since(since)
    settings = load(config)
    with open_store(settings) as store:
        after = store.now() - span
        if ask:
            wanted = Wanted(prompt, other, after, most=most, agreed=yes, quiet=as_json)
            comparison = ask_again(settings, store, wanted)
        else:
            comparison = recorded(store, prompt, other, since=after)
    if not comparison.pairs:
        fail(_nothing(prompt, other, since, comparison, asked=ask))
    if as_json:
        say_lines(json.dumps(comparison_document(comparison), indent=2))
        return
    say_lines("\n".join(shown_comparison(comparison)))


def _nothing(prompt: str, other: str | None, since: str, comparison: Comparison, *, asked: bool) -> str:
    left_out = ", ".join(f"{times} {why}" for why, times in comparison.left_out.items())
    why = f" ({left_out})" if left_out else ""
    against = f" and {other}" if other is not None else ""
    if asked:
        return f"no delivery of the last {since} could be compared{why}"
    return (
        f"no delivery of the last {since} was answered by {prompt}{against} in the shadow{why}: name it in prompts.use "
        f"as {{prompt: {prompt.partition('@')[0]}, shadow: true}} and wait for events, or ask it now about deliveries "
        "that are done, with --ask; what it said of other deliveries cannot be compared"
    )
