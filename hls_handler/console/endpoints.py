"""The table of the API's endpoints. Its routes and its description (`openapi.py`) are made from
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict  # pydantic accepts that of `typing` from Python 3.12 on

from hls_handler.console.queries import (
    AnalysesQuery,
    DeliveriesQuery,
    FiguresQuery,
    Query,
    RetryQuery,
)
from hls_handler.events import EventKind
from hls_handler.reports.delivery_list import DeliveriesPage
from hls_handler.reports.delivery_report import DeliveryReport
from hls_handler.store.figures import FiguresReport
from hls_handler.web.app import HealthDocument
from hls_handler.web.stats import StatsDocument, TokensDocument

ANALYSIS_ID = r"[A-Za-z0-9-]{1,64}:[0-9]{1,2}"


class ProblemDocument(TypedDict):
    """An error, as problem details (RFC 9457)."""

    type: Literal["about:blank"]
    title: Annotated[str, Field(description="the status in words")]
    status: int
    detail: Annotated[str, Field(description="what is wrong, and what to do")]


class DetailDocument(TypedDict):
    """An error of /health or /stats."""

    detail: str


class RetryDocument(TypedDict):
    """A delivery that was queued again."""

    delivery: Annotated[str, Field(description="its GUID")]
    detail: str


class RetriesDocument(TypedDict):
    """Deliveries that were queued again."""

    queued: int
    detail: str
    query: Annotated[str | None, Field(description="`q` that finds them; null if there is none")]


@dataclass(frozen=True, slots=True)
class AnalysisDocument:
    """A valid reply of Claude about a delivery."""

    id: Annotated[
        str,
        Field(
            description="GUID of the delivery, a colon and the number of the step; it never changes"
        ),
    ]
    delivery: Annotated[str, Field(description="GUID of the delivery")]
    repository: str | None
    number: Annotated[int | None, Field(description="of the issue or pull request")]
    kind: Annotated[
        EventKind,
        Field(description="the family of the event; generic for all events without another kind"),
    ]
    event: Annotated[str, Field(description="event and action, such as issues.opened")]
    prompt_id: Annotated[str, Field(description="name and version of the prompt")]
    reply_type: Annotated[str, Field(description="type of the reply, such as issue_analysis")]
    model: str
    created_at: Annotated[datetime, Field(description="time of the reply, UTC")]
    tokens: Annotated[
        TokensDocument,
        Field(description="of its calls; all 0 if HLS's cache of replies had the reply"),
    ]
    cost_usd: Annotated[
        float | None, Field(description="of its calls; null if the model has no known price")
    ]
    reply: Annotated[
        dict[str, Any], Field(description="the fields of the reply type and those of the prompt")
    ]


class AnalysesDocument(TypedDict):
    """A page of analyses, the newest first."""

    analyses: list[AnalysisDocument]
    limit: int
    offset: int
    next: Annotated[str | None, Field(description="path of the next page")]
    is_complete: Annotated[
        bool, Field(description="false: older analyses may match, too, but are not listed")
    ]


@dataclass(frozen=True, slots=True)
class Endpoint:
    path: str
    summary: str
    response: Any  # the type of the JSON document
    method: Literal["GET", "POST"] = "GET"
    description: str = ""
    query: type[Query] = Query
    statuses: tuple[int, ...] = (200,)  # of responses with the document
    errors: tuple[int, ...] = (400, 401, 403, 404, 405, 503)
    needs_key: bool = True
    other_path: str | None = None  # a second path of it


GUID = "72d3162e-cc78-11e3-81ab-4c9367dc0958"
PATH_PARAMETERS: Mapping[str, Mapping[str, object]] = {
    "guid": {
        "description": "GUID of the delivery, a unique prefix of it, or the id of its request",
        "schema": {"type": "string", "minLength": 1},
        "example": GUID,
    },
    "id": {
        "description": "id of the analysis",
        "schema": {"type": "string", "pattern": f"^{ANALYSIS_ID}$"},
        "example": f"{GUID}:0",
    },
}

LIST_ANALYSES = Endpoint(
    "/api/analyses",
    "Claude's replies, the newest first",
    AnalysesDocument,
    query=AnalysesQuery,
    other_path="/analyses",
)
SHOW_ANALYSIS = Endpoint(
    "/api/analyses/{id}", "One reply of Claude", AnalysisDocument, other_path="/analyses/{id}"
)
LIST_DELIVERIES = Endpoint(
    "/api/deliveries",
    "Deliveries, the newest first",
    DeliveriesPage,
    description="A page has 50 deliveries.",
    query=DeliveriesQuery,
)
RETRY_DELIVERIES = Endpoint(
    "/api/deliveries/retry",
    "Run all dead, discarded, ignored or waiting deliveries of a filter now",
    RetriesDocument,
    method="POST",
    description=(
        "409 if the number of matching deliveries is not `number`. This prevents running more"
        " deliveries than were seen: the `detail` of a first request without `number` has their"
        " number. The key must be in the header, as for one delivery."
    ),
    query=RetryQuery,
    statuses=(202,),
    errors=(400, 401, 403, 405, 409, 503),
)
SHOW_DELIVERY = Endpoint("/api/deliveries/{guid}", "What happened to a delivery", DeliveryReport)
RETRY_DELIVERY = Endpoint(
    "/api/deliveries/{guid}/retry",
    "Run a dead, ignored or waiting delivery now",
    RetryDocument,
    method="POST",
    description=(
        "409 if the delivery is neither dead nor waiting, or if its body was deleted. The key must"
        " be in the header, also with a session; without `server.api_key`, the request must have no"
        " header Origin."
    ),
    statuses=(202,),
    errors=(400, 401, 403, 404, 405, 409, 503),
)
SHOW_FIGURES = Endpoint(
    "/api/stats",
    "The figures of a period, for each repository",
    FiguresReport,
    description=(
        "400 also if `since` is not in the past, or if `until` is not after "
        "`since`. docs/console.md defines the figures."
    ),
    query=FiguresQuery,
)
SHOW_HEALTH = Endpoint(
    "/health",
    "Whether the service works",
    HealthDocument,
    description=(
        "503 if it is unhealthy. If `server.api_key` is set, only `status` and `service` are shown"
        " without the key."
    ),
    statuses=(200, 503),
    errors=(405,),
    needs_key=False,
)
SHOW_STATS = Endpoint(
    "/stats",
    "Totals since the database was created",
    StatsDocument,
    description="docs/http.md explains the keys. Times are in seconds, shares from 0 to 1.",
    errors=(401, 405, 503),
)
ENDPOINTS = (
    LIST_ANALYSES,
    SHOW_ANALYSIS,
    LIST_DELIVERIES,
    SHOW_DELIVERY,
    RETRY_DELIVERIES,
    RETRY_DELIVERY,
    SHOW_FIGURES,
    SHOW_HEALTH,
    SHOW_STATS,
)
