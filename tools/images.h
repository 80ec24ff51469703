/* images.h - pictures become the network's input.
 *
 * PPM and PGM reading, Pillow's resize in its own integers, torchvision's crop and
 * normalisation, and the text that names these steps. Bit for bit the pixels that
 * Pillow (up to 12) and torchvision give. Used by alore.c and by the tests; nothing
 * here needs alore.h. A function that fails returns false and leaves one sentence in
 * `why` [IMG_WHY]. */
#ifndef ALORE_TOOLS_IMAGES_H
#define ALORE_TOOLS_IMAGES_H

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__clang__)
#    pragma STDC FP_CONTRACT OFF
#endif
#if defined(__GNUC__)
#    define IMG_FORMAT(at) __attribute__((format(printf, at, at + 1)))
#else
#    define IMG_FORMAT(at)
#endif

enum {
    IMG_WHY = 512,          /* bytes of a sentence */
    IMG_PIXELS = 178956970, /* most pixels of a picture, as in Pillow */
    IMG_SIDE = 65535,       /* longest side that a transform may ask for */
    IMG_STEPS = 8
};

typedef struct img_picture {
    int height, width;
    unsigned char *pixels; /* [height, width, 3], from malloc */
} img_picture;

/* ---- Failing and reading files ---------------------------------------------- */

/* Write the sentence. Returns false, so that a caller can return it. */
IMG_FORMAT(2) static bool img_fail(char *why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why, IMG_WHY, format, args);
    va_end(args);
    return false;
}

/* A whole file in memory of its own, followed by a NUL that `count` leaves out. */
static inline bool img_file(const char *path, unsigned char **data, size_t *count, char *why)
{
    unsigned char *block = NULL;
    size_t room = 0, used = 0;
    FILE *f = fopen(path, "rb");
    if (!f) return img_fail(why, "cannot be read: %s", strerror(errno));
    for (;;) {
        if (used + 1 >= room) {
            size_t more = room ? 2 * room : 1 << 16;
            unsigned char *wider = more > room ? (unsigned char *)realloc(block, more) : NULL;
            if (!wider) {
                img_fail(why, "no memory for more than %zu bytes", used);
                break;
            }
            block = wider;
            room = more;
        }
        size_t got = fread(block + used, 1, room - used - 1, f);
        used += got;
        if (got) continue;
        if (ferror(f)) {
            img_fail(why, "cannot be read: %s", strerror(errno));
            break;
        }
        fclose(f);
        block[used] = 0;
        *data = block;
        *count = used;
        return true;
    }
    fclose(f);
    free(block);
    return false;
}

/* ---- PPM and PGM ------------------------------------------------------------ */

typedef struct img_scan {
    const unsigned char *at, *end;
} img_scan;

static bool img_blank(unsigned char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* A comment runs up to the end of its line. */
static void img_skip_comment(img_scan *s)
{
    while (s->at < s->end && *s->at != '\n' && *s->at != '\r') ++s->at;
}

/* The next number, with the blanks and comments before it; up to nine digits. */
static bool img_number(img_scan *s, const char *what, int *out, char *why)
{
    int value = 0, digits = 0;
    while (s->at < s->end && (img_blank(*s->at) || *s->at == '#')) {
        if (*s->at == '#')
            img_skip_comment(s);
        else
            ++s->at;
    }
    for (; s->at < s->end && *s->at >= '0' && *s->at <= '9'; ++s->at) {
        if (++digits > 9) return img_fail(why, "%s has more than 9 digits", what);
        value = 10 * value + (*s->at - '0');
    }
    if (s->at < s->end && !img_blank(*s->at) && *s->at != '#')
        return img_fail(why, "%s holds byte 0x%02x, which is no digit", what, *s->at);
    if (!digits) return img_fail(why, "the file ends before %s", what);
    *out = value;
    return true;
}

/* A sample as 8 bits, as Pillow scales it: double, half to even. */
static unsigned char img_scaled(int sample, int maxval)
{
    double v = rint((double)sample / maxval * 255);
    return (unsigned char)(v > 255 ? 255 : v);
}

/* The samples of P2 and P3. */
static bool img_text_samples(img_scan *s, unsigned char *out, size_t count, int maxval, char *why)
{
    for (size_t i = 0; i < count; ++i) {
        int v = 0;
        if (!img_number(s, "a sample", &v, why)) return false;
        if (v > maxval) return img_fail(why, "sample %zu is %d, maxval is %d", i, v, maxval);
        out[i] = img_scaled(v, maxval);
    }
    return true;
}

/* The samples of P5 and P6, one byte or two with the higher first. */
static void img_byte_samples(const img_scan *s, unsigned char *out, size_t count, int maxval)
{
    const unsigned char *p = s->at;
    for (size_t i = 0; i < count; ++i) {
        int v = maxval > 255 ? p[2 * i] << 8 | p[2 * i + 1] : p[i];
        out[i] = img_scaled(v, maxval);
    }
}

/* Read P2, P3, P5 or P6. Bytes behind the pixels are left alone. */
static bool img_ppm(const unsigned char *file, size_t bytes, img_picture *out, char *why)
{
    img_scan s = {file, file + bytes};
    int width = 0, height = 0, maxval = 0;
    if (bytes < 2 || file[0] != 'P' || !file[1] || !strchr("2356", file[1]))
        return img_fail(why, "neither PPM nor PGM (P2, P3, P5, P6)");
    bool text = file[1] < '5', grey = file[1] == '2' || file[1] == '5';
    s.at += 2;
    if (s.at < s.end && !img_blank(*s.at) && *s.at != '#')
        return img_fail(why, "byte 0x%02x stands behind P%c", *s.at, file[1]);
    if (!img_number(&s, "the width", &width, why) || !img_number(&s, "the height", &height, why) ||
        !img_number(&s, "maxval", &maxval, why))
        return false;
    if (width < 1 || height < 1 || height > IMG_PIXELS / width)
        return img_fail(why, "%d x %d is not 1 to %d pixels", height, width, IMG_PIXELS);
    if (maxval < 1 || maxval > 65535) return img_fail(why, "maxval %d is not 1 to 65535", maxval);
    if (s.at < s.end && *s.at == '#') img_skip_comment(&s);
    if (s.at < s.end) ++s.at; /* one blank */

    size_t pixels = (size_t)height * (size_t)width, count = grey ? pixels : 3 * pixels;
    size_t left = (size_t)(s.end - s.at), need = maxval > 255 ? 2 * count : count;
    if (text) need = 2 * count - 1; /* a digit each, and blanks between */
    if (left < need)
        return img_fail(why, "%zu bytes of pixels, %d x %d need %s%zu", left, height, width,
                        text ? "at least " : "", need);
    unsigned char *px = (unsigned char *)malloc(3 * pixels);
    if (!px) return img_fail(why, "no memory for %zu bytes of pixels", 3 * pixels);
    if (!text)
        img_byte_samples(&s, px, count, maxval);
    else if (!img_text_samples(&s, px, count, maxval, why)) {
        free(px);
        return false;
    }
    for (size_t i = pixels; grey && i-- > 0;) px[3 * i] = px[3 * i + 1] = px[3 * i + 2] = px[i];
    out->height = height;
    out->width = width;
    out->pixels = px;
    return true;
}

/* A picture from a file's bytes. */
static inline bool img_decode(const unsigned char *file, size_t bytes, img_picture *out, char *why)
{
    if ((bytes > 2 && !memcmp(file, "\xff\xd8\xff", 3)) || (bytes > 3 && !memcmp(file, "\x89PNG", 4)))
        return img_fail(why, "JPEG and PNG are not read yet: convert to PPM");
    return img_ppm(file, bytes, out, why);
}

/* ---- Resize: Pillow's, horizontal pass first -------------------------------- */

typedef struct img_axis { /* how each of `to` samples is made of `from` samples */
    int from, to, taps;
    int32_t *weights; /* [to, taps], 22 bits behind the point */
    int *first, *count;
} img_axis;

/* Triangle, or cubic with a = -0.5. */
static double img_filter(bool cubic, double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (!cubic) return x < 1 ? 1 - x : 0;
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

static bool img_axis_make(img_axis *axis, int from, int to, bool cubic, char *why)
{
    double scale = (double)from / to, wide = scale < 1 ? 1 : scale;
    double support = (cubic ? 2 : 1) * wide, inverse = 1 / wide;
    double most = 2 * ceil(support) + 1;
    int taps = most < from ? (int)most : from;
    if ((size_t)taps > SIZE_MAX / sizeof(int32_t) / ((size_t)to + 1))
        return img_fail(why, "%d to %d samples: too large", from, to);
    axis->from = from;
    axis->to = to;
    axis->taps = taps;
    axis->weights = (int32_t *)malloc((size_t)to * (size_t)taps * sizeof(int32_t));
    axis->first = (int *)malloc(2 * (size_t)to * sizeof(int));
    if (!axis->weights || !axis->first) {
        free(axis->weights);
        free(axis->first);
        return img_fail(why, "no memory to resize %d to %d samples", from, to);
    }
    axis->count = axis->first + to;
    for (int i = 0; i < to; ++i) {
        int32_t *w = axis->weights + (size_t)i * (size_t)taps;
        double centre = (i + 0.5) * scale, sum = 0;
        double low = centre - support + 0.5, high = centre + support + 0.5;
        int first = low < 0 ? 0 : (int)low, last = high > from ? from : (int)high;
        for (int j = first; j < last; ++j) sum += img_filter(cubic, (j - centre + 0.5) * inverse);
        for (int j = first; j < last; ++j) {
            double v = img_filter(cubic, (j - centre + 0.5) * inverse);
            if (sum != 0) v /= sum;
            w[j - first] = (int32_t)(v * (1 << 22) + (v < 0 ? -0.5 : 0.5));
        }
        axis->first[i] = first;
        axis->count[i] = last - first;
    }
    return true;
}

/* [outer, from, inner] becomes [outer, to, inner]. */
static void img_pass(const img_axis *a, const unsigned char *src, unsigned char *dst, size_t outer,
                     size_t inner)
{
    for (size_t o = 0; o < outer; ++o, src += (size_t)a->from * inner) {
        for (int i = 0; i < a->to; ++i, dst += inner) {
            const int32_t *w = a->weights + (size_t)i * (size_t)a->taps;
            const unsigned char *line = src + (size_t)a->first[i] * inner;
            for (size_t c = 0; c < inner; ++c) {
                int32_t v = 1 << 21;
                for (int j = 0; j < a->count[i]; ++j) v += w[j] * line[(size_t)j * inner + c];
                v = v < 0 ? 0 : v >> 22;
                dst[c] = (unsigned char)(v > 255 ? 255 : v);
            }
        }
    }
}

/* Resize one axis of the picture to `to` samples. */
static bool img_resize_axis(img_picture *p, bool rows, int to, bool cubic, char *why)
{
    img_axis axis = {0, 0, 0, NULL, NULL, NULL};
    int other = rows ? p->width : p->height;
    if ((rows ? p->height : p->width) == to) return true;
    if (to < 1 || to > IMG_PIXELS / other)
        return img_fail(why, "resize to %d x %d: not 1 to %d pixels", to, other, IMG_PIXELS);
    unsigned char *px = (unsigned char *)malloc(3 * (size_t)to * (size_t)other);
    if (!px) return img_fail(why, "no memory to resize to %d x %d", to, other);
    if (!img_axis_make(&axis, rows ? p->height : p->width, to, cubic, why)) {
        free(px);
        return false;
    }
    img_pass(&axis, p->pixels, px, rows ? 1 : (size_t)other, rows ? 3 * (size_t)other : 3);
    free(axis.weights);
    free(axis.first);
    free(p->pixels);
    p->pixels = px;
    *(rows ? &p->height : &p->width) = to;
    return true;
}

static inline bool img_resize(img_picture *p, int height, int width, bool cubic, char *why)
{
    return img_resize_axis(p, false, width, cubic, why) && img_resize_axis(p, true, height, cubic, why);
}

/* torchvision's Resize(n): the shorter side becomes n, the other in proportion. */
static inline bool img_short(img_picture *p, int n, bool cubic, char *why)
{
    bool tall = p->height > p->width;
    int64_t near_side = tall ? p->width : p->height;
    int64_t far_side = (int64_t)n * (tall ? p->height : p->width) / near_side;
    if (far_side > IMG_PIXELS / n)
        return img_fail(why, "short=%d makes %d x %d larger than %d pixels", n, p->height, p->width,
                        IMG_PIXELS);
    return tall ? img_resize(p, (int)far_side, n, cubic, why) : img_resize(p, n, (int)far_side, cubic, why);
}

/* ---- Crop ------------------------------------------------------------------- */

/* Where the crop begins: half the difference to even, negative for padding. */
static int img_crop_start(int from, int to)
{
    int d = from - to, half = d / 2;
    if (d < 0) return -(-d / 2);
    return d % 2 && half % 2 ? half + 1 : half;
}

/* torchvision's CenterCrop; what lies outside the picture is black. */
static inline bool img_crop(img_picture *p, int height, int width, char *why)
{
    int top = img_crop_start(p->height, height), left = img_crop_start(p->width, width);
    int x0 = left < 0 ? -left : 0, x1 = p->width - left < width ? p->width - left : width;
    unsigned char *px =
        height > IMG_PIXELS / width ? NULL : (unsigned char *)calloc((size_t)height * (size_t)width, 3);
    if (!px) return img_fail(why, "no memory to crop to %d x %d", height, width);
    for (int y = 0; y < height; ++y) {
        if (y + top < 0 || y + top >= p->height) continue;
        memcpy(px + 3 * ((size_t)y * (size_t)width + (size_t)x0),
               p->pixels + 3 * ((size_t)(y + top) * (size_t)p->width + (size_t)(x0 + left)),
               3 * (size_t)(x1 - x0));
    }
    free(p->pixels);
    p->pixels = px;
    p->height = height;
    p->width = width;
    return true;
}

/* ---- The text of a transform ------------------------------------------------ */

typedef enum img_kind { IMG_RESIZE = 0, IMG_SHORT, IMG_CROP } img_kind;

typedef struct img_transform {
    int count;
    struct {
        img_kind kind;
        int height, width;
        bool cubic;
    } steps[IMG_STEPS];
    bool has_mean, has_std;
    float mean[3], std[3];
} img_transform;

/* Decimal digits as a number of 1 to IMG_SIDE; moves `s` behind them. */
static bool img_side(const char **s, int *out)
{
    int v = 0;
    if (**s < '0' || **s > '9') return false;
    for (; **s >= '0' && **s <= '9'; ++*s)
        if ((v = 10 * v + (**s - '0')) > IMG_SIDE) return false;
    *out = v;
    return v > 0;
}

/* One number or three joined by '-'. */
static bool img_three(const char *s, float out[3])
{
    int n = 0;
    for (;; ++s) {
        char *end = NULL;
        if (n == 3 || !*s || !strchr(".0123456789", *s) || s[1] == 'x' || s[1] == 'X') return false;
        out[n++] = (float)strtod(s, &end);
        if (end == s || !isfinite(out[n - 1])) return false;
        s = end;
        if (*s != '-') break;
    }
    if (n == 1) out[1] = out[2] = out[0];
    return !*s && n != 2;
}

/* One step, `key=value`. */
static bool img_parse_step(const char *step, img_transform *t, char *why)
{
    const char *value = strchr(step, '='), *s = value ? value + 1 : "";
    size_t key = value ? (size_t)(value - step) : 0;
    bool mean = key == 4 && !memcmp(step, "mean", 4);
    bool deviation = key == 3 && !memcmp(step, "std", 3);
    if (mean || deviation) {
        float *to = mean ? t->mean : t->std;
        bool *has = mean ? &t->has_mean : &t->has_std;
        if (*has) return img_fail(why, "%s: given twice", step);
        *has = true;
        if (!img_three(s, to)) return img_fail(why, "%s: not one number, nor three joined by '-'", step);
        if (deviation && !(to[0] > 0 && to[1] > 0 && to[2] > 0))
            return img_fail(why, "%s: not above 0", step);
        return true;
    }
    bool resize = key == 6 && !memcmp(step, "resize", 6);
    bool shorter = key == 5 && !memcmp(step, "short", 5);
    if (!resize && !shorter && !(key == 4 && !memcmp(step, "crop", 4)))
        return img_fail(why,
                        "'%s' is none of resize=HxW[:bilinear|bicubic], short=N[:..],"
                        " crop=N|HxW, mean=M, std=S",
                        step);
    if (t->has_mean || t->has_std) return img_fail(why, "%s: must stand before mean and std", step);
    if (t->count == IMG_STEPS) return img_fail(why, "%s: more than %d steps", step, IMG_STEPS);
    int h = 0, w = 0;
    bool good = img_side(&s, &h), square = *s != 'x';
    w = h;
    if (good && !square) ++s, good = !shorter && img_side(&s, &w);
    if (good && resize && square)
        return img_fail(why,
                        "%s: write resize=%dx%d for the whole picture or short=%d "
                        "for the shorter side",
                        step, h, h, h);
    bool cubic = !strcmp(s, ":bicubic"), linear = !strcmp(s, ":bilinear");
    if (!good || (*s && ((!cubic && !linear) || !(resize || shorter))))
        return img_fail(why, "%s: not %s, sides from 1 to %d", step,
                        resize    ? "resize=HxW[:bilinear|bicubic]"
                        : shorter ? "short=N[:bilinear|bicubic]"
                                  : "crop=N or crop=HxW",
                        IMG_SIDE);
    t->steps[t->count].kind = resize ? IMG_RESIZE : shorter ? IMG_SHORT : IMG_CROP;
    t->steps[t->count].height = h;
    t->steps[t->count].width = w;
    t->steps[t->count++].cubic = cubic;
    return true;
}

/* "resize=32x32:bicubic,mean=0.5,std=0.5"; "" does nothing but scale to 0..1. */
static inline bool img_parse(const char *text, img_transform *out, char *why)
{
    img_transform t = {0};
    for (const char *s = text; *s;) {
        char step[96];
        size_t n = strcspn(s, ",");
        if (n >= sizeof step) return img_fail(why, "a step of %zu bytes is too long", n);
        memcpy(step, s, n);
        step[n] = 0;
        if (!img_parse_step(step, &t, why)) return false;
        s += n;
        if (*s && !*++s) return img_fail(why, "nothing stands behind the last ','");
    }
    for (int c = 0; c < 3 && !t.has_std; ++c) t.std[c] = 1;
    *out = t;
    return true;
}

/* ---- From picture to input -------------------------------------------------- */

static inline bool img_apply(img_picture *p, const img_transform *t, char *why)
{
    for (int i = 0; i < t->count; ++i) {
        int h = t->steps[i].height, w = t->steps[i].width;
        bool cubic = t->steps[i].cubic, good = false;
        switch (t->steps[i].kind) {
        case IMG_RESIZE:
            good = img_resize(p, h, w, cubic, why);
            break;
        case IMG_SHORT:
            good = img_short(p, h, cubic, why);
            break;
        case IMG_CROP:
            good = img_crop(p, h, w, why);
            break;
        }
        if (!good) return false;
    }
    return true;
}

/* ((x / 255) - mean) / std, each operation in float; out [height * width, 3]. */
static inline void img_floats(const img_picture *p, const img_transform *t, float *out)
{
    float table[3][256];
    for (int c = 0; c < 3; ++c) {
        for (int v = 0; v < 256; ++v) {
            float x = (float)v / 255.0f;
            x = x - t->mean[c];
            table[c][v] = x / t->std[c];
        }
    }
    size_t count = 3 * (size_t)p->height * (size_t)p->width;
    for (size_t i = 0; i < count; ++i) out[i] = table[i % 3][p->pixels[i]];
}

#endif /* ALORE_TOOLS_IMAGES_H */
