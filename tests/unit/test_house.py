"""The house rules that a machine can check: import direction, who may import which library, module length."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import agent

PACKAGE = Path(agent.__file__).parent
REPOSITORY = PACKAGE.parent

# A room may import rooms of lower levels and itself; rooms of one level never import each other.
LEVELS: tuple[tuple[str, ...], ...] = (
    ("__init__",),
    ("errors", "model"),
    ("rules",),
    ("ports",),
    ("config",),
    ("folders", "services", "ledger"),
    ("submission", "export"),
    ("runtime", "web", "sandbox"),
    ("app",),
    ("cli",),
    ("__main__",),
)
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}

# errors and model are one level in the drawing; an error carries reasons of the model, the model knows no error.
SIBLINGS_ALLOWED = {("errors", "model")}

LIBRARY_ROOMS: dict[str, set[str]] = {
    "requests": {"services"},
    "urllib3": {"services"},
    "watchdog": {"folders"},
    "sqlite3": {"ledger"},
    "psycopg": {"ledger"},
    "yaml": {"config"},
    "pydantic": {"config"},
    "pydantic_core": {"config"},
    "click": {"cli"},
    "rich": {"cli"},
    "filelock": {"runtime"},
    "starlette": {"web", "sandbox"},
    "uvicorn": {"web", "sandbox"},
    "pypdf": {"sandbox"},
    "prometheus_client": {"web"},
}

PURE_FORBIDDEN = {"os", "io", "time", "threading", "sqlite3", "requests", "logging", "random", "secrets", "pathlib"}

MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported_names(path: Path) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def identifier(path: Path) -> str:
    return str(path.relative_to(PACKAGE).as_posix())


@pytest.mark.parametrize("path", MODULES, ids=identifier)
def test_imports_only_rooms_below(path: Path) -> None:
    here = room_of(path)
    for name in imported_names(path):
        parts = name.split(".")
        if parts[0] != "agent" or len(parts) == 1:
            continue
        there = parts[1] if parts[1] in LEVEL else "__init__"
        allowed = there == here or LEVEL[there] < LEVEL[here] or (here, there) in SIBLINGS_ALLOWED
        assert allowed, f"{identifier(path)} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=identifier)
def test_imports_only_the_libraries_of_its_room(path: Path) -> None:
    here = room_of(path)
    for name in imported_names(path):
        rooms = LIBRARY_ROOMS.get(name.split(".")[0])
        assert rooms is None or here in rooms, f"{identifier(path)} imports {name}"


@pytest.mark.parametrize("path", [path for path in MODULES if room_of(path) == "rules"], ids=identifier)
def test_rules_are_pure(path: Path) -> None:
    assert not {name.split(".")[0] for name in imported_names(path)} & PURE_FORBIDDEN


@pytest.mark.parametrize("path", MODULES, ids=identifier)
def test_module_is_no_longer_than_400_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_every_room_is_in_the_drawing() -> None:
    assert {room_of(path) for path in MODULES} <= set(LEVEL)


def test_every_dependency_is_imported_by_some_room() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {re.split(r"[^\w-]", line)[0].lower() for line in project["dependencies"]}
    distributions = packages_distributions()
    imported = {name.split(".")[0] for path in MODULES for name in imported_names(path)}
    used = {distribution.lower() for name in imported for distribution in distributions.get(name, ())}
    assert wanted <= used


def test_version_stands_in_one_place() -> None:
    pyproject = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    assert 'dynamic = ["version"]' in pyproject
    assert agent.__version__ not in pyproject
