"""A fleet: processes that serve one PostgreSQL, each killed, frozen and started again as a test likes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hls_handler.history.statistics import DeliveryRow
from hls_handler.prompting import recorded
from hls_handler.sandbox.server import Sandbox
from hls_handler.storage import Storage
from tests.crash.lives import Life, Zygote
from tests.e2e.service import Service, Waiting, free_port, settings_text

REPOSITORY = "Codertocat/Hello-World"


@dataclass
class Fleet:
    sandbox: Sandbox
    store: Storage
    url: str
    settings: Path
    lives: Sequence[Life]

    @cached_property
    def _bug(self) -> dict[str, Any]:
        return dict(recorded.load("demo/bug").payload)

    def deliver(self, life: Service, number: int, *, guid: str, action: str = "opened") -> None:
        """An event of an issue that exists on GitHub from then on; of an edited one the text is another each time."""
        issue = {**self._bug["issue"], "number": number, "id": 444_500_000 + number}
        changes: dict[str, Any] = {}
        if action == "edited":
            changes = {"changes": {"body": {"from": issue["body"]}}}
            issue["body"] = f"{issue['body']}\n\nIt happened again ({guid})."
        payload = {**self._bug, "action": action, "issue": issue, **changes}
        if action == "opened":
            self.sandbox.state.seed("issues", payload)
        answer = life.deliver("issues", json.dumps(payload).encode(), guid=guid)
        assert (answer.status, answer.body["status"]) == (202, "queued"), answer.body

    def sink(self) -> None:
        """Kill whatever runs."""
        for life in self.lives:
            if life.pid is not None:
                os.kill(life.pid, signal.SIGKILL)
                life.buried()

    def row(self, guid: str) -> DeliveryRow:
        found = self.store.deliveries.find(guid)
        assert found is not None, f"{guid} is lost"
        return found

    def owner_of(self, guid: str) -> Life | None:
        """The process that works on a delivery."""
        worker = self.row(guid).worker or ""
        return next((life for life in self.lives if f"-{life.pid}-" in worker), None)

    def until(self, comes_true: Callable[[], bool], *, within_s: float = 60) -> None:
        waiting = Waiting(within_s)
        while not comes_true():
            assert waiting.more(), "\n".join(life.log.read_text()[-2000:] for life in self.lives)

    def until_idle(self, *, within_s: float = 120) -> None:
        def idle() -> bool:
            figures = self.store.deliveries.queue_state()
            return figures.queued == 0 and figures.running == 0

        self.until(idle, within_s=within_s)

    def writes(self) -> list[tuple[str, str]]:
        """Every write that GitHub has seen, as ("POST", path)."""
        return [(seen.method, seen.path) for seen in self.sandbox.requests.all("github") if seen.writes]

    def assert_once(self, number: int) -> None:
        """The issue has its labels, each set once, and one comment, created once."""
        thread = self.sandbox.state.thread(REPOSITORY, number)
        assert thread is not None
        assert len(thread.comments) == 1, number
        assert self.writes().count(("POST", f"/repos/{REPOSITORY}/issues/{number}/comments")) == 1, number
        labeled = [event.detail for event in thread.events if event.happening == "labeled"]
        assert sorted(labeled) == sorted(thread.labels), number
        assert "bug" in thread.labels


APART_S = 0.05
"""Between two writes to GitHub, and between two questions to Claude, over all processes."""


def settings_for(sandbox: Sandbox, folder: Path, *, limits: str, port: str, url: str, more: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "settings.yaml"
    text = settings_text(sandbox, port=port, storage_url=url, limits=limits, more=more)
    paced = text.replace("writes: 0.01", f"writes: {APART_S}").replace(
        "second: 100", f"second: {1 / APART_S}\n  calls_per_hour: 9999"
    )
    path.write_text(paced)
    return path


@contextmanager
def fleet(sandbox: Sandbox, url: str, folder: Path, *, size: int, limits: str) -> Iterator[Fleet]:
    """A fleet whose processes are not started yet; whatever is left of them is killed at the end."""
    path = settings_for(sandbox, folder, limits=limits, port='"${PORT}"', url="${STORAGE_URL}")
    environ = {"PORT": "1", "STORAGE_URL": url}
    with Zygote(path, environ, folder / "zygote.log") as zygote, closing(Storage.open(url)) as store:
        lives = [Life(path, free_port(), folder / f"life-{n}.log", url, zygote=zygote) for n in range(size)]
        ships = Fleet(sandbox, store, url, path, lives)
        try:
            yield ships
        finally:
            ships.sink()
