"""The explorer: a run's exact regions at any zoom and over its epochs, in a browser, live or as a file of its own."""
