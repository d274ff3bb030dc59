"""The settings that a repository has of its own, `.github/hls.yaml`: what of an entry of `repositories` it may say.

Whoever may push to the default branch writes it, and that is not the operator. So it has the keys that steer comfort
and silence alone, nothing in it is filled in from variables, and it is laid over what the operator says with care
(`settings/effective.py`): switches and labels only ever become fewer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from hls_handler.analysis import Severity
from hls_handler.errors import SettingsError
from hls_handler.settings.expand import VARIABLE
from hls_handler.settings.explain import explain, unknown_key
from hls_handler.settings.github_events import complaint
from hls_handler.settings.globs import flaw_of
from hls_handler.settings.model import Confidence, Expected, Language, Length, Section, Tone
from hls_handler.settings.reference import Reference
from hls_handler.settings.sources import Tree, decode, leaves, parse_tree

PATH = ".github/hls.yaml"
MAX_BYTES = 65_536
MOST_VALUES = 1_000
"""Keys, values and brackets of the file together: it is written by people, for one repository."""

LONGEST_VALUE = 500
"""Characters of one key or value."""

MOST_PROBLEMS = 20
"""So many are named; a file with more of them is not one that was meant for us."""

OwnPromptUse = Annotated[
    Annotated[str, Field(min_length=1)] | Literal[False], Expected("the name of a prompt of the operator's, or false")
]


class OwnLabels(Section):
    create: bool | None = Field(None, description="false: labels that the repository lacks are not created")
    allow: tuple[str, ...] | None = Field(
        None, description="globs of labels that may be set; those that the operator does not allow are not, even so"
    )


class OwnComments(Section):
    language: Language | None = Field(None, description="language that HLS writes in")
    tone: Tone | None = Field(None, description="neutral, friendly or formal")
    length: Length | None = Field(None, description="short, normal or detailed")


class OwnFeatures(Section):
    auto_labeling: bool | None = Field(None, description="false: no labels are set")
    auto_commenting: bool | None = Field(None, description="false: no comments are written")


class OwnPrompts(Section):
    use: Mapping[str, OwnPromptUse] = Field(
        default_factory=dict,
        description="which prompt of the operator's library an event uses; false leaves the event alone",
    )


class OwnPaths(Section):
    ignore: tuple[str, ...] = Field(
        (),
        max_length=100,
        description="globs of files in pull requests that Claude is not shown, beside the operator's; at most 100",
    )


class OwnFindings(Section):
    min_severity: Severity | None = Field(None, description="least severe finding that a comment shows")
    min_confidence: Confidence | None = Field(None, description="least certain finding that a comment shows")


class RepositoryFile(Section):
    """The whole file."""

    enabled: bool = Field(True, description="false: HLS leaves the repository alone")
    labels: OwnLabels = Field(default_factory=OwnLabels, description="fewer labels")
    comments: OwnComments = Field(default_factory=OwnComments, description="how comments are written")
    features: OwnFeatures = Field(default_factory=OwnFeatures, description="what HLS does at all")
    prompts: OwnPrompts = Field(default_factory=OwnPrompts, description="which prompt is for which event")
    paths: OwnPaths = Field(default_factory=OwnPaths, description="files that are left out")
    findings: OwnFindings = Field(default_factory=OwnFindings, description="which findings are shown")


@dataclass(frozen=True, slots=True)
class OwnSettings:
    """What a repository's file says, and what is wrong with it."""

    says: RepositoryFile = field(default_factory=RepositoryFile)
    lines: Mapping[str, int] = field(default_factory=dict)  # "labels.allow" -> 3
    problems: tuple[str, ...] = ()  # ".github/hls.yaml:3: labels.alow: unknown key; did you mean labels.allow?"


NOTHING_SAID = OwnSettings()

_BOOLEAN = TypeAdapter(bool)


def text_of(content: bytes, file: str = PATH) -> str:
    """The text of the file. Raises `SettingsError` for what is too large, or no text that YAML takes."""
    return decode(content, file, most_bytes=MAX_BYTES)


def read_repository_file(text: str, file: str = PATH) -> OwnSettings:
    """What a text that `text_of` gave says; never raises.

    With problems, it says no more than the silence that could be read: who wanted to be left alone is, mistakes
    elsewhere in the file or not.
    """
    too_much = _too_much(text)
    if too_much is not None:
        line, said = too_much
        return OwnSettings(problems=(f"{file}:{line}: {said}",))
    try:
        tree = parse_tree(text, file)
    except SettingsError as exc:
        return OwnSettings(problems=exc.problems)
    root = {} if tree.root is None else tree.root
    if not isinstance(root, dict):
        sections = ", ".join(f"{name}:" for name in RepositoryFile.model_fields)
        return OwnSettings(problems=(f"{file}:1: expected some of {sections}",))
    problems = dict(_problems(root))
    says = None
    try:
        says = RepositoryFile.model_validate(root)
    except ValidationError as error:
        problems = {**problems, **_explained(error, root)}
    problems |= tree.refused
    told = _in_order(tree, problems)
    if told or says is None:
        return OwnSettings(_silence(root), tree.lines, told)
    return OwnSettings(says, tree.lines)


def _too_much(text: str) -> tuple[int, str] | None:
    """Line and sentence of what is not even looked into: a stranger to the operator must not make much of little."""
    count = 0
    try:
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            line = token.start_mark.line + 1
            if isinstance(token, yaml.AnchorToken | yaml.AliasToken):
                return line, "anchors (&name) and aliases (*name) are not possible here; write the value itself"
            if isinstance(token, yaml.ScalarToken) and len(token.value) > LONGEST_VALUE:
                return line, f"has more than {LONGEST_VALUE} characters in one key or value"
            if isinstance(token, yaml.ScalarToken | yaml.FlowSequenceStartToken | yaml.FlowMappingStartToken):
                count += 1
            if count > MOST_VALUES:
                return line, f"has more than {MOST_VALUES:,} keys and values"
    except yaml.YAMLError:
        return None  # whoever parses it says what is wrong
    return None


def allowed_keys() -> tuple[str, ...]:
    """Every key of the file, "labels.allow", in its order."""
    return tuple(key.path for key in Reference(RepositoryFile).keys)


def _problems(root: dict[str, object]) -> Iterator[tuple[str, str]]:
    """What types do not tell, by key path. Of a value that has the wrong type the model tells."""
    for path, value in leaves(root):
        if isinstance(value, str) and VARIABLE.search(value):
            yield path, "holds ${...}; nothing is filled in here, write the value itself"
    use = _at(root, "prompts", "use")
    for event in use if isinstance(use, dict) else ():
        wrong = complaint(event)
        if wrong:
            yield f"prompts.use.{event}", wrong
    ignored = _at(root, "paths", "ignore")
    for index, glob in enumerate(ignored if isinstance(ignored, list) else ()):
        flaw = flaw_of(glob) if isinstance(glob, str) else None
        if flaw:
            yield f"paths.ignore[{index}]", flaw


def _explained(error: ValidationError, root: object) -> dict[str, str]:
    """In sentences of ours. Of keys that the operator alone has it is said that they are the operator's."""
    reference, operators = Reference(RepositoryFile), Reference()
    sentences = explain(error, root, {}, reference)
    for found in error.errors(include_url=False, include_input=False, include_context=False):
        if found["type"] == "extra_forbidden":
            path = ".".join(map(str, found["loc"]))
            if operators.find(path) or operators.find(f"repositories[].{path}"):
                sentences[path] = "is the operator's, and stands in HLS's own settings only; remove it"
            else:
                *section, name = map(str, found["loc"])  # which may have dots in it
                sentences[path] = unknown_key(".".join(section), name, reference)
    return sentences


def _silence(root: dict[str, object]) -> RepositoryFile:
    """Of a file with mistakes: what it switches off, as it would be read in a file without."""
    off = {key: False for key in OwnFeatures.model_fields if _is_no(_at(root, "features", key))}
    use = _at(root, "prompts", "use")
    left_alone = {event: False for event, name in use.items() if name is False} if isinstance(use, dict) else {}
    labels = {"create": False} if _is_no(_at(root, "labels", "create")) else {}
    return RepositoryFile(
        enabled=not _is_no(root.get("enabled")),
        labels=OwnLabels.model_validate(labels),
        features=OwnFeatures.model_validate(off),
        prompts=OwnPrompts.model_validate({"use": left_alone}),
    )


def _is_no(value: object) -> bool:
    """Whether the model takes a value for false: `no` in quotes, too."""
    try:
        return _BOOLEAN.validate_python(value) is False
    except ValidationError:
        return False


def _at(root: dict[str, object], section: str, key: str) -> object:
    found = root.get(section)
    return found.get(key) if isinstance(found, dict) else None


def _in_order(tree: Tree, of_keys: Mapping[str, str]) -> tuple[str, ...]:
    placed = [*tree.problems, *((tree.sources.line(key) or 1, f"{key}: {said}") for key, said in of_keys.items())]
    told = [f"{tree.file}:{line}: {said}" for line, said in sorted(placed)]
    more = len(told) - MOST_PROBLEMS
    return (*told[:MOST_PROBLEMS], *([f"and {more} more"] if more > 0 else []))


def in_force(now: OwnSettings, last_good: OwnSettings) -> OwnSettings:
    """What holds when the file says `now`: of one with problems its silence, and the last good one for the rest."""
    if not now.problems:
        return now
    off = {key: False for key in OwnFeatures.model_fields if getattr(now.says.features, key) is False}
    create = {} if now.says.labels.create is None else {"create": False}
    use = {**last_good.says.prompts.use, **now.says.prompts.use}
    says = last_good.says.model_copy(
        update={
            "enabled": now.says.enabled and last_good.says.enabled,
            "features": last_good.says.features.model_copy(update=off),
            "labels": last_good.says.labels.model_copy(update=create),
            "prompts": last_good.says.prompts.model_copy(update={"use": use}),
        }
    )
    silent = [
        *(f"features.{key}" for key in off),
        *([] if now.says.enabled else ["enabled"]),
        *(f"labels.{key}" for key in create),
        *(f"prompts.use.{event}" for event in now.says.prompts.use),
    ]
    lines = {**last_good.lines, **{key: now.lines.get(key, 1) for key in silent}}
    return OwnSettings(says, lines, now.problems)


@dataclass(frozen=True, slots=True)
class OwnFile:
    """A repository's file as it was when a delivery was worked on, and what of it held."""

    own: OwnSettings  # what holds; with the problems of the file as it is
    version: str | None  # of the file as it is: the blob's SHA; None: there is none
    broken: bool = False  # whether the file cannot be used: its silence holds, and the last good version
    good: str | None = None  # that version, where there was one
    unread: str | None = None  # why it could not be looked at, so that what was known of it holds

    def told(self) -> str | None:
        """For the operator, a sentence without its full stop; None where there is nothing to tell."""
        if self.unread is not None:
            rest = f"what it said before holds ({self.version[:10]})" if self.version else "nothing of it holds"
            return f"{PATH} could not be read, and {rest}: {self.unread}"
        if self.version is None:
            return None
        if not self.own.problems:
            return f"{PATH} ({self.version[:10]}) is laid over the settings"
        problems = "; ".join(self.own.problems)
        if not self.broken:
            return f"{PATH} ({self.version[:10]}) is laid over the settings but for what is wrong in it: {problems}"
        last = f"the version before ({self.good[:10]}) holds" if self.good else "nothing of it holds"
        return f"{PATH} ({self.version[:10]}) cannot be used, so {last}, but for what it switches off: {problems}"
