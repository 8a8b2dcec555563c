"""A program that knows only the documented format of a release gets the figures of `evaluate`."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pytest
from click.testing import CliRunner

from tests.builders import tiny_release_parts
from tests.trainer.builders import MINUTE_MS, START_MS, table
from trainer.commands.cli import cli
from trainer.release.folder import write_folder
from worker.core.ranking import OwnItems

SCRIPT = Path(__file__).with_name("independent.py")
ITEMS = 80


def walks(sessions: int, seed: int) -> pl.DataFrame:
    """Users who step to a near item, go back to an earlier one, or jump; some items are rare."""
    random, rows = np.random.default_rng(seed), list[tuple[str, str, int]]()
    for number in range(sessions):
        items, time = [int(random.integers(ITEMS))], START_MS + number * MINUTE_MS
        for _ in range(random.integers(1, 12)):
            near = (items[-1] + int(random.integers(1, 4))) % ITEMS
            back, far = items[int(random.integers(len(items)))], int(ITEMS * 1.2 * random.random() ** 2)
            items.append(int(random.choice([near, back, far], p=[0.5, 0.2, 0.3])))
        for item in items:
            # Now and then a user pauses for longer than the session gap.
            time += 1_000 + (random.random() < 0.1) * 40 * MINUTE_MS
            rows.append((f"user-{number % (sessions // 2)}", f"item-{item}", time))
    return table(rows).sort("timestamp_ms", maintain_order=True)


def test_the_script_is_short_and_knows_nothing_of_this_project() -> None:
    """At most 60 lines; besides the standard library, NumPy and safetensors."""
    text = SCRIPT.read_text()
    nodes = [*ast.walk(ast.parse(text))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    others = {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names)

    assert len(text.splitlines()) <= 60
    assert others == {"numpy", "safetensors"}


@pytest.mark.parametrize("gap", [1800.0, 0.0])
def test_evaluate_agrees_with_an_independent_program(tmp_path: Path, gap: float) -> None:
    """To the fourth digit, with all terms of the blend, items that are not in the catalogue, and sessions."""
    known = [f"item-{number}" for number in range(ITEMS - 10)]
    parts = tiny_release_parts(
        known,
        output_bias=True,
        transitions=5,
        co_occurrences=6,
        co_occurrence_decay=(1.0, 0.5, 0.25),
        repeat_bias=(1.5, -0.5, 0.25, 0.5),
        own_items=OwnItems(30, 1.25, 8.0, -0.75),
        session_gap_seconds=gap,
    )
    write_folder(tmp_path / "release", *parts)
    clicks = walks(150, seed=2).unique(maintain_order=True)
    clicks.write_csv(tmp_path / "clicks.csv")
    words = ["evaluate", str(tmp_path / "release"), str(tmp_path / "clicks.csv"), "--all", "--json"]

    ours = CliRunner().invoke(cli, words, catch_exceptions=False)
    theirs = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path / "release"), str(tmp_path / "clicks.csv")],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
        cwd=tmp_path,
    )

    assert not set(clicks["item_id"]) <= set(known)
    network = orjson.loads(ours.stdout)["models"]["network"]
    figures = {name: network[f"{name}_at_20"][0] for name in ("recall", "mrr", "ndcg")}
    assert 0.2 < figures["recall"] < 0.9
    assert json.loads(theirs.stdout) == pytest.approx(figures, abs=5e-5)
