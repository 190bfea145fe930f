"""The groups of benchmarks: what is measured, and the tables that are made of it."""
