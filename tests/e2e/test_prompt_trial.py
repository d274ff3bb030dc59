"""The trial of an unsaved edit in docs/prompts.md, with the console of the real service and the sandbox's Claude."""

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

SECTION = (ROOT / "docs/prompts.md").read_text(encoding="utf-8").partition("\n## Prove that a wording is better\n")[2]
ISSUES, RESULT = re.findall(r"^```text\n(.*?)^```", SECTION.partition("\n## ")[0], re.DOTALL | re.MULTILINE)
(SENTENCE,) = re.findall(r"The edit was one sentence below the heading .*?: \*(.*?)\*", SECTION)
REPOSITORY = "Codertocat/Hello-World"


def test_trial_in_the_docs_has_the_documented_result(service: Service, sandbox: Sandbox) -> None:
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
    fields = {name: unescape(hidden(rendered, name)) for name in ("shown", "chosen", "once")}
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
