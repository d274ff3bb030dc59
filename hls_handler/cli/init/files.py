"""The files that `hls init` writes: secrets with mode 0600, each file atomically, and nothing replaced silently."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from hls_handler.clients.webhook_setup import UNSERVED_URL
from hls_handler.errors import SettingsError
from hls_handler.settings.load import read_environment

PRIVATE_MODE, SETTINGS_MODE = 0o600, 0o644

_PLAIN = re.compile(r"[A-Za-z0-9_./:+=@%-]+")  # values that every reader of .env files takes as they are


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
        raise SettingsError([f"{path.absolute()}: cannot be read as UTF-8: {type(exc).__name__}"]) from None


def read_variables(dotenv: Path) -> Mapping[str, str]:
    """Return the variables that have a value. Raises `SettingsError` for an unreadable file or invalid lines."""
    return {name: value for name, value in read_environment({}, dotenv).items() if value.strip()}


def add_variables(dotenv: Path, variables: Mapping[str, str]) -> None:
    """Add lines to a file such as `.env`, in one atomic write. They take precedence over lines without a value."""
    text = read_text(dotenv) or ""
    separator = "\n" if text and not text.endswith("\n") else ""
    write_file(dotenv, text + separator + "".join(f"{name}={_quoted(value)}\n" for name, value in variables.items()))


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


DEFAULT_GITHUB, DEFAULT_CLAUDE = "https://api.github.com", "https://api.anthropic.com"
ENABLED_EVENTS = ("issues", "pull_request", "pull_request_review", "workflow_run")

HEADER = """\
# Settings of HLS, written by `hls init`. config/settings.example.yaml and docs/settings.md describe all other keys.
# ${NAME} is replaced from the environment, else from .env. Relative paths are relative to the folder in which HLS is
# started. A running service applies changes of this file within a second. `hls check` reports mistakes with their line.
server:"""
ACCOUNT = '  token: "${GITHUB_TOKEN}"  # reads and writes as the account of this token'
APP = """\
  app:  # the GitHub App as which HLS reads and writes
    id: "${GITHUB_APP_ID}"
    private_key_path: """


def settings_text(
    key_path: Path | None,
    repositories: Sequence[str],
    *,
    webhook_url: str,
    github_url: str = DEFAULT_GITHUB,
    claude_url: str = DEFAULT_CLAUDE,
) -> str:
    """Return a settings file with the App whose key is in `key_path`, or with a token if that is None."""
    webhook_path, about_url = urlsplit(webhook_url).path, find_about_url(webhook_url)
    lines = [
        HEADER,
        webhook_path != "/webhook" and f"  webhook_path: {json.dumps(webhook_path)}  # GitHub posts to it",
        '  api_key: "${HLS_API_KEY}"  # opens the console; /stats, /metrics and the API need it',
        "",
        "github:",
        ACCOUNT if key_path is None else f"{APP}{json.dumps(str(key_path), ensure_ascii=False)}",
        '  webhook_secret: "${GITHUB_WEBHOOK_SECRET}"',
        github_url != DEFAULT_GITHUB and f"  base_url: {json.dumps(github_url)}",
        "",
        "claude:",
        '  api_key: "${ANTHROPIC_API_KEY}"',
        claude_url != DEFAULT_CLAUDE and f"  base_url: {json.dumps(claude_url)}",
        about_url and f"\ncomments:\n  about_url: {json.dumps(about_url)}  # page of HLS that the footer links to",
        "",
        "repositories:  # the most specific matching entry applies; other repositories are ignored",
    ]
    for name in repositories:
        lines.append(f"  - name: {json.dumps(name)}")
        lines.append(f"    events: [{', '.join(ENABLED_EVENTS)}]  # more: issue_comment, release")
    return "\n".join(line for line in lines if isinstance(line, str)) + "\n"


def find_about_url(webhook_url: str) -> str | None:
    """Return the address of the service's page for contributors; None if the URL does not look like the service's."""
    is_served = webhook_url.startswith("https://") and webhook_url.endswith("/webhook")  # no relay such as smee
    return urljoin(webhook_url, "/docs/comments.md") if is_served and webhook_url != UNSERVED_URL else None
