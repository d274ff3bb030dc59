"""`hls batch`: asks Claude about many things, with a preview before and a result after."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from hls_handler.batches import closed as closed_issues
from hls_handler.batches import past
from hls_handler.batches import reviews as merged_pull_requests
from hls_handler.batches import triage as open_issues
from hls_handler.batches.preview import Preview, Target, read_target
from hls_handler.batches.prompts import PromptChange, choose_prompts, choose_review, with_model
from hls_handler.batches.recorded import NOT_READ, RUNS
from hls_handler.batches.results import describe_progress, load_result, to_document
from hls_handler.claude.providers import connect_claude
from hls_handler.cli.batch_follower import Follower
from hls_handler.cli.event_input import get_prompt
from hls_handler.cli.github_names import require_repository
from hls_handler.cli.options import (
    DOTENV,
    AsJson,
    Config,
    Limit,
    abort,
    config_path,
    fail,
    load,
    name_operator,
    open_store,
    require_confirmation,
    require_existing_store,
    utc_now,
)
from hls_handler.cli.terminal import print_json, print_line, waiting
from hls_handler.db.files import find_server
from hls_handler.engine.library import load_checked
from hls_handler.engine.processing import Processing
from hls_handler.github.client import connect_read_only
from hls_handler.queue.pauses import explain_pause, find_pause
from hls_handler.settings.effective import EffectiveSettings, RepositoryTable
from hls_handler.settings.model import Settings
from hls_handler.settings.reload import SettingsFile
from hls_handler.settings.values import Usd
from hls_handler.store.batches import Batch
from hls_handler.store.storage import Storage
from hls_handler.wording import count, describe_invalid

INTERRUPTED = 130
"""Exit code after Ctrl-C."""

LAST = 20  # deliveries to try

commands = typer.Typer(
    help="Try prompts, triage old issues and review merged pull requests.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def _parse_usd(usd: str) -> float:
    try:
        return TypeAdapter(Usd).validate_python(usd)
    except ValidationError as exc:
        raise typer.BadParameter(describe_invalid(exc.errors()[0], whole=usd)) from None


BatchId = Annotated[int, typer.Argument(metavar="ID", help="The batch, as `list` shows it.")]
MaxUsd = Annotated[
    float, typer.Option(metavar="USD", parser=_parse_usd, help="Most that all calls may cost.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Start, which costs money.")]


MarkdownFile = Annotated[
    Path | None,
    typer.Option(
        "--markdown", metavar="FILE", dir_okay=False, help="Write the reviews as a page, too."
    ),
]


@commands.command(name="try")
def try_(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help='Such as "issues/analyze".')],
    last: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=200, help="Newest deliveries to try (20)."),
    ] = None,
    closed: Annotated[
        str | None,
        typer.Option(
            metavar="OWNER/REPO", help="Try it on closed issues as first written, instead."
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, max=5_000, help="Newest closed issues to read.")
    ] = 200,
    draft: Annotated[
        Path | None,
        typer.Option(
            "--prompt",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Draft of its template: compare the two, and decide.",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Compare with this model, and decide.")
    ] = None,
    max_usd: MaxUsd = 1.0,
    yes: Yes = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Try a prompt, a draft of it or another model. Nothing is written to GitHub.

    Without --closed, compares the replies with the posted ones, with the facts that were read for
    the deliveries. --closed reads closed issues as they were first written, without anything that
    was written later, and compares the labels of the replies with those that people left. Follow-up
    prompts are not asked.
    """
    settings = load(config)
    repository = None
    if closed is not None and last is not None:
        raise typer.BadParameter("--last is for deliveries; with --closed, --limit is for issues")
    if closed is not None:
        repository = require_repository(closed, base_url=settings.github.base_url)
        effective = _require_entry(settings, repository)
    library = load_checked(settings)
    name = get_prompt(library, prompt).name
    with open_store(settings) as store:
        with connect_claude(settings.claude) as claude:
            change = PromptChange(draft, model)
            prompts = choose_prompts(settings, library, name, change, claude.lookup_model)
        if repository is None:
            preview = past.plan(store, settings, prompts[-1], last or LAST, max_usd)
        else:
            with _reading(settings, effective, repository, "issues") as target:
                preview = closed_issues.plan(target, store, prompts, limit, max_usd)
        _begin(settings, store, preview, config, yes=yes, as_json=as_json)


@commands.command()
def triage(
    repository: Annotated[str, typer.Argument(metavar="OWNER/REPO", help="Or its URL.")],
    comments: Annotated[
        bool, typer.Option("--comments", help="Comment, too, as on a new issue.")
    ] = False,
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, max=1000, help="Most issues of the batch.")
    ] = 50,
    max_usd: MaxUsd = 1.0,
    yes: Yes = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Process open issues that are older than HLS as new ones.

    Left out: pull requests, locked issues, those labelled skip-hls, those that HLS has processed,
    those that settings ignore, and those of which a person set or removed a label that HLS would
    set. `undo` takes it back.
    """
    settings = load(config)
    name = require_repository(repository, base_url=settings.github.base_url)
    effective = _require_entry(settings, name)
    library = load_checked(settings)
    with open_store(settings) as store:
        with _reading(settings, effective, name, "issues") as target:
            preview = open_issues.plan(target, store, library, limit, max_usd, comments=comments)
        _begin(settings, store, preview, config, yes=yes, as_json=as_json)


@commands.command()
def reviews(
    repository: Annotated[str, typer.Argument(metavar="OWNER/REPO", help="Or its URL.")],
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, max=1000, help="Newest merged pull requests to read.")
    ] = 20,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Ask this model instead.")
    ] = None,
    max_usd: MaxUsd = 1.0,
    yes: Yes = False,
    markdown: MarkdownFile = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Review merged pull requests at their last commit. Nothing is written to GitHub.

    The result has the findings, whether their lines were changed again before the merge or later,
    and by which commit, the cost, and a forecast for a month.
    """
    settings = load(config)
    name = require_repository(repository, base_url=settings.github.base_url)
    effective = _require_entry(settings, name)
    library = load_checked(settings)
    with open_store(settings) as store:
        prompt = choose_review(library, effective)
        if model is not None:
            with connect_claude(settings.claude) as claude:
                prompt = with_model(prompt, model, claude.lookup_model)
        with _reading(settings, effective, name, "pull requests") as target:
            preview = merged_pull_requests.plan(target, prompt, limit, max_usd, utc_now())
        _begin(settings, store, preview, config, yes=yes, as_json=as_json, markdown=markdown)


@commands.command()
def undo(
    batch_id: BatchId,
    yes: Annotated[bool, typer.Option("--yes", help="Take it back without a question.")] = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Take back what a batch wrote, and no person has changed since.

    Removes its labels and types, and edits its comments to "Withdrawn". Nothing is deleted.
    """
    settings = load(config)
    with require_existing_store(settings) as store:
        batch = _require(store, batch_id)
        progress = store.batches.load_progress(batch)
        if batch.kind != "triage":
            fail(f"batch {batch_id} wrote nothing that could be taken back")
        if not progress.deliveries:
            fail(f"nothing of batch {batch_id} can be taken back: its deliveries were deleted")
        if not as_json:
            print_line(describe_progress(progress))
        if not yes:
            require_confirmation(
                "Take it back?", what="the undo", otherwise="nothing was taken back"
            )
        open_issues.undo(store, batch, by=name_operator(settings))
        _work(settings, store, batch_id, config, as_json=as_json)


@commands.command(name="list")
def list_(limit: Limit = None, as_json: AsJson = False, config: Config = None) -> None:
    """List batches with their state and cost, the newest first. Works while the service runs."""
    settings = load(config, credentials=False)
    with require_existing_store(settings) as store:
        batches = store.batches.newest(limit=limit or 20)
        if as_json:
            print_json([to_document(batch) for batch in batches])
            return
        for batch in batches:
            print_line(describe_progress(batch))
        print_line(count(len(batches), "batch"))


@commands.command()
def show(
    batch_id: BatchId,
    markdown: MarkdownFile = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Show the progress and the result of a batch. Works while the service runs."""
    settings = load(config, credentials=False)
    with require_existing_store(settings) as store:
        _print_result(store, _require(store, batch_id), as_json=as_json, markdown=markdown)


@commands.command()
def stop(batch_id: BatchId, config: Config = None) -> None:
    """Stop a batch: its deliveries that wait are not processed. `continue` goes on."""
    settings = load(config, credentials=False)
    with require_existing_store(settings) as store:
        if _require(store, batch_id).state == "undone":
            fail(f"batch {batch_id} was taken back: an undo cannot be stopped")
        store.batches.stop(batch_id, by=name_operator(settings))
        print_line(describe_progress(store.batches.load_progress(_require(store, batch_id))))


@commands.command(name="continue")
def continue_(
    batch_id: BatchId,
    max_usd: Annotated[
        float | None,
        typer.Option(metavar="USD", parser=_parse_usd, help="Most that all calls may cost now."),
    ] = None,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Continue a batch that was stopped, or whose money was used up.

    Reads again whether lines of findings were changed, where that is not known.
    """
    settings = load(config)
    with require_existing_store(settings) as store:
        batch = _require(store, batch_id)
        progress = store.batches.load_progress(batch)
        if batch.state == "undone":
            if progress.state == "running":
                fail(
                    f"batch {batch_id} is being taken back; a service goes on with that, or"
                    f" `hls batch undo {batch_id}`"
                )
            fail(f"batch {batch_id} was taken back: begin another one")
        spent = progress.cost_usd
        if max_usd is not None and max_usd < spent:
            fail(f"--max-usd {max_usd:g} is below what batch {batch_id} has spent: {spent:g}")
        by = name_operator(settings)
        store.batches.resume(batch_id, max_usd=max_usd, by=by, again=[NOT_READ])
        _work(settings, store, batch_id, config, as_json=as_json)


def _require_entry(settings: Settings, repository: str) -> EffectiveSettings:
    effective = RepositoryTable(settings).find(repository)
    if effective is None:
        abort(f"no entry of `repositories` in {settings.sources.file} names {repository}")
    return effective


@contextmanager
def _reading(
    settings: Settings, effective: EffectiveSettings, repository: str, objects: str
) -> Iterator[Target]:
    """Yield the repository, for a planner that reads its `objects`."""
    with (
        closing(connect_read_only(settings.github, now=utc_now)) as github,
        waiting(f"Reading {objects} of {repository}"),
    ):
        yield read_target(settings, effective, github, repository)


def _require(store: Storage, batch_id: int) -> Batch:
    batch = store.batches.find(batch_id)
    if batch is None:
        fail(f"there is no batch {batch_id}; `hls batch list` has the newest")
    return batch


def _begin(
    settings: Settings,
    store: Storage,
    preview: Preview,
    config: Path | None,
    *,
    yes: bool,
    as_json: bool,
    markdown: Path | None = None,
) -> None:
    """Print the preview; with `yes`, begin the batch and follow it."""
    if not as_json:
        for line in preview.describe():
            print_line(line)
    if not yes:
        if as_json:
            print_json(preview.to_dict())
        else:
            print_line("start       add --yes")
        return
    by = name_operator(settings)
    batch_id = store.batches.begin(preview.new, preview.subjects, by=by, facts=preview.facts)
    if not as_json:
        print_line(f"started     batch {batch_id}; Ctrl-C or `hls batch stop {batch_id}` stops it")
    _work(settings, store, batch_id, config, as_json=as_json, markdown=markdown)


def _work(
    settings: Settings,
    store: Storage,
    batch_id: int,
    config: Path | None,
    *,
    as_json: bool,
    markdown: Path | None = None,
) -> None:
    """Follow the batch until it has ended: processed by the service, or by this command if an
    SQLite database has none.
    """
    has_service = find_server(settings.storage.url)
    batch = _require(store, batch_id)
    follower = Follower(store, batch, has_service=lambda: find_server(settings.storage.url))
    pause = find_pause(batch.repository, store.pauses.active())
    if pause is not None:
        print_line(explain_pause(pause), err=True)
    try:
        if has_service is False:
            file = SettingsFile(config_path(config), os.environ, dotenv=DOTENV)
            processing = Processing(file.initial, RUNS, only_batch=batch_id)
            with closing(processing), processing.working() as health:
                follower.health = health
                follower.follow()
        else:
            follower.follow()
    except KeyboardInterrupt:
        goes_on = _stop(settings, store, batch_id)
        end = f"stopped; {goes_on}"
        if has_service is not False and _require(store, batch_id).state == "undone":
            end = "the undo is not stopped: `hls serve` goes on with it"
        print_line(end, err=True)
        raise typer.Exit(INTERRUPTED) from None
    goes_on = f"batch {batch_id} is not stopped, and goes on with a service"
    if follower.problem and has_service is False:
        goes_on = _stop(settings, store, batch_id)
    batch = _require(store, batch_id)
    _print_result(store, batch, as_json=as_json, markdown=markdown)
    if follower.problem:
        fail(f"{follower.problem}; {goes_on}")
    progress = store.batches.load_progress(batch)
    is_done = any(delivery.state == "done" for delivery in progress.shown)
    if progress.state not in ("done", "undone") or not is_done:
        raise typer.Exit(1)


def _stop(settings: Settings, store: Storage, batch_id: int) -> str:
    """Stop the batch, but no undo. Return which command goes on."""
    command = "undo"
    if _require(store, batch_id).state != "undone":
        store.batches.stop(batch_id, by=name_operator(settings))
        command = "continue"
    return f"`hls batch {command} {batch_id}` goes on"


def _print_result(
    store: Storage, batch: Batch, *, as_json: bool, markdown: Path | None = None
) -> None:
    progress = store.batches.load_progress(batch)
    result = load_result(store, progress)
    if markdown is not None:
        if not isinstance(result, merged_pull_requests.ReviewsResult):
            fail(f"--markdown: batch {batch.id} reviews nothing")
        try:
            markdown.write_text("".join(f"{line}\n" for line in result.to_markdown()), "utf-8")
        except OSError as exc:
            fail(f"--markdown {markdown}: {exc.strerror}")
    if as_json:
        print_json({**to_document(progress), "result": result})
        return
    print_line(describe_progress(progress))
    if progress.budget_problem:
        print_line(f"over budget {progress.budget_problem}")
    for line in result.describe():
        print_line(line)
