from kernels.reference.rotation import *
