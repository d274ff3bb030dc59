"""The trial of an unsaved edit, with the console of the real service and the sandbox's Claude."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import unescape
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener

from hls_handler.prompting import recorded
from hls_handler.sandbox.server import Sandbox
from tests.console.test_prompts import EDIT, REPLY, hidden
from tests.e2e.service import ROOT, SECRET, Service, Waiting
from tests.sandbox.conftest import ask

ISSUES = """\
Import fails half way: data loss
Security: wrong permissions on uploaded files
Crash when the cart is empty -> priority-medium
Export crashes on names with accents -> priority-medium
Cannot sort by date: the order is wrong -> priority-medium
Cannot change my password: an error is shown -> priority-medium
Cannot choose a colour: the wrong one is shown -> priority-low
Typo in the welcome mail
"""
"""Title of each issue -> the label with which a maintainer replaced `priority-high`."""

SENTENCE = 'Priority "high" only for: data loss, security, all users.'
RESULT = """\
4 fixed, 0 broken of 8: too few to tell. 4 unchanged.
Old 3 of 8, new 7 of 8 deliveries have exactly the labels that people left.
People corrected 5 of them; the other labels count as right, because they were not changed.

Field                Old       New       Fixed   Broken   Unchanged
difficulty           8 of 8    8 of 8    0       0        8
kind                 8 of 8    8 of 8    0       0        8
priority             3 of 8    7 of 8    4       0        4

Labels

Label                Old       New       People left
bug                  7         7         7
difficulty-easy      1         1         1
difficulty-moderate  7         7         7
documentation        1         1         1
priority-high        7         2         2
priority-low         1         1         2
priority-medium      0         5         4
"""
REPOSITORY = "Codertocat/Hello-World"


def test_trial_counts_what_the_edit_fixed_and_broke(service: Service, sandbox: Sandbox) -> None:
    browser = Browser(f"http://127.0.0.1:{service.port}")
    opened = recorded.load("issues.opened")
    sandbox.state.seed(opened.event, opened.payload)
    hook = {"owner": REPOSITORY, "url": f"{browser.address}/webhook", "secret": SECRET}
    assert ask(sandbox.page_url, "POST", "/_sandbox/hooks", hook).status == 201
    issues = [line.partition(" -> ")[::2] for line in ISSUES.splitlines()]
    for number, (title, _) in enumerate(issues, 101):
        issue = {**opened.payload["issue"], "number": number, "id": number, "title": title, "body": "", "labels": []}
        sent = {"event": opened.event, "payload": {**opened.payload, "issue": issue}}
        assert ask(sandbox.page_url, "POST", "/_sandbox/send", sent).status == 201
    service.until_idle()
    for number, (_, label) in enumerate(issues, 101):
        change = {"repository": REPOSITORY, "number": number, "author": "mona", "remove": ["priority-high"]}
        if label:
            assert ask(sandbox.page_url, "POST", "/_sandbox/labels", {**change, "add": [label]}).status == 201
    service.until_idle()
    shipped = (ROOT / "prompts/issues/analyze.j2").read_text(encoding="utf-8")
    text = re.sub(r"^# Your task.*\n", rf"\g<0>\n{SENTENCE}\n", shipped, flags=re.MULTILINE)
    form = {
        "csrf_token": hidden(browser.show(f"{EDIT}?most=20"), "csrf_token"),
        "file": "issues/analyze.j2",
        "most": "20",
    }
    rendered = browser.show(EDIT, {**form, "text": text})
    assert "These are 8 questions, about 8 deliveries." in rendered
    fields = {"once": unescape(hidden(rendered, "once"))}
    browser.show(REPLY, {**form, **fields, "text": text})
    waiting, result = Waiting(20), ""
    while waiting.more() and "People left" not in result:
        result = browser.show(REPLY)
    shown = unescape(re.sub(r"<[^>]*>", " ", result))
    assert " ".join(RESULT.split()) in " ".join(shown.split())


@dataclass
class Browser:
    """Sends requests to the service as a browser does, with cookies."""

    address: str
    opener: OpenerDirector = field(default_factory=lambda: build_opener(HTTPCookieProcessor()))

    def show(self, path: str, form: Mapping[str, str] | None = None) -> str:
        """Return a page of the console, or the answer to a form."""
        body = None if form is None else urlencode(form).encode()
        with self.opener.open(Request(self.address + path, body, {"Origin": self.address}), timeout=30) as response:
            return str(response.read().decode())
