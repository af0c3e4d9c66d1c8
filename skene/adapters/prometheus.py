"""Metrics for Prometheus. Needs the extra `prometheus`: `pip install "skene-sdk[prometheus]"`."""

from collections.abc import Callable

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest

from skene.ports.hooks import Event
from skene.ports.observers import Work, WorkKind

__all__ = ["CONTENT_TYPE", "PrometheusMetrics"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The media type of `PrometheusMetrics.text()`."""


class PrometheusMetrics:
    """An observer that counts: `Skene(…, observers=[PrometheusMetrics()])`.

    `skene_decisions_total`, `skene_units_total` and `skene_units_given_back_total` by loop, step, meter, plan
    (and the first by outcome), `skene_deliveries_total` by channel, template and outcome,
    `skene_duration_seconds` by work. No label names a person. It is a hook, too: `hooks={"prometheus": …}`
    counts events in `skene_events_total` by event and loop, in the process whose worker tells them.

    Args:
        registry: where the metrics are kept; the library's own, which the app's `/metrics` shows already. One
            registry takes one of these.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        counted = ("loop", "step", "meter", "plan")
        self._registry = registry
        self._decisions = Counter(
            "skene_decisions", "Calls that were decided.", (*counted, "outcome"), registry=registry
        )
        self._units = Counter("skene_units", "Units that were charged.", counted, registry=registry)
        self._given_back = Counter(
            "skene_units_given_back", "Units of calls that failed.", counted, registry=registry
        )
        self._deliveries = Counter(
            "skene_deliveries", "Attempts to deliver.", ("channel", "template", "outcome"), registry=registry
        )
        self._events = Counter("skene_events", "What hooks are told.", ("event", "loop"), registry=registry)
        self._duration = Histogram(
            "skene_duration_seconds", "How long it took.", ("work",), registry=registry
        )

    def __repr__(self) -> str:
        return "PrometheusMetrics()"

    def begin(self, work: Work) -> Callable[[], None]:
        """Count the work when it is over."""
        return lambda: self._count(work)

    async def handle(self, event: Event) -> None:
        """Count an event, as a hook."""
        self._events.labels(str(event.kind), event.loop or "").inc()

    async def aclose(self) -> None:
        """Nothing is to be released."""

    def text(self) -> bytes:
        """Everything in the registry, in Prometheus's text format; its media type is `CONTENT_TYPE`."""
        return generate_latest(self._registry)

    def _count(self, work: Work) -> None:
        self._duration.labels(str(work.kind)).observe(work.seconds)
        counted = (work.loop, work.step, work.meter or "", work.plan or "")
        if work.kind is WorkKind.DECISION:
            self._decisions.labels(*counted, work.outcome).inc()
            self._units.labels(*counted).inc(work.units)
        elif work.kind is WorkKind.GIVE_BACK and work.error is None and work.outcome == "done":
            self._given_back.labels(*counted).inc(work.units)
        elif work.kind is WorkKind.DELIVERY:
            self._deliveries.labels(work.channel or "", work.template or "", work.outcome).inc()
