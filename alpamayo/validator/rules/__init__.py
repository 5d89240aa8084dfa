"""The rules: each takes a ``MotionBatch`` and gives a ``RuleResult``."""
