"""Starts that fail, signals and kills of the process, and the state after each."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from hls_handler.db.files import hold_exclusively
from hls_handler.prompting import recorded
from tests.e2e.conftest import MakeService
from tests.e2e.fork_server import run_command
from tests.e2e.service import ROOT, SECRET, Service, wait_until
from tests.github_fake.faults import Fault
from tests.github_fake.server import Sandbox

REPOSITORY = "Codertocat/Hello-World"


def issue(number: int) -> bytes:
    """Return the recorded bug as another issue of the same repository."""
    payload = recorded.load("demo/bug").payload
    payload["issue"] = {**payload["issue"], "number": number, "id": 444500000 + number}
    return json.dumps(payload).encode()


def deliver_issues(service: Service, sandbox: Sandbox, numbers: range) -> None:
    for number in numbers:
        body = issue(number)
        sandbox.state.seed("issues", json.loads(body))
        assert service.deliver("issues", body).status == 202


def assert_each_done_once(sandbox: Sandbox, numbers: Iterable[int]) -> None:
    """Check that each issue has one comment and that each label was set once."""
    for number in numbers:
        conversation = sandbox.conversation(number)
        assert len(conversation.comments) == 1, number
        labeled = [event.detail for event in conversation.events if event.kind == "labeled"]
        assert sorted(labeled) == sorted(conversation.labels), number
        assert "bug" in conversation.labels


def test_sigterm_finishes_running_steps_and_leaves_the_queue_even_with_an_open_request(
    make_service: MakeService, sandbox: Sandbox
) -> None:
    service = make_service(limits="concurrency: 2, shutdown_s: 3").start()
    sandbox.faults.add(
        Fault(effect="slow", stand_in="claude", path="/v1/messages", times=None, seconds=0.3)
    )
    with socket.create_connection(("127.0.0.1", service.port)) as unfinished:
        unfinished.sendall(
            b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        )
        unfinished.sendall(
            b"X-GitHub-Event: issues\r\nX-GitHub-Delivery: 1\r\nX-Hub-Signature-256: sha256="
            + b"0" * 64
        )
        unfinished.sendall(b"\r\nContent-Length: 9\r\n\r\n")
        deliver_issues(service, sandbox, range(301, 313))
        calls_before = sum(request.writes for request in sandbox.requests.all("claude"))
        assert service.stop(signal.SIGTERM) == 0
    assert sum(request.writes for request in sandbox.requests.all("claude")) <= calls_before + 2
    sandbox.faults.clear()
    service.start()
    service.until_idle()
    assert_each_done_once(sandbox, range(301, 313))
    assert sum(request.writes for request in sandbox.requests.all("claude")) == 12


def run(
    *arguments: str, environ: dict[str, str] | None = None, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    return run_command(
        arguments, environ={**os.environ, "COLUMNS": "120", **(environ or {})}, folder=cwd
    )


def test_a_busy_port_of_the_sandbox_names_the_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        ended = run("sandbox", "--port", str(port))
    assert ended.returncode == 1
    assert (
        ended.stderr
        == f"the sandbox cannot listen on 127.0.0.1:{port}: Address already in use; choose another"
        " with --port\n"
    )


def test_all_problems_of_a_start_are_printed_together(
    make_service: MakeService, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        service = make_service(
            storage_url="sqlite:////proc/nowhere/hls.db", prompts=str(tmp_path / "none")
        )
        port = str(listener.getsockname()[1])
        ended = run(
            "serve", "--config", str(service.settings), "--host", "127.0.0.1", "--port", port
        )
    assert ended.returncode == 2
    said = ended.stderr
    assert f"--port (server.port): cannot listen on 127.0.0.1:{port}: " in said
    assert "(storage.url)" in said
    assert (
        f"{service.settings}:13 (prompts.directory): there is no folder {tmp_path}/none [HLS030]\n"
        in said
    )
    assert "Traceback" not in said


def test_a_database_locked_by_another_serve_stops_the_start(make_service: MakeService) -> None:
    second = make_service()
    with hold_exclusively(second.storage_url):
        ended = run("serve", "--config", str(second.settings))
    assert ended.returncode == 1  # a later start may succeed: whoever supervises tries again
    assert "is locked by another `hls serve`" in ended.stderr


HINT = "hls init` connects it with GitHub and Claude, and writes settings"


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({}, f"{HINT}."),
        (
            {"ANTHROPIC_API_KEY": "sk-ant-1"},
            f"{HINT}; ANTHROPIC_API_KEY is set, but is not used in the demo.",
        ),
        (
            {"GITHUB_TOKEN": "t" * 40, "GITHUB_WEBHOOK_SECRET": SECRET, "ANTHROPIC_API_KEY": " "},
            (
                f"{HINT}; GITHUB_TOKEN and GITHUB_WEBHOOK_SECRET are set, but are not used in the"
                " demo."
            ),
        ),
        # too short for the service
        (
            {"GITHUB_WEBHOOK_SECRET": "short"},
            f"{HINT}; GITHUB_WEBHOOK_SECRET is set, but is not used in the demo.",
        ),
    ],
    ids=["none", "the key of Claude", "all but the key of Claude", "an unusable one"],
)
def test_up_without_settings_and_all_credentials_is_the_demo(
    tmp_path: Path, environ: dict[str, str], line: str
) -> None:
    (tmp_path / "data" / "demo").mkdir(parents=True)
    url = f"sqlite:///{tmp_path}/data/demo/hls.db"
    with hold_exclusively(url):  # so that the demo ends at once
        ended = run("up", environ=environ, cwd=tmp_path)
    assert ended.stderr == ""
    first, second, *_ = ended.stdout.splitlines()
    assert first.startswith("To use HLS, `")
    assert first.endswith(line)
    assert second.startswith(f"the demo cannot run: the database {url} is locked")


def test_up_with_an_invalid_dotenv_file_names_the_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("GITHUB_TOKEN=t\nANTHROPIC_API_KEY\n= x\n")
    ended = run("up", cwd=tmp_path)
    expected = f"{tmp_path}/.env:3: invalid line; expected NAME=value [HLS007]\n"
    assert (ended.returncode, ended.stderr) == (2, expected)


def test_up_with_a_settings_file_does_not_start_the_demo(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    shutil.copy("config/settings.example.yaml", tmp_path / "config" / "settings.yaml")
    ended = run("up", cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"{tmp_path}/config/settings.yaml:")
    assert ": github.token: the variable GITHUB_TOKEN is not set" in ended.stderr


def test_a_prompt_file_adds_another_event_to_the_running_service(
    make_service: MakeService, sandbox: Sandbox, tmp_path: Path
) -> None:
    """As in docs/prompts.md: no code and no restart."""
    prompts = Path(shutil.copytree(ROOT / "prompts", tmp_path / "prompts"))
    service = make_service(more="    comments: {post_to: {push: 401}}", prompts=str(prompts))
    service.settings.write_text(
        service.settings.read_text().replace("issue_comment]", "issue_comment, push]")
    )
    service.start()
    deliver_issues(service, sandbox, range(401, 402))
    push = recorded.load("demo/push")
    sandbox.state.seed(push.event, push.payload)
    assert service.deliver("push", recorded.unique(push.body)).body["status"] == "ignored"
    (prompts / "push").mkdir()
    (prompts / "push" / "tell.j2").write_text(
        "---\ndescription: What was pushed\non: [push]\nreply: generic_analysis\n---\n{% extends"
        " 'generic.j2' %}\n{% block question %}\nWhat was pushed to {{ event.ref }}?\n{% endblock"
        " %}\n"
    )
    wait_until(lambda: "prompts reloaded" in service.log.read_text())
    assert service.deliver("push", recorded.unique(push.body)).body["status"] == "queued"
    service.until_idle()
    conversation = sandbox.conversation(401)
    # the one for the issue may come before or after it
    bodies = [comment.body for comment in conversation.comments]
    assert sum("*Automatic comment about [this push](" in body for body in bodies) == 1
