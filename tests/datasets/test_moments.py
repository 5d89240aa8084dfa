"""Rare moments: each kind in a scene made for it, and not in the same scene without it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from alpamayo.cli import app
from alpamayo.mining import logs_below, mine
from alpamayo_datasets.moments import FINDERS, moments
from alpamayo_sim.datatypes.scene import (
    Category,
    Lane,
    Provenance,
    RoadMap,
    Route,
    Scene,
    Signal,
    SignalState,
    Track,
)
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.scene_file import save_scene

STEPS, DT = 60, 0.1
T = DT * np.arange(STEPS)


def f32(values: Any) -> np.ndarray:
    return np.asarray(values, np.float32)


def mover(name: str, x: np.ndarray, y: np.ndarray, category: Category = Category.VEHICLE, back: bool = False) -> Track:
    """A road user at x, y (m) over time; it looks east, or west."""
    velocity = np.stack([np.gradient(x + 0.0 * T, DT), np.gradient(y + 0.0 * T, DT)], axis=1)
    heading = np.full(STEPS, np.pi if back else 0.0)
    size = f32((0.7, 0.7, 1.8)) if category == Category.PEDESTRIAN else f32((4.5, 1.8, 1.5))
    if category == Category.PEDESTRIAN:
        heading = np.full(STEPS, np.pi / 2)
    position = np.stack([x + 0.0 * T, y + 0.0 * T, 0.0 * T], axis=1)
    return Track(name, category, f32(position), f32(heading), f32(velocity), size, np.ones(STEPS, bool))


def line(x0: float, x1: float, y: float) -> np.ndarray:
    x = np.linspace(x0, x1, 41)
    return f32(np.stack([x, np.full_like(x, y), 0 * x], axis=1))


def scene(*others: Track, ego: Track | None = None, red: bool = False) -> Scene:
    """Two lanes east, one of them with a light at x = 60 m; the ego drives east at 10 m/s on the right one."""
    area = f32([[-50, -2, 0], [250, -2, 0], [250, 5.5, 0], [-50, 5.5, 0]])
    crossing = f32([[100, -2, 0], [104, -2, 0], [104, 5.5, 0], [100, 5.5, 0]])
    lanes = (
        Lane("right", line(-50, 60, 0.0), f32(np.full(41, 3.5)), successors=("after",)),
        Lane("after", line(60, 250, 0.0), f32(np.full(41, 3.5)), in_intersection=True),
        Lane("left", line(-50, 250, 3.5), f32(np.full(41, 3.5))),
    )
    state = SignalState.RED if red else SignalState.GREEN
    return Scene(
        id="made",
        road_map=RoadMap(lanes, (area,), (crossing,)),
        tracks=(ego or mover("ego", 10.0 * T, 0 * T), *others),
        ego_id="ego",
        provenance=Provenance("made", "CC0"),
        signals=(Signal("light", f32([60, 0, 5]), np.full(STEPS, state, np.int8), ("after",)),),
        route=Route(line(-50, 250, 0.0)),
        origin=np.array([1000.0, 2000.0, 0.0]),
    )


def kinds(made: Scene) -> set[tuple[str, str]]:
    return {(moment.kind, moment.actor) for moment in moments(made)}


LEAD = mover("lead", 60.0 + 10.0 * T, 0 * T)
BRAKED = np.where(T < 2.0, 10.0 * T, 20.0 + 10.0 * (T - 2.0) - 3.0 * np.clip(T - 2.0, 0.0, 1.6) ** 2)
BRAKING = mover("lead", 60.0 + BRAKED, 0 * T)
CUTTING = mover("other", 14.0 + 10.0 * T, np.clip(3.5 - 1.75 * np.clip(T - 1.0, 0, 2), 0, 3.5))
BESIDE = mover("other", 14.0 + 10.0 * T, np.full(STEPS, 3.5))
WALKING = mover("walker", np.full(STEPS, 40.0), -4.0 + 1.2 * T, Category.PEDESTRIAN)
CROSSING = mover("walker", np.full(STEPS, 102.0), -4.0 + 1.2 * T, Category.PEDESTRIAN)
GHOST = mover("ghost", 110.0 - 12.0 * T, np.full(STEPS, 3.5), back=True)
STANDING = mover("lead", np.full(STEPS, 50.0), 0 * T)


@pytest.mark.parametrize(
    ("kind", "actor", "with_it", "without_it"),
    [
        ("hard-brake", "lead", scene(BRAKING), scene(LEAD)),
        ("cut-in", "other", scene(CUTTING), scene(BESIDE)),
        ("near-miss", "lead", scene(STANDING), scene(LEAD)),
        ("jaywalker", "walker", scene(WALKING), scene(CROSSING)),
        (
            "red-light",
            "ego",
            scene(red=True, ego=mover("ego", 20 + 10.0 * T, 0 * T)),
            scene(ego=mover("ego", 20 + 10.0 * T, 0 * T)),
        ),
        ("wrong-way", "ghost", scene(GHOST), scene(BESIDE)),
    ],
)
def test_each_kind_is_found_where_it_is(kind: str, actor: str, with_it: Scene, without_it: Scene) -> None:
    assert (kind, actor) in kinds(with_it)
    assert (kind, actor) not in kinds(without_it)
    assert kind in FINDERS


def test_a_moment_has_its_time_place_and_strength() -> None:
    (moment,) = (m for m in moments(scene(BRAKING)) if m.kind == "hard-brake")
    assert 1.8 <= moment.time_s <= 2.3
    assert 4.0 < moment.value < 6.5
    assert (moment.unit, moment.step) == ("m/s²", round(moment.time_s / DT))
    assert moment.x == pytest.approx(1000.0 + 60.0 + 10.0 * moment.time_s, abs=1.0)
    (wrong,) = (m for m in moments(scene(GHOST)) if m.kind == "wrong-way")
    assert wrong.value == pytest.approx(12.0, abs=0.1)


def test_what_is_far_or_not_there_does_not_count() -> None:
    far = mover("lead", 300.0 + BRAKED, 0 * T)
    assert not kinds(scene(far))
    hidden = replace(BRAKING, valid=np.zeros(STEPS, bool))
    assert ("hard-brake", "lead") not in kinds(scene(hidden))


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    for name, made in (("a", scene(BRAKING)), ("deep/b", scene(GHOST)), ("deep/c", scene(LEAD))):
        (tmp_path / "logs" / name).parent.mkdir(parents=True, exist_ok=True)
        save_scene(made, tmp_path / "logs" / name)
    (tmp_path / "logs" / "notes.txt").write_text("no log")
    return tmp_path / "logs"


def test_a_folder_is_mined_and_a_second_call_takes_what_is_there(logs: Path, tmp_path: Path) -> None:
    out = tmp_path / "mined"
    first = mine(logs, out, workers=1)
    assert (first["scenes"], first["taken"]) == (3, 0)
    assert first["moments"]["hard-brake"] == first["moments"]["wrong-way"] == 1
    index = pyarrow.parquet.read_table(first["index"]).to_pylist()
    assert {(Path(row["log"]).name, row["kind"], row["actor"]) for row in index} >= {
        ("a.json", "hard-brake", "lead"),
        ("b.json", "wrong-way", "ghost"),
    }
    before = (out / "index.parquet").read_bytes()
    save_scene(scene(BESIDE), logs / "deep" / "b")
    second = mine(logs, out, workers=1)
    assert (second["taken"], second["moments"]["wrong-way"]) == (2, 0)
    save_scene(scene(GHOST), logs / "deep" / "b")
    mine(logs, out, workers=1)
    assert (out / "index.parquet").read_bytes() == before


def test_a_damaged_log_is_listed_and_the_rest_goes_on(logs: Path, tmp_path: Path) -> None:
    (logs / "a.npz").write_bytes(b"broken")
    result = CliRunner().invoke(
        app, ["datasets", "mine", str(logs), "--out", str(tmp_path / "out"), "--workers", "1", "--json"]
    )
    assert result.exit_code == 0, result.exception
    found = json.loads(result.stdout)
    assert found["scenes"] == 2
    assert [Path(row["log"]).name for row in found["failed"]] == ["a.json"]
    assert json.loads((tmp_path / "out" / "failures.json").read_text()) == found["failed"]


def test_folders_without_logs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no recorded log"):
        mine(tmp_path, tmp_path / "out", workers=1)
    with pytest.raises(InputError, match="is no folder"):
        list(logs_below(tmp_path / "none"))
