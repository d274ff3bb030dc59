"""A thing that is kept as long as what it was made of stays the same, such as a client and its settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Of = TypeVar("Of")
Made = TypeVar("Made")


class CachedClient(Generic[Of, Made]):
    """For one thread: what it gives is not shared."""

    def __init__(self, make: Callable[[Of], Made], *, close: Callable[[Made], None]) -> None:
        self._make, self._close = make, close
        self._kept: tuple[Of, Made] | None = None

    def of(self, source: Of) -> Made:
        """The thing made of `source`: the same as last time if `source` is, else a new one, and the old one closed."""
        if self._kept is not None and self._kept[0] == source:
            return self._kept[1]
        made = self._make(source)
        if self._kept is not None:
            self._close(self._kept[1])
        self._kept = (source, made)
        return made

    def close(self) -> None:
        """Close what is kept, if anything is."""
        if self._kept is not None:
            self._close(self._kept[1])
            self._kept = None
