/* replay.c - run a fuzz target over files instead of under libFuzzer: every file named, and every
 * file in every folder named.  A crash is the failure; reaching the end is the one test passed.
 * One argument of an empty or missing folder still runs the target on no bytes. */
#include "base/dir.h"
#include "base/file.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define INPUT_MAX ((size_t)1 << 24)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path, struct err *e)
{
    size_t size;
    char *data = file_read(path, INPUT_MAX, &size, e);
    if (!data)
        return -1;
    fprintf(stderr, "%s: %zu bytes\n", path, size);
    /* An exact copy, so that the address sanitizer sees a read behind the end. */
    uint8_t *exact = malloc(size ? size : 1);
    for (size_t i = 0; exact && i < size; i++)
        exact[i] = (uint8_t)data[i];
    free(data);
    if (exact)
        LLVMFuzzerTestOneInput(exact, size);
    free(exact);
    return 0;
}

static int replay(const char *path, struct err *e)
{
    struct dir_list l;
    if (!file_is_dir(path))
        return file_exists(path) ? replay_file(path, e) : 0;
    if (dir_list_read(&l, path, e))
        return -1;
    int rc = 0;
    for (size_t i = 0; i < l.count && !rc; i++) {
        char *child = path_join(path, l.names[i]);
        rc = replay(child, e);
        free(child);
    }
    dir_list_release(&l);
    return rc;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++) {
        if (replay(argv[i], &e)) {
            fprintf(stderr, "%s\n", e.text);
            return 1;
        }
    }
    printf("[  PASSED  ] 1 test(s).\n");
    return 0;
}
