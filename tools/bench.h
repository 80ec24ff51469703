/* bench.h - how fast the library is, as shares of what this machine can do at that moment.
 *
 * A burst of products that never leave the registers tells the peak, a copy of as many bytes that of
 * memory. Bursts stand before and after every sample: a sample counts if both are near the best burst of
 * the run, so that other work on the machine does not spoil a row. Where no sample counts, the median of
 * all is told, and `kept` is 0. A sample is the median of many calls, so that losing the core for a moment
 * does not matter; a kernel that runs long on its one thread is timed by the time it had a core.
 *
 * A kernel is measured through a model of one record, built, planned and run by the public interface: what
 * a user gets, with packing at binding and all. Used by `alore bench` and bench/bench.c, after alore.h. */
#ifndef ALORE_TOOLS_BENCH_H
#define ALORE_TOOLS_BENCH_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    BENCH_F32,
    BENCH_BF16,
    BENCH_I8,
    BENCH_TYPES,
    BENCH_PRECISIONS = 3, /* of these, those that the library computes in */
    BENCH_SAMPLES = 64,   /* most samples of a row */
    BENCH_ROWS = 96,
    BENCH_PIECES = 16,              /* most records of a row */
    BENCH_CALLS = 512,              /* most of a sample */
    BENCH_BURSTS = 1024,            /* of a type that are remembered */
    BENCH_THREADS = 256,            /* most that a burst uses */
    BENCH_ITEMS = 2 * BENCH_THREADS /* most of a cached batch */
};

#define BENCH_NEAR 0.92 /* of the best burst: the machine was free */

static const char *const bench_types[] = {"f32", "bf16", "i8"};

typedef struct bench {
    int threads, isa, precision; /* of the bursts; as given, 0: the best, f32 */
    bool quick;                  /* small shapes, few samples */
    const char *only;            /* kernels with this in their name; NULL: all */
    int least, most;             /* samples wanted; tried */
    double sample, patience;     /* seconds of a sample; of a row, while too few count */
    void (*progress)(void *user, const char *what, int done, int total);
    void *user;
    const char *why; /* what failed, or NULL */
    char text[400];
    /* private */
    alore_ctx ctx;
    alore_pool *pool;
    long loops[BENCH_TYPES];
    double best[BENCH_TYPES]; /* burst so far, of all threads, GFLOP/s */
    double bursts[BENCH_TYPES][BENCH_BURSTS];
    int burst_count[BENCH_TYPES];
    size_t copied; /* bytes of a copy, read and written together; 0: none */
    char *from, *to;
    double copy; /* the best copy so far, GB/s */
    int calls;   /* at least, of a sample */
    int kind;
    unsigned arrived;
    double start[BENCH_THREADS], stop[BENCH_THREADS];
} bench;

typedef struct bench_row {
    char name[64];
    double rate, low, high; /* GFLOP/s or GB/s */
    double share, peak;     /* of the row's own type, or of a copy */
    double each;            /* of a network: GFLOP an image */
    double against;         /* of a network on all threads: times what one did; 0: not compared */
    int type;               /* of the peak; BENCH_TYPES: GB/s */
    int samples, kept, threads;
} bench_row;

static double bench_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double bench_cpu_time(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- Bursts: as many products as the machine can do -------------------------- */

/* One line for each accumulator: none waits for another. */
#define BENCH_12(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define BENCH_24(X) BENCH_12(X) X(12) X(13) X(14) X(15) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23)

/* clang-format off */
#if defined(__GNUC__) && defined(__x86_64__)
#    define BENCH_LOW                                                                                     \
        "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", \
            "xmm12", "xmm13", "xmm14", "xmm15"
#    define BENCH_HIGH \
        "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm31"
#    define BENCH_CLEAR_Y(i) "vxorps %%ymm" #i ", %%ymm" #i ", %%ymm" #i "\n"
#    define BENCH_CLEAR_Z(i) "vpxord %%zmm" #i ", %%zmm" #i ", %%zmm" #i "\n"
#    define BENCH_FMA_Y(i)   "vfmadd231ps %%ymm15, %%ymm15, %%ymm" #i "\n"
#    define BENCH_FMA_Z(i)   "vfmadd231ps %%zmm31, %%zmm31, %%zmm" #i "\n"
#    define BENCH_BF16_Z(i)  "vdpbf16ps %%zmm31, %%zmm31, %%zmm" #i "\n"
#    define BENCH_I8_Z(i)    "vpdpbusd %%zmm31, %%zmm31, %%zmm" #i "\n"
#    define BENCH_SSE(i)     "mulps %%xmm15, %%xmm" #i "\naddps %%xmm15, %%xmm" #i "\n"
static const float bench_one = 1.0f;

#    define BENCH_WIDE(name, op)                                                                             \
        __attribute__((target("avx512f"))) static void name(long n)                                          \
        {                                                                                                    \
            __asm__ volatile("vbroadcastss %1, %%zmm31\n" BENCH_24(BENCH_CLEAR_Z)                            \
                             "1:\n" BENCH_24(op) "sub $1, %0\njnz 1b\nvzeroupper\n"                          \
                             : "+r"(n) : "m"(bench_one) : "cc", "memory", BENCH_LOW, BENCH_HIGH);            \
        }
#    define BENCH_NARROW(name, op)                                                                           \
        __attribute__((target("avx2"))) static void name(long n)                                             \
        {                                                                                                    \
            __asm__ volatile("vbroadcastss %1, %%ymm15\n" BENCH_12(BENCH_CLEAR_Y)                            \
                             "1:\n" BENCH_12(op) "sub $1, %0\njnz 1b\nvzeroupper\n"                          \
                             : "+r"(n) : "m"(bench_one) : "cc", "memory", BENCH_LOW);                        \
        }
BENCH_WIDE(bench_fma_avx512, BENCH_FMA_Z)
BENCH_WIDE(bench_bf16_avx512, BENCH_BF16_Z)
BENCH_WIDE(bench_i8_avx512, BENCH_I8_Z)
BENCH_NARROW(bench_fma_avx2, BENCH_FMA_Y)
static void bench_fma_plain(long n) /* a product and a sum are two instructions here */
{
    __asm__ volatile("movss %1, %%xmm15\nshufps $0, %%xmm15, %%xmm15\n1:\n" BENCH_12(BENCH_SSE)
                     "sub $1, %0\njnz 1b\n" : "+r"(n) : "m"(bench_one) : "cc", "memory", BENCH_LOW);
}
/* clang-format on */

/* The loop for products of a type at a level (0: the best), and what one turn of it does; NULL: there is
 * none. */
static void (*bench_loop(int isa, int type, double *flops))(long) {
    const bool wide = (isa == ALORE_ISA_AUTO || isa == ALORE_ISA_AVX512) && __builtin_cpu_supports("avx512f");
    *flops = type == BENCH_I8 ? 24 * 128.0 : type == BENCH_BF16 ? 24 * 64.0 : 24 * 32.0;
    if (type == BENCH_BF16)
        return wide && alo_cpu() >> 8 & ALO_OWN_BF16 ? bench_bf16_avx512 : NULL; /* if used */
    if (type == BENCH_I8) return wide && __builtin_cpu_supports("avx512vnni") ? bench_i8_avx512 : NULL;
    if (wide) return bench_fma_avx512;
    *flops = 12 * 16.0;
    if (isa != ALORE_ISA_SCALAR && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return bench_fma_avx2;
    *flops = 12 * 8.0;
    return bench_fma_plain;
}
#elif defined(__GNUC__) && defined(__aarch64__)
/* clang-format off */
#    define BENCH_FMLA(i)  "fmla v" #i ".4s, v31.4s, v31.4s\n"
#    define BENCH_BFDOT(i) ".inst 0x6e5fffe0 + " #i "\n" /* bfdot vi.4s, v31.8h, v31.8h, for any assembler */
#    define BENCH_SDOT(i)  ".inst 0x4e9f97e0 + " #i "\n" /* sdot vi.4s, v31.16b, v31.16b */
#    define BENCH_NEON(name, op)                                                                             \
        static void name(long n)                                                                             \
        {                                                                                                    \
            __asm__ volatile("fmov v31.4s, #1.0\n1:\n" BENCH_24(op) "subs %0, %0, #1\nb.ne 1b\n" : "+r"(n) : \
                             : "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", \
                               "v12", "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22",  \
                               "v23", "v31");                                                                \
        }
BENCH_NEON(bench_fma_neon, BENCH_FMLA)
BENCH_NEON(bench_bf16_neon, BENCH_BFDOT)
BENCH_NEON(bench_i8_neon, BENCH_SDOT)
/* clang-format on */

static void (*bench_loop(int isa, int type, double *flops))(long) {
    const unsigned own = isa == ALORE_ISA_SCALAR ? 0 : alo_cpu() >> 8;
    *flops = type == BENCH_I8 ? 24 * 32.0 : type == BENCH_BF16 ? 24 * 16.0 : 24 * 8.0;
    if (type == BENCH_BF16) return own & ALO_OWN_BF16 ? bench_bf16_neon : NULL;
    if (type == BENCH_I8) return own & ALO_OWN_I8 ? bench_i8_neon : NULL;
    return bench_fma_neon;
}
#else
/* What the compiler makes of 64 sums. */
static void bench_fma_plain(long n) {
    static volatile float one = 1.0f, sink;
    float sum[64] = {0}, x = one;
    for (; n > 0; --n)
        for (int i = 0; i < 64; ++i) sum[i] = sum[i] * x + x;
    for (int i = 0; i < 64; ++i) sink = sum[i];
}

static void (*bench_loop(int isa, int type, double *flops))(long) {
    (void)isa;
    *flops = 64 * 2.0;
    return type == BENCH_F32 ? bench_fma_plain : NULL;
}
#endif

/* The machine multiplies numbers of that type by instructions of their own. */
static bool bench_has(const bench *b, int type) {
    double flops;
    return bench_loop(b->isa, type, &flops) != NULL;
}

/* One thread's part: all begin together, or after twenty milliseconds without the others. */
static void bench_burst_task(void *arg, int i) {
    bench *b = (bench *)arg;
    double flops, wait = bench_now() + 2e-2;
    void (*loop)(long) = bench_loop(b->isa, b->kind, &flops);
#if defined(__GNUC__)
    __atomic_add_fetch(&b->arrived, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&b->arrived, __ATOMIC_SEQ_CST) < (unsigned)b->threads && bench_now() < wait)
        continue;
#endif
    loop(2 * b->loops[b->kind]); /* wide units take a while to wake */
    b->start[i] = bench_now();
    loop(b->loops[b->kind]);
    b->stop[i] = bench_now();
}

/* GFLOP/s (or integer GOP/s) of all threads in a burst of about 0.2 ms. */
static double bench_burst(bench *b, int type) {
    double flops, first, last;
    if (!bench_loop(b->isa, type, &flops)) return 0;
    b->kind = type;
    b->arrived = 0;
    alore_pool_run(b->pool, bench_burst_task, b, b->threads);
    first = b->start[0];
    last = b->stop[0];
    for (int i = 1; i < b->threads; ++i) {
        if (b->start[i] < first) first = b->start[i];
        if (b->stop[i] > last) last = b->stop[i];
    }
    double rate = last > first ? flops * (double)b->loops[type] * b->threads / (last - first) * 1e-9 : 0;
    if (rate > b->best[type]) b->best[type] = rate;
    b->bursts[type][b->burst_count[type]++ % BENCH_BURSTS] = rate;
    return rate;
}

/* GB/s of a copy of the row's bytes, read and written, about a millisecond. */
static double bench_copy(bench *b) {
    const size_t half = b->copied / 2;
    double start = bench_now(), spent;
    long count = 0;
    if (!half) return 0;
    do {
        memcpy(count & 1 ? b->from : b->to, count & 1 ? b->to : b->from, half);
        ++count;
        spent = bench_now() - start;
    } while (spent < 5e-4);
    double rate = 2.0 * (double)half * (double)count / spent * 1e-9;
    if (rate > b->copy) b->copy = rate;
    return rate;
}

static bool bench_fail(bench *b, const char *what, const char *why) {
    snprintf(b->text, sizeof b->text, "%s: %s", what, why);
    b->why = b->text;
    return false;
}

/* The machine has as many cores, and a core runs one thread: together they do as many times what one does. */
static bool bench_own_cores(int threads) {
    char line[32] = "";
    FILE *f = fopen("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "r");
    if (f && !fgets(line, sizeof line, f)) line[0] = 0;
    if (f) fclose(f);
    return line[0] && !strpbrk(line, ",-") && threads <= sysconf(_SC_NPROCESSORS_ONLN);
}

/* Peaks of `threads` threads; what is not set in `b` is as for a full run, or a quick one. */
static bool bench_open(bench *b, int threads) {
    b->calls = 1;
    b->threads = threads < 1 ? 1 : threads > BENCH_THREADS ? (int)BENCH_THREADS : threads;
    if (!b->least) b->least = b->quick ? 2 : 5;
    if (!b->most) b->most = b->quick ? 3 : 40;
    if (!(b->sample > 0)) b->sample = b->quick ? 1e-3 : 8e-3;
    if (!(b->patience > 0)) b->patience = b->quick ? 0.1 : 0.4;
    if (alore_init(&b->ctx, NULL)) return bench_fail(b, "bench", "cannot start");
    if (alore_pool_create(&b->ctx, b->threads, &b->pool))
        return bench_fail(b, "threads", alore_last_error(&b->ctx)->text);
    for (int type = 0; type < BENCH_TYPES; ++type) {
        double flops, start, spent = 0;
        void (*loop)(long) = bench_loop(b->isa, type, &flops);
        if (!loop) continue;
        double alone = 0;
        long n = 1000; /* the first bursts raise the clock */
        for (int turn = 0; turn < 40 && spent < 2e-4; ++turn, n += spent < 1e-4 ? n : n / 4) {
            start = bench_now();
            loop(n);
            spent = bench_now() - start;
            if (flops * (double)n / spent * 1e-9 > alone) alone = flops * (double)n / spent * 1e-9;
        }
        b->loops[type] = (long)(alone * 1e9 * 2e-4 / flops) + 1;
        /* all threads together, until they do what one does alone, or for a while */
        start = bench_now();
        for (int i = 0; i < (b->quick ? 10 : 50) ||
                        (b->best[type] < 0.9 * b->threads * alone && bench_now() - start < 0.7);
             ++i)
            bench_burst(b, type);
        if (b->best[type] < 0.9 * b->threads * alone && bench_own_cores(b->threads)) {
            b->best[type] = b->threads * alone; /* they never all had a core: others were at work */
            b->bursts[type][b->burst_count[type]++ % BENCH_BURSTS] = b->best[type];
        }
    }
    return true;
}

static void bench_close(bench *b) { alore_uninit(&b->ctx); }

static int bench_by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The peak of a type: the median of the bursts near the best, since clocks differ by some percent from one
 * moment to the next. Where the machine has no products of the type, they are made in f32. */
static double bench_peak(const bench *b, int type) {
    double near[BENCH_BURSTS];
    int n = 0;
    if (!bench_has(b, type)) type = BENCH_F32;
    for (int i = 0; i < b->burst_count[type] && i < BENCH_BURSTS; ++i)
        if (b->bursts[type][i] > BENCH_NEAR * b->best[type]) near[n++] = b->bursts[type][i];
    qsort(near, (size_t)n, sizeof *near, bench_by_value);
    return n ? near[n / 2] : 0;
}

/* ---- Samples ------------------------------------------------------------------ */

/* Do it once. Returns the seconds of the part that is measured, below 0: it failed. */
typedef double (*bench_work)(void *arg);

/* Median of numbers that are sorted thereby. */
static double bench_median(double *x, int n) {
    qsort(x, (size_t)n, sizeof *x, bench_by_value);
    return n % 2 ? x[n / 2] : (x[n / 2] + x[n / 2 - 1]) / 2;
}

/* How often a second `work` can be done: median, least and most of the samples that count. */
static bool bench_measure(bench *b, bench_work work, void *arg, bench_row *row) {
    double rate[BENCH_SAMPLES], gate[BENCH_SAMPLES], call[BENCH_CALLS], begin = bench_now();
    int n = 0, kept = 0;
    while (n < BENCH_SAMPLES && n < b->most &&
           bench_now() - begin < (n < b->least ? 8 * b->patience : b->patience) &&
           (n < b->least || kept < b->least)) {
        double sum = 0, before = bench_burst(b, BENCH_F32), wall = bench_now();
        int count = 0;
        bench_copy(b);
        while (count < BENCH_CALLS &&
               (count < b->calls || (sum < b->sample && bench_now() - wall < 8 * b->sample))) {
            if ((call[count] = work(arg)) < 0) return false;
            sum += call[count++];
        }
        bench_copy(b);
        double after = bench_burst(b, BENCH_F32), median = bench_median(call, count);
        rate[n] = median > 0 ? 1 / median : 0;
        gate[n++] = before < after ? before : after;
        kept = 0;
        for (int i = 0; i < n; ++i) kept += gate[i] > BENCH_NEAR * b->best[BENCH_F32];
    }
    row->samples = n;
    row->threads = b->threads;
    row->kept = kept;
    if (kept) {
        kept = 0;
        for (int i = 0; i < n; ++i)
            if (gate[i] > BENCH_NEAR * b->best[BENCH_F32]) rate[kept++] = rate[i];
        n = kept;
    }
    row->rate = bench_median(rate, n);
    row->low = rate[0];
    row->high = rate[n - 1];
    return true;
}

/* From times a second to GFLOP/s or GB/s. */
static void bench_scale(bench_row *row, double by) {
    row->rate *= by;
    row->low *= by;
    row->high *= by;
}

/* What a row is of its peak; better known at the end of a run than in its middle. */
static void bench_share(const bench *b, bench_row *row) {
    if (row->type < BENCH_TYPES) row->peak = bench_peak(b, row->type);
    row->share = row->peak > 0 ? row->rate * (row->each > 0 ? row->each : 1) / row->peak : 0;
}

/* ---- Random numbers, weights, inputs ------------------------------------------ */

/* Nearly normal: four uniform numbers, summed. */
static float bench_normal(uint64_t *state) {
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    x ^= x >> 31;
    int sum = (int)(x & 65535) + (int)(x >> 16 & 65535) + (int)(x >> 32 & 65535) + (int)(x >> 48);
    return (float)(sum - 131070) * (1.7320508f / 65535);
}

static void bench_fill(float *to, size_t count, float mean, float deviation, uint64_t seed) {
    uint64_t state = seed;
    for (size_t i = 0; i < count; ++i) to[i] = mean + deviation * bench_normal(&state);
}

/* Build a model with `rules`; 0, or the status of what failed. */
typedef alore_status (*bench_build)(alore_ctx *ctx, const void *arg, const char *rules, alore_model **out);

/* Random values for every tensor of the checkpoint, of a size that keeps activations near 1. What there is
 * tells a model of which everything learns. */
static alore_status bench_weights(alore_ctx *ctx, bench_build build, const void *arg, uint64_t seed,
                                  alore_weights **out) {
    alore_model *m = NULL;
    alore_plan *p = NULL;
    alore_plan_opts o = ALORE_ZERO;
    alore_status s = build(ctx, arg, "unfreeze@*", &m);
    if (!s) s = alore_plan_create(m, &o, &p);
    if (!s) s = alore_weights_create(ctx, out);
    for (int i = 0; !s && i < alore_param_count(p); ++i) {
        alore_param_info info = alore_param_at(p, i);
        alore_tensor t = ALORE_ZERO;
        uint64_t dims[4];
        float fan = 1, mean = 0, deviation = 0.02f;
        size_t n = strlen(info.name);
        for (int k = 0; k < info.shape.rank; ++k) {
            dims[k] = (uint64_t)info.shape.dims[k];
            if (k > 0) fan *= (float)dims[k];
        }
        t.name = info.name;
        t.name_bytes = n;
        t.dims = dims;
        t.rank = info.shape.rank;
        t.bytes = info.count * sizeof(float);
        s = alore_weights_add(*out, &t);
        if (s) break;
        bool gain = t.rank == 1 && ((n > 6 && !strcmp(info.name + n - 6, "weight")) ||
                                    (n > 5 && !strcmp(info.name + n - 5, "gamma")));
        if (gain) mean = 1, deviation = 0.1f;
        if (t.rank > 1 && dims[0] > 1) deviation = (float)sqrt(1 / (double)fan);
        bench_fill((float *)alore_weights_data(*out, info.name), info.count, mean, deviation,
                   seed + 77 * (uint64_t)i);
    }
    alore_plan_destroy(p);
    alore_model_destroy(m);
    return s;
}

/* ---- Kernels -------------------------------------------------------------------- */

typedef enum bench_form {
    BENCH_LINEAR,      /* rows x in x out, the matrix frozen */
    BENCH_LINEAR_GELU, /* the same with bias and GELU */
    BENCH_LINEAR_ADD,  /* with bias, added to what went round it */
    BENCH_PRODUCT,     /* rows x in x out, the matrix learns, so that it cannot be prepared */
    BENCH_KRON,        /* ALoRE: 4 experts of rank 4 */
    BENCH_ATTENTION,   /* rows x numbers of a head x heads */
    BENCH_NORM,        /* rows x columns, as all below */
    BENCH_GELU,
    BENCH_XENT,
    BENCH_ADAMW /* numbers */
} bench_form;

typedef struct bench_case {
    const char *name;
    bench_form form;
    int rows, in, out;
    const char *piece; /* what of a training pass: records that print so; NULL: all of a forward pass */
    bool quick;        /* in a quick run, too */
} bench_case;

/* clang-format off */
static const bench_case bench_cases[] = {
    {"gemm",               BENCH_LINEAR,     197,  768, 2304, NULL, false},
    {"gemm",               BENCH_LINEAR,     197,  768,  768, NULL, false},
    {"gemm",               BENCH_LINEAR,     197,  768, 3072, NULL, false},
    {"gemm",               BENCH_LINEAR,     197, 3072,  768, NULL, false},
    {"gemm",               BENCH_LINEAR,    3152,  768, 2304, NULL, false},
    {"gemm",               BENCH_LINEAR,    3152,  768,  768, NULL, false},
    {"gemm",               BENCH_LINEAR,    3152,  768, 3072, NULL, false},
    {"gemm",               BENCH_LINEAR,    3152, 3072,  768, NULL, false},
    {"gemm",               BENCH_LINEAR,     197,  192,  576, NULL, true},
    {"gemm dx",            BENCH_LINEAR,     197,  768, 2304, "backward matmul_da", false},
    {"gemm dx",            BENCH_LINEAR,     197, 3072,  768, "backward matmul_da", false},
    {"gemm gelu slope",    BENCH_LINEAR_GELU, 197, 768, 3072, "forward matmul", false},
    {"gemm add",           BENCH_LINEAR_ADD, 197, 3072,  768, NULL, false},
    {"gemm dw",            BENCH_PRODUCT,    197,  768, 3072, "backward matmul_db", false},
    {"kron",               BENCH_KRON,       197,  768,  768, NULL, false},
    {"kron backward",      BENCH_KRON,       197,  768,  768, "backward kron_", true},
    {"skinny",             BENCH_PRODUCT,    197,  192,   16, NULL, true},
    {"skinny",             BENCH_PRODUCT,    197,   16,  192, NULL, false},
    {"skinny",             BENCH_PRODUCT,    788,  192,   16, NULL, false},
    {"skinny",             BENCH_PRODUCT,    197,  768,   16, NULL, false},
    {"skinny",             BENCH_PRODUCT,    197,   16,  768, NULL, false},
    {"skinny",             BENCH_PRODUCT,    197,  768,   32, NULL, false},
    {"skinny",             BENCH_PRODUCT,    197,  768,   64, NULL, false},
    {"skinny dw",          BENCH_PRODUCT,    197,  192,   16, "backward matmul_db", true},
    {"skinny dw",          BENCH_PRODUCT,    788,  192,   16, "backward matmul_db", false},
    {"skinny dw",          BENCH_PRODUCT,    197,  768,   16, "backward matmul_db", false},
    {"skinny dw",          BENCH_PRODUCT,    197,   16,  768, "backward matmul_db", false},
    {"skinny dw",          BENCH_PRODUCT,    197,  768,   64, "backward matmul_db", false},
    {"attention forward",  BENCH_ATTENTION,  197,   64,   12, NULL, false},
    {"attention backward", BENCH_ATTENTION,  197,   64,   12, "backward attention_d", false},
    {"attention forward",  BENCH_ATTENTION,  197,   64,    3, NULL, true},
    {"norm forward",       BENCH_NORM,       197,  768,    0, NULL, true},
    {"norm backward",      BENCH_NORM,       197,  768,    0, "backward norm_dx", false},
    {"gelu forward",       BENCH_GELU,       197, 3072,    0, NULL, false},
    {"gelu backward",      BENCH_GELU,       197, 3072,    0, "backward unary_dx", false},
    {"xent",               BENCH_XENT,        64, 1000,    0, NULL, false},
    {"adamw",              BENCH_ADAMW,  1 << 18,    0,    0, NULL, false},
};
/* clang-format on */

enum { BENCH_CASES = sizeof bench_cases / sizeof *bench_cases };

/* The settings that reach the library. */
static alore_config bench_config(const bench *b, int threads) {
    alore_config c = ALORE_ZERO;
    c.threads = threads > 1 ? threads : 0;
    c.isa = (alore_isa)b->isa;
    return c;
}

/* The level that the kernels ran at. */
static const char *bench_isa(const bench *b) {
    return alore_isa_name((alore_isa)b->isa);
}

static void bench_opts(const bench *b, alore_plan_opts *o) {
    static const alore_dtype types[] = {ALORE_F32, ALORE_BF16, ALORE_I8};
    o->precision = types[b->precision];
}

/* Records are added one by one; `x` learns where its gradient is wanted. */
static alore_status bench_build_case(alore_ctx *ctx, const void *arg, const char *rules, alore_model **out) {
    const bench_case *c = (const bench_case *)arg;
    const bool heads = c->form == BENCH_ATTENTION, adamw = c->form == BENCH_ADAMW;
    const int cols = heads ? 3 * c->in * c->out : adamw ? 1 << 12 : c->in;
    alore_model *m;
    alore_attention_opts attention = ALORE_ZERO;
    alore_linear_opts plain = ALORE_ZERO;
    alore_status s = alore_model_create(ctx, out);
    if (s) return s;
    m = *out;
    attention.heads = c->out;
    plain.no_bias = true;
    s = *rules ? alore_attach(m, rules) : ALORE_OK;
    if (s) return s;
    alore_id x = alore_input(m, "x", ALORE_F32, adamw ? 1 : c->rows, cols), y = 0;
    if (c->piece && c->form != BENCH_PRODUCT)
        x = alore_affine(m, x, 0, alore_base(m, "shift", alore_dims(cols, 0, 0, 0)));
    switch (c->form) {
    case BENCH_LINEAR: y = alore_linear(m, "linear", x, c->out, &plain); break;
    case BENCH_LINEAR_GELU: y = alore_unary(m, ALORE_GELU, alore_linear(m, "linear", x, c->out, NULL)); break;
    case BENCH_LINEAR_ADD:
        y = alore_add(m, alore_input(m, "round", ALORE_F32, c->rows, c->out),
                      alore_linear(m, "linear", x, c->out, NULL));
        break;
    case BENCH_KRON: {
        const alore_id mix = alore_base(m, "kron.s", alore_dims(16, 4, 0, 0));
        const alore_id down = alore_base(m, "kron.d", alore_dims(c->in, 4, 0, 0));
        y = alore_kron(m, x, mix, down, alore_base(m, "kron.u", alore_dims(16, c->out / 4, 0, 0)), 4);
        break;
    }
    case BENCH_PRODUCT:
        y = alore_matmul(m, x, alore_base(m, "matrix", alore_dims(c->in, c->out, 0, 0)));
        break;
    case BENCH_ATTENTION:
        y = alore_attention(m, alore_columns(m, x, 0, cols / 3), alore_columns(m, x, cols / 3, cols / 3),
                            alore_columns(m, x, 2 * (cols / 3), cols / 3), &attention);
        break;
    case BENCH_NORM: y = alore_norm(m, "norm", ALORE_KIND_NORM, x, 1e-6f); break;
    case BENCH_GELU: y = alore_unary(m, ALORE_GELU, x); break;
    case BENCH_XENT: y = alore_loss_xent(m, x, alore_input(m, "label", ALORE_I32, c->rows, 1), 0); break;
    case BENCH_ADAMW:
        y = alore_matmul(m, x, alore_base(m, "matrix", alore_dims(cols, c->rows / cols, 0, 0)));
        break;
    }
    if (c->piece || adamw) {
        alore_id target = alore_input(m, "target", ALORE_F32, alore_rows(m, y), alore_cols(m, y));
        alore_output(m, "loss", alore_loss_mse(m, y, target));
    } else
        alore_output(m, "y", y);
    return alore_model_finish(m);
}

/* Floating-point operations, or bytes read and written, of what is measured. */
static double bench_case_work(const bench_case *c) {
    const double a = c->rows, b = c->in, d = c->out;
    switch (c->form) {
    case BENCH_LINEAR:
    case BENCH_LINEAR_GELU:
    case BENCH_LINEAR_ADD:
    case BENCH_PRODUCT: return 2 * a * b * d;
    case BENCH_KRON: return (c->piece ? 2 : 1) * 32 * a * (b + d) + (c->piece ? 3 : 1) * 512 * a;
    case BENCH_ATTENTION: return (c->piece ? 5 : 2) * 2 * a * a * b * d; /* scores are made again */
    case BENCH_NORM:
    case BENCH_GELU: return (c->piece ? 3 : 2) * 4 * a * b;
    case BENCH_XENT: return 4 * a * b;
    case BENCH_ADAMW: return 9 * 4 * a; /* the norm reads g; the update reads and writes g, p, m, v */
    }
    return 0;
}

typedef struct bench_net {
    alore_ctx ctx;
    alore_model *model;
    alore_plan *plan;
    alore_run *run;
    int pieces[BENCH_PIECES], count; /* the records that are measured; none: the whole forward pass */
    bool adamw; /* the step is measured */
    double (*clock)(void);
} bench_net;

typedef struct bench_search { /* a writer that looks for records by what they print */
    const char *piece;
    bench_net *net;
    char line[64];
    size_t used;
} bench_search;

/* Lines of alore_plan_print begin "index phase name". */
static bool bench_search_write(void *user, const void *data, size_t bytes) {
    bench_search *s = (bench_search *)user;
    for (const char *c = (const char *)data, *end = c + bytes; c < end; ++c) {
        if (*c != '\n') {
            if (s->used + 1 < sizeof s->line) s->line[s->used++] = *c;
            continue;
        }
        char *after;
        s->line[s->used] = 0;
        s->used = 0;
        const int index = (int)strtol(s->line, &after, 10);
        if (after != s->line && !strncmp(after + 1, s->piece, strlen(s->piece)) &&
            s->net->count < BENCH_PIECES)
            s->net->pieces[s->net->count++] = index;
    }
    return true;
}

static double bench_run_case(void *arg) {
    bench_net *n = (bench_net *)arg;
    bool done = false;
    double start = n->clock();
    if (n->adamw) {
        if (alore_backward(n->run, 0)) return -1;
        start = n->clock();
        return alore_step(n->run, NULL, 1e-6f, NULL) ? -1 : n->clock() - start;
    }
    if (!n->count) return alore_forward(n->run, 0) ? -1 : n->clock() - start;
    double spent = 0;
    if (alore_begin(n->run, ALORE_BACKWARD, 0)) return -1;
    for (int i = 0, at = 0; i < n->count; at = n->pieces[i++] + 1) {
        if (alore_advance(n->run, n->pieces[i] - at, &done)) return -1;
        start = n->clock();
        if (alore_advance(n->run, 1, &done)) return -1;
        spent += n->clock() - start;
    }
    while (!done)
        if (alore_advance(n->run, 1 << 20, &done)) return -1;
    return spent;
}

/* Inputs are random numbers; labels are zeros. */
static void bench_inputs(alore_run *run, const char *const names[], const size_t counts[], int count) {
    for (int i = 0; i < count; ++i) {
        float *to = (float *)alore_run_input(run, names[i]);
        if (to) bench_fill(to, counts[i], 0, 1, 1000 + (uint64_t)i);
    }
}

/* Model, plan and run of a case. */
static alore_status bench_case_open(const bench *b, const bench_case *c, bench_net *n) {
    static const char *const names[] = {"x", "target"};
    const bool learns = c->piece || c->form == BENCH_ADAMW || c->form == BENCH_PRODUCT;
    const char *rules = !learns                                              ? ""
                        : c->form == BENCH_PRODUCT || c->form == BENCH_ADAMW ? "unfreeze@matrix"
                        : c->form == BENCH_KRON                              ? "unfreeze@shift|kron.*"
                                                                             : "unfreeze@shift";
    alore_config config = bench_config(b, 1);
    alore_plan_opts o = ALORE_ZERO;
    alore_weights *base = NULL;
    bench_search found = {c->piece, n, "", 0};
    alore_writer search = {bench_search_write, &found};
    size_t counts[2];
    memset(n, 0, sizeof *n);
    n->adamw = c->form == BENCH_ADAMW;
    n->clock = bench_now;
    alore_status s = alore_init(&n->ctx, &config);
    if (s) return s;
    if (learns || c->form <= BENCH_KRON || c->form == BENCH_NORM)
        s = bench_weights(&n->ctx, bench_build_case, c, 7, &base);
    else if (b->precision)
        s = alore_weights_create(&n->ctx, &base); /* none, to be packed */
    if (!s) s = bench_build_case(&n->ctx, c, rules, &n->model);
    o.train = c->piece || n->adamw;
    bench_opts(b, &o);
    if (!s) s = alore_plan_create(n->model, &o, &n->plan);
    if (!s && c->piece) s = alore_plan_print(n->plan, &search);
    if (!s && base) s = alore_weights_pack(n->plan, base, NULL, &base);
    if (!s) s = alore_run_create(n->plan, base, &n->run);
    if (s) return s;
    counts[0] = n->adamw
                    ? (size_t)1 << 12
                    : (size_t)c->rows * (size_t)c->in * (c->form == BENCH_ATTENTION ? 3 * (size_t)c->out : 1);
    counts[1] = (size_t)(n->adamw ? c->rows / (1 << 12)
                                  : c->rows * (c->form == BENCH_NORM || c->form == BENCH_GELU ? c->in
                                               : c->form == BENCH_ATTENTION                   ? c->in * c->out
                                                                                              : c->out));
    bench_inputs(n->run, names, counts, 2);
    return ALORE_OK;
}

/* Measure one case in one precision. False: it failed. A row without a name: there is no such record. */
static bool bench_case_run(bench *b, const bench_case *c, bench_row *row) {
    bench_net n;
    const bool flops = c->form <= BENCH_ATTENTION;
    const double work = bench_case_work(c);
    memset(row, 0, sizeof *row);
    bool good = bench_case_open(b, c, &n) == ALORE_OK;
    if (good && c->piece && !n.count) return alore_uninit(&n.ctx), true;
    const char *by = "", *name = c->name;
#ifdef ALORE_BLAS
    if (c->form <= BENCH_PRODUCT && b->precision == BENCH_F32) by = "blas ", name += strncmp(name, "gemm ", 5) ? 0 : 5;
    if (*by && !strcmp(name, "gemm")) by = "", name = "blas";
#endif
    int used = snprintf(row->name, sizeof row->name, "%s%s %s %d", by, name, bench_types[b->precision], c->rows);
    if (c->in) used += snprintf(row->name + used, sizeof row->name - (size_t)used, "x%d", c->in);
    if (c->out) snprintf(row->name + used, sizeof row->name - (size_t)used, "x%d", c->out);
    row->type = flops ? b->precision : (int)BENCH_TYPES;
    b->copied = flops ? 0 : (size_t)work;
    b->copy = 0;
    if (good && b->copied) {
        b->from = (char *)calloc(b->copied, 1);
        b->to = b->from ? b->from + b->copied / 2 : NULL;
        if (!b->from) b->copied = 0;
    }
    double once = good ? bench_run_case(&n) : -1;
    const bool brief = once < 5e-4;
    if (!brief) n.clock = bench_cpu_time; /* reading it takes a third of a microsecond */
    b->calls = brief ? 5 : 1;
    good = once >= 0 && bench_measure(b, bench_run_case, &n, row);
    if (!good) bench_fail(b, row->name, alore_last_error(&n.ctx)->text);
    bench_scale(row, work * 1e-9);
    if (!flops) row->peak = b->copy;
    if (b->copied) free(b->from);
    b->copied = 0;
    alore_uninit(&n.ctx);
    return good;
}

/* bf16: frozen products, and attention where its dot products pay; i8: these products forward; adapters and
 * the rest stay f32. */
static bool bench_wanted(const bench *b, const bench_case *c, int precision) {
    if (precision == BENCH_BF16)
        return c->form <= BENCH_LINEAR_ADD || (c->form == BENCH_ATTENTION && bench_has(b, BENCH_BF16));
    return precision == BENCH_F32 || (c->form <= BENCH_LINEAR_ADD && !c->piece);
}

/* Every kernel, in every precision there is. Returns how many rows; fewer than there are: b->why. */
static int bench_kernels(bench *b, bench_row rows[BENCH_ROWS]) {
    int count = 0;
    for (b->precision = 0; b->precision < BENCH_PRECISIONS; ++b->precision)
        for (int i = 0; i < BENCH_CASES; ++i) {
            const bench_case *c = &bench_cases[i];
            if ((b->quick && !c->quick) || !bench_wanted(b, c, b->precision)) continue;
            if (b->only && !strstr(c->name, b->only)) continue;
            if (b->progress) b->progress(b->user, c->name, count, BENCH_CASES * BENCH_PRECISIONS);
            if (!bench_case_run(b, c, &rows[count])) return count;
            count += rows[count].name[0] != 0;
        }
    b->precision = 0;
    for (int i = 0; i < count; ++i) bench_share(b, &rows[i]);
    return count;
}

/* ---- Networks --------------------------------------------------------------------- */

typedef struct bench_stepper {
    alore_run *run;
    bool train;
    float norm;        /* of the last step's gradient */
    alore_cache cache; /* bound: steps begin behind what it holds */
    uint32_t items[BENCH_ITEMS];
} bench_stepper;

static double bench_step(void *arg) {
    bench_stepper *s = (bench_stepper *)arg;
    double start = bench_now();
    if (s->cache.plan ? alore_backward_cached(s->run, &s->cache, s->items, 0)
        : s->train    ? alore_backward(s->run, 0)
                      : alore_forward(s->run, 0))
        return -1;
    if (s->train && alore_step(s->run, NULL, 1e-3f, &s->norm)) return -1;
    return bench_now() - start;
}

/* A cache with room for the whole batch, which every step meets again. The caller frees its memory. */
static inline alore_status bench_cache(bench_stepper *s, const alore_plan *p, int batch) {
    const size_t bytes = alore_cache_bytes(p, ALORE_F32) * (size_t)batch;
    void *memory = batch <= BENCH_ITEMS ? malloc(bytes) : NULL;
    if (!memory) return ALORE_ERR_MEMORY;
    for (int i = 0; i < batch; ++i) s->items[i] = (uint32_t)i;
    alore_status status = alore_cache_bind(&s->cache, s->run, (uint32_t)batch, ALORE_F32, memory, bytes);
    s->cache.memory = (unsigned char *)memory;
    return status;
}

/* Steps behind the first, which is the caller's: images a second in `row`, and their share of the peak of all
 * threads by the plan's operations. b->least and b->most tell how many steps. */
static bool bench_network(bench *b, const alore_plan *p, bench_stepper *s, int batch, bench_row *row) {
    row->type = b->precision;
    if (!bench_measure(b, bench_step, s, row)) return false;
    bench_scale(row, batch);
    row->each = alore_plan_flops(p) * 1e-9;
    bench_share(b, row);
    return true;
}

/* ---- A step by the kinds of its records -------------------------------------------- */

enum { BENCH_BACKBONE, BENCH_ADAPTER, BENCH_AGAIN, BENCH_OPTIMIZER, BENCH_OWNERS };

static const char *const bench_owners[] = {"backbone", "adapter", "again", "optimizer"};

typedef struct bench_line { /* all records of a kernel that are one owner's */
    const char *kernel;
    int owner, records; /* of a step, which repeats them for each group of samples */
    bool product;       /* with operations that can be counted */
    double seconds, flops, peak;
} bench_line;

typedef struct bench_profile {
    bench_line lines[BENCH_OWNERS * ALO_K_COUNT]; /* the slowest first */
    int count;
    double seconds, of[BENCH_OWNERS]; /* a step; the owners' parts of it */
} bench_profile;

/* Does a record touch numbers of an adapter, or their gradient? */
static bool bench_touches(const alore_plan *p, const alo_op *op) {
    for (int k = 0; k < ALO_OPERANDS; ++k) {
        const int32_t id = alo_operand(op, k), root = p->tensors[id].root;
        const alo_tensor *x = &p->tensors[root];
        for (int i = 0; id && i < p->param_count; ++i) {
            const alo_param *q = &p->params[i];
            const bool grad = x->segment == ALO_GRAD && q->segment == ALO_PARAM;
            if (!q->base && (q->tensor == root || (grad && p->tensors[q->tensor].offset == x->offset)))
                return true;
        }
    }
    return false;
}

/* An adapter's records touch its numbers, or stand at the site of such a record, go number by number and
 * read no weight of the checkpoint: its sums, copies and the like. */
static int bench_owner(const alore_plan *p, int i) {
    const alo_op *op = &p->ops[i];
    const alo_kernel_row *row = &alo_kernel_rows[op->code];
    const bool forward = row->writes[0] == 'y' && op->code != ALO_K_cast && op->code < ALO_K_copy;
    bool frozen = false, site = false;
    if (i >= p->backward) return BENCH_OPTIMIZER;
    if (i >= p->forward && forward) return BENCH_AGAIN; /* made again for the backward pass */
    if (bench_touches(p, op)) return BENCH_ADAPTER;
    for (int k = 0; k < ALO_IN; ++k) frozen |= p->tensors[p->tensors[op->in[k]].root].segment == ALO_BASE;
    if (frozen || !op->site || row->how != ALO_HOW_each || op->code == ALO_K_unary ||
        op->code == ALO_K_unary_dx)
        return BENCH_BACKBONE;
    for (int k = 0; k < p->backward && !site; ++k)
        site = !strcmp(p->names + p->ops[k].site, p->names + op->site) && bench_touches(p, &p->ops[k]);
    return site ? BENCH_ADAPTER : BENCH_BACKBONE;
}

static int bench_by_seconds(const void *a, const void *b) {
    const double x = ((const bench_line *)a)->seconds, y = ((const bench_line *)b)->seconds;
    return (x < y) - (x > y);
}

/* One step, record after record on this thread; the seconds it had a core are added to those of each record,
 * behind them to those of the optimizer. False: it failed. */
static bool bench_records(const bench_stepper *s, const alore_plan *p, double *spent) {
    const int end = s->train ? p->backward : p->forward;
    double last, now;
    bool done = false;
    if (alore_begin(s->run, s->train ? ALORE_BACKWARD : ALORE_FORWARD, 0)) return false;
    last = bench_cpu_time();
    for (int i = 0; !done; i = i + 1 < end ? i + 1 : p->once) {
        if (alore_advance(s->run, 1, &done)) return false;
        now = bench_cpu_time();
        spent[i] += now - last;
        last = now;
    }
    if (s->train && alore_step(s->run, NULL, 1e-3f, NULL)) return false;
    if (s->train) spent[p->op_count] += bench_cpu_time() - last;
    return true;
}

/* Where the time of a step goes: of each record the median of `steps` steps, summed by kernel and owner. The
 * plan is for one lane. */
static inline bool bench_profile_run(bench *b, const alore_plan *p, const bench_stepper *s, int steps,
                                     bench_profile *out) {
    const int n = p->op_count + 1, groups = (p->opts.batch + p->opts.span - 1) / p->opts.span;
    double *spent = (double *)calloc((size_t)n * (size_t)steps, sizeof *spent), one[BENCH_SAMPLES];
    bool good = spent && steps <= BENCH_SAMPLES;
    memset(out, 0, sizeof *out);
    for (int k = -1; good && k < steps; ++k) { /* the first warms up */
        bench_burst(b, BENCH_F32);
        if (b->precision) bench_burst(b, b->precision);
        good = bench_records(s, p, spent + (k < 0 ? 0 : n * k));
        if (k < 0) memset(spent, 0, (size_t)n * sizeof *spent);
    }
    for (int i = 0; good && i < n; ++i) {
        const bool optimizer = i == p->op_count;
        if (optimizer ? !s->train : i >= (s->train ? p->backward : p->forward)) continue;
        const alo_tensor *t[ALO_OPERANDS];
        const int code = !optimizer                         ? p->ops[i].code
                         : p->opts.optimizer == ALORE_ADAMW ? (int)ALO_K_adamw
                                                            : (int)ALO_K_sgd;
        const int owner = optimizer ? BENCH_OPTIMIZER : bench_owner(p, i);
        const int times = i < p->once || optimizer ? 1 : groups;
        const bool packed = code == ALO_K_matmul || code == ALO_K_matmul_da;
        const char *kernel = alo_kernel_rows[code].name;
        bench_line *l = out->lines, *end = l + out->count;
        while (l < end && (l->owner != owner || l->kernel != kernel)) ++l;
        out->count += l == end;
        for (int k = 0; k < steps; ++k) one[k] = spent[n * k + i];
        const double median = bench_median(one, steps);
        l->kernel = kernel;
        l->owner = owner;
        l->product = !optimizer && alo_kernel_rows[code].how == ALO_HOW_whole;
        l->records += times;
        l->seconds += median;
        l->flops += l->product ? alo_record_cost(p, i, t) * (i < p->once ? 1 : p->opts.batch) : 0;
        l->peak = bench_peak(b, packed && owner == BENCH_BACKBONE ? b->precision : BENCH_F32);
        out->of[owner] += median;
        out->seconds += median;
    }
    for (int i = 0; i < BENCH_OWNERS; ++i) out->of[i] /= out->seconds > 0 ? out->seconds : 1;
    qsort(out->lines, (size_t)out->count, sizeof *out->lines, bench_by_seconds);
    free(spent);
    return good;
}

/* Bytes of memory that the process had at most. Linux's getrusage would count those of the program that
 * started this one. */
static inline uint64_t bench_peak_rss(void) {
    struct rusage used;
    unsigned long long kilobytes = 0;
    char line[128];
    FILE *f = fopen("/proc/self/status", "r");
    while (f && !kilobytes && fgets(line, sizeof line, f)) sscanf(line, "VmHWM: %llu", &kilobytes);
    if (f) fclose(f);
    if (kilobytes) return kilobytes * 1024;
    getrusage(RUSAGE_SELF, &used);
#if defined(__APPLE__)
    return (uint64_t)used.ru_maxrss;
#else
    return (uint64_t)used.ru_maxrss * 1024;
#endif
}

/* Answer each line of stdin with the seconds of one step, "q" or the end with the peak memory. Before that
 * comes a line when the first step is done, with the seconds since `begun`, and one with the mean loss of the
 * batch as it found it and the norm of its gradient. */
static inline bool bench_serve(bench_stepper *s, int batch, double begun) {
    char line[64];
    double mean = 0;
    if (bench_step(s) < 0) return false;
    printf("FIRST %.6f\n", bench_now() - begun);
    fflush(stdout);
    const float *loss = alore_run_output(s->run, "loss");
    for (int i = 0; loss && i < batch; ++i) mean += (double)loss[i] / batch;
    printf("READY %.9g %.9g\n", mean, (double)s->norm);
    fflush(stdout);
    while (fgets(line, sizeof line, stdin) && line[0] != 'q') {
        double t = bench_step(s);
        if (t < 0) return false;
        printf("%.6f\n", t);
        fflush(stdout);
    }
    printf("RSS %llu\n", (unsigned long long)bench_peak_rss());
    return true;
}

/* What the planner promises: the checkpoint's tensors and all that a run is given. */
static inline uint64_t bench_planned(const alore_plan *p) {
    alore_memory m = alore_plan_memory(p);
    return (uint64_t)m.base + m.total;
}

#endif
