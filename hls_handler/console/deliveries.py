"""The pages about deliveries: the list, and one delivery with all that is known about it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from hls_handler.console.delivery_search import (
    STATES,
    describe_conversation,
    describe_event,
    find_delivery,
    find_github_page,
    parse_search,
    to_query,
)
from hls_handler.console.frame import Frame
from hls_handler.console.log_lines import show_line
from hls_handler.history.statistics import DeliveryRow
from hls_handler.log_ring import LogFilter, LogLine, LogRing
from hls_handler.reports.delivery_report import DeliveryReport, format_report, load_report
from hls_handler.reports.retry import retry_delivery
from hls_handler.reports.timeline import ROUTE, Step
from hls_handler.settings.effective import RepositoryTable
from hls_handler.storage import Storage
from hls_handler.wording import add_usd

MAX_FACTS_CHARACTERS = 100_000
MAX_LOG_LINES = 200
STEP_TITLES = {"route": "Route", "gather": "Read from GitHub", "ask": "Ask Claude", "post": "Post"}


class DeliveryPages:
    def __init__(self, frame: Frame, store: Storage, log_ring: LogRing) -> None:
        self._frame, self._store, self._log_ring = frame, store, log_ring
        self._table = RepositoryTable(frame.settings)

    def routes(self) -> Sequence[BaseRoute]:
        return [
            self._frame.page("/deliveries", self._list),
            self._frame.page("/deliveries/{guid}", self._show),
            self._frame.page("/deliveries/{guid}/retry", self._retry, method="POST"),
        ]

    async def _list(self, request: Request) -> Response:
        search = parse_search(request.query_params)
        found = await asyncio.to_thread(self._store.searches.find, search)
        return self._frame.render(
            request,
            "deliveries.html",
            rows=[(row, describe_event(row), describe_conversation(row)) for row in found.rows],
            search=search,
            given=dict(request.query_params),
            states=STATES,
            is_complete=found.is_complete,
            next_query=None if found.next is None else to_query(request.query_params, before=found.next),
            first_query=to_query(request.query_params, before=None) if search.before else None,
        )

    async def _show(self, request: Request) -> Response:
        row = await find_delivery(self._store, request.path_params["guid"])
        return self._missing(request) if row is None else await self._page(request, row)

    def _missing(self, request: Request) -> Response:
        guid = request.path_params["guid"]
        return self._frame.message(request, f"There is no delivery {guid}, or it was deleted.", status=404)

    async def _page(self, request: Request, row: DeliveryRow, *, said: str = "", status: int = 200) -> Response:
        shown = await asyncio.to_thread(self._load, row)
        report = shown.report
        _, *sentences = format_report(report)  # the first one names the delivery
        return self._frame.render(
            request,
            "delivery.html",
            status=status,
            report=report,
            row=row,
            event=describe_event(row),
            conversation=describe_conversation(row),
            github_page=find_github_page(row, self._frame.settings.github.base_url),
            sentences=[sentence.strip() for sentence in sentences],
            steps=[
                (step, _title(step), _started(step, row), bar)
                for step, bar in zip(report.steps, _draw_bars(report.steps), strict=True)
            ],
            total_usd=add_usd(call.cost_usd for call in report.calls),
            replies=shown.replies,
            facts=shown.facts,
            log_lines=[show_line(line) for line in shown.log_lines],
            log_begins_at=self._log_ring.begins_at(),
            budgets=shown.budgets,
            said=said,
            can_retry=shown.can_retry,
        )

    def _load(self, row: DeliveryRow) -> _Shown:
        report = load_report(self._store, row)
        return _Shown(
            report,
            facts=None if report.facts is None else _format_facts(report.facts),
            replies=tuple(
                (answered.prompt_id, json.dumps(answered.reply.model_dump(mode="json"), indent=2, ensure_ascii=False))
                for answered in report.answers
            ),
            log_lines=self._log_ring.find(LogFilter(delivery=row.guid), limit=MAX_LOG_LINES).lines,
            budgets=self._load_budgets(row) if report.calls else (),
            can_retry=row.state in ("dead", "queued") or (row.state == "ignored" and self._has_body(row)),
        )

    def _has_body(self, row: DeliveryRow) -> bool:
        return self._store.deliveries.body(row.guid) is not None

    def _load_budgets(self, row: DeliveryRow) -> tuple[Budget, ...]:
        effective, settings = self._table.find(row.repository or ""), self._frame.settings
        if row.event != "pull_request" or effective is None:
            return ()
        of_delivery, of_pull_request = self._store.calls.review_costs(row.guid)
        review, where = effective.review, settings.sources.where
        return (
            Budget(
                "of this delivery",
                of_delivery,
                review.max_usd,
                where(effective.find_review_key("max_usd", settings)),
            ),
            Budget(
                "of its pull request",
                of_pull_request,
                review.max_usd_per_pull_request,
                where(effective.find_review_key("max_usd_per_pull_request", settings)),
            ),
        )

    async def _retry(self, request: Request) -> Response:
        await self._frame.read_own_form(request)
        row = await find_delivery(self._store, request.path_params["guid"])
        if row is None:
            return self._missing(request)
        run = partial(retry_delivery, body_days_source=self._frame.settings.sources.where("storage.body_days"))
        result = await asyncio.to_thread(run, self._store, row)
        if result.is_queued:
            return RedirectResponse(f"/deliveries/{row.guid}", 303)
        row = await find_delivery(self._store, row.guid)  # its state may have changed meanwhile
        if row is None:
            return self._missing(request)
        return await self._page(request, row, said=f"{result.sentence}.", status=409)


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit on the cost of the calls for a pull request, by the present settings."""

    of: str  # "of this delivery"
    used_usd: float
    max_usd: float
    where: str  # the setting with file and line


@dataclass(frozen=True, slots=True)
class _Shown:
    report: DeliveryReport
    facts: str | None
    replies: tuple[tuple[str, str], ...]  # prompt id, and the reply as JSON
    log_lines: tuple[LogLine, ...]
    budgets: tuple[Budget, ...]
    can_retry: bool


def _title(step: Step) -> str:
    """Return "Ask Claude 2" for "ask 2"."""
    name, _, rest = step.name.partition(" ")
    return f"{STEP_TITLES.get(name, name)} {rest}".rstrip()


def _started(step: Step, row: DeliveryRow) -> str:
    """Return the start of the step: "12:00:00.250"; with the date if it is another one than that of the receipt."""
    if step.started_at is None:
        return ""
    clock = f"{step.started_at:%H:%M:%S.%f}"[:-3]
    is_same_day = step.started_at.date() == row.received_at.date()
    return clock if is_same_day else f"{step.started_at:%Y-%m-%d} {clock}"


def _draw_bars(steps: Sequence[Step]) -> list[tuple[float, float] | None]:
    """Return for each step its start and its length in per cent of the time from the first to the last one.

    None: the step has no start or no duration, or it is the routing, before which the delivery waited in the queue.
    """
    spans = [
        (step.started_at.timestamp(), step.took_s)
        if step.started_at is not None and step.took_s is not None and step.name != ROUTE
        else None
        for step in steps
    ]
    begin = min((start for start, _ in filter(None, spans)), default=0.0)
    length = max((start + took_s - begin for start, took_s in filter(None, spans)), default=0.0) or 1.0
    return [
        None if span is None else (round((span[0] - begin) / length * 100, 2), round(span[1] / length * 100, 2))
        for span in spans
    ]


def _format_facts(facts: str) -> str:
    """Return the first `MAX_FACTS_CHARACTERS` of the facts as lines. The rest is not formatted."""
    text = ""
    for line in _format_tree(json.loads(facts)):
        text += f"{line}\n"
        if len(text) > MAX_FACTS_CHARACTERS:
            return f"{text[:MAX_FACTS_CHARACTERS]}… [the rest is not shown]"
    return text.rstrip("\n")


def _format_tree(value: object, indent: str = "") -> Iterator[str]:
    """Yield the lines of a JSON value for reading. Each line of a text is marked, so that it cannot imitate a key."""
    match value:
        case Mapping() | list() if value:
            named = value.items() if isinstance(value, Mapping) else (("-", part) for part in value)
            for name, part in named:
                label = name if name == "-" else f"{name}:"
                if (isinstance(part, Mapping | list) and part) or (isinstance(part, str) and "\n" in part):
                    yield f"{indent}{label}"
                    yield from _format_tree(part, f"{indent}  ")
                else:
                    yield f"{indent}{label} {next(_format_tree(part)).strip()}"
        case str() if "\n" in value:
            yield from (f"{indent}| {line}" for line in value[: MAX_FACTS_CHARACTERS + 1].split("\n"))
        case str():
            yield f"{indent}{value}"
        case _:
            yield f"{indent}{json.dumps(value)}"
