"""The page of the log."""

from __future__ import annotations

import json
import re
from urllib.parse import quote

import pytest

from hls_handler.store.storage import Storage
from tests.console.browser import KEY, Browser

EVIL = "</script><img src=x onerror=alert(2)>\u202e"


def add(browser: Browser, message: str, level: str = "INFO", **fields: object) -> None:
    fixed = {
        "timestamp": "2026-11-20T12:00:00.123Z",
        "level": level,
        "logger": "hls_handler.engine",
    }
    browser.log_ring.add(json.dumps(fixed | {"message": message} | fields))


def shown(browser: Browser, query: str = "") -> list[str]:
    page = browser.get(f"/log{query}").text
    return re.findall(r'<span class="message">(.*?)</span>', page)


def test_page_lists_the_newest_lines_with_their_fields(browser: Browser) -> None:
    browser.sign_in()
    assert "No line matches these filters." in browser.get("/log").text
    for number in range(201):
        add(browser, str(number))
    add(browser, "last", "ERROR", delivery="g 1", due=None, took_s=1.5, exception="Traceback\n  x")
    assert shown(browser)[:2] == ["last", "200"]
    assert len(shown(browser)) == 200
    page = browser.get("/log").text
    assert "These are the newest 200; filters find older ones." in page
    assert (
        "Lines of this process only, since 2026-11-20 12:00:00; it keeps the newest 5,000." in page
    )
    assert '<li class="error"><time>2026-11-20 12:00:00.123</time>' in page
    assert '<span class="name">delivery</span> <a href="/deliveries/g%201">g 1</a>' in page
    assert '<span class="name">took_s</span> <span>1.5</span>' in page
    assert '<span class="name">due' not in page
    assert '<pre tabindex="0">Traceback\n  x</pre>' in page


@pytest.mark.parametrize("decision", ["pong", "rejected"])
def test_webhook_that_is_not_stored_has_no_link(browser: Browser, decision: str) -> None:
    browser.sign_in()
    add(browser, "webhook received", decision=decision, delivery="g-1")
    assert '<span class="name">delivery</span> <span>g-1</span>' in browser.get("/log").text


def test_fields_of_filters_are_empty_without_filters(browser: Browser) -> None:
    browser.sign_in()
    fields = re.findall(r'<label>.* name="(\w+)" value="(.*?)"', browser.get("/log").text)
    assert fields == [("id", ""), ("repository", ""), ("text", "")]


def test_page_with_filters_loads_itself_again_unless_it_is_paused(browser: Browser) -> None:
    browser.sign_in()
    add(browser, "a", "WARNING", delivery="g-1", repository="o/r")
    add(browser, "b", delivery="g-2", request_id="r-2")
    for query, found in (
        ("level=WARNING", ["a"]),
        ("id=g-1", ["a"]),
        ("id=+r-2+", ["b"]),
        ("repository=O%2FR", ["a"]),
        ("text=G-2&level=", ["b"]),
    ):
        assert shown(browser, f"?{query}") == found
    page = browser.get("/log?level=ERROR&id=x%26y").text
    assert '<option value="ERROR" selected>ERROR and above</option>' in page
    assert '<div id="log" hx-get="/log?level=ERROR&amp;id=x%26y" hx-trigger="every 3s"' in page
    assert '<a href="/log?level=ERROR&amp;id=x%26y&amp;paused=true">Pause</a>' in page
    assert "DEBUG" not in page  # logging.level is INFO
    paused = browser.get("/log?id=x%26y&paused=true").text
    assert "every 3s" not in paused
    assert 'Paused. <a href="/log?id=x%26y">Show new lines</a>' in paused
    browser.cookie = ""
    assert browser.get("/log", hx_request="true").headers["hx-refresh"] == "true"


def test_untrusted_text_is_escaped_and_truncated(browser: Browser) -> None:
    browser.sign_in()
    add(browser, EVIL, delivery=EVIL, reason=[EVIL], exception=EVIL)
    add(browser, "x" * 2_001)
    page = browser.get("/log").text
    assert "x… [1 character cut]" in page
    assert "&lt;/script&gt;&lt;img src=x onerror=alert(2)&gt;\\u202e" in page
    for found in (page, browser.get(f"/log?text={quote(EVIL)}").text):
        assert "<img" not in found
        assert "\u202e" not in found


def stream(browser: Browser, query: str = "", **headers: str) -> tuple[list[str], str]:
    """Return the messages of the events of a stream that ends at once, and its last id."""
    browser.console.stop()
    response = browser.get(f"/log/events{query}", **headers)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["x-accel-buffering"] == "no"
    lines = response.text.splitlines()
    events = [
        json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")
    ]
    ids = [line.removeprefix("id: ") for line in lines if line.startswith("id: ")]
    return [event["message"] for event in events], ids[-1]


def test_stream_continues_after_the_last_event(browser: Browser) -> None:
    browser.sign_in()
    for number in range(201):
        add(browser, str(number), delivery="g-1" if number == 7 else "g-2")
    first, last = stream(browser)
    assert (first[0], first[-1], len(first)) == ("1", "200", 200)
    assert stream(browser, last_event_id=last) == ([], last)
    for number in range(300):
        add(browser, f"later {number}")
    later, end = stream(browser, last_event_id=last)
    assert (later[0], later[-1], len(later)) == ("later 0", "later 299", 300)
    assert stream(browser, "?id=g-1") == (["7"], end)


def test_stream_after_a_restart_begins_with_the_first_line_of_the_process(
    browser: Browser, store: Storage
) -> None:
    browser.sign_in()
    for number in range(300):
        add(browser, str(number))
    _, last = stream(browser)
    after = Browser(store, api_key=KEY)
    after.sign_in()
    for number in range(250):
        add(after, f"new {number}")
    for known in (last, f"{last}0", "x-1", f"{last.partition('-')[0]}-{'9' * 400}"):
        found, _ = stream(after, last_event_id=known)
        assert (found[0], found[-1], len(found)) == ("new 0", "new 249", 250)


def test_stream_follows_lines_that_are_gone_from_memory(browser: Browser) -> None:
    browser.sign_in()
    add(browser, "old")
    _, last = stream(browser)
    for number in range(5_003):
        add(browser, str(number))
    found, _ = stream(browser, last_event_id=last)
    assert (found[0], found[-1], len(found)) == ("3", "5002", 5_000)


def test_stream_needs_a_sign_in_and_rejects_unknown_filters(browser: Browser) -> None:
    assert browser.get("/log/events").status == 303
    browser.sign_in()
    assert browser.get("/log/events?level=LOUD").status == 400
