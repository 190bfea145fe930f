"""The reference optimum of a problem: damped Newton steps, and a bound of what is left."""
