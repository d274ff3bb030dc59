"""`hls prompts try`: prints questions, replies and planned writes, and writes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hls_handler.cli.demo import PUSH_PROMPT
from hls_handler.github.comments import marker
from hls_handler.prompting import recorded
from hls_sandbox.claude import canned
from hls_sandbox.state import BOT
from tests.cli.conftest import Hls
from tests.cli.test_json import assert_documented
from tests.github_fake.faults import Fault
from tests.github_fake.server import Sandbox
from tests.prompting.samples import copy_shipped, write
from tests.sandbox.conftest import seed_story

REPOSITORY = "Codertocat/Hello-World"

SETTINGS = """\
github: {{token: {sandbox.token}, webhook_secret: "0123456789abcdef", base_url: "{sandbox.github_url}"}}
claude: {{api_key: {sandbox.api_key}, base_url: "{sandbox.claude_url}", requests_per_second: 100}}
storage: {{url: "sqlite:///hls.db"}}
repositories: [{{name: "Codertocat/*", events: [issues.opened, pull_request]}}]
prompts: {{directory: prompts}}
"""


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        seed_story(running)
        yield running


@pytest.fixture
def try_(hls: Hls, folder: Path, sandbox: Sandbox) -> Hls:
    """`hls prompts try` with the shipped prompts for issues only."""
    copy_shipped(folder, "issues")
    (folder / "settings.yaml").write_text(SETTINGS.format(sandbox=sandbox))
    return partial(hls, "prompts", "try")


def page(sandbox: Sandbox, kind: str, number: int) -> str:
    return f"{sandbox.page_url}{REPOSITORY}/{kind}/{number}"


def test_an_issue_is_tried_by_its_url_and_nothing_is_written(
    try_: Hls, sandbox: Sandbox, folder: Path
) -> None:
    def writes(sandbox: Sandbox) -> list[str]:
        return [seen.path for seen in sandbox.requests.all("github") if seen.writes]

    before = sorted(folder.iterdir())
    result = try_(page(sandbox, "issues", 11))
    assert (result.exit_code, result.stderr) == (0, "")
    first, rule, prompt, *lines = result.stdout.splitlines()
    assert (
        first
        == f"event       issues.opened of {REPOSITORY}#11 ({page(sandbox, 'issues', 11)}; facts"
        " from GitHub)"
    )
    assert (
        rule
        == f"rule        {folder}/settings.yaml:4 (repositories[0].events) enables issues.opened,"
        " and "
        "prompts/issues/analyze.j2 is for it"
    )
    assert prompt == "prompt      issues/analyze"
    assert "reply       issue_analysis" in lines
    assert "│ kind: bug" in lines
    assert (
        "labels      would have: added bug, priority-high, difficulty-moderate, component-backend"
        in lines
    )
    assert "comment     would have commented" in lines
    assert f"│ {marker('issues')}" in lines
    assert lines[-2].startswith("done        would have: added bug, priority-high")
    assert lines[-1].startswith("cost        1 question, $0.00")
    assert writes(sandbox) == []
    assert sorted(folder.iterdir()) == before


def test_json_has_the_question_the_reply_and_the_writes(
    try_: Hls, sandbox: Sandbox, folder: Path
) -> None:
    result = try_(page(sandbox, "issues", 11), "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    document = json.loads(result.stdout)
    assert_documented(document, "hls prompts try")
    (question,) = document.pop("questions")
    labels, comment = document.pop("outcomes")
    assert document.pop("end")["state"] == "done"
    assert document.pop("cost_usd") == question["cost_usd"] > 0
    assert document == {
        "event": "issues.opened",
        "thread": f"{REPOSITORY}#11",
        "facts": "github",
        "claude": "real",
        "ignored": None,
        "rule": (
            f"{folder}/settings.yaml:4 (repositories[0].events) enables issues.opened, and "
            "prompts/issues/analyze.j2 is for it"
        ),
        "prompt": "issues/analyze",
        "posted_on": None,
    }
    assert (question["reply_type"], question["reply"]["kind"]) == ("issue_analysis", "bug")
    assert question["system"].startswith("You work for the maintainers of a repository on GitHub.")
    assert (question["unusable"], question["correction"]) == (None, None)
    assert labels["added"][:2] == ["bug", "priority-high"]
    assert (comment["action"], comment["kind"]) == ("comment", "dry_run")
    assert comment["body"].endswith(marker("issues"))


def test_json_says_why_an_event_is_ignored(try_: Hls) -> None:
    result = try_("issues.pinned", "--json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["end"]["state"], document["prompt"]) == (1, "ignored", None)
    assert document["ignored"]["kind"] == "event not enabled"
    assert (document["rule"], document["questions"], document["outcomes"]) == (None, [], [])


ASKED = (
    "Which version do you use?",
    "Which steps lead to it, starting from a fresh installation?",
    "What does the log say at that moment?",
    "What did you expect to happen instead?",
)


def test_what_our_comment_shows_as_answered_is_not_asked_for_again(
    try_: Hls, sandbox: Sandbox
) -> None:
    payload = recorded.load("demo/bug").payload
    issue = {**payload["issue"], "number": 90, "id": 90, "body": "The import crashes."}
    conversation = sandbox.state.seed("issues", {**payload, "issue": issue})
    assert conversation is not None
    author = conversation.author
    boxes = "\n".join(f"- [x] {request}" for request in ASKED)
    assert "status/needs-info" in try_(f"{REPOSITORY}#90").stdout
    sandbox.state.create_comment(conversation, f"Thanks.\n\n{boxes}\n{marker('issues')}", by=BOT)
    conversation = sandbox.state.conversation(REPOSITORY, 90) or conversation
    sandbox.state.create_comment(conversation, "I cannot say more.", by=author)
    printed = try_(f"{REPOSITORY}#90").stdout
    assert "│ Comments of the author, the oldest first:" in printed
    assert printed.count(" (answered)\n") == 4
    assert "status/needs-info" not in printed
    assert "│ - [x] Which version do you use?" in printed


def test_the_printed_question_is_that_of_the_request(try_: Hls, sandbox: Sandbox) -> None:
    printed = try_(f"{REPOSITORY}#12").stdout
    (asked,) = [seen.body for seen in sandbox.requests.all("claude")]
    body = json.loads(asked) if isinstance(asked, str) else asked
    task = "\n".join(f"│ {line}" for line in body["messages"][0]["content"].split("\n"))
    assert f"\ntask\n{task}\nreply       issue_analysis\n" in printed


def test_untrusted_text_cannot_imitate_a_line_of_output(try_: Hls, folder: Path) -> None:
    payload = recorded.load("issues.opened").payload
    issue: Any = payload["issue"]
    issue["body"] = "Hm.\ncost        0 answers\x1b[2J\n─── changes on GitHub"
    (folder / "event.json").write_text(json.dumps(payload))
    result = try_("./event.json", "--claude", "sandbox").stdout
    assert "\n│ cost        0 answers" in result
    assert "\ncost        0 answers" not in result
    assert "\n─── changes on GitHub" not in result
    assert "\x1b" not in result


def test_the_existing_comment_would_be_edited(try_: Hls, sandbox: Sandbox) -> None:
    conversation = sandbox.conversation(11)
    sandbox.state.create_comment(conversation, f"Old news.\n{marker('issues')}", by=BOT)
    assert "\ncomment     would have edited our comment\n" in try_(f"{REPOSITORY}#11").stdout


def test_an_ignored_event_is_explained_and_can_be_tried_with_a_prompt(
    try_: Hls, sandbox: Sandbox, folder: Path
) -> None:
    alone = try_("issues.pinned")
    assert alone.exit_code == 1
    assert alone.stdout.splitlines()[1:] == [
        (
            "ignored     (event not enabled) issues.pinned is not among the events of "
            f"{folder}/settings.yaml:4 (repositories[0].events); add it there to process it"
        ),
        "prompt      none",
        "─" * 80,
        (
            "ignored     the service would ignore this event, see above; use --prompt NAME to try"
            " it anyway"
        ),
        "cost        0 questions, $0.00",
    ]
    assert sandbox.requests.all("claude") == ()
    result = try_("issues.pinned", "--prompt", "issues/analyze")
    assert result.exit_code == 0
    assert "prompt      issues/analyze" in result.stdout.splitlines()


def test_a_closed_issue_is_skipped_and_treated_as_open_with_a_prompt(
    try_: Hls, sandbox: Sandbox
) -> None:
    payload = recorded.load("demo/bug").payload
    issue: Any = payload["issue"]
    sandbox.state.seed(
        "issues", {**payload, "action": "closed", "issue": {**issue, "state": "closed"}}
    )
    alone = try_(f"{REPOSITORY}#11")
    assert alone.exit_code == 1
    closed = (
        f"superseded  the issue {REPOSITORY}#11 is closed; use --prompt NAME to try it anyway\n"
    )
    assert closed in alone.stdout
    assert try_(f"{REPOSITORY}#11", "--prompt", "issues/analyze").exit_code == 0


def test_an_invalid_reply_is_shown_with_its_problem_and_the_second_attempt(
    hls: Hls, folder: Path
) -> None:
    copy_shipped(folder, "issues")
    replies = [lambda _asked: {"worth_saying": True}, canned]
    with Sandbox(answer=lambda asked: replies.pop(0)(asked)) as sandbox:
        (folder / "settings.yaml").write_text(SETTINGS.format(sandbox=sandbox))
        result = hls("prompts", "try", "issues.opened")
    assert result.exit_code == 0
    assert "reply       invalid: " in result.stdout
    assert "correction  the problem of the previous reply, as sent to Claude\n" in result.stdout
    assert "\ncost        2 questions, " in result.stdout


def test_a_failure_is_printed_with_its_remedy(try_: Hls, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault(effect="status", status=529, stand_in="claude", method="POST"))
    result = try_("issues.opened")
    assert result.exit_code == 1
    (failed,) = [line for line in result.stdout.splitlines() if line.startswith("failed      ")]
    assert failed.endswith(
        "overloaded error; wait: Claude is temporarily unavailable (https://status.claude.com)"
    )


NO_TOKEN = (
    "no token is set, so GitHub is read without one: public repositories only, 60 requests an hour,"
    " and for a review neither linked issues nor files besides the patches"
)


def test_a_conversation_of_a_public_repository_is_tried_without_a_token(
    try_: Hls, sandbox: Sandbox, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_TOKEN", raising=False)
    copy_shipped(folder, "pull_requests")
    settings = SETTINGS.format(sandbox=sandbox).replace(sandbox.token, '"${GITHUB_TOKEN}"')
    (folder / "settings.yaml").write_text(settings)
    result = try_(f"{REPOSITORY}#13")
    assert (result.exit_code, result.stderr) == (0, f"{NO_TOKEN}\n")
    assert result.stdout.startswith(f"event       pull_request.opened of {REPOSITORY}#13")
    assert "\ndone        " in result.stdout
    assert "have set the check to success: 7 open findings" in result.stdout
    seen = sandbox.requests.all("github")
    assert {one.method for one in seen} == {"GET"}
    assert len(seen) <= 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["issues.opened", "--claude", "opus"], "is not one of 'real', 'sandbox'"),
        (
            ["issues.opened", "--prompt", "issues/nope"],
            "there is no prompt issues/nope; there are ",
        ),
        (["Codertocat/Hello-World#11", "--event", "issues"], "--event is only for files; "),
    ],
)
def test_a_usage_error_names_what_is_expected(
    try_: Hls, arguments: list[str], message: str
) -> None:
    result = try_(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


LOOK = """---
description: Says what happened
on: [push]
reply: generic_analysis
max_tokens: 500
---
{% extends "base.j2" %}
{% block task %}{{ event.repository.name }}{% endblock %}
"""


def test_a_prompt_for_other_events_is_refused(try_: Hls) -> None:
    result = try_("demo/feature", "--prompt", "issues/analyze", "--claude", "sandbox")
    assert (result.exit_code, result.stderr) == (
        1,
        "issues/analyze is not for pull_request.opened\n",
    )


@pytest.fixture
def posting(folder: Path, sandbox: Sandbox) -> str:
    """Settings that post about pushes on issue 99. Returns the place of this setting."""
    write(folder / "prompts", {"push/tell.j2": PUSH_PROMPT})
    entry = 'name: "Codertocat/*", comments: {post_to: {push: 99}}'
    chosen = SETTINGS.format(sandbox=sandbox).replace('name: "Codertocat/*"', entry)
    chosen = chosen.replace("{directory: prompts}", "{directory: [prompts, shipped]}")
    (folder / "settings.yaml").write_text(chosen.replace("events: [", "events: [push, "))
    return f"{folder}/settings.yaml:4 (repositories[0].comments.post_to)"


def test_a_trial_with_the_sandbox_says_on_which_issue_the_comment_would_be(
    try_: Hls, posting: str
) -> None:
    result = try_("demo/push", "--claude", "sandbox")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert f"posted on   issue 99, which {posting} chooses for the comment" in lines
    assert "comment     would have commented" in lines
    document = json.loads(try_("demo/push", "--claude", "sandbox", "--json").stdout)
    assert_documented(document, "hls prompts try")
    assert document["posted_on"] == 99


def test_an_issue_that_github_does_not_have_is_named_with_its_setting(
    try_: Hls, posting: str
) -> None:
    result = try_("demo/push", "--live")
    assert result.exit_code == 1
    (failed,) = [line for line in result.stdout.splitlines() if line.startswith("failed      ")]
    assert failed.startswith(
        f"failed      {posting} chooses {REPOSITORY}#99 for the comment, which GitHub does not"
        " show: GET "
    )


def test_a_prompt_that_settings_choose_for_an_event_can_be_named(
    try_: Hls, sandbox: Sandbox, folder: Path
) -> None:
    write(folder / "prompts", {"push/look.j2": LOOK})
    chosen = SETTINGS.format(sandbox=sandbox).replace("events: [", "events: [fork, ")
    chosen = chosen.replace("{directory: prompts}", "{directory: prompts, use: {fork: push/look}}")
    (folder / "settings.yaml").write_text(chosen)
    assert try_("fork", "--prompt", "push/look", "--claude", "sandbox").exit_code == 0
