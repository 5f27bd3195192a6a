"""Training: a state, data and a schedule. Knows no files."""
