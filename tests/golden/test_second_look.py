"""The second look is shown what decides about each golden finding, and its effect is reported."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from hls_handler.analysis import FindingVerdict, FindingVerdicts, NeededFact
from hls_handler.handlers.asking import VERIFY_PROMPT
from hls_handler.prompting.prompt import Library
from hls_handler.question import RenderedPrompt
from hls_handler.review.patches import NUMBERED_LINE
from tests.engine.claude import FakeClaude
from tests.engine.world import settings
from tests.golden import report
from tests.golden.asking import Evaluator, MeteredClaude
from tests.golden.cases import FOLDER, PullRequestCase, load_cases, load_look
from tests.golden.evaluate import evaluate_runs, read_questions, write_prompts

CASES = [case for case in load_cases() if isinstance(case, PullRequestCase) and case.reported]
COMMON_NAME = ("avatars-a", "avatars-b")
"""Cases whose method has a name that is too common to be searched: `find`."""


def evaluator(library: Library, claude: FakeClaude | None = None) -> Evaluator:
    return Evaluator(
        settings(), library, MeteredClaude(claude or FakeClaude([]), None, pause=print)
    )


def render(case: PullRequestCase, library: Library) -> RenderedPrompt:
    (question,) = evaluator(library).read(case)
    (rendered,) = question.render_requests()
    return rendered


def code_in(rendered: RenderedPrompt) -> list[str]:
    shown = [NUMBERED_LINE.fullmatch(line) for line in rendered.task.split("\n")]
    return [line["text"] or "" for line in shown if line is not None]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_the_lines_that_decide_are_shown(case: PullRequestCase, library: Library) -> None:
    rendered = render(case, library)
    assert rendered.prompt.name == VERIFY_PROMPT
    shown = code_in(rendered)
    is_shown = all(line in shown for line in case.deciding)
    assert is_shown != (case.name in COMMON_NAME)


def test_only_the_lines_that_decide_tell_a_true_finding_from_a_false_one(library: Library) -> None:
    assert [case.is_true for case in CASES] == [True, False] * 12
    for true, false in zip(CASES[::2], CASES[1::2], strict=True):
        assert true.reported == false.reported
        texts = [
            re.sub(r"[0-9a-f]{16}", "", render(case, library).task).split("\n")
            for case in (true, false)
        ]
        changed = {line for line in texts[0] if line not in texts[1]}
        code = [NUMBERED_LINE.fullmatch(line) for line in changed]
        assert {line["text"] for line in code if line} <= {*true.deciding}, true.name


def test_cases_are_of_several_languages_and_places() -> None:
    assert len({case.language for case in CASES}) >= 8
    assert {case.where for case in CASES} == {
        "another hunk",
        "a line of rests_on in another file",
        "a definition in another file",
        "a call in another file",
        "a line above the hunk",
    }


def look(state: str, quote: str = "", unseen: str = "") -> FindingVerdicts:
    fact = NeededFact.model_validate(
        {"fact": "It is so.", "state": state, "quote": quote, "is_decisive": True}
    )
    return FindingVerdicts(
        verdicts=[FindingVerdict(number=1, facts=[fact], unseen=unseen, agrees=state == "proved")]
    )


def test_evaluation_says_what_the_second_look_drops_of_true_and_of_false_findings(
    library: Library,
) -> None:
    cases = [case for case in CASES if case.name not in COMMON_NAME][:4]
    refuting = [look("refuted", case.deciding[0]) for case in cases]
    claude = FakeClaude(
        [refuting[0], refuting[1], look("proved", cases[2].deciding[0]), look("proved", "x", "It.")]
    )
    asked = evaluator(library, claude)
    runs, stopped = evaluate_runs(
        asked, read_questions(asked, cases, show=print), 1, show=lambda _: None
    )
    assert stopped is None
    assert [one.prompt.name for one in claude.asked] == [VERIFY_PROMPT] * 4
    evaluation = report.Evaluation("now", ("golden",), None, runs)
    figures = [re.sub(r"\s+", " ", line) for line in report.format_table(evaluation).split("\n")]
    assert figures[:6] == [
        "second look: true findings 2",
        "second look: true findings dropped 1",
        "second look: true findings not proved 0",
        "second look: false findings 2",
        "second look: false findings dropped 1",
        "second look: false findings not proved 1",
    ]
    assert f"{cases[0].name}: true finding dropped: " in report.format_details(evaluation)
    assert f"{cases[3].name}: false finding kept: " in report.format_details(evaluation)


def test_prompts_are_written_to_files(library: Library, tmp_path: Path) -> None:
    asked = evaluator(library)
    assert write_prompts(read_questions(asked, CASES, show=print), tmp_path) == 24
    text = (tmp_path / f"{CASES[0].name}-1.txt").read_text(encoding="utf-8")
    assert "# Your task: a second look" in text
    assert CASES[0].reported
    assert CASES[0].reported.title in text


def test_scenario_without_deciding_lines_is_an_error() -> None:
    path = FOLDER / "second_look" / "frames.yaml"
    content = yaml.safe_load(path.read_bytes())
    with pytest.raises(ValueError, match="must have the line DECIDES, once"):
        list(load_look(path, {**content, "repository": {}}))
