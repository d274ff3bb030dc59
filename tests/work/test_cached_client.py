"""A cached client is reused while its settings stay the same."""

from __future__ import annotations

from hls_handler.work.active_config import CachedClient


def test_client_is_replaced_and_closed_only_when_its_settings_change() -> None:
    made: list[str] = []
    closed: list[str] = []

    def make(token: str) -> str:
        made.append(token)
        return f"client of {token}"

    cached = CachedClient(make, close=closed.append)
    assert [cached.of(token) for token in ("old", "old", "new", "new")] == [
        "client of old",
        "client of old",
        "client of new",
        "client of new",
    ]
    assert (made, closed) == (["old", "new"], ["client of old"])
    cached.close()
    cached.close()
    assert closed == ["client of old", "client of new"]
