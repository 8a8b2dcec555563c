"""The jars of Apicurio Registry."""

from __future__ import annotations

from pathlib import Path

from deploy import java
from deploy.java import BUILD

POM = Path(__file__).with_name("pom.xml")


def fetch() -> Path:
    """Return the folder with the registry's jars, brought by Maven if need be. Raises Unavailable."""
    return java.fetch(POM, "unpack-dependencies", what="Apicurio Registry (142 MB)", into=BUILD / "registry")
