"""The bot account: fetched once for each token and base URL, and refreshed from time to time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from hls_handler.engine.active_config import BotAccount
from hls_handler.errors import DependencyDown
from hls_handler.events import Account
from hls_handler.settings.model import Github
from hls_handler.storage import Storage
from tests.engine.fakes import HLS, FakeGithub
from tests.sqlite import create_database

API = "https://api.github.com"
RENAMED = Account(login="hls-new", id=99, type="Bot")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Storage]:
    opened = Storage.open(create_database(tmp_path / "hls.db"))
    yield opened
    opened.close()


def bot_account(store: Storage, *, token: str = "1" * 40, base_url: str = API) -> BotAccount:
    secret = SecretStr("sixteen bytes at least")
    return BotAccount(
        Github(token=SecretStr(token), webhook_secret=secret, base_url=base_url), store.bot_accounts, store.database
    )


def test_account_is_fetched_once_even_after_a_restart(store: Storage) -> None:
    bot, github = bot_account(store), FakeGithub()
    assert [bot.get_or_fetch(github), bot.get_or_fetch(github), bot_account(store).get_or_fetch(github)] == [
        HLS,
        HLS,
        HLS,
    ]
    assert (bot.cached, bot_account(store).cached) == (HLS, HLS)
    assert github.calls == ["who_am_i"]


@pytest.mark.parametrize(("token", "base_url"), [("2" * 40, API), ("1" * 40, "https://github.example/api/v3")])
def test_account_is_separate_by_token_and_base_url(store: Storage, token: str, base_url: str) -> None:
    bot_account(store).get_or_fetch(FakeGithub())
    other = bot_account(store, token=token, base_url=base_url)
    assert other.cached is None
    assert other.get_or_fetch(FakeGithub(account=RENAMED)) == RENAMED
    assert bot_account(store).cached == HLS


def test_refresh_stores_a_new_login(store: Storage) -> None:
    bot, github = bot_account(store), FakeGithub()
    bot.refresh(github)
    assert bot.cached == HLS
    github.account = RENAMED
    bot.refresh(github)
    assert (bot.cached, bot.get_or_fetch(github), bot_account(store).cached) == (RENAMED, RENAMED, RENAMED)
    assert github.calls == ["who_am_i", "who_am_i"]


def test_account_remains_known_while_github_is_down(store: Storage) -> None:
    bot, github = bot_account(store), FakeGithub()
    bot.get_or_fetch(github)
    github.failing = [DependencyDown("GitHub answered 502", dependency="github", remedy="wait")]
    with pytest.raises(DependencyDown):
        bot.refresh(github)
    assert bot.cached == HLS


def test_known_account_is_returned_during_a_refresh(store: Storage) -> None:
    is_hanging, released = threading.Event(), threading.Event()

    def hang(_call: str) -> None:
        is_hanging.set()
        released.wait(30)

    bot, accounts = bot_account(store), []
    bot.get_or_fetch(FakeGithub())
    probe = threading.Thread(target=bot.refresh, args=[FakeGithub(on_call=hang)])
    worker = threading.Thread(target=lambda: accounts.append(bot.get_or_fetch(FakeGithub())))
    probe.start()
    assert is_hanging.wait(10)
    worker.start()
    worker.join(10)
    assert accounts == [HLS]
    released.set()
    probe.join(10)
