// calib.h5 from many ranks: rank 0 holds the file, the others send it their layers, a block of rows at a
// time. It is written under a temporary name and gets its own once it is whole.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "parallel/run/communicator.h"
#include "recipes/cmoe/calib_file.h"
#include "recipes/common/neuron_statistics.h"

namespace lacuna {

class CalibWriter {
 public:
  // Collective. Error(Storage) on all ranks when rank 0 cannot create the file. `world` outlives the writer.
  CalibWriter(Communicator& world, std::string path, const CalibLabel& label);
  ~CalibWriter();  // what is not finished is removed

  // On every rank, layers in ascending order. `measured` is called on rank `owner` alone, when its layer's
  // turn comes.
  struct Measured {
    CalibLayer layer;
    NeuronStatistics statistics;
  };
  void add(int layer, int owner, const std::function<Measured()>& measured);
  // Collective.
  void finish();

 private:
  std::string temporary() const { return path_ + ".tmp"; }

  Communicator& world_;
  std::string path_;
  std::unique_ptr<h5::File> file_;  // rank 0
};

}  // namespace lacuna
