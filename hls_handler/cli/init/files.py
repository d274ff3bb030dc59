"""The files that `hls init` writes: secrets with mode 0600, each file atomically, and nothing replaced silently."""

from __future__ import annotations

import html
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import StringIO
from itertools import count
from pathlib import Path

from dotenv.parser import Binding, parse_stream
from pydantic import ValidationError

from hls_handler.cli.options import print_line
from hls_handler.clients.app_setup import CreatedApp
from hls_handler.errors import SettingsError
from hls_handler.settings.load import read_environment

_PLAIN = re.compile(r"[A-Za-z0-9_./:+=@%-]+")  # values that every reader of .env files takes as they are

PRIVATE_MODE, SETTINGS_MODE = 0o600, 0o644
STANDARD_INPUT = Path("-")


def write_file(path: Path, text: str, *, mode: int = PRIVATE_MODE) -> None:
    """Write a file and its folder. The file is replaced atomically. Raises `SettingsError`."""
    target = path.resolve()  # a symbolic link stays one
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)  # with mode 0600
        os.close(handle)
        temporary = Path(name)
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.chmod(mode)
            temporary.replace(target)
        except BaseException:  # also Ctrl-C
            with suppress(OSError):
                temporary.unlink()
            raise
    except OSError as exc:
        raise _cannot_write(path, exc) from exc


def require_writable(path: Path) -> None:
    """Create the folder of a file that will be written. Raises `SettingsError` if no file can be created there."""
    folder = path.resolve().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as exc:
        raise _cannot_write(path, exc) from exc


def _cannot_write(path: Path, exc: OSError) -> SettingsError:
    return SettingsError([f"{path.absolute()}: cannot be written: {exc.strerror}; use a folder that you may write to"])


def read_text(path: Path) -> str | None:
    """Return the text of a file; None if there is no such file. Raises `SettingsError`."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise SettingsError([f"{path.absolute()}: cannot be read: {exc.strerror}"]) from exc
    except UnicodeDecodeError:
        raise SettingsError([f"{path.absolute()}: not UTF-8; save the file as UTF-8"]) from None


def read_secret(path: Path) -> str:
    """Return the content of a file, or of standard input. Raises `SettingsError` if there is none."""
    text = sys.stdin.read() if path == STANDARD_INPUT else read_text(path)
    if text is None:
        raise SettingsError([f"{path.absolute()}: there is no such file"])
    if not text.strip():
        raise SettingsError([f"{path.absolute()}: is empty"])
    return text.strip()


def free_copy_name(path: Path) -> Path:
    """Return the first of "settings.yaml.bak", "settings.yaml.bak2", ... that does not exist."""
    names = (path.with_name(f"{path.name}.bak{number if number > 1 else ''}") for number in count(1))
    return next(name for name in names if not name.exists())


class DotenvFile:
    """The file `.env`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Mapping[str, str]:
        """Return the variables that have a value. Raises `SettingsError` for an unreadable file or invalid lines."""
        return {name: value for name, value in read_environment({}, self.path).items() if value.strip()}

    def set(self, variables: Mapping[str, str]) -> None:
        """Add lines, in one atomic write. An earlier line with another value becomes a comment."""
        present = self.read()
        new = {name: value for name, value in variables.items() if present.get(name) != value}
        if not new:
            if self.path.exists():
                self.path.chmod(PRIVATE_MODE)
            return
        lines = {name: f"{name}={_quoted(value)}\n" for name, value in new.items()}
        earlier = "".join(self._replace(binding, lines) for binding in self._bindings())
        separator = "\n" if earlier and not earlier.endswith("\n") else ""
        write_file(self.path, earlier + separator + "".join(lines.values()))

    @staticmethod
    def _replace(binding: Binding, lines: dict[str, str]) -> str:
        """Return the new text of a line. Removes from `lines` the line that replaces an assignment without a value."""
        if binding.key in lines and not (binding.value or "").strip():
            return lines.pop(binding.key)
        return _comment_out(binding) if binding.key in lines else binding.original.string

    def _bindings(self) -> Sequence[Binding]:
        return list(parse_stream(StringIO((read_text(self.path) or "").removeprefix("\ufeff"))))


def _comment_out(binding: Binding) -> str:
    lines = binding.original.string.splitlines(keepends=True)
    return "".join(line if not line.strip() else f"# {line}" for line in lines)


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


APP_ID, WEBHOOK_SECRET, API_KEY = "GITHUB_APP_ID", "GITHUB_WEBHOOK_SECRET", "HLS_API_KEY"


@contextmanager
def redirect_file(path: Path, url: str) -> Iterator[str]:
    """Write a page that leads to `url`, delete it at the end, and yield its address.

    Every user of the machine can read the arguments of a browser, but only the owner can read this file.
    """
    address = html.escape(url)
    write_file(path, f'<meta http-equiv="refresh" content="0; url={address}">\n<a href="{address}">Continue</a>\n')
    try:
        yield path.absolute().as_uri()
    finally:
        path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class AppFiles:
    key: Path  # "config/github-app.pem"
    dotenv: DotenvFile

    @property
    def pending(self) -> Path:
        """A file that exists only between the confirmation on GitHub and the storage of all secrets."""
        return self.key.with_name("github-app.pending.json")

    @property
    def page(self) -> Path:
        """A file that leads the browser to the page of `hls init` while this is shown."""
        return self.key.with_name("github-app.html")

    def read_pending(self) -> str | CreatedApp | None:
        """Return a code to exchange or an App to store, after an interruption; None if there was none."""
        text = read_text(self.pending)
        if text is None:
            return None
        try:
            document = json.loads(text)
            return document["code"] if "code" in document else CreatedApp.model_validate(document)
        except (ValueError, TypeError, ValidationError):
            problem = f"{self.pending.absolute()}: damaged; delete the file, and the App on GitHub if it exists"
        raise SettingsError([problem])  # outside of `except`, because the error may contain secrets

    def store(self, app: CreatedApp) -> None:
        """Store the App's secrets. After an interruption at any point, `read_pending` returns the App again."""
        write_file(self.pending, app.model_dump_json())
        present = read_text(self.key)
        if present not in (None, app.pem):  # the key of another App, which the user put there meanwhile
            write_file(free_copy_name(self.key), present)
        write_file(self.key, app.pem)
        self.dotenv.set({APP_ID: str(app.id), WEBHOOK_SECRET: app.webhook_secret})
        self.pending.unlink(missing_ok=True)
        print_line(f"Stored in {self.dotenv.path}: {APP_ID}, {WEBHOOK_SECRET}")


@dataclass(frozen=True, slots=True)
class Identity:
    """The section `github` of a new settings file."""

    lines: tuple[str, ...]  # YAML below `github:`


def app_identity(key_path: Path) -> Identity:
    return Identity(
        (
            "app:  # the GitHub App as which HLS reads and writes",
            '  id: "${GITHUB_APP_ID}"',
            f"  private_key_path: {json.dumps(str(key_path), ensure_ascii=False)}",
        )
    )


TOKEN_IDENTITY = Identity(('token: "${GITHUB_TOKEN}"  # reads and writes as the account of this token',))

HEADER = """\
# Settings of HLS, written by `hls init`. config/settings.example.yaml and docs/settings.md describe all other keys.
# ${NAME} is replaced from the environment, else from .env. Relative paths are relative to the folder in which HLS is
# started. A running service applies changes of this file within a second. `hls check` reports mistakes with their line.
"""
REPOSITORIES_COMMENT = "the most specific matching entry applies; other repositories are ignored"
ALL_REPOSITORIES = "*/*"
ENABLED_EVENTS = ("issues", "pull_request", "pull_request_review", "workflow_run")


def settings_text(
    identity: Identity,
    repositories: Sequence[str],
    *,
    github_url: str | None = None,
    claude_url: str | None = None,
    webhook_path: str | None = None,
    about_url: str | None = None,
) -> str:
    """Return a settings file. Arguments that are None keep their defaults."""
    parts = [HEADER, "server:"]
    if webhook_path is not None:
        parts.append(f"  webhook_path: {json.dumps(webhook_path)}  # path that GitHub posts to")
    parts += [f'  api_key: "${{{API_KEY}}}"  # opens the console; /stats, /metrics and the API need it', ""]
    parts += ["github:", *(f"  {line}" for line in identity.lines), '  webhook_secret: "${GITHUB_WEBHOOK_SECRET}"']
    if github_url is not None:
        parts.append(f"  base_url: {json.dumps(github_url)}")
    parts += ["", "claude:", '  api_key: "${ANTHROPIC_API_KEY}"']
    if claude_url is not None:
        parts.append(f"  base_url: {json.dumps(claude_url)}")
    if about_url is not None:
        parts += ["", "comments:", f"  about_url: {json.dumps(about_url)}  # page of HLS that the footer links to"]
    parts += ["", f"repositories:  # {REPOSITORIES_COMMENT}"]
    for name in repositories:
        comment = "  # every repository whose webhook has the secret" if name == ALL_REPOSITORIES else ""
        parts.append(f"  - name: {json.dumps(name)}{comment}")
        parts.append(f"    events: [{', '.join(ENABLED_EVENTS)}]  # more: issue_comment, release")
    return "\n".join(parts) + "\n"
