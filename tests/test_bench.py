"""The benchmark's replacement of the storage still has everything that the pipeline uses."""

from __future__ import annotations

from pathlib import Path

from bench import steps


def test_checkpoint_benchmark_runs_deliveries_to_their_end(tmp_path: Path) -> None:
    (row,) = steps.measure(tmp_path, rounds=1, deliveries=2)
    assert (row.what, row.bound) == ("deliveries/s that remember to in memory", "at least")
    assert row.value > 0
