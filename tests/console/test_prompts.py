"""The pages about prompts, and unsaved edits."""

from __future__ import annotations

import json
import threading
from html import unescape
from pathlib import Path

import pytest

from hls_handler.analysis import IssueAnalysis, UnusableReply, Usage
from hls_handler.deliveries import Checkpoint, Lease
from hls_handler.engine.library import FACTS, load_checked
from hls_handler.errors import DependencyDown
from hls_handler.handlers import handler_for
from hls_handler.prompting import recorded
from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.storage import Storage
from tests.console.browser import KEY, Browser
from tests.engine.fakes import FakeClaude
from tests.queue.builders import begin, start_call
from tests.web.fakes import Response, settings

EVIL = "</textarea></pre><script>alert(1)</script><img src=x onerror=alert(2)>"
FRONT = """---
description: A small prompt
on: [issues.opened]
reply: issue_analysis
max_tokens: 500
---
{% extends "base.j2" %}
"""
TEMPLATE = FRONT + "{% block task %}\nTitle: {{ issue.title }}\n{% endblock %}\n"
PAGE, EDIT, REPLY = "/prompts/issues/analyze", "/prompts/issues/analyze/edit", "/prompts/issues/analyze/reply"
GOOD = IssueAnalysis.model_validate(
    {
        "worth_saying": True,
        "kind": "bug",
        "priority": "high",
        "difficulty": "easy",
        "component": "none",
        "field_confidence": None,
        "summary": EVIL,
        "missing": [],
        "recommended_response": "",
        "suggested_labels": [],
        "sources": [],
        "same_as": None,
    }
)


def with_task(text: str) -> str:
    return TEMPLATE.replace("Title:", f"{text} Title:")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "prompts"
    (folder / "issues").mkdir(parents=True)
    (folder / "issues/analyze.j2").write_text(TEMPLATE, encoding="utf-8")
    return folder


@pytest.fixture
def author(browser: Browser, library: Path) -> Browser:
    """A browser that is signed in at a service with a library of one prompt."""
    browser.sections["prompts"] = {"directory": (str(library),)}
    browser.sections["repositories"] = ({"name": "owner/repo"}, {"name": "octo/widgets"})
    browser.apply(api_key=KEY)
    given = settings(**browser.sections)
    browser.prompts = ReloadingLibrary(lambda: load_checked(given), library)
    browser.sign_in()
    return browser


def store_delivery(store: Storage, guid: str, *, title: str = "Crash", body: str = "issues.opened") -> Lease:
    """Store a finished delivery with the facts of the recorded event."""
    payload = recorded.load(body).payload
    payload["issue"]["title"] = title
    facts = json.loads((FACTS / "issues.json").read_bytes())["issues.edited"]
    facts["issue"]["title"] = title
    lease = begin(store, guid, body=json.dumps({**payload, "delivery": guid}).encode())
    version = handler_for("issues").facts_version
    store.checkpoints.save(lease, Checkpoint("gather", 0, version, json.dumps(facts)))
    return lease


def finish(store: Storage, lease: Lease) -> None:
    store.queue.finish(lease, "done", reason=None, took_s=1)


def edit(browser: Browser, text: str, path: str = EDIT, **form: str) -> Response:
    return browser.submit(PAGE, path, **{"file": "issues/analyze.j2", **form, "text": text.replace("\n", "\r\n")})


def hidden(page: str, name: str) -> str:
    return page.partition(f'name="{name}" value="')[2].partition('"')[0]


def send(browser: Browser, text: str, page: Response, **form: str) -> Response:
    """Press "Send to Claude" on the page of a rendered edit, perhaps after changing the text."""
    return edit(browser, text, REPLY, once=hidden(page.body.decode(), "once"), **form)


def test_library_shows_use_cost_and_failures_of_each_version(author: Browser, store: Storage) -> None:
    assert author.prompts is not None
    prompt_id = author.prompts.latest.prompts["issues/analyze"].id
    lease = begin(store, "g1")
    for used, outcome, cost in ((prompt_id, "ok", 0.25), ("issues/analyze@000000", "invalid", 0.5)):
        call = start_call(store, lease, used)
        error = None if outcome == "ok" else "Claude: <b>invalid</b>"
        store.calls.end(lease, call, outcome=outcome, usage=Usage("claude-haiku-5-5", cost_usd=cost), error=error)
    page = author.get("/prompts").body.decode()
    assert f'<a href="/prompts/issues/analyze">issues/analyze</a><br><span class="quiet">@{prompt_id[-6:]}' in page
    assert 'data-label="Cost" class="cost">0.250000 USD</td>' in page
    assert 'data-label="Cost">0.500000 USD</td>' in page
    assert "Claude: &lt;b&gt;invalid&lt;/b&gt;" in page
    versions = author.get(PAGE).body.decode().partition("Versions</h2>")[2]
    assert f"<code>{prompt_id}</code> (in use)" in versions
    assert '<code>issues/analyze@000000</code></td><td role="cell" data-label="Replies">0</td>' in versions
    assert 'data-label="Failed calls">1 invalid</td>' in versions


def test_problem_of_a_changed_file_is_at_the_top(author: Browser, library: Path) -> None:
    (library / "issues/analyze.j2").write_text(f"{TEMPLATE}{{{{ nosuch }}}}{{% if %}}", encoding="utf-8")
    assert author.prompts is not None
    author.prompts.current()
    page = author.get("/prompts").body.decode()
    assert '<p role="alert" class="note">the changed prompts cannot be used, the last valid version stays' in page
    assert "issues/analyze.j2:11: " in page


def test_prompt_is_rendered_with_the_newest_delivery_and_its_text_is_marked(author: Browser, store: Storage) -> None:
    page = author.get(PAGE).body.decode()
    assert "Rendered with the recorded event issues.opened:" in page
    finish(store, store_delivery(store, "g1", title=EVIL))
    finish(store, store_delivery(store, "g2", title="Second"))
    page = author.get(PAGE).body.decode()
    assert 'Rendered with <a href="/deliveries/g2">issues.opened of octo/widgets#' in page
    assert "Title: &lt;untrusted " in page
    assert "&gt;<mark>Second</mark>&lt;/untrusted " in page
    older = author.get(f"{PAGE}?delivery=g1").body.decode()
    assert "<mark>&lt;/textarea&gt;&lt;/pre&gt;&lt;script&gt;alert(1)" in older
    assert "<script>" not in older
    assert "<img" not in older


def test_edit_is_rendered_with_diff_and_cost_and_changes_no_file(author: Browser, library: Path) -> None:
    page = edit(author, with_task(EVIL)).body.decode()
    assert "--- a/prompts/issues/analyze.j2\n+++ b/prompts/issues/analyze.j2\n" in page
    assert "+&lt;/textarea&gt;&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "Send to Claude for about 0.00" in page
    assert "<script>" not in page
    assert "<img" not in page
    assert hidden(page, "once") != ""
    assert (library / "issues/analyze.j2").read_text(encoding="utf-8") == TEMPLATE
    unchanged = edit(author, TEMPLATE).body.decode()
    assert "The text is that of the file." in unchanged
    base = "{% block system %}{{ sender.login }}{% endblock %}{% block task %}{% endblock %}"
    wrong = edit(author, base, file="base.j2").body.decode()
    assert "<li>/unsaved/base.j2:1: the system block shows text from an event, but it must be the same" in wrong


def test_edit_is_sent_only_after_its_cost_was_shown(author: Browser, store: Storage) -> None:
    finish(store, store_delivery(store, "g1"))
    claude = author.claude = FakeClaude([GOOD])
    assert author.get(REPLY).status == 404
    page = edit(author, with_task("Edited"))
    for changed in (send(author, with_task("Other"), page), send(author, with_task("Edited"), page, most="5")):
        assert changed.status == 409
        assert "has changed since the cost was shown" in changed.body.decode()
    finish(store, store_delivery(store, "g2", title="Newer"))
    assert edit(author, with_task("Edited"), REPLY).status == 200  # renders: no cost was shown
    assert claude.asked == []
    sent = send(author, with_task("Edited"), page)  # with g1, whose cost was shown, not with the newest delivery
    assert (sent.status, sent.headers["location"]) == (303, REPLY)
    reply = wait_for_reply(author)
    assert claude.asked[0].task.startswith("Edited Title: <untrusted ")
    assert "Newer" not in claude.asked[0].task
    assert ": 1 reply, 0.000140 USD." in reply
    assert "<p>Labels: bug, difficulty-easy, priority-high</p>" in reply
    assert "&#34;summary&#34;: &#34;&lt;/textarea&gt;" in reply
    assert "<script>" not in reply
    assert store.calls.prompt_stats() == []


def test_edit_is_not_sent_while_the_hourly_budget_is_used_up(author: Browser, store: Storage) -> None:
    lease = store_delivery(store, "g1")
    given = {"prompt_id": "issues/analyze@1", "model": "m", "requests_per_second": 5.0, "calls_per_hour": 10}
    store.calls.begin(lease, index=0, estimate=None, **given)  # type: ignore[arg-type]
    finish(store, lease)
    author.sections["claude"] = {"calls_per_hour": 1}
    author.apply(api_key=KEY)
    claude = author.claude = FakeClaude([GOOD])
    refused = send(author, TEMPLATE, edit(author, TEMPLATE))
    assert refused.status == 409
    assert "The hourly budget is used up: claude.calls_per_hour allows 1 call." in refused.body.decode()
    assert claude.asked == []


def wait_for_reply(browser: Browser) -> str:
    for thread in threading.enumerate():
        if thread.name == "trial":
            thread.join(10)
    return browser.get(REPLY).body.decode()


def test_errors_of_claude_and_unusable_replies_are_shown(author: Browser) -> None:
    down = DependencyDown("Claude does not answer", dependency="claude", remedy="wait")
    unusable = UnusableReply("", "refused", "kind: wrong", "<b>text</b>", Usage("claude-haiku-5-5"))
    author.claude = FakeClaude([down, unusable])
    prompt_id = author.prompts.latest.prompts["issues/analyze"].id if author.prompts else ""
    for expected in (
        "Claude does not answer; wait",
        f"Claude&#39;s reply to {prompt_id} cannot be used: kind: wrong",
    ):
        assert send(author, TEMPLATE, edit(author, TEMPLATE)).status == 303
        page = wait_for_reply(author)
        assert f'<p role="alert" class="note">{expected}</p>' in page
    assert "&lt;b&gt;text&lt;/b&gt;" in page


def test_one_trial_at_a_time_and_each_form_is_sent_once(author: Browser) -> None:
    may_reply = threading.Event()

    def wait(_: str) -> None:
        assert may_reply.wait(10)  # only a defect makes a test wait this long

    author.claude = FakeClaude([GOOD], on_call=wait)
    page = edit(author, TEMPLATE)
    assert send(author, TEMPLATE, page).status == 303
    waiting = author.get(REPLY).body.decode()
    again, other = send(author, TEMPLATE, page), send(author, TEMPLATE, edit(author, TEMPLATE))
    may_reply.set()
    assert "is running since" in waiting
    assert 'hx-trigger="every 2s"' in waiting
    assert (again.status, again.headers["location"]) == (303, REPLY)
    assert other.status == 409
    assert "Another trial is in progress, of issues/analyze. Wait for its end." in other.body.decode()
    assert "New reply" in wait_for_reply(author)
    assert send(author, TEMPLATE, other).status == 303
    wait_for_reply(author)
    assert send(author, TEMPLATE, page).status == 409  # also after another trial
    assert len(author.claude.asked) == 2


def test_rule_9_only_a_signed_in_operator_may_render_an_unsaved_template(author: Browser, store: Storage) -> None:
    token = hidden(author.get(PAGE).body.decode(), "csrf_token")
    form = {"file": "issues/analyze.j2", "text": TEMPLATE}
    assert author.post(EDIT, form).status == author.post(EDIT, {**form, "csrf_token": "x"}).status == 403
    assert author.post(EDIT, {**form, "csrf_token": token, "file": "../../.env"}).status == 404
    assert author.post(EDIT, {**form, "csrf_token": token, "text": "x" * 262_144}).status == 413
    author.cookie = ""
    assert author.post(EDIT, {**form, "csrf_token": token}).status == 401
    author.apply()  # without server.api_key
    assert author.get(PAGE).status == 200
    assert author.get(EDIT).status == 403
    assert author.submit(PAGE, EDIT, **form).status == author.submit(PAGE, REPLY, **form).status == 403


def test_without_a_key_edits_are_tried_only_if_claude_is_the_sandbox(author: Browser) -> None:
    author.sections["claude"] = {"base_url": "http://127.0.0.1:9"}
    author.apply()
    assert f'<a href="{EDIT}' in author.get(PAGE).body.decode()
    form = {"file": "issues/analyze.j2", "text": TEMPLATE}
    assert author.submit(EDIT, EDIT, **form).status == 200
    assert author.post(EDIT, form).status == 403


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{% include '/etc/passwd' %}", "there is no template '/etc/passwd'"),
        ("{{ issue.__class__.__mro__ }}", "issue has no '__class__'"),
        ("{{ '{0.__class__.__init__.__globals__}'.format(issue) }}", "is unsafe"),
        ("{% for i in range(99999) %}{{ 'x' * 1000 }}{% endfor %}", "outputs more than 4,000,000 characters"),
        ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "the template is nested too deeply"),
    ],
)
def test_rule_9_unsaved_template_is_sandboxed(author: Browser, template: str, problem: str) -> None:
    page = unescape(edit(author, with_task(template)).body.decode())
    assert "<li>/unsaved/issues/analyze.j2:" in page
    assert problem in page
    assert "Send to Claude" not in page


def test_comment_template_is_rendered_with_an_invented_reply(author: Browser, library: Path) -> None:
    (library / "issues/analyze.comment.md.j2").write_text("{{ analysis.summary }}", encoding="utf-8")
    assert author.prompts is not None
    author.prompts.current()
    page = edit(author, "Summary: {{ analysis.summary }}", file="issues/analyze.comment.md.j2").body.decode()
    assert '<pre tabindex="0">Summary: some ' in page
