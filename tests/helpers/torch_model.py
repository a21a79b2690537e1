"""The specification of every engine: the same model as a plain PyTorch module, differentiated by autograd."""

import numpy as np
import torch
from cases import ORDINAL, as_tensors
from torch import nn

ACTIVATIONS = {
    "identity": nn.Identity(),
    "relu": nn.ReLU(),
    "leaky_relu": nn.LeakyReLU(0.01),
    "sigmoid": nn.Sigmoid(),
    "tanh": nn.Tanh(),
    "gelu": nn.GELU(approximate="tanh"),
}


class TorchModel(nn.Module):
    """r̂ = μ + b_u + b_i + p · q + MLP([p, q]); the names of its state_dict are those of the package.

    The rows of a side are P_u + X_u E + Y_t: with features, whose X is a dense matrix, and with time bins.
    """

    def __init__(self, architecture, parameters, objective):
        super().__init__()
        tables = {name.split(".")[0]: value for name, value in parameters.items() if "_" in name}
        self.architecture = architecture
        self.objective = objective
        self.X = {
            side: torch.tensor(features.matrix.toarray(), dtype=torch.float64)
            for side, features in objective.side_features.items()
        }
        self.intercept = nn.Parameter(torch.zeros(1))
        if "cutpoints" in parameters:
            self.cutpoints = nn.Parameter(torch.zeros(len(parameters["cutpoints"])))
        for name, value in tables.items():
            setattr(self, name, nn.Embedding(*value.shape))
        sizes = [2 * architecture.embedding_dim, *architecture.hidden_layer_sizes, 1]
        n_layers = len(sizes) - 1 if architecture.hidden_layer_sizes else 0
        self.mlp = nn.ModuleList(
            nn.Linear(sizes[n], sizes[n + 1], bias=n < n_layers - 1) for n in range(n_layers)
        )
        self.double()
        self.load_state_dict({n: torch.tensor(v, dtype=torch.float64) for n, v in parameters.items()})

    def rows(self, side, kind, ids, bins):
        rows = getattr(self, f"{side}_{kind}")(ids)
        if side in self.X:
            rows = rows + self.X[side][ids] @ getattr(self, f"{side}_feature_{kind}").weight
        if bins is not None:
            rows = rows + getattr(self, f"{side}_time_{kind}")(bins)
        return rows

    def forward(self, users, items, bins=None):
        architecture, y = self.architecture, self.intercept
        if architecture.biases:
            y = (
                y
                + self.rows("user", "bias", users, bins)[:, 0]
                + self.rows("item", "bias", items, bins)[:, 0]
            )
        if architecture.has_embeddings:
            p, q = self.rows("user", "embedding", users, bins), self.rows("item", "embedding", items, bins)
        if architecture.product:
            y = y + (p * q).sum(dim=1)
        if architecture.hidden_layer_sizes:
            x = torch.cat([p, q], dim=1)
            for layer in self.mlp[:-1]:
                x = ACTIVATIONS[architecture.activation](layer(x))
            y = y + self.mlp[-1](x)[:, 0]
        return y

    def log_probabilities(self, users, items, ratings, bins):
        """Of each rating, log(σ((θ_s - y) / τ) - σ((θ_{s-1} - y) / τ))."""
        gaps, infinity = self.cutpoints[1:].exp(), torch.tensor([torch.inf], dtype=torch.float64)
        theta = torch.cat(
            [-infinity, self.cutpoints[:1] + torch.cat([0 * gaps[:1], gaps.cumsum(0)]), infinity]
        )
        steps = torch.tensor(ORDINAL.steps)
        below = torch.sigmoid((theta - self(users, items, bins)[:, None]) / ORDINAL.tau)
        return torch.log(torch.diff(below)[ratings[:, None] == steps])

    def losses(self, users, items, ratings, bins=None):
        """Mean over the batch of (r - r̂)², or of -log P, and of λ ‖row‖² for the rows of each rating.

        Where p_u = P_u + Σ_c x_c E_c + Y_t the penalty is λ_u ‖P_u‖² + Σ_c λ_c x_c² ‖E_c‖² + λ_t ‖Y_t‖².
        """
        if self.architecture.likelihood == "ordinal":
            loss = -self.log_probabilities(users, items, ratings, bins).mean()
        else:
            loss = ((ratings - self(users, items, bins)) ** 2).mean()
        penalty, given = torch.zeros(()), self.objective
        for side, ids, of_rows in (("user", users, given.user_penalty), ("item", items, given.item_penalty)):
            for name, table in self.named_parameters():
                if name.startswith(f"{side}_feature"):
                    weights = self.X[side][ids] ** 2 * torch.tensor(given.side_features[side].penalty)
                    squares = weights[:, :, None] * table[None] ** 2
                elif name.startswith(f"{side}_time"):
                    squares = torch.tensor(given.time_penalty[side])[bins, None] * table[bins] ** 2
                elif name.startswith(side):
                    squares = torch.tensor(of_rows)[ids, None] * table[ids] ** 2
                else:
                    continue
                penalty = penalty + squares.sum() / len(ids)
        return loss, penalty

    def gradients(self, *batch):
        """Loss without penalty, and the gradient of loss and penalty by name."""
        self.zero_grad()
        loss, penalty = self.losses(*as_tensors(*batch))
        (loss + penalty).backward()
        return loss.item(), {name: p.grad.numpy() for name, p in self.named_parameters()}

    def values(self):
        return {name: p.detach().numpy() for name, p in self.named_parameters()}


class RowOptimizer:
    """Any dense optimiser of PyTorch, after which every row outside the batch is restored, with its state."""

    def __init__(self, model, make_optimizer):
        self.model = model
        self.optimizer = make_optimizer(model.parameters())

    def step(self, users, items, ratings=None, bins=None):
        kept = {}
        for name, p in self.model.named_parameters():
            if "_" in name:
                side, ids = name[:4], users if name.startswith("user") else items
                inside = bins if "_time_" in name else ids
                if "_feature_" in name:
                    inside = np.flatnonzero(self.model.X[side][torch.as_tensor(ids).long()].any(dim=0))
                outside = np.setdiff1d(np.arange(len(p)), inside)
                arrays = {"value": p.data, **self.optimizer.state[p]}
                kept[name] = (outside, {key: a[outside].clone() for key, a in arrays.items() if is_table(a)})
        self.optimizer.step()
        for name, (outside, before) in kept.items():
            p = self.model.get_parameter(name)
            arrays = {"value": p.data, **self.optimizer.state[p]}
            for key, array in arrays.items():
                if is_table(array):
                    array[outside] = before.get(key, 0.0)


def is_table(array):
    return isinstance(array, torch.Tensor) and array.ndim == 2
