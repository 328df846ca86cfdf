// What is saved comes back bit for bit, under any other layout, with one content hash for all layouts.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "parallel/run/local_communicator.h"
#include "src/base/rng.h"
#include "src/checkpoint/rectangle.h"
#include "tests/checkpoint/sample.h"
#include "tests/support/test_data.h"

namespace lacuna::test {
namespace {

std::vector<Topology> layouts() {
  return {{1, 1, 1}, {2, 1, 1}, {1, 2, 1}, {1, 4, 1}, {1, 8, 1}, {1, 1, 2}, {1, 1, 5}, {2, 2, 1}, {2, 2, 2},
          {1, 2, 2}, {1, 4, 2}, {1, 2, 4}, {3, 1, 1}, {3, 2, 1}, {2, 1, 3}, {1, 1, 8}, {2, 4, 1}};
}

TEST(RoundTrip, EverythingComesBack) {
  const TempFolder run;
  const Sample sample = make_sample(1);
  CheckpointMeta meta = make_meta(sample, 1200, {1, 2, 1});
  meta.kind = "import";
  Probe probe;
  probe.sequences = {{1, 2, 3}, {}, {7}};
  const double nan = std::numeric_limits<double>::quiet_NaN();
  probe.logits = {{1.0 / 3, -0.0}, {nan, 5e-324}, {std::numeric_limits<double>::infinity(), 1e300}};
  probe.compute = "fp64";
  probe.routes = {{1, 0, 1, 1, 0, 0}, {}, {0, 1}};
  SaveOptions options;
  options.run_id = "abcdef";
  options.generation = "7";
  run_local(2, [&](Communicator& world, int rank) {
    CheckpointMeta mine = rank == 0 ? meta : CheckpointMeta{};
    if (rank == 1) mine.probe = probe;  // as the last stage would
    save_checkpoint(run.path(), world, mine, slabs_of_rank(sample, {1, 2, 1}, rank).slabs, options);
  });
  const CheckpointReader reader(run.path());
  EXPECT_EQ(reader.folder(), run / "step-000001200");
  EXPECT_EQ(entries(run.path()), (std::vector<std::string>{"latest", "step-000001200"}));
  const CheckpointMeta& got = reader.meta();
  EXPECT_EQ(got.step, meta.step);
  EXPECT_EQ(got.tokens, meta.tokens);
  EXPECT_EQ(got.config, meta.config);
  EXPECT_EQ(got.layout, meta.layout);
  EXPECT_EQ(got.state, meta.state);
  EXPECT_EQ(got.files, meta.files);
  EXPECT_EQ(got.config_ini, meta.config_ini);
  EXPECT_EQ(got.kind, "import");
  EXPECT_EQ(got.probe.sequences, probe.sequences);
  EXPECT_EQ(got.probe.routes, probe.routes);
  EXPECT_EQ(got.probe.compute, "fp64");
  ASSERT_EQ(got.probe.logits.size(), probe.logits.size());
  for (std::size_t i = 0; i < probe.logits.size(); ++i)
    EXPECT_EQ(std::memcmp(got.probe.logits[i].data(), probe.logits[i].data(), 2 * sizeof(double)), 0);
  EXPECT_EQ(reader.run_id(), "abcdef");
  EXPECT_EQ(reader.generation(), "7");
  EXPECT_TRUE(holds(reader, sample));
  reader.verify();
}

TEST(RoundTrip, WithoutStateFilesOrTensors) {
  const TempFolder run;
  const auto world = single_rank();
  CheckpointMeta meta;
  meta.step = 0;
  save_checkpoint(run.path(), *world, meta, {}, {});
  const CheckpointReader reader(run / "step-000000000");
  EXPECT_TRUE(reader.tensors().empty());
  EXPECT_TRUE(reader.meta().state.empty());
  EXPECT_TRUE(reader.meta().probe.sequences.empty());
  reader.verify();
}

// Every fourth slab of every rank of `layout`, from `first` on, against what it should be.
void expect_reads(const CheckpointReader& reader, const Sample& sample, const Topology& layout,
                  std::size_t first) {
  for (int rank = 0; rank < layout.world(); ++rank) {
    const OwnedSlabs mine = slabs_of_rank(sample, layout, rank);
    for (std::size_t i = first; i < mine.slabs.size(); i += 4) {
      std::vector<std::byte> got(mine.storage[i].size(), std::byte{0xa5});
      reader.read(mine.slabs[i].name, mine.slabs[i].slab, mine.slabs[i].dtype, got.data());
      ASSERT_EQ(got, mine.storage[i]) << mine.slabs[i].name;
    }
  }
}

TEST(RoundTrip, EveryLayoutHasOneContentHashAndReadsUnderEveryOther) {
  const Sample sample = make_sample(2, DType::F32, 3);
  const ContentHash want = content_of(sample);
  std::size_t pairs = 0;
  for (const Topology& written : layouts()) {
    const TempFolder run;
    const CheckpointReader reader(save(run.path(), sample, 1, written));
    EXPECT_EQ(reader.content_hash(), want) << written.pp << written.tp << written.dp;
    for (const Topology& read : layouts()) expect_reads(reader, sample, read, ++pairs % 4);
  }
  EXPECT_GE(pairs, 200u);
}

TEST(RoundTrip, OtherElementTypesKeepTheirBits) {
  for (DType dtype : {DType::BF16, DType::F64})
    for (const Topology& written : {Topology{2, 2, 2}, Topology{1, 8, 1}}) {
      const Sample sample = make_sample(2, dtype);
      const TempFolder run;
      const CheckpointReader reader(save(run.path(), sample, 1, written));
      EXPECT_EQ(reader.content_hash(), content_of(sample));
      EXPECT_TRUE(holds(reader, sample));
      reader.verify();
    }
}

TEST(RoundTrip, AChangedElementChangesTheContentHash) {
  Sample sample = make_sample(2);
  const ContentHash before = content_of(sample);
  const TempFolder run;
  sample.tensors.at("model.norm.weight").bytes[5] ^= std::byte{1};
  EXPECT_NE(CheckpointReader(save(run.path(), sample, 1, {1, 2, 1})).content_hash(), before);
}

// Cuts [0, rows) x [0, cols) at random into rectangles.
void cut_at_random(const Slab& slab, std::uint64_t key, std::uint64_t& draws, std::vector<Slab>& out) {
  const std::size_t dim = slab.extent.size() == 1 ? 0 : rng_below(key, draws++, 2);
  if (slab.extent[dim] < 2 || rng_below(key, draws++, 10) < 3) {
    out.push_back(slab);
    return;
  }
  const auto at = 1 + static_cast<std::int64_t>(
                          rng_below(key, draws++, static_cast<std::uint64_t>(slab.extent[dim] - 1)));
  Slab first = slab, second = slab;
  first.extent[dim] = at;
  second.offset[dim] += at;
  second.extent[dim] -= at;
  cut_at_random(first, key, draws, out);
  cut_at_random(second, key, draws, out);
}

TEST(RoundTrip, RandomRectanglesOfRandomTilings) {
  const TempFolder run;
  const std::uint64_t key = rng_key(11, "tilings");
  std::uint64_t draws = 0;
  Sample sample = make_sample(3);
  sample.config = {};
  const int ranks = 3;
  std::vector<OwnedSlabs> mine(ranks);
  for (const auto& [name, tensor] : sample.tensors) {
    std::vector<Slab> slabs;
    cut_at_random(whole(tensor.shape), key, draws, slabs);
    for (const Slab& slab : slabs) mine[rng_below(key, draws++, ranks)].add(name, tensor, slab);
  }
  run_local(ranks, [&](Communicator& world, int rank) {
    save_checkpoint(run.path(), world, make_meta(sample, 5), mine[static_cast<std::size_t>(rank)].slabs, {});
  });
  const CheckpointReader reader(run.path());
  EXPECT_EQ(reader.content_hash(), content_of(sample));
  for (int round = 0; round < 20; ++round)
    for (const auto& [name, tensor] : sample.tensors) {
      Slab want = whole(tensor.shape);
      for (std::size_t d = 0; d < want.extent.size(); ++d) {
        want.offset[d] =
            static_cast<std::int64_t>(rng_below(key, draws++, static_cast<std::uint64_t>(want.extent[d])));
        want.extent[d] = 1 + static_cast<std::int64_t>(rng_below(
                                 key, draws++, static_cast<std::uint64_t>(want.extent[d] - want.offset[d])));
      }
      const std::vector<std::byte> expected = cut(tensor, want);
      std::vector<std::byte> got(expected.size() + 1, std::byte{0x5a});
      reader.read(name, want, tensor.dtype, got.data());
      ASSERT_EQ(got.back(), std::byte{0x5a});
      got.pop_back();
      ASSERT_EQ(got, expected) << name << " " << to_text(want);
    }
}

TEST(RoundTrip, ReadingConvertsFloats) {
  const TempFolder run;
  const Sample sample = make_sample(4, DType::F64);
  const CheckpointReader reader(save(run.path(), sample, 1, {1, 2, 2}));
  const std::string name = "model.layers.1.mlp.gate_proj.weight";
  const Slab part{{3, 7}, {30, 9}};
  const std::vector<std::byte> source = cut(sample.tensors.at(name), part);
  const auto count = static_cast<std::size_t>(part.elements());
  std::vector<float> single(count);
  std::vector<std::uint16_t> half(count);
  reader.read(name, part, DType::F32, single.data());
  reader.read(name, part, DType::F16, half.data());
  for (std::size_t i = 0; i < count; ++i) {
    const double value = load_as_double(source.data(), DType::F64, i);
    EXPECT_EQ(single[i], static_cast<float>(value));
    EXPECT_LE(std::fabs(from_f16(half[i]) - value), std::fabs(value) * 0x1.0p-11 + 0x1.0p-25);
  }
}

TEST(RoundTrip, WhatCannotBeReadSaysWhy) {
  const TempFolder run;
  const Sample sample = make_sample(5);
  const CheckpointReader reader(save(run.path(), sample, 1));
  std::vector<float> out(4000);
  EXPECT_NE(error_of(ErrorKind::BadInput,
                     [&] {
                       reader.read("nobody", {{0}, {1}}, DType::F32, out.data());
                     })
                .find("no tensor 'nobody'"),
            std::string::npos);
  EXPECT_NE(error_of(ErrorKind::BadInput,
                     [&] {
                       reader.read("model.norm.weight", {{20}, {5}}, DType::F32, out.data());
                     })
                .find("[20:25] is outside shape [24]"),
            std::string::npos);
  EXPECT_NE(error_of(ErrorKind::BadInput,
                     [&] {
                       reader.read("model.norm.weight", {{0}, {5}}, DType::I32, out.data());
                     })
                .find("is F32 and cannot be read as I32"),
            std::string::npos);
  reader.read("model.norm.weight", {{24}, {0}}, DType::F32, nullptr);  // nothing
  EXPECT_NE(
      error_of(ErrorKind::BadInput, [&] { CheckpointReader(run / "absent"); }).find("no such checkpoint"),
      std::string::npos);
  const TempFolder empty;
  EXPECT_NE(error_of(ErrorKind::BadInput, [&] { CheckpointReader reader2(empty.path()); })
                .find("holds no committed"),
            std::string::npos);
  EXPECT_TRUE(is_checkpoint(run.path()));
  EXPECT_TRUE(is_checkpoint(run / "step-000000001"));
  EXPECT_FALSE(is_checkpoint(empty.path()));
  EXPECT_FALSE(is_checkpoint(run / "absent"));
}

}  // namespace
}  // namespace lacuna::test
