"""The rules: each takes a ``Situation`` and gives a ``RuleResult``."""
