"""Sixteen threads get the answers of a single thread."""

from concurrent.futures import ThreadPoolExecutor

import pytest


@pytest.mark.parametrize("name", ["films", "texts", "mean", "knn"])
def test_answers_of_many_threads_are_those_of_one(served, name, ratings):
    client = served(name)
    prefix = ("u ", "i ") if name == "texts" else None
    users, items = (
        [side + str(raw) if prefix else raw for raw in ids.tolist()]
        for side, ids in zip(prefix or ("", ""), (ratings.user_ids[:20], ratings.item_ids[:20]), strict=True)
    )
    requests = [("/v1/recommend", {"user": user, "n": 5}) for user in users]
    requests += [("/v1/explain", {"user": user, "item": items[0]}) for user in users[:5]]
    requests += [
        ("/v1/predict", {"pairs": [{"user": user, "item": item} for item in items]}) for user in users
    ]
    folded = [{"item": item, "rating": 4.0} for item in items[:5]]
    requests += [("/v1/recommend", {"ratings": folded[:n], "n": 5}) for n in range(1, 5)]
    serial = [client.post(path, json=body).json() for path, body in requests]
    assert all("model" in answer for answer in serial)
    with ThreadPoolExecutor(16) as pool:
        threaded = pool.map(lambda request: client.post(request[0], json=request[1]).json(), requests * 5)
        assert list(threaded) == serial * 5
