// What the table of two stages and three micro-batches means, action by action, worked out by hand.
#include "parallel/plan/dependencies.h"

#include <gtest/gtest.h>

#include "parallel/plan/make_schedule.h"
#include "parallel/plan/text.h"
#include "src/base/error.h"

namespace lacuna {
namespace {

std::vector<std::string> names(const Schedule& schedule, int rank, Engine engine) {
  std::vector<std::string> out;
  for (const Action& a : schedule.ranks[static_cast<std::size_t>(rank)].row(engine))
    out.push_back(to_text(a));
  return out;
}
// "what: action action" for every action of a row that waits for something.
std::vector<std::string> waits(const Schedule& schedule, int rank, Engine engine) {
  const RankLinks links = rank_links(schedule, rank);
  const RankTable& table = schedule.ranks[static_cast<std::size_t>(rank)];
  std::vector<std::string> out;
  for (int i = 0; const Action& a : table.row(engine)) {
    std::string line = to_text(a) + ":";
    for (const ActionRef& ref : links.before(engine, i++))
      line += " " + to_text(table.row(ref.engine)[static_cast<std::size_t>(ref.index)]);
    out.push_back(line);
  }
  return out;
}
using Lines = std::vector<std::string>;

TEST(Dependencies, OfTwoStagesOneFOneB) {
  const Schedule s = make_schedule("1f1b", 2, 3, "off", 1);
  EXPECT_EQ(names(s, 0, Engine::Compute), (Lines{"0F0", "0F1", "0B0", "0F2", "0B1", "0B2", "0R"}));
  EXPECT_EQ(names(s, 1, Engine::Compute), (Lines{"1F0", "1B0", "1F1", "1B1", "1F2", "1B2", "1R"}));
  // The third forward writes into the send buffer of the first; backwards read what arrives.
  EXPECT_EQ(waits(s, 0, Engine::Compute),
            (Lines{"0F0:", "0F1:", "0B0: 0RB0", "0F2: 0SF0", "0B1: 0RB1", "0B2: 0RB2", "0R:"}));
  EXPECT_EQ(waits(s, 0, Engine::Transfer),
            (Lines{"0RB0:", "0RB1:", "0SF0: 0F0", "0SF1: 0F1", "0RB2: 0B0", "0SF2: 0F2"}));
  EXPECT_EQ(waits(s, 1, Engine::Compute),
            (Lines{"1F0: 1RF0", "1B0:", "1F1: 1RF1", "1B1:", "1F2: 1RF2", "1B2: 1SB0", "1R:"}));
  EXPECT_EQ(waits(s, 1, Engine::Transfer),
            (Lines{"1RF0:", "1RF1:", "1RF2: 1F0", "1SB0: 1B0", "1SB1: 1B1", "1SB2: 1B2"}));
  const RankLinks links = rank_links(s, 0);
  EXPECT_EQ(links.transfers[0].peer, 1);
  EXPECT_EQ(links.transfers[0].tag, Tag::Gradient);
  EXPECT_FALSE(links.transfers[0].send);
  EXPECT_EQ(links.transfers[5].tag, Tag::Activation);
  EXPECT_TRUE(links.transfers[5].send);
  EXPECT_EQ(links.transfers[5].buffer, 0);
  EXPECT_EQ(links.compute[0].input, -1);  // the first stage reads tokens
  EXPECT_EQ(links.compute[0].output, 0);
  EXPECT_EQ(links.compute[2].input, 0);  // 0B0 reads the gradient, makes none
  EXPECT_EQ(links.compute[2].output, -1);
  EXPECT_EQ(transfer_partners(s), (std::vector<std::vector<int>>{{3, 4, 0, 1, 5, 2}, {2, 3, 5, 0, 1, 4}}));
}

TEST(Dependencies, EvictionsAndLoadsFollowSlots) {
  const Schedule s = make_schedule("1f1b", 4, 6, "tight", 1);
  EXPECT_EQ(s.ranks[0].partner, 3);
  EXPECT_EQ(s.ranks[3].partner, -1);
  EXPECT_TRUE(s.ranks[3].row(Engine::Copy).empty());
  EXPECT_EQ(s.ranks[0].own_slots, 3);
  EXPECT_EQ(s.ranks[3].guest_slots, 2);
  const Lines copies = waits(s, 0, Engine::Copy), compute = waits(s, 0, Engine::Compute);
  EXPECT_EQ(copies[0], "0EV2.0>0: 0F2");
  EXPECT_EQ(compute[3], "0F3: 0SF1 0EV2.0>0");  // its slot; its send buffer
  for (std::size_t i = 0; i < copies.size(); ++i)
    if (copies[i].find("LD") != std::string::npos) {
      EXPECT_NE(copies[i].find("EV"), std::string::npos) << copies[i];
    }
  bool waits_for_load = false;
  for (const std::string& line : compute)
    if (line.starts_with("0B2:")) waits_for_load = line.find("0LD2.0>0") != std::string::npos;
  EXPECT_TRUE(waits_for_load);
}

TEST(Dependencies, ATableThatIsNotCompleteIsRefused) {
  Schedule s = make_schedule("1f1b", 2, 3, "off", 1);
  s.ranks[0].row(Engine::Transfer).pop_back();
  EXPECT_THROW(transfer_partners(s), Error);
  s = make_schedule("1f1b", 2, 3, "off", 1);
  s.ranks[1].row(Engine::Transfer).erase(s.ranks[1].row(Engine::Transfer).begin());
  EXPECT_THROW(rank_links(s, 1), Error);
  EXPECT_THROW(rank_links(s, 2), Error);
}

TEST(MakeSchedule, RefusesWhatItDoesNotKnow) {
  const auto message = [](const char* kind, int pp, int micros, const char* bpipe,
                          int pieces) -> std::string {
    try {
      make_schedule(kind, pp, micros, bpipe, pieces);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::Usage);
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message("2f2b", 2, 2, "off", 1), "schedule '2f2b': wanted gpipe or 1f1b");
  EXPECT_EQ(message("1f1b", 2, 2, "on", 1), "bpipe 'on': wanted off, tight or loose");
  EXPECT_EQ(message("1f1b", 0, 2, "off", 1),
            "schedule 1f1b: 0 ranks and 2 micro-batches, wanted at least one of each");
  EXPECT_EQ(message("1f1b", 2, 0, "off", 1),
            "schedule 1f1b: 2 ranks and 0 micro-batches, wanted at least one of each");
  EXPECT_EQ(message("1f1b", 2, 2, "off", 0), "pieces 0: wanted at least 1");
  EXPECT_EQ(make_schedule("1f1b", 4, 8, "loose", 1).name, "1f1b+bpipe(loose)");
}

}  // namespace
}  // namespace lacuna
