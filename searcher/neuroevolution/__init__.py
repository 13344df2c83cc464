"""Evolution of small networks from scratch: populations of weights, crossover, mutation, fast scoring."""
