"""A world in which a copy of the shipped prompt is the shadow prompt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hls_handler import shipped
from hls_handler.actions import RequestedLabel
from hls_handler.engine.library import load_checked
from hls_handler.engine.shadow import SHADOW, PromptResult, ShadowResult
from hls_handler.prompting.prompt import Library
from hls_handler.settings.model import Prompts, Settings
from tests.engine.world import BUG, GUID, Ended, MakeWorld, World, settings
from tests.prompting.samples import write

MINOR = BUG.model_copy(update={"priority": "high", "worth_saying": False})
POSTED = Ended(GUID, "done", "added bug, priority-low, difficulty-easy; commented")
BUG_LABELS = (
    RequestedLabel("bug", "kind"),
    RequestedLabel("priority-low", "priority"),
    RequestedLabel("difficulty-easy", "difficulty"),
)
MINOR_LABELS = (BUG_LABELS[0], RequestedLabel("priority-high", "priority"), BUG_LABELS[2])
THEN = "then: {prompt: issues/respond, when: \"analysis.kind == 'question'\"}"
ANALYZE = (
    (shipped.PROMPTS / "issues/analyze.j2")
    .read_text(encoding="utf-8")
    .replace("\n---\n", f"\n{THEN}\n---\n", 1)
)
"""The shipped prompt, followed by a second one for questions."""

COMMENT = (shipped.PROMPTS / "issues/analyze.comment.md.j2").read_text(encoding="utf-8")


def shadow_settings(
    own: Path, *, prompt: str = "issues/strict", calls_per_hour: int = 200
) -> Settings:
    """Settings with a shadow prompt for issues; by default a copy of the shipped prompt in the
    folder `own`.
    """
    own.mkdir(parents=True, exist_ok=True)
    if prompt == "issues/strict":
        write(own, {f"{prompt}.j2": ANALYZE, f"{prompt}.comment.md.j2": COMMENT})
    given = settings()
    prompts = Prompts.model_validate(
        {"directory": [own, shipped.PROMPTS], "use": {"issues": {"prompt": prompt, "shadow": True}}}
    )
    claude = given.claude.model_copy(update={"calls_per_hour": calls_per_hour})
    return given.model_copy(update={"prompts": prompts, "claude": claude})


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


def make_shadow_world(
    make_world: MakeWorld,
    own: Path,
    *replies: object,
    calls_per_hour: int = 200,
    prompt: str = "issues/strict",
) -> World:
    """A world with an accepted delivery of an opened issue and a shadow prompt."""
    world = make_world(
        *replies, given=shadow_settings(own, prompt=prompt, calls_per_hour=calls_per_hour)
    )
    world.prompts = load_cached(world.settings)
    world.accept()
    return world


def stored_shadow(world: World) -> ShadowResult:
    found = SHADOW.decode(world.store.checkpoints.load(GUID).get((SHADOW.name, 0)))
    assert found is not None
    return found


def without_hash(ran: PromptResult | None) -> PromptResult:
    """A run with its prompt id without the hash."""
    assert ran is not None
    return replace(ran, prompt_id=ran.prompt_id.partition("@")[0])
