"""Trying prompts out: each is rendered over recorded events of its own, with made-up replies where it needs one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from hls_handler.analysis import Reply
from hls_handler.events import event_key
from hls_handler.prompting.chain import Chain
from hls_handler.prompting.family import Family
from hls_handler.prompting.plausible import plausible
from hls_handler.prompting.problems import BrokenTemplateError, Problem
from hls_handler.prompting.prompt import Library
from hls_handler.prompting.render import render, render_comment

KEY = b"trial"


@dataclass(frozen=True, slots=True)
class _Scene:
    """One recorded event, as one prompt would meet it."""

    sample: str  # its name
    family: Family
    variables: Mapping[str, object]


class _Notes:
    """Problems as they come up: one for each place, since samples may fail there in many words."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int], Problem] = {}

    def add(self, problem: Problem, sample: str) -> None:
        told = Problem(problem.file, problem.line, f"{problem.message} (tried with {sample})")
        self._found.setdefault((problem.file, problem.line), told)

    @contextmanager
    def of(self, sample: str) -> Iterator[None]:
        try:
            yield
        except BrokenTemplateError as exc:
            self.add(exc.problem, sample)

    @property
    def problems(self) -> list[Problem]:
        return list(self._found.values())


def try_out(library: Library, name: str, chain: Chain) -> list[Problem]:
    """What goes wrong when a prompt, its comment and its condition meet recorded events."""
    notes = _Notes()
    systems: dict[str, str] = {}  # system message -> the first sample that has it
    prompt = library.prompts[name]
    replies: tuple[Reply, ...] = plausible(prompt.reply_model)
    for scene in _scenes(chain, name):
        for variables in _beginnings(library, chain, name, scene):
            with notes.of(scene.sample):
                rendered = render(library, name, variables, key=KEY)
                systems.setdefault(rendered.system, scene.sample)
                if not rendered.task:
                    notes.add(Problem(prompt.path, 1, "asks nothing: its task is empty"), scene.sample)
        for reply in replies:
            with notes.of(scene.sample):
                render_comment(library, name, {**scene.variables, **_comment(scene, reply)}, key=KEY)
    if len(systems) > 1:
        first, other, *_ = systems.values()
        message = f"the system block is not the same for {first} and for {other}"
        notes.add(Problem(prompt.path, 1, f"{message}; move what an event says into the task block"), first)
    return [*notes.problems, *_try_condition(library, name, replies)]


def _scenes(chain: Chain, name: str) -> Iterator[_Scene]:
    """The samples of a prompt's events; all of the family, where there is none of its very actions."""
    events = chain.events(name)
    for event in dict.fromkeys(key.partition(".")[0] for key in events):
        family = chain.families.get(event)
        if family is None:
            continue  # of a prompt further up, and said there
        scenes = [(_key(event, values), _Scene(sample, family, values)) for sample, values in family.samples()]
        wanted = [scene for key, scene in scenes if key in events or event in events]
        yield from wanted or (scene for _, scene in scenes)


def _key(event: str, variables: Mapping[str, object]) -> str:
    action = variables.get("action")
    return event_key(event, action if isinstance(action, str) else None)


def _beginnings(library: Library, chain: Chain, name: str, scene: _Scene) -> Iterator[Mapping[str, object]]:
    """The variables of a prompt that comes first, and of one that another leads to."""
    leading = chain.leading_to(name)
    if chain.fronts[name].on or not leading:
        yield scene.variables
    for other in leading:
        for reply in plausible(library.prompts[other].reply_model):
            yield {**scene.variables, "analysis": reply}


def _comment(scene: _Scene, reply: Reply) -> Mapping[str, object]:
    full, bare = 0, 1
    kind = full if reply.worth_saying else bare
    extra = {name: plausible(hint)[kind] for name, hint in scene.family.comment_variables.items()}
    return {**extra, "analysis": reply}


def _try_condition(library: Library, name: str, replies: tuple[Reply, ...]) -> list[Problem]:
    try:
        for reply in replies:
            library.next_after(name, reply)
    except BrokenTemplateError as exc:
        return [exc.problem]
    return []
