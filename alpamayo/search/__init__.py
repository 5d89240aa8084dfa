"""Search for the parameters of a family at which a driver fails although the scenario can be solved."""

from alpamayo.search.search import search_failures

__all__ = ["search_failures"]
