"""Benchmarks: ours and a peer in turn in one run, medians of at least three rounds."""
