/* What a step costs in C: the best passes over the data that we can write by hand.

   Each of them makes plain gradient descent steps w -= scale * X' r^3 with r = X w - y, that is p = 4
   and one output. `limit_cached` and `limit_streamed` are for rows of COLUMNS elements, in the caches
   or beyond them, `limit_narrow` for NARROW columns in the first-level cache, `limit_two_points` for
   two rows of two elements. limit_typed.h is compiled for double and for float. */

#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#if defined(__AVX512F__)
#define BYTES 64
#define REGISTERS 32
#elif defined(__AVX__)
#define BYTES 32
#define REGISTERS 16
#else
#define BYTES 16
#define REGISTERS 16
#endif
#define COLUMNS 128       /* elements of a row of X */
#define NARROW 10         /* columns of data with few of them */
#define ROWS 8            /* rows whose residuals are computed together */
#define TILE_BYTES 16384  /* of X, in the first-level cache from residuals to gradient */
#define AHEAD 8192        /* bytes that data from memory are fetched into the second-level cache early */
#define THREADS 64        /* at most */
#define INLINE static inline __attribute__((always_inline))

/* A run of steps: thread t of so many has the rows from t * n / threads on. */
typedef struct Run {
    const void *X, *y;
    void *w, *partial; /* partial[2][threads][COLUMNS]: the gradients of even and of odd steps */
    double scale;
    long n, steps, threads;
    void (*work)(struct Run *, int rank);
    struct { _Alignas(128) atomic_long steps; } done[THREADS];
} Run;

typedef struct { Run *run; int rank; pthread_t thread; } Member;

/* Wait until all threads have made so many steps. */
static void meet(Run *run, int rank, long steps)
{
    atomic_store_explicit(&run->done[rank].steps, steps, memory_order_release);
    for (int t = 0; t < run->threads; t++)
        for (long spins = 0; atomic_load_explicit(&run->done[t].steps, memory_order_acquire) < steps; spins++) {
            if (spins > 1 << 16)
                sched_yield();
#ifdef __x86_64__
            __builtin_ia32_pause();
#endif
        }
}

/* A member's part of the work, on the CPU of its rank among those that are allowed. */
static void *take_part(void *argument)
{
    Member *member = argument;
#ifdef __linux__
    cpu_set_t allowed, one;
    CPU_ZERO(&one);
    sched_getaffinity(0, sizeof allowed, &allowed);
    for (int cpu = 0, seen = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &allowed) && seen++ == member->rank)
            CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one); /* refused where there are too few CPUs */
#endif
    member->run->work(member->run, member->rank);
#ifdef __linux__
    sched_setaffinity(0, sizeof allowed, &allowed);
#endif
    return NULL;
}

/* All threads of a run, one of which is the caller. */
static void together(Run *run)
{
    Member members[THREADS];
    for (int t = run->threads - 1; t >= 0; t--) {
        members[t] = (Member){run, t, 0};
        if (t == 0)
            take_part(members);
        else if (pthread_create(&members[t].thread, NULL, take_part, members + t))
            abort();
    }
    for (int t = 1; t < run->threads; t++)
        pthread_join(members[t].thread, NULL);
}

/* Two points of two coordinates, in scalars; w holds W_1, then W_2 and W_3 at depth 3, width 1. */
void limit_two_points(const double *X, const double *y, double *w, double scale, long depth, long steps)
{
    double a = X[0], b = X[1], c = X[2], d = X[3], u = w[0], v = w[1];
    double w2 = depth == 3 ? w[2] : 1, w3 = depth == 3 ? w[3] : 1;
    if (depth == 1)
        for (long s = 0; s < steps; s++) {
            double r0 = a * u + b * v - y[0], r1 = c * u + d * v - y[1];
            double e0 = scale * r0 * (r0 * r0), e1 = scale * r1 * (r1 * r1);
            u -= a * e0 + c * e1;
            v -= b * e0 + d * e1;
        }
    else
        for (long s = 0; s < steps; s++) {
            double chain = w3 * w2;
            double r0 = (a * u + b * v) * chain - y[0], r1 = (c * u + d * v) * chain - y[1];
            double e0 = scale * r0 * (r0 * r0), e1 = scale * r1 * (r1 * r1);
            double g0 = a * e0 + c * e1, g1 = b * e0 + d * e1, along = g0 * u + g1 * v;
            double next = w2 - w3 * along;
            w3 -= w2 * along;
            w2 = next;
            u -= chain * g0;
            v -= chain * g1;
        }
    w[0] = u, w[1] = v;
    if (depth == 3)
        w[2] = w2, w[3] = w3;
}

#define JOIN(a, b) a##b
#define NAMED(name, type) JOIN(name, type)
#define N(name) NAMED(name, SUFFIX)
#define Vector N(vector)
#define Places N(places)
#define LANES (BYTES / (int)sizeof(T))
#define VECTORS (COLUMNS / LANES)                                 /* in a row */
#define TILE (TILE_BYTES / (COLUMNS * (int)sizeof(T)))
#define BLOCK (VECTORS < REGISTERS / 2 ? VECTORS : REGISTERS / 2) /* accumulators of a gradient */

#define T double
#define INTEGER long long
#define SUFFIX _f64
#include "limit_typed.h"
#undef T
#undef INTEGER
#undef SUFFIX
#define T float
#define INTEGER int
#define SUFFIX _f32
#include "limit_typed.h"
