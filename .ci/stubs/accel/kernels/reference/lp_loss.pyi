from kernels.reference.lp_loss import *
