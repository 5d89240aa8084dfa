import collections
import contextlib
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alpamayo_datasets.unpickle import read_pickle
from alpamayo_sim.errors import InputError


class Calls:
    """Pickles as a call of ``function`` with ``arguments``."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.arguments


def stored(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "file.pkl"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("protocol", [4, 5])
def test_plain_data_and_arrays_come_back(tmp_path: Path, protocol: int) -> None:
    value = {
        "a": np.arange(6.0).reshape(2, 3),
        "f": np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
        "s": np.array(["ab", "c"]),
        "b": np.array([True, False]),
        "empty": np.zeros((0, 3), np.float32),
        "big endian": np.arange(3, dtype=">f4"),
        "scalar": np.float32(1.5),
        "counts": collections.defaultdict(int, {"x": 3}),
        "list": [1, 2.5, None, (True, "text"), {"deep": [np.ones(1)]}],
        "set": {"one"},
    }
    got = read_pickle(stored(tmp_path, pickle.dumps(value, protocol=protocol)))
    for key in ("a", "f", "s", "b", "empty", "big endian"):
        np.testing.assert_array_equal(got[key], value[key])
        assert got[key].dtype == np.asarray(value[key]).dtype.newbyteorder("=")
    assert got["scalar"] == 1.5
    assert got["counts"] == {"x": 3}
    assert got["list"][:4] == [1, 2.5, None, (True, "text")]
    assert got["list"][4]["deep"][0].tolist() == [1.0]
    assert got["set"] == ["one"]


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_old_protocols_name_too_much(tmp_path: Path, protocol: int) -> None:
    with pytest.raises(InputError, match=r"asks for _codecs\.encode"):
        read_pickle(stored(tmp_path, pickle.dumps(np.ones(2), protocol=protocol)))


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (Calls(os.system, "echo harm > {marker}"), "posix.system"),
        (Calls(eval, "open('{marker}', 'w')"), "builtins.eval"),
        (Calls(getattr, "a", "upper"), "builtins.getattr"),
        (Calls(print, "x"), "builtins.print"),
        (Calls(int, "7"), "int or ndarray"),
        (Calls(np.ndarray, (3,)), "int or ndarray"),
        (Path("x"), "pathlib"),
        (np.array([{"an": "object"}], object), "dtype 'O"),
        (np.zeros(2, [("x", "f4")]), "dtype"),
        (np.array(["a" * 5000]), "dtype"),
        (Calls(np.load, "x.npy"), "numpy"),
        (np.dtype("f8"), "where data is expected"),
        (int, "where data is expected"),
    ],
)
def test_hostile_pickles_are_refused_by_name(tmp_path: Path, bad: Any, named: str) -> None:
    marker = tmp_path / "marker"
    if isinstance(bad, Calls):
        bad.arguments = tuple(a.format(marker=marker) if isinstance(a, str) else a for a in bad.arguments)
    with pytest.raises(InputError) as caught:
        read_pickle(stored(tmp_path, pickle.dumps({"tracks": [bad]})))
    assert "refused" in str(caught.value)
    assert named in str(caught.value)
    assert not marker.exists()


def test_a_forged_shape_allocates_nothing(tmp_path: Path) -> None:
    data = pickle.dumps(np.frombuffer(b"ab", "u1"), protocol=3)
    assert data.count(b"K\x02\x85") == 1
    assert read_pickle(stored(tmp_path, data)).tolist() == [97, 98]
    forged = data.replace(b"K\x02\x85", b"\x8a\x06" + (2**44).to_bytes(6, "little") + b"\x85")
    with pytest.raises(InputError, match="cannot reshape"):
        read_pickle(stored(tmp_path, forged))


def test_a_forged_memo_index_allocates_nothing(tmp_path: Path) -> None:
    data = b"\x80\x04K\x01r" + struct.pack("<I", 2**32 - 1) + b"."
    assert read_pickle(stored(tmp_path, data)) == 1


def test_a_forged_length_allocates_nothing(tmp_path: Path) -> None:
    data = b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"ab."
    with pytest.raises(InputError, match="not a whole pickle"):
        read_pickle(stored(tmp_path, data))


def test_shared_and_circular_lists_end(tmp_path: Path) -> None:
    value: list[Any] = ["x"]
    for _ in range(60):
        value = [value, value]
    got = read_pickle(stored(tmp_path, pickle.dumps(value)))
    assert got[0] is got[1]
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(InputError):
        read_pickle(stored(tmp_path, pickle.dumps(circle)))


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_data_or_an_input_error(tmp_path: Path, data: bytes) -> None:
    # Whatever else is raised fails the test.
    with contextlib.suppress(InputError):
        read_pickle(stored(tmp_path, b"\x80\x04" + data))
