"""Clients are kept as long as their settings stay the same."""

from __future__ import annotations

from hls_handler.work.active_config import CachedClient


def test_a_thing_is_made_anew_only_when_what_it_is_made_of_changes_and_the_old_one_is_closed() -> None:
    made: list[str] = []
    closed: list[str] = []

    def make(token: str) -> str:
        made.append(token)
        return f"client of {token}"

    kept = CachedClient(make, close=closed.append)
    assert [kept.of(token) for token in ("old", "old", "new", "new")] == [
        "client of old",
        "client of old",
        "client of new",
        "client of new",
    ]
    assert (made, closed) == (["old", "new"], ["client of old"])
    kept.close()
    kept.close()
    assert closed == ["client of old", "client of new"]
