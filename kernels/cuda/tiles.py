r"""The tiles route of a pass: many maps over one read of X, two products out of one tile.

A block brings a tile of rows into shared memory and goes over it twice:

    R = X W'     residuals; then slopes S and losses
    G += S' X

Tiles follow each other in two or three buffers: while one is worked on, the next ones are on their
way (``ptx``). G stays in registers until the block is through; the maps stay in shared memory.
Both products are made of register tiles whose operands are read in vectors of 16 bytes,

    residuals    4 rows by ``tall`` maps a thread; ``split`` threads share the columns of a row
    gradient     ``tall`` maps by ``wide`` vectors of columns; ``sharing`` threads share the rows

and the lanes of a warp are dealt out so that lane pairs (i, i ^ 1) read the same of one operand and
(i, i ^ 2) the same of the other: shared memory then answers in half as many cycles. Rows of X, W
and S are padded so that what a warp reads together lies in different banks.

What rounds, the size of a tile, who adds up what and how many slots there are, depends on the
problem, on the device and on the most maps that the run ever has. So a map has the same bits in any
company. Only ``tall`` goes with the maps of the launch: it decides how many maps a thread has, not
how it adds up for any of them.
"""

from functools import cache
from typing import Any

import numpy as np
from numba import cuda, types

from .jit import ALL, THREADS, WARP, Kernel, device, in_parts, pointer
from .losses import Code, is_long, is_margin, make_differentiate, make_of_residual
from .planning import makes_kernel
from .powers import data_type
from .ptx import commit, make_copy, make_load, make_wait, opaque, store
from .tiles_layout import (
    ROWS,
    TALL,
    TileShape,
    bits_of,
    deal,
    gradient_order,
    loss_bits,
    residual_order,
    round_up,
    shared_memory,
)

#: Multiply-adds in a loop that every compiler still unrolls; see ``in_parts``.
_UNROLLED = 64


@cache
def _make_pick(*bits: int) -> Any:
    """Make ``pick(thread)``: the number that these bits of it make."""
    places, count = (*bits, 0), len(bits)

    @device
    def pick(thread):
        number = 0
        for i in range(count):
            number |= (thread >> places[i] & 1) << i
        return number

    return pick


@device
def _keep(values, thread):
    """Leave values as they are."""


@cache
def _make_gather(size: int, *bits: int) -> Any:
    """Make ``gather(values, thread)``: add up so many over the threads that these bits tell apart.

    At every bit a thread keeps half of what it has, the upper half if its own bit is set.
    """
    if not bits:
        return _keep
    mask, half, rest = 1 << bits[0], size // 2, _make_gather(size // 2, *bits[1:])

    @device
    def gather(values, thread):
        upper = thread & mask != 0
        for i in range(half):
            low, high = values[i], values[i + half]
            other = cuda.shfl_xor_sync(ALL, low if upper else high, mask)
            values[i] = (high if upper else low) + other
        rest(values, thread)

    return gather


@cache
def _make_copy_rows(
    lanes: int, rows: int, length: int, stride: int, columns: int, wraps: bool = False
) -> Any:
    """Make ``copy_rows(floats, to, source, begin, beyond, shift)``: start to copy so many rows.

    Rows are ``stride`` elements apart in the source and ``columns`` in shared memory; of each,
    ``length`` elements are copied, from the one at ``shift`` on if it ``wraps``. The rows from the
    one ``beyond`` on, counted from row ``begin``, become zeros.
    """
    pieces = length // lanes
    abreast = min(round_up(pieces), THREADS)
    down = THREADS // abreast
    rounds, turns = -(-rows // down), -(-pieces // abreast)
    all_rows, all_pieces = rows % down == 0, pieces % abreast == 0
    copy = make_copy(lanes)

    @device
    def copy_rows(floats, to, source, begin, beyond, shift):
        first, piece_first = cuda.threadIdx.x // abreast, cuda.threadIdx.x % abreast
        column = piece_first * lanes
        to = opaque(to + first * columns + column)
        if wraps:
            column = (shift + column) % stride
        at = opaque((begin + first) * stride + column)
        left = np.int32(min(beyond - first, rows))
        for i in range(rounds):
            for j in range(turns):
                piece, along = piece_first + j * abreast, j * abreast * lanes
                if (all_rows or i * down < rows - first) and (all_pieces or piece < pieces):
                    there = i * down < left
                    copy(
                        floats, to + i * down * columns + along,
                        source, at + i * down * stride + along, there,
                    )  # fmt: skip

    return copy_rows


@cache
def _make_bring(dtype: np.dtype[Any], shape: TileShape) -> Any:
    """Make ``bring(data, floats, tile, buffer, start)``: start to copy a tile, and its targets.

    Rows after the last are zeros, and so are their targets: residuals that count nothing.
    """
    d, outputs, rows, kept = shape.d, shape.outputs, shape.rows, shape.kept
    smem = shared_memory(dtype, shape)
    columns, at_targets, at_tiles = smem.columns, smem.at_targets, smem.at_tiles
    copy_tile = _make_copy_rows(shape.lanes, rows, d, d, columns)
    copy_targets = _make_copy_rows(1, rows, kept, outputs, kept, kept < outputs)

    @device
    def bring(data, floats, tile, buffer, start):
        begin = tile * rows
        beyond = data.n - begin
        copy_tile(floats, at_tiles + buffer * rows * columns, data.X, begin, beyond, 0)
        copy_targets(floats, at_targets + buffer * rows * kept, data.Y, begin, beyond, start)

    return bring


@cache
def _make_finish(dtype: np.dtype[Any], code: Code, shape: TileShape) -> Any:
    """Make ``finish(floats, at, residuals, losses, p, at_y, target)``: a thread's slopes.

    They go to shared memory. A function that is long, such as a power that has to be computed, is
    too long to be there once for every residual; in a loop, they need a place that can be indexed:
    that of their slopes. For the losses of a margin what is given are products: their targets lie
    from ``at_y`` on, those of the first map at ``target``.
    """
    scalar, tall, outputs, kept = dtype.type, shape.tall, shape.outputs, shape.kept
    left, next_target = max(ROWS // shape.split, 1), shape.groups % shape.outputs
    down, along = shape.groups * shared_memory(dtype, shape).slopes, shape.rows // ROWS
    load_one, of_margin = make_load(1), is_margin(code)
    differentiate = (make_differentiate if of_margin else make_of_residual)(dtype, code)

    @device
    def finish(floats, at, residuals, losses, p, at_y, target):
        for entry in range(tall * left):
            a, i = entry // left, entry % left
            slope, value = differentiate(residuals[i * tall + a], p)
            store(floats, at + a * down + i * along, slope)
            losses[a] += value

    @device
    def finish_in_a_loop(floats, at, residuals, losses, p, at_y, target):
        for entry in range(tall * left):
            a, i = entry // left, entry % left
            store(floats, at + a * down + i * along, residuals[i * tall + a])
        for entry in range(tall):
            loss = scalar(0)
            for i in range(left):
                place = at + entry * down + i * along
                slope, value = differentiate(load_one(floats, place)[0], p)
                store(floats, place, slope)
                loss += value
            for a in range(tall):
                losses[a] += loss if a == entry else scalar(0)

    @device
    def finish_margins(floats, at, products, losses, p, at_y, target):
        for entry in range(tall * left):
            a, i = entry // left, entry % left
            store(floats, at + a * down + i * along, products[i * tall + a])
        for entry in range(tall):
            loss = scalar(0)
            for i in range(left):
                place = at + entry * down + i * along
                y = load_one(floats, at_y + i * along * kept + target)[0]
                slope, value = differentiate(load_one(floats, place)[0], y, p)
                store(floats, place, slope)
                loss += value
            for a in range(tall):
                losses[a] += loss if a == entry else scalar(0)
            target += next_target
            if outputs == kept:
                target -= outputs if target >= outputs else 0

    if of_margin:
        return finish_margins
    return finish_in_a_loop if is_long(code) else finish


@cache
def _make_slopes(dtype: np.dtype[Any], code: Code, shape: TileShape) -> Any:
    """Make ``slopes(floats, buffer, start, steps, p)``: the first product and what follows it.

    It returns a loss of one of the thread's maps, see ``loss_bits``.
    """
    scalar, vector = dtype.type, 16 // dtype.itemsize
    smem, dealt = shared_memory(dtype, shape), deal(residual_order(shape))
    tall, groups, split, rows = shape.tall, shape.groups, shape.split, shape.rows
    outputs, kept, columns = shape.outputs, shape.kept, smem.columns
    at_slopes, at_targets, at_tiles, stride = (
        smem.at_slopes, smem.at_targets, smem.at_tiles, smem.slopes
    )  # fmt: skip
    between, step = THREADS // (groups * split), split * vector
    of_tile, of_x = tall * ROWS, ROWS * vector
    halvings = min(bits_of(split), bits_of(ROWS))
    left, halves, wholes = ROWS >> halvings, dealt["split"][:halvings], dealt["split"][halvings:]
    masks, levels = (*(1 << bit for bit in wholes), 0), len(wholes)
    alone = sum(1 << bit for bit in wholes)
    group_of, row_of, part_of = (_make_pick(*dealt[of]) for of in ("group", "row", "split"))
    row_kept = _make_pick(*halves[::-1])
    gather_rows = _make_gather(of_tile, *halves)
    gather_losses = _make_gather(TALL, *loss_bits(shape))
    load, load_one = make_load(vector), make_load(1)
    finish, of_residual = _make_finish(dtype, code, shape), not is_margin(code)

    def make_part(begin: int, end: int) -> Any:
        @device
        def part(floats, at_w, x, dots):
            for a in range(begin, end):
                values = load(floats, at_w + a * groups * columns)
                for v in range(vector):
                    for i in range(ROWS):
                        dots[i * tall + a] += x[i * vector + v] * values[v]

        return part

    multiply = in_parts(tall, max(_UNROLLED // of_x, 1), make_part)

    @device
    def slopes(floats, buffer, start, steps, p):
        thread = opaque(cuda.threadIdx.x)
        group, row, part = group_of(thread), row_of(thread), part_of(thread)
        dots = cuda.local.array(of_tile, dtype)
        x = cuda.local.array(of_x, dtype)
        for i in range(of_tile):
            dots[i] = scalar(0)
        at_x = at_tiles + (buffer * rows + row) * columns + part * vector
        at_w = group * columns + part * vector
        for _ in range(steps):
            for i in range(ROWS):
                values = load(floats, at_x + i * between * columns)
                for v in range(vector):
                    x[i * vector + v] = values[v]
            multiply(floats, at_w, x, dots)
            at_x += step
            at_w += step
        gather_rows(dots, thread)
        for level in range(levels):
            for a in range(tall):
                dots[a] += cuda.shfl_xor_sync(ALL, dots[a], masks[level])
        row += row_kept(thread) * left * between
        at_y = at_targets + (buffer * rows + row) * kept
        # As many remainders as there are maps would take as many registers.
        target = group if kept < outputs else (start + group) % outputs
        if outputs > 1:
            target = opaque(target)
        if of_residual:
            for entry in range(tall * left):
                a, i = entry // left, entry % left
                dots[i * tall + a] -= load_one(floats, at_y + i * between * kept + target)[0]
                if i == left - 1:
                    target += groups % outputs
                    if outputs == kept:
                        target -= outputs if target >= outputs else 0
        losses = cuda.local.array(TALL, dtype)
        for a in range(TALL):
            losses[a] = scalar(0)
        if thread & alone == 0:
            finish(floats, at_slopes + group * stride + row, dots, losses, p, at_y, target)
        gather_losses(losses, thread)
        return float(losses[0])

    return slopes


@cache
def _make_gradient(dtype: np.dtype[Any], shape: TileShape) -> Any:
    """Make ``gradient(floats, buffer, g)``: the second product."""
    vector, smem = 16 // dtype.itemsize, shared_memory(dtype, shape)
    tall, groups, wide, across, rows = (
        shape.tall, shape.groups, shape.wide, shape.across, shape.rows
    )  # fmt: skip
    columns, stride, at_slopes, at_tiles = smem.columns, smem.slopes, smem.at_slopes, smem.at_tiles
    sharing, dealt = THREADS // (groups * across), deal(gradient_order(shape))
    rounds, last = rows // (sharing * vector), smem.columns - vector
    of_row = wide * vector
    of_x = vector * of_row
    group_of, column_of, share_of = (
        _make_pick(*dealt[of]) for of in ("group", "column", "sharing")
    )  # fmt: skip
    load = make_load(vector)

    def make_part(begin: int, end: int) -> Any:
        @device
        def part(floats, at_s, x, g):
            for a in range(begin, end):
                values = load(floats, at_s + a * groups * stride)
                for i in range(vector):
                    for c in range(of_row):
                        g[a * of_row + c] += values[i] * x[i * of_row + c]

        return part

    multiply = in_parts(tall, max(_UNROLLED // of_x, 1), make_part)

    @device
    def gradient(floats, buffer, g):
        thread = opaque(cuda.threadIdx.x)
        group, column, share = group_of(thread), column_of(thread), share_of(thread)
        x = cuda.local.array(of_x, dtype)
        at_x = at_tiles + (buffer * rows + share * vector) * columns
        at_s = at_slopes + group * stride + share * vector
        for _ in range(rounds):
            for i in range(vector):
                for c in range(wide):
                    # Beyond the last column there is something to read, too; nobody needs it.
                    at = min((c * across + column) * vector, last)
                    values = load(floats, at_x + i * columns + at)
                    for v in range(vector):
                        x[i * of_row + c * vector + v] = values[v]
            multiply(floats, at_s, x, g)
            at_x += sharing * vector * columns
            at_s += sharing * vector

    return gradient


@makes_kernel
def make_tiles(dtype: np.dtype[Any], code: Code, shape: TileShape) -> Kernel:
    """Make the kernel of the tiles route.

    ``tiles(data, weights, partials, losses, running, maps, p)``: blocks are (slots, groups of
    maps); one does nothing if none of its models is ``running``. See ``tiles_launch``.
    """
    scalar, vector, smem = dtype.type, 16 // dtype.itemsize, shared_memory(dtype, shape)
    d, outputs, tall, groups, wide, across = (
        shape.d, shape.outputs, shape.tall, shape.groups, shape.wide, shape.across
    )  # fmt: skip
    rows, buffers, capacity = shape.rows, shape.buffers, shape.capacity
    columns, at_tiles, at_losses, parts = smem.columns, smem.at_tiles, smem.losses, smem.parts
    padding, step = smem.padded - d, shape.split * vector
    some = max(padding, 1)
    of_row = wide * vector
    of_g, across_all = tall * of_row, across * of_row
    sharing = THREADS // (groups * across)
    first, second = deal(residual_order(shape)), deal(gradient_order(shape))
    own = loss_bits(shape)
    others = [bit for of in ("row", "split") for bit in first[of] if bit < bits_of(WARP)]
    others = [bit for bit in others if bit not in own]
    masks, adding = (*(1 << bit for bit in others), 0), len(others)
    alone = sum(1 << bit for bit in others)
    map_of = _make_pick(*first["group"], *own[::-1])
    part_of = _make_pick(*(bit for bit in first["row"] if bit >= bits_of(WARP)))
    group_of, column_of, share_of = (
        _make_pick(*second[of]) for of in ("group", "column", "sharing")
    )  # fmt: skip
    copy_maps = _make_copy_rows(shape.lanes, capacity, d, d, columns)
    bring = _make_bring(dtype, shape)
    wait = make_wait(max(buffers - 2, 0))
    slopes, gradient = _make_slopes(dtype, code, shape), _make_gradient(dtype, shape)

    def tiles(data, weights, partials, losses, running, maps, p):
        thread, block, blocks = cuda.threadIdx.x, cuda.blockIdx.x, cuda.gridDim.x
        start = cuda.blockIdx.y * capacity
        here = min(capacity, maps - start)
        going = 0
        for m in range(start // outputs + thread, (start + here - 1) // outputs + 1, THREADS):
            going |= running[m]
        if cuda.syncthreads_or(np.int32(going)) == 0:
            return
        floats = cuda.shared.array(0, dtype)
        copy_maps(floats, 0, weights, start, here, 0)
        for i in range(thread, capacity * padding, THREADS):
            floats[i // some * columns + d + i % some] = scalar(0)
        for i in range(thread, buffers * rows * padding, THREADS):
            floats[at_tiles + i // some * columns + d + i % some] = scalar(0)
        g = cuda.local.array(of_g, dtype)
        for i in range(of_g):
            g[i] = scalar(0)

        count = (data.n + rows - 1) // rows
        tile, end = count * block // blocks, count * (block + 1) // blocks
        for ahead in range(buffers - 1):
            if tile + ahead < end:
                bring(data, floats, tile + ahead, ahead, start)
            commit()
        buffer, steps, total = 0, np.int32((data.d + step - 1) // step), 0.0
        while tile < end:
            if buffers > 1:
                wait()
                cuda.syncthreads()
                spare = buffer - 1 if buffer > 0 else buffers - 1
                if tile + buffers - 1 < end:
                    bring(data, floats, tile + buffers - 1, spare, start)
                commit()
            else:
                cuda.syncthreads()
                bring(data, floats, tile, 0, start)
                commit()
                wait()
                cuda.syncthreads()
            total += slopes(floats, buffer, start, steps, p)
            cuda.syncthreads()
            gradient(floats, buffer, g)
            tile += 1
            buffer = buffer + 1 if buffer + 1 < buffers else 0

        cuda.syncthreads()
        doubles = cuda.shared.array(0, types.float64)
        group, column, share = group_of(thread), column_of(thread), share_of(thread)
        for a in range(tall):
            at = ((share * tall + a) * groups + group) * across_all
            for c in range(wide):
                for v in range(vector):
                    place = at + (c * across + column) * vector + v
                    floats[place] = g[a * of_row + c * vector + v]
        for i in range(adding):
            total += cuda.shfl_xor_sync(ALL, total, masks[i])
        m = map_of(thread)
        if thread & alone == 0 and m < capacity:
            doubles[at_losses + part_of(thread) * capacity + m] = total
        cuda.syncthreads()
        for i in range(thread, here * d, THREADS):
            m, c = i // d, i % d
            whole = 0.0
            for other in range(sharing):
                whole += float(floats[(other * capacity + m) * across_all + c])
            partials[(block * maps + start) * d + i] = whole
        for m in range(thread, here, THREADS):
            whole = 0.0
            for part in range(parts):
                whole += doubles[at_losses + part * capacity + m]
            losses[block * maps + start + m] = whole

    f64, signature = pointer(np.float64), [data_type(dtype), pointer(dtype)]
    signature += [f64, f64, pointer(np.int64), types.int64, types.float64]
    return Kernel(tiles, signature, (dtype.name, code, *shape), blocks=shape.blocks)


def tiles_launch(
    dtype: np.dtype[Any], code: Code, shape: TileShape, maps: int
) -> tuple[Kernel, int, int]:
    """Return the kernel for so many maps, how many blocks share them, and their shared memory."""
    blocks = -(-maps // shape.capacity)
    shape = shape._replace(tall=-(-maps // (shape.groups * blocks)))
    nbytes = shared_memory(dtype, shape).size * dtype.itemsize
    return make_tiles(dtype, code, shape), blocks, nbytes
