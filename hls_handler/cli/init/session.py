"""One run of `hls init`: its options, the paths of its files, and the questions to the user."""

from __future__ import annotations

import os
import select
import sys
import time
import webbrowser
from collections.abc import Callable, Mapping, Sequence
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
from hls_handler.errors import SettingsError
from hls_handler.events import REPOSITORY_NAME
from hls_handler.settings.load import SETTINGS_FILE
from hls_handler.settings.values import PROBLEM, HttpUrl, is_loopback
from hls_handler.untrusted.cleaning import escape_unprintable

T = TypeVar("T")

NO_URL = "none"
KEY_FILE_NAME = "github-app.pem"


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

    def ask_valid(self, question: str, default: str | None, parse: Callable[[str], T], *, is_hidden: bool = False) -> T:
        """Ask until `parse` raises no `SettingsError`."""
        while True:
            try:
                return parse(self.ask(question, default, is_hidden=is_hidden))
            except SettingsError as exc:
                for problem in exc.problems:
                    print_line(problem)

    def choose(self, question: str, choices: Sequence[str], *, several: bool = False) -> tuple[str, ...]:
        """Print numbered choices and return the chosen one, by default the first; if `several`, by default all."""
        print_line(question)
        for number, choice in enumerate(choices, start=1):
            print_line(f"  {number}  {choice}")

        def parse(answer: str) -> tuple[str, ...]:
            if several and answer == "all":
                return tuple(choices)
            parts = answer.replace(",", " ").split() if several else [answer]
            numbers = {_parse_number(part, len(choices)) for part in parts or [answer]}
            return tuple(choices[number - 1] for number in sorted(numbers))

        asked, default = ("Numbers, separated by commas, or all", "all") if several else ("Number", "1")
        return self.ask_valid(asked, default, parse)


def _parse_number(text: str, highest: int) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= number <= highest:
        raise SettingsError([f"{text}: expected a number from 1 to {highest}"])
    return number


def open_browser(url: str) -> bool:
    """Open a graphical browser. Text browsers would take the terminal."""
    if sys.platform.startswith("linux") and not any(
        os.environ.get(n) for n in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    ):
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
            self.repositories = parse_repositories(self.repositories)

    @property
    def settings_path(self) -> Path:
        return self.config or Path(self.environ.get("HLS_CONFIG") or SETTINGS_FILE)

    @property
    def key_path(self) -> Path:
        return self.settings_path.with_name(KEY_FILE_NAME)

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
        value = self.variables().get(variable, "")
        if value:
            print_line(f"Using the variable {variable}.")
        return value

    def confirm(self, question: str) -> bool:
        """Ask for a confirmation; the default is no. Raises `SettingsError` if no person can answer."""
        if self.yes:
            return True
        if not self.terminal.is_present:
            raise SettingsError([f"{question} There is no terminal to ask on: answer with --yes"])
        return self.terminal.ask(f"{question} (y/n)", "n").lower() in ("y", "yes")

    def ask_webhook_url(self) -> str:
        if self.webhook_url is not None or not self.terminal.is_present:
            return self.webhook_url or UNSERVED_URL
        print_line("GitHub sends events to a public address of this service. Without one, `hls listen` fetches them.")
        question = "Webhook URL, such as https://hls.example.com/webhook, or none"
        return self.terminal.ask_valid(question, NO_URL, parse_webhook_url)

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
    problem = _find_webhook_url_problem(url)
    if problem is not None:
        expected = "expected one such as https://hls.example.com/webhook, or none"
        raise SettingsError([f"--webhook-url: {url} {problem}; {expected}"])
    return url if urlsplit(url).path.strip("/") else f"{url.rstrip('/')}/webhook"


def _find_webhook_url_problem(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return "is not an address"
    if parts.scheme not in ("https", "http") or not host or any(map(str.isspace, url)):
        return "is not an address"
    if is_loopback(host):
        return "is an address of this machine only, which GitHub rejects"
    if parts.query or parts.fragment or "@" in parts.netloc:
        return "must have no user name, ? or #"
    return None


def parse_repositories(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names without duplicates; a URL is shortened to owner/repo. Raises `SettingsError`."""
    found = tuple(_shorten(name) if "://" in name else name for name in names)
    for name in found:
        if not REPOSITORY_NAME.fullmatch(name.replace("*", "x")):
            raise SettingsError([f"{name}: expected a repository such as owner/repo, or owner/* for all of an account"])
    if not found:
        raise SettingsError(["name at least one repository, such as owner/repo"])
    return tuple(dict.fromkeys(found))


def _shorten(url: str) -> str:
    return "/".join(urlsplit(url).path.strip("/").split("/")[:2]).removesuffix(".git")


def _check_url(option: str, url: str) -> str:
    try:
        return TypeAdapter(HttpUrl).validate_python(url)
    except ValidationError as exc:
        error = exc.errors()[0]
        reason = error["msg"] if error["type"] == PROBLEM else "expected an address that starts with https://"
    raise SettingsError([f"{option}: {url}: {reason}"])
