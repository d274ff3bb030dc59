"""Reports once, as soon as the probe knows, whether GitHub and Claude accept the credentials."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hls_handler.engine.health import ComponentHealth, Health
from hls_handler.errors import Dependency

log = logging.getLogger(__name__)


class ConnectionReport:
    """Logs a line about GitHub and one about Claude after the start, and again after `forget`. Thread-safe.

    A problem is a WARNING. `show`, if set, gets the other lines as sentences, in place of the log.
    """

    def __init__(self, health: Health) -> None:
        self._health = health
        self._lock = threading.Lock()
        self._due: set[Dependency] = {"github", "claude"}
        self.show: Callable[[str], None] | None = None

    def forget(self, dependency: Dependency) -> None:
        """Report this dependency again when its state is known. Call it after a change of its settings."""
        with self._lock:
            self._due.add(dependency)

    def report(self) -> None:
        components = self._health.snapshot().components
        with self._lock:
            known = sorted(self._due, reverse=True)
            known = [one for one in known if components[one].state != "unknown"]
            self._due.difference_update(known)
        for dependency in known:
            if components[dependency].message is not None:
                _warn(dependency, components[dependency])
            elif dependency == "github":
                self._report_github(components["github"].metrics)
            else:
                self._report_claude(components["claude"].metrics)

    def _report_github(self, metrics: Mapping[str, Any]) -> None:
        identity = metrics.get("identity") or {}
        login, missing = identity.get("login"), list(find_missing(identity))
        if missing:
            log.warning("permissions are missing on GitHub", extra={"account": login, "missing": missing})
        elif self.show is not None:
            self.show(f"GitHub:    acts as {login}, no missing permission is known")
        else:
            log.info("GitHub accepts the credentials", extra={"account": login, "missing": []})

    def _report_claude(self, metrics: Mapping[str, Any]) -> None:
        model, lifecycle = metrics.get("model"), metrics.get("model_lifecycle")
        is_checked = lifecycle != "unlisted"
        if self.show is not None:
            checked = "the key works" if is_checked else "key and model not checked: the service lists no models"
            self.show(f"Claude:    {model}, {checked}")
        else:
            log.info("Claude accepts the key" if is_checked else "Claude's key is not checked", extra={"model": model})


def find_missing(identity: Mapping[str, Any]) -> Iterator[str]:
    """Yield the sentences about missing permissions in the identity that `/health` shows."""
    yield from identity.get("missing_permissions") or ()
    installations: Sequence[Mapping[str, Any]] = identity.get("installations") or ()
    for one in installations:
        yield from (f"{sentence} (installation on {one['account']})" for sentence in one["missing_permissions"])


def _warn(dependency: Dependency, component: ComponentHealth) -> None:
    message = {"github": "GitHub cannot be used", "claude": "Claude cannot be used"}[dependency]
    log.warning(message, extra={"why": component.message, "remedy": component.remedy})
