"""The sandbox's own API under `/_sandbox`: seed and send events, change objects, inject faults, read the log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hls_handler import __version__
from hls_handler.prompting import recorded
from hls_handler.sandbox import shapes
from hls_handler.sandbox.apps import Apps
from hls_handler.sandbox.faults import Fault, Faults, StandIn
from hls_handler.sandbox.objects import Conversation, Permission, Repository
from hls_handler.sandbox.request_log import RequestLog
from hls_handler.sandbox.review_calls import add_reply, list_webhooks, thread_payload
from hls_handler.sandbox.state import State

T = TypeVar("T", bound=BaseModel)


class SeedEvent(BaseModel):
    """Request to store the objects of a webhook. `files` are the changed files of the webhook's pull request."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    event: str
    payload: dict[str, Any]
    files: list[dict[str, Any]] | None = None


class AddHook(BaseModel):
    """Request to create a webhook, of which the token's account becomes an administrator.

    `owner` is "owner/repo", or an organisation.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    owner: str
    url: str
    secret: str


class SetJobLog(BaseModel):
    """Request to replace the log of a job. A `log` of null means that the log has expired."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    repository: str
    job: int
    log: str | None


class SetFile(BaseModel):
    """Request to replace a file, or to delete it if `text` is null. `branch` defaults to the default branch."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    repository: str
    path: str
    text: str | None
    branch: str | None = None


class SetThread(BaseModel):
    """Request to resolve the review thread that begins with `comment`, or to reopen it if `resolved_by` is null.

    The webhook is sent; that of a reopened thread names as sender the person who had resolved it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    repository: str
    number: int
    comment: int
    resolved_by: str | None


class React(BaseModel):
    """Request to add an account's reaction to a review comment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    repository: str
    number: int
    comment: int
    login: str
    content: Literal["+1", "-1"]


class AddComment(BaseModel):
    """Request to comment as a person and to send the webhook. `permission` is set first; None keeps the present one.

    `thread` is the id of the first comment of the review thread to reply in; None: comment on the conversation.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    repository: str
    number: int
    author: str
    body: str
    permission: Permission | None = None
    thread: int | None = None


class ChangeLabels(BaseModel):
    """Request to remove and add labels of an issue or a pull request as a person, and to send the webhooks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    repository: str
    number: int
    author: str
    remove: tuple[str, ...] = ()
    add: tuple[str, ...] = ()


class SetConclusion(BaseModel):
    """Request to replace the conclusion of one attempt of a workflow run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    repository: str
    run: int
    attempt: int
    conclusion: Literal["success", "failure", "timed_out", "cancelled", "skipped", "startup_failure"]


class BadRequest(Exception):
    """An invalid request to the API under `/_sandbox`. The response is 400."""


def control_routes(
    state: State, apps: Apps, faults: Faults, log: RequestLog, *, urls: Mapping[str, str]
) -> list[Route]:
    """Return the routes. Request bodies must be JSON, so that forms on other web pages cannot change the sandbox."""

    async def about(request: Request) -> Response:
        del request
        service = {"service": "hls-sandbox", "version": __version__, "what": "canned answers: not GitHub, not Claude"}
        return JSONResponse({**service, **urls, "threads": len(state.conversations()), "requests": len(log.all())})

    return [
        Route("/_sandbox", about, methods=["GET"]),
        *_state_routes(state, apps, urls),
        *_fault_routes(faults),
        *_request_routes(log),
    ]


def _state_routes(state: State, apps: Apps, urls: Mapping[str, str]) -> list[Route]:
    async def seed(request: Request) -> Response:
        body = await _parse(request, SeedEvent)
        conversation = state.seed(body.event, body.payload, files=body.files)
        return JSONResponse({"thread": conversation.key if conversation else None}, status_code=201)

    async def send(request: Request) -> Response:
        body = await _parse(request, SeedEvent)
        state.seed(body.event, body.payload, files=body.files)
        return await send_webhook(body.event, body.payload)

    async def send_recorded(request: Request) -> Response:
        try:
            found = recorded.load(request.path_params["name"])
        except recorded.UnknownPayload as exc:
            raise BadRequest(str(exc)) from None
        payload = json.loads(recorded.unique(found.body))
        state.seed(found.event, payload)
        return await send_webhook(found.event, payload)

    async def send_webhook(event: str, payload: dict[str, Any]) -> Response:
        attempts = await attempt_webhook(event, payload)
        if not attempts:
            raise BadRequest("payload: its repository has no hook and no App: create a hook with POST /_sandbox/hooks")
        return JSONResponse(attempts, status_code=201)

    async def attempt_webhook(event: str, payload: dict[str, Any]) -> list[dict[str, Any]]:
        sent = shapes.localised(payload, api_url=urls["github_url"], web_url=urls["page_url"].rstrip("/"))
        return [attempt.document() for attempt in await asyncio.to_thread(apps.send_webhook, event, sent)]

    async def add_hook(request: Request) -> Response:
        body = await _parse(request, AddHook)
        if "/" in body.owner:
            state.set_permission(body.owner, state.me.login, "admin")
        home = state.repository(body.owner)
        add = partial(state.hooks.add, repository=home.document if home is not None else None)
        hook = await asyncio.to_thread(add, body.owner, body.url, body.secret)  # sends the ping
        return JSONResponse({"id": hook.id}, status_code=201)

    def require_conversation(body: AddComment | ChangeLabels) -> tuple[Repository, Conversation]:
        home, conversation = state.repository(body.repository), state.conversation(body.repository, body.number)
        if home is None or conversation is None:
            raise BadRequest(f"number: the sandbox has no {body.repository}#{body.number}: send its event first")
        return home, conversation

    async def add_comment(request: Request) -> Response:
        body = await _parse(request, AddComment)
        home, conversation = require_conversation(body)
        author = state.add_person(body.author)
        if body.permission is not None:
            state.set_permission(body.repository, author.login, body.permission)
        if body.thread is not None:
            replied = add_reply(state, conversation, body.thread, body.body, by=author)
            if replied is None:
                raise BadRequest(_no_review_comment(body, body.thread))
            webhooks = [await attempt_webhook(*webhook) for webhook in list_webhooks(state, *replied)]
            return JSONResponse([attempt for attempts in webhooks for attempt in attempts], status_code=201)
        made = state.create_comment(conversation, body.body, by=author)
        payload = {
            "action": "created",
            "issue": shapes.issue(conversation, home),
            "comment": shapes.comment(conversation, made, state.association(home.full_name, author.login)),
            "repository": home.document,
            "sender": shapes.account(author),
        }
        return await send_webhook("issue_comment", payload)

    async def change_labels(request: Request) -> Response:
        body = await _parse(request, ChangeLabels)
        home, conversation = require_conversation(body)
        author = state.add_person(body.author)
        kind, shape = ("pull_request", shapes.pull_request) if conversation.kind == "pull" else ("issue", shapes.issue)
        answer = Response(status_code=204)
        changes = [("unlabeled", name) for name in body.remove] + [("labeled", name) for name in body.add]
        for action, name in changes:
            if action == "labeled":
                conversation = state.add_labels(conversation, (name,), by=author)
            else:
                conversation = state.remove_label(conversation, name, by=author)
            home = state.repository(body.repository) or home  # with a label that it did not have
            payload = {
                "action": action,
                kind: shape(conversation, home),
                "label": {"name": name},
                "repository": home.document,
                "sender": shapes.account(author),
            }
            answer = await send_webhook("issues" if kind == "issue" else kind, payload)
        return answer

    async def set_log(request: Request) -> Response:
        body = await _parse(request, SetJobLog)
        if not state.set_log(body.repository, body.job, body.log):
            raise BadRequest(
                f"job: the sandbox has no job {body.job} of {body.repository}: send the event of its run first"
            )
        return Response(status_code=204)

    async def set_file(request: Request) -> Response:
        body = await _parse(request, SetFile)
        if not state.set_file(body.repository, body.path, body.text, branch=body.branch):
            raise BadRequest(f"repository: the sandbox has no {body.repository}: send an event of it first")
        return Response(status_code=204)

    async def set_conclusion(request: Request) -> Response:
        body = await _parse(request, SetConclusion)
        if not state.set_conclusion(body.repository, body.run, body.attempt, body.conclusion):
            raise BadRequest(
                f"attempt: the sandbox has no attempt {body.attempt} of run {body.run} of {body.repository}: "
                "send the event of the run first"
            )
        return Response(status_code=204)

    async def set_thread(request: Request) -> Response:
        body = await _parse(request, SetThread)
        pull = state.conversation(body.repository, body.number)
        resolved_before = pull.resolved.get(body.comment) if pull is not None else None
        is_known = state.set_resolved(body.repository, body.number, body.comment, body.resolved_by)
        if pull is None or not is_known:
            raise BadRequest(_no_review_comment(body, body.comment))
        person = body.resolved_by or resolved_before
        if person is None or (body.resolved_by is not None and resolved_before is not None):
            return JSONResponse([])
        action = "resolved" if body.resolved_by is not None else "unresolved"
        payload = thread_payload(state, pull, body.comment, action, by=state.add_person(person))
        return JSONResponse(await attempt_webhook("pull_request_review_thread", payload), status_code=201)

    async def react(request: Request) -> Response:
        body = await _parse(request, React)
        if not state.react_to_line(body.repository, body.number, body.comment, body.login, body.content):
            raise BadRequest(_no_review_comment(body, body.comment))
        return Response(status_code=204)

    return [
        Route("/_sandbox/plant", seed, methods=["POST"]),
        Route("/_sandbox/hooks", add_hook, methods=["POST"]),
        Route("/_sandbox/send", send, methods=["POST"]),
        Route("/_sandbox/send/{name:path}", send_recorded, methods=["POST"]),
        Route("/_sandbox/comments", add_comment, methods=["POST"]),
        Route("/_sandbox/labels", change_labels, methods=["POST"]),
        Route("/_sandbox/logs", set_log, methods=["POST"]),
        Route("/_sandbox/files", set_file, methods=["POST"]),
        Route("/_sandbox/attempts", set_conclusion, methods=["POST"]),
        Route("/_sandbox/threads", set_thread, methods=["POST"]),
        Route("/_sandbox/reactions", react, methods=["POST"]),
    ]


def _fault_routes(faults: Faults) -> list[Route]:
    def listed() -> list[dict[str, Any]]:
        return [{**fault.model_dump(), "taken": taken} for fault, taken in faults.rules]

    async def add(request: Request) -> Response:
        faults.add(await _parse(request, Fault))
        return JSONResponse(listed(), status_code=201)

    async def get(request: Request) -> Response:
        del request
        return JSONResponse(listed())

    async def clear(request: Request) -> Response:
        del request
        faults.clear()
        return Response(status_code=204)

    return [
        Route("/_sandbox/faults", add, methods=["POST"]),
        Route("/_sandbox/faults", get, methods=["GET"]),
        Route("/_sandbox/faults", clear, methods=["DELETE"]),
    ]


def _request_routes(log: RequestLog) -> list[Route]:
    async def get(request: Request) -> Response:
        wanted = request.query_params.get("stand_in")
        if wanted is not None and wanted not in get_args(StandIn):
            raise BadRequest(f"stand_in={wanted}: expected one of {', '.join(get_args(StandIn))}")
        return JSONResponse([one.document() for one in log.all() if wanted in {None, one.stand_in}])

    async def clear(request: Request) -> Response:
        del request
        log.clear()
        return Response(status_code=204)

    return [
        Route("/_sandbox/requests", get, methods=["GET"]),
        Route("/_sandbox/requests", clear, methods=["DELETE"]),
    ]


def _no_review_comment(body: SetThread | React | AddComment, comment: int) -> str:
    return f"comment: {body.repository}#{body.number} has no review comment {comment} in the sandbox"


def bad_request(request: Request, exc: Exception) -> Response:
    del request
    return JSONResponse({"detail": str(exc)}, status_code=400)


async def _parse(request: Request, model: type[T]) -> T:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise BadRequest("the content type must be application/json")
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        raise BadRequest(f"{where}: {first['msg']}") from exc
