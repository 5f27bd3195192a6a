"""Arithmetic on tensors: the fused network and its code length. Knows no files, flags or logs."""
