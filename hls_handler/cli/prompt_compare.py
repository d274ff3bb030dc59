"""`hls prompts compare`: compare the replies of a shadow prompt, or of a prompt asked now, with what was posted."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Annotated

import typer

from hls_handler.cli.options import Config, fail, load, open_store
from hls_handler.cli.prompt_asking import RerunRequest, rerun_prompt
from hls_handler.cli.prompt_comparison import comparison_to_dict, format_comparison
from hls_handler.cli.say import print_lines
from hls_handler.work.comparison import Comparison, recorded

UNITS = {"d": "days", "h": "hours", "m": "minutes"}
SINCE = re.compile(r"([0-9]{1,5})([dhm])")


def parse_since(given: str) -> timedelta:
    """Parse "7d", "24h" or "30m"."""
    match = SINCE.fullmatch(given)
    if match is None:
        raise typer.BadParameter("write it as 7d, 24h or 30m", param_hint="--since")
    return timedelta(**{UNITS[match[2]]: int(match[1])})


def compare(
    prompt: Annotated[
        str, typer.Argument(metavar="ID", help="The prompt's name (issues/strict), or its id (issues/strict@3f9c2a).")
    ],
    since: Annotated[
        str, typer.Option(metavar="SPAN", help="Only deliveries received within the last 7d, 24h or 30m.")
    ] = "7d",
    other: Annotated[
        str | None,
        typer.Option(
            "--with", metavar="OTHER", help="Compare only with this prompt; default: any prompt whose reply was posted."
        ),
    ] = None,
    ask: Annotated[
        bool, typer.Option("--ask", help="Ask Claude now, about stored deliveries. This costs money.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --ask: do not ask for confirmation.")] = False,
    most: Annotated[
        int, typer.Option(min=1, max=1000, help="With --ask: maximum number of deliveries, newest first.")
    ] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    config: Config = None,
) -> None:
    """Compare a prompt with what was posted.

    Uses the deliveries for which the prompt ran as a shadow: prints, for each delivery and in total, the differences
    in labels, whether each prompt would have commented, and tokens and cost of both. With --ask, the current version of
    the prompt is asked about finished deliveries, with the facts that were read from GitHub at the time; the cost is
    printed first, and the replies are neither stored nor posted. Works while the service runs.

    Exit codes: 0 compared; 1 nothing to compare, or not confirmed; 2 usage error, or unusable settings, prompts or
    database.
    """
    span = parse_since(since)
    settings = load(config)
    with open_store(settings) as store:
        after = store.now() - span
        if ask:
            request = RerunRequest(prompt, other, after, limit=most, confirmed=yes, to_stderr=as_json)
            comparison = rerun_prompt(settings, store, request)
        else:
            comparison = recorded(store, prompt, other, since=after)
    if not comparison.pairs:
        fail(_explain_no_pairs(prompt, other, since, comparison, asked=ask))
    if as_json:
        print_lines(json.dumps(comparison_to_dict(comparison), indent=2))
        return
    print_lines("\n".join(format_comparison(comparison)))


def _explain_no_pairs(prompt: str, other: str | None, since: str, comparison: Comparison, *, asked: bool) -> str:
    excluded = ", ".join(f"{count} {reason}" for reason, count in comparison.excluded.items())
    detail = f" ({excluded})" if excluded else ""
    if asked:
        return f"no delivery of the last {since} could be compared{detail}"
    missing = f"{prompt} ran as a shadow" if other is None else f"{prompt} and {other} ran, one as the other's shadow"
    return (
        f"there is no delivery of the last {since} on which {missing}{detail}; set an event of prompts.use to "
        f"{{prompt: {prompt.partition('@')[0]}, shadow: true}} and wait for such events, or ask the prompt now about "
        "finished deliveries with --ask; no other deliveries can be compared"
    )
