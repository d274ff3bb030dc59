"""`hls triage`: process open issues that are older than HLS, and take that back."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Annotated

import typer

from hls_handler.cli.github_names import require_repository
from hls_handler.cli.options import (
    AsJson,
    Config,
    abort,
    fail,
    load,
    log_as_operator,
    open_store,
    require_confirmation,
    require_existing_store,
    utc_now,
)
from hls_handler.cli.terminal import (
    Cell,
    Column,
    is_terminal,
    print_json,
    print_line,
    print_table,
    track,
    waiting,
)
from hls_handler.db.files import find_server
from hls_handler.engine.library import load_checked
from hls_handler.errors import PromptError, SettingsError, StepFailed, with_remedy
from hls_handler.github.client import connect_read_only
from hls_handler.queue.pauses import describe_pause, find_pause, resume_command
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from hls_handler.store.triage import TriagedIssue, TriageRun
from hls_handler.triage.plan import CannotPlan, Plan, Planner, Terms
from hls_handler.triage.report import (
    count_ends,
    describe_plan,
    describe_run,
    describe_skipped,
    to_document,
)
from hls_handler.triage.runs import start, undo
from hls_handler.wording import count, format_usd

NO_SERVICE = (
    "the deliveries wait for a service: start it with `hls serve`; the same command shows the"
    " progress"
)
POLL_S = 1.0
STALLED_AFTER_S = 30.0
"""Time without a sign of a service that shares the database, after which watching ends."""

COLUMNS = (Column("ISSUE", is_number=True), Column("RUN"), Column("TITLE", is_wide=True))


def triage(
    repository: Annotated[
        str | None,
        typer.Argument(
            metavar="[OWNER/REPO]", help="The repository or its URL.", show_default=False
        ),
    ] = None,
    is_open: Annotated[
        bool, typer.Option("--open", help="Plan a run of the open issues, the newest first.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most issues of the run.")] = 50,
    max_usd: Annotated[
        float, typer.Option(min=0.0001, help="Most that the calls of the run may cost, in USD.")
    ] = 1.0,
    comments: Annotated[
        bool, typer.Option("--comments", help="Comment, too, as on a new issue.")
    ] = False,
    undo_run: Annotated[
        int | None,
        typer.Option("--undo", metavar="RUN", help="Take a run back.", show_default=False),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Start without a question.")] = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Process open issues of the backlog, or take a run back.

    Prints which open issues would be processed, why others are skipped, and what it costs. With
    --yes, or after a confirmation, they are queued, and the running service processes them as new
    issues: below all webhooks, ten a minute. The same command continues an unfinished run. Ctrl-C
    only stops watching.

    Skipped: pull requests, locked issues, those labelled skip-hls, those that HLS has processed,
    those that settings ignore, and those of which a person set or removed a label that HLS would
    set.

    --undo removes the labels and types that the run set and that no person has changed since, and
    edits its comments to "Withdrawn". Nothing is deleted.
    """
    settings = load(config)
    if undo_run is not None:
        _undo(settings, undo_run, yes=yes, as_json=as_json)
        return
    if repository is None or not is_open:
        raise typer.BadParameter("write `hls triage OWNER/REPO --open` or `hls triage --undo RUN`")
    name = require_repository(repository, base_url=settings.github.base_url)
    terms = Terms(name, limit, max_usd, comments)
    with open_store(settings) as store:
        plan = _plan(store, settings, terms)
        if not as_json:
            _print_plan(plan)
        if not yes and (as_json or not _is_confirmed(plan)):
            if as_json:
                print_json(to_document(plan))
            return
        if not plan.chosen and plan.continued is None:
            fail("no open issue is left to process")
        run = start(store, plan, by=log_as_operator(settings))
        if not as_json:
            begins = "goes on" if _is_continued(plan, run) else "started"
            print_line(f"run {run.id} {begins}; `hls triage --undo {run.id}` takes it back")
        _watch(store, settings, run, as_json=as_json)


def _is_continued(plan: Plan, run: TriageRun) -> bool:
    return plan.continued is not None and plan.continued.id == run.id


def _plan(store: Storage, settings: Settings, terms: Terms) -> Plan:
    try:
        library = load_checked(settings)
        with (
            closing(connect_read_only(settings.github, now=utc_now)) as github,
            waiting("Reading open issues from GitHub"),
        ):
            return Planner(store, settings, library, github).plan(terms)
    except (PromptError, SettingsError) as exc:
        abort(*exc.problems)
    except (StepFailed, CannotPlan) as exc:
        fail(with_remedy(exc))


def _is_confirmed(plan: Plan) -> bool:
    """Ask on a terminal; elsewhere, say how to start."""
    if not plan.chosen and plan.continued is None:
        return True
    if not (is_terminal() and sys.stdin.isatty()):
        print_line("nothing was started; add --yes to start")
        return False
    question = f"Process {count(len(plan.chosen), 'issue')}?"
    require_confirmation(question, what="the run", otherwise="nothing was started")
    return True


def _print_plan(plan: Plan) -> None:
    rows = []
    for one in plan.issues:
        why = "yes"
        if one.skipped is not None:
            why = ": ".join(filter(None, ("no", one.skipped)))
        rows.append((f"#{one.number}", why, one.title, one.why))
    total = f"{count(len(plan.chosen), 'issue')} of {plan.terms.repository} to process"
    if plan.continued is not None:
        total += f" in run {plan.continued.id}"
    if is_terminal() and rows:
        cells = [
            [Cell(number), Cell(why), Cell(title, below=[more] if more else [])]
            for number, why, title, more in rows
        ]
        print_table(COLUMNS, cells, total)
    else:
        for number, why, title, more in rows:
            print_line("  ".join(filter(None, (f"{number:>7}", why, title, more))))
        print_line(total)
    if plan.skipped:
        print_line(describe_skipped(plan.skipped))
    for line in describe_plan(plan):
        print_line(line)


@dataclass
class _Watch:
    """Follows a run, or its undo, until it has ended."""

    store: Storage
    run: TriageRun
    is_undo: bool

    def __post_init__(self) -> None:
        self.progress = self.store.triage.load_progress(self.run)

    @property
    def rows(self) -> Sequence[TriagedIssue]:
        return self.progress.undo if self.is_undo else self.progress.issues

    @property
    def ended(self) -> int:
        return sum(not one.is_open for one in self.rows)

    def follow(self) -> Iterator[int]:
        """Yield once for each delivery that has ended. Ends after `STALLED_AFTER_S` without a sign
        of a service.
        """
        shown = 0
        changed_at = time.monotonic()
        while shown < len(self.rows) and time.monotonic() - changed_at < STALLED_AFTER_S:
            if any(one.state == "running" for one in self.rows) or shown < self.ended:
                changed_at = time.monotonic()
            while shown < self.ended:
                shown += 1
                yield shown
            if shown < len(self.rows):
                time.sleep(POLL_S)
            self.progress = self.store.triage.load_progress(self.run)


def _watch(
    store: Storage, settings: Settings, run: TriageRun, *, as_json: bool, is_undo: bool = False
) -> None:
    """Show the progress until the run, or its undo, has ended."""
    watch = _Watch(store, run, is_undo)
    if find_server(settings.storage.url) is not False:
        what = "Taking back issues" if is_undo else "Processing issues"
        try:
            for _ in track(watch.follow(), what, total=len(watch.rows)):
                pass
        except KeyboardInterrupt:
            print_line("stopped watching; the service goes on", err=True)
    if watch.ended < len(watch.rows) and find_server(settings.storage.url) is not True:
        print_line(NO_SERVICE, err=True)
    pause = find_pause(run.repository, store.pauses.active())
    if watch.ended < len(watch.rows) and pause is not None:
        print_line(f"{describe_pause(pause)}; {resume_command(pause)} ends the pause", err=True)
    if as_json:
        print_json(to_document(watch.progress))
        return
    for one in watch.rows:
        if is_undo or one.state != "done":
            print_line(f"#{one.number:<6} {one.state}: {one.reason or 'waits'}")
    ends = [f"{number} {end}" for end, number in count_ends(watch.rows).items()]
    print_line(", ".join([f"run {run.id}", *ends]))
    if not is_undo:
        spent = f"{format_usd(watch.progress.cost_usd)} of {format_usd(run.max_usd)}"
        print_line(f"cost: {spent}; `hls triage --undo {run.id}` takes it back")


def _undo(settings: Settings, run_id: int, *, yes: bool, as_json: bool) -> None:
    with require_existing_store(settings) as store:
        run = store.triage.find(run_id)
        if run is None:
            known = [str(one.id) for one in store.triage.newest(most=10)]
            fail(f"there is no triage run {run_id}; the newest are {', '.join(known) or 'none'}")
        progress = store.triage.load_progress(run)
        if not as_json:
            print_line(describe_run(progress))
        if progress.state == "empty":
            fail(f"nothing of run {run_id} can be taken back: its deliveries have been deleted")
        if not yes:
            require_confirmation(
                "Take it back?", what="the undo", otherwise="nothing was taken back"
            )
        undo(store, run, by=log_as_operator(settings))
        run = store.triage.find(run_id) or run  # now it is taken back
        _watch(store, settings, run, as_json=as_json, is_undo=True)
