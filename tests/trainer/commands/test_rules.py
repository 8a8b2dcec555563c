"""`evaluate --items --rules`: the price of rules, on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from tests.builders import item_names
from tests.trainer.builders import CYCLE, cyclic_clicks
from tests.trainer.commands.test_evaluate import figures, release, run

RULES: Final[Mapping[str, Mapping[str, Any]]] = {
    "odd": {"exclude": {"tags": ["even"]}},
    "later": {"pin": {"item_id": "item-3", "place": 1}, "from": "2200-01-01"},
    "home": {"pin": {"item_id": "item-3", "place": 1}, "placements": ["home"]},
}


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """A release that is always right, all clicks, and items of which one is sold out."""
    clicks, items = tmp_path / "clicks.csv", tmp_path / "items.jsonl"
    cyclic_clicks(100).write_csv(clicks)
    described = [
        {"item_id": item, "tags": ["odd" if number % 2 else "even"], "available": number != 11}
        for number, item in enumerate(item_names(CYCLE))
    ]
    items.write_bytes(b"\n".join(map(orjson.dumps, described)))
    return [release(tmp_path), str(clicks), "--all", "--top", "3", "--items", str(items)]


def rules(tmp_path: Path, *documents: Mapping[str, Any]) -> list[str]:
    """The option that names a file of these rules."""
    path = tmp_path / "rules.jsonl"
    path.write_bytes(b"\n".join(map(orjson.dumps, documents)))
    return ["--rules", str(path)]


def named(*names: str) -> list[dict[str, Any]]:
    """Some of the rules, as lines."""
    return [{"name": name, **RULES[name]} for name in names]


def test_the_price_of_rules_is_shown(tmp_path: Path, words: list[str]) -> None:
    """In a table and two sentences; on both sides, the item that is sold out is a miss."""
    done = run("evaluate", *words, *rules(tmp_path, *named("odd")))

    assert done.exit_code == 0
    shown = [" ".join(line.split()) for line in done.stdout.splitlines()]
    targets = [item for number, item in enumerate(cyclic_clicks(100)["item_id"].to_list()) if number % 5]
    numbers = [int(item.removeprefix("item-")) for item in targets]
    without, with_rules = (
        sum(number != 11 and (number % 2 or all_of) for number in numbers) / 400 for all_of in (True, False)
    )
    assert shown[0] == "400 predictions in 100 sessions"
    assert shown[1].startswith("without with rules with rules - without 95 % interval")
    assert shown[2].startswith(f"Recall@3 {without:.4f} {with_rules:.4f} {with_rules - without:+.4f} ")
    assert [line.split()[0] for line in shown[3:5]] == ["MRR@3", "NDCG@3"]
    assert shown[-2] == "400 of 400 lists changed (100.0%); 0 could not be filled (0 without)"
    assert shown[-1].startswith("the release with rules is worse than the release without them by ")
    assert "read 12 items, 1 of them unavailable; they describe 12 of the 12 items" in done.stderr
    assert "read 1 rules, 1 of them in force" in done.stderr


def test_the_price_of_items_alone_is_shown(words: list[str]) -> None:
    """Against the release that knows of none; the clicks one by one give the same."""
    found = figures(*words)

    assert found == figures(*words, "--exact") | {"at": found["at"]}
    assert found["metrics"]["recall_at_3"]["a"] == 1
    assert found["metrics"]["recall_at_3"]["b"] < 1
    assert found["verdict"].startswith("the release with items is worse than the release without them by ")
    assert (found["items"], found["unavailable_items"], found["lists"]) == (12, 1, 400)
    assert 0 < found["changed_lists"] < 400
    assert "rules_in_force" not in found


def test_lists_that_cannot_be_filled_are_counted(tmp_path: Path, words: list[str]) -> None:
    """One kind of items, of which one may be shown."""
    cap = {"name": "one", "cap": {"prefix": "odd", "at_most": 1}}
    found = figures(*words, *rules(tmp_path, cap, {"name": "odd", "allow": {"tags": ["odd"]}}))

    assert found["short_lists"] == {"a": 0, "b": 400}
    assert found["changed_lists"] == 400


def test_rules_hold_at_one_time_and_at_one_placement(tmp_path: Path, words: list[str]) -> None:
    """By default now, after a click; notes say which rules do not."""
    words = [*words, *rules(tmp_path, *named("later", "home"))]
    now, later = figures(*words), figures(*words, "--at", "2200-01-02")
    home = figures(*words, "--placement", "home")
    said = run("evaluate", *words).stderr

    assert [one["changed_lists"] > 0 for one in (now, later, home)] == [False, True, True]
    assert (now["rules_in_force"], now["rules_not_in_force"]) == (["home"], ["later"])
    assert (later["rules_not_in_force"], later["at"]) == ([], "2200-01-02T00:00:00+00:00")
    assert "choose another time with --at: later" in said
    assert "at other placements only, name one with --placement: home" in said


def test_what_does_not_exist_is_named(tmp_path: Path, words: list[str]) -> None:
    """Tags, prefixes of tags and items; a misspelled one has no effect."""
    documents = [
        {"name": "a", "exclude": {"tags": ["evne", "odd"]}, "last_event_tags": ["uneven"]},
        {"name": "b", "cap": {"prefix": "od", "at_most": 2}},
        {"name": "c", "cap": {"prefix": "category:", "at_most": 2}},
        {"name": "d", "pin": {"item_id": "lamp", "place": 1}},
    ]
    said = run("evaluate", *words, *rules(tmp_path, *documents)).stderr

    assert "tags that no item has: uneven (a), evne (a), category: (c)\n" in said
    assert "pinned items that the release does not know: lamp (d)" in said


def test_long_lists_of_names_are_cut(tmp_path: Path, words: list[str]) -> None:
    """A thousand rules that are over are one line."""
    documents = [{"name": f"rule-{number}", **RULES["later"]} for number in range(12)]
    said = run("evaluate", *words, *rules(tmp_path, *documents)).stderr

    assert "rule-9 and 2 more" in said
    assert "rule-10" not in said


def test_an_item_id_has_the_field_that_the_settings_name(tmp_path: Path, words: list[str]) -> None:
    """Tags, too."""
    path = tmp_path / "products.csv"
    path.write_text("sku,kind\nitem-0,even\nitem-1,odd\n")
    words = [*words[:-1], str(path), "--set", "item.item_id=sku", "--set", "item.tags=kind"]
    done = run("evaluate", *words, *rules(tmp_path, *named("odd")))

    assert done.exit_code == 0
    assert (
        "read 2 items, 0 of them unavailable; they describe 2 of the 12 items of the release" in done.stderr
    )
    assert "no item has" not in done.stderr


def test_nothing_is_measured_with_half_of_the_rules(tmp_path: Path, words: list[str]) -> None:
    """The file, the line and the reason are named."""
    done = run("evaluate", *words, *rules(tmp_path, *named("odd"), {"name": "b", "exclud": {}}))

    assert done.exit_code != 0
    assert done.stdout == ""
    assert str(done.exception).startswith(
        f"{tmp_path}/rules.jsonl: not all rules can be read; correct these:"
    )
    assert "line 2: unknown field 'exclud'; did you mean 'exclude'?" in str(done.exception)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--rules", "rules.jsonl"], "--rules is given without --items"),
        (["--at", "2026-01-01"], "--at and --placement have no effect without --items"),
        (["--placement", "home"], "--at and --placement have no effect without --items"),
        (["--items", "x.jsonl", "--placement", "home", "--exact"], "--exact makes the lists after clicks"),
        (["--items", "x.jsonl", "--at", "soon"], "--at is 'soon'; it must be a time like 2026-09-13"),
        (["--items", "x.jsonl"], "x.jsonl: there is no such file"),
        (["--items", "x.jsonl", "--set", "item.price=@header.p"], "item.price is @header.p, which a file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_is_said(words: list[str], options: list[str], problem: str) -> None:
    """With the value, and what to do."""
    done = run("evaluate", *words[:-2], *options)

    assert done.exit_code != 0
    assert problem in " ".join((done.output + str(done.exception)).split())
