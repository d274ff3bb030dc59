"""Options that several commands have, and functions that all commands use."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from hls_handler import logs
from hls_handler.cli.terminal import print_line, print_problem
from hls_handler.db.database import parse_url, sqlite_file
from hls_handler.db.files import database_exists
from hls_handler.db.values import DamagedError
from hls_handler.errors import (
    HlsError,
    PromptError,
    SettingsError,
    StoreUnavailable,
    with_remedy,
)
from hls_handler.settings.environment import proxy_passwords, read_environment
from hls_handler.settings.load import collect_secrets, find_settings_file, load_settings
from hls_handler.settings.model import Settings
from hls_handler.store.storage import Storage

DOTENV = Path(".env")
KEY_VARIABLE = "ANTHROPIC_API_KEY"
CREDENTIALS = ("GITHUB_TOKEN", "GITHUB_WEBHOOK_SECRET", KEY_VARIABLE)
"""Variables that the shipped settings need."""

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="PATH",
        help=(
            "Settings file. Default: $HLS_CONFIG, else config/settings.yaml, else the shipped"
            " example."
        ),
        show_default=False,
    ),
]


AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Limit = Annotated[
    int | None,
    typer.Option("--limit", metavar="N", min=1, max=10_000, help="Maximum number of entries."),
]


def config_path(config: Path | None) -> Path:
    return (config or find_settings_file(os.environ)).absolute()


def load(config: Path | None, *, credentials: bool = True) -> Settings:
    """Load the settings. Raises `SettingsError`.

    With `credentials=False`, unset variables are accepted; see `require_claude_key` and
    `lacks_github_token`.
    """
    return load_settings(
        config_path(config), os.environ, dotenv=DOTENV, allow_unset=not credentials
    )


def require_claude_key(settings: Settings, *, alternative: str) -> None:
    """Exit with 2 if the key is not set. The error ends with `alternative`, such as "omit --claude
    real".
    """
    if "claude.api_key" in settings.unset:
        abort(f"{_describe_unset(settings, 'claude.api_key')}, or {alternative}")


def find_credentials() -> list[str]:
    """Return those of `CREDENTIALS` that are set. Raises `SettingsError` for an unusable `.env`."""
    variables = read_environment(os.environ, DOTENV)
    return [name for name in CREDENTIALS if variables.get(name, "").strip()]


def lacks_github_token(settings: Settings) -> bool:
    """Return True if the variable of the token, or of the App's key, is not set."""
    return any(path.startswith(("github.token", "github.app.")) for path in settings.unset)


@contextmanager
def open_store(settings: Settings) -> Iterator[Storage]:
    """Open the store for a `with` block. If the database cannot be used, also in the block, name
    its setting and exit with 2.

    Creates or migrates the tables if needed, as `hls serve` does. Works while the service runs.
    """
    where = settings.sources.where("storage.url")
    _require_storage_url(settings)
    try:
        with closing(Storage.open(settings.storage.url)) as store:
            yield store
    except (StoreUnavailable, DamagedError) as exc:
        abort(f"{where}: {exc}")


def open_existing_store(settings: Settings) -> AbstractContextManager[Storage | None]:
    """Open the store like `open_store`, but yield None if the database does not exist or its
    address is not set.
    """
    if "storage.url" in settings.unset:
        return nullcontext()
    try:
        exists = database_exists(settings.storage.url)
    except StoreUnavailable as exc:
        abort(f"{settings.sources.where('storage.url')}: {exc}")
    if not exists:
        return nullcontext()
    return open_store(settings)


@contextmanager
def require_existing_store(settings: Settings) -> Iterator[Storage]:
    """Open the store like `open_store`, but exit with 1 if the database does not exist."""
    with open_existing_store(settings) as store:
        if store is not None:
            yield store
            return
    _require_storage_url(settings)
    file = sqlite_file(parse_url(settings.storage.url))
    assert file is not None  # `database_exists` is true for PostgreSQL
    where = settings.sources.where("storage.url")
    fail(
        f"there is no database at {file.absolute()} yet ({where} names it; `hls serve` creates it);"
        " run this command in the folder of the service, and with its settings file (--config)"
    )


def _require_storage_url(settings: Settings) -> None:
    if "storage.url" in settings.unset:
        abort(_describe_unset(settings, "storage.url"))


def _describe_unset(settings: Settings, key: str) -> str:
    problem = f"{settings.sources.where(key)}: {settings.unset[key]}"
    return f"{problem}; set it in the environment or in {DOTENV.absolute()}"


def http_origin(host: str, port: int) -> str:
    """Return "http://127.0.0.1:8000", or "http://[::1]:8000" for an IPv6 address."""
    if ":" in host:
        host = f"[{host}]"
    return f"http://{host}:{port}"


def find_hls_command() -> str:
    """Return the shell command of this installation: "hls" if PATH leads to it, else the path of
    its program.
    """
    program = Path(sys.executable).with_name("hls")
    command = shutil.which("hls")
    if command is not None and program.is_file() and program.samefile(command):
        return "hls"
    if program.is_relative_to(Path.cwd()):
        program = program.relative_to(Path.cwd())
    return str(program)


def utc_now() -> datetime:
    return datetime.now(UTC)


def find_user() -> str:
    """Return "USER on HOST". Under sudo, USER is who called sudo."""
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in a container
        user = "unknown user"
    return f"{user} on {socket.gethostname()}"


def log_as_operator(settings: Settings) -> str:
    """Send the log line about what the command changes to standard error. Return who runs it."""
    person = name_operator(settings)
    logs.operator_log.setLevel(settings.logging.level)
    return person


def name_operator(settings: Settings) -> str:
    """Return who runs a command whose own output says what it changes. Only warnings of the log
    are sent to standard error.
    """
    layout: logs.LogLayout = settings.logging.format or "json"
    if settings.logging.format is None and sys.stderr.isatty():
        layout = "text"
    secrets = {*collect_secrets(settings), *proxy_passwords()}
    logs.configure("WARNING", layout, sys.stderr, secrets)
    logs.operator_log.setLevel("WARNING")
    return f"command line ({find_user()})"


def require_confirmation(question: str, *, what: str, otherwise: str) -> None:
    """Ask a question. Exit with 1 and the text `otherwise` if it is declined, and with 2 without a
    terminal.
    """
    if not sys.stdin.isatty():
        abort(
            f"standard input is not a terminal, so {what} cannot be confirmed; add --yes to"
            " confirm it"
        )
    if not typer.confirm(question):
        fail(otherwise)


def exit_with(error: HlsError) -> NoReturn:
    """Print the error of a command, and exit: with 2 if settings or prompts cannot be used, else
    with 1.
    """
    if isinstance(error, SettingsError | PromptError):
        abort(*error.problems)
    fail(with_remedy(error))


def abort(*problems: str) -> NoReturn:
    """Print the problems to standard error, one per line, and exit with 2."""
    for problem in problems:
        print_problem(problem, err=True)
    raise typer.Exit(2)


def fail(problem: str) -> NoReturn:
    """Print the problem to standard error and exit with 1."""
    print_line(problem, err=True)
    raise typer.Exit(1)
