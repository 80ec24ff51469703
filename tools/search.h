/* search.h - what shall learn: SPT's allocation of a budget, GLoRA's supernet and evolution.
 *
 *   SPT     scores of all parameters, and a budget  ->  matrices that get a LoRA, vectors that learn whole,
 *           single entries: rules and the indices of `sparse`
 *   GLoRA   one set of tensors for each layer, of which 432 subnets read slices; one plan runs them all
 *
 * Nothing here reads data, prints or knows a file: alore.c brings batches and files. Memory is malloc's.
 * What is drawn is a function of the seed and a counter, what is sorted has no ties: the same everywhere. */
#ifndef ALORE_TOOLS_SEARCH_H
#define ALORE_TOOLS_SEARCH_H
#include "../alore.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __GNUC__
#    define SEARCH_FORMAT(i) __attribute__((format(printf, i, (i) + 1)))
#else
#    define SEARCH_FORMAT(i)
#endif

typedef struct search_text { /* text in memory of the caller; what does not fit only counts */
    char *at;
    size_t room, used;
} search_text;

SEARCH_FORMAT(2) static inline void search_put(search_text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(t->used < t->room ? t->at + t->used : NULL, t->used < t->room ? t->room - t->used : 0,
                      format, args);
    va_end(args);
    if (n > 0) t->used += (size_t)n;
}

/* Is `name` the tensor `end` of `site`? */
static inline bool search_is(const char *name, const char *site, const char *end)
{
    size_t n = strlen(site);
    return !strncmp(name, site, n) && name[n] == '.' && !strcmp(name + n + 1, end);
}

/* ---- SPT: parts of the network ---------------------------------------------- */

typedef struct search_part { /* what is decided as one: a matrix, a third of qkv, a vector */
    const char *tensor;      /* of the base */
    const char *site;        /* its linear layer, or NULL: a norm's, a scale's */
    char letter;             /* q, k, v: this third of the rows, or 0 */
    bool matrix;
    int first, rows, cols; /* rows of the tensor; a vector has one column */
    size_t price;          /* numbers of the module (a matrix), of the vector */
    double least;          /* as many chosen entries make it whole */
    const float *scores;   /* [rows, cols] */
    size_t chosen;         /* entries among the tau best */
} search_part;

static inline size_t search_numbers(const search_part *p) { return (size_t)p->rows * (size_t)p->cols; }
static inline bool search_whole(const search_part *p) { return p->chosen && (double)p->chosen >= p->least; }

/* Published: everything learns but the head, the tokens, the patches and the positions. */
static inline bool search_is_candidate(const char *name)
{
    static const char *const not [] = {"head.", "cls_token", "reg_token", "patch_embed.", "pos_embed"};
    for (size_t i = 0; i < sizeof not / sizeof *not ; ++i)
        if (!strncmp(name, not [i], strlen(not [i]))) return false;
    return true;
}

/* The parts of parameter `info`, at most three. A matrix gets a LoRA of rank r from r (in + out) / alpha
 * chosen entries on, a vector learns whole from its length / beta on. */
static inline int search_parts(const alore_model *m, alore_param_info info, int rank, double alpha,
                               double beta, search_part out[3])
{
    const alore_site *site = NULL;
    int rows = info.shape.dims[0], cols = 1, thirds = 1;
    bool matrix = false;
    if (!info.base || !search_is_candidate(info.name)) return 0;
    for (int i = 0; i < alore_site_count(m) && !site; ++i) {
        const alore_site *s = alore_site_at(m, i);
        if (s->host != ALORE_HOST_LINEAR || s->block < 0) continue;
        matrix = search_is(info.name, s->name, "weight");
        if (matrix || search_is(info.name, s->name, "bias")) site = s;
    }
    if (matrix) cols = site->in;
    if (site) rows = site->out;
    if (!site) rows = (int)info.count;
    if (site && site->kind == ALORE_KIND_QKV && rows % 3 == 0) thirds = 3;
    for (int k = 0; k < thirds; ++k) {
        search_part *p = &out[k];
        memset(p, 0, sizeof *p);
        p->tensor = info.name;
        p->site = site ? site->name : NULL;
        p->letter = thirds > 1 ? "qkv"[k] : (char)0;
        p->matrix = matrix;
        p->first = k * (rows / thirds);
        p->rows = rows / thirds;
        p->cols = cols;
        p->price = matrix ? (size_t)rank * (size_t)(p->rows + cols) : search_numbers(p);
        p->least = (double)p->price / (matrix ? alpha : beta);
    }
    return thirds;
}

/* ---- SPT: the best entries, and what a number of them costs ------------------ */

typedef struct search_entry {
    float score;
    uint32_t part, at; /* number `at` of the part */
} search_entry;

/* Positive floats sort as their bits do. */
static inline uint32_t search_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return x > 0 ? bits : 0;
}

/* Falling scores; of equal ones the first. */
static inline int search_order(const void *a, const void *b)
{
    const search_entry *x = (const search_entry *)a, *y = (const search_entry *)b;
    uint32_t p = search_bits(x->score), q = search_bits(y->score);
    if (p != q) return p < q ? 1 : -1;
    if (x->part != y->part) return x->part < y->part ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* The `most` best of all entries whose score is positive, in order. Returns how many; `*out` is to be freed,
 * NULL: no memory. */
static inline size_t search_best(const search_part *parts, int count, size_t most, search_entry **out)
{
    size_t *bins = (size_t *)calloc(1 << 16, sizeof *bins), above = 0, n = 0;
    uint32_t high = 0, low = 0;
    search_entry *list = NULL;
    *out = NULL;
    if (!bins) return 0;
    for (int half = 0; half < 2; ++half) { /* the upper, then the lower 16 bits of the last one taken */
        memset(bins, 0, ((size_t)1 << 16) * sizeof *bins);
        for (int p = 0; p < count; ++p)
            for (size_t i = 0; i < search_numbers(&parts[p]); ++i) {
                uint32_t bits = search_bits(parts[p].scores[i]);
                if (!bits || (half && bits >> 16 != high)) continue;
                ++bins[half ? bits & 0xffff : bits >> 16];
            }
        uint32_t at = 0xffff;
        while (at > 0 && above + bins[at] < most) above += bins[at--];
        if (half)
            low = at;
        else
            high = at;
    }
    free(bins);
    const uint32_t least = high << 16 | low;
    for (int pass = 0; pass < 2; ++pass) {
        size_t ties = most > above ? most - above : 0;
        n = 0;
        for (int p = 0; p < count; ++p)
            for (size_t i = 0; i < search_numbers(&parts[p]); ++i) {
                uint32_t bits = search_bits(parts[p].scores[i]);
                if (!bits || bits < least || (bits == least && !ties)) continue;
                ties -= bits == least;
                if (pass)
                    list[n].score = parts[p].scores[i], list[n].part = (uint32_t)p, list[n].at = (uint32_t)i;
                ++n;
            }
        if (!pass && !(list = (search_entry *)malloc((n ? n : 1) * sizeof *list))) return 0;
    }
    qsort(list, n, sizeof *list, search_order);
    *out = list;
    return n;
}

typedef struct search_cost { /* of the tau best entries */
    size_t tau, matrices, structured, vectors, vector_numbers, entries;
    size_t left;  /* single entries of norms: the published code counts them and trains none */
    size_t total; /* what learns, without the head */
} search_cost;

/* Let the first `tau` entries be chosen, `before` of which are already. */
static inline void search_choose(search_part *parts, const search_entry *list, size_t before, size_t tau)
{
    for (; before < tau; ++before) ++parts[list[before].part].chosen;
}

/* `always`: what learns in any case (the class token). */
static inline search_cost search_price(const search_part *parts, int count, size_t tau, size_t always)
{
    search_cost c;
    memset(&c, 0, sizeof c);
    c.tau = tau;
    for (const search_part *p = parts; p < parts + count; ++p) {
        if (search_whole(p) && p->matrix)
            ++c.matrices, c.structured += p->price;
        else if (search_whole(p))
            ++c.vectors, c.vector_numbers += p->price;
        else if (p->site)
            c.entries += p->chosen;
        else
            c.left += p->chosen;
    }
    c.total = c.structured + c.vector_numbers + c.entries + always;
    return c;
}

/* Of tau = step, 2 step, ... 79 step (published: 0.02 M to 1.58 M) the one whose total is next to the budget,
 * the smaller of equals; its entries are chosen on return. */
enum { SEARCH_SWEEP = 79 };
static inline search_cost search_sweep(search_part *parts, int count, const search_entry *list, size_t n,
                                       size_t step, size_t budget, size_t always)
{
    search_cost best;
    size_t before = 0, least = SIZE_MAX;
    for (int p = 0; p < count; ++p) parts[p].chosen = 0;
    best = search_price(parts, count, 0, always);
    for (size_t i = 1; i <= SEARCH_SWEEP && before < n; ++i) {
        const size_t tau = i * step < n ? i * step : n;
        search_choose(parts, list, before, tau);
        const search_cost c = search_price(parts, count, tau, always);
        const size_t apart = c.total > budget ? c.total - budget : budget - c.total;
        if (apart < least) best = c, least = apart;
        before = tau;
    }
    for (int p = 0; p < count; ++p) parts[p].chosen = 0;
    search_choose(parts, list, 0, best.tau);
    return best;
}

/* ---- SPT: rules and indices ------------------------------------------------- */

/* Does the whole vector learn? Then it is unfrozen, and `sparse` has none of it. */
static inline bool search_all_whole(const search_part *parts, int count, const char *tensor)
{
    int whole = 0, all = 0;
    for (const search_part *p = parts; p < parts + count; ++p) {
        if (strcmp(p->tensor, tensor)) continue;
        ++all;
        whole += search_whole(p) && !p->matrix;
    }
    return all && whole == all;
}

static inline int search_place_order(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* Rising places in the stored tensor where `sparse` has entries: of the matrix of `site`, or of its bias,
 * where a third that is whole is there with all of it. Returns how many; `places` NULL: only that. */
static inline size_t search_places(const search_part *parts, int count, const search_entry *list, size_t tau,
                                   const char *site, bool bias, int64_t *places)
{
    size_t n = 0;
    for (int p = 0; p < count; ++p) {
        const search_part *q = &parts[p];
        const int64_t first = (int64_t)q->first * q->cols;
        const bool whole = search_whole(q);
        if (!q->site || strcmp(q->site, site) || q->matrix == bias || !q->chosen) continue;
        if (whole && (q->matrix || search_all_whole(parts, count, q->tensor))) continue;
        if (whole)
            for (int i = 0; i < q->rows; ++i, ++n)
                if (places) places[n] = first + i;
        if (whole) continue;
        if (!places) n += q->chosen;
        for (size_t i = 0; places && i < tau; ++i)
            if (list[i].part == (uint32_t)p) places[n++] = first + list[i].at;
    }
    if (places) qsort(places, n, sizeof *places, search_place_order);
    return n;
}

/* Is part p the first with its site? */
static inline bool search_first(const search_part *parts, int p)
{
    for (int i = 0; i < p; ++i)
        if (parts[i].site && !strcmp(parts[i].site, parts[p].site)) return false;
    return true;
}

/* Letters of the thirds of `site` that get a LoRA, "*" for a layer without thirds, "" for none. */
static inline void search_letters(const search_part *parts, int count, const char *site, char out[4])
{
    int n = 0;
    for (const search_part *p = parts; p < parts + count; ++p)
        if (p->matrix && search_whole(p) && p->site && !strcmp(p->site, site))
            out[n++] = p->letter ? p->letter : '*';
    out[n] = 0;
}

/* The rules of what is chosen. A key is one rule for all sites that have it alike. */
static inline void search_rules(const search_part *parts, int count, const search_entry *list, size_t tau,
                                int rank, bool token, search_text *t)
{
    static const char *const forms[] = {"*", "q", "k", "v", "qk", "qv", "kv", "qkv"};
    char letters[4];
    for (size_t f = 0; f < sizeof forms / sizeof *forms; ++f) {
        bool open = false;
        for (int p = 0; p < count; ++p) {
            if (!parts[p].site || !search_first(parts, p)) continue;
            search_letters(parts, count, parts[p].site, letters);
            if (strcmp(letters, forms[f])) continue;
            if (open)
                search_put(t, "|%s", parts[p].site);
            else if (f)
                search_put(t, "lora:rank=%d,parts=%s@%s", rank, forms[f], parts[p].site);
            else
                search_put(t, "lora:rank=%d@%s", rank, parts[p].site);
            open = true;
        }
        if (open) search_put(t, ";");
    }
    for (int p = 0; p < count; ++p) {
        if (!parts[p].site || !search_first(parts, p)) continue;
        size_t entries = search_places(parts, count, list, tau, parts[p].site, false, NULL);
        size_t biases = search_places(parts, count, list, tau, parts[p].site, true, NULL);
        if (!entries && !biases) continue;
        search_put(t, "sparse:entries=%zu", entries);
        if (biases) search_put(t, ",bias_entries=%zu", biases);
        search_put(t, "@%s;", parts[p].site);
    }
    bool open = token;
    if (token) search_put(t, "unfreeze@cls_token");
    for (int p = 0; p < count; ++p) {
        bool again = p && !strcmp(parts[p].tensor, parts[p - 1].tensor);
        if (again || !search_all_whole(parts, count, parts[p].tensor)) continue;
        search_put(t, "%s%s", open ? "|" : "unfreeze@", parts[p].tensor);
        open = true;
    }
    search_put(t, "%sunfreeze@head", open ? ";" : "");
}

/* ---- GLoRA: layers, genes, sizes -------------------------------------------- */

enum { SEARCH_GENES = 5, SEARCH_LORA = 0, SEARCH_VECTOR, SEARCH_CONSTANT, SEARCH_NONE };
static const char *const search_words[] = {"lora", "vector", "constant", "none"};
/* What gene a, b, c, d, e may be; 4 4 3 3 3. */
static const int search_alleles[SEARCH_GENES][4] = {
    {SEARCH_LORA, SEARCH_VECTOR, SEARCH_CONSTANT, SEARCH_NONE},
    {SEARCH_LORA, SEARCH_VECTOR, SEARCH_CONSTANT, SEARCH_NONE},
    {SEARCH_LORA, SEARCH_VECTOR, SEARCH_NONE, -1},
    {SEARCH_VECTOR, SEARCH_CONSTANT, SEARCH_NONE, -1},
    {SEARCH_VECTOR, SEARCH_CONSTANT, SEARCH_NONE, -1},
};
static inline int search_allele_count(int gene) { return gene < 2 ? 4 : 3; }

/* Of each tensor of the supernet: its name, and which gene reads it. */
enum { SEARCH_TENSORS = 8 };
static const char *const search_names[SEARCH_TENSORS] = {"A_down", "A_up",   "B_down", "B_up",
                                                         "C_up",   "C_down", "D",      "E"};

typedef struct search_layer {
    char name[64]; /* as long as a site's name in an error */
    int in, out;
    size_t at[SEARCH_TENSORS]; /* in the flat array of parameters */
} search_layer;

typedef struct search_space { /* the supernet of a plan */
    int layers, rank;
    search_layer *layer;
} search_space;

/* The layers of the plan's glora rules, in their complete form. Returns NULL, or the tensor that is missing.
 * `layer` has room for all sites. */
static inline const char *search_open(const alore_model *m, const alore_plan *p, int rank, search_space *s)
{
    s->layers = 0;
    s->rank = rank;
    for (int i = 0; i < alore_site_count(m); ++i) {
        const alore_site *site = alore_site_at(m, i);
        search_layer *l = &s->layer[s->layers];
        int found = 0;
        memset(l, 0, sizeof *l);
        snprintf(l->name, sizeof l->name, "%s", site->name);
        l->in = site->in;
        l->out = site->out;
        for (int k = 0; k < alore_param_count(p); ++k) {
            alore_param_info info = alore_param_at(p, k);
            for (int t = 0; t < SEARCH_TENSORS; ++t) {
                char name[200];
                snprintf(name, sizeof name, "%s.glora.%s", site->name, search_names[t]);
                if (strcmp(info.name, name)) continue;
                l->at[t] = info.first;
                found |= 1 << t;
            }
        }
        for (int t = 0; found && t < SEARCH_TENSORS; ++t)
            if (!(found >> t & 1)) return search_names[t];
        s->layers += found != 0;
    }
    return NULL;
}

/* Numbers that learn in a subnet, without the head. */
static inline size_t search_layer_size(const search_layer *l, int rank, const uint8_t *genes)
{
    const size_t in = (size_t)l->in, out = (size_t)l->out, r = (size_t)rank;
    size_t n = 0;
    for (int g = 0; g < SEARCH_GENES; ++g) {
        if (genes[g] == SEARCH_LORA) n += g == 2 ? r * (in + 1) : r * (in + out);
        if (genes[g] == SEARCH_VECTOR) n += g == 2 ? in : out;
        if (genes[g] == SEARCH_CONSTANT) n += 1;
    }
    return n;
}

static inline size_t search_size(const search_space *s, const uint8_t *genes)
{
    size_t n = 0;
    for (int l = 0; l < s->layers; ++l)
        n += search_layer_size(&s->layer[l], s->rank, genes + SEARCH_GENES * l);
    return n;
}

/* ---- GLoRA: one plan for all subnets ---- *
 *
 * A vector a is the LoRA 1 a, of rank one: down = (1, 0, ..), up = (a; 0; ..). A constant is a vector of one
 * number. So the plan of the complete form runs every subnet, given the right numbers, and its gradients are
 * those of the slice: of up's first row, or of that row's sum. Nothing is built from step to step. */

/* A pair of factors of the supernet as form `word` reads it: down has `rows` rows of rank columns (of C: one
 * row), up has rank rows of `cols`. */
static inline void search_dress_pair(int word, const float *down, const float *up, float *to_down,
                                     float *to_up, int rows, int cols, int rank)
{
    const size_t r = (size_t)rank, n = (size_t)rows, c = (size_t)cols;
    for (size_t i = 0; i < n * r; ++i)
        to_down[i] = word == SEARCH_LORA ? down[i] : word != SEARCH_NONE && i % r == 0 ? 1.0f : 0.0f;
    for (size_t i = 0; i < r * c; ++i)
        to_up[i] = word == SEARCH_LORA                ? up[i]
                   : word == SEARCH_VECTOR && i < c   ? up[i]
                   : word == SEARCH_CONSTANT && i < c ? up[0]
                                                      : 0.0f;
}

static inline void search_dress_vector(int word, const float *from, float *to, int count)
{
    for (int i = 0; i < count; ++i)
        to[i] = word == SEARCH_VECTOR ? from[i] : word == SEARCH_CONSTANT ? from[0] : 0.0f;
}

/* Parameters of the subnet, `to`, from the supernet's; all else is copied by the caller. */
static inline void search_dress(const search_space *s, const uint8_t *genes, const float *from, float *to)
{
    for (int i = 0; i < s->layers; ++i, genes += SEARCH_GENES) {
        const search_layer *l = &s->layer[i];
        const size_t *at = l->at;
        for (int g = 0; g < 2; ++g)
            search_dress_pair(genes[g], from + at[2 * g], from + at[2 * g + 1], to + at[2 * g],
                              to + at[2 * g + 1], l->in, l->out, s->rank);
        search_dress_pair(genes[2], from + at[4], from + at[5], to + at[4], to + at[5], 1, l->in, s->rank);
        search_dress_vector(genes[3], from + at[6], to + at[6], l->out);
        search_dress_vector(genes[4], from + at[7], to + at[7], l->out);
    }
}

/* Gradients of the first `cols` numbers for a form, the others of `count` become zero. */
static inline void search_slice(int word, float *g, size_t count, size_t cols)
{
    double sum = 0;
    for (size_t i = 0; i < cols && word == SEARCH_CONSTANT; ++i) sum += (double)g[i];
    for (size_t i = 0; i < count; ++i)
        if (word == SEARCH_CONSTANT || word == SEARCH_NONE || i >= cols) g[i] = 0;
    if (word == SEARCH_CONSTANT) g[0] = (float)sum;
}

/* Gradients of the dressed plan become those of the supernet, in place. */
static inline void search_undress(const search_space *s, const uint8_t *genes, float *g)
{
    for (int i = 0; i < s->layers; ++i, genes += SEARCH_GENES) {
        const search_layer *l = &s->layer[i];
        const size_t r = (size_t)s->rank, in = (size_t)l->in, out = (size_t)l->out, *at = l->at;
        for (int k = 0; k < 3; ++k) {
            const size_t cols = k == 2 ? in : out;
            if (genes[k] == SEARCH_LORA) continue;
            memset(g + at[2 * k], 0, (k == 2 ? r : in * r) * sizeof *g);
            search_slice(genes[k], g + at[2 * k + 1], r * cols, cols);
        }
        search_slice(genes[3], g + at[6], out, out);
        search_slice(genes[4], g + at[7], out, out);
    }
}

/* Whole numbers below n, number `index` of a stream. */
static inline int search_pick(uint64_t seed, uint64_t stream, uint64_t index, int n)
{
    return (int)((uint64_t)alore_random_u32(seed, stream, index) * (uint64_t)n >> 32);
}

enum { SEARCH_STEPS = 0x73757065, SEARCH_EVOLUTION = 0x65766f6c };

/* The subnet of a training step: for each layer one of 432, uniformly. */
static inline void search_draw(const search_space *s, uint64_t seed, uint64_t step, uint8_t *genes)
{
    const uint64_t first = step * (uint64_t)s->layers * SEARCH_GENES;
    for (int i = 0; i < s->layers * SEARCH_GENES; ++i) {
        const int g = i % SEARCH_GENES;
        const int pick = search_pick(seed, SEARCH_STEPS, first + (uint64_t)i, search_allele_count(g));
        genes[i] = (uint8_t)search_alleles[g][pick];
    }
}

/* ---- GLoRA: a subnet by itself ---------------------------------------------- */

static inline bool search_has_genes(const uint8_t *genes)
{
    for (int g = 0; g < SEARCH_GENES; ++g)
        if (genes[g] != SEARCH_NONE) return true;
    return false;
}

/* "glora:rank=4,a=lora,...@site|site;...;unfreeze@head": one rule for the layers that are alike. */
static inline void search_subnet_rules(const search_space *s, const uint8_t *genes, search_text *t)
{
    for (int i = 0; i < s->layers; ++i) {
        const uint8_t *own = genes + SEARCH_GENES * i;
        bool done = !search_has_genes(own);
        for (int k = 0; k < i && !done; ++k) done = !memcmp(genes + SEARCH_GENES * k, own, SEARCH_GENES);
        if (done) continue;
        search_put(t, "glora:rank=%d", s->rank);
        for (int g = 0; g < SEARCH_GENES; ++g) search_put(t, ",%c=%s", "abcde"[g], search_words[own[g]]);
        search_put(t, "@%s", s->layer[i].name);
        for (int k = i + 1; k < s->layers; ++k)
            if (!memcmp(genes + SEARCH_GENES * k, own, SEARCH_GENES)) search_put(t, "|%s", s->layer[k].name);
        search_put(t, ";");
    }
    search_put(t, "unfreeze@head");
}

/* Add floats to a set of weights, as files have them. */
static inline alore_status search_add(alore_weights *w, const char *site, const char *name, int rows,
                                      int cols, const float *from)
{
    char whole[200];
    uint64_t dims[2] = {(uint64_t)rows, (uint64_t)cols};
    alore_tensor t = ALORE_ZERO;
    const size_t count = (size_t)rows * (size_t)(cols ? cols : 1);
    if (snprintf(whole, sizeof whole, "%s.glora.%s", site, name) >= (int)sizeof whole) return ALORE_ERR_NAME;
    t.name = whole;
    t.name_bytes = strlen(whole);
    t.dims = dims;
    t.rank = cols ? 2 : 1;
    t.bytes = 4 * count;
    t.dtype = ALORE_F32;
    alore_status status = alore_weights_add(w, &t);
    unsigned char *to = status ? NULL : (unsigned char *)alore_weights_data(w, whole);
    for (size_t i = 0; to && i < count; ++i) {
        uint32_t bits;
        memcpy(&bits, from + i, 4);
        for (int b = 0; b < 4; ++b) to[4 * i + (size_t)b] = (unsigned char)(bits >> 8 * b);
    }
    return status;
}

/* The tensors of a subnet, slices of the supernet's. */
static inline alore_status search_subnet(const search_space *s, const uint8_t *genes, const float *from,
                                         alore_weights *w)
{
    alore_status status = ALORE_OK;
    for (int i = 0; i < s->layers && !status; ++i, genes += SEARCH_GENES) {
        const search_layer *l = &s->layer[i];
        for (int g = 0; g < SEARCH_GENES && !status; ++g) {
            const int word = genes[g], first = g < 3 ? 2 * g : g + 3, cols = g == 2 ? l->in : l->out;
            const float *slice = from + l->at[g < 3 ? first + 1 : first]; /* of up its first row */
            const char name[] = {"ABCDE"[g], 0};
            if (word == SEARCH_LORA) {
                status = search_add(w, l->name, search_names[first], g == 2 ? 1 : l->in, s->rank,
                                    from + l->at[first]);
                if (!status) status = search_add(w, l->name, search_names[first + 1], s->rank, cols, slice);
            } else if (word != SEARCH_NONE)
                status = search_add(w, l->name, name, word == SEARCH_VECTOR ? cols : 1, 0, slice);
        }
    }
    return status;
}

/* ---- Evolution -------------------------------------------------------------- */

typedef struct search_one { /* a candidate */
    uint8_t *genes;
    size_t size;
    double fitness, loss; /* more is better; less is, where the fitness is equal */
    int order, generation;
} search_one;

typedef struct search_evolution {
    const search_space *space;
    uint64_t seed, counter;
    int population, generations, top, mutate, cross;
    double probability; /* of a gene to be drawn anew in a mutant */
    size_t least, most; /* sizes that are allowed */
    /* Set fitness and loss; nonzero ends the search. */
    int (*score)(void *user, search_one *one);
    /* A generation is done: `best` of all so far is list[rank[0]]. */
    int (*told)(void *user, int generation);
    void *user;
    search_one *list; /* every candidate so far */
    int count, room;
    int *rank, ranked; /* places in the list of the best, at most `top` */
} search_evolution;

static inline void search_close(search_evolution *e)
{
    for (int i = 0; i < e->count; ++i) free(e->list[i].genes);
    free(e->list);
    free(e->rank);
    e->list = NULL;
    e->rank = NULL;
    e->count = e->room = e->ranked = 0;
}

static inline int search_next(search_evolution *e, int n)
{
    return search_pick(e->seed, SEARCH_EVOLUTION, e->counter++, n);
}

static inline uint8_t search_gene(search_evolution *e, int place)
{
    const int g = place % SEARCH_GENES;
    return (uint8_t)search_alleles[g][search_next(e, search_allele_count(g))];
}

/* How far a size is from what is allowed. */
static inline size_t search_outside(const search_evolution *e, size_t size)
{
    if (size < e->least) return e->least - size;
    return e->most && size > e->most ? size - e->most : 0;
}

/* Take a candidate that is of an allowed size and new. 1: taken, 0: not, -1: no memory. */
static inline int search_take(search_evolution *e, const uint8_t *genes)
{
    const size_t n = (size_t)e->space->layers * SEARCH_GENES, size = search_size(e->space, genes);
    if (search_outside(e, size)) return 0;
    for (int i = 0; i < e->count; ++i)
        if (!memcmp(e->list[i].genes, genes, n)) return 0;
    search_one one;
    memset(&one, 0, sizeof one);
    one.size = size;
    one.order = e->count;
    one.genes = (uint8_t *)malloc(n ? n : 1);
    if (!one.genes) return -1;
    memcpy(one.genes, genes, n);
    if (e->count == e->room) {
        const int room = e->room ? 2 * e->room : 256;
        search_one *wider = (search_one *)realloc(e->list, (size_t)room * sizeof *wider);
        if (!wider) return free(one.genes), -1;
        e->list = wider;
        e->room = room;
    }
    e->list[e->count++] = one;
    return 1;
}

/* Genes of a random candidate (kind 0), a mutant (1) or a child of two (2). */
static inline void search_breed(search_evolution *e, int kind, uint8_t *genes)
{
    const int n = e->space->layers * SEARCH_GENES;
    const uint8_t *one = kind ? e->list[e->rank[search_next(e, e->ranked)]].genes : NULL;
    const uint8_t *two = kind == 2 ? e->list[e->rank[search_next(e, e->ranked)]].genes : one;
    const double limit = e->probability * 4294967296.0;
    for (int i = 0; i < n; ++i) {
        const double u = (double)alore_random_u32(e->seed, SEARCH_EVOLUTION, e->counter++);
        if (!kind || (kind == 1 && u < limit))
            genes[i] = search_gene(e, i);
        else
            genes[i] = kind == 2 && u < 2147483648.0 ? two[i] : one[i];
    }
}

/* Draw genes anew, one by one, and keep what comes nearer to an allowed size. */
static inline void search_pull(search_evolution *e, uint8_t *genes)
{
    const int n = e->space->layers * SEARCH_GENES;
    size_t size = search_size(e->space, genes);
    for (int tries = 100 * n; tries > 0 && search_outside(e, size); --tries) {
        const int place = search_next(e, n), l = place / SEARCH_GENES;
        const search_layer *layer = &e->space->layer[l];
        uint8_t *own = genes + l * SEARCH_GENES, was = genes[place];
        const size_t rest = size - search_layer_size(layer, e->space->rank, own);
        genes[place] = search_gene(e, place);
        const size_t now = rest + search_layer_size(layer, e->space->rank, own);
        if (search_outside(e, now) <= search_outside(e, size))
            size = now;
        else
            genes[place] = was;
    }
}

/* Up to `want` new candidates of a kind, in at most ten times as many tries; of random ones as many again,
 * which are pulled to an allowed size. */
static inline bool search_fill(search_evolution *e, int kind, int want, uint8_t *genes)
{
    const int all = (kind ? 10 : 20) * want, free_tries = 10 * want;
    for (int i = 0; want > 0 && i < all; ++i) {
        search_breed(e, kind, genes);
        if (i >= free_tries) search_pull(e, genes);
        const int taken = search_take(e, genes);
        if (taken < 0) return false;
        want -= taken;
    }
    return true;
}

/* Is a better than b? Fitness, then loss, then who came first. */
static inline bool search_better(const search_one *a, const search_one *b)
{
    if (a->fitness > b->fitness || a->fitness < b->fitness) return a->fitness > b->fitness;
    if (a->loss < b->loss || a->loss > b->loss) return a->loss < b->loss;
    return a->order < b->order;
}

/* Put candidate `at` in its rank among the best. */
static inline void search_rank(search_evolution *e, int at)
{
    int k = e->ranked;
    while (k > 0 && search_better(&e->list[at], &e->list[e->rank[k - 1]])) --k;
    if (k == e->top) return;
    if (e->ranked < e->top) ++e->ranked;
    memmove(e->rank + k + 1, e->rank + k, (size_t)(e->ranked - 1 - k) * sizeof *e->rank);
    e->rank[k] = at;
}

/* Generations of random candidates, then of mutants and children of the best, filled up with random ones.
 * 0: done (`ranked` 0: no candidate was allowed), -1: no memory; else what score or told returned. */
static inline int search_evolve(search_evolution *e)
{
    uint8_t *genes = (uint8_t *)malloc((size_t)e->space->layers * SEARCH_GENES + 1);
    int rc = 0;
    e->rank = (int *)malloc((size_t)e->top * sizeof *e->rank);
    if (!genes || !e->rank) rc = -1;
    for (int g = 0; g < e->generations && !rc; ++g) {
        const int first = e->count;
        bool fine = true;
        if (e->ranked) fine = search_fill(e, 1, e->mutate, genes) && search_fill(e, 2, e->cross, genes);
        if (fine && e->count - first < e->population)
            fine = search_fill(e, 0, e->population - (e->count - first), genes);
        if (!fine) rc = -1;
        for (int i = first; i < e->count && !rc; ++i) {
            e->list[i].generation = g;
            if (!(rc = e->score(e->user, &e->list[i]))) search_rank(e, i);
        }
        if (!rc && e->told && e->count > first) rc = e->told(e->user, g);
        if (e->count == first) break; /* all that is allowed has been seen, or none was found */
    }
    free(genes);
    return rc;
}

#endif
