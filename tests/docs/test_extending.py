"""``docs/extending.md`` is followed literally: each of its changes is made in a copy of the code, and works there."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "extending.md"
PACKAGES = (
    "alpamayo",
    "sim/alpamayo_sim",
    "scenarios/alpamayo_scenarios",
    "datasets/alpamayo_datasets",
    "vla_model/alpamayo_vla_model",
    "kernels/alpamayo_kernels",
)
KINDS = ("A rule", "A family", "A log format", "A lens", "An operator", "A driver")
BLOCK = re.compile(r"```(?P<kind>python|diff|bash)(?: (?P<name>\S+))?\n(?P<text>.*?)```", re.DOTALL)


@dataclass
class Change:
    """What one section of the page asks for."""

    new_files: dict[str, str] = field(default_factory=dict)
    edits: list[tuple[str, str]] = field(default_factory=list)
    check: str = ""


def sections() -> dict[str, Change]:
    """Return the changes of the page by the title of their section."""
    found = {}
    for part in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        title, _, body = part.partition("\n")
        change = Change()
        for block in BLOCK.finditer(body):
            name, text = block["name"], block["text"]
            if block["kind"] == "diff":
                change.edits.append((name, text))
            elif name == "check":
                change.check = text
            elif name:
                change.new_files[name] = text
        found[title.strip()] = change
    return found


def edited(source: str, diff: str) -> str:
    """Apply a diff without line numbers: its context must be in the source exactly once."""
    lines = diff.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] in " -")
    after = "".join(line[1:] for line in lines if line[0] in " +")
    assert source.count(before) == 1, f"the page shows context that is not in the file once:\n{before}"
    return source.replace(before, after)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the six packages, without the weights."""
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__", "*.safetensors")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    return tmp_path


def test_the_page_has_all_six_kinds() -> None:
    assert tuple(sections()) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_touches_at_most_two_files(kind: str) -> None:
    change = sections()[kind]
    assert len({*change.new_files, *(name for name, _ in change.edits)}) <= 2
    assert len(change.new_files) <= 1
    assert change.check


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_works_as_the_page_says(kind: str, copy: Path) -> None:
    change = sections()[kind]
    for name, text in change.new_files.items():
        assert not (copy / name).exists()
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text(text, encoding="utf-8")
    for name, diff in change.edits:
        (copy / name).write_text(edited((copy / name).read_text(encoding="utf-8"), diff), encoding="utf-8")
    paths = [str((copy / package).parent) for package in PACKAGES]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", change.check], env=environment, cwd=copy, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
