"""The OpenTelemetry SDK's part: spans of ours as its spans, sent by its OTLP/HTTP exporter.

Imported only when spans are asked for. The standard variables of OpenTelemetry hold for what our settings do not say:
OTEL_EXPORTER_OTLP_HEADERS, _CERTIFICATE, _COMPRESSION, _TIMEOUT, OTEL_RESOURCE_ATTRIBUTES.
"""

import logging
import time
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from gateway import __version__
from gateway.observe.trace.spans import Span

PATH = "/v1/traces"


class Exporter:
    """Sends to one collector.

    endpoint  its base URL; PATH is put behind it unless it is there
    service   attributes of the resource: who sends
    """

    def __init__(self, endpoint: str, service: dict[str, str | int]) -> None:
        for name in ("opentelemetry", "urllib3"):  # one event says that sending fails, not a line for each time
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        base = endpoint.rstrip("/")
        self._exporter = OTLPSpanExporter(endpoint=base if base.endswith(PATH) else base + PATH)
        self._resource = Resource.create(service)
        self._scope = InstrumentationScope("ratelimit-gateway", __version__)

    def export(self, spans: Sequence[tuple[str, Span]]) -> bool:
        """Whether the collector took them. Tries again by itself for up to OTEL_EXPORTER_OTLP_TIMEOUT (10 s)."""
        epoch_s = time.time() - time.monotonic()
        try:
            result = self._exporter.export([self._readable(trace_id, span, epoch_s) for trace_id, span in spans])
        except Exception:  # whatever the exporter does not catch costs these spans
            return False
        return bool(result is SpanExportResult.SUCCESS)

    def abandon(self) -> None:
        """Give up what is being sent."""
        self._exporter.shutdown()

    def _readable(self, trace_id: str, span: Span, epoch_s: float) -> ReadableSpan:
        return ReadableSpan(
            name=span.name,
            context=_context(trace_id, span.span_id),
            parent=_context(trace_id, span.parent_id, remote=span.server) if span.parent_id else None,
            resource=self._resource,
            attributes=span.attributes,
            kind=SpanKind.SERVER if span.server else SpanKind.CLIENT,
            status=Status(StatusCode.ERROR) if span.failed else Status(StatusCode.UNSET),
            start_time=int((span.began + epoch_s) * 1e9),
            end_time=int((span.ended + epoch_s) * 1e9),
            instrumentation_scope=self._scope,
        )


def _context(trace_id: str, span_id: str, *, remote: bool = False) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), remote, TraceFlags(TraceFlags.SAMPLED))
