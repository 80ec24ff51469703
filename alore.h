/* alore.h - v0.1.0 - parameter-efficient fine-tuning for vision backbones, in one header
 *
 * Teaches a frozen backbone a new task with small adapters (ALoRE and its kin), melts what they learnt into
 * the backbone's own weights, and runs the result. C99, also C++11. MIT-0 or public domain: see LICENSE.
 *
 *     #define ALORE_IMPLEMENTATION        in exactly one C or C++ file, before
 *     #include "alore.h"                  and plainly everywhere else
 *
 * Compile with -std=c99 or -ffp-contract=off, at -O2 or more; link libm and pthreads.
 *
 * HOW IT GOES: rules -> records -> plan -> run; everything else is a function over records
 *
 *     1. alore_init                 a context: allocator, threads, log. It owns what is made from it.
 *     2. alore_attach               rules as text, "alore:rank=4@qkv|fc1;unfreeze@head"; the rest is frozen.
 *     3. alore_vit, or your words   the network. Each word appends plain records; at each site the rules
 *        alore_model_finish         weave their methods in. The first mistake is told here.
 *     4. alore_plan_create          the backward pass, only where something learns; tensors live as long as a
 *                                   record reads them; every byte is known.
 *     5. alore_run_create           bind a checkpoint; alore_forward, alore_backward, alore_step. Faster on
 *                                   panels: alore_weights_pack, once for all runs. alore_backward_cached runs
 *                                   frozen first layers once for each item.
 *     6. alore_run_export, _merge   keep the adapter, or melt it: evaluated, verified, certified.
 *
 * examples/ walks through these. METHODS (affine ones merge exactly; `alore help METHOD` tells more):
 *
 *     alore        y = host(x + x sum_i S_i (x) (D_i U_i))       before qkv, fc1; or behind (place=output)
 *     kron         ... with full W_i for D_i U_i                 as alore
 *     arc          y = host(x + (x D * scale) D' + bias)         as alore; D is shared by the sites of a kind
 *     repadapter   y = host(x + scale (x A + a) B + b)           as alore; B in groups
 *     lora         y = host(x) + scale (x A) B                   beside linear layers, or parts=qv of a qkv
 *     adalora      y = host(x) + scale (x A * E) B               as lora
 *     mlae         y = host(x) + (x A * lambda * mask) B         as lora; experts drop, patterns by name
 *     fact_tt, _tk y = host(x) + scale x U C V                   beside linear layers; U, V are the network's
 *     kadaptation  ... + scale x sum_i S_i (x) (D_i U_i) + bias  beside q and v
 *     vera         y = host(x) + (x A * d) B * b                 as lora; A, B random and frozen
 *     lokr, loha   ... + scale x (w1 (x) w2), (w1 * w2)          as lora
 *     ssf, ia3     y = host(x) gain + shift                      behind linear layers (ssf: norms), or before
 *     oft, boft    y = host(x R), W = (R W0) scale               rotations before, or of the weight
 *     dora, glora  W = (W0 + A B) m / |..|, W0 + W0 A + B ..     the weight itself, once a step
 *     sparse       W0[row, col] += value                         chosen numbers of the weight (SPT)
 *     compacter    y + up(f(down(y))); phm: full factors         behind layers, branches; merges if act=none
 *     unfreeze     tensors of the checkpoint learn themselves    linear probe, BitFit, norms, everything
 *     your own     a row of a table                              alore_register
 *
 * SPEED. Kernels are one text, stamped for scalar, AVX2, AVX-512 and NEON; alore_init takes the CPU's best,
 * or config.isa. `lanes` samples run at once, a thread and an arena each; where one lane remains, the records
 * are split over the threads. Products with frozen weights may be in bf16 or (forward) int8: `precision`.
 *
 * PROMISES. Nothing is global, prints, aborts, or allocates after create. Frozen means const. Every file is
 * hostile, every size may overflow, every allocation may fail: a status and one sentence with the numbers.
 * Within a level and a precision the same bits for any number of threads, lanes and parts, and after stop and
 * resume (bf16: on CPUs with a fast dot product of it other bits); no libc's mathematics in f32.
 * Different contexts are independent; objects of one context may be used from different threads one at a
 * time; weights, models and plans are read-only after creation and may be shared by runs of several
 * contexts; the hooks you supply must be as thread-safe as your use of them.
 *
 * MACROS, all optional: ALORE_STATIC (this unit alone; implies the implementation), ALORE_NO_STDIO, _NO_MMAP,
 * _NO_MALLOC (give an allocator), _NO_THREADS, ALORE_FILE (the header's name where it is not "alore.h": it
 * includes itself for the double kernels and for each level), ALORE_NO_SIMD (a header pasted into another
 * file: it does not include itself, has the scalar level alone, and merging evaluates in f32), ALORE_BLAS
 * (plain f32 products go to cblas_sgemm of <cblas.h>, or of ALORE_BLAS_HEADER, which is a name in quotes or
 * <>; let BLAS have one thread, as lanes and parts are threads already; the same bits for any number of these
 * is then no promise). None changes a struct or a signature.
 *
 * CONTENTS: the public interface in eleven groups, then
 *
 *   01 sizes, errors, memory      10 attention                  19 backbones
 *   02 mathematics                11 fast ops                   20 planner
 *   03 random                     12 levels                     21 executor
 *   04 threads and contexts       13 json                       22 training
 *   05 records                    14 safetensors                23 adapters and checkpoints
 *   06 calls                      15 model                      24 merge
 *   07 reference ops              16 words                      25 selftest
 *   08 vocabulary                 17 methods
 *   09 product                    18 rules
 */
#ifndef ALO_STAMP
#ifndef ALORE_H
#define ALORE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* clang-format off */
#ifndef ALORE_API
#  ifdef ALORE_STATIC
#    if defined(__GNUC__)
#      define ALORE_API __attribute__((unused)) static
#    else
#      define ALORE_API static
#    endif
#  elif defined(__cplusplus)
#    define ALORE_API extern "C"
#  else
#    define ALORE_API extern
#  endif
#endif
#if defined(ALORE_STATIC) && !defined(ALORE_IMPLEMENTATION)
#  define ALORE_IMPLEMENTATION
#endif
#ifdef __cplusplus
#  define ALORE_ZERO {}          /* zero-initialises any alore struct ...   */
#else
#  define ALORE_ZERO {0}         /* ... in either language, without warning */
#endif

#define ALORE_VERSION_MAJOR 0
#define ALORE_VERSION_MINOR 1
#define ALORE_VERSION_PATCH 0

/* ---- 1. Status and errors --------------------------------------------------- */
typedef enum alore_status {
    ALORE_OK = 0,
    ALORE_ERR_ARGUMENT,      /* a NULL or out-of-range argument                  */
    ALORE_ERR_ORDER,         /* right call, wrong moment                         */
    ALORE_ERR_SHAPE,         /* extents disagree; the text names both            */
    ALORE_ERR_DTYPE,         /* storage type not usable here                     */
    ALORE_ERR_NAME,          /* a name is missing, unknown or bound twice        */
    ALORE_ERR_RULE,          /* a rule text that does not parse or make sense    */
    ALORE_ERR_NO_MATCH,      /* a rule matched no site                           */
    ALORE_ERR_MEMORY,        /* the allocator returned NULL                      */
    ALORE_ERR_CAPACITY,      /* caller memory too small; the text says by what   */
    ALORE_ERR_IO,            /* a file or a writer hook failed                   */
    ALORE_ERR_FORMAT,        /* malformed file; .offset says where               */
    ALORE_ERR_VERSION,       /* checkpoint of an incompatible version            */
    ALORE_ERR_BASE,          /* adapter was trained on another base              */
    ALORE_ERR_UNSUPPORTED,   /* the backend has no kernel for a record           */
    ALORE_ERR_NOT_MERGEABLE, /* the site is not an affine map                    */
    ALORE_ERR_TOLERANCE,     /* a numeric check failed; the report has it        */
    ALORE_ERR_NONFINITE      /* NaN or infinity met; parameters left untouched   */
} alore_status;

/* Detail of the most recent failure of a context. */
typedef struct alore_error {
    alore_status status;
    int          record;     /* record index in the plan, or -1                  */
    uint64_t     offset;     /* byte offset in a file, or 0                      */
    char         site[64];   /* "blocks.3.attn.qkv", "" where none               */
    char         text[256];  /* one sentence with the numbers in it              */
} alore_error;

/* ---- 2. Context: hooks and settings ----------------------------------------- */
typedef struct alore_allocator {             /* all NULL: malloc and free        */
    void *(*alloc)(void *user, size_t bytes, size_t align);  /* NULL: none left  */
    void (*release)(void *user, void *block, size_t bytes);  /* as asked for     */
    void *user;
} alore_allocator;

typedef void (*alore_task)(void *arg, int index);
typedef struct alore_parallel {              /* run NULL: the built-in pool      */
    /* task(arg, i) once for each i below `tasks`, in any order, on any threads; returns when all are done */
    void (*run)(void *user, alore_task task, void *arg, int tasks);
    void *user;
} alore_parallel;

typedef enum alore_isa {                     /* levels of the CPU's kernels      */
    ALORE_ISA_AUTO = 0, ALORE_ISA_SCALAR, ALORE_ISA_AVX2, ALORE_ISA_AVX512, ALORE_ISA_NEON
} alore_isa;

typedef struct alore_config {
    int             threads;                 /* 0: the calling thread only       */
    alore_isa       isa;                     /* AUTO: the best that the CPU has  */
    bool            pin;                     /* Linux: each thread keeps a CPU, where there are as many */
    alore_allocator allocator;
    alore_parallel  parallel;
    void (*log)(void *user, int level, const char *text); /* 0 remark, 1 warning */
    double (*clock)(void *user);             /* seconds; NULL: no timings        */
    void           *user;                    /* passed to log and clock          */
} alore_config;

typedef struct alore_pool alore_pool;
struct alo_object;
struct alore_method;
typedef struct alore_ctx {                   /* visible so that it can be        */
    alore_config config;                     /* static; its fields are private   */
    alore_error  error;
    alore_pool  *pool;
    struct alo_object *objects;
    const struct alore_method *methods[16];
    int          method_count;
} alore_ctx;

/* Threads: any; object and create, and where nothing is said: one at a time for each context. */
/* Version as 0xMMmmpp. Threads: any. */
ALORE_API uint32_t     alore_version(void);
/* "scalar", "avx2", "avx512" or "neon"; the best level of this CPU for AUTO; NULL: this CPU, or this build,
 * has not got it. Bits are equal within one level. Threads: any. */
ALORE_API const char  *alore_isa_name(alore_isa isa);
/* A word or two for a status, never NULL. Threads: any. */
ALORE_API const char  *alore_status_text(alore_status status);
/* Make a context in the caller's memory. `config` NULL: malloc, one thread, no log, no clock. ARGUMENT: a set
 * of hooks that is only half there, an isa that this CPU has not got, threads outside 0 to 1024. After a
 * failure nothing is left to free. Threads: create. */
ALORE_API alore_status alore_init(alore_ctx *ctx, const alore_config *config);
/* Free all that was created from `ctx`, last made first. NULL, or a second call: nothing. Threads: object. */
ALORE_API void         alore_uninit(alore_ctx *ctx);
/* The most recent failure; .status is ALORE_OK where none was. Threads: object. */
ALORE_API const alore_error *alore_last_error(const alore_ctx *ctx);
/* Check the mathematics, the random numbers and the build (a compiler that fuses products is reported as
 * TOLERANCE). Milliseconds. Threads: object. */
ALORE_API alore_status alore_selftest(alore_ctx *ctx);

/* ---- 3. Weights: named, read-only tensors ----------------------------------- */
typedef enum alore_dtype {       /* every type that safetensors names            */
    ALORE_F32 = 0, ALORE_F16, ALORE_BF16, ALORE_F64, ALORE_U8, ALORE_I8, ALORE_I16, ALORE_U16, ALORE_I32,
    ALORE_U32, ALORE_I64, ALORE_U64, ALORE_BOOL, ALORE_F8_E4M3, ALORE_F8_E5M2, ALORE_F8_E8M0,
    ALORE_F8_E4M3FNUZ, ALORE_F8_E5M2FNUZ, ALORE_C64
} alore_dtype;

typedef struct alore_tensor {
    const char     *name;        /* UTF-8; name[name_bytes] is a NUL             */
    size_t          name_bytes;
    const void     *data;        /* any alignment, little-endian as in the file  */
    size_t          bytes;
    const uint64_t *dims;        /* [rank], slowest first                        */
    int             rank;
    alore_dtype     dtype;
} alore_tensor;

typedef struct alore_weights alore_weights;
typedef struct alore_writer {    /* false from write() ends the call with IO     */
    bool (*write)(void *user, const void *data, size_t bytes);
    void *user;
} alore_writer;

/* An empty set, to be filled by alore_weights_add. Threads: create. */
ALORE_API alore_status alore_weights_create(alore_ctx *ctx, alore_weights **out);
/* Read a safetensors file that lies in memory. The bytes are borrowed: they must outlive the set and may
 * have any alignment. FORMAT: .offset says which byte, .site which tensor. */
ALORE_API alore_status alore_weights_open(alore_ctx *ctx, const void *file, size_t bytes,
                                          alore_weights **out);
#ifndef ALORE_NO_STDIO
/* The same from a path, mapped where the system can: the file must not shrink while the set lives. */
ALORE_API alore_status alore_weights_load(alore_ctx *ctx, const char *path, alore_weights **out);
#endif
/* Add one tensor. Name and dims are copied; `t->data` is borrowed. With data NULL the set allocates the
 * bytes (zeroed) itself; alore_weights_data fills them. name_bytes 0: up to the NUL; bytes 0: what type and
 * shape take. NAME: it is there already, or is not UTF-8. SHAPE: other bytes, or rank outside 0 to 64. */
ALORE_API alore_status alore_weights_add(alore_weights *w, const alore_tensor *t);
/* The bytes of an own tensor, to be written (little-endian); NULL if borrowed or unknown. */
ALORE_API void        *alore_weights_data(alore_weights *w, const char *name);
/* Set (or with value NULL remove) one entry of the metadata; the old one's memory goes with the set. */
ALORE_API alore_status alore_weights_set_meta(alore_weights *w, const char *key, const char *value);
ALORE_API int          alore_weights_count(const alore_weights *w);
/* Tensor `index`, in the order of the file's data or of adding, NULL outside. */
ALORE_API const alore_tensor *alore_weights_at(const alore_weights *w, int index);
/* NULL where there is none. Logarithmic. */
ALORE_API const alore_tensor *alore_weights_find(const alore_weights *w, const char *name);
/* Value of a metadata key, NULL where there is none. */
ALORE_API const char  *alore_weights_meta(const alore_weights *w, const char *key);
/* The metadata by index, in the order of the keys; NULLs outside. */
ALORE_API int          alore_weights_meta_count(const alore_weights *w);
ALORE_API void alore_weights_meta_at(const alore_weights *w, int index, const char **key, const char **value);
/* A hash of names, types, shapes and bytes; order and metadata do not matter. */
ALORE_API uint64_t     alore_weights_fingerprint(const alore_weights *w);
/* Write safetensors: data aligned to 8, tensors by falling type size, then name: same content, same bytes. */
ALORE_API alore_status alore_weights_write(const alore_weights *w, const alore_writer *writer);
#ifndef ALORE_NO_STDIO
/* The same to a path, through a temporary file beside it and a rename, so that a reader sees the old file
 * or the new one. IO: the place is as it was. */
ALORE_API alore_status alore_weights_save(const alore_weights *w, const char *path);
#endif
ALORE_API void         alore_weights_destroy(alore_weights *w);

/* Bytes of one element, 0 for an unknown type. Threads: any. */
ALORE_API size_t       alore_dtype_bytes(alore_dtype dtype);
/* "F32", "BF16", ... as safetensors writes them. Threads: any. */
ALORE_API const char  *alore_dtype_name(alore_dtype dtype);
/* Elements first .. first+count-1 of a float or integer tensor as f32. False: a type that f32 cannot
 * stand for, or a range outside. Threads: any. */
ALORE_API bool         alore_tensor_read(const alore_tensor *t, size_t first, size_t count, float *out);

/* ---- 4. Model: rules first, then records ------------------------------------ */
typedef struct alore_model alore_model;
typedef int32_t alore_id;        /* a tensor; 0 is "none" and poisons its users  */

typedef enum alore_kind {        /* site kinds, by the words of the rule text    */
    ALORE_KIND_NONE = 0, ALORE_KIND_PATCH, ALORE_KIND_NORM1, ALORE_KIND_QKV, ALORE_KIND_PROJ,
    ALORE_KIND_NORM2, ALORE_KIND_FC1, ALORE_KIND_FC2, ALORE_KIND_NORM, ALORE_KIND_HEAD, ALORE_KIND_DWCONV,
    ALORE_KIND_DOWN, ALORE_KIND_TOKENS, ALORE_KIND_ATTN, ALORE_KIND_MLP, ALORE_KIND_BLOCK
} alore_kind;

typedef enum alore_host {        /* what stands at a site, a mask in a method; BRANCH: attn, mlp */
    ALORE_HOST_LINEAR = 1, ALORE_HOST_NORM = 2, ALORE_HOST_DWCONV = 4, ALORE_HOST_BRANCH = 8,
    ALORE_HOST_TOKENS = 16, ALORE_HOST_BLOCK = 32
} alore_host;

typedef struct alore_site {      /* what a method sees and a dry run prints      */
    const char *name;            /* "blocks.3.attn.qkv"                          */
    alore_kind  kind;
    alore_host  host;
    int         in, out;         /* columns before and after the host            */
    int         block, blocks;   /* counted through all stages, -1 outside; of how many */
    int         stage;
    int         rows, prefix;    /* the backbone's own here; of these class and register tokens */
    int         height, width;   /* of the grid behind the prefix                */
    int         hidden;          /* columns inside the mlp, 0: unknown           */
} alore_site;

typedef enum alore_place {
    ALORE_PLACE_DEFAULT = 0,     /* where the method's paper puts it             */
    ALORE_PLACE_INPUT,           /* y = host(a(x))                               */
    ALORE_PLACE_PARALLEL,        /* y = host(x) + a(x)                           */
    ALORE_PLACE_OUTPUT,          /* y = a(host(x))                               */
    ALORE_PLACE_WEIGHT,          /* W = a(W0), once per step                     */
    ALORE_PLACE_INSIDE           /* between qkv and attention                    */
} alore_place;

/* Whose a parameter is: the site's (of a part: the part's), one for all sites of the kind, one for the
 * network; one for all parts of the site; one for the network, as large as its largest site asks, of which
 * each has the leading rows and columns. */
typedef enum alore_share {
    ALORE_OWN = 0, ALORE_KIND, ALORE_ALL, ALORE_SITE, ALORE_WIDEST
} alore_share;

enum { ALORE_MAX_KEYS = 12 };

typedef struct alore_key {       /* one key of a method                          */
    const char *name;
    double      value, least, most; /* default; of a word its index in `words`   */
    const char *words;           /* "all|kind|site", NULL: a number              */
    bool        whole, required; /* the number must be whole; must be given      */
} alore_key;

typedef struct alore_recipe {    /* a rule's settings, complete                  */
    int         rank, experts, groups, hidden;
    float       scale, dropout;
    alore_place place;
    const char *parts;           /* letters of q, k, v, "" for the whole host    */
    const struct alore_method *method;
    double      values[ALORE_MAX_KEYS]; /* by the method's key order             */
} alore_recipe;

typedef struct alore_flow {      /* what emit may read                           */
    alore_id x, y;               /* the host's input; its output (place output)  */
    alore_id n;                  /* on a branch: the norm's output               */
    alore_id weight, bias;       /* place weight; bias may be replaced           */
    alore_id k, v;               /* place inside; both may be replaced           */
} alore_flow;

typedef struct alore_method {    /* one row: parser, help, counts and tests read it */
    const char *name, *formula, *paper;
    const char *usual;           /* the published rule text                      */
    int         hosts;           /* mask of alore_host it has a form for         */
    alore_place place;           /* the default                                  */
    int         places;          /* mask of 1 << alore_place, 0: the default     */
    alore_key   keys[ALORE_MAX_KEYS];
    /* New value of what its place names: input x, the addition (parallel), output y, or weight. */
    alore_id (*emit)(alore_model *m, const alore_site *site, const alore_recipe *recipe, alore_flow *flow);
    /* Called once at the head's input; NULL: nothing to do. */
    alore_id (*finish)(alore_model *m, const alore_recipe *recipe, alore_id x);
    const char *mergeable;       /* NULL: yes; else the reason why not           */
    const char *parts;           /* always these of a fused qkv; NULL: those the rule names */
    double      published;       /* millions of parameters on ViT-B, 0: none is known */
    const char *note;            /* where publications disagree; NULL: nothing to say */
} alore_method;

typedef struct alore_shape { int rank, dims[4]; } alore_shape;

/* 0 constant, 1 uniform, 2 normal, 3 whole numbers, 4 lengths of rows of a base tensor */
typedef struct alore_start { int kind; float a, b; } alore_start;

typedef enum alore_unary_kind {  /* GELU by erf; QUICK_GELU is x sigmoid(1.702 x) */
    ALORE_GELU = 0, ALORE_GELU_TANH, ALORE_QUICK_GELU, ALORE_RELU, ALORE_SILU, ALORE_TANH, ALORE_SIGMOID
} alore_unary_kind;

typedef struct alore_linear_opts {
    alore_kind kind;
    int        groups;           /* 0 or 1: one dense block                      */
    bool       no_bias;
    const int *kernel;           /* [in, kh, kw] of a convolution in files; NULL: a plain matrix */
} alore_linear_opts;

typedef struct alore_attention_opts {
    int            heads, window; /* rows per window, 0: all rows of the sample  */
    alore_id       bias;         /* [heads * window, window], or 0               */
    const float   *mask;         /* [windows, window, window], added; or NULL    */
} alore_attention_opts;

/* A model without records. Threads: create. */
ALORE_API alore_status alore_model_create(alore_ctx *ctx, alore_model **out);
ALORE_API void         alore_model_destroy(alore_model *m);

/* Add a method to those that rules may name; the row is borrowed. At most 16. */
ALORE_API alore_status alore_register(alore_ctx *ctx, const alore_method *method);
/* Built-in and registered rows by index, NULL past the end; and by name. */
ALORE_API const alore_method *alore_method_at(const alore_ctx *ctx, int index);
ALORE_API const alore_method *alore_method_find(const alore_ctx *ctx, const char *name);
/* Rules as text (GRAMMAR): "alore:rank=4@qkv|fc1;unfreeze@head". Before the network is built; several
 * calls add up. RULE: the text says what and where. */
ALORE_API alore_status alore_attach(alore_model *m, const char *rules);
/* The rules of an adapter file (`alore.rules` in its metadata). */
ALORE_API alore_status alore_attach_from(alore_model *m, const alore_weights *adapter);
/* The rules so far as one text, blanks removed. */
ALORE_API const char  *alore_rules(const alore_model *m);
/* Setting of a key by name, for keys without a field of their own. */
ALORE_API double       alore_recipe_number(const alore_recipe *r, const char *key);
ALORE_API const char  *alore_recipe_word(const alore_recipe *r, const char *key, char out[32]);

/* Words for networks. Each infers its shape at once; a mistake is remembered, the word returns 0, any
 * word given 0 returns 0, and alore_model_finish tells. */
ALORE_API void     alore_blocks(alore_model *m, int count); /* before the first; no more may come */
ALORE_API void     alore_grid(alore_model *m, int prefix, int height, int width); /* of the sites below */
ALORE_API void     alore_hidden(alore_model *m, int hidden); /* columns inside an mlp */
/* Names become scope.name, with `index` >= 0 scope.index.name: a block, one unit of recomputation. */
ALORE_API void     alore_push(alore_model *m, const char *scope, int index);
ALORE_API void     alore_pop(alore_model *m);
ALORE_API alore_shape alore_dims(int a, int b, int c, int d); /* 0: no such extent */
ALORE_API alore_start alore_fill(float value);
ALORE_API alore_start alore_uniform(float bound);
ALORE_API alore_start alore_normal(float mean, float deviation);
ALORE_API alore_start alore_indices(int below_even, int below_odd); /* i32 in files; 0: as the even ones */
ALORE_API alore_start alore_lengths(const alore_model *m); /* of the rows of the host's weight, or its part */
ALORE_API alore_id alore_input(alore_model *m, const char *name, alore_dtype dtype, int rows, int cols);
ALORE_API alore_id alore_base(alore_model *m, const char *name, alore_shape shape);
ALORE_API alore_id alore_param(alore_model *m, const char *name, alore_shape shape, alore_share share,
                               alore_start start);
ALORE_API alore_id alore_frozen(alore_model *m, const char *name, alore_shape shape, alore_share share,
                                alore_start start);
ALORE_API alore_id alore_cast(alore_model *m, alore_id bytes, const float mean[3], const float deviation[3]);
ALORE_API alore_id alore_linear(alore_model *m, const char *name, alore_id x, int out,
                                const alore_linear_opts *opts);
ALORE_API alore_id alore_conv_depthwise(alore_model *m, const char *name, alore_id x, int height, int width,
                                        int kernel);
ALORE_API alore_id alore_norm(alore_model *m, const char *name, alore_kind kind, alore_id x, float eps);
ALORE_API alore_id alore_branch(alore_model *m, const char *name, alore_kind kind, alore_id x, alore_id n,
                                alore_id y);
ALORE_API alore_id alore_attention(alore_model *m, alore_id q, alore_id k, alore_id v,
                                   const alore_attention_opts *opts);
ALORE_API alore_id alore_matmul(alore_model *m, alore_id a, alore_id b);
ALORE_API alore_id alore_matmul_t(alore_model *m, alore_id a, bool a_t, alore_id b, bool b_t);
ALORE_API alore_id alore_kron(alore_model *m, alore_id x, alore_id s, alore_id d, alore_id u, int terms);
ALORE_API alore_id alore_affine(alore_model *m, alore_id x, alore_id gain, alore_id shift);
ALORE_API alore_id alore_scale(alore_model *m, alore_id x, float factor);
ALORE_API alore_id alore_unary(alore_model *m, alore_unary_kind kind, alore_id x);
ALORE_API alore_id alore_add(alore_model *m, alore_id a, alore_id b);
ALORE_API alore_id alore_mul(alore_model *m, alore_id a, alore_id b);
ALORE_API alore_id alore_add_columns(alore_model *m, alore_id x, alore_id y, int first);
ALORE_API alore_id alore_gather(alore_model *m, alore_id x, const int32_t *rows, int count, int group);
ALORE_API alore_id alore_concat(alore_model *m, alore_id top, alore_id bottom);
ALORE_API alore_id alore_columns(alore_model *m, alore_id x, int first, int count);
ALORE_API alore_id alore_pick(alore_model *m, alore_id x, const int32_t *columns, int count);
ALORE_API alore_id alore_inverse(alore_model *m, alore_id x);
ALORE_API alore_id alore_over_lengths(alore_model *m, alore_id x, alore_id rows);
ALORE_API alore_id alore_scatter(alore_model *m, alore_id x, alore_id value, alore_id index, int rows,
                                 int cols);
ALORE_API alore_id alore_sparse(alore_model *m, alore_id x, alore_id value, alore_id index, int cols);
ALORE_API alore_id alore_matmul_groups(alore_model *m, alore_id a, alore_id b, int groups);
ALORE_API alore_id alore_reshape(alore_model *m, alore_id x, int rows, int cols);
ALORE_API alore_id alore_mean_rows(alore_model *m, alore_id x, int first, int count);
ALORE_API alore_id alore_dropout(alore_model *m, alore_id x, float p);
ALORE_API alore_id alore_drop_path(alore_model *m, alore_id x, float p);
ALORE_API alore_id alore_loss_xent(alore_model *m, alore_id logits, alore_id labels, float smoothing);
ALORE_API alore_id alore_loss_mse(alore_model *m, alore_id y, alore_id target);
ALORE_API void     alore_output(alore_model *m, const char *name, alore_id x);
/* Close the model; the first mistake of any word above is told here. NO_MATCH: a rule took no site. */
ALORE_API alore_status alore_model_finish(alore_model *m);

ALORE_API int  alore_rows(const alore_model *m, alore_id id); /* 0: no such tensor */
ALORE_API int  alore_cols(const alore_model *m, alore_id id);
ALORE_API int  alore_site_count(const alore_model *m);
ALORE_API const alore_site *alore_site_at(const alore_model *m, int index);
/* The rules that take this site, as text joined by ';' ("" where none). Bytes needed without the NUL;
 * writes at most `bytes`. */
ALORE_API size_t alore_site_rules(const alore_model *m, int index, char *out, size_t bytes);
ALORE_API const char *alore_kind_name(alore_kind kind);

/* ---- 5. Backbones: each one function made of the calls above ---------------- */
typedef struct alore_vit_config {            /* all zero: ViT-B/16, 224, 1000    */
    int   height, width, patch, dim, depth, heads, hidden, classes, registers;
    bool  mean_pool;             /* mean over patch tokens, then fc_norm         */
    bool  pre_norm;              /* norm_pre, and no bias at the patches (CLIP)  */
    bool  patch_bias;            /* with pre_norm: a bias at the patches after all */
    bool  layer_scale, swiglu, no_head, no_qkv_bias;
    alore_unary_kind act;
    float eps, drop_path;        /* eps 0: 1e-6                                  */
    float mean[3], deviation[3]; /* of u8 images; 0: 0.5                         */
} alore_vit_config;

/* image [height*width, 3] u8, or f32 already normalised. Returns logits [1, classes]; outputs "features"
 * [1, dim] are declared on the way. */
ALORE_API alore_id     alore_vit(alore_model *m, alore_id image, const alore_vit_config *config);
/* Zeros replaced by the documented defaults. */
ALORE_API alore_vit_config alore_vit_defaults(const alore_vit_config *config);
/* The configuration that a checkpoint's names and shapes tell. Heads are dim/64. */
ALORE_API alore_status alore_vit_detect(alore_ctx *ctx, const alore_weights *w, alore_vit_config *out);
/* Set patch_bias and no_qkv_bias, which no text holds, as the checkpoint has them. */
ALORE_API void         alore_vit_biases(const alore_weights *w, alore_vit_config *config);
/* "vit:img=32x32,patch=8,dim=48,..." or a timm name to a configuration, and back. `classes_given` (may be
 * NULL) tells whether the text named the classes. */
ALORE_API alore_status alore_vit_parse(alore_ctx *ctx, const char *text, alore_vit_config *out,
                                       bool *classes_given);
ALORE_API size_t       alore_vit_text(const alore_vit_config *config, char *out, size_t bytes);
/* Names that alore_vit_parse knows, NULL past the end. */
ALORE_API const char  *alore_vit_name(int index);

/* ---- 6. Plan: records in order, with addresses ------------------------------ */
typedef struct alore_plan    alore_plan;
typedef struct alore_backend alore_backend;
/* Keep what the backward asks for; keep block inputs and run forward again; what fits .limit soonest done. */
typedef enum alore_recompute { ALORE_KEEP = 0, ALORE_BLOCKS, ALORE_TO_FIT } alore_recompute;

typedef enum alore_optimizer { ALORE_ADAMW = 0, ALORE_MOMENTUM, ALORE_SGD } alore_optimizer; /* 2, 1, 0 */

/* What a plan can leave out, for tests and for the curious. NO_REUSE: every tensor its own place; NO_AGAIN:
 * what is cheap to make again for the backward is kept; NO_DEMAND: rows that nobody asks for are made. */
enum { ALORE_NO_FUSE = 1, ALORE_NO_INPLACE = 2, ALORE_NO_ALIAS = 4, ALORE_NO_REUSE = 8, ALORE_NO_AGAIN = 16,
       ALORE_NO_DEMAND = 32 };

typedef struct alore_plan_opts {
    int                  batch, lanes; /* samples of a call; in flight, each its own arena; 0: 1 */
    int                  split;      /* parts of a record on one lane; 0: lanes or parts, as is faster */
    int                  span, align; /* samples run as one matrix, 0: 1; bytes, 0: 64 */
    size_t               limit;      /* bytes in all, 0: any. With split 0 fewer lanes may run */
    alore_recompute      recompute;
    alore_optimizer      optimizer;
    bool                 train;
    alore_dtype          dtype;      /* of activations: F32, or F64 (reference)  */
    alore_dtype          precision;  /* of products with frozen weights: F32, BF16, I8 (forward only);
                                      * sums in f32; the others read packed weights. BF16: attention's,
                                      * too, where the CPU has a fast dot product of it */
    alore_dtype          store;      /* of what waits for the backward: F32, or BF16, whose rounding puts the
                                      * gradients of small ViTs off by 0.13 %, of one tensor by 0.3 % */
    bool                 slope8;     /* slopes of activations in 8 bits, relu's exactly: 0.19 %, of one tensor
                                      * 0.42 %; both: 0.23 % and 0.46 %. Forward passes keep their bits */
    bool                 frozen;     /* exports hold frozen random tensors; else the seed that makes them */
    unsigned             off;        /* ALORE_NO_* bits                          */
    bool                 reference;  /* the reference kernels, sums in double    */
    const alore_backend *backend;    /* NULL: the CPU                            */
} alore_plan_opts;

typedef struct alore_memory {        /* exact, in bytes                          */
    size_t base;                     /* what alore_weights_pack() makes of the checkpoint's tensors */
    size_t params, frozen, grads, optimizer;
    size_t once;                     /* tensors made once a step                 */
    size_t activations, scratch;     /* one lane; of that, the most that one record wants */
    size_t io, arena;                /* inputs and outputs of a batch; lanes * activations */
    size_t live_bound;               /* largest live set of a lane: a perfect packing */
    size_t total;                    /* what alore_run_bind() must be given      */
} alore_memory;

ALORE_API alore_status alore_plan_create(const alore_model *m, const alore_plan_opts *opts, alore_plan **out);
ALORE_API void         alore_plan_destroy(alore_plan *p);
ALORE_API alore_memory alore_plan_memory(const alore_plan *p);
ALORE_API alore_plan_opts alore_plan_options(const alore_plan *p); /* with the lanes and parts that it took */
/* Floating-point operations for one sample, forward and (if trained) backward. */
ALORE_API double       alore_plan_flops(const alore_plan *p);
ALORE_API int          alore_plan_records(const alore_plan *p);
/* Every record and every byte, as text. */
ALORE_API alore_status alore_plan_print(const alore_plan *p, const alore_writer *w);

typedef struct alore_param_info {
    const char    *name;
    size_t         first, count;     /* range in the flat parameter array        */
    alore_shape    shape;
    bool           base, matrix, frozen; /* of the checkpoint; two extents or more; does not learn */
} alore_param_info;

/* Learning parameters first, then the frozen ones. */
ALORE_API int              alore_param_count(const alore_plan *p);
ALORE_API alore_param_info alore_param_at(const alore_plan *p, int index);
/* How many numbers learn. */
ALORE_API size_t           alore_trainable(const alore_plan *p);

/* ---- 7. Run: a plan bound to weights and memory ----------------------------- */
typedef struct alore_run {           /* visible so that it can be static; its    */
    alore_ctx           *ctx;        /* fields are private                       */
    const alore_plan    *plan;
    const alore_weights *weights;
    double               seconds;
    unsigned char       *memory;
    struct alo_object   *owner;
    uint64_t             seed, step, samples; /* may be read: steps done, samples since */
    bool                 poison;     /* fill with NaN what is dead (tests)       */
    int                  phases, pending, cursor_group, cursor_record;
    struct alore_cache  *cache;      /* of the pass that runs now; NULL: none    */
    const uint32_t      *items;
} alore_run;

typedef struct alore_cache {         /* what frozen layers make of items; visible, like a run */
    const alore_plan    *plan;
    const alore_weights *weights;
    unsigned char       *memory;     /* a word for each item that fits, then its tensors */
    size_t               each;       /* bytes of one                             */
    uint32_t             items, kept; /* how many there are; may be read: fit    */
    alore_dtype          dtype;
} alore_cache;

enum { ALORE_FORWARD = 1, ALORE_BACKWARD = 2 };

/* A run in memory of its own. Every base tensor must be in `base` with its shape, but for an unfrozen
 * head. NULL `base`: allowed where nothing needs one. */
ALORE_API alore_status alore_run_create(const alore_plan *p, const alore_weights *base, alore_run **out);
/* The base as the plan's kernels read it fastest: weights of products in panels, the rest as f32, in all
 * alore_plan_memory().base bytes. Read-only, for every run of every plan of this context that has the same
 * kernels; it stands for `base` in fingerprints and merges. `mapped` (NULL: none) is the set of a file whose
 * pages leave the memory once packed, or read for a fingerprint. Both must outlive it. */
ALORE_API alore_status alore_weights_pack(const alore_plan *p, const alore_weights *base,
                                          const alore_weights *mapped, alore_weights **packed);
/* A run in the caller's memory: alore_plan_memory().total bytes; base tensors in f32 (on big-endian machines
 * packed). Allocates nothing. CAPACITY: both numbers. */
ALORE_API alore_status alore_run_bind(alore_run *run, const alore_plan *p, const alore_weights *base,
                                      void *memory, size_t bytes);
ALORE_API void         alore_run_destroy(alore_run *run);
/* Start values of all parameters from `seed`; moments and step to zero. */
ALORE_API alore_status alore_run_reset(alore_run *run, uint64_t seed);
/* Parameters by name from an adapter. All must be there; extra ones are an error. */
ALORE_API alore_status alore_run_load(alore_run *run, const alore_weights *adapter);
/* Parameters by name; metadata `alore.rules`, `alore.frozen`, `alore.base`. */
ALORE_API alore_status alore_run_export(const alore_run *run, alore_weights **adapter);
/* The batch's input [batch, rows, cols], to be filled; NULL: no such name. */
ALORE_API void        *alore_run_input(alore_run *run, const char *name);
/* The batch's output [batch, rows, cols]. */
ALORE_API const float *alore_run_output(const alore_run *run, const char *name);
/* Run `samples` (0: the plan's batch) samples forward. */
ALORE_API alore_status alore_forward(alore_run *run, int samples);
/* Run them forward and backward and add to the gradients. (Each lane runs one sample there and back, so
 * that activations live for one sample only.) */
ALORE_API alore_status alore_backward(alore_run *run, int samples);
/* Bytes of an item in a cache: of the tensors that cross the cut, before which no record depends on what
 * learns or is random. F32: the plan's numbers as they are; BF16: rounded. 0: next to nothing comes before
 * it, or the plan is not for training, or a backend's. */
ALORE_API size_t       alore_cache_bytes(const alore_plan *p, alore_dtype dtype);
/* A cache for `items` items and passes of `run`, in the caller's memory (aligned to 4): the first
 * bytes / alore_cache_bytes() are kept. BF16 rounds each item at the cut, kept or not, whatever the budget:
 * gradients of small ViTs are off by 0.25 %, at worst by 2.3 %. UNSUPPORTED: there is no such cut. */
ALORE_API alore_status alore_cache_bind(alore_cache *cache, const alore_run *run, uint32_t items,
                                        alore_dtype dtype, void *memory, size_t bytes);
/* Does it have the item? Then inputs that the records before the cut read need not be filled. */
ALORE_API bool         alore_cache_holds(const alore_cache *cache, uint32_t item);
/* alore_backward where sample i is items[i], always with the same inputs (but for labels and the like, which
 * are read behind the cut): what the cache holds begins at the cut. With F32 the same bits. */
ALORE_API alore_status alore_backward_cached(alore_run *run, alore_cache *cache, const uint32_t *items,
                                             int samples);
/* A pass in small steps on this thread, `records` at a time. An unfinished one is lost with all gradients. */
ALORE_API alore_status alore_begin(alore_run *run, int phases, int samples);
ALORE_API alore_status alore_advance(alore_run *run, int records, bool *done);
/* Seconds that the last forward or backward took, by the context's clock; 0 without one. */
ALORE_API double       alore_run_seconds(const alore_run *run);
/* The flat arrays; gradients are sums over the samples since the last step. */
ALORE_API float       *alore_params(alore_run *run, size_t *count);
ALORE_API float       *alore_grads(alore_run *run, size_t *count);
/* All state that training has, with a checksum; resume is bit-exact. `tag` is the caller's own text
 * (rules, data, settings) and must be equal on reading. */
ALORE_API alore_status alore_checkpoint_write(const alore_run *run, const char *tag,
                                              const alore_writer *writer);
ALORE_API alore_status alore_checkpoint_read(alore_run *run, const char *tag, const void *data, size_t bytes);

/* ---- 8. Optimisers, schedules, sampling ------------------------------------- */
typedef struct alore_step_opts {     /* zero: 0.9, 0.999, 1e-8, nothing else     */
    double beta1, beta2, eps, momentum; /* momentum: SGD                         */
    double decay;                    /* AdamW: decoupled; SGD: added to g        */
    bool  nesterov, decay_matrices;  /* decay only of two extents and more       */
    double clip;                     /* largest norm of the mean gradient, 0: none */
    double grad_scale;               /* 0: 1 / samples since the last step       */
} alore_step_opts;

/* COSINE runs over what the warm-up leaves; timm's is not shifted by it. */
typedef enum alore_schedule_kind { ALORE_CONSTANT = 0, ALORE_COSINE, ALORE_TIMM_COSINE } alore_schedule_kind;

typedef struct alore_schedule {
    alore_schedule_kind kind;
    float lr, lr_min, lr_start;
    int   warmup, total;
} alore_schedule;

ALORE_API float        alore_lr(const alore_schedule *s, int step);
/* One step of the plan's optimiser; clears the gradients. `norm` (may be NULL) receives the norm of the
 * mean gradient. NONFINITE: nothing was written. */
ALORE_API alore_status alore_step(alore_run *run, const alore_step_opts *opts, float lr, float *norm);
/* Place `i` (modulo n) of the order in which pass `epoch` takes n items: a keyed permutation. n 0: 0. */
ALORE_API uint32_t     alore_shuffle(uint64_t seed, uint32_t epoch, uint32_t i, uint32_t n);

/* ---- 9. Merge and export ---------------------------------------------------- */
typedef struct alore_merge_opts {
    float       tolerance;           /* relative, on random rows, as stored; 0: 1e-5, before storing */
    alore_dtype dtype;               /* storage of changed tensors where .convert */
    bool        convert;             /* false: the type they have in the base    */
} alore_merge_opts;

typedef struct alore_merge_report {
    int   sites, tensors_changed;
    float worst_error, worst_lost;   /* relative difference; share of a delta lost to rounding */
    char  worst_site[64], lost_site[64];
} alore_merge_report;

/* The base with the adapter in its weights, certified. NOT_MERGEABLE, TOLERANCE, NONFINITE name the site. */
ALORE_API alore_status alore_merge(const alore_model *m, const alore_weights *base,
                                   const alore_weights *adapter, const alore_merge_opts *opts,
                                   alore_weights **merged, alore_merge_report *report);
/* The adapter as plain LoRA, exactly: rules "lora:rank=..@site", same function. */
ALORE_API alore_status alore_export_lora(const alore_model *m, const alore_weights *base,
                                         const alore_weights *adapter, alore_weights **lora);

/* ---- 10. Building blocks, usable alone -------------------------------------- */
/* Number `index` of a stream: 32 bits; in [0, 1), steps of 2^-24; of mean 0, deviation 1. Threads: any. */
ALORE_API uint32_t alore_random_u32(uint64_t seed, uint64_t stream, uint64_t index);
ALORE_API float    alore_random_uniform(uint64_t seed, uint64_t stream, uint64_t index);
ALORE_API float    alore_random_normal(uint64_t seed, uint64_t stream, uint64_t index);
/* To nearest, ties to even; a NaN stays one. Threads: any. */
ALORE_API float    alore_half_to_float(uint16_t half);
ALORE_API uint16_t alore_float_to_half(float x);
ALORE_API float    alore_bfloat_to_float(uint16_t bfloat);
ALORE_API uint16_t alore_float_to_bfloat(float x);
/* `threads` counts the caller's; 0 and 1: no other. Where the system starts fewer, the log hook is told. With
 * config.pin, and as many threads as CPUs that this one may use, each keeps one of them, this one too until
 * the pool is destroyed; threads that it starts meanwhile share its CPU unless they move. */
ALORE_API alore_status alore_pool_create(alore_ctx *ctx, int threads, alore_pool **out);
/* As alore_parallel.run; `pool` NULL: on this thread. Several threads may call at once. Threads: any. */
ALORE_API void     alore_pool_run(void *pool, alore_task task, void *arg, int tasks);
ALORE_API void     alore_pool_destroy(alore_pool *pool); /* NULL is allowed; no batch may be running */

/* ---- 11. Backends ----------------------------------------------------------- */
typedef struct alore_call alore_call;        /* a record with pointers resolved  */
typedef void (*alore_kernel)(const alore_call *call, int first, int last); /* a range of its tasks */
struct alore_backend {                       /* a zero means "as the CPU"        */
    const char         *name;
    int                 count;       /* kernels; must equal this version's       */
    const alore_kernel *kernels;     /* NULL entry: the planner refuses that op  */
    int                 align, lanes, tasks; /* of tensors; most lanes of a plan, tasks of a record */
    size_t              workspace;   /* bytes that live for the whole run        */
    size_t (*scratch)(void *user, int op, int rows, int cols);
    unsigned            fuse, types; /* fusions it makes, activations it stores  */
    void *(*alloc)(void *user, size_t bytes);
    void (*release)(void *user, void *block);
    bool (*upload)(void *user, void *to, const void *from, size_t bytes);
    bool (*download)(void *user, void *to, const void *from, size_t bytes);
    bool (*enter)(void *user, int phase, int rows);
    bool (*leave)(void *user, int phase);
    bool (*finish)(void *user);      /* wait until every queued kernel has run   */
    void               *user;
};

/* clang-format on */
#endif /* ALORE_H */

/* Here the implementation begins, bottom-up: a section may use only what stands above it. */
#if defined(ALORE_IMPLEMENTATION) && !defined(ALORE_IMPLEMENTED)
#define ALORE_IMPLEMENTED
#define ALO_IMPLEMENTING

#include <stdarg.h>
#include <string.h>
#ifndef ALORE_NO_STDIO
#include <stdio.h>
#endif
#ifndef ALORE_NO_MALLOC
#include <stdlib.h>
#endif

#ifndef ALORE_ASSERT
#define ALORE_ASSERT(x) ((void)0)
#endif

/* Without fused products every machine computes the same bits: gcc needs -std=c99, clang has the pragma. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif
#if defined(__FLT_EVAL_METHOD__) && (__FLT_EVAL_METHOD__ == 1 || __FLT_EVAL_METHOD__ == 2)
#error "floats have extra digits: 32-bit x86 needs -msse2 -mfpmath=sse, s390x -fexcess-precision=fast"
#endif

/* What compilers call things. */
#if defined(__GNUC__)
#    define ALO_APART __attribute__((noinline))
#    define ALO_COLD __attribute__((cold)) /* seldom called: small rather than fast */
#    define ALO_INLINE inline __attribute__((always_inline))
#    define ALO_HOLD(where, x) __asm__("" : where(x))
#    define ALO_PREFETCH(p) __builtin_prefetch(p, 0, 2)
#else
#    define ALO_PREFETCH(p) (void)(p)
#    define ALO_APART
#    define ALO_COLD
#    define ALO_INLINE inline
#    define ALO_HOLD(where, x) (void)0
#endif
#if !defined(ALORE_NO_SIMD) && defined(__GNUC__) && defined(__x86_64__)
#    define ALO_X86
#    include <immintrin.h>
#elif !defined(ALORE_NO_SIMD) && defined(__GNUC__) && defined(__aarch64__)
#    define ALO_ARM
#    include <arm_neon.h>
#    ifdef __linux__
#        include <sys/auxv.h>
#    endif
#endif
#ifdef ALORE_BLAS
#    ifndef ALORE_BLAS_HEADER
#        define ALORE_BLAS_HEADER <cblas.h>
#    endif
#    include ALORE_BLAS_HEADER
#endif
#define ALO_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#    define ALO_UNROLL ALO_PRAGMA(clang loop unroll(full))
#    define ALO_TWICE ALO_PRAGMA(unroll(2))
#    define ALO_TARGET_BEGIN(isa) \
        ALO_PRAGMA(clang attribute push(__attribute__((target(isa))), apply_to = function))
#    define ALO_TARGET_END ALO_PRAGMA(clang attribute pop)
#elif defined(__GNUC__)
#    define ALO_UNROLL ALO_PRAGMA(GCC unroll 16)
#    define ALO_TWICE ALO_PRAGMA(GCC unroll 2)
#    define ALO_TARGET_BEGIN(isa) ALO_PRAGMA(GCC push_options) ALO_PRAGMA(GCC target(isa))
#    define ALO_TARGET_END ALO_PRAGMA(GCC pop_options)
#else
#    define ALO_UNROLL
#    define ALO_TWICE
#endif

/* ============================================================================
 * >> 01 sizes, errors, memory
 * Every size is computed by alo_mul and alo_sum, which saturate: a size that does not fit becomes SIZE_MAX,
 * which no allocator grants and no file holds. Every block comes from the context's allocator; every object
 * stands in its context's list, so that alore_uninit frees what is left. */

static size_t alo_mul(size_t a, size_t b) { return b && a > SIZE_MAX / b ? SIZE_MAX : a * b; }
static size_t alo_sum(size_t a, size_t b) { return a > SIZE_MAX - b ? SIZE_MAX : a + b; }

/* Up to the next multiple of `align`, a power of two. */
static size_t alo_align(size_t bytes, size_t align) {
    return alo_sum(bytes, align - 1) == SIZE_MAX ? SIZE_MAX : (bytes + align - 1) & ~(align - 1);
}

/* An extent that was checked to be positive, as a size. */
static size_t alo_zu(int extent) {
    ALORE_ASSERT(extent >= 0);
    return (size_t)extent;
}

typedef struct alo_text { /* text that grows into a fixed place, always NUL-ended */
    char *data;
    size_t bytes, used; /* room, and what the whole text would take */
} alo_text;

static void alo_put(alo_text *t, const char *s, size_t bytes) {
    for (size_t i = 0; i < bytes; ++i, ++t->used)
        if (t->used + 1 < t->bytes) t->data[t->used] = s[i];
    if (t->bytes) t->data[t->used < t->bytes ? t->used : t->bytes - 1] = 0;
}

static void alo_put_uint(alo_text *t, uint64_t v, unsigned radix) {
    char digits[24];
    size_t n = sizeof digits;
    do
        digits[--n] = "0123456789abcdef"[v % radix];
    while (v /= radix);
    alo_put(t, digits + n, sizeof digits - n);
}

/* A number with up to six digits, as %g prints it. */
static void alo_put_real(alo_text *t, double x) {
    char text[6];
    int exponent = 5, digits = 6;
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (bits >> 63) alo_put(t, "-", 1);
    if ((bits >> 52 & 0x7ff) == 0x7ff) {
        alo_put(t, bits << 12 ? "nan" : "inf", 3);
        return;
    }
    if (x < 0) x = -x;
    for (; x >= 1e6; x /= 10) ++exponent;
    for (; x > 0 && x < 1e5; x *= 10) --exponent;
    uint64_t whole = (uint64_t)(x + 0.5);
    if (!whole) exponent = 0;
    for (; whole >= 1000000; whole /= 10) ++exponent;
    for (int i = 5; i >= 0; --i, whole /= 10) text[i] = (char)('0' + whole % 10);
    while (digits > 1 && text[digits - 1] == '0') --digits;
    bool plain = exponent >= -4 && exponent < 6;
    int units = plain ? exponent : 0; /* place of the digit before the point */
    if (units < 0) alo_put(t, "0.000", (size_t)(1 - units));
    for (int i = 0; i < digits || i <= units; ++i) {
        if (i > 0 && i == units + 1) alo_put(t, ".", 1);
        alo_put(t, text + i, 1);
    }
    if (plain) return;
    int size = exponent < 0 ? -exponent : exponent;
    alo_put(t, exponent < 0 ? "e-0" : "e+0", size < 10 ? 3 : 2);
    alo_put_uint(t, (uint64_t)size, 10);
}

/* %s text, %d int, %z size_t, %u uint64_t, %x uint64_t in hexadecimal, %g double, %% a percent sign. */
static void alo_print_list(alo_text *t, const char *format, va_list args) {
    for (; *format; ++format) {
        if (*format != '%' || *++format == '%') {
            alo_put(t, format, 1);
        } else if (*format == 's') {
            const char *s = va_arg(args, const char *);
            alo_put(t, s, strlen(s));
        } else if (*format == 'd') {
            int64_t d = va_arg(args, int);
            if (d < 0) alo_put(t, "-", 1);
            alo_put_uint(t, (uint64_t)(d < 0 ? -d : d), 10);
        } else if (*format == 'g') {
            alo_put_real(t, va_arg(args, double));
        } else {
            uint64_t u = *format == 'z' ? va_arg(args, size_t) : va_arg(args, uint64_t);
            alo_put_uint(t, u, *format == 'x' ? 16 : 10);
        }
    }
}

static void alo_print(alo_text *t, const char *format, ...) {
    va_list args;
    va_start(args, format);
    alo_print_list(t, format, args);
    va_end(args);
}

/* Remember a failure and return its status. `site` may be NULL. */
static alore_status alo_fail(alore_ctx *ctx, alore_status status, const char *site, const char *format, ...) {
    alore_error *e = &ctx->error;
    alo_text place = {e->site, sizeof e->site, 0}, text = {e->text, sizeof e->text, 0};
    va_list args;
    e->status = status;
    e->record = -1;
    e->offset = 0;
    alo_print(&place, "%s", site ? site : "");
    va_start(args, format);
    alo_print_list(&text, format, args);
    va_end(args);
    return status;
}

/* A block of `bytes`, or NULL with the error set. */
static void *alo_raw(alore_ctx *ctx, size_t bytes) {
    const alore_allocator *a = &ctx->config.allocator;
    if (!bytes) bytes = 1;
    void *block = bytes < SIZE_MAX / 2 ? a->alloc(a->user, bytes, 64) : NULL;
    if (!block) alo_fail(ctx, ALORE_ERR_MEMORY, NULL, "the allocator refused %z bytes", bytes);
    return block;
}

/* The same, zeroed. */
static void *alo_new(alore_ctx *ctx, size_t bytes) {
    void *block = alo_raw(ctx, bytes);
    return block ? memset(block, 0, bytes ? bytes : 1) : NULL;
}

static void alo_free(alore_ctx *ctx, void *block, size_t bytes) {
    if (block) ctx->config.allocator.release(ctx->config.allocator.user, block, bytes ? bytes : 1);
}

enum { ALO_PIECE = 16, ALO_WIDE = 64 }; /* alignments of what an object keeps */
typedef struct alo_piece { /* of an object's memory, which stands behind */
    struct alo_piece *next;
    size_t bytes;
} alo_piece;

typedef struct alo_object { /* the first member of whatever a context owns */
    alore_ctx *ctx;
    struct alo_object *before, *after;
    void (*destroy)(struct alo_object *self);
    size_t bytes;
    alo_piece *pieces; /* which live as long as it */
} alo_object;

/* A zeroed object of `bytes` in the context's list, or NULL with the error set. */
static alo_object *alo_object_new(alore_ctx *ctx, size_t bytes, void (*destroy)(alo_object *)) {
    alo_object *o = (alo_object *)alo_new(ctx, bytes);
    if (!o) return NULL;
    o->ctx = ctx;
    o->bytes = bytes;
    o->destroy = destroy;
    o->after = ctx->objects;
    if (o->after) o->after->before = o;
    ctx->objects = o;
    return o;
}

/* Take it out of the list and free it with its pieces. */
static void alo_object_free(alo_object *o) {
    *(o->before ? &o->before->after : &o->ctx->objects) = o->after;
    if (o->after) o->after->before = o->before;
    for (alo_piece *b = o->pieces, *next; b; b = next) {
        next = b->next;
        alo_free(o->ctx, b, b->bytes);
    }
    alo_free(o->ctx, o, o->bytes);
}

/* Memory that lives as long as the object, NULL with the error set: of any content, `skip` bytes behind the
 * piece; or beginning with `copied` bytes of `from`, and zeroed behind. */
static void *alo_keep_raw(alo_object *o, size_t bytes, size_t skip) {
    const size_t all = alo_sum(skip, bytes);
    alo_piece *b = (alo_piece *)alo_raw(o->ctx, all);
    if (!b) return NULL;
    b->next = o->pieces;
    b->bytes = all;
    o->pieces = b;
    return (char *)b + skip;
}

static void *alo_keep(alo_object *o, size_t bytes, const void *from, size_t copied) {
    char *to = (char *)alo_keep_raw(o, bytes, ALO_PIECE);
    if (!to) return NULL;
    if (copied) memcpy(to, from, copied);
    memset(to + copied, 0, bytes - copied);
    return to;
}

/* Free a piece before the object goes. */
static void alo_release(alo_object *o, void *data) {
    alo_piece **at = &o->pieces, *b;
    while (*at && (void *)((char *)*at + ALO_PIECE) != data) at = &(*at)->next;
    b = *at;
    if (b) *at = b->next;
    if (b) alo_free(o->ctx, b, b->bytes);
}

/* Insert a copy of `one` before element `at` of an array of the object's, where `count` stand. `list` is the
 * address of a typed pointer, which a void ** may not alias. False: no memory, and all is as it was. */
static bool alo_list_add(alo_object *o, void *list, int *count, int *room, int at, const void *one,
                         size_t bytes) {
    char *array, *old;
    memcpy(&old, list, sizeof old);
    array = old;
    if (*count == *room) {
        const int more = *room ? 2 * *room : 16;
        const size_t wide = *room >> 28 ? SIZE_MAX : alo_mul(alo_zu(more), bytes);
        array = (char *)alo_keep(o, wide, old, alo_zu(*count) * bytes);
        if (!array) return false;
        *room = more;
        memcpy(list, &array, sizeof array);
        alo_release(o, old);
    }
    array += alo_zu(at) * bytes;
    memmove(array + bytes, array, alo_zu((*count)++ - at) * bytes);
    memcpy(array, one, bytes);
    return true;
}

ALORE_API uint32_t alore_version(void) {
    return ALORE_VERSION_MAJOR << 16 | ALORE_VERSION_MINOR << 8 | ALORE_VERSION_PATCH;
}

ALORE_API const char *alore_status_text(alore_status status) {
    static const char *const texts[] = {
        "ok",      "bad argument", "wrong moment",  "shape",           "storage type",    "name",
        "rule",    "no match",     "out of memory", "too little room", "input or output", "malformed",
        "version", "another base", "unsupported",   "not mergeable",   "tolerance",       "not finite"};
    return (size_t)status < sizeof texts / sizeof *texts ? texts[status] : "unknown";
}

ALORE_API const alore_error *alore_last_error(const alore_ctx *ctx) { return &ctx->error; }

/* ============================================================================
 * >> 02 mathematics
 * exp, log, erf, tanh, sin, cos and sqrt in f32, without a C library, a double or a fused product: the same
 * bits on every machine that rounds as IEEE 754 says. A function is one straight line of polynomials (minimax
 * in relative error, by Remez exchange) and selections, so that a loop over it becomes vector code. Arguments
 * are judged by their bits; NaN stays NaN. Errors are in units in the last place, against double precision.
 * Half and bfloat16 round to nearest, ties to even. */

static const uint16_t alo_one = 1;
static bool alo_host_is_little(void) { return *(const unsigned char *)&alo_one == 1; }

static inline uint32_t alo_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float alo_float(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline bool alo_is_nan(float x) { return (alo_bits(x) & 0x7fffffffu) > 0x7f800000u; }

/* yes ? a : b, without a branch and without a float comparison that may trap. */
static inline float alo_pick(bool yes, float a, float b) {
    uint32_t mask = 0u - (uint32_t)yes;
    return alo_float((alo_bits(a) & mask) | (alo_bits(b) & ~mask));
}

/* The integer nearest to x, |x| < 2^22: a large sum has no bits left for fractions. */
static inline int32_t alo_nearest(float x) { return (int32_t)(alo_bits(x + 12582912.0f) - 0x4b400000u); }

/* e^x; 1 ulp. With n next to x / ln 2 and r = x - n ln 2 it is 2^n e^r. ln 2 is a sum whose first term has 15
 * bits, so that n times it is exact; 2^n is a product of two, so that it reaches denormals and infinity. */
ALO_APART static float alo_exp(float x) {
    uint32_t sign = alo_bits(x) & 0x80000000u, most = sign ? 0x42d20000u : 0x42b20000u; /* -105, 89 */
    float y = alo_pick((alo_bits(x) ^ sign) > most, alo_float(sign | most), x);
    int32_t n = alo_nearest(y * 1.44269504f), half = n / 2;
    float r = y - (float)n * 0.693145752f - (float)n * 1.42860677e-6f;
    float p = ((0.00138143206f * r + 0.00836885069f) * r + 0.0416684002f) * r + 0.166665196f;
    p = 1.0f + (r + r * r * (p * r + 0.49999994f));
    p *= alo_float((uint32_t)(127 + half) << 23);
    p *= alo_float((uint32_t)(127 + n - half) << 23);
    return alo_pick(alo_is_nan(x), x, p);
}

/* Natural logarithm; 0.9 ulp. -inf at zeros, NaN below. With x = 2^k (1 + f) and 1 + f in [sqrt 1/2, sqrt 2)
 * it is k ln 2 + f - f^2 / 2 + f^3 P(f). */
static inline float alo_log(float x) {
    uint32_t bits = alo_bits(x);
    bool denormal = bits < 0x00800000u;
    uint32_t high = alo_bits(alo_pick(denormal, x * 8388608.0f, x)) + (0x3f800000u - 0x3f3504f3u);
    float k = (float)((int32_t)(high >> 23) - (denormal ? 127 + 23 : 127));
    float f = alo_float((high & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
    float p = ((-0.0763461888f * f + 0.127617538f) * f - 0.131602213f) * f + 0.142017365f;
    p = (((p * f - 0.16623351f) * f + 0.200012282f) * f - 0.250008225f) * f + 0.333333313f;
    p = f * f * (f * p) + k * 1.42860677e-6f - 0.5f * f * f + f + k * 0.693145752f;
    p = alo_pick(bits > 0x80000000u, alo_float(0x7fc00000u), p);
    p = alo_pick((bits & 0x7fffffffu) == 0, alo_float(0xff800000u), p);
    return alo_pick((bits == 0x7f800000u) | alo_is_nan(x), x, p);
}

/* Error function; 1.6 ulp. x + x P(x^2) below 1, and 1 - Q(|x|)^4 above: the fourth root of 1 - erf is tame,
 * and neither exp nor a division is needed. */
static inline float alo_erf(float x) {
    uint32_t sign = alo_bits(x) & 0x80000000u;
    float t = alo_float(alo_bits(x) ^ sign), z = x * x;
    float p = ((7.85386219e-5f * z - 0.000801019371f) * z + 0.00518832775f) * z - 0.0268538129f;
    p = ((p * z + 0.112835854f) * z - 0.37612626f) * z + 0.128379166f;
    float u = alo_pick(alo_bits(t) < 0x407c0000u, t, 3.9375f) - 1.25f;
    float q = ((-2.2180946e-5f * u - 4.51836859e-5f) * u + 0.00135940267f) * u - 0.00352749391f;
    q = ((q * u - 0.00933250599f) * u + 0.0440665111f) * u + 0.040252436f;
    q = (q * u - 0.404128939f) * u + 0.52694273f;
    q *= q;
    q = alo_pick(alo_bits(t) < 0x3f800000u, t + t * p, 1.0f - q * q);
    return alo_pick(alo_is_nan(x), x, alo_float(alo_bits(q) | sign));
}

/* Hyperbolic tangent; 1.4 ulp. x + x^3 P(x^2) below 0.625, else by e^(2|x|). */
static inline float alo_tanh(float x) {
    uint32_t sign = alo_bits(x) & 0x80000000u;
    float t = alo_float(alo_bits(x) ^ sign), z = x * x;
    float p = ((-0.00569239026f * z + 0.0206282381f) * z - 0.053736534f) * z + 0.133314058f;
    float q = 1.0f - 2.0f / (alo_exp(t + t) + 1.0f);
    q = alo_pick(alo_bits(t) < 0x3f200000u, t + t * z * (p * z - 0.333332807f), q);
    return alo_pick(alo_is_nan(x), x, alo_float(alo_bits(q) | sign));
}

/* sin (x + quarters pi/2); 1 ulp for |x| <= 8192, NaN beyond. Here x is n pi/2 + r + rest. pi/2
 * is a sum of five, four of 11 bits: n times these is exact. The difference to two of them is exact, to two
 * more as a pair; the fifth is the last bit of arguments that lie close to a multiple. */
static inline float alo_turn(float x, int32_t quarters) {
    bool outside = (alo_bits(x) & 0x7fffffffu) > 0x46000000u;
    float y = alo_pick(outside, 0.0f, x);
    int32_t n = alo_nearest(y * 0.636619772f);
    float k = (float)n, c = k * 7.54953362e-8f, d = k * 2.56328292e-12f;
    float a = y - k * 1.5703125f - k * 0.000483751297f;
    float b = a - c, r = b - d, rest = ((a - b) - c) + ((b - r) - d) - k * 6.12323426e-17f;
    float z = r * r, h = 0.5f * z, w = 1.0f - h;
    float s = (-0.000195179673f * z + 0.00833218731f) * z - 0.166666552f;
    float p = (2.44324128e-5f * z - 0.00138873095f) * z + 0.0416666456f;
    s = r + (r * z * s + rest);
    p = w + (((1.0f - w) - h) + (z * z * p - r * rest));
    y = alo_pick((n + quarters) & 1, p, s);
    return alo_pick(outside, alo_float(0x7fc00000u), alo_pick((n + quarters) & 2, -y, y));
}

/* Below 2^-13 the cube is lost, and -0 is kept. */
static inline float alo_sin(float x) {
    return alo_pick((alo_bits(x) & 0x7fffffffu) < 0x39000000u, x, alo_turn(x, 0));
}
static inline float alo_cos(float x) { return alo_turn(x, 1); }

/* Square root, correctly rounded; NaN below zero. x = 4^k m, m in [1, 4): Newton finds a root s of m but for
 * one unit of 2^-23; it is right if (s - 1/2)^2 < m < (s + 1/2)^2: integers decide, without ties. */
ALO_APART static float alo_sqrt(float x) {
    uint32_t bits = alo_bits(x);
    bool denormal = bits < 0x00800000u;
    uint32_t scaled = alo_bits(alo_pick(denormal, x * 16777216.0f, x)), fraction = scaled & 0x007fffffu;
    uint32_t odd = scaled >> 23 & 1, k = (scaled >> 24) + odd - (denormal ? 76u : 64u);
    float m = alo_float(fraction + (odd ? 0x3f800000u : 0x40000000u));
    float y = alo_float(0x5f375a86u - (alo_bits(m) >> 1));
    y *= 1.5f - 0.5f * m * y * y;
    y *= 1.5f - 0.5f * m * y * y;
    float root = m * y;
    root += 0.5f * y * (m - root * root);
    uint64_t s = alo_bits(root) - 0x3f000000u, wide = (uint64_t)(fraction + 0x00800000u) << (24 - odd);
    s = s + (wide > s * s + s) - (wide <= s * s - s);
    y = alo_float((uint32_t)s + 0x3f000000u + (k << 23));
    y = alo_pick(bits > 0x80000000u, alo_float(0x7fc00000u), y);
    y = alo_pick((bits & 0x7fffffffu) == 0, x, y);
    return alo_pick((bits == 0x7f800000u) | alo_is_nan(x), x, y);
}

ALORE_API float alore_half_to_float(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = half & 0x7fffu;
    if (rest >= 0x7c00) return alo_float(sign | 0x7f800000u | (rest & 0x3ff) << 13);
    if (rest >= 0x0400) return alo_float(sign | ((rest << 13) + 0x38000000u));
    return alo_float(sign | alo_bits((float)rest * 5.96046448e-8f)); /* 2^-24 */
}

/* 65520 and above is infinite; a NaN keeps its upper bits; 1/2 has the units of half denormals, 2^-24. */
ALORE_API uint16_t alore_float_to_half(float x) {
    uint32_t bits = alo_bits(x), rest = bits & 0x7fffffffu;
    uint32_t half = rest > 0x7f800000u    ? 0x7e00u | (rest >> 13 & 0x3ff)
                    : rest >= 0x477ff000u ? 0x7c00u
                    : rest >= 0x38800000u ? (rest - 0x38000000u + 0xfff + (rest >> 13 & 1)) >> 13
                                          : alo_bits(alo_float(rest) + 0.5f) - 0x3f000000u;
    return (uint16_t)((bits >> 16 & 0x8000u) | half);
}

ALORE_API float alore_bfloat_to_float(uint16_t bfloat) { return alo_float((uint32_t)bfloat << 16); }

ALORE_API uint16_t alore_float_to_bfloat(float x) {
    uint32_t bits = alo_bits(x);
    if (alo_is_nan(x)) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* ============================================================================
 * >> 03 random
 * Random numbers are a function of (seed, stream, index), so they do not depend on threads or on the order of
 * calls. It is Philox 4x32-10 (Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, 2011), the seed as
 * key and (index / 4, stream) as counter, low words first; number `index` is word index % 4 of that block. */

static void alo_philox(uint64_t seed, uint64_t stream, uint64_t block, uint32_t out[4]) {
    uint32_t a = (uint32_t)block, b = (uint32_t)(block >> 32), k = (uint32_t)seed;
    uint32_t c = (uint32_t)stream, d = (uint32_t)(stream >> 32), l = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; ++round) {
        uint64_t p = (uint64_t)a * 0xd2511f53u, q = (uint64_t)c * 0xcd9e8d57u;
        a = (uint32_t)(q >> 32) ^ b ^ k;
        b = (uint32_t)q;
        c = (uint32_t)(p >> 32) ^ d ^ l;
        d = (uint32_t)p;
        k += 0x9e3779b9u;
        l += 0xbb67ae85u;
    }
    const uint32_t words[4] = {a, b, c, d};
    memcpy(out, words, sizeof words);
}

/* FNV-1a over `bytes` bytes, going on from the hash `start`; 0: from the beginning. */
static uint64_t alo_hash(const void *data, size_t bytes, uint64_t start) {
    const unsigned char *p = (const unsigned char *)data;
    uint64_t hash = start ? start : 0xcbf29ce484222325u;
    for (size_t i = 0; i < bytes; ++i) hash = (hash ^ p[i]) * 0x100000001b3u;
    return hash;
}

ALORE_API uint32_t alore_random_u32(uint64_t seed, uint64_t stream, uint64_t index) {
    uint32_t four[4];
    alo_philox(seed, stream, index / 4, four);
    return four[index & 3];
}

ALORE_API float alore_random_uniform(uint64_t seed, uint64_t stream, uint64_t index) {
    return (float)(alore_random_u32(seed, stream, index) >> 8) * 5.96046448e-8f;
}

/* Box and Muller, 1958. The numbers 2 i and 2 i + 1 are radius (up to 6.8) and angle of a point of the plane;
 * normal 2 i is its x, normal 2 i + 1 its y, which is independent of x. */
ALORE_API float alore_random_normal(uint64_t seed, uint64_t stream, uint64_t index) {
    uint32_t four[4];
    alo_philox(seed, stream, index / 4, four);
    float u = (float)four[index & 2] * 2.32830644e-10f + 1.16415322e-10f;
    float angle = (float)(four[(index & 2) | 1] >> 8) * 3.74507039e-7f; /* 2 pi 2^-24 */
    return alo_sqrt(-2.0f * alo_log(u)) * ((index & 1) ? alo_sin(angle) : alo_cos(angle));
}

/* Six rounds of a Feistel network permute 0 .. 4^bits - 1 with 4^bits < 4 n. A place outside 0 .. n-1 is
 * permuted again until it falls inside, as it must. */
ALORE_API uint32_t alore_shuffle(uint64_t seed, uint32_t epoch, uint32_t i, uint32_t n) {
    uint64_t stream = 0x73687566666c6500u ^ epoch; /* "shuffle" */
    uint32_t bits = 0, place = n ? i % n : 0;
    if (n < 2) return 0;
    while (bits < 16 && (n - 1) >> (2 * bits)) ++bits;
    do {
        uint32_t mask = ((uint32_t)1 << bits) - 1, left = place >> bits, right = place & mask;
        for (uint64_t round = 0; round < 6; ++round) {
            uint32_t next = left ^ (alore_random_u32(seed, stream, (round << 32 | right) << 2) & mask);
            left = right;
            right = next;
        }
        place = left << bits | right;
    } while (place >= n);
    return place;
}

/* ============================================================================
 * >> 04 threads and contexts
 * A pool runs a batch of tasks: task(arg, i) once for each i, in any order. Its workers and the caller take
 * the next task under one lock until none is left; the caller waits for those still at work. A pool that is
 * busy (a task that calls it again, or a second caller) runs the new tasks on the calling thread, so nothing
 * can wait in a circle. Who waits spins some 50 microseconds, offers its CPU to others about as long, then
 * sleeps; no more workers spin than there are CPUs beside the caller's. A context may have a pool. */

#if defined(ALORE_NO_THREADS) || (!defined(_WIN32) && !defined(__GNUC__))
#    define ALO_OS(posix, windows, none) none
#elif defined(_WIN32)
#    undef NOMINMAX
#    define NOMINMAX
#    undef WIN32_LEAN_AND_MEAN
#    define WIN32_LEAN_AND_MEAN
#    include <windows.h>
#    define ALO_OS(posix, windows, none) windows
#else
#    include <pthread.h>
#    include <sched.h>
#    define ALO_OS(posix, windows, none) posix
#    ifdef __linux__
#        include <sys/syscall.h>
#        include <unistd.h>
#        ifndef __cplusplus
extern long syscall(long number, ...); /* -std=c99 hides it */
#        endif
#    endif
#endif

/* What a pool asks of POSIX, of Windows, or of nobody: then no worker starts and the caller does it all. */
/* clang-format off */
#define ALO_MAKE(l, s) ALO_OS(!pthread_mutex_init(l, NULL) && \
                                  (!pthread_cond_init(s, NULL) || (pthread_mutex_destroy(l), false)), \
                              (InitializeSRWLock(l), InitializeConditionVariable(s), true), false)
#define ALO_DROP(l, s) ALO_OS((pthread_cond_destroy(s), pthread_mutex_destroy(l)), (void)0, (void)0)
#define ALO_TRY(l)     ALO_OS(!pthread_mutex_trylock(l), TryAcquireSRWLockExclusive(l), ((void)(l), true))
#define ALO_TAKE(l)    ALO_OS(pthread_mutex_lock(l), AcquireSRWLockExclusive(l), (void)0)
#define ALO_GIVE(l)    ALO_OS(pthread_mutex_unlock(l), ReleaseSRWLockExclusive(l), (void)0)
#define ALO_WAKE(s)    ALO_OS(pthread_cond_signal(s), WakeConditionVariable(s), (void)0)
#define ALO_TELL(s)    ALO_OS(pthread_cond_broadcast(s), WakeAllConditionVariable(s), (void)0)
#define ALO_WAIT(s, l) ALO_OS(pthread_cond_wait(s, l), SleepConditionVariableSRW(s, l, INFINITE, 0), (void)0)
#define ALO_JOIN(t)    ALO_OS(pthread_join(t, NULL), \
                              (WaitForSingleObject(t, INFINITE), CloseHandle(t)), (void)0)
#define ALO_START(t, f, p) ALO_OS(!pthread_create(&(t), NULL, f, p), \
                                  ((t) = CreateThread(NULL, 0, f, p, 0, NULL)) != NULL, ((void)(f), false))

#define ALO_YIELD()    ALO_OS(sched_yield(), SwitchToThread(), (void)0)
#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
#    define ALO_PAUSE() __builtin_ia32_pause()
#elif defined(__GNUC__) && defined(__aarch64__)
#    define ALO_PAUSE() __asm__ volatile("isb")
#else
#    define ALO_PAUSE() ALO_OS((void)0, YieldProcessor(), (void)0)
#endif
#ifdef __GNUC__ /* a number that another thread may write meanwhile; the lock gives the order */
#    define ALO_LOAD(p)     __atomic_load_n(p, __ATOMIC_RELAXED)
#    define ALO_STORE(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)
#else
#    define ALO_LOAD(p)     (*(const volatile unsigned *)(p))
#    define ALO_STORE(p, v) (*(volatile unsigned *)(p) = (v))
#endif

enum { ALO_TRIES = 100, ALO_PAUSES = 4000, ALO_YIELDS = 200, ALO_MASK = 1024 / (8 * sizeof(long)) };

struct alore_pool {
    alo_object object;
    bool       ready, over;                           /* there are lock and news; the workers shall go  */
    ALO_OS(pthread_mutex_t, SRWLOCK, int) lock;       /* of `over` and all below                        */
    ALO_OS(pthread_cond_t, CONDITION_VARIABLE, int) news; /* batch open or done, or pool over           */
    alore_task task;                                  /* the batch                                      */
    void      *arg;
    int        tasks, taken, done;                    /* 0 where no batch is open                       */
    int        count, begun;                          /* of the workers that run; that have a seat      */
    int        spinners, spinning, asleep, resting;   /* may spin; do; sleeping workers; sleeping caller */
    long       pinned;                                /* the creator, as Linux calls it; 0: nobody      */
    unsigned long mask[ALO_MASK];                     /* CPUs that it may use                           */
    ALO_OS(pthread_t, HANDLE, int) workers[1023];
    unsigned   opened, closed;                        /* batches; far from the lock, as they are watched */
};
/* clang-format on */

#if defined(__linux__) && ALO_OS(1, 0, 0)
/* Bit `i` of a mask. */
static unsigned long alo_cpu_bit(size_t i) { return 1ul << i % (8 * sizeof(long)); }

/* Fill in the mask; returns how many CPUs it has, 0 where nobody knows. */
static int alo_cpus(alore_pool *p) {
    int count = 0;
    if (syscall(SYS_sched_getaffinity, 0L, sizeof p->mask, p->mask) <= 0) return 0;
    for (size_t i = 0; i < 8 * sizeof p->mask; ++i)
        count += (p->mask[i / (8 * sizeof(long))] & alo_cpu_bit(i)) != 0;
    return count;
}

/* Let a thread (0: this one) have CPU `seat` of the mask alone; -1: all of them, as before. */
static void alo_sit(const alore_pool *p, long thread, int seat) {
    unsigned long to[ALO_MASK] = {0};
    const bool all = seat < 0;
    for (size_t i = 0; i < 8 * sizeof to; ++i)
        if (p->mask[i / (8 * sizeof(long))] & alo_cpu_bit(i) && (all || !seat--))
            to[i / (8 * sizeof(long))] |= alo_cpu_bit(i);
    (void)syscall(SYS_sched_setaffinity, thread, sizeof to, to);
}

static long alo_thread(void) { return syscall(SYS_gettid); }
#else
static int alo_cpus(alore_pool *p) { return (void)p, 0; }
static void alo_sit(const alore_pool *p, long thread, int seat) { (void)p, (void)thread, (void)seat; }
static long alo_thread(void) { return 0; }
#endif

static void alo_pool_take(alore_pool *p) {
    for (int i = 0; i < ALO_TRIES; ++i) {
        if (ALO_TRY(&p->lock)) return;
        ALO_PAUSE();
    }
    ALO_TAKE(&p->lock);
}

/* Give the lock, and have it again when a batch is closed (its caller) or opened (a worker). */
static void alo_pool_wait(alore_pool *p, bool caller) {
    unsigned *word = caller ? &p->closed : &p->opened;
    const unsigned old = *word;
    const bool spins = caller || p->spinning < p->spinners;
    int *spinning = &p->spinning, *asleep = caller ? &p->resting : &p->asleep;
    *spinning += spins && !caller;
    ALO_GIVE(&p->lock);
    for (int i = 0; spins && i < ALO_PAUSES + ALO_YIELDS && ALO_LOAD(word) == old; ++i) {
        if (i < ALO_PAUSES) ALO_PAUSE();
        if (i >= ALO_PAUSES) ALO_YIELD();
    }
    alo_pool_take(p);
    *spinning -= spins && !caller;
    ++*asleep;
    while (*word == old) ALO_WAIT(&p->news, &p->lock);
    --*asleep;
}

/* Holding the lock between tasks: work and wait until the batch is done (its caller) or the pool is over. */
static void alo_pool_serve(alore_pool *p, bool caller) {
    while (caller ? p->done < p->tasks : !p->over) {
        if (p->taken < p->tasks) {
            int i = p->taken++;
            ALO_GIVE(&p->lock);
            p->task(p->arg, i);
            alo_pool_take(p);
            if (++p->done < p->tasks) continue;
            ALO_STORE(&p->closed, p->closed + 1);
            if (p->resting) ALO_TELL(&p->news);
        } else
            alo_pool_wait(p, caller);
    }
}

static ALO_OS(void *, DWORD WINAPI, int) alo_pool_work(void *pool) {
    alore_pool *p = (alore_pool *)pool;
    ALO_TAKE(&p->lock);
    ++p->begun;
    if (p->pinned) alo_sit(p, 0, p->begun);
    alo_pool_serve(p, false);
    ALO_GIVE(&p->lock);
    return 0;
}

ALORE_API void alore_pool_destroy(alore_pool *p) {
    if (!p) return;
    if (p->ready) {
        ALO_TAKE(&p->lock);
        p->over = true;
        ALO_STORE(&p->opened, p->opened + 1);
        ALO_TELL(&p->news);
        ALO_GIVE(&p->lock);
        for (int i = 0; i < p->count; ++i) ALO_JOIN(p->workers[i]);
        ALO_DROP(&p->lock, &p->news);
    }
    if (p->pinned) alo_sit(p, p->pinned, -1);
    if (p->object.ctx->pool == p) p->object.ctx->pool = NULL;
    alo_object_free(&p->object);
}

static void alo_pool_destroy(alo_object *o) { alore_pool_destroy((alore_pool *)(void *)o); }

ALORE_API alore_status alore_pool_create(alore_ctx *ctx, int threads, alore_pool **out) {
    if (!ctx || !out) return ALORE_ERR_ARGUMENT;
    if (threads < 0 || threads > 1024)
        return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "%d threads, not 0 to 1024", threads);
    alore_pool *p = (alore_pool *)(void *)alo_object_new(ctx, sizeof *p, alo_pool_destroy);
    if (!p) return ctx->error.status;
    p->ready = threads > 1 && ALO_MAKE(&p->lock, &p->news);
    if (p->ready) {
        const int cpus = alo_cpus(p);
        ALO_TAKE(&p->lock);
        while (p->count < threads - 1 && ALO_START(p->workers[p->count], alo_pool_work, p)) ++p->count;
        p->spinners = cpus ? cpus - 1 : p->count;
        if (ctx->config.pin && cpus == p->count + 1) p->pinned = alo_thread();
        if (p->pinned) alo_sit(p, 0, 0);
        ALO_GIVE(&p->lock);
    }
    if (p->count < threads - 1 && ctx->config.log) {
        char line[96];
        alo_text text = {line, sizeof line, 0};
        alo_print(&text, "%d of %d threads run", p->count + 1, threads);
        ctx->config.log(ctx->config.user, 1, line);
    }
    *out = p;
    return ALORE_OK;
}

ALORE_API void alore_pool_run(void *pool, alore_task task, void *arg, int tasks) {
    alore_pool *p = (alore_pool *)pool;
    bool alone = true;
    if (p && p->count && tasks > 1) {
        alo_pool_take(p);
        alone = p->tasks > 0;
        if (!alone) {
            p->task = task;
            p->arg = arg;
            p->tasks = tasks;
            ALO_STORE(&p->opened, p->opened + 1);
            const int wanted = tasks - 1 - p->spinning, calls = wanted < p->asleep ? wanted : p->asleep;
            if (calls > 0) ALO_GIVE(&p->lock);
            for (int i = 0; i < calls; ++i) ALO_WAKE(&p->news);
            if (calls > 0) alo_pool_take(p);
            alo_pool_serve(p, true);
            p->tasks = p->taken = p->done = 0;
        }
        ALO_GIVE(&p->lock);
    }
    for (int i = 0; alone && i < tasks; ++i) task(arg, i);
}

/* Run tasks by the hook, by the context's pool, or on the calling thread. */
static void alo_parallel(alore_ctx *ctx, alore_task task, void *arg, int tasks) {
    const alore_parallel own = {alore_pool_run, ctx->pool}, *hook = &ctx->config.parallel;
    if (!hook->run || tasks < 2) hook = &own;
    hook->run(hook->user, task, arg, tasks);
}

/* ---- What the CPU has, by its own words: a compiler's builtin would ask for a library ---- */
#ifdef ALO_X86
static void alo_cpuid(uint32_t leaf, uint32_t part, uint32_t *r) {
    __asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(part));
}
#endif

#ifndef ALO_CPU_SEEN /* what a test takes the CPU for */
#define ALO_CPU_SEEN(has) (has)
#endif

/* The levels of this CPU that are built in, as bits 1 << isa, and ALO_OWN_ bits << 8. */
static unsigned alo_cpu(void) {
    unsigned has = 1u << ALORE_ISA_SCALAR;
#ifdef ALO_X86
    uint32_t r[4], low, high, most;
    alo_cpuid(0, 0, r);
    most = r[0];
    const unsigned amd = r[1] == 0x68747541u; /* "Auth" */
    alo_cpuid(1, 0, r);
    if (most < 7 || !(r[2] >> 27 & 1)) return has; /* no xgetbv */
    const bool fma = r[2] >> 12 & 1;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    alo_cpuid(7, 0, r);
    if (fma && (low & 6) == 6 && r[1] >> 5 & 1) has |= 1u << ALORE_ISA_AVX2;
    if (has & 1u << ALORE_ISA_AVX2 && (low & 0xe6) == 0xe6 && (r[1] & 0xc0030000u) == 0xc0030000u)
        has |= 1u << ALORE_ISA_AVX512 | (r[2] >> 11 & 1) << 9;
    /* Dot products of bf16: on AMD's as quick as f32's products, on Intel's a fourth, so that there they are
     * widened: gemm 197 x 768 x 2304 at 172 GFLOP/s instead of 90. */
    if (has >> ALORE_ISA_AVX512 & 1) alo_cpuid(7, 1, r), has |= (r[0] >> 5 & amd) << 8;
#elif defined(ALO_ARM)
    has |= 1u << ALORE_ISA_NEON;
#ifdef __linux__ /* ASIMDDP, BF16: by Arm's optimisation guides two or four products in the time of one */
    has |= (unsigned)(getauxval(16) >> 20 & 1) << 9 | (unsigned)(getauxval(26) >> 14 & 1) << 8;
#endif
#ifdef __ARM_FEATURE_DOTPROD
    has |= (unsigned)ALO_OWN_I8 << 8;
#endif
#ifdef __ARM_FEATURE_BF16_VECTOR_ARITHMETIC
    has |= (unsigned)ALO_OWN_BF16 << 8;
#endif
#endif
    return ALO_CPU_SEEN(has);
}

static alore_isa alo_best_isa(void) {
    const unsigned has = alo_cpu();
    int best = ALORE_ISA_NEON;
    while (!(has >> best & 1)) --best;
    return (alore_isa)best;
}

ALORE_API const char *alore_isa_name(alore_isa isa) {
    static const char *const names[] = {"", "scalar", "avx2", "avx512", "neon"};
    if (isa == ALORE_ISA_AUTO) isa = alo_best_isa();
    return isa > ALORE_ISA_AUTO && isa <= ALORE_ISA_NEON && alo_cpu() >> isa & 1 ? names[isa] : NULL;
}

#ifndef ALORE_NO_MALLOC
/* The byte before the block tells how far it lies behind malloc's: 1 to `align`, which is at most 128. */
static void *alo_malloc(void *user, size_t bytes, size_t align) {
    (void)user;
    unsigned char *whole = (unsigned char *)malloc(bytes + align);
    if (!whole) return NULL;
    size_t shift = align - (uintptr_t)whole % align;
    whole[shift - 1] = (unsigned char)shift;
    return whole + shift;
}

static void alo_malloc_free(void *user, void *block, size_t bytes) {
    (void)user;
    (void)bytes;
    free((unsigned char *)block - ((unsigned char *)block)[-1]);
}
#endif

ALORE_API alore_status alore_init(alore_ctx *ctx, const alore_config *config) {
    if (!ctx) return ALORE_ERR_ARGUMENT;
    memset(ctx, 0, sizeof *ctx);
    ctx->error.record = -1;
    if (config) ctx->config = *config;
    alore_allocator *a = &ctx->config.allocator;
#ifndef ALORE_NO_MALLOC
    const alore_allocator own = {alo_malloc, alo_malloc_free, a->user};
    if (!a->alloc && !a->release) *a = own;
#endif
    if (!a->alloc || !a->release)
        return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "an allocator needs both hooks, alloc and release");
    if (!alore_isa_name(ctx->config.isa))
        return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "isa %d: this CPU, or this build, has not got it",
                        (int)ctx->config.isa);
    if (!ctx->config.isa) ctx->config.isa = alo_best_isa();
    int threads = ctx->config.threads, poolless = ctx->config.parallel.run ? 1024 : 1;
    if (threads >= 0 && threads <= poolless) return ALORE_OK;
    return alore_pool_create(ctx, threads, &ctx->pool);
}

ALORE_API void alore_uninit(alore_ctx *ctx) {
    if (!ctx) return;
    while (ctx->objects) ctx->objects->destroy(ctx->objects);
    memset(ctx, 0, sizeof *ctx);
}

/* ============================================================================
 * >> 05 records
 * A network is two flat lists: tensors and ops, both plain data with indices. All that is known of an op
 * stands in ALO_KERNELS: its forward kernel and its pieces, with what each reads and writes:
 *     a..f  the op's inputs 0..5          g  the gradient of output y
 *     y z   the op's outputs 0..1         t u  tensors that pieces hand on
 *     A..F  the gradients of inputs 0..5  m  what fusing multiplies into the result
 * A piece is emitted if one of the gradients it writes is needed, or if a later emitted piece reads a t
 * or u that it writes. Nothing is saved for backward: a tensor lives as long as a record reads it. */

/* clang-format off */
enum {                     /* segments: where a tensor's bytes are                  */
    ALO_NOWHERE, ALO_BASE, /* the checkpoint's; offset: index of the base tensor    */
    ALO_PARAM,             /* learns; offset in the flat array, in elements         */
    ALO_FROZEN,            /* in the adapter file, does not learn                   */
    ALO_GRAD,              /* of a parameter or of a once tensor, one per slot      */
    ALO_ONCE,              /* made once a step                                      */
    ALO_IO, ALO_ARENA      /* inputs and outputs of the batch; a lane's             */
};

enum {                     /* flags of a tensor                                     */
    ALO_PER_SAMPLE = 1,    /* rows of one sample; else one for all samples          */
    ALO_INPUT = 2, ALO_OUTPUT = 4, ALO_LEARNS = 8,
    ALO_VIEW = 16,         /* shares the storage of `root`                          */
    ALO_RESHAPED = 32      /* a view with other extents, whole                      */
};

typedef struct alo_tensor {
    uint8_t  segment, dtype;
    uint16_t flags;
    int32_t  rows, cols, ld;   /* rows of one sample, if per sample; ld in elements */
    int32_t  name;             /* offset in the string table, 0: anonymous          */
    int32_t  root, column;     /* of a view: whose storage, from which column on    */
    uint64_t offset;           /* inside its segment; the planner writes it         */
} alo_tensor;

enum { ALO_IN = 6, ALO_OUT = 3, ALO_OPERANDS = ALO_IN + ALO_OUT };
enum { ALO_ADD_0 = 1 };        /* flag of an op, << k: output k is added to         */

typedef struct alo_op {
    uint16_t code;             /* a kernel: index into alo_kernel_rows              */
    uint16_t flags;            /* ALO_ADD_0 << k                                    */
    int32_t  in[ALO_IN], out[ALO_OUT]; /* tensors, 0: absent                        */
    int32_t  attr;             /* index of its constants                            */
    int32_t  site;             /* for messages and random streams, -1: none         */
    int32_t  block;            /* unit of recomputation, -1: outside                */
} alo_op;

typedef struct alo_attr {      /* constants of an op; each op names those it reads  */
    float          x, y;       /* eps, factor, probability, smoothing               */
    int32_t        n, m, p, q; /* heads, first, count, terms ...                    */
    uint64_t       stream;     /* of the random numbers                             */
    const int32_t *table;      /* gather: rows; owned by the model                  */
    const float   *values;     /* attention's mask, cast's mean and deviation       */
} alo_attr;

struct alore_call {            /* what a kernel sees; on the executor's stack       */
    void             *p[ALO_OPERANDS]; /* the operands, resolved; NULL: absent      */
    const alo_tensor *t[ALO_OPERANDS]; /* in[0..5], then out[0..2]                  */
    const alo_attr   *attr;
    const void       *rows_fn; /* alo_row_kernels of this level                    */
    void             *scratch; /* as many bytes as the kernel's row asks for        */
    void             *user;    /* the backend's                                     */
    const void       *extra;   /* optimisers: their settings                        */
    uint64_t          seed, step, sample; /* of the first here, since the last step */
    int               samples; /* per-sample operands have samples * rows rows      */
    uint16_t          flags;
    uint8_t           form, own; /* ALO_PACK_ of operand 1 (see product); ALO_OWN_ bits */
};

/* A forward kernel, then its pieces: name, reads, writes, what output 0 may overwrite, how, by what. */
#define ALO_KERNELS(X) \
    X(cast,            "a",      "y",   "",    each,  cast) \
    X(matmul,          "abcd",   "yz",  "d",   whole, matmul) \
    X(matmul_da,       "gbm",    "A",   "",    whole, matmul_da) \
    X(matmul_db,       "ga",     "B",   "",    whole, matmul_db) \
    X(matmul_dc,       "g",      "C",   "",    each,  uses) \
    X(kron,            "abcd",   "yz",  "",    whole, kron) \
    X(kron_mix,        "gbcd",   "tu",  "",    whole, kron_mix) \
    X(kron_dx,         "uc",     "A",   "",    whole, kron_dx) \
    X(kron_ds,         "zt",     "B",   "",    whole, kron_ds) \
    X(kron_dd,         "au",     "C",   "",    whole, kron_dd) \
    X(kron_du,         "gzb",    "D",   "",    whole, kron_du) \
    X(norm,            "abc",    "yz",  "a",   rowwise, norm) \
    X(norm_dx,         "gabz",   "A",   "g",   rowwise, norm_dx) \
    X(norm_dgain,      "gaz",    "BC",  "",    whole, norm_dgain) \
    X(affine,          "abc",    "y",   "a",   each,  affine) \
    X(affine_dx,       "gb",     "A",   "g",   each,  uses) \
    X(affine_dgain,    "ga",     "B",   "",    each,  uses) \
    X(affine_dshift,   "g",      "C",   "",    each,  uses) \
    X(attention,       "abcd",   "yz",  "",    whole, attention) \
    X(attention_dqkv,  "gabczd", "ABC", "",    whole, attention_dqkv) \
    X(attention_dbias, "gabczd", "D",   "",    whole, attention_dbias) \
    X(dwconv,          "abc",    "y",   "",    each,  dwconv) \
    X(dwconv_dx,       "gb",     "A",   "",    each,  dwconv_dx) \
    X(dwconv_dw,       "ga",     "B",   "",    each,  dwconv_dw) \
    X(dwconv_db,       "g",      "C",   "",    each,  uses) \
    X(unary,           "a",      "y",   "a",   each,  unary) \
    X(unary_dx,        "ga",     "A",   "g",   each,  unary_dx) \
    X(add,             "ab",     "y",   "ab",  each,  add) \
    X(add_da,          "g",      "A",   "",    each,  uses) \
    X(add_db,          "g",      "B",   "",    each,  uses) \
    X(mul,             "ab",     "y",   "ab",  each,  mul) \
    X(mul_da,          "gb",     "A",   "g",   each,  uses) \
    X(mul_db,          "ga",     "B",   "g",   each,  uses) \
    X(scale,           "a",      "y",   "a",   each,  scale) \
    X(scale_dx,        "g",      "A",   "g",   each,  scale) \
    X(add_columns,     "ab",     "y",   "a",   each,  add_columns) \
    X(add_columns_da,  "g",      "A",   "",    each,  uses) \
    X(add_columns_db,  "g",      "B",   "",    each,  add_columns_db) \
    X(gather,          "a",      "y",   "",    each,  gather) \
    X(gather_dx,       "g",      "A",   "",    whole, gather_dx) \
    X(pick,            "a",      "y",   "",    each,  pick) \
    X(pick_dx,         "g",      "A",   "",    rowwise, pick_dx) \
    X(inverse,         "a",      "y",   "",    whole, inverse) \
    X(inverse_dx,      "gy",     "A",   "",    whole, inverse_dx) \
    X(over_lengths,    "ab",     "y",   "",    rowwise, over_lengths) \
    X(over_lengths_da, "gb",     "A",   "",    rowwise, over_lengths) \
    X(scatter,         "abc",    "y",   "",    whole, scatter) \
    X(scatter_da,      "g",      "A",   "",    each,  uses) \
    X(scatter_db,      "gc",     "B",   "",    whole, scatter_db) \
    X(sparse,          "abc",    "y",   "",    rowwise, sparse) \
    X(sparse_da,       "gbc",    "A",   "",    rowwise, sparse_da) \
    X(sparse_db,       "gac",    "B",   "",    whole, sparse_db) \
    X(concat,          "ab",     "y",   "",    each,  concat) \
    X(concat_da,       "g",      "A",   "",    each,  concat_da) \
    X(concat_db,       "g",      "B",   "",    each,  concat_db) \
    X(mean_rows,       "a",      "y",   "",    each,  mean_rows) \
    X(mean_rows_dx,    "g",      "A",   "",    each,  mean_rows_dx) \
    X(dropout,         "a",      "y",   "a",   each,  dropout) \
    X(dropout_dx,      "g",      "A",   "g",   each,  dropout) \
    X(drop_path,       "ab",     "y",   "ab",  rowwise, drop_path) \
    X(drop_path_dx,    "g",      "A",   "g",   rowwise, drop_path) \
    X(xent,            "ab",     "y",   "",    each,  xent) \
    X(xent_dx,         "gab",    "A",   "",    rowwise, xent_dx) \
    X(mse,             "ab",     "y",   "",    each,  mse) \
    X(mse_dx,          "gab",    "A",   "",    each,  mse_dx) \
    X(copy,            "a",      "y",   "",    each,  uses) \
    X(zero,            "",       "y",   "",    each,  zero) \
    X(narrow,          "a",      "y",   "",    rowwise, narrow) \
    X(widen,           "a",      "y",   "",    each,  widen) \
    X(sumsq,           "",       "",    "",    whole, sumsq) \
    X(adamw,           "",       "",    "",    whole, adamw) \
    X(sgd,             "",       "",    "",    whole, sgd)

enum { ALO_HOW_whole, ALO_HOW_each, ALO_HOW_rowwise };
typedef struct alo_kernel_row { const char *name, *reads, *writes, *over; int how; } alo_kernel_row;
/* clang-format on */
#define ALO_KERNEL_CODE(name, reads, writes, over, how, by) ALO_K_##name,
enum { ALO_KERNELS(ALO_KERNEL_CODE) ALO_K_COUNT };
#define ALO_KERNEL_ROW(name, reads, writes, over, how, by) {#name, reads, writes, over, ALO_HOW_##how},
static const alo_kernel_row alo_kernel_rows[ALO_K_COUNT] = {ALO_KERNELS(ALO_KERNEL_ROW)};

/* ============================================================================
 * >> 06 calls
 * What every kernel needs of its call, whatever the type of its numbers: where the elements of an operand
 * lie, what adds and what stores, and the random masks. An operand with one row or one column repeats it,
 * one that is not per sample serves every sample. The gradient of what repeats is the sum over its uses. */

/* clang-format off */
typedef double alo_sum_t;               /* in which sums are made                                    */
enum { ALO_Y = ALO_IN, ALO_Z, ALO_X };  /* a call's outputs 0..2 as operands                         */
enum { ALO_ALL = -1 };                  /* as a sample: the rows of all samples, as one matrix       */
enum { ALO_PANEL = 32 };                /* most columns of a packed panel (see product)              */
enum { ALO_PACK_NONE, ALO_PACK_F32, ALO_PACK_BF16, ALO_PACK_I8, ALO_OWN }; /* forms of panels        */
enum { ALO_OWN_BF16 = 1, ALO_OWN_I8 = 2 }; /* dot products that the CPU itself has, and that pay       */
enum { ALO_DEEP = 768, ALO_HIGH = 240 };/* terms and rows of a product's block                       */
enum { ALO_SLIM = 64 };                 /* up to this extent a product reads its factors in place    */
enum { ALO_BAND = 64 };                 /* rows that kron holds in scratch at once                   */
enum { ALO_QUERIES = 24, ALO_SCORES = 1 << 16 }; /* attention: rows at once, scores in the second cache */

typedef struct alo_step_args {          /* `extra` of sumsq, adamw and sgd                           */
    size_t     count;                   /* numbers                                                   */
    alo_sum_t  grad_scale;              /* of every gradient as it is read: mean and clip            */
    alo_sum_t  lr, decay, eps, momentum, beta1, beta2;
    alo_sum_t  correct1, correct2;      /* 1 - beta1^t, 1 - beta2^t                                  */
    bool       nesterov;
    alo_sum_t *sum;                     /* sumsq adds to it                                          */
} alo_step_args;

typedef struct alo_walk {               /* an element of output 0                                    */
    const alore_call *c;
    int s, r, j, samples, rows, cols;   /* sample, row of it, column; how many                       */
    int left;                           /* rows of all samples that are still to come                */
    bool fresh;                         /* no row was visited                                        */
    ptrdiff_t at[ALO_OPERANDS], down[ALO_OPERANDS]; /* where the row of each operand begins, row to row */
    int step[ALO_OPERANDS];             /* from one column of it to the next: 0 where one repeats    */
    bool add;
} alo_walk;

typedef struct alo_mat {                /* a matrix by its strides: to transpose is to swap          */
    void     *p;                        /* NULL: absent                                              */
    ptrdiff_t at, row, col;             /* element (0, 0), row to row, column to column              */
    int       rows, cols;
} alo_mat;

typedef struct alo_job {                /* y = f(start + a b + bias + plus) times, what follows a product */
    alo_mat      y, a, b, start, plus, slope, times; /* slope: f' of it. Absent: 0, none, 1          */
    const float *bias;                  /* a row, or NULL                                            */
    int          act, form, own;        /* 0 or 1 + kind; ALO_PACK_ of b; ALO_OWN_ bits              */
    bool         turned, follows;       /* b is the transpose of what is packed; more than start + a b */
} alo_job;

/* Terms in a word of a form. */
static int alo_terms(int form) { return form == ALO_PACK_BF16 ? 2 : form == ALO_PACK_I8 ? 4 : 1; }

typedef struct alo_row_kernels {        /* what kernels ask of a level of the CPU                    */
    void (*product)(alo_mat y, alo_mat a, alo_mat b, bool add, void *scratch);
    /* Rows cut into blocks of `width` numbers, e [blocks of x, blocks of y] such blocks:    */
    void (*mix)(alo_mat y, alo_mat x, alo_mat e, int width);  /* y[q] = sum_a e[a,q] x[a]    */
    void (*meet)(alo_mat e, alo_mat x, alo_mat y, int width); /* e[a,q] = sum_rows x[a] y[q] */
} alo_row_kernels;

typedef struct alo_fast { int code; alore_kernel kernel; } alo_fast;

typedef struct alo_level {              /* a level of the CPU                                        */
    alo_row_kernels rows;
    const alo_fast *fast;               /* what it has for the reference's                           */
    size_t          fast_count;
    int             panel;              /* columns of a packed panel                                 */
    void (*pack)(int form, float *to, const float *from, int n, int in);
} alo_level;
/* clang-format on */

/* How often operand `i` is there: once for each sample, or once. */
static int alo_copies(const alore_call *c, int i) { return c->t[i]->flags & ALO_PER_SAMPLE ? c->samples : 1; }

/* Where row `r` of sample `s` begins, in elements. */
static ptrdiff_t alo_begin(const alo_tensor *t, int s, int r) {
    const int sample = t->flags & ALO_PER_SAMPLE ? s : 0, row = t->rows == 1 ? 0 : r;
    return ((ptrdiff_t)sample * t->rows + row) * t->ld;
}

/* Output `out` is added to: by its flag, or as it sums over the samples. */
static bool alo_adds(const alore_call *c, int out, int s) {
    return (c->flags >> (out - ALO_Y) & 1) || (s > 0 && !(c->t[out]->flags & ALO_PER_SAMPLE));
}

/* for (alo_walk w = alo_walk_rows(c, first, last); alo_next(&w);) visits these rows of output 0, of which the
 * samples' stand one behind the other; alo_walk_start(c) all of them. */
static alo_walk alo_walk_rows(const alore_call *c, int first, int last) {
    const int rows = c->t[ALO_Y]->rows, r = first % rows;
    alo_walk w = {c, first / rows - (r == 0), r - 1, 0, alo_copies(c, ALO_Y), rows, c->t[ALO_Y]->cols,
                  last - first, true, {0}, {0}, {0}, alo_adds(c, ALO_Y, 0)};
    for (int i = 0; i < ALO_OPERANDS; ++i) {
        w.step[i] = c->t[i] && c->t[i]->cols > 1;
        w.down[i] = c->t[i] && c->t[i]->rows > 1 ? c->t[i]->ld : 0;
    }
    return w;
}
static alo_walk alo_walk_start(const alore_call *c) {
    return alo_walk_rows(c, 0, c->t[ALO_Y]->rows * alo_copies(c, ALO_Y));
}

static ALO_INLINE bool alo_go_on(alo_walk *w) {
    const bool down = !w->fresh && w->r + 1 < w->rows;
    if (w->left-- <= 0) return false;
    w->fresh = false;
    w->r = w->r + 1 < w->rows ? w->r + 1 : 0;
    w->s += w->r == 0;
    if (down)
        for (int i = 0; i < ALO_OPERANDS; ++i) w->at[i] += w->down[i];
    else
        for (int i = 0; i < ALO_OPERANDS; ++i)
            if (w->c->t[i]) w->at[i] = alo_begin(w->c->t[i], w->s, w->r);
    return true;
}
static bool alo_next(alo_walk *w) { return alo_go_on(w); }

/* Operand `i` of sample `s`, or of all samples for ALO_ALL. */
static alo_mat alo_mat_at(const alore_call *c, int i, int s) {
    static const alo_mat absent = {NULL, 0, 0, 0, 0, 0};
    const alo_tensor *t = c->t[i];
    if (!c->p[i]) return absent;
    const int first = s == ALO_ALL ? 0 : s, samples = s == ALO_ALL ? alo_copies(c, i) : 1;
    const alo_mat a = {c->p[i], alo_begin(t, first, 0), t->ld, 1, t->rows * samples, t->cols};
    return a;
}

/* A matrix in scratch, behind the panel of products with inner extents <= k and `skip` numbers. */
static alo_mat alo_own(const alore_call *c, int k, ptrdiff_t skip, int rows, int cols) {
    const alo_mat a = {c->scratch, (ptrdiff_t)ALO_PANEL * k + skip, cols, 1, rows, cols};
    return a;
}

static alo_mat alo_flip(alo_mat a) {
    const alo_mat t = {a.p, a.at, a.col, a.row, a.cols, a.rows};
    return t;
}
static alo_mat alo_flip_if(alo_mat a, bool flipped) { return flipped ? alo_flip(a) : a; }

/* Block `i` of `count` equal blocks of columns. */
static alo_mat alo_mat_cut(alo_mat a, int i, int count) {
    a.cols /= count;
    a.at += i * a.cols * a.col;
    return a;
}

/* Rows first .. first+rows-1, fewer where `a` ends before. */
static alo_mat alo_band(alo_mat a, int first, int rows) {
    a.at += first * a.row;
    a.rows = rows < a.rows - first ? rows : a.rows - first;
    return a;
}

#ifdef ALORE_BLAS
/* How BLAS reads a: *flip, whether as the transpose of what lies in memory, and *ld from line to line. */
static bool alo_blas_reads(alo_mat a, bool *flip, int *ld) {
    *flip = a.col != 1;
    if (*flip) a = alo_flip(a);
    *ld = (int)(a.rows > 1 ? a.row : a.cols);
    return a.col == 1 && *ld >= a.cols && (a.rows <= 1 || a.row == *ld);
}

/* Columns col .. col+n-1 of y = start + a b, by BLAS. False: one of them has no form that BLAS knows. */
static bool alo_blas(const alo_job *o, int col, int n) {
    alo_mat y = o->y, b = o->b;
    bool flip_a, flip_b, flip_y;
    int lda, ldb, ldy;
    b.at += col * b.col, b.cols = n;
    y.at += col * y.col, y.cols = n;
    if (o->form || !alo_blas_reads(o->a, &flip_a, &lda) || !alo_blas_reads(b, &flip_b, &ldb)) return false;
    if (y.col != 1 || !alo_blas_reads(y, &flip_y, &ldy)) return false;
    float *to = (float *)y.p + y.at;
    const float *start = o->start.p ? (const float *)o->start.p + o->start.at + col * o->start.col : NULL;
    for (int i = 0; start && start != to && i < y.rows; ++i)
        for (int j = 0; j < n; ++j) to[i * y.row + j] = start[i * o->start.row + j * o->start.col];
    cblas_sgemm(CblasRowMajor, flip_a ? CblasTrans : CblasNoTrans, flip_b ? CblasTrans : CblasNoTrans, y.rows,
                n, o->a.cols, 1.0f, (const float *)o->a.p + o->a.at, lda, (const float *)b.p + b.at, ldb,
                start ? 1.0f : 0.0f, to, ldy);
    return true;
}
#endif

/* y (+)= a b. Products write contiguous columns: where y's are not, y^T (+)= b^T a^T. */
static void alo_times(const alore_call *c, alo_mat y, alo_mat a, alo_mat b, bool add) {
    const alo_row_kernels *fn = (const alo_row_kernels *)c->rows_fn;
    if (y.col == 1)
        fn->product(y, a, b, add, c->scratch);
    else
        fn->product(alo_flip(y), alo_flip(b), alo_flip(a), add, c->scratch);
}

/* Rows of scores that the pieces of attention hold at once: balanced blocks. */
static int alo_attention_rows(int rows, int keys) {
    const int most = ALO_SCORES / keys > 2 * ALO_QUERIES ? ALO_SCORES / keys : 2 * ALO_QUERIES;
    const int blocks = (rows + most - 1) / most;
    return (rows + blocks - 1) / blocks;
}

/* Tasks of attention or its pieces: heads of windows, of each sample where none adds to another's outputs. */
static int alo_attention_tasks(const alo_tensor *const t[], const alo_attr *attr, int samples) {
    const int windows = attr->m ? t[1]->rows / attr->m : 1;
    bool apart = true;
    for (int i = ALO_Y; i < ALO_OPERANDS; ++i) apart = apart && (!t[i] || t[i]->flags & ALO_PER_SAMPLE);
    return attr->n * windows * (apart ? samples : 1);
}

/* Number of sample `s` of output 0 in the stream of samples. */
static uint64_t alo_sample(const alore_call *c, int s) {
    return c->t[ALO_Y]->flags & ALO_PER_SAMPLE ? c->sample + (uint64_t)s : 0;
}

/* The random numbers of this op at this step; those below the bound drop. */
static uint64_t alo_mask_stream(const alore_call *c) {
    uint64_t stream = c->attr->stream ^ (c->step + 1) * UINT64_C(0x9e3779b97f4a7c15);
    stream = (stream ^ stream >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    return stream ^ stream >> 31;
}
static uint64_t alo_mask_bound(const alore_call *c) { return (uint64_t)(c->attr->x * 4294967296.0f); }

/* Mask number `index` of this op at this step: 0 with probability p = attr.x, else 1/(1-p). */
static alo_sum_t alo_mask(const alore_call *c, uint64_t index) {
    const bool drops = alore_random_u32(c->seed, alo_mask_stream(c), index) < alo_mask_bound(c);
    return drops ? 0 : 1 / (1 - (alo_sum_t)c->attr->x);
}

#endif /* ALORE_IMPLEMENTATION */
#endif /* ALO_STAMP */

#ifdef ALO_IMPLEMENTING
#if !defined(ALO_STAMP) || ALO_STAMP == 1
#ifdef ALO_STAMP /* the header includes itself, from below, for this */
#define real           double
#define ALO_F(name)    alo_##name##_f64
#define ALO_MATH(name) name
#else
#define real           float
#define ALO_F(name)    alo_##name##_f32
#define ALO_MATH(name) alo_##name
#endif

/* ============================================================================
 * >> 07 reference ops
 * The definition of every op: plain loops, sums in double, forward and pieces side by side, each derivative
 * with its line of algebra. The text is compiled once with `real` = float and once with `real` = double;
 * ALO_F(name) is the name's form of that type. ALO_KERNELS tells who does a kernel: `each`, a formula for
 * every element of output 0, which is stored or added; `rowwise`, a function for every row of output 0;
 * `whole`, one for the whole call. In the comments dX is the gradient of X, g that of y; operands follow
 * the letters of ALO_KERNELS, in[0] first. Rows are those of one sample. */

/* clang-format off */
/* Row `r` of sample `s` of operand `i`; NULL where it is absent. */
static real *ALO_F(row)(const alore_call *c, int i, int s, int r) {
    return c->p[i] ? (real *)c->p[i] + alo_begin(c->t[i], s, r) : NULL;
}

/* Column `j` of it, as it repeats. */
static alo_sum_t ALO_F(get)(const alore_call *c, int i, int s, int r, int j) {
    return (alo_sum_t)ALO_F(row)(c, i, s, r)[c->t[i]->cols == 1 ? 0 : j];
}

/* Operand `i` where the walk is: as a term 0, as a factor 1 where it is absent. */
static alo_sum_t ALO_F(term)(const alo_walk *w, int i) {
    return w->c->p[i] ? (alo_sum_t)((const real *)w->c->p[i])[w->at[i] + w->j * w->step[i]] : 0;
}
static alo_sum_t ALO_F(factor)(const alo_walk *w, int i) { return w->c->p[i] ? ALO_F(term)(w, i) : 1; }

/* Store v in *y, or add it; the same in output 0 where the walk is. */
static void ALO_F(put)(real *y, alo_sum_t v, bool add) { *y = (real)(add ? (alo_sum_t)*y + v : v); }
static void ALO_F(out)(const alo_walk *w, alo_sum_t v) {
    ALO_F(put)((real *)w->c->p[ALO_Y] + w->at[ALO_Y] + w->j, v, w->add);
}

static inline void ALO_F(rowwise)(const alore_call *c, int first, int last, void (*row)(alo_walk *w)) {
    for (alo_walk w = alo_walk_rows(c, first, last); alo_next(&w);) row(&w);
}
static inline void ALO_F(each)(const alore_call *c, int first, int last,
                               alo_sum_t (*formula)(const alo_walk *w)) {
    for (alo_walk w = alo_walk_rows(c, first, last); alo_next(&w);)
        for (w.j = 0; w.j < w.cols; ++w.j) ALO_F(out)(&w, formula(&w));
}
static inline void ALO_F(whole)(const alore_call *c, int first, int last,
                                void (*kernel)(const alore_call *c)) {
    if (first < last) kernel(c);
}

/* Element (i, j) of a matrix: where it is, and what. */
static real *ALO_F(at)(alo_mat a, int i, int j) { return (real *)a.p + a.at + i * a.row + j * a.col; }
static alo_sum_t ALO_F(of)(alo_mat a, int i, int j) { return (alo_sum_t)*ALO_F(at)(a, i, j); }

/* y (+)= a b, as a level of the CPU may do better. */
static void ALO_F(product_plain)(alo_mat y, alo_mat a, alo_mat b, bool add, void *scratch) {
    (void)scratch;
    for (int i = 0; i < y.rows; ++i)
        for (int j = 0; j < y.cols; j += 8) { /* eight sums that do not wait for each other */
            const int n = y.cols - j < 8 ? y.cols - j : 8;
            const real *p = ALO_F(at)(a, i, 0), *q = ALO_F(at)(b, 0, j);
            alo_sum_t sum[8] = {0};
            if (n == 8)
                for (int e = 0; e < a.cols; ++e, p += a.col, q += b.row)
                    ALO_UNROLL for (int k = 0; k < 8; ++k) sum[k] += (alo_sum_t)*p * (alo_sum_t)q[k * b.col];
            else
                for (int e = 0; e < a.cols; ++e, p += a.col, q += b.row)
                    for (int k = 0; k < n; ++k) sum[k] += (alo_sum_t)*p * (alo_sum_t)q[k * b.col];
            for (int k = 0; k < n; ++k) ALO_F(put)(ALO_F(at)(y, i, j + k), sum[k], add);
        }
}

/* y[q] = sum_a e[a,q] x[a] by blocks of numbers, row by row; e[a,q] = sum over rows of x[a] y[q]. */
static void ALO_F(mix_plain)(alo_mat y, alo_mat x, alo_mat e, int width) {
    for (int row = 0; row < y.rows; ++row)
        for (int to = 0; to < e.cols * width; ++to) {
            alo_sum_t sum = 0;
            for (int a = 0; a < e.rows; ++a)
                sum += (alo_sum_t)ALO_F(at)(e, a, to / width)[to % width] *
                       ALO_F(of)(x, row, a * width + to % width);
            *ALO_F(at)(y, row, to) = (real)sum;
        }
}
static void ALO_F(meet_plain)(alo_mat e, alo_mat x, alo_mat y, int width) {
    for (int a = 0; a < e.rows; ++a)
        for (int to = 0; to < e.cols * width; ++to) {
            alo_sum_t sum = 0;
            for (int row = 0; row < x.rows; ++row)
                sum += ALO_F(of)(x, row, a * width + to % width) * ALO_F(of)(y, row, to);
            ALO_F(at)(e, a, to / width)[to % width] = (real)sum;
        }
}

static real ALO_F(largest)(const real *x, int count) {
    real most = x[0];
    for (int j = 1; j < count; ++j) most = x[j] > most ? x[j] : most;
    return most;
}

/* ---- uses: dX = g, or g b, summed over the uses of X ----
 * The piece of every operand that is added, multiplied or copied. b is operand 1, or absent. In
 * uses_in, X met `rows` x `cols` of y from (row, col) on; where X has only one, it met them all. */
static alo_sum_t ALO_F(uses_in)(const alo_walk *w, int row, int col, int rows, int cols) {
    const alore_call *c = w->c;
    const int s_end = w->samples == 1 ? alo_copies(c, 0) : w->s + 1;
    const int r_end = w->rows == 1 ? rows : w->r + 1, j_end = w->cols == 1 ? cols : w->j + 1;
    alo_sum_t sum = 0;
    for (int s = w->s; s < s_end; ++s)
        for (int r = w->r; r < r_end; ++r)
            for (int j = w->j; j < j_end; ++j)
                sum += ALO_F(get)(c, 0, s, row + r, col + j) * (c->p[1] ? ALO_F(get)(c, 1, s, r, j) : 1);
    return sum;
}
static alo_sum_t ALO_F(uses)(const alo_walk *w) {
    return ALO_F(uses_in)(w, 0, 0, w->c->t[0]->rows, w->c->t[0]->cols);
}

/* ---- add: y = a + b    mul: y = a b    scale: y = factor x    zero: y = value, mostly 0 ----
 * attr  x: the factor, the value. Either of a and b may have one row or one column, or be once for
 * all samples: it repeats. da = db = g;  da = g b, db = g a;  dx = factor g. */
static alo_sum_t ALO_F(add)(const alo_walk *w) { return ALO_F(term)(w, 0) + ALO_F(term)(w, 1); }
static alo_sum_t ALO_F(mul)(const alo_walk *w) { return ALO_F(term)(w, 0) * ALO_F(term)(w, 1); }
static alo_sum_t ALO_F(scale)(const alo_walk *w) { return (alo_sum_t)w->c->attr->x * ALO_F(term)(w, 0); }
static alo_sum_t ALO_F(zero)(const alo_walk *w) { return (alo_sum_t)w->c->attr->x; }

/* ---- narrow, widen: whole tensors as they wait for the backward, and back ----
 * bf16 keeps 8 bits, at most 2^-9 of a number off. A byte q stands for (q - 28) / 200, -0.14 to 1.135:
 * there lie the slopes of all activations (gelu and gelu_tanh -0.129 to 1.129, quick_gelu and silu -0.100 to
 * 1.100, relu and tanh 0 to 1, sigmoid 0 to 0.25), at most 0.0025 off; 0 and 1 are exact. */
static void ALO_F(narrow)(alo_walk *w) {
    const bool byte = w->c->t[ALO_Y]->dtype == ALORE_U8;
    for (w->j = 0; w->j < w->cols; ++w->j) {
        const float x = (float)ALO_F(term)(w, 0);
        const ptrdiff_t at = w->at[ALO_Y] + w->j;
        if (byte) ((uint8_t *)w->c->p[ALO_Y])[at] = (uint8_t)(alo_nearest((x - 0.5f) * 200) + 128);
        else ((uint16_t *)w->c->p[ALO_Y])[at] = alore_float_to_bfloat(x);
    }
}
static alo_sum_t ALO_F(widen)(const alo_walk *w) {
    const void *x = w->c->p[0];
    const ptrdiff_t at = w->at[0] + w->j;
    if (w->c->t[0]->dtype == ALORE_U8) return (alo_sum_t)(((const uint8_t *)x)[at] - 28) / 200;
    return (alo_sum_t)alore_bfloat_to_float(((const uint16_t *)x)[at]);
}

/* ---- affine: y = x gain + shift; gain, shift [1, cols], either absent ----
 * dx = g gain;  dgain = sum over rows of g x;  dshift = sum over rows of g. */
static alo_sum_t ALO_F(affine)(const alo_walk *w) {
    return ALO_F(term)(w, 0) * ALO_F(factor)(w, 1) + ALO_F(term)(w, 2);
}

/* ---- cast: y = (x / 255 - mean) / deviation; x [rows, 3] bytes, values: 3 means, 3 deviations ---- */
static alo_sum_t ALO_F(cast)(const alo_walk *w) {
    const real x = (real)((const uint8_t *)w->c->p[0] + alo_begin(w->c->t[0], w->s, w->r))[w->j];
    const float *values = w->c->attr->values + w->j % 3;
    return (alo_sum_t)((x / 255 - (real)values[0]) / (real)values[3]);
}

/* ---- add_columns: y = a, with b [rows, some] added to the columns from attr.n on ----
 * b's row may repeat. da = g;  db = those columns of g. */
static alo_sum_t ALO_F(add_columns)(const alo_walk *w) {
    const int j = w->j - w->c->attr->n;
    const bool inside = j >= 0 && j < w->c->t[1]->cols;
    return ALO_F(term)(w, 0) + (inside ? ALO_F(get)(w->c, 1, w->s, w->r, j) : 0);
}
static alo_sum_t ALO_F(add_columns_db)(const alo_walk *w) {
    return ALO_F(uses_in)(w, 0, w->c->attr->n, w->c->t[0]->rows, w->cols);
}

/* ---- concat: a's rows, then b's; da, db = the first and the last rows of g ---- */
static alo_sum_t ALO_F(concat)(const alo_walk *w) {
    const int top = w->c->t[0]->rows;
    return w->r < top ? ALO_F(term)(w, 0) : ALO_F(get)(w->c, 1, w->s, w->r - top, w->j);
}
static alo_sum_t ALO_F(concat_da)(const alo_walk *w) { return ALO_F(uses_in)(w, 0, 0, w->rows, w->cols); }
static alo_sum_t ALO_F(concat_db)(const alo_walk *w) {
    return ALO_F(uses_in)(w, w->c->t[0]->rows - w->rows, 0, w->rows, w->cols);
}

/* ---- gather: row i of y [n, m cols] is rows table[i m] .. table[i m + m-1] of a [any, cols] ----
 * attr  n, m, table; -1 is a row of zeros. da[table[i]] += g[i] for every entry; da is cleared first. */
static alo_sum_t ALO_F(gather)(const alo_walk *w) {
    const int cols = w->c->t[0]->cols, from = w->c->attr->table[w->r * w->c->attr->m + w->j / cols];
    return from < 0 ? 0 : ALO_F(get)(w->c, 0, w->s, from, w->j % cols);
}

static void ALO_F(gather_dx)(const alore_call *c) {
    const int m = c->attr->m, cols = c->t[ALO_Y]->cols;
    for (alo_walk w = alo_walk_start(c); !alo_adds(c, ALO_Y, 0) && alo_next(&w);)
        for (w.j = 0; w.j < w.cols; ++w.j) ALO_F(out)(&w, 0);
    for (int s = 0; s < alo_copies(c, 0); ++s)
        for (int e = 0; e < c->attr->n * m; ++e) {
            const int to = c->attr->table[e], from = e % m * cols;
            real *y = ALO_F(row)(c, ALO_Y, s, to < 0 ? 0 : to);
            for (int j = 0; to >= 0 && j < cols; ++j)
                ALO_F(put)(y + j, ALO_F(get)(c, 0, s, e / m, from + j), true);
        }
}

/* ---- pick: column j of y is column table[j] of a; da[:, table[j]] += g[:, j], cleared first ---- */
static alo_sum_t ALO_F(pick)(const alo_walk *w) {
    return ALO_F(get)(w->c, 0, w->s, w->r, w->c->attr->table[w->j]);
}
static void ALO_F(pick_dx)(alo_walk *w) {
    real *da = ALO_F(row)(w->c, ALO_Y, w->s, w->r);
    for (w->j = 0; w->j < w->cols && !w->add; ++w->j) da[w->j] = 0;
    for (int j = 0; j < w->c->t[0]->cols; ++j)
        ALO_F(put)(da + w->c->attr->table[j], ALO_F(get)(w->c, 0, w->s, w->r, j), true);
}

/* ---- inverse: y_h = (1 + a_h)^-1 for each square block h of columns; a, y [n, n blocks], once ----
 * By Gauss and Jordan; of a skew a_h no pivot is below 1, so they go in order. da_h = -y_h^T g_h y_h^T. */
static void ALO_F(inverse)(const alore_call *c) {
    const int n = c->t[0]->rows;
    double *x = (double *)c->scratch;
    for (int first = 0; first < c->t[0]->cols; first += n) {
        for (int i = 0; i < n * n; ++i)
            x[i] = (double)ALO_F(get)(c, 0, 0, i / n, first + i % n) + (i / n == i % n);
        for (int k = 0; k < n; ++k) {
            const double pivot = 1 / x[k * n + k];
            x[k * n + k] = 1;
            for (int j = 0; j < n; ++j) x[k * n + j] *= pivot;
            for (int i = 0; i < n; ++i) {
                const double times = x[i * n + k];
                if (i == k) continue;
                x[i * n + k] = 0;
                for (int j = 0; j < n; ++j) x[i * n + j] -= times * x[k * n + j];
            }
        }
        for (int i = 0; i < n * n; ++i)
            ALO_F(put)(ALO_F(row)(c, ALO_Y, 0, i / n) + first + i % n, (alo_sum_t)x[i],
                       alo_adds(c, ALO_Y, 0));
    }
}
static void ALO_F(inverse_dx)(const alore_call *c) {
    const int n = c->t[0]->rows;
    double *x = (double *)c->scratch; /* g y^T */
    for (int first = 0; first < c->t[0]->cols; first += n) {
        for (int i = 0; i < n * n; ++i) {
            x[i] = 0;
            for (int k = first; k < first + n; ++k)
                x[i] += (double)ALO_F(get)(c, 0, 0, i / n, k) * (double)ALO_F(get)(c, 1, 0, i % n, k);
        }
        for (int i = 0; i < n * n; ++i) {
            double sum = 0;
            for (int k = 0; k < n; ++k)
                sum -= (double)ALO_F(get)(c, 1, 0, k, first + i / n) * x[k * n + i % n];
            ALO_F(put)(ALO_F(row)(c, ALO_Y, 0, i / n) + first + i % n, (alo_sum_t)sum, alo_adds(c, ALO_Y, 0));
        }
    }
}

/* ---- over_lengths: y [rows, 1] = a [rows, 1] / |row of b|, constant lengths; da = g / |row of b| ---- */
static void ALO_F(over_lengths)(alo_walk *w) {
    alo_sum_t sum = 0;
    for (int j = 0; j < w->c->t[1]->cols; ++j)
        sum += ALO_F(get)(w->c, 1, w->s, w->r, j) * ALO_F(get)(w->c, 1, w->s, w->r, j);
    w->j = 0;
    ALO_F(out)(w, ALO_F(term)(w, 0) / (alo_sum_t)ALO_MATH(sqrt)((real)sum));
}

/* ---- scatter: y = a, or zeros, plus value k at (row, column) k    sparse: y = a times such a matrix ----
 * value [1, n]; index [n, 2] = (row, column) of a stored [out, in] matrix, or [n, 1], columns of row 0.
 * scatter: da = g, dvalue_k = g at k.  sparse: y[row] += a[column] v, da[column] += g[row] v,
 * dvalue_k = sum over rows of g[row] a[column]. */
static int ALO_F(entry)(const alore_call *c, int operand, int k, bool column) {
    const int last = c->t[operand]->cols - 1;
    if (!column && !last) return 0;
    return (int)ALO_F(row)(c, operand, 0, k)[column ? last : 0];
}
static void ALO_F(scatter)(const alore_call *c) {
    for (alo_walk w = alo_walk_start(c); alo_next(&w);)
        for (w.j = 0; w.j < w.cols; ++w.j) ALO_F(out)(&w, ALO_F(term)(&w, 0));
    for (int k = 0; k < c->t[2]->rows; ++k) {
        real *y = ALO_F(row)(c, ALO_Y, 0, ALO_F(entry)(c, 2, k, false)) + ALO_F(entry)(c, 2, k, true);
        ALO_F(put)(y, ALO_F(get)(c, 1, 0, 0, k), true);
    }
}
static void ALO_F(scatter_db)(const alore_call *c) {
    for (int k = 0; k < c->t[1]->rows; ++k) {
        const int row = ALO_F(entry)(c, 1, k, false), column = ALO_F(entry)(c, 1, k, true);
        ALO_F(put)(ALO_F(row)(c, ALO_Y, 0, 0) + k, ALO_F(get)(c, 0, 0, row, column), alo_adds(c, ALO_Y, 0));
    }
}
static void ALO_F(sparse_row)(alo_walk *w, bool turned) {
    const alore_call *c = w->c;
    const real *x = ALO_F(row)(c, 0, w->s, w->r);
    real *y = ALO_F(row)(c, ALO_Y, w->s, w->r);
    for (w->j = 0; w->j < w->cols && !w->add; ++w->j) y[w->j] = 0;
    for (int k = 0; k < c->t[2]->rows; ++k)
        ALO_F(put)(y + ALO_F(entry)(c, 2, k, turned),
                   (alo_sum_t)x[ALO_F(entry)(c, 2, k, !turned)] * ALO_F(get)(c, 1, 0, 0, k), true);
}
static void ALO_F(sparse)(alo_walk *w) { ALO_F(sparse_row)(w, false); }
static void ALO_F(sparse_da)(alo_walk *w) { ALO_F(sparse_row)(w, true); }
static void ALO_F(sparse_db)(const alore_call *c) {
    for (int k = 0; k < c->t[2]->rows; ++k) {
        const int row = ALO_F(entry)(c, 2, k, false), column = ALO_F(entry)(c, 2, k, true);
        alo_sum_t sum = 0;
        for (int s = 0; s < alo_copies(c, 0); ++s)
            for (int r = 0; r < c->t[0]->rows; ++r)
                sum += ALO_F(get)(c, 0, s, r, row) * ALO_F(get)(c, 1, s, r, column);
        ALO_F(put)(ALO_F(row)(c, ALO_Y, 0, 0) + k, sum, alo_adds(c, ALO_Y, 0));
    }
}

/* ---- mean_rows: y [1, cols] = mean of rows n .. n+m-1 of x; dx = g / m there, else 0; attr  n, m ---- */
static alo_sum_t ALO_F(mean_rows)(const alo_walk *w) {
    const int first = w->c->attr->n, count = w->c->attr->m;
    alo_sum_t sum = 0;
    for (int r = first; r < first + count; ++r) sum += ALO_F(get)(w->c, 0, w->s, r, w->j);
    return sum / count;
}

static alo_sum_t ALO_F(mean_rows_dx)(const alo_walk *w) {
    const int first = w->c->attr->n, count = w->c->attr->m;
    return w->r >= first && w->r < first + count ? ALO_F(term)(w, 0) / count : 0;
}

/* ---- dropout: y = mask a, mask 0 with probability p, else 1/(1-p); attr  x: p ----
 * Mask (sample, row, column) is drawn by its number, so the piece da = mask g draws it again.
 * attr  n, m: y is rows m, m+1 ... of n, which number the masks; 0: it is all. */
static alo_sum_t ALO_F(dropout)(const alo_walk *w) {
    const int rows = w->c->attr->n ? w->c->attr->n : w->rows;
    const uint64_t row = alo_sample(w->c, w->s) * (uint64_t)rows + (uint64_t)(w->c->attr->m + w->r);
    return alo_mask(w->c, row * (uint64_t)w->cols + (uint64_t)w->j) * ALO_F(term)(w, 0);
}

/* ---- drop_path: y = mask a + b, one mask for a sample; b may be absent. da = mask g, db = g ---- */
static void ALO_F(drop_path)(alo_walk *w) {
    const alo_sum_t mask = alo_mask(w->c, alo_sample(w->c, w->s));
    for (w->j = 0; w->j < w->cols; ++w->j) ALO_F(out)(w, mask * ALO_F(term)(w, 0) + ALO_F(term)(w, 1));
}

/* ---- unary: y = f(x), dx = g f'(x); attr  n: the kind of f; sigma(x) = 1 / (1 + e^-x), no overflow ---- */
static real ALO_F(sigmoid)(real x) {
    const real e = ALO_MATH(exp)(x < 0 ? x : -x);
    return (x < 0 ? e : 1) / (1 + e);
}

/* f(x), or the slope f'(x); finite for |x| up to 1e12. */
static real ALO_F(act)(int kind, real x, bool slope) {
    switch (kind) {
    case ALORE_GELU: { /* x Phi(x), Phi(x) = (1 + erf(x / sqrt 2)) / 2; Phi + x e^(-x^2/2) / sqrt(2 pi) */
        const real phi = (real)0.5 * (1 + ALO_MATH(erf)(x * (real)0.70710678118654752));
        return slope ? phi + x * (real)0.39894228040143268 * ALO_MATH(exp)((real)-0.5 * x * x) : x * phi;
    }
    case ALORE_GELU_TANH: { /* x (1 + t) / 2, t = tanh(sqrt(2/pi) (x + 0.044715 x^3)) */
        const real k = (real)0.79788456080286536, cube = (real)0.044715;
        const real t = ALO_MATH(tanh)(k * x * (1 + cube * x * x)), half = (real)0.5 * (1 + t);
        return slope ? half + (real)0.5 * x * (1 - t * t) * k * (1 + 3 * cube * x * x) : x * half;
    }
    case ALORE_QUICK_GELU: case ALORE_SILU: { /* x s, s = sigma(k x); s + k x s (1 - s) */
        const real kx = (kind == ALORE_SILU ? 1 : (real)1.702) * x, s = ALO_F(sigmoid)(kx);
        return slope ? s + kx * s * (1 - s) : x * s;
    }
    case ALORE_RELU: return x > 0 ? (slope ? 1 : x) : 0;
    default: {
        const real f = kind == ALORE_TANH ? ALO_MATH(tanh)(x) : ALO_F(sigmoid)(x);
        return !slope ? f : kind == ALORE_TANH ? 1 - f * f : f * (1 - f);
    }
    }
}

static alo_sum_t ALO_F(unary)(const alo_walk *w) {
    return (alo_sum_t)ALO_F(act)(w->c->attr->n, (real)ALO_F(term)(w, 0), false);
}
static alo_sum_t ALO_F(unary_dx)(const alo_walk *w) {
    return ALO_F(term)(w, 0) * (alo_sum_t)ALO_F(act)(w->c->attr->n, (real)ALO_F(term)(w, 1), true);
}

/* ---- norm: layer norm over the columns ----
 *   y = h gain + shift,  h = (x - mean) / sqrt(variance + eps)     attr  x: eps
 *   z [rows, 2] = mean, 1 / sqrt(variance + eps)
 * gain and shift [1, cols] may be absent, and z is in inference. The variance is that of the row
 * itself (not of a sample of it), in two passes. */
static void ALO_F(norm)(alo_walk *w) {
    const real *x = ALO_F(row)(w->c, 0, w->s, w->r);
    real *z = ALO_F(row)(w->c, ALO_Z, w->s, w->r);
    alo_sum_t mean = 0, variance = 0;
    for (int j = 0; j < w->cols; ++j) mean += (alo_sum_t)x[j];
    mean /= w->cols;
    for (int j = 0; j < w->cols; ++j) variance += ((alo_sum_t)x[j] - mean) * ((alo_sum_t)x[j] - mean);
    variance /= w->cols;
    const real inverse = 1 / ALO_MATH(sqrt)((real)(variance + (alo_sum_t)w->c->attr->x));
    for (w->j = 0; w->j < w->cols; ++w->j) {
        const alo_sum_t h = ((alo_sum_t)x[w->j] - mean) * (alo_sum_t)inverse;
        ALO_F(out)(w, h * ALO_F(factor)(w, 1) + ALO_F(term)(w, 2));
    }
    if (!z) return;
    z[0] = (real)mean;
    z[1] = inverse;
}

/* With v = g gain:  dx = (v - mean(v) - h mean(v h)) / sqrt(variance + eps).    reads g x gain z */
static void ALO_F(norm_dx)(alo_walk *w) {
    const real *z = ALO_F(row)(w->c, 3, w->s, w->r);
    const alo_sum_t mean = (alo_sum_t)z[0], inverse = (alo_sum_t)z[1];
    alo_sum_t mean_v = 0, mean_vh = 0;
    for (w->j = 0; w->j < w->cols; ++w->j) {
        const alo_sum_t v = ALO_F(term)(w, 0) * ALO_F(factor)(w, 2);
        mean_v += v / w->cols;
        mean_vh += v * (ALO_F(term)(w, 1) - mean) * inverse / w->cols;
    }
    for (w->j = 0; w->j < w->cols; ++w->j) {
        const alo_sum_t v = ALO_F(term)(w, 0) * ALO_F(factor)(w, 2), h = (ALO_F(term)(w, 1) - mean) * inverse;
        ALO_F(out)(w, (v - mean_v - h * mean_vh) * inverse);
    }
}

/* dgain = sum over rows of g h, dshift = sum over rows of g; either may be absent.    reads g x z */
static void ALO_F(norm_dgain)(const alore_call *c) {
    for (int j = 0; j < c->t[0]->cols; ++j) {
        alo_sum_t dgain = 0, dshift = 0;
        for (int s = 0; s < alo_copies(c, 0); ++s)
            for (int r = 0; r < c->t[0]->rows; ++r) {
                const alo_sum_t g = ALO_F(get)(c, 0, s, r, j), x = ALO_F(get)(c, 1, s, r, j);
                dgain += g * (x - ALO_F(get)(c, 2, s, r, 0)) * ALO_F(get)(c, 2, s, r, 1);
                dshift += g;
            }
        if (c->p[ALO_Y]) ALO_F(put)((real *)c->p[ALO_Y] + j, dgain, alo_adds(c, ALO_Y, 0));
        if (c->p[ALO_Z]) ALO_F(put)((real *)c->p[ALO_Z] + j, dshift, alo_adds(c, ALO_Z, 0));
    }
}

/* ---- matmul: y = f(op(a) op(b) + c) + d ----
 *   op(a) [rows, k]   op(b) [k, n]   c [1, n] or absent   d, y [rows, n], d or absent
 *   attr  n: bit 0 a is stored transposed, bit 1 b is     m: groups     p: 0, or 1 + the kind of f
 *   z [rows, n] = f'(op(a) op(b) + c), or absent: with f the gradient that the pieces read is g z
 * With groups, the columns of op(a), of y and of op(b) [k / groups, n] are cut alike, and block h of y
 * is block h of op(a) times block h of op(b). If only a is per sample, all samples' rows are one
 * matrix; else each sample has its product. Of operands a, b and y, that which is output 0 is made of
 * the others: y = op(a) op(b), d op(a) = g op(b)^T, d op(b) = op(a)^T g; dc = column sums of g. Where a
 * is another product's y, da may be multiplied by that one's z: it is m [rows, k]. */
static void ALO_F(products)(const alore_call *c, int a, int b, int y, bool add) {
    const int form = c->attr->n, groups = c->attr->m > 1 ? c->attr->m : 1;
    const bool per_a = c->t[a]->flags & ALO_PER_SAMPLE, per_b = c->t[b]->flags & ALO_PER_SAMPLE;
    const bool one = per_a && !per_b && !(form & 1);
    const int last = per_a || per_b ? c->samples - 1 : 0;
    for (int s = one ? ALO_ALL : 0; s <= (one ? ALO_ALL : last); ++s)
        for (int h = 0; h < groups; ++h) {
            const alo_mat ah = alo_mat_cut(alo_flip_if(alo_mat_at(c, a, s), form & 1), h, groups);
            const alo_mat bh = alo_mat_cut(alo_flip_if(alo_mat_at(c, b, s), form & 2), h, groups);
            const alo_mat yh = alo_mat_cut(alo_mat_at(c, y, s), h, groups);
            if (y == ALO_Y)
                alo_times(c, yh, ah, bh, add);
            else if (a == ALO_Y)
                alo_times(c, ah, yh, alo_flip(bh), alo_adds(c, ALO_Y, s));
            else
                alo_times(c, bh, alo_flip(ah), yh, alo_adds(c, ALO_Y, s));
        }
}

static void ALO_F(matmul)(const alore_call *c) {
    const bool act = c->attr->p > 0, start = !act && (c->p[2] || c->p[3]), keep = alo_adds(c, ALO_Y, 0);
    alo_tensor t = *c->t[ALO_Y];
    alore_call sum = *c;
    if (act && c->p[ALO_Z]) { /* the sums stand where the slope goes */
        sum.p[ALO_Y] = c->p[ALO_Z];
        sum.t[ALO_Y] = c->t[ALO_Z];
    } else if (act && c->p[3]) { /* d may be y's storage: they stand in scratch */
        sum.p[ALO_Y] = (real *)c->scratch + (ptrdiff_t)ALO_PANEL * (c->t[0]->cols + c->t[0]->rows);
        sum.t[ALO_Y] = &t;
        t.ld = t.cols;
    }
    for (alo_walk w = alo_walk_start(c); start && alo_next(&w);) /* else they are added to c + d */
        for (w.j = 0; w.j < w.cols; ++w.j) ALO_F(out)(&w, ALO_F(term)(&w, 2) + ALO_F(term)(&w, 3));
    ALO_F(products)(&sum, 0, 1, ALO_Y, start || (keep && !act));
    for (alo_walk w = alo_walk_start(c); act && alo_next(&w);)
        for (w.j = 0; w.j < w.cols; ++w.j) {
            const real x = (real)(ALO_F(get)(&sum, ALO_Y, w.s, w.r, w.j) + ALO_F(term)(&w, 2));
            ALO_F(out)(&w, (alo_sum_t)ALO_F(act)(c->attr->p - 1, x, false) + ALO_F(term)(&w, 3));
            if (c->p[ALO_Z]) ALO_F(row)(c, ALO_Z, w.s, w.r)[w.j] = ALO_F(act)(c->attr->p - 1, x, true);
        } /* no record adds f to y: without z, the sums would have been there */
}

static void ALO_F(matmul_da)(const alore_call *c) {
    ALO_F(products)(c, ALO_Y, 1, 0, false);
    for (alo_walk w = alo_walk_start(c); c->p[2] && alo_next(&w);) { /* such a product stands alone */
        real *da = ALO_F(row)(c, ALO_Y, w.s, w.r);
        for (w.j = 0; w.j < w.cols; ++w.j) da[w.j] = (real)((alo_sum_t)da[w.j] * ALO_F(term)(&w, 2));
    }
}
static void ALO_F(matmul_db)(const alore_call *c) { ALO_F(products)(c, 1, ALO_Y, 0, false); }

/* ---- kron: y = x sum_i S_i (x) (D_i U_i), factored ----
 *   x [rows, P s]   S [n P, Q]   D [n s, r]   U [n r, t] or absent (then t = r)
 *   y [rows, Q t]   T = z [rows, P n r], absent in inference
 *   attr  n: terms n    m: P    p: Q    q: r
 *   T[a,i,:] = x[a,:] D_i                 a < P, i < n, for each row
 *   Z[c,i,:] = sum_a S_i[a,c] T[a,i,:]    c < Q
 *   y[c,:]   = sum_i Z[c,i,:] U_i         without U: sum_i Z[c,i,:]
 * 2 rows n r (P s + P Q + Q t) flops; the dense matrix [P s, Q t] never exists. Z is made in scratch
 * for ALO_BAND rows at a time, and again in kron_du. */

/* D [n s, r] as one matrix [s, n r], whose columns (i, rho) are D_i's. */
static alo_mat ALO_F(kron_pack)(const alore_call *c, int d, alo_mat to) {
    const int n = c->attr->n, r = c->attr->q;
    for (int e = 0; e < to.rows; ++e)
        for (int i = 0; i < n; ++i)
            memcpy(ALO_F(at)(to, e, i * r), ALO_F(row)(c, d, 0, i * to.rows + e), (size_t)r * sizeof(real));
    return to;
}

/* Room in scratch for [P, Q] blocks of n r numbers; and S in it, each S_i[a,c] r times. */
static alo_mat ALO_F(kron_room)(const alore_call *c, int k, ptrdiff_t skip) {
    const int P = c->attr->m, Q = c->attr->p, nr = c->attr->n * c->attr->q;
    alo_mat e = alo_own(c, k, skip, P, Q * nr);
    e.cols = Q, e.col = nr;
    return e;
}
ALO_APART static alo_mat ALO_F(kron_spread)(const alore_call *c, int s, alo_mat e) {
    const int r = c->attr->q;
    for (int i = 0; i < c->attr->n * e.rows; ++i)
        for (int to = 0; to < e.cols; ++to)
            for (int k = 0; k < r; ++k)
                ALO_F(at)(e, i % e.rows, to)[i / e.rows * r + k] = ALO_F(row)(c, s, 0, i)[to];
    return e;
}

/* Z of S and T, or dT of S^T and dZ. */
static void ALO_F(kron_mix_of)(const alore_call *c, alo_mat y, alo_mat x, alo_mat e) {
    ((const alo_row_kernels *)c->rows_fn)->mix(y, x, e, c->attr->n * c->attr->q);
}

static void ALO_F(kron)(const alore_call *c) {
    const int n = c->attr->n, P = c->attr->m, Q = c->attr->p, r = c->attr->q, nr = n * r;
    const alo_mat x = alo_mat_at(c, 0, ALO_ALL), y = alo_mat_at(c, ALO_Y, ALO_ALL);
    const alo_mat u = alo_mat_at(c, 3, 0), kept = alo_mat_at(c, ALO_Z, ALO_ALL);
    const int s = x.cols / P, k = s > nr ? s : nr;
    const alo_mat d = ALO_F(kron_pack)(c, 2, alo_own(c, k, 0, s, nr));
    const ptrdiff_t past_d = (ptrdiff_t)s * nr, past_t = past_d + (ptrdiff_t)ALO_BAND * P * nr;
    const ptrdiff_t past_z = past_t + (ptrdiff_t)ALO_BAND * Q * nr;
    const alo_mat mixer = ALO_F(kron_spread)(c, 1, ALO_F(kron_room)(c, k, past_z));
    for (int row = 0; row < x.rows; row += ALO_BAND) {
        const alo_mat xb = alo_band(x, row, ALO_BAND), yb = alo_band(y, row, ALO_BAND);
        const alo_mat z = alo_own(c, k, past_t, xb.rows, Q * nr);
        const alo_mat t = kept.p ? alo_band(kept, row, ALO_BAND) : alo_own(c, k, past_d, xb.rows, P * nr);
        for (int a = 0; a < P; ++a) alo_times(c, alo_mat_cut(t, a, P), alo_mat_cut(xb, a, P), d, false);
        ALO_F(kron_mix_of)(c, z, t, mixer);
        for (int q = 0; u.p && q < Q; ++q)
            alo_times(c, alo_mat_cut(yb, q, Q), alo_mat_cut(z, q, Q), u, alo_adds(c, ALO_Y, 0));
        for (int e = 0; !u.p && e < yb.rows * yb.cols; ++e) {
            const int at = e / yb.cols, to = e % yb.cols;
            alo_sum_t sum = 0;
            for (int i = 0; i < n; ++i) sum += ALO_F(of)(z, at, to / r * nr + i * r + to % r);
            ALO_F(put)(ALO_F(at)(yb, at, to), sum, alo_adds(c, ALO_Y, 0));
        }
    }
}

/* dZ[c,i,:] = g[c,:] U_i^T (without U: g[c,:]),  dT[a,i,:] = sum_c S_i[a,c] dZ[c,i,:].
 * reads g S D U; writes t = dZ [rows, Q n r] and u = dT [rows, P n r], either may be absent */
static void ALO_F(kron_mix)(const alore_call *c) {
    const int Q = c->attr->p, r = c->attr->q, nr = c->attr->n * r;
    const alo_mat g = alo_mat_at(c, 0, ALO_ALL), u = alo_mat_at(c, 3, 0);
    const alo_mat kept = alo_mat_at(c, ALO_Y, ALO_ALL), dt = alo_mat_at(c, ALO_Z, ALO_ALL);
    const alo_mat s = ALO_F(kron_room)(c, g.cols / Q, (ptrdiff_t)ALO_BAND * Q * nr);
    if (dt.p) ALO_F(kron_spread)(c, 1, s);
    for (int row = 0; row < g.rows; row += ALO_BAND) {
        const alo_mat gb = alo_band(g, row, ALO_BAND), own = alo_own(c, g.cols / Q, 0, gb.rows, Q * nr);
        const alo_mat dz = kept.p ? alo_band(kept, row, ALO_BAND) : own;
        for (int q = 0; u.p && q < Q; ++q)
            alo_times(c, alo_mat_cut(dz, q, Q), alo_mat_cut(gb, q, Q), alo_flip(u), false);
        for (int e = 0; !u.p && e < dz.rows * dz.cols; ++e) {
            const int at = e / dz.cols, to = e % dz.cols;
            *ALO_F(at)(dz, at, to) = *ALO_F(at)(gb, at, to / nr * r + to % r);
        }
        if (dt.p) ALO_F(kron_mix_of)(c, alo_band(dt, row, ALO_BAND), dz, alo_flip(s));
    }
}

/* dx[a,:] = sum_i dT[a,i,:] D_i^T.    reads dT D */
static void ALO_F(kron_dx)(const alore_call *c) {
    const int P = c->attr->m, nr = c->attr->n * c->attr->q;
    const alo_mat dt = alo_mat_at(c, 0, ALO_ALL), dx = alo_mat_at(c, ALO_Y, ALO_ALL);
    const alo_mat d = ALO_F(kron_pack)(c, 1, alo_own(c, nr, 0, dx.cols / P, nr));
    for (int a = 0; a < P; ++a)
        alo_times(c, alo_mat_cut(dx, a, P), alo_mat_cut(dt, a, P), alo_flip(d), alo_adds(c, ALO_Y, 0));
}

/* dS_i[a,c] = sum over rows and rho of T[a,i,rho] dZ[c,i,rho].    reads T dZ */
static void ALO_F(kron_ds)(const alore_call *c) {
    const int P = c->attr->m, r = c->attr->q;
    const alo_mat e = ALO_F(kron_room)(c, 0, 0);
    ((const alo_row_kernels *)c->rows_fn)
        ->meet(e, alo_mat_at(c, 0, ALO_ALL), alo_mat_at(c, 1, ALO_ALL), c->attr->n * r);
    for (alo_walk w = alo_walk_start(c); alo_next(&w);)
        for (w.j = 0; w.j < w.cols; ++w.j) {
            alo_sum_t sum = 0;
            for (int k = 0; k < r; ++k) sum += (alo_sum_t)ALO_F(at)(e, w.r % P, w.j)[w.r / P * r + k];
            ALO_F(out)(&w, sum);
        }
}

/* dD_i = sum over rows and a of x[a,:]^T dT[a,i,:], packed as D is.    reads x dT */
static void ALO_F(kron_dd)(const alore_call *c) {
    const int P = c->attr->m, r = c->attr->q;
    const alo_mat x = alo_mat_at(c, 0, ALO_ALL), dt = alo_mat_at(c, 1, ALO_ALL);
    const alo_mat dd = alo_flip(alo_own(c, x.rows, 0, c->attr->n * r, x.cols / P));
    for (int a = 0; a < P; ++a)
        alo_times(c, dd, alo_flip(alo_mat_cut(x, a, P)), alo_mat_cut(dt, a, P), a > 0);
    for (alo_walk w = alo_walk_start(c); alo_next(&w);)
        for (w.j = 0; w.j < r; ++w.j) ALO_F(out)(&w, ALO_F(of)(dd, w.r % dd.rows, w.r / dd.rows * r + w.j));
}

/* dU[(i,rho),:] = sum over rows and c of Z[c,i,rho] g[c,:].    reads g T S */
static void ALO_F(kron_du)(const alore_call *c) {
    const int Q = c->attr->p, nr = c->attr->n * c->attr->q;
    const alo_mat g = alo_mat_at(c, 0, ALO_ALL), t = alo_mat_at(c, 1, ALO_ALL);
    const alo_mat s = ALO_F(kron_spread)(c, 2, ALO_F(kron_room)(c, ALO_BAND, (ptrdiff_t)ALO_BAND * Q * nr));
    bool add = alo_adds(c, ALO_Y, 0);
    for (int row = 0; row < g.rows; row += ALO_BAND) {
        const alo_mat gb = alo_band(g, row, ALO_BAND), z = alo_own(c, ALO_BAND, 0, gb.rows, Q * nr);
        ALO_F(kron_mix_of)(c, z, alo_band(t, row, ALO_BAND), s);
        for (int q = 0; q < Q; ++q, add = true)
            alo_times(c, alo_mat_at(c, ALO_Y, 0), alo_flip(alo_mat_cut(z, q, Q)), alo_mat_cut(gb, q, Q), add);
    }
}

/* ---- attention: y = P v, P = softmax(q k^T / sqrt(d / heads) + bias + mask) ----
 *   q, y [Tq, d]   k, v [Tk, d]   each head has its block of columns     attr  n: heads
 *   z [Tq, heads] = log of the sum of exponentials, row by row; absent in inference
 *   bias [heads window, window] or absent   values  mask [windows, window, window] or absent
 *   attr  m: rows of a window, 0: all of the sample. Tq = Tk; a row meets those of its window only */
typedef struct ALO_F(head) {
    const alore_call *c;
    int q;                     /* operand q: 0 in the op, 1 in its pieces; k and v follow */
    int index, s, window, head;
    alo_mat p, ds;             /* P and, in the pieces, the gradient of the scores        */
    alo_sum_t scale;           /* 1 / sqrt(d / heads)                                     */
} ALO_F(head);

/* for (ALO_F(head) h = ALO_F(heads)(c, q); ALO_F(next_head)(&h);) visits all, each with its P. */
static ALO_F(head) ALO_F(heads)(const alore_call *c, int q) {
    const int window = c->attr->m, width = c->t[q]->cols / c->attr->n;
    const int rows = window ? window : c->t[q]->rows, cols = window ? window : c->t[q + 1]->rows;
    const int wide = rows > cols ? rows : cols, k = wide > width ? wide : width;
    const alo_mat p = alo_own(c, k, 0, rows, cols), ds = alo_own(c, k, (ptrdiff_t)rows * cols, rows, cols);
    const ALO_F(head) h = {c, q, -1, 0, 0, 0, p, ds, 1 / (alo_sum_t)ALO_MATH(sqrt)((real)width)};
    return h;
}

/* Operand `i` as a head sees it: its window's rows, its block of columns. */
static alo_mat ALO_F(seen)(const ALO_F(head) *h, int i) {
    const int window = h->c->attr->m;
    const alo_mat a = alo_mat_cut(alo_mat_at(h->c, i, h->s), h->head, h->c->attr->n);
    return window ? alo_band(a, h->window * window, window) : a;
}

/* Output `out` of the head (+)= a b, where there is one. */
static void ALO_F(give)(const ALO_F(head) *h, int out, alo_mat a, alo_mat b) {
    if (h->c->p[out]) alo_times(h->c, ALO_F(seen)(h, out), a, b, alo_adds(h->c, out, h->s));
}

/* Go to head `index`: all of a window, then the next, then the next sample. False: there is none. */
static bool ALO_F(at_head)(ALO_F(head) *h, int index) {
    const int heads = h->c->attr->n, windows = h->c->t[h->q]->rows / h->p.rows;
    h->index = index;
    h->head = index % heads;
    h->window = index / heads % windows;
    h->s = index / heads / windows;
    return h->s < alo_copies(h->c, h->q ? 0 : ALO_Y);
}

/* Go on to the next head. The op takes exponentials relative to a row's largest score and writes z;
 * the pieces (g q k v z bias) relative to z, which is rounded: there too a row is made to sum to one. */
static bool ALO_F(next_head)(ALO_F(head) *h) {
    const alore_call *c = h->c;
    const int cols = h->p.cols;
    if (!ALO_F(at_head)(h, h->index + 1)) return false;
    alo_times(c, h->p, ALO_F(seen)(h, h->q), alo_flip(ALO_F(seen)(h, h->q + 1)), false);
    for (int i = 0; i < h->p.rows; ++i) {
        const int row = h->window * h->p.rows + i;
        const float *mask = c->attr->values ? c->attr->values + (ptrdiff_t)row * cols : NULL;
        const real *bias = ALO_F(row)(c, h->q ? 5 : 3, h->s, h->head * h->p.rows + i);
        real *x = ALO_F(at)(h->p, i, 0), *z = ALO_F(row)(c, h->q ? 4 : ALO_Z, h->s, row);
        alo_sum_t sum = 0;
        for (int j = 0; j < cols; ++j)
            x[j] = (real)((alo_sum_t)x[j] * h->scale + (bias ? (alo_sum_t)bias[j] : 0) +
                          (mask ? (alo_sum_t)mask[j] : 0));
        const real base = h->q ? z[h->head] : ALO_F(largest)(x, cols);
        for (int j = 0; j < cols; ++j) {
            x[j] = ALO_MATH(exp)(x[j] - base);
            sum += (alo_sum_t)x[j];
        }
        for (int j = 0; j < cols; ++j) x[j] = (real)((alo_sum_t)x[j] / sum);
        if (!h->q && z) z[h->head] = base + ALO_MATH(log)((real)sum);
    }
    return true;
}

static void ALO_F(attention)(const alore_call *c) {
    for (ALO_F(head) h = ALO_F(heads)(c, 0); ALO_F(next_head)(&h);)
        ALO_F(give)(&h, ALO_Y, h.p, ALO_F(seen)(&h, 2));
}

/* ds = factor dS:  dP = g v^T,  dS[i,j] = P[i,j] (dP[i,j] - sum_e P[i,e] dP[i,e]). */
static void ALO_F(scores_gradient)(const ALO_F(head) *h, real factor) {
    alo_times(h->c, h->ds, ALO_F(seen)(h, 0), alo_flip(ALO_F(seen)(h, 3)), false);
    for (int i = 0; i < h->p.rows; ++i) {
        const real *p = ALO_F(at)(h->p, i, 0);
        real *ds = ALO_F(at)(h->ds, i, 0);
        alo_sum_t sum = 0;
        for (int j = 0; j < h->p.cols; ++j) sum += (alo_sum_t)p[j] * (alo_sum_t)ds[j];
        for (int j = 0; j < h->p.cols; ++j)
            ds[j] = factor * (real)((alo_sum_t)p[j] * ((alo_sum_t)ds[j] - sum));
    }
}

/* dv = P^T g,  dq = dS k / sqrt(d / heads),  dk = dS^T q / sqrt(d / heads); each may be absent. */
static void ALO_F(attention_dqkv)(const alore_call *c) {
    for (ALO_F(head) h = ALO_F(heads)(c, 1); ALO_F(next_head)(&h);) {
        ALO_F(give)(&h, ALO_X, alo_flip(h.p), ALO_F(seen)(&h, 0));
        if (!c->p[ALO_Y] && !c->p[ALO_Z]) continue;
        ALO_F(scores_gradient)(&h, (real)h.scale);
        ALO_F(give)(&h, ALO_Y, h.ds, ALO_F(seen)(&h, 2));
        ALO_F(give)(&h, ALO_Z, alo_flip(h.ds), ALO_F(seen)(&h, 1));
    }
}

/* dbias[h,i,j] = sum over windows and samples of dS[i,j]. */
static void ALO_F(attention_dbias)(const alore_call *c) {
    for (ALO_F(head) h = ALO_F(heads)(c, 1); ALO_F(next_head)(&h);) {
        ALO_F(scores_gradient)(&h, 1);
        for (int i = 0; i < h.ds.rows; ++i)
            for (int j = 0; j < h.ds.cols; ++j)
                ALO_F(put)(ALO_F(row)(c, ALO_Y, h.s, h.head * h.ds.rows + i) + j, ALO_F(of)(h.ds, i, j),
                           h.window > 0 || alo_adds(c, ALO_Y, h.s));
    }
}

/* ---- dwconv: each channel with its own k x k kernel, stride 1, zeros outside ----
 *   x, y [H W, C]   w [C, k k]   bias [1, C] or absent   attr  n: H    m: W    p: k, odd
 *   y[h,v,c]       = bias[c] + sum over i, j of x[h + i - k/2, v + j - k/2, c] w[c, i k + j]
 *   dx[h,v,c]      = sum over i, j of g[h - i + k/2, v - j + k/2, c] w[c, i k + j]
 *   dw[c, i k + j] = sum over h, v of g[h,v,c] x[h + i - k/2, v + j - k/2, c];  dbias = column sums of g */

/* The row that tap e = i k + j meets at row `at`, -1: none. side = -1: from which `at` is met. */
static int ALO_F(tap)(const alo_attr *attr, int at, int e, int side) {
    const int H = attr->n, W = attr->m, k = attr->p;
    const int h = at / W + side * (e / k - k / 2), v = at % W + side * (e % k - k / 2);
    return h < 0 || h >= H || v < 0 || v >= W ? -1 : h * W + v;
}

/* sum + the taps' products of operand 0 and w. */
static alo_sum_t ALO_F(convolve)(const alo_walk *w, alo_sum_t sum, int side) {
    const int taps = w->c->attr->p * w->c->attr->p;
    for (int e = 0; e < taps; ++e) {
        const int from = ALO_F(tap)(w->c->attr, w->r, e, side);
        if (from < 0) continue;
        sum += ALO_F(get)(w->c, 0, w->s, from, w->j) * ALO_F(get)(w->c, 1, w->s, w->j, e);
    }
    return sum;
}

static alo_sum_t ALO_F(dwconv)(const alo_walk *w) { return ALO_F(convolve)(w, ALO_F(term)(w, 2), 1); }
static alo_sum_t ALO_F(dwconv_dx)(const alo_walk *w) { return ALO_F(convolve)(w, 0, -1); }

static alo_sum_t ALO_F(dwconv_dw)(const alo_walk *w) {
    alo_sum_t sum = 0;
    for (int s = 0; s < alo_copies(w->c, 0); ++s)
        for (int at = 0; at < w->c->t[0]->rows; ++at) {
            const int from = ALO_F(tap)(w->c->attr, at, w->j, 1);
            if (from < 0) continue;
            sum += ALO_F(get)(w->c, 0, s, at, w->r) * ALO_F(get)(w->c, 1, s, from, w->r);
        }
    return sum;
}

/* ---- xent: y = mean over rows of (1-s) nll + s/C sum_c -log p_c ----
 *   logits [rows, C]   labels [rows, 1] int32, in 0..C-1   y [1, 1]   attr  x: smoothing s
 * p = softmax(logits), nll = -log p_label. A label outside makes y NaN. */
static alo_sum_t ALO_F(exponentials)(const real *x, int count, real most) {
    alo_sum_t sum = 0;
    for (int j = 0; j < count; ++j) sum += (alo_sum_t)ALO_MATH(exp)(x[j] - most);
    return sum;
}

static alo_sum_t ALO_F(xent)(const alo_walk *w) {
    const int rows = w->c->t[0]->rows, classes = w->c->t[0]->cols;
    const alo_sum_t smooth = (alo_sum_t)w->c->attr->x;
    alo_sum_t loss = 0;
    for (int r = 0; r < rows; ++r) {
        const int label = ((const int32_t *)w->c->p[1])[alo_begin(w->c->t[1], w->s, r)];
        const real *x = ALO_F(row)(w->c, 0, w->s, r), top = ALO_F(largest)(x, classes);
        const alo_sum_t most = (alo_sum_t)top;
        const alo_sum_t log_sum = (alo_sum_t)ALO_MATH(log)((real)ALO_F(exponentials)(x, classes, top));
        alo_sum_t all = 0;
        for (int j = 0; j < classes; ++j) all += most - (alo_sum_t)x[j] + log_sum;
        loss += label < 0 || label >= classes
                    ? (alo_sum_t)alo_float(0x7fc00000u)
                    : (1 - smooth) * (most - (alo_sum_t)x[label] + log_sum) + smooth / classes * all;
    }
    return loss / rows;
}

/* dlogits[c] = g / rows (p_c - (1-s) [c = label] - s/C).    reads g logits labels
 * p is made again: a rounded log of the sum would be off by 3e-5 at logits of some hundreds. */
static void ALO_F(xent_dx)(alo_walk *w) {
    const int label = ((const int32_t *)w->c->p[2])[alo_begin(w->c->t[2], w->s, w->r)];
    const real *x = ALO_F(row)(w->c, 1, w->s, w->r), most = ALO_F(largest)(x, w->cols);
    const alo_sum_t g = ALO_F(get)(w->c, 0, w->s, 0, 0) / w->rows, smooth = (alo_sum_t)w->c->attr->x;
    const alo_sum_t sum = ALO_F(exponentials)(x, w->cols, most);
    for (w->j = 0; w->j < w->cols; ++w->j) {
        const alo_sum_t p = (alo_sum_t)ALO_MATH(exp)(x[w->j] - most) / sum;
        ALO_F(out)(w, g * (p - (w->j == label ? 1 - smooth : 0) - smooth / w->cols));
    }
}

/* ---- mse: y [1, 1] = mean over rows and columns of (a - b)^2; da = 2 g (a - b) / (rows cols) ---- */
static alo_sum_t ALO_F(mse)(const alo_walk *w) {
    const int rows = w->c->t[0]->rows, cols = w->c->t[0]->cols;
    alo_sum_t loss = 0;
    for (int r = 0; r < rows; ++r)
        for (int j = 0; j < cols; ++j) {
            const alo_sum_t d = ALO_F(get)(w->c, 0, w->s, r, j) - ALO_F(get)(w->c, 1, w->s, r, j);
            loss += d * d;
        }
    return loss / rows / cols;
}
static alo_sum_t ALO_F(mse_dx)(const alo_walk *w) {
    return 2 * ALO_F(term)(w, 0) / w->rows / w->cols * (ALO_F(term)(w, 1) - ALO_F(term)(w, 2));
}

/* ---- The optimisers, on flat arrays: in[0] gradient g, out[0..2] p, m, v; extra: alo_step_args ----
 * A gradient is scaled as it is read, and cleared in the same pass. sumsq adds their squares. */
static void ALO_F(sumsq)(const alore_call *c) {
    const alo_step_args *o = (const alo_step_args *)c->extra;
    alo_sum_t sum = 0;
    for (size_t i = 0; i < o->count; ++i) {
        const alo_sum_t g = (alo_sum_t)((const real *)c->p[0])[i] * o->grad_scale;
        sum += g * g;
    }
    *o->sum += sum;
}

/* AdamW:  p -= lr decay p;  m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;
 *         p -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps) */
static void ALO_F(adamw)(const alore_call *c) {
    const alo_step_args *o = (const alo_step_args *)c->extra;
    real *grad = (real *)c->p[0], *param = (real *)c->p[ALO_Y];
    real *m = (real *)c->p[ALO_Z], *v = (real *)c->p[ALO_X];
    for (size_t i = 0; i < o->count; ++i) {
        const alo_sum_t g = (alo_sum_t)grad[i] * o->grad_scale;
        const alo_sum_t mi = o->beta1 * (alo_sum_t)m[i] + (1 - o->beta1) * g;
        const alo_sum_t vi = o->beta2 * (alo_sum_t)v[i] + (1 - o->beta2) * g * g;
        const alo_sum_t root = (alo_sum_t)ALO_MATH(sqrt)((real)(vi / o->correct2));
        const alo_sum_t p = (alo_sum_t)param[i] * (1 - o->lr * o->decay);
        param[i] = (real)(p - o->lr * (mi / o->correct1) / (root + o->eps));
        m[i] = (real)mi;
        v[i] = (real)vi;
        grad[i] = 0;
    }
}

/* SGD:  g += decay p;  buffer = momentum buffer + g;  p -= lr buffer, with nesterov p -= lr (g + momentum
 *       buffer). The buffer is out[1], zero at first; without momentum it may be absent. */
static void ALO_F(sgd)(const alore_call *c) {
    const alo_step_args *o = (const alo_step_args *)c->extra;
    real *grad = (real *)c->p[0], *param = (real *)c->p[ALO_Y], *buffer = (real *)c->p[ALO_Z];
    for (size_t i = 0; i < o->count; ++i) {
        const alo_sum_t p = (alo_sum_t)param[i], g = (alo_sum_t)grad[i] * o->grad_scale + o->decay * p;
        alo_sum_t step = g;
        if (buffer) {
            step += o->momentum * (alo_sum_t)buffer[i];
            buffer[i] = (real)step;
            if (o->nesterov) step = g + o->momentum * step;
        }
        param[i] = (real)(p - o->lr * step);
        grad[i] = 0;
    }
}

/* ---- The table: a kernel does a range of its tasks, which alo_tasks counts ---- */
#define ALO_TASK(name, reads, writes, over, how, by)                                                         \
    static void ALO_F(name##_task)(const alore_call *c, int first, int last) {                               \
        ALO_F(how)(c, first, last, ALO_F(by));                                                               \
    }
ALO_KERNELS(ALO_TASK)
#define ALO_TABLE_ROW(name, reads, writes, over, how, by) ALO_F(name##_task),
static const alore_kernel ALO_F(table)[ALO_K_COUNT] = {ALO_KERNELS(ALO_TABLE_ROW)};
/* clang-format on */

#undef real
#undef ALO_F
#undef ALO_MATH
#endif

#if !defined(ALO_STAMP) || ALO_STAMP > 1
/* ============================================================================
 * >> 08 vocabulary
 * The kernels that follow are one text, compiled once for each level of the CPU: the header includes itself,
 * each time with other meanings for a few words. `vec` is LANES floats, V(word) a word on them, ALO_L(name)
 * the level's function of that name; ALO_MR rows by ALO_NV vectors of sums fill its registers. The scalar
 * level, the target's baseline without fused products, is compiled in the header's first pass.
 *
 *   load store load_some store_some   unaligned; `some`: the first n lanes, and zeros beside them
 *   set add sub mul div max min sqrt  lane by lane; max and min give b where one is NaN
 *   fma  a b + c     nfma  c - a b    less  a < b ? x : y
 *   round  to even, |a| < 2^22        pow2  2^a for whole a in -126..127
 *   grow  a 2^b for whole b, 0 for b < -126
 *   sum most  of the lanes            turn  transposes LANES vectors
 * As words of 32 bits, of a pair of bfloat16 or of four bytes:
 *   upper lower  the two of a pair as f32, lower in the lower bits      under  a >> 16      or      zip
 *   pairs  2 LANES floats to pairs    bytes  4 LANES floats, scaled and rounded, + 128, to bytes
 *   dot8   c += a's bytes times b's, a's from 0 to 255, b's signed      whole  integers to f32
 *   signs  bytes to what dot8 takes as a: they themselves, or signed where it takes signed ones
 * V_HOLD keeps a vector in a register: else gcc reads it from memory at each use. */

/* clang-format off */
#define ALO_PASTE(a, b) a##b
#define ALO_NAME(a, b)  ALO_PASTE(a, b)
#define ALO_L(name)     ALO_NAME(alo_##name, ALO_LEVEL)
#define V(name)         ALO_NAME(alo_v_##name, ALO_LEVEL)
#define vec             ALO_NAME(alo_vec, ALO_LEVEL)
#define ivec            ALO_NAME(alo_ivec, ALO_LEVEL)
#define WORD1(name, e)  static ALO_INLINE vec V(name)(vec a) { return e; }
#define WORD2(name, e)  static ALO_INLINE vec V(name)(vec a, vec b) { return e; }
#define WORD3(name, e)  static ALO_INLINE vec V(name)(vec a, vec b, vec c) { return e; }

#if defined(ALO_STAMP) && ALO_STAMP != 4 /* ---- both levels of x86: what differs in its prefix alone ---- */
#if ALO_STAMP == 2
#define ALO_LEVEL _avx2
#define M(op) ALO_PASTE(_mm256_, op)
typedef __m256 vec;
#else
#define ALO_LEVEL _avx512
#define M(op) ALO_PASTE(_mm512_, op)
typedef __m512 vec;
#endif
static ALO_INLINE vec  V(load)(const float *p) { return M(loadu_ps)(p); }
static ALO_INLINE void V(store)(float *p, vec v) { M(storeu_ps)(p, v); }
static ALO_INLINE vec  V(set)(float x) { return M(set1_ps)(x); }
WORD2(add, M(add_ps)(a, b))
WORD2(sub, M(sub_ps)(a, b))
WORD2(mul, M(mul_ps)(a, b))
WORD2(div, M(div_ps)(a, b))
WORD2(max, M(max_ps)(a, b))
WORD2(min, M(min_ps)(a, b))
WORD3(fma, M(fmadd_ps)(a, b, c))
WORD3(nfma, M(fnmadd_ps)(a, b, c))
WORD1(sqrt, M(sqrt_ps)(a))
#undef M
#endif

#ifndef ALO_STAMP /* ---- scalar: vectors of four, as the compiler lowers them, or single numbers ---- */
#define ALO_LEVEL _scalar
enum { ALO_L(mr) = 4, ALO_L(nv) = 2 };
#ifdef __GNUC__
enum { ALO_L(lanes) = 4 };
typedef float vec __attribute__((vector_size(16)));
typedef uint32_t ivec __attribute__((vector_size(16)));
#define ALO_INTS(v) ((ivec)(v))
#define ALO_REAL(i) ((vec)(i))
#define ALO_LANE(v, i) (v)[i]
static ALO_INLINE vec V(set)(float x) { const vec v = {x, x, x, x}; return v; }
static ALO_INLINE vec V(less)(vec a, vec b, vec x, vec y) {
    const ivec m = (ivec)(a < b);
    return (vec)((m & (ivec)x) | (~m & (ivec)y));
}
#else
enum { ALO_L(lanes) = 1 };
typedef float vec;
typedef uint32_t ivec;
#define ALO_INTS(v) alo_bits(v)
#define ALO_REAL(i) alo_float(i)
#define ALO_LANE(v, i) (v)
static ALO_INLINE vec V(set)(float x) { return x; }
static ALO_INLINE vec V(less)(vec a, vec b, vec x, vec y) { return a < b ? x : y; }
#endif
static ALO_INLINE vec  V(load)(const float *p) { vec v; memcpy(&v, p, sizeof v); return v; }
static ALO_INLINE void V(store)(float *p, vec v) { memcpy(p, &v, sizeof v); }
WORD2(add, a + b)
WORD2(sub, a - b)
WORD2(mul, a * b)
WORD2(div, a / b)
WORD2(max, V(less)(b, a, a, b))
WORD2(min, V(less)(a, b, a, b))
WORD3(fma, a * b + c)
WORD3(nfma, c - a * b)
WORD1(round, (a + V(set)(12582912.0f)) - V(set)(12582912.0f))
WORD1(pow2, ALO_REAL((ALO_INTS(a + V(set)(12582912.0f)) + 127u) << 23))
static ALO_INLINE vec V(sqrt)(vec a) {
    float part[ALO_L(lanes)];
    V(store)(part, a);
    for (int i = 0; i < ALO_L(lanes); ++i) part[i] = alo_sqrt(part[i]);
    return V(load)(part);
}
static ALO_INLINE vec V(grow)(vec a, vec b) {
    return V(less)(b, V(set)(-126.0f), V(set)(0.0f), V(mul)(a, V(pow2)(b)));
}
static ALO_INLINE float V(sum)(vec a) {
    float sum = ALO_LANE(a, 0);
    for (int i = 1; i < ALO_L(lanes); ++i) sum += ALO_LANE(a, i);
    return sum;
}
static ALO_INLINE float V(most)(vec a) {
    float most = ALO_LANE(a, 0);
    for (int i = 1; i < ALO_L(lanes); ++i) most = ALO_LANE(a, i) > most ? ALO_LANE(a, i) : most;
    return most;
}
static ALO_INLINE void V(turn)(vec *r) {
    float part[ALO_L(lanes)][ALO_L(lanes)];
    memcpy(part, r, sizeof part);
    for (int i = 0; i < ALO_L(lanes); ++i)
        for (int j = 0; j < ALO_L(lanes); ++j) ((float *)r)[i * ALO_L(lanes) + j] = part[j][i];
}
WORD1(upper, ALO_REAL(ALO_INTS(a) & 0xffff0000u))
WORD1(lower, ALO_REAL(ALO_INTS(a) << 16))
WORD1(under, ALO_REAL(ALO_INTS(a) >> 16))
WORD2(or, ALO_REAL(ALO_INTS(a) | ALO_INTS(b)))
static ALO_INLINE vec V(whole)(vec a) {
    for (int i = 0; i < ALO_L(lanes); ++i) ALO_LANE(a, i) = (float)(int32_t)alo_bits(ALO_LANE(a, i));
    return a;
}
static ALO_INLINE void V(zip)(vec a, vec b, vec *low, vec *high) {
    float part[2][ALO_L(lanes)], both[2 * ALO_L(lanes)];
    V(store)(part[0], a);
    V(store)(part[1], b);
    for (int i = 0; i < 2 * ALO_L(lanes); ++i) both[i] = part[i & 1][i / 2];
    *low = V(load)(both);
    *high = V(load)(both + ALO_L(lanes));
}
static ALO_INLINE vec V(pairs)(const float *p) {
    float part[ALO_L(lanes)];
    for (int i = 0; i < ALO_L(lanes); ++i)
        part[i] = alo_float(alore_float_to_bfloat(p[2 * i]) |
                            (uint32_t)alore_float_to_bfloat(p[2 * i + 1]) << 16);
    return V(load)(part);
}
static ALO_INLINE vec V(bytes)(const float *p, float scale) {
    float part[ALO_L(lanes)];
    for (int i = 0; i < ALO_L(lanes); ++i) {
        uint32_t word = 0;
        for (int k = 0; k < 4; ++k)
            word |= ((uint32_t)(alo_nearest(p[4 * i + k] * scale) + 128) & 255u) << 8 * k;
        part[i] = alo_float(word);
    }
    return V(load)(part);
}
static ALO_INLINE vec V(dot8)(vec a, vec b, vec c) {
    uint32_t x[ALO_L(lanes)], y[ALO_L(lanes)], z[ALO_L(lanes)];
    memcpy(x, &a, sizeof x);
    memcpy(y, &b, sizeof y);
    memcpy(z, &c, sizeof z);
    for (int i = 0; i < ALO_L(lanes); ++i)
        for (int k = 0; k < 32; k += 8)
            z[i] += (x[i] >> k & 255u) * (uint32_t)(((int32_t)(y[i] >> k & 255u) ^ 128) - 128);
    memcpy(&c, z, sizeof z);
    return c;
}
#define V_HOLD(x) (void)0
#undef ALO_INTS
#undef ALO_REAL
#undef ALO_LANE

#elif ALO_STAMP == 2 /* ---- AVX2 and FMA ---- */
enum { ALO_L(mr) = 6, ALO_L(nv) = 2, ALO_L(lanes) = 8 };
static ALO_INLINE __m256i alo_first_avx2(int n) { /* mask of the first n lanes */
    static const int32_t mask[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
    return _mm256_loadu_si256((const __m256i *)(const void *)(mask + 8 - n));
}
static ALO_INLINE vec  V(load_some)(const float *p, int n) {
    return _mm256_maskload_ps(p, alo_first_avx2(n));
}
static ALO_INLINE void V(store_some)(float *p, vec v, int n) {
    _mm256_maskstore_ps(p, alo_first_avx2(n), v);
}
WORD1(round, _mm256_round_ps(a, 8))
WORD1(pow2, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(a),
                                                                   _mm256_set1_epi32(127)), 23)))
static ALO_INLINE vec V(less)(vec a, vec b, vec x, vec y) {
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
WORD2(grow, V(less)(b, V(set)(-126.0f), V(set)(0.0f), V(mul)(a, V(pow2)(b))))
static ALO_INLINE float V(sum)(vec a) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
static ALO_INLINE float V(most)(vec a) {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
static ALO_INLINE void V(turn)(vec *r) {
    vec t[8];
    ALO_UNROLL for (int i = 0; i < 4; ++i) {
        t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    ALO_UNROLL for (int i = 0; i < 2; ++i) {
        r[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
        r[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
        r[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
        r[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
    }
    ALO_UNROLL for (int i = 0; i < 4; ++i) {
        t[i] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
        t[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
    }
    ALO_UNROLL for (int i = 0; i < 8; ++i) r[i] = t[i];
}
#define W(v) _mm256_castps_si256(v)
#define R(v) _mm256_castsi256_ps(v)
WORD1(upper, R(_mm256_and_si256(W(a), _mm256_set1_epi32(-65536))))
WORD1(lower, R(_mm256_slli_epi32(W(a), 16)))
WORD1(under, R(_mm256_srli_epi32(W(a), 16)))
WORD2(or, _mm256_or_ps(a, b))
WORD1(whole, _mm256_cvtepi32_ps(W(a)))
static ALO_INLINE void V(zip)(vec a, vec b, vec *low, vec *high) {
    const vec even = _mm256_unpacklo_ps(a, b), odd = _mm256_unpackhi_ps(a, b);
    *low = _mm256_permute2f128_ps(even, odd, 0x20);
    *high = _mm256_permute2f128_ps(even, odd, 0x31);
}
static ALO_INLINE __m256i alo_round16_avx2(vec v) { /* to bfloat16, in the lower bits */
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(W(v), 16), _mm256_set1_epi32(1));
    return _mm256_srli_epi32(_mm256_add_epi32(W(v), _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
}
static ALO_INLINE vec V(pairs)(const float *p) {
    const __m256i both = _mm256_packus_epi32(alo_round16_avx2(V(load)(p)), alo_round16_avx2(V(load)(p + 8)));
    return R(_mm256_permute4x64_epi64(both, 0xd8));
}
static ALO_INLINE __m256i alo_round8_avx2(const float *p, vec scale) {
    return _mm256_add_epi32(_mm256_cvtps_epi32(_mm256_mul_ps(V(load)(p), scale)), _mm256_set1_epi32(128));
}
static ALO_INLINE vec V(bytes)(const float *p, float scale) {
    const vec by = V(set)(scale);
    const __m256i low = _mm256_packus_epi32(alo_round8_avx2(p, by), alo_round8_avx2(p + 8, by));
    const __m256i high = _mm256_packus_epi32(alo_round8_avx2(p + 16, by), alo_round8_avx2(p + 24, by));
    return R(_mm256_permutevar8x32_epi32(_mm256_packus_epi16(low, high),
                                         _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)));
}
static ALO_INLINE vec V(dot8)(vec a, vec b, vec c) {
    const __m256i even = _mm256_madd_epi16(_mm256_and_si256(W(a), _mm256_set1_epi16(255)),
                                           _mm256_srai_epi16(_mm256_slli_epi16(W(b), 8), 8));
    const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(W(a), 8), _mm256_srai_epi16(W(b), 8));
    return R(_mm256_add_epi32(W(c), _mm256_add_epi32(even, odd)));
}
#undef W
#undef R
#define V_HOLD(x) ALO_HOLD("+x", x)

#elif ALO_STAMP == 3 /* ---- AVX-512: F, BW, DQ, VL ---- */
enum { ALO_L(mr) = 12, ALO_L(nv) = 2, ALO_L(lanes) = 16 };
#define ALO_FIRST(n) ((__mmask16)((1u << (n)) - 1))
static ALO_INLINE vec  V(load_some)(const float *p, int n) { return _mm512_maskz_loadu_ps(ALO_FIRST(n), p); }
static ALO_INLINE void V(store_some)(float *p, vec v, int n) { _mm512_mask_storeu_ps(p, ALO_FIRST(n), v); }
WORD1(round, V(sub)(V(add)(a, V(set)(12582912.0f)), V(set)(12582912.0f)))
WORD1(pow2, _mm512_scalef_ps(_mm512_set1_ps(1.0f), a))
static ALO_INLINE vec V(less)(vec a, vec b, vec x, vec y) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x);
}
WORD2(grow, _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(b, _mm512_set1_ps(-126.0f), _CMP_NLT_UQ), a, b))
static ALO_INLINE float V(sum)(vec a) { return _mm512_reduce_add_ps(a); }
static ALO_INLINE float V(most)(vec a) { return _mm512_reduce_max_ps(a); }
static ALO_INLINE void V(turn)(vec *r) {
    vec t[16];
    ALO_UNROLL for (int i = 0; i < 8; ++i) {
        t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    ALO_UNROLL for (int i = 0; i < 4; ++i) {
        r[4 * i] = _mm512_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
        r[4 * i + 1] = _mm512_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
        r[4 * i + 2] = _mm512_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
        r[4 * i + 3] = _mm512_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
    }
    ALO_UNROLL for (int i = 0; i < 4; ++i) {
        t[i] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
    }
    ALO_UNROLL for (int i = 0; i < 8; ++i) {
        r[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
    }
}
#undef ALO_FIRST
#define W(v) _mm512_castps_si512(v)
#define R(v) _mm512_castsi512_ps(v)
WORD1(upper, R(_mm512_and_si512(W(a), _mm512_set1_epi32(-65536))))
WORD1(lower, R(_mm512_slli_epi32(W(a), 16)))
WORD1(under, R(_mm512_srli_epi32(W(a), 16)))
WORD2(or, R(_mm512_or_si512(W(a), W(b))))
WORD1(whole, _mm512_cvtepi32_ps(W(a)))
static ALO_INLINE void V(zip)(vec a, vec b, vec *low, vec *high) {
    const __m512i first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    *low = _mm512_permutex2var_ps(a, first, b);
    *high = _mm512_permutex2var_ps(a, _mm512_add_epi32(first, _mm512_set1_epi32(8)), b);
}
static ALO_INLINE __m256i alo_round16_avx512(vec v) {
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(W(v), 16), _mm512_set1_epi32(1));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(
        _mm512_add_epi32(W(v), _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16));
}
static ALO_INLINE vec V(pairs)(const float *p) {
    return R(_mm512_inserti64x4(_mm512_castsi256_si512(alo_round16_avx512(V(load)(p))),
                                alo_round16_avx512(V(load)(p + 16)), 1));
}
static ALO_INLINE __m128i alo_round8_avx512(const float *p, vec scale) {
    return _mm512_cvtepi32_epi8(
        _mm512_add_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(V(load)(p), scale)), _mm512_set1_epi32(128)));
}
static ALO_INLINE vec V(bytes)(const float *p, float scale) {
    const vec by = V(set)(scale);
    __m512i all = _mm512_castsi128_si512(alo_round8_avx512(p, by));
    all = _mm512_inserti32x4(all, alo_round8_avx512(p + 16, by), 1);
    all = _mm512_inserti32x4(all, alo_round8_avx512(p + 32, by), 2);
    return R(_mm512_inserti32x4(all, alo_round8_avx512(p + 48, by), 3));
}
static ALO_INLINE vec V(dot8)(vec a, vec b, vec c) {
    const __m512i even = _mm512_madd_epi16(_mm512_and_si512(W(a), _mm512_set1_epi16(255)),
                                           _mm512_srai_epi16(_mm512_slli_epi16(W(b), 8), 8));
    const __m512i odd = _mm512_madd_epi16(_mm512_srli_epi16(W(a), 8), _mm512_srai_epi16(W(b), 8));
    return R(_mm512_add_epi32(W(c), _mm512_add_epi32(even, odd)));
}
/* The same by instructions that not every AVX-512 has. Intel's dot16 is two fused products, the upper terms
 * first: the bits of widened ones, but that below 2^-126 all is 0. AMD's was not tried: bf16 may have other
 * bits there. pairs_own: neighbours, from two vectors. */
static ALO_INLINE vec V(dot16_own)(vec a, vec b, vec c) {
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(c) : "v"(a), "v"(b));
    return c;
}
static ALO_INLINE vec V(dot8_own)(vec a, vec b, vec c) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(c) : "v"(a), "v"(b));
    return c;
}
static ALO_INLINE vec V(pairs_own)(vec low, vec high) {
    __asm__("vcvtne2ps2bf16 %1, %2, %0" : "=v"(low) : "v"(low), "v"(high));
    return low;
}
#define ALO_OWN_DOTS
#undef W
#undef R
#define V_HOLD(x) ALO_HOLD("+v", x)

#elif ALO_STAMP == 4 /* ---- NEON, 64 bits ---- */
#define ALO_LEVEL _neon
typedef float32x4_t vec;
enum { ALO_L(mr) = 8, ALO_L(nv) = 2, ALO_L(lanes) = 4 };
static ALO_INLINE vec  V(load)(const float *p) { return vld1q_f32(p); }
static ALO_INLINE void V(store)(float *p, vec v) { vst1q_f32(p, v); }
static ALO_INLINE vec V(set)(float x) { return vdupq_n_f32(x); }
WORD2(add, vaddq_f32(a, b))
WORD2(sub, vsubq_f32(a, b))
WORD2(mul, vmulq_f32(a, b))
WORD2(div, vdivq_f32(a, b))
WORD2(max, vbslq_f32(vcgtq_f32(a, b), a, b))
WORD2(min, vbslq_f32(vcltq_f32(a, b), a, b))
WORD3(fma, vfmaq_f32(c, a, b))
WORD3(nfma, vfmsq_f32(c, a, b))
WORD1(sqrt, vsqrtq_f32(a))
WORD1(round, vrndnq_f32(a))
WORD1(pow2, vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(a), vdupq_n_s32(127)), 23)))
static ALO_INLINE vec V(less)(vec a, vec b, vec x, vec y) { return vbslq_f32(vcltq_f32(a, b), x, y); }
WORD2(grow, V(less)(b, V(set)(-126.0f), V(set)(0.0f), V(mul)(a, V(pow2)(b))))
static ALO_INLINE float V(sum)(vec a) { return vaddvq_f32(a); }
static ALO_INLINE float V(most)(vec a) { return vmaxvq_f32(a); }
static ALO_INLINE void V(turn)(vec *r) {
    const float32x4x2_t a = vtrnq_f32(r[0], r[1]), b = vtrnq_f32(r[2], r[3]);
    r[0] = vcombine_f32(vget_low_f32(a.val[0]), vget_low_f32(b.val[0]));
    r[1] = vcombine_f32(vget_low_f32(a.val[1]), vget_low_f32(b.val[1]));
    r[2] = vcombine_f32(vget_high_f32(a.val[0]), vget_high_f32(b.val[0]));
    r[3] = vcombine_f32(vget_high_f32(a.val[1]), vget_high_f32(b.val[1]));
}
#define W(v) vreinterpretq_u32_f32(v)
#define R(v) vreinterpretq_f32_u32(v)
WORD1(upper, R(vandq_u32(W(a), vdupq_n_u32(0xffff0000u))))
WORD1(lower, R(vshlq_n_u32(W(a), 16)))
WORD1(under, R(vshrq_n_u32(W(a), 16)))
WORD2(or, R(vorrq_u32(W(a), W(b))))
WORD1(whole, vcvtq_f32_s32(vreinterpretq_s32_f32(a)))
static ALO_INLINE void V(zip)(vec a, vec b, vec *low, vec *high) {
    *low = vzip1q_f32(a, b);
    *high = vzip2q_f32(a, b);
}
static ALO_INLINE uint16x4_t alo_round16_neon(vec v) { /* to bfloat16 */
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(W(v), 16), vdupq_n_u32(1));
    return vshrn_n_u32(vaddq_u32(W(v), vaddq_u32(odd, vdupq_n_u32(0x7fff))), 16);
}
static ALO_INLINE vec V(pairs)(const float *p) {
    const uint16x4_t low = alo_round16_neon(V(load)(p)), high = alo_round16_neon(V(load)(p + 4));
    return vreinterpretq_f32_u16(vcombine_u16(low, high));
}
static ALO_INLINE int16x4_t alo_round8_neon(const float *p, vec scale) {
    return vqmovn_s32(vaddq_s32(vcvtnq_s32_f32(vmulq_f32(V(load)(p), scale)), vdupq_n_s32(128)));
}
static ALO_INLINE vec V(bytes)(const float *p, float scale) {
    const vec by = V(set)(scale);
    const int16x8_t low = vcombine_s16(alo_round8_neon(p, by), alo_round8_neon(p + 4, by));
    const int16x8_t high = vcombine_s16(alo_round8_neon(p + 8, by), alo_round8_neon(p + 12, by));
    return vreinterpretq_f32_u8(vcombine_u8(vqmovun_s16(low), vqmovun_s16(high)));
}
WORD1(signs, R(veorq_u32(W(a), vdupq_n_u32(0x80808080u)))) /* dot products here are of signed bytes */
static ALO_INLINE vec V(dot8)(vec a, vec b, vec c) {
    const int8x16_t x = vreinterpretq_s8_f32(a), y = vreinterpretq_s8_f32(b);
    const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(x), vget_low_s8(y)));
    const int32x4_t high = vpaddlq_s16(vmull_high_s8(x, y));
    return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(c), vpaddq_s32(low, high)));
}
/* The same by instructions that not every CPU or assembler has: as numbers, with those of the registers. */
#define ALO_INST(code, d, n, m)                                                                              \
    ".irp alo_i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n\t"   \
    ".equ .Lalo_v\\alo_i, \\alo_i\n\t.endr\n\t"                                                            \
    ".inst " code " | .Lalo_" m " << 16 | .Lalo_" n " << 5 | .Lalo_" d "\n\t"
static ALO_INLINE vec V(dot16_own)(vec a, vec b, vec c) {
    __asm__(ALO_INST("0x6e40fc00" /* bfdot */, "%0", "%1", "%2") : "+w"(c) : "w"(a), "w"(b));
    return c;
}
static ALO_INLINE vec V(dot8_own)(vec a, vec b, vec c) {
    __asm__(ALO_INST("0x4e809400" /* sdot */, "%0", "%1", "%2") : "+w"(c) : "w"(a), "w"(b));
    return c;
}
static ALO_INLINE vec V(pairs_own)(vec low, vec high) { /* bfcvtn, bfcvtn2 */
    vec v;
    __asm__(ALO_INST("0x0ea16800", "%0", "%1", "v0") ALO_INST("0x4ea16800", "%0", "%2", "v0")
            : "=&w"(v) : "w"(low), "w"(high));
    return v;
}
#undef ALO_INST
#define ALO_OWN_DOTS
#undef W
#undef R
#define V_HOLD(x) (void)0
#endif
#ifndef ALO_OWN_DOTS
WORD2(pairs_own, V(or)(a, b)) /* never asked for */
#endif
#if defined(ALO_STAMP) && ALO_STAMP == 4
enum { ALO_L(plus) = 0 };
#else
enum { ALO_L(plus) = 128 };
WORD1(signs, a)
#endif

#if !defined(ALO_STAMP) || ALO_STAMP == 4 /* no masks */
static ALO_INLINE vec V(load_some)(const float *p, int n) {
    float part[ALO_L(lanes)] = {0};
    for (int i = 0; i < n; ++i) part[i] = p[i];
    return V(load)(part);
}
static ALO_INLINE void V(store_some)(float *p, vec v, int n) {
    float part[ALO_L(lanes)];
    V(store)(part, v);
    for (int i = 0; i < n; ++i) p[i] = part[i];
}
#endif

enum { ALO_L(nr) = ALO_L(nv) * ALO_L(lanes) }; /* columns of a tile and of a panel */

/* The first n of all lanes: from memory, into it, and with zeros beside them. */
static ALO_INLINE vec V(take)(const float *p, int n) {
    return n == ALO_L(lanes) ? V(load)(p) : V(load_some)(p, n);
}
static ALO_INLINE void V(give)(float *p, vec v, int n) {
    if (n == ALO_L(lanes))
        V(store)(p, v);
    else
        V(store_some)(p, v, n);
}
static ALO_INLINE vec V(first)(vec v, int n) {
    float part[ALO_L(lanes)];
    V(store)(part, v);
    return V(take)(part, n);
}

/* e^a to 1.5 ulp for a up to 88; 0 below -87, NaN stays NaN. As alo_exp, with fused products. */
static ALO_INLINE vec V(exp)(vec a) {
    const vec y = V(max)(V(set)(-87.3f), a), n = V(round)(V(mul)(y, V(set)(1.44269504f)));
    const vec r = V(nfma)(n, V(set)(1.42860677e-6f), V(nfma)(n, V(set)(0.693145752f), y));
    vec p = V(fma)(V(set)(0.00138143206f), r, V(set)(0.00836885069f));
    p = V(fma)(p, r, V(set)(0.0416684002f));
    p = V(fma)(p, r, V(set)(0.166665196f));
    p = V(fma)(p, r, V(set)(0.49999994f));
    p = V(add)(V(fma)(V(mul)(r, r), p, r), V(set)(1.0f));
    return V(less)(a, V(set)(-87.3f), V(set)(0.0f), V(mul)(p, V(pow2)(n)));
}

/* 2^a to 1.5 ulp for a up to 126; 0 for a < -126.5, NaN stays NaN. */
static ALO_INLINE vec V(exp2)(vec a) {
    const vec y = V(max)(V(set)(-192.0f), a), n = V(round)(y), r = V(sub)(y, n);
    vec p = V(fma)(V(set)(0.00132764725f), r, V(set)(0.00967554096f));
    p = V(fma)(p, r, V(set)(0.0555071309f));
    p = V(fma)(p, r, V(set)(0.240221202f));
    p = V(fma)(p, r, V(set)(0.693146944f));
    return V(grow)(V(fma)(p, r, V(set)(1.00000012f)), n);
}
/* clang-format on */

/* ---- activations: f(x) and, where `slope` is given, f'(x); formulas as in the reference ---- */

/* Error function; 2 ulp. */
static ALO_INLINE vec V(erf)(vec x) {
    const vec one = V(set)(1.0f), t = V(max)(x, V(sub)(V(set)(0.0f), x)), z = V(mul)(x, x);
    vec p = V(fma)(V(set)(7.85386219e-5f), z, V(set)(-0.000801019371f));
    p = V(fma)(p, z, V(set)(0.00518832775f));
    p = V(fma)(p, z, V(set)(-0.0268538129f));
    p = V(fma)(p, z, V(set)(0.112835854f));
    p = V(fma)(p, z, V(set)(-0.37612626f));
    p = V(fma)(p, z, V(set)(0.128379166f));
    const vec u = V(sub)(V(min)(V(set)(3.9375f), t), V(set)(1.25f));
    vec q = V(fma)(V(set)(-2.2180946e-5f), u, V(set)(-4.51836859e-5f));
    q = V(fma)(q, u, V(set)(0.00135940267f));
    q = V(fma)(q, u, V(set)(-0.00352749391f));
    q = V(fma)(q, u, V(set)(-0.00933250599f));
    q = V(fma)(q, u, V(set)(0.0440665111f));
    q = V(fma)(q, u, V(set)(0.040252436f));
    q = V(fma)(q, u, V(set)(-0.404128939f));
    q = V(fma)(q, u, V(set)(0.52694273f));
    q = V(mul)(q, q);
    q = V(nfma)(q, q, one);
    q = V(less)(x, V(set)(0.0f), V(sub)(V(set)(0.0f), q), q);
    return V(less)(t, one, V(fma)(x, p, x), q);
}

/* 1 / (1 + e^-x), without overflow. */
static ALO_INLINE vec V(sigmoid)(vec x) {
    const vec one = V(set)(1.0f), zero = V(set)(0.0f), e = V(exp)(V(min)(x, V(sub)(zero, x)));
    return V(div)(V(less)(x, zero, e, one), V(add)(one, e));
}

ALO_APART static vec V(act)(int kind, vec x, vec *slope) {
    const vec one = V(set)(1.0f), half = V(set)(0.5f), zero = V(set)(0.0f);
    switch (kind) {
    case ALORE_GELU: {
        const vec phi = V(fma)(half, V(erf)(V(mul)(x, V(set)(0.70710678f))), half);
        if (slope) {
            const vec e = V(exp)(V(mul)(V(mul)(V(set)(-0.5f), x), x));
            *slope = V(fma)(V(mul)(x, V(set)(0.39894228f)), e, phi);
        }
        return V(mul)(x, phi);
    }
    case ALORE_GELU_TANH: { /* (1 + tanh u) / 2 = sigma(2 u) */
        const vec k = V(set)(0.79788456f), cube = V(mul)(V(set)(0.044715f), V(mul)(x, x));
        const vec s = V(sigmoid)(V(mul)(V(mul)(V(add)(k, k), x), V(add)(one, cube)));
        const vec inner = V(mul)(V(add)(k, k), V(fma)(V(set)(3.0f), cube, one));
        if (slope) *slope = V(fma)(V(mul)(x, V(mul)(s, V(sub)(one, s))), inner, s);
        return V(mul)(x, s);
    }
    case ALORE_QUICK_GELU: case ALORE_SILU: {
        const vec kx = V(mul)(V(set)(kind == ALORE_SILU ? 1.0f : 1.702f), x), s = V(sigmoid)(kx);
        if (slope) *slope = V(fma)(V(mul)(kx, s), V(sub)(one, s), s);
        return V(mul)(x, s);
    }
    case ALORE_RELU:
        if (slope) *slope = V(less)(zero, x, one, zero);
        return V(less)(zero, x, x, V(mul)(x, zero));
    case ALORE_TANH: {
        const vec s = V(sigmoid)(V(add)(x, x)), t = V(sub)(V(add)(s, s), one);
        if (slope) *slope = V(nfma)(t, t, one);
        return t;
    }
    default: {
        const vec s = V(sigmoid)(x);
        if (slope) *slope = V(mul)(s, V(sub)(one, s));
        return s;
    }
    }
}
static ALO_INLINE vec V(slope)(int kind, vec x) {
    vec slope;
    V(act)(kind, x, &slope);
    return slope;
}

/* ============================================================================
 * >> 09 product
 * y = a b, and what follows a product, on one level of the CPU. b is cut into panels of `nr` columns, whose
 * rows lie one behind the other; a into strips of at most `mr` rows, balanced, so that none is left with a
 * single row. A tile, all sums of a strip's rows by a panel's columns, stays in registers while it walks
 * through ALO_DEEP words; then it is added to y. Each number of y is one sum in one order, whatever the
 * shape around it, the thread, or the place. What follows (bias, activation ...) is done to a tile while it
 * is in the first cache.
 *
 * A word is a float, two bfloat16 or four bytes of successive terms: the tile is the same, its dot product
 * another; pairs without such an instruction are widened to floats on the way. Frozen weights W [out, in] are
 * packed before, `nr` rows to a panel [words of in, nr]; their transpose is read from the same panels by
 * turning blocks of them, which costs 2 to 5 of 100 at 197 rows.
 * Bytes: a row of a has one scale, a row of W another; a's have `plus` added, which `excess` takes away. */

typedef struct ALO_L(strip) {   /* what a tile needs: y = from + a b for k words */
    const float *a, *b, *from;  /* from NULL: zero */
    float *y;
    ptrdiff_t a_row, a_col, b_row, y_row, from_row;
    int k;
    const char *next;           /* the next panel comes into the cache: its next line, every `pace` words; */
    ptrdiff_t jump;             /* bytes to skip after every `block` lines */
    int pace, block, left;      /* of this block `left` lines */
} ALO_L(strip);
typedef void (*ALO_L(tiler))(ALO_L(strip) *s, int rows);

static ALO_INLINE vec ALO_L(dot)(const int form, vec a, vec b, vec c) {
#ifdef ALO_OWN_DOTS
    if (form == ALO_PACK_BF16 + ALO_OWN) return V(dot16_own)(a, b, c);
    if (form == ALO_PACK_I8 + ALO_OWN) return V(dot8_own)(a, b, c);
#endif
    return form == ALO_PACK_I8 ? V(dot8)(a, b, c) : V(fma)(a, b, c);
}

/* One word of a tile. */
static ALO_INLINE void ALO_L(word)(vec sum[][ALO_L(nv)], const float *a, ptrdiff_t a_row, const float *b,
                                   const int rows, const int wide, const int form) {
    vec of_b[ALO_L(nv)];
    ALO_UNROLL for (int j = 0; j < wide; ++j) of_b[j] = V(load)(b + j * ALO_L(lanes));
    ALO_UNROLL for (int i = 0; i < rows; ++i) {
        vec x = V(set)(a[i * a_row]);
        V_HOLD(x);
        ALO_UNROLL for (int j = 0; j < wide; ++j) sum[i][j] = ALO_L(dot)(form, x, of_b[j], sum[i][j]);
    }
}

static ALO_INLINE void ALO_L(tile)(ALO_L(strip) *s, const int rows, const int wide, const bool packed,
                                   const int form) {
    vec sum[ALO_L(mr)][ALO_L(nv)];
    const float *a = s->a, *b = s->b;
    const ptrdiff_t a_row = packed ? 1 : s->a_row;
    const ptrdiff_t a_col = packed && form == ALO_PACK_F32 ? rows : s->a_col;
    const ptrdiff_t b_row = packed ? (ptrdiff_t)ALO_L(nr) : s->b_row, y_row = s->y_row;
    float *y = s->y;
    const int k = s->k;
    ALO_UNROLL for (int i = 0; i < rows; ++i)
        ALO_UNROLL for (int j = 0; j < wide; ++j)
            sum[i][j] = s->from ? V(load)(s->from + i * s->from_row + j * ALO_L(lanes)) : V(set)(0.0f);
    for (int e = 0; e < k;) {
        const int stop = packed && s->pace < k - e ? e + s->pace : k;
        if (packed) {
            ALO_PREFETCH(s->next);
            s->next += 64;
            if (--s->left == 0) s->next += s->jump, s->left = s->block;
        }
        if (packed)
            for (; e < stop; ++e, a += a_col, b += b_row) ALO_L(word)(sum, a, a_row, b, rows, wide, form);
        else
            ALO_TWICE for (; e < stop; ++e, a += a_col, b += b_row) {
                for (int j = 0; j < wide * ALO_L(lanes); j += 16) /* what stands beside b */
                    ALO_PREFETCH(b + wide * ALO_L(lanes) + j);
                ALO_L(word)(sum, a, a_row, b, rows, wide, form);
            }
    }
    ALO_UNROLL for (int i = 0; i < rows; ++i)
        ALO_UNROLL for (int j = 0; j < wide; ++j) V(store)(y + i * y_row + j * ALO_L(lanes), sum[i][j]);
}

/* clang-format off */
#define ALO_TILE(n, p) case n: if (n <= ALO_L(mr)) ALO_L(tile)(s, n, ALO_L(nv), p, ALO_PACK_F32); break;
#define ALO_TILER(name, packed)                                                                              \
    ALO_APART static void ALO_L(name)(ALO_L(strip) *s, int rows) {                                           \
        switch (rows) {                                                                                      \
        ALO_TILE(1, packed) ALO_TILE(2, packed) ALO_TILE(3, packed) ALO_TILE(4, packed) ALO_TILE(5, packed)  \
        ALO_TILE(6, packed) ALO_TILE(7, packed) ALO_TILE(8, packed) ALO_TILE(9, packed) ALO_TILE(10, packed) \
        ALO_TILE(11, packed) ALO_TILE(12, packed)                                                            \
        default: break;                                                                                      \
        }                                                                                                    \
    }
ALO_TILER(tile_plain, false)
ALO_TILER(tile_f32, true)
/* Fewer numbers of rows, which compile faster: of others first the most there is, then the rest. `most` at
 * once: four where a dot product takes several instructions. */
#define ALO_STEPS(name, wide, packed, form, most)                                                            \
    ALO_APART static void ALO_L(name)(ALO_L(strip) *s, int rows) {                                     \
        ALO_L(strip) part = *s;                                                                              \
        if (packed) part.a_row = 1, part.a_col = rows;                                                       \
        for (int some; rows > 0; rows -= some) {                                                             \
            some = rows >= most ? most : rows < 2 ? 1 : rows / 2 * 2;                                        \
            if (rows == 11 && most > 11) some = 11;                                                          \
            switch (some) {                                                                                  \
            ALO_STEP(1, wide, packed, form) ALO_STEP(2, wide, packed, form) ALO_STEP(4, wide, packed, form)  \
            ALO_STEP(6, wide, packed, form) ALO_STEP(8, wide, packed, form) ALO_STEP(10, wide, packed, form) \
            ALO_STEP(11, wide, packed, form) ALO_STEP(12, wide, packed, form)                                \
            default: break;                                                                                  \
            }                                                                                                \
            part.a += some * part.a_row;                                                                     \
            part.y += some * part.y_row;                                                                     \
            if (part.from) part.from += some * part.from_row;                                                \
        }                                                                                                    \
        s->next = part.next;                                                                                 \
        s->left = part.left;                                                                                 \
    }
#define ALO_STEP(n, wide, packed, form) \
    case n: if (n <= ALO_L(mr)) ALO_L(tile)(&part, n, wide, packed, form); break;
ALO_STEPS(tile_slim, 1, false, ALO_PACK_F32, ALO_L(mr))
#ifdef ALO_OWN_DOTS
ALO_STEPS(tile_bf16_own, ALO_L(nv), true, ALO_PACK_BF16 + ALO_OWN, ALO_L(mr))
ALO_STEPS(tile_i8_own, ALO_L(nv), true, ALO_PACK_I8 + ALO_OWN, ALO_L(mr))
ALO_STEPS(tile_pairs, ALO_L(nv), false, ALO_PACK_BF16 + ALO_OWN, ALO_L(mr))
ALO_STEPS(tile_pairs_slim, 1, false, ALO_PACK_BF16 + ALO_OWN, ALO_L(mr))
#endif
#undef ALO_STEP
#define ALO_STEP(n, wide, packed, form) case n: if (n <= 4) ALO_L(tile)(&part, n, wide, packed, form); break;
ALO_STEPS(tile_i8, ALO_L(nv), true, ALO_PACK_I8, 4)
#undef ALO_STEP
#undef ALO_STEPS
#undef ALO_TILE
#undef ALO_TILER
/* clang-format on */

/* to[e next + i] = from[i row + e col] for i < n, 0 for i up to `room`; e < k. */
static void ALO_L(pack)(float *to, ptrdiff_t next, int room, const float *from, ptrdiff_t row, ptrdiff_t col,
                        int n, int k) {
    const int L = ALO_L(lanes);
    if (row == 1 && n == room && room % L == 0) { /* whole rows of panels */
        for (int e = 0; e < k; ++e)
            for (int i = 0; i < room; i += L) V(store)(to + e * next + i, V(load)(from + e * col + i));
        return;
    }
    for (int first = 0; first < room; first += L) {
        const int some = n - first < L ? n - first : L, end = room - first < L ? room - first : L;
        const float *at = from + first * row;
        float *out = to + first;
        int e = 0;
        for (; col == 1 && e < k; e += L, at += L) {
            const int deep = k - e < L ? k - e : L;
            vec r[ALO_L(lanes)];
            if (deep < L) {
                for (int i = 0; i < L; ++i) r[i] = i < some ? V(load_some)(at + i * row, deep) : V(set)(0.0f);
                V(turn)(r);
                for (int i = 0; i < deep; ++i, out += next) V(give)(out, r[i], end);
                continue;
            }
            if (some == L)
                ALO_UNROLL for (int i = 0; i < ALO_L(lanes); ++i) r[i] = V(load)(at + i * row);
            else
                ALO_UNROLL for (int i = 0; i < ALO_L(lanes); ++i)
                    r[i] = i < some ? V(load)(at + i * row) : V(set)(0.0f);
            V(turn)(r);
            if (end == L)
                ALO_UNROLL for (int i = 0; i < ALO_L(lanes); ++i, out += next) V(store)(out, r[i]);
            else
                ALO_UNROLL for (int i = 0; i < ALO_L(lanes); ++i, out += next) V(store_some)(out, r[i], end);
        }
        for (; e < k; ++e, at += col, out += next)
            for (int i = 0; i < end; ++i) out[i] = i < some ? at[i * row] : 0.0f;
    }
}

/* The same for words of `form`: k terms of each row, one behind the other; bytes are scaled by scale[i]. */
static void ALO_L(pack_words)(int form, float *to, int room, const float *from, ptrdiff_t row, int n, int k,
                              const float *scale) {
    const int L = ALO_L(lanes), terms = alo_terms(form), words = (k + terms - 1) / terms;
    float part[4 * ALO_L(lanes)];
    for (int first = 0; first < room; first += L) {
        const int end = room - first < L ? room - first : L;
        float *out = to + first;
        for (int e = 0; e < words; e += L) {
            const int left = k - e * terms < L * terms ? k - e * terms : L * terms;
            const int rows = words - e < L ? words - e : L;
            vec r[ALO_L(lanes)];
            const bool full = first + L <= n && left == L * terms;
            const float *base = from + first * row + (ptrdiff_t)e * terms;
            for (int i = 0; i < L; ++i) {
                const float *at = base + i * row;
                const float by = form == ALO_PACK_I8 && first + i < n ? scale[first + i] : 1.0f;
                if (!full && (first + i >= n || left < L * terms)) { /* zeros beside what there is */
                    for (int q = 0; q < L * terms; ++q) part[q] = first + i < n && q < left ? at[q] : 0.0f;
                    at = part;
                }
                r[i] = form == ALO_PACK_I8 ? V(signs)(V(bytes)(at, by)) : V(pairs)(at);
            }
            V(turn)(r);
            for (int i = 0; i < rows; ++i, out += room) {
                if (end == L) V(store)(out, r[i]);
                else V(store_some)(out, r[i], end);
            }
        }
    }
}

/* Pairs along `in` of nr / 2 rows of a panel of W [in words, nr] to pairs along its nr rows: to[o / 2, i],
 * for the first n columns i and the first `words` words. */
static void ALO_L(turn_pairs)(float *to, const float *from, int n, int words) {
    const int L = ALO_L(lanes), nr = ALO_L(nr);
    for (int o = 0; o < nr; o += L) {
        vec r[ALO_L(lanes) + 1], low, high;
        for (int i = 0; i < L; ++i) r[i] = 2 * i < n ? V(load)(from + (ptrdiff_t)i * nr + o) : V(set)(0.0f);
        V(turn)(r);
        for (int i = 0; i < L && (o + i) / 2 < words; i += 2) {
            float *out = to + (ptrdiff_t)(o + i) / 2 * nr;
            V(zip)(V(or)(V(under)(V(lower)(r[i])), V(lower)(r[i + 1])),
                   V(or)(V(under)(r[i]), V(upper)(r[i + 1])), &low, &high);
            V(store)(out, low);
            V(store)(out + L, high);
        }
    }
}

/* The largest magnitude of a row. */
static float ALO_L(magnitude)(const float *x, int count) {
    const vec zero = V(set)(0.0f);
    vec most = zero;
    for (int j = 0; j < count; j += ALO_L(lanes)) {
        const vec v = V(take)(x + j, count - j < ALO_L(lanes) ? count - j : (int)ALO_L(lanes));
        most = V(max)(most, V(max)(V(sub)(zero, v), v));
    }
    return V(most)(most);
}

/* Rows of W [out, in] as a panel of `form`, from f32. Behind bytes stand a row of scales, one of excess. */
static void ALO_L(pack_panel)(int form, float *to, const float *from, int n, int in) {
    const int nr = ALO_L(nr), words = (in + 3) / 4;
    const uint32_t plus = ALO_L(plus) * 0x01010101u;
    float scale[ALO_L(nr)];
    if (form == ALO_PACK_F32) ALO_L(pack)(to, nr, nr, from, in, 1, n, in);
    if (form == ALO_PACK_BF16) ALO_L(pack_words)(form, to, nr, from, in, n, in, NULL);
    if (form != ALO_PACK_I8) return;
    for (int i = 0; i < n; ++i) {
        const float most = ALO_L(magnitude)(from + (ptrdiff_t)i * in, in);
        to[(ptrdiff_t)words * nr + i] = most / 127.0f;
        scale[i] = most > 0 ? 127.0f / most : 0.0f;
    }
    ALO_L(pack_words)(form, to, nr, from, in, n, in, scale);
    for (int i = 0; i < nr; ++i) {
        int32_t sum = 0;
        for (int e = 0; e < words; ++e) {
            float *at = to + (ptrdiff_t)e * nr + i;
            const uint32_t word = i < n ? alo_bits(*at) ^ plus : 0;
            *at = alo_float(word);
            for (int k = 0; k < 32; k += 8) sum += (int32_t)((word >> k & 255u) ^ 128u) - 128;
        }
        if (i >= n) to[(ptrdiff_t)words * nr + i] = 0;
        to[(ptrdiff_t)(words + 1) * nr + i] = alo_float((uint32_t)(ALO_L(plus) * sum));
    }
}

/* Strips: how many of at most `mr` rows, and where the p-th begins. */
static int ALO_L(strips)(int rows) { return (rows + ALO_L(mr) - 1) / ALO_L(mr); }
static int ALO_L(begin)(int rows, int p) {
    const int count = ALO_L(strips)(rows), least = rows / count, more = rows % count;
    return p * least + (p < more ? p : more);
}

static ALO_INLINE float *ALO_L(spot)(const alo_mat *a, int row, int col) {
    return a->p ? (float *)a->p + a->at + row * a->row + col * a->col : NULL;
}

/* What follows the product, for rows x n sums at `sum`, which are y's from (row, col) on. For bytes `scale`
 * has those of a's rows and `b` the end of b's panel. */
static void ALO_L(follow)(const alo_job *o, const float *sum, ptrdiff_t sum_row, int row, int col, int rows,
                          int n, const float *scale, const float *b) {
    const int L = ALO_L(lanes);
    for (int i = 0; i < rows; ++i, sum += sum_row) {
        float *y = ALO_L(spot)(&o->y, row + i, col), *z = ALO_L(spot)(&o->slope, row + i, col);
        const float *m = ALO_L(spot)(&o->times, row + i, col), *from = ALO_L(spot)(&o->start, row + i, col);
        const float *plus = ALO_L(spot)(&o->plus, row + i, col);
        for (int j = 0; j < n; j += L) {
            const int some = n - j < L ? n - j : L;
            vec x = V(take)(sum + j, some), slope = x;
            if (scale) { /* the sums are integers, their excess exact in f32 up to 2^24 */
                x = V(mul)(V(sub)(V(whole)(x), V(whole)(V(load)(b + ALO_L(nr) + j))),
                           V(mul)(V(set)(scale[i]), V(load)(b + j)));
                if (from) x = V(add)(x, V(load_some)(from + j, some));
            }
            if (o->bias) x = V(add)(x, V(load_some)(o->bias + col + j, some));
            if (plus) x = V(add)(x, V(load_some)(plus + j, some));
            if (o->act) x = V(act)(o->act - 1, x, z ? &slope : NULL);
            if (m) x = V(mul)(x, V(load_some)(m + j, some));
            V(store_some)(y + j, x, some);
            if (z) V(store_some)(z + j, slope, some);
        }
    }
}

/* One tile: rows x n numbers of y from (row, col) on; `s` has its a, b and k. `last`: they are complete. */
static void ALO_L(place)(const alo_job *o, ALO_L(strip) *s, ALO_L(tiler) tiler, int row, int col, int rows,
                         int n, int wide, bool first, bool last, const float *scale) {
    float edge[ALO_L(mr) * ALO_L(nr)];
    const bool turned = o->y.col != 1, apart = n < wide || turned || scale != NULL;
    float *y = ALO_L(spot)(&o->y, row, col);
    s->from = scale ? NULL : first ? ALO_L(spot)(&o->start, row, col) : y;
    s->from_row = first ? o->start.row : o->y.row;
    s->y = apart ? edge : y;
    s->y_row = apart ? wide : o->y.row;
    if (apart && s->from) {
        ALO_L(pack)(edge, wide, wide, s->from, first ? o->start.col : o->y.col, s->from_row, n, rows);
        s->from = edge;
        s->from_row = wide;
    }
    for (int i = 0; i < rows && s->k > ALO_SLIM && !turned; ++i) /* y and what follows come near */
        for (int j = 0; j < n; j += 16) {
            ALO_PREFETCH(y + i * o->y.row + j);
            if (last && o->times.p) ALO_PREFETCH(ALO_L(spot)(&o->times, row + i, col + j));
            if (last && o->slope.p) ALO_PREFETCH(ALO_L(spot)(&o->slope, row + i, col + j));
        }
    tiler(s, rows);
    if (last && (o->follows || scale))
        ALO_L(follow)(o, s->y, s->y_row, row, col, rows, n, scale, s->b + (ptrdiff_t)s->k * ALO_L(nr));
    else if (turned)
        ALO_L(pack)(y, o->y.col, rows, edge, wide, 1, rows, n);
    else if (apart)
        ALO_L(pack)(y, o->y.row, n, edge, 1, wide, n, rows);
}

/* Where word e of panel `p` of b stands, or that of the first of the blocks that it is turned from. */
static const float *ALO_L(source)(const alo_job *o, int p, int e) {
    const int nr = ALO_L(nr), terms = alo_terms(o->form), words = (o->b.rows + terms - 1) / terms;
    const float *b = (const float *)o->b.p + o->b.at;
    if (o->form && !o->turned)
        return b + ((ptrdiff_t)p * (words + (o->form == ALO_PACK_I8 ? 2 : 0)) + e) * nr;
    if (o->form) /* [words of columns, nr] for each nr rows */
        return b + (ptrdiff_t)e * terms * ((o->b.cols + terms - 1) / terms) + (ptrdiff_t)p * nr / terms * nr;
    return b + e * o->b.row + (ptrdiff_t)p * nr * o->b.col;
}

/* Words of n pairs each as rows of n floats: the upper ones of the pairs, then the lower ones. Where the CPU
 * has no product of pairs they are widened so, and are products of f32. */
static void ALO_L(unpair)(float *to, const float *from, int n, int words) {
    const int L = ALO_L(lanes);
    for (int e = 0; e < words; ++e, from += n, to += 2 * n)
        for (int i = 0; i < n; i += L) {
            const int some = n - i < L ? n - i : L;
            const vec v = V(take)(from + i, some);
            V(give)(to + i, V(upper)(v), some);
            V(give)(to + n + i, V(lower)(v), some);
        }
}

/* Words e .. e+k-1 of panel `p` of b, packed where they are not already, and widened if asked for. */
static const float *ALO_L(panel)(const alo_job *o, int p, int e, int k, float *room, bool wide) {
    const int nr = ALO_L(nr), n = o->b.cols - p * nr < nr ? o->b.cols - p * nr : nr;
    const float *from = ALO_L(source)(o, p, e);
    if (o->form && !o->turned && wide) ALO_L(unpair)(room, from, nr, k);
    if (o->form && !o->turned) return wide ? room : from;
    if (o->form == ALO_PACK_F32)
        for (int at = 0; at < k; at += nr, from += (ptrdiff_t)nr * o->b.cols)
            ALO_L(pack)(room + at * nr, nr, nr, from, nr, 1, n, k - at < nr ? k - at : nr);
    else if (o->form == ALO_PACK_BF16)
        for (int at = 0; at < k; at += nr / 2, from += (ptrdiff_t)nr * ((o->b.cols + 1) / 2)) {
            float block[ALO_L(nr) * ALO_L(nr)];
            const int some = k - at < nr / 2 ? k - at : nr / 2;
            ALO_L(turn_pairs)(wide ? block : room + at * nr, from, n, some);
            if (wide) ALO_L(unpair)(room + 2 * at * nr, block, nr, some);
        }
    else
        ALO_L(pack)(room, nr, nr, from, o->b.col, o->b.row, n, k);
    return room;
}

/* ALO_PANEL columns of y for each task. Scratch: alo_job_room. */
static void ALO_L(job_packed)(const alo_job *o, void *scratch, int first, int last) {
    const int nr = ALO_L(nr), all = (o->y.cols + nr - 1) / nr;
    const int terms = alo_terms(o->form), words = (o->a.cols + terms - 1) / terms;
    const bool bytes = o->form == ALO_PACK_I8, wide = o->form == ALO_PACK_BF16 && !(o->own & ALO_OWN_BF16);
    const int limit = wide ? ALO_DEEP / 2 : (int)ALO_DEEP, deep = bytes || words < limit ? words : limit;
    const float *a = (const float *)o->a.p + o->a.at;
    float *room = (float *)scratch, *const strips = room + (ptrdiff_t)deep * (wide ? 2 : 1) * ALO_PANEL;
    float scale[ALO_HIGH], inverse[ALO_HIGH];
    ALO_L(tiler) tiler = bytes ? ALO_L(tile_i8) : ALO_L(tile_f32);
    ALO_L(strip) s;
#ifdef ALO_OWN_DOTS
    if (bytes && o->own & ALO_OWN_I8) tiler = ALO_L(tile_i8_own);
    if (o->form == ALO_PACK_BF16 && !wide) tiler = ALO_L(tile_bf16_own);
#endif
    memset(&s, 0, sizeof s);
    first *= ALO_PANEL / nr;
    last = last * (ALO_PANEL / nr) < all ? last * (ALO_PANEL / nr) : all;
    for (int top = 0; top < o->y.rows; top += ALO_HIGH) {
        const int rows = o->y.rows - top < ALO_HIGH ? o->y.rows - top : (int)ALO_HIGH;
        const int count = ALO_L(strips)(rows);
        for (int i = 0; bytes && i < rows; ++i) {
            const float most = ALO_L(magnitude)(a + (top + i) * o->a.row, o->a.cols);
            scale[i] = most / 127.0f;
            inverse[i] = most > 0 ? 127.0f / most : 0.0f;
        }
        for (int e = 0; e < words; e += deep) {
            const int k = words - e < deep ? words - e : deep, left = o->a.cols - e * terms;
            for (int p = 0; p < count; ++p) {
                const int row = ALO_L(begin)(rows, p), n = ALO_L(begin)(rows, p + 1) - row;
                const float *from = a + (top + row) * o->a.row + (ptrdiff_t)e * terms * o->a.col;
                float *to = strips + (ptrdiff_t)row * (wide ? 2 * k : k);
                if (terms == 1) ALO_L(pack)(to, n, n, from, o->a.row, o->a.col, n, k);
                else
                    ALO_L(pack_words)(o->form, wide ? room : to, n, from, o->a.row, n,
                                      left < k * terms ? left : k * terms, inverse + row);
                if (wide) ALO_L(unpair)(to, room, n, k);
            }
            s.k = wide ? 2 * k : k;
            s.pace = (wide ? 32 : 16) * count / nr > 1 ? (wide ? 32 : 16) * count / nr : 1;
            s.block = o->turned ? nr / terms * nr / 16 : 1 << 30;
            s.jump = o->turned ? (ptrdiff_t)((o->b.cols + terms - 1) / terms - nr / terms) * nr * 4 : 0;
            for (int q = first; q < last; ++q) {
                const int col = q * nr, n = o->y.cols - col < nr ? o->y.cols - col : nr;
                s.b = ALO_L(panel)(o, q, e, k, room, wide);
                const bool end = q + 1 == last;
                s.next = (const char *)ALO_L(source)(o, end ? first : q + 1, end ? e + k : e);
                s.left = s.block;
                for (int p = 0; p < count; ++p) {
                    const int row = ALO_L(begin)(rows, p), high = ALO_L(begin)(rows, p + 1) - row;
                    s.a = strips + (ptrdiff_t)row * s.k;
                    ALO_L(place)(o, &s, tiler, top + row, col, high, n, nr, e == 0, e + k == words,
                                 bytes ? scale + row : NULL);
                }
            }
        }
    }
}

/* The same where one of the extents is small: a is read in place. `scratch` holds a panel of b. Where a is
 * the transpose of more rows than y has columns, y^T = b^T a^T reads them in whole lines. */
static void ALO_L(job_in_place)(const alo_job *job, void *scratch, int first, int last) {
    alo_job o = *job;
    const bool turned = o.a.row == 1 && o.y.cols > 1 && o.y.rows > o.y.cols && !o.follows;
    int col = first * ALO_PANEL, end = last * ALO_PANEL < o.y.cols ? last * ALO_PANEL : o.y.cols;
    if (turned) { /* these columns, as rows */
        o.a = alo_band(alo_flip(job->b), col, end - col), o.b = alo_flip(job->a);
        o.y = alo_band(alo_flip(job->y), col, end - col);
        o.start = alo_band(alo_flip(job->start), col, end - col);
        col = 0, end = o.y.cols;
    }
    const bool slim = o.y.cols <= ALO_L(lanes) && !turned;
    const int nr = slim ? (int)ALO_L(lanes) : (int)ALO_L(nr), count = ALO_L(strips)(o.y.rows);
    ALO_L(strip) s;
    memset(&s, 0, sizeof s);
    s.k = o.a.cols;
    s.a_row = o.a.row;
    s.a_col = o.a.col;
    for (; col < end; col += nr) {
        const int n = o.y.cols - col < nr ? o.y.cols - col : nr;
        const float *from = (const float *)o.b.p + o.b.at + col * o.b.col;
        const bool direct = o.b.col == 1 && n == nr;
        s.b = direct ? from : (const float *)scratch;
        s.b_row = direct ? o.b.row : nr;
        if (!direct) ALO_L(pack)((float *)scratch, nr, nr, from, o.b.col, o.b.row, n, o.a.cols);
        for (int p = 0; p < count; ++p) {
            const int row = ALO_L(begin)(o.y.rows, p), high = ALO_L(begin)(o.y.rows, p + 1) - row;
            s.a = (const float *)o.a.p + o.a.at + row * o.a.row;
            ALO_L(place)(&o, &s, slim ? ALO_L(tile_slim) : ALO_L(tile_plain), row, col, high, n, nr, true,
                         true, NULL);
        }
    }
}

/* y (+)= a b as other kernels ask for it. */
static void ALO_L(product)(alo_mat y, alo_mat a, alo_mat b, bool add, void *scratch) {
    static const alo_job none = ALORE_ZERO;
    alo_job o = none;
    o.y = y;
    o.a = a;
    o.b = b;
    if (add) o.start = y;
    ALO_L(job_in_place)(&o, scratch, 0, (y.cols + ALO_PANEL - 1) / ALO_PANEL);
}

/* ============================================================================
 * >> 10 attention
 * Attention, one task for each head of each window and sample. Keys stand in scratch transposed, values as
 * they are, both in panels as a product wants them; scores only for ALO_QUERIES rows at once, which stay in
 * the first cache: product, exponentials, product. Keys are padded to whole vectors by scores so low that
 * nothing is left of them. The pieces make P again and the gradient of the scores, as many rows as ALO_SCORES
 * allows: those of 197 tokens all at once; over such blocks dk and dv are summed.
 * In plans of bf16, where dot products of it pay (see alo_cpu), factors are rounded to pairs, P and dS kept
 * so. 197 x 64 takes 0.7 of f32's time where a dot product takes that of one f32 product (tried with such in
 * its place), 1.75 of it at Intel's rate; to widen could only add to f32's. */

/* Up to whole vectors. */
static int ALO_L(whole)(int n) { return (n + ALO_L(lanes) - 1) / ALO_L(lanes) * ALO_L(lanes); }

/* Columns of the panel that begins at column `at` of n: as many as a tile has, at the end one vector. */
static int ALO_L(span)(int n, int at) {
    return ALO_L(whole)(n) - at < ALO_L(nr) ? (int)ALO_L(lanes) : (int)ALO_L(nr);
}

/* Products in pairs: as the plan says, and where they pay for the rounding. */
static bool ALO_L(paired)(const alo_head_f32 *h) {
    const int width = h->c->t[h->q]->cols / h->c->attr->n;
    return h->c->own & ALO_OWN_BF16 && h->p.rows > ALO_SLIM && h->p.cols > ALO_SLIM && width >= 16;
}

/* Where `paired`, pairs of neighbours in each row of `a`, written to `to`, which may be a; else a. */
static alo_mat ALO_L(row_pairs)(alo_mat a, alo_mat to, bool paired) {
    const int L = ALO_L(lanes);
    if (!paired) return a;
    for (int i = 0; i < a.rows; ++i)
        for (int j = 0; j < a.cols; j += 2 * L) {
            const int n = a.cols - j;
            const float *p = alo_at_f32(a, i, j);
            const vec low = V(take)(p, n < L ? n : L);
            const vec high = n > L ? V(take)(p + L, n < 2 * L ? n - L : L) : V(set)(0.0f);
            V(store)(alo_at_f32(to, i, j / 2), V(pairs_own)(low, high));
        }
    to.rows = a.rows, to.cols = (a.cols + 1) / 2;
    return to;
}

/* Pairs of rows 2 e and 2 e + 1 of `a`, to rows of `to`, in whole vectors. */
static void ALO_L(column_pairs)(float *to, ptrdiff_t row, alo_mat a) {
    const int L = ALO_L(lanes);
    for (int e = 0; e < a.rows; e += 2, to += row)
        for (int j = 0; j < a.cols; j += L) {
            const int n = a.cols - j < L ? a.cols - j : L;
            const float *p = alo_at_f32(a, e, j);
            vec low = V(take)(p, n), high = e + 1 < a.rows ? V(take)(p + a.row, n) : V(set)(0.0f);
            V(zip)(low, high, &low, &high);
            V(store)(to + j, V(pairs_own)(low, high));
        }
}

/* All panels of b, one behind the other: of f32, or of pairs of successive rows. */
static void ALO_L(pack_all)(float *to, alo_mat b, bool paired) {
    const int words = paired ? (b.rows + 1) / 2 : b.rows;
    for (int at = 0, wide; at < b.cols; at += wide, to += (ptrdiff_t)words * wide) {
        wide = ALO_L(span)(b.cols, at);
        const alo_mat part = alo_flip(alo_band(alo_flip(b), at, wide));
        const float *from = alo_at_f32(part, 0, 0);
        if (!paired) ALO_L(pack)(to, wide, wide, from, b.col, b.row, part.cols, b.rows);
        else if (b.col == 1) ALO_L(column_pairs)(to, wide, part);
        else ALO_L(pack_words)(ALO_PACK_BF16, to, wide, from, b.col, part.cols, b.rows, NULL);
    }
}

/* y (+)= a b for such panels of b; a has words as they do. */
static void ALO_L(times_packed)(alo_mat y, alo_mat a, const float *b, bool add, bool paired) {
    const int count = ALO_L(strips)(y.rows);
    ALO_L(tiler) whole = ALO_L(tile_plain), slim = ALO_L(tile_slim);
#ifdef ALO_OWN_DOTS
    if (paired) whole = ALO_L(tile_pairs), slim = ALO_L(tile_pairs_slim);
#endif
    alo_job o;
    ALO_L(strip) s;
    (void)paired;
    memset(&o, 0, sizeof o);
    memset(&s, 0, sizeof s);
    o.y = y;
    if (add) o.start = y;
    s.k = a.cols;
    s.a_row = a.row;
    s.a_col = a.col;
    s.y_row = s.from_row = y.row;
    for (int at = 0, wide; at < y.cols; at += wide) {
        wide = ALO_L(span)(y.cols, at);
        s.b = b + (ptrdiff_t)at * a.cols;
        s.b_row = wide;
        for (int p = 0; p < count; ++p) {
            const int row = ALO_L(begin)(y.rows, p), high = ALO_L(begin)(y.rows, p + 1) - row;
            const int n = y.cols - at < wide ? y.cols - at : wide;
            ALO_L(tiler) tiler = wide == ALO_L(nr) ? whole : slim;
            s.a = (const float *)a.p + a.at + row * a.row;
            s.y = (float *)y.p + y.at + row * y.row + at;
            s.from = add ? s.y : NULL;
            if (n == wide) tiler(&s, high); /* `place` would take 3 of 100 */
            else ALO_L(place)(&o, &s, tiler, row, at, high, n, wide, true, true, NULL);
        }
    }
}

/* Row i of a head's scores: x = scale x + bias + mask where there is one of these, else as it is; `low` where
 * no key is. Returns the largest, in the op. */
static ALO_INLINE float ALO_L(scores)(const alo_head_f32 *h, float *x, int i, vec low) {
    const int L = ALO_L(lanes), keys = h->p.cols, last = ALO_L(whole)(keys) - L;
    const int row = h->window * h->p.rows + i;
    const float *mask = h->c->attr->values ? h->c->attr->values + (ptrdiff_t)row * keys : NULL;
    const float *bias = alo_row_f32(h->c, h->q ? 5 : 3, h->s, h->head * h->p.rows + i);
    for (int j = 0; (bias || mask) && j < keys; j += L) {
        const int some = keys - j < L ? keys - j : L;
        vec a = V(mul)(V(load)(x + j), V(set)((float)h->scale));
        if (bias) a = V(add)(a, V(load_some)(bias + j, some));
        if (mask) a = V(add)(a, V(load_some)(mask + j, some));
        V(store)(x + j, a);
    }
    vec most = V(add)(V(load)(x + last), low);
    V(store)(x + last, most);
    if (h->q) return 0;
    for (int j = 0; j < last; j += L) most = V(max)(most, V(load)(x + j));
    return V(most)(most);
}

/* x = 2^(scale x - base), `count` numbers; their sum, and that of their products with d, if it is there. */
static ALO_INLINE float ALO_L(powers)(float *x, int count, float scale, float base, const float *d,
                                      float *dot) {
    const vec a = V(set)(scale), b = V(set)(-base);
    vec sum = V(set)(0.0f), products = sum;
    for (int j = 0; j < count; j += ALO_L(lanes)) {
        const vec e = V(exp2)(V(fma)(V(load)(x + j), a, b));
        sum = V(add)(sum, e);
        if (d) products = V(fma)(e, V(load)(d + j), products);
        V(store)(x + j, e);
    }
    if (d) *dot = V(sum)(products);
    return V(sum)(sum);
}

/* Row i of `a` times factor[i]. */
static void ALO_L(scale_rows)(alo_mat a, const float *factor) {
    const int L = ALO_L(lanes);
    for (int i = 0; i < a.rows; ++i) {
        float *x = alo_at_f32(a, i, 0);
        const vec f = V(set)(factor[i]);
        for (int j = 0, n; j < a.cols; j += L) {
            n = a.cols - j < L ? a.cols - j : L;
            V(give)(x + j, V(mul)(V(take)(x + j, n), f), n);
        }
    }
}

/* A matrix in scratch from *at on, in whole vectors; *at moves behind it. */
static alo_mat ALO_L(take)(const alore_call *c, ptrdiff_t *at, int rows, int cols) {
    const alo_mat a = {c->scratch, *at, ALO_L(whole)(cols), 1, rows, ALO_L(whole)(cols)};
    *at += a.rows * a.row;
    return a;
}

static void ALO_L(attention_head)(const alo_head_f32 *h) {
    const alore_call *c = h->c;
    const int rows = h->p.rows, keys = h->p.cols, room = ALO_L(whole)(keys);
    const alo_mat q = alo_seen_f32(h, 0), k = alo_seen_f32(h, 1), v = alo_seen_f32(h, 2);
    const alo_mat y = alo_seen_f32(h, ALO_Y);
    const bool add = alo_adds(c, ALO_Y, h->s), paired = ALO_L(paired)(h);
    const int odd = paired, deep = (k.cols + odd) >> odd; /* words */
    ptrdiff_t used = 0;
    const float scale = c->p[3] || c->attr->values ? 1.0f : (float)h->scale;
    const vec big = V(set)(3e38f), low = V(sub)(V(first)(big, keys - room + ALO_L(lanes)), big);
    float base[ALO_QUERIES], sum[ALO_QUERIES], factor[ALO_QUERIES];
    float *turned = alo_at_f32(ALO_L(take)(c, &used, deep, keys), 0, 0);
    float *values = alo_at_f32(ALO_L(take)(c, &used, (keys + odd) >> odd, k.cols), 0, 0);
    const alo_mat all = ALO_L(take)(c, &used, ALO_QUERIES, keys);
    const alo_mat pairs = ALO_L(take)(c, &used, paired ? ALO_QUERIES : 0, deep);
    for (int i = 0; i < ALO_QUERIES; ++i) sum[i] = 1.0f;
    ALO_L(pack_all)(turned, alo_flip(k), paired);
    ALO_L(pack_all)(values, v, paired);
    for (int first = 0; first < rows; first += ALO_QUERIES) {
        const alo_mat qs = alo_band(q, first, ALO_QUERIES), ys = alo_band(y, first, ALO_QUERIES);
        alo_mat x = alo_band(all, 0, qs.rows);
        ALO_L(times_packed)(x, ALO_L(row_pairs)(qs, pairs, paired), turned, false, paired);
        for (int i = 0; i < x.rows; ++i)
            base[i] = scale * ALO_L(scores)(h, alo_at_f32(x, i, 0), first + i, low);
        for (int i = 0; i < x.rows; ++i)
            sum[i] = ALO_L(powers)(alo_at_f32(x, i, 0), room, scale * 1.44269504f, base[i] * 1.44269504f,
                                   NULL, NULL);
        for (int i = 0; i < ALO_QUERIES; ++i) factor[i] = 1.0f / sum[i];
        for (int i = 0; c->p[ALO_Z] && i < ALO_QUERIES; ++i) sum[i] = alo_log(sum[i]);
        for (int i = 0; c->p[ALO_Z] && i < x.rows; ++i)
            alo_row_f32(c, ALO_Z, h->s, h->window * rows + first + i)[h->head] = base[i] + sum[i];
        x.cols = keys;
        if (add) ALO_L(scale_rows)(x, factor);
        ALO_L(times_packed)(ys, ALO_L(row_pairs)(x, x, paired), values, add, paired);
        if (!add) ALO_L(scale_rows)(ys, factor);
    }
}

/* A row of P, p = factor p, and of the scores' gradient, where it is: s = scale p (s - mean). */
static ALO_INLINE void ALO_L(softened)(float *p, float *s, int count, float factor, float mean, float scale) {
    const vec f = V(set)(factor), m = V(set)(mean), k = V(set)(scale);
    for (int j = 0; j < count; j += ALO_L(lanes)) {
        const vec e = V(mul)(V(load)(p + j), f);
        V(store)(p + j, e);
        if (s) V(store)(s + j, V(mul)(V(mul)(e, k), V(sub)(V(load)(s + j), m)));
    }
}

/* As in the reference: dP = g v^T, dS = P (dP - sum of P dP) / sqrt(d / heads); the outputs by products. */
static void ALO_L(attention_pieces)(const alo_head_f32 *h) {
    const alore_call *c = h->c;
    const int rows = h->p.rows, keys = h->p.cols, room = ALO_L(whole)(keys);
    const int high = alo_attention_rows(rows, keys);
    const alo_mat g = alo_seen_f32(h, 0), q = alo_seen_f32(h, 1), k = alo_seen_f32(h, 2);
    const alo_mat v = alo_seen_f32(h, 3), dq = alo_seen_f32(h, ALO_Y);
    const bool scores = c->p[ALO_Y] || c->p[ALO_Z], paired = ALO_L(paired)(h);
    const float factor = 1.44269504f * (c->p[5] || c->attr->values ? 1.0f : (float)h->scale);
    const vec big = V(set)(3e38f), low = V(sub)(V(first)(big, keys - room + ALO_L(lanes)), big);
    ptrdiff_t used = 0;
    const int odd = paired, deep = (k.cols + odd) >> odd, half = (high + odd) >> odd, few = odd * ALO_QUERIES;
    const int flat = deep * room, tall = half * ALO_L(whole)(k.cols), most = flat > tall ? flat : tall;
    float *kt = alo_at_f32(ALO_L(take)(c, &used, 1, most), 0, 0); /* later q, as vt later g */
    float *vt = alo_at_f32(ALO_L(take)(c, &used, 1, most), 0, 0);
    float *kp = alo_at_f32(ALO_L(take)(c, &used, (keys + odd) >> odd, k.cols), 0, 0);
    const alo_mat all_p = ALO_L(take)(c, &used, half, keys), all_ds = ALO_L(take)(c, &used, half, keys);
    const alo_mat band_p = ALO_L(take)(c, &used, few, keys), band_ds = ALO_L(take)(c, &used, few, keys);
    const alo_mat pairs = ALO_L(take)(c, &used, few, deep);
    if (c->p[ALO_Y]) ALO_L(pack_all)(kp, k, paired);
    for (int top = 0; top < rows; top += high) {
        ALO_L(pack_all)(kt, alo_flip(k), paired);
        if (scores) ALO_L(pack_all)(vt, alo_flip(v), paired);
        const alo_mat gs = alo_band(g, top, high), qs = alo_band(q, top, high);
        alo_mat ps = alo_band(all_p, 0, (gs.rows + odd) >> odd), ds = alo_band(all_ds, 0, ps.rows);
        for (int first = 0; first < gs.rows; first += ALO_QUERIES) {
            alo_mat a = alo_band(qs, first, ALO_QUERIES);
            const alo_mat x = paired ? alo_band(band_p, 0, a.rows) : alo_band(ps, first, ALO_QUERIES);
            alo_mat d = paired ? alo_band(band_ds, 0, a.rows) : alo_band(ds, first, ALO_QUERIES);
            ALO_L(times_packed)(x, ALO_L(row_pairs)(a, pairs, paired), kt, false, paired);
            a = alo_band(gs, first, ALO_QUERIES);
            if (scores) ALO_L(times_packed)(d, ALO_L(row_pairs)(a, pairs, paired), vt, false, paired);
            for (int i = 0; i < x.rows; ++i) {
                const int at = top + first + i;
                const float z = alo_row_f32(c, 4, h->s, h->window * rows + at)[h->head];
                float *p = alo_at_f32(x, i, 0), *s = scores ? alo_at_f32(d, i, 0) : NULL, dot = 0;
                ALO_L(scores)(h, p, at, low);
                const float sum = ALO_L(powers)(p, room, factor, z * 1.44269504f, s, &dot);
                ALO_L(softened)(p, s, room, 1.0f / sum, dot / sum, (float)h->scale);
            }
            if (paired && c->p[ALO_X]) ALO_L(column_pairs)(alo_at_f32(ps, first / 2, 0), ps.row, x);
            if (paired && c->p[ALO_Z]) ALO_L(column_pairs)(alo_at_f32(ds, first / 2, 0), ds.row, d);
            d.cols = keys;
            a = alo_band(dq, top + first, d.rows);
            if (c->p[ALO_Y])
                ALO_L(times_packed)(a, ALO_L(row_pairs)(d, d, paired), kp, alo_adds(c, ALO_Y, h->s), paired);
        }
        ps.cols = ds.cols = keys;
        if (c->p[ALO_X]) {
            ALO_L(pack_all)(vt, gs, paired);
            ALO_L(times_packed)(alo_seen_f32(h, ALO_X), alo_flip(ps), vt, top || alo_adds(c, ALO_X, h->s),
                                paired);
        }
        if (c->p[ALO_Z]) {
            ALO_L(pack_all)(kt, qs, paired);
            ALO_L(times_packed)(alo_seen_f32(h, ALO_Z), alo_flip(ds), kt, top || alo_adds(c, ALO_Z, h->s),
                                paired);
        }
    }
}

/* The heads that tasks first .. last-1 are made of. */
static void ALO_L(each_head)(const alore_call *c, int q, int first, int last,
                             void (*head)(const alo_head_f32 *h)) {
    alo_head_f32 h = alo_heads_f32(c, q);
    const int tasks = alo_attention_tasks(c->t, c->attr, c->samples);
    for (int task = first; task < last; ++task)
        for (int index = task; alo_at_head_f32(&h, index); index += tasks) head(&h);
}

static void ALO_L(attention)(const alore_call *c, int first, int last) {
    ALO_L(each_head)(c, 0, first, last, ALO_L(attention_head));
}

static void ALO_L(attention_dqkv)(const alore_call *c, int first, int last) {
    ALO_L(each_head)(c, 1, first, last, ALO_L(attention_pieces));
}

/* ============================================================================
 * >> 11 fast ops
 * What replaces an entry of the reference table on this level. Each falls back to the reference where its
 * operands have a form that it does not know. */

/* ---- matmul: one product of whole matrices is a job; groups and stacks of matrices are not ---- */

/* The job of operands a, b and y as in alo_products_f32; which of them is output 0 is made. */
static bool ALO_L(as_job)(const alore_call *c, int a, int b, int y, alo_job *o) {
    static const alo_job none = ALORE_ZERO;
    const bool turned = (c->attr->n & 2) != 0;
    *o = none;
    if (c->attr->m > 1 || c->attr->n & 1 || c->t[b]->flags & ALO_PER_SAMPLE) return false;
    const alo_mat ma = alo_mat_at(c, a, ALO_ALL), mb = alo_flip_if(alo_mat_at(c, b, ALO_ALL), turned);
    const alo_mat my = alo_mat_at(c, y, ALO_ALL);
    o->y = y == ALO_Y ? my : a == ALO_Y ? ma : alo_mat_at(c, b, ALO_ALL);
    o->a = y == ALO_Y ? ma : a == ALO_Y ? my : turned ? alo_flip(my) : alo_flip(ma);
    o->b = y == ALO_Y ? mb : a == ALO_Y ? alo_flip(mb) : turned ? ma : my;
    o->form = b == 1 ? c->form : 0;
    o->turned = (y == ALO_Y) != turned;
    o->own = c->own;
    if (alo_adds(c, ALO_Y, 0)) o->start = o->y;
    return true;
}

static void ALO_L(job)(const alo_job *o, void *scratch, int first, int last) {
    const bool slim = o->y.cols <= ALO_SLIM || o->y.rows <= ALO_SLIM || o->a.cols <= ALO_SLIM;
#ifdef ALORE_BLAS
    const int at = first * ALO_PANEL, end = last * ALO_PANEL < o->y.cols ? last * ALO_PANEL : o->y.cols;
    if (at >= end) return;
    if (alo_blas(o, at, end - at)) {
        if (o->follows)
            ALO_L(follow)(o, ALO_L(spot)(&o->y, 0, at), o->y.row, 0, at, o->y.rows, end - at, NULL, NULL);
        return;
    }
#endif
    if (slim && !o->form) ALO_L(job_in_place)(o, scratch, first, last);
    else ALO_L(job_packed)(o, scratch, first, last);
}

static void ALO_L(matmul)(const alore_call *c, int first, int last) {
    alo_job o;
    if (!ALO_L(as_job)(c, 0, 1, ALO_Y, &o) || (c->attr->p && (c->p[3] || o.start.p))) {
        if (first == 0) alo_matmul_task_f32(c, 0, 1); /* all of it */
        return;
    }
    *(o.start.p ? &o.plus : &o.start) = alo_mat_at(c, 3, ALO_ALL);
    o.bias = (const float *)c->p[2];
    o.slope = alo_mat_at(c, ALO_Z, ALO_ALL);
    o.act = c->attr->p;
    o.follows = o.bias || o.act || o.plus.p;
    ALO_L(job)(&o, c->scratch, first, last);
}

static void ALO_L(matmul_da)(const alore_call *c, int first, int last) {
    alo_job o;
    if (!ALO_L(as_job)(c, ALO_Y, 1, 0, &o)) {
        if (first == 0) alo_matmul_da_task_f32(c, 0, 1); /* all of it */
        return;
    }
    o.times = alo_mat_at(c, 2, ALO_ALL);
    o.follows = o.times.p != NULL;
    ALO_L(job)(&o, c->scratch, first, last);
}

static void ALO_L(matmul_db)(const alore_call *c, int first, int last) {
    alo_job o;
    if (ALO_L(as_job)(c, 1, ALO_Y, 0, &o)) ALO_L(job)(&o, c->scratch, first, last);
    else if (first == 0) alo_matmul_db_task_f32(c, 0, 1); /* all of it */
}

/* ---- rows of numbers ----
 * Most of what stands around products is a formula of vectors a, b, d from a row of operands 0, 1, 2, with
 * constants k of that row. What repeats one number, or is absent, stands in `same`. */
typedef struct ALO_L(line) {
    const float *p[3];
    int moves[3];                        /* all bits set, or none */
    float same[3][ALO_L(lanes)];
} ALO_L(line);
typedef vec ALO_L(formula)(const alore_call *c, const float *k, vec a, vec b, vec d);

static ALO_INLINE void ALO_L(from)(ALO_L(line) *o, int i, const float *p, bool moves) {
    if (!moves) V(store)(o->same[i], V(set)(*p));
    o->p[i] = moves ? p : o->same[i];
    o->moves[i] = -(int)moves;
}

/* Where the walk is; operands 1 and 2 are `one` and `two` where they are absent. */
ALO_APART static void ALO_L(line_of)(ALO_L(line) *o, const alo_walk *w, float one, float two) {
    const float absent[3] = {0, one, two};
    for (int i = 0; i < 3; ++i)
        ALO_L(from)(o, i, w->c->p[i] ? (const float *)w->c->p[i] + w->at[i] : &absent[i], w->step[i]);
}

/* Numbers that are no operand, or ones, and a factor. */
ALO_APART static void ALO_L(line_at)(ALO_L(line) *o, const float *x, float factor) {
    const float zero = 0, one = 1;
    ALO_L(from)(o, 0, x ? x : &one, x != NULL);
    ALO_L(from)(o, 1, &factor, false);
    ALO_L(from)(o, 2, &zero, false);
}

static ALO_INLINE vec ALO_L(at)(const alore_call *c, const ALO_L(line) *o, int j, int n, const float *k,
                                ALO_L(formula) *f) {
    return f(c, k, V(take)(o->p[0] + (j & o->moves[0]), n), V(take)(o->p[1] + (j & o->moves[1]), n),
             V(take)(o->p[2] + (j & o->moves[2]), n));
}

/* y (+)= f for `cols` columns. */
static ALO_INLINE void ALO_L(fill)(const alore_call *c, const ALO_L(line) *line, float *y, bool add, int cols,
                                   const float *k, ALO_L(formula) *f) {
    const int L = ALO_L(lanes);
    ALO_L(line) o;
    for (int i = 0; i < 3; ++i) o.p[i] = line->p[i], o.moves[i] = line->moves[i];
    for (int j = 0; j < cols; j += L) {
        const int n = cols - j < L ? cols - j : L;
        if (n == L) {
            const vec v = ALO_L(at)(c, &o, j, ALO_L(lanes), k, f);
            V(store)(y + j, add ? V(add)(V(load)(y + j), v) : v);
        } else {
            const vec v = ALO_L(at)(c, &o, j, n, k, f);
            V(store_some)(y + j, add ? V(add)(V(load_some)(y + j, n), v) : v, n);
        }
    }
}

/* The sum of f over `cols` columns. */
static ALO_INLINE float ALO_L(total)(const ALO_L(line) *o, int cols, const float *k, ALO_L(formula) *f) {
    const int L = ALO_L(lanes);
    vec sum[4];
    int j = 0;
    ALO_UNROLL for (int i = 0; i < 4; ++i) sum[i] = V(set)(0.0f);
    for (; j + 4 * L <= cols; j += 4 * L)
        ALO_UNROLL for (int i = 0; i < 4; ++i)
            sum[i] = V(add)(sum[i], ALO_L(at)(NULL, o, j + i * L, L, k, f));
    for (; j < cols; j += L) {
        const int n = cols - j < L ? cols - j : L;
        sum[0] = V(add)(sum[0], V(first)(ALO_L(at)(NULL, o, j, n, k, f), n));
    }
    return V(sum)(V(add)(V(add)(sum[0], sum[1]), V(add)(sum[2], sum[3])));
}

/* alo_next, compiled for this level: code for others costs dearly between its vectors. */
ALO_APART static bool ALO_L(next)(alo_walk *w) { return alo_go_on(w); }

static float ALO_L(largest)(const float *x, int cols) {
    vec all = V(set)(x[0]);
    int j = 0;
    for (; j + ALO_L(lanes) <= cols; j += ALO_L(lanes)) all = V(max)(V(load)(x + j), all);
    float most = V(most)(all);
    for (; j < cols; ++j) most = x[j] > most ? x[j] : most;
    return most;
}

/* clang-format off */
#define K(i) V(set)(k[i])
#define ALO_FORMULA(name, e) \
    static ALO_INLINE vec ALO_L(name)(const alore_call *c, const float *k, vec a, vec b, vec d) { \
        (void)c, (void)k, (void)a, (void)b, (void)d; \
        return e; \
    }
ALO_FORMULA(f_add,     V(add)(a, b))
ALO_FORMULA(f_mul,     V(mul)(a, b))
ALO_FORMULA(f_affine,  V(fma)(a, b, d))
ALO_FORMULA(f_act,     V(act)(c->attr->n, a, NULL))
ALO_FORMULA(f_act_dx,  V(mul)(a, V(slope)(c->attr->n, b)))
ALO_FORMULA(f_mask,    V(fma)(K(0), a, b))
ALO_FORMULA(f_off,     V(sub)(a, K(0)))
ALO_FORMULA(f_off2,    V(mul)(V(sub)(a, K(0)), V(sub)(a, K(0))))
ALO_FORMULA(f_norm,    V(fma)(V(mul)(V(sub)(V(sub)(a, K(0)), K(2)), K(1)), b, d))
ALO_FORMULA(f_h,       V(mul)(V(sub)(b, K(0)), K(1)))
ALO_FORMULA(f_gh,      V(mul)(a, ALO_L(f_h)(c, k, a, b, d)))
ALO_FORMULA(f_v,       V(mul)(a, d))
ALO_FORMULA(f_vh,      V(mul)(V(mul)(a, d), ALO_L(f_h)(c, k, a, b, d)))
ALO_FORMULA(f_norm_dx, V(mul)(V(nfma)(ALO_L(f_h)(c, k, a, b, d), K(3), V(sub)(V(mul)(a, d), K(2))), K(1)))
ALO_FORMULA(f_exp,     V(exp)(V(sub)(a, K(0))))
ALO_FORMULA(f_xent_dx, V(sub)(V(mul)(V(exp)(V(sub)(a, K(0))), K(1)), K(2)))
#undef K
#undef ALO_FORMULA

/* A kernel that does row by row of output 0, y, what stands in its text. */
#define ALO_ROWS(name, ...) \
    static void ALO_L(name)(const alore_call *c, int first, int last) { \
        for (alo_walk w = alo_walk_rows(c, first, last); ALO_L(next)(&w);) { \
            float *y = (float *)c->p[ALO_Y] + w.at[ALO_Y]; \
            __VA_ARGS__ \
        } \
    }
#define ALO_LINE(name, f) ALO_ROWS(name, ALO_L(line) o; ALO_L(line_of)(&o, &w, 1, 0); \
                                         ALO_L(fill)(c, &o, y, w.add, w.cols, NULL, ALO_L(f));)
ALO_LINE(affine,   f_affine)
ALO_LINE(add,      f_add)
ALO_LINE(unary,    f_act)
ALO_LINE(unary_dx, f_act_dx)
#undef ALO_LINE
/* clang-format on */

/* y (+)= a b; factor x; factor where there is no x. */
ALO_APART static void ALO_L(times)(const ALO_L(line) *o, float *y, bool add, int cols) {
    ALO_L(fill)(NULL, o, y, add, cols, NULL, ALO_L(f_mul));
}
ALO_APART static void ALO_L(put)(float *y, bool add, const float *x, float factor, int cols) {
    ALO_L(line) o;
    ALO_L(line_at)(&o, x, factor);
    ALO_L(times)(&o, y, add, cols);
}

/* Sums over a row that several kernels need: of x - k, of its squares, of e^(x - k). */
#define ALO_TOTAL(name, f)                                                                                   \
    ALO_APART static float ALO_L(name)(const ALO_L(line) *o, int cols, const float *k) {                     \
        return ALO_L(total)(o, cols, k, ALO_L(f));                                                           \
    }
ALO_TOTAL(sum_off, f_off)
ALO_TOTAL(sum_off2, f_off2)
ALO_TOTAL(sum_exp, f_exp)
#undef ALO_TOTAL

/* y (+)= factor times the sum of a h over the uses of row `i` of output 0, which met rows and columns of
 * operand 0 as in alo_uses_in_f32; h is made with the row of operand 2, without one it is b as it stands.
 * Rows are added one behind the other to a band of sums that stays in the cache; in one place only if there
 * is one use. */
ALO_APART static void ALO_L(sums)(const alore_call *c, int i, int row, int col, int rows, int cols,
                                  float factor) {
    enum { BAND = 512 };
    static const float as_it_is[2] = {0, 1};
    const alo_tensor *t = c->t[ALO_Y];
    const int s = i / t->rows, s_end = alo_copies(c, ALO_Y) == 1 ? alo_copies(c, 0) : s + 1;
    const int r = i % t->rows, r_end = t->rows == 1 ? rows : r + 1;
    const bool moves = c->t[0]->cols > 1, moves_b = c->p[1] && c->t[1]->cols > 1;
    const bool add = alo_adds(c, ALO_Y, 0), narrow = t->cols < cols;
    const bool once = s_end == s + 1 && r_end == r + 1 && !narrow && factor == 1;
    float band[BAND], *y = alo_row_f32(c, ALO_Y, s, r);
    alo_sum_t sum = 0;
    for (int j = 0; j < cols; j += BAND) {
        const int n = cols - j < BAND ? cols - j : (int)BAND;
        for (int u = s; u < s_end; ++u)
            for (int v = r; v < r_end; ++v) {
                ALO_L(line) o;
                ALO_L(line_at)(&o, NULL, 1);
                ALO_L(from)(&o, 0, alo_row_f32(c, 0, u, row + v) + (moves ? col + j : 0), moves);
                if (c->p[1]) ALO_L(from)(&o, 1, alo_row_f32(c, 1, u, v) + (moves_b ? j : 0), moves_b);
                ALO_L(fill)(c, &o, once ? y + j : band, once ? add : u > s || v > r, n,
                           c->p[2] ? alo_row_f32(c, 2, u, v) : as_it_is, ALO_L(f_gh));
            }
        for (int e = 0; narrow && e < n; ++e) sum += (alo_sum_t)band[e];
        if (!once && !narrow) ALO_L(put)(y + j, add, band, factor, n);
    }
    if (narrow) alo_put_f32(y, sum * (alo_sum_t)factor, add);
}

/* What was added, multiplied or copied met all of g, or a part of it. */
static void ALO_L(uses_in)(const alore_call *c, int first, int last, int row, int col, int rows, int cols,
                           float factor) {
    for (alo_walk w = alo_walk_rows(c, first, last); ALO_L(next)(&w);)
        ALO_L(sums)(c, w.s * w.rows + w.r, row, col, rows, cols, factor);
}

/* clang-format off */
#define ALO_USES(name, row, col, height, width, factor) \
    static void ALO_L(name)(const alore_call *c, int first, int last) { \
        ALO_L(uses_in)(c, first, last, row, col, height, width, factor); \
    }
ALO_USES(uses,           0, 0,          c->t[0]->rows, c->t[0]->cols,     1)
ALO_USES(add_columns_db, 0, c->attr->n, c->t[0]->rows, c->t[ALO_Y]->cols, 1)
ALO_USES(mean_rows,      c->attr->n, 0, c->attr->m,    c->t[0]->cols,     1 / (float)c->attr->m)
ALO_USES(concat_da,      0, 0,          c->t[ALO_Y]->rows, c->t[0]->cols, 1)
ALO_USES(concat_db,      c->t[0]->rows - c->t[ALO_Y]->rows, 0, c->t[ALO_Y]->rows, c->t[0]->cols, 1)
#undef ALO_USES
/* clang-format on */

/* ---- rows that move ---- */

ALO_ROWS(scale, ALO_L(put)(y, w.add, (const float *)c->p[0] + w.at[0], c->attr->x, w.cols);)
ALO_ROWS(zero, ALO_L(put)(y, w.add, NULL, c->attr->x, w.cols);)

ALO_ROWS(mean_rows_dx, {
    const bool inside = w.r >= c->attr->n && w.r < c->attr->n + c->attr->m;
    const float *g = inside ? (const float *)c->p[0] + w.at[0] : NULL;
    ALO_L(put)(y, w.add, g, inside ? 1 / (float)c->attr->m : 0, w.cols);
})

ALO_ROWS(concat, {
    const int top = c->t[0]->rows, i = w.r >= top;
    ALO_L(put)(y, w.add, alo_row_f32(c, i, w.s, w.r - i * top), 1, w.cols);
})

ALO_ROWS(add_columns, {
    const float *a = (const float *)c->p[0] + w.at[0];
    if (w.add || y != a) ALO_L(put)(y, w.add, a, 1, w.cols);
    ALO_L(put)(y + c->attr->n, true, alo_row_f32(c, 1, w.s, w.r), 1, c->t[1]->cols);
})

ALO_ROWS(gather, {
    const int cols = c->t[0]->cols;
    for (int e = 0; e < c->attr->m; ++e) {
        const int from = c->attr->table[w.r * c->attr->m + e];
        ALO_L(put)(y + e * cols, w.add, from < 0 ? NULL : alo_row_f32(c, 0, w.s, from), from >= 0, cols);
    }
})

static void ALO_L(gather_dx)(const alore_call *c, int first, int last) {
    const int m = c->attr->m, cols = c->t[ALO_Y]->cols;
    (void)first, (void)last;
    if (!alo_adds(c, ALO_Y, 0))
        for (alo_walk w = alo_walk_start(c); ALO_L(next)(&w);)
            ALO_L(put)(alo_row_f32(c, ALO_Y, w.s, w.r), false, NULL, 0, cols);
    for (int s = 0; s < alo_copies(c, 0); ++s)
        for (int e = 0; e < c->attr->n * m; ++e) {
            const int to = c->attr->table[e];
            const float *g = alo_row_f32(c, 0, s, e / m) + e % m * cols;
            if (to >= 0) ALO_L(put)(alo_row_f32(c, ALO_Y, s, to), true, g, 1, cols);
        }
}

/* ---- masks ---- */

ALO_ROWS(drop_path, {
    const float k[1] = {(float)alo_mask(c, alo_sample(c, w.s))};
    ALO_L(line) o;
    ALO_L(line_of)(&o, &w, 0, 0);
    ALO_L(fill)(c, &o, y, w.add, w.cols, k, ALO_L(f_mask));
})

/* 64 numbers from number 4 block on, as alo_philox draws them: 16 blocks side by side. */
ALO_APART static void ALO_L(random)(uint64_t seed, uint64_t stream, uint64_t block, uint32_t *out) {
    uint32_t a[16], b[16], c[16], d[16], k = (uint32_t)seed, l = (uint32_t)(seed >> 32);
    for (int i = 0; i < 16; ++i) {
        a[i] = (uint32_t)(block + (uint64_t)i), b[i] = (uint32_t)((block + (uint64_t)i) >> 32);
        c[i] = (uint32_t)stream, d[i] = (uint32_t)(stream >> 32);
    }
    for (int round = 0; round < 10; ++round, k += 0x9e3779b9u, l += 0xbb67ae85u)
        for (int i = 0; i < 16; ++i) {
            const uint64_t p = (uint64_t)a[i] * 0xd2511f53u, q = (uint64_t)c[i] * 0xcd9e8d57u;
            a[i] = (uint32_t)(q >> 32) ^ b[i] ^ k;
            b[i] = (uint32_t)q;
            c[i] = (uint32_t)(p >> 32) ^ d[i] ^ l;
            d[i] = (uint32_t)p;
        }
    for (int i = 0; i < 16; ++i, out += 4) out[0] = a[i], out[1] = b[i], out[2] = c[i], out[3] = d[i];
}

ALO_ROWS(dropout, {
    const uint64_t stream = alo_mask_stream(c), bound = alo_mask_bound(c);
    const uint32_t last_low = (uint32_t)(bound - 1);
    const int rows = c->attr->n ? c->attr->n : w.rows;
    uint64_t index = (alo_sample(c, w.s) * (uint64_t)rows + (uint64_t)(c->attr->m + w.r)) * (uint64_t)w.cols;
    const float keep = 1 / (1 - c->attr->x), low = bound ? 0 : keep;
    ALO_L(line) o;
    ALO_L(line_of)(&o, &w, 1, 0);
    for (int j = 0, n; j < w.cols; j += n, index += (uint64_t)n) {
        const int skip = (int)(index % 4);
        uint32_t number[64];
        float mask[64];
        ALO_L(random)(c->seed, stream, index / 4, number);
        for (int e = 0; e < 64; ++e) mask[e] = number[e] <= last_low ? low : keep;
        n = w.cols - j < 64 - skip ? w.cols - j : 64 - skip;
        ALO_L(from)(&o, 1, mask + skip, true);
        ALO_L(times)(&o, y + j, w.add, n);
        o.p[0] += n & o.moves[0];
    }
})

/* ---- norm: k is mean, inverse, what rounding took from the mean; in norm_dx mean(v), mean(v h) ---- */

ALO_ROWS(norm, {
    float k[3] = {0, 0, 0};
    ALO_L(line) o;
    ALO_L(line_of)(&o, &w, 1, 0);
    const float count = (float)w.cols;
    k[0] = ALO_L(sum_off)(&o, w.cols, k) / count;
    k[2] = ALO_L(sum_off)(&o, w.cols, k) / count;
    const float variance = ALO_L(sum_off2)(&o, w.cols, k) / count - k[2] * k[2];
    k[1] = 1 / alo_sqrt((variance < 0 ? 0 : variance) + c->attr->x);
    ALO_L(fill)(c, &o, y, w.add, w.cols, k, ALO_L(f_norm));
    float *z = alo_row_f32(c, ALO_Z, w.s, w.r);
    if (z) z[0] = k[0] + k[2], z[1] = k[1];
})

ALO_ROWS(norm_dx, {
    const float *z = alo_row_f32(c, 3, w.s, w.r);
    float k[4] = {z[0], z[1], 0, 0};
    ALO_L(line) o;
    ALO_L(line_of)(&o, &w, 1, 1);
    k[2] = ALO_L(total)(&o, w.cols, k, ALO_L(f_v)) / (float)w.cols;
    k[3] = ALO_L(total)(&o, w.cols, k, ALO_L(f_vh)) / (float)w.cols;
    ALO_L(fill)(c, &o, y, w.add, w.cols, k, ALO_L(f_norm_dx));
})

static void ALO_L(norm_dgain)(const alore_call *c, int first, int last) {
    alore_call of_g = *c; /* dshift: as uses of g alone */
    of_g.p[1] = of_g.p[2] = NULL;
    of_g.p[ALO_Y] = c->p[ALO_Z];
    of_g.t[ALO_Y] = c->t[ALO_Z];
    of_g.flags = (uint16_t)(c->flags >> 1);
    if (c->p[ALO_Y]) ALO_L(sums)(c, 0, 0, 0, c->t[0]->rows, c->t[0]->cols, 1);
    if (c->p[ALO_Z]) ALO_L(uses)(&of_g, first, last);
}

/* ---- xent: k is the largest logit; in xent_dx g / sum and what smoothing takes ---- */

static void ALO_L(xent)(const alore_call *c, int first, int last) {
    const int rows = c->t[0]->rows, classes = c->t[0]->cols;
    const alo_sum_t smooth = (alo_sum_t)c->attr->x;
    for (alo_walk w = alo_walk_rows(c, first, last); ALO_L(next)(&w);) {
        alo_sum_t loss = 0;
        for (int r = 0; r < rows; ++r) {
            const int label = ((const int32_t *)c->p[1])[alo_begin(c->t[1], w.s, r)];
            const float *x = alo_row_f32(c, 0, w.s, r), k[1] = {ALO_L(largest)(x, classes)};
            ALO_L(line) o;
            ALO_L(line_at)(&o, x, 1);
            const alo_sum_t most = (alo_sum_t)k[0];
            const alo_sum_t log_sum = (alo_sum_t)alo_log(ALO_L(sum_exp)(&o, classes, k));
            const alo_sum_t all = classes * log_sum - (alo_sum_t)ALO_L(sum_off)(&o, classes, k);
            loss += label < 0 || label >= classes
                        ? (alo_sum_t)alo_float(0x7fc00000u)
                        : (1 - smooth) * (most - (alo_sum_t)x[label] + log_sum) + smooth / classes * all;
        }
        alo_out_f32(&w, loss / rows);
    }
}

ALO_ROWS(xent_dx, {
    const int label = ((const int32_t *)c->p[2])[alo_begin(c->t[2], w.s, w.r)];
    const float *x = alo_row_f32(c, 1, w.s, w.r), g = *alo_row_f32(c, 0, w.s, 0) / (float)w.rows;
    float k[3] = {ALO_L(largest)(x, w.cols), 0, g * c->attr->x / (float)w.cols};
    ALO_L(line) o;
    ALO_L(line_at)(&o, x, 1);
    k[1] = g / ALO_L(sum_exp)(&o, w.cols, k);
    ALO_L(fill)(c, &o, y, w.add, w.cols, k, ALO_L(f_xent_dx));
    if (label >= 0 && label < w.cols) y[label] -= g * (1 - c->attr->x);
})

/* ---- the optimisers, on flat arrays ---- */

static ALO_INLINE void ALO_L(flat)(const alore_call *c, const float *k,
                                   void (*f)(const alore_call *c, const float *k, size_t i, int n)) {
    const size_t count = ((const alo_step_args *)c->extra)->count, L = ALO_L(lanes);
    size_t i = 0;
    for (; i + L <= count; i += L) f(c, k, i, ALO_L(lanes));
    if (i < count) f(c, k, i, (int)(count - i));
}

/* k: grad_scale, 1-b1, 1-b2, 1/sqrt(1 - b2^t), eps, lr/(1 - b1^t), lr decay */
static ALO_INLINE void ALO_L(adamw_some)(const alore_call *c, const float *k, size_t i, int n) {
    float *grad = (float *)c->p[0] + i, *param = (float *)c->p[ALO_Y] + i;
    float *m = (float *)c->p[ALO_Z] + i, *v = (float *)c->p[ALO_X] + i;
    const vec g = V(mul)(V(take)(grad, n), V(set)(k[0])), p = V(take)(param, n);
    vec mi = V(take)(m, n), vi = V(take)(v, n);
    mi = V(fma)(V(set)(k[1]), V(sub)(g, mi), mi);
    vi = V(fma)(V(set)(k[2]), V(sub)(V(mul)(g, g), vi), vi);
    const vec step = V(div)(mi, V(fma)(V(sqrt)(vi), V(set)(k[3]), V(set)(k[4])));
    V(give)(param, V(sub)(p, V(fma)(V(set)(k[5]), step, V(mul)(V(set)(k[6]), p))), n);
    V(give)(m, mi, n);
    V(give)(v, vi, n);
    V(give)(grad, V(set)(0.0f), n);
}
static void ALO_L(adamw)(const alore_call *c, int first, int last) {
    const alo_step_args *o = (const alo_step_args *)c->extra;
    const float k[7] = {(float)o->grad_scale, (float)(1 - o->beta1), (float)(1 - o->beta2),
                        1 / alo_sqrt((float)o->correct2), (float)o->eps, (float)(o->lr / o->correct1),
                        (float)(o->lr * o->decay)};
    (void)first, (void)last;
    ALO_L(flat)(c, k, ALO_L(adamw_some));
}

/* k: grad_scale, decay, momentum, lr */
static ALO_INLINE void ALO_L(sgd_some)(const alore_call *c, const float *k, size_t i, int n) {
    const alo_step_args *o = (const alo_step_args *)c->extra;
    float *grad = (float *)c->p[0] + i, *param = (float *)c->p[ALO_Y] + i, *buffer = (float *)c->p[ALO_Z];
    const vec p = V(take)(param, n), momentum = V(set)(k[2]);
    const vec g = V(fma)(V(take)(grad, n), V(set)(k[0]), V(mul)(V(set)(k[1]), p));
    vec step = g;
    if (buffer) {
        step = V(fma)(momentum, V(take)(buffer + i, n), g);
        V(give)(buffer + i, step, n);
        if (o->nesterov) step = V(fma)(momentum, step, g);
    }
    V(give)(param, V(nfma)(V(set)(k[3]), step, p), n);
    V(give)(grad, V(set)(0.0f), n);
}
static void ALO_L(sgd)(const alore_call *c, int first, int last) {
    const alo_step_args *o = (const alo_step_args *)c->extra;
    const float k[4] = {(float)o->grad_scale, (float)o->decay, (float)o->momentum, (float)o->lr};
    (void)first, (void)last;
    ALO_L(flat)(c, k, ALO_L(sgd_some));
}

/* Squares of 1024 numbers at a time in float, in double where they leave its range; the sum in double. */
static void ALO_L(sumsq)(const alore_call *c, int first, int last) {
    const alo_step_args *o = (const alo_step_args *)c->extra;
    alo_sum_t all = 0;
    (void)first, (void)last;
    for (size_t i = 0; i < o->count; i += 1024) {
        const int n = o->count - i < 1024 ? (int)(o->count - i) : 1024;
        const float *g = (const float *)c->p[0] + i, k[1] = {0};
        ALO_L(line) x;
        ALO_L(line_at)(&x, g, 1);
        alo_sum_t sum = (alo_sum_t)ALO_L(sum_off2)(&x, n, k);
        if (!(sum > (alo_sum_t)1e-30 && sum < (alo_sum_t)1e38)) {
            sum = 0;
            for (int e = 0; e < n; ++e) sum += (alo_sum_t)g[e] * (alo_sum_t)g[e];
        }
        all += sum;
    }
    *o->sum += all * o->grad_scale * o->grad_scale;
}

/* ---- narrow, widen: their rows are one run of numbers ---- */

static void ALO_L(narrow)(const alore_call *c, int first, int last) {
    const bool byte = c->t[ALO_Y]->dtype == ALORE_U8;
    const size_t L = ALO_L(lanes), each = byte ? 1 : 2, most = 4 * L / each;
    const size_t cols = alo_zu(c->t[0]->cols), end = alo_zu(last) * cols;
    float part[4 * ALO_L(lanes)];
    for (size_t at = alo_zu(first) * cols; at < end; at += most) {
        const float *x = (const float *)c->p[0] + at;
        unsigned char *y = (unsigned char *)c->p[ALO_Y] + at * each;
        const size_t n = end - at < most ? end - at : most;
        for (size_t i = 0; n < most && i < most; ++i) part[i] = i < n ? x[i] : 0.0f;
        if (n < most) x = part;
        for (size_t i = 0; byte && i < most; i += L) V(store)(part + i, V(sub)(V(load)(x + i), V(set)(0.5f)));
        const vec v = byte ? V(bytes)(part, 200.0f) : V(pairs)(x);
        if (n == most) memcpy(y, &v, sizeof v);
        else memcpy(y, &v, n * each);
    }
}

static void ALO_L(widen)(const alore_call *c, int first, int last) {
    const size_t cols = alo_zu(c->t[0]->cols), begin = alo_zu(first) * cols, end = alo_zu(last) * cols;
    const uint8_t *q = (const uint8_t *)c->p[0];
    const uint16_t *h = (const uint16_t *)c->p[0];
    float *y = (float *)c->p[ALO_Y];
    if (c->t[0]->dtype == ALORE_U8)
        for (size_t i = begin; i < end; ++i) y[i] = (float)(q[i] - 28) * 0.005f; /* 200 of them are 1 */
    else
        for (size_t i = begin; i < end; ++i) y[i] = alo_float((uint32_t)h[i] << 16);
}

/* ---- kron: what lies between its products ---- */

static void ALO_L(mix)(alo_mat y, alo_mat x, alo_mat e, int width) {
    for (int row = 0; row < y.rows; ++row)
        for (int to = 0; to < e.cols; ++to)
            for (int k = 0, n; k < width; k += n) {
                const float *from = (const float *)x.p + x.at + row * x.row + k;
                const float *s = (const float *)e.p + e.at + to * e.col + k;
                vec sum = V(set)(0.0f);
                n = width - k < ALO_L(lanes) ? width - k : (int)ALO_L(lanes);
                for (int a = 0; a < e.rows; ++a, s += e.row, from += width)
                    sum = V(fma)(V(take)(s, n), V(take)(from, n), sum);
                V(give)((float *)y.p + y.at + row * y.row + to * width + k, sum, n);
            }
}

static void ALO_L(meet)(alo_mat e, alo_mat x, alo_mat y, int width) {
    for (int a = 0; a < e.rows; ++a)
        for (int to = 0; to < e.cols; ++to)
            for (int k = 0, n; k < width; k += n) {
                const float *p = (const float *)x.p + x.at + a * width + k;
                const float *q = (const float *)y.p + y.at + to * width + k;
                vec sum = V(set)(0.0f);
                n = width - k < ALO_L(lanes) ? width - k : (int)ALO_L(lanes);
                for (int row = 0; row < x.rows; ++row, p += x.row, q += y.row)
                    sum = V(fma)(V(take)(p, n), V(take)(q, n), sum);
                V(give)((float *)e.p + e.at + a * e.row + to * e.col + k, sum, n);
            }
}

/* clang-format off */
#define ALO_FAST(name, by) {ALO_K_##name, ALO_L(by)},
#define ALO_SAME(name) ALO_FAST(name, name)
static const alo_fast ALO_L(fast)[] = {
    ALO_SAME(matmul) ALO_SAME(matmul_da) ALO_SAME(matmul_db) ALO_FAST(matmul_dc, uses)
    ALO_SAME(attention) ALO_SAME(attention_dqkv)
    ALO_SAME(norm) ALO_SAME(norm_dx) ALO_SAME(norm_dgain)
    ALO_SAME(affine) ALO_FAST(affine_dx, uses) ALO_FAST(affine_dgain, uses) ALO_FAST(affine_dshift, uses)
    ALO_SAME(add) ALO_FAST(add_da, uses) ALO_FAST(add_db, uses)
    ALO_FAST(mul, affine) ALO_FAST(mul_da, uses) ALO_FAST(mul_db, uses)
    ALO_SAME(unary) ALO_SAME(unary_dx) ALO_SAME(scale) ALO_FAST(scale_dx, scale) ALO_FAST(dwconv_db, uses)
    ALO_SAME(add_columns) ALO_FAST(add_columns_da, uses) ALO_SAME(add_columns_db)
    ALO_SAME(gather) ALO_SAME(gather_dx) ALO_SAME(concat) ALO_SAME(concat_da) ALO_SAME(concat_db)
    ALO_SAME(mean_rows) ALO_SAME(mean_rows_dx) ALO_SAME(dropout) ALO_FAST(dropout_dx, dropout)
    ALO_SAME(drop_path) ALO_FAST(drop_path_dx, drop_path) ALO_SAME(xent) ALO_SAME(xent_dx)
    ALO_FAST(copy, uses) ALO_SAME(zero) ALO_SAME(narrow) ALO_SAME(widen)
    ALO_SAME(sumsq) ALO_SAME(adamw) ALO_SAME(sgd)
};
#undef ALO_FAST
#undef ALO_SAME
#undef ALO_ROWS
static const alo_level ALO_L(level) = {{ALO_L(product), ALO_L(mix), ALO_L(meet)}, ALO_L(fast),
                                       sizeof ALO_L(fast) / sizeof(alo_fast), ALO_L(nr), ALO_L(pack_panel)};
/* clang-format on */

#undef ALO_LEVEL
#undef ALO_PASTE
#undef ALO_NAME
#undef ALO_L
#undef V
#undef vec
#undef ivec
#undef WORD1
#undef WORD2
#undef WORD3
#undef V_HOLD
#undef ALO_OWN_DOTS

#endif
#endif

#if defined(ALO_IMPLEMENTING) && !defined(ALO_STAMP)
/* A header that is pasted into another file cannot include itself; it goes without double and levels. */
#ifndef ALORE_NO_SIMD
#include <math.h>
#ifndef ALORE_FILE
#define ALORE_FILE "alore.h"
#endif
#ifdef __has_include
#if !__has_include(ALORE_FILE)
#error "alore.h includes itself: name it by ALORE_FILE, or define ALORE_NO_SIMD"
#endif
#endif
#define ALO_STAMP 1
#include ALORE_FILE
#undef ALO_STAMP
#if defined(ALO_X86)
#    define ALO_STAMP 2
ALO_TARGET_BEGIN("avx2,fma")
#    include ALORE_FILE
ALO_TARGET_END
#    undef ALO_STAMP
#    define ALO_STAMP 3
ALO_TARGET_BEGIN("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")
#    include ALORE_FILE
ALO_TARGET_END
#    undef ALO_STAMP
#elif defined(ALO_ARM)
#    define ALO_STAMP 4
#    include ALORE_FILE
#    undef ALO_STAMP
#endif
#else
#define ALO_NO_F64
#endif

/* ============================================================================
 * >> 12 levels
 * The levels by name, and what calls need and cost. The reference's products are plain sums in double. */

static const alo_level *alo_level_of(alore_isa isa) {
#ifdef ALO_X86
    if (isa == ALORE_ISA_AVX512) return &alo_level_avx512;
    if (isa == ALORE_ISA_AVX2) return &alo_level_avx2;
#elif defined(ALO_ARM)
    if (isa == ALORE_ISA_NEON) return &alo_level_neon;
#endif
    (void)isa;
    return &alo_level_scalar;
}

/* The reference's kernels, with those that the level has for them. */
static void alo_level_kernels(const alo_level *level, alore_kernel *table) {
    memcpy(table, alo_table_f32, sizeof alo_table_f32);
    for (size_t i = 0; i < level->fast_count; ++i) table[level->fast[i].code] = level->fast[i].kernel;
    if (!alo_host_is_little()) table[ALO_K_narrow] = alo_table_f32[ALO_K_narrow]; /* not in whole words */
}

static const alo_row_kernels alo_rows_f32_reference = {alo_product_plain_f32, alo_mix_plain_f32,
                                                         alo_meet_plain_f32};
#ifndef ALO_NO_F64
static const alo_row_kernels alo_rows_f64_reference = {alo_product_plain_f64, alo_mix_plain_f64,
                                                         alo_meet_plain_f64};
#endif

/* ---- What a call needs and costs; t[] are its operands as in alore_call ---- */
static size_t alo_most(size_t a, size_t b) { return a > b ? a : b; }

static size_t alo_all_rows(const alo_tensor *t, int samples) {
    return t ? alo_mul(alo_zu(t->rows), t->flags & ALO_PER_SAMPLE ? alo_zu(samples) : 1) : 0;
}

/* `count` numbers of `each` bytes behind the panel of products with inner extents <= k. */
static size_t alo_need(size_t each, size_t k, size_t count) {
    return alo_mul(each, alo_sum(alo_mul(ALO_PANEL, k), count));
}

/* Scratch of a job with `rows` rows and `k` terms: a panel of b, strips of a. */
static size_t alo_job_room(size_t rows, size_t k, size_t each) {
    if (rows > ALO_HIGH) rows = ALO_HIGH;
    k = k > 4 * ALO_DEEP ? k / 4 + 1 : k > ALO_DEEP ? (size_t)ALO_DEEP : k; /* bytes: all terms at once */
    return alo_mul(each, (rows + ALO_PANEL) * k);
}

/* Tasks of a call: columns of a fast product, ALO_PANEL each; heads; else the rows of output 0, of `whole`
 * one. Each makes its own part of the outputs, so any ranges may run at once, each with its own scratch. */
static int alo_tasks(int code, const alo_tensor *const t[], const alo_attr *attr, int samples, bool fast) {
    const bool product = code == ALO_K_matmul || code == ALO_K_matmul_da || code == ALO_K_matmul_db;
    if (fast && product) return (t[ALO_Y]->cols + ALO_PANEL - 1) / ALO_PANEL;
    if (fast && (code == ALO_K_attention || code == ALO_K_attention_dqkv))
        return alo_attention_tasks(t, attr, samples);
    return alo_kernel_rows[code].how == ALO_HOW_whole ? 1 : (int)alo_all_rows(t[ALO_Y], samples);
}

/* Scratch of a head: k, v in panels, scores; in the pieces k and v turned or q and g, k, P and dS. */
static size_t alo_attention_room(size_t rows, size_t keys, size_t width, bool pieces, size_t each) {
    const size_t wide = alo_align(width, 16), cols = alo_align(keys, 16);
    const size_t turned = alo_mul(cols, width), plain = alo_mul(keys, wide);
    const size_t high = pieces ? alo_zu(alo_attention_rows((int)rows, (int)keys)) : (size_t)ALO_QUERIES;
    const size_t shared = pieces ? alo_mul(2, alo_most(turned, alo_mul(high, wide))) : turned;
    return alo_mul(each, alo_sum(alo_sum(shared, plain), alo_mul(high, alo_mul(cols, pieces ? 2 : 1))));
}

/* clang-format off */
/* Bytes of scratch that a kernel takes at most for `samples` samples at once. */
static size_t alo_scratch_bytes(int code, const alo_tensor *const t[], const alo_attr *attr, int samples,
                                size_t each) {
    const int op = code != ALO_K_attention; /* operand q; k stands behind it */
    const size_t n = alo_zu(attr->n), P = alo_zu(attr->m), Q = alo_zu(attr->p);
    const size_t nr = alo_mul(n, alo_zu(attr->q)), band = alo_mul(ALO_BAND, nr);
    const size_t mixed = alo_mul(alo_mul(P, Q), nr); /* S, spread */
    const size_t deep = alo_all_rows(t[0], samples), cols = t[0] ? alo_zu(t[0]->cols) : 0;
    const size_t rows = alo_all_rows(t[ALO_Y], samples), wide = t[ALO_Y] ? alo_zu(t[ALO_Y]->cols) : 0;
    const size_t sums = attr->p && t[3] && !t[ALO_Z] ? alo_mul(rows, wide) : 0;
    const size_t queries = P || !t[op] ? P : alo_zu(t[op]->rows);
    const size_t keys = P || !t[op + 1] ? P : alo_zu(t[op + 1]->rows);
    switch (code) {
    case ALO_K_matmul:
        return alo_most(alo_need(each, cols + alo_zu(t[0]->rows), sums), alo_job_room(rows, cols, each));
    case ALO_K_matmul_da: return alo_most(alo_need(each, cols, 0), alo_job_room(rows, cols, each));
    case ALO_K_matmul_db:
        return alo_most(alo_need(each, deep, 0),
                        alo_job_room(alo_most(cols, alo_zu(t[1]->cols)), deep, each));
    case ALO_K_kron:
        return alo_need(each, alo_most(cols / P, nr),
                        alo_sum(mixed, alo_sum(alo_mul(band, P + Q), alo_mul(cols / P, nr))));
    case ALO_K_kron_mix:  return alo_need(each, cols / Q, alo_sum(mixed, alo_mul(band, Q)));
    case ALO_K_kron_ds:   return alo_need(each, 0, mixed);
    case ALO_K_inverse: case ALO_K_inverse_dx:
        return alo_mul(sizeof(double), alo_mul(alo_zu(t[0]->rows), alo_zu(t[0]->rows)));
    case ALO_K_kron_dx:   return alo_need(each, nr, alo_mul(wide / P, nr));
    case ALO_K_kron_dd:   return alo_need(each, deep, alo_mul(cols / P, nr));
    case ALO_K_kron_du:   return alo_need(each, ALO_BAND, alo_sum(mixed, alo_mul(band, Q)));
    case ALO_K_attention: case ALO_K_attention_dqkv: case ALO_K_attention_dbias:
        return alo_most(alo_need(each, alo_most(alo_most(queries, keys), alo_zu(t[op]->cols) / n),
                                 alo_mul(alo_zu(op + 1), alo_mul(queries, keys))),
                        alo_attention_room(queries, keys, alo_zu(t[op]->cols) / n, op == 1, each));
    default: return 0;
    }
}

static double alo_size_of(const alo_tensor *t) { return t ? (double)t->rows * t->cols : 0; }

/* Floating-point operations of a sample, or of the call: products in full, else one for each number. */
static double alo_cost(int code, const alo_tensor *const t[], const alo_attr *attr) {
    const int op = code != ALO_K_attention, groups = attr->m > 1 ? attr->m : 1;
    const int products = code == ALO_K_attention_dqkv ? 2 + !!t[ALO_Y] + !!t[ALO_Z] + !!t[ALO_X] : 2;
    const double a = alo_size_of(t[0]), y = alo_size_of(t[ALO_Y]), taps = 2.0 * attr->p * attr->p;
    const double nr = 2.0 * attr->n * attr->q, mix = t[0] ? nr * t[0]->rows * attr->m * attr->p : 0;
    switch (code) {
    case ALO_K_matmul:    return 2 * y * (attr->n & 1 ? t[0]->rows : t[0]->cols) / groups;
    case ALO_K_matmul_da: return 2 * y * t[0]->cols / groups;
    case ALO_K_matmul_db: return 2 * a * (attr->n & 1 ? t[1]->rows : t[1]->cols) / groups;
    case ALO_K_kron:      return mix + nr * (a + (t[3] ? y : 0));
    case ALO_K_kron_mix:  return (t[ALO_Z] ? mix : 0) + (t[3] ? nr * a : 0);
    case ALO_K_kron_dx:   return nr * y;
    case ALO_K_kron_ds:   return mix;
    case ALO_K_kron_dd:   return nr * a;
    case ALO_K_kron_du:   return mix + nr * a;
    case ALO_K_dwconv: case ALO_K_dwconv_dx: case ALO_K_dwconv_dw: return a * taps;
    case ALO_K_attention: case ALO_K_attention_dqkv: case ALO_K_attention_dbias:
        return products * 2 * alo_size_of(t[op]) * (attr->m ? attr->m : t[op + 1]->rows);
    case ALO_K_inverse: case ALO_K_inverse_dx: return 2 * a * t[0]->rows;
    case ALO_K_sparse: case ALO_K_sparse_da: return 2.0 * t[0]->rows * t[2]->rows;
    case ALO_K_sparse_db: return 2.0 * t[0]->rows * t[2]->rows;
    case ALO_K_cast: case ALO_K_gather: case ALO_K_concat: case ALO_K_copy: case ALO_K_zero: case ALO_K_pick:
        return 0;
    default: return y > a ? y : a;
    }
}
/* clang-format on */

/* ============================================================================
 * >> 13 json
 * As much JSON as a weight file needs, read strictly and without recursion: its reader says at each place
 * what must stand there, so nothing is skipped. */

/* By bytes of a UTF-8 character: the first byte less what it tells of the character; the least character. */
static const uint32_t alo_utf8_lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
static const uint32_t alo_utf8_least[] = {0, 0, 0x80, 0x800, 0x10000, 0x110000};

/* Bytes of the UTF-8 character that `s` begins with; 0: malformed, too long, a surrogate, or out of range. */
static size_t alo_utf8(const unsigned char *s, size_t bytes) {
    size_t n = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    uint32_t c = s[0] - alo_utf8_lead[n]; /* out of range where no character begins so */
    for (size_t i = 1; i < n; ++i) {
        if (i == bytes || (s[i] & 0xc0) != 0x80) return 0;
        c = c << 6 | (s[i] & 0x3fu);
    }
    return c < alo_utf8_least[n] || c > 0x10ffff || c >> 11 == 0x1b ? 0 : n;
}

static bool alo_is_utf8(const char *s, size_t bytes) {
    size_t n = 1;
    for (; bytes && n; s += n, bytes -= n) n = alo_utf8((const unsigned char *)s, bytes);
    return n != 0;
}

/* Place of a byte in a list of bytes, -1 where it is none of them. */
static int alo_among(const char *list, unsigned char c) {
    const char *at = c ? strchr(list, c) : NULL;
    return at ? (int)(at - list) : -1;
}

/* Append a JSON string, quotes and all. `s` is UTF-8 and may hold NULs. */
static void alo_put_json(alo_text *t, const char *s, size_t bytes) {
    alo_put(t, "\"", 1);
    for (size_t i = 0; i < bytes; ++i) {
        unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\') alo_put(t, "\\", 1);
        if (c < 0x20)
            alo_print(t, c < 0x10 ? "\\u000%x" : "\\u00%x", (uint64_t)c);
        else
            alo_put(t, s + i, 1);
    }
    alo_put(t, "\"", 1);
}

typedef struct alo_json {
    alore_ctx *ctx;
    const unsigned char *bytes; /* of the file */
    size_t at, end;
    size_t name; /* where in the file the name begins that a failure is about, 0: about none */
    bool failed; /* the first failure stands */
} alo_json;

/* Fail at the cursor. The site is the name as the file spells it. */
static bool alo_json_fail(alo_json *j, const char *format, ...) {
    alore_error *e = &j->ctx->error;
    alo_text text = {e->text, sizeof e->text, 0}, site = {e->site, sizeof e->site, 0};
    va_list args;
    if (j->failed) return false;
    alo_fail(j->ctx, ALORE_ERR_FORMAT, NULL, "");
    e->offset = j->at;
    va_start(args, format);
    alo_print_list(&text, format, args);
    va_end(args);
    alo_print(&text, ", at byte %z", j->at);
    for (size_t n, at = j->name + 1; j->name && j->bytes[at] != '"'; at += n) {
        n = j->bytes[at] == '\\' ? 2 : 1;
        alo_put(&site, (const char *)j->bytes + at, n);
    }
    j->failed = true;
    return false;
}

/* The byte at the cursor, 0 at the end. */
static unsigned char alo_json_peek(const alo_json *j) { return j->at < j->end ? j->bytes[j->at] : 0; }

static void alo_json_space(alo_json *j) {
    while (alo_among(" \n\r\t", alo_json_peek(j)) >= 0) ++j->at;
}

/* Step over spaces and the character `c`; without it fail with `what`, NULL: return false only. */
static bool alo_json_take(alo_json *j, char c, const char *what) {
    alo_json_space(j);
    if (j->failed || alo_json_peek(j) != (unsigned char)c) return what && alo_json_fail(j, what);
    ++j->at;
    return true;
}

/* Step to the first byte of the next member and count it. False: stepped out over `close`, or failed. */
static bool alo_json_more(alo_json *j, char close, size_t *members) {
    if (alo_json_take(j, close, NULL)) return false;
    if ((*members)++ && !alo_json_take(j, ',', "a comma or a closing bracket is missing")) return false;
    alo_json_space(j);
    return !j->failed;
}

/* Read a whole number of at most 64 bits. */
static bool alo_json_uint(alo_json *j, uint64_t *out) {
    alo_json_space(j);
    const size_t first = j->at;
    uint64_t value = 0;
    for (int d; (d = alo_among("0123456789", alo_json_peek(j))) >= 0; ++j->at) {
        if (value > (UINT64_MAX - (unsigned)d) / 10) return alo_json_fail(j, "a number does not fit 64 bits");
        value = 10 * value + (unsigned)d;
    }
    if (j->at == first) return alo_json_fail(j, "a whole number is missing");
    if (j->at > first + 1 && j->bytes[first] == '0') return alo_json_fail(j, "a number begins with a zero");
    *out = value;
    return true;
}

/* Read the four digits of \uXXXX. */
static bool alo_json_hex(alo_json *j, uint32_t *out) {
    *out = 0;
    for (int i = 0; i < 4; ++i, ++j->at) {
        int digit = alo_among("0123456789abcdefABCDEF", alo_json_peek(j));
        if (digit < 0) return alo_json_fail(j, "\\u wants four hexadecimal digits");
        *out = *out << 4 | (uint32_t)(digit < 16 ? digit : digit - 6);
    }
    return true;
}

/* Append the character of an escape; the cursor stands behind its backslash. */
static bool alo_json_escape(alo_json *j, alo_text *out) {
    int named = alo_among("\"\\/bfnrtu", alo_json_peek(j));
    if (named < 0) return alo_json_fail(j, "an escape is not known");
    ++j->at;
    uint32_t c = (unsigned char)"\"\\/\b\f\n\r\t"[named], low;
    if (named == 8 && !alo_json_hex(j, &c)) return false;
    if (c >> 10 == 0x36 && j->end - j->at >= 2 && memcmp(j->bytes + j->at, "\\u", 2) == 0) {
        j->at += 2;
        if (!alo_json_hex(j, &low)) return false;
        if (low >> 10 == 0x37) c = 0x10000 + ((c & 0x3ff) << 10) + (low & 0x3ff);
    }
    if (c >> 11 == 0x1b) return alo_json_fail(j, "a surrogate stands alone");
    char s[4];
    size_t n = 1;
    while (c >= alo_utf8_least[n + 1]) ++n;
    for (size_t i = n - 1; i; --i, c >>= 6) s[i] = (char)(0x80 | (c & 0x3f));
    s[0] = (char)(alo_utf8_lead[n] + c);
    alo_put(out, s, n);
    return true;
}

/* Read a string and append its characters, NULs too, to `out`, where they may be cut. */
static bool alo_json_string(alo_json *j, alo_text *out) {
    if (!alo_json_take(j, '"', "a string is missing")) return false;
    while (j->at < j->end && j->bytes[j->at] != '"') {
        const unsigned char *s = j->bytes + j->at;
        size_t n = alo_utf8(s, j->end - j->at);
        if (!n) return alo_json_fail(j, "a string is not UTF-8");
        if (*s < 0x20) return alo_json_fail(j, "a control character stands in a string");
        j->at += n;
        if (*s != '\\')
            alo_put(out, (const char *)s, n);
        else if (!alo_json_escape(j, out))
            return false;
    }
    return alo_json_take(j, '"', "a string does not end");
}

/* ============================================================================
 * >> 14 safetensors
 * A weight file is the length of its header (8 bytes, little-endian), a header in JSON, and the data. The
 * reader is strict: the tensors cover the data exactly once, names and metadata keys differ, nothing unknown
 * is skipped; a set takes no more than a small multiple of the header's bytes. Limits: a header of
 * 100 000 000 bytes, as in the reference; rank 64, as in numpy. */

#if !defined(ALORE_NO_STDIO) && !defined(ALORE_NO_MMAP) && (defined(__unix__) || defined(__APPLE__))
#    define ALO_FILES_POSIX
#    include <fcntl.h>
#    include <sys/mman.h>
#    include <unistd.h>
#    if defined(MADV_DONTNEED) /* POSIX has it, too, but there glibc does nothing */
#        define ALO_FORGET MADV_DONTNEED
#    elif defined(__linux__)
extern int madvise(void *, size_t, int); /* which strict C hides */
#        define ALO_FORGET 4
#    endif
#endif

enum { ALO_DTYPES = ALORE_C64 + 1, ALO_MAX_HEADER = 100000000, ALO_MAX_RANK = 64 };

static const uint8_t alo_dtype_sizes[] = {4, 2, 2, 8, 1, 1, 2, 2, 4, 4, 8, 8, 1, 1, 1, 1, 1, 1, 8};
static const char *const alo_dtype_names[] = {
    "F32", "F16", "BF16", "F64",     "U8",      "I8",      "I16",         "U16",         "I32", "U32",
    "I64", "U64", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "C64"};

ALORE_API size_t alore_dtype_bytes(alore_dtype t) { return (size_t)t < ALO_DTYPES ? alo_dtype_sizes[t] : 0; }
ALORE_API const char *alore_dtype_name(alore_dtype dtype) {
    return (size_t)dtype < ALO_DTYPES ? alo_dtype_names[dtype] : "unknown";
}

static inline uint64_t alo_little(const unsigned char *p, size_t bytes) {
    uint64_t word = 0;
    if (alo_host_is_little())
        memcpy(&word, p, bytes);
    else
        while (bytes) word = word << 8 | p[--bytes];
    return word;
}

static float alo_element(const unsigned char *p, alore_dtype dtype) {
    size_t bytes = alore_dtype_bytes(dtype);
    uint64_t word = alo_little(p, bytes), sign = (uint64_t)1 << (8 * bytes - 1);
    double wide;
    memcpy(&wide, &word, sizeof wide);
    if (dtype == ALORE_F32) return alo_float((uint32_t)word);
    if (dtype == ALORE_F16) return alore_half_to_float((uint16_t)word);
    if (dtype == ALORE_BF16) return alore_bfloat_to_float((uint16_t)word);
    if (dtype == ALORE_F64) return (float)wide;
    /* an integer; those with a sign are I8 to I64 */
    return alo_dtype_names[dtype][0] == 'I' && word & sign ? -(float)(sign - (word ^ sign)) : (float)word;
}

ALORE_API bool alore_tensor_read(const alore_tensor *t, size_t first, size_t count, float *out) {
    size_t step = t && t->dtype < ALORE_BOOL ? alore_dtype_bytes(t->dtype) : 0;
    if (!step || first > t->bytes / step || count > t->bytes / step - first) return false;
    if (!count || !out || !t->data) return !count;
    const unsigned char *p = (const unsigned char *)t->data + first * step;
    if (t->dtype == ALORE_F32 && alo_host_is_little())
        memcpy(out, p, count * step);
    else
        for (size_t i = 0; i < count; ++i) out[i] = alo_element(p + i * step, t->dtype);
    return true;
}

typedef struct alo_kept { /* a tensor; or metadata: the name is the key, the data are the value */
    alore_tensor t;
    void *own;    /* the data, where the set allocated them */
    size_t place; /* of the name in the file */
    bool meta;
} alo_kept;

typedef struct alo_shelf {
    alo_kept **at;
    int count, room;
} alo_shelf;

struct alore_weights {
    alo_object object;
    alo_shelf by_place, by_name; /* the tensors; the tensors by name and then the metadata by key */
    char *text;                  /* where the next string of the header goes */
    void *file;                  /* mapped, or among the pieces; NULL: borrowed */
    size_t file_bytes;
    const alore_weights *origin, *mapped; /* of a packed set; else NULL */
};

/* By name, metadata behind; or by the data's begin, and of those that begin there the empty ones first. */
static int alo_compare(const alo_kept *a, const alo_kept *b, bool by_place) {
    const char *p = (const char *)a->t.data, *q = (const char *)b->t.data;
    size_t n = a->t.name_bytes, m = b->t.name_bytes;
    if (by_place && p != q) return p < q ? -1 : 1;
    if (by_place && a->t.bytes != b->t.bytes) return a->t.bytes < b->t.bytes ? -1 : 1;
    if (a->meta != b->meta) return a->meta ? 1 : -1;
    int order = memcmp(a->t.name, b->t.name, n < m ? n : m);
    return order ? order : (n > m) - (n < m);
}

/* Sort by a heap: in place, n log n whatever the input. */
static void alo_sort(alo_shelf *x, bool by_place) {
    alo_kept **at = x->at;
    for (int end = x->count, start = end / 2; end > 1;) {
        alo_kept *sinking = at[start ? start - 1 : end - 1];
        int parent, child;
        if (!start) at[--end] = at[0];
        start -= start > 0;
        for (parent = start; (child = 2 * parent + 1) < end; parent = child) {
            child += child + 1 < end && alo_compare(at[child], at[child + 1], by_place) < 0;
            if (alo_compare(sinking, at[child], by_place) >= 0) break;
            at[parent] = at[child];
        }
        at[parent] = sinking;
    }
}

/* The entry of a name, or NULL. `place` becomes where in by_name it stands, or would stand. */
static alo_kept *alo_find(const alore_weights *w, const char *name, size_t bytes, bool meta, int *place) {
    alo_kept key = ALORE_ZERO, **at = w->by_name.at;
    key.t.name = name;
    key.t.name_bytes = bytes;
    key.meta = meta;
    *place = 0;
    for (int rest = w->by_name.count; rest; rest /= 2) /* halved; less the middle where that is passed */
        if (alo_compare(at[*place + rest / 2], &key, false) < 0) *place += rest-- / 2 + 1;
    return *place < w->by_name.count && alo_compare(at[*place], &key, false) == 0 ? at[*place] : NULL;
}

/* Keep a copy of the entry, whose strings lie in the set already, and of its extents. */
static bool alo_keep_entry(alore_weights *w, const alo_kept *from, int place) {
    alo_object *o = &w->object;
    alo_shelf *x = &w->by_place, *y = &w->by_name;
    size_t bytes = alo_zu(from->t.rank) * sizeof *from->t.dims;
    alo_kept *e = (alo_kept *)alo_keep(o, sizeof *e + bytes, from, sizeof *e);
    if (!e) return false;
    if (bytes) e->t.dims = (const uint64_t *)memcpy(e + 1, from->t.dims, bytes);
    if (!e->meta && !alo_list_add(o, &x->at, &x->count, &x->room, x->count, &e, sizeof e)) return false;
    if (alo_list_add(o, &y->at, &y->count, &y->room, place, &e, sizeof e)) return true;
    x->count -= !e->meta;
    return false;
}

static void alo_weights_free(alo_object *o) {
#ifdef ALO_FILES_POSIX
    const alore_weights *w = (const alore_weights *)(void *)o;
    if (w->file) munmap(w->file, w->file_bytes);
#endif
    alo_object_free(o);
}

ALORE_API void alore_weights_destroy(alore_weights *w) {
    if (w) alo_weights_free(&w->object);
}

ALORE_API alore_status alore_weights_create(alore_ctx *ctx, alore_weights **out) {
    if (!ctx || !out) return ALORE_ERR_ARGUMENT;
    void *w = alo_object_new(ctx, sizeof **out, alo_weights_free);
    if (w) *out = (alore_weights *)w;
    return w ? ALORE_OK : ALORE_ERR_MEMORY;
}

/* Bytes that the tensor's type and extents take, UINT64_MAX where they do not fit. */
static uint64_t alo_shape_bytes(const alore_tensor *t) {
    uint64_t bytes = alore_dtype_bytes(t->dtype);
    for (int i = 0; i < t->rank; ++i)
        bytes = t->dims[i] && bytes > UINT64_MAX / t->dims[i] ? UINT64_MAX : bytes * t->dims[i];
    return bytes;
}

/* Read a string into the set. It never takes more than in the file, where it has quotes. NULL: it failed. */
static const char *alo_read_string(alo_json *j, alore_weights *w, size_t *bytes) {
    alo_text text = {w->text, j->end - j->at, 0};
    if (!alo_json_string(j, &text)) return NULL;
    *bytes = text.used;
    w->text += text.used + 1;
    return text.data;
}

/* Read one of `count` words and return which; another one fails with `what`, which shows its spelling. */
static int alo_read_word(alo_json *j, const char *const *words, int count, const char *what) {
    char place[96];
    alo_text word = {place, 16, 0}, spelled = {place, sizeof place, 0};
    size_t begin = j->at;
    if (!alo_json_string(j, &word)) return 0;
    for (int i = 0; i < count; ++i)
        if (word.used == strlen(words[i]) && memcmp(place, words[i], word.used) == 0) return i;
    alo_put(&spelled, (const char *)j->bytes + begin, j->at - begin);
    j->at = begin;
    alo_json_fail(j, what, place);
    return 0;
}

/* Read the fields of a tensor, in any order, and keep it. */
static bool alo_read_tensor(alo_json *j, alore_weights *w, alo_kept *e) {
    static const char *const fields[] = {"dtype", "shape", "data_offsets"};
    uint64_t dims[ALO_MAX_RANK], offsets[2];
    size_t members = 0, data = w->file_bytes - j->end;
    unsigned seen = 0;
    if (!alo_json_take(j, '{', "a tensor's object is missing")) return false;
    while (alo_json_more(j, '}', &members)) {
        int field = alo_read_word(j, fields, 3, "the field %s is not known");
        if (seen >> field & 1) return alo_json_fail(j, "a field stands twice");
        if (!alo_json_take(j, ':', "a colon is missing")) return false;
        seen |= 1u << field;
        if (field == 0) {
            int type = alo_read_word(j, alo_dtype_names, ALO_DTYPES, "the type %s is not known");
            e->t.dtype = (alore_dtype)type;
            continue;
        }
        uint64_t *list = field == 1 ? dims : offsets;
        size_t count = 0, most = field == 1 ? (size_t)ALO_MAX_RANK : 2;
        if (!alo_json_take(j, '[', "an array is missing")) return false;
        while (alo_json_more(j, ']', &count))
            if (count > most || !alo_json_uint(j, list + count - 1))
                return alo_json_fail(j, "an array is too long");
        if (field == 1) e->t.rank = (int)count;
        if (field == 2 && count != 2) return alo_json_fail(j, "data_offsets are not two");
    }
    if (j->failed) return false;
    if (seen != 7) return alo_json_fail(j, "dtype, shape or data_offsets is missing");
    e->t.dims = dims;
    uint64_t need = alo_shape_bytes(&e->t), have = offsets[1] - offsets[0];
    const size_t behind = j->at;
    j->at = e->place; /* of which a failure tells */
    if (offsets[0] > offsets[1] || offsets[1] > data)
        return alo_json_fail(j, "data_offsets %u to %u do not lie in %z bytes of data", offsets[0],
                             offsets[1], data);
    if (have != need)
        return alo_json_fail(j, "type and shape take %u bytes, data_offsets hold %u", need, have);
    j->at = behind;
    e->t.data = j->bytes + j->end + (size_t)offsets[0];
    e->t.bytes = (size_t)have;
    return alo_keep_entry(w, e, w->by_name.count);
}

/* Read the header. The metadata are an object inside, whose members the same loop takes. */
static bool alo_read_header(alo_json *j, alore_weights *w) {
    size_t members[2] = {0, 0}; /* of the header, of the metadata */
    bool inside = false, seen = false;
    if (!alo_json_take(j, '{', "the header is not an object")) return false;
    for (;;) {
        alo_kept e = ALORE_ZERO;
        if (!alo_json_more(j, '}', &members[inside])) {
            if (!inside || j->failed) break;
            inside = false;
            continue;
        }
        e.meta = inside;
        e.place = j->at;
        e.t.name = alo_read_string(j, w, &e.t.name_bytes);
        if (!e.t.name) return false;
        bool opens = !inside && e.t.name_bytes == 12 && !strcmp(e.t.name, "__metadata__");
        if (opens && seen) return alo_json_fail(j, "the metadata stands twice");
        if (!alo_json_take(j, ':', "a colon is missing")) return false;
        if (opens) {
            inside = seen = alo_json_take(j, '{', "the metadata's object is missing");
        } else if (inside) {
            e.t.data = alo_read_string(j, w, &e.t.bytes);
            if (!e.t.data || !alo_keep_entry(w, &e, w->by_name.count)) return false;
        } else {
            j->name = e.place;
            if (!alo_read_tensor(j, w, &e)) return false;
            j->name = 0;
        }
    }
    alo_json_space(j);
    return !j->failed && (j->at == j->end || alo_json_fail(j, "the header goes on behind its object"));
}

/* Fill the new set from a file: names differ, and the tensors cover the data once and without holes. */
static bool alo_read_file(alore_weights *w, const void *file, size_t bytes) {
    alo_json j = ALORE_ZERO;
    w->file_bytes = bytes;
    j.ctx = w->object.ctx;
    j.bytes = (const unsigned char *)file;
    if (bytes < 8) return alo_json_fail(&j, "the header's length takes 8 bytes, the file has %z", bytes);
    uint64_t header = alo_little(j.bytes, 8);
    if (header > ALO_MAX_HEADER || header > bytes - 8)
        return alo_json_fail(&j, "the header has %u bytes; %z follow, the limit is %d", header, bytes - 8,
                             ALO_MAX_HEADER);
    j.at = 8;
    j.end = 8 + (size_t)header;
    w->text = (char *)alo_keep(&w->object, (size_t)header, NULL, 0);
    if (!w->text || !alo_read_header(&j, w)) return false;
    alo_sort(&w->by_name, false);
    alo_sort(&w->by_place, true);
    for (int i = 1; i < w->by_name.count; ++i) {
        const alo_kept *a = w->by_name.at[i - 1], *b = w->by_name.at[i];
        if (alo_compare(a, b, false) != 0) continue;
        j.at = j.name = alo_most(a->place, b->place);
        return alo_json_fail(&j, "the name at byte %z stands again", a->place + b->place - j.at);
    }
    size_t next = 0, data = bytes - j.end;
    for (int i = 0; i < w->by_place.count; next += w->by_place.at[i++]->t.bytes) {
        const alo_kept *e = w->by_place.at[i];
        size_t begin = (size_t)((const unsigned char *)e->t.data - j.bytes) - j.end;
        if (begin == next) continue;
        j.at = j.name = e->place;
        return alo_json_fail(&j, "data begin at %z, where those before end at %z", begin, next);
    }
    j.at = j.end + next;
    return next == data || alo_json_fail(&j, "the tensors cover %z of %z bytes of data", next, data);
}

/* Hand the set out with what the file holds, or destroy it. file NULL: that failed already. */
static alore_status alo_open(alore_weights *w, const void *file, size_t bytes, alore_weights **out) {
    alore_ctx *ctx = w->object.ctx;
    if (file && alo_read_file(w, file, bytes)) {
        *out = w;
        return ALORE_OK;
    }
    alore_weights_destroy(w);
    return ctx->error.status;
}

ALORE_API alore_status alore_weights_open(alore_ctx *ctx, const void *file, size_t n, alore_weights **out) {
    alore_weights *w;
    if (!ctx || !out) return ALORE_ERR_ARGUMENT;
    if (!file) return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "no bytes to open");
    return alore_weights_create(ctx, &w) ? ALORE_ERR_MEMORY : alo_open(w, file, n, out);
}

static alore_status alo_weights_add(alore_weights *w, const alore_tensor *t, bool zeroed) {
    if (!w) return ALORE_ERR_ARGUMENT;
    alore_ctx *ctx = w->object.ctx;
    if (!t || !t->name || (t->rank > 0 && !t->dims))
        return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "no tensor, no name, or no extents");
    if (!alore_dtype_bytes(t->dtype))
        return alo_fail(ctx, ALORE_ERR_DTYPE, t->name, "type %d is not known", (int)t->dtype);
    if (t->rank < 0 || t->rank > ALO_MAX_RANK)
        return alo_fail(ctx, ALORE_ERR_SHAPE, t->name, "rank %d is not in 0 to %d", t->rank, ALO_MAX_RANK);
    uint64_t need = alo_shape_bytes(t);
    if (need >= SIZE_MAX || (t->bytes && t->bytes != need))
        return alo_fail(ctx, ALORE_ERR_SHAPE, t->name, "type and shape take %u bytes, %z are given", need,
                        t->bytes);
    alo_kept e = ALORE_ZERO;
    int place;
    e.t = *t;
    if (!t->name_bytes) e.t.name_bytes = strlen(t->name);
    const char *wrong = !alo_is_utf8(t->name, e.t.name_bytes) ? "the name is not UTF-8"
                        : !strcmp(t->name, "__metadata__")    ? "the name is kept for metadata"
                        : alo_find(w, t->name, e.t.name_bytes, false, &place) ? "the name is there already"
                                                                              : NULL;
    if (wrong) return alo_fail(ctx, ALORE_ERR_NAME, t->name, wrong);
    e.t.bytes = (size_t)need;
    e.t.name = (const char *)alo_keep(&w->object, alo_sum(e.t.name_bytes, 1), t->name, e.t.name_bytes);
    if (!t->data) e.t.data = e.own = alo_keep_raw(&w->object, e.t.bytes, ALO_WIDE);
    if (e.own && zeroed) memset(e.own, 0, e.t.bytes);
    return e.t.name && e.t.data && alo_keep_entry(w, &e, place) ? ALORE_OK : ALORE_ERR_MEMORY;
}

ALORE_API alore_status alore_weights_add(alore_weights *w, const alore_tensor *t) {
    return alo_weights_add(w, t, true);
}

ALORE_API alore_status alore_weights_set_meta(alore_weights *w, const char *key, const char *value) {
    if (!w) return ALORE_ERR_ARGUMENT;
    if (!key) return alo_fail(w->object.ctx, ALORE_ERR_ARGUMENT, NULL, "no metadata key");
    alo_kept e = ALORE_ZERO;
    int place;
    e.meta = true;
    e.t.name_bytes = strlen(key);
    alo_kept *old = alo_find(w, key, e.t.name_bytes, true, &place), **at = w->by_name.at;
    if (old && !value) memmove(at + place, at + place + 1, alo_zu(--w->by_name.count - place) * sizeof *at);
    if (!value) return ALORE_OK;
    e.t.bytes = strlen(value);
    if (!alo_is_utf8(key, e.t.name_bytes) || !alo_is_utf8(value, e.t.bytes))
        return alo_fail(w->object.ctx, ALORE_ERR_ARGUMENT, NULL, "metadata is not UTF-8");
    e.t.name = (const char *)alo_keep(&w->object, e.t.name_bytes + 1, key, e.t.name_bytes);
    e.t.data = alo_keep(&w->object, e.t.bytes + 1, value, e.t.bytes);
    if (!e.t.name || !e.t.data || (!old && !alo_keep_entry(w, &e, place))) return ALORE_ERR_MEMORY;
    if (old) *old = e;
    return ALORE_OK;
}

/* The entry of a name, all zeros where there is none. */
static const alo_kept *alo_look(const alore_weights *w, const char *name, bool meta) {
    static const alo_kept none = ALORE_ZERO;
    int place;
    const alo_kept *e = w && name ? alo_find(w, name, strlen(name), meta, &place) : NULL;
    return e ? e : &none;
}

ALORE_API const alore_tensor *alore_weights_find(const alore_weights *w, const char *name) {
    const alore_tensor *t = &alo_look(w, name, false)->t;
    return t->name ? t : NULL;
}

ALORE_API void *alore_weights_data(alore_weights *w, const char *name) {
    return alo_look(w, name, false)->own;
}

ALORE_API const char *alore_weights_meta(const alore_weights *w, const char *key) {
    return (const char *)alo_look(w, key, true)->t.data;
}

ALORE_API int alore_weights_count(const alore_weights *w) { return w ? w->by_place.count : 0; }
ALORE_API const alore_tensor *alore_weights_at(const alore_weights *w, int index) {
    return index >= 0 && index < alore_weights_count(w) ? &w->by_place.at[index]->t : NULL;
}

ALORE_API int alore_weights_meta_count(const alore_weights *w) {
    return w ? w->by_name.count - w->by_place.count : 0;
}

ALORE_API void alore_weights_meta_at(const alore_weights *w, int i, const char **key, const char **value) {
    bool inside = i >= 0 && i < alore_weights_meta_count(w);
    const alore_tensor *t = inside ? &w->by_name.at[w->by_place.count + i]->t : NULL;
    if (key) *key = t ? t->name : NULL;
    if (value) *value = t ? (const char *)t->data : NULL;
}

/* Chains little-endian words, the last of a run padded with zeros, with the primes of xxHash64. A step is a
 * bijection of h and of the word: one changed word changes the hash. It ends as MurmurHash3 does. */
static uint64_t alo_hash_word(uint64_t h, uint64_t word) {
    h ^= word * UINT64_C(0x9e3779b185ebca87);
    return (h << 29 | h >> 35) * UINT64_C(0xc2b2ae3d27d4eb4f);
}

static uint64_t alo_hash_bytes(uint64_t h, const void *data, size_t bytes) {
    const unsigned char *p = (const unsigned char *)data;
    for (; bytes >= 8; p += 8, bytes -= 8) h = alo_hash_word(h, alo_little(p, 8));
    return bytes ? alo_hash_word(h, alo_little(p, bytes)) : h;
}

/* The pages that only tensor t of a mapped file lies on leave the memory; they come again when read. */
static void alo_give_back(const alore_weights *w, const alore_tensor *t) {
#ifdef ALO_FORGET
    const uintptr_t page = 65536, begin = ((uintptr_t)t->data + page - 1) / page * page;
    const uintptr_t end = ((uintptr_t)t->data + t->bytes) / page * page;
    const uintptr_t file = (uintptr_t)w->file;
    if (w->file && end > begin && begin >= file && end <= file + w->file_bytes)
        (void)madvise((void *)begin, end - begin, ALO_FORGET);
#else
    (void)w, (void)t;
#endif
}

ALORE_API uint64_t alore_weights_fingerprint(const alore_weights *w) {
    uint64_t h = 0;
    const alore_weights *mapped = w && w->mapped ? w->mapped : w;
    if (w && w->origin) w = w->origin;
    for (int i = 0; i < alore_weights_count(w); ++i) {
        const alore_tensor *t = &w->by_name.at[i]->t;
        h = alo_hash_bytes(alo_hash_word(h, t->name_bytes), t->name, t->name_bytes);
        h = alo_hash_word(alo_hash_word(h, (uint64_t)t->dtype), (uint64_t)t->rank);
        for (int k = 0; k < t->rank; ++k) h = alo_hash_word(h, t->dims[k]);
        h = alo_hash_bytes(alo_hash_word(h, t->bytes), t->data, t->bytes);
        alo_give_back(mapped, t);
    }
    h = (h ^ h >> 33) * UINT64_C(0xff51afd7ed558ccd);
    h = (h ^ h >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return h ^ h >> 33;
}

/* Tensors are written by falling type size, then by name: in four passes over all, of which each skips the
 * other sizes. The tensor of a step 0 .. 4 count - 1, NULL where it is skipped. */
static const alore_tensor *alo_write_at(const alore_weights *w, int step) {
    const alore_tensor *t = &w->by_name.at[step % w->by_place.count]->t;
    return alore_dtype_bytes(t->dtype) == (size_t)8 >> step / w->by_place.count ? t : NULL;
}

/* Append the header's length and the header, padded with spaces to 8. False: no file can hold the data. */
static bool alo_put_header(alo_text *text, const alore_weights *w, uint64_t length) {
    size_t begin = 0, end = 0;
    int count = w->by_place.count, metas = alore_weights_meta_count(w);
    for (int i = 0; i < 8; ++i) {
        char byte = (char)(length >> 8 * i & 0xff);
        alo_put(text, &byte, 1);
    }
    alo_put(text, "{", 1);
    for (int i = 0; i < metas; ++i) {
        const alore_tensor *t = &w->by_name.at[count + i]->t;
        alo_print(text, i ? "," : "\"__metadata__\":{");
        alo_put_json(text, t->name, t->name_bytes);
        alo_put(text, ":", 1);
        alo_put_json(text, (const char *)t->data, t->bytes);
    }
    if (metas) alo_put(text, "}", 1);
    for (int k = 0; k < 4 * count; ++k) {
        const alore_tensor *t = alo_write_at(w, k);
        if (!t) continue;
        end = alo_sum(begin, t->bytes);
        if (text->used > 9) alo_put(text, ",", 1);
        alo_put_json(text, t->name, t->name_bytes);
        alo_print(text, ":{\"dtype\":\"%s\",\"shape\":[", alore_dtype_name(t->dtype));
        for (int i = 0; i < t->rank; ++i) alo_print(text, i ? ",%u" : "%u", t->dims[i]);
        alo_print(text, "],\"data_offsets\":[%z,%z]}", begin, end);
        begin = end;
    }
    alo_put(text, "}", 1);
    while (text->used % 8) alo_put(text, " ", 1);
    return end != SIZE_MAX;
}

ALORE_API ALO_COLD alore_status alore_weights_write(const alore_weights *w, const alore_writer *writer) {
    if (!w) return ALORE_ERR_ARGUMENT;
    alore_ctx *ctx = w->object.ctx;
    if (!writer || !writer->write) return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "no writer");
    alo_text text = {NULL, 0, 0};
    bool fits = alo_put_header(&text, w, 0);
    size_t bytes = text.used, n = bytes - 8;
    if (!fits || n > ALO_MAX_HEADER)
        return alo_fail(ctx, ALORE_ERR_CAPACITY, NULL, "a header of %z bytes, or its data, is too large", n);
    text.bytes = bytes + 1;
    text.used = 0;
    text.data = (char *)alo_new(ctx, text.bytes);
    if (!text.data) return ALORE_ERR_MEMORY;
    alo_put_header(&text, w, n);
    const alore_tensor header = {NULL, 0, text.data, bytes, NULL, 0, ALORE_U8};
    alore_status s = ALORE_OK;
    for (int k = -1; k < 4 * w->by_place.count && s == ALORE_OK; ++k) {
        const alore_tensor *t = k < 0 ? &header : alo_write_at(w, k);
        if (t && t->bytes && !writer->write(writer->user, t->data, t->bytes))
            s = alo_fail(ctx, ALORE_ERR_IO, NULL, "the writer refused a piece of %z bytes", t->bytes);
    }
    alo_free(ctx, text.data, text.bytes);
    return s;
}

#ifndef ALORE_NO_STDIO

/* The file at `path`, mapped or read into the set. NULL: it is not there, empty, or no file. */
static void *alo_file_hold(alore_weights *w, const char *path, size_t *bytes) {
    void *held = NULL;
#    ifdef ALO_FILES_POSIX
    int file = open(path, O_RDONLY);
    off_t end = file >= 0 ? lseek(file, 0, SEEK_END) : -1;
    *bytes = end > 0 && (uint64_t)end < SIZE_MAX / 2 ? (size_t)end : 0;
    if (*bytes) held = mmap(NULL, *bytes, PROT_READ, MAP_PRIVATE, file, 0);
    if (held == MAP_FAILED) held = NULL;
    if (file >= 0) close(file);
#    else
    FILE *file = fopen(path, "rb");
    long end = file && !fseek(file, 0, SEEK_END) ? ftell(file) : -1;
    *bytes = end > 0 && (uint64_t)end < SIZE_MAX / 2 ? (size_t)end : 0;
    if (*bytes) held = alo_keep_raw(&w->object, *bytes, ALO_WIDE);
    const bool starved = *bytes && !held;
    if (held && (fseek(file, 0, SEEK_SET) || fread(held, 1, *bytes, file) != *bytes)) held = NULL;
    if (file) fclose(file);
    if (starved) return NULL;
#    endif
    if (!held) alo_fail(w->object.ctx, ALORE_ERR_IO, NULL, "%s cannot be read, or is empty", path);
    return held;
}

ALORE_API alore_status alore_weights_load(alore_ctx *ctx, const char *path, alore_weights **out) {
    alore_weights *w;
    size_t bytes;
    if (!ctx || !out) return ALORE_ERR_ARGUMENT;
    if (!path) return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "no path to load");
    if (alore_weights_create(ctx, &w) != ALORE_OK) return ctx->error.status;
    w->file = alo_file_hold(w, path, &bytes);
    return alo_open(w, w->file, bytes, out);
}

static bool alo_file_write(void *user, const void *data, size_t bytes) {
    return fwrite(data, 1, bytes, (FILE *)user) == bytes;
}

ALORE_API alore_status alore_weights_save(const alore_weights *w, const char *path) {
    if (!w) return ALORE_ERR_ARGUMENT;
    alore_ctx *ctx = w->object.ctx;
    if (!path) return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "no path to save to");
    alo_text beside = {NULL, alo_sum(strlen(path), 16), 0};
    beside.data = (char *)alo_new(ctx, beside.bytes);
    if (!beside.data) return ALORE_ERR_MEMORY;
    FILE *file = NULL;
    for (int i = 0; i < 100 && !file; ++i, beside.used = 0) {
        alo_print(&beside, i ? "%s.tmp%d" : "%s.tmp", path, i);
        file = fopen(beside.data, "wbx"); /* x: another's file is not taken */
    }
    alore_writer writer = {alo_file_write, file};
    alore_status s = file ? alore_weights_write(w, &writer) : ALORE_ERR_IO;
    if (file && fclose(file) != 0 && s == ALORE_OK) s = ALORE_ERR_IO;
#    ifdef _WIN32
    if (s == ALORE_OK) remove(path); /* rename() does not replace there */
#    endif
    if (s == ALORE_OK && rename(beside.data, path) != 0) s = ALORE_ERR_IO;
    if (file && s != ALORE_OK) remove(beside.data);
    if (s == ALORE_ERR_IO) alo_fail(ctx, s, NULL, "%s cannot be written", path);
    alo_free(ctx, beside.data, beside.bytes);
    return s;
}

#endif /* ALORE_NO_STDIO */

/* ============================================================================
 * >> 15 model
 * The model is lists: tensors, ops, parameters (with the base tensors), sites. Words append to them. The
 * first mistake is kept; the words after it return 0 and do nothing: one check at the end suffices. */

/* clang-format off */
typedef struct alo_param {     /* a named tensor of the checkpoint or the adapter   */
    int32_t     name, tensor;
    alore_shape shape;         /* as files have it                                  */
    alore_start start;
    uint8_t     segment;       /* ALO_BASE, ALO_PARAM, ALO_FROZEN                   */
    bool        base;          /* a tensor of the checkpoint, learning or not       */
    int32_t     site, rule;    /* whose it is; -1: nobody's                         */
} alo_param;

typedef struct alo_item {      /* one target of a rule                              */
    alore_kind kind;           /* NONE: a glob                                      */
    int32_t    text;           /* the glob, or the kind's word                      */
    int        first, last, hits; /* blocks, last < 0: all; how often it matched    */
} alo_item;

typedef struct alo_rule {
    const alore_method *method;/* NULL: unfreeze                                    */
    alore_recipe recipe;
    char         parts[4];
    int32_t      text;         /* as it was written, without blanks                 */
    int          first, count; /* its items                                         */
} alo_rule;

typedef struct alo_site {
    alore_site  s;             /* s.name is set when the model is finished          */
    int32_t     name;
    bool        no_bias;
    int         groups, rules; /* rules: how many with a method take it             */
    alore_shape weight;        /* as files have it                                  */
} alo_site;

typedef struct alo_block { void *data; size_t bytes; } alo_block; /* constants of ops       */

#define ALO_LIST(name, type) type *name##s; int name##_count, name##_room;

struct alore_model {
    alo_object  object;
    alore_error error;         /* of the first wrong word                           */
    ALO_LIST(tensor, alo_tensor) ALO_LIST(op, alo_op) ALO_LIST(attr, alo_attr) ALO_LIST(param, alo_param)
    ALO_LIST(site, alo_site) ALO_LIST(rule, alo_rule) ALO_LIST(item, alo_item) ALO_LIST(table, alo_block)
    ALO_LIST(name, char)       /* the string table; offset 0 is ""                  */
    int32_t rules_text, backbone;
    char    scope[192];        /* "blocks.3." while a block is open                 */
    int     depth, marks[8], marked[8]; /* lengths and block numbers of the scopes below */
    int     block, block_count, blocks, prefix, height, width, hidden, dropouts;
    int     site, rule;        /* while a site is open; while a rule emits          */
    char    part;              /* q, k, v while a part emits, else 0                */
    bool    finished, probe;   /* probe: hosts alone, for merge: norms without statistics */
    bool    strip;             /* leave out what does not depend on the input       */
};

static const char *const alo_kind_names[] = {
    "", "patch", "norm1", "qkv", "proj", "norm2", "fc1", "fc2", "norm", "head", "dwconv", "down", "tokens",
    "attn", "mlp", "block"};
/* clang-format on */

static alore_ctx *alo_ctx(const alore_model *m) { return m->object.ctx; }
static const char *alo_name(const alore_model *m, int32_t offset) { return m->names + offset; }

/* The open site's name; where none is, the scope with its dot. */
static const char *alo_where(const alore_model *m) {
    return m->site >= 0 ? alo_name(m, m->sites[m->site].name) : m->scope;
}

/* Keep the first mistake. Returns 0: no tensor, false. */
static alore_id alo_wrong(alore_model *m, alore_status status, const char *format, ...) {
    va_list args;
    alo_text text = {m->error.text, sizeof m->error.text, 0}, site = {m->error.site, sizeof m->error.site, 0};
    const char *where = alo_where(m);
    if (m->error.status) return 0;
    m->error.status = status;
    m->error.record = -1;
    alo_put(&site, where, strlen(where) - (m->site < 0 && *where));
    va_start(args, format);
    alo_print_list(&text, format, args);
    va_end(args);
    return 0;
}

/* True if nothing may be added: after a mistake, or as the model is finished. */
static bool alo_closed(alore_model *m) {
    if (m->finished) alo_wrong(m, ALORE_ERR_ORDER, "a word after alore_model_finish");
    return m->error.status != ALORE_OK;
}

/* An allocation failed: the context says so already. */
static alore_id alo_starved(alore_model *m) {
    if (!m->error.status) m->error = alo_ctx(m)->error;
    return 0;
}

/* Append `element` to one of the lists above. */
#define ALO_ADD(m, name, element) \
    (alo_list_add(&(m)->object, &(m)->name##s, &(m)->name##_count, &(m)->name##_room, (m)->name##_count, \
                  &(element), sizeof(element)) || alo_starved(m))

/* Offset of a copy of `text` in the string table, 0 for "" and when memory fails. */
static int32_t alo_intern(alore_model *m, const char *text) {
    const int32_t at = m->name_count;
    const size_t bytes = strlen(text) + 1;
    if (bytes > 65536) return alo_wrong(m, ALORE_ERR_NAME, "a name of %z bytes", bytes);
    for (size_t i = 0; i < bytes && *text; ++i)
        if (!ALO_ADD(m, name, text[i])) return 0;
    return *text ? at : 0;
}

ALORE_API void alore_model_destroy(alore_model *m) {
    if (m) alo_object_free(&m->object);
}

ALORE_API alore_status alore_model_create(alore_ctx *ctx, alore_model **out) {
    const alo_tensor none = ALORE_ZERO;
    const alo_attr zeros = ALORE_ZERO, one = {1.0f, 0, 0, 0, 0, 0, 0, NULL, NULL};
    if (!ctx || !out) return ALORE_ERR_ARGUMENT;
    alore_model *m = *out = (alore_model *)alo_object_new(ctx, sizeof *m, alo_object_free);
    if (!m) return ALORE_ERR_MEMORY;
    m->site = m->rule = m->block = -1;
    if (ALO_ADD(m, name, *"") && ALO_ADD(m, tensor, none) && ALO_ADD(m, attr, zeros) && ALO_ADD(m, attr, one))
        return ALORE_OK; /* attributes 0: zeros, 1: x = 1 */
    alo_object_free(&m->object);
    *out = NULL;
    return ALORE_ERR_MEMORY;
}

/* ---- Tensors and ops ---- */
static const alo_tensor *alo_at(const alore_model *m, alore_id id) {
    return &m->tensors[id > 0 && id < m->tensor_count ? id : 0];
}

static bool alo_per_sample(const alore_model *m, alore_id x) { return alo_at(m, x)->flags & ALO_PER_SAMPLE; }
ALORE_API int alore_rows(const alore_model *m, alore_id id) { return alo_at(m, id)->rows; }
ALORE_API int alore_cols(const alore_model *m, alore_id id) { return alo_at(m, id)->cols; }

/* True if the word must return 0: a mistake before, or an operand that is none. */
static bool alo_poisoned(alore_model *m, alore_id a, alore_id b) {
    if (alo_closed(m)) return true;
    if (a <= 0 || a >= m->tensor_count || b <= 0 || b >= m->tensor_count)
        alo_wrong(m, ALORE_ERR_ARGUMENT, "an operand that is no tensor (%d, %d)", (int)a, (int)b);
    return m->error.status != ALORE_OK;
}

/* A tensor, its extents checked; index 0 stands for "none". */
static alore_id alo_tensor_new(alore_model *m, int rows, int cols, int flags) {
    const int i = m->tensor_count;
    alo_tensor t = {ALO_NOWHERE, 0, (uint16_t)flags, rows, cols, cols, 0, i, 0, 0};
    if (alo_closed(m)) return 0;
    if (rows < 1 || cols < 1 || rows > 1 << 24 || cols > 1 << 24)
        return alo_wrong(m, ALORE_ERR_SHAPE, "a tensor of %d x %d; extents are 1 to %d", rows, cols, 1 << 24);
    return ALO_ADD(m, tensor, t) ? i : 0;
}

static const alo_attr alo_no_attr = ALORE_ZERO;
static alo_attr alo_attr_of(float x, int n, int m, int p, int q) {
    alo_attr a = {x, 0.0f, n, m, p, q, 0, NULL, NULL};
    return a;
}

/* Append an op of up to four operands (0: absent) and its output, which is per sample if one of them is. No
 * rows: they do not fit, and the mistake names their shapes and the attributes. Returns the output. */
static ALO_COLD alore_id alo_record(alore_model *m, int code, alo_attr attr, alore_id a, alore_id b,
                                    alore_id c, alore_id d, int rows, int cols) {
    const int32_t in[4] = {a, b, c, d}, by[4] = {attr.n, attr.m, attr.p, attr.q};
    alo_op op = {(uint16_t)code, 0, {a, b, c, d}, {0}, m->attr_count, m->site, m->block};
    char text[160] = "";
    alo_text t = {text, sizeof text, 0};
    int flags = 0;
    for (int i = 0; i < 4; ++i) {
        if (!in[i]) continue;
        const char *type = alore_dtype_name((alore_dtype)alo_at(m, in[i])->dtype);
        if (*type != 'F' && code != ALO_K_cast && (code != ALO_K_xent || i != 1))
            return alo_wrong(m, ALORE_ERR_DTYPE, "%s of %s", alo_kernel_rows[code].name, type);
        flags |= alo_at(m, in[i])->flags & ALO_PER_SAMPLE;
        alo_print(&t, i ? " and %d x %d" : "%d x %d", alore_rows(m, in[i]), alore_cols(m, in[i]));
    }
    for (int i = 0; i < 4 && by[i]; ++i) alo_print(&t, i ? ", %d" : " by %d", (int)by[i]);
    if (!rows) return alo_wrong(m, ALORE_ERR_SHAPE, "%s of %s", alo_kernel_rows[code].name, text);
    op.out[0] = alo_tensor_new(m, rows, cols, flags);
    return op.out[0] && ALO_ADD(m, attr, attr) && ALO_ADD(m, op, op) ? op.out[0] : 0;
}

/* Give the op appended last a second output, for its own pieces. Returns the first. */
static alore_id alo_second(alore_model *m, alore_id y, int rows, int cols) {
    if (y) m->ops[m->op_count - 1].out[1] = alo_tensor_new(m, rows, cols, alo_at(m, y)->flags);
    return y;
}

/* An op on x alone whose output has its extents. */
static alore_id alo_record_like(alore_model *m, int code, alo_attr attr, alore_id x) {
    return alo_record(m, code, attr, x, 0, 0, 0, alore_rows(m, x), alore_cols(m, x));
}

/* A copy of constants that ops point to, owned by the model. */
static const void *alo_table(alore_model *m, const void *data, size_t count, size_t each) {
    const size_t bytes = alo_mul(count, each);
    alo_block b = {alo_keep(&m->object, bytes, data, bytes), bytes};
    return (b.data || alo_starved(m)) && ALO_ADD(m, table, b) ? b.data : NULL;
}

/* ---- Names, scopes, sites ---- */
/* A number that the backbone tells of itself; 0, and a mistake, where it makes no sense. */
static int alo_told(alore_model *m, int n, const char *what) {
    if (n >= 0 && n <= 1 << 22) return n;
    return alo_wrong(m, ALORE_ERR_ARGUMENT, "%d %s, not 0 to %d", n, what, 1 << 22);
}

ALORE_API void alore_blocks(alore_model *m, int count) {
    m->blocks = alo_told(m, count, "blocks");
    for (int i = 0; i < m->item_count; ++i)
        if (m->items[i].last >= count)
            alo_wrong(m, ALORE_ERR_RULE, "%s#%d: the blocks are 0 to %d", alo_name(m, m->items[i].text),
                      m->items[i].last, count - 1);
}

ALORE_API void alore_grid(alore_model *m, int prefix, int height, int width) {
    m->prefix = alo_told(m, prefix, "rows before the grid");
    m->height = alo_told(m, height, "rows of the grid");
    m->width = alo_told(m, width, "columns of the grid");
}

ALORE_API void alore_hidden(alore_model *m, int hidden) { m->hidden = alo_told(m, hidden, "hidden columns"); }

ALORE_API void alore_push(alore_model *m, const char *scope, int index) {
    alo_text t = {m->scope, sizeof m->scope, strlen(m->scope)};
    if (m->depth == 8) alo_wrong(m, ALORE_ERR_ARGUMENT, "scopes nest at most %d deep", 8);
    if (index >= 0 && m->blocks && m->block_count >= m->blocks)
        alo_wrong(m, ALORE_ERR_ORDER, "block %d, where alore_blocks said %d", m->block_count, m->blocks);
    if (alo_closed(m)) return;
    m->marks[m->depth] = (int)t.used;
    m->marked[m->depth++] = m->block;
    alo_print(&t, index >= 0 ? "%s.%d." : "%s.", scope, index);
    if (t.used >= sizeof m->scope) alo_wrong(m, ALORE_ERR_NAME, "a scope too long");
    if (index >= 0) m->block = m->block_count++;
}

ALORE_API void alore_pop(alore_model *m) {
    if (!m->depth) alo_wrong(m, ALORE_ERR_ORDER, "alore_pop without alore_push");
    if (m->error.status) return;
    m->scope[m->marks[--m->depth]] = 0;
    m->block = m->marked[m->depth];
}

ALORE_API const char *alore_kind_name(alore_kind kind) {
    return (size_t)kind < sizeof alo_kind_names / sizeof *alo_kind_names ? alo_kind_names[kind] : "";
}

/* '*' any run, '?' one character. Linear in practice, and without recursion. */
static bool alo_glob(const char *pattern, const char *text) {
    const char *star = NULL, *from = text;
    while (*text || *pattern == '*') {
        if (*pattern == '*') { /* it takes nothing at first */
            star = ++pattern;
            from = text;
        } else if (*pattern == '?' || *pattern == *text) {
            ++pattern;
            ++text;
        } else if (star) {
            pattern = star;
            text = ++from;
        } else
            return false;
    }
    return !*pattern;
}

/* Does the item name this kind or, being a glob, s (NULL: nothing), in block `at`? */
static bool alo_item_is(const alore_model *m, const alo_item *item, alore_kind kind, const char *s, int at) {
    if (item->kind ? item->kind != kind : !s || !alo_glob(alo_name(m, item->text), s)) return false;
    return item->last < 0 || (at >= item->first && at <= item->last);
}

/* Does it name the site? Globs do not see the branches. */
static bool alo_item_takes(const alore_model *m, const alo_item *item, const alo_site *site) {
    const char *seen = site->s.host < ALORE_HOST_BRANCH ? alo_name(m, site->name) : NULL;
    return alo_item_is(m, item, site->s.kind, seen, site->s.block);
}

/* Has the rule's method a form for this site, at the rule's place? Parts are thirds of a fused qkv. */
static bool alo_has_form(const alo_rule *rule, const alore_site *site) {
    const alore_place place = rule->recipe.place;
    const alore_host host = site->host;
    bool fits = place != ALORE_PLACE_INSIDE;
    if (host != ALORE_HOST_LINEAR) fits = place == ALORE_PLACE_OUTPUT;
    if (host >= ALORE_HOST_BRANCH) fits = place != ALORE_PLACE_INPUT && place != ALORE_PLACE_WEIGHT;
    if (*rule->parts) fits = fits && site->kind == ALORE_KIND_QKV && site->out % 3 == 0;
    return fits && rule->method->hosts & (int)host;
}

/* Does a rule with a method take this site? */
static bool alo_takes(const alore_model *m, const alo_rule *rule, const alo_site *site) {
    int i = 0;
    if (!rule->method || !alo_has_form(rule, &site->s)) return false;
    while (i < rule->count && !alo_item_takes(m, &m->items[rule->first + i], site)) ++i;
    return i < rule->count;
}

/* Count the rules that take a new site, and refuse those that cannot. A glob passes over hosts without a
 * form, a kind or a name asks for one. Two rules of one method take different parts, or names collide. */
static void alo_check_rules(alore_model *m, alo_site *site) {
    const alore_kind kind = site->s.kind;
    for (int r = 0; r < m->rule_count; ++r) {
        const alo_rule *rule = &m->rules[r];
        const alore_method *row = rule->method;
        for (int i = rule->first; i < rule->first + rule->count; ++i) {
            alo_item *item = &m->items[i];
            const char *text = alo_name(m, item->text);
            if (item->kind && item->kind == kind && item->last >= 0 && site->s.block < 0)
                alo_wrong(m, ALORE_ERR_RULE, "%s: %s lies outside the blocks and takes no #",
                          alo_name(m, rule->text), text);
            if (!row || !alo_item_takes(m, item, site)) continue;
            if (alo_has_form(rule, &site->s))
                ++item->hits;
            else if (item->kind || !strpbrk(text, "*?"))
                alo_wrong(m, ALORE_ERR_RULE, "%s has no form for %s", alo_name(m, rule->text), alo_where(m));
        }
        if (!alo_takes(m, rule, site)) continue;
        ++site->rules;
        for (const alo_rule *other = m->rules; other < rule; ++other)
            if (other->method == row && alo_takes(m, other, site) &&
                (!*other->parts || !*rule->parts || strpbrk(other->parts, rule->parts)))
                alo_wrong(m, ALORE_ERR_RULE, "%s twice on one site", row->name);
    }
}

enum { ALO_NAME_BYTES = 256 }; /* a name is composed in a place of this size         */

/* Write a name into `full`; false, and a mistake, where it is too long. */
static bool alo_compose(alore_model *m, char *full, const char *format, ...) {
    alo_text t = {full, ALO_NAME_BYTES, 0};
    va_list args;
    va_start(args, format);
    alo_print_list(&t, format, args);
    va_end(args);
    return t.used < ALO_NAME_BYTES || alo_wrong(m, ALORE_ERR_NAME, "a name too long");
}

/* Open a site of x (no name: the scope itself). After a mistake it stays open: no word acts any more. */
static bool alo_site_open(alore_model *m, const char *name, alore_kind kind, alore_host host, alore_id x,
                          int out) {
    char full[ALO_NAME_BYTES];
    alo_site site = ALORE_ZERO;
    const int in = alore_cols(m, x), rows = alore_rows(m, x), b = m->block;
    const alore_site s = {NULL, kind, host,      in,        out,      b,        m->blocks,
                          0,    rows, m->prefix, m->height, m->width, m->hidden};
    if (!alo_compose(m, full, "%s%s", m->scope, name)) return false;
    if (host >= ALORE_HOST_TOKENS && !*name && *full) full[strlen(full) - 1] = 0;
    site.s = s;
    site.name = alo_intern(m, full);
    if (!ALO_ADD(m, site, site)) return false;
    m->site = m->site_count - 1;
    alo_check_rules(m, &m->sites[m->site]);
    return !m->error.status;
}

/* ---- Parameters and base tensors ---- */
ALORE_API alore_shape alore_dims(int a, int b, int c, int d) {
    alore_shape s = {a ? b ? c ? d ? 4 : 3 : 2 : 1 : 0, {a, b, c, d}};
    return s;
}

/* How a parameter begins: with a value; uniform in -bound .. bound; normal; with whole numbers, those at even
 * places below one bound, the others below another; with the lengths of a base tensor's rows. */
static alore_start alo_start(int kind, float a, float b) {
    alore_start s = {kind, a, b};
    return s;
}

ALORE_API alore_start alore_fill(float value) { return alo_start(0, value, 0.0f); }
ALORE_API alore_start alore_uniform(float bound) { return alo_start(1, bound, 0.0f); }
ALORE_API alore_start alore_normal(float mean, float deviation) { return alo_start(2, mean, deviation); }
ALORE_API alore_start alore_indices(int below_even, int below_odd) {
    return alo_start(3, (float)below_even, (float)(below_odd ? below_odd : below_even));
}
static size_t alo_count(alore_shape s) {
    size_t n = 1;
    for (int i = 0; i < s.rank; ++i) n = s.dims[i] < 0 ? SIZE_MAX : alo_mul(n, alo_zu(s.dims[i]));
    return n;
}

/* "[4, 12, 4]", in a place of 64 bytes. */
static const char *alo_shape_text(char *place, alore_shape s) {
    alo_text t = {place, 64, 0};
    for (int i = 0; i < s.rank && i < 4; ++i) alo_print(&t, i ? ", %d" : "[%d", s.dims[i]);
    alo_print(&t, s.rank ? "]" : "[]");
    return place;
}

/* The tensor behind a shape: leading extents are rows, a vector is one row. */
static alore_id alo_param_new(alore_model *m, const char *full, alore_shape shape, alore_start start,
                              int segment, bool base) {
    alo_param p = {alo_intern(m, full), 0, shape, start, (uint8_t)segment, base, m->site, m->rule};
    if (shape.rank < 0 || shape.rank > 4)
        return alo_wrong(m, ALORE_ERR_SHAPE, "%s: rank %d, not 0 to 4", full, shape.rank);
    for (const int *e = shape.dims; e < shape.dims + shape.rank; ++e)
        if (*e < 1 || *e > 1 << 24)
            return alo_wrong(m, ALORE_ERR_SHAPE, "%s: extent %d; extents are 1 to %d", full, *e, 1 << 24);
    const size_t count = alo_count(shape), cols = shape.rank ? alo_zu(shape.dims[shape.rank - 1]) : 1;
    if ((uint64_t)count >> 40 || count > SIZE_MAX / 64 || count / cols > 1 << 24)
        return alo_wrong(m, ALORE_ERR_SHAPE, "%s: %z elements are too many", full, count);
    p.tensor = alo_tensor_new(m, (int)(count / cols), (int)cols, segment == ALO_PARAM ? ALO_LEARNS : 0);
    if (!p.tensor || !ALO_ADD(m, param, p)) return 0;
    m->tensors[p.tensor].name = p.name;
    m->tensors[p.tensor].segment = p.segment;
    return p.tensor;
}

static int alo_param_find(const alore_model *m, const char *full) {
    for (int i = 0; i < m->param_count; ++i)
        if (!strcmp(alo_name(m, m->params[i].name), full)) return i;
    return -1;
}

/* How long the rows of the open site's weight are, or those of the part at hand. */
ALORE_API alore_start alore_lengths(const alore_model *m) {
    for (int i = m->param_count - 1; i >= 0 && m->site >= 0; --i) {
        const alo_param *p = &m->params[i];
        const int third = m->tensors[p->tensor].rows / 3;
        if (p->site == m->site && p->base && p->shape.rank > 1)
            return alo_start(4, (float)i, (float)((m->part == 'v' ? 2 : m->part == 'k') * third));
    }
    return alore_fill(1.0f);
}

/* A tensor of the checkpoint, below the open site, else the scope. It learns where a rule unfreezes it. */
ALORE_API alore_id alore_base(alore_model *m, const char *name, alore_shape shape) {
    const bool open = m->site >= 0;
    const alore_kind kind = open ? m->sites[m->site].s.kind : ALORE_KIND_NONE;
    char full[ALO_NAME_BYTES];
    int segment = ALO_BASE;
    if (alo_closed(m) || !alo_compose(m, full, open ? "%s.%s" : "%s%s", alo_where(m), name)) return 0;
    if (alo_param_find(m, full) >= 0) return alo_wrong(m, ALORE_ERR_NAME, "%s is declared twice", full);
    for (int r = 0; r < m->rule_count; ++r)
        for (int i = 0; i < m->rules[r].count && !m->rules[r].method; ++i) {
            alo_item *item = &m->items[m->rules[r].first + i];
            if (!alo_item_is(m, item, kind, full, m->block)) continue;
            ++item->hits;
            segment = ALO_PARAM;
        }
    return alo_param_new(m, full, shape, alore_fill(0.0f), segment, true);
}

/* The storage of x from its column `first` on, in other extents. */
static alore_id alo_view(alore_model *m, alore_id x, int first, int rows, int cols, int ld, int flags) {
    const alo_tensor of = *alo_at(m, x);
    const alore_id id = alo_tensor_new(m, rows, cols, (of.flags & ALO_PER_SAMPLE) | ALO_VIEW | flags);
    if (!id) return 0;
    alo_tensor *t = &m->tensors[id];
    t->segment = of.segment;
    t->dtype = of.dtype;
    t->root = of.root;
    t->column = of.column + first;
    t->ld = ld;
    return id;
}

/* The leading rows and columns of a matrix that is as large as its largest site asks; its start is theirs. */
static alore_id alo_leading(alore_model *m, alo_param *p, alore_shape shape, alore_start start) {
    alo_tensor *t = &m->tensors[p->tensor];
    if (p->shape.rank != 2 || shape.rank != 2)
        return alo_wrong(m, ALORE_ERR_SHAPE, "%s grows, but is no matrix", alo_name(m, p->name));
    if (shape.dims[0] > t->rows || shape.dims[1] > t->cols) p->start = start;
    if (shape.dims[0] > t->rows) p->shape.dims[0] = t->rows = shape.dims[0];
    if (shape.dims[1] > t->cols) p->shape.dims[1] = t->cols = shape.dims[1];
    for (alo_tensor *x = m->tensors; x < m->tensors + m->tensor_count; ++x)
        if (x->root == p->tensor) x->ld = t->cols;
    return alo_view(m, p->tensor, 0, shape.dims[0], shape.dims[1], t->cols, 0);
}

/* <site>.<method>.<name>, <method>.<kind>.<name> or <method>.<name>; the part that owns it stands before the
 * name. A shared name declared again is the same tensor. */
static ALO_COLD alore_id alo_declare(alore_model *m, const char *name, alore_shape shape, alore_share share,
                                     alore_start start, int segment) {
    const bool own = share == ALORE_OWN || share == ALORE_SITE, kind = share == ALORE_KIND;
    const bool parted = share != ALORE_SITE && share != ALORE_WIDEST;
    char full[ALO_NAME_BYTES], old[64], now[64], part[2] = {parted ? m->part : (char)0, 0};
    if (alo_closed(m)) return 0;
    if (m->site < 0 || m->rule < 0) return alo_wrong(m, ALORE_ERR_ORDER, "alore_param outside of a method");
    if (!alo_compose(m, full, "%s%s%s.%s%s%s%s%s", own ? alo_where(m) : "", own ? "." : "",
                     m->rules[m->rule].method->name, kind ? alore_kind_name(m->sites[m->site].s.kind) : "",
                     kind ? "." : "", part, *part ? "." : "", name))
        return 0;
    int i = alo_param_find(m, full);
    if (i < 0 && !alo_param_new(m, full, shape, start, segment, false)) return 0;
    if (i >= 0 && share == ALORE_OWN) return alo_wrong(m, ALORE_ERR_NAME, "%s is declared twice", full);
    if (i < 0) i = m->param_count - 1;
    if (share == ALORE_WIDEST) return alo_leading(m, &m->params[i], shape, start);
    if (!memcmp(&m->params[i].shape, &shape, sizeof shape)) return m->params[i].tensor;
    return alo_wrong(m, ALORE_ERR_SHAPE, "%s is shared, but %s here and %s before", full,
                     alo_shape_text(now, shape), alo_shape_text(old, m->params[i].shape));
}

ALORE_API ALO_COLD alore_id alore_param(alore_model *m, const char *name, alore_shape shape,
                                        alore_share share, alore_start start) {
    return alo_declare(m, name, shape, share, start, ALO_PARAM);
}

ALORE_API alore_id alore_frozen(alore_model *m, const char *name, alore_shape shape, alore_share share,
                                alore_start start) {
    return alo_declare(m, name, shape, share, start, ALO_FROZEN);
}

/* Name an input or an output; none has the name of another. */
static void alo_name_io(alore_model *m, alore_id id, const char *name, int flag) {
    for (int i = 1; i < m->tensor_count; ++i)
        if (m->tensors[i].flags & (ALO_OUTPUT | ALO_INPUT) && !strcmp(alo_name(m, m->tensors[i].name), name))
            alo_wrong(m, ALORE_ERR_NAME, "%s is declared twice", name);
    if (m->error.status) return;
    m->tensors[id].name = alo_intern(m, name);
    m->tensors[id].flags |= (uint16_t)flag;
}

/* An input of every sample. */
ALORE_API alore_id alore_input(alore_model *m, const char *name, alore_dtype dtype, int rows, int cols) {
    if (dtype != ALORE_F32 && dtype != ALORE_U8 && dtype != ALORE_I32)
        return alo_wrong(m, ALORE_ERR_DTYPE, "input %s is %s; inputs are F32, U8 or I32", name,
                         alore_dtype_name(dtype));
    const alore_id id = alo_tensor_new(m, rows, cols, ALO_PER_SAMPLE);
    alo_name_io(m, id, name, ALO_INPUT);
    if (m->error.status) return 0;
    m->tensors[id].segment = ALO_IO;
    m->tensors[id].dtype = (uint8_t)dtype;
    return id;
}

/* ============================================================================
 * >> 16 words
 * The words of backbones and methods. Each checks its operands, infers its shape and appends a record, a
 * view, or nothing where it would do nothing. Hosts declare sites and let the rules weave their methods in:
 *
 *     y = output(host(input(x)) + parallel(input(x))), W = weight(W0) */

/* The product of two extents; where it is too large, what is no extent either. */
static int alo_by(int a, int b) { return b > 0 && a > INT32_MAX / b ? INT32_MAX : a * b; }

/* x in storage of its own. Its gradient is the gradient's copy. */
static alore_id alo_whole(alore_model *m, alore_id x) {
    return alo_record_like(m, ALO_K_scale, alo_attr_of(1.0f, 0, 0, 0, 0), x);
}

/* Columns first .. first+count-1 as a view: no copy, no record. */
ALORE_API alore_id alore_columns(alore_model *m, alore_id x, int first, int count) {
    if (alo_poisoned(m, x, x)) return 0;
    if (alo_at(m, x)->flags & ALO_RESHAPED) x = alo_whole(m, x);
    const alo_tensor of = *alo_at(m, x);
    if (first < 0 || count < 1 || first > of.cols - count)
        return alo_wrong(m, ALORE_ERR_SHAPE, "%d columns from %d on of %d", count, first, of.cols);
    return count == of.cols ? x : alo_view(m, x, first, of.rows, count, of.ld, 0);
}

/* Rows first .. first+count-1 of what serves every sample, as a view. */
static alore_id alo_rows_of(alore_model *m, alore_id x, int first, int count) {
    if (alo_poisoned(m, x, x)) return 0;
    const alo_tensor of = *alo_at(m, x);
    return alo_view(m, x, first * of.ld, count, of.cols, of.ld, 0);
}

/* The same numbers in other extents. */
ALORE_API alore_id alore_reshape(alore_model *m, alore_id x, int rows, int cols) {
    if (alo_poisoned(m, x, x)) return 0;
    const alo_tensor of = *alo_at(m, x);
    if (rows < 1 || cols < 1 || (int64_t)rows * cols != (int64_t)of.rows * of.cols)
        return alo_wrong(m, ALORE_ERR_SHAPE, "reshape of %d x %d to %d x %d", of.rows, of.cols, rows, cols);
    if (rows == of.rows) return x;
    if ((of.flags & (ALO_VIEW | ALO_RESHAPED)) == ALO_VIEW) x = alo_whole(m, x);
    return alo_view(m, x, 0, rows, cols, cols, ALO_RESHAPED);
}

/* A tensor of a file as a matrix of `rows` rows. */
static alore_id alo_matrix(alore_model *m, alore_id id, int rows) {
    return alore_reshape(m, id, rows, (int)((int64_t)alore_rows(m, id) * alore_cols(m, id) / rows));
}

/* u8 pixels [rows, 3] to (v/255 - mean) / deviation. */
ALORE_API alore_id alore_cast(alore_model *m, alore_id bytes, const float mean[3], const float deviation[3]) {
    const float values[6] = {mean[0], mean[1], mean[2], deviation[0], deviation[1], deviation[2]};
    alo_attr attr = ALORE_ZERO;
    if (alo_poisoned(m, bytes, bytes)) return 0;
    if (alo_at(m, bytes)->dtype != ALORE_U8 || alore_cols(m, bytes) != 3)
        return alo_wrong(m, ALORE_ERR_DTYPE, "cast of %s, %d columns; it takes U8, 3 columns",
                         alore_dtype_name((alore_dtype)alo_at(m, bytes)->dtype), alore_cols(m, bytes));
    for (int i = 3; i < 6; ++i)
        if (!(values[i] > 0)) return alo_wrong(m, ALORE_ERR_ARGUMENT, "a deviation of %g", (double)values[i]);
    attr.values = (const float *)alo_table(m, values, 6, sizeof *values);
    return alo_record_like(m, ALO_K_cast, attr, bytes);
}

/* y = op(a) op(b) + c, in n groups of columns. */
static alore_id alo_product(alore_model *m, alore_id a, bool a_t, alore_id b, bool b_t, alore_id c, int n) {
    if (alo_poisoned(m, a, b)) return 0;
    const alo_tensor *x = alo_at(m, a), *y = alo_at(m, b);
    const int rows = a_t ? x->cols : x->rows, inner = a_t ? x->rows : x->cols;
    const int cols = b_t ? y->rows : y->cols, other = b_t ? y->cols : y->rows;
    const bool fits = inner == other * n && cols % n == 0;
    const alo_attr attr = alo_attr_of(0, (a_t ? 1 : 0) | (b_t ? 2 : 0), n, 0, 0);
    return alo_record(m, ALO_K_matmul, attr, a, b, c, 0, fits ? rows : 0, cols);
}

/* a b, either side transposed first. */
ALORE_API alore_id alore_matmul_t(alore_model *m, alore_id a, bool a_t, alore_id b, bool b_t) {
    return alo_product(m, a, a_t, b, b_t, 0, 1);
}

ALORE_API alore_id alore_matmul(alore_model *m, alore_id a, alore_id b) {
    return alo_product(m, a, false, b, false, 0, 1);
}

/* Columns of a and of b [k / groups, n] in groups: each of y is one of a times one of b. */
ALORE_API alore_id alore_matmul_groups(alore_model *m, alore_id a, alore_id b, int groups) {
    return alo_product(m, a, false, b, false, 0, groups);
}

/* x sum_i S_i (x) (D_i U_i), without ever forming a matrix of that size.
 *
 *   x [rows, P s]    S [terms P, Q]    D [terms s, r]    U [terms r, t], 0: absent, t = r
 *   y [rows, Q t]                                          (ALoRE, eq. 6)           */
ALORE_API alore_id alore_kron(alore_model *m, alore_id x, alore_id s, alore_id d, alore_id u, int terms) {
    if (alo_poisoned(m, x, s) || alo_poisoned(m, d, d)) return 0;
    const alo_tensor *tx = alo_at(m, x), *ts = alo_at(m, s), *td = alo_at(m, d), *tu = alo_at(m, u);
    const int n = terms < 1 ? 1 : terms, p = ts->rows / n, part = td->rows / n, rank = td->cols;
    const bool fits = n == terms && ts->rows == n * p && td->rows == n * part &&
                      tx->cols == alo_by(p, part) && (!u || tu->rows == alo_by(n, rank));
    const alo_attr attr = alo_attr_of(0, terms, p, ts->cols, rank);
    const int rows = fits ? tx->rows : 0, cols = alo_by(ts->cols, u ? tu->cols : rank);
    x = alo_record(m, ALO_K_kron, attr, x, s, d, u, rows, cols);
    return alo_second(m, x, rows, alo_by(p * n, rank));
}

/* x gain + shift, both [1, cols]; either may be 0. */
ALORE_API alore_id alore_affine(alore_model *m, alore_id x, alore_id gain, alore_id shift) {
    if (alo_poisoned(m, x, x)) return 0;
    if (m->strip && alo_per_sample(m, x)) shift = 0;
    if (!gain && !shift) return x;
    const alo_tensor *t = alo_at(m, x), *by = alo_at(m, gain), *plus = alo_at(m, shift);
    const bool fits = (!gain || (by->rows == 1 && by->cols == t->cols)) &&
                      (!shift || (plus->rows == 1 && plus->cols == t->cols));
    return alo_record(m, ALO_K_affine, alo_no_attr, x, gain, shift, 0, fits ? t->rows : 0, t->cols);
}

ALORE_API alore_id alore_scale(alore_model *m, alore_id x, float factor) {
    if (alo_poisoned(m, x, x)) return 0;
    if (!(factor > -3e38f && factor < 3e38f))
        return alo_wrong(m, ALORE_ERR_ARGUMENT, "a scale that is not finite");
    return factor == 1.0f ? x : alo_record_like(m, ALO_K_scale, alo_attr_of(factor, 0, 0, 0, 0), x);
}

ALORE_API alore_id alore_unary(alore_model *m, alore_unary_kind kind, alore_id x) {
    if (alo_poisoned(m, x, x)) return 0;
    if (kind < ALORE_GELU || kind > ALORE_SIGMOID)
        return alo_wrong(m, ALORE_ERR_ARGUMENT, "activation %d is unknown", (int)kind);
    return alo_record_like(m, ALO_K_unary, alo_attr_of(0, (int)kind, 0, 0, 0), x);
}

/* Element by element; an extent of one is repeated, and what serves every sample is repeated for each. */
static alore_id alo_pair(alore_model *m, int code, alore_id a, alore_id b) {
    if (alo_poisoned(m, a, b)) return 0;
    if (code == ALO_K_add && m->strip && alo_per_sample(m, a) != alo_per_sample(m, b))
        return alo_per_sample(m, a) ? a : b;
    const alo_tensor *x = alo_at(m, a), *y = alo_at(m, b);
    const int rows = x->rows == 1 ? y->rows : x->rows, cols = x->cols == 1 ? y->cols : x->cols;
    const bool fits = (y->rows == rows || y->rows == 1) && (y->cols == cols || y->cols == 1);
    return alo_record(m, code, alo_no_attr, a, b, 0, 0, fits ? rows : 0, cols);
}

ALORE_API alore_id alore_add(alore_model *m, alore_id a, alore_id b) { return alo_pair(m, ALO_K_add, a, b); }
ALORE_API alore_id alore_mul(alore_model *m, alore_id a, alore_id b) { return alo_pair(m, ALO_K_mul, a, b); }

/* x with y added to its columns from `first` on. */
ALORE_API alore_id alore_add_columns(alore_model *m, alore_id x, alore_id y, int first) {
    if (alo_poisoned(m, x, y)) return 0;
    const int rows = alore_rows(m, x), cols = alore_cols(m, x);
    const bool fits = rows == alore_rows(m, y) && first >= 0 && first <= cols - alore_cols(m, y);
    if (fits && m->strip && alo_per_sample(m, x) && !alo_per_sample(m, y)) return x;
    const alo_attr attr = alo_attr_of(0, first, 0, 0, 0);
    return alo_record(m, ALO_K_add_columns, attr, x, y, 0, 0, fits ? rows : 0, cols);
}

/* Whole numbers of the model's own, for a table; NULL after a mistake. */
static int32_t *alo_ints(alore_model *m, size_t count) {
    const size_t bytes = alo_mul(count, sizeof(int32_t));
    if (count > (size_t)1 << 24) alo_wrong(m, ALORE_ERR_SHAPE, "%z entries; a table has %d", count, 1 << 24);
    if (m->error.status) return NULL;
    const alo_block b = {alo_keep(&m->object, bytes, NULL, 0), bytes};
    return (b.data || alo_starved(m)) && ALO_ADD(m, table, b) ? (int32_t *)b.data : NULL;
}

/* A gather by a table of the model's own. */
static alore_id alo_gather(alore_model *m, alore_id x, const int32_t *table, int count, int group) {
    alo_attr attr = alo_attr_of(0, count, group, 0, 0);
    if (alo_poisoned(m, x, x)) return 0;
    attr.table = table;
    return alo_record(m, ALO_K_gather, attr, x, 0, 0, 0, count, alore_cols(m, x) * group);
}

/* Row i of the result: rows table[i group] .. of x side by side; -1: zeros. */
ALORE_API alore_id alore_gather(alore_model *m, alore_id x, const int32_t *rows, int count, int group) {
    if (alo_poisoned(m, x, x)) return 0;
    const int limit = alore_rows(m, x), cols = alore_cols(m, x);
    if (count < 1 || group < 1 || group > (1 << 24) / cols)
        return alo_wrong(m, ALORE_ERR_SHAPE, "a gather of %d rows of %d by %d columns", count, group, cols);
    const size_t entries = alo_mul(alo_zu(count), alo_zu(group));
    for (size_t i = 0; i < entries; ++i)
        if (rows[i] < -1 || rows[i] >= limit)
            return alo_wrong(m, ALORE_ERR_SHAPE, "a gather of row %d; there are %d", (int)rows[i], limit);
    const void *table = alo_table(m, rows, entries, sizeof *rows);
    return alo_gather(m, x, (const int32_t *)table, count, group);
}

/* Column j of the result is column columns[j] of x. */
ALORE_API alore_id alore_pick(alore_model *m, alore_id x, const int32_t *columns, int count) {
    if (alo_poisoned(m, x, x)) return 0;
    const int limit = alore_cols(m, x), rows = count > 0 ? alore_rows(m, x) : 0;
    alo_attr attr = alo_attr_of(0, count, 0, 0, 0);
    for (int i = 0; i < count; ++i)
        if (columns[i] < 0 || columns[i] >= limit)
            return alo_wrong(m, ALORE_ERR_SHAPE, "a pick of column %d; there are %d", (int)columns[i], limit);
    if (rows) attr.table = (const int32_t *)alo_table(m, columns, alo_zu(count), sizeof *columns);
    return alo_record(m, ALO_K_pick, attr, x, 0, 0, 0, rows, count);
}

/* (1 + X)^-1 of skew matrices X that lie side by side, [n, n count], and serve every sample. */
ALORE_API alore_id alore_inverse(alore_model *m, alore_id x) {
    if (alo_poisoned(m, x, x)) return 0;
    const bool fits = !alo_per_sample(m, x) && alore_cols(m, x) % alore_rows(m, x) == 0;
    return alo_record(m, ALO_K_inverse, alo_no_attr, x, 0, 0, 0, fits ? alore_rows(m, x) : 0,
                      alore_cols(m, x));
}

/* x [n, 1] over the lengths of the n rows, which the backward takes for constants. */
ALORE_API alore_id alore_over_lengths(alore_model *m, alore_id x, alore_id rows) {
    if (alo_poisoned(m, x, rows)) return 0;
    const int n = alore_rows(m, x) == alore_rows(m, rows) && alore_cols(m, x) == 1 ? alore_rows(m, x) : 0;
    return alo_record(m, ALO_K_over_lengths, alo_no_attr, x, rows, 0, 0, n, 1);
}

/* x, or zeros, [rows, cols], value k added at index k: [n, 2] (row, column), or [1, n], columns of row 0. */
ALORE_API alore_id alore_scatter(alore_model *m, alore_id x, alore_id value, alore_id index, int rows,
                                 int cols) {
    if (alo_poisoned(m, value, index) || alo_poisoned(m, x ? x : value, value)) return 0;
    if (rows == 1) index = alore_reshape(m, index, alore_cols(m, value), 1); /* moves the tensors */
    const alo_tensor *t = alo_at(m, x), *v = alo_at(m, value);
    const bool fits = !x || (t->rows == rows && t->cols == cols && !(t->flags & ALO_PER_SAMPLE));
    const bool same = v->rows == 1 && alore_rows(m, index) == v->cols && alore_cols(m, index) <= 2;
    return alo_record(m, ALO_K_scatter, alo_no_attr, x, value, index, 0, fits && same ? rows : 0, cols);
}

/* x times the transpose of a matrix [cols, in] that holds value k at index k [n, 2] = (row, column). */
ALORE_API alore_id alore_sparse(alore_model *m, alore_id x, alore_id value, alore_id index, int cols) {
    if (alo_poisoned(m, value, index) || alo_poisoned(m, x, x)) return 0;
    const alo_tensor *v = alo_at(m, value), *at = alo_at(m, index);
    const bool fits = v->rows == 1 && at->rows == v->cols && at->cols == 2 && alo_per_sample(m, x);
    return alo_record(m, ALO_K_sparse, alo_no_attr, x, value, index, 0, fits ? alore_rows(m, x) : 0, cols);
}

/* The rows of `top`, then those of `bottom`. */
ALORE_API alore_id alore_concat(alore_model *m, alore_id top, alore_id bottom) {
    if (alo_poisoned(m, top, bottom)) return 0;
    const int cols = alore_cols(m, top), fits = cols == alore_cols(m, bottom);
    const int rows = fits ? alore_rows(m, top) + alore_rows(m, bottom) : 0;
    return alo_record(m, ALO_K_concat, alo_no_attr, top, bottom, 0, 0, rows, cols);
}

/* The mean of rows first .. first+count-1. */
ALORE_API alore_id alore_mean_rows(alore_model *m, alore_id x, int first, int count) {
    if (alo_poisoned(m, x, x)) return 0;
    const bool fits = first >= 0 && count > 0 && first <= alore_rows(m, x) - count;
    const alo_attr attr = alo_attr_of(0, first, count, 0, 0);
    return alo_record(m, ALO_K_mean_rows, attr, x, 0, 0, 0, fits ? 1 : 0, alore_cols(m, x));
}

/* In training each number, or (drop_path) each sample as a whole, is zero with probability p, else scaled by
 * 1 / (1 - p). Masks are named by site and order, so they do not depend on anything else. */
static alore_id alo_masked(alore_model *m, int code, alore_id x, float p) {
    alo_attr attr = alo_attr_of(p, 0, 0, 0, 0);
    if (alo_poisoned(m, x, x)) return 0;
    if (!(p >= 0 && p <= 1)) return alo_wrong(m, ALORE_ERR_ARGUMENT, "a probability of %g", (double)p);
    if (p == 0) return x;
    attr.stream = alo_hash(alo_where(m), strlen(alo_where(m)), alo_hash(&m->dropouts, sizeof(int32_t), 0));
    ++m->dropouts;
    return alo_record_like(m, code, attr, x);
}

ALORE_API alore_id alore_dropout(alore_model *m, alore_id x, float p) {
    return alo_masked(m, ALO_K_dropout, x, p);
}

ALORE_API alore_id alore_drop_path(alore_model *m, alore_id x, float p) {
    return alo_masked(m, ALO_K_drop_path, x, p);
}

/* softmax(q k' / sqrt(d / heads) + bias + mask) v, by heads and windows. q [rows, d], k and v [keys, d]. */
ALORE_API alore_id alore_attention(alore_model *m, alore_id q, alore_id k, alore_id v,
                                   const alore_attention_opts *opts) {
    const int heads = opts->heads, window = opts->window;
    if (alo_poisoned(m, q, k) || alo_poisoned(m, v, opts->bias ? opts->bias : v)) return 0;
    const alo_tensor *tq = alo_at(m, q), *tk = alo_at(m, k), *tv = alo_at(m, v), *b = alo_at(m, opts->bias);
    const int rows = tq->rows, cols = tq->cols, keys = tk->rows, side = window ? window : rows;
    const bool fits = heads > 0 && cols % heads == 0 && tk->cols == cols && tv->cols == cols &&
                      tv->rows == keys && window >= 0 && (!window || (rows % window == 0 && keys == rows)) &&
                      (!opts->bias || (b->rows == alo_by(heads, side) && b->cols == (window ? side : keys)));
    const size_t entries = fits && opts->mask ? alo_mul(alo_zu(rows), alo_zu(window)) : 0;
    alo_attr attr = alo_attr_of(0, heads, window, 0, 0);
    if (entries) attr.values = (const float *)alo_table(m, opts->mask, entries, sizeof *opts->mask);
    q = alo_record(m, ALO_K_attention, attr, q, k, v, opts->bias, fits ? rows : 0, cols);
    return alo_second(m, q, rows, heads);
}

/* ---- Hosts: words that declare sites ---- */
/* Where a rule acts at the open site. What an input rule makes for parts alone has a product of its own,
 * beside the host's; so has what is added to the matrix last, where the method has a form for it. */
static alore_place alo_acts(const alore_model *m, const alo_rule *rule) {
    const alore_place place = rule->recipe.place;
    if (place == ALORE_PLACE_INPUT && *rule->parts) return ALORE_PLACE_PARALLEL;
    if (place != ALORE_PLACE_WEIGHT || !(rule->method->places >> ALORE_PLACE_PARALLEL & 1)) return place;
    for (const alo_rule *r = rule + 1; r < m->rules + m->rule_count; ++r)
        if (r->recipe.place == ALORE_PLACE_WEIGHT && alo_takes(m, r, &m->sites[m->site])) return place;
    return ALORE_PLACE_PARALLEL;
}

/* Take over what a method made of the host's columns first .. first+out-1, seen as `part`, at its place. */
static void alo_join(alore_model *m, alore_flow *flow, const alore_flow *part, alore_place place, alore_id id,
                     int first, int out) {
    const int rest = alore_rows(m, flow->weight) - first - out;
    switch (place) {
    case ALORE_PLACE_INPUT: /* y += (x' - x) W' of the part */
        id = alore_add(m, id, alore_scale(m, flow->x, -1.0f));
        id = alore_matmul_t(m, id, false, alo_rows_of(m, flow->weight, first, out), true);
        break;
    case ALORE_PLACE_OUTPUT: id = alore_add(m, id, alore_scale(m, part->y, -1.0f)); break;
    case ALORE_PLACE_WEIGHT:
        if (first) id = alore_concat(m, alo_rows_of(m, flow->weight, 0, first), id);
        if (rest) id = alore_concat(m, id, alo_rows_of(m, flow->weight, first + out, rest));
        flow->weight = id;
        if (part->bias == flow->bias) return;
        id = alore_add(m, part->bias, alore_scale(m, alore_columns(m, flow->bias, first, out), -1.0f));
        flow->bias = alore_add_columns(m, flow->bias, id, first);
        return;
    default: break;
    }
    flow->y = alore_add_columns(m, flow->y, id, first);
}

/* Let the rules of one place act, each on what the one before made. Parallel ones add to y. */
static void alo_place(alore_model *m, alore_place place, alore_flow *flow) {
    alore_id *const to[] = {NULL, &flow->x, &flow->y, &flow->y, &flow->weight, &flow->y}; /* by place */
    for (int r = 0; r < m->rule_count && !m->error.status; ++r) {
        const alo_rule *rule = &m->rules[r];
        const char *parts = rule->parts;
        alore_site site = m->sites[m->site].s;
        alore_recipe recipe = rule->recipe;
        char name[ALO_NAME_BYTES]; /* a copy, since the string table moves */
        if (!alo_takes(m, rule, &m->sites[m->site]) || alo_acts(m, rule) != place) continue;
        if (!alo_compose(m, name, "%s", alo_where(m))) return;
        site.name = name;
        site.out /= *parts ? 3 : 1;
        recipe.parts = parts;
        if (recipe.place == ALORE_PLACE_WEIGHT) recipe.place = place;
        do {
            const int first = (*parts == 'v' ? 2 : *parts == 'k') * site.out;
            alore_flow part = *flow;
            if (*parts && place == ALORE_PLACE_OUTPUT) part.y = alore_columns(m, flow->y, first, site.out);
            if (*parts && place == ALORE_PLACE_WEIGHT) {
                part.weight = alo_rows_of(m, flow->weight, first, site.out);
                if (flow->bias) part.bias = alore_columns(m, flow->bias, first, site.out);
            }
            const alore_flow seen = part;
            m->rule = r;
            m->part = *parts;
            const alore_id id = rule->method->emit(m, &site, &recipe, &part);
            m->rule = -1;
            m->part = 0;
            if (!id) alo_wrong(m, ALORE_ERR_ARGUMENT, "%s returned no tensor", rule->method->name);
            if (*parts) {
                if (part.bias == seen.bias) part.bias = flow->bias;
                alo_join(m, flow, &part, recipe.place, id, first, site.out);
            } else {
                *to[place] = place == ALORE_PLACE_PARALLEL ? alore_add(m, flow->y, id) : id;
                flow->bias = part.bias;
            }
        } while (!m->error.status && *parts && *++parts);
    }
}

/* Let the rules beside and behind the host act, and close its site. */
static alore_id alo_site_close(alore_model *m, alore_flow *flow) {
    alo_place(m, ALORE_PLACE_PARALLEL, flow);
    alo_place(m, ALORE_PLACE_OUTPUT, flow);
    m->site = -1;
    return flow->y;
}

/* y = x W' + b. Site `name` has `name`.weight [out, in / groups] and, unless no_bias, `name`.bias [out]. */
ALORE_API alore_id alore_linear(alore_model *m, const char *name, alore_id x, int out,
                                const alore_linear_opts *opts) {
    const alore_linear_opts none = ALORE_ZERO, o = opts ? *opts : none;
    const int *k = o.kernel, in = alore_cols(m, x), groups = o.groups > 1 ? o.groups : 1;
    alore_flow flow = {x, 0, 0, 0, 0, 0, 0};
    if (alo_poisoned(m, x, x)) return 0;
    if (out < 1 || in % groups || out % groups)
        return alo_wrong(m, ALORE_ERR_SHAPE, "%s: %d to %d columns in %d groups", name, in, out, groups);
    if (!alo_site_open(m, name, o.kind, ALORE_HOST_LINEAR, x, out)) return 0;
    const alore_shape shape = k ? alore_dims(out, k[0], k[1], k[2]) : alore_dims(out, in / groups, 0, 0);
    if (alo_count(shape) != alo_mul(alo_zu(out), alo_zu(in / groups)))
        return alo_wrong(m, ALORE_ERR_SHAPE, "%s: a kernel of %d x %d x %d for %d columns", name, k[0], k[1],
                         k[2], in / groups);
    m->sites[m->site].groups = groups;
    m->sites[m->site].no_bias = o.no_bias;
    m->sites[m->site].weight = shape;
    flow.weight = alo_matrix(m, alore_base(m, "weight", shape), out);
    flow.bias = o.no_bias ? 0 : alore_base(m, "bias", alore_dims(out, 0, 0, 0));
    alo_place(m, ALORE_PLACE_INPUT, &flow);
    alo_place(m, ALORE_PLACE_WEIGHT, &flow);
    flow.y = alo_product(m, flow.x, false, flow.weight, true, m->strip ? 0 : flow.bias, groups);
    return alo_site_close(m, &flow);
}

/* Layer norm over the columns, then gain and shift: weight and bias [cols]; for merge, these alone. */
ALORE_API alore_id alore_norm(alore_model *m, const char *name, alore_kind kind, alore_id x, float eps) {
    const int rows = alore_rows(m, x), cols = alore_cols(m, x);
    alore_flow flow = {x, 0, 0, 0, 0, 0, 0};
    if (alo_poisoned(m, x, x)) return 0;
    if (!(eps >= 0 && eps < 1)) return alo_wrong(m, ALORE_ERR_ARGUMENT, "%s: eps of %g", name, (double)eps);
    if (!alo_site_open(m, name, kind, ALORE_HOST_NORM, x, cols)) return 0;
    const alore_shape shape = m->sites[m->site].weight = alore_dims(cols, 0, 0, 0);
    const alore_id gain = alore_base(m, "weight", shape), shift = alore_base(m, "bias", shape);
    const alo_attr attr = alo_attr_of(eps, 0, 0, 0, 0);
    if (m->probe)
        flow.y = alore_affine(m, x, gain, shift);
    else
        flow.y = alo_second(m, alo_record(m, ALO_K_norm, attr, x, gain, shift, 0, rows, cols), rows, 2);
    return alo_site_close(m, &flow);
}

/* k x k depthwise convolution with zero padding: `name`.weight [cols, 1, k, k]. */
ALORE_API alore_id alore_conv_depthwise(alore_model *m, const char *name, alore_id x, int height, int width,
                                        int kernel) {
    const int rows = alore_rows(m, x), cols = alore_cols(m, x);
    const bool fits = kernel > 0 && kernel % 2 && height > 0 && width > 0 && (int64_t)height * width == rows;
    alore_flow flow = {x, 0, 0, 0, 0, 0, 0};
    if (alo_poisoned(m, x, x)) return 0;
    if (!alo_site_open(m, name, ALORE_KIND_DWCONV, ALORE_HOST_DWCONV, x, cols)) return 0;
    const alore_shape shape = m->sites[m->site].weight = alore_dims(cols, 1, kernel, kernel);
    const alore_id weight = alo_matrix(m, alore_base(m, "weight", shape), cols);
    const alore_id bias = alore_base(m, "bias", alore_dims(cols, 0, 0, 0));
    const alo_attr attr = alo_attr_of(0, height, width, kernel, 0);
    flow.y = alo_record(m, ALO_K_dwconv, attr, x, weight, bias, 0, fits ? rows : 0, cols);
    return alo_site_close(m, &flow);
}

/* A branch, a block or its tokens as a site: x enters, n is the norm's output (0: none), y leaves. */
ALORE_API alore_id alore_branch(alore_model *m, const char *name, alore_kind kind, alore_id x, alore_id n,
                                alore_id y) {
    alore_flow flow = {x, y, n, 0, 0, 0, 0};
    alore_host host = kind == ALORE_KIND_BLOCK ? ALORE_HOST_BLOCK : ALORE_HOST_BRANCH;
    if (kind == ALORE_KIND_TOKENS) host = ALORE_HOST_TOKENS;
    if (alo_poisoned(m, x, y) || !alo_site_open(m, name, kind, host, x, alore_cols(m, y))) return 0;
    return alo_site_close(m, &flow);
}

/* ---- Losses, outputs, the end ---- */
/* Cross entropy with smoothing s: (1-s) nll + s/C sum_c -log p_c. Labels are I32 [rows, 1], 0 .. C-1. */
ALORE_API alore_id alore_loss_xent(alore_model *m, alore_id logits, alore_id labels, float smoothing) {
    const int rows = alore_rows(m, logits);
    const alo_attr attr = alo_attr_of(smoothing, 0, 0, 0, 0);
    if (alo_poisoned(m, logits, labels)) return 0;
    if (alo_at(m, labels)->dtype != ALORE_I32 || alore_cols(m, labels) != 1 || alore_rows(m, labels) != rows)
        return alo_wrong(m, ALORE_ERR_SHAPE, "labels are %s %d x %d, not I32 %d x 1",
                         alore_dtype_name((alore_dtype)alo_at(m, labels)->dtype), alore_rows(m, labels),
                         alore_cols(m, labels), rows);
    if (!(smoothing >= 0 && smoothing <= 1))
        return alo_wrong(m, ALORE_ERR_ARGUMENT, "a smoothing of %g", (double)smoothing);
    return alo_record(m, ALO_K_xent, attr, logits, labels, 0, 0, 1, 1);
}

/* The mean of (y - target)^2, a number a sample. */
ALORE_API alore_id alore_loss_mse(alore_model *m, alore_id y, alore_id target) {
    const bool fits = alore_rows(m, y) == alore_rows(m, target) && alore_cols(m, y) == alore_cols(m, target);
    if (alo_poisoned(m, y, target)) return 0;
    const alore_id loss = alo_record(m, ALO_K_mse, alo_no_attr, y, target, 0, 0, fits ? 1 : 0, 1);
    if (loss) m->tensors[loss].flags |= ALO_PER_SAMPLE;
    return loss;
}

/* Keep x for the caller under a name. A plan for training differentiates "loss". */
ALORE_API void alore_output(alore_model *m, const char *name, alore_id x) {
    if (alo_poisoned(m, x, x)) return;
    if (!alo_per_sample(m, x)) alo_wrong(m, ALORE_ERR_SHAPE, "output %s does not depend on a sample", name);
    if (alo_at(m, x)->segment || alo_at(m, x)->flags & (ALO_OUTPUT | ALO_VIEW)) x = alo_whole(m, x);
    alo_name_io(m, x, name, ALO_OUTPUT);
}

/* How many insertions, removals and changes make b of a; long names count by their heads. */
static int alo_distance(const char *a, const char *b) {
    int row[65] = {0}, n = 0;
    for (; n < 64 && b[n]; ++n) row[n + 1] = n + 1;
    for (int i = 0; i < 64 && a[i]; ++i) {
        int corner = row[0]++;
        for (int j = 0; j < n; ++j) {
            const int least = row[j] < row[j + 1] ? row[j] : row[j + 1], change = corner + (a[i] != b[j]);
            corner = row[j + 1];
            row[j + 1] = change <= least ? change : least + 1;
        }
    }
    return row[n];
}

/* Append the three names nearest to `text`, of tensors, or of the sites that globs see: no branches. */
static void alo_put_nearest(const alore_model *m, alo_text *t, const char *text, bool tensors) {
    const int count = tensors ? m->param_count : m->site_count;
    for (int k = 0, last = -1, best = 0; k < 3 && k < count; ++k, last = best) {
        const char *nearest = "";
        best = INT32_MAX;
        for (int i = 0; i < count; ++i) {
            const char *name = alo_name(m, tensors ? m->params[i].name : m->sites[i].name);
            const int d = alo_distance(text, name) * 4096 + (i & 4095);
            if (d <= last || d >= best || (!tensors && m->sites[i].s.host >= ALORE_HOST_BRANCH)) continue;
            best = d;
            nearest = name;
        }
        if (*nearest) alo_print(t, k ? ", %s" : "; the nearest names are %s", nearest);
    }
}

ALORE_API ALO_COLD alore_status alore_model_finish(alore_model *m) {
    bool out = false;
    if (m->depth) alo_wrong(m, ALORE_ERR_ORDER, "%d scopes are still open", m->depth);
    for (int r = 0, i = 0; r < m->rule_count && !m->probe; ++r)
        for (; i < m->rules[r].first + m->rules[r].count; ++i) {
            const alo_item *item = &m->items[i];
            const char *text = alo_name(m, item->text);
            char hint[200] = "";
            alo_text t = {hint, sizeof hint, 0};
            if (item->hits || m->error.status) continue;
            if (!item->kind) alo_put_nearest(m, &t, text, !m->rules[r].method);
            const char *rule = alo_name(m, m->rules[r].text);
            alo_wrong(m, ALORE_ERR_NO_MATCH, "%s: %s matches nothing%s", rule, text, hint);
        }
    for (int i = 1; i < m->tensor_count; ++i) out = out || m->tensors[i].flags & ALO_OUTPUT;
    if (!out) alo_wrong(m, ALORE_ERR_ORDER, "the model has no output");
    for (int i = 0; i < m->site_count; ++i) m->sites[i].s.name = alo_name(m, m->sites[i].name);
    m->finished = !m->error.status;
    if (!m->finished) alo_ctx(m)->error = m->error;
    return m->error.status;
}

ALORE_API int alore_site_count(const alore_model *m) { return m->finished ? m->site_count : 0; }
ALORE_API const alore_site *alore_site_at(const alore_model *m, int index) {
    return index >= 0 && index < alore_site_count(m) ? &m->sites[index].s : NULL;
}

/* ============================================================================
 * >> 17 methods
 * A method is a row: its name, its place, its keys, and `emit`, which says it in words. Matrices of adapters
 * are [in, out], x multiplies from the left. */

/* Index of the key of this name, or -1; of none, NULL, how many keys there are. */
static int alo_key_index(const alore_method *row, const char *name) {
    for (int i = 0;; ++i) {
        if (i == ALORE_MAX_KEYS || !row->keys[i].name) return name ? -1 : i;
        if (name && !strcmp(row->keys[i].name, name)) return i;
    }
}

/* Word `index` of "a|b|c", nothing past the last one. */
static void alo_put_word(alo_text *t, const char *words, int index) {
    while (words && index-- > 0) words = strchr(words, '|') ? strchr(words, '|') + 1 : NULL;
    alo_put(t, words ? words : "", words ? strcspn(words, "|") : 0);
}

ALORE_API ALO_COLD double alore_recipe_number(const alore_recipe *r, const char *key) {
    const int i = alo_key_index(r->method, key);
    return i < 0 ? 0 : r->values[i];
}

/* The word that a setting stands for, "" for a key that is none. */
ALORE_API const char *alore_recipe_word(const alore_recipe *r, const char *key, char out[32]) {
    const int i = alo_key_index(r->method, key);
    alo_text t = {out, 32, 0};
    alo_put_word(&t, i < 0 ? NULL : r->method->keys[i].words, (int)alore_recipe_number(r, key));
    return out;
}

/* The recipe's rank fits the width; else a mistake. */
static bool alo_rank_fits(alore_model *m, const alore_recipe *r, int width) {
    return r->rank <= width || alo_wrong(m, ALORE_ERR_RULE, "%s: rank %d is larger than the width %d",
                                         r->method->name, r->rank, width);
}

/* `by` divides `width`; else a mistake that says what they are. */
static bool alo_divides(alore_model *m, const alore_recipe *r, const char *what, int by, const char *of,
                        int width) {
    return (by > 0 && width % by == 0) || alo_wrong(m, ALORE_ERR_RULE, "%s: %s %d does not divide the %s %d",
                                                    r->method->name, what, by, of, width);
}

/* The uniform starts of Glorot and Bengio (2010), and of He et al. (2015) with a = sqrt 5. */
static alore_start alo_xavier(int in, int out) {
    return alore_uniform(alo_sqrt(6.0f / ((float)in + (float)out)));
}
static alore_start alo_kaiming(int in) { return alore_uniform(1.0f / alo_sqrt((float)in)); }

/* What an adapter before or behind the host reads, and its width. */
static alore_id alo_stream(const alore_recipe *r, const alore_flow *flow) {
    return r->place == ALORE_PLACE_OUTPUT ? flow->y : flow->x;
}
static int alo_width(const alore_site *site, const alore_recipe *r) {
    return r->place == ALORE_PLACE_OUTPUT ? site->out : site->in;
}

/* A matrix or a vector of the site's own. */
static alore_id alo_mine(alore_model *m, const char *name, int rows, int cols, alore_start start) {
    return alore_param(m, name, alore_dims(rows, cols, 0, 0), ALORE_OWN, start);
}

/* Matrices one below the other, side by side: [n p, q] to [p, n q]. */
static alore_id alo_beside(alore_model *m, alore_id x, int n) {
    const int p = alore_rows(m, x) / n;
    int32_t *table = alo_ints(m, alo_zu(p) * alo_zu(n));
    for (int i = 0; table && i < p * n; ++i) table[i] = i % n * p + i / n;
    return alo_gather(m, x, table, p, n);
}

/* scale (drop(x) A) B; with `singular` scale (drop(x) A * E) B. */
static alore_id alo_low_rank(alore_model *m, const alore_site *site, const alore_recipe *r, alore_id x,
                             alore_start first, alore_start last, bool singular) {
    if (!alo_rank_fits(m, r, site->in)) return 0;
    const alore_id a = alo_mine(m, "A", site->in, r->rank, first);
    const alore_id e = singular ? alo_mine(m, "E", r->rank, 0, alore_fill(0.0f)) : 0;
    const alore_id b = alo_mine(m, "B", r->rank, site->out, last);
    const alore_id h = alore_affine(m, alore_matmul(m, alore_dropout(m, x, r->dropout), a), e, 0);
    return alore_scale(m, alore_matmul(m, h, b), r->scale);
}

/* LoRA: y = host(x) + scale (drop(x) A) B.   (Hu et al. 2021, eq. 3)
 * Much published code starts both factors at random after all. */
static alore_id alo_lora(alore_model *m, const alore_site *site, const alore_recipe *r, alore_flow *flow) {
    const alore_start small = alore_normal(0.0f, 0.02f);
    if (alore_recipe_number(r, "init") > 0) return alo_low_rank(m, site, r, flow->x, small, small, false);
    return alo_low_rank(m, site, r, flow->x, alo_kaiming(site->in), alore_fill(0.0f), false);
}

/* AdaLoRA: y = host(x) + scale (drop(x) A * E) B.   (Zhang et al. 2023, eq. 3) */
static alore_id alo_adalora(alore_model *m, const alore_site *site, const alore_recipe *r, alore_flow *flow) {
    const alore_start small = alore_normal(0.0f, 0.02f);
    return alo_low_rank(m, site, r, flow->x, small, small, true);
}

/* ALoRE: y = host(x + drop(x sum_i S_i (x) (D_i U_i))), or on the host's output.   (Du et al. 2024, eq. 6-8)
 * S is one for the network unless `shared` says otherwise; U = 0 makes the start the identity.
 * kron: the same with W_i for D_i U_i. */
static alore_id alo_alore(alore_model *m, const alore_site *site, const alore_recipe *r, alore_flow *flow) {
    static const alore_share shares[] = {ALORE_ALL, ALORE_KIND, ALORE_OWN}; /* all|kind|site */
    const int width = alo_width(site, r), n = r->experts, part = width / n;
    const alore_share share = shares[(int)alore_recipe_number(r, "shared")];
    const alore_start mixed = n == 1 ? alore_fill(1.0f) : alo_xavier(n, n), zero = alore_fill(0.0f);
    const alore_id x = alo_stream(r, flow);
    if (!alo_divides(m, r, "experts", n, "width", width) || !alo_rank_fits(m, r, width)) return 0;
    const alore_id s = alore_param(m, "S", alore_dims(n, n, n, 0), share, mixed);
    alore_id d, u = 0;
    if (r->rank) {
        d = alore_param(m, "D", alore_dims(n, part, r->rank, 0), ALORE_OWN, alo_xavier(part, r->rank));
        u = alore_param(m, "U", alore_dims(n, r->rank, part, 0), ALORE_OWN, zero);
    } else
        d = alore_param(m, "W", alore_dims(n, part, part, 0), ALORE_OWN, zero);
    return alore_add(m, x, alore_dropout(m, alore_kron(m, x, s, d, u, n), r->dropout));
}

/* ARC: y = host(x + drop(x D * scale) D' + bias), D one for all sites of a kind.   (Dong et al. 2023, eq. 6)
 * As published the scale starts at zero before attention and at random before the mlp. */
static alore_id alo_arc(alore_model *m, const alore_site *site, const alore_recipe *r, alore_flow *flow) {
    const int width = alo_width(site, r);
    const bool published = alore_recipe_number(r, "init") > 0 && site->kind != ALORE_KIND_QKV;
    const alore_start zero = alore_fill(0.0f);
    const alore_id x = alo_stream(r, flow);
    if (!alo_rank_fits(m, r, width)) return 0;
    const alore_id d =
        alore_param(m, "D", alore_dims(width, r->rank, 0, 0), ALORE_KIND, alo_xavier(width, r->rank));
    const alore_id scale = alo_mine(m, "scale", r->rank, 0, published ? alo_xavier(r->rank, 1) : zero);
    const alore_id bias = alo_mine(m, "bias", width, 0, zero);
    const alore_id h = alore_dropout(m, alore_affine(m, alore_matmul(m, x, d), scale, 0), r->dropout);
    return alore_add(m, x, alore_affine(m, alore_matmul_t(m, h, false, d, true), 0, bias));
}

/* RepAdapter: y = host(x + scale (concat_k (h_k B_k) + B_bias)), h = drop(x A + A_bias).
 * (Luo et al. 2023, eq. 4 and 5) */
static alore_id alo_repadapter(alore_model *m, const alore_site *site, const alore_recipe *r,
                               alore_flow *flow) {
    const int width = alo_width(site, r), n = r->groups;
    const alore_start zero = alore_fill(0.0f);
    const alore_id x = alo_stream(r, flow);
    if (!alo_rank_fits(m, r, width) || !alo_divides(m, r, "groups", n, "rank", r->rank) ||
        !alo_divides(m, r, "groups", n, "width", width))
        return 0;
    const alore_id a = alo_mine(m, "A", width, r->rank, alo_xavier(width, r->rank));
    const alore_id a_bias = alo_mine(m, "A_bias", r->rank, 0, zero);
    const alore_id b = alore_param(m, "B", alore_dims(n, r->rank / n, width / n, 0), ALORE_OWN, zero);
    const alore_id b_bias = alo_mine(m, "B_bias", width, 0, zero);
    const alore_id h = alore_dropout(m, alore_affine(m, alore_matmul(m, x, a), 0, a_bias), r->dropout);
    const alore_id y = alore_affine(m, alore_matmul_groups(m, h, alo_beside(m, b, n), n), 0, b_bias);
    return alore_add(m, x, alore_scale(m, y, r->scale));
}

/* MLAE: y = host(x) + ((x A) * lambda * mask) B.   (Jing et al. 2024, eq. 5 to 7)
 * In training an expert drops with probability p, one draw a step for all samples. The paper's patterns, for
 * 12 blocks and 8 experts a block: a fixed mask is an allocation of the experts to the blocks, a stochastic
 * one p for each block. Its "random" has blocks in pairs that share 16 experts. */
static alore_id alo_mlae(alore_model *m, const alore_site *site, const alore_recipe *r, alore_flow *flow) {
    static const signed char kept[4][12] = {{2, 2, 2, 6, 6, 6, 10, 10, 10, 14, 14, 14},
                                            {14, 14, 14, 10, 10, 10, 6, 6, 6, 2, 2, 2},
                                            {14, 14, 14, 2, 2, 2, 2, 2, 2, 14, 14, 14},
                                            {2, 2, 2, 14, 14, 14, 14, 14, 14, 2, 2, 2}};
    static const signed char tenths[4][12] = {{8, 8, 7, 7, 6, 6, 5, 4, 3, 2, 1, 0},
                                              {0, 1, 2, 3, 4, 5, 6, 6, 7, 7, 8, 8},
                                              {0, 1, 3, 5, 6, 8, 8, 6, 5, 3, 1, 0},
                                              {8, 6, 5, 3, 1, 0, 0, 1, 3, 5, 6, 8}};
    const int mask = (int)alore_recipe_number(r, "mask"); /* none|given|4 fixed|random|4 stochastic */
    const int at = site->blocks > 0 && site->block >= 0 ? site->block * 12 / site->blocks : 0;
    const alore_start one = alore_fill((float)alore_recipe_number(r, "lambda"));
    int n = r->experts, of8 = 8;
    float p = r->dropout;
    if (mask > 1 && site->block < 0)
        return alo_wrong(m, ALORE_ERR_RULE, "mlae: the mask's pattern is one of blocks");
    if (mask >= 2 && mask < 6) of8 = kept[mask - 2][at];
    if (mask == 6 && (site->block ^ 1) < site->blocks) {
        of8 = 2 + (int)(alore_random_u32(0, 14, (uint64_t)site->block / 2) % 13);
        if (site->block & 1) of8 = 16 - of8;
    }
    if (mask > 6) p = (float)tenths[mask - 7][at] / 10.0f;
    n = (n * of8 + 4) / 8 > 0 ? (n * of8 + 4) / 8 : 1;
    const alore_id a = alo_mine(m, "A", site->in, n, alo_kaiming(site->in));
    const alore_id b = alo_mine(m, "B", n, site->out, alore_fill(0.0f));
    alore_id lambda = alo_mine(m, "lambda", n, 0, one);
    if (mask == 1)
        lambda = alore_mul(m, lambda,
                           alore_frozen(m, "mask", alore_dims(n, 0, 0, 0), ALORE_OWN, alore_fill(1.0f)));
    else
        lambda = alore_dropout(m, lambda, p);
    return alore_matmul(m, alore_affine(m, alore_matmul(m, flow->x, a), lambda, 0), b);
}

/* SSF: y = host(x) gain + shift, or host(x gain + shift).   (Lian et al. 2022, eq. 3) */
static alore_id alo_ssf(alore_model *m, const alore_site *site, const alore_recipe *r, alore_flow *flow) {
    const int width = alo_width(site, r);
    const alore_id gain = alo_mine(m, "gain", width, 0, alore_normal(1.0f, 0.02f));
    const alore_id shift = alo_mine(m, "shift", width, 0, alore_normal(0.0f, 0.02f));
    return alore_affine(m, alo_stream(r, flow), gain, shift);
}

/* (IA)^3: y = host(x) gain, or host(x gain).   (Liu et al. 2022, section 3.3) */
static alore_id alo_ia3(alore_model *m, const alore_site *site, const alore_recipe *r, alore_flow *flow) {
    const alore_id gain = alo_mine(m, "gain", alo_width(site, r), 0, alore_fill(1.0f));
    return alore_affine(m, alo_stream(r, flow), gain, 0);
}

/* FacT: every slot of d x d numbers, of which a wide layer has several, changes by scale U C_slot V; U and V
 * are the network's.   (Jie and Deng 2023, eq. 5 and 6)
 * TT: C_slot is a tensor of its own. TK: C_slot = sum_k C[:,:,k] P[k,slot]; in fc1 and fc2 the published code
 * interleaves the slots, and transposes those of fc2. */
static alore_id alo_fact(alore_model *m, const alore_site *site, const alore_recipe *r, alore_flow *flow) {
    const bool tucker = alo_key_index(r->method, "layout") >= 0, high = site->in > site->out;
    const int d = high ? site->out : site->in, n = (high ? site->in : site->out) / d, q = r->rank;
    const alore_kind kind = site->kind;
    alore_id core, h = flow->x;
    bool turned = false;
    if (n * d != (high ? site->in : site->out))
        return alo_wrong(m, ALORE_ERR_RULE, "%s: %d and %d columns are no whole slots", r->method->name,
                         site->in, site->out);
    if (!alo_rank_fits(m, r, d)) return 0;
    const alore_id u = alore_param(m, "U", alore_dims(d, q, 0, 0), ALORE_ALL, alo_kaiming(d));
    const alore_id v = alore_param(m, "V", alore_dims(q, d, 0, 0), ALORE_ALL, alore_fill(0.0f));
    if (!tucker) {
        core = alore_param(m, "C", alore_dims(n, q, q, 0), ALORE_OWN, alo_kaiming(high ? n * q : q));
        if (!high) core = alo_beside(m, core, n);
    } else {
        const int wide = site->hidden / d, each = 4 + 2 * wide, slots = alo_by(each, site->blocks);
        const int at = kind == ALORE_KIND_QKV ? 0 : kind == ALORE_KIND_PROJ ? 3 : high ? 4 + wide : 4;
        const bool plain = kind == ALORE_KIND_QKV || alore_recipe_number(r, "layout") > 0;
        if ((kind != ALORE_KIND_QKV && kind != ALORE_KIND_PROJ && kind != ALORE_KIND_FC1 &&
             kind != ALORE_KIND_FC2) ||
            site->block < 0 || site->block >= site->blocks || !wide || (at > 3 && n != wide))
            return alo_wrong(m, ALORE_ERR_RULE, "fact_tk has slots for qkv, proj, fc1 and fc2 alone");
        const alore_start third = alore_uniform(alo_sqrt(3.0f) / (float)q);
        const alore_id c = alore_param(m, "C", alore_dims(q, q, q, 0), ALORE_ALL, third);
        alore_id p = alore_param(m, "P", alore_dims(q, slots, 0, 0), ALORE_ALL, alo_xavier(q, slots));
        p = p ? alore_columns(m, p, at + site->block * each, n) : 0; /* of q k v proj fc1 fc2 */
        if (plain) { /* [n, q q]: slot by slot */
            core = alore_reshape(m, alore_matmul_t(m, p, true, c, true), n * q, q);
            if (!high) core = alo_beside(m, core, n);
        } else
            core = alore_reshape(m, alore_matmul(m, c, p), q, n * q);
        turned = high && !plain;
    }
    const int rows = alore_rows(m, h);
    if (high) { /* sum over the slots of the input */
        h = alore_reshape(m, alore_matmul(m, alore_reshape(m, h, alo_by(rows, n), d), u), rows, n * q);
        h = alore_dropout(m, alore_matmul_t(m, h, false, core, turned), r->dropout);
        return alore_scale(m, alore_matmul(m, h, v), r->scale);
    }
    h = alore_dropout(m, alore_matmul(m, alore_matmul(m, h, u), core), r->dropout);
    h = alore_matmul(m, alore_reshape(m, h, alo_by(rows, n), q), v);
    return alore_scale(m, alore_reshape(m, h, rows, n * d), r->scale);
}

/* KAdaptation: q and v gain scale x sum_i (S_left_i S_right_i) (x) (D_i U_i) + bias.  (He et al. 2023, eq. 7)
 * As published D and U both start at zero, and only the bias would ever learn: here D does not. */
static alore_id alo_kadaptation(alore_model *m, const alore_site *site, const alore_recipe *r,
                                alore_flow *flow) {
    const int n = r->experts, part = site->in / n;
    const alore_start small = alore_uniform(0.01f), zero = alore_fill(0.0f);
    const bool published = alore_recipe_number(r, "init") > 0;
    if (!alo_divides(m, r, "experts", n, "width", site->in)) return 0;
    if (site->in != site->out)
        return alo_wrong(m, ALORE_ERR_RULE, "kadaptation: %d columns become %d, not as many", site->in,
                         site->out);
    const alore_id left = alore_param(m, "S_left", alore_dims(n, n, 1, 0), ALORE_ALL, small);
    alore_id right = alore_param(m, "S_right", alore_dims(n, 1, n, 0), ALORE_ALL, small);
    const alore_id d =
        alore_param(m, "D", alore_dims(n, part, 1, 0), ALORE_OWN, published ? zero : alo_xavier(part, 1));
    const alore_id u = alore_param(m, "U", alore_dims(n, 1, part, 0), ALORE_OWN, zero);
    const alore_id bias = alore_param(m, "bias", alore_dims(site->out, 0, 0, 0), ALORE_SITE, zero);
    int32_t *table = alo_ints(m, alo_zu(n) * alo_zu(n));
    for (int i = 0; table && i < n * n; ++i) table[i] = i / n;
    right = alo_gather(m, right, table, n * n, 1);
    const alore_id x = alore_dropout(m, flow->x, r->dropout);
    const alore_id y = alore_kron(m, x, alore_mul(m, right, left), d, u, n);
    return alore_affine(m, alore_scale(m, y, r->scale), 0, bias);
}

/* One of GLoRA's A and B as stored, [out, in], [out, 1] or [1, 1]; 0: none. */
static alore_id alo_glora_term(alore_model *m, const alore_site *site, const alore_recipe *r, const char *key,
                               const char *name) {
    static const char *const names[2][3] = {{"A_down", "A_up", "A"}, {"B_down", "B_up", "B"}};
    const char *const *full = names[*name == 'B'];
    const int form = (int)alore_recipe_number(r, key); /* lora|vector|constant|none */
    const alore_start zero = alore_fill(0.0f);
    if (form == 3) return 0;
    if (form)
        return alore_reshape(m, alo_mine(m, full[2], form == 1 ? site->out : 1, 0, zero),
                             form == 1 ? site->out : 1, 1);
    const alore_id down = alo_mine(m, full[0], site->in, r->rank, alo_xavier(r->rank, site->in));
    return alore_matmul_t(m, alo_mine(m, full[1], r->rank, site->out, zero), true, down, true);
}

/* GLoRA: W = W0 + W0 * A + B, b = b0 + b0 * D + E + C W0.   (Chavan et al. 2023, eq. 9 and 10) */
static alore_id alo_glora(alore_model *m, const alore_site *site, const alore_recipe *r, alore_flow *flow) {
    const alore_start zero = alore_fill(0.0f);
    const int c = (int)alore_recipe_number(r, "c"), d = (int)alore_recipe_number(r, "d");
    const int e = (int)alore_recipe_number(r, "e");
    const alore_id was = flow->weight;
    if (!alo_rank_fits(m, r, site->in)) return 0;
    if (!flow->bias && (c < 2 || d < 2 || e < 2))
        return alo_wrong(m, ALORE_ERR_RULE, "glora: c, d and e ask for a layer with a bias");
    const alore_id a = alo_glora_term(m, site, r, "a", "A"), b = alo_glora_term(m, site, r, "b", "B");
    alore_id w = a ? alore_add(m, was, alore_mul(m, was, a)) : was;
    if (b) w = alore_add(m, w, b);
    alore_id row = 0;
    if (c == 0) {
        const alore_id up = alo_mine(m, "C_up", 1, r->rank, alo_xavier(r->rank, 1));
        row = alore_matmul(m, up, alo_mine(m, "C_down", r->rank, site->in, zero));
    } else if (c == 1)
        row = alo_mine(m, "C", site->in, 0, zero);
    if (d < 2) {
        const alore_id by = alo_mine(m, "D", d ? 1 : site->out, 0, zero);
        flow->bias = alore_add(m, flow->bias, alore_mul(m, flow->bias, by));
    }
    if (e < 2) flow->bias = alore_add(m, flow->bias, alo_mine(m, "E", e ? 1 : site->out, 0, zero));
    if (row) flow->bias = alore_add(m, flow->bias, alore_matmul_t(m, row, false, was, true));
    return w;
}

/* SPT's unstructured part: chosen numbers of weight and bias learn what is added to them.   (He et al. 2023,
 * section 3.2) */
static alore_id alo_sparse(alore_model *m, const alore_site *site, const alore_recipe *r, alore_flow *flow) {
    const int n = (int)alore_recipe_number(r, "entries"), k = (int)alore_recipe_number(r, "bias_entries");
    alore_id value = 0, index = 0, more = 0, at = 0;
    if (!n && !k) return alo_wrong(m, ALORE_ERR_RULE, "sparse: neither entries nor bias_entries");
    if (n > (int64_t)site->in * site->out || k > site->out)
        return alo_wrong(m, ALORE_ERR_RULE, "sparse: %d entries of %d x %d, %d bias_entries of %d", n,
                         site->out, site->in, k, site->out);
    if (n) value = alo_mine(m, "value", n, 0, alore_fill(0.0f));
    const alore_start pairs = alore_indices(site->out, site->in);
    if (n) index = alore_frozen(m, "index", alore_dims(n, 2, 0, 0), ALORE_OWN, pairs);
    if (k) more = alo_mine(m, "bias_value", k, 0, alore_fill(0.0f));
    if (k) at = alore_frozen(m, "bias_index", alore_dims(k, 0, 0, 0), ALORE_OWN, alore_indices(site->out, 0));
    if (r->place == ALORE_PLACE_PARALLEL) {
        const alore_id shift = k ? alore_scatter(m, 0, more, at, 1, site->out) : 0;
        return n ? alore_affine(m, alore_sparse(m, flow->x, value, index, site->out), 0, shift) : shift;
    }
    if (k) flow->bias = alore_scatter(m, flow->bias, more, at, 1, site->out);
    return n ? alore_scatter(m, flow->weight, value, index, site->out, site->in) : flow->weight;
}

/* Compacter: y + up(f(down(y))), down and up sums of Kronecker products with one S for the network, on a
 * branch or a layer.   (Karimi Mahabadi et al. 2021, eq. 5)   phm: the same with full factors. */
static alore_id alo_compacter(alore_model *m, const alore_site *site, const alore_recipe *r,
                              alore_flow *flow) {
    const int width = alo_width(site, r), n = r->experts, hidden = r->hidden ? r->hidden : width / 32;
    const int act = (int)alore_recipe_number(r, "act"), q = r->rank; /* 5: none */
    const bool published = alore_recipe_number(r, "init") > 0;
    const alore_start zero = alore_fill(0.0f), tiny = alore_normal(0.0f, 0.01f);
    alore_id h = alo_stream(r, flow);
    if (!hidden || (!r->hidden && hidden % n))
        return alo_wrong(m, ALORE_ERR_RULE, "%s: hidden must be given, as %d / 32 is no multiple of %d",
                         r->method->name, width, n);
    if (!alo_divides(m, r, "experts", n, "width", width) ||
        !alo_divides(m, r, "experts", n, "hidden", hidden))
        return 0;
    const alore_id s =
        alore_param(m, "S", alore_dims(n, n, n, 0), ALORE_ALL, published ? tiny : alo_xavier(n, n));
    for (int up = 0; up < 2; ++up) {
        const int in = up ? hidden : width, out = up ? width : hidden;
        const alore_start first = published ? tiny : alo_xavier(in / n, q ? q : out / n);
        const alore_start last = published ? tiny : up ? zero : alo_xavier(q, out / n);
        alore_id d, u = 0;
        if (q) {
            d = alore_param(m, up ? "up_D" : "down_D", alore_dims(n, in / n, q, 0), ALORE_OWN, first);
            u = alore_param(m, up ? "up_U" : "down_U", alore_dims(n, q, out / n, 0), ALORE_OWN, last);
        } else
            d = alore_param(m, up ? "up" : "down", alore_dims(n, in / n, out / n, 0), ALORE_OWN,
                            up && !published ? zero : first);
        const alore_id bias = alo_mine(m, up ? "up_bias" : "down_bias", out, 0, zero);
        h = alore_affine(m, alore_kron(m, h, s, d, u, n), 0, bias);
        if (!up && act < 5) h = alore_unary(m, (alore_unary_kind)act, h);
    }
    return alore_add(m, alo_stream(r, flow), h);
}

/* DoRA: W = (W0 + scale A B) magnitude / norm, the norm a constant to the backward.   (Liu et al. 2024, eq. 5
 * and 11) */
static alore_id alo_dora(alore_model *m, const alore_site *site, const alore_recipe *r, alore_flow *flow) {
    if (!alo_rank_fits(m, r, site->in)) return 0;
    const alore_id a = alo_mine(m, "A", site->in, r->rank, alo_kaiming(site->in));
    const alore_id b = alo_mine(m, "B", r->rank, site->out, alore_fill(0.0f));
    const alore_id length =
        alore_reshape(m, alo_mine(m, "magnitude", site->out, 0, alore_lengths(m)), site->out, 1);
    const alore_id plus = alore_scale(m, alore_matmul_t(m, b, true, a, true), r->scale);
    const alore_id w = alore_add(m, flow->weight, plus);
    return alore_mul(m, w, alore_over_lengths(m, length, w));
}

/* VeRA: y = host(x) + ((drop(x) A * d) B) * b, A and B random, frozen, the network's.
 * (Kopiczko et al. 2024, eq. 2) */
static alore_id alo_vera(alore_model *m, const alore_site *site, const alore_recipe *r, alore_flow *flow) {
    const alore_shape down = alore_dims(site->in, r->rank, 0, 0), up = alore_dims(r->rank, site->out, 0, 0);
    const alore_id a = alore_frozen(m, "A", down, ALORE_WIDEST, alo_xavier(site->in, 0));
    const alore_id b = alore_frozen(m, "B", up, ALORE_WIDEST, alo_xavier(r->rank, 0));
    const alore_id d = alo_mine(m, "d", r->rank, 0, alore_fill(0.1f));
    const alore_id last = alo_mine(m, "b", site->out, 0, alore_fill(0.0f));
    const alore_id h = alore_matmul(m, alore_dropout(m, flow->x, r->dropout), a);
    return alore_affine(m, alore_matmul(m, alore_affine(m, h, d, 0), b), last, 0);
}

/* A width as two factors: `first` and the rest where it divides; else the pair with the least sum (-1), or
 * the last divisor up to `first` whose sum is not larger. */
static int alo_factor(int width, int first) {
    int best = 1;
    if (first > 0 && width % first == 0) return first;
    for (int i = 2; i <= width && (first < 0 ? i <= width / i : i <= first); ++i)
        if (width % i == 0 && i + width / i <= best + width / best) best = i;
    return best < width / best ? best : width / best;
}

/* LoKr: y = host(x) + scale x (w1 (x) w2), a factor of low rank where that is smaller.
 * (Yeh et al. 2024, eq. 5) */
static alore_id alo_lokr(alore_model *m, const alore_site *site, const alore_recipe *r, alore_flow *flow) {
    const int factor = (int)alore_recipe_number(r, "factor"), q = r->rank;
    const int i1 = alo_factor(site->in, factor), i2 = site->in / i1;
    const int o1 = alo_factor(site->out, factor), o2 = site->out / o1;
    const bool low1 = alore_recipe_number(r, "both") > 0 && 2 * q < (i1 > o1 ? i1 : o1);
    const bool low2 = 2 * q < (i2 > o2 ? i2 : o2);
    alore_id w1, w2, up = 0;
    if (low1) {
        w1 = alo_mine(m, "w1_down", i1, q, alo_kaiming(i1));
        w1 = alore_matmul(m, w1, alo_mine(m, "w1_up", q, o1, alore_fill(0.0f)));
    } else
        w1 = alo_mine(m, "w1", i1, o1, alore_fill(0.0f));
    w2 = alo_mine(m, low2 ? "w2_down" : "w2", i2, low2 ? q : o2, alo_kaiming(i2));
    if (low2) up = alo_mine(m, "w2_up", q, o2, alo_kaiming(q));
    return alore_scale(m, alore_kron(m, flow->x, w1, w2, up, 1), r->scale);
}

/* LoHa: y = host(x) + scale x ((w1_down w1_up) * (w2_down w2_up)).   (Hyeon-Woo et al. 2022, eq. 4)
 * It is LoRA of rank r r, whose factors are products of columns and of rows; where the matrix itself is
 * cheaper, that. */
static alore_id alo_loha(alore_model *m, const alore_site *site, const alore_recipe *r, alore_flow *flow) {
    const int q = r->rank, in = site->in, out = site->out;
    if (!alo_rank_fits(m, r, in)) return 0;
    const alore_id d1 = alo_mine(m, "w1_down", in, q, alo_kaiming(in));
    const alore_id u1 = alo_mine(m, "w1_up", q, out, alo_kaiming(q));
    const alore_id d2 = alo_mine(m, "w2_down", in, q, alore_fill(0.0f));
    const alore_id u2 = alo_mine(m, "w2_up", q, out, alo_kaiming(q));
    if ((int64_t)q * q * ((int64_t)in + out) > (int64_t)in * out || (int64_t)in * q > 1 << 24) {
        const alore_id w = alore_mul(m, alore_matmul(m, d1, u1), alore_matmul(m, d2, u2));
        return alore_scale(m, alore_matmul(m, flow->x, w), r->scale);
    }
    int32_t *down = alo_ints(m, alo_zu(in) * alo_zu(q)), *one = alo_ints(m, alo_zu(q) * alo_zu(q));
    int32_t *two = alo_ints(m, alo_zu(q) * alo_zu(q));
    for (int i = 0; down && i < in * q; ++i) down[i] = i / q;
    for (int i = 0; one && two && i < q * q; ++i) {
        one[i] = i / q;
        two[i] = i % q;
    }
    alore_id left = alore_mul(m, alo_gather(m, d2, down, in * q, 1), alore_reshape(m, d1, in * q, 1));
    left = alore_reshape(m, left, in, q * q);
    const alore_id right = alore_mul(m, alo_gather(m, u1, one, q * q, 1), alo_gather(m, u2, two, q * q, 1));
    return alore_scale(m, alore_matmul(m, alore_matmul(m, flow->x, left), right), r->scale);
}

/* The skew matrices [b, b] of the strict upper triangles x [k, b (b-1) / 2], side by side. */
static alore_id alo_skew(alore_model *m, alore_id x, int b) {
    const int k = alore_rows(m, x), n = b * (b - 1) / 2;
    const size_t count = alo_mul(alo_zu(b) * alo_zu(b), alo_zu(k));
    int32_t *upper = alo_ints(m, count), *lower = alo_ints(m, count);
    for (int i = 0; upper && lower && i < b; ++i)
        for (int g = 0; g < k; ++g)
            for (int j = 0; j < b; ++j) {
                const int a = i < j ? i : j, c = i < j ? j : i, at = (i * k + g) * b + j;
                upper[at] = i < j ? g * n + a * b - a * (a + 1) / 2 + c - a - 1 : -1;
                lower[at] = i > j ? g * n + a * b - a * (a + 1) / 2 + c - a - 1 : -1;
            }
    x = alore_reshape(m, x, alo_by(k, n), 1);
    const alore_id minus = alore_scale(m, alo_gather(m, x, lower, b, b * k), -1.0f);
    return alore_add(m, alo_gather(m, x, upper, b, b * k), minus);
}

/* OFT: y = host(x R), R of blocks (1 - Q) (1 + Q)^-1 with skew Q, or, with some terms of the series of the
 * inverse rotation, 1 + 2 Q + 2 Q^2 + ... + Q^(terms-1).  (Qiu et al. 2023, eq. 3; Cayley-Neumann as PEFT) */
static alore_id alo_oft(alore_model *m, const alore_site *site, const alore_recipe *r, alore_flow *flow) {
    const int b = (int)alore_recipe_number(r, "block"), terms = (int)alore_recipe_number(r, "terms");
    const int k = site->in / b;
    if (!alo_divides(m, r, "block", b, "width", site->in)) return 0;
    const alore_id q = alo_skew(m, alo_mine(m, "R", k, b * (b - 1) / 2, alore_fill(0.0f)), b);
    if (!terms) { /* 2 (1 + Q)^-1 - 1 */
        const alore_id y = alore_scale(m, alore_matmul_groups(m, flow->x, alore_inverse(m, q), k), 2.0f);
        return alore_add(m, y, alore_scale(m, flow->x, -1.0f));
    }
    if (terms == 1) return flow->x;
    alore_id sum = terms == 2 ? q : alore_scale(m, q, 0.5f); /* Q + Q (Q + Q (... + Q / 2)); 3 is as 4 */
    for (int i = 2; i < (terms == 3 ? 4 : terms); ++i)
        sum = alore_add(m, q, alore_matmul_groups(m, q, sum, k));
    return alore_add(m, flow->x, alore_scale(m, alore_matmul_groups(m, flow->x, sum, k), 2.0f));
}

/* BOFT: W = (B_(F-1) .. B_0 W0) scale, each factor B_i of b x b rotations on columns that lie 2^i chunks of
 * b / 2 apart.   (Liu et al. 2024, eq. 5) */
static alore_id alo_boft(alore_model *m, const alore_site *site, const alore_recipe *r, alore_flow *flow) {
    const int b = (int)alore_recipe_number(r, "block"), factors = (int)alore_recipe_number(r, "factors");
    const int in = site->in, k = in / b;
    alore_id w = flow->weight;
    if (!alo_divides(m, r, "block", b, "width", in)) return 0;
    if (b % 2) return alo_wrong(m, ALORE_ERR_RULE, "boft: a block of %d is odd", b);
    const alore_id x = alore_param(m, "R", alore_dims(factors, k, b, b), ALORE_OWN, alore_fill(0.0f));
    const alore_id scale = alo_mine(m, "scale", site->out, 0, alore_fill(1.0f));
    for (int f = 0; f < factors && !m->error.status; ++f) {
        int32_t *rows = alo_ints(m, alo_zu(in)), *turned = alo_ints(m, alo_mul(alo_zu(in), alo_zu(b)));
        int32_t *there = alo_ints(m, alo_zu(in)), *back = alo_ints(m, alo_zu(in));
        const int chunks = 2 << f,
                  chunk = b / 2; /* a segment's; its even ones come first, then its odd ones */
        if (!rows || !turned || !there || !back) return 0;
        if (!alo_divides(m, r, "block 2^factor", chunk * chunks, "width", in)) return 0;
        for (int i = 0; i < in; ++i) {
            const int at = i % (chunk * chunks) / chunk, half = chunks / 2;
            const int from = (at % half) * 2 + at / half;
            there[i] = i + (from - at) * chunk;
            rows[i] = (f * k + i % k) * b + i / k;
        }
        for (int i = 0; i < in; ++i) back[there[i]] = i;
        for (int i = 0; i < in * b; ++i) turned[i] = ((f * k + i / b % k) * b + i % b) * b + i / in;
        const alore_id p = alo_gather(m, alore_reshape(m, x, factors * in, b), rows, b, k);
        const alore_id pt = alo_gather(m, alore_reshape(m, x, factors * in * b, 1), turned, b, in);
        const alore_id q = alore_scale(m, alore_add(m, pt, alore_scale(m, p, -1.0f)), 0.5f); /* -Q */
        if (f) w = alore_pick(m, w, back, in);
        w = alore_add(m, alore_scale(m, alore_matmul_groups(m, w, alore_inverse(m, q), k), 2.0f),
                      alore_scale(m, w, -1.0f));
        if (f) w = alore_pick(m, w, there, in);
    }
    return alore_mul(m, w, alore_reshape(m, scale, site->out, 1));
}

/* clang-format off */
#define ALO_WHOLE(name, value, least, most) {name, value, least, most, NULL, true, false}
#define ALO_REAL(name, value, least, most)  {name, value, least, most, NULL, false, false}
#define ALO_WORD(name, words)               {name, 0, 0, 0, words, false, false}
#define ALO_RANK(value)     ALO_WHOLE("rank", value, 1, 65536)
#define ALO_EXPERTS(value)  ALO_WHOLE("experts", value, 1, 1024)
#define ALO_SCALE(value)    ALO_REAL("scale", value, -1e6, 1e6)
#define ALO_DROPOUT         ALO_REAL("dropout", 0, 0, 1)
#define ALO_PARTS           ALO_WORD("parts", "letters of q, k, v")
#define ALO_INIT            ALO_WORD("init", "default")
#define ALO_INIT_PUBLISHED  ALO_WORD("init", "default|published")
#define ALO_HIDDEN          ALO_WHOLE("hidden", 0, 0, 65536)
#define ALO_ACT             {"act", 1, 0, 0, "gelu|gelu_tanh|quick_gelu|relu|silu|none", false, false}
#define ALO_MAY(place)      (1 << ALORE_PLACE_##place)
#define ALO_AROUND          (ALO_MAY(INPUT) | ALO_MAY(OUTPUT))
#define ALO_BENT            "only with act=none: an activation is no affine map"

/* name, formula, paper, published rule, hosts, place, places, keys, emit, finish, mergeable, parts, published
 * millions on ViT-B, note */
static const alore_method alo_methods[] = {
    {"alore", "y = host(x + x sum_i S_i (x) (D_i U_i))",
     "ALoRE: Efficient Visual Adaptation via Aggregating Low Rank Experts (2024)",
     "alore:rank=4,experts=4@qkv|fc1", ALORE_HOST_LINEAR, ALORE_PLACE_INPUT, ALO_AROUND,
     {ALO_RANK(4), ALO_EXPERTS(4), ALO_WORD("shared", "all|kind|site"), ALO_DROPOUT, ALO_INIT},
     alo_alore, NULL, NULL, NULL, 0.15, "one S for the network, as the paper's table of experts has it"},
    {"kron", "y = host(x + x sum_i S_i (x) W_i)", "Beyond Fully-Connected Layers with Quaternions (2021)",
     "kron:experts=4@qkv|fc1", ALORE_HOST_LINEAR, ALORE_PLACE_INPUT, ALO_AROUND,
     {ALO_EXPERTS(4), ALO_DROPOUT, ALO_INIT}, alo_alore, NULL, NULL, NULL, 0, NULL},
    {"arc", "y = host(x + ((x D) * scale) D' + bias)",
     "Efficient Adaptation of Large Vision Transformer via Adapter Re-Composing (2023)",
     "arc:rank=50@qkv|fc1", ALORE_HOST_LINEAR, ALORE_PLACE_INPUT, ALO_AROUND,
     {ALO_RANK(50), ALO_DROPOUT, ALO_INIT_PUBLISHED}, alo_arc, NULL, NULL, NULL, 0.13,
     "published with the head; the code for VTAB trains the head alone"},
    {"repadapter", "y = host(x + scale (concat_k((x A + A_bias)_k B_k) + B_bias))",
     "Towards Efficient Visual Adaption via Structural Re-parameterization (2023)",
     "repadapter:rank=8,groups=2@qkv|fc1", ALORE_HOST_LINEAR, ALORE_PLACE_INPUT, ALO_AROUND,
     {ALO_RANK(8), ALO_WHOLE("groups", 2, 1, 256), ALO_SCALE(1), ALO_DROPOUT, ALO_INIT},
     alo_repadapter, NULL, NULL, NULL, 0.22, "published without the biases"},
    {"lora", "y = host(x) + scale (x A) B", "LoRA: Low-Rank Adaptation of Large Language Models (2021)",
     "lora:rank=8@qkv", ALORE_HOST_LINEAR, ALORE_PLACE_PARALLEL, 0,
     {ALO_RANK(8), ALO_SCALE(1), ALO_PARTS, ALO_DROPOUT, ALO_INIT_PUBLISHED},
     alo_lora, NULL, NULL, NULL, 0.29, NULL},
    {"mlae", "y = host(x) + ((x A) * lambda * mask) B", "MLAE: Masked LoRA Experts for Visual PEFT (2024)",
     "mlae:experts=8,dropout=0.5@qkv", ALORE_HOST_LINEAR, ALORE_PLACE_PARALLEL, 0, {ALO_EXPERTS(8),
      ALO_WORD("mask", "none|given|incremental|decremental|hourglass|protruding|random|drop_incremental|"
                       "drop_decremental|drop_hourglass|drop_protruding"),
      ALO_REAL("lambda", 1, -1e6, 1e6), ALO_DROPOUT, ALO_INIT},
     alo_mlae, NULL, NULL, NULL, 0.30, "its protruding pattern lacks an entry: six blocks of 14 here"},
    {"ssf", "y = host(x) * gain + shift", "Scaling & Shifting Your Features (2022)",
     "ssf@patch|norm1|qkv|proj|norm2|fc1|fc2|norm", ALORE_HOST_LINEAR | ALORE_HOST_NORM, ALORE_PLACE_OUTPUT,
     ALO_AROUND, {ALO_INIT}, alo_ssf, NULL, NULL, NULL, 0.24, "published with the head"},
    {"fact_tt", "y = host(x) + scale x U C_slot V, a slot for each d x d numbers",
     "FacT: Factor-Tuning for Lightweight Adaptation on Vision Transformer (2023)",
     "fact_tt:rank=16@qkv|proj|fc1|fc2", ALORE_HOST_LINEAR, ALORE_PLACE_PARALLEL, 0,
     {ALO_RANK(8), ALO_SCALE(1), ALO_DROPOUT, ALO_INIT}, alo_fact, NULL, NULL, NULL, 0.04,
     "published as the mean of ranks chosen for each task"},
    {"fact_tk", "y = host(x) + scale x U (sum_k C[:,:,k] P[k,slot]) V",
     "FacT: Factor-Tuning for Lightweight Adaptation on Vision Transformer (2023)",
     "fact_tk:rank=32@qkv|proj|fc1|fc2", ALORE_HOST_LINEAR, ALORE_PLACE_PARALLEL, 0,
     {ALO_RANK(16), ALO_SCALE(1), ALO_WORD("layout", "code|paper"), ALO_DROPOUT, ALO_INIT},
     alo_fact, NULL, NULL, NULL, 0.07, "published as the mean of ranks chosen for each task"},
    {"kadaptation", "y = host(x) + scale x sum_i (S_left_i S_right_i) (x) (D_i U_i) + bias, at q and v",
     "Parameter-efficient Model Adaptation for Vision Transformers (2023)",
     "kadaptation:experts=32,scale=160@qkv", ALORE_HOST_LINEAR, ALORE_PLACE_PARALLEL, 0,
     {ALO_EXPERTS(32), ALO_SCALE(160), ALO_DROPOUT, ALO_INIT_PUBLISHED},
     alo_kadaptation, NULL, NULL, "qv", 0.08, "published with the head; its code trains the bias alone"},
    {"glora", "W = W0 + W0 * A + B, b = b0 + b0 * D + E + C W0",
     "One-for-All: Generalized LoRA for Parameter-Efficient Fine-tuning (2023)",
     "glora:rank=4@qkv|proj|fc1|fc2", ALORE_HOST_LINEAR, ALORE_PLACE_WEIGHT, 0,
     {ALO_RANK(4), ALO_WORD("a", "lora|vector|constant|none"), ALO_WORD("b", "lora|vector|constant|none"),
      ALO_WORD("c", "lora|vector|none"), ALO_WORD("d", "vector|constant|none"),
      ALO_WORD("e", "vector|constant|none"), ALO_PARTS, ALO_INIT},
     alo_glora, NULL, NULL, NULL, 0.86, "published after the search, which chooses a form for each layer"},
    {"sparse", "W0[row, col] += value, b0[i] += bias_value at chosen places",
     "Sensitivity-Aware Visual Parameter-Efficient Fine-Tuning (2023)",
     "sparse:entries=512@qkv|proj|fc1|fc2", ALORE_HOST_LINEAR, ALORE_PLACE_WEIGHT,
     ALO_MAY(WEIGHT) | ALO_MAY(PARALLEL),
     {{"entries", 1, 0, 16777216, NULL, true, true}, ALO_WHOLE("bias_entries", 0, 0, 16777216), ALO_INIT},
     alo_sparse, NULL, NULL, NULL, 0, "the unstructured part of SPT; `alore search spt` chooses the places"},
    {"compacter", "y = h + up(f(down(h))), h = host(x); down, up = sum_i S_i (x) (D_i U_i) + bias",
     "Compacter: Efficient Low-Rank Hypercomplex Adapter Layers (2021)",
     "compacter:experts=4@attn|mlp", ALORE_HOST_LINEAR | ALORE_HOST_BRANCH, ALORE_PLACE_OUTPUT, ALO_AROUND,
     {ALO_EXPERTS(4), ALO_RANK(1), ALO_HIDDEN, ALO_ACT, ALO_INIT_PUBLISHED},
     alo_compacter, NULL, ALO_BENT, NULL, 0, NULL},
    {"phm", "as compacter with full factors",
     "Compacter: Efficient Low-Rank Hypercomplex Adapter Layers (2021)",
     "phm:experts=4@attn|mlp", ALORE_HOST_LINEAR | ALORE_HOST_BRANCH, ALORE_PLACE_OUTPUT, ALO_AROUND,
     {ALO_EXPERTS(4), ALO_HIDDEN, ALO_ACT, ALO_INIT_PUBLISHED}, alo_compacter, NULL, ALO_BENT, NULL, 0, NULL},
    {"dora", "W = (W0 + scale A B) * magnitude / length of its columns",
     "DoRA: Weight-Decomposed Low-Rank Adaptation (2024)", "dora:rank=8,parts=qv@qkv", ALORE_HOST_LINEAR,
     ALORE_PLACE_WEIGHT, 0, {ALO_RANK(8), ALO_SCALE(1), ALO_PARTS, ALO_INIT},
     alo_dora, NULL, NULL, NULL, 0, NULL},
    {"adalora", "y = host(x) + scale ((x A) * E) B",
     "AdaLoRA: Adaptive Budget Allocation for Parameter-Efficient Fine-Tuning (2023)", "adalora:rank=12@qkv",
     ALORE_HOST_LINEAR, ALORE_PLACE_PARALLEL, 0,
     {ALO_RANK(12), ALO_SCALE(1), ALO_PARTS, ALO_DROPOUT, ALO_INIT}, alo_adalora, NULL, NULL, NULL, 0, NULL},
    {"vera", "y = host(x) + (((x A) * d) B) * b, A and B frozen",
     "VeRA: Vector-based Random Matrix Adaptation (2024)", "vera:rank=256@qkv", ALORE_HOST_LINEAR,
     ALORE_PLACE_PARALLEL, 0, {ALO_RANK(256), ALO_PARTS, ALO_DROPOUT, ALO_INIT},
     alo_vera, NULL, NULL, NULL, 0, NULL},
    {"ia3", "y = host(x) * gain, or host(x * gain)",
     "Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning (2022)",
     "ia3:parts=kv@qkv;ia3:place=input@fc2", ALORE_HOST_LINEAR, ALORE_PLACE_OUTPUT, ALO_AROUND,
     {ALO_PARTS, ALO_INIT}, alo_ia3, NULL, NULL, NULL, 0, NULL},
    {"lokr", "y = host(x) + scale x (w1 (x) w2)", "Navigating Text-To-Image Customization: LyCORIS (2024)",
     "lokr:rank=8@qkv", ALORE_HOST_LINEAR, ALORE_PLACE_PARALLEL, 0,
     {ALO_RANK(8), ALO_SCALE(1), ALO_WHOLE("factor", -1, -1, 65536), ALO_WHOLE("both", 0, 0, 1), ALO_PARTS,
      ALO_INIT}, alo_lokr, NULL, NULL, NULL, 0, NULL},
    {"loha", "y = host(x) + scale x ((w1_down w1_up) * (w2_down w2_up))",
     "FedPara: Low-Rank Hadamard Product for Communication-Efficient Federated Learning (2022)",
     "loha:rank=8,parts=qv@qkv", ALORE_HOST_LINEAR, ALORE_PLACE_PARALLEL, 0,
     {ALO_RANK(8), ALO_SCALE(1), ALO_PARTS, ALO_INIT}, alo_loha, NULL, NULL, NULL, 0, NULL},
    {"oft", "y = host(x R), R of orthogonal blocks",
     "Controlling Text-to-Image Diffusion by Orthogonal Finetuning (2023)", "oft:block=32@qkv",
     ALORE_HOST_LINEAR, ALORE_PLACE_INPUT, 0,
     {ALO_WHOLE("block", 32, 2, 4096), ALO_WHOLE("terms", 5, 0, 64), ALO_PARTS, ALO_INIT},
     alo_oft, NULL, NULL, NULL, 0, "terms=0: exact, the inverse rotation of the series"},
    {"boft", "W = (B_(F-1) .. B_0 W0) * scale, a butterfly of rotations",
     "Parameter-Efficient Orthogonal Finetuning via Butterfly Factorization (2024)", "boft:block=4@qkv",
     ALORE_HOST_LINEAR, ALORE_PLACE_WEIGHT, 0,
     {ALO_WHOLE("block", 4, 2, 4096), ALO_WHOLE("factors", 1, 1, 16), ALO_PARTS, ALO_INIT},
     alo_boft, NULL, NULL, NULL, 0, NULL},
};
/* clang-format on */

ALORE_API const alore_method *alore_method_at(const alore_ctx *ctx, int index) {
    const int own = (int)(sizeof alo_methods / sizeof *alo_methods);
    if (index < 0 || index >= own + ctx->method_count) return NULL;
    return index < own ? &alo_methods[index] : ctx->methods[index - own];
}

ALORE_API const alore_method *alore_method_find(const alore_ctx *ctx, const char *name) {
    int i = 0;
    while (alore_method_at(ctx, i) && strcmp(alore_method_at(ctx, i)->name, name)) ++i;
    return alore_method_at(ctx, i);
}

ALORE_API alore_status alore_register(alore_ctx *ctx, const alore_method *method) {
    const int most = (int)(sizeof ctx->methods / sizeof *ctx->methods);
    if (!method || !method->name || !method->emit || !method->hosts || !method->place)
        return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "a method needs name, hosts, place and emit");
    if (alore_method_find(ctx, method->name))
        return alo_fail(ctx, ALORE_ERR_NAME, NULL, "a method %s is there already", method->name);
    if (ctx->method_count == most)
        return alo_fail(ctx, ALORE_ERR_CAPACITY, NULL, "more than %d own methods", most);
    ctx->methods[ctx->method_count++] = method;
    return ALORE_OK;
}

/* ============================================================================
 * >> 18 rules
 *     rules := rule (';' rule)*
 *     rule  := method [':' key '=' value (',' key '=' value)*] '@' item ('|' item)*
 *     item  := a site kind or a glob, optionally '#' index or '#' first '-' last
 *
 * The parser knows no method: it reads the rows. A recipe leaves it complete. */

/* A whole number 0 .. 2^24 in `bytes` characters; false for anything else. */
static bool alo_index(const char *s, size_t bytes, int *out) {
    *out = 0;
    for (size_t i = 0; i < bytes; ++i) {
        if (s[i] < '0' || s[i] > '9' || *out > (1 << 24) / 10) return false;
        *out = *out * 10 + (s[i] - '0');
    }
    return bytes > 0 && *out <= 1 << 24;
}

/* A decimal number that takes the whole text. */
static bool alo_number(const char *s, double *out) {
    const bool minus = *s == '-';
    double x = 0, unit = 1;
    int exponent = 0, power = 0;
    bool point = false, digits = false;
    for (s += minus; (*s >= '0' && *s <= '9') || (*s == '.' && !point); ++s) {
        if (*s != '.') x = x * 10 + (*s - '0');
        if (*s != '.') exponent -= point;
        digits = digits || *s != '.';
        point = point || *s == '.';
    }
    if (digits && (*s == 'e' || *s == 'E')) {
        const bool down = *++s == '-';
        s += down || *s == '+';
        if (!alo_index(s, strlen(s), &power)) return false;
        exponent += down ? -power : power;
        s += strlen(s);
    }
    for (int i = exponent < 0 ? -exponent : exponent; i > 0 && unit < 1e300; --i) unit *= 10;
    x = exponent < 0 ? x / unit : x * unit;
    *out = minus ? -x : x;
    return digits && !*s && x < 1e300;
}

/* Index of `word` in "a|b|c", or -1. */
static int alo_word_index(const char *words, const char *word) {
    size_t n = strlen(word);
    for (int i = 0; words; ++i) {
        if (strcspn(words, "|") == n && !memcmp(words, word, n)) return i;
        words = strchr(words, '|');
        if (words) ++words;
    }
    return -1;
}

/* End `text` at the first `separator`. Returns what follows it, NULL where none is. */
static char *alo_cut(char *text, char separator) {
    char *at = strchr(text, separator);
    if (at) *at++ = 0;
    return at;
}

/* Copy without the blanks around separators and at the ends; between words one stays. */
static void alo_squeeze(char *out, const char *text) {
    const char *separators = ";:=,@|#-";
    size_t n = 0;
    for (bool gap = false, blank; *text; gap = blank, ++text) {
        blank = strchr(" \t\n\r", *text) != NULL;
        if (blank) continue;
        if (gap && n && !strchr(separators, *text) && !strchr(separators, out[n - 1])) out[n++] = ' ';
        out[n++] = *text;
    }
    out[n] = 0;
}

/* A value of a key, or of `place` (key NULL), into the rule; false where it is none of those it `may` be. */
static bool alo_set_value(alo_rule *rule, const alore_key *key, const char *value, alo_text *may) {
    static const char *const places = "default|input|parallel|output|weight|inside";
    const alore_method *row = rule->method;
    if (!key) {
        const int mask = row->places ? row->places : 1 << row->place;
        const int place = alo_word_index(places, value);
        for (int i = 1; i <= ALORE_PLACE_INSIDE; ++i) {
            if (!(mask >> i & 1)) continue;
            alo_put(may, "|", may->used > 0);
            alo_put_word(may, places, i);
        }
        rule->recipe.place = (alore_place)place;
        return place > 0 && mask >> place & 1;
    }
    double *x = &rule->recipe.values[key - row->keys];
    alo_print(may, key->words ? "%s" : key->whole ? "a whole number" : "a number", key->words);
    if (!key->words) {
        alo_print(may, " from %g to %g", key->least, key->most);
        return alo_number(value, x) && *x >= key->least && *x <= key->most &&
               (!key->whole || *x == (double)(int64_t)*x);
    }
    if (strcmp(key->name, "parts")) return (*x = alo_word_index(key->words, value)) >= 0;
    alo_put(may, " once each", 10);
    for (const char *at = value; *at; ++at)
        if (!strchr("qkv", *at) || strchr(at + 1, *at)) return false;
    memcpy(rule->parts, value, strlen(value) + 1);
    return true;
}

/* "rank=4,experts=2" (NULL: none), cut in place, over the defaults. What methods share is a field, too. */
static bool alo_parse_keys(alore_model *m, alo_rule *rule, char *key) {
    const alore_method *row = rule->method;
    const int count = alo_key_index(row, NULL);
    alore_recipe *r = &rule->recipe;
    unsigned given = 0; /* bit MAX_KEYS stands for place */
    for (int i = 0; i < count; ++i) r->values[i] = row->keys[i].value;
    if (row->parts) memcpy(rule->parts, row->parts, strlen(row->parts) + 1);
    r->method = row;
    r->place = row->place;
    r->parts = "";
    for (char *next; key; key = next) {
        char text[160] = "";
        alo_text t = {text, sizeof text, 0};
        next = alo_cut(key, ',');
        const char *equals = strchr(key, '=');
        if (!equals || equals == key || !equals[1])
            return alo_wrong(m, ALORE_ERR_RULE, "%s: \"%s\" is not key=value", row->name, key);
        const char *value = alo_cut(key, '=');
        const int i = alo_key_index(row, key);
        const unsigned bit = 1u << (i < 0 ? (int)ALORE_MAX_KEYS : i);
        if (i < 0 && strcmp(key, "place")) {
            for (int k = 0; k < count; ++k) alo_print(&t, "%s, ", row->keys[k].name);
            return alo_wrong(m, ALORE_ERR_RULE, "%s has no key %s; it has %splace", row->name, key, text);
        }
        if (given & bit) return alo_wrong(m, ALORE_ERR_RULE, "%s: %s is given twice", row->name, key);
        given |= bit;
        if (!alo_set_value(rule, i < 0 ? NULL : &row->keys[i], value, &t))
            return alo_wrong(m, ALORE_ERR_RULE, "%s: %s=%s; it is %s", row->name, key, value, text);
    }
    for (int i = 0; i < count; ++i)
        if (row->keys[i].required && !(given >> i & 1u))
            return alo_wrong(m, ALORE_ERR_RULE, "%s: %s must be given", row->name, row->keys[i].name);
    r->rank = (int)alore_recipe_number(r, "rank");
    r->experts = (int)alore_recipe_number(r, "experts");
    r->groups = (int)alore_recipe_number(r, "groups");
    r->hidden = (int)alore_recipe_number(r, "hidden");
    r->scale = (float)alore_recipe_number(r, "scale");
    r->dropout = (float)alore_recipe_number(r, "dropout");
    return true;
}

/* One target: "qkv#0-3". */
static bool alo_parse_item(alore_model *m, alo_rule *rule, char *text) {
    char *blocks = alo_cut(text, '#');
    alo_item item = {ALORE_KIND_NONE, alo_intern(m, text), 0, -1, 0};
    if (blocks) {
        const size_t first = strcspn(blocks, "-");
        const char *last = blocks + (blocks[first] ? first + 1 : 0);
        if (!alo_index(blocks, first, &item.first) || !alo_index(last, strlen(last), &item.last) ||
            item.last < item.first)
            return alo_wrong(m, ALORE_ERR_RULE, "%s#%s: blocks are an index or first-last", text, blocks);
    }
    if (!*text) return alo_wrong(m, ALORE_ERR_RULE, "an empty target in %s", alo_name(m, rule->text));
    for (int k = 1; k <= ALORE_KIND_BLOCK; ++k)
        if (!strcmp(alo_kind_names[k], text)) item.kind = (alore_kind)k;
    ++rule->count;
    return ALO_ADD(m, item, item);
}

/* One rule, cut in place. */
static bool alo_parse_rule(alore_model *m, char *text) {
    const char *at = strchr(text, '@');
    alo_rule rule = ALORE_ZERO;
    rule.text = alo_intern(m, text);
    rule.first = m->item_count;
    if (!at || at == text || !at[1])
        return alo_wrong(m, ALORE_ERR_RULE, "\"%s\" is not method:key=value@target", text);
    char *target = alo_cut(text, '@'), *keys = alo_cut(text, ':');
    if (strcmp(text, "unfreeze")) {
        char known[240] = "";
        alo_text t = {known, sizeof known, 0};
        for (int i = 0; alore_method_at(alo_ctx(m), i); ++i)
            alo_print(&t, "%s, ", alore_method_at(alo_ctx(m), i)->name);
        rule.method = alore_method_find(alo_ctx(m), text);
        if (!rule.method)
            return alo_wrong(m, ALORE_ERR_RULE, "there is no method %s; there are %sunfreeze", text, known);
        if (!alo_parse_keys(m, &rule, keys)) return false;
    } else if (keys)
        return alo_wrong(m, ALORE_ERR_RULE, "unfreeze has no keys, but \"%s\" is given", keys);
    for (char *next; target; target = next) {
        next = alo_cut(target, '|');
        if (!alo_parse_item(m, &rule, target)) return false;
    }
    return ALO_ADD(m, rule, rule);
}

ALORE_API const char *alore_rules(const alore_model *m) { return alo_name(m, m->rules_text); }

ALORE_API ALO_COLD alore_status alore_attach(alore_model *m, const char *rules) {
    alore_ctx *ctx = alo_ctx(m);
    const size_t bytes = strlen(rules) + 1, room = strlen(alore_rules(m)) + 1 + bytes;
    if (m->tensor_count > 1 || m->finished)
        return alo_fail(ctx, ALORE_ERR_ORDER, NULL, "rules come before the network");
    if (bytes > 60000) return alo_fail(ctx, ALORE_ERR_RULE, NULL, "a rule text of %z bytes", bytes);
    char *all = (char *)alo_new(ctx, room);
    if (!all) {
        alo_starved(m);
        return m->error.status;
    }
    alo_text t = {all, room, 0}; /* what was attached before, then these */
    alo_print(&t, *alore_rules(m) ? "%s;" : "", alore_rules(m));
    char *rule = all + t.used;
    alo_squeeze(rule, rules);
    if (*rule) m->rules_text = alo_intern(m, all);
    for (char *next = *rule ? rule : NULL; next && !m->error.status; rule = next) {
        next = alo_cut(rule, ';');
        alo_parse_rule(m, rule);
    }
    alo_free(ctx, all, room);
    if (m->error.status) ctx->error = m->error;
    return m->error.status;
}

ALORE_API alore_status alore_attach_from(alore_model *m, const alore_weights *adapter) {
    const char *rules = alore_weights_meta(adapter, "alore.rules");
    if (rules) return alore_attach(m, rules);
    return alo_fail(alo_ctx(m), ALORE_ERR_RULE, NULL, "the adapter has no alore.rules in its metadata");
}

ALORE_API size_t alore_site_rules(const alore_model *m, int index, char *out, size_t bytes) {
    alo_text t = {out, bytes, 0};
    alo_put(&t, "", 0);
    for (int r = 0; r < m->rule_count && index >= 0 && index < m->site_count; ++r) {
        const alo_site *site = &m->sites[index];
        const alo_rule *rule = &m->rules[r];
        bool takes = alo_takes(m, rule, site);
        for (int i = rule->first; i < rule->first + rule->count && !rule->method; ++i) {
            takes = takes || alo_item_is(m, &m->items[i], site->s.kind, NULL, site->s.block);
            for (const alo_param *p = m->params; p < m->params + m->param_count && !takes; ++p)
                takes = p->site == index && p->base && p->segment == ALO_PARAM &&
                        alo_item_is(m, &m->items[i], ALORE_KIND_NONE, alo_name(m, p->name), site->s.block);
        }
        if (takes) alo_print(&t, t.used ? ";%s" : "%s", alo_name(m, rule->text));
    }
    return t.used;
}

/* ============================================================================
 * >> 19 backbones
 * Functions of the words above, in the order of the paper's figure; no adapter, gradient or storage type. */

ALORE_API alore_vit_config alore_vit_defaults(const alore_vit_config *config) {
    alore_vit_config c = ALORE_ZERO;
    if (config) c = *config;
    if (!c.patch) c.patch = 16;
    if (!c.height) c.height = 224;
    if (!c.width) c.width = c.height;
    if (!c.dim) c.dim = 768;
    if (!c.depth) c.depth = 12;
    if (!c.heads) c.heads = c.dim / 64;
    if (!c.hidden && c.dim <= 1 << 22) c.hidden = 4 * c.dim;
    if (!c.classes && !c.no_head) c.classes = 1000;
    if (!(c.eps > 0)) c.eps = 1e-6f;
    for (int i = 0; i < 3; ++i)
        if (!(c.deviation[i] > 0)) c.mean[i] = c.deviation[i] = 0.5f;
    return c;
}

/* Patches of image [height width, 3] as rows, ordered as the kernel: channel, then row, then column. */
static alore_id alo_patches(alore_model *m, alore_id image, const alore_vit_config *c) {
    const int p = c->patch, across = c->width / p, patches = c->height / p * across;
    const size_t bytes = alo_mul(alo_zu(patches) * alo_zu(3 * p), alo_zu(p) * sizeof(int32_t));
    int32_t *table = (int32_t *)alo_new(alo_ctx(m), bytes), *to = table;
    if (!table) return alo_starved(m);
    for (int i = 0; i < patches; ++i)
        for (int k = 0; k < 3 * p * p; ++k) {
            const int y = i / across * p + k / p % p, x = i % across * p + k % p;
            *to++ = (y * c->width + x) * 3 + k / (p * p);
        }
    image = alore_reshape(m, image, c->height * c->width * 3, 1);
    image = alore_gather(m, image, table, patches, 3 * p * p);
    alo_free(alo_ctx(m), table, bytes);
    return image;
}

/* Patches, class and register tokens, positions. */
static alore_id alo_vit_tokens(alore_model *m, alore_id image, const alore_vit_config *c) {
    const int kernel[3] = {3, c->patch, c->patch}, d = c->dim;
    const int rows = c->height / c->patch * (c->width / c->patch) + (c->registers ? 0 : 1);
    const alore_linear_opts patch = {ALORE_KIND_PATCH, 0, c->pre_norm && !c->patch_bias, kernel};
    if (alo_at(m, image)->dtype == ALORE_U8) image = alore_cast(m, image, c->mean, c->deviation);
    alore_id x = alore_linear(m, "patch_embed.proj", alo_patches(m, image, c), d, &patch);
    const alore_id cls = alore_base(m, "cls_token", alore_dims(1, 1, d, 0));
    const alore_id pos = alore_base(m, "pos_embed", alore_dims(1, rows, d, 0));
    if (!c->registers) return alore_add(m, alore_concat(m, cls, x), pos);
    x = alore_add(m, x, pos);
    x = alore_concat(m, alore_base(m, "reg_token", alore_dims(1, c->registers, d, 0)), x);
    return alore_concat(m, cls, x);
}

/* x += attn(norm1(x)); x += mlp(norm2(x)).   (Dosovitskiy et al. 2021, fig. 1) */
static alore_id alo_vit_block(alore_model *m, int i, alore_id x, const alore_vit_config *c) {
    const alore_attention_opts attn = {c->heads, 0, 0, NULL};
    const alore_linear_opts qkv = {ALORE_KIND_QKV, 0, c->no_qkv_bias, NULL};
    const alore_linear_opts proj = {ALORE_KIND_PROJ, 0, false, NULL};
    const alore_linear_opts fc1 = {ALORE_KIND_FC1, 0, false, NULL}, fc2 = {ALORE_KIND_FC2, 0, false, NULL};
    const float drop_path = c->depth > 1 ? c->drop_path * (float)i / (float)(c->depth - 1) : 0;
    const int d = c->dim, hidden = c->hidden;
    alore_id n, q, k, v, y, start; /* a statement for each word: arguments have no order */

    alore_push(m, "blocks", i);
    x = start = alore_branch(m, "", ALORE_KIND_TOKENS, x, 0, x);
    n = alore_norm(m, "norm1", ALORE_KIND_NORM1, x, c->eps);
    y = alore_linear(m, "attn.qkv", n, 3 * d, &qkv);
    q = alore_columns(m, y, 0, d);
    k = alore_columns(m, y, d, d);
    v = alore_columns(m, y, 2 * d, d);
    y = alore_attention(m, q, k, v, &attn);
    y = alore_linear(m, "attn.proj", y, d, &proj);
    y = alore_branch(m, "attn", ALORE_KIND_ATTN, x, n, y);
    if (c->layer_scale) y = alore_affine(m, y, alore_base(m, "ls1.gamma", alore_dims(d, 0, 0, 0)), 0);
    x = alore_add(m, x, alore_drop_path(m, y, drop_path));

    n = alore_norm(m, "norm2", ALORE_KIND_NORM2, x, c->eps);
    y = alore_linear(m, "mlp.fc1", n, c->swiglu ? 2 * hidden : hidden, &fc1);
    v = c->swiglu ? alore_columns(m, y, hidden, hidden) : 0;
    y = alore_unary(m, c->swiglu ? ALORE_SILU : c->act, c->swiglu ? alore_columns(m, y, 0, hidden) : y);
    if (c->swiglu) y = alore_mul(m, y, v);
    y = alore_linear(m, "mlp.fc2", y, d, &fc2);
    y = alore_branch(m, "mlp", ALORE_KIND_MLP, x, n, y);
    if (c->layer_scale) y = alore_affine(m, y, alore_base(m, "ls2.gamma", alore_dims(d, 0, 0, 0)), 0);
    x = alore_add(m, x, alore_drop_path(m, y, drop_path));
    x = alore_branch(m, "", ALORE_KIND_BLOCK, start, 0, x);
    alore_pop(m);
    return x;
}

ALORE_API ALO_COLD alore_id alore_vit(alore_model *m, alore_id image, const alore_vit_config *config) {
    const alore_vit_config c = alore_vit_defaults(config);
    const alore_linear_opts head = {ALORE_KIND_HEAD, 0, false, NULL};
    const int p = c.patch, h = c.height, w = c.width, prefix = 1 + c.registers, most = 1 << 12;
    const int rows = alore_rows(m, image), cols = alore_cols(m, image);
    const int32_t first = 0;
    char text[256];
    if (alo_poisoned(m, image, image)) return 0;
    if (p < 1 || h < p || w < p || h % p || w % p || h > most || w > most)
        return alo_wrong(m, ALORE_ERR_SHAPE, "an image of %d x %d in patches of %d", h, w, p);
    if (c.depth < 1 || c.dim < 1 || c.heads < 1 || c.hidden < 1 || c.registers < 0 || c.dim > 1 << 20 ||
        c.hidden > 1 << 22 || c.depth > most || c.registers > most)
        return alo_wrong(m, ALORE_ERR_SHAPE, "depth %d, width %d, %d heads, hidden %d, %d registers", c.depth,
                         c.dim, c.heads, c.hidden, c.registers);
    if (rows != h * w || cols != 3)
        return alo_wrong(m, ALORE_ERR_SHAPE, "image is %d x %d, the network's %d x 3", rows, cols, h * w);
    (void)alore_vit_text(&c, text, sizeof text);
    m->backbone = alo_intern(m, text);

    alore_blocks(m, c.depth);
    alore_hidden(m, c.hidden);
    alore_grid(m, prefix, h / p, w / p);
    alore_id x = alo_vit_tokens(m, image, &c);
    if (c.pre_norm) x = alore_norm(m, "norm_pre", ALORE_KIND_NONE, x, c.eps);
    for (int i = 0; i < c.depth; ++i) x = alo_vit_block(m, i, x, &c);
    if (c.mean_pool)
        x = alore_mean_rows(m, x, prefix, alore_rows(m, x) - prefix);
    else /* a norm acts on each row alone, so the class token is enough */
        x = alore_gather(m, x, &first, 1, 1);
    x = alore_norm(m, c.mean_pool ? "fc_norm" : "norm", ALORE_KIND_NORM, x, c.eps);
    for (int r = 0; r < m->rule_count; ++r) /* what methods carried along ends here */
        if (m->rules[r].method && m->rules[r].method->finish)
            x = m->rules[r].method->finish(m, &m->rules[r].recipe, x);
    alore_output(m, "features", x);
    return c.no_head ? x : alore_linear(m, "head", x, c.classes, &head);
}

/* ---- Configurations as text ---- */
/* clang-format off */
static const char *const alo_vit_names[][2] = { /* the name, and what it stands for  */
    {"vit_tiny_patch16_224",          "vit:dim=192,depth=12"},
    {"vit_tiny_patch16_384",          "vit:img=384,dim=192,depth=12"},
    {"vit_small_patch32_224",         "vit:patch=32,dim=384,depth=12"},
    {"vit_small_patch16_224",         "vit:dim=384,depth=12"},
    {"vit_small_patch16_384",         "vit:img=384,dim=384,depth=12"},
    {"vit_base_patch32_224",          "vit:patch=32,dim=768,depth=12"},
    {"vit_base_patch32_384",          "vit:img=384,patch=32,dim=768,depth=12"},
    {"vit_base_patch16_224",          "vit:dim=768,depth=12"},
    {"vit_base_patch16_384",          "vit:img=384,dim=768,depth=12"},
    {"vit_base_patch8_224",           "vit:patch=8,dim=768,depth=12"},
    {"vit_large_patch32_224",         "vit:patch=32,dim=1024,depth=24"},
    {"vit_large_patch32_384",         "vit:img=384,patch=32,dim=1024,depth=24"},
    {"vit_large_patch16_224",         "vit:dim=1024,depth=24"},
    {"vit_large_patch16_384",         "vit:img=384,dim=1024,depth=24"},
    {"vit_large_patch14_224",         "vit:patch=14,dim=1024,depth=24"},
    {"vit_huge_patch14_224",          "vit:patch=14,dim=1280,depth=32,heads=16"},
    {"vit_small_patch14_dinov2",      "vit:img=518,patch=14,dim=384,depth=12,layer_scale=1"},
    {"vit_base_patch14_dinov2",       "vit:img=518,patch=14,dim=768,depth=12,layer_scale=1"},
    {"vit_large_patch14_dinov2",      "vit:img=518,patch=14,dim=1024,depth=24,layer_scale=1"},
    {"vit_small_patch14_reg4_dinov2", "vit:img=518,patch=14,dim=384,depth=12,registers=4,layer_scale=1"},
    {"vit_base_patch14_reg4_dinov2",  "vit:img=518,patch=14,dim=768,depth=12,registers=4,layer_scale=1"},
    {"vit_large_patch14_reg4_dinov2", "vit:img=518,patch=14,dim=1024,depth=24,registers=4,layer_scale=1"},
};

/* Keys in the order of a vit's text, which always has the first seven. x: an image ("224" or "224x320"), i: a
 * whole number or a word's index, b: a bool, f: a fraction. */
#define ALO_AT(field) offsetof(alore_vit_config, field)
static const struct alo_vit_key { const char *name; size_t at; char type; int least; const char *words; }
alo_vit_keys[] = {
    {"img", ALO_AT(height), 'x', 1, NULL},         {"patch", ALO_AT(patch), 'i', 1, NULL},
    {"dim", ALO_AT(dim), 'i', 1, NULL},            {"depth", ALO_AT(depth), 'i', 1, NULL},
    {"heads", ALO_AT(heads), 'i', 1, NULL},        {"hidden", ALO_AT(hidden), 'i', 1, NULL},
    {"classes", ALO_AT(classes), 'i', 0, NULL},    {"pool", ALO_AT(mean_pool), 'b', 0, "cls|avg"},
    {"pre_norm", ALO_AT(pre_norm), 'b', 0, NULL},  {"registers", ALO_AT(registers), 'i', 0, NULL},
    {"layer_scale", ALO_AT(layer_scale), 'b', 0, NULL}, {"swiglu", ALO_AT(swiglu), 'b', 0, NULL},
    {"act", ALO_AT(act), 'i', 0, "gelu|gelu_tanh|quick_gelu|relu|silu"}, {"eps", ALO_AT(eps), 'f', 0, NULL},
};
enum { ALO_VIT_KEYS = sizeof alo_vit_keys / sizeof *alo_vit_keys };
#undef ALO_AT
/* clang-format on */

ALORE_API const char *alore_vit_name(int index) {
    const int count = (int)(sizeof alo_vit_names / sizeof *alo_vit_names);
    return index >= 0 && index < count ? alo_vit_names[index][0] : NULL;
}

/* Read one value of a key into the configuration. False: it is out of range. */
static bool alo_vit_set(alore_vit_config *c, const struct alo_vit_key *key, const char *value) {
    char *field = (char *)c + key->at;
    const size_t bytes = key->type == 'x' ? strcspn(value, "x") : strlen(value);
    const char *second = value[bytes] ? value + bytes + 1 : value;
    int v = key->words ? alo_word_index(key->words, value) : -1;
    double x = 0;
    if (key->type == 'f') {
        if (!alo_number(value, &x) || !(x > 0 && x < 1)) return false;
        c->eps = (float)x;
        return true;
    }
    if (!key->words && !alo_index(value, bytes, &v)) return false;
    if (key->type == 'x' && !(alo_index(second, strlen(second), &c->width) && c->width > 0)) return false;
    if (v < key->least || (key->type == 'b' && v > 1)) return false;
    if (key->type == 'b')
        *(bool *)field = v == 1;
    else
        memcpy(field, &v, sizeof v);
    return true;
}

ALORE_API ALO_COLD alore_status alore_vit_parse(alore_ctx *ctx, const char *text, alore_vit_config *out,
                                                bool *classes_given) {
    const alore_status wrong = ALORE_ERR_ARGUMENT;
    const char *name, *known = NULL;
    alore_vit_config c = ALORE_ZERO;
    unsigned given = 0;
    if (classes_given) *classes_given = false;
    for (int i = 0; (name = alore_vit_name(i)) != NULL; ++i)
        if (strlen(name) == strcspn(text, ".") && !memcmp(name, text, strlen(name)))
            known = alo_vit_names[i][1];
    if (!known && strncmp(text, "vit:", 4))
        return alo_fail(ctx, wrong, NULL, "backbone \"%s\" is neither vit:key=value,... nor a known name",
                        text);
    for (text = (known ? known : text) + 4; *text;) {
        char key[16], value[32], all[160] = "";
        alo_text a = {key, sizeof key, 0}, b = {value, sizeof value, 0}, t = {all, sizeof all, 0};
        const size_t n = strcspn(text, "="), end = strcspn(text, ",");
        int k = 0;
        if (n >= end || n >= sizeof key || end - n - 1 >= sizeof value || end - n < 2)
            return alo_fail(ctx, wrong, NULL, "vit: \"%s\" is not key=value", text);
        alo_put(&a, text, n);
        alo_put(&b, text + n + 1, end - n - 1);
        for (; k < ALO_VIT_KEYS && strcmp(alo_vit_keys[k].name, key); ++k)
            alo_print(&t, k ? "|%s" : "%s", alo_vit_keys[k].name);
        if (k == ALO_VIT_KEYS) return alo_fail(ctx, wrong, NULL, "vit has no key %s; it has %s", key, all);
        if (given >> k & 1) return alo_fail(ctx, wrong, NULL, "vit: %s is given twice", key);
        given |= 1u << k;
        if (!alo_vit_set(&c, &alo_vit_keys[k], value))
            return alo_fail(ctx, wrong, NULL, "vit: %s=%s is out of range", key, value);
        text += end;
        if (*text == ',' && !*++text) return alo_fail(ctx, wrong, NULL, "vit: a comma at the end");
    }
    if (!c.dim || !c.depth)
        return alo_fail(ctx, wrong, NULL, "vit: %s must be given", c.dim ? "depth" : "dim");
    if (!c.heads && c.dim % 64)
        return alo_fail(ctx, wrong, NULL, "vit: heads must be given, since 64 does not divide dim=%d", c.dim);
    const bool classes = given >> 6 & 1; /* the seventh key */
    c.no_head = classes && !c.classes;
    c = alore_vit_defaults(&c);
    if (classes_given) *classes_given = classes;
    if (c.height % c.patch || c.width % c.patch)
        return alo_fail(ctx, wrong, NULL, "vit: patch=%d does not divide img=%dx%d", c.patch, c.height,
                        c.width);
    if (c.dim % c.heads)
        return alo_fail(ctx, wrong, NULL, "vit: heads=%d do not divide dim=%d", c.heads, c.dim);
    *out = c;
    return ALORE_OK;
}

ALORE_API size_t alore_vit_text(const alore_vit_config *config, char *out, size_t bytes) {
    alore_vit_config c = alore_vit_defaults(config);
    alo_text t = {out, bytes, 0};
    if (c.no_head) c.classes = 0;
    alo_print(&t, "vit:img=%dx%d", c.height, c.width);
    for (const struct alo_vit_key *k = alo_vit_keys + 1; k->type != 'f'; ++k) {
        const char *field = (const char *)&c + k->at;
        int v = k->type == 'b' && *(const bool *)field;
        if (k->type == 'i') memcpy(&v, field, sizeof v);
        if (!v && k > alo_vit_keys + 6) continue; /* as it is by default */
        alo_print(&t, k->words ? ",%s=" : ",%s=%d", k->name, v);
        alo_put_word(&t, k->words, v);
    }
    if (c.eps < 0.99e-6f || c.eps > 1.01e-6f) alo_print(&t, ",eps=%g", (double)c.eps);
    return t.used;
}

/* An extent of a checkpoint's tensor; 0 where there is no such tensor or axis. */
static int alo_extent(const alore_weights *w, const char *name, int axis) {
    const alore_tensor *t = alore_weights_find(w, name);
    return t && axis < t->rank && t->dims[axis] <= 1 << 24 ? (int)t->dims[axis] : 0;
}

ALORE_API void alore_vit_biases(const alore_weights *w, alore_vit_config *config) {
    config->no_qkv_bias = config->depth > 0 && !alore_weights_find(w, "blocks.0.attn.qkv.bias");
    config->patch_bias = alore_weights_find(w, "patch_embed.proj.bias") != NULL;
}

ALORE_API alore_status alore_vit_detect(alore_ctx *ctx, const alore_weights *w, alore_vit_config *out) {
    alore_vit_config c = ALORE_ZERO;
    int rows = alo_extent(w, "pos_embed", 1), grid = 0;
    c.dim = alo_extent(w, "patch_embed.proj.weight", 0);
    c.patch = alo_extent(w, "patch_embed.proj.weight", 2);
    if (!c.dim || !c.patch || !alo_extent(w, "cls_token", 2) || !rows)
        return alo_fail(ctx, ALORE_ERR_NAME, NULL, "no network is recognised: a ViT has %s",
                        "patch_embed.proj.weight, cls_token and pos_embed");
    for (char name[64] = "blocks.0.norm1.weight"; alore_weights_find(w, name);) {
        alo_text t = {name, sizeof name, 0};
        alo_print(&t, "blocks.%d.norm1.weight", ++c.depth);
    }
    c.registers = alo_extent(w, "reg_token", 1);
    rows -= !c.registers;
    while ((grid + 1) * (grid + 1) <= rows) ++grid;
    if (!rows || grid * grid != rows || grid > (1 << 12) / c.patch)
        return alo_fail(ctx, ALORE_ERR_SHAPE, "pos_embed", "%d patches, no square; name the backbone", rows);
    c.height = c.width = grid * c.patch;
    c.hidden = alo_extent(w, "blocks.0.mlp.fc2.weight", 1);
    if (!c.hidden || c.dim % 64)
        return alo_fail(ctx, ALORE_ERR_SHAPE, NULL, "a width of %d tells no heads; name the backbone", c.dim);
    c.swiglu = alo_extent(w, "blocks.0.mlp.fc1.weight", 0) == 2 * c.hidden;
    c.layer_scale = alore_weights_find(w, "blocks.0.ls1.gamma") != NULL;
    c.mean_pool = alore_weights_find(w, "fc_norm.weight") != NULL;
    c.pre_norm = alore_weights_find(w, "norm_pre.weight") != NULL;
    c.act = c.pre_norm ? ALORE_QUICK_GELU : ALORE_GELU; /* CLIP */
    c.eps = c.pre_norm ? 1e-5f : 0;
    c.classes = alo_extent(w, "head.weight", 0);
    c.no_head = !c.classes;
    alore_vit_biases(w, &c);
    *out = alore_vit_defaults(&c);
    return ALORE_OK;
}

/* ============================================================================
 * >> 20 planner
 * From a model to records in execution order with addresses, by small passes, each a loop over records.
 * Records fall into four phases: those that depend on no sample run once, then the sample's forward and
 * backward, then the once records' backward, when the slots of gradients are summed. */

/* clang-format off */
enum { ALO_MAX_SLOTS = 8, ALO_SLOT_LIMIT = 64 << 20 }; /* of gradients; their bytes */
#ifndef ALO_GRAIN              /* numbers of a record that pay for a thread; tests have fewer */
#define ALO_GRAIN 16384
#endif
#ifndef ALO_FEW                /* numbers that are not worth storing in fewer bytes; tests have fewer */
#define ALO_FEW 4096
#endif

typedef struct alo_mark {      /* what the passes know of a tensor                  */
    int32_t grad, producer;    /* 0: none yet; the forward op that makes it, -1     */
    int32_t first, last, reads;/* live range, in records of a sample; how often     */
                               /* (before the pieces: rows first .. last-1 are read) */
    int32_t store, twin;       /* whose place it takes; what stands for it          */
    bool    need, written;     /* of a gradient; a gradient that a piece wrote      */
    bool    wanted, kept;      /* by a later op; for readers outside its block      */
} alo_mark;

typedef struct alo_hole {      /* in a lane: what tensors share, or one record's scratch */
    int32_t tensor;            /* or minus the record                               */
    int     first, last;       /* the union of its lives, in records                */
    size_t  bytes, offset;
} alo_hole;

struct alore_plan {
    alo_object      object;
    alore_plan_opts opts;
    alore_memory    memory;
    alo_tensor     *tensors;
    alo_op         *ops;       /* an op's `site` is the offset of its name          */
    alo_attr       *attrs;
    alo_param      *params;    /* base tensors, learning and frozen ones            */
    alo_hole       *holes;     /* the larger ones first                             */
    size_t         *scratch_at, *scratch_each; /* of each record, in the lane; bytes of a part */
    char           *names;
    int tensor_count, op_count, attr_count, tensor_room, op_room, attr_room, param_count, hole_count;
    int once, forward, backward; /* ends of the first three phases; the rest is after */
    int cut, crossing_count;   /* the records once .. cut-1 depend on the sample alone */
    int32_t *crossing;         /* tensors that they make and others read            */
    int slots, listed;         /* parameters but for base tensors                   */
    size_t real, lane;         /* bytes of a number, of a lane                      */
    size_t learns, frozen, grads; /* numbers in the flat arrays, in a slot of gradients */
    size_t at_params, at_frozen, at_moments, at_once, at_grads, at_io, at_arena;
    double flops, grains;      /* of a sample; time of a group, in grains           */
    int32_t rules, backbone;   /* offsets in `names`                                */
    alore_kernel kernels[ALO_K_COUNT];
    const void *rows_fn;
    const alo_level *level;    /* NULL: reference, double, or a backend             */
    uint8_t form, own;         /* ALO_PACK_ of packed weights; what the CPU has     */
};

typedef struct alo_base {      /* a base tensor in a run's memory                   */
    const void *data;
    uintptr_t packed;          /* it stands in panels                               */
} alo_base;

typedef struct alo_planner {
    const alore_model *m;
    alore_plan  *p;
    alo_mark    *marks;        /* one for each of the plan's tensors                */
    int mark_count, mark_room, recompute; /* of how many blocks, earliest first     */
    int lanes, fewest;         /* that there is work for; that may run              */
    alore_status status;
} alo_planner;
/* clang-format on */

/* Insert an element into one of the lists of `of`, which is the plan or its planner. */
#define ALO_PLAN_ADD(s, of, name, at, element) \
    ((s)->status = alo_list_add(&(s)->p->object, &(of)->name##s, &(of)->name##_count, &(of)->name##_room, \
                                at, &(element), sizeof(element)) ? (s)->status : ALORE_ERR_MEMORY)

/* A new tensor like `like`, anonymous, with marks. Index 0 is "none". */
static int32_t alo_plan_tensor(alo_planner *s, alo_tensor like) {
    const int32_t id = s->p->tensor_count;
    alo_mark mark = ALORE_ZERO;
    mark.producer = -1;
    like.flags = (uint16_t)(like.flags & ~(ALO_INPUT | ALO_OUTPUT | ALO_LEARNS));
    like.name = 0;
    if (!(like.flags & ALO_VIEW)) like.root = id;
    if (!s->status) ALO_PLAN_ADD(s, s, mark, id, mark);
    if (!s->status) ALO_PLAN_ADD(s, s->p, tensor, id, like);
    return s->status ? 0 : id;
}

/* A whole tensor of rows x cols: a lane's, for each sample, or (ONCE) one for all. */
static int32_t alo_plan_whole(alo_planner *s, int segment, int rows, int cols) {
    const int flags = segment == ALO_ARENA ? ALO_PER_SAMPLE : 0;
    const alo_tensor t = {(uint8_t)segment, 0, (uint16_t)flags, rows, cols, cols, 0, 0, 0, 0};
    return alo_plan_tensor(s, t);
}

/* Memory of the plan's own, a copy of `data` (NULL: zeros); NULL where memory fails. */
static void *alo_plan_keep(alo_planner *s, const void *data, size_t bytes) {
    void *own = alo_keep(&s->p->object, bytes, data, data ? bytes : 0);
    if (!own) s->status = ALORE_ERR_MEMORY;
    return own;
}

static int32_t alo_plan_attr(alo_planner *s, alo_attr attr) {
    ALO_PLAN_ADD(s, s->p, attr, s->p->attr_count, attr);
    return s->status ? 0 : s->p->attr_count - 1;
}

static void alo_insert(alo_planner *s, int at, alo_op op) { ALO_PLAN_ADD(s, s->p, op, at, op); }

/* Append zero or copy, which no row names, on behalf of op `by`; NULL: ones, nobody's. */
static void alo_append_plain(alo_planner *s, int code, const alo_op *by, int32_t in, int32_t out) {
    const int attr = by ? 0 : 1; /* the number that zero fills with */
    const alo_op op = {(uint16_t)code, 0, {in}, {out}, attr, by ? by->site : 0, by ? by->block : -1};
    s->marks[out].written = true;
    alo_insert(s, s->p->op_count, op);
}

static int32_t alo_operand(const alo_op *op, int k) { return (k < ALO_IN ? op->in : op->out)[k % ALO_IN]; }
static int32_t alo_root(const alo_planner *s, int32_t t) { return s->p->tensors[t].root; }
static alo_mark *alo_root_mark(const alo_planner *s, int32_t t) { return &s->marks[alo_root(s, t)]; }

/* A whole tensor of a lane? */
static bool alo_is_own(const alo_planner *s, int32_t t) {
    return s->p->tensors[t].segment == ALO_ARENA && !(s->p->tensors[t].flags & ALO_VIEW);
}

/* May x share the gradient of a sum that it is a term of? In a lane; or made once, with no other reader. */
static bool alo_shares(const alo_planner *s, int32_t x) {
    const alore_plan *p = s->p;
    int n = 0; /* readers */
    if (p->tensors[x].segment != ALO_ONCE || p->tensors[x].flags & ALO_VIEW) return alo_is_own(s, x);
    for (int i = 0; i < ALO_IN * p->forward; ++i) n += alo_root(s, p->ops[i / ALO_IN].in[i % ALO_IN]) == x;
    return n == 1;
}

static bool alo_same_extent(const alo_planner *s, int32_t a, int32_t b) {
    const alo_tensor *x = &s->p->tensors[a], *y = &s->p->tensors[b];
    return x->rows == y->rows && x->cols == y->cols && !((x->flags ^ y->flags) & ALO_PER_SAMPLE);
}

/* What stands for t: of a view a view of what stands for its root; t itself where nothing does. */
static int32_t alo_twin(alo_planner *s, int32_t t) {
    int32_t twin = alo_root_mark(s, t)->twin;
    alo_tensor view = s->p->tensors[t];
    if (!twin || s->marks[t].twin) return twin ? s->marks[t].twin : t;
    view.root = alo_root(s, twin);
    view.column += s->p->tensors[twin].column;
    twin = alo_plan_tensor(s, view);
    s->marks[t].twin = twin;
    return twin;
}

/* Pass 1: reach. Masks vanish where nothing is trained. */
static void alo_pass_reach(alo_planner *s) {
    const alore_model *m = s->m;
    alore_plan *p = s->p;
    for (int i = m->op_count - 1; i >= 0; --i) {
        const alo_op *op = &m->ops[i];
        alo_mark *made = &s->marks[op->out[0]];
        for (int k = 0; k < ALO_OUT; ++k)
            if (m->tensors[op->out[k]].flags & ALO_OUTPUT || s->marks[op->out[k]].wanted) made->wanted = true;
        for (int k = 0; k < ALO_IN && made->wanted; ++k)
            if (op->in[k]) alo_root_mark(s, op->in[k])->wanted = true;
    }
    for (int i = 0; i < 2 * m->op_count; ++i) { /* the once records, then a sample's */
        alo_op op = m->ops[i % m->op_count];
        const alo_tensor *y = &m->tensors[op.out[0]];
        const bool once = i < m->op_count, view = m->tensors[op.in[0]].flags & ALO_VIEW;
        if (i == m->op_count) p->once = p->op_count;
        if (!s->marks[op.out[0]].wanted || once != !(y->flags & ALO_PER_SAMPLE)) continue;
        for (int k = 0; k < ALO_IN; ++k) {
            op.in[k] = alo_twin(s, op.in[k]);
            if (alo_root_mark(s, op.in[k])->need) s->marks[op.out[0]].need = true;
        }
        if (!p->opts.train && (op.code == ALO_K_dropout || op.code == ALO_K_drop_path)) {
            if (!view && !(y->flags & ALO_OUTPUT)) s->marks[op.out[0]].twin = op.in[0];
            if (s->marks[op.out[0]].twin) continue;
            op.code = ALO_K_scale; /* by one: an output; and views of y cannot be views of a view */
            op.attr = 1;
        }
        for (int k = 0; k < ALO_OUT && op.out[k]; ++k) {
            alo_tensor *made = &p->tensors[op.out[k]];
            made->segment = once ? ALO_ONCE : made->flags & ALO_OUTPUT ? ALO_IO : ALO_ARENA;
            s->marks[op.out[k]].producer = p->op_count;
        }
        op.site = op.site < 0 ? 0 : m->sites[op.site].name;
        alo_insert(s, p->op_count, op);
    }
    p->forward = p->backward = p->op_count;
}

/* Who makes a tensor in the forward, and how often it is read. */
static void alo_tally(alo_planner *s) {
    alore_plan *p = s->p;
    for (int t = 0; t < p->tensor_count; ++t) s->marks[t].reads = 0;
    for (int i = 0; i < p->op_count; ++i) {
        for (int k = 0; k < ALO_IN; ++k) ++alo_root_mark(s, p->ops[i].in[k])->reads;
        for (int k = 0; k < ALO_OUT && i < p->forward; ++k)
            if (p->ops[i].out[k]) s->marks[p->ops[i].out[k]].producer = i;
    }
}

/* The inputs of which an op asks only the rows that are asked of its output, as letters; "": all of all. */
static const char *alo_row_letters(const alo_planner *s, const alo_op *op) {
    const alo_attr *a = &s->p->attrs[op->attr];
    const int c = op->code;
    const bool pair = c == ALO_K_drop_path || c == ALO_K_add || c == ALO_K_mul || c == ALO_K_add_columns;
    const bool alone = c == ALO_K_kron || c == ALO_K_norm || c == ALO_K_affine || c == ALO_K_unary ||
                       c == ALO_K_scale || c == ALO_K_sparse || c == ALO_K_dropout;
    if (c == ALO_K_matmul) return a->n & 1 ? "" : "ad";
    if (c == ALO_K_attention) return a->m || a->values || op->in[3] ? "" : "a";
    return pair ? "ab" : alone ? "a" : "";
}

/* Rows first .. end-1 of its output are asked of an op: which ones that asks of its input k. */
static void alo_row_range(const alo_planner *s, const alo_op *op, int k, int *first, int *end) {
    const alo_attr *a = &s->p->attrs[op->attr];
    const int rows = s->p->tensors[op->in[k]].rows;
    const bool gather = op->code == ALO_K_gather, mean = op->code == ALO_K_mean_rows;
    if (rows > 1 && strchr(alo_row_letters(s, op), 'a' + k)) return;
    *first = gather ? rows - 1 : mean ? a->n : 0;
    *end = gather ? 1 : mean ? a->n + a->m : rows;
    for (int i = 0; gather && i < a->n * a->m; ++i) {
        if (a->table[i] >= 0 && a->table[i] < *first) *first = a->table[i];
        if (a->table[i] >= *end) *end = a->table[i] + 1;
    }
}

static bool alo_is_part(const alo_planner *s, int32_t y) {
    return s->marks[y].last - s->marks[y].first < s->p->tensors[y].rows;
}

/* Rows first .. end-1 of t, which is made from row `from` on, gathered before record `at` and those before it
 * that are made in part, too: so that fusing finds them. */
static int32_t alo_gather_rows(alo_planner *s, int at, int32_t t, int first, int end, int from) {
    alore_plan *p = s->p;
    alo_attr attr = alo_attr_of(0, end - first, 1, 0, 0);
    int32_t *table = (int32_t *)alo_plan_keep(s, NULL, alo_zu(attr.n) * sizeof *table);
    const int32_t y = alo_plan_whole(s, ALO_ARENA, attr.n, p->tensors[t].cols);
    for (int i = 0; table && i < attr.n; ++i) table[i] = first - from + i;
    attr.table = table;
    const alo_op op = {ALO_K_gather, 0, {t}, {y}, alo_plan_attr(s, attr), p->ops[at].site, p->ops[at].block};
    if (s->status) return 0;
    while (at > p->once && alo_is_part(s, p->ops[at - 1].out[0]) && p->ops[at - 1].out[0] != alo_root(s, t))
        --at;
    s->marks[y].last = attr.n;
    s->marks[y].need = alo_root_mark(s, t)->need;
    alo_insert(s, at, op);
    p->backward = ++p->forward;
    return y;
}

/* Does t have the rows of an output that may be made in part? */
static bool alo_has_demand(const alo_planner *s, int32_t t) {
    return s->p->tensors[alo_root(s, t)].segment == ALO_ARENA && !(s->p->tensors[t].flags & ALO_RESHAPED);
}

/* From the outputs backwards: which rows are asked of each tensor? Of more than half of them: all. */
static void alo_ask_rows(alo_planner *s) {
    const alore_plan *p = s->p;
    for (int i = p->forward - 1; i >= p->once; --i) {
        const alo_op *op = &p->ops[i];
        const alo_tensor *y = &p->tensors[op->out[0]];
        alo_mark *mark = &s->marks[op->out[0]];
        const int asked = mark->last - mark->first; /* a gather of zeros alone asks for less than none */
        const bool may = y->segment == ALO_ARENA && !(p->opts.off & ALORE_NO_DEMAND);
        const bool few = may && *alo_row_letters(s, op) && asked > 0 && asked <= y->rows / 2;
        if (!few) mark->first = 0;
        if (!few) mark->last = y->rows;
        s->marks[op->out[1]].first = mark->first;
        s->marks[op->out[1]].last = mark->last;
        for (int k = 0; k < ALO_IN; ++k) {
            alo_mark *x = alo_root_mark(s, op->in[k]);
            int first = mark->first, end = mark->last;
            if (op->in[k]) alo_row_range(s, op, k, &first, &end);
            if (!alo_has_demand(s, op->in[k])) first = 0;
            if (!alo_has_demand(s, op->in[k])) end = p->tensors[alo_root(s, op->in[k])].rows;
            if (!x->last || x->first > first) x->first = first;
            if (x->last < end) x->last = end;
        }
    }
}

/* Pass 2: demand. Only the rows that are asked for are made: one of all but keys and values in the last block
 * of a ViT. An op that reads fewer than there are gathers them first. */
static void alo_pass_demand(alo_planner *s) {
    alore_plan *p = s->p;
    alo_ask_rows(s);
    for (int i = p->once; i < p->forward && !s->status; ++i)
        for (int k = 0; k < ALO_IN && !s->status; ++k) {
            const alo_op *op = &p->ops[i];
            const int32_t t = op->in[k], y = op->out[0];
            const bool part = alo_has_demand(s, t);
            const int from = part ? alo_root_mark(s, t)->first : 0;
            const int past = part ? alo_root_mark(s, t)->last : p->tensors[t].rows;
            int first = s->marks[y].first, end = s->marks[y].last;
            alo_attr *a = &p->attrs[op->attr];
            if (!t) continue;
            if (op->code == ALO_K_dropout && alo_is_part(s, y)) {
                a->n = p->tensors[y].rows;
                a->m = first;
            }
            alo_row_range(s, op, k, &first, &end);
            if (op->code == ALO_K_mean_rows)
                a->n -= from;
            else if (op->code == ALO_K_gather) {
                const size_t count = alo_mul(alo_zu(a->n), alo_zu(a->m));
                int32_t *table = from ? (int32_t *)alo_plan_keep(s, a->table, count * sizeof *table) : NULL;
                for (size_t e = 0; table && e < count; ++e) table[e] -= table[e] < 0 ? 0 : from;
                if (table) a->table = table;
            } else if (from != first || past != end) {
                const int32_t rows = alo_gather_rows(s, i, t, first, end, from);
                p->ops[++i].in[k] = rows;
            }
        }
    for (int t = 1; t < p->tensor_count; ++t) {
        const alo_mark *mark = alo_root_mark(s, t);
        if (alo_has_demand(s, t) && mark->last) p->tensors[t].rows = mark->last - mark->first;
    }
    alo_tally(s);
}

/* Are columns first .. end-1 of gradient g written? Where only a part is, the rest is cleared for adding. */
static bool alo_covered(alo_planner *s, int32_t g, int first, int end, const alo_op *by) {
    for (int x = first, from, past; x < end; x = past) {
        alo_tensor gap = s->p->tensors[g];
        from = past = end; /* of the next columns that are written */
        for (int32_t t = g; t < s->p->tensor_count; ++t) {
            const alo_tensor *view = &s->p->tensors[t];
            const int at = view->column, after = at + view->cols;
            if (view->root != g || !s->marks[t].written || after <= x || at >= from) continue;
            from = at;
            past = after;
        }
        if (x == first && from == end) return false;
        if (from <= x) continue;
        past = from;
        gap.flags |= ALO_VIEW;
        gap.column = x;
        gap.cols = past - x;
        alo_append_plain(s, ALO_K_zero, by, 0, alo_plan_tensor(s, gap));
    }
    return true;
}

/* The gradient that a piece of forward op `by` writes for operand t, and whether it adds. */
static int32_t alo_grad_target(alo_planner *s, int32_t t, const alo_op *by, bool *add) {
    const int32_t root = alo_root(s, t), now = s->marks[by->out[0]].producer;
    alo_tensor of = s->p->tensors[root], view = s->p->tensors[t];
    const bool sum = of.segment == ALO_PARAM || of.segment == ALO_ONCE;
    const bool part = view.flags & ALO_VIEW && !(view.flags & ALO_RESHAPED);
    int32_t g = s->marks[root].grad, own = g;
    if (!g && of.segment == ALO_ONCE) {
        of.offset = s->p->grads;
        s->p->grads += alo_zu(of.rows) * alo_zu(of.cols);
    }
    of.segment = sum ? ALO_GRAD : ALO_ARENA;
    if (!g) own = alo_plan_tensor(s, of);
    /* a gradient that shares g as its alias and is still to be read keeps it; t's moves on */
    for (int i = 1; i < s->p->tensor_count && g && own == g && !sum; ++i)
        if (i != root && s->marks[i].grad == g && s->marks[i].producer <= now) {
            own = alo_plan_whole(s, ALO_ARENA, of.rows, of.cols);
            alo_append_plain(s, ALO_K_copy, by, g, own);
        }
    s->marks[root].grad = g = own;
    view.root = g;
    *add = sum || alo_covered(s, g, part ? view.column : 0, part ? view.column + view.cols : of.cols, by);
    t = view.flags & ALO_VIEW ? alo_plan_tensor(s, view) : g;
    s->marks[part ? t : g].written = true;
    return t;
}

/* Does a piece write two gradients that lie in the same columns of one tensor? */
static bool alo_meets(const alo_planner *s, const alo_op *op, const char *writes) {
    for (const char *a = writes; *a >= 'A' && *a <= 'F'; ++a)
        for (const char *b = a + 1; *b; ++b) {
            const alo_tensor *x = &s->p->tensors[op->in[*a - 'A']], *y = &s->p->tensors[op->in[*b - 'A']];
            const bool apart = x->column >= y->column + y->cols || y->column >= x->column + x->cols;
            const bool whole = (x->flags | y->flags) & ALO_RESHAPED;
            if (x->root && x->root == y->root && (whole || !apart)) return true;
        }
    return false;
}

/* Pieces stand behind their forward row, up to the next one. */
static bool alo_is_piece(int code) { return strspn(alo_kernel_rows[code].writes, "ABCDEFtu") > 0; }

/* A piece is wanted for a gradient it writes, or for a later one that reads what it hands on. */
static bool alo_piece_wanted(const alo_planner *s, const alo_op *op, int code) {
    const bool hands = *alo_kernel_rows[code].writes == 't';
    do {
        const alo_kernel_row *row = &alo_kernel_rows[code];
        for (const char *w = row->writes; *w && (!hands || strpbrk(row->reads, "tu")); ++w)
            if (*w <= 'F' && alo_root_mark(s, op->in[*w - 'A'])->need) return true;
    } while (hands && alo_is_piece(++code));
    return false;
}

/* Emit the pieces of forward op `now`, if its output has a gradient g. What only passes g on shares it. */
static void alo_emit_pieces(alo_planner *s, int now) {
    const alo_op op = s->p->ops[now];
    const alo_attr *a = &s->p->attrs[op.attr];
    const alo_tensor y = s->p->tensors[op.out[0]];
    const int32_t g = s->marks[op.out[0]].grad;
    const int segment = y.flags & ALO_PER_SAMPLE ? ALO_ARENA : ALO_ONCE;
    int32_t of[26] = {0}; /* the operand of each small letter */
    if (!g) return;
    const bool local = s->p->tensors[g].segment == ALO_ARENA;
    const bool passes = !(s->p->opts.off & ALORE_NO_ALIAS) && (local || segment == ALO_ONCE);
    if (local) (void)alo_covered(s, g, 0, s->p->tensors[g].cols, &op); /* what nobody wrote is zero */
    memcpy(of, op.in, sizeof op.in);
    memcpy(&of['y' - 'a'], op.out, 2 * sizeof *of);
    of['g' - 'a'] = g;
    for (int code = op.code + 1; alo_is_piece(code) && !s->status; ++code) {
        const alo_kernel_row *row = &alo_kernel_rows[code];
        alo_op piece = {(uint16_t)code, 0, {0}, {0}, op.attr, op.site, op.block};
        const bool meets = alo_meets(s, &op, row->writes);
        if (!alo_piece_wanted(s, &op, code)) continue;
        if (passes && (op.code == ALO_K_add || code == ALO_K_add_columns_da)) {
            const int32_t x = op.in[*row->writes - 'A'];
            const bool alias = !s->marks[x].grad && alo_shares(s, x) && alo_same_extent(s, x, op.out[0]);
            if (alias) s->marks[x].grad = g;
            if (alias) continue;
        }
        for (int k = 0; row->reads[k]; ++k) piece.in[k] = of[row->reads[k] - 'a'];
        for (int k = 0; row->writes[k]; ++k) {
            const char w = row->writes[k];
            bool add = false;
            if (w == 't' || w == 'u') { /* kron_mix hands on dZ [rows, Q n r] and dT [rows, P n r] */
                const int cols = (w == 't' ? a->p : a->m) * a->n * a->q;
                piece.out[k] = of[w - 'a'] = alo_plan_whole(s, segment, y.rows, cols);
            } else if (alo_root_mark(s, op.in[w - 'A'])->need)
                piece.out[k] = alo_grad_target(s, op.in[w - 'A'], &op, &add);
            if (piece.out[k] && !add && meets) alo_append_plain(s, ALO_K_zero, &op, 0, piece.out[k]);
            add = add || (piece.out[k] && meets); /* none of them comes first */
            if (add) piece.flags |= (uint16_t)(ALO_ADD_0 << k);
        }
        alo_insert(s, s->p->op_count, piece);
    }
}

/* Pass 3: pieces, of what needs a gradient. */
static void alo_pass_pieces(alo_planner *s) {
    alore_plan *p = s->p;
    int32_t loss = 0;
    if (!p->opts.train) return;
    for (int t = 1; t < s->m->tensor_count; ++t)
        if (p->tensors[t].flags & ALO_OUTPUT && !strcmp(p->names + p->tensors[t].name, "loss")) loss = t;
    const int rows = p->tensors[loss].rows, cols = p->tensors[loss].cols;
    alore_ctx *ctx = p->object.ctx;
    if (!loss)
        s->status = alo_fail(ctx, ALORE_ERR_ORDER, NULL, "a plan for training asks for an output named loss");
    else if (rows != 1 || cols != 1)
        s->status = alo_fail(ctx, ALORE_ERR_SHAPE, NULL, "the loss is %d x %d, not one number", rows, cols);
    else if (!s->marks[loss].need)
        s->status = alo_fail(ctx, ALORE_ERR_ORDER, NULL, "nothing learns: no rule reaches the loss");
    if (s->status) return;
    const int32_t g = alo_plan_whole(s, ALO_ARENA, 1, 1); /* which may move the marks */
    s->marks[loss].grad = g;
    alo_append_plain(s, ALO_K_zero, NULL, 0, g);
    p->backward = p->op_count;
    for (int i = p->forward - 1; i >= 0 && !s->status; --i) {
        alo_emit_pieces(s, i);
        if (i == p->once) p->backward = p->op_count; /* the rest is of once records */
    }
}

/* The first record of a sample behind i with t's storage among its operands k .. end-1; their end: none. */
static int alo_use(const alo_planner *s, int i, int k, int end, int32_t t) {
    while (++i < s->p->backward)
        for (int o = k; o < end; ++o)
            if (alo_root(s, alo_operand(&s->p->ops[i], o)) == alo_root(s, t)) return i;
    return s->p->backward;
}

/* Pass 4: fuse. What alone reads a product or drop path becomes a part of it: an add, a factor, or an
 * activation. Of that the product keeps the slope, in the place of what the piece would have read; where the
 * backward reads its result as well, what went in serves both better. */
static void alo_pass_fuse(alo_planner *s) {
    alore_plan *p = s->p;
    alo_tally(s);
    for (int i = p->once; i < p->backward && !(p->opts.off & ALORE_NO_FUSE); ++i) {
        alo_op *a = &p->ops[i];
        const int32_t y = a->out[0], reads = s->marks[y].reads;
        const bool product = a->code == ALO_K_matmul, back = a->code == ALO_K_matmul_da;
        int32_t *slot = &a->in[product ? 3 : back ? 2 : 1], *act = &p->attrs[a->attr].p;
        if ((!product && !back && a->code != ALO_K_drop_path) || *slot || a->flags) continue;
        const int next = alo_use(s, i, 0, ALO_IN, y), last = alo_use(s, next, 0, ALO_IN, y);
        alo_op *b = &p->ops[next], *c = &p->ops[last];
        if (next == p->backward || b->flags || !alo_is_own(s, y)) continue;
        if (!alo_same_extent(s, y, b->out[0]) || (b->in[0] != y && b->in[1] != y)) continue; /* or a view */
        if (alo_use(s, i, ALO_IN, ALO_OPERANDS, y) < next) continue; /* more is added to it */
        const int32_t other = b->in[b->in[0] == y];
        if (b->code == (back ? ALO_K_mul_da : ALO_K_add) && reads == 1 && other && other != y &&
            alo_same_extent(s, other, y) && alo_use(s, i - 1, ALO_IN, ALO_OPERANDS, other) >= next) {
            *slot = other;
        } else if (b->code == ALO_K_unary && product && !*act &&
                   (reads == 1 || (reads == 2 && last < p->backward && c->code == ALO_K_unary_dx &&
                                   alo_use(s, p->forward - 1, 0, ALO_IN, b->out[0]) == p->backward))) {
            *act = 1 + p->attrs[b->attr].n;
            if (reads == 2) a->out[1] = y;
            if (reads == 2) c->code = ALO_K_mul_da;
        } else
            continue;
        a->out[0] = b->out[0];
        if (next < p->forward) --p->forward;
        memmove(b, b + 1, alo_zu(p->op_count-- - next - 1) * sizeof *b);
        --p->backward;
        --i; /* the same record may fuse again */
    }
    alo_tally(s);
}

/* Could the backward make t again before record `at`, cheaply, from what is read there or later anyway? */
static bool alo_is_cheap(const alo_planner *s, int32_t t, int at) {
    const alore_plan *p = s->p;
    const int i = s->marks[t].producer;
    const alo_op *op = &p->ops[i < p->once ? p->once : i];
    const alo_tensor *of[ALO_OPERANDS];
    if (i < p->once || op->out[0] != t || p->tensors[t].segment != ALO_ARENA) return false;
    for (int k = 0; k < ALO_OPERANDS; ++k) {
        const int32_t x = alo_operand(op, k);
        of[k] = x ? &p->tensors[x] : NULL;
        const bool mine = k < ALO_IN && p->tensors[alo_root(s, x)].segment == ALO_ARENA;
        if (mine && alo_use(s, at - 1, 0, ALO_IN, x) == p->backward) return false;
    }
    return alo_cost(op->code, of, &p->attrs[op->attr]) <= alo_size_of(of[ALO_Y]);
}

/* Pass 5: again. What is cheap to make again is not kept: a norm's input stays, which its piece reads. */
static void alo_pass_again(alo_planner *s) {
    alore_plan *p = s->p;
    for (int t = 0; t < p->tensor_count; ++t) s->marks[t].twin = 0;
    for (int i = p->forward; i < p->backward && !(p->opts.off & ALORE_NO_AGAIN) && !s->status; ++i)
        for (int k = 0; k < ALO_IN; ++k) {
            const int32_t t = alo_root(s, p->ops[i].in[k]);
            const bool cheap = !s->marks[t].twin && alo_is_cheap(s, t, i);
            if (!cheap) p->ops[i].in[k] = alo_twin(s, p->ops[i].in[k]);
            if (!cheap) continue;
            alo_op op = p->ops[s->marks[t].producer];
            op.out[0] = alo_plan_tensor(s, p->tensors[t]);
            op.out[1] = 0;
            s->marks[t].twin = op.out[0];
            alo_insert(s, i, op);
            ++p->backward;
            k = -1; /* its inputs may be cheap, too */
        }
}

/* Does backward want an output again that is not kept? */
static bool alo_lost(const alo_planner *s, const alo_op *op) {
    for (int k = 0; k < ALO_OUT && op->out[k]; ++k)
        if (s->marks[op->out[k]].wanted && !s->marks[op->out[k]].kept) return true;
    return false;
}

/* The forward of block b again, into new tensors, before record `at`: what its backward asks for and nobody
 * outside the block, nor an output, keeps anyway. Returns where the record that was at `at` is now. */
static int alo_block_again(alo_planner *s, int b, int at) {
    alore_plan *p = s->p;
    for (int t = 0; t < p->tensor_count; ++t) {
        s->marks[t].wanted = false;
        s->marks[t].twin = 0;
        s->marks[t].kept = p->tensors[t].segment == ALO_IO;
    }
    for (int i = p->op_count - 1; i >= p->once; --i) { /* readers stand behind what they read */
        const alo_op *op = &p->ops[i];
        const bool wants = i >= p->forward || (op->block == b && alo_lost(s, op));
        for (int k = 0; k < ALO_IN; ++k) {
            alo_mark *mark = alo_root_mark(s, op->in[k]);
            if (mark->producer < p->once || p->ops[mark->producer].block != b) continue;
            mark->kept = mark->kept || op->block != b;
            mark->wanted = mark->wanted || wants;
        }
    }
    for (int i = p->once; i < p->forward && !s->status; ++i) {
        alo_op op = p->ops[i];
        if (op.block != b || !alo_lost(s, &op)) continue;
        for (int k = 0; k < ALO_IN; ++k) op.in[k] = alo_twin(s, op.in[k]);
        for (int k = 0; k < ALO_OUT && op.out[k]; ++k) {
            const int32_t old = op.out[k];
            alo_tensor like = p->tensors[old];
            like.segment = ALO_ARENA;
            op.out[k] = alo_plan_tensor(s, like);
            if (!s->marks[old].kept) s->marks[old].twin = op.out[k];
        }
        alo_insert(s, at++, op);
        ++p->backward;
    }
    return at;
}

/* Pass 6: recompute. The order of execution falls out of it. */
static void alo_pass_order(alo_planner *s) {
    alore_plan *p = s->p;
    for (int i = p->forward, doing = -1; i < p->backward && !s->status; ++i) {
        const int block = p->ops[i].block;
        if (block < 0 || block >= s->recompute) continue;
        if (block != doing) i = alo_block_again(s, block, i);
        doing = block;
        for (int k = 0; k < ALO_IN; ++k) p->ops[i].in[k] = alo_twin(s, p->ops[i].in[k]);
    }
    alo_tally(s);
    for (int i = 0; i < p->op_count; ++i) /* what stood by for the backward, and it did not ask */
        for (int k = 1; k < ALO_OUT; ++k) {
            int32_t *z = &p->ops[i].out[k];
            if (p->tensors[alo_root(s, *z)].segment == ALO_ARENA && !alo_root_mark(s, *z)->reads) *z = 0;
        }
}

static size_t alo_tensor_bytes(const alore_plan *p, const alo_tensor *t) {
    const size_t each = t->dtype ? alore_dtype_bytes((alore_dtype)t->dtype) : p->real;
    return alo_mul(alo_mul(alo_zu(t->rows), alo_zu(t->cols)), each);
}

/* The type in which output k of a forward op waits for the backward. Statistics of rows stay as they are. */
static alore_dtype alo_stored(const alo_planner *s, const alo_op *op, int k) {
    const alore_plan_opts *o = &s->p->opts;
    const bool slope = k == 1 && op->code == ALO_K_matmul, statistic = k && !slope && op->code != ALO_K_kron;
    if (!alo_is_own(s, op->out[k]) || statistic || alo_size_of(&s->p->tensors[op->out[k]]) < ALO_FEW)
        return ALORE_F32;
    return slope && o->slope8 ? ALORE_U8 : o->store;
}

/* Pass 7: store. What the forward leaves to the backward waits there in fewer bytes: narrowed behind its last
 * use in the forward, and for the backward widened into a twin, before its first use there. */
static void alo_pass_store(alo_planner *s) {
    alore_plan *p = s->p;
    for (int t = 0; t < p->tensor_count; ++t) s->marks[t].twin = 0;
    for (int i = p->forward - 1; i >= p->once; --i)
        for (int k = 0; k < ALO_OUT && !s->status; ++k) {
            alo_op op = p->ops[i];
            const int32_t t = op.out[k];
            const alore_dtype type = alo_stored(s, &op, k);
            const int use = type ? alo_use(s, p->forward - 1, 0, ALO_IN, t) : p->backward;
            int last = i;
            if (use == p->backward) continue;
            for (int next = i; next < p->forward; next = alo_use(s, next, 0, ALO_IN, t)) last = next;
            const int32_t few = alo_plan_tensor(s, p->tensors[t]), twin = alo_plan_tensor(s, p->tensors[t]);
            const alo_op narrow = {ALO_K_narrow, 0, {t}, {few}, 0, op.site, op.block};
            const alo_op widen = {ALO_K_widen, 0, {few}, {twin}, 0, op.site, op.block};
            if (s->status) return;
            p->tensors[few].dtype = (uint8_t)type;
            s->marks[t].twin = twin;
            alo_insert(s, use, widen);
            alo_insert(s, last + 1, narrow);
            ++p->forward;
            p->backward += 2;
        }
    for (int i = p->forward; i < p->backward && !s->status; ++i)
        for (int k = 0; k < ALO_IN; ++k) p->ops[i].in[k] = alo_twin(s, p->ops[i].in[k]);
}

/* Pass 8: live ranges; an output takes the place of an input that dies in its record. */
static void alo_pass_live(alo_planner *s) {
    alore_plan *p = s->p;
    for (int t = 0; t < p->tensor_count; ++t) {
        s->marks[t].first = s->marks[t].last = -1;
        s->marks[t].store = t;
    }
    for (int i = p->once; i < p->backward; ++i)
        for (int k = 0; k < ALO_OPERANDS; ++k) {
            alo_mark *mark = alo_root_mark(s, alo_operand(&p->ops[i], k));
            if (mark->first < 0) mark->first = i;
            mark->last = i;
        }
    for (int i = p->once; i < p->backward && !(p->opts.off & ALORE_NO_INPLACE); ++i) {
        const alo_kernel_row *row = &alo_kernel_rows[p->ops[i].code];
        const alo_op *op = &p->ops[i];
        alo_mark *y = &s->marks[op->out[0]];
        for (const char *w = row->over; *w && y->store == op->out[0]; ++w) {
            const int k = (int)(strchr(row->reads, *w) - row->reads);
            const alo_mark *x = &s->marks[op->in[k]];
            bool may = alo_is_own(s, op->in[k]) && alo_is_own(s, op->out[0]) &&
                       alo_same_extent(s, op->in[k], op->out[0]) && x->last == i && y->first == i;
            for (int o = 0; o < ALO_OPERANDS && may; ++o)
                may = o == k || o == ALO_IN || alo_root_mark(s, alo_operand(op, o))->store != x->store;
            if (!may) continue;
            y->store = x->store;
            s->marks[y->store].last = y->last;
        }
    }
}

/* Larger ones first, of one size earlier ones; of no bytes: none. */
static void alo_add_hole(alore_plan *p, int32_t tensor, int first, int last, size_t bytes) {
    const alo_hole x = {tensor, first, last, alo_align(bytes, alo_zu(p->opts.align)), 0};
    int i = bytes ? p->hole_count++ : 0;
    for (const alo_hole *h = &p->holes[i]; i > 0; p->holes[i--] = *h) {
        --h;
        if (h->bytes > x.bytes || (h->bytes == x.bytes && h->first <= first)) break;
    }
    if (bytes) p->holes[i] = x;
}

/* The time of a record for n samples, in grains. 16 operations count as a number. */
static double alo_grains(int code, const alo_tensor *const t[], const alo_attr *a, int n) {
    const bool whole = alo_kernel_rows[code].how == ALO_HOW_whole;
    const double cost = alo_cost(code, t, a) / 16, numbers = alo_size_of(t[0]) + alo_size_of(t[ALO_Y]);
    return (whole || cost > numbers ? cost : numbers) * n / ALO_GRAIN;
}

/* In how many parts its tasks run at once. */
static int alo_parts(const alore_plan *p, int code, const alo_tensor *const t[], const alo_attr *a, int n) {
    const double most = alo_grains(code, t, a, n);
    const int tasks = alo_tasks(code, t, a, n, p->level != NULL);
    const int parts = tasks < p->opts.split ? tasks : p->opts.split;
    return most < 2 ? 1 : most < parts ? (int)most : parts;
}

/* The work of record i, whose operands go to t. */
static double alo_record_cost(const alore_plan *p, int i, const alo_tensor *t[ALO_OPERANDS]) {
    const alo_op *op = &p->ops[i];
    for (int k = 0; k < ALO_OPERANDS; ++k)
        t[k] = alo_operand(op, k) ? &p->tensors[alo_operand(op, k)] : NULL;
    return alo_cost(op->code, t, &p->attrs[op->attr]);
}

/* How many groups one after another the busiest of so many lanes runs. */
static int alo_rounds(const alore_plan *p, int lanes) {
    const int groups = (p->opts.batch - 1) / p->opts.span + 1, stride = p->opts.train ? p->slots : lanes;
    int rounds = 0;
    for (int first = 0; first < stride; first += lanes) rounds += (groups - first - 1) / stride + 1;
    return rounds;
}

/* Pass 9: lanes. No more than there is work for; where one remains, records are split. So they are if lanes
 * would idle: a record in parts takes 1.1 times its grains by the parts, and a grain to meet. That leaves a
 * ViT-B 0.9 of its speed on 2 threads (seen: 0.92 in training, 0.95 forward), and 0.77 on 16. */
static void alo_pass_lanes(alo_planner *s) {
    alore_plan *p = s->p;
    alore_plan_opts *o = &p->opts;
    const alo_tensor *t[ALO_OPERANDS];
    const size_t fit = (size_t)ALO_SLOT_LIMIT / alo_mul(p->grads ? p->grads : 1, p->real);
    const int groups = (o->batch - 1) / o->span + 1;
    const bool choose = !o->split;
    double split = 0;
    p->slots = !o->train || fit < 1 ? 1 : fit < ALO_MAX_SLOTS ? (int)fit : (int)ALO_MAX_SLOTS;
    if (p->slots > groups) p->slots = groups;
    const int work = o->train ? p->slots : groups;
    if (choose) o->split = o->lanes;
    if (o->lanes > work) o->lanes = work;
    if (o->backend && o->backend->tasks && o->split > o->backend->tasks) o->split = o->backend->tasks;
    for (int i = p->once; i < p->backward; ++i) {
        const alo_attr *a = &p->attrs[p->ops[i].attr];
        (void)alo_record_cost(p, i, t);
        const int parts = alo_parts(p, p->ops[i].code, t, a, o->span);
        const double grains = alo_grains(p->ops[i].code, t, a, o->span);
        p->grains += grains;
        split += parts > 1 ? 1.1 * grains / parts + 1 : grains;
    }
    if (choose && split * groups < p->grains * alo_rounds(p, o->lanes)) o->lanes = 1;
    while (o->lanes > 1 && alo_rounds(p, o->lanes - 1) == alo_rounds(p, o->lanes)) --o->lanes;
    if (o->lanes > 1) o->split = 1;
    if (o->lanes == 1) p->grains = split;
    s->lanes = o->lanes;
    s->fewest = choose && o->limit ? 1 : o->lanes;
}

/* Pass 10: place, greedy by size, in the lane: tensors not in another's place, and scratch. */
static void alo_pass_place(alo_planner *s) {
    alore_plan *p = s->p;
    alore_memory *mem = &p->memory;
    p->holes = (alo_hole *)alo_plan_keep(s, NULL, alo_zu(p->tensor_count + p->op_count) * sizeof *p->holes);
    p->scratch_at = (size_t *)alo_plan_keep(s, NULL, alo_zu(p->op_count) * sizeof *p->scratch_at);
    p->scratch_each = (size_t *)alo_plan_keep(s, NULL, alo_zu(p->op_count) * sizeof *p->scratch_each);
    if (s->status) return;
    for (int i = p->op_count - 1; i >= 0; --i) {
        const alo_op *op = &p->ops[i];
        const alo_attr *a = &p->attrs[op->attr];
        const alo_tensor *t[ALO_OPERANDS];
        const bool sample = i >= p->once && i < p->backward;
        const double cost = alo_record_cost(p, i, t);
        if (sample) p->flops += cost;
        const size_t each = alo_scratch_bytes(op->code, t, a, p->opts.span, p->real);
        const int parts = alo_parts(p, op->code, t, a, sample ? p->opts.span : 1);
        p->scratch_each[i] = alo_align(each, alo_zu(p->opts.align));
        alo_add_hole(p, -i, sample ? i : 0, sample ? i : p->op_count,
                     alo_mul(p->scratch_each[i], alo_zu(parts)));
    }
    for (int t = 1; t < p->tensor_count; ++t) {
        const alo_mark *x = &s->marks[t];
        const size_t bytes = alo_mul(alo_tensor_bytes(p, &p->tensors[t]), alo_zu(p->opts.span));
        if (x->first >= 0 && x->store == t && alo_is_own(s, t)) alo_add_hole(p, t, x->first, x->last, bytes);
    }
    for (alo_hole *h = p->holes; h < p->holes + p->hole_count; ++h) {
        for (const alo_hole *o = p->holes; o < h;) { /* the lowest address that is free while it lives */
            const bool both = p->opts.off & ALORE_NO_REUSE || (o->first <= h->last && h->first <= o->last);
            const bool meet = both && h->offset < o->offset + o->bytes && o->offset < h->offset + h->bytes;
            if (meet) h->offset = o->offset + o->bytes;
            o = meet ? p->holes : o + 1;
        }
        if (h->bytes > SIZE_MAX - h->offset) h->bytes = SIZE_MAX - h->offset;
        if (h->offset + h->bytes > mem->activations) mem->activations = h->offset + h->bytes;
        if (h->tensor <= 0 && h->bytes > mem->scratch) mem->scratch = h->bytes;
        if (h->tensor <= 0) p->scratch_at[-h->tensor] = h->offset;
        if (h->tensor > 0) p->tensors[h->tensor].offset = h->offset;
    }
    for (int i = p->once; i < p->backward; ++i) {
        size_t live = 0;
        for (const alo_hole *h = p->holes; h < p->holes + p->hole_count; ++h)
            if (h->first <= i && i <= h->last) live = alo_sum(live, h->bytes);
        if (live > mem->live_bound) mem->live_bound = live;
    }
}

/* Does parameter i stand in panels in a packed set? If only products read it, as [out, in]. */
static bool alo_packs(const alore_plan *p, int i) {
    const int32_t t = p->params[i].tensor;
    bool read = false;
    if (p->params[i].segment != ALO_BASE || !p->level) return false;
#ifdef ALORE_BLAS
    if (p->form == ALO_PACK_F32) return false;
#endif
    for (const alo_op *op = p->ops; op < p->ops + p->op_count; ++op)
        for (int k = 0; k < ALO_OPERANDS; ++k) {
            const int32_t x = alo_operand(op, k);
            const alo_attr *a = &p->attrs[op->attr];
            if (!x || p->tensors[x].root != t) continue;
            if (op->code != ALO_K_matmul && op->code != ALO_K_matmul_da) return false;
            if (k != 1 || a->m > 1 || (a->n & 3) != 2 || x != t) return false;
            read = true;
        }
    return read;
}

/* The shape that base tensor i has in a file, or in a packed set: [panels, words, panel]. */
static alore_shape alo_base_shape(const alore_plan *p, int i, bool packed) {
    const alo_param *q = &p->params[i];
    const alo_tensor *t = &p->tensors[q->tensor];
    if (!packed || !alo_packs(p, i)) return q->shape;
    const int panel = p->level->panel, terms = alo_terms(p->form);
    const int words = (t->cols + terms - 1) / terms + (p->form == ALO_PACK_I8 ? 2 : 0);
    const alore_shape shape = {3, {(t->rows + panel - 1) / panel, words, panel, 1}};
    return shape;
}

/* Pass 11: report. Segments, and the sum of their bytes. */
static void alo_pass_report(alo_planner *s) {
    alore_plan *p = s->p;
    alore_plan_opts *o = &p->opts;
    alore_memory *mem = &p->memory;
    const size_t moments = o->train ? 2 - (size_t)o->optimizer : 0; /* ADAMW, MOMENTUM, SGD */
    const size_t align = alo_zu(o->align);
    for (int t = 1; t < p->tensor_count; ++t) {
        alo_tensor *x = &p->tensors[t];
        const bool io = x->segment == ALO_IO;
        size_t *end = io ? &mem->io : &mem->once;
        if (s->marks[t].store != t) x->offset = p->tensors[s->marks[t].store].offset;
        if (x->flags & ALO_VIEW || (!io && x->segment != ALO_ONCE)) continue;
        x->offset = *end;
        *end = alo_sum(*end, alo_mul(alo_tensor_bytes(p, x), io ? alo_zu(o->batch) : 1));
        *end = alo_align(*end, align);
    }
    for (int i = 0; i < p->param_count; ++i)
        if (p->params[i].segment == ALO_BASE)
            mem->base = alo_sum(mem->base, alo_mul(alo_count(alo_base_shape(p, i, true)), p->real));
    p->lane = mem->activations;
    mem->params = alo_mul(p->learns, p->real);
    mem->frozen = alo_mul(p->frozen, p->real);
    mem->optimizer = alo_mul(mem->params, moments);
    mem->grads = o->train ? alo_mul(alo_mul(p->grads, p->real), alo_zu(p->slots)) : 0;
    const size_t base = alo_mul(alo_zu(p->param_count), sizeof(alo_base));
    const size_t bytes[] = {base, mem->params, mem->frozen, mem->optimizer, mem->once, mem->grads, mem->io};
    size_t *const ends[] = {&p->at_params, &p->at_frozen, &p->at_moments, &p->at_once,
                            &p->at_grads,  &p->at_io,     &p->at_arena};
    for (size_t k = 0, at = 0; k < sizeof ends / sizeof *ends; ++k) /* each segment begins where one ends */
        *ends[k] = at = alo_align(alo_sum(at, bytes[k]), align);
    do {
        mem->arena = alo_mul(p->lane, alo_zu(o->lanes));
        mem->total = alo_align(alo_sum(p->at_arena, mem->arena), align);
    } while (mem->total > o->limit && o->lanes > s->fewest && o->lanes--);
}

/* Does record i depend on a parameter or on chance? Marks what it makes. */
static bool alo_changes(alo_planner *s, int i) {
    const alo_op *op = &s->p->ops[i];
    bool changes = op->code == ALO_K_dropout || op->code == ALO_K_drop_path;
    for (int k = 0; k < ALO_IN; ++k) changes = changes || alo_root_mark(s, op->in[k])->wanted;
    for (int k = 0; k < ALO_OUT; ++k)
        if (op->out[k]) alo_root_mark(s, op->out[k])->wanted = changes;
    return changes;
}

/* Bytes of a sample that records before `at` touch and later ones, or the caller, read. They are listed. */
static size_t alo_cross(alo_planner *s, int at) {
    alore_plan *p = s->p;
    size_t bytes = 0;
    p->crossing_count = 0;
    for (int t = 1; t < p->tensor_count; ++t) {
        const alo_tensor *x = &p->tensors[t];
        const alo_mark *mark = &s->marks[t];
        const bool here = (x->segment == ALO_ARENA && mark->store == t) || x->segment == ALO_IO;
        if (!here || x->flags & ALO_VIEW || mark->first < 0 || mark->first >= at) continue;
        if (mark->last < at && !(x->flags & ALO_OUTPUT)) continue;
        p->crossing[p->crossing_count++] = t;
        bytes = alo_sum(bytes, alo_tensor_bytes(p, x));
    }
    return bytes;
}

/* Pass 12: cut. What comes before it is the same for a sample in every step. Of the cuts that leave 3/4 or
 * more of that work before them it is the one with most work for a byte. Below 1/50 of all work: none. */
static void alo_pass_cut(alo_planner *s) {
    alore_plan *p = s->p;
    const alo_tensor *of[ALO_OPERANDS];
    double all = 0, best = 0, before;
    int at = p->cut = p->once;
    p->crossing = (int32_t *)alo_plan_keep(s, NULL, alo_zu(p->tensor_count) * sizeof *p->crossing);
    if (!p->crossing || !p->opts.train || p->opts.backend) return;
    for (int t = 0; t < p->tensor_count; ++t)
        s->marks[t].wanted = p->tensors[t].segment == ALO_PARAM || p->tensors[t].segment == ALO_FROZEN;
    for (int i = 0; i < p->once; ++i) (void)alo_changes(s, i);
    for (; at < p->forward && !alo_changes(s, at); ++at) all += alo_record_cost(p, at, of);
    before = all < p->flops / 50 ? 0 : all;
    for (; at > p->once && before > 0.75 * all; before -= alo_record_cost(p, --at, of)) {
        const double score = before / (1.0 + (double)alo_cross(s, at));
        if (score > best) p->cut = at;
        if (score > best) best = score;
    }
    (void)alo_cross(s, p->cut);
}

ALORE_API void alore_plan_destroy(alore_plan *p) {
    if (p) alo_object_free(&p->object);
}

/* The plan's copy of the model, which it outlives; where parameters lie in their flat arrays. */
static void alo_take_over(alo_planner *s) {
    const alore_model *m = s->m;
    alore_plan *p = s->p;
    size_t base = 0;
    p->rules = m->rules_text;
    p->backbone = m->backbone;
    p->param_count = m->param_count;
    for (int a = 0; a < m->attr_count && !s->status; ++a) (void)alo_plan_attr(s, m->attrs[a]);
    p->params = (alo_param *)alo_plan_keep(s, m->params, alo_zu(m->param_count) * sizeof *m->params);
    p->names = (char *)alo_plan_keep(s, m->names, alo_zu(m->name_count));
    for (int t = 0; t < m->tensor_count && !s->status; ++t) {
        const int32_t id = alo_plan_tensor(s, m->tensors[t]);
        if (s->status) return;
        p->tensors[id] = m->tensors[t];
        s->marks[id].need = (m->tensors[t].flags & ALO_LEARNS) != 0;
    }
    for (int i = 0; i < m->table_count && !s->status; ++i) {
        const void *copy = alo_plan_keep(s, m->tables[i].data, m->tables[i].bytes);
        for (int a = 0; a < m->attr_count; ++a) {
            if (m->attrs[a].table == m->tables[i].data) p->attrs[a].table = (const int32_t *)copy;
            if (m->attrs[a].values == m->tables[i].data) p->attrs[a].values = (const float *)copy;
        }
    }
    for (int i = 0; i < p->param_count && !s->status; ++i) {
        const alo_param *q = &p->params[i];
        size_t *flat = q->segment == ALO_PARAM ? &p->learns : q->segment == ALO_FROZEN ? &p->frozen : &base;
        p->tensors[q->tensor].offset = q->segment == ALO_BASE ? alo_zu(i) : *flat;
        p->listed += q->segment != ALO_BASE;
        *flat = alo_sum(*flat, alo_count(q->shape));
    }
    p->grads = p->learns;
}

/* Kernels and inner products of the plan's level, or the backend's. */
static alore_status alo_choose_kernels(alore_ctx *ctx, alore_plan *p) {
    const alore_backend *b = p->opts.backend;
    const bool wide = p->opts.dtype == ALORE_F64, plain = wide || p->opts.reference;
    const alo_level *level = alo_level_of(ctx->config.isa);
    p->rows_fn = plain ? &alo_rows_f32_reference : &level->rows;
    p->level = plain || b ? NULL : level;
    const alore_dtype in = p->opts.precision;
    p->form = !in ? ALO_PACK_F32 : in == ALORE_BF16 ? ALO_PACK_BF16 : ALO_PACK_I8;
    p->own = (uint8_t)(ctx->config.isa >= ALORE_ISA_AVX512 ? alo_cpu() >> 8 : 0);
    if (in != ALORE_BF16) p->own &= (uint8_t)~ALO_OWN_BF16; /* attention's, too, are in f32 */
    if (in && (!p->level || p->level->panel < 4))
        return alo_fail(ctx, ALORE_ERR_UNSUPPORTED, NULL, "these kernels have products in F32 only");
    if (plain) memcpy(p->kernels, alo_table_f32, sizeof p->kernels);
    if (!plain) alo_level_kernels(level, p->kernels);
#ifdef ALO_NO_F64
    if (wide) return alo_fail(ctx, ALORE_ERR_UNSUPPORTED, NULL, "ALORE_NO_SIMD leaves out F64 kernels");
#else
    if (wide) p->rows_fn = &alo_rows_f64_reference;
    if (wide) memcpy(p->kernels, alo_table_f64, sizeof p->kernels);
#endif
    if (b && b->count != ALO_K_COUNT)
        return alo_fail(ctx, ALORE_ERR_UNSUPPORTED, NULL, "backend %s has %d kernels, this version %d",
                        b->name, b->count, (int)ALO_K_COUNT);
    if (b) memcpy(p->kernels, b->kernels, sizeof p->kernels);
    return ALORE_OK;
}

ALORE_API ALO_COLD alore_status alore_plan_create(const alore_model *m, const alore_plan_opts *by,
                                                  alore_plan **out) {
    static void (*const passes[])(alo_planner *) = {
        alo_take_over,  alo_pass_reach, alo_pass_demand, alo_pass_pieces, alo_pass_fuse,  alo_pass_again,
        alo_pass_order, alo_pass_store, alo_pass_live,   alo_pass_lanes,  alo_pass_place, alo_pass_report,
        alo_pass_cut};
    const alore_plan_opts none = ALORE_ZERO;
    alore_plan_opts o = by ? *by : none;
    alore_ctx *ctx = alo_ctx(m);
    alore_status status = ALORE_OK;
    size_t least = SIZE_MAX;
    double soonest = 0;
    bool done = false;
    const int most = m->block_count > 1 ? m->block_count - 1 : 0; /* the last block's forward just ran */
    *out = NULL;
    if (!m->finished) return alo_fail(ctx, ALORE_ERR_ORDER, NULL, "the model is not finished");
    if (!o.batch) o.batch = 1;
    if (!o.lanes) o.lanes = 1;
    if (!o.span) o.span = 1;
    if (!o.align) o.align = 64;
    if (o.batch < 1 || o.lanes < 1 || o.split < 0 || o.span < 1 || o.batch > 1 << 20 || o.align < 16 ||
        o.align > 4096 || o.align & (o.align - 1) || o.span > o.batch ||
        (o.dtype != ALORE_F32 && o.dtype != ALORE_F64))
        return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL,
                        "a plan in %s of batch %d, %d lanes, split %d, span %d, alignment %d",
                        alore_dtype_name(o.dtype), o.batch, o.lanes, o.split, o.span, o.align);
    if (o.precision && o.precision != ALORE_BF16 && (o.precision != ALORE_I8 || o.train))
        return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "no %s products in %s",
                        o.train ? "training" : "inference", alore_dtype_name(o.precision));
    if (o.store && o.store != ALORE_BF16)
        return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "nothing is stored in %s; F32 and BF16 are there",
                        alore_dtype_name(o.store));
    if (!o.train) o.recompute = ALORE_KEEP;
    const int first = o.recompute == ALORE_BLOCKS ? most : 0, last = o.recompute == ALORE_KEEP ? 0 : most;
    const int forms = o.limit && !o.split && o.lanes > 1 ? 3 : 1; /* as chosen; one lane, split and whole */
    for (int k = first; k <= last && !done; ++k)
        for (int form = 0; form < forms && !done; ++form) {
            alo_planner s = {m, NULL, NULL, 0, 0, k, 0, 0, ALORE_OK};
            s.p = (alore_plan *)alo_object_new(ctx, sizeof *s.p, alo_object_free);
            if (!s.p) alore_plan_destroy(*out), *out = NULL;
            if (!s.p) return ALORE_ERR_MEMORY;
            s.p->opts = o;
            if (form) s.p->opts.lanes = 1, s.p->opts.split = form == 1 ? o.lanes : 1;
            s.p->real = o.dtype == ALORE_F64 ? 8 : 4;
            s.status = alo_choose_kernels(ctx, s.p);
            for (size_t i = 0; i < sizeof passes / sizeof *passes && !s.status; ++i) passes[i](&s);
            alo_release(&s.p->object, s.marks);
            status = s.status;
            const size_t total = s.p->memory.total;
            const bool fits = !o.limit || total <= o.limit;
            const double time = status ? 0 : s.p->grains * alo_rounds(s.p, s.p->opts.lanes);
            const bool better = status || (fits && (!*out || time < soonest));
            least = total < least ? total : least;
            done = status || (fits && !form && s.p->opts.lanes == s.lanes);
            alore_plan_destroy(better ? *out : s.p);
            if (better) *out = s.p, soonest = time;
        }
    if (!status && !*out)
        status = alo_fail(ctx, ALORE_ERR_CAPACITY, NULL, "%z bytes are allowed, the least plan takes %z",
                          o.limit, least);
    if (!status && (*out)->memory.total == SIZE_MAX)
        status = alo_fail(ctx, ALORE_ERR_SHAPE, NULL, "the plan exceeds the address space");
    for (int i = 0; !status && i < (*out)->op_count; ++i) {
        const int k = (*out)->ops[i].code;
        if ((*out)->kernels[k]) continue;
        status = alo_fail(ctx, ALORE_ERR_UNSUPPORTED, NULL, "no kernel for %s", alo_kernel_rows[k].name);
    }
    if (status) alore_plan_destroy(*out);
    if (status) *out = NULL;
    return status;
}

ALORE_API alore_memory alore_plan_memory(const alore_plan *p) { return p->memory; }
ALORE_API alore_plan_opts alore_plan_options(const alore_plan *p) { return p->opts; }
ALORE_API double alore_plan_flops(const alore_plan *p) { return p->flops; }
ALORE_API int alore_plan_records(const alore_plan *p) { return p->op_count; }
ALORE_API size_t alore_trainable(const alore_plan *p) { return p->learns; }
ALORE_API int alore_param_count(const alore_plan *p) { return p->listed; }

ALORE_API alore_param_info alore_param_at(const alore_plan *p, int index) {
    const alore_param_info none = ALORE_ZERO;
    for (int i = 0; i < 2 * p->param_count; ++i) { /* the learning ones, then the frozen ones */
        const alo_param *q = &p->params[i % p->param_count];
        const size_t first = (size_t)p->tensors[q->tensor].offset, count = alo_count(q->shape);
        const bool frozen = i >= p->param_count, matrix = q->shape.rank > 1;
        const alore_param_info info = {p->names + q->name, first, count, q->shape, q->base, matrix, frozen};
        if (q->segment == (frozen ? ALO_FROZEN : ALO_PARAM) && !index--) return info;
    }
    return none;
}

/* A line for each record: of each operand the place, a type not the plan's, a view's root, "+=" if added. */
ALORE_API ALO_COLD alore_status alore_plan_print(const alore_plan *p, const alore_writer *w) {
    static const char *const phases[] = {"once", "forward", "backward", "after"};
    static const char *const segments[] = {"?", "base", "param", "frozen", "grad", "once", "io", "arena"};
    const alore_memory *mem = &p->memory;
    char text[1200]; /* an operand takes less than 70, a name less than 300 */
    alo_text t = {text, sizeof text, 0};
    alo_print(&t, "batch %d, lanes %d, split %d, span %d, slots %d, %d records, %z learn\n", p->opts.batch,
              p->opts.lanes, p->opts.split, p->opts.span, p->slots, p->op_count, p->learns);
    alo_print(&t, "bytes: base %z, params %z, frozen %z, grads %z, optimizer %z, once %z, io %z, ", mem->base,
              mem->params, mem->frozen, mem->grads, mem->optimizer, mem->once, mem->io);
    alo_print(&t, "activations %z, scratch %z, arena %z, total %z\n", mem->activations, mem->scratch,
              mem->arena, mem->total);
    bool fine = w->write(w->user, text, t.used);
    for (int i = 0; i < p->op_count && fine; ++i) {
        const alo_op *op = &p->ops[i];
        const alo_kernel_row *row = &alo_kernel_rows[op->code];
        const int phase = (i >= p->once) + (i >= p->forward) + (i >= p->backward);
        t.used = 0;
        alo_print(&t, "%d %s %s", i, phases[phase], row->name);
        for (int k = 0; k < ALO_OPERANDS; ++k) {
            const int32_t id = alo_operand(op, k);
            const alo_tensor *x = &p->tensors[id], *root = &p->tensors[x->root];
            if (k == ALO_IN) alo_print(&t, " ->");
            if (!id && k < (int)strlen(row->reads)) alo_print(&t, " -");
            if (id) alo_print(&t, " %d:%dx%d@%s", (int)id, x->rows, x->cols, segments[root->segment]);
            if (x->dtype) alo_print(&t, ":%s", alore_dtype_name((alore_dtype)x->dtype));
            if (x->flags & ALO_VIEW) alo_print(&t, "(%d)", (int)x->root);
            if (id && root->segment != ALO_BASE) alo_print(&t, "+%u", root->offset);
            if (k >= ALO_IN && op->flags >> (k - ALO_IN) & 1u) alo_print(&t, "+=");
        }
        alo_print(&t, op->site ? " %s\n" : "\n", p->names + op->site);
        fine = w->write(w->user, text, t.used);
    }
    return fine ? ALORE_OK : alo_fail(p->object.ctx, ALORE_ERR_IO, NULL, "the writer hook failed");
}

/* ============================================================================
 * >> 21 executor
 * Resolve segment and offset to pointers, call the kernel, next record. A lane runs a group of samples there
 * and back in its own arena. Group i's gradients go to slot i modulo the slots, and a slot's groups run in
 * order on one lane: sums have one order whatever the number of lanes and threads. Where there is one lane,
 * the tasks of a record are split; a sum is never. */

static double alo_get_real(const alore_plan *p, const void *array, size_t i) {
    return p->real == 8 ? ((const double *)array)[i] : (double)((const float *)array)[i];
}

static void alo_set_real(const alore_plan *p, void *array, size_t i, double v) {
    if (p->real == 8) ((double *)array)[i] = v;
    if (p->real == 4) ((float *)array)[i] = (float)v;
}

/* Where operand t of a record begins; of the base there is a table of pointers. */
static void *alo_resolve(const alore_run *run, int32_t t, int lane, int slot, int sample) {
    const alore_plan *p = run->plan;
    const alo_tensor *x = &p->tensors[t], *root = &p->tensors[x->root];
    const size_t offset = (size_t)root->offset, numbers = offset * p->real;
    const size_t at[] = {0, offset * sizeof(alo_base), p->at_params + numbers, p->at_frozen + numbers,
                         p->at_grads + alo_zu(slot) * p->grads * p->real + numbers, p->at_once + offset,
                         p->at_io + alo_zu(sample) * alo_tensor_bytes(p, root) + offset,
                         p->at_arena + alo_zu(lane) * p->lane + offset}; /* as the segments follow */
    unsigned char *begin = run->memory + at[root->segment];
    if (root->segment == ALO_BASE) memcpy(&begin, run->memory + at[ALO_BASE], sizeof begin);
    return begin + alo_zu(x->column) * p->real;
}

typedef struct alo_share { /* a record's tasks in parts, each with scratch of its own */
    const alore_call *c;
    alore_kernel kernel;
    int tasks, parts;
    size_t scratch;
} alo_share;

static void alo_share_run(void *arg, int part) {
    const alo_share *s = (const alo_share *)arg;
    const int first = (int)((int64_t)s->tasks * part / s->parts);
    const int last = (int)((int64_t)s->tasks * (part + 1) / s->parts);
    alore_call c = *s->c;
    c.scratch = (unsigned char *)c.scratch + alo_zu(part) * s->scratch;
    s->kernel(&c, first, last);
}

/* Run record i for a group of the pending samples; for none, if it depends on no sample. */
static void alo_record_run(const alore_run *run, int i, int lane, int group, bool split) {
    const alore_plan *p = run->plan;
    const alo_op *op = &p->ops[i];
    const alo_base *base = (const alo_base *)(const void *)run->memory;
    bool once = i < p->once || i >= p->backward;
    int sample = group * p->opts.span, left = once ? 1 : run->pending - sample;
    alore_call c = ALORE_ZERO;
    for (int k = 0; k < ALO_OPERANDS; ++k) {
        const int32_t t = alo_operand(op, k);
        if (!t) continue;
        const alo_tensor *root = &p->tensors[p->tensors[t].root];
        c.t[k] = &p->tensors[t];
        c.p[k] = alo_resolve(run, t, lane, group % p->slots, sample);
        if (k == 1 && root->segment == ALO_BASE && base[root->offset].packed) c.form = p->form;
    }
    c.attr = &p->attrs[op->attr];
    c.rows_fn = p->rows_fn;
    c.scratch = run->memory + p->at_arena + alo_zu(lane) * p->lane + p->scratch_at[i];
    c.own = p->own;
    c.user = p->opts.backend ? p->opts.backend->user : NULL;
    c.seed = run->seed;
    c.step = run->step;
    c.sample = run->samples + (uint64_t)sample;
    c.samples = left < p->opts.span ? left : p->opts.span;
    c.flags = op->flags;
    const int tasks = alo_tasks(op->code, c.t, c.attr, c.samples, p->level != NULL);
    alo_share s = {&c, p->kernels[op->code], tasks, 1, p->scratch_each[i]};
    if (split && p->opts.split > 1) s.parts = alo_parts(p, op->code, c.t, c.attr, c.samples);
    alo_parallel(run->ctx, alo_share_run, &s, s.parts);
}

static int alo_groups(const alore_run *run) { return (run->pending - 1) / run->plan->opts.span + 1; }

/* ---- Caches: a word of each item is 0, the place from 1 of the sample that brings it, or ALO_HELD ---- */
#define ALO_HELD UINT32_MAX

static uint32_t *alo_cache_word(const alore_cache *c, uint32_t item) {
    return item < c->kept ? (uint32_t *)(void *)c->memory + item : NULL;
}

ALORE_API bool alore_cache_holds(const alore_cache *cache, uint32_t item) {
    return item < cache->kept && *alo_cache_word(cache, item) == ALO_HELD;
}

/* Does a tensor go into the cache as BF16? */
static bool alo_is_rounded(const alo_tensor *t, alore_dtype dtype) {
    return dtype == ALORE_BF16 && t->dtype == ALORE_F32;
}

ALORE_API size_t alore_cache_bytes(const alore_plan *p, alore_dtype dtype) {
    size_t bytes = sizeof(uint32_t);
    for (int i = 0; i < p->crossing_count; ++i) {
        const alo_tensor *t = &p->tensors[p->crossing[i]];
        const size_t as = alo_tensor_bytes(p, t);
        bytes = alo_sum(bytes, alo_is_rounded(t, dtype) ? as / p->real * sizeof(uint16_t) : as);
    }
    return p->cut > p->once ? bytes : 0;
}

ALORE_API alore_status alore_cache_bind(alore_cache *cache, const alore_run *run, uint32_t items,
                                        alore_dtype dtype, void *memory, size_t bytes) {
    const size_t each = alore_cache_bytes(run->plan, dtype), fit = each ? bytes / each : 0;
    if (!each)
        return alo_fail(run->ctx, ALORE_ERR_UNSUPPORTED, NULL, "no frozen layers come before what learns");
    if ((dtype && dtype != ALORE_BF16) || items == ALO_HELD || (uintptr_t)memory % sizeof(uint32_t))
        return alo_fail(run->ctx, ALORE_ERR_ARGUMENT, NULL, "a cache is F32 or BF16, its memory aligned");
    cache->plan = run->plan;
    cache->weights = run->weights;
    cache->memory = (unsigned char *)memory;
    cache->each = each;
    cache->items = items;
    cache->kept = fit < items ? (uint32_t)fit : items;
    cache->dtype = dtype;
    if (cache->kept) memset(memory, 0, cache->kept * sizeof(uint32_t));
    return ALORE_OK;
}

/* At the cut: take what the cache has of a group's samples, give it what they bring. */
static void alo_cache_meet(const alore_run *run, int lane, int group) {
    const alore_plan *p = run->plan;
    const alore_cache *c = run->cache;
    const int first = group * p->opts.span, left = run->pending - first;
    for (int k = 0; k < p->opts.span && k < left; ++k) {
        const uint32_t item = run->items[first + k], *word = alo_cache_word(c, item);
        const bool held = word && *word == ALO_HELD, brings = word && *word == (uint32_t)(first + k) + 1;
        size_t at = c->kept * sizeof *word + item * (c->each - sizeof *word);
        for (int i = 0; i < p->crossing_count; ++i) {
            const alo_tensor *t = &p->tensors[p->crossing[i]];
            const size_t bytes = alo_tensor_bytes(p, t), count = bytes / p->real;
            const bool round = alo_is_rounded(t, c->dtype);
            unsigned char *x = (unsigned char *)alo_resolve(run, p->crossing[i], lane, 0, first + k);
            if (t->segment == ALO_ARENA) x += alo_zu(k) * bytes;
            if (!round && held) memcpy(x, c->memory + at, bytes);
            if (!round && brings) memcpy(c->memory + at, x, bytes);
            for (size_t j = 0; j < count && round; ++j) {
                uint16_t b = held ? 0 : alore_float_to_bfloat((float)alo_get_real(p, x, j));
                if (held) memcpy(&b, c->memory + at + j * sizeof b, sizeof b);
                if (brings) memcpy(c->memory + at + j * sizeof b, &b, sizeof b);
                alo_set_real(p, x, j, (double)alore_bfloat_to_float(b));
            }
            at += round ? count * sizeof(uint16_t) : bytes;
        }
    }
}

/* The first record of a group: the cut, if the cache has all its samples. */
static int alo_group_begin(const alore_run *run, int group) {
    const int first = group * run->plan->opts.span;
    for (int k = first; k < first + run->plan->opts.span && k < run->pending; ++k)
        if (!run->cache || !alore_cache_holds(run->cache, run->items[k])) return run->plan->once;
    return run->plan->cut;
}

/* Lane l takes slots l, l + lanes, ... and each slot's groups in order. Poison: what died reads as NaN. */
static void alo_lane_run(void *arg, int lane) {
    const alore_run *run = (const alore_run *)arg;
    const alore_plan *p = run->plan;
    const int stride = p->opts.train ? p->slots : p->opts.lanes;
    const int end = run->phases & ALORE_BACKWARD ? p->backward : p->forward;
    unsigned char *arena = run->memory + p->at_arena + alo_zu(lane) * p->lane;
    for (int first = lane; first < stride; first += p->opts.lanes)
        for (int group = first; group < alo_groups(run); group += stride) {
            if (run->poison) memset(arena, 0xff, p->lane);
            for (int i = alo_group_begin(run, group); i < end; ++i) {
                if (run->cache && i == p->cut) alo_cache_meet(run, lane, group);
                alo_record_run(run, i, lane, group, true);
                for (int k = 0; run->poison && k < p->hole_count; ++k)
                    if (p->holes[k].last == i) memset(arena + p->holes[k].offset, 0xff, p->holes[k].bytes);
            }
        }
}

static unsigned char *alo_grad_slot(const alore_run *run, int slot) {
    return run->memory + run->plan->at_grads + alo_zu(slot) * run->plan->grads * run->plan->real;
}

static void alo_forget(alore_run *run) {
    memset(alo_grad_slot(run, 0), 0, run->plan->memory.grads);
    run->samples = 0;
}

/* A loss that is not a number stops a backward pass at its end; its gradients are dropped. */
static alore_status alo_pass_close(alore_run *run) {
    const float *loss = run->phases & ALORE_BACKWARD ? alore_run_output(run, "loss") : NULL;
    if (run->phases & ALORE_BACKWARD) run->samples += (uint64_t)run->pending;
    run->phases = 0;
    for (int s = 0; s < run->pending && loss; ++s) {
        double v = alo_get_real(run->plan, loss, alo_zu(s));
        if (v > -1e300 && v < 1e300) continue;
        alo_forget(run);
        return alo_fail(run->ctx, ALORE_ERR_NONFINITE, NULL,
                        "the loss of item %d of the batch is not finite; nothing was changed", s);
    }
    return ALORE_OK;
}

ALORE_API alore_status alore_begin(alore_run *run, int phases, int samples) {
    const alore_plan *p = run->plan;
    if (phases & ALORE_BACKWARD && !p->opts.train)
        return alo_fail(run->ctx, ALORE_ERR_ORDER, NULL, "the plan is not for training");
    if (!samples) samples = p->opts.batch;
    if (samples < 0 || samples > p->opts.batch)
        return alo_fail(run->ctx, ALORE_ERR_ARGUMENT, NULL, "%d samples; the plan is for at most %d", samples,
                        p->opts.batch);
    for (int i = p->once; i < p->forward; ++i) { /* labels are checked here, so that the loss need not */
        const int32_t *in = p->ops[i].in;
        if (p->ops[i].code != ALO_K_xent) continue;
        int classes = p->tensors[in[0]].cols, rows = p->tensors[in[1]].rows;
        const int32_t *labels = (const int32_t *)alo_resolve(run, in[1], 0, 0, 0);
        for (int k = 0; k < samples * rows; ++k)
            if (labels[k] < 0 || labels[k] >= classes)
                return alo_fail(run->ctx, ALORE_ERR_ARGUMENT, NULL,
                                "item %d of the batch has label %d; there are %d classes", k / rows,
                                (int)labels[k], classes);
    }
    if (run->phases & ALORE_BACKWARD) alo_forget(run); /* a pass that never came to its end */
    run->phases = phases | ALORE_FORWARD;
    run->pending = samples;
    run->cursor_group = run->cursor_record = 0;
    return ALORE_OK;
}

ALORE_API alore_status alore_advance(alore_run *run, int records, bool *done) {
    const int end = run->phases & ALORE_BACKWARD ? run->plan->backward : run->plan->forward;
    *done = false;
    if (!run->phases) return alo_fail(run->ctx, ALORE_ERR_ORDER, NULL, "alore_begin comes first");
    for (; records > 0 && run->cursor_group < alo_groups(run); --records) {
        int i = run->cursor_record++;
        if (i < end) alo_record_run(run, i, 0, run->cursor_group, false);
        if (run->cursor_record < end) continue;
        run->cursor_record = run->plan->once;
        ++run->cursor_group;
    }
    *done = run->cursor_group >= alo_groups(run);
    return *done ? alo_pass_close(run) : ALORE_OK;
}

static alore_status alo_sweep(alore_run *run, int phases, int samples) {
    const alore_config *with = &run->ctx->config;
    const double start = with->clock ? with->clock(with->user) : 0;
    alore_status s = alore_begin(run, phases, samples);
    if (s != ALORE_OK) return s;
    for (int i = 0; i < run->plan->once; ++i) alo_record_run(run, i, 0, 0, true);
    alo_parallel(run->ctx, alo_lane_run, run, run->plan->opts.lanes);
    s = alo_pass_close(run);
    run->seconds = with->clock ? with->clock(with->user) - start : 0;
    return s;
}

ALORE_API alore_status alore_forward(alore_run *run, int n) { return alo_sweep(run, ALORE_FORWARD, n); }
ALORE_API alore_status alore_backward(alore_run *run, int n) { return alo_sweep(run, ALORE_BACKWARD, n); }
ALORE_API double alore_run_seconds(const alore_run *run) { return run->seconds; }

/* Of an item that is there twice the first brings it. What a pass that failed left in words says nothing. */
ALORE_API alore_status alore_backward_cached(alore_run *run, alore_cache *cache, const uint32_t *items,
                                             int n) {
    if (!n) n = run->plan->opts.batch;
    if (cache->plan != run->plan || cache->weights != run->weights)
        return alo_fail(run->ctx, ALORE_ERR_ARGUMENT, NULL, "the cache is of another plan, or other weights");
    for (int s = n - 1; s >= 0; --s) {
        uint32_t *word = alo_cache_word(cache, items[s]);
        if (items[s] >= cache->items)
            return alo_fail(run->ctx, ALORE_ERR_ARGUMENT, NULL, "item %u of a cache of %u",
                            (uint64_t)items[s], (uint64_t)cache->items);
        if (word && *word != ALO_HELD) *word = (uint32_t)s + 1;
    }
    run->cache = cache;
    run->items = items;
    const alore_status status = alo_sweep(run, ALORE_BACKWARD, n);
    run->cache = NULL;
    for (int s = 0; s < n && status == ALORE_OK; ++s)
        if (items[s] < cache->kept) *alo_cache_word(cache, items[s]) = ALO_HELD;
    return status;
}

/* The batch of the input or output (by `flag`) of that name, NULL: there is none. */
static void *alo_named(const alore_run *run, const char *name, unsigned flag) {
    const alore_plan *p = run->plan;
    for (int t = 1; t < p->tensor_count; ++t)
        if (p->tensors[t].flags & flag && !strcmp(p->names + p->tensors[t].name, name))
            return run->memory + p->at_io + p->tensors[t].offset;
    return NULL;
}

ALORE_API void *alore_run_input(alore_run *run, const char *name) { return alo_named(run, name, ALO_INPUT); }
ALORE_API const float *alore_run_output(const alore_run *run, const char *name) {
    return (const float *)alo_named(run, name, ALO_OUTPUT);
}

/* All of a tensor as the plan's numbers, if they are finite; `to` NULL: only look. */
static alore_status alo_take(const alore_run *run, const alore_tensor *t, void *to) {
    float part[256];
    size_t count = t->bytes / alore_dtype_bytes(t->dtype);
    for (size_t i = 0; i < count; i += 256) {
        size_t n = count - i < 256 ? count - i : 256;
        if (!alore_tensor_read(t, i, n, part))
            return alo_fail(run->ctx, ALORE_ERR_DTYPE, t->name, "%s: cannot compute with %s", t->name,
                            alore_dtype_name(t->dtype));
        for (size_t k = 0; k < n; ++k) {
            if ((alo_bits(part[k]) & 0x7f800000u) == 0x7f800000u)
                return alo_fail(run->ctx, ALORE_ERR_NONFINITE, t->name, "%s: number %u is not finite",
                                t->name, (uint64_t)(i + k));
            if (to) alo_set_real(run->plan, to, i + k, (double)part[k]);
        }
    }
    return ALORE_OK;
}

/* Has the tensor this shape? Where it has not, and is of a `file`, that is the error. */
static bool alo_is_shaped(const alore_run *run, const alore_tensor *t, alore_shape shape, const char *file) {
    char want[64], have[96];
    alo_text b = {have, sizeof have, 0};
    bool same = t->rank == shape.rank;
    for (int k = 0; same && k < t->rank; ++k) same = t->dims[k] == (uint64_t)shape.dims[k];
    if (same || !file) return same;
    for (int k = 0; k < t->rank; ++k) alo_print(&b, k ? ", %u" : "[%u", t->dims[k]);
    alo_print(&b, t->rank ? "]" : "[]");
    alo_fail(run->ctx, ALORE_ERR_SHAPE, t->name, "%s: the network has %s, the %s %s", t->name,
             alo_shape_text(want, shape), file, have);
    return false;
}

/* The file's tensor for parameter i, its shape checked; *out NULL: an unfrozen head that starts anew. */
static alore_status alo_base_tensor(const alore_run *run, int i, const alore_tensor **out) {
    const alo_param *q = &run->plan->params[i];
    const char *name = run->plan->names + q->name;
    const alore_tensor *t = alore_weights_find(run->weights, name);
    const alore_shape shape = alo_base_shape(run->plan, i, run->weights && run->weights->origin);
    const bool head = q->segment == ALO_PARAM && !strncmp(name, "head.", 5);
    *out = t && alo_is_shaped(run, t, shape, head ? NULL : "file") ? t : NULL;
    if (*out || head) return ALORE_OK;
    return t ? ALORE_ERR_SHAPE : alo_fail(run->ctx, ALORE_ERR_NAME, name, "the weights have no %s", name);
}

/* Bytes for a converted copy of t, base tensor i; 0: a kernel may read what the file has. */
static size_t alo_copy_bytes(const alore_plan *p, int i, const alore_tensor *t) {
    const bool aligned = (uintptr_t)t->data % sizeof(float) == 0;
    if (aligned && p->real == 4 && t->dtype == ALORE_F32 && alo_host_is_little()) return 0;
    return alo_mul(alo_count(p->params[i].shape), p->real);
}

/* Add a tensor of the set's own. Its bytes, zeroed or to be written, or NULL and *s says why. */
static unsigned char *alo_add_own(alore_weights *w, const char *name, alore_dtype dtype, alore_shape shape,
                                  bool zeroed, alore_status *s) {
    uint64_t dims[4];
    const alore_tensor t = {name, 0, NULL, 0, dims, shape.rank, dtype};
    for (int k = 0; k < 4; ++k) dims[k] = (uint64_t)shape.dims[k];
    *s = alo_weights_add(w, &t, zeroed);
    return *s == ALORE_OK ? (unsigned char *)alore_weights_data(w, name) : NULL;
}

/* ---- Packing: a tensor's panels are cut into tasks, each with rows of its own in f32 ---- */
typedef struct alo_packing {
    const alore_plan *p;
    const alore_tensor *from;
    const alo_tensor *t;       /* [out, in] */
    float *to, *rows;          /* a panel's rows for each task */
    size_t panel_words;
    int tasks;
    bool plain;                /* f32, aligned, of this byte order */
    bool finite[64];           /* of each task */
} alo_packing;

static void alo_pack_task(void *arg, int task) {
    alo_packing *w = (alo_packing *)arg;
    const size_t in = alo_zu(w->t->cols);
    const int panel = w->p->level->panel, panels = (w->t->rows + panel - 1) / panel;
    float *const room = w->rows + alo_zu(task) * alo_zu(panel) * in;
    uint32_t bad = 0;
    for (int q = panels * task / w->tasks; q < panels * (task + 1) / w->tasks; ++q) {
        const int n = w->t->rows - q * panel < panel ? w->t->rows - q * panel : panel;
        const size_t first = alo_zu(q) * alo_zu(panel) * in;
        const float *rows = w->plain ? (const float *)w->from->data + first : room;
        if (!w->plain && !alore_tensor_read(w->from, first, alo_zu(n) * in, room)) bad = 1;
        for (size_t k = 0; k < alo_zu(n) * in; ++k) bad |= (alo_bits(rows[k]) & 0x7f800000u) == 0x7f800000u;
        w->p->level->pack(w->p->form, w->to + alo_zu(q) * w->panel_words, rows, n, w->t->cols);
    }
    w->finite[task] = !bad;
}

ALORE_API alore_status alore_weights_pack(const alore_plan *p, const alore_weights *base,
                                          const alore_weights *mapped, alore_weights **packed) {
    alore_ctx *ctx = p->object.ctx;
    alore_run run = ALORE_ZERO;
    alo_packing w = ALORE_ZERO;
    size_t wide = 0;
    *packed = NULL;
    if (!p->level)
        return alo_fail(ctx, ALORE_ERR_UNSUPPORTED, NULL, "reference, F64 and backends read plain weights");
    alore_status s = alore_weights_create(ctx, packed);
    if (s != ALORE_OK) return s;
    if (base && base->origin) base = base->origin;
    run.ctx = ctx;
    run.plan = p;
    run.weights = base;
    w.p = p;
    w.tasks = ctx->config.threads < 1 ? 1 : ctx->config.threads > 64 ? 64 : ctx->config.threads;
    for (int i = 0; i < p->param_count; ++i)
        if (alo_packs(p, i)) wide = alo_most(wide, alo_zu(p->tensors[p->params[i].tensor].cols));
    const size_t room = alo_mul(alo_mul(wide, alo_zu(w.tasks) * ALO_PANEL), sizeof(float));
    w.rows = wide ? (float *)alo_new(ctx, room) : NULL;
    if (wide && !w.rows) s = ALORE_ERR_MEMORY;
    for (int i = 0; i < p->param_count && s == ALORE_OK; ++i) {
        const alo_param *q = &p->params[i];
        if (!q->base) continue;
        s = alo_base_tensor(&run, i, &w.from);
        if (s != ALORE_OK || !w.from) continue;
        if (q->segment != ALO_BASE) s = alore_weights_add(*packed, w.from);
        if (q->segment != ALO_BASE || s != ALORE_OK) continue;
        const alore_shape shape = alo_base_shape(p, i, true);
        const bool packs = alo_packs(p, i);
        const alore_dtype words = packs && p->form != ALO_PACK_F32 ? ALORE_U32 : ALORE_F32;
        w.to = (float *)(void *)alo_add_own(*packed, p->names + q->name, words, shape, false, &s);
        if (!w.to) continue;
        w.t = &p->tensors[q->tensor];
        w.plain = !alo_copy_bytes(p, i, w.from);
        w.panel_words = alo_zu(shape.dims[1]) * alo_zu(shape.dims[2]);
        if (packs) alo_parallel(ctx, alo_pack_task, &w, w.tasks);
        else s = alo_take(&run, w.from, w.to);
        for (int k = 0; k < w.tasks && s == ALORE_OK && packs; ++k)
            if (!w.finite[k]) s = alo_take(&run, w.from, NULL); /* which says what is wrong */
        if (mapped) alo_give_back(mapped, w.from);
    }
    alo_free(ctx, w.rows, room);
    (*packed)->origin = base;
    (*packed)->mapped = mapped;
    if (s == ALORE_OK) return s;
    alore_weights_destroy(*packed);
    *packed = NULL;
    return s;
}

/* Bind a run with its memory, and start from seed 0. `o` keeps copies of base tensors; NULL: none may be. */
static alore_status alo_bind(alore_run *run, const alore_plan *p, const alore_weights *base, alo_object *o) {
    if (base && base->origin && !p->level) base = base->origin;
    run->ctx = p->object.ctx;
    run->plan = p;
    run->weights = base;
    if (p->opts.precision && (!base || !base->origin))
        return alo_fail(run->ctx, ALORE_ERR_ORDER, NULL, "products in %s read weights of alore_weights_pack",
                        alore_dtype_name(p->opts.precision));
    memset(run->memory, 0, p->at_arena);
    for (int i = 0; i < p->param_count; ++i) {
        const alore_tensor *t;
        if (p->params[i].segment != ALO_BASE) continue;
        alore_status s = alo_base_tensor(run, i, &t);
        if (s != ALORE_OK) return s;
        const size_t copy = base->origin ? 0 : alo_copy_bytes(p, i, t);
        void *own = copy && o ? alo_keep_raw(o, copy, ALO_WIDE) : NULL;
        if (copy && o && !own) return ALORE_ERR_MEMORY;
        if (copy && !o)
            return alo_fail(run->ctx, ALORE_ERR_DTYPE, t->name, "%s is %s; a bound run asks for %s F32",
                            t->name, alore_dtype_name(t->dtype), alo_host_is_little() ? "aligned" : "packed");
        if (!base->origin) s = alo_take(run, t, own); /* packing has looked */
        if (s != ALORE_OK) return s;
        const alo_base entry = {own ? own : t->data, base->origin && alo_packs(p, i)};
        memcpy(run->memory + alo_zu(i) * sizeof entry, &entry, sizeof entry);
    }
    return alore_run_reset(run, 0);
}

ALORE_API alore_status alore_run_bind(alore_run *run, const alore_plan *p, const alore_weights *base,
                                      void *memory, size_t bytes) {
    memset(run, 0, sizeof *run);
    run->memory = (unsigned char *)memory;
    alore_ctx *ctx = p->object.ctx;
    if (bytes < p->memory.total)
        return alo_fail(ctx, ALORE_ERR_CAPACITY, NULL, "the run needs %z bytes, %z are given",
                        p->memory.total, bytes);
    if ((uintptr_t)memory % alo_zu(p->opts.align))
        return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "the memory is not aligned to %d", p->opts.align);
    return alo_bind(run, p, base, NULL);
}

typedef struct alo_run_object { /* then its memory; its pieces are tensors that it converted */
    alo_object object;
    alore_run run;
} alo_run_object;

ALORE_API alore_status alore_run_create(const alore_plan *p, const alore_weights *base, alore_run **out) {
    const size_t align = alo_zu(p->opts.align);
    const size_t bytes = alo_sum(p->memory.total, sizeof(alo_run_object) + align);
    *out = NULL;
    alo_run_object *r = (alo_run_object *)alo_object_new(p->object.ctx, bytes, alo_object_free);
    if (!r) return ALORE_ERR_MEMORY;
    r->run.owner = &r->object;
    r->run.memory = (unsigned char *)(r + 1) + (align - (uintptr_t)(r + 1) % align);
    alore_status s = alo_bind(&r->run, p, base, &r->object);
    *out = s == ALORE_OK ? &r->run : NULL;
    if (s != ALORE_OK) alo_object_free(&r->object);
    return s;
}

ALORE_API void alore_run_destroy(alore_run *run) {
    if (run && run->owner) alo_object_free(run->owner);
}

/* Number k of what a parameter starts with. */
static float alo_start_of(alore_start start, uint64_t seed, uint64_t stream, size_t k) {
    switch (start.kind) {
    case 1: return start.a * (2.0f * alore_random_uniform(seed, stream, k) - 1.0f);
    case 2: return start.a + start.b * alore_random_normal(seed, stream, k);
    case 3: return (float)(int)((k & 1 ? start.b : start.a) * alore_random_uniform(seed, stream, k));
    default: return start.a;
    }
}

/* The lengths of the rows of a base tensor, from row `first` on; a weight that is new has none. */
static alore_status alo_start_lengths(const alore_run *run, const alo_param *q, void *to) {
    const int i = (int)q->start.a;
    const alore_tensor *t = NULL;
    const alore_status s = alo_base_tensor(run, i, &t);
    const alore_shape of = run->plan->params[i].shape;
    const size_t cols = alo_count(of) / alo_zu(of.dims[0]);
    for (size_t k = 0; k < alo_count(q->shape) && s == ALORE_OK; ++k) {
        alo_sum_t sum = 0;
        for (size_t j = 0; t && j < cols; ++j) {
            float x;
            (void)alore_tensor_read(t, ((size_t)q->start.b + k) * cols + j, 1, &x);
            sum += (alo_sum_t)x * (alo_sum_t)x;
        }
        alo_set_real(run->plan, to, k, (double)alo_sqrt((float)sum));
    }
    return s;
}

/* Write what parameter i starts with for a seed: of what was there the file's numbers, if it has them. */
static alore_status alo_start_param(const alore_run *run, int i, uint64_t seed) {
    const alo_param *q = &run->plan->params[i];
    const char *name = run->plan->names + q->name;
    const uint64_t stream = alo_hash(name, strlen(name), 0);
    const alore_tensor *t = NULL;
    void *to = alo_resolve(run, q->tensor, 0, 0, 0);
    alore_status s = q->base ? alo_base_tensor(run, i, &t) : ALORE_OK;
    if (s == ALORE_OK && t) return alo_take(run, t, to);
    if (q->start.kind == 4) return alo_start_lengths(run, q, to);
    for (size_t k = 0; k < alo_count(q->shape) && s == ALORE_OK; ++k)
        alo_set_real(run->plan, to, k, (double)alo_start_of(q->start, seed, stream, k));
    return s;
}

ALORE_API alore_status alore_run_reset(alore_run *run, uint64_t seed) {
    const alore_plan *p = run->plan;
    for (int i = 0; i < p->param_count; ++i) {
        const alore_status s = p->params[i].segment == ALO_BASE ? ALORE_OK : alo_start_param(run, i, seed);
        if (s != ALORE_OK) return s;
    }
    memset(run->memory + p->at_moments, 0, p->memory.optimizer);
    run->seed = seed;
    run->step = 0;
    run->phases = 0;
    alo_forget(run);
    return ALORE_OK;
}

/* ============================================================================
 * >> 22 training
 * Schedules are functions of the step. A step sums the slots, runs what depends on no sample backwards, looks
 * at the norm, and only then writes. What learns is one flat array, its gradients another, so its moments. */

/* The rate of a step (from 0). COSINE, as ARC and VPT: the warm-up, then half a cosine over the rest, not
 * below lr_min. TIMM_COSINE, with epochs for steps: a cosine over all, whose beginning the warm-up hides. */
ALORE_API float alore_lr(const alore_schedule *s, int step) {
    bool timm = s->kind == ALORE_TIMM_COSINE;
    float w = (float)s->warmup, t = (float)s->total, at = (float)step;
    if (step < s->warmup) return s->lr_start + at / w * (s->lr - s->lr_start);
    if (s->kind == ALORE_CONSTANT) return s->lr;
    if (step >= s->total) return s->lr_min;
    float half = 0.5f * (1.0f + alo_cos(3.14159265f * (timm ? at / t : (at - w) / (t - w))));
    if (timm) return s->lr_min + (s->lr - s->lr_min) * half;
    return s->lr * half > s->lr_min ? s->lr * half : s->lr_min;
}

enum { ALO_FLAT_PARTS = 64, ALO_FLAT_LEAST = 4096 };

/* A pass over flat arrays in parts, the same ones whatever the number of threads. */
typedef struct alo_flat {
    alore_run *run;
    size_t count, part;              /* numbers; of them in a part                 */
    int code;                        /* the kernel, and what it is given           */
    alo_step_args args;
    bool matrices;                   /* decay only of two extents and more         */
    alo_sum_t sums[ALO_FLAT_PARTS];  /* sumsq: of each part                        */
} alo_flat;

static void alo_flat_run(alo_flat *f, alore_task task, size_t count) {
    f->count = count;
    f->part = f->run->plan->opts.backend ? count : alo_align(count / ALO_FLAT_PARTS + 1, ALO_FLAT_LEAST);
    if (count) alo_parallel(f->run->ctx, task, f, (int)((count - 1) / f->part) + 1);
}

static size_t alo_flat_end(const alo_flat *f, int part) {
    const size_t end = alo_zu(part + 1) * f->part;
    return end < f->count ? end : f->count;
}

/* Sum the slots into the first, and clear the others. */
static void alo_sum_slots(void *arg, int part) {
    const alo_flat *f = (const alo_flat *)arg;
    const alore_plan *p = f->run->plan;
    const size_t first = alo_zu(part) * f->part, end = alo_flat_end(f, part);
    unsigned char *sum = alo_grad_slot(f->run, 0);
    for (int slot = 1; slot < p->slots; ++slot) {
        unsigned char *more = alo_grad_slot(f->run, slot);
        for (size_t i = first; i < end; ++i) /* two floats are added right in double, too */
            alo_set_real(p, sum, i, alo_get_real(p, sum, i) + alo_get_real(p, more, i));
        memset(more + first * p->real, 0, (end - first) * p->real);
    }
}

static void alo_reduce(alore_run *run) {
    const alore_plan *p = run->plan;
    alo_flat f = ALORE_ZERO;
    f.run = run;
    if (p->slots > 1) alo_flat_run(&f, alo_sum_slots, p->grads);
    for (int i = p->backward; i < p->op_count; ++i) alo_record_run(run, i, 0, 0, true);
    memset(alo_grad_slot(run, 0) + p->learns * p->real, 0, (p->grads - p->learns) * p->real);
}

ALORE_API float *alore_params(alore_run *run, size_t *count) {
    if (count) *count = run->plan->learns;
    return (float *)(void *)(run->memory + run->plan->at_params);
}

ALORE_API float *alore_grads(alore_run *run, size_t *count) {
    if (count) *count = run->plan->opts.train ? run->plan->learns : 0;
    if (!run->plan->opts.train) return NULL;
    alo_reduce(run);
    return (float *)(void *)alo_grad_slot(run, 0);
}

/* The kernel on the numbers first .. end-1 of the flat arrays. */
static void alo_flat_kernel(const alo_flat *f, alo_step_args *args, size_t first, size_t end) {
    const alore_plan *p = f->run->plan;
    size_t at = first * p->real;
    unsigned char *moments = f->run->memory + p->at_moments + at;
    alore_call c = ALORE_ZERO;
    c.p[0] = alo_grad_slot(f->run, 0) + at;
    c.p[ALO_Y] = f->run->memory + p->at_params + at;
    if (p->memory.optimizer) c.p[ALO_Z] = moments;
    if (p->opts.optimizer == ALORE_ADAMW) c.p[ALO_X] = moments + p->memory.params;
    c.rows_fn = p->rows_fn;
    c.user = p->opts.backend ? p->opts.backend->user : NULL;
    c.extra = args;
    args->count = end - first;
    p->kernels[f->code](&c, 0, 1);
}

static void alo_sum_squares(void *arg, int part) {
    alo_flat *f = (alo_flat *)arg;
    alo_step_args args = f->args;
    args.sum = &f->sums[part];
    alo_flat_kernel(f, &args, alo_zu(part) * f->part, alo_flat_end(f, part));
}

/* The optimiser on the parameters, or ends of them, that lie in the part. */
static void alo_step_part(void *arg, int part) {
    const alo_flat *f = (const alo_flat *)arg;
    const alore_plan *p = f->run->plan;
    const size_t from = alo_zu(part) * f->part, to = alo_flat_end(f, part);
    alo_step_args args = f->args;
    for (int i = 0; i < p->param_count; ++i) {
        const alo_param *q = &p->params[i];
        if (q->segment != ALO_PARAM) continue;
        const size_t at = (size_t)p->tensors[q->tensor].offset, past = at + alo_count(q->shape);
        const size_t first = at > from ? at : from, end = past < to ? past : to;
        args.decay = f->matrices && q->shape.rank < 2 ? 0 : f->args.decay;
        if (first < end) alo_flat_kernel(f, &args, first, end);
    }
}

static double alo_power(double b, uint64_t n) {
    double x = 1;
    for (; n; n >>= 1, b *= b)
        if (n & 1) x *= b;
    return x;
}

ALORE_API alore_status alore_step(alore_run *run, const alore_step_opts *opts, float lr, float *norm) {
    alore_ctx *ctx = run->ctx;
    const alore_plan *p = run->plan;
    const alore_step_opts none = ALORE_ZERO, o = opts ? *opts : none;
    alo_flat f = ALORE_ZERO;
    alo_step_args *args = &f.args;
    alo_sum_t squares = 0;
    if (!p->opts.train) return alo_fail(ctx, ALORE_ERR_ORDER, NULL, "the plan is not for training");
    if (run->phases & ALORE_BACKWARD) return alo_fail(ctx, ALORE_ERR_ORDER, NULL, "a pass is under way");
    if (!run->samples) return alo_fail(ctx, ALORE_ERR_ORDER, NULL, "no gradients since the last step");
    if (!(lr >= 0 && lr < 1e30f)) return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "a rate of %g", (double)lr);
    if (!(o.beta1 < 1 && o.beta2 < 1 && o.momentum >= 0 && o.decay >= 0 && o.momentum + o.decay < 1e30))
        return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "betas of %g and %g, momentum of %g, decay of %g",
                        o.beta1, o.beta2, o.momentum, o.decay);
    if (p->opts.optimizer == ALORE_SGD && o.momentum > 0)
        return alo_fail(ctx, ALORE_ERR_ORDER, NULL, "the plan has no moments for momentum %g", o.momentum);
    args->grad_scale = o.grad_scale > 0 ? (alo_sum_t)o.grad_scale : 1 / (alo_sum_t)run->samples;
    alo_reduce(run);
    f.run = run;
    f.code = ALO_K_sumsq;
    alo_flat_run(&f, alo_sum_squares, p->learns);
    for (int i = 0; i < ALO_FLAT_PARTS; ++i) squares += f.sums[i];
    if (!(squares >= 0 && squares < (alo_sum_t)3e38)) {
        alo_forget(run);
        return alo_fail(ctx, ALORE_ERR_NONFINITE, NULL,
                        "the gradient of step %u is not finite; nothing was changed", run->step + 1);
    }
    alo_sum_t length = (alo_sum_t)alo_sqrt((float)squares), clip = (alo_sum_t)o.clip;
    if (norm) *norm = (float)length;
    if (clip > 0 && clip < length + (alo_sum_t)1e-6) args->grad_scale *= clip / (length + (alo_sum_t)1e-6);
    args->lr = (alo_sum_t)lr;
    args->beta1 = o.beta1 > 0 ? (alo_sum_t)o.beta1 : (alo_sum_t)0.9;
    args->beta2 = o.beta2 > 0 ? (alo_sum_t)o.beta2 : (alo_sum_t)0.999;
    args->eps = o.eps > 0 ? (alo_sum_t)o.eps : (alo_sum_t)1e-8;
    args->correct1 = (alo_sum_t)(1 - alo_power((double)args->beta1, run->step + 1));
    args->correct2 = (alo_sum_t)(1 - alo_power((double)args->beta2, run->step + 1));
    args->momentum = (alo_sum_t)o.momentum;
    args->nesterov = o.nesterov;
    f.code = p->opts.optimizer == ALORE_ADAMW ? ALO_K_adamw : ALO_K_sgd;
    args->decay = (alo_sum_t)o.decay;
    f.matrices = o.decay_matrices;
    alo_flat_run(&f, alo_step_part, p->learns);
    ++run->step;
    run->samples = 0;
    return ALORE_OK;
}

/* ============================================================================
 * >> 23 adapters and checkpoints
 * An adapter is a set of weights: parameters by name, the rules in the metadata. A checkpoint is all state of
 * a run: seed, step, parameters and moments, little-endian, with a tag of the caller's and a checksum. Both
 * are checked whole before anything is taken over. */

/* Element i of a tensor's data, rounded to its type: F32, F16, BF16, F64 or I32. */
static void alo_store(unsigned char *data, alore_dtype dtype, size_t i, double v) {
    size_t bytes = alore_dtype_bytes(dtype);
    uint64_t bits = alo_bits((float)v);
    if (dtype == ALORE_F64) memcpy(&bits, &v, sizeof bits);
    if (dtype == ALORE_F16) bits = alore_float_to_half((float)v);
    if (dtype == ALORE_BF16) bits = alore_float_to_bfloat((float)v);
    if (dtype == ALORE_I32) bits = (uint32_t)(int32_t)v;
    for (size_t k = 0; k < bytes; ++k) data[i * bytes + k] = (unsigned char)(bits >> 8 * k);
}

/* Take parameter i from the adapter's tensor. A part of the network may take a frozen matrix's beginning. */
static alore_status alo_take_param(const alore_run *run, int i, const alore_tensor *t, bool part, void *to) {
    const alo_param *q = &run->plan->params[i];
    const size_t count = alo_count(q->shape), rows = alo_zu(q->shape.dims[0]), cols = count / rows;
    const bool larger =
        part && q->segment == ALO_FROZEN && t->rank == 2 && t->dims[0] >= rows && t->dims[1] >= cols;
    if (alo_is_shaped(run, t, q->shape, larger ? NULL : "adapter")) return alo_take(run, t, to);
    if (!larger) return ALORE_ERR_SHAPE;
    for (size_t k = 0; k < count && to; ++k) {
        float x = 0;
        (void)alore_tensor_read(t, k / cols * (size_t)t->dims[1] + k % cols, 1, &x);
        alo_set_real(run->plan, to, k, (double)x);
    }
    return ALORE_OK;
}

/* Indices lie inside what they point into. */
static alore_status alo_check_indices(const alore_run *run, const alo_param *q, const alore_tensor *t) {
    for (size_t k = 0; k < alo_count(q->shape) && q->start.kind == 3; ++k) {
        const double most = (double)(k & 1 ? q->start.b : q->start.a);
        float x = 0;
        (void)alore_tensor_read(t, k, 1, &x);
        if (!(x >= 0 && (double)x < most && x == (float)(int)x))
            return alo_fail(run->ctx, ALORE_ERR_SHAPE, t->name,
                            "%s: index %z is %g, not a whole number below %g", t->name, k, (double)x, most);
    }
    return ALORE_OK;
}

/* A frozen tensor that a seed makes again: random numbers. */
static bool alo_is_drawn(const alo_param *q) {
    return q->segment == ALO_FROZEN && (q->start.kind == 1 || q->start.kind == 2);
}

/* The seed that an adapter's metadata names. */
static bool alo_adapter_seed(const alore_weights *adapter, uint64_t *seed) {
    const char *text = alore_weights_meta(adapter, "alore.seed");
    *seed = 0;
    for (const char *at = text; at && *at; ++at) {
        if (*at < '0' || *at > '9' || *seed > (UINT64_MAX - (uint64_t)(*at - '0')) / 10) return false;
        *seed = *seed * 10 + (uint64_t)(*at - '0');
    }
    return text && *text;
}

/* Take the plan's parameters from the adapter; with `all` it holds no others. The first pass only looks. */
static alore_status alo_load_params(alore_run *run, const alore_weights *adapter, bool all) {
    const alore_plan *p = run->plan;
    uint64_t seed = 0;
    for (int pass = 0; pass < 2; ++pass) {
        for (int i = 0; i < p->param_count; ++i) {
            const alo_param *q = &p->params[i];
            const char *name = p->names + q->name;
            const alore_tensor *t = alore_weights_find(adapter, name);
            if (q->segment == ALO_BASE) continue;
            const bool drawn = !t && alo_is_drawn(q) && alo_adapter_seed(adapter, &seed);
            if (!t && !drawn) return alo_fail(run->ctx, ALORE_ERR_NAME, name, "the adapter has no %s", name);
            alore_status s = ALORE_OK;
            if (drawn && pass) s = alo_start_param(run, i, seed);
            if (t) s = alo_take_param(run, i, t, !all, pass ? alo_resolve(run, q->tensor, 0, 0, 0) : NULL);
            if (t && s == ALORE_OK && !pass) s = alo_check_indices(run, q, t);
            if (s != ALORE_OK) return s;
        }
        for (int i = 0, k; all && !pass && i < alore_weights_count(adapter); ++i) {
            const char *name = alore_weights_at(adapter, i)->name;
            for (k = 0; k < p->param_count; ++k)
                if (p->params[k].segment != ALO_BASE && !strcmp(p->names + p->params[k].name, name)) break;
            if (k < p->param_count) continue;
            return alo_fail(run->ctx, ALORE_ERR_NAME, name,
                            "the adapter holds %s, which its rules do not make", name);
        }
    }
    return ALORE_OK;
}

ALORE_API ALO_COLD alore_status alore_run_load(alore_run *run, const alore_weights *adapter) {
    return alo_load_params(run, adapter, true);
}

/* Does the run's seed make what the frozen tensor holds? */
static bool alo_seed_makes(const alore_run *run, const alo_param *q) {
    const char *name = run->plan->names + q->name;
    const uint64_t stream = alo_hash(name, strlen(name), 0);
    const void *now = alo_resolve(run, q->tensor, 0, 0, 0);
    for (size_t k = 0; k < alo_count(q->shape) && alo_is_drawn(q); ++k)
        if (alo_get_real(run->plan, now, k) != (double)alo_start_of(q->start, run->seed, stream, k))
            return false;
    return alo_is_drawn(q);
}

/* The run's parameters as a set; unless `all`, without what its seed makes again. */
static alore_status alo_export(const alore_run *run, bool all, alore_weights **adapter) {
    const alore_plan *p = run->plan;
    const uint64_t base = alore_weights_fingerprint(run->weights);
    char digits[17], decimal[24];
    alo_text hex = {digits, sizeof digits, 0}, frozen = {NULL, 0, 0}, seed = {decimal, sizeof decimal, 0};
    alore_weights *w = NULL;
    alore_status s = alore_weights_create(run->ctx, &w);
    for (int i = 0; i < p->param_count && s == ALORE_OK; ++i) {
        const alo_param *q = &p->params[i];
        if (q->segment == ALO_BASE) continue;
        if (!all && alo_seed_makes(run, q)) {
            if (!seed.used) alo_print(&seed, "%u", run->seed);
            continue;
        }
        if (q->segment == ALO_FROZEN) frozen.bytes += strlen(p->names + q->name) + 1;
        const void *from = alo_resolve(run, q->tensor, 0, 0, 0);
        const alore_dtype dtype = q->start.kind == 3 ? ALORE_I32 : ALORE_F32;
        unsigned char *to = alo_add_own(w, p->names + q->name, dtype, q->shape, true, &s);
        for (size_t k = 0; to && k < alo_count(q->shape); ++k)
            alo_store(to, dtype, k, alo_get_real(p, from, k));
    }
    for (int i = 60; i >= 0; i -= 4) alo_put_uint(&hex, base >> i & 15, 16);
    if (s == ALORE_OK) s = alore_weights_set_meta(w, "alore.rules", p->names + p->rules);
    if (s == ALORE_OK && p->backbone) s = alore_weights_set_meta(w, "alore.backbone", p->names + p->backbone);
    if (s == ALORE_OK && run->weights) s = alore_weights_set_meta(w, "alore.base", digits);
    if (s == ALORE_OK && seed.used) s = alore_weights_set_meta(w, "alore.seed", decimal);
    if (s == ALORE_OK && frozen.bytes) {
        frozen.data = (char *)alo_keep(&w->object, frozen.bytes, NULL, 0);
        for (int i = 0; frozen.data && i < p->param_count; ++i)
            if (p->params[i].segment == ALO_FROZEN && alore_weights_find(w, p->names + p->params[i].name))
                alo_print(&frozen, frozen.used ? ",%s" : "%s", p->names + p->params[i].name);
        s = frozen.data ? alore_weights_set_meta(w, "alore.frozen", frozen.data) : ALORE_ERR_MEMORY;
    }
    if (s != ALORE_OK) alore_weights_destroy(w);
    *adapter = s == ALORE_OK ? w : NULL;
    return s;
}

ALORE_API ALO_COLD alore_status alore_run_export(const alore_run *run, alore_weights **adapter) {
    return alo_export(run, run->plan->opts.frozen, adapter);
}

/* ---- Checkpoints ----
 *
 * Eight bytes each, little-endian: the mark "alore\0ck", version + 2^32 bytes of a number, seed, step,
 * numbers, moments, bytes of the tag. Then tag, parameters, moments, frozen numbers; a checksum of all. */

#define ALO_CHECKPOINT_MARK    UINT64_C(0x6b630065726f6c61)
#define ALO_CHECKPOINT_VERSION 1

typedef struct alo_sealed { /* a writer that keeps a checksum */
    const alore_writer *writer;
    uint64_t sum;
    bool fine;
} alo_sealed;

/* Numbers of `size` bytes from this machine's order to little-endian or back: either way the same. */
static void alo_swap(void *to, const void *from, size_t size, size_t count) {
    size_t flip = alo_host_is_little() ? 0 : size - 1;
    for (size_t i = 0; i < size * count; ++i)
        ((unsigned char *)to)[i] = ((const unsigned char *)from)[i ^ flip];
}

static void alo_seal(alo_sealed *w, const void *numbers, size_t size, size_t count) {
    unsigned char part[2048];
    size_t most = sizeof part / size;
    for (size_t i = 0; i < count; i += most) {
        size_t n = count - i < most ? count - i : most;
        alo_swap(part, (const unsigned char *)numbers + i * size, size, n);
        w->sum = alo_hash(part, n * size, w->sum);
        w->fine = w->fine && w->writer->write(w->writer->user, part, n * size);
    }
}

ALORE_API alore_status alore_checkpoint_write(const alore_run *run, const char *tag, const alore_writer *by) {
    const alore_plan *p = run->plan;
    const size_t n = strlen(tag), moments = p->memory.optimizer / p->real;
    const uint64_t version = ALO_CHECKPOINT_VERSION | (uint64_t)p->real << 32;
    const uint64_t head[] = {ALO_CHECKPOINT_MARK, version, run->seed, run->step, p->learns, moments, n};
    alo_sealed w = {by, 0, true};
    if (run->samples)
        return alo_fail(run->ctx, ALORE_ERR_ORDER, NULL,
                        "a checkpoint stands between steps; %u samples are pending", run->samples);
    alo_seal(&w, head, 8, sizeof head / 8);
    alo_seal(&w, tag, 1, n);
    alo_seal(&w, run->memory + p->at_params, p->real, p->learns);
    alo_seal(&w, run->memory + p->at_moments, p->real, moments);
    alo_seal(&w, run->memory + p->at_frozen, p->real, p->frozen);
    alo_seal(&w, &w.sum, 8, 1);
    return w.fine ? ALORE_OK : alo_fail(run->ctx, ALORE_ERR_IO, NULL, "the writer hook failed");
}

ALORE_API alore_status alore_checkpoint_read(alore_run *run, const char *tag, const void *of, size_t bytes) {
    const alore_plan *p = run->plan;
    const unsigned char *at = (const unsigned char *)of;
    const size_t n = strlen(tag), moments = p->memory.optimizer / p->real;
    uint64_t head[7];
    const size_t least = sizeof head + 8;
    const size_t learnt = alo_sum(p->memory.params, p->memory.optimizer);
    const size_t want = alo_sum(alo_sum(learnt, p->memory.frozen), alo_sum(n, least));
    if (bytes >= least) alo_swap(head, at, 8, sizeof head / 8);
    if (bytes < least || head[0] != ALO_CHECKPOINT_MARK)
        return alo_fail(run->ctx, ALORE_ERR_FORMAT, NULL, "no checkpoint of alore (%z bytes)", bytes);
    if ((uint32_t)head[1] != ALO_CHECKPOINT_VERSION)
        return alo_fail(run->ctx, ALORE_ERR_VERSION, NULL, "checkpoint version %u, this reads %d",
                        head[1] & 0xffffffffu, ALO_CHECKPOINT_VERSION);
    if (alo_little(at + bytes - 8, 8) != alo_hash(at, bytes - 8, 0))
        return alo_fail(run->ctx, ALORE_ERR_FORMAT, NULL, "the checkpoint is damaged: its checksum is wrong");
    if (head[6] != n || bytes - least < n || memcmp(at + sizeof head, tag, n))
        return alo_fail(run->ctx, ALORE_ERR_ARGUMENT, NULL, "the checkpoint was made with other settings");
    if (head[1] >> 32 != p->real || head[4] != p->learns || head[5] != moments || bytes != want)
        return alo_fail(run->ctx, ALORE_ERR_SHAPE, NULL,
                        "the checkpoint holds %u numbers in %z bytes, the run %z in %z", head[4], bytes,
                        p->learns, want);
    at += sizeof head + n;
    for (int i = 0; i < p->param_count; ++i) {
        const alo_param *q = &p->params[i];
        const unsigned char *data = at + learnt + (size_t)p->tensors[q->tensor].offset * p->real;
        const size_t length = alo_count(q->shape) * p->real;
        const alore_tensor t = {p->names + q->name, 0, data, length, NULL, 0,
                                p->real == 8 ? ALORE_F64 : ALORE_F32};
        if (q->segment == ALO_FROZEN && alo_check_indices(run, q, &t) != ALORE_OK) return ALORE_ERR_SHAPE;
    }
    alo_swap(run->memory + p->at_params, at, p->real, p->learns);
    alo_swap(run->memory + p->at_moments, at + p->memory.params, p->real, moments);
    alo_swap(run->memory + p->at_frozen, at + learnt, p->real, p->frozen);
    run->seed = head[2];
    run->step = head[3];
    run->phases = 0;
    alo_forget(run);
    return ALORE_OK;
}

/* ============================================================================
 * >> 24 merge
 * A site with all that is attached to it is a function of rows. Merging evaluates it, in double: the records
 * on the identity, without the terms that do not depend on the input, are the merged matrix; the records on
 * zero are the merged bias. Then both forms run on random rows. So no method has a merge formula, none can
 * disagree with its training, and what is not affine is refused with its number. */

enum { ALO_PROBE_ROWS = 32 };

typedef struct alo_merging {
    const alore_model *m;
    const alore_weights *base, *adapter;
    alore_merge_opts opts;
    alore_weights *whole; /* the adapter with what its seed makes */
    alore_weights *out;
    alore_merge_report report;
    const alo_site *site; /* the one at hand */
    alore_plan *plan;     /* of the whole model, or of the site with its rules as a network */
    alore_run *run;
    size_t in, cols, rows; /* rows of its matrix: of a norm, whose y = x * w + b, 1 */
    double *x, *y;         /* [ALO_PROBE_ROWS, in] and [ALO_PROBE_ROWS, out] */
    double *found, *kept;  /* [rows + 1, out]: w, then b; as found, as stored */
    size_t bytes;          /* of the four */
} alo_merging;

/* Make a run of the model with both files, in place of the last; `all`: the adapter holds nothing else. */
static alore_status alo_merge_open(alo_merging *g, const alore_model *m, const alore_plan_opts *o, bool all) {
    alore_run_destroy(g->run);
    alore_plan_destroy(g->plan);
    g->run = NULL;
    alore_status s = alore_plan_create(m, o, &g->plan);
    if (s == ALORE_OK) s = alore_run_create(g->plan, g->base, &g->run);
    if (s == ALORE_OK) s = alo_load_params(g->run, all ? g->adapter : g->whole, all);
    return s == ALORE_OK && all ? alo_export(g->run, true, &g->whole) : s;
}

/* Hand the new set over, or free it where the work failed. */
static alore_status alo_merge_end(alo_merging *g, alore_status s, alore_weights **out) {
    alore_run_destroy(g->run);
    alore_plan_destroy(g->plan);
    alore_weights_destroy(g->whole);
    alo_free(alo_ctx(g->m), g->x, g->bytes);
    if (s != ALORE_OK) alore_weights_destroy(g->out);
    *out = s == ALORE_OK ? g->out : NULL;
    return s;
}

/* Make the site a network of its own; with `strip` without what does not depend on its input. */
static alore_status alo_probe_open(alo_merging *g, bool strip) {
    const alore_site *site = &g->site->s;
    const char *name = alo_name(g->m, g->site->name);
    const int *kernel = g->site->weight.rank == 4 ? g->site->weight.dims + 1 : NULL;
    const alore_linear_opts linear = {site->kind, 0, g->site->no_bias, kernel};
    alore_plan_opts opts = ALORE_ZERO;
    alore_model *host = NULL;
    alore_status s = alore_model_create(alo_ctx(g->m), &host);
    if (s == ALORE_OK) s = alore_attach(host, alore_rules(g->m));
    if (s == ALORE_OK) {
        host->probe = true;
        host->strip = strip;
        host->block = site->block;
        alore_blocks(host, site->blocks);
        alore_grid(host, site->prefix, site->height, site->width);
        alore_hidden(host, site->hidden);
        alore_id x = alore_input(host, "x", ALORE_F32, ALO_PROBE_ROWS, site->in);
        bool norm = site->host == ALORE_HOST_NORM;
        alore_output(host, "y",
                     norm ? alore_norm(host, name, site->kind, x, 0.0f)
                          : alore_linear(host, name, x, site->out, &linear));
        s = alore_model_finish(host);
    }
    opts.reference = true;
#ifndef ALO_NO_F64
    opts.dtype = ALORE_F64;
#endif
    if (s == ALORE_OK) s = alo_merge_open(g, host, &opts, false);
    alore_model_destroy(host);
    return s;
}

/* y = the site on x. */
static alore_status alo_probe_run(alo_merging *g) {
    void *x = alore_run_input(g->run, "x");
    const void *y = alore_run_output(g->run, "y");
    for (size_t i = 0; i < ALO_PROBE_ROWS * g->in; ++i) alo_set_real(g->plan, x, i, g->x[i]);
    alore_status s = alore_forward(g->run, 1);
    for (size_t i = 0; i < ALO_PROBE_ROWS * g->cols; ++i) g->y[i] = alo_get_real(g->plan, y, i);
    return s;
}

/* Find the matrix, the stripped site on the identity (a norm: on ones), or the bias, the site on zero. */
static alore_status alo_probe_find(alo_merging *g, bool matrix) {
    const size_t end = matrix ? g->rows : g->rows + 1;
    alore_status s = alo_probe_open(g, matrix);
    for (size_t first = matrix ? 0 : g->rows; first < end && s == ALORE_OK; first += ALO_PROBE_ROWS) {
        size_t n = end - first < ALO_PROBE_ROWS ? end - first : (size_t)ALO_PROBE_ROWS;
        for (size_t i = 0; i < ALO_PROBE_ROWS * g->in; ++i) {
            size_t row = first + i / g->in;
            g->x[i] = row < g->rows && (g->rows == 1 || i % g->in == row) ? 1.0 : 0.0;
        }
        s = alo_probe_run(g);
        memcpy(g->found + first * g->cols, g->y, n * g->cols * sizeof *g->y);
    }
    return s;
}

/* How far x w + b is from y: the largest difference over the largest output. No number counts as infinite. */
static double alo_probe_error(const alo_merging *g, const double *w) {
    bool norm = g->site->s.host == ALORE_HOST_NORM;
    size_t out = g->cols;
    double worst = 0, largest = 0;
    for (size_t i = 0; i < ALO_PROBE_ROWS * out;) { /* up to eight columns of a row */
        const double *x = g->x + i / out * g->in;
        const size_t col = i % out, n = out - col < 8 ? out - col : 8;
        double sums[8] = {0};
        for (size_t j = 0; j < n; ++j) sums[j] = w[g->rows * out + col + j];
        for (size_t k = 0; k < g->rows; ++k)
            for (size_t j = 0; j < n; ++j) sums[j] += x[norm ? col + j : k] * w[k * out + col + j];
        for (size_t j = 0; j < n; ++j, ++i) {
            const double y = g->y[i], off = sums[j] < y ? y - sums[j] : sums[j] - y;
            if (!(off <= worst)) worst = off < 1e300 ? off : (double)alo_float(0x7f800000u);
            if (y > largest || -y > largest) largest = y < 0 ? -y : y;
        }
    }
    return largest > 0 ? worst / largest : worst;
}

/* Both forms on random rows: as it was found (is the site affine?) and as it is stored (the certificate). */
static alore_status alo_certify(alo_merging *g) {
    const char *name = alo_name(g->m, g->site->name);
    const uint64_t stream = alo_hash(name, strlen(name), 77);
    const double asked = (double)g->opts.tolerance, most = asked > 0 ? asked : 1e-5;
    for (size_t i = 0; i < ALO_PROBE_ROWS * g->in; ++i) g->x[i] = (double)alore_random_normal(1, stream, i);
    alore_status s = alo_probe_run(g);
    if (s != ALORE_OK) return s;
    double affine = alo_probe_error(g, g->found), stored = alo_probe_error(g, g->kept);
    if (!(affine <= most))
        return alo_fail(alo_ctx(g->m), ALORE_ERR_NOT_MERGEABLE, name,
                        "%s cannot be merged: it is no affine map, the relative error is %g (at most %g)",
                        name, affine, most);
    if (asked > 0 && stored > most)
        return alo_fail(alo_ctx(g->m), ALORE_ERR_TOLERANCE, name,
                        "%s: as stored the merged site is off by %g, more than %g", name, stored, most);
    ++g->report.sites;
    if (stored < (double)g->report.worst_error) return ALORE_OK;
    alo_text t = {g->report.worst_site, sizeof g->report.worst_site, 0};
    g->report.worst_error = (float)stored;
    alo_print(&t, "%s", name);
    return ALORE_OK;
}

/* Put a merged tensor into the set, its numbers from `first` on in what was found; files have matrices the
 * other way round. A number that did not change keeps its bits; what is new and zero throughout is left out.
 * `kept` gets the numbers as they will be read back. Notes the share of the update that the type loses. */
static alore_status alo_put_merged(alo_merging *g, const char *part, alore_shape shape, size_t first) {
    const double *value = g->found + first;
    double *kept = g->kept + first;
    char name[300];
    alo_text full = {name, sizeof name, 0};
    alo_print(&full, "%s.%s", alo_name(g->m, g->site->name), part);
    const alore_tensor *learnt = alore_weights_find(g->adapter, name);
    const alore_tensor *old = learnt ? learnt : alore_weights_find(g->base, name);
    alore_dtype dtype = old && old->dtype <= ALORE_F64 ? old->dtype : ALORE_F32;
    if (g->opts.convert) dtype = g->opts.dtype;
    size_t count = alo_count(shape), rows = alo_zu(shape.dims[0]), cols = count / rows;
    size_t each = alore_dtype_bytes(dtype);
    double delta = 0, lost = 0, most = (double)g->report.worst_lost;
    bool changed = learnt || (old && old->dtype != dtype), zero = !old;
    alore_status s = ALORE_OK;
    for (size_t i = 0; i < count && zero; ++i) zero = value[i] == 0;
    unsigned char *data = zero ? NULL : alo_add_own(g->out, name, dtype, shape, true, &s);
    if (!data) return s;
    const alore_tensor *now = alore_weights_find(g->out, name);
    for (size_t i = 0; i < count; ++i) {
        size_t at = i % cols * rows + i / cols;
        float was = 0, is;
        if (old) (void)alore_tensor_read(old, i, 1, &was);
        double before = (double)was;
        double after = old && value[at] == before ? before : value[at]; /* keeps the sign of a zero */
        alo_store(data, dtype, i, after);
        if (old && dtype == old->dtype && after == before) /* F64 may hold more than was read */
            memcpy(data + i * each, (const unsigned char *)old->data + i * each, each);
        (void)alore_tensor_read(now, i, 1, &is);
        if ((alo_bits(is) & 0x7f800000u) == 0x7f800000u)
            return alo_fail(alo_ctx(g->m), ALORE_ERR_NONFINITE, name, "%s: number %z is %g, too large for %s",
                            name, i, after, alore_dtype_name(dtype));
        kept[at] = (double)is;
        changed = changed || after != before;
        delta += (after - before) * (after - before);
        lost += (kept[at] - after) * (kept[at] - after);
    }
    if (changed) ++g->report.tensors_changed;
    if (!(delta > 0 && lost > delta * most * most)) return ALORE_OK;
    alo_text t = {g->report.lost_site, sizeof g->report.lost_site, 0};
    g->report.worst_lost = alo_sqrt((float)(lost / delta));
    alo_print(&t, "%s", name);
    return ALORE_OK;
}

/* Evaluate a site: `found` is its matrix and bias, until the next site. */
static alore_status alo_site_find(alo_merging *g, const alo_site *site) {
    alore_ctx *ctx = alo_ctx(g->m);
    const char *name = alo_name(g->m, site->name);
    if (site->s.host != ALORE_HOST_LINEAR && site->s.host != ALORE_HOST_NORM)
        return alo_fail(ctx, ALORE_ERR_NOT_MERGEABLE, name,
                        "%s cannot be merged: there is no single layer to merge into", name);
    if (site->groups > 1)
        return alo_fail(ctx, ALORE_ERR_NOT_MERGEABLE, name, "%s has %d groups; grouped hosts are not merged",
                        name, site->groups);
    g->site = site;
    g->in = alo_zu(site->s.in);
    g->cols = alo_zu(site->s.out);
    g->rows = site->s.host == ALORE_HOST_NORM ? 1 : g->in;
    const size_t form = alo_sum(alo_mul(g->rows, g->cols), g->cols);
    const size_t probe = alo_mul(ALO_PROBE_ROWS, alo_sum(g->in, g->cols));
    alo_free(ctx, g->x, g->bytes);
    g->bytes = alo_mul(alo_sum(alo_mul(2, form), probe), sizeof *g->x);
    g->x = (double *)alo_new(ctx, g->bytes);
    if (!g->x) return ALORE_ERR_MEMORY;
    g->y = g->x + ALO_PROBE_ROWS * g->in;
    g->found = g->x + probe;
    g->kept = g->found + form;
    const alore_status s = alo_probe_find(g, true);
    return s == ALORE_OK ? alo_probe_find(g, false) : s;
}

static alore_status alo_merge_site(alo_merging *g, const alo_site *site) {
    alore_status s = alo_site_find(g, site);
    if (s == ALORE_OK) s = alo_put_merged(g, "weight", site->weight, 0);
    if (s == ALORE_OK) s = alo_put_merged(g, "bias", alore_dims(site->s.out, 0, 0, 0), g->rows * g->cols);
    return s == ALORE_OK ? alo_certify(g) : s;
}

/* Add the tensors that the set has not yet; of the adapter only what it unfroze. */
static alore_status alo_merge_rest(alo_merging *g, const alore_weights *from, bool unfrozen) {
    alore_status s = ALORE_OK;
    for (int i = 0; i < alore_weights_count(from) && s == ALORE_OK; ++i) {
        const alore_tensor *t = alore_weights_at(from, i);
        int p = alo_param_find(g->m, t->name);
        if (alore_weights_find(g->out, t->name) || (unfrozen && (p < 0 || !g->m->params[p].base))) continue;
        s = alore_weights_add(g->out, t);
        if (unfrozen && s == ALORE_OK) ++g->report.tensors_changed;
    }
    return s;
}

static alore_status alo_copy_meta(alore_weights *to, const alore_weights *from) {
    alore_status s = ALORE_OK;
    for (int i = 0; i < alore_weights_meta_count(from) && s == ALORE_OK; ++i) {
        const char *key, *value;
        alore_weights_meta_at(from, i, &key, &value);
        s = alore_weights_set_meta(to, key, value);
    }
    return s;
}

ALORE_API ALO_COLD alore_status alore_merge(const alore_model *m, const alore_weights *base,
                                            const alore_weights *adapter, const alore_merge_opts *opts,
                                            alore_weights **merged, alore_merge_report *report) {
    alo_merging g = ALORE_ZERO;
    *merged = NULL;
    g.m = m;
    if (base && base->origin) base = base->origin;
    g.base = base;
    g.adapter = adapter;
    if (opts) g.opts = *opts;
    if (g.opts.convert && g.opts.dtype > ALORE_F64)
        return alo_fail(alo_ctx(m), ALORE_ERR_DTYPE, NULL, "merged tensors cannot be %s",
                        alore_dtype_name(g.opts.dtype));
    alore_status s = alo_merge_open(&g, m, NULL, true); /* both files are held against the whole model */
    if (s == ALORE_OK) s = alore_weights_create(alo_ctx(m), &g.out);
    for (int i = 0; i < m->site_count && s == ALORE_OK; ++i)
        if (m->sites[i].rules) s = alo_merge_site(&g, &m->sites[i]);
    if (s == ALORE_OK) s = alo_merge_rest(&g, adapter, true);
    if (s == ALORE_OK) s = alo_merge_rest(&g, base, false);
    if (s == ALORE_OK) s = alo_copy_meta(g.out, base);
    if (s == ALORE_OK && m->backbone && !alore_weights_meta(g.out, "alore.backbone"))
        s = alore_weights_set_meta(g.out, "alore.backbone", alo_name(m, m->backbone));
    if (report && s == ALORE_OK) *report = g.report;
    return alo_merge_end(&g, s, merged);
}

/* ---- Plain LoRA ----
 * The site's matrix as it is found, less the host's, is factored by crosses: the largest number's column
 * times its row is taken off until nothing is left. So every affine site has a LoRA form, whatever made it; a
 * bias that changed is written as one that was unfrozen. */

/* The largest size of the numbers x, and where it is. */
static double alo_peak(const double *x, size_t count, size_t *at) {
    double most = 0;
    for (size_t i = 0; i < count; ++i) {
        const double size = x[i] < 0 ? -x[i] : x[i];
        if (size > most) *at = i;
        if (size > most) most = size;
    }
    return most;
}

/* `host` [in, out] is what the adapter or the base has of the host's weight or bias; y becomes y - host. */
static void alo_less_host(const alo_merging *g, const char *part, size_t in, double *y, double *host) {
    char name[300];
    alo_text full = {name, sizeof name, 0};
    alo_print(&full, "%s.%s", alo_name(g->m, g->site->name), part);
    const alore_tensor *learnt = alore_weights_find(g->adapter, name);
    const alore_tensor *t = learnt ? learnt : alore_weights_find(g->base, name);
    for (size_t i = 0; i < in * g->cols; ++i) {
        const size_t at = i % in * g->cols + i / in;
        float x = 0;
        if (t) (void)alore_tensor_read(t, i, 1, &x);
        host[at] = (double)x;
        y[at] -= (double)x;
    }
}

/* The rank of e [in, out], which is used up, and its factors: [rank, in], turned, and [rank, out]. */
static size_t alo_crosses(double *e, size_t in, size_t out, double least, float *left, float *right) {
    for (size_t rank = 0, at = 0;; ++rank) {
        if (!(alo_peak(e, in * out, &at) > least) || rank == in || rank == out) return rank;
        double *row = e + at / out * out;
        const double pivot = e[at];
        for (size_t i = 0; i < in; ++i) {
            const double by = e[i * out + at % out] / pivot;
            left[rank * in + i] = (float)by;
            for (size_t j = 0; j < out && i != at / out; ++j) e[i * out + j] -= by * row[j];
        }
        for (size_t j = 0; j < out; ++j) {
            right[rank * out + j] = (float)row[j];
            row[j] = 0;
        }
    }
}

/* Add a tensor of one site to the set: x, or its transpose. */
static alore_status alo_add_lora(alo_merging *g, const char *part, alore_shape shape, const float *x,
                                 bool turn) {
    char name[300];
    alo_text t = {name, sizeof name, 0};
    alore_status s = ALORE_OK;
    const size_t count = alo_count(shape), rows = alo_zu(shape.dims[0]), cols = count / rows;
    alo_print(&t, "%s.%s", alo_name(g->m, g->site->name), part);
    unsigned char *to = alo_add_own(g->out, name, ALORE_F32, shape, true, &s);
    for (size_t i = 0; to && i < count; ++i)
        alo_store(to, ALORE_F32, i, (double)x[turn ? i % cols * rows + i / cols : i]);
    return s;
}

/* A and B of one site, the bias that moved, and its rule. */
static alore_status alo_lora_site(alo_merging *g, const alo_site *site, alo_text *rules) {
    alore_ctx *ctx = alo_ctx(g->m);
    const char *name = alo_name(g->m, site->name);
    const size_t in = alo_zu(site->s.in), out = alo_zu(site->s.out), most = in < out ? in : out;
    const size_t bytes = alo_mul(alo_mul(alo_sum(in, out), alo_sum(most, 1)), sizeof(float));
    if (site->s.host != ALORE_HOST_LINEAR)
        return alo_fail(ctx, ALORE_ERR_UNSUPPORTED, name, "%s is no linear layer: it has no plain LoRA form",
                        name);
    float *left = (float *)alo_new(ctx, bytes);
    if (!left) return ALORE_ERR_MEMORY;
    float *right = left + in * most, *bias = right + out * most;
    size_t at = 0, rank = 0;
    bool moved = false;
    alore_status s = alo_site_find(g, site);
    if (s == ALORE_OK) {
        double *w = g->found, *b = w + in * out, *kept = g->kept; /* w and b become the update */
        const double size = alo_peak(w, in * out, &at), noise = g->plan->real == 4 ? 4e-6 : 1e-13;
        for (size_t j = 0; j < out; ++j) bias[j] = (float)b[j];
        alo_less_host(g, "weight", in, w, kept);
        alo_less_host(g, "bias", 1, b, kept + in * out);
        moved = alo_peak(b, out, &at) > 10 * noise * size;
        if (moved && site->no_bias)
            s = alo_fail(ctx, ALORE_ERR_UNSUPPORTED, name, "%s has no bias, which plain LoRA could move",
                         name);
        rank = alo_crosses(w, in, out, size * noise, left, right);
        for (size_t i = 0; i < in * rank; ++i) /* what the factors make of the host, for the certificate */
            for (size_t j = 0; j < out; ++j)
                kept[i % in * out + j] += (double)left[i] * (double)right[i / in * out + j];
        for (size_t j = 0; j < out && moved; ++j) kept[in * out + j] = (double)bias[j];
        memcpy(g->found, kept, (in + 1) * out * sizeof *kept);
        rank += rank == 0;
    }
    if (s == ALORE_OK) s = alo_certify(g);
    if (s == ALORE_OK) s = alo_add_lora(g, "lora.A", alore_dims((int)in, (int)rank, 0, 0), left, true);
    if (s == ALORE_OK) s = alo_add_lora(g, "lora.B", alore_dims((int)rank, (int)out, 0, 0), right, false);
    if (s == ALORE_OK && moved) s = alo_add_lora(g, "bias", alore_dims((int)out, 0, 0, 0), bias, false);
    alo_print(rules, rules->used ? ";lora:rank=%z@%s" : "lora:rank=%z@%s", rank, name);
    if (moved) alo_print(rules, ";unfreeze@%s.bias", name);
    alo_free(ctx, left, bytes);
    return s;
}

ALORE_API ALO_COLD alore_status alore_export_lora(const alore_model *m, const alore_weights *base,
                                                  const alore_weights *adapter, alore_weights **lora) {
    size_t room = alo_sum(alo_mul(alo_zu(m->site_count), 600), alo_zu(m->name_count) + 1);
    alo_text rules = {NULL, room, 0};
    alo_merging g = ALORE_ZERO;
    g.m = m;
    if (base && base->origin) base = base->origin;
    g.base = base;
    g.adapter = adapter;
    alore_status s = alo_merge_open(&g, m, NULL, true);
    if (s == ALORE_OK) s = alore_weights_create(alo_ctx(m), &g.out);
    if (s == ALORE_OK && !(rules.data = (char *)alo_new(alo_ctx(m), room))) s = ALORE_ERR_MEMORY;
    for (int i = 0; i < m->site_count && s == ALORE_OK; ++i)
        if (m->sites[i].rules) s = alo_lora_site(&g, &m->sites[i], &rules);
    for (int r = 0; r < m->rule_count && s == ALORE_OK; ++r)
        if (!m->rules[r].method) alo_print(&rules, rules.used ? ";%s" : "%s", alo_name(m, m->rules[r].text));
    if (s == ALORE_OK) s = alo_merge_rest(&g, adapter, true);
    if (s == ALORE_OK) s = alo_copy_meta(g.out, adapter);
    if (s == ALORE_OK) s = alore_weights_set_meta(g.out, "alore.rules", rules.data);
    if (s == ALORE_OK) s = alore_weights_set_meta(g.out, "alore.frozen", NULL);
    alo_free(alo_ctx(m), rules.data, room);
    return alo_merge_end(&g, s, lora);
}

/* ============================================================================
 * >> 25 selftest
 * What every result rests on, asked of machine and compiler: the vectors published with Random123, exact bits
 * of the mathematics, the half types there and back, and products that are not fused with sums. */

static float alo_half(float x) { return alore_half_to_float(alore_float_to_half(x)); }
static float alo_bfloat(float x) { return alore_bfloat_to_float(alore_float_to_bfloat(x)); }

/* clang-format off */
static const struct {
    const char *name;
    float (*of)(float);
    uint32_t bits[3][2]; /* in, out */
} alo_math_tests[] = {
    {"exp",    alo_exp,    {{0x3f800000, 0x402df854}, {0xc124cccd, 0x380d1141}, {0x42a03333, 0x793cb085}}},
    {"log",    alo_log,     {{0x41200000, 0x40135d8e}, {0x3f333333, 0xbeb69e1a}, {0x0da24260, 0xc28a27b5}}},
    {"erf",    alo_erf,    {{0x3e99999a, 0x3ea841c5}, {0xbf8ccccd, 0xbf61551e}, {0x402ccccd, 0x3f7ff732}}},
    {"tanh",   alo_tanh,   {{0x3ecccccd, 0x3ec288ac}, {0xbf666666, 0xbf375f4c}, {0x40533333, 0x3f7f4df0}}},
    {"sin",    alo_sin,    {{0x80000000, 0x80000000}, {0xc0400000, 0xbe1081c3}, {0x447a0000, 0x3f53ae61}}},
    {"cos",    alo_cos,    {{0x80000000, 0x3f800000}, {0x3f000000, 0x3f60a940}, {0x447a0000, 0x3f0ff813}}},
    {"sqrt",   alo_sqrt,   {{0x40000000, 0x3fb504f3}, {0x1e3ce508, 0x2edbe6ff}, {0x72177617, 0x58c4e950}}},
    {"half",   alo_half,   {{0x80000001, 0x80000000}, {0x33000001, 0x33800000}, {0xbf801000, 0xbf800000}}},
    {"half",   alo_half,   {{0x3f803000, 0x3f804000}, {0x477fefff, 0x477fe000}, {0x477ff000, 0x7f800000}}},
    {"half",   alo_half,   {{0x3f818000, 0x3f818000}, {0xff800000, 0xff800000}, {0x7f800001, 0x7fc00000}}},
    {"bfloat", alo_bfloat, {{0x00000000, 0x00000000}, {0x33000001, 0x33000000}, {0xbf801000, 0xbf800000}}},
    {"bfloat", alo_bfloat, {{0x3f7fffff, 0x3f800000}, {0x3f808000, 0x3f800000}, {0x3f818000, 0x3f820000}}},
    {"bfloat", alo_bfloat, {{0x477fefff, 0x47800000}, {0xff800000, 0xff800000}, {0x7f800001, 0x7fc00000}}}};
static const uint64_t alo_random_tests[3][5] = { /* seed, stream, block, result */
    {0, 0, 0, 0xe169c58d6627e8d5, 0x9b00dbd8bc57ac4c},
    {UINT64_MAX, UINT64_MAX, UINT64_MAX, 0x41c83b0e408f276d, 0x6d5451fda20bc7c6},
    {0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3243f6a88, 0x94fdccebd16cfe09, 0x24126ea15001e420}};
/* clang-format on */

ALORE_API alore_status alore_selftest(alore_ctx *ctx) {
    if (!ctx) return ALORE_ERR_ARGUMENT;
    /* (1 + e)^2 = 1 + 2 e + e^2 with e = 2^-12: rounded, the product loses e^2; fused or in wider registers
     * it does not. The zero is one that no compiler can know: there are at most 1024 threads. */
    float zero = (float)(ctx->config.threads / 2048), a = 1.000244140625f + zero, b = 1.00048828125f + zero;
    if (alo_bits(a * a - b) & 0x7fffffffu)
        return alo_fail(ctx, ALORE_ERR_TOLERANCE, NULL,
                        "products are fused with sums or keep extra digits: compile with -ffp-contract=off");
    for (int i = 0; i < 12; ++i) {
        const uint64_t *row = alo_random_tests[i / 4];
        uint32_t out[4], want = (uint32_t)(row[3 + i % 4 / 2] >> (32 * (i % 2)));
        alo_philox(row[0], row[1], row[2], out);
        if (out[i % 4] != want)
            return alo_fail(ctx, ALORE_ERR_TOLERANCE, NULL, "Philox vector %d, word %d: %x, not %x", i / 4,
                            i % 4, (uint64_t)out[i % 4], (uint64_t)want);
    }
    for (size_t i = 0; i < 3 * sizeof alo_math_tests / sizeof *alo_math_tests; ++i) {
        const uint32_t *bits = alo_math_tests[i / 3].bits[i % 3];
        uint32_t out = alo_bits(alo_math_tests[i / 3].of(alo_float(bits[0])));
        if (out != bits[1])
            return alo_fail(ctx, ALORE_ERR_TOLERANCE, NULL, "%s of float %x has the bits %x, not %x",
                            alo_math_tests[i / 3].name, (uint64_t)bits[0], (uint64_t)out, (uint64_t)bits[1]);
    }
    return ALORE_OK;
}

#undef ALO_IMPLEMENTING
#endif /* ALO_IMPLEMENTING */
