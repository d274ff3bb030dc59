"""The page of the log in Chromium: new lines appear without loading it again."""

from __future__ import annotations

import json
import threading
from contextlib import closing
from pathlib import Path

from playwright.sync_api import expect

from hls_handler.storage import Storage
from hls_handler.web.server import listen, make_server
from tests.browser.conftest import OpenPage, find_obstacles
from tests.browser.test_pages import SCRIPT
from tests.console.browser import Browser
from tests.web.fakes import settings


def add(browser: Browser, message: str, **fields: object) -> None:
    fixed = {"timestamp": "2026-11-20T12:00:00.123Z", "level": "ERROR", "logger": "work", "message": message}
    browser.log_ring.add(json.dumps(fixed | fields))


def test_new_lines_appear_and_can_be_paused(open_page: OpenPage, tmp_path: Path) -> None:
    with closing(Storage.open(f"sqlite:///{tmp_path}/hls.db")) as store:
        browser, given = Browser(store), settings(server={"port": 0})
        bound = listen(given)
        server = make_server(browser.app, lambda: given)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            add(browser, "first")
            page = open_page(width=375)
            page.goto(f"http://127.0.0.1:{bound.getsockname()[1]}/log?level=ERROR")
            messages = page.locator(".log .message")
            expect(messages).to_have_text(["first"])
            add(browser, f"second {SCRIPT}", delivery="g/1", reason=SCRIPT, exception=f"Trace\n{SCRIPT}")
            expect(messages).to_have_text([f"second {SCRIPT}", "first"], timeout=10_000)
            assert find_obstacles(page) == []
            page.get_by_role("link", name="Pause").click()
            expect(page.get_by_role("link", name="Show new lines")).to_be_visible()
        finally:
            server.should_exit = True
            thread.join()
