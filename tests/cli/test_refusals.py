"""What ends a command that cannot do its work: a sentence and the exit code that its help names, never a traceback."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hls_handler.cli import app
from hls_handler.deliveries import Remembered
from hls_handler.store import Store
from hls_handler.store.packed import pack
from tests.store.builders import begin, bury

SETTINGS = """\
github: {token: a-token, webhook_secret: "0123456789abcdef"}
claude: {api_key: a-key}
repositories: [{name: octo/widgets}]
"""


def hls(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the user is; whatever the machine's own environment names, these settings are used."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HLS_CONFIG", raising=False)
    return tmp_path


@pytest.fixture
def config(folder: Path) -> tuple[str, str]:
    (folder / "settings.yaml").write_text(f"{SETTINGS}storage: {{url: 'sqlite:///hls.db'}}\n")
    return "--config", "settings.yaml"


@pytest.fixture
def database(folder: Path) -> Path:
    """A dead delivery, and one on thread octo/widgets#7 that remembers a step."""
    with closing(Store.open(f"sqlite:///{folder}/hls.db")) as store:
        bury(store, "dead-1")
        store.remember(begin(store, "guid-1", number=7), Remembered("route", 0, 1, '"settings.yaml:3"', 0.01))
    return folder / "hls.db"


@contextmanager
def changed(database: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(database)) as connection, connection:
        yield connection


def test_a_payload_of_another_shape_is_not_sent(folder: Path, config: tuple[str, str]) -> None:
    (folder / "event.json").write_text('{"issue": {"title": "x"}}')
    sent = hls("send", "./event.json", *config)
    assert sent.exit_code == 2
    assert sent.stderr == (
        "event.json: the payload does not have GitHub's shape: Object missing required field `number` - at `$.issue`\n"
    )


@pytest.mark.parametrize("command", ["send", "render"])
def test_a_payload_that_is_nested_without_end_is_not_json_for_us(
    folder: Path, config: tuple[str, str], command: str
) -> None:
    (folder / "event.json").write_text("[" * 200_000)
    refused = hls(command, "./event.json", *config)
    assert refused.exit_code == 2
    assert refused.stderr == "event.json is not JSON: it is nested too deeply\n"


@pytest.mark.parametrize(
    "command",
    [("deliveries", "list"), ("deliveries", "show", "guid-1"), ("why", "octo/widgets#7")],
    ids=["list", "show", "why"],
)
def test_a_database_that_breaks_while_it_is_read_is_named_with_the_setting(
    config: tuple[str, str], database: Path, command: tuple[str, ...]
) -> None:
    with changed(database) as connection:
        connection.execute("ALTER TABLE deliveries RENAME TO elsewhere")
    told = hls(*command, *config)
    assert told.exit_code == 2
    assert told.stderr == (
        "settings.yaml:4 (storage.url): the database sqlite:///hls.db cannot be used: no such table: deliveries; "
        "see whether it is whole\n"
    )


def test_a_database_that_refuses_a_write_is_named_with_the_setting(config: tuple[str, str], database: Path) -> None:
    with changed(database) as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON deliveries BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
        )
    told = hls("deliveries", "retry", "dead-1", *config)
    assert told.exit_code == 2
    assert told.stderr == (
        "settings.yaml:4 (storage.url): the database sqlite:///hls.db cannot be used: the disk is full; "
        "free disk space\n"
    )


@pytest.mark.parametrize("command", [("deliveries", "show", "guid-1"), ("why", "octo/widgets#7")], ids=["show", "why"])
@pytest.mark.parametrize(
    ("damaged", "finding"),
    [
        (b"no zstd", "error determining content size from frame header"),
        (pack(b"\xff"), "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    ],
    ids=["not packed", "no text"],
)
def test_a_damaged_step_is_said_to_be_one(
    config: tuple[str, str], database: Path, command: tuple[str, ...], damaged: bytes, finding: str
) -> None:
    with changed(database) as connection:
        connection.execute("UPDATE steps SET value = ?", (damaged,))
    told = hls(*command, *config)
    assert told.exit_code == 2
    assert told.stderr == (
        f"settings.yaml:4 (storage.url): a stored value cannot be read ({finding}): the database may be damaged; "
        "restore a copy of it\n"
    )


def test_a_demo_whose_github_cannot_be_read_does_not_start(folder: Path) -> None:
    (folder / "data" / "demo").mkdir(parents=True)
    (folder / "data" / "demo" / "github.json").write_text("{")
    told = hls("demo", "--once")
    assert told.exit_code == 2
    assert told.output.startswith(
        "the demo cannot run: data/demo/github.json is not a state of the sandbox: delete it to begin afresh ("
    )


def test_a_demo_that_may_not_write_does_not_say_that_another_one_is_running(folder: Path) -> None:
    (folder / "data").write_text("a file where the folder should be")
    told = hls("demo", "--once")
    assert told.exit_code == 2
    assert told.output.startswith("the demo cannot run: the database sqlite:///data/demo/hls.db cannot be opened: ")
