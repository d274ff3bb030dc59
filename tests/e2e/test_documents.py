"""An answer from the repository's documentation, from the webhook to the comment, with a real git
server.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hls_handler.prompting import recorded
from hls_sandbox.claude import Asked, text_of
from tests.e2e.conftest import MakeService, checked_sandbox
from tests.e2e.service import Service
from tests.e2e.test_commands import hls
from tests.github_fake.server import Sandbox
from tests.handlers.world import issue_analysis

OPENED = recorded.load("issues.opened")
HERE, THERE = "Codertocat/Hello-World", "Codertocat/Secret-Plans"
PROXY = (
    "# Setup\n\nRun it.\n\n## Proxy\n\nThe service listens on *port 8000*,\nand nginx forwards"
    " requests to it.\n"
)
FILES = {"docs/proxy.md": PROXY, "start.py": "def nginx(): ..."}
QUOTE = "listens on *port 8000*, and nginx forwards requests to it."
REPLY = issue_analysis(
    recommended_response="Forward requests to port 8000.", sources=[{"number": 1, "quote": QUOTE}]
).model_dump(mode="json", exclude={"suggested_labels"})  # the prompt lists no label


def answer(asked: Asked) -> dict[str, Any]:
    assert {*(asked.schema or {})["properties"]} == {*REPLY}
    return REPLY


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with checked_sandbox(answer) as running:
        yield running


def ask(
    service: Service,
    sandbox: Sandbox,
    repository: str,
    number: int,
    title: str = "Which port for nginx?",
) -> tuple[str, list[str]]:
    """Deliver an issue with a question; return what Claude was asked, and the comments on the
    issue.
    """
    payload: dict[str, Any] = copy.deepcopy(dict(OPENED.payload))
    owner, _, name = repository.partition("/")
    payload["repository"] |= {
        "full_name": repository,
        "name": name,
        "default_branch": "main",
        "owner": {"login": owner},
    }
    payload["repository"]["id"] += repository == THERE
    url = f"https://github.com/{repository}/issues/{number}"
    payload["issue"] |= {
        "number": number,
        "id": number,
        "html_url": url,
        "title": title,
        "body": "",
    }
    sandbox.state.seed("issues", payload)
    sandbox.requests.clear()
    service.deliver("issues", recorded.unique(json.dumps(payload).encode()))
    service.until_idle()
    (asked,) = (
        text_of(one.body["messages"][0]["content"])
        for one in sandbox.requests.all("claude")
        if one.body
    )
    conversation = sandbox.state.conversation(repository, number)
    assert conversation is not None
    return asked, [comment.body for comment in conversation.comments]


def start(make_service: MakeService, tmp_path: Path, **more: str) -> Service:
    return make_service(mirror=f"directory: {tmp_path}/mirror", **more).start()


def test_answer_quotes_and_links_the_section_that_the_prompt_shows_until_a_push_changes_it(
    make_service: MakeService, sandbox: Sandbox, tmp_path: Path
) -> None:
    service = start(make_service, tmp_path)
    commit = sandbox.git.commit(HERE, FILES)
    asked, (comment,) = ask(service, sandbox, HERE, 1)
    assert "Sections of the repository's documentation" in asked
    assert "and nginx forwards requests to it." in asked
    assert "start.py" not in asked
    assert comment.startswith(
        "Forward requests to port 8000.\n\n> `listens on *port 8000*, and nginx forwards requests"
        f" to it.`\n\n[`docs/proxy.md`]({sandbox.page_url}{HERE}/blob/{commit}/docs/proxy.md?plain=1#L5-L8),"
        " `Setup > Proxy`\n"
    )
    assert (
        "  Context: 1 section of docs/proxy.md (about 23 tokens).\n"
        in hls(service, "why", f"{HERE}#1").stdout
    )
    sandbox.git.commit(HERE, {"docs/proxy.md": PROXY.replace("8000", "9000")})
    push = {**recorded.load("push").payload, "ref": "refs/heads/main"}
    service.deliver("push", recorded.unique(json.dumps(push).encode()))
    asked, comments = ask(service, sandbox, HERE, 2)
    # the quote is outdated
    assert ("port 9000" in asked, "port 8000" in asked, comments) == (
        True,
        False,
        [],
    )


def test_rule_11_documentation_of_a_repository_is_in_no_prompt_of_another_one(
    make_service: MakeService, sandbox: Sandbox, tmp_path: Path
) -> None:
    service = start(make_service, tmp_path)
    sandbox.git.commit(
        THERE, {"heliotrope.md": "# Heliotrope\n\nOur nginx listens on the secret port 7000.\n"}
    )
    assert "port 7000" in ask(service, sandbox, THERE, 1)[0]
    sandbox.git.commit(HERE, FILES)
    asked, (comment,) = ask(service, sandbox, HERE, 1)
    assert "port 8000" in asked
    assert not any(
        word in text for word in ("7000", "eliotrope", THERE) for text in (asked, comment)
    )
