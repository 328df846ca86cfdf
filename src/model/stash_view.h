// Tensors over the slots of a stash: no copies, no ownership. A stash starts at a multiple of 64 bytes.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstddef>
#include <string_view>

#include "src/arch/stash_layout.h"

namespace lacuna {

// [rows, cols] over memory of `device` that outlives the tensor.
at::Tensor view_memory(std::byte* memory, std::int64_t rows, std::int64_t cols, DType dtype,
                       at::Device device);

// The slot `name` of the stash at `stash`; undefined where the layout has no such slot.
at::Tensor view_slot(std::byte* stash, const StashLayout& layout, std::string_view name, at::Device device);

}  // namespace lacuna
