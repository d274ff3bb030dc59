"""A call of the stand-in GitHub's API and what is answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hls_handler.sandbox import shapes
from hls_handler.sandbox.state import State
from hls_handler.sandbox.validation import Refusal
from hls_handler.sandbox.world import Repository


@dataclass(frozen=True, slots=True)
class Call:
    state: State
    method: str
    path: Mapping[str, str]  # the parts that the route names
    query: Mapping[str, str]
    body: Any = None  # parsed JSON of a POST or PATCH
    needs: str = ""  # X-Accepted-GitHub-Permissions of the route


@dataclass(frozen=True, slots=True)
class Answer:
    document: Any
    status: int = 200
    listed: bool = False  # a list to be shown page by page
    inside: str | None = None  # the key that a list is wrapped in, beside its total_count
    file: str | None = None  # in place of a document: the caller is sent on to this one, "logs/owner/repo/7"
    headers: Mapping[str, str] = field(default_factory=dict)


def home_of(call: Call) -> Repository:
    full_name = f"{call.path['owner']}/{call.path['repo']}"
    found = call.state.repository(full_name)
    new_name = call.state.world.moved.get(full_name.lower())
    if new_name is not None:
        raise moved(call, f"{shapes.API}/repos/{new_name}")
    if found is None or call.state.permission(full_name, call.state.me.login) == "none":
        raise Refusal(404, "Not Found")
    return found


def moved(call: Call, url: str) -> Refusal:
    """Reads are redirected with 301, writes with 307."""
    if call.method == "GET":
        return Refusal(301, "Moved Permanently", headers={"Location": url}, url=url)
    return Refusal(307, "Temporary Redirect", headers={"Location": url}, url=url)
