"""Where a run begins: what it goes on from, whose files it may write, and what its machine must have ready."""
