/* test.c - every test of alore.h, one section for each section of the header.
 *
 *   tests/test                  run all; the last line is "N passed, N failed"
 *   tests/test --filter merge   only the tests whose name contains the text
 *   tests/test --list           names only
 *   tests/test --data DIR       the full reference set (default ../shared/golden)
 *
 * The implementation is compiled in, so tests may use private names. A case is one
 * check of one row. Small reference files lie in tests/data; the full set is used
 * where it is found, and its absence is printed. */
#define _POSIX_C_SOURCE 200809L
#include <assert.h>
#define ALORE_ASSERT(x) assert(x)
#define ALO_GRAIN 40 /* small records are split, too */
#define ALO_FEW 40   /* small tensors are stored in fewer bytes, too */
static unsigned t_cpu_more, t_cpu_less; /* bits of alo_cpu that a test adds, and takes away */
#define ALO_CPU_SEEN(has) (((has) | t_cpu_more) & ~t_cpu_less)
#define ALORE_IMPLEMENTATION
#include "../alore.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

/* ---- The runner ------------------------------------------------------------- */

static const char *t_name = "";             /* of the running test              */
static const char *t_data = "tests/data";   /* small files, always there        */
static const char *t_golden = NULL;         /* the full set, or NULL            */
static int t_passed, t_failed, t_skipped;

#define EPS 1.1920929e-7 /* of a float */

/* One case. The text tells the values; it is printed where the case fails. */
static bool ok(bool pass, const char *format, ...)
{
    va_list args;
    if (pass) {
        ++t_passed;
        return true;
    }
    ++t_failed;
    printf("FAILED %s: ", t_name);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    return false;
}

/* |a - b| <= bound, false for NaN. */
static bool near(double a, double b, double bound, const char *what)
{
    return ok(fabs(a - b) <= bound, "%s: %.9g is not %.9g within %.2g", what, a, b,
              bound);
}

/* The larger one; unlike with fmax() what is no number stays. */
static double t_worse(double worst, double now)
{
    return now <= worst ? worst : now;
}

/* Number `i` of a file's floats of 4 or 8 bytes: little-endian, on any machine. */
static double t_stored(const void *data, size_t i, size_t size)
{
    float x = 0;
    double wide = 0;
    alo_swap(size == 4 ? (void *)&x : (void *)&wide, (const char *)data + i * size, size, 1);
    return size == 4 ? (double)x : wide;
}

static void t_store(void *data, size_t i, size_t size, double v)
{
    const float x = (float)v;
    alo_swap((char *)data + i * size, size == 4 ? (const void *)&x : (const void *)&v, size, 1);
}

static void skip(const char *why)
{
    ++t_skipped;
    printf("skipped %s: %s\n", t_name, why);
}

/* An allocator that counts, and that fails at the k-th call if told to. */
typedef struct t_heap {
    size_t blocks, bytes, peak;
    long calls, fail_at; /* 0: never */
} t_heap;

static void *t_alloc(void *user, size_t bytes, size_t align)
{
    t_heap *h = (t_heap *)user;
    void *p = NULL;
    if (++h->calls == h->fail_at) return NULL;
    if (posix_memalign(&p, align, bytes)) return NULL;
    h->blocks++;
    h->bytes += bytes;
    if (h->bytes > h->peak) h->peak = h->bytes;
    return p;
}

static void t_release(void *user, void *block, size_t bytes)
{
    t_heap *h = (t_heap *)user;
    h->blocks--;
    h->bytes -= bytes;
    free(block);
}

/* A context on a counting allocator. */
static void t_begin(alore_ctx *ctx, t_heap *heap)
{
    alore_config config = ALORE_ZERO;
    memset(heap, 0, sizeof *heap);
    config.allocator.alloc = t_alloc;
    config.allocator.release = t_release;
    config.allocator.user = heap;
    ok(alore_init(ctx, &config) == ALORE_OK, "init");
}

/* Close it: nothing may be left. */
static void t_end(alore_ctx *ctx, t_heap *heap)
{
    alore_uninit(ctx);
    ok(heap->blocks == 0 && heap->bytes == 0, "%zu blocks, %zu bytes leaked",
       heap->blocks, heap->bytes);
}

#if defined(ALO_X86) && !defined(ALORE_NO_SIMD)
/* c += a b for the pairs of sixteen words. */
__attribute__((target("avx512f"))) static void t_dot16(float *c, const uint32_t *a, const uint32_t *b)
{
    __asm__ volatile("vmovups (%0), %%zmm0\nvmovups (%1), %%zmm1\nvmovups (%2), %%zmm2\n"
                     "vdpbf16ps %%zmm2, %%zmm1, %%zmm0\nvmovups %%zmm0, (%0)\nvzeroupper"
                     : : "r"(c), "r"(a), "r"(b) : "memory", "xmm0", "xmm1", "xmm2");
}

/* Dot products of bfloat16 run. Some hosts hide them from their guests, where they run nevertheless: a child
 * tries, which may die of it. */
static bool t_runs_dot16(void)
{
    if (!alore_isa_name(ALORE_ISA_AVX512)) return false;
    if (alo_cpu() >> 8 & ALO_OWN_BF16) return true;
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) {
        float c[16] = {0};
        uint32_t a[16] = {0x40003f80u}; /* 2 and 1, squared */
        signal(SIGILL, SIG_DFL);
        t_dot16(c, a, a);
        _exit(c[0] != 5.0f);
    }
    int status = 1;
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}
enum { T_DOT16_ISA = ALORE_ISA_AVX512 };
#elif defined(ALO_ARM)
static void t_dot16(float *c, const uint32_t *a, const uint32_t *b)
{
    float x[16], y[16];
    memcpy(x, a, sizeof x), memcpy(y, b, sizeof y);
    for (int i = 0; i < 16; i += 4)
        vst1q_f32(c + i, alo_v_dot16_own_neon(vld1q_f32(x + i), vld1q_f32(y + i), vld1q_f32(c + i)));
}
static bool t_runs_dot16(void) { return alo_cpu() >> 8 & ALO_OWN_BF16; }
enum { T_DOT16_ISA = ALORE_ISA_NEON };
#else
static void t_dot16(float *c, const uint32_t *a, const uint32_t *b) { (void)c, (void)a, (void)b; }
static bool t_runs_dot16(void) { return false; }
enum { T_DOT16_ISA = ALORE_ISA_NEON };
#endif

/* Dot products that are instructions here, ALO_OWN_ bits. */
static unsigned t_own_dots(void)
{
    return (alo_cpu() >> 8) | (t_runs_dot16() ? (unsigned)ALO_OWN_BF16 : 0u);
}

/* Two fused products, the upper terms first, in 16000 random words: what Intel's CPUs do. Another order, or one
 * rounding, is another sum within the same bound. */
static bool t_fuses_dot16(void)
{
    unsigned state = 1, other = 0;
    if (!t_runs_dot16()) return false;
    for (int e = 0; e < 1000; ++e) {
        uint32_t a[16], b[16];
        float c[16], sum[16];
        for (int i = 0; i < 16; ++i) {
            uint32_t word[5];
            for (int k = 0; k < 5; ++k) {
                state = state * 1664525u + 1013904223u;
                word[k] = (state << 31) | (state >> 5 & 0x7fffffu) | (120u + (state >> 28)) << 23;
            }
            a[i] = (word[0] & 0xffff0000u) | word[1] >> 16, b[i] = (word[2] & 0xffff0000u) | word[3] >> 16;
            c[i] = alo_float(word[4]);
            sum[i] = fmaf(alo_float(a[i] & 0xffff0000u), alo_float(b[i] & 0xffff0000u), c[i]);
            sum[i] = fmaf(alo_float(a[i] << 16), alo_float(b[i] << 16), sum[i]);
        }
        t_dot16(c, a, b);
        other += memcmp(c, sum, sizeof c) != 0;
    }
    return other == 0;
}

/* Path of a file of the full set in a static buffer, or NULL (said once by main). */
static const char *t_path(const char *file)
{
    static char path[1024];
    if (!t_golden) return NULL;
    snprintf(path, sizeof path, "%s/%s", t_golden, file);
    return path;
}



static void t_foundation_sizes(void)
{
    ok(alo_mul(0, SIZE_MAX) == 0 && alo_mul(SIZE_MAX, 0) == 0, "times zero");
    ok(alo_mul(3, 5) == 15, "3 * 5");
    ok(alo_mul(SIZE_MAX / 2, 2) == SIZE_MAX - 1, "the largest even size");
    ok(alo_mul(SIZE_MAX / 2 + 1, 2) == SIZE_MAX, "a product saturates");
    ok(alo_mul(SIZE_MAX, SIZE_MAX) == SIZE_MAX, "the largest product");
    ok(alo_sum(SIZE_MAX - 1, 1) == SIZE_MAX, "the largest sum");
    ok(alo_sum(SIZE_MAX, 1) == SIZE_MAX, "a sum saturates");
    ok(alo_sum(2, 3) == 5, "2 + 3");
    ok(alo_align(0, 64) == 0 && alo_align(1, 64) == 64, "up from 0 and 1");
    ok(alo_align(64, 64) == 64 && alo_align(65, 64) == 128, "up from 64 and 65");
    ok(alo_align(SIZE_MAX - 3, 64) == SIZE_MAX, "no wrap on the way up");
}

/* What the formatter writes into `bytes` bytes, in a static buffer. */
static const char *t_print(size_t bytes, size_t *used, const char *format, ...)
{
    static char place[400];
    alo_text text = {place, bytes, 0};
    va_list args;
    memset(place, 'x', sizeof place);
    place[sizeof place - 1] = 0;
    va_start(args, format);
    alo_print_list(&text, format, args);
    va_end(args);
    if (used) *used = text.used;
    return place;
}

static void t_foundation_print(void)
{
    size_t used;
    const char *s = t_print(300, &used, "%s|%d|%z|%u|%x|%%", "word", -7, SIZE_MAX,
                            (uint64_t)UINT64_MAX, (uint64_t)0xbeef);
    char want[200];
    snprintf(want, sizeof want, "word|-7|%zu|18446744073709551615|beef|%%", SIZE_MAX);
    ok(!strcmp(s, want) && used == strlen(want), "\"%s\" is not \"%s\"", s, want);
    s = t_print(300, NULL, "%d %d %d", INT32_MIN, INT32_MAX, 0);
    ok(!strcmp(s, "-2147483648 2147483647 0"), "extreme ints: %s", s);
    s = t_print(5, &used, "%s", "123456789");
    ok(!strcmp(s, "1234") && used == 9 && s[5] == 'x', "cut to 5 bytes: %s", s);
    s = t_print(0, &used, "%s", "abc");
    ok(s[0] == 'x' && used == 3, "no room: nothing is written");
    s = t_print(1, &used, "%s", "");
    ok(s[0] == 0 && used == 0, "an empty text is ended");
}

static void t_real(double x)
{
    char want[64];
    const char *got = t_print(64, NULL, "%g", x);
    snprintf(want, sizeof want, "%g", x);
    ok(!strcmp(got, want), "%.17g prints as \"%s\"", x, got);
}

static void t_foundation_print_real(void)
{
    static const double rows[] = {
        0,           -0.0,         1,        -1,       10,       100,
        99999,       100000,       999999,   1e6,      9999990,  1e-4,
        1e-5,        0.00123,      0.1,      1.0 / 3,  -2e300,   1e100,
        1e-100,      123456,       12345.6,  0.5,      0.25,     5e-324,
        2e-308,      1.7e308,      999999.4, 999999.6, 9.999996, 9.9999949,
        65520,       3.14159265,   -1e-7,    1e15,     1e22,     1e23,
        0.000999999, 0.0009999996, 123,      4096};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) t_real(rows[i]);
    t_real(INFINITY);
    t_real(-INFINITY);
    t_real(NAN);
    for (uint64_t i = 0; i < 3000; ++i) { /* any bits, and numbers of usual size */
        uint64_t bits =
            (uint64_t)alore_random_u32(1, 2, i) << 32 | alore_random_u32(1, 3, i);
        double x;
        memcpy(&x, &bits, sizeof x);
        if (!isnan(x)) t_real(x);
        t_real((double)alore_random_normal(1, 4, i) * pow(10, (double)(i % 16) - 7));
    }
}

static void t_foundation_errors(void)
{
    alore_ctx ctx;
    t_heap heap;
    char long_name[200];
    t_begin(&ctx, &heap);
    ok(alore_last_error(&ctx)->status == ALORE_OK, "no error at first");
    ok(alo_fail(&ctx, ALORE_ERR_SHAPE, "blocks.3", "%d is not %d", 4, 5) ==
           ALORE_ERR_SHAPE,
       "the status comes back");
    ok(alore_last_error(&ctx)->status == ALORE_ERR_SHAPE, "and is kept");
    ok(!strcmp(ctx.error.text, "4 is not 5"), "text: %s", ctx.error.text);
    ok(!strcmp(ctx.error.site, "blocks.3"), "site: %s", ctx.error.site);
    memset(long_name, 'n', sizeof long_name);
    long_name[sizeof long_name - 1] = 0;
    alo_fail(&ctx, ALORE_ERR_NAME, long_name, "%s%s", long_name, long_name);
    ok(strlen(ctx.error.site) == 63 && strlen(ctx.error.text) == 255, "cut, not over");
    for (int s = 0; s <= (int)ALORE_ERR_NONFINITE; ++s)
        ok(strcmp(alore_status_text((alore_status)s), "unknown") != 0, "text of %d", s);
    ok(!strcmp(alore_status_text((alore_status)99), "unknown"), "text of 99");
    t_end(&ctx, &heap);
}

typedef struct t_thing {
    alo_object object;
    int number;
} t_thing;

static void t_thing_destroy(alo_object *o)
{
    int *sum = (int *)o->ctx->config.user;
    *sum = *sum * 10 + ((t_thing *)(void *)o)->number;
    alo_object_free(o);
}

static void t_foundation_objects(void)
{
    alore_ctx ctx;
    t_heap heap;
    t_thing *things[4];
    int order = 0;
    t_begin(&ctx, &heap);
    ctx.config.user = &order;
    for (int i = 0; i < 4; ++i) {
        things[i] =
            (t_thing *)(void *)alo_object_new(&ctx, sizeof(t_thing), t_thing_destroy);
        if (!ok(things[i] != NULL, "object %d", i)) return;
        things[i]->number = i + 1;
    }
    things[1]->object.destroy(&things[1]->object); /* from the middle */
    things[3]->object.destroy(&things[3]->object); /* the last made */
    ok(heap.blocks == 2, "%zu objects are left", heap.blocks);
    alore_uninit(&ctx);
    ok(order == 2431, "destroyed in the order %d", order);
    ok(heap.blocks == 0 && heap.bytes == 0, "%zu leaked", heap.bytes);

    t_begin(&ctx, &heap);
    heap.fail_at = heap.calls + 1;
    ok(!alo_object_new(&ctx, 64, t_thing_destroy), "a failing allocator");
    ok(ctx.error.status == ALORE_ERR_MEMORY && !ctx.objects, "MEMORY, and no object");
    ok(strstr(ctx.error.text, "64 bytes") != NULL, "%s", ctx.error.text);
    ok(!alo_new(&ctx, SIZE_MAX), "a saturated size");
    t_end(&ctx, &heap);
}

static void t_foundation_grow(void)
{
    alore_ctx ctx;
    t_heap heap;
    alo_object *o;
    int *array = NULL, count = 0, room = 0;
    t_begin(&ctx, &heap);
    o = alo_object_new(&ctx, sizeof *o, alo_object_free);
    for (int i = 0; i < 128; ++i) { /* the even places first, then the odd ones between them */
        const int at = i < 64 ? i : 2 * (i - 64) + 1, x = i < 64 ? 2 * i : at;
        if (!ok(o && alo_list_add(o, &array, &count, &room, at, &x, sizeof x), "element %d", i)) return;
    }
    for (int i = 0; i < 128; ++i) ok(array[i] == i, "element %d is %d", i, array[i]);
    ok(room == 128 && count == 128, "room %d for %d", room, count);
    ok((uintptr_t)array % 16 == 0 && heap.blocks == 2, "%zu blocks", heap.blocks);
    heap.fail_at = heap.calls + 1;
    ok(!alo_list_add(o, &array, &count, &room, 0, &room, sizeof room), "a failing allocator");
    ok(room == 128 && count == 128 && array[99] == 99, "a failure leaves the old array");
    t_end(&ctx, &heap);
}

static void t_foundation_init(void)
{
    alore_ctx ctx;
    alore_config config = ALORE_ZERO;
    t_heap heap;
    void *block;
    ok(alore_init(NULL, NULL) == ALORE_ERR_ARGUMENT, "no context");
    ok(alore_init(&ctx, NULL) == ALORE_OK, "the defaults");
    for (size_t bytes = 0; bytes < 300; bytes += 37) {
        block = alo_new(&ctx, bytes);
        ok(block && (uintptr_t)block % 64 == 0, "%zu bytes at %p", bytes, block);
        if (block) memset(block, 1, bytes);
        alo_free(&ctx, block, bytes);
    }
    alore_uninit(&ctx);
    alore_uninit(&ctx);
    alore_uninit(NULL);
    config.allocator.alloc = t_alloc;
    ok(alore_init(&ctx, &config) == ALORE_ERR_ARGUMENT, "alloc without release");
    ok(strstr(ctx.error.text, "release") != NULL, "%s", ctx.error.text);
    config.allocator.alloc = NULL;
    config.allocator.release = t_release;
    ok(alore_init(&ctx, &config) == ALORE_ERR_ARGUMENT, "release without alloc");
    memset(&heap, 0, sizeof heap);
    config.allocator.alloc = t_alloc;
    config.allocator.user = &heap;
    config.threads = -1;
    ok(alore_init(&ctx, &config) == ALORE_ERR_ARGUMENT, "-1 threads");
    config.threads = 1025;
    ok(alore_init(&ctx, &config) == ALORE_ERR_ARGUMENT, "1025 threads");
    config.threads = 3;
    heap.fail_at = 1;
    ok(alore_init(&ctx, &config) == ALORE_ERR_MEMORY, "no memory for the pool");
    ok(heap.blocks == 0 && !ctx.pool && !ctx.objects, "nothing is left");
    ok(alore_init(&ctx, &config) == ALORE_OK && ctx.pool, "a pool of three");
    alore_pool_destroy(ctx.pool);
    ok(!ctx.pool, "the context forgets a pool that is destroyed");
    t_end(&ctx, &heap);
}

/* Distance to the truth in units in the last place; huge if only one is finite. */
static double t_ulps(float got, double want)
{
    int exponent;
    float rounded = (float)want;
    if (isnan(want) || isnan(got)) return isnan(want) && isnan(got) ? 0 : 1e30;
    if (isinf(rounded) || isinf(got)) return got == rounded ? 0 : 1e30;
    frexp(want, &exponent);
    if (want == 0 || exponent < -125) exponent = -125;
    return fabs((double)got - want) / ldexp(1, exponent - 24);
}

/* Compare on every `step`-th float, sizes up to `limit`; one case per sign and
 * exponent. */
static void t_compare(float (*f)(float), double (*truth)(double), double bound,
                      float limit, uint32_t step)
{
    for (uint32_t group = 0; group < 512; ++group) {
        double worst = 0;
        float at = 0;
        for (uint32_t b = group % step; b < 0x800000; b += step) {
            float x = alo_float(group << 23 | b);
            double error;
            if (fabsf(x) > limit) break;
            error = t_ulps(f(x), truth((double)x));
            if (error > worst) worst = error, at = x;
        }
        ok(worst <= bound, "%.3f ulps at %.9g: %.9g is not %.9g", worst, (double)at,
           (double)f(at), truth((double)at));
    }
}

static void t_math_exp(void)
{
    t_compare(alo_exp, exp, 1.0, INFINITY, 1999);
    for (float x = -110; x < 90; x += 0.01f) /* where it is neither 0 nor infinite */
        if (t_ulps(alo_exp(x), exp((double)x)) > 1.0)
            ok(false, "exp(%.9g) is not %.9g", (double)x, (double)alo_exp(x));
    ok(alo_exp(0) == 1 && alo_exp(-0.0f) == 1, "exp(0)");
    ok(alo_exp(-104) == 0 && alo_exp(-INFINITY) == 0, "exp(-104)");
    ok(alo_exp(-103.9f) > 0, "exp(-103.9) is the least denormal");
    ok(isinf(alo_exp(89)) && isinf(alo_exp(INFINITY)), "exp(89)");
    ok(isfinite(alo_exp(88.7228317f)), "exp(88.7228317) is finite");
}

static void t_math_log(void)
{
    t_compare(alo_log, log, 0.9, INFINITY, 1999);
    for (uint32_t b = 0x3f000000; b < 0x40000000; b += 101) { /* around one */
        float x = alo_float(b);
        if (t_ulps(alo_log(x), log((double)x)) > 0.9)
            ok(false, "log(%.9g) is not %.9g", (double)x, (double)alo_log(x));
    }
    ok(alo_bits(alo_log(1)) == 0, "log(1)");
    ok(alo_log(0) == -INFINITY && alo_log(-0.0f) == -INFINITY, "log(0)");
    ok(isnan(alo_log(-1e-45f)) && isnan(alo_log(-INFINITY)), "log(-1e-45)");
    ok(alo_log(INFINITY) == INFINITY, "log(inf)");
}

static void t_math_erf(void)
{
    t_compare(alo_erf, erf, 1.6, INFINITY, 1999);
    for (float x = 0.9f; x < 4; x += 1e-4f)
        if (t_ulps(alo_erf(x), erf((double)x)) > 1.6)
            ok(false, "erf(%.9g) is not %.9g", (double)x, (double)alo_erf(x));
    ok(alo_erf(4) == 1 && alo_erf(-INFINITY) == -1, "erf(4), erf(-inf)");
    ok(alo_erf(-0.7f) == -alo_erf(0.7f), "erf is odd");
}

static void t_math_tanh(void)
{
    t_compare(alo_tanh, tanh, 1.4, INFINITY, 1999);
    for (float x = 0.5f; x < 10; x += 1e-4f)
        if (t_ulps(alo_tanh(x), tanh((double)x)) > 1.4)
            ok(false, "tanh(%.9g) is not %.9g", (double)x, (double)alo_tanh(x));
    ok(alo_tanh(INFINITY) == 1 && alo_tanh(-10) == -1, "tanh(inf), tanh(-10)");
    ok(alo_tanh(-1.2f) == -alo_tanh(1.2f), "tanh is odd");
}

/* Near each multiple of pi/2 the result is small: all bits must come from the rest. */
static void t_near_turns(float (*f)(float), double (*truth)(double))
{
    double worst = 0;
    float at = 0;
    for (int n = -5215; n <= 5215; ++n) {
        uint32_t b = alo_bits((float)(n * 1.5707963267948966));
        for (uint32_t i = 0; i < 5; ++i) {
            float x = n ? alo_float(b + i - 2) : 0;
            double error = t_ulps(f(x), truth((double)x));
            if (error > worst) worst = error, at = x;
        }
    }
    ok(worst <= 1.0, "%.3f ulps at %.9g: %.9g is not %.9g", worst, (double)at,
       (double)f(at), truth((double)at));
}

static void t_math_sin(void)
{
    t_compare(alo_sin, sin, 1.0, 8192, 1999);
    t_near_turns(alo_sin, sin);
    ok(isnan(alo_sin(8192.001f)) && isnan(alo_sin(-INFINITY)), "beyond the bound");
    ok(alo_bits(alo_sin(-0.0f)) == 0x80000000u, "sin(-0)");
}

static void t_math_cos(void)
{
    t_compare(alo_cos, cos, 1.0, 8192, 1999);
    t_near_turns(alo_cos, cos);
    ok(isnan(alo_cos(8192.001f)) && isnan(alo_cos(INFINITY)), "beyond the bound");
    ok(alo_cos(0) == 1, "cos(0)");
}

static void t_math_sqrt(void)
{
    uint32_t wrong = 0, at = 0;
    for (uint32_t group = 0; group < 256; ++group)
        for (uint32_t b = group; b < 0x800000; b += 997) {
            float x = alo_float(group << 23 | b);
            if (alo_bits(alo_sqrt(x)) != alo_bits(sqrtf(x)) && !isnan(x))
                ++wrong, at = alo_bits(x);
        }
    for (uint32_t b = 0x3f800000; b < 0x40800000; b += 31)
        if (alo_sqrt(alo_float(b)) != sqrtf(alo_float(b))) ++wrong, at = b;
    for (uint32_t i = 0; i < 4000; ++i) /* squares, and what is just beside them */
        for (uint32_t j = 0; j < 3; ++j) {
            float x = alo_float(alo_bits((float)(i * i + 1)) + j - 1);
            if (alo_sqrt(x) != sqrtf(x)) ++wrong, at = alo_bits(x);
        }
    ok(!wrong, "%u roots are wrong, one of %08x", wrong, at);
    ok(isnan(alo_sqrt(-1)) && isnan(alo_sqrt(-1e-45f)), "sqrt(-1)");
    ok(alo_sqrt(INFINITY) == INFINITY && isnan(alo_sqrt(-INFINITY)), "sqrt(inf)");
}

static void t_math_edges(void)
{
    static const struct {
        const char *name;
        float (*of)(float);
        bool odd;
    } rows[] = {{"exp", alo_exp, false}, {"log", alo_log, false},
                {"erf", alo_erf, true},  {"tanh", alo_tanh, true},
                {"sin", alo_sin, true},  {"cos", alo_cos, false},
                {"sqrt", alo_sqrt, true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
        static const uint32_t nans[] = {0x7fc00000, 0xffc00000, 0x7f800001, 0xffffffff};
        for (size_t n = 0; n < 4; ++n)
            ok(alo_is_nan(rows[i].of(alo_float(nans[n]))), "%s of NaN %08x",
               rows[i].name, nans[n]);
        if (!rows[i].odd) continue;
        ok(alo_bits(rows[i].of(0.0f)) == 0, "%s of 0", rows[i].name);
        ok(alo_bits(rows[i].of(-0.0f)) == 0x80000000u, "%s of -0", rows[i].name);
    }
}

/* A half by its definition. */
static double t_half(uint32_t h)
{
    int exponent = (int)(h >> 10 & 31), fraction = (int)(h & 1023);
    double sign = h >> 15 ? -1 : 1;
    if (exponent == 31) return fraction ? (double)NAN : sign * (double)INFINITY;
    if (!exponent) return sign * ldexp(fraction, -24);
    return sign * ldexp(1024 + fraction, exponent - 25);
}

static void t_half_all(void)
{
    uint32_t wrong = 0, at = 0;
    for (uint32_t h = 0; h < 65536; ++h) {
        float x = alore_half_to_float((uint16_t)h);
        double want = t_half(h);
        bool nan = isnan(want);
        if (!(nan ? alo_is_nan(x) : (double)x == want) ||
            alo_bits(x) >> 31 != h >> 15 ||
            alore_float_to_half(x) != (nan ? (h | 0x200) : h))
            ++wrong, at = h;
    }
    ok(!wrong, "%u halves are wrong, one of %04x", wrong, at);
}

/* Each middle between two halves goes to the even one, its neighbours to theirs. */
static void t_half_round(void)
{
    uint32_t wrong = 0, at = 0;
    for (uint32_t h = 0; h < 0x7c00; ++h) {
        double next = h == 0x7bff ? 65536 : t_half(h + 1);
        uint32_t middle = alo_bits((float)((t_half(h) + next) / 2));
        uint32_t even = h + (h & 1);
        if (alore_float_to_half(alo_float(middle)) != even ||
            alore_float_to_half(alo_float(middle - 1)) != h ||
            alore_float_to_half(alo_float(middle + 1)) != h + 1 ||
            alore_float_to_half(alo_float(middle | 0x80000000u)) != (even | 0x8000))
            ++wrong, at = h;
    }
    ok(!wrong, "%u middles are wrong, one above half %04x", wrong, at);
    ok(alore_float_to_half(3e38f) == 0x7c00, "a large float");
    ok(alore_float_to_half(1e-45f) == 0, "a denormal float");
}

static void t_bfloat_all(void)
{
    uint32_t wrong = 0, at = 0;
    for (uint32_t h = 0; h < 65536; ++h) {
        float x = alore_bfloat_to_float((uint16_t)h);
        bool nan = (h & 0x7fff) > 0x7f80;
        if (alo_bits(x) != h << 16 ||
            alore_float_to_bfloat(x) != (nan ? (h | 0x40) : h))
            ++wrong, at = h;
    }
    ok(!wrong, "%u bfloats are wrong, one of %04x", wrong, at);
}

static void t_bfloat_round(void)
{
    uint32_t wrong = 0, at = 0;
    for (uint32_t h = 0; h < 0x7f80; ++h) {
        uint32_t middle = h << 16 | 0x8000;
        if (alore_float_to_bfloat(alo_float(middle)) != h + (h & 1) ||
            alore_float_to_bfloat(alo_float(middle - 1)) != h ||
            alore_float_to_bfloat(alo_float(middle + 1)) != h + 1)
            ++wrong, at = h;
    }
    ok(!wrong, "%u middles are wrong, one above bfloat %04x", wrong, at);
    ok(alore_float_to_bfloat(alo_float(0x7f800001)) == 0x7fc0, "a small NaN stays NaN");
    ok(alore_float_to_bfloat(alo_float(0xffffffff)) == 0xffff, "a large NaN does, too");
}

static void t_random_philox(void)
{
    static const uint32_t rows[3][10] = { /* counter, key, result: as published */
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff,
         0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0,
         0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}};
    for (int row = 0; row < 3; ++row) {
        const uint32_t *r = rows[row];
        uint32_t out[4];
        alo_philox((uint64_t)r[5] << 32 | r[4], (uint64_t)r[3] << 32 | r[2],
                   (uint64_t)r[1] << 32 | r[0], out);
        ok(!memcmp(out, r + 6, sizeof out), "vector %d: %08x %08x %08x %08x", row,
           out[0], out[1], out[2], out[3]);
    }
}

static void t_random_words(void)
{
    static const uint32_t words[4] = {0x7fa77140, 0xb9611ec1, 0xd90cd420, 0x119570ec};
    uint64_t seed = 0x0123456789abcdefu, stream = 0xfedcba9876543210u;
    uint64_t block = 0x1122334455667788u;
    for (uint64_t i = 0; i < 4; ++i)
        ok(alore_random_u32(seed, stream, 4 * block + i) == words[i], "word %d", (int)i);
    ok(alore_random_u32(0, 0, 1) == 0xe169c58d, "the published word 1");
}

static void t_random_uniform(void)
{
    enum { BINS = 64, COUNT = 64000 };
    int bins[BINS] = {0};
    double sum = 0, chi = 0;
    for (uint64_t i = 0; i < COUNT; ++i) {
        float u = alore_random_uniform(3, 9, i);
        if (!(u >= 0 && u < 1)) {
            ok(false, "%.9g is outside", (double)u);
            return;
        }
        ++bins[(int)(u * BINS)];
        sum += (double)u;
    }
    for (int b = 0; b < BINS; ++b)
        chi +=
            (bins[b] - COUNT / BINS) * (double)(bins[b] - COUNT / BINS) * BINS / COUNT;
    near(sum / COUNT, 0.5, 4 * sqrt(1.0 / 12 / COUNT), "mean, four deviations");
    near(chi, BINS - 1, 4 * sqrt(2.0 * BINS), "chi square of 63 degrees");
    for (uint64_t i = 0; i < 100; ++i)
        ok(alore_random_uniform(3, 9, i) ==
               (float)(alore_random_u32(3, 9, i) >> 8) / 16777216,
           "24 bits of word %d", (int)i);
}

static void t_random_normal(void)
{
    enum { COUNT = 50000 };
    double m[5] = {0}, across = 0, last = 0;
    for (uint64_t i = 0; i < COUNT; ++i) {
        double x = (double)alore_random_normal(5, 6, i), power = 1;
        for (int k = 1; k < 5; ++k) m[k] += (power *= x) / COUNT;
        across += x * last / COUNT; /* the two of a pair, and neighbouring pairs */
        last = x;
        if (i < 1000) { /* by the formula */
            double u =
                alore_random_u32(5, 6, i & ~(uint64_t)1) / 4294967296.0 + 0x1p-33;
            double v = (double)alore_random_uniform(5, 6, i | 1) * 6.283185307179586;
            double want = sqrt(-2 * log(u)) * (i & 1 ? sin(v) : cos(v));
            near(x, want, 16 * EPS, "normal by the formula");
        }
    }
    near(m[1], 0, 4 / sqrt(COUNT), "mean");
    near(m[2], 1, 4 * sqrt(2.0 / COUNT), "variance");
    near(m[3], 0, 4 * sqrt(15.0 / COUNT), "third moment");
    near(m[4], 3, 4 * sqrt(96.0 / COUNT), "fourth moment");
    near(across, 0, 4 / sqrt(COUNT), "neighbours");
}

static void t_random_hash(void)
{
    ok(alo_hash("", 0, 0) == 0xcbf29ce484222325u, "of nothing");
    ok(alo_hash("a", 1, 0) == 0xaf63dc4c8601ec8cu, "of a");
    ok(alo_hash("foobar", 6, 0) == 0x85944171f73967e8u, "of foobar");
    ok(alo_hash("bar", 3, alo_hash("foo", 3, 0)) == 0x85944171f73967e8u,
       "in two parts");
}

static void t_shuffle_bijective(void)
{
    static unsigned char seen[5000];
    for (uint32_t n = 1; n <= 5000; n += 1 + n / 8) {
        uint32_t fixed = 0;
        bool pass = true;
        memset(seen, 0, sizeof seen);
        for (uint32_t i = 0; i < n; ++i) {
            uint32_t place = alore_shuffle(7, n, i, n);
            pass = pass && place < n && !seen[place < n ? place : 0]++;
            fixed += place == i;
        }
        ok(pass, "n = %u is not a permutation", n);
        ok(n < 20 || fixed < 10, "n = %u keeps %u places", n, fixed);
    }
    ok(alore_shuffle(7, 0, 0, 0) == 0 && alore_shuffle(7, 0, 5, 0) == 0, "n = 0");
    ok(alore_shuffle(7, 1, 12, 10) == alore_shuffle(7, 1, 2, 10), "i modulo n");
}

static void t_shuffle_large(void)
{
    static const uint32_t sizes[] = {65536, 65537, 1281167, 0x80000000u, 0xffffffffu};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; ++s) {
        uint32_t n = sizes[s], places[200];
        double sum = 0;
        for (uint32_t i = 0; i < 200; ++i) {
            places[i] = alore_shuffle(1, 2, n - 1 - i, n);
            sum += places[i] / (double)n;
            ok(places[i] < n, "n = %u: %u", n, places[i]);
            for (uint32_t j = 0; j < i; ++j)
                if (places[i] == places[j]) ok(false, "n = %u: %u twice", n, places[i]);
        }
        near(sum / 200, 0.5, 4 * sqrt(1.0 / 12 / 200), "mean place");
    }
}

/* All orders of four are equally likely over seeds, and over epochs. */
static void t_shuffle_fair(void)
{
    enum { ORDERS = 256, COUNT = 12000 };
    for (int over = 0; over < 2; ++over) {
        int count[ORDERS] = {0}, orders = 0;
        double chi = 0;
        for (uint32_t k = 0; k < COUNT; ++k) {
            uint32_t code = 0;
            for (uint32_t i = 0; i < 4; ++i)
                code = code * 4 +
                       (over ? alore_shuffle(11, k, i, 4) : alore_shuffle(k, 0, i, 4));
            ++count[code];
        }
        for (int c = 0; c < ORDERS; ++c) {
            double off = count[c] - COUNT / 24.0;
            if (count[c]) ++orders, chi += off * off * 24 / COUNT;
        }
        ok(orders == 24, "%d orders of 24", orders);
        near(chi, 23, 5 * sqrt(46), "chi square of 23 degrees");
    }
}

typedef struct t_batch {
    alore_pool *pool;
    int *count; /* how often each task ran */
    int inner, offset;
} t_batch;

static void t_count(void *arg, int i)
{
    t_batch *b = (t_batch *)arg;
    b->count[b->offset + i]++;
}

static bool t_all(const int *count, int n, int want)
{
    for (int i = 0; i < n; ++i)
        if (count[i] != want) return false;
    return true;
}

static void t_threads_all_once(void)
{
    enum { MOST = 1000 };
    static const int threads[] = {0, 1, 2, 3, 8};
    alore_ctx ctx;
    t_heap heap;
    int count[MOST + 1];
    t_batch b = {NULL, count, 0, 0};
    t_begin(&ctx, &heap);
    for (size_t t = 0; t < sizeof threads / sizeof *threads; ++t) {
        alore_status status = alore_pool_create(&ctx, threads[t], &b.pool);
        if (!ok(status == ALORE_OK, "%d threads", threads[t])) break;
        for (int tasks = 0; tasks <= MOST; tasks += 1 + tasks / 4) {
            memset(count, 0, sizeof count);
            for (int again = 0; again < 20; ++again)
                alore_pool_run(b.pool, t_count, &b, tasks);
            ok(t_all(count, tasks, 20) && !count[tasks], "%d tasks on %d threads",
               tasks, threads[t]);
        }
        if (t & 1) alore_pool_destroy(b.pool); /* the others go with the context */
    }
    memset(count, 0, sizeof count);
    alore_pool_run(NULL, t_count, &b, 17);
    ok(t_all(count, 17, 1) && !count[17], "no pool");
    alore_pool_run(NULL, t_count, &b, -1);
    alore_pool_destroy(NULL);
    t_end(&ctx, &heap);
}

static void t_outer(void *arg, int i)
{
    t_batch inner = *(t_batch *)arg;
    inner.offset = i * inner.inner;
    alore_pool_run(inner.pool, t_count, &inner, inner.inner);
}

static void t_threads_nested(void)
{
    alore_ctx ctx;
    t_heap heap;
    int count[30 * 40];
    t_batch b = {NULL, count, 40, 0};
    t_begin(&ctx, &heap);
    ok(alore_pool_create(&ctx, 4, &b.pool) == ALORE_OK, "a pool");
    memset(count, 0, sizeof count);
    for (int again = 0; again < 50; ++again) alore_pool_run(b.pool, t_outer, &b, 30);
    ok(t_all(count, 30 * 40, 50), "tasks that run tasks");
    t_end(&ctx, &heap);
}

static void t_caller(void *arg, int i)
{
    t_batch inner = *(t_batch *)arg;
    inner.offset = i * inner.inner;
    for (int again = 0; again < 100; ++again)
        alore_pool_run(inner.pool, t_count, &inner, inner.inner);
}

/* Four threads of one pool call another pool at the same time. */
static void t_threads_callers(void)
{
    alore_ctx ctx;
    t_heap heap;
    alore_pool *callers;
    int count[4 * 25];
    t_batch b = {NULL, count, 25, 0};
    t_begin(&ctx, &heap);
    ok(alore_pool_create(&ctx, 3, &b.pool) == ALORE_OK, "a pool");
    ok(alore_pool_create(&ctx, 4, &callers) == ALORE_OK, "the callers");
    memset(count, 0, sizeof count);
    alore_pool_run(callers, t_caller, &b, 4);
    ok(t_all(count, 4 * 25, 100), "calls from four threads");
    t_end(&ctx, &heap);
}

static void t_hook(void *user, alore_task task, void *arg, int tasks)
{
    ++*(int *)user;
    while (tasks--) task(arg, tasks);
}

static void t_threads_hook(void)
{
    alore_ctx ctx;
    alore_config config = ALORE_ZERO;
    int count[10] = {0}, calls = 0;
    t_batch b = {NULL, count, 0, 0};
    config.parallel.run = t_hook;
    config.parallel.user = &calls;
    config.threads = 4;
    ok(alore_init(&ctx, &config) == ALORE_OK && !ctx.pool, "a hook needs no pool");
    alo_parallel(&ctx, t_count, &b, 9);
    ok(calls == 1 && t_all(count, 9, 1) && !count[9], "the hook runs nine tasks");
    alore_uninit(&ctx);
    config.parallel.run = NULL;
    ok(alore_init(&ctx, &config) == ALORE_OK && ctx.pool, "the context's pool");
    alo_parallel(&ctx, t_count, &b, 9);
    ok(calls == 1 && t_all(count, 9, 2), "the pool runs them");
    alore_uninit(&ctx);
    ok(alore_init(&ctx, NULL) == ALORE_OK && !ctx.pool, "one thread");
    alo_parallel(&ctx, t_count, &b, 9);
    ok(t_all(count, 9, 3) && !count[9], "the caller runs them");
    alore_uninit(&ctx);
}

static void t_threads_create(void)
{
    alore_ctx ctx;
    t_heap heap;
    alore_pool *pool = NULL;
    t_begin(&ctx, &heap);
    ok(alore_pool_create(NULL, 2, &pool) == ALORE_ERR_ARGUMENT, "no context");
    ok(alore_pool_create(&ctx, 2, NULL) == ALORE_ERR_ARGUMENT, "no place");
    ok(alore_pool_create(&ctx, -1, &pool) == ALORE_ERR_ARGUMENT, "-1 threads");
    ok(alore_pool_create(&ctx, 1025, &pool) == ALORE_ERR_ARGUMENT, "1025 threads");
    ok(!!strstr(ctx.error.text, "1025") && !!strstr(ctx.error.text, "1024"), "%s",
       ctx.error.text);
    heap.fail_at = heap.calls + 1;
    ok(alore_pool_create(&ctx, 2, &pool) == ALORE_ERR_MEMORY, "no memory");
    ok(!pool && !ctx.objects && !heap.blocks, "nothing was made");
    for (int i = 0; i < 50; ++i) { /* gone before its threads have begun */
        ok(alore_pool_create(&ctx, 4, &pool) == ALORE_OK, "pool %d", i);
        alore_pool_destroy(pool);
    }
    t_end(&ctx, &heap);
}

/* Wait until all workers sleep. */
static void t_asleep(alore_pool *p)
{
    for (bool all = false; !all; sched_yield()) {
        pthread_mutex_lock(&p->lock);
        all = p->asleep == p->count;
        pthread_mutex_unlock(&p->lock);
    }
}

/* Threads that keep a CPU each: as many as there are, and more, which then keep none. The tasks come at once,
 * when the workers spin, and later, when they sleep. */
static void t_threads_pinned(void)
{
    static const int threads[] = {2, (int)sizeof(long) * 2, 0};
    const int cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
    for (int t = 0; t < 3; ++t) {
        alore_ctx ctx;
        alore_config config = ALORE_ZERO;
        int count[40] = {0};
        t_batch b = {NULL, count, 0, 0};
        config.threads = threads[t] ? threads[t] : cpus;
        config.pin = true;
        ok(alore_init(&ctx, &config) == ALORE_OK, "%d threads", config.threads);
        for (int again = 0; again < 60; ++again) {
            if (again % 3 == 0 && ctx.pool) t_asleep(ctx.pool);
            alo_parallel(&ctx, t_count, &b, 39);
        }
        ok(t_all(count, 39, 60) && !count[39], "%d threads", config.threads);
        alore_uninit(&ctx);
    }
}

static void t_selftest_passes(void)
{
    alore_ctx ctx;
    t_heap heap;
    t_begin(&ctx, &heap);
    ok(alore_selftest(NULL) == ALORE_ERR_ARGUMENT, "no context");
    ok(alore_selftest(&ctx) == ALORE_OK, "%s", ctx.error.text);
    t_end(&ctx, &heap);
}


typedef struct t_ext {
    int rows, cols, per, gap; /* rows 0: absent; per sample; columns behind a row */
} t_ext;

typedef struct t_case {
    const char *name;
    int code;
    t_ext in[6], out[2], tmp[2];
    float x;
    int n, m, p, q;
} t_case;

enum { T_G = 6, T_Y, T_Z, T_T, T_U, T_M, T_GRAD, T_SLOTS = T_GRAD + 6 };
enum { T_F64, T_PLAIN, T_LEVEL }; /* T_LEVEL + isa: the kernels of a level of the CPU */

typedef struct t_pool {        /* dense values of every operand, in double        */
    const t_case *c;
    int samples;
    t_ext ext[T_SLOTS];
    double *v[T_SLOTS];
} t_pool;

static uint32_t t_state = 1;

static double t_random(void) /* in -1..1, never tiny steps apart */
{
    t_state = t_state * 1664525u + 1013904223u;
    return (double)(float)((double)(t_state >> 8) / 8388608.0 - 1.0);
}

static int t_slot(char letter)
{
    const char *letters = "abcdefgyztumABCDEF";
    return (int)(strchr(letters, letter) - letters);
}

static int t_numbers(const t_pool *p, int slot)
{
    const t_ext *e = &p->ext[slot];
    return e->rows * e->cols * (e->per ? p->samples : 1);
}

static bool t_is_int(const t_case *c, int slot)
{
    return (c->code == ALO_K_xent && slot == 1) || (c->code == ALO_K_cast && slot == 0);
}

static t_ext t_extent(int rows, int cols, int per)
{
    t_ext e;
    e.rows = rows, e.cols = cols, e.per = per, e.gap = 0;
    return e;
}

static const int32_t t_table[] = {2, 0, -1, 1, 2, 2, 4, 3, 0, -1};
static const int32_t t_columns[] = {2, 0, 1, 1, 2, 4, 3, 0};
static float t_mask[256];

static void t_open(t_pool *p, const t_case *c, int samples)
{
    memset(p, 0, sizeof *p);
    p->c = c;
    p->samples = samples;
    for (int i = 0; i < 6; ++i) p->ext[i] = p->ext[T_GRAD + i] = c->in[i];
    p->ext[T_G] = p->ext[T_Y] = c->out[0];
    p->ext[T_Z] = c->out[1];
    p->ext[T_T] = c->tmp[0];
    p->ext[T_U] = c->tmp[1];
    for (int i = 0; i < 256; ++i) t_mask[i] = (float)t_random();
    for (int k = 0; k < T_SLOTS; ++k) {
        int count = t_numbers(p, k);
        p->v[k] = (double *)calloc((size_t)count + 1, sizeof(double));
        for (int i = 0; i < count; ++i) p->v[k][i] = t_random();
        if (c->code == ALO_K_xent && k == 1)
            for (int i = 0; i < count; ++i) p->v[k][i] = i % c->in[0].cols;
        if ((c->code == ALO_K_scatter || c->code == ALO_K_sparse) && k == 2) {
            const int wide = c->code == ALO_K_sparse ? c->in[0].cols : c->out[0].cols; /* (row, column), or */
            const int high = c->code == ALO_K_sparse ? c->out[0].cols : c->out[0].rows; /* column alone */
            for (int i = 0; i < count; ++i)
                p->v[k][i] = (i * 7 + i / 5) % (c->in[2].cols == 2 && i % 2 == 0 ? high : wide);
        }
        if (c->code == ALO_K_inverse && k == 0) /* nearly skew blocks */
            for (int i = 0, n = c->in[0].rows, w = c->in[0].cols; i < count; ++i) {
                const int r = i / w, j = i % w % n;
                if (j <= r) p->v[k][i] = 0.1 * p->v[k][i] - (j < r ? p->v[k][j * w + i % w - j + r] : 0);
            }
    }
}

static void t_close(t_pool *p)
{
    for (int k = 0; k < T_SLOTS; ++k) free(p->v[k]);
}

/* Element `i` of a stored operand. */
static double t_get(const void *p, size_t i, int mode, bool ints)
{
    if (ints) return ((const int32_t *)p)[i];
    return mode == T_F64 ? ((const double *)p)[i] : (double)((const float *)p)[i];
}

static void t_set(void *p, size_t i, int mode, bool ints, double v)
{
    if (ints)
        ((int32_t *)p)[i] = (int32_t)v;
    else if (mode == T_F64)
        ((double *)p)[i] = v;
    else
        ((float *)p)[i] = (float)v;
}

/* The next mode, over the levels that this machine has; the end is at T_LEVEL + 99. */
static int t_next_mode(int mode)
{
    for (++mode; mode > T_PLAIN; ++mode) {
        if (mode > T_LEVEL + ALORE_ISA_NEON) return T_LEVEL + 99;
        if (mode > T_LEVEL && alore_isa_name((alore_isa)(mode - T_LEVEL))) break;
    }
    return mode;
}

static void t_call(const alore_call *c, int code, int mode, int first, int end)
{
    alore_kernel table[ALO_K_COUNT];
    memcpy(table, mode == T_F64 ? alo_table_f64 : alo_table_f32, sizeof table);
    if (mode >= T_LEVEL) alo_level_kernels(alo_level_of((alore_isa)(mode - T_LEVEL)), table);
    table[code](c, first, end);
}

/* Run kernel `code` on the pool. Outputs whose operand is absent stay absent. The
 * bits of `flags` add. With `over` output 0 lies in the storage of that letter. */
static void t_kernel(t_pool *p, int code, int mode, int flags, char over)
{
    const alo_kernel_row *row = &alo_kernel_rows[code];
    const t_case *k = p->c;
    const size_t bytes = mode == T_F64 ? 8 : 4;
    alo_tensor t[ALO_OPERANDS];
    int slot[ALO_OPERANDS];
    alore_call c;
    alo_attr attr;
    memset(&c, 0, sizeof c);
    memset(&attr, 0, sizeof attr);
    memset(t, 0, sizeof t);
    attr.x = k->x, attr.n = k->n, attr.m = k->m, attr.p = k->p, attr.q = k->q;
    attr.table = k->code == ALO_K_pick ? t_columns : t_table, attr.stream = 5;
    if (k->code == ALO_K_attention && k->q) attr.values = t_mask;
    c.attr = &attr;
    c.samples = p->samples;
    c.seed = 7, c.step = 2, c.sample = 11;
    c.flags = (uint16_t)flags;
    c.rows_fn = mode == T_F64     ? (const void *)&alo_rows_f64_reference
                : mode == T_PLAIN ? (const void *)&alo_rows_f32_reference
                                  : &alo_level_of((alore_isa)(mode - T_LEVEL))->rows;
    for (int i = 0; i < ALO_OPERANDS; ++i) {
        const char *letters = i < ALO_IN ? row->reads : row->writes;
        const int at = i < ALO_IN ? i : i - ALO_IN;
        slot[i] = -1;
        if (at >= (int)strlen(letters)) continue;
        const int s = t_slot(letters[at]);
        const t_ext *e = &p->ext[s];
        if (!e->rows || (s >= T_GRAD && t_is_int(k, s - T_GRAD))) continue;
        slot[i] = s;
        t[i].rows = e->rows, t[i].cols = e->cols, t[i].ld = e->cols + e->gap;
        t[i].flags = e->per ? ALO_PER_SAMPLE : 0;
        c.t[i] = &t[i];
    }
    for (int i = 0; i < ALO_OPERANDS; ++i) {
        if (slot[i] < 0) continue;
        const bool ints = t_is_int(k, slot[i]);
        if (i == ALO_Y && over) {
            const int from = (int)(strchr(row->reads, over) - row->reads);
            c.p[i] = c.p[from];
            t[i].ld = t[from].ld;
            continue;
        }
        const size_t rows = (size_t)t_numbers(p, slot[i]) / (size_t)t[i].cols;
        c.p[i] = malloc(rows * (size_t)t[i].ld * 8);
        const bool kept = i < ALO_IN || (flags >> (i - ALO_Y) & 1);
        for (size_t e = 0; e < rows * (size_t)t[i].ld; ++e) {
            const size_t r = e / (size_t)t[i].ld, j = e % (size_t)t[i].ld;
            const size_t dense = r * (size_t)t[i].cols + j;
            t_set(c.p[i], e, mode, ints,
                  j >= (size_t)t[i].cols ? -77 : kept ? p->v[slot[i]][dense] : (double)NAN);
        }
    }
    const size_t scratch = alo_scratch_bytes(code, c.t, &attr, c.samples, bytes);
    c.scratch = scratch ? malloc(scratch) : NULL;
    if (scratch) memset(c.scratch, 0xff, scratch);
    const int tasks = alo_tasks(code, c.t, &attr, c.samples, mode >= T_LEVEL);
    for (int end = tasks, first; end > 0; end = first) { /* ranges of tasks, in any order */
        first = end > 1 + tasks / 3 ? end - 1 - tasks / 3 : 0;
        t_call(&c, code, mode, first, end);
    }
    free(c.scratch);
    for (int i = ALO_Y; i < ALO_OPERANDS; ++i) {
        if (slot[i] < 0) continue;
        bool fenced = true;
        const int rows = t_numbers(p, slot[i]) / t[i].cols;
        for (int e = 0; e < rows * t[i].ld; ++e) {
            const int r = e / t[i].ld, j = e % t[i].ld;
            const double v = t_get(c.p[i], (size_t)e, mode, false);
            if (j < t[i].cols)
                p->v[slot[i]][r * t[i].cols + j] = v;
            else
                fenced = fenced && v == -77;
        }
        if (!fenced) ok(false, "%s %s wrote behind a row", k->name, row->name);
    }
    for (int i = 0; i < ALO_OPERANDS; ++i)
        if (c.p[i] && !(i == ALO_Y && over)) free(c.p[i]);
}

/* The next row after `code` that is a piece of op `op`, or 0. */
static int t_piece(int op, int code)
{
    const char *name = alo_kernel_rows[op].name;
    const size_t bytes = strlen(name);
    for (int i = code + 1; i < ALO_K_COUNT; ++i) {
        const char *other = alo_kernel_rows[i].name;
        if (strncmp(other, name, bytes) || other[bytes] != '_') return 0;
        if (!strchr(alo_kernel_rows[i].reads, 'g') && op != ALO_K_kron) return 0;
        if (strcmp(other, "add_columns")) return i;
        return 0;
    }
    return 0;
}

/* Does a piece write something that the case has, and is z kept if it reads z? */
static bool t_wanted(const t_pool *p, int code)
{
    if (strchr(alo_kernel_rows[code].reads, 'z') && !p->ext[T_Z].rows) return false;
    for (const char *w = alo_kernel_rows[code].writes; *w; ++w) {
        const int s = t_slot(*w);
        if (p->ext[s].rows && !(s >= T_GRAD && t_is_int(p->c, s - T_GRAD)))
            return true;
    }
    return false;
}

/* max |a - b| / max(max |b|, least). */
static double t_apart(const double *a, const double *b, int count, double least)
{
    double worst = 0, size = least;
    for (int i = 0; i < count; ++i) {
        const double d = fabs(a[i] - b[i]);
        if (!(d <= worst)) worst = d; /* a NaN stays */
        if (fabs(b[i]) > size) size = fabs(b[i]);
    }
    return worst / size;
}

static double t_loss(t_pool *p)
{
    double loss = 0;
    t_kernel(p, p->c->code, T_F64, 0, 0);
    for (int i = 0; i < t_numbers(p, T_Y); ++i) loss += p->v[T_Y][i] * p->v[T_G][i];
    return loss;
}

/* The gradient of input `slot` against central differences. Step 1e-5: the error is
 * about 1e-10 times the third derivative plus 1e-11 from rounding. */
static void t_differences(t_pool *p, int slot)
{
    const int count = t_numbers(p, slot), all = count < 48 ? count : 48;
    double worst = 0, size = 1e-2;
    for (int e = 0; e < all; ++e) {
        const int i = all == count ? e : (int)(t_state >> 8) % count;
        const double old = p->v[slot][i], h = 1e-5;
        (void)t_random();
        p->v[slot][i] = old + h;
        const double up = t_loss(p);
        p->v[slot][i] = old - h;
        const double down = t_loss(p);
        p->v[slot][i] = old;
        const double slope = (up - down) / (2 * h);
        const double d = fabs(slope - p->v[T_GRAD + slot][i]);
        if (!(d <= worst)) worst = d;
        if (fabs(slope) > size) size = fabs(slope);
    }
    ok(worst / size < 1e-7, "%s, %d samples: gradient of %c is off by %.2g",
       p->c->name, p->samples, 'a' + slot, worst / size);
}

/* Kernel `code` again: adding, in place, and in float. */
static void t_forms(t_pool *p, int code)
{
    const alo_kernel_row *row = &alo_kernel_rows[code];
    const int outs = (int)strlen(row->writes);
    double *was[ALO_OUT], *start[ALO_OUT];
    int flags = 0;
    for (int o = 0; o < outs; ++o) {
        const int s = t_slot(row->writes[o]), count = t_numbers(p, s);
        was[o] = (double *)calloc((size_t)count + 1, 8);
        start[o] = (double *)calloc((size_t)count + 1, 8);
        memcpy(was[o], p->v[s], (size_t)count * 8);
        if (s == T_Z || s == T_T || s == T_U) continue;
        flags |= 1 << o;
        for (int i = 0; i < count; ++i) start[o][i] = p->v[s][i] = t_random();
    }
    if (code != ALO_K_cast) {
        t_kernel(p, code, T_F64, flags, 0);
        for (int o = 0; o < outs; ++o) {
            const int s = t_slot(row->writes[o]), count = t_numbers(p, s);
            for (int i = 0; i < count; ++i) p->v[s][i] -= start[o][i];
            ok(t_apart(p->v[s], was[o], count, 1) < 1e-13, "%s: %s adds to %c wrongly",
               p->c->name, row->name, row->writes[o]);
        }
    }
    for (const char *over = row->over; *over; ++over) {
        const int s = t_slot(row->writes[0]), from = t_slot(*over);
        if (t_numbers(p, s) != t_numbers(p, from) || !p->ext[from].rows) continue;
        if (p->ext[s].cols != p->ext[from].cols) continue;
        t_kernel(p, code, T_F64, 0, *over);
        ok(t_apart(p->v[s], was[0], t_numbers(p, s), 1) < 1e-15,
           "%s: %s over %c differs", p->c->name, row->name, *over);
    }
    for (int mode = T_PLAIN; mode < T_LEVEL + 99; mode = t_next_mode(mode))
        for (int add = 0; add <= (code != ALO_K_cast); ++add) {
            for (int o = 0; o < outs; ++o)
                memcpy(p->v[t_slot(row->writes[o])], start[o],
                       (size_t)t_numbers(p, t_slot(row->writes[o])) * 8);
            t_kernel(p, code, mode, add ? flags : 0, 0);
            for (int o = 0; o < outs; ++o) {
                const int s = t_slot(row->writes[o]), count = t_numbers(p, s);
                for (int i = 0; add && i < count; ++i) p->v[s][i] -= start[o][i];
                const double d = t_apart(p->v[s], was[o], count, 0.1) / EPS;
                /* sums of at most 60 products of numbers below 1 in magnitude, behind
                 * at most three functions of 2 eps each. A longer sum that begins with
                 * such a number rounds by 1/4 eps / sqrt 3 each time: 8 deviations of
                 * that walk, beside 0.1 */
                const int longest = p->c->in[1].rows > p->c->in[0].rows ? p->c->in[1].rows
                                                                        : p->c->in[0].rows;
                const double walk = add && longest > 16 ? 12 * sqrt((double)longest) : 0;
                ok(d < 24 + walk, "%s: %s in float (%d, add %d) is %.1f eps off in %c", p->c->name,
                   row->name, mode, add, d, row->writes[o]);
            }
        }
    for (const char *over = row->over; *over; ++over)
        for (int mode = T_LEVEL + 1; mode < T_LEVEL + 99; mode = t_next_mode(mode)) {
            const int s = t_slot(row->writes[0]), from = t_slot(*over);
            if (t_numbers(p, s) != t_numbers(p, from) || !p->ext[from].rows) continue;
            if (p->ext[s].cols != p->ext[from].cols) continue;
            t_kernel(p, code, mode, 0, *over);
            ok(t_apart(p->v[s], was[0], t_numbers(p, s), 0.1) < 24 * EPS,
               "%s: %s over %c differs (%d)", p->c->name, row->name, *over, mode);
        }
    for (int o = 0; o < outs; ++o) {
        const int s = t_slot(row->writes[o]);
        memcpy(p->v[s], was[o], (size_t)t_numbers(p, s) * 8);
        free(was[o]);
        free(start[o]);
    }
}

static void t_take(const t_case *c, int samples)
{
    t_pool p;
    bool written[6] = {false, false, false, false, false, false};
    t_open(&p, c, samples);
    if (c->code == ALO_K_cast)
        for (int i = 0; i < t_numbers(&p, 0); ++i) p.v[0][i] = i;
    t_kernel(&p, c->code, T_F64, 0, 0);
    t_forms(&p, c->code);
    for (int i = t_piece(c->code, c->code); i; i = t_piece(c->code, i)) {
        if (!t_wanted(&p, i)) continue;
        t_kernel(&p, i, T_F64, 0, 0);
        t_forms(&p, i);
        for (const char *w = alo_kernel_rows[i].writes; *w; ++w)
            if (t_slot(*w) >= T_GRAD) written[t_slot(*w) - T_GRAD] = true;
    }
    for (int i = 0; i < 6; ++i)
        if (written[i] && p.ext[i].rows && !t_is_int(c, i))
            t_differences(&p, i);
    t_close(&p);
}

/* clang-format off */
#define NO {0, 0, 0, 0}
#define PLAIN {NO, NO}
/* name, code, {a b c d e f}, {y z}, {t u}, x, n, m, p, q */
static const t_case t_cases[] = {
    {"matmul", ALO_K_matmul, {{5, 4, 1, 2}, {4, 6, 0, 1}, {1, 6, 0, 0}, {5, 6, 1, 1}, NO, NO}, {{5, 6, 1, 3}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"matmul nt", ALO_K_matmul, {{5, 4, 1, 0}, {19, 4, 0, 1}, NO, NO, NO, NO}, {{5, 19, 1, 0}, NO}, PLAIN, 0, 2, 0, 0, 0},
    {"matmul tn", ALO_K_matmul, {{4, 5, 1, 1}, {4, 6, 0, 0}, {1, 6, 0, 0}, NO, NO, NO}, {{5, 6, 1, 0}, NO}, PLAIN, 0, 1, 0, 0, 0},
    {"matmul tt", ALO_K_matmul, {{4, 5, 1, 0}, {6, 4, 0, 3}, NO, {5, 6, 1, 0}, NO, NO}, {{5, 6, 1, 2}, NO}, PLAIN, 0, 3, 0, 0, 0},
    {"matmul both", ALO_K_matmul, {{5, 4, 1, 0}, {4, 6, 1, 2}, {1, 6, 0, 0}, NO, NO, NO}, {{5, 6, 1, 0}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"matmul both nt", ALO_K_matmul, {{5, 4, 1, 1}, {6, 4, 1, 0}, NO, NO, NO, NO}, {{5, 6, 1, 0}, NO}, PLAIN, 0, 2, 0, 0, 0},
    {"matmul both tt", ALO_K_matmul, {{4, 5, 1, 1}, {6, 4, 1, 0}, NO, NO, NO, NO}, {{5, 6, 1, 0}, NO}, PLAIN, 0, 3, 0, 0, 0},
    {"matmul shared a", ALO_K_matmul, {{5, 4, 0, 1}, {4, 6, 1, 0}, {1, 6, 0, 0}, NO, NO, NO}, {{5, 6, 1, 0}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"matmul shared a tt", ALO_K_matmul, {{4, 5, 0, 1}, {6, 4, 1, 0}, NO, NO, NO, NO}, {{5, 6, 1, 0}, NO}, PLAIN, 0, 3, 0, 0, 0},
    {"matmul once", ALO_K_matmul, {{5, 4, 0, 1}, {4, 6, 0, 0}, {1, 6, 0, 0}, {5, 6, 0, 0}, NO, NO}, {{5, 6, 0, 1}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"matmul once tn", ALO_K_matmul, {{4, 5, 0, 1}, {4, 6, 0, 0}, NO, NO, NO, NO}, {{5, 6, 0, 0}, NO}, PLAIN, 0, 1, 0, 0, 0},
    {"matmul column", ALO_K_matmul, {{1, 5, 1, 0}, {1, 1, 0, 0}, NO, NO, NO, NO}, {{5, 1, 1, 0}, NO}, PLAIN, 0, 1, 0, 0, 0},
    {"matmul groups", ALO_K_matmul, {{5, 6, 1, 1}, {9, 2, 0, 1}, {1, 9, 0, 0}, {5, 9, 1, 0}, NO, NO}, {{5, 9, 1, 1}, NO}, PLAIN, 0, 2, 3, 0, 0},
    {"matmul groups t", ALO_K_matmul, {{6, 5, 1, 1}, {9, 2, 0, 1}, NO, NO, NO, NO}, {{5, 9, 1, 1}, NO}, PLAIN, 0, 3, 3, 0, 0},
    {"matmul groups once", ALO_K_matmul, {{5, 6, 0, 1}, {8, 3, 0, 1}, NO, NO, NO, NO}, {{5, 8, 0, 0}, NO}, PLAIN, 0, 2, 2, 0, 0},
    {"kron", ALO_K_kron, {{5, 6, 1, 2}, {6, 2, 0, 0}, {9, 2, 0, 1}, {6, 4, 0, 1}, NO, NO}, {{5, 8, 1, 1}, {5, 12, 1, 0}}, {{5, 12, 1, 0}, {5, 12, 1, 1}}, 0, 3, 2, 2, 2},
    {"kron tall", ALO_K_kron, {{30, 6, 1, 0}, {4, 3, 0, 1}, {6, 2, 0, 0}, {4, 5, 0, 0}, NO, NO}, {{30, 15, 1, 0}, {30, 8, 1, 0}}, {{30, 12, 1, 0}, {30, 8, 1, 0}}, 0, 2, 2, 3, 2},
    {"kron without u", ALO_K_kron, {{5, 6, 1, 0}, {6, 4, 0, 0}, {4, 5, 0, 0}, NO, NO, NO}, {{5, 20, 1, 2}, {5, 30, 1, 0}}, {{5, 40, 1, 0}, {5, 30, 1, 0}}, 0, 2, 3, 4, 5},
    {"kron once, T unkept", ALO_K_kron, {{5, 6, 0, 0}, {3, 1, 0, 0}, {2, 2, 0, 0}, {2, 3, 0, 0}, NO, NO}, {{5, 3, 0, 0}, NO}, {{5, 2, 0, 0}, {5, 6, 0, 0}}, 0, 1, 3, 1, 2},
    {"norm", ALO_K_norm, {{4, 7, 1, 1}, {1, 7, 0, 0}, {1, 7, 0, 0}, NO, NO, NO}, {{4, 7, 1, 2}, {4, 2, 1, 1}}, PLAIN, 1e-3f, 0, 0, 0, 0},
    {"norm bare", ALO_K_norm, {{4, 7, 1, 0}, NO, NO, NO, NO, NO}, {{4, 7, 1, 0}, {4, 2, 1, 0}}, PLAIN, 1e-3f, 0, 0, 0, 0},
    {"norm no shift", ALO_K_norm, {{4, 7, 0, 0}, {1, 7, 0, 0}, NO, NO, NO, NO}, {{4, 7, 0, 0}, {4, 2, 0, 0}}, PLAIN, 1e-3f, 0, 0, 0, 0},
    {"affine", ALO_K_affine, {{4, 5, 1, 1}, {1, 5, 0, 1}, {1, 5, 0, 0}, NO, NO, NO}, {{4, 5, 1, 0}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"affine gain", ALO_K_affine, {{4, 5, 0, 1}, {4, 5, 0, 1}, NO, NO, NO, NO}, {{4, 5, 0, 0}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"affine shift", ALO_K_affine, {{4, 5, 1, 0}, NO, {1, 5, 0, 0}, NO, NO, NO}, {{4, 5, 1, 0}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"attention", ALO_K_attention, {{5, 6, 1, 9}, {7, 6, 1, 1}, {7, 6, 1, 2}, NO, NO, NO}, {{5, 6, 1, 1}, {5, 2, 1, 0}}, PLAIN, 0, 2, 0, 0, 0},
    {"attention shared k", ALO_K_attention, {{3, 4, 1, 0}, {5, 4, 0, 1}, {5, 4, 0, 0}, NO, NO, NO}, {{3, 4, 1, 0}, {3, 1, 1, 0}}, PLAIN, 0, 1, 0, 0, 0},
    {"attention shared q", ALO_K_attention, {{3, 4, 0, 0}, {5, 4, 1, 1}, {5, 4, 1, 0}, NO, NO, NO}, {{3, 4, 1, 0}, {3, 2, 1, 1}}, PLAIN, 0, 2, 0, 0, 0},
    {"attention windows", ALO_K_attention, {{8, 6, 1, 2}, {8, 6, 1, 0}, {8, 6, 1, 1}, {12, 4, 0, 1}, NO, NO}, {{8, 6, 1, 1}, {8, 3, 1, 0}}, PLAIN, 0, 3, 4, 0, 1},
    {"attention bias", ALO_K_attention, {{3, 4, 1, 0}, {5, 4, 1, 0}, {5, 4, 1, 0}, {6, 5, 0, 0}, NO, NO}, {{3, 4, 1, 0}, {3, 2, 1, 0}}, PLAIN, 0, 2, 0, 0, 0},
    {"dwconv", ALO_K_dwconv, {{12, 3, 1, 1}, {3, 9, 0, 1}, {1, 3, 0, 0}, NO, NO, NO}, {{12, 3, 1, 2}, NO}, PLAIN, 0, 3, 4, 3, 0},
    {"dwconv 5", ALO_K_dwconv, {{6, 2, 1, 0}, {2, 25, 0, 0}, NO, NO, NO, NO}, {{6, 2, 1, 0}, NO}, PLAIN, 0, 2, 3, 5, 0},
    {"gelu", ALO_K_unary, {{4, 5, 1, 1}, NO, NO, NO, NO, NO}, {{4, 5, 1, 0}, NO}, PLAIN, 0, ALORE_GELU, 0, 0, 0},
    {"gelu_tanh", ALO_K_unary, {{4, 5, 1, 0}, NO, NO, NO, NO, NO}, {{4, 5, 1, 1}, NO}, PLAIN, 0, ALORE_GELU_TANH, 0, 0, 0},
    {"quick_gelu", ALO_K_unary, {{4, 5, 1, 0}, NO, NO, NO, NO, NO}, {{4, 5, 1, 1}, NO}, PLAIN, 0, ALORE_QUICK_GELU, 0, 0, 0},
    {"relu", ALO_K_unary, {{4, 5, 1, 0}, NO, NO, NO, NO, NO}, {{4, 5, 1, 1}, NO}, PLAIN, 0, ALORE_RELU, 0, 0, 0},
    {"silu", ALO_K_unary, {{4, 5, 0, 0}, NO, NO, NO, NO, NO}, {{4, 5, 0, 1}, NO}, PLAIN, 0, ALORE_SILU, 0, 0, 0},
    {"tanh", ALO_K_unary, {{4, 5, 1, 0}, NO, NO, NO, NO, NO}, {{4, 5, 1, 1}, NO}, PLAIN, 0, ALORE_TANH, 0, 0, 0},
    {"sigmoid", ALO_K_unary, {{4, 5, 1, 0}, NO, NO, NO, NO, NO}, {{4, 5, 1, 1}, NO}, PLAIN, 0, ALORE_SIGMOID, 0, 0, 0},
    {"add", ALO_K_add, {{4, 5, 1, 1}, {4, 5, 1, 0}, NO, NO, NO, NO}, {{4, 5, 1, 2}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"add row", ALO_K_add, {{4, 5, 1, 1}, {1, 5, 0, 0}, NO, NO, NO, NO}, {{4, 5, 1, 2}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"add column", ALO_K_add, {{4, 5, 1, 1}, {4, 1, 1, 2}, NO, NO, NO, NO}, {{4, 5, 1, 2}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"add to shared", ALO_K_add, {{4, 5, 0, 0}, {1, 5, 1, 0}, NO, NO, NO, NO}, {{4, 5, 1, 2}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"add outer", ALO_K_add, {{1, 5, 0, 0}, {4, 1, 0, 1}, NO, NO, NO, NO}, {{4, 5, 0, 0}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"mul", ALO_K_mul, {{4, 5, 1, 1}, {4, 5, 1, 0}, NO, NO, NO, NO}, {{4, 5, 1, 2}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"mul row", ALO_K_mul, {{4, 5, 1, 1}, {1, 5, 0, 0}, NO, NO, NO, NO}, {{4, 5, 1, 2}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"mul column", ALO_K_mul, {{4, 5, 1, 1}, {4, 1, 0, 2}, NO, NO, NO, NO}, {{4, 5, 1, 2}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"mul one", ALO_K_mul, {{1, 1, 0, 0}, {4, 5, 1, 2}, NO, NO, NO, NO}, {{4, 5, 1, 2}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"mul outer", ALO_K_mul, {{1, 5, 1, 0}, {4, 1, 0, 1}, NO, NO, NO, NO}, {{4, 5, 1, 0}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"scale", ALO_K_scale, {{4, 5, 1, 1}, NO, NO, NO, NO, NO}, {{4, 5, 1, 0}, NO}, PLAIN, -1.5f, 0, 0, 0, 0},
    {"add_columns", ALO_K_add_columns, {{4, 7, 1, 1}, {4, 3, 1, 1}, NO, NO, NO, NO}, {{4, 7, 1, 0}, NO}, PLAIN, 0, 2, 0, 0, 0},
    {"add_columns row", ALO_K_add_columns, {{4, 7, 1, 1}, {1, 3, 0, 0}, NO, NO, NO, NO}, {{4, 7, 1, 0}, NO}, PLAIN, 0, 4, 0, 0, 0},
    {"gather", ALO_K_gather, {{5, 3, 1, 1}, NO, NO, NO, NO, NO}, {{5, 6, 1, 1}, NO}, PLAIN, 0, 5, 2, 0, 0},
    {"gather shared", ALO_K_gather, {{5, 3, 0, 1}, NO, NO, NO, NO, NO}, {{10, 3, 1, 1}, NO}, PLAIN, 0, 10, 1, 0, 0},
    {"gather once", ALO_K_gather, {{5, 2, 0, 0}, NO, NO, NO, NO, NO}, {{2, 10, 0, 0}, NO}, PLAIN, 0, 2, 5, 0, 0},
    {"pick", ALO_K_pick, {{4, 5, 1, 1}, NO, NO, NO, NO, NO}, {{4, 8, 1, 2}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"pick once", ALO_K_pick, {{3, 7, 0, 0}, NO, NO, NO, NO, NO}, {{3, 5, 0, 1}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"inverse", ALO_K_inverse, {{4, 8, 0, 1}, NO, NO, NO, NO, NO}, {{4, 8, 0, 2}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"inverse 1", ALO_K_inverse, {{1, 3, 0, 0}, NO, NO, NO, NO, NO}, {{1, 3, 0, 0}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"inverse 9", ALO_K_inverse, {{9, 9, 0, 0}, NO, NO, NO, NO, NO}, {{9, 9, 0, 1}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"over_lengths", ALO_K_over_lengths, {{5, 1, 0, 1}, {5, 7, 0, 2}, NO, NO, NO, NO}, {{5, 1, 0, 0}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"over_lengths 50", ALO_K_over_lengths, {{3, 1, 0, 0}, {3, 50, 0, 0}, NO, NO, NO, NO}, {{3, 1, 0, 1}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"scatter", ALO_K_scatter, {{5, 6, 0, 1}, {1, 9, 0, 0}, {9, 2, 0, 1}, NO, NO, NO}, {{5, 6, 0, 2}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"scatter alone", ALO_K_scatter, {NO, {1, 7, 0, 0}, {7, 2, 0, 0}, NO, NO, NO}, {{4, 17, 0, 1}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"scatter row", ALO_K_scatter, {{1, 33, 0, 0}, {1, 5, 0, 1}, {5, 1, 0, 0}, NO, NO, NO}, {{1, 33, 0, 0}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"scatter row alone", ALO_K_scatter, {NO, {1, 3, 0, 0}, {3, 1, 0, 1}, NO, NO, NO}, {{1, 6, 0, 0}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"sparse", ALO_K_sparse, {{4, 5, 1, 1}, {1, 9, 0, 0}, {9, 2, 0, 1}, NO, NO, NO}, {{4, 7, 1, 2}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"sparse 33", ALO_K_sparse, {{3, 33, 1, 0}, {1, 40, 0, 1}, {40, 2, 0, 0}, NO, NO, NO}, {{3, 17, 1, 0}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"sparse once", ALO_K_sparse, {{4, 5, 0, 0}, {1, 3, 0, 0}, {3, 2, 0, 0}, NO, NO, NO}, {{4, 2, 0, 0}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"concat", ALO_K_concat, {{2, 3, 1, 1}, {4, 3, 1, 0}, NO, NO, NO, NO}, {{6, 3, 1, 1}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"concat shared", ALO_K_concat, {{1, 3, 0, 1}, {4, 3, 1, 0}, NO, NO, NO, NO}, {{5, 3, 1, 1}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"concat below", ALO_K_concat, {{4, 3, 1, 1}, {2, 3, 0, 1}, NO, NO, NO, NO}, {{6, 3, 1, 1}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"mean_rows", ALO_K_mean_rows, {{6, 3, 1, 1}, NO, NO, NO, NO, NO}, {{1, 3, 1, 1}, NO}, PLAIN, 0, 1, 4, 0, 0},
    {"dropout", ALO_K_dropout, {{6, 5, 1, 1}, NO, NO, NO, NO, NO}, {{6, 5, 1, 0}, NO}, PLAIN, 0.3f, 0, 0, 0, 0},
    {"drop_path", ALO_K_drop_path, {{3, 4, 1, 1}, {3, 4, 1, 0}, NO, NO, NO, NO}, {{3, 4, 1, 0}, NO}, PLAIN, 0.4f, 0, 0, 0, 0},
    {"xent", ALO_K_xent, {{1, 7, 1, 1}, {1, 1, 1, 0}, NO, NO, NO, NO}, {{1, 1, 1, 0}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"xent smooth", ALO_K_xent, {{3, 7, 1, 1}, {3, 1, 1, 0}, NO, NO, NO, NO}, {{1, 1, 1, 0}, NO}, PLAIN, 0.1f, 0, 0, 0, 0},
    {"mse", ALO_K_mse, {{2, 5, 1, 1}, {2, 5, 1, 0}, NO, NO, NO, NO}, {{1, 1, 1, 0}, NO}, PLAIN, 0, 0, 0, 0, 0},
    /* extents that reach the vectors of every level and what is left behind them */
    {"norm 100", ALO_K_norm, {{3, 100, 1, 1}, {1, 100, 0, 0}, {1, 100, 0, 0}, NO, NO, NO}, {{3, 100, 1, 2}, {3, 2, 1, 1}}, PLAIN, 1e-3f, 0, 0, 0, 0},
    {"norm 33", ALO_K_norm, {{2, 33, 0, 0}, {1, 33, 0, 0}, NO, NO, NO, NO}, {{2, 33, 0, 0}, {2, 2, 0, 0}}, PLAIN, 1e-3f, 0, 0, 0, 0},
    {"norm 16", ALO_K_norm, {{5, 16, 1, 0}, NO, {1, 16, 0, 0}, NO, NO, NO}, {{5, 16, 1, 0}, {5, 2, 1, 0}}, PLAIN, 1e-3f, 0, 0, 0, 0},
    {"affine 100", ALO_K_affine, {{3, 100, 1, 1}, {1, 100, 0, 1}, {1, 100, 0, 0}, NO, NO, NO}, {{3, 100, 1, 0}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"affine 17", ALO_K_affine, {{5, 17, 1, 3}, NO, {1, 17, 0, 0}, NO, NO, NO}, {{5, 17, 1, 1}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"affine 1", ALO_K_affine, {{5, 1, 1, 3}, {1, 1, 0, 0}, {1, 1, 0, 0}, NO, NO, NO}, {{5, 1, 1, 1}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"affine 1050", ALO_K_affine, {{2, 1050, 1, 0}, {1, 1050, 0, 1}, {1, 1050, 0, 0}, NO, NO, NO}, {{2, 1050, 1, 0}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"matmul 33", ALO_K_matmul, {{5, 16, 1, 1}, {16, 33, 0, 1}, {1, 33, 0, 0}, {5, 33, 1, 1}, NO, NO}, {{5, 33, 1, 3}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"matmul slim", ALO_K_matmul, {{3, 67, 1, 1}, {67, 35, 0, 1}, NO, NO, NO, NO}, {{3, 35, 1, 3}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"dwconv 33", ALO_K_dwconv, {{6, 33, 1, 1}, {33, 9, 0, 1}, {1, 33, 0, 0}, NO, NO, NO}, {{6, 33, 1, 2}, NO}, PLAIN, 0, 2, 3, 3, 0},
    {"add 33", ALO_K_add, {{3, 33, 1, 1}, {3, 33, 1, 0}, NO, NO, NO, NO}, {{3, 33, 1, 2}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"add row 100", ALO_K_add, {{3, 100, 1, 1}, {1, 100, 0, 0}, NO, NO, NO, NO}, {{3, 100, 1, 2}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"add column 33", ALO_K_add, {{4, 33, 1, 1}, {4, 1, 1, 2}, NO, NO, NO, NO}, {{4, 33, 1, 2}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"add positions", ALO_K_add, {{4, 17, 1, 1}, {4, 17, 0, 2}, NO, NO, NO, NO}, {{4, 17, 1, 0}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"add to shared 16", ALO_K_add, {{4, 16, 0, 0}, {1, 16, 1, 0}, NO, NO, NO, NO}, {{4, 16, 1, 2}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"add 1 to 3", ALO_K_add, {{4, 3, 0, 0}, {4, 1, 1, 0}, NO, NO, NO, NO}, {{4, 3, 1, 2}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"mul 100", ALO_K_mul, {{2, 100, 1, 1}, {2, 100, 1, 0}, NO, NO, NO, NO}, {{2, 100, 1, 2}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"mul row 17", ALO_K_mul, {{4, 17, 1, 1}, {1, 17, 0, 0}, NO, NO, NO, NO}, {{4, 17, 1, 2}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"mul column 33", ALO_K_mul, {{3, 33, 1, 1}, {3, 1, 0, 2}, NO, NO, NO, NO}, {{3, 33, 1, 2}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"mul one 16", ALO_K_mul, {{1, 1, 0, 0}, {3, 16, 1, 2}, NO, NO, NO, NO}, {{3, 16, 1, 2}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"mul outer 33", ALO_K_mul, {{1, 33, 1, 0}, {4, 1, 0, 1}, NO, NO, NO, NO}, {{4, 33, 1, 0}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"scale 33", ALO_K_scale, {{3, 33, 1, 1}, NO, NO, NO, NO, NO}, {{3, 33, 1, 0}, NO}, PLAIN, -1.5f, 0, 0, 0, 0},
    {"gelu 33", ALO_K_unary, {{3, 33, 1, 1}, NO, NO, NO, NO, NO}, {{3, 33, 1, 0}, NO}, PLAIN, 0, ALORE_GELU, 0, 0, 0},
    {"silu 16", ALO_K_unary, {{3, 16, 1, 1}, NO, NO, NO, NO, NO}, {{3, 16, 1, 0}, NO}, PLAIN, 0, ALORE_SILU, 0, 0, 0},
    {"add_columns 40", ALO_K_add_columns, {{4, 40, 1, 1}, {4, 17, 1, 1}, NO, NO, NO, NO}, {{4, 40, 1, 0}, NO}, PLAIN, 0, 20, 0, 0, 0},
    {"add_columns row 33", ALO_K_add_columns, {{4, 33, 1, 1}, {1, 16, 0, 0}, NO, NO, NO, NO}, {{4, 33, 1, 0}, NO}, PLAIN, 0, 17, 0, 0, 0},
    {"gather 33", ALO_K_gather, {{5, 33, 1, 1}, NO, NO, NO, NO, NO}, {{5, 66, 1, 1}, NO}, PLAIN, 0, 5, 2, 0, 0},
    {"gather 1", ALO_K_gather, {{5, 1, 0, 1}, NO, NO, NO, NO, NO}, {{10, 1, 1, 1}, NO}, PLAIN, 0, 10, 1, 0, 0},
    {"concat 33", ALO_K_concat, {{1, 33, 0, 1}, {4, 33, 1, 0}, NO, NO, NO, NO}, {{5, 33, 1, 1}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"concat 1", ALO_K_concat, {{3, 1, 1, 1}, {2, 1, 1, 0}, NO, NO, NO, NO}, {{5, 1, 1, 1}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"mean_rows 33", ALO_K_mean_rows, {{6, 33, 1, 1}, NO, NO, NO, NO, NO}, {{1, 33, 1, 1}, NO}, PLAIN, 0, 1, 4, 0, 0},
    {"mean_rows one", ALO_K_mean_rows, {{6, 33, 1, 1}, NO, NO, NO, NO, NO}, {{1, 33, 1, 1}, NO}, PLAIN, 0, 2, 1, 0, 0},
    {"dropout 130", ALO_K_dropout, {{2, 130, 1, 1}, NO, NO, NO, NO, NO}, {{2, 130, 1, 0}, NO}, PLAIN, 0.3f, 0, 0, 0, 0},
    {"dropout 67", ALO_K_dropout, {{5, 67, 1, 1}, NO, NO, NO, NO, NO}, {{5, 67, 1, 0}, NO}, PLAIN, 0.6f, 0, 0, 0, 0},
    {"drop_path 33", ALO_K_drop_path, {{3, 33, 1, 1}, {3, 33, 1, 0}, NO, NO, NO, NO}, {{3, 33, 1, 0}, NO}, PLAIN, 0.4f, 0, 0, 0, 0},
    {"drop_path bare", ALO_K_drop_path, {{3, 17, 1, 1}, NO, NO, NO, NO, NO}, {{3, 17, 1, 0}, NO}, PLAIN, 0.4f, 0, 0, 0, 0},
    {"xent 100", ALO_K_xent, {{2, 100, 1, 1}, {2, 1, 1, 0}, NO, NO, NO, NO}, {{1, 1, 1, 0}, NO}, PLAIN, 0.1f, 0, 0, 0, 0},
    {"xent 33", ALO_K_xent, {{1, 33, 1, 1}, {1, 1, 1, 0}, NO, NO, NO, NO}, {{1, 1, 1, 0}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"copy 33", ALO_K_copy, {{3, 33, 1, 1}, NO, NO, NO, NO, NO}, {{3, 33, 1, 0}, NO}, PLAIN, 0, 0, 0, 0, 0},
    {"kron 16", ALO_K_kron, {{5, 18, 1, 1}, {8, 3, 0, 0}, {36, 4, 0, 1}, {16, 7, 0, 0}, NO, NO}, {{5, 21, 1, 1}, {5, 32, 1, 0}}, {{5, 48, 1, 0}, {5, 32, 1, 0}}, 0, 4, 2, 3, 4},
    {"kron 18", ALO_K_kron, {{5, 8, 1, 0}, {6, 2, 0, 1}, {12, 6, 0, 0}, {18, 3, 0, 0}, NO, NO}, {{5, 6, 1, 0}, {5, 36, 1, 0}}, {{5, 36, 1, 0}, {5, 36, 1, 0}}, 0, 3, 2, 2, 6},
    {"copy", ALO_K_copy, {{3, 4, 1, 1}, NO, NO, NO, NO, NO}, {{3, 4, 1, 0}, NO}, PLAIN, 0, 0, 0, 0, 0},
};
#undef NO
#undef PLAIN
/* clang-format on */

/* A NaN in a row leaves by every number made of it, and by no other. */
static void t_nan_row(const char *name, int code, int cols, int n, bool whole)
{
    t_case c;
    memset(&c, 0, sizeof c);
    c.name = name, c.code = code, c.n = n, c.x = 1e-6f;
    c.in[0].rows = c.out[0].rows = 2, c.in[0].cols = c.out[0].cols = cols;
    if (code == ALO_K_norm) c.out[1].rows = c.out[1].cols = 2;
    if (code == ALO_K_xent) c.in[1].rows = 2, c.in[1].cols = c.out[0].rows = c.out[0].cols = 1;
    for (int mode = T_LEVEL + 1; mode < T_LEVEL + 99; mode = t_next_mode(mode))
        for (int at = 0, bad = 0; at < cols; ++at) {
            t_pool p;
            t_open(&p, &c, 1);
            p.v[0][cols + at] = NAN;
            t_kernel(&p, code, mode, 0, 0);
            for (int i = 0; i < t_numbers(&p, T_Y); ++i) {
                const bool made = whole ? i >= cols || code == ALO_K_xent : i == cols + at;
                bad += (p.v[T_Y][i] != p.v[T_Y][i]) != made;
            }
            if (code != ALO_K_unary) {
                const int piece = code == ALO_K_norm ? ALO_K_norm_dx : ALO_K_xent_dx;
                t_kernel(&p, piece, mode, 0, 0);
                for (int i = 0; i < 2 * cols; ++i)
                    bad += (p.v[T_GRAD][i] != p.v[T_GRAD][i]) != (i >= cols);
            }
            t_close(&p);
            if (at == cols - 1) ok(!bad, "%s %d x %d, mode %d: %d wrong", name, n, cols, mode, bad);
        }
}

static void t_ops_nan(void)
{
    static const int widths[] = {1, 3, 16, 37};
    for (int i = 0; i < 4; ++i) {
        for (int kind = ALORE_GELU; kind <= ALORE_SIGMOID; ++kind)
            t_nan_row("act", ALO_K_unary, widths[i], kind, false);
        t_nan_row("norm", ALO_K_norm, widths[i], 0, true);
        t_nan_row("xent", ALO_K_xent, widths[i], 0, true);
    }
}

static void t_ops_gradients(void)
{
    bool seen[ALO_K_COUNT];
    memset(seen, 0, sizeof seen);
    for (size_t i = 0; i < sizeof t_cases / sizeof *t_cases; ++i) {
        t_take(&t_cases[i], 1);
        t_take(&t_cases[i], 3);
        seen[t_cases[i].code] = true;
        for (int k = t_piece(t_cases[i].code, t_cases[i].code); k;
             k = t_piece(t_cases[i].code, k))
            seen[k] = true;
    }
    for (int i = 0; i < ALO_K_COUNT; ++i)
        if (i != ALO_K_cast && i != ALO_K_zero && i < ALO_K_narrow)
            ok(seen[i], "no case runs %s", alo_kernel_rows[i].name);
}

/* A case by name, opened for `samples` samples; the forward kernel has run. */
static const t_case *t_forward(t_pool *p, const char *name, int samples)
{
    for (size_t i = 0; i < sizeof t_cases / sizeof *t_cases; ++i)
        if (!strcmp(t_cases[i].name, name)) {
            t_open(p, &t_cases[i], samples);
            t_kernel(p, p->c->code, T_F64, 0, 0);
            return p->c;
        }
    abort();
}

/* Element (s, r, j) of a slot, repeating as operands do. */
static double t_at(const t_pool *p, int slot, int s, int r, int j)
{
    const t_ext *e = &p->ext[slot];
    if (!e->per) s = 0;
    return p->v[slot][(s * e->rows + (e->rows == 1 ? 0 : r)) * e->cols +
                      (e->cols == 1 ? 0 : j)];
}

/* y against four nested loops, for every matmul of the table; then with a function
 * fused in, over d and not. */
static void t_ops_matmul(void)
{
    for (size_t i = 0; i < sizeof t_cases / sizeof *t_cases; ++i) {
        t_case c = t_cases[i];
        t_pool p;
        if (c.code != ALO_K_matmul) continue;
        for (int act = 0; act < 3; ++act) {
            c.p = act == 2 ? 1 + ALORE_SILU : act ? 1 + ALORE_GELU : 0;
            t_open(&p, &c, 3);
            double worst = 0;
            t_kernel(&p, c.code, T_F64, 0, act == 2 && c.in[3].rows ? 'd' : 0);
            const int groups = c.m ? c.m : 1, inner = c.in[1].rows * c.in[1].cols *
                                                      groups / c.out[0].cols / groups;
            for (int e = 0; e < t_numbers(&p, T_Y); ++e) {
                const int n = c.out[0].cols, j = e % n, r = e / n % c.out[0].rows;
                const int s = e / n / c.out[0].rows, h = j / (n / groups);
                double sum = c.in[2].rows ? t_at(&p, 2, s, r, j) : 0;
                for (int k = 0; k < inner; ++k) {
                    const int ak = h * inner + k;
                    sum += p.v[0][((c.in[0].per ? s : 0) * c.in[0].rows +
                                   (c.n & 1 ? ak : r)) *
                                      c.in[0].cols +
                                  (c.n & 1 ? r : ak)] *
                           p.v[1][((c.in[1].per ? s : 0) * c.in[1].rows +
                                   (c.n & 2 ? j : k)) *
                                      c.in[1].cols +
                                  (c.n & 2 ? k : j)];
                }
                if (act == 1) sum *= 0.5 * (1 + erf(sum / sqrt(2.0)));
                if (act == 2) sum /= 1 + exp(-sum);
                sum += c.in[3].rows ? t_at(&p, 3, s, r, j) : 0;
                if (!(fabs(sum - p.v[T_Y][e]) <= worst))
                    worst = fabs(sum - p.v[T_Y][e]);
            }
            ok(worst < 1e-13, "%s, form %d: off by %g", c.name, act, worst);
            t_close(&p);
        }
    }
}

/* A product that keeps the slope z of its function: its pieces on g z are its gradient.
 * And what is multiplied into da afterwards is multiplied into da. */
static void t_ops_slopes(void)
{
    for (size_t i = 0; i < sizeof t_cases / sizeof *t_cases; ++i)
        for (int kind = ALORE_GELU; kind <= ALORE_SIGMOID; ++kind) {
            t_case c = t_cases[i];
            t_pool p;
            if (c.code != ALO_K_matmul) continue;
            c.p = 1 + kind;
            c.out[1] = c.out[0];
            ++c.out[1].gap;
            t_open(&p, &c, 3);
            t_kernel(&p, c.code, T_F64, 0, 0);
            t_forms(&p, c.code);
            const int count = t_numbers(&p, T_Y), size = t_numbers(&p, T_GRAD);
            double *g = (double *)malloc(8 * (size_t)count);
            memcpy(g, p.v[T_G], 8 * (size_t)count);
            for (int e = 0; e < count; ++e) p.v[T_G][e] *= p.v[T_Z][e];
            for (int k = t_piece(c.code, c.code); k; k = t_piece(c.code, k))
                if (t_wanted(&p, k)) t_kernel(&p, k, T_F64, 0, 0);
            double *da = (double *)malloc(8 * (size_t)size);
            memcpy(da, p.v[T_GRAD], 8 * (size_t)size);
            p.ext[T_M] = c.in[0];
            p.v[T_M] = (double *)realloc(p.v[T_M], 8 * (size_t)size);
            for (int e = 0; e < size; ++e) p.v[T_M][e] = t_random();
            for (int mode = T_F64; mode < T_LEVEL + 99; mode = t_next_mode(mode)) {
                t_kernel(&p, ALO_K_matmul_da, mode, 0, 0);
                double worst = 0;
                for (int e = 0; e < size; ++e)
                    worst = t_worse(worst, fabs(p.v[T_GRAD][e] - da[e] * p.v[T_M][e]));
                ok(worst <= (mode == T_F64 ? 1e-15 : 24 * EPS), "%s, mode %d: factor off by %g",
                   c.name, mode, worst);
            }
            memcpy(p.v[T_GRAD], da, 8 * (size_t)size);
            memcpy(p.v[T_G], g, 8 * (size_t)count);
            for (int k = 0; k < 3; ++k)
                if (p.ext[k].rows) t_differences(&p, k);
            free(g);
            free(da);
            t_close(&p);
        }
}

/* Numbers narrowed by ranges of tasks and widened again, on every level: bfloat16 as its function
 * has it, NaN and infinity with it; bytes at most half a step off, 0 and 1 exact. Nothing behind
 * the last row is written. */
static void t_ops_narrow(void)
{
    static const int shapes[][2] = {{1, 1}, {3, 7}, {5, 33}, {2, 64}, {7, 100}, {3, 129}};
    enum { ROOM = 1600 };
    static double wide[ROOM];
    static float x[ROOM], y[ROOM];
    static uint16_t few[ROOM];
    for (int mode = T_F64; mode < T_LEVEL + 99; mode = t_next_mode(mode))
        for (int k = 0; k < 12; ++k) {
            const int rows = shapes[k / 2][0], cols = shapes[k / 2][1], all = 2 * rows * cols;
            const bool byte = k & 1;
            const size_t each = byte ? 1 : 2;
            alo_tensor t[2];
            alore_call c;
            double worst = 0;
            bool same = true;
            memset(&c, 0, sizeof c);
            memset(t, 0, sizeof t);
            for (int i = 0; i < 2; ++i) {
                t[i].rows = rows, t[i].cols = t[i].ld = cols;
                t[i].flags = ALO_PER_SAMPLE;
            }
            t[1].dtype = byte ? ALORE_U8 : ALORE_BF16;
            c.samples = 2;
            for (int i = 0; i < all; ++i) {
                x[i] = (float)(byte ? 0.4975 + 0.6375 * t_random() : 1e3 * t_random());
                if (i % 5 == 0) x[i] = i % 2 ? 1.0f : 0.0f;
                if (!byte && i % 31 == 4) x[i] = i % 2 ? INFINITY : NAN;
                wide[i] = (double)x[i];
            }
            memset(few, 0xa5, sizeof few);
            c.t[0] = &t[0], c.t[ALO_Y] = &t[1];
            c.p[0] = mode == T_F64 ? (void *)wide : (void *)x;
            c.p[ALO_Y] = few;
            for (int end = 2 * rows; end > 0; --end) t_call(&c, ALO_K_narrow, mode, end - 1, end);
            ok(((unsigned char *)few)[each * (size_t)all] == 0xa5, "mode %d wrote behind", mode);
            memset(wide, 0, sizeof wide);
            c.t[0] = &t[1], c.t[ALO_Y] = &t[0];
            c.p[0] = few;
            c.p[ALO_Y] = mode == T_F64 ? (void *)wide : (void *)y;
            t_call(&c, ALO_K_widen, mode, 1, 2 * rows);
            t_call(&c, ALO_K_widen, mode, 0, 1);
            for (int i = 0; i < all; ++i) {
                const float have = mode == T_F64 ? (float)wide[i] : y[i];
                const float want = alore_bfloat_to_float(alore_float_to_bfloat(x[i]));
                worst = t_worse(worst, fabs((double)have - (double)x[i]));
                if (byte ? i % 5 == 0 && have != x[i] : have != want && (have == have || want == want))
                    same = false;
            }
            ok(same, "mode %d, %d x %d: other numbers", mode, rows, cols);
            ok(!byte || worst <= 0.0025 + 2 * EPS, "mode %d, %d x %d: a byte is off by %g", mode, rows, cols,
               worst);
        }
    for (int kind = ALORE_GELU; kind <= ALORE_SIGMOID; ++kind) /* every slope lies in the bytes' range */
        for (int i = -4000; i <= 4000; ++i) {
            const double slope = alo_act_f64(kind, 0.005 * i, true);
            if (!(slope >= -0.14 && slope <= 1.135)) ok(false, "slope %g of %d", slope, kind);
        }
}

/* Every attention of the table against the plain formula, y and z. */
static void t_ops_attention(void)
{
    for (size_t i = 0; i < sizeof t_cases / sizeof *t_cases; ++i) {
        const t_case *c = &t_cases[i];
        t_pool p;
        double worst = 0;
        if (c->code != ALO_K_attention) continue;
        t_forward(&p, c->name, 3);
        const int width = c->in[0].cols / c->n;
        for (int e = 0; e < 3 * c->in[0].rows * c->n; ++e) {
            const int h = e % c->n, r = e / c->n % c->in[0].rows;
            const int s = e / c->n / c->in[0].rows;
            const int span = c->m ? c->m : c->in[1].rows, w = c->m ? r / c->m : 0;
            const int rows = c->m ? c->m : c->in[0].rows;
            double weight[16], sum = 0;
            for (int j = 0; j < span; ++j) {
                double x = 0;
                for (int k = 0; k < width; ++k)
                    x += t_at(&p, 0, s, r, h * width + k) *
                         t_at(&p, 1, s, w * span + j, h * width + k);
                x /= sqrt((double)width);
                if (c->in[3].rows) x += t_at(&p, 3, s, h * rows + r % rows, j);
                if (c->q) x += (double)t_mask[(w * rows + r % rows) * span + j];
                sum += weight[j] = exp(x);
            }
            worst = t_worse(worst, fabs(log(sum) - t_at(&p, T_Z, s, r, h)));
            for (int k = 0; k < width; ++k) {
                double y = 0;
                for (int j = 0; j < span; ++j)
                    y += weight[j] / sum * t_at(&p, 2, s, w * span + j, h * width + k);
                worst = t_worse(worst, fabs(y - t_at(&p, T_Y, s, r, h * width + k)));
            }
        }
        ok(worst < 1e-13, "%s: off by %g", c->name, worst);
        t_close(&p);
    }
}

/* Attention on shapes that levels treat apart, against the double reference: rows and
 * keys between vectors, one query, blocks of rows, windows; then each set of outputs.
 * The bound of t_forms holds: scores of 64 products have deviation 1/3, so P is a mean
 * over keys, and its errors of 2 eps and those of the sums are, too. */
static void t_ops_attention_shapes(void)
{
    static const struct { int rows, keys, heads, width, window, mask, bias; } shapes[] = {
        {17, 17, 2, 16, 0, 0, 0},  {17, 17, 3, 5, 0, 0, 0},   {1, 197, 2, 64, 0, 0, 0},
        {197, 197, 1, 64, 0, 0, 0}, {25, 49, 1, 40, 0, 0, 1}, {49, 16, 2, 7, 0, 0, 0},
        {100, 1000, 1, 8, 0, 0, 0}, {22, 22, 2, 12, 11, 1, 1}, {32, 32, 1, 33, 16, 0, 0},
        {1, 1, 2, 3, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; ++i)
        for (int kept = 7; kept > 0 && (kept == 7 || i < 3); --kept) {
            const int cols = shapes[i].heads * shapes[i].width;
            const int span = shapes[i].window ? shapes[i].window : shapes[i].keys;
            const int high = shapes[i].window ? shapes[i].window : shapes[i].rows;
            char name[64];
            t_case c;
            t_pool p;
            memset(&c, 0, sizeof c);
            snprintf(name, sizeof name, "attention %dx%d, width %d, outputs %d", shapes[i].rows,
                     shapes[i].keys, shapes[i].width, kept);
            c.name = name;
            c.code = ALO_K_attention;
            c.n = shapes[i].heads, c.m = shapes[i].window, c.q = shapes[i].mask;
            c.in[0] = c.out[0] = t_extent(shapes[i].rows, cols, 1);
            c.in[1] = c.in[2] = t_extent(shapes[i].keys, cols, 1);
            c.in[0].gap = 2 * cols, c.in[1].gap = 3, c.in[2].gap = 1;
            if (shapes[i].bias) c.in[3] = t_extent(c.n * high, span, 0);
            c.out[1] = t_extent(shapes[i].rows, c.n, 1);
            t_open(&p, &c, 2);
            t_kernel(&p, c.code, T_F64, 0, 0);
            if (kept == 7) t_forms(&p, c.code);
            for (int k = 0; k < 3; ++k)
                if (!(kept >> k & 1)) p.ext[T_GRAD + k].rows = 0;
            t_kernel(&p, ALO_K_attention_dqkv, T_F64, 0, 0);
            t_forms(&p, ALO_K_attention_dqkv);
            t_close(&p);
        }
}

/* Forward kernels that move or mix, against another way to say the same. */
static void t_ops_shapes(void)
{
    t_pool p;
    const t_case *c = t_forward(&p, "dwconv", 3);
    double worst = 0;
    for (int e = 0; e < t_numbers(&p, T_Y); ++e) {
        const int ch = e % 3, at = e / 3 % 12, s = e / 36;
        double sum = t_at(&p, 2, 0, 0, ch);
        for (int h = 0; h < 3; ++h)
            for (int w = 0; w < 4; ++w) {
                const int i = h - at / 4 + 1, j = w - at % 4 + 1;
                if (i >= 0 && i < 3 && j >= 0 && j < 3)
                    sum += t_at(&p, 0, s, h * 4 + w, ch) * t_at(&p, 1, 0, ch, i * 3 + j);
            }
        worst = t_worse(worst, fabs(sum - p.v[T_Y][e]));
    }
    ok(worst < 1e-14 && c->p == 3, "dwconv: off by %g", worst);
    t_close(&p);
    t_forward(&p, "gather", 3);
    for (int e = 0, bad = 0; e < t_numbers(&p, T_Y); ++e) {
        const int j = e % 6, r = e / 6 % 5, s = e / 30;
        const int32_t from = t_table[r * 2 + j / 3];
        bad += p.v[T_Y][e] != (from < 0 ? 0 : t_at(&p, 0, s, from, j % 3));
        if (e == 89) ok(!bad, "gather: %d wrong", bad);
    }
    t_close(&p);
    t_forward(&p, "concat shared", 3);
    for (int e = 0, bad = 0; e < 45; ++e) {
        const int j = e % 3, r = e / 3 % 5, s = e / 15;
        bad += p.v[T_Y][e] != (r ? t_at(&p, 1, s, r - 1, j) : t_at(&p, 0, 0, 0, j));
        if (e == 44) ok(!bad, "concat: %d wrong", bad);
    }
    t_close(&p);
    t_forward(&p, "add_columns row", 3);
    for (int e = 0, bad = 0; e < 84; ++e) {
        const int j = e % 7;
        const double b = j < 4 ? 0 : p.v[1][j - 4];
        bad += p.v[T_Y][e] != p.v[0][e] + b;
        if (e == 83) ok(!bad, "add_columns: %d wrong", bad);
    }
    t_close(&p);
    t_forward(&p, "mean_rows", 3);
    near(p.v[T_Y][4], (p.v[0][22] + p.v[0][25] + p.v[0][28] + p.v[0][31]) / 4, 1e-15,
         "mean_rows");
    t_close(&p);
    t_forward(&p, "mul outer", 3);
    near(p.v[T_Y][2 * 20 + 3 * 5 + 4], p.v[0][2 * 5 + 4] * p.v[1][3], 0, "mul");
    t_close(&p);
    t_forward(&p, "add outer", 3);
    near(p.v[T_Y][3 * 5 + 4], p.v[0][4] + p.v[1][3], 0, "add");
    t_close(&p);
    t_forward(&p, "affine", 3);
    near(p.v[T_Y][23], p.v[0][23] * p.v[1][3] + p.v[2][3], 1e-16, "affine");
    t_close(&p);
    t_forward(&p, "scale", 1);
    near(p.v[T_Y][7], -1.5 * p.v[0][7], 0, "scale");
    t_close(&p);
    t_forward(&p, "mse", 3);
    double sum = 0;
    for (int e = 10; e < 20; ++e)
        sum += (p.v[0][e] - p.v[1][e]) * (p.v[0][e] - p.v[1][e]) / 10;
    near(p.v[T_Y][1], sum, 1e-15, "mse");
    t_kernel(&p, ALO_K_zero, T_F64, 0, 0);
    near(p.v[T_Y][0], 0, 0, "zero");
    t_close(&p);

    const uint8_t bytes[6] = {0, 51, 255, 128, 7, 254};
    const float values[6] = {0.5f, 0.25f, 0.125f, 0.5f, 0.3f, 0.2f};
    float out[6];
    alo_tensor t;
    alo_attr attr;
    alore_call call;
    memset(&t, 0, sizeof t);
    memset(&attr, 0, sizeof attr);
    memset(&call, 0, sizeof call);
    t.rows = 2, t.cols = t.ld = 3;
    attr.values = values;
    call.attr = &attr;
    call.p[0] = (void *)bytes;
    call.p[ALO_Y] = out;
    call.t[0] = call.t[ALO_Y] = &t;
    call.samples = 1;
    for (int mode = T_PLAIN; mode < T_LEVEL + 99; mode = t_next_mode(mode)) {
        t_call(&call, ALO_K_cast, mode, 0, 2);
        for (int i = 0; i < 6; ++i)
            near((double)out[i],
                 ((double)bytes[i] / 255 - (double)values[i % 3]) / (double)values[3 + i % 3],
                 8 * EPS, "cast");
        attr.x = 0.75f;
        t_call(&call, ALO_K_zero, mode, 0, 2);
        for (int i = 0; i < 6; ++i) near((double)out[i], 0.75, 0, "zero");
    }
}

/* Masks: their rate, p = 0 and 1, and no dependence on how samples are split. */
static void t_ops_random(void)
{
    static const t_case wide = {"wide dropout", ALO_K_dropout,
                                {{40, 50, 1, 0}, {0, 0, 0, 0}, {0, 0, 0, 0},
                                 {0, 0, 0, 0}, {0, 0, 0, 0}, {0, 0, 0, 0}},
                                {{40, 50, 1, 0}, {0, 0, 0, 0}},
                                {{0, 0, 0, 0}, {0, 0, 0, 0}}, 0.25f, 0, 0, 0, 0};
    t_case c = wide;
    t_pool p;
    int dropped = 0, bad = 0;
    t_open(&p, &c, 2);
    for (int i = 0; i < 4000; ++i) p.v[0][i] = 3;
    t_kernel(&p, c.code, T_PLAIN, 0, 0);
    for (int i = 0; i < 4000; ++i) {
        dropped += p.v[T_Y][i] == 0;
        bad += p.v[T_Y][i] != 0 && p.v[T_Y][i] != 4;
    }
    ok(dropped > 890 && dropped < 1110, "%d of 4000 dropped", dropped); /* 4 sigma */
    ok(!bad, "%d values are neither 0 nor scaled", bad);
    double first[2000];
    memcpy(first, p.v[T_Y], sizeof first);
    p.samples = 1;
    t_kernel(&p, c.code, T_PLAIN, 0, 0);
    ok(!memcmp(first, p.v[T_Y], sizeof first), "one sample draws another mask");
    c.x = 0;
    t_kernel(&p, c.code, T_PLAIN, 0, 0);
    ok(!memcmp(p.v[0], p.v[T_Y], sizeof first), "p = 0 is not a copy");
    c.x = 1;
    t_kernel(&p, c.code, T_PLAIN, 0, 0);
    for (int i = 0; i < 2000; ++i) bad += p.v[T_Y][i] != 0;
    ok(!bad, "p = 1 leaves %d values", bad);
    t_close(&p);

    int kept = 0;
    c = wide;
    c.code = ALO_K_drop_path, c.in[0].rows = c.out[0].rows = 2;
    c.in[0].cols = c.out[0].cols = 1;
    t_open(&p, &c, 400);
    t_kernel(&p, c.code, T_F64, 0, 0);
    for (int s = 0; s < 400; ++s) {
        const bool keeps = p.v[T_Y][2 * s] != 0;
        kept += keeps;
        for (int r = 0; r < 2; ++r)
            bad += fabs(p.v[T_Y][2 * s + r] - (keeps ? p.v[0][2 * s + r] / 0.75 : 0)) >
                   1e-15;
    }
    ok(kept > 265 && kept < 335, "drop_path keeps %d of 400", kept); /* 4 sigma */
    ok(!bad, "drop_path: %d wrong", bad);
    t_close(&p);
}

/* A label outside the classes makes the loss NaN. */
static void t_ops_labels(void)
{
    for (int k = 0; k < 2; ++k) {
        t_pool p;
        t_forward(&p, "xent smooth", 1);
        ok(isfinite(p.v[T_Y][0]), "a good label gives %g", p.v[T_Y][0]);
        p.v[1][1] = k ? 7 : -1;
        t_kernel(&p, ALO_K_xent, T_PLAIN, 0, 0);
        ok(isnan(p.v[T_Y][0]), "label %g gives %g", p.v[1][1], p.v[T_Y][0]);
        t_close(&p);
    }
}

/* ---- The reference set: units/<name>.safetensors ---- */

static alore_weights *t_unit(alore_ctx *ctx, const char *name)
{
    char path[1024];
    alore_weights *w = NULL;
    snprintf(path, sizeof path, "%s/units/%s.safetensors", t_golden ? t_golden : t_data,
             name);
    ok(alore_weights_load(ctx, path, &w) == ALORE_OK, "%s: %s", path,
       alore_last_error(ctx)->text);
    return w;
}

/* All numbers of a tensor into `out`; how many, 0 if there is none. */
static int t_unit_read(const alore_weights *w, const char *name, double *out, int most)
{
    const alore_tensor *t = alore_weights_find(w, name);
    if (!t) return 0;
    const size_t width = alore_dtype_bytes(t->dtype);
    const int count = (int)(t->bytes / width);
    if (!ok(count <= most, "%s has %d numbers", name, count)) return 0;
    for (int i = 0; i < count; ++i) {
        const unsigned char *b = (const unsigned char *)t->data + (size_t)i * width;
        uint64_t bits = 0;
        for (size_t k = width; k-- > 0;) bits = bits << 8 | b[k];
        const uint32_t half = (uint32_t)bits;
        float f;
        memcpy(&f, &half, 4);
        if (t->dtype == ALORE_F64)
            memcpy(&out[i], &bits, 8);
        else
            out[i] = t->dtype == ALORE_I32 ? (double)(int32_t)half : (double)f;
    }
    return count;
}

/* First number of a metadata value after `key`'s text, "[0.9, 0.99]" with at = 1. */
static double t_unit_meta(const alore_weights *w, const char *key, int at)
{
    const char *s = alore_weights_meta(w, key);
    if (!s) return 0;
    if (!strncmp(s, "true", 4)) return 1;
    while (*s == '[' || *s == '"') ++s;
    while (at-- > 0) s = strchr(s, ',') + 1;
    return strtod(s, NULL);
}

typedef struct t_unit_row {
    const char *name;
    double eps;        /* bound in float, in units of float eps; the set's own float32
                          run is at most a third of it */
} t_unit_row;

/* Bounds: a function of 1 to 2 eps and sums in double leave 4; kron rounds four times
 * (8); mean 100 of spread 2 loses 50 eps in mean and statistics (64); saturated scores
 * of some hundreds lose as much as they are large (64); exponents of 20 and more lose
 * their rounding (16). Small sets of numbers with large cancellations: 8. */
static const t_unit_row t_units[] = {
    {"kron_2x3_4x5", 8},         {"kron_3x3_5x7", 8},
    {"kron_1x1_3x2", 8},         {"kron_sum_n4_r1_48x16", 8},
    {"kron_sum_n4_r2_8x60", 8},  {"kron_sum_n2_r3_10x10", 8},
    {"kron_sum_n3_r1_15x15", 8}, {"kron_sum_n5_r7_35x35", 8},
    {"layer_norm_1x7_mean0_eps1e-05", 4},
    {"layer_norm_4x65_mean100_eps1e-06", 64},
    {"layer_norm_2x33_mean3_eps1e-12", 8},
    {"attention_h1_hd5_t1", 8},  {"attention_h3_hd5_t17", 16},
    {"attention_large_scores", 64},
    {"gelu", 8},                 {"gelu_extreme", 4},
    {"gelu_tanh_extreme", 4},    {"quick_gelu_extreme", 4},
    {"relu_extreme", 4},         {"silu_extreme", 4},
    {"xent_plain", 8},           {"xent_smooth", 8},
    {"xent_large", 16},
    {NULL, 0},                   /* the rest is in the full set only */
    {"gelu_tanh", 8},            {"quick_gelu", 8},
    {"relu", 4},                 {"silu", 8},
    {"kron_4x4_12x12", 8},       {"kron_sum_n4_r4_48x48", 8},
    {"kron_sum_n1_r5_48x48", 8}, {"kron_sum_n8_r2_64x64", 8},
    {"kron_sum_n6_r2_30x30", 8}, {"layer_norm_17x384_mean0_eps1e-06", 8},
    {"layer_norm_3x4_mean0_eps1e-06", 4},
    {"attention_h1_hd64_t17", 16},
    {"attention_h3_hd16_t50", 16},
    {"attention_h3_hd64_t50", 16},
};

/* Rows and columns of a tensor: the last extent, and all before it. */
static t_ext t_unit_extent(const alore_weights *w, const char *name, int per)
{
    const alore_tensor *t = alore_weights_find(w, name);
    if (!t) return t_extent(0, 0, 0);
    int rows = 1, cols = t->rank ? (int)t->dims[t->rank - 1] : 1;
    for (int i = 0; i + 1 < t->rank; ++i) rows *= (int)t->dims[i];
    return t_extent(rows, cols, per);
}

/* The case that a unit describes; `names` gives the tensors of inputs a, b, ... */
static bool t_unit_case(const alore_weights *w, t_case *c, const char *names[6])
{
    static const char *const unary[] = {"gelu", "gelu_tanh", "quick_gelu", "relu", "silu"};
    const char *op = alore_weights_meta(w, "op");
    memset(c, 0, sizeof *c);
    memset(names, 0, 6 * sizeof *names);
    c->name = op;
    c->out[0] = t_unit_extent(w, "out.y", 1);
    for (int i = 0; i < 5; ++i)
        if (!strcmp(op, unary[i])) {
            names[0] = "x", c->code = ALO_K_unary, c->n = i;
            c->in[0] = c->out[0];
            return true;
        }
    if (!strncmp(op, "kron", 4)) {
        const bool sum = !strcmp(op, "kron_sum");
        names[0] = "x", names[1] = sum ? "S" : "A", names[2] = sum ? "D" : "B";
        names[3] = sum ? "U" : NULL;
        c->code = ALO_K_kron;
        for (int i = 0; i < 3 + sum; ++i) {
            char name[16];
            snprintf(name, sizeof name, "in.%s", names[i]);
            c->in[i] = t_unit_extent(w, name, i == 0);
        }
        c->n = sum ? (int)t_unit_meta(w, "experts", 0) : 1;
        c->m = c->in[1].rows / c->n;
        c->p = c->in[1].cols;
        c->q = c->in[2].cols;
        c->out[1] = c->tmp[1] = t_extent(c->in[0].rows, c->m * c->n * c->q, 1);
        c->tmp[0] = t_extent(c->in[0].rows, c->p * c->n * c->q, 1);
    } else if (!strcmp(op, "layer_norm")) {
        names[0] = "x", names[1] = "gain", names[2] = "shift";
        c->code = ALO_K_norm;
        c->x = (float)t_unit_meta(w, "eps", 0);
        c->in[0] = c->out[0];
        c->in[1] = c->in[2] = t_extent(1, c->out[0].cols, 0);
        c->out[1] = t_extent(c->out[0].rows, 2, 1);
    } else if (!strcmp(op, "attention")) {
        c->code = ALO_K_attention;
        c->n = (int)t_unit_meta(w, "heads", 0);
        c->in[0] = c->in[1] = c->in[2] = c->out[0];
        c->out[1] = t_extent(c->out[0].rows, c->n, 1);
    } else if (!strcmp(op, "xent")) {
        names[0] = "logits", names[1] = "label";
        c->code = ALO_K_xent;
        c->x = (float)t_unit_meta(w, "smoothing", 0);
        c->in[0] = t_unit_extent(w, "in.logits", 1);
        c->in[1] = t_extent(c->in[0].rows, 1, 1);
        c->out[0] = t_extent(1, 1, 1);
    } else
        return false;
    return true;
}

enum { T_ROOM = 40000 };

/* The columns of qkv that one of q, k, v has, into or out of dense values. */
static void t_qkv(double *qkv, double *part, const t_ext *e, int which, bool out)
{
    for (int i = 0; i < e->rows * e->cols; ++i) {
        double *at = &qkv[(i / e->cols * 3 + which) * e->cols + i % e->cols];
        if (out)
            *at = part[i];
        else
            part[i] = *at;
    }
}

static void t_unit_run(const alore_weights *w, const t_unit_row *row, int mode,
                       double *want, double *have)
{
    t_case c;
    t_pool p;
    const char *names[6];
    char name[24];
    if (!ok(t_unit_case(w, &c, names), "%s: unknown op", row->name)) return;
    /* in double the set is exact, but a smoothing of 0.1 is a float here */
    const double exact = c.code == ALO_K_xent && c.x > 0 ? EPS / 2 : 1e-12;
    const double bound = mode == T_F64 ? exact : row->eps * EPS;
    t_open(&p, &c, 1);
    for (int i = 0; i < 6 && names[i]; ++i) {
        snprintf(name, sizeof name, "in.%s", names[i]);
        t_unit_read(w, name, p.v[i], t_numbers(&p, i));
    }
    if (c.code == ALO_K_attention) {
        t_unit_read(w, "in.qkv", have, T_ROOM);
        for (int i = 0; i < 3; ++i) t_qkv(have, p.v[i], &c.in[i], i, false);
    }
    p.v[T_G][0] = 1;
    t_unit_read(w, "up", p.v[T_G], t_numbers(&p, T_G));
    t_kernel(&p, c.code, mode, 0, 0);
    t_unit_read(w, "out.y", want, T_ROOM);
    double d = t_apart(p.v[T_Y], want, t_numbers(&p, T_Y), 0);
    ok(d <= bound, "%s, mode %d: y is off by %.1f eps", row->name, mode, d / EPS);
    for (int i = t_piece(c.code, c.code); i; i = t_piece(c.code, i))
        if (t_wanted(&p, i)) t_kernel(&p, i, mode, 0, 0);
    for (int i = 0; i < 6 && names[i]; ++i) {
        snprintf(name, sizeof name, "grad.%s", names[i]);
        const int count = t_unit_read(w, name, want, T_ROOM);
        d = t_apart(p.v[T_GRAD + i], want, count, 1e-300);
        if (count)
            ok(d <= bound, "%s, mode %d: gradient of %s is off by %.1f eps", row->name,
               mode, names[i], d / EPS);
    }
    if (c.code == ALO_K_attention) {
        const int count = t_unit_read(w, "grad.qkv", want, T_ROOM);
        for (int i = 0; i < 3; ++i) t_qkv(have, p.v[T_GRAD + i], &c.in[i], i, true);
        d = t_apart(have, want, count, 1e-300);
        ok(d <= bound, "%s, mode %d: gradient is off by %.1f eps", row->name, mode,
           d / EPS);
    }
    t_close(&p);
}

static void t_ops_units(void)
{
    alore_ctx ctx;
    t_heap heap;
    double *want = (double *)calloc(T_ROOM, 8), *have = (double *)calloc(T_ROOM, 8);
    t_begin(&ctx, &heap);
    for (size_t i = 0; i < sizeof t_units / sizeof *t_units; ++i) {
        if (!t_units[i].name) {
            if (t_golden) continue;
            break;
        }
        alore_weights *w = t_unit(&ctx, t_units[i].name);
        if (!w) continue;
        for (int mode = T_F64; mode < T_LEVEL + 99; mode = t_next_mode(mode))
            t_unit_run(w, &t_units[i], mode, want, have);
        alore_weights_destroy(w);
    }
    t_end(&ctx, &heap);
    free(want);
    free(have);
}

/* Ten steps of one tensor against the set. */
static void t_optimiser_tensor(const alore_weights *w, const char *unit, int tensor,
                               int mode)
{
    const bool adam = !strcmp(alore_weights_meta(w, "op"), "adamw");
    double param[32], grads[320], want[320], state[4][32];
    float small[4][32];
    char name[24];
    alo_step_args o;
    alore_call c;
    memset(&o, 0, sizeof o);
    memset(&c, 0, sizeof c);
    memset(state, 0, sizeof state);
    memset(small, 0, sizeof small);
    snprintf(name, sizeof name, "in.p%d", tensor);
    const int count = t_unit_read(w, name, param, 32);
    snprintf(name, sizeof name, "in.g%d", tensor);
    t_unit_read(w, name, grads, 320);
    snprintf(name, sizeof name, "out.p%d", tensor);
    t_unit_read(w, name, want, 320);
    o.count = (size_t)count;
    o.lr = t_unit_meta(w, "lr", 0), o.decay = t_unit_meta(w, "weight_decay", 0);
    o.eps = t_unit_meta(w, "eps", 0), o.momentum = t_unit_meta(w, "momentum", 0);
    o.beta1 = t_unit_meta(w, "betas", 0), o.beta2 = adam ? t_unit_meta(w, "betas", 1) : 0;
    o.nesterov = t_unit_meta(w, "nesterov", 0) != 0;
    o.grad_scale = 0.5;
    c.extra = &o;
    for (int k = 0; k < 4; ++k) {
        const int at = k ? ALO_Y + k - 1 : 0;
        c.p[at] = mode == T_F64 ? (void *)state[k] : (void *)small[k];
    }
    if (!adam && o.momentum == 0) c.p[ALO_Z] = NULL;
    for (int i = 0; i < count; ++i) t_set(c.p[ALO_Y], (size_t)i, mode, false, param[i]);
    double worst = 0, left = 0;
    for (int step = 0; step < 10; ++step) {
        for (int i = 0; i < count; ++i)
            t_set(c.p[0], (size_t)i, mode, false, 2 * grads[step * count + i]);
        o.correct1 = 1 - pow(o.beta1, step + 1);
        o.correct2 = 1 - pow(o.beta2, step + 1);
        const int code = adam ? ALO_K_adamw : ALO_K_sgd;
        t_call(&c, code, mode, 0, 1);
        for (int i = 0; i < count; ++i) {
            const double d = fabs(t_get(c.p[ALO_Y], (size_t)i, mode, false) -
                                  want[step * count + i]);
            worst = d <= worst ? worst : d;
            left += fabs(t_get(c.p[0], (size_t)i, mode, false));
        }
    }
    /* parameters below 4 in magnitude, ten roundings of half an eps each */
    ok(worst <= (mode == T_F64 ? 1e-13 : 16 * EPS), "%s p%d, mode %d: off by %.2g", unit,
       tensor, mode, worst);
    near(left, 0, 0, "gradients left");
}

/* Squares of every size, where they fit a float and where they do not; NaN and infinity stay. */
static void t_ops_sumsq(void)
{
    static const int counts[] = {1, 3, 16, 1023, 1024, 1025, 5000};
    static const float sizes[] = {1, 1e-20f, 1e30f, 0};
    static float g[5000];
    alo_step_args o;
    alore_call c;
    memset(&o, 0, sizeof o);
    memset(&c, 0, sizeof c);
    c.p[0] = g;
    c.extra = &o;
    for (int mode = T_PLAIN; mode < T_LEVEL + 99; mode = t_next_mode(mode))
        for (int i = 0; i < 7; ++i)
            for (int k = 0; k < 4; ++k) {
                double sum = 0, want = 0;
                for (int e = 0; e < 5000; ++e) g[e] = sizes[k] * (float)t_random();
                for (int e = 0; e < counts[i]; ++e) want += (double)g[e] * (double)g[e];
                o.sum = &sum, o.grad_scale = 0.5, o.count = (size_t)counts[i];
                t_call(&c, ALO_K_sumsq, mode, 0, 1);
                /* sums of 1024 / lanes squares, at most 256, each rounded: sqrt(256) eps and some */
                near(sum * (k == 2 ? 1e-60 : 1), want / 4 * (k == 2 ? 1e-60 : 1),
                     20 * EPS * want * (k == 2 ? 1e-60 : 1), "sumsq");
                g[counts[i] - 1] = i & 1 ? NAN : INFINITY;
                t_call(&c, ALO_K_sumsq, mode, 0, 1);
                ok(!(sum < 1e300), "sumsq of what is not finite");
            }
}

static void t_ops_optimisers(void)
{
    static const char *const units[] = {"adamw_decay", "adamw_betas", "sgd",
                                        "sgd_momentum", "sgd_nesterov"};
    alore_ctx ctx;
    t_heap heap;
    t_begin(&ctx, &heap);
    for (size_t i = 0; i < sizeof units / sizeof *units; ++i) {
        alore_weights *w = t_unit(&ctx, units[i]);
        if (!w) continue;
        for (int k = 0; k < 3; ++k) {
            for (int mode = T_F64; mode < T_LEVEL + 99; mode = t_next_mode(mode))
                t_optimiser_tensor(w, units[i], k, mode);
        }
        alore_weights_destroy(w);
    }
    for (int i = 0; i < 2; ++i) {
        alore_weights *w = t_unit(&ctx, i ? "clip_small" : "clip");
        double sum = 0, norm = 0, grads[64], want[64];
        alo_step_args o;
        alore_call c;
        if (!w) continue;
        memset(&o, 0, sizeof o);
        memset(&c, 0, sizeof c);
        o.grad_scale = 1;
        o.sum = &sum;
        c.extra = &o;
        c.p[0] = grads;
        for (int k = 0; k < 3; ++k) {
            char name[16];
            snprintf(name, sizeof name, "in.g%d", k);
            o.count = (size_t)t_unit_read(w, name, grads, 64);
            alo_table_f64[ALO_K_sumsq](&c, 0, 1);
        }
        t_unit_read(w, "out.norm", &norm, 1);
        near(sqrt(sum), norm, 1e-14 * norm, "norm");
        const double most = t_unit_meta(w, "max_norm", 0);
        const double scale = fmin(1, most / (sqrt(sum) + 1e-6));
        t_unit_read(w, "in.g0", grads, 64);
        t_unit_read(w, "out.g0", want, 64);
        near(grads[3] * scale, want[3], 1e-14, "clipped");
        alore_weights_destroy(w);
    }
    t_end(&ctx, &heap);
}

/* The corner of a matrix that is stored in 40 columns, transposed or not. */
static alo_mat t_square(float *p, bool flipped, int rows, int cols)
{
    const alo_mat a = {p, 0, flipped ? 1 : 40, flipped ? 40 : 1, rows, cols};
    return a;
}

/* The blocked product: every stride form and edge against the plain one, and the
 * same bits for an element whatever the shape around it. */
static void t_ops_product(void)
{
    static const int sizes[] = {1, 2, 3, 4, 5, 7, 9, 15, 16, 17, 31, 33};
    float a[40 * 40], b[40 * 40], c[3][40 * 40];
    double scratch[8 * 40];
    for (int i = 0; i < 40 * 40; ++i) a[i] = (float)t_random(), b[i] = (float)t_random();
    for (int form = 0; form < 8; ++form)
        for (int e = 0; e < 12 * 12 * 12; ++e) {
            const int m = sizes[e % 12], n = sizes[e / 12 % 12], k = sizes[e / 144];
            const alo_mat x = t_square(a, form & 1, m, k), y = t_square(b, form & 2, k, n);
            double worst = 0;
            for (int i = 0; i < 40 * 40; ++i)
                c[0][i] = c[1][i] = c[2][i] = form & 4 ? (float)i / 1600 : NAN;
            alo_product_plain_f32(t_square(c[0], false, m, n), x, y, form >= 4, NULL);
            alo_level_scalar.rows.product(t_square(c[1], false, m, n), x, y, form >= 4, scratch);
            alo_level_scalar.rows.product(alo_flip(alo_band(alo_flip(alo_band(t_square(c[2], false, m, n), m - 1, 1)), n - 1, 1)),
                            alo_band(x, m - 1, 1), alo_flip(alo_band(alo_flip(y), n - 1, 1)), form >= 4, scratch);
            bool fenced = true;
            for (int i = 0; i < 40 * 40; ++i)
                if (i / 40 < m && i % 40 < n)
                    worst = t_worse(worst, fabs((double)c[0][i] - (double)c[1][i]));
                else
                    fenced = fenced && !memcmp(&c[0][i], &c[1][i], 4);
            /* a sum of k products below 1 rounds k + 1 times */
            if (worst > (k + 1) * EPS || !fenced || c[1][0] != c[1][0])
                ok(false, "%d x %d x %d, form %d: off by %.2g", m, n, k, form, worst);
            if (memcmp(&c[1][(m - 1) * 40 + n - 1], &c[2][(m - 1) * 40 + n - 1], 4))
                ok(false, "%d x %d x %d, form %d: other bits alone", m, n, k, form);
            if (e == 0) ok(true, "form");
        }
}


/* The number that a product of `form` takes for x, in units of `scale` for bytes. */
static double t_word(int form, float x, float inverse)
{
    if (form == ALO_PACK_I8) return nearbyint((double)(x * inverse));
    return form == ALO_PACK_BF16 ? (double)alore_bfloat_to_float(alore_float_to_bfloat(x)) : (double)x;
}

static float t_magnitude(const float *x, int count)
{
    float most = 0;
    for (int i = 0; i < count; ++i) most = fmaxf(most, fabsf(x[i]));
    return most;
}

/* Products with packed weights W [out, in] and with their transpose, on every level, by the CPU's own dot
 * products and without: f32 gives the bits of W in place; bfloat16 differs from a sum in double by its order,
 * bytes by what follows the integers. */
static void t_ops_packed(void)
{
    enum { MOST = 70 };
    static const int sizes[][3] = {{1, 1, 1}, {2, 3, 5}, {5, 16, 8}, {3, 9, 70}, {13, 33, 31}, {25, 70, 64}, {70, 47, 3}};
    static float w[MOST * MOST], x[MOST * MOST], y[2][MOST * MOST], wide[2][MOST * MOST], panels[128 * 80];
    const bool fused = t_fuses_dot16();
    static double room[40000];
    for (int i = 0; i < MOST * MOST; ++i) w[i] = (float)t_random(), x[i] = (float)t_random();
    for (int mode = t_next_mode(T_PLAIN); mode < T_LEVEL + 99; mode = t_next_mode(mode)) {
        const alo_level *level = alo_level_of((alore_isa)(mode - T_LEVEL));
        const unsigned own = mode == T_LEVEL + T_DOT16_ISA ? t_own_dots() : 0;
        alore_kernel table[ALO_K_COUNT];
        alo_level_kernels(level, table);
        for (int e = 0; e < 7 * 3 * 2 * 2; ++e) {
            const int *size = sizes[e / 12], form = 1 + e % 3, turned = e / 3 % 2, uses = e / 6 % 2;
            const int m = size[0], out = size[1], in = size[2], nr = level->panel;
            const int terms = form == ALO_PACK_I8 ? 4 : form, words = (in + terms - 1) / terms + (form == 3 ? 2 : 0);
            const int cols = turned ? in : out, deep = turned ? out : in, code = turned ? ALO_K_matmul_da : ALO_K_matmul;
            alo_tensor t[3];
            alo_attr attr;
            alore_call c;
            double worst = 0;
            if ((form == ALO_PACK_I8 && turned) || (uses && !own)) continue;
            memset(t, 0, sizeof t), memset(&attr, 0, sizeof attr), memset(&c, 0, sizeof c);
            for (int p = 0; p * nr < out; ++p)
                level->pack(form, panels + p * words * nr, w + p * nr * in, out - p * nr < nr ? out - p * nr : nr, in);
            t[0].rows = t[2].rows = m, t[0].cols = t[0].ld = deep, t[2].cols = t[2].ld = cols;
            t[1].rows = out, t[1].cols = t[1].ld = in;
            attr.n = 2;
            c.attr = &attr, c.samples = 1, c.scratch = room, c.own = (uint8_t)(uses ? own : 0);
            c.rows_fn = &level->rows;
            for (int i = 0; i < 2; ++i) c.t[i] = &t[i];
            c.t[ALO_Y] = &t[2];
            c.p[0] = x;
            if (alo_scratch_bytes(code, c.t, &attr, 1, 4) > sizeof room) ok(false, "scratch");
            for (int k = 0; k < 2; ++k) {
                for (int i = 0; i < MOST * MOST; ++i) y[k][i] = NAN;
                c.p[1] = k ? (void *)panels : (void *)w;
                c.p[ALO_Y] = y[k];
                c.form = (uint8_t)(k ? form : 0);
                for (int task = alo_tasks(code, c.t, &attr, 1, true); --task >= 0;) table[code](&c, task, task + 1);
            }
            if (form == ALO_PACK_BF16 && !uses) memcpy(wide[turned], y[1], sizeof *wide);
            if (form == ALO_PACK_BF16 && uses && own & ALO_OWN_BF16 && fused)
                ok(!memcmp(wide[turned], y[1], (size_t)(m * cols) * 4), "turned %d, %d x %d x %d: other bits than widened", turned,
                   m, out, in);
            for (int i = 0; i < m * cols; ++i) {
                const int row = i / cols, col = i % cols;
                const float sx = t_magnitude(x + row * deep, deep), sw = t_magnitude(w + col * in, in);
                double sum = 0, size_of = 0;
                for (int k = 0; k < deep; ++k) {
                    const double a = t_word(form, x[row * deep + k], 127.0f / sx);
                    const double b = t_word(form, turned ? w[k * in + col] : w[col * in + k], 127.0f / sw);
                    sum += a * b, size_of += fabs(a * b);
                }
                if (form == ALO_PACK_I8) sum *= (double)sx * (double)sw / (127.0 * 127.0), size_of = 4 * fabs(sum);
                else size_of *= (deep + 1) * (form == ALO_PACK_BF16 ? 2 : 1);
                const double off = fabs((double)y[1][i] - sum) / (EPS * size_of + 1e-30);
                if (!(off <= worst)) worst = off;
#ifndef ALORE_BLAS
                if (form == ALO_PACK_F32 && memcmp(&y[0][i], &y[1][i], 4)) worst = NAN;
#endif
            }
            ok(worst <= 1 && y[1][m * cols] != y[1][m * cols], "%s, form %d, turned %d, own %d, %d x %d x %d: off by %.3g",
               alore_isa_name((alore_isa)(mode - T_LEVEL)), form, turned, uses, m, out, in, worst);
        }
    }
}

/* Relative distance of two arrays, Frobenius. */
static double t_apart_f32(const float *a, const float *b, size_t count)
{
    double apart = 0, size = 0;
    for (size_t i = 0; i < count; ++i) {
        apart += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        size += (double)b[i] * (double)b[i];
    }
    return sqrt(apart / size);
}

/* To bfloat16 and back. */
static double t_round16(double x) { return (double)alore_bfloat_to_float(alore_float_to_bfloat((float)x)); }

/* y (+)= a b, of m x k and k x n numbers by their steps; the factors rounded to bfloat16. */
static void t_rounded(double *y, const double *a, int a_row, int a_col, const double *b, int b_row, int b_col,
                      int m, int k, int n)
{
    for (int i = 0; i < m; ++i)
        for (int j = 0; j < n; ++j) {
            double sum = 0;
            for (int e = 0; e < k; ++e) sum += t_round16(a[i * a_row + e * a_col]) * t_round16(b[e * b_row + j * b_col]);
            y[i * n + j] = sum;
        }
}

/* Attention and its pieces by dot products of bfloat16: against the same roundings in double, against f32, and
 * alone, task by task, in scratch that is planned for f32. */
static void t_ops_attention_bf16(void)
{
    enum { MOST = 300 * 80 };
    static const int shapes[][4] = { /* rows, keys, width, heads */
        {197, 197, 64, 1}, {65, 65, 16, 3}, {66, 71, 17, 2}, {70, 129, 31, 2}, {300, 290, 33, 1}, {90, 90, 80, 1}};
    static float in[5][2 * MOST], out[3][4][2 * MOST], z[2][600 * 3], bias[3 * 300 * 300];
    static double p[300 * 300], ds[300 * 300], want[4][MOST], head[4][MOST];
    if (!t_runs_dot16()) {
        skip("needs AVX512_BF16, or BF16 of Arm");
        return;
    }
    const alo_level *level = alo_level_of((alore_isa)T_DOT16_ISA);
    alore_kernel table[ALO_K_COUNT];
    alo_level_kernels(level, table);
    for (int i = 0; i < 5; ++i)
        for (int k = 0; k < 2 * MOST; ++k) in[i][k] = (float)(1.5 * (t_random() + t_random()));
    for (size_t i = 0; i < sizeof bias / sizeof *bias; ++i) bias[i] = (float)t_random();
    for (int e = 0; e < 12; ++e) {
        const int *shape = shapes[e % 6], rows = shape[0], keys = shape[1], width = shape[2], heads = shape[3];
        const int d = width * heads;
        const double scale = 1 / sqrt((double)width);
        alo_tensor t[4];
        alo_attr attr;
        memset(t, 0, sizeof t), memset(&attr, 0, sizeof attr);
        attr.n = heads;
        t[0].rows = t[2].rows = rows, t[1].rows = keys, t[0].cols = t[0].ld = t[1].cols = t[1].ld = d;
        t[2].cols = t[2].ld = heads;
        t[3].rows = rows * heads, t[3].cols = t[3].ld = keys;
        for (int i = 0; i < 3; ++i) t[i].flags = ALO_PER_SAMPLE;
        for (int way = 0; way < 3; ++way) /* f32; bf16; its tasks one by one */
            for (int piece = 0; piece < 2; ++piece) {
                const int code = piece ? ALO_K_attention_dqkv : ALO_K_attention;
                alore_call c;
                memset(&c, 0, sizeof c);
                c.attr = &attr, c.rows_fn = &level->rows, c.samples = 2, c.own = way ? ALO_OWN_BF16 : 0;
                for (int i = 0; i < 3; ++i) /* [g] q k v [z] and the bias */
                    c.t[piece + i] = &t[i > 0], c.p[piece + i] = in[i];
                if (piece) c.t[0] = &t[0], c.p[0] = in[3], c.t[4] = &t[2], c.p[4] = z[way > 0];
                if (e > 5) c.t[piece ? 5 : 3] = &t[3], c.p[piece ? 5 : 3] = bias;
                for (int i = 0; i < (piece ? 3 : 1); ++i) {
                    c.t[ALO_Y + i] = &t[i > 0], c.p[ALO_Y + i] = out[way][piece + i];
                    for (int k = 0; k < 2 * MOST; ++k) out[way][piece + i][k] = NAN;
                }
                if (!piece) c.t[ALO_Z] = &t[2], c.p[ALO_Z] = z[way > 0];
                const size_t bytes = alo_scratch_bytes(code, c.t, &attr, 2, 4);
                float *room = (float *)malloc(bytes + 64);
                for (size_t i = 0; i < bytes / 4 + 16; ++i) room[i] = NAN;
                memset((char *)room + bytes, 77, 64);
                c.scratch = room;
                const int tasks = alo_tasks(code, c.t, &attr, 2, true);
                if (way < 2) table[code](&c, 0, tasks);
                for (int task = tasks; way == 2 && --task >= 0;) table[code](&c, task, task + 1);
                for (int i = 0; i < 64; ++i)
                    if (((char *)room)[bytes + (size_t)i] != 77) ok(false, "behind the scratch"), i = 64;
                free(room);
            }
        for (int i = 0; i < 4; ++i) {
            const size_t count = (size_t)(2 * d * (i < 2 ? rows : keys));
            const double off = t_apart_f32(out[1][i], out[0][i], count) * 128;            /* each factor is off by up to 2^-8, 2^-9 in the mean; of P and dS there are three and four */
            ok(off > 0.05 && off < 1, "%d x %d x %d, output %d: %.2f epsilons of bf16 from f32", rows, keys, width, i, off);
            ok(out[1][i][count] != out[1][i][count], "behind output %d", i);
            ok(!memcmp(out[1][i], out[2][i], count * 4), "%d x %d x %d, output %d: other bits task by task", rows, keys, width, i);
        }
        if (e > 5) continue;
        for (int h = 0; h < heads; ++h) { /* the second sample */
            for (int i = 0; i < 4; ++i)
                for (int k = 0; k < (i % 3 ? keys : rows) * width; ++k)
                    head[i][k] = (double)in[i][((i % 3 ? keys : rows) + k / width) * d + h * width + k % width];
            const double *q = head[0], *k = head[1], *v = head[2], *g = head[3];
            t_rounded(p, q, width, 1, k, 1, width, rows, width, keys);
            t_rounded(ds, g, width, 1, v, 1, width, rows, width, keys);
            double sums[300];
            for (int i = 0; i < rows; ++i) {
                double most = -INFINITY, dot = 0, sum = 0;
                for (int j = 0; j < keys; ++j) most = fmax(most, p[i * keys + j] * scale);
                for (int j = 0; j < keys; ++j) {
                    double *x = &p[i * keys + j];
                    sum += *x = exp(*x * scale - most);
                    dot += *x * ds[i * keys + j];
                }
                for (int j = 0; j < keys; ++j)
                    ds[i * keys + j] = p[i * keys + j] / sum * scale * (ds[i * keys + j] - dot / sum);
                sums[i] = sum;
            }
            t_rounded(want[0], p, keys, 1, v, width, 1, rows, keys, width);
            for (int i = 0; i < rows; ++i) {
                for (int j = 0; j < width; ++j) want[0][i * width + j] /= sums[i];
                for (int j = 0; j < keys; ++j) p[i * keys + j] /= sums[i];
            }
            t_rounded(want[1], ds, keys, 1, k, width, 1, rows, keys, width);
            t_rounded(want[2], ds, 1, keys, q, width, 1, keys, rows, width);
            t_rounded(want[3], p, 1, keys, g, width, 1, keys, rows, width);
            for (int i = 0; i < 4; ++i) {
                const int high = i < 2 ? rows : keys;
                double off = 0, size = 0;
                for (int a = 0; a < high * width; ++a) {
                    const double x = (double)out[1][i][(high + a / width) * d + h * width + a % width];
                    off += (x - want[i][a]) * (x - want[i][a]), size += want[i][a] * want[i][a];
                }
                /* f32 is off by some ulps before P and dS are rounded; one in thousands then goes the other way */
                ok(sqrt(off / size) < 1.0 / 128 / 32, "%d x %d x %d, output %d: %.3g from the same roundings", rows, keys,
                   width, i, sqrt(off / size));
            }
        }
    }
}

/* A writer into memory, that refuses what would pass byte `limit`. */
typedef struct t_sink {
    unsigned char *data;
    size_t bytes, room, limit;
} t_sink;

static bool t_sink_write(void *user, const void *data, size_t bytes)
{
    t_sink *s = (t_sink *)user;
    if (bytes > s->limit - s->bytes) return false;
    if (s->bytes + bytes > s->room) {
        s->room = 2 * (s->bytes + bytes);
        s->data = (unsigned char *)realloc(s->data, s->room);
    }
    memcpy(s->data + s->bytes, data, bytes);
    s->bytes += bytes;
    return true;
}

static alore_status t_sink_weights(t_sink *s, const alore_weights *w)
{
    alore_writer writer = {t_sink_write, s};
    memset(s, 0, sizeof *s);
    s->limit = (size_t)-1;
    return alore_weights_write(w, &writer);
}

/* Bytes of a file in a block of exactly their size, NULL where there is none. */
static unsigned char *t_read(const char *path, size_t *bytes)
{
    FILE *f = fopen(path, "rb");
    unsigned char *data;
    long end;
    *bytes = 0;
    if (!f) return NULL;
    fseek(f, 0, SEEK_END);
    end = ftell(f);
    rewind(f);
    data = (unsigned char *)malloc(end > 0 ? (size_t)end : 1);
    if (end > 0) *bytes = fread(data, 1, (size_t)end, f);
    fclose(f);
    return data;
}

/* A safetensors file from its header's text and `data_bytes` bytes 0, 1, 2, ... */
static unsigned char *t_file(const char *header, size_t data_bytes, size_t *bytes)
{
    size_t text = strlen(header);
    unsigned char *file = (unsigned char *)calloc(1, 8 + text + data_bytes);
    for (int i = 0; i < 8; ++i) file[i] = (unsigned char)((uint64_t)text >> 8 * i);
    memcpy(file + 8, header, text);
    for (size_t i = 0; i < data_bytes; ++i) file[8 + text + i] = (unsigned char)i;
    *bytes = 8 + text + data_bytes;
    return file;
}

/* ---- json ---- */

static alo_json t_json(alore_ctx *ctx, const char *text, size_t bytes)
{
    alo_json j;
    memset(&j, 0, sizeof j);
    j.ctx = ctx;
    j.bytes = (const unsigned char *)text;
    j.end = bytes;
    return j;
}

static void t_json_strings(void)
{
    static const struct {
        const char *text, *value;
        size_t bytes, wrong; /* wrong: where it fails, plus one */
    } rows[] = {
        {"\"\"", "", 0, 0},
        {"  \"a b\"", "a b", 3, 0},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8, 0},
        {"\"\\u0041\\u00e9\\u20AC\"", "A\xc3\xa9\xe2\x82\xac", 6, 0},
        {"\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80", 4, 0},
        {"\"\\uDBFF\\uDFFF\"", "\xf4\x8f\xbf\xbf", 4, 0},
        {"\"a\\u0000b\"", "a\0b", 3, 0},
        {"\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"",
         "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9, 0},
        {"\"\x7f\"", "\x7f", 1, 0},
        {"a", "", 0, 1},
        {"\"abc", "", 0, 5},
        {"\"\\", "", 0, 3},
        {"\"\\x\"", "", 0, 3},
        {"\"\\u12", "", 0, 6},
        {"\"\\u12g4\"", "", 0, 6},
        {"\"\\ud83d\"", "", 0, 8},
        {"\"\\ud83d\\n\"", "", 0, 8},
        {"\"\\ud83d\\ud83d\"", "", 0, 14},
        {"\"\\ude00\"", "", 0, 8},
        {"\"\n\"", "", 0, 2},
        {"\"\x80\"", "", 0, 2},
        {"\"\xc0\xaf\"", "", 0, 2},
        {"\"\xc1\xbf\"", "", 0, 2},
        {"\"\xe0\x80\xaf\"", "", 0, 2},
        {"\"\xe0\x9f\xbf\"", "", 0, 2},
        {"\"\xed\xa0\x80\"", "", 0, 2},
        {"\"\xf0\x8f\xbf\xbf\"", "", 0, 2},
        {"\"\xf4\x90\x80\x80\"", "", 0, 2},
        {"\"\xf5\x80\x80\x80\"", "", 0, 2},
        {"\"\xe2\x82\"", "", 0, 2},
        {"\"\xe2\x82\x41\"", "", 0, 2},
        {"\"\xf0\x9f\x98", "", 0, 2},
    };
    alore_ctx ctx;
    t_heap heap;
    t_begin(&ctx, &heap);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
        size_t bytes = strlen(rows[i].text);
        char *exact = (char *)malloc(bytes), out[32];
        alo_text text = {out, sizeof out, 0};
        alo_json j = t_json(&ctx, exact, bytes);
        bool read;
        memcpy(exact, rows[i].text, bytes);
        memset(out, 0, sizeof out);
        read = alo_json_string(&j, &text);
        if (rows[i].wrong)
            ok(!read && j.failed && ctx.error.status == ALORE_ERR_FORMAT &&
                   ctx.error.offset == rows[i].wrong - 1,
               "row %d: read %d, offset %d: %s", (int)i, read, (int)ctx.error.offset,
               ctx.error.text);
        else
            ok(read && j.at == bytes && text.used == rows[i].bytes &&
                   !memcmp(out, rows[i].value, rows[i].bytes),
               "row %d: read %d, %d bytes", (int)i, read, (int)text.used);
        free(exact);
    }
    t_end(&ctx, &heap);
}

static void t_json_numbers(void)
{
    static const struct {
        const char *text;
        uint64_t value;
        bool valid;
    } rows[] = {
        {"0", 0, true},
        {" 7", 7, true},
        {"18446744073709551615", UINT64_MAX, true},
        {"18446744073709551616", 0, false},
        {"99999999999999999999", 0, false},
        {"184467440737095516150", 0, false},
        {"00", 0, false},
        {"01", 0, false},
        {"-1", 0, false},
        {"+1", 0, false},
        {"", 0, false},
        {"x", 0, false},
        {".5", 0, false},
    };
    alore_ctx ctx;
    t_heap heap;
    t_begin(&ctx, &heap);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
        alo_json j = t_json(&ctx, rows[i].text, strlen(rows[i].text));
        uint64_t value = 0;
        bool read = alo_json_uint(&j, &value);
        ok(read == rows[i].valid && value == rows[i].value, "\"%s\"", rows[i].text);
    }
    t_end(&ctx, &heap);
}

static void t_json_structure(void)
{
    static const struct {
        const char *text;
        int sum; /* of the members, -1: malformed */
    } rows[] = {{"[]", 0},          {" [ ] ", 0},   {"[1]", 1},   {"[1,2, 3]", 6},
                {"\t[1\n,\r2]", 3}, {"[1,]", -1},   {"[,1]", -1}, {"[1 2]", -1},
                {"[1", -1},         {"[", -1},      {"1]", -1},   {"[1.0]", -1},
                {"[1e0]", -1},      {"[1,,2]", -1}, {"", -1},     {"[1}", -1}};
    alore_ctx ctx;
    t_heap heap;
    t_begin(&ctx, &heap);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
        alo_json j = t_json(&ctx, rows[i].text, strlen(rows[i].text));
        size_t members = 0;
        uint64_t value = 0;
        int sum = 0;
        if (alo_json_take(&j, '[', "an array is missing"))
            while (alo_json_more(&j, ']', &members))
                if (alo_json_uint(&j, &value)) sum += (int)value;
        ok((j.failed ? -1 : sum) == rows[i].sum, "\"%s\": %d", rows[i].text, sum);
    }
    t_end(&ctx, &heap);
}

static void t_json_writer(void)
{
    static const char all[] =
        "q\" b\\ s/ \b\f\n\r\t \x01\x1f \x7f \xc3\xa9 \xf0\x9f\x98\x80";
    char written[128], back[64];
    alo_text text = {written, sizeof written, 0}, again = {back, sizeof back, 0};
    alore_ctx ctx;
    t_heap heap;
    alo_json j;
    t_begin(&ctx, &heap);
    alo_put_json(&text, all, sizeof all); /* with its NUL */
    ok(!strcmp(written, "\"q\\\" b\\\\ s/ \\u0008\\u000c\\u000a\\u000d\\u0009 \\u0001\\u001f \x7f \xc3\xa9 "
                        "\xf0\x9f\x98\x80\\u0000\""),
       "%s", written);
    j = t_json(&ctx, written, text.used);
    ok(alo_json_string(&j, &again) && again.used == sizeof all &&
           !memcmp(back, all, sizeof all),
       "read back %d bytes", (int)again.used);
    t_end(&ctx, &heap);
}

/* ---- the hostile files ---- */

/* Names, types and shapes of `{"name": {"dtype": ..., "shape": [...], ...}, ...}`. */
static void t_hostile_tensors(alore_ctx *ctx, const alore_weights *w, const char *json,
                              const char *file)
{
    alo_json j = t_json(ctx, json, strlen(json));
    size_t tensors = 0;
    if (!alo_json_take(&j, '{', "")) return;
    while (alo_json_more(&j, '}', &tensors)) {
        char name[8192], word[64];
        alo_text text = {name, sizeof name, 0};
        size_t fields = 0, rank = 0;
        const alore_tensor *t = NULL;
        name[0] = 0;
        if (!alo_json_string(&j, &text) || !alo_json_take(&j, ':', "") ||
            !alo_json_take(&j, '{', ""))
            break;
        for (int i = 0; i < alore_weights_count(w); ++i) {
            const alore_tensor *u = alore_weights_at(w, i);
            if (u->name_bytes == text.used && !memcmp(u->name, name, text.used)) t = u;
        }
        if (!ok(t != NULL, "%s: no tensor %s", file, name)) return;
        if (strlen(name) == text.used)
            ok(alore_weights_find(w, name) == t, "%s: find %s", file, name);
        while (alo_json_more(&j, '}', &fields)) {
            alo_text key = {word, sizeof word, 0}, value = {name, sizeof name, 0};
            if (!alo_json_string(&j, &key) || !alo_json_take(&j, ':', "")) break;
            if (!strcmp(word, "shape")) {
                uint64_t n = 0;
                if (alo_json_take(&j, '[', ""))
                    while (alo_json_more(&j, ']', &rank))
                        ok(alo_json_uint(&j, &n) && (int)rank <= t->rank &&
                               t->dims[rank - 1] == n,
                           "%s: extent %d of %s", file, (int)rank, t->name);
                ok((int)rank == t->rank, "%s: rank %d", file, t->rank);
            } else if (alo_json_string(&j, &value) && !strcmp(word, "dtype")) {
                ok(!strcmp(name, alore_dtype_name(t->dtype)), "%s: type %s", file,
                   name);
            }
        }
    }
    ok(!j.failed, "%s: the manifest: %s", file, ctx->error.text);
    ok(alore_weights_count(w) == (int)tensors, "%s: %d tensors, not %d", file,
       alore_weights_count(w), (int)tensors);
}

/* One file against its verdict; `tensors`, `count`: of the manifest, or NULL, -1. */
static void t_hostile_file(const char *path, const char *verdict, const char *tensors,
                           int count)
{
    alore_ctx ctx;
    t_heap heap;
    alore_weights *w = NULL;
    alore_status status;
    size_t bytes;
    unsigned char *file = t_read(path, &bytes);
    if (!ok(file != NULL, "%s is not there", path)) return;
    t_begin(&ctx, &heap);
    status = alore_weights_open(&ctx, file, bytes, &w);
    ok(heap.peak <= 8 * bytes + 4096, "%s: %d bytes in use", path, (int)heap.peak);
    if (status == ALORE_OK) {
        ok(strncmp(verdict, "refuse", 6) != 0, "%s: accepted", path);
        ok(count < 0 || alore_weights_count(w) == count, "%s: %d tensors", path,
           alore_weights_count(w));
        if (tensors) t_hostile_tensors(&ctx, w, tensors, path);
        alore_weights_fingerprint(w); /* reads every byte */
    } else {
        ok(strncmp(verdict, "accept", 6) != 0, "%s: refused: %s", path, ctx.error.text);
        ok(status == ALORE_ERR_FORMAT && w == NULL && ctx.error.offset <= bytes &&
               strstr(ctx.error.text, "at byte") != NULL,
           "%s: status %d: %s", path, (int)status, ctx.error.text);
    }
    t_end(&ctx, &heap);
    free(file);
}

static void t_hostile_all(const char *manifest)
{
    size_t bytes;
    char *text = (char *)t_read(manifest, &bytes), *at, *end;
    int files = 0;
    if (!text) return;
    text = (char *)realloc(text, bytes + 1);
    text[bytes] = 0;
    at = strstr(text, "\"safetensors\": [");
    end = at ? strstr(at, "\n ]") : NULL;
    if (end) *end = 0;
    while (at && (at = strstr(at, "\"file\": \"")) != NULL) {
        char path[1024], file[256];
        char *next = strstr(at + 9, "\"file\": \""), *close = strchr(at + 9, '"');
        char *expect, *tensors, *count;
        if (next) next[0] = 0;
        snprintf(file, sizeof file, "interop/hostile/%.*s", (int)(close - at - 9),
                 at + 9);
        snprintf(path, sizeof path, "%s", t_path(file));
        expect = strstr(at, "\"expect\": \"");
        tensors = strstr(at, "\"tensors\": {");
        count = strstr(at, "\"tensor_count\": ");
        if (ok(expect != NULL, "%s: no verdict", file))
            t_hostile_file(path, expect + 11, tensors ? tensors + 11 : NULL,
                           count ? atoi(count + 16) : -1);
        ++files;
        if (next) next[0] = '"';
        at = next;
    }
    ok(files > 200, "%d hostile files", files);
    free(text);
}

static void t_safetensors_hostile(void)
{
    char path[1024], line[256], verdict[16], file[200];
    FILE *f;
    int files = 0;
    if (t_path("interop/hostile/manifest.json")) {
        snprintf(path, sizeof path, "%s", t_path("interop/hostile/manifest.json"));
        t_hostile_all(path);
    }
    snprintf(path, sizeof path, "%s/hostile/verdicts.txt", t_data);
    f = fopen(path, "r");
    if (!ok(f != NULL, "%s is not there", path)) return;
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "%15s %199s", verdict, file) != 2) continue;
        snprintf(path, sizeof path, "%s/hostile/%s", t_data, file);
        t_hostile_file(path, verdict, NULL, -1);
        ++files;
    }
    fclose(f);
    ok(files > 40, "%d hostile files", files);
}

static const char t_two[] = "{\"__metadata__\":{\"k\":\"v\"},"
                            "\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],"
                            "\"data_offsets\":[0,24]},"
                            "\"b\\n\":{\"dtype\":\"BF16\",\"shape\":[2],"
                            "\"data_offsets\":[24,28]}}";

/* Every prefix of a valid file is refused, in a block of its size. */
static void t_safetensors_prefixes(void)
{
    alore_ctx ctx;
    t_heap heap;
    alore_weights *w = NULL;
    size_t bytes;
    unsigned char *file = t_file(t_two, 28, &bytes);
    t_begin(&ctx, &heap);
    ok(alore_weights_open(&ctx, file, bytes, &w) == ALORE_OK, "%s", ctx.error.text);
    alore_weights_destroy(w);
    for (size_t n = 0; n < bytes; ++n) {
        unsigned char *part = (unsigned char *)malloc(n ? n : 1);
        memcpy(part, file, n);
        w = NULL;
        ok(alore_weights_open(&ctx, part, n, &w) == ALORE_ERR_FORMAT && !w,
           "the first %d bytes are accepted", (int)n);
        if (n >= 8) { /* the same with a header that ends there */
            uint64_t header = n - 8;
            for (int i = 0; i < 8; ++i) part[i] = (unsigned char)(header >> 8 * i);
            ok(alore_weights_open(&ctx, part, n, &w) == ALORE_ERR_FORMAT && !w,
               "a header of %d bytes is accepted", (int)header);
        }
        free(part);
    }
    free(file);
    t_end(&ctx, &heap);
}

/* Damaged files: no crash, no leak, and what is accepted can be read. */
static void t_safetensors_flips(void)
{
    static const char chars[] = "\"\\{}[]:,0919nu \x80\xff";
    alore_ctx ctx;
    t_heap heap;
    size_t bytes;
    uint32_t random = 12345;
    int accepted = 0;
    unsigned char *file = t_file(t_two, 28, &bytes);
    unsigned char *bad = (unsigned char *)malloc(bytes);
    t_begin(&ctx, &heap);
    for (int round = 0; round < 40000; ++round) {
        alore_weights *w = NULL;
        memcpy(bad, file, bytes);
        for (int flips = 1 + round % 3; flips; --flips) {
            random = random * 1664525u + 1013904223u;
            size_t at = (random >> 8) % (bytes - 28);
            if (random >> 31)
                bad[at] ^= (unsigned char)(1u << (random >> 28 & 7));
            else
                bad[at] =
                    (unsigned char)chars[(random >> 26 & 31) % (sizeof chars - 1)];
        }
        if (alore_weights_open(&ctx, bad, bytes, &w) == ALORE_OK) {
            t_sink sink;
            ++accepted;
            alore_weights_fingerprint(w);
            ok(t_sink_weights(&sink, w) == ALORE_OK, "round %d: write", round);
            free(sink.data);
            alore_weights_destroy(w);
        } else if (ctx.error.status != ALORE_ERR_FORMAT || w) {
            ok(false, "round %d: %s", round, ctx.error.text);
        }
        if (heap.blocks) break;
    }
    ok(accepted > 100 && accepted < 20000, "%d damaged files accepted", accepted);
    free(bad);
    free(file);
    t_end(&ctx, &heap);
}

/* What an error says: its byte, its site, its numbers. */
static void t_safetensors_errors(void)
{
    static const struct {
        const char *header;
        size_t data, offset;
        const char *site, *text;
    } rows[] = {
        {"[]", 0, 8, "", "the header is not an object, at byte 8"},
        {"{\"a\":{\"dtype\":\"F31\",\"shape\":[],\"data_offsets\":[0,0]}}", 0, 22, "a",
         "the type \"F31\" is not known, at byte 22"},
        {"{\"a\":{\"dtype\":\"F4\",\"shape\":[2],\"data_offsets\":[0,1]}}", 1, 22, "a",
         "the type \"F4\" is not known, at byte 22"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,2]}}", 2, 9, "a",
         "type and shape take 3 bytes, data_offsets hold 2, at byte 9"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]}}", 2, 9, "a",
         "data_offsets 0 to 3 do not lie in 2 bytes of data, at byte 9"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 5, 63, "",
         "the tensors cover 2 of 5 bytes of data, at byte 63"},
        {"{\"a\\n\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}", 3, 9,
         "a\\n", "data begin at 1, where those before end at 0, at byte 9"},
        {"{\"__metadata__\":{\"k\":1}}", 0, 29, "", "a string is missing, at byte 29"},
        {"{\"__metadata__\":{\"k\":\"\",\"\\u006b\":\"\"}}", 0, 32, "\\u006b",
         "the name at byte 25 stands again, at byte 32"},
    };
    alore_ctx ctx;
    t_heap heap;
    t_begin(&ctx, &heap);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
        alore_weights *w = NULL;
        size_t bytes;
        unsigned char *file = t_file(rows[i].header, rows[i].data, &bytes);
        ok(alore_weights_open(&ctx, file, bytes, &w) == ALORE_ERR_FORMAT && !w,
           "row %d", (int)i);
        ok(ctx.error.offset == rows[i].offset &&
               !strcmp(ctx.error.site, rows[i].site) &&
               !strcmp(ctx.error.text, rows[i].text),
           "row %d: offset %d, site %s: %s", (int)i, (int)ctx.error.offset,
           ctx.error.site, ctx.error.text);
        free(file);
    }
    t_end(&ctx, &heap);
}

/* Many tensors in a bad order: no quadratic time, and every one is found. */
static void t_safetensors_many(void)
{
    enum { COUNT = 50000 };
    alore_ctx ctx;
    t_heap heap;
    alore_weights *w = NULL;
    char *header = (char *)malloc(COUNT * 80 + 2), name[16];
    size_t used = 1, bytes;
    unsigned char *file;
    bool all = true;
    header[0] = '{';
    for (int i = 0; i < COUNT; ++i) {
        int k = (int)((int64_t)i * 7919 % COUNT);
        used += (size_t)sprintf(header + used,
                                "%s\"t%d\":{\"dtype\":\"U8\",\"shape\":[1],"
                                "\"data_offsets\":[%d,%d]}",
                                i ? "," : "", k, k, k + 1);
    }
    strcpy(header + used, "}");
    file = t_file(header, COUNT, &bytes);
    t_begin(&ctx, &heap);
    ok(alore_weights_open(&ctx, file, bytes, &w) == ALORE_OK, "%s", ctx.error.text);
    ok(heap.calls <= COUNT + 64 && heap.peak < 3 * bytes, "%ld allocations, %zu bytes for %zu",
       heap.calls, heap.peak, bytes);
    for (int i = 0; w && i < COUNT; ++i) {
        const alore_tensor *t = alore_weights_at(w, i);
        snprintf(name, sizeof name, "t%d", i);
        all = all && t == alore_weights_find(w, name) && !strcmp(t->name, name) &&
              *(const unsigned char *)t->data == (i & 255);
    }
    ok(all, "a tensor of many is wrong");
    free(header);
    free(file);
    t_end(&ctx, &heap);
}

/* ---- values ---- */

static float t_first(alore_dtype dtype, uint64_t word)
{
    unsigned char bytes[9];
    uint64_t dim = 1;
    alore_tensor t;
    float x = -12345;
    memset(&t, 0, sizeof t);
    for (int i = 0; i < 8; ++i) bytes[1 + i] = (unsigned char)(word >> 8 * i);
    t.name = "x";
    t.data = bytes + 1; /* odd, most likely */
    t.bytes = alore_dtype_bytes(dtype);
    t.dims = &dim;
    t.rank = 1;
    t.dtype = dtype;
    ok(alore_tensor_read(&t, 0, 1, &x), "%s is not read", alore_dtype_name(dtype));
    return x;
}

static void t_safetensors_values(void)
{
    static const struct {
        alore_dtype dtype;
        uint64_t word;
        double value;
    } rows[] = {
        {ALORE_F32, 0xc0490fdb, -3.14159274101257324},
        {ALORE_F16, 0x3555, 0.333251953125},
        {ALORE_BF16, 0x4049, 3.140625},
        {ALORE_F64, UINT64_C(0x400921fb54442d18), 3.14159274101257324},
        {ALORE_U8, 255, 255},
        {ALORE_I8, 0x80, -128},
        {ALORE_I8, 0x7f, 127},
        {ALORE_I8, 0xff, -1},
        {ALORE_I16, 0x8000, -32768},
        {ALORE_I16, 0xfffe, -2},
        {ALORE_U16, 0xffff, 65535},
        {ALORE_I32, 0x80000000u, -2147483648.0},
        {ALORE_I32, 0xffffffffu, -1},
        {ALORE_I32, 77, 77},
        {ALORE_U32, 0x80000000u, 2147483648.0},
        {ALORE_I64, UINT64_MAX, -1},
        {ALORE_I64, (uint64_t)1 << 63, -9223372036854775808.0},
        {ALORE_I64, 5, 5},
        {ALORE_U64, (uint64_t)1 << 63, 9223372036854775808.0},
    };
    static const uint64_t dims[] = {2};
    static const unsigned char bytes[16] = {0};
    alore_tensor t = ALORE_ZERO;
    float out[2];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
        double x = (double)t_first(rows[i].dtype, rows[i].word);
        ok(x == rows[i].value, "row %d, %s: %.17g is not %.17g", (int)i,
           alore_dtype_name(rows[i].dtype), x, rows[i].value);
    }
    t.name = "t";
    t.data = bytes;
    t.bytes = 16;
    t.dims = dims;
    t.rank = 1;
    t.dtype = ALORE_C64;
    ok(!alore_tensor_read(&t, 0, 1, out), "C64 is read");
    t.dtype = ALORE_BOOL;
    ok(!alore_tensor_read(&t, 0, 1, out), "BOOL is read");
    t.dtype = ALORE_F8_E4M3;
    ok(!alore_tensor_read(&t, 0, 1, out), "an 8-bit float is read");
    t.dtype = (alore_dtype)77;
    ok(!alore_tensor_read(&t, 0, 1, out), "type 77 is read");
    ok(alore_dtype_bytes((alore_dtype)77) == 0, "bytes of type 77");
    t.dtype = ALORE_F64;
    ok(alore_tensor_read(&t, 0, 2, out) && alore_tensor_read(&t, 1, 1, out) &&
           alore_tensor_read(&t, 2, 0, NULL),
       "ranges inside");
    ok(!alore_tensor_read(&t, 0, 3, out) && !alore_tensor_read(&t, 2, 1, out) &&
           !alore_tensor_read(&t, 1, (size_t)-1, out) &&
           !alore_tensor_read(&t, (size_t)-1, 2, out),
       "ranges outside");
}

/* The file at each of eight alignments gives the same values. */
static void t_safetensors_alignment(void)
{
    static const float f[] = {1.5f, -2, 3.25f};
    static const char header[] =
        "{\"f\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[1,13]},"
        "\"u\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}";
    static const unsigned char le[] = {0, 0,    0xc0, 0x3f, 0,    0,
                                       0, 0xc0, 0,    0,    0x50, 0x40};
    alore_ctx ctx;
    t_heap heap;
    size_t bytes;
    uint64_t hash = 0;
    unsigned char *file = t_file(header, 13, &bytes);
    unsigned char *room = (unsigned char *)malloc(bytes + 8);
    memcpy(file + bytes - 12, le, 12);
    t_begin(&ctx, &heap);
    for (size_t shift = 0; shift < 8; ++shift) {
        alore_weights *w = NULL;
        float out[3] = {0, 0, 0};
        memcpy(room + shift, file, bytes);
        if (!ok(alore_weights_open(&ctx, room + shift, bytes, &w) == ALORE_OK, "%s",
                ctx.error.text))
            break;
        ok(alore_tensor_read(alore_weights_find(w, "f"), 0, 3, out) &&
               !memcmp(out, f, sizeof f),
           "shift %d: %g %g %g", (int)shift, (double)out[0], (double)out[1],
           (double)out[2]);
        ok(alore_weights_find(w, "u")->rank == 0 &&
               !strcmp(alore_weights_at(w, 0)->name, "u"),
           "u is first");
        if (!shift) hash = alore_weights_fingerprint(w);
        ok(alore_weights_fingerprint(w) == hash, "fingerprint at shift %d", (int)shift);
        alore_weights_destroy(w);
    }
    free(room);
    free(file);
    t_end(&ctx, &heap);
}

/* ---- writing ---- */

static alore_tensor t_tensor(const char *name, alore_dtype dtype, int rank,
                             const uint64_t *dims, const void *data)
{
    alore_tensor t;
    memset(&t, 0, sizeof t);
    t.name = name;
    t.dtype = dtype;
    t.rank = rank;
    t.dims = dims;
    t.data = data;
    return t;
}

/* A set of three tensors and two keys, added forwards or backwards. */
static alore_status t_three(alore_ctx *ctx, bool backwards, alore_weights **out)
{
    static const uint64_t dims[] = {2, 3};
    static const unsigned char data[24] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    alore_weights *w = NULL;
    alore_status status = alore_weights_create(ctx, &w);
    for (int i = 0; i < 5 && status == ALORE_OK; ++i) {
        int k = backwards ? 4 - i : i;
        alore_tensor t = k == 0   ? t_tensor("b", ALORE_U8, 2, dims, data)
                         : k == 1 ? t_tensor("c", ALORE_F32, 1, dims, data)
                                  : t_tensor("a\"", ALORE_F32, 1, dims + 1, data);
        if (k < 3)
            status = alore_weights_add(w, &t);
        else
            status = alore_weights_set_meta(w, k == 3 ? "x" : "y\n", k == 3 ? "1" : "");
    }
    if (status == ALORE_OK)
        *out = w;
    else
        alore_weights_destroy(w);
    return status;
}

/* The bytes of a file, by hand; the order of adding does not matter. */
static void t_safetensors_bytes(void)
{
    static const char header[] =
        "{\"__metadata__\":{\"x\":\"1\",\"y\\u000a\":\"\"},"
        "\"a\\\"\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]},"
        "\"c\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[12,20]},"
        "\"b\":{\"dtype\":\"U8\",\"shape\":[2,3],\"data_offsets\":[20,26]}}";
    static const char data[] =
        "\1\2\3\4\5\6\7\10\11\0\0\0\1\2\3\4\5\6\7\10\1\2\3\4\5\6";
    size_t padded = (sizeof header - 1 + 7) / 8 * 8;
    alore_ctx ctx;
    t_heap heap;
    t_begin(&ctx, &heap);
    for (int backwards = 0; backwards < 2; ++backwards) {
        alore_weights *w = NULL;
        t_sink s;
        if (!ok(t_three(&ctx, backwards, &w) == ALORE_OK, "%s", ctx.error.text)) break;
        ok(t_sink_weights(&s, w) == ALORE_OK, "write: %s", ctx.error.text);
        ok(s.bytes == 8 + padded + 26 && s.data[0] == padded && !s.data[1],
           "%d bytes, header %d", (int)s.bytes, s.data[0]);
        ok(!memcmp(s.data + 8, header, sizeof header - 1), "%.*s", (int)padded,
           (const char *)s.data + 8);
        for (size_t i = sizeof header - 1; i < padded; ++i)
            ok(s.data[8 + i] == ' ', "padding is byte %d", s.data[8 + i]);
        ok(!memcmp(s.data + 8 + padded, data, 26), "data");
        free(s.data);
        alore_weights_destroy(w);
    }
    alore_weights *none = NULL;
    t_sink s;
    ok(alore_weights_create(&ctx, &none) == ALORE_OK &&
           t_sink_weights(&s, none) == ALORE_OK && s.bytes == 16 &&
           !memcmp(s.data, "\10\0\0\0\0\0\0\0{}      ", 16),
       "an empty file");
    free(s.data);
    t_end(&ctx, &heap);
}

/* Every type, ranks 0 to 5, no elements, odd names; written, read, written. */
static void t_safetensors_roundtrip(void)
{
    static const uint64_t dims[] = {3, 1, 2, 1, 1};
    static const char odd[] = "odd\0\x01\n\"\\/\xc3\xa9\xf0\x9f\x98\x80";
    alore_ctx ctx;
    t_heap heap;
    alore_weights *w = NULL, *back = NULL;
    t_sink first, second;
    alore_tensor t;
    char name[32];
    uint64_t zero[] = {4, 0, UINT64_MAX};
    t_begin(&ctx, &heap);
    ok(alore_weights_create(&ctx, &w) == ALORE_OK, "create");
    for (int i = 0; i <= ALORE_C64; ++i) {
        unsigned char *bytes;
        snprintf(name, sizeof name, "t.%s", alore_dtype_name((alore_dtype)i));
        t = t_tensor(name, (alore_dtype)i, i % 6, dims, NULL);
        ok(alore_weights_add(w, &t) == ALORE_OK, "%s", ctx.error.text);
        bytes = (unsigned char *)alore_weights_data(w, name);
        for (size_t k = 0; bytes && k < alore_weights_find(w, name)->bytes; ++k)
            bytes[k] = (unsigned char)(16 * i + (int)k);
    }
    t = t_tensor("none", ALORE_F32, 3, zero, NULL);
    ok(alore_weights_add(w, &t) == ALORE_OK, "no elements: %s", ctx.error.text);
    t = t_tensor(odd, ALORE_U8, 1, dims, "abc");
    t.name_bytes = sizeof odd - 1;
    ok(alore_weights_add(w, &t) == ALORE_OK, "odd name: %s", ctx.error.text);
    ok(alore_weights_set_meta(w, "", "empty key") == ALORE_OK, "meta");
    ok(alore_weights_set_meta(w, "\xe2\x82\xac", "\xf0\x9f\x98\x80\t") == ALORE_OK,
       "meta");
    ok(t_sink_weights(&first, w) == ALORE_OK, "%s", ctx.error.text);
    ok(alore_weights_open(&ctx, first.data, first.bytes, &back) == ALORE_OK, "%s",
       ctx.error.text);
    ok(alore_weights_count(back) == alore_weights_count(w), "count");
    for (int i = 0; i < alore_weights_count(back); ++i) {
        const alore_tensor *b = alore_weights_at(back, i), *a = NULL;
        for (int k = 0; k < alore_weights_count(w); ++k)
            if (alore_weights_at(w, k)->name_bytes == b->name_bytes &&
                !memcmp(alore_weights_at(w, k)->name, b->name, b->name_bytes + 1))
                a = alore_weights_at(w, k);
        ok(a && a->dtype == b->dtype && a->rank == b->rank && a->bytes == b->bytes &&
               !memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) &&
               !memcmp(a->data, b->data, a->bytes),
           "%s differs", b->name);
        ok((size_t)((const unsigned char *)b->data - first.data) %
                   alore_dtype_bytes(b->dtype) ==
               0,
           "%s is not aligned", b->name);
    }
    ok(alore_weights_meta_count(back) == 2 &&
           !strcmp(alore_weights_meta(back, ""), "empty key") &&
           !strcmp(alore_weights_meta(back, "\xe2\x82\xac"), "\xf0\x9f\x98\x80\t"),
       "metadata");
    ok(alore_weights_fingerprint(back) == alore_weights_fingerprint(w), "fingerprint");
    ok(t_sink_weights(&second, back) == ALORE_OK && second.bytes == first.bytes &&
           !memcmp(first.data, second.data, first.bytes),
       "same content, other bytes");
    free(second.data);
    alore_weights_destroy(back);
    free(first.data);
    t_end(&ctx, &heap);
}

static void t_safetensors_add(void)
{
    static const uint64_t dims[] = {2, 3}, huge[] = {(uint64_t)1 << 62, 8};
    static const float data[6] = {1, 2, 3, 4, 5, 6};
    alore_ctx ctx;
    t_heap heap;
    alore_weights *w = NULL;
    const alore_tensor *kept;
    alore_tensor t = t_tensor("w", ALORE_F32, 2, dims, data);
    t_begin(&ctx, &heap);
    ok(alore_weights_create(&ctx, &w) == ALORE_OK, "create");
    ok(alore_weights_set_meta(w, "k", NULL) == ALORE_OK, "no metadata to remove"); /* clang: NULL + 0 */
    ok(alore_weights_add(w, &t) == ALORE_OK, "%s", ctx.error.text);
    kept = alore_weights_find(w, "w");
    ok(kept && kept->data == data && kept->dims != dims && kept->bytes == 24 &&
           kept->name_bytes == 1 && alore_weights_data(w, "w") == NULL,
       "a borrowed tensor");
    ok(alore_weights_add(w, &t) == ALORE_ERR_NAME, "twice");
    t.name = "v";
    t.bytes = 20;
    ok(alore_weights_add(w, &t) == ALORE_ERR_SHAPE && strstr(ctx.error.text, "24") &&
           strstr(ctx.error.text, "20"),
       "%s", ctx.error.text);
    t.bytes = 0;
    t.rank = 65;
    ok(alore_weights_add(w, &t) == ALORE_ERR_SHAPE, "rank 65");
    t.rank = -1;
    ok(alore_weights_add(w, &t) == ALORE_ERR_SHAPE, "rank -1");
    t.rank = 2;
    t.dims = NULL;
    ok(alore_weights_add(w, &t) == ALORE_ERR_ARGUMENT, "no extents");
    t.dims = huge;
    ok(alore_weights_add(w, &t) == ALORE_ERR_SHAPE, "2^65 elements");
    t.dims = dims;
    t.dtype = (alore_dtype)19;
    ok(alore_weights_add(w, &t) == ALORE_ERR_DTYPE, "type 19");
    t.dtype = ALORE_F32;
    t.name = "\xff";
    ok(alore_weights_add(w, &t) == ALORE_ERR_NAME, "not UTF-8");
    t.name = "__metadata__";
    ok(alore_weights_add(w, &t) == ALORE_ERR_NAME, "the name of metadata");
    t.name = NULL;
    ok(alore_weights_add(w, &t) == ALORE_ERR_ARGUMENT, "no name");
    ok(alore_weights_add(w, NULL) == ALORE_ERR_ARGUMENT, "no tensor");
    ok(alore_weights_count(w) == 1, "%d tensors", alore_weights_count(w));
    for (int i = 0; i < 100; ++i) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i * 37 % 100);
        t.name = name;
        t.data = NULL;
        ok(alore_weights_add(w, &t) == ALORE_OK, "%s", ctx.error.text);
    }
    ok(alore_weights_find(w, "w") == kept && alore_weights_at(w, 0) == kept,
       "it moved");
    ok(alore_weights_count(w) == 101 && !strcmp(alore_weights_at(w, 2)->name, "n37"),
       "the order of adding");
    float *own = (float *)alore_weights_data(w, "n99");
    ok(own && own == alore_weights_find(w, "n99")->data && own[0] == 0 && own[5] == 0,
       "an own tensor");
    ok(!alore_weights_data(w, "n100") && !alore_weights_find(w, "n100") &&
           !alore_weights_at(w, 101) && !alore_weights_at(w, -1),
       "what is not there");
    t_end(&ctx, &heap);
}

static void t_safetensors_meta(void)
{
    alore_ctx ctx;
    t_heap heap;
    alore_weights *w = NULL;
    const char *key, *value;
    size_t bytes;
    unsigned char *file = t_file(t_two, 28, &bytes);
    t_begin(&ctx, &heap);
    ok(alore_weights_open(&ctx, file, bytes, &w) == ALORE_OK, "%s", ctx.error.text);
    ok(!strcmp(alore_weights_meta(w, "k"), "v"), "k is read");
    ok(alore_weights_set_meta(w, "k", "other") == ALORE_OK &&
           alore_weights_set_meta(w, "j", alore_weights_meta(w, "k")) == ALORE_OK &&
           alore_weights_set_meta(w, "j", alore_weights_meta(w, "j")) == ALORE_OK &&
           alore_weights_set_meta(w, "l", "") == ALORE_OK,
       "set");
    ok(alore_weights_meta_count(w) == 3, "%d keys", alore_weights_meta_count(w));
    alore_weights_meta_at(w, 0, &key, &value);
    ok(!strcmp(key, "j") && !strcmp(value, "other"), "%s: %s", key, value);
    alore_weights_meta_at(w, 3, &key, &value);
    ok(!key && !value, "behind the last");
    ok(alore_weights_set_meta(w, "k", NULL) == ALORE_OK &&
           !alore_weights_meta(w, "k") &&
           alore_weights_set_meta(w, "k", NULL) == ALORE_OK &&
           alore_weights_meta_count(w) == 2 && !strcmp(alore_weights_meta(w, "l"), ""),
       "remove");
    ok(alore_weights_set_meta(w, NULL, "x") == ALORE_ERR_ARGUMENT, "no key");
    ok(alore_weights_set_meta(w, "x", "\xc0\x80") == ALORE_ERR_ARGUMENT, "not UTF-8");
    free(file);
    t_end(&ctx, &heap);
}

static void t_safetensors_fingerprint(void)
{
    static const uint64_t dims[] = {2, 3}, turned[] = {3, 2};
    unsigned char data[24] = {1, 2, 3};
    alore_ctx ctx;
    t_heap heap;
    alore_weights *a = NULL, *b = NULL;
    uint64_t hash[40];
    int count = 0;
    t_begin(&ctx, &heap);
    ok(t_three(&ctx, false, &a) == ALORE_OK && t_three(&ctx, true, &b) == ALORE_OK,
       "two");
    ok(alore_weights_set_meta(b, "more", "metadata") == ALORE_OK, "meta");
    hash[count++] = alore_weights_fingerprint(a);
    ok(hash[0] == alore_weights_fingerprint(b), "order or metadata matter");
    for (int i = 0; i < 30; ++i) { /* each differs in one thing from the first */
        alore_weights *w = NULL;
        alore_tensor t = t_tensor("w", ALORE_F32, 2, dims, data);
        if (i == 1) t.name = "v";
        if (i == 2) t.dims = turned;
        if (i == 3) t.dtype = ALORE_I32;
        if (i == 4) t.dtype = ALORE_BF16;
        if (i >= 6) data[i - 6] ^= 0x10;
        ok(alore_weights_create(&ctx, &w) == ALORE_OK, "create");
        if (i != 5) ok(alore_weights_add(w, &t) == ALORE_OK, "%s", ctx.error.text);
        hash[count++] = alore_weights_fingerprint(w);
        if (i >= 6) data[i - 6] ^= 0x10;
        alore_weights_destroy(w);
    }
    for (int i = 0; i < count; ++i)
        for (int k = 0; k < i; ++k) ok(hash[i] != hash[k], "sets %d and %d", i, k);
    /* the function itself stays what it is: adapters carry its value */
    ok(hash[0] == UINT64_C(0x9292a4a171de4215), "the function changed: %llx",
       (unsigned long long)hash[0]);
    t_end(&ctx, &heap);
}

/* ---- failures ---- */

/* Open, add, set and write; the first that fails ends it. */
static alore_status t_everything(alore_ctx *ctx, const unsigned char *file,
                                 size_t bytes)
{
    static const uint64_t dims[] = {5};
    alore_weights *w = NULL, *made = NULL;
    alore_tensor t = t_tensor("new", ALORE_F64, 1, dims, NULL);
    t_sink sink = {NULL, 0, 0, 0};
    alore_status status = alore_weights_open(ctx, file, bytes, &w);
    if (status != ALORE_OK) return status;
    int count = alore_weights_count(w), keys = alore_weights_meta_count(w);
    uint64_t hash = alore_weights_fingerprint(w);
    status = alore_weights_add(w, &t);
    if (status != ALORE_OK)
        ok(alore_weights_count(w) == count && !alore_weights_find(w, "new") &&
               alore_weights_fingerprint(w) == hash,
           "a failed add changed the set");
    if (status == ALORE_OK) {
        status = alore_weights_set_meta(w, "n", "m");
        if (status != ALORE_OK)
            ok(alore_weights_meta_count(w) == keys, "failed set_meta");
    }
    if (status == ALORE_OK) status = alore_weights_set_meta(w, "k", "replaced");
    if (status == ALORE_OK) {
        status = t_sink_weights(&sink, w);
        free(sink.data);
    } else {
        ok(!strcmp(alore_weights_meta(w, "k"), "v"), "k was lost");
    }
    if (status == ALORE_OK) status = t_three(ctx, true, &made);
    if (status == ALORE_OK) status = alore_weights_save(w, "/nonexistent/a");
    alore_weights_destroy(w);
    alore_weights_destroy(made);
    return status;
}

static void t_safetensors_allocations(void)
{
    size_t bytes;
    unsigned char *file = t_file(t_two, 28, &bytes);
    alore_ctx ctx;
    t_heap heap;
    alore_status status = ALORE_ERR_MEMORY;
    long k;
    for (k = 1; status == ALORE_ERR_MEMORY && k < 200; ++k) {
        t_begin(&ctx, &heap);
        heap.fail_at = k;
        status = t_everything(&ctx, file, bytes);
        ok(ctx.error.status == status, "call %ld: %s", k, ctx.error.text);
        ok(heap.blocks == 0, "call %ld: %d blocks are left", k, (int)heap.blocks);
        t_end(&ctx, &heap);
    }
    ok(status == ALORE_ERR_IO && k > 10, "ended at call %ld with %d", k, (int)status);
    free(file);
}

static void t_safetensors_writer(void)
{
    alore_ctx ctx;
    t_heap heap;
    alore_weights *w = NULL;
    t_sink s;
    alore_writer writer = {t_sink_write, &s};
    size_t bytes, blocks;
    t_begin(&ctx, &heap);
    ok(t_three(&ctx, false, &w) == ALORE_OK && t_sink_weights(&s, w) == ALORE_OK,
       "write");
    bytes = s.bytes;
    blocks = heap.blocks;
    for (size_t k = 0; k < bytes; ++k) {
        s.bytes = 0;
        s.limit = k;
        ok(alore_weights_write(w, &writer) == ALORE_ERR_IO && s.bytes <= k &&
               heap.blocks == blocks,
           "a writer that refuses byte %d", (int)k);
    }
    s.bytes = 0;
    s.limit = bytes;
    ok(alore_weights_write(w, &writer) == ALORE_OK && s.bytes == bytes, "all bytes");
    ok(alore_weights_write(w, NULL) == ALORE_ERR_ARGUMENT, "no writer");
    free(s.data);
    t_end(&ctx, &heap);
}

static bool t_full_write(void *user, const void *data, size_t bytes)
{
    FILE *f = (FILE *)user;
    return fwrite(data, 1, bytes, f) == bytes && fflush(f) == 0;
}

static void t_safetensors_save(void)
{
    char dir[] = "/tmp/alore_test_XXXXXX", path[64], other[80];
    alore_ctx ctx;
    t_heap heap;
    alore_weights *w = NULL, *back = NULL;
    FILE *f;
    t_begin(&ctx, &heap);
    ok(t_three(&ctx, false, &w) == ALORE_OK, "%s", ctx.error.text);
    if (!ok(mkdtemp(dir) != NULL, "no folder to write to")) {
        t_end(&ctx, &heap);
        return;
    }
    snprintf(path, sizeof path, "%s/w", dir);
    snprintf(other, sizeof other, "%s/w.tmp", dir);
    for (int i = 0; i < 2; ++i) { /* a new file, then in place of the old one */
        ok(alore_weights_save(w, path) == ALORE_OK, "%s", ctx.error.text);
        ok(alore_weights_load(&ctx, path, &back) == ALORE_OK, "%s", ctx.error.text);
        ok(alore_weights_fingerprint(back) == alore_weights_fingerprint(w), "round %d",
           i);
        ok((f = fopen(other, "rb")) == NULL, "%s is left", other);
        if (!i) alore_weights_destroy(back);
    }
    ok(alore_weights_save(back, path) == ALORE_OK, "onto itself: %s", ctx.error.text);
    ok(alore_weights_fingerprint(back) == alore_weights_fingerprint(w),
       "the old bytes");
    alore_weights_destroy(back);
    f = fopen(other, "wb"); /* the name of the temporary file is taken */
    if (f) fclose(f);
    ok(alore_weights_save(w, path) == ALORE_OK, "%s", ctx.error.text);
    ok(remove(other) == 0, "another's file was taken");
    snprintf(other, sizeof other, "%s/w.tmp1", dir);
    ok(remove(other) != 0, "%s is left", other);
    ok(remove(path) == 0, "no %s", path);
    ok(alore_weights_save(w, dir) == ALORE_ERR_IO && strstr(ctx.error.text, dir),
       "onto a folder: %s", ctx.error.text);
    snprintf(other, sizeof other, "%s.tmp", dir);
    ok(remove(other) != 0, "%s is left", other);
    snprintf(other, sizeof other, "%s/none/w", dir);
    ok(alore_weights_save(w, other) == ALORE_ERR_IO && strstr(ctx.error.text, other),
       "no folder: %s", ctx.error.text);
    ok(alore_weights_save(w, NULL) == ALORE_ERR_ARGUMENT, "no path");
    f = fopen("/dev/full", "wb");
    if (f) {
        alore_writer full = {t_full_write, f};
        ok(alore_weights_write(w, &full) == ALORE_ERR_IO, "a full disk");
        fclose(f);
    }
    ok(remove(dir) == 0, "%s is not empty", dir);
    t_end(&ctx, &heap);
}

static void t_safetensors_load(void)
{
    char path[] = "/tmp/alore_test_XXXXXX";
    alore_ctx ctx;
    t_heap heap;
    alore_weights *w = NULL;
    FILE *made = fdopen(mkstemp(path), "wb");
    t_begin(&ctx, &heap);
    ok(made && fclose(made) == 0, "no file to write to");
    ok(alore_weights_load(&ctx, path, &w) == ALORE_ERR_IO &&
           strstr(ctx.error.text, path),
       "an empty file: %s", ctx.error.text);
    ok(alore_weights_load(&ctx, "/tmp", &w) == ALORE_ERR_IO &&
           strstr(ctx.error.text, "/tmp"),
       "a folder: %s", ctx.error.text);
    ok(remove(path) == 0, "%s is not there", path);
    ok(alore_weights_load(&ctx, path, &w) == ALORE_ERR_IO &&
           strstr(ctx.error.text, path),
       "a missing file: %s", ctx.error.text);
    ok(alore_weights_load(&ctx, NULL, &w) == ALORE_ERR_ARGUMENT, "no path");
    ok(alore_weights_open(&ctx, NULL, 8, &w) == ALORE_ERR_ARGUMENT && !w, "no bytes");
    t_end(&ctx, &heap);
}

/* ---- Networks for tests ----------------------------------------------------- */

static const char *t_micro = "vit:img=16x16,patch=8,dim=24,depth=3,heads=3,hidden=40,classes=5";

typedef struct t_net {
    alore_ctx ctx;
    t_heap heap;
    alore_model *model;
    alore_plan *plan;
    alore_run *run;
    alore_weights *base;
} t_net;

static void t_random_tensor(alore_weights *w, const char *name, alore_shape shape,
                            uint64_t seed, float mean, float spread)
{
    uint64_t dims[4];
    size_t count = 1;
    alore_tensor t;
    memset(&t, 0, sizeof t);
    for (int i = 0; i < shape.rank; ++i) {
        dims[i] = (uint64_t)shape.dims[i];
        count *= (size_t)shape.dims[i];
    }
    t.name = name;
    t.name_bytes = strlen(name);
    t.dims = dims;
    t.rank = shape.rank;
    t.bytes = 4 * count;
    if (!ok(alore_weights_add(w, &t) == ALORE_OK, "add %s", name)) return;
    void *x = alore_weights_data(w, name);
    uint64_t stream = alo_hash(name, strlen(name), 0);
    for (size_t i = 0; i < count; ++i)
        t_store(x, i, 4, (double)(mean + spread * alore_random_normal(seed, stream, i)));
}

/* Random weights for every base tensor that the model declares. */
static alore_weights *t_base(alore_ctx *ctx, const alore_model *m, uint64_t seed)
{
    alore_weights *w = NULL;
    if (!ok(alore_weights_create(ctx, &w) == ALORE_OK, "weights")) return NULL;
    for (int i = 0; i < m->param_count; ++i) {
        const alo_param *q = &m->params[i];
        bool gain = q->shape.rank == 1 && strstr(alo_name(m, q->name), ".weight");
        if (q->base)
            t_random_tensor(w, alo_name(m, q->name), q->shape, seed, gain ? 1.0f : 0.0f,
                            q->shape.rank == 2 ? 0.25f : 0.2f);
    }
    return w;
}

/* A ViT with rules: "image" and "label" in, "logits" and "loss" out. */
static alore_status t_vit(alore_ctx *ctx, const char *spec, const char *rules,
                          float drop_path, alore_model **out)
{
    alore_vit_config c;
    alore_status s = alore_vit_parse(ctx, spec, &c, NULL);
    *out = NULL;
    if (s == ALORE_OK) s = alore_model_create(ctx, out);
    if (s == ALORE_OK) s = alore_attach(*out, rules);
    if (s != ALORE_OK) return s;
    c.drop_path = drop_path;
    alore_id image = alore_input(*out, "image", ALORE_F32, c.height * c.width, 3);
    alore_id label = alore_input(*out, "label", ALORE_I32, 1, 1);
    alore_id logits = alore_vit(*out, image, &c);
    alore_output(*out, "logits", logits);
    alore_output(*out, "loss", alore_loss_xent(*out, logits, label, 0.1f));
    return alore_model_finish(*out);
}

static void t_put_real(const alore_plan *p, void *array, size_t i, double v)
{
    alo_set_real(p, array, i, v);
}

static double t_value(const alore_plan *p, const void *array, size_t i)
{
    return p->real == 8 ? ((const double *)array)[i] : (double)((const float *)array)[i];
}

/* Random images, labels in turn. */
static void t_fill(alore_run *run, int classes, uint64_t seed)
{
    const alore_plan *p = run->plan;
    const alo_tensor *t = p->tensors;
    while (!(t->flags & ALO_INPUT) || strcmp(p->names + t->name, "image")) ++t;
    void *image = alore_run_input(run, "image");
    int32_t *label = (int32_t *)alore_run_input(run, "label");
    size_t count = (size_t)p->opts.batch * (size_t)t->rows * (size_t)t->cols;
    for (size_t i = 0; i < count; ++i)
        t_put_real(p, image, i, (double)alore_random_normal(seed, 99, i));
    for (int i = 0; i < p->opts.batch && label; ++i) label[i] = (i * 2 + 1) % classes;
}

/* All parameters random, so that nothing hides behind zeros. */
static void t_shake(alore_run *run, uint64_t seed)
{
    const alore_plan *p = run->plan;
    unsigned char *params = run->memory + p->at_params;
    for (int i = 0; i < alore_param_count(p); ++i) {
        alore_param_info q = alore_param_at(p, i);
        uint64_t stream = alo_hash(q.name, strlen(q.name), 5);
        for (size_t k = 0; k < q.count && !q.base && !q.frozen; ++k)
            t_put_real(p, params, q.first + k,
                  0.3 * (double)alore_random_normal(seed, stream, k) +
                      (strstr(q.name, "gain") ? 1.0 : 0.0));
    }
}

static bool t_net_open(t_net *n, const char *spec, const char *rules, const alore_plan_opts *o,
                   float drop_path)
{
    memset(n, 0, sizeof *n);
    t_begin(&n->ctx, &n->heap);
    alore_status s = t_vit(&n->ctx, spec, rules, drop_path, &n->model);
    if (s == ALORE_OK) s = alore_plan_create(n->model, o, &n->plan);
    if (s == ALORE_OK) n->base = t_base(&n->ctx, n->model, 3);
    if (s == ALORE_OK) s = alore_run_create(n->plan, n->base, &n->run);
    if (s == ALORE_OK) {
        n->run->poison = true;
        t_fill(n->run, 5, 4);
        t_shake(n->run, 6);
    }
    return ok(s == ALORE_OK, "%s: %s", rules, n->ctx.error.text);
}

static void t_net_close(t_net *n)
{
    t_end(&n->ctx, &n->heap);
}

static bool t_same(const void *a, const void *b, size_t bytes, const char *what)
{
    return ok(!memcmp(a, b, bytes), "%s: other bits", what);
}

/* ---- Rules, sites, models --------------------------------------------------- */

/* A rule text that is wrong, and what the error must name. */
static void t_rules_errors(void)
{
    static const char *const rows[][2] = {
        {"nosuch@qkv", "nosuch"},
        {"lora:rnk=4@qkv", "rnk"},
        {"lora:rnk=4@qkv", "rank, scale, parts, dropout, init"},
        {"lora:rank=0@qkv", "rank=0"},
        {"lora:rank=1.5@qkv", "rank=1.5"},
        {"lora:rank=4x@qkv", "rank=4x"},
        {"lora:rank=@qkv", "rank="},
        {"lora:rank=4,rank=5@qkv", "twice"},
        {"lora:rank=25@qkv", "25"},
        {"lora:rank=25@qkv", "24"},
        {"lora:scale=nan@qkv", "scale=nan"},
        {"lora:dropout=1.5@qkv", "dropout=1.5"},
        {"lora:place=input@qkv", "place=input"},
        {"lora:place=input@qkv", "parallel"},
        {"lora:parts=qx@qkv", "qx"},
        {"lora:parts=qq@qkv", "qq"},
        {"lora:parts=q@proj", "proj"},
        {"lora@norm1", "norm1"},
        {"lora@attn", "attn"},
        {"lora@qkv;lora@qkv", "twice"},
        {"lora@qkv;lora:parts=v@qkv", "twice"},
        {"lora@blocks.0.*;lora@qkv#0", "twice"},
        {"alore:experts=5@qkv", "5"},
        {"alore:experts=5@qkv", "24"},
        {"alore:experts=2@qkv;alore:experts=3@fc1", "alore.S"},
        {"alore:shared=none@qkv", "all|kind|site"},
        {"ssf:rank=2@qkv", "rank"},
        {"ssf:place=input@norm1", "norm"},
        {"unfreeze:rank=2@head", "rank=2"},
        {"unfreeze@haed", "head.bias"},
        {"lora@blocks.7.attn.qkv", "blocks.7.attn.qkv"},
        {"lora@blocks.7.attn.qkv", "blocks.2.attn.qkv"},
        {"lora@qkv#3", "3"},
        {"lora@qkv#0-9", "9"},
        {"lora@qkv#2-1", "2-1"},
        {"lora@qkv#x", "x"},
        {"lora@head#0", "head"},
        {"unfreeze@head#0", "head"},
        {"lora@", "lora@"},
        {"@qkv", "@qkv"},
        {"lora", "lora"},
        {"lora@qkv;;unfreeze@head", "\"\""},
        {"lora@qkv||fc1", "empty"},
        {"lora:@qkv", "key=value"},
        {"dwconv@dwconv", "dwconv"},
        {"alore:rnk=4@qkv", "rank, experts, shared, dropout, init, place"},
        {"kron:rnk=4@qkv", "experts, dropout, init, place"},
        {"arc:rnk=4@qkv", "rank, dropout, init, place"},
        {"repadapter:rnk=4@qkv", "rank, groups, scale, dropout, init, place"},
        {"mlae:rnk=4@qkv", "experts, mask, lambda, dropout, init, place"},
        {"fact_tt:rnk=4@qkv", "rank, scale, dropout, init, place"},
        {"fact_tk:rnk=4@qkv", "rank, scale, layout, dropout, init, place"},
        {"kadaptation:rnk=4@qkv", "experts, scale, dropout, init, place"},
        {"glora:rnk=4@qkv", "rank, a, b, c, d, e, parts, init, place"},
        {"compacter:rnk=4@qkv", "experts, rank, hidden, act, init, place"},
        {"phm:rnk=4@qkv", "experts, hidden, act, init, place"},
        {"dora:rnk=4@qkv", "rank, scale, parts, init, place"},
        {"adalora:rnk=4@qkv", "rank, scale, parts, dropout, init, place"},
        {"vera:rnk=4@qkv", "rank, parts, dropout, init, place"},
        {"ia3:rnk=4@qkv", "parts, init, place"},
        {"lokr:rnk=4@qkv", "rank, scale, factor, both, parts, init, place"},
        {"loha:rnk=4@qkv", "rank, scale, parts, init, place"},
        {"oft:rnk=4@qkv", "block, terms, parts, init, place"},
        {"boft:rnk=4@qkv", "block, factors, parts, init, place"},
        {"ssf:rnk=4@qkv", "init, place"},
        {"sparse:rnk=4@qkv", "entries, bias_entries, init, place"},
        {"kron:experts=5@qkv", "experts 5 does not divide the width 24"},
        {"arc:rank=25@qkv", "rank 25 is larger than the width 24"},
        {"arc:place=parallel@qkv", "input|output"},
        {"repadapter:rank=25@qkv", "rank 25 is larger than the width 24"},
        {"repadapter:rank=9,groups=2@qkv", "groups 2 does not divide the rank 9"},
        {"repadapter:rank=10,groups=5@qkv", "groups 5 does not divide the width 24"},
        {"mlae:mask=pyramid@qkv", "none|given|incremental"},
        {"mlae:mask=hourglass@head", "blocks"},
        {"mlae:mask=random@patch", "blocks"},
        {"mlae:dropout=-0.1@qkv", "from 0 to 1"},
        {"fact_tt@fc1", "24 and 40 columns are no whole slots"},
        {"fact_tt:rank=25@qkv", "rank 25"},
        {"fact_tk:layout=lines@qkv", "code|paper"},
        {"fact_tk:rank=2@head", "no whole slots"},
        {"kadaptation:experts=5@qkv", "experts 5 does not divide the width 24"},
        {"kadaptation:experts=4@proj", "proj"},
        {"kadaptation:parts=k@qkv", "no key parts"},
        {"glora:a=matrix@qkv", "lora|vector|constant|none"},
        {"glora:c=constant@qkv", "lora|vector|none"},
        {"glora:d=lora@qkv", "vector|constant|none"},
        {"glora:rank=25@qkv", "rank 25"},
        {"glora:place=parallel@qkv", "weight"},
        {"sparse@qkv", "entries must be given"},
        {"sparse:entries=0@qkv", "neither entries nor bias_entries"},
        {"sparse:entries=3,place=output@qkv", "parallel|weight"},
        {"compacter@mlp", "hidden must be given"},
        {"compacter:experts=5,hidden=10@mlp", "experts 5 does not divide the width 24"},
        {"compacter:experts=4,hidden=6@mlp", "experts 4 does not divide the hidden 6"},
        {"phm:experts=4,hidden=6@proj", "experts 4 does not divide the hidden 6"},
        {"phm:rank=1@proj", "no key rank"},
        {"compacter:act=tanh,hidden=4@mlp", "gelu|gelu_tanh|quick_gelu|relu|silu|none"},
        {"compacter:hidden=4@norm1", "norm1"},
        {"dora:rank=25@qkv", "rank 25"},
        {"dora:parts=v@fc1", "fc1"},
        {"dora:dropout=0.1@qkv", "no key dropout"},
        {"adalora:rank=25@qkv", "rank 25"},
        {"vera:rank=0@qkv", "rank=0"},
        {"vera:parts=q@proj", "proj"},
        {"ia3:place=parallel@qkv", "input|output"},
        {"ia3:parts=qw@qkv", "qw"},
        {"ia3@norm1", "norm1"},
        {"lokr:factor=-2@qkv", "factor=-2"},
        {"lokr:both=2@qkv", "both=2"},
        {"loha:rank=25@qkv", "rank 25"},
        {"oft:block=5@qkv", "block 5 does not divide the width 24"},
        {"oft@qkv", "block 32 does not divide the width 24"},
        {"oft:terms=65@qkv", "terms=65"},
        {"oft:block=1@qkv", "block=1"},
        {"oft:place=output@qkv", "input"},
        {"boft:block=5@qkv", "block 5 does not divide the width 24"},
        {"boft:block=3@qkv", "odd"},
        {"boft:block=4,factors=3@qkv", "block 2^factor 16 does not divide the width 24"},
        {"alore:experts=2@qkv;alore:experts=2,shared=kind@fc1;alore:experts=3@proj", "alore.S is shared"},
        {"arc:rank=3@qkv#0;arc:rank=2@qkv#1", "arc.qkv.D is shared"},
        {"fact_tt:rank=3@qkv;fact_tt:rank=2@proj", "fact_tt.U is shared"},
        {"compacter:experts=2,hidden=4@attn;compacter:experts=4,hidden=4@mlp", "compacter.S is shared"},
        {"kadaptation:experts=2@qkv#0;kadaptation:experts=4@qkv#1", "kadaptation.q.S_left is shared"},
        {"sparse:entries=2@qkv;sparse:entries=2,place=parallel@qkv", "twice"},
        {"ia3@qkv;ia3:place=input@qkv", "twice"},
        {"dora:init=published@qkv", "init=published"},
        {"sparse:entries=1729@qkv", "sparse: 1729 entries of 72 x 24, 0 bias_entries of 72"},
        {"sparse:entries=1728,bias_entries=73@qkv", "73 bias_entries of 72"},
        {"lora@blocks.0.mlp", "the nearest names are blocks.0.mlp.fc1"},
        {"lora:parts=q@proj", "lora:parts=q@proj has no form for blocks.0.attn.proj"},
        {"lora:parts=q@blocks.0.attn.proj", "has no form for blocks.0.attn.proj"},
        {"lora:parts=q@*.proj", "*.proj matches nothing"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
        t_net n;
        memset(&n, 0, sizeof n);
        t_begin(&n.ctx, &n.heap);
        alore_status s = t_vit(&n.ctx, t_micro, rows[i][0], 0, &n.model);
        const alore_error *e = alore_last_error(&n.ctx);
        ok(s != ALORE_OK && e->status == s && strstr(e->text, rows[i][1]),
           "%s: %d, \"%s\" does not name %s", rows[i][0], (int)s, e->text, rows[i][1]);
        t_net_close(&n);
    }
}

/* Counts that no int holds are refused, and told as they are. The widths are large, no number is stored. */
static void t_rules_huge(void)
{
    static const char *const rows[][3] = {
        {"vit:img=16,patch=8,dim=1024,depth=1,hidden=1024",
         "compacter:experts=512,rank=16385,hidden=512@proj", "2147483647"},
        {"vit:img=16,patch=8,dim=2048,depth=1", "alore:experts=1024,rank=2048@qkv", "2147483647"},
        {"vit:img=91,patch=1,dim=1,depth=1,heads=1,hidden=4194304", "fact_tt:rank=1@fc1", "to 2147483647 "},
        {"vit:img=91,patch=1,dim=1,depth=1,heads=1,hidden=4194304", "fact_tt:rank=1@fc2", "to 2147483647 "},
        {"vit:img=16,patch=8,dim=1,depth=4096,heads=1,hidden=4194304", "fact_tk:rank=1@qkv#0", "2147483647"},
        {"vit:img=16,patch=8,dim=262144,depth=1,hidden=1048576", "oft:block=4096@fc2", "4294967296 entries"},
        {"vit:img=16,patch=8,dim=524288,depth=1", "boft:block=4096@qkv", "2147483648 entries"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
        t_net n;
        memset(&n, 0, sizeof n);
        t_begin(&n.ctx, &n.heap);
        const alore_status s = t_vit(&n.ctx, rows[i][0], rows[i][1], 0, &n.model);
        const bool small = sizeof(size_t) < 8 && strstr(n.ctx.error.text, "elements are too many"); /* sooner */
        ok(s != ALORE_OK && (small || strstr(n.ctx.error.text, rows[i][2])), "%s: %d, %s", rows[i][1], (int)s,
           n.ctx.error.text);
        t_net_close(&n);
    }
}

/* What asks for a bias says so where there is none; the rest of the method does without. */
static void t_rules_bare(void)
{
    static const char *const rows[][2] = {{"glora@qkv", "ask for a layer with a bias"},
                                          {"glora:c=none,d=none@qkv", "bias"},
                                          {"glora:c=none,e=none@qkv", "bias"},
                                          {"glora:d=none,e=none@qkv", "bias"},
                                          {"glora:c=none,d=none,e=none@qkv", NULL},
                                          {"sparse:entries=3@qkv", NULL}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
        t_net n;
        alore_vit_config c;
        memset(&n, 0, sizeof n);
        t_begin(&n.ctx, &n.heap);
        alore_vit_parse(&n.ctx, t_micro, &c, NULL);
        c.no_qkv_bias = true;
        alore_model_create(&n.ctx, &n.model);
        alore_attach(n.model, rows[i][0]);
        alore_output(n.model, "y", alore_vit(n.model, alore_input(n.model, "image", ALORE_F32, 256, 3), &c));
        const alore_status s = alore_model_finish(n.model);
        ok(rows[i][1] ? s == ALORE_ERR_RULE && strstr(n.ctx.error.text, rows[i][1]) : s == ALORE_OK,
           "%s: %d, %s", rows[i][0], (int)s, n.ctx.error.text);
        t_net_close(&n);
    }
}

/* Texts that are right; blanks are read over and never written. */
static void t_rules_good(void)
{
    static const char *const rows[][2] = {
        {" lora : rank = 4 @ qkv # 0 - 1 | fc1 ; unfreeze @ head ",
         "lora:rank=4@qkv#0-1|fc1;unfreeze@head"},
        {"lora:parts=q@qkv;lora:parts=v@qkv", "lora:parts=q@qkv;lora:parts=v@qkv"},
        {"lora@head;unfreeze@head", "lora@head;unfreeze@head"},
        {"lora:scale=-2.5e-1,rank=3@blocks.?.mlp.*", "lora:scale=-2.5e-1,rank=3@blocks.?.mlp.*"},
        {"unfreeze@cls_token|*.bias", "unfreeze@cls_token|*.bias"},
        {"ssf@*", "ssf@*"},
        {"lora:parts=qv@*", "lora:parts=qv@*"},
        {"kadaptation:experts=4@blocks.1.*", "kadaptation:experts=4@blocks.1.*"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
        t_net n;
        memset(&n, 0, sizeof n);
        t_begin(&n.ctx, &n.heap);
        alore_status s = t_vit(&n.ctx, t_micro, rows[i][0], 0, &n.model);
        ok(s == ALORE_OK && !strcmp(alore_rules(n.model), rows[i][1]), "%s: %s", rows[i][0],
           s ? n.ctx.error.text : alore_rules(n.model));
        t_net_close(&n);
    }
}

/* What the dry run tells. */
static void t_rules_sites(void)
{
    t_net n;
    char text[256];
    int taken = 0;
    memset(&n, 0, sizeof n);
    t_begin(&n.ctx, &n.heap);
    ok(t_vit(&n.ctx, t_micro, "alore@qkv#1|fc1;lora:parts=qv@qkv#1;unfreeze@head", 0,
             &n.model) == ALORE_OK, "build: %s", n.ctx.error.text);
    for (int i = 0; i < alore_site_count(n.model); ++i) {
        const alore_site *s = alore_site_at(n.model, i);
        alore_site_rules(n.model, i, text, sizeof text);
        taken += text[0] != 0;
        if (!strcmp(s->name, "blocks.1.attn.qkv")) {
            ok(s->in == 24 && s->out == 72 && s->block == 1 && s->blocks == 3 &&
                   s->rows == 5 && s->prefix == 1 && s->height == 2 && s->width == 2,
               "site of qkv: %d %d %d %d %d", s->in, s->out, s->block, s->blocks, s->rows);
            ok(!strcmp(text, "alore@qkv#1|fc1;lora:parts=qv@qkv#1"), "rules: %s", text);
        }
    }
    ok(taken == 5, "%d sites are taken, not 5", taken);
    ok(alore_site_at(n.model, -1) == NULL, "a site before the first");
    t_net_close(&n);
}

/* A wrong word is told once, at the end, with both numbers; the rest is silent. */
static void t_model_errors(void)
{
    t_net n;
    memset(&n, 0, sizeof n);
    t_begin(&n.ctx, &n.heap);
    ok(alore_model_create(&n.ctx, &n.model) == ALORE_OK, "create");
    alore_id x = alore_input(n.model, "x", ALORE_F32, 4, 6);
    alore_id bad = alore_add(n.model, x, alore_columns(n.model, x, 2, 3));
    ok(bad == 0, "add of 6 and 3 columns gave %d", (int)bad);
    ok(alore_scale(n.model, bad, 2.0f) == 0, "a word given 0 must give 0");
    alore_output(n.model, "y", bad);
    ok(alore_model_finish(n.model) == ALORE_ERR_SHAPE &&
           strstr(n.ctx.error.text, "4 x 6") && strstr(n.ctx.error.text, "4 x 3"),
       "%s", n.ctx.error.text);
    alore_plan *plan;
    ok(alore_plan_create(n.model, NULL, &plan) == ALORE_ERR_ORDER, "plan of a broken model");
    t_net_close(&n);
}

/* What the words are told must make sense: names, extents, blocks; and a finished model stays as it is. */
static void t_model_misuse(void)
{
    static const struct {
        alore_status status;
        const char *said[2];
    } rows[] = {{ALORE_ERR_NAME, {"x", "twice"}},     {ALORE_ERR_SHAPE, {"-1", "1 to"}},
                {ALORE_ERR_SHAPE, {"rank 5", "4"}},   {ALORE_ERR_SHAPE, {"rank -1", "4"}},
                {ALORE_ERR_ARGUMENT, {"-1", "0 to"}}, {ALORE_ERR_ARGUMENT, {"-3", "0 to"}},
                {ALORE_ERR_ORDER, {"block 2", "2"}},  {ALORE_ERR_SHAPE, {"67108864", "1 to"}},
                {ALORE_ERR_SHAPE, {"kernel", "6"}}};
    static const int kernel[3] = {-1, 1, -6};
    const alore_linear_opts bent = {ALORE_KIND_FC1, 0, false, kernel};
    t_net n;
    alore_model *none;
    memset(&n, 0, sizeof n);
    t_begin(&n.ctx, &n.heap);
    ok(alore_model_create(NULL, &none) == ALORE_ERR_ARGUMENT, "no context");
    ok(alore_model_create(&n.ctx, NULL) == ALORE_ERR_ARGUMENT, "no place");
    for (int i = 0; i < (int)(sizeof rows / sizeof *rows); ++i) {
        alore_shape odd = alore_dims(2, 3, 4, 5);
        alore_model *m;
        ok(alore_model_create(&n.ctx, &m) == ALORE_OK, "create");
        const alore_id x = alore_input(m, "x", ALORE_F32, 4, 6);
        odd.rank = i == 2 ? 5 : -1;
        if (i == 0) alore_input(m, "x", ALORE_F32, 4, 6);
        if (i == 1) alore_base(m, "w", alore_dims(6, -1, 0, 0));
        if (i == 2 || i == 3) alore_base(m, "w", odd);
        if (i == 4) alore_blocks(m, -1);
        if (i == 5) alore_hidden(m, -3);
        if (i == 6) alore_blocks(m, 2);
        for (int b = 0; b < 3 && i == 6; ++b) { /* a pattern of mlae would be read behind its end */
            alore_push(m, "blocks", b);
            alore_pop(m);
        }
        if (i == 7) alore_base(m, "w", alore_dims(1 << 26, 1, 0, 0));
        if (i == 8) alore_linear(m, "fc1", x, 4, &bent);
        alore_output(m, "y", alore_scale(m, x, 2.0f));
        const alore_status status = alore_model_finish(m);
        ok(status == rows[i].status && strstr(n.ctx.error.text, rows[i].said[0]) &&
               strstr(n.ctx.error.text, rows[i].said[1]),
           "%d: status %d: %s", i, (int)status, n.ctx.error.text);
        alore_model_destroy(m);
    }
    ok(t_vit(&n.ctx, t_micro, "unfreeze@head", 0, &n.model) == ALORE_OK, "%s", n.ctx.error.text);
    const alore_model was = *n.model;
    ok(!alore_input(n.model, "late", ALORE_F32, 4, 6), "an input of a finished model");
    for (int i = 0; i < 2000; ++i) alore_base(n.model, "late", alore_dims(4, 6, 0, 0));
    alore_push(n.model, "late", 0);
    ok(was.tensor_count == n.model->tensor_count && was.param_count == n.model->param_count &&
           was.names == n.model->names && was.name_count == n.model->name_count &&
           !strcmp(was.scope, n.model->scope) && !strcmp(alore_site_at(n.model, 0)->name, "patch_embed.proj"),
       "a finished model changed");
    t_net_close(&n);
}

/* One word of each row is wrong; the mistake tells what it was given. */
static void t_words_errors(void)
{
    static const char *const told[] = {"5 columns from 2147483647 on of 6", "1 x 2147483647",
                                       "1 x 2147483647", "matmul of U8", "scale of I32", "has no form for qkv",
                                       "conv: a kernel of -1 x -2 x 3 for 6 columns",
                                       "cast of F32, 6 columns", "labels are F32 4 x 6, not I32 4 x 1",
                                       "a gather of 2 rows of -1 by 6 columns", "4097 registers"};
    for (size_t i = 0; i < sizeof told / sizeof *told; ++i) {
        static const int kernel[3] = {-1, -2, 3};
        static const float ones[3] = {1, 1, 1};
        alore_vit_config c;
        alore_linear_opts qkv = {ALORE_KIND_QKV, 0, false, NULL}, conv = {ALORE_KIND_NONE, 0, false, kernel};
        t_net n;
        memset(&n, 0, sizeof n);
        t_begin(&n.ctx, &n.heap);
        alore_model_create(&n.ctx, &n.model);
        alore_model *m = n.model;
        if (i == 5) alore_attach(m, "lora:parts=v,rank=2@qkv");
        alore_id x = alore_input(m, "x", i == 3 ? ALORE_U8 : i == 4 ? ALORE_I32 : ALORE_F32, 4, 6);
        if (i == 0) alore_columns(m, x, INT32_MAX, 5);
        if (i == 1)
            alore_kron(m, alore_input(m, "wide", ALORE_F32, 1, 1 << 12),
                       alore_base(m, "s", alore_dims(1 << 20, 1, 0, 0)),
                       alore_base(m, "d", alore_dims(1 << 12, 1 << 13, 0, 0)), 0, 1 << 10);
        if (i == 2)
            alore_kron(m, alore_input(m, "wide", ALORE_F32, 1, 1 << 20),
                       alore_base(m, "s", alore_dims(1 << 20, 1 << 19, 0, 0)),
                       alore_base(m, "d", alore_dims(1, 1, 0, 0)),
                       alore_base(m, "u", alore_dims(1, 1 << 13, 0, 0)), 1);
        if (i == 3) alore_linear(m, "fc", x, 5, NULL);
        if (i == 4) alore_output(m, "y", x);
        if (i == 5) alore_linear(m, "qkv", x, 10, &qkv);
        if (i == 6) alore_linear(m, "conv", x, 5, &conv);
        if (i == 7) alore_cast(m, x, ones, ones);
        if (i == 8) alore_loss_xent(m, x, x, 0);
        if (i == 9) alore_gather(m, x, kernel, 2, -1);
        if (i == 10) alore_vit_parse(&n.ctx, "vit:img=2,patch=1,dim=64,depth=1,registers=4097", &c, NULL);
        if (i == 10) alore_vit(m, x, &c);
        ok(alore_model_finish(m) != ALORE_OK && strstr(n.ctx.error.text, told[i]), "%s: %s", told[i],
           n.ctx.error.text);
        t_net_close(&n);
    }
}

/* ---- Counts (methods_linear.md 11), from the plan alone --------------------- */

static void t_counts(void)
{
    static const struct {
        const char *backbone, *rules;
        size_t count;
    } rows[] = {
        {"vit_base_patch16_224", "alore@qkv|fc1", 147520},
        {"vit_base_patch16_224", "alore@qkv", 73792},
        {"vit_base_patch16_224", "alore:rank=1@qkv|fc1", 36928},
        {"vit_base_patch16_224", "alore:rank=32@qkv|fc1", 1179712},
        {"vit_base_patch16_224", "alore:experts=1@qkv|fc1", 147457},
        {"vit_base_patch16_224", "alore:experts=16@qkv|fc1", 151552},
        {"vit_base_patch16_224", "alore:experts=32@qkv|fc1", 180224},
        {"vit_base_patch16_224", "alore:experts=16,shared=kind@qkv|fc1", 155648},
        {"vit_base_patch16_224", "alore:experts=16,shared=site@qkv|fc1", 245760},
        {"vit_base_patch16_224", "alore@qkv#0-1|fc1#0-1", 24640},
        {"vit_base_patch16_224", "lora@qkv", 294912},
        {"vit_base_patch16_224", "lora:parts=qv@qkv", 294912},
        {"vit_base_patch16_224", "ssf@patch|norm1|qkv|proj|norm2|fc1|fc2|norm", 205824},
        {"vit_base_patch16_224", "unfreeze@head", 769000},
        {"vit_base_patch16_224", "unfreeze@norm1|norm2|norm", 38400},
        {"vit_large_patch16_224", "alore@qkv|fc1", 393280},
        {"vit_large_patch16_224", "lora@qkv", 786432},
        {"vit_large_patch16_224", "ssf@patch|norm1|qkv|proj|norm2|fc1|fc2|norm", 544768},
        {"vit_huge_patch14_224", "alore@qkv|fc1", 655424},
        {"vit_huge_patch14_224", "lora@qkv", 1310720},
        {"vit_huge_patch14_224", "ssf@patch|norm1|qkv|proj|norm2|fc1|fc2|norm", 906240},
        {"vit_large_patch16_224", "alore@qkv", 196672},
        {"vit_huge_patch14_224", "alore@qkv", 327744},
        {"vit_base_patch16_224", "arc@qkv|fc1", 96432},
        {"vit_large_patch16_224", "arc@qkv|fc1", 153952},
        {"vit_huge_patch14_224", "arc@qkv|fc1", 213120},
        {"vit_base_patch16_224", "repadapter@qkv|fc1", 239808},
        {"vit_large_patch16_224", "repadapter@qkv|fc1", 639360},
        {"vit_huge_patch14_224", "repadapter@qkv|fc1", 1065472},
        {"vit_large_patch16_224", "lora:parts=qv@qkv", 786432},
        {"vit_huge_patch14_224", "lora:parts=qv@qkv", 1310720},
        {"vit_base_patch16_224", "mlae@qkv", 295008},
        {"vit_large_patch16_224", "mlae@qkv", 786624},
        {"vit_huge_patch14_224", "mlae@qkv", 1310976},
        {"vit_base_patch16_224", "fact_tt:rank=16@qkv|proj|fc1|fc2", 61440},
        {"vit_large_patch16_224", "fact_tt:rank=16@qkv|proj|fc1|fc2", 106496},
        {"vit_huge_patch14_224", "fact_tt:rank=16@qkv|proj|fc1|fc2", 139264},
        {"vit_base_patch16_224", "fact_tk:rank=32@qkv|proj|fc1|fc2", 86528},
        {"vit_large_patch16_224", "fact_tk:rank=32@qkv|proj|fc1|fc2", 107520},
        {"vit_huge_patch14_224", "fact_tk:rank=32@qkv|proj|fc1|fc2", 126976},
        {"vit_base_patch16_224", "fact_tk:rank=32,layout=paper@qkv|proj|fc1|fc2", 86528},
        {"vit_base_patch16_224", "mlae:mask=given@qkv", 295008},
        {"vit_base_patch16_224", "mlae:mask=incremental@qkv", 295008},
        {"vit_base_patch16_224", "mlae:mask=decremental@qkv", 295008},
        {"vit_base_patch16_224", "mlae:mask=hourglass@qkv", 295008},
        {"vit_base_patch16_224", "mlae:mask=protruding@qkv", 295008},
        {"vit_base_patch16_224", "mlae:mask=random@qkv", 295008},
        {"vit_base_patch16_224", "mlae:mask=drop_hourglass@qkv", 295008},
        {"vit_base_patch16_224", "kadaptation@qkv", 50176},
        {"vit_base_patch16_224", "glora@qkv|proj|fc1|fc2", 1603776},
        {"vit_large_patch16_224", "glora@qkv|proj|fc1|fc2", 4276608},
        {"vit_huge_patch14_224", "glora@qkv|proj|fc1|fc2", 7127552},
        {"vit_base_patch16_224", "glora:rank=2@qkv|proj|fc1|fc2", 884832},
        {"vit_base_patch16_224", "glora:rank=1@qkv|proj|fc1|fc2", 525360},
        {"vit_base_patch16_224", "dora:parts=qv@qkv", 313344},
        {"vit_large_patch16_224", "dora:parts=qv@qkv", 835584},
        {"vit_huge_patch14_224", "dora:parts=qv@qkv", 1392640},
        {"vit_base_patch16_224", "loha:parts=qv@qkv", 589824},
        {"vit_large_patch16_224", "loha:parts=qv@qkv", 1572864},
        {"vit_huge_patch14_224", "loha:parts=qv@qkv", 2621440},
        {"vit_base_patch16_224", "vera@qkv", 30720},
        {"vit_large_patch16_224", "vera@qkv", 79872},
        {"vit_huge_patch14_224", "vera@qkv", 131072},
        {"vit_base_patch16_224", "ia3:parts=kv@qkv;ia3:place=input@fc2", 55296},
        {"vit_large_patch16_224", "ia3:parts=kv@qkv;ia3:place=input@fc2", 147456},
        {"vit_huge_patch14_224", "ia3:parts=kv@qkv;ia3:place=input@fc2", 245760},
        {"vit_base_patch16_224", "oft@qkv", 142848},
        {"vit_large_patch16_224", "oft@qkv", 380928},
        {"vit_huge_patch14_224", "oft@qkv", 634880},
        {"vit_base_patch16_224", "lokr@qkv", 21504},
        {"vit_base_patch16_224", "adalora@qkv", 442512},
        {"vit_base_patch16_224", "boft@qkv", 64512},
        {"vit_base_patch16_224", "boft:factors=3@qkv", 138240},
        {"vit_base_patch16_224", "sparse:entries=512,bias_entries=9@qkv|fc1", 12504},
        {"vit_base_patch16_224", "kron@qkv|fc1", 3539008},
        {"vit_base_patch16_224", "compacter@attn|mlp", 57088},
        {"vit_base_patch16_224", "phm@attn|mlp", 240256},
        {"vit:dim=768,depth=12,classes=0", "unfreeze@*.bias", 102912},
        {"vit:dim=1024,depth=24,classes=0", "unfreeze@*.bias", 272384},
        {"vit:dim=1280,depth=32,heads=16,classes=0,patch=14", "unfreeze@*.bias", 453120},
        {"vit:dim=768,depth=12,classes=0", "unfreeze@*", 85798656},
        {"vit:dim=192,depth=12,classes=0", "unfreeze@*", 5524416},
        {"vit:dim=1024,depth=24,classes=0", "unfreeze@*", 303301632},
        {"vit:dim=1280,depth=32,heads=16,classes=0,patch=14", "unfreeze@*", 630764800},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
        t_net n;
        alore_vit_config c;
        memset(&n, 0, sizeof n);
        t_begin(&n.ctx, &n.heap);
        alore_vit_parse(&n.ctx, rows[i].backbone, &c, NULL);
        alore_model_create(&n.ctx, &n.model);
        alore_attach(n.model, rows[i].rules);
        alore_id x = alore_input(n.model, "image", ALORE_F32, c.height * c.width, 3);
        alore_output(n.model, "logits", alore_vit(n.model, x, &c));
        bool fine = alore_model_finish(n.model) == ALORE_OK &&
                    alore_plan_create(n.model, NULL, &n.plan) == ALORE_OK;
        if (!fine && SIZE_MAX <= UINT32_MAX && strstr(n.ctx.error.text, "exceeds the address space")) {
            ok(true, "");
            t_net_close(&n);
            continue;
        }
        ok(fine && alore_trainable(n.plan) == rows[i].count, "%s %s: %zu, not %zu (%s)",
           rows[i].backbone, rows[i].rules, fine ? alore_trainable(n.plan) : 0,
           rows[i].count, n.ctx.error.text);
        t_net_close(&n);
    }
}

/* Factored forms: what a method adds to a forward pass of ViT-B, in dense d x d products of a site's rows. What
 * is at the weight runs once a step. */
static void t_plan_cost(void)
{
    static const struct { const char *rule; double most; } rows[] = {
        {"unfreeze@head", 0}, {"alore", 0.05}, {"arc", 0.14}, {"repadapter", 0.02}, {"lora", 0.05}, {"mlae", 0.05},
        {"ssf", 0.01}, {"fact_tt", 0.09}, {"fact_tk", 0.18}, {"kadaptation", 0.3}, {"glora", 0},
        {"sparse:entries=512", 0.01}, {"compacter:act=none", 0.05}, {"dora", 0}, {"adalora", 0.07}, {"ia3", 0.01},
        {"vera:rank=16", 0.1}, {"lokr", 0.06}, {"loha:parts=qv", 0.34}, {"oft", 0.05}, {"oft:terms=0", 0.05},
        {"boft:factors=3", 0}};
    double base = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
        t_net n;
        alore_vit_config c;
        char rule[64];
        memset(&n, 0, sizeof n);
        t_begin(&n.ctx, &n.heap);
        alore_vit_parse(&n.ctx, "vit_base_patch16_224", &c, NULL);
        alore_model_create(&n.ctx, &n.model);
        snprintf(rule, sizeof rule, strchr(rows[i].rule, '@') ? "%s" : "%s@qkv", rows[i].rule);
        alore_attach(n.model, rule);
        alore_id x = alore_input(n.model, "image", ALORE_F32, c.height * c.width, 3);
        alore_output(n.model, "logits", alore_vit(n.model, x, &c));
        const bool fine = alore_model_finish(n.model) == ALORE_OK &&
                          alore_plan_create(n.model, NULL, &n.plan) == ALORE_OK;
        if (ok(fine, "%s: %s", rule, n.ctx.error.text)) {
            if (!i) base = alore_plan_flops(n.plan);
            const double share = (alore_plan_flops(n.plan) - base) / (12.0 * 2 * 197 * 768 * 768);
            ok(share >= 0 && share <= rows[i].most, "%s costs %.3f of a dense product a site", rule, share);
        }
        t_net_close(&n);
    }
}

/* ---- ViT configurations ----------------------------------------------------- */

static void t_vit_text(void)
{
    static const struct {
        const char *in, *out; /* out NULL: refused, and `name` is named */
        const char *name;
    } rows[] = {
        {"vit_base_patch16_224",
         "vit:img=224x224,patch=16,dim=768,depth=12,heads=12,hidden=3072,classes=1000", ""},
        {"vit_base_patch16_224.augreg_in21k",
         "vit:img=224x224,patch=16,dim=768,depth=12,heads=12,hidden=3072,classes=1000", ""},
        {"vit:dim=128,depth=2,classes=3,img=32,patch=8",
         "vit:img=32x32,patch=8,dim=128,depth=2,heads=2,hidden=512,classes=3", ""},
        {"vit:img=32x48,patch=8,dim=48,depth=3,heads=3,hidden=192,classes=7,pool=avg,"
         "pre_norm=1,registers=4,layer_scale=1,swiglu=1,act=quick_gelu,eps=1e-05",
         "vit:img=32x48,patch=8,dim=48,depth=3,heads=3,hidden=192,classes=7,pool=avg,"
         "pre_norm=1,registers=4,layer_scale=1,swiglu=1,act=quick_gelu,eps=1e-05", ""},
        {"vit:dim=64,depth=1,classes=0,img=16,patch=8",
         "vit:img=16x16,patch=8,dim=64,depth=1,heads=1,hidden=256,classes=0", ""},
        {"vit:depth=2", NULL, "dim"},
        {"vit:dim=64", NULL, "depth"},
        {"vit:dim=48,depth=2", NULL, "heads"},
        {"vit:dim=48,depth=2,heads=5", NULL, "heads=5"},
        {"vit:dim=64,depth=2,patch=9", NULL, "patch=9"},
        {"vit:dim=64,depth=2,colour=red", NULL, "colour"},
        {"vit:dim=64,depth=2,pool=max", NULL, "pool=max"},
        {"vit:dim=64,dim=32,depth=2", NULL, "dim is given twice"},
        {"vit:dim=64,depth=x", NULL, "depth=x"},
        {"vit:dim=64,depth=2,", NULL, "comma"},
        {"vit:dim=0,depth=2", NULL, "dim=0"},
        {"resnet50", NULL, "resnet50"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
        alore_ctx ctx;
        t_heap heap;
        alore_vit_config c;
        char text[256] = "";
        t_begin(&ctx, &heap);
        alore_status s = alore_vit_parse(&ctx, rows[i].in, &c, NULL);
        if (s == ALORE_OK) alore_vit_text(&c, text, sizeof text);
        if (rows[i].out)
            ok(s == ALORE_OK && !strcmp(text, rows[i].out), "%s: %s%s", rows[i].in, text,
               ctx.error.text);
        else
            ok(s != ALORE_OK && strstr(ctx.error.text, rows[i].name), "%s: %s", rows[i].in,
               ctx.error.text);
        t_end(&ctx, &heap);
    }
}

/* ---- The planner ------------------------------------------------------------ */

/* Gradients, logits and losses of a run into `out`; how many. */
static size_t t_outcome_of(alore_run *run, double *out, size_t room)
{
    const alore_plan *p = run->plan;
    size_t count = 0, used = 0, batch = (size_t)p->opts.batch;
    const void *g = alore_grads(run, &count);
    const void *logits = alore_run_output(run, "logits");
    const void *loss = alore_run_output(run, "loss");
    ok(count + 6 * batch <= room, "room for %zu", count);
    for (size_t i = 0; i < count; ++i) out[used++] = t_value(p, g, i);
    for (size_t i = 0; i < 5 * batch && logits; ++i) out[used++] = t_value(p, logits, i);
    for (size_t i = 0; i < batch; ++i) out[used++] = t_value(p, loss, i);
    return used;
}

/* The same of a ViT under plan options. */
static size_t t_outcome(const char *spec, const char *rules, alore_plan_opts o,
                        float drop_path, double *out, size_t room)
{
    t_net n;
    size_t used = 0;
    o.train = true;
    if (t_net_open(&n, spec, rules, &o, drop_path)) {
        ok(alore_backward(n.run, 0) == ALORE_OK, "backward: %s", n.ctx.error.text);
        used = t_outcome_of(n.run, out, room);
    }
    t_net_close(&n);
    return used;
}

/* Two outcomes: the same bits, or (exact false) within 1e-11 of the largest. */
/* The same numbers from other plans are the same bits; a BLAS sums by shape and address: some roundings apart. */
#ifdef ALORE_BLAS
#define T_BLAS_EPS (20 * EPS)
#else
#define T_BLAS_EPS 0.0
#endif

static void t_agree(const double *want, const double *have, size_t n, bool exact,
                      const char *what)
{
    double worst = 0, largest = 0;
    for (size_t i = 0; i < n; ++i) {
        largest = fmax(largest, fabs(want[i]));
        worst = fabs(want[i] - have[i]) <= worst ? worst : fabs(want[i] - have[i]);
    }
    ok(n > 0 && worst <= (exact ? T_BLAS_EPS : 1e-11) * largest, "%s: off by %g of %g", what, worst, largest);
}

static const char *const t_some_rules[] = {
    "alore:rank=2,experts=4@qkv|fc1;unfreeze@head",
    "lora:rank=3,parts=qv@qkv;ssf@*;unfreeze@head",
    "unfreeze@*",
    "alore:dropout=0.3,rank=2,experts=2,place=output@proj|fc2;lora:dropout=0.2@qkv#1-2",
    "unfreeze@blocks.1.*",
    "mlae:experts=3,dropout=0.4@qkv;oft:block=4@fc1;sparse:entries=20@proj;glora:rank=2@head",
    "lora:rank=2@fc2;boft:block=4@proj;dora:rank=2@qkv;sparse:entries=9,bias_entries=2@qkv",
};

/* Every optimisation of the planner on and off, every policy: the same bits. Fusing
 * changes where a sum is rounded, so with and without it double must agree. */
static void t_plan_options(void)
{
    static const char *const specs[] = {
        "vit:img=16x16,patch=8,dim=24,depth=3,heads=3,hidden=40,classes=5",
        "vit:img=16x8,patch=8,dim=24,depth=2,heads=2,hidden=32,classes=5,pool=avg,"
        "registers=2,layer_scale=1,swiglu=1",
    };
    static const unsigned offs[] = {0, 1, 2,  3,  4,  5,  6,  7,  8,  9,  10, 11,
                                    12, 13, 14, 15, 16, 17, 32, 33, 48, 62, 63};
    enum { ROOM = 40000 };
    double *want[2], *have = (double *)calloc(ROOM, sizeof *have);
    for (int k = 0; k < 2; ++k) want[k] = (double *)calloc(ROOM, sizeof *have);
    for (size_t s = 0; s < 2; ++s)
        for (size_t r = 0; r < sizeof t_some_rules / sizeof *t_some_rules; ++r) {
            alore_plan_opts o = ALORE_ZERO;
            size_t n = 0;
            if (s == 1 && strstr(t_some_rules[r], "#1-2")) continue;
            o.batch = 3;
            for (unsigned k = 0; k < 4; ++k) { /* double last, then f32 as the measure */
                o.off = k % 2;
                o.dtype = k < 2 ? ALORE_F64 : ALORE_F32;
                n = t_outcome(specs[s], t_some_rules[r], o, 0.2f, want[k % 2], ROOM);
                if (k == 1) t_agree(want[0], want[1], n, false, t_some_rules[r]);
            }
            for (size_t i = 0; i < sizeof offs / sizeof *offs; ++i)
                for (int policy = 0; policy < 2; ++policy) {
                    char what[300];
                    const unsigned off = offs[i];
                    if (off > 1 && policy && off < 15) continue;
                    o.off = off;
                    o.recompute = (alore_recompute)policy;
                    o.lanes = (int)(off % 3) + 1;
                    snprintf(what, sizeof what, "%s off %u policy %d", t_some_rules[r], off,
                             policy);
                    size_t now = t_outcome(specs[s], t_some_rules[r], o, 0.2f, have, ROOM);
                    ok(now == n, "%s: %zu of %zu numbers", what, now, n);
                    t_agree(want[off % 2], have, n, true, what);
                }
        }
    free(want[0]);
    free(want[1]);
    free(have);
}

/* A random network of every word that keeps a gradient; base tensors learn. */
static alore_id t_random_word(alore_model *m, uint64_t seed, uint64_t *k, alore_id *pool,
                              int count)
{
    uint32_t op = alore_random_u32(seed, 1, (*k)++) % 15;
    alore_id a = pool[alore_random_u32(seed, 1, (*k)++) % (uint32_t)count];
    alore_id b = pool[alore_random_u32(seed, 1, (*k)++) % (uint32_t)count];
    char name[32];
    alore_linear_opts linear = ALORE_ZERO;
    alore_attention_opts attn = ALORE_ZERO;
    snprintf(name, sizeof name, "p%u", (unsigned)*k);
    attn.heads = 2;
    switch (op) {
    case 0:
    case 1: return alore_add(m, a, b);
    case 2: return alore_mul(m, a, b);
    case 3: return alore_unary(m, (alore_unary_kind)(*k % 7), a);
    case 4: return alore_linear(m, name, a, 8, &linear);
    case 5: return alore_norm(m, name, ALORE_KIND_NONE, a, 1e-6f);
    case 6: return alore_attention(m, a, b, pool[0], &attn);
    case 7: {
        alore_id w = alore_linear(m, name, a, 24, &linear);
        return alore_attention(m, alore_columns(m, w, 0, 8), alore_columns(m, w, 16, 8),
                               alore_columns(m, w, 4, 8), &attn);
    }
    case 8: return alore_add_columns(m, a, alore_columns(m, b, 2, 3), 4);
    case 9: return alore_dropout(m, a, 0.3f);
    case 10: {
        static const int32_t rows[6] = {3, 0, -1, 2, 2, 5};
        return alore_gather(m, a, rows, 6, 1);
    }
    case 11: {
        static const int32_t columns[8] = {3, 0, 7, 1, 1, 2, 5, 4};
        return alore_pick(m, a, columns, 8);
    }
    case 12: {
        alore_id w = alore_base(m, name, alore_dims(4, 8, 0, 0)); /* two blocks, small beside 1 */
        return alore_matmul_groups(m, a, alore_inverse(m, alore_scale(m, w, 0.3f)), 2);
    }
    case 13: {
        alore_id w = alore_base(m, name, alore_dims(8, 8, 0, 0));
        alore_id by = alore_over_lengths(m, alore_reshape(m, alore_scale(m, alore_columns(m, w, 3, 1), 2.0f), 8, 1), w);
        return alore_matmul_t(m, a, false, alore_mul(m, w, by), true);
    }
    default:
        return alore_reshape(m, alore_scale(m, alore_reshape(m, a, 12, 4), 0.7f), 6, 8);
    }
}

static size_t t_random_outcome(uint64_t seed, alore_plan_opts o, double *out, size_t room)
{
    t_net n;
    alore_id pool[32];
    int count = 1;
    uint64_t k = 0;
    size_t used = 0;
    memset(&n, 0, sizeof n);
    t_begin(&n.ctx, &n.heap);
    alore_model_create(&n.ctx, &n.model);
    alore_attach(n.model, "unfreeze@*");
    pool[0] = alore_input(n.model, "image", ALORE_F32, 6, 8);
    alore_id target = alore_input(n.model, "target", ALORE_F32, seed % 7 == 6 ? 6 : 1, 8);
    pool[0] = alore_add(n.model, pool[0],
                        alore_base(n.model, "pos", alore_dims(6, 8, 0, 0)));
    for (int b = 0; b < 3; ++b) {
        alore_push(n.model, "blocks", b);
        for (int i = 0; i < 6; ++i) {
            pool[count] = t_random_word(n.model, seed, &k, pool, count);
            ++count;
        }
        alore_pop(n.model);
    }
    alore_id y = pool[count - 1];
    for (int i = count - 2; i > count - 5; --i) y = alore_add(n.model, y, pool[i]);
    for (int32_t i = (int32_t)(seed % 7); i < 6; i = 6) /* but for each seventh, one row of it */
        y = alore_gather(n.model, y, &i, 1, 1);
    alore_output(n.model, "loss", alore_loss_mse(n.model, y, target));
    o.train = true;
    bool fine = ok(alore_model_finish(n.model) == ALORE_OK, "seed %u: %s", (unsigned)seed,
                   n.ctx.error.text) &&
                ok(alore_plan_create(n.model, &o, &n.plan) == ALORE_OK, "seed %u: %s",
                   (unsigned)seed, n.ctx.error.text);
    if (fine) {
        n.base = t_base(&n.ctx, n.model, seed);
        fine = ok(alore_run_create(n.plan, n.base, &n.run) == ALORE_OK, "%s",
                  n.ctx.error.text);
    }
    if (fine) {
        n.run->poison = true;
        t_fill(n.run, 1, seed);
        ok(alore_backward(n.run, 0) == ALORE_OK, "seed %u: %s", (unsigned)seed,
           n.ctx.error.text);
        used = t_outcome_of(n.run, out, room);
    }
    t_net_close(&n);
    return used;
}

/* Random graphs: the same gradients with every optimisation on and off. In f32, what is
 * fused and which rows are made decides in which order sums are rounded. */
static void t_plan_random(void)
{
    enum { ROOM = 8000 };
    double *want[4], *have = (double *)calloc(ROOM, sizeof *have);
    for (int k = 0; k < 4; ++k) want[k] = (double *)calloc(ROOM, sizeof *have);
    for (uint64_t seed = 1; seed <= 60; ++seed) {
        alore_plan_opts o = ALORE_ZERO;
        size_t n = 0;
        char what[64];
        o.batch = 2;
        for (unsigned k = 0; k < 8; ++k) { /* double last, then f32 as the measure */
            o.off = (k & 1 ? 31u : 0u) | (k & 2 ? 32u : 0u);
            o.dtype = k < 4 ? ALORE_F64 : ALORE_F32;
            n = t_random_outcome(seed, o, want[k % 4], ROOM);
            snprintf(what, sizeof what, "seed %u in double", (unsigned)seed);
            if (k < 4) t_agree(want[0], want[k], n, false, what);
        }
        for (unsigned mode = 0; mode < 14; ++mode) {
            static const unsigned offs[] = {0, 16, 1, 32, 2, 4, 8, 13, 11, 16, 17, 32, 49, 62};
            o.off = offs[mode];
            o.recompute = mode < 4 ? ALORE_BLOCKS : ALORE_KEEP;
            snprintf(what, sizeof what, "seed %u mode %u", (unsigned)seed, mode);
            size_t now = t_random_outcome(seed, o, have, ROOM);
            ok(now == n, "%s: %zu of %zu", what, now, n);
            t_agree(want[(o.off & 1) | (o.off & 32) / 16], have, n, true, what);
        }
    }
    for (int k = 0; k < 4; ++k) free(want[k]);
    free(have);
}

/* A block of every word that acts on rows alone, and a head that reads `head` of nine. */
static size_t t_demand_outcome(int head, alore_plan_opts o, double *out, size_t room, double *flops)
{
    static const int32_t rows[] = {0, 1, 5, 6, -1, 4};
    const alore_linear_opts qkv = {ALORE_KIND_QKV, 0, false, NULL}, groups = {ALORE_KIND_FC1, 2, false, NULL};
    const alore_attention_opts attn = {2, 0, 0, NULL};
    t_net n;
    alore_id x, y, q, k, v;
    size_t used = 0;
    memset(&n, 0, sizeof n);
    t_begin(&n.ctx, &n.heap);
    alore_model *m = NULL;
    alore_model_create(&n.ctx, &n.model);
    m = n.model;
    alore_attach(m, "alore:dropout=0.3,rank=2,experts=2@qkv|fc1;lora:rank=2,dropout=0.2,parts=qk@qkv;"
                    "ssf@*;unfreeze@*");
    x = alore_input(m, "image", ALORE_F32, 9, 8);
    x = alore_dropout(m, alore_add(m, x, alore_base(m, "pos", alore_dims(9, 8, 0, 0))), 0.2f);
    for (int b = 0; b < 2; ++b) {
        alore_push(m, "blocks", b);
        y = alore_norm(m, "norm1", ALORE_KIND_NORM1, x, 1e-6f);
        y = alore_linear(m, "qkv", y, 24, &qkv);
        q = alore_columns(m, y, 0, 8);
        k = alore_columns(m, y, 8, 8);
        v = alore_columns(m, y, 16, 8);
        x = alore_add(m, x, alore_drop_path(m, alore_attention(m, q, k, v, &attn), 0.3f));
        y = alore_unary(m, ALORE_GELU, alore_linear(m, "fc1", x, 16, &groups));
        y = alore_mul(m, alore_columns(m, y, 8, 8), alore_columns(m, y, 0, 8));
        y = alore_add_columns(m, x, alore_columns(m, alore_dropout(m, y, 0.4f), 2, 3), 4);
        x = alore_add(m, y, alore_scale(m, alore_base(m, "tail", alore_dims(9, 8, 0, 0)), 0.5f));
        alore_pop(m);
    }
    y = head < 3 ? alore_gather(m, x, rows + (head == 2 ? 2 : 0), 1, 1) : 0;
    if (head == 1) y = alore_add(m, y, alore_gather(m, x, rows + 1, 1, 1)); /* a distilled token */
    if (head == 3) y = alore_gather(m, x, rows + 2, 2, 2);
    if (head == 4) y = alore_mean_rows(m, x, 3, 4);
    if (head == 5) y = alore_mean_rows(m, x, 1, 8);
    if (head == 6) {
        y = alore_norm(m, "n", ALORE_KIND_NORM, x, 0); /* itself of row 5 alone */
        y = alore_add(m, alore_gather(m, x, rows, 1, 1), alore_gather(m, y, rows + 2, 1, 1));
    }
    if (head == 7) y = alore_gather(m, alore_reshape(m, x, 18, 4), rows, 1, 1);
    if (head == 8) y = alore_gather(m, x, rows + 4, 1, 1); /* zeros alone */
    y = alore_linear(m, "head", y, 5, NULL);
    alore_output(m, "logits", head == 3 ? alore_mean_rows(m, y, 0, 2) : y);
    alore_id label = alore_input(m, "label", ALORE_I32, head == 3 ? 2 : 1, 1);
    alore_output(m, "loss", alore_loss_xent(m, y, label, 0.1f));
    o.train = true;
    o.batch = 3;
    bool fine = ok(alore_model_finish(m) == ALORE_OK && alore_plan_create(m, &o, &n.plan) == ALORE_OK,
                   "head %d: %s", head, n.ctx.error.text);
    if (fine) {
        *flops = alore_plan_flops(n.plan);
        n.base = t_base(&n.ctx, m, 3);
        fine = ok(alore_run_create(n.plan, n.base, &n.run) == ALORE_OK, "%s", n.ctx.error.text);
    }
    if (fine) {
        n.run->poison = true;
        t_fill(n.run, 5, 4);
        t_shake(n.run, 6);
        ok(alore_backward(n.run, 0) == ALORE_OK, "head %d: %s", head, n.ctx.error.text);
        used = t_outcome_of(n.run, out, room);
    }
    t_net_close(&n);
    return used;
}

/* Rows that no head asks for are not made, and nothing else changes: what they would add
 * to a gradient is zero. Where a head reads most rows, all are made. */
static void t_plan_demand(void)
{
    enum { ROOM = 8000 };
    double *want = (double *)calloc(ROOM, sizeof *want), *have = (double *)calloc(ROOM, sizeof *have);
    for (int head = 0; head < 9; ++head)
        for (unsigned i = 0; i < 8; ++i) {
            alore_plan_opts o = ALORE_ZERO;
            double all = 0, less = 0;
            char what[64];
            o.recompute = i & 1 ? ALORE_BLOCKS : ALORE_KEEP;
            o.dtype = i & 2 ? ALORE_F64 : ALORE_F32;
            o.off = (i & 4 ? ALORE_NO_FUSE | ALORE_NO_AGAIN : 0) | ALORE_NO_DEMAND;
            size_t n = t_demand_outcome(head, o, want, ROOM, &all);
            o.off ^= ALORE_NO_DEMAND;
            snprintf(what, sizeof what, "head %d, form %u", head, i);
            ok(t_demand_outcome(head, o, have, ROOM, &less) == n, "%s", what);
            t_agree(want, have, n, true, what);
            ok(head == 5 || head > 6 ? less == all : less < all, "%s: %g of %g", what, less, all);
        }
    free(want);
    free(have);
}

/* Several samples as one matrix give the same forward bits, gradients up to the order
 * of their sums: 40 eps of the largest. */
static void t_plan_span(void)
{
    enum { ROOM = 40000 };
    double *a = (double *)calloc(ROOM, sizeof *a), *b = (double *)calloc(ROOM, sizeof *b);
    for (size_t r = 0; r < 3; ++r) {
        alore_plan_opts o = ALORE_ZERO;
        double largest = 0, worst = 0;
        o.batch = 4;
        size_t n = t_outcome(t_micro, t_some_rules[r], o, 0, a, ROOM);
        o.span = 4;
        o.reference = true;
        size_t n2 = t_outcome(t_micro, t_some_rules[r], o, 0, b, ROOM);
        ok(n == n2, "%zu and %zu numbers", n, n2);
        for (size_t i = 0; i < n; ++i) {
            largest = fmax(largest, fabs(a[i]));
            worst = t_worse(worst, fabs(a[i] - b[i]));
        }
        ok(worst <= 40 * EPS * largest, "%s: %g of %g", t_some_rules[r], worst, largest);
    }
    free(a);
    free(b);
}

/* How many records of a plan are of that kernel. */
static int t_records(const alore_plan *p, int code)
{
    int count = 0;
    for (int i = 0; i < p->op_count; ++i) count += p->ops[i].code == code;
    return count;
}

/* Relative distance of b from a, of n numbers, as vectors. */
static double t_distance(const double *a, const double *b, size_t n)
{
    double apart = 0, size = 1e-60;
    for (size_t i = 0; i < n; ++i) {
        apart += (a[i] - b[i]) * (a[i] - b[i]);
        size += a[i] * a[i];
    }
    return sqrt(apart / size);
}

/* What waits for the backward in fewer bytes: the forward keeps its bits, gradients are off by what
 * rounding explains (2^-9 a number, 0.0025 a slope, 10 times that through three blocks), whatever is
 * shared or split leaves the bits alone, and the arena shrinks. */
static void t_plan_store(void)
{
    enum { ROOM = 40000 };
    double *want = (double *)calloc(ROOM, sizeof *want), *have = (double *)calloc(ROOM, sizeof *have);
    double *same = (double *)calloc(ROOM, sizeof *same);
    for (size_t r = 0; r < sizeof t_some_rules / sizeof *t_some_rules; ++r)
        for (int form = 0; form < 12; ++form) {
            static const unsigned offs[] = {2, 4, 8, 14};
            alore_plan_opts o = ALORE_ZERO;
            char what[200];
            snprintf(what, sizeof what, "%s, form %d", t_some_rules[r], form);
            o.batch = 3;
            o.recompute = form / 3 & 1 ? ALORE_BLOCKS : ALORE_KEEP;
            o.dtype = form < 6 ? ALORE_F32 : ALORE_F64;
            const size_t n = t_outcome(t_micro, t_some_rules[r], o, 0.2f, want, ROOM);
            const size_t out = 6 * (size_t)o.batch;
            o.store = form % 3 == 1 ? ALORE_F32 : ALORE_BF16;
            o.slope8 = form % 3 > 0;
            ok(t_outcome(t_micro, t_some_rules[r], o, 0.2f, have, ROOM) == n, "%s", what);
            t_agree(want + n - out, have + n - out, out, true, what);
            const double e = t_distance(want, have, n - out);
            ok(e < (o.slope8 ? 0.025 : 0.02) && (e > 0 || o.slope8), "%s: gradients off by %g", what, e);
            for (size_t i = 0; i < sizeof offs / sizeof *offs && form < 6; ++i) {
                o.off = offs[i];
                o.lanes = (int)i;
                ok(t_outcome(t_micro, t_some_rules[r], o, 0.2f, same, ROOM) == n, "%s", what);
                t_agree(have, same, n, true, what);
            }
        }
    for (uint64_t seed = 1; seed <= 30; ++seed)
        for (int form = 0; form < 6; ++form) {
            alore_plan_opts o = ALORE_ZERO;
            char what[64];
            snprintf(what, sizeof what, "seed %u, form %d", (unsigned)seed, form);
            o.batch = 2;
            o.store = form & 1 ? ALORE_BF16 : ALORE_F32;
            o.slope8 = form > 1;
            o.recompute = form > 3 ? ALORE_BLOCKS : ALORE_KEEP;
            const size_t n = t_random_outcome(seed, o, want, ROOM);
            o.off = 2 + 4 + 8;
            ok(t_random_outcome(seed, o, have, ROOM) == n, "%s", what);
            t_agree(want, have, n, true, what);
        }
    free(want);
    free(have);
    free(same);
    alore_plan_opts o = ALORE_ZERO;
    t_net n;
    o.store = ALORE_F16;
    memset(&n, 0, sizeof n);
    t_begin(&n.ctx, &n.heap);
    t_vit(&n.ctx, t_micro, "unfreeze@head", 0, &n.model);
    ok(alore_plan_create(n.model, &o, &n.plan) == ALORE_ERR_ARGUMENT && strstr(n.ctx.error.text, "F16"), "%s",
       n.ctx.error.text);
    t_net_close(&n);
}

/* Slopes of relu are 0 or 1: in bytes they give the same bits. */
static void t_plan_store_relu(void)
{
    float *grads[2] = {NULL, NULL};
    size_t count = 0, arena[2];
    for (int form = 0; form < 2; ++form) {
        t_net n;
        alore_plan_opts o = ALORE_ZERO;
        memset(&n, 0, sizeof n);
        t_begin(&n.ctx, &n.heap);
        alore_model_create(&n.ctx, &n.model);
        alore_attach(n.model, "unfreeze@first.*");
        alore_id x = alore_input(n.model, "image", ALORE_F32, 30, 8);
        x = alore_linear(n.model, "first", x, 24, NULL);
        for (int i = 0; i < 4; ++i) {
            alore_push(n.model, "blocks", i);
            x = alore_unary(n.model, ALORE_RELU, alore_linear(n.model, "fc1", x, 48, NULL));
            x = alore_linear(n.model, "fc2", x, 24, NULL);
            alore_pop(n.model);
        }
        alore_output(n.model, "loss", alore_loss_mse(n.model, alore_mean_rows(n.model, x, 0, 30),
                                                     alore_input(n.model, "target", ALORE_F32, 1, 24)));
        o.train = true;
        o.batch = 2;
        o.slope8 = form;
        if (ok(alore_model_finish(n.model) == ALORE_OK && alore_plan_create(n.model, &o, &n.plan) == ALORE_OK,
               "%s", n.ctx.error.text)) {
            n.base = t_base(&n.ctx, n.model, 3);
            ok(alore_run_create(n.plan, n.base, &n.run) == ALORE_OK, "%s", n.ctx.error.text);
            t_fill(n.run, 5, 4);
            ok(alore_backward(n.run, 0) == ALORE_OK, "%s", n.ctx.error.text);
            const float *g = alore_grads(n.run, &count);
            grads[form] = (float *)malloc(count * sizeof *g);
            memcpy(grads[form], g, count * sizeof *g);
            ok(t_records(n.plan, ALO_K_narrow) == 4 * form, "%d slopes", t_records(n.plan, ALO_K_narrow));
            arena[form] = alore_plan_memory(n.plan).arena;
        }
        t_net_close(&n);
    }
    if (ok(grads[0] && grads[1] && count, "gradients")) {
        t_same(grads[0], grads[1], count * sizeof(float), "relu");
        ok(arena[1] < arena[0], "%zu of %zu bytes", arena[1], arena[0]);
    }
    free(grads[0]);
    free(grads[1]);
}

/* The memory of ViT-B/16, one image, f32, ALoRE at both sites of every block. */
static void t_plan_memory(void)
{
    static const struct {
        alore_recompute policy;
        unsigned off;
        size_t most;
        double flops;
        int store; /* 1: bf16, 2: and slopes in bytes */
    } rows[] = {{ALORE_KEEP, 0, (size_t)65 << 20, 68.3e9, 0},
                {ALORE_KEEP, ALORE_NO_DEMAND, (size_t)68 << 20, 72.9e9, 0},
                {ALORE_KEEP, ALORE_NO_AGAIN, (size_t)78 << 20, 68.3e9, 0},
                {ALORE_BLOCKS, 0, 15950000, 90.3e9, 0},
                {ALORE_KEEP, 0, (size_t)36 << 20, 68.4e9, 1},
                {ALORE_KEEP, 0, (size_t)29 << 20, 68.4e9, 2},
                {ALORE_BLOCKS, 0, 12950000, 90.3e9, 2}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
        t_net n;
        alore_plan_opts o = ALORE_ZERO;
        memset(&n, 0, sizeof n);
        t_begin(&n.ctx, &n.heap);
        o.train = true;
        o.recompute = rows[i].policy;
        o.off = rows[i].off;
        o.store = rows[i].store ? ALORE_BF16 : ALORE_F32;
        o.slope8 = rows[i].store > 1;
        ok(t_vit(&n.ctx, "vit_base_patch16_224", "alore@qkv|fc1;unfreeze@head", 0,
                 &n.model) == ALORE_OK && alore_plan_create(n.model, &o, &n.plan) == ALORE_OK,
           "plan: %s", n.ctx.error.text);
        alore_memory mem = alore_plan_memory(n.plan);
        ok(mem.arena <= rows[i].most, "arena %zu of %zu", mem.arena, rows[i].most);
        ok(mem.arena >= mem.live_bound && (double)mem.arena < 1.03 * (double)mem.live_bound,
           "arena %zu, live bound %zu", mem.arena, mem.live_bound);
        ok((double)mem.arena > 0.97 * (double)rows[i].most && alore_plan_flops(n.plan) > 0.98 * rows[i].flops,
           "row %zu is better now: arena %zu, %g flops", i, mem.arena, alore_plan_flops(n.plan));
        ok(alore_plan_flops(n.plan) <= rows[i].flops, "%g flops", alore_plan_flops(n.plan));
        ok(n.heap.peak < (size_t)8 << 20, "planning took %zu bytes", n.heap.peak);
        t_net_close(&n);
    }
}

/* TO_FIT takes the least recomputation, and says both numbers where nothing fits. */
static void t_plan_to_fit(void)
{
    t_net n;
    alore_plan_opts o = ALORE_ZERO;
    size_t keep, blocks;
    alore_plan *p = NULL;
    memset(&n, 0, sizeof n);
    t_begin(&n.ctx, &n.heap);
    o.train = true;
    t_vit(&n.ctx, "vit:img=32,patch=4,dim=64,depth=6,classes=5", "alore@qkv|fc1", 0, &n.model);
    alore_plan_create(n.model, &o, &p);
    keep = alore_plan_memory(p).total;
    o.recompute = ALORE_BLOCKS;
    alore_plan_create(n.model, &o, &p);
    blocks = alore_plan_memory(p).total;
    o.recompute = ALORE_TO_FIT;
    for (size_t limit = blocks; limit <= keep; limit += (keep - blocks) / 4) {
        o.limit = limit;
        ok(alore_plan_create(n.model, &o, &p) == ALORE_OK &&
               alore_plan_memory(p).total <= limit, "limit %zu", limit);
    }
    ok(alore_plan_memory(p).total == keep, "recomputes though all fits");
    o.limit = blocks / 2;
    char number[32];
    snprintf(number, sizeof number, "%zu", o.limit);
    ok(alore_plan_create(n.model, &o, &p) == ALORE_ERR_CAPACITY && p == NULL &&
           strstr(n.ctx.error.text, number), "%s", n.ctx.error.text);
    t_net_close(&n);
}

/* A limit takes what is soonest done: one lane in two parts before a sixth more work, and two lanes that run
 * some blocks again before one that runs them all again. Lanes are as given where `split` is. */
static void t_plan_limit(void)
{
    static const struct {
        alore_recompute recompute;
        int split;
        size_t limit;
        int want_lanes, want_split;
        double flops; /* at most; 0: refused */
    } rows[] = {{ALORE_TO_FIT, 0, 0, 2, 1, 68.3e9},        {ALORE_TO_FIT, 0, 160000000, 2, 1, 68.3e9},
                {ALORE_TO_FIT, 0, 94000000, 1, 2, 68.3e9}, {ALORE_TO_FIT, 1, 94000000, 2, 1, 80.5e9},
                {ALORE_TO_FIT, 0, 80000000, 1, 2, 72.3e9},   {ALORE_TO_FIT, 0, 54000000, 2, 1, 88.5e9},
                {ALORE_TO_FIT, 0, 36000000, 1, 1, 95e9},   {ALORE_TO_FIT, 0, 30000000, 0, 0, 0},
                {ALORE_KEEP, 0, 94000000, 1, 2, 68.3e9},   {ALORE_KEEP, 0, 80000000, 0, 0, 0},
                {ALORE_KEEP, 1, 94000000, 0, 0, 0}};
    t_net n;
    memset(&n, 0, sizeof n);
    t_begin(&n.ctx, &n.heap);
    ok(t_vit(&n.ctx, "vit:img=224,dim=768,depth=12,classes=100", "alore:rank=4@qkv|fc1;unfreeze@head", 0, &n.model) ==
           ALORE_OK, "%s", n.ctx.error.text);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
        alore_plan_opts o = ALORE_ZERO;
        alore_plan *p = NULL;
        o.train = true;
        o.batch = 16;
        o.lanes = 2;
        o.split = rows[i].split;
        o.recompute = rows[i].recompute;
        o.limit = rows[i].limit;
        const alore_status s = alore_plan_create(n.model, &o, &p);
        if (!rows[i].want_lanes) ok(s == ALORE_ERR_CAPACITY && !p, "row %zu is taken", i);
        if (!rows[i].want_lanes || !ok(s == ALORE_OK, "row %zu: %s", i, n.ctx.error.text)) continue;
        const alore_plan_opts have = alore_plan_options(p);
        ok(have.lanes == rows[i].want_lanes && have.split == rows[i].want_split &&
               alore_plan_flops(p) <= rows[i].flops && (!o.limit || alore_plan_memory(p).total <= o.limit),
           "row %zu: %d lanes, split %d, %g FLOPs, %zu bytes", i, have.lanes, have.split, alore_plan_flops(p),
           alore_plan_memory(p).total);
        alore_plan_destroy(p);
    }
    t_net_close(&n);
}

/* What runs again is the same record: with the reference kernels, too, whose products round
 * otherwise where an activation is fused in, recomputing changes no bit. */
static void t_plan_again(void)
{
    enum { ROOM = 40000 };
    double *want = (double *)calloc(ROOM, sizeof *want), *have = (double *)calloc(ROOM, sizeof *have);
    for (size_t r = 0; r < 3; ++r)
        for (int form = 0; form < 3; ++form) {
            alore_plan_opts o = ALORE_ZERO;
            o.reference = true;
            o.batch = 2;
            o.recompute = form == 1 ? ALORE_BLOCKS : ALORE_KEEP;
            o.off = form == 2 ? ALORE_NO_AGAIN : 0;
            size_t n = t_outcome(t_micro, t_some_rules[r], o, 0.2f, form ? have : want, ROOM);
            if (form) t_agree(want, have, n, true, t_some_rules[r]);
        }
    free(want);
    free(have);
}

/* A product keeps the slope of its activation, and the product of its gradient takes it
 * in; where the backward reads the activation, too, both stay as they are. The forward of
 * a recomputed block keeps none. */
static void t_plan_fused(void)
{
    static const struct {
        const char *spec, *rules;
        int unary, slopes; /* of KEEP: records of the forward, products with z */
    } rows[] = {
        {NULL, "alore@qkv|fc1;unfreeze@head", 0, 3},
        {NULL, "unfreeze@fc1", 0, 3},
        {NULL, "alore@qkv#2", 0, 1},
        {NULL, "unfreeze@fc2#0", 0, 2},
        {NULL, "alore@fc2", 2, 0},
        {NULL, "unfreeze@*", 3, 0},
        {"vit:img=16x8,patch=8,dim=24,depth=2,heads=2,hidden=32,classes=5,swiglu=1",
         "unfreeze@qkv", 2, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i)
        for (int policy = 0; policy < 2; ++policy) {
            t_net n;
            alore_plan_opts o = ALORE_ZERO;
            o.train = true;
            o.recompute = (alore_recompute)policy;
            if (t_net_open(&n, rows[i].spec ? rows[i].spec : t_micro, rows[i].rules, &o, 0)) {
                int slopes = 0, factors = 0, unary = 0;
                for (int k = 0; k < n.plan->op_count; ++k) {
                    const alo_op *op = &n.plan->ops[k];
                    slopes += op->code == ALO_K_matmul && op->out[1];
                    factors += op->code == ALO_K_matmul_da && op->in[2];
                    unary += op->code == ALO_K_unary && k < n.plan->forward;
                }
                ok(unary == rows[i].unary && slopes == rows[i].slopes && factors == slopes,
                   "%s, policy %d: %d activations, %d slopes, %d factors", rows[i].rules, policy,
                   unary, slopes, factors);
                ok(!slopes || !t_records(n.plan, ALO_K_unary_dx), "%s: unary_dx is there",
                   rows[i].rules);
            }
            t_net_close(&n);
        }
}

/* Outputs, loss and gradients of a small net of double numbers, with views where the planner takes things
 * together: a column of a product that is added everywhere; masks on views, of which views are taken. */
static size_t t_views_outcome(int net, float p, alore_plan_opts o, double *out)
{
    t_net n;
    size_t used = 0, count = 0;
    memset(&n, 0, sizeof n);
    t_begin(&n.ctx, &n.heap);
    alore_model_create(&n.ctx, &n.model);
    alore_model *m = n.model;
    alore_attach(m, "unfreeze@*");
    alore_id x = alore_input(m, "image", ALORE_F32, 6, 8);
    alore_id y = alore_linear(m, "a", x, 24, NULL), z = alore_columns(m, y, 8, 8);
    if (net == 0) y = alore_add(m, x, alore_columns(m, alore_linear(m, "b", y, 8, NULL), 3, 1));
    if (net == 1) z = alore_drop_path(m, alore_unary(m, ALORE_GELU, z), p);
    if (net == 1) y = alore_add(m, x, alore_columns(m, z, 3, 1));
    if (net == 2) y = alore_columns(m, alore_dropout(m, z, p), 2, 4);
    if (net == 3) y = alore_reshape(m, alore_dropout(m, z, p), 12, 4);
    if (net == 4) y = alore_columns(m, alore_drop_path(m, alore_reshape(m, y, 3, 48), p), 5, 9);
    alore_output(m, "logits", y);
    const int rows = alore_rows(m, y), cols = alore_cols(m, y);
    alore_output(m, "loss", alore_loss_mse(m, y, alore_input(m, "target", ALORE_F32, rows, cols)));
    o.dtype = ALORE_F64;
    bool fine = ok(alore_model_finish(m) == ALORE_OK && alore_plan_create(m, &o, &n.plan) == ALORE_OK,
                   "net %d: %s", net, n.ctx.error.text);
    if (fine) n.base = t_base(&n.ctx, m, 3);
    if (fine && ok(alore_run_create(n.plan, n.base, &n.run) == ALORE_OK, "%s", n.ctx.error.text)) {
        n.run->poison = true;
        t_fill(n.run, 1, 4);
        ok((o.train ? alore_backward(n.run, 0) : alore_forward(n.run, 0)) == ALORE_OK, "%s", n.ctx.error.text);
        const double *values = (const double *)(const void *)alore_run_output(n.run, "logits");
        const double *grads = (const double *)(const void *)alore_grads(n.run, &count);
        for (int i = 0; i < rows * cols; ++i) out[used++] = values[i];
        for (size_t i = 0; i < count && o.train; ++i) out[used++] = grads[i];
    }
    t_net_close(&n);
    return used;
}

/* Views keep their meaning: fused as not, and at inference masks do nothing. */
static void t_plan_views(void)
{
    double want[800], have[800];
    for (int net = 0; net < 5; ++net) {
        alore_plan_opts o = ALORE_ZERO;
        char what[32];
        snprintf(what, sizeof what, "net %d", net);
        size_t n = t_views_outcome(net, 0, o, want);
        ok(t_views_outcome(net, 0.5f, o, have) == n, "%s", what);
        t_agree(want, have, n, true, what);
        o.train = true;
        n = t_views_outcome(net, 0.5f, o, have);
        o.off = ALORE_NO_FUSE;
        ok(t_views_outcome(net, 0.5f, o, want) == n, "%s", what);
        t_agree(want, have, n, false, what);
    }
}

/* What is added to the gradient of a fused activation is added before the slope is taken: f32 gradients as the
 * reference kernels', unfused, whatever is kept. */
static void t_plan_slopes(void)
{
    static const char *const rules[] = {"lora:rank=3@fc2", "vera:rank=4@fc2", "repadapter:rank=4@fc2",
                                        "lora:rank=3@fc2;lora:rank=2@fc1", "adalora:rank=2@fc2;ssf@fc1",
                                        "loha:rank=2@fc2#1;unfreeze@fc1", "sparse:entries=9,place=parallel@fc2",
                                        "alore:rank=2,experts=2@fc2;lora@fc2"};
    static const char *const specs[] = {
        "vit:img=16x16,patch=8,dim=24,depth=3,heads=3,hidden=40,classes=5",
        "vit:img=16x16,patch=8,dim=24,depth=3,heads=3,hidden=40,classes=5,act=quick_gelu",
        "vit:img=16x16,patch=8,dim=24,depth=3,heads=3,hidden=40,classes=5,swiglu=1"};
    enum { ROOM = 20000 };
    double *want = (double *)calloc(ROOM, 8), *have = (double *)calloc(ROOM, 8);
    for (size_t i = 0; i < 3 * sizeof rules / sizeof *rules; ++i) {
        const char *rule = rules[i / 3], *spec = specs[i % 3];
        alore_plan_opts o = ALORE_ZERO;
        o.batch = 3;
        o.reference = true;
        o.off = ALORE_NO_FUSE;
        const size_t n = t_outcome(spec, rule, o, 0, want, ROOM);
        o.reference = false;
        o.off = 0;
        for (int k = 0; k < 6; ++k) {
            const alore_recompute kept[] = {ALORE_KEEP, ALORE_BLOCKS, ALORE_TO_FIT};
            o.recompute = kept[k / 2];
            o.limit = o.recompute == ALORE_TO_FIT ? (size_t)240 << 10 : 0;
            o.lanes = 1 + k % 2;
            double largest = 0, worst = 0;
            ok(t_outcome(spec, rule, o, 0, have, ROOM) == n, "%s: numbers", rule);
            for (size_t x = 0; x < n; ++x) {
                largest = fmax(largest, fabs(want[x]));
                worst = t_worse(worst, fabs(want[x] - have[x]));
            }
            ok(n > 0 && worst <= 40 * EPS * largest, "%s, %d: %g eps off", rule, k, worst / largest / EPS);
        }
    }
    free(want);
    free(have);
}

/* Planned bytes are used bytes: the last byte of the arena is written, the one behind
 * it is not, and one byte less is refused with both numbers. */
static void t_plan_exact(void)
{
    for (int policy = 0; policy < 4; ++policy) {
        t_net n;
        alore_plan_opts o = ALORE_ZERO;
        alore_run run;
        o.train = true;
        o.recompute = (alore_recompute)(policy & 1);
        o.store = policy > 1 ? ALORE_BF16 : ALORE_F32;
        o.slope8 = policy > 1;
        o.batch = 2;
        o.lanes = 2;
        if (!t_net_open(&n, t_micro, "alore:rank=2@qkv|fc1;unfreeze@head", &o, 0)) {
            t_net_close(&n);
            continue;
        }
        size_t total = alore_plan_memory(n.plan).total, end = 0;
        unsigned char *memory = NULL;
        alore_weights *base = n.base; /* files are little-endian; a copy is in the machine's order */
        if (!alo_host_is_little())
            ok(alore_weights_pack(n.plan, n.base, NULL, &base) == ALORE_OK, "%s", n.ctx.error.text);
        if (posix_memalign((void **)&memory, 64, total + 64)) return;
        memset(memory, 0xa5, total + 64);
        char text[64];
        snprintf(text, sizeof text, "%zu", total - 1);
        ok(alore_run_bind(&run, n.plan, base, memory, total - 1) == ALORE_ERR_CAPACITY &&
               strstr(n.ctx.error.text, text), "%s", n.ctx.error.text);
        ok(alore_run_bind(&run, n.plan, base, memory + 4, total) == ALORE_ERR_ARGUMENT,
           "unaligned memory");
        long calls = n.heap.calls;
        ok(alore_run_bind(&run, n.plan, base, memory, total) == ALORE_OK, "%s",
           n.ctx.error.text);
        t_fill(&run, 5, 4);
        ok(alore_backward(&run, 0) == ALORE_OK && alore_step(&run, NULL, 0.01f, NULL) == ALORE_OK,
           "%s", n.ctx.error.text);
        ok(n.heap.calls == calls, "%ld allocations in bind and step", n.heap.calls - calls);
        for (int t = 1; t < n.plan->tensor_count; ++t) {
            const alo_tensor *x = &n.plan->tensors[t];
            if (x->segment != ALO_ARENA || x->flags & ALO_VIEW) continue;
            size_t last = (size_t)x->offset + alo_align(alo_tensor_bytes(n.plan, x), 64);
            if (last > end) end = last;
        }
        for (int i = 0; i < n.plan->op_count; ++i)
            if (n.plan->scratch_at[i] > end) end = n.plan->scratch_at[i];
        ok(end <= n.plan->lane && n.plan->lane * 2 == alore_plan_memory(n.plan).arena,
           "planned %zu, used %zu", n.plan->lane, end);
        for (int i = 0; i < 64; ++i)
            if (memory[total + (size_t)i] != 0xa5) {
                ok(false, "byte %d behind the memory is written", i);
                break;
            }
        free(memory);
        t_net_close(&n);
    }
}

/* The printer shows every record. */
static bool t_collect(void *user, const void *data, size_t bytes)
{
    alo_text *t = (alo_text *)user;
    alo_put(t, (const char *)data, bytes);
    return true;
}

static void t_plan_print(void)
{
    t_net n;
    alore_plan_opts o = ALORE_ZERO;
    static char text[1 << 18];
    alo_text t = {text, sizeof text, 0};
    alore_writer w;
    int lines = 0;
    w.write = t_collect;
    w.user = &t;
    o.train = true;
    if (t_net_open(&n, t_micro, "lora:parts=qv@qkv;unfreeze@head", &o, 0)) {
        ok(alore_plan_print(n.plan, &w) == ALORE_OK, "print");
        for (const char *s = text; *s; ++s) lines += *s == '\n';
        ok(lines == alore_plan_records(n.plan) + 2, "%d lines, %d records", lines,
           alore_plan_records(n.plan));
        ok(strstr(text, "attention_dqkv") && strstr(text, "blocks.2.attn.qkv"), "names");
    }
    t_net_close(&n);
}

/* ---- Gradients in double ---------------------------------------------------- */

static const char *t_slots = "vit:img=16x16,patch=8,dim=24,depth=2,heads=3,hidden=48,classes=5";

/* Every mergeable method in all its forms, on the widths of t_slots. */
static const char *const t_zoo[] = {
    "kron:experts=2@qkv|fc1;kron:experts=2,place=output@proj|fc2",
    "arc:rank=3@qkv|fc1;arc:rank=2,place=output@proj|fc2",
    "repadapter:rank=4,groups=2,scale=2@qkv|fc1;repadapter:rank=3,groups=1,place=output@proj|fc2|patch",
    "repadapter:rank=4,groups=4@fc2;unfreeze@fc2",
    "mlae:experts=3@qkv|fc1;mlae:experts=2,mask=given,lambda=2@proj|head",
    "mlae:experts=4,mask=hourglass@qkv;mlae:mask=random@fc1;mlae:experts=3,mask=drop_incremental@fc2",
    "ssf:place=input@qkv|fc2;ssf@norm1|norm|patch|head",
    "fact_tt:rank=3,scale=2@qkv|proj|fc1|fc2",
    "fact_tk:rank=3@qkv|proj|fc1|fc2",
    "fact_tk:rank=2,layout=paper,scale=3@qkv|proj|fc1|fc2",
    "kadaptation:experts=4,scale=2@qkv",
    "glora:rank=2@qkv|proj|fc1|fc2|head|patch",
    "glora:rank=2,parts=qv@qkv;glora:parts=k,a=vector,b=constant,c=vector,d=constant,e=none@qkv",
    "glora:a=vector,b=vector,c=vector@proj;glora:a=constant,b=constant,c=none,d=constant,e=constant@fc1;"
    "glora:a=none,b=none,d=none,e=none@fc2",
    "glora:rank=3,a=none,c=none,d=none,e=none@qkv|proj;glora:b=none,c=none,d=none,e=none@fc1;"
    "glora:a=none,b=vector,c=none,d=none,e=none@fc2",
    "sparse:entries=9@qkv|fc2;sparse:entries=5,bias_entries=3@proj|head|patch",
    "sparse:entries=9,bias_entries=4@qkv|fc1;glora:rank=2@qkv|fc1",
    "glora:rank=2@proj|fc2;sparse:entries=7,bias_entries=2,place=parallel@proj;sparse:entries=7@fc2",
    "sparse:entries=0,bias_entries=3@qkv|fc2;glora:rank=2@qkv;sparse:entries=0,bias_entries=2,place=parallel@proj",
    "compacter:experts=4,rank=2,hidden=8,act=none@proj|fc2",
    "compacter:experts=2,hidden=4,act=none,place=input@qkv|fc1",
    "phm:experts=4,hidden=8,act=none@proj|fc2",
    "phm:experts=2,hidden=6,act=none,place=input@qkv|fc1",
    "dora:rank=3,scale=2@qkv|fc2|patch",
    "dora:rank=2,parts=qk@qkv;dora:rank=3,parts=v@qkv",
    "adalora:rank=3,scale=2@qkv|fc2;adalora:rank=2@head",
    "adalora:rank=3,parts=kv@qkv",
    "vera:rank=5@qkv|fc2|patch",
    "vera:rank=5,parts=qk@qkv;vera:rank=5@proj",
    "vera:rank=3,parts=v@qkv;vera:rank=6@fc2",
    "ia3@qkv|fc1|patch;ia3:place=input@proj|fc2|head",
    "ia3:parts=kv@qkv;ia3:place=input@fc2",
    "ia3:parts=q,place=input@qkv;ia3:parts=v@qkv",
    "lokr:rank=3,scale=2@qkv|fc2",
    "lokr:rank=16,factor=4@fc1|proj",
    "lokr:rank=1,both=1@qkv|fc2",
    "lokr:rank=2,parts=qv@qkv",
    "loha:rank=2,scale=0.5@qkv|proj;loha:rank=8@fc1",
    "loha:rank=2,parts=qk@qkv",
    "oft:block=4@qkv|fc1",
    "oft:block=6,terms=0@qkv|proj|fc2",
    "oft:block=8,terms=3@proj;oft:block=4,terms=2@fc1;oft:block=2,terms=7@fc2;oft:terms=1,block=2@qkv",
    "oft:block=3,parts=qv,terms=0@qkv;oft:block=8,parts=k@qkv",
    "boft:block=4@qkv|fc2",
    "boft:block=6,factors=2@proj;boft:block=4,factors=3@fc2",
    "boft:block=4,factors=2,parts=qk@qkv",
    "glora:rank=2@qkv;lora:rank=2@qkv;oft:block=4@qkv;unfreeze@qkv",
    "sparse:entries=9,bias_entries=2@fc1;boft:block=4@fc1;ssf@fc1;unfreeze@fc1",
};

static double t_loss64(alore_run *run)
{
    ok(alore_forward(run, 0) == ALORE_OK, "forward");
    double sum = 0;
    const void *loss = alore_run_output(run, "loss");
    for (int i = 0; i < run->plan->opts.batch; ++i) sum += t_value(run->plan, loss, (size_t)i);
    return sum;
}

/* Central differences of every parameter tensor (up to 12 numbers of each), in double:
 * h = 1e-5 leaves an error near 1e-9 of the curvature; 1e-7 of the tensor's largest
 * gradient is asked for. */
static void t_check_gradients(t_net *n, const char *what)
{
    size_t count;
    ok(alore_backward(n->run, 0) == ALORE_OK, "%s", n->ctx.error.text);
    const double *g = (const double *)(const void *)alore_grads(n->run, &count);
    double *p = (double *)(void *)alore_params(n->run, NULL);
    n->run->samples = 0; /* the same masks again */
    for (int i = 0; i < alore_param_count(n->plan); ++i) {
        alore_param_info q = alore_param_at(n->plan, i);
        double worst = 0, largest = 1e-3;
        size_t stride = q.count / 12 + 1;
        const char *last = strrchr(q.name, '.');
        /* to the gradient the norm of dora's matrix is a constant: its factors have none of the loss */
        if (q.frozen || (strstr(q.name, ".dora.") && (!strcmp(last, ".A") || !strcmp(last, ".B")))) continue;
        for (size_t k = 0; k < q.count; k += stride) {
            double keep = p[q.first + k], up, down;
            p[q.first + k] = keep + 1e-5;
            up = t_loss64(n->run);
            p[q.first + k] = keep - 1e-5;
            down = t_loss64(n->run);
            p[q.first + k] = keep;
            largest = fmax(largest, fabs(g[q.first + k]));
            worst = t_worse(worst, fabs((up - down) / 2e-5 - g[q.first + k]));
        }
        ok(worst <= 1e-7 * largest, "%s: %s: %g of %g", what, q.name, worst, largest);
    }
}

static void t_gradients(void)
{
    static const char *const rules[] = {
        "alore:rank=2,experts=4@qkv|fc1|patch|head",
        "alore:rank=3,experts=2,shared=kind@qkv|fc1;unfreeze@head",
        "alore:rank=2,experts=4,shared=site,place=output@proj|fc2",
        "alore:rank=5,experts=1@fc1",
        "lora:rank=3,scale=2@qkv|proj|fc1|fc2|head|patch",
        "lora:rank=3,parts=qv@qkv;lora:parts=k,rank=2@qkv",
        "ssf@*",
        "ssf:place=input@qkv|head",
        "ssf@qkv;alore:rank=2@qkv;lora:rank=3,scale=2@qkv;unfreeze@qkv",
        "unfreeze@*",
        "unfreeze@*.bias",
        "alore:dropout=0.4,rank=2@qkv|fc1;lora:dropout=0.3@proj",
        "arc:rank=2,dropout=0.3@qkv;repadapter:rank=2,dropout=0.2@fc1;adalora:rank=2,dropout=0.4@proj;"
        "mlae:experts=3,dropout=0.5@fc2;kron:experts=2,dropout=0.2@head",
    };
    static const char *const bent[] = { /* on t_slots, not to be merged */
        "vera:rank=4,dropout=0.3@qkv;fact_tk:rank=2,dropout=0.2@fc1;fact_tt:rank=2,dropout=0.3@proj",
        "kadaptation:experts=2,scale=1,dropout=0.2@qkv;fact_tk:rank=2,dropout=0.2@fc2",
        "compacter:experts=2,rank=2,hidden=4,act=gelu@attn|mlp",
        "compacter:experts=2,hidden=4@proj;phm:experts=2,hidden=4@attn",
        "phm:experts=2,hidden=4,act=quick_gelu,place=input@fc2;compacter:experts=2,hidden=6,act=silu@fc1",
        "phm:experts=3,hidden=3,act=relu@mlp;compacter:experts=2,hidden=4,place=input@qkv",
        "compacter:experts=2,hidden=4,act=none@attn|mlp",
    };
    static const char *const specs[] = {
        "vit:img=16x16,patch=8,dim=24,depth=2,heads=3,hidden=40,classes=8",
        "vit:img=16x8,patch=8,dim=24,depth=2,heads=2,hidden=32,classes=8,pool=avg,"
        "registers=2,layer_scale=1,swiglu=1,pre_norm=1",
    };
    for (size_t s = 0; s < 2; ++s)
        for (size_t r = 0; r < sizeof rules / sizeof *rules; ++r) {
            t_net n;
            alore_plan_opts o = ALORE_ZERO;
            o.train = true;
            o.batch = 2;
            o.dtype = ALORE_F64;
            if (t_net_open(&n, specs[s], rules[r], &o, 0.3f)) t_check_gradients(&n, rules[r]);
            t_net_close(&n);
        }
    for (size_t r = 0; r < (sizeof t_zoo + sizeof bent) / sizeof *bent; ++r) {
        const size_t zoo = sizeof t_zoo / sizeof *t_zoo;
        const char *rule = r < zoo ? t_zoo[r] : bent[r - zoo];
        t_net n;
        alore_plan_opts o = ALORE_ZERO;
        o.train = true;
        o.batch = 2;
        o.dtype = ALORE_F64;
        if (t_net_open(&n, t_slots, rule, &o, 0)) t_check_gradients(&n, rule);
        t_net_close(&n);
    }
}

/* Queries, keys and values that share columns of one tensor, or are one tensor. */
static void t_gradients_shared(void)
{
    for (int form = 0; form < 4; ++form) {
        const alore_attention_opts attn = {2, 0, 0, NULL};
        alore_plan_opts o = ALORE_ZERO;
        t_net n;
        memset(&n, 0, sizeof n);
        t_begin(&n.ctx, &n.heap);
        alore_model_create(&n.ctx, &n.model);
        alore_model *m = n.model;
        alore_attach(m, "unfreeze@*");
        alore_id x = alore_input(m, "image", ALORE_F32, 6, 8);
        x = alore_add(m, x, alore_base(m, "pos", alore_dims(6, 8, 0, 0)));
        alore_id w = alore_linear(m, "w", x, form == 3 ? 8 : 24, NULL);
        alore_id q = alore_columns(m, w, 0, 8);
        alore_id k = form ? q : alore_columns(m, w, 16, 8);
        alore_id v = form == 0 ? alore_columns(m, w, 4, 8) : form == 1 ? x : q;
        if (form == 3) v = alore_reshape(m, alore_reshape(m, w, 12, 4), 6, 8);
        alore_id y = alore_attention(m, q, k, v, &attn);
        alore_output(m, "loss", alore_loss_mse(m, y, alore_input(m, "target", ALORE_F32, 6, 8)));
        o.train = true;
        o.batch = 2;
        o.dtype = ALORE_F64;
        bool fine = alore_model_finish(m) == ALORE_OK &&
                    alore_plan_create(m, &o, &n.plan) == ALORE_OK;
        n.base = fine ? t_base(&n.ctx, m, 3) : NULL;
        fine = fine && alore_run_create(n.plan, n.base, &n.run) == ALORE_OK;
        if (ok(fine, "form %d: %s", form, n.ctx.error.text)) {
            n.run->poison = true;
            t_fill(n.run, 1, 4);
            t_check_gradients(&n, "shared columns");
        }
        t_net_close(&n);
    }
}

/* ---- Records that run once a step, and methods of one's own ------------------ */

/* W = W0 + (A B)', at the weight: the same function as LoRA. */
static alore_id t_emit_delta(alore_model *m, const alore_site *site, const alore_recipe *r,
                             alore_flow *flow)
{
    alore_id a = alore_param(m, "A", alore_dims(site->in, r->rank, 0, 0), ALORE_OWN,
                             alore_uniform(0.1f));
    alore_id b = alore_param(m, "B", alore_dims(r->rank, site->out, 0, 0), ALORE_OWN,
                             alore_fill(0.0f));
    return alore_add(m, flow->weight, alore_matmul_t(m, b, true, a, true));
}

/* A bottleneck with ReLU behind the host: nothing that can be merged. */
static alore_id t_emit_relu(alore_model *m, const alore_site *site, const alore_recipe *r,
                            alore_flow *flow)
{
    alore_id down = alore_param(m, "down", alore_dims(site->out, r->rank, 0, 0), ALORE_OWN,
                                alore_uniform(0.5f));
    alore_id up = alore_param(m, "up", alore_dims(r->rank, site->out, 0, 0), ALORE_OWN,
                              alore_fill(0.0f));
    alore_id h = alore_unary(m, ALORE_RELU, alore_matmul(m, flow->y, down));
    return alore_add(m, flow->y, alore_matmul(m, h, up));
}

/* A constant added to the host's output: makes a bias where there is none. */
static alore_id t_emit_shift(alore_model *m, const alore_site *site, const alore_recipe *r,
                             alore_flow *flow)
{
    alore_id c = alore_param(m, "c", alore_dims(site->out, 0, 0, 0), ALORE_OWN,
                             alore_fill(0.25f));
    (void)r;
    return alore_add(m, flow->y, c);
}

static const alore_method t_delta = {
    "delta", "W = W0 + (A B)'", "", "delta@qkv", ALORE_HOST_LINEAR, ALORE_PLACE_WEIGHT, 0,
    {{"rank", 3, 1, 64, NULL, true, false}}, t_emit_delta, NULL, NULL, NULL, 0,
    NULL};
static const alore_method t_relu = {
    "relu", "y + relu(y D) U", "", "relu@fc1", ALORE_HOST_LINEAR, ALORE_PLACE_OUTPUT, 0,
    {{"rank", 4, 1, 64, NULL, true, false}}, t_emit_relu, NULL, "not linear",
    NULL, 0, NULL};
static const alore_method t_shift = {
    "shift", "y + c", "", "shift@fc1", ALORE_HOST_LINEAR | ALORE_HOST_NORM,
    ALORE_PLACE_OUTPUT, 0, {{NULL, 0, 0, 0, NULL, false, false}}, t_emit_shift, NULL, NULL,
    NULL, 0, NULL};

/* W0 + A B at the weight against LoRA beside it, in double: loss and gradients. */
static void t_once(void)
{
    double grads[2][24 * 3 + 3 * 72], losses[2] = {0, 0};
    for (int k = 0; k < 2; ++k) {
        t_net n;
        alore_plan_opts o = ALORE_ZERO;
        alore_status s;
        size_t count = 0;
        memset(&n, 0, sizeof n);
        t_begin(&n.ctx, &n.heap);
        ok(alore_register(&n.ctx, &t_delta) == ALORE_OK, "register");
        ok(alore_register(&n.ctx, &t_delta) == ALORE_ERR_NAME, "registered twice");
        o.train = true;
        o.batch = 6;
        o.lanes = 2;
        o.dtype = ALORE_F64;
        s = t_vit(&n.ctx, t_micro, k ? "delta@qkv#1" : "lora:rank=3@qkv#1", 0, &n.model);
        if (s == ALORE_OK) s = alore_plan_create(n.model, &o, &n.plan);
        if (s == ALORE_OK) n.base = t_base(&n.ctx, n.model, 3);
        if (s == ALORE_OK) s = alore_run_create(n.plan, n.base, &n.run);
        if (ok(s == ALORE_OK, "%s", n.ctx.error.text)) {
            ok(!k || n.plan->once > 0, "%d records run once", n.plan->once);
            t_fill(n.run, 5, 4);
            double *p = (double *)(void *)alore_params(n.run, &count);
            ok(count == 24 * 3 + 3 * 72, "%zu parameters", count);
            for (size_t i = 0; i < count; ++i)
                p[i] = 0.2 * (double)alore_random_normal(1, 2, i);
            for (int pass = 0; pass < 2; ++pass) /* gradients add up over calls */
                ok(alore_backward(n.run, 0) == ALORE_OK, "%s", n.ctx.error.text);
            const double *g = (const double *)(const void *)alore_grads(n.run, NULL);
            memcpy(grads[k], g, sizeof grads[k]);
            losses[k] = t_value(n.plan, alore_run_output(n.run, "loss"), 5);
        }
        t_net_close(&n);
    }
    near(losses[1], losses[0], 1e-12, "loss");
    for (size_t i = 0; i < sizeof grads[0] / sizeof **grads; ++i)
        if (!(fabs(grads[0][i] - grads[1][i]) <= 1e-11)) {
            ok(false, "gradient %zu: %g and %g", i, grads[0][i], grads[1][i]);
            return;
        }
    ok(true, "gradients");
}

/* ---- The executor ------------------------------------------------------------ */

/* Micro-steps of any size are the same run. */
static void t_run_steps(void)
{
    for (int records = 1; records < 200; records += 37) {
        t_net a, b;
        alore_plan_opts o = ALORE_ZERO;
        size_t count;
        bool done = false;
        o.train = true;
        o.batch = 3;
        if (t_net_open(&a, t_micro, "alore@qkv|fc1", &o, 0) &
            t_net_open(&b, t_micro, "alore@qkv|fc1", &o, 0)) {
            a.run->poison = b.run->poison = false;
            ok(alore_advance(b.run, 1, &done) == ALORE_ERR_ORDER, "advance before begin");
            ok(alore_backward(a.run, 0) == ALORE_OK, "backward");
            ok(alore_begin(b.run, ALORE_FORWARD | ALORE_BACKWARD, 0) == ALORE_OK, "begin");
            while (!done && alore_advance(b.run, records, &done) == ALORE_OK)
                ;
            const float *x = alore_grads(a.run, &count), *y = alore_grads(b.run, &count);
            t_same(x, y, count * sizeof *x, "gradients in small steps");
        }
        t_net_close(&a);
        t_net_close(&b);
    }
}

/* Fewer samples than the batch, labels out of range, too many samples. */
static void t_run_batch(void)
{
    t_net n;
    alore_plan_opts o = ALORE_ZERO;
    float few[5];
    o.batch = 4;
    o.lanes = 2;
    o.train = true;
    if (t_net_open(&n, t_micro, "alore@qkv", &o, 0)) {
        alore_forward(n.run, 0);
        memcpy(few, alore_run_output(n.run, "logits") + 5, sizeof few);
        memset((void *)(uintptr_t)alore_run_output(n.run, "logits"), 0, 20 * sizeof(float));
        ok(alore_forward(n.run, 2) == ALORE_OK, "two samples");
        t_same(few, alore_run_output(n.run, "logits") + 5, sizeof few, "logits of sample 1");
        ok(alore_run_output(n.run, "logits")[10] == 0.0f, "sample 2 was run, too");
        ok(alore_forward(n.run, 5) == ALORE_ERR_ARGUMENT && strstr(n.ctx.error.text, "5") &&
               strstr(n.ctx.error.text, "4"), "%s", n.ctx.error.text);
        ((int32_t *)alore_run_input(n.run, "label"))[3] = 5;
        ok(alore_backward(n.run, 0) == ALORE_ERR_ARGUMENT && strstr(n.ctx.error.text, "item 3") &&
               strstr(n.ctx.error.text, "label 5"), "%s", n.ctx.error.text);
        ok(alore_run_input(n.run, "nosuch") == NULL && alore_run_output(n.run, "x") == NULL,
           "names that are none");
    }
    t_net_close(&n);
}

/* What three steps lead to on the scalar level, to the bit: the same on every machine. */
static void t_run_everywhere(void)
{
    alore_ctx ctx;
    alore_config config = ALORE_ZERO;
    alore_plan_opts o = ALORE_ZERO;
    alore_model *m;
    alore_plan *p;
    alore_run *run;
    alore_weights *adapter = NULL;
    config.isa = ALORE_ISA_SCALAR;
    o.train = true;
    o.batch = 2;
    alore_init(&ctx, &config);
    if (ok(t_vit(&ctx, t_micro, "alore:rank=2@qkv|fc1;unfreeze@head", 0, &m) == ALORE_OK &&
               alore_plan_create(m, &o, &p) == ALORE_OK &&
               alore_run_create(p, t_base(&ctx, m, 3), &run) == ALORE_OK, "%s", ctx.error.text)) {
        for (uint64_t i = 0; i < 3; ++i) {
            t_fill(run, 5, i);
            ok(alore_backward(run, 0) == ALORE_OK && alore_step(run, NULL, 0.01f, NULL) == ALORE_OK, "%s",
               ctx.error.text);
        }
        ok(alore_run_export(run, &adapter) == ALORE_OK, "%s", ctx.error.text);
        const uint64_t print = alore_weights_fingerprint(adapter);
        const bool same = print == 0xa0e107a82913f3e0u || T_BLAS_EPS > 0;
        ok(same, "the adapter's fingerprint is %016llx", (unsigned long long)print);
    }
    alore_uninit(&ctx);
}

/* Three steps with `o` on `threads` threads; parameters, and the logits they lead to, go to `out`. */
static size_t t_threads_outcome(const char *rules, alore_plan_opts o, int threads, float *out, size_t room)
{
    alore_ctx ctx;
    alore_config config = ALORE_ZERO;
    alore_model *m;
    alore_plan *p;
    alore_run *run;
    size_t count = 0;
    config.threads = threads;
    alore_init(&ctx, &config);
    bool fine = t_vit(&ctx, t_micro, rules, 0.1f, &m) == ALORE_OK &&
                alore_plan_create(m, &o, &p) == ALORE_OK &&
                alore_run_create(p, t_base(&ctx, m, 3), &run) == ALORE_OK;
    if (ok(fine, "%s", ctx.error.text)) {
        run->poison = true;
        t_fill(run, 5, 4);
        for (int step = 0; step < 3; ++step) {
            float norm = 0;
            ok(alore_backward(run, 0) == ALORE_OK, "%s", ctx.error.text);
            ok(alore_step(run, NULL, 0.01f, &norm) == ALORE_OK, "%s", ctx.error.text);
            out[count++] = norm;
        }
        ok(alore_forward(run, 0) == ALORE_OK, "%s", ctx.error.text);
        memcpy(out + count, alore_run_output(run, "logits"), (size_t)o.batch * 5 * sizeof *out);
        count += (size_t)o.batch * 5;
        size_t learns = 0;
        const float *x = alore_params(run, &learns);
        if (ok(count + learns <= room, "%zu numbers", learns)) memcpy(out + count, x, learns * sizeof *x);
        count += learns;
    }
    alore_uninit(&ctx);
    return count * sizeof *out;
}

/* The same bits for any number of threads, lanes and parts of a record, through steps; with 19 samples a slot
 * has several. */
static void t_run_threads(void)
{
    static const char *const rules[] = {"alore:dropout=0.2@qkv|fc1;unfreeze@head", "unfreeze@*",
                                        "lora@qkv;ssf@fc1|norm1",
                                        "mlae:experts=5,dropout=0.5@qkv;vera:rank=6@fc2;dora:rank=2@proj;"
                                        "oft:block=4,terms=0@fc1;sparse:entries=9@qkv#1;glora:rank=2@head"};
    static const int threads[] = {1, 2, 3, 8}, splits[] = {1, 2, 5, 0};
    enum { ROOM = 60000 };
    float *first = (float *)calloc(ROOM, sizeof *first), *have = (float *)calloc(ROOM, sizeof *have);
    for (size_t r = 0; r < 5; ++r) { /* the last: the first, stored in fewer bytes */
        alore_plan_opts o = ALORE_ZERO;
        o.train = true;
        o.batch = r == 0 || r == 4 ? 19 : 7;
        o.store = r == 4 ? ALORE_BF16 : ALORE_F32;
        o.slope8 = r == 4;
        const size_t bytes = t_threads_outcome(rules[r % 4], o, 0, first, ROOM);
        for (int k = 0; k < 4; ++k) {
            o.lanes = threads[k];
            ok(t_threads_outcome(rules[r % 4], o, threads[k], have, ROOM) == bytes, "size");
            t_same(first, have, bytes, "lanes");
            for (int i = 0; i < 4; ++i) {
                o.lanes = 1;
                o.split = splits[i] ? splits[i] : threads[k];
                ok(t_threads_outcome(rules[r % 4], o, threads[k], have, ROOM) == bytes, "size");
                t_same(first, have, bytes, "parts");
            }
            o.split = 0;
        }
    }
    free(first);
    free(have);
}

/* ---- Caches of frozen layers ------------------------------------------------- */

enum { T_ITEMS = 9, T_BATCH = 7 };

/* Items of a step's batch, one of them twice. */
static void t_items(uint32_t items[T_BATCH], int step)
{
    for (uint32_t i = 0; i < T_BATCH; ++i) items[i] = alore_shuffle(1, (uint32_t)step, i, T_ITEMS);
    items[4] = items[1];
}

/* Four steps; the parameters they lead to go to `out`. With `memory` a cache of `kept` items is used, and what
 * it holds is not filled in. With `stop` the cache is a new one after step 2. Returns bytes of an item. */
static size_t t_cache_outcome(const char *rules, alore_plan_opts o, int threads, alore_dtype type, size_t kept,
                              unsigned char *memory, bool stop, float *out, size_t *count)
{
    alore_ctx ctx;
    alore_config config = ALORE_ZERO;
    alore_model *m = NULL;
    alore_plan *p = NULL;
    alore_run *run = NULL;
    alore_cache cache = ALORE_ZERO;
    uint32_t items[T_BATCH];
    size_t each = 0;
    *count = 0;
    config.threads = threads;
    alore_init(&ctx, &config);
    o.train = true;
    o.batch = T_BATCH;
    bool fine = t_vit(&ctx, t_micro, rules, 0, &m) == ALORE_OK &&
                alore_plan_create(m, &o, &p) == ALORE_OK &&
                alore_run_create(p, t_base(&ctx, m, 3), &run) == ALORE_OK;
    if (ok(fine, "%s: %s", rules, ctx.error.text)) {
        unsigned char *image = (unsigned char *)alore_run_input(run, "image");
        int32_t *label = (int32_t *)alore_run_input(run, "label");
        const size_t numbers = 16 * 16 * 3, bytes = numbers * p->real;
        run->poison = true;
        t_shake(run, 6);
        each = alore_cache_bytes(p, type);
        for (int step = 0; step < 4; ++step) {
            if (memory && (step == 0 || (step == 2 && stop)))
                ok(alore_cache_bind(&cache, run, T_ITEMS, type, memory, kept * each + (kept < T_ITEMS ? 3 : 0)) ==
                       ALORE_OK && cache.kept == kept, "%s", ctx.error.text);
            t_items(items, step);
            for (int i = 0; i < T_BATCH; ++i) {
                const bool held = memory && alore_cache_holds(&cache, items[i]);
                for (size_t k = 0; k < numbers && !held; ++k)
                    t_put_real(p, image + (size_t)i * bytes, k, (double)alore_random_normal(4, items[i], k));
                if (held) memset(image + (size_t)i * bytes, 0xff, bytes);
                label[i] = (int32_t)items[i] % 5;
            }
            ok((memory ? alore_backward_cached(run, &cache, items, 0) : alore_backward(run, 0)) == ALORE_OK &&
                   alore_step(run, NULL, 0.01f, NULL) == ALORE_OK, "%s", ctx.error.text);
            int wrong = 0;
            for (int i = 0; i < T_BATCH && memory; ++i)
                wrong += alore_cache_holds(&cache, items[i]) != (items[i] < kept);
            ok(!wrong, "%d items of step %d", wrong, step);
        }
        const float *x = alore_params(run, count);
        *count *= p->real;
        if (ok(*count <= 30000 * sizeof *out, "%zu bytes", *count)) memcpy(out, x, *count);
    }
    alore_uninit(&ctx);
    return each;
}

/* A cache in f32 changes no bit, whatever runs and however much it holds; one in bf16 rounds, but the same
 * whatever it holds. It takes what it was given and no byte more. Where nothing is frozen there is none. */
static void t_cache(void)
{
    static const char *const rules[] = {"alore:dropout=0.2@qkv#2|fc1#2;unfreeze@head", "lora@proj#1-2;ssf@norm",
                                        "lora:dropout=0.1,parts=qv@qkv#2", "unfreeze@head",
                                        "alore:shared=kind@fc1#1|fc1#2",
                                        "mlae:experts=4,dropout=0.4@qkv#2;vera:rank=4@fc2#2;sparse:entries=9@fc1#2",
                                        "dora:rank=2@proj#2;oft:block=4@qkv#2;glora:rank=2@fc1#2;lokr:rank=2@fc2#2"};
    static const struct {
        int threads, lanes, split, span;
        alore_recompute recompute;
        unsigned off;
        alore_dtype dtype;
    } rows[] = {{0, 1, 1, 1, ALORE_KEEP, 0, ALORE_F32},   {2, 2, 0, 1, ALORE_KEEP, 0, ALORE_F32},
                {3, 3, 0, 2, ALORE_KEEP, 0, ALORE_F32},   {3, 1, 3, 1, ALORE_BLOCKS, 0, ALORE_F32},
                {0, 1, 1, 3, ALORE_BLOCKS, 0, ALORE_F64}, {0, 1, 1, 1, ALORE_KEEP, 63, ALORE_F32}};
    static const size_t kept[] = {T_ITEMS, 4, 0};
    static float plain[30000], have[30000], rounded[30000];
    for (size_t r = 0; r < sizeof rules / sizeof *rules; ++r)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
            alore_plan_opts o = ALORE_ZERO;
            size_t count, other;
            o.lanes = rows[i].lanes;
            o.split = rows[i].split;
            o.span = rows[i].span;
            o.recompute = rows[i].recompute;
            o.off = rows[i].off;
            o.dtype = rows[i].dtype;
            const size_t whole =
                t_cache_outcome(rules[r], o, rows[i].threads, ALORE_F32, 0, NULL, false, plain, &count);
            for (size_t k = 0; k < 6; ++k) {
                const alore_dtype type = k < 3 ? ALORE_F32 : ALORE_BF16;
                const size_t fit = kept[k % 3], half = o.dtype == ALORE_F64 ? 4 : 2;
                const size_t each = k < 3 ? whole : (whole - 4) / half + 4;
                unsigned char *memory = (unsigned char *)malloc(fit * each + 8);
                if (!ok(each > 4 && memory, "%s: no cut", rules[r])) continue;
                memset(memory, 0xa5, fit * each + 8);
                ok(t_cache_outcome(rules[r], o, rows[i].threads, type, fit, memory, fit > 4 && r > 2,
                                   k == 3 ? rounded : have, &other) == each && count == other, "size");
                if (k != 3) t_same(k < 3 ? plain : rounded, have, count, rules[r]);
                if (k == 3) ok(memcmp(plain, rounded, count) != 0, "%s: bf16 rounds nothing", rules[r]);
                ok(!memcmp(memory + fit * each + 3, "\xa5\xa5\xa5\xa5\xa5", 5), "bytes behind");
                free(memory);
            }
        }
}

/* Where the cut is: before the first record that depends on what learns or is random; few bytes cross it. */
static void t_cache_cut(void)
{
    static const struct {
        const char *rules;
        float drop_path;
        bool train;
        size_t bytes; /* of an item in F32; 5 tokens of 24 are 480 */
    } rows[] = {{"alore@qkv#2|fc1#2", 0, true, 484},
                {"alore@qkv#2|fc1#2", 0.2f, true, 484},         /* from block 1 on */
                {"lora@qkv#1", 0.2f, true, 484},
                {"unfreeze@head", 0, true, 100},                /* the class token */
                {"unfreeze@head", 0.2f, true, 484},
                {"unfreeze@blocks.2.*", 0, true, 484},
                {"alore@patch", 0, true, 0},
                {"alore@patch;alore@qkv#2", 0, true, 0},
                {"unfreeze@pos_embed", 0, true, 388},           /* the patches */
                {"alore@qkv#2|fc1#2", 0, false, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
        t_net n;
        alore_plan_opts o = ALORE_ZERO;
        o.train = rows[i].train;
        o.batch = 2;
        if (t_net_open(&n, t_micro, rows[i].rules, &o, rows[i].drop_path)) {
            const size_t each = alore_cache_bytes(n.plan, ALORE_F32);
            uint32_t memory[300], items[2] = {0, 3};
            static const uint32_t three[3] = {0, 2, 1};
            alore_cache c = ALORE_ZERO;
            ok(each == rows[i].bytes, "%s: %zu bytes cross, not %zu", rows[i].rules, each, rows[i].bytes);
            ok(alore_cache_bytes(n.plan, ALORE_BF16) == (each ? each / 2 + 2 : 0), "bf16");
            for (int k = n.plan->once; k < n.plan->cut; ++k)
                ok(!rows[i].drop_path || n.plan->ops[k].block < 2, "%s: record %d", rows[i].rules, k);
            const alore_status s = alore_cache_bind(&c, n.run, 3, ALORE_F32, memory, sizeof memory);
            ok(s == (each ? ALORE_OK : ALORE_ERR_UNSUPPORTED), "%s: %s", rows[i].rules, n.ctx.error.text);
            if (each) {
                ok(alore_cache_bind(&c, n.run, 3, ALORE_F16, memory, sizeof memory) == ALORE_ERR_ARGUMENT, "f16");
                ok(alore_backward_cached(n.run, &c, items, 0) == ALORE_ERR_ARGUMENT &&
                       strstr(n.ctx.error.text, "item 3 of a cache of 3"), "%s", n.ctx.error.text);
                items[1] = 2;
                long calls = n.heap.calls;
                ok(alore_backward_cached(n.run, &c, three, 3) == ALORE_ERR_ARGUMENT &&
                       !alore_cache_holds(&c, 0), "3 samples of 2");
                ok(alore_backward_cached(n.run, &c, items, 0) == ALORE_OK && alore_cache_holds(&c, 0) &&
                       !alore_cache_holds(&c, 1) && !alore_cache_holds(&c, 7), "%s", n.ctx.error.text);
                ok(n.heap.calls == calls, "it allocates");
                c.weights = NULL;
                ok(alore_backward_cached(n.run, &c, items, 0) == ALORE_ERR_ARGUMENT, "other weights");
            }
        }
        t_net_close(&n);
    }
}

/* Lanes for which there is no work split the records of the one that is left; so do lanes of which some would
 * idle while the busiest works, if the records are large enough. */
static void t_plan_lanes(void)
{
    static const char *const rules[] = {"unfreeze@*", "alore:rank=4@qkv|fc1;unfreeze@head"};
    const char *const specs[] = {t_micro, "vit_base_patch16_224", "vit_tiny_patch16_224"};
    static const struct {
        int spec, train, rule, batch, lanes, split, want_lanes, want_split;
    } rows[] = {{0, 2, 0, 1, 0, 0, 1, 1}, {0, 2, 0, 1, 8, 0, 1, 8}, {0, 2, 0, 1, 8, 3, 1, 3},
                {0, 2, 0, 4, 8, 8, 4, 1}, {0, 2, 0, 4, 2, 6, 2, 1}, {0, 2, 0, 4, 1, 6, 1, 6},
                {0, 2, 0, 4, 0, 0, 1, 1}, {0, 2, 0, 1, 1, -1, 0, 0},
                {1, 1, 1, 32, 2, 0, 2, 1},  {1, 1, 1, 32, 4, 0, 4, 1},  {1, 1, 1, 32, 5, 0, 1, 5},
                {1, 1, 1, 32, 7, 0, 1, 7},  {1, 1, 1, 32, 7, 7, 4, 1},  {1, 1, 1, 32, 8, 0, 8, 1},
                {1, 1, 1, 32, 12, 0, 1, 12}, {1, 1, 1, 32, 32, 0, 1, 32}, {1, 0, 1, 8, 7, 0, 1, 7},
                {1, 0, 1, 32, 16, 0, 16, 1}, {2, 1, 0, 32, 2, 0, 2, 1}, {2, 1, 0, 32, 8, 0, 1, 8},
                {2, 1, 0, 32, 16, 0, 1, 16}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i)
        for (int train = rows[i].train == 1; train < 1 + (rows[i].train > 0); ++train) {
            t_net n;
            alore_plan_opts o = ALORE_ZERO;
            memset(&n, 0, sizeof n);
            t_begin(&n.ctx, &n.heap);
            o.batch = rows[i].batch;
            o.lanes = rows[i].lanes;
            o.split = rows[i].split;
            o.train = train > 0;
            ok(t_vit(&n.ctx, specs[rows[i].spec], rules[rows[i].rule], 0, &n.model) == ALORE_OK, "%s", n.ctx.error.text);
            const alore_status s = alore_plan_create(n.model, &o, &n.plan);
            if (rows[i].want_lanes)
                ok(s == ALORE_OK && n.plan->opts.lanes == rows[i].want_lanes &&
                       n.plan->opts.split == rows[i].want_split,
                   "row %zu: %d lanes, split %d", i, s ? 0 : n.plan->opts.lanes, s ? 0 : n.plan->opts.split);
            else
                ok(s == ALORE_ERR_ARGUMENT && strstr(n.ctx.error.text, "split -1"), "row %zu", i);
            t_net_close(&n);
        }
}

/* ---- Levels, packed weights, precisions --------------------------------------- */

static const char *t_level_spec = "vit:img=24x24,patch=8,dim=36,depth=2,heads=3,hidden=100,classes=7";

/* Logits of a batch and then the gradients, of a level, a precision, plain or packed weights, and threads.
 * With dim 36 nothing is a multiple of a panel. Returns how many numbers; 0: not so. */
static size_t t_level_outcome(alore_isa isa, alore_dtype precision, bool train, bool pack, int threads,
                              int split, float *out)
{
    const char *spec = t_level_spec;
    alore_config config = ALORE_ZERO;
    alore_plan_opts o = ALORE_ZERO;
    alore_model *m = NULL;
    alore_plan *p = NULL;
    alore_run *run = NULL;
    alore_weights *packed = NULL;
    alore_ctx ctx;
    size_t count = 0, all = 0;
    config.isa = isa;
    config.threads = threads;
    o.batch = 3;
    o.lanes = split ? 1 : threads;
    o.split = split;
    o.train = train;
    o.precision = precision;
    if (!ok(alore_init(&ctx, &config) == ALORE_OK, "isa %d", (int)isa)) return 0;
    alore_status s = t_vit(&ctx, spec, "alore:rank=2@qkv|fc1;unfreeze@head", 0, &m);
    if (!s) s = alore_plan_create(m, &o, &p);
    alore_weights *base = s ? NULL : t_base(&ctx, m, 3);
    if (!s && pack) s = alore_weights_pack(p, base, NULL, &packed);
    if (!s) s = alore_run_create(p, pack ? packed : base, &run);
    if (!s) {
        size_t bytes = 0;
        for (int i = 0; i < alore_weights_count(packed); ++i) {
            const alore_tensor *t = alore_weights_at(packed, i);
            if (!strstr(t->name, "head")) bytes += t->bytes;
        }
        if (pack) ok(bytes == alore_plan_memory(p).base, "planned %zu, packed %zu", alore_plan_memory(p).base, bytes);
        if (pack) ok(alore_weights_fingerprint(packed) == alore_weights_fingerprint(base), "fingerprint");
        run->poison = true;
        t_fill(run, 7, 4);
        t_shake(run, 6);
        s = train ? alore_backward(run, 0) : alore_forward(run, 0);
    }
    if (ok(s == ALORE_OK, "%s", ctx.error.text)) {
        const float *g = alore_grads(run, &count);
        for (all = 0; all < 21; ++all) out[all] = alore_run_output(run, "logits")[all];
        for (size_t i = 0; train && i < count; ++i) out[all++] = g[i];
    }
    alore_uninit(&ctx);
    return all;
}

/* The instruction against two fused products of f32, and what it takes for 0. */
static void t_levels_dot16(void)
{
    if (!t_runs_dot16()) {
        skip("needs AVX512_BF16, or BF16 of Arm");
        return;
    }
    const uint32_t one = 0x3f80u, half = 0x3f00u, least = 0x0080u /* 2^-126 */, below = 1;
    const uint32_t a[16] = {below, least, least | least << 16, 0, least, 0x7fc0u, 0x7f80u};
    const uint32_t b[16] = {one, half, half | half << 16, 0, one, one, 0};
    float c[16] = {0, 0, 0, 1e-40f, 1e-40f};
    t_dot16(c, a, b);
    for (int i = 0; i < 4; ++i) ok(alo_bits(c[i]) == 0, "denormal %d: %g, not 0", i, (double)c[i]);
    ok(alo_bits(c[4]) == 0x00800000u, "2^-126 beside a denormal: %g", (double)c[4]);
    ok(c[5] != c[5] && c[6] != c[6], "NaN, and infinity times 0");
    if (!t_fuses_dot16()) skip("pairs are summed in another order than Intel's");
}

static void t_levels(void)
{
    enum { ROOM = 20000 };
    float *first = (float *)calloc(ROOM, 4), *have = (float *)calloc(ROOM, 4), *low = (float *)calloc(ROOM, 4);
    float *wide = (float *)calloc(ROOM, 4), *other = (float *)calloc(ROOM, 4);
    const size_t count = t_level_outcome(ALORE_ISA_SCALAR, ALORE_F32, true, false, 1, 0, first);
    for (int isa = ALORE_ISA_SCALAR; isa <= ALORE_ISA_NEON; ++isa) {
        if (!alore_isa_name((alore_isa)isa)) continue;
        float plain[64];
        ok(t_level_outcome((alore_isa)isa, ALORE_F32, true, false, 1, 0, have) == count, "count");
        /* two levels fuse and sum in another order: some roundings of sums of a hundred terms */
        const double d = t_apart_f32(have, first, count) / EPS;
        ok(d < 40, "%s: %.1f eps from scalar", alore_isa_name((alore_isa)isa), d);
        for (int k = 0; k < 4; ++k) { /* packed or not, lanes or parts: the same bits */
            t_level_outcome((alore_isa)isa, ALORE_F32, true, k > 0, 1 + k % 3, k == 3 ? 2 : 0, low);
            t_same(low, have, count * 4, "packed");
        }
        memcpy(plain, have, 21 * 4);
        /* bf16 has 8 bits: a term's error is 2^-8 at most, sums of many terms 2^-9 of their size. By the CPU's own
         * dot products and without: the same bits where these are two fused products, as no number here is below
         * 2^-126; else within the roundings of sums. */
        for (int own = 0; own < 2; ++own) {
            if (own && (isa != T_DOT16_ISA || !t_runs_dot16())) continue;
            t_cpu_more = own ? (unsigned)ALO_OWN_BF16 << 8 : 0;
            t_cpu_less = own ? 0 : (unsigned)ALO_OWN_BF16 << 8;
            if (own) memcpy(wide, low, count * 4);
            ok(t_level_outcome((alore_isa)isa, ALORE_BF16, true, true, 1, 0, low) == count, "count");
            const double bf16 = t_apart_f32(low, have, count);
            ok(bf16 > 1e-4 && bf16 < 1.0 / 64, "bf16 is off by %.2g", bf16);
            for (int k = 0; k < 3; ++k) {
                t_level_outcome((alore_isa)isa, ALORE_BF16, true, true, 1 + k, k == 1 ? 0 : k + 1, other);
                t_same(other, low, count * 4, "bf16, parts");
            }
            if (own && t_fuses_dot16()) t_same(wide, low, count * 4, "bf16 by the CPU's dot products");
            if (own) ok(t_apart_f32(wide, low, count) < 40 * EPS, "bf16 by the CPU's dot products");
        }
        t_cpu_more = t_cpu_less = 0;
        /* bytes: 1/254 of the largest of a row, twice */
        t_level_outcome((alore_isa)isa, ALORE_I8, false, true, 1, 0, low);
        const double bytes = t_apart_f32(low, plain, 21);
        ok(bytes > 1e-4 && bytes < 0.05, "int8 is off by %.2g", bytes);
        t_level_outcome((alore_isa)isa, ALORE_I8, false, true, 2, 3, have);
        t_same(low, have, 21 * 4, "int8, parts");
    }
    free(first);
    free(have);
    free(low);
    free(wide);
    free(other);
}

/* A network with enough tokens for attention in bf16, by dot products of the CPU's own: near f32 and what comes
 * of widened products, the same bits for lanes and parts; f32 and int8 do not ask for them. */
static void t_levels_attention(void)
{
    enum { ROOM = 20000 };
    const char *spec = t_level_spec;
    static float have[6][ROOM];
    size_t count = 0;
    if (!t_runs_dot16()) {
        skip("needs AVX512_BF16, or BF16 of Arm");
        return;
    }
    t_level_spec = "vit:img=72x72,patch=8,dim=68,depth=2,heads=4,hidden=100,classes=7";
    for (int own = 0; own < 2; ++own) {
        t_cpu_more = own ? (unsigned)ALO_OWN_BF16 << 8 : 0;
        t_cpu_less = own ? 0 : (unsigned)ALO_OWN_BF16 << 8;
        t_level_outcome((alore_isa)T_DOT16_ISA, ALORE_F32, true, true, 1, 0, have[own]);
        t_level_outcome((alore_isa)T_DOT16_ISA, ALORE_I8, false, true, 1, 0, have[2 + own]);
        count = t_level_outcome((alore_isa)T_DOT16_ISA, ALORE_BF16, true, true, 1, 0, have[4 + own]);
        ok(count > 21 && count < ROOM, "count");
        /* random weights pass roundings on enlarged: products alone are off by 5 epsilons, with attention 11 */
        const double off = t_apart_f32(have[4 + own], have[0], count) * 128;
        ok(off > 0.01 && off < (own ? 16 : 8), "own %d: off by %.2f epsilons of bf16", own, off);
    }
    t_same(have[1], have[0], count * 4, "f32");
    t_same(have[3], have[2], 21 * 4, "int8");
    ok(memcmp(have[5], have[4], count * 4) != 0, "attention stayed f32");
    for (int k = 0; k < 3; ++k) {
        t_level_outcome((alore_isa)T_DOT16_ISA, ALORE_BF16, true, true, 1 + k, k == 1 ? 0 : k + 1, have[0]);
        t_same(have[0], have[5], count * 4, "lanes, parts");
    }
    for (int isa = ALORE_ISA_SCALAR; isa < T_DOT16_ISA; ++isa) { /* levels that have none */
        if (!alore_isa_name((alore_isa)isa)) continue;
        t_level_outcome((alore_isa)isa, ALORE_BF16, true, true, 1, 0, have[0]);
        t_cpu_more = 0;
        t_level_outcome((alore_isa)isa, ALORE_BF16, true, true, 1, 0, have[1]);
        t_cpu_more = (unsigned)ALO_OWN_BF16 << 8;
        t_same(have[0], have[1], count * 4, "other levels");
    }
    t_cpu_more = t_cpu_less = 0;
    t_level_spec = spec;
}

/* Gradients and logits of a batch of three under `o` on a level; how many. Packed where a precision is asked. */
static size_t t_zoo_outcome(int isa, alore_plan_opts o, const char *rules, double *out, size_t room)
{
    alore_config config = ALORE_ZERO;
    alore_model *m = NULL;
    alore_plan *p = NULL;
    alore_run *run = NULL;
    alore_weights *packed = NULL;
    alore_ctx ctx;
    size_t count = 0, all = 0;
    config.isa = (alore_isa)isa;
    config.threads = o.lanes > o.split ? o.lanes : o.split;
    o.batch = 3;
    if (!ok(alore_init(&ctx, &config) == ALORE_OK, "isa %d", isa)) return 0;
    alore_status s = t_vit(&ctx, t_slots, rules, 0, &m);
    if (!s) s = alore_plan_create(m, &o, &p);
    alore_weights *base = s ? NULL : t_base(&ctx, m, 3);
    if (!s && o.precision) s = alore_weights_pack(p, base, NULL, &packed);
    if (!s) s = alore_run_create(p, packed ? packed : base, &run);
    if (!s) {
        run->poison = true;
        t_fill(run, 5, 4);
        t_shake(run, 6);
        s = o.train ? alore_backward(run, 0) : alore_forward(run, 0);
    }
    if (ok(s == ALORE_OK, "%s: %s", rules, ctx.error.text)) {
        const void *g = alore_grads(run, &count);
        ok(count + 15 <= room, "room for %zu", count);
        for (size_t i = 0; i < 15; ++i) out[all++] = t_value(p, alore_run_output(run, "logits"), i);
        for (size_t i = 0; i < count; ++i) out[all++] = t_value(p, g, i);
    }
    alore_uninit(&ctx);
    return all;
}

/* Every form of every method: f32 on every level beside double, the same bits on lanes and parts and with
 * blocks recomputed; samples run as one matrix; products in fewer bits. */
static void t_levels_zoo(void)
{
    enum { ROOM = 20000 };
    double *want = (double *)calloc(ROOM, 8), *first = (double *)calloc(ROOM, 8), *have = (double *)calloc(ROOM, 8);
    for (size_t r = 0; r < sizeof t_zoo / sizeof *t_zoo; ++r) {
        alore_plan_opts o = ALORE_ZERO;
        o.train = true;
        o.dtype = ALORE_F64;
        o.off = ALORE_NO_FUSE;
        const size_t count = t_zoo_outcome(ALORE_ISA_SCALAR, o, t_zoo[r], want, ROOM);
        o.dtype = ALORE_F32;
        o.off = 0;
        for (int isa = ALORE_ISA_SCALAR; isa <= ALORE_ISA_NEON && count; ++isa) {
            if (!alore_isa_name((alore_isa)isa)) continue;
            const char *name = alore_isa_name((alore_isa)isa);
            ok(t_zoo_outcome(isa, o, t_zoo[r], first, ROOM) == count, "%s: count", t_zoo[r]);
            const double logits = t_apart(first, want, 15, 1e-3) / EPS;
            const double grads = t_apart(first + 15, want + 15, (int)count - 15, 1e-3) / EPS;
            ok(logits < 60 && grads < 60, "%s, %s: %.1f eps off, gradients %.1f", t_zoo[r], name, logits, grads);
            for (int k = 0; k < 4; ++k) {
                alore_plan_opts other = o;
                other.lanes = k == 0 ? 3 : 1;
                other.split = k == 1 ? 3 : 0;
                other.recompute = k == 2 ? ALORE_BLOCKS : ALORE_KEEP;
                other.span = k == 3 ? 3 : 0;
                t_zoo_outcome(isa, other, t_zoo[r], have, ROOM);
                const double spans = k == 3 ? t_apart(have, want, (int)count, 1e-3) / EPS : 0; /* other sums */
                if (k == 3)
                    ok(spans < 60, "%s, %s: spans are %.1f eps off", t_zoo[r], name, spans);
                else
                    t_same(first, have, count * 8, t_zoo[r]);
            }
            if (strstr(t_zoo[r], "drop")) continue; /* no masks where nothing is trained */
            o.precision = ALORE_BF16;
            t_zoo_outcome(isa, o, t_zoo[r], have, ROOM);
            const double narrow = t_apart(have, want, 15, 1e-3);
            o.precision = ALORE_I8;
            o.train = false;
            t_zoo_outcome(isa, o, t_zoo[r], have, ROOM);
            const double bytes = t_apart(have, want, 15, 1e-3);
            ok(narrow < 0.05 && bytes < 0.1, "%s, %s: bf16 is off by %.2g, int8 by %.2g", t_zoo[r], name, narrow, bytes);
            o.precision = ALORE_F32;
            o.train = true;
        }
    }
    free(want);
    free(first);
    free(have);
}

/* What is refused, and what it says. */
static void t_levels_refused(void)
{
    alore_config config = ALORE_ZERO;
    alore_ctx ctx;
    for (int isa = -1; isa <= ALORE_ISA_NEON + 1; ++isa) {
        config.isa = (alore_isa)isa;
        const bool has = alore_isa_name(config.isa) != NULL;
        ok((alore_init(&ctx, &config) == ALORE_OK) == has, "isa %d", isa);
        if (has && isa) ok(!strcmp(alore_isa_name(ctx.config.isa), alore_isa_name(config.isa)), "name");
        alore_uninit(&ctx);
    }
    ok(alore_isa_name(ALORE_ISA_AUTO) && alore_isa_name(ALORE_ISA_SCALAR), "scalar is always there");
    static const struct {
        alore_dtype precision, dtype;
        bool train, reference;
        const char *say;
    } rows[] = {{ALORE_I8, ALORE_F32, true, false, "no training products in I8"},
                {ALORE_F16, ALORE_F32, false, false, "no inference products in F16"},
                {ALORE_BF16, ALORE_F32, false, true, "in F32 only"},
                {ALORE_BF16, ALORE_F64, false, false, "in F32 only"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
        t_net n;
        alore_plan_opts o = ALORE_ZERO;
        memset(&n, 0, sizeof n);
        t_begin(&n.ctx, &n.heap);
        o.precision = rows[i].precision;
        o.dtype = rows[i].dtype;
        o.train = rows[i].train;
        o.reference = rows[i].reference;
        ok(t_vit(&n.ctx, t_micro, "unfreeze@head", 0, &n.model) == ALORE_OK, "%s", n.ctx.error.text);
        ok(alore_plan_create(n.model, &o, &n.plan) != ALORE_OK && strstr(n.ctx.error.text, rows[i].say),
           "row %zu: %s", i, n.ctx.error.text);
        t_net_close(&n);
    }
    t_net n;
    alore_plan_opts o = ALORE_ZERO;
    alore_weights *packed, *adapter = NULL, *a = NULL, *b = NULL;
    o.train = true;
    if (!t_net_open(&n, t_micro, "alore@qkv|fc1;unfreeze@head", &o, 0)) return;
    o.precision = ALORE_BF16;
    alore_plan *narrow = NULL;
    alore_run *run = NULL;
    ok(alore_plan_create(n.model, &o, &narrow) == ALORE_OK, "%s", n.ctx.error.text);
    ok(alore_run_create(narrow, n.base, &run) == ALORE_ERR_ORDER && strstr(n.ctx.error.text, "BF16"),
       "plain weights for bf16: %s", n.ctx.error.text);
    ok(alore_weights_pack(n.plan, n.base, NULL, &packed) == ALORE_OK, "%s", n.ctx.error.text);
    ok(alore_run_create(narrow, packed, &run) == ALORE_ERR_SHAPE, "f32 panels for bf16: %s", n.ctx.error.text);
    /* a packed set stands for its origin in merges */
    ok(alore_run_export(n.run, &adapter) == ALORE_OK, "%s", n.ctx.error.text);
    ok(alore_merge(n.model, n.base, adapter, NULL, &a, NULL) == ALORE_OK, "%s", n.ctx.error.text);
    ok(alore_merge(n.model, packed, adapter, NULL, &b, NULL) == ALORE_OK, "%s", n.ctx.error.text);
    ok(a && b && alore_weights_fingerprint(a) == alore_weights_fingerprint(b), "merges differ");
    /* kernels that know no panels read its origin, and pack nothing */
    o.precision = ALORE_F32;
    for (int k = 0; k < 2; ++k) {
        alore_plan *plain = NULL;
        alore_weights *none = NULL;
        o.reference = k == 0;
        o.dtype = k ? ALORE_F64 : ALORE_F32;
        ok(alore_plan_create(n.model, &o, &plain) == ALORE_OK, "%s", n.ctx.error.text);
        ok(alore_weights_pack(plain, n.base, NULL, &none) == ALORE_ERR_UNSUPPORTED && !none, "packed for nobody");
        alore_run *both[2] = {NULL, NULL};
        for (int i = 0; i < 2; ++i) {
            ok(alore_run_create(plain, i ? packed : n.base, &both[i]) == ALORE_OK, "%s", n.ctx.error.text);
            t_fill(both[i], 5, 4);
            ok(alore_forward(both[i], 0) == ALORE_OK, "%s", n.ctx.error.text);
        }
        t_same(alore_run_output(both[0], "logits"), alore_run_output(both[1], "logits"), 5 * plain->real, "origin");
    }
    t_store(alore_weights_data(n.base, "blocks.1.mlp.fc2.weight"), 77, 4, (double)NAN);
    ok(alore_weights_pack(n.plan, n.base, NULL, &packed) == ALORE_ERR_NONFINITE &&
           strstr(n.ctx.error.text, "blocks.1.mlp.fc2.weight") && strstr(n.ctx.error.text, "77"),
       "%s", n.ctx.error.text);
    t_net_close(&n);
}

/* ---- Training ---------------------------------------------------------------- */

static void t_schedules(void)
{
    alore_schedule s = ALORE_ZERO;
    s.kind = ALORE_COSINE;
    s.lr = 2.0f;
    s.warmup = 10;
    s.total = 50;
    for (int i = 0; i < 60; ++i) {
        double want = i < 10 ? 2.0 * i / 10
                      : i < 50 ? 1 + cos(3.141592653589793 * (i - 10) / 40)
                               : 0;
        near((double)alore_lr(&s, i), want, 4 * EPS, "warm-up cosine");
    }
    s.kind = ALORE_TIMM_COSINE;
    s.lr_min = 0.1f;
    s.lr_start = 0.5f;
    near((double)alore_lr(&s, 5), 0.5 + 0.5 * 1.5, 4 * EPS, "timm warm-up");
    near((double)alore_lr(&s, 10), 0.1 + 0.5 * 1.9 * (1 + cos(3.141592653589793 / 5)),
         4 * EPS, "timm cosine is not shifted");
    near((double)alore_lr(&s, 50), 0.1, EPS, "timm end");
    s.kind = ALORE_CONSTANT;
    near((double)alore_lr(&s, 1000), 2.0, 0, "constant");
}

/* The published schedules (golden units). */
static void t_schedule_units(void)
{
    static const struct {
        const char *file;
        alore_schedule_kind kind;
        bool late;
    } rows[] = {{"schedule_arc", ALORE_COSINE, false},
                {"schedule_vpt", ALORE_COSINE, false},
                {"schedule_timm_ssf", ALORE_TIMM_COSINE, false},
                {"schedule_timm_late", ALORE_TIMM_COSINE, true},
                {"schedule_timm_glora", ALORE_TIMM_COSINE, true}};
    if (!t_golden) {
        skip("the full set is not here");
        return;
    }
    for (size_t r = 0; r < 5; ++r) {
        alore_ctx ctx;
        t_heap heap;
        alore_weights *w = NULL;
        char file[64];
        float lr[120];
        alore_schedule s = ALORE_ZERO;
        t_begin(&ctx, &heap);
        snprintf(file, sizeof file, "units/%s.safetensors", rows[r].file);
        if (ok(alore_weights_load(&ctx, t_path(file), &w) == ALORE_OK, "%s", ctx.error.text)) {
            const alore_tensor *t = alore_weights_find(w, "out.lr");
            const char *keys[] = {"lr", "lr_min", "warmup_lr", "warmup", "total", "floor"};
            double v[6] = {0, 0, 0, 0, 0, 0};
            for (int k = 0; k < 6; ++k) {
                const char *text = alore_weights_meta(w, keys[k]);
                if (text) v[k] = strtod(text, NULL);
            }
            s.kind = rows[r].kind;
            s.lr = (float)v[0];
            s.lr_min = s.kind == ALORE_COSINE ? (float)(v[5] * v[0]) : (float)v[1];
            s.lr_start = (float)v[2];
            s.warmup = (int)v[3];
            s.total = (int)v[4];
            bool fine = t && t->dims[0] == 120 && alore_tensor_read(t, 0, 120, lr) && s.total > 0;
            ok(fine, "%s: unread", file);
            for (int e = 0; e < 120 && fine; ++e) {
                int at = rows[r].late && e ? e - 1 : e;
                if (!near((double)alore_lr(&s, at), (double)lr[e], 8 * EPS * v[0], file)) break;
            }
        }
        t_end(&ctx, &heap);
    }
}

/* Stop anywhere, resume: the same bytes as never stopped. */
static void t_resume(void)
{
    static unsigned char blob[1 << 17];
    alo_text t = {(char *)blob, sizeof blob, 0};
    alore_writer w;
    w.write = t_collect;
    w.user = &t;
    for (int stop = 0; stop < 5; ++stop) {
        /* at 4 with what does not learn, too, which another seed made in b */
        const char *rules = stop == 4 ? "vera:rank=4,dropout=0.1@qkv;sparse:entries=9@fc1;mlae:dropout=0.5@fc2;"
                                        "mlae:experts=3,mask=given@proj" : "alore:dropout=0.2@qkv|fc1;unfreeze@head";
        t_net a, b;
        alore_plan_opts o = ALORE_ZERO;
        size_t count;
        o.store = stop == 3 ? ALORE_BF16 : ALORE_F32;
        o.slope8 = stop == 3;
        o.train = true;
        o.batch = 3;
        bool fine = t_net_open(&a, t_micro, rules, &o, 0.1f) &
                    t_net_open(&b, t_micro, rules, &o, 0.1f);
        if (fine && stop == 4) alore_run_reset(a.run, 7);
        for (int step = 0; step < 6 && fine; ++step) {
            if (step == stop) {
                t.used = 0;
                ok(alore_checkpoint_write(a.run, "tag", &w) == ALORE_OK, "write");
            }
            alore_backward(a.run, 0);
            if (step == stop)
                ok(alore_checkpoint_write(a.run, "tag", &w) == ALORE_ERR_ORDER, "in between");
            alore_step(a.run, NULL, 0.01f, NULL);
        }
        if (fine) {
            ok(alore_checkpoint_read(b.run, "other", blob, t.used) == ALORE_ERR_ARGUMENT,
               "other settings");
            ok(alore_checkpoint_read(b.run, "tag", blob, t.used - 1) == ALORE_ERR_FORMAT, "cut");
            ok(alore_checkpoint_read(b.run, "tag", blob, 20) == ALORE_ERR_FORMAT, "short");
            blob[t.used / 2] ^= 1;
            ok(alore_checkpoint_read(b.run, "tag", blob, t.used) == ALORE_ERR_FORMAT, "damaged");
            blob[t.used / 2] ^= 1;
            ok(alore_checkpoint_read(b.run, "tag", blob, t.used) == ALORE_OK, "%s",
               b.ctx.error.text);
            for (size_t i = 0; stop == 4 && i < 36; ++i) { /* an index outside, sealed well */
                const size_t at = t.used - 8 - 4 * (i + 1);
                float x = 1e6f, was;
                uint64_t sum;
                memcpy(&was, blob + at, 4);
                if (!(was >= 2 && was == floorf(was))) continue;
                memcpy(blob + at, &x, 4);
                sum = alo_hash(blob, t.used - 8, 0);
                memcpy(blob + t.used - 8, &sum, 8);
                ok(alore_checkpoint_read(b.run, "tag", blob, t.used) == ALORE_ERR_SHAPE &&
                       strstr(b.ctx.error.text, "fc1.sparse.index"), "%s", b.ctx.error.text);
                memcpy(blob + at, &was, 4);
            }
            for (int step = stop; step < 6; ++step) {
                alore_backward(b.run, 0);
                alore_step(b.run, NULL, 0.01f, NULL);
            }
            const float *x = alore_params(a.run, &count), *y = alore_params(b.run, &count);
            t_same(x, y, count * sizeof *x, "parameters after resuming");
        }
        t_net_close(&a);
        t_net_close(&b);
    }
}

/* NaN in the loss or the gradient: the step is refused, nothing is written. */
static void t_nonfinite(void)
{
    t_net n;
    alore_plan_opts o = ALORE_ZERO;
    static float before[4000];
    size_t count;
    o.train = true;
    o.batch = 2;
    if (t_net_open(&n, t_micro, "alore@qkv;unfreeze@head", &o, 0)) {
        float *p = alore_params(n.run, &count);
        memcpy(before, p, count * sizeof *p);
        float *image = (float *)alore_run_input(n.run, "image"), keep = image[700];
        image[768 + 5] = alo_float(0x7fc00000u);
        ok(alore_backward(n.run, 0) == ALORE_ERR_NONFINITE && strstr(n.ctx.error.text, "item 1"),
           "%s", n.ctx.error.text);
        ok(alore_step(n.run, NULL, 0.1f, NULL) == ALORE_ERR_ORDER, "step after a refusal");
        image[768 + 5] = keep;
        ok(alore_backward(n.run, 0) == ALORE_OK, "%s", n.ctx.error.text);
        alore_grads(n.run, NULL)[7] = 1e38f * 10.0f;
        ok(alore_step(n.run, NULL, 0.1f, NULL) == ALORE_ERR_NONFINITE && strstr(n.ctx.error.text, "of step 1 "),
           "infinite gradient: %s", n.ctx.error.text);
        t_same(before, p, count * sizeof *p, "parameters");
        ok(alore_backward(n.run, 0) == ALORE_OK && alore_step(n.run, NULL, 0.1f, NULL) == ALORE_OK,
           "usable afterwards: %s", n.ctx.error.text);
        for (size_t i = 0; i < count; ++i)
            if (!(fabs((double)p[i]) < 10)) {
                ok(false, "parameter %zu is %g", i, (double)p[i]);
                break;
            }
    }
    t_net_close(&n);
}

/* Accumulation over calls is the mean over all; clipping and decay by range. */
static void t_steps(void)
{
    t_net a, b;
    alore_plan_opts o = ALORE_ZERO;
    alore_step_opts step = ALORE_ZERO;
    size_t count;
    float norm;
    o.train = true;
    o.optimizer = ALORE_SGD;
    o.batch = 4;
    if (t_net_open(&a, t_micro, "lora@qkv;unfreeze@head", &o, 0)) {
        o.batch = 2;
        if (t_net_open(&b, t_micro, "lora@qkv;unfreeze@head", &o, 0)) {
            alore_backward(a.run, 0);
            alore_step(a.run, &step, 1.0f, &norm);
            const float *from = (const float *)alore_run_input(a.run, "image");
            for (int half = 0; half < 2; ++half) {
                memcpy(alore_run_input(b.run, "image"), from + half * 2 * 768,
                       2 * 768 * sizeof *from);
                int32_t *label = (int32_t *)alore_run_input(b.run, "label");
                for (int i = 0; i < 2; ++i) label[i] = ((half * 2 + i) * 2 + 1) % 5;
                ok(alore_backward(b.run, 0) == ALORE_OK, "half");
            }
            step.clip = (double)norm / 4;
            float *y = alore_params(b.run, &count), *x = alore_params(a.run, &count);
            static float old[20000];
            memcpy(old, y, count * sizeof *y);
            alore_step(b.run, &step, 1.0f, NULL);
            for (size_t i = 0; i < count; ++i) {
                double full = (double)x[i] - (double)old[i], part = (double)y[i] - (double)old[i];
                if (!near(4 * part, full, 30 * EPS, "a quarter of the step")) break;
            }
            ok(alore_step(b.run, &step, 1.0f, NULL) == ALORE_ERR_ORDER, "no gradients");
            static const double wrong[][4] = {{1, 0, 0, 0}, {0, 1.5, 0, 0}, {0, 0, -1, 0}, {0, 0, 0, -0.1},
                                              {0, 0, 0, (double)NAN}, {0, 0, (double)INFINITY, 0}, {(double)NAN, 0, 0, 0}};
            alore_backward(b.run, 0);
            memcpy(old, y, count * sizeof *y);
            for (size_t i = 0; i < sizeof wrong / sizeof *wrong; ++i) {
                alore_step_opts bad = ALORE_ZERO;
                bad.beta1 = wrong[i][0];
                bad.beta2 = wrong[i][1];
                bad.momentum = wrong[i][2];
                bad.decay = wrong[i][3];
                const alore_status s = alore_step(b.run, &bad, 1.0f, NULL);
                ok(s == ALORE_ERR_ARGUMENT, "settings %zu: %s", i, b.ctx.error.text);
            }
            t_same(old, y, count * sizeof *y, "refused settings changed nothing");
            step.momentum = 0.9;
            ok(alore_step(b.run, &step, 1.0f, NULL) == ALORE_ERR_ORDER, "no moments planned");
        }
        t_net_close(&b);
    }
    t_net_close(&a);
    memset(&step, 0, sizeof step);
    memset(&o, 0, sizeof o);
    o.train = true;
    step.decay = 1.0;
    step.decay_matrices = true;
    if (t_net_open(&a, t_micro, "unfreeze@head", &o, 0)) {
        static float old[200];
        float *x = alore_params(a.run, &count);
        memcpy(old, x, count * sizeof *x);
        alore_backward(a.run, 0);
        memset(alore_grads(a.run, NULL), 0, count * sizeof(float));
        alore_step(a.run, &step, 0.5f, NULL);
        for (int i = 0; i < alore_param_count(a.plan); ++i) {
            alore_param_info q = alore_param_at(a.plan, i);
            near((double)x[q.first], (double)old[q.first] * (q.matrix ? 0.5 : 1.0), 2 * EPS,
                 q.name);
        }
    }
    t_net_close(&a);
}

/* ---- Adapters, merging ------------------------------------------------------- */

/* Logits of a fresh start; false where they could not be had. */
static bool t_start_logits(int isa, alore_plan_opts o, const char *rules, uint64_t seed, double out[15])
{
    alore_config config = ALORE_ZERO;
    alore_model *m = NULL;
    alore_plan *p = NULL;
    alore_run *run = NULL;
    alore_ctx ctx;
    config.isa = (alore_isa)isa;
    o.batch = 3;
    if (!ok(alore_init(&ctx, &config) == ALORE_OK, "isa %d", isa)) return false;
    alore_status s = t_vit(&ctx, t_slots, rules, 0, &m);
    if (!s) s = alore_plan_create(m, &o, &p);
    if (!s) s = alore_run_create(p, t_base(&ctx, m, 3), &run);
    if (!s) t_fill(run, 5, 4);
    if (!s) s = alore_run_reset(run, seed);
    if (!s) s = alore_forward(run, 0);
    for (size_t i = 0; i < 15 && !s; ++i) out[i] = t_value(p, alore_run_output(run, "logits"), i);
    ok(s == ALORE_OK, "%s: %s", rules, ctx.error.text);
    alore_uninit(&ctx);
    return s == ALORE_OK;
}

/* A start is the identity bit for bit, on every level; where a publication's is not, neither is ours (seen in
 * double: two of them are near). At proj and fc2 the base fuses the residual into its product and an adapter
 * is in the way of that, so that a sum is rounded elsewhere: there both run unfused. */
static void t_starts(void)
{
    static const char *const rows[] = { /* first those that start elsewhere */
        "ssf@norm1", "ssf:place=input@fc2", "lora:init=published,rank=2@qkv", "arc:init=published,rank=3@fc1",
        "compacter:init=published,experts=2,hidden=4@mlp", "phm:init=published,experts=2,hidden=4,act=none@proj",
        NULL, "alore:rank=2,experts=4@qkv|fc1|head|patch", "alore:experts=1@qkv", "alore:place=output@proj|fc2",
        "kron@qkv|fc1", "arc:rank=3@qkv|fc1", "arc:init=published,rank=3@qkv",
        "repadapter:rank=4,scale=5@qkv|fc1|proj", "repadapter:rank=4,place=output@fc2", "lora:rank=3@qkv|fc2|patch",
        "lora:rank=2,parts=qv@qkv", "mlae:experts=3,lambda=2@qkv|fc2", "mlae:mask=given@proj", "fact_tt:rank=3@qkv|proj|fc1|fc2",
        "fact_tk:rank=3,scale=10@qkv|proj|fc1|fc2", "fact_tk:rank=3,layout=paper@qkv|fc2", "kadaptation:experts=4@qkv",
        "kadaptation:experts=4,init=published@qkv", "glora@qkv|proj|fc1|fc2|head|patch",
        "glora:a=vector,b=constant,c=vector,parts=qk@qkv", "glora:a=constant,b=vector,d=constant,e=constant@fc1",
        "sparse:entries=50,bias_entries=9@qkv|fc2", "sparse:entries=0,bias_entries=9@qkv|fc2", "sparse:entries=50,bias_entries=9@qkv;glora@qkv",
        "compacter:experts=2,hidden=4@attn|mlp", "compacter:experts=4,hidden=8,act=none@proj",
        "phm:experts=2,hidden=4@attn|mlp", "phm:experts=4,hidden=8,act=none,place=input@fc1", "dora:rank=3@qkv|fc2|patch",
        "dora:rank=2,parts=qv@qkv", "adalora:rank=3@qkv|fc1", "vera:rank=5@qkv|fc2", "vera:rank=5,parts=k@qkv",
        "ia3@qkv|fc1", "ia3:parts=kv@qkv;ia3:place=input@fc2", "lokr:rank=2@qkv|fc2", "lokr:factor=8@proj",
        "lokr:rank=1,both=1@qkv", "loha:rank=2@qkv", "loha:rank=8@fc1", "oft:block=4@qkv|fc1", "oft:block=8,terms=0@qkv|fc2",
        "oft:block=6,terms=3,parts=qv@qkv", "boft:block=4@qkv", "boft:block=4,factors=2,parts=v@qkv;boft:factors=3@fc2",
        "ssf@norm2;ia3@qkv"}; /* the last: ssf again, beside another */
    const size_t count = sizeof rows / sizeof *rows;
    for (int isa = ALORE_ISA_SCALAR; isa <= ALORE_ISA_NEON; ++isa)
        for (unsigned off = 0; off < 2 && alore_isa_name((alore_isa)isa); ++off) {
            double want[2][15], have[15], other[15];
            alore_plan_opts o = ALORE_ZERO;
            bool same = false;
            o.off = off;
            t_start_logits(isa, o, "unfreeze@head", 1, want[1]);
            o.dtype = ALORE_F64;
            t_start_logits(isa, o, "unfreeze@head", 1, want[0]);
            for (size_t r = 0; r < count; ++r) {
                const char *rule = rows[r];
                if (!rule) same = true;
                if (!rule) continue;
                const bool identity = same && r < count - 1;
                if (identity && !off && (strstr(rule, "proj") || strstr(rule, "fc2") || strstr(rule, "mlp"))) continue;
                o.dtype = identity ? ALORE_F32 : ALORE_F64;
                if (!t_start_logits(isa, o, rule, 8, have) || !t_start_logits(isa, o, rule, 9, other)) continue;
                double apart = 0, most = 0;
                for (int i = 0; i < 15; ++i) {
                    apart = fmax(apart, fabs(want[identity][i] - have[i]));
                    most = fmax(most, fabs(have[i]));
                }
                ok(identity ? apart <= T_BLAS_EPS * most : apart > 0, "%s: %s, %u starts %s", rule,
                   alore_isa_name((alore_isa)isa), off, identity ? "with other bits" : "at the identity");
                ok(!memcmp(have, other, sizeof have) == identity, "%s: the seed decides", rule);
            }
        }
}

/* As published KAdaptation's D and U are both zero, so that the bias alone ever learns; by default U does. */
static void t_starts_dead(void)
{
    for (int published = 0; published < 2; ++published) {
        t_net n;
        alore_plan_opts o = ALORE_ZERO;
        o.train = true;
        if (t_net_open(&n, t_slots, published ? "kadaptation:experts=4,init=published@qkv" : "kadaptation:experts=4@qkv",
                       &o, 0)) {
            alore_run_reset(n.run, 3);
            ok(alore_backward(n.run, 0) == ALORE_OK, "%s", n.ctx.error.text);
            const float *g = alore_grads(n.run, NULL);
            for (int i = 0; i < alore_param_count(n.plan); ++i) {
                const alore_param_info q = alore_param_at(n.plan, i);
                const char *last = strrchr(q.name, '.');
                float most = 0;
                for (size_t k = 0; k < q.count; ++k) most = fmaxf(most, fabsf(g[q.first + k]));
                const bool learns = !strcmp(last, ".bias") || (!published && !strcmp(last, ".U"));
                ok((most > 0) == learns, "published %d: the gradient of %s is %g", published, q.name, (double)most);
            }
        }
        t_net_close(&n);
    }
}

/* Logits of a run loaded from an adapter; "" or what was said. */
static const char *t_loaded(t_net *n, const alore_weights *w, float out[10])
{
    if (alore_run_load(n->run, w) != ALORE_OK || alore_forward(n->run, 0) != ALORE_OK) return n->ctx.error.text;
    memcpy(out, alore_run_output(n->run, "logits"), 40);
    return "";
}

/* A copy of the set without tensors whose name holds `without`. */
static alore_weights *t_copy(alore_ctx *ctx, const alore_weights *w, const char *without)
{
    alore_weights *to = NULL;
    alore_weights_create(ctx, &to);
    for (int i = 0; i < alore_weights_count(w); ++i)
        if (!without || !strstr(alore_weights_at(w, i)->name, without)) alore_weights_add(to, alore_weights_at(w, i));
    for (int i = 0; i < alore_weights_meta_count(w); ++i) {
        const char *key, *value;
        alore_weights_meta_at(w, i, &key, &value);
        alore_weights_set_meta(to, key, value);
    }
    return to;
}

/* What a seed makes again is not in the file, unless asked for; a file that has it is believed. */
static void t_adapters_drawn(void)
{
    const char *rules = "vera:rank=5@qkv|fc2;unfreeze@head";
    t_net n;
    alore_plan_opts o = ALORE_ZERO;
    alore_weights *small = NULL, *large = NULL, *merged[2] = {NULL, NULL};
    alore_plan *plan = NULL;
    alore_run *full = NULL;
    float want[10], have[10];
    o.batch = 2;
    if (t_net_open(&n, t_micro, rules, &o, 0)) {
        alore_run_reset(n.run, 11223344556677ull);
        t_shake(n.run, 5);
        ok(alore_forward(n.run, 0) == ALORE_OK, "%s", n.ctx.error.text);
        memcpy(want, alore_run_output(n.run, "logits"), sizeof want);
        ok(alore_run_export(n.run, &small) == ALORE_OK, "%s", n.ctx.error.text);
        const char *seed = alore_weights_meta(small, "alore.seed");
        ok(seed && !strcmp(seed, "11223344556677"), "seed %s", seed ? seed : "none");
        ok(!alore_weights_find(small, "vera.A") && !alore_weights_find(small, "vera.B") &&
               !alore_weights_meta(small, "alore.frozen"), "the file holds what its seed makes");
        alore_run_reset(n.run, 1);
        ok(!*t_loaded(&n, small, have), "%s", n.ctx.error.text);
        t_same(want, have, sizeof want, "made again from the seed");
        alore_weights *again = NULL; /* the run has another seed now: its own does not make them */
        ok(alore_run_export(n.run, &again) == ALORE_OK, "%s", n.ctx.error.text);
        alore_run_reset(n.run, 2);
        ok(!*t_loaded(&n, again, have), "%s", n.ctx.error.text);
        t_same(want, have, sizeof want, "exported once more");
        /* stored when asked for */
        o.frozen = true;
        ok(alore_plan_create(n.model, &o, &plan) == ALORE_OK && alore_run_create(plan, n.base, &full) == ALORE_OK &&
               alore_run_load(full, small) == ALORE_OK && alore_run_export(full, &large) == ALORE_OK, "%s",
           n.ctx.error.text);
        const alore_tensor *a = alore_weights_find(large, "vera.A"), *b = alore_weights_find(large, "vera.B");
        ok(a && b && a->dims[0] == 40 && a->dims[1] == 5 && b->dims[0] == 5 && b->dims[1] == 72, "A and B");
        const char *frozen = alore_weights_meta(large, "alore.frozen");
        ok(frozen && strstr(frozen, "vera.A") && strstr(frozen, "vera.B"), "frozen: %s", frozen ? frozen : "none");
        alore_run_reset(n.run, 1);
        ok(!*t_loaded(&n, large, have), "%s", n.ctx.error.text);
        t_same(want, have, sizeof want, "stored");
        for (int k = 0; k < 2; ++k)
            ok(alore_merge(n.model, n.base, k ? large : small, NULL, &merged[k], NULL) == ALORE_OK, "%s",
               n.ctx.error.text);
        for (int i = 0; merged[1] && i < alore_weights_count(merged[0]); ++i) {
            const alore_tensor *x = alore_weights_at(merged[0], i), *y = alore_weights_find(merged[1], x->name);
            ok(y && x->bytes == y->bytes && !memcmp(x->data, y->data, x->bytes), "%s merges otherwise", x->name);
        }
        /* a file's own is not what a seed makes */
        void *drawn = alore_weights_data(large, "vera.A");
        t_store(drawn, 7, 4, t_stored(drawn, 7, 4) + 1);
        ok(!*t_loaded(&n, large, have) && memcmp(want, have, sizeof want), "the file's A was not taken");
        alore_run_reset(n.run, UINT64_MAX); /* every seed there is */
        ok(alore_run_export(n.run, &again) == ALORE_OK && !*t_loaded(&n, again, have), "%s", n.ctx.error.text);
        /* seeds that are none */
        static const char *const seeds[] = {"", "x", "12x", "-1", "1.5", " 7", "99999999999999999999999", NULL};
        for (int k = 0; k < 8; ++k) {
            alore_weights_set_meta(small, "alore.seed", seeds[k]);
            ok(alore_run_load(n.run, small) == ALORE_ERR_NAME && strstr(n.ctx.error.text, "vera."), "seed \"%s\": %s",
               seeds[k] ? seeds[k] : "(none)", n.ctx.error.text);
            ok(alore_merge(n.model, n.base, small, NULL, &merged[0], NULL) == ALORE_ERR_NAME, "merged without a seed");
        }
    }
    t_net_close(&n);
}

/* Indices: whole numbers in files, inside the matrix; else the tensor is named. */
static void t_adapters_indices(void)
{
    static const struct { const char *name; int at; double value; bool fine; } rows[] = {
        {"index", 0, 71, true},  {"index", 0, 72, false},  {"index", 1, 23, true}, {"index", 1, 24, false},
        {"index", 6, -1, false}, {"index", 7, 0.5, false}, {"index", 5, 1e9, false}, {"index", 5, -0.25, false},
        {"bias_index", 1, 71, true}, {"bias_index", 2, 72, false}, {"bias_index", 1, 72, false},
        {"bias_index", 0, -3, false}, {"index", 2, (double)NAN, false}, {"index", 2, (double)INFINITY, false}};
    t_net n;
    alore_weights *w = NULL;
    float have[10];
    alore_plan_opts o = ALORE_ZERO;
    o.batch = 2;
    if (t_net_open(&n, t_micro, "sparse:entries=4,bias_entries=3@qkv#1", &o, 0)) {
        const char *const site = "blocks.1.attn.qkv.sparse.";
        char name[80];
        ok(alore_run_export(n.run, &w) == ALORE_OK, "%s", n.ctx.error.text);
        for (int k = 0; k < 2; ++k) {
            snprintf(name, sizeof name, "%s%s", site, k ? "bias_index" : "index");
            const alore_tensor *t = alore_weights_find(w, name);
            ok(t && t->dtype == ALORE_I32 && t->rank == 2 - k && t->dims[0] == (k ? 3u : 4u), "%s", name);
            const char *frozen = alore_weights_meta(w, "alore.frozen");
            ok(frozen && strstr(frozen, name), "frozen: %s", frozen ? frozen : "none");
        }
        for (size_t r = 0; r < sizeof rows / sizeof *rows; ++r)
            for (int wide = 0; wide < 2; ++wide) { /* as integers, as floats */
                snprintf(name, sizeof name, "%s%s", site, rows[r].name);
                const alore_tensor *t = alore_weights_find(w, name);
                const bool whole = rows[r].value >= -1e9 && rows[r].value == floor(rows[r].value);
                alore_weights *bad = t_copy(&n.ctx, w, name);
                alore_tensor x = *t;
                float as_float[8];
                int32_t as_int[8], as_file[8];
                const size_t count = t->bytes / 4;
                if (!wide && !whole) continue;
                alo_swap(as_int, t->data, 4, count);
                for (size_t k = 0; k < count; ++k) as_float[k] = (float)as_int[k];
                as_float[rows[r].at] = (float)rows[r].value;
                if (whole) as_int[rows[r].at] = (int32_t)rows[r].value;
                alo_swap(as_file, wide ? (const void *)as_float : (const void *)as_int, 4, count);
                x.data = as_file;
                x.dtype = wide ? ALORE_F32 : ALORE_I32;
                ok(alore_weights_add(bad, &x) == ALORE_OK, "%s", n.ctx.error.text);
                const char *said = t_loaded(&n, bad, have);
                ok(rows[r].fine ? !*said : strstr(said, name) != NULL, "%s[%d] = %g: \"%s\"", name, rows[r].at,
                   rows[r].value, said);
                alore_weights *merged = NULL;
                const alore_status s = alore_merge(n.model, n.base, bad, NULL, &merged, NULL);
                ok(rows[r].fine ? s == ALORE_OK : s != ALORE_OK && !merged, "%s[%d] = %g merges: %d", name, rows[r].at,
                   rows[r].value, (int)s);
            }
    }
    t_net_close(&n);
}

/* One mask of experts a step: other in the next one, the same for a batch in two calls, and for all samples. */
static void t_once_masks(void)
{
    t_net n[2];
    float whole[2][20], parts[2][20];
    double grads[2][2];
    const char *rules = "mlae:experts=6,dropout=0.5@qkv|fc1";
    for (int k = 0; k < 2; ++k) {
        alore_plan_opts o = ALORE_ZERO;
        o.train = true;
        o.batch = 4 >> k;
        o.recompute = k ? ALORE_BLOCKS : ALORE_KEEP;
        if (!t_net_open(&n[k], t_micro, rules, &o, 0)) continue;
        const size_t pixels = 4 * 256 * 3 >> k;
        float *image = (float *)alore_run_input(n[k].run, "image");
        int32_t *label = (int32_t *)alore_run_input(n[k].run, "label");
        for (int step = 0; step < 2; ++step) {
            for (int call = 0; call <= k; ++call) {
                for (size_t i = 0; i < pixels; ++i)
                    image[i] = alore_random_normal(4, 99, i % 768 + (size_t)call * 768); /* two different ones */
                for (int i = 0; i < 4 >> k; ++i) label[i] = 1;
                if (!k)
                    for (size_t i = 0; i < pixels; ++i)
                        image[i] = alore_random_normal(4, 99, i % 768 + (i / 1536) * 768);
                ok(alore_backward(n[k].run, 0) == ALORE_OK, "%s", n[k].ctx.error.text);
                memcpy((k ? parts : whole)[step] + call * 10, alore_run_output(n[k].run, "logits"), k ? 40 : 80);
            }
            const float *g = alore_grads(n[k].run, NULL);
            grads[k][step] = 0;
            for (size_t i = 0; i < alore_trainable(n[k].plan); ++i) grads[k][step] += fabs((double)g[i]);
            ok(alore_step(n[k].run, NULL, 0, NULL) == ALORE_OK, "%s", n[k].ctx.error.text);
        }
    }
    t_same(whole, parts, sizeof whole, "a batch in two calls");
    near(grads[1][0] / grads[0][0], 1, 1e-4, "gradients of both calls");
    ok(!memcmp(whole[0], whole[0] + 5, 20), "samples of one image differ");
    ok(memcmp(whole[0], whole[1], 20) != 0, "the next step has the same mask");
    t_net_close(&n[0]);
    t_net_close(&n[1]);
}

/* A backward pass in small steps: none of it is seen before its end, and one left in the middle is forgotten. */
static void t_steps_small(void)
{
    t_net n;
    alore_plan_opts o = ALORE_ZERO;
    size_t count;
    bool done = false;
    o.train = true;
    o.batch = 2;
    if (t_net_open(&n, t_micro, "alore@qkv;unfreeze@head", &o, 0)) {
        static float want[20000];
        ok(alore_backward(n.run, 0) == ALORE_OK, "%s", n.ctx.error.text);
        const float *g = alore_grads(n.run, &count);
        memcpy(want, g, count * sizeof *g);
        alore_run_reset(n.run, 0);
        t_shake(n.run, 5);
        ok(alore_backward(n.run, 0) == ALORE_OK, "%s", n.ctx.error.text);
        memcpy(want, alore_grads(n.run, NULL), count * sizeof *want);
        for (int left = 1; left < alore_plan_records(n.plan) * 2; left += 7) {
            ok(alore_begin(n.run, ALORE_BACKWARD, 0) == ALORE_OK, "%s", n.ctx.error.text);
            ok(alore_advance(n.run, left, &done) == ALORE_OK && !done, "after %d records", left);
            ok(alore_step(n.run, NULL, 1, NULL) == ALORE_ERR_ORDER, "a step in the middle");
            ok(alore_begin(n.run, ALORE_BACKWARD, 0) == ALORE_OK, "%s", n.ctx.error.text);
            for (done = false; !done;)
                if (!ok(alore_advance(n.run, 50, &done) == ALORE_OK, "%s", n.ctx.error.text)) break;
            t_same(want, alore_grads(n.run, NULL), count * sizeof *want, "gradients after a pass left in the middle");
        }
        ok(alore_step(n.run, NULL, 1, NULL) == ALORE_OK, "%s", n.ctx.error.text);
    }
    t_net_close(&n);
}

/* Export, load, and what a wrong adapter is told. */
static void t_adapters(void)
{
    t_net n;
    alore_plan_opts o = ALORE_ZERO;
    alore_weights *w = NULL, *less = NULL;
    size_t count;
    static float before[20000];
    o.train = true;
    if (t_net_open(&n, t_micro, "alore@qkv;lora:parts=k@qkv;unfreeze@head", &o, 0)) {
        float *p = alore_params(n.run, &count);
        memcpy(before, p, count * sizeof *p);
        ok(alore_run_export(n.run, &w) == ALORE_OK, "%s", n.ctx.error.text);
        ok(alore_weights_count(w) == alore_param_count(n.plan), "%d tensors",
           alore_weights_count(w));
        ok(!strcmp(alore_weights_meta(w, "alore.rules"), "alore@qkv;lora:parts=k@qkv;unfreeze@head"),
           "rules");
        ok(!strcmp(alore_weights_meta(w, "alore.backbone"), t_micro), "backbone: %s",
           alore_weights_meta(w, "alore.backbone"));
        ok(strlen(alore_weights_meta(w, "alore.base")) == 16, "fingerprint");
        alore_run_reset(n.run, 1);
        ok(memcmp(before, p, count * sizeof *p) != 0, "reset changed nothing");
        ok(alore_run_load(n.run, w) == ALORE_OK, "%s", n.ctx.error.text);
        t_same(before, p, count * sizeof *p, "load");
        alore_weights_create(&n.ctx, &less);
        for (int i = 1; i < alore_weights_count(w); ++i)
            alore_weights_add(less, alore_weights_at(w, i));
        ok(alore_run_load(n.run, less) == ALORE_ERR_NAME &&
               strstr(n.ctx.error.text, alore_weights_at(w, 0)->name), "%s", n.ctx.error.text);
        alore_weights *merged = NULL;
        ok(alore_merge(n.model, n.base, less, NULL, &merged, NULL) == ALORE_ERR_NAME && !merged, "%s",
           n.ctx.error.text);
        void *head = alore_weights_data(w, "head.bias");
        const double kept = t_stored(head, 2, 4);
        t_store(head, 2, 4, (double)NAN);
        ok(alore_merge(n.model, n.base, w, NULL, &merged, NULL) == ALORE_ERR_NONFINITE && !merged &&
               strstr(n.ctx.error.text, "head.bias"), "%s", n.ctx.error.text);
        t_store(head, 2, 4, kept);
        static const char *const turned[] = {"blocks.1.attn.qkv.lora.k.A", "head.weight", "alore.S"};
        for (int k = 0; k < 3; ++k) { /* as many numbers in another shape */
            alore_weights *bad = t_copy(&n.ctx, w, turned[k]);
            alore_tensor t = *alore_weights_find(w, turned[k]);
            const uint64_t dims[2] = {t.dims[t.rank - 1], t.dims[0] * (t.rank > 2 ? t.dims[1] : 1)};
            t.rank = 2;
            t.dims = dims;
            ok(alore_weights_add(bad, &t) == ALORE_OK && alore_run_load(n.run, bad) == ALORE_ERR_SHAPE &&
                   strstr(n.ctx.error.text, turned[k]) && strstr(n.ctx.error.text, "], the adapter ["), "%s: %s",
               turned[k], n.ctx.error.text);
            ok(alore_merge(n.model, n.base, bad, NULL, &merged, NULL) == ALORE_ERR_SHAPE && !merged, "%s merges",
               turned[k]);
        }
        t_random_tensor(w, "blocks.0.attn.qkv.lora.extra", alore_dims(2, 0, 0, 0), 1, 0, 1);
        ok(alore_run_load(n.run, w) == ALORE_ERR_NAME && strstr(n.ctx.error.text, "extra"), "%s",
           n.ctx.error.text);
        t_same(before, p, count * sizeof *p, "a refused load changes nothing");
    }
    t_net_close(&n);
}

/* Wrong checkpoints: missing, other shape, NaN, other type. */
static void t_wrong_base(void)
{
    t_net n;
    alore_run *run;
    if (t_net_open(&n, t_micro, "alore@qkv", NULL, 0)) {
        static const char *const target = "blocks.1.mlp.fc1.weight";
        for (int k = 0; k < 4; ++k) {
            alore_weights *w;
            alore_weights_create(&n.ctx, &w);
            for (int i = 0; i < alore_weights_count(n.base); ++i) {
                const alore_tensor *t = alore_weights_at(n.base, i);
                if (strcmp(t->name, target)) alore_weights_add(w, t);
            }
            if (k == 1) t_random_tensor(w, target, alore_dims(24, 40, 0, 0), 1, 0, 1);
            if (k == 2) {
                t_random_tensor(w, target, alore_dims(40, 24, 0, 0), 1, 0, 1);
                t_store(alore_weights_data(w, target), 77, 4, (double)NAN);
            }
            if (k == 3) {
                alore_tensor t = *alore_weights_find(n.base, target);
                static unsigned char zeros[40 * 24];
                t.dtype = ALORE_BOOL;
                t.bytes = sizeof zeros;
                t.data = zeros;
                alore_weights_add(w, &t);
            }
            alore_status s = alore_run_create(n.plan, w, &run);
            static const alore_status want[] = {ALORE_ERR_NAME, ALORE_ERR_SHAPE,
                                                ALORE_ERR_NONFINITE, ALORE_ERR_DTYPE};
            static const char *const says[] = {"no blocks.1", "[40, 24]", "77", "BOOL"};
            ok(s == want[k] && strstr(n.ctx.error.text, says[k]) &&
                   strstr(n.ctx.error.text, target), "%d: %s", (int)s, n.ctx.error.text);
            if (k == 1) ok(strstr(n.ctx.error.text, "[24, 40]") != NULL, "both shapes");
        }
    }
    t_net_close(&n);
}

static const char *const t_mergeable[] = {
    "alore@qkv|fc1;unfreeze@head",
    "alore:place=output,rank=2@proj|fc2",
    "lora:parts=qv@qkv;lora@proj|fc1|fc2|head|patch:3",
    "ssf@*;unfreeze@head",
    "ssf@qkv;alore:rank=2@qkv;lora:rank=3,scale=2@qkv;unfreeze@qkv",
    "ssf:place=input@qkv|head;alore:rank=1@qkv",
    "delta@qkv|fc2;ssf@fc2",
    "shift@qkv|norm1",
};

/* Merge, then compare with the unmerged network on random images, in double. Returns what the building or
 * the merging said, in `why`, and how far the logits are apart in eps of the largest. */
static alore_status t_merges(const char *spec, const char *rules, bool bare, double *apart, char why[300])
{
    t_net n;
    alore_plan_opts o = ALORE_ZERO;
    alore_weights *adapter = NULL, *merged = NULL;
    alore_merge_report report = ALORE_ZERO;
    alore_model *plain = NULL;
    alore_plan *plan = NULL;
    alore_run *run = NULL;
    alore_vit_config c;
    memset(&n, 0, sizeof n);
    t_begin(&n.ctx, &n.heap);
    alore_register(&n.ctx, &t_delta);
    alore_register(&n.ctx, &t_shift);
    o.dtype = ALORE_F64;
    o.batch = 2;
    alore_vit_parse(&n.ctx, spec, &c, NULL);
    c.no_qkv_bias = bare;
    alore_model_create(&n.ctx, &n.model);
    alore_attach(n.model, rules);
    alore_id x = alore_input(n.model, "image", ALORE_F32, 256, 3);
    alore_output(n.model, "logits", alore_vit(n.model, x, &c));
    alore_status s = alore_model_finish(n.model);
    if (s == ALORE_OK) s = alore_plan_create(n.model, &o, &n.plan);
    if (s == ALORE_OK) n.base = t_base(&n.ctx, n.model, 3);
    if (s == ALORE_OK) s = alore_run_create(n.plan, n.base, &n.run);
    if (s == ALORE_OK) t_fill(n.run, 5, 4);
    if (s == ALORE_OK) t_shake(n.run, 6);
    if (s == ALORE_OK) s = alore_run_export(n.run, &adapter);
    const uint64_t before = n.base ? alore_weights_fingerprint(n.base) : 0;
    /* parameters were rounded to f32 by the export: run from them */
    if (s == ALORE_OK) s = alore_run_load(n.run, adapter);
    if (s == ALORE_OK) s = alore_forward(n.run, 0);
    if (s == ALORE_OK) s = alore_merge(n.model, n.base, adapter, NULL, &merged, &report);
    if (s == ALORE_OK) {
        ok(alore_weights_fingerprint(n.base) == before, "the base was written");
        alore_vit_biases(merged, &c);
        alore_model_create(&n.ctx, &plain);
        x = alore_input(plain, "image", ALORE_F32, 256, 3);
        alore_output(plain, "logits", alore_vit(plain, x, &c));
        s = alore_model_finish(plain);
        if (s == ALORE_OK) s = alore_plan_create(plain, &o, &plan);
        if (s == ALORE_OK) s = alore_run_create(plan, merged, &run);
        if (s == ALORE_OK) t_fill(run, 5, 4);
        if (s == ALORE_OK) s = alore_forward(run, 0);
        ok(s == ALORE_OK, "%s: merged, but %s", rules, n.ctx.error.text);
    } else
        ok(merged == NULL, "%s: refused, but something came out", rules);
    snprintf(why, 300, "%s", s == ALORE_OK ? "" : n.ctx.error.text);
    if (s == ALORE_OK) {
        double worst = 0, largest = 0;
        const void *a = alore_run_output(n.run, "logits"), *b = alore_run_output(run, "logits");
        for (size_t i = 0; i < 10; ++i) {
            const double d = fabs(t_value(plan, a, i) - t_value(plan, b, i));
            largest = fmax(largest, fabs(t_value(plan, a, i)));
            if (!(d <= worst)) worst = d;
        }
        *apart = worst / largest / EPS;
        ok(report.worst_error > 0 && report.worst_error < (float)(2 * EPS), "%s: certificate %g", rules,
           (double)report.worst_error);
        ok(report.sites > 0 && report.tensors_changed > 0 && report.worst_site[0], "%d sites, %d tensors",
           report.sites, report.tensors_changed);
    }
    t_net_close(&n);
    return s;
}

static void t_merge_random(void)
{
    const size_t own = sizeof t_mergeable / sizeof *t_mergeable, zoo = sizeof t_zoo / sizeof *t_zoo;
    for (size_t r = 0; r < own + zoo; ++r)
        for (int bare = 0; bare < 2; ++bare) {
            char rules[400], why[300];
            double apart = 0;
            snprintf(rules, sizeof rules, "%s", r < own ? t_mergeable[r] : t_zoo[r - own]);
            if (strchr(rules, ':') && strstr(rules, ":3")) *strstr(rules, ":3") = 0;
            const alore_status s = t_merges(r < own ? t_micro : t_slots, rules, bare != 0, &apart, why);
            if (bare && strstr(rules, "glora") && strstr(why, "ask for a layer with a bias")) continue;
            if (bare && strstr(rules, "bias_entries") && strstr(why, "bias")) continue;
            /* each merged weight is rounded once, half an eps; three blocks */
            ok(s == ALORE_OK && apart <= 10, "%s: merged logits differ by %g eps, \"%s\"", rules, apart, why);
        }
}

/* Every pair of methods on one site, in both orders: it merges to the same logits, or is refused with a
 * sentence. Here only a method with itself is. */
static void t_merge_pairs(void)
{
    static const char *const rows[] = {
        "alore:rank=2,experts=2", "kron:experts=2", "alore:rank=1,place=output", "arc:rank=3",
        "arc:rank=2,place=output", "repadapter:rank=4", "repadapter:rank=2,groups=1,place=output",
        "lora:rank=2", "lora:rank=2,parts=kv", "mlae:experts=3", "ssf", "ssf:place=input",
        "fact_tt:rank=2", "fact_tk:rank=2", "kadaptation:experts=4,scale=2", "glora:rank=2",
        "glora:rank=2,parts=qv", "sparse:entries=20,bias_entries=4", "sparse:entries=20,place=parallel",
        "sparse:entries=0,bias_entries=4",
        "compacter:experts=2,hidden=8,act=none", "compacter:experts=2,hidden=4,act=none,place=input",
        "phm:experts=2,hidden=8,act=none", "dora:rank=2", "dora:rank=2,parts=kv", "adalora:rank=2",
        "vera:rank=4", "ia3", "ia3:parts=kv", "ia3:place=input", "lokr:rank=2", "loha:rank=2", "oft:block=4",
        "oft:block=4,parts=qv", "boft:block=4", "boft:block=4,parts=k", "unfreeze"};
    static const char *spec = "vit:img=16x16,patch=8,dim=24,depth=1,heads=3,hidden=48,classes=5";
    const size_t count = sizeof rows / sizeof *rows;
    double worst = 0;
    char rules[200], why[300];
    for (size_t i = 0; i < count * count; ++i) {
        const char *a = rows[i / count], *b = rows[i % count];
        const size_t n = strcspn(a, ":");
        const bool same = n == strcspn(b, ":") && !strncmp(a, b, n);
        const bool learnt = !strcmp(a, "unfreeze") && same;
        double apart = 0;
        snprintf(rules, sizeof rules, "%s@qkv;%s@qkv", a, b);
        if (learnt) continue; /* no site to merge */
        const alore_status s = t_merges(spec, rules, false, &apart, why);
        if (same)
            ok(s == ALORE_ERR_RULE && strstr(why, "twice"), "%s: %d, %s", rules, (int)s, why);
        else
            ok(s == ALORE_OK && apart < 20, "%s: merged logits differ by %g eps, \"%s\"", rules, apart, why);
        worst = t_worse(worst, apart);
    }
    ok(worst > 0, "nothing was rounded");
}

/* An adapter that learnt nothing merges to the same bytes, zeros' signs included. */
static void t_merge_identity(void)
{
    t_net n;
    alore_weights *adapter, *merged = NULL;
    alore_merge_report report;
    if (t_net_open(&n, t_micro, "alore@qkv|fc1|patch;lora@proj|fc2;unfreeze@head", NULL, 0)) {
        t_store(alore_weights_data(n.base, "blocks.0.attn.qkv.weight"), 3, 4, -0.0);
        t_store(alore_weights_data(n.base, "blocks.0.attn.qkv.weight"), 4, 4, 0.0);
        t_store(alore_weights_data(n.base, "blocks.0.attn.qkv.bias"), 3, 4, -0.0);
        alore_run_reset(n.run, 9);
        ok(alore_run_export(n.run, &adapter) == ALORE_OK, "export");
        ok(alore_merge(n.model, n.base, adapter, NULL, &merged, &report) == ALORE_OK, "%s",
           n.ctx.error.text);
        for (int i = 0; merged && i < alore_weights_count(n.base); ++i) {
            const alore_tensor *a = alore_weights_at(n.base, i);
            const alore_tensor *b = alore_weights_find(merged, a->name);
            ok(b && b->bytes == a->bytes && !memcmp(a->data, b->data, a->bytes), "%s changed",
               a->name);
        }
        ok(merged && alore_weights_count(merged) == alore_weights_count(n.base), "count");
        /* a wide checkpoint holds more than f32 reads: what did not change keeps its bits, too */
        static const char *const wide = "blocks.0.attn.qkv.weight";
        alore_weights *base = NULL;
        alore_tensor big = *alore_weights_find(n.base, wide);
        const void *from = big.data;
        ok(alore_weights_create(&n.ctx, &base) == ALORE_OK, "%s", n.ctx.error.text);
        big.dtype = ALORE_F64;
        big.bytes *= 2;
        big.data = NULL;
        ok(alore_weights_add(base, &big) == ALORE_OK, "%s", n.ctx.error.text);
        void *to = alore_weights_data(base, wide);
        for (size_t i = 0; i < big.bytes / 8; ++i) t_store(to, i, 8, t_stored(from, i, 4) * (1 + 1e-12));
        for (int i = 0; i < alore_weights_count(n.base); ++i)
            if (strcmp(alore_weights_at(n.base, i)->name, wide))
                alore_weights_add(base, alore_weights_at(n.base, i));
        ok(alore_merge(n.model, base, adapter, NULL, &merged, &report) == ALORE_OK, "%s", n.ctx.error.text);
        const alore_tensor *kept = merged ? alore_weights_find(merged, wide) : NULL;
        ok(kept && kept->bytes == big.bytes && !memcmp(kept->data, to, big.bytes), "%s changed", wide);
    }
    t_net_close(&n);
}

/* What is no affine map is refused, with site and number; nothing comes out. */
static void t_merge_refused(void)
{
    t_net n;
    alore_weights *adapter = NULL, *merged = NULL;
    alore_run *run = NULL;
    memset(&n, 0, sizeof n);
    t_begin(&n.ctx, &n.heap);
    alore_register(&n.ctx, &t_relu);
    ok(t_vit(&n.ctx, t_micro, "lora@qkv;relu@fc1#1", 0, &n.model) == ALORE_OK &&
           alore_plan_create(n.model, NULL, &n.plan) == ALORE_OK, "%s", n.ctx.error.text);
    n.base = t_base(&n.ctx, n.model, 3);
    if (ok(alore_run_create(n.plan, n.base, &run) == ALORE_OK, "%s", n.ctx.error.text)) {
        alore_run_export(run, &adapter);
        ok(alore_merge(n.model, n.base, adapter, NULL, &merged, NULL) == ALORE_OK,
           "up is zero, so it is affine: %s", n.ctx.error.text);
        t_shake(run, 3);
        alore_run_export(run, &adapter);
        ok(alore_merge(n.model, n.base, adapter, NULL, &merged, NULL) ==
                   ALORE_ERR_NOT_MERGEABLE && merged == NULL &&
               !strcmp(n.ctx.error.site, "blocks.1.mlp.fc1") && strstr(n.ctx.error.text, "0."),
           "%s", n.ctx.error.text);
        ok(alore_export_lora(n.model, n.base, adapter, &merged) == ALORE_ERR_NOT_MERGEABLE &&
               merged == NULL, "%s", n.ctx.error.text);
    }
    t_net_close(&n);
}

/* Activations on layers, and everything on a branch, stay in the network; the error says so. */
static void t_merge_bent(void)
{
    static const char *const rows[][3] = {
        {"compacter:experts=2,hidden=4@fc2#1", "blocks.1.mlp.fc2", "no affine map"},
        {"compacter:experts=2,hidden=4,act=relu,place=input@qkv#2", "blocks.2.attn.qkv", "no affine map"},
        {"phm:experts=2,hidden=4,act=silu@proj#0", "blocks.0.attn.proj", "no affine map"},
        {"compacter:experts=2,hidden=4,act=none@mlp#0", "blocks.0.mlp", "no single layer"},
        {"phm:experts=2,hidden=4@attn#1", "blocks.1.attn", "no single layer"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
        t_net n;
        alore_weights *adapter = NULL, *merged = NULL;
        if (t_net_open(&n, t_micro, rows[i][0], NULL, 0)) {
            ok(alore_run_export(n.run, &adapter) == ALORE_OK, "%s", n.ctx.error.text);
            ok(alore_merge(n.model, n.base, adapter, NULL, &merged, NULL) == ALORE_ERR_NOT_MERGEABLE && !merged &&
                   !strcmp(n.ctx.error.site, rows[i][1]) && strstr(n.ctx.error.text, "cannot be merged") &&
                   strstr(n.ctx.error.text, rows[i][2]), "%s: %s", rows[i][0], n.ctx.error.text);
            ok(alore_export_lora(n.model, n.base, adapter, &merged) != ALORE_OK && !merged, "%s as LoRA", rows[i][0]);
        }
        t_net_close(&n);
    }
}

/* Storage types: the share of the update that rounding loses is told; a tolerance
 * that the type cannot keep is refused. */
static void t_merge_types(void)
{
    static const alore_dtype types[] = {ALORE_F32, ALORE_F16, ALORE_BF16};
    static const double most[] = {EPS, 1.0 / 1024, 1.0 / 128};
    for (int k = 0; k < 3; ++k) {
        t_net n;
        alore_weights *adapter, *merged = NULL;
        alore_merge_report report;
        alore_merge_opts o = ALORE_ZERO;
        if (t_net_open(&n, t_micro, "lora@qkv", NULL, 0)) {
            o.convert = true;
            o.dtype = types[k];
            alore_run_export(n.run, &adapter);
            ok(alore_merge(n.model, n.base, adapter, &o, &merged, &report) == ALORE_OK, "%s",
               n.ctx.error.text);
            const alore_tensor *t = alore_weights_find(merged, "blocks.0.attn.qkv.weight");
            ok(t && t->dtype == types[k], "type %s", alore_dtype_name(t->dtype));
            ok(alore_weights_find(merged, "blocks.0.mlp.fc1.weight")->dtype == ALORE_F32,
               "an untouched tensor");
            ok((double)report.worst_lost < 4 * most[k] &&
                   (double)report.worst_lost > most[k] / 4096,
               "lost %g", (double)report.worst_lost);
            if (k == 1) { /* what the type cannot hold is no file that can be read */
                float *a = (float *)alore_weights_data(adapter, "blocks.1.attn.qkv.lora.A");
                const float was = *a;
                alore_weights *large = NULL;
                *a = 1e9f;
                ok(alore_merge(n.model, n.base, adapter, &o, &large, NULL) == ALORE_ERR_NONFINITE && !large &&
                       strstr(n.ctx.error.text, "blocks.1.attn.qkv.weight: number ") &&
                       strstr(n.ctx.error.text, "too large for F16"), "%s", n.ctx.error.text);
                *a = was;
            }
            o.tolerance = 1e-6f;
            alore_status s = alore_merge(n.model, n.base, adapter, &o, &merged, NULL);
            ok(k ? s == ALORE_ERR_TOLERANCE : s == ALORE_OK, "tolerance: %s", n.ctx.error.text);
        }
        t_net_close(&n);
    }
}

/* The certificate counts what differs from the base: also what was unfrozen at a site that has a rule. */
static void t_merge_count(void)
{
    static const struct { const char *rules; int sites, changed; } rows[] = {
        {"lora@qkv", 3, 3}, {"unfreeze@qkv|cls_token", 0, 7}, {"lora@qkv;unfreeze@qkv|cls_token", 3, 7},
        {"ssf@qkv;unfreeze@*.qkv.bias", 3, 6}};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; ++r) {
        t_net n;
        alore_weights *adapter = NULL, *merged = NULL;
        alore_merge_report c = ALORE_ZERO;
        if (t_net_open(&n, t_micro, rows[r].rules, NULL, 0)) {
            ok(alore_run_export(n.run, &adapter) == ALORE_OK &&
                   alore_merge(n.model, n.base, adapter, NULL, &merged, &c) == ALORE_OK, "%s", n.ctx.error.text);
            ok(c.sites == rows[r].sites && c.tensors_changed == rows[r].changed, "%s: %d sites, %d tensors", rows[r].rules,
               c.sites, c.tensors_changed);
        }
        t_net_close(&n);
    }
}

/* ALoRE as plain LoRA, read back: the same logits in double; ranks n n r, or the width. */
static void t_export_lora(void)
{
    static const struct {
        const char *rules;
        int rank;
    } rows[] = {{"alore:rank=1,experts=2@qkv|fc1;unfreeze@head", 4},
                {"alore:rank=2,experts=4@qkv|patch|head", 24},
                {"alore:rank=3,experts=1@fc1;unfreeze@fc1", 3},
                {"lora:rank=3,scale=0.5@qkv|fc2", 3},
                {"glora:rank=3,a=none,c=none,d=none,e=none@qkv|fc2", 3},
                {"kadaptation:experts=2,scale=2@qkv", 4},
                {"mlae:experts=3@fc1;repadapter:rank=3,groups=1@fc1", 6},
                {"lokr:rank=2@qkv", 8}, /* 4 x 8 (x) 6 x 2 x 9 */
                {"fact_tt:rank=2@qkv;arc:rank=2@fc1", 2},
                {"oft:block=4,parts=q@qkv", 24},
                {"sparse:entries=1,bias_entries=2@qkv", 1}};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; ++r) {
        t_net n;
        alore_plan_opts o = ALORE_ZERO;
        alore_weights *adapter = NULL, *lora = NULL;
        alore_model *again = NULL;
        alore_plan *plan = NULL;
        alore_run *run = NULL;
        o.dtype = ALORE_F64;
        if (t_net_open(&n, "vit:img=16x16,patch=8,dim=24,depth=3,heads=3,hidden=40,classes=8",
                   rows[r].rules, &o, 0)) {
            alore_run_export(n.run, &adapter);
            alore_run_load(n.run, adapter);
            alore_forward(n.run, 0);
            alore_status s = alore_export_lora(n.model, n.base, adapter, &lora);
            if (s == ALORE_OK)
                s = t_vit(&n.ctx, "vit:img=16x16,patch=8,dim=24,depth=3,heads=3,hidden=40,classes=8",
                          alore_weights_meta(lora, "alore.rules"), 0, &again);
            if (s == ALORE_OK) s = alore_plan_create(again, &o, &plan);
            if (s == ALORE_OK) s = alore_run_create(plan, n.base, &run);
            if (s == ALORE_OK) s = alore_run_load(run, lora);
            if (s == ALORE_OK) t_fill(run, 5, 4);
            if (s == ALORE_OK) s = alore_forward(run, 0);
            if (ok(s == ALORE_OK, "%s: %s", rows[r].rules, n.ctx.error.text)) {
                const void *a = alore_run_output(n.run, "logits");
                const void *b = alore_run_output(run, "logits");
                char rank[32];
                snprintf(rank, sizeof rank, "rank=%d@", rows[r].rank);
                ok(strstr(alore_weights_meta(lora, "alore.rules"), rank) != NULL, "%s",
                   alore_weights_meta(lora, "alore.rules"));
                for (size_t i = 0; i < 8; ++i) /* factors are rounded to f32 */
                    near(t_value(plan, b, i), t_value(plan, a, i),
                         40 * EPS * (1 + fabs(t_value(plan, a, i))), rows[r].rules);
            }
        }
        t_net_close(&n);
    }
}

/* An allocator that fails at its k-th call, for every k: an error, nothing leaked, and
 * the context works afterwards. */
static alore_status t_whole_life(alore_ctx *ctx, alore_weights **merged)
{
    alore_model *m = NULL;
    alore_plan *p = NULL;
    alore_run *run = NULL;
    alore_weights *base = NULL, *packed = NULL, *adapter = NULL, *lora = NULL, *part = NULL;
    alore_plan_opts o = ALORE_ZERO;
    alore_status s;
    o.train = true;
    o.recompute = ALORE_BLOCKS;
    o.store = ALORE_BF16;
    o.slope8 = true;
    s = alore_weights_load(ctx, "build/oom.safetensors", &base);
    if (s == ALORE_OK)
        s = t_vit(ctx, "vit:img=8x8,patch=8,dim=8,depth=2,heads=2,hidden=8,classes=3",
                  "alore:rank=1,experts=2@qkv;ssf@norm1;repadapter:rank=2@fc1;loha:rank=1@fc1;oft:block=4@proj;"
                  "boft:block=4,factors=2@fc2;vera:rank=2@fc2;sparse:entries=2,bias_entries=1@proj;unfreeze@head",
                  0, &m);
    if (s == ALORE_OK) s = alore_plan_create(m, &o, &p);
    if (s == ALORE_OK) s = alore_weights_pack(p, base, base, &packed);
    if (s == ALORE_OK) s = alore_run_create(p, packed, &run);
    if (s == ALORE_OK) s = alore_backward(run, 0);
    if (s == ALORE_OK) s = alore_step(run, NULL, 0.01f, NULL);
    if (s == ALORE_OK) s = alore_run_export(run, &adapter);
    if (s == ALORE_OK) s = alore_merge(m, base, adapter, NULL, merged, NULL);
    if (s == ALORE_OK) s = alore_weights_save(*merged, "build/oom_out.safetensors");
    if (s == ALORE_OK)
        s = t_vit(ctx, "vit:img=8x8,patch=8,dim=8,depth=2,heads=2,hidden=8,classes=3", "alore:rank=1,experts=2@qkv#0", 0,
                  &m);
    if (s == ALORE_OK) s = alore_plan_create(m, NULL, &p);
    if (s == ALORE_OK) s = alore_run_create(p, base, &run);
    if (s == ALORE_OK) s = alore_run_export(run, &part);
    if (s == ALORE_OK) s = alore_export_lora(m, base, part, &lora);
    return s;
}

static void t_out_of_memory(void)
{
    alore_ctx ctx;
    t_heap heap;
    alore_model *m;
    alore_weights *base, *merged = NULL;
    long k = 0;
    t_begin(&ctx, &heap);
    ok(t_vit(&ctx, "vit:img=8x8,patch=8,dim=8,depth=2,heads=2,hidden=8,classes=3",
             "unfreeze@head", 0, &m) == ALORE_OK, "build");
    base = t_base(&ctx, m, 1);
    ok(alore_weights_save(base, "build/oom.safetensors") == ALORE_OK, "%s", ctx.error.text);
    t_end(&ctx, &heap);
    for (k = 1; k < 20000; ++k) {
        alore_status s;
        t_begin(&ctx, &heap);
        --t_passed; /* one case for each k is enough */
        heap.fail_at = heap.calls + k;
        s = t_whole_life(&ctx, &merged);
        if (s == ALORE_OK && heap.calls < heap.fail_at) {
            t_end(&ctx, &heap);
            break;
        }
        if (s != ALORE_ERR_MEMORY)
            ok(false, "call %ld failed, but the status is %d: %s", k, (int)s, ctx.error.text);
        heap.fail_at = 0;
        if (k % 16 == 0)
            ok(t_whole_life(&ctx, &merged) == ALORE_OK, "unusable after call %ld: %s", k,
               ctx.error.text);
        t_end(&ctx, &heap);
    }
    ok(k > 100 && k < 20000, "%ld calls", k);
    remove("build/oom.safetensors");
    remove("build/oom_out.safetensors");
}

/* ---- Golden networks ---------------------------------------------------------- */

typedef struct t_gold_case {
    const char *folder, *name;
} t_gold_case;

static const t_gold_case t_gold_cases[] = {
    {"vit_a", "full"}, {"vit_a", "linear"}, {"vit_a", "bitfit"}, {"vit_a", "norm_tuning"},
    {"vit_a", "lora_qkv"}, {"vit_a", "lora_qv"}, {"vit_a", "lora_all"},
    {"vit_a", "lora_patch_head"}, {"vit_a", "alore"}, {"vit_a", "alore_attn"},
    {"vit_a", "alore_n2_r3"}, {"vit_a", "alore_n8_blocks"}, {"vit_a", "alore_n1"},
    {"vit_a", "alore_shared_kind"}, {"vit_a", "alore_shared_site"}, {"vit_a", "alore_output"},
    {"vit_a", "alore_patch_head"}, {"vit_a", "kron"}, {"vit_a", "arc"}, {"vit_a", "arc_attn"},
    {"vit_a", "repadapter"}, {"vit_a", "repadapter_attn"}, {"vit_a", "repadapter_g4_output"},
    {"vit_a", "repadapter_g1"}, {"vit_a", "mlae"}, {"vit_a", "mlae_incremental"},
    {"vit_a", "mlae_decremental"}, {"vit_a", "mlae_hourglass"}, {"vit_a", "mlae_protruding"},
    {"vit_a", "mlae_allocated"}, {"vit_a", "mlae_drawn"}, {"vit_a", "mlae_real"}, {"vit_a", "ssf"},
    {"vit_a", "ssf_norms"}, {"vit_a", "ssf_input"}, {"vit_a", "fact_tt"},
    {"vit_a", "fact_tt_attn"}, {"vit_a", "fact_tk"}, {"vit_a", "fact_tk_paper"},
    {"vit_a", "glora"}, {"vit_a", "glora_mixed"}, {"vit_a", "glora_constant"},
    {"vit_a", "kadaptation"}, {"vit_a", "spt_lora"}, {"vit_a", "compacter_linear"},
    {"vit_a", "compacter_linear_input"}, {"vit_a", "phm_linear"}, {"vit_a", "dora"},
    {"vit_a", "adalora"}, {"vit_a", "vera"}, {"vit_a", "ia3"}, {"vit_a", "ia3_out"},
    {"vit_a", "lokr"}, {"vit_a", "lokr_full"}, {"vit_a", "lokr_both"}, {"vit_a", "loha"},
    {"vit_a", "oft"}, {"vit_a", "oft_exact"}, {"vit_a", "oft_terms3"}, {"vit_a", "boft"},
    {"vit_a", "boft_3"}, {"vit_a", "compose_three"}, {"vit_a", "compose_inputs"},
    {"vit_a", "compose_weight"}, {"vit_a", "compose_parallel"}, {"mae", "full"}, {"mae", "alore"},
    {"dinov2", "full"}, {"dinov2", "alore"}, {"dinov2_swiglu", "full"}, {"dinov2_swiglu", "alore"},
    {"clip", "full"}, {"clip", "alore"}};

/* In tests/data: the ones marked here. */
static bool t_have_case(const t_gold_case *c, char *dir, size_t bytes)
{
    bool small = (!strcmp(c->folder, "vit_a") &&
                  (!strcmp(c->name, "lora_qv") || !strcmp(c->name, "compose_three") ||
                   !strcmp(c->name, "lokr") || !strcmp(c->name, "oft"))) ||
                 !strcmp(c->folder, "mae");
    snprintf(dir, bytes, "%s/%s", t_golden ? t_golden : t_data, c->folder);
    return t_golden || small;
}

static alore_weights *t_load(alore_ctx *ctx, const char *dir, const char *file)
{
    char path[1200];
    alore_weights *w = NULL;
    snprintf(path, sizeof path, "%s/%s", dir, file);
    alore_weights_load(ctx, path, &w);
    return w;
}

/* max |a - b| / max(max |b|, floor) of a tensor of the reference against numbers. */
static double t_relative(const alore_plan *p, const void *have, size_t first,
                         const alore_tensor *want, double scale, double floor)
{
    size_t count = 1;
    double worst = 0, largest = floor;
    for (int i = 0; i < want->rank; ++i) count *= (size_t)want->dims[i];
    for (size_t i = 0; i < count; ++i) {
        const double b = t_stored(want->data, i, 8); /* references are F64 */
        double a = t_value(p, have, first + i) * scale;
        if (!(fabs(a - b) < 1e30)) return 1e30;
        worst = t_worse(worst, fabs(a - b));
        largest = fmax(largest, fabs(b));
    }
    return worst / fmax(largest, 1e-30);
}

/* Images are stored [3, H, W]; the network takes rows of pixels. */
static void t_take_images(alore_run *run, const alore_weights *io, int first, int count)
{
    const alore_tensor *t = alore_weights_find(io, "image");
    size_t pixels = (size_t)(t->dims[2] * t->dims[3]);
    void *to = alore_run_input(run, "image");
    for (int n = 0; n < count; ++n)
        for (size_t c = 0; c < 3; ++c)
            for (size_t i = 0; i < pixels; ++i) {
                float v;
                alore_tensor_read(t, ((size_t)(first + n) * 3 + c) * pixels + i, 1, &v);
                t_put_real(run->plan, to, ((size_t)n * pixels + i) * 3 + c, (double)v);
            }
}

typedef struct t_gold {
    alore_ctx ctx;
    t_heap heap;
    alore_weights *base, *io, *adapter, *expect;
    alore_model *model;
    alore_plan *plan;
    alore_run *run;
    int batch;
    const char *rules;
} t_gold;

static bool t_gold_open(t_gold *g, const t_gold_case *c, const char *dir, alore_plan_opts o)
{
    alore_vit_config v;
    char file[128];
    const char *spec;
    memset(g, 0, sizeof *g);
    t_begin(&g->ctx, &g->heap);
    g->base = t_load(&g->ctx, dir, "base.safetensors");
    g->io = t_load(&g->ctx, dir, "io.safetensors");
    snprintf(file, sizeof file, "%s/adapter.safetensors", c->name);
    g->adapter = t_load(&g->ctx, dir, file);
    snprintf(file, sizeof file, "%s/expect.safetensors", c->name);
    g->expect = t_load(&g->ctx, dir, file);
    if (!ok(g->base && g->io && g->expect, "%s/%s: %s", dir, c->name, g->ctx.error.text))
        return false;
    g->rules = g->adapter ? alore_weights_meta(g->adapter, "alore.rules") : "unfreeze@*";
    spec = alore_weights_meta(g->adapter ? g->adapter : g->base, "alore.backbone");
    g->batch = (int)alore_weights_find(g->io, "image")->dims[0];
    o.batch = g->batch;
    alore_status s = alore_vit_parse(&g->ctx, spec, &v, NULL);
    if (s == ALORE_OK) s = alore_model_create(&g->ctx, &g->model);
    if (s == ALORE_OK) s = alore_attach(g->model, g->rules);
    if (s == ALORE_OK) {
        alore_id x = alore_input(g->model, "image", ALORE_F32, v.height * v.width, 3);
        alore_id label = alore_input(g->model, "label", ALORE_I32, 1, 1);
        alore_id logits = alore_vit(g->model, x, &v);
        alore_output(g->model, "logits", logits);
        alore_output(g->model, "loss", alore_loss_xent(g->model, logits, label, 0));
        s = alore_model_finish(g->model);
    }
    if (s == ALORE_OK) s = alore_plan_create(g->model, &o, &g->plan);
    if (s == ALORE_OK) s = alore_run_create(g->plan, g->base, &g->run);
    if (s == ALORE_OK && g->adapter) s = alore_run_load(g->run, g->adapter);
    if (!ok(s == ALORE_OK, "%s/%s: %s", dir, c->name, g->ctx.error.text)) return false;
    g->run->poison = true;
    t_take_images(g->run, g->io, 0, g->batch);
    alo_swap(alore_run_input(g->run, "label"), alore_weights_find(g->io, "label")->data, 4, (size_t)g->batch);
    return true;
}

/* Logits, gradients and three AdamW steps. In f32 within the issue's figures (2e-5,
 * 5e-5 of the tensor's largest, 5e-3 of the rate where the gradient is sound); in
 * double within 1e-10, AdamW 1e-7 of the rate. */
static void t_golden_run(void)
{
    for (size_t k = 0; k < 2 * sizeof t_gold_cases / sizeof *t_gold_cases; ++k) {
        const t_gold_case *c = &t_gold_cases[k / 2];
        bool wide = k % 2;
        char dir[1024], name[300];
        t_gold g;
        alore_plan_opts o = ALORE_ZERO;
        if (!t_have_case(c, dir, sizeof dir)) continue;
        o.train = true;
        o.lanes = 2;
        o.recompute = wide ? ALORE_BLOCKS : ALORE_KEEP;
        o.dtype = wide ? ALORE_F64 : ALORE_F32;
        if (t_gold_open(&g, c, dir, o)) {
            alore_step_opts step = ALORE_ZERO;
            double e, scale = 1.0 / g.batch;
            ok(alore_backward(g.run, 0) == ALORE_OK, "%s", g.ctx.error.text);
            e = t_relative(g.plan, alore_run_output(g.run, "logits"), 0,
                           alore_weights_find(g.expect, "logits"), 1, 0);
            ok(e <= (wide ? 1e-12 : 5e-6), "%s/%s: logits %g", c->folder, c->name, e);
            const void *grads = alore_grads(g.run, NULL);
            for (int i = 0; i < alore_param_count(g.plan); ++i) {
                alore_param_info q = alore_param_at(g.plan, i);
                if (q.frozen) continue;
                snprintf(name, sizeof name, "grad.%s", q.name);
                const alore_tensor *t = alore_weights_find(g.expect, name);
                if (!ok(t != NULL, "no %s", name)) continue;
                e = t_relative(g.plan, grads, q.first, t, scale, wide ? 1e-7 : 1e-4);
                ok(e <= (wide ? 1e-10 : 5e-5), "%s/%s: %s %g", c->folder, c->name, name, e);
            }
            step.decay = 0.05;
            for (int s = 0; s < 3 && g.adapter; ++s) {
                if (s) ok(alore_backward(g.run, 0) == ALORE_OK, "%s", g.ctx.error.text);
                ok(alore_step(g.run, &step, 0.01f, NULL) == ALORE_OK, "%s", g.ctx.error.text);
            }
            for (int i = 0; i < alore_param_count(g.plan) && g.adapter; ++i) {
                alore_param_info q = alore_param_at(g.plan, i);
                double worst = 0, largest = 0;
                if (q.frozen) continue;
                snprintf(name, sizeof name, "grad.%s", q.name);
                const alore_tensor *d = alore_weights_find(g.expect, name);
                snprintf(name, sizeof name, "adamw3.%s", q.name);
                const alore_tensor *t = alore_weights_find(g.expect, name);
                if (!ok(t && d, "no %s", name)) continue;
                for (int pass = 0; pass < 2; ++pass)
                    for (size_t x = 0; x < q.count; ++x) {
                        const double slope = t_stored(d->data, x, 8), want = t_stored(t->data, x, 8);
                        if (!pass) largest = fmax(largest, fabs(slope));
                        if (pass && fabs(slope) > 1e-3 * largest)
                            worst = t_worse(worst, fabs(t_value(g.plan, alore_params(g.run, NULL),
                                                           q.first + x) - want) / 0.01);
                    }
                /* in double rate and betas are floats still: 2.3e-8 of the rate a step, and weights of
                 * the three gradients that are off by 2.4e-7, more where these change much */
                ok(worst <= (wide ? 2e-6 : 5e-3), "%s/%s: %s %g", c->folder, c->name, name,
                   worst);
            }
        }
        t_end(&g.ctx, &g.heap);
    }
}

/* What waits in fewer bytes: logits as before, gradients of a tensor within 2 % of its largest, which
 * is loose: most are off by 0.2 to 0.8 %, with and without slopes in bytes, one by 1.1 %. Of a tensor whose
 * gradient is small the measure is a hundredth of the largest of all; where a few numbers collect a whole
 * matrix, whose terms cancel, a tenth, within 5 %. */
static void t_golden_store(void)
{
    for (size_t k = 0; k < 2 * sizeof t_gold_cases / sizeof *t_gold_cases; ++k) {
        const t_gold_case *c = &t_gold_cases[k / 2];
        char dir[1024], name[300];
        t_gold g;
        alore_plan_opts o = ALORE_ZERO;
        if (strcmp(c->folder, "vit_a") || !t_have_case(c, dir, sizeof dir)) continue;
        o.train = true;
        o.store = ALORE_BF16;
        o.slope8 = k % 2;
        if (t_gold_open(&g, c, dir, o)) {
            ok(alore_backward(g.run, 0) == ALORE_OK, "%s", g.ctx.error.text);
            double e = t_relative(g.plan, alore_run_output(g.run, "logits"), 0,
                                  alore_weights_find(g.expect, "logits"), 1, 0);
            ok(e <= 5e-6, "%s: logits %g", c->name, e);
            const void *grads = alore_grads(g.run, NULL);
            double most = 0;
            for (size_t i = 0; i < alore_trainable(g.plan); ++i)
                most = fmax(most, fabs(t_value(g.plan, grads, i)) / g.batch);
            for (int i = 0; i < alore_param_count(g.plan); ++i) {
                alore_param_info q = alore_param_at(g.plan, i);
                if (q.frozen) continue;
                snprintf(name, sizeof name, "grad.%s", q.name);
                const alore_tensor *t = alore_weights_find(g.expect, name);
                if (!ok(t != NULL, "no %s", name)) continue;
                e = t_relative(g.plan, grads, q.first, t, 1.0 / g.batch, (q.count > 8 ? 0.01 : 0.1) * most);
                ok(e <= (q.count > 8 ? 2e-2 : 5e-2), "%s: %s %g", c->name, name, e);
            }
        }
        t_end(&g.ctx, &g.heap);
    }
}

/* What a cache in bf16 costs: the gradients of 61 of 62 networks are off by 0.7 % or less, half of them by less
 * than 0.25 %; of one, whose sums cancel, by 2.3 %. */
static void t_golden_cache(void)
{
    double all = 0, one = 0;
    int seen = 0, far = 0;
    for (size_t k = 0; k < sizeof t_gold_cases / sizeof *t_gold_cases; ++k) {
        const t_gold_case *c = &t_gold_cases[k];
        char dir[1024];
        t_gold g;
        alore_plan_opts o = ALORE_ZERO;
        uint32_t items[64];
        if (strcmp(c->folder, "vit_a") || !t_have_case(c, dir, sizeof dir)) continue;
        o.train = true;
        if (t_gold_open(&g, c, dir, o) && alore_cache_bytes(g.plan, ALORE_BF16)) {
            const size_t n = alore_trainable(g.plan), bytes = (size_t)g.batch * alore_cache_bytes(g.plan, ALORE_BF16);
            float *plain = (float *)malloc(n * sizeof *plain);
            void *memory = malloc(bytes);
            alore_cache cache = ALORE_ZERO;
            for (uint32_t i = 0; i < 64; ++i) items[i] = i;
            ok(alore_backward(g.run, 0) == ALORE_OK, "%s", g.ctx.error.text);
            memcpy(plain, alore_grads(g.run, NULL), n * sizeof *plain);
            alo_forget(g.run);
            ok(alore_cache_bind(&cache, g.run, (uint32_t)g.batch, ALORE_BF16, memory, bytes) == ALORE_OK &&
                   alore_backward_cached(g.run, &cache, items, 0) == ALORE_OK, "%s", g.ctx.error.text);
            const float *grads = alore_grads(g.run, NULL);
            double off = 0, whole = 0;
            for (int i = 0; i < alore_param_count(g.plan); ++i) {
                const alore_param_info q = alore_param_at(g.plan, i);
                double d = 0, w = 0;
                for (size_t x = q.first; x < q.first + q.count && !q.frozen; ++x) {
                    d += ((double)grads[x] - (double)plain[x]) * ((double)grads[x] - (double)plain[x]);
                    w += (double)plain[x] * (double)plain[x];
                }
                off += d;
                whole += w;
                if (q.count > 8 && w > 0) one = fmax(one, sqrt(d / w));
            }
            far += sqrt(off / whole) > 0.008;
            all = fmax(all, sqrt(off / whole));
            ++seen;
            free(plain);
            free(memory);
        }
        t_end(&g.ctx, &g.heap);
    }
    if (!seen) skip("no golden folders");
    else ok(seen > 20 && far < 2 && all < 0.03 && one < 0.045, "%d, far %d: off by %g, a tensor by %g", seen, far, all, one);
}

/* Merged weights within 2e-7 of the float64 reference, everything else untouched; the
 * certificate within a factor of two of the error that the reference shows, measured
 * the same way: outputs of the site on random rows. */
static void t_golden_merge(void)
{
    for (size_t k = 0; k < sizeof t_gold_cases / sizeof *t_gold_cases; ++k) {
        const t_gold_case *c = &t_gold_cases[k];
        char dir[1024], name[300];
        t_gold g;
        alore_plan_opts o = ALORE_ZERO;
        alore_weights *merged = NULL;
        alore_merge_report report;
        if (!t_have_case(c, dir, sizeof dir) || !strcmp(c->name, "full")) continue;
        if (t_gold_open(&g, c, dir, o) &&
            ok(alore_merge(g.model, g.base, g.adapter, NULL, &merged, &report) == ALORE_OK,
               "%s/%s: %s", c->folder, c->name, g.ctx.error.text)) {
            double worst_site = 0;
            for (int i = 0; i < alore_weights_count(g.base); ++i) {
                const alore_tensor *b = alore_weights_at(g.base, i);
                const alore_tensor *m = alore_weights_find(merged, b->name);
                const alore_tensor *a = alore_weights_find(g.adapter, b->name);
                snprintf(name, sizeof name, "merged.%s", b->name);
                const alore_tensor *t = alore_weights_find(g.expect, name);
                if (!ok(m && m->bytes == b->bytes, "%s is missing", b->name)) continue;
                if (!t) {
                    ok(!memcmp(m->data, (a ? a : b)->data, m->bytes), "%s/%s: %s touched",
                       c->folder, c->name, b->name);
                    continue;
                }
                float *have = (float *)malloc(m->bytes);
                double e = have && alore_tensor_read(m, 0, m->bytes / 4, have) ? t_relative(g.plan, have, 0, t, 1, 0) : 1;
                free(have);
                ok(e <= 2e-7, "%s/%s: %s %g", c->folder, c->name, name, e);
                if (b->rank < 2) continue;
                /* the site's outputs on random rows, reference against stored */
                size_t out = (size_t)b->dims[0], in = b->bytes / 4 / out;
                double diff = 0, largest = 0;
                for (uint64_t r = 0; r < 32; ++r)
                    for (size_t j = 0; j < out; ++j) {
                        double x = 0, y = 0;
                        for (size_t q = 0; q < in; ++q) {
                            const double v = (double)alore_random_normal(8, r, q);
                            x += v * t_stored(t->data, j * in + q, 8);
                            y += v * t_stored(m->data, j * in + q, 4);
                        }
                        diff = fmax(diff, fabs(x - y));
                        largest = fmax(largest, fabs(x));
                    }
                worst_site = fmax(worst_site, diff / largest);
            }
            if (worst_site > 0)
                ok((double)report.worst_error < 2 * worst_site &&
                       (double)report.worst_error > worst_site / 2,
                   "%s/%s: certificate %g, true %g", c->folder, c->name,
                   (double)report.worst_error, worst_site);
        }
        t_end(&g.ctx, &g.heap);
    }
}

/* Every golden adapter as plain LoRA, read back: the golden logits, at no more than the algebra's rank (two
 * parts of a host add up, a Kronecker or an element-wise product of factors multiplies), with the biases that
 * moved; what is no linear layer is refused with its name. */
static void t_golden_lora(void)
{
    static const struct { const char *name; int rank; bool bias; } most[] = {
        {"lora_qkv", 4, false}, {"lora_qv", 12, false}, {"lora_all", 2, false},
        {"lora_patch_head", 2, false}, {"alore_n2_r3", 12, false}, {"alore_n1", 5, false},
        {"alore_output", 48, true}, {"arc", 10, true}, {"arc_attn", 10, true}, {"repadapter", 8, true},
        {"repadapter_attn", 8, true}, {"repadapter_g4_output", 8, true}, {"repadapter_g1", 4, true},
        {"mlae", 8, false}, {"mlae_incremental", 5, false}, {"mlae_decremental", 5, false},
        {"mlae_hourglass", 5, false}, {"mlae_protruding", 5, false}, {"mlae_allocated", 5, false},
        {"mlae_real", 4, false}, {"fact_tt", 6, false}, {"fact_tt_attn", 4, false}, {"fact_tk", 5, false},
        {"fact_tk_paper", 5, false}, {"kadaptation", 16, true}, {"compacter_linear", 16, true},
        {"compacter_linear_input", 8, true}, {"phm_linear", 16, true}, {"adalora", 6, false},
        {"vera", 16, false}, {"lokr", 24, false}, {"lokr_both", 4, false}, {"loha", 9, false}};
    for (size_t k = 0; k < sizeof t_gold_cases / sizeof *t_gold_cases; ++k) {
        const t_gold_case *c = &t_gold_cases[k];
        char dir[1024], text[4000];
        t_gold g;
        alore_plan_opts o = ALORE_ZERO;
        alore_weights *lora = NULL;
        if (strcmp(c->folder, "vit_a") || !t_have_case(c, dir, sizeof dir)) continue;
        if (t_gold_open(&g, c, dir, o)) {
            const bool norm = strstr(g.rules, "norm1|") && strstr(g.rules, "ssf@");
            alore_status s = alore_export_lora(g.model, g.base, g.adapter, &lora);
            alore_model *again = NULL;
            alore_plan *plan = NULL;
            alore_run *run = NULL;
            if (norm)
                ok(s == ALORE_ERR_UNSUPPORTED && !lora && strstr(g.ctx.error.text, "norm"), "%s: %d, %s", c->name, (int)s,
                   g.ctx.error.text);
            else if (ok(s == ALORE_OK, "%s: %s", c->name, g.ctx.error.text)) {
                snprintf(text, sizeof text, "%s", alore_weights_meta(lora, "alore.rules"));
                int rank = 0, bound = 0;
                for (const char *at = text; (at = strstr(at, "lora:rank=")); ++at)
                    if (atoi(at + 10) > rank) rank = atoi(at + 10);
                for (size_t i = 0; i < sizeof most / sizeof *most; ++i) {
                    if (strcmp(c->name, most[i].name)) continue;
                    bound = most[i].rank;
                    ok(!strstr(text, ".bias") == !most[i].bias, "%s: moved biases, %s", c->name, text);
                }
                o.batch = g.batch;
                s = t_vit(&g.ctx, alore_weights_meta(g.base, "alore.backbone"), text, 0, &again);
                if (s == ALORE_OK) s = alore_plan_create(again, &o, &plan);
                if (s == ALORE_OK) s = alore_run_create(plan, g.base, &run);
                if (s == ALORE_OK) s = alore_run_load(run, lora);
                if (s == ALORE_OK) t_take_images(run, g.io, 0, g.batch);
                if (s == ALORE_OK) s = alore_forward(run, 0);
                if (ok(s == ALORE_OK, "%s: %s", c->name, g.ctx.error.text)) {
                    const double e = t_relative(plan, alore_run_output(run, "logits"), 0,
                                                alore_weights_find(g.expect, "logits"), 1, 0);
                    ok(e <= 2e-5, "%s: as LoRA the logits are off by %g", c->name, e);
                    ok(!bound || rank <= bound, "%s: rank %d, more than %d", c->name, rank, bound);
                }
            }
        }
        t_end(&g.ctx, &g.heap);
    }
}

/* timm's files, as they are: detected or named, features and logits. */
static void t_interop_vit(void)
{
    static const struct {
        const char *weights, *io, *spec;
    } rows[] = {
        {"vit/timm", "vit/io", "vit:img=32,patch=8,dim=36,depth=2,heads=3,hidden=72,classes=5"},
        {"vit/timm_bf16", "vit/io_bf16",
         "vit:img=32,patch=8,dim=36,depth=2,heads=3,hidden=72,classes=5"},
        {"vit/timm_fp16", "vit/io_fp16",
         "vit:img=32,patch=8,dim=36,depth=2,heads=3,hidden=72,classes=5"},
        {"vit/timm_mixed", "vit/io_mixed",
         "vit:img=32,patch=8,dim=36,depth=2,heads=3,hidden=72,classes=5"},
        {"vit_gap/timm", "vit_gap/io",
         "vit:img=32,patch=8,dim=36,depth=2,heads=3,hidden=144,classes=5,pool=avg"},
        {"vit_dinov2/timm", "vit_dinov2/io",
         "vit:img=32,patch=8,dim=36,depth=2,heads=3,hidden=72,classes=5,registers=4,"
         "layer_scale=1"},
        {"vit_clip/timm", "vit_clip/io",
         "vit:img=32,patch=8,dim=36,depth=2,heads=3,hidden=72,classes=5,pre_norm=1,"
         "act=quick_gelu,eps=1e-05"},
        {"vit_nohead/timm", "vit_nohead/io",
         "vit:img=32,patch=8,dim=36,depth=2,heads=3,hidden=72,classes=0"},
    };
    if (!t_golden) {
        skip("the full set is not here");
        return;
    }
    for (size_t r = 0; r < sizeof rows / sizeof *rows; ++r) {
        alore_ctx ctx;
        t_heap heap;
        char dir[1024], file[128];
        alore_vit_config v, seen;
        alore_model *m;
        alore_plan *p;
        alore_run *run = NULL;
        alore_plan_opts o = ALORE_ZERO;
        t_begin(&ctx, &heap);
        snprintf(dir, sizeof dir, "%s/interop/checkpoints", t_golden);
        snprintf(file, sizeof file, "%s.safetensors", rows[r].weights);
        alore_weights *w = t_load(&ctx, dir, file);
        snprintf(file, sizeof file, "%s.safetensors", rows[r].io);
        alore_weights *io = t_load(&ctx, dir, file);
        o.batch = 3;
        alore_status s = alore_vit_parse(&ctx, rows[r].spec, &v, NULL);
        if (w) alore_vit_biases(w, &v);
        if (s == ALORE_OK) s = alore_model_create(&ctx, &m);
        if (s == ALORE_OK) {
            alore_id x = alore_input(m, "image", ALORE_F32, v.height * v.width, 3);
            x = alore_vit(m, x, &v);
            if (!v.no_head) alore_output(m, "logits", x);
            s = alore_model_finish(m);
        }
        if (s == ALORE_OK) s = alore_plan_create(m, &o, &p);
        if (s == ALORE_OK) s = alore_run_create(p, w, &run);
        if (ok(s == ALORE_OK && io, "%s: %s", rows[r].weights, ctx.error.text)) {
            run->poison = true;
            t_take_images(run, io, 0, 3);
            ok(alore_forward(run, 0) == ALORE_OK, "%s", ctx.error.text);
            for (int k = 0; k < 2; ++k) {
                const char *name = k ? "features" : "logits";
                const alore_tensor *t = alore_weights_find(io, name);
                if (!t || !alore_run_output(run, name)) continue;
                double e = t_relative(p, alore_run_output(run, name), 0, t, 1, 0);
                ok(e <= 5e-6, "%s: %s %g", rows[r].weights, name, e);
            }
        }
        /* 64 does not divide 36: shapes cannot tell the heads, and that is said */
        ok(alore_vit_detect(&ctx, w, &seen) == ALORE_ERR_SHAPE && strstr(ctx.error.text, "36"),
           "%s", ctx.error.text);
        t_end(&ctx, &heap);
    }
}

/* A network is known again by its shapes. */
static void t_vit_detect(void)
{
    static const char *const specs[] = {
        "vit:img=32x32,patch=4,dim=64,depth=2,heads=1,hidden=128,classes=7",
        "vit:img=32x32,patch=8,dim=128,depth=1,heads=2,hidden=64,classes=3,pool=avg",
        "vit:img=16x16,patch=8,dim=64,depth=2,heads=1,hidden=96,classes=3,registers=4,"
        "layer_scale=1",
        "vit:img=16x16,patch=8,dim=64,depth=2,heads=1,hidden=96,classes=3,swiglu=1",
        "vit:img=16x16,patch=8,dim=64,depth=2,heads=1,hidden=96,classes=0,pre_norm=1,"
        "act=quick_gelu,eps=1e-05"};
    for (size_t i = 0; i < sizeof specs / sizeof *specs; ++i) {
        t_net n;
        alore_vit_config c, seen;
        char text[256] = "";
        memset(&n, 0, sizeof n);
        t_begin(&n.ctx, &n.heap);
        alore_vit_parse(&n.ctx, specs[i], &c, NULL);
        c.no_qkv_bias = i == 1;
        alore_model_create(&n.ctx, &n.model);
        alore_id x = alore_input(n.model, "image", ALORE_U8, c.height * c.width, 3);
        alore_output(n.model, "logits", alore_scale(n.model, alore_vit(n.model, x, &c), 2.0f));
        ok(alore_model_finish(n.model) == ALORE_OK, "%s", n.ctx.error.text);
        n.base = t_base(&n.ctx, n.model, 1);
        ok(alore_vit_detect(&n.ctx, n.base, &seen) == ALORE_OK, "%s", n.ctx.error.text);
        alore_vit_text(&seen, text, sizeof text);
        ok(!strcmp(text, specs[i]) && seen.no_qkv_bias == c.no_qkv_bias, "%s: %s", specs[i],
           text);
        t_net_close(&n);
    }
}


#include "../tools/images.h"

/* A file of golden/interop/<folder> from the full set, else its copy in tests/data. */
static const char *t_pixels_path(const char *folder, const char *local, const char *file)
{
    static char path[1200];
    const char *base = t_path(folder);
    if (base)
        snprintf(path, sizeof path, "%s/%s", base, file);
    else
        snprintf(path, sizeof path, "%s/%s/%s", t_data, local, file);
    return path;
}

/* The number behind `"key": ` in one operation, 0 where there is none. */
static double t_pixels_number(const char *op, const char *key)
{
    char text[32];
    const char *at;
    snprintf(text, sizeof text, "\"%s\": ", key);
    at = strstr(op, text);
    return at ? strtod(at + strlen(text), NULL) : 0;
}

/* Apply one operation of the metadata; *floats tells that the result is normalised. */
static bool t_pixels_apply(img_picture *p, const char *op, img_transform *t, bool *floats, char *why)
{
    int h = (int)t_pixels_number(op, "h"), w = (int)t_pixels_number(op, "w");
    int n = (int)t_pixels_number(op, "n");
    bool cubic = strstr(op, "bicubic") != NULL;
    bool timm = strstr(op, "timm_eval") != NULL;
    const char *stats = strstr(op, "\"half\"")       ? "mean=0.5,std=0.5"
                        : strstr(op, "\"imagenet\"") ? "mean=0.485-0.456-0.406,std=0.229-0.224-0.225"
                                                     : "";
    *floats = *stats || strstr(op, "to_tensor");
    if (*floats && !img_parse(stats, t, why)) return false;
    if (strstr(op, "resize_short")) return img_short(p, n, cubic, why);
    if (strstr(op, "\"resize")) return img_resize(p, h, w, cubic, why);
    if (strstr(op, "center_crop")) return img_crop(p, h, w, why);
    if (timm)
        return img_short(p, (int)floor(n / t_pixels_number(op, "crop_pct")), cubic, why) &&
               img_crop(p, n, n, why);
    if (!strstr(op, "hflip")) return *floats;
    for (int y = 0; y < p->height; ++y)
        for (int x = 0; x < p->width / 2; ++x)
            for (int c = 0; c < 3; ++c) {
                unsigned char *row = p->pixels + 3 * y * p->width, kept = row[3 * x + c];
                row[3 * x + c] = row[3 * (p->width - 1 - x) + c];
                row[3 * (p->width - 1 - x) + c] = kept;
            }
    return true;
}

/* Values that differ between the picture and the tensor, of HWC bytes or CHW floats. */
static int t_pixels_differ(const img_picture *p, const alore_tensor *t, const img_transform *steps,
                           bool floats)
{
    size_t count = 3 * (size_t)p->height * (size_t)p->width, pixels = count / 3;
    float *got = (float *)malloc(count * sizeof *got), want = 0;
    int differ = 0;
    if (!got || t->rank != 3 || t->bytes != count * (floats ? 4 : 1)) differ = 1;
    if (!differ && floats) img_floats(p, steps, got);
    for (size_t i = 0; !differ && floats && i < count; ++i) {
        alore_tensor_read(t, i % 3 * pixels + i / 3, 1, &want);
        differ += memcmp(&got[i], &want, 4) != 0;
    }
    if (!differ && !floats) differ = memcmp(p->pixels, t->data, count) != 0;
    free(got);
    return differ;
}

/* One expected result: the source, all operations, every bit. */
static void t_pixels_case(const char *file, const alore_weights *w, const char *name, const char *ops)
{
    const alore_tensor *src = alore_weights_find(w, "src");
    const alore_tensor *dst = alore_weights_find(w, name);
    img_picture p = {0, 0, NULL};
    img_transform steps;
    char op[256], why[IMG_WHY] = "";
    bool good = src && dst, floats = false;
    if (good) {
        p.height = (int)src->dims[0];
        p.width = (int)src->dims[1];
        p.pixels = (unsigned char *)malloc(src->bytes);
        good = p.pixels != NULL;
    }
    if (good) memcpy(p.pixels, src->data, src->bytes);
    while (good && (ops = strchr(ops, '{'))) {
        size_t n = strcspn(ops, "}");
        good = n < sizeof op;
        if (!good) break;
        memcpy(op, ops, n);
        op[n] = 0;
        ops += n;
        good = t_pixels_apply(&p, op, &steps, &floats, why);
    }
    ok(good && !t_pixels_differ(&p, dst, &steps, floats), "%s %s: %s", file, name,
       good ? "not the same pixels" : why);
    free(p.pixels);
}

/* Pillow's resize, torchvision's crop and normalisation, to the bit. */
static void t_pixels_resize(void)
{
    static const char *const all[] = {"noise_37x53",   "row_1x7",          "column_7x1",   "pixel_1x1",
                                      "wide_2x411",    "extremes_16x18",   "levels_16x16", "checker_64x96",
                                      "smooth_131x97", "gradient_200x300", "tall_180x77"};
    int files = t_golden ? 11 : 7;
    for (int i = 0; i < files; ++i) {
        alore_ctx ctx;
        t_heap heap;
        alore_weights *w = NULL;
        char file[64];
        const char *key, *value;
        snprintf(file, sizeof file, "%s.safetensors", all[i]);
        t_begin(&ctx, &heap);
        if (ok(!alore_weights_load(&ctx, t_pixels_path("interop/pixels", "pixels", file), &w), "%s: %s", file,
               alore_last_error(&ctx)->text))
            for (int k = 0; k < alore_weights_meta_count(w); ++k) {
                alore_weights_meta_at(w, k, &key, &value);
                if (!strncmp(key, "dst.", 4) && !strstr(key, "pillow13"))
                    t_pixels_case(all[i], w, key, value);
            }
        t_end(&ctx, &heap);
    }
}

/* Read a picture; false with a sentence in `why`. */
static bool t_pixels_read(const char *path, img_picture *p, char *why)
{
    unsigned char *file = NULL;
    size_t bytes = 0;
    bool good = img_file(path, &file, &bytes, why) && img_decode(file, bytes, p, why);
    free(file);
    return good;
}

/* PPM and PGM as Pillow reads them: text, comments, CR LF, maxval 100 and 65535. */
static void t_pixels_files(void)
{
    static const char *const names[] = {"rgb.ppm",  "gray.pgm",      "ascii.ppm",      "comment.ppm",
                                        "crlf.ppm", "maxval100.ppm", "maxval65535.ppm"};
    alore_ctx ctx;
    t_heap heap;
    alore_weights *w = NULL;
    char why[IMG_WHY] = "";
    const char *path = t_pixels_path("interop/pixels/files", "pixels/files", "decoded.safetensors");
    t_begin(&ctx, &heap);
    if (ok(!alore_weights_load(&ctx, path, &w), "%s", alore_last_error(&ctx)->text))
        for (int i = 0; i < 7; ++i) {
            img_picture p = {0, 0, NULL};
            const alore_tensor *t = alore_weights_find(w, names[i]);
            path = t_pixels_path("interop/pixels/files", "pixels/files", names[i]);
            bool good = t && t_pixels_read(path, &p, why);
            ok(good && !t_pixels_differ(&p, t, NULL, false), "%s: %s", names[i], why);
            free(p.pixels);
        }
    t_end(&ctx, &heap);
}

/* The verdicts of golden/interop/hostile on PPM files; '?' may go either way. */
static void t_pixels_hostile(void)
{
    static const char *const files[] = {"+ok",
                                        "?ok_comments",
                                        "+ok_trailing",
                                        "-ppm_width_0",
                                        "-ppm_height_0",
                                        "-ppm_negative",
                                        "-ppm_huge",
                                        "-ppm_overflow32",
                                        "-ppm_digits",
                                        "-ppm_maxval_0",
                                        "-ppm_maxval_65536",
                                        "-ppm_maxval_negative",
                                        "-ppm_no_maxval",
                                        "-ppm_letters",
                                        "-ppm_nul",
                                        "-ppm_p7",
                                        "-ppm_float",
                                        "-ppm_empty",
                                        "-ppm_magic_only",
                                        "-ppm_comment_unending",
                                        "-ppm_short",
                                        "-ppm_header_only",
                                        "-ppm_p3_over",
                                        "?ppm_p3_short"};
    for (size_t i = 0; i < sizeof files / sizeof *files; ++i) {
        img_picture p = {0, 0, NULL};
        char file[64], why[IMG_WHY] = "";
        snprintf(file, sizeof file, "%s.ppm", files[i] + 1);
        bool good = t_pixels_read(t_pixels_path("interop/hostile/images", "pixels/hostile", file), &p, why);
        ok(files[i][0] == '?' || good == (files[i][0] == '+'), "%s: %s", file, good ? "accepted" : why);
        ok(good ? p.height == 2 && p.width == 3 : *why && !strchr(why, '\n'), "%s: '%s'", file, why);
        free(p.pixels);
    }
}

/* Every beginning of a file, and every byte of its header replaced: no crash, and
 * what is accepted has the pixels it says. */
static void t_pixels_damaged(void)
{
    static const char text[] = "P3 2 2 #c\n9\n0 1 2 3 4 5 6 7 8 9 0 1";
    static const char raw[] = "P6 2 2 255\nabcdefghijkl";
    static const char deep[] = "P5\n2 2\n999\nabcdefgh";
    static const char *const files[] = {text, raw, deep};
    static const size_t counts[] = {sizeof text - 1, sizeof raw - 1, sizeof deep - 1};
    int accepted = 0, wrong = 0;
    unsigned long sum = 0; /* every pixel is read                                   */
    for (int f = 0; f < 3; ++f)
        for (size_t cut = 0; cut <= counts[f]; ++cut)
            for (int byte = -1; byte < (cut == counts[f] ? 16 * 256 : 0); ++byte) {
                img_picture p = {0, 0, NULL};
                char why[IMG_WHY];
                unsigned char *copy = (unsigned char *)malloc(cut + 1);
                if (!copy) continue;
                memcpy(copy, files[f], cut);
                if (byte >= 0) copy[byte / 256] = (unsigned char)(byte % 256);
                if (img_decode(copy, cut, &p, why)) {
                    ++accepted;
                    wrong += p.height < 1 || p.width < 1 || (size_t)p.height * (size_t)p.width > cut;
                    for (int i = 0; i < 3 * p.height * p.width; ++i) sum += p.pixels[i];
                    wrong += byte < 0 && cut < counts[f] && f > 0;
                }
                free(p.pixels);
                free(copy);
            }
    ok(accepted > 3 && sum && !wrong, "%d accepted, %d wrong", accepted, wrong);
}

/* The text of a transform: what is read and what is refused, with a reason. */
static void t_pixels_transform(void)
{
    static const char *const good[] = {"",
                                       "resize=32x32:bilinear,mean=0.5,std=0.5",
                                       "short=248:bicubic,crop=224,mean=0.5,std=0.5",
                                       "crop=10x20",
                                       "resize=1x65535",
                                       "mean=0.485-0.456-0.406,std=0.229-0.224-0.225",
                                       "std=2",
                                       "mean=1e-3-.5-0"};
    static const char *const bad[] = {"resize",
                                      "resize=",
                                      "resize=32",
                                      "resize=0x3",
                                      "resize=3x",
                                      "resize=3x3:nearest",
                                      "resize=65536x1",
                                      "resize=-3x3",
                                      "resize=3x3,",
                                      ",",
                                      "short=3x3",
                                      "short=0",
                                      "crop=3:bicubic",
                                      "crop=",
                                      "crop=3.5",
                                      "mean=",
                                      "mean=a",
                                      "mean=0.5-0.5",
                                      "mean=1-2-3-4",
                                      "mean=nan",
                                      "mean=inf",
                                      "mean=0x1",
                                      "std=0",
                                      "std=0.5-0-1",
                                      "std=-1",
                                      "mean=1e999",
                                      "mean=0.5,mean=0.5",
                                      "mean=0.5,crop=3",
                                      "flip",
                                      "resize=99999999999999999999x1",
                                      "crop=1,crop=1,crop=1,crop=1,crop=1,crop=1,"
                                      "crop=1,crop=1,crop=1",
                                      "Resize=3x3",
                                      " crop=3"};
    img_transform t = {0};
    char why[IMG_WHY];
    for (size_t i = 0; i < sizeof good / sizeof *good; ++i)
        ok(img_parse(good[i], &t, why), "'%s': %s", good[i], why);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; ++i) {
        *why = 0;
        ok(!img_parse(bad[i], &t, why) && *why, "'%s' is accepted", bad[i]);
    }
    ok(img_parse("short=36:bicubic,crop=32x30,mean=0.5", &t, why) && t.count == 2 &&
           t.steps[0].kind == IMG_SHORT && t.steps[0].height == 36 && t.steps[0].cubic &&
           t.steps[1].kind == IMG_CROP && t.steps[1].height == 32 && t.steps[1].width == 30 &&
           t.mean[2] == 0.5f && t.std[0] == 1.0f,
       "short, crop, mean and the default std: %s", why);
}

/* ---- What shall learn: tools/search.h ---------------------------------------- */

#include "../tools/search.h"

/* A sweep by hand: a matrix that is worth a LoRA of 5 numbers from 3 entries on, two vectors. */
static void t_search_sweep(void)
{
    static const float scores[] = {10, 0, 9, 8, 1, 0, 0.5f, 7, 6, 0, 0, 2};
    static const struct {
        size_t budget, tau, total, left;
        const char *rules;
    } rows[] = {
        {90, 1, 101, 0, "sparse:entries=1@a;unfreeze@cls_token;unfreeze@head"},
        {102, 2, 102, 0, "sparse:entries=2@a;unfreeze@cls_token;unfreeze@head"},
        {103, 2, 102, 0, "sparse:entries=2@a;unfreeze@cls_token;unfreeze@head"},
        {104, 3, 105, 0, "lora:rank=1@a;unfreeze@cls_token;unfreeze@head"},
        {107, 4, 107, 0, "lora:rank=1@a;unfreeze@cls_token|a.bias;unfreeze@head"},
        {110, 6, 111, 0, "lora:rank=1@a;unfreeze@cls_token|a.bias|n.weight;unfreeze@head"},
        {999, 6, 111, 0, "lora:rank=1@a;unfreeze@cls_token|a.bias|n.weight;unfreeze@head"},
    };
    search_part parts[3] = {{"a.weight", "a", 0, true, 0, 2, 3, 5, 2.5, scores, 0},
                            {"a.bias", "a", 0, false, 0, 2, 1, 2, 1, scores + 6, 0},
                            {"n.weight", NULL, 0, false, 0, 4, 1, 4, 2, scores + 8, 0}};
    search_entry *list = NULL;
    char text[300];
    int64_t places[6];
    const size_t n = search_best(parts, 3, 100, &list);
    ok(n == 8, "%zu entries are positive", n);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
        const search_cost c = search_sweep(parts, 3, list, n, 1, rows[i].budget, 100);
        search_text t = {text, sizeof text, 0};
        search_rules(parts, 3, list, c.tau, 1, true, &t);
        ok(c.tau == rows[i].tau && c.total == rows[i].total && c.left == rows[i].left &&
               !strcmp(text, rows[i].rules),
           "budget %zu: %zu entries, %zu numbers, %zu left, %s", rows[i].budget, c.tau, c.total, c.left,
           text);
    }
    search_sweep(parts, 3, list, n, 1, 102, 100);
    ok(search_places(parts, 3, list, 2, "a", false, places) == 2 && places[0] == 0 && places[1] == 2 &&
           !search_places(parts, 3, list, 2, "a", true, NULL),
       "entries 0 and 2 of the matrix");
    const search_cost five = search_sweep(parts, 3, list, 5, 5, 107, 100); /* one of the norm is not a half */
    ok(five.left == 1 && five.total == 107 && five.vectors == 1, "%zu left out, %zu", five.left, five.total);
    free(list);
}

/* The best of many with ties, zeros and parts of any size, against sorting them all. */
static void t_search_best(void)
{
    static float scores[5000];
    static search_entry all[5000];
    static const size_t most[] = {1, 2, 17, 1000, 3999, 4000, 100000};
    search_part parts[4];
    size_t count = 0, at = 0;
    memset(parts, 0, sizeof parts);
    for (size_t i = 0; i < 5000; ++i) { /* few values, so that many are equal */
        const uint32_t r = alore_random_u32(3, 1, i) % 300;
        scores[i] = i % 5 == 0 ? 0 : (float)(r * r) * (r % 7 ? 1e-9f : 1e-3f);
    }
    for (int p = 0; p < 4; ++p) {
        static const int rows[] = {1, 1000, 3998, 1};
        parts[p].rows = rows[p];
        parts[p].cols = 1;
        parts[p].scores = scores + at;
        for (int i = 0; i < rows[p]; ++i, ++at) {
            const search_entry e = {scores[at], (uint32_t)p, (uint32_t)i};
            if (scores[at] > 0) all[count++] = e;
        }
    }
    qsort(all, count, sizeof *all, search_order);
    for (size_t k = 0; k < sizeof most / sizeof *most; ++k) {
        search_entry *list = NULL;
        const size_t n = search_best(parts, 4, most[k], &list), want = most[k] < count ? most[k] : count;
        bool same = n == want;
        for (size_t i = 0; i < n && same; ++i) same = list[i].part == all[i].part && list[i].at == all[i].at;
        ok(same, "the best %zu: %zu", most[k], n);
        free(list);
    }
}

typedef struct t_planted {
    uint8_t genes[3 * SEARCH_GENES];
    int calls, told, stop;
} t_planted;

/* Fitness: how many genes are right. */
static int t_planted_score(void *user, search_one *one)
{
    t_planted *p = (t_planted *)user;
    for (int i = 0; i < 3 * SEARCH_GENES; ++i) one->fitness += one->genes[i] == p->genes[i];
    return ++p->calls == p->stop ? 7 : 0;
}

static int t_planted_told(void *user, int generation)
{
    ++((t_planted *)user)->told;
    return generation < 0;
}

/* Evolution finds a planted subnet, keeps to the sizes, sees nothing twice, and repeats itself. */
static void t_search_evolve(void)
{
    search_layer layers[3];
    search_space space = {3, 2, layers};
    uint64_t order[2] = {0, 0};
    memset(layers, 0, sizeof layers);
    for (int l = 0; l < 3; ++l) layers[l].in = 8, layers[l].out = 8 + 4 * l;
    for (int k = 0; k < 2; ++k) {
        search_evolution e;
        t_planted p = {{0}, 0, 0, 0};
        memset(&e, 0, sizeof e);
        search_draw(&space, 9, 4, p.genes);
        const size_t size = search_size(&space, p.genes);
        e.space = &space;
        e.population = 50;
        e.generations = 40;
        e.top = 10;
        e.mutate = e.cross = 25;
        e.probability = 0.2;
        e.seed = 5;
        e.least = size / 2;
        e.most = size + 20;
        e.score = t_planted_score;
        e.told = t_planted_told;
        e.user = &p;
        ok(!search_evolve(&e) && p.told == 40 && p.calls == e.count && e.count > 1900,
           "%d subnets, %d generations", e.count, p.told);
        const search_one *best = &e.list[e.rank[0]];
        ok(e.ranked == 10 && !memcmp(best->genes, p.genes, sizeof p.genes), "the best has %g right, of 15",
           best->fitness);
        for (int i = 0; i < e.count; ++i) {
            bool seen = false;
            for (int j = 0; j < i && !seen; ++j)
                seen = !memcmp(e.list[i].genes, e.list[j].genes, sizeof p.genes);
            if (e.list[i].size < e.least || e.list[i].size > e.most || seen ||
                e.list[i].size != search_size(&space, e.list[i].genes))
                ok(false, "subnet %d of %zu numbers, %d", i, e.list[i].size, seen);
            order[k] = alo_hash(e.list[i].genes, sizeof p.genes, order[k]);
        }
        for (int i = 1; i < e.ranked; ++i)
            ok(search_better(&e.list[e.rank[i - 1]], &e.list[e.rank[i]]), "rank %d", i);
        search_close(&e);
        p.stop = p.calls = 0;
        p.stop = 60;
        ok(search_evolve(&e) == 7 && p.calls == 60, "a score that fails ends it: %d calls", p.calls);
        search_close(&e);
        e.most = 1;
        e.least = 0;
        ok(!search_evolve(&e) && e.count > 3 && e.count <= 13, "13 are so small: %d are found", e.count);
        for (int i = 0; i < e.count; ++i) ok(e.list[i].size <= 1, "%zu numbers", e.list[i].size);
        search_close(&e);
    }
    ok(order[0] == order[1], "the same subnets in the same order");
}

/* All configurations are drawn, each choice as often as the others; sizes by the formulas. */
static void t_search_genes(void)
{
    search_layer layer;
    search_space space = {1, 4, &layer};
    int seen[432] = {0}, kinds = 0;
    uint8_t g[SEARCH_GENES];
    static const struct {
        uint8_t genes[SEARCH_GENES];
        size_t size;
    } rows[] = {{{0, 0, 0, 1, 1}, 4 * 40 + 4 * 40 + 4 * 11 + 30 + 30},
                {{3, 3, 3, 3, 3}, 0},
                {{1, 2, 1, 2, 3}, 30 + 1 + 10 + 1},
                {{2, 3, 3, 1, 2}, 1 + 30 + 1}};
    memset(&layer, 0, sizeof layer);
    layer.in = 10;
    layer.out = 30;
    for (uint64_t step = 0; step < 432 * 100; ++step) {
        int at = 0;
        search_draw(&space, 1, step, g);
        for (int k = 0; k < SEARCH_GENES; ++k) {
            int c = 0;
            while (search_alleles[k][c] != g[k]) ++c;
            at = at * search_allele_count(k) + c;
        }
        kinds += !seen[at]++;
    }
    double chi = 0;
    for (int i = 0; i < 432; ++i) chi += (seen[i] - 100.0) * (seen[i] - 100.0) / 100;
    ok(kinds == 432 && fabs(chi - 431) < 5 * sqrt(2 * 431.0), "%d of 432 configurations, chi^2 %.0f", kinds,
       chi);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i)
        ok(search_size(&space, rows[i].genes) == rows[i].size, "%zu numbers, not %zu",
           search_size(&space, rows[i].genes), rows[i].size);
}

/* One plan runs every subnet: loss, gradients and a step of the dressed supernet are those of the subnet alone. */
static void t_search_supernet(void)
{
    alore_plan_opts o = ALORE_ZERO;
    o.train = true;
    o.batch = 4;
    o.lanes = 2;
    o.optimizer = ALORE_SGD;
    for (uint64_t k = 0; k < 6; ++k) {
        t_net n, sub;
        search_layer layers[20];
        search_space space = {0, 2, layers};
        uint8_t genes[20 * SEARCH_GENES];
        char rules[8000] = "";
        search_text text = {rules, sizeof rules, 0};
        alore_weights *w = NULL;
        size_t count = 0;
        if (!t_net_open(&n, t_micro, "glora:rank=2@qkv|proj|fc1|fc2;unfreeze@head", &o, 0)) {
            t_net_close(&n);
            return;
        }
        ok(!search_open(n.model, n.plan, 2, &space) && space.layers == 12, "%d layers", space.layers);
        search_draw(&space, 7, k, genes);
        float *params = alore_params(n.run, &count), *held = (float *)malloc(2 * count * sizeof *held);
        memcpy(held, params, count * sizeof *held);
        search_dress(&space, genes, held, params);
        search_subnet_rules(&space, genes, &text);
        ok(alore_backward(n.run, 0) == ALORE_OK, "%s", n.ctx.error.text);
        float *g = alore_grads(n.run, NULL);
        search_undress(&space, genes, g);
        memcpy(params, held, count * sizeof *held);
        memcpy(held + count, g, count * sizeof *held);
        ok(alore_step(n.run, NULL, 0.5f, NULL) == ALORE_OK, "%s", n.ctx.error.text);
        double worst = 0;
        for (size_t i = 0; i < count; ++i) /* p -= rate g / samples, also where a shape was dressed */
            worst =
                fmax(worst, fabs((double)params[i] - ((double)held[i] - 0.125 * (double)held[count + i])));
        ok(worst < 1e-6, "the step is off by %g", worst);
        memcpy(params, held, count * sizeof *held);

        if (!t_net_open(&sub, t_micro, rules, &o, 0)) {
            t_net_close(&sub);
            t_net_close(&n);
            free(held);
            return;
        }
        ok(alore_weights_create(&sub.ctx, &w) == ALORE_OK &&
               search_subnet(&space, genes, held, w) == ALORE_OK,
           "subnet");
        alore_weights *all = NULL;
        ok(alore_run_export(n.run, &all) == ALORE_OK, "export");
        for (int i = 0; i < alore_weights_count(all); ++i) {
            const alore_tensor *t = alore_weights_at(all, i);
            if (!strncmp(t->name, "head.", 5)) ok(alore_weights_add(w, t) == ALORE_OK, "%s", t->name);
        }
        ok(alore_trainable(sub.plan) == search_size(&space, genes) + 24 * 5 + 5, "%zu learn",
           alore_trainable(sub.plan));
        ok(alore_run_load(sub.run, w) == ALORE_OK && alore_backward(sub.run, 0) == ALORE_OK, "%s",
           sub.ctx.error.text);
        for (int s = 0; s < 4; ++s)
            near((double)alore_run_output(sub.run, "loss")[s], (double)alore_run_output(n.run, "loss")[s],
                 2e-5, "loss");
        const float *gs = alore_grads(sub.run, NULL);
        double length = 0;
        for (size_t i = 0; i < count; ++i) length += fabs((double)held[count + i]);
        for (int i = 0; i < alore_param_count(sub.plan); ++i) {
            alore_param_info q = alore_param_at(sub.plan, i);
            const char *dot = strrchr(q.name, '.');
            double apart = 0, most = 0;
            size_t first = SIZE_MAX; /* in the supernet: the same name, or the first row of up */
            for (int pass = 0; pass < 2 && first == SIZE_MAX; ++pass)
                for (int j = 0; j < alore_param_count(n.plan); ++j) {
                    alore_param_info p = alore_param_at(n.plan, j);
                    char name[80];
                    snprintf(name, sizeof name, pass ? "%s%s" : "%s", q.name,
                             *(dot + 1) == 'C' ? "_down" : "_up");
                    if (!strcmp(p.name, name)) first = p.first;
                }
            if (!ok(first != SIZE_MAX, "%s", q.name)) continue;
            for (size_t j = 0; j < q.count; ++j) {
                const double a = (double)gs[q.first + j], b = (double)held[count + first + j];
                apart = fmax(apart, fabs(a - b));
                most = fmax(most, fabs(a));
                length -= fabs(b);
            }
            ok(apart <= 1e-4 * most + 1e-5, "subnet %d, %s: gradient off by %g of %g", (int)k, q.name, apart,
               most);
        }
        ok(length < 1e-2, "what the subnet does not read has gradients of %g", length);
        free(held);
        alore_weights_destroy(all);
        t_net_close(&sub);
        t_net_close(&n);
    }
}

/* ---- The command line ------------------------------------------------------- */


enum { T_LONG = 16384 };

/* Run a command of the shell in build/cli; its exit status. Output goes to the files
 * out and err there. */
static int t_shell(const char *format, ...)
{
    static char command[T_LONG], whole[T_LONG + 128];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    snprintf(whole, sizeof whole, "cd build/cli && { %s ; } >out 2>err </dev/null", command);
    int status = system(whole);
    return status < 0 ? -1 : status > 255 ? status >> 8 : status;
}

/* What the last command wrote; in a static buffer. */
static const char *t_wrote(const char *file)
{
    static char text[2][T_LONG];
    char path[256], *to = text[!strcmp(file, "out")];
    snprintf(path, sizeof path, "build/cli/%s", file);
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(to, 1, T_LONG - 1, f) : 0;
    to[n] = 0;
    if (f) fclose(f);
    return to;
}

static bool t_exists(const char *file)
{
    char path[256];
    snprintf(path, sizeof path, "build/cli/%s", file);
    FILE *f = fopen(path, "rb");
    if (f) fclose(f);
    return f != NULL;
}

/* On failure what the last command wrote is shown, too. */
static bool t_tell(void)
{
    printf("  out: %.600s\n  err: %.600s\n", t_wrote("out"), t_wrote("err"));
    return false;
}
#define ok_cli(...) ((void)(ok(__VA_ARGS__) || t_tell()))

/* A clean folder with a small base, its images and `alore`; false where there is none. */
static bool t_cli_begin(void)
{
    if (system("rm -rf build/cli && mkdir -p build/cli")) return false;
    if (t_shell("ln -s ../alore_san alore && cp ../../tests/data/vit_a/base.safetensors "
                "../../tests/data/vit_a/io.safetensors . && ./alore --version"))
        return ok(false, "build/alore_san does not run: %s", t_wrote("err"));
    return true;
}

#define T_TRAIN                                                                                              \
    "train --weights base.safetensors --attach 'lora:rank=2@qkv;unfreeze@head' --data io.safetensors "        \
    "--out z.st"

/* Wrong usage is 2, a wrong file or check 1: one line that names it, nothing written. */
static void t_cli_errors(void)
{
    static const struct {
        int status;
        const char *arguments, *says;
    } rows[] = {
    {2, "",
     "command: missing: info, sites, plan, train, eval, predict, merge, export, count, search, be"},
    {2, "frobnicate",
     "frobnicate: no such command: info, sites, plan, train, eval, predict, merge, export, count"},
    {2, "bench --steps 2",
     "--steps: needs a network: --weights FILE or --backbone SPEC"},
    {2, "bench --backbone vit:img=8,patch=4,dim=8,depth=1,heads=2,classes=3 --train",
     "--attach: missing: --train asks for rules"},
    {2, "bench --backbone vit:img=8,patch=4,dim=8,depth=1,heads=2,classes=3 --steps 0",
     "--steps: '0' is not from 1 to 64"},
    {2, "bench --records",
     "--records: needs a network: --weights FILE or --backbone SPEC"},
    {2, "bench --out z.st",
     "--out: no option of bench, which has"},
    {2, "bench --backbone vit_no_such",
     "--backbone: "},
    {1, "bench --weights gone.st",
     "gone.st: "},
    {2, "search",
     "search: its kind is missing; alore search spt|glora NETWORK --data DATA --out ADAPTER"},
    {2, "search ssf",
     "ssf: no kind of search; there are spt, glora"},
    {2, "search spt --most 3",
     "--most: is of search glora"},
    {2, "search glora --budget 3",
     "--budget: is of search spt"},
    {2, "search spt --weights base.safetensors --data io.safetensors --out z.st",
     "--budget: missing: how many numbers may learn"},
    {2, "search spt --budget 0",
     "--budget: '0' is not a whole number from 1 to 1e+09"},
    {2, "search spt --budget 9 --data io.safetensors --out z.st",
     "--weights: missing; alore search spt|glora NETWORK"},
    {2, "search spt --weights base.safetensors --data io.safetensors --out z.st --budget 9 --head-init zero",
     "--head-init: zero: no gradient passes such a head"},
    {2, "search spt --weights base.safetensors --data io.safetensors --out z.st --budget 9 --structured adapter",
     "--structured: 'adapter' is none of lora"},
    {2, "search spt --weights base.safetensors --data io.safetensors --out z.st --budget 9 --val io.safetensors",
     "--val: is of search glora"},
    {2, "search glora --weights base.safetensors --data io.safetensors --out z.st",
     "--val: missing: subnets are told apart by it"},
    {2, "search glora --weights base.safetensors --data io.safetensors --val x --out z.st --least 9 --most 3",
     "--most: 3 is less than --least 9"},
    {2, "search glora --weights base.safetensors --probability 2",
     "--probability: '2' is not a number from 0 to 1"},
    {1, "train --weights base.safetensors --data io.safetensors --init-adapter base.safetensors --out z.st",
     "base.safetensors: the adapter has no alore.rules in its metadata"},
    {1, "search spt --weights base.safetensors --data gone --out z.st --budget 9",
     "--data: gone: cannot be read: No such file or directory"},
    {1, "search spt --weights base.safetensors --data io.safetensors --out /no/such/z.st --budget 9",
     "/no/such/z.st: cannot be written"},
    {2, "convert a b",
     "convert: not in this version"},
    {2, "analyse x",
     "analyse: not in this version"},
    {2, "info",
     "info: the file is missing; alore info FILE"},
    {2, "info base.safetensors extra",
     "extra: stands alone; options begin with --"},
    {2, "info base.safetensors --data x",
     "--data: no option of info, which has --threads, --isa, --precision, --seed, --memory, --js"},
    {2, "help nothing",
     "nothing: no command and no method; there are info, sites, plan, train, eval, predict, merg"},
    {2, "train",
     "--weights: missing; alore train NETWORK --attach RULES --data DATA --out ADAPTER"},
    {2, "train --weights base.safetensors",
     "--attach: missing; alore train NETWORK --attach RULES --data DATA --out ADAPTER"},
    {2, "train --weights base.safetensors --attach lora@qkv --data io.safetensors",
     "--out: missing; alore train NETWORK --attach RULES --data DATA --out ADAPTER"},
    {2, "predict --weights base.safetensors --data io.safetensors",
     "--out: missing; alore predict NETWORK [--adapter FILE] --data DATA --out FILE.safetensors"},
    {2, "merge --weights base.safetensors --out z.st",
     "--adapter: missing; alore merge NETWORK --adapter FILE --out FILE"},
    {2, "plan",
     "--weights: missing: a checkpoint, or --backbone SPEC"},
    {2, "train --backbone vit_tiny_patch16_224 --attach lora@qkv --data io.safetensors --out z.st",
     "--weights: missing; alore train NETWORK --attach RULES --data DATA --out ADAPTER"},
    {2, "TRAIN --foo",
     "--foo: no option of train, which has --weights, --backbone, --classes, --head-init, --atta"},
    {2, "TRAIN stray",
     "stray: stands alone; options begin with --"},
    {2, "TRAIN --lr",
     "--lr: its value X is missing"},
    {2, "TRAIN --json=1",
     "--json: takes no value"},
    {2, "TRAIN --lr abc",
     "--lr: 'abc' is not a number from 0 to 1e+06"},
    {2, "TRAIN --lr nan",
     "--lr: 'nan' is not a number from 0 to 1e+06"},
    {2, "TRAIN --lr inf",
     "--lr: 'inf' is not a number from 0 to 1e+06"},
    {2, "TRAIN --lr -1",
     "--lr: '-1' is not a number from 0 to 1e+06"},
    {2, "TRAIN --lr 1e-3x",
     "--lr: '1e-3x' is not a number from 0 to 1e+06"},
    {2, "TRAIN --batch 0",
     "--batch: '0' is not a whole number from 1 to 1048576"},
    {2, "TRAIN --batch 1.5",
     "--batch: '1.5' is not a whole number from 1 to 1048576"},
    {2, "TRAIN --batch 99999999999999999999",
     "--batch: '99999999999999999999' is not a whole number from 1 to 1048576"},
    {2, "TRAIN --steps 1e5",
     "--steps: '1e5' is not a whole number from 0 to 1e+09"},
    {2, "TRAIN --steps 1 --epochs 1",
     "--steps: either --epochs or --steps"},
    {2, "TRAIN --optimizer lion",
     "--optimizer: 'lion' is none of adamw|sgd"},
    {2, "TRAIN --momentum 0.9",
     "--momentum: is of --optimizer sgd"},
    {2, "TRAIN --betas 0.9",
     "--betas: '0.9' is not two numbers A,B from 0 to 0.9999999"},
    {2, "TRAIN --betas 1,0.9",
     "--betas: '1,0.9' is not two numbers A,B from 0 to 0.9999999"},
    {2, "TRAIN --warmup y2",
     "--warmup: 'y2' is not a number of steps, nor x and a number of passes from 0 to 1e+09"},
    {2, "TRAIN --warmup x",
     "--warmup: 'x' is not a number of steps, nor x and a number of passes from 0 to 1e+09"},
    {2, "TRAIN --schedule step",
     "--schedule: 'step' is none of constant|cosine"},
    {2, "TRAIN --shuffle maybe",
     "--shuffle: 'maybe' is none of on|off"},
    {2, "TRAIN --seed -1",
     "--seed: '-1' is not a whole number below 2^64"},
    {2, "TRAIN --seed 18446744073709551616",
     "--seed: '18446744073709551616' is not a whole number below 2^64"},
    {2, "TRAIN --memory 0",
     "--memory: '0' is not a number of bytes with K, M or G behind it"},
    {2, "TRAIN --memory 5T",
     "--memory: '5T' is not a number of bytes with K, M or G behind it"},
    {2, "TRAIN --memory 5KB",
     "--memory: '5KB' is not a number of bytes with K, M or G behind it"},
    {2, "TRAIN --isa foo",
     "--isa: 'foo' is none of auto|scalar|avx2|avx512|neon"},
    {2, "TRAIN --threads 0",
     "--threads: '0' is not a whole number from 1 to 1024"},
    {2, "TRAIN --threads 9999",
     "--threads: '9999' is not a whole number from 1 to 1024"},
    {2, "TRAIN --head-init one",
     "--head-init: 'one' is none of zero|normal|keep"},
    {2, "TRAIN --keep best",
     "--keep: best is told by --val DATA"},
    {2, "TRAIN --cache-type bf16",
     "--cache-type: needs --cache BYTES"},
    {2, "TRAIN --cache 0",
     "--cache: '0' is not a number of bytes with K, M or G behind it"},
    {2, "TRAIN --every 3",
     "--every: needs --checkpoint FILE"},
    {2, "TRAIN --recompute fit",
     "--recompute: fit needs --memory BYTES"},
    {2, "TRAIN --smoothing 1",
     "--smoothing: '1' is not a number from 0 to 0.9999999"},
    {2, "TRAIN --drop-path 1",
     "--drop-path: '1' is not a number from 0 to 0.9999999"},
    {2, "TRAIN --transform flip",
     "--transform: 'flip' is none of resize=HxW[:bilinear|bicubic], short=N[:..], crop=N|HxW, me"},
    {2, "TRAIN --transform resize=3",
     "--transform: resize=3: write resize=3x3 for the whole picture or short=3 for the shorter s"},
    {2, "TRAIN --transform mean=0.5,crop=3",
     "--transform: crop=3: must stand before mean and std"},
    {2, "TRAIN --attach lora:rnk=3@qkv",
     "--attach: lora has no key rnk; it has rank, scale, parts, dropout, init, place"},
    {2, "TRAIN --attach nope@qkv",
     "--attach: there is no method nope; there are alore, kron, arc, repadapter, lora, mlae"},
    {2, "TRAIN --attach lora",
     "--attach: \"lora\" is not method:key=value@target"},
    {2, "TRAIN --attach lora:rank=0@qkv",
     "--attach: lora: rank=0; it is a whole number from 1 to 65536"},
    {2, "TRAIN --backbone vit_foo",
     "--backbone: backbone \"vit_foo\" is neither vit:key=value,... nor a known name; names: vit_t"},
    {2, "TRAIN --backbone vit:dim=3",
     "--backbone: vit: depth must be given"},
    {2, "TRAIN --classes 0",
     "--classes: '0' is not a whole number from 1 to 16777216"},
    {2, "merge --weights base.safetensors --adapter a.st --out z.st --dtype f64",
     "--dtype: 'f64' is none of f32|f16|bf16"},
    {2, "export --weights base.safetensors --adapter a.st --as lora --names timm --out ex",
     "--names: is of --as peft"},
    {2, "sites --weights base.safetensors --adapter a.st --attach lora@qkv",
     "--attach: either --attach or --adapter"},
    {2, "export --weights base.safetensors --adapter a.st --as onnx --out ex",
     "--as: 'onnx' is none of peft|lora"},
    {2, "export --weights base.safetensors --backbone nonsense --adapter base.safetensors --as lora --out ex",
     "--backbone: backbone \"nonsense\" is neither"},
    {2, "eval --weights base.safetensors --data io.safetensors --head-init zero",
     "--head-init: only training makes a new head; eval allows keep"},
    {2, "plan --backbone vit_tiny_patch16_224 --train --precision i8",
     "--precision: i8 is for inference; plan --train allows f32 and bf16"},
    {2, "help convert",
     "convert: not in this version"},
    {2, "TRAIN --checkpoint z.st",
     "--checkpoint: z.st is what --out writes"},
    {2, "TRAIN --log ./base.safetensors",
     "--log: ./base.safetensors is read, too"},
    {2, "TRAIN --out ./base.safetensors",
     "--out: ./base.safetensors is read, too"},
    {2, "predict --weights base.safetensors --data io.safetensors --out io.safetensors",
     "--out: io.safetensors is read, too"},
    {2, "TRAIN --checkpoint io.safetensors",
     "--checkpoint: io.safetensors is read, too"},
    {1, "TRAIN --checkpoint gone/c --log gone/l",
     "gone/c: cannot be written: No such file or directory"},
    {2, "count --attach x",
     "--attach: \"x\" is not method:key=value@target"},
    {1, "info nofile",
     "nofile: cannot be read"},
    {1, "info /dev/null",
     "/dev/null"},
    {1, "train --weights base.safetensors --attach lora@qkv --data nofile --out z.st",
     "--data: nofile: cannot be read: No such file or directory"},
    {1, "train --weights base.safetensors --attach lora@qkv --data base.safetensors --out z.st",
     "--data: base.safetensors: no tensor 'image' in it"},
    {1, "train --weights base.safetensors --attach lora:rank=2@qkv;unfreeze@head --data io.safetensors --out .",
     ".: is a folder"},
    {1, "TRAIN --attach lora@nothing*",
     "--attach: lora@nothing*: nothing* matches nothing; the nearest names are norm, head, block"},
    {1, "TRAIN --attach lora:rank=64@qkv",
     "--attach: blocks.0.attn.qkv: lora: rank 64 is larger than the width 48"},
    {1, "TRAIN --attach lora@qkv;lora@qkv",
     "--attach: blocks.0.attn.qkv: lora twice on one site"},
    {1, "sites --weights base.safetensors --attach lora@foo",
     "--attach: lora@foo: foo matches nothing; the nearest names are norm, head, blocks.0"},
    {1, "train --weights base.safetensors --attach lora@qkv --data io.safetensors --classes 3 --out z.st",
     "--data: item 0: label 5, there are 3 classes: 0 to 2"},
    {1, "TRAIN --classes 3 --head-init keep",
     "base.safetensors: its head has 7 classes, not 3, and --head-init keep forbids a new one"},
    {1, "TRAIN --batch 11 --drop-last",
     "--drop-last: a batch of 11 is never full: there are 3 items"},
    {1, "eval --weights base.safetensors --adapter nofile --data io.safetensors",
     "nofile: cannot be read"},
    {1, "eval --weights base.safetensors --adapter base.safetensors --data io.safetensors",
     "base.safetensors: the adapter has no alore.rules in its metadata"},
    {1, "eval --weights base.safetensors --data io.safetensors[3:3]",
     "--data: the range [3:3] of 3 items"},
    {1, "eval --weights base.safetensors --data io.safetensors[0:4]",
     "--data: the range [0:4] of 3 items"},
    {1, "eval --weights base.safetensors --data io.safetensors[a:b]",
     "--data: io.safetensors[a:b]: cannot be read: No such file or directory"},
    {1, "predict --weights base.safetensors --classes 9 --data io.safetensors --out z.st",
     "base.safetensors: its head has 7 classes, not 9, and only training makes a new one"},
    {1, "eval --weights base.safetensors --data list:none.txt",
     "--data: none.txt: cannot be read: No such file or directory"},
    {1, "eval --weights base.safetensors --data cifar10:gone",
     "--data: gone: cannot be read: No such file or directory"},
    };
    if (!t_cli_begin()) return;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
        char quoted[T_LONG] = "";
        const char *a = rows[i].arguments;
        size_t n = 0;
        bool train = !strncmp(a, "TRAIN", 5);
        if (train) n = (size_t)snprintf(quoted, sizeof quoted, "%s", T_TRAIN);
        a += train ? 5 : 0;
        while (*a && n + 8 < sizeof quoted) { /* quote each word */
            size_t word = strcspn(a, " ");
            if (word) n += (size_t)snprintf(quoted + n, sizeof quoted - n, " '%.*s'", (int)word, a);
            a += word + (a[word] == ' ');
        }
        int status = t_shell("./alore %s", quoted);
        const char *err = t_wrote("err"), *line = strstr(err, "alore: ");
        while (line && strstr(line + 1, "\nalore: ")) line = strstr(line + 1, "\nalore: ") + 1;
        ok_cli(status == rows[i].status && line && strstr(line, rows[i].says) &&
               !strstr(err, "Sanitizer") && !strstr(err, "runtime error") && !t_exists("z.st"),
           "%s: exit %d, %s", rows[i].arguments, status, err);
    }
    ok_cli(t_shell("ls | grep -v -x -e alore -e base.safetensors -e io.safetensors -e out -e err") == 1,
       "files are left: %s", t_wrote("out"));
}

/* info takes every file of the reference set; plan, sites and count need no weights. */
static void t_cli_files(void)
{
    if (!t_cli_begin()) return;
    ok_cli(!t_shell("./alore info base.safetensors --json") && strstr(t_wrote("out"), "\"fingerprint\""),
       "info: %s", t_wrote("err"));
    ok_cli(!t_shell("./alore count --json") && strstr(t_wrote("out"), "147520") &&
           strstr(t_wrote("out"), "294912") && strstr(t_wrote("out"), "205824") &&
           strstr(t_wrote("out"), "102912") && strstr(t_wrote("out"), "85798656"),
       "count: %s%s", t_wrote("out"), t_wrote("err"));
    ok_cli(!t_shell("./alore plan --backbone vit_base_patch16_224 --attach 'alore@qkv|fc1' --train "
                "--batch 1 --recompute blocks --store small --json") &&
           strstr(t_wrote("out"), "\"arena\"") && strstr(t_wrote("out"), "\"live_bound\""),
       "plan: %s", t_wrote("err"));
    ok_cli(!t_shell("./alore sites --backbone vit_tiny_patch16_224 --attach 'lora@qkv#3' --json") &&
           strstr(t_wrote("out"), "blocks.11.mlp.fc2"),
       "sites: %s", t_wrote("err"));
    static const char *const help[] = {"help", "help train", "help alore", "help lora", "help ssf",
                                       "--version"};
    for (size_t i = 0; i < sizeof help / sizeof *help; ++i)
        ok_cli(!t_shell("./alore %s", help[i]) && strlen(t_wrote("out")) > 20, "%s", help[i]);
    ok_cli(strstr((t_shell("./alore help alore"), t_wrote("out")), "147520") != NULL, "%s", t_wrote("out"));
}

/* Every number behind a key of what the last command wrote lies above `low` and is at most `high`. */
static bool t_keyed(const char *key, double low, double high, int least)
{
    const char *at = t_wrote("out");
    int seen = 0;
    for (size_t n = strlen(key); (at = strstr(at, key)); ++seen) {
        char *end;
        double x = strtod(at += n, &end);
        if (end == at || !(x > low && x <= high)) return false;
    }
    return seen >= least;
}

/* bench tells its keys with numbers that can be. */
static void t_cli_bench(void)
{
    static const char *const nets[] = {"", "--train --attach 'alore:rank=2@qkv;unfreeze@head'",
                                       "--train --store small --attach 'alore:rank=2@fc1;unfreeze@head'"};
    if (!t_cli_begin()) return;
    ok_cli(!t_shell("./alore bench --quick --json -q"), "kernels: %s", t_wrote("err"));
    ok_cli(t_keyed("\"peak_f32\":", 0, 1e5, 1) && t_keyed("\"peak_bf16\":", 0, 1e5, 1) &&
           t_keyed("\"gflops\":", 0, 1e5, 4) && t_keyed("\"gbs\":", 0, 1e5, 1) &&
           t_keyed("\"share\":", 0, 1.2, 5) && strstr(t_wrote("out"), "\"rows\":[{\"name\":\"gemm f32 ") &&
           strstr(t_wrote("out"), "\"skinny f32 197x192x16\"") &&
           strstr(t_wrote("out"), "\"kron backward f32 197x768x768\"") &&
           strstr(t_wrote("out"), "\"attention forward f32 "),
       "kernels");
    for (int i = 0; i < 3; ++i) {
        ok_cli(!t_shell("./alore bench --weights base.safetensors --batch 2 --steps 2 --quick --json -q %s", nets[i]),
           "%s: %s", nets[i], t_wrote("err"));
        ok_cli(t_keyed("\"images_per_second\":", 0, 1e7, 1) && t_keyed("\"min\":", 0, 1e7, 1) &&
               t_keyed("\"max\":", 0, 1e7, 1) && t_keyed("\"share\":", 0, 1.2, 1) &&
               t_keyed("\"first_seconds\":", 0, 1e4, 1) && t_keyed("\"planned_bytes\":", 1e4, 1e9, 1) && t_keyed("\"peak_rss\":", 1e5, 1e11, 1),
           "%s", nets[i]);
    }
    for (int i = 0; i < 3; ++i) { /* parts of a step make a whole, and only rules of adapters have one */
        double sum = 0;
        ok_cli(!t_shell("./alore bench --weights base.safetensors --batch 3 --steps 2 --records --json -q %s", nets[i]),
           "%s: %s", nets[i], t_wrote("err"));
        for (const char *at = t_wrote("out"); (at = strstr(at, "\"part\":")) != NULL; sum += strtod(at += 7, NULL))
            continue;
        ok_cli(sum > 0.999 && sum < 1.001 && t_keyed("\"seconds\":", -1e-9, 1e3, 6) &&
               t_keyed("\"backbone\":", 0, 1, 1) && t_keyed("\"adapter\":", i ? 0 : -1e-9, i ? 0.9 : 0, 1) &&
               !strstr(t_wrote("out"), "\"of\":\"adapter\"") == !i,
           "%s: %s", nets[i], t_wrote("out"));
    }
    ok_cli(!t_shell("echo go | ./alore bench --backbone vit:img=8,patch=4,dim=8,depth=1,heads=2,classes=3 "
                "--batch 1 --serve") &&
           !strncmp(t_wrote("out"), "FIRST ", 6) && strstr(t_wrote("out"), "\nREADY ") &&
           strstr(t_wrote("out"), "\nRSS "),
       "serve: %s", t_wrote("err"));
}

/* The same bytes for any number of threads, with dropout, stochastic depth and all. */
static void t_cli_threads(void)
{
    if (!t_cli_begin()) return;
    static const int threads[] = {1, 2, 3, 8};
    for (size_t i = 0; i < 4; ++i)
        ok_cli(!t_shell("./alore train --weights base.safetensors --attach "
                    "'alore:dropout=0.1@qkv|fc1;lora:parts=qv,dropout=0.2@qkv;unfreeze@head' --data "
                    "io.safetensors --batch 19 --steps 2 --drop-path 0.1 --threads %d --seed 5 -q --out t%d.st",
                    threads[i], threads[i]), "%s", t_wrote("err"));
    ok_cli(!t_shell("cmp t1.st t2.st && cmp t1.st t3.st && cmp t1.st t8.st"), "%s", t_wrote("out"));
    for (size_t i = 0; i < 4; ++i)
        ok_cli(!t_shell("./alore predict --weights base.safetensors --adapter t1.st --data io.safetensors "
                    "--threads %d -q --out p%d.st", threads[i], threads[i]), "%s", t_wrote("err"));
    ok_cli(!t_shell("cmp p1.st p2.st && cmp p1.st p3.st && cmp p1.st p8.st"), "%s", t_wrote("out"));
    ok_cli(!t_shell("./alore train --weights base.safetensors --attach 'alore:dropout=0.1@qkv|fc1;lora:parts=qv,"
                "dropout=0.2@qkv;unfreeze@head' --data io.safetensors --batch 19 --steps 2 --drop-path 0.1 "
                "--recompute blocks --seed 5 -q --out b.st && cmp t1.st b.st"), "recomputed: %s%s",
       t_wrote("out"), t_wrote("err"));
}

/* With a cache the same adapter, for any number of threads, whatever fits, and resumed; in bf16 another one. */
static void t_cli_cache(void)
{
#define T_CACHE                                                                                              \
    "./alore train --weights base.safetensors --data io.safetensors --batch 3 --steps 8 --seed 5 --attach "  \
    "'alore:dropout=0.1@qkv#2|fc1#2;unfreeze@head' "
    static const char *const sizes[] = {"1G", "1", "8K"};
    if (!t_cli_begin()) return;
    ok_cli(!t_shell(T_CACHE "-q --out a.st"), "%s", t_wrote("err"));
    for (int i = 0; i < 9; ++i)
        ok_cli(!t_shell(T_CACHE "--cache %s --threads %d --out b.st && cmp a.st b.st", sizes[i / 3], i % 3 + 1) &&
                   strstr(t_wrote("err"), "--cache keeps "), "%s", t_wrote("err"));
    ok_cli(!t_shell(T_CACHE "-q --cache 1M --checkpoint c --every 5 --out b.st && cmp a.st b.st"), "%s", t_wrote("err"));
    ok_cli(!t_shell(T_CACHE "-q --drop-path 0.3 --recompute blocks --out b.st && " T_CACHE "-q --drop-path 0.3 --cache 1M "
                    "--out z.st && cmp b.st z.st") && t_shell("cmp a.st b.st") == 1, "stochastic depth");
    ok_cli(!t_shell("./alore plan --weights base.safetensors --attach 'alore@qkv#2' --train") &&
               strstr(t_wrote("out"), "cache_item          3268"), "%s", t_wrote("out"));
    ok_cli(!t_shell(T_CACHE "--schedule constant -q --out a.st"), "%s", t_wrote("err"));
    for (int type = 0; type < 2; ++type) {
        const char *const with = type ? "--schedule constant -q --cache 1M --cache-type bf16"
                                      : "--schedule constant -q --cache 1M";
        ok_cli(!t_shell(T_CACHE "%s --out b.st && " T_CACHE "%s --steps 5 --checkpoint c --out z.st && " T_CACHE
                        "%s --resume c --out z.st && cmp b.st z.st", with, with, with), "resumed: %s", t_wrote("err"));
        ok_cli(t_shell("cmp a.st b.st") == type, "bf16 rounds, f32 does not");
    }
    ok_cli(t_shell(T_CACHE "--schedule constant -q --resume c --out z.st") == 1, "the checkpoint's cache is in bf16");
    ok_cli(!t_shell("./alore " T_TRAIN " --attach alore@patch --steps 3 --cache 1M --cache-type bf16") &&
               strstr(t_wrote("err"), "nothing is kept"), "a cache of nothing");
}

/* Stop at any step and resume: the bytes of never stopping. Other settings are refused. */
static void t_cli_resume(void)
{
    if (!t_cli_begin()) return;
    ok_cli(!t_shell("./alore " T_TRAIN " --batch 2 --steps 6 -q && mv z.st whole.st"), "%s", t_wrote("err"));
    for (int stop = 1; stop < 6; ++stop) {
        ok_cli(!t_shell("./alore " T_TRAIN " --batch 2 --steps 6 -q --checkpoint c%d --every %d", stop, stop),
           "%s", t_wrote("err"));
        ok_cli(!t_shell("cmp z.st whole.st && rm z.st"), "a checkpoint changed the run");
    }
    ok_cli(!t_shell("./alore " T_TRAIN " --batch 2 --steps 3 --schedule constant -q --checkpoint c --every 3 && "
                "./alore " T_TRAIN " --batch 2 --steps 6 --schedule constant -q --resume c && mv z.st a.st && "
                "./alore " T_TRAIN " --batch 2 --steps 6 --schedule constant -q && cmp z.st a.st && rm z.st"),
       "resumed: %s%s", t_wrote("out"), t_wrote("err"));
    for (int keep = 0; keep < 2; ++keep) /* the best adapter is in a checkpoint of --keep best alone */
        ok_cli(!t_shell("./alore " T_TRAIN " --val io.safetensors --batch 2 --steps 3 -q --checkpoint k --keep %s && "
                        "./alore " T_TRAIN " --val io.safetensors --batch 2 --steps 3 -q --resume k --keep best --json",
                        keep ? "best" : "last") &&
                   strstr(t_wrote("out"), "\"count\":3}") && !strstr(t_wrote("out"), "\"count\":0"),
               "resumed with --keep best: %s", t_wrote("out"));
    ok_cli(!t_shell("rm z.st; LC_ALL=C sed s/__metadata__/__metadatum_/ k >l && test $(wc -c <k) = $(wc -c <l)") &&
               t_shell("./alore " T_TRAIN " --val io.safetensors --batch 2 --steps 9 -q --resume l --keep best") == 1 &&
               strstr(t_wrote("err"), "alore: l: ") && !t_exists("z.st"), "a damaged best adapter");
    static const char *const other[][2] = {
        {"--batch 3", "batch 2, not batch 3"},
        {"--seed 9", "seed 0, not seed 9"},
        {"--attach lora@qkv", "not rules lora@qkv"},
        {"--precision bf16 --store f32", "precision f32, not precision bf16"},
        {"--store small", "store f32, not store small"},
        {"--span 2", "span 1, not span 2"},
        {"--smoothing 0.25", "smoothing 0, not smoothing 0.25"},
        {"--drop-path 0.25", "drop-path 0, not drop-path 0.25"},
        {"--weight-decay 0.5", "decay 0 0, not decay 0.5 0"},
        {"--betas 0.5,0.75", "not betas 0.5 0.75"},
        {"--clip 2", "clip 0, not clip 2"}};
    for (size_t i = 0; i < sizeof other / sizeof *other; ++i)
        ok_cli(t_shell("./alore " T_TRAIN " --batch 2 %s --steps 6 -q --resume c", other[i][0]) == 1 &&
                   strstr(t_wrote("err"), other[i][1]) && !t_exists("z.st"), "%s: %s", other[i][0], t_wrote("err"));
    ok_cli(!t_shell("./alore " T_TRAIN " --batch 2 --threads 3 --lr 0.1 --recompute blocks --steps 6 -q --resume c"), "%s",
       t_wrote("err"));
    static unsigned char file[1 << 16]; /* as versions without the last lines of the tag wrote it */
    FILE *f = fopen("build/cli/c", "rb");
    const size_t bytes = f ? fread(file, 1, sizeof file, f) : 0;
    if (f) fclose(f);
    char *cut = bytes > 80 ? strstr((char *)file + 56, "\ncache f32") : NULL;
    if (!ok(cut != NULL, "no tag in %zu bytes", bytes)) return;
    const size_t tag = (size_t)alo_little(file + 48, 8), keep = (size_t)(cut - (char *)file) - 56, less = tag - keep;
    size_t rest = bytes - less;
    memmove(cut, file + 56 + tag, bytes - 56 - tag);
    for (int i = 0; i < 8; ++i) file[48 + i] = (unsigned char)(keep >> 8 * i);
    const size_t all = rest - 32; /* the library's bytes; behind them top-1, no adapter, `all`, and a checksum */
    const uint64_t sum = alo_hash(file, all - 8, 0);
    for (size_t i = 0; i < 8; ++i) file[all - 8 + i] = (unsigned char)(sum >> 8 * i);
    for (size_t i = 0; i < 8; ++i) file[all + 16 + i] = (unsigned char)(all >> 8 * i);
    const uint64_t last = alo_hash(file + all, 24, 0);
    for (size_t i = 0; i < 8; ++i) file[all + 24 + i] = (unsigned char)(last >> 8 * i);
    f = fopen("build/cli/old", "wb");
    ok(f && fwrite(file, 1, rest, f) == rest && !fclose(f), "old");
    ok_cli(!t_shell("./alore " T_TRAIN " --batch 2 --steps 6 --schedule constant -q --resume old && cmp z.st a.st && rm z.st"),
       "an old checkpoint: %s", t_wrote("err"));
    ok_cli(t_shell("./alore " T_TRAIN " --batch 2 --seed 9 --steps 6 -q --resume old") == 1 &&
               strstr(t_wrote("err"), "seed 0, not seed 9"), "%s", t_wrote("err"));
}

/* The number before or behind `what` in what the last command wrote. */
static double t_number(const char *where, const char *what, bool before)
{
    const char *text = t_wrote(where), *at = strstr(text, what);
    if (!at) return -1;
    if (!before) return strtod(at + strlen(what), NULL);
    while (at > text && at[-1] >= '0' && at[-1] <= '9') --at;
    return strtod(at, NULL);
}

/* --memory is for the base, both plans and the cache; the least that is named is enough, a byte less is not.
 * It changes no bit. */
static void t_cli_memory(void)
{
    static const char *const with[] = {"", "--cache 9K", "--val io.safetensors", "--val io.safetensors --cache 9K",
                                       "--recompute keep", "--val io.safetensors --threads 3"};
    double least[6];
    if (!t_cli_begin()) return;
    ok_cli(!t_shell("./alore " T_TRAIN " --steps 2 --batch 5 -q --json && cp z.st all.st"), "%s", t_wrote("err"));
    for (size_t i = 0; i < 6; ++i) {
        ok_cli(t_shell("./alore " T_TRAIN " --steps 2 --batch 5 -q %s --memory 1000", with[i]) == 1 &&
                   strstr(t_wrote("err"), " allowed") && t_number("err", " allowed", true) == 1000,
               "%s: %s", with[i], t_wrote("err"));
        least[i] = t_number("err", " bytes are needed", true);
        for (int less = 0; less < 2; ++less)
            ok_cli(t_shell("./alore " T_TRAIN " --steps 2 --batch 5 -q --json %s --memory %.0f && cmp all.st z.st", with[i],
                           least[i] - less) == less, "%s, %.0f less %d: %s", with[i], least[i], less, t_wrote("err"));
        ok_cli(t_shell("./alore " T_TRAIN " --steps 2 --batch 5 -q --json %s --memory %.0f", with[i], 2 * least[i]) == 0 &&
                   t_number("out", "\"planned_bytes\":", false) <= 2 * least[i], "%s: %s", with[i], t_wrote("out"));
    }
    ok(least[1] == least[0] + 9216 && least[3] == least[2] + 9216 && least[2] > least[0] && least[4] > least[0],
       "least: %.0f %.0f %.0f %.0f %.0f", least[0], least[1], least[2], least[3], least[4]);
    ok_cli(!t_shell("./alore plan --weights base.safetensors --batch 5 --threads 2 --json -q") &&
               t_number("out", "\"lanes\":", false) == 2 && t_number("out", "\"split\":", false) == 1 &&
               t_number("out", "\"with_base\":", false) ==
                   t_number("out", "\"total\":", false) + t_number("out", "\"base\":", false), "%s", t_wrote("out"));
    const double base = t_number("out", "\"with_base\":", false);
    ok_cli(!t_shell("./alore plan --weights base.safetensors --batch 5 --threads 2 --json -q --memory %.0f", base - 1) &&
               t_number("out", "\"with_base\":", false) < base, "%s", t_wrote("err"));
    ok_cli(!t_shell("command -v taskset || exit 0; first=$(taskset -cp $$ | sed 's/.*: //;s/[,-].*//'); "
                    "taskset -c $first ./alore plan --weights base.safetensors >p && grep -q '^lanes *1$' p && grep '^split *1$' p"),
           "threads on one core: %s%s", t_wrote("out"), t_wrote("err"));
#define T_TI "./alore plan --backbone vit_tiny_patch16_224 --attach lora@qkv --train --batch 2 --precision bf16 "
    ok_cli(!t_shell(T_TI ">a && " T_TI "--store bf16 >b && cmp a b && " T_TI "--store f32 >c && ! cmp -s a c"),
           "bf16 stores bf16: %s", t_wrote("err"));
}

/* A process holds what is planned and little more: the file is mapped, and its pages are given back. */
static void t_cli_process(void)
{
    static const char *const with[] = {"", "--precision bf16", "--val io.safetensors --threads 2 --memory 70M"};
    t_net n;
    if (!t_cli_begin()) return;
    memset(&n, 0, sizeof n);
    t_begin(&n.ctx, &n.heap);
    if (ok(t_vit(&n.ctx, "vit:img=32,patch=8,dim=384,depth=8,classes=7", "", 0, &n.model) == ALORE_OK, "%s",
           n.ctx.error.text))
        ok(alore_weights_save(t_base(&n.ctx, n.model, 3), "build/cli/big.safetensors") == ALORE_OK, "%s",
           n.ctx.error.text);
    t_net_close(&n);
    for (size_t i = 0; i < 4; ++i) {
        if (i < 3)
            ok_cli(!t_shell("../alore train --weights big.safetensors --backbone vit:img=32,patch=8,dim=384,depth=8,classes=7 "
                            "--attach 'lora@qkv;unfreeze@head' --data io.safetensors --out z.st --steps 1 --batch 8 -q --json %s",
                            with[i]), "%s", t_wrote("err"));
        else
            ok_cli(!t_shell("../alore bench --weights big.safetensors --backbone vit:img=32,patch=8,dim=384,depth=8,classes=7 "
                            "--steps 1 --batch 8 -q --json"), "%s", t_wrote("err"));
        const double plan = t_number("out", "\"planned_bytes\":", false), peak = t_number("out", "\"peak_rss\":", false);
        ok(plan > 2e7 && peak > 0 && peak <= 1.05 * plan + 1e7, "%zu: planned %.0f, peak %.0f", i, plan, peak);
    }
}

/* A disk that fills while saving: exit 1, the old file as it was, nothing beside it. */
static void t_cli_saving(void)
{
    if (!t_cli_begin()) return;
    ok_cli(!t_shell("./alore " T_TRAIN " --steps 1 -q && cp z.st old"), "%s", t_wrote("err"));
    ok_cli(t_shell("trap '' XFSZ; ulimit -f 4; ./alore " T_TRAIN " --steps 2 -q") == 1, "exit");
    ok_cli(!t_shell("cmp z.st old && ! ls | grep -e tmp -e part"), "%s%s", t_wrote("out"), t_wrote("err"));
    ok_cli(t_shell("./alore info base.safetensors >/dev/full") == 1, "info to a full device");
    ok_cli(t_shell("./alore " T_TRAIN "/no/such/folder --steps 1 -q") == 1, "no folder");
    /* what is done is kept though the log or the last checkpoint finds no room */
    ok_cli(t_shell("rm z.st; ./alore " T_TRAIN " --steps 1 -q --log /dev/full") == 1 &&
               strstr(t_wrote("err"), "--log: ") && !t_shell("cmp z.st old"), "a full log");
    ok_cli(t_shell("rm z.st; trap '' XFSZ; ulimit -f 16; ./alore " T_TRAIN " --steps 1 -q --checkpoint c") == 1 &&
               strstr(t_wrote("err"), "c: cannot be written") && !t_shell("cmp z.st old && ! test -e c"),
           "no room for the last checkpoint");
    ok_cli(t_shell("mkfifo f; ./alore " T_TRAIN " --steps 1 -q --out f") == 1 && !t_shell("test -p f"),
           "a pipe was replaced");
}

/* Merge: certificate, types, the same logits; an adapter of another base is refused. */
static void t_cli_merge(void)
{
    if (!t_cli_begin()) return;
    ok_cli(!t_shell("./alore " T_TRAIN " --steps 3 --lr 0.05 --optimizer sgd -q && ./alore merge --weights "
                "base.safetensors --adapter z.st --out m.st --json"), "%s", t_wrote("err"));
    ok_cli(strstr(t_wrote("out"), "\"worst_error\"") && strstr(t_wrote("out"), "\"worst_lost\"") &&
           strstr(t_wrote("out"), "\"tensors_changed\""), "%s", t_wrote("out"));
    ok_cli(!t_shell("./alore eval --weights m.st --data io.safetensors --json -q >m.json && ./alore eval "
                "--weights base.safetensors --adapter z.st --data io.safetensors --json -q >u.json"),
       "%s", t_wrote("err"));
    static const char *const types[] = {"f32", "f16", "bf16"};
    for (size_t i = 0; i < 3; ++i)
        ok_cli(!t_shell("./alore merge --weights base.safetensors --adapter z.st --out %s.st --dtype %s -q && "
                    "./alore info %s.st --json", types[i], types[i], types[i]), "%s", t_wrote("err"));
    static const char *const tight[] = {"1e-6", "0", "1e-60"};
    for (size_t i = 0; i < 3; ++i)
        ok_cli(t_shell("./alore merge --weights base.safetensors --adapter z.st --out bad.st --dtype bf16 "
                       "--tolerance %s -q", tight[i]) == 1 && !t_exists("bad.st"), "%s", t_wrote("err"));
    ok_cli(!t_shell("cp base.safetensors in.st && ./alore merge --weights in.st --adapter z.st --out in.st -q && "
                    "cmp in.st m.st"), "in place: %s%s", t_wrote("out"), t_wrote("err"));
    ok_cli(t_shell("./alore eval --weights m.st --adapter z.st --data io.safetensors -q") == 1 &&
           strstr(t_wrote("err"), "any-base"), "%s", t_wrote("err"));
    ok_cli(!t_shell("./alore eval --weights m.st --adapter z.st --data io.safetensors --any-base -q"), "%s",
       t_wrote("err"));
    ok_cli(!t_shell("./alore export --weights base.safetensors --adapter z.st --as lora --out lora -q"), "%s",
       t_wrote("err"));
}

/* A NaN in the checkpoint or in the images names itself; nothing is written. */
static void t_cli_nan(void)
{
    alore_ctx ctx;
    t_heap heap;
    alore_weights *w = NULL, *io = NULL, *out = NULL;
    if (!t_cli_begin()) return;
    t_begin(&ctx, &heap);
    alore_weights_load(&ctx, "build/cli/base.safetensors", &w);
    alore_weights_load(&ctx, "build/cli/io.safetensors", &io);
    for (int k = 0; k < 2; ++k) {
        const alore_weights *from = k ? io : w;
        const char *target = k ? "image" : "blocks.1.mlp.fc1.weight";
        alore_weights_create(&ctx, &out);
        for (int i = 0; i < alore_weights_count(from); ++i) {
            alore_tensor t = *alore_weights_at(from, i);
            const void *data = t.data;
            if (!strcmp(t.name, target)) t.data = NULL;
            alore_weights_add(out, &t);
            if (t.data) continue;
            void *x = alore_weights_data(out, target);
            memcpy(x, data, t.bytes);
            t_store(x, 3072 + 100, 4, (double)NAN);
        }
        if (!k) alore_weights_set_meta(out, "alore.backbone", alore_weights_meta(w, "alore.backbone"));
        ok_cli(alore_weights_save(out, k ? "build/cli/nan_io.st" : "build/cli/nan.st") == ALORE_OK, "save");
    }
    t_end(&ctx, &heap);
    ok_cli(t_shell("./alore train --weights nan.st --backbone vit:img=32x32,patch=8,dim=48,depth=3,heads=3,"
               "hidden=192,classes=7 --attach lora@qkv --data io.safetensors --steps 1 -q --out z.st") == 1 &&
           strstr(t_wrote("err"), "blocks.1.mlp.fc1.weight") && strstr(t_wrote("err"), "3172") &&
           !t_exists("z.st"), "%s", t_wrote("err"));
    ok_cli(t_shell("./alore train --weights base.safetensors --attach lora@qkv --data nan_io.st --shuffle off "
               "--batch 3 --steps 1 -q --out z.st") == 1 &&
           strstr(t_wrote("err"), "item 1") && !t_exists("z.st"), "%s", t_wrote("err"));
}

/* Folders of PPM files, lists, idx and safetensors of the same pictures: one result. */
static void t_cli_data(void)
{
    if (!t_cli_begin()) return;
    ok_cli(!t_shell("mkdir -p d/a d/b empty && printf 'P6 32 32 255\n' >h && head -c 3072 io.safetensors >x && "
                "tail -c 3072 io.safetensors >y && cat h x >d/a/1.ppm && cat h y >d/b/2.ppm && "
                "printf 'd/a/1.ppm 0\nd/b/2.ppm 1\n' >list && printf 'JFIF' >d/note.txt"), "files");
    static const char *const forms[] = {"d", "list:list", "list:list,root=.", "'d[0:2]'"};
    for (size_t i = 0; i < 4; ++i)
        ok_cli(!t_shell("./alore predict --weights base.safetensors --data %s --transform mean=0.5,std=0.5 -q "
                    "--out f%zu.st && cmp f%zu.st f0.st", forms[i], i, i), "%s: %s", forms[i], t_wrote("err"));
    ok_cli(!t_shell("{ printf '\\000\\000\\010\\003\\000\\000\\000\\002\\000\\000\\000\\040\\000\\000\\000\\040'; "
                    "head -c 2048 io.safetensors; } >im && printf '\\000\\000\\010\\001\\000\\000\\000\\002\\001\\002' >lb && "
                    "gzip -k im lb && ./alore predict --weights base.safetensors --data idx:im,lb -q --out i.st"),
           "idx");
    if (!t_shell("./alore --version | grep 'gzip yes'"))
        ok_cli(!t_shell("./alore predict --weights base.safetensors --data idx:im.gz,lb.gz -q --out g.st && "
                        "cmp i.st g.st"), "idx by gzip");
    else
        ok_cli(t_shell("./alore predict --weights base.safetensors --data idx:im.gz,lb.gz -q --out g.st") == 1 &&
                   strstr(t_wrote("err"), "zlib"), "gzip without zlib is refused");
    ok_cli(t_shell("./alore predict --weights base.safetensors --data empty -q --out z.st") == 1, "empty folder");
    ok_cli(!t_shell("printf '\\377\\330\\377\\340' >d/a/3.jpg") &&
           t_shell("./alore predict --weights base.safetensors --data d --transform mean=0.5,std=0.5 -q "
                   "--out z.st") == 1 && strstr(t_wrote("err"), "JPEG"), "%s", t_wrote("err"));
    ok_cli(t_shell("rm d/a/3.jpg; cat h x | head -c 2000 >d/a/4.ppm; ./alore predict --weights base.safetensors "
               "--data d --transform mean=0.5,std=0.5 -q --out z.st") == 1 && strstr(t_wrote("err"), "4.ppm"),
       "%s", t_wrote("err"));
    ok_cli(t_shell("rm d/a/4.ppm; ./alore predict --weights base.safetensors --data d --transform "
               "resize=16x16,mean=0.5,std=0.5 -q --out z.st") == 1 &&
           strstr(t_wrote("err"), "16 x 16") && strstr(t_wrote("err"), "32 x 32"), "%s", t_wrote("err"));
}

/* Hostile checkpoints through the program: 0 or 1, never anything else. */
static void t_cli_hostile(void)
{
    if (!t_cli_begin()) return;
    if (!t_golden) {
        skip("the full set is not here");
        return;
    }
    ok_cli(!t_shell("for f in ../../%s/interop/hostile/safetensors/*; do ./alore info \"$f\" --json >/dev/null 2>e; "
                "s=$?; [ $s -le 1 ] && ! grep -q -e Sanitizer -e 'runtime error' e || { echo \"$f $s\"; exit 1; }; "
                "done", t_golden), "%s", t_wrote("out"));
}

/* The reference folders, through the program, as others hold it. */
static void t_cli_golden(void)
{
    const char *python = t_shell("../venv/bin/python -c 'import numpy, safetensors'") ? "python3"
                                                                                       : "../venv/bin/python";
    if (!t_cli_begin()) return;
    if (!t_golden || t_shell("%s -c 'import numpy, safetensors'", python)) {
        skip("needs the full set, and Python with numpy and safetensors");
        return;
    }
    ok_cli(!t_shell("ALORE=../alore %s ../../../shared/tools/golden.py ../../%s/vit_a --match "
                "'^(full|linear|bitfit|norm_tuning|lora.*|alore.*|ssf.*|compose_three)$'", python, t_golden),
       "%s", t_wrote("out"));
    static const char *const folders[] = {"mae", "dinov2", "dinov2_swiglu", "clip"};
    for (size_t i = 0; i < 4; ++i)
        ok_cli(!t_shell("ALORE=../alore %s ../../../shared/tools/golden.py ../../%s/%s full alore", python, t_golden,
                    folders[i]), "%s: %s", folders[i], t_wrote("out"));
}

/* Subsets of experts: their updates add up, and what there is not is refused. */
static void t_cli_experts(void)
{
    if (!t_cli_begin()) return;
    ok_cli(!t_shell("./alore train --weights base.safetensors --data io.safetensors --attach "
                    "'alore:rank=2,experts=4@qkv|fc1;mlae:experts=4@proj' --steps 3 --lr 0.05 --batch 3 -q --out e.st"),
           "%s", t_wrote("err"));
    ok_cli(!t_shell("for e in 0-3 3,2,1,0; do ./alore merge --weights base.safetensors --adapter e.st --experts $e "
                    "--out m.st -q && ./alore merge --weights base.safetensors --adapter e.st --out w.st -q && cmp m.st "
                    "w.st || exit 1; done"), "%s%s", t_wrote("out"), t_wrote("err"));
    ok_cli(!t_shell("for e in 0 1 0-1; do ./alore merge --weights base.safetensors --adapter e.st --experts $e --out "
                    "m$e.st -q || exit 1; done"), "%s", t_wrote("err"));
    alore_ctx ctx;
    t_heap heap;
    t_begin(&ctx, &heap);
    static const char *const files[] = {"base.safetensors", "m0.st", "m1.st", "m0-1.st"};
    static const char *const names[] = {"blocks.1.attn.qkv.weight", "blocks.1.attn.proj.weight"};
    alore_weights *w[4];
    for (int i = 0; i < 4; ++i) w[i] = t_load(&ctx, "build/cli", files[i]);
    for (int k = 0; k < 2 && w[0] && w[1] && w[2] && w[3]; ++k) {
        double apart = 0, most = 0;
        const size_t count = alore_weights_find(w[0], names[k])->bytes / 4;
        for (size_t j = 0; j < count; ++j) {
            float v[4];
            for (int i = 0; i < 4; ++i) (void)alore_tensor_read(alore_weights_find(w[i], names[k]), j, 1, &v[i]);
            const double sum = (double)v[1] - (double)v[0] + (double)v[2] - (double)v[0];
            apart = fmax(apart, fabs((double)v[3] - (double)v[0] - sum));
            most = fmax(most, fabs(sum));
        }
        ok(most > 1e-3 && apart <= 4 * EPS, "%s: updates of experts 0 and 1 are off by %g of %g", names[k], apart,
           most); /* four roundings of weights below 1 */
    }
    t_end(&ctx, &heap);
    static const char *const wrong[][2] = {{"4", "experts 0 to 3, not 4"}, {"1-", "no list"}, {"x", "no list"},
                                           {"2-1", "no list"}, {"", "not a text"}, {"1,,2", "no list"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; ++i) {
        const int status = t_shell("./alore eval --weights base.safetensors --adapter e.st --data io.safetensors -q "
                                   "--experts '%s'", wrong[i][0]);
        ok_cli(status == (i ? 2 : 1) && strstr(t_wrote("err"), wrong[i][1]), "%s: %d, %s", wrong[i][0], status,
               t_wrote("err"));
    }
    ok_cli(t_shell("./alore train --weights base.safetensors --data io.safetensors --attach lora@qkv --steps 0 -q --out "
                   "l.st && ./alore eval --weights base.safetensors --adapter l.st --data io.safetensors -q --experts 0")
               == 1 && strstr(t_wrote("err"), "no experts"), "%s", t_wrote("err"));
}

#define T_SPT \
    "./alore search spt --weights base.safetensors --data io.safetensors --batch 3 --batches 2 --rank 4 "
#define T_GLORA                                                                                             \
    "./alore search glora --weights base.safetensors --data io.safetensors --val io.safetensors --batch 3 " \
    "--rank 2 --population 8 --top 3 --mutate 3 --cross 3 --seed 3 "

/* SPT: scores are squared gradients of the mean loss; the file trains, evaluates and merges; bad input is told. */
static void t_cli_spt(void)
{
    alore_ctx ctx;
    t_heap heap;
    alore_vit_config c;
    alore_plan_opts o = ALORE_ZERO;
    alore_model *m = NULL;
    alore_plan *p = NULL;
    alore_run *run = NULL;
    if (!t_cli_begin()) return;
    ok_cli(!t_shell(T_SPT
                    "--tau 100 --budget 3000 --head-init keep --shuffle off --scores s.st --json --out a.st"),
           "%s", t_wrote("err"));
    ok_cli(strstr(t_wrote("out"), "\"budget\":3000,\"tau\":") && strstr(t_wrote("out"), "\"matrices\":") &&
               strstr(t_wrote("out"), "\"total\":") && strstr(t_wrote("out"), ";unfreeze@head\"}"),
           "%s", t_wrote("out"));
    t_begin(&ctx, &heap);
    alore_weights *base = t_load(&ctx, "build/cli", "base.safetensors"),
                  *io = t_load(&ctx, "build/cli", "io.safetensors");
    alore_weights *scores = t_load(&ctx, "build/cli", "s.st");
    o.train = true;
    o.batch = 3;
    o.dtype = ALORE_F64;
    alore_status s = alore_vit_parse(&ctx, alore_weights_meta(base, "alore.backbone"), &c, NULL);
    if (s == ALORE_OK) s = alore_model_create(&ctx, &m);
    if (s == ALORE_OK) s = alore_attach(m, "unfreeze@*");
    if (s == ALORE_OK) {
        alore_id x = alore_input(m, "image", ALORE_F32, c.height * c.width, 3);
        alore_id y = alore_vit(m, x, &c), label = alore_input(m, "label", ALORE_I32, 1, 1);
        alore_output(m, "loss", alore_loss_xent(m, y, label, 0));
        s = alore_model_finish(m);
    }
    if (s == ALORE_OK) s = alore_plan_create(m, &o, &p);
    if (s == ALORE_OK) s = alore_run_create(p, base, &run);
    if (ok(s == ALORE_OK && scores, "%s", ctx.error.text)) {
        int found = 0;
        t_take_images(run, io, 0, 3);
        alo_swap(alore_run_input(run, "label"), alore_weights_find(io, "label")->data, 4, 3);
        ok(alore_backward(run, 0) == ALORE_OK, "%s", ctx.error.text);
        const float *g = alore_grads(run, NULL);
        for (int i = 0; i < alore_param_count(p); ++i) { /* two batches are alike: 2 (g / 3)^2 */
            alore_param_info q = alore_param_at(p, i);
            const alore_tensor *t = alore_weights_find(scores, q.name);
            double apart = 0, most = 1e-9;
            ok(!t == !search_is_candidate(q.name) && (!t || t->bytes == 4 * q.count), "%s: scored or not",
               q.name);
            found += t != NULL;
            for (size_t k = 0; t && k < q.count; ++k) {
                float have;
                const double v = t_value(p, g, q.first + k) / 3;
                if (!alore_tensor_read(t, k, 1, &have)) have = -1;
                apart = fmax(apart, fabs((double)have - 2 * v * v));
                most = fmax(most, 2 * v * v);
            }
            ok(!t || apart <= 1e-4 * most, "%s: scores off by %g of %g", q.name, apart, most);
        }
        ok(found == 3 * 12 + 2, "%d tensors", found);
        alore_weights *adapter = t_load(&ctx, "build/cli", "a.st");
        for (int i = found = 0; i < alore_weights_count(adapter);
             ++i) { /* the entries are the best of the matrix */
            const alore_tensor *t = alore_weights_at(adapter, i);
            const char *end = strstr(t->name, ".sparse.index");
            char name[80];
            if (!end || strstr(t->name, "qkv")) continue; /* whose thirds are by themselves */
            snprintf(name, sizeof name, "%.*s.weight", (int)(end - t->name), t->name);
            const alore_tensor *of = alore_weights_find(scores, name);
            const size_t count = of->bytes / 4, cols = (size_t)of->dims[1], entries = (size_t)t->dims[0];
            bool *chosen = (bool *)calloc(count, 1);
            float least = 1e30f, most = 0, v, at[2];
            bool rising = t->dtype == ALORE_I32 && t->rank == 2 && t->dims[1] == 2;
            for (size_t k = 0, last = 0; k < entries && alore_tensor_read(t, 2 * k, 2, at); ++k) {
                const size_t place = (size_t)at[0] * cols + (size_t)at[1];
                rising = rising && (size_t)at[1] < cols && place < count && (!k || place > last);
                chosen[rising ? place : 0] = true;
                last = place;
            }
            for (size_t k = 0; k < count && alore_tensor_read(of, k, 1, &v); ++k) {
                if (chosen[k] && v < least) least = v;
                if (!chosen[k] && v > most) most = v;
            }
            ok(rising && least >= most, "%s: the least chosen %g, the most left %g", t->name, (double)least,
               (double)most);
            free(chosen);
            ++found;
        }
        ok(found > 3, "%d matrices with entries", found);
    }
    t_end(&ctx, &heap);

    static const char *const others[] = {"--threads 1", "--threads 3", "--memory 900K"};
    for (size_t i = 0; i < 3; ++i)
        ok_cli(
            !t_shell(T_SPT
                     "--tau 100 --budget 3000 --head-init keep --shuffle off --scores o.st %s --out b.st && "
                     "cmp s.st o.st && cmp a.st b.st",
                     others[i]),
            "%s: %s%s", others[i], t_wrote("out"), t_wrote("err"));
    ok_cli(strstr(t_wrote("err"), "groups of blocks"), "%s", t_wrote("err"));
    static const char *const budgets[] = {"60", "300", "1200", "4000"};
    for (size_t i = 0; i < 4; ++i)
        ok_cli(!t_shell(T_SPT "--classes 9 --data 'io.safetensors[0:1]' --tau %d --budget %s --out c.st -q "
                              "&& ./alore train "
                              "--weights base.safetensors --data 'io.safetensors[0:1]' --init-adapter c.st "
                              "--steps 2 -q --out t.st "
                              "&& ./alore merge --weights base.safetensors --adapter t.st --out m.st -q && "
                              "./alore eval --weights "
                              "m.st --data 'io.safetensors[0:1]' -q",
                        i < 2 ? 10 : 100, budgets[i]),
               "budget %s: %s", budgets[i], t_wrote("err"));
    ok_cli(
        !t_shell(
            "./alore train --weights base.safetensors --data io.safetensors --init-adapter a.st --steps 0 -q "
            "--out "
            "t.st && ./alore eval --weights base.safetensors --adapter t.st --data io.safetensors -q >x && "
            "./alore eval --weights base.safetensors --data io.safetensors -q >y && "
            "sed -i 's/\\(loss .*[.].....\\).*/\\1/' x y && cmp x y"),
        "a fresh adapter changes nothing: %s%s", t_wrote("out"), t_wrote("err"));
    ok_cli(t_shell(T_SPT "--budget 3000 --memory 10K --out z.st") == 1 &&
               strstr(t_wrote("err"), "--memory: ") && !t_exists("z.st"),
           "%s", t_wrote("err"));
}

/* GLoRA: one result for any number of threads, sizes within bounds, what is written is what was scored, a saved
 * supernet is searched again, retraining is a training. */
static void t_cli_glora(void)
{
    if (!t_cli_begin()) return;
    ok_cli(
        !t_shell(
            T_GLORA
            "--steps 6 --generations 4 --lr 0.01 --threads 1 --supernet s.st --log l1 --json --out a.st >a"),
        "%s", t_wrote("err"));
    ok_cli(!t_shell("grep -c '\"generation\"' l1 | grep -x 4 && grep -c '\"step\"' l1 | grep -x 6 && grep "
                    "'\"evaluated\":32,' a "
                    "&& grep '\"steps\":6,' a"),
           "%s", t_wrote("out"));
    ok_cli(!t_shell(T_GLORA "--steps 6 --generations 4 --lr 0.01 --threads 2 --json --out b.st -q >b && cmp "
                            "a.st b.st && cmp a b"),
           "threads: %s%s", t_wrote("out"), t_wrote("err"));
    ok_cli(!t_shell(T_GLORA "--epochs 0 --init-adapter s.st --generations 4 --out b.st -q && cmp a.st b.st"),
           "searched again: %s%s", t_wrote("out"), t_wrote("err"));
    ok_cli(!t_shell(
               "./alore eval --weights base.safetensors --adapter a.st --data io.safetensors -q --json >e && "
               "sed 's/.*\"search_top1\":\\([^,]*\\),.*/\\1/' a >x && sed 's/{\"top1\":\\([^,]*\\),.*/\\1/' "
               "e >y && "
               "cmp x y && ./alore merge --weights base.safetensors --adapter a.st --out m.st -q"),
           "%s%s", t_wrote("out"), t_wrote("err"));
    ok_cli(
        !t_shell(T_GLORA
                 "--steps 2 --generations 3 --least 2000 --most 4000 --json --log l --out b.st -q && "
                 "! grep -o '\"best_parameters\":[0-9]*' l | cut -d: -f2 | awk '$1<2000||$1>4000' | grep ."),
        "%s%s", t_wrote("out"), t_wrote("err"));
    ok_cli(!t_shell(
               T_GLORA
               "--epochs 0 --init-adapter s.st --generations 4 --retrain 4 --lr 0.02 --schedule constant "
               "--out r.st -q && ./alore train --weights base.safetensors --data io.safetensors "
               "--init-adapter a.st "
               "--epochs 4 --batch 3 --seed 3 --lr 0.02 --schedule constant --out t.st -q && cmp r.st t.st"),
           "retrained: %s%s", t_wrote("out"), t_wrote("err"));
    ok_cli(t_shell(T_GLORA "--steps 1 --least 13849 --out z.st -q") == 1 && !t_exists("z.st"), "%s",
           t_wrote("err"));
    ok_cli(strstr(t_wrote("err"), "--least: 13849 is more than the largest subnet has, 13848"), "%s",
           t_wrote("err"));
    ok_cli(
        !t_shell(T_GLORA "--epochs 0 --init-adapter s.st --generations 2 --most 40 --out b.st -q --json") &&
            strstr(t_wrote("out"), "\"parameters\":"),
        "%s", t_wrote("err"));
    ok_cli(t_shell(T_GLORA "--steps 9 --lr 1e6 --optimizer sgd --out z.st -q") == 1 && !t_exists("z.st"),
           "%s", t_wrote("err"));
}
/* How far tensor `name` of a file of the last commands is from a reference: the largest difference over the
 * largest number; 1e9 where something is missing. */
static double t_file_apart(alore_ctx *ctx, const char *file, const char *name, const alore_tensor *ref)
{
    alore_weights *w = NULL;
    char path[256];
    double apart = 0, most = 0;
    snprintf(path, sizeof path, "build/cli/%s", file);
    if (alore_weights_load(ctx, path, &w)) return 1e9;
    const alore_tensor *t = alore_weights_find(w, name);
    const size_t count = ref ? ref->bytes / alore_dtype_bytes(ref->dtype) : 0;
    if (!t || !count || t->bytes / alore_dtype_bytes(t->dtype) != count) apart = 1e9;
    for (size_t i = 0; i < count && apart < 1e9; ++i) {
        float x = 0, y = 0;
        if (!alore_tensor_read(t, i, 1, &x) || !alore_tensor_read(ref, i, 1, &y) || !(fabsf(x - y) < 1e9f)) apart = 1e9;
        apart = fmax(apart, fabs((double)x - (double)y));
        most = fmax(most, fabs((double)y));
    }
    alore_weights_destroy(w);
    return apart / (most > 0 ? most : 1);
}

/* One adapter of PEFT: its logits, merged and not, on bases in both names; what export writes reads back. */
static void t_peft_row(const char *row, const char *root, const char *base, const char *spec, const char *io,
                       const char *alore, const char *names)
{
    const double most = 2e-5, merged = 3e-7; /* peft in f64 against f32; torch's own f32 is off by 1.6e-6 */
    alore_ctx ctx;
    alore_weights *ref = NULL;
    char path[1300], plain[64];
    double worst = 0;
    snprintf(plain, sizeof plain, "%s", row);
    snprintf(path, sizeof path, "%s/%s/io.safetensors", root, row);
    FILE *f = fopen(path, "rb");
    if (f) fclose(f);
    if (!f && strstr(plain, "_v4names")) *strstr(plain, "_v4names") = 0;
    snprintf(path, sizeof path, "%s/%s/io.safetensors", root, plain);
    alore_init(&ctx, NULL);
    if (!ok(!alore_weights_load(&ctx, path, &ref), "%s: %s", path, ctx.error.text)) {
        alore_uninit(&ctx);
        return;
    }
    const alore_tensor *logits = alore_weights_find(ref, "logits");
    ok_cli(!t_shell("rm -rf *.st ex ex2 && %s predict --weights ../../%s %s --adapter ../../%s/%s --data ../../%s --out "
                    "p.st -q && %s merge --weights ../../%s %s --adapter ../../%s/%s --out m.st -q && %s predict "
                    "--weights m.st --data ../../%s --out q.st -q", alore, base, spec, root, row, io, alore, base,
                    spec, root, row, alore, io), "%s: %s", row, t_wrote("err"));
    ok_cli(t_file_apart(&ctx, "p.st", "logits", logits) < most, "%s: logits off by %g", row,
           t_file_apart(&ctx, "p.st", "logits", logits));
    ok_cli(t_file_apart(&ctx, "q.st", "logits", logits) < most, "%s: merged logits off by %g", row,
           t_file_apart(&ctx, "q.st", "logits", logits));
    for (int i = 0; i < alore_weights_count(ref); ++i) {
        const alore_tensor *t = alore_weights_at(ref, i);
        if (!strncmp(t->name, "merged.", 7)) worst = fmax(worst, t_file_apart(&ctx, "m.st", t->name + 7, t));
    }
    ok_cli(worst < merged, "%s: merged weights off by %g", row, worst);
    ok_cli(!t_shell("%s export --weights ../../%s %s --adapter ../../%s/%s --as peft --names %s --out ex -q && "
                    "%s predict --weights ../../%s %s --adapter ex --data ../../%s --out r.st -q", alore, base, spec,
                    root, row, names, alore, base, spec, io), "%s: %s", row, t_wrote("err"));
    ok_cli(t_file_apart(&ctx, "r.st", "logits", logits) < most, "%s: written in %s and read, off by %g", row, names,
           t_file_apart(&ctx, "r.st", "logits", logits));
    alore_uninit(&ctx);
}

/* The adapters that PEFT itself wrote, on a ViT in the names of transformers and of timm. */
static void t_cli_peft(void)
{
    static const char *const small[] = {"lora_bias_of_B", "dora_v4names"};
    static const char *const rows[] = {
        "lora_qv", "lora_rslora", "lora_all_linear", "lora_head", "lora_patterns", "lora_layer1_regex",
        "lora_layers_to_transform", "lora_exclude", "lora_bias_only", "lora_bias_of_B", "lora_conv_patch", "dora",
        "dora_rslora_mlp", "loha", "lokr", "lokr_decompose_both", "lokr_full", "lokr_factor4", "adalora", "vera",
        "ia3", "oft", "oft_exact", "oft_share", "boft", "boft_butterfly2", "glora_lora", "glora_vector",
        "glora_none", "lora_qv_v4names", "lora_head_v4names", "dora_v4names", "timm_lora_qkv", "timm_lokr_qkv",
        "timm_dora_proj"};
    static const char *const names[] = {"hf5", "timm", "hf4"};
    char root[1100], base[1200], io[1200];
    if (!t_cli_begin()) return;
    snprintf(root, sizeof root, "%s/peft", t_data);
    snprintf(io, sizeof io, "%s/io.safetensors", root);
    snprintf(base, sizeof base, "%s/model.safetensors", root);
    for (size_t i = 0; i < sizeof small / sizeof *small; ++i)
        for (size_t k = 0; k < 3; ++k) t_peft_row(small[i], root, base, "", io, "./alore", names[k]);
    if (!t_golden) {
        skip("the full set of PEFT's adapters is not there");
        return;
    }
    snprintf(root, sizeof root, "%s/interop/peft", t_golden);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
        const bool timm = !strncmp(rows[i], "timm_", 5);
        const char *spec = timm ? "--backbone vit:img=32,patch=8,dim=36,depth=2,heads=3,hidden=72,classes=5" : "";
        snprintf(base, sizeof base, "%s/interop/checkpoints/vit/%s.safetensors", t_golden, timm ? "timm" : "hf/model");
        snprintf(io, sizeof io, "%s/interop/checkpoints/vit/%sio.safetensors", t_golden, timm ? "" : "hf/");
        t_peft_row(rows[i], root, base, spec, io, "../alore", names[i % 3]);
        if (!timm) /* the base in the names of modules, too: the same logits to the bit */
            ok_cli(!t_shell("../alore predict --weights ../../%s/interop/checkpoints/vit/hf/model_v5_names.safetensors "
                            "--adapter ../../%s/%s --data ../../%s --out s.st -q && cmp p.st s.st", t_golden, root,
                            rows[i], io), "%s: %s%s", rows[i], t_wrote("out"), t_wrote("err"));
    }
    static const char *const refused[][2] = {{"fourierft", "torch.randperm"},
                                             {"convnext_lora", "ConvNeXt"},
                                             {"convnext_dora_conv", "ConvNeXt"},
                                             {"convnext_lokr_dw", "ConvNeXt"}};
    for (size_t i = 0; i < 4; ++i)
        ok_cli(t_shell("../alore sites --weights ../../%s/interop/checkpoints/vit/hf/model.safetensors --adapter "
                       "../../%s/%s -q", t_golden, root, refused[i][0]) == 1 &&
               strstr(t_wrote("err"), refused[i][1]), "%s: %s", refused[i][0], t_wrote("err"));
}

/* Checkpoints in the names of transformers: the same fingerprint as timm's file, files that are merged keep
 * their names, training and --init-adapter work on them. */
static void t_cli_names(void)
{
    if (!t_cli_begin()) return;
    ok_cli(!t_shell("cp ../../%s/peft/model.safetensors ../../%s/peft/config.json . && ./alore info model.safetensors",
                    t_data, t_data) && strstr(t_wrote("out"), "2e52d6a3bde5a869") && strstr(t_wrote("out"), "heads=3") &&
           strstr(t_wrote("out"), "eps=1e-12"), "%s", t_wrote("err"));
    ok_cli(!t_shell("./alore train --weights model.safetensors --attach 'lora:rank=2,parts=qv@qkv;unfreeze@head' --data "
                    "../../%s/peft/io.safetensors --steps 1 --out z.st -q", t_data) == 0 &&
           strstr(t_wrote("err"), "labels"), "%s", t_wrote("err"));
    ok_cli(!t_shell("./alore sites --weights model.safetensors --adapter ../../%s/peft/lora_bias_of_B -q", t_data) &&
           strstr(t_wrote("out"), "lora:rank=4,scale=2,parts=qv@qkv;unfreeze@blocks.*.attn.qkv.bias"), "%s%s",
           t_wrote("out"), t_wrote("err"));
    ok_cli(!t_shell("./alore plan --weights model.safetensors --adapter ../../%s/peft/dora_v4names -q", t_data), "%s",
           t_wrote("err"));
    ok_cli(!t_shell("sed s/gelu/gelu_odd/ config.json >c && mv c config.json; ./alore sites --weights model.safetensors")
           == 0 && strstr(t_wrote("err"), "hidden_act"), "%s", t_wrote("err"));
    ok_cli(!t_shell("echo '{' >config.json; ./alore sites --weights model.safetensors") == 0 &&
           strstr(t_wrote("err"), "config.json beside it"), "%s", t_wrote("err"));
    ok_cli(!t_shell("rm config.json; ./alore sites --weights model.safetensors") == 0 &&
           strstr(t_wrote("err"), "heads"), "%s", t_wrote("err"));
    ok_cli(!t_shell("LC_ALL=C sed s/layer.1.attention.attention.query.bias/layer.1.attention.attention.quiry.bias/ "
                    "model.safetensors >model.safetensors2; mv model.safetensors2 model.safetensors; ./alore sites --weights model.safetensors") == 0 &&
           strstr(t_wrote("err"), "query.bias is missing"), "%s", t_wrote("err"));
}

/* What is odd in a folder names itself; nothing is passed over. */
static void t_cli_peft_refused(void)
{
    static const struct {
        const char *edit, *says; /* a command of the shell in the folder; a part of the sentence */
    } rows[] = {
        {"rm c", "adapter_config.json is missing"},
        {"rm m", "adapter_model.safetensors is missing"},
        {"mv m adapter_model.bin", "is a pickle"},
        {"sed -i 's/\"LORA\"/\"FOURIERFT\"/' c", "torch.randperm"},
        {"sed -i 's/\"LORA\"/\"POLY\"/' c", "peft_type POLY is not read; there are LORA"},
        {"sed -i 's/\"peft_type\"/\"peft_tipe\"/' c", "peft_type is missing"},
        {"sed -i 's/\"loftq_config\": {}/\"loftq_config\": {\"bits\": 4}/' c", "the key \"loftq_config\""},
        {"sed -i 's/\"velora_config\": null/\"surprise\": 1/' c", "the key \"surprise\""},
        {"sed -i 's/\"r\": 4/\"r\": 4, \"r\": 4/' c", "the key \"r\" stands there twice"},
        {"sed -i 's/\"lora_alpha\": 8/\"lora_alpha\": \"8\"/' c", "lora_alpha is no number"},
        {"sed -i 's/\"lora_alpha\": 8/\"lora_alpha\": 08/' c", "adapter_config.json: no value, at byte"},
        {"sed -i 's/\"lora_alpha\": 8/\"lora_alpha\": 1e999/' c", "a number is too large"},
        {"sed -i 's/\"lora_alpha\": 8/\"lora_alpha\": NaN/' c", "no value"},
        {"sed -i 's/\"bias\": \"none\"/\"bias\": \"lora_only\"/' c", "q_proj.bias is missing"},
        {"sed -i 's/\"bias\": \"none\"/\"bias\": \"some\"/' c", "bias \"some\" is not known"},
        {"sed -i 's/\"lora_bias\": true/\"lora_bias\": false/' c", "lora_bias is false, but lora_B.bias is there"},
        {"sed -i 's/\"use_dora\": false/\"use_dora\": true/' c", "lora_magnitude_vector is missing"},
        {"sed -i 's/\"v_proj\",/\"fc1\",/' c", "target_modules does not name vit.layers.0.attention.v_proj"},
        {"sed -i 's/\"v_proj\",/\"v_proj\", \"fc1\",/' c", "vit.layers.0.mlp.fc1 is a target, but its lora_A.weight"},
        {"sed -i 's/\"v_proj\",/\"nope\",/;s/\"q_proj\"/\"no\"/' c", "target_modules names no layer"},
        {"sed -i 's/\"rank_pattern\": {}/\"rank_pattern\": {\"(?=x)\": 4}/' c", "of (?...) only (?:...) is read"},
        {"sed -i 's/\"rank_pattern\": {}/\"rank_pattern\": {\"(a{99}){99}\": 4}/' c", "it repeats too often"},
        {"sed -i 's/\"rank_pattern\": {}/\"rank_pattern\": {\"a\\\\\\\\b\": 4}/' c", "an escape that is not read"},
        {"sed -i 's/\"rank_pattern\": {}/\"rank_pattern\": {\"[a\": 4}/' c", "a set does not end"},
        {"sed -i 's/\"modules_to_save\": null/\"modules_to_save\": [\"classifier\"]/' c", "classifier.bias is missing"},
        {"sed -i 's/\"layers_to_transform\": null/\"layers_to_transform\": [0.5]/' c", "layers_to_transform is neither"},
        {"sed -i s/layers.0.attention.q_proj.lora_A/layers.0.attention.q_proj.lara_A/ m", "lara_A.weight binds to nothing"},
        {"sed -i s/layers.0.attention.q_proj/layers.7.attention.q_proj/ m", "binds to nothing"},
        {"sed -i s/base_model.model.vit.layers.0/base_model.model.vit.stages.0/ m", "binds to nothing"},
        {"sed -i s/base_model.model.vit.layers.0/base_model.model.stages.00000/ m", "ConvNeXt"},
        {"sed -i 's/.4,36./[36,4]/' m", "is 36x4, not any x 36"},
        {"truncate -s 3000 m", "adapter_model.safetensors: "},
        {"printf '[1' >c", "adapter_config.json: a comma or a bracket is missing"},
        {"printf '[]' >c", "it is no JSON object"},
        {"printf '{\"a\":\"\\\\ud800\"}' >c", "half a character"},
        {"yes [ | head -99 | tr -d '\\n' >c", "more than 32 levels"},
        {"head -c 2000000 /dev/zero | tr '\\0' ' ' >c", "are more than the 1048576"},
    };
    if (!t_cli_begin()) return;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
        const int made = t_shell("rm -rf d && cp -r ../../%s/peft/lora_bias_of_B d && cd d && rm io.safetensors && mv "
                                 "adapter_config.json c && mv adapter_model.safetensors m && export LC_ALL=C && { %s; } "
                                 "&& { [ ! -e c ] || mv c adapter_config.json; } && { [ ! -e m ] || mv m "
                                 "adapter_model.safetensors; }", t_data, rows[i].edit);
        const int status = t_shell("./alore sites --weights ../../%s/peft/model.safetensors --adapter d -q", t_data);
        ok_cli(!made && status == 1 && strstr(t_wrote("err"), rows[i].says) && !strstr(t_wrote("err"), "anitizer"),
               "%s: exit %d, %s", rows[i].edit, status, t_wrote("err"));
    }
    ok_cli(t_shell("./alore sites --weights ../../%s/peft/model.safetensors --adapter "
                   "../../%s/peft/dora_v4names/adapter_model.safetensors -q", t_data, t_data) == 1 &&
           strstr(t_wrote("err"), "name the folder"), "%s", t_wrote("err"));
    ok_cli(t_shell("./alore sites --backbone vit_tiny_patch16_224 --adapter d -q") == 2 &&
           strstr(t_wrote("err"), "--weights"), "%s", t_wrote("err"));
    ok_cli(!t_shell("mkdir -p ex && touch ex/other; ./alore export --weights ../../%s/peft/model.safetensors --adapter "
                    "../../%s/peft/dora_v4names --as peft --out ex -q", t_data, t_data) == 0 &&
           strstr(t_wrote("err"), "other in it is not an adapter's"), "%s", t_wrote("err"));
    ok_cli(!t_shell("rm ex/other; for i in 1 2; do ./alore export --weights ../../%s/peft/model.safetensors --adapter "
                    "../../%s/peft/dora_v4names --as peft --out ex -q || exit 1; done; [ $(ls ex | wc -l) = 2 ] && "
                    "[ $(ls | grep -c '^ex') = 1 ]", t_data, t_data), "%s", t_wrote("err"));
    ok_cli(!t_shell("printf '{\n  \"inference_mode\": true,\n  \"lora_alpha\": 8,\n  \"peft_type\": \"LORA\",\n  \"r\": 4,\n"
                    "  \"target_modules\": [\n    \"query\",\n    \"value\"\n  ],\n  \"use_dora\": true\n}\n' | diff - "
                    "ex/adapter_config.json"), "%s", t_wrote("out"));
}

/* Every method that PEFT has, and others as plain LoRA, written in all names and read again; or refused. */
static void t_cli_peft_written(void)
{
    static const struct {
        const char *name, *type; /* what is written, by the base's names; NULL: refused */
    } rows[] = {
        {"lora_qv", "LORA"}, {"compose_three", "LORA"}, {"lokr", "LOKR"}, {"oft", "OFT"}, {"lora_qkv", "LORA"},
        {"dora", "LORA"}, {"adalora", "ADALORA"}, {"vera", "VERA"}, {"ia3", "IA3"}, {"ia3_out", "IA3"},
        {"lokr_full", "LOKR"}, {"lokr_both", "LOKR"}, {"loha", "LOHA"}, {"oft_exact", "OFT"},
        {"oft_terms3", "OFT"}, {"boft", "BOFT"}, {"boft_3", "BOFT"}, {"glora", "GLORA"}, {"glora_mixed", "LORA"},
        {"glora_constant", "GLORA"}, {"alore", "LORA"}, {"arc", "LORA"}, {"repadapter", "LORA"}, {"mlae_real", "LORA"},
        {"fact_tt", "LORA"}, {"fact_tk", "LORA"}, {"kadaptation", "LORA"}, {"compacter_linear", "LORA"},
        {"compose_weight", "LORA"}, {"compose_parallel", "LORA"}, {"linear", NULL}, {"ssf", NULL}, {"spt_lora", NULL},
        {"lora_patch_head", NULL}};
    static const char *const names[] = {"timm", "hf4", "hf5"};
    const char *root = t_golden ? t_golden : t_data, *alore = t_golden ? "../alore" : "./alore";
    if (!t_cli_begin()) return;
    for (size_t i = 0; i < (t_golden ? sizeof rows / sizeof *rows : 4); ++i) {
        alore_ctx ctx;
        alore_weights *ref = NULL;
        char path[1300], type[40];
        const char *name = rows[i].name;
        snprintf(path, sizeof path, "%s/vit_a/%s/expect.safetensors", root, name);
        snprintf(type, sizeof type, "%s\n", rows[i].type ? rows[i].type : "");
        alore_init(&ctx, NULL);
        ok(!alore_weights_load(&ctx, path, &ref), "%s: %s", path, ctx.error.text);
        for (size_t k = 0; ref && k < 3; ++k) {
            const int status = t_shell("rm -rf ex* p.st && %s export --weights base.safetensors --any-base --adapter "
                                       "../../%s/vit_a/%s/adapter.safetensors --as peft --names %s --out ex -q",
                                       alore, root, name, names[k]);
            if (!rows[i].type) {
                ok_cli(status == 1 && !t_exists("ex/adapter_config.json"), "%s is not refused", name);
                continue;
            }
            ok_cli(!status && (k || strstr(t_wrote("out"), type)), "%s in %s", name, names[k]);
            ok_cli(!t_shell("%s predict --weights base.safetensors --adapter ex --data io.safetensors --out p.st -q",
                            alore), "%s in %s", name, names[k]);
            const double apart = t_file_apart(&ctx, "p.st", "logits", alore_weights_find(ref, "logits"));
            ok_cli(apart < 1e-5, "%s in %s: off by %g", name, names[k], apart);
        }
        alore_uninit(&ctx);
    }
}

/* ---- The forms that the header can be used in -------------------------------- */

static const char *t_tool(const char *variable, const char *otherwise)
{
    const char *v = getenv(variable);
    return v && *v ? v : otherwise;
}

static bool t_has(const char *program)
{
    return !t_shell("command -v %s", program);
}

#define T_WARN                                                                                               \
    "-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wdouble-promotion -Wstrict-prototypes -Wvla -Wundef "    \
    "-Werror"

/* Every feature macro alone and all together, as C99 and C++11, with each compiler. */
static void t_forms_features(void)
{
    static const char *const macros[] = {
        "", "-DALORE_STATIC", "-DALORE_NO_STDIO", "-DALORE_NO_MALLOC", "-DALORE_NO_THREADS", "-DALORE_NO_SIMD",
        "-DALORE_NO_MMAP",
        "-DALORE_STATIC -DALORE_NO_STDIO -DALORE_NO_MALLOC -DALORE_NO_THREADS -DALORE_NO_SIMD "
        "-DALORE_NO_MMAP"};
    static const char *const compilers[] = {"gcc", "clang", "x86_64-w64-mingw32-gcc", "g++", "clang++"};
    if (!t_cli_begin()) return;
    ok_cli(!t_shell("printf '#define ALORE_IMPLEMENTATION\n#include \"../../alore.h\"\nint used;\n' >u.c && "
                "cp u.c u.cc"), "unit");
    for (size_t k = 0; k < 5; ++k) {
        if (!t_has(compilers[k])) {
            skip(compilers[k]);
            continue;
        }
        for (size_t i = 0; i < sizeof macros / sizeof *macros; ++i)
            ok_cli(!t_shell(k < 3 ? "%s -std=c99 " T_WARN " %s -fsyntax-only u.c"
                              : "%s -std=c++11 -Wall -Wextra -Werror %s -fsyntax-only u.cc",
                        compilers[k], macros[i]), "%s %s: %s", compilers[k], macros[i], t_wrote("err"));
    }
}

/* Two units of C and one of C++ link; a header of another name works by ALORE_FILE. */
static void t_forms_units(void)
{
    const char *cc = t_tool("CC", "cc"), *cxx = t_tool("CXX", "c++");
    if (!t_cli_begin()) return;
    ok_cli(!t_shell("printf '#define ALORE_IMPLEMENTATION\n#include \"../../alore.h\"\n' >a.c && "
                "printf '#include \"../../alore.h\"\nint b(void);\nint b(void) { return (int)alore_version(); }\n' "
                ">b.c && printf '#include \"../../alore.h\"\nextern \"C\" int b(void);\nint main() { alore_ctx c; "
                "return alore_init(&c, nullptr) || (int)alore_version() != b(); }\n' >c.cc"), "files");
    ok_cli(!t_shell("%s -std=c99 -c a.c && %s -std=c99 -c b.c && %s -std=c++11 -c c.cc && %s a.o b.o c.o -o units -lm "
                "-lpthread && ./units", cc, cc, cxx, cxx), "%s", t_wrote("err"));
    ok_cli(!t_shell("cp ../../alore.h renamed.h && printf '#define ALORE_IMPLEMENTATION\n#define ALORE_FILE "
                "\"renamed.h\"\n#include \"renamed.h\"\nint main(void) { return 0; }\n' >d.c && %s -std=c99 d.c -o d "
                "-lm -lpthread && ./d", cc), "%s", t_wrote("err"));
    ok_cli(t_shell("mkdir -p far && cp ../../alore.h far/renamed.h && printf '#define ALORE_IMPLEMENTATION\n#include "
               "\"far/renamed.h\"\nint main(void) { return 0; }\n' >e.c && %s -std=c99 e.c -o e -lm -lpthread", cc) &&
           strstr(t_wrote("err"), "ALORE_FILE"), "a lost header: %s", t_wrote("err"));
}

/* Without mmap a file is read: memory that lacks is told as such, and a folder is no file. */
static void t_forms_read(void)
{
    if (!t_cli_begin()) return;
    ok_cli(!t_shell("printf '#define ALORE_IMPLEMENTATION\n#include \"../../alore.h\"\nstatic long calls, fails;\n"
                    "static void *take(void *u, size_t n, size_t a) { (void)u, (void)a; return ++calls == fails ? "
                    "NULL : malloc(n); }\nstatic void give(void *u, void *p, size_t n) { (void)u, (void)n; free(p); "
                    "}\nstatic alore_status load(const char *path) { alore_ctx c; alore_config o = ALORE_ZERO; "
                    "alore_weights *w; o.allocator.alloc = take; o.allocator.release = give; calls = 0; "
                    "alore_init(&c, &o); alore_status s = alore_weights_load(&c, path, &w); alore_uninit(&c); "
                    "return s; }\nint main(int n, char **path) { alore_status s; "
                    "do ++fails, s = load(path[1]); while (s == ALORE_ERR_MEMORY); "
                    "if (n != 2 || s != ALORE_OK || fails < 4) return (int)s; fails = 0; "
                    "return load(\".\") != ALORE_ERR_IO; }\n' >r.c"), "a unit");
    ok_cli(!t_shell("%s -std=c99 -DALORE_NO_MMAP -DALORE_NO_SIMD -DALORE_NO_THREADS -fsanitize=address r.c -o r -lm && "
                    "./r ../../tests/data/hostile/ok_two_tensors.safetensors", t_tool("CC", "cc")), "%s", t_wrote("err"));
}

/* Where sizes have 32 bits the header compiles without a warning, and a network runs. */
static void t_forms_32bits(void)
{
    if (!t_cli_begin()) return;
    if (!t_has("i686-linux-gnu-gcc")) {
        skip("needs i686-linux-gnu-gcc");
        return;
    }
    ok_cli(!t_shell("i686-linux-gnu-gcc -std=c99 -O1 -msse2 -mfpmath=sse " T_WARN " -static ../../examples/hello.c "
                    "-o hello32 -lm -lpthread"), "%s", t_wrote("err"));
    ok_cli(!t_shell("./hello32 ../../examples/data") && strstr(t_wrote("out"), "class 9"), "hello: %s", t_wrote("err"));
}

/* Every prefix of the header compiles: a section uses only what stands above it. */
static void t_forms_prefix(void)
{
    if (!t_cli_begin()) return;
    ok_cli(!t_shell("%s -std=c99 -O1 ../../tools/slice.c -o slice && ./slice ../../alore.h %s", t_tool("CC", "cc"),
                t_tool("CC", "cc")), "%s%s", t_wrote("out"), t_wrote("err"));
}

/* Length, columns, ASCII; clang-format where it is there. */
static void t_forms_style(void)
{
    if (!t_cli_begin()) return;
    ok_cli(!t_shell("[ $(wc -l <../../alore.h) -le 10610 ]"), "alore.h is longer than 10610 lines");
    ok_cli(t_shell("grep -n '.\\{111,\\}' ../../alore.h"), "columns: %s", t_wrote("out"));
    ok_cli(t_shell("LC_ALL=C grep -n -P '[^\\x00-\\x7F]' ../../alore.h"), "ASCII: %s", t_wrote("out"));
    ok_cli(t_shell("grep -n -e '[[:space:]]$' ../../alore.h ../../tools/*.[ch] ../../tests/*.c ../../examples/*.c"),
       "blanks at line ends: %s", t_wrote("out"));
}

/* Nothing global and mutable, nothing that prints or aborts. */
static void t_forms_symbols(void)
{
    if (!t_cli_begin()) return;
    ok_cli(!t_shell("printf '#define ALORE_IMPLEMENTATION\n#include \"../../alore.h\"\n' >a.c && %s -std=c99 -O2 "
                "-fno-pic -c a.c -o a.o && size a.o | tail -1 | awk '{exit !($2 == 0 && $3 == 0)}'",
                t_tool("CC", "cc")), "data or bss is not empty: %s", t_wrote("out"));
    ok_cli(t_shell("nm -u a.o | grep -w -e printf -e puts -e abort -e exit -e __assert_fail -e __errno_location"),
       "symbols: %s", t_wrote("out"));
}

static void t_forms_examples(void)
{
    if (!t_cli_begin()) return;
    ok_cli(!t_shell("../hello ../../examples/data") && strstr(t_wrote("out"), "class 9"), "hello: %s", t_wrote("err"));
    ok_cli(!t_shell("../finetune ../../examples/data a.st") && strstr(t_wrote("out"), "saved"), "finetune: %s",
       t_wrote("err"));
    ok_cli(!t_shell("../merge_and_run ../../examples/data a.st") && strstr(t_wrote("out"), "12 sites merged"),
       "merge_and_run: %s%s", t_wrote("out"), t_wrote("err"));
    int right = 0;
    const char *line = strstr(t_wrote("out"), " of 200");
    while (line && line > t_wrote("out") && line[-1] != '\n') --line;
    if (line) right = atoi(line);
    ok_cli(right > 120, "%d of 200 right", right);
    ok_cli(!t_shell("../custom_method ../../examples/data") && strstr(t_wrote("out"), "learns 13056"),
       "custom_method: %s%s", t_wrote("out"), t_wrote("err"));
    ok_cli(!t_shell("../no_malloc") && strstr(t_wrote("out"), "loss 0.0"), "no_malloc: %s", t_wrote("out"));
    ok_cli(t_shell("../hello nowhere") == 1 && strstr(t_wrote("err"), "nowhere"), "hello: %s", t_wrote("err"));
}

/* How many points a line of the demo's table lies above the first, F32's; -1e9: there is no such line. */
static double t_demo_points(const char *row)
{
    const char *at = strstr(t_wrote("out"), row), *points = at ? strstr(at, "right (") : NULL;
    return points ? strtod(points + 7, NULL) : -1e9;
}

/* The main job, one pass of it; merged and unmerged agree on every held-out image, and narrow weights lose
 * next to nothing: of 1000 images BF16 three, I8 ten. */
static void t_forms_demo(void)
{
    if (!t_cli_begin()) return;
    ok_cli(!t_shell("../demo ../../examples/data fashion --epochs 1 -q") &&
           strstr(t_wrote("out"), "1000 of 1000 held-out images get the same class"),
       "%s%s", t_wrote("out"), t_wrote("err"));
    ok_cli(fabs(t_demo_points("\nBF16 ")) < 0.35 && fabs(t_demo_points("\nI8 ")) < 1.05, "%s",
       t_wrote("out"));
    ok_cli(t_shell("../demo ../../examples/data nosuch -q") == 1 && t_shell("../demo") == 2, "wrong arguments");
}

/* Valgrind on a subset, with the plain build. */
static void t_forms_valgrind(void)
{
    static const char *const subset[] = {"plan_exact", "once", "adapters", "merge_identity", "safetensors_round",
                                         "model_errors"};
    if (!t_cli_begin()) return;
    if (!t_has("valgrind")) {
        skip("valgrind is not installed");
        return;
    }
    for (size_t i = 0; i < sizeof subset / sizeof *subset; ++i)
        ok_cli(!t_shell("cd ../.. && valgrind -q --error-exitcode=9 --leak-check=full build/test_plain --filter %s",
                    subset[i]), "%s: %s%s", subset[i], t_wrote("out"), t_wrote("err"));
}

/* The bench compiles without a warning, with OpenBLAS, too, and runs; the page and the picture are made of its
 * files. Nothing here depends on how fast it was. */
static void t_forms_bench(void)
{
    if (!t_cli_begin()) return;
    ok_cli(!t_shell("cd ../.. && %s -std=c99 -O1 " T_WARN " bench/bench.c -o build/cli/bench -lm -lpthread",
                t_tool("CC", "cc")),
       "%s", t_wrote("err"));
    ok_cli(!t_shell("./bench --quick --threads 2 --out ."), "%s", t_wrote("err"));
    ok_cli(strstr(t_wrote("out"), "times one thread") != NULL && strstr(t_wrote("out"), "gemm i8 197x192x576") &&
           strstr(t_wrote("out"), "vit_micro forward i8 b16 t2"),
       "%s", t_wrote("out"));
    ok_cli(!t_shell("! grep -v -e '^date,version,isa,case,unit,value,share,kept,commit,cpu,threads$' -e "
                "'^20[^,]*Z,[0-9.]*,[^,]*,[^,]*,[^,]*,[^,]*,[^,]*,[0-9]*,[^,]*,[^,]*,[12]$' bench_history.csv"),
       "the history: %s", t_wrote("out"));
    ok_cli(t_shell("./bench --isa none") == 2 && t_shell("./bench --threads 0") == 2 &&
           t_shell("./bench --quick --only nothing --out gone") == 1 && strstr(t_wrote("err"), "cannot be written"),
       "wrong arguments");
    if (!t_shell("printf '#include <cblas.h>\n' >b.c && %s -fsyntax-only b.c", t_tool("CC", "cc")))
        ok_cli(!t_shell("cd ../.. && %s -std=c99 -fsyntax-only -DALORE_BLAS " T_WARN " bench/bench.c",
                    t_tool("CC", "cc")),
           "%s", t_wrote("err"));
    else
        skip("ALORE_BLAS needs cblas.h");
    if (!t_has("python3")) {
        skip("python3 is not installed");
        return;
    }
    ok_cli(!t_shell("echo 'By hand.' >roofline.md; ./bench --quick --isa scalar --only gemm --out . && "
                "python3 ../../bench/plot.py gemm --history bench_history.csv --out h.svg && "
                "python3 -c 'import xml.dom.minidom as x; x.parse(\"h.svg\")' && grep -q '<polyline' h.svg"),
       "plot: %s%s", t_wrote("out"), t_wrote("err"));
    ok_cli(!t_shell("python3 ../../bench/peers.py --kernels bench.json --out . && grep -q '^| gemm f32 197x192x576' "
                "README.md && grep -q '^## Kernels and networks, scalar' README.md && "
                "tail -n 1 README.md | grep -q '^By hand.$'"),
       "the page: %s%s", t_wrote("out"), t_wrote("err"));
}

/* With ALORE_BLAS: the same tests within the same bounds. */
static void t_forms_blas(void)
{
    static const char *const parts[] = {"ops_", "selftest", "gradients", "merge_random", "golden_run", "levels",
                                        "run_", "plan_options", "starts", "steps", "adapters", "out_of_memory"};
    if (!t_cli_begin()) return;
    if (t_shell("printf '#include <cblas.h>\nint main(void) { float x = 1; return cblas_sdot(1, &x, 1, &x, 1) != 1; "
                "}\n' >b.c && %s b.c -o b -lopenblas && ./b", t_tool("CC", "cc"))) {
        skip("needs OpenBLAS and its cblas.h");
        return;
    }
    ok_cli(!t_shell("cd ../.. && %s -std=c99 -O1 -DALORE_BLAS tests/test.c -o build/test_blas -lm -lpthread "
                    "-lopenblas", t_tool("CC", "cc")), "%s", t_wrote("err"));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; ++i)
        ok_cli(!t_shell("cd ../.. && OPENBLAS_NUM_THREADS=1 build/test_blas --filter %s --data %s", parts[i],
                    t_golden ? t_golden : "nowhere"), "%s: %s%s", parts[i], t_wrote("out"), t_wrote("err"));
}

/* Other machines in an emulator, a part of these tests once more: the NEON level of 64-bit Arm; 32 bits; the other
 * byte order. */
static void t_forms_machines(void)
{
    static const struct {
        const char *compiler, *flags, *emulator[2], *parts[9];
    } rows[] = {
        {"aarch64-linux-gnu-gcc", "", {"qemu-aarch64-static", "qemu-aarch64"},
         {"ops_", "selftest", "math_", "levels", "plan_random", "golden_run"}},
        {"arm-linux-gnueabihf-gcc", "", {"qemu-arm-static", "qemu-arm"},
         {"selftest", "safetensors", "rules_", "plan_exact", "run_everywhere", "adapters"}},
        {"s390x-linux-gnu-gcc", "-fexcess-precision=fast", {"qemu-s390x-static", "qemu-s390x"},
         {"selftest", "safetensors", "ops_narrow", "plan_exact", "plan_store_relu", "run_everywhere", "adapters"}}};
    if (!t_cli_begin()) return;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
        const char *emulator = rows[i].emulator[t_has(rows[i].emulator[0]) ? 0 : 1];
        if (!t_has(rows[i].compiler) || !t_has(emulator)) {
            char why[100];
            snprintf(why, sizeof why, "needs %s and %s (or %s)", rows[i].compiler, rows[i].emulator[1],
                     rows[i].emulator[0]);
            skip(why);
            continue;
        }
        ok_cli(!t_shell("cd ../.. && %s -std=c99 -O1 " T_WARN " %s -static tests/test.c -o build/test_%d -lm -lpthread",
                    rows[i].compiler, rows[i].flags, (int)i), "%s", t_wrote("err"));
        for (const char *const *part = rows[i].parts; *part; ++part)
            ok_cli(!t_shell("cd ../.. && %s build/test_%d --filter %s --data %s", emulator, (int)i, *part,
                        t_golden ? t_golden : "nowhere"), "%s, %s: %s%s", emulator, *part, t_wrote("out"),
                   t_wrote("err"));
        if (i == 0) /* without dot products of bytes and of bf16 */
            ok_cli(!t_shell("cd ../.. && QEMU_CPU=cortex-a57 %s build/test_%d --filter ops_packed", emulator, (int)i),
                   "%s%s", t_wrote("out"), t_wrote("err"));
    }
}

/* Windows by mingw: header, examples and no warning. */
static void t_forms_windows(void)
{
    static const char *const names[] = {"hello", "finetune", "merge_and_run", "custom_method", "no_malloc"};
    if (!t_cli_begin()) return;
    if (!t_has("x86_64-w64-mingw32-gcc")) {
        skip("needs x86_64-w64-mingw32-gcc");
        return;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; ++i)
        ok_cli(!t_shell("cd ../.. && x86_64-w64-mingw32-gcc -std=c99 " T_WARN " -fsyntax-only examples/%s.c", names[i]),
               "%s: %s", names[i], t_wrote("err"));
}

/* ---- The list --------------------------------------------------------------- */

typedef struct t_row {
    const char *name;
    void (*run)(void);
} t_row;

#define T(name) {#name, t_##name},
static const t_row t_rows[] = {
    T(foundation_sizes) T(foundation_print) T(foundation_print_real) T(foundation_errors)
    T(foundation_objects) T(foundation_grow) T(foundation_init) T(math_exp) T(math_log) T(math_erf)
    T(math_tanh) T(math_sin) T(math_cos) T(math_sqrt) T(math_edges) T(half_all) T(half_round)
    T(bfloat_all) T(bfloat_round) T(random_philox) T(random_words) T(random_uniform)
    T(random_normal) T(random_hash) T(shuffle_bijective) T(shuffle_large) T(shuffle_fair)
    T(threads_all_once) T(threads_nested) T(threads_callers) T(threads_hook) T(threads_create)
    T(threads_pinned)
    T(selftest_passes) T(ops_nan) T(ops_sumsq) T(ops_gradients) T(ops_matmul) T(ops_slopes) T(ops_narrow) T(ops_attention) T(ops_attention_shapes)
    T(ops_shapes) T(ops_random)
    T(ops_labels) T(ops_units) T(ops_optimisers) T(ops_product) T(ops_packed) T(ops_attention_bf16) T(json_strings) T(json_numbers)
    T(json_structure) T(json_writer) T(safetensors_hostile) T(safetensors_prefixes)
    T(safetensors_flips) T(safetensors_errors) T(safetensors_many) T(safetensors_values)
    T(safetensors_alignment) T(safetensors_bytes) T(safetensors_roundtrip) T(safetensors_add)
    T(safetensors_meta) T(safetensors_fingerprint) T(safetensors_allocations) T(safetensors_writer)
    T(safetensors_save) T(safetensors_load) T(rules_errors) T(rules_huge) T(rules_bare) T(rules_good) T(rules_sites)
    T(model_errors) T(model_misuse) T(words_errors) T(counts) T(plan_cost) T(vit_text) T(vit_detect) T(plan_options)
    T(plan_random) T(plan_span)
    T(plan_store) T(plan_store_relu) T(plan_memory) T(plan_to_fit) T(plan_limit) T(plan_again)
    T(plan_fused) T(plan_views) T(plan_slopes) T(plan_demand) T(plan_exact)
    T(plan_print) T(gradients) T(gradients_shared) T(once) T(run_steps) T(run_everywhere)
    T(run_batch) T(run_threads) T(cache) T(cache_cut) T(plan_lanes) T(levels) T(levels_dot16) T(levels_attention) T(levels_zoo)
    T(levels_refused) T(schedules) T(schedule_units) T(resume) T(nonfinite) T(steps) T(steps_small)
    T(adapters) T(adapters_drawn) T(adapters_indices) T(starts) T(starts_dead) T(once_masks)
    T(wrong_base) T(merge_random) T(merge_pairs) T(merge_identity) T(merge_refused) T(merge_bent)
    T(merge_types) T(merge_count)
    T(export_lora) T(out_of_memory) T(golden_run) T(golden_store) T(golden_cache) T(golden_merge) T(golden_lora) T(interop_vit) T(pixels_resize)
    T(pixels_files) T(pixels_hostile) T(pixels_damaged) T(pixels_transform) T(search_sweep)
    T(search_best) T(search_evolve) T(search_genes) T(search_supernet) T(cli_errors)
    T(cli_files) T(cli_bench) T(cli_threads) T(cli_cache) T(cli_resume) T(cli_memory) T(cli_process) T(cli_saving) T(cli_merge) T(cli_nan) T(cli_data)
    T(cli_hostile) T(cli_golden) T(cli_experts) T(cli_spt) T(cli_glora) T(cli_peft) T(cli_names) T(cli_peft_refused) T(cli_peft_written)
    T(forms_features) T(forms_units) T(forms_read) T(forms_32bits) T(forms_prefix) T(forms_style)
    T(forms_symbols) T(forms_examples) T(forms_demo) T(forms_valgrind)
    T(forms_machines) T(forms_windows) T(forms_bench) T(forms_blas)
};
#undef T

int main(int argc, char **argv)
{
    const char *filter = "", *data = "../shared/golden";
    bool list = false;
    for (int i = 1; i < argc; ++i) {
        if (!strcmp(argv[i], "--list"))
            list = true;
        else if (!strcmp(argv[i], "--filter") && i + 1 < argc)
            filter = argv[++i];
        else if (!strcmp(argv[i], "--data") && i + 1 < argc)
            data = argv[++i];
        else {
            fprintf(stderr, "usage: test [--list] [--filter TEXT] [--data DIR]\n");
            return 2;
        }
    }
    char probe[1024];
    snprintf(probe, sizeof probe, "%s/units/index.json", data);
    FILE *f = fopen(probe, "rb");
    if (f) {
        fclose(f);
        t_golden = data;
    } else if (!list)
        printf("the full reference set is not at %s: only tests/data is used\n", data);
    for (size_t i = 0; i < sizeof t_rows / sizeof *t_rows; ++i) {
        if (!strstr(t_rows[i].name, filter)) continue;
        if (list) {
            printf("%s\n", t_rows[i].name);
            continue;
        }
        t_name = t_rows[i].name;
        t_rows[i].run();
        fflush(stdout);
    }
    if (list) return 0;
    if (t_skipped)
        printf("%d passed, %d failed, %d skipped\n", t_passed, t_failed, t_skipped);
    else
        printf("%d passed, %d failed\n", t_passed, t_failed);
    return t_failed || !t_passed;
}
