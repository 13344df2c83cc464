"""Side tables: small statistics of every tensor, computed once, from which thresholds and angles come free."""
