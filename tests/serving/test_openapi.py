"""The OpenAPI document, and random requests generated from it."""

import json

import schemathesis
from hypothesis import HealthCheck, given, settings

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


def test_responses_to_random_requests_conform_to_the_document(films):
    host = {"Host": "127.0.0.1"}
    schema = schemathesis.openapi.from_asgi("/openapi.json", films.app, headers=host)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 10
    for operation in operations:

        @given(operation.as_strategy())
        @settings(max_examples=40, suppress_health_check=[*HealthCheck])
        def promise(case):
            case.call_and_validate(checks=CHECKS, headers=host)

        promise()


def test_all_errors_are_problems(films):
    document = films.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                is_problem = "application/problem+json" in answer.get("content", {})
                assert is_problem == (status != "200"), (path, status)
    assert "HTTPValidationError" not in json.dumps(document)
    assert document["components"]["schemas"]["Problem"]["properties"]["errors"]["type"] == "array"
