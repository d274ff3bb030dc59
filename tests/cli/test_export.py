"""`hls deliveries export`: JSON lines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hls_handler.cli import app
from hls_handler.storage import Storage
from tests.cli.test_deliveries import SETTINGS
from tests.queue.builders import accept, dead_letter, queued
from tests.sqlite import create_database


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Storage]:
    url = f"sqlite:///{tmp_path}/hls.db"
    (tmp_path / "settings.yaml").write_text(SETTINGS.format(url=url))
    with closing(Storage.open(create_database(tmp_path / "hls.db"))) as opened:
        yield opened


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    command = ["deliveries", "export", *arguments, "--config", str(folder / "settings.yaml")]
    result = CliRunner().invoke(app, command)
    return result.exit_code, result.output


def exported(folder: Path, *arguments: str) -> list[str]:
    code, output = run(folder, *arguments)
    assert code == 0
    return [json.loads(line)["delivery"] for line in output.splitlines()]


def test_each_line_is_the_document_of_the_command_show(tmp_path: Path, store: Storage) -> None:
    dead_letter(store, "g1")
    _, output = run(tmp_path)
    shown = CliRunner().invoke(app, ["deliveries", "show", "g1", "--json", "--config", str(tmp_path / "settings.yaml")])
    assert [json.loads(line) for line in output.splitlines()] == [json.loads(shown.output)]
    assert json.loads(output)["success"] is False


def test_filters(tmp_path: Path, store: Storage) -> None:
    dead_letter(store, "d1")
    accept(store, queued("g1"), queued("g2", repository="octo/other"))
    assert exported(tmp_path) == ["g2", "g1", "d1"]
    assert exported(tmp_path, "--state", "dead", "--since", "7d") == ["d1"]
    assert exported(tmp_path, "--repository", "octo/other") == ["g2"]
    assert exported(tmp_path, "--until", "2026-01-01T12:00") == exported(tmp_path, "--until", "1h") == []


@pytest.mark.parametrize("given", ["yesterday", "7w", "9999-12-31T23:00-05:00"])
def test_invalid_time_is_a_usage_error(tmp_path: Path, store: Storage, given: str) -> None:
    code, output = run(tmp_path, "--since", given)
    assert code == 2
    assert "write it as 7d, 24h, 30m or" in " ".join(output.replace("│", " ").split())


def test_reader_may_close_the_pipe(tmp_path: Path, store: Storage) -> None:
    accept(store, *(queued(f"g{number:03}") for number in range(200)))  # more than a pipe and its buffer hold
    command = [sys.executable, "-m", "hls_handler", "deliveries", "export", "--config", str(tmp_path / "settings.yaml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["delivery"] == "g199"
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 0)
