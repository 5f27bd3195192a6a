"""A network as a file of few bits: its weights in bins, told by a range coder, read again to the bit anywhere."""
