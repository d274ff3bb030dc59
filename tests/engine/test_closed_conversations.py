"""The shipped changelog prompt: it runs for a pull request that was closed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hls_handler.deliveries import Finished
from hls_handler.events import parse_event
from hls_handler.prompting import recorded
from hls_handler.settings.model import Prompts, Repository, RepositoryComments
from tests.engine.world import GUID, MakeWorld, settings
from tests.handlers.world import file


@pytest.mark.parametrize(
    ("post_to", "reason", "posted"),
    [({}, "analysed; nothing to post", []), ({"pull_request.closed": 1}, "commented", [1])],
    ids=["nowhere", "issue 1"],
)
def test_shipped_changelog_entry_is_stored_and_posted_only_where_settings_say(
    make_world: MakeWorld, post_to: dict[str, int], reason: str, posted: list[int]
) -> None:
    repository = Repository(name="Codertocat/Hello-World", comments=RepositoryComments(post_to=post_to))
    prompts = Prompts(use={"pull_request.closed": "pull_requests/changelog"})
    world = make_world(given=settings().model_copy(update={"repositories": (repository,), "prompts": prompts}))
    model = world.prompts.prompts["pull_requests/changelog"].reply_model
    reply = {"worth_saying": True, "summary": "Counts lines.", "details": "", "section": "Fixed"}
    world.claude.replies = [model.model_validate(reply)]
    closed = parse_event("pull_request", GUID, recorded.load("pull_request.closed").body).pull_request
    assert closed is not None
    world.github.pull_requests, world.github.changed = {2: replace(closed, merged=True)}, {2: (file("a.py"),)}
    world.accept("pull_request.closed")
    assert world.run() == Finished(GUID, "done", reason)
    assert (list(world.github.comments), world.github.labels) == (posted, {})
    assert all(comment.startswith("**Fixed** ([#2](") for comment in world.github.comments.values())
    assert "Counts lines." in world.store.checkpoints.load(GUID)["ask", 0].value
