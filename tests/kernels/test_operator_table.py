"""The table of operators agrees with the folders, the documentation and the benchmarks."""

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path

import pytest

import alpamayo_kernels
from alpamayo_kernels.operators import OPERATORS, Operator
from alpamayo_kernels.tuning import SETTINGS

PACKAGE = Path(alpamayo_kernels.__file__).parent
KERNELS = PACKAGE.parent
NOT_OPERATORS = {"cpu_step", "linear"}  # dispatch by themselves, without a Triton version


def test_every_folder_is_in_the_table_once():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} - NOT_OPERATORS
    assert sorted(operator.name for operator in OPERATORS) == sorted(folders)


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.name)
def test_an_operator_has_what_the_table_says(operator: Operator):
    package = importlib.import_module(f"alpamayo_kernels.{operator.name}")
    for module in filter(None, (operator.pytorch, *operator.triton)):
        assert importlib.util.find_spec(f"alpamayo_kernels.{operator.name}.{module}")
    for name in operator.functions:
        function = getattr(package, name)
        home = f"alpamayo_kernels.{operator.name}" + (".naive" if operator.pytorch else "")
        reference = getattr(importlib.import_module(home), name)
        both = zip(inspect.signature(function).parameters, inspect.signature(reference).parameters, strict=False)
        assert all(one == other for one, other in both)
        for parameter, kind in inspect.get_annotations(function).items():
            if parameter != "return" and kind.startswith("Tensor"):
                assert f"        {parameter}: " in function.__doc__
                assert "``[" in function.__doc__.split(f"        {parameter}: ")[1].split("\n        ")[0]


def test_the_readme_lists_every_operator():
    readme = (KERNELS / "README.md").read_text()
    for operator in OPERATORS:
        line = next(line for line in readme.splitlines() if line.startswith(f"| `{operator.name}` |"))
        assert all(f"`{name}`" in line for name in operator.functions)
        assert f"`{operator.pytorch}.py`" in line


def test_every_setting_is_tuned_and_every_operator_timed(monkeypatch):
    pytest.importorskip("triton", reason="Triton is there on Linux only")
    monkeypatch.syspath_prepend(str(KERNELS / "benchmarks"))
    tune = importlib.import_module("tune")
    assert tune.CANDIDATES.keys() == SETTINGS.keys()
    cases = inspect.getsource(sys.modules["operators"])
    assert all(f'versions("{each.name}"' in cases or f'triton_of("{each.name}")' in cases for each in OPERATORS)
