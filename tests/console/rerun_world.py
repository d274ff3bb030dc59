"""A browser on the store of a world, whose deliveries the console can show and run again."""

from __future__ import annotations

import re
from html import unescape

from hls_handler.analysis import IssueResponse
from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.settings.model import Server
from tests.console.browser import KEY, Browser
from tests.engine.claude import FakeClaude
from tests.engine.world import GUID, MakeWorld, World

PROMPT = f"/deliveries/{GUID}/prompt"
REPLY = IssueResponse(worth_saying=True, sources=[], answer="Set DATABASE_URL.", certain=True)


def run(make_world: MakeWorld, *replies: object) -> World:
    """Return a world with a finished delivery of an opened issue."""
    world = make_world(*replies)
    world.accept()
    world.finish()
    return world


class RerunBrowser(Browser):
    """An operator who is signed in. Claude gives `replies`."""

    def __init__(self, world: World, *replies: object) -> None:
        super().__init__(world.store)
        self.prompts = ReloadingLibrary(lambda: world.prompts)
        self.client = self.claude = FakeClaude(list(replies))  # type: ignore[arg-type]
        self.use(world.settings.model_copy(update={"server": Server(api_key=KEY)}))
        self.sign_in()

    def text(self, path: str) -> str:
        """Return the page without tags and with single spaces; marks become «»."""
        page = self.get(path).text
        marked = page.partition("<main>")[2].replace("<mark>", "«").replace("</mark>", "»")
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", marked)).split())
