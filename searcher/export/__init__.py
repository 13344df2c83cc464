"""Turning a point of a run into an ordinary model folder, and proving it."""
