"""Schedules of webhooks, faults and signals. A seed determines the whole schedule."""

from __future__ import annotations

import hashlib
import json
import random
import signal
from dataclasses import dataclass
from typing import Any

from hls_handler.prompting import recorded
from hls_handler.sandbox import derived
from hls_handler.sandbox.faults import Fault
from tests.crash.scenarios import FreshRepository


@dataclass(frozen=True, slots=True)
class Webhook:
    """A recorded payload, or a variant of it."""

    payload: str  # "demo/feature-push"
    push: int = 0  # not 0: the pull request gets a commit of its own for each number
    closes: bool = False  # the event closes the conversation

    @property
    def event(self) -> str:
        return recorded.load(self.payload).event

    def body(self, repository: FreshRepository) -> bytes:
        payload: Any = json.loads(repository.body(self.payload))
        conversation = payload.get("pull_request") or payload.get("issue")
        if self.push:
            sha = hashlib.sha1(f"commit {self.push}".encode(), usedforsecurity=False).hexdigest()
            payload["after"] = conversation["head"]["sha"] = sha
        if self.closes:
            payload["action"] = conversation["state"] = "closed"
            payload.pop("changes", None)
        return json.dumps(payload).encode()

    @property
    def files(self) -> tuple[dict[str, object], ...] | None:
        """The changed files of a commit: those of the recorded push, so that only the commit differs."""
        if not self.push:
            return None
        head: Any = recorded.load("demo/feature-push").payload["pull_request"]
        return tuple(dict(file) for file in derived.files_at(head["head"]["sha"]) or ())


BUG, BUG_EDITED, QUESTION = Webhook("demo/bug"), Webhook("demo/bug-edited"), Webhook("demo/question")
FEATURE, PUSH, RETITLED = Webhook("demo/feature"), Webhook("demo/feature-push"), Webhook("demo/feature-retitled")
LATER_PUSHES = tuple(Webhook("demo/feature-push", push=number) for number in (1, 2, 3))
BUG_CLOSED, FEATURE_CLOSED = Webhook("demo/bug", closes=True), Webhook("demo/feature-push", closes=True)

Sequential = tuple[Webhook, ...]
Script = tuple[Sequential, ...]
"""Webhooks of one repository: the parts of a script are sent at the same time, each part in its order."""

SCRIPTS: tuple[Script, ...] = (
    ((BUG,), (QUESTION,)),
    ((BUG, BUG_EDITED), (QUESTION,)),
    ((BUG, BUG_CLOSED), (QUESTION,)),
    ((FEATURE,), (BUG,)),
    ((FEATURE, PUSH), (BUG, BUG_EDITED)),
    ((FEATURE, PUSH, *LATER_PUSHES), (QUESTION,)),
    ((FEATURE, PUSH, RETITLED, LATER_PUSHES[0]),),
    ((FEATURE, PUSH, FEATURE_CLOSED), (BUG,)),
    ((FEATURE, PUSH, Webhook("demo/review")), (BUG,)),
    ((FEATURE, PUSH, Webhook("demo/tests-failed"), Webhook("demo/lint-failed")),),
    ((FEATURE, PUSH, Webhook("demo/mention"), Webhook("demo/tests-failed")), (BUG,)),
    ((QUESTION, Webhook("demo/release")), (BUG,)),
    ((QUESTION, Webhook("demo/push")), (FEATURE, PUSH)),
    ((FEATURE, PUSH, Webhook("demo/review"), Webhook("demo/mention"), Webhook("demo/lint-failed")), (QUESTION,)),
)


@dataclass(frozen=True, slots=True)
class ProcessSignal:
    """A signal that ends a process; the process is started again at once."""

    at_s: float  # after the first webhook
    process: int
    signal: signal.Signals


@dataclass(frozen=True, slots=True)
class Schedule:
    seed: int
    scripts: tuple[Script, ...]  # each on a repository of its own
    faults: tuple[Fault, ...]
    signals: tuple[ProcessSignal, ...]  # by time
    pauses_s: tuple[float, ...]  # before each webhook, cyclically


def draw_schedule(seed: int, *, processes: int) -> Schedule:
    rng = random.Random(seed)
    scripts = tuple(rng.choice(SCRIPTS) for _ in range(rng.randint(1, 3)))
    faults = tuple(_fault(rng) for _ in range(rng.randint(0, 6)))
    signals = tuple(
        ProcessSignal(rng.uniform(0.0, 3.0), rng.randrange(processes), rng.choice(_SIGNALS))
        for _ in range(rng.randint(0, 3))
    )
    return Schedule(
        seed=seed,
        scripts=scripts,
        faults=faults,
        signals=tuple(sorted(signals, key=lambda one: one.at_s)),
        pauses_s=tuple(rng.choice((0.0, 0.0, 0.05, 0.3)) for _ in range(7)),
    )


_SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)
_COMMON_FAULTS: tuple[dict[str, Any], ...] = (
    {"effect": "status", "status": 500},
    {"effect": "status", "status": 502},
    {"effect": "status", "status": 503},
    {"effect": "status", "status": 429, "headers": {"retry-after": "1"}},
    {"effect": "status", "status": 401},
    {"effect": "drop"},
    {"effect": "drop_after"},
    {"effect": "drop_after"},
    {"effect": "garbage"},
    {"effect": "slow", "seconds": 0.4},
)
_CLAUDE_FAULTS: tuple[dict[str, Any], ...] = (
    {"effect": "status", "status": 529},
    {"effect": "hang"},
    {"effect": "hang_after"},
    {"effect": "truncated"},
    {"effect": "refusal"},
    {"effect": "wrong_schema"},
    {"effect": "empty"},
    {"effect": "paused"},
)
_GITHUB_FAULTS: tuple[dict[str, Any], ...] = (
    {"effect": "status", "status": 422, "method": "POST"},
    {"effect": "drop_after", "method": "POST"},
    {"effect": "drop_after", "method": "PATCH"},
    {"effect": "garbage", "method": "POST"},
    {"effect": "slow", "method": "POST", "seconds": 0.8},
    {"effect": "slow", "method": "POST", "seconds": 0.8},
)


def _fault(rng: random.Random) -> Fault:
    stand_in = rng.choice(("github", "claude"))
    specific = _GITHUB_FAULTS if stand_in == "github" else tuple({"method": "POST", **one} for one in _CLAUDE_FAULTS)
    skip = rng.randint(0, 25 if stand_in == "github" else 6)
    return Fault.model_validate({**rng.choice((*_COMMON_FAULTS, *specific)), "stand_in": stand_in, "skip": skip})
