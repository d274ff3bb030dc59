"""The choice of the account that processes a delivery."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from hls_handler.engine.accounts import Candidate, choose_account
from hls_handler.engine.active_config import load_bot_accounts
from hls_handler.errors import AppNotInstalled, DependencyDown
from hls_handler.events import Account
from hls_handler.settings.model import Github
from hls_handler.storage import Storage
from tests.engine.fakes import FakeGithub
from tests.engine.world import MakeWorld
from tests.sqlite import create_database

FIRST, SPARE = Account("hls-bot", 1, "User"), Account("spare-bot", 2, "User")
REJECTED = DependencyDown("401", dependency="github", remedy="set github.tokens[0]")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Storage]:
    opened = Storage.open(create_database(tmp_path / "hls.db"))
    yield opened
    opened.close()


def candidates(store: Storage) -> tuple[Candidate, Candidate]:
    tokens = (SecretStr("1" * 40), SecretStr("2" * 40))
    settings = Github(tokens=tokens, webhook_secret=SecretStr("sixteen bytes at least"))
    first, spare = load_bot_accounts(settings, store)
    return Candidate(FakeGithub(account=FIRST), first), Candidate(FakeGithub(account=SPARE), spare)


@pytest.mark.parametrize(
    ("wrote", "preferred", "bot"),
    [
        ((), 0, FIRST),
        ((), 1, SPARE),
        (("spare-bot",), 0, SPARE),
        (("hls-bot",), 1, FIRST),
        (("spare-bot", "hls-bot"), 1, FIRST),
        (("removed-bot",), 1, SPARE),
    ],
    ids=["first", "spare", "spare wrote", "first wrote", "both wrote", "unknown account wrote"],
)
def test_account_that_wrote_on_the_conversation_is_chosen(
    store: Storage, wrote: Collection[str], preferred: int, bot: Account
) -> None:
    both = candidates(store)
    for candidate in both:
        candidate.bot.get_or_fetch(candidate.github)
    chosen = choose_account(both, lambda: preferred, wrote)
    assert chosen.bot == bot
    assert chosen.github is both[0 if bot == FIRST else 1].github
    assert chosen.others == (SPARE if bot == FIRST else FIRST,)


def test_account_of_the_next_token_is_chosen_if_github_rejects_the_first(store: Storage) -> None:
    both = candidates(store)
    assert isinstance(both[0].github, FakeGithub)
    both[0].github.failing = [REJECTED]
    preferred = iter([0, 1])
    assert choose_account(both, lambda: next(preferred), ()).bot == SPARE


def test_failure_without_another_token_is_raised(store: Storage) -> None:
    both = candidates(store)
    assert isinstance(both[0].github, FakeGithub)
    both[0].github.failing = [REJECTED]
    with pytest.raises(DependencyDown):
        choose_account(both, lambda: 0, ())


def test_stored_comments_and_labels_show_who_wrote_on_a_conversation(make_world: MakeWorld) -> None:
    world = make_world()
    world.accept()
    world.finish()
    row = world.row()
    assert row.repository_id is not None
    assert world.store.conversations.find_writers(row.repository_id, row.number or 0) == {"hls-bot"}
    assert world.store.conversations.find_writers(row.repository_id, 4711) == frozenset()


def test_delivery_of_a_repository_without_the_app_waits_with_its_paid_reply(make_world: MakeWorld) -> None:
    world = make_world()
    world.accept()
    world.github.failing_writes = [AppNotInstalled("the GitHub App is not installed on o/r")]
    assert world.run() is None
    row, part = world.row(), world.health.snapshot().components["github"]
    assert (row.state, row.reason) == ("queued", "the GitHub App is not installed on o/r")
    assert (part.state, part.message) == ("degraded", "the GitHub App is not installed on o/r")
    assert part.remedy == (
        "install the App there on GitHub, or unsuspend its installation; waiting deliveries then continue"
    )
    world.store.queue.reschedule_waiting(forget_servers=False)
    assert world.finish().state == "done"
    assert len(world.claude.asked) == 1
    assert world.health.snapshot().components["github"].state == "healthy"


def test_repository_without_the_app_does_not_stop_the_others_of_its_owner(make_world: MakeWorld) -> None:
    world = make_world()
    world.accept()
    world.accept(guid="second", number=2)
    world.github.failing = [AppNotInstalled("the GitHub App is not installed on o/r")]
    assert world.run() is None
    assert world.finish().guid == "second"
