from kernels.reference.entries import *
