/* custom_method.c - a method of your own is a row of a table.
 *
 *   cc -std=c99 -O3 custom_method.c -o custom_method -lm -lpthread && ./custom_method data
 *
 * The method here is a gated low-rank update: beside the host runs x A B, and each
 * output has a gate of its own, y = host(x) + (x A B) * gate. It is trained, counted,
 * merged and certified by what is there already. */
#define ALORE_IMPLEMENTATION
#include "../alore.h"
#include <stdio.h>

/* What it does, in the builder's words: declare parameters, return the addition. */
static alore_id emit_gated(alore_model *m, const alore_site *site, const alore_recipe *r, alore_flow *flow)
{
    alore_id a = alore_param(m, "A", alore_dims(site->in, r->rank, 0, 0), ALORE_OWN, alore_uniform(0.1f));
    alore_id b = alore_param(m, "B", alore_dims(r->rank, site->out, 0, 0), ALORE_OWN, alore_fill(0.0f));
    alore_id gate = alore_param(m, "gate", alore_dims(site->out, 0, 0, 0), ALORE_OWN, alore_fill(1.0f));
    return alore_affine(m, alore_matmul(m, alore_matmul(m, flow->x, a), b), gate, 0);
}

/* What it is called, where it goes, which keys it has. Parser, help and counts read this. */
static const alore_method gated = {
    "gated", "y = host(x) + (x A B) * gate", "an example", "gated:rank=2@qkv",
    ALORE_HOST_LINEAR, ALORE_PLACE_PARALLEL, 0,
    {{"rank", 2, 1, 64, NULL, true, false}},
    emit_gated, NULL, NULL, NULL, 0, NULL};

static int finish(alore_ctx *ctx)
{
    alore_error e = *alore_last_error(ctx);
    if (e.status) fprintf(stderr, "error: %s\n", e.text);
    alore_uninit(ctx);
    return e.status != ALORE_OK;
}
#define TRY(call)                                                                                            \
    do {                                                                                                     \
        if (call) return finish(&ctx);                                                                       \
    } while (0)

int main(int argc, char **argv)
{
    char path[512];
    alore_ctx ctx;
    alore_weights *base = NULL, *adapter, *merged;
    alore_vit_config vit;
    alore_model *net;
    alore_plan *plan;
    alore_run *run;
    alore_plan_opts opts = ALORE_ZERO;
    alore_merge_report report;
    if (alore_init(&ctx, NULL)) return 1;
    snprintf(path, sizeof path, "%s/vit_micro.safetensors", argc > 1 ? argv[1] : "examples/data");
    TRY(alore_weights_load(&ctx, path, &base));
    TRY(alore_vit_parse(&ctx, alore_weights_meta(base, "alore.backbone"), &vit, NULL));

    /* Registered, it has a name that rules and files can carry. */
    TRY(alore_register(&ctx, &gated));
    TRY(alore_model_create(&ctx, &net));
    TRY(alore_attach(net, "gated:rank=3@qkv|fc1"));
    alore_id image = alore_input(net, "image", ALORE_F32, 32 * 32, 3);
    alore_id label = alore_input(net, "label", ALORE_I32, 1, 1);
    alore_id logits = alore_vit(net, image, &vit);
    alore_output(net, "loss", alore_loss_xent(net, logits, label, 0));
    TRY(alore_model_finish(net));

    opts.train = true;
    TRY(alore_plan_create(net, &opts, &plan));
    TRY(alore_run_create(plan, base, &run));
    printf("gated learns %zu numbers\n", alore_trainable(plan));
    float *pixels = (float *)alore_run_input(run, "image");
    for (int i = 0; i < 32 * 32 * 3; ++i) pixels[i] = 0.5f * alore_random_normal(1, 0, (uint64_t)i);
    for (int step = 0; step < 5; ++step) { /* one image, again and again */
        TRY(alore_backward(run, 1));
        printf("step %d  loss %.4f\n", step, (double)*alore_run_output(run, "loss"));
        TRY(alore_step(run, NULL, 1e-2f, NULL));
    }

    TRY(alore_run_export(run, &adapter));
    TRY(alore_merge(net, base, adapter, NULL, &merged, &report));
    printf("merged at %d sites, worst error %.1e\n", report.sites, (double)report.worst_error);
    return finish(&ctx);
}
