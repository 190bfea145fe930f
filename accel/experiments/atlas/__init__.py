"""A phase diagram of implicit acceleration: what depth does to gradient descent, and where."""
