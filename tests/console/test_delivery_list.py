"""The list of deliveries: tabs, groups by cause, retry and discard, and the query."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event

from hls_handler.db.tables import deliveries
from hls_handler.db.values import to_ms
from hls_handler.deliveries import End
from hls_handler.store.storage import Storage
from tests.console.browser import KEY, Browser
from tests.engine.test_statements import counting
from tests.queue.builders import (
    accept,
    begin,
    claim,
    dead_letter,
    ignored,
    queued,
    state_of,
)

REJECTED = "Claude answered 401 to issues/analyze@3b4b8{}: invalid x-api-key (req_{}a)"


def fail(store: Storage, guid: str, reason: str, **other: object) -> None:
    store.queue.finish(begin(store, guid, **other), End("dead", reason))


def page(browser: Browser, query: str = "") -> str:
    response = browser.get(f"/deliveries?{query}", x_api_key=KEY)
    assert response.status == 200
    return html.unescape(response.text)


def tabs(shown: str) -> dict[str, str]:
    """Return the numbers of the tabs by their titles."""
    return dict(re.findall(r'>(\w+) <span class="counter">([\d,]+\+?)</span></a>', shown))


def test_tabs_of_a_query_with_text_count_at_most_a_thousand(
    store: Storage, browser: Browser
) -> None:
    accept(store, *(ignored(f"i{number}", reason="[skip hls]") for number in range(1001)))
    dead_letter(store, "d")
    assert tabs(page(browser, "q=skip"))["Ignored"] == "1,000+"
    assert tabs(page(browser, "q=skip"))["All"] == "1,000+"
    assert tabs(page(browser, "q=skip"))["Dead"] == "0"
    assert tabs(page(browser, "q=i1000"))["All"] == "1"


def test_tabs_count_waiting_and_dead_ones_without_a_limit_of_time(
    store: Storage, browser: Browser
) -> None:
    dead_letter(store, "old")
    accept(store, ignored("i1"), ignored("i2"), ignored("i3", repository="octo/docs"))
    received_at = to_ms(store.now() - timedelta(days=8))
    with store.database.writing() as connection:
        is_old = deliveries.c.guid.in_(["old", "i1"])
        connection.execute(deliveries.update().where(is_old).values(received_at=received_at))
    shown = page(browser)
    assert tabs(shown) == {
        "All": "2",
        "Waiting": "0",
        "Running": "0",
        "Dead": "1",
        "Done": "0",
        "Ignored": "2",
        "Superseded": "0",
    }
    assert "received in the last 7 days" in shown
    assert "/deliveries/i1" not in shown
    assert "/deliveries/i1" in page(browser, "q=since:30d")
    dead = page(browser, "q=is:dead")
    assert "without a limit of time" in dead
    assert "/deliveries/old" in dead
    assert tabs(page(browser, "q=repo:octo/docs"))["Ignored"] == "1"


def test_row_has_the_title_before_what_it_is_about(store: Storage, browser: Browser) -> None:
    accept(store, queued("g1", number=149, title="Crash", sender="mona"))
    shown = page(browser)
    assert re.search(
        r'href="/deliveries/g1" title="Crash">Crash</a> <span [^>]+>#149</span>', shown
    )
    assert "octo/widgets · issues.opened · mona" in shown


def test_dead_ones_are_grouped_by_cause_with_the_newest_of_each(
    store: Storage, browser: Browser
) -> None:
    for number in range(5):
        fail(store, f"key{number}", REJECTED.format(number, number))
    fail(store, "gone", "GET /repos/octo/old/issues/7: 404 Not Found")
    browser.sign_in()
    shown = page(browser, "q=is:dead")
    assert re.findall(r"<strong>(\d+)</strong> · ([^<]+)<", shown) == [
        ("5", "Claude answered 401 to … invalid x-api-key …"),
        ("1", "GET /repos/octo/old/issues/7: 404 Not Found"),
    ]
    found = re.findall(r'href="/deliveries/(\w+)" title', shown)
    assert found == ["key4", "key3", "key2", "gone"]
    assert "Retry these 5" in shown
    more = re.search(r'href="(/deliveries\?q=[^"]+)">2 more with this cause', shown)
    assert more is not None
    listed = browser.get(more[1]).text
    assert re.findall(r'href="/deliveries/(\w+)" title', listed) == [
        f"key{number}" for number in (4, 3, 2, 1, 0)
    ]


def test_retry_of_a_group_ends_with_counts_by_result(store: Storage, browser: Browser) -> None:
    for number in range(3):
        fail(store, f"key{number}", REJECTED.format(number, number))
    fail(store, "gone", "no such issue")
    browser.sign_in()
    shown = page(browser, "q=is:dead")
    path = re.search(r'action="(/deliveries/retry\?q=is%3Adead[^"]+)"', shown)
    assert path is not None
    other = browser.submit("/deliveries?q=is:dead", path[1], number="2")
    assert (other.status, state_of(store, "key0")) == (409, "dead")
    expected = "3 deliveries match now, and the number given is 2; none was queued."
    assert expected in other.text
    done = browser.submit("/deliveries?q=is:dead", path[1], number="3")
    assert done.status == 303
    followed = done.headers["location"]
    shown = browser.get(followed).text
    assert "3 to go." in shown
    assert f'hx-get="{followed.replace("&", "&amp;")}"' in shown
    turn = store.now() + timedelta(seconds=1)
    store.queue.postpone(claim(store), at=turn, reason="waits for a slot of the rate limit github")
    shown = browser.get(followed).text
    assert "3 to go." in shown
    assert "hx-get" in shown
    store.queue.reschedule_waiting()
    for number in range(2):
        store.queue.finish(claim(store), End("dead", REJECTED.format(number, "b")))
    store.queue.finish(claim(store), End("done", "labels bug"))
    shown = browser.get(followed).text
    assert "2 failed again (Claude answered 401 to" in shown
    assert "), 1 done." in shown
    assert "every 3s" not in shown
    assert state_of(store, "gone") == "dead"


def test_discarded_ones_leave_the_list_and_need_a_reason(store: Storage, browser: Browser) -> None:
    for guid in ("a", "b"):
        dead_letter(store, guid)
    browser.sign_in()
    listed = "/deliveries?q=is:dead"
    path = "/deliveries/discard?q=is:dead"
    # Enter in the field of the reason presses the first button of its form
    buttons = re.findall(r">(\w+) the chosen ones<", browser.get(listed).text)
    assert buttons == ["Discard", "Retry"]
    assert browser.submit(listed, path, number="2", reason=" ").status == 400
    assert browser.submit(listed, path, number="1", reason="a test").status == 409
    done = browser.submit(listed, path, number="2", reason="a test")
    assert done.status == 303
    assert "2 deliveries are discarded." in browser.get(done.headers["location"]).text
    shown = page(browser, "q=is:dead")
    assert "Nothing is dead" in shown
    assert (tabs(shown)["Dead"], tabs(shown)["Discarded"]) == ("0", "2")
    assert browser.submit(listed, "/deliveries/retry?q=is:discarded", number="2").status == 303
    assert state_of(store, "a") == "queued"


def test_chosen_deliveries_are_changed(store: Storage, browser: Browser) -> None:
    for guid in ("a", "b", "c"):
        dead_letter(store, guid)
    browser.sign_in()
    listed = "/deliveries?q=is:dead"
    assert 'name="chosen:a" form="chosen"' in page(browser, "q=is:dead")
    chosen = {"chosen:a": "on", "chosen:c": "on"}
    given = browser.submit(listed, "/deliveries/discard?q=is:dead", reason="x", **chosen)
    assert given.status == 303
    left = browser.get(given.headers["location"]).text
    assert re.findall(r'href="/deliveries/(\w)" title', left) == ["b"]
    assert browser.submit(listed, "/deliveries/retry?q=", **{"chosen:b": "on"}).status == 303
    refused = browser.submit(listed, "/deliveries/discard?q=", reason="x", **{"chosen:b": "on"})
    sentence = "1 not, the first because b is queued; only a dead delivery can be discarded."
    assert sentence in refused.text


def test_unknown_chosen_delivery_changes_nothing(store: Storage, browser: Browser) -> None:
    dead_letter(store, "a")
    browser.sign_in()
    listed = "/deliveries?q=is:dead"
    chosen = {"chosen:a": "on", "chosen:a\0": "on"}
    given = browser.submit(listed, "/deliveries/retry?q=is:dead", **chosen)
    assert given.status == 400
    assert "without the character NUL" in given.text
    assert state_of(store, "a") == "dead"


def test_viewers_see_no_buttons(store: Storage) -> None:
    dead_letter(store, "g1")
    proxy = {"user_header": "X-User", "networks": ["127.0.0.1/32"]}
    browser = Browser(store, trusted_proxy=proxy, viewers=["lisa"])
    shown = browser.get("/deliveries?q=is:dead", x_user="lisa").text
    assert "issue is locked" in shown
    assert not re.search("checkbox|/deliveries/(retry|discard)", shown)
    assert "checkbox" in browser.get("/deliveries?q=is:dead", x_user="mona").text


def test_waiting_ones_have_their_cause_once_and_the_next_attempt(
    store: Storage, browser: Browser
) -> None:
    at = store.now() + timedelta(minutes=90)
    for guid in ("a", "b"):
        lease = begin(store, guid)
        store.queue.reschedule(lease, at=at, reason="GitHub is down", failed=True, counts=False)
    accept(store, queued("p", repository="octo/docs"))
    store.pauses.pause("octo/docs", reason="a migration", by="mona")
    shown = page(browser, "q=is:waiting")
    assert shown.count("GitHub is down") == 1
    assert len(re.findall(r"next attempt <time [^>]+>in (?:89|90) min<", shown)) == 1
    assert len(re.findall(r"next attempt in (?:89|90) min<", shown)) == 2
    assert re.search(r"octo/docs is paused since [-0-9: ]+ UTC: a migration", shown)
    everything = page(browser)
    assert everything.count("GitHub is down") == 1
    assert "as above" in everything


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("is:lost", "is:lost: expected one of waiting, running, done, ignored, superseded, dead"),
        ("repo:widgets", "repo:widgets: expected owner/repo"),
        ("label:bug", "there is no filter label:, expected one of is:, repo:, event:"),
    ],
)
def test_query_with_an_error_names_the_wrong_word(
    browser: Browser, query: str, problem: str
) -> None:
    response = browser.get(
        f"/deliveries?q=is:dead+{query}".replace("is:dead+is:", "is:"), x_api_key=KEY
    )
    assert response.status == 400
    shown = html.unescape(response.text)
    assert problem in shown
    assert query in shown.partition('name="q" value="')[2].partition('"')[0]
    refused = browser.get(f"/api/deliveries?q={query}", x_api_key=KEY)
    assert (refused.status, refused.json["detail"].startswith(problem)) == (400, True)


def test_api_has_the_query_beside_its_parameters(store: Storage, browser: Browser) -> None:
    dead_letter(store, "d1")
    accept(store, queued("a1"), queued("b1", repository="octo/docs"))

    def found(query: str) -> list[str]:
        listed = browser.get(f"/api/deliveries?{query}", x_api_key=KEY).json["deliveries"]
        return [one["delivery"] for one in listed]

    assert found("q=is:waiting+repo:octo/docs") == ["b1"]
    assert found("q=is:dead&state=queued") == found("state=queued") == ["b1", "a1"]
    assert found("q=is:dead+since:1d") == ["d1"]
    retried = browser.post("/api/deliveries/retry?q=is:dead&number=1", {}, x_api_key=KEY).json
    assert found(f"q={retried['query']}") == ["d1"]


def test_empty_lists_say_what_to_do(store: Storage, browser: Browser) -> None:
    browser.sign_in()
    assert "Nothing waits" in page(browser, "q=is:waiting")
    assert "No delivery was received" in page(browser)
    assert 'href="/deliveries?q=since%3A30d"' in page(browser)
    shown = page(browser, "q=octo/widgts%237")
    assert "No delivery matches" in shown
    assert "<code>hls config explain octo/widgts</code> says which events" in shown


def test_number_of_statements_does_not_depend_on_that_of_deliveries(
    store: Storage, browser: Browser
) -> None:
    numbers = []
    for most in (1, 9):
        for number in range(most):
            fail(store, f"key{most}{number}", REJECTED.format(number, number))
            fail(store, f"gone{most}{number}", f"no such issue, {'x' * number}")
        with counting() as counted:
            page(browser, "q=is:dead")
        numbers.append(counted.statements)
    assert numbers == [5, 5]


def test_size_of_statements_does_not_depend_on_the_number_of_reasons(
    store: Storage, browser: Browser
) -> None:
    for number in range(30):
        fail(store, f"key{number}", REJECTED.format(number, number))
    sizes = []

    def add_size(*arguments: Any) -> None:
        sizes.append(len(arguments[3]))

    event.listen(Engine, "before_cursor_execute", add_size)
    try:
        shown = page(browser, "q=is:dead")
    finally:
        event.remove(Engine, "before_cursor_execute", add_size)
    found = re.findall(r'href="/deliveries/(\w+)" title', shown)
    assert found == ["key29", "key28", "key27"]
    assert max(sizes) < 20


def test_the_navigation_counts_dead_deliveries_and_not_discarded_ones(
    browser: Browser, store: Storage
) -> None:
    assert 'hx-get="/deliveries/count"' in page(browser)
    assert browser.get("/deliveries/count", x_api_key=KEY).body == b""
    fail(store, "a1", "the key was rejected")
    fail(store, "a2", "the key was rejected")
    store.queue.discard("a2")
    count = browser.get("/deliveries/count", x_api_key=KEY).text
    assert count == '<span class="counter">1 dead</span>'
