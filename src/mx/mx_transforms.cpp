/* mx_transforms.cpp - differentiate, checkpoint, compile: functions of C traced by MLX.
 *
 * MLX transforms functions from arrays to arrays.  A C function reads its parameters from structs
 * that hold slot handles, so a frame around each call puts MLX's tracers into those slots and puts
 * the values back afterwards, however the call ends.
 *
 * What MLX calls back may be called late: the backward pass of mx_value_and_grad runs checkpointed
 * functions again after the differentiated function has returned.  Handles that such a function
 * was given by its `arg` must still be good then; so only mx_value_and_grad and mx_call open a
 * scope, and the frames inside put what they make into it.
 */
#include "mx/mx_state.hpp"

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>

#include <mlx/compile.h>
#include <mlx/compile_impl.h>

using namespace mxb;

using arrays = std::vector<core::array>;

namespace
{

/* One call of a C function by MLX. */
class frame
{
  public:
    frame(trace kind, bool is_barrier)
        : kind_(g.kind), depth_(g.depth), barrier_(g.barrier), compiling_(g.compiling),
          state_slots_(g.state_slots), scopes_(g.scopes.size())
    {
        g.kind = kind;
        g.depth++;
        g.compiling += kind == trace::compile;
        if (is_barrier)
            g.barrier = g.depth;
    }

    ~frame()
    {
        for (auto it = saved_.rbegin(); it != saved_.rend(); ++it) {
            entry &t = g.table[it->index];
            t.value = std::move(it->value);
            t.differentiated = it->differentiated;
            t.depth = it->depth;
        }
        leave_to(scopes_);
        g.kind = kind_;
        g.depth = depth_;
        g.barrier = barrier_;
        g.compiling = compiling_;
        g.state_slots = state_slots_;
    }

    frame(const frame &) = delete;
    frame &operator=(const frame &) = delete;

    void substitute(uint32_t slot, const core::array &value, bool differentiated)
    {
        entry &t = g.table[slot];
        saved_.push_back({slot, std::move(t.value), t.differentiated, t.depth});
        t.value.emplace(value);
        t.differentiated = differentiated;
        t.depth = g.depth;
    }

    void call(mx_fn fn, const void *arg, const std::vector<mx_array> &in,
              std::vector<mx_array> &out)
    {
        fn(const_cast<void *>(arg), in.data(), static_cast<int>(in.size()), out.data(),
           static_cast<int>(out.size()));
        if (g.failed)
            throw stuck();
        assert(g.scopes.size() == scopes_ && "mx_enter and mx_leave do not match");
        flush_watch();
    }

  private:
    struct saved {
        uint32_t index;
        std::optional<core::array> value;
        bool differentiated;
        int depth;
    };
    std::vector<saved> saved_;
    trace kind_;
    int depth_, barrier_, compiling_;
    const std::vector<uint32_t> *state_slots_;
    size_t scopes_;
};

/* What a traced C function is called with; `arg` is copied when its size is known. */
class callee
{
  public:
    callee(mx_fn fn, const void *arg, size_t bytes) : fn_(fn), arg_(arg)
    {
        if (bytes) {
            const char *p = static_cast<const char *>(arg);
            copy_.assign(p, p + bytes);
        }
    }

    void operator()(frame &f, const std::vector<mx_array> &in, std::vector<mx_array> &out) const
    {
        if (copy_.empty()) {
            f.call(fn_, arg_, in, out);
            return;
        }
        /* Fresh memory from the heap, so that it is aligned for any struct. */
        std::unique_ptr<char[]> fresh(new char[copy_.size()]);
        memcpy(fresh.get(), copy_.data(), copy_.size());
        f.call(fn_, fresh.get(), in, out);
    }

  private:
    mx_fn fn_;
    const void *arg_;
    std::vector<char> copy_;
};

/* Run `f` unless a failure is pending; on failure all results are none. */
template <typename F>
void attempt_n(const char *op, mx_array *out, int n_out, mx_array *more, int n_more, F f)
{
    check_thread();
    for (int i = 0; i < n_out; i++)
        out[i] = none;
    for (int i = 0; i < n_more; i++)
        more[i] = none;
    if (g.failed)
        return;
    g.op = op;
    try {
        f();
        return;
    } catch (const stuck &) {
    } catch (const std::exception &e) {
        record(op, e.what());
    }
    for (int i = 0; i < n_out; i++)
        out[i] = none;
    for (int i = 0; i < n_more; i++)
        more[i] = none;
}

arrays values_of(const char *op, const std::vector<mx_array> &out)
{
    arrays v;
    for (size_t i = 0; i < out.size(); i++) {
        if (out[i].id == 0)
            fail(op, "the function left its output %zu of %zu none", i, out.size());
        v.push_back(peek(out[i]));
    }
    return v;
}

std::vector<uint32_t> slot_indices(const char *op, struct mx_arrays slots)
{
    std::vector<uint32_t> v;
    for (int i = 0; i < slots.n; i++) {
        entry *t = find(slots.at[i]);
        if (!t || !t->slot)
            fail(op, "the array %d of %d is not a slot", i, slots.n);
        if (!t->value)
            fail(op, "the slot %d of %d has no value", i, slots.n);
        v.push_back(index_of(slots.at[i]));
    }
    return v;
}

} /* namespace */

/* ---------------------------------------------------------- value and grad -- */

/* Restore what a call of mx_value_and_grad changes besides its frame. */
class surroundings
{
  public:
    surroundings() : place_(g.place), quiet_(g.quiet), scopes_(g.scopes.size())
    {
        g.scopes.emplace_back();
    }

    ~surroundings()
    {
        g.place = place_;
        g.quiet = quiet_;
        leave_to(scopes_);
    }

    surroundings(const surroundings &) = delete;
    surroundings &operator=(const surroundings &) = delete;

  private:
    std::string place_;
    int quiet_;
    size_t scopes_;
};

void mx_value_and_grad(mx_fn fn, void *arg, struct mx_arrays in, struct mx_arrays wrt,
                       mx_array *out, int n_out, mx_array *grads)
{
    const char *op = "value_and_grad";
    attempt_n(op, out, n_out, grads, wrt.n, [&] {
        std::vector<uint32_t> slots = slot_indices(op, wrt);
        std::vector<int> argnums;
        std::vector<mx_array> inputs(in.at, in.at + in.n);
        arrays primals;
        bool nested = false;
        for (size_t i = 0; i < slots.size(); i++) {
            primals.push_back(*g.table[slots[i]].value);
            nested = nested || g.table[slots[i]].differentiated;
            argnums.push_back(static_cast<int>(i));
        }
        auto traced = [&](const arrays &tracers) {
            frame f(trace::grad, false);
            for (size_t i = 0; i < slots.size(); i++)
                f.substitute(slots[i], tracers[i], true);
            std::vector<mx_array> results(static_cast<size_t>(n_out), none);
            f.call(fn, arg, inputs, results);
            arrays values = values_of(op, results);
            g.quiet++;
            g.place = "backward";
            return values;
        };
        std::pair<arrays, arrays> result;
        {
            surroundings s;
            result = core::value_and_grad(traced, argnums)(primals);
            if (g.failed)
                throw stuck();
        }
        for (int i = 0; i < n_out; i++)
            out[i] = put(result.first[static_cast<size_t>(i)], nested);
        for (int i = 0; i < wrt.n; i++)
            grads[i] = put(result.second[static_cast<size_t>(i)], nested);
    });
}

/* -------------------------------------------------------------- checkpoint -- */

/* The operands of a checkpointed function that a gradient flows through are arguments of the
 * transformed function; all others are constants to it, for which no gradient is computed. */
struct operands {
    arrays inputs;                  /* values of all inputs */
    std::vector<int> argument_of;   /* for each input: which argument it is, or -1 */
    std::vector<uint32_t> slots;    /* parameters with a gradient: the arguments after those */
    arrays arguments;
};

static operands gather_operands(const char *op, struct mx_arrays in, struct mx_arrays params)
{
    operands o;
    for (int i = 0; i < in.n; i++) {
        o.inputs.push_back(mxb::in(in.at[i]));
        bool differentiated = find(in.at[i])->differentiated;
        o.argument_of.push_back(differentiated ? static_cast<int>(o.arguments.size()) : -1);
        if (differentiated)
            o.arguments.push_back(o.inputs.back());
    }
    for (uint32_t slot : slot_indices(op, params)) {
        if (!g.table[slot].differentiated)
            continue;
        o.slots.push_back(slot);
        o.arguments.push_back(mxb::in(handle(slot)));
    }
    return o;
}

static arrays run_checkpointed(const callee &fn, const operands &o, size_t n_out,
                               const arrays &arguments)
{
    frame f(trace::checkpoint, true);
    std::vector<mx_array> inputs;
    for (size_t i = 0; i < o.inputs.size(); i++) {
        int k = o.argument_of[i];
        inputs.push_back(put(k < 0 ? o.inputs[i] : arguments[static_cast<size_t>(k)], k >= 0));
    }
    size_t first = arguments.size() - o.slots.size();
    for (size_t i = 0; i < o.slots.size(); i++)
        f.substitute(o.slots[i], arguments[first + i], true);
    std::vector<mx_array> results(n_out, none);
    fn(f, inputs, results);
    return values_of("checkpoint", results);
}

/* The backward pass of a checkpointed function: run it again, and differentiate.  Nothing begins
 * before the cotangents are there, and the gradients of the inputs, which the function before waits
 * for, come after those of the parameters; else what several functions compute again would be alive
 * at a time. */
static arrays run_again(const std::function<arrays(const arrays &)> &traced, size_t n_params,
                        const arrays &primals, const arrays &cotangents)
{
    arrays grads = core::vjp(traced, core::depends(primals, cotangents), cotangents).second;
    auto params = grads.end() - static_cast<std::ptrdiff_t>(n_params);
    arrays inputs(grads.begin(), params);
    if (!inputs.empty() && n_params > 0) {
        inputs = core::depends(inputs, arrays(params, grads.end()));
        std::copy(inputs.begin(), inputs.end(), grads.begin());
    }
    return grads;
}

void mx_checkpoint(mx_fn fn, const void *arg, size_t arg_bytes, struct mx_arrays in,
                   struct mx_arrays params, mx_array *out, int n_out)
{
    attempt_n("checkpoint", out, n_out, nullptr, 0, [&] {
        operands o = gather_operands("checkpoint", in, params);
        callee c(fn, arg, arg_bytes);
        size_t n = static_cast<size_t>(n_out);
        auto traced = [c, o, n](const arrays &a) { return run_checkpointed(c, o, n, a); };
        bool differentiated = !o.arguments.empty();
        auto backward = [traced, n_params = o.slots.size()](
                            const arrays &primals, const arrays &cotangents, const arrays &) {
            return run_again(traced, n_params, primals, cotangents);
        };
        arrays values =
            differentiated ? core::custom_vjp(traced, backward)(o.arguments) : traced({});
        for (int i = 0; i < n_out; i++)
            out[i] = put(values[static_cast<size_t>(i)], differentiated);
    });
}

/* -------------------------------------------------------------- custom vjp -- */

static arrays run_plain(const callee &fn, const arrays &a, size_t n_out)
{
    frame f(trace::checkpoint, true);
    std::vector<mx_array> inputs, results(n_out, none);
    for (const core::array &x : a)
        inputs.push_back(put(x, false));
    fn(f, inputs, results);
    return values_of("custom_vjp", results);
}

static arrays run_vjp(const callee &fn, const arrays &primals, const arrays &outputs,
                      const arrays &cotangents)
{
    frame f(trace::checkpoint, false);
    std::vector<mx_array> inputs, results(primals.size(), none);
    for (const arrays *group : {&primals, &outputs, &cotangents})
        for (const core::array &x : *group)
            inputs.push_back(put(x, false));
    fn(f, inputs, results);
    arrays v;
    for (size_t i = 0; i < primals.size(); i++)
        v.push_back(results[i].id ? peek(results[i]) : core::zeros_like(primals[i]));
    return v;
}

void mx_custom_vjp(mx_fn fn, mx_fn vjp, const void *arg, size_t arg_bytes, struct mx_arrays in,
                   mx_array *out, int n_out)
{
    attempt_n("custom_vjp", out, n_out, nullptr, 0, [&] {
        g.gathered = false;
        arrays inputs = in_n(in.at, in.n);
        bool differentiated = g.gathered;
        callee forward(fn, arg, arg_bytes), backward(vjp, arg, arg_bytes);
        size_t n = static_cast<size_t>(n_out);
        auto traced = [forward, n](const arrays &a) { return run_plain(forward, a, n); };
        auto traced_vjp = [backward](const arrays &primals, const arrays &cotangents,
                                     const arrays &outputs) {
            return run_vjp(backward, primals, outputs, cotangents);
        };
        arrays values =
            differentiated ? core::custom_vjp(traced, traced_vjp)(inputs) : traced(inputs);
        for (int i = 0; i < n_out; i++)
            out[i] = put(values[static_cast<size_t>(i)], differentiated);
    });
}

/* ----------------------------------------------------------------- compile -- */

struct mx_compiled {
    mx_fn fn;
    void *arg;
    std::vector<mx_array> state;
    int n_in = -1, n_out = -1; /* of the first call */
    std::function<arrays(const arrays &)> call;
    core::detail::CompileCacheWeakPtr cache;
    std::uintptr_t id() const
    {
        return reinterpret_cast<std::uintptr_t>(this);
    }
};

/* Called by MLX with tracers for the inputs and the state, once for each set of shapes. */
static arrays trace_compiled(mx_compiled *c, const arrays &a)
{
    std::vector<uint32_t> slots =
        slot_indices("compile", {c->state.data(), static_cast<int>(c->state.size())});
    surroundings s;
    frame f(trace::compile, false);
    g.state_slots = &slots;
    size_t n_in = static_cast<size_t>(c->n_in);
    std::vector<mx_array> inputs, results(static_cast<size_t>(c->n_out), none);
    for (size_t i = 0; i < n_in; i++)
        inputs.push_back(put(a[i], false));
    for (size_t i = 0; i < slots.size(); i++)
        f.substitute(slots[i], a[n_in + i], false);
    f.call(c->fn, c->arg, inputs, results);
    arrays values = values_of("compile", results);
    for (uint32_t i : slots)
        values.push_back(*g.table[i].value);
    return values;
}

struct mx_compiled *mx_compile(mx_fn fn, void *arg, struct mx_arrays state)
{
    check_thread();
    mx_compiled *c = new mx_compiled;
    c->fn = fn;
    c->arg = arg;
    c->state.assign(state.at, state.at + state.n);
    c->cache = core::detail::compile_cache();
    try {
        c->call =
            core::detail::compile([c](const arrays &a) { return trace_compiled(c, a); }, c->id());
    } catch (const std::exception &e) {
        record("compile", e.what());
    }
    return c;
}

void mx_call(struct mx_compiled *c, struct mx_arrays in, mx_array *out, int n_out)
{
    attempt_n("call", out, n_out, nullptr, 0, [&] {
        if (g.kind != trace::off)
            fail("call", "a compiled function is called inside a traced one");
        if (c->n_in < 0) {
            c->n_in = in.n;
            c->n_out = n_out;
        }
        if (c->n_in != in.n || c->n_out != n_out)
            fail("call", "found %d inputs and %d outputs, expected %d and %d as in the first call",
                 in.n, n_out, c->n_in, c->n_out);
        /* On a CPU fusing starts a C++ compiler for each new kernel, for minutes. */
        bool fuses = core::default_device() == core::Device::gpu;
        core::set_compile_mode(fuses ? core::CompileMode::enabled : core::CompileMode::no_fuse);
        arrays values;
        {
            arrays inputs = in_n(in.at, in.n);
            for (mx_array s : c->state)
                inputs.push_back(peek(s));
            try {
                values = c->call(inputs);
            } catch (...) {
                /* MLX keeps a half-made trace otherwise, and would replay it. */
                core::detail::compile_erase(c->cache, c->id());
                throw;
            }
        }
        size_t n = static_cast<size_t>(n_out);
        for (size_t i = 0; i < c->state.size(); i++)
            find(c->state[i])->value.emplace(values[n + i]);
        for (size_t i = 0; i < n; i++)
            out[i] = put(values[i], false);
    });
}

void mx_compiled_free(struct mx_compiled *c)
{
    if (!c)
        return;
    core::detail::compile_erase(c->cache, c->id());
    delete c;
}
