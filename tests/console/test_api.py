"""The API about deliveries."""

from __future__ import annotations

import pytest

from hls_handler.store.storage import Storage
from tests.console.browser import KEY, Browser
from tests.queue.builders import accept, dead_letter, ignored, queued, state_of


def test_list_has_the_filters_of_the_page_and_the_address_of_the_next_one(
    browser: Browser, store: Storage
) -> None:
    accept(store, *(queued(f"g{number:03}") for number in range(51)))
    first = browser.get("/api/deliveries?event=issues.opened", x_api_key=KEY).json
    assert [one["delivery"] for one in first["deliveries"]][::49] == ["g050", "g001"]
    assert first["next"] == "/api/deliveries?event=issues.opened&before=g001"
    second = browser.get(first["next"], x_api_key=KEY).json
    assert [one["delivery"] for one in second["deliveries"]] == ["g000"]
    assert second["next"] is None
    assert browser.get("/api/deliveries?event=push", x_api_key=KEY).json["deliveries"] == []


def test_unchanged_document_is_not_sent_again(browser: Browser, store: Storage) -> None:
    dead_letter(store, "g1")
    tag = browser.get("/api/deliveries/g1", x_api_key=KEY).headers["etag"]
    again = browser.get("/api/deliveries/g1", x_api_key=KEY, if_none_match=f'"other", {tag}')
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
    store.queue.retry("g1")
    assert browser.get("/api/deliveries/g1", x_api_key=KEY, if_none_match=tag).status == 200


def test_errors_are_problem_details(browser: Browser, store: Storage) -> None:
    accept(store, queued("g1", state="ignored", reason="not enabled"))

    def problem(method: str, path: str, **headers: str) -> tuple[int, str]:
        sent = (
            browser.get(path, **headers) if method == "GET" else browser.post(path, {}, **headers)
        )
        assert sent.headers["content-type"] == "application/problem+json"
        assert (sent.json["status"], sent.json["type"]) == (sent.status, "about:blank")
        return sent.status, sent.json["detail"]

    key = {"x_api_key": KEY}
    assert problem("GET", "/api/deliveries") == (
        401,
        "send the service's key (server.api_key) in the header X-API-Key",
    )
    assert problem("GET", "/api/deliveries?limit=5", **key)[0] == 400
    assert problem("GET", "/api/deliveries/none", **key) == (
        404,
        "there is no delivery none, or it was deleted",
    )
    assert problem("POST", "/api/deliveries/none/retry", **key)[0] == 404
    assert problem("POST", "/api/deliveries/g1/retry", **key)[0] == 409


def test_without_a_key_no_web_page_changes_anything(store: Storage) -> None:
    dead_letter(store, "g1")
    browser = Browser(store)
    for origin in ("http://127.0.0.1:8000", "https://evil.example"):
        assert browser.post("/api/deliveries/g1/retry", {}, origin=origin).status == 403
    assert browser.post("/api/deliveries/g1/retry", {}).status == 202


def test_whole_filter_is_run_again_with_its_number(browser: Browser, store: Storage) -> None:
    for guid in ("a", "b"):
        dead_letter(store, guid)

    def retry(query: str) -> tuple[int, object]:
        response = browser.post(f"/api/deliveries/retry?{query}", {}, x_api_key=KEY)
        return response.status, response.json["detail"]

    assert retry("state=dead") == (
        409,
        "2 deliveries match now, and the number given is 0; none was queued",
    )
    assert retry("state=done&number=0") == (
        400,
        "state: found 'done', expected 'dead', 'discarded', 'queued' or 'ignored'",
    )
    assert state_of(store, "a") == "dead"
    assert retry("text=locked&number=2") == (202, "2 deliveries are queued")
    assert state_of(store, "a") == state_of(store, "b") == "queued"
    accept(store, ignored("i"))
    no_body = "i stays ignored (not enabled in settings.yaml:3): its body is not stored"
    queued = str(retry("state=ignored&number=1")[1])
    assert queued.startswith(f"0 deliveries are queued; 1 not, the first because {no_body}")


def test_session_alone_changes_nothing(browser: Browser, store: Storage) -> None:
    dead_letter(store, "g1")
    browser.sign_in()
    assert browser.get("/api/deliveries/g1").status == 200
    assert browser.post("/api/deliveries/g1/retry", {}).status == 403
    assert state_of(store, "g1") == "dead"


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/analyses?limit=101", "limit: found '101', expected at most 100"),
        (
            "/analyses?kind=pr",
            "kind: found 'pr', expected 'issue', 'pull_request', 'review', 'workflow'",
        ),
        (
            "/analyses?repo_full_name=widgets",
            "repo_full_name: found 'widgets', expected owner/repo",
        ),
        ("/api/stats?period=1y", "period: found '1y', expected '24h', '7d' or '30d'"),
        ("/api/stats?until=0001-01-01", "until: expected a time after 1970"),
        ("/api/stats?since=2026-11-23&until=2026-11-23", "until: expected a time after since"),
        (
            "/api/deliveries?since=yesterday",
            "since: found 'yesterday', expected a time in UTC such as 2026",
        ),
    ],
)
def test_invalid_parameter_is_named(browser: Browser, path: str, problem: str) -> None:
    response = browser.get(path, x_api_key=KEY)
    assert (response.status, response.headers["content-type"]) == (400, "application/problem+json")
    assert problem in response.json["detail"]
