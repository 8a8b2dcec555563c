"""The commands that the documents show. Every one is run by a test, but for those that are listed here."""

from __future__ import annotations

import re
import shlex
from itertools import dropwhile
from typing import Final, NamedTuple

from tests.documents import DOCUMENTS, read

FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

_INSTALLS: Final = "downloads up to half a gigabyte; tests/packaging installs the wheel"
_DEMO: Final = "takes over a minute; tests/deploy/demo plays the demo"
_SUITE: Final = "is this suite, which would run itself"
_HOURS: Final = "takes half an hour to hours; its smoke run is tested in tests/benchmarks"
_ENGINE: Final = "needs a container engine or a cluster; tests/deploy reads what it starts"
_TOOLS: Final = "needs Kafka's own tools; tests/broker/test_security.py grants by the admin API"
_OTHERS: Final = "needs tools of others; run by hand against Kafka 4.1"
_MINUTES: Final = "takes minutes; a smaller run is tested in tests/broker/test_fuzz.py and tests/worker/kafka"
_SERVES: Final = "needs a worker that serves; tests/broker/test_rules.py asks one"
_DATA: Final = "takes minutes to hours, and needs data that may not be passed on"

ONLY_PARSED: Final = {
    "pip install '.[trainer]'": _INSTALLS,
    "pip install --require-hashes -r deploy/requirements/worker.txt": _INSTALLS,
    "make demo": _DEMO,
    "KAFKA=localhost:9092 make demo": _DEMO,
    "make check": _SUITE,
    'make check ARGS="-k ranking"': _SUITE,
    "make test": _SUITE,
    "make chaos ROUNDS=20 SEED=1": "takes twenty minutes; tests/broker/test_chaos.py runs a round",
    "make chaos BROKERS=3 ROUNDS=30": "takes half an hour; tests/broker/test_cluster.py plays some faults",
    'make chaos SEED=3 ARGS="--shop 60"': "takes minutes; tests/broker/test_chaos.py runs a round",
    'make chaos ARGS="--freeze 60"': "takes minutes; tests/broker/test_freeze.py freezes for 20 seconds",
    'make chaos SEED=7 ARGS="--fuzz 3000"': _MINUTES,
    "make soak MINUTES=60": "takes an hour; tests/benchmarks/test_soak.py tests what it makes of its samples",
    ".venv/bin/python -m tests.benchmarks.codecs --clicks 3000000": _MINUTES,
    ".venv/bin/python -m tests.benchmarks.items": "takes minutes; tests/benchmarks/test_items.py runs it",
    "nextclick-worker rules --worker http://localhost:9464": _SERVES,
    "make images": _ENGINE,
    "docker run --read-only --env NEXTCLICK_KAFKA_BOOTSTRAP_SERVERS=broker:9092 "
    "nextclick-worker:0.1.0": _ENGINE,
    "docker run --read-only --tmpfs /tmp --env NEXTCLICK_KAFKA_BOOTSTRAP_SERVERS=broker:9092 "
    "nextclick-trainer:0.1.0 releases": _ENGINE,
    "docker compose --file deploy/compose.yaml up --build": _ENGINE,
    "helm install shop deploy/helm/nextclick --set-file config=nextclick.toml "
    "--set images.worker=registry.example/nextclick-worker "
    "--set images.trainer=registry.example/nextclick-trainer": _ENGINE,
    "kubectl create secret generic kafka-login --from-literal=NEXTCLICK_KAFKA_SASL_USERNAME=nextclick "
    "--from-literal=NEXTCLICK_HTTP_TOKEN=...": _ENGINE,
    "kubectl create secret generic kafka-files --from-file=ca.crt --from-file=password": _ENGINE,
    "kubectl logs job/shop-nextclick-topics --all-containers": _ENGINE,
    "kubectl describe pods --selector app.kubernetes.io/component=topics": _ENGINE,
    "helm template shop deploy/helm/nextclick --set-file config=nextclick.toml "
    "--kube-version 1.34": "is run by tests/deploy/helm, with the settings of a user",
    "helm upgrade shop deploy/helm/nextclick --reset-then-reuse-values --set-file config=nextclick.toml "
    "--set credentialsSecret=kafka-login --set filesSecret=kafka-files": _ENGINE,
    "helm upgrade shop deploy/helm/nextclick --reset-then-reuse-values --set images.tag=0.2.0": _ENGINE,
    "kafka-configs.sh --bootstrap-server broker:9093 --command-config super.properties --alter "
    "--entity-type users --entity-name nextclick-worker "
    "--add-config 'SCRAM-SHA-512=[password=...]'": _TOOLS,
    "kafka-acls.sh --bootstrap-server broker:9093 --command-config super.properties --add "
    "--allow-principal User:nextclick-worker --topic clicks --operation Read": _TOOLS,
    "kafka-topics.sh --bootstrap-server broker:9092 --describe --unavailable-partitions": _OTHERS,
    "kafka-transactions.sh --bootstrap-server broker:9092 describe "
    "--transactional-id nextclick/worker-0": _OTHERS,
    r"kcat -b broker:9092 -C -t clicks.dead-letter -o -20 -e -f '%h %s\n'": _OTHERS,
    "make audit": "needs a service that lists vulnerabilities",
    "make bench": _HOURS,
    'make bench ARGS="--only scale"': _DATA,
    "make bench-costs": "writes into the code; tests/benchmarks/test_costs.py tests its arithmetic",
    "make bench-rules": _HOURS,
    "make bench-state": _HOURS,
    "make bench-refresh": _HOURS,
    'make bench-refresh ARGS="--only globo"': _DATA,
    "make quality": _DATA,
    'make quality ARGS="--kind default"': _DATA,
    'make quality ARGS="--only diginetica_srgnn --kind tuned"': _DATA,
    'make quality ARGS="--only globo_g1_news --kind tuned --hours 61"': _DATA,
    'make quality ARGS="--only ml100k --kind alternatives"': _DATA,
    'make quality ARGS="--only hold_out"': _DATA,
    'make quality ARGS="--only simulated"': "trains for minutes",
}
"""The commands that no test runs, and why. `tests/test_documents.py` parses them."""


class Shown(NamedTuple):
    """A command in a shell block of a document."""

    document: str
    block: int
    """The number of the block in its document."""
    text: str
    """Without a comment."""
    words: tuple[str, ...]
    """Without variables before them."""

    @property
    def program(self) -> str:
        """The program that it runs."""
        return self.words[0]


def blocks(name: str, *languages: str) -> list[str]:
    """Return the code blocks of a document in some languages."""
    return [code for language, code in FENCE.findall(read(name)) if language in languages]


def shown(*names: str) -> list[Shown]:
    """Return the commands in the shell blocks of some documents, of all by default, in their order."""
    return [
        one
        for name in names or DOCUMENTS
        for number, block in enumerate(blocks(name, "sh"))
        for one in _lines(name, number, block)
    ]


def to_run(*names: str) -> list[Shown]:
    """Return those that a test must run."""
    return [one for one in shown(*names) if one.text not in ONLY_PARSED]


def _lines(name: str, number: int, block: str) -> list[Shown]:
    found = []
    for line in block.replace("\\\n", " ").splitlines():
        text = " ".join(re.sub(r"(?:^|\s)#.*", "", line).split())
        words = [*dropwhile(lambda word: re.match(r"[A-Z_]+=", word), shlex.split(text))]
        if words:
            found.append(Shown(name, number, text, tuple(words)))
    return found
