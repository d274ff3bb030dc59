"""Benchmarks that use the pipeline run, with a small number of deliveries."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from bench import pages, reviews, steps
from hls_handler.storage import Storage


def test_benchmark_of_checkpoints_processes_deliveries_with_both_storages(tmp_path: Path) -> None:
    (row,) = steps.measure(tmp_path, rounds=1, deliveries=2)
    assert (row.name, row.bound) == ("deliveries/s, database to memory", "at least")
    assert row.value > 0


def test_benchmark_of_reviews_counts_the_calls_that_the_documentation_shows(tmp_path: Path) -> None:
    rows = reviews.measure(tmp_path, sizes={"one file": (1, 2)})
    calls = [[part.split(" call")[0] for part in row.details.split("; full review: ")] for row in rows]
    assert calls == [["1", "1"], ["1", "1"], ["0", "1"], ["0", "1"], ["1", "1"], ["5", "7"]]
    assert [row.value for row in rows[2:4]] == [0.0, 0.0]
    section = Path("docs/reviews.md").read_text(encoding="utf-8").partition("## Calls and tokens in later rounds")[2]
    documented = [line.split("|")[2:4] for line in section.split("\n") if line.startswith("|")]
    assert [[cell.strip() for cell in cells] for cells in documented[2:]] == calls


def test_benchmark_of_pages_finds_all_pages_in_its_stores(tmp_path: Path) -> None:
    for number in (1, 60):
        url = f"sqlite:///{tmp_path}/{number}.db"
        values = pages.fill(url, number, analyze=False)
        with closing(Storage.open(url)) as store:
            browser = pages.make_browser(store)
            statuses = {name: browser.get(page.format(**values)).status for name, page in pages.PAGES.items()}
        assert statuses == dict.fromkeys(pages.PAGES, 200)
