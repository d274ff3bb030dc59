"""The description of the API: responses of the real server match it."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from openapi_spec_validator import validate
from schemathesis.checks import CheckFunction
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.routing import BaseRoute, Route

from hls_handler.console.endpoints import ENDPOINTS, PATH_PARAMETERS
from hls_handler.console.openapi import make_document
from hls_handler.settings.values import RESERVED_PATHS
from hls_handler.store.storage import Storage
from hls_handler.web.server import listen, make_server
from tests.console.browser import KEY, Browser
from tests.queue.builders import accept, add_analyses, queued
from tests.sqlite import create_database
from tests.web.fakes import WebSetup, settings

EXAMPLE_GUID = str(PATH_PARAMETERS["guid"]["example"])
LIMITS = {"generation": {"max-examples": 5, "deterministic": True, "database": "none"}}
DESCRIBED = schemathesis.openapi.from_dict(
    make_document(), config=schemathesis.Config.from_dict(LIMITS)
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a service that has the objects of the examples, and more than a page of others."""
    store = Storage.open(create_database(tmp_path_factory.mktemp("api") / "hls.db"))
    add_analyses(store, EXAMPLE_GUID, repository="octocat/Hello-World", number=7, steps=(0, 1))
    accept(store, *(queued(f"q{number}") for number in range(51)))
    given = settings(server={"port": 0, "api_key": KEY})
    setup = WebSetup(given)
    setup.health.set_metrics("store", {"database_bytes": 81920})
    bound = listen(given)
    app = setup.app()
    app.router.routes += Browser(store, api_key=KEY).app.routes
    server = make_server(app, given)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    store.close()


@pytest.mark.full
@DESCRIBED.parametrize()
def test_responses_match_the_description(case: schemathesis.Case[Any], address: str) -> None:
    # The order of `since` and `until` cannot be described.
    excluded: list[CheckFunction] = [positive_data_acceptance] if case.path == "/api/stats" else []
    response = case.call_and_validate(
        base_url=address, headers={"X-API-Key": KEY}, excluded_checks=excluded
    )
    assert response.status_code < 500


def test_openapi_json_is_valid_and_needs_no_key(browser: Browser) -> None:
    response = browser.get("/openapi.json")
    assert (response.status, response.json) == (200, make_document())
    validate(response.json)
    assert browser.get("/openapi.json", if_none_match=response.headers["etag"]).status == 304


def test_every_route_of_the_api_is_described(browser: Browser) -> None:
    def routes_of(browser: Browser) -> Sequence[Route]:
        return [route for route in browser.app.routes if isinstance(route, Route)]

    described = {
        (method, path) for path, methods in make_document()["paths"].items() for method in methods
    }
    routed = {
        (method.lower(), route.path)
        for route in routes_of(browser)
        for method in (route.methods or set()) - {"HEAD"}
        if route.path.startswith("/api")
    }
    assert routed == {(method, path) for method, path in described if path.startswith("/api")}
    others = {route.path for route in routes_of(browser)}
    assert {one.other_path for one in ENDPOINTS if one.other_path} == {
        p for p in others if p.startswith("/analyses")
    }


def test_every_route_is_documented_and_the_webhook_path_cannot_be_that_of_a_page(
    browser: Browser,
) -> None:
    setup = WebSetup(settings())
    own: list[BaseRoute] = [*browser.app.routes, *setup.app().routes]
    routed = {route.path for route in own if isinstance(route, Route)}
    webhooks = {"/webhook", "/webhooks/github"}
    routed -= {f"{path}/" for path in webhooks}
    paths = routed - webhooks - {"/"}
    unprotected = [
        path
        for path in paths
        if not re.match(f"({'|'.join(map(re.escape, RESERVED_PATHS))})(/|$)", path)
    ]
    assert unprotected == []
    page = Path("docs/http.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"(?:^\| |, )`(?:GET|POST) (/[a-z./{}-]*)`", page, re.MULTILINE))
    documented -= {"/static/{name}"}
    assert documented == {re.sub(r":[a-z]+}", "}", path) for path in routed}
