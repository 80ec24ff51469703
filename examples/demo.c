/* demo.c - the main job, whole: a frozen ViT learns a new task in four ways; the best of
 * them is melted into the backbone's weights and costs nothing from then on.
 *
 *   make demo                 Fashion-MNIST, 1,000 images to learn from, 1,000 held out
 *   make demo DATA=digits     handwritten digits
 *
 *   demo FOLDER fashion|digits [--epochs N] [--seed N] [--threads N] [-q]
 */
#define _POSIX_C_SOURCE 200809L
#define ALORE_IMPLEMENTATION
#include "../alore.h"
#include "../tools/data.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 32, TRAIN = 1000 };

typedef struct way { /* one row of the comparison */
    const char *name, *rules;
    float rate;
} way;

static const way ways[] = {
    {"linear probe", "unfreeze@head", 1e-2f},
    {"LoRA r=8", "lora:rank=8@qkv;unfreeze@head", 3e-3f},
    {"full fine-tuning", "unfreeze@*", 1e-3f},
    {"ALoRE n=4 r=4", "alore:rank=4,experts=4@qkv|fc1;unfreeze@head", 1e-2f},
};

typedef struct demo {
    alore_ctx ctx;
    alore_weights *base; /* the checkpoint without its head: the task has its own */
    alore_vit_config vit;
    data_set train, test;
    float *images;  /* all of them as the network takes them: train, then test */
    size_t numbers; /* in one image */
    int epochs, threads;
    uint64_t seed;
    bool quiet, terminal; /* of progress on stderr */
} demo;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Files: the backbone without its head, and the images, resized once. */
static bool load(demo *d, const char *folder, const char *data, char *why) {
    char path[512], text[600];
    alore_weights *file = NULL;
    img_transform transform;
    memset(&transform, 0, sizeof transform);
    const char *steps;
    snprintf(path, sizeof path, "%s/vit_micro.safetensors", folder);
    if (alore_weights_load(&d->ctx, path, &file) || alore_weights_create(&d->ctx, &d->base) ||
        alore_vit_parse(&d->ctx, alore_weights_meta(file, "alore.backbone"), &d->vit, NULL))
        return img_fail(why, "%s", alore_last_error(&d->ctx)->text);
    for (int i = 0; i < alore_weights_count(file); ++i) {
        const alore_tensor *t = alore_weights_at(file, i);
        if (strncmp(t->name, "head.", 5) && alore_weights_add(d->base, t))
            return img_fail(why, "%s", alore_last_error(&d->ctx)->text);
    }
    steps = alore_weights_meta(file, "alore.transform");
    if (!img_parse(steps ? steps : "", &transform, why)) return false;
    snprintf(text, sizeof text, "%s/%s.safetensors[0:%d]", folder, data, TRAIN);
    if (!data_open(&d->train, &d->ctx, text, why)) return false;
    snprintf(text, sizeof text, "%s/%s.safetensors[%d:%d]", folder, data, TRAIN, d->train.total);
    if (!data_open(&d->test, &d->ctx, text, why)) return false;
    d->vit.classes = 10;
    d->numbers = (size_t)d->vit.height * (size_t)d->vit.width * 3;
    d->images = (float *)malloc((size_t)d->train.total * d->numbers * sizeof(float));
    if (!d->images) return img_fail(why, "no memory for %d images", d->train.total);
    for (int i = 0; i < d->train.total; ++i) {
        const data_set *from = i < TRAIN ? &d->train : &d->test;
        if (!data_item(from, i < TRAIN ? i : i - TRAIN, &transform, d->vit.height, d->vit.width,
                       d->images + (size_t)i * d->numbers, why))
            return false;
    }
    return data_check_labels(&d->train, 10, why) && data_check_labels(&d->test, 10, why);
}

static int label(const demo *d, int i) {
    return i < TRAIN ? data_label(&d->train, i) : data_label(&d->test, i - TRAIN);
}

/* The network under some rules, for training or not, bound to weights that are packed for its kernels. */
static alore_status build(demo *d, const char *rules, const alore_weights *weights, bool train,
                          alore_dtype precision, alore_model **m, alore_plan **p, alore_run **run) {
    alore_plan_opts opts = ALORE_ZERO;
    alore_weights *packed;
    alore_status s = alore_model_create(&d->ctx, m);
    if (!s) s = alore_attach(*m, rules);
    if (s) return s;
    alore_id image = alore_input(*m, "image", ALORE_F32, d->vit.height * d->vit.width, 3);
    alore_id logits = alore_vit(*m, image, &d->vit);
    alore_output(*m, "logits", logits);
    if (train) {
        alore_id target = alore_input(*m, "label", ALORE_I32, 1, 1);
        alore_output(*m, "loss", alore_loss_xent(*m, logits, target, 0));
    }
    s = alore_model_finish(*m);
    opts.train = train;
    opts.batch = BATCH;
    opts.lanes = d->threads;
    opts.precision = precision;
    if (!s) s = alore_plan_create(*m, &opts, p);
    if (!s) s = alore_weights_pack(*p, weights, NULL, &packed);
    if (!s) s = alore_run_create(*p, packed, run);
    return s;
}

static void put_image(const demo *d, alore_run *run, int slot, int item) {
    memcpy((float *)alore_run_input(run, "image") + (size_t)slot * d->numbers,
           d->images + (size_t)item * d->numbers, d->numbers * sizeof(float));
}

static alore_status train(const demo *d, const way *w, alore_run *run) {
    alore_step_opts adamw = ALORE_ZERO;
    alore_schedule schedule = ALORE_ZERO;
    int steps = (d->epochs * TRAIN + BATCH - 1) / BATCH;
    double start = now(), told = 0, loss = 0;
    alore_status s = alore_run_reset(run, d->seed);
    adamw.decay = 1e-4;
    schedule.kind = ALORE_COSINE;
    schedule.lr = w->rate;
    schedule.warmup = steps / 10;
    schedule.total = steps;
    for (int step = 0; step < steps && !s; ++step) {
        int32_t *labels = (int32_t *)alore_run_input(run, "label");
        for (int i = 0; i < BATCH; ++i) {
            uint32_t at = (uint32_t)(step * BATCH + i);
            int item = (int)alore_shuffle(d->seed, at / TRAIN, at % TRAIN, TRAIN);
            put_image(d, run, i, item);
            labels[i] = label(d, item);
        }
        s = alore_backward(run, BATCH);
        loss = 0;
        for (int i = 0; i < BATCH && !s; ++i) loss += (double)alore_run_output(run, "loss")[i] / BATCH;
        if (!s) s = alore_step(run, &adamw, alore_lr(&schedule, step), NULL);
        double spent = now() - start;
        if (!d->quiet && spent - told > (d->terminal ? 0.2 : 10)) { /* one line, or one every ten seconds */
            told = spent;
            fprintf(stderr, "%s%-17s step %3d/%d  loss %.3f  %4.0f images/s  %3.0f s left  %s",
                    d->terminal ? "\r" : "", w->name, step + 1, steps, loss, (step + 1) * BATCH / spent,
                    spent / (step + 1) * (steps - step - 1), d->terminal ? "" : "\n");
        }
    }
    if (d->terminal) fprintf(stderr, "\r%78s\r", "");
    return s;
}

/* Logits of every held-out image; how many are right. */
static alore_status test(const demo *d, alore_run *run, float *logits, int *right, double *seconds) {
    alore_status s = ALORE_OK;
    double start = now();
    *right = 0;
    for (int first = 0; first < d->test.count && !s; first += BATCH) {
        int n = d->test.count - first < BATCH ? d->test.count - first : BATCH;
        for (int i = 0; i < n; ++i) put_image(d, run, i, TRAIN + first + i);
        s = alore_forward(run, n);
        if (!s) memcpy(logits + first * 10, alore_run_output(run, "logits"), (size_t)n * 10 * sizeof(float));
    }
    *seconds = now() - start;
    for (int i = 0; i < d->test.count && !s; ++i) {
        int best = 0;
        for (int c = 1; c < 10; ++c)
            if (logits[i * 10 + c] > logits[i * 10 + best]) best = c;
        *right += best == label(d, TRAIN + i);
    }
    return s;
}

static bool count_bytes(void *user, const void *data, size_t bytes) {
    (void)data;
    *(size_t *)user += bytes;
    return true;
}

/* What is going to be learnt, before anything runs. */
static void show_plan(const alore_plan *p) {
    alore_memory m = alore_plan_memory(p);
    size_t head = 0;
    for (int i = 0; i < alore_param_count(p); ++i)
        if (alore_param_at(p, i).base) head += alore_param_at(p, i).count;
    printf("ALoRE at qkv and fc1 of every block, and a new head:\n"
           "  %zu numbers learn (%zu of the adapters, %zu of the head); %zu stay frozen\n"
           "  %.2f MB in all: %.2f parameters, gradients and moments, %.2f activations, %.2f images\n\n",
           alore_trainable(p), alore_trainable(p) - head, head, m.base / 4, (double)m.total * 1e-6,
           (double)(m.params + m.grads + m.optimizer) * 1e-6, (double)m.arena * 1e-6, (double)m.io * 1e-6);
}

/* Train one way, test it, print its row. The adapter and its logits are the caller's. */
static alore_status one_way(demo *d, const way *w, float *logits, alore_weights **adapter, alore_model **m) {
    alore_plan *p, *eval_plan;
    alore_run *run, *eval;
    alore_model *eval_model;
    alore_writer counter;
    size_t bytes = 0;
    int right = 0;
    double start = now(), unused;
    alore_status s = build(d, w->rules, d->base, true, ALORE_F32, m, &p, &run);
    if (!s) s = train(d, w, run);
    double seconds = now() - start;
    if (!s) s = alore_run_export(run, adapter);
    if (!s) s = build(d, w->rules, d->base, false, ALORE_F32, &eval_model, &eval_plan, &eval);
    if (!s) s = alore_run_load(eval, *adapter);
    if (!s) s = test(d, eval, logits, &right, &unused);
    counter.write = count_bytes;
    counter.user = &bytes;
    if (!s) s = alore_weights_write(*adapter, &counter);
    if (!s)
        printf("%-17s %9zu %9zu bytes %7.1f %% %8.1f s\n", w->name, alore_trainable(p), bytes,
               100.0 * right / d->test.count, seconds);
    fflush(stdout);
    return s;
}

/* The merged network with products in fewer bits: what that costs, and what it saves. */
static alore_status narrow(demo *d, const alore_weights *merged, double full, float *logits) {
    static const alore_dtype types[] = {ALORE_F32, ALORE_BF16, ALORE_I8};
    alore_status s = ALORE_OK;
    for (int i = 0; i < 3 && !s; ++i) {
        alore_model *m;
        alore_plan *p;
        alore_run *run;
        double seconds;
        int right;
        s = build(d, "", merged, false, types[i], &m, &p, &run);
        if (!s) s = test(d, run, logits, &right, &seconds);
        if (!s)
            printf("%-5s   %.1f %% right (%+.1f), %.2f MB of weights\n", alore_dtype_name(types[i]),
                   100.0 * right / d->test.count, 100.0 * (right - full) / d->test.count,
                   (double)alore_plan_memory(p).base * 1e-6);
    }
    return s;
}

/* Melt, certify, prove on every held-out image, time both. */
static alore_status melt(demo *d, const way *w, alore_model *m, const alore_weights *adapter) {
    size_t count = (size_t)d->test.count * 10;
    float *before = (float *)calloc(2 * count, sizeof *before), *after = before + count;
    alore_merge_report r;
    alore_weights *merged;
    alore_model *models[2];
    alore_plan *plans[2];
    alore_run *runs[2];
    double worst = 0, largest = 0, seconds[2] = {1e9, 1e9}, once;
    int right[2] = {0, 0}, same = 0;
    alore_status s = before ? alore_merge(m, d->base, adapter, NULL, &merged, &r) : ALORE_ERR_MEMORY;
    if (!s)
        printf("\nmerged: %d sites, %d tensors changed, worst error %.1e at %s\n", r.sites, r.tensors_changed,
               (double)r.worst_error, r.worst_site);
    if (!s) s = build(d, w->rules, d->base, false, ALORE_F32, &models[0], &plans[0], &runs[0]);
    if (!s) s = alore_run_load(runs[0], adapter);
    if (!s) s = build(d, "", merged, false, ALORE_F32, &models[1], &plans[1], &runs[1]);
    for (int round = 0; round < 6 && !s; ++round) { /* in turn, the best of three */
        s = test(d, runs[round % 2], round % 2 ? after : before, &right[round % 2], &once);
        if (once < seconds[round % 2]) seconds[round % 2] = once;
    }
    for (int i = 0; i < d->test.count && !s; ++i) {
        int a = 0, b = 0;
        for (int c = 0; c < 10; ++c) {
            double x = (double)before[i * 10 + c], e = x - (double)after[i * 10 + c];
            if (before[i * 10 + c] > before[i * 10 + a]) a = c;
            if (after[i * 10 + c] > after[i * 10 + b]) b = c;
            if (e * e > worst * worst) worst = e < 0 ? -e : e;
            if (x * x > largest * largest) largest = x < 0 ? -x : x;
        }
        same += a == b;
    }
    if (!s)
        printf("agree:  %d of %d held-out images get the same class; logits differ by at most %.1e of %.1f\n"
               "speed:  with adapters %.0f images/s, merged %.0f images/s (%.2fx), at the plain network's "
               "cost\n",
               same, d->test.count, worst, largest, d->test.count / seconds[0], d->test.count / seconds[1],
               seconds[0] / seconds[1]);
    if (!s) s = narrow(d, merged, right[1], after);
    if (!s && (same != d->test.count || worst > 1e-3 * largest)) {
        fprintf(stderr, "demo: merged and unmerged disagree\n");
        s = ALORE_ERR_TOLERANCE;
    }
    free(before);
    return s;
}

static alore_status show(demo *d, const char *data) {
    enum { WAYS = sizeof ways / sizeof *ways };
    alore_weights *adapter = NULL;
    alore_model *m = NULL;
    alore_plan *p;
    alore_run *run;
    float *logits = (float *)malloc((size_t)d->test.count * 10 * sizeof(float));
    alore_status s = ALORE_ERR_MEMORY;
    if (logits) s = build(d, ways[WAYS - 1].rules, d->base, true, ALORE_F32, &m, &p, &run);
    if (!s) {
        printf("A ViT that knows CIFAR-10 learns %s from %d images; %d are held out.\n", data, TRAIN,
               d->test.count);
        show_plan(p);
        printf("%-17s %9s %15s %9s %10s   (%d passes, batch %d)\n", "method", "learns", "adapter file",
               "right", "time", d->epochs, BATCH);
    }
    for (int i = 0; i < WAYS && !s; ++i) s = one_way(d, &ways[i], logits, &adapter, &m);
    if (!s) s = melt(d, &ways[WAYS - 1], m, adapter);
    free(logits);
    return s;
}

int main(int argc, char **argv) {
    demo d;
    alore_config config = ALORE_ZERO;
    char why[IMG_WHY] = "";
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    alore_status s;
    memset(&d, 0, sizeof d);
    d.epochs = 5;
    d.threads = cores > 8 ? 8 : cores > 1 ? (int)cores : 1;
    for (int i = 3; i < argc; ++i) {
        bool more = i + 1 < argc;
        if (!strcmp(argv[i], "-q"))
            d.quiet = true;
        else if (!strcmp(argv[i], "--epochs") && more && atoi(argv[i + 1]) > 0)
            d.epochs = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--seed") && more)
            d.seed = strtoull(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--threads") && more && atoi(argv[i + 1]) > 0)
            d.threads = atoi(argv[++i]);
        else
            argc = 0;
    }
    if (argc < 3) {
        fprintf(stderr, "usage: demo FOLDER fashion|digits [--epochs N] [--seed N] [--threads N] [-q]\n");
        return 2;
    }
    d.terminal = !d.quiet && isatty(2);
    config.threads = d.threads;
    if (alore_init(&d.ctx, &config)) return 1;
    s = load(&d, argv[1], argv[2], why) ? show(&d, argv[2]) : ALORE_ERR_IO;
    if (s) fprintf(stderr, "demo: %s\n", why[0] ? why : alore_last_error(&d.ctx)->text);
    free(d.images);
    data_close(&d.train);
    data_close(&d.test);
    alore_uninit(&d.ctx);
    return s != ALORE_OK;
}
