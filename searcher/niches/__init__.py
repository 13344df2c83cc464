"""Natural niches: an archive whose members compete for examples, and crossover of models; pure numpy."""
