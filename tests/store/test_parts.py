"""The parts of the store are one class in the end: none may take another's name."""

from __future__ import annotations

from collections import Counter

from hls_handler.store import Store
from hls_handler.store.part import Part


def test_no_part_of_the_store_has_a_name_that_another_part_has() -> None:
    parts = [part for part in Store.__mro__ if issubclass(part, Part) and part not in (Store, Part)]
    names = Counter(name for part in parts for name in vars(part) if not name.startswith("__"))
    assert [name for name, times in names.items() if times > 1] == []
