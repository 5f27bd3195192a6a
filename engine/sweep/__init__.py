"""Many runs as one: their networks side by side in the same launches, each run's files as if it had been alone."""
