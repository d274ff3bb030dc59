"""Output on a terminal: colours, excerpts of files and tables."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from hls_handler.cli.terminal import read_excerpt
from hls_handler.deliveries import End
from hls_handler.store.storage import Storage
from tests.cli.conftest import SETTINGS, Hls
from tests.queue.builders import accept, begin, queued

OnTerminal = Callable[..., str]


def write(folder: Path, settings: str) -> str:
    (folder / "settings.yaml").write_text(settings)
    return str(folder / "settings.yaml")


@pytest.mark.parametrize(
    ("settings", "excerpt"),
    [
        (
            "server: {host: 127.0.0.1, prot: 80} # comment\n",
            "  |\n1 | … prot: …\n  |   ^^^^\n",
        ),
        (
            "limits:\n  concurrency: many\n",
            "  |\n2 |   concurrency: many\n  |                ^^^^\n",
        ),
        ("server:\n\tport: 8000\n", "  |\n2 |     port: …\n  |     ^^^^^^^\n"),
        (
            "check: {ignore: [HLS12, HLS012]}\n",
            "  |\n1 | … HLS12\n  |   ^^^^^\n",
        ),
        (
            "labels: {allow: [bug, @team]}\n",
            "  |\n1 | labels: …\n  | ^^^^^^^^^\n",
        ),
        (
            "limits:\n  concurrency: 4\n   shutdown_s: 3\n",
            "  |\n3 |    shutdown_s: …\n  |    ^^^^^^^^^^^^^\n",
        ),
    ],
    ids=["key", "value", "no YAML", "item of a list", "sign", "indentation"],
)
def test_mistake_in_settings_is_marked(
    folder: Path, on_terminal: OnTerminal, settings: str, excerpt: str
) -> None:
    file = write(folder, f"{settings}{SETTINGS}")
    shown = on_terminal("check", "--offline", "--no-color")
    assert f" --> {file}:{excerpt[4]}\n{excerpt}" in shown


@pytest.mark.parametrize(
    "settings",
    [
        "github:\n  token: HIDDEN\n  webhook_secret: HIDDEN\n",
        "github: {tokn: HIDDEN, webhook_secret: [short, HIDDEN]}\n",
        "github:\n  token: a\n  webhook_secret:\n    - HIDDEN\n    - b\n",
        "github:\n  token: b # HIDDEN\n  webhook_secret: a\n",
        'github: {webhook_secret: "HIDDEN\n',
        "github:\n\ttoken: HIDDEN\n",
        "github:\n  webhook_secret: |\n    HIDDEN\n  token: a\n  a: b: c\n",
        "server:\n  api_key: HIDDEN: a\n",
        "storage:\n  url: postgres://hls:HIDDEN@db/hls\n",
        "storage: {ulr: 1, url: postgres://hls:HIDDEN@db/hls}\n",
        "storage: {ulr: 1, url: postgresql+psycopg://HIDDEN@db/hls}\n",
        "github: {webhook_secret: !HIDDEN , tokn: 1}\n",
        "github: {webhook_secret: *HIDDEN , tokn: 1}\n",
        "github: {webhook_secret: &HIDDEN , tokn: 1}\n",
        "github: {token: {HIDDEN: 1}, tokn: 1}\n",
        "github: {token: {host: HIDDEN}, tokn: 1}\n",
        "github: {base_url: 'https://u:HIDDEN@h/api v3'}\n",
        "github:\n  base_url: https://u:HIDDEN@h/api v3\n",
        "github:\n  base_url: https://HIDDEN@h/api v3\n",
    ],
)
def test_rule_19_excerpt_shows_no_secret(
    folder: Path, on_terminal: OnTerminal, settings: str
) -> None:
    write(folder, settings)
    shown = on_terminal("check", "--offline")
    assert "error[HLS00" in shown
    assert "HIDDEN" not in shown


def test_mistake_in_a_prompt_is_marked(folder: Path, on_terminal: OnTerminal) -> None:
    (folder / "prompts" / "issues").mkdir(parents=True)
    front = "---\ndescription: x\non: [issues.opened]\nreply: issue_analysis\n---\n"
    template = f"{front}Is {{{{ issue.titel }}}} important?\n"
    (folder / "prompts" / "issues" / "mine.j2").write_text(template)
    write(folder, f"{SETTINGS}prompts: {{directory: prompts}}\n")
    shown = on_terminal("check", "--offline", "--no-color")
    assert "error[HLS034]: issue has no 'titel'; did you mean 'title'?\n" in shown
    assert "6 | Is {{ issue.titel }} important?\n  |             ^^^^^\n" in shown


@pytest.mark.parametrize(
    ("line", "message", "marked"),
    [
        ("{{ issue.title }} {{ title }}", "unknown variable 'title'; known: issue", 21),
        ("titel {{ issue.titel }}", "issue has no 'titel'; did you mean 'title'?", 15),
        ("{{ body }} {{ b }}", "unknown variable 'b'; known: body", 14),
        ("on: [issues.openend]", 'on: the event "issues" has no action "openend"; it has', 12),
        ("{{ issue.name | }}", "expected token 'name', got 'end of print statement'", 0),
        ("{{ issue.labels | join }}", "found a value without parts; a loop, `in`, join", 0),
        ('ok {{ "a }}', "unexpected char '\"' at 16", 6),
        (f"{'a ' * 90}{{{{ issue.titel }}}}", "issue has no 'titel'", 60),
    ],
)
def test_excerpt_marks_the_name_that_the_message_means(
    tmp_path: Path, line: str, message: str, marked: int
) -> None:
    (tmp_path / "a.j2").write_text(line)
    excerpt = read_excerpt(str(tmp_path / "a.j2"), 1, message)
    assert excerpt is not None
    assert excerpt.start == marked


def test_excerpt_cannot_control_the_terminal(folder: Path, on_terminal: OnTerminal) -> None:
    write(folder, f'{SETTINGS}limits: {{"\\e[31m[bold]": 1}}\n')
    shown = on_terminal("check", "--offline", "--no-color")
    assert "error[HLS002]: limits.\\x1b[31m[bold]: unknown key" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("arguments", [("--no-color", "check"), ("check", "--no-color")])
def test_colours_are_off_with_an_option(on_terminal: OnTerminal, arguments: tuple[str]) -> None:
    assert "\x1b[32m" in on_terminal("check", "--offline")
    assert "\x1b" not in on_terminal(*arguments, "--offline")


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_are_off_with_a_variable(
    on_terminal: OnTerminal, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert "\x1b" not in on_terminal("check", "--offline")


def test_problem_is_one_line_without_a_terminal(folder: Path, hls: Hls) -> None:
    file = write(folder, f"{SETTINGS}server: {{prot: 80}}\n")
    found = hls("check", "--offline").output
    assert found == f"{file}:5: server.prot: unknown key; did you mean server.port? [HLS002]\n"


def rows(shown: str) -> list[str]:
    """Return the lines without the time at their beginning."""
    return [re.sub("^(now|[0-9]+ s ago) +", "", line).rstrip() for line in shown.splitlines()]


def test_deliveries_are_a_table_of_escaped_text(store: Storage, on_terminal: OnTerminal) -> None:
    title = "A [red]title[/red] \x1b[2J"
    accept(store, queued("g1"), queued("g2", number=7, title=title, sender="octocat"))
    shown = on_terminal("deliveries", "list", "--no-color", "--limit", "1")
    assert rows(shown) == [
        "RECEIVED  DELIVERY  STATE                                            DURATION  COST",
        "g2        waiting  A [red]title[/red] \\x1b[2J #7",
        f"{' ' * 29}octo/widgets · issues.opened · octocat",
        "1 of 2 deliveries; --limit shows more",
    ]
    assert "\x1b[33mwaiting" in on_terminal("deliveries", "list")


def test_reason_that_repeats_is_shown_once(store: Storage, on_terminal: OnTerminal) -> None:
    reason = "Claude rejected the key (401); create another one"
    for guid in ("g1", "g2"):
        store.queue.finish(begin(store, guid, number=7), End("dead", reason))
    shown = on_terminal("deliveries", "list", "--no-color")
    assert rows(shown)[1:] == [
        "g2        dead   issues.opened #7",
        f"{' ' * 27}octo/widgets",
        f"{' ' * 27}{reason}",
        "g1        dead   issues.opened #7",
        f"{' ' * 27}octo/widgets",
        f"{' ' * 27}as above",
        "2 of 2 deliveries",
    ]


def test_prompts_are_a_table_with_a_total(store: Storage, on_terminal: OnTerminal) -> None:
    shown = on_terminal("prompts", "list", "--no-color", "--limit", "2")
    header, *_, below, total = [line.rstrip() for line in shown.splitlines()]
    assert header.split() == ["PROMPT", "REPLIES", "COST", "CORRECTED", "FAILED"]
    assert below == "comments/reply.j2, in the shipped library"
    assert total == "2 of 11 prompts; 0 replies of all versions, $0.00"


def test_list_without_a_terminal_has_number_and_title(hls: Hls, store: Storage) -> None:
    accept(store, queued("g1", number=7, title="It crashes"))
    listed = hls("deliveries", "list").output
    assert listed.endswith("  g1  waiting  It crashes #7  octo/widgets · issues.opened\n")


def test_limit_of_lists(hls: Hls, store: Storage) -> None:
    accept(store, queued("g1", number=7))
    accept(store, queued("g2", number=7))
    deliveries = hls("deliveries", "list", "--json", "--limit", "1").output
    explained = hls("why", "octo/widgets#7", "--json", "--limit", "1").output
    prompts = hls("prompts", "list", "--json", "--limit", "3").output
    assert [one["delivery"] for one in json.loads(deliveries)["deliveries"]] == ["g2"]
    assert [one["delivery"] for one in json.loads(explained)["deliveries"]] == ["g2"]
    assert len(json.loads(prompts)["prompts"]) == 3
