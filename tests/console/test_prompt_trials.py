"""Trials of unsaved edits with several deliveries: compared with the old replies and with the labels people left."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from hls_handler.analysis import UnusableReply, Usage
from hls_handler.engine.library import load_checked
from hls_handler.prompting import recorded
from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.settings.model import Prompts, Server
from tests.console.browser import KEY
from tests.console.rerun_world import RerunBrowser
from tests.console.test_prompts import EDIT, PAGE, REPLY, TEMPLATE, edit, hidden, send, with_task
from tests.engine.conftest import make_world
from tests.engine.fakes import ISSUE
from tests.engine.world import BUG, MakeWorld, World
from tests.web.fakes import Response

__all__ = ["make_world"]

HIGH = BUG.model_copy(update={"priority": "high"})
SOLD = "data loss <img src=x>"


class Author(RerunBrowser):
    """A prompt author who is signed in at a service with one prompt, which has labelled issues 1, 2 and 3."""

    def __init__(self, world: World, folder: Path, *replies: object) -> None:
        (folder / "issues").mkdir(parents=True)
        (folder / "issues/analyze.j2").write_text(TEMPLATE, encoding="utf-8")
        server, prompts = Server(api_key=KEY), Prompts(directory=(str(folder),))
        world.settings = world.settings.model_copy(update={"server": server, "prompts": prompts})
        world.prompts = load_checked(world.settings)
        for number, title in enumerate(("One", "Two", SOLD), 1):
            world.github.issues[number] = replace(ISSUE, number=number, title=title)
            body = json.loads(recorded.load("issues.opened").body)
            body["issue"] |= {"number": number, "title": title, "labels": []}
            world.accept(guid=f"issue-{number}", number=number, body=json.dumps(body).encode())
            world.finish()
        super().__init__(world, *replies)
        self.prompts = ReloadingLibrary(lambda: load_checked(world.settings), folder)
        self.use(world.settings)
        self.sign_in()

    def correct(self, number: int, label: str, instead: str) -> None:
        """A person replaces a label of an issue."""
        self.world.advance(1)
        payload = json.loads(recorded.load("issues.unlabeled").body)
        names = ["bug", "difficulty-easy", instead]
        payload["issue"] |= {"number": number, "labels": [{"name": name} for name in names]}
        payload |= {"action": "unlabeled", "label": {"name": label}}
        body, guid = json.dumps(payload).encode(), f"corrected-{number}"
        self.world.accept("issues.unlabeled", guid=guid, action="unlabeled", number=number, body=body)
        self.world.finish()

    def try_with(self, most: str, text: str = TEMPLATE) -> Response:
        return edit(self, text, most=most)

    def result(self) -> str:
        return self.finished(REPLY, thread="trial")


def tried(page: Response) -> list[str]:
    """Return the GUIDs in the table of deliveries."""
    return re.findall(r'<td role="cell"><a href="/deliveries/([^"]+)"', page.body.decode())


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    return make_world(BUG, BUG, BUG)


def test_prompt_page_links_to_corrected_deliveries(world: World, tmp_path: Path) -> None:
    author = Author(world, tmp_path / "own")
    assert "People have corrected no label that this prompt asked for." in author.text(PAGE)
    author.correct(2, "priority-low", "priority-high")
    author.correct(3, "priority-low", "priority-medium")
    page, text = author.get(PAGE).body.decode(), author.text(PAGE)
    assert '<a href="/deliveries/issue-2">Codertocat/Hello-World#2</a>' in page
    assert page.index("/deliveries/issue-3") < page.index("/deliveries/issue-2")
    assert "priority-low priority-medium" in text.partition("Corrections by people")[2]
    assert "corrected-2" not in page.partition("Corrections by people")[2]


def test_trial_compares_new_labels_with_those_that_people_left(world: World, tmp_path: Path) -> None:
    unusable = UnusableReply("", "refused", "kind: wrong", "<b>text</b>", Usage("claude-haiku-5-5"))
    author = Author(world, tmp_path / "own", HIGH, HIGH, unusable)
    author.correct(1, "priority-low", "priority-high")
    page = author.try_with("5")
    assert [one.row.guid for one in world.store.corrections.newest_of_prompt("issues/analyze", most=9)] == ["issue-1"]
    assert tried(page) == ["issue-1", "issue-3", "issue-2"]  # corrected first, then the newest
    assert "These are 3 questions, about 3 deliveries." in page.body.decode()
    assert author.client.asked == []
    assert send(author, TEMPLATE, page, most="5").status == 303
    text = author.result()
    assert len(author.client.asked) == 3
    assert "Old 1 of 2, new 1 of 2 deliveries have exactly the labels that people left. People corrected 1" in text
    assert "1 fixed, 1 broken of 2: too few to tell. 0 unchanged." in text
    assert "difficulty 2 of 2 2 of 2 0 0 2 kind 2 of 2 2 of 2 0 0 2 priority 1 of 2 1 of 2 1 1 0" in text
    first, second, third = text.partition(" Deliveries ")[2].split("issues.opened of ")[1:4]
    assert "Old labels bug , difficulty-easy , priority-low People left bug , difficulty-easy , priority-high" in first
    assert "Result now as people left them" in first
    assert "Field Old New priority issues/analyze low high 11 fields are the same" in first
    assert "(no corrections)" in second
    assert "Result no longer as people left them" in second
    assert "kind: wrong" in third
    assert "<img" not in author.get(REPLY).body.decode()
    assert world.store.calls.count_last_hour() == 3  # those of the deliveries


def test_text_is_kept_when_the_session_ended_or_the_form_is_rejected(world: World, tmp_path: Path) -> None:
    author = Author(world, tmp_path / "own", HIGH)
    form = {"text": with_task("Mine </textarea>"), "file": "issues/analyze.j2", "most": "5", "csrf_token": "old"}
    cookie, author.cookie = author.cookie, ""
    ended = author.post(EDIT, form, origin=f"http://{author.host}")
    assert ended.status == 401
    assert "Mine &lt;/textarea&gt; Title:" in ended.body.decode()
    assert "Mine" not in author.post(EDIT, form, origin="https://evil.example").body.decode()
    author.cookie = cookie
    rejected = author.post(REPLY, form, origin=f"http://{author.host}")
    assert rejected.status == 403
    assert (hidden(rejected.body.decode(), "most"), author.client.asked) == ("5", [])
    again = author.post(REPLY, form | {"csrf_token": hidden(rejected.body.decode(), "csrf_token")})
    assert again.status == 200
    assert "Mine &lt;/textarea&gt; Title:" in again.body.decode()
    unknown = author.submit(PAGE, EDIT, **(form | {"csrf_token": author.token(PAGE), "file": "gone.j2"}))
    assert unknown.status == 404
    assert "Mine &lt;/textarea&gt; Title:" in unknown.body.decode()
