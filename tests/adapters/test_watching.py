"""OpenTelemetry, Prometheus and log events, over the same handful of calls."""

import json
import logging
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from skene import Skene, StorageUnavailable
from skene.adapters.log import LogEvents
from skene.adapters.memory import MemoryStorage
from skene.adapters.memory_notifier import MemoryNotifier
from skene.adapters.otel import OpenTelemetry
from skene.adapters.prometheus import CONTENT_TYPE, PrometheusMetrics
from skene.ports.counters import Consume, Counted
from skene.testing import World, world
from tests.testing.apps import app, freemium

PERSON = "ada-lovelace"


async def some_calls(there: World) -> None:
    """Three units of three, one of them given back and taken again; a wall, and its mail."""
    skene = there.skene
    await skene.consume(PERSON, "calls", 2)
    with pytest.raises(RuntimeError, match="failed"):
        async with skene.reserve(PERSON, "calls", 1):
            raise RuntimeError("failed")
    await skene.consume(PERSON, "calls")
    assert not (await skene.consume(PERSON, "calls")).allowed
    await there.drain()


class Away(MemoryStorage):
    async def consume(self, call: Consume) -> Counted:
        raise StorageUnavailable(f"{call.subject} cannot be counted")


class Telemetry:
    """An SDK that keeps everything in memory."""

    def __init__(self) -> None:
        self.spans, self._metrics = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self.meters = MeterProvider([self._metrics], shutdown_on_exit=False)

    def observer(self, **more: Any) -> OpenTelemetry:
        return OpenTelemetry(tracer_provider=self.tracers, meter_provider=self.meters, **more)

    def points(self) -> dict[str, list[Any]]:
        data = self._metrics.get_metrics_data()
        assert data is not None
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
        return {metric.name: list(metric.data.data_points) for scope in scopes for metric in scope.metrics}

    def names(self) -> list[str]:
        return [span.name for span in self.spans.get_finished_spans()]


async def test_spans_are_written_inside_the_apps_own() -> None:
    telemetry = Telemetry()
    with world(app(observers=[telemetry.observer()])) as there:
        with telemetry.tracers.get_tracer("app").start_as_current_span("request") as request:
            await some_calls(there)
        assert trace.get_current_span() is trace.INVALID_SPAN  # what was entered was left
    spans = telemetry.spans.get_finished_spans()
    assert telemetry.names()[:5] == [
        "skene.decision",
        "skene.decision",
        "skene.give_back",
        "skene.decision",
        "skene.decision",
    ]
    within = [span for span in spans if span.name in ("skene.decision", "skene.give_back")]
    assert {span.parent.span_id for span in within if span.parent} == {request.get_span_context().span_id}
    attributes = dict(within[-1].attributes or {})
    assert attributes == {
        "skene.loop": "freemium",
        "skene.step": "freemium",
        "skene.meter": "calls",
        "skene.plan": "free",
        "skene.outcome": "usage_limit_reached",
        "skene.allowed": False,
    }
    assert PERSON not in "".join(span.to_json() for span in spans)


async def test_metrics_have_few_values_and_name_nobody() -> None:
    telemetry = Telemetry()
    observer = telemetry.observer(subjects=True)
    with world(app(observers=[observer])) as there:
        with there.skene.override(hooks={"otel": observer}):
            await some_calls(there)
        for number in range(20):
            await there.skene.consume(f"{PERSON}-{number}", "calls")
    points = telemetry.points()
    decisions = {point.attributes["skene.outcome"]: point.value for point in points["skene.decisions"]}
    assert decisions == {"within_limit": 23, "usage_limit_reached": 1}
    assert [point.value for point in points["skene.units"]] == [24]
    mails = [p for p in points["skene.deliveries"] if p.attributes["skene.channel"] == "resend"]
    assert [(p.value, p.attributes["skene.outcome"]) for p in mails] == [(1, "sent")]
    events = {point.attributes["skene.event"]: point.value for point in points["skene.events"]}
    assert events == {"wall.opened": 1, "prompt.sent": 1}
    assert sum(point.count for point in points["skene.duration"]) >= 26
    assert PERSON not in str([dict(p.attributes) for some in points.values() for p in some])


async def test_a_span_of_what_fails_tells_the_kind_of_error_alone() -> None:
    telemetry = Telemetry()
    notifiers = {"resend": MemoryNotifier()}
    observers = [telemetry.observer()]
    async with Skene(freemium(), storage=Away(), notifiers=notifiers, observers=observers) as skene:
        with pytest.raises(StorageUnavailable):
            await skene.consume(PERSON, "calls")
    (span,) = telemetry.spans.get_finished_spans()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "StorageUnavailable")
    assert PERSON not in span.to_json()


async def test_subjects_are_on_spans_where_they_are_asked_for() -> None:
    telemetry = Telemetry()
    with world(app(observers=[telemetry.observer(subjects=True)])) as there:
        await there.skene.consume(PERSON, "calls")
    (span,) = telemetry.spans.get_finished_spans()
    assert (span.attributes or {})["skene.subject"] == PERSON


async def test_without_an_sdk_nothing_is_recorded_and_nothing_fails() -> None:
    with world(app(observers=[OpenTelemetry()])) as there:
        await some_calls(there)


async def test_prometheus_counts() -> None:
    metrics = PrometheusMetrics(CollectorRegistry())
    with world(app(observers=[metrics])) as there, there.skene.override(hooks={"prometheus": metrics}):
        await some_calls(there)
    text = metrics.text().decode()
    assert PERSON not in text
    assert CONTENT_TYPE.startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert {name for name in families if not name.endswith("_created")} == {
        "skene_decisions",
        "skene_units",
        "skene_units_given_back",
        "skene_deliveries",
        "skene_events",
        "skene_duration_seconds",
    }

    def value(name: str, **labels: str) -> float:
        found = [
            one.value
            for one in families[name].samples
            if one.name == f"{name}_total" and labels.items() <= one.labels.items()
        ]
        return sum(found)

    step = {"loop": "freemium", "step": "freemium", "meter": "calls", "plan": "free"}
    assert value("skene_decisions", **step, outcome="within_limit") == 3
    assert value("skene_decisions", **step, outcome="usage_limit_reached") == 1
    assert value("skene_units", **step) - value("skene_units_given_back", **step) == 3
    assert value("skene_deliveries", channel="resend", template="upgrade_prompt", outcome="sent") == 1
    assert value("skene_events", event="wall.opened", loop="freemium") == 1


async def test_log_events_are_for_machines(caplog: pytest.LogCaptureFixture) -> None:
    events = LogEvents()
    caplog.set_level(logging.INFO, logger="skene.activity")
    with world(app(observers=[events])) as there, there.skene.override(hooks={"log": events}):
        await some_calls(there)
    written = [one for one in caplog.records if one.name == "skene.activity"]
    told = [vars(one)["skene"] for one in written]
    assert json.loads(json.dumps(told)) == told
    assert PERSON not in json.dumps(told) + caplog.text
    (refused,) = [one for one in told if one.get("work") == "decision"]
    assert (refused["outcome"], refused["allowed"], refused["plan"]) == ("usage_limit_reached", False, "free")
    assert {one["event"] for one in told if "event" in one} == {"wall.opened", "prompt.sent"}
    assert written[0].getMessage() == "skene decision usage_limit_reached"


async def test_log_events_tell_of_everything_and_everybody_if_asked(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("acme.growth")
    caplog.set_level(logging.DEBUG, logger="acme.growth")
    with world(app(observers=[LogEvents(logger, subjects=True)])) as there:
        await some_calls(there)
    told = [vars(one)["skene"] for one in caplog.records if one.name == "acme.growth"]
    decisions = [one for one in told if one["work"] == "decision"]
    assert [one["outcome"] for one in decisions] == ["within_limit"] * 3 + ["usage_limit_reached"]
    assert {one["subject"] for one in decisions} == {PERSON}
    assert [one["units"] for one in decisions if one["allowed"]] == [2, 1, 1]
