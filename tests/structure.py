"""Count how the code is divided: `make structure`, for another commit `make structure ARGS="--rev REV"`.

A *room* is what stands directly in a package: a folder, with all that is in it, or a single file. An *arrow*
is an import of one file or room by another, counted once; those inside functions and for type checking count.
*Floors* are the files or rooms on the longest chain of arrows. In a *circle* each one reaches every other by
arrows; on a chain it counts as one.
"""

from __future__ import annotations

import argparse
import ast
import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]

PACKAGES: Final = ("trainer", "worker")

Graph = Mapping[str, frozenset[str]]
"""What each file or room imports, of the same package and not itself."""


class Longest(NamedTuple):
    """The largest of its kind, and where it is."""

    lines: int
    where: str

    def __str__(self) -> str:
        return f"{self.lines} {self.where}"


def counted(package: Path) -> dict[str, Any]:
    """Count the package in this folder: numbers, circles and what is longest, by what it is."""
    texts = {_module(path, package): path.read_text() for path in package.rglob("*.py")}
    trees = {module: ast.parse(text) for module, text in texts.items()}
    lines = {module: len(text.splitlines()) for module, text in texts.items()}
    files = {module: frozenset(_imported(tree, trees.keys() - {module})) for module, tree in trees.items()}
    rooms = _between_rooms(files)
    functions = (found for module, tree in trees.items() for found in _functions(tree, module))
    return {
        "files": len(files),
        "rooms": len(rooms),
        "lines": sum(lines.values()),
        "arrows between files": sum(map(len, files.values())),
        "arrows between rooms": sum(map(len, rooms.values())),
        "floors of files": floors(files),
        "floors of rooms": floors(rooms),
        "circles of files": circles(files),
        "circles of rooms": circles(rooms),
        "longest file": max(Longest(count, module) for module, count in lines.items()),
        "longest function": max(functions, default=None),
    }


def circles(graph: Graph) -> list[list[str]]:
    """Return the groups of more than one node in which every node reaches every other, sorted."""
    reached = {node: _reached(graph, node) for node in graph}
    groups = {frozenset(other for other in reached[node] if node in reached[other]) for node in graph}
    return sorted(sorted(group) for group in groups if len(group) > 1)


def floors(graph: Graph) -> int:
    """Return how many nodes the longest chain of imports has; a circle counts as one of them."""
    circle = {node: frozenset(group) for group in circles(graph) for node in group}

    @cache
    def height(node: str) -> int:
        group = circle.get(node, frozenset([node]))
        below = frozenset[str]().union(*(graph[member] for member in group)) - group
        return 1 + max(map(height, below), default=0)

    return max(map(height, graph), default=0)


def _module(path: Path, package: Path) -> str:
    """Return the dotted name of a file, that of the folder for an `__init__`."""
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(tree: ast.Module, modules: set[str]) -> Iterator[str]:
    """Yield those of `modules` that a file imports. A folder's name stands for its `__init__`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from modules & {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield from [one for one in (f"{node.module}.{alias.name}", node.module) if one in modules][:1]


def _between_rooms(files: Graph) -> Graph:
    room = {module: module.split(".")[1] for module in files if "." in module}
    arrows = {(room[one], room[other]) for one in room for other in files[one] if other in room}
    return {
        name: frozenset(other for one, other in arrows if one == name != other) for name in set(room.values())
    }


def _reached(graph: Graph, node: str) -> set[str]:
    reached, waiting = {node}, [node]
    while waiting:
        new = graph[waiting.pop()] - reached
        reached |= new
        waiting.extend(new)
    return reached


def _functions(tree: ast.Module, module: str) -> Iterator[Longest]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield Longest((node.end_lineno or node.lineno) - node.lineno + 1, f"{module}.{node.name}")


def _show(folder: Path) -> None:
    """Print what is counted of the packages in `folder`."""
    found = [counted(folder / name) for name in PACKAGES]
    print(f"{'':22}" + "".join(f"{name + '/':>36}" for name in PACKAGES))
    for what in found[0]:
        values = [one[what] for one in found]
        shown = [str(len(value) if isinstance(value, list) else value) for value in values]
        print(f"{what:22}" + "".join(f"{value:>36}" for value in shown))
    for what in ("circles of files", "circles of rooms"):
        for circle in (circle for one in found for circle in one[what]):
            print(f"one of the {what}: {', '.join(circle)}")
    print(f"lines of worker/loop.py: {len((folder / 'worker/loop.py').read_text().splitlines())}")


def main() -> None:
    """Count the files that are here, or those of another commit."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--rev", metavar="REV", help="count this commit, not the files that are here")
    rev = parser.parse_args().rev
    if not rev:
        _show(ROOT)
        return
    command = ["git", "archive", rev, *PACKAGES]
    archive = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
        _show(Path(folder))


if __name__ == "__main__":
    main()
