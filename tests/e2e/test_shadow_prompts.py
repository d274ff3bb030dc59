"""Shadow prompts: they change nothing on GitHub and are compared with the posted prompt."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from hls_handler.sandbox.server import Sandbox
from tests.e2e.conftest import MakeService
from tests.e2e.fork_server import run_command
from tests.e2e.service import Service
from tests.e2e.test_main_job import BUG, REPOSITORY, send

USE = "prompts: {use: {issues.opened: {prompt: issues/strict, shadow: true}}}"


def hls(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command([*arguments, "--config", str(service.settings)], environ=os.environ)


def calls(sandbox: Sandbox) -> int:
    """Return the number of calls to Claude."""
    return sum(request.writes for request in sandbox.requests.all("claude"))


def own_folder(tmp_path: Path, prompts: Path) -> Path:
    """A folder with the prompt `issues/strict`, which differs from the shipped prompt in one word."""
    own = tmp_path / "own" / "issues"
    own.mkdir(parents=True)
    for ending in (".j2", ".comment.md.j2"):
        shipped = (prompts / f"issues/analyze{ending}").read_text()
        (own / f"strict{ending}").write_text(shipped.replace("high: data is lost", "high: only if data is lost"))
    return own.parent


def test_a_shadow_prompt_is_compared_with_the_posted_reply(
    make_service: MakeService, sandbox: Sandbox, tmp_path: Path, prompts: Path
) -> None:
    service = make_service(more=f"    {USE}")
    text = service.settings.read_text()
    folders = json.dumps([str(own_folder(tmp_path, prompts)), "prompts"])
    service.settings.write_text(text.replace("directory: prompts", f"directory: {folders}"))
    service.start()
    assert send(service, sandbox, "demo/bug") == "queued"

    conversation = sandbox.state.conversation(REPOSITORY, BUG)
    assert conversation is not None
    assert len(conversation.comments) == 1
    assert calls(sandbox) == 2
    stats = service.get("/stats").body
    assert {name.partition("@")[0]: one["shadow_calls"] for name, one in stats["prompts"].items()} == {
        "issues/analyze": 0,
        "issues/strict": 1,
    }

    result = hls(service, "why", f"{REPOSITORY}#{BUG}").stdout
    assert "Shadow prompt issues/strict@" in result
    assert "2 calls to Claude (1 of them for the shadow prompt)" in result
    compared = hls(service, "prompts", "compare", "issues/strict")
    assert (compared.returncode, compared.stderr) == (0, "")
    assert "same labels  1\n" in compared.stdout

    refused = hls(service, "prompts", "compare", "issues/strict", "--ask")
    assert (refused.returncode, refused.stderr) == (
        2,
        "standard input is not a terminal, so the cost cannot be confirmed; add --yes to confirm it\n",
    )
    assert calls(sandbox) == 2
    asked = hls(service, "prompts", "compare", "issues/strict", "--ask", "--yes", "--json")
    assert asked.returncode == 0
    assert ": 1 question to claude-haiku-5-5, about " in asked.stderr
    document = json.loads(asked.stdout)
    assert (document["compared"], document["same_labels"]) == (1, 1)
    assert calls(sandbox) == 3
    assert sandbox.state.conversation(REPOSITORY, BUG) == conversation
