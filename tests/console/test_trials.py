"""Trials of prompts and of unsaved edits: the cost first, one at a time in the background, and
nothing is changed.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from html import unescape
from pathlib import Path

import pytest

from hls_handler.analysis import IssueAnalysis, UnusableReply, Usage
from hls_handler.deliveries import End
from hls_handler.errors import DependencyDown
from hls_handler.prompting import recorded
from hls_handler.storage import Storage
from tests.console.browser import KEY, Browser
from tests.console.prompt_author import (
    EDIT,
    PAGE,
    TEMPLATE,
    author,
    edit,
    hidden,
    library,
    prompts_folder,
    send,
    store_delivery,
    wait_for_trial,
    with_task,
)
from tests.console.rerun_world import RerunBrowser, run
from tests.engine.conftest import make_world
from tests.engine.fakes import FakeClaude
from tests.engine.test_run_prompts import make_review_world
from tests.engine.world import BUG, GUID, MakeWorld, World
from tests.handlers.world import finding, pull_request_analysis
from tests.queue.builders import begin, start_call

__all__ = ["author", "library", "make_world", "prompts_folder"]

EVIL = "</textarea></pre><script>alert(1)</script><img src=x onerror=alert(2)>"
GOOD = BUG.model_copy(update={"summary": EVIL})
DRY_RUN = f"/deliveries/{GUID}/dry-run"
HIGH = BUG.model_copy(update={"priority": "high"})


@pytest.fixture
def stored(author: Browser, store: Storage) -> Browser:
    """The author, with a stored delivery."""
    store_delivery(store, "g1")
    return author


# --- what is shown before anything is sent
# ---------------------------------------------------------------------------


def test_prompt_is_rendered_with_the_newest_delivery_and_its_text_is_marked(
    author: Browser, store: Storage
) -> None:
    assert "no suitable delivery of its events is stored" in author.get(EDIT).body.decode()
    store_delivery(store, "g1", title=EVIL)
    store_delivery(store, "g2", title="Second")
    page = author.get(EDIT).body.decode()
    assert '<li><a href="/deliveries/g2">octo/widgets#' in page
    assert re.findall(r'<option value="(g\d)">octo/widgets#\d+ issues.opened<', page) == [
        "g2",
        "g1",
    ]
    assert "<option selected>nosuch</option>" in author.get(f"{EDIT}?delivery=nosuch").body.decode()
    assert "Title: &lt;untrusted " in page
    assert "&gt;<mark>Second</mark>&lt;/untrusted " in page
    older = author.get(f"{EDIT}?delivery=g1").body.decode()
    assert "<mark>&lt;/textarea&gt;&lt;/pre&gt;&lt;script&gt;alert(1)" in older
    assert "<script>" not in older
    assert "<img" not in older
    assert (
        "there is no delivery nosuch, or it was deleted"
        in author.get(f"{EDIT}?delivery=nosuch").body.decode()
    )


def test_edit_is_rendered_with_diff_and_cost_and_changes_no_file(
    stored: Browser, library: Path
) -> None:
    page = edit(stored, with_task(EVIL)).body.decode()
    assert "--- a/prompts/issues/analyze.j2\n+++ b/prompts/issues/analyze.j2\n" in page
    assert "+&lt;/textarea&gt;&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert re.search(r"Send to Claude for about \$0\.00\d+, at most \$0\.0\d+<", page)
    assert "<script>" not in page
    assert "<img" not in page
    assert (library / "issues/analyze.j2").read_text(encoding="utf-8") == TEMPLATE
    base = "{% block system %}{{ sender.login }}{% endblock %}{% block task %}{% endblock %}"
    wrong = edit(stored, base, file="base.j2").body.decode()
    assert (
        "<li>/unsaved/base.j2:1: the system block shows text from an event, but it must be the same"
        in wrong
    )


def test_comment_template_is_rendered_with_an_invented_reply(
    stored: Browser, library: Path
) -> None:
    (library / "issues/analyze.comment.md.j2").write_text(
        "{{ analysis.summary }}", encoding="utf-8"
    )
    assert stored.prompts is not None
    stored.prompts.current()
    page = edit(
        stored, "Summary: {{ analysis.summary }}", file="issues/analyze.comment.md.j2"
    ).body.decode()
    assert '<pre tabindex="0">Summary: some ' in page


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{% include '/etc/passwd' %}", "there is no template '/etc/passwd'"),
        ("{{ issue.__class__.__mro__ }}", "issue has no '__class__'"),
    ],
)
def test_rule_9_unsaved_template_is_sandboxed(stored: Browser, template: str, problem: str) -> None:
    page = unescape(edit(stored, with_task(template)).body.decode())
    assert "<li>/unsaved/issues/analyze.j2:" in page
    assert problem in page
    assert "Send to Claude" not in page


def test_rule_9_only_a_signed_in_operator_may_render_an_unsaved_template(stored: Browser) -> None:
    token = hidden(stored.get(EDIT), "csrf_token")
    form = {"file": "issues/analyze.j2", "text": with_task("Edited")}
    assert (
        stored.post(EDIT, form).status
        == stored.post(EDIT, {**form, "csrf_token": "x"}).status
        == 403
    )
    assert stored.post(EDIT, {**form, "csrf_token": token, "file": "../../.env"}).status == 404
    assert stored.post(EDIT, {**form, "csrf_token": token, "text": "x" * 262_144}).status == 413
    stored.cookie = ""
    assert stored.post(EDIT, {**form, "csrf_token": token}).status == 401
    stored.apply()  # without server.api_key
    assert "<textarea" not in stored.get(EDIT).body.decode()
    assert (
        stored.submit(EDIT, EDIT, **form).status
        == stored.submit(EDIT, EDIT, send="x", **form).status
        == 403
    )
    assert stored.submit(EDIT, EDIT, **{**form, "text": TEMPLATE}).status == 200
    stored.sections["claude"] = {"base_url": "http://127.0.0.1:9"}
    stored.apply()  # also Claude is the sandbox
    assert stored.submit(EDIT, EDIT, **form).status == 200


def test_dry_run_is_a_trial_of_the_prompt_that_was_asked(make_world: MakeWorld) -> None:
    world = run(make_world, BUG)
    browser = RerunBrowser(world)
    response = browser.get(DRY_RUN)
    assert (response.status, response.headers["location"]) == (303, f"{EDIT}?delivery={GUID}")
    assert browser.get("/deliveries/unknown/dry-run").status == 404
    world.advance(3600)
    world.store.retention.delete_bodies(after=timedelta(minutes=1), most=20)
    assert f"{GUID}: its event is not stored" in browser.text(f"{EDIT}?delivery={GUID}")


# --- what is sent
# -----------------------------------------------------------------------------


def test_only_questions_whose_cost_was_shown_are_sent(stored: Browser, store: Storage) -> None:
    claude = stored.claude = FakeClaude([GOOD])
    page = edit(stored, with_task("Edited"))
    changed = send(stored, with_task("Other"), page)
    assert (changed.status, b"has changed since the cost was shown" in changed.body) == (409, True)
    store_delivery(store, "g2", title="Newer")
    assert claude.asked == []
    # with g1, whose cost was shown, not with the newest delivery
    sent = send(stored, with_task("Edited"), page)
    assert (sent.status, sent.headers["location"]) == (303, EDIT)
    reply = wait_for_trial(stored)
    assert claude.asked[0].task.startswith("Edited Title: <untrusted ")
    assert "Newer" not in claude.asked[0].task
    assert ": 1 reply, $0.00014." in reply
    assert "bug, difficulty-easy, priority-low</td>" in reply
    assert "summary: &lt;/textarea&gt;" in reply
    assert "Edited Title:" in reply.partition("<textarea")[2]
    assert "<script>" not in reply
    assert store.calls.prompt_stats() == []


def test_deliveries_without_a_question_do_not_hide_older_ones(
    stored: Browser, store: Storage
) -> None:
    for number in range(20):  # as of workflow runs that passed
        store.queue.finish(
            begin(store, f"n{number}", body=b"%d" % number), End("done", "nothing to ask"), took_s=1
        )
    assert '<a href="/deliveries/g1">' in stored.get(EDIT).body.decode()


def test_result_counts_deliveries_that_failed_and_those_that_could_not_be_rendered(
    stored: Browser, store: Storage
) -> None:
    store_delivery(store, "g2", title="Typo")
    store_delivery(store, "g3")
    unusable = UnusableReply("", "refused", "kind: wrong", "text", Usage("claude-haiku-5-5"))
    stored.claude = FakeClaude([GOOD, unusable])
    text = with_task('{% if issue.title == "Typo" %}{{ 1 / 0 }}{% endif %}')
    page = edit(stored, text, most="5")
    assert "division by zero" in page.body.decode()
    assert send(stored, text, page, most="5").status == 303
    result = wait_for_trial(stored)
    assert "2 of 3 deliveries have no new result." in result
    assert "division by zero" in result.partition("have no new result")[2]


def test_nothing_is_sent_while_the_hourly_budget_is_used_up(
    stored: Browser, store: Storage
) -> None:
    start_call(store, begin(store, "g2"), "issues/analyze@1")
    stored.sections["claude"] = {"calls_per_hour": 1}
    stored.apply(api_key=KEY)
    claude = stored.claude = FakeClaude([GOOD])
    refused = send(stored, TEMPLATE, edit(stored, TEMPLATE))
    assert refused.status == 409
    assert (
        "The hourly budget is used up: claude.calls_per_hour allows 1 call."
        in refused.body.decode()
    )
    assert claude.asked == []


def test_errors_of_claude_unusable_replies_and_defects_are_shown(stored: Browser) -> None:
    down = DependencyDown("Claude does not answer", dependency="claude", remedy="wait")
    unusable = UnusableReply("", "refused", "kind: wrong", "<b>text</b>", Usage("claude-haiku-5-5"))
    stored.claude = FakeClaude([down, unusable])
    for expected in ("Claude does not answer; wait", "cannot be used: kind: wrong"):
        assert send(stored, TEMPLATE, edit(stored, TEMPLATE)).status == 303
        page = wait_for_trial(stored)
        assert re.search(f'data-label="No new result">[^<]*{expected}<', page)
    assert "&lt;b&gt;text&lt;/b&gt;" in page
    stored.claude = FakeClaude([GOOD], on_call=lambda _: 1 / 0)  # type: ignore[arg-type]
    send(stored, TEMPLATE, edit(stored, TEMPLATE))
    assert "A defect in HLS, please report it: ZeroDivisionError" in wait_for_trial(stored)


def test_both_requests_of_a_double_click_lead_to_the_trial(stored: Browser) -> None:
    may_reply, both_sent = threading.Event(), threading.Barrier(2)

    def wait(_: str) -> None:
        assert may_reply.wait(10)  # only a defect makes a test wait this long

    stored.claude = FakeClaude([GOOD], on_call=wait)
    page = edit(stored, TEMPLATE)

    def click() -> int:
        both_sent.wait()
        return send(stored, TEMPLATE, page).status

    with ThreadPoolExecutor() as clicks:
        statuses = [one.result() for one in [clicks.submit(click) for _ in range(2)]]
    may_reply.set()
    assert statuses == [303, 303]
    assert ": 1 reply, " in wait_for_trial(stored)


def test_one_trial_at_a_time_and_a_stop_ends_it_before_the_next_call(
    stored: Browser, store: Storage, library: Path
) -> None:
    (library / "issues/other.j2").write_text(
        TEMPLATE.replace("issues.opened", "issues.edited"), encoding="utf-8"
    )
    assert stored.prompts is not None
    stored.prompts.current()
    store_delivery(store, "g2")
    may_reply, asking = threading.Event(), threading.Event()

    def wait(_: str) -> None:
        asking.set()
        assert may_reply.wait(10)  # only a defect makes a test wait this long

    claude = stored.claude = FakeClaude([GOOD], on_call=wait)
    page = edit(stored, TEMPLATE, most="5")
    assert send(stored, TEMPLATE, page, most="5").status == 303
    assert asking.wait(10)
    waiting = stored.get(EDIT).body.decode()
    assert " began <time " in waiting
    assert 'hx-trigger="every 2s"' in waiting
    assert send(stored, TEMPLATE, page, most="5").status == 303  # a double click
    path = "/prompts/issues/other/edit"
    other = stored.get(f"{path}?delivery=g1")
    refused = stored.submit(path, path, deliveries="g1", send=hidden(other, "send"))
    assert (
        refused.status,
        b"Another trial is in progress, of issues/analyze." in refused.body,
    ) == (409, True)
    stored.console.stop()
    may_reply.set()
    ended = wait_for_trial(stored)
    assert ": 1 reply, $0.00014." in ended
    assert "The service was stopped." in ended
    assert len(claude.asked) == 1


# --- what is compared
# -----------------------------------------------------------------------------


def correct(world: World, number: int, label: str, instead: str) -> None:
    """A person replaces a label of an issue."""
    world.advance(1)
    payload = json.loads(recorded.load("issues.unlabeled").body)
    payload["issue"] |= {
        "number": number,
        "labels": [{"name": one} for one in ("bug", "difficulty-easy", instead)],
    }
    payload |= {"action": "unlabeled", "label": {"name": label}}
    body = json.dumps(payload).encode()
    world.accept(
        "issues.unlabeled", guid=f"corrected-{number}", action="unlabeled", number=number, body=body
    )
    world.finish()


def test_new_results_are_compared_with_the_posted_and_with_the_labels_that_people_left(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hls_handler.console")
    world = make_world(BUG)
    for number in (1, 2):
        body = json.loads(recorded.load("issues.opened").body)
        body["issue"] |= {"number": number, "labels": []}
        world.github.issues[number] = world.github.issues[1]
        world.accept(guid=f"issue-{number}", number=number, body=json.dumps(body).encode())
        world.finish()
    author = RerunBrowser(world, HIGH)
    assert "People have corrected no label that this prompt asked for." in author.text(PAGE)
    correct(world, 1, "priority-low", "priority-high")
    assert "priority-low priority-high" in author.text(PAGE).partition("Corrections by people")[2]
    requests, steps = list(world.github.calls), world.store.checkpoints.load("issue-1")
    page = author.get(f"{EDIT}?most=5")
    assert re.findall(r'<li><a href="/deliveries/([^"]+)"', page.body.decode()) == [
        "issue-1",
        "issue-2",
    ]
    assert "These are 2 questions, about 2 deliveries." in page.body.decode()
    form = {"send": hidden(page, "send"), "deliveries": hidden(page, "deliveries")}
    assert author.submit(EDIT, EDIT, most="5", **form).status == 303
    wait_for_trial(author)
    text = author.text(EDIT)
    assert (
        "The new wording fixed 1, broke 1 of 2 ; the chance that equal wordings differ as much is"
        " 100.0% (exact two-sided sign test of the 2 fixed or broken)." in text
    )
    assert "priority 1 of 2 1 of 2 1 1" in text
    assert "People corrected 1 of 2 deliveries, and these come first" in text
    first, second = text.partition(" Left by people Result ")[2].split(
        "issues.opened Codertocat/Hello-World"
    )[1:3]
    assert "priority-low priority-high priority-high fixed" in first
    assert "done: added bug, priority-low, difficulty-easy; commented issues/analyze@" in first
    assert "-priority: low +priority: high" in first
    assert "priority-low priority-high priority-low broken" in second
    assert [(one.message, vars(one)["calls"], vars(one)["cost_usd"]) for one in caplog.records] == [
        ("trial ended", 2, 0.00028)
    ]
    assert world.github.calls == requests
    assert world.store.checkpoints.load("issue-1") == steps
    assert len(world.store.calls.calls_of("issue-1")) == 1


class WithRegression(IssueAnalysis):
    regression: bool = True


def test_label_of_a_field_that_only_the_new_wording_has_is_listed_and_not_judged(
    make_world: MakeWorld,
) -> None:
    world = run(make_world, BUG)
    author = RerunBrowser(world, WithRegression(**BUG.model_dump()))
    text = world.prompts.sources["issues/analyze"].template.text.replace(
        "reply: issue_analysis\n",
        "reply: issue_analysis\nfields:\n  regression: {type: boolean}\n"
        "labels:\n  regression: regression\n",
    )
    assert send(author, text, edit(author, text)).status == 303
    wait_for_trial(author)
    result = author.text(EDIT).partition("Try it again")[0]
    assert "The new wording fixed 0, broke 0 of 1 ; no delivery was fixed or broken." in result
    assert "regression: only the new wording has it, not judged; set on 1 of 1" in result
    assert "1: the same labels" in result
    assert "People corrected 0 of 1 deliveries." in result
    assert "none regression none same" in result


def test_trial_of_a_review_keeps_to_its_limit(make_world: MakeWorld) -> None:
    found = pull_request_analysis(
        findings=[finding(path="a.py", line=1, quote="b", confidence=0.6)]
    )
    # a call may cost 0.05, and costs 0.00014
    world = make_review_world(make_world, found, max_usd=0.05013)
    world.finish()
    browser, path = RerunBrowser(world, found), "/prompts/pull_requests/analyze/edit"
    page = browser.get(path)
    assert "(review.max_usd) limits the cost of each delivery to $0.050." in page.body.decode()
    form = {"send": hidden(page, "send"), "deliveries": hidden(page, "deliveries")}
    assert browser.submit(path, path, **form).status == 303
    wait_for_trial(browser, path)
    assert (
        "not posted; findings not verified: the next call to Claude may cost $0.050, the"
        " calls so far have cost $0.00014, and settings (review.max_usd) allows"
        " $0.050" in browser.text(path)
    )
    assert len(browser.client.asked) == 1
