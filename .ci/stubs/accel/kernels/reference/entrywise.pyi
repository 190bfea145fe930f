from kernels.reference.entrywise import *
