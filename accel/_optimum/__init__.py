"""The reference optimum of a problem: Newton's method, and a proven bound of its distance."""
