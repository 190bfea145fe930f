"""CUDA kernels without a GPU: Numba's simulator with a scheduler that finds deadlocks and races.

``install()``, in a process with NUMBA_ENABLE_CUDASIM=1, takes over the launch of kernels. All
blocks of a grid run at once, each CUDA thread in a greenlet that runs until it waits: at a barrier,
shuffle or vote of its block or warp, or in ``nanosleep``, which code that spins has to call. While
they run, ``cuda`` means a ``Device`` in the kernel's module and in ``accel.kernels.cuda*``. Arrays
are worked on in place. A launch raises, and names threads and source lines,

``Deadlock``    when nobody can go on, or for ``spins`` rounds everybody only spun. If ``strict``,
                also when threads come to one barrier from different lines, callers included, and
                when a block waits for a thread that has ended;
``Race``        when two threads touch the same memory, one of them writes, and they are not
                ordered: by ``syncthreads`` in a block, by any warp operation in a warp. Nothing
                orders two blocks, but arguments that ``ordered`` names, ("argument 1.memory",),
                are not compared between them. Atomics race with plain accesses only. Exempt are
                uint64 arguments, mailboxes whose every word says for itself what it is;
``IndexError``  when an index is negative or too large;
and what the kernel raises, led by block and thread. Shared and local arrays begin as NaN, those of
integers as numbers near their maximum. Turns are in order or, given a ``seed``, random, at a pace
drawn for every block and warp; both repeatable. ``options(...)`` changes the ``Settings``.

How races are found: a thread between two barriers is a ``Moment``. A cell, which is an element or
what differently typed views of it share, keeps its last writer and two of its readers, those the
furthest apart: of different blocks, else warps. Who conflicts with any conflicts with one of them.
"""

import contextvars
import functools
import heapq
import math
import operator
import random
import sys
import threading
from collections import defaultdict, namedtuple
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
from greenlet import getcurrent, greenlet
from numba import cuda as numba_cuda
from numba.cuda.errors import normalize_kernel_dimensions
from numba.cuda.simulator.kernel import FakeCUDAKernel
from numba.cuda.simulator.kernelapi import Dim3, FakeCUDAAtomic, FakeCUDAModule

WARP, ALL = 32, 0xFFFFFFFF
READ, WRITE, UPDATE = "read", "written", "updated atomically"
Moment = namedtuple("Moment", "thread block warp epoch phase")
# A cell is a list of accesses: the last write, two reads, two atomic updates.
_NOBODY = (None,)
_CONFLICTS = {READ: (0, 3, 4), WRITE: (0, 1, 2, 3, 4), UPDATE: (0, 1, 2)}


class Deadlock(RuntimeError):
    """The launch can not end, or on a GPU might not."""


class Race(RuntimeError):
    """What a thread finds in memory depends on how fast the others are."""


@dataclass
class Settings:
    seed: int | None = None
    races: bool = True
    strict: bool = True
    spins: int = 2000
    ordered: tuple = ()

    def __post_init__(self):
        self.rng = None if self.seed is None else random.Random(self.seed)


settings = Settings()
#: Who runs; ``quiet`` counts the turns of spinners since anything else happened.
now = SimpleNamespace(launch=None, thread=None, moment=None, quiet=0)
_HERE, _LOCK = globals(), threading.Lock()


def _stack():
    """(code, instruction) of the kernel's frames, the innermost first."""
    frame, stack = sys._getframe(2), []
    while frame is not None:
        if frame.f_globals is not _HERE:
            stack.append((frame.f_code, frame.f_lasti))
        frame = frame.f_back
    return tuple(stack)


def _place(stack):
    return " < ".join(
        f"{code.co_filename}:{line} in {code.co_name}"
        for code, at in stack
        for start, end, line in code.co_lines()
        if start <= at < end
    )


def _apart(old, new):
    """How far from being ordered two moments are: 0 if they are."""
    if old.block is not new.block:
        return 3
    if old.epoch != new.epoch or old.thread is new.thread:
        return 0
    return 2 if old.warp is not new.warp else int(old.phase == new.phase)


def _keep(cell, slot, access):
    """Keep this access as one of the two from ``slot`` on, if it can reveal more races."""
    new, first, second = access[0], cell[slot][0], cell[slot + 1][0]
    if first is None:
        cell[slot] = access
    elif first is not new:
        kept, distance = _apart(first, second) if second else 0, _apart(first, new)
        if distance > kept:
            cell[slot + 1] = access
        elif distance == 0 and (kept < 2 or (kept == 2 and first.epoch != new.epoch)):
            cell[slot : slot + 2] = access, _NOBODY


class Shadow(dict):
    """The accesses to a piece of memory: a cell for every ``grain`` bytes that were touched."""

    grain = 0

    def refine(self, *sizes):
        """Make cells fine enough for elements of these sizes, strides and addresses."""
        grain = math.gcd(self.grain, *sizes)
        for at, cell in list(self.items()):
            for part in range(at + grain, at + self.grain, grain):
                self[part] = cell.copy()
        self.grain = grain

    def note(self, how, array, index, at):
        access = now.moment, how, _stack()
        for part in range(at, at + array.itemsize, self.grain):
            cell = self.setdefault(part, [_NOBODY] * 5)
            for old in [cell[slot] for slot in _CONFLICTS[how]]:
                if old[0] and _apart(old[0], now.moment):
                    sides = [f"{h} by {m.thread.name} at {_place(s)}" for m, h, s in (old, access)]
                    raise Race(f"{array.name}, index {index}: {', then '.join(sides)}, unordered")
            if how is WRITE:  # what is ordered after it is ordered after all before it
                cell[:] = access, _NOBODY, _NOBODY, _NOBODY, _NOBODY
            else:
                _keep(cell, 1 if how is READ else 3, access)


class Array:
    """An array whose elements, and only they, can be read and written, within its bounds."""

    def __init__(self, data, name, shadow=None, *, argument=False):
        self.data, self.name, self.shadow, self.argument = data, name, shadow, argument
        self.shape, self.ndim, self.size, self.dtype = data.shape, data.ndim, data.size, data.dtype
        self.itemsize, self.first = data.itemsize, data.__array_interface__["data"][0]
        self.length, self.step = (data.size, data.strides[0]) if data.ndim == 1 else (-1, 0)
        self.ordered = name in settings.ordered
        if shadow is not None:
            shadow.refine(self.itemsize, self.first, *data.strides)

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, index):
        self.touch(READ, index)
        return self.data[index]

    def __setitem__(self, index, value):
        self.touch(WRITE, index)
        self.data[index] = value
        if self.argument:
            now.quiet = 0

    def touch(self, how, index):
        if index.__class__ is not tuple and 0 <= index < self.length:
            at = self.first + int(index) * self.step
        else:
            place = index if index.__class__ is tuple else (index,)
            inside = len(place) == self.ndim and all(map(operator.lt, place, self.shape))
            if not inside or min(place) < 0:
                raise IndexError(f"{self.name} of shape {self.shape} has no element {index}")
            at = self.first + sum(map(operator.mul, map(int, place), self.data.strides))
        if (shadow := self.shadow) is None:
            return
        if self.ordered:
            at += now.thread.block.base
        moment, cell = now.moment or now.thread.begin(), shadow.get(at)
        known = cell and (cell[0][0] is moment or (how is READ and cell[1][0] is moment))
        if not known or shadow.grain != self.itemsize:
            shadow.note(how, self, index, at)


class Atomic:
    """Numba's atomic operations; threads are not interrupted, so there is nothing to add."""

    def __getattr__(self, name):
        return functools.partial(self._operate, getattr(FakeCUDAAtomic(), name))

    def _operate(self, operation, array, index, *values):
        array.touch(UPDATE, index)
        old = operation(array.data, index, *values)
        if array.data[index] != old:
            now.quiet = 0
        return old


def _blank(shape, dtype, words=None):
    """An array of NaN or large integers, or one in the words of another."""
    dtype = np.dtype(getattr(dtype, "name", dtype))  # a NumPy dtype or a Numba type
    nbytes = int(np.prod(shape)) * dtype.itemsize
    if words is None:
        words = np.full(nbytes // 4 + 1, 0x7FFFFFFF, np.uint32)  # a NaN of any width
    return words.view(np.uint8)[:nbytes].view(dtype).reshape(shape)


class Group:
    """A block or a warp: threads that meet at barriers, ``quorum`` of them at a time."""

    def __init__(self, quorum, shrinks, shared_bytes=0, number=0):
        self.quorum, self.shrinks, self.epoch, self.base = quorum, shrinks, 0, number << 64
        self.waiting, self.combine, self.arrays = [], None, {}
        self.pace = 4.0 ** settings.rng.uniform(-1.0, 1.0) if settings.rng else 1.0
        self.dynamic = _blank(shared_bytes // 4 + 1, np.uint32), Shadow()


class Thread(greenlet):
    """A CUDA thread; while it does not run, it is ``doing`` something at ``stack``."""

    def __init__(self, name, block, warp, rank):
        super().__init__()
        self.name, self.block, self.warp, self.lane = name, block, warp, rank % WARP
        self.moment = self.result = self.value = self.doing = None
        self.spins = False
        # A greenlet begins with an empty context, and NumPy keeps np.errstate in it.
        self.gr_context = contextvars.copy_context()

    def __str__(self):
        return f"{self.name} in {self.doing} at {_place(self.stack)}"

    def begin(self):
        block, warp = self.block, self.warp
        self.moment = now.moment = Moment(self, block, warp, block.epoch, warp.epoch)
        return self.moment

    def run(self):
        now.launch.function(*now.launch.arguments)
        now.launch.live -= 1
        now.quiet = 0
        for group in (self.block, self.warp):
            group.quorum -= group.shrinks
            now.launch.release(group)


# How the values of the threads that meet combine; for shuffles, whose value a lane gets.
_RULES = {
    "syncthreads": ("_in_block", len),
    "syncthreads_or": ("_in_block", lambda threads: int(any(t.value for t in threads))),
    "syncthreads_and": ("_in_block", lambda threads: int(all(t.value for t in threads))),
    "syncthreads_count": ("_in_block", lambda threads: sum(bool(t.value) for t in threads)),
    "syncwarp": ("_in_warp", len),
    "any_sync": ("_in_warp", lambda threads: any(t.value for t in threads)),
    "all_sync": ("_in_warp", lambda threads: all(t.value for t in threads)),
    "ballot_sync": ("_in_warp", lambda threads: sum(1 << t.lane for t in threads if t.value)),
    "shfl_sync": ("_shuffle", lambda lane, source: source % WARP),
    "shfl_xor_sync": ("_shuffle", operator.xor),
    "shfl_down_sync": ("_shuffle", operator.add),
    "shfl_up_sync": ("_shuffle", operator.sub),
}


class Device(FakeCUDAModule):
    """What ``cuda`` means in a kernel that runs."""

    threadIdx = blockIdx = laneid = local = shared = atomic = None  # Numba's are properties

    def __init__(self, grid, block, shared_bytes):
        super().__init__(grid, block, shared_bytes)
        self.ragged, self.bytes, self.atomic = math.prod(block) % WARP, shared_bytes, Atomic()
        self.local = SimpleNamespace(array=lambda *what: Array(_blank(*what), "local array"))
        self.shared = SimpleNamespace(array=self._shared_array)
        for kind, (meet, rule) in _RULES.items():
            setattr(self, kind, functools.partial(getattr(self, meet), kind, rule))

    def _in_block(self, kind, combine, value=None):
        return now.launch.meet(now.thread.block, kind, value, combine)

    def _in_warp(self, kind, combine, mask=ALL, value=None):
        if mask not in (ALL, -1):
            raise NotImplementedError(f"{kind} of a part of a warp, mask {mask}")
        if self.ragged and kind != "syncwarp":
            raise ValueError(f"{kind} in a block that is no multiple of {WARP} threads")
        return now.launch.meet(now.thread.warp, kind, value, combine)

    def _shuffle(self, kind, source, mask, value, operand):
        lanes = self._in_warp(kind, lambda threads: {t.lane: t.value for t in threads}, mask, value)
        lane = source(self.laneid, operand)
        if 0 <= lane < WARP and lane not in lanes:
            raise RuntimeError(f"{kind} from lane {lane}, which has ended")
        return lanes.get(lane, value)

    def nanosleep(self, ns):
        thread = now.thread
        thread.doing, thread.stack, thread.spins = "nanosleep", _stack(), True
        now.launch.push(thread)
        now.launch.hub.switch()

    def _shared_array(self, shape, dtype):
        arrays, dtype = now.thread.block.arrays, np.dtype(getattr(dtype, "name", dtype))
        place = _stack()[:1] if shape != 0 else ()
        if (key := (place, shape, dtype)) not in arrays:
            words, shadow = (None, Shadow()) if place else now.thread.block.dynamic
            data = _blank(shape or self.bytes // dtype.itemsize, dtype, words)
            name = f"shared array of {_place(place) or 'dynamic size'}"
            arrays[key] = Array(data, name, shadow if settings.races else None)
        return arrays[key]


class Launch:
    """One grid on its way; the greenlet that made it, the hub, hands out the turns."""

    def __init__(self, function, grid, block, shared_bytes, arguments):
        self.function, self.hub = function, getcurrent()
        self.cuda, self.threads = Device(grid, block, shared_bytes), []
        self.heap, self.clock, self.turns, self.runnable = [], 0.0, 0, 0
        shadows = defaultdict(Shadow)  # by the size of an element: others are not views of it
        self.arguments = [_wrap(a, f"argument {i}", shadows) for i, a in enumerate(arguments)]
        for b, (z, y, x) in enumerate(np.ndindex(*grid[::-1])):
            place = Dim3(x, y, z)
            group = Group(math.prod(block), not settings.strict, shared_bytes, b)
            for rank, (z, y, x) in enumerate(np.ndindex(*block[::-1])):
                if rank % WARP == 0:
                    warp = Group(min(WARP, math.prod(block) - rank), True)
                thread = Thread(f"block {b} thread {rank}", group, warp, rank)
                thread.place = Dim3(x, y, z), place, thread.lane
                self.threads.append(thread)
                self.push(thread)
        self.live = len(self.threads)

    def push(self, thread):
        self.turns += 1
        self.runnable += not thread.spins
        pace = 8.0 if thread.spins else thread.block.pace * thread.warp.pace
        delay = pace * settings.rng.random() if settings.rng else thread.spins
        heapq.heappush(self.heap, (self.clock + delay, self.turns, thread))

    def run(self):
        now.launch, now.quiet, thread, cuda, swapped = self, 0, None, self.cuda, []
        modules = [m for n, m in list(sys.modules.items()) if n.startswith("accel.kernels.cuda")]
        try:
            for namespace in (self.function.__globals__, *map(vars, modules)):
                for name in [n for n, value in namespace.items() if value is numba_cuda]:
                    namespace[name] = cuda
                    swapped.append((namespace, name))
            while self.live:
                spinners = len(self.heap) - self.runnable
                if not self.heap or now.quiet > settings.spins * spinners > 0:
                    raise Deadlock(self._report())
                self.clock, _, thread = heapq.heappop(self.heap)
                now.quiet = 0 if self.runnable else now.quiet + 1
                self.runnable -= not thread.spins
                now.thread, now.moment, thread.spins = thread, thread.moment, False
                cuda.threadIdx, cuda.blockIdx, cuda.laneid = thread.place
                thread.switch()
        except Exception as error:
            if not isinstance(error, (Deadlock, Race)):
                error.args = (f"{thread.name}: {error}", *error.args[1:])
            raise
        finally:
            for namespace, name in swapped:
                namespace[name] = numba_cuda
            for thread in filter(None, self.threads):  # begun, not ended
                thread.throw()
            now.launch = None

    def meet(self, group, kind, value, combine):
        """Wait for the group; what ``combine`` makes of its threads, all here, with values."""
        thread, now.quiet = now.thread, 0
        thread.doing, thread.stack, thread.value, group.combine = kind, _stack(), value, combine
        for other in group.waiting[:1]:
            astray = other.stack != thread.stack and _place(other.stack) != _place(thread.stack)
            if other.doing != kind or (astray and settings.strict):
                raise Deadlock(f"{other} does not meet {thread}")
        group.waiting.append(thread)
        self.release(group)
        self.hub.switch()
        return thread.result

    def release(self, group):
        if len(group.waiting) == group.quorum > 0:
            waiting, group.waiting, result = group.waiting, [], group.combine(group.waiting)
            group.epoch += 1
            for thread in waiting:
                thread.result, thread.moment = result, None
                self.push(thread)

    def _report(self):
        places = defaultdict(list)
        for thread in [t for t in self.threads if not t.dead]:
            places[thread.doing, thread.stack].append(thread)
        lines = [
            f"nobody goes on, {len(self.threads) - self.live} of {len(self.threads)} have ended"
        ]
        lines += [f"{len(group)} like {group[0]}" for group in places.values()]
        return "\n  ".join(lines[:9])


def _wrap(value, name, shadows):
    if isinstance(value, tuple):
        names = getattr(value, "_fields", range(len(value)))
        items = [_wrap(v, f"{name}.{n}", shadows) for v, n in zip(value, names, strict=True)]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    if not isinstance(value, np.ndarray) or value.ndim == 0:
        return value
    tracked = settings.races and value.dtype != np.uint64
    return Array(value, name, shadows[value.itemsize] if tracked else None, argument=True)


def _call(kernel, *arguments):
    if isinstance(getcurrent(), Thread):  # a device function, wrapped
        return kernel.fn(*arguments)
    extents = normalize_kernel_dimensions(kernel.grid_dim, kernel.block_dim)
    with _LOCK, np.errstate(all="ignore"):
        Launch(kernel.fn, *extents, kernel.dynshared_size, arguments).run()


def _configured(kernel, configuration):
    """A launcher of its own; Numba's is the kernel, which remembers earlier shared memory."""
    launcher = copy(kernel)
    launcher.grid_dim, launcher.block_dim, _, launcher.dynshared_size = (*configuration, 0, 0)[:4]
    return launcher


def install(**changes):
    """Launch kernels here from now on, with these ``Settings``."""
    global settings
    settings = Settings(**changes)
    FakeCUDAKernel.__call__, FakeCUDAKernel.__getitem__ = _call, _configured


@contextmanager
def options(**changes):
    """Other ``Settings`` for a while."""
    global settings
    before, settings = settings, replace(settings, **changes)
    try:
        yield
    finally:
        settings = before
