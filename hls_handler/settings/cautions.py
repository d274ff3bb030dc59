"""What works, but the operator should hear of it at the start."""

from __future__ import annotations

from collections.abc import Iterator

from hls_handler.settings.checks import is_loopback
from hls_handler.settings.model import Settings, Sources
from hls_handler.settings.retired import current_model, find_retired


def find_cautions(settings: Settings, sources: Sources) -> Iterator[str]:
    """One sentence each, with file and line."""
    retired = find_retired(settings.claude.model)
    if retired:
        yield f"{sources.where('claude.model')}: {retired.sentence}"
    if settings.claude.temperature is not None:
        yield f"{sources.where('claude.temperature')}: has no effect: the models take no temperature; remove the key"
    if settings.server.api_key is None and not is_loopback(settings.server.host):
        yield (
            f"{sources.where('server.host')}: everyone who reaches {settings.server.host} can read /stats and /health; "
            "set server.api_key to ask for a key"
        )


def with_successors(settings: Settings) -> Settings:
    """The same settings, with the current model of the line in place of one that is gone."""
    model = current_model(settings.claude.model)
    return settings.model_copy(update={"claude": settings.claude.model_copy(update={"model": model})})
