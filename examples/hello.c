/* hello.c - one image through a frozen ViT.
 *
 *   cc -std=c99 -O3 hello.c -o hello -lm -lpthread && ./hello data
 */
#define ALORE_IMPLEMENTATION
#include "../alore.h"
#include <stdio.h>

int main(int argc, char **argv)
{
    char path[512];
    alore_ctx ctx;
    alore_weights *base = NULL;
    alore_vit_config vit;
    alore_model *net;
    alore_plan *plan;
    alore_run *run;

    /* Whatever fails below sets the context's error, and the rest is not run. */
    snprintf(path, sizeof path, "%s/vit_micro.safetensors", argc > 1 ? argv[1] : "examples/data");
    alore_status s = alore_init(&ctx, NULL);
    if (!s) s = alore_weights_load(&ctx, path, &base);
    if (!s) s = alore_vit_parse(&ctx, alore_weights_meta(base, "alore.backbone"), &vit, NULL);
    if (!s) s = alore_model_create(&ctx, &net);
    if (!s) { /* 32 x 32 pixels of three bytes in, ten logits out */
        alore_id image = alore_input(net, "image", ALORE_U8, 32 * 32, 3);
        alore_output(net, "logits", alore_vit(net, image, &vit));
        s = alore_model_finish(net);
    }
    if (!s) s = alore_plan_create(net, NULL, &plan);
    if (!s) s = alore_run_create(plan, base, &run);
    if (!s) { /* a blue sky above a green meadow */
        unsigned char *pixels = (unsigned char *)alore_run_input(run, "image");
        for (int i = 0; i < 32 * 32; ++i, pixels += 3) pixels[i < 512 ? 2 : 1] = 200;
        s = alore_forward(run, 1);
    }
    if (!s)
        for (int c = 0; c < 10; ++c) printf("class %d: %6.2f\n", c, (double)alore_run_output(run, "logits")[c]);
    else
        fprintf(stderr, "error: %s\n", alore_last_error(&ctx)->text);
    alore_uninit(&ctx); /* frees all of the above */
    return s != ALORE_OK;
}
