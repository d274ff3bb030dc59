"""The older issue that a new one repeats is among the candidates that Claude is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from hls_handler.events import Label
from hls_handler.handlers.issues import MAX_SHOWN, without_prefix
from hls_handler.handlers.reader import HistoryUpdate, RepositoryHistory
from hls_handler.store.storage import Storage
from tests.handlers.world import issue
from tests.queue.builders import begin
from tests.sqlite import create_database

TRACKER: dict[str, Any] = yaml.safe_load(
    Path(__file__).with_name("similar.yaml").read_text("utf-8")
)
NEWEST = max(one["number"] for one in TRACKER["issues"]) + 1


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database of SQLite: tests/store compares the search of both databases."""
    return create_database(tmp_path / "hls.db")


@pytest.fixture
def history(store: Storage) -> RepositoryHistory:
    lease = begin(store, "g1", number=NEWEST)
    for one in TRACKER["issues"]:
        labels = tuple(map(Label, one["labels"]))
        stored = issue(number=one["number"], title=one["title"], body=one["body"], labels=labels)
        store.repositories.save(lease, HistoryUpdate(issue=stored))
    return store.repositories.history(lease.repository_id, "hls")


def test_repeated_issue_is_one_of_three_candidates(history: RepositoryHistory) -> None:
    def find_candidates(history: RepositoryHistory, new: dict[str, Any]) -> list[int]:
        found = history.similar_issues(
            NEWEST, without_prefix(new["title"]), new["body"], new["labels"]
        )
        return [one.number for one in found[:MAX_SHOWN]]

    found = {
        name: sum(pair["same"] in find_candidates(history, pair["new"]) for pair in TRACKER[name])
        for name in ("asked", "kept")
    }
    assert {name: len(TRACKER[name]) for name in found} == {"asked": 60, "kept": 15}
    assert found["asked"] >= 45
    assert found["kept"] >= 8, found
