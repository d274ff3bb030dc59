"""What the commands share: the `--config` option, and settings that were loaded or complained about."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from hls_handler.cli.say import say
from hls_handler.errors import HlsError, SettingsError
from hls_handler.settings.credentials import find_missing, missing_credentials, with_stand_ins
from hls_handler.settings.load import load_settings
from hls_handler.settings.model import Settings
from hls_handler.store import Store, database_exists

DEFAULT_CONFIG = Path("config/settings.yaml")
DOTENV = Path(".env")

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="PATH",
        help="The settings file. Default: $HLS_CONFIG, else config/settings.yaml.",
        show_default=False,
    ),
]


def config_path(config: Path | None) -> Path:
    return config or Path(os.environ.get("HLS_CONFIG") or DEFAULT_CONFIG)


def load(config: Path | None) -> Settings:
    """The settings; exits with 2 and all problems, a line each, when they cannot be used."""
    try:
        return load_settings(config_path(config), os.environ, dotenv=DOTENV)
    except SettingsError as exc:
        refuse(exc.problems)


def load_without_credentials(config: Path | None) -> Settings:
    """The same, but a credential that is not set is no problem yet: `credentials.find_missing` tells of it."""
    path = config_path(config)
    try:
        if not missing_credentials(os.environ, DOTENV):
            return load(config)
        return load_settings(path, with_stand_ins(os.environ, DOTENV), dotenv=DOTENV)
    except SettingsError as exc:
        refuse(exc.problems)


def need(settings: Settings, key: Literal["github.token", "claude.api_key"], *, otherwise: str) -> None:
    """Exits with 2 when this credential is not set; `otherwise` says how to do without it."""
    secret = {"github.token": settings.github.token, "claude.api_key": settings.claude.api_key}[key]
    missing = find_missing(secret)
    if missing is not None:
        where = settings.sources.where(key)
        refuse([f"{where}: {missing} is not set; set it in the environment or in .env, or {otherwise}"])


@contextmanager
def open_store(settings: Settings) -> Iterator[Store]:
    """The store, beside a running service, closed at the end; exits with 2 when it cannot be used."""
    with _refusing(settings), closing(Store.open(settings.storage.url)) as store:
        yield store


@contextmanager
def open_store_if_any(settings: Settings) -> Iterator[Store | None]:
    """The same, but None where there is no database yet, and then none is made."""
    with _refusing(settings):
        exists = database_exists(settings.storage.url)
    if not exists:
        yield None
        return
    with open_store(settings) as store:
        yield store


@contextmanager
def _refusing(settings: Settings) -> Iterator[None]:
    try:
        yield
    except HlsError as exc:
        refuse([f"{settings.sources.where('storage.url')}: {exc}"])


def refuse(problems: Sequence[str]) -> NoReturn:
    """Say what is wrong, a line each, on standard error; exit 2."""
    for problem in problems:
        say(problem, err=True)
    raise typer.Exit(2)


def fail(problem: str) -> NoReturn:
    """Say what went wrong on standard error; exit 1."""
    say(problem, err=True)
    raise typer.Exit(1)
