"""One run of `hls init`: its options, the paths of its files, and the questions to the user."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import typer
from pydantic import TypeAdapter, ValidationError

from hls_handler.cli.init.files import DEFAULT_CLAUDE, DEFAULT_GITHUB, read_variables, set_variables
from hls_handler.cli.options import DOTENV, print_line
from hls_handler.clients.app_setup import MAX_NAME_CHARS
from hls_handler.clients.webhook_setup import UNSERVED_URL
from hls_handler.errors import HlsError, SettingsError, with_remedy
from hls_handler.events import REPOSITORY_NAME
from hls_handler.settings.load import SETTINGS_FILE
from hls_handler.settings.values import HttpUrl, is_loopback
from hls_handler.untrusted.cleaning import escape_unprintable

T = TypeVar("T")


class Terminal:
    """The terminal of this process."""

    def __init__(self, *, is_present: bool) -> None:
        self.is_present = is_present  # else no person can answer

    def read_answer(self, question: str, default: str | None, *, is_hidden: bool = False) -> str:
        """Return a line; `default` for an empty one. Without a default, repeat the question."""
        shown = escape_unprintable(question)
        return str(typer.prompt(shown, default=default, show_default=bool(default), hide_input=is_hidden)).strip()

    def ask(
        self, question: str, default: str | None, parse: Callable[[str], T], *, option: str, is_hidden: bool = False
    ) -> T:
        """Ask until `parse` accepts the answer. Without a terminal, raise an error that names the `option` to use."""
        if not self.is_present:
            raise SettingsError([f"there is no terminal to ask on; add {option}"])
        while True:
            try:
                return parse(self.read_answer(question, default, is_hidden=is_hidden))
            except (HlsError, typer.BadParameter) as exc:
                for problem in (with_remedy(exc) if isinstance(exc, HlsError) else exc.message).splitlines():
                    print_line(problem)


@dataclass(slots=True)
class Session:
    """One run of `hls init`: what it needs of this machine, and its options; the answers to questions join them."""

    environ: Mapping[str, str]
    terminal: Terminal
    open_browser: Callable[[str], object]
    sleep: Callable[[float], None] = time.sleep
    config: Path | None = None
    app: bool = False
    name: str | None = None
    organization: str | None = None
    webhook_url: str | None = None  # `UNSERVED_URL` for "none"
    token: str = ""
    repositories: tuple[str, ...] = ()  # ("owner/repo", "other/*"), as in the settings
    claude_key: str = ""
    github_url: str = DEFAULT_GITHUB
    claude_url: str = DEFAULT_CLAUDE
    port: int = 0
    wait: bool = True
    yes: bool = False

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

    def variable(self, name: str) -> str:
        """Return a variable of the environment, else of `.env`; "" if it has no value."""
        return self.environ.get(name, "").strip() or read_variables(DOTENV).get(name, "")

    def confirm(self, question: str) -> bool:
        """Ask for a confirmation; the default is no. Raises `SettingsError` if no person can answer."""
        option = f"--yes to confirm: {question}"
        return self.yes or self.terminal.ask(f"{question} (y/n)", "n", str.lower, option=option) in ("y", "yes")

    def require_replaceable(self, name: str) -> None:
        """Raise `SettingsError` if `.env` has the variable, and the user does not confirm that it is replaced."""
        if name in read_variables(DOTENV) and not self.confirm(
            f"{DOTENV} has another {name}. Replace it? The present line is kept as a comment."
        ):
            raise SettingsError([f"{DOTENV} is unchanged; remove {name} from it, then start `hls init` again"])

    def store(self, variables: Mapping[str, str]) -> None:
        """Write variables to `.env`. Raises `SettingsError` if the user wants to keep another value."""
        present = read_variables(DOTENV)
        changed = [name for name, value in variables.items() if present.get(name) != value]
        for name in changed:
            self.require_replaceable(name)
        if changed:
            set_variables(DOTENV, variables)
            print_line(f"Stored in {DOTENV}: {', '.join(variables)}")


# --- options and answers; each raises `typer.BadParameter` -------------------------------------------------------


def parse_name(name: str) -> str:
    if not name.strip() or len(name) > MAX_NAME_CHARS:
        raise typer.BadParameter(f"expected 1 to {MAX_NAME_CHARS} characters, found {len(name)}")
    return name


def parse_webhook_url(url: str) -> str:
    """Return the URL of the webhook; `UNSERVED_URL` for "none"."""
    if url == "none":
        return UNSERVED_URL
    expected = "expected one such as https://hls.example.com/webhook, or none"
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port  # raises for an invalid port
    except ValueError:
        host = ""
    if not re.fullmatch(r"https?://[^\s?#@]+", url) or not host:
        raise typer.BadParameter(f"{url} is not an address, or has a user name, ? or #; {expected}")
    if is_loopback(host):
        raise typer.BadParameter(f"{url} is of this machine only, which GitHub rejects; {expected}")
    return url if parts.path.strip("/") else f"{url.rstrip('/')}/webhook"


def parse_repositories(text: str) -> tuple[str, ...]:
    """Return names that are separated by commas or spaces, without duplicates; a URL is shortened to owner/repo."""
    names = text.replace(",", " ").split()
    found = dict.fromkeys(
        "/".join(urlsplit(name).path.split("/")[1:3]).removesuffix(".git") if "://" in name else name for name in names
    )
    wrong = [name for name in found if not REPOSITORY_NAME.fullmatch(name.replace("*", "x"))]
    if wrong or not found:
        expected = "expected a repository such as owner/repo, or owner/* for all of an account"
        raise typer.BadParameter(f"{' '.join(wrong) or 'no name'}: {expected}")
    return tuple(found)


def parse_base_url(url: str) -> str:
    try:
        return TypeAdapter(HttpUrl).validate_python(url)
    except ValidationError as exc:
        raise typer.BadParameter(f"{url}: {exc.errors()[0]['msg']}") from None
