/* option_table.c - the one table of options (options.h), and how an option is written in each of
 * its forms. */
#include "cli/options.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "net/net.h"
#include "text/normalize.h"

enum {
    T = 1 << VERB_TRAIN,
    E = 1 << VERB_EVAL,
    S = 1 << VERB_SCORE,
    R = 1 << VERB_TRANSCRIBE,
    G = 1 << VERB_GENERATE,
    X = 1 << VERB_EXPORT,
    DC = 1 << VERB_DATA_CHECK,
    DP = 1 << VERB_DATA_PLAN,
    DX = 1 << VERB_DATA_INDEX,
    DT = 1 << VERB_DATA_STATS,
    DS = 1 << VERB_DATA_SHOW,
    DI = 1 << VERB_DATA_IMPORT,
    D = 1 << VERB_DOCTOR,
    MODELS = T | E | S | R | G,
    LOOK = DC | DP | DT | DS,          /* look at data that are there ... */
    DATA = LOOK | DX,                  /* ... or at their files alone */
    NET = MODELS | DATA | DI,
    ALL = MODELS | DATA | DI | D | X,
};

enum { TEXT_MAX = 1 << 20 };

static const char *const methods[] = {"lora", "full", NULL};
static const char *const inits[] = {"checkpoint", "random", NULL};
static const char *const schedules[] = {"constant", "linear", "cosine", NULL};
static const char *const dtypes[] = {"auto", "f32", "bf16", "f16", NULL};
static const char *const devices[] = {"auto", "cpu", "gpu", NULL};
static const char *const towers[] = {"language", "audio", "vision", "projector", NULL};
static const char *const normalizers[] = {"none", "basic", "whisper_basic", "whisper_english",
                                          NULL};
static const char *const sources[] = {"auto", "csv", "granary", "bigquery", "hf", NULL};
static const char *const quantizes[] = {"none", "4bit", "8bit", NULL};
static const char *const long_audios[] = {"refuse", "split", NULL};
static const char *const image_masks[] = {"forward", "generate", NULL};
static const char *const tasks[] = {"transcribe", "translate", NULL};
static const char *const join_audios[] = {"no", "plain", "timestamps", NULL};
static const char *const audio_lengths[] = {"window", "clip", NULL};
static const char *const subtitle_formats[] = {"text", "srt", "vtt", "tsv", "json", NULL};
static const char *const windows[] = {"auto", "sequential", "split", NULL};
static const char *const ablations[] = {"none", "audio", "image", NULL};
static const char *const colors[] = {"auto", "yes", "no", NULL};
static const char *const checks[] = {"local", "all", "sampled", "none", NULL};
/* Keys of a record (data/record.h). */
static const char *const columns[] = {"id",         "audio",      "image",    "text",     "prompt",
                                      "completion", "messages",   "audios",   "images",   "video",
                                      "videos",     "sound",      "language", "duration", "corpus",
                                      "task",       "timestamps", "segments", NULL};

/* The words of an enum stand in the order of its values. */
_Static_assert(METHOD_LORA == 0 && METHOD_FULL == 1, "methods");
_Static_assert(INIT_CHECKPOINT == 0 && INIT_RANDOM == 1, "inits");
_Static_assert(SCHEDULE_CONSTANT == 0 && SCHEDULE_COSINE == 2, "schedules");
_Static_assert(DTYPE_AUTO == 0 && DTYPE_F16 == 3, "dtypes");
_Static_assert(DEVICE_AUTO == 0 && DEVICE_GPU == 2, "devices");
_Static_assert(QUANTIZE_NONE == 0 && QUANTIZE_8BIT == 2, "quantizes");
_Static_assert(LONG_AUDIO_REFUSE == 0 && LONG_AUDIO_SPLIT == 1, "long_audios");
_Static_assert(IMAGE_MASK_FORWARD == 0 && IMAGE_MASK_GENERATE == 1, "image_masks");
_Static_assert(SAMPLE_WHOLE == 0 && SAMPLE_WITHOUT_IMAGE == 2, "ablations");
_Static_assert(COLOR_AUTO == 0 && COLOR_NO == 2, "colors");
_Static_assert(NORMALIZE_NONE == 0 && NORMALIZE_WHISPER_ENGLISH == 3, "normalizers");
_Static_assert(WHISPER_TRANSCRIBE == 0 && WHISPER_TRANSLATE == 1, "tasks");
_Static_assert(JOIN_AUDIO_NO == 0 && JOIN_AUDIO_TIMESTAMPS == 2, "join_audios");
_Static_assert(AUDIO_LENGTH_WINDOW == 0 && AUDIO_LENGTH_CLIP == 1, "audio_lengths");
_Static_assert(SUBTITLE_PLAIN == 0 && SUBTITLE_JSON == 4, "subtitle_formats");
_Static_assert(WINDOWS_AUTO == 0 && WINDOWS_SPLIT == 2, "windows");

/* Where a value lies; the name of the field is mostly the key. */
#define AT(field) .offset = offsetof(struct options, field)
#define IN(field) .offset = offsetof(struct options, config.field)

static const char run[] = "Run", data[] = "Data", importing[] = "Import", lora[] = "LoRA",
                  full[] = "Full training", speech[] = "Whisper", training[] = "Training",
                  optimizer[] = "Optimizer", evaluation[] = "Evaluation",
                  generation[] = "Generation", streaming[] = "Streaming", machine[] = "Machine",
                  output[] = "Output";

/* clang-format off */
const struct option option_table[] = {
    {.key = "model", .type = OPTION_TEXT, IN(model), .fallback = "", .letter = 'm',
     .verbs = MODELS | LOOK | X, .group = run, .arg = "DIR",
     .help = "checkpoint folder in the Hub's layout (config.json, weights, tokenizer.json)"},
    {.key = "adapter", .type = OPTION_TEXT, IN(adapter), .fallback = "", .letter = 'a',
     .verbs = MODELS | X, .group = run, .arg = "DIR",
     .help = "adapter in PEFT's layout: go on from it (train), or use it (all others)"},
    {.key = "name", .type = OPTION_TEXT, IN(name), .fallback = "", .verbs = T, .group = run,
     .arg = "NAME", .help = "name of the run",
     .fallback_help = "the config file's name without .yaml"},
    {.key = "runs", .type = OPTION_TEXT, IN(runs), .fallback = "runs", .verbs = T, .group = run,
     .arg = "DIR",
     .help = "folder that holds one folder for each run; gs://bucket/prefix puts them there"},
    {.key = "quantize", .type = OPTION_ENUM, IN(quantize), .fallback = "none",
     .values = quantizes, .verbs = MODELS, .group = run,
     .help = "keep the frozen linear layers in so many bits (QLoRA); a checkpoint that is "
             "quantised stays as it is"},
    {.key = "quantize_group", .type = OPTION_INT, IN(quantize_group), .fallback = "64", .low = 32,
     .high = 128, .verbs = MODELS, .group = run, .arg = "N",
     .help = "numbers of a row that share a scale: 32, 64 or 128"},
    {.key = "method", .type = OPTION_ENUM, IN(method), .fallback = "lora", .values = methods,
     .verbs = T, .group = run, .help = "train low-rank adapters, or every weight"},
    {.key = "init", .type = OPTION_ENUM, IN(init), .fallback = "checkpoint", .values = inits,
     .verbs = T, .group = run,
     .help = "start from the checkpoint's weights, or from random ones (only config.json is read)"},

    {.key = "train", .type = OPTION_PATHS, IN(train), .fallback = "", .verbs = T | DP,
     .group = data, .arg = "FILE",
     .help = "what to learn from: JSONL, CSV, TSV or tar (also .gz, .zst), as a path or a gs://, "
             "s3://, https:// or hf:// URI; * ? [] match names, {0000..0919} counts"},
    {.key = "weights", .type = OPTION_NUMBERS, IN(weights), .fallback = "", .low = 0, .high = 1000,
     .above_low = true, .verbs = T | DP, .group = data, .arg = "LIST",
     .help = "how often an epoch goes through each of train, one number for each",
     .fallback_help = "once"},
    {.key = "eval", .type = OPTION_PATHS, IN(eval), .fallback = "", .verbs = T, .group = data,
     .arg = "FILE", .help = "what to measure on; the same kinds of files"},
    {.key = "data", .type = OPTION_PATHS, AT(data), .fallback = "", .is_flag_only = true,
     .letter = 'd', .verbs = E | S | DATA | DI, .group = data, .arg = "FILE",
     .help = "JSONL, CSV, TSV or tar files: paths, globs, gs://, s3://, https:// or hf:// URIs"},
    {.key = "columns", .type = OPTION_PAIRS, IN(columns), .fallback = "", .values = columns,
     .verbs = T | E | S | DATA | DI, .group = data, .arg = "LIST",
     .help = "names that the data use for attune's own: text=transcript,audio=path"},
    {.key = "patches", .type = OPTION_TEXT, IN(patches), .fallback = "",
     .verbs = T | E | S | LOOK | DI, .group = data, .arg = "DIR",
     .help = "folder (or URI) of corrections: override_text/, delete/, do_not_blacklist/ with "
             "CSV files"},
    {.key = "audio", .type = OPTION_PATHS, AT(audio), .fallback = "", .is_flag_only = true,
     .verbs = G, .group = data, .arg = "FILE",
     .help = "a clip in front of the prompt; a path or a URI"},
    {.key = "image", .type = OPTION_PATHS, AT(image), .fallback = "", .is_flag_only = true,
     .verbs = G, .group = data, .arg = "FILE",
     .help = "a picture in front of the prompt; may be repeated"},
    {.key = "video", .type = OPTION_PATHS, AT(video), .fallback = "", .is_flag_only = true,
     .verbs = G, .group = data, .arg = "FILE",
     .help = "a video in front of the prompt; its sound is heard when --audio names it, too"},
    {.key = "prompt", .type = OPTION_TEXT, IN(prompt), .fallback = "",
     .verbs = T | E | S | R | LOOK, .group = data, .arg = "TEXT",
     .help = "what to say beside media whose record says nothing"},
    {.key = "image_tokens", .type = OPTION_INT, IN(image_tokens), .fallback = "0", .low = 0,
     .high = 1120, .verbs = MODELS | LOOK, .group = data, .arg = "N",
     .help = "soft tokens of an image at most: 70, 140, 280, 560, 1120; 0: as the checkpoint has"},
    {.key = "video_tokens", .type = OPTION_INT, IN(video_tokens), .fallback = "0", .low = 0,
     .high = 1120, .verbs = MODELS | LOOK, .group = data, .arg = "N",
     .help = "of each frame of a video, likewise"},
    {.key = "video_frames", .type = OPTION_INT, IN(video_frames), .fallback = "0", .low = 0,
     .high = 1024, .verbs = MODELS | LOOK, .group = data, .arg = "N",
     .help = "frames of a video at most; 0: as the checkpoint says"},
    {.key = "image_mask", .type = OPTION_ENUM, IN(image_mask), .fallback = "forward",
     .values = image_masks, .verbs = MODELS, .group = data,
     .help = "encoder-free models: whom image tokens see, as in transformers' forward or generate"},
    {.key = "long_audio", .type = OPTION_ENUM, IN(long_audio), .fallback = "refuse",
     .values = long_audios, .verbs = T | E | S | G | LOOK, .group = data,
     .help = "clips longer than the model takes: bad records, or cut where they are quietest"},
    {.key = "thinking", .type = OPTION_BOOL, IN(thinking), .fallback = "no",
     .verbs = MODELS | LOOK, .group = data,
     .help = "render chats with the model's thinking switched on"},
    {.key = "max_tokens", .type = OPTION_INT, IN(max_tokens), .fallback = "2048", .low = 8,
     .high = 1 << 20, .verbs = T | E | LOOK, .group = data, .arg = "N",
     .help = "longest record, soft tokens included; longer ones are bad records"},
    {.key = "length_sorted", .type = OPTION_BOOL, IN(length_sorted), .fallback = "yes",
     .verbs = T | DP, .group = data,
     .help = "batches of records of like length, out of a shuffled window"},
    {.key = "window_shards", .type = OPTION_INT, IN(window_shards), .fallback = "32", .low = 1,
     .high = 4096, .verbs = T | DP, .group = data, .arg = "N",
     .help = "shards whose records are shuffled together, as far as they fit into half of disk"},
    {.key = "bad_fraction", .type = OPTION_NUMBER, IN(bad_fraction), .fallback = "0.001", .low = 0,
     .high = 1, .verbs = T | E | DI, .group = data, .arg = "X",
     .help = "stop when more than this part of the records is bad ..."},
    {.key = "bad_min", .type = OPTION_INT, IN(bad_min), .fallback = "10", .low = 0,
     .high = 1 << 30, .verbs = T | E | DI, .group = data, .arg = "N",
     .help = "... and more than this number"},
    {.key = "prefetch", .type = OPTION_INT, IN(prefetch), .fallback = "8", .low = 1, .high = 64,
     .verbs = T, .group = data, .arg = "N", .help = "batches prepared ahead of the model"},

    {.key = "from", .type = OPTION_TEXT, AT(from), .fallback = "auto", .values = sources,
     .is_flag_only = true, .verbs = DI, .group = importing,
     .help = "what the sources are: tables, Granary manifests, BigQuery, a Hub dataset's folder"},
    {.key = "split", .type = OPTION_NUMBER, AT(split), .fallback = "0", .low = 0, .high = 0.9,
     .is_flag_only = true, .verbs = DI, .group = importing, .arg = "X",
     .help = "part of the records that goes to NAME.eval.jsonl; the rest goes to NAME.train.jsonl"},
    {.key = "language_mode", .type = OPTION_TEXT, AT(language_mode), .fallback = "",
     .is_flag_only = true, .verbs = DI, .group = importing, .arg = "MODE",
     .help = "strict, mixed, or override:xx",
     .fallback_help = "strict with --languages, else mixed"},
    {.key = "languages", .type = OPTION_WORDS, AT(languages), .fallback = "",
     .is_flag_only = true, .verbs = DI, .group = importing, .arg = "LIST",
     .help = "languages to keep: en,de", .fallback_help = "all"},
    {.key = "audio_root", .type = OPTION_PATHS, AT(audio_root), .fallback = "",
     .is_flag_only = true, .verbs = DI, .group = importing, .arg = "DIR",
     .help = "where clips lie: DIR, or CORPUS=DIR for one corpus of Granary; may be repeated"},
    {.key = "check", .type = OPTION_TEXT, AT(check), .fallback = "local", .values = checks,
     .is_flag_only = true, .verbs = DI, .group = importing,
     .help = "clips to look for: local ones, all, one in fifty, or none"},
    {.key = "max_duration", .type = OPTION_NUMBER, AT(max_duration), .fallback = "0", .low = 0,
     .high = 1e6, .is_flag_only = true, .verbs = DI, .group = importing, .arg = "SECONDS",
     .help = "longest clip; 0: any"},
    {.key = "query", .type = OPTION_TEXT, AT(query), .fallback = "", .is_flag_only = true,
     .verbs = DI, .group = importing, .arg = "SQL", .help = "BigQuery: SQL, instead of a table"},
    {.key = "project", .type = OPTION_TEXT, AT(project), .fallback = "", .is_flag_only = true,
     .verbs = DI, .group = importing, .arg = "PROJECT",
     .help = "BigQuery: project that runs the query"},

    {.key = "memory", .type = OPTION_BYTES, IN(memory), .fallback = "1GiB", .low = 1 << 20,
     .high = 1e15, .verbs = T | E | S | DATA | DI, .group = streaming, .arg = "BYTES",
     .help = "of memory for data on their way to the model"},
    {.key = "disk", .type = OPTION_BYTES, IN(disk), .fallback = "4GiB", .low = 1 << 20,
     .high = 1e18, .verbs = T | E | S | DATA | DI, .group = streaming, .arg = "BYTES",
     .help = "of disk for files that were fetched"},
    {.key = "cache", .type = OPTION_BOOL, IN(cache), .fallback = "no",
     .verbs = T | E | S | DATA | DI, .group = streaming,
     .help = "keep fetched files for later runs, as far as disk allows"},
    {.key = "cache_dir", .type = OPTION_TEXT, IN(cache_dir), .fallback = "",
     .verbs = T | E | S | DATA | DI, .group = streaming, .arg = "DIR",
     .help = "where fetched files lie", .fallback_help = "attune in the user's cache folder"},
    {.key = "connections", .type = OPTION_INT, IN(connections), .fallback = "8", .low = 1,
     .high = NET_CONNECTIONS_MAX, .verbs = NET, .group = streaming, .arg = "N",
     .help = "requests to storage at once"},
    {.key = "retry_for", .type = OPTION_INT, IN(retry_for), .fallback = "900", .low = 1,
     .high = 1 << 30, .verbs = NET, .group = streaming, .arg = "SECONDS",
     .help = "how long the network may be away before the command ends with exit code 75"},
    {.key = "user_project", .type = OPTION_TEXT, IN(user_project), .fallback = "", .verbs = NET,
     .group = streaming, .arg = "PROJECT",
     .help = "Google Cloud project that pays for reading requester-pays buckets"},

    {.key = "lora.rank", .type = OPTION_INT, IN(lora.rank), .fallback = "16", .low = 1,
     .high = 4096, .verbs = T, .group = lora, .arg = "N", .help = "columns of each factor"},
    {.key = "lora.alpha", .type = OPTION_NUMBER, IN(lora.alpha), .fallback = "", .low = 0,
     .high = 1e6, .above_low = true, .verbs = T, .group = lora, .arg = "X",
     .help = "the update is scaled by alpha / rank", .fallback_help = "2 * rank"},
    {.key = "lora.dropout", .type = OPTION_NUMBER, IN(lora.dropout), .fallback = "0", .low = 0,
     .high = 0.9, .verbs = T, .group = lora, .arg = "X",
     .help = "part of the adapter's inputs that is dropped while training"},
    {.key = "lora.ranks", .type = OPTION_PAIRS, IN(lora.ranks), .fallback = "", .values = towers,
     .low = 1, .high = 4096, .verbs = T, .group = lora, .arg = "LIST",
     .help = "another rank for a tower: audio=8,vision=4; its alpha keeps the proportion"},
    {.key = "lora.rslora", .type = OPTION_BOOL, IN(lora.rslora), .fallback = "no", .verbs = T,
     .group = lora, .help = "scale the update by alpha / sqrt(rank)"},
    {.key = "lora.dora", .type = OPTION_BOOL, IN(lora.dora), .fallback = "no", .verbs = T,
     .group = lora, .help = "learn the length of each row apart from its direction (DoRA)"},
    {.key = "lora.towers", .type = OPTION_WORDS, IN(lora.towers), .fallback = "language",
     .values = towers, .verbs = T, .group = lora, .arg = "LIST",
     .help = "parts of the model that get adapters: language, audio, vision, projector"},
    {.key = "lora.targets", .type = OPTION_WORDS, IN(lora.targets), .fallback = "", .verbs = T,
     .group = lora, .arg = "LIST",
     .help = "name patterns of the linear layers that get adapters (q_proj, layers.3.*)",
     .fallback_help = "every linear layer of the towers"},

    {.key = "full.towers", .type = OPTION_WORDS, IN(full.towers), .fallback = "",
     .values = towers, .verbs = T, .group = full, .arg = "LIST",
     .help = "parts of the model whose weights are trained; the others are saved as they were",
     .fallback_help = "all that the data need"},

    {.key = "language", .type = OPTION_TEXT, IN(language), .fallback = "",
     .verbs = T | E | S | R | LOOK, .group = speech, .arg = "NAME",
     .help = "of clips whose record says none: a code (de), a name (german), or detect",
     .fallback_help = "transcribe: detect; else each record must say"},
    {.key = "task", .type = OPTION_ENUM, IN(task), .fallback = "transcribe", .values = tasks,
     .verbs = T | E | S | R | LOOK, .group = speech,
     .help = "of records that say none: write what is said, or its English translation"},
    {.key = "timestamps", .type = OPTION_BOOL, IN(timestamps), .fallback = "no",
     .verbs = T | E | S | R | LOOK, .group = speech,
     .help = "records with segments are trained on their times; transcribe: texts have times"},
    {.key = "join_audio", .type = OPTION_ENUM, IN(join_audio), .fallback = "no",
     .values = join_audios, .verbs = T, .group = speech,
     .help = "put several clips of a batch into one window, texts joined by a space (plain) or "
             "each between its times"},
    {.key = "audio_length", .type = OPTION_ENUM, IN(audio_length), .fallback = "window",
     .values = audio_lengths, .verbs = T | E | S | R, .group = speech,
     .help = "clips are filled up with silence to the whole window, or to the longest of a batch: "
             "faster, but not what the model was trained on"},
    {.key = "mask_time_prob", .type = OPTION_NUMBER, IN(mask_time_prob), .fallback = "0",
     .low = 0, .high = 1, .verbs = T, .group = speech, .arg = "X",
     .help = "SpecAugment: part of a window's frames that is hidden, about"},
    {.key = "mask_time_length", .type = OPTION_INT, IN(mask_time_length), .fallback = "10",
     .low = 1, .high = 3000, .verbs = T, .group = speech, .arg = "N",
     .help = "... in spans of so many frames (of 10 ms)"},
    {.key = "mask_feature_prob", .type = OPTION_NUMBER, IN(mask_feature_prob), .fallback = "0",
     .low = 0, .high = 1, .verbs = T, .group = speech, .arg = "X",
     .help = "SpecAugment: part of the mel bins that is hidden, about"},
    {.key = "mask_feature_length", .type = OPTION_INT, IN(mask_feature_length), .fallback = "10",
     .low = 1, .high = 128, .verbs = T, .group = speech, .arg = "N",
     .help = "... in spans of so many bins"},
    {.key = "label_smoothing", .type = OPTION_NUMBER, IN(label_smoothing), .fallback = "0",
     .low = 0, .high = 0.9, .verbs = T, .group = speech, .arg = "X",
     .help = "part of each target's probability that is spread over the vocabulary"},
    {.key = "dropout", .type = OPTION_NUMBER, IN(dropout), .fallback = "-1", .low = -1,
     .high = 0.9, .verbs = T, .group = speech, .arg = "X",
     .help = "part of what attention, MLP and embeddings give that is dropped while training; "
             "below 0: as config.json says"},
    {.key = "decoding.temperatures", .type = OPTION_NUMBERS, IN(decoding.temperatures),
     .fallback = "0,0.2,0.4,0.6,0.8,1", .low = 0, .high = 10, .verbs = R, .group = speech,
     .arg = "LIST", .help = "tried in turn on a window whose text is doubtful; 0 is greedy"},
    {.key = "decoding.compression_ratio", .type = OPTION_NUMBER, IN(decoding.compression_ratio),
     .fallback = "2.4", .low = 0, .high = 1000, .verbs = R, .group = speech, .arg = "X",
     .help = "a text that compresses better repeats itself and is doubtful; 0: never"},
    {.key = "decoding.logprob", .type = OPTION_NUMBER, IN(decoding.logprob), .fallback = "-1",
     .low = -1000, .high = 0, .verbs = R, .group = speech, .arg = "X",
     .help = "a text of a lower mean log-probability is doubtful"},
    {.key = "decoding.no_speech", .type = OPTION_NUMBER, IN(decoding.no_speech),
     .fallback = "0.6", .low = 0, .high = 1, .verbs = R, .group = speech, .arg = "X",
     .help = "leave out a doubtful window that is more probably without speech; 0: none"},
    {.key = "decoding.condition", .type = OPTION_BOOL, IN(decoding.condition), .fallback = "yes",
     .verbs = R, .group = speech, .help = "a window sees the text of those before it"},

    {.key = "steps", .type = OPTION_INT, IN(steps), .fallback = "1000", .low = 1,
     .high = 1 << 30, .verbs = T | DP, .group = training, .arg = "N",
     .help = "optimizer steps"},
    {.key = "batch", .type = OPTION_INT, IN(batch), .fallback = "8", .low = 1, .high = 1 << 16,
     .verbs = T | DP, .group = training, .arg = "N", .help = "records a step"},
    {.key = "accumulate", .type = OPTION_INT, IN(accumulate), .fallback = "1", .low = 1,
     .high = 1 << 16, .verbs = T, .group = training, .arg = "N",
     .help = "parts that a batch is worked off in, to save memory; must divide it"},
    {.key = "pack_tokens", .type = OPTION_INT, IN(pack_tokens), .fallback = "0", .low = 0,
     .high = 1 << 20, .verbs = T, .group = training, .arg = "N",
     .help = "put records of a batch behind each other in rows of so many tokens; 0: one a row"},
    {.key = "drop_rows", .type = OPTION_BOOL, IN(drop_rows), .fallback = "yes", .verbs = T,
     .group = training,
     .help = "tokens without loss end after the last layer with keys and values: same result, less "
             "work"},
    {.key = "tower_cache", .type = OPTION_BYTES, IN(tower_cache), .fallback = "1GiB", .low = 0,
     .high = 1e15, .verbs = T, .group = training, .arg = "BYTES",
     .help = "keep what frozen towers make of clips and pictures for the next epochs; 0: do not"},
    {.key = "checkpointing", .type = OPTION_BOOL, IN(checkpointing), .fallback = "no", .verbs = T,
     .group = training, .help = "compute blocks twice instead of keeping them: less memory"},
    {.key = "save_every", .type = OPTION_INT, IN(save_every), .fallback = "200", .low = 1,
     .high = 1 << 30, .verbs = T, .group = training, .arg = "N",
     .help = "steps between checkpoints"},
    {.key = "keep", .type = OPTION_INT, IN(keep), .fallback = "2", .low = 1, .high = 1000,
     .verbs = T, .group = training, .arg = "N", .help = "checkpoints that are kept"},
    {.key = "log_every", .type = OPTION_INT, IN(log_every), .fallback = "10", .low = 1,
     .high = 1 << 30, .verbs = T, .group = training, .arg = "N",
     .help = "steps between lines of progress"},

    {.key = "learning_rate", .type = OPTION_NUMBER, IN(learning_rate), .fallback = "2e-4",
     .low = 0, .high = 10, .above_low = true, .verbs = T, .group = optimizer, .arg = "X",
     .help = "highest rate of the schedule"},
    {.key = "learning_rates", .type = OPTION_PAIRS, IN(learning_rates), .fallback = "",
     .values = towers, .low = 0, .high = 10, .above_low = true, .verbs = T, .group = optimizer,
     .arg = "LIST", .help = "another highest rate for a tower: audio=1e-4,projector=5e-4"},
    {.key = "schedule", .type = OPTION_ENUM, IN(schedule), .fallback = "linear",
     .values = schedules, .verbs = T, .group = optimizer, .help = "of the rate, after warm-up"},
    {.key = "warmup_steps", .type = OPTION_INT, IN(warmup_steps), .fallback = "", .low = 0,
     .high = 1 << 30, .verbs = T, .group = optimizer, .arg = "N",
     .help = "steps in which the rate grows from 0",
     .fallback_help = "20, a tenth of steps at most"},
    {.key = "min_lr_ratio", .type = OPTION_NUMBER, IN(min_lr_ratio), .fallback = "0", .low = 0,
     .high = 1, .verbs = T, .group = optimizer, .arg = "X",
     .help = "where linear and cosine end, as a part of learning_rate"},
    {.key = "beta1", .type = OPTION_NUMBER, IN(beta1), .fallback = "0.9", .low = 0,
     .high = 0.999999, .verbs = T, .group = optimizer, .arg = "X",
     .help = "AdamW: decay of the mean"},
    {.key = "beta2", .type = OPTION_NUMBER, IN(beta2), .fallback = "0.999", .low = 0,
     .high = 0.999999, .verbs = T, .group = optimizer, .arg = "X",
     .help = "AdamW: decay of the mean square"},
    {.key = "epsilon", .type = OPTION_NUMBER, IN(epsilon), .fallback = "1e-8", .low = 0, .high = 1,
     .above_low = true, .verbs = T, .group = optimizer, .arg = "X",
     .help = "AdamW: added to the root"},
    {.key = "weight_decay", .type = OPTION_NUMBER, IN(weight_decay), .fallback = "0", .low = 0,
     .high = 1, .verbs = T, .group = optimizer, .arg = "X",
     .help = "AdamW: decoupled weight decay"},
    {.key = "clip", .type = OPTION_NUMBER, IN(clip), .fallback = "1", .low = 0, .high = 1e6,
     .verbs = T, .group = optimizer, .arg = "X",
     .help = "largest norm of all gradients together; 0 switches it off"},

    {.key = "eval_every", .type = OPTION_INT, IN(eval_every), .fallback = "200", .low = 0,
     .high = 1 << 30, .verbs = T, .group = evaluation, .arg = "N",
     .help = "steps between evaluations; 0: only at the end"},
    {.key = "eval_max_records", .type = OPTION_INT, IN(eval_max_records), .fallback = "0",
     .low = 0, .high = 1 << 30, .verbs = T | E, .group = evaluation, .arg = "N",
     .help = "measure on the first N records; 0: on all"},
    {.key = "eval_batch", .type = OPTION_INT, IN(eval_batch), .fallback = "8", .low = 1,
     .high = 4096, .verbs = T | E | R, .group = evaluation, .arg = "N",
     .help = "records that are measured or transcribed at once"},
    {.key = "eval_generate", .type = OPTION_BOOL, IN(eval_generate), .fallback = "yes",
     .verbs = T | E, .group = evaluation,
     .help = "generate transcripts too, for word and character error rate"},
    {.key = "normalizer", .type = OPTION_ENUM, IN(normalizer), .fallback = "basic",
     .values = normalizers, .verbs = T | E, .group = evaluation,
     .help = "what is taken out of transcripts before words are compared"},
    {.key = "ablate", .type = OPTION_ENUM, AT(ablate), .fallback = "none", .values = ablations,
     .is_flag_only = true, .verbs = E, .group = evaluation,
     .help = "measure a second time with silence, or grey pictures: does the model use them?"},
    {.key = "predictions", .type = OPTION_TEXT, AT(predictions), .fallback = "",
     .is_flag_only = true, .letter = 'o', .verbs = E, .group = evaluation, .arg = "FILE",
     .help = "write each record's reference and transcript here, as JSONL"},
    {.key = "blacklist", .type = OPTION_TEXT, AT(blacklist), .fallback = "", .is_flag_only = true,
     .verbs = E, .group = evaluation, .arg = "FILE",
     .help = "write the records whose transcript is far from their text here, as CSV that "
             "patches/delete/ takes"},
    {.key = "blacklist_wer", .type = OPTION_NUMBER, AT(blacklist_wer), .fallback = "0.75",
     .low = 0, .high = 1000, .above_low = true, .is_flag_only = true, .verbs = E,
     .group = evaluation, .arg = "X", .help = "... from this word error rate on"},

    {.key = "max_new_tokens", .type = OPTION_INT, IN(max_new_tokens), .fallback = "256", .low = 1,
     .high = 1 << 20, .verbs = T | E | R | G, .group = generation, .arg = "N",
     .help = "stop generating after this many tokens"},
    {.key = "temperature", .type = OPTION_NUMBER, AT(temperature), .fallback = "0", .low = 0,
     .high = 100, .is_flag_only = true, .verbs = G, .group = generation, .arg = "X",
     .help = "sample with the logits divided by this; 0 takes the likeliest token"},
    {.key = "top_p", .type = OPTION_NUMBER, AT(top_p), .fallback = "1", .low = 0, .high = 1,
     .above_low = true, .is_flag_only = true, .verbs = G, .group = generation, .arg = "X",
     .help = "sample from the likeliest tokens that together have this probability"},

    {.key = "device", .type = OPTION_ENUM, IN(device), .fallback = "auto", .values = devices,
     .verbs = MODELS | D | X, .group = machine,
     .help = "where to compute; auto takes a GPU when there is one"},
    {.key = "dtype", .type = OPTION_ENUM, IN(dtype), .fallback = "auto", .values = dtypes,
     .verbs = T | E | R | G | X, .group = machine,
     .help = "of weights and activations; auto: bf16 on GPUs, f32 on the CPU, export: as they "
             "were stored"},
    {.key = "device_memory", .type = OPTION_BYTES, IN(device_memory), .fallback = "0", .low = 0,
     .high = 1e15, .verbs = T, .group = machine, .arg = "BYTES",
     .help = "what the run may take of the device's memory; 0: all there is"},
    {.key = "compile", .type = OPTION_BOOL, IN(compile), .fallback = "", .verbs = T,
     .group = machine, .help = "compile the training step", .fallback_help = "yes on Metal"},
    {.key = "seed", .type = OPTION_SEED, IN(seed), .fallback = "0",
     .verbs = T | G | DP | DI, .group = machine, .arg = "N",
     .help = "of order, initial weights, dropout and sampling"},

    {.key = "output", .type = OPTION_TEXT, AT(output), .fallback = "", .is_flag_only = true,
     .letter = 'o', .verbs = DI | DC | R | X, .group = output, .arg = "FILE",
     .help = "what to write: import, the records as JSONL (- is stdout); check, the bad ones as a "
             "CSV that patches/delete/ takes; transcribe, export: a folder"},
    {.key = "format", .type = OPTION_ENUM, AT(format), .fallback = "text",
     .values = subtitle_formats, .is_flag_only = true, .letter = 'f', .verbs = R, .group = output,
     .help = "of transcripts: plain text, subtitles, a table of times, or JSON"},
    {.key = "windows", .type = OPTION_ENUM, AT(windows), .fallback = "auto", .values = windows,
     .is_flag_only = true, .verbs = R, .group = output,
     .help = "long recordings: one window after the other (Whisper), or pieces cut at silence"},
    {.key = "record", .type = OPTION_TEXT, AT(record), .fallback = "", .is_flag_only = true,
     .letter = 'r', .verbs = DS, .group = output, .arg = "NAME",
     .help = "the record to show: its id, its place (file:line) or its number",
     .fallback_help = "the first"},
    {.key = "limit", .type = OPTION_INT, AT(limit), .fallback = "0", .low = 0, .high = 1 << 30,
     .is_flag_only = true, .letter = 'n', .verbs = DC | DT | DS | DI, .group = output,
     .arg = "N", .help = "look at the first N records; 0: at all (data show: at one)"},
    {.key = "pictures", .type = OPTION_TEXT, AT(pictures), .fallback = "", .is_flag_only = true,
     .verbs = DS, .group = output, .arg = "DIR",
     .help = "write each picture and frame as the model sees it into this folder, as PNG"},
    {.key = "color", .type = OPTION_ENUM, AT(color), .fallback = "auto", .values = colors,
     .is_flag_only = true, .verbs = DS, .group = output,
     .help = "colour trained and other tokens; auto: on a terminal"},
    {.key = "ids", .type = OPTION_BOOL, AT(ids), .fallback = "no", .is_flag_only = true,
     .verbs = S, .group = output, .help = "print each record's input_ids too"},
    {.key = "json", .type = OPTION_BOOL, IN(json), .fallback = "no", .is_flag_only = true,
     .verbs = ALL, .group = output, .help = "print results as JSON"},
    {.key = "quiet", .type = OPTION_BOOL, IN(quiet), .fallback = "no", .is_flag_only = true,
     .letter = 'q', .verbs = ALL, .group = output, .help = "no messages but warnings and errors"},
};
/* clang-format on */

const int option_count = (int)(sizeof option_table / sizeof option_table[0]);

int option_find(const char *key)
{
    for (int i = 0; i < option_count; i++)
        if (!strcmp(option_table[i].key, key))
            return i;
    return -1;
}

void option_flag(const struct option *o, char *out, size_t size)
{
    snprintf(out, size, "%s", o->key);
    for (; *out; out++)
        if (*out == '_' || *out == '.')
            *out = '-';
}

void option_variable(const struct option *o, char *out, size_t size)
{
    snprintf(out, size, "ATTUNE_%s", o->key);
    for (; *out; out++)
        *out = *out == '.' ? '_' : (char)toupper((unsigned char)*out);
}

static void join(const char *const *words, struct buf *out)
{
    for (int i = 0; words[i]; i++)
        buf_printf(out, "%s%s", i ? ", " : "", words[i]);
}

/* The range of a number in words: "from 1 to 64", "above 0, up to 10". */
static void range_text(const struct option *o, struct buf *out)
{
    if (o->above_low)
        buf_printf(out, "above %.7g, up to %.10g", o->low, o->high);
    else
        buf_printf(out, "from %.7g to %.10g", o->low, o->high);
}

/* 1073741824 -> "1GiB", 10000000000 -> "10GB"; a number that is no multiple of a unit stays
 * plain. */
static void bytes_text(int64_t v, struct buf *out)
{
    static const struct {
        const char *name;
        int64_t bytes;
    } units[] = {
        {"TiB", (int64_t)1 << 40}, {"GiB", 1 << 30},  {"MiB", 1 << 20},
        {"TB", 1000000000000},     {"GB", 1000000000}, {"MB", 1000000},
    };
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (v && v % units[i].bytes == 0) {
            buf_printf(out, "%lld%s", (long long)(v / units[i].bytes), units[i].name);
            return;
        }
    buf_printf(out, "%lld", (long long)v);
}

static void bytes_range_text(const struct option *o, struct buf *out)
{
    buf_add_str(out, "a number of bytes such as 512MiB or 2GB, at least ");
    bytes_text((int64_t)o->low, out);
}

void option_expects(const struct option *o, char *out, size_t size)
{
    struct buf b;
    buf_init(&b, TEXT_MAX);
    switch (o->type) {
    case OPTION_BOOL: buf_add_str(&b, "yes or no"); break;
    case OPTION_INT:
        buf_add_str(&b, "a whole number ");
        range_text(o, &b);
        break;
    case OPTION_SEED: buf_add_str(&b, "a whole number from 0 to 18446744073709551615"); break;
    case OPTION_NUMBER:
        buf_add_str(&b, "a number ");
        range_text(o, &b);
        break;
    case OPTION_TEXT:
        buf_add_str(&b, o->values ? "one of: " : "text");
        if (o->values)
            join(o->values, &b);
        break;
    case OPTION_ENUM:
        buf_add_str(&b, "one of: ");
        join(o->values, &b);
        break;
    case OPTION_BYTES: bytes_range_text(o, &b); break;
    case OPTION_PATHS: buf_add_str(&b, "a file or a list of files"); break;
    case OPTION_NUMBERS:
        buf_add_str(&b, "a list of numbers, each ");
        range_text(o, &b);
        break;
    case OPTION_PAIRS:
        buf_add_str(&b, "a list of NAME=VALUE, ");
        if (o->high > 0) {
            buf_add_str(&b, "VALUE ");
            range_text(o, &b);
            buf_add_str(&b, ", ");
        }
        buf_add_str(&b, "NAME one of: ");
        join(o->values, &b);
        break;
    case OPTION_WORDS:
        buf_add_str(&b, o->values ? "a list of: " : "a list of words");
        if (o->values)
            join(o->values, &b);
        break;
    }
    snprintf(out, size, "%s", b.data);
    buf_release(&b);
}

/* A plain word of YAML needs no quotes: letters, digits and what paths have, and nothing that
 * YAML 1.1 would read as a number, a truth value or null. */
static bool is_plain(const char *s)
{
    static const char *const words[] = {"yes",   "no",   "on", "off", "true",
                                        "false", "null", "y",  "n"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        const char *a = s, *b = words[i];
        while (*b && tolower((unsigned char)*a) == *b)
            a++, b++;
        if (!*a && !*b)
            return false;
    }
    if (!isalpha((unsigned char)*s) && *s != '/')
        return false;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && !strchr("_-./+", *s))
            return false;
    return true;
}

/* JSON's strings are YAML's double-quoted ones. */
static void quote(const char *s, struct buf *out)
{
    if (is_plain(s)) {
        buf_add_str(out, s);
        return;
    }
    buf_add_char(out, '"');
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            buf_printf(out, "\\x%02x", c);
        else
            buf_add_char(out, *s);
    }
    buf_add_char(out, '"');
}

/* The shortest decimal that reads back as the same number. */
static void number_text(double v, struct buf *out)
{
    char s[32];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(s, sizeof s, "%.*g", digits, v);
        double back;
        if (sscanf(s, "%lf", &back) == 1 && back >= v && back <= v)
            break;
    }
    buf_add_str(out, s);
}

char *option_text(const struct option *o, const struct options *values)
{
    const void *at = (const char *)values + o->offset;
    struct buf b;
    buf_init(&b, TEXT_MAX);
    switch (o->type) {
    case OPTION_BOOL: buf_add_str(&b, *(const bool *)at ? "yes" : "no"); break;
    case OPTION_INT: buf_printf(&b, "%d", *(const int *)at); break;
    case OPTION_SEED: buf_printf(&b, "%llu", (unsigned long long)*(const uint64_t *)at); break;
    case OPTION_NUMBER: number_text(*(const double *)at, &b); break;
    case OPTION_BYTES: bytes_text(*(const int64_t *)at, &b); break;
    case OPTION_TEXT: quote(*(char *const *)at, &b); break;
    case OPTION_ENUM: buf_add_str(&b, o->values[*(const int *)at]); break;
    case OPTION_WORDS:
    case OPTION_PATHS:
    case OPTION_NUMBERS:
    case OPTION_PAIRS: {
        const struct string_list *l = at;
        buf_add_char(&b, '[');
        for (int i = 0; i < l->count; i++) {
            buf_add_str(&b, i ? ", " : "");
            if (o->type == OPTION_NUMBERS)
                buf_add_str(&b, l->at[i]);
            else
                quote(l->at[i], &b);
        }
        buf_add_char(&b, ']');
        break;
    }
    }
    return buf_take(&b, NULL);
}
