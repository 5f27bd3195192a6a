"""A network's picture: drawn, and put together as a frame."""
