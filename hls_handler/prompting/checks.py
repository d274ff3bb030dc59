"""Checks of a prompt library: the front matters' `on` and `then`, the names in templates, and the
smoke render.

The smoke render renders each prompt with recorded events. A follow-up prompt is also rendered with
sample replies of the prompts before it. Variables, filters and tests are checked in all branches,
attributes by the smoke render.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

from jinja2 import nodes

from hls_handler.analysis import REPLY_TYPES, SCORES, SUFFIX, Prompt, ReplyFields, is_worth_saying
from hls_handler.prompting.environment import TOO_SLOW, ParsedTemplates, find_used_templates
from hls_handler.prompting.front_matter import problem_at
from hls_handler.prompting.problems import BrokenTemplateError, Problem, suggest_name
from hls_handler.prompting.prompt import Family, Library
from hls_handler.prompting.render import COMMENT, COMMON, render, render_comment
from hls_handler.prompting.source_files import BASE, SourceFiles
from hls_handler.prompting.template_names import check_names
from hls_handler.prompting.variables import sample_values
from hls_handler.settings.github_events import find_event_problem
from hls_handler.settings.problems import Kind

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
            for reply in replies:
                for template in (f"{name}{SUFFIX}", BASE):
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
            of_family = values[sample.family.name].items()
            for reply in replies:
                index = 0 if is_worth_saying(reply) else 1
                extra = {key: of_key[index] for key, of_key in of_family}
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
