"""Files other than text tables are recognised by their first bytes, and the error gives advice."""

import json

import pytest

from numpy_neural_mf import RatingsError, read_ratings

NETFLIX = "1:\n1488844,3,2005-09-06\n822109,5,2005-05-13\n2:\n1488844,4,2005-09-06\n"


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (b"PK\x03\x04" + b"\0" * 90, "a zip archive; unpack it first"),
        ("user,item\n".encode("utf-16"), r"UTF-16; .*polars.read_csv\(path, encoding='utf-16'\)"),
        (b"user,item,rating\n\xe9,2,3\n", r"0xe9; .*polars.read_csv\(path, encoding='latin-1'\)"),
        (
            json.dumps([{"user": 1, "item": 2, "rating": 3}] * 10**5).encode(),
            r"JSON; .*polars.read_json\(path\)",
        ),
        (b'{"user":1,"item":2,"rating":3}\n' * 9, r"JSON; .*polars.read_ndjson\(path\)"),
        (NETFLIX.encode(), "as Netflix wrote them; .* awk"),
    ],
    ids=["zip", "UTF-16", "Latin-1", "JSON", "JSON lines", "Netflix"],
)
def test_another_format_is_named_with_advice(tmp_path, content, advice):
    (tmp_path / "r").write_bytes(content)
    with pytest.raises(RatingsError, match=advice) as error:
        read_ratings(tmp_path / "r")
    assert len(str(error.value)) <= 300
    assert str(error.value).isprintable()
