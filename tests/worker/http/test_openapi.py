"""The description of /v1 says what the server does."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from tests.worker.http.asking import Server
from worker.http import parameters
from worker.http.openapi import document
from worker.http.requests import OF_WORKER, OPENAPI, RECOMMENDATIONS, SIMILAR, USERS


def _operation(path: str) -> dict[str, Any]:
    operation: dict[str, Any] = document()["paths"][path]["get"]
    return operation


@pytest.mark.parametrize(
    ("path", "label", "names"),
    [
        (f"{RECOMMENDATIONS}/{{user_id}}", RECOMMENDATIONS, parameters.LIST),
        (f"{SIMILAR}/{{item_id}}", SIMILAR, parameters.SIMILAR),
        (f"{USERS}/{{user_id}}", USERS, ()),
        (OPENAPI, OPENAPI, None),
    ],
)
def test_parameters_and_statuses_are_those_of_the_server(
    path: str, label: str, names: tuple[str, ...] | None
) -> None:
    """500 is a fault of ours, which nobody plans with; of lists, only other workers ever see a 404."""
    operation = _operation(path)
    hidden = {404, 500} if label == RECOMMENDATIONS else {500}

    assert {int(status) for status in operation["responses"]} == set(OF_WORKER[label]) - hidden
    if names is not None:
        query = [one["name"] for one in operation["parameters"] if one["in"] == "query"]
        assert sorted(query) == sorted(names)
    assert len(document()["paths"]) == 4


def test_it_is_served_to_everyone(server: Server) -> None:
    """It holds nothing that is secret; generators of clients need it."""
    status, kind, body = server.get(OPENAPI)

    assert (status, kind, json.loads(body)) == (200, "application/json", document())


def test_its_schemas_are_schemas_and_its_references_lead_somewhere() -> None:
    """As generators of clients take them."""
    schemas = document()["components"]["schemas"]
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for path in document()["paths"].values():
        for response in path["get"]["responses"].values():
            (content,) = response["content"].values()
            assert content["schema"]["$ref"].rpartition("/")[2] in schemas
