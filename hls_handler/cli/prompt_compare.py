"""`hls prompts compare`: compare the replies of a shadow prompt, or of a prompt asked now, with what was posted."""

from __future__ import annotations

import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from hls_handler.analysis import Usage
from hls_handler.cli.options import Config, abort, fail, load, open_store, print_line, print_lines
from hls_handler.cli.prompt_library import get_prompt, load_library
from hls_handler.clients.claude import Claude, request_schema
from hls_handler.clients.claude_reply import cost_usd
from hls_handler.errors import DependencyDown, PromptError, SettingsError, StepFailed
from hls_handler.prompting.prompt import Library, Prompt
from hls_handler.prompting.render import RenderedPrompt, estimate_tokens
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Settings, resolve_model
from hls_handler.storage import Storage
from hls_handler.untrusted.cleaning import escape_unprintable
from hls_handler.work.asking import PROMPT_SECRET
from hls_handler.work.comparison import (
    Comparison,
    Difference,
    Pair,
    Side,
    is_named,
    mean_cost_usd,
    mean_tokens,
    pair,
    prompt_ids,
    recorded,
)
from hls_handler.work.rerun import Stored, rendered, run_again, stored_for

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
            request = _RerunRequest(prompt, other, after, limit=most, confirmed=yes, to_stderr=as_json)
            comparison = _rerun_prompt(settings, store, request)
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


@dataclass(frozen=True, slots=True)
class _RerunRequest:
    """Arguments of `hls prompts compare --ask`."""

    prompt: str  # name or id
    other: str | None  # only deliveries that this prompt answered; None: any prompt
    since: datetime  # only deliveries received since then
    limit: int  # maximum number of deliveries, newest first
    confirmed: bool  # do not ask for confirmation of the cost
    to_stderr: bool  # print messages to standard error, because standard output is for JSON


@dataclass(frozen=True, slots=True)
class _Plan:
    """The questions to ask."""

    prompt: Prompt
    library: Library
    key: bytes
    questions: tuple[tuple[Stored, RenderedPrompt], ...]
    failed: int  # number of deliveries for which the prompt could not be rendered


def _rerun_prompt(settings: Settings, store: Storage, request: _RerunRequest) -> Comparison:
    """Print the cost, ask for confirmation, and ask Claude.

    Exits with 1 if the user declines, and with 2 if standard input is not a terminal and `confirmed` is not set.
    """
    plan = _plan(settings, store, request)
    if not plan.questions:
        return Comparison((), +Counter(failed=plan.failed))
    print_line(_describe_cost(settings, plan), err=request.to_stderr)
    if not request.confirmed:
        if not sys.stdin.isatty():
            abort(["standard input is not a terminal, so the cost cannot be confirmed; add --yes to confirm it"])
        if not typer.confirm("Ask Claude?", err=request.to_stderr):
            fail("Claude was not asked")
    try:
        claude = Claude(settings.claude, clock=time.monotonic, now=lambda: datetime.now(UTC))
    except SettingsError as exc:
        abort(exc.problems)
    with closing(claude):
        return _ask_all(plan, claude, pause_s=1 / settings.claude.requests_per_second)


def _plan(settings: Settings, store: Storage, request: _RerunRequest) -> _Plan:
    library = load_library(settings)
    prompt = get_prompt(library, request.prompt)
    if not prompt.on:
        abort(
            [f"{prompt.name} has no events of its own, because it follows another prompt; compare that prompt instead"]
        )
    key, table = store.database.secret(PROMPT_SECRET), RepositoryTable(settings)
    questions: list[tuple[Stored, RenderedPrompt]] = []
    failed = 0
    for row in store.deliveries.with_checkpoint("ask", since=request.since):
        stored = stored_for(store, row, prompt, library, table)
        if stored is None or not (request.other is None or is_named(request.other, stored.posted.ran.prompt_id)):
            continue
        try:
            questions.append((stored, rendered(stored, library, key)))
        except PromptError as exc:
            _print_failure(stored, exc)
            failed += 1
        if len(questions) == request.limit:
            break
    return _Plan(prompt, library, key, tuple(questions), failed)


def _describe_cost(settings: Settings, plan: _Plan) -> str:
    prompt, count = plan.prompt, len(plan.questions)
    model = resolve_model(prompt.model or settings.claude.model)
    tokens = sum(
        estimate_tokens(text)
        for _, question in plan.questions
        for text in (question.system, question.task, json.dumps(request_schema(question.schema)))
    )
    output_tokens = count * (prompt.max_tokens or settings.claude.max_tokens)
    min_usd = cost_usd(Usage(model, input_tokens=tokens))
    max_usd = cost_usd(Usage(model, input_tokens=tokens, output_tokens=output_tokens))
    cost = "unknown cost" if min_usd is None or max_usd is None else f"{min_usd:.6f} to {max_usd:.6f} USD"
    follow_up = f", and more if {prompt.then.prompt} follows" if prompt.then is not None else ""
    questions = f"{count} question{'s' * (count != 1)}"
    return f"{prompt.id}: {questions} to {model}, about {tokens} input tokens; {cost}{follow_up}; nothing is posted"


def _ask_all(plan: _Plan, claude: Claude, *, pause_s: float) -> Comparison:
    pairs: list[Pair] = []
    excluded = Counter(failed=plan.failed)
    for number, (stored, _) in enumerate(plan.questions):
        if number:
            time.sleep(pause_s)
        try:
            pairs.append(pair(stored.row, run_again(stored, plan.library, claude, plan.key), stored.posted))
        except DependencyDown as exc:  # the remaining questions would fail, too
            print_line(f"{exc}; {exc.remedy}", err=True)
            excluded["not asked"] = len(plan.questions) - number
            break
        except (StepFailed, PromptError) as exc:
            _print_failure(stored, exc)
            excluded["failed"] += 1
    return Comparison(tuple(pairs), +excluded)


def _print_failure(stored: Stored, exc: Exception) -> None:
    print_line(f"{stored.row.guid[:8]}: {exc}", err=True)


TABLE_WIDTH = 1000
"""Characters; so wide that rows are not wrapped and can be searched with grep."""


def format_comparison(comparison: Comparison) -> Iterator[str]:
    """Yield a table row for each delivery, then the totals."""
    sides, other_sides = _sides(comparison)
    count, differing = len(comparison.pairs), comparison.differing
    yield f"{', '.join(prompt_ids(sides))} against {', '.join(prompt_ids(other_sides))}"
    yield ""
    yield from _table(comparison)
    yield ""
    yield f"compared     {count} deliver{'y' if count == 1 else 'ies'}{_format_left_out(comparison)}"
    yield f"same labels  {count - differing}"
    groups = ", ".join(f"{group} in {times}" for group, times in comparison.groups)
    yield f"differing    {differing}" + (f": {groups}" if groups else "")
    for difference, times in comparison.differences:
        yield f"             {times:>4}  {_format_difference(difference)}"
    comments = (sum(side.ran.speaks for side in sides), sum(side.ran.speaks for side in other_sides))
    yield f"comments     {comments[0]}, against {comments[1]}; differing in {comparison.spoke_differently}"
    yield f"mean tokens  {mean_tokens(sides):.0f}, against {mean_tokens(other_sides):.0f}"
    costs = [_format_cost_usd(mean_cost_usd(one)) for one in (sides, other_sides)]
    yield f"mean cost    {costs[0]}, against {costs[1]}"


def comparison_to_dict(comparison: Comparison) -> Mapping[str, object]:
    """Return a JSON object in which "prompt" is the prompt given to the command and "with" the other one."""
    sides, other_sides = _sides(comparison)
    return {
        "prompt": _summarize(sides),
        "with": _summarize(other_sides),
        "compared": len(comparison.pairs),
        "left_out": dict(comparison.excluded),
        "same_labels": len(comparison.pairs) - comparison.differing,
        "differing_labels": comparison.differing,
        "differing_by_group": dict(comparison.groups),
        "differences": [
            {"group": found.group, "prompt": found.one, "with": found.other, "deliveries": times}
            for found, times in comparison.differences
        ],
        "speaking_differently": comparison.spoke_differently,
        "deliveries": [
            {
                "delivery": pair.guid,
                "event": pair.event_key,
                "thread": pair.thread,
                "prompt": _side_to_dict(pair.one),
                "with": _side_to_dict(pair.other),
            }
            for pair in comparison.pairs
        ],
    }


def _table(comparison: Comparison) -> Iterator[str]:
    table = Table("delivery", "event", "thread", "comments", "tokens", "USD", "labels", box=None, pad_edge=False)
    for compared in comparison.pairs:
        table.add_row(*map(escape_unprintable, _cells(compared)))
    console = Console(
        width=TABLE_WIDTH, color_system=None, force_terminal=False, markup=False, highlight=False, emoji=False
    )
    lines = console.render_lines(table, pad=False)
    return ("".join(segment.text for segment in line).rstrip() for line in lines)


def _cells(pair: Pair) -> tuple[str, ...]:
    one, other = pair.one, pair.other
    return (
        pair.guid[:8],
        pair.event_key,
        pair.thread,
        f"{_yes_or_no(one)}, {_yes_or_no(other)}",
        f"{one.tokens}, {other.tokens}",
        f"{_format_cost(one.cost_usd)}, {_format_cost(other.cost_usd)}",
        "; ".join(map(_format_difference, pair.differences)) or "the same",
    )


def _sides(comparison: Comparison) -> tuple[list[Side], list[Side]]:
    return [pair.one for pair in comparison.pairs], [pair.other for pair in comparison.pairs]


def _format_difference(difference: Difference) -> str:
    """Return "priority-high, not priority-low"."""
    labels = " and ".join(difference.one) or f"no {difference.group}"
    return f"{labels}, not {' and '.join(difference.other) or 'none'}"


def _format_left_out(comparison: Comparison) -> str:
    parts = ", ".join(f"{count} {reason}" for reason, count in sorted(comparison.excluded.items()))
    return f"; left out: {parts}" if parts else ""


def _yes_or_no(side: Side) -> str:
    return "yes" if side.ran.speaks else "no"


def _format_cost(cost_usd: float | None) -> str:
    return "unknown" if cost_usd is None else f"{cost_usd:.6f}"


def _format_cost_usd(cost_usd: float | None) -> str:
    return "unknown" if cost_usd is None else f"{cost_usd:.6f} USD"


def _summarize(sides: list[Side]) -> Mapping[str, object]:
    return {
        "ids": prompt_ids(sides),
        "spoke": sum(side.ran.speaks for side in sides),
        "mean_tokens": mean_tokens(sides),
        "mean_cost_usd": mean_cost_usd(sides),
    }


def _side_to_dict(side: Side) -> Mapping[str, object]:
    return {
        "id": side.ran.prompt_id,
        "labels": [label.name for label in side.ran.labels],
        "speaks": side.ran.speaks,
        "tokens": side.tokens,
        "cost_usd": side.cost_usd,
    }
