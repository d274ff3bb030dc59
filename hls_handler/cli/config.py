"""`hls config explain`: settings with their sources."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Annotated

import typer

from hls_handler.cli.github_names import require_repository
from hls_handler.cli.options import AsJson, Config, fail, load, open_existing_store, utc_now
from hls_handler.cli.terminal import print_json, print_line
from hls_handler.engine.library import load_checked
from hls_handler.engine.repository_settings import (
    find_organization_file,
    to_stored_file,
)
from hls_handler.github.client import connect_read_only
from hls_handler.reports.settings_report import (
    RepositoryFileState,
    RepositoryReport,
    describe_repository_files,
    report_repository,
    report_service,
)
from hls_handler.settings.effective import EffectiveSettings, RepositoryTable, SourcedValue
from hls_handler.settings.model import Settings
from hls_handler.settings.repository import (
    PATH,
    organization_file,
)
from hls_handler.store.repositories import StoredFile

config_commands = typer.Typer(help="Explain settings.", no_args_is_help=True, rich_markup_mode=None)


def load_repository_files(
    settings: Settings, effective: EffectiveSettings, repository: str, *, live: bool
) -> list[RepositoryFileState]:
    owner = repository.partition("/")[0]
    stored = dict[str, StoredFile | None]()
    if effective.features.repository_settings:
        with open_existing_store(settings) as store:
            if store is not None:
                for name in (repository, owner):
                    stored[name] = store.repository_files.find_by_name(name)
        if live:
            with closing(connect_read_only(settings.github, now=utc_now)) as github:
                file = github.reader(repository).find_file(PATH, ref=None)
                stored[repository] = to_stored_file(file, stored.get(repository))
                stored_file = stored.get(owner)
                if stored_file is not None:  # an organisation
                    file = find_organization_file(github, owner)
                    stored[owner] = to_stored_file(file, stored_file, organization_file(owner))
    library = partial(load_checked, settings)
    own_file, *others = describe_repository_files(
        settings, effective, repository, stored.get, library, is_live=live
    )
    if effective.features.repository_settings and stored.get(repository) is None:
        own_file = replace(own_file, sentence=f"{own_file.sentence}; --live reads it from GitHub")
    return [own_file, *others]


@config_commands.command()
def explain(
    repository: Annotated[
        str | None,
        typer.Argument(
            metavar="OWNER/REPO",
            help="A repository, or its URL; without it, the settings of the service.",
            show_default=False,
        ),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Read .github/hls.yaml from GitHub now.")
    ] = False,
    as_json: AsJson = False,
    config: Config = None,
) -> None:
    """Show the settings of the service or of one repository.

    Prints each value with the file and line that sets it, or `default`. For a repository, first
    prints the entry of `repositories` that applies, and the matching entries over which it has
    precedence. Includes the settings in the repository's .github/hls.yaml and its organisation's
    hls.yaml as the service last read them. With --live, reads them from GitHub now, the second one
    if the service has read it before. Secrets are not shown.
    """
    settings = load(config, credentials=False)
    values: Sequence[SourcedValue] = report_service(settings)
    precedence: Sequence[str] = ()
    if repository is not None:
        repository = require_repository(repository, base_url=settings.github.base_url)
        report = _explain_repository(settings, repository, live=live)
        values = (report.entry, *report.files, *report.values)
        precedence = report.precedence
    if as_json:
        documents = [
            {"key": value.key, "value": value.value, "source": value.source} for value in values
        ]
        print_json({"repository": repository, "settings": documents})
        return
    lines = list(map(str, values))
    lines[1:1] = [f"  has precedence over {other}" for other in precedence]
    for line in lines:
        print_line(line)


def _explain_repository(settings: Settings, repository: str, *, live: bool) -> RepositoryReport:
    matching = RepositoryTable(settings).find_all(repository)
    if not matching:
        where = settings.sources.where("repositories")
        fail(
            f"no entry of {where} matches {repository}; add `- name: {repository}` there to process"
            " its events"
        )
    files = load_repository_files(settings, matching[0], repository, live=live)
    return report_repository(settings, matching, files)
