"""A browser on the store of a world, whose deliveries the console can show and run again."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field, replace
from html import unescape

from hls_handler.analysis import IssueResponse
from hls_handler.console.app import ConsolePorts
from hls_handler.storage import Storage
from tests.console.browser import Browser
from tests.engine.fakes import FakeClaude
from tests.engine.world import GUID, TIMEOUT_S, MakeWorld, World

PROMPT, DRY_RUN = f"/deliveries/{GUID}/prompt", f"/deliveries/{GUID}/dry-run"
REPLY = IssueResponse(worth_saying=True, sources=[], answer="Set DATABASE_URL.", certain=True)


def run(make_world: MakeWorld, *replies: object) -> World:
    """Return a world with a finished delivery of an opened issue."""
    world = make_world(*replies)
    world.accept()
    world.finish()
    return world


@dataclass
class FakeClient(FakeClaude):
    """Claude for dry runs. Each call waits until the test lets it go on."""

    go_on: threading.Event = field(default_factory=threading.Event)
    asking: threading.Event = field(default_factory=threading.Event)
    closed: int = 0

    def __post_init__(self) -> None:
        self.on_call = self._wait
        self.go_on.set()

    def close(self) -> None:
        self.closed += 1

    def _wait(self, _what: str) -> None:
        self.asking.set()
        assert self.go_on.wait(TIMEOUT_S)


class RerunBrowser(Browser):
    def __init__(self, world: World, *replies: object) -> None:
        self.world, self.client = world, FakeClient(list(replies))  # type: ignore[arg-type]
        super().__init__(world.store)

    def ports(self, store: Storage) -> ConsolePorts:
        return replace(
            super().ports(store),
            config=lambda: self.world.tools().config,
            connect_claude=lambda _settings: self.client,
        )

    def text(self, path: str) -> str:
        """Return the page without tags and with single spaces; marks become «»."""
        page = self.get(path).body.decode()
        marked = page.partition("<main>")[2].replace("<mark>", "«").replace("</mark>", "»")
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", marked)).split())

    def finished(self, path: str = DRY_RUN, *, thread: str = "dry-run") -> str:
        """Return the text of the page when the run has ended."""
        for one in threading.enumerate():
            if one.name == thread:
                one.join(TIMEOUT_S)
        return self.text(path)
