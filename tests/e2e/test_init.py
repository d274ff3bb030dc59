"""From `hls init` to the first comment, against the sandbox."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hls_handler.cli.init.command import run
from hls_handler.cli.init.session import Session
from hls_handler.prompting import recorded
from hls_handler.settings.environment import read_environment
from tests.cli.browser import Browser
from tests.e2e.service import Service
from tests.github_fake.server import Sandbox

QUESTION = recorded.load("demo/question")


def test_the_service_comments_as_the_new_app_with_the_written_settings(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = sandbox.state.seed(QUESTION.event, QUESTION.payload)
    assert conversation is not None
    path = tmp_path / "config" / "settings.yaml"
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        session = Session(
            {"ANTHROPIC_API_KEY": sandbox.api_key},
            None,
            Browser().open,
            config=path,
            app=True,
            name="my-hls",
            webhook_url="https://hls.invalid/webhook",
            github_url=sandbox.github_url,
            claude_url=sandbox.claude_url,
        )
        run(session)
    variables = dict(read_environment({}, tmp_path / ".env"))
    url = f"sqlite:///{tmp_path}/hls.db"
    written = path.read_text().replace("github:\n", "github:\n  min_seconds_between_writes: 0.01\n")
    written = written.replace("claude:\n", "claude:\n  requests_per_second: 100\n")
    written = written.replace("server:\n", "server:\n  port: 0\n")
    path.write_text(f'{written}storage: {{url: "{url}"}}\n')
    service = Service(path, 0, tmp_path / "service.log", url, environ=variables).start()
    try:
        secret = variables["GITHUB_WEBHOOK_SECRET"]
        assert (
            service.deliver("issues", json.dumps(QUESTION.payload).encode(), secret=secret).status
            == 202
        )
        service.until_idle()
    finally:
        service.stop()
    comments = sandbox.conversation(conversation.number).comments
    assert [comment.author.login for comment in comments] == ["my-hls[bot]"]
