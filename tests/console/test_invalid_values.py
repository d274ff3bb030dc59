"""Values that no database stores, and names that no repository has."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.console.browser import KEY, Browser

IMPOSSIBLE = ["octo/wid\0gets", "../widgets", "octo/..", "octo widgets", "octo/widgets/wiki"]
TERMS = {"limit": "50", "max_usd": "1.0"}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_form_with_an_impossible_repository_is_400(browser: Browser, name: str) -> None:
    browser.sign_in()
    for path in ("/deliveries/pause", "/deliveries/resume"):
        assert browser.submit("/", path, repository=name, **TERMS).status == 400


@pytest.mark.parametrize(
    "address",
    [
        "/deliveries?repository=",
        "/deliveries?q=repo:",
        "/figures?repository=",
        "/log?repository=",
        "/api/deliveries?repository=",
        "/api/analyses?repo_full_name=",
        "/api/stats?repository=",
    ],
)
def test_filter_with_an_impossible_repository_is_400(browser: Browser, address: str) -> None:
    browser.sign_in()
    for name in IMPOSSIBLE:
        assert browser.get(f"{address}{quote(name)}").status == 400, name


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/deliveries/pause", {"reason": "a\0b"}),
        ("/deliveries/discard?q=is:dead", {"reason": "a\0b"}),
        ("/deliveries/retry?q=is:dead", {"chosen:a\0b": "on"}),
        ("/sign-in", {"key": "a\0b"}),
    ],
)
def test_form_with_a_nul_is_400(browser: Browser, path: str, fields: dict[str, str]) -> None:
    browser.sign_in()
    answer = browser.submit("/", path, **fields)
    assert answer.status == 400
    assert "NUL" in answer.text


@pytest.mark.parametrize(
    "path", ["/deliveries/a%00b", "/api/deliveries/a%00b", "/api/analyses/a%00b:1", "/batches/%00"]
)
def test_path_with_a_nul_is_404(browser: Browser, path: str) -> None:
    browser.sign_in()
    assert browser.get(path, x_api_key=KEY).status == 404
