/* alore.h - v0.1.0 */
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
    void *(*alloc)(void *user, size_t bytes, size_t align);
    void (*release)(void *user, void *block, size_t bytes);
    void *user;
} alore_allocator;

typedef void (*alore_task)(void *arg, int index);

typedef struct alore_parallel {              /* run NULL: the built-in pool      */
    void (*run)(void *user, alore_task task, void *arg, int tasks);
    void *user;
} alore_parallel;

typedef struct alore_config {
    int             threads;                 /* 0: the calling thread only       */
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

/* Version as 0xMMmmpp. Threads: any. */
ALORE_API uint32_t     alore_version(void);
/* A word or two for a status, never NULL. Threads: any. */
ALORE_API const char  *alore_status_text(alore_status status);
/* Make a context in the caller's memory. `config` NULL: malloc, one thread, no
 * log, no clock. ARGUMENT: a set of hooks that is only half there. Threads: create. */
ALORE_API alore_status alore_init(alore_ctx *ctx, const alore_config *config);
/* Free everything that was created from `ctx`. Threads: object. */
ALORE_API void         alore_uninit(alore_ctx *ctx);
/* The most recent failure; .status is ALORE_OK where none was. Threads: object. */
ALORE_API const alore_error *alore_last_error(const alore_ctx *ctx);
/* Check the mathematics, the random numbers and the build (a compiler that fuses
 * products is reported as TOLERANCE). Milliseconds. Threads: object. */
ALORE_API alore_status alore_selftest(alore_ctx *ctx);

/* ---- 3. Weights: named, read-only tensors ----------------------------------- */

typedef enum alore_dtype {       /* every type that safetensors names            */
    ALORE_F32 = 0,
    ALORE_F16,
    ALORE_BF16,
    ALORE_F64,
    ALORE_U8,
    ALORE_I8,
    ALORE_I16,
    ALORE_U16,
    ALORE_I32,
    ALORE_U32,
    ALORE_I64,
    ALORE_U64,
    ALORE_BOOL,
    ALORE_F8_E4M3,
    ALORE_F8_E5M2,
    ALORE_F8_E8M0,
    ALORE_F8_E4M3FNUZ,
    ALORE_F8_E5M2FNUZ,
    ALORE_C64
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
/* Read a safetensors file that lies in memory. The bytes are borrowed: they must
 * outlive the set and may have any alignment. FORMAT: .offset says which byte. */
ALORE_API alore_status alore_weights_open(alore_ctx *ctx, const void *file,
                                          size_t bytes, alore_weights **out);
/* The same from a path, mapped where the system can. (ALORE_NO_STDIO: absent.) */
ALORE_API alore_status alore_weights_load(alore_ctx *ctx, const char *path,
                                          alore_weights **out);
/* Add one tensor. Name and dims are copied; `t->data` is borrowed. With data NULL
 * the set allocates the bytes (zeroed) itself; alore_weights_data fills them.
 * NAME: the name is there already. */
ALORE_API alore_status alore_weights_add(alore_weights *w, const alore_tensor *t);
/* The bytes of an own tensor, to be written; NULL if borrowed or unknown. */
ALORE_API void        *alore_weights_data(alore_weights *w, const char *name);
/* Set (or with value NULL remove) one entry of the metadata. */
ALORE_API alore_status alore_weights_set_meta(alore_weights *w, const char *key,
                                              const char *value);
ALORE_API int          alore_weights_count(const alore_weights *w);
/* Tensor `index`, in the order of the file's data. */
ALORE_API const alore_tensor *alore_weights_at(const alore_weights *w, int index);
/* NULL where there is none. Logarithmic. */
ALORE_API const alore_tensor *alore_weights_find(const alore_weights *w,
                                                 const char *name);
/* Value of a metadata key, NULL where there is none. */
ALORE_API const char  *alore_weights_meta(const alore_weights *w, const char *key);
ALORE_API int          alore_weights_meta_count(const alore_weights *w);
ALORE_API void         alore_weights_meta_at(const alore_weights *w, int index,
                                             const char **key, const char **value);
/* A hash of names, types, shapes and bytes; order and metadata do not matter. */
ALORE_API uint64_t     alore_weights_fingerprint(const alore_weights *w);
/* Write safetensors: data aligned to 8, tensors by falling type size and then by
 * name, so same content, same bytes. */
ALORE_API alore_status alore_weights_write(const alore_weights *w,
                                           const alore_writer *writer);
/* The same to a path, through a temporary file beside it and a rename, so that a
 * reader sees the old file or the new one. IO: the place is as it was. */
ALORE_API alore_status alore_weights_save(const alore_weights *w, const char *path);
ALORE_API void         alore_weights_destroy(alore_weights *w);

/* Bytes of one element, 0 for an unknown type. Threads: any. */
ALORE_API size_t       alore_dtype_bytes(alore_dtype dtype);
/* "F32", "BF16", ... as safetensors writes them. Threads: any. */
ALORE_API const char  *alore_dtype_name(alore_dtype dtype);
/* Elements first .. first+count-1 of a float or integer tensor as f32. False: a
 * type that f32 cannot stand for, or a range outside. Threads: any. */
ALORE_API bool         alore_tensor_read(const alore_tensor *t, size_t first,
                                         size_t count, float *out);

/* ---- 4. Model: rules first, then records ------------------------------------ */

typedef struct alore_model alore_model;
typedef int32_t alore_id;        /* a tensor; 0 is "none" and poisons its users  */

typedef enum alore_kind {        /* site kinds, by the words of the rule text    */
    ALORE_KIND_NONE = 0,
    ALORE_KIND_PATCH, ALORE_KIND_NORM1, ALORE_KIND_QKV, ALORE_KIND_PROJ,
    ALORE_KIND_NORM2, ALORE_KIND_FC1, ALORE_KIND_FC2, ALORE_KIND_NORM,
    ALORE_KIND_HEAD, ALORE_KIND_DWCONV, ALORE_KIND_DOWN,
    ALORE_KIND_TOKENS, ALORE_KIND_ATTN, ALORE_KIND_MLP, ALORE_KIND_BLOCK
} alore_kind;

typedef enum alore_host {        /* what stands at a site; a mask in a method    */
    ALORE_HOST_LINEAR = 1,
    ALORE_HOST_NORM   = 2,
    ALORE_HOST_DWCONV = 4,
    ALORE_HOST_BRANCH = 8,       /* attn, mlp                                    */
    ALORE_HOST_TOKENS = 16,
    ALORE_HOST_BLOCK  = 32
} alore_host;

typedef struct alore_site {      /* what a method sees and a dry run prints      */
    const char *name;            /* "blocks.3.attn.qkv"                          */
    alore_kind  kind;
    alore_host  host;
    int         in, out;         /* columns before and after the host            */
    int         block;           /* counted through all stages, -1 outside       */
    int         blocks;          /* how many the network has                     */
    int         stage;
    int         rows;            /* of the sequence here, the backbone's own     */
    int         prefix;          /* of these, class and register tokens          */
    int         height, width;   /* of the grid behind the prefix                */
} alore_site;

typedef enum alore_place {
    ALORE_PLACE_DEFAULT = 0,     /* where the method's paper puts it             */
    ALORE_PLACE_INPUT,           /* y = host(a(x))                               */
    ALORE_PLACE_PARALLEL,        /* y = host(x) + a(x)                           */
    ALORE_PLACE_OUTPUT,          /* y = a(host(x))                               */
    ALORE_PLACE_WEIGHT,          /* W = a(W0), once per step                     */
    ALORE_PLACE_INSIDE           /* between qkv and attention                    */
} alore_place;

typedef enum alore_share {       /* whose a parameter is                         */
    ALORE_OWN = 0,               /* the site's                                   */
    ALORE_KIND,                  /* one for all sites of the kind (and width)    */
    ALORE_ALL                    /* one for the network                          */
} alore_share;

enum { ALORE_MAX_KEYS = 12, ALORE_MAX_TARGETS = 16 };

typedef struct alore_key {       /* one key of a method                          */
    const char *name;
    double      value;           /* default; of a word its index in `words`      */
    double      least, most;
    const char *words;           /* "all|kind|site", NULL: a number              */
    bool        whole;           /* the number must be whole                     */
    bool        required;
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
    alore_id x;                  /* the host's input                             */
    alore_id y;                  /* its output (place output)                    */
    alore_id n;                  /* on a branch: the norm's output               */
    alore_id weight, bias;       /* place weight; bias may be replaced           */
    alore_id k, v;               /* place inside; both may be replaced           */
} alore_flow;

typedef struct alore_method {    /* one row: parser, help, counts and tests read it */
    const char *name;
    const char *formula;
    const char *paper;
    const char *usual;           /* the published rule text                      */
    int         hosts;           /* mask of alore_host it has a form for         */
    alore_place place;           /* the default                                  */
    int         places;          /* mask of 1 << alore_place, 0: the default     */
    alore_key   keys[ALORE_MAX_KEYS];
    /* New value of what its place names: input x, the addition (parallel), output
     * y, or weight. */
    alore_id (*emit)(alore_model *m, const alore_site *site,
                     const alore_recipe *recipe, alore_flow *flow);
    /* Called once at the head's input; NULL: nothing to do. */
    alore_id (*finish)(alore_model *m, const alore_recipe *recipe, alore_id x);
    /* The site's update as left [in, rank] times right [rank, out], added to the
     * host's matrix [in, out]. NULL arrays: only return the rank. `params` holds
     * the rule's own tensors in order of declaration, `weight` the host's [in, out].
     * NULL: no such form. */
    int (*factors)(const alore_site *site, const alore_recipe *recipe,
                   const float *const *params, const float *weight,
                   float *left, float *right);
    const char *mergeable;       /* NULL: yes; else the reason why not           */
} alore_method;

typedef struct alore_shape {
    int rank;
    int dims[4];
} alore_shape;

typedef struct alore_start {     /* how a parameter starts                       */
    int   kind;                  /* 0 constant, 1 uniform, 2 normal              */
    float a, b;
} alore_start;

typedef enum alore_unary_kind {
    ALORE_GELU = 0,              /* by erf                                       */
    ALORE_GELU_TANH,
    ALORE_QUICK_GELU,            /* x sigmoid(1.702 x)                           */
    ALORE_RELU,
    ALORE_SILU,
    ALORE_TANH,
    ALORE_SIGMOID
} alore_unary_kind;

typedef struct alore_linear_opts {
    alore_kind kind;
    int        groups;           /* 0 or 1: one dense block                      */
    bool       no_bias;
    const int *kernel;           /* a convolution's [in, kh, kw], for the name's
                                    shape in files; NULL: a plain matrix         */
} alore_linear_opts;

typedef struct alore_attention_opts {
    int            heads;
    int            window;       /* rows per window, 0: all rows of the sample   */
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
ALORE_API const alore_method *alore_method_find(const alore_ctx *ctx,
                                                const char *name);
/* Rules as text (GRAMMAR): "alore:rank=4@qkv|fc1;unfreeze@head". Before the
 * network is built; several calls add up. RULE: the text says what and where. */
ALORE_API alore_status alore_attach(alore_model *m, const char *rules);
/* The rules of an adapter file (`alore.rules` in its metadata). */
ALORE_API alore_status alore_attach_from(alore_model *m, const alore_weights *adapter);
/* The rules so far as one text, blanks removed. */
ALORE_API const char  *alore_rules(const alore_model *m);
/* Setting of a key by name, for keys without a field of their own. */
ALORE_API double       alore_recipe_number(const alore_recipe *r, const char *key);
ALORE_API const char  *alore_recipe_word(const alore_recipe *r, const char *key,
                                         char out[32]);

/* Words for networks. Each infers its shape at once; a mistake is remembered, the
 * word returns 0, any word given 0 returns 0, and alore_model_finish tells. */
ALORE_API void     alore_blocks(alore_model *m, int count); /* before the first */
ALORE_API void     alore_grid(alore_model *m, int prefix, int height, int width);
ALORE_API void     alore_push(alore_model *m, const char *scope, int index);
ALORE_API void     alore_pop(alore_model *m);
ALORE_API alore_shape alore_dims(int a, int b, int c, int d); /* 0: no such extent */
ALORE_API alore_start alore_fill(float value);
ALORE_API alore_start alore_uniform(float bound);
ALORE_API alore_start alore_normal(float mean, float deviation);
ALORE_API alore_id alore_input(alore_model *m, const char *name, alore_dtype dtype,
                               int rows, int cols);
ALORE_API alore_id alore_base(alore_model *m, const char *name, alore_shape shape);
ALORE_API alore_id alore_param(alore_model *m, const char *name, alore_shape shape,
                               alore_share share, alore_start start);
ALORE_API alore_id alore_frozen(alore_model *m, const char *name, alore_shape shape,
                                alore_share share, alore_start start);
ALORE_API alore_id alore_cast(alore_model *m, alore_id bytes, const float mean[3],
                              const float deviation[3]);
ALORE_API alore_id alore_linear(alore_model *m, const char *name, alore_id x, int out,
                                const alore_linear_opts *opts);
ALORE_API alore_id alore_conv_depthwise(alore_model *m, const char *name, alore_id x,
                                        int height, int width, int kernel);
ALORE_API alore_id alore_norm(alore_model *m, const char *name, alore_kind kind,
                              alore_id x, float eps);
ALORE_API alore_id alore_branch(alore_model *m, const char *name, alore_kind kind,
                                alore_id x, alore_id n, alore_id y);
ALORE_API alore_id alore_attention(alore_model *m, alore_id q, alore_id k, alore_id v,
                                   const alore_attention_opts *opts);
ALORE_API alore_id alore_matmul(alore_model *m, alore_id a, alore_id b);
ALORE_API alore_id alore_matmul_t(alore_model *m, alore_id a, bool a_t, alore_id b,
                                  bool b_t);
ALORE_API alore_id alore_kron(alore_model *m, alore_id x, alore_id s, alore_id d,
                              alore_id u, int terms);
ALORE_API alore_id alore_affine(alore_model *m, alore_id x, alore_id gain,
                                alore_id shift);
ALORE_API alore_id alore_scale(alore_model *m, alore_id x, float factor);
ALORE_API alore_id alore_unary(alore_model *m, alore_unary_kind kind, alore_id x);
ALORE_API alore_id alore_add(alore_model *m, alore_id a, alore_id b);
ALORE_API alore_id alore_mul(alore_model *m, alore_id a, alore_id b);
ALORE_API alore_id alore_add_columns(alore_model *m, alore_id x, alore_id y, int first);
ALORE_API alore_id alore_gather(alore_model *m, alore_id x, const int32_t *rows,
                                int count, int group);
ALORE_API alore_id alore_concat(alore_model *m, alore_id top, alore_id bottom);
ALORE_API alore_id alore_columns(alore_model *m, alore_id x, int first, int count);
ALORE_API alore_id alore_reshape(alore_model *m, alore_id x, int rows, int cols);
ALORE_API alore_id alore_mean_rows(alore_model *m, alore_id x, int first, int count);
ALORE_API alore_id alore_dropout(alore_model *m, alore_id x, float p);
ALORE_API alore_id alore_drop_path(alore_model *m, alore_id x, float p);
ALORE_API alore_id alore_loss_xent(alore_model *m, alore_id logits, alore_id labels,
                                   float smoothing);
ALORE_API alore_id alore_loss_mse(alore_model *m, alore_id y, alore_id target);
ALORE_API void     alore_output(alore_model *m, const char *name, alore_id x);
/* Close the model; the first mistake of any word above is told here. Every rule
 * must have matched (NO_MATCH lists the nearest names). */
ALORE_API alore_status alore_model_finish(alore_model *m);

ALORE_API int  alore_rows(const alore_model *m, alore_id id);  /* 0: no such tensor */
ALORE_API int  alore_cols(const alore_model *m, alore_id id);
ALORE_API int  alore_site_count(const alore_model *m);
ALORE_API const alore_site *alore_site_at(const alore_model *m, int index);
/* The rules that take this site, as text joined by ';' ("" where none). Bytes
 * needed without the NUL; writes at most `bytes`. */
ALORE_API size_t alore_site_rules(const alore_model *m, int index, char *out,
                                  size_t bytes);
ALORE_API const char *alore_kind_name(alore_kind kind);

/* ---- 5. Backbones: each one function made of the calls above ---------------- */

typedef struct alore_vit_config {            /* all zero: ViT-B/16, 224, 1000    */
    int   height, width, patch, dim, depth, heads, hidden, classes;
    int   registers;
    bool  mean_pool;             /* mean over patch tokens, then fc_norm         */
    bool  pre_norm;              /* norm_pre, and no bias at the patches (CLIP)  */
    bool  patch_bias;            /* with pre_norm: a bias at the patches after all */
    bool  layer_scale, swiglu, no_head, no_qkv_bias;
    alore_unary_kind act;
    float eps;                   /* 0: 1e-6                                      */
    float drop_path;
    float mean[3], deviation[3]; /* of u8 images; 0: 0.5                         */
} alore_vit_config;

/* image [height*width, 3] u8, or f32 already normalised. Returns logits [1,
 * classes]; outputs "features" [1, dim] are declared on the way. */
ALORE_API alore_id     alore_vit(alore_model *m, alore_id image,
                                 const alore_vit_config *config);
/* Zeros replaced by the documented defaults. */
ALORE_API alore_vit_config alore_vit_defaults(const alore_vit_config *config);
/* The configuration that a checkpoint's names and shapes tell. Heads are dim/64. */
ALORE_API alore_status alore_vit_detect(alore_ctx *ctx, const alore_weights *w,
                                        alore_vit_config *out);
/* Set patch_bias and no_qkv_bias, which no text holds, as the checkpoint has them. */
ALORE_API void         alore_vit_biases(const alore_weights *w,
                                        alore_vit_config *config);
/* "vit:img=32x32,patch=8,dim=48,..." or a timm name to a configuration, and back.
 * `classes_given` (may be NULL) tells whether the text named the classes. */
ALORE_API alore_status alore_vit_parse(alore_ctx *ctx, const char *text,
                                       alore_vit_config *out, bool *classes_given);
ALORE_API size_t       alore_vit_text(const alore_vit_config *config, char *out,
                                      size_t bytes);
/* Names that alore_vit_parse knows, NULL past the end. */
ALORE_API const char  *alore_vit_name(int index);

/* ---- 6. Plan: records in order, with addresses ------------------------------ */

typedef struct alore_plan    alore_plan;
typedef struct alore_backend alore_backend;

typedef enum alore_recompute {
    ALORE_KEEP = 0,              /* keep what the backward pieces asked for      */
    ALORE_BLOCKS,                /* keep block inputs, run forward again         */
    ALORE_TO_FIT                 /* the least recomputation that fits .limit     */
} alore_recompute;

typedef enum alore_optimizer {   /* how many moments the plan holds              */
    ALORE_ADAMW = 0,             /* two                                          */
    ALORE_MOMENTUM,              /* one                                          */
    ALORE_SGD                    /* none                                         */
} alore_optimizer;

enum {                           /* switch off, for tests and for the curious    */
    ALORE_NO_FUSE    = 1,
    ALORE_NO_INPLACE = 2,
    ALORE_NO_ALIAS   = 4,
    ALORE_NO_REUSE   = 8         /* every tensor its own place                   */
};

typedef struct alore_plan_opts {
    int                  batch;      /* samples of one call, 0: 1                */
    int                  lanes;      /* samples in flight, each its own arena; 0: 1 */
    int                  span;       /* samples run as one matrix, 0: 1          */
    int                  align;      /* 0: 64                                    */
    size_t               limit;      /* bytes in all for TO_FIT                  */
    alore_recompute      recompute;
    alore_optimizer      optimizer;
    bool                 train;
    alore_dtype          dtype;      /* of activations: F32, or F64 (reference)  */
    unsigned             off;        /* ALORE_NO_* bits                          */
    bool                 reference;  /* the reference kernels, sums in double    */
    const alore_backend *backend;    /* NULL: the CPU                            */
} alore_plan_opts;

typedef struct alore_memory {        /* exact, in bytes                          */
    size_t base;                     /* what the checkpoint's tensors take as f32 */
    size_t params, frozen, grads, optimizer;
    size_t once;                     /* tensors made once a step                 */
    size_t activations;              /* one lane, with every record's scratch    */
    size_t scratch;                  /* of that, the most that one record wants  */
    size_t io;                       /* inputs and outputs of a batch            */
    size_t arena;                    /* lanes * activations                      */
    size_t live_bound;               /* largest live set of a lane: a perfect packing */
    size_t total;                    /* what alore_run_bind() must be given      */
} alore_memory;

ALORE_API alore_status alore_plan_create(const alore_model *m,
                                         const alore_plan_opts *opts,
                                         alore_plan **out);
ALORE_API void         alore_plan_destroy(alore_plan *p);
ALORE_API alore_memory alore_plan_memory(const alore_plan *p);
/* Floating-point operations for one sample, forward and (if trained) backward. */
ALORE_API double       alore_plan_flops(const alore_plan *p);
ALORE_API int          alore_plan_records(const alore_plan *p);
/* Every record and every byte, as text. */
ALORE_API alore_status alore_plan_print(const alore_plan *p, const alore_writer *w);

typedef struct alore_param_info {
    const char    *name;
    size_t         first, count;     /* range in the flat parameter array        */
    alore_shape    shape;
    bool           base;             /* an unfrozen tensor of the checkpoint     */
    bool           matrix;           /* two extents or more (decay by range)     */
    bool           frozen;           /* listed for files, does not learn         */
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
    unsigned char       *memory;
    struct alo_object   *owner;
    void                *converted;
    size_t               converted_bytes;
    uint64_t             seed, step, samples;
    bool                 poison;     /* fill with NaN what is dead (tests)       */
    int                  phases, pending, cursor_group, cursor_record;
} alore_run;

enum { ALORE_FORWARD = 1, ALORE_BACKWARD = 2 };

/* A run in memory of its own. Every base tensor must be in `base` with its shape,
 * but for an unfrozen head. NULL `base`: allowed where nothing needs one. */
ALORE_API alore_status alore_run_create(const alore_plan *p, const alore_weights *base,
                                        alore_run **out);
/* A run in the caller's memory: alore_plan_memory().total bytes, and base tensors
 * in f32. CAPACITY: both numbers. Nothing is allocated. */
ALORE_API alore_status alore_run_bind(alore_run *run, const alore_plan *p,
                                      const alore_weights *base, void *memory,
                                      size_t bytes);
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
/* Run them forward and backward and add to the gradients. (Each lane runs one
 * sample there and back, so that activations live for one sample only.) */
ALORE_API alore_status alore_backward(alore_run *run, int samples);
/* The same in small steps, on the calling thread: `records` at a time. */
ALORE_API alore_status alore_begin(alore_run *run, int phases, int samples);
ALORE_API alore_status alore_advance(alore_run *run, int records, bool *done);
/* The flat arrays; gradients are sums over the samples since the last step. */
ALORE_API float       *alore_params(alore_run *run, size_t *count);
ALORE_API float       *alore_grads(alore_run *run, size_t *count);
/* All state that training has, with a checksum; resume is bit-exact. `tag` is the
 * caller's own text (rules, data, settings) and must be equal on reading. */
ALORE_API alore_status alore_checkpoint_write(const alore_run *run, const char *tag,
                                              const alore_writer *writer);
ALORE_API alore_status alore_checkpoint_read(alore_run *run, const char *tag,
                                             const void *data, size_t bytes);

/* ---- 8. Optimisers, schedules, sampling ------------------------------------- */

typedef struct alore_step_opts {     /* zero: 0.9, 0.999, 1e-8, nothing else     */
    double beta1, beta2, eps;
    double momentum;                 /* SGD                                      */
    bool  nesterov;
    double decay;                    /* AdamW: decoupled; SGD: added to g        */
    bool  decay_matrices;            /* only tensors of two extents and more     */
    double clip;                     /* largest norm of the mean gradient, 0: none */
    double grad_scale;               /* 0: 1 / samples since the last step       */
} alore_step_opts;

typedef enum alore_schedule_kind {
    ALORE_CONSTANT = 0,
    ALORE_COSINE,                    /* warm-up, then cosine over the rest       */
    ALORE_TIMM_COSINE                /* cosine not shifted by the warm-up        */
} alore_schedule_kind;

typedef struct alore_schedule {
    alore_schedule_kind kind;
    float lr, lr_min, lr_start;
    int   warmup, total;
} alore_schedule;

ALORE_API float        alore_lr(const alore_schedule *s, int step);
/* One step of the plan's optimiser; clears the gradients. `norm` (may be NULL)
 * receives the norm of the mean gradient. NONFINITE: nothing was written. */
ALORE_API alore_status alore_step(alore_run *run, const alore_step_opts *opts,
                                  float lr, float *norm);
/* Place `i` of the order in which pass `epoch` takes n items: a keyed permutation. */
ALORE_API uint32_t     alore_shuffle(uint64_t seed, uint32_t epoch, uint32_t i,
                                     uint32_t n);

/* ---- 9. Merge and export ---------------------------------------------------- */

typedef struct alore_merge_opts {
    float       tolerance;           /* 0: 1e-5 relative, on random probes       */
    alore_dtype dtype;               /* storage of changed tensors where .convert */
    bool        convert;             /* false: the type they have in the base    */
} alore_merge_opts;

typedef struct alore_merge_report {
    int   sites, tensors_changed;
    float worst_error;               /* merged against unmerged, relative        */
    float worst_lost;                /* share of a delta lost to rounding        */
    char  worst_site[64], lost_site[64];
} alore_merge_report;

ALORE_API alore_status alore_merge(const alore_model *m, const alore_weights *base,
                                   const alore_weights *adapter,
                                   const alore_merge_opts *opts,
                                   alore_weights **merged, alore_merge_report *report);
/* The adapter as plain LoRA, exactly: rules "lora:rank=..@site", same function. */
ALORE_API alore_status alore_export_lora(const alore_model *m,
                                         const alore_weights *base,
                                         const alore_weights *adapter,
                                         alore_weights **lora);

/* ---- 10. Building blocks, usable alone -------------------------------------- */

ALORE_API uint32_t alore_random_u32(uint64_t seed, uint64_t stream, uint64_t index);
ALORE_API float    alore_random_uniform(uint64_t seed, uint64_t stream, uint64_t index);
ALORE_API float    alore_random_normal(uint64_t seed, uint64_t stream, uint64_t index);
ALORE_API float    alore_half_to_float(uint16_t half);
ALORE_API uint16_t alore_float_to_half(float x);
ALORE_API float    alore_bfloat_to_float(uint16_t bfloat);
ALORE_API uint16_t alore_float_to_bfloat(float x);
ALORE_API alore_status alore_pool_create(alore_ctx *ctx, int threads, alore_pool **out);
ALORE_API void     alore_pool_run(void *pool, alore_task task, void *arg, int tasks);
ALORE_API void     alore_pool_destroy(alore_pool *pool);

/* ---- 11. Backends ----------------------------------------------------------- */

typedef struct alore_call alore_call;        /* a record with pointers resolved  */
typedef void (*alore_kernel)(const alore_call *call, int first, int last);

struct alore_backend {                       /* a zero means "as the CPU"        */
    const char         *name;
    int                 count;       /* kernels; must equal this version's       */
    const alore_kernel *kernels;     /* NULL entry: the planner refuses that op  */
    int                 align;       /* of every planned tensor                  */
    int                 lanes;       /* most lanes a plan may use                */
    size_t              workspace;   /* bytes that live for the whole run        */
    size_t (*scratch)(void *user, int op, int rows, int cols);
    unsigned            fuse;        /* fusions it can make                      */
    unsigned            types;       /* activation types it can store            */
    int                 tasks;       /* most tasks of one record                 */
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

/* ############################################################################
 * Stop here if you only use the library. What follows is the implementation,
 * bottom-up: a section may use only what stands above it.
 * ######################################################################### */
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

/* Plain code is compiled without fused products, so that every machine computes the
 * same bits: gcc needs -std=c99 or -ffp-contract=off, clang has the pragma. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

/* ============================================================================
 * >> 01 sizes, errors, memory
 *
 * Every size is computed by alo_mul and alo_sum, which saturate: a size that does
 * not fit becomes SIZE_MAX, which no allocator grants and no file holds. Every
 * block comes from the context's allocator; every object stands in its context's
 * list, so that alore_uninit frees what is left.
 * ========================================================================== */

static size_t alo_mul(size_t a, size_t b)
{
    return b && a > SIZE_MAX / b ? SIZE_MAX : a * b;
}

static size_t alo_sum(size_t a, size_t b)
{
    return a > SIZE_MAX - b ? SIZE_MAX : a + b;
}

/* Up to the next multiple of `align`, a power of two. */
static size_t alo_align(size_t bytes, size_t align)
{
    return alo_sum(bytes, align - 1) == SIZE_MAX ? SIZE_MAX
                                                 : (bytes + align - 1) & ~(align - 1);
}

/* An extent that was checked to be positive, as a size. */
static size_t alo_zu(int extent)
{
    ALORE_ASSERT(extent >= 0);
    return (size_t)extent;
}

typedef struct alo_text {  /* text that grows into a fixed place, always NUL-ended  */
    char  *data;
    size_t bytes, used;    /* room, and what the whole text would take              */
} alo_text;

static void alo_put(alo_text *t, const char *s, size_t bytes)
{
    for (size_t i = 0; i < bytes; ++i, ++t->used)
        if (t->used + 1 < t->bytes) t->data[t->used] = s[i];
    if (t->bytes) t->data[t->used < t->bytes ? t->used : t->bytes - 1] = 0;
}

static void alo_put_uint(alo_text *t, uint64_t v, unsigned radix)
{
    char digits[24];
    int n = (int)sizeof digits;
    do {
        digits[--n] = "0123456789abcdef"[v % radix];
        v /= radix;
    } while (v);
    alo_put(t, digits + n, sizeof digits - alo_zu(n));
}

/* A number with up to six digits, as %g prints it. */
static void alo_put_real(alo_text *t, double x)
{
    int exponent = 0, digits = 6;
    char text[8];
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (bits >> 63) {
        alo_put(t, "-", 1);
        x = -x;
    }
    if ((bits >> 52 & 0x7ff) == 0x7ff) {
        alo_put(t, bits << 12 ? "nan" : "inf", 3);
        return;
    }
    if (x == 0) {
        alo_put(t, "0", 1);
        return;
    }
    while (x >= 1e6) x /= 10, ++exponent;
    while (x < 1e5) x *= 10, --exponent;
    uint64_t whole = (uint64_t)(x + 0.5);
    if (whole >= 1000000) whole /= 10, ++exponent;
    for (int i = digits - 1; i >= 0; --i, whole /= 10) text[i] = (char)('0' + whole % 10);
    exponent += digits - 1;
    while (digits > 1 && text[digits - 1] == '0') --digits;
    if (exponent < -4 || exponent >= 6) {
        alo_put(t, text, 1);
        if (digits > 1) alo_put(t, ".", 1), alo_put(t, text + 1, alo_zu(digits - 1));
        alo_put(t, exponent < 0 ? "e-" : "e+", 2);
        exponent = exponent < 0 ? -exponent : exponent;
        if (exponent < 10) alo_put(t, "0", 1);
        alo_put_uint(t, (uint64_t)exponent, 10);
        return;
    }
    if (exponent < 0) {
        alo_put(t, "0.000", (size_t)(1 - exponent));
        alo_put(t, text, alo_zu(digits));
        return;
    }
    for (int i = 0; i <= exponent || i < digits; ++i) {
        if (i == exponent + 1) alo_put(t, ".", 1);
        alo_put(t, i < digits ? text + i : "0", 1);
    }
}

/* %s text, %d int, %z size_t, %u uint64_t, %x uint64_t in hexadecimal, %g double. */
static void alo_print_list(alo_text *t, const char *format, va_list args)
{
    for (; *format; ++format) {
        if (*format != '%') {
            alo_put(t, format, 1);
            continue;
        }
        switch (*++format) {
        case 's': {
            const char *s = va_arg(args, const char *);
            alo_put(t, s, strlen(s));
            break;
        }
        case 'd': {
            int d = va_arg(args, int);
            if (d < 0) alo_put(t, "-", 1);
            alo_put_uint(t, d < 0 ? (uint64_t)(-(int64_t)d) : (uint64_t)d, 10);
            break;
        }
        case 'z':
            alo_put_uint(t, va_arg(args, size_t), 10);
            break;
        case 'u':
            alo_put_uint(t, va_arg(args, uint64_t), 10);
            break;
        case 'x':
            alo_put_uint(t, va_arg(args, uint64_t), 16);
            break;
        case 'g':
            alo_put_real(t, va_arg(args, double));
            break;
        default: /* a lone % at the end prints nothing */
            if (!*format) return;
            alo_put(t, format, 1);
            break;
        }
    }
}

static void alo_print(alo_text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    alo_print_list(t, format, args);
    va_end(args);
}

/* Remember a failure and return its status. `site` may be NULL. */
static alore_status alo_fail(alore_ctx *ctx, alore_status status, const char *site,
                             const char *format, ...)
{
    va_list args;
    alo_text place = {ctx->error.site, sizeof ctx->error.site, 0};
    alo_text text = {ctx->error.text, sizeof ctx->error.text, 0};
    if (site == ctx->error.site) site = NULL; /* never read what is written */
    ctx->error.status = status;
    ctx->error.record = -1;
    ctx->error.offset = 0;
    alo_print(&place, "%s", site ? site : "");
    va_start(args, format);
    alo_print_list(&text, format, args);
    va_end(args);
    return status;
}

static alore_status alo_fail_at(alore_ctx *ctx, alore_status status, uint64_t offset,
                                const char *what)
{
    alo_fail(ctx, status, NULL, "%s, at byte %u", what, offset);
    ctx->error.offset = offset;
    return status;
}

static void alo_log(const alore_ctx *ctx, int level, const char *text)
{
    if (ctx->config.log) ctx->config.log(ctx->config.user, level, text);
}

/* A zeroed block of `bytes`, or NULL with the error set. */
static void *alo_new(alore_ctx *ctx, size_t bytes)
{
    const alore_allocator *a = &ctx->config.allocator;
    void *block = NULL;
    if (!bytes) bytes = 1;
    if (bytes < SIZE_MAX / 2) block = a->alloc(a->user, bytes, 64);
    if (!block) {
        alo_fail(ctx, ALORE_ERR_MEMORY, NULL, "the allocator refused %z bytes", bytes);
        return NULL;
    }
    memset(block, 0, bytes);
    return block;
}

static void alo_free(alore_ctx *ctx, void *block, size_t bytes)
{
    const alore_allocator *a = &ctx->config.allocator;
    if (block) a->release(a->user, block, bytes ? bytes : 1);
}

/* Make room for one more element in an array of *room elements of which `count` are
 * in use. Returns the array, moved if need be, or NULL (the old one still stands). */
static void *alo_grow(alore_ctx *ctx, void *array, int count, int *room, size_t element)
{
    int more;
    void *wider;
    if (count < *room) return array;
    if (*room > (1 << 28)) {
        alo_fail(ctx, ALORE_ERR_MEMORY, NULL, "more than %d elements", *room);
        return NULL;
    }
    more = *room ? 2 * *room : 16;
    wider = alo_new(ctx, alo_mul(alo_zu(more), element));
    if (!wider) return NULL;
    if (array) memcpy(wider, array, alo_zu(count) * element);
    alo_free(ctx, array, alo_zu(*room) * element);
    *room = more;
    return wider;
}

struct alo_object {        /* the first member of whatever a context owns           */
    alore_ctx         *ctx;
    struct alo_object *before, *after;
    void (*destroy)(struct alo_object *self);
    size_t             bytes;
};
typedef struct alo_object alo_object;

/* A zeroed object of `bytes` in the context's list, or NULL with the error set. */
static alo_object *alo_object_new(alore_ctx *ctx, size_t bytes,
                                  void (*destroy)(alo_object *))
{
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

/* Take it out of the list and free the block itself; its parts are freed before. */
static void alo_object_free(alo_object *o)
{
    if (o->before)
        o->before->after = o->after;
    else
        o->ctx->objects = o->after;
    if (o->after) o->after->before = o->before;
    alo_free(o->ctx, o, o->bytes);
}

ALORE_API uint32_t alore_version(void)
{
    return (uint32_t)ALORE_VERSION_MAJOR << 16 | (uint32_t)ALORE_VERSION_MINOR << 8 |
           (uint32_t)ALORE_VERSION_PATCH;
}

ALORE_API const char *alore_status_text(alore_status status)
{
    static const char *const texts[] = {
        "ok", "bad argument", "wrong moment", "shape", "storage type", "name",
        "rule", "no match", "out of memory", "too little room", "input or output",
        "malformed", "version", "another base", "unsupported", "not mergeable",
        "tolerance", "not finite"};
    size_t i = (size_t)status;
    return i < sizeof texts / sizeof *texts ? texts[i] : "unknown";
}

ALORE_API const alore_error *alore_last_error(const alore_ctx *ctx)
{
    return &ctx->error;
}

/* ============================================================================
 * >> 03 mathematics
 *
 * exp, log, erf, tanh, sin, cos and sqrt in f32, without a C library, a double or a
 * fused product: the same bits on every machine that rounds as IEEE 754 says. A
 * function is one straight line of polynomials and selections, so that a loop over
 * it becomes vector code. Arguments are judged by their bits; NaN stays NaN.
 *
 * Errors are in units in the last place of the result, measured against double
 * precision (sqrt: for every fraction). Each polynomial is the minimax one of its
 * form, by Remez exchange, in relative error.
 *
 * Half and bfloat16 round to nearest, ties to even.
 * ========================================================================== */

static inline uint32_t alo_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float alo_float(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline bool alo_is_nan(float x)
{
    return (alo_bits(x) & 0x7fffffffu) > 0x7f800000u;
}

/* yes ? a : b, without a branch and without a float comparison that may trap. */
static inline float alo_pick(bool yes, float a, float b)
{
    uint32_t mask = 0u - (uint32_t)yes;
    return alo_float((alo_bits(a) & mask) | (alo_bits(b) & ~mask));
}

/* The integer nearest to x, |x| < 2^22: a large sum has no bits left for fractions. */
static inline int32_t alo_nearest(float x)
{
    return (int32_t)(alo_bits(x + 12582912.0f) - 0x4b400000u);
}

/* e^x; 1 ulp. With n the integer nearest to x / ln 2 and r = x - n ln 2 it is
 * 2^n e^r. ln 2 is a sum of two, the first of 15 bits, so that n times it is exact;
 * 2^n is a product of two, so that it reaches denormals and infinity. */
static inline float alo_exp(float x)
{
    uint32_t bits = alo_bits(x), most = bits >> 31 ? 0x42d20000u : 0x42b20000u;
    bool outside = (bits & 0x7fffffffu) > most; /* 89 above, -105 below */
    float y = alo_pick(outside, alo_float((bits & 0x80000000u) | most), x);
    int32_t n = alo_nearest(y * 1.44269504f), half = n / 2;
    float k = (float)n;
    float r = y - k * 0.693145752f - k * 1.42860677e-6f;
    float p = 0.00138143206f;
    p = p * r + 0.00836885069f;
    p = p * r + 0.0416684002f;
    p = p * r + 0.166665196f;
    p = p * r + 0.49999994f;
    p = 1.0f + (r + r * r * p);
    p *= alo_float((uint32_t)(127 + half) << 23);
    p *= alo_float((uint32_t)(127 + n - half) << 23);
    return alo_pick(alo_is_nan(x), x, p);
}

/* Natural logarithm; 0.9 ulp. -inf at zeros, NaN below. With x = 2^k (1 + f) and
 * 1 + f in [sqrt 1/2, sqrt 2) it is k ln 2 + f - f^2 / 2 + f^3 P(f). */
static inline float alo_ln(float x)
{
    uint32_t bits = alo_bits(x);
    bool denormal = bits < 0x00800000u;
    float y = alo_pick(denormal, x * 8388608.0f, x);
    uint32_t high = alo_bits(y) + (0x3f800000u - 0x3f3504f3u);
    float k = (float)((int32_t)(high >> 23) - (denormal ? 127 + 23 : 127));
    float f = alo_float((high & 0x007fffffu) + 0x3f3504f3u) - 1.0f;
    float p = -0.0763461888f;
    p = p * f + 0.127617538f;
    p = p * f - 0.131602213f;
    p = p * f + 0.142017365f;
    p = p * f - 0.16623351f;
    p = p * f + 0.200012282f;
    p = p * f - 0.250008225f;
    p = p * f + 0.333333313f;
    p = f * f * (f * p) + k * 1.42860677e-6f - 0.5f * f * f + f + k * 0.693145752f;
    p = alo_pick(bits > 0x80000000u, alo_float(0x7fc00000u), p);
    p = alo_pick((bits & 0x7fffffffu) == 0, alo_float(0xff800000u), p);
    return alo_pick((bits == 0x7f800000u) | alo_is_nan(x), x, p);
}

/* Error function; 1.6 ulp. x + x P(x^2) below 1, and 1 - Q(|x|)^4 above: the fourth
 * root of 1 - erf is tame, and neither exp nor a division is needed. */
static inline float alo_erf(float x)
{
    uint32_t sign = alo_bits(x) & 0x80000000u;
    float t = alo_float(alo_bits(x) ^ sign), z = x * x;
    float u = alo_pick(alo_bits(t) < 0x407c0000u, t, 3.9375f) - 1.25f;
    float p = 7.85386219e-5f, q = -2.2180946e-5f;
    p = p * z - 0.000801019371f;
    p = p * z + 0.00518832775f;
    p = p * z - 0.0268538129f;
    p = p * z + 0.112835854f;
    p = p * z - 0.37612626f;
    p = p * z + 0.128379166f;
    q = q * u - 4.51836859e-5f;
    q = q * u + 0.00135940267f;
    q = q * u - 0.00352749391f;
    q = q * u - 0.00933250599f;
    q = q * u + 0.0440665111f;
    q = q * u + 0.040252436f;
    q = q * u - 0.404128939f;
    q = q * u + 0.52694273f;
    q *= q;
    q = alo_pick(alo_bits(t) < 0x3f800000u, t + t * p, 1.0f - q * q);
    return alo_pick(alo_is_nan(x), x, alo_float(alo_bits(q) | sign));
}

/* Hyperbolic tangent; 1.4 ulp. x + x^3 P(x^2) below 0.625, else by e^(2|x|). */
static inline float alo_tanh(float x)
{
    uint32_t sign = alo_bits(x) & 0x80000000u;
    float t = alo_float(alo_bits(x) ^ sign), z = x * x;
    float q = 1.0f - 2.0f / (alo_exp(t + t) + 1.0f);
    float p = -0.00569239026f;
    p = p * z + 0.0206282381f;
    p = p * z - 0.053736534f;
    p = p * z + 0.133314058f;
    p = p * z - 0.333332807f;
    q = alo_pick(alo_bits(t) < 0x3f200000u, t + t * z * p, q);
    return alo_pick(alo_is_nan(x), x, alo_float(alo_bits(q) | sign));
}

/* x - n pi/2 as *r + *rest, |*r| <= pi/4, and n, which is the result; |x| <= 8192.
 * pi/2 is a sum of five, four of 11 bits: n times these is exact. The difference to
 * the first two is exact, to the next two as a pair; the fifth is the last bit of
 * arguments that lie close to a multiple. */
static inline int32_t alo_turn(float x, float *r, float *rest)
{
    int32_t n = alo_nearest(x * 0.636619772f);
    float k = (float)n, c = k * 7.54953362e-8f, d = k * 2.56328292e-12f;
    float a = x - k * 1.5703125f - k * 0.000483751297f;
    float b = a - c;
    *r = b - d;
    *rest = ((a - b) - c) + ((b - *r) - d) - k * 6.12323426e-17f;
    return n;
}

/* sin (r + rest) and cos (r + rest) for |r| <= pi/4. */
static inline float alo_sin_near(float r, float rest)
{
    float z = r * r, p = -0.000195179673f;
    p = p * z + 0.00833218731f;
    p = p * z - 0.166666552f;
    return r + (r * z * p + rest);
}

static inline float alo_cos_near(float r, float rest)
{
    float z = r * r, h = 0.5f * z, w = 1.0f - h, p = 2.44324128e-5f;
    p = p * z - 0.00138873095f;
    p = p * z + 0.0416666456f;
    return w + (((1.0f - w) - h) + (z * z * p - r * rest));
}

/* Sine; 1 ulp for |x| <= 8192, NaN beyond. */
static inline float alo_sin(float x)
{
    uint32_t size = alo_bits(x) & 0x7fffffffu;
    float r, rest;
    int32_t n = alo_turn(alo_pick(size > 0x46000000u, 0.0f, x), &r, &rest);
    float y = alo_pick(n & 1, alo_cos_near(r, rest), alo_sin_near(r, rest));
    y = alo_pick(n & 2, -y, y);
    y = alo_pick(size < 0x39000000u, x, y); /* 2^-13: the cube is lost; keeps -0 */
    return alo_pick(size > 0x46000000u, alo_float(0x7fc00000u), y);
}

/* Cosine; 1 ulp for |x| <= 8192, NaN beyond. */
static inline float alo_cos(float x)
{
    uint32_t size = alo_bits(x) & 0x7fffffffu;
    float r, rest;
    int32_t n = alo_turn(alo_pick(size > 0x46000000u, 0.0f, x), &r, &rest);
    float y = alo_pick(n & 1, alo_sin_near(r, rest), alo_cos_near(r, rest));
    y = alo_pick((n + 1) & 2, -y, y);
    return alo_pick(size > 0x46000000u, alo_float(0x7fc00000u), y);
}

/* Square root, correctly rounded; NaN below zero. With x = 4^k m and m in [1, 4)
 * Newton steps give a root s of m that is at most one unit off. In units of 2^-23 it
 * is right if (s - 1/2)^2 < m < (s + 1/2)^2, which integers decide; a tie cannot be. */
static inline float alo_sqrt(float x)
{
    uint32_t bits = alo_bits(x);
    bool denormal = bits < 0x00800000u;
    uint32_t scaled = alo_bits(alo_pick(denormal, x * 16777216.0f, x));
    uint32_t odd = scaled >> 23 & 1, k = (scaled >> 24) + odd - (denormal ? 76u : 64u);
    float m = alo_float((scaled & 0x007fffffu) + (odd ? 0x3f800000u : 0x40000000u));
    float y = alo_float(0x5f375a86u - (alo_bits(m) >> 1));
    y *= 1.5f - 0.5f * m * y * y;
    y *= 1.5f - 0.5f * m * y * y;
    float root = m * y;
    root += 0.5f * y * (m - root * root);
    uint64_t s = alo_bits(root) - 0x3f000000u;
    uint64_t wide = (uint64_t)((scaled & 0x007fffffu) + 0x00800000u) << (24 - odd);
    uint64_t below = s * s - s, above = s * s + s;
    s = s + (wide > above) - (wide <= below);
    y = alo_float((uint32_t)s + 0x3f000000u + (k << 23));
    y = alo_pick(bits > 0x80000000u, alo_float(0x7fc00000u), y);
    y = alo_pick((bits & 0x7fffffffu) == 0, x, y);
    return alo_pick((bits == 0x7f800000u) | alo_is_nan(x), x, y);
}

ALORE_API float alore_half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, rest = half & 0x7fffu;
    if (rest >= 0x7c00) return alo_float(sign | 0x7f800000u | (rest & 0x3ff) << 13);
    if (rest >= 0x0400) return alo_float(sign | ((rest << 13) + 0x38000000u));
    return alo_float(sign | alo_bits((float)rest * 5.96046448e-8f)); /* 2^-24 */
}

/* 65520 and above is infinite; a NaN stays quiet and keeps its upper bits. */
ALORE_API uint16_t alore_float_to_half(float x)
{
    uint32_t bits = alo_bits(x), rest = bits & 0x7fffffffu, half;
    if (rest > 0x7f800000u)
        half = 0x7e00u | (rest >> 13 & 0x3ff);
    else if (rest >= 0x477ff000u)
        half = 0x7c00u;
    else if (rest >= 0x38800000u)
        half = (rest - 0x38000000u + 0xfff + (rest >> 13 & 1)) >> 13;
    else /* 1/2 has units of 2^-24, as half denormals have */
        half = alo_bits(alo_float(rest) + 0.5f) - 0x3f000000u;
    return (uint16_t)((bits >> 16 & 0x8000u) | half);
}

ALORE_API float alore_bfloat_to_float(uint16_t bfloat)
{
    return alo_float((uint32_t)bfloat << 16);
}

ALORE_API uint16_t alore_float_to_bfloat(float x)
{
    uint32_t bits = alo_bits(x);
    if (alo_is_nan(x)) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* ============================================================================
 * >> 04 random
 *
 * Random numbers are a function of (seed, stream, index), so that they do not
 * depend on threads, on the order of calls or on what is computed again. It is
 * Philox 4x32-10 (Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, 2011)
 * with the seed as key and (index / 4, stream) as counter, low words first; number
 * `index` is word index % 4 of that block.
 * ========================================================================== */

static void alo_philox(const uint32_t counter[4], const uint32_t key[2],
                       uint32_t out[4])
{
    uint32_t a = counter[0], b = counter[1], c = counter[2], d = counter[3];
    uint32_t k = key[0], l = key[1];
    for (int round = 0; round < 10; ++round) {
        uint64_t p = (uint64_t)a * 0xd2511f53u, q = (uint64_t)c * 0xcd9e8d57u;
        a = (uint32_t)(q >> 32) ^ b ^ k;
        b = (uint32_t)q;
        c = (uint32_t)(p >> 32) ^ d ^ l;
        d = (uint32_t)p;
        k += 0x9e3779b9u;
        l += 0xbb67ae85u;
    }
    out[0] = a;
    out[1] = b;
    out[2] = c;
    out[3] = d;
}

/* The four numbers index & ~3 .. index | 3 of a stream. */
static void alo_random_four(uint64_t seed, uint64_t stream, uint64_t index,
                            uint32_t out[4])
{
    uint64_t block = index / 4;
    uint32_t counter[4], key[2];
    counter[0] = (uint32_t)block;
    counter[1] = (uint32_t)(block >> 32);
    counter[2] = (uint32_t)stream;
    counter[3] = (uint32_t)(stream >> 32);
    key[0] = (uint32_t)seed;
    key[1] = (uint32_t)(seed >> 32);
    alo_philox(counter, key, out);
}

/* FNV-1a over `bytes` bytes, going on from the hash `start`; 0: from the beginning. */
static uint64_t alo_hash(const void *data, size_t bytes, uint64_t start)
{
    const unsigned char *p = (const unsigned char *)data;
    uint64_t hash = start ? start : 0xcbf29ce484222325u;
    for (size_t i = 0; i < bytes; ++i) hash = (hash ^ p[i]) * 0x100000001b3u;
    return hash;
}

ALORE_API uint32_t alore_random_u32(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint32_t four[4];
    alo_random_four(seed, stream, index, four);
    return four[index & 3];
}

/* In [0, 1), a multiple of 2^-24. */
ALORE_API float alore_random_uniform(uint64_t seed, uint64_t stream, uint64_t index)
{
    return (float)(alore_random_u32(seed, stream, index) >> 8) * 5.96046448e-8f;
}

/* Mean 0, deviation 1 (Box and Muller, 1958). The numbers 2 i and 2 i + 1 are radius
 * and angle of a point of the plane; normal 2 i is its x, normal 2 i + 1 its y, which
 * is independent of x. The radius comes from all 32 bits and reaches 6.8. */
ALORE_API float alore_random_normal(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint32_t four[4];
    alo_random_four(seed, stream, index, four);
    float u = (float)four[index & 2] * 2.32830644e-10f + 1.16415322e-10f;
    float angle = (float)(four[(index & 2) | 1] >> 8) * 3.74507039e-7f; /* 2 pi 2^-24 */
    float radius = alo_sqrt(-2.0f * alo_ln(u));
    return radius * ((index & 1) ? alo_sin(angle) : alo_cos(angle));
}

/* A Feistel network on two halves of `bits` bits permutes 0 .. 4^bits - 1 with
 * 4^bits < 4 n. A place outside 0 .. n-1 is permuted again until it falls inside; as
 * i lies inside, its cycle comes back. Six rounds; less than four walks on average.
 * i counts modulo n; with n = 0 the result is 0. */
ALORE_API uint32_t alore_shuffle(uint64_t seed, uint32_t epoch, uint32_t i, uint32_t n)
{
    uint64_t stream = 0x73687566666c6500u ^ epoch; /* "shuffle" */
    uint32_t bits = 0, place = n ? i % n : 0;
    if (n < 2) return 0;
    while (bits < 16 && (n - 1) >> (2 * bits)) ++bits;
    do {
        uint32_t mask = ((uint32_t)1 << bits) - 1;
        uint32_t left = place >> bits, right = place & mask;
        for (uint64_t round = 0; round < 6; ++round) {
            uint64_t index = (round << 32 | right) << 2;
            uint32_t next = left ^ (alore_random_u32(seed, stream, index) & mask);
            left = right;
            right = next;
        }
        place = left << bits | right;
    } while (place >= n);
    return place;
}

/* ============================================================================
 * >> 05 threads
 *
 * A pool runs a batch of tasks: task(arg, i) once for each i, in any order. Its
 * workers and the caller take the next task until none is left. A worker joins an
 * open batch and leaves it under the lock; the caller closes the batch and waits
 * for those that joined, not for those that slept. A pool that is busy (a task that
 * calls it again, or a second caller) runs the new tasks on the calling thread, so
 * nothing can wait in a circle. Who waits looks a few thousand times before it
 * sleeps, since the next batch often comes within microseconds.
 *
 * ALORE_NO_THREADS, and compilers without atomic words: the caller does it all.
 *
 * The life of a context, which may have a pool, stands here, too.
 * ========================================================================== */

#if defined(ALORE_NO_THREADS)
#define ALO_THREADS 0
#elif defined(_WIN32)
#define ALO_THREADS 2
#elif defined(__GNUC__)
#define ALO_THREADS 1
#else
#define ALO_THREADS 0
#endif

#if ALO_THREADS == 1

#include <pthread.h>

typedef pthread_mutex_t alo_lock;
typedef pthread_cond_t alo_signal;
typedef pthread_t alo_thread;
#define ALO_ENTRY(name, arg) static void *name(void *arg)
#define ALO_ENTRY_END        NULL
typedef void *(*alo_entry)(void *);

static bool alo_lock_init(alo_lock *l)
{
    return pthread_mutex_init(l, NULL) == 0;
}

static void alo_lock_uninit(alo_lock *l)
{
    pthread_mutex_destroy(l);
}

static void alo_lock_take(alo_lock *l)
{
    pthread_mutex_lock(l);
}

static void alo_lock_give(alo_lock *l)
{
    pthread_mutex_unlock(l);
}

static bool alo_signal_init(alo_signal *s)
{
    return pthread_cond_init(s, NULL) == 0;
}

static void alo_signal_uninit(alo_signal *s)
{
    pthread_cond_destroy(s);
}

static void alo_signal_wait(alo_signal *s, alo_lock *l)
{
    pthread_cond_wait(s, l);
}

static void alo_signal_all(alo_signal *s)
{
    pthread_cond_broadcast(s);
}

static bool alo_thread_start(alo_thread *t, alo_entry entry, void *arg)
{
    return pthread_create(t, NULL, entry, arg) == 0;
}

static void alo_thread_join(alo_thread t)
{
    pthread_join(t, NULL);
}

#elif ALO_THREADS == 2

#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
#include <process.h>

typedef SRWLOCK alo_lock;
typedef CONDITION_VARIABLE alo_signal;
typedef HANDLE alo_thread;
#define ALO_ENTRY(name, arg) static unsigned __stdcall name(void *arg)
#define ALO_ENTRY_END        0
typedef unsigned(__stdcall *alo_entry)(void *);

static bool alo_lock_init(alo_lock *l)
{
    InitializeSRWLock(l);
    return true;
}

static void alo_lock_uninit(alo_lock *l)
{
    (void)l;
}

static void alo_lock_take(alo_lock *l)
{
    AcquireSRWLockExclusive(l);
}

static void alo_lock_give(alo_lock *l)
{
    ReleaseSRWLockExclusive(l);
}

static bool alo_signal_init(alo_signal *s)
{
    InitializeConditionVariable(s);
    return true;
}

static void alo_signal_uninit(alo_signal *s)
{
    (void)s;
}

static void alo_signal_wait(alo_signal *s, alo_lock *l)
{
    SleepConditionVariableSRW(s, l, INFINITE, 0);
}

static void alo_signal_all(alo_signal *s)
{
    WakeAllConditionVariable(s);
}

static bool alo_thread_start(alo_thread *t, alo_entry entry, void *arg)
{
    *t = (HANDLE)_beginthreadex(NULL, 0, entry, arg, 0, NULL);
    return *t != NULL;
}

static void alo_thread_join(alo_thread t)
{
    WaitForSingleObject(t, INFINITE);
    CloseHandle(t);
}

#endif

#if ALO_THREADS

enum {
    ALO_SPIN = 4000,         /* looks before sleeping: tens of microseconds */
    ALO_MOST_TASKS = 1 << 30 /* of a batch that is shared */
};

#if defined(__GNUC__)
typedef int alo_word; /* read and written by several threads */

static int alo_word_read(alo_word *w)
{
    return __atomic_load_n(w, __ATOMIC_ACQUIRE);
}

/* Add and return what was there. */
static int alo_word_add(alo_word *w, int more)
{
    return __atomic_fetch_add(w, more, __ATOMIC_ACQ_REL);
}

static void alo_pause(void)
{
#if defined(__i386__) || defined(__x86_64__)
    __asm__ volatile("pause");
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#else
    __asm__ volatile("" ::: "memory");
#endif
}
#else /* Windows without GNU C */
typedef volatile LONG alo_word;

static int alo_word_read(alo_word *w)
{
    return (int)InterlockedCompareExchange(w, 0, 0);
}

static int alo_word_add(alo_word *w, int more)
{
    return (int)InterlockedExchangeAdd(w, more);
}

static void alo_pause(void)
{
    YieldProcessor();
}
#endif

struct alore_pool {
    alo_object  object;
    alo_lock    lock;
    alo_signal  opened, left;
    alo_thread *workers;   /* behind this struct                                    */
    int         count;     /* of the workers that run                               */
    bool        ready;     /* lock and signals are there                            */
    bool        busy, open, over;
    alore_task  task;      /* the batch                                             */
    void       *arg;
    int         tasks;
    alo_word    taken;     /* tasks handed out                                      */
    alo_word    inside;    /* workers that joined the batch                         */
    alo_word    batches;   /* how many were opened, modulo 2^32                     */
};

/* Take tasks until none is left. Each thread asks at most once too often. */
static void alo_pool_help(alore_pool *p)
{
    while (alo_word_read(&p->taken) < p->tasks) {
        int i = alo_word_add(&p->taken, 1);
        if (i < p->tasks) p->task(p->arg, i);
    }
}

/* Until the word is (or is no more) `value`, but not for long. */
static void alo_spin(alo_word *w, int value, bool equal)
{
    for (int i = 0; i < ALO_SPIN && (alo_word_read(w) == value) != equal; ++i)
        alo_pause();
}

/* One worker: wait for a batch that it has not seen, join it, help, leave. */
ALO_ENTRY(alo_pool_work, arg)
{
    alore_pool *p = (alore_pool *)arg;
    int seen = 0;
    alo_lock_take(&p->lock);
    while (!p->over) {
        if (alo_word_read(&p->batches) == seen) {
            alo_lock_give(&p->lock);
            alo_spin(&p->batches, seen, false);
            alo_lock_take(&p->lock);
        }
        while (!p->over && alo_word_read(&p->batches) == seen)
            alo_signal_wait(&p->opened, &p->lock);
        seen = alo_word_read(&p->batches);
        if (!p->open) continue;
        alo_word_add(&p->inside, 1);
        alo_lock_give(&p->lock);
        alo_pool_help(p);
        alo_lock_take(&p->lock);
        if (alo_word_add(&p->inside, -1) == 1) alo_signal_all(&p->left);
    }
    alo_lock_give(&p->lock);
    return ALO_ENTRY_END;
}

/* Open a batch; false: the pool is busy with another. */
static bool alo_pool_open(alore_pool *p, alore_task task, void *arg, int tasks)
{
    bool mine;
    alo_lock_take(&p->lock);
    mine = !p->busy;
    if (mine) {
        p->busy = p->open = true;
        p->task = task;
        p->arg = arg;
        p->tasks = tasks;
        p->taken = 0;
        alo_word_add(&p->batches, 1);
        alo_signal_all(&p->opened);
    }
    alo_lock_give(&p->lock);
    return mine;
}

/* Let nobody join any more and wait for those inside. */
static void alo_pool_close(alore_pool *p)
{
    alo_lock_take(&p->lock);
    p->open = false;
    if (alo_word_read(&p->inside)) {
        alo_lock_give(&p->lock);
        alo_spin(&p->inside, 0, true);
        alo_lock_take(&p->lock);
    }
    while (alo_word_read(&p->inside)) alo_signal_wait(&p->left, &p->lock);
    p->busy = false;
    alo_lock_give(&p->lock);
}

static bool alo_pool_ready(alore_pool *p)
{
    if (!alo_lock_init(&p->lock)) return false;
    if (alo_signal_init(&p->opened)) {
        if (alo_signal_init(&p->left)) return true;
        alo_signal_uninit(&p->opened);
    }
    alo_lock_uninit(&p->lock);
    return false;
}

/* Start up to `workers` of them; fewer where the system refuses. */
static void alo_pool_start(alore_pool *p, int workers)
{
    p->workers = (alo_thread *)(void *)(p + 1);
    p->ready = workers > 0 && alo_pool_ready(p);
    while (p->ready && p->count < workers &&
           alo_thread_start(p->workers + p->count, alo_pool_work, p))
        ++p->count;
}

static void alo_pool_stop(alore_pool *p)
{
    if (!p->ready) return;
    alo_lock_take(&p->lock);
    p->over = true;
    alo_word_add(&p->batches, 1);
    alo_signal_all(&p->opened);
    alo_lock_give(&p->lock);
    for (int i = 0; i < p->count; ++i) alo_thread_join(p->workers[i]);
    alo_signal_uninit(&p->left);
    alo_signal_uninit(&p->opened);
    alo_lock_uninit(&p->lock);
}

#else /* without threads */

typedef int alo_thread;
enum { ALO_MOST_TASKS = 1 << 30 };

struct alore_pool {
    alo_object object;
    int        count;      /* always 0                                              */
};

static bool alo_pool_open(alore_pool *p, alore_task task, void *arg, int tasks)
{
    (void)p, (void)task, (void)arg, (void)tasks;
    return false;
}

static void alo_pool_help(alore_pool *p)
{
    (void)p;
}

static void alo_pool_close(alore_pool *p)
{
    (void)p;
}

static void alo_pool_start(alore_pool *p, int workers)
{
    (void)p, (void)workers;
}

static void alo_pool_stop(alore_pool *p)
{
    (void)p;
}

#endif

static void alo_pool_destroy(alo_object *o)
{
    alore_pool *p = (alore_pool *)(void *)o;
    alo_pool_stop(p);
    if (o->ctx->pool == p) o->ctx->pool = NULL;
    alo_object_free(o);
}

/* A pool of `threads` threads, the caller's included; 0 and 1: only the caller's.
 * Where the system starts fewer, the log hook is told. */
ALORE_API alore_status alore_pool_create(alore_ctx *ctx, int threads, alore_pool **out)
{
    int workers = threads > 1 ? threads - 1 : 0;
    char line[96];
    alo_text text = {line, sizeof line, 0};
    alore_pool *p;
    if (!ctx) return ALORE_ERR_ARGUMENT;
    if (!out) return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "no place for the pool");
    if (threads < 0 || threads > 1024)
        return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "%d threads, not 0 to 1024",
                        threads);
    p = (alore_pool *)(void *)alo_object_new(
        ctx, sizeof *p + alo_zu(workers) * sizeof(alo_thread), alo_pool_destroy);
    if (!p) return ctx->error.status;
    alo_pool_start(p, workers);
    if (p->count < workers) {
        alo_print(&text, "%d of %d threads run", p->count + 1, threads);
        alo_log(ctx, 1, line);
    }
    *out = p;
    return ALORE_OK;
}

/* Call task(arg, i) for i = 0 .. tasks - 1 and return when all are done. It has the
 * form of the hook alore_parallel.run. `pool` NULL: on the calling thread. */
ALORE_API void alore_pool_run(void *pool, alore_task task, void *arg, int tasks)
{
    alore_pool *p = (alore_pool *)pool;
    if (p && p->count && tasks > 1 && tasks < ALO_MOST_TASKS &&
        alo_pool_open(p, task, arg, tasks)) {
        alo_pool_help(p);
        alo_pool_close(p);
        return;
    }
    for (int i = 0; i < tasks; ++i) task(arg, i);
}

/* NULL is allowed. No batch may be running. */
ALORE_API void alore_pool_destroy(alore_pool *pool)
{
    if (pool) alo_pool_destroy(&pool->object);
}

/* Run tasks by the hook, by the context's pool, or on the calling thread. */
static void alo_parallel(alore_ctx *ctx, alore_task task, void *arg, int tasks)
{
    const alore_parallel *hook = &ctx->config.parallel;
    if (hook->run && tasks > 1)
        hook->run(hook->user, task, arg, tasks);
    else
        alore_pool_run(ctx->pool, task, arg, tasks);
}

#ifndef ALORE_NO_MALLOC

/* Aligned by malloc'ing more; malloc's own pointer stands right before the block. */
static void *alo_malloc(void *user, size_t bytes, size_t align)
{
    size_t head = sizeof(void *) + align - 1, room = alo_sum(bytes, head);
    unsigned char *whole = room < SIZE_MAX ? (unsigned char *)malloc(room) : NULL;
    unsigned char *block;
    (void)user;
    if (!whole) return NULL;
    block = whole + (head - ((uintptr_t)whole + head) % align);
    memcpy(block - sizeof whole, &whole, sizeof whole);
    return block;
}

static void alo_malloc_free(void *user, void *block, size_t bytes)
{
    unsigned char *whole;
    (void)user, (void)bytes;
    memcpy(&whole, (unsigned char *)block - sizeof whole, sizeof whole);
    free(whole);
}

#endif

/* The allocator of a context; both hooks or none. */
static alore_status alo_init_memory(alore_ctx *ctx)
{
    alore_allocator *a = &ctx->config.allocator;
    if (a->alloc && a->release) return ALORE_OK;
    if (a->alloc || a->release)
        return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "the allocator has %s but no %s",
                        a->alloc ? "alloc" : "release", a->alloc ? "release" : "alloc");
#ifdef ALORE_NO_MALLOC
    return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL,
                    "a build without malloc needs both allocator hooks");
#else
    a->alloc = alo_malloc;
    a->release = alo_malloc_free;
    return ALORE_OK;
#endif
}

ALORE_API alore_status alore_init(alore_ctx *ctx, const alore_config *config)
{
    alore_status status;
    if (!ctx) return ALORE_ERR_ARGUMENT;
    memset(ctx, 0, sizeof *ctx);
    ctx->error.record = -1;
    if (config) ctx->config = *config;
    status = alo_init_memory(ctx);
    if (status) return status;
    if (ctx->config.threads < 0 || ctx->config.threads > 1024)
        return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "%d threads, not 0 to 1024",
                        ctx->config.threads);
    if (ctx->config.parallel.run || ctx->config.threads < 2) return ALORE_OK;
    return alore_pool_create(ctx, ctx->config.threads, &ctx->pool);
}

/* Objects go in the order last made, first gone. NULL is allowed, and so is a second
 * call. */
ALORE_API void alore_uninit(alore_ctx *ctx)
{
    if (!ctx) return;
    while (ctx->objects) ctx->objects->destroy(ctx->objects);
    memset(ctx, 0, sizeof *ctx);
}

/* ============================================================================
 * >> 06 records
 *
 * A network is two flat lists: tensors and ops, both plain data with indices. All
 * that the planner, the printer and the tests know of an op stands in its row of
 * alo_op_rows: the forward kernel and the backward pieces, with the operands that
 * each reads and writes, in letters:
 *
 *     a..f  the op's inputs 0..5          g  the gradient of output y
 *     y z   the op's outputs 0..1         t u  tensors that pieces hand on
 *     A..F  the gradients of inputs 0..5
 *
 * A piece is emitted if one of the gradients it writes is needed, or if a later
 * emitted piece reads a t or u that it writes. So "nothing is saved for backward":
 * a tensor lives as long as a record reads it.
 * ========================================================================== */

enum {                     /* segments: where a tensor's bytes are                  */
    ALO_NOWHERE = 0,
    ALO_BASE,              /* the checkpoint's; offset: index of the base tensor    */
    ALO_PARAM,             /* learns; offset in the flat array, in elements         */
    ALO_FROZEN,            /* in the adapter file, does not learn                   */
    ALO_GRAD,              /* of a parameter or of a once tensor, one per slot      */
    ALO_ONCE,              /* made once a step                                      */
    ALO_IO,                /* inputs and outputs of the batch                       */
    ALO_ARENA              /* a lane's                                              */
};

enum {                     /* flags of a tensor                                     */
    ALO_PER_SAMPLE = 1,    /* rows of one sample; else one for all samples          */
    ALO_INPUT = 2,
    ALO_OUTPUT = 4,
    ALO_LEARNS = 8,
    ALO_VIEW = 16,         /* shares the storage of `root`                          */
    ALO_RESHAPED = 32      /* a view with other extents, whole                      */
};

typedef struct alo_tensor {
    uint8_t  segment, dtype;
    uint16_t flags;
    int32_t  rows, cols, ld;   /* rows of one sample, if per sample; ld in elements */
    int32_t  name;             /* offset in the string table, 0: anonymous          */
    int32_t  root, column;     /* of a view: whose storage, from which column on    */
    int32_t  info;             /* index of the parameter or base tensor             */
    uint64_t offset;           /* inside its segment; the planner writes it         */
} alo_tensor;

enum { ALO_IN = 6, ALO_OUT = 3, ALO_OPERANDS = ALO_IN + ALO_OUT };

typedef struct alo_op {
    uint16_t code;             /* a kernel: index into alo_kernel_rows              */
    uint16_t flags;            /* ALO_ADD_n: output n is added to                   */
    int32_t  in[ALO_IN], out[ALO_OUT]; /* tensors, 0: absent                        */
    int32_t  attr;             /* index of its constants                            */
    int32_t  site;             /* for messages and random streams, -1: none         */
    int32_t  block;            /* unit of recomputation, -1: outside                */
} alo_op;

typedef struct alo_attr {      /* constants of an op; each op names those it reads  */
    float          x, y;       /* eps, factor, probability, smoothing               */
    int32_t        n, m;       /* heads, first, count, terms ...                    */
    int32_t        p, q;
    uint64_t       stream;     /* of the random numbers                             */
    const int32_t *table;      /* gather: rows; owned by the model                  */
    const float   *values;     /* attention's mask, cast's mean and deviation       */
} alo_attr;

enum { ALO_STORE = 0, ALO_ADD_0 = 1, ALO_ADD_1 = 2, ALO_ADD_2 = 4 };

struct alore_call {            /* what a kernel sees; on the executor's stack       */
    void             *p[ALO_OPERANDS]; /* the operands, resolved; NULL: absent      */
    const alo_tensor *t[ALO_OPERANDS]; /* in[0..5], then out[0..2]                  */
    const alo_attr   *attr;
    const void       *rows_fn; /* alo_rows_f32 or _f64: the product of this level   */
    void             *scratch; /* as many bytes as the kernel's row asks for        */
    void             *user;    /* the backend's                                     */
    const void       *extra;   /* optimisers: their settings                        */
    uint64_t          seed, step;
    uint64_t          sample;  /* of the first sample here, since the last step     */
    int               samples; /* per-sample operands have samples * rows rows      */
    uint16_t          flags;
};

/* clang-format off
 *   name            reads    writes  may overwrite (its output 0 may be this input)
 * A forward row, then its pieces. Attributes are explained at the kernels. */
#define ALO_KERNELS(X) \
    X(cast,           "a",      "y",   "" ) \
    X(matmul,         "abcd",   "y",   "d") \
    X(matmul_da,      "gb",     "A",   "" ) \
    X(matmul_db,      "ga",     "B",   "" ) \
    X(matmul_dc,      "g",      "C",   "" ) \
    X(kron,           "abcd",   "yz",  "" ) \
    X(kron_mix,       "gbcd",   "tu",  "" ) \
    X(kron_dx,        "uc",     "A",   "" ) \
    X(kron_ds,        "zt",     "B",   "" ) \
    X(kron_dd,        "au",     "C",   "" ) \
    X(kron_du,        "gzb",    "D",   "" ) \
    X(norm,           "abc",    "yz",  "a") \
    X(norm_dx,        "gabz",   "A",   "g") \
    X(norm_dgain,     "gaz",    "BC",  "" ) \
    X(affine,         "abc",    "y",   "a") \
    X(affine_dx,      "gb",     "A",   "g") \
    X(affine_dgain,   "ga",     "B",   "" ) \
    X(affine_dshift,  "g",      "C",   "" ) \
    X(attention,      "abcd",   "yz",  "" ) \
    X(attention_dqkv, "gabczd", "ABC", "" ) \
    X(attention_dbias,"gabczd", "D",   "" ) \
    X(dwconv,         "abc",    "y",   "" ) \
    X(dwconv_dx,      "gb",     "A",   "" ) \
    X(dwconv_dw,      "ga",     "B",   "" ) \
    X(dwconv_db,      "g",      "C",   "" ) \
    X(unary,          "a",      "y",   "a") \
    X(unary_dx,       "ga",     "A",   "g") \
    X(add,            "ab",     "y",   "ab") \
    X(add_da,         "g",      "A",   "" ) \
    X(add_db,         "g",      "B",   "" ) \
    X(mul,            "ab",     "y",   "ab") \
    X(mul_da,         "gb",     "A",   "g") \
    X(mul_db,         "ga",     "B",   "g") \
    X(scale,          "a",      "y",   "a") \
    X(scale_dx,       "g",      "A",   "g") \
    X(add_columns,    "ab",     "y",   "a") \
    X(add_columns_da, "g",      "A",   "" ) \
    X(add_columns_db, "g",      "B",   "" ) \
    X(gather,         "a",      "y",   "" ) \
    X(gather_dx,      "g",      "A",   "" ) \
    X(concat,         "ab",     "y",   "" ) \
    X(concat_da,      "g",      "A",   "" ) \
    X(concat_db,      "g",      "B",   "" ) \
    X(mean_rows,      "a",      "y",   "" ) \
    X(mean_rows_dx,   "g",      "A",   "" ) \
    X(dropout,        "a",      "y",   "a") \
    X(dropout_dx,     "g",      "A",   "g") \
    X(drop_path,      "ab",     "y",   "ab") \
    X(drop_path_dx,   "g",      "A",   "g") \
    X(xent,           "ab",     "yz",  "" ) \
    X(xent_dx,        "gabz",   "A",   "" ) \
    X(mse,            "ab",     "y",   "" ) \
    X(mse_dx,         "gab",    "A",   "" ) \
    X(copy,           "a",      "y",   "" ) \
    X(zero,           "",       "y",   "" ) \
    X(sumsq,          "",       "",    "" ) \
    X(adamw,          "",       "",    "" ) \
    X(sgd,            "",       "",    "" )
/* clang-format on */

#define ALO_KERNEL_CODE(name, reads, writes, over) ALO_K_##name,
enum { ALO_KERNELS(ALO_KERNEL_CODE) ALO_K_COUNT };
#undef ALO_KERNEL_CODE

typedef struct alo_kernel_row {
    const char *name, *reads, *writes, *over;
} alo_kernel_row;

#define ALO_KERNEL_ROW(name, reads, writes, over) {#name, reads, writes, over},
static const alo_kernel_row alo_kernel_rows[ALO_K_COUNT] = {ALO_KERNELS(ALO_KERNEL_ROW)};
#undef ALO_KERNEL_ROW

/* ============================================================================
 * >> 07 calls
 *
 * What every kernel needs of its call, whatever the type of its numbers: how often
 * an operand is there, where a row of it begins, what adds and what stores, and
 * the random masks.
 *
 * An operand with one row or one column repeats it, one that is not per sample
 * serves every sample. The gradient of what repeats is the sum over its uses.
 * ========================================================================== */

#ifdef ALORE_NO_DOUBLE
typedef float alo_sum_t;   /* in which sums are made                                */
#else
typedef double alo_sum_t;
#endif

enum { ALO_Y = ALO_IN, ALO_Z, ALO_X }; /* a call's outputs 0..2 as operands         */
enum { ALO_ALL = -1 };     /* as a sample: the rows of all samples, as one matrix   */
enum { ALO_PANEL = 16 };   /* columns of a packed panel (see product)               */
enum { ALO_BAND = 64 };    /* rows that kron holds in scratch at once               */

typedef struct alo_step_args { /* `extra` of sumsq, adamw and sgd                   */
    size_t     count;          /* numbers                                           */
    alo_sum_t  grad_scale;     /* of every gradient as it is read: mean and clip    */
    alo_sum_t  lr, decay, eps;
    alo_sum_t  beta1, beta2;
    alo_sum_t  correct1;       /* 1 - beta1^t                                       */
    alo_sum_t  correct2;       /* 1 - beta2^t                                       */
    alo_sum_t  momentum;
    bool       nesterov;
    bool       first_step;     /* the momentum buffer starts as the gradient        */
    alo_sum_t *sum;            /* sumsq adds to it                                  */
} alo_step_args;

/* How often operand `i` is there: once for each sample, or once. */
static int alo_samples(const alore_call *c, int i)
{
    return c->t[i]->flags & ALO_PER_SAMPLE ? c->samples : 1;
}

/* Rows of operand `i` over all samples. */
static int alo_rows(const alore_call *c, int i)
{
    return c->t[i]->rows * alo_samples(c, i);
}

/* Where row `r` of sample `s` begins, in elements. */
static size_t alo_begin(const alo_tensor *t, int s, int r)
{
    if (!(t->flags & ALO_PER_SAMPLE)) s = 0;
    if (t->rows == 1) r = 0;
    return ((size_t)s * (size_t)t->rows + (size_t)r) * (size_t)t->ld;
}

/* From one column of operand `i` to the next: 0 where one column repeats. */
static int alo_stride(const alore_call *c, int i)
{
    return c->t[i] && c->t[i]->cols == 1 ? 0 : 1;
}

/* Output `out` is added to: by its flag, or as it sums over the samples. */
static bool alo_adds(const alore_call *c, int out, int s)
{
    const bool once = !(c->t[out]->flags & ALO_PER_SAMPLE);
    return (c->flags >> (out - ALO_Y) & 1) || (once && s > 0);
}

/* A part of an operand: rows x cols from (row, col) on. */
typedef struct alo_box {
    int row, col, rows, cols;
} alo_box;

static alo_box alo_box_of(int row, int col, int rows, int cols)
{
    alo_box b;
    b.row = row;
    b.col = col;
    b.rows = rows;
    b.cols = cols;
    return b;
}

static alo_box alo_box_all(const alore_call *c, int i)
{
    return alo_box_of(0, 0, c->t[i]->rows, c->t[i]->cols);
}

/* Products of `a` and `b` run over samples first .. last-1. If only a is per sample
 * and its rows are y's, all samples are one product: the range is ALO_ALL alone. */
static bool alo_as_one(const alore_call *c, int a, int b)
{
    return (c->t[a]->flags & ALO_PER_SAMPLE) && !(c->attr->n & 1) &&
           !(c->t[b]->flags & ALO_PER_SAMPLE);
}

static int alo_first(const alore_call *c, int a, int b)
{
    return alo_as_one(c, a, b) ? ALO_ALL : 0;
}

static int alo_last(const alore_call *c, int a, int b)
{
    if (alo_as_one(c, a, b)) return ALO_ALL + 1;
    return (c->t[a]->flags | c->t[b]->flags) & ALO_PER_SAMPLE ? c->samples : 1;
}

static int alo_groups(const alo_attr *attr)
{
    return attr->m > 1 ? attr->m : 1;
}

/* One head of one window of one sample, counted through heads first. */
typedef struct alo_head {
    int sample, window, head;
} alo_head;

static int alo_windows(const alore_call *c, int q)
{
    return c->attr->m ? c->t[q]->rows / c->attr->m : 1;
}

static int alo_heads(const alore_call *c, int y, int q)
{
    return alo_samples(c, y) * alo_windows(c, q) * c->attr->n;
}

static alo_head alo_head_at(const alore_call *c, int q, int i)
{
    const int heads = c->attr->n, windows = alo_windows(c, q);
    alo_head h;
    h.sample = i / heads / windows;
    h.window = i / heads % windows;
    h.head = i % heads;
    return h;
}

/* The random stream of this op at this step. */
static uint64_t alo_stream(const alore_call *c)
{
    uint64_t x = c->attr->stream ^ (c->step + 1) * UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    return x ^ x >> 31;
}

/* Mask number `index`: 0 with probability p = attr.x, else 1/(1-p). */
static alo_sum_t alo_mask(const alore_call *c, uint64_t index)
{
    const float p = c->attr->x;
    const uint64_t bound = (uint64_t)(p * 4294967296.0f);
    if (alore_random_u32(c->seed, alo_stream(c), index) < bound) return 0;
    return 1 / (1 - (alo_sum_t)p);
}

/* Number of sample `s` of operand `i` in the stream of samples. */
static uint64_t alo_sample(const alore_call *c, int i, int s)
{
    return c->t[i]->flags & ALO_PER_SAMPLE ? c->sample + (uint64_t)s : 0;
}

static float alo_not_a_number(void)
{
    const uint32_t bits = 0x7fc00000u;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

#endif /* ALORE_IMPLEMENTATION */
#endif /* ALO_STAMP */

#if defined(ALO_IMPLEMENTING) && !defined(ALO_STAMP)
#define real        float
#define ALO_F(name) alo_##name##_f32
#define ALO_EXP     alo_exp
#define ALO_ERF     alo_erf
#define ALO_TANH    alo_tanh
#define ALO_SQRT    alo_sqrt
#define ALO_LOG     alo_ln
#endif

#if defined(ALO_IMPLEMENTING) /* and once more, from below, for double */

/* ============================================================================
 * >> 07 reference ops
 *
 * The definition of every op: plain loops, sums in double, forward and pieces side
 * by side, each derivative with its line of algebra. The text is compiled once with
 * `real` = float and once with `real` = double; ALO_F(name) is the name's form of
 * that type.
 *
 * Written in the comments: dX is the gradient of X, g that of y; operands follow
 * the letters of ALO_KERNELS, in[0] first. Rows are those of one sample. A flag of
 * the call tells whether an output is stored or added to. One task per call.
 * ========================================================================== */

typedef struct ALO_F(row_kernels) { /* what a level of the CPU does better          */
    /* C[m,n] (+)= A[m,k] B[k,n]; strides in elements, C's columns are contiguous */
    void (*product)(int m, int n, int k, const real *a, ptrdiff_t a_row,
                    ptrdiff_t a_col, const real *b, ptrdiff_t b_row, ptrdiff_t b_col,
                    real *c, ptrdiff_t c_row, bool add, void *scratch);
} ALO_F(row_kernels);

/* Store v in *y, or add it. */
static void ALO_F(put)(real *y, alo_sum_t v, bool add)
{
    *y = (real)(add ? (alo_sum_t)*y + v : v);
}

/* Row `r` of sample `s` of operand `i`; NULL where it is absent. */
static real *ALO_F(row)(const alore_call *c, int i, int s, int r)
{
    return c->p[i] ? (real *)c->p[i] + alo_begin(c->t[i], s, r) : NULL;
}

static void ALO_F(product_plain)(int m, int n, int k, const real *a, ptrdiff_t a_row,
                                 ptrdiff_t a_col, const real *b, ptrdiff_t b_row,
                                 ptrdiff_t b_col, real *c, ptrdiff_t c_row, bool add,
                                 void *scratch)
{
    (void)scratch;
    for (int i = 0; i < m; ++i)
        for (int j = 0; j < n; ++j) {
            alo_sum_t sum = 0;
            for (int e = 0; e < k; ++e)
                sum += (alo_sum_t)a[i * a_row + e * a_col] *
                       (alo_sum_t)b[e * b_row + j * b_col];
            ALO_F(put)(&c[i * c_row + j], sum, add);
        }
}

/* ---- Matrices by their strides: to transpose is to swap ---- */

typedef struct ALO_F(mat) {
    real *p;
    ptrdiff_t row, col;
    int rows, cols;
} ALO_F(mat);

static ALO_F(mat) ALO_F(mat_of)(real *p, int rows, int cols)
{
    ALO_F(mat) a;
    a.p = p;
    a.row = cols;
    a.col = 1;
    a.rows = rows;
    a.cols = cols;
    return a;
}

/* Operand `i` of sample `s`, or of all samples for ALO_ALL; .p NULL if absent. */
static ALO_F(mat) ALO_F(operand)(const alore_call *c, int i, int s)
{
    ALO_F(mat) a = ALO_F(mat_of)(NULL, 0, 0);
    if (!c->p[i]) return a;
    a.p = ALO_F(row)(c, i, s == ALO_ALL ? 0 : s, 0);
    a.row = c->t[i]->ld;
    a.rows = s == ALO_ALL ? alo_rows(c, i) : c->t[i]->rows;
    a.cols = c->t[i]->cols;
    return a;
}

static ALO_F(mat) ALO_F(turn)(ALO_F(mat) a)
{
    ALO_F(mat) t = a;
    t.row = a.col;
    t.col = a.row;
    t.rows = a.cols;
    t.cols = a.rows;
    return t;
}

static ALO_F(mat) ALO_F(turn_if)(ALO_F(mat) a, int turned)
{
    return turned ? ALO_F(turn)(a) : a;
}

/* Block `i` of `count` equal blocks of columns. */
static ALO_F(mat) ALO_F(cut)(ALO_F(mat) a, int i, int count)
{
    a.cols /= count;
    a.p += i * a.cols * a.col;
    return a;
}

/* Rows first .. first+rows-1, fewer where `a` ends before. */
static ALO_F(mat) ALO_F(band)(ALO_F(mat) a, int first, int rows)
{
    a.p += first * a.row;
    a.rows = rows < a.rows - first ? rows : a.rows - first;
    return a;
}

/* y (+)= a b. Where y's columns are not contiguous, y^T (+)= b^T a^T. The product's
 * panel is the first alo_panel(inner extent) elements of the scratch. */
static void ALO_F(times)(const alore_call *c, ALO_F(mat) y, ALO_F(mat) a, ALO_F(mat) b,
                         bool add)
{
    const ALO_F(row_kernels) *fn = (const ALO_F(row_kernels) *)c->rows_fn;
    if (y.col != 1) {
        const ALO_F(mat) t = ALO_F(turn)(a);
        a = ALO_F(turn)(b);
        b = t;
        y = ALO_F(turn)(y);
    }
    fn->product(y.rows, y.cols, a.cols, a.p, a.row, a.col, b.p, b.row, b.col, y.p,
                y.row, add, c->scratch);
}

/* A kernel's own scratch, behind the panel of products with inner extent <= k. */
static real *ALO_F(own)(const alore_call *c, int k)
{
    return (real *)c->scratch + (size_t)ALO_PANEL * (size_t)k;
}

/* Gradient of a repeating operand X whose uses were the part `box` of y:
 * dX[s,r,j] = sum of g (times operand `b`, unless b is 0) over X's uses. */
static void ALO_F(collect)(const alore_call *c, int out, int b, alo_box box)
{
    const alo_tensor *x = c->t[out];
    const int samples = x->flags & ALO_PER_SAMPLE ? 1 : alo_samples(c, 0);
    const int rows = x->rows < box.rows ? box.rows : 1;
    const int cols = x->cols < box.cols ? box.cols : 1;
    const int step = b ? alo_stride(c, b) : 0;
    const bool add = alo_adds(c, out, 0);
    if (!c->p[out]) return;
    for (int s = 0; s < alo_samples(c, out); ++s)
        for (int r = 0; r < x->rows; ++r)
            for (int j = 0; j < x->cols; ++j) {
                alo_sum_t sum = 0;
                for (int i = 0; i < samples * rows; ++i) {
                    const int si = s + i / rows, ri = r + i % rows;
                    const real *g = ALO_F(row)(c, 0, si, box.row + ri) + box.col;
                    const real *f = b ? ALO_F(row)(c, b, si, ri) : NULL;
                    for (int e = j; e < j + cols; ++e)
                        sum += (alo_sum_t)g[e] * (f ? (alo_sum_t)f[e * step] : 1);
                }
                ALO_F(put)(ALO_F(row)(c, out, s, r) + j, sum, add);
            }
}

/* ---- cast: bytes to numbers ----
 *
 * y[r,j] = (x[r,j] / 255 - mean[j]) / deviation[j]
 *
 *   x [rows, 3] bytes    y [rows, 3]    values  mean 0..2, deviation 0..2 */
static void ALO_F(cast)(const alore_call *c, int first, int last)
{
    const float *mean = c->attr->values, *deviation = mean + 3;
    const alo_tensor *t = c->t[ALO_Y];
    (void)first, (void)last;
    for (int s = 0; s < alo_samples(c, ALO_Y); ++s)
        for (int r = 0; r < t->rows; ++r) {
            const uint8_t *x = (const uint8_t *)c->p[0] + alo_begin(c->t[0], s, r);
            real *y = ALO_F(row)(c, ALO_Y, s, r);
            for (int j = 0; j < t->cols; ++j)
                y[j] = ((real)x[j] / 255 - (real)mean[j % 3]) / (real)deviation[j % 3];
        }
}

/* sigma(x) = 1 / (1 + e^-x), without overflow. */
static real ALO_F(sigmoid)(real x)
{
    const real e = ALO_EXP(x < 0 ? x : -x);
    return (x < 0 ? e : 1) / (1 + e);
}

/* The function of a kind at x; finite for |x| up to 1e12. */
static real ALO_F(act)(int kind, real x)
{
    switch (kind) {
    case ALORE_GELU: /* x Phi(x), Phi(x) = (1 + erf(x / sqrt 2)) / 2 */
        return x * (real)0.5 * (1 + ALO_ERF(x * (real)0.70710678118654752));
    case ALORE_GELU_TANH: /* x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 */
        return x * (real)0.5 *
               (1 + ALO_TANH((real)0.79788456080286536 * x *
                             (1 + (real)0.044715 * x * x)));
    case ALORE_QUICK_GELU:
        return x * ALO_F(sigmoid)((real)1.702 * x);
    case ALORE_RELU:
        return x > 0 ? x : 0;
    case ALORE_SILU:
        return x * ALO_F(sigmoid)(x);
    case ALORE_TANH:
        return ALO_TANH(x);
    default:
        return ALO_F(sigmoid)(x);
    }
}

/* Its derivative. */
static real ALO_F(act_slope)(int kind, real x)
{
    switch (kind) {
    case ALORE_GELU: /* Phi(x) + x e^(-x^2 / 2) / sqrt(2 pi) */
        return (real)0.5 * (1 + ALO_ERF(x * (real)0.70710678118654752)) +
               x * (real)0.39894228040143268 * ALO_EXP((real)-0.5 * x * x);
    case ALORE_GELU_TANH: { /* (1 + t) / 2 + x (1 - t^2) u'(x) / 2, t = tanh u(x) */
        const real k = (real)0.79788456080286536, cube = (real)0.044715;
        const real t = ALO_TANH(k * x * (1 + cube * x * x));
        return (real)0.5 * (1 + t) +
               (real)0.5 * x * (1 - t * t) * k * (1 + 3 * cube * x * x);
    }
    case ALORE_QUICK_GELU: { /* s + 1.702 x s (1 - s) */
        const real s = ALO_F(sigmoid)((real)1.702 * x);
        return s + (real)1.702 * x * s * (1 - s);
    }
    case ALORE_RELU:
        return x > 0 ? 1 : 0;
    case ALORE_SILU: { /* s + x s (1 - s) */
        const real s = ALO_F(sigmoid)(x);
        return s + x * s * (1 - s);
    }
    case ALORE_TANH: {
        const real t = ALO_TANH(x);
        return 1 - t * t;
    }
    default: {
        const real s = ALO_F(sigmoid)(x);
        return s * (1 - s);
    }
    }
}

/* ---- matmul: y = f(op(a) op(b) + c) + d ----
 *
 *   op(a) [rows, k]   op(b) [k, n]   c [1, n] or absent   d, y [rows, n], d or absent
 *   attr  n: bit 0 a is stored transposed, bit 1 b is     m: groups
 *         p: 0, or 1 + the kind of f (inference only; then y's pieces do not hold)
 *
 * With groups, a's columns, y's columns and the columns of op(b) [k / groups, n] are
 * cut alike, and block h of y is block h of a times block h of op(b). If only a is
 * per sample, all samples' rows are one matrix; else each sample has its product. */

/* y = (y +) c + d, on which the products are added. */
static void ALO_F(matmul_start)(const alore_call *c)
{
    const alo_tensor *t = c->t[ALO_Y];
    const bool add = alo_adds(c, ALO_Y, 0);
    for (int s = 0; s < alo_samples(c, ALO_Y); ++s)
        for (int r = 0; r < t->rows; ++r) {
            const real *bias = ALO_F(row)(c, 2, s, r), *d = ALO_F(row)(c, 3, s, r);
            real *y = ALO_F(row)(c, ALO_Y, s, r);
            for (int j = 0; j < t->cols; ++j)
                ALO_F(put)(y + j,
                           (bias ? (alo_sum_t)bias[j] : 0) + (d ? (alo_sum_t)d[j] : 0),
                           add);
        }
}

/* y = (y +) f(sum + c) + d, the sums standing in `sum` [all rows, n]. */
static void ALO_F(matmul_finish)(const alore_call *c, ALO_F(mat) sum)
{
    const alo_tensor *t = c->t[ALO_Y];
    const bool add = alo_adds(c, ALO_Y, 0);
    for (int s = 0; s < alo_samples(c, ALO_Y); ++s)
        for (int r = 0; r < t->rows; ++r) {
            const real *bias = ALO_F(row)(c, 2, s, r), *d = ALO_F(row)(c, 3, s, r);
            const real *x = sum.p + (s * t->rows + r) * sum.row;
            real *y = ALO_F(row)(c, ALO_Y, s, r);
            for (int j = 0; j < t->cols; ++j) {
                const real f =
                    ALO_F(act)(c->attr->p - 1, bias ? x[j] + bias[j] : x[j]);
                ALO_F(put)(y + j, (alo_sum_t)f + (d ? (alo_sum_t)d[j] : 0), add);
            }
        }
}

static void ALO_F(matmul)(const alore_call *c, int first, int last)
{
    const int form = c->attr->n, groups = alo_groups(c->attr), act = c->attr->p;
    const bool keep = alo_adds(c, ALO_Y, 0);
    const bool start = !act && (c->p[2] || c->p[3]);
    ALO_F(mat) sum = ALO_F(operand)(c, ALO_Y, ALO_ALL);
    (void)first, (void)last;
    if (start) ALO_F(matmul_start)(c);
    if (act && (keep || c->p[3])) /* d may be y's storage */
        sum = ALO_F(mat_of)(ALO_F(own)(c, c->t[0]->cols + c->t[0]->rows), sum.rows,
                            sum.cols);
    for (int s = alo_first(c, 0, 1); s < alo_last(c, 0, 1); ++s) {
        const ALO_F(mat) a = ALO_F(turn_if)(ALO_F(operand)(c, 0, s), form & 1);
        const ALO_F(mat) b = ALO_F(turn_if)(ALO_F(operand)(c, 1, s), form & 2);
        const int rows = c->t[ALO_Y]->rows;
        const ALO_F(mat) y = s == ALO_ALL ? sum : ALO_F(band)(sum, s * rows, rows);
        for (int h = 0; h < groups; ++h)
            ALO_F(times)(c, ALO_F(cut)(y, h, groups), ALO_F(cut)(a, h, groups),
                         ALO_F(cut)(b, h, groups), start || (keep && !act));
    }
    if (act) ALO_F(matmul_finish)(c, sum);
}

/* d op(a) = g op(b)^T, in each group.    reads g b */
static void ALO_F(matmul_da)(const alore_call *c, int first, int last)
{
    const int form = c->attr->n, groups = alo_groups(c->attr);
    (void)first, (void)last;
    for (int s = alo_first(c, ALO_Y, 1); s < alo_last(c, ALO_Y, 1); ++s) {
        const ALO_F(mat) g = ALO_F(operand)(c, 0, s);
        const ALO_F(mat) b = ALO_F(turn_if)(ALO_F(operand)(c, 1, s), form & 2);
        const ALO_F(mat) da = ALO_F(turn_if)(ALO_F(operand)(c, ALO_Y, s), form & 1);
        for (int h = 0; h < groups; ++h)
            ALO_F(times)(c, ALO_F(cut)(da, h, groups), ALO_F(cut)(g, h, groups),
                         ALO_F(turn)(ALO_F(cut)(b, h, groups)), alo_adds(c, ALO_Y, s));
    }
}

/* d op(b) = op(a)^T g, in each group.    reads g a */
static void ALO_F(matmul_db)(const alore_call *c, int first, int last)
{
    const int form = c->attr->n, groups = alo_groups(c->attr);
    (void)first, (void)last;
    for (int s = alo_first(c, 1, ALO_Y); s < alo_last(c, 1, ALO_Y); ++s) {
        const ALO_F(mat) g = ALO_F(operand)(c, 0, s);
        const ALO_F(mat) a = ALO_F(turn_if)(ALO_F(operand)(c, 1, s), form & 1);
        const ALO_F(mat) db = ALO_F(turn_if)(ALO_F(operand)(c, ALO_Y, s), form & 2);
        for (int h = 0; h < groups; ++h)
            ALO_F(times)(c, ALO_F(cut)(db, h, groups),
                         ALO_F(turn)(ALO_F(cut)(a, h, groups)),
                         ALO_F(cut)(g, h, groups), alo_adds(c, ALO_Y, s));
    }
}

/* dc = column sums of g.    reads g */
static void ALO_F(matmul_dc)(const alore_call *c, int first, int last)
{
    (void)first, (void)last;
    ALO_F(collect)(c, ALO_Y, 0, alo_box_all(c, 0));
}

/* ---- kron: y = x sum_i S_i (x) (D_i U_i), factored ----
 *
 *   x [rows, P s]   S [n P, Q]   D [n s, r]   U [n r, t] or absent (then t = r)
 *   y [rows, Q t]   T = z [rows, P n r], absent in inference
 *   attr  n: terms n    m: P    p: Q    q: r
 *
 *   T[a,i,:] = x[a,:] D_i                 a < P, i < n, for each row
 *   Z[c,i,:] = sum_a S_i[a,c] T[a,i,:]    c < Q
 *   y[c,:]   = sum_i Z[c,i,:] U_i         without U: sum_i Z[c,i,:]
 *
 * 2 rows n r (P s + P Q + Q t) flops; the dense matrix [P s, Q t] never exists. Z is
 * made in scratch for ALO_BAND rows at a time, and again in kron_du. */

/* D [n s, r] as one matrix [s, n r], column (i, rho) from D_i. */
static ALO_F(mat) ALO_F(kron_pack)(const alore_call *c, int d, real *to)
{
    const int n = c->attr->n, r = c->attr->q, rows = c->t[d]->rows / n;
    for (int i = 0; i < n; ++i)
        for (int e = 0; e < rows; ++e)
            for (int k = 0; k < r; ++k)
                to[(e * n + i) * r + k] = ALO_F(row)(c, d, 0, i * rows + e)[k];
    return ALO_F(mat_of)(to, rows, n * r);
}

/* y[c,i,:] = sum_a S_i[a,c] x[a,i,:], row by row; with `turned` S_i^T for S_i. */
static void ALO_F(kron_sum)(const alore_call *c, int s, ALO_F(mat) y, ALO_F(mat) x,
                            bool turned)
{
    const int n = c->attr->n, r = c->attr->q;
    const ALO_F(mat) all = ALO_F(operand)(c, s, 0);
    for (int i = 0; i < n; ++i) {
        const int P = c->attr->m;
        const ALO_F(mat) w = ALO_F(turn_if)(ALO_F(band)(all, i * P, P), turned);
        for (int row = 0; row < y.rows; ++row)
            for (int to = 0; to < w.cols; ++to)
                for (int k = 0; k < r; ++k) {
                    alo_sum_t sum = 0;
                    for (int from = 0; from < w.rows; ++from)
                        sum += (alo_sum_t)w.p[from * w.row + to * w.col] *
                               (alo_sum_t)x.p[row * x.row + (from * n + i) * r + k];
                    y.p[row * y.row + (to * n + i) * r + k] = (real)sum;
                }
    }
}

static void ALO_F(kron)(const alore_call *c, int first, int last)
{
    const int n = c->attr->n, P = c->attr->m, Q = c->attr->p, r = c->attr->q;
    const ALO_F(mat) x = ALO_F(operand)(c, 0, ALO_ALL), u = ALO_F(operand)(c, 3, 0);
    const ALO_F(mat) y = ALO_F(operand)(c, ALO_Y, ALO_ALL);
    const ALO_F(mat) kept = ALO_F(operand)(c, ALO_Z, ALO_ALL);
    const int s = x.cols / P;
    real *own = ALO_F(own)(c, s > n * r ? s : n * r);
    const ALO_F(mat) d = ALO_F(kron_pack)(c, 2, own + ALO_BAND * (P + Q) * n * r);
    const bool add = alo_adds(c, ALO_Y, 0);
    (void)first, (void)last;
    for (int row = 0; row < x.rows; row += ALO_BAND) {
        const ALO_F(mat) xb = ALO_F(band)(x, row, ALO_BAND);
        const ALO_F(mat) yb = ALO_F(band)(y, row, ALO_BAND);
        const ALO_F(mat) t = kept.p ? ALO_F(band)(kept, row, ALO_BAND)
                                    : ALO_F(mat_of)(own, xb.rows, P * n * r);
        const ALO_F(mat) z =
            ALO_F(mat_of)(own + ALO_BAND * P * n * r, xb.rows, Q * n * r);
        for (int a = 0; a < P; ++a)
            ALO_F(times)(c, ALO_F(cut)(t, a, P), ALO_F(cut)(xb, a, P), d, false);
        ALO_F(kron_sum)(c, 1, z, t, false);
        for (int q = 0; u.p && q < Q; ++q)
            ALO_F(times)(c, ALO_F(cut)(yb, q, Q), ALO_F(cut)(z, q, Q), u, add);
        for (int e = 0; !u.p && e < yb.rows * Q * r; ++e) {
            const int at = e / (Q * r), q = e / r % Q, k = e % r;
            alo_sum_t sum = 0;
            for (int i = 0; i < n; ++i)
                sum += (alo_sum_t)z.p[at * z.row + (q * n + i) * r + k];
            ALO_F(put)(&yb.p[at * yb.row + q * r + k], sum, add);
        }
    }
}

/* dZ[c,i,:] = g[c,:] U_i^T (without U: g[c,:]),
 * dT[a,i,:] = sum_c S_i[a,c] dZ[c,i,:].
 * reads g S D U; writes t = dZ [rows, Q n r] and u = dT [rows, P n r] */
static void ALO_F(kron_mix)(const alore_call *c, int first, int last)
{
    const int n = c->attr->n, Q = c->attr->p, r = c->attr->q;
    const ALO_F(mat) g = ALO_F(operand)(c, 0, ALO_ALL), u = ALO_F(operand)(c, 3, 0);
    const ALO_F(mat) kept = ALO_F(operand)(c, ALO_Y, ALO_ALL);
    const ALO_F(mat) dt = ALO_F(operand)(c, ALO_Z, ALO_ALL);
    real *own = ALO_F(own)(c, g.cols / Q);
    (void)first, (void)last;
    for (int row = 0; row < g.rows; row += ALO_BAND) {
        const ALO_F(mat) gb = ALO_F(band)(g, row, ALO_BAND);
        const ALO_F(mat) dz = kept.p ? ALO_F(band)(kept, row, ALO_BAND)
                                     : ALO_F(mat_of)(own, gb.rows, Q * n * r);
        for (int q = 0; u.p && q < Q; ++q)
            ALO_F(times)(c, ALO_F(cut)(dz, q, Q), ALO_F(cut)(gb, q, Q), ALO_F(turn)(u),
                         false);
        for (int e = 0; !u.p && e < gb.rows * Q * n * r; ++e) {
            const int at = e / (Q * n * r), q = e / (n * r) % Q, k = e % r;
            dz.p[at * dz.row + e % (Q * n * r)] = gb.p[at * gb.row + q * r + k];
        }
        if (dt.p) ALO_F(kron_sum)(c, 1, ALO_F(band)(dt, row, ALO_BAND), dz, true);
    }
}

/* dx[a,:] = sum_i dT[a,i,:] D_i^T.    reads dT D */
static void ALO_F(kron_dx)(const alore_call *c, int first, int last)
{
    const int P = c->attr->m, nr = c->attr->n * c->attr->q;
    const ALO_F(mat) dt = ALO_F(operand)(c, 0, ALO_ALL);
    const ALO_F(mat) dx = ALO_F(operand)(c, ALO_Y, ALO_ALL);
    const ALO_F(mat) d = ALO_F(kron_pack)(c, 1, ALO_F(own)(c, nr));
    const bool add = alo_adds(c, ALO_Y, 0);
    (void)first, (void)last;
    for (int a = 0; a < P; ++a)
        ALO_F(times)(c, ALO_F(cut)(dx, a, P), ALO_F(cut)(dt, a, P), ALO_F(turn)(d),
                     add);
}

/* dS_i[a,c] = sum over rows and rho of T[a,i,rho] dZ[c,i,rho].    reads T dZ */
static void ALO_F(kron_ds)(const alore_call *c, int first, int last)
{
    const int n = c->attr->n, P = c->attr->m, Q = c->attr->p, r = c->attr->q;
    const ALO_F(mat) t = ALO_F(operand)(c, 0, ALO_ALL);
    const ALO_F(mat) dz = ALO_F(operand)(c, 1, ALO_ALL);
    const bool add = alo_adds(c, ALO_Y, 0);
    (void)first, (void)last;
    for (int i = 0; i < n; ++i)
        for (int a = 0; a < P; ++a)
            for (int q = 0; q < Q; ++q) {
                alo_sum_t sum = 0;
                for (int row = 0; row < t.rows; ++row)
                    for (int k = 0; k < r; ++k)
                        sum += (alo_sum_t)t.p[row * t.row + (a * n + i) * r + k] *
                               (alo_sum_t)dz.p[row * dz.row + (q * n + i) * r + k];
                ALO_F(put)(ALO_F(row)(c, ALO_Y, 0, i * P + a) + q, sum,
                           add);
            }
}

/* dD_i = sum over rows and a of x[a,:]^T dT[a,i,:], packed as D is.    reads x dT */
static void ALO_F(kron_dd)(const alore_call *c, int first, int last)
{
    const int n = c->attr->n, P = c->attr->m, r = c->attr->q;
    const ALO_F(mat) x = ALO_F(operand)(c, 0, ALO_ALL);
    const ALO_F(mat) dt = ALO_F(operand)(c, 1, ALO_ALL);
    const int s = x.cols / P;
    const ALO_F(mat) sum = ALO_F(mat_of)(ALO_F(own)(c, x.rows), s, n * r);
    const bool add = alo_adds(c, ALO_Y, 0);
    (void)first, (void)last;
    for (int a = 0; a < P; ++a)
        ALO_F(times)(c, sum, ALO_F(turn)(ALO_F(cut)(x, a, P)), ALO_F(cut)(dt, a, P),
                     a > 0);
    for (int i = 0; i < n; ++i)
        for (int e = 0; e < s; ++e)
            for (int k = 0; k < r; ++k)
                ALO_F(put)(ALO_F(row)(c, ALO_Y, 0, i * s + e) + k,
                           (alo_sum_t)sum.p[(e * n + i) * r + k],
                           add);
}

/* dU[(i,rho),:] = sum over rows and c of Z[c,i,rho] g[c,:].    reads g T S */
static void ALO_F(kron_du)(const alore_call *c, int first, int last)
{
    const int n = c->attr->n, Q = c->attr->p, r = c->attr->q;
    const ALO_F(mat) g = ALO_F(operand)(c, 0, ALO_ALL);
    const ALO_F(mat) t = ALO_F(operand)(c, 1, ALO_ALL);
    const ALO_F(mat) du = ALO_F(operand)(c, ALO_Y, 0);
    (void)first, (void)last;
    for (int row = 0; row < g.rows; row += ALO_BAND) {
        const ALO_F(mat) gb = ALO_F(band)(g, row, ALO_BAND);
        const ALO_F(mat) z =
            ALO_F(mat_of)(ALO_F(own)(c, ALO_BAND), gb.rows, Q * n * r);
        ALO_F(kron_sum)(c, 2, z, ALO_F(band)(t, row, ALO_BAND), false);
        for (int q = 0; q < Q; ++q)
            ALO_F(times)(c, du, ALO_F(turn)(ALO_F(cut)(z, q, Q)), ALO_F(cut)(gb, q, Q),
                         row || q || alo_adds(c, ALO_Y, 0));
    }
}

/* ---- norm: layer norm over the columns ----
 *
 *   h = (x - mean) / sqrt(variance + eps),  y = h gain + shift
 *
 *   x, y [rows, cols]   gain, shift [1, cols] or absent   attr  x: eps
 *   z [rows, 2] = mean, 1 / sqrt(variance + eps); absent in inference
 *
 * The variance is that of the row itself (not of a sample of it), in two passes. */
static void ALO_F(norm)(const alore_call *c, int first, int last)
{
    const alo_tensor *t = c->t[ALO_Y];
    const bool add = alo_adds(c, ALO_Y, 0);
    (void)first, (void)last;
    for (int s = 0; s < alo_samples(c, ALO_Y); ++s)
        for (int r = 0; r < t->rows; ++r) {
            const real *x = ALO_F(row)(c, 0, s, r);
            const real *gain = ALO_F(row)(c, 1, s, r), *shift = ALO_F(row)(c, 2, s, r);
            real *y = ALO_F(row)(c, ALO_Y, s, r), *z = ALO_F(row)(c, ALO_Z, s, r);
            alo_sum_t mean = 0, variance = 0;
            for (int j = 0; j < t->cols; ++j) mean += (alo_sum_t)x[j];
            mean /= t->cols;
            for (int j = 0; j < t->cols; ++j)
                variance += ((alo_sum_t)x[j] - mean) * ((alo_sum_t)x[j] - mean);
            variance /= t->cols;
            const real inverse = 1 / ALO_SQRT((real)(variance + (alo_sum_t)c->attr->x));
            for (int j = 0; j < t->cols; ++j) {
                const alo_sum_t h = ((alo_sum_t)x[j] - mean) * (alo_sum_t)inverse;
                ALO_F(put)(y + j,
                           h * (gain ? (alo_sum_t)gain[j] : 1) +
                               (shift ? (alo_sum_t)shift[j] : 0),
                           add);
            }
            if (!z) continue;
            z[0] = (real)mean;
            z[1] = inverse;
        }
}

/* With w = g gain:  dx = (w - mean(w) - h mean(w h)) / sqrt(variance + eps).
 * reads g x gain z */
static void ALO_F(norm_dx)(const alore_call *c, int first, int last)
{
    const alo_tensor *t = c->t[0];
    const bool add = alo_adds(c, ALO_Y, 0);
    (void)first, (void)last;
    for (int s = 0; s < alo_samples(c, 0); ++s)
        for (int r = 0; r < t->rows; ++r) {
            const real *g = ALO_F(row)(c, 0, s, r), *x = ALO_F(row)(c, 1, s, r);
            const real *gain = ALO_F(row)(c, 2, s, r), *z = ALO_F(row)(c, 3, s, r);
            real *dx = ALO_F(row)(c, ALO_Y, s, r);
            const alo_sum_t mean = (alo_sum_t)z[0], inverse = (alo_sum_t)z[1];
            alo_sum_t mean_w = 0, mean_wh = 0;
            for (int j = 0; j < t->cols; ++j) {
                const alo_sum_t w = (alo_sum_t)g[j] * (gain ? (alo_sum_t)gain[j] : 1);
                mean_w += w / t->cols;
                mean_wh += w * ((alo_sum_t)x[j] - mean) * inverse / t->cols;
            }
            for (int j = 0; j < t->cols; ++j) {
                const alo_sum_t w = (alo_sum_t)g[j] * (gain ? (alo_sum_t)gain[j] : 1);
                const alo_sum_t h = ((alo_sum_t)x[j] - mean) * inverse;
                ALO_F(put)(dx + j, (w - mean_w - h * mean_wh) * inverse, add);
            }
        }
}

/* dgain = sum over rows of g h, dshift = sum over rows of g.    reads g x z */
static void ALO_F(norm_dgain)(const alore_call *c, int first, int last)
{
    const alo_tensor *t = c->t[0];
    (void)first, (void)last;
    for (int j = 0; j < t->cols; ++j) {
        alo_sum_t dgain = 0, dshift = 0;
        for (int s = 0; s < alo_samples(c, 0); ++s)
            for (int r = 0; r < t->rows; ++r) {
                const real *z = ALO_F(row)(c, 2, s, r);
                const alo_sum_t g = (alo_sum_t)ALO_F(row)(c, 0, s, r)[j];
                const alo_sum_t x = (alo_sum_t)ALO_F(row)(c, 1, s, r)[j];
                dgain += g * (x - (alo_sum_t)z[0]) * (alo_sum_t)z[1];
                dshift += g;
            }
        if (c->p[ALO_Y])
            ALO_F(put)((real *)c->p[ALO_Y] + j, dgain, alo_adds(c, ALO_Y, 0));
        if (c->p[ALO_Z])
            ALO_F(put)((real *)c->p[ALO_Z] + j, dshift, alo_adds(c, ALO_Z, 0));
    }
}

/* ---- affine: y = x gain + shift, element by element ----
 *
 *   x, y [rows, cols]   gain, shift [1, cols] (or [rows, cols]), either absent */
static void ALO_F(affine)(const alore_call *c, int first, int last)
{
    const alo_tensor *t = c->t[ALO_Y];
    const int gain_step = alo_stride(c, 1), shift_step = alo_stride(c, 2);
    const bool add = alo_adds(c, ALO_Y, 0);
    (void)first, (void)last;
    for (int s = 0; s < alo_samples(c, ALO_Y); ++s)
        for (int r = 0; r < t->rows; ++r) {
            const real *x = ALO_F(row)(c, 0, s, r);
            const real *gain = ALO_F(row)(c, 1, s, r), *shift = ALO_F(row)(c, 2, s, r);
            real *y = ALO_F(row)(c, ALO_Y, s, r);
            for (int j = 0; j < t->cols; ++j)
                ALO_F(put)(y + j,
                           (alo_sum_t)x[j] *
                                   (gain ? (alo_sum_t)gain[j * gain_step] : 1) +
                               (shift ? (alo_sum_t)shift[j * shift_step] : 0),
                           add);
        }
}

/* dx = g gain.    reads g gain */
static void ALO_F(affine_dx)(const alore_call *c, int first, int last)
{
    (void)first, (void)last;
    ALO_F(collect)(c, ALO_Y, c->p[1] ? 1 : 0, alo_box_all(c, 0));
}

/* dgain = sum over rows of g x.    reads g x */
static void ALO_F(affine_dgain)(const alore_call *c, int first, int last)
{
    (void)first, (void)last;
    ALO_F(collect)(c, ALO_Y, 1, alo_box_all(c, 0));
}

/* dshift = sum over rows of g.    reads g */
static void ALO_F(affine_dshift)(const alore_call *c, int first, int last)
{
    (void)first, (void)last;
    ALO_F(collect)(c, ALO_Y, 0, alo_box_all(c, 0));
}

/* ---- attention: y = P v, P = softmax(q k^T / sqrt(d / heads) + bias + mask) ----
 *
 *   q, y [Tq, d]   k, v [Tk, d]   each head has its block of columns
 *   z [Tq, heads] = log of the sum of exponentials, row by row; absent in inference
 *   attr  n: heads    m: rows of a window, 0: all rows of the sample
 *   bias [heads window, window] or absent   values  mask [windows, window, window]
 *
 * With windows Tq = Tk, and a row meets the rows of its own window only. */

/* Operand `i` as head `h` sees it: its window's rows, its block of columns. */
static ALO_F(mat) ALO_F(head)(const alore_call *c, int i, alo_head h)
{
    const int window = c->attr->m;
    const ALO_F(mat) a =
        ALO_F(cut)(ALO_F(operand)(c, i, h.sample), h.head, c->attr->n);
    return window ? ALO_F(band)(a, h.window * window, window) : a;
}

/* 1 / sqrt(head width). */
static alo_sum_t ALO_F(head_scale)(ALO_F(mat) q)
{
    return 1 / (alo_sum_t)ALO_SQRT((real)q.cols);
}

/* p = q k^T / sqrt(hd) + bias + mask; k stands behind q. */
static void ALO_F(scores)(const alore_call *c, int q, int bias, alo_head h,
                          ALO_F(mat) p)
{
    const ALO_F(mat) qh = ALO_F(head)(c, q, h), kh = ALO_F(head)(c, q + 1, h);
    const alo_sum_t scale = ALO_F(head_scale)(qh);
    const float *mask = c->attr->values;
    if (mask) mask += (size_t)h.window * (size_t)p.rows * (size_t)p.cols;
    ALO_F(times)(c, p, qh, ALO_F(turn)(kh), false);
    for (int i = 0; i < p.rows; ++i) {
        const real *b = ALO_F(row)(c, bias, h.sample, h.head * p.rows + i);
        real *x = p.p + i * p.row;
        for (int j = 0; j < p.cols; ++j)
            x[j] = (real)((alo_sum_t)x[j] * scale + (b ? (alo_sum_t)b[j] : 0) +
                          (mask ? (alo_sum_t)mask[i * p.cols + j] : 0));
    }
}

/* Rows and columns of one head's P. */
static ALO_F(mat) ALO_F(square)(const alore_call *c, int q, int which)
{
    const int window = c->attr->m;
    const int rows = window ? window : c->t[q]->rows;
    const int cols = window ? window : c->t[q + 1]->rows;
    const int width = c->t[q]->cols / c->attr->n;
    const int wide = rows > cols ? rows : cols;
    real *own = ALO_F(own)(c, wide > width ? wide : width);
    return ALO_F(mat_of)(own + (size_t)which * (size_t)rows * (size_t)cols, rows, cols);
}

static void ALO_F(attention)(const alore_call *c, int first, int last)
{
    const ALO_F(mat) p = ALO_F(square)(c, 0, 0);
    (void)first, (void)last;
    for (int l = 0; l < alo_heads(c, ALO_Y, 0); ++l) {
        const alo_head h = alo_head_at(c, 0, l);
        ALO_F(scores)(c, 0, 3, h, p);
        for (int i = 0; i < p.rows; ++i) {
            real *x = p.p + i * p.row, most = x[0];
            real *z = ALO_F(row)(c, ALO_Z, h.sample, h.window * p.rows + i);
            alo_sum_t sum = 0;
            for (int j = 1; j < p.cols; ++j)
                if (x[j] > most) most = x[j];
            for (int j = 0; j < p.cols; ++j) {
                x[j] = ALO_EXP(x[j] - most);
                sum += (alo_sum_t)x[j];
            }
            for (int j = 0; j < p.cols; ++j) x[j] = (real)((alo_sum_t)x[j] / sum);
            if (z) z[h.head] = most + ALO_LOG((real)sum);
        }
        ALO_F(times)(c, ALO_F(head)(c, ALO_Y, h), p, ALO_F(head)(c, 2, h),
                     alo_adds(c, ALO_Y, 0));
    }
}

/* p = e^(score - z), each row made to sum to one again: z is rounded.
 * Operands g q k v z bias. */
static void ALO_F(probabilities)(const alore_call *c, alo_head h, ALO_F(mat) p)
{
    ALO_F(scores)(c, 1, 5, h, p);
    for (int i = 0; i < p.rows; ++i) {
        const real z = ALO_F(row)(c, 4, h.sample, h.window * p.rows + i)[h.head];
        real *x = p.p + i * p.row;
        alo_sum_t sum = 0;
        for (int j = 0; j < p.cols; ++j) {
            x[j] = ALO_EXP(x[j] - z);
            sum += (alo_sum_t)x[j];
        }
        for (int j = 0; j < p.cols; ++j) x[j] = (real)((alo_sum_t)x[j] / sum);
    }
}

/* ds becomes the gradient of the scores:
 * dP = g v^T,  dS[i,j] = P[i,j] (dP[i,j] - sum_e P[i,e] dP[i,e]). */
static void ALO_F(scores_gradient)(const alore_call *c, alo_head h, ALO_F(mat) p,
                                   ALO_F(mat) ds)
{
    ALO_F(times)(c, ds, ALO_F(head)(c, 0, h), ALO_F(turn)(ALO_F(head)(c, 3, h)), false);
    for (int i = 0; i < p.rows; ++i) {
        const real *x = p.p + i * p.row;
        real *d = ds.p + i * ds.row;
        alo_sum_t sum = 0;
        for (int j = 0; j < p.cols; ++j) sum += (alo_sum_t)x[j] * (alo_sum_t)d[j];
        for (int j = 0; j < p.cols; ++j)
            d[j] = (real)((alo_sum_t)x[j] * ((alo_sum_t)d[j] - sum));
    }
}

/* dv = P^T g,  dq = dS k / sqrt(hd),  dk = dS^T q / sqrt(hd).    reads g q k v z bias */
static void ALO_F(attention_dqkv)(const alore_call *c, int first, int last)
{
    const ALO_F(mat) p = ALO_F(square)(c, 1, 0), ds = ALO_F(square)(c, 1, 1);
    (void)first, (void)last;
    for (int l = 0; l < alo_heads(c, 0, 1); ++l) {
        const alo_head h = alo_head_at(c, 1, l);
        const ALO_F(mat) q = ALO_F(head)(c, 1, h), k = ALO_F(head)(c, 2, h);
        const real scale = (real)ALO_F(head_scale)(q);
        ALO_F(probabilities)(c, h, p);
        if (c->p[ALO_X])
            ALO_F(times)(c, ALO_F(head)(c, ALO_X, h), ALO_F(turn)(p),
                         ALO_F(head)(c, 0, h), alo_adds(c, ALO_X, h.sample));
        if (!c->p[ALO_Y] && !c->p[ALO_Z]) continue;
        ALO_F(scores_gradient)(c, h, p, ds);
        for (int e = 0; e < ds.rows * ds.cols; ++e) ds.p[e] *= scale;
        if (c->p[ALO_Y])
            ALO_F(times)(c, ALO_F(head)(c, ALO_Y, h), ds, k,
                         alo_adds(c, ALO_Y, h.sample));
        if (c->p[ALO_Z])
            ALO_F(times)(c, ALO_F(head)(c, ALO_Z, h), ALO_F(turn)(ds), q,
                         alo_adds(c, ALO_Z, h.sample));
    }
}

/* dbias[h,i,j] = sum over windows and samples of dS[i,j].    reads g q k v z bias */
static void ALO_F(attention_dbias)(const alore_call *c, int first, int last)
{
    const ALO_F(mat) p = ALO_F(square)(c, 1, 0), ds = ALO_F(square)(c, 1, 1);
    (void)first, (void)last;
    for (int l = 0; l < alo_heads(c, 0, 1); ++l) {
        const alo_head h = alo_head_at(c, 1, l);
        const bool add = h.window > 0 || alo_adds(c, ALO_Y, h.sample);
        ALO_F(probabilities)(c, h, p);
        ALO_F(scores_gradient)(c, h, p, ds);
        for (int i = 0; i < ds.rows; ++i) {
            real *y = ALO_F(row)(c, ALO_Y, h.sample, h.head * ds.rows + i);
            for (int j = 0; j < ds.cols; ++j)
                ALO_F(put)(y + j, (alo_sum_t)ds.p[i * ds.row + j], add);
        }
    }
}

/* ---- dwconv: each channel with its own k x k kernel, stride 1, zeros outside ----
 *
 *   x, y [H W, C]   w [C, k k]   bias [1, C] or absent
 *   attr  n: H    m: W    p: k, odd
 *
 * y[h,v,c] = bias[c] + sum over i, j of x[h + i - k/2, v + j - k/2, c] w[c, i k + j] */

/* y (+)= bias + x * w with the taps taken from the side of `sign` 1 or -1. */
static void ALO_F(convolve)(const alore_call *c, int w, int bias, int sign)
{
    const int H = c->attr->n, W = c->attr->m, k = c->attr->p;
    const bool add = alo_adds(c, ALO_Y, 0);
    for (int s = 0; s < alo_samples(c, ALO_Y); ++s)
        for (int at = 0; at < H * W; ++at)
            for (int ch = 0; ch < c->t[ALO_Y]->cols; ++ch) {
                const real *taps = ALO_F(row)(c, w, s, ch);
                const real *b = bias ? ALO_F(row)(c, bias, s, 0) : NULL;
                alo_sum_t sum = b ? (alo_sum_t)b[ch] : 0;
                for (int e = 0; e < k * k; ++e) {
                    const int h = at / W + sign * (e / k - k / 2);
                    const int v = at % W + sign * (e % k - k / 2);
                    if (h < 0 || h >= H || v < 0 || v >= W) continue;
                    sum += (alo_sum_t)ALO_F(row)(c, 0, s, h * W + v)[ch] *
                           (alo_sum_t)taps[e];
                }
                ALO_F(put)(ALO_F(row)(c, ALO_Y, s, at) + ch, sum, add);
            }
}

static void ALO_F(dwconv)(const alore_call *c, int first, int last)
{
    (void)first, (void)last;
    ALO_F(convolve)(c, 1, 2, 1);
}

/* dx[h,v,c] = sum over i, j of g[h - i + k/2, v - j + k/2, c] w[c, i k + j].
 * reads g w */
static void ALO_F(dwconv_dx)(const alore_call *c, int first, int last)
{
    (void)first, (void)last;
    ALO_F(convolve)(c, 1, 0, -1);
}

/* dw[c, i k + j] = sum over h, v of g[h,v,c] x[h + i - k/2, v + j - k/2, c].
 * reads g x */
static void ALO_F(dwconv_dw)(const alore_call *c, int first, int last)
{
    const int H = c->attr->n, W = c->attr->m, k = c->attr->p;
    const bool add = alo_adds(c, ALO_Y, 0);
    (void)first, (void)last;
    for (int ch = 0; ch < c->t[ALO_Y]->rows; ++ch)
        for (int e = 0; e < k * k; ++e) {
            alo_sum_t sum = 0;
            for (int l = 0; l < alo_samples(c, 0) * H * W; ++l) {
                const int s = l / (H * W), at = l % (H * W);
                const int h = at / W + e / k - k / 2, v = at % W + e % k - k / 2;
                if (h < 0 || h >= H || v < 0 || v >= W) continue;
                sum += (alo_sum_t)ALO_F(row)(c, 0, s, at)[ch] *
                       (alo_sum_t)ALO_F(row)(c, 1, s, h * W + v)[ch];
            }
            ALO_F(put)(ALO_F(row)(c, ALO_Y, 0, ch) + e, sum, add);
        }
}

/* dbias = column sums of g.    reads g */
static void ALO_F(dwconv_db)(const alore_call *c, int first, int last)
{
    (void)first, (void)last;
    ALO_F(collect)(c, ALO_Y, 0, alo_box_all(c, 0));
}

/* ---- unary: y = f(x), element by element; attr  n: the kind ---- */
static void ALO_F(unary)(const alore_call *c, int first, int last)
{
    const alo_tensor *t = c->t[ALO_Y];
    const bool add = alo_adds(c, ALO_Y, 0);
    (void)first, (void)last;
    for (int s = 0; s < alo_samples(c, ALO_Y); ++s)
        for (int r = 0; r < t->rows; ++r) {
            const real *x = ALO_F(row)(c, 0, s, r);
            real *y = ALO_F(row)(c, ALO_Y, s, r);
            for (int j = 0; j < t->cols; ++j)
                ALO_F(put)(y + j, (alo_sum_t)ALO_F(act)(c->attr->n, x[j]),
                           add);
        }
}

/* dx = g f'(x).    reads g x */
static void ALO_F(unary_dx)(const alore_call *c, int first, int last)
{
    const alo_tensor *t = c->t[0];
    const bool add = alo_adds(c, ALO_Y, 0);
    (void)first, (void)last;
    for (int s = 0; s < alo_samples(c, 0); ++s)
        for (int r = 0; r < t->rows; ++r) {
            const real *g = ALO_F(row)(c, 0, s, r), *x = ALO_F(row)(c, 1, s, r);
            real *dx = ALO_F(row)(c, ALO_Y, s, r);
            for (int j = 0; j < t->cols; ++j)
                ALO_F(put)(dx + j,
                           (alo_sum_t)g[j] *
                               (alo_sum_t)ALO_F(act_slope)(c->attr->n, x[j]),
                           add);
        }
}

/* ---- add: y = a + b, either with one row or one column, or once for all samples;
 * then it repeats, and its gradient is the sum over its uses ---- */
static void ALO_F(add)(const alore_call *c, int first, int last)
{
    const alo_tensor *t = c->t[ALO_Y];
    const int a_step = alo_stride(c, 0), b_step = alo_stride(c, 1);
    const bool add = alo_adds(c, ALO_Y, 0);
    (void)first, (void)last;
    for (int s = 0; s < alo_samples(c, ALO_Y); ++s)
        for (int r = 0; r < t->rows; ++r) {
            const real *a = ALO_F(row)(c, 0, s, r), *b = ALO_F(row)(c, 1, s, r);
            real *y = ALO_F(row)(c, ALO_Y, s, r);
            for (int j = 0; j < t->cols; ++j)
                ALO_F(put)(y + j, (alo_sum_t)a[j * a_step] + (alo_sum_t)b[j * b_step],
                           add);
        }
}

/* da = g, summed over a's uses.    reads g */
static void ALO_F(add_da)(const alore_call *c, int first, int last)
{
    (void)first, (void)last;
    ALO_F(collect)(c, ALO_Y, 0, alo_box_all(c, 0));
}

/* db = g, summed over b's uses.    reads g */
static void ALO_F(add_db)(const alore_call *c, int first, int last)
{
    (void)first, (void)last;
    ALO_F(collect)(c, ALO_Y, 0, alo_box_all(c, 0));
}

/* ---- mul: y = a b, element by element; either may repeat as in add ---- */
static void ALO_F(mul)(const alore_call *c, int first, int last)
{
    const alo_tensor *t = c->t[ALO_Y];
    const int a_step = alo_stride(c, 0), b_step = alo_stride(c, 1);
    const bool add = alo_adds(c, ALO_Y, 0);
    (void)first, (void)last;
    for (int s = 0; s < alo_samples(c, ALO_Y); ++s)
        for (int r = 0; r < t->rows; ++r) {
            const real *a = ALO_F(row)(c, 0, s, r), *b = ALO_F(row)(c, 1, s, r);
            real *y = ALO_F(row)(c, ALO_Y, s, r);
            for (int j = 0; j < t->cols; ++j)
                ALO_F(put)(y + j, (alo_sum_t)a[j * a_step] * (alo_sum_t)b[j * b_step],
                           add);
        }
}

/* da = g b, summed over a's uses.    reads g b */
static void ALO_F(mul_da)(const alore_call *c, int first, int last)
{
    (void)first, (void)last;
    ALO_F(collect)(c, ALO_Y, 1, alo_box_all(c, 0));
}

/* db = g a, summed over b's uses.    reads g a */
static void ALO_F(mul_db)(const alore_call *c, int first, int last)
{
    (void)first, (void)last;
    ALO_F(collect)(c, ALO_Y, 1, alo_box_all(c, 0));
}

/* ---- scale: y = factor x; attr  x: the factor.  dx = factor g ---- */
static void ALO_F(scale)(const alore_call *c, int first, int last)
{
    const alo_tensor *t = c->t[ALO_Y];
    const bool add = alo_adds(c, ALO_Y, 0);
    (void)first, (void)last;
    for (int s = 0; s < alo_samples(c, ALO_Y); ++s)
        for (int r = 0; r < t->rows; ++r) {
            const real *x = ALO_F(row)(c, 0, s, r);
            real *y = ALO_F(row)(c, ALO_Y, s, r);
            for (int j = 0; j < t->cols; ++j)
                ALO_F(put)(y + j, (alo_sum_t)c->attr->x * (alo_sum_t)x[j],
                           add);
        }
}

/* reads g */
static void ALO_F(scale_dx)(const alore_call *c, int first, int last)
{
    ALO_F(scale)(c, first, last);
}

/* ---- add_columns: y = a, with b added to the columns from attr.n on ----
 *
 *   a, y [rows, cols]   b [rows, some], which may repeat as in add */
static void ALO_F(add_columns)(const alore_call *c, int first, int last)
{
    const alo_tensor *t = c->t[ALO_Y];
    const int from = c->attr->n, to = from + c->t[1]->cols;
    const bool add = alo_adds(c, ALO_Y, 0);
    (void)first, (void)last;
    for (int s = 0; s < alo_samples(c, ALO_Y); ++s)
        for (int r = 0; r < t->rows; ++r) {
            const real *a = ALO_F(row)(c, 0, s, r), *b = ALO_F(row)(c, 1, s, r);
            real *y = ALO_F(row)(c, ALO_Y, s, r);
            for (int j = 0; j < t->cols; ++j) {
                const bool inside = j >= from && j < to;
                ALO_F(put)(y + j, (alo_sum_t)a[j] + (inside ? (alo_sum_t)b[j - from] : 0),
                           add);
            }
        }
}

/* da = g, summed over a's uses.    reads g */
static void ALO_F(add_columns_da)(const alore_call *c, int first, int last)
{
    (void)first, (void)last;
    ALO_F(collect)(c, ALO_Y, 0, alo_box_all(c, 0));
}

/* db = the columns of g that b went to, summed over b's uses.    reads g */
static void ALO_F(add_columns_db)(const alore_call *c, int first, int last)
{
    (void)first, (void)last;
    ALO_F(collect)(c, ALO_Y, 0,
                   alo_box_of(0, c->attr->n, c->t[0]->rows, c->t[ALO_Y]->cols));
}

/* ---- gather: row i of y is rows table[i m] .. table[i m + m-1] of a, side by side --
 *
 *   a [any, cols]   y [n, m cols]   attr  n, m, table; -1 is a row of zeros */
static void ALO_F(gather)(const alore_call *c, int first, int last)
{
    const int m = c->attr->m, cols = c->t[0]->cols;
    const bool add = alo_adds(c, ALO_Y, 0);
    (void)first, (void)last;
    for (int s = 0; s < alo_samples(c, ALO_Y); ++s)
        for (int e = 0; e < c->attr->n * m; ++e) {
            const int from = c->attr->table[e];
            const real *a = from < 0 ? NULL : ALO_F(row)(c, 0, s, from);
            real *y = ALO_F(row)(c, ALO_Y, s, e / m) + e % m * cols;
            for (int j = 0; j < cols; ++j)
                ALO_F(put)(y + j, a ? (alo_sum_t)a[j] : 0, add);
        }
}

/* Output `out` = 0, unless it is added to. */
static void ALO_F(clear)(const alore_call *c, int out)
{
    if (alo_adds(c, out, 0)) return;
    for (int s = 0; s < alo_samples(c, out); ++s)
        for (int r = 0; r < c->t[out]->rows; ++r) {
            real *y = ALO_F(row)(c, out, s, r);
            for (int j = 0; j < c->t[out]->cols; ++j) y[j] = 0;
        }
}

/* dA[table[i]] += g[i] for every entry, after A was cleared.    reads g */
static void ALO_F(gather_dx)(const alore_call *c, int first, int last)
{
    const int m = c->attr->m, cols = c->t[ALO_Y]->cols;
    (void)first, (void)last;
    ALO_F(clear)(c, ALO_Y);
    for (int s = 0; s < alo_samples(c, 0); ++s)
        for (int e = 0; e < c->attr->n * m; ++e) {
            const int to = c->attr->table[e];
            const real *g = ALO_F(row)(c, 0, s, e / m) + e % m * cols;
            if (to < 0) continue;
            for (int j = 0; j < cols; ++j)
                ALO_F(put)(ALO_F(row)(c, ALO_Y, s, to) + j, (alo_sum_t)g[j], true);
        }
}

/* ---- concat: a's rows, then b's; one that is once for all samples repeats ---- */
static void ALO_F(concat)(const alore_call *c, int first, int last)
{
    const alo_tensor *t = c->t[ALO_Y];
    const int top = c->t[0]->rows;
    const bool add = alo_adds(c, ALO_Y, 0);
    (void)first, (void)last;
    for (int s = 0; s < alo_samples(c, ALO_Y); ++s)
        for (int r = 0; r < t->rows; ++r) {
            const real *x =
                r < top ? ALO_F(row)(c, 0, s, r) : ALO_F(row)(c, 1, s, r - top);
            real *y = ALO_F(row)(c, ALO_Y, s, r);
            for (int j = 0; j < t->cols; ++j)
                ALO_F(put)(y + j, (alo_sum_t)x[j], add);
        }
}

/* da = the first rows of g, summed over a's uses.    reads g */
static void ALO_F(concat_da)(const alore_call *c, int first, int last)
{
    const alo_tensor *a = c->t[ALO_Y];
    (void)first, (void)last;
    ALO_F(collect)(c, ALO_Y, 0, alo_box_of(0, 0, a->rows, a->cols));
}

/* db = the last rows of g, summed over b's uses.    reads g */
static void ALO_F(concat_db)(const alore_call *c, int first, int last)
{
    const alo_tensor *b = c->t[ALO_Y];
    (void)first, (void)last;
    ALO_F(collect)(c, ALO_Y, 0,
                   alo_box_of(c->t[0]->rows - b->rows, 0, b->rows, b->cols));
}

/* ---- mean_rows: y [1, cols] = mean of rows n .. n+m-1 of x; attr  n, m ---- */
static void ALO_F(mean_rows)(const alore_call *c, int first, int last)
{
    const int from = c->attr->n, count = c->attr->m;
    const bool add = alo_adds(c, ALO_Y, 0);
    (void)first, (void)last;
    for (int s = 0; s < alo_samples(c, ALO_Y); ++s)
        for (int j = 0; j < c->t[ALO_Y]->cols; ++j) {
            alo_sum_t sum = 0;
            for (int r = from; r < from + count; ++r)
                sum += (alo_sum_t)ALO_F(row)(c, 0, s, r)[j];
            ALO_F(put)(ALO_F(row)(c, ALO_Y, s, 0) + j, sum / count,
                       add);
        }
}

/* dx = g / m in the rows of the mean, 0 in the others.    reads g */
static void ALO_F(mean_rows_dx)(const alore_call *c, int first, int last)
{
    const int from = c->attr->n, count = c->attr->m;
    (void)first, (void)last;
    ALO_F(clear)(c, ALO_Y);
    for (int s = 0; s < alo_samples(c, 0); ++s)
        for (int r = from; r < from + count; ++r)
            for (int j = 0; j < c->t[0]->cols; ++j)
                ALO_F(put)(ALO_F(row)(c, ALO_Y, s, r) + j,
                           (alo_sum_t)ALO_F(row)(c, 0, s, 0)[j] / count, true);
}

/* ---- dropout: y = mask a, mask 0 with probability p, else 1/(1-p); attr  x: p ----
 *
 * Mask (sample, row, column) is drawn by its number, so the piece draws it again. */
static void ALO_F(dropout)(const alore_call *c, int first, int last)
{
    const alo_tensor *t = c->t[ALO_Y];
    const bool add = alo_adds(c, ALO_Y, 0);
    (void)first, (void)last;
    for (int s = 0; s < alo_samples(c, ALO_Y); ++s)
        for (int r = 0; r < t->rows; ++r) {
            const uint64_t row = alo_sample(c, ALO_Y, s) * (uint64_t)t->rows + (uint64_t)r;
            const real *a = ALO_F(row)(c, 0, s, r);
            real *y = ALO_F(row)(c, ALO_Y, s, r);
            for (int j = 0; j < t->cols; ++j) {
                const uint64_t index = row * (uint64_t)t->cols + (uint64_t)j;
                ALO_F(put)(y + j, alo_mask(c, index) * (alo_sum_t)a[j],
                           add);
            }
        }
}

/* da = mask g.    reads g */
static void ALO_F(dropout_dx)(const alore_call *c, int first, int last)
{
    ALO_F(dropout)(c, first, last);
}

/* ---- drop_path: y = mask a + b, one mask for a sample; b may be absent ---- */
static void ALO_F(drop_path)(const alore_call *c, int first, int last)
{
    const alo_tensor *t = c->t[ALO_Y];
    const bool add = alo_adds(c, ALO_Y, 0);
    (void)first, (void)last;
    for (int s = 0; s < alo_samples(c, ALO_Y); ++s) {
        const alo_sum_t mask = alo_mask(c, alo_sample(c, ALO_Y, s));
        for (int r = 0; r < t->rows; ++r) {
            const real *a = ALO_F(row)(c, 0, s, r), *b = ALO_F(row)(c, 1, s, r);
            real *y = ALO_F(row)(c, ALO_Y, s, r);
            for (int j = 0; j < t->cols; ++j)
                ALO_F(put)(y + j, mask * (alo_sum_t)a[j] + (b ? (alo_sum_t)b[j] : 0),
                           add);
        }
    }
}

/* da = mask g (and db = g, which is no piece).    reads g */
static void ALO_F(drop_path_dx)(const alore_call *c, int first, int last)
{
    ALO_F(drop_path)(c, first, last);
}

/* ---- xent: y = mean over rows of (1-s) nll + s/C sum_c -log p_c ----
 *
 *   logits [rows, C]   labels [rows, 1] int32, in 0..C-1   attr  x: smoothing s
 *   y [1, 1]   z [rows, 1] = log of the sum of exponentials, or absent
 *
 * p = softmax(logits), nll = -log p_label. If y is per sample, the mean is that of
 * its sample's rows, else of all rows. A label outside makes y NaN. */

/* Rows that one loss is the mean of. */
static int ALO_F(loss_rows)(const alore_call *c, int y, int x)
{
    return c->t[y]->flags & ALO_PER_SAMPLE ? c->t[x]->rows : alo_rows(c, x);
}

/* Largest of a row, and the sum of e^(x - largest). */
static real ALO_F(exponentials)(const real *x, int count, alo_sum_t *sum)
{
    real most = x[0];
    for (int j = 1; j < count; ++j)
        if (x[j] > most) most = x[j];
    *sum = 0;
    for (int j = 0; j < count; ++j) *sum += (alo_sum_t)ALO_EXP(x[j] - most);
    return most;
}

static void ALO_F(xent)(const alore_call *c, int first, int last)
{
    const int rows = ALO_F(loss_rows)(c, ALO_Y, 0), classes = c->t[0]->cols;
    const alo_sum_t smooth = (alo_sum_t)c->attr->x;
    const bool add = alo_adds(c, ALO_Y, 0);
    (void)first, (void)last;
    for (int s = 0; s < alo_samples(c, ALO_Y); ++s) {
        alo_sum_t loss = 0;
        for (int r = 0; r < rows; ++r) {
            const int of = s + r / c->t[0]->rows, at = r % c->t[0]->rows;
            const int label = ((const int32_t *)c->p[1])[alo_begin(c->t[1], of, at)];
            const real *x = ALO_F(row)(c, 0, of, at);
            real *z = ALO_F(row)(c, ALO_Z, of, at);
            alo_sum_t sum, all = 0;
            const alo_sum_t most = (alo_sum_t)ALO_F(exponentials)(x, classes, &sum);
            const alo_sum_t log_sum = (alo_sum_t)ALO_LOG((real)sum);
            if (z) z[0] = (real)(most + log_sum);
            for (int j = 0; j < classes; ++j) all += most - (alo_sum_t)x[j] + log_sum;
            if (label < 0 || label >= classes)
                loss += (alo_sum_t)alo_not_a_number();
            else
                loss += (1 - smooth) * (most - (alo_sum_t)x[label] + log_sum) +
                        smooth / classes * all;
        }
        ALO_F(put)(ALO_F(row)(c, ALO_Y, s, 0), loss / rows, add);
    }
}

/* dlogits[c] = g / rows (p_c - (1-s) [c = label] - s/C).    reads g logits labels z
 *
 * p is made from the logits alone: z is rounded, by 3e-5 at logits of some hundreds. */
static void ALO_F(xent_dx)(const alore_call *c, int first, int last)
{
    const int rows = ALO_F(loss_rows)(c, 0, 1), classes = c->t[1]->cols;
    const alo_sum_t smooth = (alo_sum_t)c->attr->x;
    const bool add = alo_adds(c, ALO_Y, 0);
    (void)first, (void)last;
    for (int s = 0; s < alo_samples(c, 1); ++s)
        for (int r = 0; r < c->t[1]->rows; ++r) {
            const int label = ((const int32_t *)c->p[2])[alo_begin(c->t[2], s, r)];
            const alo_sum_t g = (alo_sum_t)ALO_F(row)(c, 0, s, 0)[0] / rows;
            const real *x = ALO_F(row)(c, 1, s, r);
            real *dx = ALO_F(row)(c, ALO_Y, s, r);
            alo_sum_t sum;
            const real most = ALO_F(exponentials)(x, classes, &sum);
            for (int j = 0; j < classes; ++j) {
                const alo_sum_t p = (alo_sum_t)ALO_EXP(x[j] - most) / sum;
                const alo_sum_t target = (j == label ? 1 - smooth : 0) + smooth / classes;
                ALO_F(put)(dx + j, g * (p - target), add);
            }
        }
}

/* ---- mse: y = mean over rows and columns of (a - b)^2; a, b [rows, cols] ---- */
static void ALO_F(mse)(const alore_call *c, int first, int last)
{
    const int rows = ALO_F(loss_rows)(c, ALO_Y, 0), cols = c->t[0]->cols;
    const bool add = alo_adds(c, ALO_Y, 0);
    (void)first, (void)last;
    for (int s = 0; s < alo_samples(c, ALO_Y); ++s) {
        alo_sum_t loss = 0;
        for (int r = 0; r < rows; ++r) {
            const int of = s + r / c->t[0]->rows, at = r % c->t[0]->rows;
            const real *a = ALO_F(row)(c, 0, of, at), *b = ALO_F(row)(c, 1, of, at);
            for (int j = 0; j < cols; ++j) {
                const alo_sum_t d = (alo_sum_t)a[j] - (alo_sum_t)b[j];
                loss += d * d;
            }
        }
        ALO_F(put)(ALO_F(row)(c, ALO_Y, s, 0), loss / rows / cols,
                   add);
    }
}

/* da = 2 g (a - b) / (rows cols).    reads g a b */
static void ALO_F(mse_dx)(const alore_call *c, int first, int last)
{
    const int rows = ALO_F(loss_rows)(c, 0, 1), cols = c->t[1]->cols;
    const bool add = alo_adds(c, ALO_Y, 0);
    (void)first, (void)last;
    for (int s = 0; s < alo_samples(c, 1); ++s)
        for (int r = 0; r < c->t[1]->rows; ++r) {
            const alo_sum_t g = 2 * (alo_sum_t)ALO_F(row)(c, 0, s, 0)[0] / rows / cols;
            const real *a = ALO_F(row)(c, 1, s, r), *b = ALO_F(row)(c, 2, s, r);
            real *da = ALO_F(row)(c, ALO_Y, s, r);
            for (int j = 0; j < cols; ++j)
                ALO_F(put)(da + j, g * ((alo_sum_t)a[j] - (alo_sum_t)b[j]),
                           add);
        }
}

/* ---- copy: y = a, or y += a; over all samples where only a is per sample ---- */
static void ALO_F(copy)(const alore_call *c, int first, int last)
{
    (void)first, (void)last;
    ALO_F(collect)(c, ALO_Y, 0, alo_box_all(c, 0));
}

/* ---- zero: y = attr.x, mostly 0 ---- */
static void ALO_F(zero)(const alore_call *c, int first, int last)
{
    (void)first, (void)last;
    for (int r = 0; r < alo_rows(c, ALO_Y); ++r)
        for (int j = 0; j < c->t[ALO_Y]->cols; ++j)
            ((real *)c->p[ALO_Y])[(size_t)r * (size_t)c->t[ALO_Y]->ld + (size_t)j] =
                (real)(c->attr ? c->attr->x : 0.0f);
}

/* ---- The optimisers, on flat arrays: in[0] gradient g, out[0..2] p, m, v ----
 *
 * `extra` is an alo_step_args. A gradient is scaled as it is read, and cleared in
 * the same pass. */

/* *sum += sum of the squares of the scaled gradients. */
static void ALO_F(sumsq)(const alore_call *c, int first, int last)
{
    const alo_step_args *o = (const alo_step_args *)c->extra;
    const real *grad = (const real *)c->p[0];
    alo_sum_t sum = 0;
    (void)first, (void)last;
    for (size_t i = 0; i < o->count; ++i) {
        const alo_sum_t g = (alo_sum_t)grad[i] * o->grad_scale;
        sum += g * g;
    }
    *o->sum += sum;
}

/* AdamW:  p -= lr decay p;  m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;
 *         p -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps) */
static void ALO_F(adamw)(const alore_call *c, int first, int last)
{
    const alo_step_args *o = (const alo_step_args *)c->extra;
    real *grad = (real *)c->p[0], *param = (real *)c->p[ALO_Y];
    real *m = (real *)c->p[ALO_Z], *v = (real *)c->p[ALO_X];
    (void)first, (void)last;
    for (size_t i = 0; i < o->count; ++i) {
        const alo_sum_t g = (alo_sum_t)grad[i] * o->grad_scale;
        const alo_sum_t mi = o->beta1 * (alo_sum_t)m[i] + (1 - o->beta1) * g;
        const alo_sum_t vi = o->beta2 * (alo_sum_t)v[i] + (1 - o->beta2) * g * g;
        const alo_sum_t root = (alo_sum_t)ALO_SQRT((real)(vi / o->correct2));
        const alo_sum_t p = (alo_sum_t)param[i] * (1 - o->lr * o->decay);
        param[i] = (real)(p - o->lr * (mi / o->correct1) / (root + o->eps));
        m[i] = (real)mi;
        v[i] = (real)vi;
        grad[i] = 0;
    }
}

/* SGD:  g += decay p;  buffer = momentum buffer + g (first step: g);
 *       p -= lr buffer, with nesterov p -= lr (g + momentum buffer).
 * The buffer is out[1]; without momentum it may be absent. */
static void ALO_F(sgd)(const alore_call *c, int first, int last)
{
    const alo_step_args *o = (const alo_step_args *)c->extra;
    real *grad = (real *)c->p[0], *param = (real *)c->p[ALO_Y];
    real *buffer = (real *)c->p[ALO_Z];
    (void)first, (void)last;
    for (size_t i = 0; i < o->count; ++i) {
        const alo_sum_t p = (alo_sum_t)param[i];
        const alo_sum_t g = (alo_sum_t)grad[i] * o->grad_scale + o->decay * p;
        alo_sum_t step = g;
        if (buffer) {
            if (!o->first_step) step += o->momentum * (alo_sum_t)buffer[i];
            buffer[i] = (real)step;
            if (o->nesterov) step = g + o->momentum * step;
        }
        param[i] = (real)(p - o->lr * step);
        grad[i] = 0;
    }
}

#endif

#if defined(ALO_IMPLEMENTING) && !defined(ALO_STAMP)
#undef real
#undef ALO_F
#undef ALO_EXP
#undef ALO_ERF
#undef ALO_TANH
#undef ALO_SQRT
#undef ALO_LOG

/* The same text for double: the header includes itself. A header that is pasted into
 * another file cannot; it defines ALORE_NO_SIMD and goes without the double tables. */
#if defined(ALORE_NO_SIMD) || defined(ALORE_NO_DOUBLE)
#define ALO_NO_F64
#else
#include <math.h>
#ifndef ALORE_FILE
#define ALORE_FILE "alore.h"
#endif
#ifdef __has_include
#if !__has_include(ALORE_FILE)
#error "alore.h includes itself: name it by ALORE_FILE, or define ALORE_NO_SIMD"
#endif
#endif
#define ALO_STAMP
#define real        double
#define ALO_F(name) alo_##name##_f64
#define ALO_EXP     exp
#define ALO_ERF     erf
#define ALO_TANH    tanh
#define ALO_SQRT    sqrt
#define ALO_LOG     log
#include ALORE_FILE
#undef ALO_STAMP
#undef real
#undef ALO_F
#undef ALO_EXP
#undef ALO_ERF
#undef ALO_TANH
#undef ALO_SQRT
#undef ALO_LOG
#endif

/* ============================================================================
 * >> 08 product
 *
 * The matrix product of the plain CPU level, and the tables of kernels. B is packed
 * into panels of 16 columns; a tile of 4 x 16 sums stays in registers while it walks
 * through the whole inner extent. That extent is never split, so each element is one
 * sum in one order, whatever the shape around it. Trip counts are constants, which
 * is all that gcc and clang need to make vectors of it.
 *
 * One core at 2.3 GHz, baseline x86-64, GFLOP/s (gcc -O2, gcc -O3, clang -O2):
 * @@LADDER@@
 * ========================================================================== */

#if defined(__GNUC__)      /* inlined into its caller's loops, gcc -O3 unrolls the  */
#define ALO_APART __attribute__((noinline)) /* tile before it makes vectors of it   */
#else
#define ALO_APART
#endif

enum { ALO_TILE = 4 };     /* rows of a tile                                        */

/* panel[e,j] = B[e,j] for `cols` columns, 0 for the rest of the 16. */
static void alo_pack_f32(int k, int cols, const float *b, ptrdiff_t b_row,
                         ptrdiff_t b_col, float *panel)
{
    if (cols == ALO_PANEL && b_row == 1) /* B is stored transposed */
        for (int e = 0; e < k; ++e, panel += ALO_PANEL)
            for (int j = 0; j < ALO_PANEL; ++j) panel[j] = b[e + j * b_col];
    else if (b_col == 1 && cols == ALO_PANEL)
        for (int e = 0; e < k; ++e)
            memcpy(panel + e * ALO_PANEL, b + e * b_row, ALO_PANEL * sizeof *b);
    else
        for (int e = 0; e < k; ++e)
            for (int j = 0; j < ALO_PANEL; ++j)
                panel[e * ALO_PANEL + j] = j < cols ? b[e * b_row + j * b_col] : 0.0f;
}

/* sum[i,j] = sum over e of A[i,e] panel[e,j], for 4 rows of A. */
ALO_APART static void alo_tile_f32(int k, const float *a, ptrdiff_t a_row, ptrdiff_t a_col,
                         const float *panel, ptrdiff_t step, float *sum)
{
    const float *at[ALO_TILE]; /* gcc -O3 makes vectors of this form, not of an index */
    float s[ALO_TILE][ALO_PANEL];
    memset(s, 0, sizeof s);
    for (int i = 0; i < ALO_TILE; ++i) at[i] = a + i * a_row;
    for (int e = 0; e < k; ++e) {
        for (int i = 0; i < ALO_TILE; ++i) {
            const float x = *at[i];
            at[i] += a_col;
            for (int j = 0; j < ALO_PANEL; ++j) s[i][j] += x * panel[j];
        }
        panel += step;
    }
    memcpy(sum, s, sizeof s);
}

/* The same for one row: the sums are made in the same order. */
ALO_APART static void alo_strip_f32(int k, const float *a, ptrdiff_t a_col, const float *panel,
                          ptrdiff_t step, float *sum)
{
    float s[ALO_PANEL];
    memset(s, 0, sizeof s);
    for (int e = 0; e < k; ++e) {
        const float x = a[e * a_col];
        for (int j = 0; j < ALO_PANEL; ++j) s[j] += x * panel[j];
        panel += step;
    }
    memcpy(sum, s, sizeof s);
}

/* C[m,n] (+)= A[m,k] B[k,n]; `scratch` holds 16 k floats. */
static void alo_product_f32(int m, int n, int k, const float *a, ptrdiff_t a_row,
                            ptrdiff_t a_col, const float *b, ptrdiff_t b_row,
                            ptrdiff_t b_col, float *c, ptrdiff_t c_row, bool add,
                            void *scratch)
{
    float sum[ALO_TILE * ALO_PANEL];
    for (int col = 0; col < n; col += ALO_PANEL) {
        const int left = n - col, cols = left < ALO_PANEL ? left : (int)ALO_PANEL;
        const bool direct = b_col == 1 && cols == ALO_PANEL && m <= 2 * ALO_TILE;
        const float *panel = direct ? b + col : (const float *)scratch;
        const ptrdiff_t step = direct ? b_row : (ptrdiff_t)ALO_PANEL;
        if (!direct)
            alo_pack_f32(k, cols, b + col * b_col, b_row, b_col, (float *)scratch);
        for (int row = 0; row < m; row += ALO_TILE) {
            const int under = m - row, rows = under < ALO_TILE ? under : (int)ALO_TILE;
            const float *from = a + row * a_row;
            if (rows == ALO_TILE)
                alo_tile_f32(k, from, a_row, a_col, panel, step, sum);
            for (int i = 0; rows < ALO_TILE && i < rows; ++i)
                alo_strip_f32(k, from + i * a_row, a_col, panel, step,
                              sum + i * ALO_PANEL);
            for (int i = 0; i < rows; ++i) {
                float *to = c + (row + i) * c_row + col;
                for (int j = 0; j < cols; ++j)
                    to[j] = (add ? to[j] : 0.0f) + sum[i * ALO_PANEL + j];
            }
        }
    }
}

static const alo_row_kernels_f32 alo_rows_f32_reference = {alo_product_plain_f32};
static const alo_row_kernels_f32 alo_rows_f32 = {alo_product_f32};

#define ALO_KERNEL_F32(name, reads, writes, over) alo_##name##_f32,
static const alore_kernel alo_table_f32[ALO_K_COUNT] = {ALO_KERNELS(ALO_KERNEL_F32)};
#undef ALO_KERNEL_F32

#ifndef ALO_NO_F64
static const alo_row_kernels_f64 alo_rows_f64_reference = {alo_product_plain_f64};

#define ALO_KERNEL_F64(name, reads, writes, over) alo_##name##_f64,
static const alore_kernel alo_table_f64[ALO_K_COUNT] = {ALO_KERNELS(ALO_KERNEL_F64)};
#undef ALO_KERNEL_F64
#endif

/* ---- What a call needs and costs; t[] are its operands as in alore_call ---- */

static size_t alo_most(int a, int b)
{
    return alo_zu(a > b ? a : b);
}

static size_t alo_all_rows(const alo_tensor *t, int samples)
{
    return alo_mul(alo_zu(t->rows), t->flags & ALO_PER_SAMPLE ? alo_zu(samples) : 1);
}

/* Numbers of the product's panel, for a largest inner extent k. */
static size_t alo_panel(size_t k)
{
    return alo_mul(ALO_PANEL, k);
}

static size_t alo_matmul_scratch(int code, const alo_tensor *const t[],
                                 const alo_attr *attr, int samples)
{
    const alo_tensor *y = t[ALO_Y];
    size_t own = 0;
    if (code == ALO_K_matmul_da) return alo_panel(alo_zu(t[0]->cols));
    if (code == ALO_K_matmul_db) return alo_panel(alo_all_rows(t[0], samples));
    if (attr->p) own = alo_mul(alo_all_rows(y, samples), alo_zu(y->cols));
    return alo_sum(alo_panel(alo_zu(t[0]->cols) + alo_zu(t[0]->rows)), own);
}

static size_t alo_kron_scratch(int code, const alo_tensor *const t[],
                               const alo_attr *attr, int samples)
{
    const size_t n = alo_zu(attr->n), P = alo_zu(attr->m), Q = alo_zu(attr->p);
    const size_t nr = alo_mul(n, alo_zu(attr->q));
    const size_t z = alo_mul(ALO_BAND, alo_mul(Q, nr));
    const size_t x = alo_zu(t[0]->cols), d = alo_zu(t[ALO_Y]->cols) / P;
    switch (code) {
    case ALO_K_kron:
        return alo_sum(alo_panel(x / P > nr ? x / P : nr),
                       alo_sum(alo_mul(ALO_BAND, alo_mul(P + Q, nr)),
                               alo_mul(x / P, nr)));
    case ALO_K_kron_mix:
        return alo_sum(alo_panel(x / Q), z);
    case ALO_K_kron_dx:
        return alo_sum(alo_panel(nr), alo_mul(d, nr));
    case ALO_K_kron_dd:
        return alo_sum(alo_panel(alo_all_rows(t[0], samples)), alo_mul(x / P, nr));
    case ALO_K_kron_du:
        return alo_sum(alo_panel(ALO_BAND), z);
    default:
        return 0;
    }
}

static size_t alo_attention_scratch(int code, const alo_tensor *const t[],
                                    const alo_attr *attr)
{
    const bool forward = code == ALO_K_attention;
    const alo_tensor *q = t[forward ? 0 : 1], *k = t[forward ? 1 : 2];
    const int rows = attr->m ? attr->m : q->rows, cols = attr->m ? attr->m : k->rows;
    const size_t wide = alo_most(rows, cols), width = alo_zu(q->cols / attr->n);
    return alo_sum(alo_panel(wide > width ? wide : width),
                   alo_mul(forward ? 1 : 2, alo_mul(alo_zu(rows), alo_zu(cols))));
}

/* Bytes of scratch that a kernel takes at most for `samples` samples at once. */
static size_t alo_scratch_bytes(int code, const alo_tensor *const t[],
                                const alo_attr *attr, int samples, size_t real_bytes)
{
    size_t count = 0;
    switch (code) {
    case ALO_K_matmul:
    case ALO_K_matmul_da:
    case ALO_K_matmul_db:
        count = alo_matmul_scratch(code, t, attr, samples);
        break;
    case ALO_K_kron:
    case ALO_K_kron_mix:
    case ALO_K_kron_dx:
    case ALO_K_kron_dd:
    case ALO_K_kron_du:
        count = alo_kron_scratch(code, t, attr, samples);
        break;
    case ALO_K_attention:
    case ALO_K_attention_dqkv:
    case ALO_K_attention_dbias:
        count = alo_attention_scratch(code, t, attr);
        break;
    default:
        break;
    }
    return alo_mul(count, real_bytes);
}

static double alo_size_of(const alo_tensor *t)
{
    return t ? (double)t->rows * t->cols : 0;
}

static double alo_kron_cost(int code, const alo_tensor *const t[], const alo_attr *attr)
{
    const double nr = (double)attr->n * attr->q, rows = t[0]->rows;
    const double mix = 2 * rows * nr * attr->m * attr->p;
    switch (code) {
    case ALO_K_kron:
        return mix + 2 * nr * (alo_size_of(t[0]) + (t[3] ? alo_size_of(t[ALO_Y]) : 0));
    case ALO_K_kron_mix:
        return (t[ALO_Z] ? mix : 0) + (t[3] ? 2 * nr * alo_size_of(t[0]) : 0);
    case ALO_K_kron_dx:
        return 2 * nr * alo_size_of(t[ALO_Y]);
    case ALO_K_kron_ds:
        return mix;
    case ALO_K_kron_dd:
        return 2 * nr * alo_size_of(t[0]);
    default: /* kron_du */
        return mix + 2 * nr * alo_size_of(t[0]);
    }
}

static double alo_attention_cost(int code, const alo_tensor *const t[],
                                 const alo_attr *attr)
{
    const bool forward = code == ALO_K_attention;
    const alo_tensor *q = t[forward ? 0 : 1], *k = t[forward ? 1 : 2];
    const double product = 2 * alo_size_of(q) * (attr->m ? attr->m : k->rows);
    const int dqkv = 2 + !!t[ALO_Y] + !!t[ALO_Z] + !!t[ALO_X];
    return product * (code == ALO_K_attention_dqkv ? dqkv : 2);
}

/* Floating-point operations of one sample (of one call, if nothing is per sample):
 * products are counted in full, all else as one operation for each number. */
static double alo_cost(int code, const alo_tensor *const t[], const alo_attr *attr)
{
    const double y = alo_size_of(t[ALO_Y]);
    const int groups = code <= ALO_K_matmul_dc ? alo_groups(attr) : 1;
    switch (code) {
    case ALO_K_matmul:
        return 2 * y * (attr->n & 1 ? t[0]->rows : t[0]->cols) / groups;
    case ALO_K_matmul_da:
        return 2 * y * t[0]->cols / groups;
    case ALO_K_matmul_db: /* g [rows, n]: rows of one sample */
        return 2 * alo_size_of(t[0]) *
               (attr->n & 1 ? t[1]->rows : t[1]->cols) / groups;
    case ALO_K_kron:
    case ALO_K_kron_mix:
    case ALO_K_kron_dx:
    case ALO_K_kron_ds:
    case ALO_K_kron_dd:
    case ALO_K_kron_du:
        return alo_kron_cost(code, t, attr);
    case ALO_K_attention:
    case ALO_K_attention_dqkv:
    case ALO_K_attention_dbias:
        return alo_attention_cost(code, t, attr);
    case ALO_K_dwconv:
    case ALO_K_dwconv_dx:
        return 2 * y * attr->p * attr->p;
    case ALO_K_dwconv_dw:
        return 2 * alo_size_of(t[0]) * attr->p * attr->p;
    case ALO_K_cast:
    case ALO_K_gather:
    case ALO_K_concat:
    case ALO_K_copy:
    case ALO_K_zero:
        return 0;
    default:
        return y > alo_size_of(t[0]) ? y : alo_size_of(t[0]);
    }
}

/* ============================================================================
 * >> 09 json
 *
 * As much JSON as the header of a weight file needs: objects, arrays, strings and
 * whole numbers, read strictly and without recursion. The reader of a format walks
 * the text and says at each place what must stand there, so nothing is ever skipped
 * and the depth is that of the format. The scanner stands on the whole file, so that
 * the places it reports are bytes of the file.
 * ========================================================================== */

/* Bytes of the UTF-8 character that `s` begins with, 0 where it is malformed: cut,
 * longer than need be, a surrogate, or beyond 10ffff. */
static size_t alo_utf8(const unsigned char *s, size_t bytes)
{
    unsigned least = 0x80, most = 0xbf; /* of the second byte */
    size_t need;
    if (!bytes) return 0;
    if (s[0] < 0x80) return 1;
    if (s[0] < 0xc2 || s[0] > 0xf4) return 0;
    need = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if (bytes < need) return 0;
    if (s[0] == 0xe0) least = 0xa0;
    if (s[0] == 0xed) most = 0x9f;
    if (s[0] == 0xf0) least = 0x90;
    if (s[0] == 0xf4) most = 0x8f;
    if (s[1] < least || s[1] > most) return 0;
    for (size_t i = 2; i < need; ++i)
        if ((s[i] & 0xc0) != 0x80) return 0;
    return need;
}

/* True where all of `s` is UTF-8. */
static bool alo_is_utf8(const char *s, size_t bytes)
{
    const unsigned char *at = (const unsigned char *)s;
    while (bytes) {
        size_t n = alo_utf8(at, bytes);
        if (!n) return false;
        at += n, bytes -= n;
    }
    return true;
}

/* Append one character, no surrogate, as UTF-8. */
static void alo_put_utf8(alo_text *t, uint32_t c)
{
    char s[4];
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char first[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i; --i, c >>= 6) s[i] = (char)(0x80 | (c & 0x3f));
    s[0] = (char)(first[n] | c);
    alo_put(t, s, n);
}

/* Append a JSON string, quotes and all. `s` is UTF-8 and may hold NULs. */
static void alo_put_json(alo_text *t, const char *s, size_t bytes)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    alo_put(t, "\"", 1);
    for (size_t i = 0; i < bytes; ++i) {
        unsigned char c = (unsigned char)s[i];
        const char *known = c ? strchr(from, c) : NULL;
        if (known) {
            alo_put(t, "\\", 1);
            alo_put(t, to + (known - from), 1);
        } else if (c < 0x20) {
            alo_put(t, c < 0x10 ? "\\u000" : "\\u00", c < 0x10 ? 5 : 4);
            alo_put_uint(t, c, 16);
        } else {
            alo_put(t, s + i, 1);
        }
    }
    alo_put(t, "\"", 1);
}

typedef struct alo_json {
    alore_ctx           *ctx;
    const unsigned char *bytes; /* of the file                                      */
    size_t               at, end;
    bool                 failed; /* the first failure stands; all calls are false   */
} alo_json;

static bool alo_json_fail(alo_json *j, const char *what)
{
    if (!j->failed) alo_fail_at(j->ctx, ALORE_ERR_FORMAT, j->at, what);
    j->failed = true;
    return false;
}

static void alo_json_space(alo_json *j)
{
    while (j->at < j->end) {
        unsigned char c = j->bytes[j->at];
        if (c != ' ' && c != '\n' && c != '\r' && c != '\t') return;
        ++j->at;
    }
}

/* Step over spaces and the character `c`; without it fail with `what`. */
static bool alo_json_take(alo_json *j, char c, const char *what)
{
    if (j->failed) return false;
    alo_json_space(j);
    if (j->at == j->end || j->bytes[j->at] != (unsigned char)c)
        return alo_json_fail(j, what);
    ++j->at;
    return true;
}

/* Step to the next member of an object or array, over the comma, and count it. False:
 * stepped out over `close`, or failed. */
static bool alo_json_more(alo_json *j, char close, size_t *members)
{
    if (j->failed) return false;
    alo_json_space(j);
    if (j->at < j->end && j->bytes[j->at] == (unsigned char)close) {
        ++j->at;
        return false;
    }
    if (*members && !alo_json_take(j, ',', "a comma or a closing bracket is missing"))
        return false;
    ++*members;
    return true;
}

/* Read a whole number of at most 64 bits. */
static bool alo_json_uint(alo_json *j, uint64_t *out)
{
    uint64_t value = 0;
    size_t first;
    if (j->failed) return false;
    alo_json_space(j);
    for (first = j->at; j->at < j->end; ++j->at) {
        unsigned digit = (unsigned)j->bytes[j->at] - '0';
        if (digit > 9) break;
        if (value > (UINT64_MAX - digit) / 10)
            return alo_json_fail(j, "a number does not fit 64 bits");
        value = 10 * value + digit;
    }
    if (j->at == first) return alo_json_fail(j, "a whole number is missing");
    if (j->at > first + 1 && j->bytes[first] == '0')
        return alo_json_fail(j, "a number begins with a zero");
    *out = value;
    return true;
}

/* Read the four digits of \uXXXX. */
static bool alo_json_hex(alo_json *j, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < 4; ++i, ++j->at) {
        unsigned c = j->at < j->end ? j->bytes[j->at] : 0, lower = c | 0x20, digit;
        if (c >= '0' && c <= '9')
            digit = c - '0';
        else if (lower >= 'a' && lower <= 'f')
            digit = lower - 'a' + 10;
        else
            return alo_json_fail(j, "\\u wants four hexadecimal digits");
        *out = *out << 4 | digit;
    }
    return true;
}

/* Append the character of an escape; the scanner stands behind its backslash. */
static bool alo_json_escape(alo_json *j, alo_text *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    unsigned char c = j->at < j->end ? j->bytes[j->at] : 0;
    const char *known = c ? strchr(from, c) : NULL;
    uint32_t high, low;
    if (known) {
        alo_put(out, to + (known - from), 1);
        ++j->at;
        return true;
    }
    if (c != 'u') return alo_json_fail(j, "an escape is not known");
    ++j->at;
    if (!alo_json_hex(j, &high)) return false;
    if (high >= 0xd800 && high < 0xdc00) {
        if (j->end - j->at < 2 || memcmp(j->bytes + j->at, "\\u", 2) != 0)
            return alo_json_fail(j, "a high surrogate stands alone");
        j->at += 2;
        if (!alo_json_hex(j, &low)) return false;
        if (low < 0xdc00 || low > 0xdfff)
            return alo_json_fail(j, "a high surrogate has no low one");
        high = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    } else if (high >= 0xdc00 && high < 0xe000) {
        return alo_json_fail(j, "a low surrogate stands alone");
    }
    alo_put_utf8(out, high);
    return true;
}

/* Read a string and append its characters to `out`, where they may be cut; NULs count
 * as characters. */
static bool alo_json_string(alo_json *j, alo_text *out)
{
    if (!alo_json_take(j, '"', "a string is missing")) return false;
    while (j->at < j->end && j->bytes[j->at] != '"') {
        size_t n = alo_utf8(j->bytes + j->at, j->end - j->at);
        if (!n) return alo_json_fail(j, "a string is not UTF-8");
        if (j->bytes[j->at] < 0x20)
            return alo_json_fail(j, "a control character stands in a string");
        if (j->bytes[j->at] == '\\') {
            ++j->at;
            if (!alo_json_escape(j, out)) return false;
        } else {
            alo_put(out, (const char *)j->bytes + j->at, n);
            j->at += n;
        }
    }
    return alo_json_take(j, '"', "a string does not end");
}

/* ============================================================================
 * >> 10 safetensors
 *
 * A weight file is the length of its header (8 bytes, little-endian), a header in
 * JSON, and the data. The reader is strict: what it accepts, every reader reads the
 * same way. The tensors must cover the data exactly once; names and metadata keys
 * differ; nothing unknown is skipped. It walks the header twice, once to check it
 * and to count, once to fill one block of the right size, so that no file can ask
 * for more memory than a small multiple of its header.
 *
 * Limits: a header of 100 000 000 bytes, as in the reference; rank 64, as in numpy.
 * ========================================================================== */

#if !defined(ALORE_NO_STDIO) && !defined(ALORE_NO_MMAP) && \
    (defined(__unix__) || defined(__APPLE__))
#define ALO_FILES_POSIX
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

enum { ALO_MAX_HEADER = 100000000, ALO_MAX_RANK = 64 };

typedef struct alo_dtype_row {
    const char *name;
    size_t      bytes;
} alo_dtype_row;

/* clang-format off */
static const alo_dtype_row alo_dtype_rows[] = {
    {"F32", 4},     {"F16", 2},     {"BF16", 2},        {"F64", 8},
    {"U8", 1},      {"I8", 1},      {"I16", 2},         {"U16", 2},
    {"I32", 4},     {"U32", 4},     {"I64", 8},         {"U64", 8},
    {"BOOL", 1},    {"F8_E4M3", 1}, {"F8_E5M2", 1},     {"F8_E8M0", 1},
    {"F8_E4M3FNUZ", 1},             {"F8_E5M2FNUZ", 1}, {"C64", 8}};
/* clang-format on */

enum { ALO_DTYPES = (int)(sizeof alo_dtype_rows / sizeof *alo_dtype_rows) };

ALORE_API size_t alore_dtype_bytes(alore_dtype dtype)
{
    size_t i = (size_t)dtype;
    return i < ALO_DTYPES ? alo_dtype_rows[i].bytes : 0;
}

ALORE_API const char *alore_dtype_name(alore_dtype dtype)
{
    size_t i = (size_t)dtype;
    return i < ALO_DTYPES ? alo_dtype_rows[i].name : "unknown";
}

/* ---- Values: little-endian wherever this runs ---- */

static uint64_t alo_little(const unsigned char *p, size_t bytes)
{
    uint64_t word = 0;
    while (bytes) word = word << 8 | p[--bytes];
    return word;
}

static uint32_t alo_little32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
           (uint32_t)p[3] << 24;
}

static uint64_t alo_little64(const unsigned char *p)
{
    return (uint64_t)alo_little32(p) | (uint64_t)alo_little32(p + 4) << 32;
}

static bool alo_host_is_little(void)
{
    const uint16_t one = 1;
    unsigned char first;
    memcpy(&first, &one, 1);
    return first == 1;
}

/* A float of 8 bits without infinities. NaN is, in either sign, the largest code, and
 * in the FNUZ types the code that minus zero would have. */
static float alo_small_float(unsigned code, unsigned mantissa, unsigned bias, bool fnuz)
{
    unsigned fraction = code & ((1u << mantissa) - 1),
             exponent = (code & 0x7f) >> mantissa;
    float x;
    if (fnuz ? code == 0x80 : (code & 0x7f) == 0x7f) return alo_float(0x7fc00000);
    if (exponent)
        fraction |= 1u << mantissa;
    else
        exponent = 1;
    x = (float)fraction * alo_float((127 + exponent - bias - mantissa) << 23);
    return code & 0x80 ? -x : x;
}

/* One element of a type other than F32. */
static float alo_element(const unsigned char *p, alore_dtype dtype)
{
    uint64_t word = alo_little(p, alore_dtype_bytes(dtype));
    double wide;
    switch (dtype) {
    case ALORE_F16:
        return alore_half_to_float((uint16_t)word);
    case ALORE_BF16:
        return alore_bfloat_to_float((uint16_t)word);
    case ALORE_F64:
        memcpy(&wide, &word, sizeof wide);
        return (float)wide;
    case ALORE_I8:
        return (float)((int)(word ^ 0x80) - 0x80);
    case ALORE_I16:
        return (float)((int)(word ^ 0x8000) - 0x8000);
    case ALORE_I32:
        return (float)((int64_t)(word ^ 0x80000000u) - (int64_t)0x80000000u);
    case ALORE_I64:
        return word >> 63 ? -(float)(~word + 1) : (float)word;
    case ALORE_F8_E4M3:
        return alo_small_float((unsigned)word, 3, 7, false);
    case ALORE_F8_E5M2:
        return alore_half_to_float((uint16_t)(word << 8));
    case ALORE_F8_E8M0:
        if (word == 0xff) return alo_float(0x7fc00000);
        return alo_float(word ? (uint32_t)word << 23 : 0x00400000);
    case ALORE_F8_E4M3FNUZ:
        return alo_small_float((unsigned)word, 3, 8, true);
    case ALORE_F8_E5M2FNUZ:
        return alo_small_float((unsigned)word, 2, 16, true);
    default:
        return (float)word;
    }
}

ALORE_API bool alore_tensor_read(const alore_tensor *t, size_t first, size_t count,
                                 float *out)
{
    const unsigned char *p;
    size_t step, elements;
    if (!t || t->dtype == ALORE_BOOL || t->dtype == ALORE_C64) return false;
    step = alore_dtype_bytes(t->dtype);
    if (!step) return false;
    elements = t->bytes / step;
    if (first > elements || count > elements - first) return false;
    if (!count) return true;
    if (!out || !t->data) return false;
    p = (const unsigned char *)t->data + first * step;
    if (t->dtype != ALORE_F32)
        for (size_t i = 0; i < count; ++i) out[i] = alo_element(p + i * step, t->dtype);
    else if (alo_host_is_little())
        memcpy(out, p, count * step);
    else
        for (size_t i = 0; i < count; ++i)
            out[i] = alo_float(alo_little32(p + i * step));
    return true;
}

/* ---- The set ---- */

typedef struct alo_kept {  /* a tensor; or metadata: name the key, data the value   */
    alore_tensor t;        /* first in it                                           */
    void        *own;      /* its data, where the set allocated them                */
    size_t       block;    /* bytes of its own block, 0: it lies in the file's      */
    size_t       place;    /* of its name in the file                               */
} alo_kept;

typedef struct alo_shelf {
    alo_kept **at;
    int count, room;
} alo_shelf;

enum { ALO_BORROWED = 0, ALO_READ, ALO_MAPPED }; /* how the set has its file        */

struct alore_weights {
    alo_object object;
    alo_shelf  by_place, by_name; /* the tensors, twice                             */
    alo_shelf  meta;              /* by key                                         */
    void      *block;             /* entries, dims and strings of the file          */
    size_t     block_bytes;
    void      *file;              /* NULL: borrowed                                 */
    size_t     file_bytes;
    int        held;
};

static int alo_compare_names(const char *a, size_t a_bytes, const char *b,
                             size_t b_bytes)
{
    int order = memcmp(a, b, a_bytes < b_bytes ? a_bytes : b_bytes);
    return order ? order : (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

static int alo_by_name(const alo_kept *a, const alo_kept *b)
{
    return alo_compare_names(a->t.name, a->t.name_bytes, b->t.name, b->t.name_bytes);
}

/* By the data's begin; tensors without bytes before the one that begins there. */
static int alo_by_place(const alo_kept *a, const alo_kept *b)
{
    const char *p = (const char *)a->t.data, *q = (const char *)b->t.data;
    if (p != q) return p < q ? -1 : 1;
    if (a->t.bytes != b->t.bytes) return a->t.bytes < b->t.bytes ? -1 : 1;
    return alo_by_name(a, b);
}

/* Sort by a heap: in place, n log n whatever the input. */
static void alo_sort(alo_shelf *x, int (*compare)(const alo_kept *, const alo_kept *))
{
    alo_kept **at = x->at;
    int count = x->count, start = count / 2;
    while (count > 1) {
        int parent, child;
        alo_kept *sinking;
        if (start) {
            sinking = at[--start];
        } else {
            sinking = at[--count];
            at[count] = at[0];
        }
        for (parent = start; (child = 2 * parent + 1) < count; parent = child) {
            if (child + 1 < count && compare(at[child], at[child + 1]) < 0) ++child;
            if (compare(sinking, at[child]) >= 0) break;
            at[parent] = at[child];
        }
        at[parent] = sinking;
    }
}

/* Where the name is, or where it would stand. */
static int alo_shelf_find(const alo_shelf *x, const char *name, size_t bytes,
                          bool *found)
{
    int low = 0, high = x->count;
    *found = false;
    while (low < high) {
        int middle = low + (high - low) / 2;
        const alore_tensor *t = &x->at[middle]->t;
        int order = alo_compare_names(name, bytes, t->name, t->name_bytes);
        if (!order) {
            *found = true;
            return middle;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* Room for `count` entries on an empty shelf. */
static bool alo_shelf_create(alore_ctx *ctx, alo_shelf *x, int count)
{
    if (!count) return true;
    x->at = (alo_kept **)alo_new(ctx, alo_mul(alo_zu(count), sizeof *x->at));
    if (x->at) x->room = count;
    return x->at != NULL;
}

/* Room for one more. */
static bool alo_shelf_grow(alore_ctx *ctx, alo_shelf *x)
{
    void *at = alo_grow(ctx, x->at, x->count, &x->room, sizeof *x->at);
    if (at) x->at = (alo_kept **)at;
    return at != NULL;
}

static void alo_shelf_insert(alo_shelf *x, int at, alo_kept *e)
{
    memmove(x->at + at + 1, x->at + at, alo_zu(x->count - at) * sizeof *x->at);
    x->at[at] = e;
    x->count++;
}

static void alo_kept_free(alore_ctx *ctx, alo_kept *e)
{
    alo_free(ctx, e->own, e->t.bytes);
    if (e->block) alo_free(ctx, e, e->block);
}

static void alo_shelf_free(alore_ctx *ctx, alo_shelf *x)
{
    alo_free(ctx, x->at, alo_zu(x->room) * sizeof *x->at);
}

static void alo_weights_free(alo_object *object)
{
    alore_weights *w = (alore_weights *)object;
    alore_ctx *ctx = object->ctx;
    for (int i = 0; i < w->by_place.count; ++i) alo_kept_free(ctx, w->by_place.at[i]);
    for (int i = 0; i < w->meta.count; ++i) alo_kept_free(ctx, w->meta.at[i]);
    alo_shelf_free(ctx, &w->by_place);
    alo_shelf_free(ctx, &w->by_name);
    alo_shelf_free(ctx, &w->meta);
    alo_free(ctx, w->block, w->block_bytes);
#ifdef ALO_FILES_POSIX
    if (w->held == ALO_MAPPED) munmap(w->file, w->file_bytes);
#endif
    if (w->held == ALO_READ) alo_free(ctx, w->file, w->file_bytes);
    alo_object_free(object);
}

ALORE_API void alore_weights_destroy(alore_weights *w)
{
    if (w) w->object.destroy(&w->object);
}

ALORE_API alore_status alore_weights_create(alore_ctx *ctx, alore_weights **out)
{
    alo_object *o;
    if (!ctx || !out) return ALORE_ERR_ARGUMENT;
    o = alo_object_new(ctx, sizeof(alore_weights), alo_weights_free);
    if (!o) return ALORE_ERR_MEMORY;
    *out = (alore_weights *)o;
    return ALORE_OK;
}

/* Bytes that the tensor's type and extents take. False: they do not fit. */
static bool alo_shape_bytes(const alore_tensor *t, uint64_t *out)
{
    uint64_t bytes = alore_dtype_bytes(t->dtype);
    bool fits = true;
    for (int i = 0; i < t->rank; ++i) {
        if (!t->dims[i]) {
            *out = 0;
            return true;
        }
        fits = fits && bytes <= UINT64_MAX / t->dims[i];
        bytes = fits ? bytes * t->dims[i] : bytes;
    }
    *out = bytes;
    return fits && bytes < SIZE_MAX;
}

/* ---- Reading ---- */

typedef struct alo_reader { /* one walk over a header                               */
    alo_json   json;
    size_t     data;        /* where in the file the data begins, and how much      */
    size_t     data_bytes;
    int        tensors, keys;
    size_t     dims;
    alo_text   strings;     /* names, keys and values, each with a NUL              */
    uint64_t  *dim, *dim_end;
    alo_kept *entry;       /* the next to fill; NULL: the first walk               */
    alore_weights *w;
} alo_reader;

/* End a failure's sentence with the byte. */
static bool alo_reader_at(alo_reader *r, size_t at)
{
    alore_error *e = &r->json.ctx->error;
    alo_text text = {e->text, sizeof e->text, strlen(e->text)};
    alo_print(&text, ", at byte %z", at);
    e->offset = at;
    r->json.failed = true;
    return false;
}

/* Give a failure its site: the name at byte `name`, as the header spells it. */
static bool alo_reader_site(alo_reader *r, size_t name)
{
    alore_error *e = &r->json.ctx->error;
    const unsigned char *s = r->json.bytes;
    alo_text site = {e->site, sizeof e->site, 0};
    size_t last = ++name;
    while (last < r->json.end && s[last] != '"') last += s[last] == '\\' ? 2 : 1;
    alo_put(&site, (const char *)s + name, last - name);
    return false;
}

/* Read a string into the block. Without a block only its size is right. */
static bool alo_reader_string(alo_reader *r, const char **s, size_t *bytes)
{
    size_t first = r->strings.used;
    if (!alo_json_string(&r->json, &r->strings)) return false;
    *s = r->strings.data ? r->strings.data + first : "";
    *bytes = r->strings.used - first;
    alo_put(&r->strings, "", 1);
    return true;
}

static bool alo_reader_dtype(alo_reader *r, alore_dtype *out)
{
    size_t at = r->json.at;
    char name[16], shown[96];
    alo_text word = {name, sizeof name, 0}, quoted = {shown, sizeof shown, 0};
    if (!alo_json_string(&r->json, &word)) return false;
    for (int i = 0; i < ALO_DTYPES; ++i) {
        if (word.used != strlen(alo_dtype_rows[i].name)) continue;
        if (memcmp(name, alo_dtype_rows[i].name, word.used) != 0) continue;
        *out = (alore_dtype)i;
        return true;
    }
    alo_put_json(&quoted, name, word.used < sizeof name ? word.used : sizeof name - 1);
    alo_fail(r->json.ctx, ALORE_ERR_FORMAT, NULL, "the type %s is not known", shown);
    return alo_reader_at(r, at);
}

/* Read an array of at most `most` numbers. */
static bool alo_reader_numbers(alo_reader *r, uint64_t *out, size_t most, size_t *count)
{
    *count = 0;
    if (!alo_json_take(&r->json, '[', "an array is missing")) return false;
    while (alo_json_more(&r->json, ']', count)) {
        if (*count > most) return alo_json_fail(&r->json, "an array is too long");
        alo_json_uint(&r->json, out + *count - 1);
    }
    return !r->json.failed;
}

/* Read the fields of a tensor, in any order: `dims` [ALO_MAX_RANK], offsets [2]. */
static bool alo_reader_fields(alo_reader *r, alore_tensor *t, uint64_t *dims,
                              uint64_t *offsets)
{
    static const char *const fields[] = {"dtype", "shape", "data_offsets"};
    size_t members = 0, count;
    unsigned seen = 0;
    if (!alo_json_take(&r->json, '{', "a tensor's object is missing")) return false;
    while (alo_json_more(&r->json, '}', &members)) {
        char name[16];
        alo_text word = {name, sizeof name, 0};
        unsigned field = 0;
        if (!alo_json_string(&r->json, &word)) return false;
        while (field < 3 && (word.used != strlen(fields[field]) ||
                             memcmp(name, fields[field], word.used) != 0))
            ++field;
        if (field == 3) return alo_json_fail(&r->json, "a field is not known");
        if (seen >> field & 1) return alo_json_fail(&r->json, "a field stands twice");
        seen |= 1u << field;
        if (!alo_json_take(&r->json, ':', "a colon is missing")) return false;
        if (field == 0) {
            alo_reader_dtype(r, &t->dtype);
        } else if (field == 1) {
            if (alo_reader_numbers(r, dims, ALO_MAX_RANK, &count)) t->rank = (int)count;
        } else if (alo_reader_numbers(r, offsets, 2, &count) && count != 2) {
            return alo_json_fail(&r->json, "data_offsets are not two");
        }
    }
    if (!r->json.failed && seen != 7)
        return alo_json_fail(&r->json, "dtype, shape or data_offsets is missing");
    return !r->json.failed;
}

/* True where the sizes agree with each other and with the file. */
static bool alo_reader_sizes(alo_reader *r, const alore_tensor *t,
                             const uint64_t *offsets)
{
    alore_ctx *ctx = r->json.ctx;
    uint64_t bytes;
    if (!alo_shape_bytes(t, &bytes))
        alo_fail(ctx, ALORE_ERR_FORMAT, NULL, "the shape's bytes do not fit %d bits",
                 (int)(8 * sizeof(size_t)));
    else if (offsets[0] > offsets[1] || offsets[1] > r->data_bytes)
        alo_fail(ctx, ALORE_ERR_FORMAT, NULL,
                 "data_offsets %u to %u do not lie in %z bytes of data", offsets[0],
                 offsets[1], r->data_bytes);
    else if (offsets[1] - offsets[0] != bytes)
        alo_fail(ctx, ALORE_ERR_FORMAT, NULL,
                 "type and shape take %u bytes, data_offsets hold %u", bytes,
                 offsets[1] - offsets[0]);
    else
        return true;
    return false;
}

/* In the second walk keep the entry: in the block, and on a shelf. */
static bool alo_reader_keep(alo_reader *r, const alo_kept *e, alo_shelf *shelf)
{
    size_t rank = alo_zu(e->t.rank);
    if (!r->entry) return true;
    if (shelf->count == shelf->room || rank > (size_t)(r->dim_end - r->dim) ||
        r->strings.used >= r->strings.bytes)
        return alo_json_fail(&r->json, "the file changed while it was read");
    *r->entry = *e;
    if (rank) memcpy(r->dim, e->t.dims, rank * sizeof *r->dim);
    r->entry->t.dims = r->dim;
    r->dim += rank;
    shelf->at[shelf->count++] = r->entry++;
    return true;
}

static bool alo_reader_tensor(alo_reader *r, alo_kept *e)
{
    uint64_t dims[ALO_MAX_RANK], offsets[2];
    if (!alo_reader_fields(r, &e->t, dims, offsets))
        return alo_reader_site(r, e->place);
    e->t.dims = dims;
    if (!alo_reader_sizes(r, &e->t, offsets))
        return alo_reader_at(r, e->place) || alo_reader_site(r, e->place);
    e->t.data = r->json.bytes + r->data + (size_t)offsets[0];
    e->t.bytes = (size_t)(offsets[1] - offsets[0]);
    r->dims += alo_zu(e->t.rank);
    r->tensors++;
    return alo_reader_keep(r, e, &r->w->by_place);
}

static bool alo_reader_meta(alo_reader *r)
{
    size_t members = 0;
    if (!alo_json_take(&r->json, '{', "the metadata's object is missing")) return false;
    while (alo_json_more(&r->json, '}', &members)) {
        alo_kept e = ALORE_ZERO;
        const char *value;
        alo_json_space(&r->json);
        e.place = r->json.at;
        if (!alo_reader_string(r, &e.t.name, &e.t.name_bytes) ||
            !alo_json_take(&r->json, ':', "a colon is missing") ||
            !alo_reader_string(r, &value, &e.t.bytes))
            return false;
        e.t.data = value;
        r->keys++;
        if (!alo_reader_keep(r, &e, &r->w->meta)) return false;
    }
    return !r->json.failed;
}

/* Walk the header once. */
static bool alo_reader_walk(alo_reader *r)
{
    static const char meta[] = "__metadata__";
    size_t members = 0;
    bool seen = false;
    if (!alo_json_take(&r->json, '{', "the header is not an object")) return false;
    while (alo_json_more(&r->json, '}', &members)) {
        alo_kept e = ALORE_ZERO;
        alo_json head;
        char word[sizeof meta];
        alo_text key = {word, sizeof word, 0};
        alo_json_space(&r->json);
        e.place = r->json.at;
        head = r->json;
        if (alo_json_string(&head, &key) && key.used == sizeof meta - 1 &&
            !memcmp(word, meta, sizeof meta)) {
            if (seen) return alo_json_fail(&r->json, "the metadata stands twice");
            seen = true;
            r->json.at = head.at;
            if (!alo_json_take(&r->json, ':', "a colon is missing")) return false;
            if (!alo_reader_meta(r)) return false;
            continue;
        }
        if (!alo_reader_string(r, &e.t.name, &e.t.name_bytes) ||
            !alo_json_take(&r->json, ':', "a colon is missing") ||
            !alo_reader_tensor(r, &e))
            return false;
    }
    alo_json_space(&r->json);
    if (!r->json.failed && r->json.at < r->json.end)
        return alo_json_fail(&r->json, "the header goes on behind its object");
    return !r->json.failed;
}

/* Allocate what the first walk counted, for the second to fill. */
static bool alo_reader_reserve(alo_reader *r)
{
    alore_weights *w = r->w;
    alore_ctx *ctx = r->json.ctx;
    size_t entries = alo_zu(r->tensors + r->keys), text = r->strings.used + 1;
    size_t dims = alo_mul(r->dims, sizeof *r->dim);
    w->block_bytes = alo_sum(alo_sum(alo_mul(entries, sizeof *r->entry), dims), text);
    w->block = alo_new(ctx, w->block_bytes);
    if (!w->block || !alo_shelf_create(ctx, &w->by_place, r->tensors) ||
        !alo_shelf_create(ctx, &w->by_name, r->tensors) ||
        !alo_shelf_create(ctx, &w->meta, r->keys))
        return false;
    r->dim = (uint64_t *)w->block;
    r->dim_end = r->dim + r->dims;
    r->entry = (alo_kept *)(void *)r->dim_end;
    r->strings.data = (char *)(r->entry + entries);
    r->strings.bytes = text;
    r->strings.used = 0;
    r->json.at = 8;
    return true;
}

/* True where no two neighbours have the same name. */
static bool alo_reader_unique(alo_reader *r, const alo_shelf *x)
{
    for (int i = 1; i < x->count; ++i) {
        size_t a = x->at[i - 1]->place, b = x->at[i]->place;
        if (alo_by_name(x->at[i - 1], x->at[i]) != 0) continue;
        if (a > b) b = a, a = x->at[i]->place;
        alo_fail(r->json.ctx, ALORE_ERR_FORMAT, NULL,
                 "the name at byte %z stands again", a);
        return alo_reader_at(r, b) || alo_reader_site(r, b);
    }
    return true;
}

/* True where the tensors cover the data once and without holes. */
static bool alo_reader_covers(alo_reader *r, const alo_shelf *x)
{
    const unsigned char *data = r->json.bytes + r->data;
    size_t next = 0;
    for (int i = 0; i < x->count; ++i) {
        const alore_tensor *t = &x->at[i]->t;
        size_t begin = (size_t)((const unsigned char *)t->data - data);
        if (begin != next) {
            alo_fail(r->json.ctx, ALORE_ERR_FORMAT, NULL,
                     "data begin at %z, where those before end at %z", begin, next);
            return alo_reader_at(r, x->at[i]->place) ||
                   alo_reader_site(r, x->at[i]->place);
        }
        next += t->bytes;
    }
    if (next == r->data_bytes) return true;
    alo_fail(r->json.ctx, ALORE_ERR_FORMAT, NULL,
             "the tensors cover %z of %z bytes of data", next, r->data_bytes);
    return alo_reader_at(r, r->data + next);
}

/* Start the reader: check the length of the header. */
static bool alo_reader_begin(alo_reader *r, const unsigned char *file, size_t bytes)
{
    alore_ctx *ctx = r->w->object.ctx;
    uint64_t header = bytes < 8 ? 0 : alo_little64(file);
    r->json.ctx = ctx;
    r->json.bytes = file;
    r->json.at = 8;
    if (bytes < 8)
        alo_fail(ctx, ALORE_ERR_FORMAT, NULL,
                 "the header's length takes 8 bytes, the file has %z", bytes);
    else if (header > ALO_MAX_HEADER)
        alo_fail(ctx, ALORE_ERR_FORMAT, NULL,
                 "the header has %u bytes, over the limit of %d", header,
                 (int)ALO_MAX_HEADER);
    else if (header > bytes - 8)
        alo_fail(ctx, ALORE_ERR_FORMAT, NULL, "the header has %u bytes, but %z follow",
                 header, bytes - 8);
    else {
        r->json.end = r->data = 8 + (size_t)header;
        r->data_bytes = bytes - r->data;
        return true;
    }
    return alo_reader_at(r, 0);
}

/* Fill the new set `w` from a file. */
static bool alo_reader_run(alore_weights *w, const void *file, size_t bytes)
{
    alo_reader r = ALORE_ZERO;
    r.w = w;
    if (!alo_reader_begin(&r, (const unsigned char *)file, bytes) ||
        !alo_reader_walk(&r) || !alo_reader_reserve(&r) || !alo_reader_walk(&r))
        return false;
    if (w->by_place.count)
        memcpy(w->by_name.at, w->by_place.at,
               alo_zu(w->by_place.count) * sizeof *w->by_name.at);
    w->by_name.count = w->by_place.count;
    alo_sort(&w->by_name, alo_by_name);
    alo_sort(&w->by_place, alo_by_place);
    alo_sort(&w->meta, alo_by_name);
    return alo_reader_unique(&r, &w->by_name) && alo_reader_unique(&r, &w->meta) &&
           alo_reader_covers(&r, &w->by_place);
}

ALORE_API alore_status alore_weights_open(alore_ctx *ctx, const void *file,
                                          size_t bytes, alore_weights **out)
{
    alore_weights *w;
    if (!ctx || !out) return ALORE_ERR_ARGUMENT;
    if (!file) return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "no bytes to open");
    if (alore_weights_create(ctx, &w) != ALORE_OK) return ctx->error.status;
    if (!alo_reader_run(w, file, bytes)) {
        alore_weights_destroy(w);
        return ctx->error.status;
    }
    *out = w;
    return ALORE_OK;
}

#ifndef ALORE_NO_STDIO

static bool alo_file_fail(alore_ctx *ctx, const char *path, const char *what)
{
    alo_fail(ctx, ALORE_ERR_IO, NULL, "%s %s", path, what);
    return false;
}

#ifdef ALO_FILES_POSIX

/* Map the file at `path`. */
static bool alo_file_hold(alore_weights *w, const char *path)
{
    alore_ctx *ctx = w->object.ctx;
    struct stat about;
    void *bytes = MAP_FAILED;
    bool known;
    int file = open(path, O_RDONLY);
    if (file < 0) return alo_file_fail(ctx, path, "cannot be opened");
    known = fstat(file, &about) == 0;
    if (known && S_ISREG(about.st_mode) && about.st_size > 0 &&
        (uint64_t)about.st_size < SIZE_MAX)
        bytes = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    close(file);
    if (known && S_ISDIR(about.st_mode))
        return alo_file_fail(ctx, path, "is a directory");
    if (known && !S_ISREG(about.st_mode))
        return alo_file_fail(ctx, path, "is not a regular file");
    if (known && !about.st_size) return alo_file_fail(ctx, path, "is empty");
    if (bytes == MAP_FAILED) return alo_file_fail(ctx, path, "cannot be mapped");
    w->file = bytes;
    w->file_bytes = (size_t)about.st_size;
    w->held = ALO_MAPPED;
    return true;
}

/* Make a file that is not there yet; -1 where that fails. */
static int alo_file_create(const char *path)
{
    return open(path, O_WRONLY | O_CREAT | O_EXCL, 0666);
}

static bool alo_file_write(void *user, const void *data, size_t bytes)
{
    const char *from = (const char *)data;
    while (bytes) {
        ssize_t n =
            write(*(const int *)user, from, bytes < 1u << 30 ? bytes : 1u << 30);
        if (n <= 0) return false;
        from += n;
        bytes -= (size_t)n;
    }
    return true;
}

/* Close the file once its bytes are on the disk. */
static bool alo_file_close(int *file)
{
    bool synced = fsync(*file) == 0;
    return (close(*file) == 0) && synced;
}

typedef int alo_file;
static const alo_file alo_no_file = -1;

#else

/* Bytes of an open file; false where they cannot be told or read. */
static bool alo_file_bytes(FILE *file, size_t *bytes)
{
    char probe;
#ifdef _WIN32
    int64_t end = _fseeki64(file, 0, SEEK_END) ? -1 : _ftelli64(file);
#else
    int64_t end = fseek(file, 0, SEEK_END) ? -1 : ftell(file);
#endif
    if (end < 0 || (uint64_t)end >= SIZE_MAX) return false;
    rewind(file);
    *bytes = (size_t)end;
    if (end && fread(&probe, 1, 1, file) != 1) return false;
    rewind(file);
    return true;
}

/* Read the file at `path` into a block. */
static bool alo_file_hold(alore_weights *w, const char *path)
{
    alore_ctx *ctx = w->object.ctx;
    size_t bytes = 0;
    bool pass;
    FILE *file = fopen(path, "rb");
    if (!file) return alo_file_fail(ctx, path, "cannot be opened");
    pass = alo_file_bytes(file, &bytes);
    if (!pass)
        alo_file_fail(ctx, path, "cannot be read");
    else if (!bytes)
        pass = alo_file_fail(ctx, path, "is empty");
    else {
        w->file = alo_new(ctx, bytes);
        w->file_bytes = bytes;
        w->held = ALO_READ;
        pass = w->file != NULL;
        if (pass && fread(w->file, 1, bytes, file) != bytes)
            pass = alo_file_fail(ctx, path, "cannot be read to its end");
    }
    fclose(file);
    return pass;
}

typedef FILE *alo_file;
static const alo_file alo_no_file = NULL;

/* Make a file that is not there yet; NULL where that fails. */
static alo_file alo_file_create(const char *path)
{
    return fopen(path, "wbx");
}

static bool alo_file_write(void *user, const void *data, size_t bytes)
{
    return fwrite(data, 1, bytes, *(alo_file *)user) == bytes;
}

static bool alo_file_close(alo_file *file)
{
    bool flushed = fflush(*file) == 0;
    return (fclose(*file) == 0) && flushed;
}

#endif

ALORE_API alore_status alore_weights_load(alore_ctx *ctx, const char *path,
                                          alore_weights **out)
{
    alore_weights *w;
    if (!ctx || !out) return ALORE_ERR_ARGUMENT;
    if (!path) return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "no path to load");
    if (alore_weights_create(ctx, &w) != ALORE_OK) return ctx->error.status;
    if (!alo_file_hold(w, path) || !alo_reader_run(w, w->file, w->file_bytes)) {
        alore_weights_destroy(w);
        return ctx->error.status;
    }
    *out = w;
    return ALORE_OK;
}

#endif /* ALORE_NO_STDIO */

/* ---- Filling and asking ---- */

/* Check a tensor that is to be added; `bytes` becomes what it takes. */
static alore_status alo_weights_check(alore_ctx *ctx, const alore_tensor *t,
                                      size_t name_bytes, size_t *bytes)
{
    uint64_t need;
    if (!alore_dtype_bytes(t->dtype))
        return alo_fail(ctx, ALORE_ERR_DTYPE, t->name, "type %d is not known",
                        (int)t->dtype);
    if (t->rank < 0 || t->rank > ALO_MAX_RANK)
        return alo_fail(ctx, ALORE_ERR_SHAPE, t->name, "rank %d is not in 0 to %d",
                        t->rank, (int)ALO_MAX_RANK);
    if (t->rank && !t->dims)
        return alo_fail(ctx, ALORE_ERR_ARGUMENT, t->name, "rank %d, but no extents",
                        t->rank);
    if (!alo_is_utf8(t->name, name_bytes))
        return alo_fail(ctx, ALORE_ERR_NAME, NULL, "a tensor's name is not UTF-8");
    if (!strcmp(t->name, "__metadata__"))
        return alo_fail(ctx, ALORE_ERR_NAME, t->name, "the name is kept for metadata");
    if (!alo_shape_bytes(t, &need))
        return alo_fail(ctx, ALORE_ERR_SHAPE, t->name, "the bytes do not fit %d bits",
                        (int)(8 * sizeof(size_t)));
    if (t->bytes && t->bytes != need)
        return alo_fail(ctx, ALORE_ERR_SHAPE, t->name,
                        "type and shape take %u bytes, %z are given", need, t->bytes);
    *bytes = (size_t)need;
    return ALORE_OK;
}

/* name_bytes 0: the name ends at its NUL. bytes 0: what type and shape take. */
ALORE_API alore_status alore_weights_add(alore_weights *w, const alore_tensor *t)
{
    alore_ctx *ctx;
    alo_kept *e;
    char *tail;
    size_t name_bytes, dim_bytes, head, block, bytes = 0;
    alore_status status;
    int at;
    bool found;
    if (!w) return ALORE_ERR_ARGUMENT;
    ctx = w->object.ctx;
    if (!t || !t->name)
        return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "no tensor, or no name");
    name_bytes = t->name_bytes ? t->name_bytes : strlen(t->name);
    status = alo_weights_check(ctx, t, name_bytes, &bytes);
    if (status != ALORE_OK) return status;
    at = alo_shelf_find(&w->by_name, t->name, name_bytes, &found);
    if (found)
        return alo_fail(ctx, ALORE_ERR_NAME, t->name, "the name is there already");
    if (!alo_shelf_grow(ctx, &w->by_name) || !alo_shelf_grow(ctx, &w->by_place))
        return ALORE_ERR_MEMORY;
    head = alo_align(sizeof *e, sizeof *t->dims);
    dim_bytes = alo_zu(t->rank) * sizeof *t->dims;
    block = alo_sum(head + dim_bytes + 1, name_bytes);
    e = (alo_kept *)alo_new(ctx, block);
    if (!e) return ALORE_ERR_MEMORY;
    tail = (char *)e + head;
    if (dim_bytes) memcpy(tail, t->dims, dim_bytes);
    memcpy(tail + dim_bytes, t->name, name_bytes);
    e->block = block;
    e->t = *t;
    e->t.bytes = bytes;
    e->t.dims = (const uint64_t *)(void *)tail;
    e->t.name = tail + dim_bytes;
    e->t.name_bytes = name_bytes;
    if (!t->data) e->t.data = e->own = alo_new(ctx, bytes);
    if (!e->t.data) {
        alo_free(ctx, e, block);
        return ALORE_ERR_MEMORY;
    }
    alo_shelf_insert(&w->by_name, at, e);
    alo_shelf_insert(&w->by_place, w->by_place.count, e);
    return ALORE_OK;
}

ALORE_API alore_status alore_weights_set_meta(alore_weights *w, const char *key,
                                              const char *value)
{
    alore_ctx *ctx;
    alo_kept *e;
    size_t key_bytes, block;
    int at;
    bool found;
    if (!w) return ALORE_ERR_ARGUMENT;
    ctx = w->object.ctx;
    if (!key) return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "no metadata key");
    key_bytes = strlen(key);
    at = alo_shelf_find(&w->meta, key, key_bytes, &found);
    if (!value) {
        if (!found) return ALORE_OK;
        alo_kept_free(ctx, w->meta.at[at]);
        w->meta.count--;
        memmove(w->meta.at + at, w->meta.at + at + 1,
                alo_zu(w->meta.count - at) * sizeof *w->meta.at);
        return ALORE_OK;
    }
    if (!alo_is_utf8(key, key_bytes) || !alo_is_utf8(value, strlen(value)))
        return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "metadata is not UTF-8");
    if (!found && !alo_shelf_grow(ctx, &w->meta)) return ALORE_ERR_MEMORY;
    block = alo_sum(alo_sum(sizeof *e + 2, key_bytes), strlen(value));
    e = (alo_kept *)alo_new(ctx, block);
    if (!e) return ALORE_ERR_MEMORY;
    e->block = block;
    e->t.name = (char *)(e + 1);
    e->t.name_bytes = key_bytes;
    e->t.data = e->t.name + key_bytes + 1;
    e->t.bytes = strlen(value);
    memcpy(e + 1, key, key_bytes);
    memcpy((char *)(e + 1) + key_bytes + 1, value, e->t.bytes);
    if (!found) {
        alo_shelf_insert(&w->meta, at, e);
        return ALORE_OK;
    }
    alo_kept_free(ctx, w->meta.at[at]);
    w->meta.at[at] = e;
    return ALORE_OK;
}

static alo_kept *alo_weights_entry(const alo_shelf *x, const char *name)
{
    bool found;
    int at = alo_shelf_find(x, name, strlen(name), &found);
    return found ? x->at[at] : NULL;
}

ALORE_API void *alore_weights_data(alore_weights *w, const char *name)
{
    alo_kept *e = w && name ? alo_weights_entry(&w->by_name, name) : NULL;
    return e ? e->own : NULL;
}

ALORE_API int alore_weights_count(const alore_weights *w)
{
    return w ? w->by_place.count : 0;
}

ALORE_API const alore_tensor *alore_weights_at(const alore_weights *w, int index)
{
    return index >= 0 && index < alore_weights_count(w) ? &w->by_place.at[index]->t
                                                        : NULL;
}

ALORE_API const alore_tensor *alore_weights_find(const alore_weights *w,
                                                 const char *name)
{
    const alo_kept *e = w && name ? alo_weights_entry(&w->by_name, name) : NULL;
    return e ? &e->t : NULL;
}

ALORE_API const char *alore_weights_meta(const alore_weights *w, const char *key)
{
    const alo_kept *e = w && key ? alo_weights_entry(&w->meta, key) : NULL;
    return e ? (const char *)e->t.data : NULL;
}

ALORE_API int alore_weights_meta_count(const alore_weights *w)
{
    return w ? w->meta.count : 0;
}

ALORE_API void alore_weights_meta_at(const alore_weights *w, int index,
                                     const char **key, const char **value)
{
    bool inside = index >= 0 && index < alore_weights_meta_count(w);
    if (key) *key = inside ? w->meta.at[index]->t.name : NULL;
    if (value) *value = inside ? (const char *)w->meta.at[index]->t.data : NULL;
}

/* ---- The fingerprint ----
 *
 * A chain over words of 64 bits, little-endian, the last one of a run padded with
 * zeros: h = rotl(h ^ word * A, 29) * B, from h = 0. Each step is a bijection of h
 * and of the word, so one changed word always changes the hash; the two products
 * and the end, the finaliser of MurmurHash3, spread it over all bits. Words of a
 * tensor: bytes of the name, the name, type, rank, dims, bytes, data. A and B are
 * the first primes of xxHash64. */

static uint64_t alo_hash_word(uint64_t h, uint64_t word)
{
    h ^= word * UINT64_C(0x9e3779b185ebca87);
    return (h << 29 | h >> 35) * UINT64_C(0xc2b2ae3d27d4eb4f);
}

static uint64_t alo_hash_bytes(uint64_t h, const void *data, size_t bytes)
{
    const unsigned char *p = (const unsigned char *)data;
    for (; bytes >= 8; p += 8, bytes -= 8) h = alo_hash_word(h, alo_little64(p));
    return bytes ? alo_hash_word(h, alo_little(p, bytes)) : h;
}

ALORE_API uint64_t alore_weights_fingerprint(const alore_weights *w)
{
    uint64_t h = 0;
    for (int i = 0; i < alore_weights_count(w); ++i) {
        const alore_tensor *t = &w->by_name.at[i]->t;
        h = alo_hash_word(h, t->name_bytes);
        h = alo_hash_bytes(h, t->name, t->name_bytes);
        h = alo_hash_word(h, (uint64_t)t->dtype);
        h = alo_hash_word(h, (uint64_t)t->rank);
        for (int k = 0; k < t->rank; ++k) h = alo_hash_word(h, t->dims[k]);
        h = alo_hash_word(h, t->bytes);
        h = alo_hash_bytes(h, t->data, t->bytes);
    }
    h = (h ^ h >> 33) * UINT64_C(0xff51afd7ed558ccd);
    h = (h ^ h >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return h ^ h >> 33;
}

/* ---- Writing ---- */

/* The next tensor to be written behind `*at` (start with -1 and *size 8), NULL behind
 * the last: by falling type size, then by name. */
static const alore_tensor *alo_write_next(const alore_weights *w, size_t *size, int *at)
{
    for (; *size; *size /= 2, *at = -1)
        while (++*at < w->by_name.count) {
            const alore_tensor *t = &w->by_name.at[*at]->t;
            if (alore_dtype_bytes(t->dtype) == *size) return t;
        }
    return NULL;
}

/* Append the header and the spaces that align the data to 8. False: the data are more
 * than a file can have. */
static bool alo_put_header(alo_text *text, const alore_weights *w)
{
    const alore_tensor *t;
    size_t size = 8, begin = 0;
    int at = -1;
    bool first = true;
    alo_put(text, "{", 1);
    if (w->meta.count) {
        for (int i = 0; i < w->meta.count; ++i) {
            t = &w->meta.at[i]->t;
            alo_print(text, i ? "," : "\"__metadata__\":{");
            alo_put_json(text, t->name, t->name_bytes);
            alo_put(text, ":", 1);
            alo_put_json(text, (const char *)t->data, t->bytes);
        }
        alo_put(text, "}", 1);
        first = false;
    }
    while ((t = alo_write_next(w, &size, &at)) != NULL) {
        size_t end = alo_sum(begin, t->bytes);
        if (end == SIZE_MAX) return false;
        if (!first) alo_put(text, ",", 1);
        first = false;
        alo_put_json(text, t->name, t->name_bytes);
        alo_print(text, ":{\"dtype\":\"%s\",\"shape\":[", alore_dtype_name(t->dtype));
        for (int i = 0; i < t->rank; ++i) alo_print(text, i ? ",%u" : "%u", t->dims[i]);
        alo_print(text, "],\"data_offsets\":[%z,%z]}", begin, end);
        begin = end;
    }
    alo_put(text, "}", 1);
    while (text->used % 8) alo_put(text, " ", 1);
    return true;
}

static bool alo_write_piece(alore_ctx *ctx, const alore_writer *writer,
                            const void *data, size_t bytes)
{
    if (!bytes || writer->write(writer->user, data, bytes)) return true;
    alo_fail(ctx, ALORE_ERR_IO, NULL, "the writer refused a piece of %z bytes", bytes);
    return false;
}

ALORE_API alore_status alore_weights_write(const alore_weights *w,
                                           const alore_writer *writer)
{
    alore_ctx *ctx;
    const alore_tensor *t;
    alo_text text = {NULL, 0, 0};
    unsigned char length[8];
    size_t size = 8, header, block;
    int at = -1;
    bool pass;
    if (!w) return ALORE_ERR_ARGUMENT;
    ctx = w->object.ctx;
    if (!writer || !writer->write)
        return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "no writer");
    pass = alo_put_header(&text, w);
    header = text.used;
    if (!pass || header > ALO_MAX_HEADER)
        return alo_fail(ctx, ALORE_ERR_CAPACITY, NULL,
                        "a header of %z bytes, or its data, is too large for a file",
                        header);
    block = header + 1;
    text.data = (char *)alo_new(ctx, block);
    if (!text.data) return ALORE_ERR_MEMORY;
    text.bytes = block;
    text.used = 0;
    alo_put_header(&text, w);
    for (int i = 0; i < 8; ++i) length[i] = (unsigned char)((uint64_t)header >> 8 * i);
    pass = alo_write_piece(ctx, writer, length, sizeof length) &&
           alo_write_piece(ctx, writer, text.data, header);
    while (pass && (t = alo_write_next(w, &size, &at)) != NULL)
        pass = alo_write_piece(ctx, writer, t->data, t->bytes);
    alo_free(ctx, text.data, block);
    return pass ? ALORE_OK : ALORE_ERR_IO;
}

#ifndef ALORE_NO_STDIO

/* Write to the new file `beside` and give it the name `path`. */
static alore_status alo_save_through(const alore_weights *w, alo_file file,
                                     const char *beside, const char *path)
{
    alore_ctx *ctx = w->object.ctx;
    alore_writer writer = {alo_file_write, &file};
    alore_status status = alore_weights_write(w, &writer);
    bool closed = alo_file_close(&file);
    if (status == ALORE_ERR_IO || (status == ALORE_OK && !closed))
        status = alo_fail(ctx, ALORE_ERR_IO, NULL, "%s cannot be written", path);
#ifdef _WIN32
    if (status == ALORE_OK) remove(path); /* rename() does not replace there */
#endif
    if (status == ALORE_OK && rename(beside, path) != 0)
        status = alo_fail(ctx, ALORE_ERR_IO, NULL, "%s cannot be replaced", path);
    if (status != ALORE_OK) remove(beside);
    return status;
}

ALORE_API alore_status alore_weights_save(const alore_weights *w, const char *path)
{
    alore_ctx *ctx;
    alo_file file = alo_no_file;
    alo_text beside = {NULL, 0, 0};
    alore_status status;
    if (!w) return ALORE_ERR_ARGUMENT;
    ctx = w->object.ctx;
    if (!path) return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "no path to save to");
    beside.bytes = alo_sum(strlen(path), 16);
    beside.data = (char *)alo_new(ctx, beside.bytes);
    if (!beside.data) return ALORE_ERR_MEMORY;
    for (int i = 0; i < 100 && file == alo_no_file; ++i, beside.used = 0) {
        alo_print(&beside, "%s.tmp", path);
        if (i) alo_put_uint(&beside, (uint64_t)i, 10);
        file = alo_file_create(beside.data);
    }
    if (file == alo_no_file)
        status = alo_fail(ctx, ALORE_ERR_IO, NULL, "%s cannot be made", beside.data);
    else
        status = alo_save_through(w, file, beside.data, path);
    alo_free(ctx, beside.data, beside.bytes);
    return status;
}

#endif /* ALORE_NO_STDIO */

/* ============================================================================
 * >> 11 model
 *
 * The model is four lists: tensors, ops, parameters (with the base tensors), sites.
 * Words append to them and infer shapes. The first mistake is kept in the model; the
 * words after it return 0 and do nothing, so that one check at the end suffices.
 * ========================================================================== */

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
    int        first, last;    /* blocks; last < 0: all                             */
    int        hits;
} alo_item;

typedef struct alo_rule {
    const alore_method *method;/* NULL: unfreeze                                    */
    alore_recipe recipe;
    char         parts[4];
    int32_t      text;         /* the rule as it was written, without blanks        */
    int          first, count; /* its items                                         */
} alo_rule;

typedef struct alo_site {
    alore_site s;              /* s.name is set when the model is finished          */
    int32_t    name;
    int        groups;
    bool       no_bias;
    alore_shape weight;        /* shape of the weight in files                      */
    int        rules;          /* how many rules with a method take it              */
} alo_site;

typedef struct alo_block {     /* memory that a model or plan owns                  */
    void  *data;
    size_t bytes;
} alo_block;

struct alore_model {
    alo_object  object;
    alore_error error;         /* of the first wrong word                           */
    alo_tensor *tensors;
    alo_op     *ops;
    alo_attr   *attrs;
    alo_param  *params;
    alo_site   *sites;
    alo_rule   *rules;
    alo_item   *items;
    alo_block  *tables;
    char       *names;         /* the string table; offset 0 is ""                  */
    int tensor_count, op_count, attr_count, param_count, site_count, rule_count,
        item_count, table_count, name_bytes;
    int tensor_room, op_room, attr_room, param_room, site_room, rule_room, item_room,
        table_room, name_room;
    int32_t rules_text, backbone;
    char scope[192];           /* "blocks.3." while a block is open                 */
    int  depth, marks[8];      /* lengths of the scopes below                       */
    int  marked[8];            /* block numbers below                               */
    int  block, block_count, blocks;
    int  prefix, height, width;
    int  site, rule;           /* while a site is open; while a rule emits          */
    char part;                 /* q, k, v while a part emits, else 0                */
    int  dropouts;
    bool finished;
    bool probe;                /* hosts alone, for merge: norms without statistics  */
    bool strip;                /* leave out what does not depend on the input       */
};

static alore_ctx *alo_ctx(const alore_model *m)
{
    return m->object.ctx;
}

static const char *alo_name(const alore_model *m, int32_t offset)
{
    return m->names ? m->names + offset : "";
}

/* The first mistake wins; what a failed allocation left in the context counts too. */
static alore_id alo_wrong(alore_model *m, alore_status status, const char *format, ...)
{
    va_list args;
    alo_text text = {m->error.text, sizeof m->error.text, 0};
    alo_text site = {m->error.site, sizeof m->error.site, 0};
    if (m->error.status) return 0;
    m->error.status = status;
    m->error.record = -1;
    if (m->site >= 0)
        alo_print(&site, "%s", alo_name(m, m->sites[m->site].name));
    else
        alo_put(&site, m->scope, m->scope[0] ? strlen(m->scope) - 1 : 0);
    va_start(args, format);
    alo_print_list(&text, format, args);
    va_end(args);
    return 0;
}

/* An allocation failed: the context says so already. */
static alore_id alo_starved(alore_model *m)
{
    if (!m->error.status) m->error = alo_ctx(m)->error;
    return 0;
}

/* Offset of a copy of `text` in the string table, 0 for "" and when memory fails. */
static int32_t alo_intern(alore_model *m, const char *text)
{
    size_t bytes = strlen(text) + 1;
    int32_t at;
    if (bytes == 1) return 0;
    if (bytes > 65536) return alo_wrong(m, ALORE_ERR_NAME, "a name of %z bytes", bytes);
    if (!m->name_bytes) m->name_bytes = 1;
    while (m->name_room - m->name_bytes < (int)bytes) {
        int room = m->name_room;
        char *wider = (char *)alo_grow(alo_ctx(m), m->names, room, &m->name_room, 1);
        if (!wider) return alo_starved(m);
        m->names = wider;
    }
    at = m->name_bytes;
    memcpy(m->names + at, text, bytes);
    m->name_bytes += (int)bytes;
    return at;
}

/* Append a zeroed element; its index, or -1 where memory fails. */
static int alo_room(alore_model *m, void **list, int *count, int *room, size_t element)
{
    void *wider = alo_grow(alo_ctx(m), *list, *count, room, element);
    if (!wider) {
        alo_starved(m);
        return -1;
    }
    *list = wider;
    memset((char *)wider + alo_zu(*count) * element, 0, element);
    return (*count)++;
}

static void alo_model_free(alo_object *o)
{
    alore_model *m = (alore_model *)o;
    alore_ctx *ctx = o->ctx;
    for (int i = 0; i < m->table_count; ++i)
        alo_free(ctx, m->tables[i].data, m->tables[i].bytes);
    alo_free(ctx, m->tensors, alo_zu(m->tensor_room) * sizeof *m->tensors);
    alo_free(ctx, m->ops, alo_zu(m->op_room) * sizeof *m->ops);
    alo_free(ctx, m->attrs, alo_zu(m->attr_room) * sizeof *m->attrs);
    alo_free(ctx, m->params, alo_zu(m->param_room) * sizeof *m->params);
    alo_free(ctx, m->sites, alo_zu(m->site_room) * sizeof *m->sites);
    alo_free(ctx, m->rules, alo_zu(m->rule_room) * sizeof *m->rules);
    alo_free(ctx, m->items, alo_zu(m->item_room) * sizeof *m->items);
    alo_free(ctx, m->tables, alo_zu(m->table_room) * sizeof *m->tables);
    alo_free(ctx, m->names, alo_zu(m->name_room));
    alo_object_free(o);
}

ALORE_API void alore_model_destroy(alore_model *m)
{
    if (m) alo_model_free(&m->object);
}

/* A tensor, its extents checked; index 0 stands for "none". */
static alore_id alo_tensor_new(alore_model *m, int rows, int cols, unsigned flags)
{
    void *list = m->tensors;
    int i;
    if (m->error.status) return 0;
    if (rows < 1 || cols < 1 || rows > 1 << 24 || cols > 1 << 24)
        return alo_wrong(m, ALORE_ERR_SHAPE, "a tensor of %d x %d; extents are 1 to %d",
                         rows, cols, 1 << 24);
    i = alo_room(m, &list, &m->tensor_count, &m->tensor_room, sizeof *m->tensors);
    m->tensors = (alo_tensor *)list;
    if (i < 0) return 0;
    m->tensors[i].rows = rows;
    m->tensors[i].cols = m->tensors[i].ld = cols;
    m->tensors[i].flags = (uint16_t)flags;
    m->tensors[i].root = i;
    m->tensors[i].info = -1;
    return i;
}

ALORE_API alore_status alore_model_create(alore_ctx *ctx, alore_model **out)
{
    alore_model *m;
    void *list = NULL;
    *out = NULL;
    m = (alore_model *)alo_object_new(ctx, sizeof *m, alo_model_free);
    if (!m) return ALORE_ERR_MEMORY;
    m->site = m->rule = m->block = -1;
    (void)alo_room(m, &list, &m->tensor_count, &m->tensor_room, sizeof *m->tensors);
    m->tensors = (alo_tensor *)list;
    list = NULL;
    for (int i = 0; i < 2; ++i) { /* two constants: zeros, and x = 1 */
        (void)alo_room(m, &list, &m->attr_count, &m->attr_room, sizeof *m->attrs);
        m->attrs = (alo_attr *)list;
        if (i && m->attrs) m->attrs[i].x = 1.0f;
    }
    if (m->error.status) {
        alo_model_free(&m->object);
        return ALORE_ERR_MEMORY;
    }
    *out = m;
    return ALORE_OK;
}

static const alo_tensor *alo_at(const alore_model *m, alore_id id)
{
    return &m->tensors[id > 0 && id < m->tensor_count ? id : 0];
}

static bool alo_per_sample(const alore_model *m, alore_id id)
{
    return (alo_at(m, id)->flags & ALO_PER_SAMPLE) != 0;
}

ALORE_API int alore_rows(const alore_model *m, alore_id id)
{
    return alo_at(m, id)->rows;
}

ALORE_API int alore_cols(const alore_model *m, alore_id id)
{
    return alo_at(m, id)->cols;
}

/* True if the word must return 0: a mistake before, or an operand that is none. */
static bool alo_poisoned(alore_model *m, alore_id a, alore_id b)
{
    if (m->error.status) return true;
    if (m->finished) {
        alo_wrong(m, ALORE_ERR_ORDER, "a word after alore_model_finish");
        return true;
    }
    if (a > 0 && a < m->tensor_count && b > 0 && b < m->tensor_count) return false;
    alo_wrong(m, ALORE_ERR_ARGUMENT, "an operand that is no tensor (%d, %d)", (int)a,
              (int)b);
    return true;
}

/* Append an op and its outputs. Fills out[0] and returns it. */
static alore_id alo_record(alore_model *m, int code, const alo_attr *attr,
                           const alore_id in[ALO_IN], int rows, int cols, bool per_sample)
{
    void *list = m->attrs;
    int a = 0, i;
    alore_id y = alo_tensor_new(m, rows, cols, per_sample ? (unsigned)ALO_PER_SAMPLE : 0u);
    if (!y) return 0;
    if (attr) {
        a = alo_room(m, &list, &m->attr_count, &m->attr_room, sizeof *m->attrs);
        m->attrs = (alo_attr *)list;
        if (a < 0) return 0;
        m->attrs[a] = *attr;
    }
    list = m->ops;
    i = alo_room(m, &list, &m->op_count, &m->op_room, sizeof *m->ops);
    m->ops = (alo_op *)list;
    if (i < 0) return 0;
    m->ops[i].code = (uint16_t)code;
    for (int k = 0; k < ALO_IN; ++k) m->ops[i].in[k] = in[k];
    m->ops[i].out[0] = y;
    m->ops[i].attr = a;
    m->ops[i].site = m->site;
    m->ops[i].block = m->block;
    return y;
}

/* A second output of the op appended last, for its own pieces. */
static void alo_second(alore_model *m, int rows, int cols)
{
    alo_op *op = &m->ops[m->op_count - 1];
    op->out[1] = alo_tensor_new(m, rows, cols, alo_at(m, op->out[0])->flags);
}

/* A copy of constants that ops point to, owned by the model. */
static const void *alo_table(alore_model *m, const void *data, size_t count, size_t each)
{
    void *list = m->tables, *copy;
    size_t bytes = alo_mul(count, each);
    int i = alo_room(m, &list, &m->table_count, &m->table_room, sizeof *m->tables);
    m->tables = (alo_block *)list;
    if (i < 0) return NULL;
    copy = alo_new(alo_ctx(m), bytes);
    if (!copy) {
        alo_starved(m);
        return NULL;
    }
    memcpy(copy, data, bytes);
    m->tables[i].data = copy;
    m->tables[i].bytes = bytes;
    return copy;
}

/* ---- Names, scopes, sites ---- */

ALORE_API void alore_blocks(alore_model *m, int count)
{
    m->blocks = count;
    for (int i = 0; i < m->item_count; ++i)
        if (m->items[i].last >= count)
            alo_wrong(m, ALORE_ERR_RULE, "%s#%d: the blocks are 0 to %d",
                      alo_name(m, m->items[i].text), m->items[i].last, count - 1);
}

ALORE_API void alore_grid(alore_model *m, int prefix, int height, int width)
{
    m->prefix = prefix;
    m->height = height;
    m->width = width;
}

/* `index` >= 0 opens a block: names become scope.index.name, and records until the
 * pop are one unit of recomputation. */
ALORE_API void alore_push(alore_model *m, const char *scope, int index)
{
    alo_text t = {m->scope, sizeof m->scope, strlen(m->scope)};
    if (m->error.status) return;
    if (m->depth == 8) {
        alo_wrong(m, ALORE_ERR_ARGUMENT, "scopes nest at most %d deep", 8);
        return;
    }
    m->marks[m->depth] = (int)t.used;
    m->marked[m->depth++] = m->block;
    alo_print(&t, index >= 0 ? "%s.%d." : "%s.", scope, index);
    if (t.used >= sizeof m->scope) alo_wrong(m, ALORE_ERR_NAME, "a scope too long");
    if (index >= 0) m->block = m->block_count++;
}

ALORE_API void alore_pop(alore_model *m)
{
    if (m->error.status) return;
    if (!m->depth) {
        alo_wrong(m, ALORE_ERR_ORDER, "alore_pop without alore_push");
        return;
    }
    m->scope[m->marks[--m->depth]] = 0;
    m->block = m->marked[m->depth];
}

static const char *const alo_kind_names[] = {
    "",     "patch", "norm1",  "qkv",  "proj",   "norm2", "fc1", "fc2",
    "norm", "head",  "dwconv", "down", "tokens", "attn",  "mlp", "block"};

ALORE_API const char *alore_kind_name(alore_kind kind)
{
    size_t i = (size_t)kind;
    return i < sizeof alo_kind_names / sizeof *alo_kind_names ? alo_kind_names[i] : "";
}

/* '*' any run, '?' one character. Linear in practice, and without recursion. */
static bool alo_glob(const char *pattern, const char *text)
{
    const char *star = NULL, *from = NULL;
    while (*text) {
        if (*pattern == '*') {
            star = pattern++;
            from = text;
        } else if (*pattern == '?' || *pattern == *text) {
            ++pattern;
            ++text;
        } else if (star) {
            pattern = star + 1;
            text = ++from;
        } else
            return false;
    }
    while (*pattern == '*') ++pattern;
    return !*pattern;
}

static bool alo_is_pattern(const char *text)
{
    return strpbrk(text, "*?") != NULL;
}

static bool alo_in_blocks(const alo_item *item, int block)
{
    return item->last < 0 || (block >= item->first && block <= item->last);
}

/* Does the rule take this site? A glob passes over hosts that the method has no form
 * for; a kind or a plain name that asks for one is an error. */
static bool alo_takes(alore_model *m, const alo_rule *rule, const alo_site *site)
{
    const char *name = alo_name(m, site->name);
    bool branch = site->s.host >= ALORE_HOST_BRANCH;
    for (int i = rule->first; i < rule->first + rule->count; ++i) {
        alo_item *item = &m->items[i];
        const char *text = alo_name(m, item->text);
        bool hit = item->kind ? item->kind == site->s.kind
                              : !branch && alo_glob(text, name);
        if (!hit) continue;
        if (item->kind && item->last >= 0 && site->s.block < 0) {
            alo_wrong(m, ALORE_ERR_RULE, "%s: %s lies outside the blocks and takes no #",
                      alo_name(m, rule->text), text);
            return false;
        }
        if (!alo_in_blocks(item, site->s.block)) continue;
        if (!(rule->method->hosts & (int)site->s.host)) {
            if (item->kind || !alo_is_pattern(text))
                alo_wrong(m, ALORE_ERR_RULE, "%s has no form for %s", rule->method->name,
                          name);
            continue;
        }
        ++item->hits;
        return true;
    }
    return false;
}

/* Two rules of one method would give their parameters one name, unless they take
 * different parts. */
static bool alo_collide(const alo_rule *a, const alo_rule *b)
{
    if (a->method != b->method) return false;
    if (!a->parts[0] || !b->parts[0]) return true;
    return strpbrk(a->parts, b->parts) != NULL;
}

static void alo_check_rules(alore_model *m, alo_site *site)
{
    int taken[32];
    for (int r = 0; r < m->rule_count; ++r) {
        if (!m->rules[r].method || !alo_takes(m, &m->rules[r], site)) continue;
        for (int k = 0; k < site->rules && k < 32; ++k)
            if (alo_collide(&m->rules[r], &m->rules[taken[k]]))
                alo_wrong(m, ALORE_ERR_RULE, "%s twice on one site",
                          m->rules[r].method->name);
        if (m->rules[r].parts[0] && site->s.kind != ALORE_KIND_QKV)
            alo_wrong(m, ALORE_ERR_RULE, "parts=%s asks for a fused qkv, this is %s",
                      m->rules[r].parts, alore_kind_name(site->s.kind));
        if (site->rules < 32) taken[site->rules] = r;
        ++site->rules;
    }
}

/* Open a site: what the words declare until it is closed belongs to it. */
static bool alo_site_open(alore_model *m, const char *name, alore_kind kind,
                          alore_host host, int rows, int in, int out)
{
    char full[256];
    alo_text t = {full, sizeof full, 0};
    void *list = m->sites;
    alo_site *site;
    int32_t at;
    alo_print(&t, "%s%s", m->scope, name);
    if (host >= ALORE_HOST_TOKENS && t.used < sizeof full && !*name) full[t.used - 1] = 0;
    if (t.used >= sizeof full) return alo_wrong(m, ALORE_ERR_NAME, "a name too long");
    at = alo_intern(m, full);
    m->site = alo_room(m, &list, &m->site_count, &m->site_room, sizeof *m->sites);
    m->sites = (alo_site *)list;
    if (m->site < 0 || m->error.status) return false;
    site = &m->sites[m->site];
    site->name = at;
    site->s.kind = kind;
    site->s.host = host;
    site->s.in = in;
    site->s.out = out;
    site->s.block = m->block;
    site->s.blocks = m->blocks;
    site->s.rows = rows;
    site->s.prefix = m->prefix;
    site->s.height = m->height;
    site->s.width = m->width;
    alo_check_rules(m, site);
    return !m->error.status;
}

static alore_id alo_site_close(alore_model *m, alore_id y)
{
    m->site = -1;
    return y;
}

/* ---- Parameters and base tensors ---- */

ALORE_API alore_shape alore_dims(int a, int b, int c, int d)
{
    alore_shape s;
    s.dims[0] = a;
    s.dims[1] = b;
    s.dims[2] = c;
    s.dims[3] = d;
    s.rank = a ? b ? c ? d ? 4 : 3 : 2 : 1 : 0;
    return s;
}

ALORE_API alore_start alore_fill(float value)
{
    alore_start s = {0, value, 0.0f};
    return s;
}

ALORE_API alore_start alore_uniform(float bound)
{
    alore_start s = {1, bound, 0.0f};
    return s;
}

ALORE_API alore_start alore_normal(float mean, float deviation)
{
    alore_start s = {2, mean, deviation};
    return s;
}

static size_t alo_count(alore_shape s)
{
    size_t n = 1;
    for (int i = 0; i < s.rank; ++i) n = alo_mul(n, alo_zu(s.dims[i]));
    return n;
}

/* "[4, 12, 4]" */
static void alo_put_shape(alo_text *t, alore_shape s)
{
    alo_put(t, "[", 1);
    for (int i = 0; i < s.rank; ++i) alo_print(t, i ? ", %d" : "%d", s.dims[i]);
    alo_put(t, "]", 1);
}

/* The tensor behind a shape: leading extents are rows, a vector is one row. */
static alore_id alo_param_new(alore_model *m, const char *full, alore_shape shape,
                              alore_start start, int segment, bool base)
{
    void *list = m->params;
    int i, rows = 1, cols = shape.rank ? shape.dims[shape.rank - 1] : 1;
    size_t count = alo_count(shape);
    alore_id id;
    int32_t name = alo_intern(m, full);
    for (int k = 0; k < shape.rank; ++k)
        if (shape.dims[k] < 1 || shape.dims[k] > 1 << 24)
            return alo_wrong(m, ALORE_ERR_SHAPE, "%s: extent %d; extents are 1 to %d",
                             full, shape.dims[k], 1 << 24);
    if (count > (size_t)1 << 40 || count / alo_zu(cols) > 1 << 24)
        return alo_wrong(m, ALORE_ERR_SHAPE, "%s: %z elements are too many", full, count);
    rows = (int)(count / alo_zu(cols));
    id = alo_tensor_new(m, rows, cols, segment == ALO_PARAM ? (unsigned)ALO_LEARNS : 0u);
    if (!id) return 0;
    i = alo_room(m, &list, &m->param_count, &m->param_room, sizeof *m->params);
    m->params = (alo_param *)list;
    if (i < 0) return 0;
    m->params[i].name = name;
    m->params[i].tensor = id;
    m->params[i].shape = shape;
    m->params[i].start = start;
    m->params[i].segment = (uint8_t)segment;
    m->params[i].base = base;
    m->params[i].site = m->site;
    m->params[i].rule = m->rule;
    m->tensors[id].name = name;
    m->tensors[id].segment = (uint8_t)segment;
    m->tensors[id].info = i;
    return id;
}

static int alo_param_find(const alore_model *m, const char *full)
{
    for (int i = 0; i < m->param_count; ++i)
        if (!strcmp(alo_name(m, m->params[i].name), full)) return i;
    return -1;
}

static bool alo_unfrozen(alore_model *m, const char *full)
{
    bool learns = false;
    for (int r = 0; r < m->rule_count; ++r) {
        const alo_rule *rule = &m->rules[r];
        if (rule->method) continue;
        for (int i = rule->first; i < rule->first + rule->count; ++i) {
            alo_item *item = &m->items[i];
            int block = m->block;
            if (item->kind ? m->site < 0 || m->sites[m->site].s.kind != item->kind
                           : !alo_glob(alo_name(m, item->text), full))
                continue;
            if (item->kind && item->last >= 0 && block < 0)
                return alo_wrong(m, ALORE_ERR_RULE,
                                 "%s: %s lies outside the blocks and takes no #",
                                 alo_name(m, rule->text), alo_name(m, item->text)) != 0;
            if (!alo_in_blocks(item, block)) continue;
            ++item->hits;
            learns = true;
        }
    }
    return learns;
}

/* A tensor of the checkpoint, named below the open site, else below the scope. It
 * learns where a rule unfreezes it. */
ALORE_API alore_id alore_base(alore_model *m, const char *name, alore_shape shape)
{
    char full[256];
    alo_text t = {full, sizeof full, 0};
    if (m->error.status) return 0;
    if (m->site >= 0)
        alo_print(&t, "%s.%s", alo_name(m, m->sites[m->site].name), name);
    else
        alo_print(&t, "%s%s", m->scope, name);
    if (t.used >= sizeof full) return alo_wrong(m, ALORE_ERR_NAME, "a name too long");
    if (alo_param_find(m, full) >= 0)
        return alo_wrong(m, ALORE_ERR_NAME, "%s is declared twice", full);
    return alo_param_new(m, full, shape, alore_fill(0.0f),
                         alo_unfrozen(m, full) ? ALO_PARAM : ALO_BASE, true);
}

/* <site>.<method>.<name>, <method>.<kind>.<name> or <method>.<name>; a part stands
 * before the name. A shared name declared again is the same tensor. */
static alore_id alo_declare(alore_model *m, const char *name, alore_shape shape,
                            alore_share share, alore_start start, int segment)
{
    char full[256];
    alo_text t = {full, sizeof full, 0};
    const alo_site *site;
    int i;
    if (m->error.status) return 0;
    if (m->site < 0 || m->rule < 0)
        return alo_wrong(m, ALORE_ERR_ORDER, "alore_param outside of a method");
    site = &m->sites[m->site];
    if (share == ALORE_OWN) alo_print(&t, "%s.", alo_name(m, site->name));
    alo_print(&t, "%s.", m->rules[m->rule].method->name);
    if (share == ALORE_KIND) alo_print(&t, "%s.", alore_kind_name(site->s.kind));
    if (m->part) {
        alo_put(&t, &m->part, 1);
        alo_put(&t, ".", 1);
    }
    alo_print(&t, "%s", name);
    if (t.used >= sizeof full) return alo_wrong(m, ALORE_ERR_NAME, "a name too long");
    i = alo_param_find(m, full);
    if (i < 0) return alo_param_new(m, full, shape, start, segment, false);
    if (share == ALORE_OWN)
        return alo_wrong(m, ALORE_ERR_NAME, "%s is declared twice", full);
    if (memcmp(&m->params[i].shape, &shape, sizeof shape)) {
        char old[64], now[64];
        alo_text a = {old, sizeof old, 0}, b = {now, sizeof now, 0};
        alo_put_shape(&a, m->params[i].shape);
        alo_put_shape(&b, shape);
        return alo_wrong(m, ALORE_ERR_SHAPE, "%s is shared, but %s here and %s before",
                         full, now, old);
    }
    return m->params[i].tensor;
}

ALORE_API alore_id alore_param(alore_model *m, const char *name, alore_shape shape,
                               alore_share share, alore_start start)
{
    return alo_declare(m, name, shape, share, start, ALO_PARAM);
}

ALORE_API alore_id alore_frozen(alore_model *m, const char *name, alore_shape shape,
                                alore_share share, alore_start start)
{
    return alo_declare(m, name, shape, share, start, ALO_FROZEN);
}

/* An input of every sample. `name` must be new. */
ALORE_API alore_id alore_input(alore_model *m, const char *name, alore_dtype dtype,
                               int rows, int cols)
{
    alore_id id;
    if (m->error.status) return 0;
    if (dtype != ALORE_F32 && dtype != ALORE_U8 && dtype != ALORE_I32)
        return alo_wrong(m, ALORE_ERR_DTYPE, "input %s is %s; inputs are F32, U8 or I32",
                         name, alore_dtype_name(dtype));
    id = alo_tensor_new(m, rows, cols, ALO_PER_SAMPLE | ALO_INPUT);
    if (!id) return 0;
    m->tensors[id].name = alo_intern(m, name);
    m->tensors[id].segment = ALO_IO;
    m->tensors[id].dtype = (uint8_t)dtype;
    return id;
}

/* ============================================================================
 * >> 12 words
 *
 * The words that backbones and methods are written in. Each checks its operands,
 * infers its shape and appends a record, a view, or nothing at all where it would do
 * nothing. Hosts (linear, norm, depthwise convolution) declare sites and let the
 * rules weave their methods in:
 *
 *     y = output(host(input(x)) + parallel(input(x))), W = weight(W0)
 * ========================================================================== */

static alore_id alo_op1(alore_model *m, int code, const alo_attr *attr, alore_id a,
                        int rows, int cols)
{
    alore_id in[ALO_IN] = {0};
    in[0] = a;
    return alo_record(m, code, attr, in, rows, cols, alo_per_sample(m, a));
}

/* x in storage of its own, where x is a view. Its gradient is the gradient's copy. */
static alore_id alo_whole(alore_model *m, alore_id x)
{
    const alo_tensor *t = alo_at(m, x);
    alo_attr attr;
    memset(&attr, 0, sizeof attr);
    attr.x = 1.0f;
    return t->flags & ALO_VIEW ? alo_op1(m, ALO_K_scale, &attr, x, t->rows, t->cols) : x;
}

static alore_id alo_view(alore_model *m, alore_id x, int rows, int cols)
{
    alo_tensor of = *alo_at(m, x);
    alore_id id = alo_tensor_new(m, rows, cols, (unsigned)((of.flags & ALO_PER_SAMPLE) | ALO_VIEW));
    if (!id) return 0;
    m->tensors[id].segment = of.segment;
    m->tensors[id].dtype = of.dtype;
    m->tensors[id].root = of.root;
    m->tensors[id].column = of.column;
    return id;
}

/* Columns first .. first+count-1 as a view: no copy, no record. */
ALORE_API alore_id alore_columns(alore_model *m, alore_id x, int first, int count)
{
    alo_tensor of;
    alore_id id;
    if (alo_poisoned(m, x, x)) return 0;
    if (alo_at(m, x)->flags & ALO_RESHAPED) x = alo_whole(m, x);
    of = *alo_at(m, x);
    if (first < 0 || count < 1 || first > of.cols - count)
        return alo_wrong(m, ALORE_ERR_SHAPE, "columns %d to %d of %d", first,
                         first + count - 1, of.cols);
    if (count == of.cols) return x;
    id = alo_view(m, x, of.rows, count);
    if (!id) return 0;
    m->tensors[id].ld = of.ld;
    m->tensors[id].column = of.column + first;
    return id;
}

/* The same numbers in other extents. */
ALORE_API alore_id alore_reshape(alore_model *m, alore_id x, int rows, int cols)
{
    alo_tensor of;
    alore_id id;
    if (alo_poisoned(m, x, x)) return 0;
    of = *alo_at(m, x);
    if (rows < 1 || cols < 1 ||
        alo_mul(alo_zu(rows), alo_zu(cols)) != alo_mul(alo_zu(of.rows), alo_zu(of.cols)))
        return alo_wrong(m, ALORE_ERR_SHAPE, "reshape of %d x %d to %d x %d", of.rows,
                         of.cols, rows, cols);
    if (rows == of.rows) return x;
    if (of.flags & ALO_VIEW && !(of.flags & ALO_RESHAPED)) x = alo_whole(m, x);
    id = alo_view(m, x, rows, cols);
    if (id) m->tensors[id].flags |= ALO_RESHAPED;
    return id;
}

/* A tensor of a file as a matrix of `rows` rows. */
static alore_id alo_matrix(alore_model *m, alore_id id, int rows)
{
    size_t count = alo_mul(alo_zu(alo_at(m, id)->rows), alo_zu(alo_at(m, id)->cols));
    return id ? alore_reshape(m, id, rows, (int)(count / alo_zu(rows))) : 0;
}

/* u8 pixels [rows, 3] to (v/255 - mean) / deviation. */
ALORE_API alore_id alore_cast(alore_model *m, alore_id bytes, const float mean[3],
                              const float deviation[3])
{
    alo_attr attr;
    float values[6];
    if (alo_poisoned(m, bytes, bytes)) return 0;
    if (alo_at(m, bytes)->dtype != ALORE_U8 || alo_at(m, bytes)->cols != 3)
        return alo_wrong(m, ALORE_ERR_DTYPE, "cast takes U8 pixels of 3 columns");
    memset(&attr, 0, sizeof attr);
    for (int i = 0; i < 3; ++i) {
        if (!(deviation[i] > 0))
            return alo_wrong(m, ALORE_ERR_ARGUMENT, "a deviation of %g",
                             (double)deviation[i]);
        values[i] = mean[i];
        values[i + 3] = deviation[i];
    }
    attr.values = (const float *)alo_table(m, values, 6, sizeof *values);
    return alo_op1(m, ALO_K_cast, &attr, bytes, alo_at(m, bytes)->rows, 3);
}

/* y = op(a) op(b) + bias, in `groups` of columns. */
static alore_id alo_product(alore_model *m, alore_id a, bool a_t, alore_id b, bool b_t,
                            alore_id bias, int groups)
{
    const alo_tensor *ta = alo_at(m, a), *tb = alo_at(m, b);
    int rows = a_t ? ta->cols : ta->rows, inner = a_t ? ta->rows : ta->cols;
    int cols = b_t ? tb->rows : tb->cols, other = b_t ? tb->cols : tb->rows;
    alore_id in[ALO_IN] = {0};
    alo_attr attr;
    if (inner != other * groups || cols % groups)
        return alo_wrong(m, ALORE_ERR_SHAPE, "a product of %d x %d and %d x %d", rows,
                         inner, other * groups, cols);
    memset(&attr, 0, sizeof attr);
    attr.n = (a_t ? 1 : 0) | (b_t ? 2 : 0);
    attr.m = groups;
    in[0] = a;
    in[1] = b;
    in[2] = bias;
    return alo_record(m, ALO_K_matmul, &attr, in, rows, cols,
                      alo_per_sample(m, a) || alo_per_sample(m, b));
}

/* a b, either side transposed first. */
ALORE_API alore_id alore_matmul_t(alore_model *m, alore_id a, bool a_t, alore_id b,
                                  bool b_t)
{
    if (alo_poisoned(m, a, b)) return 0;
    return alo_product(m, a, a_t, b, b_t, 0, 1);
}

ALORE_API alore_id alore_matmul(alore_model *m, alore_id a, alore_id b)
{
    return alore_matmul_t(m, a, false, b, false);
}

/* x sum_i S_i (x) (D_i U_i), without ever forming a matrix of that size.
 *
 *   x [rows, P s]    S [terms P, Q]    D [terms s, r]    U [terms r, t], 0: absent, t = r
 *   y [rows, Q t]                                          (ALoRE, eq. 6)           */
ALORE_API alore_id alore_kron(alore_model *m, alore_id x, alore_id s, alore_id d,
                              alore_id u, int terms)
{
    alore_id in[ALO_IN] = {0}, y;
    alo_attr attr;
    int p, part, rank, wide, rows;
    if (alo_poisoned(m, x, s) || alo_poisoned(m, d, d)) return 0;
    if (terms < 1 || alo_at(m, s)->rows % terms || alo_at(m, d)->rows % terms)
        return alo_wrong(m, ALORE_ERR_SHAPE, "%d terms of S with %d rows, D with %d", terms,
                         alo_at(m, s)->rows, alo_at(m, d)->rows);
    p = alo_at(m, s)->rows / terms;
    part = alo_at(m, d)->rows / terms;
    rank = alo_at(m, d)->cols;
    wide = u ? alo_at(m, u)->cols : rank;
    rows = alo_at(m, x)->rows;
    if (alo_at(m, x)->cols != p * part)
        return alo_wrong(m, ALORE_ERR_SHAPE, "S of %d and D of %d rows make %d, x has %d", p,
                         part, p * part, alo_at(m, x)->cols);
    if (u && alo_at(m, u)->rows != terms * rank)
        return alo_wrong(m, ALORE_ERR_SHAPE, "U has %d rows, not %d x %d", alo_at(m, u)->rows,
                         terms, rank);
    memset(&attr, 0, sizeof attr);
    attr.n = terms;
    attr.m = p;
    attr.p = alo_at(m, s)->cols;
    attr.q = rank;
    in[0] = x;
    in[1] = s;
    in[2] = d;
    in[3] = u;
    y = alo_record(m, ALO_K_kron, &attr, in, rows, attr.p * wide, alo_per_sample(m, x));
    if (y) alo_second(m, rows, p * terms * rank);
    return y;
}

/* x gain + shift, both [1, cols]; either may be 0. */
ALORE_API alore_id alore_affine(alore_model *m, alore_id x, alore_id gain, alore_id shift)
{
    alore_id in[ALO_IN] = {0};
    if (alo_poisoned(m, x, x)) return 0;
    if (m->strip && alo_per_sample(m, x)) shift = 0;
    if (!gain && !shift) return x;
    for (int i = 0; i < 2; ++i) {
        const alo_tensor *t = alo_at(m, i ? shift : gain);
        if ((i ? shift : gain) && (t->rows != 1 || t->cols != alo_at(m, x)->cols))
            return alo_wrong(m, ALORE_ERR_SHAPE, "affine of %d columns by %d x %d",
                             alo_at(m, x)->cols, t->rows, t->cols);
    }
    in[0] = x;
    in[1] = gain;
    in[2] = shift;
    return alo_record(m, ALO_K_affine, NULL, in, alo_at(m, x)->rows, alo_at(m, x)->cols,
                      alo_per_sample(m, x));
}

ALORE_API alore_id alore_scale(alore_model *m, alore_id x, float factor)
{
    alo_attr attr;
    if (alo_poisoned(m, x, x)) return 0;
    if (!(factor > -3e38f && factor < 3e38f))
        return alo_wrong(m, ALORE_ERR_ARGUMENT, "a scale that is not finite");
    if (factor == 1.0f) return x;
    memset(&attr, 0, sizeof attr);
    attr.x = factor;
    return alo_op1(m, ALO_K_scale, &attr, x, alo_at(m, x)->rows, alo_at(m, x)->cols);
}

ALORE_API alore_id alore_unary(alore_model *m, alore_unary_kind kind, alore_id x)
{
    alo_attr attr;
    if (alo_poisoned(m, x, x)) return 0;
    if (kind < ALORE_GELU || kind > ALORE_SIGMOID)
        return alo_wrong(m, ALORE_ERR_ARGUMENT, "activation %d is unknown", (int)kind);
    memset(&attr, 0, sizeof attr);
    attr.n = (int32_t)kind;
    return alo_op1(m, ALO_K_unary, &attr, x, alo_at(m, x)->rows, alo_at(m, x)->cols);
}

/* Element by element; an extent of one is repeated, and what serves every sample is
 * repeated for each. */
static alore_id alo_pair(alore_model *m, int code, alore_id a, alore_id b)
{
    alore_id in[ALO_IN] = {0};
    int rows = alo_at(m, a)->rows, cols = alo_at(m, a)->cols;
    if (rows == 1) rows = alo_at(m, b)->rows;
    if (cols == 1) cols = alo_at(m, b)->cols;
    for (int i = 0; i < 2; ++i) {
        const alo_tensor *t = alo_at(m, i ? b : a);
        if ((t->rows != rows && t->rows != 1) || (t->cols != cols && t->cols != 1))
            return alo_wrong(m, ALORE_ERR_SHAPE, "%s of %d x %d and %d x %d",
                             alo_kernel_rows[code].name, alo_at(m, a)->rows,
                             alo_at(m, a)->cols, alo_at(m, b)->rows, alo_at(m, b)->cols);
    }
    in[0] = a;
    in[1] = b;
    return alo_record(m, code, NULL, in, rows, cols,
                      alo_per_sample(m, a) || alo_per_sample(m, b));
}

ALORE_API alore_id alore_add(alore_model *m, alore_id a, alore_id b)
{
    if (alo_poisoned(m, a, b)) return 0;
    if (m->strip && alo_per_sample(m, a) != alo_per_sample(m, b))
        return alo_per_sample(m, a) ? a : b;
    return alo_pair(m, ALO_K_add, a, b);
}

ALORE_API alore_id alore_mul(alore_model *m, alore_id a, alore_id b)
{
    if (alo_poisoned(m, a, b)) return 0;
    return alo_pair(m, ALO_K_mul, a, b);
}

/* x with y added to its columns from `first` on. */
ALORE_API alore_id alore_add_columns(alore_model *m, alore_id x, alore_id y, int first)
{
    alore_id in[ALO_IN] = {0};
    alo_attr attr;
    if (alo_poisoned(m, x, y)) return 0;
    if (alo_at(m, x)->rows != alo_at(m, y)->rows || first < 0 ||
        first > alo_at(m, x)->cols - alo_at(m, y)->cols)
        return alo_wrong(m, ALORE_ERR_SHAPE, "%d x %d added to columns %d.. of %d x %d",
                         alo_at(m, y)->rows, alo_at(m, y)->cols, first, alo_at(m, x)->rows,
                         alo_at(m, x)->cols);
    if (m->strip && alo_per_sample(m, x) && !alo_per_sample(m, y)) return x;
    memset(&attr, 0, sizeof attr);
    attr.n = first;
    in[0] = x;
    in[1] = y;
    return alo_record(m, ALO_K_add_columns, &attr, in, alo_at(m, x)->rows,
                      alo_at(m, x)->cols, alo_per_sample(m, x) || alo_per_sample(m, y));
}

/* Row i of the result: rows table[i group] .. of x side by side; -1: zeros. */
ALORE_API alore_id alore_gather(alore_model *m, alore_id x, const int32_t *rows, int count,
                                int group)
{
    alo_attr attr;
    size_t entries;
    if (alo_poisoned(m, x, x)) return 0;
    if (count < 1 || group < 1 || group > (1 << 24) / alo_at(m, x)->cols)
        return alo_wrong(m, ALORE_ERR_SHAPE, "a gather of %d rows in groups of %d", count,
                         group);
    entries = alo_mul(alo_zu(count), alo_zu(group));
    for (size_t i = 0; i < entries; ++i)
        if (rows[i] < -1 || rows[i] >= alo_at(m, x)->rows)
            return alo_wrong(m, ALORE_ERR_SHAPE, "a gather of row %d; there are %d",
                             (int)rows[i], alo_at(m, x)->rows);
    memset(&attr, 0, sizeof attr);
    attr.n = count;
    attr.m = group;
    attr.table = (const int32_t *)alo_table(m, rows, entries, sizeof *rows);
    return alo_op1(m, ALO_K_gather, &attr, x, count, alo_at(m, x)->cols * group);
}

/* The rows of `top`, then those of `bottom`. */
ALORE_API alore_id alore_concat(alore_model *m, alore_id top, alore_id bottom)
{
    alore_id in[ALO_IN] = {0};
    if (alo_poisoned(m, top, bottom)) return 0;
    if (alo_at(m, top)->cols != alo_at(m, bottom)->cols)
        return alo_wrong(m, ALORE_ERR_SHAPE, "concat of %d and %d columns",
                         alo_at(m, top)->cols, alo_at(m, bottom)->cols);
    in[0] = top;
    in[1] = bottom;
    return alo_record(m, ALO_K_concat, NULL, in,
                      alo_at(m, top)->rows + alo_at(m, bottom)->rows, alo_at(m, top)->cols,
                      alo_per_sample(m, top) || alo_per_sample(m, bottom));
}

/* The mean of rows first .. first+count-1. */
ALORE_API alore_id alore_mean_rows(alore_model *m, alore_id x, int first, int count)
{
    alo_attr attr;
    if (alo_poisoned(m, x, x)) return 0;
    if (first < 0 || count < 1 || first > alo_at(m, x)->rows - count)
        return alo_wrong(m, ALORE_ERR_SHAPE, "the mean of rows %d to %d of %d", first,
                         first + count - 1, alo_at(m, x)->rows);
    memset(&attr, 0, sizeof attr);
    attr.n = first;
    attr.m = count;
    return alo_op1(m, ALO_K_mean_rows, &attr, x, 1, alo_at(m, x)->cols);
}

/* Masks are named by site and order, so they do not depend on anything else. */
static alore_id alo_masked(alore_model *m, int code, alore_id x, float p)
{
    alo_attr attr;
    const char *site;
    int32_t nth = m->dropouts;
    if (alo_poisoned(m, x, x)) return 0;
    if (!(p >= 0 && p <= 1))
        return alo_wrong(m, ALORE_ERR_ARGUMENT, "a probability of %g", (double)p);
    if (p == 0) return x;
    memset(&attr, 0, sizeof attr);
    attr.x = p;
    site = m->site >= 0 ? alo_name(m, m->sites[m->site].name) : m->scope;
    attr.stream = alo_hash(site, strlen(site), alo_hash(&nth, sizeof nth, 0));
    ++m->dropouts;
    return alo_op1(m, code, &attr, x, alo_at(m, x)->rows, alo_at(m, x)->cols);
}

/* In training each number is zero with probability p, else scaled by 1 / (1 - p). */
ALORE_API alore_id alore_dropout(alore_model *m, alore_id x, float p)
{
    return alo_masked(m, ALO_K_dropout, x, p);
}

/* The same, one draw for a whole sample. */
ALORE_API alore_id alore_drop_path(alore_model *m, alore_id x, float p)
{
    return alo_masked(m, ALO_K_drop_path, x, p);
}

/* softmax(q k' / sqrt(d / heads) + bias + mask) v, by heads and windows.
 * q [rows, d], k and v [keys, d]; views of one qkv cost nothing. */
ALORE_API alore_id alore_attention(alore_model *m, alore_id q, alore_id k, alore_id v,
                                   const alore_attention_opts *opts)
{
    alore_id in[ALO_IN] = {0}, y;
    alo_attr attr;
    int rows, cols, keys;
    if (alo_poisoned(m, q, k) || alo_poisoned(m, v, v)) return 0;
    rows = alo_at(m, q)->rows;
    cols = alo_at(m, q)->cols;
    keys = alo_at(m, k)->rows;
    if (opts->heads < 1 || cols % opts->heads)
        return alo_wrong(m, ALORE_ERR_SHAPE, "%d heads do not divide a width of %d",
                         opts->heads, cols);
    if (alo_at(m, k)->cols != cols || alo_at(m, v)->cols != cols ||
        alo_at(m, v)->rows != keys)
        return alo_wrong(m, ALORE_ERR_SHAPE, "attention of q with %d, k %d, v %d columns",
                         cols, alo_at(m, k)->cols, alo_at(m, v)->cols);
    if (opts->window < 0 || (opts->window && (rows % opts->window || keys != rows)))
        return alo_wrong(m, ALORE_ERR_SHAPE, "windows of %d rows in %d", opts->window, rows);
    memset(&attr, 0, sizeof attr);
    attr.n = opts->heads;
    attr.m = opts->window;
    if (opts->bias) {
        int side = opts->window ? opts->window : rows;
        const alo_tensor *t = alo_at(m, opts->bias);
        if (alo_poisoned(m, opts->bias, opts->bias)) return 0;
        if (t->rows != opts->heads * side || t->cols != (opts->window ? side : keys))
            return alo_wrong(m, ALORE_ERR_SHAPE, "a bias of %d x %d for %d heads of %d",
                             t->rows, t->cols, opts->heads, side);
    }
    if (opts->mask && opts->window)
        attr.values = (const float *)alo_table(m, opts->mask, alo_zu(rows),
                                               alo_zu(opts->window) * sizeof(float));
    in[0] = q;
    in[1] = k;
    in[2] = v;
    in[3] = opts->bias;
    y = alo_record(m, ALO_K_attention, &attr, in, rows, cols, alo_per_sample(m, q));
    if (y) alo_second(m, rows, opts->heads);
    return y;
}

/* ---- Hosts: words that declare sites ---- */

/* Let the rules of one place act. Each sees what the one before made; a parallel
 * rule's result is added to y, at its part's columns. */
static void alo_place(alore_model *m, alore_place place, alore_flow *flow)
{
    int site = m->site;
    for (int r = 0; r < m->rule_count && !m->error.status; ++r) {
        alo_rule *rule = &m->rules[r];
        alo_site *s = &m->sites[site];
        const char *parts = rule->parts;
        if (!rule->method || rule->recipe.place != place || !s->rules ||
            !alo_takes(m, rule, s))
            continue;
        do {
            char name[256];
            alore_site seen = m->sites[site].s;
            alore_recipe recipe = rule->recipe;
            alo_text t = {name, sizeof name, 0};
            alore_id id;
            int at = *parts == 'k' ? 1 : *parts == 'v' ? 2 : 0;
            alo_print(&t, "%s", alo_name(m, m->sites[site].name));
            seen.name = name;
            if (*parts) seen.out /= 3;
            m->part = *parts;
            m->rule = r;
            recipe.parts = rule->parts;
            id = rule->method->emit(m, &seen, &recipe, flow);
            m->rule = -1;
            m->part = 0;
            if (!id) {
                alo_wrong(m, ALORE_ERR_ARGUMENT, "%s returned no tensor",
                          m->rules[r].method->name);
                return;
            }
            if (place == ALORE_PLACE_INPUT)
                flow->x = id;
            else if (place == ALORE_PLACE_WEIGHT)
                flow->weight = id;
            else if (place == ALORE_PLACE_OUTPUT)
                flow->y = id;
            else
                flow->y = *parts ? alore_add_columns(m, flow->y, id, at * seen.out)
                                 : alore_add(m, flow->y, id);
        } while (*parts && *++parts);
    }
}

/* y = x W' + b. Declares the site `name`; its tensors are `name`.weight [out, in /
 * groups] and, unless no_bias, `name`.bias [out]. */
ALORE_API alore_id alore_linear(alore_model *m, const char *name, alore_id x, int out,
                                const alore_linear_opts *opts)
{
    alore_linear_opts none = ALORE_ZERO;
    alore_flow flow;
    alore_shape shape;
    int in, groups;
    if (alo_poisoned(m, x, x)) return 0;
    if (!opts) opts = &none;
    in = alo_at(m, x)->cols;
    groups = opts->groups > 1 ? opts->groups : 1;
    if (out < 1 || in % groups || out % groups)
        return alo_wrong(m, ALORE_ERR_SHAPE, "%s: %d to %d columns in %d groups", name, in,
                         out, groups);
    if (!alo_site_open(m, name, opts->kind, ALORE_HOST_LINEAR, alo_at(m, x)->rows, in, out))
        return alo_site_close(m, 0);
    shape = opts->kernel
                ? alore_dims(out, opts->kernel[0], opts->kernel[1], opts->kernel[2])
                : alore_dims(out, in / groups, 0, 0);
    if (alo_count(shape) != alo_mul(alo_zu(out), alo_zu(in / groups)))
        return alo_wrong(m, ALORE_ERR_SHAPE, "%s: a kernel that is not %d numbers", name,
                         in);
    m->sites[m->site].groups = groups;
    m->sites[m->site].no_bias = opts->no_bias;
    m->sites[m->site].weight = shape;
    memset(&flow, 0, sizeof flow);
    flow.x = x;
    flow.weight = alore_base(m, "weight", shape);
    flow.weight = alo_matrix(m, flow.weight, out);
    flow.bias = opts->no_bias ? 0 : alore_base(m, "bias", alore_dims(out, 0, 0, 0));
    alo_place(m, ALORE_PLACE_INPUT, &flow);
    alo_place(m, ALORE_PLACE_WEIGHT, &flow);
    if (alo_poisoned(m, flow.x, flow.weight)) return alo_site_close(m, 0);
    flow.y = alo_product(m, flow.x, false, flow.weight, true, m->strip ? 0 : flow.bias,
                         groups);
    alo_place(m, ALORE_PLACE_PARALLEL, &flow);
    alo_place(m, ALORE_PLACE_OUTPUT, &flow);
    return alo_site_close(m, flow.y);
}

/* Layer norm over the columns, then gain and shift: `name`.weight and .bias [cols].
 * As a lone host (merge) it is its affine half, whose input is normalised already. */
ALORE_API alore_id alore_norm(alore_model *m, const char *name, alore_kind kind, alore_id x,
                              float eps)
{
    alore_flow flow;
    alore_id in[ALO_IN] = {0};
    alo_attr attr;
    int rows, cols;
    if (alo_poisoned(m, x, x)) return 0;
    rows = alo_at(m, x)->rows;
    cols = alo_at(m, x)->cols;
    if (!(eps >= 0 && eps < 1))
        return alo_wrong(m, ALORE_ERR_ARGUMENT, "%s: eps of %g", name, (double)eps);
    if (!alo_site_open(m, name, kind, ALORE_HOST_NORM, rows, cols, cols))
        return alo_site_close(m, 0);
    m->sites[m->site].weight = alore_dims(cols, 0, 0, 0);
    memset(&flow, 0, sizeof flow);
    flow.x = x;
    in[0] = x;
    in[1] = alore_base(m, "weight", alore_dims(cols, 0, 0, 0));
    in[2] = alore_base(m, "bias", alore_dims(cols, 0, 0, 0));
    if (m->probe)
        flow.y = alore_affine(m, x, in[1], in[2]);
    else {
        memset(&attr, 0, sizeof attr);
        attr.x = eps;
        flow.y = alo_record(m, ALO_K_norm, &attr, in, rows, cols, alo_per_sample(m, x));
        if (flow.y) alo_second(m, rows, 2);
    }
    alo_place(m, ALORE_PLACE_OUTPUT, &flow);
    return alo_site_close(m, flow.y);
}

/* k x k depthwise convolution with zero padding: `name`.weight [cols, 1, k, k]. */
ALORE_API alore_id alore_conv_depthwise(alore_model *m, const char *name, alore_id x,
                                        int height, int width, int kernel)
{
    alore_flow flow;
    alore_id in[ALO_IN] = {0};
    alo_attr attr;
    int rows, cols;
    if (alo_poisoned(m, x, x)) return 0;
    rows = alo_at(m, x)->rows;
    cols = alo_at(m, x)->cols;
    if (kernel < 1 || kernel % 2 == 0 || height < 1 || width < 1 ||
        alo_mul(alo_zu(height), alo_zu(width)) != alo_zu(rows))
        return alo_wrong(m, ALORE_ERR_SHAPE, "%s: kernel %d on %d x %d, %d rows", name,
                         kernel, height, width, rows);
    if (!alo_site_open(m, name, ALORE_KIND_DWCONV, ALORE_HOST_DWCONV, rows, cols, cols))
        return alo_site_close(m, 0);
    m->sites[m->site].weight = alore_dims(cols, 1, kernel, kernel);
    memset(&attr, 0, sizeof attr);
    memset(&flow, 0, sizeof flow);
    attr.n = height;
    attr.m = width;
    attr.p = kernel;
    in[0] = x;
    in[1] = alo_matrix(m, alore_base(m, "weight", m->sites[m->site].weight), cols);
    in[2] = alore_base(m, "bias", alore_dims(cols, 0, 0, 0));
    flow.y = alo_record(m, ALO_K_dwconv, &attr, in, rows, cols, alo_per_sample(m, x));
    alo_place(m, ALORE_PLACE_OUTPUT, &flow);
    return alo_site_close(m, flow.y);
}

/* A whole branch (attn, mlp), a block or the tokens before it, as a site for methods
 * that act on such. x enters, n is the norm's output (0: none), y leaves. */
ALORE_API alore_id alore_branch(alore_model *m, const char *name, alore_kind kind,
                                alore_id x, alore_id n, alore_id y)
{
    alore_flow flow;
    alore_host host = kind == ALORE_KIND_TOKENS  ? ALORE_HOST_TOKENS
                      : kind == ALORE_KIND_BLOCK ? ALORE_HOST_BLOCK
                                                 : ALORE_HOST_BRANCH;
    if (alo_poisoned(m, x, y)) return 0;
    memset(&flow, 0, sizeof flow);
    flow.x = x;
    flow.n = n;
    flow.y = y;
    if (!alo_site_open(m, name, kind, host, alo_at(m, x)->rows, alo_at(m, x)->cols,
                       alo_at(m, y)->cols))
        return alo_site_close(m, 0);
    alo_place(m, ALORE_PLACE_PARALLEL, &flow);
    alo_place(m, ALORE_PLACE_OUTPUT, &flow);
    return alo_site_close(m, flow.y);
}

/* ---- Losses, outputs, the end ---- */

/* Cross entropy with smoothing s: (1-s) nll + s/C sum_c -log p_c, a number a sample.
 * labels: I32 [rows, 1], each 0 .. C-1. */
ALORE_API alore_id alore_loss_xent(alore_model *m, alore_id logits, alore_id labels,
                                   float smoothing)
{
    alore_id in[ALO_IN] = {0}, y;
    alo_attr attr;
    if (alo_poisoned(m, logits, labels)) return 0;
    if (alo_at(m, labels)->dtype != ALORE_I32 || alo_at(m, labels)->cols != 1 ||
        alo_at(m, labels)->rows != alo_at(m, logits)->rows)
        return alo_wrong(m, ALORE_ERR_SHAPE, "labels are I32 [%d, 1]",
                         alo_at(m, logits)->rows);
    if (!(smoothing >= 0 && smoothing <= 1))
        return alo_wrong(m, ALORE_ERR_ARGUMENT, "a smoothing of %g", (double)smoothing);
    memset(&attr, 0, sizeof attr);
    attr.x = smoothing;
    in[0] = logits;
    in[1] = labels;
    y = alo_record(m, ALO_K_xent, &attr, in, 1, 1, true);
    if (y) alo_second(m, alo_at(m, logits)->rows, 1);
    return y;
}

/* The mean of (y - target)^2. */
ALORE_API alore_id alore_loss_mse(alore_model *m, alore_id y, alore_id target)
{
    alore_id in[ALO_IN] = {0};
    if (alo_poisoned(m, y, target)) return 0;
    if (alo_at(m, y)->rows != alo_at(m, target)->rows ||
        alo_at(m, y)->cols != alo_at(m, target)->cols)
        return alo_wrong(m, ALORE_ERR_SHAPE, "mse of %d x %d and %d x %d",
                         alo_at(m, y)->rows, alo_at(m, y)->cols, alo_at(m, target)->rows,
                         alo_at(m, target)->cols);
    in[0] = y;
    in[1] = target;
    return alo_record(m, ALO_K_mse, NULL, in, 1, 1, true);
}

/* Keep x for the caller under a name. A plan for training differentiates "loss". */
ALORE_API void alore_output(alore_model *m, const char *name, alore_id x)
{
    if (alo_poisoned(m, x, x)) return;
    for (int i = 1; i < m->tensor_count; ++i)
        if (m->tensors[i].flags & (ALO_OUTPUT | ALO_INPUT) &&
            !strcmp(alo_name(m, m->tensors[i].name), name)) {
            alo_wrong(m, ALORE_ERR_NAME, "%s is declared twice", name);
            return;
        }
    if (!alo_per_sample(m, x)) {
        alo_wrong(m, ALORE_ERR_SHAPE, "output %s does not depend on a sample", name);
        return;
    }
    if (alo_at(m, x)->segment || alo_at(m, x)->flags & (ALO_OUTPUT | ALO_VIEW)) {
        alo_attr attr;
        memset(&attr, 0, sizeof attr);
        attr.x = 1.0f;
        x = alo_op1(m, ALO_K_scale, &attr, x, alo_at(m, x)->rows, alo_at(m, x)->cols);
        if (!x) return;
    }
    m->tensors[x].name = alo_intern(m, name);
    m->tensors[x].flags |= ALO_OUTPUT;
}

/* How many insertions, removals and changes make b of a; names longer than the row
 * count by their heads. */
static int alo_distance(const char *a, const char *b)
{
    int row[65];
    size_t n = strlen(b) < 64 ? strlen(b) : 64;
    for (size_t j = 0; j <= n; ++j) row[j] = (int)j;
    for (size_t i = 0; a[i] && i < 64; ++i) {
        int corner = row[0];
        row[0] = (int)i + 1;
        for (size_t j = 0; j < n; ++j) {
            int cost = corner + (a[i] != b[j]);
            corner = row[j + 1];
            if (row[j] + 1 < cost) cost = row[j] + 1;
            if (row[j + 1] + 1 < cost) cost = row[j + 1] + 1;
            row[j + 1] = cost;
        }
    }
    return row[n];
}

/* Append the three names nearest to `text`. */
static void alo_put_nearest(const alore_model *m, alo_text *t, const char *text,
                            bool tensors)
{
    int last = -1;
    for (int k = 0; k < 3; ++k) {
        int best = -1, least = 1 << 20;
        int count = tensors ? m->param_count : m->site_count;
        for (int i = 0; i < count; ++i) {
            int32_t at = tensors ? m->params[i].name : m->sites[i].name;
            int d = alo_distance(text, alo_name(m, at)) * 4096 + (i & 4095);
            if (d > last && d < least) {
                least = d;
                best = i;
            }
        }
        if (best < 0) return;
        last = least;
        alo_print(t, k ? ", %s" : "; the nearest names are %s",
                  alo_name(m, tensors ? m->params[best].name : m->sites[best].name));
    }
}

static void alo_check_matches(alore_model *m)
{
    for (int r = 0; r < m->rule_count; ++r)
        for (int i = m->rules[r].first; i < m->rules[r].first + m->rules[r].count; ++i) {
            const alo_item *item = &m->items[i];
            char near[200] = "";
            alo_text t = {near, sizeof near, 0};
            if (item->hits) continue;
            if (!item->kind) alo_put_nearest(m, &t, alo_name(m, item->text),
                                             !m->rules[r].method);
            alo_wrong(m, ALORE_ERR_NO_MATCH, "%s: %s matches nothing%s",
                      alo_name(m, m->rules[r].text), alo_name(m, item->text), near);
        }
}

ALORE_API alore_status alore_model_finish(alore_model *m)
{
    bool out = false;
    if (!m->error.status && m->depth)
        alo_wrong(m, ALORE_ERR_ORDER, "%d scopes are still open", m->depth);
    if (!m->error.status && !m->probe) alo_check_matches(m);
    for (int i = 1; i < m->tensor_count; ++i)
        if (m->tensors[i].flags & ALO_OUTPUT) out = true;
    if (!m->error.status && !out)
        alo_wrong(m, ALORE_ERR_ORDER, "the model has no output");
    if (m->error.status) {
        alo_ctx(m)->error = m->error;
        return m->error.status;
    }
    for (int i = 0; i < m->site_count; ++i)
        m->sites[i].s.name = alo_name(m, m->sites[i].name);
    m->finished = true;
    return ALORE_OK;
}

ALORE_API int alore_site_count(const alore_model *m)
{
    return m->finished ? m->site_count : 0;
}

ALORE_API const alore_site *alore_site_at(const alore_model *m, int index)
{
    return m->finished && index >= 0 && index < m->site_count ? &m->sites[index].s : NULL;
}

/* ============================================================================
 * >> 13 methods
 *
 * A method is a row: what it is called, where it goes, its keys, and `emit`, which
 * says it in words. Matrices of adapters are [in, out], x multiplies from the left.
 * ========================================================================== */

ALORE_API double alore_recipe_number(const alore_recipe *r, const char *key)
{
    for (int i = 0; i < ALORE_MAX_KEYS && r->method->keys[i].name; ++i)
        if (!strcmp(r->method->keys[i].name, key)) return r->values[i];
    return 0;
}

/* The word that a setting stands for, "" for a key that is none. */
ALORE_API const char *alore_recipe_word(const alore_recipe *r, const char *key,
                                        char out[32])
{
    alo_text t = {out, 32, 0};
    alo_put(&t, "", 0);
    for (int i = 0; i < ALORE_MAX_KEYS && r->method->keys[i].name; ++i) {
        const char *w = r->method->keys[i].words;
        if (!w || strcmp(r->method->keys[i].name, key)) continue;
        for (int k = (int)r->values[i]; k > 0 && w; --k) w = strchr(w, '|') ? strchr(w, '|') + 1 : NULL;
        if (w) alo_put(&t, w, strcspn(w, "|"));
    }
    return out;
}

static alore_id alo_too_wide(alore_model *m, const alore_recipe *r, int width)
{
    return alo_wrong(m, ALORE_ERR_RULE, "%s: rank %d is larger than the width %d",
                     r->method->name, r->rank, width);
}

/* LoRA: y = host(x) + scale drop(x) A B.   (Hu et al. 2021, eq. 3) */
static alore_id alo_emit_lora(alore_model *m, const alore_site *site,
                              const alore_recipe *r, alore_flow *flow)
{
    char word[32];
    bool published = !strcmp(alore_recipe_word(r, "init", word), "published");
    float bound = 1.0f / alo_sqrt((float)site->in);
    alore_start small = alore_normal(0.0f, 0.02f);
    alore_id a, b, h;
    if (r->rank > site->in) return alo_too_wide(m, r, site->in);
    a = alore_param(m, "A", alore_dims(site->in, r->rank, 0, 0), ALORE_OWN,
                    published ? small : alore_uniform(bound));
    b = alore_param(m, "B", alore_dims(r->rank, site->out, 0, 0), ALORE_OWN,
                    published ? small : alore_fill(0.0f));
    h = alore_matmul(m, alore_dropout(m, flow->x, r->dropout), a);
    return alore_scale(m, alore_matmul(m, h, b), r->scale);
}

/* left = scale A, right = B. */
static int alo_factors_lora(const alore_site *site, const alore_recipe *r,
                            const float *const *params, const float *weight, float *left,
                            float *right)
{
    (void)weight;
    if (!left) return r->rank;
    for (size_t i = 0; i < alo_zu(site->in) * alo_zu(r->rank); ++i)
        left[i] = r->scale * params[0][i];
    memcpy(right, params[1], alo_zu(r->rank) * alo_zu(site->out) * sizeof *right);
    return r->rank;
}

/* ALoRE: y = host(x + drop(x sum_i S_i (x) (D_i U_i))).   (Du et al. 2024, eq. 6-8)
 * S is one for the network unless `shared` says otherwise; U = 0 at the start, so the
 * start is the identity. At place=output the same acts on the host's output. */
static alore_id alo_emit_alore(alore_model *m, const alore_site *site,
                               const alore_recipe *r, alore_flow *flow)
{
    bool out = r->place == ALORE_PLACE_OUTPUT;
    alore_id x = out ? flow->y : flow->x, s, d, u;
    int width = out ? site->out : site->in, n = r->experts, part = width / n;
    double shared = alore_recipe_number(r, "shared");
    alore_share share = shared > 1 ? ALORE_OWN : shared > 0 ? ALORE_KIND : ALORE_ALL;
    if (part * n != width)
        return alo_wrong(m, ALORE_ERR_RULE, "alore: %d experts do not divide the width %d",
                         n, width);
    if (r->rank > width) return alo_too_wide(m, r, width);
    s = alore_param(m, "S", alore_dims(n, n, n, 0), share,
                    n == 1 ? alore_fill(1.0f) : alore_uniform(alo_sqrt(3.0f / (float)n)));
    d = alore_param(m, "D", alore_dims(n, part, r->rank, 0), ALORE_OWN,
                    alore_uniform(alo_sqrt(6.0f / (float)(part + r->rank))));
    u = alore_param(m, "U", alore_dims(n, r->rank, part, 0), ALORE_OWN, alore_fill(0.0f));
    return alore_add(m, x, alore_dropout(m, alore_kron(m, x, s, d, u, n), r->dropout));
}

/* With W0 [in, out] = weight, W' W0 = left right, where column (i, a, q) of left holds
 * D_i[:, q] in the rows of part a, and
 *     right[(i, a, q)] = sum_c S_i[a, c] sum_f U_i[q, f] W0[(c, f)].
 * The rank is n n r; where that is no less than the width, left is the identity. */
static int alo_factors_alore(const alore_site *site, const alore_recipe *r,
                             const float *const *params, const float *weight, float *left,
                             float *right)
{
    int n = r->experts, q = r->rank, part = site->in / n, out = site->out;
    int rank = n * n * q < site->in ? n * n * q : site->in;
    const float *s = params[0], *d = params[1], *u = params[2];
    if (!left) return rank;
    memset(left, 0, alo_zu(site->in) * alo_zu(rank) * sizeof *left);
    if (rank == site->in)
        for (int i = 0; i < rank; ++i) left[(size_t)i * alo_zu(rank) + (size_t)i] = 1.0f;
    for (int j = 0; j < out; ++j)
        for (int row = 0; row < rank; ++row) {
            double sum = 0;
            if (rank < site->in) {
                int i = row / (n * q), a = row / q % n, k = row % q;
                for (int c = 0; c < n; ++c) {
                    double inner = 0;
                    for (int f = 0; f < part; ++f)
                        inner += (double)u[(i * q + k) * part + f] *
                                 (double)weight[(size_t)(c * part + f) * alo_zu(out) + (size_t)j];
                    sum += (double)s[(i * n + a) * n + c] * inner;
                }
            } else {
                int a = row / part, e = row % part;
                for (int c = 0; c < n; ++c)
                    for (int f = 0; f < part; ++f) {
                        double w = 0;
                        for (int i = 0; i < n; ++i)
                            for (int k = 0; k < q; ++k)
                                w += (double)s[(i * n + a) * n + c] *
                                     (double)d[(i * part + e) * q + k] *
                                     (double)u[(i * q + k) * part + f];
                        sum += w * (double)weight[(size_t)(c * part + f) * alo_zu(out) + (size_t)j];
                    }
            }
            right[(size_t)row * alo_zu(out) + (size_t)j] = (float)sum;
        }
    if (rank < site->in)
        for (int row = 0; row < rank; ++row) {
            int i = row / (n * q), a = row / q % n, k = row % q;
            for (int e = 0; e < part; ++e)
                left[(size_t)(a * part + e) * alo_zu(rank) + (size_t)row] =
                    d[(i * part + e) * q + k];
        }
    return rank;
}

/* SSF: y = host(x) gain + shift, or host(x gain + shift).   (Lian et al. 2022, eq. 3) */
static alore_id alo_emit_ssf(alore_model *m, const alore_site *site, const alore_recipe *r,
                             alore_flow *flow)
{
    bool in = r->place == ALORE_PLACE_INPUT;
    int width = in ? site->in : site->out;
    alore_id gain = alore_param(m, "gain", alore_dims(width, 0, 0, 0), ALORE_OWN,
                                alore_normal(1.0f, 0.02f));
    alore_id shift = alore_param(m, "shift", alore_dims(width, 0, 0, 0), ALORE_OWN,
                                 alore_normal(0.0f, 0.02f));
    if (in && site->host != ALORE_HOST_LINEAR)
        return alo_wrong(m, ALORE_ERR_RULE, "ssf at place=input asks for a linear host");
    return alore_affine(m, in ? flow->x : flow->y, gain, shift);
}

/* clang-format off */
#define ALO_WHOLE(name, value, least, most) {name, value, least, most, NULL, true, false}
#define ALO_REAL(name, value, least, most)  {name, value, least, most, NULL, false, false}
#define ALO_WORD(name, words)               {name, 0, 0, 0, words, false, false}

static const alore_method alo_methods[] = {
    {"alore", "y = host(x + x sum_i S_i (x) (D_i U_i))",
     "ALoRE: Efficient Visual Adaptation via Aggregating Low Rank Experts (2024)",
     "alore:rank=4,experts=4@qkv|fc1", ALORE_HOST_LINEAR, ALORE_PLACE_INPUT,
     1 << ALORE_PLACE_INPUT | 1 << ALORE_PLACE_OUTPUT,
     {ALO_WHOLE("rank", 4, 1, 65536), ALO_WHOLE("experts", 4, 1, 256),
      ALO_WORD("shared", "all|kind|site"), ALO_REAL("dropout", 0, 0, 1),
      ALO_WORD("init", "default")},
     alo_emit_alore, NULL, alo_factors_alore, NULL},
    {"lora", "y = host(x) + scale (x A) B",
     "LoRA: Low-Rank Adaptation of Large Language Models (2021)",
     "lora:rank=8@qkv", ALORE_HOST_LINEAR, ALORE_PLACE_PARALLEL, 0,
     {ALO_WHOLE("rank", 8, 1, 65536), ALO_REAL("scale", 1, -1e6, 1e6),
      ALO_WORD("parts", "letters of q, k, v"), ALO_REAL("dropout", 0, 0, 1),
      ALO_WORD("init", "default|published")},
     alo_emit_lora, NULL, alo_factors_lora, NULL},
    {"ssf", "y = host(x) * gain + shift",
     "Scaling & Shifting Your Features (2022)",
     "ssf@patch|norm1|qkv|proj|norm2|fc1|fc2|norm",
     ALORE_HOST_LINEAR | ALORE_HOST_NORM, ALORE_PLACE_OUTPUT,
     1 << ALORE_PLACE_OUTPUT | 1 << ALORE_PLACE_INPUT,
     {ALO_WORD("init", "default")},
     alo_emit_ssf, NULL, NULL, NULL},
};
/* clang-format on */

ALORE_API const alore_method *alore_method_at(const alore_ctx *ctx, int index)
{
    int own = (int)(sizeof alo_methods / sizeof *alo_methods);
    if (index < 0 || index >= own + ctx->method_count) return NULL;
    return index < own ? &alo_methods[index] : ctx->methods[index - own];
}

ALORE_API const alore_method *alore_method_find(const alore_ctx *ctx, const char *name)
{
    const alore_method *row;
    for (int i = 0; (row = alore_method_at(ctx, i)) != NULL; ++i)
        if (!strcmp(row->name, name)) return row;
    return NULL;
}

ALORE_API alore_status alore_register(alore_ctx *ctx, const alore_method *method)
{
    int most = (int)(sizeof ctx->methods / sizeof *ctx->methods);
    if (!method || !method->name || !method->emit || !method->hosts || !method->place)
        return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL,
                        "a method needs name, hosts, place and emit");
    if (alore_method_find(ctx, method->name))
        return alo_fail(ctx, ALORE_ERR_NAME, NULL, "a method %s is there already",
                        method->name);
    if (ctx->method_count == most)
        return alo_fail(ctx, ALORE_ERR_CAPACITY, NULL, "more than %d own methods", most);
    ctx->methods[ctx->method_count++] = method;
    return ALORE_OK;
}

/* ============================================================================
 * >> 14 rules
 *
 *     rules := rule (';' rule)*
 *     rule  := method [':' key '=' value (',' key '=' value)*] '@' item ('|' item)*
 *     item  := a site kind or a glob, optionally '#' index or '#' first '-' last
 *
 * The parser knows no method: it reads the rows. A recipe leaves it complete.
 * ========================================================================== */

/* A decimal number that takes the whole text. */
static bool alo_number(const char *s, double *out)
{
    double x = 0, unit = 1;
    int exponent = 0, power = 0;
    bool minus = *s == '-', digits = false, down;
    if (minus) ++s;
    for (; *s >= '0' && *s <= '9'; ++s, digits = true) x = x * 10 + (*s - '0');
    if (*s == '.')
        for (++s; *s >= '0' && *s <= '9'; ++s, digits = true) {
            x = x * 10 + (*s - '0');
            --exponent;
        }
    if (!digits) return false;
    if (*s == 'e' || *s == 'E') {
        down = *++s == '-';
        if (*s == '-' || *s == '+') ++s;
        if (*s < '0' || *s > '9') return false;
        for (; *s >= '0' && *s <= '9'; ++s)
            if (power < 400) power = power * 10 + (*s - '0');
        exponent += down ? -power : power;
    }
    if (*s) return false;
    for (int i = exponent < 0 ? -exponent : exponent; i > 0 && unit < 1e300; --i) unit *= 10;
    x = exponent < 0 ? x / unit : x * unit;
    *out = minus ? -x : x;
    return x < 1e300;
}

/* A whole number 0 .. 2^24; false for anything else. */
static bool alo_index(const char *s, size_t bytes, int *out)
{
    int v = 0;
    if (!bytes) return false;
    for (size_t i = 0; i < bytes; ++i) {
        if (s[i] < '0' || s[i] > '9') return false;
        v = v * 10 + (s[i] - '0');
        if (v > 1 << 24) return false;
    }
    *out = v;
    return true;
}

/* Index of `word` in "a|b|c", or -1. */
static int alo_word_index(const char *words, const char *word)
{
    size_t n = strlen(word);
    for (int i = 0; words; ++i) {
        if (strcspn(words, "|") == n && !memcmp(words, word, n)) return i;
        words = strchr(words, '|');
        if (words) ++words;
    }
    return -1;
}

static bool alo_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Copy without the blanks around separators and at the ends. */
static void alo_squeeze(char *out, const char *text)
{
    const char *separators = ";:=,@|#-";
    size_t n = 0;
    for (; *text; ++text) {
        const char *next = text;
        while (alo_blank(*next)) ++next;
        if (next > text) {
            if (n && *next && !strchr(separators, *next) && !strchr(separators, out[n - 1]))
                out[n++] = ' ';
            text = next - 1;
        } else
            out[n++] = *text;
    }
    out[n] = 0;
}

static const char *const alo_place_words = "default|input|parallel|output|weight|inside";

static alore_id alo_unknown_key(alore_model *m, const alore_method *row, const char *key)
{
    char known[160] = "";
    alo_text t = {known, sizeof known, 0};
    for (int i = 0; i < ALORE_MAX_KEYS && row->keys[i].name; ++i)
        alo_print(&t, "%s, ", row->keys[i].name);
    return alo_wrong(m, ALORE_ERR_RULE, "%s has no key %s; it has %splace", row->name, key,
                     known);
}

static bool alo_set_place(alore_model *m, alo_rule *rule, const char *value)
{
    const alore_method *row = rule->method;
    int place = alo_word_index(alo_place_words, value);
    int places = row->places ? row->places : 1 << row->place;
    char known[64] = "";
    alo_text t = {known, sizeof known, 0};
    if (place > 0 && places >> place & 1) {
        rule->recipe.place = (alore_place)place;
        return true;
    }
    for (int i = 1; i <= ALORE_PLACE_INSIDE; ++i) {
        const char *w = alo_place_words;
        if (!(places >> i & 1)) continue;
        for (int k = 0; k < i; ++k) w = strchr(w, '|') + 1;
        alo_put(&t, " ", 1);
        alo_put(&t, w, strcspn(w, "|"));
    }
    alo_wrong(m, ALORE_ERR_RULE, "%s: place=%s; it may be%s", row->name, value, known);
    return false;
}

static bool alo_set_parts(alore_model *m, alo_rule *rule, const char *value)
{
    size_t n = strlen(value);
    bool fine = n >= 1 && n <= 3;
    for (size_t i = 0; fine && i < n; ++i)
        fine = strchr("qkv", value[i]) && !strchr(value + i + 1, value[i]);
    if (!fine) {
        alo_wrong(m, ALORE_ERR_RULE, "%s: parts=%s; it takes letters of q, k, v once each",
                  rule->method->name, value);
        return false;
    }
    memcpy(rule->parts, value, n + 1);
    return true;
}

/* One key of a rule; `given` marks those set so far. */
static bool alo_set_key(alore_model *m, alo_rule *rule, const char *key, const char *value,
                        unsigned *given)
{
    const alore_method *row = rule->method;
    const alore_key *k;
    unsigned bit;
    int i = 0;
    double x = 0;
    while (i < ALORE_MAX_KEYS && row->keys[i].name && strcmp(row->keys[i].name, key)) ++i;
    bit = i < ALORE_MAX_KEYS && row->keys[i].name ? 1u << i : 1u << ALORE_MAX_KEYS;
    if (bit >> ALORE_MAX_KEYS && strcmp(key, "place"))
        return alo_unknown_key(m, row, key) != 0;
    if (*given & bit) {
        alo_wrong(m, ALORE_ERR_RULE, "%s: %s is given twice", row->name, key);
        return false;
    }
    *given |= bit;
    if (bit >> ALORE_MAX_KEYS) return alo_set_place(m, rule, value);
    if (!strcmp(key, "parts")) return alo_set_parts(m, rule, value);
    k = &row->keys[i];
    if (k->words) {
        int word = alo_word_index(k->words, value);
        if (word < 0)
            alo_wrong(m, ALORE_ERR_RULE, "%s: %s=%s; it may be %s", row->name, key, value,
                      k->words);
        rule->recipe.values[i] = word;
        return word >= 0;
    }
    if (!alo_number(value, &x) || x < k->least || x > k->most ||
        (k->whole && x != (double)(int64_t)x)) {
        alo_wrong(m, ALORE_ERR_RULE, "%s: %s=%s; it is a %snumber from %g to %g", row->name,
                  key, value, k->whole ? "whole " : "", k->least, k->most);
        return false;
    }
    rule->recipe.values[i] = x;
    return true;
}

/* Settings that many methods share are fields, too. */
static void alo_fill_fields(alore_recipe *r)
{
    r->rank = (int)alore_recipe_number(r, "rank");
    r->experts = (int)alore_recipe_number(r, "experts");
    r->groups = (int)alore_recipe_number(r, "groups");
    r->hidden = (int)alore_recipe_number(r, "hidden");
    r->scale = (float)alore_recipe_number(r, "scale");
    r->dropout = (float)alore_recipe_number(r, "dropout");
    r->parts = "";
}

/* "rank=4,experts=2", cut in place. */
static bool alo_parse_keys(alore_model *m, alo_rule *rule, char *keys)
{
    unsigned given = 0;
    const alore_method *row = rule->method;
    for (int i = 0; i < ALORE_MAX_KEYS && row->keys[i].name; ++i)
        rule->recipe.values[i] = row->keys[i].value;
    rule->recipe.method = row;
    rule->recipe.place = row->place;
    while (keys) {
        char *next = strchr(keys, ','), *value;
        if (next) *next++ = 0;
        value = strchr(keys, '=');
        if (!value || value == keys || !value[1]) {
            alo_wrong(m, ALORE_ERR_RULE, "%s: \"%s\" is not key=value", row->name, keys);
            return false;
        }
        *value++ = 0;
        if (!alo_set_key(m, rule, keys, value, &given)) return false;
        keys = next;
    }
    for (int i = 0; i < ALORE_MAX_KEYS && row->keys[i].name; ++i)
        if (row->keys[i].required && !(given >> i & 1u)) {
            alo_wrong(m, ALORE_ERR_RULE, "%s: %s must be given", row->name,
                      row->keys[i].name);
            return false;
        }
    alo_fill_fields(&rule->recipe);
    return true;
}

/* One target: "qkv#0-3". */
static bool alo_parse_item(alore_model *m, alo_rule *rule, char *text)
{
    char *blocks = strchr(text, '#'), *dash;
    void *list = m->items;
    alo_item item;
    int i;
    memset(&item, 0, sizeof item);
    item.last = -1;
    if (blocks) {
        *blocks++ = 0;
        dash = strchr(blocks, '-');
        if (!alo_index(blocks, dash ? (size_t)(dash - blocks) : strlen(blocks), &item.first) ||
            (dash && !alo_index(dash + 1, strlen(dash + 1), &item.last))) {
            alo_wrong(m, ALORE_ERR_RULE, "%s#%s: blocks are an index or first-last", text,
                      blocks);
            return false;
        }
        if (!dash) item.last = item.first;
        if (item.last < item.first) {
            alo_wrong(m, ALORE_ERR_RULE, "%s#%s: blocks run from first to last", text,
                      blocks);
            return false;
        }
    }
    if (!*text) {
        alo_wrong(m, ALORE_ERR_RULE, "an empty target in %s", alo_name(m, rule->text));
        return false;
    }
    for (int k = 1; k <= ALORE_KIND_BLOCK; ++k)
        if (!strcmp(alo_kind_names[k], text)) item.kind = (alore_kind)k;
    item.text = alo_intern(m, text);
    i = alo_room(m, &list, &m->item_count, &m->item_room, sizeof *m->items);
    m->items = (alo_item *)list;
    if (i < 0) return false;
    m->items[i] = item;
    ++rule->count;
    return true;
}

/* One rule, cut in place. */
static bool alo_parse_rule(alore_model *m, char *text)
{
    alo_rule rule;
    void *list = m->rules;
    char *target = strchr(text, '@'), *keys;
    int i;
    memset(&rule, 0, sizeof rule);
    rule.text = alo_intern(m, text);
    rule.first = m->item_count;
    if (!target || target == text || !target[1]) {
        alo_wrong(m, ALORE_ERR_RULE, "\"%s\" is not method:key=value@target", text);
        return false;
    }
    *target++ = 0;
    keys = strchr(text, ':');
    if (keys) *keys++ = 0;
    if (!strcmp(text, "unfreeze")) {
        if (keys) {
            alo_wrong(m, ALORE_ERR_RULE, "unfreeze has no keys, but \"%s\" is given", keys);
            return false;
        }
    } else {
        char known[160] = "";
        alo_text t = {known, sizeof known, 0};
        const alore_method *row;
        rule.method = alore_method_find(alo_ctx(m), text);
        for (i = 0; (row = alore_method_at(alo_ctx(m), i)) != NULL; ++i)
            alo_print(&t, "%s, ", row->name);
        if (!rule.method) {
            alo_wrong(m, ALORE_ERR_RULE, "there is no method %s; there are %sunfreeze", text,
                      known);
            return false;
        }
        if (!alo_parse_keys(m, &rule, keys)) return false;
    }
    while (target) {
        char *next = strchr(target, '|');
        if (next) *next++ = 0;
        if (!alo_parse_item(m, &rule, target)) return false;
        target = next;
    }
    i = alo_room(m, &list, &m->rule_count, &m->rule_room, sizeof *m->rules);
    m->rules = (alo_rule *)list;
    if (i < 0) return false;
    m->rules[i] = rule;
    return true;
}

ALORE_API alore_status alore_attach(alore_model *m, const char *rules)
{
    alore_ctx *ctx = alo_ctx(m);
    size_t bytes = strlen(rules) + 1, before = strlen(alo_name(m, m->rules_text));
    char *copy, *rule, *all;
    if (m->tensor_count > 1 || m->finished)
        return alo_fail(ctx, ALORE_ERR_ORDER, NULL, "rules come before the network");
    if (bytes > 60000)
        return alo_fail(ctx, ALORE_ERR_RULE, NULL, "a rule text of %z bytes", bytes);
    copy = (char *)alo_new(ctx, bytes);
    all = (char *)alo_new(ctx, before + bytes + 1);
    if (copy && all) {
        alo_text t = {all, before + bytes + 1, 0};
        alo_squeeze(copy, rules);
        alo_print(&t, before && *copy ? "%s;%s" : "%s%s", alo_name(m, m->rules_text), copy);
        m->rules_text = alo_intern(m, all);
        for (rule = *copy ? copy : NULL; rule;) {
            char *next = strchr(rule, ';');
            if (next) *next++ = 0;
            if (!alo_parse_rule(m, rule)) break;
            rule = next;
        }
    } else
        alo_starved(m);
    alo_free(ctx, copy, bytes);
    alo_free(ctx, all, before + bytes + 1);
    if (m->error.status) ctx->error = m->error;
    return m->error.status;
}

ALORE_API alore_status alore_attach_from(alore_model *m, const alore_weights *adapter)
{
    const char *rules = alore_weights_meta(adapter, "alore.rules");
    if (!rules)
        return alo_fail(alo_ctx(m), ALORE_ERR_RULE, NULL,
                        "the adapter has no alore.rules in its metadata");
    return alore_attach(m, rules);
}

ALORE_API const char *alore_rules(const alore_model *m)
{
    return alo_name(m, m->rules_text);
}

ALORE_API size_t alore_site_rules(const alore_model *m, int index, char *out, size_t bytes)
{
    alo_text t = {out, bytes, 0};
    const alo_site *site;
    alo_put(&t, "", 0);
    if (index < 0 || index >= m->site_count) return 0;
    site = &m->sites[index];
    for (int r = 0; r < m->rule_count; ++r) {
        const alo_rule *rule = &m->rules[r];
        bool takes = false;
        for (int i = rule->first; i < rule->first + rule->count; ++i) {
            const alo_item *item = &m->items[i];
            const char *text = alo_name(m, item->text), *name = alo_name(m, site->name);
            if (!alo_in_blocks(item, site->s.block)) continue;
            if (item->kind)
                takes = takes || item->kind == site->s.kind;
            else if (rule->method)
                takes = takes || (site->s.host < ALORE_HOST_BRANCH && alo_glob(text, name) &&
                                  rule->method->hosts & (int)site->s.host);
        }
        for (int p = 0; p < m->param_count && !rule->method && !takes; ++p)
            if (m->params[p].site == index && m->params[p].base &&
                m->params[p].segment == ALO_PARAM)
                for (int i = rule->first; i < rule->first + rule->count; ++i)
                    takes = takes ||
                            (!m->items[i].kind && alo_in_blocks(&m->items[i], site->s.block) &&
                             alo_glob(alo_name(m, m->items[i].text),
                                      alo_name(m, m->params[p].name)));
        if (takes) alo_print(&t, t.used ? ";%s" : "%s", alo_name(m, rule->text));
    }
    return t.used;
}

/* ============================================================================
 * >> 15 backbones
 *
 * One function each, in the order of the paper's figure, of the words above. None
 * mentions an adapter, a gradient or a storage type.
 * ========================================================================== */

ALORE_API alore_vit_config alore_vit_defaults(const alore_vit_config *config)
{
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
    for (int i = 0; i < 3; ++i) {
        if (!(c.deviation[0] > 0)) c.mean[i] = 0.5f;
        if (!(c.deviation[i] > 0)) c.deviation[i] = 0.5f;
    }
    return c;
}

/* Kernel x kernel patches of image [height width, 3] as rows, in the order of the
 * checkpoint's kernel: channel, then row, then column. */
static alore_id alo_patches(alore_model *m, alore_id image, int height, int width, int p)
{
    alore_ctx *ctx = alo_ctx(m);
    int down = height / p, across = width / p, group = 3 * p * p;
    size_t count = alo_mul(alo_mul(alo_zu(down), alo_zu(across)), alo_zu(group)), k = 0;
    int32_t *table = (int32_t *)alo_new(ctx, alo_mul(count, sizeof *table));
    alore_id x;
    if (!table) return alo_starved(m);
    for (int i = 0; i < down * across; ++i)
        for (int c = 0; c < 3; ++c)
            for (int y = 0; y < p; ++y)
                for (int xx = 0; xx < p; ++xx)
                    table[k++] = ((i / across * p + y) * width + i % across * p + xx) * 3 + c;
    x = alore_reshape(m, image, height * width * 3, 1);
    x = alore_gather(m, x, table, down * across, group);
    alo_free(ctx, table, alo_mul(count, sizeof *table));
    return x;
}

/* x += attn(norm1(x)); x += mlp(norm2(x)).   (Dosovitskiy et al. 2021, fig. 1) */
static alore_id alo_vit_block(alore_model *m, int i, alore_id x,
                              const alore_vit_config *c, float drop_path)
{
    alore_attention_opts attn = ALORE_ZERO;
    alore_linear_opts qkv = ALORE_ZERO, proj = ALORE_ZERO, fc1 = ALORE_ZERO,
                      fc2 = ALORE_ZERO;
    alore_id n, y, start;
    int d = c->dim;
    attn.heads = c->heads;
    qkv.kind = ALORE_KIND_QKV;
    qkv.no_bias = c->no_qkv_bias;
    proj.kind = ALORE_KIND_PROJ;
    fc1.kind = ALORE_KIND_FC1;
    fc2.kind = ALORE_KIND_FC2;

    alore_push(m, "blocks", i);
    x = start = alore_branch(m, "", ALORE_KIND_TOKENS, x, 0, x);
    n = alore_norm(m, "norm1", ALORE_KIND_NORM1, x, c->eps);
    y = alore_linear(m, "attn.qkv", n, 3 * d, &qkv);
    y = alore_attention(m, alore_columns(m, y, 0, d), alore_columns(m, y, d, d),
                        alore_columns(m, y, 2 * d, d), &attn);
    y = alore_linear(m, "attn.proj", y, d, &proj);
    y = alore_branch(m, "attn", ALORE_KIND_ATTN, x, n, y);
    if (c->layer_scale)
        y = alore_affine(m, y, alore_base(m, "ls1.gamma", alore_dims(d, 0, 0, 0)), 0);
    x = alore_add(m, x, alore_drop_path(m, y, drop_path));

    n = alore_norm(m, "norm2", ALORE_KIND_NORM2, x, c->eps);
    y = alore_linear(m, "mlp.fc1", n, c->swiglu ? 2 * c->hidden : c->hidden, &fc1);
    if (c->swiglu)
        y = alore_mul(m, alore_unary(m, ALORE_SILU, alore_columns(m, y, 0, c->hidden)),
                      alore_columns(m, y, c->hidden, c->hidden));
    else
        y = alore_unary(m, c->act, y);
    y = alore_linear(m, "mlp.fc2", y, d, &fc2);
    y = alore_branch(m, "mlp", ALORE_KIND_MLP, x, n, y);
    if (c->layer_scale)
        y = alore_affine(m, y, alore_base(m, "ls2.gamma", alore_dims(d, 0, 0, 0)), 0);
    x = alore_add(m, x, alore_drop_path(m, y, drop_path));
    x = alore_branch(m, "", ALORE_KIND_BLOCK, start, 0, x);
    alore_pop(m);
    return x;
}

/* Let methods that carry something along end at the head's input. */
static alore_id alo_finish_methods(alore_model *m, alore_id x)
{
    for (int r = 0; r < m->rule_count; ++r)
        if (m->rules[r].method && m->rules[r].method->finish)
            x = m->rules[r].method->finish(m, &m->rules[r].recipe, x);
    return x;
}

/* Patches, class and register tokens, positions. */
static alore_id alo_vit_tokens(alore_model *m, alore_id image, const alore_vit_config *c)
{
    alore_linear_opts patch = ALORE_ZERO;
    int kernel[3], patches = c->height / c->patch * (c->width / c->patch), d = c->dim;
    int rows = c->registers ? patches : patches + 1;
    alore_id x, cls, pos;
    kernel[0] = 3;
    kernel[1] = kernel[2] = c->patch;
    patch.kind = ALORE_KIND_PATCH;
    patch.kernel = kernel;
    patch.no_bias = c->pre_norm && !c->patch_bias;
    if (alo_at(m, image)->dtype == ALORE_U8)
        image = alore_cast(m, image, c->mean, c->deviation);
    x = alo_patches(m, image, c->height, c->width, c->patch);
    x = alore_linear(m, "patch_embed.proj", x, d, &patch);
    cls = alore_base(m, "cls_token", alore_dims(1, 1, d, 0));
    pos = alore_base(m, "pos_embed", alore_dims(1, rows, d, 0));
    if (!c->registers) return alore_add(m, alore_concat(m, cls, x), pos);
    x = alore_concat(m, alore_base(m, "reg_token", alore_dims(1, c->registers, d, 0)),
                     alore_add(m, x, pos));
    return alore_concat(m, cls, x);
}

ALORE_API alore_id alore_vit(alore_model *m, alore_id image, const alore_vit_config *config)
{
    alore_vit_config c = alore_vit_defaults(config);
    alore_linear_opts head = ALORE_ZERO;
    const int32_t first = 0;
    char text[256];
    alore_id x;
    if (alo_poisoned(m, image, image)) return 0;
    if (c.patch < 1 || c.height < c.patch || c.width < c.patch || c.height % c.patch ||
        c.width % c.patch || c.height > 1 << 12 || c.width > 1 << 12)
        return alo_wrong(m, ALORE_ERR_SHAPE, "an image of %d x %d in patches of %d", c.height,
                         c.width, c.patch);
    if (c.depth < 1 || c.dim < 1 || c.heads < 1 || c.hidden < 1 || c.registers < 0 ||
        c.dim > 1 << 20 || c.hidden > 1 << 22 || c.depth > 1 << 12 || c.registers > 1 << 12)
        return alo_wrong(m, ALORE_ERR_SHAPE, "depth %d, width %d, %d heads, hidden %d",
                         c.depth, c.dim, c.heads, c.hidden);
    if (alo_at(m, image)->rows != c.height * c.width || alo_at(m, image)->cols != 3)
        return alo_wrong(m, ALORE_ERR_SHAPE, "image is %d x %d, the network's %d x 3",
                         alo_at(m, image)->rows, alo_at(m, image)->cols, c.height * c.width);
    (void)alore_vit_text(&c, text, sizeof text);
    m->backbone = alo_intern(m, text);
    head.kind = ALORE_KIND_HEAD;

    alore_blocks(m, c.depth);
    alore_grid(m, 1 + c.registers, c.height / c.patch, c.width / c.patch);
    x = alo_vit_tokens(m, image, &c);
    if (c.pre_norm) x = alore_norm(m, "norm_pre", ALORE_KIND_NONE, x, c.eps);
    for (int i = 0; i < c.depth; ++i)
        x = alo_vit_block(m, i, x, &c,
                          c.depth > 1 ? c.drop_path * (float)i / (float)(c.depth - 1) : 0);
    if (c.mean_pool) {
        x = alore_mean_rows(m, x, 1 + c.registers, alore_rows(m, x) - 1 - c.registers);
        x = alore_norm(m, "fc_norm", ALORE_KIND_NORM, x, c.eps);
    } else { /* a norm acts on each row alone, so the class token is enough */
        x = alore_gather(m, x, &first, 1, 1);
        x = alore_norm(m, "norm", ALORE_KIND_NORM, x, c.eps);
    }
    x = alo_finish_methods(m, x);
    alore_output(m, "features", x);
    return c.no_head ? x : alore_linear(m, "head", x, c.classes, &head);
}

/* ---- Configurations as text ---- */

typedef struct alo_vit_row {
    const char *name;
    int image, patch, dim, depth, heads, registers;
    bool layer_scale;
} alo_vit_row;

static const alo_vit_row alo_vit_rows[] = {
    {"vit_tiny_patch16_224", 224, 16, 192, 12, 3, 0, false},
    {"vit_tiny_patch16_384", 384, 16, 192, 12, 3, 0, false},
    {"vit_small_patch32_224", 224, 32, 384, 12, 6, 0, false},
    {"vit_small_patch16_224", 224, 16, 384, 12, 6, 0, false},
    {"vit_small_patch16_384", 384, 16, 384, 12, 6, 0, false},
    {"vit_base_patch32_224", 224, 32, 768, 12, 12, 0, false},
    {"vit_base_patch32_384", 384, 32, 768, 12, 12, 0, false},
    {"vit_base_patch16_224", 224, 16, 768, 12, 12, 0, false},
    {"vit_base_patch16_384", 384, 16, 768, 12, 12, 0, false},
    {"vit_base_patch8_224", 224, 8, 768, 12, 12, 0, false},
    {"vit_large_patch32_224", 224, 32, 1024, 24, 16, 0, false},
    {"vit_large_patch32_384", 384, 32, 1024, 24, 16, 0, false},
    {"vit_large_patch16_224", 224, 16, 1024, 24, 16, 0, false},
    {"vit_large_patch16_384", 384, 16, 1024, 24, 16, 0, false},
    {"vit_large_patch14_224", 224, 14, 1024, 24, 16, 0, false},
    {"vit_huge_patch14_224", 224, 14, 1280, 32, 16, 0, false},
    {"vit_small_patch14_dinov2", 518, 14, 384, 12, 6, 0, true},
    {"vit_base_patch14_dinov2", 518, 14, 768, 12, 12, 0, true},
    {"vit_large_patch14_dinov2", 518, 14, 1024, 24, 16, 0, true},
    {"vit_small_patch14_reg4_dinov2", 518, 14, 384, 12, 6, 4, true},
    {"vit_base_patch14_reg4_dinov2", 518, 14, 768, 12, 12, 4, true},
    {"vit_large_patch14_reg4_dinov2", 518, 14, 1024, 24, 16, 4, true},
};

ALORE_API const char *alore_vit_name(int index)
{
    int count = (int)(sizeof alo_vit_rows / sizeof *alo_vit_rows);
    return index >= 0 && index < count ? alo_vit_rows[index].name : NULL;
}

static const char *const alo_act_words = "gelu|gelu_tanh|quick_gelu|relu|silu";

/* Keys of a vit by name; the number is where it goes. */
static const char *const alo_vit_keys =
    "img|patch|dim|depth|heads|hidden|classes|pool|pre_norm|registers|layer_scale|swiglu|"
    "act|eps";

static alore_status alo_vit_set(alore_ctx *ctx, alore_vit_config *c, const char *key,
                                const char *value)
{
    int *numbers[] = {NULL, &c->patch, &c->dim, &c->depth, &c->heads, &c->hidden,
                      &c->classes};
    int k = alo_word_index(alo_vit_keys, key), v = 0, w = 0;
    double x = 0;
    bool whole = alo_index(value, strlen(value), &v), fine = false;
    if (k < 0)
        return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "vit has no key %s; it has %s", key,
                        alo_vit_keys);
    if (k == 0) {
        const char *by = strchr(value, 'x');
        fine = by ? alo_index(value, (size_t)(by - value), &v) &&
                        alo_index(by + 1, strlen(by + 1), &w)
                  : whole;
        c->height = v;
        c->width = by ? w : v;
        fine = fine && c->height > 0 && c->width > 0;
    } else if (k <= 6) {
        fine = whole && (v > 0 || k == 6);
        *numbers[k] = v;
    } else if (k == 7) {
        fine = alo_word_index("cls|avg", value) >= 0;
        c->mean_pool = alo_word_index("cls|avg", value) == 1;
    } else if (k == 9) {
        fine = whole;
        c->registers = v;
    } else if (k <= 11) {
        fine = whole && v <= 1;
        *(k == 8 ? &c->pre_norm : k == 10 ? &c->layer_scale : &c->swiglu) = v != 0;
    } else if (k == 12) {
        static const alore_unary_kind kinds[] = {ALORE_GELU, ALORE_GELU_TANH,
                                                 ALORE_QUICK_GELU, ALORE_RELU, ALORE_SILU};
        v = alo_word_index(alo_act_words, value);
        fine = v >= 0;
        if (fine) c->act = kinds[v];
    } else {
        fine = alo_number(value, &x) && x > 0 && x < 1;
        c->eps = (float)x;
    }
    return fine ? ALORE_OK
                : alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "vit: %s=%s is out of range", key,
                           value);
}

static alore_status alo_vit_named(alore_ctx *ctx, const char *text, alore_vit_config *c)
{
    size_t n = strcspn(text, ".");
    const char *name;
    for (int i = 0; (name = alore_vit_name(i)) != NULL; ++i) {
        const alo_vit_row *row = &alo_vit_rows[i];
        if (strlen(name) != n || memcmp(name, text, n)) continue;
        c->height = c->width = row->image;
        c->patch = row->patch;
        c->dim = row->dim;
        c->depth = row->depth;
        c->heads = row->heads;
        c->registers = row->registers;
        c->layer_scale = row->layer_scale;
        *c = alore_vit_defaults(c);
        return ALORE_OK;
    }
    return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL,
                    "backbone \"%s\" is neither vit:key=value,... nor a known name", text);
}

ALORE_API alore_status alore_vit_parse(alore_ctx *ctx, const char *text,
                                       alore_vit_config *out, bool *classes_given)
{
    alore_vit_config c = ALORE_ZERO;
    alore_status s = ALORE_OK;
    unsigned given = 0;
    if (classes_given) *classes_given = false;
    if (strncmp(text, "vit:", 4)) {
        s = alo_vit_named(ctx, text, &c);
        if (s == ALORE_OK) *out = c;
        return s;
    }
    for (text += 4; s == ALORE_OK && *text;) {
        char key[16], value[32];
        size_t n = strcspn(text, "="), end = strcspn(text, ",");
        int k;
        if (n >= end || n >= sizeof key || end - n - 1 >= sizeof value || end - n < 2)
            return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "vit: \"%s\" is not key=value",
                            text);
        memcpy(key, text, n);
        key[n] = 0;
        memcpy(value, text + n + 1, end - n - 1);
        value[end - n - 1] = 0;
        k = alo_word_index(alo_vit_keys, key);
        if (k >= 0 && given >> k & 1u)
            return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "vit: %s is given twice", key);
        if (k >= 0) given |= 1u << k;
        s = alo_vit_set(ctx, &c, key, value);
        text += end;
        if (*text == ',' && !*++text)
            return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "vit: a comma at the end");
    }
    if (s != ALORE_OK) return s;
    for (int k = 2; k <= 3; ++k)
        if (!(given >> k & 1u))
            return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "vit: %s must be given",
                            k == 2 ? "dim" : "depth");
    if (!(given >> 4 & 1u) && c.dim % 64)
        return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL,
                        "vit: heads must be given, since 64 does not divide dim=%d", c.dim);
    if (classes_given) *classes_given = (given >> 6 & 1u) != 0;
    c.no_head = (given >> 6 & 1u) && c.classes == 0;
    c = alore_vit_defaults(&c);
    if (c.height % c.patch || c.width % c.patch)
        return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL,
                        "vit: patch=%d does not divide img=%dx%d", c.patch, c.height,
                        c.width);
    if (c.dim % c.heads)
        return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "vit: heads=%d do not divide dim=%d",
                        c.heads, c.dim);
    *out = c;
    return ALORE_OK;
}

ALORE_API size_t alore_vit_text(const alore_vit_config *config, char *out, size_t bytes)
{
    alore_vit_config c = alore_vit_defaults(config);
    alo_text t = {out, bytes, 0};
    alo_print(&t, "vit:img=%dx%d,patch=%d,dim=%d,depth=%d,heads=%d,hidden=%d,classes=%d",
              c.height, c.width, c.patch, c.dim, c.depth, c.heads,
              c.hidden, c.no_head ? 0 : c.classes);
    if (c.mean_pool) alo_print(&t, ",pool=avg");
    if (c.pre_norm) alo_print(&t, ",pre_norm=1");
    if (c.registers) alo_print(&t, ",registers=%d", c.registers);
    if (c.layer_scale) alo_print(&t, ",layer_scale=1");
    if (c.swiglu) alo_print(&t, ",swiglu=1");
    if (c.act) {
        static const char *const acts[] = {"gelu", "gelu_tanh", "quick_gelu", "relu", "silu",
                                           "", ""};
        alo_print(&t, ",act=%s", acts[c.act]);
    }
    if (c.eps < 0.99e-6f || c.eps > 1.01e-6f) alo_print(&t, ",eps=%g", (double)c.eps);
    return t.used;
}

/* ---- Configurations from a checkpoint ---- */

static int alo_extent(const alore_weights *w, const char *name, int axis)
{
    const alore_tensor *t = alore_weights_find(w, name);
    if (!t || axis >= t->rank || t->dims[axis] > 1 << 24) return 0;
    return (int)t->dims[axis];
}

ALORE_API void alore_vit_biases(const alore_weights *w, alore_vit_config *config)
{
    config->no_qkv_bias = config->depth > 0 && !alore_weights_find(w, "blocks.0.attn.qkv.bias");
    config->patch_bias = alore_weights_find(w, "patch_embed.proj.bias") != NULL;
}

ALORE_API alore_status alore_vit_detect(alore_ctx *ctx, const alore_weights *w,
                                        alore_vit_config *out)
{
    alore_vit_config c = ALORE_ZERO;
    int rows = alo_extent(w, "pos_embed", 1), grid = 0, fc1;
    char name[64];
    c.dim = alo_extent(w, "patch_embed.proj.weight", 0);
    c.patch = alo_extent(w, "patch_embed.proj.weight", 2);
    if (!c.dim || !c.patch || !alo_extent(w, "cls_token", 2) || !rows)
        return alo_fail(ctx, ALORE_ERR_NAME, NULL,
                        "no network is recognised: a ViT has patch_embed.proj.weight, "
                        "cls_token and pos_embed");
    for (;; ++c.depth) {
        alo_text t = {name, sizeof name, 0};
        alo_print(&t, "blocks.%d.norm1.weight", c.depth);
        if (!alore_weights_find(w, name)) break;
    }
    c.registers = alo_extent(w, "reg_token", 1);
    if (!c.registers) --rows;
    while ((grid + 1) * (grid + 1) <= rows) ++grid;
    if (!rows || grid * grid != rows || grid > (1 << 12) / c.patch)
        return alo_fail(ctx, ALORE_ERR_SHAPE, "pos_embed",
                        "%d patches make no square; name the image with --backbone", rows);
    c.height = c.width = grid * c.patch;
    fc1 = alo_extent(w, "blocks.0.mlp.fc1.weight", 0);
    c.hidden = alo_extent(w, "blocks.0.mlp.fc2.weight", 1);
    c.swiglu = c.hidden > 0 && fc1 == 2 * c.hidden;
    if (!c.hidden || c.dim % 64)
        return alo_fail(ctx, ALORE_ERR_SHAPE, NULL,
                        "shapes do not tell the heads of a width of %d; name the backbone",
                        c.dim);
    c.heads = c.dim / 64;
    c.layer_scale = alore_weights_find(w, "blocks.0.ls1.gamma") != NULL;
    c.mean_pool = alore_weights_find(w, "fc_norm.weight") != NULL;
    c.pre_norm = alore_weights_find(w, "norm_pre.weight") != NULL;
    if (c.pre_norm) { /* CLIP */
        c.act = ALORE_QUICK_GELU;
        c.eps = 1e-5f;
    }
    c.classes = alo_extent(w, "head.weight", 0);
    c.no_head = !c.classes;
    alore_vit_biases(w, &c);
    *out = alore_vit_defaults(&c);
    return ALORE_OK;
}

/* ============================================================================
 * >> 16 planner
 *
 * From a model to records in execution order with addresses, by small passes, each a
 * loop over records: reach, need and pieces, recompute, fuse, live ranges, in place,
 * place, report. Records fall into four phases: those that depend on no sample run
 * once, then the sample's forward and backward, then the once records' backward, when
 * the slots of gradients are summed.
 * ========================================================================== */

enum { ALO_MAX_SLOTS = 8 };
#define ALO_SLOT_LIMIT ((size_t)64 << 20) /* bytes that the gradient slots may take  */

typedef struct alo_mark {      /* what the passes know of a tensor                  */
    int32_t grad;              /* its gradient, 0: none yet                         */
    int32_t producer;          /* the forward op that makes it, -1: none            */
    int32_t first, last;       /* live range, in records of a sample                */
    int32_t store;             /* the tensor whose place it takes                   */
    int32_t twin;              /* what stands for it: recomputed, or without masks  */
    int32_t reads;
    bool    need, wanted;
} alo_mark;

typedef struct alo_cover {     /* columns of a gradient that are written            */
    int32_t tensor;
    int     first, end;
} alo_cover;

struct alore_plan {
    alo_object      object;
    alore_plan_opts opts;
    alore_memory    memory;
    alo_tensor     *tensors;
    alo_op         *ops;
    alo_attr       *attrs;
    alo_param      *params;    /* base tensors, learning and frozen ones            */
    int32_t        *site_names;
    int32_t        *dies;      /* the tensor that dies after a record, by `dies_at` */
    int32_t        *dies_at;
    size_t         *scratch_at;/* of each record, in the lane                       */
    alo_block      *tables;
    char           *names;
    int tensor_count, op_count, attr_count, param_count, site_count, table_count,
        name_bytes;
    int tensor_room, op_room;
    int once, forward, backward; /* ends of the first three phases; the rest is after */
    int slots;
    size_t real;               /* bytes of a number                                 */
    size_t learns, frozen;     /* numbers in the flat arrays                        */
    size_t grads;              /* numbers in a slot, once tensors included          */
    size_t lane;               /* bytes of a lane                                   */
    size_t at_params, at_frozen, at_moments, at_once, at_grads, at_io, at_arena;
    double flops;
    int32_t rules, backbone;
    const alore_kernel *kernels;
    const void         *rows_fn;
};

typedef struct alo_planner {
    const alore_model *m;
    alore_plan *p;
    alore_ctx  *ctx;
    alo_mark   *marks;
    alo_op     *forward, *backward;
    alo_cover  *covers;
    int mark_room, forward_count, forward_room, backward_count, backward_room,
        cover_count, cover_room, once_count, after;
    int recompute;             /* how many blocks, earliest first                   */
    bool failed;
} alo_planner;

/* ---- Lists ---- */

/* A new tensor like `like`, anonymous, with marks. Index 0 is "none". */
static int32_t alo_plan_tensor(alo_planner *s, alo_tensor like)
{
    alore_plan *p = s->p;
    alo_tensor *wider;
    alo_mark *marks;
    int32_t id = p->tensor_count;
    if (s->failed) return 0;
    wider = (alo_tensor *)alo_grow(s->ctx, p->tensors, p->tensor_count, &p->tensor_room,
                                   sizeof *wider);
    if (wider) p->tensors = wider;
    marks = (alo_mark *)alo_grow(s->ctx, s->marks, p->tensor_count, &s->mark_room,
                                 sizeof *marks);
    if (marks) s->marks = marks;
    if (!wider || !marks) {
        s->failed = true;
        return 0;
    }
    like.flags &= (uint16_t)~(unsigned)(ALO_INPUT | ALO_OUTPUT | ALO_LEARNS);
    if (!(like.flags & ALO_VIEW)) like.root = id;
    p->tensors[id] = like;
    memset(&s->marks[id], 0, sizeof *s->marks);
    s->marks[id].producer = -1;
    ++p->tensor_count;
    return id;
}

/* A whole arena tensor of rows x cols for each sample. */
static int32_t alo_plan_arena(alo_planner *s, int rows, int cols)
{
    alo_tensor t;
    memset(&t, 0, sizeof t);
    t.segment = ALO_ARENA;
    t.flags = ALO_PER_SAMPLE;
    t.rows = rows;
    t.cols = t.ld = cols;
    t.info = -1;
    return alo_plan_tensor(s, t);
}

static alo_op *alo_push_op(alo_planner *s, alo_op **list, int *count, int *room,
                           const alo_op *op)
{
    alo_op *wider = s->failed ? NULL
                              : (alo_op *)alo_grow(s->ctx, *list, *count, room, sizeof *op);
    if (!wider) {
        s->failed = true;
        return NULL;
    }
    *list = wider;
    wider[*count] = *op;
    return &wider[(*count)++];
}

static void alo_back(alo_planner *s, const alo_op *op)
{
    alo_push_op(s, &s->backward, &s->backward_count, &s->backward_room, op);
}

static int32_t alo_root(const alo_planner *s, int32_t t)
{
    return s->p->tensors[t].root;
}

static bool alo_needs(const alo_planner *s, int32_t t)
{
    return t && s->marks[alo_root(s, t)].need;
}

static bool alo_is_whole(const alo_planner *s, int32_t t)
{
    return !(s->p->tensors[t].flags & ALO_VIEW);
}

static bool alo_same_extent(const alo_planner *s, int32_t a, int32_t b)
{
    const alo_tensor *x = &s->p->tensors[a], *y = &s->p->tensors[b];
    return x->rows == y->rows && x->cols == y->cols &&
           (x->flags & ALO_PER_SAMPLE) == (y->flags & ALO_PER_SAMPLE);
}

/* ---- Pass 1: reach. Masks vanish where nothing is trained. ---- */

static int32_t alo_twin(alo_planner *s, int32_t t)
{
    int32_t root = alo_root(s, t), twin = s->marks[root].twin;
    alo_tensor view;
    if (!t || !twin) return t;
    if (root == t) return twin;
    if (s->marks[t].twin) return s->marks[t].twin;
    view = s->p->tensors[t];
    view.root = alo_root(s, twin);
    view.column += s->p->tensors[twin].column;
    twin = alo_plan_tensor(s, view);
    s->marks[t].twin = twin;
    return twin;
}

static void alo_pass_reach(alo_planner *s)
{
    const alore_model *m = s->m;
    for (int i = m->op_count - 1; i >= 0; --i) {
        const alo_op *op = &m->ops[i];
        bool wanted = false;
        for (int k = 0; k < ALO_OUT; ++k)
            if (op->out[k] && (s->marks[op->out[k]].wanted ||
                               m->tensors[op->out[k]].flags & ALO_OUTPUT))
                wanted = true;
        if (!wanted) continue;
        s->marks[op->out[0]].wanted = true;
        for (int k = 0; k < ALO_IN; ++k)
            if (op->in[k]) s->marks[m->tensors[op->in[k]].root].wanted = true;
    }
    for (int once = 1; once >= 0; --once) {
        for (int i = 0; i < m->op_count; ++i) {
            alo_op op = m->ops[i];
            bool mask = op.code == ALO_K_dropout || op.code == ALO_K_drop_path;
            const alo_tensor *y = &m->tensors[op.out[0]];
            if (!s->marks[op.out[0]].wanted) continue;
            if ((y->flags & ALO_PER_SAMPLE ? 0 : 1) != once) continue;
            for (int k = 0; k < ALO_IN; ++k) op.in[k] = alo_twin(s, op.in[k]);
            if (mask && !s->p->opts.train) {
                if (!(y->flags & ALO_OUTPUT)) {
                    s->marks[op.out[0]].twin = op.in[0];
                    continue;
                }
                op.code = ALO_K_scale;
                op.attr = 1;
            }
            for (int k = 0; k < ALO_OUT; ++k) {
                alo_tensor *out = &s->p->tensors[op.out[k]];
                if (!op.out[k]) continue;
                s->marks[op.out[k]].producer = s->forward_count;
                out->segment = once ? ALO_ONCE
                               : out->flags & ALO_OUTPUT ? ALO_IO
                                                         : ALO_ARENA;
            }
            alo_push_op(s, &s->forward, &s->forward_count, &s->forward_room, &op);
        }
        if (once) s->once_count = s->forward_count;
    }
}

/* ---- Pass 2 and 3: need and pieces ---- */

static void alo_pass_need(alo_planner *s)
{
    for (int t = 1; t < s->p->tensor_count; ++t)
        s->marks[t].need = (s->p->tensors[t].flags & ALO_LEARNS) != 0;
    for (int i = 0; i < s->forward_count; ++i) {
        bool need = false;
        for (int k = 0; k < ALO_IN; ++k) need = need || alo_needs(s, s->forward[i].in[k]);
        s->marks[s->forward[i].out[0]].need = need;
    }
}

/* Write columns first .. end-1 of gradient g: are they written already? Where only a
 * part is, the rest is cleared, so that adding is right. */
static bool alo_covered(alo_planner *s, int32_t g, int first, int end, const alo_op *at)
{
    int have = 0;
    alo_cover *wider;
    for (int i = 0; i < s->cover_count; ++i) {
        const alo_cover *c = &s->covers[i];
        int a = c->first > first ? c->first : first, b = c->end < end ? c->end : end;
        if (c->tensor == g && a < b) have += b - a;
    }
    if (have == end - first) return true;
    if (have) {
        for (int x = first; x < end;) { /* clear the gaps one by one */
            int stop = end;
            bool inside = false;
            alo_op zero;
            alo_tensor view = s->p->tensors[g];
            for (int i = 0; i < s->cover_count; ++i) {
                const alo_cover *c = &s->covers[i];
                if (c->tensor != g) continue;
                if (c->first <= x && c->end > x) {
                    inside = true;
                    stop = c->end;
                    break;
                }
                if (c->first > x && c->first < stop) stop = c->first;
            }
            if (!inside) {
                memset(&zero, 0, sizeof zero);
                zero.code = ALO_K_zero;
                zero.site = at->site;
                zero.block = at->block;
                view.root = g;
                view.flags |= ALO_VIEW;
                view.column = x;
                view.cols = stop - x;
                zero.out[0] = alo_plan_tensor(s, view);
                alo_back(s, &zero);
            }
            x = stop;
        }
    }
    wider = (alo_cover *)alo_grow(s->ctx, s->covers, s->cover_count, &s->cover_room,
                                  sizeof *wider);
    if (!wider) {
        s->failed = true;
        return false;
    }
    s->covers = wider;
    s->covers[s->cover_count].tensor = g;
    s->covers[s->cover_count].first = first;
    s->covers[s->cover_count++].end = end;
    return have > 0;
}

/* Does a gradient that is still to be read share g's storage with `t`'s? */
static bool alo_shared(const alo_planner *s, int32_t g, int32_t t, int now)
{
    for (int i = 1; i < s->p->tensor_count; ++i)
        if (i != t && s->marks[i].grad == g && s->marks[i].producer >= 0 &&
            s->marks[i].producer <= now)
            return true;
    return false;
}

/* The gradient that a piece of op `now` writes for operand t, and whether it adds. */
static int32_t alo_grad_target(alo_planner *s, int32_t t, int now, bool *add)
{
    int32_t root = alo_root(s, t), g = s->marks[root].grad;
    alo_tensor of = s->p->tensors[root], view = s->p->tensors[t];
    const alo_op *op = &s->forward[now];
    if (!g) {
        bool sum = of.segment == ALO_PARAM || of.segment == ALO_ONCE;
        of.segment = sum ? ALO_GRAD : ALO_ARENA;
        if (sum && s->p->tensors[root].segment == ALO_ONCE) {
            of.offset = s->p->grads;
            s->p->grads += alo_zu(of.rows) * alo_zu(of.cols);
        }
        of.name = 0;
        g = alo_plan_tensor(s, of);
        s->marks[root].grad = g;
    } else if (of.segment != ALO_PARAM && of.segment != ALO_ONCE &&
               alo_shared(s, g, root, now)) {
        alo_op copy;
        int32_t own = alo_plan_arena(s, of.rows, of.cols);
        memset(&copy, 0, sizeof copy);
        copy.code = ALO_K_copy;
        copy.site = op->site;
        copy.block = op->block;
        copy.in[0] = g;
        copy.out[0] = own;
        alo_back(s, &copy);
        (void)alo_covered(s, own, 0, of.cols, op);
        s->marks[root].grad = g = own;
    }
    if (s->failed) return 0;
    if (s->p->tensors[g].segment == ALO_GRAD)
        *add = true;
    else if (view.flags & ALO_VIEW && !(view.flags & ALO_RESHAPED))
        *add = alo_covered(s, g, view.column, view.column + view.cols, op);
    else
        *add = alo_covered(s, g, 0, s->p->tensors[g].cols, op);
    if (!(view.flags & ALO_VIEW)) return g;
    view.segment = s->p->tensors[g].segment;
    view.root = g;
    view.name = 0;
    view.info = -1;
    return alo_plan_tensor(s, view);
}

/* Pieces that only pass the gradient on become an alias: a's gradient is y's. */
static bool alo_alias(alo_planner *s, int32_t a, int32_t y, int32_t g)
{
    if (s->p->opts.off & ALORE_NO_ALIAS || !alo_is_whole(s, a) || s->marks[a].grad ||
        s->p->tensors[a].segment != ALO_ARENA || !alo_same_extent(s, a, y) ||
        s->p->tensors[g].segment != ALO_ARENA)
        return false;
    s->marks[a].grad = g;
    return true;
}

/* Shape of what kron_mix hands on: t is dZ [rows, Q n r], u is dT [rows, P n r]. */
static int32_t alo_handed(alo_planner *s, const alo_op *op, char letter)
{
    const alo_attr *a = &s->p->attrs[op->attr];
    int32_t y = op->out[0];
    int cols = (letter == 't' ? a->p : a->m) * a->n * a->q;
    int32_t id;
    if (s->p->tensors[y].flags & ALO_PER_SAMPLE)
        return alo_plan_arena(s, s->p->tensors[y].rows, cols);
    id = alo_plan_arena(s, s->p->tensors[y].rows, cols);
    if (id) {
        s->p->tensors[id].flags = 0;
        s->p->tensors[id].segment = ALO_ONCE;
    }
    return id;
}

static bool alo_piece_wanted(const alo_planner *s, const alo_op *op, int code)
{
    for (const char *w = alo_kernel_rows[code].writes; *w; ++w)
        if (*w >= 'A' && *w <= 'F' && alo_needs(s, op->in[*w - 'A'])) return true;
    return false;
}

static bool alo_is_piece(int code)
{
    const char *w = alo_kernel_rows[code].writes;
    return code < ALO_K_COUNT && *w && *w != 'y';
}

/* Emit one piece of forward op `now`, whose output's gradient is g. */
static void alo_emit_piece(alo_planner *s, int now, int code, int32_t g,
                           const int32_t handed[2])
{
    alo_op op = s->forward[now], piece = op;
    const char *w;
    int k = 0;
    memset(piece.in, 0, sizeof piece.in);
    memset(piece.out, 0, sizeof piece.out);
    piece.code = (uint16_t)code;
    piece.flags = 0;
    for (w = alo_kernel_rows[code].reads; *w; ++w, ++k)
        piece.in[k] = *w == 'g'                ? g
                      : *w == 'y' || *w == 'z' ? op.out[*w - 'y']
                      : *w == 't' || *w == 'u' ? handed[*w - 't']
                                               : op.in[*w - 'a'];
    k = 0;
    for (w = alo_kernel_rows[code].writes; *w; ++w, ++k) {
        bool add = false;
        if (*w == 't' || *w == 'u')
            piece.out[k] = handed[*w - 't'];
        else if (alo_needs(s, op.in[*w - 'A'])) {
            piece.out[k] = alo_grad_target(s, op.in[*w - 'A'], now, &add);
            if (add) piece.flags |= (uint16_t)(ALO_ADD_0 << k);
        }
    }
    alo_back(s, &piece);
}

static void alo_emit_pieces(alo_planner *s, int now)
{
    alo_op op = s->forward[now];
    int32_t y = op.out[0], g = s->marks[y].grad, handed[2] = {0, 0};
    if (!g || !s->marks[y].need) return;
    if (s->p->tensors[g].segment == ALO_ARENA) /* what nobody wrote is zero */
        if (!alo_covered(s, g, 0, s->p->tensors[g].cols, &op)) return;
    for (int code = op.code + 1; alo_is_piece(code); ++code) {
        const char *writes = alo_kernel_rows[code].writes;
        bool aux = *writes == 't' || *writes == 'u';
        bool pass = op.code == ALO_K_add || code == ALO_K_add_columns_da;
        if (aux) {
            bool any = false;
            for (int later = code + 1; alo_is_piece(later); ++later)
                any = any || (strpbrk(alo_kernel_rows[later].reads, "tu") &&
                              alo_piece_wanted(s, &op, later));
            if (!any) continue;
            for (const char *w = writes; *w; ++w)
                handed[*w - 't'] = alo_handed(s, &op, *w);
        } else if (!alo_piece_wanted(s, &op, code))
            continue;
        if (pass && alo_alias(s, op.in[*writes - 'A'], y, g)) continue;
        alo_emit_piece(s, now, code, g, handed);
    }
}

static alore_status alo_pass_pieces(alo_planner *s)
{
    int32_t loss = 0;
    alo_op one;
    for (int t = 1; t < s->m->tensor_count; ++t)
        if (s->m->tensors[t].flags & ALO_OUTPUT &&
            !strcmp(alo_name(s->m, s->m->tensors[t].name), "loss"))
            loss = t;
    if (!loss)
        return alo_fail(s->ctx, ALORE_ERR_ORDER, NULL,
                        "a plan for training asks for an output named loss");
    if (s->p->tensors[loss].rows != 1 || s->p->tensors[loss].cols != 1)
        return alo_fail(s->ctx, ALORE_ERR_SHAPE, NULL, "the loss is %d x %d, not one number",
                        s->p->tensors[loss].rows, s->p->tensors[loss].cols);
    alo_pass_need(s);
    if (!s->marks[loss].need)
        return alo_fail(s->ctx, ALORE_ERR_ORDER, NULL,
                        "nothing learns: no rule reaches the loss");
    memset(&one, 0, sizeof one);
    one.code = ALO_K_zero;
    one.attr = 1; /* fills with one */
    one.site = one.block = -1;
    one.out[0] = s->marks[loss].grad = alo_plan_arena(s, 1, 1);
    alo_back(s, &one);
    (void)alo_covered(s, one.out[0], 0, 1, &one);
    for (int i = s->forward_count - 1; i >= 0 && !s->failed; --i) {
        if (i == s->once_count - 1) s->after = s->backward_count;
        alo_emit_pieces(s, i);
    }
    if (!s->once_count) s->after = s->backward_count;
    return ALORE_OK;
}

/* ---- Pass 4: recompute. The order of execution falls out of it. ---- */

static void alo_final(alo_planner *s, const alo_op *op)
{
    alo_push_op(s, &s->p->ops, &s->p->op_count, &s->p->op_room, op);
}

/* Mark, by `wanted`, what block b must make again for its backward; what somebody
 * outside the block reads is kept anyway. */
static void alo_mark_block(alo_planner *s, int b)
{
    alo_mark *marks = s->marks;
    for (int t = 0; t < s->p->tensor_count; ++t) {
        marks[t].wanted = false;
        marks[t].twin = 0;
        marks[t].reads = 0; /* here: kept */
    }
    for (int i = 0; i < s->forward_count + s->backward_count; ++i) {
        const alo_op *op = i < s->forward_count ? &s->forward[i]
                                                : &s->backward[i - s->forward_count];
        for (int k = 0; k < ALO_IN; ++k) {
            int32_t root = alo_root(s, op->in[k]);
            if (!op->in[k] || marks[root].producer < s->once_count) continue;
            if (s->forward[marks[root].producer].block != b) continue;
            if (op->block != b)
                marks[root].reads = 1;
            else if (i >= s->forward_count)
                marks[root].wanted = true;
        }
    }
    for (int i = s->forward_count - 1; i >= s->once_count; --i) {
        const alo_op *op = &s->forward[i];
        bool again = false;
        if (op->block != b) continue;
        for (int k = 0; k < ALO_OUT; ++k) {
            int32_t t = op->out[k];
            if (t && (marks[t].reads || s->p->tensors[t].segment == ALO_IO))
                marks[t].wanted = false;
            again = again || (t && marks[t].wanted);
        }
        marks[op->out[0]].wanted = again || marks[op->out[0]].wanted;
        if (!again) continue;
        for (int k = 0; k < ALO_IN; ++k) {
            int32_t root = alo_root(s, op->in[k]);
            if (op->in[k] && marks[root].producer >= s->once_count &&
                s->forward[marks[root].producer].block == b)
                marks[root].wanted = true;
        }
    }
}

/* The forward of block b again, into new tensors. */
static void alo_again(alo_planner *s, int b)
{
    alo_mark_block(s, b);
    for (int i = s->once_count; i < s->forward_count && !s->failed; ++i) {
        alo_op op = s->forward[i];
        bool again = false;
        if (op.block != b) continue;
        for (int k = 0; k < ALO_OUT; ++k)
            again = again || (op.out[k] && s->marks[op.out[k]].wanted);
        if (!again) continue;
        for (int k = 0; k < ALO_IN; ++k) op.in[k] = alo_twin(s, op.in[k]);
        for (int k = 0; k < ALO_OUT; ++k) {
            alo_tensor like = s->p->tensors[op.out[k]];
            int32_t old = op.out[k];
            if (!old) continue;
            like.segment = ALO_ARENA;
            op.out[k] = alo_plan_tensor(s, like);
            /* a second output of a kept tensor's op is only scratch */
            if (!s->marks[old].reads && s->p->tensors[old].segment != ALO_IO)
                s->marks[old].twin = op.out[k];
        }
        alo_final(s, &op);
    }
}

static void alo_pass_order(alo_planner *s)
{
    alore_plan *p = s->p;
    int doing = -1;
    for (int i = 0; i < s->forward_count; ++i) {
        if (i == s->once_count) p->once = p->op_count;
        alo_final(s, &s->forward[i]);
    }
    if (s->forward_count == s->once_count) p->once = p->op_count;
    p->forward = p->op_count;
    for (int i = 0; i < s->backward_count && !s->failed; ++i) {
        alo_op op = s->backward[i];
        if (i == s->after) p->backward = p->op_count;
        if (i < s->after && op.block >= 0 && op.block < s->recompute) {
            if (op.block != doing) alo_again(s, op.block);
            doing = op.block;
            for (int k = 0; k < ALO_IN; ++k) op.in[k] = alo_twin(s, op.in[k]);
        }
        alo_final(s, &op);
    }
    if (s->after >= s->backward_count) p->backward = p->op_count;
}

/* ---- Pass 5: fuse ---- */

/* Is record i one of a sample's, forward or backward? */
static bool alo_of_sample(const alore_plan *p, int i)
{
    return i >= p->once && i < p->backward;
}

/* The record before which `t` is complete: one past its writer, 0 for inputs. */
static int alo_written(const alore_plan *p, int32_t t, int before)
{
    for (int i = before - 1; i >= 0; --i)
        for (int k = 0; k < ALO_OUT; ++k)
            if (p->ops[i].out[k] && p->tensors[p->ops[i].out[k]].root == p->tensors[t].root)
                return i + 1;
    return 0;
}

/* Join record i (a product or a drop path) with the add or activation at j. */
static bool alo_fuse_pair(alo_planner *s, int i, int j)
{
    alore_plan *p = s->p;
    alo_op *a = &p->ops[i], *b = &p->ops[j];
    int slot = a->code == ALO_K_matmul ? 3 : 1;
    int32_t y = a->out[0], other;
    if (!alo_same_extent(s, y, b->out[0])) return false;
    if (a->code == ALO_K_matmul && b->code == ALO_K_unary && !p->opts.train && !a->in[3] &&
        !p->attrs[a->attr].p) {
        p->attrs[a->attr].p = 1 + p->attrs[b->attr].n;
        a->out[0] = b->out[0];
        return true;
    }
    if (b->code != ALO_K_add || a->in[slot]) return false;
    other = b->in[0] == y ? b->in[1] : b->in[0];
    if (other == y || !alo_same_extent(s, other, y) || alo_written(p, other, j) > i)
        return false;
    a->in[slot] = other;
    a->out[0] = b->out[0];
    return true;
}

static void alo_pass_fuse(alo_planner *s)
{
    alore_plan *p = s->p;
    int kept = 0, end[3] = {p->once, p->forward, p->backward};
    if (p->opts.off & ALORE_NO_FUSE) return;
    for (int t = 0; t < p->tensor_count; ++t) s->marks[t].reads = 0;
    for (int i = 0; i < p->op_count; ++i)
        for (int k = 0; k < ALO_IN; ++k)
            if (p->ops[i].in[k]) ++s->marks[alo_root(s, p->ops[i].in[k])].reads;
    for (int i = p->once; i < p->backward; ++i) {
        int code = p->ops[i].code;
        int32_t y = p->ops[i].out[0];
        if (code != ALO_K_matmul && code != ALO_K_drop_path) continue;
        if (s->marks[y].reads != 1 || p->tensors[y].segment != ALO_ARENA) continue;
        for (int j = i + 1; j < p->backward; ++j) {
            bool reads = false;
            for (int k = 0; k < ALO_IN; ++k)
                reads = reads || (p->ops[j].in[k] && alo_root(s, p->ops[j].in[k]) == y);
            if (!reads) continue;
            if (alo_of_sample(p, j) && (p->ops[j].in[0] == y || p->ops[j].in[1] == y) &&
                alo_fuse_pair(s, i, j)) {
                p->ops[j].code = ALO_K_COUNT; /* gone */
                --i;                          /* the same record may fuse again */
            }
            break;
        }
    }
    for (int i = 0; i < p->op_count; ++i) {
        if (i == end[0]) p->once = kept;
        if (i == end[1]) p->forward = kept;
        if (i == end[2]) p->backward = kept;
        if (p->ops[i].code != ALO_K_COUNT) p->ops[kept++] = p->ops[i];
    }
    if (end[0] == p->op_count) p->once = kept;
    if (end[1] == p->op_count) p->forward = kept;
    if (end[2] == p->op_count) p->backward = kept;
    p->op_count = kept;
}

/* ---- Pass 6 and 7: live ranges, in place ---- */

static size_t alo_tensor_bytes(const alore_plan *p, const alo_tensor *t)
{
    size_t each = t->dtype == ALORE_U8 ? 1 : t->dtype == ALORE_I32 ? 4 : p->real;
    return alo_mul(alo_mul(alo_zu(t->rows), alo_zu(t->cols)), each);
}

static void alo_pass_live(alo_planner *s)
{
    alore_plan *p = s->p;
    for (int t = 0; t < p->tensor_count; ++t) {
        s->marks[t].first = s->marks[t].last = -1;
        s->marks[t].store = t;
    }
    for (int i = p->once; i < p->backward; ++i)
        for (int k = 0; k < ALO_OPERANDS; ++k) {
            int32_t t = k < ALO_IN ? p->ops[i].in[k] : p->ops[i].out[k - ALO_IN];
            alo_mark *mark = &s->marks[alo_root(s, t)];
            if (!t) continue;
            if (mark->first < 0) mark->first = i;
            mark->last = i;
        }
}

/* May output 0 of record i lie where its input k dies? */
static bool alo_may_overwrite(const alo_planner *s, int i, int k)
{
    const alore_plan *p = s->p;
    const alo_op *op = &p->ops[i];
    int32_t y = op->out[0], x = op->in[k];
    const alo_mark *mark = &s->marks[x];
    if (!x || !alo_is_whole(s, x) || !alo_is_whole(s, y)) return false;
    if (p->tensors[x].segment != ALO_ARENA || p->tensors[y].segment != ALO_ARENA)
        return false;
    if (!alo_same_extent(s, x, y) || mark->last != i || s->marks[y].first != i) return false;
    for (int o = 0; o < ALO_OPERANDS; ++o) {
        int32_t t = o < ALO_IN ? op->in[o] : op->out[o - ALO_IN];
        if (o != k && o != ALO_IN && t && s->marks[alo_root(s, t)].store == mark->store)
            return false;
    }
    return true;
}

static void alo_pass_in_place(alo_planner *s)
{
    alore_plan *p = s->p;
    if (p->opts.off & ALORE_NO_INPLACE) return;
    for (int i = p->once; i < p->backward; ++i) {
        const alo_op *op = &p->ops[i];
        const alo_kernel_row *row = &alo_kernel_rows[op->code];
        for (const char *w = row->over; *w; ++w) {
            const char *at = strchr(row->reads, *w);
            int k = (int)(at - row->reads);
            if (!alo_may_overwrite(s, i, k)) continue;
            s->marks[op->out[0]].store = s->marks[op->in[k]].store;
            break;
        }
    }
}

/* ---- Pass 8: place, greedy by size ---- */

typedef struct alo_hole {      /* a storage: the union of lives that share it       */
    int32_t tensor;
    int     first, last;
    size_t  bytes, offset;
} alo_hole;

static bool alo_before(const alo_hole *a, const alo_hole *b)
{
    if (a->bytes != b->bytes) return a->bytes > b->bytes;
    return a->first != b->first ? a->first < b->first : a->tensor < b->tensor;
}

/* Shell sort: no recursion, no library, the same order everywhere. */
static void alo_sort_holes(alo_hole *h, int count)
{
    for (int gap = count / 2; gap > 0; gap /= 2)
        for (int i = gap; i < count; ++i) {
            alo_hole x = h[i];
            int j = i;
            for (; j >= gap && alo_before(&x, &h[j - gap]); j -= gap) h[j] = h[j - gap];
            h[j] = x;
        }
}

/* The lowest address that is free during the life of hole i; those before it have
 * theirs. */
static size_t alo_fit(const alo_hole *h, int i, bool reuse)
{
    size_t at = 0;
    bool moved = true;
    while (moved) {
        moved = false;
        for (int j = 0; j < i; ++j) {
            bool meet = !reuse || (h[j].first <= h[i].last && h[i].first <= h[j].last);
            if (meet && at < h[j].offset + h[j].bytes && h[j].offset < at + h[i].bytes) {
                at = h[j].offset + h[j].bytes;
                moved = true;
            }
        }
    }
    return at;
}

static void alo_operands(const alore_plan *p, const alo_op *op, const alo_tensor **t)
{
    for (int k = 0; k < ALO_OPERANDS; ++k) {
        int32_t id = k < ALO_IN ? op->in[k] : op->out[k - ALO_IN];
        t[k] = id ? &p->tensors[id] : NULL;
    }
}

/* Bytes that record i wants for itself. */
static size_t alo_record_scratch(const alore_plan *p, int i)
{
    const alo_tensor *t[ALO_OPERANDS];
    alo_operands(p, &p->ops[i], t);
    return alo_align(alo_scratch_bytes(p->ops[i].code, t, &p->attrs[p->ops[i].attr],
                                       p->opts.span, p->real),
                     alo_zu(p->opts.align));
}

static void alo_pass_place(alo_planner *s)
{
    alore_plan *p = s->p;
    size_t align = alo_zu(p->opts.align), peak = 0, bound = 0;
    size_t span = alo_zu(p->opts.span);
    size_t room = alo_zu(p->tensor_count + p->op_count) * sizeof(alo_hole);
    alo_hole *h = (alo_hole *)alo_new(s->ctx, room);
    int count = 0;
    p->scratch_at = (size_t *)alo_new(s->ctx, alo_zu(p->op_count + 1) * sizeof(size_t));
    if (!h || !p->scratch_at) {
        alo_free(s->ctx, h, room);
        s->failed = true;
        return;
    }
    for (int t = 1; t < p->tensor_count; ++t) { /* marks[root].twin: its hole + 1 */
        alo_mark *mark = &s->marks[t];
        mark->twin = 0;
        if (mark->first < 0 || !alo_is_whole(s, t) || p->tensors[t].segment != ALO_ARENA ||
            mark->store != t)
            continue;
        h[count].tensor = t;
        h[count].first = mark->first;
        h[count].last = mark->last;
        h[count++].bytes = alo_align(
            alo_mul(alo_tensor_bytes(p, &p->tensors[t]), span), align);
    }
    for (int i = 0; i < count; ++i) s->marks[h[i].tensor].twin = i + 1;
    for (int i = 0; i < p->op_count; ++i) { /* a record's scratch lives with it */
        h[count].bytes = alo_record_scratch(p, i);
        if (h[count].bytes > p->memory.scratch) p->memory.scratch = h[count].bytes;
        h[count].tensor = -i;
        h[count].first = h[count].last = i;
        if (!alo_of_sample(p, i)) h[count].first = 0, h[count].last = p->op_count;
        if (h[count].bytes) ++count;
    }
    for (int t = 1; t < p->tensor_count; ++t) {
        const alo_mark *mark = &s->marks[t];
        alo_hole *hole;
        if (mark->first < 0 || mark->store == t || !alo_is_whole(s, t)) continue;
        hole = &h[s->marks[mark->store].twin - 1];
        if (mark->first < hole->first) hole->first = mark->first;
        if (mark->last > hole->last) hole->last = mark->last;
    }
    alo_sort_holes(h, count);
    for (int i = 0; i < count; ++i) {
        h[i].offset = alo_fit(h, i, !(p->opts.off & ALORE_NO_REUSE));
        if (h[i].bytes > SIZE_MAX - h[i].offset) h[i].bytes = SIZE_MAX - h[i].offset;
        if (h[i].offset + h[i].bytes > peak) peak = h[i].offset + h[i].bytes;
        if (h[i].tensor <= 0) {
            p->scratch_at[-h[i].tensor] = h[i].offset;
            continue;
        }
        p->tensors[h[i].tensor].offset = h[i].offset;
        s->marks[h[i].tensor].last = h[i].last;
    }
    for (int i = p->once; i < p->backward; ++i) {
        size_t live = 0;
        for (int k = 0; k < count; ++k)
            if (h[k].first <= i && i <= h[k].last) live = alo_sum(live, h[k].bytes);
        if (live > bound) bound = live;
    }
    for (int t = 1; t < p->tensor_count; ++t)
        if (alo_is_whole(s, t) && s->marks[t].store != t)
            p->tensors[t].offset = p->tensors[s->marks[t].store].offset;
    p->memory.activations = peak;
    p->memory.live_bound = bound;
    alo_free(s->ctx, h, room);
}

/* ---- Pass 9: report ---- */

static void alo_pass_report(alo_planner *s)
{
    alore_plan *p = s->p;
    alore_memory *mem = &p->memory;
    size_t align = alo_zu(p->opts.align), slots = alo_zu(p->slots), at = 0, io = 0;
    size_t moments = !p->opts.train || p->opts.optimizer == ALORE_SGD ? 0
                     : p->opts.optimizer == ALORE_MOMENTUM            ? 1
                                                                      : 2;
    for (int i = 0; i < p->op_count; ++i) {
        const alo_tensor *t[ALO_OPERANDS];
        alo_operands(p, &p->ops[i], t);
        if (alo_of_sample(p, i)) p->flops += alo_cost(p->ops[i].code, t, &p->attrs[p->ops[i].attr]);
    }
    p->lane = mem->activations;
    for (int t = 1; t < p->tensor_count; ++t) {
        alo_tensor *x = &p->tensors[t];
        size_t bytes = alo_tensor_bytes(p, x);
        if (x->flags & ALO_VIEW) continue;
        if (x->segment == ALO_ONCE) {
            x->offset = mem->once;
            mem->once = alo_align(alo_sum(mem->once, bytes), align);
        }
        if (x->segment == ALO_IO) {
            x->offset = io;
            io = alo_align(alo_sum(io, alo_mul(bytes, alo_zu(p->opts.batch))), align);
        }
    }
    mem->io = io;
    for (int i = 0; i < p->param_count; ++i)
        if (p->params[i].segment == ALO_BASE)
            mem->base = alo_sum(mem->base, alo_mul(alo_count(p->params[i].shape), p->real));
    mem->params = alo_mul(p->learns, p->real);
    mem->frozen = alo_mul(p->frozen, p->real);
    mem->optimizer = alo_mul(mem->params, moments);
    mem->grads = p->opts.train ? alo_mul(alo_mul(p->grads, p->real), slots) : 0;
    mem->arena = alo_mul(p->lane, alo_zu(p->opts.lanes));
    at = alo_align(alo_mul(alo_zu(p->param_count), sizeof(void *)), align);
    p->at_params = at;
    at = alo_align(alo_sum(at, mem->params), align);
    p->at_frozen = at;
    at = alo_align(alo_sum(at, mem->frozen), align);
    p->at_moments = at;
    at = alo_align(alo_sum(at, mem->optimizer), align);
    p->at_once = at;
    at = alo_align(alo_sum(at, mem->once), align);
    p->at_grads = at;
    at = alo_align(alo_sum(at, mem->grads), align);
    p->at_io = at;
    at = alo_align(alo_sum(at, mem->io), align);
    p->at_arena = at;
    mem->total = alo_sum(at, mem->arena);
}

/* For the poison mode: which storages die after which record. */
static void alo_pass_deaths(alo_planner *s)
{
    alore_plan *p = s->p;
    int count = 0;
    p->dies = (int32_t *)alo_new(s->ctx, alo_zu(p->tensor_count + 1) * sizeof *p->dies);
    p->dies_at = (int32_t *)alo_new(s->ctx, alo_zu(p->op_count + 1) * sizeof *p->dies_at);
    if (!p->dies || !p->dies_at) {
        s->failed = true;
        return;
    }
    for (int i = 0; i < p->op_count; ++i) {
        p->dies_at[i] = count;
        if (!alo_of_sample(p, i)) continue;
        for (int t = 1; t < p->tensor_count; ++t)
            if (s->marks[t].last == i && s->marks[t].store == t && alo_is_whole(s, t) &&
                p->tensors[t].segment == ALO_ARENA)
                p->dies[count++] = t;
    }
    p->dies_at[p->op_count] = count;
}

/* ---- The whole ---- */

static void alo_plan_free(alo_object *o)
{
    alore_plan *p = (alore_plan *)o;
    alore_ctx *ctx = o->ctx;
    for (int i = 0; i < p->table_count; ++i)
        alo_free(ctx, p->tables[i].data, p->tables[i].bytes);
    alo_free(ctx, p->tables, alo_zu(p->table_count) * sizeof *p->tables);
    alo_free(ctx, p->tensors, alo_zu(p->tensor_room) * sizeof *p->tensors);
    alo_free(ctx, p->ops, alo_zu(p->op_room) * sizeof *p->ops);
    alo_free(ctx, p->attrs, alo_zu(p->attr_count) * sizeof *p->attrs);
    alo_free(ctx, p->params, alo_zu(p->param_count) * sizeof *p->params);
    alo_free(ctx, p->site_names, alo_zu(p->site_count) * sizeof *p->site_names);
    alo_free(ctx, p->names, alo_zu(p->name_bytes));
    alo_free(ctx, p->dies, alo_zu(p->tensor_count + 1) * sizeof *p->dies);
    alo_free(ctx, p->dies_at, alo_zu(p->op_count + 1) * sizeof *p->dies_at);
    alo_free(ctx, p->scratch_at, alo_zu(p->op_count + 1) * sizeof *p->scratch_at);
    alo_object_free(o);
}

ALORE_API void alore_plan_destroy(alore_plan *p)
{
    if (p) alo_plan_free(&p->object);
}

static void *alo_copy(alo_planner *s, const void *data, size_t bytes)
{
    void *copy = alo_new(s->ctx, bytes);
    if (!copy)
        s->failed = true;
    else if (bytes)
        memcpy(copy, data, bytes);
    return copy;
}

/* What the plan takes over from the model, so that it outlives it. */
static void alo_take_over(alo_planner *s)
{
    const alore_model *m = s->m;
    alore_plan *p = s->p;
    p->attrs = (alo_attr *)alo_copy(s, m->attrs, alo_zu(m->attr_count) * sizeof *m->attrs);
    p->attr_count = m->attr_count;
    p->params = (alo_param *)alo_copy(s, m->params, alo_zu(m->param_count) * sizeof *m->params);
    p->param_count = m->param_count;
    p->names = (char *)alo_copy(s, m->names, alo_zu(m->name_bytes));
    p->name_bytes = m->name_bytes;
    p->site_names = (int32_t *)alo_new(s->ctx, alo_zu(m->site_count) * sizeof(int32_t));
    p->site_count = m->site_count;
    p->tables = (alo_block *)alo_new(s->ctx, alo_zu(m->table_count) * sizeof *p->tables);
    p->table_count = p->tables ? m->table_count : 0;
    s->failed = s->failed || !p->site_names || !p->tables;
    for (int i = 0; i < m->site_count && p->site_names; ++i)
        p->site_names[i] = m->sites[i].name;
    for (int i = 0; i < m->table_count && !s->failed; ++i) {
        p->tables[i].bytes = m->tables[i].bytes;
        p->tables[i].data = alo_copy(s, m->tables[i].data, m->tables[i].bytes);
        for (int a = 0; a < p->attr_count; ++a) {
            if (p->attrs[a].table == m->tables[i].data)
                p->attrs[a].table = (const int32_t *)p->tables[i].data;
            if (p->attrs[a].values == m->tables[i].data)
                p->attrs[a].values = (const float *)p->tables[i].data;
        }
    }
    p->rules = m->rules_text;
    p->backbone = m->backbone;
    for (int t = 0; t < m->tensor_count && !s->failed; ++t) {
        alo_tensor like = m->tensors[t];
        int32_t id = alo_plan_tensor(s, like);
        if (s->failed) break;
        p->tensors[id] = like;
    }
}

/* Offsets of parameters in their flat arrays, and the number of gradient slots. */
static void alo_lay_params(alo_planner *s)
{
    alore_plan *p = s->p;
    for (int i = 0; i < p->param_count; ++i) {
        const alo_param *q = &p->params[i];
        size_t *count = q->segment == ALO_PARAM ? &p->learns : &p->frozen;
        if (q->segment == ALO_BASE) {
            p->tensors[q->tensor].offset = alo_zu(i);
            continue;
        }
        p->tensors[q->tensor].offset = *count;
        *count = alo_sum(*count, alo_count(q->shape));
    }
    p->grads = p->learns;
}

static void alo_choose_slots(alore_plan *p)
{
    size_t bytes = alo_mul(p->grads ? p->grads : 1, p->real);
    int groups = (p->opts.batch + p->opts.span - 1) / p->opts.span;
    p->slots = 1;
    if (p->opts.train) {
        size_t fit = ALO_SLOT_LIMIT / bytes;
        p->slots = fit < 1 ? 1 : fit < ALO_MAX_SLOTS ? (int)fit : (int)ALO_MAX_SLOTS;
        if (p->slots > groups) p->slots = groups;
        groups = p->slots;
    }
    if (p->opts.lanes > groups) p->opts.lanes = groups;
}

/* One attempt with a number of recomputed blocks. */
static alore_status alo_plan_try(const alore_model *m, const alore_plan_opts *opts,
                                 int recompute, alore_plan **out)
{
    alore_ctx *ctx = alo_ctx(m);
    alore_status status = ALORE_OK;
    alo_planner state, *s = &state;
    *out = NULL;
    memset(s, 0, sizeof *s);
    s->m = m;
    s->ctx = ctx;
    s->recompute = recompute;
    s->p = (alore_plan *)alo_object_new(ctx, sizeof *s->p, alo_plan_free);
    if (!s->p) return ALORE_ERR_MEMORY;
    s->p->opts = *opts;
    s->p->real = opts->dtype == ALORE_F64 ? 8 : 4;
    alo_take_over(s);
    if (!s->failed) {
        alo_lay_params(s);
        alo_pass_reach(s);
        if (opts->train && !s->failed) status = alo_pass_pieces(s);
    }
    if (!s->failed && status == ALORE_OK) {
        alo_choose_slots(s->p);
        alo_pass_order(s);
    }
    if (!s->failed && status == ALORE_OK) {
        alo_pass_fuse(s);
        alo_pass_live(s);
        alo_pass_in_place(s);
        alo_pass_place(s);
    }
    if (!s->failed && status == ALORE_OK) {
        alo_pass_report(s);
        alo_pass_deaths(s);
    }
    alo_free(ctx, s->marks, alo_zu(s->mark_room) * sizeof *s->marks);
    alo_free(ctx, s->forward, alo_zu(s->forward_room) * sizeof *s->forward);
    alo_free(ctx, s->backward, alo_zu(s->backward_room) * sizeof *s->backward);
    alo_free(ctx, s->covers, alo_zu(s->cover_room) * sizeof *s->covers);
    if (s->failed) status = ALORE_ERR_MEMORY;
    if (status != ALORE_OK)
        alo_plan_free(&s->p->object);
    else
        *out = s->p;
    return status;
}

/* Kernels and inner products of the plan's level; UNSUPPORTED names the first op that
 * the backend lacks. */
static alore_status alo_choose_kernels(alore_ctx *ctx, alore_plan *p)
{
    const alore_backend *b = p->opts.backend;
    bool wide = p->opts.dtype == ALORE_F64;
#ifdef ALO_NO_F64
    if (wide)
        return alo_fail(ctx, ALORE_ERR_UNSUPPORTED, NULL,
                        "this build has no F64 kernels (ALORE_NO_SIMD or ALORE_NO_DOUBLE)");
    p->kernels = alo_table_f32;
    p->rows_fn = p->opts.reference ? &alo_rows_f32_reference : &alo_rows_f32;
#else
    p->kernels = wide ? alo_table_f64 : alo_table_f32;
    p->rows_fn = wide ? (const void *)&alo_rows_f64_reference
                 : p->opts.reference ? (const void *)&alo_rows_f32_reference
                                     : (const void *)&alo_rows_f32;
#endif
    if (b && b->count != ALO_K_COUNT)
        return alo_fail(ctx, ALORE_ERR_UNSUPPORTED, NULL,
                        "backend %s has %d kernels, this version %d", b->name, b->count,
                        (int)ALO_K_COUNT);
    if (b) p->kernels = b->kernels;
    for (int i = 0; i < p->op_count; ++i)
        if (!p->kernels[p->ops[i].code])
            return alo_fail(ctx, ALORE_ERR_UNSUPPORTED, NULL, "no kernel for %s",
                            alo_kernel_rows[p->ops[i].code].name);
    return ALORE_OK;
}

ALORE_API alore_status alore_plan_create(const alore_model *m, const alore_plan_opts *opts,
                                         alore_plan **out)
{
    alore_plan_opts o = ALORE_ZERO;
    alore_ctx *ctx = alo_ctx(m);
    alore_status status;
    int most = m->block_count > 1 ? m->block_count - 1 : 0, k = 0;
    if (opts) o = *opts;
    *out = NULL;
    if (!m->finished)
        return alo_fail(ctx, ALORE_ERR_ORDER, NULL, "the model is not finished");
    if (!o.batch) o.batch = 1;
    if (!o.lanes) o.lanes = 1;
    if (!o.span) o.span = 1;
    if (!o.align) o.align = 64;
    if (o.batch < 1 || o.lanes < 1 || o.span < 1 || o.batch > 1 << 20 || o.align < 16 ||
        o.align > 4096 || o.align & (o.align - 1) || o.span > o.batch ||
        (o.dtype != ALORE_F32 && o.dtype != ALORE_F64))
        return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL,
                        "a plan of batch %d, %d lanes, span %d, alignment %d", o.batch,
                        o.lanes, o.span, o.align);
    if (!o.train) o.recompute = ALORE_KEEP;
    if (o.recompute == ALORE_BLOCKS) k = most; /* the last block's forward just ran */
    for (;; ++k) {
        status = alo_plan_try(m, &o, k, out);
        if (status != ALORE_OK) return status;
        if (o.recompute != ALORE_TO_FIT || (*out)->memory.total <= o.limit) break;
        if (k >= most) {
            status = alo_fail(ctx, ALORE_ERR_CAPACITY, NULL,
                              "%z bytes are allowed, the least plan takes %z", o.limit,
                              (*out)->memory.total);
            break;
        }
        alo_plan_free(&(*out)->object);
    }
    if (status == ALORE_OK && (*out)->memory.total == SIZE_MAX)
        status = alo_fail(ctx, ALORE_ERR_SHAPE, NULL, "the plan exceeds the address space");
    if (status == ALORE_OK) status = alo_choose_kernels(ctx, *out);
    if (status != ALORE_OK) {
        alo_plan_free(&(*out)->object);
        *out = NULL;
    }
    return status;
}

ALORE_API alore_memory alore_plan_memory(const alore_plan *p)
{
    return p->memory;
}

ALORE_API double alore_plan_flops(const alore_plan *p)
{
    return p->flops;
}

ALORE_API int alore_plan_records(const alore_plan *p)
{
    return p->op_count;
}

ALORE_API size_t alore_trainable(const alore_plan *p)
{
    return p->learns;
}

/* Index in `params` of the n-th parameter, learning ones first; -1 past the end. */
static int alo_param_index(const alore_plan *p, int n)
{
    for (int pass = 0; pass < 2; ++pass)
        for (int i = 0; i < p->param_count; ++i)
            if (p->params[i].segment == (pass ? ALO_FROZEN : ALO_PARAM) && n-- == 0) return i;
    return -1;
}

ALORE_API int alore_param_count(const alore_plan *p)
{
    int n = 0;
    for (int i = 0; i < p->param_count; ++i) n += p->params[i].segment != ALO_BASE;
    return n;
}

ALORE_API alore_param_info alore_param_at(const alore_plan *p, int index)
{
    alore_param_info info = ALORE_ZERO;
    int i = alo_param_index(p, index);
    if (i < 0) return info;
    info.name = p->names + p->params[i].name;
    info.first = (size_t)p->tensors[p->params[i].tensor].offset;
    info.shape = p->params[i].shape;
    info.count = alo_count(info.shape);
    info.base = p->params[i].base;
    info.matrix = info.shape.rank > 1;
    info.frozen = p->params[i].segment == ALO_FROZEN;
    return info;
}

/* ---- Printing ---- */

/* A line of text to a writer hook. */
static bool alo_line(const alore_writer *w, const char *format, ...)
{
    char line[512];
    alo_text t = {line, sizeof line, 0};
    va_list args;
    va_start(args, format);
    alo_print_list(&t, format, args);
    va_end(args);
    return w->write(w->user, line, t.used < sizeof line ? t.used : sizeof line - 1);
}

static void alo_put_operand(alo_text *t, const alore_plan *p, int32_t id)
{
    static const char *const segments[] = {"?", "base", "param", "frozen", "grad", "once",
                                           "io", "arena"};
    const alo_tensor *x = &p->tensors[id];
    if (!id) {
        alo_print(t, " -");
        return;
    }
    alo_print(t, " %d:%dx%d@%s", (int)id, x->rows, x->cols, segments[x->segment]);
    if (x->flags & ALO_VIEW) alo_print(t, "(%d)", (int)x->root);
    if (x->segment != ALO_BASE) alo_print(t, "+%u", p->tensors[x->root].offset);
}

ALORE_API alore_status alore_plan_print(const alore_plan *p, const alore_writer *w)
{
    const alore_memory *mem = &p->memory;
    static const char *const phases[] = {"once", "forward", "backward", "after"};
    int ends[4];
    bool fine;
    ends[0] = p->once;
    ends[1] = p->forward;
    ends[2] = p->backward;
    ends[3] = p->op_count;
    fine = alo_line(w, "batch %d, lanes %d, span %d, slots %d, %d records, %z learn\n",
                    p->opts.batch, p->opts.lanes, p->opts.span, p->slots, p->op_count,
                    p->learns) &&
           alo_line(w, "bytes: base %z, params %z, frozen %z, grads %z, optimizer %z, once "
                       "%z, io %z, activations %z, scratch %z, arena %z, total %z\n",
                    mem->base, mem->params, mem->frozen, mem->grads, mem->optimizer,
                    mem->once, mem->io, mem->activations, mem->scratch, mem->arena,
                    mem->total);
    for (int i = 0, phase = 0; i < p->op_count && fine; ++i) {
        const alo_op *op = &p->ops[i];
        char text[400];
        alo_text t = {text, sizeof text, 0};
        while (phase < 3 && i >= ends[phase]) ++phase;
        alo_print(&t, "%d %s %s", i, phases[phase], alo_kernel_rows[op->code].name);
        for (int k = 0; k < (int)strlen(alo_kernel_rows[op->code].reads); ++k)
            alo_put_operand(&t, p, op->in[k]);
        alo_print(&t, " ->");
        for (int k = 0; k < ALO_OUT; ++k)
            if (op->out[k]) {
                alo_put_operand(&t, p, op->out[k]);
                if (op->flags >> k & 1u) alo_put(&t, "+=", 2);
            }
        if (op->site >= 0) alo_print(&t, " %s", p->names + p->site_names[op->site]);
        fine = alo_line(w, "%s\n", text);
    }
    return fine ? ALORE_OK
                : alo_fail(p->object.ctx, ALORE_ERR_IO, NULL, "the writer hook failed");
}

/* ============================================================================
 * >> 17 executor
 *
 * Resolve segment and offset to pointers, call the kernel, next record. A lane runs
 * one group of samples there and back in its own arena; the gradients of group i go
 * to slot i modulo the slots, and a slot's groups run in order on one lane, so sums
 * have one order whatever the number of lanes and threads.
 * ========================================================================== */

typedef struct alo_run_object {
    alo_object object;
    alore_run  run;
    size_t     bytes;
} alo_run_object;

static unsigned char *alo_segment(const alore_run *run, size_t at)
{
    return run->memory + at;
}

/* Where operand t of a record begins. */
static void *alo_resolve(const alore_run *run, int32_t t, int lane, int slot, int sample)
{
    const alore_plan *p = run->plan;
    const alo_tensor *x = &p->tensors[t], *root = &p->tensors[x->root];
    size_t at = (size_t)root->offset;
    unsigned char *base;
    switch (root->segment) {
    case ALO_BASE:
        memcpy(&base, run->memory + at * sizeof base, sizeof base);
        break;
    case ALO_PARAM:
        base = alo_segment(run, p->at_params) + at * p->real;
        break;
    case ALO_FROZEN:
        base = alo_segment(run, p->at_frozen) + at * p->real;
        break;
    case ALO_GRAD:
        base = alo_segment(run, p->at_grads) + (alo_zu(slot) * p->grads + at) * p->real;
        break;
    case ALO_ONCE:
        base = alo_segment(run, p->at_once) + at;
        break;
    case ALO_IO:
        base = alo_segment(run, p->at_io) + at + alo_zu(sample) * alo_tensor_bytes(p, root);
        break;
    default:
        base = alo_segment(run, p->at_arena) + alo_zu(lane) * p->lane + at;
        break;
    }
    return base + alo_zu(x->column) * p->real;
}

/* Run record i for `samples` samples from `sample` on. */
static void alo_record_run(const alore_run *run, int i, int lane, int slot, int sample,
                           int samples)
{
    const alore_plan *p = run->plan;
    const alo_op *op = &p->ops[i];
    alore_call c;
    memset(&c, 0, sizeof c);
    for (int k = 0; k < ALO_OPERANDS; ++k) {
        int32_t t = k < ALO_IN ? op->in[k] : op->out[k - ALO_IN];
        if (!t) continue;
        c.t[k] = &p->tensors[t];
        c.p[k] = alo_resolve(run, t, lane, slot, sample);
    }
    c.attr = &p->attrs[op->attr];
    c.rows_fn = p->rows_fn;
    c.scratch = alo_segment(run, p->at_arena) + alo_zu(lane) * p->lane + p->scratch_at[i];
    c.user = p->opts.backend ? p->opts.backend->user : NULL;
    c.seed = run->seed;
    c.step = run->step;
    c.sample = run->samples + (uint64_t)sample;
    c.samples = samples;
    c.flags = op->flags;
    p->kernels[op->code](&c, 0, 1);
}

/* Poison: what died at record i reads as NaN from now on. */
static void alo_bury(const alore_run *run, int i, int lane)
{
    const alore_plan *p = run->plan;
    for (int k = p->dies_at[i]; k < p->dies_at[i + 1]; ++k) {
        const alo_tensor *t = &p->tensors[p->dies[k]];
        memset(alo_resolve(run, p->dies[k], lane, 0, 0), 0xff,
               alo_tensor_bytes(p, t) * alo_zu(p->opts.span));
    }
}

typedef struct alo_pass {      /* one call of forward or backward, for all lanes    */
    const alore_run *run;
    int samples, end;          /* how many; one past the last record                */
} alo_pass;

static int alo_group_samples(const alore_plan *p, int group, int samples)
{
    int left = samples - group * p->opts.span;
    return left < p->opts.span ? left : p->opts.span;
}

static void alo_group_run(const alo_pass *pass, int group, int lane)
{
    const alore_run *run = pass->run;
    const alore_plan *p = run->plan;
    int count = alo_group_samples(p, group, pass->samples);
    if (run->poison)
        memset(alo_segment(run, p->at_arena) + alo_zu(lane) * p->lane, 0xff, p->lane);
    for (int i = p->once; i < pass->end; ++i) {
        alo_record_run(run, i, lane, group % p->slots, group * p->opts.span, count);
        if (run->poison) alo_bury(run, i, lane);
    }
}

/* Lane l takes slots l, l + lanes, ... and each slot's groups in order. */
static void alo_lane_run(void *arg, int lane)
{
    const alo_pass *pass = (const alo_pass *)arg;
    const alore_plan *p = pass->run->plan;
    int groups = (pass->samples + p->opts.span - 1) / p->opts.span;
    int stride = p->opts.train ? p->slots : p->opts.lanes;
    for (int first = lane; first < stride; first += p->opts.lanes)
        for (int group = first; group < groups; group += stride)
            alo_group_run(pass, group, lane);
}

/* Labels are checked here, so that the loss need not. */
static alore_status alo_check_labels(const alore_run *run, int samples)
{
    const alore_plan *p = run->plan;
    for (int i = p->once; i < p->forward; ++i) {
        const alo_op *op = &p->ops[i];
        const alo_tensor *t;
        int classes, rows;
        if (op->code != ALO_K_xent) continue;
        t = &p->tensors[op->in[1]];
        classes = p->tensors[op->in[0]].cols;
        rows = t->rows;
        for (int s = 0; s < samples * rows; ++s) {
            int32_t label;
            memcpy(&label, (unsigned char *)alo_resolve(run, op->in[1], 0, 0, 0) +
                               alo_zu(s) * sizeof label, sizeof label);
            if (label < 0 || label >= classes)
                return alo_fail(run->ctx, ALORE_ERR_ARGUMENT, NULL,
                                "item %d of the batch has label %d; there are %d classes",
                                s / rows, (int)label, classes);
        }
    }
    return ALORE_OK;
}

static alore_status alo_ready(alore_run *run, int *samples)
{
    if (!*samples) *samples = run->plan->opts.batch;
    if (*samples < 0 || *samples > run->plan->opts.batch)
        return alo_fail(run->ctx, ALORE_ERR_ARGUMENT, NULL,
                        "%d samples; the plan is for at most %d", *samples,
                        run->plan->opts.batch);
    return alo_check_labels(run, *samples);
}

static void alo_once_run(const alore_run *run)
{
    for (int i = 0; i < run->plan->once; ++i) alo_record_run(run, i, 0, 0, 0, 1);
}

static void *alo_grad_slot(const alore_run *run, int slot)
{
    return alo_segment(run, run->plan->at_grads) +
           alo_zu(slot) * run->plan->grads * run->plan->real;
}

/* Forget the gradients and the samples they came from. */
static void alo_forget(alore_run *run)
{
    memset(alo_grad_slot(run, 0), 0, run->plan->memory.grads);
    run->samples = 0;
}

/* A loss that is not a number stops here; its gradients are dropped. */
static alore_status alo_check_loss(alore_run *run, int samples)
{
    const float *loss = alore_run_output(run, "loss");
    for (int s = 0; s < samples && loss; ++s) {
        double v = run->plan->real == 8 ? ((const double *)(const void *)loss)[s]
                                        : (double)loss[s];
        if (!(v > -1e300 && v < 1e300)) {
            alo_forget(run);
            return alo_fail(run->ctx, ALORE_ERR_NONFINITE, NULL,
                            "the loss of item %d of the batch is not finite; nothing was "
                            "changed", s);
        }
    }
    return ALORE_OK;
}

static alore_status alo_pass_run(alore_run *run, int samples, bool back)
{
    alo_pass pass;
    alore_status s = alo_ready(run, &samples);
    if (s != ALORE_OK) return s;
    alo_once_run(run);
    pass.run = run;
    pass.samples = samples;
    pass.end = back ? run->plan->backward : run->plan->forward;
    alo_parallel(run->ctx, alo_lane_run, &pass, run->plan->opts.lanes);
    if (!back) return ALORE_OK;
    run->samples += (uint64_t)samples;
    return alo_check_loss(run, samples);
}

ALORE_API alore_status alore_forward(alore_run *run, int samples)
{
    return alo_pass_run(run, samples, false);
}

ALORE_API alore_status alore_backward(alore_run *run, int samples)
{
    if (!run->plan->opts.train)
        return alo_fail(run->ctx, ALORE_ERR_ORDER, NULL, "the plan is not for training");
    return alo_pass_run(run, samples, true);
}

ALORE_API alore_status alore_begin(alore_run *run, int phases, int samples)
{
    alore_status s;
    bool back = (phases & ALORE_BACKWARD) != 0;
    if (back && !run->plan->opts.train)
        return alo_fail(run->ctx, ALORE_ERR_ORDER, NULL, "the plan is not for training");
    s = alo_ready(run, &samples);
    if (s != ALORE_OK) return s;
    run->phases = back ? ALORE_FORWARD | ALORE_BACKWARD : ALORE_FORWARD;
    run->pending = samples;
    run->cursor_group = 0;
    run->cursor_record = 0;
    return ALORE_OK;
}

ALORE_API alore_status alore_advance(alore_run *run, int records, bool *done)
{
    const alore_plan *p = run->plan;
    bool back = (run->phases & ALORE_BACKWARD) != 0;
    int end = back ? p->backward : p->forward;
    int groups = (run->pending + p->opts.span - 1) / p->opts.span;
    *done = false;
    if (!run->phases)
        return alo_fail(run->ctx, ALORE_ERR_ORDER, NULL, "alore_begin comes first");
    for (; records > 0 && run->cursor_group < groups; --records) {
        int i = run->cursor_record++, g = run->cursor_group;
        if (i < p->once)
            alo_record_run(run, i, 0, 0, 0, 1);
        else if (i < end)
            alo_record_run(run, i, 0, g % p->slots, g * p->opts.span,
                           alo_group_samples(p, g, run->pending));
        if (run->cursor_record >= end) {
            run->cursor_record = p->once;
            ++run->cursor_group;
        }
    }
    if (run->cursor_group < groups) return ALORE_OK;
    *done = true;
    run->phases = 0;
    if (!back) return ALORE_OK;
    run->samples += (uint64_t)run->pending;
    return alo_check_loss(run, run->pending);
}

/* ---- Binding ---- */

static const alo_tensor *alo_named(const alore_run *run, const char *name, unsigned flag)
{
    const alore_plan *p = run->plan;
    for (int t = 1; t < p->tensor_count; ++t)
        if (p->tensors[t].flags & flag && !strcmp(p->names + p->tensors[t].name, name))
            return &p->tensors[t];
    return NULL;
}

ALORE_API void *alore_run_input(alore_run *run, const char *name)
{
    const alo_tensor *t = alo_named(run, name, ALO_INPUT);
    return t ? alo_segment(run, run->plan->at_io) + t->offset : NULL;
}

ALORE_API const float *alore_run_output(const alore_run *run, const char *name)
{
    const alo_tensor *t = alo_named(run, name, ALO_OUTPUT);
    if (!t) return NULL;
    return (const float *)(const void *)(alo_segment(run, run->plan->at_io) + t->offset);
}

/* The tensor of the file behind parameter i, its shape checked. An unfrozen head may
 * be missing or of another size: then *out is NULL and it starts anew. */
static alore_status alo_bind_one(const alore_run *run, int i, const alore_tensor **out)
{
    const alore_plan *p = run->plan;
    const alo_param *q = &p->params[i];
    const char *name = p->names + q->name;
    const alore_tensor *t = run->weights ? alore_weights_find(run->weights, name) : NULL;
    bool same = t && t->rank == q->shape.rank;
    bool head = q->segment == ALO_PARAM && !strncmp(name, "head.", 5);
    float probe;
    *out = t;
    for (int k = 0; same && k < t->rank; ++k)
        same = t->dims[k] == (uint64_t)q->shape.dims[k];
    if (head && !same) *out = NULL;
    if (head && !same) return ALORE_OK;
    if (!t) return alo_fail(run->ctx, ALORE_ERR_NAME, name, "the weights have no %s", name);
    if (!same) {
        char want[64], have[96];
        alo_text a = {want, sizeof want, 0}, b = {have, sizeof have, 0};
        alo_put_shape(&a, q->shape);
        for (int k = 0; k < t->rank; ++k)
            alo_print(&b, k ? ", %u" : "[%u", (uint64_t)t->dims[k]);
        alo_print(&b, t->rank ? "]" : "[]");
        return alo_fail(run->ctx, ALORE_ERR_SHAPE, name,
                        "%s: the network has %s, the file %s", name, want, have);
    }
    if (t->bytes && !alore_tensor_read(t, 0, 1, &probe))
        return alo_fail(run->ctx, ALORE_ERR_DTYPE, name, "%s: cannot compute with %s", name,
                        alore_dtype_name(t->dtype));
    return ALORE_OK;
}

/* Are the file's bytes what a kernel may read? */
static bool alo_borrowable(const alore_plan *p, const alore_tensor *t)
{
    const uint16_t one = 1;
    unsigned char low;
    memcpy(&low, &one, 1);
    return p->real == 4 && t->dtype == ALORE_F32 && low == 1 &&
           (uintptr_t)t->data % sizeof(float) == 0;
}

/* Read `count` numbers of a tensor as the plan's numbers; the index of the first that
 * is not finite, or -1. */
static int64_t alo_read_reals(const alore_plan *p, const alore_tensor *t, size_t count,
                              void *out)
{
    float part[256];
    int64_t bad = -1;
    for (size_t i = 0; i < count; i += 256) {
        size_t n = count - i < 256 ? count - i : 256;
        (void)alore_tensor_read(t, i, n, part);
        for (size_t k = 0; k < n; ++k) {
            uint32_t bits;
            memcpy(&bits, &part[k], sizeof bits);
            if (bad < 0 && (bits & 0x7f800000u) == 0x7f800000u) bad = (int64_t)(i + k);
            if (!out) continue;
            if (p->real == 8)
                ((double *)out)[i + k] = (double)part[k];
            else
                ((float *)out)[i + k] = part[k];
        }
    }
    return bad;
}

static alore_status alo_not_finite(alore_ctx *ctx, const char *name, int64_t at)
{
    return alo_fail(ctx, ALORE_ERR_NONFINITE, name, "%s: number %u is not finite", name,
                    (uint64_t)at);
}

/* Check every base tensor and fill the table of pointers. Those that cannot be
 * borrowed are converted into `room`, whose size alo_bind_bytes tells. */
static alore_status alo_bind_base(alore_run *run, unsigned char *room)
{
    const alore_plan *p = run->plan;
    size_t at = 0;
    for (int i = 0; i < p->param_count; ++i) {
        const alore_tensor *t = NULL;
        const alo_param *q = &p->params[i];
        const void *data;
        int64_t bad;
        alore_status s;
        if (!q->base) continue;
        s = alo_bind_one(run, i, &t);
        if (s != ALORE_OK) return s;
        if (!t || q->segment != ALO_BASE) continue;
        data = t->data;
        if (!alo_borrowable(p, t)) {
            if (!room)
                return alo_fail(run->ctx, ALORE_ERR_DTYPE, p->names + q->name,
                                "%s is %s; memory of the caller asks for aligned F32",
                                p->names + q->name, alore_dtype_name(t->dtype));
            data = room + at;
            bad = alo_read_reals(p, t, alo_count(q->shape), room + at);
            at += alo_align(alo_count(q->shape) * p->real, 64);
        } else
            bad = alo_read_reals(p, t, alo_count(q->shape), NULL);
        if (bad >= 0) return alo_not_finite(run->ctx, p->names + q->name, bad);
        memcpy(run->memory + alo_zu(i) * sizeof data, &data, sizeof data);
    }
    return ALORE_OK;
}

/* Bytes that converted base tensors take. */
static size_t alo_bind_bytes(const alore_plan *p, const alore_weights *base)
{
    size_t bytes = 0;
    for (int i = 0; i < p->param_count && base; ++i) {
        const alo_param *q = &p->params[i];
        const alore_tensor *t = alore_weights_find(base, p->names + q->name);
        if (t && q->base && q->segment == ALO_BASE && !alo_borrowable(p, t))
            bytes = alo_sum(bytes, alo_align(alo_mul(alo_count(q->shape), p->real), 64));
    }
    return bytes;
}

static alore_status alo_bind(alore_run *run, const alore_plan *p, const alore_weights *base,
                             void *memory, size_t bytes, void *room)
{
    alore_ctx *ctx = p->object.ctx;
    memset(run, 0, sizeof *run);
    run->ctx = ctx;
    run->plan = p;
    run->weights = base;
    run->memory = (unsigned char *)memory;
    if (bytes < p->memory.total)
        return alo_fail(ctx, ALORE_ERR_CAPACITY, NULL,
                        "the run needs %z bytes, %z are given", p->memory.total, bytes);
    if ((uintptr_t)memory % (uintptr_t)p->opts.align)
        return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL, "the memory is not aligned to %d",
                        p->opts.align);
    memset(memory, 0, p->at_arena);
    return alo_bind_base(run, (unsigned char *)room);
}

ALORE_API alore_status alore_run_bind(alore_run *run, const alore_plan *p,
                                      const alore_weights *base, void *memory, size_t bytes)
{
    alore_status s = alo_bind(run, p, base, memory, bytes, NULL);
    return s == ALORE_OK ? alore_run_reset(run, 0) : s;
}

static void alo_run_free(alo_object *o)
{
    alo_run_object *r = (alo_run_object *)o;
    alo_free(o->ctx, r->run.memory, r->bytes);
    alo_free(o->ctx, r->run.converted, r->run.converted_bytes);
    alo_object_free(o);
}

ALORE_API void alore_run_destroy(alore_run *run)
{
    if (run && run->owner) alo_run_free(run->owner);
}

ALORE_API alore_status alore_run_create(const alore_plan *p, const alore_weights *base,
                                        alore_run **out)
{
    alore_ctx *ctx = p->object.ctx;
    size_t more = alo_bind_bytes(p, base), bytes = p->memory.total;
    alo_run_object *r;
    void *memory, *room;
    alore_status s = ALORE_ERR_MEMORY;
    *out = NULL;
    r = (alo_run_object *)alo_object_new(ctx, sizeof *r, alo_run_free);
    if (!r) return s;
    memory = alo_new(ctx, bytes);
    room = memory && more ? alo_new(ctx, more) : NULL;
    if (memory && (room || !more)) {
        s = alo_bind(&r->run, p, base, memory, bytes, room);
        if (s == ALORE_OK) s = alore_run_reset(&r->run, 0);
    }
    r->run.owner = &r->object;
    r->run.memory = (unsigned char *)memory;
    r->bytes = bytes;
    r->run.converted = room;
    r->run.converted_bytes = room ? more : 0;
    if (s != ALORE_OK)
        alo_run_free(&r->object);
    else
        *out = &r->run;
    return s;
}

/* Store v as number i of an array of the plan's numbers. */
static void alo_set_real(const alore_plan *p, void *array, size_t i, double v)
{
    if (p->real == 8)
        ((double *)array)[i] = v;
    else
        ((float *)array)[i] = (float)v;
}

static float alo_get_real(const alore_plan *p, const void *array, size_t i)
{
    return p->real == 8 ? (float)((const double *)array)[i] : ((const float *)array)[i];
}

/* The array that parameter i lies in, and its first number there. */
static void *alo_param_array(const alore_run *run, int i, size_t *first)
{
    const alore_plan *p = run->plan;
    *first = (size_t)p->tensors[p->params[i].tensor].offset;
    return alo_segment(run, p->params[i].segment == ALO_PARAM ? p->at_params : p->at_frozen);
}

ALORE_API alore_status alore_run_reset(alore_run *run, uint64_t seed)
{
    const alore_plan *p = run->plan;
    for (int i = 0; i < p->param_count; ++i) {
        const alo_param *q = &p->params[i];
        const char *name = p->names + q->name;
        uint64_t stream = alo_hash(name, strlen(name), 0);
        const alore_tensor *t = NULL;
        size_t first, count = alo_count(q->shape);
        void *array;
        if (q->segment == ALO_BASE) continue;
        array = alo_param_array(run, i, &first);
        if (q->base) {
            alore_status s = alo_bind_one(run, i, &t);
            if (s != ALORE_OK) return s;
        }
        if (t) {
            int64_t bad = alo_read_reals(p, t, count, (char *)array + first * p->real);
            if (bad >= 0) return alo_not_finite(run->ctx, name, bad);
            continue;
        }
        for (size_t k = 0; k < count; ++k) {
            float v = q->start.a;
            if (q->start.kind == 1)
                v = q->start.a * (2.0f * alore_random_uniform(seed, stream, k) - 1.0f);
            if (q->start.kind == 2)
                v = q->start.a + q->start.b * alore_random_normal(seed, stream, k);
            alo_set_real(p, array, first + k, (double)v);
        }
    }
    memset(alo_segment(run, p->at_moments), 0, p->memory.optimizer);
    run->seed = seed;
    run->step = 0;
    run->phases = 0;
    alo_forget(run);
    return ALORE_OK;
}

/* ============================================================================
 * >> 18 training
 *
 * Schedules are functions of the step. A step sums the slots, runs what depends on no
 * sample backwards, looks at the norm, and only then writes: all that learns is one
 * flat array, its gradients another, its moments one or two more.
 * ========================================================================== */

/* 0.5 (1 + cos(pi x)), x in 0..1. */
static float alo_half_cosine(float x)
{
    return 0.5f * (1.0f + alo_cos(3.14159265f * x));
}

/* The rate of step s (from 0).   COSINE, as ARC and VPT: s/W of the way from lr_start
 * to lr, then half a cosine over the rest, not below lr_min. TIMM_COSINE, with epochs
 * for steps: its cosine runs over all of T, the warm-up only hides its beginning. */
ALORE_API float alore_lr(const alore_schedule *s, int step)
{
    float w = (float)s->warmup, t = (float)s->total, at = (float)step, lr;
    if (step < s->warmup) return s->lr_start + at / w * (s->lr - s->lr_start);
    if (s->kind == ALORE_CONSTANT) return s->lr;
    if (step >= s->total) return s->lr_min;
    if (s->kind == ALORE_TIMM_COSINE)
        return s->lr_min + (s->lr - s->lr_min) * alo_half_cosine(at / t);
    lr = s->lr * alo_half_cosine((at - w) / (t - w));
    return lr > s->lr_min ? lr : s->lr_min;
}

/* Sum the slots into the first, then run the once records' backward on it. */
static void alo_reduce(alore_run *run)
{
    const alore_plan *p = run->plan;
    unsigned char *sum = (unsigned char *)alo_grad_slot(run, 0);
    for (int slot = 1; slot < p->slots; ++slot) {
        unsigned char *part = (unsigned char *)alo_grad_slot(run, slot);
        for (size_t i = 0; i < p->grads; ++i)
            if (p->real == 8)
                ((double *)(void *)sum)[i] += ((double *)(void *)part)[i];
            else
                ((float *)(void *)sum)[i] += ((float *)(void *)part)[i];
        memset(part, 0, p->grads * p->real);
    }
    for (int i = p->backward; i < p->op_count; ++i) alo_record_run(run, i, 0, 0, 0, 1);
    memset(sum + p->learns * p->real, 0, (p->grads - p->learns) * p->real);
}

ALORE_API float *alore_params(alore_run *run, size_t *count)
{
    if (count) *count = run->plan->learns;
    return (float *)(void *)alo_segment(run, run->plan->at_params);
}

ALORE_API float *alore_grads(alore_run *run, size_t *count)
{
    if (count) *count = run->plan->opts.train ? run->plan->learns : 0;
    if (!run->plan->opts.train) return NULL;
    alo_reduce(run);
    return (float *)alo_grad_slot(run, 0);
}

/* One kernel on the numbers first .. first+count-1 of the flat arrays. */
static void alo_flat(alore_run *run, int code, alo_step_args *args, size_t first,
                     size_t count)
{
    const alore_plan *p = run->plan;
    size_t at = first * p->real;
    unsigned char *moments = alo_segment(run, p->at_moments);
    alore_call c;
    memset(&c, 0, sizeof c);
    c.p[0] = (unsigned char *)alo_grad_slot(run, 0) + at;
    c.p[ALO_Y] = alo_segment(run, p->at_params) + at;
    if (p->memory.optimizer) c.p[ALO_Z] = moments + at;
    if (p->opts.optimizer == ALORE_ADAMW) c.p[ALO_X] = moments + p->memory.params + at;
    c.rows_fn = p->rows_fn;
    c.user = p->opts.backend ? p->opts.backend->user : NULL;
    args->count = count;
    c.extra = args;
    p->kernels[code](&c, 0, 1);
}

/* b to the power of n, by squaring. */
static double alo_power(double b, uint64_t n)
{
    double x = 1;
    for (; n; n >>= 1, b *= b)
        if (n & 1) x *= b;
    return x;
}

ALORE_API alore_status alore_step(alore_run *run, const alore_step_opts *opts, float lr,
                                  float *norm)
{
    alore_step_opts o = ALORE_ZERO;
    const alore_plan *p = run->plan;
    alo_step_args args;
    alo_sum_t squares = 0, length;
    bool adam = p->opts.optimizer == ALORE_ADAMW;
    if (opts) o = *opts;
    if (!p->opts.train)
        return alo_fail(run->ctx, ALORE_ERR_ORDER, NULL, "the plan is not for training");
    if (!run->samples)
        return alo_fail(run->ctx, ALORE_ERR_ORDER, NULL, "no gradients since the last step");
    if (!(lr >= 0 && lr < 1e30f))
        return alo_fail(run->ctx, ALORE_ERR_ARGUMENT, NULL, "a rate of %g", (double)lr);
    if (p->opts.optimizer == ALORE_SGD && o.momentum > 0)
        return alo_fail(run->ctx, ALORE_ERR_ORDER, NULL,
                        "the plan has no moments for a momentum of %g", o.momentum);
    memset(&args, 0, sizeof args);
    args.grad_scale = o.grad_scale > 0 ? (alo_sum_t)o.grad_scale
                                       : 1 / (alo_sum_t)run->samples;
    args.sum = &squares;
    alo_reduce(run);
    alo_flat(run, ALO_K_sumsq, &args, 0, p->learns);
    if (!(squares >= 0 && squares < (alo_sum_t)3e38)) {
        alo_forget(run);
        return alo_fail(run->ctx, ALORE_ERR_NONFINITE, NULL,
                        "the gradient of step %u is not finite; nothing was changed",
                        run->step);
    }
    length = (alo_sum_t)alo_sqrt((float)squares);
    if (norm) *norm = (float)length;
    if (o.clip > 0 && (alo_sum_t)o.clip < length + (alo_sum_t)1e-6)
        args.grad_scale *= (alo_sum_t)o.clip / (length + (alo_sum_t)1e-6);
    args.lr = (alo_sum_t)lr;
    args.beta1 = o.beta1 > 0 ? (alo_sum_t)o.beta1 : (alo_sum_t)0.9;
    args.beta2 = o.beta2 > 0 ? (alo_sum_t)o.beta2 : (alo_sum_t)0.999;
    args.eps = o.eps > 0 ? (alo_sum_t)o.eps : (alo_sum_t)1e-8;
    args.correct1 = (alo_sum_t)(1 - alo_power((double)args.beta1, run->step + 1));
    args.correct2 = (alo_sum_t)(1 - alo_power((double)args.beta2, run->step + 1));
    args.momentum = (alo_sum_t)o.momentum;
    args.nesterov = o.nesterov;
    args.first_step = run->step == 0;
    for (int i = 0; i < p->param_count; ++i) {
        const alo_param *q = &p->params[i];
        if (q->segment != ALO_PARAM) continue;
        args.decay = o.decay_matrices && q->shape.rank < 2 ? 0 : (alo_sum_t)o.decay;
        alo_flat(run, adam ? ALO_K_adamw : ALO_K_sgd, &args,
                 (size_t)p->tensors[q->tensor].offset, alo_count(q->shape));
    }
    ++run->step;
    run->samples = 0;
    return ALORE_OK;
}

/* ============================================================================
 * >> 19 adapters and checkpoints
 *
 * An adapter is a set of weights: parameters by name, the rules in the metadata. A
 * checkpoint is all state of a run: seed, step, parameters and moments, little-endian,
 * with a tag of the caller's and a checksum. Both are checked whole before anything is
 * taken over.
 * ========================================================================== */

static void alo_put_le(unsigned char *out, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; ++i) out[i] = (unsigned char)(v >> 8 * i);
}

static void alo_put_float(unsigned char *out, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    alo_put_le(out, bits, 4);
}

/* The adapter's tensor for parameter i, or an error. */
static alore_status alo_adapter_tensor(const alore_run *run, const alore_weights *adapter,
                                       int i, const alore_tensor **out)
{
    const alore_plan *p = run->plan;
    const alo_param *q = &p->params[i];
    const char *name = p->names + q->name;
    const alore_tensor *t = alore_weights_find(adapter, name);
    uint64_t count = t ? 1 : 0;
    float probe;
    int64_t bad;
    *out = t;
    if (!t)
        return alo_fail(run->ctx, ALORE_ERR_NAME, name, "the adapter has no %s", name);
    for (int k = 0; k < t->rank; ++k) count *= t->dims[k];
    if (count != alo_count(q->shape))
        return alo_fail(run->ctx, ALORE_ERR_SHAPE, name,
                        "%s: the network has %z numbers, the adapter %u", name,
                        alo_count(q->shape), count);
    if (!alore_tensor_read(t, 0, 1, &probe))
        return alo_fail(run->ctx, ALORE_ERR_DTYPE, name, "%s: cannot compute with %s", name,
                        alore_dtype_name(t->dtype));
    bad = alo_read_reals(p, t, (size_t)count, NULL);
    return bad < 0 ? ALORE_OK : alo_not_finite(run->ctx, name, bad);
}

static bool alo_is_param(const alore_plan *p, const char *name)
{
    for (int i = 0; i < p->param_count; ++i)
        if (p->params[i].segment != ALO_BASE && !strcmp(p->names + p->params[i].name, name))
            return true;
    return false;
}

/* Take the plan's parameters from the adapter; with `all` it may hold no others. */
static alore_status alo_load_params(alore_run *run, const alore_weights *adapter, bool all)
{
    const alore_plan *p = run->plan;
    const alore_tensor *t;
    alore_status s;
    for (int i = 0; i < p->param_count; ++i) {
        if (p->params[i].segment == ALO_BASE) continue;
        s = alo_adapter_tensor(run, adapter, i, &t);
        if (s != ALORE_OK) return s;
    }
    for (int i = 0; all && i < alore_weights_count(adapter); ++i)
        if (!alo_is_param(p, alore_weights_at(adapter, i)->name))
            return alo_fail(run->ctx, ALORE_ERR_NAME, alore_weights_at(adapter, i)->name,
                            "the adapter holds %s, which its rules do not make",
                            alore_weights_at(adapter, i)->name);
    for (int i = 0; i < p->param_count; ++i) {
        size_t first;
        unsigned char *array;
        if (p->params[i].segment == ALO_BASE) continue;
        array = (unsigned char *)alo_param_array(run, i, &first);
        t = alore_weights_find(adapter, p->names + p->params[i].name);
        (void)alo_read_reals(p, t, alo_count(p->params[i].shape), array + first * p->real);
    }
    return ALORE_OK;
}

ALORE_API alore_status alore_run_load(alore_run *run, const alore_weights *adapter)
{
    return alo_load_params(run, adapter, true);
}

/* One parameter of the run as a tensor of the set. */
static alore_status alo_export_param(const alore_run *run, int i, alore_weights *w)
{
    const alore_plan *p = run->plan;
    const alo_param *q = &p->params[i];
    uint64_t dims[4];
    size_t first, count = alo_count(q->shape);
    const void *array = alo_param_array(run, i, &first);
    alore_tensor t;
    unsigned char *out;
    alore_status s;
    memset(&t, 0, sizeof t);
    t.name = p->names + q->name;
    t.name_bytes = strlen(t.name);
    t.dims = dims;
    t.rank = q->shape.rank;
    t.bytes = count * sizeof(float);
    for (int k = 0; k < 4; ++k) dims[k] = (uint64_t)q->shape.dims[k];
    s = alore_weights_add(w, &t);
    if (s != ALORE_OK) return s;
    out = (unsigned char *)alore_weights_data(w, t.name);
    for (size_t k = 0; k < count; ++k) alo_put_float(out + 4 * k, alo_get_real(p, array, first + k));
    return ALORE_OK;
}

static alore_status alo_export_meta(const alore_run *run, alore_weights *w)
{
    const alore_plan *p = run->plan;
    alore_ctx *ctx = run->ctx;
    char base[17];
    alo_text t = {NULL, 0, 0}, hex = {base, sizeof base, 0};
    char *frozen;
    alore_status s = alore_weights_set_meta(w, "alore.rules", p->names + p->rules);
    if (s == ALORE_OK && p->backbone)
        s = alore_weights_set_meta(w, "alore.backbone", p->names + p->backbone);
    if (s == ALORE_OK && run->weights) {
        uint64_t f = alore_weights_fingerprint(run->weights);
        for (int i = 60; i >= 0; i -= 4) alo_put_uint(&hex, f >> i & 15, 16);
        s = alore_weights_set_meta(w, "alore.base", base);
    }
    for (int pass = 0; pass < 2 && s == ALORE_OK; ++pass) { /* measure, then write */
        size_t bytes = t.used + 1;
        frozen = pass ? (char *)alo_new(ctx, bytes) : NULL;
        if (pass && !frozen) return ALORE_ERR_MEMORY;
        t.data = frozen;
        t.bytes = pass ? bytes : 0;
        t.used = 0;
        for (int i = 0; i < p->param_count; ++i)
            if (p->params[i].segment == ALO_FROZEN)
                alo_print(&t, t.used ? ",%s" : "%s", p->names + p->params[i].name);
        if (!t.used) break;
        if (pass) s = alore_weights_set_meta(w, "alore.frozen", frozen);
        if (pass) alo_free(ctx, frozen, bytes);
    }
    return s;
}

ALORE_API alore_status alore_run_export(const alore_run *run, alore_weights **adapter)
{
    alore_weights *w = NULL;
    alore_status s = alore_weights_create(run->ctx, &w);
    *adapter = NULL;
    if (s != ALORE_OK) return s;
    for (int i = 0; i < run->plan->param_count && s == ALORE_OK; ++i)
        if (run->plan->params[i].segment != ALO_BASE) s = alo_export_param(run, i, w);
    if (s == ALORE_OK) s = alo_export_meta(run, w);
    if (s != ALORE_OK)
        alore_weights_destroy(w);
    else
        *adapter = w;
    return s;
}

/* ---- Checkpoints ----
 *
 *   8 bytes  "alore\0ck"      4 version       4 bytes of a number
 *   8 seed   8 step           8 numbers       8 numbers of moments
 *   8 tag bytes               the tag, the parameters, the moments
 *   8 checksum of all before                                                     */

enum { ALO_CHECKPOINT_VERSION = 1, ALO_CHECKPOINT_HEAD = 56 };

typedef struct alo_sealed {    /* a writer that keeps a checksum                    */
    const alore_writer *writer;
    uint64_t sum;
    bool     fine;
} alo_sealed;

static void alo_seal(alo_sealed *w, const void *data, size_t bytes)
{
    w->sum = alo_hash(data, bytes, w->sum);
    w->fine = w->fine && w->writer->write(w->writer->user, data, bytes);
}

static uint64_t alo_get_le(const unsigned char *in, int bytes)
{
    uint64_t v = 0;
    for (int i = 0; i < bytes; ++i) v |= (uint64_t)in[i] << 8 * i;
    return v;
}

/* Numbers of either width between memory and little-endian bytes. */
static void alo_real_bytes(const alore_plan *p, unsigned char *array, unsigned char *bytes,
                           size_t count, bool read)
{
    for (size_t i = 0; i < count; ++i, array += p->real, bytes += p->real) {
        if (p->real == 8) {
            uint64_t v = read ? alo_get_le(bytes, 8) : 0;
            if (read) memcpy(array, &v, 8);
            memcpy(&v, array, 8);
            if (!read) alo_put_le(bytes, v, 8);
        } else {
            uint32_t v = read ? (uint32_t)alo_get_le(bytes, 4) : 0;
            if (read) memcpy(array, &v, 4);
            memcpy(&v, array, 4);
            if (!read) alo_put_le(bytes, v, 4);
        }
    }
}

static void alo_seal_reals(alo_sealed *w, const alore_plan *p, unsigned char *array,
                           size_t count)
{
    unsigned char part[2048];
    size_t most = sizeof part / p->real;
    for (size_t i = 0; i < count; i += most) {
        size_t n = count - i < most ? count - i : most;
        alo_real_bytes(p, array + i * p->real, part, n, false);
        alo_seal(w, part, n * p->real);
    }
}

ALORE_API alore_status alore_checkpoint_write(const alore_run *run, const char *tag,
                                              const alore_writer *writer)
{
    const alore_plan *p = run->plan;
    unsigned char head[ALO_CHECKPOINT_HEAD];
    size_t moments = p->memory.optimizer / p->real;
    alo_sealed w = {writer, 0, true};
    if (run->samples)
        return alo_fail(run->ctx, ALORE_ERR_ORDER, NULL,
                        "a checkpoint stands between steps; %u samples are pending",
                        run->samples);
    memcpy(head, "alore\0ck", 8);
    alo_put_le(head + 8, ALO_CHECKPOINT_VERSION, 4);
    alo_put_le(head + 12, p->real, 4);
    alo_put_le(head + 16, run->seed, 8);
    alo_put_le(head + 24, run->step, 8);
    alo_put_le(head + 32, p->learns, 8);
    alo_put_le(head + 40, moments, 8);
    alo_put_le(head + 48, strlen(tag), 8);
    alo_seal(&w, head, sizeof head);
    alo_seal(&w, tag, strlen(tag));
    alo_seal_reals(&w, p, alo_segment(run, p->at_params), p->learns);
    alo_seal_reals(&w, p, alo_segment(run, p->at_moments), moments);
    alo_put_le(head, w.sum, 8);
    alo_seal(&w, head, 8);
    return w.fine ? ALORE_OK
                  : alo_fail(run->ctx, ALORE_ERR_IO, NULL, "the writer hook failed");
}

ALORE_API alore_status alore_checkpoint_read(alore_run *run, const char *tag,
                                             const void *data, size_t bytes)
{
    const alore_plan *p = run->plan;
    alore_ctx *ctx = run->ctx;
    unsigned char *at = (unsigned char *)(uintptr_t)data; /* read only, see below */
    size_t moments = p->memory.optimizer / p->real, want, n = strlen(tag);
    if (bytes < ALO_CHECKPOINT_HEAD + 8 || memcmp(at, "alore\0ck", 8))
        return alo_fail(ctx, ALORE_ERR_FORMAT, NULL, "no checkpoint of alore (%z bytes)",
                        bytes);
    if (alo_get_le(at + 8, 4) != ALO_CHECKPOINT_VERSION)
        return alo_fail(ctx, ALORE_ERR_VERSION, NULL, "checkpoint version %u, this reads %d",
                        alo_get_le(at + 8, 4), (int)ALO_CHECKPOINT_VERSION);
    if (alo_get_le(at + bytes - 8, 8) != alo_hash(at, bytes - 8, 0))
        return alo_fail(ctx, ALORE_ERR_FORMAT, NULL,
                        "the checkpoint is damaged: its checksum is wrong");
    if (alo_get_le(at + 48, 8) != n || bytes - ALO_CHECKPOINT_HEAD - 8 < n ||
        memcmp(at + ALO_CHECKPOINT_HEAD, tag, n))
        return alo_fail(ctx, ALORE_ERR_ARGUMENT, NULL,
                        "the checkpoint was made with other settings");
    want = alo_sum(alo_mul(alo_sum(p->learns, moments), p->real),
                   alo_sum(n, ALO_CHECKPOINT_HEAD + 8));
    if (alo_get_le(at + 12, 4) != p->real || alo_get_le(at + 32, 8) != p->learns ||
        alo_get_le(at + 40, 8) != moments || bytes != want)
        return alo_fail(ctx, ALORE_ERR_SHAPE, NULL,
                        "the checkpoint holds %u numbers in %z bytes, the run %z in %z",
                        alo_get_le(at + 32, 8), bytes, p->learns, want);
    run->seed = alo_get_le(at + 16, 8);
    run->step = alo_get_le(at + 24, 8);
    at += ALO_CHECKPOINT_HEAD + n;
    alo_real_bytes(p, alo_segment(run, p->at_params), at, p->learns, true);
    at += p->learns * p->real;
    alo_real_bytes(p, alo_segment(run, p->at_moments), at, moments, true);
    alo_forget(run);
    run->phases = 0;
    return ALORE_OK;
}

/* ============================================================================
 * >> 20 merge
 *
 * A site with all that is attached to it is a function of rows. Merging evaluates it,
 * in double: the records on the identity, without the terms that do not depend on the
 * input, are the merged matrix; the records on zero are the merged bias. Then both
 * forms run on random rows. So no method has a merge formula, none can disagree with
 * its training, and what is not affine is refused with its number.
 * ========================================================================== */

enum { ALO_PROBE_ROWS = 32 };

typedef struct alo_probe {     /* a site's host and rules as a network of their own */
    alore_model *model;
    alore_plan  *plan;
    alore_run   *run;
} alo_probe;

static void alo_probe_close(alo_probe *b)
{
    alore_run_destroy(b->run);
    alore_plan_destroy(b->plan);
    alore_model_destroy(b->model);
    memset(b, 0, sizeof *b);
}

static alore_status alo_probe_open(const alore_model *m, const alo_site *site, bool strip,
                                   const alore_weights *base, const alore_weights *adapter,
                                   alo_probe *b)
{
    alore_linear_opts linear = ALORE_ZERO;
    alore_plan_opts opts = ALORE_ZERO;
    const char *name = alo_name(m, site->name);
    int kernel[3];
    alore_id x, y;
    alore_status s = alore_model_create(alo_ctx(m), &b->model);
    if (s == ALORE_OK) s = alore_attach(b->model, alore_rules(m));
    if (s != ALORE_OK) return s;
    b->model->probe = true;
    b->model->strip = strip;
    b->model->block = site->s.block;
    alore_blocks(b->model, site->s.blocks);
    alore_grid(b->model, site->s.prefix, site->s.height, site->s.width);
    x = alore_input(b->model, "x", ALORE_F32, ALO_PROBE_ROWS, site->s.in);
    linear.kind = site->s.kind;
    linear.groups = site->groups;
    linear.no_bias = site->no_bias;
    for (int i = 0; i < 3; ++i) kernel[i] = site->weight.dims[i + 1];
    if (site->weight.rank == 4) linear.kernel = kernel;
    y = site->s.host == ALORE_HOST_NORM
            ? alore_norm(b->model, name, site->s.kind, x, 0.0f)
            : alore_linear(b->model, name, x, site->s.out, &linear);
    alore_output(b->model, "y", y);
    s = alore_model_finish(b->model);
    opts.reference = true;
#ifndef ALO_NO_F64
    opts.dtype = ALORE_F64;
#endif
    if (s == ALORE_OK) s = alore_plan_create(b->model, &opts, &b->plan);
    if (s == ALORE_OK) s = alore_run_create(b->plan, base, &b->run);
    if (s == ALORE_OK) s = alo_load_params(b->run, adapter, false);
    return s;
}

static double alo_wide(const alo_probe *b, const void *array, size_t i)
{
    return b->plan->real == 8 ? ((const double *)array)[i]
                              : (double)((const float *)array)[i];
}

/* Tensors that one site's merge works on, in double, [in, out] and [out]. */
typedef struct alo_merged {
    double *weight, *bias;
    float  *stored, *stored_bias; /* as they will be read back                      */
    size_t  bytes;                /* of the block that all four lie in              */
} alo_merged;

/* The matrix, by rows of the identity; of a norm its one row of ones. */
static alore_status alo_probe_matrix(alo_probe *b, const alo_site *site, double *weight)
{
    bool norm = site->s.host == ALORE_HOST_NORM;
    int rows = norm ? 1 : site->s.in, in = site->s.in, out = site->s.out;
    void *x = alore_run_input(b->run, "x");
    const void *y = alore_run_output(b->run, "y");
    for (int first = 0; first < rows; first += ALO_PROBE_ROWS) {
        int n = rows - first < ALO_PROBE_ROWS ? rows - first : ALO_PROBE_ROWS;
        alore_status s;
        for (int r = 0; r < ALO_PROBE_ROWS; ++r)
            for (int k = 0; k < in; ++k)
                alo_set_real(b->plan, x, alo_zu(r) * alo_zu(in) + alo_zu(k),
                             norm || k == first + r ? 1.0 : 0.0);
        s = alore_forward(b->run, 1);
        if (s != ALORE_OK) return s;
        for (size_t i = 0; i < alo_zu(n) * alo_zu(out); ++i)
            weight[alo_zu(first) * alo_zu(out) + i] = alo_wide(b, y, i);
    }
    return ALORE_OK;
}

static alore_status alo_probe_bias(alo_probe *b, const alo_site *site, double *bias)
{
    void *x = alore_run_input(b->run, "x");
    const void *y = alore_run_output(b->run, "y");
    alore_status s;
    memset(x, 0, (size_t)ALO_PROBE_ROWS * alo_zu(site->s.in) * b->plan->real);
    s = alore_forward(b->run, 1);
    for (size_t i = 0; i < alo_zu(site->s.out) && s == ALORE_OK; ++i)
        bias[i] = alo_wide(b, y, i);
    return s;
}

/* Column j of row x of the merged host, with the given matrix. */
static double alo_merged_at(const alo_site *site, const double *x, const double *weight,
                            const float *stored, double bias, int j)
{
    size_t out = alo_zu(site->s.out);
    int in = site->s.in, groups = site->groups, first = 0, last = in;
    double sum = bias;
    if (site->s.host == ALORE_HOST_NORM)
        return sum + x[j] * (stored ? (double)stored[j] : weight[j]);
    if (groups > 1) {
        first = j / (site->s.out / groups) * (in / groups);
        last = first + in / groups;
    }
    for (int k = first; k < last; ++k) {
        size_t at = alo_zu(k) * out + alo_zu(j);
        sum += x[k] * (stored ? (double)stored[at] : weight[at]);
    }
    return sum;
}

/* Both forms on random rows: the largest difference over the largest output, for the
 * matrix as it was found (is the site affine?) and as it is stored (the certificate). */
static alore_status alo_probe_verify(alo_probe *b, const alo_site *site,
                                     const alo_merged *g, double *affine, double *stored)
{
    int in = site->s.in, out = site->s.out;
    void *x = alore_run_input(b->run, "x");
    const void *y = alore_run_output(b->run, "y");
    const char *name = b->model->names + b->model->sites[0].name;
    uint64_t stream = alo_hash(name, strlen(name), 77);
    double largest = 0, found = 0, kept = 0, *row;
    alore_status s;
    for (size_t i = 0; i < (size_t)ALO_PROBE_ROWS * alo_zu(in); ++i)
        alo_set_real(b->plan, x, i, (double)alore_random_normal(1, stream, i));
    s = alore_forward(b->run, 1);
    if (s != ALORE_OK) return s;
    row = (double *)alo_new(b->run->ctx, alo_zu(in) * sizeof *row);
    if (!row) return ALORE_ERR_MEMORY;
    for (int r = 0; r < ALO_PROBE_ROWS; ++r) {
        for (int k = 0; k < in; ++k) row[k] = alo_wide(b, x, alo_zu(r) * alo_zu(in) + alo_zu(k));
        for (int j = 0; j < out; ++j) {
            double want = alo_wide(b, y, alo_zu(r) * alo_zu(out) + alo_zu(j));
            double a = alo_merged_at(site, row, g->weight, NULL, g->bias[j], j) - want;
            double c = alo_merged_at(site, row, g->weight, g->stored,
                                     (double)g->stored_bias[j], j) - want;
            if (!(a > -1e300 && a < 1e300)) found = 1e300; /* NaN, too */
            if (a * a > found * found) found = a < 0 ? -a : a;
            if (c * c > kept * kept) kept = c < 0 ? -c : c;
            if (want * want > largest * largest) largest = want < 0 ? -want : want;
        }
    }
    alo_free(b->run->ctx, row, alo_zu(in) * sizeof *row);
    if (largest == 0) largest = 1;
    *affine = found / largest;
    *stored = kept / largest;
    return ALORE_OK;
}

/* ---- Storage ---- */

static float alo_round_to(alore_dtype dtype, float v)
{
    if (dtype == ALORE_F16) return alore_half_to_float(alore_float_to_half(v));
    if (dtype == ALORE_BF16) return alore_bfloat_to_float(alore_float_to_bfloat(v));
    return v;
}

static void alo_store(unsigned char *out, alore_dtype dtype, size_t i, double v)
{
    uint64_t bits;
    if (dtype == ALORE_F16)
        alo_put_le(out + 2 * i, alore_float_to_half((float)v), 2);
    else if (dtype == ALORE_BF16)
        alo_put_le(out + 2 * i, alore_float_to_bfloat((float)v), 2);
    else if (dtype == ALORE_F64) {
        memcpy(&bits, &v, sizeof bits);
        alo_put_le(out + 8 * i, bits, 8);
    } else
        alo_put_float(out + 4 * i, (float)v);
}

/* The tensor that a merged one replaces: what the adapter learnt, else the base's. */
static const alore_tensor *alo_before_merge(const alore_weights *base,
                                            const alore_weights *adapter, const char *name)
{
    const alore_tensor *t = alore_weights_find(adapter, name);
    return t ? t : alore_weights_find(base, name);
}

typedef struct alo_merging {
    const alore_model   *m;
    const alore_weights *base, *adapter;
    alore_merge_opts     opts;
    alore_weights       *out;
    alore_merge_report   report;
} alo_merging;

static alore_dtype alo_merged_type(const alo_merging *g, const alore_tensor *old)
{
    if (g->opts.convert) return g->opts.dtype;
    return old && (old->dtype == ALORE_F16 || old->dtype == ALORE_BF16 ||
                   old->dtype == ALORE_F64)
               ? old->dtype
               : ALORE_F32;
}

/* Put one merged tensor into the set where it differs from what was there. Element i
 * of the file is value[index(i)]; a number that did not change keeps its bits. Notes
 * the share of the update that the storage type loses. */
static alore_status alo_put_merged(alo_merging *g, const char *name, alore_shape shape,
                                   const double *value, float *stored, bool transpose)
{
    const alore_tensor *old = alo_before_merge(g->base, g->adapter, name);
    alore_dtype dtype = alo_merged_type(g, old);
    size_t count = alo_count(shape), rows = alo_zu(shape.dims[0]), cols = count / rows;
    double delta = 0, lost = 0;
    bool changed = false;
    uint64_t dims[4];
    alore_tensor t;
    unsigned char *out;
    alore_status s;
    memset(&t, 0, sizeof t);
    t.name = name;
    t.name_bytes = strlen(name);
    t.dtype = dtype;
    t.dims = dims;
    t.rank = shape.rank;
    t.bytes = count * alore_dtype_bytes(dtype);
    for (int i = 0; i < 4; ++i) dims[i] = (uint64_t)shape.dims[i];
    if (!old) {
        for (size_t i = 0; i < count; ++i) changed = changed || value[i] != 0;
        if (!changed) {
            memset(stored, 0, count * sizeof *stored);
            return ALORE_OK;
        }
    }
    s = alore_weights_add(g->out, &t);
    if (s != ALORE_OK) return s;
    out = (unsigned char *)alore_weights_data(g->out, name);
    for (size_t i = 0; i < count; ++i) {
        size_t at = transpose ? i % cols * rows + i / cols : i;
        double before = 0, after = value[at], kept;
        float was = 0;
        if (old) {
            (void)alore_tensor_read(old, i, 1, &was);
            before = (double)was;
        }
        if (after == before && old) after = (double)was; /* keeps the sign of a zero */
        alo_store(out, dtype, i, after);
        stored[at] = alo_round_to(dtype, (float)after);
        kept = (double)stored[at];
        if (after != before) changed = true;
        delta += (after - before) * (after - before);
        lost += (kept - after) * (kept - after);
    }
    if (changed || (old && old->dtype != dtype)) ++g->report.tensors_changed;
    if (delta > 0 && lost > delta * (double)g->report.worst_lost * (double)g->report.worst_lost) {
        alo_text site = {g->report.lost_site, sizeof g->report.lost_site, 0};
        g->report.worst_lost = alo_sqrt((float)(lost / delta));
        alo_print(&site, "%s", name);
    }
    return ALORE_OK;
}

/* Copies of a square, of the weight and of the bias, in one block. */
static alore_status alo_merged_open(alore_ctx *ctx, const alo_site *site, alo_merged *g)
{
    size_t rows = site->s.host == ALORE_HOST_NORM ? 1 : alo_zu(site->s.in);
    size_t out = alo_zu(site->s.out), count = alo_mul(rows, out);
    size_t each = sizeof(double) + sizeof(float);
    g->bytes = alo_mul(alo_sum(count, out), each);
    g->weight = (double *)alo_new(ctx, g->bytes);
    if (!g->weight) return ALORE_ERR_MEMORY;
    g->bias = g->weight + count;
    g->stored = (float *)(void *)(g->bias + out);
    g->stored_bias = g->stored + count;
    return ALORE_OK;
}

static alore_status alo_merge_certify(alo_merging *g, const alo_site *site, alo_probe *b,
                                      const alo_merged *a)
{
    const char *name = alo_name(g->m, site->name);
    double affine = 0, stored = 0, most = g->opts.tolerance > 0 ? (double)g->opts.tolerance
                                                                : 1e-5;
    alore_status s = alo_probe_verify(b, site, a, &affine, &stored);
    if (s != ALORE_OK) return s;
    if (!(affine <= most))
        return alo_fail(alo_ctx(g->m), ALORE_ERR_NOT_MERGEABLE, name,
                        "%s cannot be merged: it is no affine map, the relative error is %g "
                        "(at most %g)", name, affine, most);
    if (g->opts.tolerance > 0 && stored > most)
        return alo_fail(alo_ctx(g->m), ALORE_ERR_TOLERANCE, name,
                        "%s: as stored the merged site is off by %g, more than %g", name,
                        stored, most);
    ++g->report.sites;
    if (stored >= (double)g->report.worst_error) {
        alo_text t = {g->report.worst_site, sizeof g->report.worst_site, 0};
        g->report.worst_error = (float)stored;
        alo_print(&t, "%s", name);
    }
    return ALORE_OK;
}

static alore_status alo_merge_site(alo_merging *g, const alo_site *site)
{
    alore_ctx *ctx = alo_ctx(g->m);
    const char *name = alo_name(g->m, site->name);
    bool norm = site->s.host == ALORE_HOST_NORM;
    alo_probe stripped, whole;
    alo_merged a;
    alore_status s;
    char full[300];
    alo_text t = {full, sizeof full, 0};
    memset(&stripped, 0, sizeof stripped);
    memset(&whole, 0, sizeof whole);
    memset(&a, 0, sizeof a);
    if (site->s.host != ALORE_HOST_LINEAR && !norm)
        return alo_fail(ctx, ALORE_ERR_NOT_MERGEABLE, name,
                        "%s cannot be merged: there is no single layer to merge into", name);
    s = alo_merged_open(ctx, site, &a);
    if (s == ALORE_OK) s = alo_probe_open(g->m, site, true, g->base, g->adapter, &stripped);
    if (s == ALORE_OK) s = alo_probe_matrix(&stripped, site, a.weight);
    alo_probe_close(&stripped);
    if (s == ALORE_OK) s = alo_probe_open(g->m, site, false, g->base, g->adapter, &whole);
    if (s == ALORE_OK) s = alo_probe_bias(&whole, site, a.bias);
    if (s == ALORE_OK) {
        alo_print(&t, "%s.weight", name);
        if (site->groups > 1)
            s = alo_fail(ctx, ALORE_ERR_NOT_MERGEABLE, name,
                         "%s has %d groups; grouped hosts are not merged", name, site->groups);
    }
    if (s == ALORE_OK)
        s = alo_put_merged(g, full, site->weight, a.weight, a.stored, !norm);
    t.used = 0;
    alo_print(&t, "%s.bias", name);
    if (s == ALORE_OK)
        s = alo_put_merged(g, full, alore_dims(site->s.out, 0, 0, 0), a.bias, a.stored_bias,
                           false);
    if (s == ALORE_OK) s = alo_merge_certify(g, site, &whole, &a);
    alo_probe_close(&whole);
    alo_free(ctx, a.weight, a.bytes);
    return s;
}

/* Everything else: what the adapter unfroze, then what the base has; metadata. */
static alore_status alo_merge_rest(alo_merging *g)
{
    alore_status s = ALORE_OK;
    const alore_weights *from[2];
    from[0] = g->adapter;
    from[1] = g->base;
    for (int k = 0; k < 2; ++k)
        for (int i = 0; i < alore_weights_count(from[k]) && s == ALORE_OK; ++i) {
            const alore_tensor *t = alore_weights_at(from[k], i);
            int p = alo_param_find(g->m, t->name);
            if (alore_weights_find(g->out, t->name)) continue;
            if (k == 0 && (p < 0 || !g->m->params[p].base)) continue;
            s = alore_weights_add(g->out, t);
            if (k == 0 && s == ALORE_OK) ++g->report.tensors_changed;
        }
    for (int i = 0; i < alore_weights_meta_count(g->base) && s == ALORE_OK; ++i) {
        const char *key, *value;
        alore_weights_meta_at(g->base, i, &key, &value);
        s = alore_weights_set_meta(g->out, key, value);
    }
    return s;
}

ALORE_API alore_status alore_merge(const alore_model *m, const alore_weights *base,
                                   const alore_weights *adapter,
                                   const alore_merge_opts *opts, alore_weights **merged,
                                   alore_merge_report *report)
{
    alore_ctx *ctx = alo_ctx(m);
    alo_merging g;
    alore_status s;
    *merged = NULL;
    memset(&g, 0, sizeof g);
    g.m = m;
    g.base = base;
    g.adapter = adapter;
    if (opts) g.opts = *opts;
    if (!m->finished)
        return alo_fail(ctx, ALORE_ERR_ORDER, NULL, "the model is not finished");
    if (g.opts.convert && g.opts.dtype > ALORE_F64)
        return alo_fail(ctx, ALORE_ERR_DTYPE, NULL, "merged tensors cannot be %s",
                        alore_dtype_name(g.opts.dtype));
    s = alore_weights_create(ctx, &g.out);
    for (int i = 0; i < m->site_count && s == ALORE_OK; ++i)
        if (m->sites[i].rules) s = alo_merge_site(&g, &m->sites[i]);
    if (s == ALORE_OK) s = alo_merge_rest(&g);
    if (s == ALORE_OK && m->backbone && !alore_weights_meta(g.out, "alore.backbone"))
        s = alore_weights_set_meta(g.out, "alore.backbone", alo_name(m, m->backbone));
    if (s != ALORE_OK) {
        alore_weights_destroy(g.out);
        return s;
    }
    *merged = g.out;
    if (report) *report = g.report;
    return ALORE_OK;
}

/* ---- Plain LoRA ---- */

typedef struct alo_lora {      /* one site's factors                                */
    float *host, *left, *right;
    size_t host_bytes, left_bytes, right_bytes;
} alo_lora;

static alore_status alo_lora_tensor(alore_weights *out, const char *site, const char *name,
                                    int rows, int cols, const float *data)
{
    char full[300];
    alo_text t = {full, sizeof full, 0};
    uint64_t dims[2];
    alore_tensor x;
    unsigned char *to;
    alore_status s;
    alo_print(&t, "%s.lora.%s", site, name);
    dims[0] = (uint64_t)rows;
    dims[1] = (uint64_t)cols;
    memset(&x, 0, sizeof x);
    x.name = full;
    x.name_bytes = t.used;
    x.dims = dims;
    x.rank = 2;
    x.bytes = alo_zu(rows) * alo_zu(cols) * sizeof(float);
    s = alore_weights_add(out, &x);
    if (s != ALORE_OK) return s;
    to = (unsigned char *)alore_weights_data(out, full);
    for (size_t i = 0; i < x.bytes / 4; ++i) alo_put_float(to + 4 * i, data[i]);
    return ALORE_OK;
}

/* The host's matrix as [in, out]: what it learnt, else the base's. */
static alore_status alo_lora_host(const alore_model *m, const alo_site *site,
                                  const alore_weights *base, const alore_weights *adapter,
                                  float *out)
{
    char full[300];
    alo_text text = {full, sizeof full, 0};
    const alore_tensor *t;
    size_t in = alo_zu(site->s.in), cols = alo_zu(site->s.out);
    alo_print(&text, "%s.weight", alo_name(m, site->name));
    t = alo_before_merge(base, adapter, full);
    if (!t || t->bytes != in * cols * alore_dtype_bytes(t->dtype))
        return alo_fail(alo_ctx(m), ALORE_ERR_NAME, full, "the weights have no %s of %z numbers",
                        full, in * cols);
    for (size_t j = 0; j < cols; ++j)
        for (size_t k = 0; k < in; ++k)
            if (!alore_tensor_read(t, j * in + k, 1, &out[k * cols + j]))
                return alo_fail(alo_ctx(m), ALORE_ERR_DTYPE, full, "%s: cannot compute with %s",
                                full, alore_dtype_name(t->dtype));
    return ALORE_OK;
}

/* Values of the parameters that rule r made (or shares) at a site, in order. */
static alore_status alo_lora_params(const alore_run *run, const alore_model *m, int site,
                                    int rule, const float **values, int room)
{
    const alore_method *row = m->rules[rule].method;
    char prefix[300], kind[64], all[64];
    alo_text a = {prefix, sizeof prefix, 0}, b = {kind, sizeof kind, 0}, c = {all, sizeof all, 0};
    int n = 0;
    alo_print(&a, "%s.%s.", alo_name(m, m->sites[site].name), row->name);
    alo_print(&b, "%s.%s.", row->name, alore_kind_name(m->sites[site].s.kind));
    alo_print(&c, "%s.", row->name);
    for (int shared = 1; shared >= 0; --shared)
        for (int i = 0; i < m->param_count; ++i) {
            const char *name = alo_name(m, m->params[i].name);
            bool own = !strncmp(name, prefix, a.used);
            bool one = !strncmp(name, kind, b.used) ||
                       (!strncmp(name, all, c.used) && !strchr(name + c.used, '.'));
            size_t first;
            const float *array;
            if (m->params[i].segment == ALO_BASE || (shared ? !one : !own)) continue;
            if (n == room)
                return alo_fail(alo_ctx(m), ALORE_ERR_CAPACITY, prefix,
                                "more than %d tensors at one site", room);
            array = (const float *)alo_param_array(run, i, &first);
            values[n++] = array + first;
        }
    return ALORE_OK;
}

static alore_status alo_lora_site(const alore_run *run, const alore_model *m, int site,
                                  int rule, const alore_weights *base,
                                  const alore_weights *adapter, alore_weights *out,
                                  alo_text *rules)
{
    alore_ctx *ctx = alo_ctx(m);
    const alo_site *host = &m->sites[site];
    const alo_rule *r = &m->rules[rule];
    const char *name = alo_name(m, host->name);
    const float *values[8] = {NULL};
    alore_recipe recipe = r->recipe;
    size_t in = alo_zu(host->s.in), cols = alo_zu(host->s.out);
    alo_lora f;
    int rank;
    alore_status s;
    memset(&f, 0, sizeof f);
    recipe.parts = r->parts;
    if (!r->method->factors || recipe.place == ALORE_PLACE_OUTPUT || r->parts[0] ||
        host->rules > 1 || host->groups > 1 || host->s.host != ALORE_HOST_LINEAR)
        return alo_fail(ctx, ALORE_ERR_UNSUPPORTED, name,
                        "%s at %s has no plain LoRA form (one rule, in front of or beside a "
                        "whole linear layer)", alo_name(m, r->text), name);
    rank = r->method->factors(&host->s, &recipe, NULL, NULL, NULL, NULL);
    f.host_bytes = alo_mul(alo_mul(in, cols), sizeof(float));
    f.left_bytes = alo_mul(alo_mul(in, alo_zu(rank)), sizeof(float));
    f.right_bytes = alo_mul(alo_mul(alo_zu(rank), cols), sizeof(float));
    f.host = (float *)alo_new(ctx, f.host_bytes);
    f.left = f.host ? (float *)alo_new(ctx, f.left_bytes) : NULL;
    f.right = f.left ? (float *)alo_new(ctx, f.right_bytes) : NULL;
    s = f.right ? alo_lora_host(m, host, base, adapter, f.host) : ALORE_ERR_MEMORY;
    if (s == ALORE_OK) s = alo_lora_params(run, m, site, rule, values, 8);
    if (s == ALORE_OK) {
        (void)r->method->factors(&host->s, &recipe, values, f.host, f.left, f.right);
        s = alo_lora_tensor(out, name, "A", host->s.in, rank, f.left);
    }
    if (s == ALORE_OK) s = alo_lora_tensor(out, name, "B", rank, host->s.out, f.right);
    alo_print(rules, rules->used ? ";lora:rank=%d@%s" : "lora:rank=%d@%s", rank, name);
    alo_free(ctx, f.host, f.host_bytes);
    alo_free(ctx, f.left, f.left_bytes);
    alo_free(ctx, f.right, f.right_bytes);
    return s;
}

/* All sites, the unfrozen tensors, and the rules; `rules` has room for them. */
static alore_status alo_lora_all(const alore_run *run, const alore_model *m,
                                 const alore_weights *base, const alore_weights *adapter,
                                 alore_weights *out, alo_text *rules)
{
    alore_status s = ALORE_OK;
    alore_model *mutable_model = (alore_model *)(uintptr_t)m; /* alo_takes counts hits */
    for (int i = 0; i < m->site_count; ++i)
        for (int r = 0; r < m->rule_count && s == ALORE_OK; ++r)
            if (m->rules[r].method && m->sites[i].rules &&
                alo_takes(mutable_model, &m->rules[r], &m->sites[i]))
                s = alo_lora_site(run, m, i, r, base, adapter, out, rules);
    for (int r = 0; r < m->rule_count; ++r)
        if (!m->rules[r].method)
            alo_print(rules, rules->used ? ";%s" : "%s", alo_name(m, m->rules[r].text));
    for (int i = 0; i < alore_weights_count(adapter) && s == ALORE_OK; ++i) {
        const alore_tensor *t = alore_weights_at(adapter, i);
        int p = alo_param_find(m, t->name);
        if (p >= 0 && m->params[p].base) s = alore_weights_add(out, t);
    }
    for (int i = 0; i < alore_weights_meta_count(adapter) && s == ALORE_OK; ++i) {
        const char *key, *value;
        alore_weights_meta_at(adapter, i, &key, &value);
        s = alore_weights_set_meta(out, key, value);
    }
    if (s == ALORE_OK) s = alore_weights_set_meta(out, "alore.rules", rules->data);
    if (s == ALORE_OK) s = alore_weights_set_meta(out, "alore.frozen", NULL);
    return s;
}

ALORE_API alore_status alore_export_lora(const alore_model *m, const alore_weights *base,
                                         const alore_weights *adapter, alore_weights **lora)
{
    alore_ctx *ctx = alo_ctx(m);
    size_t room = alo_sum(alo_mul(alo_zu(m->site_count), 300), alo_zu(m->name_bytes) + 1);
    alo_text rules = {NULL, room, 0};
    alore_plan *plan = NULL;
    alore_run *run = NULL;
    alore_weights *out = NULL;
    alore_status s;
    *lora = NULL;
    s = alore_plan_create(m, NULL, &plan);
    if (s == ALORE_OK) s = alore_run_create(plan, base, &run);
    if (s == ALORE_OK) s = alore_run_load(run, adapter);
    if (s == ALORE_OK) s = alore_weights_create(ctx, &out);
    if (s == ALORE_OK && !(rules.data = (char *)alo_new(ctx, room))) s = ALORE_ERR_MEMORY;
    if (s == ALORE_OK) s = alo_lora_all(run, m, base, adapter, out, &rules);
    alo_free(ctx, rules.data, room);
    alore_run_destroy(run);
    alore_plan_destroy(plan);
    if (s == ALORE_OK)
        *lora = out;
    else
        alore_weights_destroy(out);
    return s;
}

/* ============================================================================
 * >> 21 selftest
 *
 * What every result rests on, asked of the machine and the compiler: the random
 * numbers (vectors published with Random123), the mathematics (exact bits), the two
 * half types, and that products are not fused with sums behind our back.
 * ========================================================================== */

static alore_status alo_test_random(alore_ctx *ctx)
{
    static const uint32_t rows[3][10] = {
        /* counter, key, result */
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff,
         0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0,
         0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}};
    for (int row = 0; row < 3; ++row) {
        uint32_t out[4];
        alo_philox(rows[row], rows[row] + 4, out);
        for (int i = 0; i < 4; ++i)
            if (out[i] != rows[row][6 + i])
                return alo_fail(ctx, ALORE_ERR_TOLERANCE, NULL,
                                "Philox vector %d, word %d: %x, not %x", row, i,
                                (uint64_t)out[i], (uint64_t)rows[row][6 + i]);
    }
    return ALORE_OK;
}

static alore_status alo_test_math(alore_ctx *ctx)
{
    static const struct {
        const char *name;
        float (*of)(float);
        uint32_t in, out;
    } rows[] = {
        {"exp", alo_exp, 0x3f800000, 0x402df854},
        {"exp", alo_exp, 0xc124cccd, 0x380d1141},
        {"exp", alo_exp, 0x42a03333, 0x793cb085},
        {"log", alo_ln, 0x41200000, 0x40135d8e},
        {"log", alo_ln, 0x3f333333, 0xbeb69e1a},
        {"log", alo_ln, 0x0da24260, 0xc28a27b5},
        {"erf", alo_erf, 0x3e99999a, 0x3ea841c5},
        {"erf", alo_erf, 0xbf8ccccd, 0xbf61551e},
        {"erf", alo_erf, 0x402ccccd, 0x3f7ff732},
        {"tanh", alo_tanh, 0x3ecccccd, 0x3ec288ac},
        {"tanh", alo_tanh, 0xbf666666, 0xbf375f4c},
        {"tanh", alo_tanh, 0x40533333, 0x3f7f4df0},
        {"sin", alo_sin, 0xc0400000, 0xbe1081c3},
        {"sin", alo_sin, 0x447a0000, 0x3f53ae61},
        {"cos", alo_cos, 0x3f000000, 0x3f60a940},
        {"cos", alo_cos, 0x447a0000, 0x3f0ff813},
        {"square root", alo_sqrt, 0x40000000, 0x3fb504f3},
        {"square root", alo_sqrt, 0x1e3ce508, 0x2edbe6ff},
        {"square root", alo_sqrt, 0x72177617, 0x58c4e950},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
        uint32_t out = alo_bits(rows[i].of(alo_float(rows[i].in)));
        if (out != rows[i].out)
            return alo_fail(ctx, ALORE_ERR_TOLERANCE, NULL,
                            "%s of float %x has the bits %x, not %x", rows[i].name,
                            (uint64_t)rows[i].in, (uint64_t)out, (uint64_t)rows[i].out);
    }
    return ALORE_OK;
}

static alore_status alo_test_halves(alore_ctx *ctx)
{
    static const uint32_t rows[][3] = {
        /* float, half, bfloat */
        {0x00000000, 0x0000, 0x0000}, {0x3f800000, 0x3c00, 0x3f80},
        {0xbf801000, 0xbc00, 0xbf80}, {0x3f803000, 0x3c02, 0x3f80},
        {0x477fefff, 0x7bff, 0x4780}, {0x477ff000, 0x7c00, 0x4780},
        {0x33000001, 0x0001, 0x3300}, {0xff800000, 0xfc00, 0xff80},
        {0x7f800001, 0x7e00, 0x7fc0}, {0x3f818000, 0x3c0c, 0x3f82}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
        uint32_t half = alore_float_to_half(alo_float(rows[i][0]));
        uint32_t bfloat = alore_float_to_bfloat(alo_float(rows[i][0]));
        if (half != rows[i][1] || bfloat != rows[i][2])
            return alo_fail(ctx, ALORE_ERR_TOLERANCE, NULL,
                            "float %x becomes half %x and bfloat %x, not %x and %x",
                            (uint64_t)rows[i][0], (uint64_t)half, (uint64_t)bfloat,
                            (uint64_t)rows[i][1], (uint64_t)rows[i][2]);
    }
    if (alo_bits(alore_half_to_float(0x0001)) != 0x33800000u ||
        alo_bits(alore_half_to_float(0xfbff)) != 0xc77fe000u)
        return alo_fail(ctx, ALORE_ERR_TOLERANCE, NULL,
                        "halves 1 and fbff become floats %x and %x",
                        (uint64_t)alo_bits(alore_half_to_float(0x0001)),
                        (uint64_t)alo_bits(alore_half_to_float(0xfbff)));
    return ALORE_OK;
}

/* (1 + e)^2 = 1 + 2 e + e^2 with e = 2^-12: rounded, the product loses e^2; fused or
 * in wider registers it does not. The zero is one that no compiler can know: there
 * are at most 1024 threads. */
static alore_status alo_test_products(alore_ctx *ctx)
{
    float zero = (float)(ctx->config.threads / 2048);
    float a = 1.000244140625f + zero, b = 1.00048828125f + zero;
    float rest = a * a - b;
    if (alo_bits(rest) & 0x7fffffffu)
        return alo_fail(ctx, ALORE_ERR_TOLERANCE, NULL,
                        "this build fuses products with sums or keeps extra digits; "
                        "compile it with -ffp-contract=off");
    return ALORE_OK;
}

ALORE_API alore_status alore_selftest(alore_ctx *ctx)
{
    alore_status status;
    if (!ctx) return ALORE_ERR_ARGUMENT;
    status = alo_test_products(ctx);
    if (!status) status = alo_test_random(ctx);
    if (!status) status = alo_test_math(ctx);
    if (!status) status = alo_test_halves(ctx);
    return status;
}

#undef ALO_IMPLEMENTING
#endif /* ALO_IMPLEMENTING */
