"""What becomes of an event whose thread is not any more what it was, in every family, through the real clients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hls_handler.prompting.prompt import Library
from hls_handler.sandbox.objects import Account
from hls_handler.sandbox.server import Sandbox
from hls_handler.sandbox.state import State
from tests.redteam.attacks import calm
from tests.redteam.scenes import POST_TO, SCENES, Scene
from tests.redteam.siege import API_KEY, ATTACKED, FIRST, TOKEN, deliver, worker

Fate = Callable[[int, State], None]


def _told(github: State, number: int, action: str, **news: Any) -> None:
    """The thread's next event, which says what became of it."""
    thread = github.thread(ATTACKED.full_name, number)
    assert thread is not None
    kind, event = ("pull_request", "pull_request") if thread.kind == "pull" else ("issue", "issues")
    repository = github.repository(ATTACKED.full_name)
    assert repository is not None
    shown = {**thread.document, "number": number, **news}
    github.seed(event, {"action": action, kind: shown, "repository": repository.document})


def deleted(number: int, github: State) -> None:
    _told(github, number, "deleted")


def transferred(number: int, github: State) -> None:
    _told(github, number, "transferred")


def closed(number: int, github: State) -> None:
    _told(github, number, "closed", state="closed")


def locked(number: int, github: State) -> None:
    _told(github, number, "locked", locked=True)


ON_ISSUES = [scene for scene in SCENES if scene.name in ("issues", "comments", "releases", "push")]
ON_PULL_REQUESTS = [scene for scene in SCENES if scene.name in ("pull_requests", "reviews")]
WORKFLOWS = next(scene for scene in SCENES if scene.name == "workflows")


@pytest.mark.parametrize(
    ("scenes", "fate", "state", "words"),
    [
        (ON_ISSUES, deleted, "dead", "410"),
        (ON_ISSUES, transferred, "dead", "301"),
        ([*ON_ISSUES, *ON_PULL_REQUESTS], closed, "superseded", "was closed meanwhile"),
        ([WORKFLOWS], closed, "done", "Claude was not asked"),  # an open pull request is looked for
        ([*ON_ISSUES, *ON_PULL_REQUESTS, WORKFLOWS], locked, "dead", "is locked"),
    ],
    ids=["deleted", "transferred", "closed", "closed under a run", "locked"],
)
def test_a_thread_that_is_not_what_it_was_is_left_alone_and_the_reason_is_told(
    library: Library, tmp_path: Path, scenes: list[Scene], fate: Fate, state: str, words: str
) -> None:
    ends: dict[str, tuple[str, bool, int]] = {}
    with (
        Sandbox(token=TOKEN, api_key=API_KEY) as sandbox,
        worker(sandbox, library, f"sqlite:///{tmp_path}/hls.db") as tools,
    ):
        for place, scene in enumerate(scenes):
            number = FIRST + place
            thread = POST_TO if scene.name in ("releases", "push") else number
            attacks = calm(scene.places)
            one = deliver(scene, tools, sandbox, ATTACKED, attacks, number, meanwhile=partial(fate, thread))
            writes = [seen for seen in one.github if seen.writes]
            ends[scene.name] = (one.row.state, words in (one.row.reason or ""), len(writes))
    assert ends == {scene.name: (state, True, 0) for scene in scenes}


def test_of_a_thousand_comments_the_newest_are_read_and_ours_is_still_the_only_one(
    library: Library, tmp_path: Path
) -> None:
    issues, comments = (next(one for one in SCENES if one.name == name) for name in ("issues", "comments"))
    zoe = Account("zoe", 8, "User")
    with (
        Sandbox(token=TOKEN, api_key=API_KEY) as sandbox,
        worker(sandbox, library, f"sqlite:///{tmp_path}/hls.db") as tools,
    ):
        issues.happen(sandbox.state, ATTACKED, {}, FIRST)
        thread = sandbox.state.thread(ATTACKED.full_name, FIRST)
        assert thread is not None
        for _ in range(1_000):
            sandbox.state.create_comment(thread, "And?", by=zoe)
        one = deliver(comments, tools, sandbox, ATTACKED, calm(comments.places), FIRST)
    assert (one.row.state, len(one.bodies)) == ("done", 1)
    assert len(one.github) < 50
