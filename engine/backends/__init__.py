"""One interface over the arithmetic of `kernels`, a file a kind."""
