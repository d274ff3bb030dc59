"""The sandbox: its first objects, and links that lead to it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from hls_handler.cli.send import with_sandbox_links
from hls_handler.prompting import recorded
from tests.e2e.fork_server import start_module
from tests.e2e.service import ROOT, wait_until
from tests.sandbox.conftest import ask
from tests.settings.files import SMALLEST, load


def test_links_of_a_sent_payload_lead_to_the_sandbox(tmp_path: Path) -> None:
    body = recorded.load("demo/lint-failed").body
    settings = load(tmp_path, SMALLEST)
    assert with_sandbox_links(settings, body) == body
    local = settings.model_copy(
        update={
            "github": settings.github.model_copy(
                update={"base_url": "http://127.0.0.1:9000/api/v3"}
            )
        }
    )
    sent = json.loads(with_sandbox_links(local, body))
    assert (
        sent["workflow_run"]["html_url"]
        == "http://127.0.0.1:9000/Codertocat/Hello-World/actions/runs/19041222728"
    )
    assert sent["repository"]["url"] == "http://127.0.0.1:9000/api/v3/repos/Codertocat/Hello-World"


def test_sandbox_begins_with_opened_issues_and_prints_commands_of_this_installation(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    running = start_module(
        "hls_handler", ["sandbox", "--port", "0"], environ={"PATH": "/usr/bin:/bin"}, log=log
    )
    try:
        wait_until(lambda: log.exists() and log.read_text().count("\n") == 5)
        lines = log.read_text().splitlines()
        page = ask(lines[0].split()[1], "GET", "/11").headers["location"]
        text = ask(lines[0].split()[1], "GET", page).text
    finally:
        running.terminate()
        running.wait()
    program = Path(sys.executable).with_name("hls")
    shown = program.relative_to(ROOT) if program.is_relative_to(ROOT) else program
    assert lines[3].startswith(f"Try:    {shown} init --github-url ")
    assert "curl -X POST -H 'Content-Type: application/json' http://" in lines[4]
    assert lines[4].endswith(f"(other names: {shown} send --list)")
    assert "changed the title" not in text
    assert "issuecomment" not in text
