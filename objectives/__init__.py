"""Objectives: a live model becomes a score; one file each."""
