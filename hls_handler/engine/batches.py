"""Differences between a delivery of a batch and one of a webhook. If its result is only recorded, a
prompt of the batch is asked about the event, and nothing is written to GitHub.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from pydantic import TypeAdapter

from hls_handler.deliveries import RECORDED, End
from hls_handler.engine.asking import ClaudeQuestions, prompt_limits
from hls_handler.engine.job import Job, facts_codec
from hls_handler.engine.recording_job import RecordingJob, read_facts
from hls_handler.engine.repository_settings import SETTINGS_FILE
from hls_handler.errors import ConversationIgnored, Permanent, PromptError
from hls_handler.events import Event
from hls_handler.github.reader import GithubReader
from hls_handler.handlers import handler_for
from hls_handler.handlers.asking import Asking
from hls_handler.handlers.handler import common_variables
from hls_handler.handlers.job import Source
from hls_handler.handlers.reader import EMPTY_HISTORY
from hls_handler.prompting.library import restore_library
from hls_handler.prompting.prompt import Library, PromptSources
from hls_handler.routing import Rule
from hls_handler.settings.effective import (
    EffectiveSettings,
    Origin,
    apply_repository_settings,
)
from hls_handler.settings.model import Settings
from hls_handler.store.batches import Batch

PROMPTS = "prompts"
"""Key of the prompts in a batch's plan."""
NO_RESULT = "no result"
"""`End.kind` of a recorded delivery without a usable reply."""


@dataclass(frozen=True, slots=True)
class AskedPrompt:
    """A prompt as a batch asks it, whatever its files contain later."""

    name: str
    title: str  # "issues/analyze@3b4b87", or "issues/analyze@3b4b87 with claude-haiku-4-5"
    sources: PromptSources
    model: str | None = None  # in place of its own

    def restore(self) -> Library:
        """Return a library of this prompt. Its follow-up prompts are not asked."""
        library = restore_library(self.sources)
        prompt = replace(library.prompts[self.name], then=None)
        if self.model is not None:
            prompt = replace(prompt, model=self.model)
        return replace(library, prompts={self.name: prompt})


_PROMPTS = TypeAdapter(tuple[AskedPrompt, ...])


def dump_prompts(prompts: Sequence[AskedPrompt]) -> object:
    return _PROMPTS.dump_python(tuple(prompts), mode="json")


def load_prompts(plan: Mapping[str, Any]) -> Sequence[AskedPrompt]:
    return _PROMPTS.validate_python(plan[PROMPTS])


def find_index(request_id: str) -> int:
    """Return the index of the prompt that a recorded delivery asks."""
    return int(request_id.removeprefix(RECORDED))


COMMENTS = "features.auto_commenting"


def require_not_undone(batch: Batch) -> None:
    """Raise `ConversationIgnored` after a person took the batch back."""
    if batch.state == "undone":
        reason = f"batch {batch.id} was taken back before this issue was processed"
        raise ConversationIgnored(reason, "stopped")


def limit_rule(rule: Rule, batch: Batch) -> Rule:
    """Return the rule without comments, unless the batch has them."""
    effective = rule.effective
    if batch.terms["comments"] or not effective.features.auto_commenting:
        return rule
    features = effective.features.model_copy(update={"auto_commenting": False})
    origin = Origin((COMMENTS,), person=f"batch {batch.id}, which has no --comments")
    origins = {**effective.origins, COMMENTS: origin}
    return replace(rule, effective=replace(effective, features=features, origins=origins))


def run_recorded(job: Job) -> End:
    """Ask the prompt about the event. Its reply is stored with its call, and nothing else."""
    assert job.batch is not None
    asked = load_prompts(job.batch.plan)[find_index(job.lease.request_id)]
    library = asked.restore()
    files = [SETTINGS_FILE.decode(job.steps.get((SETTINGS_FILE.name, index))) for index in range(2)]
    effective = apply_repository_settings(
        job.rule.effective, *(file.settings for file in files if file is not None)
    )
    job = replace(
        job,
        rule=replace(job.rule, prompt=asked.name, effective=effective),
        config=replace(job.config, library=library),
    )
    name = job.handler.name
    try:
        with job.record_failure("analysis"):
            _ask(job)
    except ConversationIgnored as exc:
        return End("ignored", str(exc), kind=exc.kind, handler=name)
    except (Permanent, PromptError) as exc:
        return End("ignored", str(exc), kind=NO_RESULT, handler=name)
    return End("done", "recorded; nothing was written", handler=name)


def _ask(job: Job) -> None:
    event = job.event
    name = job.rule.prompt
    facts = job.run_step(facts_codec(job.handler.facts_type), 0, partial(_read, job))
    asking = Asking(
        job.config.library,
        name,
        common_variables(event, name, job.rule.effective),
        ClaudeQuestions(job).send,
        keeps_review=event.name == "pull_request",
    )
    RecordingJob(event, job.rule, asking, None, facts=facts).run(job.handler)


def _read(job: Job) -> Any:
    job.require_reads_allowed()
    reader = job.context.github.reader(job.event.repository.full_name, bot=job.bot)
    config = job.config
    return read_to_record(
        job.event, reader, config.settings, config.library, job.rule.effective, job.rule.prompt
    )


def read_to_record(
    event: Event,
    reader: GithubReader,
    settings: Settings,
    library: Library,
    effective: EffectiveSettings,
    prompt: str,
) -> Any:
    """Read the facts of an event as it was: not what GitHub shows now, without documentation and
    similar issues, of which only those of now are known, and without what HLS has stored.
    """
    event = replace(event, is_recent=True)
    limits = prompt_limits(settings, library, event.name, effective, prompt)
    limits = replace(limits, documents=False, similar=False)
    return read_facts(handler_for(event.name), Source(event, reader, EMPTY_HISTORY, limits))
