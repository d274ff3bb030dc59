"""Reactions to comments over real HTTP."""

from __future__ import annotations

import pytest

from hls_handler.clients.api import GithubApi
from hls_handler.clients.github import Github
from hls_handler.clients.writer import GithubWriter
from hls_handler.errors import LeaseLost
from hls_handler.events import Account
from tests.clients.fake_github import HLS, MALLORY, FakeGithub
from tests.clients.fake_history import FakeHistory

BOT = Account(str(HLS["login"]), 9001, "User")


def begin_no_write() -> None:
    raise LeaseLost("another worker has the delivery")


def make_writer(api: GithubApi, *, dry_run: bool = False, is_leased: bool = True) -> GithubWriter:
    begin = (lambda: None) if is_leased else begin_no_write
    return Github(api).writer(
        "o/r", bot=BOT, history=FakeHistory(), begin_write=begin, check_lease=lambda: None, dry_run=dry_run
    )


def test_same_reaction_twice_is_one_reaction(api: GithubApi, github: FakeGithub) -> None:
    number = github.add_comment(MALLORY, "/review")
    assert make_writer(api).ensure_reaction(number, "eyes") == "reacted with eyes"
    assert make_writer(api).ensure_reaction(number, "eyes") == "reacted with eyes"
    assert github.reactions == [(number, "eyes")]
    assert github.calls == [f"POST /repos/o/r/issues/comments/{number}/reactions"] * 2


def test_reaction_to_a_reply_in_a_review_thread(api: GithubApi, github: FakeGithub) -> None:
    number = github.add_comment(MALLORY, "Won't fix.")
    assert make_writer(api).ensure_reaction(number, "+1", is_review_comment=True) == "reacted with +1"
    assert github.calls == [f"POST /repos/o/r/pulls/comments/{number}/reactions"]


def test_comment_that_was_deleted_gets_no_reaction(api: GithubApi, github: FakeGithub) -> None:
    said = make_writer(api).ensure_reaction(5, "+1")
    assert (said, github.reactions) == ("a person deleted the comment, so it got no reaction", [])


def test_dry_run_sends_no_reaction(api: GithubApi, github: FakeGithub) -> None:
    number = github.add_comment(MALLORY, "/review")
    assert make_writer(api, dry_run=True).ensure_reaction(number, "+1") == "would have reacted with +1"
    assert github.calls == []


def test_reaction_needs_the_lease(api: GithubApi, github: FakeGithub) -> None:
    number = github.add_comment(MALLORY, "/review")
    with pytest.raises(LeaseLost):
        make_writer(api, is_leased=False).ensure_reaction(number, "+1")
    assert github.reactions == []
