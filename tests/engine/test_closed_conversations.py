"""Prompts for closed issues and pull requests: they run although the conversation is closed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hls_handler.analysis import GenericAnalysis
from hls_handler.deliveries import Finished
from hls_handler.engine.library import load_checked
from hls_handler.events import PullRequest, parse_event
from hls_handler.handlers import HANDLERS
from hls_handler.prompting import recorded
from hls_handler.settings.model import Prompts, Repository, RepositoryComments, Settings
from tests.engine.fakes import ISSUE
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
    world.prompts = load_checked(given)
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


def test_comment_about_the_closing_has_its_own_family() -> None:
    """So it does not replace the comment of the analysis."""
    payload = recorded.load("issues.opened").payload
    closed = parse_event("issues", GUID, json.dumps({**payload, "action": "closed"}).encode())
    opened = parse_event("issues", GUID, json.dumps(payload).encode())
    families = [HANDLERS["issues"].comment_family(event) for event in (opened, closed)]
    assert families == ["issues", "issues-closed-1"]


def test_queued_event_before_the_closing_is_superseded_and_the_closing_runs(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    world = make(make_world, closed_settings(tmp_path), BUG)
    world.github.issues = {1: replace(ISSUE, state="closed")}
    world.accept()
    accept_closed_issue(world)
    assert world.finish().state == "superseded"
    assert world.finish().state == "done"
    assert len(world.claude.asked) == 1


def test_issue_that_was_reopened_meanwhile_supersedes_its_closing(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make(make_world, closed_settings(tmp_path), BUG)
    accept_closed_issue(world)
    reason = "the issue Codertocat/Hello-World#1 was reopened meanwhile"
    assert world.run() == Finished("closing", "superseded", reason)
    assert world.claude.asked == []


@pytest.mark.parametrize(("merged", "asked"), [(True, "True"), (False, "False")])
def test_templates_can_tell_merged_from_unmerged_pull_requests(
    make_world: MakeWorld, tmp_path: Path, merged: bool, asked: str
) -> None:
    world = make(make_world, closed_settings(tmp_path), GenericAnalysis(worth_saying=True, summary="x", details=""))
    world.github.pull_requests = {2: closed_pull(merged=merged)}
    world.github.changed = {2: (file("a.py"),)}
    world.accept("pull_request.closed")
    assert world.finish().state == "done"
    assert [rendered.task for rendered in world.claude.asked] == [asked]


def test_shipped_changelog_entry_is_stored_and_not_posted(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make(make_world, closed_settings(tmp_path, use=CHANGELOG))
    world.claude.replies = [entry(world)]
    world.github.pull_requests = {2: closed_pull()}
    world.github.changed = {2: (file("a.py"),)}
    world.accept("pull_request.closed")
    assert world.run() == Finished(GUID, "done", "analysed; nothing to post")
    assert (world.github.comments, world.github.labels) == ({}, {})
    assert "Counts lines." in world.store.checkpoints.load(GUID)["ask", 0].value


def test_shipped_changelog_entry_is_posted_on_the_issue_that_settings_name(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    world = make(make_world, closed_settings(tmp_path, use=CHANGELOG, post_to={"pull_request.closed": 1}))
    world.claude.replies = [entry(world)]
    world.github.pull_requests = {2: closed_pull()}
    world.github.changed = {2: (file("a.py"),)}
    world.accept("pull_request.closed")
    assert world.run() == Finished(GUID, "done", "commented")
    assert list(world.github.comments) == [1]
    assert world.github.comments[1].startswith("**Fixed** ([#2](")
    assert world.github.labels == {}
