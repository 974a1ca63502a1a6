"""KEEPS: the vault, format 1. Bytes ↔ objects, keys, signed chains, sites, verify and heal (docs/format.md)."""
