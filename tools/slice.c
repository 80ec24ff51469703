/* slice.c - hold alore.h to its own order.
 *
 *   slice alore.h [COMPILER]
 *
 * Sections are marked by banners ">> 07 reference ops". Their numbers rise, the table
 * of contents names each of them, and the file cut after any section compiles: so a
 * section uses only what stands above it, and any prefix can be read on its own. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SECTIONS = 64, TAG = 48 };

typedef struct section {
    size_t begin;   /* of the banner's first line */
    int number;
    char tag[TAG];  /* "07 reference ops" */
} section;

static char *read_all(const char *path, size_t *bytes)
{
    FILE *f = fopen(path, "rb");
    char *text = NULL;
    long n = -1;
    if (f && !fseek(f, 0, SEEK_END)) n = ftell(f);
    if (n >= 0 && !fseek(f, 0, SEEK_SET) && (text = (char *)malloc((size_t)n + 1)) != NULL) {
        *bytes = fread(text, 1, (size_t)n, f);
        text[*bytes] = 0;
    }
    if (f) fclose(f);
    return text;
}

/* Banners in order: " * >> NN tag" below a line of '='. */
static int find_sections(const char *text, section *s)
{
    int count = 0;
    for (const char *p = text; (p = strstr(p, "\n * >> ")) != NULL && count < SECTIONS; ++p) {
        const char *begin = p;
        size_t n = strcspn(p + 7, "\n");
        while (begin > text && begin[-1] != '\n') --begin;
        snprintf(s[count].tag, TAG, "%.*s", (int)n, p + 7);
        s[count].number = atoi(s[count].tag);
        s[count++].begin = (size_t)(begin - text);
    }
    return count;
}

/* How many conditionals are open after `bytes` of text. */
static int open_conditionals(const char *text, size_t bytes)
{
    int open = 0;
    for (size_t i = 0; i < bytes; ++i) {
        const char *p = text + i;
        if (*p != '#' || (i && text[i - 1] != '\n')) continue;
        for (++p; *p == ' ';) ++p;
        if (!strncmp(p, "if", 2)) ++open;
        if (!strncmp(p, "endif", 5)) --open;
    }
    return open;
}

/* Write the first `bytes`, closed, as DIR/alore.h and compile it. */
static int compiles(const char *dir, const char *text, size_t bytes, const char *compiler)
{
    char path[512], command[1200];
    FILE *f;
    snprintf(path, sizeof path, "%s/alore.h", dir);
    f = fopen(path, "wb");
    if (!f) return 0;
    fwrite(text, 1, bytes, f);
    for (int n = open_conditionals(text, bytes); n > 0; --n) fputs("\n#endif\n", f);
    if (fclose(f)) return 0;
    snprintf(command, sizeof command,
             "printf '#define ALORE_IMPLEMENTATION\\n#include \"alore.h\"\\n' >%s/u.c && %s -std=c99 -w "
             "-fsyntax-only %s/u.c", dir, compiler, dir);
    return system(command) == 0;
}

int main(int argc, char **argv)
{
    static section s[SECTIONS];
    char dir[] = "/tmp/slice-XXXXXX", clean[64];
    const char *compiler = argc > 2 ? argv[2] : "cc";
    size_t bytes = 0;
    char *text = argc > 1 ? read_all(argv[1], &bytes) : NULL;
    int count, bad = 0;
    if (!text || !mkdtemp(dir)) {
        fprintf(stderr, "usage: slice alore.h [COMPILER]\n");
        free(text);
        return 2;
    }
    count = find_sections(text, s);
    if (count < 2) bad = printf("no sections found\n");
    for (int i = 0; i < count; ++i) {
        char line[TAG + 8];
        snprintf(line, sizeof line, "  %s", s[i].tag);
        if (i && s[i].number < s[i - 1].number) bad = printf("%s: stands behind %s\n", s[i].tag, s[i - 1].tag);
        if (!strstr(text, line) || strstr(text, line) > text + s[0].begin) bad = printf("%s: is not in the table of contents\n", s[i].tag);
        if (!compiles(dir, text, i + 1 < count ? s[i + 1].begin : bytes, compiler))
            bad = printf("%s: the file cut after it does not compile\n", s[i].tag);
    }
    snprintf(clean, sizeof clean, "rm -rf %s", dir);
    if (system(clean)) bad = 1;
    free(text);
    printf("%d sections, every prefix %s\n", count, bad ? "should compile" : "compiles");
    return bad != 0;
}
