"""The pages about prompts: the library, and one prompt, which is rendered with a stored
delivery.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from hls_handler.claude.provider import request_schema
from hls_handler.console.frame import Frame, Pages
from hls_handler.engine.library import families
from hls_handler.prompting.prompt import Library
from hls_handler.prompting.render import COMMON
from hls_handler.prompting.variables import VariableDoc, document_variables
from hls_handler.reports.prompt_library import (
    Version,
    describe_prompt,
    format_custom_fields,
    list_labels,
    list_prompts,
)

MAX_STATS_AGE_S = 10.0
"""Seconds for which pages share statistics: sums over all stored calls, which take 10 to 30 ms with
75,000 calls.
"""

MAX_VERSIONS = 50
MAX_CORRECTED = 20


class PromptPages(Pages):
    def __init__(self, frame: Frame, versions: Callable[[], Sequence[Version]]) -> None:
        super().__init__(frame)
        self._prompts = frame.ports.prompts
        self._versions = versions

    def routes(self) -> Sequence[BaseRoute]:
        return [
            self._frame.page("/prompts", self._list),
            self._frame.page("/prompts/{family}/{name:path}", self._show),
        ]

    def _list(self, request: Request) -> Response:
        reloading = self._prompts()
        library = reloading.latest
        return self._frame.render(
            request,
            "prompts.html",
            prompts=list_prompts(library, self._versions()),
            problem=reloading.reload_error,
            warnings=library.warnings,
        )

    def _show(self, request: Request) -> Response:
        name = prompt_name(request)
        library = self._prompts().latest
        if name not in library.prompts:
            return self._frame.message(
                request, f"There is no prompt {name} in the library.", status=404
            )
        prompt = library.prompts[name]
        sources = library.sources[name].sources
        schema = request_schema(prompt.reply_model.model_json_schema())
        return self._frame.render(
            request,
            "prompt.html",
            prompt=prompt,
            listed=describe_prompt(library, prompt, self._versions()),
            files=[(source, library.references(source)) for source in sources],
            fields=format_custom_fields(prompt),
            labels=list_labels(prompt.reply_model),
            schema=json.dumps(schema, indent=2),
            variables=_document(library, name),
            corrected=self._store.corrections.newest_of_prompt(name, limit=MAX_CORRECTED),
            max_versions=MAX_VERSIONS,
        )


def prompt_name(request: Request) -> str:
    return f"{request.path_params['family']}/{request.path_params['name']}"


def _document(library: Library, name: str) -> list[VariableDoc]:
    by_event = families()
    event = next((key.partition(".")[0] for key in library.events(name, by_event)), None)
    if event is None or event not in by_event:
        return []
    family = by_event[event]
    hints: dict[str, object] = {**COMMON, **family.variables}
    for other in library.predecessors(name):
        hints["analysis"] = library.prompts[other].reply_model
    return document_variables(hints, (variables for _, variables in family.samples()))
