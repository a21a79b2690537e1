"""Export of a factorisation for use without this package: an ONNX graph, or a `torch.export` program."""

import json
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..mf.architecture import Architecture
from ..mf.likelihood import Ordinal
from ..mf.parameters import Parameters
from ..utils.atomic_io import replacing
from ..utils.extras import naming_the_extra
from .base import Recommender
from .baselines import LinearRegression
from .bayesian_mf import BayesianMF
from .fitted import FittedModel
from .neural_mf import NeuralMF

# Names and attributes of operators, all of which are in version 20 of ONNX.
ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "identity": ("Identity", {}), "relu": ("Relu", {}), "leaky_relu": ("LeakyRelu", {"alpha": 0.01}),
    "sigmoid": ("Sigmoid", {}), "tanh": ("Tanh", {}), "gelu": ("Gelu", {"approximate": "tanh"}),
}  # fmt: skip
EXPORTED = (NeuralMF, BayesianMF, LinearRegression)
OPSET, IR_VERSION = 20, 9
MAX_BYTES = 2**31 - 1  # limit of a Protocol Buffers file


def to_onnx(model: Recommender, path: str | os.PathLike[str]) -> None:
    """Write `predict` of a fitted model, without timestamps, as an ONNX graph; needs the extra "onnx".

    Its inputs are "users" and "items", int64 of shape (n,): rows, that is positions among the ids, or -1 for
    an unknown user or item. Its output is "ratings", float32 of shape (n,), clipped to the scale. The
    metadata has "user_ids" and "item_ids", JSON lists in the order of the rows, and "rating_scale". `path` is
    replaced when the new file is complete. If onnx is not installed, a ModuleNotFoundError is raised; for a
    model other than NeuralMF, BayesianMF or LinearRegression, a TypeError; for a model that is not fitted, a
    RuntimeError; for a model above 2 GB, the limit of an ONNX file, a ValueError.
    """
    with naming_the_extra("the export", "onnx"):
        import onnx
    fitted = _fitted(model)
    form, parameters = fitted.factorization.architecture, _parameters(fitted)
    size = sum(value.nbytes for value in parameters.values())
    if size > MAX_BYTES:
        raise ValueError(f"an ONNX file holds at most {MAX_BYTES:,} bytes, and this model has {size:,}")
    helper, numbers = onnx.helper, onnx.TensorProto
    inputs = [helper.make_tensor_value_info(name, numbers.INT64, ["n"]) for name in ("users", "items")]
    outputs = [helper.make_tensor_value_info("ratings", numbers.FLOAT, ["n"])]
    lowest, highest = np.array(model.rating_scale_, np.float32)
    constants: dict[str, Any] = {"lowest": lowest, "highest": highest, "1": np.array([1])}
    if isinstance(likelihood := fitted.likelihood, Ordinal):
        theta, steps = likelihood.model.cutpoints(parameters["cutpoints"]), likelihood.categories
        constants |= {"theta": theta, "tau": np.float32(likelihood.model.tau)}
        constants |= {"widths": np.diff(steps), "top": steps[-1]}
    else:
        constants["unit"] = np.float32(likelihood.unit)
    tensor, tensors = onnx.numpy_helper.from_array, parameters | constants
    arrays = [tensor(np.asarray(value), name) for name, value in tensors.items()]
    nodes = list(_nodes(form, parameters, helper.make_node))
    graph = helper.make_graph(nodes, "predict", inputs, outputs, arrays)
    opset = [helper.make_opsetid("", OPSET)]
    proto = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name=__package__)
    ids = {"user_ids": model.user_ids_.tolist(), "item_ids": model.item_ids_.tolist()}
    properties = ids | {"rating_scale": [float(lowest), float(highest)]}
    helper.set_model_props(proto, {name: json.dumps(value) for name, value in properties.items()})
    with replacing(path) as temporary:
        temporary.write_bytes(proto.SerializeToString())


def _nodes(form: Architecture, parameters: Parameters, make_node: Any) -> Iterator[Any]:
    """Yield the operators of r̂ = μ + b_u + b_i + p · q + f([p, q])."""
    terms = ["intercept"]
    if form.biases:
        for side in ("user", "item"):
            yield make_node("Gather", [f"{side}_bias.weight", f"{side}s"], [f"{side}_column"])
            yield make_node("Squeeze", [f"{side}_column", "1"], [f"b_{side}"])
            terms.append(f"b_{side}")
    if form.has_embeddings:
        yield make_node("Gather", ["user_embedding.weight", "users"], ["p"])
        yield make_node("Gather", ["item_embedding.weight", "items"], ["q"])
    if form.product:
        yield make_node("Mul", ["p", "q"], ["pq"])
        yield make_node("ReduceSum", ["pq", "1"], ["p·q"], keepdims=0)
        terms.append("p·q")
    if form.n_layers:
        yield make_node("Concat", ["p", "q"], ["x0"], axis=1)
        for n in range(form.n_layers):
            weights = [name for name in (f"mlp.{n}.weight", f"mlp.{n}.bias") if name in parameters]
            yield make_node("Gemm", [f"x{n}", *weights], [f"y{n}"], transB=1)
            if n < form.n_layers - 1:
                operator, attributes = ACTIVATIONS[form.activation]
                yield make_node(operator, [f"y{n}"], [f"x{n + 1}"], **attributes)
        yield make_node("Squeeze", [f"y{form.n_layers - 1}", "1"], ["f"])
        terms.append("f")
    yield make_node("Sum", terms, ["score"])
    if form.likelihood == "ordinal":  # v_S - Σ_s (v_{s+1} - v_s) σ((θ_s - score) / τ)
        yield make_node("Unsqueeze", ["score", "1"], ["column"])
        yield make_node("Sub", ["theta", "column"], ["above"])
        yield make_node("Div", ["above", "tau"], ["logits"])
        yield make_node("Sigmoid", ["logits"], ["below"])
        yield make_node("Mul", ["below", "widths"], ["weighted"])
        yield make_node("ReduceSum", ["weighted", "1"], ["missing"], keepdims=0)
        yield make_node("Sub", ["top", "missing"], ["mean"])
    else:
        yield make_node("Mul", ["score", "unit"], ["mean"])
    yield make_node("Clip", ["mean", "lowest", "highest"], ["ratings"])


def to_torch(model: Recommender, path: str | os.PathLike[str]) -> None:
    """Write `predict` as a program that `torch.export.load` reads; needs the extra "torch".

    It takes int64 tensors of shape (n,), users and items as in `to_onnx`, and returns ratings, float32 of
    shape (n,), not clipped. Errors are as in `to_onnx`.
    """
    with naming_the_extra("the export", "torch"):
        import torch
    fitted = _fitted(model)
    from ..training.engines.torch_module import ExpectedRating, InUnits, NeuralMFModule, UnknownLast

    form, parameters = fitted.factorization.architecture, _parameters(fitted)
    tensors = {name: torch.from_numpy(value) for name, value in parameters.items()}
    n = torch.export.Dim("n")
    # Two tensors, as export would merge one tensor passed twice into one input.
    users, items = torch.zeros(2, dtype=torch.int64), torch.zeros(2, dtype=torch.int64)
    module: Any = NeuralMFModule(form, tensors)
    likelihood = fitted.likelihood
    if isinstance(likelihood, Ordinal):
        module = ExpectedRating(module, likelihood.model, likelihood.cutpoints)
    if likelihood.unit != 1:
        module = InUnits(module, likelihood.unit)
    module = UnknownLast(module, len(model.user_ids_), len(model.item_ids_))
    program = torch.export.export(module, (users, items), dynamic_shapes=((n,), (n,)))
    with replacing(path) as temporary:
        torch.export.save(program, temporary)


def _fitted(model: Recommender) -> FittedModel:
    if not isinstance(model, EXPORTED):
        expected = ", ".join(one.__name__ for one in EXPORTED)
        raise TypeError(f"expected one of {expected}, found a {type(model).__name__}")
    return model.fitted_.model


def _parameters(fitted: FittedModel) -> Parameters:
    means = fitted.factorization.means
    return {name: np.asarray(value, np.float32) for name, value in means.items()}
