"""The store of new ratings, a database: SQLite, or PostgreSQL if its address is given."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Engine,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    func,
    make_url,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite

from ..data.limits import MAX_ID

# Ids are stored as text: the model knows whether they are numbers.
RATINGS = Table(
    "ratings",
    MetaData(),
    Column("user", String(MAX_ID), primary_key=True),
    Column("item", String(MAX_ID), primary_key=True),
    Column("rating", Double, nullable=False),
    Column("timestamp", BigInteger, nullable=False),
)
INSERTS = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
# A commit returns when it is on disk, and waits at most this number of seconds for other writers.
WAIT = 10
PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={WAIT}000")


class Rating(NamedTuple):
    """A rating of an item by a user, with its time in seconds since 1970."""

    user: int | str
    item: int | str
    rating: float
    timestamp: int


def store_beside(model: str | Path) -> str:
    """Return the address of the SQLite file that belongs to a model file."""
    return f"sqlite:///{Path(model).with_suffix('.ratings.sqlite').absolute()}"


class RatingsStore:
    """A database with the latest rating for each user and item; its table is created if needed.

    Ratings are on disk when `add` returns. Raises ValueError if the address begins with neither sqlite:///
    nor postgresql://.
    """

    def __init__(self, address: str) -> None:
        url = make_url(address)
        kind = url.get_backend_name()
        if kind not in INSERTS:
            raise ValueError(f"store: expected an address sqlite:/// or postgresql://, found {kind}://")
        if url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        self._insert = INSERTS[kind]
        self._engine = create_engine(url, pool_pre_ping=kind == "postgresql")
        if kind == "sqlite":
            _set_up_sqlite(self._engine)
        RATINGS.metadata.create_all(self._engine)

    def add(self, ratings: Sequence[Rating]) -> None:
        """Store ratings; for one user and item, the one with the latest timestamp, or else the last."""
        by_time = sorted(ratings, key=lambda one: one.timestamp)
        latest = {(str(one.user), str(one.item)): one for one in by_time}
        # In the order of their keys, so that two writers never wait for each other.
        rows = [latest[key]._replace(user=key[0], item=key[1])._asdict() for key in sorted(latest)]
        new: Any = self._insert(RATINGS)
        replaced = {name: new.excluded[name] for name in ("rating", "timestamp")}
        is_later = new.excluded.timestamp >= RATINGS.c.timestamp
        statement = new.on_conflict_do_update(index_elements=["user", "item"], set_=replaced, where=is_later)
        with self._engine.begin() as connection:
            connection.execute(statement, rows)

    def of_user(self, user: str) -> dict[str, float]:
        """Return the ratings of one user, by item."""
        query = select(RATINGS.c.item, RATINGS.c.rating).where(RATINGS.c.user == user)
        with self._engine.connect() as connection:
            return {row.item: row.rating for row in connection.execute(query)}

    def columns(self) -> dict[str, list[Any]]:
        """Return all ratings as columns user, item, rating and timestamp, ordered by time."""
        order = RATINGS.c.timestamp, RATINGS.c.user, RATINGS.c.item
        with self._engine.connect() as connection:
            rows = connection.execute(select(RATINGS).order_by(*order)).all()
        return {name: [row[at] for row in rows] for at, name in enumerate(Rating._fields)}

    def __len__(self) -> int:
        with self._engine.connect() as connection:
            return int(connection.execute(select(func.count()).select_from(RATINGS)).scalar_one())

    def check(self) -> None:
        """Raise the database's error if it does not answer."""
        with self._engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


def _set_up_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, record: Any) -> None:
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
