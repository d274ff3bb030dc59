"""One run of `hls init`: its options, the paths of its files, and the questions to the user."""

from __future__ import annotations

import os
import re
import select
import sys
import time
import webbrowser
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TextIO, TypeVar
from urllib.parse import urlsplit

import typer
from pydantic import TypeAdapter, ValidationError

from hls_handler.cli.init.files import DEFAULT_CLAUDE, DEFAULT_GITHUB, read_secret, read_variables, set_variables
from hls_handler.cli.options import DOTENV, print_line, utc_now
from hls_handler.clients.app_setup import MAX_NAME_CHARS
from hls_handler.clients.webhook_setup import UNSERVED_URL
from hls_handler.errors import HlsError, SettingsError, with_remedy
from hls_handler.events import REPOSITORY_NAME
from hls_handler.settings.load import SETTINGS_FILE
from hls_handler.settings.values import HttpUrl, is_loopback
from hls_handler.untrusted.cleaning import escape_unprintable

T = TypeVar("T")

NO_URL = "none"


class Terminal:
    """The terminal of this process. `stream` is its standard input; None: no person can answer."""

    def __init__(self, stream: TextIO | None) -> None:
        self.is_present = stream is not None
        self._streams = [] if stream is None else [stream]

    def ask(self, question: str, default: str | None, *, is_hidden: bool = False) -> str:
        """Return a line; `default` for an empty one. Without a default, repeat the question."""
        shown = escape_unprintable(question)
        return str(typer.prompt(shown, default=default, show_default=bool(default), hide_input=is_hidden)).strip()

    def wait_for_enter(self, timeout_s: float) -> bool:
        """Return True as soon as Enter is pressed, and False after `timeout_s`."""
        readable, _, _ = select.select(self._streams, [], [], timeout_s)
        return bool(readable and (readable[0].readline() or True))

    def require(self, option: str) -> None:
        """Raise `SettingsError` without a terminal. The `option` makes the question unnecessary."""
        if not self.is_present:
            raise SettingsError([f"there is no terminal to ask on; add {option}"])

    def ask_valid(
        self, question: str, default: str | None, parse: Callable[[str], T], *, option: str, is_hidden: bool = False
    ) -> T:
        """Ask until `parse` raises no `HlsError`. Without a terminal, raise one that names the `option` to use."""
        self.require(option)
        while True:
            try:
                return parse(self.ask(question, default, is_hidden=is_hidden))
            except HlsError as exc:
                for problem in with_remedy(exc).splitlines():
                    print_line(problem)


def open_browser(url: str) -> bool:
    """Open a graphical browser. Text browsers would take the terminal."""
    if sys.platform.startswith("linux") and not any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))):
        return False
    try:
        return webbrowser.open(url)
    except (webbrowser.Error, OSError):
        return False


@dataclass(slots=True)
class Session:
    """One run of `hls init`: the options of the command line (None: not given), and what it needs of this machine.

    Raises `SettingsError` for options that cannot be used.
    """

    environ: Mapping[str, str]
    terminal: Terminal
    config: Path | None = None
    app: bool = False
    name: str | None = None
    organization: str | None = None
    webhook_url: str | None = None  # `UNSERVED_URL` for "none"
    token_file: Path | None = None
    repositories: tuple[str, ...] = ()
    claude_key_file: Path | None = None
    github_url: str = DEFAULT_GITHUB
    claude_url: str = DEFAULT_CLAUDE
    port: int = 0
    wait: bool = True
    yes: bool = False
    open_browser: Callable[[str], object] = open_browser
    now: Callable[[], datetime] = utc_now
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        self.github_url = _check_url("--github-url", self.github_url)
        self.claude_url = _check_url("--claude-url", self.claude_url)
        if self.name is not None:
            check_name(self.name)
        if self.webhook_url is not None:
            self.webhook_url = parse_webhook_url(self.webhook_url)
        if self.repositories:
            self.repositories = parse_repositories(" ".join(self.repositories))

    @property
    def settings_path(self) -> Path:
        return self.config or Path(self.environ.get("HLS_CONFIG") or SETTINGS_FILE)

    @property
    def key_path(self) -> Path:
        return self.settings_path.with_name("github-app.pem")

    @property
    def pending_path(self) -> Path:
        """Path of a file that exists only between the confirmation on GitHub and the storage of all secrets."""
        return self.settings_path.with_name("github-app.pending.json")

    def variables(self) -> Mapping[str, str]:
        """Return the variables of the environment and of `.env` that have a value."""
        return {**read_variables(DOTENV), **{name: value for name, value in self.environ.items() if value.strip()}}

    def find_secret(self, file: Path | None, variable: str) -> str:
        """Return the content of the file, else the value of the variable; "" if there is neither."""
        if file is not None:
            return read_secret(file)
        value = self.variables().get(variable, "").strip()
        if value:
            print_line(f"Using the variable {variable}.")
        return value

    def confirm(self, question: str) -> bool:
        """Ask for a confirmation; the default is no. Raises `SettingsError` if no person can answer."""
        if self.yes:
            return True
        answer = self.terminal.ask_valid(f"{question} (y/n)", "n", str.lower, option=f"--yes to confirm: {question}")
        return answer in ("y", "yes")

    def ask_webhook_url(self) -> str:
        if self.webhook_url is not None:
            return self.webhook_url
        question = (
            "Public address to which GitHub sends events, such as https://hls.example.com/webhook, or none: "
            "`hls listen` fetches them"
        )
        return self.terminal.ask_valid(question, NO_URL, parse_webhook_url, option="--webhook-url URL, or none")

    def store(self, variables: Mapping[str, str]) -> None:
        """Write variables to `.env`. Raises `SettingsError` if the user wants to keep another value."""
        present = read_variables(DOTENV)
        for name, value in variables.items():
            if present.get(name, value) != value and not self.confirm(
                f"{DOTENV} has another {name}. Replace it? The present line is kept as a comment."
            ):
                raise SettingsError([f"{DOTENV} is unchanged; remove {name} from it, then start `hls init` again"])
        if any(present.get(name) != value for name, value in variables.items()):
            set_variables(DOTENV, variables)
            print_line(f"Stored in {DOTENV}: {', '.join(variables)}")


def check_name(name: str) -> str:
    """Return the name of an App. Raises `SettingsError`."""
    if not name.strip() or len(name) > MAX_NAME_CHARS:
        raise SettingsError([f"--name: expected 1 to {MAX_NAME_CHARS} characters, found {len(name)}"])
    return name


def parse_webhook_url(url: str) -> str:
    """Return the URL of the webhook; `UNSERVED_URL` for "none". Raises `SettingsError`."""
    if url == NO_URL:
        return UNSERVED_URL
    expected = "expected one such as https://hls.example.com/webhook, or none"
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port  # raises for an invalid port
    except ValueError:
        raise SettingsError([f"--webhook-url: {url} is not an address; {expected}"]) from None
    if not host or parts.scheme not in ("https", "http") or re.search(r"[\s?#@]", url):
        raise SettingsError([f"--webhook-url: {url} is not an address, or has a user name, ? or #; {expected}"])
    if is_loopback(host):
        raise SettingsError([f"--webhook-url: {url} is of this machine only, which GitHub rejects; {expected}"])
    return url if parts.path.strip("/") else f"{url.rstrip('/')}/webhook"


def parse_repositories(text: str) -> tuple[str, ...]:
    """Return names that are separated by commas or spaces, without duplicates; a URL is shortened to owner/repo.

    Raises `SettingsError`.
    """
    names = text.replace(",", " ").split()
    found = dict.fromkeys(_shorten(name) if "://" in name else name for name in names)
    wrong = [name for name in found if not REPOSITORY_NAME.fullmatch(name.replace("*", "x"))]
    if wrong or not found:
        expected = "expected a repository such as owner/repo, or owner/* for all of an account"
        raise SettingsError([f"{' '.join(wrong) or 'no name'}: {expected}"])
    return tuple(found)


def _shorten(url: str) -> str:
    return "/".join(urlsplit(url).path.strip("/").split("/")[:2]).removesuffix(".git")


def _check_url(option: str, url: str) -> str:
    try:
        return TypeAdapter(HttpUrl).validate_python(url)
    except ValidationError as exc:
        problem = exc.errors()[0]["msg"]
    raise SettingsError([f"{option}: {url}: {problem}"])
