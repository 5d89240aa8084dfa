"""The examples of vla_model/README.md that need neither a GPU nor files of the reader run as they are printed."""

import re
from pathlib import Path
from typing import Any

import torch

README = (Path(__file__).parents[2] / "vla_model" / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def example(word: str) -> str:
    """Return the only example that contains a word."""
    (found,) = [text for text in EXAMPLES if word in text]
    return found


def test_the_engine_and_attach_examples_run() -> None:
    names: dict[str, Any] = {"torch": torch}
    exec(example("cache_prefix"), names)
    assert [len(result.tokens) for result in names["results"]] == [20, 64]
    exec(example("engine.attach"), names)
    assert len(names["numbers"]) == 4
    assert not names["engine"].busy


def test_the_shipped_checkpoint_has_a_training_note() -> None:
    names: dict[str, Any] = {}
    exec(example("training_note"), names)
    assert isinstance(names["training_note"](names["SHIPPED"]), dict)
