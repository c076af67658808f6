/*
 * tools/embed_text.c - turns a text file into a C string
 *
 *   embed_text FILE OUT.c NAME
 *
 * OUT.c defines `const char NAME[]`, with the text and a NUL. Runs during the build.
 */
#include <stdio.h>

int main(int argc, char **argv)
{
    FILE *in = argc == 4 ? fopen(argv[1], "r") : NULL;
    FILE *out = in ? fopen(argv[2], "w") : NULL;
    if (!out) {
        fprintf(stderr, "usage: embed_text FILE OUT.c NAME\n");
        return 1;
    }
    fprintf(out, "extern const char %s[];\nconst char %s[] =\n    \"", argv[3], argv[3]);
    for (int c; (c = getc(in)) != EOF;) {
        if (c == '\n')
            fputs("\\n\"\n    \"", out);
        else if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else
            putc(c, out);
    }
    fputs("\";\n", out);
    int is_bad = ferror(in) || ferror(out);
    return fclose(out) != 0 || is_bad;
}
