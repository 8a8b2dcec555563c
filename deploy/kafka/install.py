"""The jars of Apache Kafka."""

from __future__ import annotations

from pathlib import Path

from deploy import java
from deploy.java import BUILD

POM = Path(__file__).with_name("pom.xml")


def fetch() -> Path:
    """Return the folder with Kafka's jars, brought by Maven if need be. Raises Unavailable."""
    return java.fetch(POM, "copy-dependencies", what="Apache Kafka (43 MB)", into=BUILD / "kafka")
