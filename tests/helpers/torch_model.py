"""The specification of every engine: the same model in PyTorch's own words, derived by autograd."""

import numpy as np
import torch
from cases import ORDINAL
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

    Where a side has features, its rows are P + X E, with X as a dense matrix. Where it has periods, ids are
    moments, and E has a row for each period, too.
    """

    def __init__(self, architecture, parameters, bags=None):
        super().__init__()
        tables = {name.split(".")[0]: value for name, value in parameters.items() if "_" in name}
        self.architecture = architecture
        self.bags = {
            side: (torch.tensor(of_side.matrix.toarray(), dtype=torch.float64), torch.tensor(of_side.penalty))
            for side, of_side in (bags or {}).items()
        }
        self.n_periods = {side: of_side.n_periods for side, of_side in (bags or {}).items()}
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

    def own(self, side, ids):
        """Rows of P."""
        return ids // (self.n_periods.get(side) or 1)

    def weights(self, side, ids):
        """X, of features and of periods."""
        X, n = self.bags[side][0][self.own(side, ids)], self.n_periods[side]
        return torch.cat([X, torch.eye(n, dtype=X.dtype)[ids % n]], dim=1) if n else X

    def rows(self, side, kind, ids):
        rows = getattr(self, f"{side}_{kind}")(self.own(side, ids))
        if side in self.bags:
            rows = rows + self.weights(side, ids) @ getattr(self, f"{side}_feature_{kind}").weight
        return rows

    def forward(self, users, items):
        architecture, y = self.architecture, self.intercept
        if architecture.biases:
            y = y + self.rows("user", "bias", users)[:, 0] + self.rows("item", "bias", items)[:, 0]
        if architecture.has_embeddings:
            p, q = self.rows("user", "embedding", users), self.rows("item", "embedding", items)
        if architecture.product:
            y = y + (p * q).sum(dim=1)
        if architecture.hidden_layer_sizes:
            x = torch.cat([p, q], dim=1)
            for layer in self.mlp[:-1]:
                x = ACTIVATIONS[architecture.activation](layer(x))
            y = y + self.mlp[-1](x)[:, 0]
        return y

    def log_probabilities(self, users, items, ratings):
        """Of each rating, log(σ((θ_s - y) / τ) - σ((θ_{s-1} - y) / τ))."""
        gaps, infinity = self.cutpoints[1:].exp(), torch.tensor([torch.inf], dtype=torch.float64)
        theta = torch.cat(
            [-infinity, self.cutpoints[:1] + torch.cat([0 * gaps[:1], gaps.cumsum(0)]), infinity]
        )
        steps = torch.tensor(ORDINAL.steps)
        below = torch.sigmoid((theta - self(users, items)[:, None]) / ORDINAL.tau)
        return torch.log(torch.diff(below)[ratings[:, None] == steps])

    def losses(self, users, items, ratings, user_penalty, item_penalty):
        """Mean over the batch of (r - r̂)², and of λ_u (‖p_u‖² + b_u²) + λ_i (‖q_i‖² + b_i²).

        Of an ordinal likelihood the former is of -log P.

        Where p_u = P_u + Σ_c x_c E_c the penalty is λ_u ‖P_u‖² + Σ_c λ_c x_c² ‖E_c‖².
        """
        if self.architecture.likelihood == "ordinal":
            loss = -self.log_probabilities(users, items, ratings).mean()
        else:
            loss = ((ratings - self(users, items)) ** 2).mean()
        penalty = torch.zeros(())
        for side, ids, weight in (("user", users, user_penalty), ("item", items, item_penalty)):
            for name, table in self.named_parameters():
                if name.startswith(f"{side}_feature"):
                    weights = (self.weights(side, ids) ** 2 * self.bags[side][1])[:, :, None]
                    penalty = penalty + (weights * table[None] ** 2).sum() / len(ids)
                elif name.startswith(side):
                    rows = self.own(side, ids)
                    penalty = penalty + (weight[rows, None] * table[rows] ** 2).sum() / len(ids)
        return loss, penalty

    def gradients(self, *batch_and_penalty):
        """Loss without penalty, and the gradient of loss and penalty by name."""
        self.zero_grad()
        loss, penalty = self.losses(*batch_and_penalty)
        (loss + penalty).backward()
        return loss.item(), {name: p.grad.numpy() for name, p in self.named_parameters()}

    def values(self):
        return {name: p.detach().numpy() for name, p in self.named_parameters()}


class RowOptimizer:
    """Any dense optimiser of PyTorch, after which every row outside the batch is put back, with its state."""

    def __init__(self, model, make_optimizer):
        self.model = model
        self.optimizer = make_optimizer(model.parameters())

    def step(self, users, items):
        kept = {}
        for name, p in self.model.named_parameters():
            if "_" in name:
                ids = torch.as_tensor(users if name.startswith("user") else items).long()
                inside = self.model.own(name[:4], ids)
                if "_feature_" in name:
                    inside = np.flatnonzero(self.model.weights(name[:4], ids).any(dim=0))
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
