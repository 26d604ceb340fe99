"""Speed: our runs against the paper's way of training, in one run of one machine."""
