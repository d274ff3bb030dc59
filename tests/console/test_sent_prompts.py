"""The prompt as it was sent, or why it cannot be shown; untrusted text is marked."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from html import unescape
from pathlib import Path

from sqlalchemy import select

from hls_handler.analysis import IssueResponse
from hls_handler.db.tables import system_texts
from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.settings.model import Server
from tests.console.browser import KEY, Browser
from tests.engine.claude import INVALID
from tests.engine.conftest import make_world, shared_folder
from tests.engine.libraries import load_chain
from tests.engine.test_repository_settings import make_world_with_file
from tests.engine.world import BUG, GUID, QUESTION, MakeWorld, World
from tests.handlers.world import ISSUE

PROMPT = f"/deliveries/{GUID}/prompt"


class SignedInBrowser(Browser):
    """An operator who is signed in."""

    def __init__(self, world: World) -> None:
        super().__init__(world.store)
        self.prompts = ReloadingLibrary(lambda: world.prompts)
        self.use(world.settings.model_copy(update={"server": Server(api_key=KEY)}))
        self.sign_in()

    def text(self, path: str) -> str:
        """Return the page without tags and with single spaces; marks become «»."""
        page = self.get(path).text
        marked = page.partition("<main>")[2].replace("<mark>", "«").replace("</mark>", "»")
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", marked)).split())


__all__ = ["make_world", "shared_folder"]


def test_prompt_is_shown_as_sent_with_marked_text(make_world: MakeWorld) -> None:
    evil = "</mark><script>alert(1)</script> <untrusted 00>"
    world = make_world(BUG)
    world.github.put_issue(replace(ISSUE, title=evil, body="Please fix committ."))
    world.process()
    browser = SignedInBrowser(world)
    page, text = browser.get(PROMPT).text, browser.text(PROMPT)
    (sent,) = world.claude.asked
    assert "<script>alert(1)" not in page
    assert "«</mark><script>alert(1)</script> ‹untrusted 00>»" in text
    assert text.count("«") == sent.task.count("<untrusted ") + 1  # and the legend
    assert " ".join(sent.system.split()) in text
    assert "900 in, 100 out, as Claude counted" in text


def test_settings_of_the_repository_apply_as_they_did_then(make_world: MakeWorld) -> None:
    text = "comments: {language: German}"
    world = make_world_with_file(make_world, text, BUG)
    world.finish()
    assert "German" in world.claude.asked[0].task
    assert "German" in SignedInBrowser(world).text(PROMPT)


def test_each_call_has_a_page_also_those_of_a_follow_up_prompt(
    make_world: MakeWorld, shared_folder: Path
) -> None:
    answer = IssueResponse(worth_saying=True, sources=[], answer="Set DATABASE_URL.", certain=True)
    world = make_world(QUESTION, answer)
    world.prompts = load_chain(shared_folder / "chain")
    world.accept()
    world.run()
    browser = SignedInBrowser(world)
    for number, sent in enumerate(world.claude.asked, start=1):
        text = browser.text(f"{PROMPT}/{number}")
        assert " ".join(sent.system.split()) in text
        assert f"Prompt {sent.prompt.id} Model" in text
    assert browser.get(f"{PROMPT}/3").status == browser.get(f"{PROMPT}/0").status == 404
    assert browser.get(f"{PROMPT}/{'1' * 5000}").status == browser.get(f"{PROMPT}/x").status == 404
    assert browser.get("/deliveries/unknown/prompt").status == 404


def test_correction_shows_what_else_was_sent(make_world: MakeWorld) -> None:
    world = make_world(INVALID, BUG)
    world.process()
    browser = SignedInBrowser(world)
    first = browser.text(f"{PROMPT}/1")
    assert "Request to correct it" not in first
    text = browser.text(f"{PROMPT}/2")
    assert '«{"kind": "bugg"}» Request to correct it That reply could not be used: kind: ' in text


def test_question_goes_with_the_body(make_world: MakeWorld) -> None:
    world = make_world(BUG)
    world.process()
    browser = SignedInBrowser(world)
    world.advance(3600)
    world.store.retention.delete_bodies(after=timedelta(minutes=1), limit=20)
    world.store.retention.delete_system_texts()
    assert "The prompt is not stored: prompts are kept for storage.body_days" in browser.text(
        PROMPT
    )
    with world.store.database.reading() as connection:
        assert connection.execute(select(system_texts)).all() == []


def test_delivery_without_a_call_says_so(make_world: MakeWorld) -> None:
    world = make_world(BUG)
    world.accept()
    assert "Claude was not asked" in SignedInBrowser(world).text(PROMPT)
