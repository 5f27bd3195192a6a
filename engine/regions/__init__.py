"""Exact regions of a checkpoint or a run: exported, drawn, measured, and followed from epoch to epoch."""
