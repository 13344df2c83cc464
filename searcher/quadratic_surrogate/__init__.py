"""Quadratic surrogates of objectives: fit, leave-one-out error, and their Pareto front in a box; pure numpy."""
