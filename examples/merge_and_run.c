/* merge_and_run.c - melt an adapter into its backbone, then classify with the result.
 *
 *   cc -std=c99 -O3 merge_and_run.c -o merge_and_run -lm -lpthread
 *   ./finetune data adapter.safetensors && ./merge_and_run data adapter.safetensors
 */
#define ALORE_IMPLEMENTATION
#include "../alore.h"
#include <stdio.h>

enum { SIDE = 32, FIRST = 1000, IMAGES = 200 }; /* held out: not among those trained on */

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

/* The same lines build the network with its adapters and without them. */
static alore_status build(alore_ctx *ctx, const alore_weights *base, const alore_weights *adapter,
                          alore_model **out)
{
    alore_vit_config vit;
    alore_status s = alore_model_create(ctx, out);
    if (!s && adapter) s = alore_attach_from(*out, adapter); /* its rules are in its metadata */
    if (!s) s = alore_vit_parse(ctx, alore_weights_meta(base, "alore.backbone"), &vit, NULL);
    if (s) return s;
    alore_id image = alore_input(*out, "image", ALORE_U8, SIDE * SIDE, 3);
    alore_output(*out, "logits", alore_vit(*out, image, &vit));
    return alore_model_finish(*out);
}

int main(int argc, char **argv)
{
    const char *folder = argc > 1 ? argv[1] : "examples/data";
    const char *learnt = argc > 2 ? argv[2] : "fashion_alore.safetensors";
    char path[512];
    alore_ctx ctx;
    alore_weights *base, *data, *adapter, *merged;
    alore_model *adapted, *plain;
    alore_plan *plan;
    alore_run *run;
    if (alore_init(&ctx, NULL)) return 1;

    snprintf(path, sizeof path, "%s/vit_micro.safetensors", folder);
    TRY(alore_weights_load(&ctx, path, &base));
    TRY(alore_weights_load(&ctx, learnt, &adapter));
    TRY(build(&ctx, base, adapter, &adapted));

    /* `base` is never written. `merged` borrows every tensor that nothing touched and
     * owns those that changed. It fails rather than lie: a site that is no affine map,
     * or an error above tolerance, is an error. */
    alore_merge_report report;
    TRY(alore_merge(adapted, base, adapter, NULL, &merged, &report));
    printf("%d sites merged, %d tensors changed; worst error %.1e, at %s\n", report.sites,
           report.tensors_changed, (double)report.worst_error, report.worst_site);

    /* From here on it is the plain network, at the plain network's cost. */
    TRY(build(&ctx, merged, NULL, &plain));
    TRY(alore_plan_create(plain, NULL, &plan));
    TRY(alore_run_create(plan, merged, &run));

    int right = 0;
    snprintf(path, sizeof path, "%s/fashion.safetensors", folder);
    TRY(alore_weights_load(&ctx, path, &data));
    const unsigned char *images = (const unsigned char *)alore_weights_find(data, "image")->data;
    const unsigned char *labels = (const unsigned char *)alore_weights_find(data, "label")->data;
    for (int i = FIRST; i < FIRST + IMAGES; ++i) {
        unsigned char *to = (unsigned char *)alore_run_input(run, "image");
        for (int k = 0; k < 28 * 28 * 3; ++k)
            to[((k / 84 + 2) * SIDE + 2) * 3 + k % 84] = images[i * 784 + k / 3];
        TRY(alore_forward(run, 1));
        const float *logits = alore_run_output(run, "logits");
        int best = 0;
        for (int c = 1; c < 10; ++c)
            if (logits[c] > logits[best]) best = c;
        right += best == labels[i * 4];
    }
    printf("%d of %d held-out images are right\n", right, IMAGES);
    return finish(&ctx);
}
