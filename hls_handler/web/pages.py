"""`/health` and `/stats`: how the service is, and what it did."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hls_handler.errors import StoreUnavailable
from hls_handler.web.api_key import ApiKey
from hls_handler.web.counting import Counting
from hls_handler.web.ports import Ports
from hls_handler.web.stats import Figures, stats_page
from hls_handler.work.health import HealthSnapshot

SERVICE = "github-webhook-handler"

CONTENT_SECURITY_POLICY = {"content-security-policy": "default-src 'none'; frame-ancestors 'none'"}


def health_page(snapshot: HealthSnapshot, *, uptime_s: float) -> dict[str, object]:
    """The whole page, for those who may see it."""
    return {
        **health_summary(snapshot),
        "uptime_seconds": round(uptime_s, 3),
        "components": {
            name: {
                "state": component.state,
                "since": component.since.isoformat(),
                "message": component.message,
                "remedy": component.remedy,
                **component.figures,
            }
            for name, component in snapshot.components.items()
        },
    }


def health_summary(snapshot: HealthSnapshot) -> dict[str, object]:
    """What everybody may see."""
    return {"status": snapshot.overall, "service": SERVICE}


class Pages:
    """The two endpoints. Nothing here calls out: what they show is known already, or asked of our own store."""

    def __init__(self, api_key: ApiKey, ports: Ports, counting: Counting, *, started: float) -> None:
        """`started` is when the service was, by the ports' clock."""
        self._api_key, self._ports = api_key, ports
        self._counting, self._started = counting, started

    async def health(self, request: Request) -> Response:
        snapshot = self._ports.health.snapshot()
        admitted = self._api_key.admits(request.scope["headers"])
        page = (
            health_page(snapshot, uptime_s=self._ports.clock() - self._started)
            if admitted
            else health_summary(snapshot)
        )
        return _json(page, status=503 if snapshot.overall == "unhealthy" else 200)

    async def stats(self, request: Request) -> Response:
        if not self._api_key.admits(request.scope["headers"]):
            return _json({"detail": "send the service's key (server.api_key) in the header X-API-Key"}, status=401)
        try:
            reading = await self._counting.reading()
        except StoreUnavailable:
            return _json({"detail": "the store cannot be read now: see /health"}, status=503)
        figures = Figures(
            uptime_s=self._ports.clock() - self._started,
            queue=reading.queue,
            rate_limit=self._ports.rate_limit(),
            throughput=reading.throughput,
        )
        return _json(stats_page(reading.counters, figures), status=200)


def _json(page: dict[str, Any], *, status: int) -> Response:
    return JSONResponse(page, status_code=status, headers=CONTENT_SECURITY_POLICY)
