"""The encoder of a user's items in time order, by self-attention or a GRU, and the loss of the next item."""

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

# Positions whose logits over the whole catalogue are held at a time: they stay in the processor's cache.
POSITIONS = 256
# Sequences encoded at a time where only the last state is wanted.
SEQUENCES = 1_024


class SequenceEncoder(nn.Module):
    """A state h after each item of a sequence, which depends on that item and on those before it.

    "attention": a block of SASRec (Kang and McAuley, "Self-attentive sequential recommendation", ICDM 2018,
    section 3) with one head and with layer normalisation before each part (Xiong et al., 2020). Instead of
    embeddings of positions it has a learned bias for each distance between two items, added before the
    softmax (Raffel et al., 2020, section 2.1), so that a state does not depend on where its sequence was cut.
    "gru": that of Cho et al. (2014), as in GRU4Rec (Hidasi et al., ICLR 2016).

    The logit of item i as the next one is h · e_i + c_i, with the tables `embedding` e, of shape
    (n_items + 1, k), which is the input as well (section 3.3 of SASRec), and `bias` c. The last row stands
    for the unknown item and fills up sequences. Dropout is of the embeddings and within the attention block.
    With `sparse`, gradients of the tables have only the rows of a batch; not for `next_item_loss`.
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
            # Distant items weigh less at first, as in ALiBi (Press et al., 2022).
            self.distance = nn.Parameter(-0.1 * torch.arange(sequence_length))
        else:
            self.gru = nn.GRU(k, k, batch_first=True)
        self.norm = nn.LayerNorm(k)
        self.dropout = nn.Dropout(dropout)
        nn.init.normal_(self.embedding.weight, std=0.1)
        nn.init.zeros_(self.bias.weight)

    def forward(self, items: Tensor) -> Tensor:
        """States of sequences, int64 items of shape (n, length), to shape (n, length, k).

        Sequences are filled up at their end, which no earlier state depends on.
        """
        x = self.dropout(self.embedding(items))
        h = self.gru(x)[0] if hasattr(self, "gru") else self.attention(x, self._mask(items.shape[1]))
        states: Tensor = self.norm(h)
        return states

    def last_states(self, items: NDArray[np.int32]) -> Tensor:
        """States after the last item of each sequence, shape (n, k), without dropout; 0 for an empty one.

        The items, of shape (n, length), are filled up with -1 at the right.
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
        """Sum of -log softmax(logits)_item over n states, shape (n, k), and items, shape (n,)."""
        W, c = self.embedding.weight[:-1], self.bias.weight[:-1, 0]
        total: Tensor = CrossEntropy.apply(states, W, c, items)  # type: ignore[no-untyped-call]
        return total

    def sampled_loss(self, states: Tensor, items: Tensor, negatives: Tensor, counts: Tensor) -> Tensor:
        """The same with the sum over the catalogue estimated from negatives, (m,), that all states share.

        The logit of a negative is lowered by the logarithm of its expected count, of `counts`, (m,), which
        makes the estimate of the sum unbiased (Bengio and Senécal, "Quick training of probabilistic neural
        nets by importance sampling", 2003; Jean et al., 2015, section 3). An item is never its own negative.
        """
        of_items = (states * self.embedding(items)).sum(dim=1) + self.bias(items)[:, 0]
        others = states @ self.embedding(negatives).T + self.bias(negatives)[:, 0] - counts.log()
        others = others.masked_fill(negatives == items[:, None], -torch.inf)
        total: Tensor = (torch.cat([of_items[:, None], others], dim=1).logsumexp(dim=1) - of_items).sum()
        return total

    def _mask(self, length: int) -> Tensor:
        """What is added before the softmax, shape (length, length): -inf for later items."""
        place = torch.arange(length, device=self.distance.device)
        distance = place[:, None] - place
        mask: Tensor = self.distance[distance.clamp(min=0)].masked_fill(distance < 0, -torch.inf)
        return mask


class CrossEntropy(torch.autograd.Function):
    """Σ -log softmax(h Wᵀ + c)_y; its derivative is computed in the same pass, some rows of logits at a time.

    The logits of all positions at once would be the largest array of the training by far (Wijmans et al.,
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
    """States of an encoder with these parameters, by name, as `SequenceEncoder.last_states`."""
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
    """One thread for PyTorch: an encoder takes many small products, which gain nothing from more."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)
