from kernels.reference.twofold import *
