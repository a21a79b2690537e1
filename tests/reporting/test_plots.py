"""Figures of results: every model is named, files are written whole, SVG is text and deterministic."""

import re
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread
from parsed_page import Page
from scipy.sparse import csr_array, hstack

from numpy_neural_mf import Features, GlobalMean, NeuralMF, simulate_ratings
from numpy_neural_mf.evaluation import calibration
from numpy_neural_mf.evaluation.runs import Run, mean_rmse
from numpy_neural_mf.models.estimator import NotFittedError
from numpy_neural_mf.reporting.plots import (
    COLOURS,
    MARKERS,
    calibration_figure,
    comparison_figure,
    histogram_figure,
    inline_svg,
    loss_figure,
    rmse_figure,
    save_figure,
    variance_figure,
)
from numpy_neural_mf.training.loop import History


def a_run(data="films", model="neural", seed=0, rmse=0.85, noise_floor=None, n_epochs=6, given=(0, 0.1, 0.2)):
    """Return a run with a falling loss; with no epochs, the run of a model without history.

    `given` has the offsets of the training, expected and validation loss, None for an unknown loss.
    """
    losses = [0.7 + 0.3 / (epoch + 1) + 0.01 * seed for epoch in range(n_epochs)]
    three = ([] if above is None else [loss + above for loss in losses] for above in given)
    history = History(*three, [0.1] * n_epochs, n_epochs) if n_epochs else None
    return Run(data, model, seed, seed, 80, 20, rmse + 0.002 * seed, 0.7, noise_floor, 100, 1.0, history)


def usual_runs(data="films", n_seeds=2, **settings):
    rmses = {
        "global mean": 1.05,
        "linear regression": 0.87,
        "A_small": 0.86,
        "B_medium": 0.85,
        "C_wide": 0.855,
    }
    return [
        a_run(data, model, seed, rmse, n_epochs=6 if "_" in model else 0, **settings)
        for model, rmse in rmses.items()
        for seed in range(n_seeds)
    ]


def figure_of(runs):
    groups = {}
    for run in runs:
        groups.setdefault((run.data, run.model), []).append(run)
    return comparison_figure(groups)


def panels(figure):
    """Return the (left, right) axes of each row."""
    return list(zip(figure.axes[::2], figure.axes[1::2], strict=True))


def texts(part: Figure | Axes):
    return [text.get_text() for text in part.findobj(lambda artist: hasattr(artist, "get_text"))]


def legend_of(right):
    return {text.get_text(): line for text, line in zip(
        right.get_legend().get_texts(), right.get_legend().get_lines(), strict=True
    )}  # fmt: skip


def curves(right):
    return [line for line in right.lines if len(line.get_xdata()) and line.get_linestyle() != "--"]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_row_for_each_set_of_ratings_with_its_name(n):
    names = ["films", "books", "songs"][:n]
    figure = figure_of([run for name in names for run in usual_runs(name)])
    assert len(panels(figure)) == n
    assert [part.get_suptitle() for part in figure.subfigs] == names


def test_every_model_is_named_on_the_left():
    [(left, _)] = panels(figure_of(usual_runs()))
    names = ["global mean", "linear regression", "A_small", "B_medium", "C_wide"]
    assert [label.get_text() for label in left.get_yticklabels()] == names
    assert left.yaxis_inverted()  # the first on top


def test_the_mean_over_the_runs_is_written_next_to_its_row():
    [(left, _)] = panels(figure_of([a_run(seed=seed) for seed in range(3)]))
    [mean] = [text for text in left.texts if text.get_text() == "0.8520"]
    assert mean.xy[1] == 0


def test_no_line_runs_through_a_number():
    figure = figure_of(usual_runs(n_seeds=3, noise_floor=0.855))
    figure.draw_without_rendering()
    [(left, _)] = panels(figure)
    means = [text for text in left.texts if re.fullmatch(r"\d\.\d{4}", text.get_text())]
    assert len(means) == 5
    assert all(text.get_window_extent().x0 > left.bbox.x1 for text in means)


def test_models_that_learn_in_epochs_have_a_curve_each_for_training_unseen_and_validation_ratings():
    [(_, right)] = panels(figure_of(usual_runs()))
    names = ["training", "expected of unseen ratings", "validation"]
    legend = legend_of(right)
    assert list(legend) == ["A_small", "B_medium", "C_wide", *names]
    assert len(curves(right)) == 9
    for model in ("A_small", "B_medium", "C_wide"):
        found = {c.get_linestyle(): c for c in curves(right) if c.get_color() == legend[model].get_color()}
        for name, above in zip(names, (0, 0.1, 0.2), strict=True):
            curve = found[legend[name].get_linestyle()]
            assert curve.get_ydata() == pytest.approx(0.705 + 0.3 / np.arange(1, 7) + above)


def test_a_model_looks_the_same_left_and_right():
    [(left, right)] = panels(figure_of(usual_runs()))
    legend = legend_of(right)
    for position, name in enumerate(["A_small", "B_medium", "C_wide"], start=2):
        [dot] = [
            line
            for line in left.lines
            if list(line.get_ydata()) == [position] and line.get_marker() in MARKERS
        ]
        assert (dot.get_color(), dot.get_marker()) == (legend[name].get_color(), legend[name].get_marker())


def test_many_models_look_different():
    [(_, right)] = panels(figure_of([a_run(model=f"m{n}", rmse=0.85 + n / 1000) for n in range(12)]))
    looks = {
        (line.get_color(), line.get_marker()) for name, line in legend_of(right).items() if name[0] == "m"
    }
    assert len(looks) == 12


def test_colours_differ_for_the_colour_blind():
    """Simulate colour blindness by the matrices of Viénot, Brettel and Mollon, 1999, in linear RGB."""
    protan = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
    deutan = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])
    rgb = np.array([[int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)] for colour in COLOURS[:3]])
    for seen in (np.eye(3), protan, deutan):
        colours = np.clip(rgb**2.2 @ seen.T, 0, 1) ** (1 / 2.2)
        assert min(np.linalg.norm(a - b) for a, b in combinations(colours, 2)) > 0.25


def test_the_irreducible_error_is_a_line_if_known():
    (left, right), (left_unknown, right_unknown) = panels(
        figure_of([*usual_runs("known", noise_floor=0.81), *usual_runs("unknown")])
    )
    assert "irreducible error" in texts(left)
    assert "irreducible error" in legend_of(right)
    assert any(np.allclose(line.get_xdata(), 0.81) for line in left.lines if line.get_linestyle() == "--")
    assert any(np.allclose(line.get_ydata(), 0.81**2) for line in right.lines if line.get_linestyle() == "--")
    assert "irreducible error" not in texts(left_unknown)
    assert "irreducible error" not in legend_of(right_unknown)
    assert left.get_xlim()[0] < 0.81


def test_one_seed_has_no_spread_and_none_is_mentioned():
    figure = figure_of(usual_runs(n_seeds=1))
    assert not any("mean," in text for text in texts(figure))
    assert sum("mean," in text for text in texts(figure_of(usual_runs(n_seeds=2)))) == 2


def test_bars_are_the_confidence_intervals_of_the_mean():
    runs = [a_run(seed=seed) for seed in range(3)]
    [(left, _)] = panels(figure_of(runs))
    [bar] = left.collections[0].get_segments()
    error = mean_rmse(runs)
    np.testing.assert_allclose(bar[:, 0], [error.low, error.high])


def test_a_curve_goes_as_far_as_all_runs_of_its_model():
    runs = [a_run(seed=seed, n_epochs=n) for seed, n in enumerate((9, 4, 7))] + [
        a_run(model="other", n_epochs=8)
    ]
    [(_, right)] = panels(figure_of(runs))
    assert [line.get_xdata()[-1] for line in curves(right)] == 3 * [4] + 3 * [8]
    assert all(line.get_xdata()[0] == 1 for line in curves(right))


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ((0, 0.1, None), ["training", "expected of unseen ratings"]),
        ((0, None, 0.2), ["training", "validation"]),
        ((0, None, None), ["training"]),
    ],
)
def test_a_loss_that_is_not_known_has_no_curve(given, names):
    [(_, right)] = panels(figure_of([a_run(given=given), a_run(seed=1, given=given)]))
    assert len(curves(right)) == len(names)
    assert list(legend_of(right)) == ["neural", *names]


def test_a_single_epoch_is_visible():
    [(_, right)] = panels(figure_of([a_run(n_epochs=1)]))
    assert {line.get_marker() for line in curves(right)} <= set(MARKERS)


def test_models_without_epochs_leave_the_right_empty():
    [(left, right)] = panels(figure_of([a_run(model=m, n_epochs=0, noise_floor=0.8) for m in "ab"]))
    assert not right.axison
    assert not right.lines
    assert "irreducible error" in texts(left)


def test_a_model_far_behind_is_named_at_the_edge_and_does_not_squeeze_the_others():
    [(left, _)] = panels(figure_of([*usual_runs(n_seeds=1), a_run(model="bad", rmse=5.0)]))
    assert {"1.0500", "5.0000"} <= set(texts(left))
    assert [text.xy[1] for text in left.texts if text.get_text() == "→"] == [0, 5]
    assert left.get_xlim()[1] < 0.9
    assert "bad" in texts(left)


def crowded():
    long = "a name that is rather longer than what a model is usually called, number"
    models = [
        a_run(f"{long} " * 3, f"{long} {n}", seed, 0.8 + n / 1000, 0.79) for n in range(7) for seed in (0, 1)
    ]
    return [*models, *usual_runs("films", noise_floor=0.849), *usual_runs("one seed", n_seeds=1)]


def visible_texts(figure):
    for part in figure.subfigs:
        yield from part.texts
        yield part._suptitle
    for axes in figure.axes:
        yield from (axes.xaxis.label, axes.yaxis.label, *axes.texts)
        yield from axes.get_legend().get_texts() if axes.get_legend() else ()
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            yield from (tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high)


def test_no_text_overlaps_another_or_leaves_the_figure():
    figure = figure_of(crowded())
    figure.draw_without_rendering()
    whole = figure.bbox
    boxes = {text: text.get_window_extent() for text in set(visible_texts(figure)) if text.get_text()}
    for text, box in boxes.items():
        assert whole.x0 <= box.x0, text
        assert box.x1 <= whole.x1, text
        assert whole.y0 <= box.y0, text
        assert box.y1 <= whole.y1, text
    overlaps = [
        (a.get_text(), b.get_text())
        for (a, box), (b, other) in combinations(boxes.items(), 2)
        if box.x0 < other.x1 and other.x0 < box.x1 and box.y0 < other.y1 and other.y0 < box.y1
    ]
    assert overlaps == []


@pytest.mark.parametrize("name", ["$x", "$x^2$", "_hidden", "training", "a\\b", "100 % {so}"])
def test_any_name_is_shown_as_it_is(name):
    figure = figure_of([a_run(name, name)])
    figure.draw_without_rendering()
    assert texts(figure).count(name) >= 3


def test_a_figure_is_written_at_a_size_for_print(tmp_path):
    save_figure(figure_of(usual_runs()), tmp_path / "figure.png")
    height, width, _ = imread(tmp_path / "figure.png").shape
    assert width >= 2_000
    assert height >= 600


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_the_suffix_decides_the_format(tmp_path, suffix, start):
    save_figure(figure_of(usual_runs(n_seeds=1)), tmp_path / f"figure.{suffix}")
    assert (tmp_path / f"figure.{suffix}").read_bytes().startswith(start)


def test_a_figure_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")

    class Broken(Figure):
        def savefig(self, path, **settings):
            path.write_bytes(b"half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        save_figure(Broken(), path)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]


def test_figures_are_drawn_without_pyplot_so_that_none_stays_open():
    import matplotlib.pyplot as plt

    figure_of(usual_runs())
    assert plt.get_fignums() == []


# Figures of pages


def by_model(runs):
    return {run.model: [other for other in runs if other.model == run.model] for run in runs}


def test_bars_are_as_high_as_their_shares():
    [axes] = histogram_figure([(1, 1, 10), (2, 2, 30), (3, 3, 0)], "rating").axes
    assert [bar.get_height() for bar in axes.patches] == [25, 75, 0]
    assert {"25 %", "75 %", "0 %", "1", "2", "3", "rating"} <= set(texts(axes))


def test_bins_span_their_edges():
    [axes] = histogram_figure([(k / 10, (k + 1) / 10, k) for k in range(20)], "RMSE").axes
    np.testing.assert_allclose([bar.get_x() for bar in axes.patches], np.arange(20) / 10)


def test_many_values_have_few_tick_labels():
    figure = histogram_figure([(v, v, 1) for v in range(1, 21)], "rating")
    assert len(figure.axes[0].get_xticks()) <= 11


def test_calibration_has_a_point_for_each_rating_and_a_line_of_equality():
    [axes] = calibration_figure(calibration([2.0, 3.0, 4.5], [1.0, 3.0, 5.0])).axes
    equality, line = axes.lines
    np.testing.assert_array_equal(equality.get_xdata(), equality.get_ydata())
    np.testing.assert_array_equal(line.get_xydata(), [[1, 2], [3, 3], [5, 4.5]])


@pytest.mark.parametrize("draw", [rmse_figure, loss_figure])
def test_inline_svg_is_deterministic_accessible_text_in_the_theme_of_the_page(draw):
    models = by_model(usual_runs(noise_floor=0.81))
    svg = inline_svg(draw(models), "RMSE of A & <B>")
    assert svg == inline_svg(draw(models), "RMSE of A & <B>")
    page = Page(svg)
    assert page.values_of("aria-label") == ["RMSE of A & <B>"]
    assert page.values_of("role") == ["img"]
    assert "A_small" in page.text
    assert "irreducible error" in page.text
    assert {"metadata", "script", "image"}.isdisjoint(page.tags)
    assert "currentColor" in svg
    assert "#000000" not in svg


@pytest.mark.parametrize("name", ["<b>&", "$x$", "日本", 'it\'s "quoted"'])
def test_any_name_is_text_in_the_svg(name):
    assert Page(inline_svg(rmse_figure({name: [a_run(model=name)]}), name)).text.count(name) == 1


# Inferred variances


@pytest.fixture(scope="module")
def described():
    """Return a model of ratings for which genres and decades are informative and colours are not."""
    ratings = simulate_ratings(300, 150, 9_000, side_information=1.0)
    known = ratings.item_features
    colours = np.random.default_rng(0).choice(["red", "green", "blue"], len(known))
    drawn = Features.from_frame({"item": known.ids, "colour": colours})
    both = Features(
        known.ids,
        csr_array(hstack([known.matrix, drawn.matrix], format="csr")),
        known.columns + drawn.columns,
        known.fields + drawn.fields,
    )
    return ratings.with_features(items=both)


def bars(axes, colour):
    return [bar for bar in axes.patches if to_hex(bar.get_facecolor()).upper() == colour]


def test_rows_and_priors_of_each_factor_are_on_the_left_ordered_by_effect(described):
    model = NeuralMF(embedding_dim=5, hidden_layer_sizes=(), epochs=10).fit(described)
    [axes] = variance_figure(model).axes
    rows = {name: model.parameters_[name][:-1].std(axis=0) for name in model.prior_variances_}
    users, items = "user_embedding.weight", "item_embedding.weight"
    order = np.argsort(-rows[users] * rows[items])
    for side, colour in (("user", COLOURS[0]), ("item", COLOURS[1])):
        wanted = [*rows[f"{side}_embedding.weight"][order], *rows[f"{side}_bias.weight"]]
        assert [bar.get_height() for bar in bars(axes, colour)] == pytest.approx(wanted)
    lines = [line[0][1] for collection in axes.collections for line in collection.get_segments()]
    priors = [model.prior_variances_[users][order], model.prior_variances_["user_bias.weight"]]
    assert lines[:6] == pytest.approx(np.sqrt(np.concatenate(priors)))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["bias", "1", "2", "3", "4", "5"]
    assert {"users", "items", "prior"} <= set(texts(axes))


def test_fields_of_features_are_on_the_right_and_an_uninformative_one_has_a_tiny_bar(described):
    model = NeuralMF(embedding_dim=4, hidden_layer_sizes=(), features=True, implicit=True).fit(described)
    _, axes = variance_figure(model).axes
    fields = ["users: implicit set", "items: genres", "items: decade", "items: colour", "items: implicit set"]
    assert [label.get_text() for label in axes.get_yticklabels()] == fields
    of_items = [bar.get_width() for bar in bars(axes, COLOURS[1])]
    by_field = zip(of_items[::2], of_items[1::2], strict=True)
    genres, decade, colour, rated = by_field
    assert genres[0] == pytest.approx(model.field_variances_["item_embedding.weight"]["genres"].sum() ** 0.5)
    assert genres[0] > 0.3
    assert decade[1] > 0.15
    assert max(*colour, *rated) < 0.1


@pytest.mark.parametrize("settings", [{"biases": False}, {"product": False}, {"embedding_dim": 40}])
def test_a_model_that_lacks_a_part_has_a_figure(settings):
    ratings = simulate_ratings(30, 20, 300)
    model = NeuralMF(hidden_layer_sizes=(), epochs=1, **settings).fit(ratings)
    [axes] = variance_figure(model).axes
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert ("bias" in labels) == model.architecture.biases
    assert (len(labels) > 1) == model.architecture.product
    assert len(labels) <= 12


def test_a_model_without_variances_is_refused_with_a_message():
    with pytest.raises(TypeError, match=r"^expected a fitted NeuralMF, found a GlobalMean$"):
        variance_figure(GlobalMean())
    with pytest.raises(NotFittedError, match=r"^this NeuralMF is not fitted: call fit first$"):
        variance_figure(NeuralMF())


def test_importing_the_package_does_not_import_matplotlib():
    code = "import sys, numpy_neural_mf.cli; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
