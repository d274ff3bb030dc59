"""`hls prompts compare`: compare a prompt's results with those of other prompts for the same deliveries."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from statistics import fmean
from typing import Annotated

import typer

from hls_handler.analysis import Usage
from hls_handler.cli.options import (
    Config,
    abort,
    connect_claude,
    describe_person,
    fail,
    find_age,
    load,
    open_store,
    print_line,
    print_lines,
    require_confirmation,
)
from hls_handler.cli.prompt_library import get_prompt, load_library
from hls_handler.engine.active_config import DeliveryConfig
from hls_handler.engine.job import ASK
from hls_handler.engine.library import families
from hls_handler.errors import SettingsError
from hls_handler.reports.estimate import estimate, format_cost
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from hls_handler.trials.comparison import Comparison, Report, Run
from hls_handler.trials.sender import Sender
from hls_handler.trials.trial import NOT_ASKED, Trial, compare_stored, plan_trials, run_trials
from hls_handler.untrusted.cleaning import escape_unprintable
from hls_handler.wording import add_usd, count, format_usd

COLUMNS = ("delivery", "event", "thread", "comments", "tokens", "USD", "labels")


def compare(
    prompt: Annotated[
        str, typer.Argument(metavar="ID", help="The prompt's name (issues/strict), or its id (issues/strict@3f9c2a).")
    ],
    since: Annotated[
        str, typer.Option(metavar="SPAN", help="Only deliveries received within the last 7d, 24h or 30m.")
    ] = "7d",
    ask: Annotated[
        bool, typer.Option("--ask", help="Ask Claude now, about stored deliveries. This costs money.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --ask: do not ask for confirmation.")] = False,
    most: Annotated[
        int, typer.Option(min=1, max=1000, help="With --ask: maximum number of deliveries, newest first.")
    ] = 20,
    config: Config = None,
) -> None:
    """Compare a prompt with what was posted.

    Uses the deliveries for which Claude replied to two prompts: the reply to ID, the shadow prompt, was only stored,
    and that to another one was posted. For each delivery and in total, prints the differing labels, whether each prompt
    would have commented, and the tokens and cost of both, and for each field of the reply how often the labels are
    those that people left. With --ask, Claude is asked now, with the current version of the prompt and the stored facts
    of finished deliveries. The cost is printed before Claude is asked. The new replies are neither stored nor posted.
    Works while the service runs.

    Exit codes: 0 compared; 1 nothing to compare, or not confirmed; 2 usage error, or unusable settings, prompts or
    database.
    """
    span = find_age(since)
    if span is None:
        raise typer.BadParameter("write it as 7d, 24h or 30m", param_hint="--since")
    settings = load(config, credentials=False)
    with open_store(settings) as store:
        after = store.now() - span
        report = (
            _ask(settings, store, prompt, after, most=most, yes=yes)
            if ask
            else compare_stored(store, prompt, since=after)
        )
    if not any(one.old and one.new for one in report.comparisons):
        detail = f" ({_format_excluded(report.excluded)})" if report.excluded else ""
        if ask:
            fail(f"no delivery of the last {since} could be compared{detail}")
        fail(
            f"there is no delivery of the last {since} on which {prompt} ran as a shadow{detail}; set an event of "
            f"prompts.use to {{prompt: {prompt.partition('@')[0]}, shadow: true}} and wait for such events, or ask the "
            "prompt now about finished deliveries with --ask"
        )
    print_lines("\n".join(format_comparison(report)))


def _ask(settings: Settings, store: Storage, name: str, since: datetime, *, most: int, yes: bool) -> Report:
    """Ask Claude about finished deliveries, after a confirmation. What it prints is on standard error."""
    library = load_library(settings)
    prompt, config = get_prompt(library, name), DeliveryConfig(settings, RepositoryTable(settings), library)
    received = store.deliveries.with_checkpoint(ASK, since=since)
    keys = set(library.events(prompt.name, families()))
    rows = (row for row in received if row.state == "done" and {row.event, row.event_key} & keys)
    planned = list(islice(plan_trials(store, config, prompt.name, rows), most))
    trials = [one for one in planned if isinstance(one, Trial)]
    if trials:
        total = estimate(settings.claude, *(one for trial in trials for one in trial.requests))
        follow_up = f", and more if {prompt.then.prompt} follows" if prompt.then is not None else ""
        print_line(
            f"{prompt.id}: {count(total.questions, 'question')} to {', '.join(total.models)}, about "
            f"{total.input_tokens} input tokens; {format_cost(total)} cost{follow_up}; nothing is posted",
            err=True,
        )
        if not yes:
            require_confirmation("Ask Claude?", what="the cost", otherwise="Claude was not asked", err=True)
    try:
        client = connect_claude(settings.claude)
    except SettingsError as exc:
        abort(*exc.problems)
    with client as claude:
        usages = list[Usage]()
        sender = Sender(claude, partial(time.sleep, 1 / settings.claude.requests_per_second), usages.append)
        change = store.audit.record(describe_person(), "trial", prompt.id) if trials else None
        try:
            results = (*run_trials(store, trials, sender), *(one for one in planned if isinstance(one, Comparison)))
        finally:
            if change is not None:
                store.audit.set_cost(change, add_usd(usage.cost_usd for usage in usages))
    for one in results:
        if one.problem and one.problem != NOT_ASKED:
            print_line(f"{one.guid[:8]}: {one.problem}", err=True)
    reasons = Counter("not asked" if one.problem == NOT_ASKED else "failed" for one in results if one.new is None)
    return Report(tuple(one for one in results if one.new is not None), reasons)


def format_comparison(report: Report) -> Iterator[str]:
    """Yield a table with a row for each delivery, then the totals."""
    pairs = [(one, one.new, one.old) for one in report.comparisons if one.new is not None and one.old is not None]
    new, old = [run for _, run, _ in pairs], [run for _, _, run in pairs]
    yield f"{_list_ids(new)} against {_list_ids(old)}"
    yield ""
    rows = [COLUMNS, *(tuple(map(escape_unprintable, _cells(*pair))) for pair in pairs)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:  # no row is wrapped, so that grep finds whole rows
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield ""
    left_out = f"; left out: {_format_excluded(report.excluded)}" if report.excluded else ""
    yield f"compared     {count(len(pairs), 'delivery')}{left_out}"
    for one in report.label_counts:
        yield (
            f"people left  {one.verdict}" if not one.field else f"  {one.field}: {one.fixed} fixed, {one.broken} broken"
        )
    yield f"comments     {sum(run.result.speaks for run in new)}, against {sum(run.result.speaks for run in old)}"
    yield f"mean tokens  {fmean(run.tokens for run in new):.0f}, against {fmean(run.tokens for run in old):.0f}"
    yield f"mean cost    {_mean_cost(new)}, against {_mean_cost(old)}"


def _list_ids(runs: Sequence[Run]) -> str:
    return ", ".join(sorted({run.result.prompt_id for run in runs}))


def _mean_cost(runs: Sequence[Run]) -> str:
    """Return the mean of the known costs."""
    costs = [run.cost_usd for run in runs if run.cost_usd is not None]
    return format_usd(fmean(costs) if costs else None)


def _cells(one: Comparison, *runs: Run) -> tuple[str, ...]:
    new, old = ([label.name for label in run.result.labels] for run in runs)
    added, removed = [label for label in new if label not in old], [label for label in old if label not in new]
    return (
        one.guid[:8],
        one.event_key,
        one.conversation,
        ", ".join("yes" if run.result.speaks else "no" for run in runs),
        ", ".join(str(run.tokens) for run in runs),
        ", ".join(format_usd(run.cost_usd).removesuffix(" USD") for run in runs),
        f"{' and '.join(added) or 'none'}, not {' and '.join(removed) or 'none'}" if added or removed else "the same",
    )


def _format_excluded(excluded: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {reason}" for reason, number in sorted(excluded.items()))
