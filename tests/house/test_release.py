"""The wheel has what a drive elsewhere needs, and nothing that belongs to the repository alone."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "alpamayo",
    "alpamayo_sim",
    "alpamayo_scenarios",
    "alpamayo_datasets",
    "alpamayo_vla_model",
    "alpamayo_kernels",
)
NEEDED = {
    "alpamayo/report/templates/episode_page.html.j2",
    "alpamayo/py.typed",
    "alpamayo_kernels/cpu_step/step.h",
    "alpamayo_scenarios/suites/long-tail-6.json",
    "alpamayo_scenarios/suites/certified/longtail-60.npz",
    "alpamayo_vla_model/checkpoints/tiny.safetensors",
    "alpamayo_vla_model/checkpoints/end_to_end.safetensors",
}
MAX_WEIGHTS_BYTES = 32_000_000


@pytest.fixture(scope="module")
def wheel() -> dict[str, Path]:
    builder = pytest.importorskip("hatchling.builders.wheel", reason="hatchling is not installed").WheelBuilder
    files = builder(str(ROOT)).recurse_included_files()
    return {each.distribution_path: Path(each.path) for each in files}


def test_everything_that_a_drive_needs_is_inside(wheel: dict[str, Path]) -> None:
    assert wheel.keys() >= NEEDED
    tops = [ROOT, *(ROOT / wing for wing in ("sim", "scenarios", "datasets", "vla_model", "kernels"))]
    modules = {
        path.relative_to(top).as_posix() for top in tops for name in PACKAGES for path in (top / name).rglob("*.py")
    }
    assert {name.split("/")[0] for name in modules} == set(PACKAGES)
    assert modules <= wheel.keys()


def test_nothing_of_the_repository_alone_is_inside(wheel: dict[str, Path]) -> None:
    assert {name.split("/")[0] for name in wheel} == set(PACKAGES)
    assert not [name for name in wheel if "__pycache__" in name or name.endswith((".pyc", ".orig", ".log"))]


def test_shipped_weights_are_small(wheel: dict[str, Path]) -> None:
    sizes = [path.stat().st_size for name, path in wheel.items() if name.endswith(".safetensors")]
    assert len(sizes) == 2
    assert max(sizes) < MAX_WEIGHTS_BYTES
