"""Architectures, their pre-trained weights, and what a frozen backbone computes."""
