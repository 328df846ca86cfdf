#include "src/model/stash_view.h"

#include <ATen/ATen.h>

#include "src/base/error.h"
#include "src/model/parameter_store.h"

namespace lacuna {

at::Tensor view_memory(std::byte* memory, std::int64_t rows, std::int64_t cols, DType dtype,
                       at::Device device) {
  LACUNA_ASSERT(memory != nullptr && reinterpret_cast<std::uintptr_t>(memory) % 64 == 0);
  const std::int64_t shape[] = {rows, cols};
  return at::for_blob(memory, shape)
      .options(at::TensorOptions().dtype(scalar_type(dtype)).device(device))
      .target_device(device)  // spares the question to the driver
      .make_tensor();
}

at::Tensor view_slot(std::byte* stash, const StashLayout& layout, std::string_view name, at::Device device) {
  for (const StashSlot& slot : layout.slots)
    if (slot.name == name) return view_memory(stash + slot.offset, slot.rows, slot.cols, slot.dtype, device);
  return {};
}

}  // namespace lacuna
