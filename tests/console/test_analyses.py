"""The API about analyses."""

from __future__ import annotations

import pytest

from hls_handler.store.storage import Storage
from tests.console.browser import KEY, Browser
from tests.queue.builders import add_analyses
from tests.web.fakes import WebSetup, ask, settings

GUID = "72d3162e-cc78-11e3-81ab-4c9367dc0958"


def test_analysis_has_its_delivery_prompt_cost_and_reply(browser: Browser, store: Storage) -> None:
    add_analyses(store, GUID, number=7)
    response = browser.get(f"/api/analyses/{GUID}:0", x_api_key=KEY)
    created_at = response.json.pop("created_at")
    found = {key: value for key, value in response.json.items() if key != "created_at"}
    assert found == {
        "id": f"{GUID}:0",
        "delivery": GUID,
        "repository": "octo/widgets",
        "number": 7,
        "kind": "issue",
        "event": "issues.opened",
        "prompt_id": "issues/respond@3f9c2a",
        "reply_type": "issue_response",
        "model": "claude-haiku-5-5",
        "tokens": {"input": 1200, "output": 80, "cache_write": 0, "cache_read": 30},
        "cost_usd": 0.0025,
        "reply": {
            "worth_saying": True,
            "sources": [],
            "answer": f"Answer 0 to {GUID}.",
            "certain": False,
        },
    }
    assert created_at.endswith("+00:00")
    assert browser.get(f"/analyses/{GUID}:0", x_api_key=KEY).body == response.body
    unknown_and_malformed = (f"{GUID}:9", GUID, f"{GUID}:²")
    assert {
        browser.get(f"/api/analyses/{one}", x_api_key=KEY).status for one in unknown_and_malformed
    } == {404}
    assert [one["id"] for one in browser.get("/analyses", x_api_key=KEY).json["analyses"]] == [
        f"{GUID}:0"
    ]


def test_list_is_newest_first_with_pages_by_offset(browser: Browser, store: Storage) -> None:
    for number in range(3):
        add_analyses(store, f"g{number}", steps=(0, 1))

    def page(path: str) -> tuple[list[str], str | None]:
        document = browser.get(path, x_api_key=KEY).json
        assert document["is_complete"]
        return [one["id"] for one in document["analyses"]], document["next"]

    assert page("/api/analyses") == (["g2:1", "g2:0", "g1:1", "g1:0", "g0:1", "g0:0"], None)
    assert page("/analyses?limit=2&offset=1") == (["g2:0", "g1:1"], "/analyses?limit=2&offset=3")
    assert page("/analyses?limit=2&offset=4") == (["g0:1", "g0:0"], None)
    assert page("/api/analyses?offset=2000") == ([], None)


@pytest.mark.parametrize("path", ["/api/none", "/analyses/1/2"])
def test_unknown_path_of_the_api_is_a_problem(path: str) -> None:
    response = ask(WebSetup(settings()).app(), path, method="GET")
    assert (response.status, response.headers["content-type"]) == (404, "application/problem+json")
    assert response.json == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "Not Found",
    }


def test_filters_of_older_clients(browser: Browser, store: Storage) -> None:
    add_analyses(store, "issue", number=3)
    add_analyses(store, "pull", event="pull_request", number=7, head_sha="aaa")
    add_analyses(
        store, "other", event="pull_request", number=7, repository="octo/other", repository_id=2
    )

    def found(query: str) -> list[str]:
        return [
            one["delivery"]
            for one in browser.get(f"/analyses?{query}", x_api_key=KEY).json["analyses"]
        ]

    assert found("repo_full_name=octo%2Fwidgets&pr_number=7") == ["pull"]
    assert found("pr_number=7") == ["other", "pull"]
    assert found("since=2000-01-01T00:00:00Z&kind=issue") == ["issue"]
    assert found("since=2999-01-01T00:00:00Z") == []
