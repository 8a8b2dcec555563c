"""The house stays one that others can enter: short files, short functions, a test where one looks for it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
WINGS: Final = ("worker", "trainer", "deploy", "tests")
FILE_LINES: Final = 400
FUNCTION_LINES: Final = 60

TESTED_ELSEWHERE: Final = {
    "trainer/commands/": "tests/trainer/test_main.py and tests/trainer/commands call them as a user does",
    "trainer/evaluation/report/": "tests/trainer/evaluation/report reads the page and the sentences on it",
    "trainer/model/backend.py": "names the backend of Keras; every test of the model runs on it",
    "worker/core/availability.py": "tests/laws/test_availability.py",
    "worker/core/placing.py": "tests/laws/test_placing.py",
    "worker/items/assembly.py": "every desk test with items or rules is assembled by it",
    "worker/items/following.py": "tests/worker/items: test_updates.py for items, test_rules.py for rules",
    "worker/core/layers.py": "tests/laws/test_layers.py",
    "worker/core/reasons.py": "every test of decoding names them",
    "worker/core/recent.py": "tests/laws/test_recent.py",
    "worker/schemas/memory.py": "tests/worker/schemas/test_interface.py: the same laws on a real registry",
    "worker/kafka/": "tests/worker/kafka: the same laws on a real broker and on the cluster in memory",
}
"""Modules, and folders of them, that have no test module of their own name, and why."""


def modules(*wings: str) -> Iterator[Path]:
    """Yield the Python files of these folders, relative to the root."""
    for wing in wings:
        for path in sorted((ROOT / wing).rglob("*.py")):
            yield path.relative_to(ROOT)


def long_functions(path: Path) -> Iterator[str]:
    """Yield the functions of a file that are too long, with their lengths."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"{path}: {node.name} has {lines} lines, at most {FUNCTION_LINES}"


def is_exempt(module: Path) -> bool:
    """Return whether the table names the module or a folder that it is in."""
    return any(module.as_posix() == entry or is_inside(module, entry) for entry in TESTED_ELSEWHERE)


def is_inside(module: Path, entry: str) -> bool:
    """Return whether an entry of the table is a folder with the module in it."""
    return entry.endswith("/") and module.as_posix().startswith(entry)


def mirror(module: Path) -> Path:
    """Return where a reader looks for the tests of a module."""
    return Path("tests") / module.with_name(f"test_{module.name}")


def without_mirror() -> list[Path]:
    """Return the modules of the worker and the trainer that have no test module of their name."""
    wanted = (path for path in modules("worker", "trainer") if not path.name.startswith("__"))
    return [path for path in wanted if not (ROOT / mirror(path)).exists()]


def test_files_are_short() -> None:
    """Whoever opens one reads it in one sitting."""
    counted = {path: len((ROOT / path).read_text().splitlines()) for path in modules(*WINGS)}

    assert_none(
        f"{path} has {lines} lines, at most {FILE_LINES}"
        for path, lines in counted.items()
        if lines > FILE_LINES
    )


def test_functions_are_short() -> None:
    """A longer one has parts that deserve names."""
    assert_none(problem for path in modules(*WINGS) for problem in long_functions(path))


def test_every_module_has_its_tests_where_one_looks_for_them() -> None:
    """In `tests`, under the same path; a module for which that makes no sense is in the table."""
    assert_none(f"{path}: no {mirror(path)}" for path in without_mirror() if not is_exempt(path))


def test_the_table_is_true() -> None:
    """Each of its entries names a module, or a folder with one, that has no test module of its name."""
    left = without_mirror()

    assert_none(
        f"TESTED_ELSEWHERE names {entry} without need"
        for entry in TESTED_ELSEWHERE
        if not any(path.as_posix() == entry or is_inside(path, entry) for path in left)
    )


def assert_none(problems: Iterable[str]) -> None:
    """Fail with all problems, one a line."""
    found = list(problems)

    assert not found, "\n".join(["", *found])
