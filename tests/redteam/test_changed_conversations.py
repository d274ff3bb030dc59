"""Deliveries whose conversation was deleted, transferred, closed or locked before they are processed."""

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
from tests.redteam.attack_run import API_KEY, ATTACKED, FIRST_NUMBER, TOKEN, deliver, worker
from tests.redteam.attacks import harmless_round
from tests.redteam.scenarios import FALLBACK_ISSUE, SCENARIOS, Scenario

Change = Callable[[int, State], None]


def _change(github: State, number: int, action: str, **fields: Any) -> None:
    """Create an event that changes the conversation."""
    conversation = github.conversation(ATTACKED.full_name, number)
    assert conversation is not None
    kind, event = ("pull_request", "pull_request") if conversation.kind == "pull" else ("issue", "issues")
    repository = github.repository(ATTACKED.full_name)
    assert repository is not None
    changed = {**conversation.document, "number": number, **fields}
    github.seed(event, {"action": action, kind: changed, "repository": repository.document})


def deleted(number: int, github: State) -> None:
    _change(github, number, "deleted")


def transferred(number: int, github: State) -> None:
    _change(github, number, "transferred")


def closed(number: int, github: State) -> None:
    _change(github, number, "closed", state="closed")


def locked(number: int, github: State) -> None:
    _change(github, number, "locked", locked=True)


ON_ISSUES = [scenario for scenario in SCENARIOS if scenario.name in ("issues", "comments", "releases", "push")]
ON_PULL_REQUESTS = [scenario for scenario in SCENARIOS if scenario.name in ("pull_requests", "reviews")]
WORKFLOWS = next(scenario for scenario in SCENARIOS if scenario.name == "workflows")


@pytest.mark.parametrize(
    ("scenarios", "change", "state", "reason"),
    [
        (ON_ISSUES, deleted, "dead", "410"),
        (ON_ISSUES, transferred, "dead", "301"),
        ([*ON_ISSUES, *ON_PULL_REQUESTS], closed, "superseded", "was closed meanwhile"),
        ([WORKFLOWS], closed, "done", "Claude was not asked"),  # it reads only open pull requests
        ([*ON_ISSUES, *ON_PULL_REQUESTS, WORKFLOWS], locked, "ignored", "is locked"),
    ],
    ids=["deleted", "transferred", "closed", "closed during a workflow run", "locked"],
)
def test_changed_conversation_gets_no_write_and_the_delivery_has_a_reason(
    library: Library, tmp_path: Path, scenarios: list[Scenario], change: Change, state: str, reason: str
) -> None:
    results: dict[str, tuple[str, bool, int]] = {}
    with (
        Sandbox(token=TOKEN, api_key=API_KEY) as sandbox,
        worker(sandbox, library, f"sqlite:///{tmp_path}/hls.db") as tools,
    ):
        for place, scenario in enumerate(scenarios):
            number = FIRST_NUMBER + place
            conversation = FALLBACK_ISSUE if scenario.name in ("releases", "push") else number
            attacks = harmless_round(scenario.places)
            delivered = deliver(
                scenario, tools, sandbox, ATTACKED, attacks, number, before_processing=partial(change, conversation)
            )
            writes = sum(seen.writes for seen in delivered.github)
            results[scenario.name] = (delivered.row.state, reason in (delivered.row.reason or ""), writes)
    checks = {"pull_requests": 1} if state == "ignored" else {}  # the commit is open, only the conversation is locked
    assert results == {scenario.name: (state, True, checks.get(scenario.name, 0)) for scenario in scenarios}


def test_conversation_with_a_thousand_comments_gets_one_comment_with_few_requests(
    library: Library, tmp_path: Path
) -> None:
    issues, comments = (next(one for one in SCENARIOS if one.name == name) for name in ("issues", "comments"))
    zoe = Account("zoe", 8, "User")
    with (
        Sandbox(token=TOKEN, api_key=API_KEY) as sandbox,
        worker(sandbox, library, f"sqlite:///{tmp_path}/hls.db") as tools,
    ):
        issues.create(sandbox.state, ATTACKED, {}, FIRST_NUMBER)
        conversation = sandbox.state.conversation(ATTACKED.full_name, FIRST_NUMBER)
        assert conversation is not None
        for _ in range(1_000):
            sandbox.state.create_comment(conversation, "And?", by=zoe)
        delivered = deliver(comments, tools, sandbox, ATTACKED, harmless_round(comments.places), FIRST_NUMBER)
    assert (delivered.row.state, len(delivered.bodies)) == ("done", 1)
    assert len(delivered.github) < 50
