"""`hls demo`: the real service against a sandbox GitHub and a Claude, the sandbox's or the real one."""

from __future__ import annotations

import http.client
import secrets
import shutil
import socket
import time
import uuid
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hls_handler.cli.calling import how_to_call
from hls_handler.cli.demo_claude import (
    KEY_VARIABLE,
    bill,
    find_real_claude,
    require_answer,
    require_budget,
    section,
)
from hls_handler.cli.options import Config
from hls_handler.cli.say import say, say_lines
from hls_handler.cli.send import Answer, deliver
from hls_handler.cli.service_process import ServiceProcess
from hls_handler.cli.story import Story, tell
from hls_handler.cli.subjects import with_remedy
from hls_handler.deliveries import OPEN_STATES
from hls_handler.errors import HlsError
from hls_handler.sandbox import recorded
from hls_handler.sandbox.recorded import Recorded
from hls_handler.sandbox.samples import load_checked
from hls_handler.sandbox.server import Sandbox
from hls_handler.settings.load import load_settings
from hls_handler.settings.model import Claude, Settings
from hls_handler.store import Store, hold_exclusively

FOLDER = Path("data/demo")
STORAGE_URL = f"sqlite:///{FOLDER}/hls.db"
SETTINGS_FILE, LOG = FOLDER / "settings.yaml", FOLDER / "service.log"
PATIENCE_S = 60.0
UP_AGAIN_S = 10.0

SETTINGS = """\
# Written by `hls demo` at each start, since the sandbox's addresses change; yours are in config/settings.yaml.
server: {{host: 127.0.0.1, port: {port}}}
github:
  token: {token}
  webhook_secret: {secret}
  base_url: {github_url}
  min_seconds_between_writes: 0.2
  slowest_write_s: 3
claude: {claude}
storage: {{url: "{storage_url}"}}
prompts: {{directory: [{own_prompts}, prompts]}}
limits: {{retry_backoff_s: 1, settle_s: 1}}
repositories:
  - name: "*/*"
    events: [issues, pull_request, pull_request_review, workflow_run, issue_comment, release, push]
    comments: {{post_to: {{workflow_run: 14, release: 14, push: 14}}}}
"""

OWN_PROMPTS = FOLDER / "prompts"
PUSH_PROMPT = """\
---
description: What a push brings, as an example of an event without a handler of its own
on: [push]
reply: generic_analysis
---
{% extends "generic.j2" %}

{% block question %}
What does the push to {{ event.ref }} change for those who use the project?
{% endblock %}
"""

CANNED = '{{api_key: {api_key}, base_url: "{url}", requests_per_second: 5}}'


def demo(
    once: Annotated[bool, typer.Option("--once", help="End when all is shown.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what earlier demos did.")] = False,
    claude: Annotated[
        str, typer.Option(metavar="sandbox|real", help="Who answers: the sandbox with canned answers, or Claude.")
    ] = "sandbox",
    config: Config = None,
) -> None:
    """Run the real service against a sandbox; needs no account.

    The sandbox is a stand-in GitHub and a stand-in Claude on this machine. Recorded payloads are signed and sent
    over HTTP, and what came of each is shown. The answers of the stand-in Claude are canned: they show how HLS
    works, not how well Claude does. Afterwards the demo stays up, with addresses to open, until Ctrl-C; `hls send
    NAME --config data/demo/settings.yaml` sends it more.

    With --claude real, GitHub is the stand-in still, and the questions go to Claude, with the claude section of the
    settings, or with ANTHROPIC_API_KEY where there are none. It costs money: how much at most is said before it begins.

    Exit codes: 0 everything went as it should; 1 something did not; 2 it could not start, or not go on.
    """
    if claude not in ("sandbox", "real"):
        raise typer.BadParameter("one of sandbox, real", param_hint="--claude")
    real = find_real_claude(config) if claude == "real" else None
    raise typer.Exit(run_demo(once=once, fresh=fresh, real=real))


def run_demo(*, once: bool, fresh: bool, real: Claude | None = None) -> int:
    """The exit code, as `demo` says it. `real` is how to ask the real Claude; without it the sandbox answers."""
    try:
        return _run(once=once, fresh=fresh, real=real)
    except HlsError as exc:
        say(f"the demo cannot run: {with_remedy(exc)}")
        return 2


def _run(*, once: bool, fresh: bool, real: Claude | None) -> int:
    with hold_exclusively(STORAGE_URL):  # before anything of a running demo is written over
        pass
    if real is not None:
        require_answer(real)
    if fresh:
        shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    token, api_key = f"sandbox-{secrets.token_hex(16)}", f"sandbox-{secrets.token_hex(16)}"
    with Sandbox(state_path=FOLDER / "github.json", token=token, api_key=api_key) as sandbox:
        for wanted in (8000, 0):
            settings = _settings(sandbox, port=_free_port(wanted), real=real)
            if wanted:
                _introduce(settings, real)
            key = {} if real is None else {KEY_VARIABLE: real.api_key.get_secret_value()}
            with ServiceProcess(SETTINGS_FILE, settings, log=LOG, say=say, variables=key) as service:
                if service.wait_until_up():
                    well = _play(settings, sandbox, service)
                    if not once:
                        _stay(settings, sandbox, service, costs=real is not None)
                    return 0 if well else 1
                if not service.lost_its_port:
                    break
        say(f"the service did not start; its last words, from {LOG}:")
        say_lines(service.last_words())
    return 2


def _introduce(settings: Settings, real: Claude | None) -> None:
    """Say who answers, and what that costs. Raises `SettingsError` when it would take more than the hour's budget."""
    if real is None:
        say("Demo: GitHub and Claude are stand-ins on this machine, and the answers of Claude are canned.")
        return
    with closing(Store.open(settings.storage.url)) as store:
        asked = store.calls_last_hour()
    needed = bill(real, load_checked(settings))
    require_budget(real, needed, asked=asked)
    say(f"Demo: GitHub is a stand-in on this machine, and Claude is the one at {real.base_url} ({real.model}).")
    say(f"It asks Claude {needed.sentence}.")


def _settings(sandbox: Sandbox, *, port: int, real: Claude | None) -> Settings:
    """Written and read back, since the service and `hls send` read them too."""
    push_prompt = OWN_PROMPTS / "push" / "tell.j2"
    if not push_prompt.exists():  # whoever changed it wants to see what comes of it
        push_prompt.parent.mkdir(parents=True, exist_ok=True)
        push_prompt.write_text(PUSH_PROMPT)
    SETTINGS_FILE.write_text(
        SETTINGS.format(
            port=port,
            token=sandbox.token,
            secret=secrets.token_hex(20),
            github_url=sandbox.github_url,
            claude=CANNED.format(api_key=sandbox.api_key, url=sandbox.claude_url) if real is None else section(real),
            storage_url=STORAGE_URL,
            own_prompts=OWN_PROMPTS,
        )
    )
    return load_settings(SETTINGS_FILE, {}, dotenv=None)


def _play(settings: Settings, sandbox: Sandbox, service: ServiceProcess) -> bool:
    """Send the story's payloads one after the other and show what came of each; whether all went well."""
    console = Console(highlight=False, emoji=False, markup=False)
    patience_s = PATIENCE_S + 2 * settings.claude.timeout_s  # an event may take two questions
    well = True
    with closing(Store.open(settings.storage.url)) as store:
        told = 0
        for name in recorded.DERIVED:
            payload = recorded.load(name)
            sandbox.state.plant(payload.event, payload.payload)
            if name not in recorded.STORY:
                continue
            told += 1
            guid = str(uuid.uuid4())
            console.rule(f"{told} of {len(recorded.STORY)}: {payload.key} ({name})", align="left")
            answer = _deliver(settings, payload, service, guid=guid)
            if answer.status != 202:
                say(f"  the service answered {answer.status}: {answer.body}")
                well = False
                continue
            story = _wait(store, guid, service, patience_s=patience_s)
            if story is None:
                say(f"  not finished within {patience_s:g} s, so the rest is left out; see {LOG}")
                well = False
                break
            _show(story)
            well = well and _ended_well(story)
    console.rule()
    return well


def _ended_well(story: Story) -> bool:
    """On data of an earlier demo, some is overtaken by what came after it then, or was said already."""
    return story.delivery.state in ("done", "superseded")


def _deliver(settings: Settings, payload: Recorded, service: ServiceProcess, *, guid: str) -> Answer:
    """Send it, and again where the service was killed meanwhile; what it took before that it knows as a duplicate."""
    body, until = recorded.unique(payload.body), time.monotonic() + UP_AGAIN_S
    lost = False  # whether an answer may have been
    while True:
        try:
            answer = deliver(settings, payload.event, body, guid=guid)
            known = lost and isinstance(answer.body, dict) and answer.body.get("status") == "duplicate"
            return Answer(202, answer.body) if known else answer
        except (OSError, http.client.HTTPException) as exc:
            lost = True
            if time.monotonic() > until:
                return Answer(0, f"no answer: {exc}")
            time.sleep(0.1)  # a process that was killed refuses connections before it is known to have ended
            service.revive()


def _wait(store: Store, guid: str, service: ServiceProcess, *, patience_s: float) -> Story | None:
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        row = store.delivery(guid)
        if row is not None and row.state not in OPEN_STATES:
            return tell(store, row)
        service.revive()
        time.sleep(0.1)
    return None


def _show(story: Story) -> None:
    row = story.delivery
    say(f"  delivery  {row.guid}: {row.state}" + (f", {row.reason}" if row.reason else ""))
    for answered in story.answers:
        usage = answered.usage
        tokens_in = usage.input_tokens + usage.cache_write_tokens + usage.cache_read_tokens
        cost = "unknown" if usage.cost_usd is None else f"{usage.cost_usd:.6f} USD"
        say(f"  prompt    {answered.prompt_id}: {tokens_in} tokens in, {usage.output_tokens} out, {cost}")
    say(f"  labels    {', '.join(story.labels) or 'none added'}")
    lines = (story.comment or "").splitlines()
    comment = [line for line in lines if line.strip() and not line.startswith("<!-- hls:")]  # as GitHub shows it
    say(f"  comment   {comment[0] if comment else 'none'}")
    for line in comment[1:3]:
        say(f"            {line}")
    say("  took      " + ", ".join(f"{step.name} {step.took_s * 1000:.0f} ms" for step in story.times))


def _stay(settings: Settings, sandbox: Sandbox, service: ServiceProcess, *, costs: bool) -> None:
    base = f"http://127.0.0.1:{settings.server.port}"
    hls, config = how_to_call(), f"--config {SETTINGS_FILE}"
    try:
        say("The demo stays up; open:")
        say(f"  {sandbox.page_url}   the threads, as a contributor would see them")
        say(f"  {base}/stats   what was done")
        say(f"  {base}/health   how the parts are")
        more = "each costs; or a payload of your own" if costs else "or a payload of your own"
        say(f"Send it more:   {hls} send demo/question {config}      ({more}: ./event.json)")
        say(f"Ask it why:     {hls} why {sandbox.state.threads()[0].key} {config}")
        say(f"Try its memory: kill -9 {service.pid}, and see the service go on.   Ctrl-C ends the demo.")
        service.supervise()
    except KeyboardInterrupt:
        say("ending the demo")


def _free_port(wanted: int) -> int:
    """The wanted port if nobody listens on it, else another."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise AssertionError("port 0 is always free")
