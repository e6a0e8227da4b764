/* data_job.h - what the commands `data ...` have in common: the data opened, and how samples are
 * made of them when a model is named. */
#ifndef CLI_DATA_JOB_H
#define CLI_DATA_JOB_H

#include "cli/options.h"
#include "data/manifest.h"
#include "data/sample.h"
#include "text/tokenizer.h"
#include "train/inputs.h"
#include "train/senses.h"

struct data_job {
    const struct options *o;
    struct inputs inputs;
    struct manifest manifest;
    struct tokenizer *tokenizer;          /* of the model that is named, or NULL ... */
    struct chat_format chat;
    struct senses senses;
    struct data_format format;            /* ... and then with `chat` */
};

/* Open the data that the options name, and the tokenizer and features of the model (no weights). */
int data_job_open(struct data_job *j, const struct options *o, struct err *e) MUST_CHECK;
void data_job_close(struct data_job *j);

/* "3 h 12 min", "12.4 s", and "1.2 GB", "34 kB"; the buffer is the caller's. */
const char *data_time(double seconds, char out[32]);
const char *data_bytes(double bytes, char out[32]);

#endif
