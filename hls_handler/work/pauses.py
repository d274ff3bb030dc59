"""Pauses as people are told of them: which one holds a delivery back, since when, why, and what ends it."""

from __future__ import annotations

from collections.abc import Sequence

from hls_handler.queue.pauses import Pause


def holding(repository: str | None, pauses: Sequence[Pause]) -> Pause | None:
    """The pause that holds back deliveries of "owner/repo", that of everything first; None where none does."""
    name = (repository or "").lower()
    fitting = [pause for pause in pauses if pause.repository is None or pause.repository.lower() == name]
    return min(fitting, key=lambda pause: pause.repository is not None, default=None)


def told(pause: Pause) -> str:
    """ "owner/repo is paused since 2026-11-20 20:00 UTC: a migration" """
    since = f"{pause.repository or 'everything'} is paused since {pause.paused_at:%Y-%m-%d %H:%M} UTC"
    return f"{since}: {pause.reason}" if pause.reason else since


def resuming(pause: Pause) -> str:
    """The command that ends it."""
    return f"`hls resume {pause.repository}`" if pause.repository else "`hls resume`"


def document(pause: Pause) -> dict[str, object]:
    """For /stats; `repository` is null for everything."""
    return {"repository": pause.repository, "reason": pause.reason, "since": pause.paused_at.isoformat()}
