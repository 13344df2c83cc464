"""A few examples that stand for all: chosen from the baselines' answers, with estimates of the full score."""
