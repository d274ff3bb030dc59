"""SECURITY rule 6: people whom a trusted proxy signs in, those of them who may only read, and who
did what.
"""

from __future__ import annotations

import re

import pytest
from starlette.routing import Route

from hls_handler.store.storage import Storage
from tests.console.browser import KEY, Browser
from tests.queue.builders import dead_letter, state_of
from tests.web.fakes import Headers, ask

PROXY = {"networks": ("10.1.0.0/16", "fd00::/8"), "user_header": "X-User"}
PAGES = ("/deliveries", "/api/deliveries", "/metrics")


@pytest.fixture
def proxied(store: Storage) -> Browser:
    """A browser behind the proxy. The service has no key."""
    browser = Browser(
        store, "hls.example.com", trusted_proxy=PROXY, viewers=("*@guests.example", "Lisa")
    )
    browser.peer = ("10.1.2.3", 4711)
    return browser


def statuses(browser: Browser, headers: Headers, client: str = "10.1.2.3") -> list[int]:
    given = [(b"host", b"hls.example.com"), *headers]
    return [
        ask(browser.app, path, method="GET", headers=given, client=(client, 4711)).status
        for path in PAGES
    ]


@pytest.mark.parametrize(
    ("client", "login"),
    [
        ("10.1.2.3", b"mona"),
        ("::ffff:10.1.2.3", b"mona+test@example.com"),
        ("fd00::7", b"EXAMPLE\\mona"),
        ("fd00::7%eth0", b"x" * 100),
    ],
)
def test_rule_6_the_proxy_signs_people_in(proxied: Browser, client: str, login: bytes) -> None:
    assert statuses(proxied, [(b"x-user", login)], client) == [200, 200, 200]


@pytest.mark.parametrize(
    "client", ["10.2.0.1", "192.0.2.1", "127.0.0.1", "::1", "::ffff:10.2.0.1", "/run/socket", ""]
)
def test_rule_6_the_header_of_another_peer_does_not_count(proxied: Browser, client: str) -> None:
    headers = [
        (b"x-user", b"mona"),
        (b"x-forwarded-for", b"10.1.2.3"),
        (b"forwarded", b"for=10.1.2.3"),
    ]
    assert statuses(proxied, headers, client) == [303, 401, 401]


@pytest.mark.parametrize(
    "values",
    [[], [b"mona", b"mona"], [b"mona,lisa"], [b""], [b"mona lisa"], [b"m\xc3\xb6na"], [b"x" * 101]],
)
def test_rule_6_only_one_header_that_can_be_a_login_counts(
    proxied: Browser, values: list[bytes]
) -> None:
    assert statuses(proxied, [(b"x-user", value) for value in values]) == [303, 401, 401]


def test_rule_6_without_a_key_the_proxy_alone_opens_the_console(
    proxied: Browser, store: Storage
) -> None:
    response = proxied.get("/deliveries")
    assert (response.status, response.headers["location"]) == (303, "/sign-in?next=%2Fdeliveries")
    assert proxied.get("/sign-in").status == 401
    assert "Sign in at the proxy before this service" in proxied.get("/sign-in").text
    assert proxied.get("/deliveries", x_api_key="").status == 303
    assert proxied.get("/sign-in", x_user="mona").headers["location"] == "/"
    # GitHub's sandbox or not, this machine's browser has not signed in
    local = Browser(store, trusted_proxy=PROXY)
    assert local.get("/deliveries").status == 303


def test_rule_6_key_and_session_count_beside_the_proxy(store: Storage) -> None:
    browser = Browser(store, trusted_proxy=PROXY, api_key=KEY)
    assert [browser.get(page, x_api_key=KEY).status for page in PAGES] == [200, 200, 200]
    assert browser.sign_in().status == 303
    assert browser.get("/deliveries").status == 200
    assert b"Sign out" in browser.get("/deliveries").body
    browser.peer = ("10.1.2.3", 4711)
    assert b'<span class="quiet">mona</span>' in browser.get("/deliveries", x_user="mona").body
    assert b"Sign out" not in browser.get("/deliveries", x_user="mona").body


def test_rule_6_viewers_may_only_read(proxied: Browser, store: Storage) -> None:
    dead_letter(store, "g1")
    store.pauses.pause("octo/widgets", reason=None, by="mona")
    for viewer in ("lisa", "Lisa", "hubot@guests.example"):
        for page in (
            "/",
            "/deliveries?state=dead",
            "/deliveries/g1",
            "/log",
            "/batches",
        ):
            response = proxied.get(page, x_user=viewer)
            assert (response.status, b'method="post"' in response.body) == (200, False)
    assert b"lisa (may only read)" in proxied.get("/", x_user="lisa").body
    for page in ("/", "/deliveries?state=dead", "/deliveries/g1"):
        assert b'method="post"' in proxied.get(page, x_user="lisa2").body
    token = (
        proxied.get("/", x_user="lisa2").text.partition('"csrf_token" value="')[2].partition('"')[0]
    )
    posts = [
        route.path
        for route in proxied.app.routes
        if isinstance(route, Route) and "POST" in (route.methods or ())
    ]
    assert len(posts) == 11
    for path in posts:
        if path != "/sign-in":  # it changes nothing but the cookie
            given = {"csrf_token": token, "number": "1"}
            response = proxied.post(re.sub(r"{\w+(:path)?}", "g1", path), given, x_user="lisa")
            assert response.status == 403
            assert (
                "ou may only read here: server.viewers in the settings names you" in response.text
            )
    assert (state_of(store, "g1"), len(store.pauses.active())) == ("dead", 1)


def test_rule_6_a_viewer_with_a_session_of_the_key_still_only_reads(store: Storage) -> None:
    dead_letter(store, "g1")
    browser = Browser(store, trusted_proxy=PROXY, api_key=KEY, viewers=("lisa",))
    browser.sign_in()
    token = browser.token("/deliveries/g1")
    browser.peer = ("10.1.2.3", 4711)
    assert browser.post("/deliveries/g1/retry", {"csrf_token": token}, x_user="lisa").status == 403
    assert browser.post("/api/deliveries/g1/retry", {}, x_user="lisa").status == 403
    # a program
    assert browser.post("/api/deliveries/g1/retry", {}, x_user="lisa", x_api_key=KEY).status == 202


def test_rule_6_a_form_is_that_of_one_user_on_all_machines(
    proxied: Browser, store: Storage
) -> None:
    dead_letter(store, "g1")

    def token_of(browser: Browser, user: str) -> str:
        page = browser.get("/deliveries/g1", x_user=user).text
        return page.partition('"csrf_token" value="')[2].partition('"')[0]

    other = Browser(store, "hls.example.com", trusted_proxy=PROXY)
    other.peer = proxied.peer
    path, form = "/deliveries/g1/retry", {"csrf_token": token_of(other, "mona")}
    assert proxied.post(path, form, x_user="hubot").status == 403
    assert (
        proxied.post(path, {"csrf_token": proxied.token("/sign-in")}, x_user="mona").status == 403
    )
    assert proxied.post(path, form, x_user="mona", origin="https://evil.example").status == 403
    assert proxied.post(path, form, x_user="mona", sec_fetch_site="cross-site").status == 403
    assert state_of(store, "g1") == "dead"
    assert proxied.post(path, form, x_user="mona", origin="https://hls.example.com").status == 303
    assert state_of(store, "g1") == "queued"


def test_rule_6_a_web_page_cannot_post_to_the_api_as_a_user(
    proxied: Browser, store: Storage
) -> None:
    dead_letter(store, "g1")
    path = "/api/deliveries/g1/retry"
    assert proxied.post(path, {}, x_user="mona", origin="https://hls.example.com").status == 403
    assert proxied.post(path, {}, x_user="mona", sec_fetch_site="same-site").status == 403
    assert proxied.post(path, {}).status == 401
    assert proxied.post(path, {}, x_user="mona").status == 202
