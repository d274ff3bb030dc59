"""The documentation as pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.console.browser import KEY, Browser

DOCS = Path(__file__).parent.parent.parent / "docs"


def test_index_and_start_page_link_to_each_page_of_the_documentation(browser: Browser) -> None:
    index = browser.get("/docs").text
    linked = re.findall(r'<li><a href="/docs/([^"]+)">', index)
    assert sorted(linked) == sorted(path.name for path in DOCS.glob("*.md"))
    assert re.findall("<h2>(.*)</h2>", index) == ["Set up", "Run", "Prompts", "Reference"]
    assert '<a href="/docs/running.md">Run HLS</a>' in index
    assert {browser.get(f"/docs/{name}").status for name in linked} == {200}
    start = browser.get("/").text
    assert re.findall(r'<li><a href="/docs/([^"]+)">', start) == linked


def test_each_setting_is_a_block_with_its_default(browser: Browser) -> None:
    page = browser.get("/docs/settings.md").text
    shown = re.findall(r'<dl class="key" id="(.*?)">', page)
    rows = re.findall(
        r"^\| `(.+?)` \| .+ \| `.*` \|$", (DOCS / "settings.md").read_text("utf-8"), re.MULTILINE
    )
    assert len(shown) > 100
    assert shown == rows
    assert (
        '<dl class="key" id="server.port"><dt><code>server.port</code>'
        ' <span class="quiet">default <code>8000</code></span></dt>\n'
        "<dd>TCP port; 0 takes a free one and prints it</dd></dl>"
    ) in page
    assert ' <span class="quiet"><code>required</code></span>' in page


def test_contents_lead_to_the_headings_of_a_page(browser: Browser) -> None:
    page = browser.get("/docs/settings.md").text
    assert '<a href="/docs/settings.md#limits">limits</a>' in page
    assert '<h3 id="limits">' in page


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("settings.md?q=Settle_S", ["Settings", "Keys", "limits", "limits.settle_s"]),
        ("settings.md?q=mirror.max", ["Settings", "Keys", "mirror", "mirror.max_mb"]),
        ("cost.md?q=same+question+costs", ["Cost and limits", "The same question costs once"]),
        ("settings.md?q=%3Cb%3E", ["Settings"]),
    ],
)
def test_filter_shows_the_blocks_with_the_text_below_their_headings(
    browser: Browser, address: str, shown: list[str]
) -> None:
    page = browser.get(f"/docs/{address}").text
    assert re.findall(r'<(?:h\d|dl)[^>]* id=".*?">(?:<dt>)?(?:<code>)?(.*?)<', page) == shown
    assert ("Nothing on this page contains “&lt;b&gt;”." in page) == (len(shown) == 1)


def test_page_needs_no_key_and_has_the_frame_of_the_console(browser: Browser) -> None:
    page = browser.get("/docs/comments.md").text
    assert "<title>What HLS writes, and why · HLS</title>" in page
    assert '<h1 id="what-hls-writes-and-why">What HLS writes, and why</h1>' in page
    assert "<td>on an issue</td>" in page
    assert '<a href="/sign-in">Sign in</a>' in page
    signed_in = browser.get("/docs/comments.md", x_api_key=KEY).text
    assert '<nav class="tabs" aria-label="Pages">\n<a href="/">Overview</a>' in signed_in
    assert (
        '<a href="/docs">Documentation</a> · <a href="/docs/http.md#the-api">API</a>' in signed_in
    )


def test_each_link_leads_to_a_page_and_a_heading(browser: Browser) -> None:
    shown = {path.name: browser.get(f"/docs/{path.name}").text for path in DOCS.glob("*.md")}
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
