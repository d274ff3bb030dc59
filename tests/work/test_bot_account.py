"""Who we are: asked of GitHub once for each token and address, and again now and then."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hls_handler.errors import DependencyDown
from hls_handler.events import Account
from hls_handler.storage import Storage
from hls_handler.work.active_config import BotAccount
from tests.work.fakes import HLS, FakeGithub

API = "https://api.github.com"
RENAMED = Account(login="hls-new", id=99, type="Bot")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Storage]:
    opened = Storage.open(f"sqlite:///{tmp_path}/hls.db")
    yield opened
    opened.close()


def who_we_are(store: Storage, *, token: str = "t1", base_url: str = API) -> BotAccount:
    return BotAccount(store, token=token, base_url=base_url)


def test_github_is_asked_once_even_over_a_restart(store: Storage) -> None:
    bot, github = who_we_are(store), FakeGithub()
    assert [bot.ask(github), bot.ask(github), who_we_are(store).ask(github)] == [HLS, HLS, HLS]
    assert (bot.known, who_we_are(store).known) == (HLS, HLS)
    assert github.asked == ["who_am_i"]


@pytest.mark.parametrize(("token", "base_url"), [("t2", API), ("t1", "https://github.example/api/v3")])
def test_another_token_or_another_github_may_be_another_account(store: Storage, token: str, base_url: str) -> None:
    who_we_are(store).ask(FakeGithub())
    other = who_we_are(store, token=token, base_url=base_url)
    assert other.known is None
    assert other.ask(FakeGithub(account=RENAMED)) == RENAMED
    assert who_we_are(store).known == HLS


def test_a_renamed_account_is_known_by_its_new_login(store: Storage) -> None:
    bot, github = who_we_are(store), FakeGithub()
    bot.refresh(github)
    assert bot.known == HLS
    github.account = RENAMED
    bot.refresh(github)
    assert (bot.known, bot.ask(github), who_we_are(store).known) == (RENAMED, RENAMED, RENAMED)
    assert github.asked == ["who_am_i", "who_am_i"]


def test_who_we_are_stays_known_while_github_is_down(store: Storage) -> None:
    bot, github = who_we_are(store), FakeGithub()
    bot.ask(github)
    github.failing = [DependencyDown("GitHub answered 502", dependency="github", remedy="wait")]
    with pytest.raises(DependencyDown):
        bot.refresh(github)
    assert bot.known == HLS


def test_whoever_knows_who_we_are_does_not_wait_for_github(store: Storage) -> None:
    hangs, let_go = threading.Event(), threading.Event()

    def hang(_call: str) -> None:
        hangs.set()
        let_go.wait(30)

    bot, told = who_we_are(store), []
    bot.ask(FakeGithub())
    probe = threading.Thread(target=bot.refresh, args=[FakeGithub(meanwhile=hang)])
    worker = threading.Thread(target=lambda: told.append(bot.ask(FakeGithub())))
    probe.start()
    assert hangs.wait(10)
    worker.start()
    worker.join(10)
    assert told == [HLS]
    let_go.set()
    probe.join(10)
