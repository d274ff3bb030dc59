"""Rerun of a prompt with the stored facts of a delivery, without any writes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hls_handler.analysis import IssueResponse
from hls_handler.errors import Permanent
from hls_handler.settings.effective import RepositoryTable
from hls_handler.trials.comparison import Side, StoredDelivery, load_stored_delivery, render_requests, run_again
from tests.engine.fakes import INVALID, ISSUE, FakeClaude
from tests.engine.shadow_world import BUG_LABELS, MINOR, MINOR_LABELS, load_cached, shadow_settings, without_hash
from tests.engine.world import BUG, GUID, QUESTION, MakeWorld, World
from tests.prompting.samples import write
from tests.queue.builders import analyses_of

KEY = b"key"
REPLY = IssueResponse(worth_saying=True, answer="Set DATABASE_URL.", certain=True)


def make_processed_world(
    make_world: MakeWorld, prompts_folder: Path, *replies: object, name: str = "issues.opened"
) -> World:
    """A world with one finished issue, without a shadow, whose library has a copy of the prompt."""
    world = make_world(*replies)
    world.accept(name)
    world.run()
    world.prompts = load_cached(shadow_settings(prompts_folder))
    return world


def find_stored(world: World, prompt: str = "issues/strict") -> StoredDelivery | None:
    return load_stored_delivery(
        world.store, world.row(), world.prompts.prompts[prompt], world.prompts, RepositoryTable(world.settings)
    )


def rerun(world: World, *replies: object) -> Side:
    found = find_stored(world)
    assert found is not None
    claude = FakeClaude(list(replies))  # type: ignore[arg-type]
    return run_again(found.source, found.rule, world.prompts, claude, KEY).side


def test_finished_delivery_is_found_with_its_posted_result(make_world: MakeWorld, tmp_path: Path) -> None:
    found = find_stored(make_processed_world(make_world, tmp_path / "own", BUG))
    assert found is not None
    posted = without_hash(found.posted.result)
    assert (posted.prompt_id, posted.labels, posted.speaks) == ("issues/analyze", BUG_LABELS, True)
    assert (found.posted.tokens, found.posted.cost_usd) == (1000, 0.00014)


def test_result_without_comment_does_not_speak(make_world: MakeWorld, tmp_path: Path) -> None:
    found = find_stored(make_processed_world(make_world, tmp_path / "own", MINOR))
    assert found is not None
    assert found.posted.result.speaks is False


def test_prompt_without_comment_template_does_not_speak(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make_world(BUG)
    world.prompts = load_cached(shadow_settings(write(tmp_path / "own", {"issues/analyze.comment.md.j2": ""})))
    world.accept()
    world.run()
    found = find_stored(world)
    assert found is not None
    assert (world.github.comments, found.posted.result.speaks) == ({}, False)


def test_rerun_uses_the_stored_facts(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make_processed_world(make_world, tmp_path / "own", BUG)
    world.github.issues = {1: replace(ISSUE, title="Another title")}
    calls_before = list(world.github.calls)
    found = find_stored(world)
    assert found is not None
    (request,) = render_requests(found.source, found.rule, world.prompts, KEY)
    assert request.prompt.name == "issues/strict"
    assert "Spelling error in the README file" in request.task
    assert world.github.calls == calls_before


def test_rerun_returns_its_result_and_stores_nothing(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make_processed_world(make_world, tmp_path / "own", BUG)
    steps = world.store.checkpoints.load(GUID)
    side = rerun(world, MINOR)
    assert (without_hash(side.result).labels, side.result.speaks, side.tokens) == (MINOR_LABELS, False, 1000)
    assert (
        world.store.checkpoints.load(GUID),
        len(world.store.calls.calls_of(GUID)),
        len(analyses_of(world.store, GUID)),
    ) == (steps, 1, 1)


def test_rerun_follows_then(make_world: MakeWorld, tmp_path: Path) -> None:
    side = rerun(make_processed_world(make_world, tmp_path / "own", BUG), QUESTION, REPLY)
    assert (side.result.speaks, side.tokens, side.cost_usd) == (True, 2000, 0.00028)


def test_credentials_in_a_reply_are_redacted(make_world: MakeWorld, tmp_path: Path) -> None:
    found = find_stored(make_processed_world(make_world, tmp_path / "own", BUG))
    assert found is not None
    leaking = FakeClaude([BUG.model_copy(update={"recommended_response": f"Use ghp_{'a1B2' * 9}."})])
    (answer,) = run_again(
        found.source, found.rule, load_cached(shadow_settings(tmp_path / "own")), leaking, KEY
    ).answered.answers
    assert "ghp_a1B2" not in answer.reply.model_dump_json()


def test_rerun_raises_for_an_unusable_reply(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make_processed_world(make_world, tmp_path / "own", BUG)
    with pytest.raises(Permanent, match=r"Claude's reply to issues/strict@[0-9a-f]{6} cannot be used: kind"):
        rerun(world, INVALID)


def test_prompt_of_another_event_is_not_rerun(make_world: MakeWorld, tmp_path: Path) -> None:
    assert find_stored(make_processed_world(make_world, tmp_path / "own", BUG), "reviews/analyze") is None


def test_dead_letter_is_not_rerun(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make_world(BUG)
    world.github.failing_writes = [Permanent("locked")]
    world.accept()
    world.run()
    world.prompts = load_cached(shadow_settings(tmp_path / "own"))
    assert (world.row().state, find_stored(world)) == ("dead", None)
