"""What the measures stand on: what takes the place of the store must go on taking all that the pipeline asks of it."""

from __future__ import annotations

from pathlib import Path

from bench import steps


def test_remembered_steps_are_measured_against_a_store_that_takes_a_delivery_to_its_end(tmp_path: Path) -> None:
    (row,) = steps.measure(tmp_path, rounds=1, deliveries=2)
    assert (row.what, row.bound) == ("deliveries/s that remember to in memory", "at least")
    assert row.value > 0
