"""Relations between the prompts of a library: the events of each prompt, `then` links, and their conditions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from itertools import combinations

from jinja2 import TemplateSyntaxError, nodes
from jinja2.parser import Parser

from hls_handler.analysis import REPLY_TYPES, Reply
from hls_handler.prompting.environment import AUTHOR_ERRORS, PromptEnvironment
from hls_handler.prompting.family import Family
from hls_handler.prompting.frontmatter import FrontMatter, KeyLines
from hls_handler.prompting.names import check_names
from hls_handler.prompting.problems import BrokenTemplateError, Problem, suggest_name
from hls_handler.prompting.references import ParsedTemplates
from hls_handler.untrusted.cleaning import format_for_prompt
from hls_handler.untrusted.exchange import Placeholders


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
