"""Planted bugs, one patch each, and the runner that proves a named test catches each (bugs/README.md)."""
