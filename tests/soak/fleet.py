"""A fleet: several services over one database and one sandbox, any of which may be struck down and started again."""

from __future__ import annotations

import http.client
import json
import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, func, select

from hls_handler.db.tables import deliveries
from hls_handler.sandbox.server import Sandbox
from tests.crash.lives import Life, Soon, Zygote
from tests.crash.rig import write_settings
from tests.crash.stories import Stage
from tests.e2e.service import free_port
from tests.soak.schedule import Telling

CONCURRENCY = 2
LIMITS = (
    f"concurrency: {CONCURRENCY}, retry_backoff_s: 0.05, lease_s: 5, shutdown_s: 3, settle_s: 0.3, "
    "thread_runs_per_hour: 1000"
)
ANSWER_WITHIN_S = 60.0
IDLE_WITHIN_S = 120.0
ACCEPTED = ("queued", "duplicate", "ignored")


@dataclass
class Fleet:
    sandbox: Sandbox
    lives: list[Life]
    engine: Engine  # to look at the rows
    stages: int = 0
    unanswered: int = 0  # tellings that no answer came to, over all
    answers: Counter[str] = field(default_factory=Counter)

    def next_stage(self) -> Stage:
        self.stages += 1
        return Stage(self.stages)

    def strike(self, process: int, how: signal.Signals) -> None:
        self.lives[process].stop(how)
        self.lives[process].start()

    def tell(self, stage: Stage, telling: Telling, guid: str, dice: random.Random) -> str:
        """Post an event to any service until one answers, as a person redelivers what GitHub could not."""
        body = telling.body(stage)
        waiting = Soon(ANSWER_WITHIN_S, pause_s=0.02)
        while waiting.more():
            with suppress(OSError, http.client.HTTPException):
                answer = dice.choice(self.lives).deliver(telling.event(), body, guid=guid)
                if answer.status in (200, 202) and answer.body["status"] in ACCEPTED:
                    self.answers[answer.body["status"]] += 1
                    return str(answer.body["status"])
                if answer.status != 503:
                    raise AssertionError(f"{telling} was answered {answer}")
            self.unanswered += 1
        raise AssertionError(f"nobody answered {telling} within {ANSWER_WITHIN_S:g} s:\n{self.logs()}")

    def happen(self, stage: Stage, telling: Telling) -> None:
        """Let GitHub store what is told afterwards."""
        payload: Any = json.loads(telling.body(stage))
        self.sandbox.state.seed(telling.event(), payload, files=telling.files)

    def until_idle(self) -> None:
        is_open = deliveries.c.state.in_(("queued", "running"))
        waiting = Soon(IDLE_WITHIN_S, pause_s=0.02)
        while waiting.more():
            with self.engine.connect() as connection:
                left = connection.execute(select(func.count()).select_from(deliveries).where(is_open)).scalar_one()
            if left == 0:
                return
        raise AssertionError(f"still at work after {IDLE_WITHIN_S:g} s:\n{self.logs()}")

    def logs(self) -> str:
        return "\n".join(f"{life.log.name}:\n{life.log.read_text()[-4000:]}" for life in self.lives)


@contextmanager
def assembled(folder: Path, *, url: str, processes: int) -> Iterator[Fleet]:
    """Started, and struck down at the end. `folder` is for settings and logs."""
    with Sandbox() as sandbox:
        settings = write_settings(folder, sandbox, limits=LIMITS, claude="timeout_s: 2")
        engine = create_engine(url)
        ports = [free_port() for _ in range(processes)]
        environ = {"PORT": str(ports[0]), "STORAGE_URL": url}
        with Zygote(settings, environ, folder / "zygote.log") as zygote:
            lives = [Life(settings, port, folder / f"{port}.log", url, zygote=zygote) for port in ports]
            try:
                starts = [threading.Thread(target=life.start) for life in lives]
                for start in starts:
                    start.start()
                for start in starts:
                    start.join()
                yield Fleet(sandbox, lives, engine)
            finally:
                for life in lives:
                    life.stop(signal.SIGKILL)
                engine.dispose()
