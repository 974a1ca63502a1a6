"""What a capture host remembers between runs: the index, the lock, and scratch space for one run.

Nothing here is needed to restore: all of it can be rebuilt from the vault and the source. A host that loses it
writes a new base.
"""
