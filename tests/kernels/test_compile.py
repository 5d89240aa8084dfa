"""Every kernel compiles for GPUs that are not there and fits their shared memory."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton", reason="Triton is there on Linux only")


def written() -> set[tuple[str, str]]:
    """All kernels that there are: one that is added must be compiled too."""
    root = Path(__file__).parents[2] / "kernels" / "alpamayo_kernels"
    return {
        (path.parent.name, name)
        for path in root.glob("*/*.py")
        for name in re.findall(r"^def (_\w+_kernel)\(", path.read_text(), re.MULTILINE)
    }


@pytest.mark.parametrize(
    "capability", [pytest.param(80, marks=pytest.mark.slow), 90, pytest.param(100, marks=pytest.mark.slow)]
)
def test_kernels_compile(capability, tmp_path):
    script = Path(__file__).with_name("compile_all.py")
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    run = subprocess.run(
        [sys.executable, str(script), str(capability)], capture_output=True, text=True, env=environment, check=False
    )
    assert run.returncode == 0, run.stderr[-2000:]
    lines = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    assert {line["kernel"] for line in lines} == {f"{package}.{name}" for package, name in written()}
    assert all(line["shared"] <= line["limit"] for line in lines)
    # Offsets: a stride below 2^31 is a 32-bit argument, but its product with an index may be larger.
    assert {line["kernel"]: line["narrow"] for line in lines if line["narrow"]} == {}
