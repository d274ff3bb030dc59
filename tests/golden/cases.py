"""The golden cases: pull requests, issues and failed workflow runs, each with what a good reply
contains.

README.md describes the files. `load_cases` rejects a case that is inconsistent, so that a result
never depends on one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hls_handler.analysis import Category, Finding, Priority, Severity
from hls_handler.errors import HlsError, with_remedy
from hls_handler.github.values import ChangedFile
from hls_handler.review.patches import Side, parse_patch
from tests.handlers.world import compare
from tests.rounds.repository import parse_diff

FOLDER = Path(__file__).parent

Alternatives = Annotated[tuple[str, ...], Field(min_length=1)]
"""Words or phrases of which one must occur. Case and white space are ignored."""

STEP = "^==> "
"""Begins the lines of a log file that name the step whose lines follow."""

Kind = Literal["defects", "clean", "issue", "workflow", "true finding", "false finding"]


class CaseError(Exception):
    """The golden cases cannot be used, or not be asked about. `problems` has one sentence for each
    mistake.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


def to_sentence(exc: Exception) -> str:
    """Return what an error says, in one line; of invalid data, the first problem."""
    if isinstance(exc, ValidationError):
        first = exc.errors(include_input=False, include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return " ".join((with_remedy(exc) if isinstance(exc, HlsError) else str(exc)).split())


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Place(_Part):
    """A line of a patch that a finding may name, or of the repository."""

    path: str
    side: Side = "RIGHT"
    line: int
    quote: str  # its text


class Defect(_Part):
    """A planted defect."""

    about: str  # for which input what goes wrong, in one or two sentences: the judge reads it
    places: tuple[Place, ...] = Field(min_length=1)  # a finding at any of them is right
    categories: tuple[Category, ...] = Field(min_length=1)  # a finding with any of them is right
    severity: Severity  # a lower one is reported as understated


class Remark(_Part):
    """A finding that is not planted: true and harmless (`tolerated`), or tempting and false
    (`traps`).
    """

    about: str
    place: Place


class PullRequestCase(_Part):
    name: str
    language: str = ""
    title: str = "Change it"
    description: str = ""
    files: tuple[ChangedFile, ...]
    # the reply's type must be one of them; () if every type is right
    types: tuple[Literal["bug-fix", "feature", "refactor", "docs"], ...] = ()
    defects: tuple[Defect, ...] = ()  # () for a clean diff
    tolerated: tuple[Remark, ...] = ()
    traps: tuple[Remark, ...] = ()
    # lines outside of the diff, one of which proves the defect; () if the diff does
    needs: tuple[Place, ...] = ()
    look_up: tuple[str, ...] = ()  # names that a careful reader of the diff asks to see
    namesakes: tuple[Place, ...] = ()  # lines that only have a name in common with the change
    repository: Mapping[str, str] = {}  # path -> text after the change
    # what the review is to report: only the second look, which should keep or drop it, is asked
    reported: Finding | None = None
    is_true: bool = True  # of the reported finding
    where: str = ""  # where the lines stand that decide about it, for people
    deciding: tuple[str, ...] = ()  # these lines

    @property
    def kind(self) -> Kind:
        if self.reported is not None:
            return "true finding" if self.is_true else "false finding"
        return "defects" if self.defects else "clean"


class CaseSection(_Part):
    """A section of the repository's documentation."""

    path: str
    title: str
    text: str


class IssueCase(_Part):
    """An issue. A tuple of alternatives that is empty means that every value is right."""

    name: str
    title: str
    body: str
    documents: tuple[CaseSection, ...] = ()  # of the repository
    kinds: tuple[
        Literal["bug", "enhancement", "question", "documentation", "maintenance"], ...
    ] = ()
    priorities: tuple[Priority, ...] = ()
    components: tuple[Literal["frontend", "backend", "database", "none"], ...] = ()
    worth_saying: bool | None = None  # None: both are right
    missing: tuple[Alternatives, ...] = ()  # each must occur in one of the requests to the author
    missing_at_most: int = 4
    answer: tuple[Alternatives, ...] = ()  # each must occur in the recommended response
    quotes: tuple[Alternatives, ...] = ()  # each must occur in the quote of a source
    must_not: tuple[str, ...] = ()  # must occur in no text of the reply

    @property
    def kind(self) -> Kind:
        return "issue"


class WorkflowCase(_Part):
    """A failed run of a workflow with one failed job."""

    name: str
    workflow: str
    failed: str  # the name of the failed step
    changed: tuple[str, ...]  # paths of the pull request's files
    log: tuple[tuple[str, tuple[str, ...]], ...]  # (name of the step, its lines), in order
    quotes: tuple[str, ...] = ()  # the reply must quote one of these lines; () if none is the cause
    cause: tuple[Alternatives, ...] = ()  # each must occur in the cause or the advice
    where: tuple[str, ...] = ()  # one of these paths must be named; () if every place is right
    worth_saying: bool | None = True
    must_not: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        return "workflow"


Case = PullRequestCase | IssueCase | WorkflowCase
Content = dict[str, Any]
Texts = dict[tuple[str, str, int], str]
"""Lines by path, side and number."""


def load_cases(folder: Path = FOLDER) -> tuple[Case, ...]:
    """Read the cases of `make eval` below `folder`, in the order of kind and name. Raises
    `CaseError` with all problems.
    """
    problems: list[str] = []
    cases: list[Case] = []
    for kind, load in LOADERS.items():
        for path in sorted((folder / kind).glob("*.yaml")):
            try:
                content = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
                cases += load(path, {"name": path.stem, **content})
            except (yaml.YAMLError, ValueError, TypeError) as exc:
                problems.append(f"{kind}/{path.name}: {to_sentence(exc)}")
    if problems:
        raise CaseError(problems)
    return tuple(cases)


def _load_pull_request(path: Path, content: Content) -> Iterator[PullRequestCase]:
    files = parse_diff(path.with_suffix(".diff").read_text(encoding="utf-8"))
    case = PullRequestCase.model_validate({**content, "files": files})
    patches: Texts = {
        (file.path, line.side, line.number): line.text
        for file in case.files
        for line in parse_patch(file.patch or "").lines
    }
    _check_lines([place for defect in case.defects for place in defect.places], patches)
    _check_lines([remark.place for remark in (*case.tolerated, *case.traps)], patches)
    present: Texts = {
        (path, "RIGHT", number): line
        for path, text in case.repository.items()
        for number, line in enumerate(text.split("\n"), 1)
    }
    _check_lines(case.needs, present)
    yield case


def _check_lines(places: Iterable[Place], texts: Texts) -> None:
    for place in places:
        if texts.get((place.path, place.side, place.line)) != place.quote:
            where = f"{place.side} {place.line} of {place.path}"
            raise ValueError(f"{place.quote!r} is not line {where}")


class _Reported(_Part):
    path: str
    quote: str  # the text of its line, which occurs once in the file
    title: str
    body: str
    severity: Severity
    category: Category
    confidence: float
    rests_on: list[str]


class _Scenario(_Part):
    name: str
    language: str
    title: str
    where: str
    finding: _Reported
    decides: str  # path of the file with the deciding lines
    if_true: str  # the deciding lines with which the finding is true
    if_false: str
    before: Mapping[str, str]  # texts by path, of the changed files
    after: Mapping[str, str]
    repository: Mapping[str, str] = {}  # texts of other files


MARK = "DECIDES\n"
"""Line of a scenario in whose place the deciding lines are."""


def _load_look(_path: Path, content: Content) -> Iterator[PullRequestCase]:
    """Yield the true and the false finding of a file."""
    scenario = _Scenario.model_validate(content)
    texts = {**scenario.after, **scenario.repository}
    if sum(text.count(MARK) for text in texts.values()) != 1:
        raise ValueError("one of the texts after the change must have the line DECIDES, once")
    reported = scenario.finding
    for name, deciding in (("a", scenario.if_true), ("b", scenario.if_false)):
        old = {path: text.replace(MARK, deciding) for path, text in scenario.before.items()}
        new = {path: text.replace(MARK, deciding) for path, text in texts.items()}
        line = new[reported.path].split("\n").index(reported.quote) + 1
        yield PullRequestCase(
            name=f"{scenario.name}-{name}",
            language=scenario.language,
            title=scenario.title,
            files=tuple(compare_texts(path, old[path], new[path]) for path in scenario.after),
            repository=new,
            reported=report(line=line, **reported.model_dump()),
            is_true=name == "a",
            where=scenario.where,
            deciding=tuple(deciding.removesuffix("\n").split("\n")),
        )


def compare_texts(path: str, before: str, after: str) -> ChangedFile:
    old, new = (text.split("\n")[:-1] for text in (before, after))
    return compare(path, old, new)


def report(**known: Any) -> Finding:
    """Return a finding about a line of the new file."""
    plain = {"side": "RIGHT", "start_line": None, "suggestion": None, "continues": None}
    return Finding.model_validate({**plain, "look_up": [], **known})


def _load_issue(_path: Path, content: Content) -> Iterator[IssueCase]:
    yield IssueCase.model_validate(content)


def _load_workflow(path: Path, content: Content) -> Iterator[WorkflowCase]:
    text = path.with_suffix(".log").read_text(encoding="utf-8")
    before, *steps = re.split(STEP, text, flags=re.MULTILINE)
    if before:
        raise ValueError("the log does not begin with '==> ' and the name of a step")
    lines = [step.removesuffix("\n").split("\n") for step in steps]
    log = [(name, texts) for name, *texts in lines]
    case = WorkflowCase.model_validate({**content, "log": log})
    known = dict(case.log)
    if case.failed not in known:
        raise ValueError(f"failed: the log has no step {case.failed!r}")
    for quote in case.quotes:
        if quote not in known[case.failed]:
            raise ValueError(f"quotes: {quote!r} is no line of the step {case.failed!r}")
    yield case


LOADERS: Mapping[str, Callable[[Path, Content], Iterator[Case]]] = {
    "pull_requests": _load_pull_request,
    "issues": _load_issue,
    "workflows": _load_workflow,
    "second_look": _load_look,
}


class _Copies(_Part):
    number: int
    text: str


class _Change(_Part):
    """A change by kind. Lines are named as "path: text", without the white space around it."""

    kind: str  # for people
    before: Mapping[str, str]  # texts of the changed files
    repository: Mapping[str, str]  # texts of all files after the change
    copies: Mapping[str, _Copies] = {}  # further files, with numbers in place of `{n}`
    pad: Mapping[str, int] = {}  # the file's line `{pad}` is replaced by so many bytes of entries
    needs: tuple[str, ...]
    namesakes: tuple[str, ...]


ENTRY = '    "Town {n}": (48.1372, 11.5755),'


def load_places() -> Iterator[PullRequestCase]:
    """Read the changes by kind, each with the other places of the repository that a reviewer needs.

    Raises `ValueError` if a file has no line that the case names.
    """
    for path in sorted((FOLDER / "places").glob("*.yaml")):
        change = _Change.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        texts = dict(change.repository)
        for name, copies in change.copies.items():
            for number in map(str, range(copies.number)):
                texts[name.replace("{n}", number)] = copies.text.replace("{n}", number)
        for name, size in change.pad.items():
            entries = [ENTRY.replace("{n}", str(number)) for number in range(size // len(ENTRY))]
            texts[name] = texts[name].replace("{pad}", "\n".join(entries).strip())
        old = change.before.items()
        yield PullRequestCase(
            name=path.stem,
            files=tuple(compare_texts(name, text, texts.get(name, "")) for name, text in old),
            repository=texts,
            needs=tuple(place for line in change.needs for place in _find_line(line, texts)),
            namesakes=tuple(
                place for line in change.namesakes for place in _find_line(line, texts)
            ),
        )


def _find_line(line: str, texts: Mapping[str, str]) -> Sequence[Place]:
    path, _, wanted = line.partition(": ")
    numbered = enumerate(texts[path].split("\n"), 1)
    places = [
        Place(path=path, line=number, quote=text)
        for number, text in numbered
        if text.strip() == wanted
    ]
    if not places:
        raise ValueError(f"there is no line {line!r}")
    return places
