"""A prompt, and the library that holds it: values that never change; a changed file makes another library."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field

from hls_handler.analysis import Reply
from hls_handler.prompting.environment import PromptEnvironment
from hls_handler.prompting.frontmatter import Effort
from hls_handler.prompting.labels import group_of, labels_of
from hls_handler.prompting.makeup import Makeup


@dataclass(frozen=True, slots=True)
class Then:
    prompt: str  # "issues/respond"
    when: str  # "analysis.kind == 'question'"


@dataclass(frozen=True, slots=True)
class Prompt:
    name: str  # "issues/analyze"
    id: str  # "issues/analyze@3f9c2a": changes with every template that it is made of, its comment and its front matter
    path: str  # as the operator knows it: "prompts/issues/analyze.j2"
    description: str
    on: tuple[str, ...]  # "issues.opened"
    reply: str  # a key of analysis.REPLY_TYPES
    reply_model: type[Reply]  # that type, with the author's own fields and labels
    model: str | None  # None: as settings say
    max_tokens: int | None
    effort: Effort | None
    then: Then | None
    has_comment: bool


@dataclass(frozen=True, slots=True)
class Library:
    """One loaded library, checked whole."""

    prompts: Mapping[str, Prompt]
    environment: PromptEnvironment = field(repr=False)  # holds the templates, as prompts use them
    comment_environment: PromptEnvironment = field(repr=False)  # and as comments do: other filters
    comments: Mapping[str, str] = field(repr=False)  # prompt name -> template: "issues/analyze.comment.md.j2"
    conditions: Mapping[str, Callable[[Reply], bool]] = field(repr=False)  # prompt name -> its `then.when`
    makeups: Mapping[str, Makeup] = field(repr=False)  # prompt name -> its files
    shadows: Set[str] = frozenset()  # names of prompts that only ever run beside another, whatever their `on:` says

    def on(self, event_key: str) -> tuple[str, ...]:
        """Names of the prompts that go to work on exactly this key, without those that another of them leads to."""
        names = [name for name, prompt in self.prompts.items() if event_key in prompt.on and name not in self.shadows]
        led_to = {follower for name in names for follower in self.followers(name)}
        return tuple(name for name in names if name not in led_to)

    def followers(self, name: str) -> tuple[str, ...]:
        """All that may run after a prompt, in order."""
        found: list[str] = []
        then = self.prompts[name].then
        while then is not None and then.prompt in self.prompts:
            found.append(then.prompt)
            then = self.prompts[then.prompt].then
        return tuple(found)

    def leading_to(self, name: str) -> tuple[str, ...]:
        """The prompts whose `then` is this one."""
        return tuple(other for other, prompt in self.prompts.items() if prompt.then and prompt.then.prompt == name)

    def next_after(self, name: str, reply: Reply) -> str | None:
        """The prompt that `then` leads to after this reply; None as a rule. Raises `PromptError`."""
        then = self.prompts[name].then
        return then.prompt if then is not None and self.conditions[name](reply) else None

    def label_fields(self, event: str) -> Mapping[str, str]:
        """The labels that replies about an event may become, in lower case, each with its field: {"bug": "kind"}."""
        names = [name for name, prompt in self.prompts.items() if any(_event(key) == event for key in prompt.on)]
        asked = dict.fromkeys(one for name in names for one in (name, *self.followers(name)))
        return {label.casefold(): group for name in asked for label, group in _groups(self.prompts[name].reply_model)}

    def file(self, name: str) -> str:
        """The file of a prompt, for messages. KeyError if there is no such prompt."""
        return self.prompts[name].path


def _event(key: str) -> str:
    return key.partition(".")[0]


def _groups(model: type[Reply]) -> Iterator[tuple[str, str]]:
    for name, rule in model.label_rules.items():
        hint = model.model_fields[name].annotation
        for label in labels_of(rule, hint):
            yield label, group_of(name, hint, label)
