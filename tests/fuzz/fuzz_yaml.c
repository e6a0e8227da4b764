/* fuzz_yaml.c - any bytes as a configuration file: a tree with sane places, or an error. */
#include "base/yaml.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int walk(const struct yaml *v, int depth)
{
    int nodes = 1;
    assert(v->line >= 1 && v->column >= 1 && depth <= YAML_DEPTH_MAX + 1);
    assert((v->kind == YAML_SCALAR) == (v->text != NULL));
    for (size_t i = 0; i < v->count; i++) {
        if (v->keys)
            assert(v->keys[i]->kind == YAML_SCALAR && yaml_get(v, v->keys[i]->text));
        nodes += walk(v->values[i], depth + 1);
    }
    return nodes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = {0};
    struct yaml *root = yaml_read_text("f", (const char *)data, size, &e);
    assert((root != NULL) == (e.kind == ERR_NONE));
    assert(root || !strncmp(e.text, "f:", 2));
    if (root)
        assert(walk(root, 0) <= YAML_NODES_MAX + 1);
    yaml_root_free(root);
    return 0;
}
