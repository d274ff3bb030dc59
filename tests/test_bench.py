"""The benchmarks' storage in dictionaries has every method that the pipeline calls."""

from __future__ import annotations

from pathlib import Path

from bench import steps


def test_benchmark_of_checkpoints_processes_deliveries_with_both_storages(tmp_path: Path) -> None:
    (row,) = steps.measure(tmp_path, rounds=1, deliveries=2)
    assert (row.name, row.bound) == ("deliveries/s, database to memory", "at least")
    assert row.value > 0
