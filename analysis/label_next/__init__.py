"""Which images to label next, and what choosing them is worth against random."""
