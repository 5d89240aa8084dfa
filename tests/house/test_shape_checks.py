"""The shapes in annotations are checked while the tests run, in all modules but device code."""

import importlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shape_checks
import torch

ROOT = Path(__file__).parents[2]
LINE = np.zeros((4, 3))
WRONG: dict[str, tuple[Any, ...]] = {
    "alpamayo.metrics.criticality.tet": (np.array(1.0), 0.1),
    "alpamayo_sim.geometry.arc_length": (np.zeros(4),),
    "alpamayo_scenarios.conflicts.shortened": (np.zeros((4, 2), np.float32), 0.0),
    "alpamayo_datasets.motion.yaw_of": (LINE,),
    "alpamayo_vla_model.end_to_end.action_space.normalise": (torch.zeros(4, 3),),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_shape_is_refused(name: str) -> None:
    module, _, function = name.rpartition(".")
    with pytest.raises(TypeError, match="Type-check error"):
        getattr(importlib.import_module(module), function)(*WRONG[name])


def test_a_wrong_dtype_is_refused() -> None:
    from alpamayo_sim.map.frenet import central_headings

    with pytest.raises(TypeError, match="Type-check error"):
        central_headings(np.zeros((4, 2), np.float32))


def test_a_wrong_result_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from alpamayo_sim.map import frenet

    monkeypatch.setattr(frenet.np, "unwrap", lambda angles: angles[:-1])
    with pytest.raises(TypeError, match="return value"):
        frenet.central_headings(np.zeros((4, 2)))


def test_the_first_calls_of_each_test_are_checked() -> None:
    from alpamayo_sim.map.frenet import central_headings

    right, wrong = np.zeros((4, 2)), np.zeros((4, 2), np.float32)
    for _ in range(shape_checks.CHECKED_CALLS):
        central_headings(right)
    central_headings(wrong)
    shape_checks.next_test()
    with pytest.raises(TypeError, match="Type-check error"):
        central_headings(wrong)


def test_the_checks_can_be_switched_off(no_shape_checks: None) -> None:
    from alpamayo_sim.map.frenet import central_headings

    assert central_headings(np.zeros((4, 2), np.float32)).dtype == np.float32


def test_all_modules_are_checked_but_device_code() -> None:
    """Warp code is in ``kernels`` (and behind the compiled step), Triton code in ``triton*.py``."""
    packages = [ROOT / "alpamayo", *(path.parent for path in ROOT.glob("*/alpamayo_*/__init__.py"))]
    files = {
        ".".join(path.relative_to(package.parent).with_suffix("").parts)
        for package in packages
        for path in package.rglob("*.py")
        if path.stem != "__init__"
    }
    checked = set(shape_checks.host_modules())
    assert checked < files
    assert all(re.search(r"\.kernels|\.triton|\.cpu_step\.entry$", name) for name in files - checked)


def test_no_package_file_has_shapes() -> None:
    """The checks leave ``__init__`` out."""
    inits = [path for wing in shape_checks.WINGS for path in (ROOT / wing).rglob("__init__.py")]
    assert not [path for path in inits if "jaxtyping" in path.read_text("utf-8")]
