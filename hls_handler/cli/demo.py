"""`hls demo`: run the real service against stand-ins for GitHub and Claude."""

from __future__ import annotations

import http.client
import json
import os
import re
import secrets
import socket
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hls_handler.claude.providers import connect_claude
from hls_handler.cli.init.session import DEFAULT_CLAUDE, parse_base_url, write_file
from hls_handler.cli.options import DOTENV, KEY_VARIABLE, find_credentials, find_hls_command
from hls_handler.cli.send import WebhookResponse, post_webhook, with_sandbox_links
from hls_handler.cli.terminal import STATE_STYLES, print_line, print_lines
from hls_handler.db.files import hold_exclusively
from hls_handler.deliveries import OPEN_STATES
from hls_handler.errors import HlsError, SettingsError, with_remedy
from hls_handler.events import event_key
from hls_handler.prompting import recorded
from hls_handler.prompting.recorded import Recorded
from hls_handler.reports.delivery_report import DeliveryReport, load_report
from hls_handler.settings.load import load_settings
from hls_handler.settings.model import Settings
from hls_handler.settings.values import webhook_secrets
from hls_handler.store.search import DeliverySearch
from hls_handler.store.storage import Storage
from hls_handler.wording import add_usd, count, format_usd, inflect, is_or_are

if TYPE_CHECKING:
    from hls_sandbox.pages import ShownDelivery
    from hls_sandbox.server import Sandbox


import subprocess
import sys

START_TIMEOUT_S = 60.0  # a start takes two seconds; many times that on a busy machine
STOP_TIMEOUT_S = 60.0  # longer than the default of limits.shutdown_s
MAX_STARTS = 20  # starts of the service before the demo gives up

READY_MARKER = (  # part of the log line that the service writes once it listens
    b'"message": "serving"'
)


class ServiceProcess:
    """A process that runs `hls serve` and appends its log to a file. The constructor starts it."""

    def __init__(self, settings: Path, *, log: Path) -> None:
        self._settings = settings
        self._log = log
        self._starts = 0
        self._process = self._start()

    def close(self) -> None:
        with self._process:
            self._process.terminate()
            self._process.wait(timeout=STOP_TIMEOUT_S)

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until_up(self) -> bool:
        """Wait until the service listens. Return False if the process ends first, or after
        `START_TIMEOUT_S`.
        """
        until = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < until and self._process.poll() is None:
            if READY_MARKER in self._new_log():
                return True
            time.sleep(0.1)
        return False

    def last_log_lines(self) -> str:
        return "\n".join(self._new_log().decode(errors="replace").splitlines()[-20:])

    def restart_if_ended(self, wait_s: float = 0.1) -> None:
        """If the process has ended, or ends within `wait_s`, restart it and wait until it listens.

        Raises `HlsError` after `MAX_STARTS` starts.
        """
        try:
            code = self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            return
        if self._starts == MAX_STARTS:
            raise HlsError(f"the service ended {MAX_STARTS} times; see {self._log}")
        if self._process.stdin is not None:
            self._process.stdin.close()
        end = f"ended with exit code {code}"
        if code < 0:
            end = f"was killed by signal {-code}"
        self._process = self._start()
        print_line(
            f"the service {end}; it was started again (process {self.pid}) and continues where it"
            " stopped"
        )
        self.wait_until_up()

    def _new_log(self) -> bytes:
        return self._log.read_bytes()[self._log_start :]

    def _start(self) -> subprocess.Popen[bytes]:
        self._starts += 1
        self._log_start = 0
        if self._log.exists():
            self._log_start = self._log.stat().st_size
        command = [
            sys.executable,
            "-m",
            "hls_handler",
            "serve",
            "--exit-with-parent",
            "--config",
            str(self._settings),
        ]
        with self._log.open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)


FOLDER = Path("data/demo")
STORAGE_URL = f"sqlite:///{FOLDER}/hls.db"
SETTINGS_FILE = FOLDER / "settings.yaml"
LOG = FOLDER / "service.log"
DELIVERY_TIMEOUT_S = 60.0
MAX_ATTEMPTS = 100  # to send an event, 0.1 s apart

SETTINGS = """\
# Written by `hls demo` at each start, because the sandbox's addresses change.
# Your settings: config/settings.yaml.
server: {{host: 127.0.0.1, port: {port}}}
github:
  token: {token}
  webhook_secret: {secret}
  base_url: {github_url}
  min_seconds_between_writes: 0.2
claude: {claude}
{budgets}storage: {{url: "{storage_url}"}}
prompts: {{directory: [{prompts_folder}, shipped]}}
limits: {{retry_backoff_s: 1, settle_s: 1}}
catch_up: {{enabled: false}}
mirror: {{enabled: false}}  # git cannot fetch recorded commits
review: {{fail_on: high}}
repositories:
  - name: "*/*"
    events: [issues, pull_request, pull_request_review, workflow_run, issue_comment, release, push]
    comments: {{post_to: {{workflow_run: 14, release: 14, push: 14}}}}
"""

BUDGETS = """\
budgets: {{total: {{month_usd: {max_usd}}}, exceeded: ignore}}
"""
DEFAULT_USD = 0.1
OWNER = "Codertocat"
"""Owner of the repository in the demo."""

PROMPTS_FOLDER = FOLDER / "prompts"
PUSH_PROMPT = """\
---
description: Summarise a push; an example of an event without its own handler
on: [push]
reply: generic_analysis
---
{% extends "generic.j2" %}

{% block question %}
What does the push to {{ event.ref }} change for those who use the project?
{% endblock %}
"""

CONVERSATION = re.compile(r"/(?:issues|pull)/(\d+)")
COMMENT_WORDS = {"created": "comment", "edited": "edited"}


PORT = 9000
"""Port of the stand-ins, unless another program listens there."""
SERVICE_PORT = 8000


@dataclass(frozen=True, slots=True)
class RealClaude:
    """The Claude API that the demo asks in place of the stand-in."""

    url: str
    max_usd: float


def demo(
    once: Annotated[bool, typer.Option("--once", help="Exit after the last event.")] = False,
    claude: Annotated[
        Literal["real", "sandbox"],
        typer.Option(
            metavar="real|sandbox", help="Get replies from Claude or from the sandbox (canned)."
        ),
    ] = "sandbox",
    max_usd: Annotated[
        float | None,
        typer.Option(
            metavar="USD", help="Most that --claude real may cost. Default: 0.10.", min=0.0001
        ),
    ] = None,
    claude_url: Annotated[
        str,
        typer.Option(metavar="URL", help="API of --claude real.", parser=parse_base_url),
    ] = DEFAULT_CLAUDE,
    port: Annotated[
        int | None,
        typer.Option(
            help="Port of the demo's page; the service has the next one. Default: free ones.",
            min=1,
            max=65534,
        ),
    ] = None,
) -> None:
    """Run the real service against a sandbox; needs no account.

    The sandbox is a stand-in for GitHub and Claude on this machine. The demo signs recorded
    payloads, sends them over HTTP, and prints one line for each: the event, what changed, and the
    page that shows it. The replies are canned: they show how HLS works, not how good Claude's
    replies are. The demo then runs until Ctrl-C; meanwhile, forms on its pages and
    `hls send NAME --config data/demo/settings.yaml` send more events to the service.

    With --claude real, the service asks Claude, with ANTHROPIC_API_KEY from the environment or
    .env. A call that could exceed --max-usd is not made, and its event is ignored; each start, and
    each month (UTC), begins at 0.

    Each start begins with an empty database; prompts in data/demo/prompts stay.
    """
    if claude == "real":
        paid = RealClaude(claude_url, max_usd or DEFAULT_USD)
        raise typer.Exit(run_demo(once=once, real=paid, port=port))
    if max_usd is not None:
        raise typer.BadParameter(
            "canned replies cost nothing; add --claude real", param_hint="--max-usd"
        )
    raise typer.Exit(run_demo(once=once, port=port))


def run_demo(*, once: bool, real: RealClaude | None = None, port: int | None = None) -> int:
    from hls_sandbox.server import Sandbox  # here: `hls serve` does not need it

    print_line(_describe_init(real))
    try:
        with hold_exclusively(STORAGE_URL):  # fail before deleting the files of a running demo
            pass
        for file in FOLDER.glob("*.*"):
            file.unlink()
        FOLDER.mkdir(parents=True, exist_ok=True)
        token = f"sandbox-{secrets.token_hex(16)}"
        api_key = f"sandbox-{secrets.token_hex(16)}"
        max_usd = None
        if real is not None:
            max_usd = real.max_usd
        sandbox = Sandbox(
            token=token,
            api_key=api_key,
            port=port or _find_free_port(PORT),
            claude_max_usd=max_usd,
        )
        with sandbox:
            service_port = _find_free_port(port + 1 if port else SERVICE_PORT)
            return _run(_write_settings(sandbox, real, service_port), sandbox, real, once=once)
    except HlsError as exc:
        print_line(f"the demo cannot run: {with_remedy(exc)}")
        return 2


def _describe_init(real: RealClaude | None) -> str:
    """Return one line: what `hls init` would do, and the credentials that the demo does not use."""
    command = f"{find_hls_command()} init"
    line = f"To use HLS, `{command}` connects it with GitHub and Claude, and writes settings"
    try:
        names = [name for name in find_credentials() if real is None or name != KEY_VARIABLE]
    except SettingsError:  # of .env, which the demo does not need
        names = []
    if not names:
        return f"{line}."
    are = is_or_are(len(names))
    return f"{line}; {' and '.join(names)} {are} set, but {are} not used in the demo."


def _run(settings: Settings, sandbox: Sandbox, real: RealClaude | None, *, once: bool) -> int:
    of = "stand-ins for GitHub and Claude, canned replies"
    if real is not None:
        _check_key(settings)
        of = f"stand-in for GitHub, the real Claude for at most {format_usd(real.max_usd)}"
    print_line(f"Demo ({of}): {sandbox.page_url}")
    with closing(ServiceProcess(SETTINGS_FILE, log=LOG)) as service:
        if not service.wait_until_up():
            print_line(
                f"the service did not start within {START_TIMEOUT_S:.0f} s; the end of its log"
                f" ({LOG}):"
            )
            print_lines(service.last_log_lines())
            return 2
        succeeded = _send_story(settings, sandbox, service)
        if not once:
            _keep_running(settings, sandbox, service)
        if not succeeded:
            return 1
        return 0


def _check_key(settings: Settings) -> None:
    """Read the model from the API, which costs nothing. Raises `HlsError` for a wrong key."""
    with connect_claude(settings.claude) as client:
        client.lookup_model(settings.claude.default_model())


def _write_settings(sandbox: Sandbox, real: RealClaude | None, port: int) -> Settings:
    push_prompt = PROMPTS_FOLDER / "push" / "tell.j2"
    if not push_prompt.exists():  # keep the user's changes
        push_prompt.parent.mkdir(parents=True, exist_ok=True)
        push_prompt.write_text(PUSH_PROMPT)
    claude: dict[str, Any] = {"api_key": sandbox.api_key, "base_url": sandbox.claude_url}
    budgets = ""
    if real is not None:
        claude = {"api_key": f"${{{KEY_VARIABLE}}}", "base_url": real.url}
        budgets = BUDGETS.format(max_usd=real.max_usd)
    claude["requests_per_second"] = 5
    text = SETTINGS.format(
        port=port,
        token=sandbox.token,
        secret=secrets.token_hex(20),
        github_url=sandbox.github_url,
        claude=json.dumps(claude),
        budgets=budgets,
        storage_url=STORAGE_URL,
        prompts_folder=PROMPTS_FOLDER,
    )
    write_file(SETTINGS_FILE, text)  # mode 0600: it has the webhook secret
    if real is not None:
        return load_settings(SETTINGS_FILE, os.environ, dotenv=DOTENV)
    return load_settings(SETTINGS_FILE, {}, dotenv=None)


def _send_story(settings: Settings, sandbox: Sandbox, service: ServiceProcess) -> bool:
    # Claude may be asked twice about an event
    timeout_s = DELIVERY_TIMEOUT_S + 2 * settings.claude.timeout_s
    all_succeeded = True
    reports: list[DeliveryReport] = []
    with closing(Storage.open(settings.storage.url)) as store:
        for name in recorded.DERIVED:
            payload = recorded.load(name)
            sandbox.state.seed(payload.event, payload.payload)
            if name not in recorded.STORY:
                continue
            number = recorded.STORY.index(name) + 1
            guid = str(uuid.uuid4())
            response = _send(settings, payload, service, guid=guid)
            report = None
            if response.status in (200, 202):
                report = _wait_for_end(store, guid, service, timeout_s=timeout_s)
            if report is None:
                answer = f"the service answered {response.status}: {response.body}"
                print_line(
                    f"{number:>2} {payload.key}: not finished within {timeout_s:g} s; {answer}; see"
                    f" {LOG}"
                )
                print_line("The remaining events are skipped.")
                all_succeeded = False
                break
            reports.append(report)
            style = STATE_STYLES[report.state]
            print_line(format_event(number, report, sandbox.page_url), style=style)
            if report.state != "done":
                all_succeeded = False
                print_line(f"   {report.reason}")
    print_line(format_totals(reports))
    return all_succeeded


def _send(
    settings: Settings, payload: Recorded, service: ServiceProcess, *, guid: str
) -> WebhookResponse:
    """Send a webhook, again if the service was killed: a second one with the same GUID has no
    effect.
    """
    body = recorded.unique(with_sandbox_links(settings, payload.body))
    for _attempt in range(MAX_ATTEMPTS):
        try:
            return post_webhook(settings, payload.event, body, guid=guid)
        except (OSError, http.client.HTTPException):
            # a killed process refuses connections before its exit can be observed
            service.restart_if_ended()
    return WebhookResponse(0, "nothing")


def _wait_for_end(
    store: Storage, guid: str, service: ServiceProcess, *, timeout_s: float
) -> DeliveryReport | None:
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        row = store.deliveries.find(guid)
        if row is not None and row.state not in OPEN_STATES:
            return load_report(store, row)
        service.restart_if_ended()
    return None


def format_event(number: int, report: DeliveryReport, page_url: str) -> str:
    """Return a line of at most 80 characters: " 1 issues.opened   +4 labels, comment
    http://127.0.0.1:43817/14".
    """
    result: str = report.state
    if report.state == "done":
        result = describe_changes(report)
    line = f"{number:>2} {report.event:<29} {result:<20}"
    if report.number is not None:
        return f"{line} {page_url}{report.number}"
    for outcome in report.outcomes:
        linked = CONVERSATION.search(outcome.url or "")
        if linked:
            return f"{line} {page_url}{linked[1]}"
    return line.rstrip()


def describe_changes(report: DeliveryReport) -> str:
    """Return what changed on GitHub: "+1 -1 labels, edited"; "+2 labels, review"; "no change".

    A review is named in place of the comment that comes with it.
    """
    added = sum(len(outcome.added) for outcome in report.outcomes)
    removed = sum(len(outcome.removed) for outcome in report.outcomes)
    changes = list[str]()
    numbers = [f"{sign}{changed}" for sign, changed in (("+", added), ("-", removed)) if changed]
    if numbers:
        changes.append(f"{' '.join(numbers)} {inflect(added + removed, 'label')}")
    done = [(written.action, written.kind) for written in report.outcomes]
    if ("review", "created") in done:
        changes.append("review")
    else:
        changes += [COMMENT_WORDS.get(kind, "") for action, kind in done if action == "comment"]
    changes = list(filter(None, changes))
    if not changes and not report.calls:
        return "Claude not asked"
    return ", ".join(changes) or "no change"


def format_totals(reports: Sequence[DeliveryReport]) -> str:
    """Return "16 done: 12 labels, 10 comments, 16 calls to Claude, $0.0054 at list price"."""
    states = Counter(report.state for report in reports)
    ended = ", ".join(f"{times} {state}" for state, times in states.items())
    labels = sum(len(outcome.added) for report in reports for outcome in report.outcomes)
    comments = sum(
        outcome.action == "comment" and outcome.kind == "created"
        for report in reports
        for outcome in report.outcomes
    )
    calls = [call for report in reports for call in report.calls]
    cost = f"{format_usd(add_usd(call.cost_usd for call in calls))} at list price"
    changes = (
        f"{count(labels, 'label')}, {count(comments, 'comment')}, {count(len(calls), 'call')} to"
        f" Claude, {cost}"
    )
    return f"{ended or 'no events'}: {changes}"


def _keep_running(settings: Settings, sandbox: Sandbox, service: ServiceProcess) -> None:
    with closing(Storage.open(settings.storage.url)) as store:
        url = f"http://127.0.0.1:{settings.server.port}"
        sandbox.find_delivery = partial(find_delivery, store, f"{url}/deliveries")
        secret = webhook_secrets(settings.github.webhook_secret)[0].decode()
        sandbox.state.hooks.add(OWNER, f"{url}{settings.server.webhook_path}", secret)
        _wait_for_interrupt(settings, sandbox, service, store)


def find_delivery(store: Storage, console_url: str, guid: str) -> ShownDelivery | None:
    from hls_sandbox.pages import ShownDelivery  # here: `hls serve` does not need it

    row = store.deliveries.find(guid)
    if row is None:
        return None
    return ShownDelivery(
        event=event_key(row.event, row.action),
        state=row.state,
        result=row.reason or "",
        is_open=row.state in OPEN_STATES,
        url=f"{console_url}/{row.guid}",
    )


def _wait_for_interrupt(
    settings: Settings, sandbox: Sandbox, service: ServiceProcess, store: Storage
) -> None:
    """Print a line for each event that a person sends."""
    base = f"http://127.0.0.1:{settings.server.port}"
    hls = find_hls_command()
    config = f"-c {SETTINGS_FILE}"
    try:
        print_line(f"Send   {hls} send demo/question {config}")
        print_line(f"Why    {hls} why {sandbox.state.conversations()[0].key} {config}")
        print_line(f"Crash  kill -9 {service.pid}   the demo starts the service again")
        print_line(f"State  {base}/   the console of the service")
        print_line(f"Open   {sandbox.page_url}   Ctrl-C ends the demo.")
        number = len(recorded.STORY)
        printed = {row.guid for row in store.searches.find(DeliverySearch()).rows}
        while True:
            service.restart_if_ended(wait_s=1)
            for row in store.searches.find(DeliverySearch()).rows[::-1]:
                if row.guid not in printed and row.state not in OPEN_STATES:
                    printed.add(row.guid)
                    number += 1
                    report = load_report(store, row)
                    style = STATE_STYLES[row.state]
                    print_line(format_event(number, report, sandbox.page_url), style=style)
    except KeyboardInterrupt:
        print_line("ending the demo")


def _find_free_port(port: int) -> int:
    """Return the port, or another one if it is in use."""
    with socket.socket() as probe:
        # as servers do: connections of an earlier demo do not keep the port in use
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
