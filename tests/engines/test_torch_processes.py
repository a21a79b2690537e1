"""Many processes train the model of one, also where one of them is killed."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numpy_neural_mf import NeuralMF, load_model, simulate_ratings
from numpy_neural_mf.engines.torch_processes import OneProcess

# 855 to train on, so the last batch is of one rating: one of two processes has none.
SETTINGS = {
    "embedding_dim": 4, "hidden_layer_sizes": (8,), "dropout": 0.3, "epochs": 4, "batch_size": 122,
    "engine": "torch", "device": "cpu",
}  # fmt: skip

PROGRAM = f"""
    import os, signal
    from numpy_neural_mf import NeuralMF, simulate_ratings
    ratings = simulate_ratings(n_users=60, n_items=40, n_ratings=900, random_state=0)

    def on_progress(progress):
        is_first_attempt = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
        if os.environ["RANK"] == "1" and is_first_attempt and progress.n_trained > 2 * 855 + 300:
            os.kill(os.getpid(), signal.SIGKILL)

    model = NeuralMF(**{SETTINGS}).fit(ratings, on_progress=on_progress, checkpoint_dir="state")
    if os.environ["RANK"] == "0":
        model.save("model.safetensors")
"""


@given(n=st.integers(0, 10_000), size=st.integers(1, 20))
def test_parts_of_a_batch_are_as_equal_as_can_be_and_together_the_batch(n, size):
    batch, parts = np.arange(n), []
    for rank in range(size):
        process = OneProcess()
        process.rank, process.size = rank, size
        parts.append(batch[process.part(n)])
    np.testing.assert_array_equal(np.concatenate(parts), batch)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_two_processes_of_which_one_is_killed_train_the_model_of_one(tmp_path):
    """Torchrun starts both anew, and they go on from the checkpoint."""
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM), encoding="utf-8")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, "--max-restarts=1", "program.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "exitcode: -9" in done.stderr
    ratings = simulate_ratings(n_users=60, n_items=40, n_ratings=900, random_state=0)
    expected, together = NeuralMF(**SETTINGS).fit(ratings), load_model(tmp_path / "model.safetensors")
    for losses in ("train_loss", "validation_loss"):
        ours, theirs = (getattr(model.history_, losses) for model in (together, expected))
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    for name, value in expected.parameters_.items():
        np.testing.assert_allclose(together.parameters_[name], value, rtol=1e-3, atol=1e-5)
