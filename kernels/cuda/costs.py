r"""What things cost in a step, in cycles of a multiprocessor: see ``estimates``.

Written by the following command; edit nothing here.

    python -m benchmarks gpu fit benchmarks/results/nvidia-h200-2026-11-28.json \
    --layout=depth1-f32=117 --layout=depth1-f64=129 --layout=depth3-f32=117 \
    --layout=depth3-f64=129 --layout=wide-f32=117 --layout=sweep64-f32=22x6 \
    --layout=sweep64-f64=11x12
"""

#: By compute capability.
COSTS = {
    # NVIDIA H200, benchmarks/results/nvidia-h200-2026-11-28.json, 1980 MHz (clocks.sm at_start):
    # 30 figures, met within 6.6%, by root mean square 3.0%.
    (9, 0): {
        "rest": 6000.0,
        "instruction": 0.873,
        "exchange": 1100.0,  # an estimate, which no figure here tells
        "block": 2.84,
        "poll": 0.05,  # an estimate, which no figure here tells
        "pair": 0.0576,
        "factor": 1490.0,
        "chain": 0.319,
        "launches": 24000.0,  # an estimate, which no figure here tells
        "by_host": 100000.0,  # an estimate, which no figure here tells
        "byte": 0.000466,
        "multiply_add": 0.015625,  # an estimate, which no figure here tells
        "stage": 6000.0,  # an estimate, which no figure here tells
        "product": 0.025,  # an estimate, which no figure here tells
    },
}
