"""Pareto fronts of fitness vectors: dominance, hypervolume, knee, preference; pure numpy, always maximised."""
