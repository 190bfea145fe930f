from kernels.reference.losses import *
