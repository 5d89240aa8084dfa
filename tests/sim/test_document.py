import enum
import errno
import hashlib
import io
import json
import os
import pickle
import struct
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from alpamayo_scenarios import make_scenario
from alpamayo_sim.datatypes.scenario import Certificate, Scenario
from alpamayo_sim.datatypes.scene import Scene
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.document import digest, load_document, save_document
from alpamayo_sim.io.files import replacing
from alpamayo_sim.io.scene_file import load_scenario, load_scene, save_scenario, save_scene


class Colour(enum.IntEnum):
    RED = 1
    BLUE = 2


@dataclass(frozen=True)
class Inner:
    name: str
    value: float | None = None


@dataclass(frozen=True, eq=False)
class Sample:
    array: np.ndarray
    flag: bool = True
    count: int = 0
    text: str = ""
    colour: Colour = Colour.RED
    pair: tuple[float, float] = (0.0, 0.0)
    items: tuple[Inner, ...] = ()
    table: dict[str, float] = field(default_factory=dict)
    many: dict[str, np.ndarray] = field(default_factory=dict)


dtypes = st.sampled_from(["f4", "f8", "i1", "i4", "i8", "u1", "bool"])
some_array = dtypes.flatmap(lambda d: arrays(d, array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)))
number = st.floats(allow_nan=False, allow_infinity=False)
samples = st.builds(
    Sample,
    some_array,
    st.booleans(),
    st.integers(),
    st.text(),
    st.sampled_from(Colour),
    st.tuples(number, number),
    st.lists(st.builds(Inner, st.text(), st.none() | number), max_size=3).map(tuple),
    st.dictionaries(st.text(), number, max_size=3),
    st.dictionaries(st.text(), some_array, max_size=2),
)


@given(samples)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_documents_come_back_without_loss(tmp_path: Path, value: Sample) -> None:
    save_document(value, tmp_path / "x", 3)
    again = load_document(Sample, tmp_path / "x", 3)
    for name in ("flag", "count", "text", "colour", "pair", "items", "table"):
        assert getattr(again, name) == getattr(value, name)
        assert type(getattr(again, name)) is type(getattr(value, name))
    for one, two in zip((value.array, *value.many.values()), (again.array, *again.many.values()), strict=True):
        assert one.dtype == two.dtype
        assert one.tobytes() == two.tobytes()
        assert one.shape == two.shape


def test_scenarios_and_scenes_come_back_to_the_byte(tmp_path: Path) -> None:
    scenario = make_scenario("red-light-runner", 4)
    trajectory = np.arange(8, dtype=np.float32).reshape(2, 4)
    scenario = Scenario(
        scenario.scene,
        scenario.goal,
        scenario.scripts,
        certificate=Certificate(trajectory, {"time_to_collision": 1.5}, ("expert",)),
    )
    for save, load, value in (
        (save_scenario, load_scenario, scenario),
        (save_scene, load_scene, scenario.scene),
    ):
        save(value, tmp_path / "one")
        save(load(tmp_path / "one"), tmp_path / "two")
        for suffix in (".json", ".npz"):
            assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()
    assert load_scene(tmp_path / "one").origin.dtype == np.float64


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A scenario on disk; the path has no suffix."""
    save_scenario(make_scenario("debris", 0), tmp_path / "debris")
    return tmp_path / "debris"


def refused(path: Path, kind: str = "scenario") -> str:
    with pytest.raises(InputError) as caught:
        (load_scenario if kind == "scenario" else load_scene)(path)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


def edit(path: Path, change: Any) -> None:
    where = path.with_name(path.name + ".json")
    document = json.loads(where.read_text())
    change(document)
    where.write_text(json.dumps(document))


def test_missing_files_are_named(stored: Path, tmp_path: Path) -> None:
    assert "nothing.json" in refused(tmp_path / "nothing")
    stored.with_name("debris.npz").unlink()
    assert "debris.npz" in refused(stored)


@pytest.mark.parametrize("suffix", [".json", ".npz"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_truncated_files_are_refused(stored: Path, suffix: str, share: float) -> None:
    path = stored.with_name(f"debris{suffix}")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert f"debris{suffix}" in refused(stored)


def test_another_version_or_kind_is_refused_by_name(stored: Path) -> None:
    assert "holds a 'Scenario', expected a 'Scene'" in refused(stored, "scene")
    edit(stored, lambda d: d.update(version=99))
    assert "version 99, this release reads version 1" in refused(stored)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.pop("body"), "body"),
        (lambda d: d["body"].pop("goal"), "fields"),
        (lambda d: d["body"].update(extra=1), "fields"),
        (lambda d: d["body"]["goal"].update(distance="far"), "float"),
        (lambda d: d["body"].update(seed=1.5), "int"),
        (lambda d: d["body"]["scene"].update(tracks=3), "not a valid Scenario"),
        (lambda d: d["body"]["scene"]["tracks"][0].update(category="SPACESHIP"), "SPACESHIP"),
        (lambda d: d["body"]["scene"]["tracks"][0].update(heading={"array": "nowhere"}), "nowhere"),
        (lambda d: d["body"]["scene"]["tracks"][0].update(heading=5), "not a valid Scenario"),
        (lambda d: d["body"]["scene"]["tracks"][0].update(heading={"array": "a0"}), "debris.json"),
        (lambda d: d["body"]["scene"].update(ego_id="nobody"), "ego 'nobody'"),
        (lambda d: d["body"]["scene"].update(dt=-0.1), "dt is -0.1"),
        (lambda d: d["body"]["goal"].update(duration=None), "float"),
    ],
)
def test_documents_that_are_not_what_the_schema_says(stored: Path, change: Any, words: str) -> None:
    edit(stored, change)
    assert words in refused(stored)


@pytest.mark.parametrize("text", ["[]", "3", '"x"', "{", '{"kind": "Scenario", "version": 1}', "[" * 100_000, "\x00"])
def test_json_that_is_no_document(stored: Path, text: str) -> None:
    stored.with_name("debris.json").write_text(text)
    refused(stored)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), 1e308, -0.0, 5e-324])
def test_all_floats_come_back(tmp_path: Path, value: float) -> None:
    save_document(Inner("x", value), tmp_path / "x", 1)
    json.loads((tmp_path / "x.json").read_text(), parse_constant=pytest.fail)
    again = load_document(Inner, tmp_path / "x", 1).value
    assert struct.pack("d", again) == struct.pack("d", value)


def replace_member(path: Path, name: str, data: bytes) -> None:
    """Put other bytes in place of one array of an npz."""
    with zipfile.ZipFile(path) as archive:
        members = {member.filename: archive.read(member) for member in archive.infolist()}
    members[name] = data
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    reseal(path)


def reseal(arrays: Path) -> None:
    """Make the JSON name the arrays as they are now: a forger can do that, so the checks behind it must hold."""
    sha256 = hashlib.sha256(arrays.read_bytes()).hexdigest()
    edit(arrays.with_suffix(""), lambda document: document.update(arrays_sha256=sha256))


def test_object_arrays_are_never_unpickled(stored: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"

    class Harm:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.system, (f"touch {marker}",)

    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.array([Harm()], object), allow_pickle=True)
    replace_member(stored.with_name("debris.npz"), "a0.npy", buffer.getvalue())
    assert "debris.npz" in refused(stored)
    stored.with_name("debris.npz").write_bytes(pickle.dumps(Harm()))
    reseal(stored.with_name("debris.npz"))
    assert "debris.npz" in refused(stored)
    assert not marker.exists()


def npy_header(shape: str) -> bytes:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


@pytest.mark.parametrize("shape", ["(1099511627776,)", "(-3,)", "(2, 1099511627776)", "(3,"])
def test_headers_that_promise_more_than_there_is(stored: Path, shape: str) -> None:
    replace_member(stored.with_name("debris.npz"), "a0.npy", npy_header(shape) + b"\x00" * 16)
    assert "debris.npz" in refused(stored)


def test_archives_that_unpack_to_too_much_are_refused_first(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alpamayo_sim.io.document.MAX_ARRAY_BYTES", 1000)
    assert "unpacks to more than" in refused(stored)
    monkeypatch.setattr("alpamayo_sim.io.document.MAX_JSON_BYTES", 1000)
    assert "larger than" in refused(stored)


def test_zip_bombs_that_lie_about_their_size(stored: Path) -> None:
    path = stored.with_name("debris.npz")
    replace_member(path, "a0.npy", npy_header("(4,)") + b"\x00" * 5_000_000)
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<I", 5_000_128), struct.pack("<I", 144)))
    reseal(path)
    assert "debris.npz" in refused(stored)


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        save_document(Inner("x"), tmp_path / "file" / "x", 1)


def write_and_fail(target: Path) -> None:
    with replacing(target) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt


def test_nothing_half_written_is_left_behind(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_and_fail(target)
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


def test_the_arrays_of_another_document_are_refused(tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("two", 2)):
        save_scenario(make_scenario("debris", seed), tmp_path / name)
    (tmp_path / "two.npz").replace(tmp_path / "one.npz")
    assert "does not belong to" in refused(tmp_path / "one")


def test_a_document_without_the_digest_of_its_arrays_is_refused(stored: Path) -> None:
    edit(stored, lambda document: document.pop("arrays_sha256"))
    assert "does not belong to" in refused(stored)


def test_an_array_has_one_place(stored: Path) -> None:
    edit(stored, lambda document: document["body"]["scene"]["road_map"].update(crosswalks=[{"array": "a0"}] * 1000))
    assert "debris.json" in refused(stored)


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_a_pipe_is_refused_and_not_waited_for(stored: Path, suffix: str) -> None:
    path = stored.with_name(f"debris{suffix}")
    path.unlink()
    os.mkfifo(path)
    assert "a pipe or a device, must be a file" in refused(stored)


@pytest.mark.parametrize("value", [10**400, "x\ud800y", [[[]]]])
def test_values_that_no_field_can_hold_are_refused(stored: Path, value: object) -> None:
    edit(stored, lambda document: document["body"]["goal"].update(distance=value))
    refused(stored)
    edit(stored, lambda document: document["body"].update(goal={"distance": 1.0, "duration": 1.0}, family=value))
    refused(stored)


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("alpamayo_sim.io.document._packed", full)
    with pytest.raises(InputError, match="No space left"):
        save_scenario(make_scenario("debris", 0), tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_a_document_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="cannot hold a set"):
        save_document(Inner({"a"}), tmp_path / "x", 1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="array of objects"):
        save_document(Sample(np.array([None, "x"], object)), tmp_path / "x", 1)


def test_loading_another_kind_of_scene_document(tmp_path: Path) -> None:
    save_document(Inner("x"), tmp_path / "x", 1)
    with pytest.raises(InputError, match="holds a 'Inner', expected a 'Scene'"):
        load_document(Scene, tmp_path / "x", 1)


def test_a_digest_tells_values_apart() -> None:
    base = Sample(np.arange(6.0).reshape(2, 3))
    assert digest(base) == digest(Sample(np.arange(6.0).reshape(2, 3)))
    assert digest(base) == digest(Sample(np.asfortranarray(np.arange(6.0).reshape(2, 3))))
    others = [
        Sample(np.arange(6.0).reshape(3, 2)),
        Sample(np.arange(6.0, dtype=np.float32).reshape(2, 3)),
        Sample(np.arange(6.0).reshape(2, 3), text="x"),
        Sample(np.arange(6.0).reshape(2, 3), flag=False),
    ]
    assert len({digest(value) for value in (base, *others)}) == 5
