"""What every other room stands on: checks at the door, arrays, memory, the GPU, the backends."""
