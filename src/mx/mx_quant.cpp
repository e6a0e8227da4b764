/* mx_quant.cpp - products with quantised matrices, and with matrices chosen by an index. */
#include "mx/mx_cpu.hpp"
#include "mx/mx_state.hpp"

using namespace mxb;

mx_array mx_gather_mm(mx_array a, mx_array b, mx_array lhs_indices, mx_array rhs_indices,
                      bool sorted_indices)
{
    return attempt("gather_mm", [&] {
        if (sorted_indices && lhs_indices.id == 0 && rhs_indices.id != 0) {
            const core::array x = in(a), w = in(b), ids = in(rhs_indices);
            if (can_gather_fast(x, w, ids))
                return fast_gather_mm(x, w, ids);
        }
        return core::gather_mm(in(a), in(b), optional_in(lhs_indices), optional_in(rhs_indices),
                               sorted_indices);
    });
}

mx_array mx_segmented_mm(mx_array a, mx_array b, mx_array segments)
{
    return attempt("segmented_mm", [&] { return core::segmented_mm(in(a), in(b), in(segments)); });
}

void mx_quantize(mx_array w, int group_size, int bits, mx_array *w_q, mx_array *scales,
                 mx_array *biases)
{
    mx_array *out[] = {w_q, scales, biases};
    std::vector<core::array> parts;

    *scales = *biases = none;
    *w_q = attempt("quantize", [&] {
        parts = core::quantize(in(w), group_size, bits);
        g.gathered = false;             /* rounding has no gradient */
        return parts[0];
    });
    for (size_t i = 1; i < parts.size() && !g.failed; i++)
        *out[i] = put(parts[i], false);
}

mx_array mx_dequantize(mx_array w, mx_array scales, mx_array biases, int group_size, int bits,
                       enum mx_dtype d)
{
    return attempt("dequantize", [&] {
        const core::array a = in(w), s = in(scales), b = in(biases);
        if (d == MX_FLOAT32 && can_dequantize_fast(a, s, b, group_size, bits))
            return fast_dequantize(a, s, b, group_size, bits);
        return core::astype(core::dequantize(a, s, b, group_size, bits), to_dtype(d));
    });
}

mx_array mx_quantized_matmul(mx_array x, mx_array w, mx_array scales, mx_array biases,
                             bool transpose, int group_size, int bits)
{
    return attempt("quantized_matmul", [&] {
        const core::array y = in(x), a = in(w), s = in(scales), b = in(biases);
        if (a.ndim() == 2 && can_multiply_fast(y, a, s, b, transpose, group_size, bits))
            return fast_quantized_matmul(y, a, s, b, transpose, group_size, bits);
        return core::quantized_matmul(y, a, s, b, transpose, group_size, bits);
    });
}

/* x [M,1,..], and one matrix for each of its rows. */
static bool is_row_by_row(const core::array &x, const core::array &w, const core::array &ids)
{
    return x.ndim() == 3 && x.shape(1) == 1 && w.ndim() == 3 && ids.ndim() == 1 &&
           ids.shape(0) == x.shape(0);
}

mx_array mx_gather_qmm(mx_array x, mx_array w, mx_array scales, mx_array biases,
                       mx_array lhs_indices, mx_array rhs_indices, bool transpose, int group_size,
                       int bits, bool sorted_indices)
{
    return attempt("gather_qmm", [&] {
        const core::array y = in(x), a = in(w), s = in(scales), b = in(biases);
        const std::optional<core::array> lhs = optional_in(lhs_indices);
        const std::optional<core::array> rhs = optional_in(rhs_indices);
        if (sorted_indices && !lhs && rhs && is_row_by_row(y, a, *rhs) &&
            can_multiply_fast(y, a, s, b, transpose, group_size, bits))
            return fast_gather_qmm(y, a, s, b, *rhs, transpose, group_size, bits);
        return core::gather_qmm(y, a, s, b, lhs, rhs, transpose, group_size, bits, "affine",
                                std::nullopt, sorted_indices);
    });
}
