"""Many networks trained by one command: which ones, and a sheet and plots that show them beside each other."""
