"""The description of `/v1` in OpenAPI 3.1, from which clients can be generated."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import Any, Final

from worker.core.asking import MAX_K, MAX_PLACEMENT
from worker.http.requests import OPENAPI, RECOMMENDATIONS, SIMILAR, USERS

_TEXT: Final = {"type": "string"}
_NUMBER: Final = {"type": "number"}
_INTEGER: Final = {"type": "integer"}
_NAMES: Final = {"type": "array", "items": _TEXT}

_PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "k": {
        "description": "Number of items. Default: recommend.top.",
        "schema": {"type": "integer", "minimum": 1, "maximum": MAX_K},
    },
    "only": {"description": "Tags, separated by commas: an item must have one of them.", "schema": _NAMES},
    "without": {"description": "Tags, separated by commas: an item may have none of them.", "schema": _NAMES},
    "exclude": {"description": "Ids of items to leave out, separated by commas.", "schema": _NAMES},
    "placement": {
        "description": "Name of the place where the list will be shown, such as cart.",
        "schema": {"type": "string", "maxLength": MAX_PLACEMENT},
    },
    "explain": {
        "description": "1: explain the list.",
        "schema": {"type": "integer", "enum": [0, 1], "default": 0},
    },
    "after": {
        "description": "Partition and offset of a click that the list must include, such as 3/1042.",
        "schema": {"type": "string", "pattern": "^[0-9]+/[0-9]+$"},
    },
}

_ERRORS: Final = {
    400: "A parameter is not valid.",
    401: "The token is missing or wrong.",
    403: "The worker has no token, and its address is not a loopback address.",
    404: "Not found.",
    409: "The state does not include the click of `after` yet.",
    503: "No answer in time: a partition recovers or moves, or the worker is busy.",
}


@cache
def document() -> dict[str, Any]:
    """Return the description as a JSON document."""
    similar = ["k", "only", "without", "exclude", "placement"]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Nextclick",
            "version": version("nextclick"),
            "description": "Recommendations from the current state of each user.",
        },
        "paths": {
            f"{RECOMMENDATIONS}/{{user_id}}": _get(
                "A user's list, from the user's current state",
                "user_id",
                [*similar, "explain", "after"],
                "List",
                (400, 401, 403, 409, 503),
            ),
            f"{SIMILAR}/{{item_id}}": _get(
                "Items that are similar to an item", "item_id", similar, "List", (400, 401, 403, 404, 503)
            ),
            f"{USERS}/{{user_id}}": _get(
                "The state of a user in this worker", "user_id", [], "Object", (401, 403, 404, 503)
            ),
            OPENAPI: {
                "get": {
                    "summary": "This document",
                    "security": [],
                    "responses": {"200": _response("The description of /v1.", "Object")},
                }
            },
        },
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _get(summary: str, name: str, names: list[str], schema: str, errors: tuple[int, ...]) -> dict[str, Any]:
    return {
        "get": {
            "summary": summary,
            "parameters": [
                {"name": name, "in": "path", "required": True, "schema": _TEXT},
                *(_parameter(name) for name in names),
            ],
            "responses": {"200": _response("The answer.", schema)}
            | {str(status): _response(_ERRORS[status], "Error") for status in errors},
        }
    }


def _parameter(name: str) -> dict[str, Any]:
    # Arrays in one parameter, separated by commas.
    style = {"style": "form", "explode": False} if _PARAMETERS[name]["schema"] is _NAMES else {}
    return {"name": name, "in": "query", "required": False, **style, **_PARAMETERS[name]}


def _response(description: str, schema: str) -> dict[str, Any]:
    content = {"schema": {"$ref": f"#/components/schemas/{schema}"}}
    return {"description": description, "content": {"application/json": content}}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties}


def _schemas() -> dict[str, Any]:
    seen = _object(["partition", "offset"], partition=_INTEGER, offset=_INTEGER)
    explained = _object(
        ["places", "left_out", "rules"],
        places={"type": "array", "items": {"type": "object", "additionalProperties": True}},
        left_out={"type": "array", "items": {"type": "object", "additionalProperties": True}},
        rules=_NAMES,
    )
    return {
        "List": _object(
            ["items", "scores", "reason", "release"],
            user_id=_TEXT,
            item_id=_TEXT,
            items=_NAMES,
            scores={
                "type": "array",
                "items": _NUMBER,
                "description": "Parallel to items; empty if reason is cold.",
            },
            reason={"type": "string", "enum": ["model", "cold", "similar"]},
            release=_INTEGER,
            placement=_TEXT,
            seen={
                "oneOf": [seen, {"type": "null"}],
                "description": "The last click in the user's state; null if there is no state.",
            },
            empty_because=_TEXT,
            explained=explained,
        ),
        "Object": {"type": "object"},
        "Error": _object(["error"], error=_TEXT, position=_INTEGER),
    }
