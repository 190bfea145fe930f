"""For mypy in a checkout, where the package accel.kernels lies in kernels/."""
