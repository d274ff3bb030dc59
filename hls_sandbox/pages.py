"""Web pages of the stand-in GitHub: issues, pull requests, runs and releases, with forms to act as
a person. The only script is htmx, which follows what HLS does.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from hls_handler.console.pages import FOLDER
from hls_handler.events import event_key
from hls_handler.review.patches import parse_patch
from hls_sandbox.hooks import Attempt
from hls_sandbox.markdown import diff_lines, rendered
from hls_sandbox.objects import (
    Account,
    Conversation,
    ConversationEvent,
    Document,
    Label,
    Release,
    Run,
    read_account,
    read_text,
)
from hls_sandbox.person_actions import list_pushes
from hls_sandbox.state import State, now_utc

HERE = Path(__file__).parent
HTMX = FOLDER / "static" / "htmx.min.js"
MAX_HUNK_LINES = 4
"""Maximum number of lines of code above a review comment, as at GitHub."""

FOLLOWED_FOR = timedelta(seconds=6)
"""Time in which what follows from a delivery appears, such as a review after a command."""
MAX_TITLE = 80  # characters of a finding in a form
MAX_DELIVERIES = 20  # that one page shows
CONTRIBUTOR = "octocat"

COLOUR = re.compile(r"\x1b\[[0-9;]*m")

EMPTY_PAGE: dict[str, Any] = {
    **dict.fromkeys(("conversation", "run", "release", "problem")),
    "deliveries": (),
    "here": "",
}
"""Template variables of a page without content; each page replaces some of them."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # With no-referrer, browsers send forms with the header "Origin: null".
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}

DESCRIPTIONS = {
    "labeled": "added",
    "unlabeled": "removed",
    "renamed": "changed the title, which was",
    "pushed": "pushed",
    "closed": "closed this",
    "reopened": "reopened this",
    "locked": "locked this conversation",
    "unlocked": "unlocked this conversation",
    "reviewed": "reviewed",
    "issue_type_added": "set the type",
    "issue_type_removed": "removed the type",
    "approved": "approved these changes",
    "changes_requested": "requested changes",
    "dismissed": "left a review, which was dismissed,",
}
"""Kind of an event, or state of a review -> what the page says of its author."""
SHOWN_DETAILS = ("renamed", "issue_type_added")


@dataclass(frozen=True, slots=True)
class Entry:
    """A comment, a review or an event in the timeline of an issue or pull request."""

    when: datetime
    actor: Account
    comment: Any = None
    description: str = ""  # "requested changes"
    labels: list[Label] = field(default_factory=list)
    detail: str = ""
    review: Any = None


@dataclass(frozen=True, slots=True)
class ShownDelivery:
    """What the service did with a webhook that a form has sent."""

    event: str  # "issues.opened"
    state: str
    result: str  # "+4 labels, comment", or why nothing was done; "" while it is open
    is_open: bool
    is_followed: bool = False  # by the page, because something may still change
    url: str | None = None  # of its page in the console


FindDelivery = Callable[[str], ShownDelivery | None]
"""A function that returns what the service did with the delivery of a GUID; None if the service did
not store it.
"""


def create_environment(claude_max_usd: float | None) -> Environment:
    """Return the templates. `claude_max_usd` is the budget of the real Claude; None: canned
    replies.
    """
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "address": address,
        "markdown": lambda text: Markup(rendered(text)) if text.strip() else "",
        "patch": lambda patch: (
            Markup('<pre tabindex="0"><code>{}</code></pre>').format(Markup(diff_lines(patch)))
            if patch
            else ""
        ),
        "state": _state_of,
        "time": lambda at: f"{at.day} {at:%b %Y, %H:%M} UTC",
    }
    environment.globals |= {"claude_max_usd": claude_max_usd, "contributor": CONTRIBUTOR}
    return environment


def problem_page(environment: Environment, problem: str, status: int) -> Response:
    """Return the page that says why a form was rejected."""
    text = environment.get_template("pages.html").render(**{**EMPTY_PAGE, "problem": problem})
    return Response(text, status, HEADERS, media_type="text/html")


def page_routes(
    state: State, environment: Environment, get_find_delivery: Callable[[], FindDelivery | None]
) -> list[Route]:
    """Return the routes of the web pages. All but the index have the same paths as on GitHub."""

    def page(**shown: Any) -> Response:
        text = environment.get_template("pages.html").render(me=state.me, **{**EMPTY_PAGE, **shown})
        return Response(text, headers=HEADERS, media_type="text/html")

    async def page_with_results(request: Request, **shown: Any) -> Response:
        """Return a page that shows what HLS did with the webhooks of the form before it."""
        guids = request.query_params.getlist("delivery")[:MAX_DELIVERIES]
        attempts = [state.hooks.find_attempt(guid) for guid in guids]
        deliveries = [
            await asyncio.to_thread(_show_delivery, attempt, get_find_delivery())
            for attempt in attempts
            if attempt is not None
        ]
        here = f"{request.url.path}?{request.url.query}"
        return page(deliveries=deliveries, here=here, **shown)

    def not_found(what: str) -> Response:
        return PlainTextResponse(f"There is no such {what} in the sandbox.", 404, headers=HEADERS)

    async def index(request: Request) -> Response:
        del request
        rows = [(one, _labels(one.labels, one, state)) for one in state.conversations()]
        names = sorted(home.full_name for home in state.world.repositories.values())
        releases = [release for name in names for release in state.releases(name)]
        runs = [_run(run) for run in state.runs()]
        return page(conversations=rows, runs=runs, releases=releases, repositories=names)

    async def conversation(request: Request) -> Response:
        found = state.conversation(_repository(request), request.path_params["number"])
        if found is None:
            return not_found("issue or pull request")
        if address(found) != request.url.path:
            return RedirectResponse(address(found))
        labels = _labels(found.labels, found, state)
        timeline = _timeline(found, state)
        checks = list(_checks(found, state))
        return await page_with_results(
            request,
            conversation=found,
            labels=labels,
            timeline=timeline,
            checks=checks,
            people=_people(found),
            findings=list(_findings(found)),
            pushes=list_pushes(found),
            runs=_runs_of(found, state),
        )

    async def shortened(request: Request) -> Response:
        number = request.path_params["number"]
        found = next((one for one in state.conversations() if one.number == number), None)
        return RedirectResponse(address(found) if found is not None else "/")

    async def run(request: Request) -> Response:
        found = state.run(_repository(request), request.path_params["run"])
        if found is None:
            return not_found("run")
        return await page_with_results(request, run=_run(found))

    async def job(request: Request) -> Response:
        path = request.path_params
        return RedirectResponse(
            f"/{_repository(request)}/actions/runs/{path['run']}#job-{path['job']}"
        )

    async def release(request: Request) -> Response:
        tagged = [
            one
            for one in state.releases(_repository(request))
            if one.tag == request.path_params["tag"]
        ]
        return page(release=tagged[0]) if tagged else not_found("release")

    async def commit(request: Request) -> Response:
        """Lead a link to a commit, or to a file of it, to its pull request, or else to the newest
        one.
        """
        name = _repository(request).lower()
        sha = request.path_params["commit"]
        pulls = [
            one
            for one in state.conversations()
            if one.kind == "pull" and one.repository.lower() == name
        ]
        known = [one for one in pulls if sha in str(one.document)]
        return (
            RedirectResponse(address((known or pulls)[0])) if pulls else not_found("pull request")
        )

    async def repository(request: Request) -> Response:
        del request
        return RedirectResponse("/")

    async def script(request: Request) -> Response:
        del request
        return FileResponse(HTMX, headers={"X-Content-Type-Options": "nosniff"})

    async def style(request: Request) -> Response:
        del request
        text = (HERE / "pages.css").read_text(encoding="utf-8")
        return Response(text + _label_rules(state), headers=HEADERS, media_type="text/css")

    return [
        Route("/", index),
        Route("/_sandbox/pages.css", style),
        Route("/_sandbox/htmx.min.js", script),
        Route(
            "/{number:int}", shortened
        ),  # of the repository with the newest conversation; for the demo's output
        Route("/{owner}/{repo}", repository),
        Route("/{owner}/{repo}/issues/{number:int}", conversation),
        Route("/{owner}/{repo}/pull/{number:int}", conversation),
        Route("/{owner}/{repo}/actions/runs/{run:int}", run),
        Route("/{owner}/{repo}/actions/runs/{run:int}/job/{job:int}", job),
        Route("/{owner}/{repo}/releases/tag/{tag:path}", release),
        Route("/{owner}/{repo}/commit/{commit}", commit),
        Route("/{owner}/{repo}/blob/{commit}/{path:path}", commit),
    ]


def _repository(request: Request) -> str:
    return f"{request.path_params['owner']}/{request.path_params['repo']}"


def address(shown: Conversation | Release) -> str:
    """Return the path of the web page: "/owner/repo/pull/13"."""
    if isinstance(shown, Release):
        return f"/{shown.repository}/releases/tag/{quote(shown.tag)}"
    return f"/{shown.repository}/{'pull' if shown.kind == 'pull' else 'issues'}/{shown.number}"


# --- what the forms offer and show
# ----------------------------------------------------------------------


def _people(conversation: Conversation) -> dict[str, str]:
    """Return the accounts that may act in the forms, each with its role. The first one is chosen:
    it may give commands.
    """
    owner = conversation.repository.partition("/")[0]
    author = conversation.author.login
    if author == owner:
        return {owner: "the author and maintainer", CONTRIBUTOR: "a contributor"}
    return {owner: "the maintainer", author: "the author"}


def _findings(conversation: Conversation) -> Iterator[dict[str, Any]]:
    """Yield the comments that begin open review threads."""
    for _, one in conversation.review_comments():
        if one.get("in_reply_to_id") is None and one["id"] not in conversation.resolved:
            title = re.sub(r"[*`]", "", read_text(one.get("body")).strip().split("\n")[0])
            yield {"id": one["id"], "path": one["path"], "title": title[:MAX_TITLE]}


def _runs_of(pull: Conversation, state: State) -> list[dict[str, Any]]:
    """Return the newest run of each workflow on the pull request's branch."""
    oldest_first = [run for run in reversed(state.runs()) if _is_of(run, pull)]
    newest = {str(run.last.document.get("name")): run for run in oldest_first}
    return [_run(newest[name]) for name in sorted(newest)]


def _is_of(run: Run, conversation: Conversation) -> bool:
    """Return True for a run of the pull request's branch."""
    head = conversation.document.get("head") or {}
    document = run.last.document
    home = document.get("head_repository") or {}
    return (
        document.get("head_branch") == head.get("ref")
        and home.get("full_name") == (head.get("repo") or {}).get("full_name")
        and conversation.kind == "pull"
    )


def _show_delivery(attempt: Attempt, find_delivery: FindDelivery | None) -> ShownDelivery:
    if find_delivery is not None:
        found = find_delivery(attempt.guid)
        if found is not None:
            is_new = now_utc() - attempt.delivered_at < FOLLOWED_FOR
            return replace(found, is_followed=found.is_open or is_new)
    event = event_key(attempt.event, attempt.payload.get("action"))
    try:
        answer = json.loads(attempt.response)
        return ShownDelivery(event, answer["status"], answer.get("reason") or "", is_open=False)
    except (ValueError, KeyError, TypeError):
        result = f"the webhook was answered with {attempt.status_code}"
        return ShownDelivery(event, "failed", result, is_open=False)


def _label_rules(state: State) -> str:
    """Return a CSS rule for each label colour. The pages' Content-Security-Policy forbids inline
    styles.
    """
    labels = [label for home in state.world.repositories.values() for label in home.labels.values()]
    rules = [
        f'.label[data-color="{color}"] {{ --tint: #{color}; --ink: {_ink(color)} }}'
        for color in sorted({label.color for label in labels})
        if re.fullmatch("[0-9a-f]{6}", color)
    ]
    return "\n" + "\n".join(rules) + "\n"


def _ink(color: str) -> str:
    red, green, blue = (int(color[at : at + 2], 16) for at in (0, 2, 4))
    return "#1f2328" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 140 else "#ffffff"


def _state_of(shown: Conversation | Release) -> str:
    document = shown.document
    if isinstance(shown, Release):
        return (
            "draft"
            if document.get("draft")
            else "pre-release"
            if document.get("prerelease")
            else "released"
        )
    if document.get("merged"):
        return "merged"
    return "draft" if shown.state == "open" and document.get("draft") else shown.state


def _labels(names: tuple[str, ...], conversation: Conversation, state: State) -> list[Label]:
    home = state.repository(conversation.repository)
    known = home.labels if home else {}
    return [known.get(name.lower()) or Label(id=0, name=name, color="ededed") for name in names]


def _checks(conversation: Conversation, state: State) -> Iterator[dict[str, Any]]:
    """Yield the last check run of each name, and the last status of each context, of the head
    commit.
    """
    world = state.world
    name = conversation.repository
    sha = conversation.head_sha
    for run in {run["name"]: run for run in world.check_runs_on(name, sha)}.values():
        output = run["output"]
        shown = run["conclusion"] or run["status"]
        annotations = [
            f"{one['path']}:{one['end_line']}: {one['message']}" for one in run["annotations"]
        ]
        text = {
            "title": output["title"] or "",
            "summary": output["summary"] or "",
            "annotations": annotations,
        }
        yield {"name": run["name"], "state": shown, **text}
    for one in {status["context"]: status for status in world.statuses_on(name, sha)}.values():
        text = {"title": one["description"] or "", "summary": "", "annotations": []}
        yield {"name": one["context"], "state": one["state"], **text}


# --- the timeline of an issue or a pull request
# ----------------------------------------------------------------------


def _timeline(conversation: Conversation, state: State) -> list[Entry]:
    comments = [
        Entry(comment.created_at, comment.author, comment=comment)
        for comment in conversation.comments
    ]
    entries = [*comments, *(_event(event, conversation, state) for event in conversation.events)]
    return sorted(entries, key=lambda entry: entry.when)


def _event(event: ConversationEvent, conversation: Conversation, state: State) -> Entry:
    review = next((one for one in conversation.reviews if event.detail == str(one.id)), None)
    if review is not None and event.kind == "reviewed":
        comments = [
            {
                **comment,
                "place": _place(comment),
                "lines": "\n".join(comment["diff_hunk"].split("\n")[-MAX_HUNK_LINES:]),
                "resolved_by": conversation.resolved.get(comment["id"]),
            }
            for comment in review.comments
        ]
        shown = {
            "id": review.id,
            "commit": review.commit_id[:7],
            "body": review.body,
            "comments": comments,
        }
        description = DESCRIPTIONS.get(review.state, "reviewed")
        return Entry(event.at, review.author, description=description, review=shown)
    names = (event.detail,) if event.kind in {"labeled", "unlabeled"} else ()
    detail = event.detail if event.kind in SHOWN_DETAILS else ""
    if event.kind == "pushed":
        detail = event.detail[:7]
    labels = _labels(names, conversation, state)
    return Entry(
        event.at, event.actor, description=DESCRIPTIONS[event.kind], labels=labels, detail=detail
    )


def _place(comment: Document) -> str:
    lines = [line for hunk in parse_patch(comment["diff_hunk"]).hunks for line in hunk.lines]
    last = lines[-1] if lines else None
    number = comment.get("line", comment.get("original_line", last.number if last else None))
    if number is None:
        return "the whole file"
    return (
        f"{'removed ' if comment.get('side', last.side if last else '') == 'LEFT' else ''}line"
        f" {number}"
    )


# --- workflow runs
# -----------------------------------------------------------------------------


def _run(run: Run) -> dict[str, Any]:
    document = run.last.document
    home = document.get("head_repository") or {}
    branch = read_text(document.get("head_branch"))
    is_fork = home.get("full_name") not in {None, run.repository}
    return {
        "id": run.id,
        "repository": run.repository,
        "workflow": read_text(document.get("name")) or "(without a name)",
        "title": (
            read_text(document.get("display_title")) or read_text(document.get("head_sha"))[:7]
        ),
        "number": document.get("run_number"),
        "state": run.last.state,
        "branch": f"{read_account(home.get('owner')).login}:{branch}" if is_fork else branch,
        "head_sha": read_text(document.get("head_sha"))[:7],
        "event": read_text(document.get("event")),
        "actor": read_account(document.get("triggering_actor") or document.get("actor")),
        "address": f"/{run.repository}/actions/runs/{run.id}",
        "attempts": [
            (attempt, [(job, COLOUR.sub("", job.log) if job.log else None) for job in attempt.jobs])
            for attempt in reversed(run.attempts)
        ],
    }
