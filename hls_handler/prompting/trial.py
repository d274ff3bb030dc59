"""Smoke render: rendering of each prompt with recorded events, and with sample replies where it needs a reply."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from hls_handler.analysis import Reply
from hls_handler.events import event_key
from hls_handler.prompting.chain import PromptGraph
from hls_handler.prompting.family import Family
from hls_handler.prompting.plausible import sample_values
from hls_handler.prompting.problems import BrokenTemplateError, Problem
from hls_handler.prompting.prompt import Library
from hls_handler.prompting.render import render, render_comment

KEY = b"trial"


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
