"""Measuring: benchmarks and, above all, what they cannot show."""
