"""Errors that end a command: a message and the documented exit code, never a traceback."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hls_handler.cli import app
from hls_handler.deliveries import Checkpoint
from hls_handler.storage import Storage
from tests.queue.builders import begin, dead_letter
from tests.sqlite import create_database

PROMPTS = Path("prompts").resolve()
SETTINGS = """\
github: {token: a-token, webhook_secret: "0123456789abcdef"}
claude: {api_key: a-key}
repositories: [{name: octo/widgets}]
"""


def hls(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def hls_process(*arguments: str, folder: Path | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "hls_handler", *arguments],
        cwd=folder,
        env={**os.environ, **environ, "PYTHONPATH": str(PROMPTS.parent)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Current directory; HLS_CONFIG of the machine is removed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HLS_CONFIG", raising=False)
    return tmp_path


@pytest.fixture
def config(folder: Path) -> tuple[str, str]:
    (folder / "settings.yaml").write_text(f"{SETTINGS}storage: {{url: 'sqlite:///hls.db'}}\n")
    return "--config", "settings.yaml"


@pytest.fixture
def database(folder: Path) -> Path:
    """A database with a dead delivery, and one of octo/widgets#7 with a checkpoint."""
    with closing(Storage.open(create_database(folder / "hls.db"))) as store:
        dead_letter(store, "dead-1")
        store.checkpoints.save(begin(store, "guid-1", number=7), Checkpoint("route", 0, 1, '"settings.yaml:3"', 0.01))
    return folder / "hls.db"


@contextmanager
def changed(database: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(database)) as connection, connection:
        yield connection


def test_a_database_error_during_a_write_is_reported_with_its_setting(config: tuple[str, str], database: Path) -> None:
    with changed(database) as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON deliveries BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
        )
    result = hls("deliveries", "retry", "dead-1", *config)
    assert result.exit_code == 2
    assert result.stderr == (
        f"{database.parent}/settings.yaml:4 (storage.url): the database sqlite:///{database} cannot be used: the disk "
        "is full; "
        "free disk space\n"
    )


def test_a_command_that_reads_deliveries_creates_no_database(folder: Path, config: tuple[str, str]) -> None:
    result = hls("why", "octo/widgets#7", *config)
    assert result.exit_code == 1
    assert result.stderr == (
        f"there is no database at {folder}/hls.db yet ({folder}/settings.yaml:4 (storage.url) names it; `hls serve` "
        "creates it); to read the deliveries of a service, run this command in its folder and with its settings file "
        "(--config)\n"
    )
    assert not (folder / "hls.db").exists()


def test_serve_exits_with_2_if_the_tables_are_of_a_newer_version(
    folder: Path, config: tuple[str, str], database: Path
) -> None:
    with changed(database) as connection:
        connection.execute("UPDATE hls_version SET version_num = '9999'")
    (folder / "settings.yaml").write_text(f"{(folder / 'settings.yaml').read_text()}server: {{port: 0}}\n")
    (folder / "prompts").symlink_to(PROMPTS)
    serve = hls_process("serve", *config)
    (line,) = serve.stderr.splitlines()
    assert serve.returncode == 2
    assert line.startswith(f"{folder}/settings.yaml:4 (storage.url): the database sqlite:///{folder}/hls.db ")
    assert "was written by a newer HLS (its tables are" in line


def hls_with_ascii_locale(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    return hls_process(*arguments, "--config", "settings.yaml", folder=folder, **locale)


def test_folder_whose_name_the_locale_cannot_encode_is_no_error(tmp_path: Path) -> None:
    folder = tmp_path / "bücher"
    folder.mkdir()
    (folder / "settings.yaml").write_text(f'{SETTINGS}storage: {{url: "sqlite:///hls.db"}}\n')
    create_database(folder / "hls.db")
    result = hls_with_ascii_locale(folder, "backup", "copy.db")
    assert (result.returncode, result.stderr) == (0, "")


def test_a_damaged_checkpoint_is_reported(config: tuple[str, str], database: Path) -> None:
    with changed(database) as connection:
        connection.execute("UPDATE checkpoints SET value = ?", (b"no zstd",))
    result = hls("why", "octo/widgets#7", *config)
    assert result.exit_code == 2
    assert result.stderr == (
        f"{database.parent}/settings.yaml:4 (storage.url): a stored value cannot be read (error determining content "
        "size from frame header): the database may be damaged; restore a backup\n"
    )
