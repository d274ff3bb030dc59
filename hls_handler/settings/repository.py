"""Repository settings: the file `.github/hls.yaml` of a repository, and `hls.yaml` of its
organisation.

Anyone who can push to the default branch can write such a file. Therefore each key is harmless or
switches something off, `${NAME}` is not expanded, and the file cannot allow what the operator's
settings forbid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from hls_handler.actions import EnsureComment
from hls_handler.analysis import Severity
from hls_handler.errors import SettingsError
from hls_handler.settings.github_events import find_event_problem
from hls_handler.settings.reference import Reference, explain
from hls_handler.settings.values import (
    Confidence,
    Expected,
    Integer,
    LabelGlob,
    Language,
    Layout,
    Length,
    Section,
    Summary,
    TitleTypes,
    Tone,
    find_glob_problem,
    is_false,
)
from hls_handler.settings.yaml_parser import (
    VARIABLE,
    Sources,
    decode,
    iter_leaves,
    parse_tree,
    value_at,
)
from hls_handler.untrusted.markdown import sanitize_code_span

PATH = ".github/hls.yaml"
ORGANIZATION_PATH = "hls.yaml"
"""The file in the organisation's repository `.github`, for all repositories of the organisation."""

MAX_BYTES = 65_536
MAX_VALUES = 1_000
"""Limit on the number of values in the file."""

MAX_VALUE_CHARS = 500
"""Limit on the characters of one key or value."""

MAX_PROBLEMS = 20
"""Limit on the problems that are reported."""

LABEL_SWITCHES = ("create", "suggest")
REVIEW_SWITCHES = ("verify", "guidance", "linked_issues", "functions")
"""Keys of `labels` and of `review` that the file can switch off."""

RepositoryFilePromptUse = Annotated[
    Annotated[str, Field(min_length=1)] | Literal[False],
    Expected("the name of one of the operator's prompts, or false"),
]


class RepositoryFileLabels(Section):
    create: bool | None = Field(
        None, description="false: labels that the repository lacks are not created"
    )
    allow: tuple[LabelGlob, ...] | None = Field(
        None, description="globs of labels that may be set, among those that the operator allows"
    )
    deny: tuple[LabelGlob, ...] | None = Field(
        None, description="globs of labels that are never set, besides those of the operator"
    )
    suggest: bool | None = Field(
        None, description="false: none of the repository's own labels are suggested"
    )
    min_confidence: Confidence | None = Field(
        None,
        description=(
            "least confidence with which a suggested label is set, if higher than the operator's"
        ),
    )
    min_field_confidence: Confidence | None = Field(
        None, description="the same for the labels of the fields of an issue"
    )


class RepositoryFileComments(Section):
    language: Language | None = Field(None, description="language that HLS writes in")
    tone: Tone | None = Field(None, description="neutral, friendly or formal")
    length: Length | None = Field(None, description="short, normal or detailed")
    summary: Summary | None = Field(
        None, description="on_findings or always: when there is a comment"
    )
    layout: Layout | None = Field(None, description="list or table: how comments show findings")


class RepositoryFileFeatures(Section):
    auto_labeling: bool | None = Field(None, description="false: no labels are set")
    auto_commenting: bool | None = Field(None, description="false: no comments are written")


class RepositoryFilePrompts(Section):
    use: Mapping[str, RepositoryFilePromptUse] = Field(
        default_factory=dict,
        description=(
            "which prompt of the operator's library an event uses; false: the event is ignored"
        ),
    )


class RepositoryFilePaths(Section):
    ignore: tuple[str, ...] = Field(
        (),
        max_length=100,
        description=(
            "globs of files in pull requests that Claude is not shown, besides the operator's; at"
            " most 100"
        ),
    )


class RepositoryFileFindings(Section):
    min_severity: Severity | None = Field(
        None, description="least severe finding that a comment shows"
    )
    min_confidence: Confidence | None = Field(
        None, description="least certain finding that a comment shows"
    )


class RepositoryFileReview(Section):
    max_inline: Integer | None = Field(
        None,
        ge=0,
        le=50,
        description="most comments of one review on lines, if fewer than the operator's",
    )
    verify: bool | None = Field(
        None, description="false: findings are not verified before they are posted"
    )
    guidance: bool | None = Field(
        None, description="false: reviews do not read .github/hls.md and AGENTS.md"
    )
    linked_issues: bool | None = Field(None, description="false: reviews do not read linked issues")
    functions: bool | None = Field(
        None, description="false: reviews do not read lines above a hunk and other places"
    )
    fail_on: Severity | None = Field(
        None,
        description=(
            "least severe open finding that makes the check fail, if less severe than the"
            " operator's"
        ),
    )


class RepositoryFilePullRequests(Section):
    title: Literal[False] | None = Field(None, description="false: titles are not checked")
    title_types: TitleTypes | None = Field(
        None, description="types of conventional titles, at most 20"
    )
    reviewers: Literal[False] | None = Field(
        None, description="false: no reviewers are suggested or requested"
    )


class RepositoryFileRetrieval(Section):
    enabled: bool | None = Field(
        None, description="false: no document of the repository is indexed or shown to Claude"
    )


class RepositoryFile(Section):
    """The content of `.github/hls.yaml`, or of the organisation's file. A key that the file lacks
    has its default.
    """

    enabled: bool | None = Field(None, description="false: HLS ignores the repository")
    labels: RepositoryFileLabels = Field(
        default_factory=RepositoryFileLabels, description="limits on labels"
    )
    comments: RepositoryFileComments = Field(
        default_factory=RepositoryFileComments, description="how comments are written"
    )
    features: RepositoryFileFeatures = Field(
        default_factory=RepositoryFileFeatures, description="features that are switched off"
    )
    prompts: RepositoryFilePrompts = Field(
        default_factory=RepositoryFilePrompts, description="prompts by event"
    )
    paths: RepositoryFilePaths = Field(
        default_factory=RepositoryFilePaths, description="files that are left out"
    )
    findings: RepositoryFileFindings = Field(
        default_factory=RepositoryFileFindings, description="which findings are shown"
    )
    review: RepositoryFileReview = Field(
        default_factory=RepositoryFileReview, description="limits on reviews"
    )
    pull_requests: RepositoryFilePullRequests = Field(
        default_factory=RepositoryFilePullRequests, description="titles of pull requests"
    )
    retrieval: RepositoryFileRetrieval = Field(
        default_factory=RepositoryFileRetrieval, description="limits on retrieval"
    )


@dataclass(frozen=True, slots=True)
class RepositorySettings:
    """A parsed settings file: the settings that apply, and the problems of the file."""

    values: RepositoryFile = field(default_factory=RepositoryFile)
    lines: Mapping[str, int] = field(default_factory=dict)  # key path -> line: "labels.allow" -> 3
    problems: tuple[
        str, ...
    ] = ()  # ".github/hls.yaml:3: labels.alow: unknown key; did you mean labels.allow?"
    file: str = PATH  # as messages name it

    @property
    def sources(self) -> Sources:
        return Sources(self.file, self.lines)


EMPTY_REPOSITORY_SETTINGS = RepositorySettings()


def organization_file(owner: str) -> str:
    """Return how messages name the file of an organisation: "acme/.github: hls.yaml"."""
    return f"{owner}/.github: {ORGANIZATION_PATH}"


def decode_repository_file(content: bytes, file: str = PATH) -> str:
    """Decode a settings file. Raises `SettingsError` if it is too large, not UTF-8, or has control
    characters.
    """
    return decode(content, file, max_bytes=MAX_BYTES)


def parse_repository_file(text: str, file: str = PATH) -> RepositorySettings:
    """Parse the text of a settings file. Problems are returned, not raised.

    If there are problems, only keys that switch something off are used, so that a mistake elsewhere
    does not undo `enabled: false`.
    """
    try:
        tree = parse_tree(
            text, file, max_values=MAX_VALUES, max_chars=MAX_VALUE_CHARS, has_aliases=False
        )
    except SettingsError as exc:
        return RepositorySettings(problems=exc.problems, file=file)
    root = {} if tree.root is None else tree.root
    if not isinstance(root, dict):
        sections = ", ".join(f"{name}:" for name in RepositoryFile.model_fields)
        return RepositorySettings(
            problems=(f"{file}:1: the file must have some of the keys {sections}",), file=file
        )
    problems = dict(_find_problems(root))
    values = None
    try:
        values = RepositoryFile.model_validate(root)
    except ValidationError as error:
        problems = {**problems, **_explain(error, root)}
    lines = tree.format_problems(problems | tree.rejected)
    if lines or values is None:
        more = [f"and {len(lines) - MAX_PROBLEMS} more"] if len(lines) > MAX_PROBLEMS else []
        return RepositorySettings(
            _parse_switched_off(root), tree.lines, (*lines[:MAX_PROBLEMS], *more), file
        )
    return RepositorySettings(values, tree.lines, file=file)


def list_repository_keys() -> tuple[str, ...]:
    """Return the key paths that a repository settings file may contain, such as "labels.allow"."""
    return tuple(key.path for key in Reference(RepositoryFile).keys)


def _find_problems(root: dict[str, object]) -> Iterator[tuple[str, str]]:
    for path, value in iter_leaves(root):
        if isinstance(value, str) and VARIABLE.search(value):
            yield path, "contains ${...}; variables are not expanded here, write the value itself"
    use = value_at(root, "prompts.use")
    ignored = value_at(root, "paths.ignore")
    for event in use if isinstance(use, dict) else ():
        if problem := find_event_problem(event):
            yield f"prompts.use.{event}", problem
    for index, glob in enumerate(ignored if isinstance(ignored, list) else ()):
        if isinstance(glob, str) and (problem := find_glob_problem(glob)):
            yield f"paths.ignore[{index}]", problem


def _explain(error: ValidationError, root: object) -> dict[str, str]:
    reference = Reference(RepositoryFile)
    operator_reference = Reference()
    sentences = explain(error, root, {}, reference)
    for found in error.errors(include_url=False, include_input=False, include_context=False):
        path = ".".join(map(str, found["loc"]))
        is_operators = operator_reference.find(path) or operator_reference.find(
            f"repositories[].{path}"
        )
        if found["type"] == "extra_forbidden" and is_operators:
            sentences[path] = "can only be set by the operator, in HLS's own settings; remove it"
    return sentences


def _parse_switched_off(root: dict[str, object]) -> RepositoryFile:
    use = value_at(root, "prompts.use")
    ignored = (
        {event: False for event, name in use.items() if name is False}
        if isinstance(use, dict)
        else {}
    )
    off: dict[str, object] = {"prompts": {"use": ignored}}
    for section, keys in (
        ("features", RepositoryFileFeatures.model_fields),
        ("labels", LABEL_SWITCHES),
        ("pull_requests", ("title",)),
        ("retrieval", RepositoryFileRetrieval.model_fields),
    ):
        off[section] = {key: False for key in keys if is_false(value_at(root, f"{section}.{key}"))}
    return RepositoryFile.model_validate(
        off | ({"enabled": False} if is_false(root.get("enabled")) else {})
    )


def merge_with_last_valid(
    current: RepositorySettings, last_valid: RepositorySettings
) -> RepositorySettings:
    """Return a copy of `last_valid` in which everything that `current` switches off is off.

    `current` is from a later, invalid version of the file. The copy has the problems of `current`.
    """
    off = current.values.model_dump(exclude_unset=True)
    values = _merge(last_valid.values.model_dump(exclude_unset=True), off)
    lines = {**last_valid.lines, **{key: current.lines.get(key, 1) for key, _ in iter_leaves(off)}}
    return replace(current, values=RepositoryFile.model_validate(values), lines=lines)


def merge_files(*files: RepositorySettings) -> RepositoryFile:
    """Return the values of settings files; of each key, the value of the first file that has it."""
    merged: dict[str, Any] = {}
    for file in reversed(files):
        merged = _merge(merged, file.values.model_dump(exclude_none=True))
    return RepositoryFile.model_validate(merged)


def _merge(values: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    nested = {
        key: _merge(values.get(key, {}), value)
        for key, value in over.items()
        if isinstance(value, dict)
    }
    return {**values, **over, **nested}


@dataclass(frozen=True, slots=True)
class RepositorySettingsFile:
    """A settings file that was read for one delivery, and the settings that apply."""

    settings: RepositorySettings  # settings that apply, and the problems of the current file
    version: str | None  # blob SHA of the current file; None: there is no file
    is_invalid: bool = (
        False  # True: `valid_version` applies, except for what the current file switches off
    )
    valid_version: str | None = None  # blob SHA of the last valid version; None: there was none
    read_error: str | None = None  # why the file could not be read; the last known version applies

    def describe(self) -> str | None:
        """Return a sentence without full stop: ".github/hls.yaml (3f9c2a1b0d) applies on top of the
        settings".

        If the file has problems, the sentence lists them. If the file could not be read, the
        sentence gives the error instead. If there is no file, returns None.
        """
        name = self.settings.file
        if self.read_error is not None:
            rest = (
                f"the last known version ({self.version[:10]}) applies"
                if self.version
                else "it is ignored"
            )
            return f"{name} could not be read, so {rest}: {self.read_error}"
        if self.version is None:
            return None
        if not self.settings.problems:
            return f"{name} ({self.version[:10]}) applies on top of the settings"
        problems = "; ".join(self.settings.problems)
        if not self.is_invalid:
            return (
                f"{name} ({self.version[:10]}) applies on top of the settings, except for its"
                f" mistakes: {problems}"
            )
        applied = "only what it switches off applies"
        if self.valid_version:
            applied = (
                f"the last good version ({self.valid_version[:10]}) applies, plus what this one"
                " switches off"
            )
        return f"{name} ({self.version[:10]}) is invalid, so {applied}: {problems}"


PROBLEMS_COMMENT_FAMILY = "settings"

PROBLEMS_COMMENT = """\
**For the maintainers of this repository:** `{path}`, the settings file of HLS, has errors.

{problems}

Until they are fixed, HLS uses the last valid version, if there is one; what the file switches off stays off. Allowed \
keys: {keys}.

***

*Automatic comment by HLS, written once for each version of the file.*"""


def build_problems_comment(problems: Sequence[str]) -> EnsureComment:
    """Return the comment on GitHub that reports the problems of `.github/hls.yaml`.

    Problems may quote the file, which is untrusted. Therefore they are cleaned, redacted and shown
    as code.
    """
    lines = "\n".join(f"- `{sanitize_code_span(problem)}`" for problem in problems)
    keys = ", ".join(f"`{key}`" for key in list_repository_keys())
    body = PROBLEMS_COMMENT.format(path=PATH, problems=lines, keys=keys)
    return EnsureComment(PROBLEMS_COMMENT_FAMILY, body, create=True)
