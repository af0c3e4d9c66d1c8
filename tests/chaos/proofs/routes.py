"""No spelling of a request reaches a gated handler uncharged, however the handler is mounted."""

from collections.abc import Iterator, Sequence

import anyio

from skene.errors import ConfigurationError
from skene.testing.serve import serving
from tests.chaos.proof import Finding, Proof, Trial, at_least, exactly
from tests.support.mounted_apps import METHODS, UNGATEABLE, WAYS, House, Way

__all__ = ["PROOFS"]

PATH = "/api/features/x"
TARGETS = {
    "as written": (PATH,),
    "doubled slashes": ("//api/features/x", "/api//features/x", "/api/features//x", "///api/features/x"),
    "encoded letters": ("/api/features/%78", "/api/%66eatures/x", "/%61%70%69/features/x"),
    "encoded slashes": ("/api/features%2Fx", "/api%2ffeatures/x", "/api/features/%2Fx", "%2Fapi/features/x"),
    "encoded twice": ("/api/features/%2578", "/api/%2566eatures/x", "/api/features%252Fx"),
    "a trailing slash": ("/api/features/x/", "/api/features/x//", "/api/features/"),
    "other case": ("/API/features/x", "/api/Features/x", "/api/features/X"),
    "dot segments": (
        "/api/./features/x",
        "/api/other/../features/x",
        "/api/features/x/.",
        "/api/features/../features/x",
        "/open/../api/features/x",
        "/api/%2e/features/x",
        "/api/other/%2e%2e/features/x",
        "/../api/features/x",
    ),
    "parameters": ("/api/features/x;v=1", "/api/features;v=1/x", "/api/features/x;/open"),
    "queries": (
        "/api/features/x?/open",
        "/api/features/x?",
        "/api/features/x%3Fy",
        "/open?/api/features/x",
        "/api/features/x?_method=OPTIONS",
    ),
    "fragments": ("/api/features/x#/open", "/open#/api/features/x", "/api/features/x%23"),
    "absolute form": ("http://app.test/api/features/x", "HTTP://other.test/api/features/x", "app.test:80"),
    "odd characters": (
        "/api/features/x%00",
        "/api\\features\\x",
        "/api/features/x%20",
        "/api/features/x%0d%0a",
        "/api/features/%ff",
        "/api%c0%affeatures/x",
        "*",
    ),
    "prefixes": ("/front/api/features/x", "/front//api/features/x", "/front/front/api/features/x"),
}
METHOD_HEADERS = ("x-http-method-override", "x-method-override", "x-http-method")
ADDRESS_HEADERS = (
    "x-original-url",
    "x-rewrite-url",
    "x-forwarded-path",
    "x-forwarded-prefix",
    "x-script-name",
)
WS = "upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


def spelled(target: str, *, method: str = "POST", version: str = "1.1", more: str = "") -> bytes:
    """A request as bytes, whatever its target."""
    last = "connection: upgrade\r\n" + WS if more == WS else "connection: close\r\n" + more
    return f"{method} {target} HTTP/{version}\r\nhost: app.test\r\nx-user: ada\r\n{last}\r\n".encode(
        "latin-1"
    )


def spellings(way: Way) -> Iterator[tuple[str, bytes]]:
    """Every spelling for a way of mounting, with its kind."""
    for kind, targets in TARGETS.items():
        for target in targets:
            for method in ("GET",) if way.websocket else METHODS:
                yield kind, spelled(target, method=method, more=WS if way.websocket else "")
    if not way.websocket:
        yield from _with_headers()
        yield from _odd_protocols()


def _with_headers() -> Iterator[tuple[str, bytes]]:
    for method in ("post", "PUT", "OPTIONS", "TRACE", "PROPFIND"):
        yield "other methods", spelled(PATH, method=method)
    for header in METHOD_HEADERS:
        for method, said in (("POST", "OPTIONS"), ("OPTIONS", "POST"), ("GET", "HEAD")):
            yield "method overrides", spelled(PATH, method=method, more=f"{header}: {said}\r\n")
    for header in ADDRESS_HEADERS:
        yield "addresses in headers", spelled(PATH, more=f"{header}: /open\r\n")
        yield "addresses in headers", spelled("/open", method="GET", more=f"{header}: {PATH}\r\n")


def _odd_protocols() -> Iterator[tuple[str, bytes]]:
    for method in METHODS:
        yield "HTTP/1.0", spelled(PATH, method=method, version="1.0")
        yield "HTTP/1.0", f"{method} {PATH} HTTP/1.0\r\nx-user: ada\r\n\r\n".encode()
        yield "HTTP/0.9", f"{method} {PATH}\r\n\r\n".encode()
    first = spelled(PATH).replace(b"connection: close\r\n", b"")
    yield "pipelined", first + spelled(PATH, method="HEAD")
    body = f"POST {PATH} HTTP/1.1\r\nx-user: ada\r\n\r\n"
    for more in (f"content-length: {len(body)}\r\n", "transfer-encoding: chunked\r\n"):
        ended = "" if "length" in more else "0\r\n\r\n"
        yield "hidden in a body", spelled("/open", more=more) + (ended + body).encode()


async def exchange(port: int, request: bytes) -> bytes:
    """Send bytes and read what comes back, to the end of it or of patience."""
    answer = b""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(request)
        with anyio.move_on_after(2 if b"connection: close" not in request else 30):
            try:
                while not answer.startswith(b"HTTP/1.1 101"):
                    answer += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                pass
    return answer


async def _charged(house: House, port: int) -> int:
    if house.careless:
        return house.charged
    request = b"GET /skene/usage HTTP/1.1\r\nhost: app.test\r\nx-user: ada\r\nconnection: close\r\n\r\n"
    answer = await exchange(port, request)
    return int(answer.partition(b'"used":')[2].partition(b",")[0])


async def no_way_round(trial: Trial, careless: bool) -> Sequence[Finding]:
    """Every spelling at every way of mounting, each followed by a look at what was charged and what ran."""
    sent, kinds, free, idle, reached = 0, set[str](), 0, 0, 0
    for way in WAYS:
        house = House(careless, way.root_path)
        way.build(house)
        with serving(house, log_level="critical", root_path=way.behind) as address:
            port = int(address.rpartition(":")[2])
            owed = 0
            for kind, request in spellings(way):
                await exchange(port, request)
                before, owed = owed, house.runs - await _charged(house, port)
                difference = owed - before
                free, idle = free + max(0, difference), idle + max(0, -difference)
                sent, kinds = sent + 1, kinds | {kind}
        reached += house.runs > 0
    findings = [
        at_least("requests sent", sent, 1_000),
        at_least("kinds of spellings", len(kinds), 12),
        exactly("ways of mounting in which the handler ran", reached, len(WAYS)),
        exactly("handler runs without a charge", free, 0),
        exactly("charges without a run", idle, 0),
    ]
    return findings if careless else [*findings, await _refused()]


async def _refused() -> Finding:
    named = 0
    for route, build in UNGATEABLE:
        house = House(careless=False)
        build(house)
        try:
            async with house.app.router.lifespan_context(house.app):
                pass
        except ConfigurationError as error:
            named += route in str(error)
    return exactly("refusals to start that name the route", named, len(UNGATEABLE))


PROOFS = (
    Proof(
        key="routes",
        claim="No spelling of a request runs a gated handler uncharged, or is charged without running it.",
        faults=("spelled-otherwise", "mounted-otherwise", "cannot-carry-a-gate"),
        numbers=f"{len(TARGETS) + 7} kinds of spellings, {len(WAYS)} ways of mounting, at a real uvicorn",
        try_ours=lambda trial: no_way_round(trial, careless=False),
        control="a middleware that compares the address with the pattern",
        try_control=lambda trial: no_way_round(trial, careless=True),
    ),
)
