"""Parts of all commands: the `--config` option, output, and functions that load settings or open the store.

Escape sequences in the output are made visible, so that untrusted text cannot control the terminal.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from hls_handler.db.files import database_exists
from hls_handler.errors import HlsError, SettingsError
from hls_handler.settings.load import find_missing, find_missing_credentials, load_settings, with_dummy_credentials
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from hls_handler.untrusted.cleaning import escape_unprintable, escape_unprintable_lines

DEFAULT_CONFIG = Path("config/settings.yaml")
DOTENV = Path(".env")

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="PATH",
        help="Settings file. Default: $HLS_CONFIG, else config/settings.yaml.",
        show_default=False,
    ),
]


def print_line(line: str, *, err: bool = False) -> None:
    """Print exactly one line; newlines and control characters in it are escaped."""
    typer.echo(escape_unprintable(line), err=err)


def print_lines(text: str) -> None:
    """Print text of several lines; only newlines and tabs stay unescaped.

    Use it only where a line of untrusted text cannot be mistaken for later output of the command.
    """
    typer.echo(escape_unprintable_lines(text))


def config_path(config: Path | None) -> Path:
    return config or Path(os.environ.get("HLS_CONFIG") or DEFAULT_CONFIG)


def load(config: Path | None) -> Settings:
    """Load the settings. If they cannot be used, print all problems, one per line, and exit with 2."""
    try:
        return load_settings(config_path(config), os.environ, dotenv=DOTENV)
    except SettingsError as exc:
        abort(exc.problems)


def load_without_credentials(config: Path | None) -> Settings:
    """Load the settings; unset credentials are accepted, and `credentials.find_missing` finds them later."""
    path = config_path(config)
    try:
        if not find_missing_credentials(os.environ, DOTENV):
            return load(config)
        return load_settings(path, with_dummy_credentials(os.environ, DOTENV), dotenv=DOTENV)
    except SettingsError as exc:
        abort(exc.problems)


def require_credential(settings: Settings, key: Literal["github.token", "claude.api_key"], *, alternative: str) -> None:
    """Exit with 2 if this credential is not set. `alternative` completes "set it, or ..."."""
    secret = {"github.token": settings.github.token, "claude.api_key": settings.claude.api_key}[key]
    missing = find_missing(secret)
    if missing is not None:
        where = settings.sources.where(key)
        abort([f"{where}: {missing} is not set; set it in the environment or in .env, or {alternative}"])


@contextmanager
def open_store(settings: Settings) -> Iterator[Storage]:
    """Open the store, also while the service runs, and close it at the end; exits with 2 on errors."""
    with _abort_on_store_error(settings), closing(Storage.open(settings.storage.url)) as store:
        yield store


@contextmanager
def open_existing_store(settings: Settings) -> Iterator[Storage | None]:
    """Open the store if the database exists, else yield None; never creates a database."""
    with _abort_on_store_error(settings):
        exists = database_exists(settings.storage.url)
    if not exists:
        yield None
        return
    with open_store(settings) as store:
        yield store


@contextmanager
def _abort_on_store_error(settings: Settings) -> Iterator[None]:
    try:
        yield
    except HlsError as exc:
        abort([f"{settings.sources.where('storage.url')}: {exc}"])


def abort(problems: Sequence[str]) -> NoReturn:
    """Print the problems to standard error, one per line, and exit with 2."""
    for problem in problems:
        print_line(problem, err=True)
    raise typer.Exit(2)


def fail(problem: str) -> NoReturn:
    """Print the problem to standard error and exit with 1."""
    print_line(problem, err=True)
    raise typer.Exit(1)
