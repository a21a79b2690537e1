"""The inference formula, for pairs and for users with all items, and the variance of its result."""

import numpy as np
import pytest
from cases import ARCHITECTURES, N_ITEMS, N_USERS, draw_parameters

from numpy_neural_mf.mf import forward
from numpy_neural_mf.mf.parameters import SIDES
from numpy_neural_mf.nn import ACTIVATIONS

USERS = np.array([3, 0, N_USERS, 3, 8, 1], np.int32)  # repeated, out of order, the unknown among them
ALL_USERS, ALL_ITEMS = (a.ravel().astype(np.int32) for a in np.indices((N_USERS + 1, N_ITEMS + 1)))


@pytest.fixture(params=[forward.TILE, 14, 4])
def tile(request, monkeypatch):
    """Tiles for all pairs, for two users at once and the rest, and for some items at once."""
    monkeypatch.setattr(forward, "TILE", request.param)


def with_variances(architecture, size=1.0):
    """Draw parameters in float64, with variances of about this size."""
    parameters, rng = draw_parameters(architecture), np.random.default_rng(3)
    for name in [name for name in parameters if name.startswith(SIDES)]:
        variance = size * rng.uniform(0.5, 1.5, parameters[name].shape)
        parameters[name.replace(".weight", ".variance")] = variance
    return parameters


def formula(architecture, t, p, q, b_u, b_i):
    """Return r̂ = μ + b_u + b_i + p · q + f([p, q]), given rows of shape (n, d)."""
    total = t["intercept"] + b_u + b_i
    if architecture.product:
        total = total + (p * q).sum(axis=1)
    h = np.concatenate([p, q], axis=1)
    for n in range(architecture.n_layers):
        h = h @ t[f"mlp.{n}.weight"].T + t.get(f"mlp.{n}.bias", 0)
        if n < architecture.n_layers - 1:
            h = ACTIVATIONS[architecture.activation](h)[0]
    return total + h[:, 0] if architecture.n_layers else total


def rows(t, side, kind, ids):
    name = f"{side}_{kind}.weight"
    found = t[name][ids] if name in t else np.zeros((len(ids), 1))
    return found[:, 0] if kind == "bias" else found


def by_formula(architecture, t, users, items):
    parts = [
        rows(t, s, k, i) for k in ("embedding", "bias") for s, i in zip(SIDES, (users, items), strict=True)
    ]
    return formula(architecture, t, *parts)


@pytest.mark.usefixtures("tile")
@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("items", [np.arange(N_ITEMS + 1), np.array([4, 1, N_ITEMS])], ids=["all", "some"])
def test_scores_follow_the_formula(name, items):
    parameters = draw_parameters(ARCHITECTURES[name], np.float32)
    form = forward.Factorization(ARCHITECTURES[name], parameters)
    scores = form.scorer(items.astype(np.int32))(USERS)
    assert scores.dtype == np.float32
    users, items = (part.ravel() for part in np.broadcast_arrays(USERS[:, None], items[None]))
    wide = {n: value.astype(np.float64) for n, value in parameters.items()}
    expected = by_formula(ARCHITECTURES[name], wide, users, items).reshape(scores.shape)
    np.testing.assert_allclose(scores, expected, rtol=2e-5, atol=2e-5)
    of_pairs = form.scores(users, items)
    assert of_pairs.dtype == np.float32
    np.testing.assert_allclose(of_pairs.reshape(scores.shape), expected, rtol=2e-5, atol=2e-5)


def test_no_users_or_no_items_give_no_scores():
    none = np.array([], np.int32)
    for architecture in ARCHITECTURES.values():
        form = forward.Factorization(architecture, draw_parameters(architecture, np.float32))
        assert form.scorer(none)(USERS).shape == (len(USERS), 0)
        assert form.scorer(USERS[:2] % 2)(none).shape == (0, 2)
        assert form.variance(none, none).shape == (0,)


@pytest.mark.usefixtures("tile")
@pytest.mark.parametrize("name", ["no MLP", "no MLP, no biases", "only biases"])
def test_without_an_mlp_the_variance_is_exact_except_for_the_product_of_variances(name):
    """E(r̂²) - E(r̂)² over all rows p ± √v_u, q ± √v_i, which have the first two moments of normal rows."""
    architecture = ARCHITECTURES[name]
    t = with_variances(architecture)
    expected = np.zeros(len(ALL_USERS))
    for kind in ("embedding", "bias"):
        if f"user_{kind}.weight" in t:
            p, q = t[f"user_{kind}.weight"][ALL_USERS], t[f"item_{kind}.weight"][ALL_ITEMS]
            v, w = t[f"user_{kind}.variance"][ALL_USERS], t[f"item_{kind}.variance"][ALL_ITEMS]
            if kind == "bias":
                expected += v[:, 0] + w[:, 0]
            else:  # the four products of each column
                sides = [(a, b) for a in (1, -1) for b in (1, -1)]
                products = [(p + a * np.sqrt(v)) * (q + b * np.sqrt(w)) for a, b in sides]
                expected += np.var(products, axis=0).sum(axis=1) - (v * w).sum(axis=1)
    variance = forward.Factorization(architecture, t).variance(ALL_USERS, ALL_ITEMS)
    np.testing.assert_allclose(variance, expected, rtol=1e-12)


@pytest.mark.usefixtures("tile")
@pytest.mark.parametrize("name", ["gelu", "tanh", "only the MLP", "no biases"])
def test_with_an_mlp_the_variance_equals_that_of_randomly_drawn_rows(name):
    """The rows are nearly certain, so f is linear around them."""
    architecture, rng, n = ARCHITECTURES[name], np.random.default_rng(0), 40_000
    t = with_variances(architecture, 1e-4)
    users, items = np.array([1, 5, N_USERS]), np.array([0, N_ITEMS, 3])
    found = forward.Factorization(architecture, t).variance(users, items)
    for place, pair in enumerate(zip(users, items, strict=True)):
        drawn = []
        for kind in ("embedding", "bias"):
            for side, row in zip(SIDES, pair, strict=True):
                mean = rows(t, side, kind, [row] * n)
                has_variance = f"{side}_{kind}.variance" in t
                variance = t[f"{side}_{kind}.variance"][row] if has_variance else np.zeros(1)
                drawn.append(mean + np.sqrt(variance) * rng.standard_normal(mean.shape))
        scores = formula(architecture, t, *drawn)
        assert found[place] == pytest.approx(scores.var(), rel=0.05)


def test_without_row_variances_the_variance_is_zero():
    form = forward.Factorization(ARCHITECTURES["B_MEDIUM"], draw_parameters(ARCHITECTURES["B_MEDIUM"]))
    assert not form.variance(ALL_USERS, ALL_ITEMS).any()
    assert form.means == form.parameters


@pytest.mark.parametrize("name", ["B_MEDIUM", "no MLP, no biases", "only biases", "only the MLP"])
def test_exchanging_users_and_items_keeps_the_variance(name):
    form = forward.Factorization(ARCHITECTURES[name], with_variances(ARCHITECTURES[name]))
    assert form.means.keys() == draw_parameters(ARCHITECTURES[name]).keys()
    ours, theirs = form.variance(ALL_USERS, ALL_ITEMS), form.mirrored().variance(ALL_ITEMS, ALL_USERS)
    np.testing.assert_allclose(theirs, ours, rtol=1e-12)


def test_rows_are_moved_with_their_variances():
    form = forward.Factorization(ARCHITECTURES["no MLP"], with_variances(ARCHITECTURES["no MLP"]))
    row = form.as_rows(np.arange(6.0), np.arange(6.0) / 2)
    ann = form.with_user({name: value[None] for name, value in row.items()})
    dune = form.with_items([{n: v[None] for n, v in forward.mirrored(row).items()}])
    q, w = form.parameters["item_embedding.weight"][2], form.parameters["item_embedding.variance"][2]
    p, v = np.arange(5.0), np.arange(5.0) / 2
    expected = (p**2 * w + q**2 * v).sum() + 2.5 + form.parameters["item_bias.variance"][2, 0]
    assert ann.variance(np.array([0]), np.array([2]))[0] == pytest.approx(expected)
    u = form.parameters["user_embedding.weight"][4], form.parameters["user_embedding.variance"][4]
    expected = (p**2 * u[1] + u[0] ** 2 * v).sum() + 2.5 + form.parameters["user_bias.variance"][4, 0]
    assert dune.variance(np.array([4]), np.array([N_ITEMS]))[0] == pytest.approx(expected)
    unknown = form.variance(np.array([4]), np.array([-1]))
    np.testing.assert_allclose(dune.variance(np.array([4]), np.array([-1])), unknown)


@pytest.mark.parametrize("name", ["no MLP", "no MLP, no biases", "only biases", "only the MLP"])
def test_the_variances_of_items_are_in_the_columns_of_the_row_of_a_user(name):
    form = forward.Factorization(ARCHITECTURES[name], with_variances(ARCHITECTURES[name]))
    items, weight = np.array([2, 2, 5]), np.array([1.0, 0.5, 2.0])
    found = form.item_variances(items, weight)
    k = ARCHITECTURES[name].embedding_dim
    assert found.shape == form.row(0).shape
    if ARCHITECTURES[name].product:
        expected = weight @ form.parameters["item_embedding.variance"][items]
        np.testing.assert_allclose(found[:k], expected)
        assert not found[k:].any()
    else:
        assert not found.any()
