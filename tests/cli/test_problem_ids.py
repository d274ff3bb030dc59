"""Ids of the problems that `hls check` reports: they never change, and those of warnings can be
silenced.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from hls_handler.settings.problems import Kind
from tests.cli.conftest import SETTINGS, Hls

PAGE = Path("docs/problems.md").read_text(encoding="utf-8")
FRONT = "---\ndescription: x\non: [{}]\nreply: generic_analysis\n---\n{}"
OWN = "prompts: {directory: [own, shipped]}\n"
DRAFT = {"push/draft.j2": FRONT.format("push", "{{ event.ref }}")}


def test_ids_are_not_changed_nor_used_again() -> None:
    ids = {
        "error": "001 002 003 004 005 006 007 008 009 030 031 032 033 034 035 036 037 038"
        " 050 051 052 053 056 057 058",
        "warning": "012 013 014 015 016 017 039 040 059 060",
        "note": "018 019 020 021 022 023 054 055",
    }
    assert {
        severity: " ".join(kind.id[3:] for kind in Kind if kind.severity == severity)
        for severity in ids
    } == ids


def test_page_lists_each_id_with_its_severity_title_example_and_cure() -> None:
    found = [
        (heading.lower(), identifier, title)
        for heading, section in re.findall(r"## (\w+)s\n(.*?)(?=\n## |\Z)", PAGE, re.DOTALL)
        for identifier, title in re.findall(r"- \*\*(HLS\d+)\*\* (.+) \(.+\): .+", section)
    ]
    order = ("error", "warning", "note")
    assert found == [
        (kind.severity, kind.id, kind.title)
        for kind in sorted(Kind, key=lambda kind: (order.index(kind.severity), kind.id))
    ]


@pytest.mark.parametrize(
    ("settings", "prompts", "ids"),
    [
        ("limits: {concurrency: 80: 81}\n", {}, ["HLS001"]),
        ("limits: {concurrency: 5, concurrency: 6}\n", {}, ["HLS001"]),
        ("server: {prot: 80}\n", {}, ["HLS002"]),
        ("test_oracle: {url: !secret x}\n", {}, ["HLS001"]),
        ("budgets: {repositories: [{day_usd: 1}]}\n", {}, ["HLS003"]),
        ("limits: {concurrency: many}\n", {}, ["HLS004"]),
        ("check: {ignore: [HLS002]}\n", {}, ["HLS004"]),
        ("server: {viewers: [mona]}\n", {}, ["HLS005"]),
        ("server: {host: '${'}\n", {}, ["HLS006"]),
        ("prompts: {directory: none}\n", {}, ["HLS030"]),
        (OWN, {"push/a.j2": FRONT.format("push", "x").replace("x", "[]", 1)}, ["HLS031"]),
        (OWN, {"push/a.j2": FRONT.format("pusch", "x")}, ["HLS032"]),
        (OWN, {"push/a.j2": FRONT.format("push", "{% if x %}")}, ["HLS033"]),
        (OWN, {"push/a.j2": FRONT.format("push", "{{ 1 / 0 }}")}, ["HLS033"]),
        (OWN, {"push/a.j2": FRONT.format("push", "{{ evnt }}")}, ["HLS034"]),
        ("prompts: {use: {issues.opened: issues/none}}\n", {}, ["HLS035"]),
        (  # a prompt with an error is none that does not exist
            "prompts: {directory: [own, shipped], use: {push: push/a}}\n",
            {"push/a.j2": FRONT.format("push", "{% if x %}")},
            ["HLS033"],
        ),
        ("mirror: {enabled: false}\nfeatures: {cherry_pick: true}\n", {}, ["HLS016"]),
        ("claude: {region: eu-west-1, api_key: a-key}\n", {}, ["HLS012"]),
        (OWN, DRAFT, ["HLS039"]),
    ],
)
def test_problem_has_its_id(
    hls: Hls, folder: Path, settings: str, prompts: dict[str, str], ids: list[str]
) -> None:
    kept = SETTINGS.replace("claude: {api_key: a-key}\n", "") if "a-key" in settings else SETTINGS
    (folder / "settings.yaml").write_text(f"{kept}{settings}")
    for name, text in prompts.items():
        (folder / "own" / name).parent.mkdir(parents=True)
        (folder / "own" / name).write_text(text)
    document = json.loads(hls("check", "--offline", "--json").stdout)
    found = [one["id"] for one in document["problems"] if one["severity"] != "note"]
    assert found == ids


USED = "prompts: {directory: [own, shipped]}\nrepositories: [{name: o/r, events: [EVENT]}]\n"
OPENAI = "claude: {kind: openai, api_key: k, base_url: 'https://x.test/v1', model: llama}\n"


@pytest.mark.parametrize(
    ("settings", "prompt", "identifier"),
    [
        (OPENAI, "", "HLS020"),
        ("server: {api_key: '${UNSET_KEY}'}\n", "", "HLS023"),
        ("repositories: [{name: o/r, events: [fork]}]\n", "", "HLS036"),
        (
            USED.replace("EVENT]}", "push]}, {name: o/s, variables: {team: x}}"),
            FRONT.format("push", "{{ config.team }}"),
            "HLS037",
        ),
        (
            USED.replace("EVENT", "push"),
            FRONT.format("pull_request.labeled", "x").replace("generic", "pull_request"),
            "HLS038",
        ),
        (
            USED.replace("EVENT", "push"),
            FRONT.format("push", "x").replace("reply", "fields: {mood: {type: string}}\nreply"),
            "HLS040",
        ),
    ],
)
def test_problem_besides_others_has_its_id(
    hls: Hls, folder: Path, settings: str, prompt: str, identifier: str
) -> None:
    lines = [*SETTINGS.splitlines(), *settings.splitlines()]
    sections = {line.partition(":")[0]: line for line in lines}
    (folder / "settings.yaml").write_text("\n".join(sections.values()))
    (folder / "own/a").mkdir(parents=True)
    if prompt:
        (folder / "own/a/b.j2").write_text(prompt)
    document = json.loads(hls("check", "--offline", "--json").stdout)
    assert identifier in {one["id"] for one in document["problems"]}


def test_missing_package_has_its_id(
    hls: Hls, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)  # as if it was not installed
    keys = "kind: bedrock, region: eu, access_key_id: b, model: c"
    text = SETTINGS.replace("api_key: a-key", f"api_key: a-key, {keys}")
    (folder / "settings.yaml").write_text(text)
    assert "[HLS008]" in hls("check", "--offline").stdout


def test_readable_secret_has_its_id(hls: Hls, folder: Path) -> None:
    (folder / ".env").write_text("A=b\n")
    (folder / ".env").chmod(0o644)
    assert "run chmod 600 on it [HLS015]" in hls("check", "--offline").stdout


def test_invalid_line_of_dotenv_has_its_id(hls: Hls, folder: Path) -> None:
    (folder / ".env").write_text("not a variable\n")
    shown = hls("check", "--offline").stdout
    assert shown == f"{folder}/.env:1: invalid line; expected NAME=value [HLS007]\n"


def test_json_has_the_place_of_a_problem(hls: Hls, folder: Path) -> None:
    (folder / "settings.yaml").write_text(f"{SETTINGS}server: {{prot: 80}}\n")
    result = hls("check", "--offline", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout) == {
        "problems": [
            {
                "id": "HLS002",
                "severity": "error",
                "file": f"{folder}/settings.yaml",
                "line": 5,
                "message": "server.prot: unknown key; did you mean server.port?",
            }
        ],
        "silenced": 0,
    }


def test_limit_over_all_events_has_no_effect_in_a_workflow(
    hls: Hls, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = "claude: {api_key: a-key, calls_per_hour: 9}\nbudgets: {total: {day_usd: 5}}\n"
    settings = SETTINGS.replace("claude: {api_key: a-key}\n", limits)
    (folder / "settings.yaml").write_text(settings)
    assert "needs a service" not in hls("check", "--offline").stdout
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    found = [line for line in hls("check", "--offline").stdout.splitlines() if "HLS012" in line]
    end = (
        ": needs a service (docs/actions.md); review.max_usd and review.max_usd_per_pull_request"
        " limit the cost in a workflow [HLS012]"
    )
    assert [line.rpartition("/")[2] for line in found] == [] or [
        line.partition(" (")[2] for line in found
    ] == [f"budgets.total.day_usd){end}", f"claude.calls_per_hour){end}"]


def test_silenced_warnings_and_notes_are_counted(hls: Hls, folder: Path) -> None:
    (folder / "own/push").mkdir(parents=True)
    (folder / "own/push/draft.j2").write_text(DRAFT["push/draft.j2"])
    settings = f"{SETTINGS}{OWN}"
    (folder / "settings.yaml").write_text(settings)
    shown = hls("check", "--offline")
    assert shown.exit_code == 0
    assert "[HLS018]" in shown.stdout
    assert "[HLS039]" in shown.stdout
    (folder / "settings.yaml").write_text(f"{settings}check: {{ignore: [HLS039, HLS018]}}\n")
    silenced = hls("check", "--offline")
    assert silenced.exit_code == 0
    assert silenced.stdout.splitlines()[-2] == ("check.ignore silences 2 problems: HLS018, HLS039")
    assert "[HLS" not in silenced.stdout.replace("[HLS022]", "")
    assert json.loads(hls("check", "--offline", "--json").stdout)["silenced"] == 2
