"""The routes of the service."""

import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool

from . import schemas
from .metrics import STORED, exposition
from .problems import PROBLEMS, RequestError
from .schemas import MAX_LISTED, MAX_STORED
from .served_model import ServedModel
from .service import Service
from .store import Rating

Length = Annotated[int, Query(ge=1, le=MAX_LISTED)]
Offset = Annotated[int, Query(ge=0, lt=2**31)]
Text = Annotated[str, Query(max_length=256)]
QueryId = Annotated[str, Query(min_length=1, max_length=256)]
ModelName = Annotated[str | None, Query(max_length=256, description="By default the first model.")]
NewRatings = Annotated[list[schemas.StoredRating], schemas.Field(min_length=1, max_length=MAX_STORED)]

api = APIRouter(prefix="/v1", responses=PROBLEMS, tags=["v1"])
metrics = APIRouter(tags=["operation"])
probes = APIRouter(tags=["operation"])
brief: dict[str, Any] = {"response_model_exclude_none": True}


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Served = Annotated[Service, Depends(_service)]


# A worker computes one response at a time, in its event loop: most take less time than a thread would cost.


@api.post("/predict", response_model=schemas.Predictions, **brief)
async def predict(asked: schemas.PredictRequest, service: Served) -> Any:
    """Predict the ratings of pairs; with an unknown user or item, from what is known of the other."""
    return service.find(asked.model).predict(asked.pairs, asked.interval)


@api.post("/recommend", response_model=schemas.Recommendations, **brief)
async def recommend(asked: schemas.RecommendRequest, service: Served) -> Any:
    """Recommend a top-N list to a known user, or to a new user with a few ratings."""
    served = service.find(asked.model)
    return served.recommend(await _user(service, served, asked), asked)


@api.post("/explain", response_model=schemas.Explained, **brief)
async def explain(asked: schemas.ExplainRequest, service: Served) -> Any:
    """Split a prediction into its parts and the contributions of the user's ratings."""
    served = service.find(asked.model)
    return served.explain(await _user(service, served, asked), asked.item, asked.n)


@api.get("/similar", response_model=schemas.SimilarItems, **brief)
async def similar(
    item: QueryId, service: Served, n: Length = 10, min_ratings: Offset = 0, model: ModelName = None
) -> Any:
    """List the items that are most similar to a given item."""
    return service.find(model).similar(item, n, min_ratings)


@api.get("/items", response_model=schemas.Items, **brief)
async def items(
    service: Served, search: Text = "", limit: Length = 20, offset: Offset = 0, model: ModelName = None
) -> Any:
    """List items whose titles have all words of a text, one page at a time, the most rated items first."""
    return service.find(model).items(search, limit, offset)


@api.get("/starters", response_model=schemas.Items, **brief)
async def starters(service: Served, n: Length = 10, model: ModelName = None) -> Any:
    """List well-known items with differing ratings, for a new user to rate first."""
    return service.find(model).starters(n)


@api.post("/ratings", response_model=schemas.Stored)
async def ratings(given: NewRatings, service: Served) -> Any:
    """Store ratings durably: they are on disk before the response. A later rating of the same item wins."""
    served = service.find(None)
    served.check_ratings(given, "")
    kinds = {"user": served.model.user_ids_.dtype.kind, "item": served.model.item_ids_.dtype.kind}
    for at, one in enumerate(given):
        for name, kind in kinds.items():
            if kind == "i" and not isinstance(getattr(one, name), int):
                raise RequestError(422, f"[{at}].{name}", "expected an integer, as the ids of the model are")
    now = int(time.time())
    rows = [
        Rating(one.user, one.item, one.rating, now if one.timestamp is None else one.timestamp)
        for one in given
    ]
    await run_in_threadpool(service.store.add, rows)
    STORED.inc(len(rows))
    return {"stored": len(rows)}


@api.get("/models", response_model=schemas.Models)
async def models(service: Served) -> Any:
    """Describe each model: its class, when it was written and the size of its training data."""
    return {"models": [served.facts for served in service.models.values()], "about": service.about}


@probes.get("/live", response_model=schemas.Status)
async def live() -> Any:
    """Report that the process answers."""
    return {"status": "live"}


@probes.get("/ready", response_model=schemas.Status, responses={503: PROBLEMS[503]})
async def ready(service: Served) -> Any:
    """Report that the models are loaded and the ratings store answers."""
    await run_in_threadpool(service.store.check)
    return {"status": "ready"}


@metrics.get("/metrics", response_class=Response)
async def exposed() -> Response:
    """Return metrics for Prometheus."""
    return Response(exposition(), media_type=CONTENT_TYPE_LATEST)


async def _user(service: Service, served: ServedModel, asked: schemas.Somebody) -> Any:
    """Return the user of a request: known to the model, or folded in with the ratings sent or stored."""
    if asked.ratings is not None:
        served.check_ratings(asked.ratings)
        return served.fold_in({one.item: one.rating for one in asked.ratings})
    if served.rows("user", asked.user) >= 0:
        return asked.user
    if hasattr(served.model, "fold_in"):
        kept = await run_in_threadpool(service.store.of_user, str(asked.user))
        if kept:
            return served.fold_in(kept)
    raise RequestError(404, "user", "expected a user that the model or the ratings store knows")
