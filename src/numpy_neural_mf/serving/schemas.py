"""Schemas of requests and responses, checked by pydantic and described in the OpenAPI document."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from ..data.limits import MAX_ID, MAX_RATING
from ..models.recommend import BOUNDS

MAX_PAIRS = 1_000  # in a request to predict
MAX_IDS = 10_000  # in a list of a request
MAX_LISTED = 1_000  # items in a response
MAX_STORED = 1_000  # ratings in a request to store

TEXT = rf"[^\0\ud800-\udfff]{{1,{MAX_ID}}}"  # no NUL, which databases refuse, and no lone surrogates


def _checked_id(value: Any) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        return value
    if isinstance(value, str) and re.fullmatch(TEXT, value, re.DOTALL):
        return value
    raise PydanticCustomError("id", f"expected a 64-bit integer or a text of 1 to {MAX_ID} characters")


OF_ID = {"anyOf": [{"type": "integer"}, {"type": "string", "minLength": 1, "maxLength": MAX_ID}]}
Id = Annotated[Any, PlainValidator(_checked_id), WithJsonSchema(OF_ID)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-MAX_RATING, le=MAX_RATING)]
Length = Annotated[int, Field(strict=True, ge=1, le=MAX_LISTED)]
Ids = Annotated[list[Id], Field(max_length=MAX_IDS)]
Coverage = Annotated[float, Field(strict=True, gt=0, lt=1, description="Coverage of intervals, such as 0.8.")]
ModelName = Annotated[str, Field(strict=True, max_length=256, description="By default the first model.")]


class Asked(BaseModel):
    """A request; an unknown field is an error."""

    model_config = ConfigDict(extra="forbid")


class ItemRating(Asked):
    item: Id
    rating: Number


class Somebody(Asked):
    """A user, given by id or by ratings."""

    user: Id | None = Field(None, description="A user that the model or the ratings store knows.")
    ratings: Annotated[list[ItemRating], Field(max_length=MAX_IDS)] | None = Field(
        None, description="Ratings of a new user, instead of `user`."
    )
    model: ModelName | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.user is None) == (self.ratings is None):
            raise PydanticCustomError("somebody", "expected either user or ratings")
        return self


class Pair(Asked):
    user: Id
    item: Id


class PredictRequest(Asked):
    pairs: Annotated[list[Pair], Field(min_length=1, max_length=MAX_PAIRS)]
    interval: Coverage | None = None
    model: ModelName | None = None


class RecommendRequest(Somebody):
    n: Length = 10
    by: Literal[tuple(BOUNDS)] | None = Field(None, description="Ranking bound.")  # type: ignore[valid-type]
    diversity: Annotated[float, Field(strict=True, ge=0, le=1)] = 0
    min_ratings: Annotated[int, Field(strict=True, ge=0, lt=2**31)] = 0
    exclude: Ids = Field([], description="Items to leave out, in addition to those that the user rated.")
    candidates: Ids | None = Field(None, description="Items to choose from; by default all.")
    interval: Coverage | None = None
    reasons: Annotated[int, Field(strict=True, ge=0, le=10)] = Field(
        0, description="Number of the user's ratings, largest weights first, that explain each item."
    )


class ExplainRequest(Somebody):
    item: Id
    n: Annotated[Length, Field(description="Number of reasons.")] = 10


class StoredRating(ItemRating):
    user: Id
    timestamp: Annotated[int, Field(strict=True, ge=0, lt=2**53)] | None = Field(
        None, description="Seconds since 1970; by default now."
    )


class ItemFacts(BaseModel):
    item: int | str
    title: str | None = None


class Prediction(BaseModel):
    user: int | str
    item: int | str
    rating: float
    low: float | None = None
    high: float | None = None
    known: bool = Field(description="Whether the model knows the user and the item.")


class Predictions(BaseModel):
    model: str
    predictions: list[Prediction]


class WeighedRating(ItemFacts):
    rating: float
    weight: float = Field(description="The contribution of this rating to the prediction.")


class Recommendation(ItemFacts):
    score: float = Field(description="The predicted rating; the logit if the model predicts the next item.")
    low: float | None = None
    high: float | None = None
    reasons: list[WeighedRating] | None = None


class Recommendations(BaseModel):
    model: str
    items: list[Recommendation]
    unknown: list[int | str] | None = Field(None, description="Rated items that the model does not know.")


class SimilarItem(ItemFacts):
    similarity: float


class SimilarItems(BaseModel):
    model: str
    items: list[SimilarItem]


class Explained(BaseModel):
    """A prediction and its parts, which add up to it: see `Explanation`."""

    model: str
    prediction: float
    mean: float
    user_bias: float
    item_bias: float
    interaction: float
    clipped: float
    reasons: list[WeighedRating] = Field(description="The ratings with the largest weights.")
    others: float = Field(description="The total weight of all other ratings.")
    rest: float


class CountedItem(ItemFacts):
    n_ratings: int


class Items(BaseModel):
    model: str
    total: int = Field(description="Number of items found; the response has a page of them.")
    items: list[CountedItem]


class Stored(BaseModel):
    stored: int = Field(description="Number of ratings stored.")


class ModelFacts(BaseModel):
    name: str
    kind: str
    file: str
    written: str = Field(description="When the file was written, as ISO 8601.")
    n_users: int
    n_items: int
    n_ratings: int
    n_parameters: int
    rating_scale: tuple[float, float] | None
    rating_steps: list[float] = Field(description="The distinct training ratings; none if more than 20.")
    item_ids: Literal["integer", "text"]
    has_titles: bool
    has_intervals: bool
    has_diversity: bool = Field(description="Whether lists accept `diversity`.")


class About(Asked):
    """The description of the data that the page shows."""

    items: Literal["films", "items"] = "items"
    data: str = ""
    licence: str = ""
    citation: str = ""


class Models(BaseModel):
    models: list[ModelFacts] = Field(description="The first is the default.")
    about: About


class Status(BaseModel):
    status: str


class FieldError(BaseModel):
    field: str
    expected: str


class Problem(BaseModel):
    """An error, as defined by RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[FieldError] = []
