"""The documentation as pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.console.browser import KEY, Browser

DOCS = Path(__file__).parent.parent.parent / "docs"


def test_start_page_links_to_each_page_of_the_documentation(browser: Browser) -> None:
    start = browser.get("/").body.decode()
    linked = re.findall(r'<li><a href="/docs/([^"]+)">', start)
    assert linked == sorted(path.name for path in DOCS.glob("*.md"))
    assert '<a href="/docs/running.md">Run HLS</a>' in start
    assert {browser.get(f"/docs/{name}").status for name in linked} == {200}


def test_page_needs_no_key_and_has_the_frame_of_the_console(browser: Browser) -> None:
    page = browser.get("/docs/comments.md").body.decode()
    assert "<title>What HLS writes, and why · HLS</title>" in page
    assert '<h1 id="what-hls-writes-and-why">What HLS writes, and why</h1>' in page
    assert "<td>on an issue</td>" in page
    assert '<a href="/sign-in">Sign in</a>' in page
    signed_in = browser.get("/docs/comments.md", x_api_key=KEY).body.decode()
    assert '<nav class="tabs" aria-label="Pages">\n<a href="/">Overview</a>' in signed_in
    assert '<a href="/docs/running.md" aria-current="true">Documentation</a>' in signed_in


def test_each_link_leads_to_a_page_and_a_heading(browser: Browser) -> None:
    shown = {
        path.name: browser.get(f"/docs/{path.name}").body.decode() for path in DOCS.glob("*.md")
    }
    pages = {
        name: page.partition("<article")[2].partition("</article>")[0]
        for name, page in shown.items()
    }
    links = {
        (name, link) for name, page in pages.items() for link in re.findall(r'href="([^"]+)"', page)
    }
    assert ("comments.md", "repository-file.md") in links
    for name, link in links:
        target, _, anchor = link.partition("#")
        if not link.startswith("https://"):
            assert not anchor or f'id="{anchor}"' in pages[target or name], (name, link)


@pytest.mark.parametrize("name", ["unknown.md", "..%2fREADME.md", "adr/0001-store-and-queue.md"])
def test_other_files_are_404(browser: Browser, name: str) -> None:
    assert browser.get(f"/docs/{name}").status == 404
