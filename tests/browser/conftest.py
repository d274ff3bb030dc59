"""Fixtures: Chromium, and pages that report what their Content-Security-Policy blocked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.system_programs import find_chromium

# npm package axe-core 4.14.1
AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text(encoding="utf-8")
LISTENER = """
window.blocked = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.blocked.push(`${event.violatedDirective} ${event.blockedURI}`));
"""

WIDE = """
(() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  const wide = [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > width);
  return wide.slice(-1).map((one) => `wider than the window: ${one.outerHTML.slice(0, 200)}`);
})()
"""

OpenPage = Callable[..., Page]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Chromium. Playwright leaves an event loop running in this thread, so other modules may not
    use it meanwhile.
    """
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium())
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[OpenPage]:
    """Return a function that opens a page of a new browser profile. At the end, no page had an
    error.
    """
    opened: list[Page] = []
    errors: list[str] = []

    def open_page(*, width: int = 1280, dark: bool = False, javascript: bool = True) -> Page:
        context = chromium.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            java_script_enabled=javascript,
        )
        context.add_init_script(LISTENER)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "console",
            lambda message: (
                errors.append(message.text) if "Security Policy" in message.text else None
            ),
        )
        opened.append(page)
        return page

    yield open_page
    for page in opened:
        page.context.close()
    assert errors == []


def find_obstacles(page: Page) -> list[str]:
    """Return what axe-core finds on the page, what its policy blocked, and whether it is wider than
    the window.
    """
    found = page.evaluate(f"{AXE}; axe.run().then((result) => result.violations)")
    obstacles = [f"{one['id']}: {one['nodes'][0]['html']}" for one in found]
    obstacles += page.evaluate("window.blocked")
    return [*obstacles, *page.evaluate(WIDE)]
