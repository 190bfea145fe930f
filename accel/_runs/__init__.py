"""Runs of models on a problem: driven in chunks, recorded, stopped, saved and resumed."""
