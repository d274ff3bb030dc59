"""The audit: who changed what, on its page and as JSON."""

from __future__ import annotations

from hls_handler.storage import Storage
from tests.console.browser import KEY, Browser
from tests.console.prompt_author import (
    TEMPLATE,
    author,
    edit,
    library,
    prompts_folder,
    send,
    store_delivery,
    wait_for_trial,
)
from tests.console.test_trials import GOOD
from tests.engine.fakes import FakeClaude
from tests.queue.builders import dead_letter

__all__ = ["author", "library", "prompts_folder"]


def changes(browser: Browser, query: str = "") -> list[tuple[str, str, str]]:
    listed = browser.get(f"/api/audit{query}", x_api_key=KEY).json["changes"]
    return [(change["person"], change["action"], change["object"]) for change in listed]


def test_each_change_in_the_console_and_the_api_is_recorded_with_its_person(store: Storage) -> None:
    for guid in ("g1", "g2", "g3"):
        dead_letter(store, guid)
    proxy = {"networks": ("10.0.0.0/8",), "user_header": "X-User"}
    browser = Browser(store, trusted_proxy=proxy, api_key=KEY)
    browser.sign_in()
    browser.submit("/", "/deliveries/pause", repository="octo/widgets", reason="a migration")
    browser.submit("/", "/deliveries/pause", reason="a migration")
    browser.submit("/deliveries/g1", "/deliveries/g1/retry")
    browser.post("/api/deliveries/g2/retry", {}, x_api_key=KEY)
    browser.peer = ("10.0.0.1", 4711)
    browser.post("/api/deliveries/retry?state=dead&number=1", {}, x_user="mona")
    browser.post("/api/deliveries/retry?state=dead&number=7", {}, x_user="mona")  # runs none
    token = (
        browser.get("/", x_user="hubot")
        .body.decode()
        .partition('"csrf_token" value="')[2]
        .partition('"')[0]
    )
    browser.post(
        "/deliveries/resume", {"csrf_token": token, "repository": "octo/widgets"}, x_user="hubot"
    )
    # no pause
    browser.post(
        "/deliveries/resume", {"csrf_token": token, "repository": "octo/docs"}, x_user="hubot"
    )
    assert changes(browser) == [
        ("hubot", "resume", "octo/widgets"),
        ("mona", "retry", "g3"),
        ("API key", "retry", "g2"),
        ("API key", "retry", "g1"),
        ("API key", "pause", ""),
        ("API key", "pause", "octo/widgets"),
    ]
    assert changes(browser, "?person=UBO") == [("hubot", "resume", "octo/widgets")]
    assert changes(browser, "?person=_ona") == []
    page = browser.get("/audit?person=mon", x_user="hubot").body.decode()
    assert '<a class="row" href="/deliveries/g3"><code>g3</code></a>' in page
    assert "octo/widgets" not in page


def test_review_that_a_person_continues_links_to_its_delivery(store: Storage) -> None:
    store.audit.record("octocat", "continue", "g1")
    browser = Browser(store, api_key=KEY)
    assert changes(browser, "?person=octo") == [("octocat", "continue", "g1")]
    page = browser.get("/audit?person=octo", x_api_key=KEY).body.decode()
    assert '<a class="row" href="/deliveries/g1"><code>g1</code></a>' in page


def test_changes_are_shown_page_by_page_and_their_texts_are_escaped(store: Storage) -> None:
    for number in range(51):
        store.audit.record(f"<b>{number}</b>", "pause", f"<i>{number}</i>")
    browser = Browser(store, api_key=KEY)
    first = browser.get("/api/audit?person=b", x_api_key=KEY).json
    assert [len(first["changes"]), first["next"]] == [
        50,
        f"/api/audit?person=b&before={first['changes'][-1]['id']}",
    ]
    second = browser.get(first["next"], x_api_key=KEY).json
    assert ([change["person"] for change in second["changes"]], second["next"]) == (
        ["<b>0</b>"],
        None,
    )
    page = browser.get("/audit", x_api_key=KEY).body.decode()
    assert "&lt;b&gt;50&lt;/b&gt;" in page
    assert "<i>" not in page
    assert f'href="/audit?before={first["changes"][-1]["id"]}"' in page


def test_a_change_without_a_sign_in_is_that_of_a_local_browser(store: Storage) -> None:
    browser = Browser(store)
    browser.submit("/", "/deliveries/pause", reason="a migration")
    assert changes(browser) == [("local browser", "pause", "")]


def test_a_trial_is_recorded_before_claude_is_asked_and_then_has_its_cost(
    author: Browser, store: Storage
) -> None:
    store_delivery(store, "g1")
    costs = list[float | None]()

    def observe(_: str) -> None:
        costs.extend(change.cost_usd for change in store.audit.find(most=9))

    author.claude = FakeClaude([GOOD], on_call=observe)
    assert send(author, TEMPLATE, edit(author, TEMPLATE)).status == 303
    wait_for_trial(author)
    (change,) = author.get("/api/audit", x_api_key=KEY).json["changes"]
    assert (change["person"], change["action"], costs, change["cost_usd"]) == (
        "API key",
        "trial",
        [None],
        0.00014,
    )
    assert change["object"].startswith("issues/analyze@")
    assert b"$0.00014" in author.get("/audit").body
