"""Secrets in settings: a password or token, given as text or in a file.

Every setting of type `Secret` has a twin: the same key with `_file` at the end names a file that holds the
secret. The file is read at every use, so a new secret in it is used without a restart.

>>> Secret("hunter2")
Secret('**********')
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from worker.errors import SettingError

FILE: Final = "_file"
"""The end of the key that names the file of a secret."""


class Secret:
    """A text that is never shown. With a `file`, the text is the content of the file."""

    def __init__(self, text: str = "", *, file: Path | None = None, key: str = "") -> None:
        self._text = text
        self.file = file
        self._key = key
        """The key that names the file, for messages."""

    def read(self) -> str:
        """Return the secret, without a line break at its end. Raises SettingError if the file has none."""
        if self.file is None:
            return self._text
        try:
            text = self.file.read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not text"
            raise SettingError(f"{self._key} is {self.file}, which cannot be read: {why}") from None
        if not text:
            raise SettingError(f"{self._key} is {self.file}, which is empty")
        return text

    def __eq__(self, other: object) -> bool:
        """Return whether both have the same text, or the same file."""
        return isinstance(other, Secret) and (self._text, self.file) == (other._text, other.file)

    def __hash__(self) -> int:
        """Return a hash of text and file."""
        return hash((self._text, self.file))

    def __repr__(self) -> str:
        """Return asterisks, never the secret."""
        return "Secret('**********')"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema of a field: it takes text or a Secret."""
        return core_schema.no_info_plain_validator_function(_taken)


def reading(secret: Secret | None) -> Callable[[], str] | None:
    """Return the function that reads a secret; None without a secret."""
    return secret.read if secret else None


def reference(key: str, file: object) -> dict[str, object]:
    """Return a value of JSON types that a field of type `Secret` takes: the secret in a file.

    `key` is the key that names the file.
    """
    return {"key": key, "file": file}


def _taken(value: object) -> Secret:
    if isinstance(value, Secret):
        return value
    if isinstance(value, str):
        if not value:
            raise ValueError("must not be empty; give it a value, or leave it out")
        return Secret(value)
    if not (isinstance(value, dict) and value.keys() == {"key", "file"}):
        raise ValueError("must be text")
    if not isinstance(value["file"], str):
        raise ValueError(f"{value['key']} must be a path")  # noqa: TRY004  # pydantic reports ValueErrors
    secret = Secret(file=Path(value["file"]), key=value["key"])
    try:
        secret.read()
    except SettingError as error:
        raise ValueError(str(error)) from None
    return secret
