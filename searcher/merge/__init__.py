"""The merge engine: recipes become weights in place."""
