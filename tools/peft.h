/* peft.h - adapter folders of Hugging Face's PEFT, read and written.
 *
 *   adapter_config.json         what is adapted, and how
 *   adapter_model.safetensors   "base_model.model." + module + suffix
 *
 * Reading makes an adapter of alore.h: tensors in timm's names and the mathematical
 * layout, and rules as text, one for each group of sites with equal settings. Nothing is
 * passed over: a key that is not known and says something, a tensor that binds to
 * nothing, a target without its tensors are errors. Writing is the way back.
 *
 * A method is a row of `peft_types`: its suffixes, its keys, and the function that turns
 * the tensors of one module into those of a site. */
#ifndef ALORE_TOOLS_PEFT_H
#define ALORE_TOOLS_PEFT_H

#include "names.h"
#include <regex.h>
#include <unistd.h>

/* ---- Python's regular expressions, as POSIX has them ------------------------ */

enum { PEFT_PATTERN = 2000 };

static bool peft_pattern_fail(const char *pattern, const char *what, char *why)
{
    return img_fail(why, "the pattern \"%.200s\": %s", pattern, what);
}

/* The set that \d, \w, \s stand for, without brackets; NULL: no set. */
static const char *peft_class(char c)
{
    return c == 'd' ? "0-9" : c == 'w' ? "A-Za-z0-9_" : c == 's' ? " \t\n\r\f\v" : NULL;
}

/* A set "[...]" from behind its bracket; moves `*at` behind its end. */
static bool peft_set(const char *pattern, const char **at, char *out, size_t *n, char *why)
{
    const char *p = *at;
    bool minus = false, first = true;
    out[(*n)++] = '[';
    if (*p == '^') out[(*n)++] = *p++;
    for (; *p && (*p != ']' || first); ++p, first = false) {
        if (*p == '[' && strchr(":.=", p[1]) && p[1])
            return peft_pattern_fail(pattern, "a [ inside of a set is not read", why);
        if (*p != '\\') {
            out[(*n)++] = *p;
            continue;
        }
        const char *class_ = peft_class(*++p);
        if (*p == '-')
            minus = true;
        else if (class_)
            *n += (size_t)sprintf(out + *n, "%s", class_);
        else if (*p && !strchr("]^\\", *p) && !(*p >= 'a' && *p <= 'z') && !(*p >= 'A' && *p <= 'Z') &&
                 !(*p >= '0' && *p <= '9'))
            out[(*n)++] = *p;
        else
            return peft_pattern_fail(pattern, "this escape inside of a set is not read", why);
        if (!*p) break;
    }
    if (!*p) return peft_pattern_fail(pattern, "a set does not end", why);
    if (minus) out[(*n)++] = '-';
    out[(*n)++] = ']';
    *at = p + 1;
    return true;
}

/* "{2,3}" behind its bracket. The product of all such numbers is bounded: they are unrolled. */
static bool peft_repeat(const char *pattern, const char **at, char *out, size_t *n, double *product,
                        char *why)
{
    int low = 0, high = 0;
    const char *p = *at, *digits = p;
    while (*p >= '0' && *p <= '9') ++p;
    if (p > digits && !data_digits(digits, p, &low)) return peft_pattern_fail(pattern, "a number", why);
    if (*p == ',') {
        for (digits = ++p; *p >= '0' && *p <= '9';) ++p;
        if (p > digits && !data_digits(digits, p, &high)) return peft_pattern_fail(pattern, "a number", why);
    } else if (p == digits)
        return peft_pattern_fail(pattern, "a { that repeats nothing", why);
    if (*p != '}' || p[-1] == '{') return peft_pattern_fail(pattern, "a { that does not end", why);
    *product *= (high > low ? high : low) + 1;
    if (*product > 1000) return peft_pattern_fail(pattern, "it repeats too often", why);
    *n += (size_t)sprintf(out + *n, p[-1] == ',' ? "{%d,}" : high ? "{%d,%d}" : "{%d}", low, high);
    *at = p + 1;
    return true;
}

/* Compile `before` pattern `after`. What the two dialects do not share is refused. */
static bool peft_compile(const char *pattern, const char *before, const char *after, regex_t *re, char *why)
{
    char out[3 * PEFT_PATTERN + 64];
    size_t n = (size_t)sprintf(out, "%s", before);
    double product = 1;
    if (strlen(pattern) > PEFT_PATTERN / 4) return peft_pattern_fail(pattern, "it is too long", why);
    for (const char *p = pattern; *p;) {
        const char c = *p++, *class_ = c == '\\' ? peft_class(*p) : NULL;
        bool repeats = c == '*' || c == '+' || c == '?';
        if (class_) {
            n += (size_t)sprintf(out + n, "[%s]", class_);
            ++p;
        } else if (c == '\\' && *p && strchr("DWS", *p)) {
            n += (size_t)sprintf(out + n, "[^%s]", peft_class((char)(*p++ + 32)));
        } else if (c == '\\') {
            if (!*p || (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9'))
                return peft_pattern_fail(pattern, "an escape that is not read", why);
            if (strchr(".[]{}()*+?^$|\\", *p)) out[n++] = '\\';
            out[n++] = *p++;
        } else if (c == '[') {
            if (!peft_set(pattern, &p, out, &n, why)) return false;
        } else if (c == '{') {
            if (!peft_repeat(pattern, &p, out, &n, &product, why)) return false;
            repeats = true;
        } else if (c == '(' && *p == '?') {
            if (p[1] != ':') return peft_pattern_fail(pattern, "of (?...) only (?:...) is read", why);
            out[n++] = '(';
            p += 2;
        } else
            out[n++] = c;
        if (repeats && *p == '?') ++p; /* lazy: the same language */
        if (repeats && *p && strchr("*+?{", *p)) return peft_pattern_fail(pattern, "a repeat of a repeat", why);
    }
    sprintf(out + n, "%s", after);
    int code = regcomp(re, out, REG_EXTENDED | REG_NOSUB);
    if (!code) return true;
    char text[100];
    regerror(code, re, text, sizeof text);
    return peft_pattern_fail(pattern, text, why);
}

/* One value by pattern: rank_pattern, alpha_pattern. */
typedef struct peft_pattern {
    regex_t re;
    double value;
} peft_pattern;

/* ---- The adapter that is read ----------------------------------------------- */

enum { PEFT_SLOTS = 24, PEFT_SETTINGS = 160 };

typedef struct peft_module { /* a layer of the base, under the adapter's name for it */
    char name[NAMES_BYTES], site[NAMES_BYTES];
    const struct names_row *row;
    int block;
    int part;      /* letter of the fused one, 0: the whole */
    int in, out;   /* widths; of the part */
    int kernel[3]; /* [in, kh, kw] of a convolution, else 0 */
    bool target, used;
    char letters[4]; /* parts of the same layer with the same settings */
    const alore_tensor *slot[PEFT_SLOTS]; /* by the suffixes of the type */
    char settings[PEFT_SETTINGS];         /* "lora:rank=4,scale=2", "": nothing is left of it */
} peft_module;

typedef struct peft_param { /* a tensor of the base, or a part of it, under the adapter's name */
    char name[NAMES_BYTES + 64], base[NAMES_BYTES + 64];
    const struct names_row *row;
    int block;
    const char *leaf; /* of `base`: ".weight", "" */
    int part;         /* 0, or a letter: these rows of it */
    const alore_tensor *learnt;
} peft_param;

typedef struct peft_reader {
    alore_ctx *ctx;
    heap memory;
    const alore_weights *base, *file;
    alore_weights *out;
    const json *config;
    const struct peft_type *type;
    naming n;
    int depth;
    peft_module *modules;
    peft_param *params;
    int module_count, param_count;
    regex_t target, exclude, feedforward; /* where they are patterns */
    bool has_target, has_exclude, has_feedforward;
    peft_pattern *ranks, *alphas;
    int rank_count, alpha_count;
    const alore_tensor *vera[2];
    char *why;
} peft_reader;

typedef struct peft_type {
    const char *name, *method;
    const char *suffixes; /* joined by blanks */
    const char *keys;     /* that its tensors' meaning depends on, or that are only for training */
    bool (*read)(peft_reader *r, peft_module *m);
} peft_type;

/* ---- Values of the configuration -------------------------------------------- */

static bool peft_number(const peft_reader *r, const char *key, double otherwise, double least, double *out)
{
    const json *v = json_find(r->config, key);
    *out = otherwise;
    if (!v || v->kind == JSON_NULL) return true;
    *out = v->number;
    if (v->kind == JSON_NUMBER && v->number >= least) return true;
    return img_fail(r->why, "%s is no number from %g on", key, least);
}

static bool peft_flag(const peft_reader *r, const char *key, bool otherwise, bool *out)
{
    const json *v = json_find(r->config, key);
    *out = otherwise;
    if (!v || v->kind == JSON_NULL) return true;
    *out = v->number > 0;
    return v->kind == JSON_BOOL || img_fail(r->why, "%s is neither true nor false", key);
}

/* A text or a list of texts; nothing at all is fine where it `may` be. */
static bool peft_texts(const peft_reader *r, const char *key, bool may, char *why)
{
    const json *v = json_find(r->config, key);
    if (json_empty(v)) return may || img_fail(why, "%s names nothing", key);
    bool good = v->kind == JSON_TEXT || v->kind == JSON_LIST;
    for (const json *x = v->first; x && good; x = x->next) good = x->kind == JSON_TEXT;
    return good || img_fail(why, "%s is neither a text nor a list of texts", key);
}

/* Shortest decimal digits that read back as the same float. */
static const char *peft_digits(double x, char out[32])
{
    const float want = (float)x;
    for (int digits = 1; digits <= 9; ++digits) {
        snprintf(out, 32, "%.*g", digits, x);
        float back = strtof(out, NULL);
        if (!(back < want || back > want)) break;
    }
    return out;
}

/* Whether `path` is `ending` or ends with a dot and it. */
static bool peft_ends(const char *path, const char *ending, bool dot)
{
    const size_t n = strlen(path), m = strlen(ending);
    if (m > n || strcmp(path + n - m, ending)) return false;
    return m == n || !dot || path[n - m - 1] == '.';
}

static bool peft_match(const regex_t *re, const char *text) { return !regexec(re, text, 0, NULL, 0); }

/* Whether a list or pattern of the configuration names the module. */
static bool peft_names(const json *v, const regex_t *re, const char *path, bool dot)
{
    if (json_empty(v)) return false;
    if (v->kind == JSON_TEXT) return peft_match(re, path);
    for (const json *x = v->first; x; x = x->next)
        if (peft_ends(path, x->text, dot)) return true;
    return false;
}

/* Whether modules_to_save has the module `path`, or one that it lies in. */
static bool peft_saved(const peft_reader *r, const char *path)
{
    const json *v = json_find(r->config, "modules_to_save");
    char part[NAMES_BYTES + 64];
    if (json_empty(v)) return false;
    for (size_t n = strlen(path); n > 0; --n) {
        if (path[n] && path[n] != '.') continue;
        snprintf(part, sizeof part, "%.*s", (int)n, path);
        if (v->kind == JSON_TEXT && peft_ends(part, v->text, false)) return true;
        for (const json *x = v->first; x; x = x->next)
            if (peft_ends(part, x->text, false)) return true;
    }
    return false;
}

/* Whether layers_to_transform, which only lists of targets heed, has the module's block. */
static bool peft_layer(const peft_reader *r, const peft_module *m)
{
    const json *layers = json_find(r->config, "layers_to_transform");
    const json *pattern = json_find(r->config, "layers_pattern");
    if (!layers || layers->kind == JSON_NULL || (layers->kind == JSON_LIST && !layers->count)) return true;
    if (m->block < 0) return false;
    if (!json_empty(pattern)) { /* the word before the index */
        bool found = false;
        for (const json *x = pattern->kind == JSON_LIST ? pattern->first : pattern; x; x = x->next) {
            char dotted[NAMES_BYTES];
            snprintf(dotted, sizeof dotted, "%.100s.%d.", x->text, m->block);
            const char *at = strstr(m->name, dotted);
            if (at && (at == m->name || at[-1] == '.')) found = true;
            if (pattern->kind != JSON_LIST) break;
        }
        if (!found) return false;
    }
    if (layers->kind == JSON_NUMBER) return (int)layers->number == m->block;
    for (const json *x = layers->first; x; x = x->next)
        if ((int)x->number == m->block) return true;
    return false;
}

/* Whether the configuration makes the module a target. */
static bool peft_is_target(const peft_reader *r, const peft_module *m)
{
    const json *v = json_find(r->config, "target_modules");
    const json *task = json_find(r->config, "task_type");
    if (peft_names(json_find(r->config, "exclude_modules"), &r->exclude, m->name, true)) return false;
    if (peft_saved(r, m->name)) return false;
    if (v->kind == JSON_LIST) return peft_names(v, NULL, m->name, true) && peft_layer(r, m);
    if (strcmp(v->text, "all-linear")) return peft_match(&r->target, m->name);
    const bool seq = task && task->kind == JSON_TEXT && !strcmp(task->text, "SEQ_CLS");
    return !m->kernel[0] && !(seq && !strcmp(m->site, "head"));
}

/* ---- Taking tensors --------------------------------------------------------- */

static const char *peft_shape_text(const alore_tensor *t, char out[80])
{
    size_t n = 0;
    *out = 0;
    for (int i = 0; i < t->rank && n < 60; ++i)
        n += (size_t)snprintf(out + n, 80 - n, "%s%llu", i ? "x" : "", (unsigned long long)t->dims[i]);
    return t->rank ? out : "one number";
}

/* The tensor read as [rows, the rest] has `rows` (0: any, 1 to 65536) and `cols` (0: any). */
static bool peft_fits(const peft_reader *r, const alore_tensor *t, int rows, int cols)
{
    char text[80];
    uint64_t rest = 1;
    for (int i = 1; i < t->rank; ++i)
        rest = t->dims[i] > 1 << 24 || rest > 1 << 24 ? UINT64_MAX / 2 : rest * t->dims[i];
    const uint64_t first = t->rank ? t->dims[0] : 0;
    if ((rows ? first == (uint64_t)rows : first <= 65536) && (cols ? rest == (uint64_t)cols : rest <= 1 << 24))
        return true;
    return img_fail(r->why, "%.200s is %s, not %s%.0d x %s%.0d", t->name, peft_shape_text(t, text),
                    rows ? "" : "any", rows, cols ? "" : "any", cols);
}

/* Its numbers in memory of the reader's. */
static float *peft_floats(peft_reader *r, const alore_tensor *t, size_t *count)
{
    size_t each = alore_dtype_bytes(t->dtype);
    *count = each ? t->bytes / each : 0;
    float *x = (float *)heap_new(&r->memory, *count + 1, sizeof *x);
    if (!x) {
        img_fail(r->why, "no memory for %.200s", t->name);
        return NULL;
    }
    if (t->dtype > ALORE_F64 || !alore_tensor_read(t, 0, *count, x)) {
        img_fail(r->why, "%.200s is %s, no floats", t->name, alore_dtype_name(t->dtype));
        return NULL;
    }
    return x;
}

/* Add F32 numbers under a name. */
static bool peft_add(alore_ctx *ctx, alore_weights *w, const char *name, int rank, const uint64_t *dims,
                     const float *x, char *why)
{
    alore_tensor t = ALORE_ZERO;
    size_t count = 1;
    for (int i = 0; i < rank; ++i) count *= (size_t)dims[i];
    t.name = name;
    t.name_bytes = strlen(name);
    t.dims = dims;
    t.rank = rank;
    t.bytes = 4 * count;
    t.dtype = ALORE_F32;
    if (alore_weights_add(w, &t)) return img_fail(why, "%s", alore_last_error(ctx)->text);
    unsigned char *to = count ? (unsigned char *)alore_weights_data(w, name) : NULL;
    for (size_t i = 0; i < count; ++i) {
        uint32_t bits;
        memcpy(&bits, x + i, 4);
        for (int b = 0; b < 4; ++b) to[4 * i + (size_t)b] = (unsigned char)(bits >> 8 * b);
    }
    return true;
}

/* Add "<site>.<method>[.<part>].<name>", F32 [rows, cols], cols 0: [rows]. */
static bool peft_put(peft_reader *r, const peft_module *m, const char *method, const char *name, int rows,
                     int cols, const float *x)
{
    char full[NAMES_BYTES + 64];
    const uint64_t dims[2] = {(uint64_t)rows, (uint64_t)cols};
    const char part[3] = {'.', (char)m->part, 0};
    snprintf(full, sizeof full, "%s.%s%s.%s", m->site, method, m->part ? part : "", name);
    return peft_add(r->ctx, r->out, full, cols ? 2 : 1, dims, x, r->why);
}

/* The same with the transpose of a stored tensor [rows, cols]; extents of 0 are taken from it. */
static bool peft_turn(peft_reader *r, const peft_module *m, const char *method, const char *name,
                      const alore_tensor *t, int rows, int cols)
{
    size_t count;
    if (!peft_fits(r, t, rows, cols)) return false;
    const float *x = peft_floats(r, t, &count);
    if (!x) return false;
    const size_t high = t->rank ? (size_t)t->dims[0] : 1, wide = high ? count / high : 0;
    float *y = (float *)heap_new(&r->memory, count + 1, sizeof *y);
    if (!y) return img_fail(r->why, "no memory for %.200s", t->name);
    for (size_t i = 0; i < count; ++i) y[i % wide * high + i / wide] = x[i];
    return peft_put(r, m, method, name, (int)wide, (int)high, y);
}

/* A vector as it is. */
static bool peft_vector(peft_reader *r, const peft_module *m, const char *method, const char *name,
                        const alore_tensor *t, int count)
{
    size_t have;
    char text[80];
    const float *x = peft_floats(r, t, &have);
    if (!x) return false;
    if (have != (size_t)count)
        return img_fail(r->why, "%.200s is %s, not %d numbers", t->name, peft_shape_text(t, text), count);
    return peft_put(r, m, method, name, count, 0, x);
}

/* The parameter of the base by the adapter's name; NULL: there is none. */
static peft_param *peft_find_param(const peft_reader *r, const char *name)
{
    for (int i = 0; i < r->param_count; ++i)
        if (!strcmp(r->params[i].name, name)) return &r->params[i];
    return NULL;
}

/* The whole base tensor of a parameter, to be learnt: starts as the base has it. `rows`, `cols`: of a
 * head, which may differ. Points to its numbers' bytes. */
static unsigned char *peft_learn(peft_reader *r, const peft_param *p, const alore_tensor *like)
{
    const alore_tensor *base = alore_weights_find(r->base, p->base), *shape = base;
    unsigned char *have = (unsigned char *)alore_weights_data(r->out, p->base);
    size_t count = 0;
    if (have) return have;
    if (!strncmp(p->base, "head.", 5) && like) shape = like;
    if (!shape) {
        img_fail(r->why, "the base has no %s to be learnt", p->base);
        return NULL;
    }
    const float *x = peft_floats(r, shape, &count);
    if (!x || !peft_add(r->ctx, r->out, p->base, shape->rank, shape->dims, x, r->why)) return NULL;
    return (unsigned char *)alore_weights_data(r->out, p->base);
}

/* Overwrite (or, with `factor`, add factor times) the parameter's rows by a tensor of the file. */
static bool peft_learn_rows(peft_reader *r, const peft_param *p, const alore_tensor *t, double factor)
{
    size_t count = 0;
    char text[80];
    const float *x = peft_floats(r, t, &count);
    unsigned char *to = x ? peft_learn(r, p, t) : NULL;
    const alore_tensor *whole = to ? alore_weights_find(r->out, p->base) : NULL;
    if (!whole) return false;
    const size_t third = whole->bytes / 12, all = whole->bytes / 4;
    const size_t want = p->part ? third : all;
    if (want != count || (factor > 0 ? 0 : whole->rank != t->rank))
        return img_fail(r->why, "%.200s is %s, the base wants %zu numbers", t->name,
                        peft_shape_text(t, text), want);
    to += 4 * third * (size_t)(p->part == 'k' ? 1 : p->part == 'v' ? 2 : 0);
    for (size_t i = 0; i < count; ++i) {
        float v = x[i], was = 0;
        uint32_t bits = 0;
        for (int b = 0; b < 4; ++b) bits |= (uint32_t)to[4 * i + (size_t)b] << 8 * b;
        memcpy(&was, &bits, 4);
        if (factor < 0 || factor > 0) v = (float)((double)was + factor * (double)v);
        memcpy(&bits, &v, 4);
        for (int b = 0; b < 4; ++b) to[4 * i + (size_t)b] = (unsigned char)(bits >> 8 * b);
    }
    return true;
}

/* The settings of the module: its rule without a target. */
IMG_FORMAT(2) static bool peft_set_rule(peft_module *m, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(m->settings, sizeof m->settings, format, args);
    va_end(args);
    return true;
}

/* A value of rank_pattern or alpha_pattern: that of the first pattern which fits. */
static double peft_by_pattern(const peft_pattern *list, int count, const char *name, double otherwise)
{
    for (int i = 0; i < count; ++i)
        if (peft_match(&list[i].re, name)) return list[i].value;
    return otherwise;
}

/* alpha / r of the module; of rsLoRA alpha / sqrt(r). */
static bool peft_scale(peft_reader *r, const peft_module *m, const char *key, double rank, double *out)
{
    double alpha;
    bool root;
    if (!peft_number(r, key, 8, -1e30, &alpha) || !peft_flag(r, "use_rslora", false, &root)) return false;
    alpha = peft_by_pattern(r->alphas, r->alpha_count, m->name, alpha);
    *out = alpha / (root ? sqrt(rank) : rank);
    return true;
}

/* ---- One function for each type --------------------------------------------- */

static bool peft_read_lora(peft_reader *r, peft_module *m)
{
    bool dora, biased;
    double scale;
    char text[32];
    const int rank = m->slot[0]->rank ? (int)m->slot[0]->dims[0] : 0;
    if (!peft_flag(r, "use_dora", false, &dora) || !peft_flag(r, "lora_bias", false, &biased)) return false;
    const char *method = dora ? "dora" : "lora";
    if (!rank) return img_fail(r->why, "%.200s has no row", m->slot[0]->name);
    if (!peft_scale(r, m, "lora_alpha", rank, &scale)) return false;
    if (!peft_turn(r, m, method, "A", m->slot[0], 0, m->in)) return false;
    if (!peft_turn(r, m, method, "B", m->slot[1], m->out, rank)) return false;
    if (dora && !m->slot[3]) return img_fail(r->why, "%s: its lora_magnitude_vector is missing", m->name);
    if (!dora && m->slot[3]) return img_fail(r->why, "%.200s: use_dora is false", m->slot[3]->name);
    if (dora && !peft_vector(r, m, method, "magnitude", m->slot[3], m->out)) return false;
    if (biased != (m->slot[2] != NULL))
        return img_fail(r->why, "%s: lora_bias is %s, but lora_B.bias is %s", m->name,
                        biased ? "true" : "false", biased ? "missing" : "there");
    if (biased) {
        char bias[NAMES_BYTES + 64];
        snprintf(bias, sizeof bias, "%s.bias", m->name);
        const peft_param *p = peft_find_param(r, bias);
        if (!p) return img_fail(r->why, "%s: lora_B has a bias, the base has none to add it to", m->name);
        if (!peft_learn_rows(r, p, m->slot[2], scale)) return false;
    }
    return peft_set_rule(m, "%s:rank=%d,scale=%s", method, rank, peft_digits(scale, text));
}


/* The scale's denominator is the initial rank, also where pruning left fewer: 0 is possible. */
static bool peft_read_adalora(peft_reader *r, peft_module *m)
{
    double alpha, init;
    char text[32];
    const int rank = m->slot[0]->rank ? (int)m->slot[0]->dims[0] : 0;
    if (!peft_number(r, "lora_alpha", 8, -1e30, &alpha) || !peft_number(r, "init_r", 12, 1, &init)) return false;
    if (!rank) return peft_fits(r, m->slot[1], m->out, 0);
    if (!peft_turn(r, m, "adalora", "A", m->slot[0], 0, m->in)) return false;
    if (!peft_turn(r, m, "adalora", "B", m->slot[1], m->out, rank)) return false;
    if (!peft_vector(r, m, "adalora", "E", m->slot[2], rank)) return false;
    return peft_set_rule(m, "adalora:rank=%d,scale=%s", rank,
                         peft_digits((alpha > 0 ? alpha : rank) / (init + 1e-5), text));
}

static bool peft_read_vera(peft_reader *r, peft_module *m)
{
    if (!r->vera[0] || !r->vera[1])
        return img_fail(r->why, "its vera_A and vera_B are not in the file (save_projection was false): "
                                "torch's random numbers would be needed to make them again");
    const int rank = r->vera[0]->rank ? (int)r->vera[0]->dims[0] : 0;
    if (!peft_vector(r, m, "vera", "b", m->slot[0], m->out)) return false;
    if (!peft_vector(r, m, "vera", "d", m->slot[1], rank)) return false;
    return peft_set_rule(m, "vera:rank=%d", rank);
}

/* The frozen projections of all sites, cut to the widest of them. */
static bool peft_read_projections(peft_reader *r)
{
    int in = 0, out = 0;
    size_t count;
    for (int i = 0; i < r->module_count; ++i) {
        const peft_module *m = &r->modules[i];
        if (m->target && m->in > in) in = m->in;
        if (m->target && m->out > out) out = m->out;
    }
    for (int k = 0; k < 2; ++k) {
        const alore_tensor *t = r->vera[k];
        const int rank = (int)r->vera[0]->dims[0], want = k ? out : in;
        if (!peft_fits(r, t, k ? 0 : rank, k ? rank : 0)) return false;
        const float *x = peft_floats(r, t, &count);
        const int wide = k ? rank : (int)(count / (size_t)(rank ? rank : 1));
        const int have = k ? (int)t->dims[0] : wide;
        float *y = (float *)heap_new(&r->memory, (size_t)rank * (size_t)want + 1, sizeof *y);
        if (!x || !y) return x ? img_fail(r->why, "no memory") : false;
        if (have < want) return img_fail(r->why, "%.200s reaches %d, a target has %d", t->name, have, want);
        for (int i = 0; i < rank; ++i)
            for (int j = 0; j < want; ++j) {
                if (k)
                    y[(size_t)i * (size_t)want + (size_t)j] = x[(size_t)j * (size_t)rank + (size_t)i];
                else
                    y[(size_t)j * (size_t)rank + (size_t)i] = x[(size_t)i * (size_t)wide + (size_t)j];
            }
        const uint64_t dims[2] = {(uint64_t)(k ? rank : want), (uint64_t)(k ? want : rank)};
        if (!peft_add(r->ctx, r->out, k ? "vera.B" : "vera.A", 2, dims, y, r->why)) return false;
    }
    return !alore_weights_set_meta(r->out, "alore.frozen", "vera.A,vera.B") || img_fail(r->why, "no memory");
}

/* Of a convolution's input the gain of each channel stands for all of its pixels. */
static bool peft_read_ia3(peft_reader *r, peft_module *m)
{
    const bool in = peft_names(json_find(r->config, "feedforward_modules"), &r->feedforward, m->name, false);
    const int channels = m->kernel[0] ? m->kernel[0] : m->in;
    size_t have;
    const float *x = peft_floats(r, m->slot[0], &have);
    char text[80];
    if (!x) return false;
    const alore_tensor *t = m->slot[0];
    const bool row = t->rank > 1 && t->dims[0] == 1; /* (1, in), or of a convolution (1, c, 1, 1) */
    if (have != (size_t)(in ? channels : m->out) || (t->rank == 2 && (in ? !row : t->dims[1] != 1)))
        return img_fail(r->why, "%.200s is %s; %s scales its %d %s", t->name, peft_shape_text(t, text), m->name,
                        in ? channels : m->out, in ? "inputs" : "outputs");
    const size_t count = (size_t)(in ? m->in : m->out);
    float *y = (float *)heap_new(&r->memory, count, sizeof *y);
    if (!y) return img_fail(r->why, "no memory");
    for (size_t i = 0; i < count; ++i) y[i] = x[i / (count / have)];
    if (!peft_put(r, m, "ia3", "gain", (int)count, 0, y)) return false;
    return peft_set_rule(m, in ? "ia3:place=input" : "ia3");
}

static bool peft_read_loha(peft_reader *r, peft_module *m)
{
    const int rank = m->slot[1]->rank ? (int)m->slot[1]->dims[0] : 0;
    double scale;
    char text[32];
    if (!rank) return img_fail(r->why, "%.200s has no row", m->slot[1]->name);
    for (int i = 0; i < 2; ++i) {
        if (!peft_turn(r, m, "loha", i ? "w2_up" : "w1_up", m->slot[2 * i], m->out, rank)) return false;
        if (!peft_turn(r, m, "loha", i ? "w2_down" : "w1_down", m->slot[2 * i + 1], rank, m->in)) return false;
    }
    return peft_scale(r, m, "alpha", rank, &scale) &&
           peft_set_rule(m, "loha:rank=%d,scale=%s", rank, peft_digits(scale, text));
}

/* A factor as [rows, cols] of floats: whole, or the product of two. */
static float *peft_factor(peft_reader *r, const alore_tensor *const t[3], int *rows, int *cols)
{
    size_t n[3] = {0, 0, 0};
    const float *x[3] = {NULL, NULL, NULL};
    for (int i = 0; i < 3; ++i)
        if (t[i] && !(x[i] = peft_floats(r, t[i], &n[i]))) return NULL;
    const alore_tensor *first = t[0] ? t[0] : t[1];
    const size_t high = (size_t)first->dims[0], inner = t[0] ? 0 : n[1] / high;
    const size_t wide = t[0] ? n[0] / high : inner ? n[2] / inner : 0;
    float *y = (float *)heap_new(&r->memory, high * wide + 1, sizeof *y);
    if (!y) img_fail(r->why, "no memory");
    for (size_t i = 0; y && i < high * wide; ++i) {
        double sum = t[0] ? (double)x[0][i] : 0;
        for (size_t k = 0; k < inner; ++k)
            sum += (double)x[1][i / wide * inner + k] * (double)x[2][k * wide + i % wide];
        y[i] = (float)sum;
    }
    *rows = (int)high;
    *cols = (int)wide;
    return y;
}

/* A Kronecker product on a convolution splits the channels, not the width: kron(w1, w2) = (1 (x) w2')
 * (w1' (x) 1) makes it plain LoRA. */
static bool peft_read_lokr_conv(peft_reader *r, peft_module *m, double scale)
{
    const alore_tensor *const one[3] = {m->slot[0], m->slot[1], m->slot[2]};
    const alore_tensor *const two[3] = {m->slot[3], m->slot[4], m->slot[5]};
    int ol, im, ok, in;
    char text[32];
    const float *a = peft_factor(r, one, &ol, &im), *b = a ? peft_factor(r, two, &ok, &in) : NULL;
    if (!b) return false;
    const int rank = im * ok;
    float *left = (float *)heap_new(&r->memory, (size_t)m->in * (size_t)rank + 1, sizeof *left);
    float *right = (float *)heap_new(&r->memory, (size_t)m->out * (size_t)rank + 1, sizeof *right);
    if (!left || !right) return img_fail(r->why, "no memory");
    for (int p = 0; p < im; ++p)
        for (int o = 0; o < ok; ++o) {
            for (int e = 0; e < in; ++e) left[(p * in + e) * rank + p * ok + o] = b[o * in + e];
            for (int q = 0; q < ol; ++q) right[(p * ok + o) * m->out + q * ok + o] = a[q * im + p];
        }
    return peft_put(r, m, "lora", "A", m->in, rank, left) && peft_put(r, m, "lora", "B", rank, m->out, right) &&
           peft_set_rule(m, "lora:rank=%d,scale=%s", rank, peft_digits(scale, text));
}

static bool peft_read_lokr(peft_reader *r, peft_module *m)
{
    double scale, rank, factor;
    bool both;
    char text[32], first[32];
    int high[2], wide[2];
    if (!peft_number(r, "r", 8, 1, &rank) || !peft_number(r, "decompose_factor", -1, -1, &factor) ||
        !peft_flag(r, "decompose_both", false, &both))
        return false;
    rank = peft_by_pattern(r->ranks, r->rank_count, m->name, rank);
    for (int i = 0; i < 2; ++i) {
        const alore_tensor *const *t = &m->slot[3 * i];
        if (t[0] ? t[1] || t[2] : !t[1] || !t[2])
            return img_fail(r->why, "%s: lokr_w%d is neither whole nor in two factors", m->name, i + 1);
        for (int k = 0; k < 3; ++k)
            if (t[k] && (!peft_fits(r, t[k], 0, 0) || !t[k]->rank || !t[k]->bytes))
                return t[k]->bytes ? false : img_fail(r->why, "%.200s is empty", t[k]->name);
        if (!t[0]) {
            rank = (double)t[2]->dims[0];
            if (!peft_fits(r, t[1], 0, (int)rank)) return false;
        }
        const alore_tensor *last = t[0] ? t[0] : t[2];
        high[i] = (int)(t[0] ? t[0] : t[1])->dims[0];
        wide[i] = (int)(last->bytes / alore_dtype_bytes(last->dtype) / (size_t)last->dims[0]);
    }
    if ((int64_t)high[0] * high[1] != m->out || (int64_t)wide[0] * wide[1] != m->in)
        return img_fail(r->why, "%s: factors of %d x %d and %d x %d do not make %d x %d", m->name, high[0],
                        wide[0], high[1], wide[1], m->out, m->in);
    if (!peft_scale(r, m, "alpha", rank, &scale)) return false;
    if (m->kernel[0]) return peft_read_lokr_conv(r, m, scale);
    for (int i = 0; i < 2; ++i) {
        const alore_tensor *const *t = &m->slot[3 * i];
        if (t[0] && !peft_turn(r, m, "lokr", i ? "w2" : "w1", t[0], 0, 0)) return false;
        if (!t[0] && (!peft_turn(r, m, "lokr", i ? "w2_up" : "w1_up", t[1], 0, 0) ||
                      !peft_turn(r, m, "lokr", i ? "w2_down" : "w1_down", t[2], 0, 0)))
            return false;
    }
    return peft_set_rule(m, "lokr:rank=%d,scale=%s%s%s%s", (int)rank, peft_digits(scale, text),
                         both ? ",both=1" : "", factor > 0 ? ",factor=" : "",
                         factor > 0 ? peft_digits(factor, first) : "");
}

/* Blocks that are too far from none are drawn back to the bound. */
static void peft_constrain(float *x, size_t blocks, size_t numbers, double eps)
{
    eps /= sqrt((double)blocks);
    for (size_t b = 0; b < blocks; ++b, x += numbers) {
        double sum = 0;
        for (size_t i = 0; i < numbers; ++i) sum += 2 * (double)x[i] * (double)x[i];
        if (sqrt(sum) <= eps) continue;
        for (size_t i = 0; i < numbers; ++i) x[i] = (float)(eps * (double)x[i] / sqrt(sum));
    }
}

static bool peft_read_oft(peft_reader *r, peft_module *m)
{
    bool shared, coft, series;
    double eps, terms;
    size_t have;
    int block = 2;
    float *x;
    char shape[80];
    const alore_tensor *t = m->slot[0];
    if (!peft_flag(r, "block_share", false, &shared) || !peft_flag(r, "coft", false, &coft) ||
        !peft_flag(r, "use_cayley_neumann", true, &series) || !peft_number(r, "eps", 6e-5, 0, &eps) ||
        !peft_number(r, "num_cayley_neumann_terms", 5, 1, &terms) || !peft_fits(r, t, 0, 0))
        return false;
    if (!(x = peft_floats(r, t, &have))) return false;
    const size_t blocks = t->rank ? (size_t)t->dims[0] : 0, each = blocks ? have / blocks : 0;
    while ((size_t)block * (size_t)(block - 1) / 2 < each) ++block;
    const size_t want = (size_t)(m->in / block);
    if ((size_t)block * (size_t)(block - 1) / 2 != each || m->in % block || blocks != (shared ? 1 : want))
        return img_fail(r->why, "%.200s is %s, which makes no %sblocks of a width of %d", t->name,
                        peft_shape_text(t, shape), shared ? "shared " : "", m->in);
    if (coft) peft_constrain(x, blocks, each, eps);
    float *y = (float *)heap_new(&r->memory, want * each, sizeof *y);
    if (!y) return img_fail(r->why, "no memory");
    for (size_t i = 0; i < want * each; ++i) y[i] = x[i % have];
    if (!peft_put(r, m, "oft", "R", (int)want, (int)each, y)) return false;
    return peft_set_rule(m, "oft:block=%d,terms=%d", block, series ? (int)terms : 0);
}

static bool peft_read_boft(peft_reader *r, peft_module *m)
{
    const alore_tensor *t = m->slot[0];
    size_t count;
    char text[80], full[NAMES_BYTES + 64];
    const float *x = peft_floats(r, t, &count);
    const char part[3] = {'.', (char)m->part, 0};
    if (!x) return false;
    if (t->rank != 4 || !t->dims[0] || t->dims[0] > 64 || t->dims[2] != t->dims[3] || t->dims[2] < 2 ||
        t->dims[2] > 4096 || t->dims[1] > 1 << 24 || t->dims[1] * t->dims[2] != (uint64_t)m->in)
        return img_fail(r->why, "%.200s is %s, which makes no blocks of a width of %d", t->name,
                        peft_shape_text(t, text), m->in);
    snprintf(full, sizeof full, "%s.boft%s.R", m->site, m->part ? part : "");
    if (!peft_add(r->ctx, r->out, full, 4, t->dims, x, r->why)) return false;
    if (!peft_vector(r, m, "boft", "scale", m->slot[1], m->out)) return false;
    return peft_set_rule(m, "boft:block=%d,factors=%d", (int)t->dims[2], (int)t->dims[0]);
}

/* Path `i` of A to E from its four slots: Xd and Xu, X, or the zeros of none. */
static bool peft_read_glora_path(peft_reader *r, peft_module *m, int i, int *rank, const char **word)
{
    const alore_tensor *const *t = &m->slot[4 * i];
    const int wide = i == 2 ? m->in : m->out;
    char name[3] = {(char)('A' + i), 0, 0}, down[8], up[8];
    size_t count = 0;
    snprintf(down, sizeof down, "%s_down", name);
    snprintf(up, sizeof up, "%s_up", name);
    *word = "none";
    const int forms = (t[0] || t[1]) + (t[2] != NULL) + (t[3] != NULL);
    if (forms > 1 || (t[0] != NULL) != (t[1] != NULL))
        return img_fail(r->why, "%s: glora_%s has not one form", m->name, name);
    if (t[3]) {
        const float *x = peft_floats(r, t[3], &count);
        for (size_t k = 0; x && k < count; ++k)
            if (x[k] < 0 || x[k] > 0) return img_fail(r->why, "%.200s is not zero", t[3]->name);
        return x != NULL;
    }
    if (t[2]) {
        if (!peft_floats(r, t[2], &count)) return false;
        *word = count == 1 && i != 2 ? "constant" : "vector";
        return peft_vector(r, m, "glora", name, t[2], count == 1 && i != 2 ? 1 : wide);
    }
    if (!t[0]) return true;
    if (i > 2) return img_fail(r->why, "%.200s: path %s has no such form", t[0]->name, name);
    const int have = t[1]->rank ? (int)(t[1]->dims[0] & 0xffffff) : 0;
    if (*rank && have != *rank) return img_fail(r->why, "%.200s has another rank than its sisters", t[1]->name);
    *rank = have;
    *word = "lora";
    if (i == 2) /* C = Xd Xu, a column; here a row C_up C_down */
        return peft_turn(r, m, "glora", down, t[0], m->in, have) && peft_turn(r, m, "glora", up, t[1], have, 1);
    return peft_turn(r, m, "glora", up, t[0], m->out, have) &&
           peft_turn(r, m, "glora", down, t[1], have, m->in);
}

static bool peft_read_glora(peft_reader *r, peft_module *m)
{
    const char *words[5];
    int rank = 0;
    char text[32] = "";
    for (int i = 0; i < 5; ++i)
        if (!peft_read_glora_path(r, m, i, &rank, &words[i])) return false;
    if (rank) snprintf(text, sizeof text, "rank=%d,", rank);
    return peft_set_rule(m, "glora:%sa=%s,b=%s,c=%s,d=%s,e=%s", text, words[0], words[1], words[2], words[3],
                         words[4]);
}

/* clang-format off */
static const peft_type peft_types[] = { /* a suffix with ? may be missing */
    {"LORA", "lora", "lora_A.weight lora_B.weight ?lora_B.bias ?lora_magnitude_vector",
     "r lora_alpha use_rslora rank_pattern alpha_pattern use_dora lora_bias", peft_read_lora},
    {"ADALORA", "adalora", "lora_A lora_B lora_E",
     "r lora_alpha rank_pattern init_r target_r tinit tfinal deltaT beta1 beta2 orth_reg_weight total_step",
     peft_read_adalora},
    {"VERA", "vera", "vera_lambda_b vera_lambda_d", "r projection_prng_key save_projection d_initial",
     peft_read_vera},
    {"IA3", "ia3", "ia3_l", "feedforward_modules", peft_read_ia3},
    {"LOHA", "loha", "hada_w1_a hada_w1_b hada_w2_a hada_w2_b", "r alpha rank_pattern alpha_pattern",
     peft_read_loha},
    {"LOKR", "lokr", "?lokr_w1 ?lokr_w1_a ?lokr_w1_b ?lokr_w2 ?lokr_w2_a ?lokr_w2_b",
     "r alpha rank_pattern alpha_pattern decompose_both decompose_factor", peft_read_lokr},
    {"OFT", "oft", "oft_R.weight",
     "r oft_block_size block_share coft eps use_cayley_neumann num_cayley_neumann_terms", peft_read_oft},
    {"BOFT", "boft", "boft_R boft_s", "boft_block_size boft_block_num boft_n_butterfly_factor", peft_read_boft},
    {"GLORA", "glora", "?glora_A.Xd ?glora_A.Xu ?glora_A.X ?glora_A.zeros ?glora_B.Xd ?glora_B.Xu ?glora_B.X "
     "?glora_B.zeros ?glora_C.Xd ?glora_C.Xu ?glora_C.X ?glora_C.zeros ?glora_D.Xd ?glora_D.Xu ?glora_D.X "
     "?glora_D.zeros ?glora_E.Xd ?glora_E.Xu ?glora_E.X ?glora_E.zeros",
     "r config_A_B config_C config_D_E", peft_read_glora},
};
/* clang-format on */
enum { PEFT_TYPES = sizeof peft_types / sizeof *peft_types };

/* Word `i` of words joined by blanks, its length in `n`; NULL past the end. */
static const char *peft_word(const char *words, int i, size_t *n)
{
    for (; i > 0 && words; --i) {
        words = strchr(words, ' ');
        words += words != NULL;
    }
    if (words) *n = strcspn(words, " ");
    return words;
}

static bool peft_has_word(const char *words, const char *word)
{
    const char *w;
    size_t n = 0;
    for (int i = 0; (w = peft_word(words, i, &n)) != NULL; ++i)
        if (n == strlen(word) && !memcmp(w, word, n)) return true;
    return false;
}

/* ---- The configuration ------------------------------------------------------ */

/* The type, and no key that says something that is not known here. */
static bool peft_check_config(peft_reader *r)
{
    static const char *const common =
        "peft_type target_modules exclude_modules modules_to_save layers_to_transform layers_pattern bias "
        "fan_in_fan_out base_model_name_or_path revision task_type inference_mode auto_mapping peft_version "
        "megatron_core qalora_group_size";
    const json *v = json_find(r->config, "peft_type");
    char known[200] = "";
    if (!v || v->kind != JSON_TEXT) return img_fail(r->why, "peft_type is missing");
    for (int i = 0; i < PEFT_TYPES; ++i) {
        if (!strcmp(peft_types[i].name, v->text)) r->type = &peft_types[i];
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "", peft_types[i].name);
    }
    if (!strcmp(v->text, "FOURIERFT"))
        return img_fail(r->why, "FOURIERFT cannot be read: the places of its spectrum are torch.randperm of "
                                "random_loc_seed, and not in the file");
    if (!r->type) return img_fail(r->why, "peft_type %.60s is not read; there are %s", v->text, known);
    for (v = r->config->first; v; v = v->next) {
        if (json_empty(v) || peft_has_word(common, v->key) || peft_has_word(r->type->keys, v->key)) continue;
        if (strstr(v->key, "dropout") || !strncmp(v->key, "init_", 5)) continue;
        return img_fail(r->why, "the key \"%.80s\" of %s is not understood", v->key, r->type->name);
    }
    v = json_find(r->config, "layers_to_transform");
    for (const json *x = v && v->kind == JSON_LIST ? v->first : v; x; x = v->kind == JSON_LIST ? x->next : NULL)
        if (x->kind != JSON_NULL &&
            (x->kind != JSON_NUMBER || x->number < 0 || x->number > 1e6 || floor(x->number) < x->number))
            return img_fail(r->why, "layers_to_transform is neither an index nor a list of them");
    return peft_texts(r, "target_modules", false, r->why) && peft_texts(r, "exclude_modules", true, r->why) &&
           peft_texts(r, "modules_to_save", true, r->why) && peft_texts(r, "layers_pattern", true, r->why) &&
           peft_texts(r, "feedforward_modules", true, r->why) && peft_texts(r, "bias", true, r->why);
}

/* Compile a key that is a text. */
static bool peft_compile_key(const peft_reader *r, const char *key, regex_t *re, bool *has)
{
    const json *v = json_find(r->config, key);
    char text[IMG_WHY];
    if (json_empty(v) || v->kind != JSON_TEXT) return true;
    *has = peft_compile(v->text, "^(", ")$", re, text);
    return *has || img_fail(r->why, "%s: %.400s", key, text);
}

/* Compile the patterns of rank_pattern or alpha_pattern. */
static bool peft_compile_list(peft_reader *r, const char *key, peft_pattern **list, int *count)
{
    const json *v = json_find(r->config, key);
    char text[IMG_WHY];
    if (json_empty(v) || !strcmp(r->type->name, "ADALORA")) return true;
    if (v->kind != JSON_OBJECT) return img_fail(r->why, "%s is no object", key);
    *list = (peft_pattern *)heap_new(&r->memory, (size_t)v->count, sizeof **list);
    if (!*list) return img_fail(r->why, "no memory");
    for (const json *x = v->first; x; x = x->next) {
        if (x->kind != JSON_NUMBER) return img_fail(r->why, "%s: \"%.80s\" is no number", key, x->key);
        if (!peft_compile(x->key, "^(.*\\.)?(", ")$", &(*list)[*count].re, text))
            return img_fail(r->why, "%s: %.400s", key, text);
        (*list)[(*count)++].value = x->number;
    }
    return true;
}

/* AdaLoRA's rank_pattern: a list of booleans for each module, which tells the ranks that are left. */
static bool peft_check_pruned(const peft_reader *r)
{
    const json *v = json_find(r->config, "rank_pattern");
    if (json_empty(v) || strcmp(r->type->name, "ADALORA")) return true;
    if (v->kind != JSON_OBJECT) return img_fail(r->why, "rank_pattern is no object");
    for (const json *x = v->first; x; x = x->next) {
        const peft_module *found = NULL;
        uint64_t kept = 0;
        const char *key = x->key;
        if (!strncmp(key, "base_model.model.", 17)) key += 17;
        for (int i = 0; i < r->module_count && !found; ++i) {
            const size_t n = strlen(r->modules[i].name);
            if (r->modules[i].target && !strncmp(key, r->modules[i].name, n) && !strncmp(key + n, ".lora_E", 7))
                found = &r->modules[i];
        }
        for (const json *b = x->first; b; b = b->next) kept += b->number > 0;
        if (!found || x->kind != JSON_LIST)
            return img_fail(r->why, "rank_pattern: \"%.120s\" is not understood", x->key);
        if (found->slot[2] && found->slot[2]->rank && found->slot[2]->dims[0] != kept)
            return img_fail(r->why, "rank_pattern: \"%.120s\" keeps %llu, the file has %llu", x->key,
                            (unsigned long long)kept, (unsigned long long)found->slot[2]->dims[0]);
    }
    return true;
}

/* ---- Modules and parameters of the base ------------------------------------- */

/* Which names the adapter's keys are in. */
static bool peft_find_names(peft_reader *r)
{
    bool inner = false, vit = false, timm = false, hf4 = false;
    for (int i = 0; i < alore_weights_count(r->file); ++i) {
        const char *name = alore_weights_at(r->file, i)->name;
        if (strncmp(name, "base_model.model.", 17)) continue;
        name += 17;
        if (!strncmp(name, "stages.", 7) || !strncmp(name, "stem.", 5) || !strncmp(name, "convnext.", 9))
            return img_fail(r->why, "%.200s: adapters of ConvNeXt come with that backbone", name);
        const bool prefix = !strncmp(name, "vit.", 4);
        if (prefix) name += 4;
        vit = vit || prefix;
        inner = inner || (!prefix && strncmp(name, "classifier", 10));
        hf4 = hf4 || !strncmp(name, "encoder.layer.", 14);
        timm = timm || !strncmp(name, "blocks.", 7) || !strncmp(name, "patch_embed.", 12) ||
               !strncmp(name, "head.", 5) || !strncmp(name, "norm.", 5) || !strncmp(name, "fc_norm.", 8);
    }
    r->n.style = timm && !vit ? NAMES_TIMM : hf4 ? NAMES_HF4 : NAMES_HF5;
    r->n.bare = inner && !vit;
    return true;
}

/* Everything that the base has, under the adapter's names. */
static bool peft_find_base(peft_reader *r)
{
    const naming timm = {NAMES_TIMM, false};
    const int count = alore_weights_count(r->base);
    r->modules = (peft_module *)heap_new(&r->memory, (size_t)count * 3 + 3, sizeof *r->modules);
    r->params = (peft_param *)heap_new(&r->memory, (size_t)count * 3 + 6, sizeof *r->params);
    if (!r->modules || !r->params) return img_fail(r->why, "no memory");
    for (int i = 0; i < count + 2; ++i) {
        const alore_tensor *t = i < count ? alore_weights_at(r->base, i) : NULL;
        const char *name = t ? t->name : i == count ? "head.weight" : "head.bias", *rest = "";
        int block = -1;
        if (strlen(name) >= NAMES_BYTES) continue;
        if (!t && alore_weights_find(r->base, name)) continue;
        const struct names_row *row = names_find(timm, name, &block, &rest);
        const int parts = row && row->part && r->n.style != NAMES_TIMM ? 3 : 1;
        if (block >= r->depth) r->depth = block + 1;
        for (int k = 0; k < parts; ++k) {
            peft_param *p = &r->params[r->param_count++];
            p->row = row ? row + k : NULL;
            p->block = block;
            p->part = parts > 1 ? row[k].part : 0;
            snprintf(p->base, sizeof p->base, "%s", name);
            p->leaf = p->base + (rest - name);
            if (!row) {
                snprintf(p->name, sizeof p->name, "%s", name);
                continue;
            }
            names_put(r->n, row + k, block, p->name);
            if (t && row->kind && !strcmp(rest, ".weight") && (t->rank == 2 || t->rank == 4)) {
                peft_module *m = &r->modules[r->module_count++];
                snprintf(m->name, sizeof m->name, "%.*s", NAMES_BYTES - 1, p->name);
                snprintf(m->site, sizeof m->site, "%.*s", (int)(rest - name), name);
                m->row = row + k;
                m->block = block;
                m->part = p->part;
                m->out = (int)t->dims[0] / parts;
                m->in = 1;
                for (int d = 1; d < t->rank; ++d) {
                    if (t->dims[d] > 1 << 20 || (uint64_t)m->in * t->dims[d] > 1 << 24 || t->dims[0] > 1 << 24)
                        return img_fail(r->why, "%.120s of the base is too large", name);
                    m->in *= (int)t->dims[d];
                    if (t->rank == 4) m->kernel[d - 1] = (int)t->dims[d];
                }
            }
            snprintf(p->name + strlen(p->name), 64, "%.60s", rest);
        }
    }
    return true;
}

/* ---- Binding ---------------------------------------------------------------- */

/* Give a tensor of the file to what it belongs to. */
static bool peft_bind(peft_reader *r, const alore_tensor *t)
{
    const json *bias = json_find(r->config, "bias");
    const char *word = bias && bias->kind == JSON_TEXT ? bias->text : "none", *name = t->name;
    char plain[NAMES_BYTES + 64], *wrapped;
    if (!strcmp(r->type->name, "VERA"))
        for (int i = 0; i < 2; ++i)
            if (!strcmp(name, i ? "base_model.vera_B" : "base_model.vera_A")) return (r->vera[i] = t) != NULL;
    if (strncmp(name, "base_model.model.", 17) || strlen(name) >= sizeof plain)
        return img_fail(r->why, "%.200s binds to nothing: it is not base_model.model. and a module", name);
    name += 17;
    for (int i = 0; i < r->module_count; ++i) {
        peft_module *m = &r->modules[i];
        const char *suffix;
        const size_t n = strlen(m->name);
        size_t count = 0;
        if (strncmp(name, m->name, n) || name[n] != '.') continue;
        for (int k = 0; (suffix = peft_word(r->type->suffixes, k, &count)) != NULL; ++k) {
            const bool may = *suffix == '?';
            if (strlen(name + n + 1) != count - may || memcmp(name + n + 1, suffix + may, count - may)) continue;
            if (!m->target)
                return img_fail(r->why, "%.200s binds to nothing: target_modules does not name %s", t->name,
                                m->name);
            m->slot[k] = t;
            return true;
        }
    }
    snprintf(plain, sizeof plain, "%s", name);
    if ((wrapped = strstr(plain, ".base_layer.bias")) != NULL && !wrapped[16]) memcpy(wrapped, ".bias", 6);
    peft_param *p = peft_find_param(r, plain);
    const bool tuned = p && peft_ends(plain, "bias", true) && strcmp(word, "none") &&
                       (wrapped || !strcmp(word, "all"));
    if (p && wrapped && !strcmp(word, "none"))
        return img_fail(r->why, "%.200s is there, but bias is none", t->name);
    if (!p || (!tuned && !peft_saved(r, plain)))
        return img_fail(r->why, "%.200s binds to nothing: it is no tensor of %s, nor of modules_to_save", t->name,
                        r->type->name);
    if (p->learnt) return img_fail(r->why, "%.200s is there twice", t->name);
    p->learnt = t;
    return true;
}

/* Every suffix that must be there is; then the type's own function. */
static bool peft_read_module(peft_reader *r, peft_module *m)
{
    const char *suffix;
    size_t n = 0;
    bool any = false;
    for (int k = 0; (suffix = peft_word(r->type->suffixes, k, &n)) != NULL; ++k) {
        any = any || m->slot[k];
        if (*suffix != '?' && !m->slot[k])
            return img_fail(r->why, "%s is a target, but its %.*s is missing", m->name, (int)n, suffix);
    }
    if (!any) return img_fail(r->why, "%s is a target without tensors", m->name);
    return r->type->read(r, m);
}

/* Tensors of the base that the file replaces: all that modules_to_save and bias promise. */
static bool peft_read_params(peft_reader *r)
{
    const json *bias = json_find(r->config, "bias");
    const char *word = bias && bias->kind == JSON_TEXT ? bias->text : "none";
    const bool all = !strcmp(word, "all"), own = peft_ends(word, "_only", false);
    if (!all && !own && strcmp(word, "none")) return img_fail(r->why, "bias \"%.60s\" is not known", word);
    for (int i = 0; i < r->param_count; ++i) {
        peft_param *p = &r->params[i];
        bool wanted = peft_saved(r, p->name) && alore_weights_find(r->base, p->base);
        if (peft_ends(p->name, "bias", true) && alore_weights_find(r->base, p->base)) {
            wanted = wanted || (all && p->row);
            for (int k = 0; own && k < r->module_count; ++k)
                wanted = wanted || (r->modules[k].target && r->modules[k].row == p->row &&
                                    r->modules[k].block == p->block);
        }
        if (wanted && !p->learnt) return img_fail(r->why, "%s is missing", p->name);
        if (p->learnt && !peft_learn_rows(r, p, p->learnt, 0)) return false;
    }
    return true;
}

/* ---- Rules ------------------------------------------------------------------ */

typedef struct peft_text { /* text that grows in the reader's memory */
    heap *memory;
    char *data;
    size_t used, room;
} peft_text;

IMG_FORMAT(2) static bool peft_print(peft_text *t, const char *format, ...)
{
    char piece[NAMES_BYTES * 3];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(piece, sizeof piece, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof piece) return false;
    if (t->used + (size_t)n + 1 > t->room) {
        const size_t room = 2 * (t->used + (size_t)n) + 256;
        char *wider = (char *)heap_new(t->memory, room, 1);
        if (!wider) return false;
        if (t->used) memcpy(wider, t->data, t->used);
        t->data = wider;
        t->room = room;
    }
    memcpy(t->data + t->used, piece, (size_t)n + 1);
    t->used += (size_t)n;
    return true;
}

/* "qkv", "qkv#1-3|qkv#5": the blocks of a kind whose byte is set; the first item is `at` 0. */
static bool peft_blocks(peft_text *t, const char *kind, const unsigned char *set, int depth, int *items)
{
    bool good = true;
    int count = 0;
    for (int b = 0; b < depth; ++b) count += set[b] != 0;
    if (count == depth && depth) return peft_print(t, "%s%s", (*items)++ ? "|" : "", kind);
    for (int b = 0, last; b < depth && good; b = last) {
        for (last = b; last < depth && set[last];) ++last;
        if (last == b) {
            ++last;
            continue;
        }
        good = peft_print(t, "%s%s#%d", (*items)++ ? "|" : "", kind, b);
        if (good && last > b + 1) good = peft_print(t, "-%d", last - 1);
    }
    return good;
}

/* One rule for all modules whose settings and parts are those of `like`. */
static bool peft_rule(peft_reader *r, peft_text *t, const peft_module *like, unsigned char *set)
{
    int items = 0;
    bool good = peft_print(t, "%s%s", t->used ? ";" : "", like->settings);
    if (*like->letters)
        good = good && peft_print(t, "%cparts=%s", strchr(like->settings, ':') ? ',' : ':', like->letters);
    good = good && peft_print(t, "@");
    for (const struct names_row *row = names_rows; row < names_rows + NAMES_ROWS && good; ++row) {
        bool outside = false;
        if (!row->kind || (row->part && row->part != 'q')) continue; /* once for q, k, v */
        memset(set, 0, (size_t)r->depth + 1);
        for (int i = 0; i < r->module_count; ++i) {
            peft_module *m = &r->modules[i];
            if (m->used || strcmp(m->row->name[0], row->name[0]) || strcmp(m->settings, like->settings) ||
                strcmp(m->letters, like->letters))
                continue;
            m->used = m != like;
            if (m->block < 0)
                outside = true;
            else
                set[m->block] = 1;
        }
        if (outside) good = peft_print(t, "%s%s", items++ ? "|" : "", row->kind);
        if (row->block) good = good && peft_blocks(t, row->kind, set, r->depth, &items);
    }
    return good;
}

/* Whether the base has, and whether the adapter learns, a tensor of a row's layer. */
static bool peft_there(const alore_weights *w, const struct names_row *row, int block, const char *leaf)
{
    const naming timm = {NAMES_TIMM, false};
    char name[NAMES_BYTES + 64];
    names_put(timm, row, block, name);
    snprintf(name + strlen(name), 64, "%s", leaf);
    return alore_weights_find(w, name) != NULL;
}

/* The item of a layer's tensors in the blocks of `set`, or of one outside. */
static bool peft_learn_items(peft_text *t, const struct names_row *row, const char *leaf,
                             const unsigned char *set, int depth, int *items)
{
    const naming timm = {NAMES_TIMM, false};
    char name[NAMES_BYTES];
    int count = 0;
    for (int b = 0; b < depth; ++b) count += set[b] != 0;
    if (count == depth && depth > 1)
        return peft_print(t, "%sblocks.*.%s%s", (*items)++ ? "|" : "", row->name[0], leaf);
    for (int b = 0; b < depth; ++b) {
        names_put(timm, row, b, name);
        if (set[b] && !peft_print(t, "%s%s%s", (*items)++ ? "|" : "", name, leaf)) return false;
    }
    return true;
}

/* "unfreeze@...": all biases, whole layers, or single tensors. */
static bool peft_unfreeze(peft_reader *r, peft_text *t, unsigned char *set)
{
    static const char *const leaves[] = {".weight", ".bias"};
    int items = 0, biases = 0, learnt = 0, others = 0;
    bool good = true;
    for (int i = 0; i < r->param_count; ++i) {
        const peft_param *p = &r->params[i];
        const bool is = alore_weights_find(r->out, p->base) != NULL, bias = peft_ends(p->base, "bias", true);
        biases += bias && alore_weights_find(r->base, p->base);
        learnt += is && bias;
        others += is && !bias;
    }
    if (!learnt && !others) return true;
    good = peft_print(t, "%sunfreeze@", t->used ? ";" : "");
    if (!others && learnt == biases) return good && peft_print(t, "*.bias");
    for (const struct names_row *row = names_rows; row < names_rows + NAMES_ROWS && good; ++row) {
        if (row->part && row->part != 'q') continue;
        if (!row->block) {
            bool has[2], all = true;
            for (int k = 0; k < 2; ++k) {
                has[k] = peft_there(r->out, row, -1, leaves[k]);
                all = all && (has[k] || !peft_there(r->base, row, -1, leaves[k]));
            }
            if (peft_there(r->out, row, -1, ""))
                good = peft_print(t, "%s%s", items++ ? "|" : "", row->name[0]);
            else if (all && (has[0] || has[1]))
                good = peft_print(t, "%s%s", items++ ? "|" : "", row->kind);
            for (int k = 0; k < 2 && !all && good; ++k)
                if (has[k]) good = peft_print(t, "%s%s%s", items++ ? "|" : "", row->name[0], leaves[k]);
            continue;
        }
        for (int k = 0; k < 3 && good; ++k) { /* both, then each alone */
            for (int b = 0; b < r->depth; ++b) {
                const bool w = peft_there(r->out, row, b, ".weight"), c = peft_there(r->out, row, b, ".bias");
                const bool both = w && (c || !peft_there(r->base, row, b, ".bias"));
                set[b] = k == 0 ? both : !both && (k == 1 ? w : c);
            }
            good = k ? peft_learn_items(t, row, leaves[k - 1], set, r->depth, &items)
                     : peft_blocks(t, row->kind, set, r->depth, &items);
        }
    }
    for (int i = 0; i < r->param_count && good; ++i)
        if (!r->params[i].row && alore_weights_find(r->out, r->params[i].base))
            good = peft_print(t, "%s%s", items++ ? "|" : "", r->params[i].base);
    return good;
}

static bool peft_rules(peft_reader *r)
{
    peft_text t = {&r->memory, NULL, 0, 0};
    unsigned char *set = (unsigned char *)heap_new(&r->memory, (size_t)r->depth + 1, 1);
    bool good = set != NULL;
    for (int i = 0; i < r->module_count; ++i) {
        peft_module *m = &r->modules[i];
        if (!*m->settings) m->used = true;
        for (int k = 0; k < r->module_count && *m->settings && m->part; ++k) {
            const peft_module *o = &r->modules[k];
            if (o->part && o->block == m->block && !strcmp(o->settings, m->settings))
                snprintf(m->letters + strlen(m->letters), 2, "%c", o->part);
        }
    }
    for (int i = 0; i < r->module_count && good; ++i)
        if (!r->modules[i].used) good = peft_rule(r, &t, &r->modules[i], set);
    good = good && peft_unfreeze(r, &t, set);
    if (good && !t.used) return img_fail(r->why, "nothing is left of the adapter");
    good = good && !alore_weights_set_meta(r->out, "alore.rules", t.data);
    return good || img_fail(r->why, "no memory for the rules");
}

/* ---- Reading a folder ------------------------------------------------------- */

static bool peft_read_all(peft_reader *r)
{
    bool any = false, good = peft_check_config(r) && peft_find_names(r) && peft_find_base(r);
    good = good && peft_compile_key(r, "target_modules", &r->target, &r->has_target) &&
           peft_compile_key(r, "exclude_modules", &r->exclude, &r->has_exclude) &&
           peft_compile_key(r, "feedforward_modules", &r->feedforward, &r->has_feedforward) &&
           peft_compile_list(r, "rank_pattern", &r->ranks, &r->rank_count) &&
           peft_compile_list(r, "alpha_pattern", &r->alphas, &r->alpha_count);
    for (int i = 0; good && i < r->module_count; ++i) {
        r->modules[i].target = peft_is_target(r, &r->modules[i]);
        any = any || r->modules[i].target;
    }
    if (good && !any) return img_fail(r->why, "target_modules names no layer of this base");
    for (int i = 0; good && i < alore_weights_count(r->file); ++i)
        good = peft_bind(r, alore_weights_at(r->file, i));
    good = good && peft_check_pruned(r) && peft_read_params(r);
    for (int i = 0; good && i < r->module_count; ++i)
        if (r->modules[i].target) good = peft_read_module(r, &r->modules[i]);
    if (good && !strcmp(r->type->name, "VERA")) good = peft_read_projections(r);
    return good && peft_rules(r);
}

static void peft_close(peft_reader *r)
{
    if (r->has_target) regfree(&r->target);
    if (r->has_exclude) regfree(&r->exclude);
    if (r->has_feedforward) regfree(&r->feedforward);
    for (int i = 0; i < r->rank_count; ++i) regfree(&r->ranks[i].re);
    for (int i = 0; i < r->alpha_count; ++i) regfree(&r->alphas[i].re);
    heap_free(&r->memory);
}

/* Read the folder as an adapter of `base`, which is in timm's names. Everything belongs to the context. */
static bool peft_read(alore_ctx *ctx, const char *folder, const alore_weights *base, alore_weights **out,
                      char *why)
{
    peft_reader r = {0};
    alore_weights *file = NULL;
    struct stat info;
    char *config = data_join(folder, "adapter_config.json");
    char *model = data_join(folder, "adapter_model.safetensors");
    char *pickle = data_join(folder, "adapter_model.bin");
    bool good = config && model && pickle;
    if (!good) img_fail(why, "no memory");
    r.ctx = ctx;
    r.base = base;
    r.why = why;
    if (good && stat(config, &info)) good = img_fail(why, "adapter_config.json is missing: no folder of PEFT");
    if (good && stat(model, &info))
        good = img_fail(why, stat(pickle, &info)
                                 ? "adapter_model.safetensors is missing"
                                 : "adapter_model.bin is a pickle, which can run code, and is not read; "
                                   "save_pretrained of a newer peft writes safetensors");
    if (good) good = (r.config = json_file(&r.memory, config, why)) != NULL;
    if (good && alore_weights_load(ctx, model, &file))
        good = img_fail(why, "adapter_model.safetensors: %s", alore_last_error(ctx)->text);
    r.file = file;
    if (good && alore_weights_create(ctx, &r.out)) good = img_fail(why, "no memory");
    if (good) good = peft_read_all(&r);
    alore_weights_destroy(file); /* all of it is copied */
    if (good)
        *out = r.out;
    else
        alore_weights_destroy(r.out);
    peft_close(&r);
    free(config);
    free(model);
    free(pickle);
    return good;
}

#endif /* ALORE_TOOLS_PEFT_H */
