"""Tries a prompt with an event and its facts. The handler runs as in the service, and nothing is
stored or posted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from hls_handler.engine.comments import CommentRenderer
from hls_handler.engine.library import families
from hls_handler.engine.recording_job import RecordingJob
from hls_handler.errors import Permanent
from hls_handler.events import Event
from hls_handler.handlers.asking import Asking
from hls_handler.handlers.handler import common_variables
from hls_handler.prompting.prompt import Library
from hls_handler.prompting.render import render
from hls_handler.question import RenderedPrompt
from hls_handler.replies import Reply
from hls_handler.review.changed_files import find_unshown
from hls_handler.settings.effective import EffectiveSettings
from hls_handler.trials.replay import NotRepeatable, StoredFacts

PULL_REQUEST = "pull_request"


@dataclass(frozen=True, slots=True)
class Trial:
    """A prompt, and an event with its facts that it is tried with. Nothing is sent before its job
    runs.
    """

    source: StoredFacts
    library: Library
    name: str  # of the prompt
    key: bytes  # secret of the delimiters of untrusted text

    def render_requests(self) -> tuple[RenderedPrompt, ...]:
        """Return the requests of the prompt, at least one: one for each part of the facts.

        Raises `PromptError`, or `NotRepeatable` if Claude would not be asked.
        """
        requests: list[RenderedPrompt] = []
        reason = ""

        def collect(rendered: RenderedPrompt) -> Reply:
            if rendered.prompt.name == self.name:
                requests.append(rendered)
            raise Permanent("not sent")

        with suppress(Permanent):
            reason = self.source.handler.run(self.make_job(collect)).reason
        if requests:
            return tuple(requests)
        raise NotRepeatable(f"it was not a question for Claude: {reason}")

    def make_job(self, send: Callable[[RenderedPrompt], Reply]) -> RecordingJob:
        """Return the job with which a handler asks the prompt and those that follow. `send` sends
        each request.
        """
        source = self.source
        library = self.library
        first = self.name

        def ask_one(prompt: str, variables: Mapping[str, object], _index: int) -> Reply:
            rendered = render(library, prompt, variables, key=self.key)
            return replace(send(rendered), unshown=find_unshown(variables, rendered.task))

        common = common_variables(source.event, first, source.effective)
        keeps_review = source.event.name == PULL_REQUEST
        asking = Asking(library, first, common, ask_one, keeps_review=keeps_review)
        comments = CommentRenderer(library, common, self.key, source.handler.has_sections)
        return source.make_job(asking, comments)


def require_event(
    library: Library, prompt: str, event: Event, effective: EffectiveSettings
) -> None:
    """Raise `NotRepeatable` if neither the prompt nor the settings name the event, which may lack
    variables of it.
    """
    chosen = effective.find_prompt(event.key)
    is_named = event.name in _event_names(library.events(prompt, families()))
    if not is_named and (chosen is None or chosen.prompt != prompt):
        raise NotRepeatable(f"{prompt} is not for {event.key}")


def _event_names(keys: Iterable[str]) -> set[str]:
    return {key.partition(".")[0] for key in keys}
