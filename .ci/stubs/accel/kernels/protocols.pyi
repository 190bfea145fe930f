from kernels.protocols import *
