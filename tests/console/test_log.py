"""The page of the log."""

from __future__ import annotations

import json
import re
from urllib.parse import quote

from tests.console.browser import Browser

EVIL = "</script><img src=x onerror=alert(2)>\u202e"


def add(browser: Browser, message: str, level: str = "INFO", **fields: object) -> None:
    fixed = {"timestamp": "2026-11-20T12:00:00.123Z", "level": level, "logger": "hls_handler.engine"}
    browser.log_ring.add(json.dumps(fixed | {"message": message} | fields))


def shown(browser: Browser, query: str = "") -> list[str]:
    page = browser.get(f"/log{query}").body.decode()
    return re.findall(r'<span class="message">(.*?)</span>', page)


def test_page_lists_the_newest_lines_with_their_fields(browser: Browser) -> None:
    browser.sign_in()
    assert "No line matches these filters." in browser.get("/log").body.decode()
    for number in range(201):
        add(browser, str(number))
    add(browser, "last", "ERROR", delivery="g 1", due=None, took_s=1.5, exception="Traceback\n  x")
    assert shown(browser)[:2] == ["last", "200"]
    assert len(shown(browser)) == 200
    page = browser.get("/log").body.decode()
    assert "These are the newest 200; filters find older ones." in page
    assert "Lines of this process only, since 2026-11-20 12:00:00; it keeps the newest 5,000." in page
    assert '<li class="error"><time>2026-11-20 12:00:00.123</time>' in page
    assert '<span class="name">delivery</span> <a href="/deliveries/g%201">g 1</a>' in page
    assert '<span class="name">took_s</span> <span>1.5</span>' in page
    assert '<span class="name">due' not in page
    assert '<pre tabindex="0">Traceback\n  x</pre>' in page


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
    page = browser.get("/log?level=ERROR&id=x%26y").body.decode()
    assert '<option value="ERROR" selected>ERROR and above</option>' in page
    assert '<div id="log" hx-get="/log?level=ERROR&amp;id=x%26y" hx-trigger="every 3s"' in page
    assert '<a href="/log?level=ERROR&amp;id=x%26y&amp;paused=true">Pause</a>' in page
    assert "DEBUG" not in page  # logging.level is INFO
    paused = browser.get("/log?id=x%26y&paused=true").body.decode()
    assert "hx-get" not in paused
    assert 'Paused. <a href="/log?id=x%26y">Show new lines</a>' in paused
    browser.cookie = ""
    assert browser.get("/log", hx_request="true").headers["hx-refresh"] == "true"


def test_untrusted_text_is_escaped_and_truncated(browser: Browser) -> None:
    browser.sign_in()
    add(browser, EVIL, delivery=EVIL, reason=[EVIL], exception=EVIL)
    add(browser, "x" * 2_001)
    page = browser.get("/log").body.decode()
    assert "x… [1 character cut]" in page
    assert "&lt;/script&gt;&lt;img src=x onerror=alert(2)&gt;\\u202e" in page
    for found in (page, browser.get(f"/log?text={quote(EVIL)}").body.decode()):
        assert "<img" not in found
        assert "\u202e" not in found
