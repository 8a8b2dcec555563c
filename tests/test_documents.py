from __future__ import annotations

import importlib
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import jsonschema
import kafka
import numpy as np
import pytest

from tests import documents
from tests.commands import FENCE, ONLY_PARSED, blocks, shown
from tests.documents import DOCUMENTS, ROOT, read
from trainer.commands import cli as trainer
from trainer.config import TrainerSettings
from worker import __main__ as worker
from worker.config import Settings
from worker.core.batch import Clicks
from worker.core.event import Decoder, Fields
from worker.core.item_record import ItemDecoder
from worker.core.known_items import Item
from worker.core.reasons import BadRecord, Reason
from worker.core.recommender import Recommendations
from worker.core.rule_record import RuleDecoder
from worker.http.openapi import document
from worker.kafka.memory import MemoryCluster, MemoryRecord
from worker.settings.common import Click
from worker.settings.events import Events
from worker.settings.fields import kinds_of
from worker.settings.loading import CONFIG_VARIABLE, given, load, variable
from worker.topics.clicks import decode
from worker.topics.recommendations import ENCODERS, RecommendationWriter

PROGRAMS: Final[dict[str, click.Group]] = {"nextclick-worker": worker.cli, "nextclick-trainer": trainer.cli}

PATHS: Final = ("item.id", "item.cents")
"""Paths of fields in the examples of documents, which look like settings."""

OF_TESTS: Final = {"NEXTCLICK_TEST_KAFKA", "NEXTCLICK_DATA", CONFIG_VARIABLE}
"""Environment variables that are no settings."""

START_MS: Final = 1_800_000_000_000
"""Later than the records in the documents."""

MOUNTED: Final = "/etc/nextclick-files"
"""Where the chart mounts a Secret with files."""

CODE: Final = re.compile(r"`([^`\n]+)`")
LINK: Final = re.compile(r"\]\(([^)#]*)(?:#([^)]*))?\)")

every_document = pytest.mark.parametrize("name", DOCUMENTS)


def inline(name: str) -> list[str]:
    """Return the pieces of code in the prose and the tables of a document."""
    return CODE.findall(FENCE.sub("", read(name)))


def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub makes of the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", path.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_document
def test_generated_parts_are_as_the_code_says(name: str) -> None:
    """Each setting, option and metric is described once, in the code."""
    assert documents.generated(read(name)) == read(name), "run `make reference`"


def test_the_programs_know_the_names_of_all_settings() -> None:
    """Each checks the sections of the other by these."""
    assert read(documents.NAMES) == documents.names(), "run `make reference`"


def test_every_setting_option_and_metric_has_a_description() -> None:
    """It is all that the reference says of it."""
    settings = {key: field.description for key, field in documents.settings().items()}
    found = [*documents.options(worker.cli), *documents.options(trainer.cli)]
    options = {f"{name} {option.name}": option.help for name, option in found}
    metrics = {
        name: text
        for registry in documents.registries().values()
        for name, _, text in documents.metrics(registry)
    }

    assert [name for name, text in [*settings.items(), *options.items(), *metrics.items()] if not text] == []


def test_readme_is_read_in_five_minutes() -> None:
    """Everything else has a document of its own."""
    assert len(read("README.md").split()) < 1_500


@every_document
def test_links_lead_to_files_and_headings(name: str) -> None:
    """Within the repository; addresses of others are not looked at."""
    here = ROOT / name
    for target, anchor in LINK.findall(read(name)):
        if "://" in target:
            continue
        path = (here.parent / target).resolve() if target else here

        assert path.exists(), target
        assert not anchor or anchor in anchors(path), f"{target}#{anchor}"


@every_document
def test_files_that_are_named_exist(name: str) -> None:
    """By a path from the root, such as `worker/loop.py` or `tests/laws/`."""
    named = [code for code in inline(name) if re.fullmatch(r"(worker|trainer|tests|deploy)/[\w./-]*", code)]

    assert [path for path in named if not (ROOT / path).exists()] == []


@every_document
def test_settings_in_toml_are_taken(name: str, tmp_path: Path) -> None:
    """By both programs: each checks its own sections and the common ones."""
    path = tmp_path / "nextclick.toml"
    for block in blocks(name, "toml"):
        for file in re.findall(rf"{MOUNTED}/([\w.-]+)", block):
            (tmp_path / file).write_text("the content of a Secret")
        path.write_text(block.replace(MOUNTED, str(tmp_path)))

        assert given(load(Settings, path, {})) | given(load(TrainerSettings, path, {}))


@every_document
def test_settings_that_are_named_exist(name: str) -> None:
    """As `section.key`, and as environment variables; `PATHS` are those of fields in examples."""
    keys = {*kinds_of(Settings), *kinds_of(TrainerSettings)}
    sections = {key.partition(".")[0] for key in keys if "." in key}
    named = [code for code in inline(name) if re.fullmatch(r"\w+\.\w+", code) and code not in PATHS]
    variables = {variable(key) for key in keys} | OF_TESTS
    mentioned = re.findall(r"\bNEXTCLICK_[A-Z_]+[A-Z]\b", read(name))

    assert [key for key in named if key.partition(".")[0] in sections and key not in keys] == []
    assert [one for one in mentioned if one not in variables and f"{one}_*" not in read(name)] == []


@every_document
def test_metrics_that_are_named_exist(name: str) -> None:
    """Under the name that a scrape shows; a name after a colon is part of a recording rule's."""
    known = {
        metric.strip("`").partition("{")[0]
        for registry in documents.registries().values()
        for metric, _, _ in documents.metrics(registry)
    }
    named = re.findall(r"(?<![\w:])nextclick_[a-z_]+", read(name))

    assert [one for one in named if one not in known] == []


@every_document
def test_targets_of_make_exist(name: str) -> None:
    """In shell blocks and in the text."""
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    texts = [*inline(name), *(one.text for one in shown(name))]
    named = [found[1] for text in texts if (found := re.search(r"\bmake ([a-z-]+)", text))]

    assert [target for target in named if target not in targets] == []


@every_document
def test_arguments_of_benchmarks_are_taken(name: str) -> None:
    """Measures have the names that the documents say."""
    try_arguments(name, "bench[a-z-]*")


@pytest.mark.slow  # loads Keras
@every_document
def test_arguments_of_quality_are_taken(name: str) -> None:
    """Data sets have the names that the documents say."""
    try_arguments(name, "quality")


def try_arguments(name: str, targets: str) -> None:
    """Parse what a document passes to the programs behind some targets of make."""
    for target, arguments in re.findall(rf'\bmake ({targets}) ARGS="?(--[\w -]+)"?', read(name)):
        (module,) = re.findall(rf"^{target}:.*\n.* -m ([\w.]+)", read("Makefile"), re.MULTILINE)
        # NAME stands for any.
        words = [] if arguments == "--only NAME" else arguments.split()
        with importlib.import_module(module).main.make_context(target, words):
            pass


@every_document
def test_targets_in_blocks_can_be_made(name: str) -> None:
    """With their variables; `make -n` says what it would do."""
    for command in shown(name):
        if command.program == "make":
            done = subprocess.run(
                f"make -n {command.text.partition('make ')[2]}",
                cwd=ROOT,
                shell=True,
                check=False,
                capture_output=True,
                text=True,
            )

            assert done.returncode == 0, f"{command.text}: {done.stderr}"


def test_the_commands_that_no_test_runs_are_few() -> None:
    """Each stands in a document, and has its reason; all others are run by a test.

    tests/broker/test_documents.py runs them.
    """
    texts = [one.text for one in shown()]

    assert [text for text in ONLY_PARSED if text not in texts] == []
    assert len({*texts} - {*ONLY_PARSED}) > len(ONLY_PARSED)


@every_document
def test_commands_in_blocks_are_taken(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command exists, with its options, their values and what it cannot do without."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned/best.toml").touch()
    for program, *words in (one.words for one in shown(name)):
        if program in PROGRAMS:
            command, arguments = _found(program, words)
            with command.make_context(command.name, arguments):
                pass


@every_document
def test_commands_in_the_text_exist(name: str) -> None:
    """With their options; what they work on may be left out there."""
    for code in inline(name):
        program, *words = code.split()
        if program in PROGRAMS and words and not words[0].startswith("COMMAND"):
            command, arguments = _found(program, words)
            with command.make_context(command.name, arguments, resilient_parsing=True):
                pass


def _found(program: str, words: list[str]) -> tuple[click.Command, list[str]]:
    group = PROGRAMS[program]

    assert words[0] in group.commands, f"{program} {words[0]}"
    return group.commands[words[0]], words[1:]


@every_document
def test_programs_of_python_in_blocks_exist(name: str) -> None:
    """A file by its path, a module by its name."""
    texts = [*inline(name), *(one.text for one in shown(name))]
    for text in texts:
        if found := re.match(r"python (?:-m ([\w.]+)|(\S+\.py))", text):
            path = ROOT / (found[2] or found[1].replace(".", "/"))
            program = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")

            assert found[1] or 'if __name__ == "__main__":' in program.read_text()
            assert program.is_file()


def test_the_topic_in_readme_is_read_and_its_lists_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The record goes through the decoder under the settings, the list through the ten lines of Python."""
    (tmp_path / "nextclick.toml").write_text(*blocks("README.md", "toml"))
    settings = load(Settings, tmp_path / "nextclick.toml", {})
    decoded = decode(written(*blocks("README.md", "json")), settings.click.decoder())
    sent = answer(decoded.clicks, settings.topics.recommendations)
    monkeypatch.setattr(
        kafka, "KafkaConsumer", lambda topic, **_: iter([sent] if topic == sent.topic else [])
    )
    (code,) = blocks("README.md", "python")
    exec(compile(code, "README.md", "exec"), {})

    assert decoded.bad == []
    assert capsys.readouterr().out == "7 ['rug', 'sofa'] model\n"
    assert len(code.splitlines()) <= 13


def test_the_records_in_the_reference_are_those_of_the_worker() -> None:
    """Clicks, requests, items and rules are read under the defaults; a list has the worker's fields."""
    click, request, item, rule, shown, asked = blocks("worker/README.md", "json")
    decoded = decode(written(click), Decoder(Fields()))
    requested = decode(written(request), Events(type="type").decoder(Click()))
    published = json.loads(answer(decoded.clicks, "recommendations").value or b"")
    documented = json.loads(shown)
    described = ItemDecoder().decode(item.encode(), b"boots")

    assert not isinstance(described, Reason)
    assert not isinstance(RuleDecoder().decode(rule.encode(), b"autumn"), BadRecord)
    assert [name.removesuffix("_ms") for name in Item._fields] == [*json.loads(item)]
    assert None not in [*(described[1] or ())]
    assert decoded.bad == requested.bad == []
    assert [one.asked.request_id for one in requested.requests] == ["r-17"]
    assert [*documented] == [*published]
    assert [*documented["event"]] == [*published["event"]]
    jsonschema.validate(json.loads(asked), document()["components"]["schemas"]["List"])
    assert {*json.loads(asked)} < {*document()["components"]["schemas"]["List"]["properties"]}


def written(value: str) -> list[MemoryRecord]:
    """Return a record with this value as a consumer gets it."""
    cluster = MemoryCluster(start_ms=START_MS)
    cluster.create("clicks")
    cluster.produce("clicks", value.encode())
    return cluster.read("clicks")


def answer(clicks: Clicks, topic: str) -> MemoryRecord:
    """Return the record of a list for the first of `clicks`, as the worker writes it."""
    cluster = MemoryCluster(start_ms=START_MS)
    cluster.create(topic)
    transactions = cluster.connect().transactions("document", timeout_ms=10_000)
    transactions.renew()
    writer = RecommendationWriter(transactions, topic=topic, clicks_topic="clicks", encode=ENCODERS["json"])
    ranked = Recommendations(0, ["rug", "sofa"], np.array([9.1, 8.7], np.float32), "model", 3)
    writer.publish(clicks, [ranked], now_ms=START_MS)
    transactions.commit(topic, {}, "document", seconds=1)
    (record,) = cluster.read(topic)
    return record


def messages() -> Iterator[str]:
    """Yield the messages that the worker's reference tells what to do about."""
    section = read("worker/README.md").partition("## Operations by symptom")[2].partition("### No message")[0]
    for row in re.findall(r"^\| (.*?) \|", section, re.MULTILINE):
        yield from CODE.findall(row)


def test_the_messages_that_are_explained_exist() -> None:
    """Word for word in the worker's source; what varies is shown as three dots."""
    source = "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "worker").rglob("*.py")))
    source = re.sub(r'"\s*\n\s*f?"', "", source)
    pieces = [piece for message in messages() for piece in message.split("…") if len(piece.strip()) > 2]

    assert len(pieces) > 20
    assert [piece for piece in pieces if piece.strip(" .") not in source] == []
