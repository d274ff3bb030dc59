"""Commands in comments: only those of people with write permission have an effect, however the text is disguised."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hls_handler.deliveries import REQUESTED
from hls_handler.engine.active_config import WorkerContext
from hls_handler.engine.runner import run_delivery
from hls_handler.prompting.prompt import Library
from hls_handler.routing import from_envelope, parse_envelope, route
from hls_handler.sandbox.objects import Account
from hls_handler.sandbox.server import Sandbox
from hls_handler.web.webhook import WebhookHeaders, new_delivery
from tests.redteam.attack_run import API_KEY, ATTACKED, FIRST_NUMBER, TOKEN, worker
from tests.redteam.attacks import harmless_round
from tests.redteam.scenarios import SCENARIOS

WRITER, OUTSIDER, ROBOT = Account("mona", 5, "User"), Account("mallory", 6, "User"), Account("deploy[bot]", 7, "Bot")
COMMANDS = ("/stop", "/resume", "/review", "/review full", "/help")
DISGUISES = (
    *("> {}", "`{}`", "```\n{}\n```", "    {}", "Please:\n{}", "\n> {}", "- {}", "<!--\n{}\n-->", "<!-- {} -->"),
    *("\u200b{}", "{}\u200b", "\ufeff{}", "@mona {}", "\n\t{}", "\u202e{}", "{}\u2028more", "{}\x85", "\n```\n{}\n```"),
    *("{} and so on", "//{}", "\uff0f{}", "\u2215{}", "\u2060{}", "{}\U000e0020\U000e006e"),
)
"""Texts that contain a command and are none."""
LOOKALIKES = ("/st\u043ep", "/\u017ftop", "/r\u0435view", "/rev\u0456ew full", "/he\u200blp", "/s\u00adtop")

_Effects = tuple[list[str], bool, int]  # writes to GitHub, whether the pull request is stopped, requested reviews


def test_rule_18_only_commands_of_people_with_write_permission_have_an_effect(library: Library, tmp_path: Path) -> None:
    attacks = [(OUTSIDER, command, "created") for command in COMMANDS]
    attacks += [(ROBOT, command, "created") for command in COMMANDS]
    attacks += [(WRITER, command, action) for command in COMMANDS for action in ("edited", "deleted")]
    attacks += [(WRITER, text.format(COMMANDS[at % 5]), "created") for at, text in enumerate(DISGUISES)]
    attacks += [(WRITER, text, "created") for text in LOOKALIKES]
    with (
        Sandbox(token=TOKEN, api_key=API_KEY) as sandbox,
        worker(sandbox, library, f"sqlite:///{tmp_path}/hls.db") as tools,
    ):
        for who, permission in ((WRITER, "write"), (ROBOT, "write"), (OUTSIDER, "read")):
            sandbox.state.add_person(who.login)
            sandbox.state.set_permission(ATTACKED.full_name, who.login, permission)  # type: ignore[arg-type]
        pulls = next(one for one in SCENARIOS if one.name == "pull_requests")
        texts = {place: attack.text for place, attack in harmless_round(pulls.places).items()}
        opened = pulls.create(sandbox.state, ATTACKED, texts, FIRST_NUMBER)
        found = {
            (who.login, text, action): effects
            for number, (who, text, action) in enumerate(attacks)
            if (effects := _comment(tools, sandbox, opened.payload, who, text, action, number)) != ([], False, 0)
        }
        assert found == {}
        on_issue = {**opened.payload, "pull_request": None}
        assert _comment(tools, sandbox, on_issue, WRITER, "/stop", "created", 500) == ([], False, 0)
        # The same world obeys the commands of a writer.
        stopped = _comment(tools, sandbox, opened.payload, WRITER, "/stop\nNow.", "created", 501)
        assert stopped == (["reactions"], True, 0)
        resumed = _comment(tools, sandbox, opened.payload, WRITER, "/resume", "created", 502)
        assert resumed == (["reactions"], False, 1)


def _comment(
    tools: WorkerContext,
    sandbox: Sandbox,
    opened: Mapping[str, Any],
    who: Account,
    text: str,
    action: str,
    number: int,
) -> _Effects:
    """Receive and process a comment on the pull request of the payload `opened`; without one, on an issue."""
    account = {"login": who.login, "id": who.id, "type": who.type}
    is_pull = opened["pull_request"] is not None
    conversation = {"number": FIRST_NUMBER if is_pull else 1, "title": "t", "user": account, "state": "open"}
    payload = {
        "action": action,
        "repository": opened["repository"],
        "sender": account,
        "issue": conversation | ({"pull_request": {}} if is_pull else {}),
        "comment": {"id": 1000 + number, "body": text, "user": account, "author_association": "OWNER"},
    }
    sandbox.state.seed("issue_comment", payload)
    sandbox.requests.clear()
    body, guid, config = json.dumps(payload).encode(), f"comment-{number}", tools.config
    envelope = parse_envelope(body)
    routed = route(
        from_envelope("issue_comment", envelope),
        settings=config.settings,
        table=config.table,
        catalogue=config.library,
        bot=None,
    )
    headers = WebhookHeaders("issue_comment", guid, b"", is_form=False, content_length=None)
    new = new_delivery(headers, envelope, routed, body, request_id=guid, settle_s=0)
    tools.store.queue.accept([new], replay_window_h=72)
    lease = tools.store.queue.claim(worker="w", lease_s=60, max_crashes=10) if new.state == "queued" else None
    if lease is not None:
        run_delivery(lease, tools)
    writes = [seen.path.rpartition("/")[2] for seen in sandbox.requests.all("github") if seen.writes]
    stop = tools.store.interruptions.find_stop(ATTACKED.id, FIRST_NUMBER)
    requested = [row for row in tools.store.deliveries.newest() if row.request_id.startswith(REQUESTED)]
    return writes, stop is not None, len(requested)
