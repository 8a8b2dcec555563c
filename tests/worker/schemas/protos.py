"""A Protobuf schema of clicks: its text, and the descriptor set that `protoc` would make of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import timestamp_pb2, wrappers_pb2
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pb2 import FileDescriptorSet as DescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

TEXT = """
syntax = "proto3";  // message Comment { }
package shop.events;
/* message Other {
*/
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
option java_package = "message Text { }";

enum Kind { VIEW = 0; CART = 1; }

message Unused {
  message Inner { string message = 1; }
}

message Click {
  message Item {
    string id = 1;
    bytes raw = 2;
    oneof price { int64 cents = 3; double euros = 4; }
  }
  int64 user_id = 1;
  Item item = 2;
  google.protobuf.Timestamp at = 3;
  google.protobuf.StringValue campaign = 4;
  Kind kind = 5;
  repeated string tags = 6;
  map<string, Item> seen = 7;
  optional int64 visits = 8;
}

service Clicks { rpc Send (Click) returns (Click) { option deprecated = true; } }
"""

_Field = FieldDescriptorProto


def field(name: str, number: int, type: int, kind: str = "", **more: Any) -> FieldDescriptorProto:
    """A field of a message."""
    return _Field(
        name=name,
        number=number,
        type=type,
        type_name=kind or None,
        **({"label": _Field.LABEL_OPTIONAL} | more),
    )


def descriptor_set() -> Any:
    """What `protoc --include_imports` makes of the text."""
    file = FileDescriptorProto(name="clicks.proto", package="shop.events", syntax="proto3")
    file.dependency.extend(["google/protobuf/timestamp.proto", "google/protobuf/wrappers.proto"])
    kind = file.enum_type.add(name="Kind")
    kind.value.add(name="VIEW", number=0)
    kind.value.add(name="CART", number=1)
    unused = DescriptorProto(name="Unused")
    unused.nested_type.add(name="Inner").field.append(field("message", 1, _Field.TYPE_STRING))
    file.message_type.extend([unused, _click()])
    imported = FileDescriptorProto(), FileDescriptorProto()
    timestamp_pb2.DESCRIPTOR.CopyToProto(imported[0])
    wrappers_pb2.DESCRIPTOR.CopyToProto(imported[1])
    return DescriptorSet(file=[*imported, file])


def _click() -> Any:
    item_name = ".shop.events.Click.Item"
    item = DescriptorProto(name="Item", oneof_decl=[{"name": "price"}])
    item.field.extend(
        [
            field("id", 1, _Field.TYPE_STRING),
            field("raw", 2, _Field.TYPE_BYTES),
            field("cents", 3, _Field.TYPE_INT64, oneof_index=0),
            field("euros", 4, _Field.TYPE_DOUBLE, oneof_index=0),
        ]
    )
    entry = DescriptorProto(name="SeenEntry", options={"map_entry": True})
    entry.field.extend(
        [field("key", 1, _Field.TYPE_STRING), field("value", 2, _Field.TYPE_MESSAGE, item_name)]
    )
    click = DescriptorProto(name="Click", oneof_decl=[{"name": "_visits"}], nested_type=[item, entry])
    repeated = {"label": _Field.LABEL_REPEATED}
    click.field.extend(
        [
            field("user_id", 1, _Field.TYPE_INT64),
            field("item", 2, _Field.TYPE_MESSAGE, item_name),
            field("at", 3, _Field.TYPE_MESSAGE, ".google.protobuf.Timestamp"),
            field("campaign", 4, _Field.TYPE_MESSAGE, ".google.protobuf.StringValue"),
            field("kind", 5, _Field.TYPE_ENUM, ".shop.events.Kind"),
            field("tags", 6, _Field.TYPE_STRING, **repeated),
            field("seen", 7, _Field.TYPE_MESSAGE, ".shop.events.Click.SeenEntry", **repeated),
            field("visits", 8, _Field.TYPE_INT64, oneof_index=0, proto3_optional=True),
        ]
    )
    return click


def descriptors(folder: Path) -> Path:
    """The descriptor set as a file."""
    path = folder / "clicks.desc"
    path.write_bytes(descriptor_set().SerializeToString())
    return path


def message(name: str) -> Any:
    """The class of a message, as generated code has it."""
    pool = DescriptorPool()
    for one in descriptor_set().file:
        pool.AddSerializedFile(one.SerializeToString())
    return GetMessageClass(pool.FindMessageTypeByName(f"shop.events.{name}"))
