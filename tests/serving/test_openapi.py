"""The OpenAPI document, and requests that are made from it at random."""

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, settings

CHECKS = [
    getattr(schemathesis.checks, name)
    for name in (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
        "negative_data_rejection",
    )
]


@pytest.fixture
def document(films):
    return schemathesis.openapi.from_asgi("/openapi.json", films.app)


schema = schemathesis.pytest.from_fixture("document")


@schema.parametrize()
@settings(max_examples=40, suppress_health_check=[*HealthCheck])
def test_random_requests_get_what_the_document_promises(case):
    case.call_and_validate(checks=CHECKS, headers={"Host": "127.0.0.1"})


def test_all_errors_are_problems(films):
    document = films.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                is_problem = "application/problem+json" in answer.get("content", {})
                assert is_problem == (status != "200"), (path, status)
    assert "HTTPValidationError" not in json.dumps(document)
    assert document["components"]["schemas"]["Problem"]["properties"]["errors"]["type"] == "array"
