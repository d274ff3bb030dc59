"""`hls backtest` against the sandbox, whose closed issues have labels that are known."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hls_handler.cli.options import load
from hls_handler.cli.prompt_library import load_library
from hls_handler.prompting import recorded
from hls_handler.sandbox.claude import Asked
from hls_handler.sandbox.server import Sandbox
from hls_handler.storage import Storage
from tests.backtest.histories import REPOSITORY, TRIAGE_BOT, Past, Step, add_issue
from tests.cli.conftest import Hls
from tests.handlers.world import issue_analysis
from tests.prompting.samples import copy_shipped

KINDS = ("bug", "enhancement", "question")
NUMBER = re.compile(r"Thing (\d+)")
OTHER_MODEL = "claude-opus-5-5"

SETTINGS = """\
github: {{token: {sandbox.token}, webhook_secret: "0123456789abcdef", base_url: "{sandbox.github_url}"}}
claude: {{api_key: {sandbox.api_key}, base_url: "{sandbox.claude_url}", requests_per_second: 100}}
storage: {{url: "sqlite:///hls.db"}}
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
        confidence = {
            "kind": 0.9,
            "priority": 0.5,
            "difficulty": 0.5,
            "component": 0.5,
        }
        reply = issue_analysis(worth_saying=False).model_dump(mode="json")
        return {**reply, "kind": kind, "field_confidence": confidence}


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


@pytest.fixture
def backtest(hls: Hls, folder: Path, sandbox: Sandbox) -> Hls:
    copy_shipped(folder, "issues")
    (folder / "settings.yaml").write_text(SETTINGS.format(sandbox=sandbox))
    return lambda *options: hls("backtest", REPOSITORY, *options)


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


def result(folder: Path) -> dict[str, Any]:
    (path,) = (folder / "backtests").glob("*.json")
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def test_forecast_asks_nothing(backtest: Hls, sandbox: Sandbox, claude: Claude) -> None:
    add_closed(sandbox, *range(100, 140))
    printed = backtest("--against-model", OTHER_MODEL)
    assert printed.exit_code == 0, printed.output
    assert claude.asked == []
    assert "40 of 40 closed issues as first written" in printed.output
    assert "80 calls about 40 issues" in printed.output
    assert "with 40 issues, 80% right labels mean 64% to 91%" in printed.output
    assert "with 40 issues, a difference of 10 points is seen in about" in printed.output
    assert [seen.path for seen in sandbox.requests.all("github") if seen.writes] == []


def test_labels_are_compared_with_those_that_people_left(
    backtest: Hls, sandbox: Sandbox, claude: Claude, folder: Path
) -> None:
    add_closed(sandbox, *range(100, 140))
    printed = backtest("--yes", "--max-usd", "1")
    assert printed.exit_code == 0, printed.output
    (field,) = result(folder)["sides"][0]["fields"]
    assert (field["field"], field["issues"], field["choice"]["right"]["part"]) == ("kind", 40, 40)
    assert len(claude.asked) == 40
    assert [text for text in claude.texts if "later" in text] == []
    assert "precision 100% (75% to 100%), recall 100% (75% to 100%)" in printed.output
    assert "to paste" not in printed.output  # labels.allow would switch off those not measured
    (database,) = (folder / "backtests").glob("*.db")
    assert stat.S_IMODE(database.stat().st_mode) == 0o600
    assert [seen.path for seen in sandbox.requests.all("github") if seen.writes] == []


def test_repeated_command_asks_only_what_is_missing(
    backtest: Hls, sandbox: Sandbox, claude: Claude, folder: Path
) -> None:
    add_closed(sandbox, *range(100, 140))
    stopped = backtest("--yes", "--max-usd", "0.004")
    assert stopped.exit_code == 1
    assert "does not fit --max-usd 0.004; run it again with more to continue" in stopped.output
    first = len(claude.asked)
    assert 0 < first < 40
    assert backtest("--yes", "--max-usd", "1").exit_code == 0
    assert sorted(number for _, number in claude.asked) == [*range(100, 140)]
    assert backtest("--yes", "--max-usd", "1").exit_code == 0
    assert len(claude.asked) == 40


def test_better_model_is_promoted(
    backtest: Hls, sandbox: Sandbox, claude: Claude, folder: Path
) -> None:
    add_closed(sandbox, *range(100, 160))
    claude.kinds = {OTHER_MODEL: true_kind}
    claude.kinds["claude-haiku-5-5"] = lambda number: "bug"
    printed = backtest("--against-model", OTHER_MODEL, "--yes", "--max-usd", "5")
    assert printed.exit_code == 0, printed.output
    decision = result(folder)["decision"]
    assert (decision["conclusion"], decision["fixed"], decision["broken"]) == ("promote", 40, 0)


def test_unusable_reply_does_not_end_the_decision(
    backtest: Hls, sandbox: Sandbox, claude: Claude, folder: Path
) -> None:
    add_closed(sandbox, *range(100, 130))
    claude.kinds["claude-haiku-5-5"] = lambda number: true_kind(number + (number < 110))
    claude.unusable = {129}
    printed = backtest("--against-model", OTHER_MODEL, "--yes", "--max-usd", "5")
    decision = result(folder)["decision"]
    assert (decision["conclusion"], decision["fixed"], decision["broken"]) == ("promote", 10, 0)
    assert (decision["test"], decision["missing"]) == ("planned size, after 30 issues", 0)
    assert "are not asked" not in printed.output


def test_forecast_is_made_anew_until_claude_is_asked(
    backtest: Hls, sandbox: Sandbox, claude: Claude, folder: Path
) -> None:
    sandbox.state.create_label(REPOSITORY, "defect", "ededed", None)
    add_closed(sandbox, *range(100, 130), kind_of=lambda number: "defect")
    assert "none has a label by a person" in backtest().output
    mapped = ("--map", "bug=defect")
    assert "30 of 30 closed issues" in backtest(*mapped).output
    add_closed(sandbox, 130)
    claude.kinds["claude-haiku-5-5"] = lambda number: "bug"
    assert backtest(*mapped, "--yes", "--max-usd", "1").exit_code == 0
    assert result(folder)["planned"] == 31
    add_closed(sandbox, 131)
    assert "0 calls about 0 issues" in backtest(*mapped).output


def test_names_of_labels_can_be_given_after_the_first_run(
    backtest: Hls, sandbox: Sandbox, claude: Claude, folder: Path
) -> None:
    sandbox.state.create_label(REPOSITORY, "defect", "ededed", None)
    add_closed(sandbox, *range(100, 130), kind_of=lambda n: "question" if n % 2 else "defect")
    assert backtest("--yes", "--max-usd", "1").exit_code == 0
    assert len(claude.asked) == 15
    assert backtest("--map", "bug=defect", "--yes", "--max-usd", "1").exit_code == 0
    assert sorted(number for _, number in claude.asked) == [*range(100, 130)]
    assert result(folder)["sides"][0]["fields"][0]["issues"] == 30
    assert (result(folder)["planned"], result(folder)["labelled"]) == (15, 30)
    assert "30 of 30 issues" in backtest("--map", "bug=defect", "--yes", "--max-usd", "1").output


def test_forecast_names_enough_money_for_the_rest(backtest: Hls, sandbox: Sandbox) -> None:
    options = ("--against-model", OTHER_MODEL)
    add_closed(sandbox, *range(100, 150))
    assert backtest(*options, "--yes", "--max-usd", "5").exit_code == 0
    add_closed(sandbox, 150)
    found = re.search(r"--max-usd (\S+)", backtest(*options, "--limit", "201").output)
    assert found is not None
    rest = backtest(*options, "--limit", "201", "--yes", "--max-usd", found[1])
    assert rest.exit_code == 0, rest.output


def test_forecast_bounds_the_cost_of_replies_that_are_unusable(
    backtest: Hls, sandbox: Sandbox, claude: Claude, folder: Path
) -> None:
    add_closed(sandbox, *range(100, 130))
    claude.unusable = {*range(100, 130)}
    found = re.search(r"--max-usd (\S+)", backtest().output)
    assert found is not None
    printed = backtest("--yes", "--max-usd", found[1])
    assert printed.exit_code == 0, printed.output
    assert result(folder)["sides"][0]["calls"] == 60


def test_changed_setting_of_the_question_begins_a_backtest(
    backtest: Hls, sandbox: Sandbox, claude: Claude, folder: Path
) -> None:
    add_closed(sandbox, *range(100, 110))
    assert backtest("--yes", "--max-usd", "1").exit_code == 0
    with (folder / "settings.yaml").open("a") as file:
        file.write("labels: {suggest: true}\n")
    assert backtest("--yes", "--max-usd", "1").exit_code == 0
    assert len(claude.asked) == 20


def test_file_that_the_result_would_overwrite_is_rejected(backtest: Hls) -> None:
    printed = backtest("--file", "result.json")
    assert printed.exit_code == 2
    assert "would be overwritten by the result" in printed.output


def test_labels_that_the_prompt_does_not_list_are_not_compared(
    backtest: Hls, sandbox: Sandbox, claude: Claude, folder: Path
) -> None:
    sandbox.state.create_label(REPOSITORY, "area/cart", "ededed", None)
    sandbox.state.create_label(REPOSITORY, "team-secret", "ededed", None)
    add_closed(sandbox, *range(100, 115), kind_of=lambda number: "area/cart")
    add_closed(sandbox, *range(115, 130), kind_of=lambda number: "team-secret")
    with (folder / "settings.yaml").open("a") as file:
        file.write('labels: {suggest: true, allow: ["area/*"]}\n')
    printed = backtest("--yes", "--max-usd", "1")
    assert printed.exit_code == 0, printed.output
    (field,) = result(folder)["sides"][0]["fields"]
    assert field["field"] == "suggested_labels"
    assert [one["label"] for one in field["labels"]] == ["area/cart"]


def test_earlier_version_is_asked_without_its_follow_up_prompt(
    backtest: Hls, sandbox: Sandbox, claude: Claude, folder: Path, store: Storage
) -> None:
    add_closed(sandbox, *range(100, 103))
    template = folder / "prompts/issues/analyze.j2"
    now = template.read_text()
    then = "then: {prompt: issues/respond, when: \"analysis.kind == 'bug'\"}"
    template.write_text(now.replace("max_tokens: 2500", f"max_tokens: 2500\n{then}"))
    library = load_library(load(Path("settings.yaml")))
    earlier = library.prompts["issues/analyze"].id
    with store.database.writing() as connection:
        store.prompt_versions.keep(connection, earlier, library.sources["issues/analyze"])
    template.write_text(now)
    printed = backtest("--against", earlier, "--yes", "--max-usd", "1")
    assert printed.exit_code == 0, printed.output
    assert f"{earlier}: 3 of 3 issues, 3 calls" in printed.output
