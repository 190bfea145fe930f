from kernels.reference.schedules import *
