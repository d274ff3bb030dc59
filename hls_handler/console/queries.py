"""The queries of pages and of the API. A model has the parameters, from which their description is
made, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Self
from urllib.parse import quote, urlencode

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.requests import Request

from hls_handler.deliveries import ListedState
from hls_handler.errors import InvalidQuery
from hls_handler.events import REPOSITORY_NAME, EventKind
from hls_handler.logs import LogLevel
from hls_handler.reports.delivery_query import (
    WAITING,
    make_search,
    parse_moment,
    parse_shorthands,
)
from hls_handler.reports.retry import RETRIED, Retried
from hls_handler.settings.values import web_url
from hls_handler.store.analyses import AnalysisSearch
from hls_handler.store.deliveries import DeliveryRow
from hls_handler.store.figures import PeriodName
from hls_handler.store.search import DeliverySearch
from hls_handler.store.storage import Storage
from hls_handler.wording import reword_invalid

MAX_FILTER_CHARACTERS = 200
MAX_QUERY_CHARACTERS = 1_000
MAX_QUOTED = 100
MAX_NUMBER = 2**31 - 1
MAX_LIMIT = 100
MAX_OFFSET = 2_000
WITHOUT_NUL = r"^[^\u0000]*$"


class InvalidFilter(HTTPException):
    """A filter in the address has an invalid value. `detail` is a sentence for the operator."""

    def __init__(self, detail: str) -> None:
        super().__init__(400, detail)


def _parse_time(given: str) -> datetime:
    try:
        return parse_moment(given)
    except (ValueError, OverflowError):
        raise ValueError("expected a time in UTC such as 2026-11-23T12:00") from None


def _parse_number(given: str | int) -> int:
    if isinstance(given, str) and not re.fullmatch("[0-9]{1,10}", given):
        raise ValueError("expected a number")
    return int(given)


def check_text(given: str) -> str:
    """Return the text. Raises `ValueError` if it has a NUL, which PostgreSQL does not store."""
    if "\0" in given:
        raise ValueError("expected text without the character NUL")
    return given


def _check_repository(given: str) -> str:
    if not REPOSITORY_NAME.fullmatch(given):
        raise ValueError("expected owner/repo")
    return given


PlainText = Annotated[
    str, Field(json_schema_extra={"pattern": WITHOUT_NUL}), AfterValidator(check_text)
]
Text = Annotated[PlainText, Field(max_length=MAX_FILTER_CHARACTERS)]
RepositoryName = Annotated[
    str,
    Field(
        max_length=MAX_FILTER_CHARACTERS,
        json_schema_extra={"pattern": f"^{REPOSITORY_NAME.pattern}$"},
    ),
    AfterValidator(_check_repository),
]
Time = Annotated[datetime, BeforeValidator(_parse_time)]
Number = Annotated[int, BeforeValidator(_parse_number)]


def _parameter(
    description: str, example: str | int | None = None, *, default: object = None, **bounds: Any
) -> Any:
    return Field(
        default, description=description, examples=None if example is None else [example], **bounds
    )


class Query(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> Self:
        """Return the query of an address. An empty value is no filter. Raises `InvalidFilter`."""
        try:
            return cls.model_validate(
                {name: value.strip() for name, value in given.items() if value.strip()}
            )
        except ValidationError as exc:
            raise InvalidFilter(
                _describe(exc.errors()[0], ", ".join(cls.model_fields) or "none")
            ) from None


def _describe(error: ErrorDetails, known: str) -> str:
    name = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        return f"there is no filter {name[:MAX_QUOTED]!r}; expected one of {known}"
    problem = reword_invalid(error["msg"])
    return f"{name}: found {str(error['input'])[:MAX_QUOTED]!r}, {problem}" if name else problem


class _DeliveryFilters(Query):
    q: Annotated[PlainText, Field(max_length=MAX_QUERY_CHARACTERS)] | None = _parameter(
        "words of the query language; a parameter takes the place of the word for the same",
        "is:dead repo:octocat/Hello-World since:1d",
    )
    state: ListedState | None = _parameter("only deliveries in this state", "dead")
    repository: RepositoryName | None = _parameter("only of this repository, in any case")
    event: Text | None = _parameter(
        "only of this event, with or without its action, such as issues.opened"
    )
    sender: Text | None = _parameter("only events that this account caused")
    text: Text | None = _parameter(
        "owner/repo#7, owner/repo or #7, part of the reason or of the title, or beginning of GUID"
        " or request id"
    )
    since: Time | None = _parameter(
        "only deliveries received from this time on; UTC without an offset"
    )
    until: Time | None = _parameter(
        "only deliveries received before this time; UTC without an offset"
    )

    def words(self) -> dict[str, str]:
        """Return the words of the query. Raises `InvalidFilter`."""
        shorthands = {name: getattr(self, name) for name in _DeliveryFilters.model_fields}
        query = shorthands.pop("q") or ""
        try:
            return parse_shorthands(query, shorthands)
        except InvalidQuery as exc:
            raise InvalidFilter(str(exc)) from None

    def search(self, now: datetime) -> DeliverySearch:
        """Return the search, whose ages are counted back from `now`. Raises `InvalidFilter`."""
        return find_search(self.words(), now)


def find_search(words: Mapping[str, str], now: datetime) -> DeliverySearch:
    """Return the search for these words. Raises `InvalidFilter`."""
    try:
        return make_search(words, now)
    except InvalidQuery as exc:
        raise InvalidFilter(str(exc)) from None


class DeliveriesQuery(_DeliveryFilters):
    before: Text | None = _parameter("GUID of the last delivery of the page before")


class RetryQuery(_DeliveryFilters):
    state: Retried | None = _parameter("of the deliveries; dead, if `q` does not say it", "dead")
    number: Number = _parameter("how many deliveries match", default=0, ge=0, le=MAX_NUMBER)

    def words(self) -> dict[str, str]:
        words = {"is": "dead"} | super().words()
        if words["is"] not in (*RETRIED, WAITING):
            raise InvalidFilter(
                f"is:{words['is']}: expected {', '.join(RETRIED)} or {WAITING}, whose deliveries"
                " can be run again"
            )
        return words


class AnalysesQuery(Query):
    repo_full_name: RepositoryName | None = _parameter(
        "only of this repository, as GitHub writes it", "octocat/Hello-World"
    )
    pr_number: Annotated[int, Field(ge=1, le=MAX_NUMBER), BeforeValidator(_parse_number)] | None = (
        _parameter("only of the issue or pull request with this number", 7)
    )
    kind: EventKind | None = _parameter("only of events of this family")
    since: Time | None = _parameter("only replies from this time on; UTC without an offset")
    limit: Number = _parameter("analyses on a page", default=20, ge=1, le=MAX_LIMIT)
    offset: Number = _parameter("matching analyses to skip", default=0, ge=0, le=MAX_OFFSET)

    def search(self) -> AnalysisSearch:
        return AnalysisSearch(
            self.repo_full_name, self.pr_number, self.kind, self.since, self.limit, self.offset
        )


class RepositoryField(Query):
    """The repository in a form."""

    repository: RepositoryName | None = None


def parse_repository(form: Mapping[str, str]) -> str | None:
    """Return the repository in a form; None if there is none. Raises `InvalidFilter`."""
    return RepositoryField.parse({"repository": form.get("repository", "")}).repository


class OverviewQuery(Query):
    period: PeriodName = "24h"


class FiguresQuery(Query):
    """The period of figures: up to `until`, by default now, from `since` on or of the length
    `period`.
    """

    period: PeriodName = _parameter("its length, without `since`", "30d", default="7d")
    since: Time | None = _parameter("begin of another period; UTC without an offset")
    until: Time | None = _parameter("end of the period, by default now")
    repository: RepositoryName | None = _parameter(
        "only of this repository, in any case", "octocat/Hello-World"
    )

    @model_validator(mode="after")
    def _check_times(self) -> Self:
        if self.since is not None and self.until is not None and self.until <= self.since:
            raise ValueError("until: expected a time after since")
        return self


class LogQuery(Query):
    level: LogLevel | None = None
    id: Text = ""
    repository: RepositoryName | None = None
    text: Text = ""
    paused: Text = ""

    def filters(self) -> dict[str, Any]:
        """Return the arguments for `LogRing.find`."""
        return self.model_dump(exclude_defaults=True, exclude={"paused"})


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
