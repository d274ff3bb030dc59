"""What a runner of GitHub Actions does with the action: an event file, the environment, the cache of
the conversation, and `hls process`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hls_handler.github.review_writer import find_marker
from hls_handler.prompting import recorded
from hls_sandbox import person_actions
from hls_sandbox.objects import Account, Conversation, Permission, Repository
from hls_sandbox.person_actions import PushName
from tests.e2e.service import ROOT
from tests.github_fake.faults import StandIn
from tests.github_fake.server import Sandbox

ACTIONS = Account(login="github-actions[bot]", id=41_898_282, type="Bot")
TOKEN = "ghs_0123456789abcdefghijklmnopqrstuvwxyzAB"
SETTINGS = """
github: {{token: "${{GITHUB_TOKEN}}", webhook_secret: "${{GITHUB_WEBHOOK_SECRET}}", min_seconds_between_writes: 0.01}}
claude: {{api_key: "${{ANTHROPIC_API_KEY}}", base_url: "{claude_url}", requests_per_second: 100}}
limits: {{retry_backoff_s: 0.2}}
repositories: [{{name: "*/*", events: [issues, pull_request, pull_request_review, workflow_run, issue_comment]}}]
"""


ACTION: Any = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEP: Any = next(step for step in ACTION["runs"]["steps"] if step.get("id") == "hls")


@dataclass(frozen=True)
class Run:
    """An ended run: its exit code, its output, the summary of the job and its requests."""

    code: int
    output: str
    errors: str
    summary: str
    requests: Counter[str]  # to GitHub by method, and "claude"


@dataclass
class Runner:
    """Runs events one after another, as `concurrency` by conversation does."""

    sandbox: Sandbox
    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    number: int = 0  # of the last run
    saved: Path = field(init=False)

    def __post_init__(self) -> None:
        self.saved = self.folder / "cache"
        self.sandbox.tokens[TOKEN] = ACTIONS
        self.permit("write")
        (self.folder / "settings.yaml").write_text(
            SETTINGS.format(claude_url=self.sandbox.claude_url)
        )

    def permit(self, permission: Permission) -> None:
        """Set what the token of the workflow may do."""
        self.sandbox.state.set_permission("Codertocat/Hello-World", ACTIONS.login, permission)

    def lose_database(self) -> None:
        shutil.rmtree(self.saved, ignore_errors=True)

    def begin(self, name: str, payload: Mapping[str, Any], *, is_same: bool = False) -> Process:
        """Start a run. With `is_same`, it is the last one again."""
        self.number += not is_same
        here = self.folder / f"run-{self.number}"
        shutil.rmtree(here, ignore_errors=True)
        (here / "hls").mkdir(parents=True)
        (here / "hls-packages").symlink_to(ROOT / ".venv")
        if self.saved.exists():
            shutil.copytree(self.saved, here / "hls" / ".hls")
        (here / "event.json").write_text(json.dumps(payload))
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "RUNNER_TEMP": str(here),
            "GITHUB_WORKSPACE": str(self.folder),
            "GITHUB_ACTION_PATH": str(ROOT),
            "GITHUB_API_URL": self.sandbox.github_url,
            "GITHUB_EVENT_NAME": name,
            "GITHUB_EVENT_PATH": str(here / "event.json"),
            "GITHUB_RUN_ID": str(9_000_000_000 + self.number),
            "GITHUB_RUN_ATTEMPT": "1",
            "GITHUB_STEP_SUMMARY": str(here / "summary.md"),
            "GITHUB_OUTPUT": str(here / "output"),
            # of the step
            "PYTHONPATH": str(ROOT),
            "SETTINGS": "settings.yaml",
            "GITHUB_TOKEN": TOKEN,
            "ANTHROPIC_API_KEY": self.sandbox.api_key,
            **self.environ,
        }
        before = len(self.sandbox.requests.all())
        process = subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", STEP["run"]],
            cwd=here / "hls",
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return Process(self, here, process, before)

    def run(self, name: str, payload: Mapping[str, Any], *, is_same: bool = False) -> Run:
        return self.begin(name, payload, is_same=is_same).wait()

    def seed(self, name: str) -> dict[str, Any]:
        """Return a recorded payload, after GitHub has what it is about."""
        payload = recorded.load(name)
        self.sandbox.state.seed(payload.event, payload.payload)
        return dict(payload.payload)

    def has_sent(self, method: str, path: str, *, to: StandIn = "github") -> bool:
        requests = self.sandbox.requests.all(to)
        return any(one.method == method and re.search(path, one.path) for one in requests)

    @property
    def pull(self) -> Conversation:
        return self.sandbox.conversation(13)

    def push(self, change: PushName = "cosmetic") -> dict[str, Any]:
        return person_actions.push(self.sandbox.state, self._home, self.pull, change).payload

    def comment(self, body: str) -> dict[str, Any]:
        """Return the event of a comment of a person with write permission."""
        mona = self.sandbox.state.add_person("mona")
        self.sandbox.state.set_permission(self._home.full_name, mona.login, "write")
        return person_actions.comment(self.sandbox.state, self._home, self.pull, mona, body).payload

    @property
    def _home(self) -> Repository:
        home = self.sandbox.state.repository("Codertocat/Hello-World")
        assert home is not None
        return home


@dataclass
class Process:
    runner: Runner
    folder: Path
    process: subprocess.Popen[str]
    before: int

    def wait(self, *, how: signal.Signals | None = None) -> Run:
        """Wait for the end; with a signal, after it was sent. The database is saved, as in a step
        that always runs.
        """
        if how is not None:
            self.process.send_signal(how)
        output, errors = self.process.communicate(timeout=120)
        summary, written = self.folder / "summary.md", self.folder / "output"
        state = written.read_text() if written.exists() else ""
        # a killed job saves nothing; these tests save its database, too
        if state != "state=ignored\n" and (self.folder / "hls" / ".hls").exists():
            self.runner.lose_database()
            shutil.copytree(self.folder / "hls" / ".hls", self.runner.saved)
        requests = Counter(
            one.method if one.stand_in == "github" else "claude"
            for one in self.runner.sandbox.requests.all()[self.before :]
        )
        return Run(
            self.process.returncode,
            output,
            errors,
            summary.read_text() if summary.exists() else "",
            requests,
        )


def list_doubled(conversation: Conversation) -> list[str]:
    """Return what was written twice: labels that were set, comments, and comments on lines."""
    once = [one.detail for one in conversation.events if one.kind == "labeled"]
    once += ["the summary" for one in conversation.comments if "<!-- hls:" in one.body]
    once += [find_marker(one["body"], "finding") or "" for _, one in conversation.review_comments()]
    once += [
        f"{one['in_reply_to_id']} {find_marker(one['body'], 'reply')}"
        for _, one in conversation.review_comments()
        if "in_reply_to_id" in one
    ]
    return [name for name, times in Counter(filter(None, once)).items() if times > 1]
