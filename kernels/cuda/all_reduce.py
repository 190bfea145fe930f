"""The all-reduce of a resident run: its blocks add up what each has, by messages alone (``ptx``).

Entries of the sums are shared out among the blocks. Each block adds up its own over all blocks, in
their order, and sends everybody the totals. One mailbox is enough: a block that posts the partial
sums of all-reduce t + 1 has all totals of t, so their owners have read the partial sums of t; and a
block that posts totals of t + 1 has everybody's partial sums of it, so everybody has read the
totals of t.
"""

from functools import cache
from typing import Any

import numpy as np
from numba import cuda

from .factor_chain import SHIFT
from .jit import THREADS, WARP, device
from .ptx import arrived, bits32, bits64, float32_of, joined, load_pair, low_word, post
from .reduce import this_thread, warp_sum
from .resident_layout import ResidentLayout, shared_memory

#: Times that a thread reads a word before it gives up, which takes seconds.
_PATIENCE = 2**23


@cache
def make_all_reduce(dtype: np.dtype[Any], layout: ResidentLayout) -> Any:
    """Make the parts of an all-reduce; the mailbox of a team begins at ``box``.

    ``send(mail, at, tag, floats, doubles)`` posts a block's sums, added up over its warps.
    ``gather(mail, box, member, blocks, inverse, tag, floats, doubles)`` adds up the block's own
    entries over all blocks and posts the totals; there is one barrier in it. ``receive(mail, box,
    blocks, q, tag)`` waits for pair q of the totals. The last two say whether all has come.
    """
    single, scalar, places = dtype.itemsize == 4, dtype.type, shared_memory(dtype, layout)
    warps, pairs, step = THREADS // WARP, layout.pairs(dtype), layout.size + layout.size % 2
    last, partial, collected, losses = pairs - 1, places.partial, places.collected, places.losses
    of_blocks = losses + warps

    @device
    def wait(mail, at, tag):
        patience = _PATIENCE
        pair = load_pair(mail, at)
        while patience > 0 and not arrived(pair, tag):
            pair = load_pair(mail, at)
            patience -= 1
        return pair, patience > 0

    @device
    def post_double(mail, at, tag, value):
        bits = bits64(value)
        post(mail, at, tag, low_word(bits), bits >> np.uint64(32))

    @device
    def send(mail, at, tag, floats, doubles):
        for q in range(this_thread(), pairs, THREADS):
            if q == last:
                loss = 0.0
                for w in range(warps):
                    loss += doubles[losses + w]
                post_double(mail, at + 2 * q, tag, loss)
            elif single:
                low, high = scalar(0), scalar(0)
                for w in range(warps):
                    low += floats[partial + w * step + 2 * q]
                    high += floats[partial + w * step + 2 * q + 1]
                post(mail, at + 2 * q, tag, bits32(low), bits32(high))
            else:
                total = scalar(0)
                for w in range(warps):
                    total += floats[partial + w * step + q]
                post_double(mail, at + 2 * q, tag, total)

    @device
    def gather(mail, box, member, blocks, inverse, tag, floats, doubles):
        thread, all_here = this_thread(), True
        # Pairs member, member + blocks, ...; every thread waits for one sender's part of one.
        for i in range(thread, pairs + blocks, THREADS):
            own = (i * inverse) >> SHIFT
            sender, q = i - own * blocks, member + own * blocks
            if q < pairs:
                pair, here = wait(mail, box + 2 * (sender * pairs + q), tag)
                all_here &= here
                if q == last:
                    doubles[of_blocks + sender] = joined(pair)
                elif single:
                    floats[collected + 2 * i] = float32_of(pair[0])
                    floats[collected + 2 * i + 1] = float32_of(pair[1])
                else:
                    floats[collected + i] = joined(pair)
        cuda.syncthreads()
        lane = thread % WARP
        own = thread // WARP
        q = member + own * blocks
        while q < pairs:
            low, high = scalar(0), scalar(0)
            total = 0.0
            for sender in range(lane, blocks, WARP):
                i = own * blocks + sender
                if q == last:
                    total += doubles[of_blocks + sender]
                elif single:
                    low += floats[collected + 2 * i]
                    high += floats[collected + 2 * i + 1]
                else:
                    total += floats[collected + i]
            at = box + 2 * (blocks * pairs + q)
            if single and q < last:
                low, high = warp_sum(low), warp_sum(high)
                if lane == 0:
                    post(mail, at, tag, bits32(low), bits32(high))
            else:
                total = warp_sum(total)
                if lane == 0:
                    post_double(mail, at, tag, total)
            own, q = own + warps, q + warps * blocks
        return all_here

    @device
    def receive(mail, box, blocks, q, tag):
        return wait(mail, box + 2 * (blocks * pairs + q), tag)

    return send, gather, receive
