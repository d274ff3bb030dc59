"""`hls prompts compare`: compare a prompt's results with those of other prompts for the same deliveries."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer

from hls_handler.cli.options import (
    Config,
    abort,
    connect_claude,
    fail,
    find_age,
    load,
    open_store,
    print_json,
    print_line,
    print_lines,
    require_confirmation,
)
from hls_handler.cli.prompt_library import get_prompt, load_library
from hls_handler.engine.active_config import DeliveryConfig
from hls_handler.engine.job import ASK
from hls_handler.errors import PromptError, SettingsError
from hls_handler.prompting.prompt import Prompt
from hls_handler.reports.estimate import estimate, format_cost
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from hls_handler.trials.comparison import Comparison, Difference, Report, Run
from hls_handler.trials.replay import NotRepeatable
from hls_handler.trials.trial import (
    NOT_ASKED,
    Sender,
    Trial,
    compare_stored,
    is_named,
    plan_trial,
    run_trials,
)
from hls_handler.untrusted.cleaning import escape_unprintable
from hls_handler.wording import count, format_usd


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
    span = find_age(since)
    if span is None:
        raise typer.BadParameter("write it as 7d, 24h or 30m", param_hint="--since")
    settings = load(config, credentials=False)
    with open_store(settings) as store:
        after = store.now() - span
        if ask:  # with --json, standard output is only JSON
            report = _ask(settings, store, prompt, other, after, most=most, yes=yes, err=as_json)
        else:
            report = compare_stored(store, prompt, other, since=after)
    if not report.comparisons:
        fail(_explain_no_pairs(prompt, other, since, report, asked=ask))
    if as_json:
        print_json(report_to_dict(report))
    else:
        print_lines("\n".join(format_comparison(report)))


def _explain_no_pairs(prompt: str, other: str | None, since: str, report: Report, *, asked: bool) -> str:
    excluded = _format_excluded(report)
    detail = f" ({excluded})" if excluded else ""
    if asked:
        return f"no delivery of the last {since} could be compared{detail}"
    missing = f"{prompt} ran as a shadow" if other is None else f"{prompt} and {other} ran, one as the other's shadow"
    return (
        f"there is no delivery of the last {since} on which {missing}{detail}; set an event of prompts.use to "
        f"{{prompt: {prompt.partition('@')[0]}, shadow: true}} and wait for such events, or ask the prompt now about "
        "finished deliveries with --ask"
    )


def _ask(
    settings: Settings,
    store: Storage,
    name: str,
    other: str | None,
    since: datetime,
    most: int,
    *,
    yes: bool,
    err: bool,
) -> Report:
    library = load_library(settings)
    prompt, config = get_prompt(library, name), DeliveryConfig(settings, RepositoryTable(settings), library)
    if not prompt.on:
        abort(f"{prompt.name} has no events of its own, because it follows another prompt; compare that prompt instead")
    trials, failed = _plan(config, store, prompt, other, since, most)
    if trials:
        print_line(_describe_cost(settings, prompt, trials), err=err)
        if not yes:
            require_confirmation("Ask Claude?", what="the cost", otherwise="Claude was not asked", err=err)
    try:
        client = connect_claude(settings.claude)
    except SettingsError as exc:
        abort(*exc.problems)
    with client as claude:
        sender = Sender(claude, time.sleep, interval_s=1 / settings.claude.requests_per_second)
        results = run_trials(trials, sender)
    reasons = Counter("not asked" if one.problem == NOT_ASKED else "failed" for one in results if one.new is None)
    for one in results:
        if one.problem and one.problem != NOT_ASKED:
            print_line(f"{(one.guid or '')[:8]}: {one.problem}", err=True)
    return Report(tuple(one for one in results if one.new is not None), +(reasons + Counter(failed=failed)))


def _plan(
    config: DeliveryConfig, store: Storage, prompt: Prompt, other: str | None, since: datetime, most: int
) -> tuple[list[Trial], int]:
    """Return trials with finished deliveries, and for how many the prompt could not be rendered.

    A delivery with a reply from the cache is left out: an earlier one had the same question, and it has no cost.
    """
    trials: list[Trial] = []
    failed = 0
    for row in store.deliveries.with_checkpoint(ASK, since=since):
        if row.state != "done":
            continue
        try:
            trial = plan_trial(store, row, config, prompt.name)
        except NotRepeatable:
            continue
        except PromptError as exc:
            print_line(f"{row.guid[:8]}: {exc}", err=True)
            failed += 1
            continue
        is_cached = any(answer.cached_at is not None for answer in trial.answers)
        if trial.answers and not is_cached and (other is None or is_named(other, trial.answers[0].prompt_id)):
            trials.append(trial)
        if len(trials) == most:
            break
    return trials, failed


def _describe_cost(settings: Settings, prompt: Prompt, trials: Sequence[Trial]) -> str:
    total = estimate(settings.claude, *(one for trial in trials for one in trial.requests))
    cost = "unknown cost" if format_cost(total) == "unknown" else format_cost(total)
    follow_up = f", and more if {prompt.then.prompt} follows" if prompt.then is not None else ""
    questions = f"{count(total.questions, 'question')} to {', '.join(total.models)}"
    return f"{prompt.id}: {questions}, about {total.input_tokens} input tokens; {cost}{follow_up}; nothing is posted"


def format_comparison(report: Report) -> Iterator[str]:
    """Yield the report as lines: a table with a row for each delivery, then the totals."""
    new, old = report.totals
    compared, differing, excluded = len(report.comparisons), report.differing, _format_excluded(report)
    yield f"{', '.join(new.ids)} against {', '.join(old.ids)}"
    yield ""
    yield from _table(report)
    yield ""
    yield f"compared     {count(compared, 'delivery')}{f'; left out: {excluded}' if excluded else ''}"
    yield f"same labels  {compared - differing}"
    groups = ", ".join(f"{group} in {times}" for group, times in report.groups)
    yield f"differing    {differing}" + (f": {groups}" if groups else "")
    for difference, times in report.differences:
        yield f"             {times:>4}  {_format_difference(difference)}"
    if report.labels:
        yield f"people left  {report.verdict}"
    yield f"comments     {new.spoke}, against {old.spoke}; differing in {report.spoke_differently}"
    yield f"mean tokens  {new.mean_tokens:.0f}, against {old.mean_tokens:.0f}"
    yield f"mean cost    {format_usd(new.mean_cost_usd)}, against {format_usd(old.mean_cost_usd)}"


def report_to_dict(report: Report) -> Mapping[str, object]:
    """Return the output of --json. "prompt" is about the prompt that the user named first, "with" about the other."""
    new, old = report.totals
    return {
        "prompt": asdict(new),
        "with": asdict(old),
        "compared": len(report.comparisons),
        "left_out": dict(report.excluded),
        "same_labels": len(report.comparisons) - report.differing,
        "differing_labels": report.differing,
        "differing_by_group": dict(report.groups),
        "differences": [
            {"group": found.group, "prompt": found.new, "with": found.old, "deliveries": times}
            for found, times in report.differences
        ],
        "as_people_left_them": report.verdict if report.labels else None,
        "speaking_differently": report.spoke_differently,
        "deliveries": [
            {
                "delivery": one.guid,
                "event": one.event_key,
                "thread": one.conversation,
                "prompt": _run_to_dict(one.new),
                "with": _run_to_dict(one.old),
            }
            for one in report.comparisons
        ],
    }


COLUMNS = ("delivery", "event", "thread", "comments", "tokens", "USD", "labels")


def _table(report: Report) -> Iterator[str]:
    rows = [COLUMNS, *(tuple(map(escape_unprintable, _cells(one))) for one in report.comparisons)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    # no row is wrapped, so that grep finds whole rows
    return ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def _cells(one: Comparison) -> tuple[str, ...]:
    runs = [run for run in (one.new, one.old) if run is not None]
    return (
        (one.guid or "")[:8],
        one.event_key,
        one.conversation,
        ", ".join("yes" if run.result.speaks else "no" for run in runs),
        ", ".join(str(run.tokens) for run in runs),
        ", ".join(format_usd(run.cost_usd).removesuffix(" USD") for run in runs),
        "; ".join(map(_format_difference, one.differences)) or "the same",
    )


def _format_difference(difference: Difference) -> str:
    labels = " and ".join(difference.new) or f"no {difference.group}"
    return f"{labels}, not {' and '.join(difference.old) or 'none'}"  # "priority-high, not priority-low"


def _format_excluded(report: Report) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in sorted(report.excluded.items()))


def _run_to_dict(run: Run | None) -> Mapping[str, object] | None:
    return (
        None
        if run is None
        else {
            "id": run.result.prompt_id,
            "labels": [label.name for label in run.result.labels],
            "speaks": run.result.speaks,
            "tokens": run.tokens,
            "cost_usd": run.cost_usd,
        }
    )
