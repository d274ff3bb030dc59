"""The page of the log in Chromium: new lines appear without loading it again."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect

from hls_handler.storage import Storage
from hls_handler.web.server import listen, make_server
from tests.browser.conftest import OpenPage, find_obstacles
from tests.browser.test_pages import SCRIPT
from tests.console.browser import Browser
from tests.web.fakes import settings


@contextmanager
def serving(browser: Browser) -> Iterator[str]:
    given = settings(server={"port": 0})
    bound = listen(given)
    server = make_server(browser.app, lambda: given)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        browser.console.stop()
        server.should_exit = True
        thread.join()


def add(browser: Browser, message: str, *, level: str = "ERROR", **fields: object) -> None:
    fixed = {"timestamp": "2026-11-20T12:00:00.123Z", "level": level, "logger": "work", "message": message}
    browser.log_ring.add(json.dumps(fixed | fields))


def messages(page: Page) -> list[str]:
    return page.locator("#lines li .message, #lines .gap").all_inner_texts()


def test_new_lines_appear_and_can_be_paused(open_page: OpenPage, tmp_path: Path) -> None:
    with closing(Storage.open(f"sqlite:///{tmp_path}/hls.db")) as store:
        browser = Browser(store)
        with serving(browser) as address:
            add(browser, "first")
            page = open_page(width=375)
            page.goto(f"{address}/log?level=ERROR")
            expect(page.get_by_role("status")).to_have_text("New lines appear at the top.")
            add(browser, f"second {SCRIPT}", delivery="g/1", reason=SCRIPT, exception=f"Trace\n{SCRIPT}")
            add(browser, "filtered", level="INFO")
            expect(page.locator("#lines li").first).to_contain_text("second <img")
            assert messages(page) == [f"second {SCRIPT}", "first"]
            row = page.locator("#lines li").first
            assert row.get_by_role("link", name="g/1").get_attribute("href") == "/deliveries/g%2F1"
            made = "".join(row.inner_html().split())
            row.get_by_text("Stack trace").click()
            assert row.locator("pre").inner_text() == f"Trace\n{SCRIPT}"
            assert find_obstacles(page) == []
            page.get_by_role("button", name="Pause").click()
            expect(page.get_by_role("status")).to_have_text("Paused.")
            for number in range(1_005):
                add(browser, str(number))
            assert messages(page)[0] == f"second {SCRIPT}"
            page.get_by_role("button", name="Continue").click()
            expect(page.locator("#lines li").first).to_contain_text("1004")
            add(browser, "last")
            expect(page.locator("#lines li").first).to_contain_text("last")
            assert (page.locator("#lines li").count(), messages(page).count("1004")) == (1_000, 1)
            page.goto(f"{address}/log?text=second")
            assert "".join(page.locator("#lines li").inner_html().split()) == made  # the server makes the same elements


def set_hidden(page: Page, *, hidden: bool) -> None:
    """Tell the page that its tab was hidden or shown. Headless Chromium shows all tabs."""
    page.evaluate(f"Object.defineProperty(document, 'hidden', {{value: {json.dumps(hidden)}, configurable: true}})")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def test_hidden_tab_keeps_no_connection_and_loses_no_line(open_page: OpenPage, tmp_path: Path) -> None:
    with closing(Storage.open(f"sqlite:///{tmp_path}/hls.db")) as store:
        browser = Browser(store)
        with serving(browser) as address:
            add(browser, "first")
            page = open_page()
            page.goto(f"{address}/log")
            expect(page.get_by_role("status")).to_have_text("New lines appear at the top.")
            with page.expect_event("requestfailed", lambda request: "/log/events" in request.url, timeout=5_000):
                set_hidden(page, hidden=True)  # six connections to a host are open at most, for all tabs together
            add(browser, "while hidden")
            set_hidden(page, hidden=False)
            expect(page.locator("#lines li").first).to_contain_text("while hidden")
            assert messages(page) == ["while hidden", "first"]
            page.get_by_role("button", name="Pause").click()
            set_hidden(page, hidden=True)
            set_hidden(page, hidden=False)
            expect(page.get_by_role("status")).to_have_text("Paused.")
