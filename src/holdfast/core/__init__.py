"""What is decided: pure functions over records, without I/O, clock, randomness or logging."""
