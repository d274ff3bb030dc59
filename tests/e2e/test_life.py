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

from hls_handler.prompting import recorded
from hls_handler.sandbox.faults import Fault
from hls_handler.sandbox.server import Sandbox
from tests.e2e.conftest import MakeService
from tests.e2e.fork_server import run_command
from tests.e2e.service import ROOT, SECRET, Service, Waiting

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
        conversation = sandbox.state.conversation(REPOSITORY, number)
        assert conversation is not None
        assert len(conversation.comments) == 1, number
        labeled = [event.detail for event in conversation.events if event.kind == "labeled"]
        assert sorted(labeled) == sorted(conversation.labels), number
        assert "bug" in conversation.labels


@pytest.mark.parametrize("seen_requests", [3, 12, 25, 40])
def test_a_killed_service_continues_after_a_restart(
    make_service: MakeService, sandbox: Sandbox, seen_requests: int
) -> None:
    service = make_service().start()
    deliver_issues(service, sandbox, range(101, 109))
    waiting = Waiting(60)
    while len(sandbox.requests.all()) < seen_requests and waiting.more():
        pass
    assert service.stop(signal.SIGKILL) == -signal.SIGKILL
    service.start()
    service.until_idle()
    assert_each_done_once(sandbox, range(101, 109))
    calls = sum(request.writes for request in sandbox.requests.all("claude"))
    assert 8 <= calls <= 8 + 4  # a call that was under way in each of four workers may be made again


def test_a_comment_that_github_creates_after_a_kill_is_not_duplicated(
    make_service: MakeService, sandbox: Sandbox
) -> None:
    """The next start waits for the pending write before it reads the comments."""
    service = make_service(slowest_write_s=5).start()
    sandbox.faults.add(Fault(effect="slow", stand_in="github", method="POST", path="/comments", seconds=3))
    deliver_issues(service, sandbox, range(101, 102))
    waiting = Waiting(60)
    while not any(fitted for _, fitted in sandbox.faults.rules) and waiting.more():
        pass
    assert service.stop(signal.SIGKILL) == -signal.SIGKILL
    service.start()
    service.until_idle()
    waiting = Waiting(60)
    while not any(request.document()["fault"] for request in sandbox.requests.all("github")) and waiting.more():
        pass
    assert_each_done_once(sandbox, [101])


def test_sigterm_finishes_running_steps_and_leaves_the_queue(make_service: MakeService, sandbox: Sandbox) -> None:
    service = make_service(more="").start()
    deliver_issues(service, sandbox, range(201, 221))
    assert service.stop(signal.SIGTERM) == 0
    service.start()
    service.until_idle()
    assert_each_done_once(sandbox, range(201, 221))
    assert sum(request.writes for request in sandbox.requests.all("claude")) == 20


def test_sigterm_stops_claims_even_with_an_open_request(make_service: MakeService, sandbox: Sandbox) -> None:
    service = make_service(limits="concurrency: 2, shutdown_s: 3").start()
    sandbox.faults.add(Fault(effect="slow", stand_in="claude", path="/v1/messages", times=None, seconds=0.3))
    with socket.create_connection(("127.0.0.1", service.port)) as unfinished:
        unfinished.sendall(b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
        unfinished.sendall(
            b"X-GitHub-Event: issues\r\nX-GitHub-Delivery: 1\r\nX-Hub-Signature-256: sha256=" + b"0" * 64
        )
        unfinished.sendall(b"\r\nContent-Length: 9\r\n\r\n")
        deliver_issues(service, sandbox, range(301, 321))
        calls_before = sum(request.writes for request in sandbox.requests.all("claude"))
        assert service.stop(signal.SIGTERM) == 0
    assert sum(request.writes for request in sandbox.requests.all("claude")) <= calls_before + 2


def test_deliveries_that_wait_for_the_call_budget_continue_after_a_restart_with_a_larger_one(
    make_service: MakeService, sandbox: Sandbox
) -> None:
    service = make_service().start()
    service.stop()
    text = service.settings.read_text()
    service.settings.write_text(
        text.replace("requests_per_second: 100", "requests_per_second: 100\n  calls_per_hour: 2")
    )
    service.start()
    deliver_issues(service, sandbox, range(401, 405))
    waiting = Waiting(30)
    while waiting.more() and service.get("/health").body["components"]["claude"]["state"] != "degraded":
        pass
    service.stop()
    assert sum(request.writes for request in sandbox.requests.all("claude")) == 2
    service.settings.write_text(text)
    service.start()
    service.until_idle()
    assert sum(request.writes for request in sandbox.requests.all("claude")) == 4


def run(*arguments: str, environ: dict[str, str] | None = None, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return run_command(arguments, environ={**os.environ, "COLUMNS": "120", **(environ or {})}, folder=cwd)


def test_a_busy_port_of_the_sandbox_names_the_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        ended = run("sandbox", "--port", str(port))
    assert ended.returncode == 1
    assert ended.stderr == (
        f"the sandbox cannot listen on 127.0.0.1:{port}: Address already in use; choose another with --port\n"
    )


def test_all_problems_of_a_start_are_printed_together(make_service: MakeService, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        service = make_service(storage_url="sqlite:////proc/nowhere/hls.db", prompts=str(tmp_path / "none"))
        port = str(listener.getsockname()[1])
        ended = run("serve", "--config", str(service.settings), "--host", "127.0.0.1", "--port", port)
    assert ended.returncode == 2
    said = ended.stderr
    assert f"--port (server.port): cannot listen on 127.0.0.1:{port}: " in said
    assert "(storage.url)" in said
    assert f"{service.settings}:14 (prompts.directory): there is no folder {tmp_path}/none\n" in said
    assert "Traceback" not in said


def test_invalid_settings_are_rejected_with_every_problem_and_line(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(
        "server: {prot: 8000}\n"
        "github: {token: '${NOWHERE}', webhook_secret: short}\n"
        "claude: {api_key: key, max_tokens: many}\n"
        "repositories: []\n"
    )
    ended = run("serve", "--config", str(path))
    assert ended.returncode == 2
    said = ended.stderr
    for line, words in [
        (1, "did you mean server.port?"),
        (2, "NOWHERE"),
        (2, "16 bytes"),
        (3, "claude.max_tokens"),
        (4, "repositories"),
    ]:
        assert any(f":{line}: " in problem and words in problem for problem in said.splitlines()), (words, said)
    assert "short" not in said.replace("shorter", "")


def test_a_database_locked_by_another_serve_stops_the_start(service: Service, make_service: MakeService) -> None:
    second = make_service(storage_url=service.storage_url)
    ended = run("serve", "--config", str(second.settings))
    assert ended.returncode == 1  # a later start may succeed: whoever supervises tries again
    assert "is locked by another `hls serve`" in ended.stderr


def test_incomplete_credentials_stop_the_start(tmp_path: Path) -> None:
    ended = run("up", environ={"GITHUB_TOKEN": "t" * 40, "GITHUB_WEBHOOK_SECRET": SECRET}, cwd=tmp_path)
    assert ended.returncode == 2
    assert "ANTHROPIC_API_KEY" in ended.stderr


def test_up_with_a_settings_file_and_no_credentials_does_not_start_the_demo(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    shutil.copy("config/settings.example.yaml", tmp_path / "config" / "settings.yaml")
    ended = run("up", cwd=tmp_path)
    assert ended.returncode == 2
    assert "config/settings.yaml:28: github.token: the variable GITHUB_TOKEN is not set" in ended.stderr


def test_a_changed_prompt_is_used_by_the_next_delivery_and_an_invalid_one_is_not(
    make_service: MakeService, sandbox: Sandbox, prompts: Path
) -> None:
    service = make_service(prompts=str(prompts)).start()
    template = prompts / "issues" / "analyze.j2"
    good = template.read_text()
    template.write_text(good.replace("Sort this issue.", "Sort this issue with care."))
    deliver_issues(service, sandbox, range(301, 302))
    service.until_idle()
    assert "Sort this issue with care." in asked(sandbox)[-1]
    template.write_text(good.replace("Sort this issue.", "{{ issue.titel }}"))
    deliver_issues(service, sandbox, range(302, 303))
    service.until_idle()
    assert "Sort this issue with care." in asked(sandbox)[-1]
    conversation = sandbox.state.conversation(REPOSITORY, 302)
    assert conversation is not None
    assert len(conversation.comments) == 1
    prompts_health: dict[str, str] = {}
    waiting = Waiting(10)  # the watcher may have seen the file half written, and looks again a second later
    while waiting.more() and "titel" not in prompts_health.get("message", ""):
        prompts_health = service.get("/health").body["components"]["prompts"]
    assert prompts_health["state"] == "degraded"
    assert "titel" in prompts_health["message"]


def asked(sandbox: Sandbox) -> list[str]:
    return [request.body["messages"][0]["content"] for request in sandbox.requests.all("claude") if request.writes]


def test_rule_19_secrets_are_in_no_log_response_or_row(service: Service, sandbox: Sandbox, tmp_path: Path) -> None:
    deliver_issues(service, sandbox, range(401, 402))
    service.until_idle()
    answers = [json.dumps(service.get(path).body) for path in ("/health", "/stats")]
    assert service.stop() == 0
    database = b"".join(path.read_bytes() for path in tmp_path.glob("hls.db*"))
    for secret in (sandbox.token, sandbox.api_key, SECRET):
        assert secret not in service.log.read_text()
        assert secret.encode() not in database
        assert not any(secret in answer for answer in answers)
