"""`hls batch try --closed` against the sandbox, whose closed issues have labels that are known."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hls_handler.prompting import recorded
from hls_handler.store.storage import Storage
from hls_sandbox.claude import Asked
from tests.batches.histories import REPOSITORY, TRIAGE_BOT, Past, Step, add_issue
from tests.cli.conftest import Hls, succeed
from tests.github_fake.faults import Fault
from tests.github_fake.server import Sandbox
from tests.handlers.world import issue_analysis
from tests.prompting.samples import copy_shipped

KINDS = ("bug", "enhancement", "question")
NUMBER = re.compile(r"Thing (\d+)")
OTHER_MODEL = "claude-opus-5-5"

SETTINGS = """\
github: {{token: {sandbox.token}, webhook_secret: "0123456789abcdef", base_url: "{sandbox.github_url}"}}
claude: {{api_key: {sandbox.api_key}, base_url: "{sandbox.claude_url}", requests_per_second: 100}}
storage: {{url: "sqlite:///hls.db"}}
limits: {{concurrency: 4}}
repositories: [{{name: "Codertocat/*", events: [issues.opened]}}]
prompts: {{directory: prompts}}
"""


def true_kind(number: int) -> str:
    return KINDS[number % 3]


class Claude:
    """Gives each issue the kind that `kinds` has for the model, by default the true one."""

    def __init__(self) -> None:
        self.kinds: dict[str, Callable[[int], str]] = {}
        self.asked: list[tuple[str, int]] = []
        self.texts: list[str] = []
        self.unusable: set[int] = set()

    def __call__(self, asked: Asked) -> Any:
        found = NUMBER.search(asked.user)
        assert found is not None
        number = int(found[1])
        self.asked.append((asked.model, number))
        self.texts.append(asked.user)
        if number in self.unusable:
            return "I would rather not say."
        kind = self.kinds.get(asked.model, true_kind)(number)
        reply = issue_analysis(worth_saying=False).model_dump(mode="json")
        return {**reply, "kind": kind}


@pytest.fixture
def claude() -> Claude:
    return Claude()


@pytest.fixture
def sandbox(claude: Claude) -> Iterator[Sandbox]:
    with Sandbox(answer=claude) as running:
        running.state.seed("issues", recorded.load("issues.opened").payload)
        for name in KINDS:
            running.state.create_label(REPOSITORY, name, "ededed", None)
        yield running


PROMPT = "issues/analyze"


@pytest.fixture
def batch(hls: Hls, folder: Path, sandbox: Sandbox) -> Hls:
    copy_shipped(folder, "issues")
    (folder / "settings.yaml").write_text(SETTINGS.format(sandbox=sandbox))
    return lambda *options: hls("batch", *options)


@pytest.fixture
def try_closed(batch: Hls) -> Hls:
    return lambda *options: batch("try", PROMPT, "--closed", REPOSITORY, *options)


def add_closed(sandbox: Sandbox, *numbers: int, kind_of: Callable[[int], str] = true_kind) -> None:
    for number in numbers:
        title = f"Thing {number} is broken"
        steps = [
            Step("rename", f"Thing {number}: later title"),
            Step("edit", "later body"),
            Step("labeled", kind_of(number)),
            Step("labeled", "priority-low", TRIAGE_BOT),
        ]
        add_issue(sandbox.state, Past(number, title, f"First body of {number}", steps=steps))


def find_writes(sandbox: Sandbox) -> list[str]:
    return [seen.path for seen in sandbox.requests.all("github") if seen.writes]


def result(batch: Hls, number: int = 1) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(succeed(batch("show", str(number), "--json")))
    return document


def test_preview_asks_and_stores_nothing(
    try_closed: Hls, batch: Hls, sandbox: Sandbox, claude: Claude
) -> None:
    add_closed(sandbox, *range(100, 112))
    add_closed(sandbox, 112, kind_of=lambda number: "wontfix")
    printed = succeed(try_closed("--model", OTHER_MODEL))
    assert "try Codertocat/Hello-World: 24 deliveries" in printed
    assert "left out    1: no label by a person that the prompt can ask for" in printed
    assert "forecast    24 calls, about $" in printed
    assert (
        "12 issues: a draft that fixes 15% of them and breaks 5% is found better in 0% of such"
        " batches, with 240 issues in 80%"
    ) in printed
    assert "start       add --yes" in printed
    assert claude.asked == []
    assert json.loads(batch("list", "--json").stdout) == []


def test_forecast_says_that_the_money_does_not_suffice(try_closed: Hls, sandbox: Sandbox) -> None:
    add_closed(sandbox, *range(100, 112))
    enough = json.loads(try_closed("--json", "--max-usd", "100").stdout)
    little = json.loads(try_closed("--json", "--max-usd", "0.001").stdout)
    assert little["forecast"]["max_usd"] == enough["forecast"]["max_usd"] > 0.001
    assert enough["notes"] == []
    assert little["notes"] == ["--max-usd $0.0010 will end it midway"]
    some = try_closed("--max-usd", f"{enough['forecast']['typical_usd'] * 1.1:.4f}")
    assert re.search(r"note        --max-usd \$[0-9.]+ may end it midway", some.output)


def test_labels_are_compared_with_those_that_people_left(
    try_closed: Hls, batch: Hls, sandbox: Sandbox, claude: Claude
) -> None:
    add_closed(sandbox, *range(100, 112))
    claude.kinds["claude-haiku-5-5"] = lambda number: true_kind(number + (number < 102))
    succeed(try_closed("--yes"))
    assert len(claude.asked) == 12
    assert [text for text in claude.texts if "later" in text] == []
    found = result(batch)
    assert (found["state"], found["ended"]) == ("done", 12)
    (prompt,) = found["result"]["prompts"]
    assert (prompt["right"]["part"], prompt["right"]["of"]) == (10, 12)
    assert {label: share["part"] for label, share in prompt["labels"].items()} == {
        "bug": 4,
        "enhancement": 3,
        "question": 3,
    }
    assert found["cost_usd"] == prompt["cost_usd"] > 0
    assert find_writes(sandbox) == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--last", "5"], "--last is for deliveries; with --closed, --limit is for issues"),
        ([], "pull_requests/analyze is not asked about issues; `hls batch reviews` is for"),
    ],
)
def test_options_that_do_not_fit_closed_issues_are_named(
    batch: Hls, sandbox: Sandbox, folder: Path, options: list[str], sentence: str
) -> None:
    copy_shipped(folder, "pull_requests")
    add_closed(sandbox, 100)
    prompt = PROMPT if options else "pull_requests/analyze"
    printed = batch("try", prompt, "--closed", REPOSITORY, *options)
    assert printed.exit_code != 0
    assert sentence in " ".join(printed.output.split())


def test_money_ends_a_batch_and_more_of_it_continues(
    try_closed: Hls, batch: Hls, sandbox: Sandbox, claude: Claude
) -> None:
    add_closed(sandbox, *range(100, 112))
    stopped = try_closed("--yes", "--max-usd", "0.003")
    assert stopped.exit_code == 1
    asked = len(claude.asked)
    assert 0 < asked < 12
    assert result(batch)["cost_usd"] <= 0.003
    command = re.search(r"`hls batch (continue 1 --max-usd [0-9.]+)` goes on", stopped.output)
    assert command is not None
    assert "over budget" in stopped.output
    spent = result(batch)["cost_usd"]
    refused = batch("continue", "1", "--max-usd", "0.0001")
    assert refused.exit_code == 1
    assert f"--max-usd 0.0001 is below what batch 1 has spent: {spent:g}" in refused.output
    assert result(batch)["max_usd"] == 0.003
    assert batch("stop", "1").exit_code == 0
    succeed(batch(*command[1].split()))
    assert sorted(number for _, number in claude.asked) == [*range(100, 112)]


@pytest.mark.parametrize("usd", ["inf", "nan", "1e13", "0"])
def test_money_out_of_bounds_is_refused(try_closed: Hls, sandbox: Sandbox, usd: str) -> None:
    printed = try_closed("--max-usd", usd, "--yes")
    assert printed.exit_code == 2
    assert f"Invalid value for '--max-usd': {usd}: expected" in printed.output


def test_better_model_is_found(
    try_closed: Hls, batch: Hls, sandbox: Sandbox, claude: Claude
) -> None:
    add_closed(sandbox, *range(100, 115))
    claude.kinds["claude-haiku-5-5"] = lambda number: "bug"
    claude.unusable = {114}
    printed = succeed(try_closed("--model", OTHER_MODEL, "--yes", "--max-usd", "5"))
    comparison = result(batch)["result"]["comparison"]
    assert comparison == {"conclusion": "better", "fixed": 10, "broken": 0, "same": 5}
    assert "draft       better: fixed 10, broke 0, same 5" in printed
    assert "failed      1 issue: Claude's reply" in printed


def test_draft_is_asked_with_its_text(
    try_closed: Hls, sandbox: Sandbox, claude: Claude, folder: Path
) -> None:
    add_closed(sandbox, 100)
    draft = folder / "draft.j2"
    text = (folder / "prompts/issues/analyze.j2").read_text()
    draft.write_text(text.replace("{% block task %}", "{% block task %}Think of the DRAFT.", 1))
    succeed(try_closed("--prompt", str(draft), "--yes"))
    assert ["DRAFT" in asked for asked in claude.texts].count(True) == 1


def test_draft_that_is_in_use_is_refused(try_closed: Hls, sandbox: Sandbox, folder: Path) -> None:
    add_closed(sandbox, 100)
    for change in (
        ("--prompt", str(folder / "prompts/issues/analyze.j2")),
        ("--model", "claude-haiku-5-5"),
    ):
        printed = try_closed(*change)
        assert printed.exit_code == 1
        assert "the draft is equal to issues/analyze@" in printed.output
    assert [seen.path for seen in sandbox.requests.all("github")] == []


def test_unknown_model_is_refused_before_a_forecast(try_closed: Hls, sandbox: Sandbox) -> None:
    printed = try_closed("--model", "claude-nobody-1")
    assert printed.exit_code == 1
    assert "--model claude-nobody-1: Claude answered 404" in printed.output
    assert [seen.path for seen in sandbox.requests.all("github")] == []


def test_repository_outside_of_the_settings_is_refused(batch: Hls, sandbox: Sandbox) -> None:
    printed = batch("try", PROMPT, "--closed", "octo/other")
    assert printed.exit_code == 2
    assert "no entry of `repositories` in" in printed.output
    assert [seen.path for seen in sandbox.requests.all("github")] == []


def test_rejected_key_ends_a_batch_that_the_command_works_alone(
    try_closed: Hls, batch: Hls, sandbox: Sandbox, claude: Claude, folder: Path
) -> None:
    add_closed(sandbox, *range(100, 112))
    settings = folder / "settings.yaml"
    settings.write_text(settings.read_text().replace(sandbox.api_key, "sk-wrong"))
    printed = try_closed("--yes")
    assert printed.exit_code == 1
    assert "Claude answered 401" in printed.output
    calls = [seen.path for seen in sandbox.requests.all("claude") if seen.method == "POST"]
    assert len(calls) <= 5  # one of each worker
    assert "try Codertocat/Hello-World: stopped, 0 of 12 ended" in printed.output
    assert result(batch)["state"] == "stopped"


def test_reason_and_labels_are_named_if_no_closed_issue_is_left(
    try_closed: Hls, sandbox: Sandbox
) -> None:
    add_closed(sandbox, 100, kind_of=lambda number: "wontfix")
    printed = try_closed()
    assert printed.exit_code == 1
    assert (
        "no closed issue can be compared: no label by a person that the prompt can ask for (1);"
        in printed.output
    )
    assert re.search(r"the labels are: .*\bbug\b", printed.output)


# --- triage


@pytest.fixture
def open_issues(sandbox: Sandbox) -> None:
    """The open issues 7 and 8, of which 8 is locked; 1 is open, too."""
    for number in (7, 8):
        payload = recorded.load("issues.opened").payload
        issue = {**payload["issue"], "number": number, "title": "Thing 7", "locked": number == 8}
        sandbox.state.seed("issues", {**payload, "issue": {**issue, "labels": []}})


@pytest.mark.usefixtures("open_issues")
def test_open_issues_are_labelled_and_taken_back(
    batch: Hls, sandbox: Sandbox, claude: Claude
) -> None:
    preview = succeed(batch("triage", REPOSITORY, "--limit", "1"))
    assert "triage Codertocat/Hello-World: 1 delivery" in preview
    assert "left out    1: locked" in preview
    assert find_writes(sandbox) == []
    done = succeed(batch("triage", REPOSITORY, "--limit", "1", "--yes"))
    assert "issues      1 done" in done
    assert "enhancement" in sandbox.conversation(7).labels
    undone = succeed(batch("undo", "1", "--yes"))
    assert "undone, 1 of 1 ended" in undone
    assert "an undo cannot be stopped" in batch("stop", "1").output
    assert sandbox.conversation(7).labels == ()


def test_token_that_may_not_write_ends_a_triage_after_one_call(
    batch: Hls, sandbox: Sandbox, claude: Claude
) -> None:
    payload = recorded.load("issues.opened").payload
    for number in (7, 8):
        issue = {**payload["issue"], "number": number, "title": f"Thing {number}", "labels": []}
        sandbox.state.seed("issues", {**payload, "issue": issue})
    message = json.dumps({"message": "Resource not accessible by personal access token"})
    sandbox.faults.add(
        Fault(
            effect="status", stand_in="github", method="POST", path="/labels$", times=None
        ).model_copy(update={"status": 403, "body": message})
    )
    printed = batch("triage", REPOSITORY, "--limit", "2", "--yes")
    assert printed.exit_code == 1
    assert len(claude.asked) == 1
    assert "stopped, 1 of " in printed.output
    assert "was stopped: POST /repos/Codertocat/Hello-World/" in printed.output
    assert "403 Resource not accessible by personal access token" in printed.output
    sandbox.faults.clear()
    again = batch("continue", "1")
    assert again.exit_code == 0, again.output
    assert "done, " in again.output


@pytest.mark.parametrize("reason", ["User is blocked", "The issue is locked."])
def test_403_about_one_issue_does_not_end_a_triage(
    batch: Hls, sandbox: Sandbox, reason: str
) -> None:
    payload = recorded.load("issues.opened").payload
    for number in (7, 8):
        issue = {**payload["issue"], "number": number, "title": f"Thing {number}", "labels": []}
        sandbox.state.seed("issues", {**payload, "issue": issue})
    message = json.dumps({"message": reason})
    sandbox.faults.add(
        Fault(
            effect="status", stand_in="github", method="POST", path="/8/labels$", times=None
        ).model_copy(update={"status": 403, "body": message})
    )
    printed = succeed(batch("triage", REPOSITORY, "--limit", "2", "--yes"))
    assert "issues      1 done, 1 dead" in printed
    assert "enhancement" in sandbox.conversation(7).labels


def test_batch_without_a_result_fails(try_closed: Hls, sandbox: Sandbox, claude: Claude) -> None:
    add_closed(sandbox, 101)
    claude.unusable = {101}
    printed = try_closed("--yes")
    assert printed.exit_code == 1
    assert "done, 1 of 1 ended" in printed.output


@pytest.mark.usefixtures("open_issues")
def test_json_is_one_document(batch: Hls, sandbox: Sandbox) -> None:
    preview = json.loads(batch("triage", REPOSITORY, "--limit", "1", "--json").stdout)
    assert (preview["kind"], preview["left_out"]) == ("triage", {"locked": 1})
    done = json.loads(batch("triage", REPOSITORY, "--limit", "1", "--json", "--yes").stdout)
    assert (done["state"], done["result"]["ends"]) == ("done", {"done": 1})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("undo", "9", "--yes"), "there is no batch 9"),
        (("triage", "Codertocat/gone"), "Codertocat/gone"),
    ],
)
def test_wrong_use_is_explained(
    batch: Hls, store: Storage, sandbox: Sandbox, arguments: tuple[str, ...], said: str
) -> None:
    result = batch(*arguments)
    assert result.exit_code == 1
    assert said in result.output


def test_last_deliveries_are_tried_with_another_model(
    batch: Hls, store: Storage, sandbox: Sandbox, claude: Claude
) -> None:
    payload = recorded.load("issues.opened").payload
    issue = {**payload["issue"], "number": 7, "title": "Thing 7", "labels": []}
    sandbox.state.seed("issues", {**payload, "issue": issue})
    assert batch("triage", REPOSITORY, "--limit", "1", "--yes").exit_code == 0
    claude.kinds[OTHER_MODEL] = lambda number: "question"
    preview = succeed(batch("try", PROMPT, "--model", OTHER_MODEL))
    assert "try Codertocat/Hello-World: 1 delivery" in preview
    writes = find_writes(sandbox)
    tried = succeed(batch("try", PROMPT, "--model", OTHER_MODEL, "--yes"))
    assert "1 of 1 replies differ" in tried
    assert "-kind: enhancement\n+kind: question\n" in tried
    assert find_writes(sandbox) == writes
