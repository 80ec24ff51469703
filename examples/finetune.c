/* finetune.c - teach a frozen ViT a new task with ALoRE adapters.
 *
 *   cc -std=c99 -O3 finetune.c -o finetune -lm -lpthread && ./finetune data adapter.safetensors
 *
 * The backbone has seen CIFAR-10; the task is Fashion-MNIST, 600 images of it. */
#define ALORE_IMPLEMENTATION
#include "../alore.h"
#include <stdio.h>

enum { SIDE = 32, IMAGES = 600, CLASSES = 10, BATCH = 20, EPOCHS = 4, STEPS = EPOCHS * IMAGES / BATCH };

/* A grey image of 28 x 28 in the middle of one of 32 x 32, as three equal channels. */
static void load_image(const alore_weights *data, uint32_t item, unsigned char *to)
{
    const unsigned char *from = (const unsigned char *)alore_weights_find(data, "image")->data + item * 28 * 28;
    for (int y = 0; y < 28; ++y)
        for (int x = 0; x < 28; ++x)
            for (int c = 0; c < 3; ++c) to[((y + 2) * SIDE + x + 2) * 3 + c] = from[y * 28 + x];
}

/* A context owns what was created from it, so every exit is this one call. */
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
    const char *folder = argc > 1 ? argv[1] : "examples/data";
    const char *out = argc > 2 ? argv[2] : "fashion_alore.safetensors";
    char path[512];
    alore_ctx ctx;
    alore_config config = ALORE_ZERO;
    config.threads = 2;
    if (alore_init(&ctx, &config)) return 1;

    /* 1. Rules come first: what to attach where, and what else may learn. Whatever no
     *    rule mentions stays frozen. */
    alore_model *net;
    TRY(alore_model_create(&ctx, &net));
    TRY(alore_attach(net, "alore:rank=4,experts=4@qkv|fc1;unfreeze@head"));

    /* 2. Then the network. At each site the builder asks the rules and weaves the
     *    adapters in. Errors wait for alore_model_finish. */
    alore_weights *base, *packed, *data;
    alore_vit_config vit;
    snprintf(path, sizeof path, "%s/vit_micro.safetensors", folder);
    TRY(alore_weights_load(&ctx, path, &base));
    TRY(alore_vit_parse(&ctx, alore_weights_meta(base, "alore.backbone"), &vit, NULL));
    alore_id image = alore_input(net, "image", ALORE_U8, SIDE * SIDE, 3);
    alore_id label = alore_input(net, "label", ALORE_I32, 1, 1);
    alore_id logits = alore_vit(net, image, &vit);
    alore_output(net, "loss", alore_loss_xent(net, logits, label, 0));
    TRY(alore_model_finish(net));

    /* 3. The plan knows every byte before anything runs. */
    alore_plan *plan;
    alore_plan_opts opts = ALORE_ZERO;
    opts.train = true;
    opts.batch = BATCH;
    opts.lanes = 2; /* two samples in flight, one a thread */
    TRY(alore_plan_create(net, &opts, &plan));
    printf("%zu numbers learn in %.2f MB of working memory\n", alore_trainable(plan),
           (double)alore_plan_memory(plan).total * 1e-6);

    /* 4. Train. The twelve lines that everyone wants to change are yours. */
    alore_run *run;
    alore_step_opts adamw = ALORE_ZERO;
    alore_schedule schedule = ALORE_ZERO;
    snprintf(path, sizeof path, "%s/fashion.safetensors", folder);
    TRY(alore_weights_load(&ctx, path, &data));
    TRY(alore_weights_pack(plan, base, NULL, &packed)); /* as kernels read them fastest */
    TRY(alore_run_create(plan, packed, &run));
    TRY(alore_run_reset(run, 42));
    adamw.decay = 1e-4;
    schedule.kind = ALORE_COSINE;
    schedule.lr = 1e-2f;
    schedule.warmup = STEPS / 10;
    schedule.total = STEPS;
    const unsigned char *labels = (const unsigned char *)alore_weights_find(data, "label")->data;
    for (uint32_t step = 0; step < STEPS; ++step) {
        float loss = 0;
        for (uint32_t i = 0; i < BATCH; ++i) {
            uint32_t at = step * BATCH + i;
            uint32_t item = alore_shuffle(42, at / IMAGES, at % IMAGES, IMAGES);
            load_image(data, item, (unsigned char *)alore_run_input(run, "image") + i * SIDE * SIDE * 3);
            ((int32_t *)alore_run_input(run, "label"))[i] = labels[item * 4]; /* I32, little-endian */
        }
        TRY(alore_backward(run, BATCH));
        for (int i = 0; i < BATCH; ++i) loss += alore_run_output(run, "loss")[i] / BATCH;
        TRY(alore_step(run, &adamw, alore_lr(&schedule, (int)step), NULL));
        if (step % 20 == 0 || step == STEPS - 1) printf("step %3u  loss %.3f\n", step, (double)loss);
    }

    /* 5. Keep what was learnt: 28 kB, where the backbone is 1.2 MB. */
    alore_weights *adapter;
    TRY(alore_run_export(run, &adapter));
    TRY(alore_weights_save(adapter, out));
    printf("saved %s\n", out);
    return finish(&ctx);
}
