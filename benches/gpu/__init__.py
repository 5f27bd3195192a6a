"""The Triton kernels and the program on a GPU: right first, then how fast. See `__main__.py`."""
