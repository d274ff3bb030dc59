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

from hls_handler.deliveries import Checkpoint
from hls_handler.store.storage import Storage
from tests.cli.conftest import SETTINGS, Hls
from tests.e2e.fork_server import ROOT, run_command
from tests.queue.builders import begin, dead_letter
from tests.sqlite import create_database


@pytest.fixture
def database(folder: Path, store: Storage) -> Path:
    """A database with a dead delivery, and one of octo/widgets#7 with a checkpoint."""
    dead_letter(store, "dead-1")
    store.checkpoints.save(
        begin(store, "guid-1", number=7), Checkpoint("route", 0, 1, '"settings.yaml:3"', 0.01)
    )
    return folder / "hls.db"


@contextmanager
def changed(database: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(database)) as connection, connection:
        yield connection


def test_a_database_error_during_a_write_is_reported_with_its_setting(
    hls: Hls, database: Path
) -> None:
    with changed(database) as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON deliveries BEGIN SELECT RAISE(ABORT, 'the disk is"
            " full'); END"
        )
    result = hls("deliveries", "retry", "dead-1")
    assert result.exit_code == 2
    assert (
        result.stderr
        == f"{database.parent}/settings.yaml:4 (storage.url): the database sqlite:///{database}"
        " cannot be used: the disk is full; free disk space\n"
    )


@pytest.mark.parametrize("command", ["why octo/widgets#7", "pause", "resume", "batch continue 1"])
def test_a_command_about_a_service_creates_no_database(
    hls: Hls, folder: Path, command: str
) -> None:
    result = hls(*command.split())
    assert result.exit_code == 1
    assert (
        result.stderr
        == f"there is no database at {folder}/hls.db yet ({folder}/settings.yaml:4 (storage.url)"
        " names it; `hls serve` creates it); run this command in the folder of the service, and"
        " with its settings file (--config)\n"
    )
    assert not (folder / "hls.db").exists()


def test_serve_exits_with_2_if_the_tables_are_of_another_version(
    folder: Path, database: Path
) -> None:
    with changed(database) as connection:
        connection.execute("UPDATE hls_version SET version_num = '9999'")
    (folder / "settings.yaml").write_text(f"{SETTINGS}server: {{port: 0}}\n")
    serve = run_command(["serve"], environ=os.environ, folder=folder)
    (line,) = serve.stderr.splitlines()
    assert serve.returncode == 2
    assert line.startswith(
        f"{folder}/settings.yaml:4 (storage.url): the database sqlite:///{folder}/hls.db "
    )
    assert "was written by another version of HLS (its tables are" in line


def test_folder_whose_name_the_locale_cannot_encode_is_no_error(tmp_path: Path) -> None:
    folder = tmp_path / "bücher"
    folder.mkdir()
    (folder / "settings.yaml").write_text(SETTINGS)
    create_database(folder / "hls.db")
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT)}
    command = [
        sys.executable,
        "-m",
        "hls_handler",
        "backup",
        "copy.db",
        "--config",
        "settings.yaml",
    ]
    result = subprocess.run(
        command, cwd=folder, env={**os.environ, **locale}, capture_output=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, b"")


def test_a_damaged_checkpoint_is_reported(hls: Hls, database: Path) -> None:
    with changed(database) as connection:
        connection.execute("UPDATE checkpoints SET value = ?", (b"no zstd",))
    result = hls("why", "octo/widgets#7")
    assert result.exit_code == 2
    assert (
        result.stderr
        == f"{database.parent}/settings.yaml:4 (storage.url): a stored value cannot be read (error"
        " determining content size from frame header): the database may be damaged; restore a"
        " backup\n"
    )
