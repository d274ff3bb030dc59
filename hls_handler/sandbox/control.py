"""The sandbox's own API under `/_sandbox`: seed and send events, act as a person, inject faults,
read the log.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from functools import partial
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hls_handler.prompting import recorded
from hls_handler.sandbox import shapes
from hls_handler.sandbox.apps import Apps
from hls_handler.sandbox.faults import Fault, Faults
from hls_handler.sandbox.middleware import RequestLog
from hls_handler.sandbox.objects import Conversation, Permission, Repository
from hls_handler.sandbox.review_calls import add_reply, list_webhooks, thread_payload
from hls_handler.sandbox.state import State
from hls_handler.wording import describe_invalid

T = TypeVar("T", bound=BaseModel)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SeedEvent(_Body):
    """Request to store the objects of a webhook. `files` are the changed files of the webhook's
    pull request.
    """

    event: str
    payload: dict[str, Any]
    files: list[dict[str, Any]] | None = None


class AddHook(_Body):
    """Request to create a webhook, of which the token's account becomes an administrator."""

    owner: str  # "owner/repo", or an organisation
    url: str
    secret: str


class _OnConversation(_Body):
    repository: str
    number: int


class SetThread(_OnConversation):
    """Request to resolve the review thread that begins with `comment`, or to reopen it if
    `resolved_by` is null.

    The webhook is sent; that of a reopened thread names as sender the person who had resolved it.
    """

    comment: int
    resolved_by: str | None


class AddComment(_OnConversation):
    """Request to comment as a person and to send the webhook. `permission` is set first; None keeps
    the present one.

    `thread` is the id of the first comment of the review thread to reply in; None: comment on the
    conversation.
    """

    author: str
    body: str
    permission: Permission | None = None
    thread: int | None = None


class BadRequest(Exception):
    """An invalid request to the API under `/_sandbox`. The response is 400."""


def control_routes(
    state: State, apps: Apps, faults: Faults, log: RequestLog, *, urls: Mapping[str, str]
) -> list[Route]:
    """Return the routes. Request bodies must be JSON, so that forms on other web pages cannot
    change the sandbox.
    """

    async def add_fault(request: Request) -> Response:
        faults.add(await _parse(request, Fault))
        return Response(status_code=201)

    async def requests(request: Request) -> Response:
        del request
        return JSONResponse([one.document() for one in log.all()])

    async def clear_requests(request: Request) -> Response:
        del request
        log.clear()
        return Response(status_code=204)

    return [
        Route("/_sandbox/faults", add_fault, methods=["POST"]),
        Route("/_sandbox/requests", requests, methods=["GET"]),
        Route("/_sandbox/requests", clear_requests, methods=["DELETE"]),
        *_state_routes(state, apps, urls),
    ]


def _state_routes(state: State, apps: Apps, urls: Mapping[str, str]) -> list[Route]:
    async def seed(request: Request) -> Response:
        body = await _parse(request, SeedEvent)
        conversation = state.seed(body.event, body.payload, files=body.files)
        return JSONResponse({"thread": conversation.key if conversation else None}, status_code=201)

    async def send_recorded(request: Request) -> Response:
        try:
            found = recorded.load(request.path_params["name"])
        except recorded.UnknownPayload as exc:
            raise BadRequest(str(exc)) from None
        payload = json.loads(recorded.unique(found.body))
        state.seed(found.event, payload)
        return await send_webhooks((found.event, payload))

    async def send_webhooks(*webhooks: tuple[str, dict[str, Any]]) -> Response:
        attempts = [attempt for webhook in webhooks for attempt in await attempt_webhook(*webhook)]
        if not attempts:
            raise BadRequest(
                "payload: its repository has no hook and no App: create a hook with POST"
                " /_sandbox/hooks"
            )
        return JSONResponse(attempts, status_code=201)

    async def attempt_webhook(event: str, payload: dict[str, Any]) -> list[dict[str, Any]]:
        sent = shapes.localised(
            payload, api_url=urls["github_url"], web_url=urls["page_url"].rstrip("/")
        )
        return [
            attempt.document()
            for attempt in await asyncio.to_thread(apps.send_webhook, event, sent)
        ]

    async def add_hook(request: Request) -> Response:
        body = await _parse(request, AddHook)
        if "/" in body.owner:
            state.set_permission(body.owner, state.me.login, "admin")
        home = state.repository(body.owner)
        add = partial(state.hooks.add, repository=home.document if home is not None else None)
        hook = await asyncio.to_thread(add, body.owner, body.url, body.secret)  # sends the ping
        return JSONResponse({"id": hook.id}, status_code=201)

    def require_conversation(body: _OnConversation) -> tuple[Repository, Conversation]:
        home = state.repository(body.repository)
        conversation = state.conversation(body.repository, body.number)
        if home is None or conversation is None:
            raise BadRequest(
                f"number: the sandbox has no {body.repository}#{body.number}: send its event first"
            )
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
                raise _no_review_comment(body, body.thread)
            return await send_webhooks(*list_webhooks(state, *replied))
        made = state.create_comment(conversation, body.body, by=author)
        payload = {
            "action": "created",
            "issue": shapes.issue(conversation, home),
            "comment": shapes.comment(conversation, made),
            "repository": home.document,
            "sender": shapes.account(author),
        }
        return await send_webhooks(("issue_comment", payload))

    async def set_thread(request: Request) -> Response:
        body = await _parse(request, SetThread)
        _, pull = require_conversation(body)
        resolved_before = pull.resolved.get(body.comment)
        if not state.set_resolved(body.repository, body.number, body.comment, body.resolved_by):
            raise _no_review_comment(body, body.comment)
        person = body.resolved_by or resolved_before
        if person is None or (body.resolved_by is not None and resolved_before is not None):
            return JSONResponse([])  # it was so before
        action = "resolved" if body.resolved_by is not None else "unresolved"
        payload = thread_payload(state, pull, body.comment, action, by=state.add_person(person))
        return await send_webhooks(("pull_request_review_thread", payload))

    return [
        Route("/_sandbox/plant", seed, methods=["POST"]),
        Route("/_sandbox/hooks", add_hook, methods=["POST"]),
        Route("/_sandbox/send/{name:path}", send_recorded, methods=["POST"]),
        Route("/_sandbox/comments", add_comment, methods=["POST"]),
        Route("/_sandbox/threads", set_thread, methods=["POST"]),
    ]


def _no_review_comment(body: _OnConversation, comment: int) -> BadRequest:
    return BadRequest(
        f"comment: {body.repository}#{body.number} has no review comment {comment} in the sandbox"
    )


def bad_request(request: Request, exc: Exception) -> Response:
    del request
    return JSONResponse({"detail": str(exc)}, status_code=400)


async def _parse(request: Request, model: type[T]) -> T:
    if (
        request.headers.get("content-type", "").partition(";")[0].strip().lower()
        != "application/json"
    ):
        raise BadRequest("the content type must be application/json")
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        raise BadRequest(describe_invalid(first, whole="the body")) from exc
