"""The values `Prompt` and `Library`. They are immutable: a changed file leads to a new library."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field

from hls_handler.analysis import Reply
from hls_handler.prompting.environment import PromptEnvironment
from hls_handler.prompting.frontmatter import Effort
from hls_handler.prompting.labels import group_of, list_possible_labels
from hls_handler.prompting.makeup import PromptSources


@dataclass(frozen=True, slots=True)
class Then:
    prompt: str  # "issues/respond"
    when: str  # "analysis.kind == 'question'"


@dataclass(frozen=True, slots=True)
class Prompt:
    name: str  # "issues/analyze"
    id: str  # "issues/analyze@3f9c2a": name and hash over the front matter and all templates, the comment's included
    path: str  # for messages: "prompts/issues/analyze.j2"
    description: str
    on: tuple[str, ...]  # "issues.opened"
    reply: str  # a key of analysis.REPLY_TYPES
    reply_model: type[Reply]  # that type, with the additional fields and label rules of the front matter
    model: str | None  # None: as in the settings
    max_tokens: int | None
    effort: Effort | None
    then: Then | None
    has_comment: bool


@dataclass(frozen=True, slots=True)
class Library:
    """A loaded library in which every prompt is checked."""

    prompts: Mapping[str, Prompt]
    environment: PromptEnvironment = field(repr=False)  # the templates, with the filters for prompts
    comment_environment: PromptEnvironment = field(repr=False)  # the templates, with the filters for comments
    comments: Mapping[str, str] = field(repr=False)  # prompt name -> template: "issues/analyze.comment.md.j2"
    conditions: Mapping[str, Callable[[Reply], bool]] = field(repr=False)  # prompt name -> its `then.when`
    makeups: Mapping[str, PromptSources] = field(repr=False)  # prompt name -> its files
    shadows: Set[str] = frozenset()  # names of prompts that run only as shadows, whatever their `on:`

    def on(self, event_key: str) -> tuple[str, ...]:
        """Return the prompts for exactly this event key, without shadows and without followers of these prompts."""
        names = [name for name, prompt in self.prompts.items() if event_key in prompt.on and name not in self.shadows]
        followers = {follower for name in names for follower in self.followers(name)}
        return tuple(name for name in names if name not in followers)

    def followers(self, name: str) -> tuple[str, ...]:
        """Return all prompts that may run after this one, in order."""
        found: list[str] = []
        then = self.prompts[name].then
        while then is not None and then.prompt in self.prompts:
            found.append(then.prompt)
            then = self.prompts[then.prompt].then
        return tuple(found)

    def predecessors(self, name: str) -> tuple[str, ...]:
        """Return the prompts whose `then` names this prompt."""
        return tuple(other for other, prompt in self.prompts.items() if prompt.then and prompt.then.prompt == name)

    def find_next_prompt(self, name: str, reply: Reply) -> str | None:
        """Return the prompt that `then` names if its condition holds for this reply, else None.

        Raises `PromptError` if the condition fails.
        """
        then = self.prompts[name].then
        return then.prompt if then is not None and self.conditions[name](reply) else None

    def label_groups(self, event: str) -> Mapping[str, str]:
        """Return the labels that replies about an event can set, in lower case, with their groups: {"bug": "kind"}."""
        names = [name for name, prompt in self.prompts.items() if any(_event_name(key) == event for key in prompt.on)]
        with_followers = dict.fromkeys(one for name in names for one in (name, *self.followers(name)))
        return {
            label.casefold(): group
            for name in with_followers
            for label, group in _label_groups(self.prompts[name].reply_model)
        }

    def file(self, name: str) -> str:
        """Return the file of a prompt, for messages. Raises `KeyError` if there is no such prompt."""
        return self.prompts[name].path


def _event_name(key: str) -> str:
    return key.partition(".")[0]


def _label_groups(model: type[Reply]) -> Iterator[tuple[str, str]]:
    for name, rule in model.label_rules.items():
        hint = model.model_fields[name].annotation
        for label in list_possible_labels(rule, hint):
            yield label, group_of(name, hint, label)
