"""Your own ratings and your own models in one comparison: a table, a figure and files.

A data set is a name and a data frame (polars or pandas) or a path; a model is a name and a function of the
seed.
"""

from numpy_neural_mf import Architecture, LinearRegression, NeuralMF, run_experiments, simulate_ratings

frame = simulate_ratings(n_users=500, n_items=200, n_ratings=15_000).to_polars()  # or polars.read_csv(...)
print(frame.head(3))

PRODUCT = Architecture(embedding_dim=8)  # biases and p · q: biased matrix factorisation
DEEP = Architecture(embedding_dim=8, hidden_layer_sizes=(32, 16), activation="gelu")

comparison = run_experiments(
    {"my ratings": frame},
    models={
        "linear": lambda seed: LinearRegression(),
        "product": lambda seed: NeuralMF(PRODUCT, epochs=8, random_state=seed),
        "deep": lambda seed: NeuralMF(DEEP, epochs=8, random_state=seed),
    },
    seeds=2,
    output_dir="results",
)

# All runs are available for your own statistics.
best = min(comparison.runs, key=lambda run: run.rmse)
print(f"lowest RMSE: {best.rmse:.4f}, {best.model} with seed {best.seed}, trained in {best.seconds:.2f} s")
