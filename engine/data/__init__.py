"""An image file to points that train and validate."""
