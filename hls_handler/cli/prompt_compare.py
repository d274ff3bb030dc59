"""`hls prompts compare`: compare a prompt's results with those of other prompts for the same
deliveries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Annotated

import typer

from hls_handler.cli.options import AsJson, Config, Limit, fail, load, open_store
from hls_handler.cli.terminal import (
    Cell,
    Column,
    is_terminal,
    print_json,
    print_line,
    print_lines,
    print_table,
)
from hls_handler.deliveries import shorten_guid
from hls_handler.reports.delivery_query import find_age
from hls_handler.trials.comparison import Comparison, Report, Run
from hls_handler.trials.trial import compare_stored
from hls_handler.untrusted.cleaning import escape_unprintable
from hls_handler.wording import count, format_usd

COLUMNS = (
    Column("DELIVERY"),
    Column("EVENT"),
    Column("THREAD"),
    Column("COMMENTS"),
    Column("TOKENS"),
    Column("COST"),
    Column("LABELS", is_wide=True),
)


def compare(
    prompt: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="The prompt's name (issues/strict), or its id (issues/strict@3f9c2a).",
        ),
    ],
    since: Annotated[
        str,
        typer.Option(
            metavar="SPAN", help="Only deliveries received within the last 7d, 24h or 30m."
        ),
    ] = "7d",
    as_json: AsJson = False,
    limit: Limit = None,
    config: Config = None,
) -> None:
    """Compare a prompt with what was posted.

    Uses the deliveries for which Claude replied to two prompts: the reply to ID, the shadow prompt,
    was only stored, and that to another one was posted. For each delivery and in total, prints the
    differing labels, whether each prompt would have commented, and the tokens and cost of both, and
    for each field of the reply how often the labels are those that people left. --limit shortens
    the list, not the totals. Works while the service runs.

    Exit codes: 0 compared; 1 nothing to compare; 2 usage error, or unusable settings or database.
    """
    span = find_age(since)
    if span is None:
        raise typer.BadParameter("write it as 7d, 24h or 30m", param_hint="--since")
    settings = load(config, credentials=False)
    with open_store(settings) as store:
        report = compare_stored(store, prompt, since=store.now() - span)
    if not report.comparisons:
        name = prompt.partition("@")[0]
        problem = f"there is no delivery of the last {since} on which {prompt} ran as a shadow"
        if report.excluded:
            problem += f" ({_format_excluded(report.excluded)})"
        fail(
            f"{problem}; set an event of prompts.use to {{prompt: {name}, shadow: true}}"
            " and wait for such events"
        )
    shown = report.comparisons[:limit]
    if as_json:
        print_json(_to_json(report, shown))
    elif is_terminal():
        heading, *totals = format_totals(report)
        print_line(heading)
        rows = [list(map(Cell, _cells(one))) for one in shown]
        print_table(COLUMNS, rows, f"{len(shown)} of {count(len(report.comparisons), 'delivery')}")
        print_lines("\n".join(totals))
    else:
        print_lines("\n".join(format_comparison(report, shown)))


def _to_json(report: Report, shown: Sequence[Comparison]) -> dict[str, object]:
    deliveries = [
        {
            "delivery": one.guid,
            "event": one.event_key,
            "thread": one.conversation,
            "new": _run_to_json(one.new),
            "posted": _run_to_json(one.posted),
        }
        for one in shown
    ]
    labels = [asdict(one) for one in report.label_counts]
    return {
        "deliveries": deliveries,
        "compared": len(report.comparisons),
        "excluded": dict(report.excluded),
        "labels": labels,
        "unjudged": report.unjudged,
    }


def _run_to_json(run: Run | None) -> dict[str, object] | None:
    if run is None:
        return None
    return {
        "prompt_id": run.result.prompt_id,
        "comments": run.result.speaks,
        "labels": [label.name for label in run.result.labels],
        "calls": run.calls,
        "tokens": run.tokens,
        "cost_usd": run.cost_usd,
    }


def format_comparison(report: Report, shown: Sequence[Comparison]) -> Iterator[str]:
    """Yield a row for each delivery that is shown, between the heading and the totals."""
    heading, *totals = format_totals(report)
    yield heading
    yield ""
    rows = [tuple(column.title.lower() for column in COLUMNS), *map(_cells, shown)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:  # no row is wrapped, so that grep finds whole rows
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield ""
    yield from totals


def format_totals(report: Report) -> Iterator[str]:
    """Yield the prompts that are compared, then the sums and means."""
    new = [one.new for one in report.comparisons if one.new is not None]
    posted = [one.posted for one in report.comparisons if one.posted is not None]
    yield f"{_list_ids(new)} against {_list_ids(posted)}"
    compared = f"compared     {count(len(report.comparisons), 'delivery')}"
    if report.excluded:
        compared += f"; left out: {_format_excluded(report.excluded)}"
    yield compared
    for one in report.label_counts:
        if one.field:
            yield f"  {one.field}: {one.summary}"
        else:
            yield f"labels       {one.summary}; {one.chance}"
    for unjudged in report.unjudged:
        yield f"  {unjudged}"
    yield f"comments     {_count_comments(new)}, against {_count_comments(posted)}"
    yield f"mean tokens  {_mean_tokens(new):.0f}, against {_mean_tokens(posted):.0f}"
    yield f"mean cost    {_mean_cost(new)}, against {_mean_cost(posted)}"


def _count_comments(runs: Sequence[Run]) -> int:
    return sum(run.result.speaks for run in runs)


def _mean_tokens(runs: Sequence[Run]) -> float:
    return fmean(run.tokens for run in runs)


def _mean_cost(runs: Sequence[Run]) -> str:
    return format_usd(fmean(run.cost_usd for run in runs))


def _list_ids(runs: Sequence[Run]) -> str:
    return ", ".join(sorted({run.result.prompt_id for run in runs}))


def _cells(one: Comparison) -> tuple[str, ...]:
    runs = [run for run in (one.new, one.posted) if run is not None]
    new, posted = ([label.name for label in run.result.labels] for run in runs)
    added = " and ".join(label for label in new if label not in posted)
    removed = " and ".join(label for label in posted if label not in new)
    labels = "the same"
    if added or removed:
        labels = f"{added or 'none'}, not {removed or 'none'}"
    cells = (
        shorten_guid(one.guid),
        one.event_key,
        one.conversation,
        ", ".join("yes" if run.result.speaks else "no" for run in runs),
        ", ".join(str(run.tokens) for run in runs),
        ", ".join(format_usd(run.cost_usd) for run in runs),
        labels,
    )
    return tuple(map(escape_unprintable, cells))


def _format_excluded(excluded: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {reason}" for reason, number in sorted(excluded.items()))
