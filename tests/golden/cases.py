"""The golden cases: pull requests, issues and failed workflow runs, each with what a good reply
contains.

README.md describes the files. `load_cases` rejects a case that is inconsistent, so that a result
never depends on one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hls_handler.analysis import Category, Finding, IssueAnalysis, PullRequestAnalysis, Severity
from hls_handler.errors import HlsError, with_remedy
from hls_handler.github.values import ChangedFile
from hls_handler.handlers.documents import DocumentSection
from hls_handler.label_rules import enum_values
from hls_handler.review.patches import Hunk, Line, Side, parse_patch
from tests.handlers.world import compare

FOLDER = Path(__file__).parent

Alternatives = Annotated[tuple[str, ...], Field(min_length=1)]
"""Words or phrases of which one must occur. Case and white space are ignored."""

STEP = "==> "
"""Prefix of the lines of a log file that name the step whose lines follow."""


class CaseError(Exception):
    """The golden cases, or a public set, cannot be used. `problems` has one sentence for each
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
    """Lines of a patch that a finding may name."""

    path: str
    side: Side = "RIGHT"
    start_line: int | None = None  # the first line of a range; None for a single line
    line: int  # the last line
    quote: str = ""  # the text of `line`; "" in public sets, which have none


class Defect(_Part):
    """A planted defect."""

    about: str  # for which input what goes wrong, in one or two sentences: the judge reads it
    # a finding at any of them is right; () in a public set without positions
    places: tuple[Place, ...]
    categories: tuple[Category, ...]  # a finding with any of them is right; () if all are
    severity: Severity  # a lower one is reported as understated
    expected: bool = (
        True  # False: outside of the chosen profile of a public set, so neither found nor missed
    )


class Remark(_Part):
    """A finding that is not planted: true and harmless (`tolerated`), or tempting and false
    (`traps`).
    """

    about: str
    place: Place


class PublicPull(_Part):
    """The pull request on GitHub that a case of a public set is about."""

    repository: str  # "owner/name"
    number: int
    head: str = ""  # the reviewed commit; "" if it is the present head


class PullRequestCase(_Part):
    name: str
    language: str
    title: str
    description: str
    files: tuple[ChangedFile, ...]
    types: tuple[str, ...] = ()  # the reply's type must be one of them; () if every type is right
    defects: tuple[Defect, ...]  # () for a clean diff
    tolerated: tuple[Remark, ...] = ()
    traps: tuple[Remark, ...] = ()
    needs: tuple[
        Place, ...
    ] = ()  # lines outside of the diff, one of which proves the defect; () if the diff does
    repository: Mapping[str, str] = {}  # path -> text after the change
    public: PublicPull | None = (
        None  # its repository, and an empty diff or description, are read from GitHub
    )
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

    def to_section(self) -> DocumentSection:
        return DocumentSection(self.path, self.title, self.text, url="")


class IssueCase(_Part):
    """An issue. A tuple of alternatives that is empty means that every value is right."""

    name: str
    title: str
    body: str
    documents: tuple[
        CaseSection, ...
    ] = ()  # of the repository's documentation, as Claude is shown them
    kinds: tuple[str, ...] = ()
    priorities: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
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
    quotes: tuple[
        str, ...
    ] = ()  # the reply must quote one of these lines; () if no line shows the cause
    cause: tuple[Alternatives, ...] = ()  # each must occur in the cause or the advice
    where: tuple[str, ...] = ()  # one of these paths must be named; () if every place is right
    worth_saying: bool | None = True
    must_not: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        return "workflow"


Kind = Literal["defects", "clean", "issue", "workflow", "true finding", "false finding"]
Case = PullRequestCase | IssueCase | WorkflowCase


def load_cases(folder: Path = FOLDER) -> tuple[Case, ...]:
    """Read all cases below `folder`, in the order of kind and name. Raises `CaseError` with all
    problems.
    """
    problems: list[str] = []
    cases: list[Case] = []
    for kind, load in (
        ("pull_requests", _load_pull_request),
        ("issues", _load_issue),
        ("workflows", _load_workflow),
    ):
        for path in sorted((folder / kind).glob("*.yaml")):
            try:
                content = {
                    "name": path.stem,
                    **yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader),
                }
                case = load(path, content)
            except (yaml.YAMLError, ValidationError, ValueError, TypeError) as exc:
                problems.append(f"{kind}/{path.name}: {to_sentence(exc)}")
                continue
            problems += [f"{kind}/{path.name}: {problem}" for problem in find_problems(case)]
            cases.append(case)
    for path in sorted((folder / "second_look").glob("*.yaml")):
        try:
            cases += load_look(path, yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader))
        except (yaml.YAMLError, ValueError, TypeError) as exc:
            problems.append(f"second_look/{path.name}: {to_sentence(exc)}")
    if problems:
        raise CaseError(problems)
    return tuple(cases)


def _load_pull_request(path: Path, content: dict[str, Any]) -> PullRequestCase:
    diff = path.with_suffix(".diff").read_text(encoding="utf-8")
    return PullRequestCase.model_validate({**content, "files": parse_diff(diff)})


MARK = "DECIDES\n"
"""Line of a scenario in whose place the deciding lines are."""


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
    where: str
    finding: _Stated
    decides: str  # path of the file with the deciding lines
    if_true: str  # the deciding lines with which the finding is true
    if_false: str
    before: Mapping[str, str]  # texts by path, of the changed files
    after: Mapping[str, str]
    repository: Mapping[str, str] = {}  # texts of other files


def load_look(path: Path, content: Mapping[str, object]) -> Iterator[PullRequestCase]:
    """Yield the true and the false finding of a file. Raises `ValueError` if it is inconsistent."""
    scenario = _Scenario.model_validate(content)
    texts = {**scenario.after, **scenario.repository}
    if sum(text.count(MARK) for text in texts.values()) != 1:
        raise ValueError("one of the texts after the change must have the line DECIDES, once")
    stated = scenario.finding
    for name, deciding in (("a", scenario.if_true), ("b", scenario.if_false)):
        old = {path: text.replace(MARK, deciding) for path, text in scenario.before.items()}
        new = {path: text.replace(MARK, deciding) for path, text in texts.items()}
        lines = {path: text.split("\n")[:-1] for path, text in new.items()}
        number = lines[stated.path].count(stated.quote)
        if number != 1:
            raise ValueError(f"the quote {stated.quote!r} occurs {number} times in {stated.path}")
        line = lines[stated.path].index(stated.quote) + 1
        yield PullRequestCase(
            name=f"{path.stem}-{name}",
            language=scenario.language,
            title=scenario.title,
            description="",
            files=tuple(compare(at, old[at].split("\n")[:-1], lines[at]) for at in scenario.after),
            defects=(),
            repository=new,
            reported=report(line=line, **stated.model_dump()),
            is_true=name == "a",
            where=scenario.where,
            deciding=tuple(deciding.removesuffix("\n").split("\n")),
        )


def report(**known: Any) -> Finding:
    """Return a finding about a line of the new file."""
    plain = {"side": "RIGHT", "start_line": None, "suggestion": None, "continues": None}
    return Finding.model_validate({**plain, "look_up": [], **known})


def _load_issue(path: Path, content: dict[str, Any]) -> IssueCase:
    return IssueCase.model_validate(content)


def _load_workflow(path: Path, content: dict[str, Any]) -> WorkflowCase:
    steps: list[tuple[str, list[str]]] = []
    for line in path.with_suffix(".log").read_text(encoding="utf-8").removesuffix("\n").split("\n"):
        if line.startswith(STEP):
            steps.append((line.removeprefix(STEP), []))
        elif not steps:
            raise ValueError(f"the log does not begin with a line {STEP!r} and the name of a step")
        else:
            steps[-1][1].append(line)
    return WorkflowCase.model_validate({**content, "log": steps})


FILE_HEADER = re.compile(r"""diff --git "?a/(?P<old>.+?)"? (?P<quote>"?)b/(?P<new>.+)(?P=quote)""")


def parse_diff(text: str) -> tuple[ChangedFile, ...]:
    """Return the files of a diff in git's format, as GitHub lists them. Raises `ValueError` for any
    other text.
    """
    files: list[ChangedFile] = []
    before, *parts = re.split(r"^(?=diff --git )", text, flags=re.MULTILINE)
    if before.strip() or not parts:
        raise ValueError("the diff does not begin with 'diff --git a/PATH b/PATH'")
    for part in parts:
        header, _, rest = part.partition("\n")
        named = FILE_HEADER.fullmatch(header)
        if named is None:
            raise ValueError(f"the line {header!r} is not 'diff --git a/PATH b/PATH'")
        old, new = _unquote(named["old"]), _unquote(named["new"])
        begin = re.search(r"^@@ ", rest, flags=re.MULTILINE)
        head, patch = (
            (rest[: begin.start()], rest[begin.start() :].removesuffix("\n"))
            if begin
            else (rest, None)
        )
        lines = [line for hunk in parse_patch(patch or "").hunks for line in hunk.lines]
        status = (
            "added" if "new file mode" in head else "removed" if "deleted file mode" in head
            else "renamed" if "rename from" in head else "modified"
        )  # fmt: skip
        files.append(
            ChangedFile(
                path=new,
                previous_path=old if status == "renamed" else None,
                status=status,
                additions=sum(line.mark == "+" for line in lines),
                deletions=sum(line.mark == "-" for line in lines),
                patch=patch,
            )
        )
    return tuple(files)


def _unquote(path: str) -> str:
    r"""Return the path that git wrote with escapes, such as "r\303\251sum\303\251.py"."""
    return re.sub(
        r"(?:\\\d{3})+",
        lambda found: bytes(int(n, 8) for n in found[0][1:].split("\\")).decode(),
        path,
    )


def find_problems(case: Case) -> Iterator[str]:
    """Yield a sentence for each inconsistency of a case."""
    match case:
        case PullRequestCase():
            yield from _pull_request_problems(case)
        case IssueCase():
            for field, values in (
                ("kind", case.kinds), ("priority", case.priorities), ("component", case.components)
            ):  # fmt: skip
                allowed = enum_values(IssueAnalysis.model_fields[field].annotation)
                yield from (
                    f"{value!r} is none of {', '.join(allowed)}"
                    for value in values
                    if value not in allowed
                )
            expected = (
                case.kinds,
                case.priorities,
                case.missing,
                case.answer,
                case.quotes,
                case.must_not,
            )
            if not any(expected):
                yield "it expects nothing"
        case WorkflowCase():
            texts = [line for _, lines in case.log for line in lines]
            for quote in case.quotes:
                if (times := texts.count(quote)) != 1:
                    yield f"quotes: the line {quote!r} occurs {times} times in the log"
            if case.failed not in [name for name, _ in case.log]:
                yield f"failed: the log has no step {case.failed!r}"
            if case.worth_saying and not (case.quotes and case.cause):
                yield "a case that is worth saying needs quotes and a cause"


def _pull_request_problems(case: PullRequestCase) -> Iterator[str]:
    paths = [file.path for file in case.files]
    if len(set(paths)) < len(paths):
        yield "the diff names a file twice"
    hunks: dict[str, tuple[Hunk, ...]] = {}
    for file in case.files:
        hunks[file.path] = parse_patch(file.patch or "").hunks
        if not hunks[file.path]:
            yield f"{file.path}: it has no patch"
    if not case.defects and not case.traps:
        yield "a clean case needs a trap: a finding that it tempts to"
    places = [(defect.about, place) for defect in case.defects for place in defect.places]
    places += [(remark.about, remark.place) for remark in (*case.tolerated, *case.traps)]
    for about, place in places:
        lines = [line for hunk in hunks.get(place.path, ()) for line in hunk.lines]
        yield from (f"{about!r}: {problem}" for problem in _place_problems(place, lines))
    types = enum_values(PullRequestAnalysis.model_fields["type"].annotation)
    yield from (
        f"{value!r} is none of {', '.join(types)}" for value in case.types if value not in types
    )
    for defect in case.defects:
        if not defect.places or not defect.categories:
            yield f"{defect.about!r}: it needs a place and a category"
    yield from _repository_problems(case, hunks)


def _repository_problems(
    case: PullRequestCase, hunks: Mapping[str, Sequence[Hunk]]
) -> Iterator[str]:
    lines = {path: text.split("\n") for path, text in case.repository.items()}
    new = {
        path: [line for hunk in hunks[path] for line in hunk.lines if line.side == "RIGHT"]
        for path in hunks
    }
    for path, shown in new.items() if lines else ():
        if any(lines.get(path, [])[line.number - 1 : line.number] != [line.text] for line in shown):
            yield f"{path}: its lines in the repository are not those of the diff"
    for place in case.needs:
        if lines.get(place.path, [])[place.line - 1 : place.line] != [place.quote]:
            yield f"needs: the quote {place.quote!r} is not line {place.line} of {place.path}"
        if place.line in [line.number for line in new.get(place.path, ())]:
            yield f"needs: the diff shows {place.path}:{place.line}"


def _place_problems(place: Place, lines: Sequence[Line]) -> Iterator[str]:
    quoted = [line for line in lines if line.text == place.quote]
    if not lines:
        yield f"there is no file {place.path}"
    elif len(quoted) != 1:
        yield f"the quote {place.quote!r} occurs {len(quoted)} times in {place.path}"
    elif (quoted[0].side, quoted[0].number) != (place.side, place.line):
        yield (
            f"the quote is at {quoted[0].side} {quoted[0].number}, not at {place.side} {place.line}"
        )


def counts_by_kind(cases: Iterable[Case]) -> Mapping[Kind, int]:
    found = [case.kind for case in cases]
    return {kind: found.count(kind) for kind in get_args(Kind)}
