"""The ground floor: checks of arguments, arrays, memory, the GPU, the choice of a backend."""
