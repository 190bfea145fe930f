"""Compiled and reference kernels: arrays in, arrays out.

One folder a backend (``reference``, ``cpu``, ``cuda``), with the same files in each: ``lp_loss``,
``factor_chain``, ``updates``, ``precondition``, ``loop``, ``chunks`` and ``needs``. What each of
them offers is in ``protocols``; the names and numbers that all backends share are in ``specs``;
``sources`` knows what compiled kernels were made from.
"""
