"""The page of one delivery: steps, actions, what was read, replies and log lines."""

from __future__ import annotations

import json
from datetime import timedelta
from urllib.parse import urlencode

import pytest

from hls_handler.deliveries import Checkpoint, End
from hls_handler.storage import Storage
from tests.console.browser import Browser
from tests.console.test_console import EVIL
from tests.queue.builders import accept, begin, ignored, queued, start_call
from tests.store.test_calls import USAGE


@pytest.fixture
def browser(store: Storage) -> Browser:
    return Browser(store)


def page_of(browser: Browser, guid: str = "g1") -> str:
    response = browser.get(f"/deliveries/{guid}")
    assert response.status == 200
    return response.body.decode()


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
    reply = {
        "prompt_id": "issues/respond@3f9c2a",
        "reply_type": "issue_response",
        "reply": {"worth_saying": True, "certain": True, "answer": evil.get("answer", "Yes.")},
        "usage": {"model": "claude-haiku-5-5"},
    }
    call = start_call(store, lease, "issues/respond@3f9c2a")
    store.calls.end(lease, call, outcome="ok", usage=USAGE, error=None)
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
        Checkpoint("ask", 0, 1, json.dumps(reply)),
        Checkpoint("post", 0, 2, json.dumps(outcome), 1.0, began + timedelta(seconds=3), 2),
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
    assert '<p class="title">Crash</p>' in page
    assert "<dt>Sender</dt><dd>mona</dd>" in page
    assert [
        part.partition("</strong>")[0] for part in page.split('<td role="cell"><strong>')[1:5]
    ] == [
        "Route",
        "Read from GitHub",
        "Ask Claude",
        "Post",
    ]
    assert '<td role="cell" data-label="Duration">1.00 s</td>' in page
    assert '<td role="cell" data-label="Requests to GitHub">3</td>' in page
    assert '<td role="cell" data-label="Tokens in">170</td>' in page
    assert '<td role="cell" data-label="Cost" class="num">$0.012</td>' in page
    assert "All attempts sent 6 requests to GitHub" in page
    link = (
        '<a href="https://github.com/octo/widgets/issues/7#issuecomment-1"'
        ' rel="noreferrer">commented</a>'
    )
    assert page.count(link) == 2  # at the step, and at the action
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
    browser.log_ring.add(
        json.dumps(
            {
                "timestamp": "2026-11-20T12:00:00.123Z",
                "level": "INFO",
                "logger": "hls_handler.x",
                "message": EVIL,
            }
            | {"delivery": "g1", "reason": EVIL}
        )
    )
    page, listed = page_of(browser), browser.get("/deliveries").body.decode()
    assert page.count("&lt;script&gt;alert(1)") == 9
    assert listed.count("&lt;script&gt;alert(1)") == 3
    searched = browser.get(
        "/deliveries?" + urlencode({"text": EVIL, "repository": EVIL})
    ).body.decode()
    for found in (page, listed, searched):
        assert "<script>alert" not in found
        assert "<img" not in found
        assert "\u202e" not in found
    assert "javascript:alert(1)" in page
    assert 'href="javascript' not in page


def test_log_lines_of_the_delivery_are_shown_or_where_to_find_them(
    browser: Browser, store: Storage
) -> None:
    accept(store, ignored("g1"))
    assert "<code>journalctl -u hls -o cat | grep g1</code>" in page_of(browser)
    for guid in ("g1", "other"):
        line = {
            "timestamp": "2026-11-20T12:00:00.123Z",
            "level": "INFO",
            "logger": "hls_handler.web.receiver",
        }
        browser.log_ring.add(json.dumps(line | {"message": f"received {guid}", "delivery": guid}))
    forged = {"message": "by a stranger", "request_id": "g1"}
    browser.log_ring.add(json.dumps(line | forged))
    page = page_of(browser)
    assert "by a stranger" not in page
    assert "received g1" in page
    assert "received other" not in page
    assert 'href="/log?id=g1"' in page
    accept(store, queued("g2"))
    assert "here since 2026-11-20T12:00:00.123Z" in page_of(browser, "g2")
