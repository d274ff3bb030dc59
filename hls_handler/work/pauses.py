"""Descriptions of pauses for people: the pause that applies, its start and reason, and the command that ends it."""

from __future__ import annotations

from collections.abc import Sequence

from hls_handler.queue.pauses import Pause


def holding(repository: str | None, pauses: Sequence[Pause]) -> Pause | None:
    """Return the pause that applies to deliveries of "owner/repo", the general one first; None if there is none."""
    name = (repository or "").lower()
    fitting = [pause for pause in pauses if pause.repository is None or pause.repository.lower() == name]
    return min(fitting, key=lambda pause: pause.repository is not None, default=None)


def describe_pause(pause: Pause) -> str:
    """ "owner/repo is paused since 2026-11-20 20:00 UTC: a migration" """
    since = f"{pause.repository or 'everything'} is paused since {pause.paused_at:%Y-%m-%d %H:%M} UTC"
    return f"{since}: {pause.reason}" if pause.reason else since


def resuming(pause: Pause) -> str:
    """Return the command that ends the pause."""
    return f"`hls resume {pause.repository}`" if pause.repository else "`hls resume`"


def document(pause: Pause) -> dict[str, object]:
    """Return the pause as JSON for /stats; `repository` is null for a pause of everything."""
    return {"repository": pause.repository, "reason": pause.reason, "since": pause.paused_at.isoformat()}
