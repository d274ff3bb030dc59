"""The answer about deliveries in a list, which the page and `hls deliveries list` show, and the API
sends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import Field

from hls_handler.deliveries import ListedState, State, find_cause
from hls_handler.queue.pauses import Pause, describe_pause, find_pause
from hls_handler.reports.delivery_query import GROUPED, WAITING
from hls_handler.reports.documents import fill
from hls_handler.reports.retry import RETRIED
from hls_handler.store.deliveries import DeliveryRow
from hls_handler.store.search import NO_EXPENSE, Expense
from hls_handler.store.storage import Storage
from hls_handler.wording import format_relative


@dataclass(frozen=True, slots=True)
class ListedDelivery:
    """A delivery in a list."""

    delivery: Annotated[str, Field(description="the GUID")]
    request_id: str
    received_at: datetime
    finished_at: datetime | None
    next_attempt_at: Annotated[
        datetime | None, Field(description="null: it does not wait, or a pause blocks it")
    ]
    work_s: Annotated[float | None, Field(description="sum of the measured steps and calls")]
    took_s: Annotated[float | None, Field(description="from the receipt to the end")]
    event: Annotated[str, Field(description="event and action, such as issues.opened")]
    repository: str | None
    number: int | None
    conversation: Annotated[str, Field(description='"owner/repo#7", "owner/repo" or ""')]
    title: Annotated[
        str | None,
        Field(description=("of the issue, pull request, run, push or release")),
    ]
    sender: Annotated[str | None, Field(description="login")]
    state: State
    listed_state: Annotated[ListedState, Field(description="discarded: dead and discarded")]
    is_caught_up: Annotated[
        bool, Field(description="the webhook was missed, and read from GitHub later")
    ]
    discarded_at: Annotated[
        datetime | None, Field(description="of a dead delivery: when a person discarded it")
    ]
    success: Annotated[
        bool | None,
        Field(description="true: done; false: dead; null: not finished, ignored or superseded"),
    ]
    reason: str | None
    cost_usd: Annotated[float, Field(description="of the calls whose cost is known")]
    github_requests: Annotated[int | None, Field(description="of all attempts")]
    pause: Annotated[str | None, Field(description="a sentence about the pause that blocks it")]

    @property
    def state_word(self) -> str:
        """The state as people read it, and as queries have it: "waiting" for "queued"."""
        if self.state == "queued":
            return WAITING
        return self.listed_state

    @property
    def heading(self) -> str:
        return self.title or self.event

    @property
    def can_change(self) -> bool:
        """True if a list can retry it."""
        return self.listed_state in RETRIED

    @property
    def about(self) -> str:
        """ "octo/widgets · issues.opened · mona": what the heading does not say."""
        event = self.event if self.title else None
        caught_up = "caught up" if self.is_caught_up else None
        return " · ".join(filter(None, (self.repository, event, self.sender, caught_up)))

    def describe_wait(self, now: datetime) -> str:
        """Return "next attempt in 5 min", or "" for a delivery that does not wait for a time."""
        if self.next_attempt_at is None or self.next_attempt_at <= now:
            return ""
        return f"next attempt {format_relative(self.next_attempt_at, now)}"


@dataclass(frozen=True, slots=True)
class DeliveriesPage:
    """A page of the list of deliveries."""

    deliveries: Sequence[ListedDelivery]
    next: Annotated[str | None, Field(description="address of the next page")]


def list_deliveries(store: Storage, rows: Sequence[DeliveryRow]) -> Sequence[ListedDelivery]:
    """Return the deliveries in the same order. Blocks."""
    pauses = store.pauses.active()
    expenses = store.searches.expenses(rows)
    return [_list_row(row, expenses.get(row.guid, NO_EXPENSE), pauses) for row in rows]


def _list_row(row: DeliveryRow, expense: Expense, pauses: Sequence[Pause]) -> ListedDelivery:
    pause = None
    next_attempt_at = None
    if row.state == "queued":
        pause = find_pause(row.repository, pauses)
        if pause is None:
            next_attempt_at = row.due_at
    return fill(
        ListedDelivery,
        row,
        delivery=row.guid,
        event=row.event_key,
        next_attempt_at=next_attempt_at,
        work_s=expense.work_s,
        success={"done": True, "dead": False}.get(row.state),
        cost_usd=round(expense.cost_usd or 0.0, 6),
        pause=describe_pause(pause) if pause else None,
    )


def explain_deliveries(deliveries: Sequence[ListedDelivery], now: datetime) -> Mapping[str, str]:
    """Return by GUID why each delivery is in its state: the pause, or the reason, with the time of
    the next attempt.

    Of deliveries below each other that wait or are dead for the same cause, only the first has it.
    """
    explanations = dict[str, str]()
    above = None
    for delivery in deliveries:
        text = delivery.pause or delivery.reason or ""
        if delivery.listed_state in GROUPED and text:
            cause = find_cause(text)
            if cause == above:
                text = "as above"
            above = cause
        explanations[delivery.delivery] = ": ".join(
            filter(None, (delivery.describe_wait(now), text))
        )
    return explanations
