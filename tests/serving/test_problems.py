"""Every error is a problem+json that names the field and what was expected, and changes nothing."""

import pytest

from numpy_neural_mf.serving.served_model import ServedModel

A_RATING = {"user": 1, "item": 3, "rating": 4}


def refused(response, status, detail, errors=True):
    assert response.headers["content-type"] == "application/problem+json"
    found = response.json()
    assert (response.status_code, found["status"], found["type"]) == (status, status, "about:blank")
    assert detail in found["detail"]
    assert bool(found.get("errors")) == errors


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"user": 1, "n": -1}, "n: expected greater than or equal to 1"),
        ({"user": 1, "n": 1_001}, "n: expected less than or equal to 1000"),
        ({"user": 1, "n": "5"}, "n: expected a valid integer"),
        ({"user": 1, "n": 2.5}, "n: expected a valid integer"),
        ({"user": True}, "user: expected a 64-bit integer or a text of 1 to 256 characters"),
        ({"user": 2**63}, "user: expected a 64-bit integer"),
        ({"user": ""}, "user: expected a 64-bit integer"),
        ({"user": "x" * 257}, "user: expected a 64-bit integer"),
        ({"user": "a\0"}, "user: expected a 64-bit integer"),
        ({"user": [1]}, "user: expected a 64-bit integer"),
        ({}, "expected either user or ratings"),
        ({"user": 1, "ratings": []}, "expected either user or ratings"),
        ({"user": 1, "by": "taste"}, "by: expected 'lower_bound', 'mean' or 'upper_bound'"),
        ({"user": 1, "diversity": 2}, "diversity: expected less than or equal to 1"),
        ({"user": 1, "min_ratings": -1}, "min_ratings: expected greater than or equal to 0"),
        ({"user": 1, "interval": 1}, "interval: expected less than 1"),
        ({"user": 1, "exclude": [1.5]}, "exclude[0]: expected a 64-bit integer"),
        ({"user": 1, "exclude": [7] * 10_001}, "exclude: List should have at most 10000 items"),
        ({"user": 1, "page": 2}, "page: Extra inputs are not permitted"),
        ({"ratings": [{"item": 3, "rating": 4}, {"item": 3}]}, "ratings[1].rating: expected a value"),
        ({"ratings": [{"item": 3, "rating": "4"}]}, "ratings[0].rating: expected a valid number"),
        ({"ratings": [{"item": 3, "rating": 9}]}, "ratings[0].rating: expected a rating from 1 to 5"),
        ([1], "expected a valid dictionary"),
    ],
)
def test_a_wrong_field_is_named(films, body, detail):
    refused(films.post("/v1/recommend", json=body), 422, detail)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_rating_that_is_not_a_number_is_refused(films, number):
    body = f'{{"ratings": [{{"item": 3, "rating": {number}}}]}}'
    response = films.post("/v1/recommend", content=body, headers={"content-type": "application/json"})
    refused(response, 422, "ratings[0].rating: expected")


@pytest.mark.parametrize("body", ["{", "", "[" * 100_000, '{"user": "\\ud800"}', b"\xff"])
def test_a_body_that_is_not_json_is_refused(films, body):
    response = films.post("/v1/recommend", content=body, headers={"content-type": "application/json"})
    assert response.status_code in (400, 422)
    refused(response, response.status_code, "", errors=response.status_code == 422)


def test_a_body_of_another_type_is_refused(films):
    response = films.post("/v1/recommend", content='{"user": 1}', headers={"content-type": "text/plain"})
    refused(response, 422, "expected")


def test_a_body_that_is_too_large_is_refused(films):
    refused(
        films.post("/v1/recommend", content=b" " * 10_000_000),
        413,
        "expected at most 1,048,576 bytes",
        errors=False,
    )
    million = {"user": 1, "candidates": [1] * 1_000_000}
    refused(films.post("/v1/recommend", json=million), 413, "expected at most 1,048,576 bytes", errors=False)


def test_many_errors_are_not_all_listed(films):
    body = {"pairs": [{"user": None, "item": None}] * 1_000}
    assert len(films.post("/v1/predict", json=body).json()["errors"]) == 20


@pytest.mark.parametrize(
    ("method", "path", "more", "detail"),
    [
        ("POST", "/v1/recommend", {"json": {"user": 77_777}}, "user: expected a user that the model or"),
        ("POST", "/v1/recommend", {"json": {"user": 1, "model": "no"}}, "model: expected one of films"),
        ("POST", "/v1/explain", {"json": {"user": 1, "item": 99_999}}, "item: expected an item that"),
        ("POST", "/v1/explain", {"json": {"user": 77_777, "item": 3}}, "user: expected a user that"),
        ("GET", "/v1/similar", {"params": {"item": 99_999}}, "item: expected an item that the model knows"),
    ],
)
def test_unknown_ids_and_models_are_not_found(films, method, path, more, detail):
    refused(films.request(method, path, **more), 404, detail)


def test_a_path_or_a_method_that_is_not_served_is_a_problem(films):
    refused(films.get("/v1/nothing"), 404, "Not Found", errors=False)
    refused(films.get("/v1/recommend"), 405, "Method Not Allowed", errors=False)


@pytest.mark.parametrize(
    ("wrong", "detail"),
    [
        ({"user": "ann"}, "[1].user: expected an integer, as the ids of the model are"),
        ({"item": "the film"}, "[1].item: expected an integer"),
        ({"rating": 7}, "[1].rating: expected a rating from 1 to 5"),
        ({"timestamp": -1}, "[1].timestamp: expected greater than or equal to 0"),
        ({"timestamp": "now"}, "[1].timestamp: expected a valid integer"),
    ],
)
def test_one_invalid_rating_prevents_storing_all(films, wrong, detail):
    refused(films.post("/v1/ratings", json=[A_RATING, A_RATING | wrong]), 422, detail)
    assert len(films.app.state.service.store) == 0


def test_a_list_without_ratings_or_with_too_many_is_refused(films):
    refused(films.post("/v1/ratings", json=[]), 422, "List should have at least 1 item")
    refused(films.post("/v1/ratings", json=[A_RATING] * 1_001), 422, "List should have at most 1000 items")


def test_titles_are_needed_to_search(served):
    refused(served("films").get("/v1/items", params={"search": "a"}), 422, "search: expected none")


def test_a_server_error_reveals_no_details(films, monkeypatch):
    def broken(*given):
        raise RuntimeError("a secret")

    monkeypatch.setattr(ServedModel, "predict", broken)
    response = films.post("/v1/predict", json={"pairs": [{"user": 1, "item": 3}]})
    refused(response, 500, "a server error, which the log of the server describes", errors=False)
    assert "secret" not in response.text
    assert "Traceback" not in response.text


def test_a_store_that_does_not_answer_is_unavailable(served):
    client = served("films")
    store = client.app.state.service.store
    with store._engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE ratings")
    refused(client.post("/v1/ratings", json=[A_RATING]), 503, "the ratings store", errors=False)
