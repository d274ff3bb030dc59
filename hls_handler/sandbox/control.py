"""The sandbox's own addresses under `/_sandbox`: plant events, change runs, set faults, read what was seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hls_handler import __version__
from hls_handler.sandbox.faults import Fault, Faults, StandIn
from hls_handler.sandbox.seen import SeenLog
from hls_handler.sandbox.state import State

T = TypeVar("T", bound=BaseModel)


class Planted(BaseModel):
    """A webhook whose thread is to exist. `files`: the changed files of a pull request, in REST shape."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    event: str
    payload: dict[str, Any]
    files: list[dict[str, Any]] | None = None


class LogOfJob(BaseModel):
    """The text that a job's log is to have; null lets it expire."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    repository: str
    job: int
    log: str | None


class FileOfRepository(BaseModel):
    """The text that a file is to have on the default branch, or on another one; null deletes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    repository: str
    path: str
    text: str | None
    branch: str | None = None


class EndOfAttempt(BaseModel):
    """How an attempt of a run is to have ended."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    repository: str
    run: int
    attempt: int
    conclusion: Literal["success", "failure", "timed_out", "cancelled", "skipped", "startup_failure"]


class BadRequest(Exception):
    """A request to the sandbox itself that it cannot follow."""


def control_routes(state: State, faults: Faults, seen: SeenLog, *, where: Mapping[str, str]) -> list[Route]:
    """`where` names the stand-ins' addresses. Bodies must be JSON by name: no web page can post here unasked."""

    async def about(request: Request) -> Response:
        del request
        told = {"service": "hls-sandbox", "version": __version__, "what": "canned answers: not GitHub, not Claude"}
        return JSONResponse({**told, **where, "threads": len(state.threads()), "requests": len(seen.all())})

    async def plant(request: Request) -> Response:
        planted = await _parsed(request, Planted)
        thread = state.plant(planted.event, planted.payload, files=planted.files)
        return JSONResponse({"thread": thread.key if thread else None}, status_code=201)

    async def set_log(request: Request) -> Response:
        told = await _parsed(request, LogOfJob)
        if not state.set_log(told.repository, told.job, told.log):
            raise BadRequest(f"job: {told.repository} has no job {told.job} here: plant its run first")
        return Response(status_code=204)

    async def set_file(request: Request) -> Response:
        told = await _parsed(request, FileOfRepository)
        if not state.set_file(told.repository, told.path, told.text, branch=told.branch):
            raise BadRequest(f"repository: there is no {told.repository} here: plant an event of it first")
        return Response(status_code=204)

    async def conclude(request: Request) -> Response:
        told = await _parsed(request, EndOfAttempt)
        if not state.conclude(told.repository, told.run, told.attempt, told.conclusion):
            raise BadRequest(
                f"attempt: {told.repository} has no attempt {told.attempt} of run {told.run} here: plant the run first"
            )
        return Response(status_code=204)

    async def add_fault(request: Request) -> Response:
        faults.add(await _parsed(request, Fault))
        return JSONResponse(_shown(faults), status_code=201)

    async def list_faults(request: Request) -> Response:
        del request
        return JSONResponse(_shown(faults))

    async def clear_faults(request: Request) -> Response:
        del request
        faults.clear()
        return Response(status_code=204)

    async def list_requests(request: Request) -> Response:
        wanted = request.query_params.get("stand_in")
        if wanted is not None and wanted not in get_args(StandIn):
            raise BadRequest(f"stand_in={wanted}: expected one of {', '.join(get_args(StandIn))}")
        named: dict[str, StandIn] = {name: name for name in get_args(StandIn)}
        return JSONResponse([one.document() for one in seen.all(named[wanted] if wanted else None)])

    async def clear_requests(request: Request) -> Response:
        del request
        seen.clear()
        return Response(status_code=204)

    return [
        Route("/_sandbox", about, methods=["GET"]),
        Route("/_sandbox/plant", plant, methods=["POST"]),
        Route("/_sandbox/logs", set_log, methods=["POST"]),
        Route("/_sandbox/files", set_file, methods=["POST"]),
        Route("/_sandbox/attempts", conclude, methods=["POST"]),
        Route("/_sandbox/faults", add_fault, methods=["POST"]),
        Route("/_sandbox/faults", list_faults, methods=["GET"]),
        Route("/_sandbox/faults", clear_faults, methods=["DELETE"]),
        Route("/_sandbox/requests", list_requests, methods=["GET"]),
        Route("/_sandbox/requests", clear_requests, methods=["DELETE"]),
    ]


def refuse(request: Request, exc: Exception) -> Response:
    """The answer to a `BadRequest`."""
    del request
    return JSONResponse({"detail": str(exc)}, status_code=400)


async def _parsed(request: Request, shape: type[T]) -> T:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise BadRequest("send application/json")
    try:
        return shape.model_validate_json(await request.body())
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        raise BadRequest(f"{where}: {first['msg']}") from exc


def _shown(faults: Faults) -> list[dict[str, Any]]:
    return [{**fault.model_dump(), "taken": taken} for fault, taken in faults.rules]
