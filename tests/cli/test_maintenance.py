"""`hls pause` and `hls resume`, and the other commands that show a pause."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from hls_handler.cli.maintenance import add_author
from hls_handler.deliveries import End
from hls_handler.store.storage import Storage
from tests.cli.conftest import Hls, find_operator_lines
from tests.queue.builders import accept, claim, ignored, queued

SINCE = r"since \d{4}-\d\d-\d\d \d\d:\d\d UTC"


@pytest.fixture
def waiting(store: Storage) -> None:
    """Two deliveries of octo/widgets, one of them running; and one of octo/docs."""
    accept(store, queued("running"))
    claim(store)
    accept(
        store,
        queued("waits", number=7),
        queued("other", repository="octo/docs", repository_id=2, number=8),
    )


def normalized(output: str) -> str:
    return re.sub(r" \(by \S+ on \S+\)", "", re.sub(SINCE, "since T", output))


@pytest.mark.usefixtures("waiting")
def test_pause_prints_what_waits_and_how_to_resume(hls: Hls) -> None:
    result = hls("pause", "Octo/Widgets", "--reason", "a migration")
    assert (result.exit_code, normalized(result.stdout)) == (
        0,
        (
            "Octo/Widgets is paused since T: a migration; `hls resume Octo/Widgets` ends the"
            " pause\n1 queued, which will wait, as will new deliveries; 1 running, which will"
            " finish\n"
        ),
    )
    resumed = hls("resume", "https://github.com/octo/widgets")
    assert (resumed.exit_code, resumed.stdout) == (0, "octo/widgets resumed: 1 queued\n")


@pytest.mark.usefixtures("store")
def test_resume_prints_the_pauses_that_still_apply(hls: Hls) -> None:
    hls("pause", "octo/widgets", "--reason", "one")
    hls("pause", "--reason", "all")
    result = hls("resume", "octo/widgets")
    assert (result.exit_code, normalized(result.stdout)) == (
        1,
        "everything is paused since T: all; `hls resume` ends the pause\n",
    )
    assert result.stderr.endswith(
        "the pause of octo/widgets has ended, but its deliveries wait because everything is"
        " paused\n"
    )
    hls("pause", "octo/docs", "--reason", "two")
    result = hls("resume")
    assert (result.exit_code, normalized(result.stdout)) == (
        0,
        (
            "octo/docs is paused since T: two; `hls resume octo/docs` ends the pause\neverything"
            " resumed: 0 queued\n"
        ),
    )


@pytest.mark.parametrize("name", ["widgets", "octo/*", "https://gitlab.com/octo/widgets", ""])
def test_an_invalid_repository_name_is_a_usage_error(hls: Hls, name: str) -> None:
    assert (hls("pause", name).exit_code, hls("resume", name).exit_code) == (2, 2)


@pytest.mark.usefixtures("waiting")
def test_list_and_why_show_the_pause_of_a_waiting_delivery(hls: Hls) -> None:
    hls("pause", "octo/widgets", "--reason", "a migration")
    listed = normalized(hls("deliveries", "list").output)
    assert listed.count("  octo/widgets is paused since T: a migration\n") == 1
    result = normalized(hls("why", "octo/widgets#7").output)
    assert (
        "Waiting: octo/widgets is paused since T: a migration; `hls resume octo/widgets` ends the"
        " pause.\n" in result
    )
    assert "paused" not in hls("why", "octo/docs#8").output


@pytest.mark.usefixtures("waiting")
def test_why_of_a_former_name_names_the_new_one(hls: Hls, store: Storage, folder: Path) -> None:
    rename = ignored(
        "r", event="repository", action="renamed", repository="octo/new", former_name="octo/widgets"
    )
    accept(store, rename)
    result = hls("why", "octo/widgets#7")
    assert normalized(result.output).endswith(
        f"\nocto/widgets is octo/new since T, but {folder}/settings.yaml:3 (repositories[0].name)"
        " has the former name: `hls why octo/new#7` shows what was received since then\n"
    )
    unknown = hls("why", "Octo/Widgets#99")
    assert (unknown.exit_code, unknown.output.count("hls why octo/new#99")) == (0, 1)


def test_user_and_host_are_stored_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    assert re.fullmatch(r"a migration \(by \S+ on \S+\)", add_author("a migration"))
    assert re.fullmatch(r"by \S+ on \S+", add_author(None))
    monkeypatch.setenv("SUDO_USER", "mona")
    assert re.fullmatch(r"a migration \(by mona on \S+\)", add_author("a migration"))


@pytest.mark.usefixtures("waiting")
def test_retry_of_a_paused_delivery_says_that_it_waits(hls: Hls) -> None:
    hls("pause", "octo/docs", "--reason", "a move")
    assert (
        normalized(hls("deliveries", "retry", "other").stdout)
        == "other is queued but waits: octo/docs is paused since T: a move; `hls resume octo/docs`"
        " ends the pause\n"
    )
    assert (
        hls("deliveries", "retry", "waits").stdout
        == "waits is queued; a running service starts it within seconds\n"
    )


@pytest.mark.usefixtures("waiting")
def test_whole_filter_is_run_again_after_its_number_was_shown(hls: Hls) -> None:
    unconfirmed = hls("deliveries", "retry", "--state", "queued")
    assert (unconfirmed.exit_code, unconfirmed.output.startswith("2 deliveries match\n")) == (
        2,
        True,
    )
    assert "add --yes to confirm it" in unconfirmed.output
    filters = ("--state", "queued", "--repository", "octo/docs", "--yes")
    retried = re.sub(r"\d{13}", "TIME", hls("deliveries", "retry", *filters).stdout)
    assert (
        retried == "1 delivery matches\n1 delivery is queued\n"
        "`hls deliveries list retried:TIME` shows what became of them\n"
    )
    assert (
        hls("deliveries", "retry", "--state", "dead").output
        == "0 deliveries match\n0 deliveries are queued\n"
    )
    for wrong in (
        (),
        ("--state", "done"),
        ("waits", "--state", "dead"),
        ("waits", "--repository", "octo/docs"),
    ):
        assert hls("deliveries", "retry", *wrong).exit_code == 2


@pytest.mark.usefixtures("waiting")
def test_commands_that_change_something_write_a_log_line_with_the_user(hls: Hls) -> None:
    results = [
        hls("pause", "octo/widgets", "--reason", "a move"),
        hls("pause"),
        hls("resume", "octo/widgets"),
        hls("resume", "octo/docs"),
        hls("deliveries", "retry", "other"),
        hls("deliveries", "retry", "--state", "queued", "--yes"),
        hls("deliveries", "list"),
    ]
    lines = find_operator_lines(*results)
    assert [(line["act"], line["objects"], line["number"]) for line in lines] == [
        ("retry", ["other"], 1),
        ("retry", ["waits", "other"], 2),
    ]
    assert {re.sub(r"\(\S+ on \S+\)", "(USER on HOST)", line["person"]) for line in lines} == {
        "command line (USER on HOST)"
    }


def test_forget_prints_what_it_deletes_and_asks_first(hls: Hls, store: Storage) -> None:
    accept(store, queued("of-mona", sender="mona"), ignored("ignored", sender="mona"))
    waits = hls("forget", "mona", "--yes")
    assert (waits.exit_code, waits.output) == (
        1,
        (
            "nothing was deleted: 1 delivery, such as of-mona, waits or runs; run the command again"
            " when all have ended\n"
        ),
    )
    store.queue.finish(claim(store), End("dead", "issue is locked"))
    refused = hls("forget", "Mona")
    listed = "deliveries       2 rows\n"
    assert (refused.exit_code, refused.stdout) == (2, listed)
    assert "so the deletion cannot be confirmed; add --yes" in refused.stderr
    assert store.deliveries.body("of-mona") is not None
    deleted = hls("forget", "Mona", "--yes")
    assert (
        deleted.exit_code,
        deleted.stdout.startswith(f"{listed}deleted; docs/data.md says"),
    ) == (0, True)
    assert store.deliveries.body("of-mona") is None
    (line,) = find_operator_lines(deleted)
    assert (line["act"], line["number"], line["objects"]) == ("forget", 2, [])
    assert "mona" not in deleted.stderr.lower()
    again = hls("forget", "mona")
    assert (again.exit_code, again.output) == (0, "nothing is stored about mona\n")
    assert hls("forget", "@mona").exit_code == 2


def test_a_deletion_that_fails_halfway_is_logged(hls: Hls, store: Storage, folder: Path) -> None:
    accept(store, ignored("of-mona", sender="mona"))
    with closing(sqlite3.connect(folder / "hls.db")) as database:
        database.execute(
            "CREATE TRIGGER t BEFORE UPDATE ON deliveries BEGIN SELECT RAISE(ABORT, 'damaged'); END"
        )
    failed = hls("forget", "mona", "--yes")
    assert failed.exit_code != 0
    assert [line["act"] for line in find_operator_lines(failed)] == ["forget"]
