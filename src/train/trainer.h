/* trainer.h - a whole training run, from its configuration to the saved result.
 *
 * The same call again goes on where the run was: after a crash, after Ctrl-C, after more steps
 * were asked for.  SIGINT and SIGTERM end the run after the current step, with a checkpoint
 * (ERR_STOPPED, ERR_TERMINATED); a second signal ends the process at once.  So does a
 * network that is away for longer than `retry_for` (ERR_RETRY).
 */
#ifndef TRAIN_TRAINER_H
#define TRAIN_TRAINER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/hash.h"
#include "data/batch.h"
#include "data/plan.h"
#include "train/config.h"
#include "train/evaluate.h"
#include "train/memory_plan.h"
#include "train/metrics.h"
#include "train/result.h"
#include "train/session.h"

/* Non-finite steps in a row that end a run. */
enum { TRAINER_BAD_STEPS_MAX = 3 };

/* What the trainer asks of, and tells, whoever runs it; all but `export` may be NULL. */
struct train_hooks {
    /* Save what was trained to the folder `dir`; `sha256` gets the hash of an adapter's tensors.
     * (Formats of other programs are known to src/export, not here.) */
    int (*export)(void *arg, const struct session *s, const char *dir, char sha256[HASH_HEX_SIZE],
                  struct err *e);
    /* Before the first step, when it is decided what is trained; `from` steps are done already. */
    void (*on_start)(void *arg, const struct session *s, const struct plan *train, int64_t from);
    /* Before the first step: what the steps will need; not called when nothing is left to do. */
    void (*on_memory)(void *arg, const struct memory_plan *p);
    void (*on_step)(void *arg, const struct step_metrics *m);
    void (*on_evaluation)(void *arg, int64_t step, const struct evaluation *v);
    void (*on_progress)(void *arg, const char *what, int64_t done, int64_t all);
    void *arg;
};

/* `yaml` is the resolved configuration as text, `version` attune's.  On failure result->output is
 * NULL. */
int train(const struct config *c, const char *yaml, const char *version,
          const struct train_hooks *hooks, struct train_result *result, struct err *e) MUST_CHECK;

/* For tests: called with each micro-batch before it is used. */
extern void (*train_batch_hook)(int64_t step, struct batch *b);

#endif
