/* score_fixture.h - the checkpoint in tests/data/score, opened, and its lines of JSON. */
#ifndef SCORE_FIXTURE_H
#define SCORE_FIXTURE_H

#include "testing.h"

#include "base/file.h"
#include "base/json.h"
#include "train/session.h"

#define SCORE "tests/data/score/"

static inline void fixture_open(struct session *s, const char *adapter)
{
    struct err e = {0};
    int rc = session_open(s,
                          &(struct session_options){
                              .model = SCORE "model",
                              .adapter = adapter,
                              .device = DEVICE_CPU,
                              .dtype = DTYPE_F32,
                          },
                          &e);
    assert_ok(e);
    assert_int_equal(rc, 0);
}

/* The lines of a JSONL file as an array; the caller calls json_decref. */
static inline json_t *fixture_lines(const char *path)
{
    struct err e = {0};
    char *text = file_read(path, 1 << 20, NULL, &e);
    assert_ok(e);
    json_t *all = json_array();
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        json_t *v = json_read_text(path, line, strlen(line), &e);
        assert_ok(e);
        json_array_append_new(all, v);
    }
    free(text);
    return all;
}

#endif
