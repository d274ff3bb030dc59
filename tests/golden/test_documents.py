"""Golden questions about this project's documentation: the sections that are found, and the silence
where none answers.

The full-text search finds the right section for 23 of 29 questions and 8 of 10.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from hls_handler.engine.handler_job import Documents
from hls_handler.events import Repository
from hls_handler.retrieval.words import question_words
from hls_handler.settings.path_globs import EMPTY_PATH_FILTER
from tests.engine.claude import FakeClaude
from tests.engine.world import QUESTION, World, open_world, settings
from tests.golden.cases import FOLDER
from tests.handlers.world import ISSUE

PROJECT = FOLDER.parent.parent
INVENTED = "Set `slack.url` in the settings, and restart the service."
INVENTED_REPLY = {
    "recommended_response": f"That is documented: {INVENTED}",
    "sources": [{"number": number, "quote": INVENTED} for number in (1, 2, 3)],
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world whose repository has this project's documentation, and whose Claude invents
    quotes.
    """
    reply = QUESTION.model_validate({**QUESTION.model_dump(), **INVENTED_REPLY})
    folder = tmp_path_factory.mktemp("documents")
    claude = FakeClaude([reply])
    with open_world(folder, replies=claude, given=settings(retrieval=True)) as opened:
        documents = (PROJECT / "README.md", *PROJECT.glob("docs/**/*.md"))
        texts = {f"{file.relative_to(PROJECT)}": file.read_text("utf-8") for file in documents}
        opened.github.commit(texts, branch="master")
        yield opened


def load(kind: str) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = yaml.safe_load(
        Path(FOLDER / "questions.yaml").read_text("utf-8")
    )[kind]
    return cases


@pytest.mark.parametrize(("kind", "questions", "least"), [("asked", 29, 23), ("kept", 10, 8)])
def test_the_right_section_is_one_of_three(
    world: World, kind: str, questions: int, least: int
) -> None:
    def find_headings(world: World, question: str) -> set[str]:
        """Return the headings of the sections for a question, and those above them:
        "docs/setup.md#hls init".
        """
        title, _, body = question.partition("\n")
        found = world.store.texts.find_sections(
            186853002, question_words(title, body), EMPTY_PATH_FILTER
        )
        return {f"{one.path}#{heading}" for one in found for heading in one.title.split(" > ")}

    repository = Repository(186853002, "Codertocat/Hello-World", False, None, "master", None)
    problems: list[str] = []
    Documents(world.store.texts, None, problems.append).update(
        repository, world.github.reader(repository.full_name)
    )
    assert problems == []
    cases = load(kind)
    missed = [
        case["question"]
        for case in cases
        if not find_headings(world, case["question"]) & {*case["section"]}
    ]
    assert len(cases) == questions
    assert len(missed) <= questions - least, missed


def test_nothing_is_posted_where_the_documentation_is_silent_and_the_reply_invents_a_quote(
    world: World,
) -> None:
    for number, case in enumerate(load("silent")):
        title, _, body = case["question"].partition("\n")
        world.github.put_issue(replace(ISSUE, title=title, body=body))
        world.accept(guid=f"silent-{number}")
        assert world.finish().state == "done"
        world.advance(3_601)
    asked = [rendered.task for rendered in world.claude.asked]
    assert (len(asked), world.github.comments) == (10, {})
    assert any("Sections of the repository's documentation" in task for task in asked)
