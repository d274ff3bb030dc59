"""The page of `hls init` on this machine: the form with the manifest, and the code that GitHub
sends back.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from hls_handler.cli.init.servers import HOST, AppPage, local_server
from hls_handler.errors import HlsError, Permanent
from tests.sandbox.conftest import Answer, ask

NEXT = "https://github.com/apps/my-hls/installations/new"


@dataclass(slots=True)
class Exchange:
    codes: list[str] = field(default_factory=list)
    problem: HlsError | None = None

    def __call__(self, code: str) -> str:
        self.codes.append(code)
        if self.problem is not None:
            raise self.problem
        return NEXT


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


@pytest.fixture
def page(exchange: Exchange) -> AppPage:
    made = AppPage(exchange)
    made.show({"name": '"><script>'}, action="https://github.com/settings/apps/new?state=s&x=1")
    return made


def get(page: AppPage, path: str) -> Answer:
    with local_server(HOST, 0, page.respond) as port:
        return ask(f"http://{HOST}:{port}", "GET", path)


def test_the_page_posts_the_escaped_manifest_and_a_code_with_the_state_is_exchanged_once(
    page: AppPage, exchange: Exchange
) -> None:
    shown = get(page, f"/{page.state}")
    assert shown.status == 200
    assert 'action="https://github.com/settings/apps/new?state=s&amp;x=1"' in shown.text
    assert "&quot;&gt;&lt;script&gt;" in shown.text
    assert "default-src 'none'; script-src 'nonce-" in shown.headers["content-security-policy"]
    answers = [get(page, f"/code?code=c-1&state={page.state}") for _ in range(2)]
    assert [(one.status, one.headers["location"]) for one in answers] == [(303, NEXT), (303, NEXT)]
    assert exchange.codes == ["c-1"]
    assert page.ended.is_set()


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/{state}x", "/code?code=c-1", "/code?code=c-1&state=other"),
        *("/code?code=c-1&state=%F0%9F%8D%95", "/code?state={state}"),
    ],
)
def test_without_the_state_or_a_code_there_is_nothing_and_waiting_continues(
    page: AppPage, exchange: Exchange, path: str
) -> None:
    shown = get(page, path.format(state=page.state))
    assert (shown.status, page.state in shown.text) == (404, False)
    assert (exchange.codes, page.ended.is_set()) == ([], False)


def test_a_failed_exchange_is_shown_and_kept(page: AppPage, exchange: Exchange) -> None:
    exchange.problem = Permanent("GitHub did not accept the code <404>")
    shown = get(page, f"/code?code=c-1&state={page.state}")
    assert (shown.status, "&lt;404&gt;" in shown.text) == (502, True)
    assert page.ended.wait(10)
    assert page.problem is exchange.problem
