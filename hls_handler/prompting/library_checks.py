"""Checks of a prompt library: the front matters' `on` and `then`, the names in templates, and the
smoke render.

The smoke render renders each prompt with recorded events. A follow-up prompt is also rendered with
sample replies of the prompts before it. Variables, filters and tests are checked in all branches,
attributes by the smoke render.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from itertools import combinations, product
from typing import Any

from jinja2 import TemplateSyntaxError, nodes

from hls_handler.analysis import REPLY_TYPES, SCORES, SUFFIX, Prompt, ReplyFields, is_worth_saying
from hls_handler.prompting.environment import (
    ALLOWED_ONLY_IN,
    RAW_ADVICE,
    TAG_ADVICE,
    TOO_SLOW,
    ParsedTemplates,
    PromptEnvironment,
    find_used_templates,
)
from hls_handler.prompting.front_matter import (
    BrokenTemplateError,
    Checked,
    Problem,
    problem_at,
    suggest_name,
)
from hls_handler.prompting.prompt import Condition, Family, Library
from hls_handler.prompting.render import COMMENT, COMMON, TASK, render, render_comment
from hls_handler.prompting.source_files import BASE, SourceFiles
from hls_handler.prompting.variables import has_members, iter_alternatives, sample_values
from hls_handler.settings.github_events import find_event_problem
from hls_handler.settings.problems import Kind
from hls_handler.settings.yaml_parser import Sources
from hls_handler.untrusted.placeholders import public_hints


def templates_of(templates: ParsedTemplates, name: str, comment: str | None) -> tuple[str, ...]:
    """Return the names of all templates that a prompt and its comment use. The first is the
    prompt's own template.
    """
    roots = [f"{name}{SUFFIX}", BASE]
    if comment is not None:
        roots.append(comment)
    parts: dict[str, None] = {}
    for root in roots:
        parts |= dict.fromkeys(find_used_templates(templates, root))
    return tuple(parts)


def compile_condition(
    templates: ParsedTemplates, when: str, lines: Sources, reply: object
) -> Checked[Condition | None]:
    """Compile the expression `when`. The condition is None after a syntax error.

    The names in `when` are checked against the type `reply`.
    """
    location = problem_at(lines, "then.when", "")
    try:
        tree = templates.environment.parse(f"{{{{ {when} }}}}")
        compiled = templates.environment.compile_expression(when, undefined_to_none=False)
    except TemplateSyntaxError as exc:
        message = f"then.when: {exc.message}; {TAG_ADVICE}"
        return Checked(None, [replace(location, message=message)])
    templates = ParsedTemplates(
        templates.environment, {"then.when": tree}, {"then.when": location.file}
    )
    unknown_names = check_names(templates, "then.when", {"analysis": reply})
    problems = [
        replace(location, message=f"then.when: {problem.message}") for problem in unknown_names
    ]
    return Checked(Condition(compiled, location.file, location.line), problems)


_SINGLE_BRACE = re.compile(r"(?<![{$])\{ ?(\w+)\.\w+")

BRACE_ADVICE = 'write a value as {{ value }}, or this brace as {{ "{" }}'

JINJA_VARIABLES = frozenset({"self", "super", "loop", "caller", "varargs", "kwargs"})


def check_names(
    templates: ParsedTemplates, template: str, variables: Mapping[str, object]
) -> Iterator[Problem]:
    """Yield a problem for each unknown variable, attribute, filter and test in a template and in
    all that it uses.

    `variables` maps names to types: {"issue": Issue}. A name that one of the templates assigns is
    known in all of them, but not its type.
    """
    environment = templates.environment
    used = [name for name in find_used_templates(templates, template) if name in templates.trees]
    types = dict(variables)
    for name in used:
        types |= dict.fromkeys(_assigned_names(templates.trees[name]), Any)
    for name in used:
        tree = templates.trees[name]
        optional = {
            node.node.name
            for node in tree.find_all((nodes.Test, nodes.Filter))
            if isinstance(node.node, nodes.Name)
            and node.name in ("defined", "undefined", "default", "d")
        }
        names = types.keys() | environment.globals.keys() | JINJA_VARIABLES | optional
        for node in tree.find_all(nodes.Node):
            message = _find_mistake(node, environment, types, names)
            if message:
                yield Problem(templates.files[name], node.lineno, message, Kind.UNKNOWN_NAME)
        for text in tree.find_all(nodes.TemplateData):
            for match in _SINGLE_BRACE.finditer(text.data):
                if match[1] in types:
                    line = text.lineno + text.data.count("\n", 0, match.start())
                    message = f"{match[0]} is sent as text; {BRACE_ADVICE}"
                    yield Problem(templates.files[name], line, message, Kind.UNKNOWN_NAME)


def check_outside_blocks(templates: ParsedTemplates) -> Iterator[Problem]:
    """Yield a problem for each text outside of blocks in a template of which only blocks are
    rendered.
    """
    for name, tree in templates.trees.items():
        has_task = any(block.name == TASK for block in tree.find_all(nodes.Block))
        if has_task or any(isinstance(node, nodes.Extends) for node in tree.body):
            for line in _find_output(tree):
                message = (
                    "text outside of blocks is not sent; move it into a block, or remove"
                    " {% extends %} and the tags of the blocks"
                )
                yield Problem(templates.files[name], line, message)


def _find_output(node: nodes.Node) -> Iterator[int]:
    """Yield the line of each output outside of blocks, macros and `set`."""
    for child in node.iter_child_nodes():
        match child:
            case nodes.Block() | nodes.Macro() | nodes.AssignBlock():
                pass
            case nodes.TemplateData(data=text):
                if text.strip():
                    yield child.lineno + text[: -len(text.lstrip())].count("\n")
            case nodes.Include():
                yield child.lineno
            case nodes.Expr() if isinstance(node, nodes.Output):
                yield child.lineno
            case _:
                yield from _find_output(child)


def _find_mistake(
    node: nodes.Node,
    environment: PromptEnvironment,
    types: Mapping[str, object],
    names: Set[str],
) -> str:
    """Return a message about an unknown variable, attribute, filter or test; "" if it is known."""
    match node:
        case nodes.Name(name=name) if name not in names:
            return f"unknown variable {name!r} ({RAW_ADVICE}); {suggest_name(name, types)}"
        case nodes.Getattr(attr=name) | nodes.Getitem(arg=nodes.Const(value=str(name))):
            owner = _find_type(node.node, types)
            if has_members(owner) and name not in public_hints(owner):
                advice = suggest_name(name, public_hints(owner))
                return f"{_write(node.node)} has no {name!r}; {advice}"
        case nodes.Test(name=name) if name not in environment.tests:
            return f"unknown test {name!r}; {suggest_name(name, environment.tests)}"
        case nodes.Filter(name=name) if name not in environment.filters:
            if name in ALLOWED_ONLY_IN:
                return f"the filter {name!r} is for {ALLOWED_ONLY_IN[name]} only"
            return f"unknown filter {name!r}; {suggest_name(name, environment.filters)}"
    return ""


def _find_type(node: nodes.Node, types: Mapping[str, object]) -> object:
    """Return the type of an expression; `Any` if it is not known."""
    hint: object = Any
    match node:
        case nodes.Name(name=name):
            hint = types.get(name, Any)
        case nodes.Getattr(attr=name) | nodes.Getitem(arg=nodes.Const(value=str(name))):
            owner = _find_type(node.node, types)
            if has_members(owner):
                hint = public_hints(owner).get(name, Any)
    kinds = [*iter_alternatives(hint)]
    return kinds[0] if len(kinds) == 1 else Any


def _write(node: nodes.Node) -> str:
    """Return the text of an expression whose type is known: "issue.user"."""
    match node:
        case nodes.Getattr(attr=name) | nodes.Getitem(arg=nodes.Const(value=str(name))):
            return f"{_write(node.node)}.{name}"
        case nodes.Name(name=name):
            return name
    return ""


def _assigned_names(tree: nodes.Template) -> Iterator[str]:
    for node in tree.find_all((nodes.Name, nodes.Macro, nodes.Import, nodes.FromImport)):
        match node:
            case nodes.Name(name=name) if node.ctx != "load":
                yield name
            case nodes.Macro(name=name) | nodes.Import(target=name):
                yield name
            case nodes.FromImport():
                yield from (
                    target if isinstance(target, str) else target[1] for target in node.names
                )


KEY = b"smoke render"
"""Key of the delimiters in the smoke render. It is not secret, because Claude never receives the
rendered texts.
"""


@dataclass(frozen=True, slots=True)
class _Sample:
    """The variables of a recorded event."""

    name: str
    family: Family
    variables: Mapping[str, object]

    def add_to(self, problem: Problem) -> Problem:
        """Return a problem that the sample has shown, with its name."""
        return replace(problem, message=f"{problem.message} (tried with {self.name})")


@dataclass(frozen=True, slots=True)
class LibraryCheck:
    """The checks of one prompt library. A `Problem` is a mistake that the author of a file must
    correct.
    """

    library: Library
    files: SourceFiles
    templates: ParsedTemplates
    families: Mapping[str, Family]  # event name -> family
    config: Mapping[str, object]  # names and sample values of `config` in templates
    # event -> samples
    _recorded: dict[str, tuple[tuple[str, Mapping[str, object]], ...]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def event_families(self, name: str) -> Mapping[str, Family]:
        names = dict.fromkeys(
            key.partition(".")[0] for key in self.library.events(name, self.families)
        )
        return {event: self.families[event] for event in names if event in self.families}

    def files_of(self, name: str) -> set[str]:
        """Return the paths of the files of a prompt, and of each file whose front matter names the
        prompt in `then`.
        """
        front_files = {
            self.files.lines[other].file for other in (name, *self.library.predecessors(name))
        }
        return front_files | {source.file for source in self.library.sources[name].sources}

    def event_problems(self, chosen: Set[str]) -> Iterator[Problem]:
        """Yield the problems of `on` and `then`, such as an event that is in the `on` of two
        prompts.

        An event of `chosen` may be in several `on`, because `prompts.use` in the settings names the
        prompt that runs.
        """
        library = self.library
        prompts = library.prompts
        for prompt in prompts.values():
            yield from self._on_problems(prompt)
            yield from self._then_problems(prompt)
        for first, second in combinations(prompts, 2):
            if second in library.followers(first) or first in library.followers(second):
                continue
            for key in sorted(set(prompts[first].on) & set(prompts[second].on)):
                if key in chosen or key.partition(".")[0] in chosen:
                    continue
                use = f"prompts.use: {{{key}: {second}}}"
                advice = f"remove it from one, or set {use} in the settings"
                message = f"on: {key} is also in {self.files.lines[first].file}; {advice}"
                yield problem_at(self.files.lines[second], "on", message, Kind.PROMPT_EVENT)

    def _on_problems(self, prompt: Prompt) -> Iterator[Problem]:
        lines = self.files.lines[prompt.name]
        # A later folder's prompt may be unused: the first folder may replace the prompt whose
        # `then` named it.
        may_have_no_event = (
            self.library.predecessors(prompt.name) or prompt.name in self.files.inherited
        )
        if not prompt.on and not may_have_no_event and not lines.contains("on"):
            message = (
                "the prompt has no event; add on: [issues.opened], or name this prompt in another"
                " prompt's then"
            )
            yield problem_at(lines, "on", message, Kind.PROMPT_EVENT)
        for key in prompt.on:
            problem = find_event_problem(key)
            if problem is not None:
                yield problem_at(lines, "on", f"on: {problem}", Kind.PROMPT_EVENT)
            family = self.families.get(key.partition(".")[0])
            if family and prompt.reply in REPLY_TYPES and prompt.reply not in family.replies:
                advice = suggest_name(prompt.reply, family.replies)
                message = f"reply: {family.name} cannot use {prompt.reply!r}; {advice}"
                yield problem_at(lines, "reply", message)

    def _then_problems(self, prompt: Prompt) -> Iterator[Problem]:
        if prompt.then is None:
            return
        lines = self.files.lines
        target = prompt.then.prompt
        if target not in lines:
            message = f"then.prompt: there is no prompt {target!r}; {suggest_name(target, lines)}"
            yield problem_at(lines[prompt.name], "then.prompt", message)
        elif prompt.name in self.library.followers(prompt.name):
            message = f"then.prompt: the prompts form a cycle: {target!r} leads back to this prompt"
            yield problem_at(lines[prompt.name], "then.prompt", message)

    def name_problems(self, name: str) -> Iterator[Problem]:
        """Yield a problem for each unknown name in a prompt's templates, such as a variable of
        another event.
        """
        library = self.library
        prompt = library.prompts[name]
        replies: list[dict[str, object]] = [
            {"analysis": _reply_hint(library.prompts[other])}
            for other in library.predecessors(name)
        ]
        if prompt.on or not replies:  # the prompt can run first
            replies.append({})
        for family in self.event_families(name).values():
            variables = {**COMMON, **family.variables}
            for reply, template in product(replies, (f"{name}{SUFFIX}", BASE)):
                yield from check_names(self.templates, template, {**variables, **reply})
            comment = library.comments.get(name)
            if comment is not None:
                extra = {**COMMENT, **family.comment_variables, "analysis": _reply_hint(prompt)}
                templates = replace(self.templates, environment=library.comment_environment)
                yield from check_names(templates, comment, {**variables, **extra})

    def warnings(self, name: str) -> Iterator[Problem]:
        """Yield the parts of a front matter that have no effect, and a review that reads
        nothing.
        """
        lines = self.files.lines[name]
        prompt = self.library.prompts[name]
        front = self.files.front_matters[name]
        shipped = REPLY_TYPES[prompt.reply].model_fields
        if prompt.reply == "pull_request_analysis" and not self.library.uses(name, ".numbered"):
            advice = "show {{ file.numbered | code }} for each of files"
            message = (
                f"reply: no template shows file.numbered, so all checks are incomplete; {advice}"
            )
            yield problem_at(lines, "reply", message, Kind.BLIND_REVIEW)
        used = self._used_names(name) | prompt.reply_model.label_rules.keys()
        for defined in front.fields:
            is_card = defined == SCORES and self.library.uses(name, SCORES)
            if defined not in shipped and defined not in used and not is_card:
                key = f"fields.{defined}"
                message = (
                    f"{key}: no template shows analysis.{defined} and no label uses it; use it, or"
                    " remove the field"
                )
                yield problem_at(lines, key, message, Kind.UNUSED_FIELD)
        for event, family in self.event_families(name).items():
            if not family.carries_labels and any(front.labels.values()):
                message = (
                    f"labels: the event {event} has no issue or pull request that can carry"
                    " labels; remove them"
                )
                yield problem_at(lines, "labels", message, Kind.UNUSED_FIELD)

    def _used_names(self, name: str) -> set[str]:
        """Return the attributes and constant strings in the templates and the condition that get a
        prompt's reply.
        """
        library = self.library
        then = library.prompts[name].then
        roots = [f"{follower}{SUFFIX}" for follower in library.followers(name)[:1]]
        if name in library.comments:
            roots.append(library.comments[name])
        parts: set[str] = set()
        for root in roots:
            parts.update(find_used_templates(self.templates, root))
        trees = [self.templates.trees[part] for part in parts if part in self.templates.trees]
        if then is not None:
            trees.append(library.environment.parse(f"{{{{ {then.when} }}}}"))
        used: set[str] = set()
        for tree in trees:
            used.update(node.attr for node in tree.find_all(nodes.Getattr))
            used.update(str(node.value) for node in tree.find_all(nodes.Const))
        return used

    def smoke_render(self, name: str) -> list[Problem]:
        """Render a prompt and its comment and evaluate its `then.when`, all with sample values.
        Return the problems.

        What rendered without a problem is not rendered again, so that a reload takes a third of the
        time.
        """
        families = self.event_families(name).values()
        rendered = (
            repr(self.config),
            *(
                self.library.sources[template].hash
                for template in (name, *self.library.leading_to(name))
            ),
        )
        if families and all(rendered in family.rendered for family in families):
            return []
        # by file and line; only the first problem of a line is kept
        problems: dict[tuple[str, int], Problem] = {}
        for problem in self._smoke_problems(name):
            problems.setdefault((problem.file, problem.line), problem)
            if TOO_SLOW in problem.message:
                break  # each further sample would take as long
        if not problems:
            for family in families:
                family.rendered.add(rendered)
        return list(problems.values())

    def _smoke_problems(self, name: str) -> Iterator[Problem]:
        library = self.library
        prompt = library.prompts[name]
        systems: dict[str, _Sample] = {}  # system message -> the first sample that has it
        replies: tuple[ReplyFields, ...] = sample_values(prompt.reply_model)
        for sample in self._samples(name):
            for variables in self._initial_variables(name, sample.variables):
                try:
                    rendered = render(library, name, variables, key=KEY)
                except BrokenTemplateError as exc:
                    yield sample.add_to(exc.problem)
                    continue
                systems.setdefault(rendered.system, sample)
                if not rendered.task:
                    message = "the template renders no task for Claude"
                    yield sample.add_to(Problem(prompt.path, 1, message))
        if len(systems) > 1:
            first, other, *_ = systems.values()
            message = f"the system block is not the same for {first.name} and for {other.name}"
            advice = "move what depends on the event into the task block"
            yield first.add_to(Problem(prompt.path, 1, f"{message}; {advice}"))
        yield from self._comment_problems(name, replies)
        try:
            for reply in replies:
                library.find_next_prompt(name, reply)
        except BrokenTemplateError as exc:
            yield exc.problem

    def _comment_problems(self, name: str, replies: Sequence[ReplyFields]) -> Iterator[Problem]:
        values: dict[str, dict[str, tuple[Any, ...]]] = {}  # by family and variable
        for family in self.event_families(name).values():
            hints = family.comment_variables
            values[family.name] = {key: sample_values(hint) for key, hint in hints.items()}
        for sample in self._samples(name):
            family_values = values[sample.family.name].items()
            for reply in replies:
                index = 0 if is_worth_saying(reply) else 1
                extra = {key: key_values[index] for key, key_values in family_values}
                variables = {**sample.variables, **extra, "analysis": reply}
                try:
                    render_comment(self.library, name, variables, key=KEY)
                except BrokenTemplateError as exc:
                    yield sample.add_to(exc.problem)
            replies = replies[:2]  # all with the first sample: others differ little

    def _samples(self, name: str) -> Iterator[_Sample]:
        events = self.library.events(name, self.families)
        for event, family in self.event_families(name).items():
            if event not in self._recorded:
                self._recorded[event] = tuple(family.samples())
            samples = [
                _Sample(sample, family, {**variables, "config": self.config})
                for sample, variables in self._recorded[event]
            ]
            actions = {
                key.partition(".")[2] or None for key in events if key.partition(".")[0] == event
            }
            chosen = [
                recorded
                for recorded in samples
                if None in actions or recorded.variables.get("action") in actions
            ]
            # if no sample has a wanted action, all samples of the event are used
            yield from chosen or samples

    def _initial_variables(
        self, name: str, recorded: Mapping[str, object]
    ) -> Iterator[Mapping[str, object]]:
        predecessors = self.library.predecessors(name)
        if self.library.prompts[name].on or not predecessors:  # the prompt can run first
            yield recorded
        for other in predecessors:
            for reply in sample_values(self.library.prompts[other].reply_model):
                yield {**recorded, "analysis": reply}


def _reply_hint(prompt: Prompt) -> object:
    if prompt.reply_model is ReplyFields:  # the front matter is invalid
        return Any
    return prompt.reply_model
