"""The console over HTTP: sign-in, forms, and the pages about deliveries."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest
from starlette.routing import Route
from starlette.types import Message

from hls_handler.console.app import Console
from hls_handler.deliveries import End
from hls_handler.store.storage import Storage
from tests.console.browser import KEY, Browser
from tests.queue.builders import accept, claim, dead_letter, queued, state_of
from tests.web.fakes import ask, settings

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u202e"


def test_pages_need_a_session(browser: Browser) -> None:
    response = browser.get("/deliveries?state=dead")
    assert (response.status, response.headers["location"]) == (
        303,
        "/sign-in?next=%2Fdeliveries%3Fstate%3Ddead",
    )
    lost = browser.post("/deliveries/g/retry", {})
    assert lost.status == 401
    assert "Go back, copy what you wrote, and sign in again." in lost.text
    signed_in = browser.sign_in()
    assert (signed_in.status, signed_in.headers["location"]) == (303, "/deliveries?state=dead")
    assert (
        signed_in.headers["set-cookie"].partition(";")[2]
        == " HttpOnly; Max-Age=43200; Path=/; SameSite=strict"
    )
    assert browser.get("/deliveries").status == 200


def test_header_with_the_key_is_enough(browser: Browser) -> None:
    browser.apply(api_key="Schlüssel des Dienstes")
    assert browser.get("/deliveries", x_api_key="Schlüssel des Dienstes").status == 200


PUBLIC = {"/", "/sign-in", "/static/{name}", "/docs", "/docs/{name}", "/openapi.json"}


def test_rule_6_every_other_route_needs_a_session_or_the_key(browser: Browser) -> None:
    routes = [
        route
        for route in browser.app.routes
        if isinstance(route, Route) and route.path not in PUBLIC
    ]
    assert len(routes) >= 28
    for route in routes:
        path = re.sub(r"{\w+(:path)?}", "x", route.path)
        for key in (KEY[:-1], ""):
            if "POST" in (route.methods or ()):
                assert browser.post(path, {}, x_api_key=key).status == 401
            else:
                is_page = not path.startswith(("/api", "/analyses", "/metrics"))
                assert browser.get(path, x_api_key=key).status == (303 if is_page else 401)


def test_session_ends_after_twelve_hours_and_with_another_key(browser: Browser) -> None:
    browser.sign_in()
    browser.now += 12 * 3600 - 1
    assert browser.get("/deliveries").status == 200
    browser.now += 1
    assert browser.get("/deliveries").status == 303
    browser.sign_in()
    browser.apply(api_key="another-key-of-the-service")
    assert browser.get("/deliveries").status == 303


def test_changed_cookie_is_no_session(browser: Browser) -> None:
    browser.sign_in()
    name, _, value = browser.cookie.partition("=")
    end, nonce, signature = value.split(".")
    for forged in (f"9{end}.{nonce}.{signature}", f"{end}.{nonce}.", "", "\u00e9.é.x"):
        browser.cookie = f"{name}={forged}"
        assert browser.get("/deliveries").status == 303


def test_cookie_is_secure_behind_tls(store: Storage) -> None:
    browser = Browser(store, "hls.example.com", api_key=KEY, public_url="https://hls.example.com")
    cookie = browser.sign_in().headers["set-cookie"]
    assert cookie.startswith("__Host-hls=")
    assert cookie.endswith("; HttpOnly; Max-Age=43200; Path=/; SameSite=strict; Secure")
    assert browser.get("/deliveries").status == 200
    browser.host = "127.0.0.1:8000"  # a proxy that replaces the header
    token = browser.token("/deliveries")
    form = {"csrf_token": token}
    assert (
        browser.post("/deliveries/none/retry", form, origin="https://hls.example.com").status == 404
    )
    assert browser.post("/deliveries/none/retry", form, origin="https://evil.example").status == 403


def test_cookie_is_secure_if_the_proxy_says_that_it_uses_tls(store: Storage) -> None:
    browser = Browser(store, "hls.example.com", api_key=KEY)
    form = {"csrf_token": browser.token("/sign-in"), "key": KEY, "next": "/deliveries"}
    for scheme, name in (("https", "__Host-hls"), ("http, https", "__Host-hls"), ("http", "hls")):
        response = browser.post(
            "/sign-in", form, origin="https://hls.example.com", x_forwarded_proto=scheme
        )
        value, _, attributes = response.headers["set-cookie"].partition(";")
        assert (value.partition("=")[0], attributes.endswith("; Secure")) == (name, name != "hls")
        assert browser.get("/deliveries", cookie=value, x_forwarded_proto=scheme).status == 200


@pytest.mark.parametrize(
    "wanted", ["https://evil.example", "//evil.example", "/\\evil.example", "/a\r\nb: c"]
)
def test_sign_in_leads_to_no_other_site(browser: Browser, wanted: str) -> None:
    response = browser.submit("/sign-in", "/sign-in", key=KEY, next=wanted)
    assert response.headers["location"] == "/"


def test_forms_of_other_sites_are_rejected(browser: Browser, store: Storage) -> None:
    dead_letter(store, "g1")
    browser.sign_in()
    assert browser.post("/deliveries/g1/retry", {}).status == 403
    assert browser.post("/deliveries/g1/retry", {"csrf_token": "x"}).status == 403
    page = browser.get("/deliveries/g1").text
    token = page.partition('name="csrf_token" value="')[2].partition('"')[0]
    assert (
        browser.post(
            "/deliveries/g1/retry", {"csrf_token": token}, origin="https://evil.example"
        ).status
        == 403
    )
    for origin in ("null", "http://[", "http://127.0.0.1:9000"):
        assert (
            browser.post("/deliveries/g1/retry", {"csrf_token": token}, origin=origin).status == 403
        )
    assert state_of(store, "g1") == "dead"
    assert browser.post("/deliveries/g1/retry", {"csrf_token": token}).status == 303
    assert state_of(store, "g1") == "queued"


def test_rule_6_without_a_key_a_service_for_the_real_github_has_no_console(store: Storage) -> None:
    browser = Browser(store)
    browser.use(settings())
    for path in ("/deliveries", "/api/deliveries", "/metrics", "/sign-in"):
        assert browser.get(path).status == 404
    assert "Console: off, because" in browser.get("/").text
    assert "the console and the API are off: set server.api_key" in browser.get("/deliveries").text


def test_rule_6_without_a_key_only_this_machine_may_use_the_console(store: Storage) -> None:
    assert Browser(store).get("/deliveries").status == 200
    assert Browser(store, "localhost:8000").get("/deliveries").status == 200
    assert Browser(store, "[::1]:8000").get("/deliveries").status == 200
    for host in (
        "rebound.example:8000",
        "a{b.evil.example:8000",
        "127.0.0.1@evil.example",
        "",
        "a b",
        "localhost:",
    ):
        assert Browser(store, host).get("/deliveries").status == 403
    other = Browser(store)  # under another ASGI server, which may listen on any address
    other.peer = ("192.0.2.1", 4711)
    for path in ("/deliveries", "/api/deliveries", "/metrics"):
        assert other.get(path).status == 403
    proxied = Browser(store, "hls.example.com", public_url="https://hls.example.com")
    assert proxied.get("/deliveries").status == proxied.get("/api/deliveries").status == 404
    off = Browser(store, host="0.0.0.0:8000")
    off.apply(host="0.0.0.0")
    assert off.get("/deliveries").status == off.get("/sign-in").status == 404
    dead_letter(store, "g1")
    assert Browser(store).submit("/deliveries/g1", "/deliveries/g1/retry").status == 303
    assert Browser(store).get("/sign-in").headers["location"] == "/"


def test_rule_6_without_a_key_a_proxy_on_this_machine_opens_nothing(store: Storage) -> None:
    # all that nginx sends
    browser, plain = (
        Browser(store),
        [(b"host", b"127.0.0.1:8000"), (b"connection", b"close")],
    )
    for header in ("X-Forwarded-For", "Forwarded", "Via", "X-Real-Ip"):
        given = {header: "1.1 proxy"}  # the proxy has replaced the header Host by 127.0.0.1
        assert (
            f"(the request has the header {header})"
            in browser.get("/api/deliveries", **given).json["detail"]
        )
        assert (
            browser.get("/deliveries", **given).status
            == browser.get("/metrics", **given).status
            == 403
        )
        assert Browser(store, api_key=KEY).get("/deliveries", x_api_key=KEY, **given).status == 200
    assert (
        ask(browser.app, "/deliveries", method="GET", headers=plain, http_version="1.0").status
        == 403
    )
    assert ask(browser.app, "/deliveries", method="GET", headers=plain).status == 200


LINK = {"sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
FRAME = {"sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe"}
IMAGE = {"sec_fetch_mode": "no-cors", "sec_fetch_dest": "image"}


@pytest.mark.parametrize("path", ["/deliveries", "/api/deliveries", "/api/stats"])
def test_pages_of_other_sites_cannot_load_ours(store: Storage, path: str) -> None:
    browser = Browser(store)
    for site in ("cross-site", "same-site"):  # another port of this machine is the same site
        assert browser.get(path, sec_fetch_site=site, **IMAGE).status == 403
        assert browser.get(path, sec_fetch_site=site, **FRAME).status == 403
    assert browser.get(path, origin="https://evil.example").status == 403
    assert browser.get(path, origin="http://127.0.0.1:9000").status == 403
    for given in (
        {"sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "none"},
        {"origin": "http://127.0.0.1:8000"},
    ):
        assert browser.get(path, **given).status == 200
    assert browser.get(path, sec_fetch_site="cross-site", **LINK).status == 200
    assert browser.post(path, {}, sec_fetch_site="cross-site", **LINK).status in (403, 405)


def test_every_page_forbids_inline_scripts_and_frames(browser: Browser, store: Storage) -> None:
    accept(store, queued("g1"))
    browser.sign_in()
    for path in (
        "/deliveries",
        "/deliveries/g1",
        "/deliveries/none",
        "/sign-in",
        "/deliveries?state=x",
    ):
        policy = browser.get(path).headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
        assert "frame-ancestors 'none'" in policy
    assert browser.get("/static/icon.svg").headers["content-type"] == "image/svg+xml"
    assert browser.get("/static/..%2fapp.py").status == browser.get("/static/none").status == 404
    style = browser.get("/static/console.css")
    assert (style.status, style.headers["content-type"]) == (200, "text/css; charset=utf-8")
    unchanged = browser.get("/static/console.css", if_none_match=style.headers["etag"])
    assert (unchanged.status, unchanged.headers["cache-control"]) == (304, "no-cache")


def test_search_box_of_every_page_finds_a_guid_a_conversation_and_a_text(
    browser: Browser, store: Storage
) -> None:
    accept(store, queued("a1", number=7), queued("c1", repository="o/r", number=7))
    browser.sign_in()
    for path in ("/", "/deliveries/a1", "/log", "/docs/comments.md", "/nothing"):
        box = '<form action="/deliveries" role="search" aria-label="All deliveries"'
        assert (box in browser.get(path).text) == (path != "/nothing")
    assert browser.get("/deliveries?text=a1").headers["location"] == "/deliveries/a1"
    assert browser.get("/deliveries?text=a1&state=queued").status == 200
    found = browser.get("/deliveries?text=o/r%237").text
    assert re.findall('class="row title" href="([^"]+)"', found) == ["/deliveries/c1"]


def test_filters_are_in_the_address(browser: Browser, store: Storage) -> None:
    dead_letter(store, "d1")
    accept(store, queued("a1", number=7), queued("c1", repository="o/r", number=7))
    browser.sign_in()

    def found(query: str) -> list[str]:
        page = browser.get(f"/deliveries?{query}").text
        return [part.partition('"')[0] for part in page.split('href="/deliveries/')[1:]]

    assert found("since=2000-01-01T00:00") == ["c1", "a1", "d1"]
    assert found("until=2000-01-01T00:00") == []
    assert found("state=dead") == found("text=IS+LOCKED") == ["d1"]
    assert found("event=issues.opened&repository=O%2FR") == ["c1"]
    assert found("text=https://github.com/o/r/pull/7%23x") == found("text=O/R%237") == ["c1"]
    assert found("text=o/other%237") == []


def test_invalid_filter_is_named(browser: Browser) -> None:
    response = browser.get("/deliveries?since=yesterday", x_api_key=KEY)
    assert response.status == 400
    assert "since: found &#39;yesterday&#39;, expected a time in UTC such as 2026" in response.text


def test_form_that_does_not_arrive_in_time_is_answered_408(store: Storage) -> None:
    messages: list[Message] = []

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("the wait has no end")

    async def send(message: Message) -> None:
        messages.append(message)

    headers = [(b"host", b"127.0.0.1:8000"), (b"content-length", b"5")]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/sign-in",
        "headers": headers,
        "query_string": b"",
    }
    browser = Browser(store, api_key=KEY)
    browser.console = Console(replace(browser.ports(store), form_timeout_s=0.05))
    browser.apply(api_key=KEY)
    asyncio.run(browser.app(scope, receive, send))
    assert messages[0]["status"] == 408


def test_sign_in_says_where_the_key_is(browser: Browser) -> None:
    page = browser.get("/sign-in").text
    assert "The key is <code>server.api_key</code> in the settings file." in page
    assert "<code>grep HLS_API_KEY .env</code> shows it" in page


def test_signing_out_deletes_the_cookie(browser: Browser) -> None:
    browser.sign_in()
    response = browser.submit("/deliveries", "/sign-out")
    assert (response.status, response.headers["location"]) == (303, "/sign-in")
    assert response.headers["set-cookie"].startswith('hls=""; expires=')


def test_second_request_to_run_a_delivery_says_what_became_of_it(
    browser: Browser, store: Storage
) -> None:
    dead_letter(store, "g1")
    browser.sign_in()
    form = {"csrf_token": browser.token("/deliveries/g1")}
    assert (
        browser.post("/deliveries/g1/retry", form).status
        == browser.post("/deliveries/g1/retry", form).status
        == 303
    )
    store.queue.finish(claim(store), End("done", "no change"), took_s=1.0)
    done = browser.post("/deliveries/g1/retry", form)
    assert done.status == 409
    assert b"g1 is done; only a dead, ignored or waiting delivery can be run again." in done.body
    assert b'<span class="state done">done</span>' in done.body
