"""`hls batch reviews` against the sandbox, whose repository has merged pull requests and git."""

from __future__ import annotations

import copy
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hls_handler.db.tables import metadata
from hls_handler.prompting import recorded
from hls_handler.sandbox.claude import Asked
from hls_handler.sandbox.objects import Comment, Conversation, ConversationEvent, Edit
from hls_handler.sandbox.shapes import stamp
from tests.batches.histories import MONDAY, REPOSITORY, TRIAGE_BOT, ZOE
from tests.cli.conftest import Hls, succeed
from tests.github_fake.server import Sandbox
from tests.handlers.world import finding, pull_request_analysis
from tests.prompting.samples import copy_shipped

OPENED = recorded.load("pull_request.opened")
BASE = "def tax(price):\n    return price\n"
HEAD = "def tax(price, rate):\n    return price * rate\n"
PATCH = (
    "@@ -1,2 +1,2 @@\n-def tax(price):\n-    return price\n"
    "+def tax(price, rate):\n+    return price * rate"
)
CHANGED = [
    {"filename": "tax.py", "status": "modified", "additions": 2, "deletions": 2, "patch": PATCH}
]
SETTINGS = """\
github: {{token: {sandbox.token}, webhook_secret: "0123456789abcdef", base_url: "{sandbox.github_url}"}}
claude: {{api_key: {sandbox.api_key}, base_url: "{sandbox.claude_url}", requests_per_second: 100}}
storage: {{url: "sqlite:///hls.db"}}
repositories: [{{name: "Codertocat/*", events: [issues.opened]}}]
prompts: {{directory: prompts}}
mirror: {{directory: mirror}}
review: {{{review}}}
"""

OWN_TABLES = {"batches", "calls", "checkpoints", "deliveries"}
TABLES_OF_ANY_CALL = {"bot_accounts", "counters", "rate_limits", "secrets"}
COUNTERS_OF_USE = {
    "claude_calls",
    "claude_ms",
    "claude_timed",
    "cost_micro_usd",
    "github_requests",
    "prompt_calls",
    "tokens",
}
"""Use of Claude and GitHub, which includes batches: no delivery, review, finding or failure."""


@dataclass
class Claude:
    """Finds a fault in line 2 of tax.py, and agrees with it at the second look."""

    asked: list[Asked] = field(default_factory=list)

    def __call__(self, asked: Asked) -> Any:
        self.asked.append(asked)
        if "verdicts" in json.dumps(asked.schema):
            return {"verdicts": [{"number": 1, "facts": [], "unseen": "", "agrees": True}]}
        fault = finding(
            path="tax.py",
            line=2,
            quote="    return price * rate",
            title="No rounding",
            confidence=0.6,
        )
        return pull_request_analysis(findings=[fault]).model_dump(mode="json")


@pytest.fixture
def claude() -> Claude:
    return Claude()


@pytest.fixture
def sandbox(claude: Claude) -> Iterator[Sandbox]:
    with Sandbox(answer=claude) as running:
        yield running


@dataclass
class Commits:
    base: str
    head: str
    merge: str


@pytest.fixture
def commits(sandbox: Sandbox) -> Commits:
    sandbox.state.seed("pull_request", OPENED.payload)
    base = sandbox.git.commit(REPOSITORY, {"tax.py": BASE, "AGENTS.md": "Round all amounts.\n"})
    head = sandbox.git.commit(REPOSITORY, {"tax.py": HEAD}, parent=base)
    merge = sandbox.git.commit(REPOSITORY, {"tax.py": HEAD, "other.py": "1\n"}, parent=base)
    return Commits(base, head, merge)


def store(sandbox: Sandbox, conversation: Conversation) -> None:
    sandbox.state.change(lambda world: world.with_conversation(conversation))


def add_merged(sandbox: Sandbox, commits: Commits, *numbers: int) -> None:
    for number in numbers:
        payload: dict[str, Any] = copy.deepcopy(dict(OPENED.payload))
        opened = MONDAY + timedelta(hours=number)
        payload["number"] = number
        pull_request = payload["pull_request"]
        pull_request |= {"number": number, "changed_files": 1, "additions": 2, "deletions": 2}
        pull_request |= {"title": "Later title", "body": "Later body"}
        pull_request |= {"state": "closed", "merged": True, "merge_commit_sha": commits.merge}
        pull_request |= {"created_at": stamp(opened), "closed_at": stamp(opened)}
        pull_request["head"]["sha"] = commits.head
        pull_request["base"] |= {"sha": commits.base, "ref": "main"}
        conversation = sandbox.state.seed("pull_request", payload, files=CHANGED)
        assert conversation is not None
        at = opened + timedelta(hours=1)
        comment = Comment(900 + number, ZOE, "Later comment: please round", at, at)
        edits = (Edit(at, f"First body of {number}"),)
        renamed = ConversationEvent(1, at, ZOE, "renamed", f"First title of {number}")
        store(
            sandbox,
            replace(conversation, comments=(comment,), edits=edits, events=(renamed,)),
        )


@pytest.fixture
def batch(hls: Hls, folder: Path, sandbox: Sandbox, commits: Commits) -> Hls:
    copy_shipped(folder, "pull_requests")
    (folder / "settings.yaml").write_text(SETTINGS.format(sandbox=sandbox, review=""))
    return lambda *options: hls("batch", *options)


def find_writes(sandbox: Sandbox) -> list[str]:
    requests = [one for one in sandbox.requests.all("github") if one.writes]
    return [one.path for one in requests if "git-upload-pack" not in one.path]


def show(batch: Hls) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(succeed(batch("show", "1", "--json")))
    return document


def test_preview_of_reviews_asks_and_stores_nothing(
    batch: Hls, sandbox: Sandbox, commits: Commits, claude: Claude
) -> None:
    add_merged(sandbox, commits, 101, 102)
    store(sandbox, replace(sandbox.conversation(102), author=TRIAGE_BOT))
    printed = succeed(batch("reviews", REPOSITORY))
    assert "reviews Codertocat/Hello-World: 1 delivery" in printed
    assert "left out    1: opened by a bot" in printed
    assert "forecast    2 calls, about $" in printed
    assert "start       add --yes" in printed
    assert (claude.asked, json.loads(batch("list", "--json").stdout)) == ([], [])


def test_merged_pull_requests_are_reviewed_as_they_were_and_nothing_is_written(
    batch: Hls, sandbox: Sandbox, commits: Commits, claude: Claude
) -> None:
    add_merged(sandbox, commits, *range(101, 121))
    succeed(batch("reviews", REPOSITORY, "--yes"))
    texts = [asked.user for asked in claude.asked]
    assert len(texts) == 40
    assert [text for text in texts if "Later" in text] == []
    assert sum("First body of" in text for text in texts) >= 20
    assert "Round all amounts." in texts[0]
    found = show(batch)
    result = found["result"]
    assert (found["state"], len(result["reviews"]), result["findings"]) == ("done", 20, 20)
    review = result["reviews"][0]
    assert (review["title"], review["calls"]["cost_usd"] > 0) == ("First title of 101", True)
    assert review["findings"] == [
        {
            "severity": "high",
            "path": "tax.py",
            "line": 2,
            "title": "No rounding",
            "is_changed": False,
        }
    ]
    assert find_writes(sandbox) == []


def test_line_that_the_branch_changed_after_the_merge_is_marked(
    batch: Hls, sandbox: Sandbox, commits: Commits
) -> None:
    add_merged(sandbox, commits, 101)
    rounded = HEAD.replace("price * rate", "round(price * rate, 2)")
    sandbox.git.commit(REPOSITORY, {"tax.py": rounded}, parent=commits.merge)
    printed = batch("reviews", REPOSITORY, "--yes")
    assert "tax.py:2 No rounding (changed later)" in printed.output
    assert show(batch)["result"]["changed"] == 1


def test_line_that_was_changed_before_the_merge_is_not_marked(
    batch: Hls, sandbox: Sandbox, commits: Commits
) -> None:
    rounded = HEAD.replace("price * rate", "round(price * rate, 2)")
    merge = sandbox.git.commit(REPOSITORY, {"tax.py": rounded}, parent=commits.base)
    add_merged(sandbox, replace(commits, merge=merge), 101)
    assert batch("reviews", REPOSITORY, "--yes").exit_code == 0
    assert show(batch)["result"]["changed"] == 0


def test_repository_without_a_mirror_says_that_changes_are_not_known(
    batch: Hls, sandbox: Sandbox, commits: Commits, folder: Path
) -> None:
    add_merged(sandbox, commits, 101)
    settings = (folder / "settings.yaml").read_text()
    (folder / "settings.yaml").write_text(settings.replace("directory: mirror", "enabled: false"))
    printed = batch("reviews", REPOSITORY, "--yes")
    assert "changed     later: 0; not known: 1" in printed.output


def test_reviews_write_only_their_own_tables(
    batch: Hls, sandbox: Sandbox, commits: Commits, folder: Path
) -> None:
    add_merged(sandbox, commits, 101)
    assert batch("reviews", REPOSITORY, "--yes").exit_code == 0
    with closing(sqlite3.connect(folder / "hls.db")) as connection:
        filled = {
            name
            for name in metadata.tables
            if connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
        }
        counters = {name for (name,) in connection.execute("SELECT name FROM counters")}
    assert filled == OWN_TABLES | TABLES_OF_ANY_CALL
    assert counters == COUNTERS_OF_USE


def test_review_that_would_cost_over_its_limit_is_not_asked(
    batch: Hls, sandbox: Sandbox, commits: Commits, folder: Path, claude: Claude
) -> None:
    (folder / "settings.yaml").write_text(
        SETTINGS.format(sandbox=sandbox, review="max_usd: 0.0001, max_usd_per_pull_request: 0.0001")
    )
    add_merged(sandbox, commits, 101)
    printed = batch("reviews", REPOSITORY, "--yes")
    assert "failed      1: the budget of the review allows no further call" in printed.output
    assert "raise that limit, then begin another batch" in printed.output
    assert (claude.asked, show(batch)["cost_usd"]) == ([], 0)


@pytest.mark.parametrize("command", ["reviews", "triage"])
def test_unusable_certificates_are_no_problem_of_the_database(
    batch: Hls, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "missing.pem")
    printed = batch(command, REPOSITORY)
    assert printed.exit_code == 2
    assert printed.output.startswith("the variable SSL_CERT_FILE names missing.pem")
