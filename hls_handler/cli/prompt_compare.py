"""`hls prompts compare`: compare a prompt's results with those of other prompts for the same deliveries."""

from __future__ import annotations

import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Annotated

import typer

from hls_handler.cli.options import (
    Config,
    abort,
    connect_claude,
    fail,
    load,
    open_store,
    print_line,
    print_lines,
)
from hls_handler.cli.prompt_library import get_prompt, load_library
from hls_handler.engine.calls import PROMPT_SECRET
from hls_handler.engine.job import ASK
from hls_handler.errors import DependencyDown, PromptError, SettingsError, StepFailed, with_remedy
from hls_handler.prompting.prompt import Library, Prompt
from hls_handler.prompting.render import RenderedPrompt
from hls_handler.reports.estimate import estimate
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from hls_handler.trials.comparison import (
    Comparison,
    Difference,
    Pair,
    Side,
    StoredDelivery,
    compare_stored,
    is_named,
    load_stored_delivery,
    pair,
    render_requests,
    run_again,
)
from hls_handler.untrusted.cleaning import escape_unprintable
from hls_handler.wording import add_usd, count, format_usd

UNITS = {"d": "days", "h": "hours", "m": "minutes"}
SINCE = re.compile(r"([0-9]{1,5})([dhm])")


def parse_since(given: str) -> timedelta:
    """Parse "7d", "24h" or "30m". Raises `typer.BadParameter` for any other text."""
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

    Uses the deliveries for which Claude replied to two prompts: one reply was posted, and the reply to the shadow
    prompt was only stored. ID and OTHER are the two prompts. Without OTHER, ID is the shadow prompt. For each delivery
    and in total, prints the differing labels, whether each prompt would have commented, and the tokens and cost of
    both. With --ask, Claude is asked now, with the current version of the prompt and the stored facts of finished
    deliveries. The cost is printed before Claude is asked. The new replies are neither stored nor posted. Works while
    the service runs.

    Exit codes: 0 compared; 1 nothing to compare, or not confirmed; 2 usage error, or unusable settings, prompts or
    database.
    """
    span = parse_since(since)
    settings = load(config, credentials=False)
    with open_store(settings) as store:
        after = store.now() - span
        if ask:
            plan = _plan(settings, store, prompt, other, since=after, limit=most)
            if plan.questions:
                print_line(_describe_cost(settings, plan), err=as_json)  # with --json, standard output is only JSON
                if not yes:
                    _require_confirmation(err=as_json)
            comparison = _ask_all(settings, plan)
        else:
            comparison = compare_stored(store, prompt, other, since=after)
    if not comparison.pairs:
        fail(_explain_no_pairs(prompt, other, since, comparison, asked=ask))
    if as_json:
        print_lines(json.dumps(comparison_to_dict(comparison), indent=2))
        return
    print_lines("\n".join(format_comparison(comparison)))


def _explain_no_pairs(prompt: str, other: str | None, since: str, comparison: Comparison, *, asked: bool) -> str:
    excluded = _format_excluded(comparison)
    detail = f" ({excluded})" if excluded else ""
    if asked:
        return f"no delivery of the last {since} could be compared{detail}"
    missing = f"{prompt} ran as a shadow" if other is None else f"{prompt} and {other} ran, one as the other's shadow"
    return (
        f"there is no delivery of the last {since} on which {missing}{detail}; set an event of prompts.use to "
        f"{{prompt: {prompt.partition('@')[0]}, shadow: true}} and wait for such events, or ask the prompt now about "
        "finished deliveries with --ask"
    )


@dataclass(frozen=True, slots=True)
class _Plan:
    prompt: Prompt
    library: Library
    key: bytes  # secret from which the delimiters of untrusted text are derived
    questions: tuple[tuple[StoredDelivery, tuple[RenderedPrompt, ...]], ...]
    failed: int  # number of deliveries for which the prompt could not be rendered


def _plan(
    settings: Settings, store: Storage, name_or_id: str, other: str | None, *, since: datetime, limit: int
) -> _Plan:
    library = load_library(settings)
    prompt = get_prompt(library, name_or_id)
    if not prompt.on:
        abort(f"{prompt.name} has no events of its own, because it follows another prompt; compare that prompt instead")
    key, table = store.database.secret(PROMPT_SECRET), RepositoryTable(settings)
    questions: list[tuple[StoredDelivery, tuple[RenderedPrompt, ...]]] = []
    failed = 0
    for row in store.deliveries.with_checkpoint(ASK, since=since):
        stored = load_stored_delivery(store, row, prompt, library, table)
        if stored is None or not (other is None or is_named(other, stored.posted.result.prompt_id)):
            continue
        try:
            questions.append((stored, render_requests(stored.source, stored.rule, library, key)))
        except PromptError as exc:
            print_line(f"{row.guid[:8]}: {exc}", err=True)
            failed += 1
        if len(questions) == limit:
            break
    return _Plan(prompt, library, key, tuple(questions), failed)


def _describe_cost(settings: Settings, plan: _Plan) -> str:
    prompt = plan.prompt
    estimates = [estimate(settings.claude, one) for _, requests in plan.questions for one in requests]
    min_usd, max_usd = add_usd(one.min_usd for one in estimates), add_usd(one.max_usd for one in estimates)
    cost = "unknown cost" if min_usd is None or max_usd is None else f"{min_usd:.6f} to {max_usd:.6f} USD"
    follow_up = f", and more if {prompt.then.prompt} follows" if prompt.then is not None else ""
    questions = f"{count(len(estimates), 'question')} to {estimates[0].model}"
    tokens = sum(one.input_tokens for one in estimates)
    return f"{prompt.id}: {questions}, about {tokens} input tokens; {cost}{follow_up}; nothing is posted"


def _require_confirmation(*, err: bool) -> None:
    if not sys.stdin.isatty():
        abort("standard input is not a terminal, so the cost cannot be confirmed; add --yes to confirm it")
    if not typer.confirm("Ask Claude?", err=err):
        fail("Claude was not asked")


def _ask_all(settings: Settings, plan: _Plan) -> Comparison:
    pairs: list[Pair] = []
    excluded = Counter(failed=plan.failed)
    try:
        client = connect_claude(settings.claude)
    except SettingsError as exc:
        abort(*exc.problems)
    with client as claude:
        for number, (stored, _) in enumerate(plan.questions):
            if number:
                time.sleep(1 / settings.claude.requests_per_second)
            try:
                ran = run_again(stored.source, stored.rule, plan.library, claude, plan.key)
                pairs.append(pair(stored.source.row, ran.side, stored.posted))
            except DependencyDown as exc:  # the remaining questions would fail, too
                print_line(with_remedy(exc), err=True)
                excluded["not asked"] = len(plan.questions) - number
                break
            except (StepFailed, PromptError) as exc:
                print_line(f"{stored.source.row.guid[:8]}: {exc}", err=True)
                excluded["failed"] += 1
    return Comparison(tuple(pairs), +excluded)


def format_comparison(comparison: Comparison) -> Iterator[str]:
    """Yield the comparison as lines: a table with a row for each delivery, then the totals."""
    one, other = comparison.summaries
    compared, differing, excluded = len(comparison.pairs), comparison.differing, _format_excluded(comparison)
    yield f"{', '.join(one.ids)} against {', '.join(other.ids)}"
    yield ""
    yield from _table(comparison)
    yield ""
    yield f"compared     {count(compared, 'delivery')}{f'; left out: {excluded}' if excluded else ''}"
    yield f"same labels  {compared - differing}"
    groups = ", ".join(f"{group} in {times}" for group, times in comparison.groups)
    yield f"differing    {differing}" + (f": {groups}" if groups else "")
    for difference, times in comparison.differences:
        yield f"             {times:>4}  {_format_difference(difference)}"
    yield f"comments     {one.spoke}, against {other.spoke}; differing in {comparison.spoke_differently}"
    yield f"mean tokens  {one.mean_tokens:.0f}, against {other.mean_tokens:.0f}"
    yield f"mean cost    {format_usd(one.mean_cost_usd)}, against {format_usd(other.mean_cost_usd)}"


def comparison_to_dict(comparison: Comparison) -> Mapping[str, object]:
    """Return the output of --json. "prompt" is about the prompt that the user named first, "with" about the other."""
    one, other = comparison.summaries
    return {
        "prompt": asdict(one),
        "with": asdict(other),
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
                "thread": pair.conversation,
                "prompt": _side_to_dict(pair.one),
                "with": _side_to_dict(pair.other),
            }
            for pair in comparison.pairs
        ],
    }


COLUMNS = ("delivery", "event", "thread", "comments", "tokens", "USD", "labels")


def _table(comparison: Comparison) -> Iterator[str]:
    rows = [COLUMNS, *(tuple(map(escape_unprintable, _cells(compared))) for compared in comparison.pairs)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    # no row is wrapped, so that grep finds whole rows
    return ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def _cells(pair: Pair) -> tuple[str, ...]:
    one, other = pair.one, pair.other
    return (
        pair.guid[:8],
        pair.event_key,
        pair.conversation,
        ", ".join("yes" if side.result.speaks else "no" for side in (one, other)),
        f"{one.tokens}, {other.tokens}",
        ", ".join(format_usd(side.cost_usd).removesuffix(" USD") for side in (one, other)),
        "; ".join(map(_format_difference, pair.differences)) or "the same",
    )


def _format_difference(difference: Difference) -> str:
    labels = " and ".join(difference.one) or f"no {difference.group}"
    return f"{labels}, not {' and '.join(difference.other) or 'none'}"  # "priority-high, not priority-low"


def _format_excluded(comparison: Comparison) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(comparison.excluded.items()))


def _side_to_dict(side: Side) -> Mapping[str, object]:
    return {
        "id": side.result.prompt_id,
        "labels": [label.name for label in side.result.labels],
        "speaks": side.result.speaks,
        "tokens": side.tokens,
        "cost_usd": side.cost_usd,
    }
