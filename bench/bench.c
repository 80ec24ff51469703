/* bench.c - how fast the plain kernels are, on this machine, now.
 *
 *   make bench        one line a case: shape, median of nine, spread
 *
 * The plain kernels are the definition and the base line; shares of the machine's peak
 * and the comparison with peers come with the fast ones. */
#define _POSIX_C_SOURCE 200809L
#define ALORE_IMPLEMENTATION
#include "../alore.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROUNDS = 9 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(const char *name, double *rates, const char *unit)
{
    qsort(rates, ROUNDS, sizeof *rates, by_value);
    printf("%-44s %8.2f %s   (%.2f to %.2f)\n", name, rates[ROUNDS / 2], unit, rates[0], rates[ROUNDS - 1]);
    fflush(stdout);
}

/* y = x W', as a linear layer has it. */
static void product(int rows, int in, int out)
{
    float *x = (float *)calloc((size_t)(rows * in), sizeof *x), *w = (float *)calloc((size_t)(in * out), sizeof *w);
    float *y = (float *)calloc((size_t)(rows * out), sizeof *y);
    void *scratch = malloc((size_t)in * 64 + 4096);
    const alo_mat a = {x, 0, in, 1, rows, in}, b = {w, 0, 1, in, in, out}, c = {y, 0, out, 1, rows, out};
    double rates[ROUNDS], flops = 2.0 * rows * in * out;
    int repeat = (int)(2e8 / flops) + 1;
    char name[64];
    for (int r = 0; r < ROUNDS && x && w && y && scratch; ++r) {
        double start = now();
        for (int i = 0; i < repeat; ++i) alo_product_f32(c, a, b, false, scratch);
        rates[r] = flops * repeat / (now() - start) * 1e-9;
    }
    snprintf(name, sizeof name, "gemm f32 %dx%dx%d", rows, in, out);
    report(name, rates, "GFLOP/s");
    free(x), free(w), free(y), free(scratch);
}

/* A network on random weights, forward or with a training step. */
static void network(const char *backbone, const char *rules, int batch)
{
    alore_ctx ctx;
    alore_model *m;
    alore_plan *p;
    alore_run *run;
    alore_weights *w;
    alore_vit_config c;
    alore_plan_opts opts = ALORE_ZERO;
    double rates[ROUNDS];
    char name[128];
    opts.train = *rules != 0;
    opts.batch = batch;
    alore_status s = alore_init(&ctx, NULL);
    if (!s) s = alore_vit_parse(&ctx, backbone, &c, NULL);
    if (!s) s = alore_model_create(&ctx, &m);
    if (!s) s = alore_attach(m, rules);
    alore_id x = s ? 0 : alore_vit(m, alore_input(m, "image", ALORE_F32, c.height * c.width, 3), &c);
    if (!s) alore_output(m, "logits", x);
    if (!s && opts.train) alore_output(m, "loss", alore_loss_xent(m, x, alore_input(m, "label", ALORE_I32, 1, 1), 0));
    if (!s) s = alore_model_finish(m);
    if (!s) s = alore_plan_create(m, &opts, &p);
    if (!s) s = alore_weights_create(&ctx, &w);
    for (int i = 0; i < m->param_count && !s; ++i) {
        uint64_t dims[4];
        alore_tensor t = ALORE_ZERO;
        if (!m->params[i].base) continue;
        for (int k = 0; k < 4; ++k) dims[k] = (uint64_t)m->params[i].shape.dims[k];
        t.name = m->names + m->params[i].name;
        t.dims = dims;
        t.rank = m->params[i].shape.rank;
        s = alore_weights_add(w, &t);
    }
    if (!s) s = alore_run_create(p, w, &run);
    for (int r = 0; r < ROUNDS && !s; ++r) {
        double start = now();
        s = opts.train ? alore_backward(run, 0) : alore_forward(run, 0);
        if (!s && opts.train) s = alore_step(run, NULL, 1e-3f, NULL);
        rates[r] = batch / (now() - start);
    }
    snprintf(name, sizeof name, "%.40s %.40s, batch %d", backbone, opts.train ? rules : "forward", batch);
    if (!s) report(name, rates, "images/s");
    if (s) fprintf(stderr, "bench: %s\n", alore_last_error(&ctx)->text);
    alore_uninit(&ctx);
}

int main(void)
{
    static const char *micro = "vit:img=32,patch=4,dim=64,depth=6,heads=2,classes=10";
    printf("alore %d.%d.%d, plain kernels, one thread; medians of %d\n", ALORE_VERSION_MAJOR, ALORE_VERSION_MINOR,
           ALORE_VERSION_PATCH, ROUNDS);
    product(65, 64, 192);
    product(65, 64, 256);
    product(65, 256, 64);
    product(197, 768, 2304);
    product(197, 3072, 768);
    product(1, 768, 768);
    network(micro, "", 16);
    network(micro, "alore@qkv|fc1;unfreeze@head", 16);
    network(micro, "unfreeze@*", 16);
    network("vit_tiny_patch16_224", "", 1);
    network("vit_tiny_patch16_224", "alore@qkv|fc1;unfreeze@head", 1);
    return 0;
}
