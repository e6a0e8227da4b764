/* test_options.c - options from file, environment and flags, and what is said of wrong ones. */
#include "cli/options.h"

#include "testing.h"

#include "base/dir.h"
#include "base/file.h"

static char *folder;

static int make_folder(void **state)
{
    (void)state;
    folder = testing_folder();
    assert_int_equal(chdir(folder), 0);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(dir_remove(folder, &e), 0);
    free(folder);
    return 0;
}

static void write_config(const char *text)
{
    struct err e = {0};
    assert_int_equal(file_write("run.yaml", text, strlen(text), &e), 0);
}

/* Parse a command line given as one string of words. */
static int parse(struct options *o, enum verb verb, const char *line, struct err *e)
{
    char copy[2000];
    const char *argv[64];
    int argc = 0;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *rest, *w = strtok_r(copy, " ", &rest); w; w = strtok_r(NULL, " ", &rest))
        argv[argc++] = w;
    return options_parse(o, verb, argc, argv, e);
}

static void expect(enum verb verb, const char *line, const char *text, const char *hint)
{
    struct options o;
    struct err e = {0};
    int rc = parse(&o, verb, line, &e);
    if (!rc)
        options_release(&o);
    assert_int_equal(rc, -1);
    assert_int_equal(e.kind, ERR_USAGE);
    assert_string_equal(e.text, text);
    assert_string_equal(e.hint, hint);
}

/* What `attune train run.yaml` says of a file with this text. */
static void expect_file(const char *file, const char *text, const char *hint)
{
    write_config(file);
    expect(VERB_TRAIN, "run.yaml", text, hint);
}

#define SMALL "model: m\ntrain: t.jsonl\n"

/* ---------------------------------------------------------------- values -- */

static void test_options__has_the_defaults(void **state)
{
    (void)state;
    struct options o;
    struct err e = {0};
    assert_int_equal(parse(&o, VERB_TRAIN, "--model m --train t.jsonl", &e), 0);
    const struct config *c = &o.config;
    assert_string_equal(c->model, "m");
    assert_string_equal(c->adapter, "");
    assert_string_equal(c->name, "run");
    assert_string_equal(c->runs, "runs");
    assert_int_equal(c->method, METHOD_LORA);
    assert_int_equal(c->lora.rank, 16);
    assert_near(c->lora.alpha, 32, 0);
    assert_int_equal(c->lora.towers.count, 1);
    assert_string_equal(c->lora.towers.at[0], "language");
    assert_int_equal(c->lora.targets.count, 0);
    assert_int_equal(c->steps, 1000);
    assert_int_equal(c->warmup_steps, 20);
    assert_near(c->learning_rate, 2e-4, 0);
    assert_near(c->beta2, 0.999, 0);
    assert_near(c->epsilon, 1e-8, 0);
    assert_near(c->clip, 1, 0);
    assert_near(c->bad_fraction, 0.001, 0);
    assert_int_equal(c->bad_min, 10);
    assert_true(c->length_sorted);
    assert_false(c->checkpointing);
    assert_int_equal(c->schedule, SCHEDULE_LINEAR);
    options_release(&o);
}

static void test_options__reads_every_type_from_a_file(void **state)
{
    (void)state;
    write_config("# comment\n"
                 "model: models/tiny\n"
                 "train: [a.jsonl, \"b,c.jsonl\"]\n"
                 "eval: dev.jsonl\n"
                 "lora: {rank: 4, alpha: 1.5, towers: [language, audio], targets: q_proj}\n"
                 "steps: 30\n"
                 "learning_rate: 1e-4\n"
                 "schedule: cosine\n"
                 "checkpointing: on\n"
                 "length_sorted: No\n"
                 "seed: 18446744073709551615\n"
                 "prompt: \"say: what?\"\n");
    struct options o;
    struct err e = {0};
    int rc = parse(&o, VERB_TRAIN, "run.yaml", &e);
    assert_ok(e);
    assert_int_equal(rc, 0);
    const struct config *c = &o.config;
    assert_string_equal(c->model, "models/tiny");
    assert_int_equal(c->train.count, 2);
    assert_string_equal(c->train.at[1], "b,c.jsonl");
    assert_int_equal(c->eval.count, 1);
    assert_int_equal(c->lora.rank, 4);
    assert_near(c->lora.alpha, 1.5, 0);
    assert_int_equal(c->lora.towers.count, 2);
    assert_string_equal(c->lora.towers.at[1], "audio");
    assert_string_equal(c->lora.targets.at[0], "q_proj");
    assert_near(c->learning_rate, 1e-4, 0);
    assert_int_equal(c->schedule, SCHEDULE_COSINE);
    assert_true(c->checkpointing);
    assert_false(c->length_sorted);
    assert_true(c->seed == UINT64_MAX);
    assert_int_equal(c->warmup_steps, 3);
    assert_string_equal(c->prompt, "say: what?");
    assert_string_equal(c->name, "run");
    assert_string_equal(c->config_path, "run.yaml");
    options_release(&o);
}

static void test_options__flag_beats_environment_beats_file(void **state)
{
    (void)state;
    write_config(SMALL "steps: 1\nbatch: 2\nkeep: 3\nlora: {rank: 5}\n");
    setenv("ATTUNE_BATCH", "20", 1);
    setenv("ATTUNE_KEEP", "30", 1);
    setenv("ATTUNE_LORA_RANK", "50", 1);
    struct options o;
    struct err e = {0};
    int rc = parse(&o, VERB_TRAIN, "--keep 300 run.yaml --set lora.rank=7", &e);
    unsetenv("ATTUNE_BATCH");
    unsetenv("ATTUNE_KEEP");
    unsetenv("ATTUNE_LORA_RANK");
    assert_ok(e);
    assert_int_equal(rc, 0);
    assert_int_equal(o.config.steps, 1);
    assert_int_equal(o.config.batch, 20);
    assert_int_equal(o.config.keep, 300);
    assert_int_equal(o.config.lora.rank, 7);
    options_release(&o);
}

static void test_options__lists_in_flags(void **state)
{
    (void)state;
    write_config(SMALL "lora: {towers: [audio]}\n");
    struct options o;
    struct err e = {0};
    assert_int_equal(parse(&o, VERB_TRAIN,
                           "run.yaml --train x.jsonl --train=y,z.jsonl --lora-towers "
                           "language,audio --set lora.targets=[q_proj,v_proj] --no-length-sorted",
                           &e),
                     0);
    assert_int_equal(o.config.train.count, 2);
    assert_string_equal(o.config.train.at[0], "x.jsonl");
    assert_string_equal(o.config.train.at[1], "y,z.jsonl");
    assert_int_equal(o.config.lora.towers.count, 2);
    assert_int_equal(o.config.lora.targets.count, 2);
    assert_string_equal(o.config.lora.targets.at[1], "v_proj");
    assert_false(o.config.length_sorted);
    options_release(&o);
}

static void test_options__name_comes_from_the_file(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(file_write("my.speech.yaml", SMALL, strlen(SMALL), &e), 0);
    struct options o;
    assert_int_equal(parse(&o, VERB_TRAIN, "./my.speech.yaml", &e), 0);
    assert_string_equal(o.config.name, "my.speech");
    options_release(&o);
}

static void test_options__words_and_other_flags(void **state)
{
    (void)state;
    struct options o;
    struct err e = {0};
    assert_int_equal(parse(&o, VERB_TRANSCRIBE, "a.wav -m dir -- -b.wav", &e), 0);
    assert_int_equal(o.args.count, 2);
    assert_string_equal(o.args.at[1], "-b.wav");
    options_release(&o);
    assert_int_equal(parse(&o, VERB_SCORE, "--model m -d a -d b --ids", &e), 0);
    assert_true(o.ids);
    assert_int_equal(o.data.count, 2);
    options_release(&o);
    assert_int_equal(parse(&o, VERB_GENERATE, "hello -m m --temperature 0.7 --top-p .9", &e), 0);
    assert_near(o.temperature, 0.7, 0);
    assert_near(o.top_p, 0.9, 0);
    options_release(&o);
    assert_int_equal(parse(&o, VERB_TRAIN, "--help --steps nonsense", &e), 0);
    assert_true(o.help);
    options_release(&o);
    /* Keys of other commands in a file, and their variables, are no concern of this one. */
    write_config(SMALL "steps: 3\neval: dev.jsonl\n");
    setenv("ATTUNE_STEPS", "x", 1);
    assert_int_equal(parse(&o, VERB_EVAL, "run.yaml", &e), 0);
    unsetenv("ATTUNE_STEPS");
    options_release(&o);
}

static void test_options__writes_what_it_reads(void **state)
{
    (void)state;
    write_config(SMALL "eval: [d1.jsonl, \"with space.jsonl\"]\n"
                       "lora: {rank: 3, targets: [\"*.q_proj\"]}\n"
                       "prompt: \"a \\\"quoted\\\" \\\\ word\\n\"\nlearning_rate: 3.7e-5\n"
                       "name: \"no\"\nbad_fraction: 0.1\nseed: 9\n");
    struct options o, again;
    struct err e = {0};
    assert_int_equal(parse(&o, VERB_TRAIN, "run.yaml", &e), 0);
    char *text = options_to_yaml(&o);
    write_config(text);
    int rc = parse(&again, VERB_TRAIN, "run.yaml", &e);
    assert_ok(e);
    assert_int_equal(rc, 0);
    char *text_again = options_to_yaml(&again);
    assert_string_equal(text, text_again);
    assert_string_equal(again.config.name, "no");
    assert_string_equal(again.config.prompt, "a \"quoted\" \\ word\n");
    assert_string_equal(again.config.eval.at[1], "with space.jsonl");
    assert_string_equal(again.config.lora.targets.at[0], "*.q_proj");
    assert_true(again.config.learning_rate >= 3.7e-5 && again.config.learning_rate <= 3.7e-5);
    assert_non_null(strstr(text, "lora:\n  rank: 3\n  alpha: 6\n"));
    free(text);
    free(text_again);
    options_release(&o);
    options_release(&again);
}

static void test_options__leaves_idle_keys_out_of_what_it_writes(void **state)
{
    (void)state;
    write_config(SMALL "method: full\nschedule: constant\n");
    struct options o;
    struct err e = {0};
    assert_int_equal(parse(&o, VERB_TRAIN, "run.yaml", &e), 0);
    char *text = options_to_yaml(&o);
    assert_null(strstr(text, "lora"));
    assert_null(strstr(text, "min_lr_ratio"));
    assert_null(strstr(text, "eval_every"));
    assert_non_null(strstr(text, "method: full\n"));
    free(text);
    options_release(&o);
}

/* ---------------------------------------------------------------- errors -- */

static void test_options__names_unknown_keys(void **state)
{
    (void)state;
    expect_file("model: m\nlearing_rate: 1\n", "run.yaml:2:1: unknown key \"learing_rate\"",
                "did you mean learning_rate?");
    expect_file("lora: {rnak: 1}\n", "run.yaml:1:8: unknown key \"lora.rnak\"",
                "did you mean lora.rank?");
    expect_file("zebra: 1\n", "run.yaml:1:1: unknown key \"zebra\"",
                "`attune help config` lists the keys");
    expect_file("ids: yes\n", "run.yaml:1:1: unknown key \"ids\"",
                "`attune help config` lists the keys");
    expect(VERB_TRAIN, "--set learing_rate=1", "--set: unknown key \"learing_rate\"",
           "did you mean learning_rate?");
    expect(VERB_TRAIN, "--set steps", "--set steps: a key and a value are needed",
           "write --set key=value");
}

static void test_options__names_unknown_flags(void **state)
{
    (void)state;
    expect(VERB_TRAIN, "--learing-rate 1", "train: unknown flag \"--learing-rate\"",
           "did you mean --learning-rate?");
    expect(VERB_SCORE, "--steps 3", "score: unknown flag \"--steps\"",
           "`attune score --help` lists the flags");
    expect(VERB_TRAIN, "-z", "train: unknown flag \"-z\"", "`attune train --help` lists the flags");
    expect(VERB_TRAIN, "--steps", "--steps needs a value", "");
    expect(VERB_TRAIN, "--checkpointing=yes", "--checkpointing takes no value",
           "write --checkpointing or --no-checkpointing");
}

static void test_options__names_unknown_variables(void **state)
{
    (void)state;
    setenv("ATTUNE_LEARING_RATE", "1", 1);
    expect(VERB_TRAIN, "", "environment: unknown variable ATTUNE_LEARING_RATE",
           "did you mean ATTUNE_LEARNING_RATE?");
    unsetenv("ATTUNE_LEARING_RATE");
    setenv("ATTUNE_STEPS", "many", 1);
    expect(VERB_TRAIN, "", "ATTUNE_STEPS: \"many\" is not a whole number",
           "expected a whole number from 1 to 1073741824");
    unsetenv("ATTUNE_STEPS");
}

static void test_options__checks_types(void **state)
{
    (void)state;
    expect_file("learning_rate: 1e-4x\n", "run.yaml:1:16: learning_rate: \"1e-4x\" is not a number",
                "expected a number above 0, up to 10");
    expect_file("learning_rate: nan\n", "run.yaml:1:16: learning_rate: \"nan\" is not a number",
                "expected a number above 0, up to 10");
    expect_file("learning_rate: 0x1\n", "run.yaml:1:16: learning_rate: \"0x1\" is not a number",
                "expected a number above 0, up to 10");
    expect_file("steps: 1.5\n", "run.yaml:1:8: steps: \"1.5\" is not a whole number",
                "expected a whole number from 1 to 1073741824");
    expect_file("checkpointing: maybe\n",
                "run.yaml:1:16: checkpointing: \"maybe\" is not yes or no", "expected yes or no");
    expect_file("method: lroa\n",
                "run.yaml:1:9: method: \"lroa\" is unknown, expected one of: lora, full",
                "did you mean lora?");
    expect_file("steps: [1, 2]\n", "run.yaml:1:8: steps: found a list, expected one value",
                "expected a whole number from 1 to 1073741824");
    expect_file("steps: {a: 1}\n", "run.yaml:1:8: steps: found a map, expected a plain value", "");
    expect_file("lora: 3\n",
                "run.yaml:1:7: key \"lora\" is a group, found a scalar, expected a map",
                "write lora: {rank: 16}");
    expect_file("steps:\n", "run.yaml:1:7: key \"steps\" has no value",
                "give one, or remove the key");
    expect_file("lora: {towers: [langauge]}\n",
                "run.yaml:1:16: lora.towers: \"langauge\" is unknown, expected a list of: "
                "language, audio, vision, projector",
                "did you mean language?");
    expect_file("train: [a, \"\"]\n", "run.yaml:1:8: train: item 2 of the list is empty", "");
    expect(VERB_TRAIN, "--seed 1.5", "--seed: \"1.5\" is not a whole number",
           "expected a whole number from 0 to 18446744073709551615");
    expect(VERB_TRAIN, "--set steps=x", "--set steps: \"x\" is not a whole number",
           "expected a whole number from 1 to 1073741824");
}

static void test_options__reads_numbers_by_tower(void **state)
{
    (void)state;
    struct options o;
    struct err e = {0};
    write_config(SMALL "lora: {rank: 16, ranks: {audio: 8, vision: 4}, dora: yes}\n"
                       "learning_rates: {projector: 5e-4}\n");
    int rc = parse(&o, VERB_TRAIN, "run.yaml", &e);
    assert_string_equal(e.text, "");
    assert_int_equal(rc, 0);
    assert_int_equal(o.config.lora.ranks.count, 2);
    assert_string_equal(o.config.lora.ranks.at[1], "vision=4");
    assert_true(o.config.lora.dora);
    assert_string_equal(o.config.learning_rates.at[0], "projector=5e-4");
    options_release(&o);
    expect_file(SMALL "lora: {ranks: {audio: 0}}\n",
                "run.yaml:3:15: lora.ranks: audio=0: 0 is out of range, expected a list of "
                "NAME=VALUE, VALUE from 1 to 4096, NAME one of: language, audio, vision, projector",
                "");
    expect(
        VERB_TRAIN, "--learning-rates ears=1e-4",
        "--learning-rates: \"ears\" is unknown, expected a list of NAME=VALUE, VALUE above 0, up "
        "to 10, NAME one of: language, audio, vision, projector",
        "");
}

static void test_options__checks_ranges(void **state)
{
    (void)state;
    expect_file("steps: 0\n",
                "run.yaml:1:8: steps: 0 is out of range, expected a whole number from 1 to "
                "1073741824",
                "");
    expect_file("learning_rate: 0\n",
                "run.yaml:1:16: learning_rate: 0 is out of range, expected a number above 0, up "
                "to 10",
                "");
    expect_file("lora: {rank: 99999999999999999999}\n",
                "run.yaml:1:14: lora.rank: 99999999999999999999 is out of range, expected a "
                "whole number from 1 to 4096",
                "");
    expect(VERB_TRAIN, "--seed 18446744073709551616",
           "--seed: 18446744073709551616 is out of range, expected a whole number from 0 to "
           "18446744073709551615",
           "");
    expect(VERB_TRAIN, "--seed -1",
           "--seed: -1 is out of range, expected a whole number from 0 to 18446744073709551615",
           "");
    expect(VERB_GENERATE, "--top-p 0",
           "--top-p: 0 is out of range, expected a number above 0, up to 1", "");
}

static void test_options__refuses_keys_without_effect(void **state)
{
    (void)state;
    expect_file(SMALL "method: full\nlora: {rank: 8}\n",
                "run.yaml:4:8: key \"lora.rank\" has no effect: method is full, which trains "
                "every weight",
                "remove it");
    expect_file(SMALL "adapter: a\nlora: {rank: 8}\n",
                "run.yaml:4:8: key \"lora.rank\" has no effect: adapter brings its own",
                "remove it");
    expect_file(SMALL "schedule: constant\nmin_lr_ratio: 0.1\n",
                "run.yaml:4:1: key \"min_lr_ratio\" has no effect: schedule is constant",
                "remove it");
    expect_file(SMALL "eval_every: 10\n",
                "run.yaml:3:1: key \"eval_every\" has no effect: eval names no file", "remove it");
    expect_file(SMALL "eval: d\neval_generate: no\nmax_new_tokens: 9\n",
                "run.yaml:5:1: key \"max_new_tokens\" has no effect: eval_generate is no",
                "remove it");
    write_config(SMALL);
    expect(VERB_TRAIN, "run.yaml --method full --adapter a",
           "--adapter: key \"adapter\" has no effect: method is full, which trains every weight",
           "remove it");
}

static void test_options__checks_the_whole(void **state)
{
    (void)state;
    expect_file("train: t\n", "train: no model is given",
                "add \"model: ...\" to the config file, or --model");
    expect_file("model: m\n", "train: no train is given",
                "add \"train: ...\" to the config file, or --train");
    expect_file(SMALL "batch: 8\naccumulate: 3\n",
                "run.yaml:4:1: accumulate is 3, which does not divide batch, 8",
                "a batch is worked off in that many equal parts");
    expect_file(SMALL "steps: 5\nwarmup_steps: 6\n",
                "run.yaml:4:1: warmup_steps is 6, more than steps, 5", "");
    expect_file(SMALL "image_tokens: 100\n",
                "run.yaml:3:1: image_tokens is 100, expected 70, 140, 280, 560 or 1120", "");
    expect_file(SMALL "quantize: 4bit\nquantize_group: 48\n",
                "run.yaml:4:1: quantize_group is 48, expected 32, 64 or 128", "");
    expect_file(SMALL "lora: {ranks: {audio: 8.5}}\n",
                "run.yaml:3:8: lora.ranks: audio=8.5 is not a whole number", "");
    expect_file(SMALL "name: a/b\n", "run.yaml:3:1: name \"a/b\" is no plain file name",
                "the folder of runs is set by the key runs");
    expect(VERB_SCORE, "--model m", "score: no data is given", "add --data");
    expect(VERB_EVAL, "--model m", "eval: no data is given",
           "add \"eval: FILE\" to the config file, or --data FILE");
    write_config(SMALL);
    expect(VERB_TRAIN, "run.yaml more.yaml", "train: unexpected word \"more.yaml\"",
           "one config file is read; flags begin with --");
    expect(VERB_TRAIN, "-c run.yaml more.yaml", "train: unexpected word \"more.yaml\"",
           "one config file is read; flags begin with --");
    expect(VERB_DOCTOR, "now", "doctor: unexpected word \"now\"", "");
}

/* ------------------------------------------------------------- of streaming -- */

static void test_options__reads_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t bytes;
    } good[] = {
        {"1048576", 1048576},       {"512MiB", (int64_t)512 << 20}, {"1GB", 1000000000},
        {"2g", (int64_t)2 << 30},   {"1.5GiB", (int64_t)3 << 29},   {"64 mb", 64000000},
        {"2TiB", (int64_t)2 << 40}, {"3000KiB", 3000 << 10},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct options o;
        struct err e = {0};
        const char *argv[] = {"--model", "m", "--train", "t", "--memory", good[i].text};
        int rc = options_parse(&o, VERB_TRAIN, 6, argv, &e);
        assert_ok(e);
        assert_int_equal(rc, 0);
        assert_int_equal(o.config.memory, good[i].bytes);
        options_release(&o);
    }
    expect(VERB_TRAIN, "--memory 1GiBs", "--memory: \"1GiBs\" is not a number of bytes",
           "expected a number of bytes such as 512MiB or 2GB, at least 1MiB");
    expect(VERB_TRAIN, "--memory GiB", "--memory: \"GiB\" is not a number of bytes",
           "expected a number of bytes such as 512MiB or 2GB, at least 1MiB");
    expect(VERB_TRAIN, "--memory 1..5G", "--memory: \"1..5G\" is not a number of bytes",
           "expected a number of bytes such as 512MiB or 2GB, at least 1MiB");
    expect(VERB_TRAIN, "--disk 1000",
           "--disk: 1000 is out of range, expected a number of bytes such as 512MiB or 2GB, at "
           "least 1MiB",
           "");
    write_config(SMALL "memory: 96MiB\ndisk: 10GB\n");
    struct options o;
    struct err e = {0};
    assert_int_equal(parse(&o, VERB_TRAIN, "run.yaml", &e), 0);
    char *yaml = options_to_yaml(&o);
    assert_non_null(strstr(yaml, "\nmemory: 96MiB\n"));
    assert_non_null(strstr(yaml, "\ndisk: 10GB\n"));
    free(yaml);
    options_release(&o);
}

static void test_options__reads_columns(void **state)
{
    (void)state;
    struct options o;
    struct err e = {0};
    write_config(SMALL "columns: {text: transcript, audio: path}\n");
    assert_int_equal(parse(&o, VERB_TRAIN, "run.yaml", &e), 0);
    assert_int_equal(o.config.columns.count, 2);
    assert_string_equal(o.config.columns.at[0], "text=transcript");
    assert_string_equal(o.config.columns.at[1], "audio=path");
    char *yaml = options_to_yaml(&o);
    assert_non_null(strstr(yaml, "\ncolumns: [\"text=transcript\", \"audio=path\"]\n"));
    write_config(yaml);
    free(yaml);
    options_release(&o);
    assert_int_equal(parse(&o, VERB_TRAIN, "run.yaml", &e), 0);
    assert_int_equal(o.config.columns.count, 2);
    options_release(&o);
    assert_int_equal(parse(&o, VERB_DATA_CHECK, "a.csv --columns text=a,language=b", &e), 0);
    assert_int_equal(o.config.columns.count, 2);
    assert_string_equal(o.config.columns.at[1], "language=b");
    options_release(&o);
    expect_file(
        SMALL "columns: {txt: a}\n",
        "run.yaml:3:10: columns: \"txt\" is unknown, expected a list of NAME=VALUE, NAME one "
        "of: id, audio, image, text, prompt, completion, messages, audios, images, video, videos, "
        "sound, language, duration, corpus, task, timestamps, segments",
        "did you mean text?");
    expect(
        VERB_DATA_CHECK, "a.csv --columns text", "--columns: \"text\" is not NAME=VALUE",
        "expected a list of NAME=VALUE, NAME one of: id, audio, image, text, prompt, completion, "
        "messages, audios, images, video, videos, sound, language, duration, corpus, "
        "task, timestamps, segments");
}

static void test_options__reads_weights(void **state)
{
    (void)state;
    struct options o;
    struct err e = {0};
    write_config("model: m\ntrain: [a, b]\nweights: [1, 0.25]\n");
    assert_int_equal(parse(&o, VERB_TRAIN, "run.yaml", &e), 0);
    assert_int_equal(o.config.weights.count, 2);
    assert_string_equal(o.config.weights.at[1], "0.25");
    char *yaml = options_to_yaml(&o);
    assert_non_null(strstr(yaml, "\nweights: [1, 0.25]\n"));
    free(yaml);
    options_release(&o);
    expect_file("model: m\ntrain: [a, b]\nweights: 1\n",
                "run.yaml:3:1: weights has 1 numbers, train has 2 entries",
                "give one number for each entry of train, in their order");
    expect_file("model: m\ntrain: [a, b]\nweights: [1, 0]\n",
                "run.yaml:3:10: weights: 0 is out of range, expected a list of numbers, each above "
                "0, up to 1000",
                "");
    expect_file("model: m\ntrain: [a, b]\nweights: [1, often]\n",
                "run.yaml:3:10: weights: \"often\" is not a number",
                "expected a list of numbers, each above 0, up to 1000");
}

static void test_options__takes_data_as_words(void **state)
{
    (void)state;
    struct options o;
    struct err e = {0};
    assert_int_equal(parse(&o, VERB_DATA_STATS, "a.jsonl gs://b/c-*.tar -d more.csv", &e), 0);
    assert_int_equal(o.data.count, 3);
    assert_string_equal(o.data.at[0], "more.csv");
    assert_string_equal(o.data.at[1], "a.jsonl");
    assert_string_equal(o.data.at[2], "gs://b/c-*.tar");
    assert_int_equal(o.args.count, 0);
    options_release(&o);
    write_config("train: t.jsonl\nbatch: 4\n");
    assert_int_equal(parse(&o, VERB_DATA_PLAN, "run.yaml", &e), 0);
    assert_int_equal(o.data.count, 0);
    assert_int_equal(o.config.train.count, 1);
    assert_int_equal(o.config.batch, 4);
    options_release(&o);
    expect(VERB_DATA_PLAN, "run.yaml other.yml", "data plan: unexpected word \"other.yml\"",
           "one config file is read; flags begin with --");
    expect(VERB_DATA_CHECK, "", "data check: no data is given",
           "attune data check FILE..., or a config file with a key train");
    expect(VERB_EVAL, "--model m --data d --blacklist-wer 0.5",
           "--blacklist-wer: has no effect: blacklist names no file", "add --blacklist FILE");
}

static void test_options__names_what_is_wrong_with_a_file(void **state)
{
    (void)state;
    struct options o;
    struct err e = {0};
    assert_int_equal(parse(&o, VERB_TRAIN, "missing.yaml", &e), -1);
    assert_err(e, ERR_USAGE, "missing.yaml");
    e = (struct err){0};
    write_config("model: m\nmodel: n\n");
    assert_int_equal(parse(&o, VERB_TRAIN, "run.yaml", &e), -1);
    assert_err(e, ERR_USAGE, "run.yaml:2:1: ");
    e = (struct err){0};
    write_config("lora.rank: 1\nlora: {rank: 2}\n");
    assert_int_equal(parse(&o, VERB_TRAIN, "run.yaml", &e), -1);
    assert_err(e, ERR_USAGE,
               "run.yaml:2:8: key \"lora.rank\" is given twice, first at run.yaml:1:1");
    e = (struct err){0};
    write_config("just text\n");
    assert_int_equal(parse(&o, VERB_TRAIN, "run.yaml", &e), -1);
    assert_err(e, ERR_USAGE, "expected keys and values");
    e = (struct err){0};
    write_config("a: [1\n");
    assert_int_equal(parse(&o, VERB_TRAIN, "run.yaml", &e), -1);
    assert_err(e, ERR_USAGE, "run.yaml:");
}

/* ----------------------------------------------------------------- table -- */

static void test_options__table_is_whole(void **state)
{
    (void)state;
    for (int i = 0; i < option_count; i++) {
        const struct option *t = &option_table[i];
        assert_int_equal(option_find(t->key), i);           /* no key twice */
        assert_non_null(t->help);
        assert_non_null(t->fallback);
        assert_non_null(t->group);
        assert_true(t->verbs != 0);
        if (t->type == OPTION_ENUM)
            assert_non_null(t->values);
        if (t->type == OPTION_INT || t->type == OPTION_NUMBER)
            assert_true(t->low < t->high);
        for (int k = 0; k < i; k++)
            assert_true(!t->letter || t->letter != option_table[k].letter ||
                        !(t->verbs & option_table[k].verbs));
    }
    assert_int_equal(option_find("nothing"), -1);
}

static enum verb find_verb(const char *first, const char *second, int *used, struct err *e)
{
    return verb_find((const char *const[]){first, second}, second ? 2 : 1, used, e);
}

static void test_options__finds_verbs(void **state)
{
    (void)state;
    struct err e = {0};
    int used;
    assert_int_equal(find_verb("train", NULL, &used, &e), VERB_TRAIN);
    assert_int_equal(used, 1);
    assert_int_equal(find_verb("help", "train", &used, &e), VERB_HELP);
    assert_int_equal(used, 1);
    assert_int_equal(find_verb("data", "plan", &used, &e), VERB_DATA_PLAN);
    assert_int_equal(used, 2);
    assert_string_equal(verb_name(VERB_DATA_PLAN), "data plan");
    assert_true(verb_is_group("data"));
    assert_false(verb_is_group("dat"));
    assert_false(verb_is_group("train"));
    assert_int_equal(find_verb("trian", NULL, &used, &e), VERB_COUNT);
    assert_string_equal(e.text, "unknown command \"trian\"");
    assert_string_equal(e.hint, "did you mean `attune train`?");
    e = (struct err){0};
    assert_int_equal(find_verb("data", "chekc", &used, &e), VERB_COUNT);
    assert_string_equal(e.text, "unknown command \"data chekc\"");
    assert_string_equal(e.hint, "did you mean `attune data check`?");
    e = (struct err){0};
    assert_int_equal(find_verb("dta", NULL, &used, &e), VERB_COUNT);
    assert_string_equal(e.hint, "did you mean `attune data`?");
    e = (struct err){0};
    assert_int_equal(find_verb("data", NULL, &used, &e), VERB_COUNT);
    assert_string_equal(e.text, "data: a command is needed");
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_options__##name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(has_the_defaults),
        TEST(reads_every_type_from_a_file),
        TEST(flag_beats_environment_beats_file),
        TEST(lists_in_flags),
        TEST(name_comes_from_the_file),
        TEST(words_and_other_flags),
        TEST(writes_what_it_reads),
        TEST(leaves_idle_keys_out_of_what_it_writes),
        TEST(names_unknown_keys),
        TEST(names_unknown_flags),
        TEST(names_unknown_variables),
        TEST(checks_types),
        TEST(reads_numbers_by_tower),
        TEST(checks_ranges),
        TEST(refuses_keys_without_effect),
        TEST(checks_the_whole),
        TEST(reads_bytes),
        TEST(reads_columns),
        TEST(reads_weights),
        TEST(takes_data_as_words),
        TEST(names_what_is_wrong_with_a_file),
        TEST(table_is_whole),
        TEST(finds_verbs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
