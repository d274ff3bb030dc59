"""Repository settings: the file `.github/hls.yaml` of a repository, and `hls.yaml` of its
organisation.

Anyone who can push to the default branch can write such a file. Therefore each key is harmless or
switches something off, `${NAME}` is not expanded, and the file cannot allow what the operator's
settings forbid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, create_model

from hls_handler.errors import SettingsError
from hls_handler.settings.problems import Kind, Sentence
from hls_handler.settings.reference import Reference, explain, find_empty_keys
from hls_handler.settings.sections import RepositoryEntry
from hls_handler.settings.values import EventKey, Expected, PathGlob, Section
from hls_handler.settings.yaml_parser import Sources, decode, iter_leaves, parse_tree, value_at

PATH = ".github/hls.yaml"
MISNAMED_PATH = ".github/hls.yml"
ORGANIZATION_PATH = "hls.yaml"
"""The file in the organisation's repository `.github`, for all repositories of the organisation."""

MAX_BYTES = 65_536
MAX_VALUES = 1_000
"""Limit on the number of values in the file."""

MAX_VALUE_CHARS = 500
"""Limit on the characters of one key or value."""

MAX_PROBLEMS = 20
"""Limit on the problems that are reported."""

Limit = Literal["none", "off", "lower", "higher", "less severe", "joined", "by file"]
"""How a value of the file applies to the operator's value of the same key.

- `none`: it replaces the operator's.
- `off`: only false applies.
- `lower`, `higher`, `less severe`: it applies if it is so, compared with the operator's.
- `joined`: the lists of the operator and of all files apply together.
- `by file`: `apply_repository_settings` keeps the values of the files apart.
"""

_OnlyFalse = Annotated[Literal[False], Expected("false")]


@dataclass(frozen=True, slots=True)
class RepositoryKey:
    """A key that the file may contain."""

    path: str  # "labels.create"
    limit: Limit
    meaning: str
    type: Any = None  # None: that of the same key of an entry of `repositories`


REPOSITORY_KEYS = (
    RepositoryKey("enabled", "off", "false: HLS ignores the repository"),
    RepositoryKey(
        "labels.create", "off", "false: labels that the repository lacks are not created"
    ),
    RepositoryKey(
        "labels.allow",
        "by file",
        "globs of labels that may be set, among those that the operator allows",
    ),
    RepositoryKey(
        "labels.deny",
        "joined",
        "globs of labels that are never set, besides those of the operator",
    ),
    RepositoryKey(
        "labels.suggest", "off", "false: none of the repository's own labels are suggested"
    ),
    RepositoryKey(
        "labels.min_confidence",
        "higher",
        "least confidence with which a suggested label is set, if higher than the operator's",
    ),
    RepositoryKey("comments.language", "none", "language that HLS writes in"),
    RepositoryKey("comments.tone", "none", "neutral, friendly or formal"),
    RepositoryKey("comments.length", "none", "short, normal or detailed"),
    RepositoryKey("comments.summary", "none", "on_findings or always: when there is a comment"),
    RepositoryKey("comments.layout", "none", "list or table: how comments show findings"),
    RepositoryKey(
        "comments.agent_prompt",
        "none",
        "true: the summary of a review has its open findings as a prompt for a coding agent",
    ),
    RepositoryKey("features.auto_labeling", "off", "false: no labels are set"),
    RepositoryKey("features.auto_commenting", "off", "false: no comments are written"),
    RepositoryKey(
        "prompts.use",
        "by file",
        "which prompt of the operator's library an event uses; false: the event is ignored",
        Mapping[
            EventKey,
            Annotated[
                Annotated[str, Field(min_length=1)] | Literal[False],
                Expected("the name of one of the operator's prompts, or false"),
            ],
        ],
    ),
    RepositoryKey(
        "paths.ignore",
        "joined",
        "globs of files in pull requests that Claude is not shown, besides the operator's;"
        " at most 100",
        Annotated[tuple[PathGlob, ...], Field(max_length=100)],
    ),
    RepositoryKey("findings.min_severity", "none", "least severe finding that a comment shows"),
    RepositoryKey("findings.min_confidence", "none", "least certain finding that a comment shows"),
    RepositoryKey(
        "review.max_inline",
        "lower",
        "most comments of one review on lines, if fewer than the operator's",
    ),
    RepositoryKey(
        "review.verify", "off", "false: findings are not verified before they are posted"
    ),
    RepositoryKey(
        "review.guidance", "off", "false: reviews do not read .github/hls.md and AGENTS.md"
    ),
    RepositoryKey(
        "review.fail_on",
        "less severe",
        "least severe open finding that makes the check fail, if less severe than the operator's",
    ),
    RepositoryKey("pull_requests.title", "off", "false: titles are not checked", _OnlyFalse),
    RepositoryKey("pull_requests.title_types", "none", "types of conventional titles, at most 20"),
    RepositoryKey(
        "pull_requests.reviewers",
        "off",
        "false: no reviewers are suggested or requested",
        _OnlyFalse,
    ),
    RepositoryKey(
        "retrieval.enabled",
        "off",
        "false: no document of the repository is indexed or shown to Claude",
    ),
)

_REDUCING_LISTS = {
    key.path: key.limit == "joined"
    for key in REPOSITORY_KEYS
    if key.limit == "joined" or key.path == "labels.allow"
}
"""Lists that only reduce -> whether those of several files apply together."""

_SECTIONS = {
    "labels": "limits on labels",
    "comments": "how comments are written",
    "features": "features that are switched off",
    "prompts": "prompts by event",
    "paths": "files that are left out",
    "findings": "which findings are shown",
    "review": "limits on reviews",
    "pull_requests": "titles of pull requests",
    "retrieval": "limits on retrieval",
}


def _make_model() -> type[Section]:
    """Return the model of the file: all keys of the table, each optional."""
    fields: dict[str, dict[str, Any]] = {"": {}, **{section: {} for section in _SECTIONS}}
    for key in REPOSITORY_KEYS:
        section, _, name = key.path.rpartition(".")
        kind = key.type or _find_operators_type(section, name)
        fields[section][name] = (kind, Field(None, description=key.meaning))
    top = fields.pop("")
    for section, meaning in _SECTIONS.items():
        model = create_model(section, __base__=Section, **fields[section])
        top[section] = (model, Field(default_factory=model, description=meaning))
    return create_model("RepositoryFile", __base__=Section, **top)


def _find_operators_type(section: str, name: str) -> Any:
    model: Any = RepositoryEntry
    if section:
        model = RepositoryEntry.model_fields[section].annotation
    field = model.model_fields[name]
    if field.metadata:
        return Annotated[field.annotation, *field.metadata]
    return field.annotation


REPOSITORY_FILE = _make_model()


def parse_values(root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the valid values of the keys that are set, as a tree: {"labels": {"create": False}}.

    Raises `ValidationError`.
    """
    return REPOSITORY_FILE.model_validate(root).model_dump(exclude_unset=True)


def _freeze(value: Any) -> Any:
    """Return a copy of a tree whose lists are tuples."""
    if isinstance(value, Mapping):
        return {key: _freeze(item) for key, item in value.items()}
    return tuple(value) if isinstance(value, list) else value


@dataclass(frozen=True, slots=True)
class RepositorySettings:
    """A parsed settings file: the settings that apply, and the problems of the file."""

    # {"labels": {"create": False}}; a checkpoint has lists in place of tuples
    values: Annotated[Mapping[str, Any], AfterValidator(_freeze)] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)  # key path -> line: "labels.allow" -> 3
    # ".github/hls.yaml:3: labels.alow: unknown key; did you mean labels.allow?"
    problems: tuple[str, ...] = ()
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


def parse_repository_file(
    text: str, file: str = PATH, last_valid: RepositorySettings = EMPTY_REPOSITORY_SETTINGS
) -> RepositorySettings:
    """Parse the text of a settings file. Problems are returned, not raised.

    A file with problems never allows more than its valid part or `last_valid` does: its keys
    without a mistake apply over those of `last_valid`, and the valid entries of its joined lists
    beside those of `last_valid`. If `labels.allow` has no valid entry, no label is allowed.
    """
    try:
        tree = parse_tree(
            text, file, max_values=MAX_VALUES, max_chars=MAX_VALUE_CHARS, is_literal=True
        )
    except SettingsError as exc:
        return replace(last_valid, problems=exc.problems, file=file)
    root = {} if tree.root is None else tree.root
    if not isinstance(root, dict):
        sections = ", ".join(f"{name}:" for name in REPOSITORY_FILE.model_fields)
        problem = f"{file}:1: the file must have some of the keys {sections}"
        return replace(last_valid, problems=(problem,), file=file)
    problems = dict(find_empty_keys(root, Reference(REPOSITORY_FILE)))
    try:
        values = parse_values(root)
    except ValidationError as error:
        problems = _explain(error, root) | problems
        values = _parse_valid(_without_mistakes(root, error))
    lines = tree.format_problems(problems | tree.rejected)
    if not lines:
        return RepositorySettings(values, tree.lines, file=file)
    values = _merge(values, _list_valid_entries(root, last_valid.values))
    return RepositorySettings(
        _merge(last_valid.values, values),
        _merge_lines(last_valid.lines, tree.lines, values),
        limit_problems(lines),
        file,
    )


def limit_problems(problems: Sequence[str]) -> tuple[str, ...]:
    """Return the first problems, and how many there are besides."""
    if len(problems) <= MAX_PROBLEMS:
        return tuple(problems)
    return (*problems[:MAX_PROBLEMS], f"and {len(problems) - MAX_PROBLEMS} more")


def _explain(error: ValidationError, root: object) -> dict[str, Sentence]:
    operators = Reference()
    sentences = explain(error, root, {}, Reference(REPOSITORY_FILE))
    for path, sentence in sentences.items():
        is_operators = operators.find(path) or operators.find(f"repositories[].{path}")
        if sentence.kind is Kind.UNKNOWN_KEY and is_operators:
            reason = "can only be set by the operator, in HLS's own settings; remove it"
            sentences[path] = Sentence(reason, Kind.UNKNOWN_KEY)
    return sentences


def _parse_valid(root: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        return parse_values(root)
    except ValidationError as error:  # a map without its keys may be a mistake, too
        return _parse_valid(_without_mistakes(root, error))


def _without_mistakes(root: Mapping[str, Any], error: ValidationError) -> Mapping[str, Any]:
    """Return a copy of the file without each key that has a mistake, such as `labels.allow`."""
    valid = deepcopy(dict(root))
    for detail in error.errors(include_url=False):
        *sections, name = _find_key(root, detail["loc"])
        keys = valid
        for section in sections:
            keys = keys.get(section, {})  # removed because of another mistake
        keys.pop(name, None)
    return valid


def _find_key(root: Mapping[str, Any], steps: Sequence[str | int]) -> list[str]:
    """Return the names in the file that lead to the innermost key of an error."""
    names = []
    value: Any = root
    for step in steps:
        if not isinstance(value, dict) or step not in value:
            break
        names.append(str(step))
        value = value[step]
    return names


def _list_valid_entries(
    root: Mapping[str, Any], last_valid: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return the entries that apply of each list of a file with mistakes that only reduces:
    {"paths": {"ignore": ("secrets/**",)}}. Texts in place of a list are one entry, but allow none.
    """
    lists: dict[str, dict[str, Any]] = {}
    for path, is_joined in _REDUCING_LISTS.items():
        section, _, name = path.partition(".")
        keys = root.get(section)
        if not isinstance(keys, dict) or name not in keys:
            continue
        entries = keys[name]
        last_entries: Any = value_at(last_valid, path) or ()
        if isinstance(entries, list):
            valid = _find_valid_entries(section, name, entries)
        elif is_joined:
            valid = _find_valid_entries(section, name, [entries])
        else:
            valid = last_entries
        if is_joined:
            valid = tuple(dict.fromkeys((*last_entries, *valid)))
        lists.setdefault(section, {})[name] = valid
    return lists


def _find_valid_entries(section: str, name: str, entries: Sequence[Any]) -> tuple[Any, ...]:
    valid: list[Any] = []
    for entry in entries:
        with suppress(ValidationError):
            valid += parse_values({section: {name: [entry]}})[section][name]
    return tuple(valid)


def _merge_lines(
    last_valid: Mapping[str, int], current: Mapping[str, int], values: Mapping[str, Any]
) -> Mapping[str, int]:
    """Return the lines of `last_valid`; of `values`, which are from the current file, its lines."""
    lines = dict(last_valid)
    for path, _ in iter_leaves(values):
        for key in (path.partition("[")[0], path):  # also the list that a value is in
            lines[key] = current.get(key, 1)
    return lines


def _merge(values: Mapping[str, Any], over: Mapping[str, Any]) -> Mapping[str, Any]:
    merged = {**values, **over}
    for key, value in over.items():
        if isinstance(value, Mapping):
            merged[key] = _merge(values.get(key, {}), value)
    return merged


@dataclass(frozen=True, slots=True)
class RepositorySettingsFile:
    """A settings file that was read for one delivery, and the settings that apply."""

    settings: RepositorySettings  # settings that apply, and the problems of the current file
    version: str | None  # blob SHA of the current file; None: there is no file
    # blob SHA of the last valid version, which has the values of keys with a mistake; None: none
    valid_version: str | None = None
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
        applies = f"{name} ({self.version[:10]}) applies on top of the settings"
        if not self.settings.problems:
            return applies
        applies += ", except for its mistakes"
        if self.valid_version:
            applies += f", where the last good version ({self.valid_version[:10]}) does"
        return f"{applies}: {'; '.join(self.settings.problems)}"


@dataclass(frozen=True, slots=True)
class FileProblems:
    """The problems of a version of `.github/hls.yaml`, or of the guidance for reviews."""

    path: str
    version: str
    problems: Sequence[str]
