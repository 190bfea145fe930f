/* The passes of limit.c for elements of the type T; N(name) is a name for this type. */

typedef T Vector __attribute__((vector_size(BYTES), may_alias));
typedef INTEGER Places __attribute__((vector_size(BYTES), may_alias));
static const INTEGER N(numbers)[16] __attribute__((aligned(64))) = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

/* The sums of neighbours, those of a first. */
INLINE Vector N(neighbours)(Vector a, Vector b)
{
    Places even = 2 * *(const Places *)N(numbers);
    return __builtin_shuffle(a, b, even) + __builtin_shuffle(a, b, even + 1);
}

/* The sum over the lanes. */
INLINE T N(total)(Vector a)
{
#pragma GCC unroll 4
    for (int distance = LANES / 2; distance; distance /= 2)
        a += __builtin_shuffle(a, *(const Places *)N(numbers) ^ distance);
    return a[0];
}

INLINE T N(residual)(const T *x, T y, const Vector *w)
{
    Vector even = {0}, odd = {0};
    for (int j = 0; j < VECTORS; j += 2) {
        even += w[j] * ((const Vector *)x)[j];
        odd += w[j + 1] * ((const Vector *)x)[j + 1];
    }
    return N(total)(even + odd) - y;
}

/* The cubes of the residuals of ROWS rows. The sums of all rows are folded together. */
INLINE void N(cubes)(const T *x, const T *y, const Vector *w, T *e)
{
    const int group = ROWS < LANES ? ROWS : LANES;
    Vector sums[ROWS];
    for (int r = 0; r < ROWS; r++)
        sums[r] = (Vector){0};
#pragma GCC unroll 2
    for (int j = 0; j < VECTORS; j++)
#pragma GCC unroll 16
        for (int r = 0; r < ROWS; r++)
            sums[r] += w[j] * ((const Vector *)(x + r * COLUMNS))[j];
#pragma GCC unroll 16
    for (int first = 0; first < ROWS; first += group) {
        Vector *s = sums + first;
#pragma GCC unroll 4
        for (int lanes = LANES, count = group; lanes > 1; lanes /= 2) {
            const int odd = count > 1;
            count = odd ? count / 2 : 1;
#pragma GCC unroll 8
            for (int i = 0; i < count; i++)
                s[i] = N(neighbours)(s[2 * i], s[2 * i + odd]);
        }
        for (int r = 0; r < group; r++) {
            T difference = s[0][r] - y[first + r];
            e[first + r] = difference * difference * difference;
        }
    }
}

/* A tile of rows: all residuals first, then its part of the gradient, both from the first-level cache. */
INLINE void N(tile)(const T *X, const T *y, int rows, const Vector *w, Vector *g)
{
    T e[TILE];
    int i = 0;
    for (; i + ROWS <= rows; i += ROWS)
        N(cubes)(X + i * COLUMNS, y + i, w, e + i);
    for (; i < rows; i++) {
        T r = N(residual)(X + i * COLUMNS, y[i], w);
        e[i] = r * r * r;
    }
    for (int b = 0; b < VECTORS; b += BLOCK) {
        Vector sums[BLOCK];
        for (int j = 0; j < BLOCK; j++)
            sums[j] = g[b + j];
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 16
            for (int j = 0; j < BLOCK; j++)
                sums[j] += e[r] * ((const Vector *)(X + r * COLUMNS))[b + j];
        for (int j = 0; j < BLOCK; j++)
            g[b + j] = sums[j];
    }
}

static void N(cached_pass)(const T *X, const T *y, long n, int backwards, const Vector *w, Vector *g)
{
    const long tiles = (n + TILE - 1) / TILE;
    for (long i = 0; i < tiles; i++) {
        long first = (backwards ? tiles - 1 - i : i) * TILE;
        N(tile)(X + first * COLUMNS, y + first, n - first < TILE ? n - first : TILE, w, g);
    }
}

/* A row at a time, in ascending addresses; w and the gradient in registers if they are enough. */
static void N(streamed_pass)(const T *X, const T *y, long n, int backwards, const Vector *w, Vector *g)
{
    Vector map[VECTORS], sums[VECTORS];
    (void)backwards;
    for (int j = 0; j < VECTORS; j++)
        map[j] = w[j], sums[j] = g[j];
    for (long i = 0; i < n; i++) {
        const T *x = X + i * COLUMNS;
        for (int byte = 0; byte < COLUMNS * (int)sizeof(T); byte += 64)
            __builtin_prefetch((const char *)x + AHEAD + byte, 0, 2); /* into the second level */
        T r = N(residual)(x, y[i], map);
        for (int j = 0; j < VECTORS; j++)
            sums[j] += r * r * r * ((const Vector *)x)[j];
    }
    for (int j = 0; j < VECTORS; j++)
        g[j] = sums[j];
}

/* Each thread adds up all gradients and moves a map of its own, so that they meet once a step. */
INLINE void N(descend)(Run *run, int rank, void (*pass)(const T *, const T *, long, int, const Vector *, Vector *))
{
    const long first = rank * run->n / run->threads, last = (rank + 1) * run->n / run->threads;
    const T *X = run->X, *y = run->y;
    Vector w[VECTORS], *partial = run->partial;
    memcpy(w, run->w, sizeof w);
    for (long s = 0; s < run->steps; s++) {
        Vector *all = partial + s % 2 * run->threads * VECTORS, g[VECTORS] = {{0}};
        pass(X + first * COLUMNS, y + first, last - first, s % 2, w, g);
        memcpy(all + rank * VECTORS, g, sizeof g);
        meet(run, rank, s + 1);
        for (int t = 0; t < run->threads; t++)
            for (int j = 0; j < VECTORS; j++)
                w[j] -= (T)run->scale * all[t * VECTORS + j];
    }
    if (rank == 0)
        memcpy(run->w, w, sizeof w);
}

static void N(cached)(Run *run, int rank) { N(descend)(run, rank, N(cached_pass)); }
static void N(streamed)(Run *run, int rank) { N(descend)(run, rank, N(streamed_pass)); }

void N(limit_rows)(const T *X, const T *y, T *w, T *partial, long n, double scale, long steps, long threads, int in_cache)
{
    Run run = {X, y, w, partial, scale, n, steps, threads, in_cache ? N(cached) : N(streamed), {{0}}};
    together(&run);
}

/* X by columns of `length` elements, whole vectors, zeros behind the last row: vectors run along the rows. */
void N(limit_narrow)(const T *X, const T *y, T *w, long length, double scale, long steps)
{
    for (long s = 0; s < steps; s++) {
        Vector g[NARROW] = {{0}};
        for (long i = 0; i < length; i += LANES) {
            Vector even = -*(const Vector *)(y + i), odd = {0};
#pragma GCC unroll 16
            for (int j = 0; j < NARROW; j += 2) {
                even += w[j] * *(const Vector *)(X + j * length + i);
                odd += w[j + 1] * *(const Vector *)(X + (j + 1) * length + i);
            }
            Vector r = even + odd, e = r * r * r;
#pragma GCC unroll 16
            for (int j = 0; j < NARROW; j++)
                g[j] += e * *(const Vector *)(X + j * length + i);
        }
        for (int j = 0; j < NARROW; j++)
            w[j] -= (T)scale * N(total)(g[j]);
    }
}
