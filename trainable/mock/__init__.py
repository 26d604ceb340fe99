"""A rendered mock survey of galaxies, for trying things offline."""
