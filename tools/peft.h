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
    char *why, *note;
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
    if (fabs(x) < 1e6 && !(floor(x) < x)) return snprintf(out, 32, "%.0f", x), out;
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
    const size_t third = whole->bytes / 12, want = p->part ? third : whole->bytes / 4;
    bool same = want == count && whole->rank == t->rank && !(p->part && whole->dims[0] % 3);
    for (int i = 1; i < t->rank && same; ++i) same = whole->dims[i] == t->dims[i];
    if (!same)
        return img_fail(r->why, "%.200s is %s; that does not fit %s of the base", t->name,
                        peft_shape_text(t, text), p->base);
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

/* [p, c * pixels] = sum_ij t[i, j, pixel] a[i, p] b[j, c]: a convolution's matrix by its core. */
static float *peft_core(peft_reader *r, const alore_tensor *t, const alore_tensor *a, const alore_tensor *b)
{
    size_t nt, na, nb;
    const float *x = peft_floats(r, t, &nt), *y = x ? peft_floats(r, a, &na) : NULL;
    const float *z = y ? peft_floats(r, b, &nb) : NULL;
    if (!z) return NULL;
    const size_t rank = t->rank == 4 && t->dims[0] == t->dims[1] && t->dims[0] < 65536 ? (size_t)t->dims[0] : 0;
    if (!rank || a->rank != 2 || b->rank != 2 || a->dims[0] != rank || b->dims[0] != rank) {
        img_fail(r->why, "%.200s is no core of its factors", t->name);
        return NULL;
    }
    const size_t pixels = nt / rank / rank, rows = na / rank, c = nb / rank;
    float *out = (float *)heap_new(&r->memory, rows * c * pixels + 1, sizeof *out);
    if (!out) img_fail(r->why, "no memory");
    for (size_t i = 0; out && i < rows * c * pixels; ++i) {
        double sum = 0;
        for (size_t k = 0; k < rank * rank; ++k)
            sum += (double)x[k * pixels + i % pixels] * (double)y[k / rank * rows + i / (c * pixels)] *
                   (double)z[k % rank * c + i / pixels % c];
        out[i] = (float)sum;
    }
    return out;
}

/* LoHa of a convolution by two cores: as plain LoRA of full rank. */
static bool peft_read_loha_cores(peft_reader *r, peft_module *m)
{
    const alore_tensor *const *s = m->slot;
    const size_t in = (size_t)m->in, out = (size_t)m->out;
    double scale;
    char text[32];
    if (!s[5] || !m->kernel[0]) return img_fail(r->why, "%s: hada_t1 and hada_t2 belong together", m->name);
    for (int i = 0; i < 2; ++i)
        if (s[2 * i]->rank != 2 || s[2 * i]->dims[1] != out || s[2 * i + 1]->rank != 2 ||
            s[2 * i + 1]->dims[1] * (uint64_t)m->kernel[1] * (uint64_t)m->kernel[2] != in ||
            s[4 + i]->rank != 4 || s[4 + i]->dims[2] != (uint64_t)m->kernel[1] ||
            s[4 + i]->dims[3] != (uint64_t)m->kernel[2])
            return img_fail(r->why, "%s: the shapes of its factors do not make %zu x %zu", m->name, out, in);
    const float *one = peft_core(r, s[4], s[0], s[1]), *two = one ? peft_core(r, s[5], s[2], s[3]) : NULL;
    if (!two || !peft_scale(r, m, "alpha", (double)s[4]->dims[0], &scale)) return false;
    float *a = (float *)heap_new(&r->memory, in * out, sizeof *a), *b = (float *)heap_new(&r->memory, out * out, sizeof *b);
    if (!a || !b) return img_fail(r->why, "no memory");
    for (size_t i = 0; i < in * out; ++i) a[i % in * out + i / in] = one[i] * two[i];
    for (size_t i = 0; i < out; ++i) b[i * (out + 1)] = 1;
    return peft_put(r, m, "lora", "A", m->in, m->out, a) && peft_put(r, m, "lora", "B", m->out, m->out, b) &&
           peft_set_rule(m, "lora:rank=%d,scale=%s", m->out, peft_digits(scale, text));
}

static bool peft_read_loha(peft_reader *r, peft_module *m)
{
    const int rank = m->slot[1]->rank ? (int)m->slot[1]->dims[0] : 0;
    double scale;
    char text[32];
    if (m->slot[4] || m->slot[5]) return m->slot[4] ? peft_read_loha_cores(r, m)
                                                    : img_fail(r->why, "%s: its hada_t1 is missing", m->name);
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
    const float *a = peft_factor(r, one, &ol, &im), *b = NULL;
    if (a && m->slot[6]) {
        b = peft_core(r, m->slot[6], two[1], two[2]);
        ok = (int)two[1]->dims[1];
        in = m->in / im;
    } else if (a)
        b = peft_factor(r, two, &ok, &in);
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
    const alore_tensor *core = m->slot[6]; /* of w2 */
    if (!peft_number(r, "r", 8, 1, &rank) || !peft_number(r, "decompose_factor", -1, -1, &factor) ||
        !peft_flag(r, "decompose_both", false, &both))
        return false;
    rank = peft_by_pattern(r->ranks, r->rank_count, m->name, rank);
    for (int i = 0; i < 2; ++i) {
        const alore_tensor *const *t = &m->slot[3 * i];
        if (t[0] ? t[1] || t[2] : !t[1] || !t[2])
            return img_fail(r->why, "%s: lokr_w%d is neither whole nor in two factors", m->name, i + 1);
        for (int k = 0; k < 3; ++k) {
            if (t[k] && (!t[k]->rank || !t[k]->bytes))
                return img_fail(r->why, "%.200s is no matrix", t[k]->name);
            if (t[k] && !peft_fits(r, t[k], 0, 0)) return false;
        }
        if (!t[0]) {
            rank = (double)t[2]->dims[0];
            if (!(i && core) && !peft_fits(r, t[1], 0, (int)rank)) return false;
        }
        const alore_tensor *last = t[0] ? t[0] : t[2];
        high[i] = (int)(t[0] ? t[0] : t[1])->dims[0];
        wide[i] = (int)(last->bytes / alore_dtype_bytes(last->dtype) / (size_t)last->dims[0]);
        if (!i || !core) continue;
        if (!m->kernel[0] || t[0] || t[1]->rank != 2 || core->rank != 4 || core->dims[2] > 1024 || core->dims[3] > 1024)
            return img_fail(r->why, "%.200s is there, but %s has no such form", core->name, m->name);
        high[1] = (int)t[1]->dims[1];
        if ((uint64_t)wide[1] * core->dims[2] * core->dims[3] > 1 << 24) return peft_fits(r, t[2], 1, 1);
        wide[1] *= (int)(core->dims[2] * core->dims[3]);
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
    if (m->kernel[0])
        return img_fail(r->why, "%s is a convolution: there OFT of PEFT is not the map that it merges", m->name);
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
    {"LOHA", "loha", "hada_w1_a hada_w1_b hada_w2_a hada_w2_b ?hada_t1 ?hada_t2",
     "r alpha rank_pattern alpha_pattern use_effective_conv2d",
     peft_read_loha},
    {"LOKR", "lokr", "?lokr_w1 ?lokr_w1_a ?lokr_w1_b ?lokr_w2 ?lokr_w2_a ?lokr_w2_b ?lokr_t2",
     "r alpha rank_pattern alpha_pattern use_effective_conv2d decompose_both decompose_factor", peft_read_lokr},
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
        if ((x->kind != JSON_NULL || x != v) &&
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

/* In the order of blocks, then of layers: rules read so. */
static int peft_compare_modules(const void *a, const void *b)
{
    const peft_module *x = (const peft_module *)a, *y = (const peft_module *)b;
    if (x->block != y->block) return x->block < y->block ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
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
    if (r->module_count)
        qsort(r->modules, (size_t)r->module_count, sizeof *r->modules, peft_compare_modules);
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
    if (strncmp(name, "base_model.model.", 17) || strlen(name) >= sizeof plain || strlen(name) != t->name_bytes)
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

/* What PEFT itself cannot tell from such a folder, as a note. */
static void peft_notes(const peft_reader *r)
{
    const json *init = json_find(r->config, "init_lora_weights"), *v = json_find(r->config, "peft_version");
    static const char *const bases[] = {"pissa", "olora", "corda", "loftq", "milora"};
    for (size_t i = 0; i < sizeof bases / sizeof *bases && init && init->kind == JSON_TEXT; ++i)
        if (!strncmp(init->text, bases[i], strlen(bases[i])))
            img_fail(r->note, "init_lora_weights is %.40s, which changes the base, too: it must be the changed one",
                     init->text);
    int minor = 0;
    const bool old = !v || v->kind != JSON_TEXT || (sscanf(v->text, "0.%d", &minor) == 1 && minor < 18);
    bool series = true;
    if (!strcmp(r->type->name, "OFT") && peft_flag(r, "use_cayley_neumann", true, &series) && series && old)
        img_fail(r->note, "no peft_version from 0.18 on: before it the series of OFT was a slightly different one");
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
    if (good) peft_notes(r);
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

/* Read the folder as an adapter of `base`, which is in timm's names. Everything belongs to the context. `note`
 * [IMG_WHY] is a remark, or "". */
static bool peft_read(alore_ctx *ctx, const char *folder, const alore_weights *base, alore_weights **out,
                      char *note, char *why)
{
    peft_reader r = {0};
    alore_weights *file = NULL;
    struct stat info;
    char text[IMG_WHY];
    char *config = data_join(folder, "adapter_config.json");
    char *model = data_join(folder, "adapter_model.safetensors");
    char *pickle = data_join(folder, "adapter_model.bin");
    bool good = config && model && pickle;
    if (!good) img_fail(why, "no memory");
    r.ctx = ctx;
    r.base = base;
    r.why = why;
    r.note = note;
    *note = 0;
    if (good && stat(config, &info)) good = img_fail(why, "adapter_config.json is missing: no folder of PEFT");
    if (good && stat(model, &info))
        good = img_fail(why, stat(pickle, &info)
                                 ? "adapter_model.safetensors is missing"
                                 : "adapter_model.bin is a pickle, which can run code, and is not read; "
                                   "save_pretrained of a newer peft writes safetensors");
    if (good && !(r.config = json_file(&r.memory, config, text)))
        good = img_fail(why, "adapter_config.json: %.400s", text);
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

/* ---- Writing a folder ------------------------------------------------------- */

typedef struct peft_item { /* what a rule makes at a layer, or at a part of it */
    char prefix[NAMES_BYTES + 64]; /* of its tensors: "blocks.0.attn.qkv.lora.q." */
    const alore_weights *from;
    const struct names_row *row;
    char site[NAMES_BYTES], part;
    const char *rule; /* text up to its target */
    int block, in, out;
    int kernel[3];
    int rank;
    double scale;
    bool done;
} peft_item;

typedef struct peft_made { /* a module that is adapted now */
    char name[NAMES_BYTES];
    const struct names_row *row;
    int block, rank;
    double alpha;
    bool input; /* of IA3: its input is scaled */
} peft_made;

typedef struct peft_writer {
    alore_ctx *ctx;
    heap memory;
    const alore_weights *base, *adapter;
    alore_weights *out, *fused;
    naming n;
    int depth;
    const char *method; /* of all items */
    peft_item *items;
    peft_made *made;
    int count, made_count;
    char words[5][12]; /* GLoRA's forms of A, B, C, D, E for all modules */
    int most;          /* the largest rank */
    bool even;         /* all scales are equal */
    bool plain;        /* `why` tells what this form cannot say; plain LoRA might */
    peft_text config;
    bool biases, all_biases;
    char *why;
} peft_writer;

/* PEFT has no such form; the adapter may be written as plain LoRA instead. */
IMG_FORMAT(2) static bool peft_cannot(peft_writer *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(w->why, IMG_WHY, format, args);
    va_end(args);
    w->plain = true;
    return false;
}

/* The value of a key in a rule's text, else the method's default; of a word into `word`. */
static double peft_rule_value(const peft_writer *w, const char *rule, const char *key, char word[32])
{
    const alore_method *m = alore_method_find(w->ctx, w->method);
    const char *at = strchr(rule, ':'), *end = rule + strcspn(rule, "@");
    double x = 0;
    *word = 0;
    for (int i = 0; m && i < ALORE_MAX_KEYS && m->keys[i].name; ++i) {
        const char *words = m->keys[i].words;
        if (strcmp(m->keys[i].name, key)) continue;
        x = m->keys[i].value;
        for (int k = (int)x; words && k > 0; --k) words = strchr(words, '|') ? strchr(words, '|') + 1 : "";
        if (words) snprintf(word, 32, "%.*s", (int)strcspn(words, "|"), words);
    }
    for (; at && at < end; at = memchr(at + 1, ',', (size_t)(end - at - 1))) {
        const size_t n = strlen(key);
        if (strncmp(at + 1, key, n) || at[n + 1] != '=') continue;
        snprintf(word, 32, "%.*s", (int)strcspn(at + n + 2, ",@"), at + n + 2);
        return strtod(word, NULL);
    }
    return x;
}

static int peft_rule_whole(const peft_writer *w, const peft_item *item, const char *key)
{
    char word[32];
    const double x = peft_rule_value(w, item->rule, key, word);
    return x > -1e9 && x < 1e9 ? (int)x : 0;
}

/* One item for each rule of a site, or for each of its parts. */
static bool peft_add_items(peft_writer *w, const alore_site *site, char *rules)
{
    const naming timm = {NAMES_TIMM, false};
    for (char *rule = rules, *next; rule && *rule; rule = next) {
        char word[32];
        const size_t n = strcspn(rule, ":@;");
        next = strchr(rule, ';');
        if (next) *next++ = 0;
        if (n == 8 && !memcmp(rule, "unfreeze", 8)) continue;
        char *method = (char *)heap_new(&w->memory, n + 1, 1);
        if (!method) return img_fail(w->why, "no memory");
        memcpy(method, rule, n);
        if (w->method && strcmp(w->method, method))
            return peft_cannot(w, "%s and %s in one adapter", w->method, method);
        w->method = method;
        (void)peft_rule_value(w, rule, "parts", word);
        if (!strncmp(word, "letters", 7)) *word = 0; /* the key's description, not a value */
        char parts[4];
        snprintf(parts, sizeof parts, "%.3s", word);
        for (const char *part = parts; part == parts || *part; ++part) {
            peft_item *item = &w->items[w->count++];
            const char *rest = "";
            char weight[NAMES_BYTES + 64];
            snprintf(item->site, sizeof item->site, "%s", site->name);
            item->row = names_find(timm, item->site, &item->block, &rest);
            if (!item->row || *rest || !item->row->kind || strlen(site->name) >= NAMES_BYTES)
                return img_fail(w->why, "%s has no name in PEFT", site->name);
            item->part = *part;
            item->rule = rule;
            item->from = w->adapter;
            item->in = site->in;
            item->out = site->out / (*part ? 3 : 1);
            item->rank = peft_rule_whole(w, item, "rank");
            item->scale = peft_rule_value(w, rule, "scale", word);
            const char letter[3] = {*part, '.', 0};
            snprintf(item->prefix, sizeof item->prefix, "%s.%s.%s", item->site, method, *part ? letter : "");
            snprintf(weight, sizeof weight, "%s.weight", item->site);
            const alore_tensor *t = alore_weights_find(w->base, weight);
            if (!t || t->rank < 2) return peft_cannot(w, "%s at %s, which is no linear layer", method, item->site);
            for (int d = 0; d < 3 && t->rank == 4; ++d) item->kernel[d] = (int)t->dims[d + 1];
            if (!*parts) break;
        }
    }
    return true;
}

/* A tensor of the item as floats, `count` of them (0: any, then told). */
static float *peft_item_floats(peft_writer *w, const peft_item *item, const char *name, size_t count,
                               size_t *told)
{
    char full[NAMES_BYTES + 96];
    const bool shared = !strncmp(name, "vera.", 5);
    snprintf(full, sizeof full, "%s%s", shared ? "" : item->prefix, name);
    const alore_tensor *t = alore_weights_find(item->from, full);
    const size_t have = t && t->dtype <= ALORE_F64 ? t->bytes / alore_dtype_bytes(t->dtype) : 0;
    float *x = t ? (float *)heap_new(&w->memory, have + 1, sizeof *x) : NULL;
    if (told) *told = have;
    if (x && (!count || have == count) && alore_tensor_read(t, 0, have, x)) return x;
    if (!t)
        img_fail(w->why, "the adapter has no %s", full);
    else
        img_fail(w->why, "%s has %zu numbers, not %zu", full, have, count);
    return NULL;
}

/* Write columns first .. first + count - 1 of x [rows, cols], turned. With a `kernel` [in, kh, kw] rows are
 * that; with `point` two extents of 1 follow. */
static bool peft_emit(peft_writer *w, const char *module, const char *suffix, const float *x, int rows, int cols,
                      int first, int count, const int *kernel, bool point)
{
    char name[NAMES_BYTES + 64];
    uint64_t dims[4] = {(uint64_t)count, (uint64_t)rows, 1, 1};
    float *y = (float *)heap_new(&w->memory, (size_t)rows * (size_t)count + 1, sizeof *y);
    if (!y) return img_fail(w->why, "no memory for %s%s", module, suffix);
    for (int i = 0; i < count; ++i)
        for (int k = 0; k < rows; ++k)
            y[(size_t)i * (size_t)rows + (size_t)k] = x[(size_t)k * (size_t)cols + (size_t)(first + i)];
    for (int i = 0; i < 3 && kernel && kernel[0]; ++i) dims[i + 1] = (uint64_t)kernel[i];
    snprintf(name, sizeof name, "base_model.model.%s.%s", module, suffix);
    return peft_add(w->ctx, w->out, name, (kernel && kernel[0]) || point ? 4 : 2, dims, y, w->why);
}

static bool peft_emit_vector(peft_writer *w, const char *module, const char *suffix, const float *x, int rank,
                             uint64_t a, uint64_t b)
{
    char name[NAMES_BYTES + 64];
    const uint64_t dims[2] = {a, b};
    snprintf(name, sizeof name, "base_model.model.%s.%s", module, suffix);
    return peft_add(w->ctx, w->out, name, rank, dims, x, w->why);
}

/* ---- One function for each method; columns `first` on, `count` of them, belong to the module ---- */

typedef struct peft_cut {
    const char *module;
    int first, count;
    peft_made *made;
} peft_cut;

static bool peft_write_lora(peft_writer *w, const peft_item *item, const peft_cut *c)
{
    const bool conv = item->kernel[0] > 0, dora = !strcmp(w->method, "dora");
    const int r = item->rank;
    const size_t rank = (size_t)r;
    const float *a = peft_item_floats(w, item, "A", (size_t)item->in * rank, NULL);
    const float *b = a ? peft_item_floats(w, item, "B", rank * (size_t)item->out, NULL) : NULL;
    if (!b || !peft_emit(w, c->module, "lora_A.weight", a, item->in, r, 0, r, item->kernel, false) ||
        !peft_emit(w, c->module, "lora_B.weight", b, r, item->out, c->first, c->count, NULL, conv))
        return false;
    c->made->alpha = item->scale * r;
    if (!dora) return true;
    const float *g = peft_item_floats(w, item, "magnitude", (size_t)item->out, NULL);
    if (!g) return false;
    if (conv)
        return peft_emit(w, c->module, "lora_magnitude_vector", g, item->out, 1, 0, 1, NULL, true);
    return peft_emit_vector(w, c->module, "lora_magnitude_vector", g + c->first, 1, (uint64_t)c->count, 0);
}

static bool peft_write_adalora(peft_writer *w, const peft_item *item, const peft_cut *c)
{
    const size_t rank = (size_t)item->rank;
    const float *a = peft_item_floats(w, item, "A", (size_t)item->in * rank, NULL);
    const float *b = a ? peft_item_floats(w, item, "B", rank * (size_t)item->out, NULL) : NULL;
    float *e = b ? peft_item_floats(w, item, "E", rank, NULL) : NULL;
    if (!e) return false;
    for (size_t i = 0; i < rank && !w->even; ++i) e[i] = (float)((double)e[i] * item->scale);
    c->made->alpha = item->scale;
    return peft_emit(w, c->module, "lora_A", a, item->in, item->rank, 0, item->rank, NULL, false) &&
           peft_emit(w, c->module, "lora_B", b, item->rank, item->out, c->first, c->count, NULL, false) &&
           peft_emit_vector(w, c->module, "lora_E", e, 2, rank, 1);
}

static bool peft_write_vera(peft_writer *w, const peft_item *item, const peft_cut *c)
{
    const float *b = peft_item_floats(w, item, "b", (size_t)item->out, NULL);
    const float *d = b ? peft_item_floats(w, item, "d", (size_t)item->rank, NULL) : NULL;
    if (c->count < item->out)
        return peft_cannot(w, "vera at %s as one: the rows of vera_B begin anew for q, k and v", item->site);
    if (item->rank != w->most) return peft_cannot(w, "vera with two ranks");
    return d && peft_emit_vector(w, c->module, "vera_lambda_b", b, 1, (uint64_t)item->out, 0) &&
           peft_emit_vector(w, c->module, "vera_lambda_d", d, 1, (uint64_t)item->rank, 0);
}

static bool peft_write_ia3(peft_writer *w, const peft_item *item, const peft_cut *c)
{
    const bool in = strstr(item->rule, "place=input") != NULL;
    const float *g = peft_item_floats(w, item, "gain", (size_t)(in ? item->in : item->out), NULL);
    c->made->input = in;
    return g && peft_emit_vector(w, c->module, "ia3_l", in ? g : g + c->first, 2, in ? 1 : (uint64_t)c->count,
                                 in ? (uint64_t)item->in : 1);
}

static bool peft_write_loha(peft_writer *w, const peft_item *item, const peft_cut *c)
{
    static const char *const names[][4] = {{"w1_up", "w1_down", "hada_w1_a", "hada_w1_b"},
                                           {"w2_up", "w2_down", "hada_w2_a", "hada_w2_b"}};
    const int r = item->rank;
    const size_t rank = (size_t)r;
    c->made->alpha = item->scale * r;
    for (int i = 0; i < 2; ++i) {
        const float *up = peft_item_floats(w, item, names[i][0], rank * (size_t)item->out, NULL);
        const float *down = up ? peft_item_floats(w, item, names[i][1], (size_t)item->in * rank, NULL) : NULL;
        if (!down || !peft_emit(w, c->module, names[i][2], up, r, item->out, c->first, c->count, NULL, false) ||
            !peft_emit(w, c->module, names[i][3], down, item->in, r, 0, r, NULL, false))
            return false;
    }
    return true;
}

static bool peft_write_lokr(peft_writer *w, const peft_item *item, const peft_cut *c)
{
    static const char *const names[][6] = {{"w1", "w1_down", "w1_up", "lokr_w1", "lokr_w1_b", "lokr_w1_a"},
                                           {"w2", "w2_down", "w2_up", "lokr_w2", "lokr_w2_b", "lokr_w2_a"}};
    if (c->count < item->out)
        return peft_cannot(w, "lokr at %s as one: its factors do not split into those of q, k and v", item->site);
    for (int i = 0; i < 2; ++i)
        for (int k = 0; k < 3; ++k) {
            char full[NAMES_BYTES + 96];
            snprintf(full, sizeof full, "%s%s", item->prefix, names[i][k]);
            const alore_tensor *t = alore_weights_find(item->from, full);
            if (!t) continue;
            const float *x = peft_item_floats(w, item, names[i][k], 0, NULL);
            if (!x || t->rank != 2) return x ? img_fail(w->why, "%s is no matrix", full) : false;
            const int rows = (int)t->dims[0], cols = (int)t->dims[1];
            if (!peft_emit(w, c->module, names[i][k + 3], x, rows, cols, 0, cols, NULL, false)) return false;
        }
    c->made->alpha = item->scale * item->rank;
    return true;
}

static bool peft_write_oft(peft_writer *w, const peft_item *item, const peft_cut *c)
{
    const uint64_t b = (uint64_t)peft_rule_whole(w, item, "block"), blocks = b ? (uint64_t)item->in / b : 0;
    const float *x = peft_item_floats(w, item, "R", (size_t)(blocks * (b * (b - 1) / 2)), NULL);
    return x && peft_emit_vector(w, c->module, "oft_R.weight", x, 2, blocks, b * (b - 1) / 2);
}

static bool peft_write_boft(peft_writer *w, const peft_item *item, const peft_cut *c)
{
    const uint64_t b = (uint64_t)peft_rule_whole(w, item, "block"), f = (uint64_t)peft_rule_whole(w, item, "factors");
    const uint64_t dims[4] = {f, b ? (uint64_t)item->in / b : 0, b, b};
    char name[NAMES_BYTES + 64];
    const float *x = peft_item_floats(w, item, "R", (size_t)(f * dims[1] * b * b), NULL);
    const float *s = x ? peft_item_floats(w, item, "scale", (size_t)item->out, NULL) : NULL;
    snprintf(name, sizeof name, "base_model.model.%s.boft_R", c->module);
    return s && peft_add(w->ctx, w->out, name, 4, dims, x, w->why) &&
           peft_emit_vector(w, c->module, "boft_s", s + c->first, 2, (uint64_t)c->count, 1);
}

/* Path `i`; weaker forms are widened to the one that all modules have. */
static bool peft_write_glora_path(peft_writer *w, const peft_item *item, const peft_cut *c, int i)
{
    const char name[2] = {(char)('A' + i), 0}, key[2] = {(char)('a' + i), 0};
    char form[32], down[16], up[16], d[24], u[24], plain[24];
    const size_t wide = (size_t)(i == 2 ? item->in : item->out);
    const int r = w->most, own = item->rank;
    (void)peft_rule_value(w, item->rule, key, form);
    snprintf(down, sizeof down, "%s_down", name);
    snprintf(up, sizeof up, "%s_up", name);
    snprintf(d, sizeof d, "glora_%s.Xd", name);
    snprintf(u, sizeof u, "glora_%s.Xu", name);
    snprintf(plain, sizeof plain, "glora_%s.X", name);
    if (!strcmp(w->words[i], "none")) { /* of A and B PEFT saves nothing, of the others zeros */
        float *zeros = (float *)heap_new(&w->memory, wide, sizeof *zeros);
        snprintf(plain, sizeof plain, "glora_%s.zeros", name);
        if (!zeros) return img_fail(w->why, "no memory");
        return i < 2 || peft_emit_vector(w, c->module, plain, zeros, i == 2 ? 2 : 1,
                                         (uint64_t)(i == 2 ? item->in : c->count), 1);
    }
    if (!strcmp(w->words[i], "lora")) {
        const size_t many = (size_t)r * wide;
        float *left = (float *)heap_new(&w->memory, (size_t)item->in * (size_t)r + 1, sizeof *left);
        float *right = (float *)heap_new(&w->memory, many + (size_t)r, sizeof *right);
        if (!left || !right) return img_fail(w->why, "no memory");
        const int cols = i == 2 ? 1 : item->out;
        if (!strcmp(form, "lora")) { /* C_up [1, r], C_down [r, in]; the others A_down [in, r], A_up [r, out] */
            const float *a = peft_item_floats(w, item, i == 2 ? up : down,
                                              (size_t)own * (size_t)(i == 2 ? 1 : item->in), NULL);
            const float *b = a ? peft_item_floats(w, item, i == 2 ? down : up, (size_t)own * wide, NULL) : NULL;
            if (!b) return false;
            for (int k = 0; k < own; ++k) {
                for (int e = 0; e < item->in; ++e)
                    left[e * r + k] = i == 2 ? b[k * item->in + e] : a[e * own + k];
                for (int o = 0; o < cols; ++o) right[k * cols + o] = i == 2 ? a[k] : b[k * cols + o];
            }
        }
        if (i == 2) /* a column: Xd [in, r], Xu [r, 1] */
            return peft_emit_vector(w, c->module, d, left, 2, (uint64_t)item->in, (uint64_t)r) &&
                   peft_emit_vector(w, c->module, u, right, 2, (uint64_t)r, 1);
        return peft_emit(w, c->module, d, right, r, item->out, c->first, c->count, NULL, false) &&
               peft_emit(w, c->module, u, left, item->in, r, 0, r, NULL, false);
    }
    const bool vector = !strcmp(w->words[i], "vector");
    float *x = (float *)heap_new(&w->memory, wide + 1, sizeof *x);
    size_t have = 0;
    const float *own_x = !strcmp(form, "none") ? NULL : peft_item_floats(w, item, name, 0, &have);
    if (!x || (!own_x && strcmp(form, "none"))) return x ? false : img_fail(w->why, "no memory");
    if (own_x && have != 1 && have != wide) return img_fail(w->why, "%s%s has %zu numbers", item->prefix, name, have);
    for (size_t k = 0; k < wide && own_x; ++k) x[k] = own_x[have == 1 ? 0 : k];
    if (!vector) return peft_emit_vector(w, c->module, plain, x, 1, 1, 0);
    if (i == 2) return peft_emit_vector(w, c->module, plain, x, 2, wide, 1);
    return peft_emit_vector(w, c->module, plain, x + c->first, i < 2 ? 2 : 1, (uint64_t)c->count, 1);
}

static bool peft_write_glora(peft_writer *w, const peft_item *item, const peft_cut *c)
{
    for (int i = 0; i < 5; ++i)
        if (!peft_write_glora_path(w, item, c, i)) return false;
    return true;
}

/* clang-format off */
static const struct peft_form {
    const char *method, *type;
    bool (*write)(peft_writer *w, const peft_item *item, const peft_cut *cut);
    bool conv, fuses;        /* also of convolutions; parts of a fused layer can be made one */
    const char *alpha;       /* the key of its scale, NULL: it has none */
    const char *bias;        /* the word that keeps biases, NULL: it has none */
    const char *same;        /* keys that the whole file shares, joined by blanks */
} peft_forms[] = {
    {"lora", "LORA", peft_write_lora, true, true, "lora_alpha", "lora_only", ""},
    {"dora", "LORA", peft_write_lora, true, true, "lora_alpha", "lora_only", ""},
    {"adalora", "ADALORA", peft_write_adalora, false, true, NULL, "lora_only", ""},
    {"vera", "VERA", peft_write_vera, false, false, NULL, NULL, ""},
    {"ia3", "IA3", peft_write_ia3, false, true, NULL, NULL, ""},
    {"loha", "LOHA", peft_write_loha, true, true, "alpha", NULL, ""},
    {"lokr", "LOKR", peft_write_lokr, false, false, "alpha", NULL, "factor both"},
    {"oft", "OFT", peft_write_oft, false, false, NULL, NULL, "block terms"},
    {"boft", "BOFT", peft_write_boft, false, false, NULL, "boft_only", "block factors"},
    {"glora", "GLORA", peft_write_glora, false, false, NULL, NULL, ""},
};
/* clang-format on */
enum { PEFT_FORMS = sizeof peft_forms / sizeof *peft_forms };

/* ---- Parts of a fused layer as one ------------------------------------------ */

/* One tensor of the whole from those of the parts: side by side (what reads the input), or a block each
 * (what makes columns), or behind one another (a vector). `rest`: of columns that no part has. */
static bool peft_fuse_tensor(peft_writer *w, peft_item *const part[3], const peft_item *whole, const char *name,
                             char form, const float *rest, const double *factor)
{
    const size_t in = (size_t)whole->in, d = (size_t)whole->out / 3, r = (size_t)whole->rank;
    const size_t rows = form == 'b' ? r : form == 'a' ? in : 1;
    const size_t cols = form == 'a' ? r : form == 'e' ? r : 3 * d;
    char full[NAMES_BYTES + 96];
    float *y = (float *)heap_new(&w->memory, rows * cols + 1, sizeof *y);
    if (!y) return img_fail(w->why, "no memory");
    for (size_t i = 0; i < 3 * d && form == 'v' && rest; ++i) y[i] = rest[i];
    for (size_t k = 0, at = 0; k < 3; ++k) {
        const size_t own = part[k] ? (size_t)part[k]->rank : 0;
        if (!part[k]) continue;
        const size_t count = form == 'a' ? in * own : form == 'b' ? own * d : form == 'e' ? own : d;
        const float *x = peft_item_floats(w, part[k], name, count, NULL);
        if (!x) return false;
        for (size_t i = 0; i < count; ++i) {
            const size_t to = form == 'a'   ? i / own * r + at + i % own
                              : form == 'b' ? (at + i / d) * 3 * d + k * d + i % d
                              : form == 'e' ? at + i
                                            : k * d + i;
            y[to] = factor ? (float)((double)x[i] * factor[k]) : x[i];
        }
        at += own;
    }
    const uint64_t dims[2] = {form == 'v' || form == 'e' ? (uint64_t)cols : (uint64_t)rows, (uint64_t)cols};
    snprintf(full, sizeof full, "%s%s", whole->prefix, name);
    return peft_add(w->ctx, w->fused, full, form == 'v' || form == 'e' ? 1 : 2, dims, y, w->why);
}

/* The lengths of the base's rows: DoRA's magnitudes where nothing is adapted. */
static float *peft_lengths(peft_writer *w, const peft_item *whole)
{
    char name[NAMES_BYTES + 64];
    snprintf(name, sizeof name, "%s.weight", whole->site);
    const alore_tensor *t = alore_weights_find(w->base, name);
    const size_t rows = (size_t)whole->out, cols = (size_t)whole->in;
    float *x = (float *)heap_new(&w->memory, cols, sizeof *x);
    float *y = (float *)heap_new(&w->memory, rows, sizeof *y);
    for (size_t i = 0; x && y && i < rows; ++i) {
        double sum = 0;
        if (!t || !alore_tensor_read(t, i * cols, cols, x)) {
            img_fail(w->why, "%s cannot be read", name);
            return NULL;
        }
        for (size_t k = 0; k < cols; ++k) sum += (double)x[k] * (double)x[k];
        y[i] = (float)sqrt(sum);
    }
    if (!x || !y) img_fail(w->why, "no memory");
    return x ? y : NULL;
}

/* Make `whole` of up to three parts; zeros where a part has nothing. */
static bool peft_fuse(peft_writer *w, peft_item *const part[3], peft_item *whole)
{
    const char *m = w->method;
    double factor[3] = {1, 1, 1};
    const float *ones = NULL, *lengths = NULL;
    bool equal = true;
    const peft_item *one = part[0] ? part[0] : part[1] ? part[1] : part[2];
    *whole = *one;
    whole->part = 0;
    whole->out = 3 * one->out;
    whole->rank = 0;
    whole->from = w->fused;
    snprintf(whole->prefix, sizeof whole->prefix, "%.*s.%s.", NAMES_BYTES - 1, whole->site, m);
    for (int k = 0; k < 3; ++k) {
        if (!part[k]) continue;
        whole->rank += part[k]->rank;
        equal = equal && !(part[k]->scale < one->scale || part[k]->scale > one->scale);
        factor[k] = part[k]->scale;
    }
    if (!equal) whole->scale = 1;
    const double *scale = equal ? NULL : factor;
    if (!strcmp(m, "ia3")) {
        if (strstr(one->rule, "place=input")) return peft_cannot(w, "ia3 before parts of %s", one->site);
        float *x = (float *)heap_new(&w->memory, (size_t)whole->out, sizeof *x);
        for (int i = 0; x && i < whole->out; ++i) x[i] = 1;
        ones = x;
        return x ? peft_fuse_tensor(w, part, whole, "gain", 'v', ones, NULL) : img_fail(w->why, "no memory");
    }
    if (!strcmp(m, "loha"))
        return peft_fuse_tensor(w, part, whole, "w1_down", 'a', NULL, NULL) &&
               peft_fuse_tensor(w, part, whole, "w1_up", 'b', NULL, scale) &&
               peft_fuse_tensor(w, part, whole, "w2_down", 'a', NULL, NULL) &&
               peft_fuse_tensor(w, part, whole, "w2_up", 'b', NULL, NULL);
    if (!strcmp(m, "dora")) {
        if (!(lengths = peft_lengths(w, whole)) ||
            !peft_fuse_tensor(w, part, whole, "magnitude", 'v', lengths, NULL))
            return false;
    } else if (!strcmp(m, "adalora") && !peft_fuse_tensor(w, part, whole, "E", 'e', NULL, NULL))
        return false;
    return peft_fuse_tensor(w, part, whole, "A", 'a', NULL, NULL) &&
           peft_fuse_tensor(w, part, whole, "B", 'b', NULL, scale);
}

/* In timm's names: parts of one layer become one item. */
static bool peft_fuse_all(peft_writer *w, const struct peft_form *form)
{
    for (int i = 0; i < w->count; ++i) {
        peft_item *part[3] = {NULL, NULL, NULL}, whole;
        bool mixed = false;
        if (!w->items[i].part || w->items[i].done) continue;
        for (int k = 0; k < w->count; ++k) {
            peft_item *o = &w->items[k];
            if (strcmp(o->site, w->items[i].site) || o->done) continue;
            mixed = mixed || !o->part || part[o->part == 'q' ? 0 : o->part == 'k' ? 1 : 2];
            if (o->part) part[o->part == 'q' ? 0 : o->part == 'k' ? 1 : 2] = o;
        }
        if (mixed) return peft_cannot(w, "%s twice at %s", w->method, w->items[i].site);
        if (!form->fuses)
            return peft_cannot(w, "%s at parts of %s, which is one layer in timm's names", w->method,
                               w->items[i].site);
        if (!peft_fuse(w, part, &whole)) return false;
        for (int k = 0; k < 3; ++k)
            if (part[k]) part[k]->done = true;
        w->items[i] = whole;
    }
    return true;
}

/* ---- What is adapted -------------------------------------------------------- */

/* The forms of GLoRA's paths that all items can be brought to. */
static bool peft_glora_words(peft_writer *w)
{
    for (int i = 0; i < 5; ++i) {
        bool has[4] = {false, false, false, false}; /* none, constant, vector, lora */
        static const char *const words[] = {"none", "constant", "vector", "lora"};
        const char key[2] = {(char)('a' + i), 0};
        for (int k = 0; k < w->count; ++k) {
            char word[32];
            (void)peft_rule_value(w, w->items[k].rule, key, word);
            for (int j = 0; j < 4; ++j) has[j] = has[j] || !strcmp(word, words[j]);
        }
        if (has[3] && (has[1] || has[2])) return peft_cannot(w, "glora with %s=lora beside other forms", key);
        const bool mixed = has[0] + has[1] + has[2] > 1;
        snprintf(w->words[i], sizeof w->words[i], "%s",
                 has[3] ? "lora" : has[2] || mixed ? "vector" : has[1] ? "constant" : "none");
    }
    for (int i = 0; i < 5; i += 3) { /* A and B, D and E share a word; C has its own */
        char *a = w->words[i], *b = w->words[i + 1];
        if (!strcmp(a, b)) continue;
        if (!strcmp(a, "lora") || !strcmp(b, "lora")) {
            if (strcmp(a, "none") && strcmp(b, "none")) return peft_cannot(w, "glora with a=%s and b=%s", a, b);
            snprintf(a, 12, "lora");
        } else
            snprintf(a, 12, "vector");
        memcpy(b, a, 12);
    }
    return true;
}

/* Settings that the file has once: they must agree. */
static bool peft_same(peft_writer *w, const struct peft_form *form)
{
    const char *word;
    size_t n = 0;
    w->even = true;
    for (int k = 0; k < w->count; ++k) {
        if (w->items[k].rank > w->most) w->most = w->items[k].rank;
        w->even = w->even && !(w->items[k].scale < w->items[0].scale || w->items[k].scale > w->items[0].scale);
        char place[32];
        (void)peft_rule_value(w, w->items[k].rule, "place", place);
        if (*place && strcmp(w->method, "ia3") && strstr(w->items[k].rule, "place="))
            return peft_cannot(w, "%s with place=%s", w->method, place);
    }
    for (int i = 0; *form->same && (word = peft_word(form->same, i, &n)) != NULL; ++i) {
        char key[32];
        snprintf(key, sizeof key, "%.*s", (int)n, word);
        for (int k = 1; k < w->count; ++k)
            if (peft_rule_whole(w, &w->items[k], key) != peft_rule_whole(w, &w->items[0], key))
                return peft_cannot(w, "%s with two values of %s", w->method, key);
    }
    return strcmp(w->method, "glora") || peft_glora_words(w);
}

/* Write the modules of an item: of a whole qkv in the names of transformers three. */
static bool peft_write_item(peft_writer *w, const struct peft_form *form, const peft_item *item)
{
    const bool split = w->n.style != NAMES_TIMM && item->row->part && !item->part;
    const int letter = item->part == 'k' ? 1 : item->part == 'v' ? 2 : 0;
    if (item->kernel[0] && !form->conv) return peft_cannot(w, "%s at a convolution", w->method);
    for (int k = 0; k < (split ? 3 : 1); ++k) {
        peft_made *made = &w->made[w->made_count++];
        const int count = item->out / (split ? 3 : 1);
        const peft_cut cut = {made->name, k * count, count, made};
        made->row = item->row + (split ? k : letter);
        made->block = item->block;
        made->rank = item->rank;
        names_put(w->n, made->row, item->block, made->name);
        for (int i = 0; i < w->made_count - 1; ++i)
            if (!strcmp(w->made[i].name, made->name)) return peft_cannot(w, "%s twice at %s", w->method, made->name);
        if (!form->write(w, item, &cut)) return false;
    }
    return true;
}

static peft_made *peft_find_made(const peft_writer *w, const char *module)
{
    for (int i = 0; i < w->made_count; ++i)
        if (!strcmp(w->made[i].name, module)) return &w->made[i];
    return NULL;
}

/* ---- Tensors of the base that learnt ---------------------------------------- */

/* Rows of a tensor: all, or the third of a part. */
static bool peft_put_rows(peft_writer *w, const char *key, const alore_tensor *t, int third)
{
    char name[NAMES_BYTES + 128];
    uint64_t dims[8];
    const size_t all = t->bytes / alore_dtype_bytes(t->dtype), count = third < 0 ? all : all / 3;
    float *x = (float *)heap_new(&w->memory, count + 1, sizeof *x);
    if (!x || t->rank > 8 || !t->rank || t->dtype > ALORE_F64 ||
        !alore_tensor_read(t, third < 0 ? 0 : (size_t)third * count, count, x))
        return img_fail(w->why, "%s cannot be written", t->name);
    memcpy(dims, t->dims, (size_t)t->rank * sizeof *dims);
    if (third >= 0) dims[0] /= 3;
    snprintf(name, sizeof name, "base_model.model.%s", key);
    return peft_add(w->ctx, w->out, name, t->rank, dims, x, w->why);
}

/* The tensor as it is after training, or as the base has it; NULL: neither. */
static const alore_tensor *peft_now(const peft_writer *w, const char *name)
{
    const alore_tensor *t = alore_weights_find(w->adapter, name);
    return t ? t : alore_weights_find(w->base, name);
}

/* Whether the third, or all, of a tensor is as in the base. */
static bool peft_unchanged(peft_writer *w, const alore_tensor *t, int third)
{
    const alore_tensor *b = alore_weights_find(w->base, t->name);
    if (!b || b->bytes / alore_dtype_bytes(b->dtype) != t->bytes / alore_dtype_bytes(t->dtype)) return false;
    const size_t all = t->bytes / alore_dtype_bytes(t->dtype), count = third < 0 ? all : all / 3;
    for (size_t i = 0; i < count; ++i) {
        float x = 0, y = 1;
        const size_t at = (third < 0 ? 0 : (size_t)third * count) + i;
        if (!alore_tensor_read(t, at, 1, &x) || !alore_tensor_read(b, at, 1, &y) || x < y || x > y) return false;
    }
    return true;
}

/* Add a word to a list of JSON, sorted later. */
typedef struct peft_list {
    char (*names)[NAMES_BYTES];
    int count;
} peft_list;

static void peft_list_add(peft_list *l, const char *name)
{
    for (int i = 0; i < l->count; ++i)
        if (!strcmp(l->names[i], name)) return;
    snprintf(l->names[l->count++], NAMES_BYTES, "%s", name);
}

/* The layer of a learnt tensor (or its part) is saved whole, or its bias beside its adapter. */
static bool peft_save_layer(peft_writer *w, const struct peft_form *form, const alore_tensor *t,
                            const struct names_row *row, int block, const char *leaf, int third, peft_list *save)
{
    static const char *const leaves[] = {".weight", ".bias", ".gamma"};
    const naming timm = {NAMES_TIMM, false};
    char layer[NAMES_BYTES], module[NAMES_BYTES], name[NAMES_BYTES + 64];
    snprintf(layer, sizeof layer, "%.*s", (int)(leaf - t->name), t->name);
    snprintf(module, sizeof module, "%s", layer);
    if (row) names_put(timm, row, block, layer);
    if (row) names_put(w->n, row, block, module);
    if (third >= 0 && peft_unchanged(w, t, third)) return true;
    if (peft_find_made(w, module)) {
        if (strcmp(leaf, ".bias"))
            return img_fail(w->why, "%s is adapted and learns itself: PEFT keeps one of both", module);
        if (!form->bias) return peft_cannot(w, "%s keeps no biases", form->type);
        return w->biases = true;
    }
    if (w->all_biases && !strcmp(leaf, ".bias") && form->bias) return w->biases = true;
    for (int i = 0; i < save->count; ++i)
        if (!strcmp(save->names[i], module)) return true;
    peft_list_add(save, module);
    for (int i = 0; i < 3; ++i) {
        snprintf(name, sizeof name, "%s%s", layer, leaves[i]);
        const alore_tensor *now = peft_now(w, name);
        snprintf(name, sizeof name, "%s%s", module, leaves[i]);
        if (now && !peft_put_rows(w, name, now, third)) return false;
    }
    return true;
}

/* Biases of the adapted layers, of all layers where all learn. */
static bool peft_save_biases(peft_writer *w)
{
    const naming timm = {NAMES_TIMM, false};
    for (int i = 0; i < alore_weights_count(w->base); ++i) {
        const alore_tensor *t = alore_weights_at(w->base, i), *now = peft_now(w, t->name);
        const char *rest = "";
        int block = -1;
        const struct names_row *row = names_find(timm, t->name, &block, &rest);
        if (!row || strcmp(rest, ".bias")) continue;
        const int parts = row->part && w->n.style != NAMES_TIMM ? 3 : 1;
        for (int k = 0; k < parts; ++k) {
            char module[NAMES_BYTES], key[NAMES_BYTES + 32];
            names_put(w->n, row + k, block, module);
            const bool wrapped = peft_find_made(w, module) != NULL;
            if (!wrapped && !w->all_biases) continue;
            snprintf(key, sizeof key, "%s.%s", module, wrapped ? "base_layer.bias" : "bias");
            if (!peft_put_rows(w, key, now, parts > 1 ? k : -1)) return false;
        }
    }
    return true;
}

static bool peft_save_learnt(peft_writer *w, const struct peft_form *form, peft_list *save)
{
    const naming timm = {NAMES_TIMM, false};
    bool head = alore_weights_find(w->adapter, "head.weight") != NULL;
    w->all_biases = form->bias != NULL;
    for (int i = 0; i < alore_weights_count(w->base) && w->all_biases; ++i) {
        const char *name = alore_weights_at(w->base, i)->name;
        if (peft_ends(name, "bias", true) && !(head && !strncmp(name, "head.", 5)))
            w->all_biases = alore_weights_find(w->adapter, name) != NULL;
    }
    for (int i = 0; i < alore_weights_count(w->adapter); ++i) {
        const alore_tensor *t = alore_weights_at(w->adapter, i);
        const char *rest = "", *leaf = strrchr(t->name, '.');
        int block = -1;
        const bool is_head = !strcmp(t->name, "head.weight") || !strcmp(t->name, "head.bias");
        if (!is_head && !alore_weights_find(w->base, t->name)) continue; /* an adapter's own */
        const struct names_row *row = names_find(timm, t->name, &block, &rest);
        if (!leaf || strlen(t->name) >= NAMES_BYTES || (row ? !row->kind : w->n.style != NAMES_TIMM))
            return img_fail(w->why, "%s learns, which PEFT cannot save: it saves whole modules", t->name);
        const int parts = row && row->part && w->n.style != NAMES_TIMM ? 3 : 1;
        for (int k = 0; k < parts; ++k)
            if (!peft_save_layer(w, form, t, row ? row + k : NULL, block, leaf, parts > 1 ? k : -1, save))
                return false;
    }
    return !w->biases || peft_save_biases(w);
}

/* ---- The configuration as text ---------------------------------------------- */

typedef struct peft_entry {
    const char *key;
    peft_text value;
} peft_entry;

typedef struct peft_object {
    peft_entry entries[24];
    int count;
} peft_object;

/* A new entry; its value is JSON. Room for all that one type has. */
static peft_text *peft_entry_of(peft_writer *w, peft_object *o, const char *key)
{
    const peft_text none = {&w->memory, NULL, 0, 0};
    o->entries[o->count].key = key;
    o->entries[o->count].value = none;
    return &o->entries[o->count++].value;
}

IMG_FORMAT(4) static bool peft_say(peft_writer *w, peft_object *o, const char *key, const char *format, ...)
{
    char text[64];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return peft_print(peft_entry_of(w, o, key), "%s", text);
}

static int peft_compare_names(const void *a, const void *b) { return strcmp((const char *)a, (const char *)b); }

static bool peft_say_list(peft_writer *w, peft_object *o, const char *key, peft_list *l)
{
    peft_text *t = peft_entry_of(w, o, key);
    bool good = peft_print(t, "[");
    if (l->count) qsort(l->names, (size_t)l->count, sizeof *l->names, peft_compare_names);
    for (int i = 0; i < l->count && good; ++i)
        good = peft_print(t, "%s\n    \"%s\"", i ? "," : "", l->names[i]);
    return good && peft_print(t, "\n  ]");
}

/* Shortest digits of an alpha whose quotient by r is the scale as a float. */
static const char *peft_alpha(double alpha, double r, char out[32])
{
    const float want = (float)(alpha / r);
    for (int digits = 0; digits <= 17; ++digits) {
        snprintf(out, 32, digits ? "%.*g" : "%.*f", digits, alpha);
        const float back = (float)(strtod(out, NULL) / r);
        if (!(back < want || back > want)) break;
    }
    return out;
}

/* Ranks and alphas, by pattern where they differ from the first module's. */
static bool peft_say_ranks(peft_writer *w, peft_object *o, const char *key)
{
    char alpha[32], own[32];
    int ranks = 0, alphas = 0;
    bool good = true;
    peft_text *r, *a;
    const peft_made *first = &w->made[0];
    peft_alpha(first->alpha, first->rank, alpha);
    good = peft_say(w, o, "r", "%d", first->rank) && peft_say(w, o, key, "%s", alpha);
    for (int i = 0; i < w->made_count; ++i) {
        ranks += w->made[i].rank != first->rank;
        alphas += strcmp(peft_alpha(w->made[i].alpha, w->made[i].rank, own), alpha) != 0;
    }
    r = ranks ? peft_entry_of(w, o, "rank_pattern") : NULL;
    a = alphas ? peft_entry_of(w, o, "alpha_pattern") : NULL;
    if (r) good = good && peft_print(r, "{");
    if (a) good = good && peft_print(a, "{");
    for (int i = 0; i < w->made_count && good; ++i) {
        const peft_made *m = &w->made[i];
        if (r && m->rank != first->rank)
            good = peft_print(r, "%s\n    \"%s\": %d", r->used > 1 ? "," : "", m->name, m->rank);
        if (a && strcmp(peft_alpha(m->alpha, m->rank, own), alpha))
            good = good && peft_print(a, "%s\n    \"%s\": %s", a->used > 1 ? "," : "", m->name, own);
    }
    if (r) good = good && peft_print(r, "\n  }");
    if (a) good = good && peft_print(a, "\n  }");
    return good;
}

/* AdaLoRA: one initial rank for all; lists of booleans where fewer are left. */
static bool peft_say_pruned(peft_writer *w, peft_object *o)
{
    char alpha[32];
    bool good = true;
    peft_text *t = NULL;
    const double init = w->most + 1e-5;
    peft_alpha((w->even ? w->items[0].scale : 1) * init, init, alpha);
    good = peft_say(w, o, "init_r", "%d", w->most) && peft_say(w, o, "target_r", "%d", w->most) &&
           peft_say(w, o, "lora_alpha", "%s", alpha) &&
           peft_say(w, o, "total_step", "1");
    for (int i = 0; i < w->made_count && good; ++i) {
        if (w->made[i].rank == w->most) continue;
        if (!t) t = peft_entry_of(w, o, "rank_pattern");
        good = peft_print(t, "%s\n    \"%s.lora_E\": [", t->used ? "," : "{", w->made[i].name);
        for (int k = 0; k < w->most && good; ++k)
            good = peft_print(t, "%s\n      %s", k ? "," : "", k < w->made[i].rank ? "true" : "false");
        good = good && peft_print(t, "\n    ]");
    }
    return good && (!t || peft_print(t, "\n  }"));
}

/* VeRA's projections, which belong to the file. */
static bool peft_emit_projections(peft_writer *w)
{
    for (int k = 0; k < 2; ++k) {
        size_t count = 0;
        const float *x = peft_item_floats(w, &w->items[0], k ? "vera.B" : "vera.A", 0, &count);
        if (!x) return false;
        const int r = w->most, wide = (int)(count / (size_t)r), rows = k ? r : wide, cols = k ? wide : r;
        const uint64_t dims[2] = {(uint64_t)cols, (uint64_t)rows};
        float *y = (float *)heap_new(&w->memory, count + 1, sizeof *y);
        if (!y || count % (size_t)r) return img_fail(w->why, "vera.%c is no matrix of %d", k ? 'B' : 'A', r);
        for (int i = 0; i < rows; ++i)
            for (int j = 0; j < cols; ++j)
                y[(size_t)j * (size_t)rows + (size_t)i] = x[(size_t)i * (size_t)cols + (size_t)j];
        if (!peft_add(w->ctx, w->out, k ? "base_model.vera_B" : "base_model.vera_A", 2, dims, y, w->why))
            return false;
    }
    return true;
}

/* What only this method says. */
static bool peft_say_method(peft_writer *w, peft_object *o, const struct peft_form *form)
{
    const peft_item *one = &w->items[0];
    const char *m = w->method;
    if (!strcmp(m, "adalora")) return peft_say_pruned(w, o);
    if (form->alpha && !peft_say_ranks(w, o, form->alpha)) return false;
    if (!strcmp(m, "dora")) return peft_say(w, o, "use_dora", "true");
    if (!strcmp(m, "vera"))
        return peft_say(w, o, "r", "%d", w->most) && peft_say(w, o, "save_projection", "true") &&
               peft_emit_projections(w);
    if (!strcmp(m, "lokr")) {
        const int factor = peft_rule_whole(w, one, "factor");
        return peft_say(w, o, "decompose_both", peft_rule_whole(w, one, "both") ? "true" : "false") &&
               peft_say(w, o, "decompose_factor", "%d", factor > 0 ? factor : -1);
    }
    if (!strcmp(m, "oft")) {
        const int terms = peft_rule_whole(w, one, "terms");
        return peft_say(w, o, "oft_block_size", "%d", peft_rule_whole(w, one, "block")) &&
               peft_say(w, o, "r", "0") && peft_say(w, o, "use_cayley_neumann", terms ? "true" : "false") &&
               (!terms || (peft_say(w, o, "num_cayley_neumann_terms", "%d", terms) && /* the series since 0.18 */
                           peft_say(w, o, "peft_version", "\"0.18.0\"")));
    }
    if (!strcmp(m, "boft"))
        return peft_say(w, o, "boft_block_size", "%d", peft_rule_whole(w, one, "block")) &&
               peft_say(w, o, "boft_n_butterfly_factor", "%d", peft_rule_whole(w, one, "factors"));
    if (!strcmp(m, "glora"))
        return peft_say(w, o, "r", "%d", w->most) && peft_say(w, o, "config_A_B", "\"%s\"", w->words[0]) &&
               peft_say(w, o, "config_C", "\"%s\"", w->words[2]) &&
               peft_say(w, o, "config_D_E", "\"%s\"", w->words[3]);
    return true;
}

/* The modules as target_modules: a row's ending where all blocks are there, else their full names. */
static void peft_targets(const peft_writer *w, peft_list *l, bool input)
{
    for (int i = 0; i < w->made_count; ++i) {
        const peft_made *m = &w->made[i];
        const char *brief = m->row->brief[w->n.style];
        int count = 0;
        if (input && !m->input) continue;
        for (int k = 0; k < w->made_count; ++k)
            count += w->made[k].row == m->row && (!input || w->made[k].input);
        peft_list_add(l, brief && m->row->block && count == w->depth ? brief : m->name);
    }
}

static int peft_compare_made(const void *a, const void *b)
{
    return strcmp(((const peft_made *)a)->name, ((const peft_made *)b)->name);
}

static int peft_compare_entries(const void *a, const void *b)
{
    return strcmp(((const peft_entry *)a)->key, ((const peft_entry *)b)->key);
}

static bool peft_write_config(peft_writer *w, const struct peft_form *form, peft_list *save)
{
    peft_object o;
    peft_list targets = {NULL, 0}, inputs = {NULL, 0};
    const size_t room = (size_t)w->made_count + 1;
    o.count = 0;
    targets.names = (char(*)[NAMES_BYTES])heap_new(&w->memory, room, NAMES_BYTES);
    inputs.names = (char(*)[NAMES_BYTES])heap_new(&w->memory, room, NAMES_BYTES);
    if (!targets.names || !inputs.names) return img_fail(w->why, "no memory");
    qsort(w->made, (size_t)w->made_count, sizeof *w->made, peft_compare_made);
    peft_targets(w, &targets, false);
    peft_targets(w, &inputs, true);
    bool good = peft_say(w, &o, "peft_type", "\"%s\"", form->type) && peft_say(w, &o, "inference_mode", "true") &&
                peft_say_list(w, &o, "target_modules", &targets);
    if (!strcmp(w->method, "ia3")) good = good && peft_say_list(w, &o, "feedforward_modules", &inputs);
    if (save->count) good = good && peft_say_list(w, &o, "modules_to_save", save);
    if (w->biases) good = good && peft_say(w, &o, "bias", "\"%s\"", w->all_biases ? "all" : form->bias);
    *w->why = 0;
    if (!good || !peft_say_method(w, &o, form)) return *w->why ? false : img_fail(w->why, "no memory");
    qsort(o.entries, (size_t)o.count, sizeof *o.entries, peft_compare_entries);
    good = peft_print(&w->config, "{");
    for (int i = 0; i < o.count && good; ++i) {
        good = peft_print(&w->config, "%s\n  \"%s\": ", i ? "," : "", o.entries[i].key);
        for (const char *s = o.entries[i].value.data; good && *s; s += strnlen(s, 400))
            good = peft_print(&w->config, "%.400s", s);
    }
    return (good && peft_print(&w->config, "\n}\n")) || img_fail(w->why, "no memory");
}

/* ---- All of it -------------------------------------------------------------- */

static bool peft_write_all(peft_writer *w, const alore_model *m)
{
    const struct peft_form *form = NULL;
    const int sites = alore_site_count(m);
    const size_t room = 3 * (size_t)alore_weights_count(w->adapter) + 64;
    peft_list save = {NULL, 0};
    w->items = (peft_item *)heap_new(&w->memory, room, sizeof *w->items);
    w->made = (peft_made *)heap_new(&w->memory, room, sizeof *w->made);
    save.names = (char(*)[NAMES_BYTES])heap_new(&w->memory, room, NAMES_BYTES);
    if (!w->items || !w->made || !save.names) return img_fail(w->why, "no memory");
    for (int i = 0; i < sites; ++i) {
        const alore_site *s = alore_site_at(m, i);
        const size_t need = alore_site_rules(m, i, NULL, 0) + 1;
        if (need < 2) continue;
        char *rules = (char *)heap_new(&w->memory, need, 1);
        if (!rules) return img_fail(w->why, "no memory");
        alore_site_rules(m, i, rules, need);
        if (s->block >= w->depth) w->depth = s->block + 1;
        if (!peft_add_items(w, s, rules)) return false;
    }
    for (int i = 0; i < sites; ++i)
        if (alore_site_at(m, i)->block >= w->depth) w->depth = alore_site_at(m, i)->block + 1;
    if (!w->count) return img_fail(w->why, "no layer is adapted: PEFT cannot save learnt tensors alone");
    for (int i = 0; i < PEFT_FORMS; ++i)
        if (!strcmp(peft_forms[i].method, w->method)) form = &peft_forms[i];
    if (!form) return peft_cannot(w, "PEFT has no %s", w->method);
    if (!peft_same(w, form)) return false;
    if (w->n.style == NAMES_TIMM && !peft_fuse_all(w, form)) return false;
    w->most = 0;
    for (int i = 0; i < w->count; ++i)
        if (!w->items[i].done && w->items[i].rank > w->most) w->most = w->items[i].rank;
    for (int i = 0; i < w->count; ++i)
        if (!w->items[i].done && !peft_write_item(w, form, &w->items[i])) return false;
    if (alore_weights_set_meta(w->out, "format", "pt")) return img_fail(w->why, "no memory");
    return peft_save_learnt(w, form, &save) && peft_write_config(w, form, &save);
}

/* Write both files into `folder`, which was made for them. */
static bool peft_write_files(peft_writer *w, const char *folder)
{
    char *config = data_join(folder, "adapter_config.json");
    char *model = data_join(folder, "adapter_model.safetensors");
    bool good = config && model;
    if (good && alore_weights_save(w->out, model)) good = img_fail(w->why, "%s", alore_last_error(w->ctx)->text);
    FILE *f = good ? fopen(config, "wb") : NULL;
    if (f) {
        good = fwrite(w->config.data, 1, w->config.used, f) == w->config.used;
        good = !fclose(f) && good;
    }
    if (!f || !good) {
        if (good) img_fail(w->why, "cannot be written: %s", strerror(errno));
        good = false;
        if (model) remove(model);
        if (config) remove(config);
    }
    free(config);
    free(model);
    return good;
}

/* Whether a folder that is there holds nothing but an adapter's two files. */
static bool peft_only_ours(const char *folder, char *why)
{
    DIR *dir = opendir(folder);
    bool good = dir != NULL;
    if (!dir) return img_fail(why, "is no folder");
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && strcmp(e->d_name, "adapter_config.json") &&
            strcmp(e->d_name, "adapter_model.safetensors"))
            good = img_fail(why, "is there already, and %.200s in it is not an adapter's", e->d_name);
    closedir(dir);
    return good;
}

/* Remove a folder of the two files. */
static void peft_remove(const char *folder)
{
    char *config = data_join(folder, "adapter_config.json");
    char *model = data_join(folder, "adapter_model.safetensors");
    if (config) remove(config);
    if (model) remove(model);
    rmdir(folder);
    free(config);
    free(model);
}

/* The folder is made beside its place and renamed there; an adapter's folder that was there goes. */
static bool peft_place(peft_writer *w, const char *folder)
{
    const size_t bytes = strlen(folder);
    char *part = (char *)heap_new(&w->memory, bytes + 32, 1), *old = (char *)heap_new(&w->memory, bytes + 32, 1);
    size_t n = bytes;
    struct stat info;
    if (!part || !old) return img_fail(w->why, "no memory");
    while (n > 1 && folder[n - 1] == '/') --n;
    snprintf(part, bytes + 32, "%.*s.part%ld", (int)n, folder, (long)getpid());
    snprintf(old, bytes + 32, "%.*s.old%ld", (int)n, folder, (long)getpid());
    const bool there = !stat(folder, &info);
    if (there && !peft_only_ours(folder, w->why)) return false;
    if (mkdir(part, 0777)) return img_fail(w->why, "cannot be written: %s", strerror(errno));
    bool good = peft_write_files(w, part);
    if (good && there && rename(folder, old)) good = img_fail(w->why, "cannot be moved: %s", strerror(errno));
    if (good && rename(part, folder)) {
        good = img_fail(w->why, "cannot be written: %s", strerror(errno));
        if (there) rename(old, folder);
    }
    if (good && there) peft_remove(old);
    if (!good) peft_remove(part);
    return good;
}

/* Write an adapter (of a model in timm's names, with its base) as a folder. `plain`, where it is false: the
 * reason in `why` is of this form alone, plain LoRA might go. `type` is what was written. */
static bool peft_write(alore_ctx *ctx, const alore_model *m, const alore_weights *base,
                       const alore_weights *adapter, naming n, const char *folder, const char **type, bool *plain,
                       char *why)
{
    peft_writer w = {0};
    w.ctx = ctx;
    w.base = base;
    w.adapter = adapter;
    w.n = n;
    w.why = why;
    w.config.memory = &w.memory;
    bool good = (!alore_weights_create(ctx, &w.out) && !alore_weights_create(ctx, &w.fused)) ||
                img_fail(why, "no memory");
    good = good && peft_write_all(&w, m) && peft_place(&w, folder);
    for (int i = 0; i < PEFT_FORMS && good; ++i)
        if (!strcmp(peft_forms[i].method, w.method)) *type = peft_forms[i].type;
    *plain = w.plain;
    alore_weights_destroy(w.out);
    alore_weights_destroy(w.fused);
    heap_free(&w.memory);
    return good;
}

#endif /* ALORE_TOOLS_PEFT_H */
