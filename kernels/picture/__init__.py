"""Arithmetic on pixels: which points of a grid must be evaluated, and panels put together; NumPy arrays, compiled."""
