"""Small commands that answer one question each: ``python -m benchmarks probes``."""
