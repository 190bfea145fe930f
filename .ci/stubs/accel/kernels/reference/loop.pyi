from kernels.reference.loop import *
