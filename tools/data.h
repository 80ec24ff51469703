/* data.h - the forms of data that the command line reads, item by item.
 *
 *   FILE.safetensors        image F32 [n,3,h,w] or U8 [n,h,w,c], label I32 or I64 [n]
 *   DIR                     a folder for each class, PPM and PGM inside
 *   list:FILE[,root=DIR]    lines "path label"; paths are relative to root or FILE
 *   idx:IMAGES[,LABELS]     MNIST's files; gzip where built with ALORE_ZLIB
 *   cifar10:DIR, cifar100:DIR   the binary version: the training images, then the test
 *   ...[a:b]                items a to b-1 of any of these
 *
 * An item becomes the network's input, rows of pixels [height * width, 3]. Items are
 * named in messages by their place in the whole data, whatever the range. As in
 * images.h a function that fails returns false and says why. */
#ifndef ALORE_TOOLS_DATA_H
#define ALORE_TOOLS_DATA_H

#include "images.h"
#include <dirent.h>
#include <limits.h>
#include <sys/stat.h>
#ifdef ALORE_ZLIB
#    include <zlib.h>
#endif

typedef struct data_set {
    int total, first, count;     /* items there are; the range */
    int *labels;                 /* [total], or NULL */
    char **paths;                /* [total] pictures in files, or NULL */
    int room;                    /* of both, while they grow */
    char *names;                 /* of the classes, joined by ',', or NULL: not known */
    int classes;                 /* as the data itself says, 0: it does not */
    int test;                    /* the first item of a test set that is there, or -1 */
    unsigned char *bytes;        /* own memory behind `pixels` */
    const unsigned char *pixels; /* U8 pictures, or NULL; strides in bytes */
    size_t item, row, column, channel;
    int height, width;          /* of these and of `floats` */
    const alore_tensor *floats; /* F32 [n, 3, h, w], or NULL */
    alore_weights *file;
} data_set;

static inline void data_close(data_set *d)
{
    for (int i = 0; d->paths && i < d->total; ++i) free(d->paths[i]);
    free(d->paths);
    free(d->labels);
    free(d->names);
    free(d->bytes);
    alore_weights_destroy(d->file);
    memset(d, 0, sizeof *d);
}

/* ---- Text and lists --------------------------------------------------------- */

/* A copy of `bytes` bytes and a NUL; NULL without memory. */
static char *data_copy(const char *s, size_t bytes)
{
    char *copy = (char *)malloc(bytes + 1);
    if (copy) memcpy(copy, s, bytes), copy[bytes] = 0;
    return copy;
}

/* "folder/file"; an absolute `file` or an empty `folder` leaves `file`. */
static char *data_join(const char *folder, const char *file)
{
    size_t bytes = strlen(folder) + strlen(file) + 2;
    char *path = (char *)malloc(bytes);
    if (path && (*file == '/' || !*folder))
        snprintf(path, bytes, "%s", file);
    else if (path)
        snprintf(path, bytes, "%s/%s", folder, file);
    return path;
}

/* Append to the names of the classes. */
static bool data_name(data_set *d, const char *name, char *why)
{
    size_t used = d->names ? strlen(d->names) : 0, more = strlen(name);
    char *wider = (char *)realloc(d->names, used + more + 2);
    if (!wider) return img_fail(why, "no memory for the names of the classes");
    snprintf(wider + used, more + 2, "%s%s", used ? "," : "", name);
    d->names = wider;
    return true;
}

/* Append a picture file; `path` is taken over. */
static bool data_push(data_set *d, char *path, int label, char *why)
{
    if (path && d->total == d->room && d->room < INT_MAX / 2) {
        int room = d->room ? 2 * d->room : 256;
        char **paths = (char **)realloc(d->paths, (size_t)room * sizeof *paths);
        if (paths) d->paths = paths;
        int *labels = (int *)realloc(d->labels, (size_t)room * sizeof *labels);
        if (labels) d->labels = labels;
        if (paths && labels) d->room = room;
    }
    if (!path || d->total == d->room) {
        free(path);
        return img_fail(why, "no memory for item %d", d->total);
    }
    d->paths[d->total] = path;
    d->labels[d->total++] = label;
    return true;
}

/* As img_file; the sentence names the path. */
static bool data_file(const char *path, unsigned char **data, size_t *count, char *why)
{
    char text[IMG_WHY];
    if (img_file(path, data, count, text)) return true;
    return img_fail(why, "%.250s: %.200s", path, text);
}

/* A number of one to nine digits up to `end`. */
static bool data_digits(const char *s, const char *end, int *out)
{
    int v = 0;
    if (s == end || end - s > 9) return false;
    for (; s < end; ++s) {
        if (*s < '0' || *s > '9') return false;
        v = 10 * v + (*s - '0');
    }
    *out = v;
    return true;
}

/* Whether the text ends so, without regard to case. */
static bool data_ends(const char *text, const char *ending)
{
    size_t n = strlen(text), m = strlen(ending);
    for (size_t i = 0; i < m; ++i) {
        char c = n < m ? 0 : text[n - m + i];
        if ((c >= 'A' && c <= 'Z' ? c + 32 : c) != ending[i]) return false;
    }
    return true;
}

/* ---- Folders ---------------------------------------------------------------- */

static int data_compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void data_free_list(char **list, int count)
{
    for (int i = 0; i < count; ++i) free(list[i]);
    free(list);
}

/* The folders or else the files of `path`, sorted by name, without hidden ones. */
static bool data_entries(const char *path, bool folders, char ***out, int *count, char *why)
{
    char **list = NULL;
    int n = 0, room = 0;
    bool good = true;
    DIR *dir = opendir(path);
    if (!dir) return img_fail(why, "%s: cannot be read: %s", path, strerror(errno));
    for (struct dirent *e; good && (e = readdir(dir));) {
        struct stat info;
        if (e->d_name[0] == '.') continue;
        char *full = data_join(path, e->d_name);
        bool wanted = full && !stat(full, &info) && S_ISDIR(info.st_mode) == folders;
        good = full != NULL;
        free(full);
        if (!wanted) continue;
        if (n == room) {
            room = room ? 2 * room : 64;
            char **wider = (char **)realloc(list, (size_t)room * sizeof *list);
            good = wider && n < INT_MAX / 4;
            if (wider) list = wider;
        }
        if (good) good = (list[n] = data_copy(e->d_name, strlen(e->d_name))) != NULL;
        if (good) ++n;
    }
    closedir(dir);
    if (!good) {
        data_free_list(list, n);
        return img_fail(why, "%s: no memory for its %d entries", path, n);
    }
    if (n) qsort(list, (size_t)n, sizeof *list, data_compare);
    *out = list;
    *count = n;
    return true;
}

/* The pictures of one class. */
static bool data_class(data_set *d, const char *folder, int label, char *why)
{
    char **files = NULL;
    int count = 0, before = d->total;
    bool good = data_entries(folder, false, &files, &count, why);
    for (int i = 0; good && i < count; ++i) {
        const char *f = files[i];
        if (data_ends(f, ".jpg") || data_ends(f, ".jpeg") || data_ends(f, ".png"))
            good = img_fail(why, "%s/%s: JPEG and PNG are not read yet: convert to PPM", folder, f);
        else if (data_ends(f, ".ppm") || data_ends(f, ".pgm") || data_ends(f, ".pnm"))
            good = data_push(d, data_join(folder, f), label, why);
    }
    if (good && d->total == before) good = img_fail(why, "%s: no picture in it (.ppm, .pgm, .pnm)", folder);
    data_free_list(files, count);
    return good;
}

static bool data_folder(data_set *d, const char *path, char *why)
{
    char **classes = NULL;
    int count = 0;
    bool good = data_entries(path, true, &classes, &count, why), named = true;
    if (good && !count) good = img_fail(why, "%s: no folder in it; each class is one", path);
    for (int i = 0; good && i < count; ++i) {
        char *folder = data_join(path, classes[i]);
        good = folder ? data_class(d, folder, i, why) : img_fail(why, "no memory");
        named = named && !strchr(classes[i], ',');
        free(folder);
    }
    for (int i = 0; good && named && i < count; ++i) good = data_name(d, classes[i], why);
    d->classes = count;
    data_free_list(classes, count);
    return good;
}

/* ---- Lists ------------------------------------------------------------------ */

/* "FILE[,root=DIR]": one item a line, its label behind the last blank. */
static bool data_list(data_set *d, char *text, char *why)
{
    unsigned char *file = NULL;
    size_t bytes = 0;
    int line = 0;
    bool good = true;
    char *root = strstr(text, ",root="), *slash;
    if (root) *root = 0, root += 6;
    if (!data_file(text, &file, &bytes, why)) return false;
    slash = strrchr(text, '/');
    char *folder = data_copy(text, slash ? (size_t)(slash - text) + 1 : 0);
    if (!folder) good = img_fail(why, "no memory");
    for (char *s = (char *)file, *next; good && s < (char *)file + bytes; s = next) {
        char *end = s + strcspn(s, "\n"), *space;
        int label = 0;
        next = end + 1;
        ++line;
        while (end > s && img_blank((unsigned char)end[-1])) --end;
        *end = 0;
        s += strspn(s, " \t");
        if (!*s) continue;
        for (space = end; space > s && !img_blank((unsigned char)space[-1]);) --space;
        if (space == s || !data_digits(space, end, &label)) {
            good = img_fail(why, "%s: line %d is no 'path label'", text, line);
            break;
        }
        while (img_blank((unsigned char)space[-1])) --space;
        *space = 0;
        good = data_push(d, data_join(root ? root : folder, s), label, why);
    }
    if (good && !d->total) good = img_fail(why, "%s: no item in it", text);
    free(folder);
    free(file);
    return good;
}

/* ---- MNIST's files ---------------------------------------------------------- */

#ifdef ALORE_ZLIB
/* As img_file, unpacked where it is gzip; at most 2^31 bytes. */
static bool data_unpacked(const char *path, unsigned char **data, size_t *count, char *why)
{
    size_t room = 1 << 20, used = 0;
    unsigned char *block = NULL;
    gzFile f = gzopen(path, "rb");
    if (!f) return img_fail(why, "%s: cannot be read: %s", path, strerror(errno));
    for (int got = 1; got > 0; used += (size_t)got) {
        unsigned char *wider = block;
        if (!block || used == room) wider = (unsigned char *)realloc(block, block ? room *= 2 : room);
        if (!wider || room > (size_t)1 << 31) {
            free(wider ? wider : block);
            gzclose(f);
            return img_fail(why, "%s: no memory for more than %zu bytes", path, used);
        }
        block = wider;
        got = gzread(f, block + used, (unsigned)(room - used));
        if (got < 0) {
            int code;
            img_fail(why, "%s: byte %zu: %s", path, used, gzerror(f, &code));
            gzclose(f);
            free(block);
            return false;
        }
    }
    if (gzclose(f) != Z_OK) {
        free(block);
        return img_fail(why, "%s: the gzip data end early, after %zu bytes", path, used);
    }
    *data = block;
    *count = used;
    return true;
}
#else
static bool data_unpacked(const char *path, unsigned char **data, size_t *count, char *why)
{
    if (!data_file(path, data, count, why)) return false;
    if (*count < 2 || (*data)[0] != 0x1f || (*data)[1] != 0x8b) return true;
    free(*data);
    *data = NULL;
    return img_fail(why, "%s: gzip, and this build has no zlib: unpack it first", path);
}
#endif

static uint32_t data_u32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* An idx file of bytes with `rank` extents, checked against the file's length. */
static bool data_idx_file(const char *path, int rank, unsigned char **data, uint32_t dims[3], char *why)
{
    size_t bytes = 0, head = 4 + 4 * (size_t)rank;
    uint64_t want = 1;
    if (!data_unpacked(path, data, &bytes, why)) return false;
    if (bytes < head || data_u32(*data) != 0x800 + (uint32_t)rank)
        return img_fail(why, "%s: no idx file of bytes with %d extents", path, rank);
    for (int i = 0; i < rank; ++i) {
        dims[i] = data_u32(*data + 4 + 4 * i);
        want = dims[i] && want > UINT64_MAX / dims[i] ? UINT64_MAX : want * dims[i];
    }
    if (want != bytes - head)
        return img_fail(why, "%s: %zu bytes of values, its extents ask for %llu", path, bytes - head,
                        (unsigned long long)want);
    return true;
}

/* "IMAGES[,LABELS]" */
static bool data_idx(data_set *d, char *text, char *why)
{
    uint32_t dims[3] = {0}, labels[3] = {0};
    unsigned char *label = NULL;
    char *comma = strchr(text, ',');
    bool good = true;
    if (comma) *comma = 0;
    if (!data_idx_file(text, 3, &d->bytes, dims, why)) return false;
    if (dims[0] > INT_MAX || !dims[1] || !dims[2] || dims[1] > IMG_SIDE || dims[2] > IMG_SIDE)
        return img_fail(why, "%s: %u pictures of %u x %u cannot be used", text, (unsigned)dims[0],
                        (unsigned)dims[1], (unsigned)dims[2]);
    d->total = (int)dims[0];
    d->height = (int)dims[1];
    d->width = (int)dims[2];
    d->pixels = d->bytes + 16;
    d->item = (size_t)dims[1] * dims[2];
    d->row = dims[2];
    d->column = 1;
    if (!comma) return true;
    good = data_idx_file(comma + 1, 1, &label, labels, why);
    if (good && labels[0] != dims[0])
        good =
            img_fail(why, "%s: %u labels for %u pictures", comma + 1, (unsigned)labels[0], (unsigned)dims[0]);
    if (good) d->labels = (int *)malloc(((size_t)d->total + 1) * sizeof(int));
    if (good && !d->labels) good = img_fail(why, "no memory for the labels");
    for (int i = 0; good && i < d->total; ++i) d->labels[i] = label[8 + i];
    free(label);
    return good;
}

/* ---- CIFAR ------------------------------------------------------------------ */

/* Append the records of one file; one that is not there is passed over. */
static bool data_cifar_file(data_set *d, const char *path, char *why)
{
    unsigned char *file = NULL, *wider;
    size_t bytes = 0, have = (size_t)d->total * d->item;
    struct stat info;
    if (stat(path, &info)) return true;
    if (!data_file(path, &file, &bytes, why)) return false;
    bool good = bytes && bytes % d->item == 0 && bytes / d->item <= (size_t)(INT_MAX / 2 - d->total);
    if (!good) img_fail(why, "%s: %zu bytes are no records of %zu", path, bytes, d->item);
    if (good && !(wider = (unsigned char *)realloc(d->bytes, have + bytes)))
        good = img_fail(why, "%s: no memory for %zu bytes", path, have + bytes);
    else if (good) {
        d->bytes = wider;
        memcpy(wider + have, file, bytes);
        d->total += (int)(bytes / d->item);
    }
    free(file);
    return good;
}

/* Names of the classes from the text file beside the data, if it is there. */
static bool data_cifar_names(data_set *d, const char *path, char *why)
{
    unsigned char *file = NULL;
    size_t bytes = 0;
    struct stat info;
    int n = 0;
    if (stat(path, &info)) return true;
    if (!data_file(path, &file, &bytes, why)) return false;
    for (char *s = strtok((char *)file, "\r\n"); s; s = strtok(NULL, "\r\n"), ++n) {
        if (!data_name(d, s, why)) {
            free(file);
            return false;
        }
    }
    free(file);
    if (n != d->classes) return img_fail(why, "%s: %d names for %d classes", path, n, d->classes);
    return true;
}

/* A folder with the files of the binary version, or one of them. */
static bool data_cifar(data_set *d, const char *path, int classes, char *why)
{
    static const char *const ten[] = {"data_batch_1.bin",
                                      "data_batch_2.bin",
                                      "data_batch_3.bin",
                                      "data_batch_4.bin",
                                      "data_batch_5.bin",
                                      "test_batch.bin",
                                      NULL};
    static const char *const hundred[] = {"train.bin", "test.bin", NULL};
    struct stat info;
    size_t head = classes == 10 ? 1 : 2;
    const char *const *names = classes == 10 ? ten : hundred;
    if (stat(path, &info)) return img_fail(why, "%s: cannot be read: %s", path, strerror(errno));
    d->classes = classes;
    d->item = head + 3072;
    bool folder = S_ISDIR(info.st_mode), good = true;
    if (!folder) good = data_cifar_file(d, path, why);
    for (int i = 0; folder && good && names[i]; ++i) {
        char *file = data_join(path, names[i]);
        if (!names[i + 1]) d->test = d->total;
        good = file ? data_cifar_file(d, file, why) : img_fail(why, "no memory");
        free(file);
    }
    if (good && !d->total)
        good = img_fail(why, "%s: none of %s to %s is there", path, names[0],
                        classes == 10 ? ten[5] : hundred[1]);
    if (d->test == d->total) d->test = -1;
    if (good && folder) {
        char *file = data_join(path, classes == 10 ? "batches.meta.txt" : "fine_label_names.txt");
        good = file ? data_cifar_names(d, file, why) : img_fail(why, "no memory");
        free(file);
    }
    if (good) d->labels = (int *)malloc((size_t)d->total * sizeof(int));
    if (good && !d->labels) good = img_fail(why, "no memory for the labels");
    for (int i = 0; good && i < d->total; ++i) d->labels[i] = d->bytes[(size_t)i * d->item + head - 1];
    d->pixels = d->bytes ? d->bytes + head : NULL;
    d->height = d->width = 32;
    d->row = 32;
    d->column = 1;
    d->channel = 1024;
    return good;
}

/* ---- Tensors ---------------------------------------------------------------- */

/* Whole numbers of the file, which are little-endian and may stand anywhere. */
static bool data_tensor_labels(data_set *d, const alore_tensor *t, char *why)
{
    size_t bytes = t->dtype == ALORE_I32 ? 4 : 8;
    if ((t->dtype != ALORE_I32 && t->dtype != ALORE_I64) || t->rank != 1)
        return img_fail(why, "label: %s with %d extents, not I32 or I64 [n]", alore_dtype_name(t->dtype),
                        t->rank);
    if (t->dims[0] != (uint64_t)d->total)
        return img_fail(why, "%llu labels for %d images", (unsigned long long)t->dims[0], d->total);
    d->labels = (int *)malloc(((size_t)d->total + 1) * sizeof(int));
    if (!d->labels) return img_fail(why, "no memory for the labels");
    for (int i = 0; i < d->total; ++i) {
        const unsigned char *p = (const unsigned char *)t->data + (size_t)i * bytes;
        uint64_t v = 0;
        for (size_t b = bytes; b-- > 0;) v = v << 8 | p[b];
        d->labels[i] = v > INT_MAX ? -1 : (int)v;
    }
    return true;
}

static bool data_tensors(data_set *d, alore_ctx *ctx, const char *path, char *why)
{
    if (alore_weights_load(ctx, path, &d->file) != ALORE_OK)
        return img_fail(why, "%s: %s", path, alore_last_error(ctx)->text);
    const alore_tensor *t = alore_weights_find(d->file, "image");
    const alore_tensor *label = alore_weights_find(d->file, "label");
    const char *names = alore_weights_meta(d->file, "alore.labels");
    if (!t) return img_fail(why, "%s: no tensor 'image' in it", path);
    bool u8 = t->dtype == ALORE_U8 && t->rank == 4 && (t->dims[3] == 1 || t->dims[3] == 3);
    bool f32 = t->dtype == ALORE_F32 && t->rank == 4 && t->dims[1] == 3;
    if (!u8 && !f32)
        return img_fail(why,
                        "%s: image is %s with %d extents, neither F32 [n,3,h,w] "
                        "nor U8 [n,h,w,1 or 3]",
                        path, alore_dtype_name(t->dtype), t->rank);
    uint64_t h = t->dims[u8 ? 1 : 2], w = t->dims[u8 ? 2 : 3];
    if (t->dims[0] > INT_MAX / 2 || h < 1 || w < 1 || h > IMG_SIDE || w > IMG_SIDE)
        return img_fail(why, "%s: %llu images of %llu x %llu cannot be used", path,
                        (unsigned long long)t->dims[0], (unsigned long long)h, (unsigned long long)w);
    d->total = (int)t->dims[0];
    d->height = (int)h;
    d->width = (int)w;
    if (f32) d->floats = t;
    if (u8) {
        d->pixels = (const unsigned char *)t->data;
        d->column = (size_t)t->dims[3];
        d->channel = d->column == 3;
        d->row = (size_t)w * d->column;
        d->item = (size_t)h * d->row;
    }
    if (names && *names && !data_name(d, names, why)) return false;
    return !label || data_tensor_labels(d, label, why);
}

/* ---- All forms -------------------------------------------------------------- */

/* Cut "[a:b]" off the text's end; either number may be left out. */
static bool data_range(char *text, int *first, int *last)
{
    char *open = strrchr(text, '['), *end = text + strlen(text), *colon;
    if (!open || end[-1] != ']' || !(colon = strchr(open, ':'))) return false;
    if (colon > open + 1 && !data_digits(open + 1, colon, first)) return false;
    if (end - 1 > colon + 1 && !data_digits(colon + 1, end - 1, last)) return false;
    *open = 0;
    return true;
}

/* Open the data named by `text`. Close it also where this fails. */
static inline bool data_open(data_set *d, alore_ctx *ctx, const char *text, char *why)
{
    int first = 0, last = -1;
    struct stat info;
    bool good;
    memset(d, 0, sizeof *d);
    d->test = -1;
    char *form = data_copy(text, strlen(text));
    if (!form) return img_fail(why, "no memory");
    bool cut = data_range(form, &first, &last);
    if (!strncmp(form, "list:", 5))
        good = data_list(d, form + 5, why);
    else if (!strncmp(form, "idx:", 4))
        good = data_idx(d, form + 4, why);
    else if (!strncmp(form, "cifar10:", 8))
        good = data_cifar(d, form + 8, 10, why);
    else if (!strncmp(form, "cifar100:", 9))
        good = data_cifar(d, form + 9, 100, why);
    else if (stat(form, &info))
        good = img_fail(why, "%s: cannot be read: %s", form, strerror(errno));
    else if (S_ISDIR(info.st_mode))
        good = data_folder(d, form, why);
    else
        good = data_tensors(d, ctx, form, why);
    free(form);
    if (!good) return false;
    if (last < 0) last = d->total;
    if (cut && (first >= last || last > d->total))
        return img_fail(why, "the range [%d:%d] of %d items", first, last, d->total);
    if (!d->total) return img_fail(why, "no item in it");
    d->first = first;
    d->count = last - first;
    return true;
}

/* Item `i` of the range as it is called in messages. */
static void data_item_name(const data_set *d, int i, char out[256])
{
    if (d->paths)
        snprintf(out, 256, "item %d (%.200s)", d->first + i, d->paths[d->first + i]);
    else
        snprintf(out, 256, "item %d", d->first + i);
}

/* Every item of the range has a label below `classes`. */
static inline bool data_check_labels(const data_set *d, int classes, char *why)
{
    if (!d->labels) return img_fail(why, "there are no labels");
    for (int i = 0; i < d->count; ++i) {
        char name[256];
        int label = d->labels[d->first + i];
        if (label >= 0 && label < classes) continue;
        data_item_name(d, i, name);
        if (label < 0) return img_fail(why, "%s: its label is not 0 to %d", name, classes - 1);
        return img_fail(why, "%s: label %d, there are %d classes: 0 to %d", name, label, classes,
                        classes - 1);
    }
    return true;
}

static inline int data_label(const data_set *d, int i) { return d->labels[d->first + i]; }

/* A float image [3, h, w] as rows of pixels. */
static void data_floats(const data_set *d, int at, float *out)
{
    size_t pixels = (size_t)d->height * (size_t)d->width;
    float part[256];
    for (size_t c = 0; c < 3; ++c) {
        for (size_t p = 0; p < pixels; p += 256) {
            size_t n = pixels - p < 256 ? pixels - p : 256;
            alore_tensor_read(d->floats, ((size_t)at * 3 + c) * pixels + p, n, part);
            for (size_t i = 0; i < n; ++i) out[3 * (p + i) + c] = part[i];
        }
    }
}

/* The picture of item `at` of the whole data, before any step. */
static bool data_picture(const data_set *d, int at, img_picture *out, char *why)
{
    if (d->paths) {
        unsigned char *file = NULL;
        size_t bytes = 0;
        if (!img_file(d->paths[at], &file, &bytes, why)) return false;
        bool good = img_decode(file, bytes, out, why);
        free(file);
        return good;
    }
    size_t pixels = (size_t)d->height * (size_t)d->width;
    const unsigned char *from = d->pixels + (size_t)at * d->item;
    out->height = d->height;
    out->width = d->width;
    out->pixels = (unsigned char *)malloc(3 * pixels);
    if (!out->pixels) return img_fail(why, "no memory for %zu pixels", pixels);
    for (size_t p = 0; p < pixels; ++p) {
        size_t y = p / (size_t)d->width, x = p % (size_t)d->width;
        for (size_t c = 0; c < 3; ++c)
            out->pixels[3 * p + c] = from[y * d->row + x * d->column + c * d->channel];
    }
    return true;
}

/* Item `i` of the range as input [height * width, 3]. */
static inline bool data_item(const data_set *d, int i, const img_transform *t, int height, int width,
                             float *out, char *why)
{
    char name[256] = "", text[IMG_WHY] = "";
    img_picture p = {d->height, d->width, NULL};
    bool good = d->floats || (data_picture(d, d->first + i, &p, text) && img_apply(&p, t, text));
    if (good && (p.height != height || p.width != width))
        good = img_fail(text, "the image is %d x %d, the network takes %d x %d", p.height, p.width, height,
                        width);
    if (good && d->floats)
        data_floats(d, d->first + i, out);
    else if (good)
        img_floats(&p, t, out);
    free(p.pixels);
    if (good) return true;
    data_item_name(d, i, name);
    return img_fail(why, "%s: %.240s", name, text);
}

#endif /* ALORE_TOOLS_DATA_H */
