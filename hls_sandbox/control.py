"""The sandbox's own API under `/_sandbox`: seed and send events, act as a person.

The forms of the web pages use the endpoints that act as a person, too.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl, urlencode

from jinja2 import Environment
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from hls_handler.prompting import recorded
from hls_handler.wording import describe_invalid
from hls_sandbox import pages, person_actions, shapes
from hls_sandbox.apps import Apps
from hls_sandbox.github_request import MAX_COMMENT_CHARACTERS
from hls_sandbox.objects import Conversation, Permission, Repository
from hls_sandbox.person_actions import MAX_TITLE_CHARACTERS, Conclusion, PushName
from hls_sandbox.review_calls import add_reply, list_webhooks, thread_payload
from hls_sandbox.state import State

T = TypeVar("T", bound=BaseModel)

Handler = Callable[[Request], Awaitable[Response]]

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


def _text(most: int) -> AfterValidator:
    """Return a check of a text that a person writes."""

    def check(text: str) -> str:
        if not text.strip():
            raise PydanticCustomError("text", "write something; it must not be empty")
        if len(text) > most:
            message = f"it has {len(text):,} characters, and GitHub takes {most:,}: shorten it"
            raise PydanticCustomError("text", "{message}", {"message": message})
        return text

    return AfterValidator(check)


Login = Annotated[str, _text(39)]
Title = Annotated[str, _text(MAX_TITLE_CHARACTERS)]
Body = Annotated[str, _text(MAX_COMMENT_CHARACTERS)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SeedEvent(_Body):
    """Request to store the objects of a webhook. `files` are the changed files of the webhook's
    pull request.
    """

    event: str
    payload: dict[str, Any]
    files: list[dict[str, Any]] | None = None


class _OnConversation(_Body):
    repository: str
    number: int


class SetThread(_OnConversation):
    """Request to resolve the review thread that begins with `comment`, or to reopen it if
    `resolved_by` is null.

    The webhook is sent; that of a reopened thread names as sender the person who had resolved it.
    """

    comment: int
    resolved_by: str | None = None


class AddComment(_OnConversation):
    """Request to comment as a person and to send the webhook. `permission` is set first; None keeps
    the present one.

    `thread` is the id of the first comment of the review thread to reply in; None: comment on the
    conversation.
    """

    author: Login
    body: Body
    permission: Permission | None = None
    thread: int | None = None


class OpenIssue(_Body):
    """Request to open an issue as a person and to send the webhook."""

    repository: str
    author: Login
    title: Title
    body: Body


class PushChange(_OnConversation):
    """Request to push a prepared change to the demo's pull request and to send the webhook."""

    change: PushName


class Rerun(_Body):
    """Request to run a workflow again, with a conclusion, and to send the webhook.

    With the number of a pull request, the workflow runs at the head of it.
    """

    repository: str
    run: int
    conclusion: Conclusion
    number: int | None = None


class BadRequest(Exception):
    """An invalid request to the API under `/_sandbox`. The response has `status`."""

    status = 400


class OtherSite(BadRequest):
    """A request of another web page."""

    status = 403


def control_routes(state: State, apps: Apps, *, urls: Mapping[str, str]) -> list[Route]:
    """Return the routes. Every POST passes `_require_own`, so that other web pages cannot change
    the sandbox.
    """
    posts = _state_posts(state, apps, urls)
    return [Route(path, _guard(handler), methods=["POST"]) for path, handler in posts.items()]


def _guard(handler: Handler) -> Handler:
    """Return the handler of a POST, called only with requests that pass `_require_own`."""

    async def guarded(request: Request) -> Response:
        _require_own(request)
        return await handler(request)

    return guarded


def _state_posts(state: State, apps: Apps, urls: Mapping[str, str]) -> dict[str, Handler]:
    """Return the handler of each path."""

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
        return JSONResponse(await send_webhooks((found.event, payload)), status_code=201)

    async def send_webhooks(*webhooks: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
        attempts = [attempt for webhook in webhooks for attempt in await attempt_webhook(*webhook)]
        if not attempts:
            raise BadRequest(
                "payload: no App is installed on its repository: create one with `hls init` and the"
                " addresses that `hls sandbox` prints"
            )
        return attempts

    async def respond(
        request: Request, page: str, *webhooks: tuple[str, dict[str, Any]]
    ) -> Response:
        """Send the webhooks. The response to a form leads to the page, which shows their
        deliveries.
        """
        attempts = await send_webhooks(*webhooks)
        if not _is_form(request):
            return JSONResponse(attempts, status_code=201)
        query = urlencode([("delivery", attempt["guid"]) for attempt in attempts])
        return RedirectResponse(f"{page}?{query}#result", status_code=303)

    async def attempt_webhook(event: str, payload: dict[str, Any]) -> list[dict[str, Any]]:
        sent = shapes.localised(
            payload, api_url=urls["github_url"], web_url=urls["page_url"].rstrip("/")
        )
        return [
            attempt.document()
            for attempt in await asyncio.to_thread(apps.send_webhook, event, sent)
        ]

    def require_repository(name: str) -> Repository:
        home = state.repository(name)
        if home is None:
            raise BadRequest(f"repository: the sandbox has no {name}: send an event of it first")
        return home

    def require_conversation(repository: str, number: int) -> Conversation:
        conversation = state.conversation(repository, number)
        if conversation is None:
            raise BadRequest(
                f"number: the sandbox has no {repository}#{number}: send its event first"
            )
        return conversation

    async def open_issue(request: Request) -> Response:
        body = await _parse(request, OpenIssue)
        home = require_repository(body.repository)
        author = state.add_person(body.author)
        webhook = person_actions.open_issue(state, home, author, body.title, body.body)
        page = f"/{home.full_name}/issues/{webhook.payload['issue']['number']}"
        return await respond(request, page, webhook)

    async def add_comment(request: Request) -> Response:
        body = await _parse(request, AddComment)
        conversation = require_conversation(body.repository, body.number)
        home = require_repository(body.repository)
        author = state.add_person(body.author)
        if body.permission is not None:
            state.set_permission(body.repository, author.login, body.permission)
        page = pages.address(conversation)
        if body.thread is not None:
            replied = add_reply(state, conversation, body.thread, body.body, by=author)
            if replied is None:
                raise _no_review_comment(body, body.thread)
            return await respond(request, page, *list_webhooks(state, *replied))
        webhook = person_actions.comment(state, home, conversation, author, body.body)
        return await respond(request, page, webhook)

    async def push(request: Request) -> Response:
        body = await _parse(request, PushChange)
        pull = require_conversation(body.repository, body.number)
        if body.change not in person_actions.list_pushes(pull):
            raise BadRequest(
                f"change: {pull.key} has no text that {body.change!r} changes, or it was pushed"
                " before: push another change"
            )
        home = require_repository(body.repository)
        webhook = person_actions.push(state, home, pull, body.change)
        return await respond(request, pages.address(pull), webhook)

    async def rerun(request: Request) -> Response:
        body = await _parse(request, Rerun)
        home = require_repository(body.repository)
        run = state.run(body.repository, body.run)
        if run is None:
            raise BadRequest(f"run: the sandbox has no run {body.run} in {body.repository}")
        pull = None
        if body.number is not None:
            pull = require_conversation(body.repository, body.number)
        webhook = person_actions.rerun(state, home, run, body.conclusion, pull=pull)
        page = f"/{home.full_name}/actions/runs/{run.id}"
        if pull is not None:
            page = pages.address(pull)
        return await respond(request, page, webhook)

    async def set_thread(request: Request) -> Response:
        body = await _parse(request, SetThread)
        pull = require_conversation(body.repository, body.number)
        resolved_before = pull.resolved.get(body.comment)
        if not state.set_resolved(body.repository, body.number, body.comment, body.resolved_by):
            raise _no_review_comment(body, body.comment)
        person = body.resolved_by or resolved_before
        if person is None or (body.resolved_by is not None and resolved_before is not None):
            return JSONResponse([])  # it was so before
        action = "resolved" if body.resolved_by is not None else "unresolved"
        payload = thread_payload(state, pull, body.comment, action, by=state.add_person(person))
        webhook = ("pull_request_review_thread", payload)
        return await respond(request, pages.address(pull), webhook)

    return {
        "/_sandbox/plant": seed,
        "/_sandbox/send/{name:path}": send_recorded,
        "/_sandbox/issues": open_issue,
        "/_sandbox/comments": add_comment,
        "/_sandbox/pushes": push,
        "/_sandbox/reruns": rerun,
        "/_sandbox/threads": set_thread,
    }


def _no_review_comment(body: _OnConversation, comment: int) -> BadRequest:
    return BadRequest(
        f"comment: {body.repository}#{body.number} has no review comment {comment} in the sandbox"
    )


def reject(environment: Environment, request: Request, exc: Exception) -> Response:
    """Return the response to a `BadRequest`: a page for a form, else JSON."""
    status = BadRequest.status
    if isinstance(exc, BadRequest):
        status = exc.status
    if _is_form(request):
        return pages.problem_page(environment, str(exc), status)
    return JSONResponse({"detail": str(exc)}, status_code=status)


def _is_form(request: Request) -> bool:
    return _content_type(request) == FORM


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _require_own(request: Request) -> None:
    """Raise `OtherSite` if another web page may have sent the request, `BadRequest` for a content
    type other than JSON and forms.

    Browsers send the header Origin with every form. They send JSON to another site only with its
    consent. Programs send no Origin.
    """
    own_origin = f"{request.url.scheme}://{request.url.netloc}"
    origin = request.headers.get("origin")
    if _is_form(request) and origin != own_origin:
        raise OtherSite(f"only forms on the pages of {own_origin} are accepted")
    if origin not in {None, own_origin}:
        raise OtherSite(f"only requests of the pages of {own_origin} are accepted")
    if _content_type(request) not in {FORM, JSON}:
        raise BadRequest(f"the content type must be {JSON}")


async def _parse(request: Request, model: type[T]) -> T:
    """Return the body of a request that passed `_require_own`. Raises `BadRequest`."""
    body = await request.body()
    if _is_form(request):
        fields = parse_qsl(body.decode("utf-8", "replace"))
        return _validate(model, dict(fields))
    return _validate(model, body)


def _validate(model: type[T], given: dict[str, str] | bytes) -> T:
    try:
        if isinstance(given, bytes):
            return model.model_validate_json(given)
        return model.model_validate(given)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        raise BadRequest(describe_invalid(first, whole="the body")) from exc
