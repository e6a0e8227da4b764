/* mx_state.hpp - what the binding's files share: the table of arrays, scopes, the sticky error.
 *
 * Each array lives in an entry of one table.  Its handle is the entry's index and generation, so
 * that a handle that outlived its array is recognised.  Entries are released by scope, slots by
 * hand.
 *
 * Inside the binding failures are C++ exceptions: `stuck` once the failure is recorded, anything
 * else on its way there.  `attempt` is the only door to C, and none leaves through it.
 */
#ifndef MX_MX_STATE_HPP
#define MX_MX_STATE_HPP

#include <cstdarg>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <mlx/mlx.h>

extern "C" {
#include "base/err.h"
#include "mx/mx.h"
}

namespace mxb
{

namespace core = mlx::core;

constexpr mx_array none = {0};

/* The failure is recorded already; unwind. */
struct stuck {
};

enum class trace { off, compile, grad, checkpoint };

struct entry {
    std::optional<core::array> value;
    uint32_t generation = 1;
    bool used = false;
    bool slot = false;
    bool differentiated = false; /* a gradient flows through it to a slot or input */
    int depth = 0;               /* traced functions around the place where it was made */
    size_t scope = 0;
};

struct state {
    std::vector<entry> table;
    std::vector<uint32_t> free_list;
    std::vector<std::vector<uint32_t>> scopes{1};
    int live = 0;

    bool failed = false;
    std::string failure; /* with its place */
    std::string place;
    const char *op = ""; /* the operator in progress */

    trace kind = trace::off; /* of the innermost traced function */
    int depth = 0;           /* traced functions entered */
    int compiling = 0;       /* compiled ones among them */
    int barrier = 0;         /* arrays with a gradient made outside this depth are out of reach */
    const std::vector<uint32_t> *state_slots = nullptr; /* that mx_set may set while compiling */
    bool gathered = false; /* did an operand of the operator in progress carry a gradient? */

    mx_watch_fn watch = nullptr;
    void *watch_arg = nullptr;
    mx_array last = none; /* made in the current place */
    int quiet = 0;        /* no watching: inside the watcher, or computing blocks again */
};

extern state g;

/* Assert that this is the one thread that uses MLX. */
void check_thread();

/* Record a failure, unless there is one; then throw `stuck`. */
[[noreturn]] void fail(const char *op, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void record(const char *op, const std::string &text);
std::string va_text(const char *fmt, va_list ap);

entry *find(mx_array x); /* null when none or stale */
mx_array handle(uint32_t index);
uint32_t index_of(mx_array x);

/* The value behind a handle; throws `stuck` when there is none.  `in` is for operators: it notes
 * whether a gradient flows through the operand; `peek` is for everything else. */
const core::array &in(mx_array x);
const core::array &peek(mx_array x);
std::optional<core::array> optional_in(mx_array x);
std::vector<core::array> in_n(const mx_array *x, int n);

mx_array put(core::array value, bool differentiated);
mx_array put_result(core::array value); /* of an operator: uses and resets `gathered` */
void release(uint32_t index);
void leave_to(size_t scope_count);      /* release all scopes above */

/* Tell the watcher of the last array of the place, if there is one. */
void flush_watch();

core::Shape to_shape(const int *shape, int n);
core::Dtype to_dtype(enum mx_dtype d);
std::string shape_text(const core::Shape &s);

/* Run `f`, an expression of MLX, as the operator `op`. */
template <typename F> mx_array attempt(const char *op, F f)
{
    check_thread();
    if (g.failed)
        return none;
    g.gathered = false;
    g.op = op;
    try {
        return put_result(f());
    } catch (const stuck &) {
    } catch (const std::exception &e) {
        record(op, e.what());
    }
    return none;
}

} /* namespace mxb */

#endif
