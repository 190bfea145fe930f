from kernels.reference.norms import *
