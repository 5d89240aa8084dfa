"""Attributes of XML elements as numbers and words; messages name the file, the line and the element."""

import math
from xml.etree.ElementTree import Element

from alpamayo_datasets.xml_files import line_of
from alpamayo_sim.errors import InputError, shown

GREATEST = 1e9  # magnitude of a number in a file


def place(element: Element, where: str) -> str:
    """Return the file, the line and the tag of an element, for messages."""
    return f"{where}: line {line_of(element)}: {element.tag}"


def number(element: Element, name: str, where: str, default: float | None = None) -> float:
    """Return an attribute as a finite number.

    Raises:
        InputError: It is missing and has no default, or it is no finite number of at most 1e9.
    """
    text = element.get(name)
    if text is None and default is not None:
        return default
    try:
        value = float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        value = math.nan
    if not abs(value) <= GREATEST:
        raise InputError(f"{place(element, where)}: {name} is {shown(text)}, must be a finite number")
    return value


def whole(element: Element, name: str, where: str, default: int | None = None) -> int:
    """Return an attribute as a whole number.

    Raises:
        InputError: It is missing and has no default, or it is no whole number.
    """
    value = number(element, name, where, None if default is None else float(default))
    if value != int(value):
        raise InputError(f"{place(element, where)}: {name} is {value:g}, must be a whole number")
    return int(value)


def word(element: Element, name: str, where: str) -> str:
    """Return an attribute as text.

    Raises:
        InputError: It is missing.
    """
    text = element.get(name)
    if text is None:
        raise InputError(f"{place(element, where)}: has no {name}")
    return text


def child(element: Element, tag: str, where: str) -> Element:
    """Return the first child of a tag.

    Raises:
        InputError: There is none.
    """
    found = element.find(tag)
    if found is None:
        raise InputError(f"{place(element, where)}: has no {tag}")
    return found
