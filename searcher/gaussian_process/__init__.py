"""Gaussian processes over the unit cube and the acquisition functions that choose the next genome.

The one door to BoTorch: strategies stay free of torch and hand over plain arrays.
"""
