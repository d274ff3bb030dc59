"""Commands about a running service."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hls_handler.cli import app
from hls_handler.console.openapi import make_document
from hls_handler.prompting import recorded
from tests.e2e.conftest import MakeService, Shared
from tests.e2e.service import ROOT, Service, free_port
from tests.github_fake.faults import Fault
from tests.github_fake.files import set_file

pytestmark = pytest.mark.smoke

BUG, FEATURE = "Codertocat/Hello-World#11", "Codertocat/Hello-World#13"


def hls(service: Service, *arguments: str) -> Result:
    return CliRunner().invoke(
        app, [*arguments, "--config", str(service.settings)], env={"COLUMNS": "200"}
    )


def test_ctrl_c_during_imports_prints_no_traceback() -> None:
    interrupting = """
import sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "hls_handler.cli.check":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupting())
from hls_handler.__main__ import main
main()
"""
    ended = subprocess.run(
        [sys.executable, "-c", interrupting, "check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_send_posts_a_signed_event_and_why_shows_its_processing(shared: Shared) -> None:
    service, sandbox = shared.service, shared.sandbox
    sent = hls(service, "send", "demo/bug")
    assert (sent.exit_code, sent.stderr) == (0, "")
    assert sent.stdout.startswith("issues.opened (demo/bug, ")
    assert '"status": "queued"' in sent.stdout
    service.until_idle()
    result = hls(service, "why", BUG)
    assert result.exit_code == 0
    assert f"{service.settings}:" in result.stdout  # the line of settings that let it in
    assert "prompts/issues/analyze.j2" in result.stdout
    assert "Reply to issues/analyze@" in result.stdout
    assert ": kind: bug; priority: high" in result.stdout
    assert "Comment: commented" in result.stdout
    assert "1 call to Claude" in result.stdout
    page = f"{sandbox.page_url}Codertocat/Hello-World/issues/11"
    (delivery,) = json.loads(hls(service, "why", page, "--json").stdout)["deliveries"]
    documented = make_document()["components"]["schemas"]["DeliveryReport"]
    assert set(delivery) == set(documented["properties"])
    assert (delivery["state"], delivery["replies"][0]["type"]) == ("done", "issue_analysis")
    assert [call["outcome"] for call in delivery["calls"]] == ["ok"]


def test_send_verbatim_twice_is_a_replay(shared: Shared) -> None:
    assert '"queued"' in hls(shared.service, "send", "issues.opened", "--verbatim").stdout
    assert "replay of" in hls(shared.service, "send", "issues.opened", "--verbatim").stdout
    assert '"queued"' in hls(shared.service, "send", "issues.opened").stdout
    # otherwise these deliveries may take the fault that a later test injects
    shared.service.until_idle()


def test_send_names_the_service_if_it_does_not_answer(make_service: MakeService) -> None:
    sent = hls(make_service(port=free_port()), "send", "demo/bug")
    assert sent.exit_code == 1
    assert "is `hls serve` running with the same settings?" in sent.stderr


def test_why_shows_the_reason_of_an_ignored_event_and_fails_without_any(shared: Shared) -> None:
    hls(shared.service, "send", "issues.pinned")
    assert (
        "Ignored: no prompt in prompts"
        in hls(shared.service, "why", "Codertocat/Hello-World#1").stdout
    )
    unknown = hls(shared.service, "why", "nobody/nothing#1")
    assert unknown.exit_code == 1
    assert "nothing was received for nobody/nothing#1" in unknown.stderr


def test_a_dead_delivery_is_listed_and_retried_while_the_service_runs(shared: Shared) -> None:
    service = shared.service
    shared.sandbox.faults.add(Fault(effect="refusal", stand_in="claude", method="POST"))
    hls(service, "send", "demo/question")
    service.until_idle()
    listed = hls(service, "deliveries", "list", "--state", "dead")
    assert " #12  " in listed.stdout
    guid = listed.stdout.split()[2]
    assert (
        "Dead: Claude's reply to issues/analyze@" in hls(service, "deliveries", "show", guid).stdout
    )
    assert hls(service, "deliveries", "retry", guid).exit_code == 0
    service.until_idle()
    assert hls(service, "deliveries", "list", "--state", "dead").stdout == "no deliveries\n"
    assert len(shared.sandbox.conversation(12).comments) == 1
    again = hls(service, "deliveries", "retry", guid)
    assert again.exit_code == 1
    assert "only a dead, ignored or waiting delivery can be run again" in again.stderr


def test_render_prints_the_request_to_claude(shared: Shared) -> None:
    before = len(shared.sandbox.requests.all("claude"))
    rendered = hls(shared.service, "render", "demo/feature")
    assert rendered.exit_code == 0
    assert "prompt      pull_requests/analyze@" in rendered.stdout
    assert "<untrusted " in rendered.stdout
    assert "--- schema of the reply (pull_request_analysis) ---" in rendered.stdout
    hls(shared.service, "send", "demo/feature")
    shared.service.until_idle()
    asked = [
        request.body for request in shared.sandbox.requests.all("claude")[before:] if request.writes
    ]
    assert asked[0]["system"][0]["text"] in rendered.stdout


def test_render_knows_the_pull_request_of_a_check(shared: Shared, tmp_path: Path) -> None:
    payload = recorded.load("check_run.completed").payload
    check = {**payload["check_run"], "output": {"title": "The gate failed"}}
    (tmp_path / "check.json").write_text(json.dumps({**payload, "check_run": check}))
    rendered = hls(shared.service, "render", str(tmp_path / "check.json"), "--event", "check_run")
    assert (rendered.exit_code, rendered.stderr) == (0, "")
    assert "1| The gate failed" in rendered.stdout


def test_render_reads_the_current_state_of_github(shared: Shared) -> None:
    one = recorded.load("demo/feature")
    shared.sandbox.state.seed(one.event, one.payload)
    before = len(shared.sandbox.requests.all("claude"))
    rendered = hls(shared.service, "render", "--live", FEATURE)
    assert (rendered.exit_code, rendered.stderr) == (0, "")
    assert rendered.stdout.startswith("prompt      pull_requests/analyze@")
    assert "/v1/messages" not in [
        request.path for request in shared.sandbox.requests.all("claude")[before:]
    ]
    gone = hls(shared.service, "render", "Codertocat/Hello-World#99")
    assert gone.exit_code == 1
    assert gone.stderr.startswith("GET /repos/Codertocat/Hello-World/issues/99: 404")
    misspelt = hls(shared.service, "render", "demo/bugg")
    assert misspelt.exit_code == 2
    assert "demo/bug" in misspelt.stderr


def test_settings_of_a_repository_are_explained_with_its_own_file(shared: Shared) -> None:
    """As the service stored it, and as GitHub has it now."""
    feature = recorded.load("demo/feature")
    shared.sandbox.state.seed(feature.event, feature.payload)
    said = "labels: {allow: [bug]}\ncomments: {language: German}\n"
    set_file(shared.sandbox.state, "Codertocat/Hello-World", ".github/hls.yaml", said)
    live = hls(shared.service, "config", "explain", "Codertocat/Hello-World", "--live").stdout
    assert "comments.language = German   .github/hls.yaml:2 (comments.language)" in live
    assert "German" in hls(shared.service, "render", "--live", FEATURE).stdout
    stored = hls(shared.service, "config", "explain", "Codertocat/Hello-World").stdout
    assert "comments.language = null   default" in stored
