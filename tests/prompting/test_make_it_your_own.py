"""Tests of the examples in the section "Make it your own" of docs/prompts.md: each has the
documented results.

An example is a heading of the third level and the fenced blocks below it:

    jinja file=my-prompts/issues/analyze.j2    a file; config/settings.yaml adds to the smallest
                                                settings
    text asked                                  text that the messages to Claude must contain
    json reply                                  fields of a reply to the prompt that has an event
    text labels, text comment, text next        results of the last reply: all labels; the beginning
                                                of the comment; the prompt that runs next (empty:
                                                none)
    text excerpt                                text that the comment must contain
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hls_handler.analysis import Analysis, Prompt, Reply, ReplyFields, Usage
from hls_handler.batches.recording_job import RecordingJob
from hls_handler.engine.asking import CommentRenderer
from hls_handler.errors import HlsError
from hls_handler.events import Event
from hls_handler.handlers.handler import Handler, common_variables
from hls_handler.handlers.job import PromptLimits
from hls_handler.handlers.labels import plan_labels
from hls_handler.handlers.registry import HANDLERS
from hls_handler.prompting import recorded
from hls_handler.prompting.library import load_library
from hls_handler.prompting.prompt import Library
from hls_handler.prompting.render import render
from hls_handler.prompting.variables import sample_values
from hls_handler.routing import Rule
from hls_handler.settings.effective import find_chosen_events, without_entry
from tests.engine.world import settings
from tests.github_fake.samples import facts_of
from tests.prompting.samples import FAMILIES, KEY, SHIPPED, copy_shipped, write
from tests.settings.files import SMALLEST, load

GUIDE = (Path(__file__).parent.parent.parent / "docs" / "prompts.md").read_text(encoding="utf-8")
SECTION = re.search(r"^## Make it your own\n(.*?)^## ", GUIDE, re.DOTALL | re.MULTILINE)
BLOCK = re.compile(r"^```(\w+) ([^\n]+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SETTINGS = "config/settings.yaml"
FOLDER = "prompts:\n  directory: [my-prompts, shipped]\n"
KINDS = {path.name for path in SHIPPED.iterdir() if path.is_dir()}
BUDGET = PromptLimits(input_tokens=30_000)


@dataclass(frozen=True, slots=True)
class Example:
    heading: str
    # ("file=my-prompts/issues/analyze.j2" or "reply", content), in order
    blocks: tuple[tuple[str, str], ...]

    @property
    def files(self) -> dict[str, str]:
        return {
            words.removeprefix("file="): content
            for words, content in self.blocks
            if words.startswith("file=")
        }

    @property
    def expectations(self) -> Iterator[tuple[dict[str, Any], str, str]]:
        """Yield (fields of the reply, kind of result such as "labels", expected result)."""
        fields: dict[str, Any] = {}
        for words, content in self.blocks:
            if words == "reply":
                fields = json.loads(content)
            elif not words.startswith("file="):
                yield fields, words, content.strip()


def examples() -> list[Example]:
    assert SECTION is not None
    found = re.findall(r"^### (.*)\n((?:(?!^### ).*\n?)*)", SECTION[1], re.MULTILINE)
    return [
        Example(
            heading, tuple((words.strip(), content) for _, words, content in BLOCK.findall(text))
        )
        for heading, text in found
    ]


def first_event(prompt: Prompt) -> tuple[Handler, Event, Any]:
    """Return the first recorded event of the prompt, with its handler and facts; events of the demo
    come first.
    """
    name = prompt.on[0].partition(".")[0]
    samples = [one for one in recorded.for_event(name) if one.key in prompt.on or name in prompt.on]
    for sample in sorted(samples, key=lambda one: not one.name.startswith("demo/")):
        with suppress(HlsError):
            return HANDLERS[name], *facts_of(sample, HANDLERS[name], BUDGET)
    raise AssertionError(f"no recorded event is one of {prompt.on}")


def make_reply(prompt: Prompt, fields: dict[str, Any]) -> ReplyFields:
    plain: ReplyFields = sample_values(prompt.reply_model)[0]
    return prompt.reply_model.model_validate({**plain.model_dump(), **fields})


def comment_of(
    library: Library, prompt: Prompt, handler: Handler, event: Event, facts: Any, reply: ReplyFields
) -> str:
    def send(name: str, _variables: Mapping[str, object], _index: int) -> Reply:
        asked = library.prompts[name]
        return Reply(asked.id, asked.reply, reply, Usage("claude"))

    common = common_variables(event, prompt.name)
    comments = CommentRenderer(library, common, KEY, handler.has_sections)
    rule = Rule(event.key, prompt.name, without_entry(settings()), prompt.path)
    job = RecordingJob(event, rule, library, common, send, comments, facts=facts)
    job.run(handler)
    return job.analysis.comment or ""


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.heading)
def test_example_has_the_documented_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, example: Example
) -> None:
    def load_example(folder: Path, example: Example, monkeypatch: pytest.MonkeyPatch) -> Library:
        monkeypatch.chdir(folder)
        write(folder, {name: text for name, text in example.files.items() if name != SETTINGS})
        copy_shipped(folder, *({Path(name).parent.name for name in example.files} & KINDS))
        settings = example.files.get(SETTINGS, FOLDER).replace("shipped]", "prompts]")
        loaded = load(folder, SMALLEST + settings)
        folders, chosen = loaded.prompts.folders.values(), find_chosen_events(loaded)
        return load_library(*folders, families=FAMILIES, shipped=SHIPPED, chosen=chosen)

    def compute_result(library: Library, prompt: Prompt, fields: dict[str, Any], what: str) -> str:
        handler, event, facts = first_event(prompt)
        given = {**common_variables(event, prompt.name), **handler.variables(facts)}
        reply = make_reply(prompt, fields)
        match what:
            case "asked":
                rendered = render(library, prompt.name, given, key=KEY)
                return f"{rendered.system}\n{rendered.task}"
            case "labels":
                answered = Reply(prompt.id, prompt.reply, reply, Usage("claude"))
                return ", ".join(
                    label.name
                    for action in plan_labels(Analysis((answered,), None))
                    for label in action.requested
                )
            case "next":
                return library.find_next_prompt(prompt.name, reply) or ""
            case "comment" | "excerpt":
                return comment_of(library, prompt, handler, event, facts, reply)
        raise AssertionError(f"unknown block `text {what}`")

    assert example.files
    library = load_example(tmp_path, example, monkeypatch)
    prompts = [
        prompt for prompt in library.prompts.values() if prompt.on and prompt.path in example.files
    ]
    for prompt in prompts:
        assert compute_result(library, prompt, {}, "asked")
    if example.heading.startswith("Model, length"):
        assert (prompts[0].model, prompts[0].max_tokens, prompts[0].effort) == (
            "claude-opus-5-5",
            8000,
            "high",
        )
    assert list(example.expectations)
    for fields, what, expected in example.expectations:
        result = compute_result(library, prompts[0], fields, what)
        if what in ("asked", "excerpt"):
            assert expected in result
        elif what == "comment":
            assert result.startswith(expected)
        else:
            assert result == expected
