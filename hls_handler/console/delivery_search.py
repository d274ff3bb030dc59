"""Addresses of lists of deliveries, and how a delivery is named in an address."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from urllib.parse import quote, urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request

from hls_handler.settings.values import web_url
from hls_handler.storage import Storage
from hls_handler.store.deliveries import DeliveryRow


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
