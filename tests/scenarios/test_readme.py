"""The examples of the wing's README run as they are written."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "scenarios" / "README.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_runs(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(EXAMPLES[number], f"{README.name}, example {number}", "exec"), {})
