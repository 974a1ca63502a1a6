"""Places that keep named immutable bytes: one contract (core.ports.Store), one module each."""
