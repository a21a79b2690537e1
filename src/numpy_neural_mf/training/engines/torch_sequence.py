"""A user's last items in time order, encoded: by self-attention or a GRU, and the item that comes next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ...mf.architecture import Architecture, Parameters

# Positions whose logits over the whole catalogue are held at a time: they stay in the processor's cache.
POSITIONS = 256
# Sequences encoded at a time where only the last state is wanted.
SEQUENCES = 1_024


class SequenceEncoder(nn.Module):
    """States h after each item of a sequence, which know that item and those before it, and what they say.

    "attention": a block of SASRec (Kang and McAuley, "Self-attentive sequential recommendation", ICDM 2018,
    section 3) with one head, normalised before and not after each part (Xiong et al., 2020). In place of the
    embedding of a position a bias is learned for each distance between two items, added to what is under the
    softmax (Raffel et al., 2020, section 2.1), so that a state does not depend on where its sequence was cut.
    "gru": that of Cho et al. (2014), as in GRU4Rec (Hidasi et al., ICLR 2016).

    Parameters
    ----------
    architecture : Architecture
        Its `sequence`, `sequence_length`, `embedding_dim` k and `dropout`.
    n_items : int

    Attributes
    ----------
    embedding : nn.Embedding of shape (n_items + 1, k)
        Of items, as input and as what a state is compared with for the next item (section 3.3 of SASRec).
    bias : nn.Embedding of shape (n_items + 1, 1)
        c: the logit of item i as the next one is h · e_i + c_i.
    rating : nn.Linear
        R: what a state adds to the user factors, R h.
    """

    def __init__(self, architecture: Architecture, n_items: int) -> None:
        super().__init__()
        k = architecture.embedding_dim
        self.embedding = nn.Embedding(n_items + 1, k)
        self.bias = nn.Embedding(n_items + 1, 1)
        self.rating = nn.Linear(k, k, bias=False)
        if architecture.sequence == "attention":
            self.attention = nn.TransformerEncoderLayer(
                k, 1, k, architecture.dropout, "gelu", batch_first=True, norm_first=True
            )
            self.distance = nn.Parameter(torch.empty(architecture.sequence_length))
        else:
            self.gru = nn.GRU(k, k, batch_first=True)
        self.norm = nn.LayerNorm(k)
        self.dropout = nn.Dropout(architecture.dropout)

    def forward(self, items: Tensor) -> Tensor:
        """States of sequences, int64 items of shape (n, length), to shape (n, length, k).

        What fills up a sequence comes after its end, where no state before it sees it.
        """
        x = self.dropout(self.embedding(items))
        if hasattr(self, "gru"):
            states: Tensor = self.norm(self.gru(x)[0])
        else:
            states = self.norm(self.attention(x, self._mask(items.shape[1])))
        return states

    def next_item_loss(self, states: Tensor, items: Tensor) -> Tensor:
        """Sum of -log softmax(logits)_item over n states, shape (n, k), and items, shape (n,)."""
        total: Tensor = CrossEntropy.apply(  # type: ignore[no-untyped-call]
            states, self.embedding.weight[:-1], self.bias.weight[:-1, 0], items
        )
        return total

    def sampled_loss(self, states: Tensor, items: Tensor, negatives: Tensor, counts: Tensor) -> Tensor:
        """The same with the sum over the catalogue estimated from negatives that all states share.

        The logit of a negative is lowered by the logarithm of how often it is drawn, which makes the sum
        right in the mean (Bengio and Senécal, "Quick training of probabilistic neural nets by importance
        sampling", 2003; Jean et al., 2015, section 3). The item itself is never its own negative.

        Parameters
        ----------
        states : tensor of shape (n, k)
        items : int64 tensor of shape (n,)
        negatives : int64 tensor of shape (m,)
        counts : tensor of shape (m,)
            How often each negative is drawn in the mean.
        """
        of_items = (states * self.embedding(items)).sum(dim=1) + self.bias(items)[:, 0]
        others = states @ self.embedding(negatives).T + self.bias(negatives)[:, 0] - counts.log()
        others = others.masked_fill(negatives == items[:, None], -torch.inf)
        total: Tensor = (torch.cat([of_items[:, None], others], dim=1).logsumexp(dim=1) - of_items).sum()
        return total

    def _mask(self, length: int) -> Tensor:
        """What is added under the softmax, shape (length, length): -inf for later items."""
        place = torch.arange(length, device=self.distance.device)
        distance = place[:, None] - place
        mask: Tensor = self.distance[distance.clamp(min=0)].masked_fill(distance < 0, -torch.inf)
        return mask


def states_of(
    architecture: Architecture, parameters: Parameters, items: NDArray[np.int32]
) -> NDArray[np.floating[Any]]:
    """States after the last item of each sequence, shape (n, k); zero where there is none.

    Parameters
    ----------
    architecture : Architecture
    parameters : dict of str to array
        Among them those of the sequence.
    items : int32 array of shape (n, length)
        Filled up with -1 at the right.
    """
    embedding = parameters["sequence.embedding.weight"]
    n_items, k = embedding.shape
    with torch.device("meta"):
        encoder = SequenceEncoder(architecture, n_items - 1).eval()
    hold(
        encoder,
        {
            name.removeprefix("sequence."): torch.from_numpy(value)
            for name, value in parameters.items()
            if name.startswith("sequence.")
        },
    )
    states = np.zeros((len(items), k), embedding.dtype)
    last = (items >= 0).sum(axis=1) - 1
    with torch.no_grad(), one_thread():
        for first in range(0, len(items), SEQUENCES):
            block = slice(first, first + SEQUENCES)
            found = torch.from_numpy(np.where(items[block] < 0, n_items - 1, items[block]).astype(np.int64))
            of_block = encoder(found).numpy()
            states[block] = of_block[np.arange(len(of_block)), last[block]]
    states[last < 0] = 0
    return states


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch compute on one thread: a sequence is many small products, at each of which others wait."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def hold(module: nn.Module, parameters: Mapping[str, Tensor]) -> None:
    """Let a module that was made without memory hold these tensors, by name, as its parameters."""
    for name, value in parameters.items():
        of_module, _, last = name.rpartition(".")
        setattr(module.get_submodule(of_module), last, nn.Parameter(value))


class CrossEntropy(torch.autograd.Function):
    """Σ -log softmax(h Wᵀ + c)_y with derivatives taken on the way, a few rows of logits at a time.

    The logits of all positions at once would be the largest array of the training by far (Wijmans et al.,
    "Cut your losses in large-vocabulary language models", 2024).
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, W: Tensor, c: Tensor, y: Tensor) -> Tensor:
        dh, dW, dc = torch.empty_like(h), torch.zeros_like(W), torch.zeros_like(c)
        total = h.new_zeros(())
        for first in range(0, len(h), POSITIONS):
            some = slice(first, first + POSITIONS)
            logits = torch.addmm(c, h[some], W.T)
            total += functional.cross_entropy(logits, y[some], reduction="sum")
            slope = logits.softmax(dim=1)
            slope[torch.arange(len(slope), device=h.device), y[some]] -= 1
            dh[some] = slope @ W
            dW.addmm_(slope.T, h[some])
            dc += slope.sum(dim=0)
        ctx.save_for_backward(dh, dW, dc)
        return total

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        dh, dW, dc = ctx.saved_tensors
        return slopes[0] * dh, slopes[0] * dW, slopes[0] * dc, None
