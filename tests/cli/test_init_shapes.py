"""`skene init` in apps of unusual shapes."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from skene.cli import terminal
from tests.cli.project import Project
from tests.cli.starting import ROOTS, contents, copy_of, own_tests

AUTH = """
from fastapi import Depends, FastAPI, HTTPException, Header

def current_user_id(x_user: str = Header()) -> str:
    return x_user
"""
APP = f"""{AUTH}
app = FastAPI()

@app.post("/api/work")
def work(user: str = Depends(current_user_id)) -> str:
    return user
"""


def init(project: Project, *args: str, code: int = 0) -> Any:
    result = project.run("init", "--json", "--yes", "--no-check", *args)
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "STRIPE_API_KEY", "STRIPE_WEBHOOK_SECRET", "RESEND_API_KEY", "SKENE_SENDER"):
        monkeypatch.delenv(name, raising=False)


def read(project: Project, name: str) -> str:
    return (project.folder / name).read_bytes().decode()


@pytest.mark.parametrize(
    "made",
    [
        "app = FastAPI()",
        "app: FastAPI = FastAPI(title='x')",
        "app = FastAPI(\n    title='x',\n)",
        "class App(FastAPI):\n    pass\n\napp = App()",
        "import fastapi\napp = fastapi.FastAPI()",
        "import fastapi as f\napp = f.FastAPI()",
        "from fastapi import FastAPI as F\napp = F()",
        "if True:\n    app = FastAPI()",
    ],
)
def test_however_the_app_is_made(made: str, empty: Project) -> None:
    empty.write("main.py", APP.replace("app = FastAPI()", made))
    said = init(empty)
    assert said["app"] == "main:app"
    assert said["triggers"] == [{"method": "POST", "endpoint": "/api/work"}]
    lines = read(empty, "main.py").splitlines()
    assert lines.index("gate.install(app)") > lines.index(
        "def current_user_id(x_user: str = Header()) -> str:"
    )


def test_a_factory_that_nobody_calls(empty: Project) -> None:
    source = f"""{AUTH}
def create_app(debug: bool = False) -> FastAPI:
    app = FastAPI(debug=debug)

    @app.post("/api/work")
    def work(user: str = Depends(current_user_id)) -> str:
        return user

    return app
"""
    empty.write("main.py", source)
    assert init(empty)["app"] == "main:create_app"
    text = read(empty, "main.py")
    assert "    gate = Gate(skene, subject=current_user_id)\n    gate.install(app)\n" in text
    tested = own_tests(empty.folder)
    assert tested.code == 0, tested.out + tested.err


def test_a_factory_that_needs_something(empty: Project) -> None:
    source = APP.replace(
        "app = FastAPI()",
        "def make(settings: dict[str, str]) -> FastAPI:\n    app = FastAPI()\n    return app\n",
    )
    empty.write("main.py", source.partition("@app.post")[0])
    assert init(empty)["app"] == "main:make"
    tested = own_tests(empty.folder)
    assert tested.code == 0, tested.out + tested.err  # of the loop alone


def test_two_apps_need_a_choice(empty: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    empty.write("one.py", APP)
    empty.write("two.py", APP)
    result = empty.run("init", "--yes")
    assert result.exit_code == 2
    assert "there are 2 apps: one:app, two:app" in result.stderr
    assert init(empty, "--app", "two:app")["file"] == "two.py"
    assert "gate" not in read(empty, "one.py")


def test_an_app_that_is_mounted_is_not_the_app(empty: Project) -> None:
    empty.write("main.py", f"{APP}\nadmin = FastAPI()\napp.mount('/admin', admin)\n")
    assert init(empty)["app"] == "main:app"


def test_apps_of_tests_are_not_the_app(empty: Project) -> None:
    empty.write("main.py", APP)
    empty.write("tests/test_it.py", APP)
    empty.write("venv/pyvenv.cfg", "")
    empty.write("venv/lib/x.py", APP)
    empty.write(".hidden/x.py", APP)
    assert init(empty)["app"] == "main:app"
    assert (empty.folder / "tests/test_skene.py").exists()


def test_without_a_sign_in_a_placeholder_refuses(empty: Project) -> None:
    source = (
        "from fastapi import FastAPI\n\napp = FastAPI()\n\n\n"
        "@app.post('/api/work')\ndef work() -> str:\n    return 'done'\n"
    )
    empty.write("main.py", source)
    said = init(empty)
    assert said["caller"] is None
    assert any("no dependency is seen to sign people in" in note for note in said["notes"])
    assert said["next"][0] == "let current_user_id in main.py return the id of whoever is signed in"
    tested = own_tests(empty.folder)
    assert tested.code == 0, tested.out + tested.err
    asked = "from main import app\nfrom fastapi.testclient import TestClient\n"
    asked += "answer = TestClient(app).post('/api/work')\nassert answer.status_code == 501, answer\n"
    asked += "assert 'does not say yet who is calling' in answer.text\n"
    import sys

    from tests.cli.starting import run

    ended = run(empty.folder, sys.executable, "-c", asked)
    assert ended.code == 0, ended.err


@pytest.mark.parametrize(
    ("returns", "body", "used", "expression"),
    [
        ("", "return find(x)", "user.id", "str(user.id)"),
        (" -> dict[str, str]", "return {'sub': x, 'role': 'y'}", "user", 'str(user["sub"])'),
        (" -> 'Account'", "return find(x)", "user", "str(user.user_id)"),
        (" -> Account | None", "return find(x)", "user", "str(user.user_id) if user is not None else None"),
    ],
)
def test_how_the_id_is_got_from_a_user(
    returns: str, body: str, used: str, expression: str, empty: Project
) -> None:
    source = f"""
from fastapi import Depends, FastAPI, Header, HTTPException

class Account:
    user_id: int
    name: str

def find(x): ...

def get_current_user(x: str = Header()){returns}:
    {body}

app = FastAPI()

@app.post("/api/work")
def work(user=Depends(get_current_user)):
    return {used}
"""
    empty.write("main.py", source)
    assert init(empty)["caller"] == "main:get_current_user"
    assert f"return {expression}\n" in read(empty, "main.py")


def test_a_user_without_an_id_is_asked_for(empty: Project) -> None:
    empty.write("main.py", APP.replace("-> str:\n    return x_user", ":\n    return load(x_user)"))
    said = init(empty)
    assert said["caller"] is None
    assert any("main:current_user_id is not seen to return an id" in note for note in said["notes"])


def test_routers_within_routers_and_what_cannot_be_read(empty: Project) -> None:
    empty.write("app/__init__.py", "")
    empty.write("app/config.py", "import os\nPREFIX = '/v2'\nSECRET = os.environ.get('P')\n")
    empty.write(
        "app/inner.py",
        """
        from fastapi import APIRouter
        router = APIRouter(prefix="/inner")

        @router.api_route("/things/{thing}", methods=["POST", "PUT"])
        def thing(thing: int): ...
        """,
    )
    empty.write(
        "app/outer.py",
        """
        from fastapi import APIRouter
        from . import inner
        api = APIRouter()
        api.include_router(inner.router, prefix="/outer")
        """,
    )
    empty.write(
        "app/main.py",
        """
        from fastapi import FastAPI
        from app import config, outer
        from app.inner import router as again

        def add(app: FastAPI) -> None:
            app.include_router(outer.api, prefix=f"{config.PREFIX}/all")

        app = FastAPI()
        add(app)
        app.include_router(again, prefix=config.SECRET)
        """,
    )
    said = init(empty)
    shown = [(one["method"], one["path"]) for one in said["routes"]]
    assert shown == [(method, "/v2/all/outer/inner/things/{thing}") for method in ("POST", "PUT")]
    assert any(note.startswith("app/main.py:10: what is below it") for note in said["notes"])


def test_a_file_that_is_no_python_is_told_and_passed_over(empty: Project) -> None:
    empty.write("main.py", APP)
    empty.write("broken.py", "def (:\n")
    assert any("broken.py:1" in note for note in init(empty)["notes"])


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_marks_stay(mark: str, empty: Project) -> None:
    text = f"{mark}{APP.strip()}\n".replace("\n", "\r\n")
    (empty.folder / "main.py").write_bytes(text.encode())
    init(empty)
    raw = read(empty, "main.py")
    assert raw.startswith(mark)
    assert raw.count("\n") == raw.count("\r\n")
    assert "gate.install(app)\r\n" in raw


def test_another_encoding_stays(empty: Project) -> None:
    text = f"# -*- coding: latin-1 -*-\n# Zoë\n{APP}"
    (empty.folder / "main.py").write_bytes(text.encode("latin-1"))
    init(empty)
    assert "# Zoë" in (empty.folder / "main.py").read_bytes().decode("latin-1")


def test_a_file_that_is_read_only_stops_everything(empty: Project) -> None:
    empty.write("main.py", APP)
    (empty.folder / "main.py").chmod(0o444)
    before = contents(empty.folder)
    result = empty.run("init", "--yes", "--no-check")
    assert result.exit_code == 1
    assert "nothing was written: main.py is read-only" in result.stderr
    assert contents(empty.folder) == before


def test_names_that_are_taken(empty: Project) -> None:
    empty.write("main.py", APP.replace("app = FastAPI()", "gate = skene = 1\napp = FastAPI()"))
    init(empty)
    text = read(empty, "main.py")
    assert "from skene_config import skene as skene_loops" in text
    assert "skene_gate = Gate(skene_loops, subject=current_user_id)\nskene_gate.install(app)" in text


def test_an_app_that_is_gated_already_is_left_alone(empty: Project) -> None:
    empty.write("main.py", APP)
    init(empty)
    before = contents(empty.folder)
    said = init(empty)
    assert said["written"] == []
    assert any("main.py has a gate already" in note for note in said["notes"])
    assert contents(empty.folder) == before


def test_a_gate_with_a_configuration_elsewhere(empty: Project) -> None:
    empty.write(
        "main.py",
        "from growth import skene\nfrom skene.fastapi import Gate\n"
        f"{APP}\nGate(skene, current_user_id).install(app)\n",
    )
    before = contents(empty.folder)
    result = empty.run("init", "--yes", "--no-check")
    assert result.exit_code == 1
    assert "main.py has a gate already" in result.stderr
    assert contents(empty.folder) == before


def test_routes_that_are_chosen(empty: Project) -> None:
    empty.write("main.py", f"{APP}\n@app.get('/api/read')\ndef read() -> str: ...\n")
    said = init(empty, "--route", "get /api/read", "--route", "POST /api/work")
    assert said["triggers"] == [
        {"method": "GET", "endpoint": "/api/read"},
        {"method": "POST", "endpoint": "/api/work"},
    ]


def test_routes_of_accounts_are_not_proposed(empty: Project) -> None:
    others = "".join(
        f"\n@app.post('/{name}')\ndef {name}() -> str: ...\n" for name in ("login", "token", "webhooks")
    )
    empty.write("main.py", APP + others)
    assert init(empty)["triggers"] == [{"method": "POST", "endpoint": "/api/work"}]


def test_an_app_without_routes_gets_a_loop_to_be_used_by_hand(empty: Project) -> None:
    empty.write("main.py", "from fastapi import FastAPI\napp = FastAPI()\n")
    assert init(empty)["triggers"] == []
    ast.parse(read(empty, "skene_config.py"))
    tested = own_tests(empty.folder)
    assert tested.code == 0, tested.out + tested.err


def test_agents_md_is_added_to(empty: Project) -> None:
    empty.write("main.py", APP)
    empty.write("AGENTS.md", "# Ours\n")
    init(empty, "--agents-md")
    text = read(empty, "AGENTS.md")
    assert text.startswith("# Ours\n\n<!-- skene: begin -->\n")
    assert "skene check --config skene_config:skene --app main:app" in text
    assert init(empty, "--agents-md")["written"] == []


# -- with somebody at the terminal --


@pytest.fixture
def at_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "has_terminal", lambda: True)


@pytest.mark.usefixtures("at_terminal")
def test_questions_and_answers(empty: Project) -> None:
    empty.write("one.py", f"{APP}\n@app.get('/api/read')\ndef read() -> str: ...\n")
    empty.write("two.py", APP)
    result = empty.run("init", "--no-check", stdin="1\n3\n1\nx\n1,2\ny\n")
    assert result.exit_code == 0, result.output
    assert "got '3'" in result.stderr
    assert "got 'x'" in result.stderr
    config = read(empty, "skene_config.py")
    assert '"/api/read", method="GET"' in config
    assert '"/api/work", method="POST"' in config


@pytest.mark.usefixtures("at_terminal")
def test_no_is_no(empty: Project) -> None:
    empty.write("main.py", APP)
    before = contents(empty.folder)
    result = empty.run("init", "--no-check", stdin="1\n\nn\n")
    assert result.exit_code == 1
    assert contents(empty.folder) == before


@pytest.mark.usefixtures("at_terminal")
def test_what_differs_is_overwritten_only_after_a_yes(empty: Project) -> None:
    empty.write("main.py", APP)
    init(empty)
    fresh = read(empty, "skene_config.py")
    for answer, expected in (("n", f"{fresh}# ours\n"), ("y", fresh)):
        (empty.folder / "skene_config.py").write_text(f"{fresh}# ours\n")
        result = empty.run("init", "--no-check", stdin=f"1\n\n{answer}\ny\n")
        assert result.exit_code == 0, result.output
        assert read(empty, "skene_config.py") == expected


@pytest.mark.parametrize("name", ROOTS)
def test_source_is_read_and_never_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copy_of(name, tmp_path)
    for file in folder.rglob("*.py"):
        if file.name in ("main.py", "auth.py", "db.py"):
            file.write_text(file.read_text() + "\nraise SystemExit('it was run')\n")
    monkeypatch.chdir(folder)
    assert Project(folder).run("init", "--dry-run").exit_code == 0
