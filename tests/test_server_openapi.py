"""The OpenAPI document against the service itself: Schemathesis asks what the document allows, and what it does not."""

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from mien.server import ServerSettings, create_app
from mien.server.documents import operations
from services import FakeAnalyzers, ask, listening

CHECKS = [
    not_a_server_error,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    negative_data_rejection,
    unsupported_method,
]
"""All but `positive_data_acceptance`: no schema can say which bytes are a picture."""

TOKEN = "a-token-of-tests"
QUICK = settings(
    max_examples=20,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)

app = create_app(FakeAnalyzers(), ServerSettings())
refused = {"negative_data_rejection": {"expected-statuses": [400, 401, 403, 404, 405, 413, 415, 422]}}
schema = schemathesis.openapi.from_dict(app.openapi(), config=schemathesis.Config.from_dict({"checks": refused}))


@pytest.fixture(scope="module")
def address():
    with listening(FakeAnalyzers()) as (host, port):
        yield f"http://{host}:{port}"


@schema.parametrize()
@QUICK
def test_answers_are_what_the_document_says(case, address) -> None:
    case.call_and_validate(base_url=address, checks=CHECKS)


def test_the_document_says_which_models_there_are_and_no_more() -> None:
    document = app.openapi()
    parameters = document["paths"]["/v1/analyze"]["post"]["parameters"]
    by_name = {one["name"]: one["schema"] for one in parameters}
    assert by_name["model"]["enum"] == ["fake", "other"]
    assert "null" not in json.dumps(by_name)
    assert "HTTPValidationError" not in json.dumps(document)


def test_every_problem_in_the_document_is_a_problem_document() -> None:
    for path, method, operation in operations(app.openapi()):
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                content = answer["content"]
                assert content == {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}, (
                    path,
                    method,
                    status,
                )


def test_with_a_token_the_document_says_so() -> None:
    document = ask(
        lambda client: client.get("/openapi.json", headers={"authorization": f"Bearer {TOKEN}"}), token=TOKEN
    ).json()
    assert document["paths"]["/v1/analyze"]["post"]["security"] == [{"bearer": []}]
    assert "security" not in document["paths"]["/health/live"]["get"]
