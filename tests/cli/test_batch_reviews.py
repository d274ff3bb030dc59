"""`hls batch reviews` against the sandbox, whose repository has merged pull requests and git."""

from __future__ import annotations

import copy
import json
import re
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
from hls_sandbox.claude import Asked
from hls_sandbox.objects import Comment, Conversation, ConversationEvent, Edit
from hls_sandbox.shapes import stamp
from tests.batches.histories import MONDAY, REPOSITORY, TRIAGE_BOT, ZOE
from tests.cli.conftest import Hls, succeed
from tests.github_fake.faults import Fault
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


@dataclass
class Claude:
    """Finds a fault in line 2 of tax.py, and agrees with it at the second look."""

    asked: list[Asked] = field(default_factory=list)
    path: str = "tax.py"
    body: str = "Amounts have too many digits. Round them."
    invalid: tuple[int, ...] = ()  # numbers of the pull requests without a usable reply

    def __call__(self, asked: Asked) -> Any:
        self.asked.append(asked)
        if any(f"First title of {number}" in asked.user for number in self.invalid):
            return {"wrong": True}
        if "verdicts" in json.dumps(asked.schema):
            return {"verdicts": [{"number": 1, "facts": [], "unseen": "", "agrees": True}]}
        fault = finding(
            path=self.path,
            line=2,
            quote="    return price * rate",
            title="No rounding",
            body=self.body,
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


def add_merged(sandbox: Sandbox, commits: Commits, *numbers: int, name: str = "tax.py") -> None:
    for number in numbers:
        payload: dict[str, Any] = copy.deepcopy(dict(OPENED.payload))
        opened = MONDAY + timedelta(hours=number)
        payload["number"] = number
        pull_request = payload["pull_request"]
        pull_request |= {"number": number, "changed_files": 1, "additions": 2, "deletions": 2}
        pull_request |= {"title": "Later title", "body": "Later body"}
        pull_request |= {"state": "closed", "merged": True, "merge_commit_sha": commits.merge}
        pull_request |= dict.fromkeys(("created_at", "closed_at", "merged_at"), stamp(opened))
        pull_request["head"]["sha"] = commits.head
        pull_request["base"] |= {"sha": commits.base, "ref": "main"}
        files = [{**CHANGED[0], "filename": name}]
        conversation = sandbox.state.seed("pull_request", payload, files=files)
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


@pytest.mark.parametrize(
    ("chosen", "code", "output"),
    [
        ("pull_requests/short", 0, "prompt      pull_requests/short@"),
        ("pull_requests/changelog", 1, "chooses no prompt that reviews pull requests"),
        ("false", 1, "prompts.use.pull_request chooses no prompt that reviews pull requests"),
    ],
)
def test_reviews_use_the_prompt_that_settings_choose_for_the_repository(
    batch: Hls,
    sandbox: Sandbox,
    commits: Commits,
    folder: Path,
    chosen: str,
    code: int,
    output: str,
) -> None:
    short = "---\ndescription: Mine\non: []\nreply: pull_request_analysis\n---\nMine.\n"
    (folder / "prompts/pull_requests/short.j2").write_text(short)
    settings = (folder / "settings.yaml").read_text()
    own = f"events: [issues.opened], prompts: {{use: {{pull_request: {chosen}}}}}"
    (folder / "settings.yaml").write_text(settings.replace("events: [issues.opened]", own))
    add_merged(sandbox, commits, 101)
    printed = batch("reviews", REPOSITORY, "--yes")
    assert (printed.exit_code, output in printed.output) == (code, True), printed.output


def test_merged_pull_requests_are_reviewed_as_they_were_and_nothing_is_written(
    batch: Hls, sandbox: Sandbox, commits: Commits, claude: Claude
) -> None:
    def find_writes(sandbox: Sandbox) -> list[str]:
        requests = [one for one in sandbox.requests.all("github") if one.writes]
        return [one.path for one in requests if "git-upload-pack" not in one.path]

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
    address = "https://github.com/Codertocat/Hello-World"
    assert review["url"].endswith("/Codertocat/Hello-World/pull/101")
    (found_again,) = review["findings"]
    url = re.sub(r"http://127.0.0.1:\d+", "https://github.com", found_again["url"])
    assert [{**found_again, "url": url}] == [
        {
            "severity": "high",
            "path": "tax.py",
            "line": 2,
            "title": "No rounding",
            "failure": "Amounts have too many digits.",
            "url": f"{address}/blob/{commits.head}/tax.py#L2",
            "change": {"state": "no", "commit": "", "why": ""},
        }
    ]
    assert find_writes(sandbox) == []


ROUNDED = HEAD.replace("price * rate", "round(price * rate, 2)")
FIXED = "def tax(price, rate):\n    return fixed(price * rate)\n"


def find_change(batch: Hls) -> dict[str, str]:
    change: dict[str, str] = show(batch)["result"]["reviews"][0]["findings"][0]["change"]
    return change


def test_line_that_the_branch_changed_after_the_merge_has_the_commit_that_did(
    batch: Hls, sandbox: Sandbox, commits: Commits
) -> None:
    add_merged(sandbox, commits, 101)
    files = {"tax.py": HEAD, "other.py": "1\n"}
    parent = commits.merge
    for number in range(4):
        files = {**files, "tax.py": f"{HEAD}# {number}\n"}
        parent = sandbox.git.commit(REPOSITORY, files, parent=parent)
    fixing = sandbox.git.commit(REPOSITORY, {**files, "tax.py": ROUNDED}, parent=parent)
    sandbox.git.commit(REPOSITORY, {**files, "tax.py": FIXED}, parent=fixing)
    printed = batch("reviews", REPOSITORY, "--yes")
    assert f"changed later, by {fixing[:10]}" in printed.output
    assert find_change(batch) == {"state": "later", "commit": fixing, "why": ""}


def test_line_that_was_changed_before_the_merge_has_the_merge_commit(
    batch: Hls, sandbox: Sandbox, commits: Commits
) -> None:
    merge = sandbox.git.commit(REPOSITORY, {"tax.py": ROUNDED}, parent=commits.base)
    add_merged(sandbox, replace(commits, merge=merge), 101)
    assert batch("reviews", REPOSITORY, "--yes").exit_code == 0
    assert find_change(batch) == {"state": "before the merge", "commit": merge, "why": ""}


def test_change_that_could_not_be_read_is_read_again_by_continue_without_a_call(
    batch: Hls, sandbox: Sandbox, commits: Commits, folder: Path, claude: Claude
) -> None:
    add_merged(sandbox, commits, 101)
    settings = (folder / "settings.yaml").read_text()
    (folder / "settings.yaml").write_text(settings.replace("directory: mirror", "enabled: false"))
    printed = batch("reviews", REPOSITORY, "--yes")
    assert "lines       1 not known" in printed.output
    assert "not known whether it was changed: mirror.enabled is false" in printed.output
    calls = len(claude.asked)
    (folder / "settings.yaml").write_text(settings)
    succeed(batch("continue", "1"))
    assert find_change(batch) == {"state": "no", "commit": "", "why": ""}
    assert len(claude.asked) == calls == 2


@pytest.mark.parametrize("path", ["/git/ref/heads/main", "/commits\\?"])
def test_failed_read_of_changes_keeps_the_findings(
    batch: Hls, sandbox: Sandbox, commits: Commits, path: str
) -> None:
    add_merged(sandbox, commits, 101)
    fixing = sandbox.git.commit(REPOSITORY, {"tax.py": ROUNDED}, parent=commits.merge)
    sandbox.faults.add(Fault(effect="status", path=path, status=403, times=None))
    printed = batch("reviews", REPOSITORY, "--yes")
    assert "findings    1 finding (1 high), 1.0 a pull request" in printed.output
    sandbox.faults.clear()
    batch("continue", "1")
    assert find_change(batch)["state"] == "later"
    assert find_change(batch)["commit"] == fixing


@pytest.mark.parametrize(
    ("name", "later", "why"),
    [
        ("tax.py", {"taxes.py": HEAD}, "its file was renamed or deleted"),
        ("tax.py", {}, "its file was renamed or deleted"),
        ('t"x.py', {'t"x.py': ROUNDED}, "git does not compare files with such a name"),
    ],
)
def test_change_that_git_cannot_tell_is_not_known(
    batch: Hls,
    sandbox: Sandbox,
    commits: Commits,
    claude: Claude,
    name: str,
    later: dict[str, str],
    why: str,
) -> None:
    claude.path = name
    base = sandbox.git.commit(REPOSITORY, {name: BASE})
    head = sandbox.git.commit(REPOSITORY, {name: HEAD}, parent=base)
    merge = sandbox.git.commit(REPOSITORY, {name: HEAD, "b.py": "1\n"}, parent=base)
    add_merged(sandbox, Commits(base, head, merge), 101, name=name)
    sandbox.git.commit(REPOSITORY, {**later, "c.py": "1\n"}, parent=merge)
    batch("reviews", REPOSITORY, "--yes")
    assert find_change(batch) == {"state": "not known", "commit": "", "why": why}


def test_page_has_the_reason_of_what_is_not_known_as_it_is_and_links_a_commit(
    batch: Hls, sandbox: Sandbox, commits: Commits, folder: Path
) -> None:
    add_merged(sandbox, commits, 101)
    fixing = sandbox.git.commit(REPOSITORY, {"tax.py": ROUNDED}, parent=commits.merge)
    sandbox.faults.add(Fault(effect="status", path="/git/ref/heads/main", status=403, times=None))
    batch("reviews", REPOSITORY, "--yes", "--markdown", "page.md")
    assert "*not known whether it was changed: GET /repos/" in (folder / "page.md").read_text()
    sandbox.faults.clear()
    batch("continue", "1")
    succeed(batch("show", "1", "--markdown", "page.md"))
    link = rf"\[{fixing[:10]}\]\(http://127.0.0.1:\d+/{REPOSITORY}/commit/{fixing}\)"
    page = (folder / "page.md").read_text()
    assert re.search(rf"\*changed later, by {link}\*", page)


def test_cost_of_a_pull_request_counts_those_without_a_usable_reply(
    batch: Hls, sandbox: Sandbox, commits: Commits, claude: Claude
) -> None:
    claude.invalid = (101, 102)
    add_merged(sandbox, commits, 101, 102, 103)
    batch("reviews", REPOSITORY, "--yes")
    result = show(batch)["result"]
    assert sum(result["failed"].values()) == 2
    assert result["mean_usd"] == pytest.approx(result["cost_usd"] / 3)


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        (
            "If `rate` is missing, e.g. for exports, it fails. Fix it.",
            "If `rate` is missing, e.g. for exports, it fails.",
        ),
        ("It fails\nat noon. Round `x`.", "It fails at noon."),
        ("Of none, e.g. `[]`, it fails. Test it.", "Of none, e.g. `[]`, it fails."),
        ("It fails", "It fails"),
    ],
)
def test_failure_is_the_first_sentence_of_the_text(
    batch: Hls, sandbox: Sandbox, commits: Commits, claude: Claude, body: str, failure: str
) -> None:
    claude.body = body
    add_merged(sandbox, commits, 101)
    batch("reviews", REPOSITORY, "--yes")
    assert show(batch)["result"]["reviews"][0]["findings"][0]["failure"] == failure


def test_page_of_reviews_can_be_read_without_hls(
    batch: Hls, sandbox: Sandbox, commits: Commits, folder: Path
) -> None:
    add_merged(sandbox, commits, 101, 102, 149)
    succeed(batch("reviews", REPOSITORY, "--yes", "--markdown", "page.md"))
    page = (folder / "page.md").read_text()
    prompt = show(batch)["result"]["title"]
    address = "https://github.com/Codertocat/Hello-World"
    page = re.sub(r"http://127.0.0.1:\d+/", "https://github.com/", page)
    cost = show(batch)["cost_usd"]
    page = re.sub(r"in \d+ days", "in N days", re.sub(r"\$[0-9.]+", "$", page))
    sums, *reviews = page.split("### ")
    assert sums == (
        "# What reviews of merged pull requests would have found\n\n"
        f"HLS reviewed them at their last commit, with {prompt}. Nothing was posted.\n\n"
        "| | |\n|---|---|\n"
        "| reviews | 3, 0% without a finding |\n"
        "| findings | 3 findings (3 high), 1.0 a pull request |\n"
        "| lines | 3 not changed since |\n"
        "| cost | $, $ a pull request |\n"
        "| time | 0 s a pull request, at most 0 s |\n"
        "| calls | 6 |\n"
        "| a month | about $, if there are as many as now: 3 such pull requests in N days |\n\n"
    )
    assert cost > 0
    assert reviews[0] == (
        f"[#101]({address}/pull/101) First title of 101: 1 finding, $\n\n"
        f"- **No rounding** (high), [`tax.py:2`]({address}/blob/{commits.head}/tax.py#L2): "
        "Amounts have too many digits.\n"
        "  *not changed since*\n\n"
    )
    refused = batch("show", "1", "--markdown", "missing/page.md")
    assert (refused.exit_code, "--markdown missing/page.md: No such" in refused.output) == (1, True)


def test_reviews_write_only_their_own_tables(
    batch: Hls, sandbox: Sandbox, commits: Commits, folder: Path
) -> None:
    # of Claude and GitHub, which includes batches: no delivery, review, finding or failure
    counters_of_use = {
        "claude_calls",
        "claude_ms",
        "claude_timed",
        "cost_micro_usd",
        "github_requests",
        "prompt_calls",
        "tokens",
    }
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
    assert counters == counters_of_use


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
