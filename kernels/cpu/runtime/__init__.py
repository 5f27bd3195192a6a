"""What the CPU's kernels stand on: threads that share tasks, vectors, and the innermost loops."""
