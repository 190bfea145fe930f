from kernels.reference.philox import *
