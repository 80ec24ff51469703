/* bench.c - every kernel and whole networks, as shares of what this machine can do now.
 *
 *   make bench                     table, build/bench.json, and a line a case in build/bench_history.csv
 *   build/bench --quick            a few seconds, small shapes
 *   build/bench --threads N        of the networks; kernels run on one
 *   build/bench --isa LEVEL        scalar, avx2, avx512 or neon, in place of the best
 *   build/bench --only TEXT        rows with this in their name
 *   build/bench --out FOLDER       where the two files go (build)
 *
 * How a row is measured stands in tools/bench.h, which `alore bench` uses, too. */
#define _POSIX_C_SOURCE 200809L
#define ALORE_IMPLEMENTATION
#include "../alore.h"
#include "../tools/bench.h"
#include <unistd.h>

static const char *const image_unit = "images/s";

typedef struct net_case {
    const char *backbone, *what, *rules; /* rules "": forward */
    int precision, threads, batch;       /* 0: as many as asked for; two for each of them */
    bool quick, cached; /* in a quick run only; from the second pass over the same images on */
} net_case;

#define MICRO "vit:img=32x32,patch=4,dim=64,depth=6,heads=2,classes=10"
#define TINY  "vit_tiny_patch16_224"
#define BASE  "vit_base_patch16_224"
#define ALORE "alore@qkv|fc1;unfreeze@head"

/* A row of one thread stands before that of all, which is compared with it. */
static const net_case nets[] = {
    {MICRO, "forward", "", BENCH_F32, 0, 16, true, false},
    {MICRO, "forward", "", BENCH_BF16, 0, 16, true, false},
    {MICRO, "forward", "", BENCH_I8, 0, 16, true, false},
    {MICRO, "alore", ALORE, BENCH_F32, 1, 16, true, false},
    {MICRO, "alore", ALORE, BENCH_F32, 0, 16, true, false},
    {MICRO, "alore cached", "alore@qkv#4-5|fc1#4-5;unfreeze@head", BENCH_F32, 0, 16, true, true},
    {TINY, "forward", "", BENCH_F32, 1, 0, false, false},
    {TINY, "forward", "", BENCH_F32, 0, 0, false, false},
    {TINY, "alore", ALORE, BENCH_F32, 0, 0, false, false},
    {TINY, "full", "unfreeze@*", BENCH_F32, 0, 0, false, false},
    {TINY, "alore last 3", "alore@qkv#9-11|fc1#9-11;unfreeze@head", BENCH_F32, 0, 0, false, false},
    {TINY, "alore last 3 cached", "alore@qkv#9-11|fc1#9-11;unfreeze@head", BENCH_F32, 0, 0, false, true},
    {BASE, "forward", "", BENCH_F32, 0, 1, false, false},
    {BASE, "forward", "", BENCH_F32, 1, 0, false, false},
    {BASE, "forward", "", BENCH_F32, 0, 0, false, false},
    {BASE, "forward", "", BENCH_BF16, 0, 0, false, false},
    {BASE, "forward", "", BENCH_I8, 1, 0, false, false},
    {BASE, "forward", "", BENCH_I8, 0, 0, false, false},
    {BASE, "alore", ALORE, BENCH_F32, 1, 0, false, false},
    {BASE, "alore", ALORE, BENCH_F32, 0, 0, false, false},
    {BASE, "alore", ALORE, BENCH_BF16, 0, 0, false, false},
};
enum { NETS = sizeof nets / sizeof *nets };

static alore_status build_net(alore_ctx *ctx, const void *arg, const char *rules, alore_model **out) {
    const net_case *n = (const net_case *)arg;
    alore_vit_config c;
    alore_status s = alore_vit_parse(ctx, n->backbone, &c, NULL);
    if (!s) s = alore_model_create(ctx, out);
    if (!s && *rules) s = alore_attach(*out, rules);
    if (s) return s;
    alore_model *m = *out;
    alore_id y = alore_vit(m, alore_input(m, "image", ALORE_F32, c.height * c.width, 3), &c);
    alore_output(m, "logits", y);
    if (*n->rules)
        alore_output(m, "loss", alore_loss_xent(m, y, alore_input(m, "label", ALORE_I32, 1, 1), 0));
    return alore_model_finish(m);
}

/* One network on random weights, of the threads of `b`. */
static bool run_net(bench *b, const net_case *n, int most, bench_row *row) {
    alore_ctx ctx;
    alore_config config = bench_config(b, b->threads);
    alore_plan_opts o = ALORE_ZERO;
    alore_weights *w = NULL, *packed = NULL;
    alore_model *m = NULL;
    alore_plan *p = NULL;
    bench_stepper step = ALORE_ZERO;
    const int batch = n->batch ? n->batch : 2 * most;
    memset(row, 0, sizeof *row);
    b->precision = n->precision;
    o.batch = batch;
    o.lanes = b->threads; /* where fewer are left, records are split */
    o.train = step.train = *n->rules != 0;
    bench_opts(b, &o);
    alore_status s = alore_init(&ctx, &config);
    if (!s) s = bench_weights(&ctx, build_net, n, 1, &w);
    if (!s) s = build_net(&ctx, n, n->rules, &m);
    if (!s) s = alore_plan_create(m, &o, &p);
    if (!s) s = alore_weights_pack(p, w, NULL, &packed);
    if (!s) s = alore_run_create(p, packed, &step.run);
    if (!s) {
        alore_vit_config c;
        alore_vit_parse(&ctx, n->backbone, &c, NULL);
        bench_fill((float *)alore_run_input(step.run, "image"),
                   (size_t)batch * 3 * (size_t)(c.height * c.width), 0, 1, 5);
    }
    if (!s && n->cached) s = bench_cache(&step, p, batch);
    snprintf(row->name, sizeof row->name, "%s %s %s b%d t%d",
             n->backbone[3] == ':' ? "vit_micro" : n->backbone, n->what, bench_types[n->precision], batch,
             b->threads);
    bool good = !s && bench_step(&step) >= 0 && bench_network(b, p, &step, batch, row);
    if (!good) bench_fail(b, row->name, alore_last_error(&ctx)->text);
    free(step.cache.memory);
    alore_uninit(&ctx);
    b->precision = BENCH_F32;
    return good;
}

static const char *unit_of(const bench_row *r, bool net) {
    return net ? image_unit : r->type < BENCH_TYPES ? "GFLOP/s" : "GB/s";
}

static void print_row(const bench_row *r, bool net) {
    printf("%-50s %9.2f %-8s", r->name, r->rate, unit_of(r, net));
    if (r->share > 0) printf(" %6.1f %%", 100 * r->share);
    printf("%*s %9.2f to %-9.2f %2d of %d", r->share > 0 ? 2 : 11, "", r->low, r->high, r->kept, r->samples);
    if (r->against > 0) printf("   %.2f times one thread", r->against);
    printf("\n");
    fflush(stdout);
}

static void put_rows(FILE *f, const bench_row *rows, int count, bool net) {
    for (int i = 0; i < count; ++i) {
        const bench_row *r = &rows[i];
        fprintf(f,
                "%s\n  "
                "{\"name\":\"%s\",\"%s\":%.6g,\"low\":%.6g,\"high\":%.6g,\"share\":%.4g,\"kept\":%d,"
                "\"samples\":%d",
                i ? "," : "", r->name,
                net                     ? "images_per_second"
                : r->type < BENCH_TYPES ? "gflops"
                                        : "gbs",
                r->rate, r->low, r->high, r->share, r->kept, r->samples);
        if (r->against > 0) fprintf(f, ",\"against_one_thread\":%.4g", r->against);
        fprintf(f, "}");
    }
}

/* The first line of a file, or of what a command writes, that begins with `key`, behind the key and ": "; ""
 * where there is none. What JSON or a table would have to quote becomes a blank. */
static const char *line_of(FILE *f, bool command, const char *key, char *out, size_t room) {
    const size_t n = strlen(key);
    bool found = false;
    while (f && !found && fgets(out, (int)room, f)) found = !strncmp(out, key, n);
    if (f && command) pclose(f);
    if (f && !command) fclose(f);
    if (!found) out[0] = 0;
    for (char *c = out; *c; ++c)
        if (*c < ' ' || *c == ',' || *c == '"' || *c == '\\') *c = ' ';
    while (*out && out[strlen(out) - 1] == ' ') out[strlen(out) - 1] = 0;
    const char *value = out + (*out ? n : 0);
    return value + strspn(value, "\t :");
}

/* The whole result as one object, and a line a case for the history. */
static bool save(const char *folder, const bench *one, const bench *all, const bench_row *rows, int kernels,
                 int count) {
    char path[600], date[32], name[256], describe[128];
    const char *cpu = line_of(fopen("/proc/cpuinfo", "r"), false, "model name", name, sizeof name);
    const char *commit =
        line_of(popen("git describe --always --dirty 2>/dev/null", "r"), true, "", describe, sizeof describe);
    time_t t = time(NULL);
    struct tm utc;
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &utc));
    snprintf(path, sizeof path, "%.500s/bench.json", folder);
    FILE *f = fopen(path, "w");
    if (!f) return false;
    fprintf(f, "{\"date\":\"%s\",\"version\":\"%d.%d.%d\",\"commit\":\"%s\",\"isa\":\"%s\",\"cpu\":\"%s\",",
            date, ALORE_VERSION_MAJOR, ALORE_VERSION_MINOR, ALORE_VERSION_PATCH, commit, bench_isa(one), cpu);
    fprintf(f, "\"threads\":%d,\n", all->threads);
    fprintf(f, "\"peak_f32\":%.6g,\"peak_bf16\":%.6g,\"peak_i8\":%.6g,\"peak_f32_threads\":%.6g,\n\"rows\":[",
            bench_peak(one, BENCH_F32), bench_peak(one, BENCH_BF16), bench_peak(one, BENCH_I8),
            bench_peak(all, BENCH_F32));
    put_rows(f, rows, kernels, false);
    fprintf(f, "],\n\"networks\":[");
    put_rows(f, rows + kernels, count - kernels, true);
    fprintf(f, "]}\n");
    bool good = !ferror(f);
    if (fclose(f) || !good) return false;
    snprintf(path, sizeof path, "%.500s/bench_history.csv", folder);
    if (!(f = fopen(path, "a"))) return false;
    if (ftell(f) == 0) fprintf(f, "date,version,isa,case,unit,value,share,kept,commit,cpu,threads\n");
    for (int i = 0; i < count; ++i)
        fprintf(f, "%s,%d.%d.%d,%s,%s,%s,%.6g,%.4g,%d,%s,%s,%d\n", date, ALORE_VERSION_MAJOR,
                ALORE_VERSION_MINOR, ALORE_VERSION_PATCH, bench_isa(one), rows[i].name,
                unit_of(&rows[i], i >= kernels), rows[i].rate, rows[i].share, rows[i].kept, commit, cpu,
                rows[i].threads);
    good = !ferror(f);
    return !fclose(f) && good;
}

static void tell(void *user, const char *what, int done, int total) {
    (void)user;
    if (isatty(2)) fprintf(stderr, "\r\033[K%d of %d: %s", done + 1, total, what);
}

static int usage(void) {
    fprintf(stderr, "bench [--quick] [--threads N] [--isa LEVEL] [--only TEXT] [--out FOLDER]\n");
    return 2;
}

/* A level that this CPU has, by its name; 0: none. */
static int find_isa(const char *name) {
    for (int i = ALORE_ISA_NEON; i > 0; --i) {
        const char *is = alore_isa_name((alore_isa)i);
        if (is && !strcmp(is, name)) return i;
    }
    return 0;
}

int main(int argc, char **argv) {
    static bench one, alone, all; /* kernels; networks on one thread; on all */
    static bench_row rows[BENCH_ROWS + NETS];
    const char *folder = "build";
    long threads = sysconf(_SC_NPROCESSORS_ONLN);
    int kernels, count;
    for (int i = 1; i < argc; ++i) {
        if (!strcmp(argv[i], "--quick"))
            one.quick = true;
        else if (!strcmp(argv[i], "--threads") && i + 1 < argc)
            threads = strtol(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--isa") && i + 1 < argc && (one.isa = find_isa(argv[i + 1])) > 0)
            ++i;
        else if (!strcmp(argv[i], "--only") && i + 1 < argc)
            one.only = argv[++i];
        else if (!strcmp(argv[i], "--out") && i + 1 < argc)
            folder = argv[++i];
        else
            return usage();
    }
    if (threads < 1 || threads > BENCH_THREADS) return usage();
    one.progress = tell;
    all.quick = one.quick;
    all.isa = one.isa;
    all.least = 2;
    all.most = one.quick ? 3 : 12;
    all.sample = 1e-6; /* a sample is one step */
    all.patience = one.quick ? 0.2 : 2.0;
    alone = all;
    bool good = bench_open(&one, 1) && bench_open(&alone, 1) && bench_open(&all, (int)threads);
    kernels = good ? bench_kernels(&one, rows) : 0;
    count = kernels;
    if (isatty(2)) fprintf(stderr, "\r\033[K");
    printf("alore %d.%d.%d, %s; a core does %.1f GFLOP/s in f32, %s %.1f, %s %.1f; kernels on one thread\n",
           ALORE_VERSION_MAJOR, ALORE_VERSION_MINOR, ALORE_VERSION_PATCH, bench_isa(&one),
           bench_peak(&one, BENCH_F32),
           bench_has(&one, BENCH_BF16) ? "in bf16" : "in bf16 (no products of its own that pay)",
           bench_peak(&one, BENCH_BF16),
           bench_has(&one, BENCH_I8) ? "in i8" : "in i8 (no products of its own)",
           bench_peak(&one, BENCH_I8));
#if defined(ALORE_BLAS) && defined(OPENBLAS_VERSION)
    printf("%s, its kernels for %s (OPENBLAS_CORETYPE names others)\n", OPENBLAS_VERSION, openblas_get_corename());
#endif
    printf("%-50s %9s %-8s %8s   %22s samples that count\n", "case", "median", "", "share", "range");
    for (int i = 0; i < kernels; ++i) print_row(&rows[i], false);
    good = good && !one.why;
    for (int i = 0; i < NETS && good; ++i) {
        const net_case *n = &nets[i];
        bench *b = n->threads == 1 ? &alone : &all;
        if (one.only && !strstr(n->backbone, one.only) && !strstr(n->what, one.only)) continue;
        if (one.quick != n->quick || (n->threads == 1 && threads == 1)) continue;
        bench_row *row = &rows[count++];
        good = run_net(b, n, (int)threads, row);
        if (n->cached) row->share = 0; /* what is not done has no share */
        if (i && threads > 1 && !n->threads && nets[i - 1].threads == 1)
            row->against = row->rate / row[-1].rate;
        if (good) print_row(row, true);
    }
    if (good && !save(folder, &one, &all, rows, kernels, count))
        good = bench_fail(&one, folder, "cannot be written");
    if (!good) fprintf(stderr, "bench: %s\n", one.why ? one.why : alone.why ? alone.why : all.why);
    bench_close(&one);
    bench_close(&alone);
    bench_close(&all);
    return !good;
}
