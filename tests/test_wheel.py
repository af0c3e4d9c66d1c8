"""What is published: everything that runs, nothing else, and the same bytes wherever it is built."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.support.processes import ROOT

PARTS = ["skene", "pyproject.toml", "README.md", "LICENSE", ".gitignore"]


def build(folder: Path, into: Path, **env: str) -> Path:
    """The wheel of a source tree."""
    clean = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(into)]
    subprocess.run(command, cwd=folder, env={**clean, **env}, check=True, capture_output=True, timeout=120)
    (wheel,) = into.glob("*.whl")
    return wheel


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("wheel"))


def contents(wheel: Path) -> set[str]:
    with ZipFile(wheel) as archive:
        return set(archive.namelist())


def copied(folder: Path) -> Path:
    """The sources elsewhere, with other times and rights of the files, and with what lies about."""
    folder.mkdir()
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    for number, path in enumerate(sorted(folder.rglob("*"))):
        os.utime(path, (1_000_000_000 + number, 1_000_000_000 + number))
        path.chmod(0o700 if path.is_dir() else 0o600)
    (folder / "skene" / "__pycache__").mkdir()
    (folder / "skene" / "__pycache__" / "left.cpython-311.pyc").touch()
    (folder / "skene" / "app.db").touch()
    return folder


def test_two_builds_have_the_same_bytes(wheel: Path, tmp_path: Path) -> None:
    """Elsewhere, at another time, in another zone, and with other things around."""
    tree = copied(tmp_path / "tree")
    again = build(tree, tmp_path / "again", TZ="Asia/Tokyo", LC_ALL="C", PYTHONHASHSEED="7")
    assert digest(again) == digest(wheel)
    (tree / "skene" / "__init__.py").write_text((tree / "skene" / "__init__.py").read_text() + "\n")
    assert digest(build(tree, tmp_path / "changed")) != digest(wheel)


def test_all_that_runs_is_in(wheel: Path) -> None:
    """Every file that git knows below `skene`: templates, SQL, migrations, scripts, `py.typed`."""
    inside = contents(wheel)
    kept = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "skene").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in inside if ".dist-info/" not in name} == kept
    for kind in (r"skene/py\.typed", r"skene/templates/.+\.html", r".+/versions/0001_.+\.sql", r".+\.lua"):
        assert any(re.fullmatch(kind, name) for name in inside), kind


def test_nothing_else_is_in(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in contents(wheel)}
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert tops == {"skene", f"skene_sdk-{version}.dist-info"}
    assert not [
        name for name in contents(wheel) if re.search(r"test_\w+\.py$|conftest|\.pyc$|\.db$|\.env$", name)
    ]


def test_what_is_published_runs(wheel: Path, tmp_path: Path) -> None:
    """From the wheel alone, in a folder that has nothing of the sources."""
    with ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    command = [sys.executable, "-c", "import skene.cli as c; print(c.__file__); c.main()"]
    words = ["db", "upgrade", "--database", f"sqlite:///{tmp_path}/app.db"]
    done = subprocess.run(
        [*command, *words], cwd=tmp_path, env=env, capture_output=True, text=True, check=True, timeout=120
    )
    assert str(tmp_path / "site" / "skene" / "cli") in done.stdout
    assert "applied 0001" in done.stdout
