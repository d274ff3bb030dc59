"""One run of `hls init`: its options, the paths of its files, and the questions to the user."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import typer
from pydantic import TypeAdapter, ValidationError

from hls_handler.cli.init.files import DEFAULT_CLAUDE, DEFAULT_GITHUB, add_variables, read_variables
from hls_handler.cli.options import DOTENV, print_line
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
    repositories: tuple[str, ...] = ()  # ("owner/repo", "other/*"), as in the settings
    github_url: str = DEFAULT_GITHUB
    claude_url: str = DEFAULT_CLAUDE

    @property
    def settings_path(self) -> Path:
        return self.config or Path(self.environ.get("HLS_CONFIG") or SETTINGS_FILE)

    @property
    def key_path(self) -> Path:
        return self.settings_path.with_name("github-app.pem")

    def variable(self, name: str) -> str:
        """Return a variable of the environment, else of `.env`; "" if it has no value."""
        return self.environ.get(name, "").strip() or read_variables(DOTENV).get(name, "")

    def require_new(self, names: Iterable[str]) -> None:
        """Raise `SettingsError` if `.env` has a value for one of the variables."""
        present = [name for name in names if name in read_variables(DOTENV)]
        if present:
            problem = f"{DOTENV} has another {' and '.join(present)}, and is unchanged"
            raise SettingsError([f"{problem}; remove these lines, then start `hls init` again"])

    def store(self, variables: Mapping[str, str]) -> None:
        """Write variables to `.env`. Raises `SettingsError` if it has another value of one."""
        present = read_variables(DOTENV)
        new = {name: value for name, value in variables.items() if present.get(name) != value}
        self.require_new(new)
        if new:
            add_variables(DOTENV, new)
            print_line(f"Stored in {DOTENV}: {', '.join(new)}")


# --- options and answers; each raises `typer.BadParameter` -------------------------------------------------------


def parse_webhook_url(url: str) -> str:
    """Return the URL of the webhook; `UNSERVED_URL` for "none"."""
    if url == "none":
        return UNSERVED_URL
    match = re.fullmatch(r"https?://(\[[0-9a-f:]+\]|[^\s/?#@:\[\]]+)(?::\d+)?(/[^\s?#]*)?", url)
    if not match or is_loopback(match[1].strip("[]")):
        expected = "expected a public address such as https://hls.example.com/webhook, or none"
        raise typer.BadParameter(f"{url}: {expected}")
    return url if (match[2] or "").strip("/") else f"{url.rstrip('/')}/webhook"


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
