"""The encoder of a user's items in time order, by self-attention or a GRU, and the next-item loss."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ..data.columns import blocks
from ..mf.parameters import Parameters

# Positions whose logits over the whole catalogue are held at once: they stay in the processor's cache.
POSITIONS = 256
# Sequences encoded at once if only the last state is wanted.
SEQUENCES = 1_024


class SequenceEncoder(nn.Module):
    """Encoder that returns a state h after each item of a sequence, given that item and those before it.

    "attention" is a block of SASRec (Kang and McAuley, "Self-attentive sequential recommendation", ICDM 2018,
    section 3) with one head and with layer normalisation before each part (Xiong et al., 2020). Instead of
    embeddings of positions it has a learned bias for each distance between two items, added before the
    softmax (Raffel et al., 2020, section 2.1), so a state does not depend on where its sequence was cut.
    "gru" is the GRU of Cho et al. (2014), as in GRU4Rec (Hidasi et al., ICLR 2016).

    The logit of item i as the next one is h · e_i + c_i. The table `embedding` holds e, shape (n_items + 1,
    k), which is also the input (section 3.3 of SASRec), and `bias` holds c. The last row stands for the
    unknown item and pads sequences. Dropout is applied to the embeddings and within the attention block. With
    `sparse`, gradients of the tables have only the rows of a batch; `next_item_loss` does not support it.
    """

    def __init__(
        self,
        kind: str,
        n_items: int,
        k: int,
        sequence_length: int,
        dropout: float = 0.0,
        sparse: bool = False,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_items + 1, k, sparse=sparse)
        self.bias = nn.Embedding(n_items + 1, 1, sparse=sparse)
        if kind == "attention":
            form: Any = {"activation": "gelu", "batch_first": True, "norm_first": True}
            self.attention = nn.TransformerEncoderLayer(k, 1, k, dropout, **form)
            # Initially distant items weigh less, as in ALiBi (Press et al., 2022).
            self.distance = nn.Parameter(-0.1 * torch.arange(sequence_length))
        else:
            self.gru = nn.GRU(k, k, batch_first=True)
        self.norm = nn.LayerNorm(k)
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.embedding.weight, std=0.1)
        nn.init.zeros_(self.bias.weight)

    def forward(self, items: Tensor) -> Tensor:
        """Return the states, shape (n, length, k), of sequences of int64 items, shape (n, length).

        Sequences are padded at their end, on which no earlier state depends.
        """
        x = self.dropout(self.embedding(items))
        h = self.gru(x)[0] if hasattr(self, "gru") else self.attention(x, self._mask(items.shape[1]))
        states: Tensor = self.norm(h)
        return states

    def last_states(self, items: NDArray[np.int32]) -> Tensor:
        """Return the states after the last items, shape (n, k), without dropout; 0 for an empty sequence.

        The items, shape (n, length), are padded with -1 on the right.
        """
        self.eval()
        device, unknown = self.bias.weight.device, len(self.bias.weight) - 1
        last = (items >= 0).sum(axis=1) - 1
        states = torch.zeros(len(items), self.embedding.embedding_dim, device=device)
        with torch.no_grad():
            for some in blocks(len(items), SEQUENCES):
                rows = some.start + np.flatnonzero(last[some] >= 0)
                if len(rows):
                    found = np.where(items[rows] < 0, unknown, items[rows]).astype(np.int64)
                    of_rows = self(torch.from_numpy(found).to(device))
                    states[rows] = of_rows[np.arange(len(rows)), last[rows]]
        return states

    def next_item_loss(self, states: Tensor, items: Tensor) -> Tensor:
        """Sum -log softmax(logits)_item over n states, shape (n, k), and their next items, shape (n,)."""
        W, c = self.embedding.weight[:-1], self.bias.weight[:-1, 0]
        total: Tensor = CrossEntropy.apply(states, W, c, items)  # type: ignore[no-untyped-call]
        return total

    def sampled_loss(self, states: Tensor, items: Tensor, negatives: Tensor, counts: Tensor) -> Tensor:
        """Estimate `next_item_loss` with negatives, shape (m,), that all states share.

        The logit of a negative is lowered by the logarithm of its expected count in `counts`, shape (m,),
        which makes the estimate of the softmax's sum over the catalogue unbiased (Bengio and Senécal, "Quick
        training of probabilistic neural nets by importance sampling", 2003; Jean et al., 2015, section 3). An
        item is never its own negative.
        """
        of_items = (states * self.embedding(items)).sum(dim=1) + self.bias(items)[:, 0]
        others = states @ self.embedding(negatives).T + self.bias(negatives)[:, 0] - counts.log()
        others = others.masked_fill(negatives == items[:, None], -torch.inf)
        total: Tensor = (torch.cat([of_items[:, None], others], dim=1).logsumexp(dim=1) - of_items).sum()
        return total

    def _mask(self, length: int) -> Tensor:
        """Return the bias that is added before the softmax, shape (length, length): -inf for later items."""
        place = torch.arange(length, device=self.distance.device)
        distance = place[:, None] - place
        mask: Tensor = self.distance[distance.clamp(min=0)].masked_fill(distance < 0, -torch.inf)
        return mask


class CrossEntropy(torch.autograd.Function):
    """Σ -log softmax(h Wᵀ + c)_y and its derivative, computed in the same pass, in blocks of rows of logits.

    The logits of all positions at once would be by far the largest array of the training (Wijmans et al.,
    "Cut your losses in large-vocabulary language models", 2024).
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, W: Tensor, c: Tensor, y: Tensor) -> Tensor:
        dh, dW, dc = torch.empty_like(h), torch.zeros_like(W), torch.zeros_like(c)
        total = h.new_zeros(())
        for some in blocks(len(h), POSITIONS):
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


def states_of(parameters: Parameters, items: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return `SequenceEncoder.last_states` of an encoder with these parameters, by name."""
    kind = "attention" if "distance" in parameters else "gru"
    n_rows, k = parameters["embedding.weight"].shape
    with torch.device("meta"):
        encoder = SequenceEncoder(kind, n_rows - 1, k, len(parameters.get("distance", ())))
    state = {name: torch.from_numpy(value) for name, value in parameters.items()}
    encoder.load_state_dict(state, assign=True)
    with one_thread():
        return np.asarray(encoder.last_states(items).numpy(), np.float32)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch use one thread: an encoder takes many small products, which gain nothing from more."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)
