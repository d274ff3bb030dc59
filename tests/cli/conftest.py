"""Fixtures for commands: a folder with settings, its database, and `hls` in it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import closing, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hls_handler.cli import app
from hls_handler.store.storage import Storage
from tests.sqlite import create_database

SETTINGS = """\
github: {token: a-token, webhook_secret: "0123456789abcdef"}
claude: {api_key: a-key}
repositories: [{name: octo/widgets, events: [issues]}]
storage: {url: "sqlite:///hls.db"}
"""

Hls = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with `SETTINGS` as the settings that commands use."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HLS_CONFIG", "settings.yaml")
    (tmp_path / "settings.yaml").write_text(SETTINGS)
    return tmp_path


@pytest.fixture
def hls(folder: Path, logging_as_before: None) -> Hls:
    """A function that runs `hls` in the folder."""
    return lambda *arguments: CliRunner().invoke(app, arguments)


@pytest.fixture
def store(folder: Path) -> Iterator[Storage]:
    """The database of the settings, which is created here."""
    with closing(Storage.open(create_database(folder / "hls.db"))) as opened:
        yield opened


def succeed(result: Result) -> str:
    """Return the output of a command, which must have ended with exit code 0."""
    assert result.exit_code == 0, result.output
    return result.output


def find_operator_lines(*results: Result) -> list[dict[str, Any]]:
    """Return the log lines `operator` on standard error."""
    lines = [line for result in results for line in result.stderr.splitlines()]
    documents = [json.loads(line) for line in lines if line.startswith("{")]
    return [document for document in documents if document["message"] == "operator"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def on_terminal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """A function that runs `hls` on a terminal with 100 columns, and returns what it shows."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def run(*arguments: str) -> str:
        shown = Terminal()
        with redirect_stdout(shown), redirect_stderr(shown), suppress(SystemExit):
            app(arguments, prog_name="hls")
        monkeypatch.delenv("NO_COLOR", raising=False)
        return shown.getvalue()

    return run
