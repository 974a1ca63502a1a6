"""Exercises: a disaster that happened, played for real on a sample shop, answered, and held against the truth.

exercise("lying-disk", orders=2_000).is_won
"""

from __future__ import annotations

from holdfast.exercises.frame import Exercised
from holdfast.exercises.play import NAMES, exercise

__all__ = ["NAMES", "Exercised", "exercise"]
