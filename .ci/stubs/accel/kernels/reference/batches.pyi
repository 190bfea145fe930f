from kernels.reference.batches import *
