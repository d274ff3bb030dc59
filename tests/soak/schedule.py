"""A schedule: what is told, what fails and who is killed when, all of it drawn from one seed."""

from __future__ import annotations

import hashlib
import json
import random
import signal
from dataclasses import dataclass
from typing import Any

from hls_handler.prompting import recorded
from hls_handler.sandbox.faults import Fault
from tests.crash.stories import Stage


@dataclass(frozen=True, slots=True)
class Telling:
    """One event that happens and is told of."""

    payload: str  # a recorded one, "demo/feature-push"
    push: int = 0  # of a pull request: the number of a commit that no recorded payload has; 0 for its own
    closes: bool = False  # the same thread, closed

    def event(self) -> str:
        return recorded.load(self.payload).event

    def body(self, stage: Stage) -> bytes:
        whole: Any = json.loads(stage.body(self.payload))
        thread = whole.get("pull_request") or whole.get("issue")
        if self.push:
            sha = hashlib.sha1(f"commit {self.push}".encode(), usedforsecurity=False).hexdigest()
            whole["after"] = thread["head"]["sha"] = sha
        if self.closes:
            whole["action"] = thread["state"] = "closed"
            whole.pop("changes", None)
        return json.dumps(whole).encode()

    @property
    def files(self) -> tuple[dict[str, object], ...] | None:
        """What a pushed commit changed: the same as the recorded push, so that only the commit tells them apart."""
        if not self.push:
            return None
        head: Any = recorded.load("demo/feature-push").payload["pull_request"]
        return tuple(dict(file) for file in recorded.files_at(head["head"]["sha"]) or ())


BUG, BUG_EDITED, QUESTION = Telling("demo/bug"), Telling("demo/bug-edited"), Telling("demo/question")
FEATURE, PUSH, RETITLED = Telling("demo/feature"), Telling("demo/feature-push"), Telling("demo/feature-retitled")
LATER_PUSHES = tuple(Telling("demo/feature-push", push=number) for number in (1, 2, 3))
BUG_CLOSED, FEATURE_CLOSED = Telling("demo/bug", closes=True), Telling("demo/feature-push", closes=True)

Part = tuple[Telling, ...]
"""What is told one after the other; parts of one script are told at the same time."""

SCRIPTS: tuple[tuple[Part, ...], ...] = (
    ((BUG,), (QUESTION,)),
    ((BUG, BUG_EDITED), (QUESTION,)),
    ((BUG, BUG_CLOSED), (QUESTION,)),
    ((FEATURE,), (BUG,)),
    ((FEATURE, PUSH), (BUG, BUG_EDITED)),
    ((FEATURE, PUSH, *LATER_PUSHES), (QUESTION,)),
    ((FEATURE, PUSH, RETITLED, LATER_PUSHES[0]),),
    ((FEATURE, PUSH, FEATURE_CLOSED), (BUG,)),
    ((FEATURE, PUSH, Telling("demo/review")), (BUG,)),
    ((FEATURE, PUSH, Telling("demo/tests-failed"), Telling("demo/lint-failed")),),
    ((FEATURE, PUSH, Telling("demo/mention"), Telling("demo/tests-failed")), (BUG,)),
    ((QUESTION, Telling("demo/release")), (BUG,)),
    ((QUESTION, Telling("demo/push")), (FEATURE, PUSH)),
    ((FEATURE, PUSH, Telling("demo/review"), Telling("demo/mention"), Telling("demo/lint-failed")), (QUESTION,)),
)


@dataclass(frozen=True, slots=True)
class Blow:
    """A signal to one of the processes, which is started again at once."""

    at_s: float  # from the first event on
    process: int
    how: signal.Signals


@dataclass(frozen=True, slots=True)
class Schedule:
    seed: int
    scripts: tuple[tuple[Part, ...], ...]  # each on a repository of its own
    faults: tuple[Fault, ...]
    blows: tuple[Blow, ...]  # in order
    pauses_s: tuple[float, ...]  # before each telling, taken in turns


def drawn(seed: int, *, processes: int) -> Schedule:
    dice = random.Random(seed)
    scripts = tuple(dice.choice(SCRIPTS) for _ in range(dice.randint(1, 3)))
    faults = tuple(_fault(dice) for _ in range(dice.randint(0, 6)))
    blows = tuple(
        Blow(dice.uniform(0.0, 3.0), dice.randrange(processes), dice.choice(_SIGNALS))
        for _ in range(dice.randint(0, 3))
    )
    return Schedule(
        seed=seed,
        scripts=scripts,
        faults=faults,
        blows=tuple(sorted(blows, key=lambda blow: blow.at_s)),
        pauses_s=tuple(dice.choice((0.0, 0.0, 0.05, 0.3)) for _ in range(7)),
    )


_SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)
_OF_BOTH: tuple[dict[str, Any], ...] = (
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
_OF_CLAUDE: tuple[dict[str, Any], ...] = (
    {"effect": "status", "status": 529},
    {"effect": "hang"},
    {"effect": "hang_after"},
    {"effect": "truncated"},
    {"effect": "refusal"},
    {"effect": "wrong_schema"},
    {"effect": "empty"},
    {"effect": "paused"},
)
_OF_GITHUB: tuple[dict[str, Any], ...] = (
    {"effect": "status", "status": 422, "method": "POST"},
    {"effect": "drop_after", "method": "POST"},
    {"effect": "drop_after", "method": "PATCH"},
    {"effect": "garbage", "method": "POST"},
    {"effect": "slow", "method": "POST", "seconds": 0.8},
    {"effect": "slow", "method": "POST", "seconds": 0.8},
)


def _fault(dice: random.Random) -> Fault:
    stand_in = dice.choice(("github", "claude"))
    own = _OF_GITHUB if stand_in == "github" else tuple({"method": "POST", **one} for one in _OF_CLAUDE)
    skip = dice.randint(0, 25 if stand_in == "github" else 6)
    return Fault.model_validate({**dice.choice((*_OF_BOTH, *own)), "stand_in": stand_in, "skip": skip})
