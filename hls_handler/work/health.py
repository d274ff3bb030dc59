"""How the service's parts are: what the last real use of each said, since when, and what the operator does about it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal, get_args

Component = Literal["store", "queue", "github", "claude", "prompts", "settings", "webhooks"]
Severity = Literal["degraded", "unhealthy"]
ComponentState = Literal["unknown", "healthy", "degraded", "unhealthy"]
Overall = Literal["healthy", "degraded", "unhealthy"]

log = logging.getLogger(__name__)

COMPONENTS: tuple[Component, ...] = get_args(Component)


@dataclass(frozen=True, slots=True)
class ComponentHealth:
    """One part. `since` is when it came into this state (aware UTC), whatever was said about it meanwhile."""

    state: ComponentState
    since: datetime
    message: str | None = None  # what is wrong; None when nothing is
    remedy: str | None = None  # what the operator does
    figures: Mapping[str, int] = field(default_factory=dict)  # "database_bytes" -> 81920


@dataclass(frozen=True, slots=True)
class HealthSnapshot:
    components: Mapping[Component, ComponentHealth]

    @property
    def overall(self) -> Overall:
        """The worst of all; a component that was not used yet counts as healthy."""
        states = {component.state for component in self.components.values()}
        if "unhealthy" in states:
            return "unhealthy"
        return "degraded" if "degraded" in states else "healthy"


USE_COUNTS_FOR = timedelta(minutes=10)
"""Twice the longest pause between two tries: what a delivery has seen is not outdone by a probe that sees less."""


class Health:
    """Told by whoever used a part how it went; asked by `/health`. Safe to call from every thread.

    `clock` gives aware UTC. `unhealthy` is for a store that cannot be written, where no delivery can be taken in; all
    else that is wrong is `degraded`, since what comes in is kept and worked on later.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        started = clock()
        self._components = {name: ComponentHealth("unknown", started) for name in COMPONENTS}
        self._failed_in_use_at: dict[Component, datetime] = {}
        self._figures: dict[Component, Mapping[str, int]] = {}

    def moment(self) -> datetime:
        """When a use begins, for `ok`."""
        return self._clock()

    def ok(self, component: Component, *, begun_at: datetime | None = None) -> None:
        """The component was used, and it worked. A long use says nothing of trouble that came after it had begun."""
        with self._lock:
            failed_at = self._failed_in_use_at.get(component)
            if begun_at is not None and failed_at is not None and failed_at > begun_at:
                return
            self._failed_in_use_at.pop(component, None)
            self._set_healthy(component)

    def answers(self, component: Component) -> None:
        """The component answers a probe, which proves less than a use does: reading works while writing may not."""
        with self._lock:
            failed_at = self._failed_in_use_at.get(component)
            if failed_at is None or self._clock() - failed_at > USE_COUNTS_FOR:
                self._failed_in_use_at.pop(component, None)
                self._set_healthy(component)

    def forget(self, component: Component) -> None:
        """The component is another from now on, by other settings: what was said of it does not count any more."""
        with self._lock:
            self._failed_in_use_at.pop(component, None)
            if self._components[component].state != "unknown":
                self._components[component] = ComponentHealth("unknown", self._clock())

    def _set_healthy(self, component: Component) -> None:
        before = self._components[component]
        if before.state != "healthy":
            self._components[component] = ComponentHealth("healthy", self._clock())
        if before.state == "unhealthy":
            down_s = round((self._clock() - before.since).total_seconds(), 3)
            log.warning("healthy again", extra={"component": component, "unhealthy_for_s": down_s})

    def report_problem(
        self,
        component: Component,
        message: str,
        remedy: str,
        *,
        severity: Severity = "degraded",
        by_probe: bool = False,
    ) -> None:
        """The component was used, and it did not work; `message` and `remedy` are shown to the operator.

        What a probe finds does not take the place of what a use found.
        """
        with self._lock:
            before = self._components[component]
            if by_probe and component in self._failed_in_use_at:
                return
            now = self._clock()
            since = before.since if before.state == severity else now
            self._components[component] = ComponentHealth(severity, since, message, remedy)
            if not by_probe:
                self._failed_in_use_at[component] = now
            if severity == "unhealthy" and before.state != severity:
                log.error("unhealthy", extra={"component": component, "why": message, "remedy": remedy})

    def measured(self, component: Component, figures: Mapping[str, int]) -> None:
        """What was measured of a component last, such as its size; shown beside its state."""
        with self._lock:
            self._figures[component] = figures

    def snapshot(self) -> HealthSnapshot:
        with self._lock:
            return HealthSnapshot(
                {
                    name: replace(component, figures=self._figures.get(name, {}))
                    for name, component in self._components.items()
                }
            )
