"""Web pages of issues, pull requests, runs and releases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hls_handler.prompting import recorded
from hls_handler.sandbox.objects import Account
from hls_handler.sandbox.server import Sandbox
from tests.sandbox.conftest import REPOSITORY, Answer, ask, seed_story

EVIL = '"><script>alert(1)</script>'
MONA = Account("mona", 3, "User")


class Clock:
    """A clock that changes only when a test sets it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 20, 9, 5, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sandbox(clock: Clock) -> Iterator[Sandbox]:
    with Sandbox(clock=clock) as running:
        yield running


def page(sandbox: Sandbox, path: str) -> Answer:
    return ask(sandbox.page_url, "GET", path)


def test_every_page_says_that_answers_are_canned(sandbox: Sandbox) -> None:
    seed_story(sandbox)
    for path in ("/", f"/{REPOSITORY}/issues/11"):
        assert "HLS sandbox: canned answers, not Claude</title>" in page(sandbox, path).text


def test_an_empty_sandbox_says_how_to_send_something(sandbox: Sandbox) -> None:
    assert "hls send demo/bug" in page(sandbox, "/").text


def test_the_index_lists_issues_and_pull_requests_with_labels(sandbox: Sandbox) -> None:
    seed_story(sandbox)
    conversation = sandbox.state.conversation(REPOSITORY, 13)
    assert conversation is not None
    sandbox.state.add_labels(conversation, ("bug",))
    text = page(sandbox, "/").text
    assert f'href="/{REPOSITORY}/issues/11"' in text
    assert f'href="/{REPOSITORY}/pull/13"' in text
    assert '<span class="label" data-color="d73a4a">bug</span>' in text
    assert "0 comments" in text


def test_a_page_shows_comment_edits_and_label_events(sandbox: Sandbox, clock: Clock) -> None:
    seed_story(sandbox)
    conversation = sandbox.state.conversation(REPOSITORY, 11)
    assert conversation is not None
    sandbox.state.add_labels(conversation, ("bug", "question"))
    made = sandbox.state.create_comment(conversation, "It is **this**.\n<!-- hls:issues -->")
    clock.now += timedelta(minutes=5)
    made = sandbox.state.edit_comment(conversation, made, "It is **that**.")
    sandbox.state.edit_comment(conversation, made, "It is **something else**.")
    sandbox.state.remove_label(conversation, "question", by=MONA)
    text = page(sandbox, f"/{REPOSITORY}/issues/11").text
    assert "<p>It is <strong>something else</strong>.</p>" in text
    assert "edited 2 times" in text
    assert "<p>It is <strong>this</strong>.</p>" in text
    assert "Until 20 Nov 2026, 09:10 UTC" in text
    assert "hls:issues" not in text
    assert f'id="issuecomment-{made.id}"' in text
    assert text.count('<strong>hls-bot</strong> <span class="bot">bot</span> added') == 1
    assert "<strong>mona</strong> removed" in text


def test_label_changes_at_different_times_are_separate_entries(sandbox: Sandbox, clock: Clock) -> None:
    seed_story(sandbox)
    conversation = sandbox.state.conversation(REPOSITORY, 11)
    assert conversation is not None
    sandbox.state.add_labels(conversation, ("bug", "question"))
    clock.now += timedelta(minutes=2)
    sandbox.state.add_labels(conversation, ("invalid",))
    assert page(sandbox, f"/{REPOSITORY}/issues/11").text.count("bot</span> added") == 2


def test_a_pull_request_shows_its_head_and_files(sandbox: Sandbox) -> None:
    seed_story(sandbox, "demo/feature", "demo/feature-push", "demo/feature-retitled")
    text = page(sandbox, f"/{REPOSITORY}/pull/13").text
    assert "wants to merge 4 commits into <code>master</code> from <code>octocat:discount-codes</code>" in text
    assert "<code>shop/money.py</code>" in text
    assert "renamed from shop/price_utils.py" in text
    assert '<span class="hunk">@@ -0,0 +1,9 @@</span>' in text
    assert "No patch: binary" in text
    assert "changed the title, which was <code>Add discount codes to the checkout</code>" in text
    assert "pushed <code>d7a6e5f</code>" in text


def test_a_review_is_shown_with_its_comments_their_files_and_lines(sandbox: Sandbox) -> None:
    seed_story(sandbox, "demo/feature", "demo/feature-push", "demo/review", "demo/review-approved")
    text = page(sandbox, f"/{REPOSITORY}/pull/13").text
    asked = text.index('<span class="quiet">requested changes at 20 Nov 2026, 09:05 UTC</span>')
    assert text.index("pushed <code>d7a6e5f</code>") < asked < text.index("approved these changes at")
    assert 'id="pullrequestreview-2304417713"' in text
    assert "<p>One wish for the whole: please add tests for codes that have expired" in text
    assert '<code>shop/checkout.py</code> <span class="quiet">removed line 32</span>' in text
    assert '<span class="minus">-    if cart.owner.is_blocked:</span></code></pre>' in text
    assert '<code>shop/discounts.py</code> <span class="quiet">line 36</span>' in text
    assert "It must be <code>for code in codes:</code>" in text
    assert '<code>web/cart.js</code> <span class="quiet">line 12</span>' in text


def test_a_dismissed_review_shows_who_dismissed_it(sandbox: Sandbox) -> None:
    seed_story(sandbox, "pull_request_review.submitted")
    assert '<span class="quiet">reviewed at' in page(sandbox, f"/{REPOSITORY}/pull/2").text
    seed_story(sandbox, "pull_request_review.dismissed")
    text = page(sandbox, f"/{REPOSITORY}/pull/2").text
    assert "left a review, which was dismissed, at" in text
    assert "<strong>Codertocat</strong> dismissed a review" in text


def test_a_comment_on_a_whole_file_says_so(sandbox: Sandbox) -> None:
    one = recorded.load("pull_request_review_comment.created")
    payload: dict[str, Any] = one.payload
    sandbox.state.seed(one.event, {**payload, "comment": {**payload["comment"], "diff_hunk": ""}})
    text = page(sandbox, f"/{REPOSITORY}/pull/2").text
    assert '<code>README.md</code> <span class="quiet">the whole file</span>' in text


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({"state": "closed"}, "closed"),
        ({"state": "closed", "merged": True}, "merged"),
        ({"draft": True}, "draft"),
        ({}, "open"),
    ],
)
def test_a_pull_request_shows_its_state(sandbox: Sandbox, change: dict[str, Any], shown: str) -> None:
    payload: dict[str, Any] = recorded.load("demo/feature").payload
    sandbox.state.seed("pull_request", {**payload, "pull_request": {**payload["pull_request"], **change}})
    assert f'<span class="state {shown}">{shown}</span>' in page(sandbox, f"/{REPOSITORY}/pull/13").text


def test_an_issue_url_of_a_pull_request_is_redirected(sandbox: Sandbox) -> None:
    seed_story(sandbox)
    answer = page(sandbox, f"/{REPOSITORY}/issues/13")
    assert (answer.status, answer.headers["location"]) == (307, f"/{REPOSITORY}/pull/13")


def test_deleted_and_unknown_conversations_are_404(sandbox: Sandbox) -> None:
    seed_story(sandbox, "issues.opened", "issues.deleted")
    assert page(sandbox, f"/{REPOSITORY}/issues/1").status == 404
    assert page(sandbox, f"/{REPOSITORY}/issues/99").status == 404
    assert "Spelling error" not in page(sandbox, "/").text


def test_untrusted_text_is_escaped(sandbox: Sandbox) -> None:
    payload: dict[str, Any] = recorded.load("demo/feature").payload
    who = {**payload["sender"], "login": EVIL}
    pull = {**payload["pull_request"], "title": EVIL, "body": EVIL, "user": who}
    pull["labels"] = [{"name": EVIL, "color": EVIL}]
    pull["head"] = {**pull["head"], "label": EVIL, "sha": EVIL}
    files = [
        {"filename": EVIL, "status": EVIL, "additions": 1, "deletions": 1, "patch": EVIL, "previous_filename": EVIL}
    ]
    sandbox.state.seed("pull_request", {**payload, "pull_request": pull, "sender": who}, files=files)
    conversation = sandbox.state.conversation(REPOSITORY, 13)
    assert conversation is not None
    sandbox.state.edit_comment(conversation, sandbox.state.create_comment(conversation, EVIL), EVIL * 2)
    paths = ("/", f"/{REPOSITORY}/pull/13", "/_sandbox/pages.css")
    for path in paths:
        assert "<script>" not in page(sandbox, path).text
    changed = {**payload, "action": "edited", "sender": who, "pull_request": {**pull, "title": "new"}}
    sandbox.state.seed("pull_request", changed)
    for path in paths:
        assert "<script>" not in page(sandbox, path).text


def test_untrusted_text_of_reviews_is_escaped(sandbox: Sandbox) -> None:
    payload: dict[str, Any] = recorded.load("demo/review").payload
    who = {**payload["sender"], "login": EVIL}
    review = {"id": 5, "user": who, "state": EVIL, "body": EVIL, "commit_id": EVIL}
    sandbox.state.seed("pull_request_review", {**payload, "review": review})
    comment = {"id": 6, "pull_request_review_id": 5, "side": EVIL, "path": EVIL, "body": EVIL, "diff_hunk": EVIL}
    sandbox.state.seed("pull_request_review_comment", {**payload, "comment": comment})
    text = page(sandbox, f"/{REPOSITORY}/pull/13").text
    assert "alert(1)" in text
    assert "<script>" not in text


def test_pages_load_only_their_style_sheet(sandbox: Sandbox) -> None:
    answer = page(sandbox, "/")
    assert answer.headers["content-security-policy"] == (
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "style=" not in answer.text


def test_the_style_sheet_has_a_rule_with_readable_text_for_each_colour(sandbox: Sandbox) -> None:
    seed_story(sandbox)
    sandbox.state.create_label(REPOSITORY, "odd", "};evil", None)
    style = page(sandbox, "/_sandbox/pages.css")
    assert style.headers["content-type"].startswith("text/css")
    assert '.label[data-color="d73a4a"] { --tint: #d73a4a; --ink: #ffffff }' in style.text
    assert '.label[data-color="ffffff"] { --tint: #ffffff; --ink: #1f2328 }' in style.text
    assert "evil" not in style.text


# --- runs and releases -----------------------------------------------------------------------------------------------

RUN = f"/{REPOSITORY}/actions/runs/19041222731"


def test_the_index_lists_runs_and_releases(sandbox: Sandbox) -> None:
    seed_story(sandbox, "demo/tests-failed", "demo/tests-passed", "demo/release")
    text = page(sandbox, "/").text
    assert "hls send demo/bug" not in text
    assert f'<a class="title" href="{RUN}">Add discount codes to the checkout</a>' in text
    assert "Tests #412, attempt 2 · Codertocat/Hello-World" in text
    assert '<span class="state success">success</span>' in text
    assert "<code>octocat:discount-codes</code>" in text
    assert f'<a class="title" href="/{REPOSITORY}/releases/tag/v4.3.0">4.3.0</a>' in text
    assert '<span class="state pre-release">pre-release</span>' in text


def test_a_run_shows_its_attempts_jobs_steps_and_logs(sandbox: Sandbox) -> None:
    seed_story(sandbox, "demo/tests-failed", "demo/tests-passed")
    text = page(sandbox, RUN).text
    assert text.index("Attempt 2") < text.index("Attempt 1")
    assert '<span class="state failure">failure</span> Run tests' in text
    assert "AssertionError: assert Decimal(&#39;200&#39;) == Decimal(&#39;180&#39;)" in text
    assert "\x1b" not in text
    assert "36;1m" not in text
    assert 'id="job-54110020701"' in text


def test_a_job_is_shown_on_the_page_of_its_run(sandbox: Sandbox) -> None:
    seed_story(sandbox, "demo/tests-failed")
    answer = page(sandbox, f"{RUN}/job/54110020701")
    assert (answer.status, answer.headers["location"]) == (307, f"{RUN}#job-54110020701")


def test_a_missing_log_is_explained_and_a_long_one_truncated(sandbox: Sandbox) -> None:
    seed_story(sandbox, "demo/tests-failed")
    sandbox.state.set_log(REPOSITORY, 54110020701, None)
    sandbox.state.set_log(REPOSITORY, 54110020702, "begin" + "x" * 100_000 + "end")
    text = page(sandbox, RUN).text
    assert "No log: it has expired, or the job has not ended." in text
    assert "(its end)" in text
    assert "begin" not in text
    assert "xend</code>" in text


def test_a_release_shows_its_text(sandbox: Sandbox) -> None:
    seed_story(sandbox, "demo/release")
    text = page(sandbox, f"/{REPOSITORY}/releases/tag/v4.3.0").text
    assert "<li>Add discount codes to cart and checkout by @octocat in #13</li>" in text
    assert "<em>No description provided.</em>" in page(sandbox, f"/{REPOSITORY}/releases/tag/v4.3.0-rc.1").text


@pytest.mark.parametrize("path", ["/actions/runs/5", "/releases/tag/v9"])
def test_unknown_runs_and_releases_are_404(sandbox: Sandbox, path: str) -> None:
    assert page(sandbox, f"/{REPOSITORY}{path}").status == 404


def test_untrusted_text_of_runs_and_releases_is_escaped(sandbox: Sandbox) -> None:
    for name, part in (("demo/tests-failed", "workflow_run"), ("demo/release", "release")):
        one = recorded.load(name)
        payload: Any = one.payload
        evil = {
            "name": EVIL,
            "display_title": EVIL,
            "head_branch": EVIL,
            "body": EVIL,
            "event": EVIL,
            "tag_name": "v1/x#",
        }
        sandbox.state.seed(one.event, {**payload, part: {**payload[part], **evil, "conclusion": "x" + EVIL}})
    sandbox.state.set_log(REPOSITORY, 1904122273101, EVIL)
    for path in ("/", RUN, f"/{REPOSITORY}/releases/tag/v1/x%23"):
        answer = page(sandbox, path)
        assert answer.status == 200
        assert "<script" not in answer.text
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")


HEAD, EARLIER_HEAD, BASE = (
    "d7a6e5f7fd70fc6d19584fbe682e1590fbeae450",
    "18415b19a3c86b781ea9027b3367f3630b7aa675",
    "755d7a41942446a30937c968b371b29da8af7dfa",
)


@pytest.mark.parametrize(
    ("commit", "line"),
    [
        (HEAD, '<span class="plus" id="L27">  27 +    for code in codes:</span>'),
        (EARLIER_HEAD, '<span class="plus" id="L22">'),
        (BASE, '<span class="minus" id="L32">  32 -    if cart.owner.is_blocked:</span>'),
    ],
    ids=["head", "earlier head", "base"],
)
def test_a_permalink_leads_to_the_numbered_lines_of_the_patch(sandbox: Sandbox, commit: str, line: str) -> None:
    seed_story(sandbox, "demo/feature", "demo/feature-push")
    answer = page(sandbox, f"/{REPOSITORY}/blob/{commit}/shop/checkout.py?plain=1")
    assert answer.status == 200
    assert line in answer.text
    assert answer.text.count("<details") == 1


def test_a_commit_page_shows_the_patches_of_the_pull_request(sandbox: Sandbox) -> None:
    seed_story(sandbox, "demo/feature")
    text = page(sandbox, f"/{REPOSITORY}/commit/{EARLIER_HEAD}").text
    assert f'<a href="/{REPOSITORY}/pull/13">pull request #13</a>' in text
    assert "<code>shop/checkout.py</code>" in text
    assert "<code>web/cart.js</code>" in text


def test_a_page_of_a_file_without_a_patch_says_why(sandbox: Sandbox) -> None:
    seed_story(sandbox, "demo/feature")
    text = page(sandbox, f"/{REPOSITORY}/blob/{EARLIER_HEAD}/{EVIL}.py").text
    assert "it has none of this file at commit <code>18415b1</code>." in text
    assert "<script>" not in text
    assert page(sandbox, "/nobody/nothing/commit/abc").status == 404


def test_code_in_a_patch_is_escaped(sandbox: Sandbox) -> None:
    payload: dict[str, Any] = recorded.load("demo/feature").payload
    file = {"filename": "a.py", "status": "added", "additions": 1, "deletions": 0, "patch": f"@@ -0,0 +1 @@\n+{EVIL}"}
    sandbox.state.seed("pull_request", payload, files=[file])
    text = page(sandbox, f"/{REPOSITORY}/blob/{EARLIER_HEAD}/a.py").text
    assert 'id="L1">   1 +&quot;&gt;&lt;script&gt;alert(1)' in text
    assert "<script>" not in text
