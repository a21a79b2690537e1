"""Model files, and clients of a service of them in this process."""

import pytest
from fastapi.testclient import TestClient

from numpy_neural_mf import GlobalMean, ItemKNN, NeuralMF, Ratings, simulate_ratings
from numpy_neural_mf.serving import ServerSettings, create_app


@pytest.fixture(scope="session")
def ratings():
    return simulate_ratings(n_users=80, n_items=50, n_ratings=1_500)


@pytest.fixture(scope="session")
def text_ratings(ratings):
    """Return the same ratings with text ids."""
    users, items = (
        [f"{side} {one}" for one in ids] for side, ids in (("u", ratings.raw_users), ("i", ratings.raw_items))
    )
    return Ratings.from_columns(users, items, ratings.values)


@pytest.fixture(scope="session")
def folder(tmp_path_factory, ratings, text_ratings):
    """Return a folder with films.safetensors, its titles movies.csv, and others.safetensors with text ids."""
    folder = tmp_path_factory.mktemp("served")
    NeuralMF(embedding_dim=4, hidden_layer_sizes=(4,), epochs=3).fit(ratings).save(
        folder / "films.safetensors"
    )
    linear = NeuralMF(embedding_dim=4, hidden_layer_sizes=(), epochs=3)
    linear.fit(text_ratings).save(folder / "texts.safetensors")
    GlobalMean().fit(ratings).save(folder / "mean.safetensors")
    ItemKNN().fit(ratings).save(folder / "knn.safetensors")
    lines = [f'{item},"Film {item}, <b>Amélie</b>",Drama' for item in ratings.item_ids]
    (folder / "movies.csv").write_text("\n".join(["movieId,title,genres", *lines]), encoding="utf-8")
    return folder


@pytest.fixture
def served(folder, tmp_path):
    """Return a function that makes a client of a new service of these models."""
    clients = []

    def served(*names, token=None, **settings):
        settings = {"store": f"sqlite:///{tmp_path / 'store.sqlite'}"} | settings
        paths = tuple(str(folder / f"{name}.safetensors") for name in names)
        app = create_app(ServerSettings(paths, **settings))
        client = TestClient(app, "http://127.0.0.1", raise_server_exceptions=False).__enter__()
        clients.append(client)
        return client

    yield served
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def films(served, folder):
    """Return a client of a service of films.safetensors with titles."""
    return served("films", titles=str(folder / "movies.csv"))
