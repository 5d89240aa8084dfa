"""Training of the belief driver: all stages, in small, and the file that they end in."""

from pathlib import Path

import numpy as np
import pytest
import torch

from alpamayo.training.belief import BeliefPlan, train_belief
from alpamayo_sim.errors import InputError
from alpamayo_vla_model.belief_model import BeliefModel, load_belief, save_belief
from alpamayo_vla_model.driver import load_driver
from alpamayo_vla_model.perception.network import PerceptionConfig, PerceptionNetwork
from alpamayo_vla_model.weights_file import training_note

SMALL = BeliefPlan(
    driven=0,
    scattered=1,
    perception_steps=1,
    believed=1,
    unseen_believed=0,
    reasoner_steps=1,
    seed=5,
    families=("stopped-lead",),
)


def test_all_stages_end_in_a_driver_and_are_kept(tmp_path: Path) -> None:
    stages: list[str] = []
    path = train_belief(
        tmp_path, SMALL, image_size=(32, 64), workers=1, progress=lambda what, done, total: stages.append(what)
    )
    assert list(dict.fromkeys(stages)) == ["collect", "perception", "reasoner"]
    note = training_note(path)
    assert (note["seed"], note["families"]) == (5, ["stopped-lead"])
    driver = load_driver(path)
    assert driver.reasoner is not None
    assert len(driver.weights_digest) == 64
    made = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if file.suffix in (".npz", ".pt", ".jsonl")}
    before = path.read_bytes()
    stages.clear()
    again = train_belief(
        tmp_path, SMALL, image_size=(32, 64), workers=1, progress=lambda what, done, total: stages.append(what)
    )
    assert again.read_bytes() == before
    assert set(stages) == {"collect"}  # which says at once that all is there
    assert made == {file: file.stat().st_mtime_ns for file in made}


def test_weights_come_back_with_and_without_a_reasoner(tmp_path: Path) -> None:
    small = PerceptionNetwork(PerceptionConfig(width=16, deep=32), seed=3)
    save_belief(BeliefModel.of(small), tmp_path / "eyes.safetensors", {"seed": 3})
    read = load_belief(tmp_path / "eyes.safetensors")
    assert read.reasoner is None
    assert read.perception.config == small.config
    for name, value in small.state_dict().items():
        torch.testing.assert_close(read.perception.state_dict()[name], value, atol=1e-3, rtol=1e-3)


def test_the_same_weights_are_the_same_bytes(tmp_path: Path) -> None:
    """The order of a file's notes is not left to chance."""
    model = BeliefModel.of(PerceptionNetwork(PerceptionConfig(width=16, deep=32), seed=3))
    for number in range(6):
        save_belief(model, tmp_path / f"{number}.safetensors", {"seed": 3})
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


@pytest.mark.parametrize("plan", [{"driven": -1}, {"believed": 0}, {"seed": 9_900}, {"perception_steps": 0}])
def test_a_plan_that_cannot_be_is_refused_before_any_work(plan: dict[str, int]) -> None:
    with pytest.raises(InputError, match="training"):
        BeliefPlan(**plan)  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [0, 24, 2048, True, "64", np.int64(64)])
def test_shapes_that_cannot_be_are_refused(width: object) -> None:
    with pytest.raises(InputError, match=r"perception: width is .* must be a multiple of 16 in"):
        PerceptionConfig(width=width)  # type: ignore[arg-type]


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    from alpamayo_vla_model.end_to_end.checkpoint import SHIPPED

    with pytest.raises(InputError, match="is no checkpoint of a belief driver"):
        load_belief(SHIPPED)
