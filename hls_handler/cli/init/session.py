"""One run of `hls init`: its options, its files, and the questions to the user."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import typer
from pydantic import TypeAdapter, ValidationError

from hls_handler.cli.options import DOTENV
from hls_handler.cli.terminal import print_line
from hls_handler.errors import HlsError, SettingsError, with_remedy
from hls_handler.events import REPOSITORY_NAME
from hls_handler.github.app_setup import MAX_NAME_CHARS
from hls_handler.github.webhook_setup import UNSERVED_URL
from hls_handler.reports.estimate import NAMED_MODELS
from hls_handler.settings.environment import read_environment
from hls_handler.settings.load import SETTINGS_FILE
from hls_handler.settings.values import HttpUrl, is_loopback, to_api_url
from hls_handler.wording import describe_invalid

T = TypeVar("T")
DEFAULT_GITHUB = "https://api.github.com"
DEFAULT_CLAUDE = "https://api.anthropic.com"


@dataclass(slots=True)
class Session:
    """One run of `hls init`: what it needs of this machine, and its options; the answers to
    questions join them.
    """

    environ: Mapping[str, str]
    # None: there is no terminal on which people can answer
    read_answer: Callable[[str, str | None, bool], str] | None
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
    review_model: str | None = None  # "claude-sonnet-5-5"; None: that of all prompts

    @property
    def settings_path(self) -> Path:
        return self.config or Path(self.environ.get("HLS_CONFIG") or SETTINGS_FILE)

    @property
    def key_path(self) -> Path:
        return self.settings_path.with_name("github-app.pem")

    def ask(
        self,
        question: str,
        default: str | None,
        parse: Callable[[str], T],
        *,
        option: str,
        is_hidden: bool = False,
    ) -> T:
        """Ask until `parse` accepts the answer. Without a terminal, raise an error that names the
        `option` to use.
        """
        if self.read_answer is None:
            raise SettingsError([f"there is no terminal to ask on; add {option}"])
        while True:
            try:
                return parse(self.read_answer(question, default, is_hidden))
            except (HlsError, typer.BadParameter) as exc:
                problem = with_remedy(exc) if isinstance(exc, HlsError) else exc.message
                for line in problem.splitlines():
                    print_line(line)

    def variable(self, name: str) -> str:
        """Return a variable of the environment, else of `.env`; "" if it has no value."""
        return self.environ.get(name, "").strip() or read_variables().get(name, "")

    def require_new(self, names: Iterable[str]) -> None:
        """Raise `SettingsError` if `.env` has a value for one of the variables."""
        present = [name for name in names if name in read_variables()]
        if present:
            problem = f"{DOTENV} has another {' and '.join(present)}, and is unchanged"
            raise SettingsError([f"{problem}; remove these lines, then start `hls init` again"])

    def store(self, variables: Mapping[str, str]) -> None:
        """Write variables to `.env`. Raises `SettingsError` if it has another value of one."""
        present = read_variables()
        new = {name: value for name, value in variables.items() if present.get(name) != value}
        self.require_new(new)
        if new:
            add_variables(DOTENV, new)
            print_line(f"Stored in {DOTENV}: {', '.join(new)}")


# --- files: secrets with mode 0600, each file written atomically

PRIVATE_MODE = 0o600
SETTINGS_MODE = 0o644

# values that every reader of .env files takes as they are
_PLAIN = re.compile(r"[A-Za-z0-9_./:+=@%-]+")


def write_file(path: Path, text: str, *, mode: int = PRIVATE_MODE) -> None:
    """Write a file and its folder. The file is replaced atomically. Raises `SettingsError`."""
    target = path.resolve()  # a symbolic link stays one
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        os.close(handle)
        try:
            Path(name).write_text(text, encoding="utf-8")
            Path(name).chmod(mode)
            Path(name).replace(target)
        finally:  # also after Ctrl-C
            Path(name).unlink(missing_ok=True)
    except OSError as exc:
        problem = f"cannot be written: {exc.strerror}; use a folder that you may write to"
        raise SettingsError([f"{path.absolute()}: {problem}"]) from exc


def read_text(path: Path) -> str | None:
    """Return the text of a file; None if there is no such file. Raises `SettingsError`."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(
            [f"{path.absolute()}: cannot be read as UTF-8: {type(exc).__name__}"]
        ) from None


def read_variables() -> Mapping[str, str]:
    """Return the variables of `.env` that have a value. Raises `SettingsError` if the file is not
    valid.
    """
    return {name: value for name, value in read_environment({}, DOTENV).items() if value.strip()}


def add_variables(dotenv: Path, variables: Mapping[str, str]) -> None:
    """Add lines to a file such as `.env`, in one atomic write. They take precedence over lines
    without a value.
    """
    text = read_text(dotenv) or ""
    if text and not text.endswith("\n"):
        text += "\n"
    for name, value in variables.items():
        text += f"{name}={_quoted(value)}\n"
    write_file(dotenv, text)


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


# --- options and answers; each raises `typer.BadParameter`


_LOGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,38}")


def parse_organization(text: str) -> str:
    """Return the login of an organisation; "" stands for the user's own account."""
    if text and not _LOGIN.fullmatch(text):
        expected = "expected the login of an organisation, as in https://github.com/my-org"
        raise typer.BadParameter(f"{text}: {expected}")
    return text


def parse_app_name(text: str) -> str:
    if not text.strip() or len(text) > MAX_NAME_CHARS or not text.isprintable():
        expected = f"expected a name of 1 to {MAX_NAME_CHARS} characters"
        raise typer.BadParameter(f"{text}: {expected}")
    return text


def parse_webhook_url(url: str) -> str:
    """Return the URL of the webhook; `UNSERVED_URL` for "none"."""
    if url == "none":
        return UNSERVED_URL
    match = re.fullmatch(r"https?://(\[[0-9a-f:]+\]|[^\s/?#@:\[\]]+)(?::\d+)?(/[^\s?#]*)?", url)
    if not match or is_loopback(match[1].strip("[]")):
        expected = "expected a public address such as https://hls.example.com/webhook, or none"
        raise typer.BadParameter(f"{url}: {expected}")
    path = match[2] or ""
    if path.strip("/"):
        return url
    return f"{url.rstrip('/')}/webhook"


def parse_repositories(text: str) -> tuple[str, ...]:
    """Return names that are separated by commas or spaces, without duplicates; a URL is shortened
    to owner/repo.
    """
    names = list[str]()
    for name in text.replace(",", " ").split():
        if "://" in name:
            parts = urlsplit(name).path.split("/")
            name = "/".join(parts[1:3]).removesuffix(".git")
        if name not in names:
            names.append(name)
    wrong = [name for name in names if not REPOSITORY_NAME.fullmatch(name.replace("*", "x"))]
    if wrong or not names:
        expected = "expected a repository such as owner/repo, or owner/* for all of an account"
        raise typer.BadParameter(f"{' '.join(wrong) or 'no name'}: {expected}")
    return tuple(names)


def parse_review_model(text: str) -> str:
    """Return the model for "haiku", "sonnet" or "opus", or for its name."""
    if text in NAMED_MODELS.values():
        return text
    if text not in NAMED_MODELS:
        raise typer.BadParameter(f"{text}: expected {', '.join(NAMED_MODELS)}")
    return NAMED_MODELS[text]


def parse_base_url(url: str) -> str:
    try:
        return TypeAdapter(HttpUrl).validate_python(url)
    except ValidationError as exc:
        raise typer.BadParameter(describe_invalid(exc.errors()[0], whole=url)) from None


def parse_github_url(url: str) -> str:
    return to_api_url(parse_base_url(url))
