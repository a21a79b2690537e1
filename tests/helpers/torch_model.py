"""The specification of every engine: the same model as a plain PyTorch module, differentiated by autograd."""

import numpy as np
import torch
from cases import ORDINAL, as_tensors
from torch import nn

from numpy_neural_mf.training.objective import MOST

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

    The rows of a side are P_u + Y_t, with time bins. With the item j that the user rated before, p is p + y_j
    in the product, and w_j is added.
    """

    def __init__(self, architecture, parameters, objective):
        super().__init__()
        tables = {name.split(".")[0]: value for name, value in parameters.items() if "_" in name}
        self.architecture = architecture
        self.objective = objective
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
        return rows if bins is None else rows + getattr(self, f"{side}_time_{kind}")(bins)

    def variances(self, side, kind, ids):
        return as_tensors(self.objective.variance[f"{side}_{kind}.weight"])[0][ids]

    def vectors(self, users, items, bins):
        """p and q of each rating."""
        if not self.architecture.has_embeddings:
            return [torch.zeros(len(users), 0, dtype=torch.float64)] * 2
        return [self.rows(side, "embedding", ids, bins) for side, ids in (("user", users), ("item", items))]

    def vector_variances(self, users, items):
        if not self.architecture.has_embeddings:
            return [torch.zeros(len(users), 0, dtype=torch.float64)] * 2
        return [self.variances(side, "embedding", ids) for side, ids in (("user", users), ("item", items))]

    def forward(self, users, items, bins=None, previous=None, signs=0.0):
        """r̂; with signs of shape (n, 2 k) the MLP is given p ± √v_u and q ± √v_i."""
        return self.rate(users, items, bins, previous, signs, *self.vectors(users, items, bins))

    def of_previous(self, previous):
        """y, w and the variances of y."""
        if previous is None:
            return 0.0, 0.0, 0.0
        vectors, variances = as_tensors(self.objective.previous, self.objective.previous_variance)
        return vectors[previous, :-1], vectors[previous, -1], variances[previous]

    def rate(self, users, items, bins, previous, signs, p, q):
        """r̂ of given vectors."""
        architecture, y = self.architecture, self.intercept.expand(len(users))
        if architecture.biases:
            for side, ids in (("user", users), ("item", items)):
                y = y + self.rows(side, "bias", ids, bins)[:, 0]
        if architecture.product:
            added, w, _ = self.of_previous(previous)
            y = y + ((p + added) * q).sum(dim=1) + w
        if architecture.hidden_layer_sizes:
            v = torch.cat(self.vector_variances(users, items), dim=1)
            x = torch.cat([p, q], dim=1) + signs * v.sqrt()
            for layer in self.mlp[:-1]:
                x = ACTIVATIONS[architecture.activation](layer(x))
            y = y + self.mlp[-1](x)[:, 0]
        return y

    @property
    def curvature(self):
        return 1 / (2 * ORDINAL.deviation**2) if self.architecture.likelihood == "ordinal" else 1.0

    def variance(self, users, items, bins, previous):
        """Of p · q, without the variances' products."""
        if not self.architecture.product:
            return torch.zeros(len(users), dtype=torch.float64)
        (p, q), (v_p, v_q) = self.vectors(users, items, bins), self.vector_variances(users, items)
        added, _, v_added = self.of_previous(previous)
        return ((p + added) ** 2 * v_q + q**2 * (v_p + v_added)).sum(dim=1)

    def records(self, users, items, ratings, bins=None, previous=None, signs=0.0):
        """What a step adds to `squares` of users and, by table, to `data`: see `Objective`."""
        o, architecture = self.objective, self.architecture
        users, items, ratings = as_tensors(users, items, ratings)
        bins, previous = as_tensors(bins, previous)
        p, q = (x.detach().requires_grad_() for x in self.vectors(users, items, bins))
        prediction = self.rate(users, items, bins, previous, signs, p, q)
        J = torch.autograd.grad(prediction.sum(), [p, q], allow_unused=True, materialize_grads=True)
        weight, noise = as_tensors(o.weight, o.noise)
        curvature, variances = self.curvature * weight[users], self.vector_variances(users, items)
        of_rating, variance = {}, self.variance(users, items, bins, previous)
        variances[0] = variances[0] + self.of_previous(previous)[2]  # as q has it
        for place, side, ids in ((0, "user", users), (1, "item", items)):
            if architecture.has_embeddings:
                uncertain = variances[1 - place] if architecture.product else 0.0
                of_rating[f"{side}_embedding.weight"] = ids, J[place] ** 2 + uncertain
            if architecture.biases:
                of_rating[f"{side}_bias.weight"] = ids, torch.ones(len(ids), 1, dtype=torch.float64)
                variance = variance + self.variances(side, "bias", ids)[:, 0]
        h = (curvature * variance.detach() / noise).clamp(max=MOST)
        squares = (prediction.detach() - ratings) ** 2 / (1 - h)
        found = {"squares": torch.zeros(len(weight), dtype=torch.float64).index_add(0, users, squares)}
        for name, (ids, squared) in of_rating.items():
            nothing = torch.zeros(o.data[name].shape, dtype=torch.float64)
            found[name] = nothing.index_add(0, ids, curvature[:, None] * squared)
        return {name: value.numpy() for name, value in found.items()}

    def log_probabilities(self, prediction, ratings):
        """Of each rating, log(σ((θ_s - y) / τ) - σ((θ_{s-1} - y) / τ))."""
        gaps, infinity = self.cutpoints[1:].exp(), torch.tensor([torch.inf], dtype=torch.float64)
        theta = torch.cat(
            [-infinity, self.cutpoints[:1] + torch.cat([0 * gaps[:1], gaps.cumsum(0)]), infinity]
        )
        below = torch.sigmoid((theta - prediction[:, None]) / ORDINAL.tau)
        return torch.log(torch.diff(below)[ratings[:, None] == torch.tensor(ORDINAL.steps)])

    def losses(self, users, items, ratings, bins=None, previous=None, signs=0.0):
        """Mean over the batch of (r - r̂)², or of -log P, and of what a step minimises: see `Objective`."""
        given, prediction = self.objective, self(users, items, bins, previous, signs)
        (weight,) = as_tensors(given.weight)
        if self.architecture.likelihood == "ordinal":
            loss = expected = -self.log_probabilities(prediction, ratings).mean()
        else:
            squares = (ratings - prediction) ** 2
            loss, expected = squares.mean(), (weight[users] * squares).mean()
        variance = self.variance(users, items, bins, previous)
        expected = expected + self.curvature * (weight[users] * variance).mean()
        for name, table in self.named_parameters():
            if "_" in name:
                entity = name[: name.rindex("_")]
                ids = bins if "_time_" in name else {"user": users, "item": items}[entity]
                prior, precision, share = as_tensors(
                    given.prior[name], given.precision[name], given.share[entity]
                )
                distance = (table - prior)[ids] ** 2 @ precision
                expected = expected + (share[ids] * distance).mean()
        return loss, expected

    def gradients(self, *batch, **signs):
        """Loss of the ratings, and the gradient of what a step minimises by name."""
        self.zero_grad()
        loss, expected = self.losses(*as_tensors(*batch), **signs)
        expected.backward()
        return loss.item(), {name: p.grad.numpy() for name, p in self.named_parameters()}

    def values(self):
        return {name: p.detach().numpy() for name, p in self.named_parameters()}


class RowOptimizer:
    """Any dense optimiser of PyTorch, after which every row outside the batch is restored, with its state."""

    def __init__(self, model, make_optimizer):
        self.model = model
        self.optimizer = make_optimizer(model.parameters())

    def step(self, users, items, ratings=None, bins=None, previous=None):
        kept = {}
        for name, p in self.model.named_parameters():
            if "_" in name:
                inside = bins if "_time_" in name else users if name.startswith("user") else items
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
