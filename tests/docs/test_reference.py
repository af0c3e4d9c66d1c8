"""The reference is compared with the code: arguments, defaults, codes, routes, errors, commands, tables."""

import ast
import dataclasses
import datetime
import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main
from prometheus_client import REGISTRY

import skene.errors
from skene import (
    MailPolicy,
    Recovery,
    Skene,
    action,
    billing_cycle,
    calendar,
    condition,
    define_loop,
    lifetime,
    rolling,
    step,
    trigger,
    wait,
)
from skene.adapters.file import FileNotifier
from skene.adapters.http_hook import HttpHook
from skene.adapters.log import LogEvents
from skene.adapters.manual import ManualBilling
from skene.adapters.memory import MemoryStorage
from skene.adapters.openfeature import SkeneProvider
from skene.adapters.otel import OpenTelemetry
from skene.adapters.paddle import PaddleBilling
from skene.adapters.pgqueuer import PgQueuerRunner
from skene.adapters.postgres import PostgresStorage
from skene.adapters.prometheus import PrometheusMetrics
from skene.adapters.resend import ResendNotifier
from skene.adapters.smtp import SmtpNotifier
from skene.adapters.sql.migrate import VERSION_TABLE
from skene.adapters.sql.tables import METADATA
from skene.adapters.sqlite import SqliteStorage
from skene.adapters.stripe import StripeBilling
from skene.adapters.valkey import ValkeyStorage
from skene.adapters.webhook import StandardWebhookSource, WebhookNotifier
from skene.asgi import Metered
from skene.cli.app import app as commands
from skene.definitions import Definition, parse_duration
from skene.fastapi import Gate
from skene.fastapi.routes import make_routes
from skene.ports.hooks import EventKind
from skene.ports.storage import Storage
from skene.wiring import _VARIABLES
from tests.docs.markdown import ROOT, Page, tables

REFERENCE = ROOT / "docs" / "reference"
CONFIGURATION = Page(REFERENCE / "configuration.md")
HTTP = Page(REFERENCE / "http.md")
CLI = Page(REFERENCE / "cli.md")
EVENTS = Page(REFERENCE / "events.md")
TABLES = Page(REFERENCE / "tables.md")
VERBS = Page(ROOT / "docs" / "how-to" / "write-a-storage.md")

DESCRIBED = {
    "define_loop": define_loop,
    "step": step,
    "wait": wait,
    "trigger.api": trigger.api,
    "trigger.database": trigger.database,
    "trigger.schedule": trigger.schedule,
    "trigger.webhook": trigger.webhook,
    "trigger.event": trigger.event,
    "condition.usage": condition.usage,
    "condition.gauge": condition.gauge,
    "condition.query": condition.query,
    "condition.plan": condition.plan,
    "condition.feature": condition.feature,
    "condition.all_of": condition.all_of,
    "condition.any_of": condition.any_of,
    "condition.not_": condition.not_,
    "condition.function": condition.function,
    "action.block": action.block,
    "action.email": action.email,
    "action.webhook": action.webhook,
    "action.grant": action.grant,
    "action.function": action.function,
    "Recovery": Recovery,
    "rolling": rolling,
    "calendar": calendar,
    "billing_cycle": billing_cycle,
    "lifetime": lifetime,
    "Skene": Skene,
    "Skene.from_env": Skene.from_env,
    "MailPolicy": MailPolicy,
    "Gate": Gate,
    "PostgresStorage": PostgresStorage,
    "SqliteStorage": SqliteStorage,
    "ValkeyStorage": ValkeyStorage,
    "MemoryStorage": MemoryStorage,
    "StripeBilling": StripeBilling,
    "PaddleBilling": PaddleBilling,
    "ManualBilling": ManualBilling,
    "ResendNotifier": ResendNotifier,
    "SmtpNotifier": SmtpNotifier,
    "FileNotifier": FileNotifier,
    "WebhookNotifier": WebhookNotifier,
    "HttpHook": HttpHook,
    "OpenTelemetry": OpenTelemetry,
    "PrometheusMetrics": PrometheusMetrics,
    "LogEvents": LogEvents,
    "Metered": Metered,
    "SkeneProvider": SkeneProvider,
    "StandardWebhookSource": StandardWebhookSource,
    "PgQueuerRunner": PgQueuerRunner,
}


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def argument_table(heading: str) -> dict[str, str]:
    """Argument → default, as the page has it."""
    found = tables(CONFIGURATION.section(heading))
    return {name: row[2] for row in (found[0][1:] if found else []) for name in names(row[0])}


def written_default(parameter: inspect.Parameter, shown: str) -> bool:
    if parameter.default is inspect.Parameter.empty:
        return shown == "required"
    if not names(shown):
        return False
    value = eval(names(shown)[0], {"timedelta": datetime.timedelta, "REGISTRY": REGISTRY})  # noqa: S307 - our own page
    if isinstance(parameter.default, datetime.timedelta) and isinstance(value, str):
        value = parse_duration(value)
    return bool(value == parameter.default)


@pytest.mark.parametrize("heading", DESCRIBED)
def test_arguments_and_defaults(heading):
    described = DESCRIBED[heading]
    if isinstance(described, type) and issubclass(described, Definition):
        described.model_rebuild()  # else its signature is made when the first one is
    parameters = inspect.signature(described).parameters
    shown = argument_table(heading)
    assert list(shown) == list(parameters)
    wrong = [name for name, one in parameters.items() if not written_default(one, shown[name])]
    assert not wrong


def test_the_variables_of_from_env():
    rows = tables(CONFIGURATION.section("Skene.from_env"))[1][1:]
    assert [names(row[0])[0] for row in rows] == list(_VARIABLES)


def test_every_answer_has_its_section():
    codes: set[str] = set()
    for file in (ROOT / "skene" / "fastapi").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "problem":
                code = node.args[1]
                # What is not a constant is the reason of a refusal.
                codes |= (
                    {code.value}
                    if isinstance(code, ast.Constant)
                    else {
                        "usage_limit_reached",
                        "feature_not_in_plan",
                        "member_limit_reached",
                        "spend_cap_reached",
                    }
                )
    answers = HTTP.text.partition("\n## Answers\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^### (\w+)$", answers, re.MULTILINE)) == codes
    assert codes <= HTTP.anchors()


def test_the_routes():
    skene_ = Skene(storage=MemoryStorage())
    router = make_routes(skene_, lambda: None)
    mounted = {f"{method} /skene{route.path}" for route in router.routes for method in route.methods}
    rows = tables(HTTP.section("Routes"))[0][1:]
    assert {names(row[0])[0] for row in rows} == mounted


def test_the_tree_of_errors():
    page = Page(REFERENCE / "errors.md")
    tree = next(fence.body for fence in page.fences() if fence.language == "text")
    assert tree.strip() in (skene.errors.__doc__ or "")
    public = [getattr(skene, name) for name in skene.__all__]
    raised = {one.__name__ for one in public if isinstance(one, type) and issubclass(one, skene.SkeneError)}
    assert {re.match(r"[│├└─ ]*(\w+)", line)[1] for line in tree.splitlines()} == raised


def told(source: str) -> dict[str, set[str]]:
    """Event kind → the names of its data, as the calls in a module spell them."""
    found: dict[str, set[str]] = {}
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    shared = {one.name: literal_names(one) for one in functions}
    for one in functions:
        calls = [node for node in ast.walk(one) if isinstance(node, ast.Call)]
        called = {getattr(call.func, "id", "") for call in calls}
        for node in ast.walk(one):
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "EventKind":
                further = (shared[name] for name in called & set(shared))
                found[EventKind[node.attr]] = shared[one.name].union(*further)
    return found


def literal_names(node: ast.AST) -> set[str]:
    keys = (key for one in ast.walk(node) if isinstance(one, ast.Dict) for key in one.keys)
    return {key.value for key in keys if isinstance(key, ast.Constant)}


def test_the_events():
    rows = tables(EVENTS.section("Kinds"))[0][1:]
    shown = {names(row[0])[0]: set(names(row[2])) for row in rows}
    assert list(shown) == list(EventKind)
    spelled = told((ROOT / "skene" / "ports" / "happened.py").read_text())
    spelled |= told((ROOT / "skene" / "runtime" / "telling.py").read_text())
    assert len(spelled) == 13
    assert {kind: shown[kind] for kind in spelled} == spelled


def test_the_decision():
    page = Page(REFERENCE / "decision.md")
    shown = [name for row in tables(page.section("Decision"))[0][1:] for name in names(row[0])]
    assert shown == [
        *(field.name for field in dataclasses.fields(skene.Decision)),
        "billed_units",
        "remaining",
    ]
    reasons = [names(row[0])[0] for row in tables(page.section("Reasons"))[0][1:]]
    assert reasons == list(skene.Reason)


def walk(command: Any, path: str = "skene") -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, one in getattr(command, "commands", {}).items():
        yield from walk(one, f"{path} {name}")


COMMANDS = {
    path: command
    for path, command in walk(typer.main.get_command(commands))
    if path == "skene" or command.params or not hasattr(command, "commands")
}


def parameters(path: str, kind: str) -> list[Any]:
    return [one for one in COMMANDS[path].params if one.param_type_name == kind]


def test_the_verbs_of_a_storage():
    ports = [port for port in (*Storage.__bases__, Storage) if port.__module__.startswith("skene.")]
    told = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1])) for row in tables(VERBS.text)[0][1:]}
    assert told == {
        f"{port.__module__}.{port.__name__}": {name for name in vars(port) if not name.startswith("_")}
        for port in ports
    }


def test_every_command_has_its_section():
    headings = re.findall(r"^## (.+)$", CLI.prose(), re.MULTILINE)
    assert sorted(headings) == sorted(COMMANDS)


@pytest.mark.parametrize("path", COMMANDS)
def test_options(path):
    everywhere = {"--help", "-h", "--config", "--debug"}
    real = {name for one in parameters(path, "option") for name in one.opts}
    found = tables(CLI.section(path))
    shown = {name.split()[0] for row in (found[0][1:] if found else []) for name in names(row[0])}
    assert shown == real - everywhere


@pytest.mark.parametrize("path", [path for path in COMMANDS if parameters(path, "argument")])
def test_positional_arguments(path):
    given = " ".join(one.metavar or one.name.upper() for one in parameters(path, "argument"))
    assert f"`{path} {given}`" in CLI.section(path)


def test_every_table_has_its_section():
    headings = re.findall(r"^## (\w+)$", TABLES.prose(), re.MULTILINE)
    assert sorted(headings) == sorted([*METADATA.tables, VERSION_TABLE])


def test_what_ends_each_table_is_told():
    rows = tables(TABLES.section("What grows, and what ends it"))[0][1:]
    assert sorted(name for row in rows for name in names(row[0])) == sorted(METADATA.tables)
    indexes = {index.name for table in METADATA.tables.values() for index in table.indexes}
    assert {name for row in rows for name in names(row[3])} <= indexes
    assert [row[0] for row in rows if row[3]] == [row[0] for row in rows if row[2] and row[2][:5] != "never"]


@pytest.mark.parametrize("name", METADATA.tables)
def test_columns(name):
    rows = tables(TABLES.section(name))[0][1:]
    shown = [column for row in rows for column in names(row[0])]
    assert len(shown) == len(set(shown))
    assert set(shown) == set(METADATA.tables[name].columns.keys())
