"""The documentation as pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.web.fakes import Response, WebSetup, ask, settings

DOCS = Path(__file__).parent.parent.parent / "docs"
KEY = "the-key-of-the-dashboard"


@pytest.fixture
def setup() -> WebSetup:
    return WebSetup(settings(server={"api_key": KEY}))


def show(setup: WebSetup, path: str) -> Response:
    return ask(setup.app(), path, method="GET")


def test_start_page_links_to_each_page_of_the_documentation(setup: WebSetup) -> None:
    linked = re.findall(r'<li><a href="docs/([^"]+)">', show(setup, "/").body.decode())
    assert linked == sorted(path.name for path in DOCS.glob("*.md"))
    assert '<a href="docs/operating.md">Operating HLS</a>' in show(setup, "/").body.decode()
    assert {show(setup, f"/docs/{name}").status for name in linked} == {200}


def test_page_needs_no_key_and_loads_nothing(setup: WebSetup) -> None:
    response = show(setup, "/docs/comments.md")
    page = response.body.decode()
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[\w+/]{43}='; frame-ancestors 'none'",
        response.headers["content-security-policy"],
    )
    assert "<title>What HLS writes, and why · HLS</title>" in page
    assert '<h1 id="what-hls-writes-and-why">What HLS writes, and why</h1>' in page
    assert "<td>on an issue</td>" in page
    assert "src=" not in page


def test_each_link_leads_to_a_page_and_a_heading(setup: WebSetup) -> None:
    pages = {path.name: show(setup, f"/docs/{path.name}").body.decode() for path in DOCS.glob("*.md")}
    links = {(name, link) for name, page in pages.items() for link in re.findall(r'href="([^"]+)"', page)}
    assert ("comments.md", "repository-file.md") in links
    for name, link in links:
        target, _, anchor = link.partition("#")
        if not link.startswith("https://"):
            assert not anchor or f'id="{anchor}"' in pages[target or name], (name, link)


def test_link_into_the_checkout_is_text(setup: WebSetup) -> None:
    assert "](../compose.yaml)" in (DOCS / "operating.md").read_text()
    page = show(setup, "/docs/operating.md").body.decode()
    assert "compose.yaml" in page
    assert "../compose.yaml" not in page


@pytest.mark.parametrize(
    "name", ["unknown.md", "", "..", "..%2fREADME.md", "../README.md", "images", "adr/0001-store-and-queue.md"]
)
def test_other_files_are_404(setup: WebSetup, name: str) -> None:
    assert show(setup, f"/docs/{name}").status == 404
