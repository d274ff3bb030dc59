"""Checks of a whole library: the events of its prompts, their `then` links and conditions, and the smoke render.

The smoke render renders each prompt with recorded events, and with sample replies where it needs a reply.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import combinations

from jinja2 import TemplateSyntaxError, nodes
from jinja2.parser import Parser

from hls_handler.analysis import REPLY_TYPES, Reply
from hls_handler.events import event_key
from hls_handler.prompting.environment import AUTHOR_ERRORS, PromptEnvironment
from hls_handler.prompting.folder import BrokenTemplateError, Problem, suggest_name
from hls_handler.prompting.frontmatter import FrontMatter, KeyLines
from hls_handler.prompting.names import check_names
from hls_handler.prompting.prompt import Family, Library
from hls_handler.prompting.references import ParsedTemplates
from hls_handler.prompting.render import render, render_comment
from hls_handler.prompting.type_hints import sample_values
from hls_handler.untrusted.cleaning import format_for_prompt
from hls_handler.untrusted.placeholders import Placeholders


@dataclass(frozen=True, slots=True)
class PromptGraph:
    """The front matters of a library by prompt name, connected by their `then` links."""

    front_matters: Mapping[str, FrontMatter]
    lines: Mapping[str, KeyLines]
    families: Mapping[str, Family]  # event name -> family
    inherited: Set[str] = frozenset()  # names of prompts that only the second or a later folder has

    def predecessors(self, name: str) -> tuple[str, ...]:
        """Return the prompts whose `then` names this prompt."""
        return tuple(other for other, front in self.front_matters.items() if front.then and front.then.name == name)

    def followers(self, name: str) -> tuple[str, ...]:
        """Return all prompts that may run after this one, in order, up to the first repetition if `then` is cyclic."""
        found: list[str] = []
        while (front := self.front_matters.get(name)) and front.then and front.then.name not in found:
            name = front.then.name
            found.append(name)
        return tuple(found)

    def events(self, name: str) -> tuple[str, ...]:
        """Return the event keys on which a prompt may run: its own, and those of every prompt that precedes it."""
        sources = [name, *(other for other in self.front_matters if name in self.followers(other))]
        return tuple(dict.fromkeys(key for source in sources for key in self.front_matters[source].on))

    def families_of(self, name: str) -> tuple[Family, ...]:
        names = dict.fromkeys(key.partition(".")[0] for key in self.events(name))
        return tuple(self.families[event] for event in names if event in self.families)

    def problems(self, chosen: Set[str], shadows: Set[str]) -> Iterator[Problem]:
        """Yield the problems of `on` and `then`, such as two prompts for the same event.

        `chosen` are the events for which settings choose the prompt, `shadows` the prompts that run only as shadows.
        """
        for name, front in self.front_matters.items():
            yield from self._event_problems(name, front)
            yield from self._then_problems(name, front)
        for first, second in combinations((name for name in self.front_matters if name not in shadows), 2):
            if second in self.followers(first) or first in self.followers(second):
                continue
            for key in sorted(set(self.front_matters[first].on) & set(self.front_matters[second].on)):
                if key not in chosen and key.partition(".")[0] not in chosen:
                    advice = f"remove it from one, or set prompts.use: {{{key}: {second}}} in the settings"
                    message = f"on: {key} is also in {self.lines[first].file}; {advice}"
                    yield self.lines[second].problem(("on",), message)

    def _event_problems(self, name: str, front: FrontMatter) -> Iterator[Problem]:
        lines = self.lines[name]
        # An inherited prompt may be unused: the author's version of its predecessor may have no `then`.
        may_have_no_event = self.predecessors(name) or name in self.inherited
        if not front.on and not may_have_no_event and ("on",) not in lines:
            yield lines.problem(
                ("on",), "has no event; add on: [issues.opened], or name this prompt in another prompt's then"
            )
        for key in front.on:
            event, _, action = key.partition(".")
            family = self.families.get(event)
            if family is None:
                message = f"on: GitHub has no event {event!r}; {suggest_name(event, self.families)}"
                yield lines.problem(("on",), message)
                continue
            if action and family.actions and action not in family.actions:
                yield lines.problem(
                    ("on",), f"on: {event} has no action {action!r}; {suggest_name(action, family.actions)}"
                )
            if front.reply in REPLY_TYPES and front.reply not in family.replies:
                message = (
                    f"reply: {family.name} cannot use {front.reply!r}; {suggest_name(front.reply, family.replies)}"
                )
                yield lines.problem(("reply",), message)

    def _then_problems(self, name: str, front: FrontMatter) -> Iterator[Problem]:
        if front.then is None:
            return
        key, target = ("then", "prompt"), front.then.name
        if target not in self.lines:
            yield self.lines[name].problem(
                key, f"then.prompt: there is no prompt {target!r}; {suggest_name(target, self.lines)}"
            )
        elif name == target or name in self.followers(target):
            yield self.lines[name].problem(key, f"then.prompt: this is a cycle: {target!r} leads back here")


def compile_condition(
    environment: PromptEnvironment, front: FrontMatter, lines: KeyLines, reply: type[Reply] | None
) -> tuple[Callable[[Reply], bool], list[Problem]]:
    """Return a prompt's `then.when` as a function of its reply, and the problems of the expression.

    `reply` is the reply's type; if it is None (unknown), names in the expression are not checked.
    """
    assert front.then is not None
    when, key = front.then.when, ("then", "when")
    location = lines.problem(key, "")  # without a message
    try:
        parser = Parser(environment, when, state="variable")
        expression = parser.parse_expression()
        if not parser.stream.eos:
            parser.fail("unexpected text after the end of the expression")
        compiled = environment.compile_expression(when, undefined_to_none=False)
    except TemplateSyntaxError as exc:
        return _never, [replace(location, message=f"then.when: {exc.message}")]
    tree = nodes.Template([nodes.Output([expression])])
    templates = ParsedTemplates(environment, {"then.when": tree}, {"then.when": location.file})
    found = check_names(templates, "then.when", {"analysis": reply}) if reply is not None else []

    def holds(reply: Reply) -> bool:
        placeholders = Placeholders(key=b"", show=format_for_prompt)  # the output is a boolean, so no text is inserted
        analysis = placeholders.convert(reply)
        try:
            return bool(compiled(analysis=analysis))
        except AUTHOR_ERRORS as exc:
            raise BrokenTemplateError(replace(location, message=f"then.when: {exc}")) from exc

    return holds, [replace(location, message=f"then.when: {problem.message}") for problem in found]


def _never(reply: Reply) -> bool:  # noqa: ARG001 (signature of a condition)
    return False


KEY = b"smoke render"


@dataclass(frozen=True, slots=True)
class _Sample:
    """One recorded event of a prompt."""

    name: str
    family: Family
    variables: Mapping[str, object]


class _ProblemCollector:
    """Collects problems: the first for each line, because samples may fail at one line with different messages."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int], Problem] = {}

    def add(self, problem: Problem, sample: str) -> None:
        with_sample = Problem(problem.file, problem.line, f"{problem.message} (tried with {sample})")
        self._found.setdefault((problem.file, problem.line), with_sample)

    @contextmanager
    def catch(self, sample: str) -> Iterator[None]:
        try:
            yield
        except BrokenTemplateError as exc:
            self.add(exc.problem, sample)

    @property
    def problems(self) -> list[Problem]:
        return list(self._found.values())


def smoke_render(library: Library, name: str, graph: PromptGraph) -> list[Problem]:
    """Render a prompt, its comment and its condition with recorded events; return the problems."""
    collector = _ProblemCollector()
    systems: dict[str, str] = {}  # system message -> the first sample that has it
    prompt = library.prompts[name]
    replies: tuple[Reply, ...] = sample_values(prompt.reply_model)
    for sample in _samples(graph, name):
        for variables in _initial_variables(library, graph, name, sample):
            with collector.catch(sample.name):
                rendered = render(library, name, variables, key=KEY)
                systems.setdefault(rendered.system, sample.name)
                if not rendered.task:
                    collector.add(
                        Problem(prompt.path, 1, "is empty: the template renders no task for Claude"), sample.name
                    )
        for reply in replies:
            with collector.catch(sample.name):
                render_comment(library, name, {**sample.variables, **_comment_variables(sample, reply)}, key=KEY)
    if len(systems) > 1:
        first, other, *_ = systems.values()
        message = f"the system block is not the same for {first} and for {other}"
        collector.add(Problem(prompt.path, 1, f"{message}; move what depends on the event into the task block"), first)
    return [*collector.problems, *_check_condition(library, name, replies)]


def _samples(graph: PromptGraph, name: str) -> Iterator[_Sample]:
    """Yield the samples of a prompt's events; if there are none with its actions, all samples of the event."""
    events = graph.events(name)
    for event in dict.fromkeys(key.partition(".")[0] for key in events):
        family = graph.families.get(event)
        if family is None:
            continue  # PromptGraph.problems reports it
        samples = [
            (_event_key_of(event, values), _Sample(sample, family, values)) for sample, values in family.samples()
        ]
        matching = [sample for key, sample in samples if key in events or event in events]
        yield from matching or (sample for _, sample in samples)


def _event_key_of(event: str, variables: Mapping[str, object]) -> str:
    action = variables.get("action")
    return event_key(event, action if isinstance(action, str) else None)


def _initial_variables(
    library: Library, graph: PromptGraph, name: str, sample: _Sample
) -> Iterator[Mapping[str, object]]:
    """Yield the variables with which a prompt can run: without a reply, and with replies of preceding prompts."""
    predecessors = graph.predecessors(name)
    if graph.front_matters[name].on or not predecessors:
        yield sample.variables
    for other in predecessors:
        for reply in sample_values(library.prompts[other].reply_model):
            yield {**sample.variables, "analysis": reply}


def _comment_variables(sample: _Sample, reply: Reply) -> Mapping[str, object]:
    full, minimal = 0, 1  # positions in the result of sample_values
    index = full if reply.worth_saying else minimal
    extra = {name: sample_values(hint)[index] for name, hint in sample.family.comment_variables.items()}
    return {**extra, "analysis": reply}


def _check_condition(library: Library, name: str, replies: tuple[Reply, ...]) -> list[Problem]:
    try:
        for reply in replies:
            library.find_next_prompt(name, reply)
    except BrokenTemplateError as exc:
        return [exc.problem]
    return []
