"""Stored ratings that a model has not learned, and the command that learns them."""

from typer.testing import CliRunner

from numpy_neural_mf import load_model
from numpy_neural_mf.cli.entry import app
from numpy_neural_mf.serving.store import Rating, RatingsStore, store_beside
from numpy_neural_mf.serving.unlearned import unlearned_ratings


def test_only_ratings_that_are_new_or_have_changed_are_unlearned(folder, tmp_path):
    for name, user in (("films", 1), ("texts", "u 1")):
        model, store = (
            load_model(folder / f"{name}.safetensors"),
            RatingsStore(f"sqlite:///{tmp_path / name}"),
        )
        assert unlearned_ratings(store, model) is None
        items, ratings = model.fitted_.interactions.of_row(model.user_ids_.tolist().index(user))
        known = model.item_ids_[items].tolist()
        changed = float(ratings[1] % 5 + 1)
        store.add([Rating(user, known[0], float(ratings[0]), 1), Rating(user, known[1], changed, 2)])
        new = 9_001 if name == "films" else "somebody"
        store.add([Rating(new, known[0], 4.0, 3)])
        found = unlearned_ratings(store, model)
        store.close()
        assert list(zip(found.raw_users, found.raw_items, found.values, found.timestamps, strict=True)) == [
            (user, known[1], changed, 2),
            (new, known[0], 4.0, 3),
        ]


def test_update_learns_the_ratings_of_the_store_next_to_the_model(ratings, tmp_path, folder):
    path = tmp_path / "films.safetensors"
    path.write_bytes((folder / "films.safetensors").read_bytes())
    store = RatingsStore(store_beside(path))
    store.add([Rating(9_001, int(ratings.item_ids[0]), 5.0, 1)])
    store.close()
    done = CliRunner().invoke(app, ["update", str(path)])
    assert "1 ratings learned, 1 new users, 0 new items" in done.stdout
    assert load_model(path).known(9_001, ratings.item_ids[0])
    assert "no new ratings" in CliRunner().invoke(app, ["update", str(path)]).stdout
