"""A damaged gzip file, or a decompression bomb, is an error in every reader."""

import gzip

import pytest

from numpy_neural_mf import RatingsError, read_features, read_ratings
from numpy_neural_mf.data import limits


@pytest.mark.parametrize("reader", [read_ratings, read_features])
def test_a_decompression_bomb_is_refused(tmp_path, monkeypatch, reader):
    monkeypatch.setattr(limits, "ALWAYS", 2**16)
    path = tmp_path / "r.csv.gz"
    path.write_bytes(gzip.compress(b"user,item,rating\n" + b"1,2,3\n" * 10**6))
    with pytest.raises(RatingsError, match="found over 100 times as much as the gzip file has bytes"):
        reader(path)


def test_a_truncated_large_file_is_an_error(tmp_path):
    text = "user,item,rating\n" + "".join(f"{n},{n * 7919 % 10007},3\n" for n in range(50_000))
    path = tmp_path / "r.csv.gz"
    path.write_bytes(gzip.compress(text.encode())[:-20])
    with pytest.raises(RatingsError, match="expected a whole gzip file, found"):
        read_ratings(path)
