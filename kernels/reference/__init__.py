"""Plain NumPy: the readable definition that every other backend is tested against."""
