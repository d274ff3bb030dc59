"""Reload of the settings of a running service: which changes apply now and which need a restart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hls_handler.errors import SettingsError
from hls_handler.settings.checks import is_loopback
from hls_handler.settings.model import Settings

NEEDS_RESTART = ("server.host", "server.port", "storage.url", "limits.concurrency")
"""Keys of open sockets, running threads and the open database."""


@dataclass(frozen=True, slots=True)
class SettingsReload:
    settings: Settings  # as read, with the old value of each key in `waiting`
    changed: tuple[str, ...]  # keys with a new value: "github.token", "repositories"
    waiting: tuple[str, ...]  # keys whose new value needs a restart, with their line


def plan_reload(running: Settings, read: Settings) -> SettingsReload:
    """Merge newly read settings with the running ones.

    Raises `SettingsError` for a change that is safe only together with a key that needs a restart.
    """
    settings, waiting = read, []
    for key in NEEDS_RESTART:
        section, _, name = key.partition(".")
        old = getattr(getattr(running, section), name)
        if getattr(getattr(read, section), name) != old:
            waiting.append(read.sources.where(key))
            section_settings = getattr(settings, section).model_copy(update={name: old})
            settings = settings.model_copy(update={section: section_settings})
    if not settings.features.signature_validation and not is_loopback(settings.server.host):
        where = read.sources.where("features.signature_validation")
        listens = f"the running service listens on {settings.server.host}"
        raise SettingsError([f"{where}: false is allowed on a loopback host only, and {listens} until it is restarted"])
    return SettingsReload(settings, tuple(_changed(running, settings)), tuple(waiting))


def _changed(before: Settings, after: Settings) -> Iterator[str]:
    for section in Settings.model_fields:
        old, new = getattr(before, section), getattr(after, section)
        if isinstance(new, tuple):
            if old != new:
                yield section
        else:
            yield from (f"{section}.{n}" for n in type(new).model_fields if getattr(old, n) != getattr(new, n))
