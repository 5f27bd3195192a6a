"""The networks in training: their parameters, and what can be said of them."""
