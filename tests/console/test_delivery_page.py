"""The page of one delivery: its cause, steps, facts, what was read, and replies."""

from __future__ import annotations

import html
import json
import re
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest

from hls_handler.deliveries import Checkpoint, End
from hls_handler.engine.codecs import OUTCOME, RULE
from hls_handler.queue.checkpoints import StatusChange
from hls_handler.store.call_rows import StoredReply
from hls_handler.store.storage import Storage
from tests.console.browser import Browser
from tests.console.test_console import EVIL
from tests.queue.builders import accept, begin, ignored, start_call
from tests.settings.files import SMALLEST, load
from tests.store.test_calls import USAGE


@pytest.fixture
def browser(store: Storage) -> Browser:
    return Browser(store)


def page_of(browser: Browser, guid: str = "g1") -> str:
    response = browser.get(f"/deliveries/{guid}")
    assert response.status == 200
    return response.text


PROMPT = "issues/respond@3f9c2a"


def make_reply(answer: str) -> StoredReply:
    fields = {"worth_saying": True, "certain": True, "answer": answer, "sources": []}
    return StoredReply(PROMPT, "issue_response", json.dumps(fields), USAGE)


def store_delivery(store: Storage, **evil: str) -> None:
    """Store a finished delivery; `evil` are texts of strangers: title, sender, body, answer,
    url.
    """
    lease = begin(store, "g1", number=7, title=evil.get("title"), sender=evil.get("sender"))
    began = store.now()
    facts = {
        "issue": {"number": 7, "body": evil.get("body", "It fails.\nAlways.")},
        "labels": ["bug"],
        "ends": [],
    }
    call = start_call(store, lease, PROMPT)
    reply = make_reply(evil.get("answer", "Yes."))
    store.calls.end(lease, call, outcome="ok", usage=USAGE, error=None, reply=reply)
    outcome = {
        "action": "comment",
        "kind": "created",
        "detail": "commented",
        "body": evil.get("answer", "Yes."),
    }
    outcome["url"] = evil.get("url", "https://github.com/octo/widgets/issues/7#issuecomment-1")
    store.checkpoints.save(
        lease,
        Checkpoint("gather", 0, 1, json.dumps(facts), 1.0, began, 3),
        Checkpoint(
            "post", 0, OUTCOME.version, json.dumps(outcome), 1.0, began + timedelta(seconds=3), 2
        ),
    )
    store.queue.finish(
        lease, End("done", "commented", posting="done"), took_s=5.0, github_requests=6
    )


def test_page_shows_steps_actions_facts_and_replies(browser: Browser, store: Storage) -> None:
    store_delivery(store, title="Crash", sender="mona")
    page = page_of(browser)
    assert (
        '<a href="http://127.0.0.1:9/octo/widgets/issues/7" rel="noreferrer">octo/widgets#7</a>'
        in page
    )
    assert '<h1>Crash <span class="state done">done</span></h1>' in page
    assert "issues.opened by mona</p>" in page
    assert re.findall(r"<strong>(.*?)</strong>", page) == [
        "Received",
        "Read from GitHub",
        "Ask Claude",
        "Comment",
    ]
    assert '<td role="cell" class="num" data-label="Duration">1.0 s</td>' in page
    assert '<span class="quiet">3 requests to GitHub</span>' in page
    assert "170 tokens in, 20 out, $0.012, claude-haiku-5-5" in page
    assert "<dt>Requests</dt><dd>6 to GitHub</dd>" in page
    link = (
        '<a href="https://github.com/octo/widgets/issues/7#issuecomment-1"'
        ' rel="noreferrer">commented</a>'
    )
    assert page.count(link) == 1
    assert '<details class="fold" open><summary>Comment as written</summary>' in page
    assert "&#34;body&#34;: &#34;It fails.\n    | Always.&#34;\n" in page
    assert "&#34;answer&#34;: &#34;Yes.&#34;" in page


def test_untrusted_texts_are_escaped_in_all_parts(browser: Browser, store: Storage) -> None:
    store_delivery(
        store,
        title=EVIL,
        sender=EVIL,
        body=f"{EVIL}\n{EVIL}",
        answer=EVIL,
        url="javascript:alert(1)",
    )
    page, listed = page_of(browser), browser.get("/deliveries").text
    assert page.count("&lt;script&gt;alert(1)") == 6
    assert listed.count("&lt;script&gt;alert(1)") == 3
    searched = browser.get("/deliveries?" + urlencode({"text": EVIL, "repository": EVIL})).text
    for found in (page, listed, searched):
        assert "<script>alert" not in found
        assert "<img" not in found
        assert "\u202e" not in found
    assert 'href="javascript' not in page


KEY_REJECTED = "Claude answered 401 to issues/analyze@3f9c2a: invalid x-api-key (req_{})"


def fail(store: Storage, guid: str, reason: str = "{}") -> None:
    """Store a delivery that failed twice because of the key."""
    lease = begin(store, guid)
    store.checkpoints.save(lease, RULE.encode("it is enabled"), Checkpoint("gather", 0, 1, "{}"))
    for attempt in (1, 2):
        call = start_call(store, lease, "issues/analyze@3f9c2a")
        error = KEY_REJECTED.format(f"{guid}{attempt}")
        store.calls.end(lease, call, outcome="error", usage=None, error=error)
    failed = {"analysis_status": "failed", "analysis_error": error}
    store.checkpoints.save(lease, StatusChange(failed))
    store.queue.finish(lease, End("dead", reason.format(error)), took_s=1.0)


def test_duration_of_the_work_is_that_of_the_list_beside_the_time_from_the_receipt(
    browser: Browser, store: Storage
) -> None:
    lease = begin(store, "g1")
    step = Checkpoint("gather", 0, 1, "{}", 1.5, store.now(), 1)
    store.checkpoints.save(lease, step)
    store.queue.finish(lease, End("done", "commented"), took_s=350.0)
    assert "<dt>Duration</dt><dd>1.5 s of work, 5.8 min from the receipt</dd>" in page_of(browser)
    listed = browser.get("/deliveries").text
    assert '<td role="cell" class="num" data-label="Duration">1.5 s</td>' in listed


def test_reply_is_shown_once_and_folded(browser: Browser, store: Storage) -> None:
    lease = begin(store, "g1")
    failed = start_call(store, lease, PROMPT)
    store.calls.end(lease, failed, outcome="error", usage=None, error="Claude answered 401")
    call = start_call(store, lease, PROMPT)
    store.calls.end(lease, call, outcome="ok", usage=USAGE, error=None, reply=make_reply("Yes."))
    store.queue.finish(lease, End("done", "commented"), took_s=1.0)
    shown = page_of(browser)
    assert shown.count("Yes.") == 1
    assert shown.lower().count("reply to issues/respond") == 1
    assert (
        '<details class="fold" id="replies"><summary>Reply to issues/respond@3f9c2a</summary>'
        in shown
    )


def test_cause_is_shown_once_and_leads_to_the_others(browser: Browser, store: Storage) -> None:
    fail(store, "g1", "still failing after 72 h, last: {}; set claude.api_key")
    fail(store, "g2", "still failing after 72 h, last: {}; set claude.api_key")
    page = page_of(browser)
    assert page.count("invalid x-api-key") == 1
    assert "<p>Dead: still failing after 72 h, last: Claude answered 401" in page
    assert "(req_g12); set claude.api_key.</p>" in page
    assert page.count('<span class="state failed">failed</span>') == 2
    link = re.findall(r'href="(/deliveries[^"]*)">1 other with the same cause', page)[0]
    assert "Retry these 2" in browser.get(html.unescape(link)).text


def test_page_of_a_discarded_delivery_says_since_when_and_leads_to_the_log(
    browser: Browser, store: Storage
) -> None:
    fail(store, "g1")
    form = {"chosen:g1": "on", "reason": "a duplicate"}
    assert browser.submit("/deliveries/g1", "/deliveries/discard", **form).status == 303
    page = page_of(browser)
    log = '<a href="/log\\?text=g1">log</a>'
    assert re.search(f"Discarded <time .*?</time>. The {log} has the person and the reason.", page)
    assert '<span class="state discarded">discarded</span>' in page
    assert "/deliveries/discard" not in page


def test_paths_are_relative_to_the_settings_file(tmp_path: Path, store: Storage) -> None:
    given = load(
        tmp_path, SMALLEST.replace("github:\n", "github:\n  base_url: http://127.0.0.1:9\n")
    )
    browser = Browser(store)
    browser.use(given)
    fail(store, "g1", f"{tmp_path}/prompts/issues/analyze.j2:3: no such field")
    accept(store, ignored("g2", reason=f"not enabled in {tmp_path}/settings.yaml:9"))
    for guid, shown in (("g1", "Dead: prompts/issues/"), ("g2", "not enabled in settings.yaml:9")):
        page = page_of(browser, guid)
        assert shown in page
        assert str(tmp_path) not in page
    for address in ("/deliveries", "/deliveries?state=dead"):
        listed = browser.get(address).text
        assert "prompts/issues/analyze.j2:3: no such field" in listed
        assert str(tmp_path) not in listed
