"""Warnings at the start: problems of the settings that do not stop the service."""

from __future__ import annotations

from collections.abc import Iterator

from hls_handler.settings.checks import is_loopback
from hls_handler.settings.model import Settings, Sources
from hls_handler.settings.retired import find_retired, resolve_model


def find_warnings(settings: Settings, sources: Sources) -> Iterator[str]:
    """Yield one sentence for each warning, with file and line."""
    retired = find_retired(settings.claude.model)
    if retired:
        yield f"{sources.where('claude.model')}: {retired.sentence}"
    if settings.claude.temperature is not None:
        yield f"{sources.where('claude.temperature')}: has no effect, models accept no temperature; remove the key"
    if settings.server.api_key is None and not is_loopback(settings.server.host):
        yield (
            f"{sources.where('server.host')}: anyone who reaches {settings.server.host} can read /stats and /health; "
            "set server.api_key to require a key"
        )


def replace_retired_model(settings: Settings) -> Settings:
    """Replace a retired `claude.model` by its successor."""
    model = resolve_model(settings.claude.model)
    return settings.model_copy(update={"claude": settings.claude.model_copy(update={"model": model})})
