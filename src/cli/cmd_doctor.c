/* cmd_doctor.c - `attune doctor`: what this machine has, and what would make training slow or
 * impossible here.
 *
 * Each check is one line, "ok" or "warn", with what was found; a warning says what to do.  With
 * --json the checks are one object.  Warnings are no failure. */
#include "base/clock.h"
#include "base/dir.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "cli/version.h"
#include "data/spool.h"
#include "mx/mx.h"
#include "net/auth.h"

#include <libavcodec/avcodec.h>

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REPORT_MAX ((size_t)1 << 16)
#define GIB (1024.0 * 1024.0 * 1024.0)

/* Below these a check warns.  A reference BLAS gives some 5 GFLOP/s, OpenBLAS 50 or more a core. */
#define SLOW_GFLOPS 10.0
#define SMALL_MEMORY_GIB 4.0
#define SMALL_DISK_GIB 2.0

/* How long it is tried to find credentials. */
#define LOGIN_S 5.0

struct report {
    struct buf text;       /* the lines */
    json_t *json;          /* the same as {"checks": [{name, ok, found, hint}], values ...} */
    json_t *checks;
    int warnings;
};

/* Add one check; `hint` is NULL when all is well. */
static void check(struct report *r, const char *name, const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static void check(struct report *r, const char *name, const char *hint, const char *fmt, ...)
{
    char found[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(found, sizeof found, fmt, ap);
    va_end(ap);
    buf_printf(&r->text, "%-5s %-10s %s\n", hint ? "warn" : "ok", name, found);
    if (hint)
        buf_printf(&r->text, "%-5s %-10s %s\n", "", "", hint);
    json_t *o = json_object();
    json_put_str(o, "name", name);
    json_put_bool(o, "ok", !hint);
    json_put_str(o, "found", found);
    json_put_str(o, "hint", hint);
    json_array_append_new(r->checks, o);
    r->warnings += hint != NULL;
}

/* ----------------------------------------------------------------- checks -- */

static int check_device(struct report *r, const struct options *o, struct err *e)
{
    bool wants_gpu = o->config.device == DEVICE_GPU;
    bool use_gpu = mx_has_gpu() && o->config.device != DEVICE_CPU;
    if (mx_use_device(use_gpu ? MX_GPU : MX_CPU, e))
        return -1;
    const char *hint = NULL;
    if (wants_gpu && !use_gpu)
        hint = "no GPU that this build can use: on Linux build with MLX=cuda";
    check(r, "device", hint, "%s, MLX %s", mx_device_name(), mx_version());
    json_put_str(r->json, "device", mx_device_name());
    json_put_str(r->json, "mlx", mx_version());
    return 0;
}

static void check_host(struct report *r)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    double memory = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) / GIB;
    const char *small = "the small models train here; a real one needs more";
    check(r, "cores", NULL, "%ld", cores);
    check(r, "memory", memory < SMALL_MEMORY_GIB ? small : NULL, "%.1f GiB", memory);
    json_put_int(r->json, "cores", cores);
    json_put_int(r->json, "memory_bytes", (int64_t)(memory * GIB));
}

/* Billions of f32 operations a second of a matrix product, the best of a few. */
static int measure(double *gflops, struct err *e)
{
    enum { N = 1024, ROUNDS = 4 };
    *gflops = 0;
    mx_enter();
    mx_array a = mx_full(0.5, MX_FLOAT32, N, N);
    int rc = mx_eval(&a, 1, e);
    for (int i = 0; i < ROUNDS && !rc; i++) {
        double start = clock_seconds();
        mx_array y = mx_matmul(a, a);
        rc = mx_eval(&y, 1, e);
        double rate = 2e-9 * N * N * N / (clock_seconds() - start);
        if (rate > *gflops)
            *gflops = rate;
    }
    mx_leave(MX_NONE);
    return rc;
}

/* OpenBLAS says by itself what it is; libmlx's own BLAS does not. */
static const char *blas_name(void)
{
#ifdef __APPLE__
    return "Accelerate";
#else
    void *self = dlopen(NULL, RTLD_LAZY);
    const char *name = self && dlsym(self, "openblas_get_config") ? "OpenBLAS" : "reference BLAS";
    if (self)
        dlclose(self);
    return name;
#endif
}

static int check_speed(struct report *r, struct err *e)
{
    double gflops;
    if (measure(&gflops, e))
        return err_in(e, "multiplying two matrices on the %s", mx_device_name());
    const char *by = mx_device() == MX_CPU ? blas_name() : mx_device_name();
    const char *hint = gflops < SLOW_GFLOPS ? "expected more: is the machine busy?" : NULL;
    if (mx_device() == MX_CPU && strstr(by, "reference"))
        hint = "OpenBLAS must stand ahead of libmlx when linking: build with make";
    check(r, "speed", hint, "%.0f GFLOP/s in f32 (%s, %d threads)", gflops, by,
          mx_device() == MX_CPU ? mx_thread_count() : 1);
    json_put_double(r->json, "gflops", gflops);
    json_put_str(r->json, "blas", mx_device() == MX_CPU ? blas_name() : NULL);
    return 0;
}

static void check_codecs(struct report *r)
{
    static const struct {
        enum AVCodecID id;
        const char *name;
    } needed[] = {
        {AV_CODEC_ID_PCM_S16LE, "wav"}, {AV_CODEC_ID_FLAC, "flac"}, {AV_CODEC_ID_MP3, "mp3"},
        {AV_CODEC_ID_VORBIS, "ogg"},    {AV_CODEC_ID_OPUS, "opus"}, {AV_CODEC_ID_AAC, "m4a"},
    };
    struct buf have, lack;
    buf_init(&have, 200);
    buf_init(&lack, 200);
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        struct buf *b = avcodec_find_decoder(needed[i].id) ? &have : &lack;
        buf_printf(b, "%s%s", b->size ? " " : "", needed[i].name);
    }
    if (lack.size)
        check(r, "audio", "install an FFmpeg that decodes them", "%s; not: %s", have.data,
              lack.data);
    else
        check(r, "audio", NULL, "%s", have.data);
    json_put_bool(r->json, "audio", !lack.size);
    buf_release(&have);
    buf_release(&lack);
}

static int check_disk(struct report *r, struct err *e)
{
    uint64_t bytes;
    if (dir_free_bytes(".", &bytes, e))
        return -1;
    double gib = (double)bytes / GIB;
    check(r, "disk", gib < SMALL_DISK_GIB ? "checkpoints need room; free some" : NULL,
          "%.1f GiB free here", gib);
    json_put_int(r->json, "disk_free_bytes", (int64_t)bytes);
    return 0;
}

/* Where fetched files lie, and as whom storage is asked. */
static int check_storage(struct report *r, struct err *e)
{
    struct err why = {0};
    char *cache = spool_default_dir();
    check(r, "cache", NULL, "%s", cache);
    json_put_str(r->json, "cache_dir", cache);
    free(cache);
    struct net *net = net_open(&(struct net_options){.budget_s = LOGIN_S});
    char *who = auth_google_describe(net, &why);
    net_close(net);
    if (!who && why.kind != ERR_LOGIN && why.kind != ERR_RETRY) {
        *e = why;
        return -1;
    }
    check(r, "gs://", who ? NULL : why.hint, "%s", who ? who : why.text);
    json_put_str(r->json, "google", who);
    free(who);
    return 0;
}

/* ---------------------------------------------------------------- command -- */

int cmd_doctor(const struct options *o, struct err *e)
{
    struct report r = {.json = json_object(), .checks = json_array()};
    struct buf out;
    buf_init(&r.text, REPORT_MAX);
    buf_init(&out, REPORT_MAX);
    json_put_str(r.json, "version", ATTUNE_VERSION);
    check(&r, "attune", NULL, "%s", ATTUNE_VERSION);
    int rc = check_device(&r, o, e);
    if (!rc) {
        check_host(&r);
        rc = check_speed(&r, e);
    }
    if (!rc) {
        check_codecs(&r);
        rc = check_disk(&r, e) || check_storage(&r, e) ? -1 : 0;
    }
    json_put(r.json, "checks", r.checks);
    if (o->config.json)
        json_write_compact(r.json, &out);
    else
        buf_add(&out, r.text.data, r.text.size ? r.text.size - 1 : 0);
    if (!rc)
        rc = buf_check(&out, "the report", e);
    if (!rc)
        rc = output_line(&out, e);
    if (!rc && r.warnings)
        log_debug("%d warnings", r.warnings);
    json_decref(r.json);
    buf_release(&out);
    buf_release(&r.text);
    return rc;
}
