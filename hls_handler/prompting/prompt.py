"""The values `Prompt` and `Library`, and the source files of a prompt.

The values are immutable. When a file changes, a new `Library` is built.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from difflib import unified_diff
from hashlib import sha256
from pathlib import Path

from jinja2 import meta, nodes

from hls_handler.analysis import (
    ASSESSMENT,
    REPLY_TYPES,
    Prompt,
    ReplyFields,
    group_of,
    list_possible_labels,
)
from hls_handler.prompting.environment import AUTHOR_ERRORS, PromptEnvironment
from hls_handler.prompting.front_matter import BrokenTemplateError, Problem
from hls_handler.prompting.reply_fields import with_optional_fields
from hls_handler.prompting.source_files import (
    COMMENT_SUFFIX,
    SHARED_COMMENT,
    SHIPPED_FRONT_MATTER,
    SourceFile,
)
from hls_handler.settings.problems import Sentence
from hls_handler.settings.values import Assessed
from hls_handler.untrusted.cleaning import format_for_prompt
from hls_handler.untrusted.placeholders import Placeholders


@dataclass(frozen=True, slots=True)
class Family:
    """Template variables, recorded samples and reply types for the prompts of one event, such as
    "pull_request".
    """

    name: str  # folder of the prompts: "pull_requests" for the event "pull_request"
    # name -> type: {"issue": Issue}; the variables of `render.COMMON` are not in it
    variables: Mapping[str, object]
    # (name of the sample, {variable: value})
    samples: Callable[[], Iterable[tuple[str, Mapping[str, object]]]]
    # name -> type, for comment templates only
    comment_variables: Mapping[str, object] = field(default_factory=dict)
    replies: frozenset[str] = frozenset(REPLY_TYPES)  # reply types that the handler supports
    # whether the event can have an issue or pull request, which can carry labels
    carries_labels: bool = True
    rendered: set[tuple[str, ...]] = field(
        default_factory=set, init=False, repr=False, compare=False
    )
    """The contents that `LibraryCheck.smoke_render` found to be without a problem."""


SHIPPED_LIBRARY = "the shipped library"
NO_FILE = "/dev/null"
NO_NEWLINE = "\n\\ No newline at end of file"


@dataclass(frozen=True, slots=True)
class PromptSources:
    name: str  # "issues/analyze"
    front: str  # the front matter as written, without the fences
    front_file: str  # file of the front matter: a shipped file if the author's file has none
    # the template and those that it uses, then the comment template and those it uses
    sources: tuple[SourceFile, ...]

    @property
    def hash(self) -> str:
        """Return 64 hexadecimal digits, which depend on the names and the contents of the files."""
        digest = sha256(self.front.encode())
        for source in sorted(self.sources, key=lambda source: source.name):
            digest.update(f"\0{source.name}\0{source.text}".encode())
        return digest.hexdigest()

    @property
    def template(self) -> SourceFile:
        return self.sources[0]

    @property
    def numbered_front(self) -> Iterator[tuple[int, str]]:
        """Yield (line number in `front_file`, text) of each line of the front matter."""
        return enumerate(self.front.split("\n"), start=2)


def origin(prompt_sources: PromptSources, shipped: Path) -> str:
    """Return the template's file and origin, then the files of other origins, as text for the user.

    Example: "my-prompts/issues/analyze.j2, your own; from the shipped library: base.j2".
    """
    template = prompt_sources.template
    home = _library_of(template.file, template.name, shipped)
    is_shipped = home == SHIPPED_LIBRARY
    parts = [("front matter", prompt_sources.front_file, template.name)]
    for source in prompt_sources.sources:
        part = source.name
        if part in (f"{prompt_sources.name}{COMMENT_SUFFIX}", SHARED_COMMENT):
            part = "comment"
        parts.append((part, source.file, source.name))
    others: dict[str, list[str]] = {}
    for part, file, name in parts:
        folder = _library_of(file, name, shipped)
        if folder != home:
            place = "your own" if is_shipped else f"from {folder}"
            others.setdefault(place, []).append(part)
    elsewhere = [f"{place}: {', '.join(names)}" for place, names in others.items()]
    where = "in the shipped library" if is_shipped else "your own"
    return "; ".join([f"{template.file}, {where}", *elsewhere])


def _library_of(file: str, name: str, shipped: Path) -> str:
    path = Path(file).resolve()
    if path.is_relative_to(shipped.resolve()) or path.is_relative_to(SHIPPED_FRONT_MATTER):
        return SHIPPED_LIBRARY
    return file.removesuffix(name).rstrip("/") or "/"


def diff_texts(old: tuple[str, str] | None, new: tuple[str, str] | None) -> list[str]:
    """Return the lines of a unified diff of two files (name, text); [] if they are equal. None:
    there is no file.
    """
    old_file, old_text = old or (NO_FILE, "")
    new_file, new_text = new or (NO_FILE, "")
    before = _split_lines(old_text)
    after = _split_lines(new_text)
    lines = list(unified_diff(before, after, old_file, new_file, lineterm=""))
    # only one prompt has this file, and the file is empty
    if not lines and (old is None or new is None):
        return [f"--- {old_file}", f"+++ {new_file}"]
    return lines


def _split_lines(text: str) -> list[str]:
    *lines, last = text.split("\n")
    if last:
        lines.append(f"{last}{NO_NEWLINE}")
    return lines


@dataclass(frozen=True, slots=True)
class Condition:
    """The compiled expression `then.when` of a prompt. It decides whether the follow-up prompt
    runs.
    """

    expression: Callable[..., object]
    file: str
    line: int

    def holds(self, reply: ReplyFields) -> bool:
        """Return True if the expression is true for a reply. Raises `BrokenTemplateError` if the
        evaluation fails.
        """
        # the result is a boolean, so no text is inserted
        placeholders = Placeholders(key=b"", show=format_for_prompt)
        analysis = placeholders.convert(reply)
        try:
            return bool(self.expression(analysis=analysis))
        except AUTHOR_ERRORS as exc:
            raise BrokenTemplateError(Problem(self.file, self.line, f"then.when: {exc}")) from exc


@dataclass(frozen=True, slots=True)
class Library:
    prompts: Mapping[str, Prompt]
    # the templates, with the filters for prompts
    environment: PromptEnvironment = field(repr=False)
    # the templates, with the filters for comments
    comment_environment: PromptEnvironment = field(repr=False)
    # prompt name -> template: "issues/analyze.comment.md.j2"
    comments: Mapping[str, str] = field(repr=False)
    conditions: Mapping[str, Condition] = field(repr=False)  # prompt name -> its `then.when`
    sources: Mapping[str, PromptSources] = field(repr=False)  # prompt name -> its files
    names_read: Mapping[str, Set[str]] = field(repr=False)
    """Prompt name -> the variables and attributes that its templates read: {"files",
    ".numbered"}.
    """
    appended: Mapping[str, Mapping[str, str]] = field(repr=False)
    """Prompt name -> variables that its templates do not read, with the template that is appended
    for each.
    """
    # likely mistakes that do not prevent the use of the library, with file and line
    warnings: tuple[Sentence, ...] = ()

    def on(self, event_key: str) -> tuple[str, ...]:
        """Return the prompts whose `on` has `event_key`, without those that follow another one of
        them.
        """
        names = [name for name, prompt in self.prompts.items() if event_key in prompt.on]
        followers: set[str] = set()
        for name in names:
            followers.update(self.followers(name))
        return tuple(name for name in names if name not in followers)

    def followers(self, name: str) -> tuple[str, ...]:
        """Return the follow-up prompts of `name`: the prompt in its `then`, the prompt in that
        prompt's `then`, etc.
        """
        followers: list[str] = []
        then = self.prompts[name].then
        while then is not None and then.prompt in self.prompts and then.prompt not in followers:
            followers.append(then.prompt)
            then = self.prompts[then.prompt].then
        return tuple(followers)

    def leading_to(self, name: str) -> tuple[str, ...]:
        """Return the prompts of which `name` is a follow-up prompt: its predecessors, their
        predecessors, etc.
        """
        return tuple(other for other in self.prompts if name in self.followers(other))

    def predecessors(self, name: str) -> tuple[str, ...]:
        return tuple(
            other
            for other, prompt in self.prompts.items()
            if prompt.then and prompt.then.prompt == name
        )

    def events(self, name: str, families: Mapping[str, Family]) -> tuple[str, ...]:
        """Return the event keys in the `on` of a prompt, and in the `on` of all prompts that lead
        to it by `then`.

        If there are none, only settings can choose the prompt: return the events of its folder.
        """
        keys: dict[str, None] = {}
        for other in (name, *self.leading_to(name)):
            keys |= dict.fromkeys(self.prompts[other].on)
        if keys:
            return tuple(keys)
        folder = name.rpartition("/")[0]
        return tuple(event for event, family in families.items() if family.name == folder)

    def find_next_prompt(self, name: str, reply: ReplyFields) -> str | None:
        """Return `then.prompt` if `then.when` is true for the reply, else None. Raises as
        `Condition.holds` does.
        """
        then = self.prompts[name].then
        if then is None or not self.conditions[name].holds(reply):
            return None
        return then.prompt

    def label_groups(self, event: str, assess: Collection[Assessed] = ()) -> Mapping[str, str]:
        """Return {label in lower case: group} of all labels that replies about an event can set:
        {"bug": "kind"}.

        `assess` is the setting `labels.assess`.
        """
        optional = ASSESSMENT if "pull_requests" in assess else ()
        names: dict[str, None] = {}
        for name, prompt in self.prompts.items():
            if event in {key.partition(".")[0] for key in prompt.on}:
                names |= dict.fromkeys((name, *self.followers(name)))
        groups: dict[str, str] = {}
        for name in names:
            model = with_optional_fields(self.prompts[name].reply_model, optional)
            for field_name, rule in model.label_rules.items():
                hint = model.model_fields[field_name].annotation
                for label in list_possible_labels(rule, hint):
                    groups[label.casefold()] = group_of(field_name, hint, label)
        return groups

    def references(self, source: SourceFile) -> tuple[str, ...]:
        """Return the names of the templates that a file itself extends, includes or imports:
        ("base.j2",).
        """
        references = meta.find_referenced_templates(self.environment.parse(source.template))
        return tuple(dict.fromkeys(name for name in references if name is not None))

    def used_variables(self, name: str) -> frozenset[str]:
        """Return the names in `config.NAME` of a prompt's templates, except those that are tested
        with `is defined`.
        """
        used: set[str] = set()
        optional: set[str] = set()
        for source in self.sources[name].sources:
            if "config" not in source.template:
                continue
            tree = self.environment.parse(source.template)
            for node in tree.find_all(nodes.Getattr):
                if isinstance(node.node, nodes.Name) and node.node.name == "config":
                    used.add(node.attr)
            for test in tree.find_all(nodes.Test):
                if test.name in ("defined", "undefined") and isinstance(test.node, nodes.Getattr):
                    optional.add(test.node.attr)
        return frozenset(used - optional)

    def uses(self, name: str, variable: str) -> bool:
        """Return True if a template of the prompt or of its follow-ups reads a variable, or an
        attribute (".numbered").

        Templates of comments and templates that are appended are included.
        """
        names = (name, *self.followers(name))
        return any(
            variable in self.names_read[template] or variable in self.appended[template]
            for template in names
        )

    def file(self, name: str) -> str:
        return self.prompts[name].path
