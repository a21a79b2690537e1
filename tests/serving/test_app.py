"""Access by tokens, other origins and host names; limits of the time and of the number of requests."""

import asyncio

import pytest

from numpy_neural_mf.serving import guard

FOREIGN = {"Origin": "https://films.example"}


def test_with_a_token_every_request_needs_it(served, tmp_path):
    file = tmp_path / "token"
    file.write_text("täglich-1\n", encoding="utf-8")
    client = served("films", token_file=str(file))
    for headers in ({}, {"Authorization": "Bearer no"}, {"Authorization": "Basic dDp0"}):
        response = client.get("/v1/models", headers=headers)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.headers["content-type"] == "application/problem+json"
        assert client.get("/metrics", headers=headers).status_code == 401
    right = {"Authorization": "Bearer täglich-1".encode("latin-1")}
    assert client.get("/v1/models", headers=right).status_code in (200, 401)
    assert [client.get(path).status_code for path in ("/live", "/ready", "/")] == [200] * 3


def test_the_token_may_be_an_environment_variable(served, monkeypatch):
    monkeypatch.setenv("NUMPY_NEURAL_MF_TOKEN", "secret")
    client = served("films")
    assert client.get("/v1/models").status_code == 401
    assert client.get("/v1/models", headers={"Authorization": "Bearer secret"}).status_code == 200


def test_an_empty_token_is_refused(served, monkeypatch):
    monkeypatch.setenv("NUMPY_NEURAL_MF_TOKEN", "")
    with pytest.raises(ValueError, match="NUMPY_NEURAL_MF_TOKEN: expected a token, found nothing"):
        served("films")


def test_other_origins_are_allowed_only_if_they_are_named(served):
    assert "access-control-allow-origin" not in served("films").get("/v1/models", headers=FOREIGN).headers
    client = served("films", origins=("https://films.example",))
    allowed = client.get("/v1/models", headers=FOREIGN).headers["access-control-allow-origin"]
    assert allowed == "https://films.example"


def test_a_local_service_answers_only_under_local_names(served):
    foreign = {"Host": "films.example"}
    assert served("films").get("/v1/models", headers=foreign).status_code == 400
    assert served("films", host="0.0.0.0").get("/v1/models", headers=foreign).status_code == 200


def test_a_request_that_takes_too_long_ends(films, monkeypatch):
    monkeypatch.setattr(guard, "TIME_LIMIT", 0.0)

    async def slow(user):
        await asyncio.Event().wait()

    monkeypatch.setattr("numpy_neural_mf.serving.routes.run_in_threadpool", slow)
    response = films.get("/ready")
    assert (response.status_code, response.json()["title"]) == (408, "Request Timeout")


def test_more_concurrent_requests_than_a_worker_accepts_are_refused(films, monkeypatch):
    monkeypatch.setattr(guard, "MOST_AT_ONCE", 0)
    response = films.get("/live")
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert response.headers["content-type"] == "application/problem+json"
