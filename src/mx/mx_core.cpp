/* mx_core.cpp - handles, scopes, slots, the sticky error, devices, evaluation and memory. */
#include "mx/mx_state.hpp"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <thread>

#include <dlfcn.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <mlx/backend/cuda/cuda.h>
#include <mlx/backend/metal/metal.h>
#include <mlx/primitives.h>
#include <mlx/version.h>

namespace mxb
{

state g;

/* MLX takes its arrays from malloc on the CPU.  By default glibc hands big blocks back to the
 * kernel, which clears their pages anew each time: operators on arrays of 100 MB took 3 ns an
 * element, and take 0.6 ns when freed memory is kept. */
static void keep_freed_memory()
{
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, INT32_MAX);
    mallopt(M_TOP_PAD, 64 << 20);
#endif
}

void check_thread()
{
    static const bool kept = (keep_freed_memory(), true);
    (void)kept;
    static const std::thread::id owner = std::this_thread::get_id();
    assert(owner == std::this_thread::get_id() && "MLX is used from one thread only");
}

/* ---------------------------------------------------------------- errors -- */

std::string va_text(const char *fmt, va_list ap)
{
    char text[800];
    vsnprintf(text, sizeof text, fmt, ap);
    return text;
}

void record(const char *op, const std::string &text)
{
    if (g.failed)
        return;
    g.failed = true;
    g.failure = g.place.empty() ? "" : g.place + ": ";
    g.failure += *op ? std::string(op) + ": " + text : text;
    std::replace(g.failure.begin(), g.failure.end(), '\n', ' ');
}

void fail(const char *op, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    std::string text = va_text(fmt, ap);
    va_end(ap);
    record(op, text);
    throw stuck();
}

/* --------------------------------------------------------------- entries -- */

mx_array handle(uint32_t index)
{
    return {static_cast<uint64_t>(g.table[index].generation) << 32 | (index + 1)};
}

uint32_t index_of(mx_array x)
{
    return static_cast<uint32_t>(x.id & 0xffffffffu) - 1;
}

entry *find(mx_array x)
{
    if (x.id == 0 || index_of(x) >= g.table.size())
        return nullptr;
    entry *t = &g.table[index_of(x)];
    return t->used && t->generation == x.id >> 32 ? t : nullptr;
}

static entry &must_find(mx_array x)
{
    if (g.failed)
        throw stuck();
    if (x.id == 0)
        fail(g.op, "an operand is none");
    entry *t = find(x);
    if (!t)
        fail(g.op, "an array is used after its scope was left");
    if (!t->value)
        fail(g.op, "a slot is read before it has a value");
    return *t;
}

const core::array &peek(mx_array x)
{
    return *must_find(x).value;
}

const core::array &in(mx_array x)
{
    entry &t = must_find(x);
    if (t.differentiated && t.depth < g.barrier)
        fail(g.op,
             "a checkpointed function reads %s that a gradient flows through and that is "
             "not among its %s",
             t.slot ? "a parameter" : "an array from outside", t.slot ? "params" : "inputs");
    g.gathered = g.gathered || t.differentiated;
    return *t.value;
}

std::optional<core::array> optional_in(mx_array x)
{
    if (x.id == 0)
        return std::nullopt;
    return in(x);
}

std::vector<core::array> in_n(const mx_array *x, int n)
{
    std::vector<core::array> v;
    for (int i = 0; i < n; i++)
        v.push_back(in(x[i]));
    return v;
}

static uint32_t take_entry()
{
    uint32_t i;
    if (g.free_list.empty()) {
        i = static_cast<uint32_t>(g.table.size());
        g.table.emplace_back();
    } else {
        i = g.free_list.back();
        g.free_list.pop_back();
    }
    g.table[i].used = true;
    g.live++;
    return i;
}

mx_array put(core::array value, bool differentiated)
{
    uint32_t i = take_entry();
    entry &t = g.table[i];
    t.value.emplace(std::move(value));
    t.slot = false;
    t.differentiated = differentiated;
    t.depth = g.depth;
    t.scope = g.scopes.size() - 1;
    g.scopes.back().push_back(i);
    return handle(i);
}

mx_array put_result(core::array value)
{
    mx_array x = put(std::move(value), g.gathered);
    g.gathered = false;
    if (g.quiet == 0)
        g.last = x;
    return x;
}

void release(uint32_t index)
{
    entry &t = g.table[index];
    t.value.reset();
    t.used = false;
    if (++t.generation == 0)
        t.generation = 1;
    g.live--;
    g.free_list.push_back(index);
}

void leave_to(size_t scope_count)
{
    while (g.scopes.size() > scope_count) {
        std::vector<uint32_t> made = std::move(g.scopes.back());
        g.scopes.pop_back();
        for (uint32_t i : made)
            release(i);
    }
}

void flush_watch()
{
    mx_array x = g.last;
    g.last = none;
    if (!g.watch || g.quiet || g.failed || !find(x))
        return;
    std::string place = g.place;
    g.quiet++;
    g.watch(g.watch_arg, place.c_str(), x);
    g.quiet--;
    g.place = place;
}

/* ---------------------------------------------------------- shapes, types -- */

core::Shape to_shape(const int *shape, int n)
{
    return core::Shape(shape, shape + n);
}

static const struct {
    core::Dtype dtype;
    const char *name;
} dtypes[] = {
    {core::bool_, "bool"},       {core::uint8, "uint8"},       {core::uint16, "uint16"},
    {core::uint32, "uint32"},    {core::uint64, "uint64"},     {core::int8, "int8"},
    {core::int16, "int16"},      {core::int32, "int32"},       {core::int64, "int64"},
    {core::float16, "float16"},  {core::bfloat16, "bfloat16"}, {core::float32, "float32"},
    {core::float64, "float64"},
};
constexpr int dtype_count = sizeof dtypes / sizeof dtypes[0];

core::Dtype to_dtype(enum mx_dtype d)
{
    assert(d >= 0 && d < dtype_count);
    return dtypes[d].dtype;
}

std::string shape_text(const core::Shape &s)
{
    std::string text = "(";
    for (size_t i = 0; i < s.size(); i++)
        text += (i ? "," : "") + std::to_string(s[static_cast<int>(i)]);
    return text + ")";
}

/* Run `f`, which has no result, unless a failure is pending. */
template <typename F> static void attempt_void(const char *op, F f)
{
    check_thread();
    if (g.failed)
        return;
    g.op = op;
    try {
        f();
    } catch (const stuck &) {
    } catch (const std::exception &e) {
        record(op, e.what());
    }
}

/* Hand the recorded failure to `e` and forget it. */
static int report(struct err *e)
{
    std::string text = std::move(g.failure);
    g.failed = false;
    g.failure.clear();
    bool memory =
        text.find("alloc") != std::string::npos || text.find("out of memory") != std::string::npos;
    err_set(e, memory ? ERR_SPACE : ERR_FAILED, "%s", text.c_str());
    if (memory)
        err_hint(e, "use a smaller batch, shorter records, or checkpointing");
    return -1;
}

/* Run `f` for its effect and report a failure, pending or new, at once. */
template <typename F> static int attempt_now(const char *op, struct err *e, F f)
{
    if (!g.failed)
        flush_watch();
    attempt_void(op, f);
    return g.failed ? report(e) : 0;
}

} /* namespace mxb */

using namespace mxb;

/* ---------------------------------------------------------------- device -- */

bool mx_has_gpu(void)
{
    return core::is_available(core::Device(core::Device::gpu));
}

bool mx_has_metal(void)
{
    return core::metal::is_available();
}

int mx_use_device(enum mx_device d, struct err *e)
{
    if (d == MX_GPU && !mx_has_gpu()) {
        err_set(e, ERR_USAGE, "no GPU can be used: this build of MLX has none, or none was found");
        return err_hint(e, "use --device cpu");
    }
    return attempt_now("use_device", e, [&] {
        core::set_default_device(d == MX_GPU ? core::Device::gpu : core::Device::cpu);
    });
}

enum mx_device mx_device(void)
{
    return core::default_device() == core::Device::gpu ? MX_GPU : MX_CPU;
}

const char *mx_device_name(void)
{
    if (mx_device() == MX_CPU)
        return "cpu";
    return mx_has_metal() ? "metal" : "cuda";
}

const char *mx_version(void)
{
    return core::version();
}

/* libmlx takes its BLAS by symbol; when OpenBLAS was linked ahead of it, it can be asked. */
int mx_thread_count(void)
{
    using fn = int (*)(void);
    void *p = dlsym(RTLD_DEFAULT, "openblas_get_num_threads");
    return p ? reinterpret_cast<fn>(p)() : 1;
}

/* ---------------------------------------------------------------- scopes -- */

void mx_enter(void)
{
    check_thread();
    g.scopes.emplace_back();
}

void mx_leave_n(const mx_array *keep, int n)
{
    check_thread();
    assert(g.scopes.size() > 1 && "mx_leave without mx_enter");
    flush_watch();
    size_t top = g.scopes.size() - 1;
    for (int i = 0; i < n; i++) {
        entry *t = find(keep[i]);
        if (t && !t->slot && t->scope == top)
            t->scope = top - 1;
    }
    std::vector<uint32_t> made = std::move(g.scopes.back());
    g.scopes.pop_back();
    for (uint32_t i : made) {
        if (g.table[i].scope == top)
            release(i);
        else
            g.scopes.back().push_back(i);
    }
}

mx_array mx_leave(mx_array keep)
{
    mx_leave_n(&keep, 1);
    return keep;
}

int mx_live(void)
{
    return g.live;
}

void mx_at(const char *fmt, ...)
{
    flush_watch();
    va_list ap;
    va_start(ap, fmt);
    g.place = va_text(fmt, ap);
    va_end(ap);
}

void mx_watch(mx_watch_fn fn, void *arg)
{
    flush_watch();
    g.watch = fn;
    g.watch_arg = arg;
}

mx_array mx_fail(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    std::string text = va_text(fmt, ap);
    va_end(ap);
    record("", text);
    return none;
}

int mx_check(struct err *e)
{
    return attempt_now("check", e, [] {});
}

/* ----------------------------------------------------------------- slots -- */

mx_array mx_slot(mx_array value)
{
    check_thread();
    if (g.failed && value.id != 0)
        return none;
    std::optional<core::array> v;
    if (value.id != 0) {
        entry *t = find(value);
        if (!t || !t->value) {
            record("slot", "the value is an array whose scope was left");
            return none;
        }
        if (t->differentiated || g.compiling) {
            record("slot", "a slot cannot be made of a traced array");
            return none;
        }
        v = t->value;
    }
    uint32_t i = take_entry();
    entry &t = g.table[i];
    t.value = std::move(v);
    t.slot = true;
    t.differentiated = false;
    t.depth = g.depth;
    return handle(i);
}

void mx_set(mx_array slot, mx_array value)
{
    attempt_void("set", [&] {
        entry *t = find(slot);
        if (!t || !t->slot)
            fail("set", "not a slot");
        if (g.kind == trace::grad || g.kind == trace::checkpoint)
            fail("set", "a slot is set inside a differentiated function");
        if (g.kind == trace::compile && std::find(g.state_slots->begin(), g.state_slots->end(),
                                                  index_of(slot)) == g.state_slots->end())
            fail("set", "a compiled function sets a slot that is not among its state");
        const core::array v = peek(value);
        find(slot)->value.emplace(v);
    });
}

void mx_slot_free(mx_array slot)
{
    check_thread();
    entry *t = find(slot);
    if (t && t->slot)
        release(index_of(slot));
}

/* ---------------------------------------------------------------- arrays -- */

template <typename T> static core::array copy_of(const void *data, core::Shape s, core::Dtype d)
{
    return core::array(static_cast<const T *>(data), std::move(s), d);
}

static core::array from(const void *data, enum mx_dtype dtype, core::Shape s)
{
    core::Dtype d = to_dtype(dtype);
    switch (dtype) {
    case MX_BOOL: return copy_of<bool>(data, std::move(s), d);
    case MX_UINT8: return copy_of<uint8_t>(data, std::move(s), d);
    case MX_UINT16: return copy_of<uint16_t>(data, std::move(s), d);
    case MX_UINT32: return copy_of<uint32_t>(data, std::move(s), d);
    case MX_UINT64: return copy_of<uint64_t>(data, std::move(s), d);
    case MX_INT8: return copy_of<int8_t>(data, std::move(s), d);
    case MX_INT16: return copy_of<int16_t>(data, std::move(s), d);
    case MX_INT32: return copy_of<int32_t>(data, std::move(s), d);
    case MX_INT64: return copy_of<int64_t>(data, std::move(s), d);
    case MX_FLOAT16: return copy_of<core::float16_t>(data, std::move(s), d);
    case MX_BFLOAT16: return copy_of<core::bfloat16_t>(data, std::move(s), d);
    case MX_FLOAT32: return copy_of<float>(data, std::move(s), d);
    case MX_FLOAT64: return copy_of<double>(data, std::move(s), d);
    }
    throw std::invalid_argument("unknown dtype");
}

mx_array mx_from(const void *data, enum mx_dtype dtype, const int *shape, int n)
{
    return attempt("from", [&] { return from(data, dtype, to_shape(shape, n)); });
}

mx_array mx_wrap(void *data, enum mx_dtype dtype, const int *shape, int n, void (*done)(void *arg),
                 void *arg)
{
    if (g.failed) {
        if (done)
            done(arg);
        return none;
    }
    return attempt("wrap", [&] {
        return core::array(data, to_shape(shape, n), to_dtype(dtype), [done, arg](void *) {
            if (done)
                done(arg);
        });
    });
}

namespace
{

/* Memory of the host that is not the device's yet. */
class host_memory : public core::UnaryPrimitive
{
  public:
    host_memory(core::Stream s, const void *data, void (*done)(void *), void *arg)
        : UnaryPrimitive(s), data_(data), done_(done), arg_(arg)
    {
    }

    ~host_memory() override
    {
        if (done_)
            done_(arg_);
    }

    void eval_cpu(const std::vector<core::array> &, core::array &out) override
    {
        out.set_data(core::allocator::malloc(out.nbytes()));
        memcpy(out.data<char>(), data_, out.nbytes());
    }

    void eval_gpu(const std::vector<core::array> &, core::array &) override
    {
        throw std::runtime_error("memory of the host is read by the host");
    }

    const char *name() const override
    {
        return "HostMemory";
    }

  private:
    const void *data_;
    void (*done_)(void *);
    void *arg_;
};

}

mx_array mx_wrap_later(void *data, enum mx_dtype dtype, const int *shape, int n,
                       void (*done)(void *arg), void *arg)
{
    core::Stream s = core::default_stream(core::Device::cpu);
    auto memory = std::make_shared<host_memory>(s, data, done, arg);
    return attempt("wrap", [&] {
        return core::array(to_shape(shape, n), to_dtype(dtype), memory, std::vector<core::array>{});
    });
}

mx_array mx_float(double v)
{
    return attempt("float", [&] { return core::array(static_cast<float>(v)); });
}

mx_array mx_int(int v)
{
    return attempt("int", [&] { return core::array(v); });
}

bool mx_is_none(mx_array x)
{
    return x.id == 0;
}

/* What is asked of a handle, or `otherwise` when a failure is pending or this is one. */
template <typename T, typename F> static T ask(mx_array x, T otherwise, F f)
{
    check_thread();
    if (g.failed)
        return otherwise;
    g.op = "";
    try {
        return f(peek(x));
    } catch (const stuck &) {
    } catch (const std::exception &e) {
        record("", e.what());
    }
    return otherwise;
}

int mx_ndim(mx_array x)
{
    return ask(x, 0, [](const core::array &a) { return static_cast<int>(a.ndim()); });
}

int mx_dim(mx_array x, int axis)
{
    return ask(x, 1, [&](const core::array &a) {
        int n = static_cast<int>(a.ndim());
        if (axis < -n || axis >= n)
            fail("dim", "axis %d of an array of %d dimensions", axis, n);
        return static_cast<int>(a.shape(axis));
    });
}

size_t mx_size(mx_array x)
{
    return ask(x, size_t(0), [](const core::array &a) { return a.size(); });
}

size_t mx_nbytes(mx_array x)
{
    return ask(x, size_t(0), [](const core::array &a) { return a.nbytes(); });
}

enum mx_dtype mx_dtype(mx_array x)
{
    return ask(x, MX_FLOAT32, [](const core::array &a) {
        for (int i = 0; i < dtype_count; i++)
            if (dtypes[i].dtype == a.dtype())
                return static_cast<enum mx_dtype>(i);
        throw std::invalid_argument("an array of a dtype that has no name here");
    });
}

size_t mx_dtype_size(enum mx_dtype d)
{
    return core::size_of(to_dtype(d));
}

const char *mx_dtype_name(enum mx_dtype d)
{
    assert(d >= 0 && d < dtype_count);
    return dtypes[d].name;
}

mx_array mx_expect_(mx_array x, const int *shape, int n)
{
    return ask(x, none, [&](const core::array &a) {
        bool same = static_cast<int>(a.ndim()) == n;
        for (int i = 0; same && i < n; i++)
            same = shape[i] == -1 || a.shape(i) == shape[i];
        if (!same)
            fail("", "has shape %s, expected %s", shape_text(a.shape()).c_str(),
                 shape_text(to_shape(shape, n)).c_str());
        return x;
    });
}

/* ------------------------------------------------------------ evaluation -- */

static std::vector<core::array> peek_n(const mx_array *x, int n)
{
    std::vector<core::array> v;
    for (int i = 0; i < n; i++)
        if (x[i].id != 0)
            v.push_back(peek(x[i]));
    return v;
}

int mx_eval(const mx_array *x, int n, struct err *e)
{
    return attempt_now("eval", e, [&] { core::eval(peek_n(x, n)); });
}

int mx_async_eval(const mx_array *x, int n, struct err *e)
{
    return attempt_now("eval", e, [&] { core::async_eval(peek_n(x, n)); });
}

int mx_read(mx_array x, enum mx_dtype dtype, void *out, size_t bytes, struct err *e)
{
    return attempt_now("read", e, [&] {
        core::array a = core::contiguous(core::astype(peek(x), to_dtype(dtype)));
        if (a.nbytes() != bytes)
            fail("read", "the array has %zu bytes, the buffer %zu", a.nbytes(), bytes);
        a.eval();
        if (bytes)
            memcpy(out, a.data<char>(), bytes);
    });
}

/* No operator is built: it would stand in line behind work that was started after x. */
int mx_item(mx_array x, double *out, struct err *e)
{
    return attempt_now("item", e, [&] {
        core::array a = peek(x);
        if (a.size() != 1)
            fail("item", "the array has %zu elements, not one", a.size());
        a.eval();
        switch (a.dtype()) {
        case core::float32: *out = static_cast<double>(a.item<float>()); break;
        case core::bool_: *out = a.item<bool>() ? 1 : 0; break;
        case core::int32: *out = a.item<int32_t>(); break;
        default: {
            core::array f = core::astype(a, core::float32);
            *out = static_cast<double>(f.item<float>());
        }
        }
    });
}

/* ---------------------------------------------------------------- memory -- */

size_t mx_memory_device(void)
{
    check_thread();
    if (mx_device() == MX_CPU)
        return 0;
    try {
        const auto &info = core::gpu::device_info(0);
        for (const char *key :
             {"max_recommended_working_set_size", "total_memory", "memory_size"}) {
            auto found = info.find(key);
            if (found != info.end() && std::holds_alternative<size_t>(found->second))
                return std::get<size_t>(found->second);
        }
    } catch (const std::exception &) {
    }
    return 0;
}

size_t mx_memory_active(void)
{
    return core::get_active_memory();
}

size_t mx_memory_peak(void)
{
    return core::get_peak_memory();
}

size_t mx_memory_cache(void)
{
    return core::get_cache_memory();
}

void mx_memory_peak_reset(void)
{
    core::reset_peak_memory();
}

void mx_memory_limit(size_t bytes)
{
    core::set_memory_limit(bytes);
}

void mx_cache_limit(size_t bytes)
{
    core::set_cache_limit(bytes);
}

void mx_cache_clear(void)
{
    core::clear_cache();
}
