/* alore.c - the command line, the header's first user.
 *
 *   cc -std=c99 -O3 tools/alore.c -o build/alore -lm -lpthread
 *   build/alore help
 *
 * Two tables, of commands and of options, drive parsing and help. A command returns
 * its exit status: 0 done, 1 the input, a file or a check is bad, 2 wrong usage; the
 * one line that says why is kept by fail() and printed last. Whatever a command takes
 * is freed in main: the library's objects by the context, blocks by the list in `app`.
 * Results go to stdout, as lines or with --json as one object; all else to stderr. */
#define _POSIX_C_SOURCE 200809L
#define ALORE_IMPLEMENTATION
#include "../alore.h"
#include "bench.h"
#include "data.h"
#include "peft.h"
#include "search.h"
#include <float.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
long syscall(long number, ...); /* POSIX has no word for it */
#endif

/* ---- The settings of one call ----------------------------------------------- */

typedef struct settings {
    const char *weights, *backbone, *attach, *adapter, *data, *val, *transform, *out;
    const char *init_adapter, *experts, *checkpoint, *resume, *log, *scores, *supernet;
    int64_t threads, classes, batch, span, steps, accumulate, every;
    int64_t budget, batches, tau, rank, population, generations, top, mutate, cross, least, most;
    uint64_t seed, memory, cache;
    double epochs, lr, lr_min, decay, eps, momentum, clip, smoothing, drop_path, tolerance;
    double betas[2], alpha, beta, probability, retrain;
    double warmup[2]; /* steps, or with [1] passes */
    int isa, precision, head_init, recompute, store, optimizer, decay_what, schedule, shuffle;
    int keep, dtype, as, names, cache_type, structured; /* indices into the words of their options */
    bool json, quiet, help, any_base, train, records, features, drop_last, quick, serve, frozen;
} settings;

typedef struct block { /* memory that lives as long as the call */
    struct block *next;
    void *data;
} block;

typedef struct app {
    settings set;
    bool given[96]; /* option i of the table stands on the command line */
    const struct command *command;
    const char *operand; /* the argument that is no option, or NULL */
    alore_ctx ctx;
    alore_weights *packed; /* the base as kernels read it, for all runs of the command */
    size_t held;           /* bytes of its runs, and of what they are to leave free */
    block *blocks;
    double begun; /* when the program was */
    double shown; /* when progress was last shown */
    bool line;    /* a line of progress stands on the terminal */
    bool inner;   /* progress is told by what goes on around */
    char message[1600];
} app;

typedef struct command {
    const char *name;
    unsigned bit;
    const char *usage, *help;
    const char *required; /* options, separated by blanks */
    int (*run)(app *a);   /* NULL: of a later version */
} command;

/* clang-format off */
enum {
    C_INFO = 1, C_SITES = 2, C_PLAN = 4, C_TRAIN = 8, C_EVAL = 16, C_PREDICT = 32, C_MERGE = 64,
    C_EXPORT = 128, C_COUNT = 256, C_HELP = 512, C_BENCH = 1024,
    C_SPT = 1 << 14, C_GLORA = 1 << 15, C_SEARCH = C_SPT | C_GLORA, /* the two kinds of a search */
    C_ADAPTER = C_EVAL | C_PREDICT | C_MERGE | C_EXPORT,
    C_LEARN = C_TRAIN | C_GLORA,
    C_DATA = C_TRAIN | C_EVAL | C_PREDICT | C_SEARCH,
    C_NET = C_SITES | C_PLAN | C_TRAIN | C_ADAPTER | C_COUNT | C_BENCH | C_SEARCH,
    C_ALL = C_NET | C_INFO | C_HELP
};
/* clang-format on */

/* ---- Saying what is wrong --------------------------------------------------- */

/* Control characters would break the line or move the cursor: print them as ?. */
static void clean(char *s)
{
    for (; *s; ++s)
        if ((unsigned char)*s < 32 || *s == 127) *s = '?';
}

/* Keep "what: why" as the call's last word; returns `code`. */
IMG_FORMAT(4) static int fail(app *a, int code, const char *what, const char *format, ...)
{
    va_list args;
    int n = snprintf(a->message, sizeof a->message, "%.300s: ", what);
    va_start(args, format);
    vsnprintf(a->message + n, sizeof a->message - (size_t)n, format, args);
    va_end(args);
    clean(a->message);
    return code;
}

/* The library's last error, with the site where it names one. */
static int fail_library(app *a, int code, const char *what)
{
    const alore_error *e = alore_last_error(&a->ctx);
    bool site = e->site[0] && !strstr(e->text, e->site);
    const char *text = e->text[0] ? e->text : alore_status_text(e->status);
    size_t n = strlen(what);
    if (!strncmp(text, what, n) && text[n] == ' ') text += n + 1;
    return fail(a, code, what, "%s%s%s", site ? e->site : "", site ? ": " : "", text);
}

static void end_line(app *a)
{
    if (a->line) fputs("\r\033[K", stderr);
    a->line = false;
}

/* A remark on stderr; -q silences it. */
IMG_FORMAT(2) static void remark(app *a, const char *format, ...)
{
    char text[800];
    va_list args;
    if (a->set.quiet) return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    clean(text);
    end_line(a);
    fprintf(stderr, "alore: remark: %s\n", text);
}

static void library_remark(void *user, int level, const char *text)
{
    (void)level;
    remark((app *)user, "%s", text);
}

/* ---- Memory, time, progress, files ------------------------------------------ */

/* Let `data` be freed at the end of the call; false without memory. */
static bool own(app *a, void *data)
{
    block *b = data ? (block *)malloc(sizeof *b) : NULL;
    if (!b) {
        free(data);
        fail(a, 1, "memory", "malloc refused");
        return false;
    }
    b->data = data;
    b->next = a->blocks;
    a->blocks = b;
    return true;
}

/* Zeroed memory until the end of the call, or NULL with the message set. */
static void *take(app *a, size_t count, size_t each)
{
    void *data = calloc(count ? count : 1, each);
    return own(a, data) ? data : NULL;
}

/* Formatted text until the end of the call; "" without memory. */
IMG_FORMAT(2) static char *text_of(app *a, const char *format, ...)
{
    static char nothing[1];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = n < 0 ? NULL : (char *)take(a, (size_t)n + 1, 1);
    if (!text) return nothing;
    va_start(args, format);
    vsnprintf(text, (size_t)n + 1, format, args);
    va_end(args);
    return text;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* `done` of `total` items since `start`: a bar on a terminal, else now and then a line. */
static void progress(app *a, const char *what, double done, double total, double start, const char *note)
{
    char bar[25];
    bool tty = isatty(2) != 0;
    double t = now(), spent = t - start, left = done > 0 ? spent * (total - done) / done : 0;
    if (left > 1e6) left = 1e6;
    if (a->set.quiet || a->inner || t - a->shown < (tty ? 0.1 : 5)) return;
    a->shown = t;
    for (int i = 0; i < 24; ++i) bar[i] = total > 0 && i < 24 * done / total ? '#' : '.';
    bar[24] = 0;
    fprintf(stderr, "%s%s %s%s%s%.0f/%.0f%s  %.4g images/s  ETA %d:%02d%s", tty ? "\r\033[K" : "", what,
            tty ? "[" : "", tty ? bar : "", tty ? "] " : "", done, total, note,
            done / (spent > 0 ? spent : 1), (int)(left / 60), (int)left % 60, tty ? "" : "\n");
    a->line = tty;
}

/* Case `done` of `total` begins; on a terminal only. */
static void progress_line(app *a, const char *what, int done, int total)
{
    if (a->set.quiet || !isatty(2)) return;
    fprintf(stderr, "\r\033[K%d of %d: %s", done + 1, total, what);
    a->line = true;
}

typedef struct bytes { /* a writer's memory */
    unsigned char *data;
    size_t count, room;
} bytes;

static bool bytes_write(void *user, const void *data, size_t count)
{
    bytes *b = (bytes *)user;
    if (count > SIZE_MAX / 4 - b->count) return false;
    if (b->count + count > b->room) {
        size_t room = 2 * (b->count + count);
        unsigned char *wider = (unsigned char *)realloc(b->data, room);
        if (!wider) return false;
        b->data = wider;
        b->room = room;
    }
    if (count) memcpy(b->data + b->count, data, count);
    b->count += count;
    return true;
}

static bool write_out(void *user, const void *data, size_t count)
{
    return !count || fwrite(data, 1, count, (FILE *)user) == count;
}

/* Begin a file beside its place, or NULL with the message set. */
static FILE *save_open(app *a, const char *path, const char **part)
{
    *part = text_of(a, "%s.part%ld", path, (long)getpid());
    FILE *f = fopen(*part, "wb");
    if (!f) fail(a, 1, path, "cannot be written: %s", strerror(errno));
    return f;
}

/* End it: rename it to its place, or remove it where not all of it is good. */
static int save_close(app *a, FILE *f, const char *path, const char *part, bool good)
{
    if (fclose(f)) good = false;
    if (good && !rename(part, path)) return 0;
    fail(a, 1, path, "cannot be written: %s", strerror(errno));
    remove(part);
    return 1;
}

/* Work of hours must not end at a place where no file can be renamed to, or where another file is. */
static int check_out(app *a)
{
    static const char *const names[] = {"--out", "--checkpoint", "--scores", "--supernet", "--log"};
    const settings *s = &a->set;
    const char *const outs[] = {s->out, s->checkpoint, s->scores, s->supernet, s->log};
    const bool merge = a->command->bit == C_MERGE; /* may be in place, as may checkpoints and adapters */
    const char *const ins[] = {merge ? NULL : s->weights, s->data, s->val, s->init_adapter, s->resume};
    struct stat info, other;
    for (int i = 0; i < 5; ++i) {
        const char *out = outs[i], *slash = out ? strrchr(out, '/') : NULL;
        const bool there = out && !stat(out, &info), log = i == 4;
        for (int k = 0; k < i; ++k)
            if (out && outs[k] && !strcmp(out, outs[k]))
                return fail(a, 2, names[i], "%s is what %s writes", out, names[k]);
        for (int k = 0; k < (log ? 5 : 3) && there; ++k)
            if (ins[k] && !stat(ins[k], &other) && info.st_dev == other.st_dev && info.st_ino == other.st_ino)
                return fail(a, 2, names[i], "%s is read, too", out);
        if (!out || log) continue;
        if (there && S_ISDIR(info.st_mode)) return fail(a, 1, out, "is a folder");
        if (there && !S_ISREG(info.st_mode)) return fail(a, 1, out, "is no file that can be replaced");
        if (access(text_of(a, "%.*s", slash ? (int)(slash - out) + 1 : 1, slash ? out : "."), W_OK))
            return fail(a, 1, out, "cannot be written: %s", strerror(errno));
    }
    return 0;
}

/* ---- Results: lines, or one JSON object ------------------------------------- */

typedef struct report {
    FILE *to;
    bool json, comma;
} report;

/* A JSON string; without quotes it is text that is safe to print. */
static void put_text(FILE *to, const char *s, size_t count, bool quotes)
{
    if (quotes) putc('"', to);
    for (size_t i = 0; i < count; ++i) {
        unsigned char c = (unsigned char)s[i];
        if (c < 32 || c == 127)
            fprintf(to, "\\u%04x", c);
        else {
            if (quotes && (c == '"' || c == '\\')) putc('\\', to);
            putc(c, to);
        }
    }
    if (quotes) putc('"', to);
}

/* The shortest digits that read back as the same double, or float where it is one. */
static const char *number(double x, char out[40])
{
    bool single = fabs(x) <= (double)FLT_MAX && (double)(float)x == x;
    if (!isfinite(x)) return "null";
    for (int digits = 1; digits <= 17; ++digits) {
        snprintf(out, 40, "%.*g", digits, x);
        double back = strtod(out, NULL);
        if (single ? (double)(float)back == x : !(back < x || back > x)) break;
    }
    return out;
}

static void put_key(report *r, const char *key)
{
    if (!r->json) {
        fprintf(r->to, "%-18s  ", key ? key : "");
        return;
    }
    if (r->comma) putc(',', r->to);
    r->comma = true;
    if (!key) return;
    put_text(r->to, key, strlen(key), true);
    putc(':', r->to);
}

static void put_open(report *r, const char *key, char bracket)
{
    if (!r->json) return;
    if (key || r->comma) put_key(r, key);
    putc(bracket, r->to);
    r->comma = false;
}

static void put_close(report *r, char bracket)
{
    if (!r->json) return;
    putc(bracket, r->to);
    r->comma = true;
}

/* The whole result, from begin to end. */
static report put_begin(const app *a)
{
    report r = {stdout, a->set.json, false};
    put_open(&r, NULL, '{');
    return r;
}

static void put_end(report *r)
{
    put_close(r, '}');
    if (r->json) putc('\n', r->to);
}

static void put_string(report *r, const char *key, const char *s)
{
    put_key(r, key);
    if (s)
        put_text(r->to, s, strlen(s), r->json);
    else
        fputs(r->json ? "null" : "-", r->to);
    if (!r->json) putc('\n', r->to);
}

static void put_real(report *r, const char *key, double x)
{
    char text[40];
    put_key(r, key);
    fprintf(r->to, "%s%s", number(x, text), r->json ? "" : "\n");
}

static void put_whole(report *r, const char *key, uint64_t v)
{
    put_key(r, key);
    fprintf(r->to, "%llu%s", (unsigned long long)v, r->json ? "" : "\n");
}

/* A fraction of one; as text in percent. */
static void put_share(report *r, const char *key, double x)
{
    if (r->json)
        put_real(r, key, x);
    else
        fprintf(r->to, "%-18s  %.2f %%\n", key, 100 * x);
}

/* ---- Options ---------------------------------------------------------------- */

typedef enum kind { FLAG, TEXT, WORD, WHOLE, SEED, REAL, BYTES, PAIR, WARMUP } kind;

typedef struct option {
    const char *name, *arg; /* words are joined by '|' */
    kind kind;
    size_t field;
    double least, most;
    const char *start; /* the default, as one would give it, or NULL */
    unsigned commands;
    const char *help;
} option;

#define AT(field) offsetof(settings, field)
/* clang-format off */
static const option options[] = {
    {"--weights", "FILE", TEXT, AT(weights), 0, 0, NULL, C_NET, "safetensors checkpoint in the names of timm or of transformers' ViT"},
    {"--backbone", "SPEC", TEXT, AT(backbone), 0, 0, NULL, C_NET,
     "a timm name or vit:key=value,...; else from the metadata, else from the shapes"},
    {"--classes", "N", WHOLE, AT(classes), 1, 1 << 24, NULL, C_NET,
     "outputs of the head; else as the data, the backbone or the head say"},
    {"--head-init", "zero|normal|keep", WORD, AT(head_init), 0, 0, "zero", C_NET,
     "makes the head new, or forbids that"},
    {"--attach", "RULES", TEXT, AT(attach), 0, 0, NULL, C_SITES | C_PLAN | C_TRAIN | C_COUNT | C_BENCH,
     "what learns where: \"alore:rank=4@qkv|fc1;unfreeze@head\""},
    {"--adapter", "FILE", TEXT, AT(adapter), 0, 0, NULL, C_ADAPTER | C_SITES | C_PLAN,
     "brings its rules, its head and the fingerprint of its base; or a folder of PEFT"},
    {"--experts", "LIST", TEXT, AT(experts), 0, 0, NULL, C_ADAPTER,
     "only these of the adapter's experts (alore, kron, mlae, kadaptation), from 0: \"0,2-3\""},
    {"--any-base", NULL, FLAG, AT(any_base), 0, 0, NULL, C_ADAPTER | C_SITES | C_PLAN | C_LEARN,
     "take the adapter though it was made for another base"},
    {"--data", "DATA", TEXT, AT(data), 0, 0, NULL, C_DATA | C_BENCH,
     "FILE.safetensors, DIR, list:FILE[,root=DIR], idx:IMAGES,LABELS, cifar10:DIR, "
     "cifar100:DIR, and [a:b] behind any of them"},
    {"--val", "DATA", TEXT, AT(val), 0, 0, NULL, C_LEARN,
     "evaluate after every pass; search: tells subnets apart"},
    {"--transform", "TEXT", TEXT, AT(transform), 0, 0, NULL, C_DATA | C_BENCH,
     "resize=HxW[:bilinear|bicubic], short=N[:..], crop=N|HxW, mean=M, std=S, joined by "
     "commas; else the checkpoint's, else the family's"},
    {"--out", "PATH", TEXT, AT(out), 0, 0, NULL,
     C_TRAIN | C_SEARCH | C_PREDICT | C_MERGE | C_EXPORT, "the result"},
    {"--batch", "N", WHOLE, AT(batch), 1, 1 << 20, "32", C_PLAN | C_DATA | C_BENCH, "samples at a time"},
    {"--span", "N", WHOLE, AT(span), 1, 1 << 20, "1", C_TRAIN | C_SEARCH | C_PLAN | C_BENCH,
     "samples of a batch that training runs as one matrix: larger products, N times the activations, other roundings"},
    {"--init-adapter", "FILE", TEXT, AT(init_adapter), 0, 0, NULL, C_LEARN,
     "start from these parameters, the frozen ones, too; or from a folder of PEFT"},
    {"--epochs", "E", REAL, AT(epochs), 0, 1e6, "10", C_LEARN, "passes over the data"},
    {"--steps", "S", WHOLE, AT(steps), 0, 1e9, NULL, C_LEARN | C_BENCH,
     "steps, in place of --epochs; bench: how many are timed, 1 to 64, else 5"},
    {"--accumulate", "N", WHOLE, AT(accumulate), 1, 1 << 20, "1", C_LEARN, "batches to a step"},
    {"--optimizer", "adamw|sgd", WORD, AT(optimizer), 0, 0, "adamw", C_LEARN | C_PLAN | C_BENCH, ""},
    {"--lr", "X", REAL, AT(lr), 0, 1e6, "1e-3", C_LEARN, "learning rate"},
    {"--weight-decay", "X", REAL, AT(decay), 0, 1e6, "0", C_LEARN,
     "AdamW: decoupled; SGD: added to the gradient"},
    {"--decay", "all|matrices", WORD, AT(decay_what), 0, 0, "all", C_LEARN, "what decays"},
    {"--betas", "A,B", PAIR, AT(betas), 0, 0.9999999, "0.9,0.999", C_LEARN, "of AdamW"},
    {"--eps", "X", REAL, AT(eps), 0, 1, "1e-8", C_LEARN, "of AdamW"},
    {"--momentum", "X", REAL, AT(momentum), 0, 0.9999999, "0", C_LEARN | C_PLAN | C_BENCH, "of SGD"},
    {"--schedule", "constant|cosine", WORD, AT(schedule), 0, 0, "cosine", C_LEARN, ""},
    {"--warmup", "STEPS|xE", WARMUP, AT(warmup), 0, 1e9, "0", C_LEARN, "steps, or E passes, of rising rate"},
    {"--lr-min", "X", REAL, AT(lr_min), 0, 1e6, "0", C_LEARN, "where the cosine ends"},
    {"--clip", "NORM", REAL, AT(clip), 0, 1e30, "0", C_LEARN, "longest gradient, 0: any"},
    {"--smoothing", "X", REAL, AT(smoothing), 0, 0.9999999, "0", C_LEARN, "of the labels"},
    {"--drop-path", "X", REAL, AT(drop_path), 0, 0.9999999, "0", C_TRAIN | C_SEARCH, "of the last block"},
    {"--shuffle", "on|off", WORD, AT(shuffle), 0, 0, "on", C_TRAIN | C_SEARCH, "order of each pass"},
    {"--drop-last", NULL, FLAG, AT(drop_last), 0, 0, NULL, C_LEARN,
     "leave out what does not fill the last batch of a pass"},
    {"--train", NULL, FLAG, AT(train), 0, 0, NULL, C_PLAN | C_BENCH, "training, not inference"},
    {"--recompute", "keep|blocks|fit", WORD, AT(recompute), 0, 0, "keep",
     C_TRAIN | C_SEARCH | C_PLAN | C_BENCH,
     "keep activations, keep block inputs, or the least that fits --memory"},
    {"--store", "f32|bf16|small", WORD, AT(store), 0, 0, "f32", C_TRAIN | C_SEARCH | C_PLAN | C_BENCH,
     "what waits for the backward; small: bf16, and slopes of activations in 8 bits; with --precision bf16 "
     "it is bf16 unless said"},
    {"--store-frozen", NULL, FLAG, AT(frozen), 0, 0, NULL, C_TRAIN,
     "the adapter holds random frozen tensors, too, not only the seed that makes them"},
    {"--records", NULL, FLAG, AT(records), 0, 0, NULL, C_PLAN | C_BENCH,
     "plan: print every record; bench: where the time of a step goes by kinds of records, on one thread"},
    {"--checkpoint", "FILE", TEXT, AT(checkpoint), 0, 0, NULL, C_TRAIN,
     "the state of training, written at the end and every --every steps"},
    {"--every", "STEPS", WHOLE, AT(every), 1, 1e9, NULL, C_TRAIN, "needs --checkpoint"},
    {"--resume", "FILE", TEXT, AT(resume), 0, 0, NULL, C_TRAIN, "go on from a checkpoint"},
    {"--keep", "last|best", WORD, AT(keep), 0, 0, "last", C_LEARN, "best by top-1 on --val"},
    {"--cache", "BYTES[K|M|G]", BYTES, AT(cache), 0, 0, NULL, C_TRAIN,
     "keep what the layers below the first adapter make of each item, as many as fit; --memory counts all of it"},
    {"--cache-type", "f32|bf16", WORD, AT(cache_type), 0, 0, "f32", C_TRAIN,
     "f32 changes no bit; bf16 takes half and rounds: gradients of small ViTs are off by 0.25 %, at worst 2.3 %"},
    {"--log", "FILE", TEXT, AT(log), 0, 0, NULL, C_LEARN, "one JSON object for each step"},
    {"--features", NULL, FLAG, AT(features), 0, 0, NULL, C_PREDICT, "write the head's input, too"},
    {"--dtype", "f32|f16|bf16", WORD, AT(dtype), 0, 0, NULL, C_MERGE,
     "type of the tensors that change; else as they are"},
    {"--tolerance", "X", REAL, AT(tolerance), 0, 1, "1e-5", C_MERGE,
     "largest relative difference of merged and unmerged sites, as stored; else the exact matrix is judged"},
    {"--budget", "N", WHOLE, AT(budget), 1, 1e9, NULL, C_SPT, "numbers that may learn, without the head"},
    {"--rank", "R", WHOLE, AT(rank), 1, 65536, NULL, C_SEARCH, "of the LoRA (8), of the supernet (4)"},
    {"--structured", "lora", WORD, AT(structured), 0, 0, "lora", C_SPT, "what a sensitive matrix gets"},
    {"--batches", "N", WHOLE, AT(batches), 1, 1e6, "16", C_SPT, "that the sensitivities are summed over"},
    {"--alpha", "X", REAL, AT(alpha), 1e-6, 1e6, "10", C_SPT,
     "a matrix gets a LoRA of P numbers where P/X of its entries or more are chosen"},
    {"--beta", "X", REAL, AT(beta), 1e-6, 1e6, "5", C_SPT, "a vector learns whole where 1/X of it is chosen"},
    {"--tau", "N", WHOLE, AT(tau), 1, 1e8, "20000", C_SPT,
     "the N, 2 N, .. 79 N most sensitive entries are tried; the total next to the budget is taken"},
    {"--scores", "FILE", TEXT, AT(scores), 0, 0, NULL, C_SPT, "write all sensitivities, by tensor"},
    {"--least", "N", WHOLE, AT(least), 0, 1e9, "0", C_GLORA, "numbers of a subnet, without the head"},
    {"--most", "N", WHOLE, AT(most), 1, 1e9, NULL, C_GLORA, "the same, at most; else any"},
    {"--population", "N", WHOLE, AT(population), 1, 1e5, "50", C_GLORA, "subnets of a generation"},
    {"--generations", "N", WHOLE, AT(generations), 1, 1e5, "20", C_GLORA, "the first is random"},
    {"--top", "N", WHOLE, AT(top), 1, 1e5, "10", C_GLORA, "the best so far, which are parents"},
    {"--mutate", "N", WHOLE, AT(mutate), 0, 1e5, "25", C_GLORA, "mutants of a generation"},
    {"--cross", "N", WHOLE, AT(cross), 0, 1e5, "25", C_GLORA, "children of two; random subnets fill up"},
    {"--probability", "X", REAL, AT(probability), 0, 1, "0.2", C_GLORA,
     "of a mutant's gene to be drawn anew"},
    {"--retrain", "E", REAL, AT(retrain), 0, 1e6, "0", C_GLORA, "passes over the data with the best subnet"},
    {"--supernet", "FILE", TEXT, AT(supernet), 0, 0, NULL, C_GLORA,
     "write the trained supernet; --init-adapter FILE --epochs 0 searches it again"},
    {"--quick", NULL, FLAG, AT(quick), 0, 0, NULL, C_BENCH, "small shapes and few samples: does it run?"},
    {"--serve", NULL, FLAG, AT(serve), 0, 0, NULL, C_BENCH,
     "NETWORK: say READY, then answer each line with the seconds of one step, q with the peak memory"},
    {"--as", "peft|lora", WORD, AT(as), 0, 0, NULL, C_EXPORT,
     "peft: a folder that PEFT loads; lora: a file of plain LoRA"},
    {"--names", "timm|hf4|hf5", WORD, AT(names), 0, 0, NULL, C_EXPORT,
     "of the modules for PEFT: timm's, or those of a ViT in transformers 4 or 5; else the base file's"},
    {"--threads", "N", WHOLE, AT(threads), 1, 1024, NULL, C_ALL, "else the cores that it may use"},
    {"--isa", "auto|scalar|avx2|avx512|neon", WORD, AT(isa), 0, 0, "auto", C_ALL, "the CPU's kernels"},
    {"--precision", "f32|bf16|i8", WORD, AT(precision), 0, 0, "f32", C_ALL,
     "of products with frozen weights; i8 for inference alone"},
    {"--seed", "N", SEED, AT(seed), 0, 0, "0", C_ALL, "of everything that is drawn"},
    {"--memory", "BYTES[K|M|G]", BYTES, AT(memory), 0, 0, NULL, C_ALL,
     "of the base, all that runs beside each other and --cache: fewer lanes, recompute to fit, or refuse"},
    {"--json", NULL, FLAG, AT(json), 0, 0, NULL, C_ALL, "results as one JSON object"},
    {"-q", NULL, FLAG, AT(quiet), 0, 0, NULL, C_ALL, "no progress, no remarks"},
    {"--help", NULL, FLAG, AT(help), 0, 0, NULL, C_ALL, "this"},
};
/* clang-format on */
enum { OPTIONS = sizeof options / sizeof *options };

static int find_option(const char *name, size_t n)
{
    for (int i = 0; i < OPTIONS; ++i)
        if (strlen(options[i].name) == n && !memcmp(options[i].name, name, n)) return i;
    return -1;
}

static bool is_given(const app *a, const char *name)
{
    return a->given[find_option(name, strlen(name))];
}

/* A finite decimal number up to `end`, which a NUL or a comma follows. */
static bool read_real(const char *s, const char **end, double *out)
{
    char *stop = NULL;
    size_t digits = strspn(s, "+-.0123456789eE");
    if (!digits || (s[digits] && s[digits] != ',')) return false;
    *out = strtod(s, &stop);
    *end = stop;
    return stop == s + digits && isfinite(*out);
}

/* A whole number without sign, then whatever `end` shows. */
static bool read_whole(const char *s, const char **end, uint64_t *out)
{
    uint64_t v = 0;
    const char *first = s;
    for (; *s >= '0' && *s <= '9'; ++s) {
        unsigned digit = (unsigned)(*s - '0');
        if (v > (UINT64_MAX - digit) / 10) return false;
        v = 10 * v + digit;
    }
    *end = s;
    *out = v;
    return s > first;
}

/* "64", "64K", "2M", "1G". */
static bool read_bytes(const char *s, uint64_t *out)
{
    const char *end = s, *units = "KMG", *unit;
    if (!read_whole(s, &end, out) || !*out) return false;
    for (unit = *end ? strchr(units, *end) : NULL; unit && unit >= units; --unit) {
        if (*out > UINT64_MAX >> 10) return false;
        *out <<= 10;
    }
    return !*end || (strchr(units, *end) && !end[1]);
}

static bool in_range(const option *o, double x) { return x >= o->least && x <= o->most; }

/* Index of `word` among words joined by '|', or -1. */
static int find_word(const char *words, const char *word)
{
    size_t n = strlen(word);
    for (int i = 0;; ++i) {
        size_t m = strcspn(words, "|");
        if (m == n && !memcmp(words, word, n)) return i;
        if (!words[m]) return -1;
        words += m + 1;
    }
}

/* Read an option's value into its field; false where it is not allowed. */
static bool set_field(settings *s, const option *o, const char *value)
{
    void *field = (char *)s + o->field;
    const char *end = value;
    uint64_t whole = 0;
    double *real = (double *)field, x[2] = {0, 0};
    switch (o->kind) {
    case FLAG:
        *(bool *)field = true;
        return true;
    case TEXT:
        *(const char **)field = value;
        return *value != 0;
    case WORD:
        return (*(int *)field = find_word(o->arg, value)) >= 0;
    case WHOLE:
        if (!read_whole(value, &end, &whole) || *end || !in_range(o, (double)whole)) return false;
        *(int64_t *)field = (int64_t)whole;
        return true;
    case SEED:
        return read_whole(value, &end, (uint64_t *)field) && !*end;
    case BYTES:
        return read_bytes(value, (uint64_t *)field);
    case REAL:
        return read_real(value, &end, real) && !*end && in_range(o, *real);
    case PAIR:
        if (!read_real(value, &end, &x[0]) || *end != ',' || !read_real(end + 1, &end, &x[1]) || *end)
            return false;
        real[0] = x[0];
        real[1] = x[1];
        return in_range(o, x[0]) && in_range(o, x[1]);
    case WARMUP:
        real[1] = *value == 'x';
        if (real[1] > 0) return read_real(value + 1, &end, real) && !*end && in_range(o, *real);
        real[0] = read_whole(value, &end, &whole) ? (double)whole : -1;
        return !*end && in_range(o, *real);
    }
    return false;
}

/* What an option takes, for its error. */
static int fail_value(app *a, const option *o, const char *value)
{
    static const char *const forms[] = {"",
                                        "not a text",
                                        "none of",
                                        "not a whole number",
                                        "not a whole number below 2^64",
                                        "not a number",
                                        "not a number of bytes with K, M or G behind it",
                                        "not two numbers A,B",
                                        "not a number of steps, nor x and a number of passes"};
    char low[40], high[40], range[100] = "";
    if (o->kind == WORD)
        snprintf(range, sizeof range, " %s", o->arg);
    else if (o->most > 0)
        snprintf(range, sizeof range, " from %s to %s", number(o->least, low), number(o->most, high));
    return fail(a, 2, o->name, "'%.100s' is %s%s", value, forms[o->kind], range);
}

/* The option that argument `i` names, with its value; moves `i` over the value. */
static int parse_option(app *a, int argc, char **argv, int *i)
{
    const char *arg = argv[*i];
    size_t n = strcspn(arg, "=");
    int at = find_option(arg, n);
    if (at < 0 || !(options[at].commands & a->command->bit)) {
        char known[1000] = "";
        for (int k = 0; k < OPTIONS; ++k)
            if (options[k].commands & a->command->bit)
                snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", *known ? ", " : "",
                         options[k].name);
        return fail(a, 2, arg, "no option of %s, which has %s", a->command->name, known);
    }
    const option *o = &options[at];
    const char *value = arg[n] ? arg + n + 1 : NULL;
    if (o->kind == FLAG && value) return fail(a, 2, o->name, "takes no value");
    if (o->kind != FLAG && !value) {
        if (*i + 1 >= argc) return fail(a, 2, o->name, "its value %s is missing", o->arg);
        value = argv[++*i];
    }
    if (!set_field(&a->set, o, value ? value : "")) return fail_value(a, o, value);
    a->given[at] = true;
    return 0;
}

/* What one option alone cannot tell. */
static int check_options(app *a)
{
    settings *s = &a->set;
    char list[200], *name;
    if (s->precision == 1 && !is_given(a, "--store")) s->store = 1;
    snprintf(list, sizeof list, "%s", a->command->required);
    for (name = strtok(list, " "); name; name = strtok(NULL, " "))
        if (!is_given(a, name) && !(s->init_adapter && !strcmp(name, "--attach")))
            return fail(a, 2, name, "missing; alore %s %s", a->command->name, a->command->usage);
    if (!alore_isa_name((alore_isa)s->isa)) return fail(a, 2, "--isa", "this CPU or build has not got it");
    if (s->precision == 2 && (s->train || a->command->bit & (C_TRAIN | C_SEARCH)))
        return fail(a, 2, "--precision", "i8 is for inference; %s%s allows f32 and bf16", a->command->name,
                    s->train ? " --train" : "");
    if (s->span > s->batch)
        return fail(a, 2, "--span", "%lld samples are more than a batch of %lld", (long long)s->span,
                    (long long)s->batch);
    if (s->attach && s->adapter) return fail(a, 2, "--attach", "either --attach or --adapter");
    if (is_given(a, "--epochs") && is_given(a, "--steps"))
        return fail(a, 2, "--steps", "either --epochs or --steps");
    if (s->optimizer == 0 && s->momentum > 0) return fail(a, 2, "--momentum", "is of --optimizer sgd");
    if (is_given(a, "--every") && !s->checkpoint) return fail(a, 2, "--every", "needs --checkpoint FILE");
    if (is_given(a, "--cache-type") && !s->cache) return fail(a, 2, "--cache-type", "needs --cache BYTES");
    if (s->keep == 1 && !s->val) return fail(a, 2, "--keep", "best is told by --val DATA");
    if (s->recompute == 2 && !s->memory) return fail(a, 2, "--recompute", "fit needs --memory BYTES");
    return 0;
}

/* The kind of a search, and that its options are its own. */
static int check_search(app *a)
{
    settings *s = &a->set;
    const bool spt = a->operand && !strcmp(a->operand, "spt"),
               glora = a->operand && !strcmp(a->operand, "glora");
    if (!a->operand) return fail(a, 2, "search", "its kind is missing; alore search %s", a->command->usage);
    if (!spt && !glora) return fail(a, 2, a->operand, "no kind of search; there are spt, glora");
    for (int i = 0; i < OPTIONS; ++i)
        if (a->given[i] && !(options[i].commands & (spt ? C_SPT : C_GLORA)))
            return fail(a, 2, options[i].name, "is of search %s", spt ? "glora" : "spt");
    if (!is_given(a, "--rank")) s->rank = spt ? 8 : 4;
    if (spt && !s->budget) return fail(a, 2, "--budget", "missing: how many numbers may learn");
    if (spt && is_given(a, "--head-init") && s->head_init == 0)
        return fail(a, 2, "--head-init",
                    "zero: no gradient passes such a head; normal (the default) or keep");
    if (glora && !s->val) return fail(a, 2, "--val", "missing: subnets are told apart by it");
    if (glora && s->most && s->most < s->least)
        return fail(a, 2, "--most", "%lld is less than --least %lld", (long long)s->most,
                    (long long)s->least);
    return 0;
}

static int parse(app *a, int argc, char **argv)
{
    int rc;
    for (int i = 2; i < argc; ++i) {
        bool operand = a->command->bit & (C_INFO | C_HELP | C_SEARCH) && !a->operand;
        if (argv[i][0] == '-' && argv[i][1]) {
            if ((rc = parse_option(a, argc, argv, &i))) return rc;
        } else if (operand)
            a->operand = argv[i];
        else
            return fail(a, 2, argv[i], "stands alone; options begin with --");
    }
    if (a->set.help || a->command->bit == C_HELP) return 0;
    if (a->command->bit == C_INFO && !a->operand)
        return fail(a, 2, "info", "the file is missing; alore info FILE");
    if (a->command->bit == C_SEARCH && (rc = check_search(a))) return rc;
    return check_options(a);
}

/* ---- The network ------------------------------------------------------------ */

typedef struct network {
    alore_weights *disk;           /* the checkpoint as it is there, or NULL */
    alore_weights *file, *adapter; /* in timm's names, or NULL */
    naming names;                  /* those of the checkpoint */
    alore_weights *base, *start;   /* as the library gets them */
    alore_vit_config config;
    bool classes_said, new_head;
    uint64_t fingerprint;
    const char *labels; /* of the head, or NULL */
    const char *adapter_path;
} network;

static bool is_head(const char *name) { return !strcmp(name, "head.weight") || !strcmp(name, "head.bias"); }

static const char *meta(const alore_weights *w, const char *key)
{
    return w ? alore_weights_meta(w, key) : NULL;
}

/* Rows of the head in a file, 0: none. */
static int head_rows(const alore_weights *w)
{
    const alore_tensor *t = w ? alore_weights_find(w, "head.weight") : NULL;
    return t && t->rank == 2 && t->dims[0] <= 1 << 24 ? (int)t->dims[0] : 0;
}

/* Compare the fingerprint of the checkpoint with what the adapter says. */
static int check_base(app *a, network *n)
{
    const char *said = meta(n->adapter, "alore.base"), *end = said;
    uint64_t v = 0;
    if (!n->adapter || !n->file) return 0;
    if (!said) {
        remark(a, "%s does not say which base it was made for", n->adapter_path);
        return 0;
    }
    for (; strlen(said) <= 16 && *end && strchr("0123456789abcdef", *end); ++end)
        v = v << 4 | (uint64_t)(*end <= '9' ? *end - '0' : *end - 'a' + 10);
    if (!*end && v == n->fingerprint) return 0;
    if (a->set.any_base) {
        remark(a, "%s was made for base %s, not %016llx", n->adapter_path, said,
               (unsigned long long)n->fingerprint);
        return 0;
    }
    return fail(a, 1, n->adapter_path, "made for base %.40s, but %.200s is %016llx; --any-base takes it",
                said, a->set.weights, (unsigned long long)n->fingerprint);
}

/* The architecture: the option, the metadata, the shapes. */
static int find_config(app *a, network *n)
{
    const char *spec = a->set.backbone, *what = "--backbone";
    if (!spec && (spec = meta(n->adapter, "alore.backbone"))) what = n->adapter_path;
    if (!spec && (spec = meta(n->file, "alore.backbone"))) what = a->set.weights;
    if (!spec) {
        if (alore_vit_detect(&a->ctx, n->file, &n->config)) return fail_library(a, 1, a->set.weights);
        remark(a, "%d heads are taken, dim/64: shapes do not tell; --backbone does", n->config.heads);
        return 0;
    }
    if (alore_vit_parse(&a->ctx, spec, &n->config, &n->classes_said)) {
        char names[800] = "";
        const char *name;
        for (int i = 0; strncmp(spec, "vit:", 4) && (name = alore_vit_name(i)); ++i)
            snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s",
                     i ? ", " : "; names: ", name);
        return fail(a, a->set.backbone ? 2 : 1, what, "%s%s", alore_last_error(&a->ctx)->text, names);
    }
    if (n->file) alore_vit_biases(n->file, &n->config);
    return 0;
}

/* Load a checkpoint; `file` is it in timm's names. */
static int open_base(app *a, const char *path, alore_weights **disk, alore_weights **file, naming *n)
{
    char why[IMG_WHY];
    if (alore_weights_load(&a->ctx, path, disk)) return fail_library(a, 1, path);
    *file = *disk;
    return names_open(&a->ctx, path, file, n, why) ? 0 : fail(a, 1, path, "%s", why);
}

/* Load an adapter: a file, or a folder of PEFT. */
static int open_adapter(app *a, network *n, const char *path)
{
    char why[IMG_WHY], note[IMG_WHY];
    struct stat info;
    if (stat(path, &info) || !S_ISDIR(info.st_mode)) {
        if (alore_weights_load(&a->ctx, path, &n->adapter)) return fail_library(a, 1, path);
        const alore_tensor *t = alore_weights_count(n->adapter) ? alore_weights_at(n->adapter, 0) : NULL;
        if (!t || meta(n->adapter, "alore.rules") || strncmp(t->name, "base_model.", 11)) return 0;
        return fail(a, 1, path, "a file of PEFT, which means nothing without adapter_config.json: name the folder");
    }
    if (!n->file) return fail(a, 2, "--weights", "missing: a folder of PEFT is read beside its base");
    if (!peft_read(&a->ctx, path, n->file, &n->adapter, note, why)) return fail(a, 1, path, "%s", why);
    if (*note) remark(a, "%.200s: %s", path, note);
    return 0;
}

/* Is expert i in a list such as "0,2-3"? *most is the largest it names; false, and *most -1, for no list. */
static bool lists_expert(const char *list, long i, long *most)
{
    bool found = false;
    *most = -1;
    for (const char *at = list;; ++at) {
        char *end;
        const long first = strtol(at, &end, 10);
        long last = first;
        bool fine = *at >= '0' && *at <= '9';
        if (fine && *end == '-') {
            at = end + 1;
            last = strtol(at, &end, 10);
            fine = *at >= '0' && *at <= '9';
        }
        if (!fine || last < first || last > 65535 || (*end && *end != ',')) {
            *most = -1;
            return false;
        }
        found = found || (i >= first && i <= last);
        if (last > *most) *most = last;
        at = end;
        if (!*at) return found;
    }
}

/* The adapter with the experts of --experts alone: of the others the tensor whose leading extent counts them is
 * zero. Nothing is scaled up for those that are gone. */
static int keep_experts(app *a, network *n)
{
    static const char *const of[] = {".alore.D", ".kron.W", ".mlae.lambda", ".kadaptation.q.D", ".kadaptation.v.D"};
    alore_weights *kept = NULL;
    long most;
    int rc = 0, found = 0;
    if (!a->set.experts || !n->adapter) return 0;
    (void)lists_expert(a->set.experts, 0, &most);
    if (most < 0) return fail(a, 2, "--experts", "%s is no list of experts; \"0,2-3\" is one", a->set.experts);
    if (alore_weights_create(&a->ctx, &kept)) return fail_library(a, 1, "memory");
    for (int i = 0; !rc && i < alore_weights_count(n->adapter); ++i) {
        alore_tensor t = *alore_weights_at(n->adapter, i);
        const size_t length = strlen(t.name);
        bool counts = false;
        for (size_t k = 0; k < sizeof of / sizeof *of; ++k)
            counts = counts || (length > strlen(of[k]) && !strcmp(t.name + length - strlen(of[k]), of[k]));
        const size_t experts = counts && t.bytes && t.rank ? (size_t)t.dims[0] : 0;
        const size_t each = experts ? t.bytes / experts : 0;
        if (experts && (size_t)most >= experts)
            return fail(a, 1, "--experts", "%s has experts 0 to %zu, not %ld", t.name, experts - 1, most);
        char *data = experts ? (char *)take(a, 1, t.bytes) : NULL;
        if (experts && !data) return 1;
        for (size_t k = 0; k < experts; ++k)
            if (lists_expert(a->set.experts, (long)k, &most))
                memcpy(data + k * each, (const char *)t.data + k * each, each);
        if (experts) t.data = data;
        found += experts > 0;
        if (alore_weights_add(kept, &t)) rc = fail_library(a, 1, t.name);
    }
    if (!rc && !names_copy_meta(kept, n->adapter)) rc = fail_library(a, 1, "memory");
    if (!rc && !found) rc = fail(a, 1, "--experts", "the adapter has no experts");
    n->adapter = kept;
    return rc;
}

/* Load what the options name and find the architecture. */
static int open_network(app *a, network *n, const char *adapter)
{
    const settings *s = &a->set;
    memset(n, 0, sizeof *n);
    n->adapter_path = adapter;
    if (!s->weights && !s->backbone)
        return fail(a, 2, "--weights", "missing: a checkpoint, or --backbone SPEC");
    int rc = s->weights ? open_base(a, s->weights, &n->disk, &n->file, &n->names) : 0;
    if (!rc && adapter) rc = open_adapter(a, n, adapter);
    if (!rc) rc = keep_experts(a, n);
    if (rc) return rc;
    if (n->file && (adapter || a->command->bit & (C_TRAIN | C_SEARCH)))
        n->fingerprint = alore_weights_fingerprint(n->file);
    rc = check_base(a, n);
    return rc ? rc : find_config(a, n);
}

/* Bytes of floats as the file has them, lowest first. */
static void store_floats(unsigned char *to, const float *from, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        uint32_t bits;
        memcpy(&bits, from + i, 4);
        for (int b = 0; b < 4; ++b) to[4 * i + (size_t)b] = (unsigned char)(bits >> 8 * b);
    }
}

/* Add a tensor of floats that the set owns; `*to` are its bytes. */
static int add_floats(app *a, alore_weights *w, const char *name, uint64_t rows, uint64_t cols,
                      unsigned char **to)
{
    uint64_t dims[2] = {rows, cols};
    alore_tensor t = ALORE_ZERO;
    t.name = name;
    t.name_bytes = strlen(name);
    t.dims = dims;
    t.rank = cols ? 2 : 1;
    t.bytes = (size_t)(rows * (cols ? cols : 1)) * 4;
    t.dtype = ALORE_F32;
    if (alore_weights_add(w, &t)) return fail_library(a, 1, name);
    *to = (unsigned char *)alore_weights_data(w, name);
    return 0;
}

/* A new head: weights zero or normal with deviation 0.02, biases zero. */
static int add_head(app *a, const network *n, alore_weights *w)
{
    uint64_t rows = (uint64_t)n->config.classes, cols = (uint64_t)n->config.dim;
    unsigned char *weight = NULL, *bias = NULL;
    int rc = add_floats(a, w, "head.weight", rows, cols, &weight);
    if (!rc) rc = add_floats(a, w, "head.bias", rows, 0, &bias);
    for (uint64_t i = 0; !rc && a->set.head_init == 1 && i < rows * cols; ++i) {
        float x = 0.02f * alore_random_normal(a->set.seed, 0x68656164, i);
        store_floats(weight + 4 * i, &x, 1);
    }
    return rc;
}

/* A set that borrows the tensors of `from`: all, or those with the head's names, or
 * all but these. Its metadata lack the fingerprint, which is compared here alone. */
static int borrow(app *a, const alore_weights *from, bool rest, bool head, alore_weights **out)
{
    const char *key, *value;
    if (!*out && alore_weights_create(&a->ctx, out)) return fail_library(a, 1, "memory");
    for (int i = 0; i < alore_weights_count(from); ++i) {
        const alore_tensor *t = alore_weights_at(from, i);
        if (!(is_head(t->name) ? head : rest)) continue;
        if (alore_weights_add(*out, t)) return fail_library(a, 1, t->name);
    }
    for (int i = 0; rest && i < alore_weights_meta_count(from); ++i) {
        alore_weights_meta_at(from, i, &key, &value);
        if (strcmp(key, "alore.base") && alore_weights_set_meta(*out, key, value))
            return fail_library(a, 1, key);
    }
    return 0;
}

/* What the library gets: a base whose head has the shape of the network's, and the
 * adapter without its fingerprint. */
static int make_base(app *a, network *n)
{
    int has = head_rows(n->file), rows = head_rows(n->adapter), rc = 0;
    if (!n->file) return 0;
    n->base = n->file;
    if (n->new_head || (rows && rows != has)) {
        n->base = NULL;
        rc = borrow(a, n->file, true, false, &n->base);
        if (!rc) rc = n->new_head ? add_head(a, n, n->base) : borrow(a, n->adapter, false, true, &n->base);
    }
    if (!rc && n->adapter) rc = borrow(a, n->adapter, true, !n->new_head, &n->start);
    if (!rc && n->adapter && n->new_head) rc = add_head(a, n, n->start);
    return rc;
}

/* Decide the number of classes and whether the head is new. `d` NULL: the data have no
 * say in it. `may`: a new head makes sense here. */
static int settle_head(app *a, network *n, const data_set *d, bool may)
{
    const settings *s = &a->set;
    int has = head_rows(n->adapter) ? head_rows(n->adapter) : head_rows(n->file);
    bool asked = is_given(a, "--head-init"), forbidden = asked && s->head_init == 2;
    const char *own = meta(n->adapter, "alore.labels");
    n->labels = own || head_rows(n->adapter) ? own : meta(n->file, "alore.labels");
    bool renamed = d && d->names && n->labels && strcmp(d->names, n->labels);
    int want = s->classes                    ? (int)s->classes
               : d && d->classes             ? d->classes
               : n->classes_said || !n->file ? n->config.classes
                                             : has;
    n->config.classes = want;
    n->config.no_head = want == 0;
    if (!n->file) return 0;
    n->new_head = want != has || (!forbidden && (asked || renamed));
    if (!n->new_head) return make_base(a, n);
    if (want != has && (!may || forbidden))
        return fail(a, 1, s->weights, "its head has %d classes, not %d, and %s", has, want,
                    forbidden ? "--head-init keep forbids a new one" : "only training makes a new one");
    if (!may && asked)
        return fail(a, 2, "--head-init", "only training makes a new head; %s allows keep", a->command->name);
    if (!may)
        return fail(a, 1, s->weights,
                    "its head is for '%.120s', the data for '%.120s', and only training "
                    "makes a new one; --head-init keep takes it as it is",
                    n->labels ? n->labels : "?", d && d->names ? d->names : "?");
    remark(a, "the head is new: %d classes%s", want,
           want != has ? text_of(a, ", the file has %d", has)
           : renamed   ? ", their labels differ from the file's"
                       : "");
    n->labels = NULL;
    return make_base(a, n);
}

/* Say in an adapter's metadata what it belongs to; NULL: not known. */
static int describe(app *a, const network *n, const char *labels, const char *transform,
                    alore_weights *adapter)
{
    char base[17], backbone[256];
    const char *keys[] = {"alore.backbone", "alore.base", "alore.labels", "alore.transform"};
    const char *values[] = {backbone, base, labels, transform};
    snprintf(base, sizeof base, "%016llx", (unsigned long long)n->fingerprint);
    alore_vit_text(&n->config, backbone, sizeof backbone);
    for (int i = 0; i < 4; ++i)
        if (values[i] && alore_weights_set_meta(adapter, keys[i], values[i]))
            return fail_library(a, 1, keys[i]);
    return 0;
}

/* ---- From the network to a run ---------------------------------------------- */

typedef struct machine {
    alore_model *model;
    alore_plan *plan;
    alore_run *run;
} machine;

/* Build the network with `rules`, or those of the adapter. */
static int build_model(app *a, const network *n, const char *rules, bool train, alore_model **out)
{
    alore_vit_config c = n->config;
    alore_model *m;
    const char *what = rules ? "--attach" : n->adapter ? n->adapter_path : "network";
    alore_status status = alore_model_create(&a->ctx, out);
    if (status) return fail_library(a, 1, "memory");
    m = *out;
    if (rules)
        status = alore_attach(m, rules);
    else if (n->adapter)
        status = alore_attach_from(m, n->adapter);
    if (status) return fail_library(a, rules && status == ALORE_ERR_RULE ? 2 : 1, what);
    if ((int64_t)c.height * c.width > 1 << 24)
        return fail(a, 1, "network", "an image of %d x %d is too large", c.height, c.width);
    c.drop_path = train ? (float)a->set.drop_path : 0;
    alore_id image = alore_input(m, "image", ALORE_F32, c.height * c.width, 3);
    alore_id y = alore_vit(m, image, &c);
    if (!c.no_head) alore_output(m, "logits", y);
    if (train) {
        alore_id label = alore_input(m, "label", ALORE_I32, 1, 1);
        alore_output(m, "loss", alore_loss_xent(m, y, label, (float)a->set.smoothing));
    }
    status = alore_model_finish(m);
    return status ? fail_library(a, 1, what) : 0;
}

/* The network of a command without data, built. */
static int open_model(app *a, network *n, const char *rules, bool train, alore_model **out)
{
    bool dry = (a->command->bit & C_ADAPTER) == 0;
    int rc = open_network(a, n, a->set.adapter);
    if (!rc) rc = settle_head(a, n, NULL, dry);
    return rc ? rc : build_model(a, n, rules, train, out);
}

/* Bytes of the base, of the least plan of all, and what is held beside them. */
static int least_memory(app *a, const alore_model *m, alore_plan_opts o, alore_memory *out)
{
    alore_plan *p;
    if (o.recompute == ALORE_TO_FIT) o.recompute = ALORE_BLOCKS;
    o.lanes = o.split = 1;
    o.limit = 0;
    if (alore_plan_create(m, &o, &p)) return fail_library(a, 1, "plan");
    *out = alore_plan_memory(p);
    alore_plan_destroy(p);
    return 0;
}

static alore_plan_opts plan_opts(const app *a, int batch, bool train)
{
    const settings *s = &a->set;
    alore_plan_opts o = ALORE_ZERO;
    const bool fit = s->memory && (s->recompute == 2 || !is_given(a, "--recompute"));
    o.batch = batch;
    o.lanes = (int)s->threads;
    o.span = train ? (int)s->span : 1;
    o.train = train;
    o.precision = s->precision == 2 ? ALORE_I8 : s->precision == 1 ? ALORE_BF16 : ALORE_F32;
    o.recompute = !train ? ALORE_KEEP : fit ? ALORE_TO_FIT : s->recompute > 0 ? ALORE_BLOCKS : ALORE_KEEP;
    o.store = s->store ? ALORE_BF16 : ALORE_F32;
    o.slope8 = s->store == 2;
    o.frozen = s->frozen != 0;
    o.optimizer = s->optimizer == 0 ? ALORE_ADAMW : s->momentum > 0 ? ALORE_MOMENTUM : ALORE_SGD;
    return o;
}

/* Plan it for all threads. --memory is for the base, this plan, and what is held beside it. */
static int make_plan(app *a, const alore_model *m, int batch, bool train, alore_plan **out)
{
    const uint64_t most = a->set.memory;
    alore_plan_opts o = plan_opts(a, batch, train);
    alore_memory least = ALORE_ZERO;
    int rc = most ? least_memory(a, m, o, &least) : 0;
    if (rc) return rc;
    const uint64_t beside = most ? (uint64_t)least.base + a->held : 0;
    if (most && (beside > most || least.total > most - beside))
        return fail(a, 1, "--memory",
                    "%llu bytes are needed, %llu allowed: a plan of %zu, the base %zu, beside them %zu",
                    (unsigned long long)(beside + least.total), (unsigned long long)most, least.total,
                    least.base, a->held);
    if (most) o.limit = most - beside < SIZE_MAX ? (size_t)(most - beside) : SIZE_MAX;
    return alore_plan_create(m, &o, out) ? fail_library(a, 1, most ? "--memory" : "plan") : 0;
}

/* Model, plan and run. Parameters start from the seed, or from the adapter. */
static int make_machine(app *a, const network *n, const char *rules, bool train, int batch, machine *out)
{
    int rc = build_model(a, n, rules, train, &out->model);
    if (!rc) rc = make_plan(a, out->model, batch, train, &out->plan);
    if (rc) return rc;
    if (!a->packed && alore_weights_pack(out->plan, n->base, n->disk, &a->packed))
        return fail_library(a, 1, a->set.weights);
    if (alore_run_create(out->plan, a->packed, &out->run) || alore_run_reset(out->run, a->set.seed))
        return fail_library(a, 1, a->set.weights);
    if (n->start && alore_run_load(out->run, n->start)) return fail_library(a, 1, n->adapter_path);
    a->held += alore_plan_memory(out->plan).total;
    return 0;
}

/* ---- Data ------------------------------------------------------------------- */

typedef struct source {
    data_set data;
    img_transform transform;
    const char *text; /* of the transform, NULL: not known */
    const char *what; /* the option that names the data */
} source;

/* What the family's publications do to a picture (timm's settings). */
static const char *usual_transform(app *a, const alore_vit_config *c)
{
    bool clip = c->pre_norm, dino = c->layer_scale;
    int side = clip || dino ? c->height : (int)floor(c->height / 0.9);
    const char *stats = clip   ? "mean=0.48145466-0.4578275-0.40821073,std=0.26862954-0.26130258-0.27577711"
                        : dino ? "mean=0.485-0.456-0.406,std=0.229-0.224-0.225"
                               : "mean=0.5,std=0.5";
    if (c->height != c->width) return text_of(a, "resize=%dx%d:bicubic,%s", c->height, c->width, stats);
    return text_of(a, "short=%d:bicubic,crop=%d,%s", side, c->height, stats);
}

/* Open the data of option `what`. */
static int open_source(app *a, const char *what, const char *text, source *s)
{
    char why[IMG_WHY];
    s->what = what;
    if (data_open(&s->data, &a->ctx, text, why)) return 0;
    return fail(a, 1, what, "%s", why);
}

static int check_labels(app *a, const network *n, const source *s)
{
    char why[IMG_WHY];
    if (n->config.no_head)
        return fail(a, 1, a->set.weights, "it has no head; --classes makes one in training");
    if (data_check_labels(&s->data, n->config.classes, why)) return 0;
    return fail(a, 1, s->what, "%s", why);
}

/* The steps from picture to input. */
static int find_transform(app *a, const network *n, source *s)
{
    char why[IMG_WHY];
    const char *what = "--transform", *text = a->set.transform;
    if (!text && (text = meta(n->adapter, "alore.transform"))) what = n->adapter_path;
    if (!text && (text = meta(n->file, "alore.transform"))) what = a->set.weights;
    if (!text && !s->data.floats) text = usual_transform(a, &n->config);
    s->text = text;
    if (img_parse(text ? text : "", &s->transform, why)) return 0;
    return fail(a, a->set.transform ? 2 : 1, what, "%s", why);
}

/* Item `index` as sample `at` of the run's batch. */
static int fill(app *a, const network *n, const machine *m, const source *s, int at, int index)
{
    char why[IMG_WHY];
    int h = n->config.height, w = n->config.width;
    float *image = (float *)alore_run_input(m->run, "image");
    size_t each = 3 * (size_t)h * (size_t)w;
    if (data_item(&s->data, index, &s->transform, h, w, image + (size_t)at * each, why)) return 0;
    return fail(a, 1, s->what, "%s", why);
}

/* Run items first, first + 1, ... forward, as many as the batch takes. */
static int forward(app *a, const network *n, const machine *m, const source *s, int first, int *count)
{
    int left = s->data.count - first, rc = 0;
    *count = left < (int)a->set.batch ? left : (int)a->set.batch;
    for (int j = 0; j < *count && !rc; ++j) rc = fill(a, n, m, s, j, first + j);
    if (rc) return rc;
    return alore_forward(m->run, *count) ? fail_library(a, 1, "forward") : 0;
}

/* ---- Evaluation ------------------------------------------------------------- */

typedef struct score {
    double top1, top5, mean_class, loss;
    int count, classes;
    uint32_t *right, *seen; /* [classes] */
    uint32_t *confusion;    /* [classes, classes] by label and answer, or NULL */
} score;

enum { SMALL = 20 }; /* most classes of a confusion matrix that is printed */

/* Add one sample's logits; false where one of them is not finite. */
static bool add_score(score *s, const float *logits, int label)
{
    int above = 0, best = 0;
    double sum = 0, most = -HUGE_VAL;
    for (int c = 0; c < s->classes; ++c) {
        if (!isfinite(logits[c])) return false;
        if (logits[c] > logits[best]) best = c;
        if ((double)logits[c] > most) most = (double)logits[c];
        above += logits[c] > logits[label] || (c < label && logits[c] >= logits[label]);
    }
    for (int c = 0; c < s->classes; ++c) sum += exp((double)logits[c] - most);
    s->loss += most + log(sum) - (double)logits[label];
    s->top1 += above < 1;
    s->top5 += above < 5;
    s->right[label] += above < 1;
    ++s->seen[label];
    ++s->count;
    if (s->confusion) ++s->confusion[label * s->classes + best];
    return true;
}

/* Score all items. `s` is zero before its first use; its arrays serve again. */
static int evaluate(app *a, const network *n, const machine *m, const source *d, score *s)
{
    double start = now();
    int present = 0, count = 0, rc;
    size_t classes = (size_t)n->config.classes;
    size_t cells = 2 * classes + (classes <= SMALL ? classes * classes : 0);
    if (!s->right && !(s->right = (uint32_t *)take(a, cells, sizeof *s->right))) return 1;
    memset(s->right, 0, cells * sizeof *s->right);
    s->seen = s->right + classes;
    s->confusion = classes <= SMALL ? s->seen + classes : NULL;
    s->classes = (int)classes;
    s->count = 0;
    s->top1 = s->top5 = s->mean_class = s->loss = 0;
    for (int first = 0; first < d->data.count; first += count) {
        if ((rc = forward(a, n, m, d, first, &count))) return rc;
        const float *logits = alore_run_output(m->run, "logits");
        for (int j = 0; j < count; ++j)
            if (!add_score(s, logits + (size_t)j * classes, data_label(&d->data, first + j)))
                return fail(a, 1, "eval", "item %d: its logits are not finite", d->data.first + first + j);
        progress(a, "eval", first + count, d->data.count, start, "");
    }
    for (size_t c = 0; c < classes; ++c) {
        if (!s->seen[c]) continue;
        s->mean_class += (double)s->right[c] / s->seen[c];
        ++present;
    }
    s->mean_class /= present;
    s->top1 /= s->count;
    s->top5 /= s->count;
    s->loss /= s->count;
    end_line(a);
    return 0;
}

static void put_score(report *r, const score *s, bool loss)
{
    put_share(r, "top1", s->top1);
    put_share(r, "top5", s->top5);
    put_share(r, "mean_class", s->mean_class);
    if (loss) put_real(r, "loss", s->loss);
    put_whole(r, "count", (uint64_t)s->count);
}

/* Name `i` of names joined by ',', into `out`; the number itself where there is none. */
static const char *label_name(const char *names, int i, char out[16])
{
    snprintf(out, 16, "%d", i);
    for (; names && i > 0; --i) names = strchr(names, ',') ? strchr(names, ',') + 1 : NULL;
    if (names && *names) snprintf(out, 16, "%.*s", (int)strcspn(names, ","), names);
    clean(out);
    return out;
}

static void print_confusion(const score *s, const char *names)
{
    char text[16];
    if (!s->confusion) return;
    printf("\nlabel \\ answer  ");
    for (int c = 0; c < s->classes; ++c) printf(" %5d", c);
    printf("    right\n");
    for (int y = 0; y < s->classes; ++y) {
        printf("%2d %-12.12s ", y, label_name(names, y, text));
        for (int c = 0; c < s->classes; ++c) printf(" %5u", (unsigned)s->confusion[y * s->classes + c]);
        if (s->seen[y]) printf("  %5.1f %%", 100.0 * s->right[y] / s->seen[y]);
        printf("\n");
    }
}

/* What eval and predict have in common: network, data, and a run over a batch. */
static int open_inference(app *a, network *n, source *d, machine *m)
{
    bool eval = a->command->bit == C_EVAL;
    int rc = open_network(a, n, a->set.adapter);
    if (!rc) rc = open_source(a, "--data", a->set.data, d);
    if (!rc) rc = settle_head(a, n, eval ? &d->data : NULL, false);
    if (!rc && eval) rc = check_labels(a, n, d);
    if (!rc && n->config.no_head && !a->set.features)
        rc = fail(a, 1, a->set.weights, "it has no head; predict --features needs none");
    if (!rc) rc = find_transform(a, n, d);
    return rc ? rc : make_machine(a, n, NULL, false, (int)a->set.batch, m);
}

static int run_eval(app *a)
{
    network n;
    machine m = {NULL, NULL, NULL};
    score s = {0};
    source d = {0};
    int rc = open_inference(a, &n, &d, &m);
    if (!rc) rc = evaluate(a, &n, &m, &d, &s);
    if (!rc) {
        report r = put_begin(a);
        put_score(&r, &s, true);
        put_end(&r);
        if (!r.json) print_confusion(&s, d.data.names ? d.data.names : n.labels);
    }
    data_close(&d.data);
    return rc;
}

/* ---- predict ---------------------------------------------------------------- */

/* Forward all items into the tensors logits and, if asked for, features. */
static int predict(app *a, const network *n, const machine *m, const source *d, alore_weights *out)
{
    double start = now();
    size_t total = (size_t)d->data.count, classes = (size_t)n->config.classes;
    size_t dim = (size_t)n->config.dim;
    unsigned char *logits = NULL, *features = NULL;
    int rc = 0, count = 0;
    if (classes) rc = add_floats(a, out, "logits", total, classes, &logits);
    if (!rc && a->set.features) rc = add_floats(a, out, "features", total, dim, &features);
    for (int first = 0; !rc && first < d->data.count; first += count) {
        if ((rc = forward(a, n, m, d, first, &count))) break;
        size_t at = (size_t)first, rows = (size_t)count;
        if (logits)
            store_floats(logits + 4 * at * classes, alore_run_output(m->run, "logits"), rows * classes);
        if (features) store_floats(features + 4 * at * dim, alore_run_output(m->run, "features"), rows * dim);
        progress(a, "predict", first + count, d->data.count, start, "");
    }
    end_line(a);
    return rc;
}

static int run_predict(app *a)
{
    network n;
    machine m = {NULL, NULL, NULL};
    alore_weights *out = NULL;
    source d = {0};
    int rc = check_out(a);
    if (!rc) rc = open_inference(a, &n, &d, &m);
    if (!rc && alore_weights_create(&a->ctx, &out)) rc = fail_library(a, 1, "memory");
    if (!rc) rc = predict(a, &n, &m, &d, out);
    if (!rc && n.labels && alore_weights_set_meta(out, "alore.labels", n.labels))
        rc = fail_library(a, 1, "memory");
    if (!rc && alore_weights_save(out, a->set.out)) rc = fail_library(a, 1, a->set.out);
    if (!rc) {
        report r = put_begin(a);
        put_whole(&r, "count", (uint64_t)d.data.count);
        put_whole(&r, "classes", (uint64_t)n.config.classes);
        put_string(&r, "out", a->set.out);
        put_end(&r);
    }
    data_close(&d.data);
    return rc;
}

/* ---- train ------------------------------------------------------------------ */

typedef struct trainer {
    app *a;
    network n;
    source data, val;
    machine m, v; /* of training and of --val */
    alore_cache cache;
    uint32_t *item; /* of each sample of the batch; NULL: no cache */
    alore_schedule schedule;
    alore_step_opts opts;
    uint64_t batches; /* of the whole run */
    uint64_t step, steps, first_step;
    const char *tag; /* of checkpoints: what must not change */
    bytes best;      /* the adapter file that was best so far */
    double best_top1;
    score now, score; /* of the last evaluation; of what will be written */
    FILE *log;
    double loss, start, spent; /* spent: seconds outside of steps */
    uint64_t items;            /* of this call */
} trainer;

/* Batches, steps, warm-up. */
static int plan_steps(trainer *t)
{
    const settings *s = &t->a->set;
    double n = t->data.data.count, pass = n / (double)s->batch, batches;
    if (s->drop_last && (pass = floor(pass)) < 1)
        return fail(t->a, 1, "--drop-last", "a batch of %d is never full: there are %d items", (int)s->batch,
                    t->data.data.count);
    batches =
        is_given(t->a, "--steps") ? (double)s->steps * (double)s->accumulate : ceil(s->epochs * pass - 1e-9);
    t->batches = (uint64_t)batches;
    t->steps = (uint64_t)ceil(batches / (double)s->accumulate);
    if (t->steps > 1000000000)
        return fail(t->a, 2, "--epochs", "%.0f steps are more than 10^9", (double)t->steps);
    double warm = s->warmup[0];
    if (s->warmup[1] > 0) warm = floor(warm * pass / (double)s->accumulate + 0.5);
    t->schedule.kind = s->schedule == 0 ? ALORE_CONSTANT : ALORE_COSINE;
    t->schedule.lr = (float)s->lr;
    t->schedule.lr_min = (float)s->lr_min;
    t->schedule.warmup = (int)(warm < 1e9 ? warm : 1e9);
    t->schedule.total = (int)t->steps;
    return 0;
}

/* The optimiser's settings; there a zero means the default, so it becomes tiny. */
static void set_optimizer(trainer *t)
{
    const settings *s = &t->a->set;
    t->opts.beta1 = s->betas[0] > 0 ? s->betas[0] : 1e-30;
    t->opts.beta2 = s->betas[1] > 0 ? s->betas[1] : 1e-30;
    t->opts.eps = s->eps > 0 ? s->eps : 1e-30;
    t->opts.momentum = s->momentum;
    t->opts.decay = s->decay;
    t->opts.decay_matrices = s->decay_what == 1;
    t->opts.clip = s->clip;
}

/* The item that stands at place j of batch `batch` of the stream. */
static int stream_item(const trainer *t, uint64_t batch, uint64_t j)
{
    const settings *s = &t->a->set;
    uint64_t n = (uint64_t)t->data.data.count, size = (uint64_t)s->batch;
    uint64_t per_pass = n / size, at = batch * size + j, pass = at / n;
    at %= n;
    if (s->drop_last) {
        pass = batch / per_pass;
        at = batch % per_pass * size + j;
    }
    if (s->shuffle == 1) return (int)at;
    return (int)alore_shuffle(s->seed, (uint32_t)pass, (uint32_t)at, (uint32_t)n);
}

/* A new head that nothing trains would stay as it is. */
static int check_head(trainer *t)
{
    for (int i = 0; i < alore_param_count(t->m.plan); ++i) {
        alore_param_info p = alore_param_at(t->m.plan, i);
        if (p.base && is_head(p.name)) return 0;
    }
    return t->n.new_head ? fail(t->a, 1, "--attach",
                                "the head is new (%d classes): the rules must unfreeze it; "
                                "add ;unfreeze@head",
                                t->n.config.classes)
                         : 0;
}

/* The adapter as it is now, with all that its file says. */
static int make_adapter(trainer *t, alore_weights **out)
{
    const char *labels = t->data.data.names ? t->data.data.names : t->n.labels;
    if (alore_run_export(t->m.run, out)) return fail_library(t->a, 1, "adapter");
    return describe(t->a, &t->n, labels, t->data.text, *out);
}

enum { TAIL = 32 };

/* A checkpoint: the library's bytes, the best adapter so far, and a tail of words, lowest byte first: the bits of
 * its top-1, the lengths of both, and a checksum of what is behind the library's bytes. */
static int write_checkpoint(trainer *t)
{
    const char *path = t->a->set.checkpoint, *part;
    FILE *f = save_open(t->a, path, &part);
    alore_writer w = {write_out, NULL};
    uint64_t words[4] = {0, t->best.count, 0, alo_hash(t->best.data, t->best.count, 0)};
    unsigned char tail[TAIL];
    w.user = f;
    if (!f) return 1;
    bool good = !alore_checkpoint_write(t->m.run, t->tag, &w);
    words[2] = (uint64_t)ftello(f);
    memcpy(words, &t->best_top1, sizeof t->best_top1);
    for (int i = 0; i < TAIL; ++i) {
        if (i == 24) words[3] = alo_hash(tail, 24, words[3]);
        tail[i] = (unsigned char)(words[i / 8] >> 8 * (i % 8));
    }
    good = good && write_out(f, t->best.data, t->best.count) && write_out(f, tail, TAIL);
    return save_close(t->a, f, path, part, good);
}

/* Does a checkpoint with the tag `was` go on here? Of what an old one does not say only the cache is known. */
static int check_tag(trainer *t, const char *was)
{
    char key[32];
    for (const char *line = t->tag, *old = was; *line; old = was) {
        const int length = (int)strcspn(line, "\n"), name = (int)strcspn(line, " ") + 1;
        snprintf(key, sizeof key, "%.*s", name, line);
        while (old && strncmp(old, key, (size_t)name)) old = strchr(old, '\n') ? strchr(old, '\n') + 1 : NULL;
        if (!old && !strcmp(key, "cache ")) old = "cache f32";
        const int before = old ? (int)strcspn(old, "\n") : length;
        if (old && (before != length || memcmp(old, line, (size_t)length)))
            return fail(t->a, 1, t->a->set.resume, "made with %.*s, not %.*s", before, old, length, line);
        line += length + (line[length] == '\n');
    }
    return 0;
}

/* The tag of a checkpoint, behind seven numbers of which the last is its length; "" in a file that is none. */
static char *tag_of(app *a, const unsigned char *file, uint64_t count)
{
    uint64_t length = 0;
    for (int i = 0; count > 56 && i < 8; ++i) length |= (uint64_t)file[48 + i] << 8 * i;
    if (count <= 56 || length > count - 56 || length > 1 << 20) length = 0;
    return text_of(a, "%.*s", (int)length, length ? (const char *)file + 56 : "");
}

static int take_checkpoint(trainer *t, const char *path, const unsigned char *file, size_t count)
{
    uint64_t words[4] = {0, 0, 0, 0};
    const size_t first = count < TAIL ? 0 : count - TAIL;
    for (size_t i = TAIL; first && i-- > 0;) words[i / 8] = words[i / 8] << 8 | file[first + i];
    const size_t best = words[1] < first ? (size_t)words[1] : first;
    if (!first || words[1] != best || words[2] != first - best)
        return fail(t->a, 1, path, "%zu bytes that are no whole checkpoint", count);
    if (words[3] != alo_hash(file + first, 24, alo_hash(file + first - best, best, 0)))
        return fail(t->a, 1, path, "the checkpoint is damaged: the checksum of its best adapter is wrong");
    const char *tag = tag_of(t->a, file, first - best);
    const alore_status status = alore_checkpoint_read(t->m.run, tag, file, first - best);
    if ((!status || status == ALORE_ERR_SHAPE) && check_tag(t, tag)) return 1; /* why the shape is another */
    if (status) return fail_library(t->a, 1, path);
    if (!bytes_write(&t->best, file + first - best, best))
        return fail(t->a, 1, "memory", "no room for the best adapter of %s", path);
    if (best) memcpy(&t->best_top1, words, sizeof t->best_top1); /* else no later one would beat it */
    t->step = t->m.run->step;
    if (t->step <= t->steps) return 0;
    return fail(t->a, 1, path, "%llu steps are done, only %llu are asked for", (unsigned long long)t->step,
                (unsigned long long)t->steps);
}

static int read_checkpoint(trainer *t)
{
    const char *path = t->a->set.resume;
    char why[IMG_WHY];
    unsigned char *file = NULL;
    size_t count = 0;
    if (!img_file(path, &file, &count, why)) return fail(t->a, 1, path, "%s", why);
    const int rc = take_checkpoint(t, path, file, count);
    free(file);
    return rc;
}

/* Where both sets name their classes they must agree, or labels mean other things. */
static int check_val(trainer *t)
{
    const data_set *d = &t->data.data, *v = &t->val.data;
    if (d->names && v->names && strcmp(d->names, v->names))
        return fail(t->a, 1, "--val", "its classes are '%.200s', those of --data '%.200s'", v->names,
                    d->names);
    return 0;
}

/* The machines of training and of --val: the first leaves room for the least that the other takes. */
static int make_machines(trainer *t, const char *rules)
{
    app *a = t->a;
    const int batch = (int)a->set.batch;
    alore_model *m = NULL;
    alore_memory least = ALORE_ZERO;
    int rc = 0;
    if (a->set.val && a->set.memory) {
        rc = build_model(a, &t->n, rules, false, &m);
        if (!rc) rc = least_memory(a, m, plan_opts(a, batch, false), &least);
        alore_model_destroy(m);
    }
    a->held += least.total;
    if (!rc) rc = make_machine(a, &t->n, rules, true, batch, &t->m);
    a->held -= least.total;
    if (!rc && a->set.val) rc = make_machine(a, &t->n, rules, false, batch, &t->v);
    return rc;
}

/* Keep what comes before the first adapter: an item's picture is the same in every pass. */
static int open_cache(trainer *t)
{
    app *a = t->a;
    const alore_dtype type = a->set.cache_type == 1 ? ALORE_BF16 : ALORE_F32;
    const size_t each = alore_cache_bytes(t->m.plan, type), items = (size_t)t->data.data.count;
    if (!a->set.cache) return 0;
    if (!each) {
        remark(a, "--cache: nothing is kept: what learns, or is random, begins with the first layers");
        return 0;
    }
    const size_t fit = a->set.cache / each < items ? (size_t)(a->set.cache / each) : items;
    void *memory = take(a, fit, each);
    t->item = (uint32_t *)take(a, (size_t)a->set.batch, sizeof *t->item);
    if (!memory || !t->item) return 1;
    if (alore_cache_bind(&t->cache, t->m.run, (uint32_t)items, type, memory, fit * each))
        return fail_library(a, 1, "--cache");
    remark(a, "--cache keeps %zu of %zu items, %zu bytes each", fit, items, each);
    return 0;
}

/* Open the network and the data; nothing is written yet. */
static int open_inputs(trainer *t)
{
    app *a = t->a;
    const settings *s = &a->set;
    int rc = check_out(a);
    if (!rc) rc = open_network(a, &t->n, s->init_adapter);
    if (!rc && !t->n.file) rc = fail(a, 2, "--weights", "missing: training needs a base");
    if (!rc) rc = open_source(a, "--data", s->data, &t->data);
    if (!rc && s->val) rc = open_source(a, "--val", s->val, &t->val);
    if (!rc) rc = settle_head(a, &t->n, &t->data.data, true);
    if (!rc) rc = check_val(t);
    if (!rc) rc = check_labels(a, &t->n, &t->data);
    if (!rc && s->val) rc = check_labels(a, &t->n, &t->val);
    if (!rc) rc = find_transform(a, &t->n, &t->data);
    if (!rc && s->val) rc = find_transform(a, &t->n, &t->val);
    if (rc) return rc;
    const data_set *d = &t->data.data;
    if (d->test >= 0 && d->first + d->count > d->test)
        remark(a, "%s holds the test images, items %d and up, too", s->data, d->test);
    return 0;
}

/* Open all that training reads, and build it. */
static int open_training(trainer *t)
{
    app *a = t->a;
    const settings *s = &a->set;
    const data_set *d = &t->data.data;
    int rc = open_inputs(t);
    if (!rc) rc = plan_steps(t);
    if (rc) return rc;
    set_optimizer(t);
    a->held += (size_t)s->cache;
    rc = make_machines(t, s->attach);
    if (!rc) rc = check_head(t);
    if (!rc) rc = open_cache(t);
    if (rc) return rc;
    const bool rounds = t->item && s->cache_type == 1;
    t->tag = text_of(a,
                     "rules %s\nbase %016llx\nclasses %d\nitems %d\nbatch %d\n"
                     "accumulate %d\nseed %llu\nshuffle %d\ndrop-last %d\noptimizer %d\n"
                     "cache %s\nprecision %s\nstore %s\nspan %d\nsmoothing %.17g\ndrop-path %.17g\n"
                     "decay %.17g %d\nbetas %.17g %.17g\neps %.17g\nmomentum %.17g\nclip %.17g\ntransform %s",
                     alore_rules(t->m.model), (unsigned long long)t->n.fingerprint, t->n.config.classes,
                     d->count, (int)s->batch, (int)s->accumulate, (unsigned long long)s->seed, s->shuffle,
                     s->drop_last,
                     s->optimizer == 0 ? 0
                     : s->momentum > 0 ? 1
                                       : 2,
                     rounds ? "bf16" : "f32", s->precision ? "bf16" : "f32",
                     s->store == 0   ? "f32"
                     : s->store == 1 ? "bf16"
                                     : "small",
                     (int)s->span, s->smoothing, s->drop_path, s->decay, s->decay_what, s->betas[0], s->betas[1],
                     s->eps, s->momentum, s->clip, t->data.text ? t->data.text : "none");
    t->best_top1 = -1;
    if (s->resume) rc = read_checkpoint(t);
    t->first_step = t->step;
    return rc;
}

/* One batch forward and backward; adds its losses to `sum`. */
static int train_batch(trainer *t, uint64_t batch, double *sum)
{
    app *a = t->a;
    int32_t *label = (int32_t *)alore_run_input(t->m.run, "label");
    int rc, count = (int)a->set.batch;
    for (int j = 0; j < count; ++j) {
        int item = stream_item(t, batch, (uint64_t)j);
        const bool held = t->item && alore_cache_holds(&t->cache, (uint32_t)item);
        if (!held && (rc = fill(a, &t->n, &t->m, &t->data, j, item))) return rc;
        if (t->item) t->item[j] = (uint32_t)item;
        label[j] = data_label(&t->data.data, item);
    }
    alore_status status = t->item ? alore_backward_cached(t->m.run, &t->cache, t->item, count)
                                  : alore_backward(t->m.run, count);
    const float *loss = alore_run_output(t->m.run, "loss");
    for (int j = 0; j < count; ++j) {
        if (!isfinite(loss[j]))
            return fail(a, 1, "train",
                        "step %llu: the loss of item %d is not finite; "
                        "nothing is written",
                        (unsigned long long)t->step + 1,
                        t->data.data.first + stream_item(t, batch, (uint64_t)j));
        *sum += (double)loss[j];
    }
    return status ? fail_library(a, 1, "train") : 0;
}

static void write_log(trainer *t, float lr, float norm, double rate)
{
    report r = {t->log, true, false};
    put_open(&r, NULL, '{');
    put_whole(&r, "step", t->step);
    put_real(&r, "loss", (double)(float)t->loss);
    put_real(&r, "lr", (double)lr);
    put_real(&r, "grad_norm", (double)norm);
    put_real(&r, "images_per_second", rate);
    put_close(&r, '}');
    putc('\n', t->log);
    fflush(t->log);
}

/* The batches of the next step, forward and backward: their mean loss, and how many items they have. */
static int step_batches(trainer *t, uint64_t *items)
{
    const uint64_t per_step = (uint64_t)t->a->set.accumulate, first = t->step * per_step;
    const uint64_t last = first + per_step < t->batches ? first + per_step : t->batches;
    double sum = 0;
    int rc = 0;
    for (uint64_t b = first; b < last && !rc; ++b) rc = train_batch(t, b, &sum);
    *items = (last - first) * (uint64_t)t->a->set.batch;
    t->loss = sum / (double)*items;
    return rc;
}

/* The optimiser's step behind them; what was done since `start` is logged and told. */
static int step_end(trainer *t, const char *what, uint64_t items, double start)
{
    app *a = t->a;
    float norm = 0, lr = alore_lr(&t->schedule, (int)t->step);
    const uint64_t left = t->batches - t->first_step * (uint64_t)a->set.accumulate;
    char note[80];
    if (alore_step(t->m.run, &t->opts, lr, &norm)) return fail_library(a, 1, what);
    t->items += items;
    ++t->step;
    const double took = now() - start;
    if (t->log) write_log(t, lr, norm, (double)items / (took > 1e-9 ? took : 1e-9));
    snprintf(note, sizeof note, "  step %llu  loss %.4f  lr %.3g", (unsigned long long)t->step, t->loss,
             (double)lr);
    progress(a, what, (double)t->items, (double)left * (double)a->set.batch, t->start + t->spent, note);
    return 0;
}

static int train_step(trainer *t)
{
    const double start = now();
    uint64_t items;
    const int rc = step_batches(t, &items);
    return rc ? rc : step_end(t, "train", items, start);
}

/* Evaluate on --val with the parameters of now, and keep them if they are best. */
static int validate(trainer *t)
{
    double start = now();
    alore_weights *adapter = NULL;
    alore_writer w = {bytes_write, NULL};
    score *s = &t->now;
    int rc = make_adapter(t, &adapter);
    if (!rc && alore_run_load(t->v.run, adapter)) rc = fail_library(t->a, 1, "--val");
    if (!rc) rc = evaluate(t->a, &t->n, &t->v, &t->val, s);
    bool best = !rc && s->top1 > t->best_top1;
    if (!rc && (best || t->a->set.keep == 0)) t->score = *s;
    if (best) {
        t->best_top1 = s->top1;
        t->best.count = 0;
        w.user = &t->best;
        if (t->a->set.keep == 1 && alore_weights_write(adapter, &w)) rc = fail_library(t->a, 1, "--keep");
    }
    alore_weights_destroy(adapter);
    t->spent += now() - start;
    if (rc || t->a->set.quiet) return rc;
    end_line(t->a);
    fprintf(stderr, "step %llu  val top1 %.2f %%  top5 %.2f %%  loss %.4f\n", (unsigned long long)t->step,
            100 * s->top1, 100 * s->top5, s->loss);
    return 0;
}

/* Whether a pass ended with the last step. */
static bool pass_ended(const trainer *t)
{
    const settings *s = &t->a->set;
    uint64_t n = (uint64_t)t->data.data.count, size = (uint64_t)s->batch;
    uint64_t pass = s->drop_last ? n / size : n, unit = s->drop_last ? 1 : size;
    uint64_t per_step = (uint64_t)s->accumulate * unit;
    return t->step * per_step / pass != (t->step - 1) * per_step / pass;
}

static int train_loop(trainer *t)
{
    app *a = t->a;
    const settings *s = &a->set;
    int rc = 0;
    if (s->log && !(t->log = fopen(s->log, s->resume ? "ab" : "wb")))
        return fail(a, 1, s->log, "cannot be written: %s", strerror(errno));
    t->start = now();
    while (!rc && t->step < t->steps) {
        rc = train_step(t);
        bool end = t->step == t->steps;
        if (!rc && s->val && (end || pass_ended(t))) rc = validate(t);
        if (!rc && !end && s->every && t->step % (uint64_t)s->every == 0) rc = write_checkpoint(t);
    }
    if (!rc && s->val && t->first_step == t->steps) rc = validate(t);
    t->spent = now() - t->start - t->spent;
    end_line(a);
    return rc;
}

/* The adapter file; where the best came from a checkpoint, its score, too. */
static int write_adapter(trainer *t)
{
    alore_weights *adapter = NULL;
    const char *part;
    FILE *f;
    int rc = 0;
    if (t->best.count) {
        if (!t->score.count) {
            if (alore_weights_open(&t->a->ctx, t->best.data, t->best.count, &adapter) ||
                alore_run_load(t->v.run, adapter))
                return fail_library(t->a, 1, "--resume");
            rc = evaluate(t->a, &t->n, &t->v, &t->val, &t->score);
        }
        if (rc || !(f = save_open(t->a, t->a->set.out, &part))) return 1;
        return save_close(t->a, f, t->a->set.out, part, write_out(f, t->best.data, t->best.count));
    }
    rc = make_adapter(t, &adapter);
    if (!rc && alore_weights_save(adapter, t->a->set.out)) rc = fail_library(t->a, 1, t->a->set.out);
    return rc;
}

/* All that stands at the end. Of adapter, checkpoint and log each is written whatever happens to the others. */
static int write_results(trainer *t)
{
    app *a = t->a;
    int rc = write_adapter(t);
    if (a->set.checkpoint && write_checkpoint(t)) rc = 1;
    const bool bad = t->log && ferror(t->log);
    if (t->log && (fclose(t->log) || bad)) rc = fail(a, 1, "--log", "not all of it could be written");
    t->log = NULL;
    return rc;
}

static void put_training(const trainer *t)
{
    report r = put_begin(t->a);
    double seconds = t->spent > 1e-9 ? t->spent : 1e-9;
    put_whole(&r, "steps", t->step);
    put_real(&r, "loss", t->items ? (double)(float)t->loss : (double)NAN);
    put_real(&r, "images_per_second", (double)(float)((double)t->items / seconds));
    put_real(&r, "seconds", (double)(float)seconds);
    put_whole(&r, "trainable", alore_trainable(t->m.plan));
    put_whole(&r, "planned_bytes", (uint64_t)alore_plan_memory(t->m.plan).base + t->a->held);
    put_whole(&r, "peak_rss", bench_peak_rss());
    if (t->a->set.val) {
        put_score(&r, &t->score, !r.json);
        put_open(&r, "val", '{');
        if (r.json) put_score(&r, &t->score, true);
        put_close(&r, '}');
    }
    put_end(&r);
}

static int run_train(app *a)
{
    trainer *t = (trainer *)take(a, 1, sizeof *t);
    if (!t) return 1;
    t->a = a;
    int rc = open_training(t);
    if (!rc) rc = train_loop(t);
    if (!rc) rc = write_results(t);
    if (!rc) put_training(t);
    data_close(&t->data.data);
    data_close(&t->val.data);
    free(t->best.data);
    return rc;
}

/* ---- merge and export ------------------------------------------------------- */

/* The metadata of a merged file: the checkpoint's, and where the adapter brought a
 * head or other pixels, what it says of them. */
static int merged_metadata(app *a, const network *n, alore_weights *w)
{
    char backbone[256];
    const char *value, *steps = meta(n->adapter, "alore.transform");
    bool head = head_rows(n->adapter) > 0, other = head_rows(n->adapter) != head_rows(n->file);
    alore_status status = names_copy_meta(w, n->file) ? ALORE_OK : ALORE_ERR_MEMORY;
    alore_vit_text(&n->config, backbone, sizeof backbone);
    if (!status && (!meta(n->file, "alore.backbone") || (head && other)))
        status = alore_weights_set_meta(w, "alore.backbone", backbone);
    value = meta(n->adapter, "alore.labels");
    if (!status && head && (value || other)) status = alore_weights_set_meta(w, "alore.labels", value);
    value = meta(n->file, "alore.transform");
    if (!value) value = usual_transform(a, &n->config);
    if (!status && steps && strcmp(steps, value))
        status = alore_weights_set_meta(w, "alore.transform", steps);
    return status ? fail_library(a, 1, "metadata") : 0;
}

static int run_merge(app *a)
{
    static const alore_dtype types[] = {ALORE_F32, ALORE_F16, ALORE_BF16};
    network n;
    alore_model *model = NULL;
    alore_weights *merged = NULL;
    alore_merge_opts o = ALORE_ZERO;
    alore_merge_report c = ALORE_ZERO;
    int rc = check_out(a);
    if (!rc) rc = open_model(a, &n, NULL, false, &model);
    if (rc) return rc;
    o.convert = is_given(a, "--dtype");
    o.dtype = types[a->set.dtype];
    if (is_given(a, "--tolerance")) o.tolerance = fmaxf((float)a->set.tolerance, FLT_MIN); /* 0: another meaning */
    if (alore_merge(model, n.base, n.start, &o, &merged, &c)) return fail_library(a, 1, "merge");
    if ((rc = merged_metadata(a, &n, merged))) return rc;
    char why[IMG_WHY];
    alore_weights *named = merged; /* in the names that the checkpoint came in */
    if (n.names.style != NAMES_TIMM && !names_from_timm(&a->ctx, merged, n.names, &named, why))
        return fail(a, 1, "merge", "%s", why);
    if (alore_weights_save(named, a->set.out)) return fail_library(a, 1, a->set.out);
    report r = put_begin(a);
    put_whole(&r, "sites", (uint64_t)c.sites);
    put_whole(&r, "tensors_changed", (uint64_t)c.tensors_changed);
    put_real(&r, "worst_error", (double)c.worst_error);
    put_string(&r, "worst_site", c.worst_site);
    put_share(&r, "worst_lost", (double)c.worst_lost);
    put_string(&r, "lost_site", c.lost_site);
    put_end(&r);
    return 0;
}

/* DIR/adapter.safetensors, or the file itself where the name ends so. */
static const char *export_path(app *a)
{
    const char *out = a->set.out;
    struct stat info;
    if (data_ends(out, ".safetensors")) return out;
    if (!stat(out, &info) ? !S_ISDIR(info.st_mode) : mkdir(out, 0777) != 0) {
        fail(a, 1, out, "is no folder, nor can it be made one: %s", strerror(errno));
        return NULL;
    }
    return text_of(a, "%s/adapter.safetensors", out);
}

/* The adapter as plain LoRA, in place of itself. */
static int as_lora(app *a, network *n, const alore_model *model)
{
    alore_weights *lora = NULL;
    if (alore_export_lora(model, n->base, n->start, &lora)) return fail_library(a, 1, "export");
    int rc = describe(a, n, n->labels, meta(n->adapter, "alore.transform"), lora);
    n->start = n->adapter = lora;
    return rc;
}

/* The model of the adapter, and all that the adapter holds, also what a seed makes again. */
static int whole_adapter(app *a, const network *n, alore_model **model, alore_weights **out)
{
    alore_plan_opts o = ALORE_ZERO;
    alore_plan *p = NULL;
    alore_run *run = NULL;
    int rc = build_model(a, n, NULL, false, model);
    o.frozen = true;
    if (rc) return rc;
    if (alore_plan_create(*model, &o, &p)) return fail_library(a, 1, "plan");
    if (alore_run_create(p, n->base, &run)) return fail_library(a, 1, a->set.weights);
    if (alore_run_load(run, n->start)) return fail_library(a, 1, n->adapter_path);
    return alore_run_export(run, out) ? fail_library(a, 1, n->adapter_path) : 0;
}

/* A folder of PEFT; what it has no form for is written as plain LoRA. */
static int export_peft(app *a, network *n)
{
    static const names_style styles[] = {NAMES_TIMM, NAMES_HF4, NAMES_HF5};
    char why[IMG_WHY], reason[IMG_WHY] = "";
    const char *type = "", *last;
    bool plain = false, good;
    naming as = n->names;
    alore_model *model = NULL;
    alore_weights *adapter = NULL;
    if (is_given(a, "--names")) as.style = styles[a->set.names];
    int rc = whole_adapter(a, n, &model, &adapter);
    if (rc) return rc;
    good = peft_write(&a->ctx, model, n->base, adapter, as, a->set.out, &type, &plain, why);
    if (!good && plain) {
        memcpy(reason, why, sizeof why);
        if ((rc = as_lora(a, n, model)) || (rc = whole_adapter(a, n, &model, &adapter))) {
            last = text_of(a, "%s", a->message);
            return fail(a, rc, "export", "PEFT cannot say this: %s. As plain LoRA: %s", reason, last);
        }
        good = peft_write(&a->ctx, model, n->base, adapter, as, a->set.out, &type, &plain, why);
        if (good) remark(a, "written as plain LoRA, since PEFT cannot say this: %s", reason);
    }
    if (!good) return fail(a, 1, a->set.out, "%s", why);
    report r = put_begin(a);
    put_string(&r, "out", a->set.out);
    put_string(&r, "type", type);
    put_string(&r, "rules", meta(n->start, "alore.rules"));
    put_end(&r);
    return 0;
}

static int run_export(app *a)
{
    network n;
    alore_model *model = NULL;
    if (a->set.as == 1 && is_given(a, "--names")) return fail(a, 2, "--names", "is of --as peft");
    int rc = a->set.as ? open_model(a, &n, NULL, false, &model) : open_network(a, &n, a->set.adapter);
    if (!rc && !a->set.as) rc = settle_head(a, &n, NULL, false);
    if (!rc && !a->set.as) return export_peft(a, &n);
    if (!rc) rc = as_lora(a, &n, model);
    if (rc) return rc;
    const char *path = export_path(a);
    if (!path) return 1;
    if (alore_weights_save(n.start, path)) return fail_library(a, 1, path);
    report r = put_begin(a);
    put_string(&r, "out", path);
    put_string(&r, "rules", meta(n.start, "alore.rules"));
    put_end(&r);
    return 0;
}

/* ---- search spt ------------------------------------------------------------- */

/* End a machine, and the packed base: kernels of other rules may want it otherwise. */
static void close_machine(app *a, machine *m)
{
    if (m->run) a->held -= alore_plan_memory(m->plan).total;
    alore_run_destroy(m->run);
    alore_plan_destroy(m->plan);
    alore_model_destroy(m->model);
    alore_weights_destroy(a->packed);
    a->packed = NULL;
    memset(m, 0, sizeof *m);
}

typedef struct spt {
    trainer *t;
    alore_model *model; /* everything unfrozen: it knows sites, names, shapes */
    alore_plan *plan;
    float *sums; /* of all candidates, one tensor after the other */
    size_t *at;  /* where parameter i of `plan` begins there; SIZE_MAX: no candidate */
    search_part *parts;
    int count, blocks, groups;
    bool token;
    size_t always, head, found; /* numbers of the class token, of the head; entries in `list` */
    search_entry *list;
    search_cost cost;
    char *rules;
} spt;

static bool has_ending(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n >= m && !strcmp(name + n - m, end);
}

/* What may learn, and in which parts it is decided. */
static int open_parts(spt *x)
{
    app *a = x->t->a;
    alore_plan_opts o = ALORE_ZERO;
    size_t total = 0;
    int rc = build_model(a, &x->t->n, "unfreeze@*", false, &x->model);
    if (rc) return rc;
    if (alore_plan_create(x->model, &o, &x->plan)) return fail_library(a, 1, "plan");
    const int params = alore_param_count(x->plan);
    x->at = (size_t *)take(a, (size_t)params, sizeof *x->at);
    x->parts = (search_part *)take(a, 3 * (size_t)params, sizeof *x->parts);
    if (!x->at || !x->parts) return 1;
    for (int i = 0; i < alore_site_count(x->model); ++i)
        if (alore_site_at(x->model, i)->block >= x->blocks) x->blocks = alore_site_at(x->model, i)->block + 1;
    for (int pass = 0; pass < 2; ++pass) {
        if (pass && !(x->sums = (float *)take(a, total, sizeof *x->sums))) return 1;
        total = 0;
        x->count = 0;
        for (int i = 0; i < params; ++i) {
            alore_param_info info = alore_param_at(x->plan, i);
            int n = search_parts(x->model, info, (int)a->set.rank, a->set.alpha, a->set.beta,
                                 x->parts + x->count);
            x->at[i] = n ? total : SIZE_MAX;
            for (int k = 0; k < n && pass; ++k) {
                search_part *p = &x->parts[x->count + k];
                p->scores = x->sums + total + (size_t)p->first * (size_t)p->cols;
            }
            if (!strcmp(info.name, "cls_token")) x->token = true, x->always = info.count;
            if (is_head(info.name) && !pass) x->head += info.count;
            if (n) total += info.count;
            x->count += n;
        }
    }
    return 0;
}

/* Rules that unfreeze the candidates of group g: its blocks, and with the first all that stands outside. */
static const char *group_rules(spt *x, int g)
{
    const int first = x->blocks * g / x->groups, end = x->blocks * (g + 1) / x->groups;
    char *text = text_of(x->t->a, "unfreeze@*#%d-%d", first, end - 1);
    for (int i = 0; i < alore_param_count(x->plan) && !g; ++i) {
        const char *name = alore_param_at(x->plan, i).name;
        if (x->at[i] != SIZE_MAX && strncmp(name, "blocks.", 7)) text = text_of(x->t->a, "%s|%s", text, name);
    }
    return text;
}

/* Groups of blocks that are trained by turns: the fewest that --memory allows. The scores, a number for each
 * parameter, come on top. */
static int open_groups(spt *x)
{
    app *a = x->t->a;
    for (x->groups = 1; a->set.memory; ++x->groups) {
        int rc = 0;
        for (int g = 0; g < x->groups && !rc; ++g) {
            machine m = {NULL, NULL, NULL};
            if ((rc = build_model(a, &x->t->n, group_rules(x, g), true, &m.model))) return rc;
            rc = make_plan(a, m.model, (int)a->set.batch, true, &m.plan);
            alore_plan_destroy(m.plan);
            alore_model_destroy(m.model);
        }
        if (!rc) break;
        if (x->groups == x->blocks) return rc;
    }
    if (x->groups > 1)
        remark(a, "--memory asks for %d groups of blocks, one pass over the batches for each", x->groups);
    return 0;
}

/* Add the squares of the mean gradient to the sums, and forget it. */
static int add_squares(spt *x)
{
    app *a = x->t->a;
    const machine *m = &x->t->m;
    alore_step_opts o = ALORE_ZERO;
    const float *g = alore_grads(m->run, NULL), scale = 1.0f / (float)a->set.batch;
    for (int i = 0, k = 0; i < alore_param_count(m->plan); ++i) {
        alore_param_info info = alore_param_at(m->plan, i);
        if (info.frozen) continue;
        const int all = alore_param_count(x->plan);
        for (int tries = 0; tries < all && strcmp(alore_param_at(x->plan, k).name, info.name); ++tries)
            k = (k + 1) % all;
        if (x->at[k] == SIZE_MAX) continue;
        float *to = x->sums + x->at[k];
        for (size_t j = 0; j < info.count; ++j) {
            const float v = g[info.first + j] * scale;
            to[j] += v * v;
        }
    }
    return alore_step(m->run, &o, 0, NULL) ? fail_library(a, 1, "search") : 0;
}

/* Sensitivities: for each batch the squared gradient of its mean loss. */
static int sum_squares(spt *x)
{
    trainer *t = x->t;
    app *a = t->a;
    const double start = now(), each = (double)a->set.batch, total = each * (double)a->set.batches;
    int rc = 0;
    a->set.optimizer = 1; /* a plan without moments; a step of rate 0 only forgets gradients */
    a->set.momentum = 0;
    if ((rc = open_groups(x))) return rc;
    for (int g = 0; g < x->groups && !rc; ++g) {
        rc = make_machine(a, &t->n, group_rules(x, g), true, (int)a->set.batch, &t->m);
        for (int64_t b = 0; b < a->set.batches && !rc; ++b) {
            double loss = 0;
            rc = train_batch(t, (uint64_t)b, &loss);
            if (!rc) rc = add_squares(x);
            progress(a, "search", total * g + each * (double)(b + 1), total * x->groups, start, "");
        }
        close_machine(a, &t->m);
    }
    end_line(a);
    return rc;
}

/* All sums by tensor, as the base has them. */
static int write_scores(spt *x)
{
    app *a = x->t->a;
    alore_weights *w = NULL;
    int rc = 0;
    if (!a->set.scores) return 0;
    if (alore_weights_create(&a->ctx, &w)) return fail_library(a, 1, "memory");
    for (int i = 0; i < alore_param_count(x->plan) && !rc; ++i) {
        alore_param_info info = alore_param_at(x->plan, i);
        const uint64_t rows = (uint64_t)info.shape.dims[0];
        unsigned char *to = NULL;
        if (x->at[i] == SIZE_MAX) continue;
        rc = add_floats(a, w, info.name, rows, info.shape.rank > 1 ? info.count / rows : 0, &to);
        if (!rc) store_floats(to, x->sums + x->at[i], info.count);
    }
    if (!rc && alore_weights_save(w, a->set.scores)) rc = fail_library(a, 1, a->set.scores);
    alore_weights_destroy(w);
    return rc;
}

/* Spend the budget. */
static int allocate(spt *x)
{
    app *a = x->t->a;
    const settings *s = &a->set;
    x->found = search_best(x->parts, x->count, SEARCH_SWEEP * (size_t)s->tau, &x->list);
    if (!own(a, x->list)) return 1;
    if (!x->found) return fail(a, 1, "search", "no parameter has a gradient: is the head zero?");
    x->cost =
        search_sweep(x->parts, x->count, x->list, x->found, (size_t)s->tau, (size_t)s->budget, x->always);
    search_text t = {NULL, 0, 0};
    search_rules(x->parts, x->count, x->list, x->cost.tau, (int)s->rank, x->token, &t);
    t.room = t.used + 1;
    if (!(t.at = x->rules = (char *)take(a, t.room, 1))) return 1;
    t.used = 0;
    search_rules(x->parts, x->count, x->list, x->cost.tau, (int)s->rank, x->token, &t);
    if (x->cost.left)
        remark(a,
               "%zu single entries of norms are left out, as nothing trains such: the published code only "
               "counts them",
               x->cost.left);
    const size_t b = (size_t)s->budget, total = x->cost.total;
    if (20 * (total > b ? total - b : b - total) > b)
        remark(a, "%zu numbers are the nearest to a budget of %zu in steps of --tau %lld entries", total, b,
               (long long)s->tau);
    return 0;
}

/* A frozen index of `sparse`, I32: (row, column) in the stored matrix, or places in the bias. */
static int add_index(spt *x, alore_weights *w, const alore_tensor *t, bool bias)
{
    app *a = x->t->a;
    const int length = (int)(strstr(t->name, ".sparse.") - t->name);
    const char *site = text_of(a, "%.*s", length, t->name);
    const size_t n = search_places(x->parts, x->count, x->list, x->cost.tau, site, bias, NULL);
    int64_t *places = (int64_t *)take(a, n, sizeof *places), cols = 1;
    uint64_t dims[2] = {n, 2};
    alore_tensor index = *t;
    if (!places) return 1;
    search_places(x->parts, x->count, x->list, x->cost.tau, site, bias, places);
    for (int p = 0; p < x->count; ++p)
        if (x->parts[p].matrix && !strcmp(x->parts[p].site, site)) cols = x->parts[p].cols;
    index.dtype = ALORE_I32;
    index.dims = dims;
    index.rank = bias ? 1 : 2;
    index.bytes = 4 * n * (bias ? 1 : 2);
    index.data = NULL;
    if (alore_weights_add(w, &index)) return fail_library(a, 1, t->name);
    unsigned char *to = (unsigned char *)alore_weights_data(w, t->name);
    for (size_t i = 0; i < n; ++i)
        for (int k = 0; k < (bias ? 1 : 2); ++k) {
            const int64_t v = bias ? places[i] : k ? places[i] % cols : places[i] / cols;
            for (int b = 0; b < 4; ++b) *to++ = (unsigned char)(v >> 8 * b);
        }
    return 0;
}

/* The adapter: start values of its rules, a new head zero, and the indices. */
static int write_spt(spt *x)
{
    trainer *t = x->t;
    app *a = t->a;
    machine m = {NULL, NULL, NULL};
    alore_weights *w = NULL, *out = NULL;
    int rc = make_machine(a, &t->n, x->rules, false, 1, &m);
    if (!rc && (alore_run_export(m.run, &w) || alore_weights_create(&a->ctx, &out)))
        rc = fail_library(a, 1, "adapter");
    for (int i = 0; !rc && i < alore_weights_count(w); ++i) {
        alore_tensor e = *alore_weights_at(w, i);
        const bool bias = has_ending(e.name, ".sparse.bias_index");
        if (is_head(e.name) && t->n.new_head) e.data = NULL; /* own bytes are zero */
        if (bias || has_ending(e.name, ".sparse.index"))
            rc = add_index(x, out, &e, bias);
        else if (alore_weights_add(out, &e))
            rc = fail_library(a, 1, e.name);
    }
    if (!rc && !names_copy_meta(out, w)) rc = fail_library(a, 1, "memory");
    if (!rc)
        rc = describe(a, &t->n, t->data.data.names ? t->data.data.names : t->n.labels, t->data.text, out);
    if (!rc && alore_run_load(m.run, out)) rc = fail_library(a, 1, "adapter");
    if (!rc && alore_trainable(m.plan) != x->cost.total + x->head)
        rc = fail(a, 1, "search", "the rules train %zu numbers, not %zu", alore_trainable(m.plan),
                  x->cost.total + x->head);
    if (!rc && alore_weights_save(out, a->set.out)) rc = fail_library(a, 1, a->set.out);
    return rc;
}

static void put_spt(const spt *x)
{
    const search_cost *c = &x->cost;
    report r = put_begin(x->t->a);
    put_whole(&r, "budget", (uint64_t)x->t->a->set.budget);
    put_whole(&r, "tau", c->tau);
    put_whole(&r, "matrices", c->matrices);
    put_whole(&r, "structured", c->structured);
    put_whole(&r, "vectors", c->vectors);
    put_whole(&r, "vector_numbers", c->vector_numbers);
    put_whole(&r, "entries", c->entries);
    put_whole(&r, "left_out", c->left);
    put_whole(&r, "cls_token", x->always);
    put_whole(&r, "total", c->total);
    put_whole(&r, "head", x->head);
    put_string(&r, "rules", x->rules);
    put_end(&r);
}

static int run_spt(app *a)
{
    spt *x = (spt *)take(a, 1, sizeof *x);
    if (!x || !(x->t = (trainer *)take(a, 1, sizeof *x->t))) return 1;
    x->t->a = a;
    if (!is_given(a, "--head-init")) a->set.head_init = 1;
    a->given[find_option("--head-init", 11)] = true; /* gradients come through a fresh head */
    int rc = open_inputs(x->t);
    if (!rc) rc = open_parts(x);
    if (!rc) rc = sum_squares(x);
    if (!rc) rc = write_scores(x);
    if (!rc) rc = allocate(x);
    if (!rc) rc = write_spt(x);
    if (!rc) put_spt(x);
    data_close(&x->t->data.data);
    return rc;
}

/* ---- search glora ----------------------------------------------------------- */

typedef struct glora {
    trainer *t, *f;       /* the supernet; the subnet that was found */
    search_space space;   /* of the run that is dressed */
    float *held, *params; /* the supernet's numbers; those of the run */
    size_t count;
    uint8_t *genes;
    search_evolution e;
    search_one best;
    uint64_t steps;
    double start;
    const char *rules;
} glora;

/* Make the machine's run the one that is dressed; what it has now is the supernet. */
static int open_space(glora *g, const machine *m)
{
    app *a = g->t->a;
    g->space.layer = (search_layer *)take(a, (size_t)alore_site_count(m->model), sizeof *g->space.layer);
    if (!g->space.layer) return 1;
    const char *lacks = search_open(m->model, m->plan, (int)a->set.rank, &g->space);
    if (lacks) return fail(a, 1, "search", "a layer has no %s: has it no bias?", lacks);
    g->params = alore_params(m->run, &g->count);
    g->held = (float *)take(a, g->count, sizeof *g->held);
    g->genes = (uint8_t *)take(a, (size_t)g->space.layers, SEARCH_GENES);
    if (!g->held || !g->genes) return 1;
    memcpy(g->held, g->params, g->count * sizeof *g->held);
    return 0;
}

/* A step of the supernet: dressed as a random subnet it goes there and back; the optimiser sees it whole. */
static int super_step(glora *g)
{
    trainer *t = g->t;
    const double start = now();
    uint64_t items;
    memcpy(g->held, g->params, g->count * sizeof *g->held);
    search_draw(&g->space, t->a->set.seed, t->step, g->genes);
    search_dress(&g->space, g->genes, g->held, g->params);
    const int rc = step_batches(t, &items);
    if (rc) return rc;
    search_undress(&g->space, g->genes, alore_grads(t->m.run, NULL));
    memcpy(g->params, g->held, g->count * sizeof *g->held);
    return step_end(t, "supernet", items, start);
}

/* Train the supernet, and give it to the run that evaluates. */
static int train_supernet(glora *g)
{
    trainer *t = g->t;
    app *a = t->a;
    alore_weights *w = NULL;
    int rc = open_space(g, &t->m);
    if (rc) return rc;
    for (int i = 0; i < g->space.layers * SEARCH_GENES; ++i)
        g->genes[i] = i % SEARCH_GENES < 3 ? SEARCH_LORA : SEARCH_VECTOR;
    const size_t largest = search_size(&g->space, g->genes);
    if (largest < (size_t)a->set.least)
        return fail(a, 1, "--least", "%lld is more than the largest subnet has, %zu", (long long)a->set.least,
                    largest);
    if (a->set.log && !(t->log = fopen(a->set.log, "wb")))
        return fail(a, 1, a->set.log, "cannot be written: %s", strerror(errno));
    t->start = now();
    while (!rc && t->step < t->steps) rc = super_step(g);
    end_line(a);
    g->steps = t->step;
    if (!rc) rc = make_adapter(t, &w);
    if (!rc && a->set.supernet && alore_weights_save(w, a->set.supernet))
        rc = fail_library(a, 1, a->set.supernet);
    if (!rc && alore_run_load(t->v.run, w)) rc = fail_library(a, 1, "search");
    alore_weights_destroy(w);
    return rc ? rc : open_space(g, &t->v);
}

/* Top-1 on --val is the fitness; among equals the loss tells. */
static int score_subnet(void *user, search_one *one)
{
    glora *g = (glora *)user;
    trainer *t = g->t;
    app *a = t->a;
    const double items = (double)t->val.data.count, all = (double)(a->set.population * a->set.generations);
    char note[80];
    search_dress(&g->space, one->genes, g->held, g->params);
    a->inner = true;
    int rc = evaluate(a, &t->n, &t->v, &t->val, &t->now);
    a->inner = false;
    if (rc) return rc;
    one->fitness = t->now.top1;
    one->loss = t->now.loss;
    snprintf(note, sizeof note, "  subnet %d of %.0f  best %.2f %%", one->order + 1, all,
             g->e.ranked ? 100 * g->e.list[g->e.rank[0]].fitness : 0);
    progress(a, "search", items * (one->order + 1), items * all, g->start, note);
    return 0;
}

/* "lora vector none constant none", by JSON one object for each layer. */
static void put_genes(report *r, const glora *g, const uint8_t *genes)
{
    put_open(r, "sites", '[');
    for (int l = 0; l < g->space.layers; ++l, genes += SEARCH_GENES) {
        const search_layer *layer = &g->space.layer[l];
        const size_t size = search_layer_size(layer, g->space.rank, genes);
        if (!r->json) {
            printf("  %-28s", layer->name);
            for (int k = 0; k < SEARCH_GENES; ++k) printf(" %c %-9s", "abcde"[k], search_words[genes[k]]);
            printf(" %zu\n", size);
            continue;
        }
        put_open(r, NULL, '{');
        put_string(r, "name", layer->name);
        for (int k = 0; k < SEARCH_GENES; ++k) {
            const char key[2] = {"abcde"[k], 0};
            put_string(r, key, search_words[genes[k]]);
        }
        put_whole(r, "parameters", size);
        put_close(r, '}');
    }
    put_close(r, ']');
}

/* Log and tell a generation. */
static int tell_generation(void *user, int generation)
{
    glora *g = (glora *)user;
    app *a = g->t->a;
    const search_one *best = &g->e.list[g->e.rank[0]];
    double mean = 0;
    int count = 0;
    for (int i = 0; i < g->e.count; ++i)
        if (g->e.list[i].generation == generation) mean += g->e.list[i].fitness, ++count;
    mean /= count ? count : 1;
    if (g->t->log) {
        report r = {g->t->log, true, false};
        put_open(&r, NULL, '{');
        put_whole(&r, "generation", (uint64_t)generation);
        put_whole(&r, "subnets", (uint64_t)count);
        put_whole(&r, "evaluated", (uint64_t)g->e.count);
        put_real(&r, "mean_top1", mean);
        put_real(&r, "best_top1", best->fitness);
        put_real(&r, "best_loss", best->loss);
        put_whole(&r, "best_parameters", best->size);
        put_genes(&r, g, best->genes);
        put_close(&r, '}');
        putc('\n', g->t->log);
        fflush(g->t->log);
    }
    if (a->set.quiet) return 0;
    end_line(a);
    fprintf(stderr, "generation %d  %d subnets  mean top1 %.2f %%  best %.2f %%  loss %.4f  parameters %zu\n",
            generation, count, 100 * mean, 100 * best->fitness, best->loss, best->size);
    return 0;
}

static int evolve(glora *g)
{
    app *a = g->t->a;
    const settings *s = &a->set;
    search_evolution *e = &g->e;
    e->space = &g->space;
    e->seed = s->seed;
    e->population = (int)s->population;
    e->generations = (int)s->generations;
    e->top = (int)s->top;
    e->mutate = (int)s->mutate;
    e->cross = (int)s->cross;
    e->probability = s->probability;
    e->least = (size_t)s->least;
    e->most = (size_t)s->most;
    e->score = score_subnet;
    e->told = tell_generation;
    e->user = g;
    g->start = now();
    int rc = search_evolve(e);
    end_line(a);
    if (rc < 0) return fail(a, 1, "memory", "malloc refused");
    if (rc) return rc;
    if (!e->ranked)
        return fail(a, 1, s->most ? "--most" : "--least", "no subnet of %lld to %lld parameters was found",
                    (long long)s->least, (long long)s->most);
    g->best = e->list[e->rank[0]];
    return 0;
}

/* The best subnet by itself: rules, slices of the supernet, its head; then a training of --retrain passes. */
static int finish_subnet(glora *g)
{
    trainer *t = g->t, *f = g->f;
    app *a = t->a;
    alore_weights *w = NULL, *start = NULL;
    search_text text = {NULL, 0, 0};
    int rc = 0;
    search_subnet_rules(&g->space, g->best.genes, &text);
    text.room = text.used + 1;
    text.used = 0;
    g->rules = text.at = (char *)take(a, text.room, 1);
    if (!text.at) return 1;
    search_subnet_rules(&g->space, g->best.genes, &text);
    if (alore_run_export(t->v.run, &w) || alore_weights_create(&a->ctx, &start) ||
        search_subnet(&g->space, g->best.genes, g->held, start))
        return fail_library(a, 1, "adapter");
    for (int i = 0; i < alore_weights_count(w); ++i)
        if (is_head(alore_weights_at(w, i)->name) && alore_weights_add(start, alore_weights_at(w, i)))
            return fail_library(a, 1, "adapter");
    f->a = a;
    f->n = t->n;
    f->n.start = start;
    f->data = t->data;
    f->val = t->val;
    f->log = t->log;
    f->best_top1 = -1;
    t->log = NULL;
    a->set.log = NULL; /* it is open */
    a->set.epochs = a->set.retrain;
    a->given[find_option("--steps", 7)] = false;
    if ((rc = plan_steps(f))) return rc;
    set_optimizer(f);
    close_machine(a, &t->v);
    close_machine(a, &t->m);
    rc = make_machines(f, g->rules);
    if (!rc) rc = train_loop(f);
    return rc ? rc : write_results(f);
}

static void put_glora(const glora *g)
{
    const trainer *f = g->f;
    report r = put_begin(f->a);
    put_whole(&r, "steps", g->steps);
    put_whole(&r, "evaluated", (uint64_t)g->e.count);
    put_whole(&r, "generation", (uint64_t)g->best.generation);
    put_whole(&r, "parameters", g->best.size);
    put_whole(&r, "head", alore_trainable(f->m.plan) - g->best.size);
    put_share(&r, "search_top1", g->best.fitness);
    put_whole(&r, "retrain_steps", f->step);
    put_score(&r, &f->score, true);
    put_string(&r, "rules", g->rules);
    put_genes(&r, g, g->best.genes);
    put_end(&r);
}

static int run_glora(app *a)
{
    glora *g = (glora *)take(a, 1, sizeof *g);
    if (!g || !(g->t = (trainer *)take(a, 1, sizeof *g->t)) || !(g->f = (trainer *)take(a, 1, sizeof *g->f)))
        return 1;
    g->t->a = a;
    a->set.attach = text_of(a, "glora:rank=%d@qkv|proj|fc1|fc2;unfreeze@head", (int)a->set.rank);
    int rc = open_training(g->t);
    if (!rc) rc = train_supernet(g);
    if (!rc) rc = evolve(g);
    if (!rc) rc = finish_subnet(g);
    if (!rc) put_glora(g);
    if (g->t->log) fclose(g->t->log);
    search_close(&g->e);
    data_close(&g->t->data.data);
    data_close(&g->t->val.data);
    free(g->f->best.data);
    return rc;
}

static int run_search(app *a) { return strcmp(a->operand, "spt") ? run_glora(a) : run_spt(a); }

/* ---- info, sites, plan ------------------------------------------------------ */

static void put_tensor(report *r, const alore_tensor *t)
{
    if (r->json) {
        put_open(r, NULL, '{');
        put_key(r, "name");
        put_text(r->to, t->name, t->name_bytes, true);
        put_string(r, "dtype", alore_dtype_name(t->dtype));
        put_open(r, "shape", '[');
        for (int i = 0; i < t->rank; ++i) put_whole(r, NULL, t->dims[i]);
        put_close(r, ']');
        put_close(r, '}');
        return;
    }
    printf("  %-6s", alore_dtype_name(t->dtype));
    int wide = 0;
    for (int i = 0; i < t->rank; ++i) wide += printf("%s%llu", i ? "x" : "", (unsigned long long)t->dims[i]);
    printf("%*s", wide < 18 ? 18 - wide : 1, "");
    put_text(stdout, t->name, t->name_bytes, false);
    putchar('\n');
}

static int run_info(app *a)
{
    alore_weights *w = NULL, *timm = NULL; /* as it is, and in timm's names */
    naming n;
    alore_vit_config c;
    char backbone[256] = "", print[20], why[IMG_WHY];
    const char *key, *value, *said;
    uint64_t total = 0;
    if (alore_weights_load(&a->ctx, a->operand, &w)) return fail_library(a, 1, a->operand);
    timm = w;
    (void)names_open(&a->ctx, a->operand, &timm, &n, why); /* what is no network has its tensors told, too */
    said = meta(timm, "alore.backbone");
    if (said ? !alore_vit_parse(&a->ctx, said, &c, NULL) : !alore_vit_detect(&a->ctx, timm, &c))
        alore_vit_text(&c, backbone, sizeof backbone);
    snprintf(print, sizeof print, "%016llx", (unsigned long long)alore_weights_fingerprint(timm));
    report r = put_begin(a);
    put_string(&r, "fingerprint", print);
    put_string(&r, "backbone", *backbone ? backbone : NULL);
    put_open(&r, "metadata", '{');
    for (int i = 0; i < alore_weights_meta_count(w); ++i) {
        alore_weights_meta_at(w, i, &key, &value);
        put_string(&r,
                   r.json ? key
                   : i    ? ""
                          : "metadata",
                   r.json ? value : text_of(a, "%s = %s", key, value));
    }
    put_close(&r, '}');
    for (int i = 0; i < alore_weights_count(w); ++i) total += alore_weights_at(w, i)->bytes;
    put_whole(&r, "bytes", total);
    put_whole(&r, "count", (uint64_t)alore_weights_count(w));
    put_open(&r, "tensors", '[');
    for (int i = 0; i < alore_weights_count(w); ++i) put_tensor(&r, alore_weights_at(w, i));
    put_close(&r, ']');
    put_end(&r);
    return 0;
}

static int run_sites(app *a)
{
    network n;
    alore_model *m = NULL;
    int rc = open_model(a, &n, a->set.attach, false, &m);
    if (rc) return rc;
    report r = put_begin(a);
    put_open(&r, "sites", '[');
    if (!r.json) printf("%-28s %-8s %8s %8s  %s\n", "site", "kind", "in", "out", "rules");
    for (int i = 0; i < alore_site_count(m); ++i) {
        const alore_site *s = alore_site_at(m, i);
        size_t need = alore_site_rules(m, i, NULL, 0) + 1;
        char *rules = (char *)take(a, need, 1);
        if (!rules) return 1;
        alore_site_rules(m, i, rules, need);
        if (!r.json) {
            printf("%-28s %-8s %8d %8d  %s\n", s->name, alore_kind_name(s->kind), s->in, s->out, rules);
            continue;
        }
        put_open(&r, NULL, '{');
        put_string(&r, "name", s->name);
        put_string(&r, "kind", alore_kind_name(s->kind));
        put_whole(&r, "in", (uint64_t)s->in);
        put_whole(&r, "out", (uint64_t)s->out);
        put_string(&r, "rules", rules);
        put_close(&r, '}');
    }
    put_close(&r, ']');
    put_end(&r);
    return 0;
}

/* Is there a rule that is no unfreeze? */
static bool names_method(const char *rules)
{
    for (; rules && *rules; rules = strchr(rules, ';') ? strchr(rules, ';') + 1 : NULL)
        if (strncmp(rules, "unfreeze", 8)) return true;
    return false;
}

/* A rule's line: parameters, FLOPs of an image's forward, bytes. */
static void put_cost(report *r, const char *rule, double flops, double bare, const alore_plan *train)
{
    const alore_memory b = alore_plan_memory(train);
    const size_t held = b.params + b.grads + b.optimizer + b.frozen + b.once;
    const uint64_t count = alore_trainable(train);
    if (!r->json)
        printf("%-44s %12llu %14.0f %6.2f %% %14zu\n", rule, (unsigned long long)count, flops,
               100 * flops / bare, held);
    if (!r->json) return;
    put_open(r, NULL, '{');
    put_string(r, "rules", rule);
    put_whole(r, "trainable", count);
    put_real(r, "flops", flops);
    put_whole(r, "bytes", held);
    put_close(r, '}');
}

/* What each method of the rules costs by itself: FLOPs that it adds to the forward of an image, and bytes of what
 * it learns with gradients and moments, keeps frozen, and makes once a step. */
static int put_costs(app *a, report *r, const network *n, const char *rules)
{
    char *text = text_of(a, "%s", rules);
    double bare = 0;
    int rc = 0;
    if (!r->json)
        printf("\n%-44s %12s %14s %8s %14s\n", "of this", "parameters", "FLOPs", "share", "bytes");
    put_open(r, "methods", '[');
    for (char *rule = NULL, *next = text; !rc && next; rule = next) {
        alore_model *m[2] = {NULL, NULL};
        alore_plan *p[2] = {NULL, NULL};
        if (rule && (next = strchr(rule, ';')) != NULL) *next++ = 0;
        if (rule && !strncmp(rule, "unfreeze", 8)) continue;
        for (int train = 0; train < 1 + (rule != NULL) && !rc; ++train) {
            alore_plan_opts o = ALORE_ZERO;
            o.train = train == 1;
            rc = build_model(a, n, rule ? rule : "", o.train, &m[train]);
            if (!rc && alore_plan_create(m[train], &o, &p[train])) rc = fail_library(a, 1, "plan");
        }
        if (!rc && !rule) bare = alore_plan_flops(p[0]);
        if (!rc && rule) put_cost(r, rule, alore_plan_flops(p[0]) - bare, bare, p[1]);
        for (int i = 0; i < 2; ++i) alore_plan_destroy(p[i]), alore_model_destroy(m[i]);
    }
    put_close(r, ']');
    return rc;
}

static int run_plan(app *a)
{
    alore_writer w = {write_out, stdout};
    network n;
    alore_model *m = NULL;
    alore_plan *p = NULL;
    bool train = a->set.train;
    int rc = open_model(a, &n, a->set.attach, train, &m);
    if (!rc) rc = make_plan(a, m, (int)a->set.batch, train, &p);
    if (rc) return rc;
    alore_memory b = alore_plan_memory(p);
    report r = put_begin(a);
    put_whole(&r, "base", b.base);
    put_whole(&r, "params", b.params);
    put_whole(&r, "frozen", b.frozen);
    put_whole(&r, "grads", b.grads);
    put_whole(&r, "optimizer", b.optimizer);
    put_whole(&r, "once", b.once);
    put_whole(&r, "activations", b.activations);
    put_whole(&r, "scratch", b.scratch);
    put_whole(&r, "arena", b.arena);
    put_whole(&r, "live_bound", b.live_bound);
    put_whole(&r, "io", b.io);
    put_whole(&r, "total", b.total);
    put_whole(&r, "with_base", (uint64_t)b.total + b.base);
    put_whole(&r, "lanes", (uint64_t)alore_plan_options(p).lanes);
    put_whole(&r, "split", (uint64_t)alore_plan_options(p).split);
    put_whole(&r, "trainable", alore_trainable(p));
    put_real(&r, "flops", alore_plan_flops(p));
    put_whole(&r, "records", (uint64_t)alore_plan_records(p));
    if (train) put_whole(&r, "cache_item", alore_cache_bytes(p, ALORE_F32));
    if (names_method(alore_rules(m))) rc = put_costs(a, &r, &n, alore_rules(m));
    if (rc) return rc;
    put_end(&r);
    if (a->set.records && !r.json && alore_plan_print(p, &w)) return fail_library(a, 1, "plan");
    return 0;
}

/* ---- count ------------------------------------------------------------------ */

typedef struct published {    /* a setting of the papers' tables, for ViT-B, in millions */
    const char *name, *rules;
    double millions;          /* 0: none */
    const char *note;
} published;

static const published papers[] = {
    {"linear", "unfreeze@head", 0.04, "49 classes, the mean of VTAB-1k"},
    {"bitfit", "unfreeze@*.bias", 0.10, NULL},
    {"norms", "unfreeze@norm1|norm2|norm", 0, NULL},
    {"attention", "unfreeze@qkv|proj", 0, NULL},
    {"last_block", "unfreeze@blocks.11.*", 0, "the last k blocks: a glob for each"},
    {"full", "unfreeze@*", 85.84, "published with a head of 49 classes"},
    {"alore_attn", "alore:rank=4,experts=4@qkv", 0.07, NULL},
    {"arc_att", "arc:rank=50@qkv", 0, NULL},
    {"repattn", "repadapter:rank=8,groups=2@qkv", 0, NULL},
    {"lora_qv", "lora:rank=8,parts=qv@qkv", 0.29, "as many as one pair on the whole qkv"},
};
static const char *const vit_b = "vit_base_patch16_224";

typedef struct counts {
    uint64_t trainable, head, adapters;
} counts;

static alore_status build_rules(alore_ctx *ctx, const void *arg, const char *rules, alore_model **out)
{
    const network *n = (const network *)arg;
    alore_status status = alore_model_create(ctx, out);
    if (!status) status = alore_attach(*out, rules);
    if (status) return status;
    alore_id image = alore_input(*out, "image", ALORE_F32, n->config.height * n->config.width, 3);
    alore_id y = alore_vit(*out, image, &n->config);
    alore_output(*out, n->config.no_head ? "y" : "logits", y);
    return alore_model_finish(*out);
}

/* What learns under `rules`. */
static alore_status measure_rules(app *a, const network *n, const char *rules, counts *c)
{
    alore_model *m = NULL;
    alore_plan *p = NULL;
    alore_plan_opts o = ALORE_ZERO;
    alore_status s = build_rules(&a->ctx, n, rules, &m);
    if (!s) s = alore_plan_create(m, &o, &p);
    memset(c, 0, sizeof *c);
    c->trainable = s ? 0 : alore_trainable(p);
    for (int i = 0; !s && i < alore_param_count(p); ++i) {
        alore_param_info info = alore_param_at(p, i);
        if (info.frozen) continue;
        if (!info.base)
            c->adapters += info.count;
        else if (is_head(info.name))
            c->head += info.count;
    }
    alore_plan_destroy(p);
    alore_model_destroy(m);
    return s;
}

static int count_rules(app *a, const network *n, const char *rules, counts *c)
{
    alore_model *m = NULL;
    if (alore_model_create(&a->ctx, &m)) return fail_library(a, 1, "memory");
    const alore_status s = alore_attach(m, rules);
    alore_model_destroy(m);
    if (s) return fail_library(a, s == ALORE_ERR_RULE ? 2 : 1, "--attach");
    return measure_rules(a, n, rules, c) ? fail_library(a, 1, "--attach") : 0;
}

/* A line of the table. What a backbone is too narrow for has no number, but a reason. */
static int put_method(app *a, report *r, network n, const published *row, bool known)
{
    counts c;
    char text[24] = "-", number[24] = "-", why[256] = "";
    const char *note = known && row->note ? row->note : "";
    n.config.no_head = strcmp(row->name, "linear") != 0; /* the others without a head */
    const bool fits = !measure_rules(a, &n, row->rules, &c);
    if (!fits) snprintf(why, sizeof why, "%s", alore_last_error(&a->ctx)->text);
    if (fits) snprintf(number, sizeof number, "%llu", (unsigned long long)c.trainable);
    if (!r->json) {
        if (known && row->millions > 0) snprintf(text, sizeof text, "%.2f M", row->millions);
        printf("%-12s %-48s %11s  %-9s %s\n", row->name, row->rules, number, text, fits ? note : why);
        return 0;
    }
    put_open(r, NULL, '{');
    put_string(r, "name", row->name);
    put_string(r, "rules", row->rules);
    if (fits)
        put_whole(r, "trainable", c.trainable);
    else
        put_real(r, "trainable", (double)NAN);
    put_real(r, "published", known && row->millions > 0 ? row->millions : (double)NAN);
    put_string(r, "note", fits ? note : why);
    put_close(r, '}');
    return 0;
}

/* Every method with its published rules, and what can be had by unfreezing. */
static int count_all(app *a, const network *n)
{
    const alore_method *m;
    bool known = !strcmp(a->set.backbone ? a->set.backbone : "", vit_b);
    int rc = 0;
    report r = put_begin(a);
    put_open(&r, "methods", '[');
    if (!r.json) printf("%-12s %-48s %11s  %s\n", "method", "rules", "trainable", "published");
    for (size_t i = 0; !rc && i < sizeof papers / sizeof *papers; ++i)
        rc = put_method(a, &r, *n, &papers[i], known);
    for (int i = 0; !rc && (m = alore_method_at(&a->ctx, i)); ++i) {
        const published row = {m->name, m->usual, m->published, m->note};
        if (m->usual && m->emit) rc = put_method(a, &r, *n, &row, known);
    }
    put_close(&r, ']');
    put_end(&r);
    return rc;
}

static int run_count(app *a)
{
    network n;
    counts c;
    if (!a->set.weights && !a->set.backbone) a->set.backbone = vit_b;
    int rc = open_network(a, &n, NULL);
    if (!rc) rc = settle_head(a, &n, NULL, true);
    if (!rc && !a->set.attach) return count_all(a, &n);
    if (!rc) rc = count_rules(a, &n, a->set.attach, &c);
    if (rc) return rc;
    report r = put_begin(a);
    put_whole(&r, "trainable", c.trainable);
    put_whole(&r, "head", c.head);
    put_whole(&r, "adapters", c.adapters);
    put_end(&r);
    return 0;
}

/* ---- bench ------------------------------------------------------------------ */

static void bench_progress(void *user, const char *what, int done, int total)
{
    progress_line((app *)user, what, done, total);
}

static void put_peaks(report *r, const bench *b)
{
    put_real(r, "peak_f32", bench_peak(b, BENCH_F32));
    put_real(r, "peak_bf16", bench_peak(b, BENCH_BF16));
    put_real(r, "peak_i8", bench_peak(b, BENCH_I8));
    put_whole(r, "threads", (uint64_t)b->threads);
    put_string(r, "isa", bench_isa(b));
}

static int run_kernels(app *a, bench *b)
{
    bench_row *list = (bench_row *)take(a, BENCH_ROWS, sizeof *list);
    if (!list) return 1;
    int count = bench_kernels(b, list);
    if (b->why) return fail(a, 1, "bench", "%s", b->why);
    end_line(a);
    report r = put_begin(a);
    put_peaks(&r, b);
    if (!r.json) printf("\n%-34s %9s %16s   %20s  of samples\n", "kernel", "", "of the peak", "range");
    put_open(&r, "rows", '[');
    for (int i = 0; i < count; ++i) {
        const bench_row *row = &list[i];
        const bool flops = row->type < BENCH_TYPES;
        if (!r.json) {
            printf("%-34s %9.2f %-8s %5.1f %%   %9.2f to %-9.2f %d of %d\n", row->name, row->rate,
                   flops ? "GFLOP/s" : "GB/s", 100 * row->share, row->low, row->high, row->kept,
                   row->samples);
            continue;
        }
        put_open(&r, NULL, '{');
        put_string(&r, "name", row->name);
        put_real(&r, flops ? "gflops" : "gbs", row->rate);
        put_real(&r, "share", row->share);
        put_real(&r, "min", row->low);
        put_real(&r, "max", row->high);
        put_whole(&r, "kept", (uint64_t)row->kept);
        put_whole(&r, "samples", (uint64_t)row->samples);
        put_close(&r, '}');
    }
    put_close(&r, ']');
    put_end(&r);
    return 0;
}

/* The batch: items of --data, one after the other, or random numbers. */
static int fill_batch(app *a, const network *n, const machine *m)
{
    source d = {0};
    const int batch = (int)a->set.batch, classes = n->config.classes;
    const size_t each = 3 * (size_t)n->config.height * (size_t)n->config.width;
    int32_t *label = (int32_t *)alore_run_input(m->run, "label");
    int rc = a->set.data ? open_source(a, "--data", a->set.data, &d) : 0;
    if (!rc && a->set.data && label) rc = check_labels(a, n, &d);
    if (!rc && a->set.data) rc = find_transform(a, n, &d);
    for (int i = 0; !rc && i < batch; ++i) {
        if (a->set.data) rc = fill(a, n, m, &d, i, i % d.data.count);
        if (label) label[i] = a->set.data ? data_label(&d.data, i % d.data.count) : i % classes;
    }
    if (!a->set.data) bench_fill((float *)alore_run_input(m->run, "image"), (size_t)batch * each, 0, 1, 5);
    return rc;
}

/* Where a step's time goes. Shares are of the whole step, and of the peak. */
static int run_profile(app *a, bench *b, const machine *m, const bench_stepper *step) {
    bench_profile *p = (bench_profile *)take(a, 1, sizeof *p);
    if (!p) return 1;
    if (!bench_profile_run(b, m->plan, step, b->most, p)) return fail_library(a, 1, "bench");
    end_line(a);
    report r = put_begin(a);
    if (!r.json)
        printf("%-16s %-10s %8s %10s %8s %10s %8s\n", "kernel", "of", "records", "ms", "of step", "GFLOP/s",
               "of peak");
    put_open(&r, "records", '[');
    for (int i = 0; i < p->count; ++i) {
        const bench_line *l = &p->lines[i];
        const double rate = l->product && l->seconds > 0 ? l->flops / l->seconds * 1e-9 : 0;
        if (!r.json) {
            printf("%-16s %-10s %8d %10.3f %6.1f %%", l->kernel, bench_owners[l->owner], l->records,
                   1e3 * l->seconds, 100 * l->seconds / p->seconds);
            if (l->product) printf(" %10.1f %6.1f %%", rate, 100 * rate / l->peak);
            printf("\n");
            continue;
        }
        put_open(&r, NULL, '{');
        put_string(&r, "kernel", l->kernel);
        put_string(&r, "of", bench_owners[l->owner]);
        put_whole(&r, "records", (uint64_t)l->records);
        put_real(&r, "seconds", l->seconds);
        put_real(&r, "part", l->seconds / p->seconds);
        if (l->product) put_real(&r, "gflops", rate);
        if (l->product) put_real(&r, "share", rate / l->peak);
        put_close(&r, '}');
    }
    put_close(&r, ']');
    put_real(&r, "seconds", p->seconds);
    for (int i = 0; i < BENCH_OWNERS; ++i) put_share(&r, bench_owners[i], p->of[i]);
    put_whole(&r, "batch", (uint64_t)a->set.batch);
    put_peaks(&r, b);
    put_end(&r);
    return 0;
}

/* Steps of a network, on its own weights or random ones. */
static int run_network(app *a, bench *b)
{
    const settings *s = &a->set;
    network n;
    machine m = {NULL, NULL, NULL};
    bench_row row = {0};
    bench_stepper step = ALORE_ZERO;
    int rc = open_network(a, &n, NULL);
    if (!rc) rc = settle_head(a, &n, NULL, true);
    if (!rc && s->train && n.config.no_head)
        return fail(a, 1, "--train", "the network has no head; --classes makes one");
    if (!rc && !n.file && bench_weights(&a->ctx, build_rules, &n, s->seed, &n.base))
        return fail_library(a, 1, "network");
    if (!rc) rc = make_machine(a, &n, s->attach, s->train, (int)s->batch, &m);
    if (!rc) rc = fill_batch(a, &n, &m);
    if (rc) return rc;
    step.run = m.run;
    step.train = s->train;
    if (s->serve) return bench_serve(&step, (int)s->batch, a->begun) ? 0 : fail_library(a, 1, "bench");
    if (!s->records && bench_step(&step) < 0) return fail_library(a, 1, "bench");
    const double first = bench_now() - a->begun; /* what of the bench comes later */
    if (!bench_open(b, (int)s->threads)) return fail(a, 1, "bench", "%s", b->why);
    if (s->records) return run_profile(a, b, &m, &step);
    if (!bench_network(b, m.plan, &step, (int)s->batch, &row)) return fail_library(a, 1, "bench");
    end_line(a);
    report r = put_begin(a);
    put_real(&r, "images_per_second", row.rate);
    put_real(&r, "min", row.low);
    put_real(&r, "max", row.high);
    put_share(&r, "share", row.share);
    if (n.file) put_real(&r, "first_seconds", first); /* else random weights were made, too */
    put_whole(&r, "planned_bytes", bench_planned(m.plan));
    put_whole(&r, "peak_rss", bench_peak_rss());
    put_real(&r, "flops", alore_plan_flops(m.plan));
    put_whole(&r, "batch", (uint64_t)s->batch);
    put_whole(&r, "steps", (uint64_t)row.samples);
    put_whole(&r, "kept", (uint64_t)row.kept);
    put_peaks(&r, b);
    put_end(&r);
    return 0;
}

static int run_bench(app *a)
{
    const settings *s = &a->set;
    const bool net = s->weights || s->backbone;
    static const char *const of_network[] = {"--train", "--attach", "--batch",  "--steps",
                                             "--data",  "--serve",  "--records"};
    for (size_t i = 0; !net && i < sizeof of_network / sizeof *of_network; ++i)
        if (is_given(a, of_network[i]))
            return fail(a, 2, of_network[i], "needs a network: --weights FILE or --backbone SPEC");
    if (net && s->train && !s->attach) return fail(a, 2, "--attach", "missing: --train asks for rules");
    if (s->records) a->set.threads = 1;
    if (is_given(a, "--steps") && (s->steps < 1 || s->steps > BENCH_SAMPLES))
        return fail(a, 2, "--steps", "'%lld' is not from 1 to %d", (long long)s->steps, BENCH_SAMPLES);
    bench *b = (bench *)take(a, 1, sizeof *b);
    if (!b) return 1;
    b->isa = s->isa;
    b->precision = s->precision;
    b->quick = s->quick;
    b->progress = bench_progress;
    b->user = a;
    if (net) {
        b->least = b->most = is_given(a, "--steps") ? (int)s->steps : s->quick ? 1 : 5;
        b->sample = 1e-9; /* a sample is one step */
        b->patience = 1e9;
    }
    int rc = net || bench_open(b, 1) ? 0 : fail(a, 1, "bench", "%s", b->why);
    if (!rc) rc = net ? run_network(a, b) : run_kernels(a, b);
    bench_close(b);
    return rc;
}

/* ---- The commands, help, main ----------------------------------------------- */

static int run_help(app *a);

/* clang-format off */
static const command commands[] = {
    {"info", C_INFO, "FILE", "tensors, shapes, types, metadata, fingerprint, backbone", "", run_info},
    {"sites", C_SITES, "NETWORK [--attach RULES]",
     "dry run: every site, its kind and widths, and which rule takes it", "", run_sites},
    {"plan", C_PLAN, "NETWORK [--attach RULES] [--batch N] [--train] [--records]",
     "bytes of every segment, FLOPs of a sample, parameters", "", run_plan},
    {"train", C_TRAIN, "NETWORK --attach RULES --data DATA --out ADAPTER",
     "train what the rules name; --attach may be missing beside --init-adapter, which has rules",
     "--weights --attach --data --out", run_train},
    {"eval", C_EVAL, "NETWORK [--adapter FILE] --data DATA",
     "top-1, top-5, mean per class, loss, confusion", "--weights --data", run_eval},
    {"predict", C_PREDICT, "NETWORK [--adapter FILE] --data DATA --out FILE.safetensors",
     "logits F32 [n, classes], with --features the head's input, too", "--weights --data --out", run_predict},
    {"merge", C_MERGE, "NETWORK --adapter FILE --out FILE",
     "the merged checkpoint and its certificate", "--weights --adapter --out", run_merge},
    {"export", C_EXPORT, "NETWORK --adapter FILE --as peft|lora --out DIR [--names timm|hf4|hf5]",
     "the adapter for others", "--weights --adapter --as --out", run_export},
    {"count", C_COUNT, "[--backbone SPEC] [--attach RULES]",
     "trainable parameters; without rules the table of all methods", "", run_count},
    {"search", C_SEARCH, "spt|glora NETWORK --data DATA --out ADAPTER",
     "what shall learn: spt spends --budget on the most sensitive parameters, glora trains a supernet and\n"
     "  finds its best subnet on --val; the adapter is for train --init-adapter, eval and merge",
     "--weights --data --out", run_search},
    {"bench", C_BENCH, "[NETWORK [--train --attach RULES] --batch N --steps S [--records]]",
     "speed as a share of what the machine can do: kernels on one thread, or a network's steps", "",
     run_bench},
    {"help", C_HELP, "[COMMAND|METHOD]", "more about one of them", "", run_help},
    {"convert", 0, "", "", "", NULL},
    {"analyse", 0, "", "", "", NULL},
};
/* clang-format on */
enum { COMMANDS = sizeof commands / sizeof *commands };

static const command *find_command(const char *name)
{
    for (int i = 0; i < COMMANDS; ++i)
        if (!strcmp(commands[i].name, name)) return &commands[i];
    return NULL;
}

static void help_command(const command *c)
{
    char left[64], start[40];
    printf("alore %s %s\n\n  %s\n\n", c->name, c->usage, c->help);
    if (c->bit & C_NET) printf("  NETWORK is --weights FILE, --backbone SPEC, or both.\n\n");
    for (int i = 0; i < OPTIONS; ++i) {
        const option *o = &options[i];
        if (!(o->commands & c->bit)) continue;
        snprintf(left, sizeof left, "%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
        *start = 0;
        if (o->start) snprintf(start, sizeof start, "%s(%s)", *o->help ? " " : "", o->start);
        const char *of = c->bit != C_SEARCH || (o->commands & C_SEARCH) == C_SEARCH ? ""
                         : o->commands & C_SPT                                     ? "spt: "
                                                                                   : "glora: ";
        printf("  %-36s  %s%s%s\n", left, of, o->help, start);
    }
}

/* The words of "a|b|c", the default's marked. */
static void put_words(const char *words, int chosen)
{
    const bool one = !strchr(words, '|');
    for (int i = 0; *words; ++i) {
        const int n = (int)strcspn(words, "|");
        printf("%s%.*s%s", i ? ", " : "", n, words, i == chosen && !one ? " (default)" : "");
        words += n + (words[n] == '|');
    }
    printf("\n");
}

/* Formula, paper, keys and what it costs. */
static int help_method(app *a, const alore_method *m)
{
    static const char *const places[] = {"default", "input", "parallel", "output", "weight", "inside"};
    network n;
    counts c;
    printf("%s\n\n  %s\n  %s\n\n  usual rules  %s\n  place        %s", m->name, m->formula, m->paper,
           m->usual, places[m->place]);
    for (int i = 1; i < 6; ++i)
        if (m->places >> i & 1 && i != (int)m->place) printf(", or place=%s", places[i]);
    printf("\n  mergeable    %s\n", m->mergeable ? m->mergeable : "yes");
    for (int i = 0; i < ALORE_MAX_KEYS && m->keys[i].name; ++i) {
        const alore_key *k = &m->keys[i];
        char text[40], low[40], high[40];
        printf("  %-11s  ", k->name);
        if (k->words && !strcmp(k->name, "parts"))
            printf("%s; the whole host without\n", k->words);
        else if (k->words)
            put_words(k->words, (int)k->value);
        else
            printf("%s (%s to %s%s)\n", k->required ? "required" : number(k->value, text),
                   number(k->least, low), number(k->most, high), k->whole ? ", whole" : "");
    }
    a->set.backbone = vit_b;
    int rc = open_network(a, &n, NULL);
    n.config.no_head = true;
    if (!rc) rc = count_rules(a, &n, m->usual, &c);
    if (!rc) printf("  on ViT-B/16  %llu parameters", (unsigned long long)c.trainable);
    if (!rc && m->published > 0) printf("; published: %.2f M", m->published);
    if (!rc) printf("\n%s%s%s", m->note ? "  note         " : "", m->note ? m->note : "", m->note ? "\n" : "");
    return rc;
}

static int run_help(app *a)
{
    const alore_method *m;
    if (a->operand) {
        const command *c = find_command(a->operand);
        if (c && !c->run) return fail(a, 2, a->operand, "not in this version");
        if (c) return help_command(c), 0;
        if ((m = alore_method_find(&a->ctx, a->operand))) return help_method(a, m);
    } else
        printf("alore - adapters for vision transformers\n\n");
    char names[600] = "";
    for (int i = 0; i < COMMANDS; ++i) {
        const command *c = &commands[i];
        if (!a->operand && c->run) printf("  alore %-8s %s\n%17s%s\n", c->name, c->usage, "", c->help);
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s, ", c->name);
    }
    if (!a->operand) printf("\nNot in this version: convert, analyse.\nMethods:");
    for (int i = 0; (m = alore_method_at(&a->ctx, i)); ++i) {
        if (!a->operand) printf(" %s", m->name);
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s, ", m->name);
    }
    if (a->operand)
        return fail(a, 2, a->operand, "no command and no method; there are %.*s", (int)strlen(names) - 2,
                    names);
    printf("\nExit status: 0 done, 1 a file, the data or a check is bad, 2 wrong usage.\n");
    return 0;
}

static int print_version(void)
{
    uint32_t v = alore_version();
    printf("alore %u.%u.%u\nisa    %s", (unsigned)(v >> 16), (unsigned)(v >> 8 & 255), (unsigned)(v & 255),
           alore_isa_name(ALORE_ISA_AUTO));
    for (int i = ALORE_ISA_SCALAR; i <= ALORE_ISA_NEON; ++i)
        if (alore_isa_name((alore_isa)i)) printf(i == ALORE_ISA_SCALAR ? " (of %s" : " %s", alore_isa_name((alore_isa)i));
    printf(")\nbuild  C%ld, gzip %s\n", (long)__STDC_VERSION__,
#ifdef ALORE_ZLIB
           "yes"
#else
           "no"
#endif
    );
    return 0;
}

/* How many cores this process may use. */
static long count_cores(void)
{
#ifdef __linux__
    unsigned char mask[1024] = {0};
    long count = 0;
    (void)syscall(SYS_sched_getaffinity, 0L, sizeof mask, mask);
    for (size_t i = 0; i < 8 * sizeof mask; ++i) count += mask[i / 8] >> i % 8 & 1;
    if (count) return count;
#endif
    return sysconf(_SC_NPROCESSORS_ONLN);
}

/* Defaults, options, context, command. */
static int call(app *a, int argc, char **argv)
{
    alore_config config = ALORE_ZERO;
    const char *name = argc > 1 ? argv[1] : "";
    if (!strcmp(name, "--version")) return print_version();
    if (!strcmp(name, "--help") || !strcmp(name, "-h")) name = "help";
    a->command = find_command(name);
    if (!a->command) {
        char names[300] = "";
        for (int i = 0; i < COMMANDS; ++i)
            snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i ? ", " : "",
                     commands[i].name);
        return fail(a, 2, *name ? name : "command", "%s: %s", *name ? "no such command" : "missing", names);
    }
    if (!a->command->run) return fail(a, 2, name, "not in this version");
    const long cores = count_cores();
    a->set.threads = cores < 1 ? 1 : cores > 1024 ? 1024 : cores;
    for (int i = 0; i < OPTIONS; ++i)
        if (options[i].start) set_field(&a->set, &options[i], options[i].start);
    int rc = parse(a, argc, argv);
    if (rc) return rc;
    if (a->set.help) return help_command(a->command), 0;
    config.threads = a->set.threads > 1 ? (int)a->set.threads : 0;
    config.isa = (alore_isa)a->set.isa;
    config.pin = true;
    config.log = library_remark;
    config.user = a;
    if (alore_init(&a->ctx, &config)) return fail(a, 1, "alore", "cannot start");
    a->shown = now();
    rc = a->command->run(a);
    alore_uninit(&a->ctx);
    return rc;
}

int main(int argc, char **argv)
{
    static app a;
    a.begun = bench_now();
    int rc = call(&a, argc, argv);
    end_line(&a);
    if (!rc && (fflush(stdout) || ferror(stdout)))
        rc = fail(&a, 1, "output", "cannot be written: %s", strerror(errno));
    if (rc) fprintf(stderr, "alore: %s\n", a.message);
    while (a.blocks) {
        block *b = a.blocks;
        a.blocks = b->next;
        free(b->data);
        free(b);
    }
    return rc;
}
