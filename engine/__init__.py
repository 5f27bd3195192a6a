"""Runs the kernels on an image: training, resuming, drawing, filming."""

__version__ = "0.1.0"
