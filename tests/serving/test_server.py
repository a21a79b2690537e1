"""The server as a process: acknowledged ratings survive a kill, and new models are loaded under load."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event

import pytest
import uvicorn

from numpy_neural_mf import load_model
from numpy_neural_mf.serving.server import bound
from numpy_neural_mf.serving.store import RatingsStore, store_beside

JSON = {"Content-Type": "application/json"}
pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


class Server:
    """A server in its own process, until it is killed."""

    def __init__(self, *arguments):
        command = [sys.executable, "-m", "numpy_neural_mf", "serve", *map(str, arguments), "--port", "0"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
        log = []
        while not (found := re.search(r"running on http://127\.0\.0\.1:(\d+)", "".join(log))):
            log.append(self.process.stderr.readline())
            assert log[-1], log
        self.port = int(found[1])
        while not self.is_ready():  # workers listen later than the log reports
            assert self.process.poll() is None, log

    def is_ready(self):
        try:
            with self.connected() as asked:
                return asked("GET", "/ready")[0] == 200
        except ConnectionRefusedError:
            return False

    @contextmanager
    def connected(self):
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            yield lambda *request: ask(connection, *request)

    def kill(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stderr.close()


def ask(connection, method, path, body=None):
    connection.request(method, path, None if body is None else json.dumps(body), JSON)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


@pytest.fixture
def model(folder, tmp_path):
    return Path(shutil.copy(folder / "films.safetensors", tmp_path))


@pytest.fixture
def server(model, request):
    server = Server(model, *getattr(request, "param", ()))
    yield server
    if server.process.returncode is None:
        server.kill()


def test_no_acknowledged_rating_is_lost_by_a_kill(server, model):
    acknowledged = []

    def post(worker):
        with server.connected() as asked:
            for number in range(1000):
                user = 10_000 + 1000 * worker + number
                status, _ = asked("POST", "/v1/ratings", [{"user": user, "item": 1, "rating": 4}])
                assert status == 200
                acknowledged.append(str(user))
                if len(acknowledged) == 500:
                    os.killpg(server.process.pid, signal.SIGKILL)

    with ThreadPoolExecutor(4) as pool:
        posts = [pool.submit(post, worker) for worker in range(4)]
    assert all(isinstance(one.exception(), OSError | http.client.HTTPException) for one in posts)
    server.kill()
    store = RatingsStore(store_beside(model))
    assert set(acknowledged) <= set(store.columns()["user"])
    assert 500 <= len(acknowledged) < 1000
    store.close()


@pytest.mark.parametrize("server", [(), ("--workers", 2)], indirect=True, ids=["one", "two"])
@pytest.mark.parametrize("by_signal", [True, False], ids=["signal", "by itself"])
def test_a_new_model_is_loaded_without_a_failed_request(server, model, by_signal):
    loaded, done, statuses = load_model(model), Event(), set()

    def load(user):
        with server.connected() as asked:
            while not done.is_set():
                statuses.add(asked("POST", "/v1/recommend", {"user": user})[0])

    user = 70_001
    known = {"pairs": [{"user": user, "item": int(loaded.item_ids_[0])}]}
    loaded.partial_fit(([user], loaded.item_ids_[:1], [5.0]))
    with ThreadPoolExecutor(4) as pool, server.connected() as asked:
        loads = [pool.submit(load, user) for user in range(1, 4)]
        assert not asked("POST", "/v1/predict", known)[1]["predictions"][0]["known"]
        loaded.save(model)
        if by_signal:
            os.kill(server.process.pid, signal.SIGHUP)
        while not asked("POST", "/v1/predict", known)[1]["predictions"][0]["known"]:
            assert not any(one.done() for one in loads)
        done.set()
    assert [one.result() for one in loads] == [None] * 3
    assert statuses == {200}


@pytest.mark.parametrize("server", [("--workers", 2)], indirect=True)
def test_workers_map_the_same_file(server, model):
    if not Path("/proc/self/maps").exists():
        pytest.skip("no /proc here")
    end = time.monotonic() + 60
    while len(mapping(server.process.pid, model)) < 2:
        assert time.monotonic() < end


def mapping(pid, model):
    """Return the children of a process that map a file."""
    children = [path for path in Path("/proc").glob("[0-9]*/maps") if parent(path) == pid]
    return [path for path in children if str(model) in path.read_text()]


def parent(maps):
    try:
        return int((maps.parent / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # the process has ended meanwhile
        return None


def test_answers_of_workers_do_not_wait_for_acknowledgements():
    with bound(uvicorn.Config("an app", port=0)) as listening:
        listening.listen()
        with socket.create_connection(listening.getsockname()), listening.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
