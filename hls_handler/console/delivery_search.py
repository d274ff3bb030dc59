"""Addresses of lists of deliveries, and how a delivery is named in an address."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import quote, urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request

from hls_handler.settings.values import web_url
from hls_handler.store.deliveries import DeliveryRow
from hls_handler.store.storage import Storage


def find_list(**filters: str | datetime) -> str:
    """Return the address of a list of deliveries: "/deliveries?q=is%3Adead"."""
    for name, value in filters.items():
        if isinstance(value, datetime):
            filters[name] = f"{value:%Y-%m-%dT%H:%M}"
    return f"/deliveries?{urlencode(filters)}"


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
