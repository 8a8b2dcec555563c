from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from worker.errors import Retriable
from worker.kafka.refusals import SENTENCES, Refused

TESTS = Path(__file__).parents[2]
MODULES = ("worker/kafka/test_probe", "worker/kafka/test_tls", "worker/kafka/test_oauth")
MORE = ("worker/kafka/test_sasl", "broker/test_refusals")


@pytest.mark.parametrize("cause", SENTENCES)
def test_every_cause_has_a_test_and_a_remedy(cause: str) -> None:
    """Its sentence is compared with what is printed, by name; the remedy follows a semicolon."""
    tested = "".join((TESTS / f"{name}.py").read_text() for name in (*MODULES, *MORE))

    assert f'"{cause}"' in tested
    assert "; " in SENTENCES[cause]


def test_a_refusal_is_retried_and_keeps_its_cause() -> None:
    """A file may be mended while the program runs; a process may send it to another one."""
    refusal = Refused("key needs password", file="client.key")

    assert isinstance(refusal, Retriable)
    assert str(pickle.loads(pickle.dumps(refusal))) == str(refusal)
    assert pickle.loads(pickle.dumps(refusal)).cause == "key needs password"
