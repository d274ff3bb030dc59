"""Prompt libraries of tests: the shipped one with a second prompt, loaded once for equal files."""

from __future__ import annotations

from pathlib import Path

from hls_handler.engine.library import load_checked
from hls_handler.prompting.prompt import Library
from hls_handler.settings import shipped
from hls_handler.settings.model import Settings
from tests.engine.world import settings
from tests.prompting.samples import write

THEN = "then: {prompt: issues/respond, when: \"analysis.kind == 'question'\"}"
ANALYZE = (
    (shipped.PROMPTS / "issues/analyze.j2")
    .read_text(encoding="utf-8")
    .replace("\n---\n", f"\n{THEN}\n---\n", 1)
)
"""The shipped prompt, followed by a second one for questions."""

_loaded: dict[object, Library] = {}


def load_cached(given: Settings) -> Library:
    """`load_checked`, cached by the content of the prompt folders."""
    texts = (
        tuple(
            (file.relative_to(folder), file.read_bytes())
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        )
        for folder in given.prompts.folders.values()
    )
    key = (*texts, repr(given.prompts), repr(given.repositories))
    if key not in _loaded:
        _loaded[key] = load_checked(given)
    return _loaded[key]


def load_chain(folder: Path) -> Library:
    """The shipped library, in which a second prompt follows `issues/analyze` for questions."""
    write(folder, {"issues/analyze.j2": ANALYZE})
    return load_cached(settings(prompts={"directory": [folder, shipped.PROMPTS]}))
