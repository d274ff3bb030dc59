"""Traces by OpenTelemetry: a span for each attempt at a delivery, below it its steps, and calls of
GitHub and Claude.

Spans contain names, ids, numbers and states, never texts. Without an endpoint in the settings
nothing is recorded, and OpenTelemetry is not imported. The tracer is bound to the thread that
processes the delivery, so calls that belong to no delivery have no span.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from hls_handler import __version__
from hls_handler.errors import HlsError, StepFailed, StoreUnavailable

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

SEND_EVERY_S = 2.0
SEND_TIMEOUT_S = 5.0
LOG_OUTAGE_EVERY_S = 600.0
MAX_WAITING = 4096
MAX_SENT = 512
"""Most spans that wait to be sent, about 8 MB, and that one request has. More are dropped: work
never waits.
"""
MAX_ATTRIBUTE_CHARACTERS = 200
EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"

Attributes = Mapping[str, str | int | float | bool | None]
"""None stands for an attribute that is not set."""

_tracer: ContextVar[Tracer | None] = ContextVar("tracer", default=None)


def is_installed() -> bool:
    """Return True if the packages of the extra `otel` are installed."""
    try:
        return find_spec(EXPORTER) is not None
    except ModuleNotFoundError:
        return False


class Tracing:
    """The connection to the receiver of traces; without a provider, nothing is recorded.
    Thread-safe.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._provider = provider
        self._tracer = None if provider is None else provider.get_tracer("hls_handler", __version__)

    @contextmanager
    def trace(self, name: str, attributes: Attributes) -> Iterator[None]:
        """Record a span without a parent. Until its end, `span` records its children in this
        thread.
        """
        if self._tracer is None:
            yield
            return
        bound = _tracer.set(self._tracer)
        try:
            with span(name, attributes, kind="CONSUMER"):
                yield
        finally:
            _tracer.reset(bound)

    def close(self, within_s: float) -> None:
        """Send the spans that wait, for at most `within_s` seconds."""
        if self._provider is not None:
            closing = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
            closing.start()
            closing.join(within_s)


NO_TRACING = Tracing()


@contextmanager
def span(
    name: str,
    attributes: Attributes | None = None,
    *,
    kind: Literal["INTERNAL", "CLIENT", "CONSUMER"] = "INTERNAL",
) -> Iterator[None]:
    """Record a span for the block, below that of the enclosing block. Does nothing outside of
    `Tracing.trace`.

    An exception is recorded by its class, because its message may contain text from GitHub.
    """
    tracer = _tracer.get()
    if tracer is None:
        yield
        return
    from opentelemetry.trace import SpanKind

    started = tracer.start_as_current_span(
        name, kind=SpanKind[kind], record_exception=False, set_status_on_exception=False
    )
    with started:
        annotate(attributes or {})
        try:
            yield
        except Exception as exc:
            is_failure = isinstance(exc, StepFailed | StoreUnavailable) or not isinstance(
                exc, HlsError
            )
            annotate({"error.type": type(exc).__name__}, failed=is_failure)
            raise


def annotate(attributes: Attributes, *, failed: bool = False) -> None:
    """Add attributes to the innermost span of this thread, if there is one. `failed` marks it as an
    error.
    """
    if _tracer.get() is None:
        return
    from opentelemetry.trace import StatusCode, get_current_span

    current = get_current_span()
    current.set_attributes({name: value for name, value in attributes.items() if value is not None})
    if failed:
        current.set_status(StatusCode.ERROR)


def name_span(name: str) -> None:
    """Rename the innermost span of this thread, if there is one."""
    if _tracer.get() is not None:
        from opentelemetry.trace import get_current_span

        get_current_span().update_name(name)


def connect(
    endpoint: str,
    headers: Mapping[str, str],
    *,
    instance: str,
    session: Any = None,
    ca_path: str | None = None,
) -> Tracing:
    """Return a connection to a receiver of OTLP over HTTP, which a thread sends spans to.

    `endpoint` is the whole address, with /v1/traces. `instance` is the name of this process.
    `session` is one of the library requests, with its proxy; `ca_path` names the certificates to
    trust. Sends nothing yet.
    """
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanLimits, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON

    exporter = OTLPSpanExporter(
        endpoint,
        certificate_file=ca_path,
        headers=dict(headers),
        timeout=SEND_TIMEOUT_S,
        compression=Compression.Gzip,
        session=session,
    )
    logging.getLogger(EXPORTER).filters[:] = [_Outages()]
    # The SDK reads missing values from variables of the environment. It adds the headers of
    # OTEL_EXPORTER_OTLP_HEADERS.
    processor = BatchSpanProcessor(
        exporter,
        max_queue_size=MAX_WAITING,
        schedule_delay_millis=SEND_EVERY_S * 1000,
        max_export_batch_size=MAX_SENT,
        export_timeout_millis=SEND_TIMEOUT_S * 1000,
    )
    provider = TracerProvider(
        sampler=ALWAYS_ON,
        resource=Resource(
            {"service.name": "hls", "service.version": __version__, "service.instance.id": instance}
        ),
        span_limits=SpanLimits(max_span_attribute_length=MAX_ATTRIBUTE_CHARACTERS),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(processor)
    return Tracing(provider)


class _Outages(logging.Filter):
    """Pass one line of the exporter in ten minutes: it logs each failure, and a receiver can be
    away for days.
    """

    _next_s = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.created < self._next_s:
            return False
        self._next_s = record.created + LOG_OUTAGE_EVERY_S
        record.msg = f"traces cannot be sent: {record.getMessage()}"
        record.args = ()
        return True
