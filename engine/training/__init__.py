"""Training: a state, data and a schedule. Writes no files."""
