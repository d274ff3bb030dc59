"""The page of rules that people approve: the cases and the cost, and then Claude's drafts."""

from __future__ import annotations

from html import unescape
from pathlib import Path

import pytest

from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.storage import Storage
from tests.console.browser import Browser
from tests.console.prompt_author import wait_for_trial
from tests.engine.fakes import FakeClaude
from tests.learning.history import RepositoryHistory, draft, fill, hide, rule
from tests.prompting.samples import shipped
from tests.web.fakes import Response

PROXY = {"networks": ("10.0.0.0/8",), "user_header": "X-User"}
RULES = (
    draft(
        rule("Generated code. </pre><script>", [11, 12], "api/gen/**"),
        rule("The server is fine.", [1], "api/*"),
    ),
    hide([12, 13], [4]),
)


def make_browser(store: Storage, *replies: object, **server: object) -> Browser:
    """Return the browser of an operator. Claude gives `replies`."""
    browser = Browser(store)
    browser.sections["repositories"] = ({"name": "octo/widgets", "review": {"fail_on": "high"}},)
    browser.apply(**server)
    browser.prompts = ReloadingLibrary(shipped, Path("nowhere"))
    browser.claude = FakeClaude(list(replies))  # type: ignore[arg-type]
    return browser


def preview(browser: Browser) -> Response:
    return browser.submit("/learn", "/learn", repository="octo/widgets")


def ask(browser: Browser, **changes: str) -> Response:
    form = {"repository": "octo/widgets", "ask": hidden_digest(preview(browser)), **changes}
    return browser.submit("/learn", "/learn", **form)


def hidden_digest(page: Response) -> str:
    return page.body.decode().partition('name="ask" value="')[2].partition('"')[0]


def test_preview_shows_cases_and_cost_and_asks_nothing(store: Storage) -> None:
    fill(store)
    browser = make_browser(store, *RULES)
    page = preview(browser).body.decode()
    assert "<li>review comment, octo/widgets#24, docs/setup.md: Name the command" in page
    assert "14 cases of octo/widgets; rules are compared with 15 stored findings." in page
    assert ">Ask Claude for about $0.0" in page
    assert store.audit.newest_id() == 0


def test_rules_are_shown_with_what_they_hide_and_the_audit_has_the_cost(store: Storage) -> None:
    fill(store)
    browser = make_browser(store, *RULES)
    assert ask(browser).status == 303
    page = wait_for_trial(browser, "/learn")
    assert "<script>" not in page.partition("<main>")[2]
    assert "## api/gen/**\n\n- Generated code. &lt;/pre&gt;&lt;script&gt;</pre>" in page
    assert (
        "For api/gen/**, from cases 11, 12; would have hidden 2 of 15 stored findings: 2 dismissed"
        in page
    )
    assert (
        "It would have hidden #33 finding 3 (Leaks a socket), and HLS never silences what fails the"
        " check." in page
    )
    assert "octo/widgets ran" in page
    assert "2 replies, $0.00028. Nothing was posted or stored." in page
    (change,) = store.audit.find(most=9)
    assert (change.action, change.object, change.cost_usd) == ("learn", "octo/widgets", 0.00028)


def test_click_on_an_old_preview_asks_nothing_and_shows_the_new_cost(store: Storage) -> None:
    history = fill(store)
    browser = make_browser(store, *RULES)
    digest = hidden_digest(preview(browser))
    history.dismiss(51, "a.py", "Leaks", "Won't fix, it is fine.")
    response = ask(browser, ask=digest)
    assert response.status == 409
    assert "The cases have changed since the cost was shown." in response.body.decode()
    assert store.audit.newest_id() == 0


def test_limit_of_the_form_ends_the_questions(store: Storage) -> None:
    fill(store)
    browser = make_browser(store, *RULES)
    ask(browser, max_usd="0.05")
    page = unescape(wait_for_trial(browser, "/learn"))
    assert "The next call to Claude may cost $0.0" in page
    assert "the calls so far have cost $0.00014, and the limit of the form allows $0.050" in page


@pytest.mark.parametrize(
    ("repository", "said"),
    [
        ("octo/gone", "No delivery of octo/gone is stored: check the name"),
        ("<b>", "The repository must be written as owner/repo"),
    ],
)
def test_without_cases_the_page_says_what_is_missing(
    store: Storage, repository: str, said: str
) -> None:
    RepositoryHistory(store).raise_finding(31, "a.py", "Leaks")
    browser = make_browser(store)
    response = browser.submit("/learn", "/learn", repository=repository)
    assert response.status == 409
    assert said in response.body.decode()


def test_viewers_read_the_last_rules_and_may_not_ask(store: Storage) -> None:
    fill(store)
    browser = make_browser(store, *RULES)
    ask(browser)
    wait_for_trial(browser, "/learn")
    browser.apply(trusted_proxy=PROXY, viewers=["lisa"])
    browser.peer = ("10.0.0.1", 4711)
    page = browser.get("/learn", x_user="lisa").body.decode()
    assert "- Generated code. " in page
    assert 'method="post"' not in page
    assert browser.post("/learn", {"repository": "octo/widgets"}, x_user="lisa").status == 403


def test_viewers_are_told_that_no_rules_were_drafted(store: Storage) -> None:
    browser = make_browser(store, trusted_proxy=PROXY, viewers=["lisa"])
    browser.peer = ("10.0.0.1", 4711)
    page = browser.get("/learn", x_user="lisa").body.decode()
    assert "No rules were drafted since the service started." in page
