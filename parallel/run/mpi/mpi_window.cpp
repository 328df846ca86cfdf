#include "parallel/run/mpi/mpi_window.h"

#include <cstdint>

#include "parallel/run/mpi/mpi_check.h"

namespace lacuna {
namespace {

constexpr std::size_t kAlignment = 64;

}  // namespace

MpiWindow::MpiWindow(Communicator& meet, MPI_Comm comm, std::size_t bytes) {
  MPI_Info info = MPI_INFO_NULL;
  LACUNA_MPI(MPI_Info_create(&info));
  LACUNA_MPI(MPI_Info_set(info, "alloc_shared_noncontig", "true"));  // every area starts on its own page
  void* mine = nullptr;
  const int code =
      MPI_Win_allocate_shared(static_cast<MPI_Aint>(bytes + kAlignment), 1, info, comm, &mine, &window_);
  LACUNA_MPI(MPI_Info_free(&info));
  LACUNA_CHECK(code == MPI_SUCCESS, ErrorKind::NoFit,
               "'{}': no shared memory of {} bytes on rank {} (is /dev/shm large enough?): MPI: {}",
               meet.name(), bytes, meet.rank(), mpi_error_text(code));
  LACUNA_MPI(MPI_Win_lock_all(MPI_MODE_NOCHECK, window_));  // one epoch for its whole life: loads and stores
  struct Area {
    std::size_t offset, bytes;
  };
  const auto address = reinterpret_cast<std::uintptr_t>(mine);
  const Area own{(kAlignment - address % kAlignment) % kAlignment, bytes};
  std::vector<Area> all(static_cast<std::size_t>(meet.size()));
  meet.all_gather(std::as_bytes(std::span(&own, 1)), std::as_writable_bytes(std::span(all)));
  for (int rank = 0; rank < meet.size(); ++rank) {
    MPI_Aint size = 0;
    int unit = 0;
    void* base = nullptr;
    LACUNA_MPI(MPI_Win_shared_query(window_, rank, &size, &unit, &base));
    const Area& area = all[static_cast<std::size_t>(rank)];
    std::byte* start = static_cast<std::byte*>(base) + area.offset;
    LACUNA_ASSERT(area.offset + area.bytes <= static_cast<std::size_t>(size));
    LACUNA_ASSERT(reinterpret_cast<std::uintptr_t>(start) % kAlignment ==
                  0);  // mappings differ by whole pages
    areas_.emplace_back(start, area.bytes);
  }
}

void MpiWindow::sync() {
  LACUNA_MPI(MPI_Win_sync(window_));
}

void MpiWindow::free() {
  LACUNA_MPI(MPI_Win_unlock_all(window_));
  LACUNA_MPI(MPI_Win_free(&window_));
}

}  // namespace lacuna
