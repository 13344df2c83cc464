"""Scoring and generating text with the live model: requests, their tokens, and the runners that answer them."""
