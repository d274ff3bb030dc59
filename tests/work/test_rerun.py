"""A prompt asked again about what is remembered of a delivery: nobody else hears of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hls_handler.analysis import IssueResponse
from hls_handler.errors import Permanent
from hls_handler.settings.effective import RepositoryTable
from hls_handler.work.comparison import Side
from hls_handler.work.rerun import Stored, rendered, run_again, stored_for
from tests.prompting.samples import write
from tests.work.fakes import INVALID, ISSUE, FakeClaude
from tests.work.shadow_world import BUG_LABELS, MINOR, MINOR_LABELS, loaded, nameless, shadowing
from tests.work.world import BUG, GUID, QUESTION, MakeWorld, World

KEY = b"key"
ANSWER = IssueResponse(worth_saying=True, answer="Set DATABASE_URL.", certain=True)


def worked(make_world: MakeWorld, own: Path, *replies: object, name: str = "issues.opened") -> World:
    """A world in which one issue is done, without a shadow, and its library has a copy of the prompt."""
    one = make_world(*replies)
    one.accept(name)
    one.run()
    one.prompts = loaded(shadowing(own))
    return one


def stored(one: World, prompt: str = "issues/strict") -> Stored | None:
    return stored_for(one.store, one.row(), one.prompts.prompts[prompt], one.prompts, RepositoryTable(one.settings))


def again(one: World, *replies: object) -> Side:
    found = stored(one)
    assert found is not None
    return run_again(found, one.prompts, FakeClaude(list(replies)), KEY)  # type: ignore[arg-type]


def test_a_delivery_that_is_done_is_found_with_what_was_posted(make_world: MakeWorld, tmp_path: Path) -> None:
    found = stored(worked(make_world, tmp_path / "own", BUG))
    assert found is not None
    posted = nameless(found.posted.ran)
    assert (posted.prompt_id, posted.labels, posted.speaks) == ("issues/analyze", BUG_LABELS, True)
    assert (found.posted.tokens, found.posted.cost_usd) == (1000, 0.00014)


def test_what_said_nothing_is_known_to_have_said_nothing(make_world: MakeWorld, tmp_path: Path) -> None:
    found = stored(worked(make_world, tmp_path / "own", MINOR))
    assert found is not None
    assert found.posted.ran.speaks is False


def test_a_prompt_without_a_comment_is_known_not_to_have_spoken(make_world: MakeWorld, tmp_path: Path) -> None:
    one = make_world(BUG)
    one.prompts = loaded(shadowing(write(tmp_path / "own", {"issues/analyze.comment.md.j2": ""})))
    one.accept()
    one.run()
    found = stored(one)
    assert found is not None
    assert (one.github.comments, found.posted.ran.speaks) == ({}, False)


def test_it_is_asked_with_what_was_read_from_github_then(make_world: MakeWorld, tmp_path: Path) -> None:
    one = worked(make_world, tmp_path / "own", BUG)
    one.github.issues = {1: replace(ISSUE, title="Another title")}
    read = list(one.github.asked)
    found = stored(one)
    assert found is not None
    request = rendered(found, one.prompts, KEY)
    assert request.prompt.name == "issues/strict"
    assert "Spelling error in the README file" in request.task
    assert one.github.asked == read


def test_what_it_comes_to_is_told_and_nothing_is_kept(make_world: MakeWorld, tmp_path: Path) -> None:
    one = worked(make_world, tmp_path / "own", BUG)
    steps = one.store.checkpoints.load(GUID)
    made = again(one, MINOR)
    assert (nameless(made.ran).labels, made.ran.speaks, made.tokens) == (MINOR_LABELS, False, 1000)
    assert (
        one.store.checkpoints.load(GUID),
        len(one.store.calls.calls_of(GUID)),
        len(one.store.calls.analyses_of(GUID)),
    ) == (steps, 1, 1)


def test_it_goes_on_to_where_its_then_leads(make_world: MakeWorld, tmp_path: Path) -> None:
    made = again(worked(make_world, tmp_path / "own", BUG), QUESTION, ANSWER)
    assert (made.ran.speaks, made.tokens, made.cost_usd) == (True, 2000, 0.00028)


def test_a_reply_that_cannot_be_used_is_said_to_be_so(make_world: MakeWorld, tmp_path: Path) -> None:
    one = worked(make_world, tmp_path / "own", BUG)
    with pytest.raises(Permanent, match=r"Claude's reply to issues/strict@[0-9a-f]{6} cannot be used: kind"):
        again(one, INVALID)


def test_a_prompt_of_another_event_is_not_asked(make_world: MakeWorld, tmp_path: Path) -> None:
    assert stored(worked(make_world, tmp_path / "own", BUG), "reviews/analyze") is None


def test_a_delivery_that_died_is_not_asked_about(make_world: MakeWorld, tmp_path: Path) -> None:
    one = make_world(BUG)
    one.github.failing_writes = [Permanent("locked")]
    one.accept()
    one.run()
    one.prompts = loaded(shadowing(tmp_path / "own"))
    assert (one.row().state, stored(one)) == ("dead", None)
