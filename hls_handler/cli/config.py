"""`hls config explain`, `hls config check-repository` and `hls settings schema`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from hls_handler.cli.github_names import require_repository
from hls_handler.cli.options import (
    AsJson,
    Config,
    abort,
    fail,
    load,
    open_existing_store,
    print_json,
    print_line,
    print_lines,
    utc_now,
)
from hls_handler.cli.prompt_library import load_library
from hls_handler.clients.github import connect_read_only
from hls_handler.engine.repository_settings import to_stored_file, without_unknown_prompts
from hls_handler.errors import SettingsError, StepFailed
from hls_handler.reports.settings_report import (
    RepositoryFileState,
    RepositoryReport,
    describe_repository_file,
    make_mask,
    report_repository,
)
from hls_handler.routing.envelope import RoutingInput
from hls_handler.routing.filters import ANALYSED_FIELDS, FAILED, Ignored
from hls_handler.routing.router import QueueCheck, Router, RoutingResult, Rule
from hls_handler.settings.effective import EffectiveSettings, RepositoryTable, SourcedValue
from hls_handler.settings.github_events import find_single_event_problem
from hls_handler.settings.model import Settings
from hls_handler.settings.repository import (
    PATH,
    RepositorySettings,
    RepositorySettingsFile,
    decode_repository_file,
    parse_repository_file,
)
from hls_handler.settings.schema import repository_schema, settings_schema

config_commands = typer.Typer(
    help="Explain settings and check a repository's settings file.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def _load_repository_file(
    settings: Settings, effective: EffectiveSettings, repository: str, *, live: bool
) -> RepositoryFileState:
    stored = None
    if effective.features.repository_settings:
        with open_existing_store(settings) as store:
            stored = store.repository_files.find_by_name(repository) if store else None
        if live:
            try:
                with closing(connect_read_only(settings.github, now=utc_now)) as github:
                    stored = to_stored_file(github.reader(repository).find_file(PATH, ref=None), stored)
            except (StepFailed, SettingsError) as exc:
                fail(str(exc))
    state = describe_repository_file(settings, effective, stored, partial(load_library, settings), is_live=live)
    advice = "; --live reads it from GitHub" if effective.features.repository_settings and stored is None else ""
    return replace(state, sentence=state.sentence + advice)


@config_commands.command("check-repository")
def check_repository(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to check.", resolve_path=True)],
    config: Config = None,
) -> None:
    """Report the problems of a .github/hls.yaml.

    Prints each problem with its line number. Prompts that the file names must exist in the operator's prompt library.
    Needs no credentials, and contacts neither GitHub nor Claude.

    Exit codes: 0 no problems; 1 problems found; 2 usage error, unreadable file, or unusable operator settings or
    prompts.
    """
    settings = load(config, credentials=False)
    try:
        repository_settings = parse_repository_file(decode_repository_file(file.read_bytes(), str(file)), str(file))
    except OSError as exc:
        abort(f"{file}: cannot be read: {exc.strerror}")
    except SettingsError as exc:
        repository_settings = RepositorySettings(problems=exc.problems)
    if not repository_settings.problems:
        repository_settings = without_unknown_prompts(
            load_library(settings), RepositorySettingsFile(repository_settings, version=None), path=str(file)
        )
    for problem in repository_settings.problems:
        print_line(problem, err=True)
    if repository_settings.problems:
        raise typer.Exit(1)
    print_line(f"{file} can be used")


PERSON = "somebody"
AUTHOR = "author"
CONDITIONS = (
    "if a person triggers it, on an issue or pull request that is not a draft and has not opted out of HLS. Also, a "
    "workflow run must have failed, a comment must ask HLS something or how to start, an edit must change the "
    "title or text, a review must be requested from HLS, and HLS must have set a label of the field of a changed label"
)
QUESTION = "@hls What should I try next?"  # any account counts as mentioned while the bot account is unknown


@config_commands.command()
def explain(
    repository: Annotated[str, typer.Argument(metavar="OWNER/REPO", help="The repository, or its URL.")],
    event: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="An event, such as issues.opened: show whether and how HLS would process it."),
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Read .github/hls.yaml from GitHub now.")] = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Show one repository's settings and their sources.

    Prints the entry of `repositories` that applies, and the matching entries over which it has precedence. Then prints
    each value with the file and line that sets it, or `default`. Includes the settings in the repository's
    .github/hls.yaml as the service last read it. With --live, reads that file from GitHub now. Secrets are not shown.

    With --event, also prints which prompt would be used for such an event, or why the event would be ignored. Assumes
    that a person sent the event, and that the issue or pull request is not a draft and has not opted out of HLS. Also
    assumes that a workflow run failed, and that a comment asks HLS something.

    Exit codes: 0 printed, and with --event the event would be processed; 1 no entry matches, the event would be
    ignored, or GitHub could not be read; 2 usage error, or unusable settings, database or prompts.
    """
    unknown = find_single_event_problem(event) if event is not None else None
    if unknown is not None:
        raise typer.BadParameter(unknown, param_hint="--event")
    settings = load(config, credentials=False)
    repository = require_repository(repository, base_url=settings.github.base_url)
    table = RepositoryTable(settings)
    matching = table.find_all(repository)
    if not matching:
        where = settings.sources.where("repositories")
        fail(f"no entry of {where} matches {repository}; add `- name: {repository}` there to process its events")
    report = report_repository(settings, matching, _load_repository_file(settings, matching[0], repository, live=live))
    values = (report.entry, report.file, *report.values)
    for line in () if as_json else _format_report(report):
        print_line(line)
    document: dict[str, object] = {"repository": repository, "settings": [_to_dict(value) for value in values]}
    result: RoutingResult | None = None
    if event is not None:
        routing_input = _event_by_person(event, repository)
        library = load_library(settings)
        result = Router(settings, table, library).route(routing_input)
        if isinstance(result, Rule):
            settings = report.settings
            result = Router(settings, table, library).route_enabled(routing_input, report.effective)
    if event is not None and result is not None:
        mask = make_mask(settings)
        decision = _decide(settings, event, result)
        decision = replace(decision, value=mask(decision.value), source=mask(decision.source))
        notes = [mask(note) for note in _list_notes(settings, result)]
        for line in () if as_json else (str(decision), *notes):
            print_line(line)
        document["event"] = {**_to_dict(decision), "ignored": isinstance(result, Ignored), "notes": notes}
    if as_json:
        print_json(document)
    if isinstance(result, Ignored):
        raise typer.Exit(1)


def _to_dict(value: SourcedValue) -> dict[str, str]:
    return {"key": value.key, "value": value.value, "source": value.source}


def _list_notes(settings: Settings, result: RoutingResult) -> Iterator[str]:
    if isinstance(result, Rule) and result.shadow is not None:
        yield f"  shadow prompt: {result.shadow.prompt}   {settings.sources.where(result.shadow.chosen_by)}"
    if not isinstance(result, Ignored):
        yield f"  {CONDITIONS}"


def _format_report(report: RepositoryReport) -> list[str]:
    precedence = [f"  has precedence over {other}" for other in report.precedence]
    return [str(report.entry), *precedence, str(report.file), *map(str, report.values)]


def _event_by_person(key: str, repository: str) -> RoutingInput:
    name, _, action = key.partition(".")
    return RoutingInput(  # no filter ignores an event with these values
        event=name,
        action=action or None,
        repository=repository,
        sender=PERSON,
        sender_is_bot=False,
        author=PERSON if name != "issue_comment" else AUTHOR,  # an author's comment counts as an edit of the issue
        changed=ANALYSED_FIELDS if action == "edited" else frozenset(),
        comment_author=PERSON,
        comment_body=QUESTION if name == "issue_comment" else "",
        conclusion=FAILED[0] if key == "workflow_run.completed" else None,
    )


def _decide(settings: Settings, event: str, result: RoutingResult) -> SourcedValue:
    if isinstance(result, Ignored):
        return SourcedValue(event, f"ignored ({result.kind})", result.reason)
    other = "check, no prompt" if isinstance(result, QueueCheck) else "feedback, no prompt"
    prompt = result.prompt if isinstance(result, Rule) else other
    return SourcedValue(event, prompt, result.why(settings.sources))


settings_commands = typer.Typer(
    help="Describe the format of the settings file.", no_args_is_help=True, rich_markup_mode=None
)


@settings_commands.command()
def schema(
    repository: Annotated[
        bool, typer.Option("--repository", help="Print the schema of a repository's .github/hls.yaml instead.")
    ] = False,
) -> None:
    """Print the JSON Schema of the settings file.

    Editors use it to complete keys, show their meaning and mark errors. It defines names, types and bounds; `hls check`
    finds all other errors. config/settings.schema.json contains the same output. With --repository, prints the schema
    of a .github/hls.yaml; `hls config check-repository` finds all other errors of that file. No settings are read.

    Exit codes: 0 printed; 2 usage error.
    """
    print_lines(json.dumps(repository_schema() if repository else settings_schema(), indent=2))
