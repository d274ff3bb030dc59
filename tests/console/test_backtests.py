"""The pages with the results of backtests."""

from __future__ import annotations

from pathlib import Path

import pytest

from hls_handler.reports.backtests import save_document
from tests.backtest.documents import make_document
from tests.console.browser import KEY, Browser


@pytest.fixture
def folder(browser: Browser, tmp_path: Path) -> Path:
    """The folder of backtests; the browser is signed in."""
    browser.sections["storage"] = {"url": f"sqlite:///{tmp_path}/hls.db"}
    browser.apply(api_key=KEY)
    browser.sign_in()
    folder = tmp_path / "backtests"
    folder.mkdir()
    return folder


def test_list_without_results_names_the_command(browser: Browser, folder: Path) -> None:
    assert "<code>hls backtest OWNER/REPO</code>" in browser.get("/backtests").body.decode()


def test_result_has_shares_with_intervals_and_what_to_paste(browser: Browser, folder: Path) -> None:
    save_document(folder / "octo-widgets-1.json", make_document(label="<b>bug</b>"))
    assert (
        'href="/backtests/octo-widgets-1">octo/widgets</a>'
        in browser.get("/backtests").body.decode()
    )
    page = browser.get("/backtests/octo-widgets-1").body.decode()
    assert "Right in 78% (61% to 89%) of 40 labelled issues" in page
    assert "<strong>Promote</strong> (planned size, after 40 issues)" in page
    assert "&lt;b&gt;bug&lt;/b&gt;" in page
    assert "bug: &#39;type: bug&#39;" in page


@pytest.mark.parametrize("name", ["none", "..%2f..%2fhls", "broken"])
def test_name_without_a_result_is_not_found(browser: Browser, folder: Path, name: str) -> None:
    (folder / "broken.json").write_text("{")
    assert browser.get(f"/backtests/{name}").status == 404


@pytest.mark.parametrize("content", ["[]", '{"repository": "octo/widgets"}', "["])
def test_document_of_another_version_is_not_listed(
    browser: Browser, folder: Path, content: str
) -> None:
    save_document(folder / "octo-widgets-1.json", make_document())
    (folder / "other.json").write_text(content)
    (folder / "deleted.json").symlink_to(folder / "none")
    page = browser.get("/backtests")
    assert page.status == 200
    assert b"octo-widgets-1" in page.body
    assert browser.get("/backtests/other").status == 404
