"""Data sets by name, from a correct server and from faulty servers."""

import hashlib
import io
import re
import threading
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from numpy_neural_mf import read_ratings
from numpy_neural_mf.data import DATASETS, download_dataset
from numpy_neural_mf.data.datasets import download as transfer

NAME = "ml-100k"
RATINGS = "1\t10\t3\t881250949\n1\t20\t4\t881250950\n2\t10\t5\t881250951\n"


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


ARCHIVE = zipped({"ml-100K-of-1998/u.data": RATINGS, "ml-100K-of-1998/README": "research " * 200})


def corrupt_lzma():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("ml-100k/u.data", RATINGS * 100)
    content = bytearray(buffer.getvalue())
    content[60:64] = b"\xff" * 4
    return bytes(content)


CORRUPT_LZMA = corrupt_lzma()


class Handler(BaseHTTPRequestHandler):
    """A server according to RFC 9110, with an optional fault for each request."""

    def do_GET(self):
        server = self.server
        server.requests.append(dict(self.headers))
        fault = server.faults.pop(0) if server.faults else {}
        if self.path.startswith("/moved/"):
            self.answer(302, {"Location": self.path.removeprefix("/moved")})
        elif "status" in fault or self.path != f"/{NAME}.zip":
            self.answer(fault.get("status", 404), {"Content-Length": "0"})
        else:
            self.send(**fault)

    def send(self, lies=0, breaks_at=None, ignores_range=False, content_range=None, has_length=True):
        body, tag = self.server.body, self.server.tag
        headers = {"ETag": tag} if tag else {}
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        is_same = self.headers.get("If-Range") == tag
        start, status = (int(asked[1]), 206) if asked and is_same and not ignores_range else (0, 200)
        if status == 206 and start >= len(body):
            return self.answer(416, {"Content-Range": f"bytes */{len(body)}", "Content-Length": "0"})
        if status == 206:
            headers["Content-Range"] = content_range or f"bytes {start}-{len(body) - 1}/{len(body)}"
        self.answer(
            status, headers | ({"Content-Length": str(len(body) - start + lies)} if has_length else {})
        )
        self.wfile.write(body[start:breaks_at])
        return None

    def answer(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@contextmanager
def serving(body=ARCHIVE, faults=(), tag='"1"'):
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.body, server.faults, server.tag, server.requests = body, list(faults), tag, []
        server.url = f"http://127.0.0.1:{server.server_port}/{NAME}.zip"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def catalogue(monkeypatch):
    """Make the catalogue expect the archive made here, without pauses between attempts."""
    expect(monkeypatch, ARCHIVE)
    monkeypatch.setattr(transfer, "PAUSES", (0, 0))


def expect(monkeypatch, file, name=NAME, **facts):
    digest = hashlib.sha256(file).hexdigest()
    facts = {"checksum": f"sha256:{digest}", "megabytes": 1} | facts
    monkeypatch.setitem(DATASETS, name, replace(DATASETS[name], **facts))


def refused(server, folder):
    with pytest.raises(OSError, match=r"^\S") as error:
        download_dataset(NAME, folder, url=server.url)
    assert "\n" not in str(error.value)
    return str(error.value)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def ranges(server):
    return [request.get("Range") for request in server.requests]


# Without faults


def test_a_set_is_downloaded_and_read(tmp_path):
    with serving() as server:
        folder = download_dataset(NAME, tmp_path / "new" / "folder", url=server.url)
    assert folder == tmp_path / "new" / "folder" / NAME
    assert len(read_ratings(folder)) == 3
    assert names(folder.parent) == [NAME]
    assert names(folder) == ["README", "u.data"]


def test_progress_counts_bytes_up_to_the_total(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "BLOCK", 100)
    told = []
    with serving() as server:
        download_dataset(NAME, tmp_path, url=server.url, on_progress=lambda *n: told.append(n))
    assert told[-1] == (len(ARCHIVE), len(ARCHIVE))
    assert [n for n, _ in told] == sorted({n for n, _ in told})


def test_an_existing_set_is_not_downloaded_again(tmp_path):
    with serving() as server:
        first = download_dataset(NAME, tmp_path, url=server.url)
        assert download_dataset(NAME, tmp_path, url=server.url) == first
    assert len(server.requests) == 1


def test_a_redirection_is_followed(tmp_path):
    with serving() as server:
        assert download_dataset(NAME, tmp_path, url=server.url.replace("/ml", "/moved/ml")).is_dir()


# Interrupted transfers


def test_an_interrupted_transfer_resumes_where_it_stopped(tmp_path):
    with serving(faults=[{"breaks_at": 150}, {"breaks_at": 260}]) as server:
        download_dataset(NAME, tmp_path, url=server.url)
    assert ranges(server) == [None, "bytes=150-", "bytes=260-"]
    assert server.requests[1]["If-Range"] == '"1"'


def test_bytes_received_before_a_kill_are_not_sent_again(tmp_path):
    with serving(faults=[{"breaks_at": 150}] * 3) as server:
        assert "failed 3 times" in refused(server, tmp_path)
        assert names(tmp_path) == [f"{NAME}.zip.part", f"{NAME}.zip.part.tag"]
        assert (tmp_path / f"{NAME}.zip.part").read_bytes() == ARCHIVE[:150]
        download_dataset(NAME, tmp_path, url=server.url)
    assert ranges(server)[-1] == "bytes=150-"
    assert names(tmp_path) == [NAME]


def test_a_file_that_changed_meanwhile_is_not_appended_to_the_old_part(tmp_path):
    with serving(body=b"older" * 100, faults=[{"breaks_at": 150}] * 3) as server:
        refused(server, tmp_path)
    with serving(tag='"2"') as server:
        assert len(read_ratings(download_dataset(NAME, tmp_path, url=server.url))) == 3
    assert ranges(server) == ["bytes=150-"]


@pytest.mark.parametrize("tag", [None, 'W/"1"'])
def test_a_file_without_strong_validator_is_downloaded_again(tmp_path, tag):
    with serving(faults=[{"breaks_at": 150}], tag=tag) as server:
        download_dataset(NAME, tmp_path, url=server.url)
    assert ranges(server) == [None, None]


def test_a_server_that_ignores_ranges_sends_the_file_again(tmp_path):
    with serving(faults=[{"breaks_at": 150}, {"ignores_range": True}]) as server:
        assert len(read_ratings(download_dataset(NAME, tmp_path, url=server.url))) == 3


def test_bytes_of_another_range_are_not_accepted(tmp_path):
    wrong = {"content_range": "bytes 10-20/21"}
    with serving(faults=[{"breaks_at": 150}, wrong, wrong]) as server:
        assert "expected bytes from 150 on, the server sent 'bytes 10-20/21'" in refused(server, tmp_path)
    assert (tmp_path / f"{NAME}.zip.part").read_bytes() == ARCHIVE[:150]


def test_a_complete_part_is_unpacked(tmp_path):
    (tmp_path / f"{NAME}.zip.part").write_bytes(ARCHIVE)
    (tmp_path / f"{NAME}.zip.part.tag").write_text('"1"')
    with serving() as server:
        assert len(read_ratings(download_dataset(NAME, tmp_path, url=server.url))) == 3
    assert ranges(server) == [f"bytes={len(ARCHIVE)}-"]


def test_a_part_longer_than_the_file_is_downloaded_again(tmp_path):
    (tmp_path / f"{NAME}.zip.part").write_bytes(ARCHIVE + b"more")
    (tmp_path / f"{NAME}.zip.part.tag").write_text('"1"')
    with serving() as server:
        assert len(read_ratings(download_dataset(NAME, tmp_path, url=server.url))) == 3
    assert ranges(server) == [f"bytes={len(ARCHIVE) + 4}-", None]


def test_a_response_shorter_than_its_length_is_refused(tmp_path):
    lie = {"lies": 100, "ignores_range": True}
    with serving(faults=[lie] * 3) as server:
        n = len(ARCHIVE)
        assert f"the connection ended after {n:,} of {n + 100:,} bytes" in refused(server, tmp_path)
    assert not (tmp_path / NAME).exists()


def test_temporary_server_errors_are_retried(tmp_path):
    with serving(faults=[{"status": 500}, {"status": 503}]) as server:
        assert download_dataset(NAME, tmp_path, url=server.url).is_dir()


def test_permanent_server_errors_are_given_up(tmp_path):
    with serving(faults=[{"status": 500}] * 9) as server:
        assert "failed 3 times, the last time: the server answered 500" in refused(server, tmp_path)
    assert names(tmp_path) == []


def test_a_missing_file_is_requested_once(tmp_path):
    with serving(faults=[{"status": 404}]) as server:
        said = refused(server, tmp_path)
    assert said == f"{server.url}: expected a file, the server answered 404 Not Found"
    assert len(server.requests) == 1


def test_an_unreachable_server_is_reported_in_one_sentence(tmp_path):
    with serving() as server:
        pass
    assert "refused" in refused(server, tmp_path)


def test_a_body_without_length_does_not_fill_the_disk(tmp_path):
    with serving(body=b"x" * 5_000_000, faults=[{"has_length": False}]) as server:
        assert "expected at most 4,000,000 bytes, the server sends more" in refused(server, tmp_path)
    assert names(tmp_path) == []


def test_a_server_that_sends_too_slowly_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "TIMEOUT", 10.0)
    monkeypatch.setattr(transfer, "SLOWEST", 10**12)
    clock = SimpleNamespace(monotonic=iter(range(0, 10**6, 60)).__next__, sleep=lambda seconds: None)
    monkeypatch.setattr(transfer, "time", clock)
    part = tmp_path / "part"
    with (
        serving(body=b"x" * 500_000) as server,
        pytest.raises(OSError, match=r"the last time: fewer than .* bytes in a second"),
    ):
        transfer.fetch(server.url, part, 10**6)


# Unexpected content


def test_wrong_bytes_are_removed_and_both_digests_reported(tmp_path):
    wrong = zipped({"ml-100k/u.data": "1\t1\t1\n"})
    with serving(body=wrong) as server:
        said = refused(server, tmp_path)
    expected = DATASETS[NAME].checksum.removeprefix("sha256:")
    assert f"{NAME}.zip: expected SHA256 {expected}, found {hashlib.sha256(wrong).hexdigest()}" in said
    assert names(tmp_path) == []


def test_a_truncated_file_is_removed(tmp_path):
    with serving(faults=[{"lies": -100}]) as server:
        assert "expected SHA256" in refused(server, tmp_path)
    assert names(tmp_path) == []


def test_a_changed_set_that_may_change_is_accepted_with_a_warning(tmp_path, monkeypatch):
    expect(monkeypatch, b"an older state", is_fixed=False)
    with serving() as server, pytest.warns(UserWarning, match="the set has changed"):
        folder = download_dataset(NAME, tmp_path, url=server.url)
    assert len(read_ratings(folder)) == 3


@pytest.mark.parametrize(
    ("archive", "said"),
    [
        (zipped({"../u.data": RATINGS}), "refused, a file in it would be outside: '../u.data'"),
        (zipped({"ml-100k/u.data": RATINGS, "ml-100k/../../x": ""}), "would be outside"),
        (zipped({"/tmp/u.data": RATINGS}), "would be outside: '/tmp/u.data'"),
        (zipped({"C:u.data": RATINGS}), "would be outside: 'C:u.data'"),
        (zipped({"ml-100k/README": ""}), "expected a folder with ratings in it, found none"),
        (zipped({}), "expected a folder with ratings in it, found none"),
        (zipped({"ml-100k/" + "x" * 300: RATINGS}), "for the name of a file in it: File name too long"),
        (zipped({"ml-100k": "a file", "ml-100k/u.data": RATINGS}), "refused, for the name of a file in it"),
        (CORRUPT_LZMA, "expected a whole zip archive, found: Corrupt"),
        (b"no zip at all", "expected a whole zip archive"),
        (ARCHIVE[:-30], "expected a whole zip archive"),
        (ARCHIVE.replace(b"\t3\t", b"\t5\t"), "expected a whole zip archive, found: Bad CRC-32"),
    ],
)  # fmt: skip
def test_an_archive_that_is_unsafe_or_broken_is_refused(tmp_path, monkeypatch, archive, said):
    expect(monkeypatch, archive)
    with serving(body=archive) as server:
        assert said in refused(server, tmp_path)
    assert names(tmp_path) == []
    assert not (tmp_path.parent / "u.data").exists()


def test_an_archive_that_would_fill_the_disk_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("numpy_neural_mf.data.datasets.by_name.MAX_UNPACKED", 100)
    with serving() as server:
        assert "refused, it would unpack to" in refused(server, tmp_path)
    assert names(tmp_path) == []


def test_an_unknown_name_is_refused_with_a_list_of_names(tmp_path):
    with pytest.raises(ValueError, match=r"expected one of ml-100k, .*, found 'ml-5m'"):
        download_dataset("ml-5m", tmp_path)


def test_another_file_or_folder_of_that_name_is_not_touched(tmp_path):
    (tmp_path / NAME).mkdir()
    with pytest.raises(OSError, match="exists already"):
        download_dataset(NAME, tmp_path)
    assert names(tmp_path / NAME) == []


# Every set, in its layout


def downloaded(monkeypatch, folder, name, file):
    expect(monkeypatch, file, name)
    with serving(body=file) as server:
        return download_dataset(name, folder, url=server.url)


def rows(folder):
    return list(read_ratings(folder).to_polars().iter_rows())


def test_each_set_is_downloaded_from_its_address(tmp_path, monkeypatch):
    with serving() as server:
        expect(monkeypatch, ARCHIVE, url=server.url)
        assert len(read_ratings(download_dataset(NAME, tmp_path))) == 3


def test_a_set_with_an_md5_is_checked_by_it(tmp_path, monkeypatch):
    digest = hashlib.md5(ARCHIVE, usedforsecurity=False).hexdigest()
    expect(monkeypatch, ARCHIVE, checksum=f"md5:{digest}")
    with serving() as server:
        assert download_dataset(NAME, tmp_path, url=server.url).is_dir()


def test_goodbooks_has_ratings_next_to_books(tmp_path, monkeypatch):
    files = {
        "books.csv": "book_id,title\n258,Emma\n",
        "ratings.csv": "user_id,book_id,rating\n1,258,5\n2,4081,4\n",
    }
    folder = downloaded(monkeypatch, tmp_path, "goodbooks-10k", zipped(files))
    assert rows(folder) == [(1, 258, 5.0), (2, 4081, 4.0)]
    assert names(folder) == ["books.csv", "ratings.csv"]


BOOK_CROSSING = """"User-ID";"ISBN";"Book-Rating"\r
"276725";"034545104X";"0"\r
"276726";"0155061224";"5"\r
"276726";"\\"2080674722";"0"\r
"276729";"85-7164;8572é";"10"\r
"""


def test_zeros_of_book_crossing_are_left_out_and_counted(tmp_path, monkeypatch):
    file = zipped({"BX-Books.csv": "", "BX-Book-Ratings.csv": BOOK_CROSSING.encode("latin-1")})
    with pytest.warns(
        UserWarning, match=r"book-crossing: 2 of 4 ratings are 0, which stands for no rating"
    ) as said:
        folder = downloaded(monkeypatch, tmp_path, "book-crossing", file)
    assert said[0].filename == __file__
    assert rows(folder) == [(276726, "0155061224", 5.0), (276729, "85-7164;8572é", 10.0)]
    assert names(folder) == ["BX-Book-Ratings.csv", "BX-Books.csv", "ratings.csv"]


def test_jester_has_ratings_from_minus_ten_to_ten_including_zero(tmp_path, monkeypatch):
    file = zipped({"jester_ratings.dat": "1\t\t5\t\t0.219\n1\t\t7\t\t-9.281\n63978\t\t150\t\t0\n\n"})
    folder = downloaded(monkeypatch, tmp_path, "jester", file)
    expected = [(1, 5, pytest.approx(0.219)), (1, 7, pytest.approx(-9.281)), (63978, 150, 0.0)]
    assert rows(folder) == expected


def test_a_category_of_amazon_is_a_single_file(tmp_path, monkeypatch):
    file = b"A1YS9MDZP93857,0006428320,3.0,1394496000\nA3TS466QBAWB9D,B000068NW5,5.0,1370476800\n"
    folder = downloaded(monkeypatch, tmp_path, "amazon-2014-musical-instruments", file)
    assert rows(folder) == [
        ("A1YS9MDZP93857", "0006428320", 3.0, 1394496000),
        ("A3TS466QBAWB9D", "B000068NW5", 5.0, 1370476800),
    ]
    assert names(tmp_path) == ["amazon-2014-musical-instruments"]


def test_a_line_without_rating_is_refused_with_its_number(tmp_path, monkeypatch):
    file = zipped({"jester_ratings.dat": "1\t\t5\t\t0.219\n1\t\tfive\n"})
    with pytest.raises(
        OSError, match=r"jester: jester_ratings.dat, line 2: expected a rating, found '1\\t\\tfive"
    ):
        downloaded(monkeypatch, tmp_path, "jester", file)
    assert names(tmp_path) == []
