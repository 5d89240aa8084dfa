"""Certificates: a scenario is solved by a stored trajectory, shown unavoidable, or unknown after a stated effort."""

from alpamayo.certification.certify import REFERENCES, SOLVERS, certify, verify
from alpamayo.certification.checker import MotionLimits

__all__ = ["REFERENCES", "SOLVERS", "MotionLimits", "certify", "verify"]
