"""`hls pause` and `hls resume`, beside a service or without one; and where else a pause is told."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hls_handler.cli import app
from hls_handler.cli.pause import signed
from hls_handler.store import Store
from tests.settings.files import SMALLEST, VARIABLES
from tests.store.builders import accept, claim, queued

Hls = Callable[..., Result]
SINCE = r"since \d{4}-\d\d-\d\d \d\d:\d\d UTC"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/hls.db"


@pytest.fixture
def hls(tmp_path: Path, url: str) -> Hls:
    config = tmp_path / "settings.yaml"
    config.write_text(f'{SMALLEST}storage: {{url: "{url}"}}\n')

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments, "--config", str(config)], env=VARIABLES)

    return run


@pytest.fixture
def waiting(url: str) -> None:
    """Two deliveries of octo/widgets, one of them running; and one of octo/docs."""
    with closing(Store.open(url)) as store:
        accept(store, queued("running"))
        claim(store)
        accept(store, queued("waits", number=7), queued("other", repository="octo/docs", repository_id=2, number=8))


def plain(output: str) -> str:
    return re.sub(r" \(by \S+ on \S+\)", "", re.sub(SINCE, "since T", output))


@pytest.mark.usefixtures("waiting")
def test_a_pause_says_what_it_holds_and_what_ends_it(hls: Hls) -> None:
    ended = hls("pause", "Octo/Widgets", "--reason", "a migration")
    assert (ended.exit_code, plain(ended.output)) == (
        0,
        (
            "Octo/Widgets is paused since T: a migration; `hls resume Octo/Widgets` ends that\n"
            "1 queued, and what comes will wait, too; 1 being worked on, which will end as ever\n"
        ),
    )
    resumed = hls("resume", "octo/widgets")
    assert (resumed.exit_code, resumed.output) == (0, "octo/widgets goes on: 1 queued\n")


@pytest.mark.usefixtures("waiting")
def test_nothing_new_is_begun_until_it_ends(hls: Hls, url: str) -> None:
    assert hls("pause").exit_code == 0
    with closing(Store.open(url)) as store:
        assert store.claim(worker="w", lease_s=30, max_crashes=9) is None
        assert hls("resume").exit_code == 0
        assert store.claim(worker="w", lease_s=30, max_crashes=9) is not None


def test_a_pause_that_is_there_gets_the_new_reason(hls: Hls) -> None:
    hls("pause", "--reason", "one")
    ended = hls("pause", "--reason", "two")
    assert (ended.exit_code, plain(ended.output).splitlines()[0]) == (
        0,
        "everything is paused since T: two; `hls resume` ends that",
    )


def test_what_still_holds_is_told_when_something_resumes(hls: Hls) -> None:
    hls("pause", "octo/widgets", "--reason", "one")
    hls("pause", "--reason", "all")
    ended = hls("resume", "octo/widgets")
    assert (ended.exit_code, plain(ended.output)) == (
        1,
        (
            "everything is paused since T: all; `hls resume` ends that\n"
            "octo/widgets is not paused for itself any more, and waits for everything\n"
        ),
    )
    hls("pause", "octo/docs", "--reason", "two")
    ended = hls("resume")
    assert (ended.exit_code, plain(ended.output)) == (
        0,
        ("octo/docs is paused since T: two; `hls resume octo/docs` ends that\neverything goes on: 0 queued\n"),
    )


def test_what_is_not_paused_does_not_resume(hls: Hls) -> None:
    ended = hls("resume", "octo/widgets")
    assert (ended.exit_code, ended.output) == (1, "octo/widgets was not paused\n")


@pytest.mark.usefixtures("waiting")
def test_a_name_that_nothing_ever_came_from_is_doubted(hls: Hls) -> None:
    assert hls("pause", "octo/wigdets").output.endswith("no webhook of octo/wigdets ever came: is it written so?\n")
    assert "ever came" not in hls("pause", "Octo/Docs").output


@pytest.mark.parametrize("name", ["widgets", "octo/*", "https://github.com/octo/widgets", ""])
def test_what_names_no_repository_is_called_wrongly(hls: Hls, name: str) -> None:
    assert (hls("pause", name).exit_code, hls("resume", name).exit_code) == (2, 2)


@pytest.mark.usefixtures("waiting")
def test_the_list_and_the_story_tell_what_a_delivery_waits_for(hls: Hls) -> None:
    hls("pause", "octo/widgets", "--reason", "a migration")
    listed = plain(hls("deliveries", "list").output)
    assert listed.count("\n    octo/widgets is paused since T: a migration\n") == 1
    told = plain(hls("why", "octo/widgets#7").output)
    assert "It waits: octo/widgets is paused since T: a migration; `hls resume octo/widgets` ends that.\n" in told
    assert "paused" not in hls("why", "octo/docs#8").output


def test_who_paused_is_kept_with_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    assert re.fullmatch(r"a migration \(by \S+ on \S+\)", signed("a migration"))
    assert re.fullmatch(r"by \S+ on \S+", signed(None))
    monkeypatch.setenv("SUDO_USER", "mona")
    assert re.fullmatch(r"a migration \(by mona on \S+\)", signed("a migration"))


@pytest.mark.usefixtures("waiting")
def test_what_is_paused_is_not_said_to_run_when_it_is_to_be_tried_again(hls: Hls) -> None:
    hls("pause", "octo/docs", "--reason", "a move")
    assert plain(hls("deliveries", "retry", "other").output) == (
        "other is queued, and waits: octo/docs is paused since T: a move; `hls resume octo/docs` ends that\n"
    )
    assert hls("deliveries", "retry", "waits").output == "waits is queued; a running service takes it within seconds\n"
