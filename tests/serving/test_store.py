"""The ratings store: acknowledged ratings are there, whatever happens to the process."""

import signal
import subprocess
import sys

import pytest

from numpy_neural_mf.serving.store import Rating, RatingsStore, store_beside


@pytest.fixture
def address(tmp_path):
    return f"sqlite:///{tmp_path / 'ratings.sqlite'}"


@pytest.fixture
def store(address):
    store = RatingsStore(address)
    yield store
    store.close()


def test_ratings_come_back_by_user_and_by_time(store):
    store.add([Rating(1, 3, 4.0, 30), Rating("ann", "π", 2.5, 10)])
    assert store.of_user("1") == {"3": 4.0}
    assert store.of_user("nobody") == {}
    assert store.columns() == {
        "user": ["ann", "1"], "item": ["π", "3"], "rating": [2.5, 4.0], "timestamp": [10, 30],
    }  # fmt: skip


def test_the_latest_rating_of_a_pair_counts_in_one_call_and_over_several(store):
    for _ in range(2):  # storing the same again changes nothing
        store.add([Rating(1, 3, 4.0, 30), Rating(1, 3, 2.0, 40), Rating(1, 3, 1.0, 20)])
        assert store.of_user("1") == {"3": 2.0}
        assert len(store) == 1
    store.add([Rating(1, 3, 5.0, 39)])
    assert store.of_user("1") == {"3": 2.0}
    store.add([Rating(1, 3, 5.0, 40)])
    assert store.of_user("1") == {"3": 5.0}


def test_a_commit_is_synchronised_with_the_disk(store):
    with store._engine.connect() as connection:
        pragmas = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")
        ]
    assert pragmas == ["wal", 2]  # 2 is FULL


def test_an_address_of_another_database_is_refused():
    with pytest.raises(ValueError, match="expected an address sqlite:/// or postgresql://, found mysql://"):
        RatingsStore("mysql://localhost/films")


def test_the_store_of_a_model_is_next_to_it(tmp_path):
    assert store_beside(tmp_path / "films.safetensors") == f"sqlite:///{tmp_path / 'films.ratings.sqlite'}"


WRITER = """
import sys
from numpy_neural_mf.serving.store import Rating, RatingsStore
store = RatingsStore(sys.argv[1])
for n in range(1_000):
    store.add([Rating(n, n, 3.0, n)])
    print(n, flush=True)
"""


def test_no_acknowledged_rating_is_lost_when_the_process_is_killed(address):
    command = [sys.executable, "-c", WRITER, address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        acknowledged = [int(writer.stdout.readline()) for _ in range(300)]
        writer.send_signal(signal.SIGKILL)
        acknowledged += [int(line) for line in writer.stdout if line.endswith("\n")]
    assert writer.returncode == -signal.SIGKILL
    store = RatingsStore(address)
    kept = {int(user) for user in store.columns()["user"]}
    store.close()
    assert set(acknowledged) <= kept
    assert len(kept - set(acknowledged)) <= 1
