"""The commands as processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hls_handler.cli import app
from hls_handler.prompting import recorded
from hls_handler.sandbox.faults import Fault
from hls_handler.sandbox.server import Sandbox
from tests.cli.test_json import assert_documented
from tests.e2e.conftest import MakeService, violations
from tests.e2e.fork_server import run_command
from tests.e2e.service import ROOT, SECRET, Service, free_port

ENVIRON = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}


@pytest.fixture
def service(make_service: MakeService) -> Service:
    """A service with a fixed port, which `hls send` reads from the settings."""
    return make_service(port=free_port()).start()


def hls(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return run_command(arguments, environ=ENVIRON, folder=cwd)


@pytest.mark.parametrize("module", ["hls_handler.cli", "hls_handler.cli.check"])
def test_ctrl_c_during_imports_prints_no_traceback(module: str) -> None:
    interrupting = f"""
import sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "{module}":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupting())
from hls_handler.__main__ import main
main()
"""
    ended = subprocess.run(
        [sys.executable, "-c", interrupting, "check"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


@contextmanager
def started(*arguments: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a command that keeps running; kill it at the end."""
    command = [sys.executable, "-m", "hls_handler", *arguments]
    with subprocess.Popen(
        command, cwd=cwd, env=ENVIRON, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_send_posts_a_signed_event_and_why_shows_its_processing(service: Service, sandbox: Sandbox) -> None:
    config = ("--config", str(service.settings))
    sent = hls("send", "demo/bug", *config)
    assert (sent.returncode, sent.stderr) == (0, "")
    assert sent.stdout.startswith("issues.opened (demo/bug, ")
    assert '"status": "queued"' in sent.stdout
    service.until_idle()
    result = hls("why", "Codertocat/Hello-World#11", *config)
    assert result.returncode == 0
    assert f"{service.settings}:" in result.stdout  # the line of settings that let it in
    assert "prompts/issues/analyze.j2" in result.stdout
    assert "Claude's reply to issues/analyze@" in result.stdout
    assert ": kind: bug; priority: high" in result.stdout
    assert "Comment: commented" in result.stdout
    assert "1 call to Claude" in result.stdout
    page = f"{sandbox.page_url}Codertocat/Hello-World/issues/11"
    (delivery,) = json.loads(hls("why", page, "--json", *config).stdout)["deliveries"]
    assert_documented(delivery, "hls deliveries list", "hls deliveries show")
    assert (delivery["state"], delivery["replies"][0]["type"]) == ("done", "issue_analysis")
    assert [call["outcome"] for call in delivery["calls"]] == ["ok"]


def test_send_verbatim_twice_is_a_replay(service: Service) -> None:
    config = ("--config", str(service.settings))
    assert '"queued"' in hls("send", "issues.opened", "--verbatim", *config).stdout
    assert "replay of" in hls("send", "issues.opened", "--verbatim", *config).stdout
    assert '"queued"' in hls("send", "issues.opened", *config).stdout


def test_send_names_the_service_if_it_does_not_answer(make_service: MakeService) -> None:
    sent = hls("send", "demo/bug", "--config", str(make_service(port=free_port()).settings))
    assert sent.returncode == 1
    assert "is `hls serve` running with the same settings?" in sent.stderr


def test_why_shows_the_reason_of_an_ignored_event(service: Service) -> None:
    config = ("--config", str(service.settings))
    hls("send", "issues.pinned", *config)
    result = hls("why", "Codertocat/Hello-World#1", *config)
    assert "Ignored: no prompt in prompts" in result.stdout
    assert "issues.pinned" in result.stdout


def test_why_of_an_unknown_conversation_fails(service: Service) -> None:
    result = hls("why", "nobody/nothing#1", "--config", str(service.settings))
    assert result.returncode == 1
    assert "nothing was received for nobody/nothing#1" in result.stderr


def test_a_dead_delivery_is_listed_and_retried_while_the_service_runs(service: Service, sandbox: Sandbox) -> None:
    config = ("--config", str(service.settings))
    sandbox.faults.add(Fault(effect="refusal", stand_in="claude", method="POST"))
    hls("send", "demo/bug", *config)
    service.until_idle()
    listed = hls("deliveries", "list", "--state", "dead", *config)
    assert "issues.opened  Codertocat/Hello-World#11" in listed.stdout
    guid = listed.stdout.split()[2]
    shown = hls("deliveries", "show", guid, *config)
    assert "Dead: Claude's reply to issues/analyze@" in shown.stdout
    assert hls("deliveries", "retry", guid, *config).returncode == 0
    service.until_idle()
    assert hls("deliveries", "list", "--state", "dead", *config).stdout == "no deliveries\n"
    conversation = sandbox.state.conversation("Codertocat/Hello-World", 11)
    assert conversation is not None
    assert len(conversation.comments) == 1
    again = hls("deliveries", "retry", guid, *config)
    assert again.returncode == 1
    assert "only a dead, ignored or waiting delivery can be run again" in again.stderr


def test_render_prints_the_request_to_claude(service: Service, sandbox: Sandbox) -> None:
    config = ("--config", str(service.settings))
    rendered = hls("render", "demo/feature", *config)
    assert rendered.returncode == 0
    assert "prompt      pull_requests/analyze@" in rendered.stdout
    assert "<untrusted " in rendered.stdout
    assert "--- schema of the reply (pull_request_analysis) ---" in rendered.stdout
    hls("send", "demo/feature", *config)
    service.until_idle()
    asked = [request.body for request in sandbox.requests.all("claude") if request.writes]
    assert asked[0]["system"][0]["text"] in rendered.stdout


def test_prompts_try_prints_the_outcome_and_writes_nothing(service: Service, sandbox: Sandbox) -> None:
    config = ("--config", str(service.settings))
    hls("send", "demo/question", *config)
    service.until_idle()
    page = f"{sandbox.page_url}Codertocat/Hello-World/issues/12"
    before = sandbox.state.conversation("Codertocat/Hello-World", 12)
    result = hls("prompts", "try", page, *config)
    assert (result.returncode, result.stderr) == (0, "")
    assert "\nlabels      the labels are as they should be\n" in result.stdout
    assert "\ncomment     our comment is up to date\n" in result.stdout
    assert sandbox.state.conversation("Codertocat/Hello-World", 12) == before
    with closing(service.open_store()) as store:
        (row,) = store.deliveries.newest()
        assert len(store.calls.calls_of(row.guid)) == store.calls.count_last_hour() == 1


def test_render_reads_the_current_state_of_github(make_service: MakeService, sandbox: Sandbox) -> None:
    one = recorded.load("demo/feature")
    sandbox.state.seed(one.event, one.payload)
    config = ("--config", str(make_service(port=free_port()).settings))
    rendered = hls("render", "--live", f"{sandbox.page_url}Codertocat/Hello-World/pull/13", *config)
    assert (rendered.returncode, rendered.stderr) == (0, "")
    assert rendered.stdout.startswith("prompt      pull_requests/analyze@")
    assert "/repos/Codertocat/Hello-World/pulls/13/files" in [seen.path for seen in sandbox.requests.all("github")]
    assert sandbox.requests.all("claude") == ()
    gone = hls("render", "Codertocat/Hello-World#99", *config)
    assert gone.returncode == 1
    assert gone.stderr.startswith("GET /repos/Codertocat/Hello-World/issues/99: 404")


def test_render_suggests_the_nearest_payload_name(service: Service) -> None:
    rendered = hls("render", "demo/bugg", "--config", str(service.settings))
    assert rendered.returncode == 2
    assert "demo/bug" in rendered.stderr


def test_check_succeeds_for_valid_settings(service: Service, sandbox: Sandbox) -> None:
    sandbox.state.seed("issues", recorded.load("demo/bug").payload)
    checked = hls("check", "--config", str(service.settings))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "the token github.token belongs to hls-bot" in checked.stdout
    assert checked.stdout.endswith("settings and 9 prompts are fine; GitHub and Claude answer\n")


def test_check_names_a_fallback_issue_that_does_not_exist(make_service: MakeService) -> None:
    settings = make_service().settings
    entry = '{name: "Codertocat/Hello-World", comments: {post_to: {push: 4711}}}'
    settings.write_text(f"{settings.read_text()}\n".replace("repositories:\n", f"repositories:\n  - {entry}\n", 1))
    checked = hls("check", "--config", str(settings))
    assert checked.returncode == 1
    assert ".comments.post_to.push): the issue Codertocat/Hello-World#4711 cannot be read: GET " in checked.stdout


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("{% block task %}", "{% block task %}{{ issue.titel }}", "titel"),
        ("{% block task %}", "{% block task %}{% if %}", "analyze.j2:"),
        ("reply: issue_analysis", "reply: issue_analysys", "issue_analysis"),
    ],
    ids=["unknown variable", "syntax", "unknown reply type"],
)
def test_check_prints_file_and_line_of_an_invalid_prompt(
    make_service: MakeService, prompts: Path, old: str, new: str, finding: str
) -> None:
    template = prompts / "issues" / "analyze.j2"
    template.write_text(template.read_text().replace(old, new))
    checked = hls("check", "--offline", "--config", str(make_service(prompts=str(prompts)).settings))
    assert checked.returncode == 1
    assert f"{template}:" in checked.stdout
    assert finding in checked.stdout


def test_check_reports_a_selected_prompt_that_does_not_exist(make_service: MakeService) -> None:
    settings = make_service(more="    prompts: {use: {issues.reopened: issues/analyse, issues.edited: false}}").settings
    checked = hls("check", "--offline", "--config", str(settings))
    assert checked.returncode == 1
    line = len(settings.read_text().rstrip().splitlines())
    assert checked.stdout.splitlines()[-1] == (
        f"{settings}:{line} (repositories[0].prompts.use.issues.reopened): there is no prompt 'issues/analyse'; "
        "did you mean 'issues/analyze'?"
    )


def test_check_names_events_that_the_webhook_of_a_repository_does_not_send(
    make_service: MakeService, sandbox: Sandbox
) -> None:
    service = make_service(catch_up="enabled: true")
    service.settings.write_text(service.settings.read_text().replace('"Codertocat/*"', "Codertocat/Hello-World"))
    sandbox.state.seed("issues", recorded.load("demo/bug").payload)
    sandbox.state.set_permission("Codertocat/Hello-World", "hls-bot", "admin")
    sent = ("issues", "pull_request", "pull_request_review", "issue_comment", "workflow_run", "release")
    url = "https://hls.invalid/webhook"
    hook = sandbox.state.hooks.add("Codertocat/Hello-World", url, SECRET, events=sent)
    checked = hls("check", "--config", str(service.settings))
    page = f"{sandbox.page_url}Codertocat/Hello-World/settings/hooks/{hook.id}"
    assert checked.returncode == 1
    assert checked.stdout.splitlines()[-1] == (
        f"{service.settings}:18 (repositories[0].name): the webhook does not send pull_request_review_comment, "
        f"pull_request_review_thread, which the settings need; select them at {page}"
    )
    sandbox.state.hooks.change(replace(hook, events=("*",)))
    assert hls("check", "--config", str(service.settings)).returncode == 0
    second = sandbox.state.hooks.add("Codertocat/Hello-World", "https://hls.example.com/webhook", SECRET)
    several = hls("check", "--config", str(service.settings))
    assert several.returncode == 1
    assert several.stdout.splitlines()[-1] == (
        f"{service.settings}:18 (repositories[0].name): Codertocat/Hello-World has several webhooks that end with "
        f"/webhook: {hook.id}, {second.id}; delete the others, or set catch_up.hook_id to the id of the webhook that "
        "sends to this service"
    )


def test_check_names_events_that_the_webhook_of_an_organisation_does_not_send(
    make_service: MakeService, sandbox: Sandbox
) -> None:
    service = make_service()
    sandbox.state.seed("issues", recorded.load("demo/bug").payload)
    sent = ("issues", "pull_request", "pull_request_review", "issue_comment", "workflow_run", "release")
    hook = sandbox.state.hooks.add("Codertocat", "https://hls.invalid/webhook", SECRET, events=sent)
    checked = hls("check", "--config", str(service.settings))
    page = f"{sandbox.page_url}organizations/Codertocat/settings/hooks/{hook.id}"
    assert checked.returncode == 1
    assert checked.stdout.splitlines()[-1] == (
        f"{service.settings}:18 (repositories[0].name): the webhook does not send pull_request_review_comment, "
        f"pull_request_review_thread, which the settings need; select them at {page}"
    )


def test_check_names_an_owner_that_does_not_exist(make_service: MakeService) -> None:
    service = make_service()
    service.settings.write_text(service.settings.read_text().replace('"Codertocat/*"', '"Codertocatt/*"'))
    checked = hls("check", "--config", str(service.settings))
    assert checked.returncode == 1
    assert checked.stdout.splitlines()[-1] == (
        f"{service.settings}:18 (repositories[0].name): GitHub has no account Codertocatt; check the name"
    )


def test_check_reports_a_rejected_token(make_service: MakeService, sandbox: Sandbox) -> None:
    settings = make_service().settings
    settings.write_text(settings.read_text().replace(sandbox.token, "ghp_" + "x" * 36))
    checked = hls("check", "--config", str(settings))
    assert checked.returncode == 1
    assert f"{settings}:4 (github.token)" in checked.stdout
    assert "401" in checked.stdout
    assert "x" * 36 not in checked.stdout + checked.stderr


def test_check_reports_every_unknown_model_with_its_line(
    make_service: MakeService, prompts: Path, sandbox: Sandbox
) -> None:
    sandbox.state.seed("issues", recorded.load("demo/bug").payload)
    for family, model in (("issues", "claude-one"), ("pull_requests", "claude-two")):
        template = prompts / family / "analyze.j2"
        template.write_text(template.read_text().replace("---\n", f"---\nmodel: {model}\n", 1))
    respond = prompts / "issues" / "respond.j2"
    respond.write_text(respond.read_text().replace("---\n", "---\nmodel: claude-3-opus-20240229\n", 1))
    checked = hls("check", "--config", str(make_service(prompts=str(prompts)).settings))
    assert checked.returncode == 1
    *_, unpriced, retired, first, second = checked.stdout.splitlines()
    assert "note: the model claude-two has no known price, so review.max_usd" in unpriced
    assert retired.startswith(f"warning: {respond}: model: ")
    assert first.startswith(f"{prompts}/issues/analyze.j2: Claude answered 404")
    assert "claude-one" in first
    assert second.startswith(f"{prompts}/pull_requests/analyze.j2: Claude answered 404")
    assert "claude-two" in second


def test_check_reports_a_rejected_key(make_service: MakeService, sandbox: Sandbox) -> None:
    settings = make_service().settings
    settings.write_text(settings.read_text().replace(sandbox.api_key, "sk-ant-" + "x" * 36))
    checked = hls("check", "--config", str(settings))
    assert checked.returncode == 1
    assert f"{settings}:10 (claude.api_key): Claude answered 401" in checked.stdout


def test_the_demo_processes_its_events_and_exits_with_0(tmp_path: Path) -> None:
    result, requests, page_url = run_demo_until_it_waits(tmp_path)
    lines = result.splitlines()
    assert lines[0] == f"Demo (stand-ins for GitHub and Claude, canned replies): {page_url}"
    assert lines[4] == f" 4 issues.edited                 +1 -1 labels         {page_url}11"
    (opened,) = [line for line in lines if " pull_request.opened " in line]
    assert " labels, review " in opened
    assert [line[:2] for line in lines[1:17]] == [f"{number:>2}" for number in range(1, 17)]
    assert lines[17].startswith("16 done: ")
    assert lines[21] == f"Open   {page_url}   Ctrl-C ends the demo."
    assert all(len(line) <= 80 for line in (*lines[:18], lines[21]))  # the others have the path of this environment
    assert len(lines) == 23  # the last one is about Ctrl-C
    assert "\x1b" not in result
    assert {request["stand_in"] for request in requests} == {"github", "claude"}
    assert violations(requests) == []
    again = hls("demo", "--once", "--verbose", cwd=tmp_path)  # on the same data: nothing comes twice
    assert again.returncode == 0, again.stdout + again.stderr
    assert "   prompt    issues/analyze@" in again.stdout


def test_the_demo_with_the_real_claude_prints_the_cost(tmp_path: Path, sandbox: Sandbox) -> None:
    """Another sandbox serves as the real Claude; the demo's own sandbox gets no request for Claude."""
    (tmp_path / "mine.yaml").write_text(
        f"""\
github: {{token: "${{GITHUB_TOKEN}}", webhook_secret: "${{GITHUB_WEBHOOK_SECRET}}"}}
claude: {{api_key: {sandbox.api_key}, base_url: "{sandbox.claude_url}", requests_per_second: 100, calls_per_hour: 25}}
repositories: [{{name: octo/widgets}}]
"""
    )
    real = ("demo", "--once", "--claude", "real", "--config", "mine.yaml")
    result = hls(*real, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    first, second, third, *_ = result.stdout.splitlines()
    assert first.startswith("Demo: GitHub is a stand-in, at http://127.0.0.1:")
    assert second == f"Claude is the real one at {sandbox.claude_url} (claude-haiku-5-5)."
    assert third.startswith("It is asked up to 15 questions; about 0.0")
    asked = [request for request in sandbox.requests.all("claude") if request.writes]
    assert 8 <= len(asked) <= 15
    written = [path for path in (tmp_path / "data/demo").rglob("*") if path.is_file()]
    assert sandbox.api_key.encode() not in b"".join(path.read_bytes() for path in written)
    again = hls(*real, cwd=tmp_path)
    assert again.returncode == 2
    assert f"{len(asked)} were asked in the last hour, and claude.calls_per_hour allows 25" in again.stdout
    assert len([request for request in sandbox.requests.all("claude") if request.writes]) == len(asked)


def run_demo_until_it_waits(folder: Path) -> tuple[str, list[dict[str, Any]], str]:
    """Run the demo until it waits, stop it with Ctrl-C; return its output, the sandbox's requests and its address."""
    with started("demo", cwd=folder) as demo:
        assert demo.stdout is not None
        output = ""
        for line in demo.stdout:
            output += line
            if line.endswith("Ctrl-C ends the demo.\n"):
                page_url = line.split()[1]
                break
        else:
            raise AssertionError(output)
        with urllib.request.urlopen(f"{page_url}_sandbox/requests", timeout=30) as answer:
            requests = json.load(answer)
        demo.send_signal(signal.SIGINT)
        output += demo.stdout.read()
        assert demo.wait(timeout=60) == 0, output
    return output, requests, page_url


@pytest.mark.parametrize(
    "command",
    [
        "serve",
        "up",
        "check",
        "render",
        "send",
        "deliveries list",
        "deliveries show",
        "deliveries retry",
        "why",
        "backup",
        "prompts list",
        "prompts vars",
        "prompts show",
        "prompts diff",
        "prompts try",
        "prompts compare",
        "config explain",
        "settings schema",
        "demo",
    ],
)
def test_help_of_every_command_lists_exit_codes_and_settings(command: str) -> None:
    helped = CliRunner().invoke(app, [*command.split(), "--help"], terminal_width=200)
    assert helped.exit_code == 0
    assert "Exit codes: 0 " in helped.output
    assert ("HLS_CONFIG" in helped.output) == (command != "settings schema")  # the schema is the same for all


@pytest.mark.parametrize(
    "group", [[], ["deliveries"], ["prompts"], ["config"], ["settings"]], ids=lambda group: " ".join(["hls", *group])
)
def test_command_summaries_are_not_truncated(group: list[str]) -> None:
    helped = CliRunner().invoke(app, [*group, "--help"], terminal_width=80)
    assert "...\n" not in helped.output.partition("Commands:")[2]
