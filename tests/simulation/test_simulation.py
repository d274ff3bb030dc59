"""What every schedule must end with; `make simulate` runs more of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation.simulation import SimulatedDatabase, Simulation

SCHEDULES, PARTS = 20, 2


@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_is_lost_doubled_or_stuck_whatever_fails(tmp_path: Path, part: int) -> None:
    database = SimulatedDatabase(tmp_path / "hls.db")
    for seed in range(part * SCHEDULES // PARTS, (part + 1) * SCHEDULES // PARTS):
        assert Simulation(seed, database).run() == [], f"`make simulate SEEDS={seed}` repeats it"
    database.close()
