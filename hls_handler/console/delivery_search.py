"""Addresses of lists of deliveries, groups of deliveries by reason, and how a delivery is named in
an address.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote, urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request

from hls_handler.console.queries import MAX_FILTER_CHARACTERS
from hls_handler.settings.values import web_url
from hls_handler.storage import Storage
from hls_handler.store.statistics import DeliveryRow

MAX_REASONS = 5
_VARYING = re.compile(r"\d\d:\d\d(:\d\d)?|#\d+|\breq_\w+")
"""Matches parts of a reason that differ in each delivery: a time of the day, a number on GitHub, an
id of a request.
"""


@dataclass(frozen=True, slots=True)
class ReasonGroup:
    """Deliveries that wait, or failed, for the same cause."""

    address: str  # of the list of them
    reason: str  # of the first one; those of the others may name another time
    number: int
    first_due_at: datetime


def to_query(given: Mapping[str, str], *, before: str | None) -> str:
    """Return the query of the address with the given filters and another page:
    "state=dead&before=GUID".
    """
    filters = {name: value for name, value in given.items() if value and name != "before"}
    if before:
        filters["before"] = before
    return urlencode(filters)


def list_address(
    filters: Mapping[str, str], *, since: datetime | None = None, until: datetime | None = None
) -> str:
    """Return the address of the list of deliveries with these filters: "/deliveries?state=dead"."""
    times = {"since": since, "until": until}
    given = {
        name: f"{moment:%Y-%m-%dT%H:%M}" for name, moment in times.items() if moment is not None
    }
    return f"/deliveries?{urlencode({**filters, **given})}"


def group_reasons(
    reasons: Iterable[tuple[str, int, datetime]], filters: Mapping[str, str]
) -> tuple[ReasonGroup, ...]:
    """Return the most frequent reasons. `reasons` are (reason, number, first time due) of
    deliveries with `filters`.

    Reasons that differ only in a time of the day, a number on GitHub or an id of a request are one.
    """
    groups: dict[str, list[tuple[str, int, datetime]]] = {}
    for one in reasons:
        groups.setdefault(_VARYING.sub("", one[0]), []).append(one)
    found = [
        ReasonGroup(
            list_address(
                {**filters, "text": _VARYING.split(group[0][0])[0].strip()[:MAX_FILTER_CHARACTERS]}
            ),
            group[0][0],
            sum(number for _, number, _ in group),
            min(due_at for _, _, due_at in group),
        )
        for group in groups.values()
    ]
    return tuple(sorted(found, key=lambda group: -group.number)[:MAX_REASONS])


def require_delivery(store: Storage, request: Request) -> DeliveryRow:
    """Return the delivery whose GUID, unique prefix of it, or request id is in the path. Raises
    `HTTPException`.
    """
    guid = request.path_params["guid"]
    row = store.deliveries.find(guid)
    if row is None:
        raise HTTPException(404, f"there is no delivery {guid}, or it was deleted")
    return row


def find_github_page(row: DeliveryRow, base_url: str) -> str | None:
    """Return the address of the issue or pull request, else of the repository. `base_url` is that
    of GitHub's API.
    """
    if row.repository is None:
        return None
    page = f"{web_url(base_url)}/{quote(row.repository)}"
    if row.number is None:
        return page
    return f"{page}/issues/{row.number}"  # GitHub redirects to /pull/ if it is a pull request
