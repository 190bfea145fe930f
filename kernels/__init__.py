"""Compiled and reference kernels: arrays in, arrays out.

One folder a backend (``reference``, ``cpu``), the same five files in each: ``lp_loss``,
``factor_chain``, ``updates``, ``precondition`` and ``loop``. What the backends share, names and
numbers only, stands in ``specs``; ``sources`` knows what compiled kernels were made from.
"""
