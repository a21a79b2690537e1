"""A recommender of `implicit` behind FastAPI, as its users write it: baseline of benchmarks/speed/serving.py.

python -m benchmarks.plain_service N_USERS N_ITEMS FACTORS
"""

import sys
from typing import Any

import numpy as np
import scipy.sparse
import uvicorn
from fastapi import FastAPI
from implicit.als import AlternatingLeastSquares
from pydantic import BaseModel
from threadpoolctl import threadpool_limits


class Asked(BaseModel):
    user: int
    n: int = 10


def create_app(n_users: int, n_items: int, factors: int) -> FastAPI:
    rng = np.random.default_rng(0)
    model = AlternatingLeastSquares(factors=factors)
    model.user_factors, model.item_factors = (
        rng.standard_normal((n, factors), np.float32) for n in (n_users, n_items)
    )
    n = 12 * n_users
    pairs = np.repeat(np.arange(n_users), 12), rng.integers(n_items, size=n)
    seen = scipy.sparse.csr_matrix((np.ones(n, np.float32), pairs), shape=(n_users, n_items))
    app = FastAPI()

    @app.get("/ready")
    def ready() -> dict[str, str]:
        return {"status": "ready"}

    @app.post("/v1/recommend")
    def recommend(asked: Asked) -> dict[str, Any]:
        items, scores = model.recommend(asked.user - 1, seen[asked.user - 1], asked.n)
        return {"items": items.tolist(), "scores": scores.tolist()}

    return app


if __name__ == "__main__":
    threadpool_limits(1, "blas")
    app = create_app(*map(int, sys.argv[1:]))
    uvicorn.run(app, port=0, http="httptools", access_log=False)
