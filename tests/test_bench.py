"""Benchmarks that use the pipeline run, with a small number of deliveries."""

from __future__ import annotations

from pathlib import Path

from bench import reviews, steps


def test_benchmark_of_checkpoints_processes_deliveries_with_both_storages(tmp_path: Path) -> None:
    (row,) = steps.measure(tmp_path, rounds=1, deliveries=2)
    assert (row.name, row.bound) == ("deliveries/s, database to memory", "at least")
    assert row.value > 0


def test_benchmark_of_reviews_counts_no_calls_for_a_rebase(tmp_path: Path) -> None:
    rows = reviews.measure(tmp_path, sizes={"one file": (1, 2)})
    calls = [[part.split(" call")[0] for part in row.details.split("; full review: ")] for row in rows]
    assert calls == [["2", "2"], ["1", "1"], ["0", "1"], ["0", "1"], ["2", "2"], ["7", "9"]]
    assert [row.value for row in rows[2:4]] == [0.0, 0.0]
