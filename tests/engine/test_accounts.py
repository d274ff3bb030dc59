"""The account of each token, and the choice of the account that processes a delivery."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from pydantic import SecretStr

from hls_handler.engine.active_config import BotAccount, choose_account, load_bot_accounts
from hls_handler.errors import AppNotInstalled
from hls_handler.events import Account
from hls_handler.settings.model import GithubSettings
from hls_handler.store.storage import Storage
from hls_sandbox import objects
from hls_sandbox.state import State
from tests.engine.stand_in import StandIn
from tests.engine.world import MakeWorld, empty_storage, machine_now
from tests.handlers.world import HLS

FIRST, SPARE = Account("hls-bot", 1, "User"), Account("spare-bot", 2, "User")


def client_of(bot: Account) -> StandIn:
    client = StandIn(State(me=objects.Account(bot.login, bot.id, bot.type)))
    client.token = None
    return client


@pytest.fixture
def store() -> Storage:
    return empty_storage(machine_now)


@pytest.mark.parametrize(
    ("wrote", "preferred", "bot"),
    [
        ((), 1, SPARE),
        (("spare-bot",), 0, SPARE),
        (("hls-bot",), 1, FIRST),
        (("removed-bot",), 1, SPARE),
    ],
    ids=["none wrote", "spare wrote", "first wrote", "unknown account wrote"],
)
def test_account_that_wrote_on_the_conversation_is_chosen(
    store: Storage, wrote: Collection[str], preferred: int, bot: Account
) -> None:
    tokens = (SecretStr("1" * 40), SecretStr("2" * 40))
    given = GithubSettings(tokens=tokens, webhook_secret=SecretStr("sixteen bytes at least"))
    clients, bots = (
        [client_of(FIRST), client_of(SPARE)],
        load_bot_accounts(given, store),
    )
    for client, one in zip(clients, bots, strict=True):
        one.refresh(client)
    chosen = choose_account(clients, bots, wrote, preferred)
    assert (chosen.bot, chosen.github) == (bot, clients[0 if bot == FIRST else 1])
    assert chosen.others == (SPARE if bot == FIRST else FIRST,)


def test_stored_comments_and_labels_show_who_wrote_on_a_conversation(
    make_world: MakeWorld,
) -> None:
    world = make_world(is_clock_fixed=True)  # a lease ends after 30 s, also on a busy machine
    world.process()
    row = world.row()
    assert row.repository_id is not None
    assert world.store.conversations.list_accounts_that_wrote(
        row.repository_id, row.number or 0
    ) == {"hls[bot]"}
    assert (
        world.store.conversations.list_accounts_that_wrote(row.repository_id, 4711) == frozenset()
    )


def test_delivery_of_a_repository_without_the_app_waits_with_its_paid_reply(
    make_world: MakeWorld,
) -> None:
    world = make_world()
    world.accept()
    missing = AppNotInstalled("the GitHub App is not installed on o/r")
    world.github.raise_once(missing, "POST /issues/1/labels")
    assert world.run() is None
    row, part = world.row(), world.component("github")
    assert row.state == "queued"
    assert (row.reason or "").startswith("the GitHub App is not installed on o/r; install the App")
    assert (part.state, part.message) == ("degraded", "the GitHub App is not installed on o/r")
    assert (
        part.remedy
        == "install the App there on GitHub, or unsuspend its installation; waiting deliveries then"
        " continue"
    )
    world.store.queue.reschedule_waiting(forget_servers=False)
    assert world.finish().state == "done"
    assert len(world.claude.asked) == 1
    assert world.component("github").state == "healthy"


def test_repository_without_the_app_does_not_stop_the_others_of_its_owner(
    make_world: MakeWorld,
) -> None:
    world = make_world()
    world.accept()
    world.accept(guid="second", number=2)
    missing = AppNotInstalled("the GitHub App is not installed on o/r")
    world.github.raise_once(missing, "GET /issues/1")
    assert world.run() is None
    assert world.finish().guid == "second"


# The account of a token is fetched once, and refreshed from time to time


API = "https://api.github.com"
RENAMED = Account(login="hls-new", id=99, type="Bot")


def bot_account(store: Storage, *, token: str = "1" * 40, base_url: str = API) -> BotAccount:
    secret = SecretStr("sixteen bytes at least")
    return BotAccount(
        GithubSettings(token=SecretStr(token), webhook_secret=secret, base_url=base_url),
        store.bot_accounts,
        store.database,
    )


def test_account_is_fetched_once_even_after_a_restart(store: Storage) -> None:
    bot, github = bot_account(store), client_of(HLS)
    assert [
        bot.get_or_fetch(github),
        bot.get_or_fetch(github),
        bot_account(store).get_or_fetch(github),
    ] == [
        HLS,
        HLS,
        HLS,
    ]
    assert (bot.cached, bot_account(store).cached) == (HLS, HLS)
    assert github.calls == ["GET /user"]


@pytest.mark.parametrize(
    ("token", "base_url"), [("2" * 40, API), ("1" * 40, "https://github.example/api/v3")]
)
def test_account_is_separate_by_token_and_base_url(
    store: Storage, token: str, base_url: str
) -> None:
    bot_account(store).get_or_fetch(client_of(HLS))
    other = bot_account(store, token=token, base_url=base_url)
    assert other.cached is None
    assert other.get_or_fetch(client_of(RENAMED)) == RENAMED
    assert bot_account(store).cached == HLS
