"""Traces and metrics for OpenTelemetry. Needs the extra `otel`: `pip install "skene-sdk[otel]"`.

Only the API is used: what is recorded goes wherever the app's own SDK sends it, and nowhere without one.
"""

from collections.abc import Callable

from opentelemetry import context, metrics, trace
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Span, Status, StatusCode, TracerProvider

from skene.ports.hooks import Event
from skene.ports.observers import Work, WorkKind

__all__ = ["OpenTelemetry"]

SCOPE = "skene"


class OpenTelemetry:
    """An observer that writes spans and metrics: `Skene(…, observers=[OpenTelemetry()])`.

    Spans are called `skene.decision`, `skene.give_back`, `skene.delivery` and `skene.firing`. Metrics are
    `skene.decisions` and `skene.units` (counters), `skene.deliveries` (a counter) and `skene.duration` (a
    histogram of seconds, of all kinds of work). No attribute of a metric names a person.

    It is a hook, too: `hooks={"otel": …}` counts events in `skene.events`, such as walls and conversions, in
    the process whose worker tells them.

    Args:
        tracer_provider, meter_provider: None takes the ones that the app has set up.
        subjects: write the subject's id on spans, as `skene.subject`. Only where ids may leave the app.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        subjects: bool = False,
    ) -> None:
        self._tracer = trace.get_tracer(SCOPE, tracer_provider=tracer_provider)
        meter = metrics.get_meter(SCOPE, meter_provider=meter_provider)
        self._subjects = subjects
        self._decisions = meter.create_counter("skene.decisions", "{call}", "Calls that were decided.")
        self._units = meter.create_counter("skene.units", "{unit}", "Units that were charged.")
        self._deliveries = meter.create_counter("skene.deliveries", "{attempt}", "Attempts to deliver.")
        self._events = meter.create_counter("skene.events", "{event}", "Events that hooks are told.")
        self._duration = meter.create_histogram("skene.duration", "s", "How long work took.")

    def __repr__(self) -> str:
        return "OpenTelemetry()"

    def begin(self, work: Work) -> Callable[[], None]:
        """Open a span, around whatever the work calls."""
        span = self._tracer.start_span(f"skene.{work.kind}")
        token = context.attach(trace.set_span_in_context(span))

        def end() -> None:
            context.detach(token)
            self._describe(span, work)
            span.end()
            self._measure(work)

        return end

    async def handle(self, event: Event) -> None:
        """Count an event, as a hook."""
        about = {"skene.event": str(event.kind)}
        self._events.add(1, about | ({} if event.loop is None else {"skene.loop": event.loop}))

    async def aclose(self) -> None:
        """Nothing is to be released: the SDK is the app's."""

    def _describe(self, span: Span, work: Work) -> None:
        if not span.is_recording():
            return
        span.set_attributes(_attributes(work))
        if work.allowed is not None:
            span.set_attribute("skene.allowed", work.allowed)
        if work.units:
            span.set_attribute("skene.units", work.units)
        if self._subjects and work.subject:
            span.set_attribute("skene.subject", work.subject)
        if work.error is not None:
            # Its kind alone: a message may name a person.
            span.set_status(Status(StatusCode.ERROR, type(work.error).__name__))

    def _measure(self, work: Work) -> None:
        about = _attributes(work)
        self._duration.record(work.seconds, {"skene.work": str(work.kind), **about})
        if work.kind is WorkKind.DECISION:
            self._decisions.add(1, about)
            if work.units:
                self._units.add(work.units, about)
        elif work.kind is WorkKind.DELIVERY:
            self._deliveries.add(1, about)


def _attributes(work: Work) -> dict[str, str]:
    return {f"skene.{name}": value for name, value in work.labels.items()}
