"""The response of each route, compared with the model's own results."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import numpy as np
import pytest

from numpy_neural_mf import load_model

NEW = {3: 5.0, 8: 1.0, 12: 4.0}
SENT = [{"item": item, "rating": rating} for item, rating in NEW.items()]


@pytest.fixture
def model(folder):
    return load_model(folder / "films.safetensors")


def answer(response):
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()


def test_predict_answers_ratings_and_intervals(films, model):
    pairs = [{"user": 1, "item": 3}, {"user": 2, "item": 4}, {"user": 77_777, "item": 4}]
    found = answer(films.post("/v1/predict", json={"pairs": pairs, "interval": 0.8}))["predictions"]
    assert [(one["user"], one["item"]) for one in found] == [(1, 3), (2, 4), (77_777, 4)]
    assert [one["known"] for one in found] == [True, True, False]
    users, items = [1, 2, 77_777], [3, 4, 4]
    assert [one["rating"] for one in found] == pytest.approx(model.predict(users, items).tolist())
    low, high = model.predict_interval(users, items, coverage=0.8)
    assert [one["low"] for one in found] == pytest.approx(low.tolist())
    assert [one["high"] for one in found] == pytest.approx(high.tolist())


def test_recommend_lists_what_the_model_recommends_to_a_known_user(films, model):
    items, scores = model.recommend(1, 5, with_scores=True)
    found = answer(films.post("/v1/recommend", json={"user": 1, "n": 5}))
    assert found["model"] == "films"
    assert [one["item"] for one in found["items"]] == items.tolist()
    assert [one["score"] for one in found["items"]] == pytest.approx(scores.tolist(), abs=1e-6)
    assert found["items"][0]["title"] == f"Film {items[0]}, <b>Amélie</b>"
    assert "low" not in found["items"][0]


def test_recommend_takes_all_choices(films, model):
    asked = {"user": 1, "by": "mean", "min_ratings": 3, "exclude": [4, 5], "candidates": [*range(30)]}
    items = model.recommend(1, 10, by="mean", min_ratings=3, candidates=sorted({*range(30)} - {4, 5}))
    found = answer(films.post("/v1/recommend", json=asked | {"interval": 0.5}))["items"]
    assert [one["item"] for one in found] == items.compressed().tolist()
    low, high = model.predict_interval(1, items.compressed(), coverage=0.5)
    assert [one["low"] for one in found] == pytest.approx(low.tolist())
    assert [one["high"] for one in found] == pytest.approx(high.tolist())


def test_a_new_user_is_folded_in(films, model):
    ann = model.fold_in(NEW)
    found = answer(films.post("/v1/recommend", json={"ratings": SENT, "n": 5, "interval": 0.8}))["items"]
    assert [one["item"] for one in found] == model.recommend(ann, 5).tolist()
    low, _ = model.predict_interval(ann, [one["item"] for one in found], coverage=0.8)
    assert [one["low"] for one in found] == pytest.approx(low.tolist(), abs=1e-6)


def test_unknown_items_are_named_and_not_folded_in(films):
    def listed(ratings):
        found = answer(films.post("/v1/recommend", json={"ratings": ratings}))
        return found.pop("unknown"), found

    unknown = [{"item": 99_999, "rating": 2.0}]
    (none, known), (named, same) = listed(SENT), listed(SENT + unknown)
    assert (none, named) == ([], [99_999])
    assert known == same
    assert listed(unknown)[1] == listed([])[1]


def test_reasons_come_with_the_items_of_a_list(films, model):
    found = answer(films.post("/v1/recommend", json={"ratings": SENT, "n": 4, "reasons": 2}))["items"]
    ann = model.fold_in(NEW)
    for one in found:
        reasons = model.explain(ann, one["item"]).reasons[:2]
        assert [reason["item"] for reason in one["reasons"]] == [reason.item for reason in reasons]
        assert [reason["weight"] for reason in one["reasons"]] == pytest.approx(
            [reason.weight for reason in reasons], abs=1e-6
        )
        assert all(reason["title"].startswith("Film ") for reason in one["reasons"])
    nobody = answer(films.post("/v1/recommend", json={"ratings": [], "reasons": 2}))["items"]
    assert {tuple(one["reasons"]) for one in nobody} == {()}


@pytest.mark.parametrize("who", [{"user": 1}, {"ratings": SENT}])
def test_explain_answers_parts_that_add_up(films, model, who):
    user = who.get("user") or model.fold_in(NEW)
    expected = asdict(model.explain(user, 7))
    found = answer(films.post("/v1/explain", json={**who, "item": 7, "n": 2}))
    reasons = expected.pop("reasons")
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert [one["item"] for one in found["reasons"]] == [one["item"] for one in reasons[:2]]
    assert found["reasons"][0]["title"].startswith("Film")
    weights = sum(one["weight"] for one in found["reasons"]) + found["others"] + found["rest"]
    assert weights == pytest.approx(found["user_bias"] + found["interaction"], abs=1e-6)


def test_similar_answers_items_by_cosine(films, model):
    items, cosines = model.similar_items(3, 4)
    found = answer(films.get("/v1/similar", params={"item": 3, "n": 4}))["items"]
    assert [one["item"] for one in found] == items.tolist()
    assert [one["similarity"] for one in found] == pytest.approx(cosines.tolist())


def test_items_are_found_by_words_of_their_titles(films, ratings):
    page = answer(films.get("/v1/items", params={"search": "AMELIE film", "limit": 3, "offset": 2}))
    counts = np.bincount(ratings.compact().items)
    most = np.argsort(-counts, kind="stable")[2:5]
    assert page["total"] == len(counts)
    assert [one["n_ratings"] for one in page["items"]] == counts[most].tolist()
    assert answer(films.get("/v1/items", params={"search": "amelie film 7"}))["items"][0]["item"] == 7
    assert answer(films.get("/v1/items", params={"search": "nothing"})) == {
        "model": "films", "total": 0, "items": [],
    }  # fmt: skip
    assert answer(films.get("/v1/items"))["total"] == len(counts)


def test_starters_are_rated_often_and_differently(films, ratings):
    found = answer(films.get("/v1/starters", params={"n": 5}))["items"]
    of_item = {item: ratings.values[ratings.raw_items == item] for item in ratings.item_ids.tolist()}
    order = sorted(of_item, key=lambda item: -np.log(len(of_item[item])) * of_item[item].std())
    assert [one["item"] for one in found] == order[:5]


def test_models_are_described_and_named(served, ratings):
    client = served("films", "texts")
    facts = answer(client.get("/v1/models"))["models"]
    assert [one["name"] for one in facts] == ["films", "texts"]
    first = facts[0]
    assert (first["kind"], first["file"]) == ("NeuralMF", "films.safetensors")
    assert (first["n_users"], first["n_items"], first["n_ratings"]) == (80, 50, len(ratings))
    assert first["rating_scale"] == [1, 5]
    assert first["has_intervals"]
    assert not first["has_titles"]
    found = answer(client.post("/v1/recommend", json={"user": "u 1", "model": "texts", "n": 2}))
    assert found["model"] == "texts"
    assert found["items"][0]["item"].startswith("i ")
    similar = answer(client.get("/v1/similar", params={"item": "i 3", "model": "texts"}))
    assert similar["items"][0]["item"].startswith("i ")


@pytest.mark.parametrize("name", ["films", "texts", "mean", "knn"])
def test_every_model_answers_or_names_what_it_lacks(served, name):
    client = served(name)
    user, item = ("u 1", "i 3") if name == "texts" else (1, 3)
    asked = {"user": user, "item": item}
    answer(client.post("/v1/predict", json={"pairs": [asked]}))
    answer(client.post("/v1/recommend", json={"user": user}))
    answer(client.post("/v1/recommend", json={"ratings": [{"item": item, "rating": 4}]}))
    answer(client.post("/v1/explain", json=asked))
    answer(client.get("/v1/starters"))
    if name in ("mean", "knn"):
        refused = client.post("/v1/predict", json={"pairs": [asked], "interval": 0.8})
        assert refused.json()["detail"].startswith("model: expected a model with predict_interval, found")
    if name == "mean":
        refused = client.get("/v1/similar", params={"item": item})
        assert refused.json()["detail"] == "model: this model has no embeddings to compare items by"


def test_a_user_with_stored_ratings_is_folded_in_until_the_model_learns_them(films, model):
    assert films.post("/v1/recommend", json={"user": 9_001}).status_code == 404
    sent = [{"user": 9_001, **one} for one in SENT]
    assert answer(films.post("/v1/ratings", json=sent)) == {"stored": 3}
    found = answer(films.post("/v1/recommend", json={"user": 9_001, "n": 5}))["items"]
    assert [one["item"] for one in found] == model.recommend(model.fold_in(NEW), 5).tolist()


def test_sixteen_threads_get_the_answers_of_one(films, ratings):
    users = ratings.user_ids[:64].tolist()
    asked = [("/v1/recommend", {"user": user}) for user in users]
    asked += [("/v1/recommend", {"ratings": [{"item": user % 50, "rating": 4.0}], "n": 5}) for user in users]
    asked += [("/v1/explain", {"user": user, "item": 3}) for user in users]
    asked += [("/v1/predict", {"pairs": [{"user": user, "item": 3}], "interval": 0.9}) for user in users]

    def ask(one):
        return answer(films.post(one[0], json=one[1]))

    serial = [ask(one) for one in asked]
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, asked)) == serial


def test_probes_and_metrics(films):
    assert answer(films.get("/live")) == {"status": "live"}
    assert answer(films.get("/ready")) == {"status": "ready"}

    def value(line):
        lines = films.get("/metrics").text.splitlines()
        return sum(float(text.split()[-1]) for text in lines if text.startswith(f"numpy_neural_mf_{line}"))

    unknown = 'unknown_ids_total{kind="user"}'
    count = 'requests_total{method="POST",route="/v1/predict",status="200"}'
    seconds = 'request_seconds_count{route="/v1/predict"}'
    before = [value(line) for line in (unknown, count, seconds)]
    answer(films.post("/v1/predict", json={"pairs": [{"user": 77_777, "item": 3}]}))
    assert [value(line) for line in (unknown, count, seconds)] == [one + 1 for one in before]
    assert value('model_written_seconds{model="films"}') > 1.7e9


def test_the_page_is_at_the_root(films):
    page = films.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'self'" in page.headers["content-security-policy"]


def test_similar_items_can_be_restricted_to_well_known_ones(films, model):
    found = answer(films.get("/v1/similar", params={"item": 3, "n": 5, "min_ratings": 30}))["items"]
    assert [one["item"] for one in found] == model.similar_items(3, 5, 30)[0].tolist()


def test_models_report_which_ratings_and_ids_they_accept(served):
    films, texts = answer(served("films", "texts").get("/v1/models"))["models"]
    assert films["rating_steps"] == [1, 2, 3, 4, 5]
    assert (films["item_ids"], texts["item_ids"]) == ("integer", "text")
    assert films["has_diversity"]


def test_lists_are_diverse_where_the_model_knows_which_items_are_alike(served):
    films, mean = served("films"), served("mean")
    asked = {"user": 1, "n": 5, "diversity": 1.0}
    diverse = answer(films.post("/v1/recommend", json=asked))["items"]
    plain = answer(films.post("/v1/recommend", json=asked | {"diversity": 0}))["items"]
    assert diverse[0] == plain[0]
    assert diverse != plain
    assert not answer(mean.get("/v1/models"))["models"][0]["has_diversity"]
    refused = mean.post("/v1/recommend", json=asked)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "diversity")


def test_the_description_of_the_data_is_that_of_the_file(served, tmp_path):
    nothing = {"items": "items", "data": "", "licence": "", "citation": ""}
    assert answer(served("films").get("/v1/models"))["about"] == nothing
    path = tmp_path / "about.json"
    path.write_text('{"items": "films", "licence": "of nobody"}')
    given = nothing | {"items": "films", "licence": "of nobody"}
    assert answer(served("films", about=str(path)).get("/v1/models"))["about"] == given


@pytest.mark.parametrize("text", ['{"items": "books"}', '{"author": "x"}', "[", '{"data": 3}'])
def test_an_invalid_description_of_the_data_is_refused(served, tmp_path, text):
    path = tmp_path / "about.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"about.json: "):
        served("films", about=str(path))
