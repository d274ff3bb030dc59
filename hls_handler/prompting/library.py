"""Loading a library: a folder of templates becomes prompts that were tried out, or a list of all problems."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from jinja2 import TemplateSyntaxError, nodes

from hls_handler.analysis import Reply
from hls_handler.prompting.chain import Chain, compile_condition
from hls_handler.prompting.environment import PromptEnvironment
from hls_handler.prompting.family import Family
from hls_handler.prompting.fields import reply_model
from hls_handler.prompting.filters import IN_COMMENTS, IN_PROMPTS
from hls_handler.prompting.folder import BASE, COMMENT_SUFFIX, SHARED_BY, SHARED_COMMENT, SUFFIX
from hls_handler.prompting.hints import ANYTHING
from hls_handler.prompting.makeup import Makeup
from hls_handler.prompting.names import check_names
from hls_handler.prompting.problems import Problem, prompt_error
from hls_handler.prompting.prompt import Library, Prompt, Then
from hls_handler.prompting.references import Trees, check_blocks, check_references, parts_of
from hls_handler.prompting.shelf import Shelf, read_shelf
from hls_handler.prompting.trial import try_out
from hls_handler.prompting.variables import COMMENT, COMMON
from hls_handler.untrusted.tokens import RESERVED

__all__ = ["Family", "Library", "Prompt", "Then", "load_library"]


def load_library(
    *folders: Path,
    families: Mapping[str, Family],
    shipped: Path | None = None,
    chosen: Set[str] = frozenset(),
    shadows: Set[str] = frozenset(),
) -> Library:
    """Read, check and try out all prompts below `folders`; of a file that several have, the first one's is taken.

    `families` are keyed by the event's name ("pull_request"). `shipped` is the library that HLS comes with: a template
    without front matter takes that of the next folder's prompt of the same path, at last of the shipped one, and with
    it the shipped comment; parts that the folders lack (`base.j2`, `_*.j2`) are taken from there too.

    `chosen` are the events ("issues.opened" or "issues") for which settings choose the prompt, so that two prompts may
    name them; `shadows` are prompts that only ever run beside another, so that they may name its events.

    Raises `PromptError` with every problem that there is.
    """
    shelf, problems = read_shelf(folders, shipped)
    environment = PromptEnvironment(shelf.sources, IN_PROMPTS)
    comment_environment = PromptEnvironment(shelf.sources, IN_COMMENTS)
    trees, unreadable = _parse(environment, shelf)
    unreadable += check_references(trees)
    problems += check_blocks(trees)
    problems += unreadable
    misled = {problem.file for problem in unreadable}
    chain = Chain(shelf.fronts, shelf.lines, families, shelf.inherited)
    problems += chain.problems(chosen, shadows)
    replies: dict[str, type[Reply]] = {}
    for name, front in shelf.fronts.items():
        model, found = reply_model(front, shelf.lines[name])
        problems += found
        if model is not None:
            replies[name] = model
    draft = _Draft(shelf, trees, replace(trees, environment=comment_environment), chain, replies)
    conditions: dict[str, Callable[[Reply], bool]] = {}
    for name, front in shelf.fronts.items():
        problems += draft.names_problems(name, misled)
        if front.then is not None:
            conditions[name], found = compile_condition(environment, front, shelf.lines[name], replies.get(name))
            problems += found
    problems += draft.compile({problem.file for problem in problems})
    library = Library(
        draft.prompts(), environment, comment_environment, draft.comments(), conditions, draft.makeups(), shadows
    )
    bad = {problem.file for problem in problems}
    for name in library.prompts:
        if bad.isdisjoint(draft.files(name)):
            problems += try_out(library, name, chain)
    if problems:
        raise prompt_error(problems)
    return library


def _parse(environment: PromptEnvironment, shelf: Shelf) -> tuple[Trees, list[Problem]]:
    trees: dict[str, nodes.Template] = {}
    problems: list[Problem] = []
    for name, source in shelf.sources.items():
        for number, line in enumerate(source.text.split("\n"), start=1):
            if RESERVED.search(line):
                message = "there is a private-use character (U+E000 to U+E01F), which HLS keeps for itself; remove it"
                problems.append(Problem(source.file, number, message))
        try:
            trees[name] = environment.parse(source.template, name, source.file)
        except TemplateSyntaxError as exc:
            problems.append(Problem(source.file, exc.lineno, exc.message or "is no valid template"))
        except RecursionError:
            problems.append(Problem(source.file, 1, "is nested too deeply for a template"))
    return Trees(environment, trees, {name: source.file for name, source in shelf.sources.items()}), problems


@dataclass(frozen=True, slots=True)
class _Draft:
    """A library that was read and parsed."""

    shelf: Shelf
    trees: Trees  # as prompts use them
    comment_trees: Trees  # the same, as comments use them
    chain: Chain
    replies: Mapping[str, type[Reply]]  # by prompt; without those whose front matter does not tell

    def parts(self, name: str) -> tuple[str, ...]:
        """All templates that a prompt is made of, the base with its system message included, and its comment's."""
        return tuple(dict.fromkeys((*self.prompt_parts(name), *self.comment_parts(name))))

    def prompt_parts(self, name: str) -> tuple[str, ...]:
        return (*parts_of(self.trees, f"{name}{SUFFIX}"), *parts_of(self.trees, BASE))

    def comment(self, name: str) -> str | None:
        """The template of a prompt's comment: its own, or the one that prompts of its kind share."""
        own = f"{name}{COMMENT_SUFFIX}"
        if own in self.shelf.sources:
            return own
        shares = self.chain.fronts[name].reply == SHARED_BY and SHARED_COMMENT in self.shelf.sources
        return SHARED_COMMENT if shares else None

    def comment_parts(self, name: str) -> tuple[str, ...]:
        comment = self.comment(name)
        return () if comment is None else parts_of(self.trees, comment)

    def compile(self, bad: Set[str]) -> Iterator[Problem]:
        """What only Jinja's compiler finds, such as a block that is defined twice; then all is ready for use."""
        wanted = {(self.trees.environment, part) for name in self.chain.fronts for part in self.prompt_parts(name)}
        wanted |= {
            (self.comment_trees.environment, part) for name in self.chain.fronts for part in self.comment_parts(name)
        }
        for environment, part in wanted:
            if self.trees.files[part] in bad:
                continue
            try:
                environment.get_template(part)
            except TemplateSyntaxError as exc:
                yield Problem(self.trees.files[part], exc.lineno, exc.message or "is no valid template")

    def files(self, name: str) -> set[str]:
        fronts = {self.shelf.lines[other].file for other in (name, *self.chain.leading_to(name))}
        return fronts | {self.trees.files[part] for part in self.parts(name)}

    def names_problems(self, name: str, misled: Set[str]) -> list[Problem]:
        """Unknown names in a prompt and its comment, for each family that it is for. None where parts are missing."""
        problems: list[Problem] = []
        front = self.chain.fronts[name]
        if not misled.isdisjoint(self.files(name)):
            return problems
        before: list[dict[str, object]] = [
            {"analysis": self.replies.get(other, ANYTHING)} for other in self.chain.leading_to(name)
        ]
        for family in self.chain.families_of(name):
            seen = {**COMMON, **family.variables}
            for given in before if not front.on else [*before, {}]:
                for template in (f"{name}{SUFFIX}", BASE):
                    problems += check_names(self.trees, template, {**seen, **given})
            comment = self.comment(name)
            if comment is not None and comment in self.trees.trees:
                extra = {**COMMENT, **family.comment_variables, "analysis": self.replies.get(name, ANYTHING)}
                problems += check_names(self.comment_trees, comment, {**seen, **extra})
        return problems

    def comments(self) -> dict[str, str]:
        found = {name: self.comment(name) for name in self.chain.fronts}
        return {name: comment for name, comment in found.items() if comment is not None}

    def makeups(self) -> dict[str, Makeup]:
        return {
            name: Makeup(
                name=name,
                front=self.shelf.front_texts[name],
                front_file=self.shelf.lines[name].file,
                sources=tuple(self.shelf.sources[part] for part in self.parts(name)),
            )
            for name in self.chain.fronts
        }

    def prompts(self) -> dict[str, Prompt]:
        return {name: self._prompt(name) for name in sorted(self.chain.fronts)}

    def _prompt(self, name: str) -> Prompt:
        front = self.chain.fronts[name]
        return Prompt(
            name=name,
            id=f"{name}@{self._fingerprint(name)}",
            path=self.shelf.sources[f"{name}{SUFFIX}"].file,
            description=front.description,
            on=front.on,
            reply=front.reply,
            reply_model=self.replies.get(name, Reply),
            model=front.model,
            max_tokens=front.max_tokens,
            effort=front.effort,
            then=Then(front.then.name, front.then.when) if front.then is not None else None,
            has_comment=self.comment(name) is not None,
        )

    def _fingerprint(self, name: str) -> str:
        """Six digits over all that makes the prompt what it is."""
        digest = sha256(self.shelf.front_texts[name].encode())
        for part in sorted(self.parts(name)):
            digest.update(f"\0{part}\0{self.shelf.sources[part].text}".encode())
        return digest.hexdigest()[:6]
