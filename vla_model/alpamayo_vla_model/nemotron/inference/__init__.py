"""Decoding with a Nemotron model: the engine, drafters, grammars, and compiled or reduced-precision steps."""

from alpamayo_vla_model.nemotron.inference.cpu_compiled import CompiledModel, can_compile, compile_for_cpu
from alpamayo_vla_model.nemotron.inference.cuda_graph import GraphDecoder
from alpamayo_vla_model.nemotron.inference.drafting import (
    ModelDrafter,
    MTPDrafter,
    PreviousAnswerDrafter,
    PromptLookup,
)
from alpamayo_vla_model.nemotron.inference.engine import Engine, Request, Result, generate
from alpamayo_vla_model.nemotron.inference.execution import execution_path
from alpamayo_vla_model.nemotron.inference.grammar import Constraint, Grammar, Thinking, Vocabulary
from alpamayo_vla_model.nemotron.inference.weight_only import store_weights

__all__ = [
    "CompiledModel",
    "Constraint",
    "Engine",
    "Grammar",
    "GraphDecoder",
    "MTPDrafter",
    "ModelDrafter",
    "PreviousAnswerDrafter",
    "PromptLookup",
    "Request",
    "Result",
    "Thinking",
    "Vocabulary",
    "can_compile",
    "compile_for_cpu",
    "execution_path",
    "generate",
    "store_weights",
]
