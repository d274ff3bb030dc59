"""Whose turn it is to do what goes slowly: pure decisions over a clock, a pace and what was reserved before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hls_handler.store.clock import FURTHEST_MS, HOUR_MS

_LATE_MS = 2_000  # a turn that was missed by more than this, and one interval, is lost
_EARLY_MS = 20  # a turn that comes sooner than this is not waited for where turns are closer together, too


@dataclass(frozen=True, slots=True)
class Pace:
    """One queue of turns; times are milliseconds by the database's clock."""

    next_at: int  # the first turn that nobody has reserved
    held_until: int  # turns before this are void: the server said so
    taken_at: int  # when the last turn was taken, which may be later than when it began


@dataclass(frozen=True, slots=True)
class Turn:
    """`slot_at` may be taken now (`go`) or is to be waited for; `pace` is what the next one finds."""

    go: bool
    slot_at: int
    pace: Pace


def next_turn(pace: Pace, *, reserved: int | None, interval_ms: int, now: int) -> Turn:
    """Take or reserve a turn. A turn reserved before is used up when its time has come.

    Turns are taken `interval_ms` apart, however late one before was taken. A reserved turn is lost when the server
    holds the pace beyond it, or when it was missed by far: a service that was down does not do everything at once that
    it missed. Of turns a few milliseconds apart, one may be taken that little early: asking again costs more than that.
    """
    if max(pace.next_at, pace.held_until, pace.taken_at) > now + FURTHEST_MS:  # the clock was set back since then
        pace, reserved = Pace(now, 0, 0), None
    is_mine = reserved is not None and reserved >= pace.held_until and now <= reserved + interval_ms + _LATE_MS
    begins_at = reserved if is_mine and reserved is not None else max(pace.next_at, pace.held_until, now)
    slot_at = max(begins_at, pace.taken_at + interval_ms)
    early_ms = _EARLY_MS if interval_ms < _EARLY_MS else 0
    go = slot_at - early_ms <= now and pace.held_until <= now
    used_at = max(slot_at, now)
    next_at = max(pace.next_at, used_at + interval_ms)
    return Turn(go, slot_at, Pace(next_at, pace.held_until, used_at if go else pace.taken_at))


def budget_frees_at(started: Sequence[int], *, limit: int, ahead: int) -> int | None:
    """When there is a call to be had within `limit` an hour, after `ahead` others had theirs; None for now.

    `started` are the starts of the calls of the last hour, oldest first. Who waits is given a time of its own, so that
    not all come back at once.
    """
    if len(started) < limit:
        return None
    leaving = len(started) - limit + ahead
    hours, index = divmod(leaving, len(started))
    return started[index] + (hours + 1) * HOUR_MS
