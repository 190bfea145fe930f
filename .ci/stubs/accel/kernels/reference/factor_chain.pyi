from kernels.reference.factor_chain import *
