"""Web pages of the stand-in GitHub: issues, pull requests, patches, runs and releases. No scripts and no images."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from hls_handler.review.patches import parse_patch
from hls_handler.sandbox import repository_pages
from hls_handler.sandbox.markdown import diff_lines, rendered
from hls_handler.sandbox.objects import Account, Comment, Conversation, ConversationEvent, Document, Label, Repository
from hls_handler.sandbox.state import State

HERE = Path(__file__).parent
LABEL_GROUP_TIME = timedelta(minutes=1)
"""Label changes of one account within this time are shown in one line, as at GitHub."""

MAX_HUNK_LINES = 4
"""Maximum number of lines of code above a review comment, as at GitHub."""

EMPTY_PAGE: Mapping[str, Any] = {
    "conversation": None,
    "run": None,
    "release": None,
    "patches": None,
    "conversations": (),
    "runs": (),
    "releases": (),
}
"""Template variables of a page without content; each page replaces some of them."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(slots=True)
class Entry:
    """A comment, a review or an event in the timeline of an issue or pull request."""

    when: datetime
    actor: Account
    comment: dict[str, Any] | None = None
    description: str = ""  # "requested changes"
    labels: list[Label] = field(default_factory=list)
    detail: str = ""
    review: dict[str, Any] | None = None

    @property
    def at(self) -> str:
        return _format_time(self.when)


def page_routes(state: State) -> list[Route]:
    """Return the routes of the web pages. All but the index have the same paths as on GitHub."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )

    def page(**shown: Any) -> Response:
        text = environment.get_template("pages.html").render(me=state.me, **{**EMPTY_PAGE, **shown})
        return Response(text, headers=HEADERS, media_type="text/html")

    async def index(request: Request) -> Response:
        del request
        conversations = [_row(conversation, state) for conversation in state.conversations() if not conversation.gone]
        return page(
            conversations=conversations,
            runs=repository_pages.run_rows(state),
            releases=repository_pages.release_rows(state),
        )

    async def conversation(request: Request) -> Response:
        path = request.path_params
        found = state.conversation(f"{path['owner']}/{path['repo']}", path["number"])
        if found is None or found.gone:
            return PlainTextResponse("There is no such issue or pull request in the sandbox.", 404, headers=HEADERS)
        if address(found) != request.url.path:
            return RedirectResponse(address(found))
        return page(conversation=_conversation(found, state))

    async def shortened(request: Request) -> Response:
        number = request.path_params["number"]
        found = next((one for one in state.conversations() if one.number == number and not one.gone), None)
        return RedirectResponse(address(found) if found is not None else "/")

    async def run(request: Request) -> Response:
        path = request.path_params
        found = state.run(f"{path['owner']}/{path['repo']}", path["run"])
        if found is None:
            return PlainTextResponse("There is no such run in the sandbox.", 404, headers=HEADERS)
        return page(run=repository_pages.run_shown(found))

    async def job(request: Request) -> Response:
        path = request.path_params
        return RedirectResponse(f"/{path['owner']}/{path['repo']}/actions/runs/{path['run']}#job-{path['job']}")

    async def release(request: Request) -> Response:
        path = request.path_params
        tagged = [one for one in state.releases(f"{path['owner']}/{path['repo']}") if one.tag == path["tag"]]
        if not tagged:
            return PlainTextResponse("There is no such release in the sandbox.", 404, headers=HEADERS)
        return page(release=repository_pages.release_shown(tagged[0]))

    async def patches(request: Request) -> Response:
        path = request.path_params
        full_name = f"{path['owner']}/{path['repo']}"
        if state.repository(full_name) is None:
            return PlainTextResponse("There is no such repository in the sandbox.", 404, headers=HEADERS)
        return page(patches=repository_pages.patches_shown(state, full_name, path["commit"], path.get("path")))

    async def style(request: Request) -> Response:
        del request
        text = (HERE / "pages.css").read_text(encoding="utf-8")
        return Response(text + label_rules(state), headers=HEADERS, media_type="text/css")

    return [
        Route("/", index),
        Route("/_sandbox/pages.css", style),
        Route("/{number:int}", shortened),  # of the repository with the newest conversation; for the demo's output
        Route("/{owner}/{repo}/issues/{number:int}", conversation),
        Route("/{owner}/{repo}/pull/{number:int}", conversation),
        Route("/{owner}/{repo}/actions/runs/{run:int}", run),
        Route("/{owner}/{repo}/actions/runs/{run:int}/job/{job:int}", job),
        Route("/{owner}/{repo}/releases/tag/{tag:path}", release),
        Route("/{owner}/{repo}/commit/{commit}", patches),
        Route("/{owner}/{repo}/blob/{commit}/{path:path}", patches),
    ]


def address(conversation: Conversation) -> str:
    """Return the path of the web page: "/owner/repo/pull/13"."""
    return f"/{conversation.repository}/{'pull' if conversation.kind == 'pull' else 'issues'}/{conversation.number}"


def label_rules(state: State) -> str:
    """Return a CSS rule for each label colour. The pages' Content-Security-Policy forbids inline styles."""
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


def _row(conversation: Conversation, state: State) -> dict[str, Any]:
    return {
        "title": conversation.title,
        "state": _state_of(conversation),
        "kind": conversation.kind,
        "number": conversation.number,
        "repository": conversation.repository,
        "author": conversation.author,
        "labels": _labels(conversation.labels, state.repository(conversation.repository)),
        "comment_count": len(conversation.comments),
        "address": address(conversation),
    }


def _conversation(conversation: Conversation, state: State) -> dict[str, Any]:
    home = state.repository(conversation.repository)
    document = conversation.document
    return {
        **_row(conversation, state),
        "body": Markup(rendered(conversation.body)) if conversation.body.strip() else "",
        "locked": conversation.locked,
        "timeline": list(_timeline(conversation, home)),
        "files": [
            {"previous_filename": None, **file, "patch": _patch(file.get("patch"))} for file in conversation.files
        ],
        "head_sha": conversation.head_sha,
        "head_ref": (document.get("head") or {}).get("label") or "",
        "base_ref": (document.get("base") or {}).get("ref") or "",
        "commits": document.get("commits") or 1,
        "checks": list(_checks(conversation, state)),
    }


def _checks(conversation: Conversation, state: State) -> Iterator[dict[str, Any]]:
    """Yield the last check run of each name, and the last status of each context, of the head commit."""
    world, name, sha = state.world, conversation.repository, conversation.head_sha
    for run in {run["name"]: run for run in world.check_runs_on(name, sha)}.values():
        output = run["output"]
        yield {
            "name": run["name"],
            "state": run["conclusion"] or run["status"],
            "title": output["title"] or "",
            "summary": Markup(rendered(output["summary"] or "")),
            "annotations": [f"{one['path']}:{one['end_line']}: {one['message']}" for one in run["annotations"]],
        }
    for one in {status["context"]: status for status in world.statuses_on(name, sha)}.values():
        title = one["description"] or ""
        yield {"name": one["context"], "state": one["state"], "title": title, "summary": "", "annotations": []}


def _state_of(conversation: Conversation) -> str:
    if conversation.document.get("merged"):
        return "merged"
    return "draft" if conversation.state == "open" and conversation.document.get("draft") else conversation.state


def _labels(names: tuple[str, ...], home: Repository | None) -> list[Label]:
    known = home.labels if home else {}
    return [known.get(name.lower()) or Label(id=0, name=name, color="ededed") for name in names]


def _timeline(conversation: Conversation, home: Repository | None) -> Iterator[Entry]:
    events = [_review(event, conversation) or _event(event, home) for event in conversation.events]
    entries = [*(_comment(comment) for comment in conversation.comments), *events]
    last: Entry | None = None
    for entry in sorted(entries, key=lambda entry: entry.when):
        is_grouped = (
            last is not None
            and entry.labels
            and last.labels
            and (last.actor, last.description) == (entry.actor, entry.description)
            and entry.when - last.when < LABEL_GROUP_TIME
        )
        if is_grouped and last is not None:
            last.labels += entry.labels
            continue
        if last is not None:
            yield last
        last = entry
    if last is not None:
        yield last


def _comment(comment: Comment) -> Entry:
    edits = [{"at": _format_time(edit.at), "body": Markup(rendered(edit.body))} for edit in comment.edits]
    body = Markup(rendered(comment.body))
    shown = {"id": comment.id, "author": comment.author, "body": body, "edits": edits}
    return Entry(when=comment.created_at, actor=comment.author, comment=shown)


def _review(event: ConversationEvent, conversation: Conversation) -> Entry | None:
    review = next((one for one in conversation.reviews if event.detail == str(one.id)), None)
    if review is None or event.kind != "reviewed":
        return None
    descriptions = {
        "approved": "approved these changes",
        "changes_requested": "requested changes",
        "dismissed": "left a review, which was dismissed,",
    }
    comments = [
        {
            "id": comment["id"],
            "path": comment["path"],
            "place": _place(comment),
            "lines": _patch("\n".join(comment["diff_hunk"].split("\n")[-MAX_HUNK_LINES:])),
            "body": Markup(rendered(comment["body"])),
            "resolved_by": conversation.resolved.get(comment["id"]),
        }
        for comment in review.comments
    ]
    body = Markup(rendered(review.body)) if review.body.strip() else ""
    shown = {"id": review.id, "commit": review.commit_id[:7], "body": body, "comments": comments}
    return Entry(event.at, review.author, description=descriptions.get(review.state, "reviewed"), review=shown)


def _place(comment: Document) -> str:
    lines = [line for hunk in parse_patch(comment["diff_hunk"]).hunks for line in hunk.lines]
    last = lines[-1] if lines else None
    number = comment.get("line", comment.get("original_line", last.number if last else None))
    if number is None:
        return "the whole file"
    return f"{'removed ' if comment.get('side', last.side if last else '') == 'LEFT' else ''}line {number}"


def _event(event: ConversationEvent, home: Repository | None) -> Entry:
    texts = {
        "labeled": "added",
        "unlabeled": "removed",
        "renamed": "changed the title, which was",
        "pushed": "pushed",
        "closed": "closed this",
        "reopened": "reopened this",
        "locked": "locked this conversation",
        "unlocked": "unlocked this conversation",
        "reviewed": "reviewed",
        "review_dismissed": "dismissed a review",
    }
    about_label = event.kind in {"labeled", "unlabeled"}
    labels = _labels((event.detail,), home) if about_label else []
    details = {"renamed": event.detail, "pushed": event.detail[:7]}
    return Entry(event.at, event.actor, None, texts[event.kind], labels, details.get(event.kind, ""))


def _patch(patch: str | None) -> Markup | None:
    return Markup(f"<pre><code>{diff_lines(patch)}</code></pre>") if patch else None


def _format_time(at: datetime) -> str:
    return f"{at.day} {at:%b %Y, %H:%M} UTC"
