"""Racing: stopping a candidate that cannot reach the front before all its examples are scored."""
