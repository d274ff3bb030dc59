"""The pages of triage runs. The preview reads GitHub; tests/triage has its plan."""

from __future__ import annotations

import pytest

from hls_handler.deliveries import End
from hls_handler.storage import Storage
from hls_handler.store.triage import NewRun
from tests.conftest import Acts
from tests.console.browser import Browser
from tests.queue.builders import accept, claim, queued


@pytest.fixture
def run(store: Storage) -> int:
    """A run with the issues 7, which is done, and 8, which waits."""
    new = NewRun(1, "octo/widgets", 50, 1.0, comments=False, skipped={"locked": 1})
    run = store.triage.begin(new, by="mona")
    of_run = {"request_id": f"requested:triage:{run}", "priority": -6}
    for number in (7, 8):
        accept(store, queued(f"triage-{run}-{number}", number=number, title="<b>Crash", **of_run))
    store.queue.finish(claim(store), End("done", "added bug"))
    return run


def test_page_shows_runs_and_a_form(store: Storage, run: int) -> None:
    page = Browser(store).get("/triage").body.decode()
    assert f'<a class="row" href="/triage/{run}">{run}</a>' in page
    assert "1 of 2" in page
    assert 'name="repository"' in page


def test_run_shows_its_issues_and_how_they_ended(store: Storage, run: int) -> None:
    page = Browser(store).get(f"/triage/{run}").body.decode()
    assert "octo/widgets: running, 1 of 2 issues ended, $0.00 of $1.00" in page
    assert "&lt;b&gt;Crash" in page
    assert "added bug" in page
    assert 'hx-trigger="every 3s"' in page


def test_button_takes_a_run_back(store: Storage, run: int, acts: Acts) -> None:
    Browser(store).submit(f"/triage/{run}", f"/triage/{run}/undo")
    found = store.triage.find(run)
    assert found is not None
    progress = store.triage.load_progress(found)
    assert (progress.state, [one.guid for one in progress.undo]) == (
        "undone",
        [f"triage-{run}-7-undo"],
    )
    assert acts() == [("local browser", "undo triage", [f"octo/widgets run {run}"])]


def test_viewers_see_no_buttons_and_may_not_take_it_back(store: Storage, run: int) -> None:
    proxy = {"networks": ("10.0.0.0/8",), "user_header": "X-User"}
    browser = Browser(store, trusted_proxy=proxy, viewers=["lisa"])
    browser.peer = ("10.0.0.1", 4711)
    for path in ("/triage", f"/triage/{run}"):
        assert b'method="post"' not in browser.get(path, x_user="lisa").body
    assert browser.post(f"/triage/{run}/undo", {}, x_user="lisa").status == 403
    start = {"repository": "octo/widgets", "limit": "10", "max_usd": "1.0", "start": "7"}
    assert browser.post("/triage", start, x_user="lisa").status == 403


@pytest.mark.parametrize("given", ["0", "x", "99999999999999999999"])
def test_unknown_run_is_not_found(store: Storage, given: str) -> None:
    assert Browser(store).get(f"/triage/{given}").status == 404


def test_wrong_form_is_explained(store: Storage) -> None:
    answer = Browser(store).submit("/triage", "/triage", repository="octo", limit="50")
    assert answer.status == 400
    assert "repository: found &#39;octo&#39;, expected owner/repo." in answer.body.decode()
    missing = Browser(store).submit("/triage", "/triage", limit="50")
    assert missing.status == 409
    assert "ame the repository, as owner/repo" in missing.body.decode()
