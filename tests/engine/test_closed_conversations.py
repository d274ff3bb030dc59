"""Prompts for closed issues and pull requests: they run although the conversation is closed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hls_handler.analysis import GenericAnalysis
from hls_handler.deliveries import Finished
from hls_handler.events import PullRequest, parse_event
from hls_handler.prompting import recorded
from hls_handler.settings.model import Prompts, Repository, RepositoryComments, Settings
from tests.engine.fakes import ISSUE
from tests.engine.shadow_world import load_cached
from tests.engine.world import BUG, GUID, MakeWorld, World, settings
from tests.handlers.world import file
from tests.prompting.samples import SHIPPED, write

CLOSED_ISSUE = "---\ndescription: x\non: [issues.closed]\nreply: issue_analysis\n---\nWhy was {{ issue.title }} closed?"
CLOSED_PULL = "---\ndescription: x\non: [pull_request.closed]\nreply: generic_analysis\n---\n{{ pull_request.merged }}"
CHANGELOG = {"pull_request.closed": "pull_requests/changelog"}


def closed_settings(
    folder: Path, *, use: dict[str, str] | None = None, post_to: dict[str, int] | None = None
) -> Settings:
    own = write(
        folder / "own",
        {
            "issues/closed.j2": CLOSED_ISSUE,
            "issues/closed.comment.md.j2": "Closed: {{ analysis.summary }}",
            "pull_requests/closed.j2": CLOSED_PULL,
        },
    )
    comments = RepositoryComments(post_to=post_to or {})
    repository = Repository(name="Codertocat/Hello-World", comments=comments)
    prompts = Prompts(directory=(own, SHIPPED), use=use or {})
    return settings().model_copy(update={"repositories": (repository,), "prompts": prompts})


def make(make_world: MakeWorld, given: Settings, *replies: object) -> World:
    world = make_world(*replies, given=given)
    world.prompts = load_cached(given)
    return world


def accept_closed_issue(world: World, *, guid: str = "closing") -> None:
    payload = dict(recorded.load("issues.opened").payload)
    payload |= {"action": "closed", "issue": {**payload["issue"], "state": "closed"}}
    world.accept(guid=guid, action="closed", body=json.dumps(payload).encode())


def closed_pull(*, merged: bool = True) -> PullRequest:
    event = parse_event("pull_request", GUID, recorded.load("pull_request.closed").body)
    assert event.pull_request is not None
    return replace(event.pull_request, merged=merged)


def entry(world: World) -> GenericAnalysis:
    model = world.prompts.prompts["pull_requests/changelog"].reply_model
    fields = {"worth_saying": True, "summary": "Counts lines.", "details": "", "section": "Fixed"}
    reply = model.model_validate(fields)
    assert isinstance(reply, GenericAnalysis)
    return reply


def test_prompt_for_closed_issues_labels_and_comments(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make(make_world, closed_settings(tmp_path), BUG)
    world.github.issues = {1: replace(ISSUE, state="closed")}
    accept_closed_issue(world)
    assert world.run() == Finished("closing", "done", "added bug, priority-low, difficulty-easy; commented")
    assert world.github.comments == {1: "Closed: The README says committ."}


def test_issue_that_was_reopened_meanwhile_supersedes_its_closing(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make(make_world, closed_settings(tmp_path), BUG)
    accept_closed_issue(world)
    reason = "the issue Codertocat/Hello-World#1 was reopened meanwhile"
    assert world.run() == Finished("closing", "superseded", reason)
    assert world.claude.asked == []


@pytest.mark.parametrize(
    ("post_to", "reason", "posted"),
    [({}, "analysed; nothing to post", []), ({"pull_request.closed": 1}, "commented", [1])],
    ids=["nowhere", "issue 1"],
)
def test_shipped_changelog_entry_is_stored_and_posted_only_where_settings_say(
    make_world: MakeWorld, tmp_path: Path, post_to: dict[str, int], reason: str, posted: list[int]
) -> None:
    world = make(make_world, closed_settings(tmp_path, use=CHANGELOG, post_to=post_to))
    world.claude.replies = [entry(world)]
    world.github.pull_requests = {2: closed_pull()}
    world.github.changed = {2: (file("a.py"),)}
    world.accept("pull_request.closed")
    assert world.run() == Finished(GUID, "done", reason)
    assert (list(world.github.comments), world.github.labels) == (posted, {})
    assert all(comment.startswith("**Fixed** ([#2](") for comment in world.github.comments.values())
    assert "Counts lines." in world.store.checkpoints.load(GUID)["ask", 0].value
