"""Repository settings: applied, reported once if they are invalid, and corrected."""

from __future__ import annotations

import subprocess
from typing import Any

from sqlalchemy import create_engine, text

from hls_handler.prompting import recorded
from hls_handler.sandbox.objects import Conversation
from hls_handler.sandbox.server import Sandbox
from tests.e2e.fork_server import run_command
from tests.e2e.service import Service

REPOSITORY = "Codertocat/Hello-World"
PATH = ".github/hls.yaml"
BUG, QUESTION, FEATURE = 11, 12, 13
MARK = "<!-- hls:settings -->"


def send(service: Service, sandbox: Sandbox, name: str, number: int) -> Conversation:
    """Deliver an event, wait until it is processed, and return its conversation."""
    payload = recorded.load(name)
    sandbox.state.seed(payload.event, payload.payload)
    assert service.deliver(payload.event, recorded.unique(payload.body)).body["status"] == "queued"
    service.until_idle()
    conversation = sandbox.state.conversation(REPOSITORY, number)
    assert conversation is not None
    return conversation


def push(service: Service, sandbox: Sandbox, said: str | None) -> None:
    """Change the file and advance the cache by five minutes."""
    sandbox.state.set_file(REPOSITORY, PATH, said)
    engine = create_engine(service.storage_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE repository_files SET read_at = 0"))
    engine.dispose()


def known(sandbox: Sandbox) -> None:
    """Seed an event, which creates the repository in the sandbox."""
    payload = recorded.load("demo/bug")
    sandbox.state.seed(payload.event, payload.payload)


def hls(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command([*arguments, "--config", str(service.settings)], environ={})


def test_repository_settings_apply_and_are_printed(service: Service, sandbox: Sandbox) -> None:
    known(sandbox)
    said = "labels: {allow: [bug]}\ncomments: {language: German}\nfeatures:\n  auto_commenting: false\n"
    sandbox.state.set_file(REPOSITORY, PATH, said)
    conversation = send(service, sandbox, "demo/bug", BUG)
    assert (conversation.labels, conversation.comments) == (("bug",), ())
    asked = next(str(request.body) for request in sandbox.requests.all("claude") if request.writes)
    assert "German" in asked
    why = hls(service, "why", f"{REPOSITORY}#{BUG}").stdout
    assert "applies on top of the settings" in why
    assert "priority-high not added: .github/hls.yaml:1 (labels.allow) does not allow it" in why
    assert "comments are switched off by .github/hls.yaml:4 (features.auto_commenting)" in why
    for arguments in ([], ["--live"]):
        result = hls(service, "config", "explain", REPOSITORY, *arguments).stdout
        assert "features.auto_commenting = false   .github/hls.yaml:4 (features.auto_commenting)" in result
        assert "comments.language = German   .github/hls.yaml:2 (comments.language)" in result


def test_rule_23_repository_settings_in_a_pull_request_have_no_effect(service: Service, sandbox: Sandbox) -> None:
    known(sandbox)
    payload: Any = recorded.load("demo/feature").payload
    branch = payload["pull_request"]["head"]["ref"]
    sandbox.state.set_file(REPOSITORY, PATH, "enabled: false\n", branch=branch)
    assert len(send(service, sandbox, "demo/feature", FEATURE).comments) == 1


def test_invalid_repository_settings_are_reported_once_until_corrected(service: Service, sandbox: Sandbox) -> None:
    known(sandbox)
    sandbox.state.set_file(REPOSITORY, PATH, "comments: {tone: formal}\nlimits: {concurrency: 200}\n")
    first = send(service, sandbox, "demo/bug", BUG)
    result = [comment.body for comment in first.comments if comment.body.endswith(MARK)]
    assert len(first.comments) == 2
    assert len(result) == 1
    assert f"`{PATH}:2: limits: can only be set by the operator, in HLS's own settings; remove it`" in result[0]
    second = send(service, sandbox, "demo/question", QUESTION)
    assert [comment.body.endswith(MARK) for comment in second.comments] == [False]
    push(service, sandbox, "enabled: false\n")
    assert send(service, sandbox, "demo/feature", FEATURE).comments == ()
    push(service, sandbox, None)
    assert len(send(service, sandbox, "demo/feature", FEATURE).comments) == 1
