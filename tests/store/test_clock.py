"""The database's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hls_handler.store import Store
from hls_handler.store.clock import from_ms, to_ms
from tests.store.builders import Skew


def test_the_databases_time_is_now(store: Store) -> None:
    before = datetime.now(UTC)
    assert before - timedelta(milliseconds=2) <= store.now() <= datetime.now(UTC) + timedelta(milliseconds=2)


def test_time_passes_when_the_test_says_so(store: Store, skew: Skew) -> None:
    before = store.now()
    skew.pass_by(hours=5)
    assert timedelta(hours=5) <= store.now() - before < timedelta(hours=5, minutes=1)


@pytest.mark.parametrize(("microseconds", "milliseconds"), [(0, 0), (1, 1), (999, 1), (1000, 1), (1001, 2)])
def test_a_moment_is_never_rounded_to_an_earlier_one(microseconds: int, milliseconds: int) -> None:
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    assert to_ms(noon + timedelta(microseconds=microseconds)) - to_ms(noon) == milliseconds
    assert from_ms(to_ms(noon)) == noon
