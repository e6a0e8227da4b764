/* help.c - the texts of --help and docs/config.md, made from the table of options. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/suggest.h"
#include "cli/options.h"

enum { HELP_COLUMN = 28, HELP_WIDTH = 96 };

struct verb_text {
    const char *name, *words, *line;
    const char *more;                  /* paragraphs between usage and flags */
};

/* In the order of enum verb. */
static const struct verb_text verbs[] = {
    {"train", "[CONFIG]", "fine-tune a model",
     "Reads CONFIG (YAML), trains, and leaves the adapter in RUNS/NAME/adapter.  The same command\n"
     "again goes on where the run stopped.  Ctrl-C saves a checkpoint first (exit 130), and so\n"
     "does a network that is away for too long (exit 75).  Data are JSONL, CSV, TSV or tar files,\n"
     "here or in storage (gs://, s3://, https://, hf://), and may be larger than the disk.\n"
     "\n"
     "  attune train speech.yaml\n"
     "  attune train speech.yaml --steps 500 --set lora.rank=8\n"},
    {"eval", "[CONFIG]", "measure loss, word and character error rate on data",
     "Measures the model (with --adapter: the adapted model) on the config's eval files or on\n"
     "--data.  Shows the transcripts with most errors beside what they should be.  --blacklist\n"
     "writes down the records whose transcript is far from their text: look at them, then leave\n"
     "them out (patches/delete/) or mend them (patches/override_text/).\n"
     "\n"
     "  attune eval --model DIR --adapter runs/speech/adapter --data dev.jsonl\n"
     "  attune eval --model DIR --data train.jsonl --blacklist patches/delete/far-off.csv\n"},
    {"score", "", "print the log-probability of every supervised token",
     "Prints one JSON line for each record: id, input_tokens, supervised_tokens, loss, logprobs\n"
     "(natural logarithms after the final softcap).  Records run one at a time, in float32,\n"
     "without padding.  A bad record is named on stderr and left out; the exit code is then 3.\n"
     "\n"
     "  attune score --model DIR --data dev.jsonl --ids\n"},
    {"transcribe", "FILE...", "write down what is said in sound files",
     "Prints the text of one file, or \"FILE<tab>text\" lines for several.  FILE is a path, a URI\n"
     "(gs://, s3://, https://, hf://), or - for stdin.  With --format there are subtitles or "
     "JSON,\n"
     "with --output DIR one file for each recording.  A file that cannot be used is named on\n"
     "stderr, the others go on; the exit code is then 3.\n"
     "\n"
     "  attune transcribe --model DIR --adapter runs/speech/adapter memo.m4a\n"
     "  attune transcribe --model DIR --language de --format srt --output texts talks/*.mp3\n"},
    {"generate", "[PROMPT]", "let the model answer a prompt",
     "PROMPT is the user's message; without one it is read from stdin.  It is written the way the\n"
     "checkpoint's chats are.\n"
     "\n"
     "  attune generate --model DIR \"Why is the sky blue?\"\n"
     "  attune generate --model DIR --audio memo.wav \"What is this about?\"\n"},
    {"export", "", "write a model with its adapter merged, as a folder that others load",
     "Writes a folder in the Hub's layout (config, tokenizer, safetensors) in which the adapter "
     "is\n"
     "part of the weights: for transformers, CTranslate2, whisper.cpp, llama.cpp, mlx-lm.\n"
     "\n"
     "  attune export --model DIR --adapter runs/speech/adapter --output whisper-ours\n"},
    {"data check", "FILE...", "read every record: does it decode, what is in it",
     "Reads all records with their media and says what training would: how many there are and how\n"
     "long, languages, duplicates, and each bad one by name.  FILE is a path, a glob or a URI; a\n"
     "config file (.yaml) stands for its train key.\n"
     "\n"
     "  attune data check train.jsonl\n"
     "  attune data check \"gs://bucket/speech/train-{0000..0919}.tar\"\n"},
    {"data plan", "FILE...", "what a run would fetch: bytes, requests, cost, time, disk",
     "Says before a run starts what it would take, and how much of its batches would be padding.\n"
     "\n"
     "  attune data plan speech.yaml\n"},
    {"data index", "FILE...", "write an index beside each tar shard",
     "With its index a shard is planned before it is fetched, and its records are known.\n"
     "\n"
     "  attune data index \"shards/train-*.tar\"\n"},
    {"data stats", "FILE...", "lengths, durations and languages, drawn in the terminal", ""},
    {"data show", "FILE...", "print records as the model will see them", ""},
    {"data import", "SOURCE...", "make data files from other tools' tables", ""},
    {"doctor", "", "check this machine: device, memory, disk, libraries", ""},
    {"help", "[TOPIC]", "explain a command, exit-codes, or config", ""},
};

_Static_assert(sizeof verbs / sizeof verbs[0] == VERB_COUNT, "one text for each verb");

static const struct {
    int code;
    const char *meaning;
} codes[] = {
    {0, "done"},
    {1, "failed, for a reason that has no code of its own"},
    {2, "the command line or the configuration is wrong"},
    {3, "data: a record, a sound file or a checkpoint's file is missing or bad"},
    {4, "login, licence or permission"},
    {5, "not enough memory or disk"},
    {6, "loss or gradients are not finite"},
    {7, "integrity: a checkpoint or a file of attune's own is damaged"},
    {70, "a mistake in attune itself"},
    {75, "the same command may work later"},
    {130, "interrupted by Ctrl-C; progress is saved"},
    {143, "asked to end by a signal; progress is saved"},
};

const char *verb_name(enum verb v)
{
    return verbs[v].name;
}

static bool begins_with_word(const char *name, const char *word)
{
    size_t n = strlen(word);
    return !strncmp(name, word, n) && name[n] == ' ';
}

bool verb_is_group(const char *word)
{
    for (int v = 0; v < VERB_COUNT; v++)
        if (begins_with_word(verbs[v].name, word))
            return true;
    return false;
}

/* The verb whose name is these one or two words, or VERB_COUNT. */
static enum verb find_exactly(const char *first, const char *second)
{
    for (int v = 0; v < VERB_COUNT; v++) {
        const char *name = verbs[v].name;
        if (second ? begins_with_word(name, first) && !strcmp(name + strlen(first) + 1, second)
                   : !strcmp(name, first))
            return (enum verb)v;
    }
    return VERB_COUNT;
}

/* Error for words that are no verb. */
static enum verb not_found(const char *first, const char *second, struct err *e)
{
    const char *names[VERB_COUNT + 1];
    size_t skip = second ? strlen(first) + 1 : 0;
    int n = 0;
    for (int v = 0; v < VERB_COUNT; v++)
        if (!second || begins_with_word(verbs[v].name, first))
            names[n++] = verbs[v].name + skip;
    const char *word = second ? second : first, *space = second ? " " : "";
    const char *nearest = suggest_nearest(word, names, n);
    if (!nearest && !second)
        nearest = suggest_nearest(word, (const char *const[]){"data"}, 1);
    err_set(e, ERR_USAGE, "unknown command \"%s%s%s\"", second ? first : "", space, word);
    if (nearest)
        err_hint(e, "did you mean `attune %s%s%s`?", second ? first : "", space, nearest);
    else
        err_hint(e, "`attune help%s%s` lists the commands", space, second ? first : "");
    return VERB_COUNT;
}

enum verb verb_find(const char *const *words, int count, int *used, struct err *e)
{
    bool has_two = verb_is_group(words[0]);
    *used = has_two ? 2 : 1;
    if (has_two && (count < 2 || words[1][0] == '-')) {
        err_set(e, ERR_USAGE, "%s: a command is needed", words[0]);
        err_hint(e, "`attune %s --help` lists them", words[0]);
        return VERB_COUNT;
    }
    const char *second = has_two ? words[1] : NULL;
    enum verb v = find_exactly(words[0], second);
    return v == VERB_COUNT ? not_found(words[0], second, e) : v;
}

/* One line for a verb, or for the first of a group of verbs. */
static void help_line(FILE *f, int v)
{
    const char *name = verbs[v].name;
    size_t n = strcspn(name, " ");
    if (!name[n])
        fprintf(f, "  %-12s%s\n", name, verbs[v].line);
    else if (v == 0 || strncmp(verbs[v - 1].name, name, n + 1) != 0)
        fputs("  data ...    check, plan, index, look at and import data\n", f);
}

void help_program(FILE *f)
{
    fputs("attune fine-tunes Gemma 4 on your own machine: text and audio, by LoRA or in full.\n"
          "\n"
          "usage: attune COMMAND [ARGUMENTS]\n"
          "\n",
          f);
    for (int v = 0; v < VERB_COUNT; v++)
        help_line(f, v);
    fputs("\n"
          "`attune COMMAND --help` lists a command's flags; `attune help config` the keys of\n"
          "config files, `attune help exit-codes` the exit codes.  `attune --version` prints the\n"
          "version.  Data goes to stdout, messages to stderr.\n",
          f);
}

void help_group(FILE *f, const char *group)
{
    fprintf(f, "usage: attune %s COMMAND [ARGUMENTS]\n\n", group);
    for (int v = 0; v < VERB_COUNT; v++)
        if (begins_with_word(verbs[v].name, group))
            fprintf(f, "  %-14s%s\n", verbs[v].name, verbs[v].line);
    fprintf(f, "\n`attune %s COMMAND --help` lists a command's flags.\n", group);
}

void help_exit_codes(FILE *f)
{
    fputs("Exit codes:\n\n", f);
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        fprintf(f, "  %3d  %s\n", codes[i].code, codes[i].meaning);
}

/* "--learning-rate X", "-m, --model DIR", "--[no-]json", "--method lora|full". */
static void flag_text(const struct option *o, char *out, size_t size)
{
    char flag[64], words[200] = "";
    option_flag(o, flag, sizeof flag);
    if (o->type == OPTION_ENUM || (o->type == OPTION_TEXT && o->values))
        for (int i = 0; o->values[i]; i++) {
            size_t n = strlen(words);
            snprintf(words + n, sizeof words - n, "%s%s", i ? "|" : " ", o->values[i]);
        }
    else if (o->arg)
        snprintf(words, sizeof words, " %s", o->arg);
    char letter[8] = "";
    if (o->letter)
        snprintf(letter, sizeof letter, "-%c, ", o->letter);
    snprintf(out, size, "%s--%s%s%s", letter, o->type == OPTION_BOOL ? "[no-]" : "", flag, words);
}

/* The default in brackets, or nothing where there is none worth saying. */
static void default_text(const struct option *o, char *out, size_t size)
{
    bool is_plain_no = o->type == OPTION_BOOL && !strcmp(o->fallback, "no");
    if (o->fallback_help)
        snprintf(out, size, " [%s]", o->fallback_help);
    else if (*o->fallback && !is_plain_no)
        snprintf(out, size, " [%s]", o->fallback);
    else
        *out = 0;
}

/* A flag and its text, which goes on in its own column. */
static void flag_line(FILE *f, const char *flag, const char *text)
{
    int at = fprintf(f, "  %-*s", HELP_COLUMN - 2, flag);
    if (at > HELP_COLUMN)
        at = fprintf(f, "\n%*s", HELP_COLUMN, "") - 1;
    while (*text) {
        size_t n = strcspn(text, " ");
        if (at + (int)n > HELP_WIDTH)
            at = fprintf(f, "\n%*s", HELP_COLUMN, "") - 1;
        at += fprintf(f, at > HELP_COLUMN ? " %.*s" : "%.*s", (int)n, text);
        text += n + strspn(text + n, " ");
    }
    fputc('\n', f);
}

static void help_flags(FILE *f, enum verb v)
{
    const char *group = NULL;
    for (int i = 0; i < option_count; i++) {
        const struct option *o = &option_table[i];
        if (!(o->verbs & 1u << v))
            continue;
        if (group != o->group)
            fprintf(f, "\n%s:\n", o->group);
        group = o->group;
        char flag[300], fallback[100];
        flag_text(o, flag, sizeof flag);
        default_text(o, fallback, sizeof fallback);
        char *text = xasprintf("%s%s", o->help, fallback);
        flag_line(f, flag, text);
        free(text);
    }
}

void help_verb(FILE *f, enum verb v)
{
    const struct verb_text *t = &verbs[v];
    fprintf(f, "usage: attune %s%s%s%s\n\n%c%s.\n", t->name, v == VERB_HELP ? "" : " [FLAGS]",
            *t->words ? " " : "", t->words, t->line[0] - 'a' + 'A', t->line + 1);
    if (*t->more)
        fprintf(f, "\n%s", t->more);
    if (v == VERB_HELP) {
        fputs("\nTopics: a command, config, exit-codes.\n", f);
        return;
    }
    help_flags(f, v);
    fputs("\nGeneral:\n", f);
    if (v != VERB_DOCTOR)
        fputs("  -c, --config FILE         read settings from a YAML file\n"
              "  --set KEY=VALUE           set any key of a config file\n",
              f);
    fputs("  -h, --help                this text\n"
          "\n"
          "A flag wins over the environment (ATTUNE_SEED=...), that over the config file.\n"
          "\n",
          f);
    help_exit_codes(f);
}

/* ------------------------------------------------------------ docs/config.md -- */

static void config_row(FILE *f, const struct option *o)
{
    char expects[300];
    option_expects(o, expects, sizeof expects);
    const char *ticks = *o->fallback && !o->fallback_help ? "`" : "";
    const char *fallback = o->fallback_help ? o->fallback_help
                           : *o->fallback   ? o->fallback
                                            : "none";
    fprintf(f, "| `%s` | %s | %s%s%s | %s |\n", o->key, expects, ticks, fallback, ticks, o->help);
}

void help_config(FILE *f)
{
    fputs("# Configuration\n"
          "\n"
          "A config file is YAML, and a small one is enough:\n"
          "\n"
          "```yaml\n"
          "model: gemma-4-E2B-it          # a folder in the Hub's layout\n"
          "train: gs://my-bucket/speech/train-{0000..0919}.tar\n"
          "eval: data/dev.jsonl\n"
          "lora: {rank: 16, towers: [language, audio]}\n"
          "steps: 2000\n"
          "```\n"
          "\n"
          "Each key is also a flag and a variable of the environment: `lora.rank` is\n"
          "`--lora-rank`, `ATTUNE_LORA_RANK` and `--set lora.rank=8`.  A flag wins over the\n"
          "environment, that over the file, that over the default.  A switch is turned off by\n"
          "`--no-...`.  A flag that takes files may be repeated; lists of words (`lora.towers`)\n"
          "are separated by commas in flags.  Paths start at the current directory; those\n"
          "inside a data file at its folder, or at the prefix it has in a bucket.  Bytes are\n"
          "written 512MiB, 2GB or as a plain number.  Unknown keys,\n"
          "values out of range, and keys that would have no effect beside the others\n"
          "(`lora.rank` with `method: full`) are errors that name the line.  Each key is listed\n"
          "once; `attune help config` prints this page.\n",
          f);
    const char *group = NULL;
    for (int i = 0; i < option_count; i++) {
        const struct option *o = &option_table[i];
        if (o->is_flag_only)
            continue;
        if (group != o->group)
            fprintf(f,
                    "\n## %s\n\n"
                    "| key | value | default | meaning |\n"
                    "| --- | --- | --- | --- |\n",
                    o->group);
        group = o->group;
        config_row(f, o);
    }
}
