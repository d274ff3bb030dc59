"""The golden findings of the second look: each file of `second_look/` is a true finding and a false
one.

The two differ in the lines that decide, which stand away from the finding. README.md describes the
files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from hls_handler.analysis import Category, Finding, PullRequestAnalysis, Severity
from hls_handler.github.values import ChangedFile
from tests.handlers.world import compare

MARK = "DECIDES\n"
"""Line of a scenario in whose place the deciding lines are."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Stated(_Part):
    path: str
    quote: str  # the text of its line, which occurs once in the file
    title: str
    body: str
    severity: Severity
    category: Category
    confidence: float
    rests_on: str


class _Scenario(_Part):
    language: str
    title: str
    where: str  # where the deciding lines stand, for people
    finding: _Stated
    decides: str  # path of the file with the deciding lines
    if_true: str  # the deciding lines with which the finding is true
    if_false: str
    before: Mapping[str, str]  # texts by path, of the changed files
    after: Mapping[str, str]
    repository: Mapping[str, str] = {}  # texts of other files


class LookCase(_Part):
    """A finding that the second look should keep or drop."""

    name: str
    language: str
    title: str
    is_true: bool
    where: str
    finding: Finding
    deciding: tuple[str, ...]  # lines
    files: tuple[ChangedFile, ...]
    repository: Mapping[str, str]  # after the change

    @property
    def kind(self) -> Literal["true finding", "false finding"]:
        return "true finding" if self.is_true else "false finding"

    @property
    def reply(self) -> PullRequestAnalysis:
        """The reply of a review that reports the finding."""
        return PullRequestAnalysis(
            type="feature",
            summary=self.title,
            earlier=[],
            findings=[self.finding],
            suggested_labels=[],
        )


def load_look(path: Path, content: Mapping[str, object]) -> Iterator[LookCase]:
    """Yield the true and the false finding of a file. Raises `ValueError` if it is inconsistent."""
    scenario = _Scenario.model_validate(content)
    texts = [*scenario.after.values(), *scenario.repository.values()]
    if sum(text.count(MARK) for text in texts) != 1:
        raise ValueError("one of the texts after the change must have the line DECIDES, once")
    for is_true, deciding in ((True, scenario.if_true), (False, scenario.if_false)):
        yield _to_case(
            f"{path.stem}-{'a' if is_true else 'b'}", scenario, is_true=is_true, deciding=deciding
        )


def _to_case(name: str, scenario: _Scenario, *, is_true: bool, deciding: str) -> LookCase:
    before = {path: text.replace(MARK, deciding) for path, text in scenario.before.items()}
    after = {path: text.replace(MARK, deciding) for path, text in scenario.after.items()}
    others = {path: text.replace(MARK, deciding) for path, text in scenario.repository.items()}
    stated = scenario.finding
    lines = after[stated.path].split("\n")
    if lines.count(stated.quote) != 1:
        raise ValueError(
            f"the quote {stated.quote!r} occurs {lines.count(stated.quote)} times in {stated.path}"
        )
    line = lines.index(stated.quote) + 1
    known: dict[str, object] = {
        "side": "RIGHT",
        "start_line": None,
        "line": line,
        "suggestion": None,
        "continues": None,
        "look_up": [],
    }
    return LookCase(
        name=name,
        language=scenario.language,
        title=scenario.title,
        is_true=is_true,
        where=scenario.where,
        finding=Finding.model_validate({**stated.model_dump(), **known}),
        deciding=tuple(deciding.removesuffix("\n").split("\n")),
        files=tuple(
            compare(path, before[path].split("\n")[:-1], text.split("\n")[:-1])
            for path, text in after.items()
        ),
        repository={**after, **others},
    )
