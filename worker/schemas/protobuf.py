"""A reader of Protobuf messages, each preceded by the indexes that identify its type in the schema file.

A registry stores Protobuf schemas as `.proto` text, which only `protoc` compiles. So the user provides a
descriptor set: `protoc --include_imports --descriptor_set_out=FILE`. The schema's text gives the name of the
message, and the descriptor set gives its fields. Any version of the set works, because unknown fields are
ignored.

A field without explicit presence (proto3 without `optional`) counts as absent if it has its default value,
because it may never have been set. Timestamps become datetimes, well-known wrappers their value, enums their
name.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from worker.errors import SettingError
from worker.schemas.interface import Read, Schema, Unusable

_WORDS: Final = re.compile(
    r"""//[^\n]* | /\*.*?\*/ | "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | [\w.]+ | [{};=]""",
    re.VERBOSE | re.DOTALL,
)
_TIMESTAMP: Final = "google.protobuf.Timestamp"
_WRAPPER: Final = re.compile(r"google\.protobuf\.(Bool|Bytes|Double|Float|U?Int(32|64)|String)Value")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_INDEXES: Final = 100


class DescribedMessages:
    """The messages in the descriptor set at `path`, by full name. Raises SettingError if it is invalid."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pool = DescriptorPool()
        try:
            # protoc writes every file after its imports.
            for one in FileDescriptorSet.FromString(path.read_bytes()).file:
                self._pool.AddSerializedFile(one.SerializeToString())
        except (OSError, DecodeError, TypeError, KeyError) as error:
            raise SettingError(
                f"registry.descriptors {path} is not a complete descriptor set ({error}): "
                f"create it with protoc --include_imports --descriptor_set_out={path.name}"
            ) from error

    def find(self, name: str) -> type[Message]:
        """Return the class of a message. Raises Unusable if it is not in the descriptor set."""
        try:
            return GetMessageClass(self._pool.FindMessageTypeByName(name))
        except KeyError:
            raise Unusable(f"registry.descriptors {self.path} has no message {name}") from None

    def reader(self, schema: Schema) -> Read:
        """Return a function that decodes messages written with `schema`.

        Raises Unusable if the schema cannot be parsed, or its first message is not in the descriptor set.
        """
        roots = _roots(schema.text)
        classes: dict[tuple[int, ...], type[Message]] = {(0,): self.find(_named(roots, (0,)))}

        def read(data: bytes) -> Any:
            indexes, begin = _indexes(data)
            if indexes not in classes:
                try:
                    classes[indexes] = self.find(_named(roots, indexes))
                except Unusable as error:
                    raise ValueError(str(error)) from error
            try:
                return _document(classes[indexes].FromString(data[begin:]))
            except DecodeError as error:
                raise ValueError(str(error)) from error

        return read


class _Declared(NamedTuple):
    """A message as declared by a schema: its full name and its nested messages, in order."""

    name: str
    inside: list[_Declared]


def _named(roots: list[_Declared], indexes: tuple[int, ...]) -> str:
    inside, name = roots, ""
    for index in indexes:
        if not 0 <= index < len(inside):
            raise Unusable(f"its schema has no message with the indexes {list(indexes)}")
        name, inside = inside[index]
    return name


def _roots(text: str) -> list[_Declared]:
    """Return the top-level messages of a schema: `.proto` text, or from some clients a Base64 descriptor."""
    try:
        file = FileDescriptorProto.FromString(base64.b64decode(text, validate=True))
    except (ValueError, DecodeError):
        return _roots_of_text(text)
    return [_declared(one, file.package) for one in file.message_type]


def _declared(message: DescriptorProto, outside: str) -> _Declared:
    name = f"{outside}.{message.name}".lstrip(".")
    return _Declared(name, [_declared(one, name) for one in message.nested_type])


def _roots_of_text(text: str) -> list[_Declared]:
    """Return the messages in `.proto` text, found by names and braces; comments and strings are skipped."""
    package, words = "", list[str]()
    root = _Declared("", [])
    open_ones = [root]
    for word in _WORDS.findall(text):
        if word.startswith(("//", "/*")):
            continue
        if word == "{":
            parent, name = open_ones[-1], _declares(words)
            here = _Declared(f"{parent.name or package}.{name}".lstrip("."), [])
            if name:
                parent.inside.append(here)
            open_ones.append(here)
        elif word == "}" and len(open_ones) > 1:
            open_ones.pop()
        elif word == ";" and words[:1] == ["package"]:
            package = words[-1]
        words = [] if word in ("{", "}", ";") else [*words, word]
    return root.inside


def _declares(words: list[str]) -> str:
    """Return the name of the message that `words` declare: `message Name`, `optional group Name = 1`."""
    if words[-2:-1] == ["message"]:
        return words[-1]
    return words[-3] if words[-4:-3] == ["group"] else ""


def _indexes(data: bytes) -> tuple[tuple[int, ...], int]:
    """Return the indexes before a message, and the message's position. Raises ValueError."""
    count, at = _varint32(data, 0)
    if count == 0:
        return (0,), at
    if not 0 < count <= _MOST_INDEXES:
        raise ValueError(f"the number of message indexes is {count}; it must be from 0 to {_MOST_INDEXES}")
    indexes = []
    for _ in range(count):
        index, at = _varint32(data, at)
        indexes.append(index)
    return tuple(indexes), at


def _varint32(data: bytes, at: int) -> tuple[int, int]:
    """Return the zigzag varint at a position, and the next position. Raises ValueError if incomplete."""
    value = shift = 0
    for byte in data[at : at + 5]:
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at
        shift += 7
    raise ValueError("the message indexes are incomplete")


def _document(message: Message) -> Any:
    kind = message.DESCRIPTOR.full_name
    if kind == _TIMESTAMP:
        try:
            return _EPOCH + timedelta(seconds=message.seconds, microseconds=message.nanos // 1_000)
        except OverflowError as error:
            raise ValueError(str(error)) from error
    if _WRAPPER.fullmatch(kind):
        return message.value
    return {field.name: _value(field, value) for field, value in message.ListFields()}


def _value(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        of = field.message_type.fields_by_name["value"]
        return {key: _one(of, one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_one(field, one) for one in value]
    return _one(field, value)


def _one(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None:
        return _document(value)
    if field.enum_type is not None:
        named = field.enum_type.values_by_number.get(value)
        return value if named is None else named.name
    return value
