"""Parameters of a scenario file: ``$name`` and ``${expression}``, replaced in all attributes.

Operators and functions: ASAM OpenSCENARIO XML 1.2, section 9.2. Nothing is executed: an expression is parsed into a
tree of which only these are evaluated.
"""

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any
from xml.etree.ElementTree import Element

from alpamayo_datasets.xml_elements import place
from alpamayo_datasets.xml_files import LINE
from alpamayo_sim.errors import InputError

MAX_EXPRESSION = 500  # characters
MAX_POWER = 64.0
NAME = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
OPERATORS: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
}
FUNCTIONS: Mapping[str, Callable[..., float]] = {
    "round": round,
    "floor": math.floor,
    "ceil": math.ceil,
    "sqrt": math.sqrt,
    "abs": abs,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "min": min,
    "max": max,
    "sign": lambda value: math.copysign(1.0, value) if value else 0.0,
}


def declared(element: Element, scope: Mapping[str, str], where: str) -> dict[str, str]:
    """Return the parameters of a scope with those that an element declares and does not get from outside."""
    found = dict(scope)
    for item in element.findall("ParameterDeclarations/ParameterDeclaration"):
        name, value = item.get("name"), item.get("value")
        if name is None or value is None:
            raise InputError(f"{place(item, where)}: needs a name and a value")
        found.setdefault(name, text_of(value, found, item, where))
    return found


def resolved(element: Element, scope: Mapping[str, str], where: str) -> Element:
    """Return a copy of an element in which all parameters are replaced; inner declarations hold within.

    Raises:
        InputError: A parameter is not declared, or an expression cannot be evaluated.
    """
    inner = declared(element, scope, where)
    copy = Element(element.tag, {name: text_of(value, inner, element, where) for name, value in element.items()})
    copy.text = element.text
    for item in element:
        if item.tag != "ParameterDeclarations":
            copy.append(resolved(item, inner, where))
    return copy


def text_of(value: str, scope: Mapping[str, str], element: Element, where: str) -> str:
    """Return an attribute's value without parameters."""
    if "$" not in value or value == LINE:
        return value
    if value.startswith("${") and value.endswith("}"):
        return _evaluated(_replaced(value[2:-1], scope, element, where))
    return _replaced(value, scope, element, where)


def _replaced(value: str, scope: Mapping[str, str], element: Element, where: str) -> str:
    def one(match: re.Match[str]) -> str:
        if match[1] not in scope:
            raise InputError(f"{place(element, where)}: there is no parameter ${match[1]}")
        return scope[match[1]]

    return NAME.sub(one, value)


def _evaluated(expression: str) -> str:
    """Return the value of an expression; its own text if it is no formula of numbers, such as the parts of a name."""
    if len(expression) > MAX_EXPRESSION:
        return expression
    try:
        value = _value(ast.parse(expression.strip(), mode="eval").body)
    except (SyntaxError, ValueError, TypeError, ArithmeticError, RecursionError, KeyError):
        return expression
    return repr(float(value))


def _value(node: ast.expr) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _value(node.operand)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return float(OPERATORS[type(node.op)](_value(node.left), _value(node.right)))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        arguments = [_value(argument) for argument in node.args]
        if node.func.id == "pow" and len(arguments) == 2 and abs(arguments[1]) <= MAX_POWER:
            return float(arguments[0] ** arguments[1])
        return float(FUNCTIONS[node.func.id](*arguments))
    raise ValueError("not a formula")
