"""Asking things whether they work. Each probe has `ask`: it returns what it saw, in words, or raises NotWell with what
is wrong; it may be cancelled at any time. It changes nothing where it asks.
"""
