"""The pages of batches."""

from __future__ import annotations

import pytest

from hls_handler.deliveries import WRITTEN, End
from hls_handler.store.batches import NewBatch
from hls_handler.store.storage import Storage
from tests.batches.builders import begin_batch
from tests.conftest import Acts
from tests.console.browser import Browser
from tests.engine.test_statements import counting
from tests.queue.builders import claim, queued


@pytest.fixture
def batch(store: Storage) -> int:
    """A batch with the open issues 7, which is done, and 8, which waits."""
    new = NewBatch("triage", 1, "octo/widgets", 1.0, {"comments": False}, {})
    subjects = [
        queued(f"{number}", number=number, title="<b>Crash", request_id=WRITTEN)
        for number in (7, 8)
    ]
    found = store.batches.begin(new, subjects, by="mona")
    store.queue.finish(claim(store), End("done", "added bug"))
    return found


def test_list_shows_batches(store: Storage, batch: int) -> None:
    page = Browser(store).get("/batches").text
    assert f'<a class="row" href="/batches/{batch}">{batch} triage</a>' in page
    assert "1 of 2" in page


def test_list_reads_batches_with_two_statements_however_many_there_are(store: Storage) -> None:
    for number in range(1, 7):
        begin_batch(store, number)
    with counting() as counted:
        overviews = store.batches.newest(limit=50)
    assert counted.statements == 2
    assert [(one.batch.id, one.size, one.ended, one.state) for one in overviews] == [
        (batch, 1, 0, "running") for batch in range(6, 0, -1)
    ]


def test_batch_shows_its_deliveries_and_how_they_ended(store: Storage, batch: int) -> None:
    page = Browser(store).get(f"/batches/{batch}").text
    assert "Running: 1 of 2 deliveries ended, $0.00 of $1.00" in page
    assert "&lt;b&gt;Crash" in page
    assert page.count("added bug") == 1
    assert f'<a href="/deliveries/batch-{batch}-7#replies">reply</a>' in page
    assert 'hx-trigger="every 3s"' in page


def test_button_stops_a_batch(store: Storage, batch: int, acts: Acts) -> None:
    Browser(store).submit(f"/batches/{batch}", f"/batches/{batch}/stop")
    page = Browser(store).get(f"/batches/{batch}").text
    assert "Stopped: 1 of 2 deliveries ended" in page
    assert f"<code>hls batch continue {batch}</code> goes on" in page
    assert acts()[-1] == ("local browser", "stop batch", [f"batch {batch}"])


def test_button_takes_a_batch_back(store: Storage, batch: int, acts: Acts) -> None:
    store.batches.stop(batch, by="mona")
    Browser(store).submit(f"/batches/{batch}", f"/batches/{batch}/undo")
    found = store.batches.find(batch)
    assert found is not None
    progress = store.batches.load_progress(found)
    assert [delivery.guid for delivery in progress.undo] == [f"batch-{batch}-7-undo"]
    assert acts()[-1] == ("local browser", "undo batch", [f"batch {batch}"])
    page = Browser(store).get(f"/batches/{batch}").text
    assert 'hx-trigger="every 3s"' in page
    assert f"/batches/{batch}/stop" not in page  # an undo cannot be stopped


def test_batch_of_two_prompts_names_that_of_each_delivery(store: Storage) -> None:
    batch = begin_batch(store, 2, draft="issues/analyze@draft")
    page = Browser(store).get(f"/batches/{batch}").text
    assert '<td role="cell" data-label="Prompt">issues/analyze@draft</td>' in page
    assert page.count('data-label="Prompt">issues/analyze@') == 2


def test_batch_about_closed_issues_shows_its_result(store: Storage) -> None:
    batch = begin_batch(store, 2, label="<b>defect")
    page = Browser(store).get(f"/batches/{batch}").text
    assert "prompt      issues/analyze@" in page
    assert "<b>defect" not in page


@pytest.mark.parametrize("number", ["0", "x", "99999999999999999999"])
def test_unknown_batch_is_not_found(store: Storage, number: str) -> None:
    assert Browser(store).get(f"/batches/{number}").status == 404
