"""Example webhook payloads by name: recorded from GitHub, or derived from recorded payloads for the
demo.
"""

from __future__ import annotations

import json
import re
import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from hls_handler.errors import HlsError
from hls_handler.events import HANDLED_EVENTS, event_key

PAYLOADS = Path(__file__).parent / "payloads"

DERIVED = (
    "demo/bug",
    "demo/question",
    "demo/feature",
    "demo/bug-edited",
    "demo/feature-push",
    "demo/feature-retitled",
    "demo/review",
    "demo/review-approved",
    "demo/lint-failed",
    "demo/tests-failed",
    "demo/tests-passed",
    "demo/news",
    "demo/push",
    "demo/main-failed",
    "demo/release",
    "demo/hint",
    "demo/issue-closed",
    "demo/first-contribution",
    "demo/mention",
)
"""The names of all derived payloads, in the order in which their events happen in the demo."""

STORY = tuple(
    name for name in DERIVED if name not in ("demo/news", "demo/hint", "demo/issue-closed")
)
"""The names of the derived payloads that the demo sends."""


ANSWERS = frozenset({"files", "review_comments", "jobs", "releases", "history"})
"""Folders of `payloads/derived` with API responses instead of payloads. `sandbox.derived` reads
them.
"""


class UnknownPayload(HlsError):
    """No payload has the requested name, or a file given by the user is not a payload of a known
    event.
    """


@dataclass(frozen=True, slots=True)
class Recorded:
    """One recorded or derived webhook payload. `body` is the request body: JSON in UTF-8."""

    name: str  # "issues.opened.2", "demo/question", or the path of a file read by `from_file`
    event: str  # X-GitHub-Event: "issues"
    action: str | None  # "opened"
    body: bytes = field(repr=False)

    @property
    def key(self) -> str:
        return event_key(self.event, self.action)

    @property
    def payload(self) -> dict[str, Any]:
        """The parsed body. Each access returns a new dict, so the caller may change it."""
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed


@cache
def _index() -> Mapping[str, tuple[str, Path]]:
    files: dict[str, tuple[str, Path]] = {}  # "issues.opened.2" -> ("issues", file)
    copies: Counter[str] = Counter()
    for path in sorted((PAYLOADS / "recorded").glob("*/*.json")):
        event = path.parent.name
        action = path.name.split(".")[1]
        key = event if action == "none" else event_key(event, action)
        copies[key] += 1
        if copies[key] > 1:
            key = f"{key}.{copies[key]}"
        files[key] = (event, path)
    derived = {
        f"demo/{p.stem}": p
        for p in (PAYLOADS / "derived").glob("*/*.json")
        if p.parent.name not in ANSWERS
    }
    return files | {name: (derived[name].parent.name, derived[name]) for name in DERIVED}


def names() -> tuple[str, ...]:
    """Return the names of all payloads: "issues.opened", "issues.opened.2", ..., "demo/bug"."""
    return tuple(_index())


def load(name: str) -> Recorded:
    """Return the payload with this name, or the first one of this event key, which may be a derived
    one.

    If there is none, raises `UnknownPayload` with the most similar names.
    """
    files = _index()
    if name not in files:
        same_event = for_event(name)
        if same_event and re.search(r"\.\w", name):
            return same_event[0]
        hint = "names look like issues.opened, push or demo/bug"
        near = get_close_matches(name, files, n=3, cutoff=0.5)
        if near:
            hint = f"did you mean {' or '.join(near)}?"
        raise UnknownPayload(f"no recorded payload is called {name!r}: {hint}")
    event, path = files[name]
    body = path.read_bytes()
    return Recorded(name=name, event=event, action=_action(json.loads(body)), body=body)


def before(name: str) -> tuple[Recorded, ...]:
    """Return all payloads that are listed before `name` in `DERIVED`; () if `DERIVED` does not
    contain `name`.
    """
    if name not in DERIVED:
        return ()
    return tuple(map(load, DERIVED[: DERIVED.index(name)]))


def for_event(key: str) -> tuple[Recorded, ...]:
    """Return all payloads of an event key: "issues.opened", or "issues" for all its actions; () if
    there are none.
    """
    event, _, action = key.partition(".")
    candidates = (load(name) for name, (known_event, _) in _index().items() if known_event == event)
    return tuple(recorded for recorded in candidates if not action or recorded.action == action)


def from_file(path: Path, event: str | None = None) -> Recorded:
    """Read a payload from a file. `event` is its event ("issues"); if None, the payload's keys
    determine the event.

    Raises `UnknownPayload` if the file cannot be read, is not a JSON object, or does not determine
    the event.
    """
    try:
        body = path.read_bytes()
        payload = json.loads(body)
    except OSError as exc:
        raise UnknownPayload(f"{path} cannot be read: {exc.strerror}") from exc
    except RecursionError as exc:
        raise UnknownPayload(f"{path} is not JSON: it is nested too deeply") from exc
    except ValueError as exc:
        raise UnknownPayload(f"{path} is not JSON: {exc}") from exc
    if not isinstance(payload, dict):
        raise UnknownPayload(f"{path} is not a webhook payload: it must be a JSON object")
    if not event:
        matching = [name for name, keys in _EVENT_KEYS.items() if payload.keys() >= keys]
        if not matching:
            message = f"{path}: the payload's keys do not determine its event"
            raise UnknownPayload(f"{message}; name it with --event, such as --event issues")
        event = max(matching, key=lambda name: len(_EVENT_KEYS[name]))
    event = event.partition(".")[0]
    return Recorded(name=str(path), event=event, action=_action(payload), body=body)


def unique(body: bytes) -> bytes:
    """Return the same JSON with 64 random blanks, so that HLS does not reject it as a replay of an
    earlier body.
    """
    bits = "".join(f"{byte:08b}" for byte in secrets.token_bytes(8))
    return body.rstrip(b" \t\r\n") + bits.replace("0", " ").replace("1", "\t").encode() + b"\n"


_EVENT_KEYS: Mapping[str, frozenset[str]] = {
    "pull_request_review_comment": frozenset({"pull_request", "comment"}),
    "pull_request_review_thread": frozenset({"pull_request", "thread"}),
    "workflow_job": frozenset({"workflow_job"}),
    "deployment": frozenset({"deployment"}),
    "deployment_review": frozenset({"workflow_run", "since"}),
    "deployment_status": frozenset({"deployment_status", "deployment"}),
    "push": frozenset({"ref", "before", "after", "commits"}),
    **{name: frozenset(event.objects) for name, event in HANDLED_EVENTS.items()},
}
"""Event -> keys of its payloads: the events with a handler of their own, pushes, and those whose
payloads have the keys of another one, too. Of several that fit, the one with most keys is meant.
"""


def _action(payload: Mapping[str, object]) -> str | None:
    action = payload.get("action")
    if isinstance(action, str) and re.fullmatch(r"[\w-]+", action):
        return action
    return None
