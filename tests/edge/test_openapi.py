"""`/openapi.json`: valid, and the same as what is routed."""

from __future__ import annotations

from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from starlette.testclient import TestClient

from edge.openapi import OPERATIONS, document
from index.request import Request


def test_the_document_is_valid() -> None:
    validate(document(), cls=OpenAPIV31SpecValidator)


def test_the_document_is_served(client: TestClient) -> None:
    assert client.get("/openapi.json").json() == document()


def test_every_documented_path_is_answered(client: TestClient) -> None:
    """With the very methods that are documented, plus HEAD and OPTIONS."""
    documented: dict[str, set[str]] = {}
    for operation in OPERATIONS:
        documented.setdefault(operation.path, set()).add(operation.method)

    for path, methods in documented.items():
        allowed = set(client.options(path).headers["allow"].split(", "))
        assert allowed - {"HEAD", "OPTIONS"} == methods
        for method in methods:
            assert client.request(method, path).status_code not in {404, 405, 500}


def test_nothing_undocumented_is_answered(client: TestClient) -> None:
    """What only the demonstration answers is not there either."""
    for path in ("/", "/storefront/setup.json", "/metrics", "/status.json", "/v1", "/docs"):
        assert client.get(path).status_code == 404


def test_the_documented_request_is_the_one_that_is_read() -> None:
    schema = document()["components"]["schemas"]["Request"]

    assert set(schema["properties"]) == set(Request.__struct_fields__)
    assert schema["additionalProperties"] is False
    assert schema["properties"]["k"]["maximum"] == 100
    assert schema["properties"]["repeat"]["anyOf"] == [
        {"enum": ["allow", "exclude"]},
        {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        {"type": "null"},
    ]
