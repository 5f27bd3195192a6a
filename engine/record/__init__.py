"""What a run leaves: its log, table, plots, frames, film and checkpoints."""
