/* names.h - the names that others give the layers of a ViT, and the JSON beside them.
 *
 *   timm             blocks.3.attn.qkv                             the names of alore.h
 *   transformers v4  vit.encoder.layer.3.attention.attention.query     files and modules
 *   transformers v5  vit.layers.3.attention.q_proj                     modules alone
 *
 * A checkpoint in names of transformers is read as one in timm's: q, k and v become
 * the fused qkv, config.json beside it becomes `alore.backbone`; the way back splits
 * qkv again. As in images.h a function that fails returns false and says why. */
#ifndef ALORE_TOOLS_NAMES_H
#define ALORE_TOOLS_NAMES_H

#include "data.h"

/* ---- Memory that goes at once ----------------------------------------------- */

typedef struct heap {
    struct heap_block *blocks;
} heap;

struct heap_block {
    struct heap_block *next;
};

enum { HEAP_HEAD = 16 }; /* bytes before each block: keeps the alignment of malloc */

/* Zeroed memory until heap_free; NULL without. */
static void *heap_new(heap *h, size_t count, size_t each)
{
    if (each && count > (SIZE_MAX / 2 - HEAP_HEAD) / each) return NULL;
    char *block = (char *)calloc(1, HEAP_HEAD + count * each);
    if (!block) return NULL;
    ((struct heap_block *)(void *)block)->next = h->blocks;
    h->blocks = (struct heap_block *)(void *)block;
    return block + HEAP_HEAD;
}

static void heap_free(heap *h)
{
    while (h->blocks) {
        struct heap_block *b = h->blocks;
        h->blocks = b->next;
        free(b);
    }
}

/* ---- JSON, as a tree -------------------------------------------------------- */

typedef enum json_kind { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_TEXT, JSON_LIST, JSON_OBJECT } json_kind;

typedef struct json {
    json_kind kind;
    const char *key;  /* of a member, else NULL */
    const char *text; /* of JSON_TEXT */
    double number;    /* of JSON_NUMBER; 1 for true */
    int count;        /* of members */
    struct json *first, *last, *next, *parent;
} json;

enum { JSON_BYTES = 1 << 20, JSON_DEPTH = 32, JSON_MEMBERS = 4096 }; /* a hostile file stays cheap */

typedef struct json_scan {
    heap *memory;
    const char *start, *at, *end;
    char *why;
} json_scan;

static bool json_fail(const json_scan *s, const char *what)
{
    return img_fail(s->why, "%s, at byte %zu", what, (size_t)(s->at - s->start));
}

static void json_space(json_scan *s)
{
    while (s->at < s->end && strchr(" \t\r\n", *s->at) && *s->at) ++s->at;
}

/* Four digits of \uXXXX. */
static bool json_hex(json_scan *s, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < 4; ++i, ++s->at) {
        static const char digits[] = "0123456789abcdef0123456789ABCDEF";
        const char *d = s->at < s->end && *s->at ? strchr(digits, *s->at) : NULL;
        if (!d) return json_fail(s, "\\u wants four hexadecimal digits");
        *out = *out << 4 | (uint32_t)((d - digits) & 15);
    }
    return true;
}

/* The character behind a backslash as UTF-8. */
static bool json_escape(json_scan *s, char **to)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const char *name = s->at < s->end && *s->at ? strchr(names, *s->at) : NULL;
    uint32_t c = 0, low = 0;
    if (name) {
        *(*to)++ = values[name - names];
        return ++s->at, true;
    }
    if (s->at == s->end || *s->at != 'u') return json_fail(s, "an escape is not known");
    ++s->at;
    if (!json_hex(s, &c)) return false;
    if (c >> 10 == 0x36 && s->end - s->at > 2 && s->at[0] == '\\' && s->at[1] == 'u') {
        s->at += 2;
        if (!json_hex(s, &low)) return false;
        if (low >> 10 == 0x37) c = 0x10000 + ((c & 0x3ff) << 10) + (low & 0x3ff);
    }
    if (!c || c >> 11 == 0x1b) return json_fail(s, "a NUL or half a character in a string");
    if (c >= 0x10000) *(*to)++ = (char)(0xf0 | c >> 18);
    if (c >= 0x800) *(*to)++ = (char)(c < 0x10000 ? 0xe0 | c >> 12 : 0x80 | (c >> 12 & 63));
    if (c >= 0x80) *(*to)++ = (char)(c < 0x800 ? 0xc0 | c >> 6 : 0x80 | (c >> 6 & 63));
    *(*to)++ = (char)(c < 0x80 ? c : 0x80 | (c & 63));
    return true;
}

static bool json_string(json_scan *s, const char **out)
{
    const char *end = s->at;
    if (end == s->end || *end != '"') return json_fail(s, "a string is missing");
    for (++end; end < s->end && *end != '"'; ++end)
        if (*end == '\\' && end + 1 < s->end) ++end;
    char *to = (char *)heap_new(s->memory, (size_t)(end - s->at) + 1, 1);
    if (!to) return json_fail(s, "no memory");
    *out = to;
    for (++s->at; s->at < s->end && *s->at != '"';) {
        if ((unsigned char)*s->at < 32) return json_fail(s, "a control character in a string");
        if (*s->at == '\\') {
            ++s->at;
            if (!json_escape(s, &to)) return false;
        } else
            *to++ = *s->at++;
    }
    if (s->at == s->end) return json_fail(s, "a string does not end");
    return ++s->at, true;
}

/* -1.5e-3, as the grammar has it; anything that is no finite double fails. */
static bool json_number(json_scan *s, double *out)
{
    const char *p = s->at, *digits;
    char text[64];
    if (p < s->end && *p == '-') ++p;
    for (digits = p; p < s->end && *p >= '0' && *p <= '9';) ++p;
    if (p == digits || (*digits == '0' && p > digits + 1)) return json_fail(s, "no value");
    if (p < s->end && *p == '.') {
        for (digits = ++p; p < s->end && *p >= '0' && *p <= '9';) ++p;
        if (p == digits) return json_fail(s, "a number ends with its point");
    }
    if (p < s->end && (*p == 'e' || *p == 'E')) {
        if (++p < s->end && (*p == '+' || *p == '-')) ++p;
        for (digits = p; p < s->end && *p >= '0' && *p <= '9';) ++p;
        if (p == digits) return json_fail(s, "a number without its exponent");
    }
    if (p - s->at >= (ptrdiff_t)sizeof text) return json_fail(s, "a number of more than 63 characters");
    memcpy(text, s->at, (size_t)(p - s->at));
    text[p - s->at] = 0;
    *out = strtod(text, NULL);
    if (!isfinite(*out)) return json_fail(s, "a number is too large");
    s->at = p;
    return true;
}

/* A value without its members; lists and objects are only opened. */
static bool json_value(json_scan *s, json *v)
{
    static const char *const words[] = {"null", "false", "true"};
    const size_t left = (size_t)(s->end - s->at);
    if (left && *s->at == '"') {
        v->kind = JSON_TEXT;
        return json_string(s, &v->text);
    }
    if (left && (*s->at == '[' || *s->at == '{')) {
        v->kind = *s->at++ == '[' ? JSON_LIST : JSON_OBJECT;
        return true;
    }
    for (int i = 0; i < 3; ++i) {
        size_t n = strlen(words[i]);
        if (left < n || memcmp(s->at, words[i], n)) continue;
        v->kind = i ? JSON_BOOL : JSON_NULL;
        v->number = i == 2;
        s->at += n;
        return true;
    }
    v->kind = JSON_NUMBER;
    return json_number(s, &v->number);
}

/* A new member of `in`, its key read. */
static json *json_member(json_scan *s, json *in)
{
    json *v = (json *)heap_new(s->memory, 1, sizeof *v);
    if (!v || in->count == JSON_MEMBERS) {
        json_fail(s, v ? "more than 4096 members" : "no memory");
        return NULL;
    }
    if (in->kind == JSON_OBJECT) {
        if (!json_string(s, &v->key)) return NULL;
        for (const json *other = in->first; other; other = other->next)
            if (!strcmp(other->key, v->key)) {
                img_fail(s->why, "the key \"%.80s\" stands there twice", v->key);
                return NULL;
            }
        json_space(s);
        if (s->at == s->end || *s->at++ != ':') {
            json_fail(s, "a colon is missing");
            return NULL;
        }
        json_space(s);
    }
    v->parent = in;
    if (in->last) in->last->next = v;
    if (!in->first) in->first = v;
    in->last = v;
    ++in->count;
    return v;
}

/* The one value that a text holds; NULL with the reason. Its memory is the heap's. */
static json *json_parse(heap *memory, const char *text, size_t bytes, char *why)
{
    json_scan s = {memory, text, text, text + bytes, why};
    json *root = (json *)heap_new(memory, 1, sizeof *root), *in;
    int depth = 0;
    if (!root || bytes > JSON_BYTES) {
        img_fail(why, "%zu bytes are more than the %d that JSON may have", bytes, JSON_BYTES);
        return NULL;
    }
    json_space(&s);
    if (!json_value(&s, root)) return NULL;
    in = root->kind >= JSON_LIST ? root : NULL;
    while (in) {
        const char close = in->kind == JSON_LIST ? ']' : '}';
        json_space(&s);
        if (s.at < s.end && *s.at == close) {
            ++s.at;
            --depth;
            in = in->parent;
            continue;
        }
        if (in->first) {
            if (s.at == s.end || *s.at != ',') return json_fail(&s, "a comma or a bracket is missing"), NULL;
            ++s.at;
            json_space(&s);
        }
        json *v = json_member(&s, in);
        if (!v || !json_value(&s, v)) return NULL;
        if (v->kind < JSON_LIST) continue;
        if (++depth > JSON_DEPTH) return json_fail(&s, "more than 32 levels"), NULL;
        in = v;
    }
    json_space(&s);
    if (s.at != s.end) return json_fail(&s, "more than one value"), NULL;
    return root;
}

/* The object in a file; the sentence leaves out the path. */
static json *json_file(heap *memory, const char *path, char *why)
{
    unsigned char *data = NULL;
    size_t bytes = 0;
    json *root = NULL;
    if (!img_file(path, &data, &bytes, why)) return NULL;
    root = json_parse(memory, (const char *)data, bytes, why);
    if (root && root->kind != JSON_OBJECT) {
        img_fail(why, "it is no JSON object");
        root = NULL;
    }
    free(data);
    return root;
}

static const json *json_find(const json *object, const char *key)
{
    const json *v = object ? object->first : NULL;
    while (v && (!v->key || strcmp(v->key, key))) v = v->next;
    return v;
}

/* null, false, 0, "", [], {}: what says nothing. */
static bool json_empty(const json *v)
{
    return !v || v->kind == JSON_NULL || (v->kind == JSON_BOOL && v->number < 1) ||
           (v->kind == JSON_TEXT && !*v->text) || (v->kind >= JSON_LIST && !v->count);
}

/* ---- Layers by their names -------------------------------------------------- */

typedef enum names_style { NAMES_TIMM = 0, NAMES_HF4, NAMES_HF5 } names_style;

typedef struct naming {
    names_style style;
    bool bare; /* a model without a head: no "vit." in front */
} naming;

/* clang-format off */
static const struct names_row {   /* a layer; in blocks without their prefix             */
    bool block;
    char part;                    /* of the fused one in timm, else 0                     */
    const char *kind;             /* of rules, NULL: no layer but a tensor                */
    const char *name[3];          /* by style                                             */
    const char *brief[3];         /* an ending that no other layer has, NULL: none        */
} names_rows[] = {
    {false, 0, NULL, {"cls_token", "embeddings.cls_token", "embeddings.cls_token"}, {NULL, NULL, NULL}},
    {false, 0, NULL, {"pos_embed", "embeddings.position_embeddings", "embeddings.position_embeddings"},
     {NULL, NULL, NULL}},
    {false, 0, "patch", {"patch_embed.proj", "embeddings.patch_embeddings.projection",
     "embeddings.patch_embeddings.projection"}, {"patch_embed.proj", "projection", "projection"}},
    {true, 0, "norm1", {"norm1", "layernorm_before", "layernorm_before"}, {NULL, NULL, NULL}},
    {true, 'q', "qkv", {"attn.qkv", "attention.attention.query", "attention.q_proj"},
     {"qkv", "query", "q_proj"}},
    {true, 'k', "qkv", {"attn.qkv", "attention.attention.key", "attention.k_proj"}, {"qkv", "key", "k_proj"}},
    {true, 'v', "qkv", {"attn.qkv", "attention.attention.value", "attention.v_proj"},
     {"qkv", "value", "v_proj"}},
    {true, 0, "proj", {"attn.proj", "attention.output.dense", "attention.o_proj"},
     {"attn.proj", "attention.output.dense", "o_proj"}},
    {true, 0, "norm2", {"norm2", "layernorm_after", "layernorm_after"}, {NULL, NULL, NULL}},
    {true, 0, "fc1", {"mlp.fc1", "intermediate.dense", "mlp.fc1"}, {"fc1", "intermediate.dense", "fc1"}},
    {true, 0, "fc2", {"mlp.fc2", "output.dense", "mlp.fc2"}, {"fc2", NULL, "fc2"}},
    {false, 0, "norm", {"norm", "layernorm", "layernorm"}, {NULL, NULL, NULL}},
    {false, 0, "norm", {"fc_norm", "fc_norm", "fc_norm"}, {NULL, NULL, NULL}}, /* timm alone */
    {false, 0, "head", {"head", "classifier", "classifier"}, {"head", "classifier", "classifier"}},
};
/* clang-format on */
enum { NAMES_ROWS = sizeof names_rows / sizeof *names_rows, NAMES_BYTES = 160 };

static const char *const names_blocks[] = {"blocks.", "encoder.layer.", "layers."};

/* Write the name of a row's layer in block `block`. */
static void names_put(naming n, const struct names_row *row, int block, char out[NAMES_BYTES])
{
    const bool vit = n.style != NAMES_TIMM && !n.bare && strcmp(row->name[n.style], "classifier") != 0;
    if (row->block)
        snprintf(out, NAMES_BYTES, "%s%s%d.%s", vit ? "vit." : "", names_blocks[n.style], block,
                 row->name[n.style]);
    else
        snprintf(out, NAMES_BYTES, "%s%s", vit ? "vit." : "", row->name[n.style]);
}

/* The row whose layer the name begins with; its block, -1 outside, and what follows the
 * name, "" or from the dot on. Of a fused layer of timm the first of its rows. */
static const struct names_row *names_find(naming n, const char *name, int *block, const char **rest)
{
    const char *prefix = names_blocks[n.style];
    bool head = !strncmp(name, "classifier", 10) || n.style == NAMES_TIMM;
    if (!head && !n.bare) {
        if (strncmp(name, "vit.", 4)) return NULL;
        name += 4;
    }
    *block = -1;
    if (!strncmp(name, prefix, strlen(prefix))) {
        name += strlen(prefix);
        size_t digits = strspn(name, "0123456789");
        if (!digits || (*name == '0' && digits > 1) || name[digits] != '.' ||
            !data_digits(name, name + digits, block))
            return NULL;
        name += digits + 1;
    }
    for (const struct names_row *row = names_rows; row < names_rows + NAMES_ROWS; ++row) {
        const size_t count = strlen(row->name[n.style]);
        if (row->block != (*block >= 0) || strncmp(name, row->name[n.style], count)) continue;
        if (name[count] && name[count] != '.') continue;
        *rest = name + count;
        return row;
    }
    return NULL;
}

/* ---- Checkpoints in the names of transformers ------------------------------- */

/* How a checkpoint names its layers; where nothing is recognised, timm's. */
static naming names_of(const alore_weights *w)
{
    static const char *const patch = "vit.embeddings.patch_embeddings.projection.weight";
    naming n = {NAMES_TIMM, false};
    n.bare = alore_weights_find(w, patch + 4) != NULL;
    if (!n.bare && !alore_weights_find(w, patch)) return n;
    n.style = NAMES_HF5;
    for (int i = 0; i < alore_weights_count(w); ++i)
        if (!strncmp(alore_weights_at(w, i)->name + (n.bare ? 0 : 4), "encoder.layer.", 14))
            n.style = NAMES_HF4;
    return n;
}

/* Add `t` under another name and shape; with `own` in new memory, which is returned. */
static unsigned char *names_add(alore_ctx *ctx, alore_weights *w, const char *name, alore_tensor t,
                                uint64_t first, bool own, char *why)
{
    static unsigned char nothing[1];
    uint64_t dims[16];
    if (t.rank > 16) {
        img_fail(why, "%.120s has %d extents", name, t.rank);
        return NULL;
    }
    if (t.rank) memcpy(dims, t.dims, (size_t)t.rank * sizeof *dims);
    if (t.rank) t.bytes = dims[0] ? t.bytes / (size_t)dims[0] * (size_t)first : 0;
    if (t.rank) dims[0] = first;
    t.dims = dims;
    t.name = name;
    t.name_bytes = strlen(name);
    if (own) t.data = NULL;
    if (alore_weights_add(w, &t)) {
        img_fail(why, "%s", alore_last_error(ctx)->text);
        return NULL;
    }
    if (!own) return nothing;
    return t.bytes ? (unsigned char *)alore_weights_data(w, name) : nothing;
}

/* The fused tensor of block `block`, from three of the file. */
static bool names_fuse(alore_ctx *ctx, const alore_weights *from, naming n, int block, const char *leaf,
                       alore_weights *to, char *why)
{
    const alore_tensor *t[3] = {NULL, NULL, NULL};
    char name[NAMES_BYTES + 64];
    for (int i = 0; i < 3; ++i) {
        names_put(n, &names_rows[4 + i], block, name);
        snprintf(name + strlen(name), 64, "%.60s", leaf);
        t[i] = alore_weights_find(from, name);
        if (!t[i]) return img_fail(why, "%s is missing; the other parts of qkv are there", name);
        if (!i) continue;
        const bool same = t[i]->dtype == t[0]->dtype && t[i]->rank == t[0]->rank && t[i]->rank > 0 &&
                          t[i]->bytes == t[0]->bytes && t[i]->dims[0] == t[0]->dims[0] &&
                          t[i]->dims[0] <= 1 << 24; /* a rank of 0 fails, too */
        if (!same) return img_fail(why, "%s has another type or shape than its query", name);
    }
    naming timm = {NAMES_TIMM, false};
    names_put(timm, &names_rows[4], block, name);
    snprintf(name + strlen(name), 64, "%.60s", leaf);
    unsigned char *data = names_add(ctx, to, name, *t[0], 3 * t[0]->dims[0], true, why);
    for (size_t i = 0; data && i < 3; ++i)
        if (t[i]->bytes) memcpy(data + i * t[i]->bytes, t[i]->data, t[i]->bytes);
    return data != NULL;
}

/* All metadata of `from`; false: the context says why. */
static bool names_copy_meta(alore_weights *to, const alore_weights *from)
{
    for (int i = 0; i < alore_weights_meta_count(from); ++i) {
        const char *key, *value;
        alore_weights_meta_at(from, i, &key, &value);
        if (alore_weights_set_meta(to, key, value)) return false;
    }
    return true;
}

/* A set in timm's names that borrows what it can of `from`. What no row knows keeps its name. */
static bool names_to_timm(alore_ctx *ctx, const alore_weights *from, naming n, alore_weights **out, char *why)
{
    const naming timm = {NAMES_TIMM, false};
    bool good = !alore_weights_create(ctx, out) || img_fail(why, "no memory");
    for (int i = 0; good && i < alore_weights_count(from); ++i) {
        const alore_tensor *t = alore_weights_at(from, i);
        const char *rest = "";
        char name[NAMES_BYTES + 64];
        int block = -1;
        const struct names_row *row = names_find(n, t->name, &block, &rest);
        if (row && row->part) { /* once for the three; a key without its query fails there, too */
            names_put(timm, row, block, name);
            snprintf(name + strlen(name), 64, "%.60s", rest);
            if (!alore_weights_find(*out, name)) good = names_fuse(ctx, from, n, block, rest, *out, why);
            continue;
        }
        if (row) names_put(timm, row, block, name);
        if (row) snprintf(name + strlen(name), 64, "%.60s", rest);
        good = names_add(ctx, *out, row ? name : t->name, *t, t->rank ? t->dims[0] : 0, false, why) != NULL;
    }
    return good && (names_copy_meta(*out, from) || img_fail(why, "no memory"));
}

/* The way back: the set in the names `n`, qkv split. */
static bool names_from_timm(alore_ctx *ctx, const alore_weights *from, naming n, alore_weights **out,
                            char *why)
{
    const naming timm = {NAMES_TIMM, false};
    bool good = !alore_weights_create(ctx, out) || img_fail(why, "no memory");
    for (int i = 0; good && i < alore_weights_count(from); ++i) {
        const alore_tensor *t = alore_weights_at(from, i);
        const char *rest = "";
        char name[NAMES_BYTES + 64];
        int block = -1;
        const struct names_row *row = names_find(timm, t->name, &block, &rest);
        const int parts = row && row->part && t->rank && t->dims[0] % 3 == 0 ? 3 : 1;
        for (int k = 0; good && k < parts; ++k) {
            if (row) names_put(n, row + k, block, name);
            if (row) snprintf(name + strlen(name), 64, "%.60s", rest);
            const uint64_t rows = t->rank ? t->dims[0] / (uint64_t)parts : 0;
            unsigned char *data = names_add(ctx, *out, row ? name : t->name, *t, rows, parts > 1, why);
            good = data != NULL;
            const size_t bytes = t->bytes / 3;
            if (good && parts > 1 && bytes)
                memcpy(data, (const unsigned char *)t->data + (size_t)k * bytes, bytes);
        }
    }
    return good && (names_copy_meta(*out, from) || img_fail(why, "no memory"));
}

/* ---- config.json ------------------------------------------------------------ */

/* A whole number, or a list of one or two, between 1 and 2^20; as it is where the key is not there. */
static bool names_extent(const json *config, const char *key, int out[2], char *why)
{
    const json *v = json_find(config, key), *first = v, *second = v;
    if (!v || v->kind == JSON_NULL) return true;
    if (v->kind == JSON_LIST) first = v->first, second = v->last;
    for (int i = 0; i < 2; ++i) {
        const json *x = i ? second : first;
        if (!x || x->kind != JSON_NUMBER || x->number < 1 || x->number > 1 << 20 ||
            floor(x->number) < x->number || (v->kind == JSON_LIST && v->count > 2))
            return img_fail(why, "%s is no extent", key);
        out[i] = (int)x->number;
    }
    return true;
}

/* Extent `axis` of a tensor, 0: not there. */
static int names_dim(const alore_weights *w, const char *name, int axis)
{
    const alore_tensor *t = alore_weights_find(w, name);
    return t && axis < t->rank && t->dims[axis] <= 1 << 24 ? (int)t->dims[axis] : 0;
}

/* The backbone of a checkpoint that is in timm's names by now: shapes, and what the configuration
 * beside it adds; without one its class's defaults. */
static bool names_backbone(const alore_weights *w, const json *config, char out[256], char *why)
{
    static const char *const acts[][2] = {{"gelu", "gelu"},
                                          {"gelu_new", "gelu_tanh"},
                                          {"gelu_pytorch_tanh", "gelu_tanh"},
                                          {"gelu_fast", "gelu_tanh"},
                                          {"quick_gelu", "quick_gelu"},
                                          {"relu", "relu"},
                                          {"silu", "silu"},
                                          {"swish", "silu"}};
    const char *act = "gelu", *known = NULL;
    const json *v = json_find(config, "hidden_act");
    int dim = names_dim(w, "patch_embed.proj.weight", 0), depth = 0, grid = 0;
    int patch[2], image[2] = {0, 0}, heads[2] = {dim / 64, 0};
    double eps = 1e-12;
    char name[64] = "blocks.0.norm1.weight";
    for (; alore_weights_find(w, name); snprintf(name, sizeof name, "blocks.%d.norm1.weight", depth)) ++depth;
    patch[0] = patch[1] = names_dim(w, "patch_embed.proj.weight", 2);
    const int rows = names_dim(w, "pos_embed", 1) - 1;
    if (!dim || !depth || !patch[0] || rows < 1 || rows > 1 << 24)
        return img_fail(why, "no ViT: width %d, depth %d, patch %d, %d patches", dim, depth, patch[0], rows);
    while ((grid + 1) * (grid + 1) <= rows) ++grid;
    image[0] = image[1] = grid * patch[0];
    if (!names_extent(config, "image_size", image, why) || !names_extent(config, "patch_size", patch, why) ||
        !names_extent(config, "num_attention_heads", heads, why))
        return false;
    if (v && v->kind == JSON_TEXT) act = v->text;
    if (v && v->kind != JSON_TEXT && v->kind != JSON_NULL) act = "?";
    for (size_t i = 0; i < sizeof acts / sizeof *acts; ++i)
        if (!strcmp(acts[i][0], act)) known = acts[i][1];
    if (!known) return img_fail(why, "hidden_act \"%.60s\" is not known", act);
    if ((v = json_find(config, "layer_norm_eps")) != NULL) {
        if (v->kind != JSON_NUMBER || !(v->number > 0 && v->number < 1))
            return img_fail(why, "layer_norm_eps is no number between 0 and 1");
        eps = v->number;
    }
    if ((v = json_find(config, "model_type")) != NULL && (v->kind != JSON_TEXT || strcmp(v->text, "vit")))
        return img_fail(why, "model_type is %.60s, not vit", v->kind == JSON_TEXT ? v->text : "no text");
    if (patch[0] != patch[1]) return img_fail(why, "patch_size: only square patches are read");
    if (!heads[0] || dim % heads[0])
        return img_fail(why, "%d heads do not divide the width %d; --backbone names them", heads[0], dim);
    snprintf(out, 256, "vit:img=%dx%d,patch=%d,dim=%d,depth=%d,heads=%d,hidden=%d,classes=%d,act=%s,eps=%g",
             image[0], image[1], patch[0], dim, depth, heads[0], names_dim(w, "blocks.0.mlp.fc2.weight", 1),
             names_dim(w, "head.weight", 0), known, eps);
    return true;
}

/* Where `*w`, the checkpoint of `path`, has names of transformers, put one in timm's in its place. */
static bool names_open(alore_ctx *ctx, const char *path, alore_weights **w, naming *n, char *why)
{
    heap memory = {NULL};
    const char *slash = strrchr(path, '/');
    const json *config = NULL;
    struct stat info;
    char backbone[256] = "", text[IMG_WHY];
    alore_weights *out = NULL;
    *n = names_of(*w);
    if (n->style == NAMES_TIMM) return true;
    char *folder = data_copy(path, slash ? (size_t)(slash - path) + 1 : 0);
    char *beside = folder ? data_join(folder, "config.json") : NULL;
    bool good = beside || img_fail(why, "no memory");
    if (good && !stat(beside, &info) && !(config = json_file(&memory, beside, text)))
        good = img_fail(why, "config.json beside it: %.400s", text);
    if (good) good = names_to_timm(ctx, *w, *n, &out, why);
    if (good && !alore_weights_meta(*w, "alore.backbone")) {
        good = names_backbone(out, config, backbone, text) ||
               img_fail(why, "%s%.400s", config ? "config.json beside it: " : "", text);
        if (good && alore_weights_set_meta(out, "alore.backbone", backbone))
            good = img_fail(why, "no memory");
    }
    heap_free(&memory);
    free(folder);
    free(beside);
    if (good) *w = out;
    return good;
}

#endif /* ALORE_TOOLS_NAMES_H */
