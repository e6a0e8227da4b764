/* config.h - the settings of a run as plain values.  The option table (cli/options.c) fills it from
 * file, environment and flags; nothing else knows where a value came from. */
#ifndef TRAIN_CONFIG_H
#define TRAIN_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "text/normalize.h"
#include "text/whisper.h"

/* All strings are set ("" when not given) and owned by whoever filled the struct. */
struct string_list {
    char **at;
    int count;
};

enum train_method { METHOD_LORA, METHOD_FULL };
enum schedule_kind { SCHEDULE_CONSTANT, SCHEDULE_LINEAR, SCHEDULE_COSINE };
enum config_dtype { DTYPE_AUTO, DTYPE_F32, DTYPE_BF16, DTYPE_F16 /* export only */ };
enum config_device { DEVICE_AUTO, DEVICE_CPU, DEVICE_GPU };
enum config_init { INIT_CHECKPOINT, INIT_RANDOM };
enum config_quantize { QUANTIZE_NONE, QUANTIZE_4BIT, QUANTIZE_8BIT };
enum config_long_audio { LONG_AUDIO_REFUSE, LONG_AUDIO_SPLIT };
enum config_image_mask { IMAGE_MASK_FORWARD, IMAGE_MASK_GENERATE };
enum config_join_audio { JOIN_AUDIO_NO, JOIN_AUDIO_PLAIN, JOIN_AUDIO_TIMESTAMPS };
enum config_audio_length { AUDIO_LENGTH_WINDOW, AUDIO_LENGTH_CLIP };

/* Whisper's own way through long recordings (train/speech.h). */
struct decoding_config {
    struct string_list temperatures;   /* 0, 0.2, ... 1: tried in turn */
    double compression_ratio;          /* 2.4: a text that compresses better repeats itself */
    double logprob;                    /* -1: mean log-probability below which a text is tried
                                          again */
    double no_speech;                  /* 0.6: probability of silence above which such a window is
                                          left out */
    bool condition;                    /* on the text before */
};

struct lora_config {
    int rank;                          /* 16 */
    double alpha;                      /* 2 * rank when not given */
    double dropout;                    /* 0 */
    bool rslora;                       /* scale alpha / sqrt(rank) */
    bool dora;                         /* with magnitudes */
    struct string_list ranks;          /* "audio=8": towers with another rank; their alpha keeps
                                          its proportion to the rank */
    struct string_list towers;         /* language, audio, vision, projector; default: language */
    struct string_list targets;        /* name patterns of linear layers; default: every linear
                                          layer of the chosen towers' blocks */
};

struct full_config {
    struct string_list towers;         /* what is trained; none given: all that the run opens */
};

struct config {
    char *model;                       /* Hub folder */
    char *adapter;                     /* go on from this adapter */
    char *name;                        /* of the run; default: from the config file's name */
    char *runs;                        /* folder of runs, "runs", or gs://bucket/prefix */
    struct string_list train, eval;    /* tables and shards: paths, URIs, globs, braces */
    struct string_list weights;        /* numbers, one for each of `train`; none: all 1 */
    struct string_list columns;        /* "ours=theirs" */
    char *patches;                     /* folder of corrections (data/patch.h); "" for none */
    enum train_method method;
    enum config_init init;
    struct lora_config lora;
    struct full_config full;
    enum config_quantize quantize;     /* the frozen base's linear layers (QLoRA) */
    int quantize_group;                /* 64: numbers that share a scale */
    int steps;
    int batch;                         /* records a step */
    int accumulate;                    /* micro-batches a step; batch is divided among them */
    int max_tokens;                    /* longest record; longer ones are bad records */
    int pack_tokens;                   /* rows of so many tokens hold several records; 0: one */
    bool drop_rows;                    /* rows without loss end after the last keys and values */
    double learning_rate;
    struct string_list learning_rates; /* "audio=1e-4": towers with another rate */
    enum schedule_kind schedule;       /* linear */
    int warmup_steps;
    double min_lr_ratio;               /* where linear and cosine end, 0 */
    double beta1, beta2, epsilon, weight_decay;
    double clip;                       /* global gradient norm; 0: off; default 1 */
    bool checkpointing;                /* recompute blocks in the backward pass */
    bool compile;                      /* default: on for Metal */
    enum config_dtype dtype;
    enum config_device device;
    uint64_t seed;
    int eval_every, save_every, log_every, keep;
    int eval_max_records, max_new_tokens, eval_batch;
    bool eval_generate;                /* WER and CER from generated transcripts */
    enum normalizer normalizer;        /* of transcripts before they are compared */
    double bad_fraction;               /* records that may be bad, 0.001 */
    int bad_min;                       /* ... but at least 10 */
    bool thinking;
    char *prompt;                      /* text part for records that bring none; "" for none */
    int image_tokens;                  /* 70 .. 1120 for an image; 0: what the checkpoint says */
    int video_tokens, video_frames;    /* of each frame, and frames; 0: what the checkpoint says */
    enum config_image_mask image_mask; /* of encoder-free models (model.h) */
    enum config_long_audio long_audio; /* clips longer than the model takes */
    char *language;                    /* Whisper: of records that do not say; "detect"; "" */
    enum whisper_task task;            /* likewise */
    bool timestamps;                   /* trained on, where records have segments; written */
    enum config_join_audio join_audio; /* several clips of a batch in one window */
    enum config_audio_length audio_length;    /* whole windows, or as long as the clips */
    struct decoding_config decoding;
    double mask_time_prob, mask_feature_prob; /* SpecAugment; 0: none */
    int mask_time_length, mask_feature_length;
    double label_smoothing;            /* 0 */
    double dropout;                    /* of the model's blocks, < 0: as config.json says */
    int64_t tower_cache;               /* bytes of frozen towers' outputs that are kept, 1 GiB */
    int64_t device_memory;             /* what the run may take; 0: what the machine has */
    int prefetch;                      /* batches prepared ahead */
    bool length_sorted;                /* batches of like length out of a shuffled window */
    int window_shards;                 /* shards that are shuffled together, 32 */
    int64_t memory;                    /* bytes for data on their way to the model, 1 GiB */
    int64_t disk;                      /* bytes of fetched files that lie on the disk, 4 GiB */
    bool cache;                        /* keep them for later runs */
    char *cache_dir;                   /* "": spool_default_dir */
    int connections;                   /* 8 */
    int retry_for;                     /* seconds that the network may be away, 900 */
    char *user_project;                /* who pays for requester-pays buckets */
    bool json, quiet;
    char *config_path;
};

#endif
