"""A problem, a network and an optimiser: the values that everything else is about."""
