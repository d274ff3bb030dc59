"""How prompts hang together: which events each is for, which prompt leads to which, and under what condition."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from itertools import combinations

from jinja2 import TemplateSyntaxError, nodes
from jinja2.parser import Parser

from hls_handler.analysis import REPLY_TYPES, Reply
from hls_handler.prompting.environment import AUTHOR_ERRORS, PromptEnvironment
from hls_handler.prompting.family import Family
from hls_handler.prompting.frontmatter import FrontMatter, Lines
from hls_handler.prompting.names import check_names
from hls_handler.prompting.problems import BrokenTemplateError, Problem, nearest
from hls_handler.prompting.references import Trees
from hls_handler.untrusted.cleaning import for_prompt
from hls_handler.untrusted.exchange import Exchange


@dataclass(frozen=True, slots=True)
class Chain:
    """All front matters of a library, and where their keys stand; by the prompt's name."""

    fronts: Mapping[str, FrontMatter]
    lines: Mapping[str, Lines]
    families: Mapping[str, Family]  # by the event's name
    inherited: Set[str] = frozenset()  # of folders behind the author's own

    def leading_to(self, name: str) -> tuple[str, ...]:
        """The prompts whose `then` is this one."""
        return tuple(other for other, front in self.fronts.items() if front.then and front.then.name == name)

    def following(self, name: str) -> tuple[str, ...]:
        """All that may run after a prompt, in order; ends where it would go in a circle."""
        found: list[str] = []
        while (front := self.fronts.get(name)) and front.then and front.then.name not in found:
            name = front.then.name
            found.append(name)
        return tuple(found)

    def events(self, name: str) -> tuple[str, ...]:
        """The event keys on which a prompt may run: its own, and those of all that lead to it."""
        sources = [name, *(other for other in self.fronts if name in self.following(other))]
        return tuple(dict.fromkeys(key for source in sources for key in self.fronts[source].on))

    def families_of(self, name: str) -> tuple[Family, ...]:
        names = dict.fromkeys(key.partition(".")[0] for key in self.events(name))
        return tuple(self.families[event] for event in names if event in self.families)

    def problems(self, chosen: Set[str], shadows: Set[str]) -> Iterator[Problem]:
        """What is wrong between front matters.

        `chosen` are the events for which settings choose the prompt, `shadows` the prompts that go to work on none.
        """
        for name, front in self.fronts.items():
            yield from self._events_problems(name, front)
            yield from self._then_problems(name, front)
        for first, second in combinations((name for name in self.fronts if name not in shadows), 2):
            if second in self.following(first) or first in self.following(second):
                continue
            for key in sorted(set(self.fronts[first].on) & set(self.fronts[second].on)):
                if key not in chosen and key.partition(".")[0] not in chosen:
                    advice = f"take it out of one, or choose with prompts.use: {{{key}: {second}}} in the settings"
                    message = f"on: {key} is taken by {self.lines[first].file} as well; {advice}"
                    yield self.lines[second].problem(("on",), message)

    def _events_problems(self, name: str, front: FrontMatter) -> Iterator[Problem]:
        lines = self.lines[name]
        is_led_to = self.leading_to(name) or name in self.inherited  # an own prompt may lead there no more
        if not front.on and not is_led_to and ("on",) not in lines:
            yield lines.problem(
                ("on",), "is for no event; add on: [issues.opened], or name it in another prompt's then"
            )
        for key in front.on:
            event, _, action = key.partition(".")
            family = self.families.get(event)
            if family is None:
                message = f"on: GitHub has no event {event!r}; {nearest(event, self.families)}"
                yield lines.problem(("on",), message)
                continue
            if action and family.actions and action not in family.actions:
                yield lines.problem(("on",), f"on: {event} has no {action!r}; {nearest(action, family.actions)}")
            if front.reply in REPLY_TYPES and front.reply not in family.replies:
                message = (
                    f"reply: {family.name} makes nothing of {front.reply!r}; {nearest(front.reply, family.replies)}"
                )
                yield lines.problem(("reply",), message)

    def _then_problems(self, name: str, front: FrontMatter) -> Iterator[Problem]:
        if front.then is None:
            return
        key, target = ("then", "prompt"), front.then.name
        if target not in self.lines:
            yield self.lines[name].problem(key, f"then.prompt: there is no {target!r}; {nearest(target, self.lines)}")
        elif name == target or name in self.following(target):
            yield self.lines[name].problem(key, f"then.prompt: this goes in a circle: {target!r} leads back here")


def compile_condition(
    environment: PromptEnvironment, front: FrontMatter, lines: Lines, reply: type[Reply] | None
) -> tuple[Callable[[Reply], bool], list[Problem]]:
    """The `then.when` of a prompt as a function of its reply, and what is wrong with it.

    `reply` is the reply's type; None if it is not known, so that names cannot be checked.
    """
    assert front.then is not None
    when, key = front.then.when, ("then", "when")
    place = lines.problem(key, "")
    try:
        parser = Parser(environment, when, state="variable")
        expression = parser.parse_expression()
        if not parser.stream.eos:
            parser.fail("there is something after the end of the expression")
        compiled = environment.compile_expression(when, undefined_to_none=False)
    except TemplateSyntaxError as exc:
        return _never, [replace(place, message=f"then.when: {exc.message}")]
    tree = nodes.Template([nodes.Output([expression])])
    trees = Trees(environment, {"then.when": tree}, {"then.when": place.file})
    found = check_names(trees, "then.when", {"analysis": reply}) if reply is not None else []

    def holds(reply: Reply) -> bool:
        exchange = Exchange(key=b"", show=for_prompt)  # nothing is shown
        analysis = exchange.admit(reply)
        try:
            return bool(compiled(analysis=analysis))
        except AUTHOR_ERRORS as exc:
            raise BrokenTemplateError(replace(place, message=f"then.when: {exc}")) from exc

    return holds, [replace(place, message=f"then.when: {problem.message}") for problem in found]


def _never(reply: Reply) -> bool:  # noqa: ARG001 (a condition's shape)
    return False
