/* no_malloc.c - learn in memory that is counted beforehand: no heap, no files, no threads.
 *
 *   cc -std=c99 -O3 no_malloc.c -o no_malloc -lm && ./no_malloc
 *
 * The network is tiny and its weights are random, standing in for constants in flash.
 * Building needs a little memory once, here a static pool; the run lives in a static
 * arena of the size that the plan tells. Nothing is allocated after that. */
#define ALORE_IMPLEMENTATION
#define ALORE_NO_MALLOC
#define ALORE_NO_STDIO
#define ALORE_NO_THREADS
#include "../alore.h"
#include <stdio.h> /* of the example, not of the header */

enum { SIDE = 16, POOL = 1 << 20, ARENA = 1 << 19, WEIGHTS = 1 << 15 };

static union {
    uint64_t align[8];
    unsigned char bytes[POOL];
} pool;
static size_t pool_used;

/* Takes the next piece; gives nothing back, since nothing is built twice. */
static void *pool_alloc(void *user, size_t bytes, size_t align)
{
    size_t at = (pool_used + align - 1) / align * align;
    uintptr_t shift = (align - (uintptr_t)pool.bytes % align) % align;
    (void)user;
    if (bytes > POOL - at - align) return NULL;
    pool_used = at + bytes;
    return pool.bytes + at + shift;
}

static void pool_release(void *user, void *block, size_t bytes)
{
    (void)user;
    (void)block;
    (void)bytes;
}

static float flash[WEIGHTS];
static unsigned char arena[ARENA + 64];
static alore_ctx ctx;
static alore_run run;

/* Borrow the next numbers of `flash` as a tensor: a [rows, cols] matrix or a vector. */
static alore_status add(alore_weights *w, const char *name, uint64_t rows, uint64_t cols, float mean)
{
    static size_t used;
    uint64_t dims[2];
    alore_tensor t = ALORE_ZERO;
    size_t count = (size_t)(rows ? rows * cols : cols);
    dims[0] = rows ? rows : cols;
    dims[1] = cols;
    if (used + count > WEIGHTS) return ALORE_ERR_CAPACITY;
    for (size_t i = 0; i < count; ++i)
        flash[used + i] = mean + 0.1f * alore_random_normal(7, (uint64_t)used, (uint64_t)i);
    t.name = name;
    t.dims = dims;
    t.rank = rows ? 2 : 1;
    t.data = flash + used;
    t.bytes = count * sizeof(float);
    used += count;
    return alore_weights_add(w, &t);
}

/* Pixels -> 24 hidden numbers -> 4 classes: a network of one's own, in six words. */
static alore_status build(alore_model *m)
{
    alore_linear_opts head = ALORE_ZERO, fc1 = ALORE_ZERO;
    head.kind = ALORE_KIND_HEAD;
    fc1.kind = ALORE_KIND_FC1;
    alore_id x = alore_reshape(m, alore_input(m, "image", ALORE_F32, SIDE * SIDE, 3), 1, SIDE * SIDE * 3);
    alore_id label = alore_input(m, "label", ALORE_I32, 1, 1);
    x = alore_unary(m, ALORE_GELU, alore_linear(m, "fc1", x, 24, &fc1));
    x = alore_linear(m, "head", x, 4, &head);
    alore_output(m, "loss", alore_loss_xent(m, x, label, 0));
    return alore_model_finish(m);
}

int main(void)
{
    alore_config config = ALORE_ZERO;
    alore_weights *base;
    alore_model *net;
    alore_plan *plan;
    alore_plan_opts opts = ALORE_ZERO;
    config.allocator.alloc = pool_alloc;
    config.allocator.release = pool_release;
    opts.train = true;
    unsigned char *memory = arena + (64 - (uintptr_t)arena % 64) % 64;

    alore_status s = alore_init(&ctx, &config);
    if (!s) s = alore_weights_create(&ctx, &base);
    if (!s) s = add(base, "fc1.weight", 24, SIDE * SIDE * 3, 0);
    if (!s) s = add(base, "fc1.bias", 0, 24, 0);
    if (!s) s = add(base, "head.weight", 4, 24, 0);
    if (!s) s = add(base, "head.bias", 0, 4, 0);
    if (!s) s = alore_model_create(&ctx, &net);
    if (!s) s = alore_attach(net, "alore:rank=2,experts=4@fc1;unfreeze@head");
    if (!s) s = build(net);
    if (!s) s = alore_plan_create(net, &opts, &plan);
    if (!s) {
        alore_memory bytes = alore_plan_memory(plan);
        printf("%zu bytes in all, of them %zu for activations; %zu of pool\n", bytes.total,
               bytes.activations, pool_used);
        s = alore_run_bind(&run, plan, base, memory, ARENA);
    }
    size_t before = pool_used;
    for (int step = 0; step < 20 && !s; ++step) {
        float *pixels = (float *)alore_run_input(&run, "image");
        for (int i = 0; i < SIDE * SIDE * 3; ++i)
            pixels[i] = alore_random_normal(3, (uint64_t)(step % 4), (uint64_t)i);
        *(int32_t *)alore_run_input(&run, "label") = step % 4;
        s = alore_backward(&run, 1);
        if (!s && step % 4 == 3) {
            printf("step %d  loss %.4f\n", step / 4, (double)*alore_run_output(&run, "loss"));
            s = alore_step(&run, NULL, 2e-2f, NULL);
        }
    }
    if (s) printf("error: %s\n", alore_last_error(&ctx)->text);
    if (!s && pool_used != before) printf("training allocated memory\n");
    alore_uninit(&ctx);
    return s != ALORE_OK || pool_used != before;
}
