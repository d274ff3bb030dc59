"""A repository's own settings file for commands: as read last, as GitHub has it now, or before it is pushed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from hls_handler.cli.options import Config, fail, load_without_credentials, open_store_if_any, refuse
from hls_handler.cli.say import say
from hls_handler.clients.looking import look
from hls_handler.errors import PromptError, SettingsError, StepFailed
from hls_handler.prompting.library import Library
from hls_handler.sandbox.samples import load_checked
from hls_handler.settings.effective import Effective
from hls_handler.settings.model import Settings
from hls_handler.settings.repository import (
    NOTHING_SAID,
    PATH,
    OwnFile,
    OwnSettings,
    read_repository_file,
    text_of,
)
from hls_handler.work.repository_settings import known_now, own_file, with_prompts_of


@dataclass(frozen=True, slots=True)
class Own:
    settings: OwnSettings
    told: str  # how it came to hold, or why it does not


def own_settings(settings: Settings, effective: Effective, repository: str, *, live: bool) -> Own:
    """The repository's own file as far as it is known, or as it is now. Exits with 1 where GitHub does not tell."""
    if not effective.features.repository_settings:
        where = settings.sources.where(effective.feature_key("repository_settings", settings))
        return Own(NOTHING_SAID, f"not heeded   {where}")
    with open_store_if_any(settings) as store:
        known = store.known_file_of(repository) if store else None
    if live:
        try:
            github = look(settings.github, now=lambda: datetime.now(UTC))
            known = known_now(github.reader(repository).find_file(PATH, ref=None), known)
        except (StepFailed, SettingsError) as exc:
            fail(str(exc))
    if known is None:
        return Own(NOTHING_SAID, "not read yet; --live reads it from GitHub")
    file = own_file(known)
    if file.own.says.prompts.use:
        file = replace(file, own=with_prompts_of(load_prompts(settings), file))
    when = "now" if live else f"{known.age_s:.0f} s ago"
    return Own(file.own, f"{file.told() or 'there is none'}   read {when}")


def load_prompts(settings: Settings) -> Library:
    """Exits with 2 when the prompts cannot be used."""
    try:
        return load_checked(settings)
    except PromptError as exc:
        refuse(exc.problems)


def check_repository(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file, before it is pushed.")],
    config: Config = None,
) -> None:
    """Name all that is wrong in a .github/hls.yaml.

    Each problem has its line. The prompts that it may choose are those of the library that the operator's settings
    name; credentials need not be set. Nothing is asked of GitHub and Claude.

    Exit codes: 0 the file can be used; 1 something in it is wrong; 2 called wrongly, or the file cannot be read, or
    the operator's settings or prompts cannot be used.
    """
    settings = load_without_credentials(config)
    try:
        own = read_repository_file(text_of(file.read_bytes(), str(file)), str(file))
    except OSError as exc:
        refuse([f"{file}: cannot be read: {exc.strerror}"])
    except SettingsError as exc:
        own = OwnSettings(problems=exc.problems)
    if not own.problems:
        own = with_prompts_of(load_prompts(settings), OwnFile(own, version=None), called=str(file))
    for problem in own.problems:
        say(problem, err=True)
    if own.problems:
        raise typer.Exit(1)
    say(f"{file} can be used")
