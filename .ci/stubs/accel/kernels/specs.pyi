from kernels.specs import *
