"""Health of the service's components: the state of each, since when, the problem, and the
remedy.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal, get_args

from hls_handler.errors import StoreUnavailable

Component = Literal[
    "store",
    "queue",
    "github",
    "claude",
    "prompts",
    "settings",
    "webhooks",
    "catch_up",
    "mirror",
    "vectors",
]
ComponentSeverity = Literal["degraded", "unhealthy"]
ComponentState = Literal["unknown", "healthy", "degraded", "unhealthy"]
Overall = Literal["healthy", "degraded", "unhealthy"]

log = logging.getLogger(__name__)

COMPONENTS: tuple[Component, ...] = tuple(one for one in get_args(Component) if one != "vectors")
"""The components of every service. The others appear with the first report about them."""


LOGGED: frozenset[Component] = frozenset(
    {"store", "queue", "github", "claude", "webhooks", "mirror"}
)
"""The components whose changes of state are logged here. Others log what they do instead."""


@dataclass(frozen=True, slots=True)
class ComponentHealth:
    """State of one component. `since` is when the state began (aware UTC); a new message does not
    change `since`.
    """

    state: ComponentState
    since: datetime
    message: str | None = None  # the problem; None if there is none
    remedy: str | None = None  # the operator's next step
    metrics: Mapping[str, object] = field(default_factory=dict)  # JSON: "database_bytes" -> 81920


@dataclass(frozen=True, slots=True)
class HealthSnapshot:
    components: Mapping[Component, ComponentHealth]

    @property
    def overall(self) -> Overall:
        """The worst state among the components; "unknown" counts as healthy."""
        states = {component.state for component in self.components.values()}
        if "unhealthy" in states:
            return "unhealthy"
        return "degraded" if "degraded" in states else "healthy"


USE_COUNTS_FOR = timedelta(minutes=10)
"""For this time after a failed use, `probe_ok` does not clear the problem: twice the longest pause
between attempts.
"""


REVIEW = "review"
"""The use of Claude with `claude.review_model`, which may be unknown while `claude.model`
answers.
"""


class Health:
    """The health of all components. Thread-safe.

    `clock` returns aware UTC. "unhealthy" means that the database is not writable, so no delivery
    can be accepted. All other problems are "degraded": deliveries are accepted and processed later.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self.clock = clock
        self._lock = threading.Lock()
        started = clock()
        self._unknown = ComponentHealth("unknown", started)
        self._components = dict.fromkeys(COMPONENTS, self._unknown)
        self._failed_in_use_at: dict[Component, datetime] = {}
        self._worked_in_use: dict[Component, set[str]] = {}
        self._lasting: set[Component] = set()

    def ok(self, component: Component, use: str = "") -> None:
        """Record a successful use, and clear the component's problem, unless only a probe can see
        that it has ended.

        `use` tells uses apart of which one can fail while another one works.
        """
        with self._lock:
            self._failed_in_use_at.pop(component, None)
            self._worked_in_use.setdefault(component, set()).add(use)
            if component not in self._lasting:
                self._set_healthy(component)

    def worked_in_use(self, component: Component, use: str = "") -> bool:
        """Return whether a use since the start, `forget` and the last failure was successful."""
        with self._lock:
            return use in self._worked_in_use.get(component, ())

    def probe_ok(self, component: Component) -> None:
        """Record a successful probe. Clear the component's problem, unless a use failed in the last
        ten minutes.
        """
        with self._lock:
            failed_at = self._failed_in_use_at.get(component)
            if failed_at is None or self.clock() - failed_at > USE_COUNTS_FOR:
                self._failed_in_use_at.pop(component, None)
                self._set_healthy(component)

    def forget(self, component: Component) -> None:
        with self._lock:
            self._failed_in_use_at.pop(component, None)
            self._worked_in_use.pop(component, None)
            self._set(component, "unknown", self.clock())

    def _set(
        self,
        component: Component,
        state: ComponentState,
        now: datetime,
        message: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self._lasting.discard(component)
        before = self._components.get(component, self._unknown)
        since = before.since if before.state == state else now
        self._components[component] = replace(
            before, state=state, since=since, message=message, remedy=remedy
        )

    def _set_healthy(self, component: Component) -> None:
        before = self._components.get(component, self._unknown)
        if before.state == "healthy":  # the receiver reports each commit
            return
        now = self.clock()
        self._set(component, "healthy", now)
        if before.state != "unknown" and component in LOGGED:
            down_s = round((now - before.since).total_seconds(), 3)
            log.warning("healthy again", extra={"component": component, "unhealthy_for_s": down_s})

    def report_problem(
        self,
        component: Component,
        message: str,
        remedy: str,
        *,
        severity: ComponentSeverity = "degraded",
        by_probe: bool = False,
        is_lasting: bool = False,
    ) -> None:
        """Replace the component's problem. If `by_probe`, keep a problem that a worker or the
        receiver reported.

        A lasting problem, such as a missing permission, does not end with a successful use.
        """
        with self._lock:
            before = self._components.get(component, self._unknown)
            if by_probe and component in self._failed_in_use_at:
                return
            now = self.clock()
            self._set(component, severity, now, message, remedy)
            if is_lasting:
                self._lasting.add(component)
            if not by_probe:
                self._failed_in_use_at[component] = now
                self._worked_in_use.pop(component, None)
            if before.state != severity and component in LOGGED:
                level = logging.ERROR if severity == "unhealthy" else logging.WARNING
                fields = {"component": component, "why": message, "remedy": remedy}
                log.log(level, severity, extra=fields)

    def report_store_problem(self, exc: StoreUnavailable) -> None:
        """Set the store to "unhealthy": if one thread cannot write to it, the receiver cannot
        either.
        """
        remedy = "see the message; HLS continues when the database responds again"
        self.report_problem("store", str(exc), remedy, severity="unhealthy")

    def set_metrics(self, component: Component, metrics: Mapping[str, object]) -> None:
        """Set the values that `/health` shows for a component: {"database_bytes": 81920}."""
        with self._lock:
            before = self._components.get(component, self._unknown)
            self._components[component] = replace(before, metrics=metrics)

    def snapshot(self) -> HealthSnapshot:
        with self._lock:
            return HealthSnapshot(dict(self._components))
