"""Load a repository's .github/hls.yaml from the database or GitHub, and `hls config check-repository`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from hls_handler.cli.options import Config, abort, fail, load_without_credentials, open_existing_store
from hls_handler.cli.say import print_line
from hls_handler.clients.github import connect_read_only
from hls_handler.errors import PromptError, SettingsError, StepFailed
from hls_handler.prompting.library import Library
from hls_handler.settings.effective import EffectiveSettings
from hls_handler.settings.model import Settings
from hls_handler.settings.repository import (
    EMPTY_REPOSITORY_SETTINGS,
    PATH,
    RepositorySettings,
    RepositorySettingsFile,
    parse_repository_file,
    text_of,
)
from hls_handler.work.library import load_checked
from hls_handler.work.repository_settings import known_now, own_file, with_prompts_of


@dataclass(frozen=True, slots=True)
class LoadedRepositorySettings:
    settings: RepositorySettings
    status: str  # version and age, or the reason why there are no repository settings


def load_repository_settings(
    settings: Settings, effective: EffectiveSettings, repository: str, *, live: bool
) -> LoadedRepositorySettings:
    """Return the settings that the service last read or, with `live`, those on GitHub; exits with 1 if that fails."""
    if not effective.features.repository_settings:
        where = settings.sources.where(effective.find_feature_key("repository_settings", settings))
        return LoadedRepositorySettings(EMPTY_REPOSITORY_SETTINGS, f"ignored, because switched off   {where}")
    with open_existing_store(settings) as store:
        stored = store.repository_files.find_by_name(repository) if store else None
    if live:
        try:
            github = connect_read_only(settings.github, now=lambda: datetime.now(UTC))
            stored = known_now(github.reader(repository).find_file(PATH, ref=None), stored)
        except (StepFailed, SettingsError) as exc:
            fail(str(exc))
    if stored is None:
        return LoadedRepositorySettings(EMPTY_REPOSITORY_SETTINGS, "not read yet; --live reads it from GitHub")
    file = own_file(stored)
    if file.own.says.prompts.use:
        file = replace(file, own=with_prompts_of(load_prompts(settings), file))
    when = "now" if live else f"{stored.age_s:.0f} s ago"
    return LoadedRepositorySettings(file.own, f"{file.told() or 'the file does not exist'}   read {when}")


def load_prompts(settings: Settings) -> Library:
    """Load the prompt library that the settings name; exits with 2 if it cannot be used."""
    try:
        return load_checked(settings)
    except PromptError as exc:
        abort(exc.problems)


def check_repository(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to check.")],
    config: Config = None,
) -> None:
    """Report the problems of a .github/hls.yaml.

    Prints each problem with its line number. Prompts are checked against the library that the operator's settings
    name. Credentials need not be set; GitHub and Claude are not contacted.

    Exit codes: 0 no problems; 1 problems found; 2 usage error, unreadable file, or unusable operator settings or
    prompts.
    """
    settings = load_without_credentials(config)
    try:
        own = parse_repository_file(text_of(file.read_bytes(), str(file)), str(file))
    except OSError as exc:
        abort([f"{file}: cannot be read: {exc.strerror}"])
    except SettingsError as exc:
        own = RepositorySettings(problems=exc.problems)
    if not own.problems:
        own = with_prompts_of(load_prompts(settings), RepositorySettingsFile(own, version=None), called=str(file))
    for problem in own.problems:
        print_line(problem, err=True)
    if own.problems:
        raise typer.Exit(1)
    print_line(f"{file} can be used")
