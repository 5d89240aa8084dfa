"""What is installed, what is missing and what that costs, and how fast this machine is."""

import importlib.util
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Any

from alpamayo.provenance import code_version

DISTRIBUTION = "alpamayo"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
COMPILERS = ("cc", "gcc", "clang")
MEASURED_STEPS = 20
MEASURED_PLANS = 64


class State(StrEnum):
    """Whether a part is there; what is MISSING is needed, what is OPTIONAL is for those who use it."""

    OK = "ok"
    OPTIONAL = "optional"
    MISSING = "missing"


@dataclass(frozen=True)
class Finding:
    """One part: what it is, whether it is there, its version or place, and what to do."""

    name: str
    state: State
    found: str
    advice: str = ""


@dataclass(frozen=True)
class Measurement:
    """One figure of speed."""

    name: str
    value: float
    unit: str


def examine(*, measure: bool = True) -> dict[str, Any]:
    """Examine the installation and, unless told otherwise, the speed of this machine.

    Returns:
        JSON values: ``code_version``, ``machine``, ``findings``, ``speed``, ``load`` (running processes per core during
        the measurements, above 1 on a busy machine), and ``complete``, whether nothing that is needed is missing.
    """
    findings = [*_packages(), *_extras(), *_tools(), *_devices(), *_weights()]
    cores = os.cpu_count() or 1
    return {
        "code_version": code_version(),
        "machine": {
            "system": platform.platform(),
            "python": platform.python_version(),
            "processor": _processor(),
            "cores": cores,
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        },
        "findings": [asdict(finding) for finding in findings],
        "speed": [asdict(row) for row in _speed()] if measure else [],
        "load": round(os.getloadavg()[0] / cores, 2),
        "complete": all(finding.state != State.MISSING for finding in findings),
    }


def _packages() -> Iterator[Finding]:
    for name, _ in _required(lambda extra: extra is None):
        version = _version(name)
        advice = "" if version else f"pip install '{DISTRIBUTION}'"
        yield Finding(name, State.OK if version else State.MISSING, version, advice)


def _extras() -> Iterator[Finding]:
    """Yield one finding for each extra: which of its packages are missing."""
    by_extra: dict[str, list[str]] = {}
    for name, extra in _required(lambda extra: extra is not None):
        by_extra.setdefault(str(extra), []).append(name)
    for extra, names in sorted(by_extra.items()):
        lacks = [name for name in names if not _version(name)]
        found = f"lacks {', '.join(lacks)}" if lacks else f"{len(names)} packages"
        advice = f"pip install --editable '.[{extra}]'" if lacks else ""
        yield Finding(f"extra {extra}", State.OPTIONAL if lacks else State.OK, found, advice)


def _tools() -> Iterator[Finding]:
    yield _program("compiler", COMPILERS, "Triton on a GPU needs one: apt-get install gcc")
    yield _program("browser", BROWSERS, "for the tests of the pages: apt-get install chromium")
    has_encoder = importlib.util.find_spec("imageio_ffmpeg") is not None
    yield Finding("video encoder", State.OK if has_encoder else State.MISSING, "imageio-ffmpeg" if has_encoder else "")


def _devices() -> Iterator[Finding]:
    """Yield the GPU as PyTorch sees it."""
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    advice = "" if name else "none is needed; the engine, the sensors and training are faster with one"
    yield Finding("NVIDIA GPU", State.OK if name else State.OPTIONAL, name, advice)


def _weights() -> Iterator[Finding]:
    """Yield the weights that ship with the drivers."""
    from alpamayo.drivers.registry import BUILT_IN, shipped_checkpoint

    for name, entry in BUILT_IN.items():
        path = shipped_checkpoint(name) if entry.weights is not None else None
        if path is not None:
            there = path.is_file()
            found = f"{path.stat().st_size / 1e6:.0f} MB" if there else ""
            advice = "" if there else f"{path} is not there; give --checkpoint or install again"
            yield Finding(f"weights of {name}", State.OK if there else State.MISSING, found, advice)


def _program(what: str, names: tuple[str, ...], advice: str) -> Finding:
    path = next((path for path in map(shutil.which, names) if path), None)
    return Finding(what, State.OK if path else State.OPTIONAL, path or "", "" if path else advice)


def _required(wanted: Callable[[str | None], bool]) -> Iterator[tuple[str, str | None]]:
    """Yield the packages that the distribution names, with the extra that needs each."""
    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:  # the sources on the path, not installed
        lines = []
    for line in lines:
        name, extra = re.match(r"[A-Za-z0-9._-]+", line), re.search(r"extra\s*==\s*['\"]([^'\"]+)", line)
        if name and wanted(extra[1] if extra else None) and ("sys_platform" not in line or sys.platform in line):
            yield name[0], extra[1] if extra else None


def _version(name: str) -> str:
    """Return the version of an installed package; empty for none."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    """Return the name of the processor as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        return platform.processor()


def _speed() -> Iterator[Measurement]:
    """Measure the parts of an episode, each for well under a second where kernels are compiled already."""
    import numpy as np

    from alpamayo_scenarios.families import make_scenario
    from alpamayo_sim.datatypes.rig import default_rig
    from alpamayo_sim.engine import WorldBatch
    from alpamayo_sim.sensors import CameraRenderer

    began = time.perf_counter()
    scenario = make_scenario("cut-in", seed=3)
    yield Measurement("make a scenario", 1e3 * (time.perf_counter() - began), "ms")
    began = time.perf_counter()
    world = WorldBatch([scenario])
    world.step(np.zeros((1, 2), np.float32))
    renderer = CameraRenderer(scenario.scene, default_rig())
    renderer.draw(world[0].ground_truth())
    yield Measurement("load or compile the kernels", time.perf_counter() - began, "s")
    per_step = _mean_s(lambda: world.step(np.zeros((1, 2), np.float32)))
    yield Measurement("one world", 1.0 / per_step, "steps/s")
    yield Measurement("four cameras", 1.0 / _mean_s(lambda: renderer.draw(world[0].ground_truth())), "sets/s")
    yield from _score_speed(scenario)


def _score_speed(scenario: Any) -> Iterator[Measurement]:
    import numpy as np

    from alpamayo.validator import score_plans
    from alpamayo_sim.datatypes.decision import PLAN_STEPS

    plans = np.zeros((MEASURED_PLANS, PLAN_STEPS, 4), np.float32)
    score_plans(scenario.scene, plans, 0)
    seconds = _mean_s(lambda: score_plans(scenario.scene, plans, 0), 3)
    yield Measurement("validator", MEASURED_PLANS / seconds, "plans/s")


def _mean_s(work: Callable[[], Any], times: int = MEASURED_STEPS) -> float:
    """Return the mean time (s) of some work."""
    began = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - began) / times
