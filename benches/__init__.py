"""Measurements: variants interleaved in one run, medians, compile time apart."""
