"""The files that `hls init` writes: secrets with mode 0600, each file atomically, and nothing replaced silently."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import StringIO
from itertools import count
from pathlib import Path

from dotenv.parser import Binding, parse_stream

from hls_handler.errors import SettingsError
from hls_handler.settings.load import read_environment

_PLAIN = re.compile(r"[A-Za-z0-9_./:+=@%-]+")  # values that every reader of .env files takes as they are

PRIVATE_MODE, SETTINGS_MODE = 0o600, 0o644


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
        kept = "".join(self._replace(binding, lines) for binding in self._bindings())
        separator = "\n" if kept and not kept.endswith("\n") else ""
        write_file(self.path, kept + separator + "".join(lines.values()))

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
) -> str:
    """Return a settings file. Arguments that are None keep their defaults."""
    parts = [HEADER]
    if webhook_path is not None:
        parts += ["server:", f"  webhook_path: {json.dumps(webhook_path)}  # path that GitHub posts to", ""]
    parts += ["github:", *(f"  {line}" for line in identity.lines), '  webhook_secret: "${GITHUB_WEBHOOK_SECRET}"']
    if github_url is not None:
        parts.append(f"  base_url: {json.dumps(github_url)}")
    parts += ["", "claude:", '  api_key: "${ANTHROPIC_API_KEY}"']
    if claude_url is not None:
        parts.append(f"  base_url: {json.dumps(claude_url)}")
    parts += ["", f"repositories:  # {REPOSITORIES_COMMENT}"]
    for name in repositories:
        comment = "  # every repository whose webhook has the secret" if name == ALL_REPOSITORIES else ""
        parts.append(f"  - name: {json.dumps(name)}{comment}")
        parts.append(f"    events: [{', '.join(ENABLED_EVENTS)}]  # more: issue_comment, release")
    return "\n".join(parts) + "\n"
