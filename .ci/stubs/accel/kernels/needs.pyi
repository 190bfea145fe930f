from kernels.needs import *
